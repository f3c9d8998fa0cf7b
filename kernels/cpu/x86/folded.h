/* Super-blocks whose quants times their integer sub-scales fit a byte: Q2_K (3 * 15 = 45) and Q3_K
 * (-4..3 times -32..31 is -124..128, which 124 more make unsigned). Their panels hold these
 * products, so that the sum over 256 columns is one chain of dot products, exact as before: a
 * multiplication and an addition for every 16 columns took a quarter of the time. Only where
 * dot products take unsigned bytes and sum up in int32 (VNNI, USDOT). */
#ifndef RAD_X86_FOLDED_H
#define RAD_X86_FOLDED_H

#include "kernels/cpu/x86/supers.h"
#include "kernels/cpu/x86/whole.h"

enum { FOLDED_OFFSET_Q3_K = 124 };

/* How a sub-block's quants become products, a byte for each: v * magnitude + start, where v is the
 * quant, or for negative scales of Q3_K seven minus it. Nothing on the way leaves 0..252. */
typedef struct fold {
    uint8_t magnitude[64], twice[64], four_times[64], start[64], flip[64];
} fold;

/* From the sub-scales of 16 rows, an int32 each. */
INLINE void make_fold(rad_type type, vi scale, fold *out)
{
    vi mask = vi_sub32(vi_zero(), vi_shift_right(scale, 31));
    vi magnitude = vi_sub32(vi_xor(scale, mask), mask), start = vi_zero();
    if (type == RAD_TYPE_Q3_K) { /* the offset times the scale: 4 s, or 3 |s| with 7 - v */
        vi offset = vi_sub32(vi_shift_left(magnitude, 2), vi_and(mask, magnitude));
        start = vi_sub32(vi_set32(FOLDED_OFFSET_Q3_K), offset);
    }
    vi_store(out->magnitude, vi_shuffle(magnitude, 0));
    vi_store(out->twice, vi_shuffle(vi_shift_left(magnitude, 1), 0));
    vi_store(out->four_times, vi_shuffle(vi_shift_left(magnitude, 2), 0));
    vi_store(out->start, vi_shuffle(start, 0));
    vi_store(out->flip, vi_and(mask, vi_set8(7)));
}

INLINE vi fold_group(rad_type type, vi quants, const fold *by)
{
    const bool is_signed = type == RAD_TYPE_Q3_K;
    vi v = is_signed ? vi_xor(quants, vi_load(by->flip)) : quants;
    vi sum = vi_add_where(vi_load(by->start), v, 1, vi_load(by->magnitude));
    sum = vi_add_where(sum, v, 2, vi_load(by->twice));
    return is_signed ? vi_add_where(sum, v, 4, vi_load(by->four_times)) : sum;
}

INLINE void unpack_folded(rad_type type, const uint8_t *lanes, whole_panel *panel)
{
    super_scales scales;
    fold folds[16];
    unpack_super_scales(type, lanes, &scales);
    for (int j = 0; j < 16; j++)
        make_fold(type, vi_load(scales.scale[j]), &folds[j]);
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
        {
            int column = unit_column(type, unit, group);
            vi_store(panel->quants[0] + column * RAD_LANE_ROWS,
                     fold_group(type, load_group(type, lanes, unit, group), &folds[column / 16]));
        }
    }
    vf_store(panel->d, vf_load(scales.d));
    if (has_minimum(type)) {
        memcpy(panel->minimum, scales.minimum, sizeof panel->minimum);
        vf_store(panel->dmin, vf_load(scales.dmin));
    }
}

#endif
