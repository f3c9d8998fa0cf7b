/* Products with super-blocks of 256, whose sub-blocks of 32 or 16 have integer scales and perhaps
 * integer minima. */
#ifndef RAD_X86_SUPERS_H
#define RAD_X86_SUPERS_H

#include "kernels/cpu/x86/blocks.h"
#include "kernels/cpu/x86/formats.h"
#include "kernels/cpu/x86/tokens.h"

/* What is added for the sums of activations. */
typedef enum super_sums {
    SUMS_NONE,
    SUMS_MINIMUM, /* integer minima times the sums, with a scale of their own */
    SUMS_OFFSET   /* the offset of the quants times their integer scale: part of the products */
} super_sums;

/* The scales of 16 rows. */
typedef struct super_scales {
    uint8_t scale[16][64];  /* of each sub-block: int32, or int16 pairs of equals without VNNI */
    uint8_t minimum[8][64]; /* what multiplies the sums, as int16 pairs for neighbours */
    float d[16];
    float dmin[16];       /* negated */
    int32_t negative[16]; /* signed quants: what their products miss (blocks.h), times the scales */
} super_scales;

typedef struct super_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    super_scales scales;
} super_panel;

INLINE int sub_block_groups(rad_type type)
{
    return type == RAD_TYPE_Q6_K || type == RAD_TYPE_Q2_K || type == RAD_TYPE_Q3_K ? 4 : 8;
}

INLINE super_sums sums_of(rad_type type)
{
    return has_minimum(type) ? SUMS_MINIMUM : quant_offset(type) != 0 ? SUMS_OFFSET : SUMS_NONE;
}

/* Q4_K and Q5_K: the twelve bytes come as three 32-bit words per row (quant/scales_k.c). */
INLINE void unpack_scales_k(const uint8_t *block, super_scales *out)
{
    vi word0 = vi_load(block + Q4_K_SCALES);
    vi word1 = vi_load(block + Q4_K_SCALES + 64);
    vi word2 = vi_load(block + Q4_K_SCALES + 128);
    vi six = vi_set8(63), four = vi_set8(15), top = vi_set8(48);
    vi scale[2] = {vi_and(word0, six),
                   vi_or(vi_and(word2, four), vi_and(vi_shift_right(word0, 2), top))};
    vi minimum[2] = {vi_and(word1, six), vi_or(vi_and(vi_shift_right_4(word2), four),
                                               vi_and(vi_shift_right(word1, 2), top))};
    const uint32_t first = WIDE_DOT ? 0x80808000u : 0x80008000u, next = WIDE_DOT ? 1 : 0x10001u;
    UNROLL for (int j = 0; j < 8; j++)
        vi_store(out->scale[j], vi_shuffle(scale[j / 4], first + (uint32_t)(j % 4) * next));
    UNROLL for (int j = 0; j < 4; j++)
        vi_store(out->minimum[j], vi_shuffle(minimum[j / 2], j % 2 ? 0x80038002u : 0x80018000u));
    vf_store(out->dmin, vf_negate(vf_load_f16(block + 32)));
}

/* Bytes k and l of each row's word, with their signs, as an int16 pair. */
INLINE vi signed_pair(vi word, uint32_t k, uint32_t l)
{
    return vi_upper_byte(vi_shuffle(word, 0x00800080u + k * 0x0100u + l * 0x01000000u));
}

/* Sixteen signed bytes in four words a row; where the quants have an offset, what multiplies the
 * sums for it. */
INLINE void put_signed_scales(const vi words[4], int offset, super_scales *out)
{
    UNROLL for (uint32_t j = 0; j < 16; j++)
    {
        vi pair = signed_pair(words[j / 4], j % 4, j % 4);
        vi_store(out->scale[j], WIDE_DOT ? vi_first_of_pair(pair) : pair);
        if (j % 2 == 0)
            vi_store(out->minimum[j / 2],
                     vi_multiply16(signed_pair(words[j / 4], j % 4, j % 4 + 1), vi_set16(-offset)));
    }
}

INLINE void unpack_scales_q6_k(const uint8_t *block, super_scales *out)
{
    vi words[4];
    UNROLL for (int i = 0; i < 4; i++) words[i] = vi_load(block + Q6_K_SCALES + i * 64);
    put_signed_scales(words, 32, out);
}

