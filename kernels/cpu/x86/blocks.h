/* Products with formats whose blocks of 32 have one scale and perhaps a minimum. */
#ifndef RAD_X86_BLOCKS_H
#define RAD_X86_BLOCKS_H

#include "kernels/cpu/x86/formats.h"
#include "kernels/cpu/x86/tokens.h"

/* The partial sums of one group are added to what stands in `total` at the end of a chain. Weights
 * are unsigned: where the quants are signed, their magnitudes. */
INLINE void add_group(int bits, int group, vi w, vi column, vi *partial, vi *total)
{
    const int chain = chain_groups(bits);
    if (WIDE_DOT) {
        *total = vi_dot(*total, w, column);
        return;
    }
    *partial = group % chain == 0 ? vi_dot_first(w, column) : vi_dot(*partial, w, column);
    if (group % chain == chain - 1)
        *total = group < chain ? vi_widen(*partial) : vi_accumulate(*total, vi_widen(*partial));
}

/* ---- straight from the lanes, few tokens ----------------------------------------------------- */

/* MXFP4: 2^(e - 128) of a byte e (quant/mxfp4.c). Those of 0 and 1 are subnormal: 2^21 and 2^22
 * times the least number. */
INLINE vf load_half_powers(const uint8_t *exponents)
{
    uint32_t bits[RAD_LANE_ROWS];
    const vi e = vi_load_bytes(exponents), one = vi_set32(1);
    const vi normal = vi_shift_left(vi_sub32(e, one), 23),
             other = vi_shift_left(vi_add32(e, one), 21);
    const vi subnormal = vi_sub32(vi_zero(), vi_shift_right(vi_sub32(e, vi_set32(2)), 31));
    vi_store(bits, vi_xor(normal, vi_and(subnormal, vi_xor(normal, other))));
    return vf_load(bits);
}

INLINE vf lane_scale(rad_type type, const uint8_t *block)
{
    return type == RAD_TYPE_MXFP4 ? load_half_powers(block) : vf_load_f16(block);
}

INLINE vf lane_minimum(const uint8_t *block)
{
    return vf_load_f16(block + 32);
}

/* Asks for the lanes that come later. Lanes stand in the order in which they are multiplied, so
 * that the processor looks ahead by itself where there is little to do between their loads: with
 * AVX-512 a single token is read so from memory at 33 GB/s, of Q4_K, where asking holds it down
 * to 28. With more tokens, and with AVX2 (but for Q8_0: 31 and 26), there is enough to do. Beyond
 * the end of a matrix nothing is read that matters. */
