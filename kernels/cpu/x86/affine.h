/* Products with the affine formats of quantized folders (quant/affine.c): a word of scale and zero,
 * then the quants of 1 or 4 times 32 columns. */
#ifndef RAD_X86_AFFINE_H
#define RAD_X86_AFFINE_H

#include "kernels/cpu/x86/blocks.h"

enum { AFFINE_HEAD = 64 /* a word of each row */ };

/* Scale and minimum of 16 rows. */
typedef struct affine_head {
    vf scale, minimum;
} affine_head;

INLINE affine_head load_affine_head(int bits, const uint8_t *lanes)
{
    uint32_t words[RAD_LANE_ROWS];
    affine_head head;
    vi word = vi_load(lanes);
    vi_store(words, vi_and(word, vi_set32((int)0xffffff00u)));
    head.scale = vf_load(words);
    vi zero = vi_madd16(vi_and(word, vi_set32(255)), vi_set16(-1));
    if (bits == 8)
        zero = vi_add32(zero, vi_set32(128));
    head.minimum = vf_multiply(head.scale, vf_from_int(zero));
    return head;
}

/* Group `group` of 32 columns; for 8 bits signed, or plus 128. */
INLINE vi affine_group(int bits, const uint8_t *planes, int group)
{
    const int quarter = group % 4;
    const uint8_t *upper = planes + 4 * 64;
    switch (bits) {
    case 2:
    case 3: {
        vi low = vi_and(vi_shift_right(vi_load(planes + group / 4 * 64), 2 * quarter), vi_set8(3));
        if (bits == 2)
            return low;
        vi third = vi_load(planes + 2 * 64);
        third = group < 2 ? vi_shift_left(third, 2 - group) : vi_shift_right(third, group - 2);
        return vi_or(low, vi_and(third, vi_set8(4)));
    }
    case 4:
        return nibbles(planes + quarter * 64, group >= 4);
    case 5:
        return vi_or(nibbles(planes + quarter * 64, group >= 4), fifth_bit(vi_load(upper), group));
    case 6: {
        vi pairs = vi_load(upper + group / 4 * 64);
        pairs = quarter < 2 ? vi_shift_left(pairs, 4 - 2 * quarter)
                            : vi_shift_right(pairs, 2 * quarter - 4);
        return vi_or(nibbles(planes + quarter * 64, group >= 4), vi_and(pairs, vi_set8(48)));
    }
    default: {
        vi quants = vi_load(planes + group * 64);
        return SIGNED_BYTES ? quants : vi_xor(quants, vi_set8(-128));
    }
    }
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks blocks of `steps` times 32 columns. */
INLINE void affine_direct(int bits, int n, const uint8_t *lanes, uint32_t n_blocks, uint32_t steps,
                          token_view x, float *acc)
{
    const int offset = bits == 8 && !SIGNED_BYTES ? 128 : 0;
    const bool is_signed = bits == 8 && !WIDE_DOT;
    vf sum[DIRECT_TOKENS];
    int at = 0;
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t b = 0; b < n_blocks; b++) {
        const affine_head head = load_affine_head(bits, lanes);
        lanes += AFFINE_HEAD;
        for (uint32_t step = 0; step < steps; step++, lanes += (size_t)bits * 64) {
            vi total[DIRECT_TOKENS], partial[DIRECT_TOKENS];
            if (n > 1)
                fetch_ahead(lanes, (size_t)bits * 64);
            UNROLL for (int t = 0; t < n; t++)
            {
                total[t] = partial[t] = vi_zero();
                if (WIDE_DOT && offset != 0)
                    total[t] = vi_madd16(token_sums(n, &x, at, t), vi_set16(-offset));
            }
            UNROLL for (int group = 0; group < 8; group++)
            {
                vi w = affine_group(bits, lanes, group);
                vi magnitude = is_signed ? vi_magnitude(w) : w;
                UNROLL for (int t = 0; t < n; t++)
                {
                    vi column = token_columns(n, &x, at * 8 + group, t);
                    if (is_signed)
                        column = vi_with_sign(column, w);
                    add_group(bits, group, magnitude, column, &partial[t], &total[t]);
                }
            }
            UNROLL for (int t = 0; t < n; t++)
            {
                vf x_scale = token_scale(n, &x, at, t);
                vf sums = vf_from_int(vi_madd16(token_sums(n, &x, at, t), vi_set16(1)));
                sum[t] = vf_fma(vf_multiply(head.scale, x_scale), vf_from_int(total[t]), sum[t]);
                sum[t] = vf_fma(vf_multiply(head.minimum, x_scale), sums, sum[t]);
            }
            if (++at == 8) {
                next_chunk(&x);
                at = 0;
            }
        }
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

/* Quants of 6 bits are those of 8 in a panel. */
INLINE void unpack_affine(int bits, const uint8_t *lanes, uint32_t n_blocks, uint32_t steps,
                          block_panel *panel)
{
    uint32_t at = 0;
    for (uint32_t b = 0; b < n_blocks; b++) {
        const affine_head head = load_affine_head(bits, lanes);
        lanes += AFFINE_HEAD;
        for (uint32_t step = 0; step < steps; step++, at++, lanes += (size_t)bits * 64) {
            UNROLL for (int group = 0; group < 8; group++)
                vi_store(panel->quants[at] + group * GROUP_BYTES, affine_group(bits, lanes, group));
            vf_store(panel->scale[at], head.scale);
            vf_store(panel->minimum[at], head.minimum);
            if (!WIDE_DOT && bits >= 6)
                vi_store(panel->negative[at], negative_sum(panel->quants[at]));
        }
    }
}

#endif
