/* Few tokens, straight from the lanes, with formats whose integer sums run over 256 columns or the
 * whole row (ternary ones), with blocks of 16 columns, and with blocks of several times 32. */
#ifndef RAD_X86_SMALL_H
#define RAD_X86_SMALL_H

#include "kernels/cpu/x86/blocks.h"

/* ---- ternary: two bits, offset 1 ------------------------------------------------------------- */

/* 128 columns: word w of 8 holds four groups, bits 2 q of each byte being of group 8 q + w (in I2_S
 * of group 24 - 8 q + w). Chains of int16 hold the products of them all. */
INLINE void ternary_half(bool row, int n, const uint8_t *words, int half, const token_view *x,
                         vi *total)
{
    const vi minus = vi_set16(-1);
    vi partial[DIRECT_TOKENS];
    if (n >= FETCH_FROM)
        fetch_ahead(words, 512);
    UNROLL for (int t = 0; t < n; t++)
    {
        UNROLL for (int j = 0; j < 4; j++) total[t] =
            vi_dot16(total[t], token_sums(n, x, 4 * half + j, t), minus);
        partial[t] = WIDE_DOT ? total[t] : vi_zero();
    }
    UNROLL for (int w = 0; w < 8; w++)
    {
        vi word = vi_load(words + w * 64);
        UNROLL for (int q = 0; q < 4; q++)
        {
            vi quants = vi_and(vi_shift_right(word, 2 * q), vi_set8(3));
            int at = half * 32 + (row ? 3 - q : q) * 8 + w;
            UNROLL for (int t = 0; t < n; t++) partial[t] =
                vi_dot(partial[t], quants, token_columns(n, x, at, t));
        }
    }
    UNROLL for (int t = 0; t < n; t++) total[t] =
        WIDE_DOT ? partial[t] : vi_add32(total[t], vi_widen(partial[t]));
}

/* Blocks of 256 with d and activations with one scale per 256. */
INLINE void ternary_direct(int n, const uint8_t *lanes, uint32_t n_blocks, token_view x, float *acc)
{
    for (uint32_t b = 0; b < n_blocks; b++, lanes += 66 * RAD_LANE_ROWS, next_chunk(&x)) {
        vi total[DIRECT_TOKENS];
        UNROLL for (int t = 0; t < n; t++) total[t] = vi_zero();
        for (int half = 0; half < 2; half++)
            ternary_half(false, n, lanes + 32 + half * 512, half, &x, total);
        vf d = vf_load_f16(lanes);
        UNROLL for (int t = 0; t < n; t++)
            vf_store(acc + t * 16, vf_fma(vf_multiply(d, token_scale(n, &x, 0, t)),
                                          vf_from_int(total[t]), vf_load(acc + t * 16)));
    }
}

/* Blocks of 128; acc holds integers, the sums of the whole row so far. */
INLINE void row_direct(int n, const uint8_t *lanes, uint32_t n_blocks, token_view x, float *acc)
{
    vi total[DIRECT_TOKENS];
    UNROLL for (int t = 0; t < n; t++) total[t] = vi_load(acc + t * 16);
    for (uint32_t b = 0; b < n_blocks; b++, lanes += 32 * RAD_LANE_ROWS) {
        ternary_half(true, n, lanes, (int)(b % 2), &x, total);
        if (b % 2 == 1)
            next_chunk(&x);
    }
    UNROLL for (int t = 0; t < n; t++) vi_store(acc + t * 16, total[t]);
}

INLINE void unpack_ternary(bool row, const uint8_t *lanes, uint32_t n_blocks, whole_panel *panel)
{
    const uint8_t *words = row ? lanes : lanes + 32;
    for (uint32_t half = 0; half < (row ? n_blocks : 2); half++, words += 512)
        UNROLL for (int at = 0; at < 32; at++)
        {
            vi word = vi_load(words + at % 8 * 64);
            int shift = row ? 6 - at / 8 * 2 : at / 8 * 2;
            vi_store(panel->quants[half * 4] + at * GROUP_BYTES,
                     vi_and(vi_shift_right(word, shift), vi_set8(3)));
        }
    if (!row)
        vf_store(panel->d, vf_load_f16(lanes));
}

/* ---- NVFP4: a scale per 16 ------------------------------------------------------------------- */

enum { NVFP4_CODES = 64, NVFP4_BYTES = 36 * RAD_LANE_ROWS };

/* Scale s of a block: E4M3 without sign at the place of float's exponent and mantissa, where also
 * subnormal numbers are what they were but for the factor 2^120; and halved, as levels are doubled.
 */
INLINE vf nvfp4_scale(vi scales, int s)
{
    vi bits = s < 3 ? vi_shift_left(scales, 20 - 8 * s) : vi_shift_right(scales, 4);
    uint32_t words[RAD_LANE_ROWS];
    vi_store(words, vi_and(bits, vi_set32(0x7f00000)));
    return vf_multiply(vf_load(words), vf_set(0x1p119f));
}

INLINE vi nvfp4_group(const uint8_t *block, int s, int group)
{
    return vi_lookup16(levels_e2m1,
                       nibbles(block + NVFP4_CODES + (2 * s + group % 2) * 64, group >= 2));
}

