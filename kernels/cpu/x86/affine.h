/* Products with the affine formats of quantized folders (quant/affine.c): a word of scale and zero,
 * then the quants of 1 or 4 times 32 columns. The zero is part of the integer sums, minus it times
 * the sum of the activations, so that a block ends with one multiply-add. */
#ifndef RAD_X86_AFFINE_H
#define RAD_X86_AFFINE_H

#include "kernels/cpu/x86/blocks.h"

enum { AFFINE_HEAD = 64 /* a word of each row */ };

/* Scale, and minus the zero as int16 pairs of equals, of 16 rows. */
typedef struct affine_head {
    vf scale;
    vi minus_zero;
} affine_head;

INLINE affine_head load_affine_head(int bits, const uint8_t *lanes)
{
    uint32_t words[RAD_LANE_ROWS];
    affine_head head;
    vi word = vi_load(lanes);
    vi_store(words, vi_and(word, vi_set32((int)0xffffff00u)));
    head.scale = vf_load(words);
    vi zero = vi_and(word, vi_set32(255));
    zero = vi_or(zero, vi_shift_left(zero, 16));
    const int offset = bits == 8 && SIGNED_BYTES ? 128 : 0;
    head.minus_zero = vi_add16(vi_multiply16(zero, vi_set16(-1)), vi_set16(offset));
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

/* As add_group(), where `total` goes on over several times 32 columns. */
INLINE void affine_add(int bits, int group, vi w, vi column, vi *partial, vi *total)
{
    const int chain = chain_groups(bits);
    if (WIDE_DOT) {
        *total = vi_dot(*total, w, column);
        return;
    }
    *partial = group % chain == 0 ? vi_dot_first(w, column) : vi_dot(*partial, w, column);
    if (group % chain == chain - 1)
        *total = vi_accumulate(*total, vi_widen(*partial));
}

/* Columns that share a scale of activations, in blocks of `words` times 32: in times 32 as well. */
INLINE uint32_t affine_span(uint32_t words)
{
    return words == 1 ? 1 : 2;
}

/* Adds up the integers of 32 columns of n tokens; `at` is where they stand in a chunk. */
INLINE void affine_direct_step(int bits, int n, const uint8_t *lanes, vi minus_zero,
                               const token_view *x, int at, vi *total)
{
    const bool is_signed = bits == 8 && !WIDE_DOT;
    vi partial[DIRECT_TOKENS];
    if (n >= FETCH_FROM)
        fetch_ahead(lanes, (size_t)bits * 64);
    UNROLL for (int t = 0; t < n; t++)
    {
        total[t] = vi_dot16(total[t], minus_zero, token_sums(n, x, at, t));
        partial[t] = vi_zero();
    }
    UNROLL for (int group = 0; group < 8; group++)
    {
        vi w = affine_group(bits, lanes, group);
        vi magnitude = is_signed ? vi_magnitude(w) : w;
        UNROLL for (int t = 0; t < n; t++)
        {
            vi column = token_columns(n, x, at * 8 + group, t);
            if (is_signed)
                column = vi_with_sign(column, w);
            affine_add(bits, group, magnitude, column, &partial[t], &total[t]);
        }
    }
}

/* acc[t * 16 + row] of n tokens goes on over n_blocks blocks of `words` times 32 columns. */
INLINE void affine_direct(int bits, int n, const uint8_t *lanes, uint32_t n_blocks, uint32_t words,
                          token_view x, float *acc)
{
    const uint32_t span = affine_span(words);
    vf sum[DIRECT_TOKENS];
    int at = 0, scale = 0; /* in a chunk of columns */
    UNROLL for (int t = 0; t < n; t++) sum[t] = vf_load(acc + t * 16);
    for (uint32_t b = 0; b < n_blocks; b++) {
        const affine_head head = load_affine_head(bits, lanes);
        lanes += AFFINE_HEAD;
        for (uint32_t word = 0; word < words; word += span) {
            vi total[DIRECT_TOKENS];
            UNROLL for (int t = 0; t < n; t++) total[t] = vi_zero();
            for (uint32_t i = 0; i < span; i++, at++, lanes += (size_t)bits * 64)
                affine_direct_step(bits, n, lanes, head.minus_zero, &x, at, total);
            UNROLL for (int t = 0; t < n; t++) sum[t] =
                vf_fma(vf_multiply(head.scale, token_scale(n, &x, scale, t)), vf_from_int(total[t]),
                       sum[t]);
            scale++;
        }
        if (at == 8) {
            next_chunk(&x);
            at = scale = 0;
        }
    }
    UNROLL for (int t = 0; t < n; t++) vf_store(acc + t * 16, sum[t]);
}

/* ---- through panels, many tokens ------------------------------------------------------------- */

typedef struct affine_panel {
    uint8_t quants[8][8 * GROUP_BYTES]; /* as in block_panel */
    int32_t negative[8][16];
    float scale[8][16]; /* of each span of columns */
    uint8_t minus_zero[8][64];
    uint32_t span;
} affine_panel;

/* Quants of 5 and 6 bits are those of 8 in a panel. */
INLINE void unpack_affine(int bits, const uint8_t *lanes, uint32_t n_blocks, uint32_t words,
                          affine_panel *panel)
{
    const uint32_t span = affine_span(words);
    uint32_t at = 0;
    panel->span = span;
    for (uint32_t b = 0; b < n_blocks; b++) {
        const affine_head head = load_affine_head(bits, lanes);
        lanes += AFFINE_HEAD;
        for (uint32_t word = 0; word < words; word++, at++, lanes += (size_t)bits * 64) {
            vf_store(panel->scale[at / span], head.scale);
            vi_store(panel->minus_zero[at / span], head.minus_zero);
            UNROLL for (int group = 0; group < 8; group++)
                vi_store(panel->quants[at] + group * GROUP_BYTES, affine_group(bits, lanes, group));
            if (!WIDE_DOT && bits >= 5)
                vi_store(panel->negative[at], negative_sum(panel->quants[at]));
        }
    }
}

/* Of blocks of 32, and of 128. */
INLINE void affine_terms_32(int offset, const uint8_t *tile, tile_terms *terms)
{
    (void)offset;
    memcpy(terms->halves, tile + RAD_TILE_SUMS, sizeof terms->halves);
}

INLINE void affine_terms_128(int offset, const uint8_t *tile, tile_terms *terms)
{
    enum { SUMS = 2 * RAD_TILE_TOKENS }; /* of each 32 columns */
    int16_t sums[8][SUMS], *out = &terms->halves[0][0][0];
    (void)offset;
    memcpy(sums, tile + RAD_TILE_SUMS, sizeof sums);
    for (int b = 0; b < 8; b += 2)
        for (int i = 0; i < SUMS; i++)
            *out++ = (int16_t)(sums[b][i] + sums[b + 1][i]);
}

/* 32 columns of n tokens with n_groups panels. */
INLINE void affine_step(int bits, int n_groups, int n, const affine_panel *const *panels,
                        uint32_t at, const uint8_t *columns, vi *total)
{
    const bool is_signed = !WIDE_DOT && bits == 8;
    vi partial[PANEL_GROUPS * RAD_TILE_TOKENS];
    UNROLL for (int i = 0; i < n_groups * n; i++)
    {
        partial[i] = vi_zero();
        if (is_signed)
            total[i] = vi_add32(total[i], vi_load(panels[i / n]->negative[at]));
    }
    UNROLL for (int group = 0; group < 8; group++)
    {
        vi w[PANEL_GROUPS], mask[PANEL_GROUPS];
        UNROLL for (int g = 0; g < n_groups; g++)
        {
            w[g] = vi_load(panels[g]->quants[at] + group * GROUP_BYTES);
            mask[g] = is_signed ? vi_sign_mask(w[g]) : w[g];
            w[g] = is_signed ? vi_magnitude(w[g]) : w[g];
        }
        UNROLL for (int t = 0; t < n; t++)
        {
            vi column = vi_broadcast32(columns + (group * RAD_TILE_TOKENS + t) * 4);
            UNROLL for (int g = 0; g < n_groups; g++)
                affine_add(bits, group, w[g], is_signed ? vi_xor(column, mask[g]) : column,
                           &partial[g * n + t], &total[g * n + t]);
        }
    }
    UNROLL for (int i = 0; i < n_groups * n; i++) total[i] = vi_keep(total[i]);
}

/* n tokens of a tile, from `first` on, over n_columns times 32 columns. */
INLINE void affine_tile_part(int bits, int n_groups, int first, int n,
                             const affine_panel *const *panels, uint32_t n_columns,
                             const uint8_t *tile, const tile_terms *terms, float *acc)
{
    const uint8_t *columns = tile + first * 4;
    const float *scales = (const float *)(const void *)(tile + RAD_TILE_SCALES) + first;
    const uint32_t span = panels[0]->span;
    vf sum[PANEL_GROUPS * RAD_TILE_TOKENS];
    if (SUMS_IN_REGISTERS)
        UNROLL for (int i = 0; i < n_groups * n; i++) sum[i] = vf_load(tile_sum(acc, i, first, n));
    for (uint32_t b = 0, at = 0; at < n_columns; b++, scales += RAD_TILE_TOKENS) {
        vi total[PANEL_GROUPS * RAD_TILE_TOKENS];
        if (!SUMS_IN_REGISTERS && n == PANEL_TOKENS)
            READ_AGAIN();
        UNROLL for (int i = 0; i < n_groups * n; i++) total[i] = vi_madd16(
            vi_load(panels[i / n]->minus_zero[b]), vi_broadcast32(terms->halves[b][first + i % n]));
        const uint32_t end = at + span;
        do {
            affine_step(bits, n_groups, n, panels, at, columns, total);
            columns += 8 * RAD_TILE_TOKENS * 4;
        } while (++at < end);
        UNROLL for (int i = 0; i < n_groups * n; i++)
        {
            if (!SUMS_IN_REGISTERS)
                sum[i] = vf_load(tile_sum(acc, i, first, n));
            sum[i] =
                vf_fma(vf_multiply(vf_load(panels[i / n]->scale[b]), vf_broadcast(scales + i % n)),
                       vf_from_int(total[i]), sum[i]);
            if (!SUMS_IN_REGISTERS)
                vf_store(tile_sum(acc, i, first, n), sum[i]);
        }
    }
    if (SUMS_IN_REGISTERS)
        UNROLL for (int i = 0; i < n_groups * n; i++) vf_store(tile_sum(acc, i, first, n), sum[i]);
}

#endif