/* Low nibbles of j and j + 8 in byte j % 8, upper two bits in byte 8 + j % 4 at bit 2 * (j / 4). */
INLINE void unpack_scales_q3_k(const uint8_t *block, super_scales *out)
{
    vi words[4], high = vi_load(block + Q3_K_SCALES + 128);
    UNROLL for (int i = 0; i < 4; i++)
    {
        vi low = nibbles(block + Q3_K_SCALES + i % 2 * 64, i >= 2);
        vi upper = i < 2 ? vi_shift_left(high, 4 - 2 * i) : vi_shift_right(high, 2 * i - 4);
        words[i] = vi_add8(vi_or(low, vi_and(upper, vi_set8(48))), vi_set8(-32));
    }
    put_signed_scales(words, 4, out);
}

/* Low nibbles are sub-scales, high nibbles sub-minima. */
INLINE void unpack_scales_q2_k(const uint8_t *block, super_scales *out)
{
    const uint32_t first = WIDE_DOT ? 0x80808000u : 0x80008000u, next = WIDE_DOT ? 1 : 0x10001u;
    UNROLL for (uint32_t j = 0; j < 16; j++)
    {
        const uint8_t *word = block + Q2_K_SCALES + j / 4 * 64;
        vi_store(out->scale[j], vi_shuffle(low_nibbles(word), first + j % 4 * next));
        if (j % 2 == 0)
            vi_store(out->minimum[j / 2],
                     vi_shuffle(high_nibbles(word), j % 4 ? 0x80038002u : 0x80018000u));
    }
    vf_store(out->dmin, vf_negate(vf_load_f16(block + 32)));
}

/* Sub-scale j: four bits of a word and two of a half, which together are 32 too much. */
INLINE void unpack_scales_iq4_xs(const uint8_t *block, super_scales *out)
{
    int32_t scales[8][RAD_LANE_ROWS];
    vi low = vi_load(block + IQ4_XS_LOW), high = vi_load_words(block + IQ4_XS_HIGH);
    UNROLL for (int j = 0; j < 8; j++)
    {
        vi upper = j < 2 ? vi_shift_left(high, 4 - 2 * j) : vi_shift_right(high, 2 * j - 4);
        vi scale =
            vi_or(vi_and(vi_shift_right(low, 4 * j), vi_set32(15)), vi_and(upper, vi_set32(48)));
        scale = vi_sub32(scale, vi_set32(32));
        vi_store(scales[j], scale);
        vi pair = vi_or(vi_and(scale, vi_set32(0xffff)), vi_shift_left(scale, 16));
        vi_store(out->scale[j], WIDE_DOT ? scale : pair);
    }
    UNROLL for (int j = 0; j < 4 && WIDE_DOT; j++)
    {
        vi pair = vi_or(vi_and(vi_load(scales[2 * j]), vi_set32(0xffff)),
                        vi_shift_left(vi_load(scales[2 * j + 1]), 16));
        vi_store(out->minimum[j], vi_multiply16(pair, vi_set16(-128)));
    }
}

INLINE void unpack_super_scales(rad_type type, const uint8_t *block, super_scales *out)
{
    vf_store(out->d, vf_load_f16(block));
    switch (type) {
    case RAD_TYPE_Q2_K:
        unpack_scales_q2_k(block, out);
        break;
    case RAD_TYPE_Q3_K:
        unpack_scales_q3_k(block, out);
        break;
    case RAD_TYPE_Q6_K:
        unpack_scales_q6_k(block, out);
        break;
    case RAD_TYPE_IQ4_XS:
        unpack_scales_iq4_xs(block, out);
        break;
    default:
        unpack_scales_k(block, out);
        break;
    }
}

/* One group of a sub-block: what its partial sum gives goes into the total at the end of a chain.
 */
INLINE void add_super_group(int bits, int sub_groups, int group, vi w, vi column, vi scale,
                            vi *partial, vi *total)
{
    const int longest = chain_groups(bits);
    const int chain = longest < sub_groups ? longest : sub_groups;
    if (group % chain == 0 && !(WIDE_DOT && group == 0))
        *partial = vi_dot_first(w, column);
    else
        *partial = vi_dot(*partial, w, column);
    if (group % chain == chain - 1)
        *total = vi_accumulate(*total, vi_scaled(*partial, scale));
}

/* ---- straight from the lanes, few tokens ----------------------------------------------------- */