/* Sums of 5 bits over four groups. The sums of two neighbouring 16 columns come as a pair. */
INLINE void block_16_direct(int n, const uint8_t *lanes, uint32_t n_blocks, token_view x,
                            float *acc)
{
    vf sum[DIRECT_TOKENS];
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t first = 0; first < n_blocks; first += 4, next_chunk(&x)) {
        token_view block = x;
        uint32_t end = n_blocks - first < 4 ? n_blocks - first : 4;
        for (uint32_t b = 0; b < end; b++, lanes += NVFP4_BYTES) {
            vi scales = vi_load(lanes);
            if (n >= FETCH_FROM)
                fetch_ahead(lanes, NVFP4_BYTES);
            UNROLL for (int s = 0; s < 4; s++)
            {
                const vi offset = vi_set32(s % 2 == 0 ? 0xfff4 : (int)0xfff40000);
                vf scale = nvfp4_scale(scales, s);
                vi start[DIRECT_TOKENS], partial[DIRECT_TOKENS];
                UNROLL for (int t = 0; t < n; t++)
                {
                    start[t] = vi_madd16(token_sums(n, &block, s / 2, t), offset);
                    partial[t] = WIDE_DOT ? start[t] : vi_zero();
                }
                UNROLL for (int group = 0; group < 4; group++)
                {
                    vi w = nvfp4_group(lanes, s, group);
                    UNROLL for (int t = 0; t < n; t++) partial[t] =
                        vi_dot(partial[t], w, token_columns(n, &block, 4 * s + group, t));
                }
                UNROLL for (int t = 0; t < n; t++)
                {
                    vi integer = WIDE_DOT ? partial[t] : vi_add32(start[t], vi_widen(partial[t]));
                    sum[t] = vf_fma(vf_multiply(scale, token_scale(n, &block, s / 2, t)),
                                    vf_from_int(integer), sum[t]);
                }
            }
            block.quants += token_word(n, 16, 0);
            block.scales += token_word(n, 2, 0);
            block.sums += token_word(n, 2, 0);
        }
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

INLINE void unpack_nvfp4(const uint8_t *lanes, uint32_t n_blocks, block_16_panel *panel)
{
    for (uint32_t b = 0; b < n_blocks; b++, lanes += NVFP4_BYTES)
        UNROLL for (int s = 0; s < 4; s++)
        {
            UNROLL for (int group = 0; group < 4; group++) vi_store(
                panel->quants[0] + ((b * 4 + (uint32_t)s) * 4 + (uint32_t)group) * GROUP_BYTES,
                nvfp4_group(lanes, s, group));
            vf_store(panel->scale[b * 4 + (uint32_t)s], nvfp4_scale(vi_load(lanes), s));
        }
}

/* ---- Q1_0 and Q2_0: a scale for 4 or 2 times 32 columns ----------------------------------------
 */

enum { WIDE_BLOCK_BYTES = 18 * RAD_LANE_ROWS };

INLINE int wide_block_steps(rad_type type)
{
    return type == RAD_TYPE_Q1_0 ? 4 : 2;
}

/* Group of step `step` of a block: 0 and 2, or 0 to 3; the offset is 1. */
INLINE vi wide_block_group(rad_type type, const uint8_t *block, int step, int group)
{
    if (type == RAD_TYPE_Q1_0) {
        vi word = vi_load(block + 32 + step * 64);
        return vi_and(group == 0 ? vi_shift_left(word, 1) : vi_shift_right(word, group - 1),
                      vi_set8(2));
    }
    vi word = vi_load(block + 32 + (2 * step + group / 4) * 64);
    return vi_and(vi_shift_right(word, group % 4 * 2), vi_set8(3));
}

INLINE void wide_block_direct(rad_type type, int n, const uint8_t *lanes, uint32_t n_blocks,
                              token_view x, float *acc)
{
    const int steps = wide_block_steps(type), per_chunk = 8 / steps;
    vf sum[DIRECT_TOKENS];
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t b = 0; b < n_blocks; b++, lanes += WIDE_BLOCK_BYTES) {
        const int at = (int)b % per_chunk * steps;
        vf scale = vf_load_f16(lanes);
        if (n >= FETCH_FROM)
            fetch_ahead(lanes, WIDE_BLOCK_BYTES);
        UNROLL for (int step = 0; step < steps; step++)
        {
            vi partial[DIRECT_TOKENS], start[DIRECT_TOKENS];
            UNROLL for (int t = 0; t < n; t++)
            {
                start[t] = vi_madd16(token_sums(n, &x, at + step, t), vi_set16(-1));
                partial[t] = WIDE_DOT ? start[t] : vi_zero();
            }
            UNROLL for (int group = 0; group < 8; group++)
            {
                vi w = wide_block_group(type, lanes, step, group);
                UNROLL for (int t = 0; t < n; t++) partial[t] =
                    vi_dot(partial[t], w, token_columns(n, &x, (at + step) * 8 + group, t));
            }
            UNROLL for (int t = 0; t < n; t++)
            {
                vi integer = WIDE_DOT ? partial[t] : vi_add32(start[t], vi_widen(partial[t]));
                sum[t] = vf_fma(vf_multiply(scale, token_scale(n, &x, at + step, t)),
                                vf_from_int(integer), sum[t]);
            }
        }
        if ((int)b % per_chunk == per_chunk - 1)
            next_chunk(&x);
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

INLINE void unpack_wide_blocks(rad_type type, const uint8_t *lanes, uint32_t n_blocks,
                               block_panel *panel)
{
    const uint32_t steps = (uint32_t)wide_block_steps(type);
    for (uint32_t b = 0; b < n_blocks; b++, lanes += WIDE_BLOCK_BYTES)
        UNROLL for (uint32_t step = 0; step < steps; step++)
        {
            UNROLL for (int group = 0; group < 8; group++)
                vi_store(panel->quants[b * steps + step] + group * GROUP_BYTES,
                         wide_block_group(type, lanes, (int)step, group));
            vf_store(panel->scale[b * steps + step], vf_load_f16(lanes));
        }
}

#endif
