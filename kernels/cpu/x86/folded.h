/* Super-blocks whose quants times their integer sub-scales fit a byte: Q2_K (3 * 15 = 45) and Q3_K
 * (-4..3 times -32..31 is -124..128, which 124 more make unsigned). Their panels hold these
 * products, so that the sum over 256 columns is one chain of dot products, exact as before: a
 * multiplication and an addition for every 16 columns took a quarter of the time. Only with VNNI:
 * in chains of int16 products of this size would overflow. */
#ifndef RAD_X86_FOLDED_H
#define RAD_X86_FOLDED_H

#include "kernels/cpu/x86/supers.h"
#include "kernels/cpu/x86/whole.h"

enum { FOLDED_OFFSET_Q3_K = 124 };

/* Sub-scale j of 16 rows in each byte of a lane. */
INLINE vi scale_bytes(vi scale)
{
    return vi_shuffle(scale, 0);
}

/* The products begin as the format's offset times the sub-scale, and the panel's own offset. */
INLINE vi folded_start(rad_type type, vi scale)
{
    if (type == RAD_TYPE_Q2_K)
        return vi_zero();
    vi twice = vi_add8(scale, scale);
    return vi_add8(vi_xor(vi_add8(twice, twice), vi_set8(-1)), vi_set8(FOLDED_OFFSET_Q3_K + 1));
}

/* Quants times sub-scales, bit by bit: modulo 256, in which the sums fit. */
INLINE vi fold_group(rad_type type, vi quants, vi scale, vi start)
{
    vi product = vi_add_where(start, quants, 1, scale), twice = vi_add8(scale, scale);
    product = vi_add_where(product, quants, 2, twice);
    return type == RAD_TYPE_Q2_K ? product
                                 : vi_add_where(product, quants, 4, vi_add8(twice, twice));
}

INLINE void unpack_folded(rad_type type, const uint8_t *lanes, whole_panel *panel)
{
    super_scales scales;
    uint8_t bytes[16][64], starts[16][64];
    unpack_super_scales(type, lanes, &scales);
    for (int j = 0; j < 16; j++) {
        vi scale = scale_bytes(vi_load(scales.scale[j]));
        vi_store(bytes[j], scale);
        vi_store(starts[j], folded_start(type, scale));
    }
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
        {
            int column = unit_column(type, unit, group), j = column / 16;
            vi_store(panel->quants[0] + column * RAD_LANE_ROWS,
                     fold_group(type, load_group(type, lanes, unit, group), vi_load(bytes[j]),
                                vi_load(starts[j])));
        }
    }
    vf_store(panel->d, vf_load(scales.d));
    if (has_minimum(type)) {
        memcpy(panel->minimum, scales.minimum, sizeof panel->minimum);
        vf_store(panel->dmin, vf_load(scales.dmin));
    }
}

#endif