/* The integer part of one super-block for n tokens: sub-blocks times their sub-scales. */
INLINE void super_products(rad_type type, int n, const uint8_t *block, const super_scales *scales,
                           const token_view *x, vi *total)
{
    const int bits = quant_bits(type), sub_groups = sub_block_groups(type);
    const bool is_signed = !WIDE_DOT && bits == 8;
    const size_t part = lane_block_bytes(type) * UNIT_GROUPS / 64;
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        vi partial[DIRECT_TOKENS];
        if (n >= FETCH_FROM)
            fetch_ahead(block + (size_t)unit * part, part);
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
        {
            int at = unit_column(type, unit, group) / 4;
            vi w = load_group(type, block, unit, group);
            vi scale = vi_load(scales->scale[at / sub_groups]);
            vi magnitude = is_signed ? vi_magnitude(w) : w;
            UNROLL for (int t = 0; t < n; t++)
            {
                if (group % sub_groups == 0)
                    partial[t] = vi_zero();
                vi column = token_columns(n, x, at, t);
                add_super_group(bits, sub_groups, group % sub_groups, magnitude,
                                is_signed ? vi_with_sign(column, w) : column, scale, &partial[t],
                                &total[t]);
            }
        }
    }
}

/* The integer sum of scales or minima times the sums of activations. `pairs` are the sums of each
 * 32 of a single token. */
