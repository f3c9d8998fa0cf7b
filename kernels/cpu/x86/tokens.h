/* Activations as the products read them: four tokens side by side (rad_arrange_tile()), or a single
 * token from its own row. */
#ifndef RAD_X86_TOKENS_H
#define RAD_X86_TOKENS_H

#include <string.h>

#include "kernels/kernels.h"

enum { CHUNK_COLUMNS = RAD_TILE_COLUMNS };

/* Where the activations of the next chunk of columns begin, and how far the chunk behind it is. */
typedef struct token_view {
    const uint8_t *quants, *scales, *sums;
    size_t quant_step, scale_step, sum_step;
} token_view;

INLINE void next_chunk(token_view *x)
{
    x->quants += x->quant_step;
    x->scales += x->scale_step;
    x->sums += x->sum_step;
}

/* Where word `word` of token t is among the words of n tokens. */
INLINE size_t token_word(int n, int word, int t)
{
    return n == 1 ? (size_t)word * 4
                  : (size_t)(t / RAD_TILE_TOKENS) * RAD_TILE_BYTES +
                        (size_t)(word * RAD_TILE_TOKENS + t % RAD_TILE_TOKENS) * 4;
}

/* Four columns, one scale, or the sums of two neighbouring 16 columns, in every lane. */
INLINE vi token_columns(int n, const token_view *x, int group, int t)
{
    return vi_broadcast32(x->quants + token_word(n, group, t));
}

INLINE vf token_scale(int n, const token_view *x, int block, int t)
{
    return vf_broadcast(x->scales + token_word(n, block, t));
}

INLINE vi token_sums(int n, const token_view *x, int block, int t)
{
    return vi_broadcast32(x->sums + token_word(n, block, t));
}

/* The sums of two neighbouring 32 columns; of tiles only, with Q8_256. */
INLINE vi token_pairs(int n, const token_view *x, int word, int t)
{
    return vi_broadcast32(x->scales + (RAD_TILE_PAIRS - RAD_TILE_SCALES) + token_word(n, word, t));
}

static token_view view_token(const rad_activations *x, uint32_t token)
{
    const size_t n = x->n_columns;
    const size_t block = rad_activation_block(x->kind, x->n_columns);
    return (token_view){.quants = (const uint8_t *)(x->quants + token * n),
                        .scales = (const uint8_t *)(x->scales + token * (n / block)),
                        .sums = (const uint8_t *)(x->sums + token * (n / 16)),
                        .quant_step = CHUNK_COLUMNS,
                        .scale_step = block == n ? 0 : CHUNK_COLUMNS / block * sizeof(float),
                        .sum_step = CHUNK_COLUMNS / 16 * sizeof(int16_t)};
}

/* The tile that begins with a token, at a chunk of columns. */
static const uint8_t *tile_at(const rad_activations *x, uint32_t token, uint32_t chunk)
{
    size_t n_tiles = (x->n_tokens + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS;
    return x->tiles + (chunk * n_tiles + token / RAD_TILE_TOKENS) * RAD_TILE_BYTES;
}

static token_view view_tile(const rad_activations *x, uint32_t token)
{
    const uint8_t *tile = tile_at(x, token, 0);
    size_t step = (size_t)(tile_at(x, token, 1) - tile);
    return (token_view){.quants = tile,
                        .scales = tile + RAD_TILE_SCALES,
                        .sums = tile + RAD_TILE_SUMS,
                        .quant_step = step,
                        .scale_step = step,
                        .sum_step = step};
}

/* The 16 sums of the i-th pair (group of rows, token) of n tokens from `first` on, among
 * [group][token][16 rows]. */
INLINE float *tile_sum(float *acc, int i, int first, int n)
{
    return acc + (i / n * RAD_TILE_TOKENS + first + i % n) * 16;
}

/* What follows from a tile's sums and is the same for all rows: made once for a chunk, while many
 * rows pass. */
typedef union tile_terms {
    struct {
        int32_t start[8][RAD_TILE_TOKENS]; /* - offset * sum of a block of 32 */
        float sums[8][RAD_TILE_TOKENS];    /* that sum, for the minimum */
    } block;
    int32_t starts[16][RAD_TILE_TOKENS];   /* - offset * sum of each sub-block: start_row() */
    int16_t halves[8][RAD_TILE_TOKENS][2]; /* two sums, which together are that of a block */
} tile_terms;

/* Of the sub-blocks of 16, first those with an even number. */
INLINE int start_row(int sub_groups, int sub)
{
    return sub_groups == 4 ? sub % 2 * 8 + sub / 2 : sub;
}

#endif