INLINE void fetch_ahead(const uint8_t *lanes, size_t bytes)
{
    enum { LINE = 64, DISTANCE = 8192, SECOND_LEVEL_CACHE = 2 };
    for (size_t i = 0; i < bytes; i += LINE)
        __builtin_prefetch(lanes + DISTANCE + i, 0, SECOND_LEVEL_CACHE);
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks blocks. */
INLINE void block_direct(rad_type type, int n, const uint8_t *lanes, uint32_t n_blocks,
                         token_view x, float *acc)
{
    const int offset = quant_offset(type), bits = quant_bits(type);
    vf sum[DIRECT_TOKENS];
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t first = 0; first < n_blocks; first += 8, next_chunk(&x)) {
        token_view block = x;
        uint32_t end = n_blocks - first < 8 ? n_blocks - first : 8;
        for (uint32_t b = 0; b < end; b++) {
            vi total[DIRECT_TOKENS], partial[DIRECT_TOKENS];
            if (n >= FETCH_FROM && (n > 1 || type != RAD_TYPE_Q8_0))
                fetch_ahead(lanes, lane_block_bytes(type));
            UNROLL for (int t = 0; t < n; t++)
            {
                total[t] = partial[t] = vi_zero();
                if (WIDE_DOT && offset != 0)
                    total[t] = vi_madd16(token_sums(n, &block, 0, t), vi_set16(-offset));
            }
            UNROLL for (int group = 0; group < 8; group++)
            {
                vi w = load_group(type, lanes, 0, group);
                vi magnitude = !WIDE_DOT && bits == 8 ? vi_magnitude(w) : w;
                UNROLL for (int t = 0; t < n; t++)
                {
                    vi column = token_columns(n, &block, group, t);
                    if (!WIDE_DOT && bits == 8)
                        column = vi_with_sign(column, w);
                    add_group(bits, group, magnitude, column, &partial[t], &total[t]);
                }
            }
            vf scale = lane_scale(type, lanes);
            UNROLL for (int t = 0; t < n; t++)
            {
                vf x_scale = token_scale(n, &block, 0, t);
                vi pair = token_sums(n, &block, 0, t);
                if (!WIDE_DOT && offset != 0)
                    total[t] = vi_add32(total[t], vi_madd16(pair, vi_set16(-offset)));
                sum[t] = vf_fma(vf_multiply(scale, x_scale), vf_from_int(total[t]), sum[t]);
                if (has_minimum(type))
                    sum[t] = vf_fma(vf_multiply(lane_minimum(lanes), x_scale),
                                    vf_from_int(vi_madd16(pair, vi_set16(1))), sum[t]);
            }
            lanes += lane_block_bytes(type);
            block.quants += token_word(n, 8, 0);
            block.scales += token_word(n, 1, 0);
            block.sums += token_word(n, 1, 0);
        }
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

/* ---- through panels, many tokens ------------------------------------------------------------- */

/* 16 rows x 256 columns of unsigned bytes (signed ones for 8 bits without VNNI).
 *
 * Signed quants are multiplied by their magnitudes. Where a quant is negative all bits of the
 * activation x are inverted, which makes it -x - 1: one operation where a change of sign takes two
 * or a multiplier's place. What is missing, the sum of the magnitudes of a block's negative quants,
 * depends on the weights alone. Both factors are at most 128 in magnitude and not both sums of a
 * pair 128 * 128 positive, so that a pair of products is within int16. */
typedef struct block_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    float scale[8][16];
    float minimum[8][16];
    int32_t negative[8][16]; /* sums of the magnitudes of negative quants */
} block_panel;

INLINE vi negative_sum(const uint8_t *quants)
{
    vi sum = vi_zero();
    UNROLL for (int group = 0; group < 8; group++)
    {
        vi w = vi_load(quants + group * GROUP_BYTES);
        vi negative = vi_and(vi_magnitude(w), vi_sign_mask(w));
        sum = vi_add16(sum, vi_dot_first(negative, vi_set8(1)));
    }
    return vi_widen(sum);
}

INLINE void unpack_blocks(rad_type type, const uint8_t *lanes, uint32_t n_blocks,
                          block_panel *panel)
{
    for (uint32_t b = 0; b < n_blocks; b++, lanes += lane_block_bytes(type)) {
        UNROLL for (int group = 0; group < 8; group++)
            vi_store(panel->quants[b] + group * GROUP_BYTES, load_group(type, lanes, 0, group));
        vf_store(panel->scale[b], lane_scale(type, lanes));
        if (has_minimum(type))
            vf_store(panel->minimum[b], lane_minimum(lanes));
        if (!WIDE_DOT && quant_bits(type) == 8)
            vi_store(panel->negative[b], negative_sum(panel->quants[b]));
    }
}

INLINE void block_terms(int offset, const uint8_t *tile, tile_terms *terms)
{
    for (int b = 0; b < 8; b += 4) {
        vi words = vi_load(tile + RAD_TILE_SUMS + b * RAD_TILE_TOKENS * 4);
        vi_store(terms->block.start[b], vi_madd16(words, vi_set16(-offset)));
        vf_store(terms->block.sums[b], vf_from_int(vi_madd16(words, vi_set16(1))));
    }
}

/* n tokens of a tile, from `first` on, with n_groups panels: acc[(group * 4 + token) * 16 + row]
 * goes on. */
INLINE void block_tile_part(int bits, bool minimum, int n_groups, int first, int n,
                            const block_panel *const *panels, uint32_t n_blocks,
                            const uint8_t *tile, const tile_terms *terms, float *acc)
{
    const bool is_signed = !WIDE_DOT && bits == 8;
    const uint8_t *columns = tile + first * 4;
    const float *scales = (const float *)(const void *)(tile + RAD_TILE_SCALES) + first;
    vf sum[PANEL_GROUPS * RAD_TILE_TOKENS];
    if (SUMS_IN_REGISTERS)
        UNROLL for (int i = 0; i < n_groups * n; i++) sum[i] = vf_load(tile_sum(acc, i, first, n));
    for (uint32_t b = 0; b < n_blocks; b++, columns += 8 * RAD_TILE_TOKENS * 4) {
        vi total[PANEL_GROUPS * RAD_TILE_TOKENS], partial[PANEL_GROUPS * RAD_TILE_TOKENS];
        if (!SUMS_IN_REGISTERS && n == PANEL_TOKENS)
            READ_AGAIN();
        UNROLL for (int i = 0; i < n_groups * n; i++)
        {
            partial[i] = vi_zero();
            total[i] = vi_broadcast32(&terms->block.start[b][first + i % n]);
        }
        UNROLL for (int group = 0; group < 8; group++)
        {
            vi w[PANEL_GROUPS], mask[PANEL_GROUPS];
            UNROLL for (int g = 0; g < n_groups; g++)
            {
                w[g] = vi_load(panels[g]->quants[b] + group * GROUP_BYTES);
                mask[g] = is_signed ? vi_sign_mask(w[g]) : w[g];
                w[g] = is_signed ? vi_magnitude(w[g]) : w[g];
            }
            UNROLL for (int t = 0; t < n; t++)
            {
                vi column = vi_broadcast32(columns + (group * RAD_TILE_TOKENS + t) * 4);
                UNROLL for (int g = 0; g < n_groups; g++)
                    add_group(bits, group, w[g], is_signed ? vi_xor(column, mask[g]) : column,
                              &partial[g * n + t], &total[g * n + t]);
            }
        }
        UNROLL for (int i = 0; i < n_groups * n; i++)
        {
            const block_panel *panel = panels[i / n];
            int t = first + i % n;
            vf x_scale = vf_broadcast(scales + b * RAD_TILE_TOKENS + i % n);
            if (!SUMS_IN_REGISTERS)
                sum[i] = vf_load(tile_sum(acc, i, first, n));
            if (is_signed)
                total[i] = vi_add32(total[i], vi_load(panel->negative[b]));
            else if (!WIDE_DOT)
                total[i] = vi_add32(total[i], vi_broadcast32(&terms->block.start[b][t]));
            sum[i] = vf_fma(vf_multiply(vf_load(panel->scale[b]), x_scale), vf_from_int(total[i]),
                            sum[i]);
            if (minimum)
                sum[i] = vf_fma(vf_multiply(vf_load(panel->minimum[b]), x_scale),
                                vf_broadcast(&terms->block.sums[b][t]), sum[i]);
            if (!SUMS_IN_REGISTERS)
                vf_store(tile_sum(acc, i, first, n), sum[i]);
        }
    }
    if (SUMS_IN_REGISTERS)
        UNROLL for (int i = 0; i < n_groups * n; i++) vf_store(tile_sum(acc, i, first, n), sum[i]);
}

#endif