INLINE vi super_sum_products(int sub_groups, int n, const super_scales *scales, const token_view *x,
                             const int16_t *pairs, int t)
{
    vi total = vi_zero();
    UNROLL for (int j = 0; j < 32 / sub_groups; j++)
    {
        vi sums = sub_groups == 4 ? token_sums(n, x, j, t)
                  : n == 1        ? vi_broadcast32(pairs + 2 * j)
                                  : token_pairs(n, x, j, t);
        total = vi_dot16(total, vi_load(scales->minimum[j]), sums);
    }
    return total;
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks super-blocks. */
INLINE void super_direct(rad_type type, int n, const uint8_t *lanes, uint32_t n_blocks,
                         token_view x, float *acc)
{
    for (uint32_t b = 0; b < n_blocks; b++, lanes += lane_block_bytes(type), next_chunk(&x)) {
        super_scales scales;
        vi total[DIRECT_TOKENS];
        int16_t pairs[8];
        unpack_super_scales(type, lanes, &scales);
        if (n == 1)
            vi_pair_sums((const void *)x.sums, pairs);
        UNROLL for (int t = 0; t < n; t++) total[t] = vi_zero();
        super_products(type, n, lanes, &scales, &x, total);
        vf d = vf_load(scales.d);
        UNROLL for (int t = 0; t < n; t++)
        {
            vf sum = vf_load(acc + t * 16);
            vf x_scale = token_scale(n, &x, 0, t);
            vi sums = vi_zero();
            if (sums_of(type) != SUMS_NONE)
                sums = super_sum_products(sub_block_groups(type), n, &scales, &x, pairs, t);
            if (sums_of(type) == SUMS_OFFSET)
                total[t] = vi_add32(total[t], sums);
            sum = vf_fma(vf_multiply(d, x_scale), vf_from_int(total[t]), sum);
            if (has_minimum(type))
                sum = vf_fma(vf_multiply(vf_load(scales.dmin), x_scale), vf_from_int(sums), sum);
            vf_store(acc + t * 16, sum);
        }
    }
}

/* ---- through panels, many tokens ------------------------------------------------------------- */

/* Sums of the magnitudes of negative quants, times the sub-scales: what signed products miss. */
static void put_super_negative(super_panel *panel)
{
    vi sum = vi_zero();
    for (int j = 0; j < 8; j++)
        sum = vi_add32(sum, vi_multiply32(negative_sum(panel->quants[j]),
                                          vi_first_of_pair(vi_load(panel->scales.scale[j]))));
    vi_store(panel->scales.negative, sum);
}

INLINE void unpack_super(rad_type type, const uint8_t *lanes, super_panel *panel)
{
    for (int unit = 0; unit < 64 / UNIT_GROUPS; unit++) {
        UNROLL for (int group = 0; group < UNIT_GROUPS; group++)
            vi_store(panel->quants[0] + unit_column(type, unit, group) * RAD_LANE_ROWS,
                     load_group(type, lanes, unit, group));
    }
    unpack_super_scales(type, lanes, &panel->scales);
    if (!WIDE_DOT && quant_bits(type) == 8)
        put_super_negative(panel);
}

/* With VNNI an offset begins the partial sums; else it is left to the pairs in the panel. */
INLINE void super_terms_16(int offset, const uint8_t *tile, tile_terms *terms)
{
    const int first = (int)((uint32_t)-offset & 0xffffu), second = (int)((uint32_t)-offset << 16);
    for (int word = 0; word < 8; word += 4) {
        vi words = vi_load(tile + RAD_TILE_SUMS + word * RAD_TILE_TOKENS * 4);
        vi_store(terms->starts[word], vi_madd16(words, vi_set32(first)));
        vi_store(terms->starts[8 + word], vi_madd16(words, vi_set32(second)));
    }
}

INLINE void super_terms_32(int offset, const uint8_t *tile, tile_terms *terms)
{
    for (int word = 0; word < 8; word += 4)
        vi_store(terms->starts[word],
                 vi_madd16(vi_load(tile + RAD_TILE_SUMS + word * RAD_TILE_TOKENS * 4),
                           vi_set16(-offset)));
}

/* Integer products of n tokens, from `first` on, with the quants of n_groups panels. */
INLINE void super_panel_products(int bits, int sub_groups, bool starts, int n_groups, int first,
                                 int n, const super_panel *const *panels, const uint8_t *columns,
                                 const tile_terms *terms, vi *total)
{
    const bool is_signed = !WIDE_DOT && bits == 8;
    for (int sub = 0; sub < 64 / sub_groups; sub++) {
        vi partial[PANEL_GROUPS * RAD_TILE_TOKENS];
        UNROLL for (int i = 0; i < n_groups * n; i++) partial[i] =
            starts ? vi_broadcast32(&terms->starts[start_row(sub_groups, sub)][first + i % n])
                   : vi_zero();
        UNROLL for (int group = 0; group < sub_groups; group++)
        {
            vi w[PANEL_GROUPS], mask[PANEL_GROUPS];
            int at = sub * sub_groups + group;
            UNROLL for (int g = 0; g < n_groups; g++)
            {
                w[g] = vi_load(panels[g]->quants[0] + at * GROUP_BYTES);
                mask[g] = is_signed ? vi_sign_mask(w[g]) : w[g];
                w[g] = is_signed ? vi_magnitude(w[g]) : w[g];
            }
            UNROLL for (int t = 0; t < n; t++)
            {
                vi column = vi_broadcast32(columns + (at * RAD_TILE_TOKENS + t) * 4);
                UNROLL for (int g = 0; g < n_groups; g++) add_super_group(
                    bits, sub_groups, group, w[g], is_signed ? vi_xor(column, mask[g]) : column,
                    vi_load(panels[g]->scales.scale[sub]), &partial[g * n + t], &total[g * n + t]);
            }
        }
    }
}

INLINE void super_tile_part(int bits, int sub_groups, super_sums kind, int n_groups, int first,
                            int n, const super_panel *const *panels, const uint8_t *tile,
                            const tile_terms *terms, float *acc)
{
    const float *x_scales = (const float *)(const void *)(tile + RAD_TILE_SCALES) + first;
    const uint8_t *words = tile + (sub_groups == 4 ? RAD_TILE_SUMS : RAD_TILE_PAIRS) + first * 4;
    const bool starts = WIDE_DOT && kind == SUMS_OFFSET;
    vi total[PANEL_GROUPS * RAD_TILE_TOKENS];
    UNROLL for (int i = 0; i < n_groups * n; i++) total[i] =
        !WIDE_DOT && bits == 8 ? vi_load(panels[i / n]->scales.negative) : vi_zero();
    super_panel_products(bits, sub_groups, starts, n_groups, first, n, panels, tile + first * 4,
                         terms, total);
    UNROLL for (int g = 0; g < n_groups; g++)
    {
        const super_scales *scales = &panels[g]->scales;
        vf d = vf_load(scales->d);
        UNROLL for (int t = 0; t < n; t++)
        {
            float *out = acc + (g * RAD_TILE_TOKENS + first + t) * 16;
            vf x_scale = vf_broadcast(x_scales + t);
            vi integer = total[g * n + t], sums = vi_zero();
            if (kind != SUMS_NONE && !starts) {
                UNROLL for (int j = 0; j < 32 / sub_groups; j++) sums =
                    vi_dot16(sums, vi_load(scales->minimum[j]),
                             vi_broadcast32(words + (j * RAD_TILE_TOKENS + t) * 4));
            }
            if (kind == SUMS_OFFSET && !starts)
                integer = vi_add32(integer, sums);
            vf sum = vf_fma(vf_multiply(d, x_scale), vf_from_int(integer), vf_load(out));
            if (kind == SUMS_MINIMUM)
                sum = vf_fma(vf_multiply(vf_load(scales->dmin), x_scale), vf_from_int(sums), sum);
            vf_store(out, sum);
        }
    }
}

#endif
