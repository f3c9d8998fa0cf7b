/* Products with F32, F16 and BF16 weights in the canonical dot shape: a vector of 16 lanes holds
 * the sixteen partial sums of an output. Tiles of 4 rows and a few tokens keep their sums in
 * registers over a chunk of columns; sums then wait in memory for the next chunk, and sixteen rows
 * at a time are added up at the end.
 *
 * One or a few tokens: straight from the weights, which memory delivers no faster anyway. More:
 * blocks of rows are packed once into scratch, four rows side by side so that no two of them fall
 * into one set of the first-level cache, and stay in the second level while all tokens pass. Where
 * a register of weights serves 6 tokens (AVX-512), 16-bit weights are widened as they are loaded,
 * which halves what the second level must deliver; elsewhere they are widened when packed. */
#ifndef RAD_X86_FLOAT_PRODUCT_H
#define RAD_X86_FLOAT_PRODUCT_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/float_block.h"
#include "kernels/kernels.h"

enum {
    FLOAT_ROWS = 4,                        /* of a tile */
    FLOAT_STREAMS = VF_PARTS == 1 ? 8 : 4, /* rows of a tile of one token: memory delivers more to
                                            * eight streams than to four */
    FLOAT_TOKENS = VF_PARTS == 2 ? 3 : 6,  /* of a tile: 24 registers of sums of 32, or 12 of 16 */
    FLOAT_CHUNK = VF_PARTS == 1 ? 1024 : 512, /* columns whose operands fit the first-level cache */
    FLOAT_FEW = 2 * FLOAT_TOKENS,             /* tokens for which rows are not packed */
    FLOAT_GROUP = RAD_FLOAT_TILE_TOKENS       /* tokens that share the loads of a row tile */
};

/* Type of packed weights. */
INLINE rad_type packed_type(rad_type type)
{
    return VF_PARTS == 1 && (type == RAD_TYPE_F16 || type == RAD_TYPE_BF16) ? type : RAD_TYPE_F32;
}

INLINE size_t float_bytes(rad_type type)
{
    return type == RAD_TYPE_F32 ? 4 : 2;
}

INLINE vf_part load_weights(rad_type type, const uint8_t *p)
{
    return type == RAD_TYPE_F16    ? vf_part_load_f16(p)
           : type == RAD_TYPE_BF16 ? vf_part_load_bf16(p)
                                   : vf_part_load(p);
}

static float load_weight(rad_type type, const uint8_t *p)
{
    uint16_t half;
    float value;
    if (type == RAD_TYPE_F32) {
        memcpy(&value, p, 4);
        return value;
    }
    memcpy(&half, p, 2);
    return type == RAD_TYPE_F16 ? rad_f16_to_f32(half) : rad_bf16_to_f32(half);
}

/* Where a tile's operands stand: bytes between rows and between steps of 16 columns of the weights,
 * floats between tokens; sums are [token][row][16], sum_stride floats between tokens. */
typedef struct float_tile {
    const uint8_t *weights;
    size_t row_bytes;
    const float *x;
    size_t x_stride;
    float *sums;
    size_t sum_stride;
    uint32_t n_steps;
    bool resume;        /* sums go on from memory, not from zero */
    const float *ahead; /* columns that are wanted soon: each step fetches 16 of them */
} float_tile;

/* For one token, whose weights come from memory: half the rows in one step, half in the next, since
 * two steps of 16-bit weights make a line. */
INLINE void fetch_next_rows(const float_tile *tile, const uint8_t *weights, int n_rows,
                            uint32_t step)
{
    int half = n_rows > 1 ? n_rows / 2 : 1;
    weights += (n_rows + (n_rows > 1 ? half * (step & 1) : 0)) * tile->row_bytes;
    UNROLL for (int r = 0; r < half; r++)
        __builtin_prefetch(weights + (size_t)r * tile->row_bytes, 0, 2);
}

#define FOR_SUMS                                                                                   \
    UNROLL for (int p = 0; p < n_parts; p++) UNROLL for (int r = 0; r < n_rows; r++)               \
        UNROLL for (int t = 0; t < n_tokens; t++)

/* Parts first_part .. first_part + n_parts - 1 of the sixteen partial sums, a register each. */
INLINE void float_tile_parts(rad_type type, int n_rows, int n_tokens, size_t step_bytes,
                             const float_tile *tile, int first_part, int n_parts)
{
    vf_part sum[VF_PARTS][FLOAT_STREAMS][FLOAT_TOKENS];
    float *sums = tile->sums + first_part * VF_PART_LANES;
    const uint8_t *weights = tile->weights + (size_t)first_part * VF_PART_LANES * float_bytes(type);
    const float *x = tile->x + first_part * VF_PART_LANES;
    FOR_SUMS sum[p][r][t] = vf_part_zero();
    if (tile->resume)
        FOR_SUMS sum[p][r][t] =
            vf_part_load(sums + (size_t)t * tile->sum_stride + r * 16 + p * VF_PART_LANES);
    for (uint32_t step = 0; step < tile->n_steps; step++) {
        if (first_part == 0 && n_tokens == 1)
            fetch_next_rows(tile, weights, n_rows, step);
        else if (first_part == 0)
            __builtin_prefetch(tile->ahead + step * 16, 0, 2);
        UNROLL for (int p = 0; p < n_parts; p++)
        {
            vf_part column[FLOAT_TOKENS];
            size_t lane = (size_t)p * VF_PART_LANES;
            UNROLL for (int t = 0; t < n_tokens; t++) column[t] =
                vf_part_load(x + (size_t)t * tile->x_stride + lane);
            UNROLL for (int r = 0; r < n_rows; r++)
            {
                vf_part w = load_weights(type, weights + (size_t)r * tile->row_bytes +
                                                   lane * float_bytes(type));
                UNROLL for (int t = 0; t < n_tokens; t++)
                    vf_part_multiply_add(&sum[p][r][t], w, column[t]);
            }
        }
        weights += step_bytes;
        x += 16;
    }
    FOR_SUMS vf_part_store(sums + (size_t)t * tile->sum_stride + r * 16 + p * VF_PART_LANES,
                           sum[p][r][t]);
}

/* ---- instances ------------------------------------------------------------------------------- */

typedef void (*float_tile_fn)(const float_tile *tile);

/* step_bytes: between 16 columns and the next. Many sums leave registers for one part at a time. */
#define FLOAT_TILE(name, type, n_rows, n_tokens, step_bytes)                                       \
    static void name(const float_tile *tile)                                                       \
    {                                                                                              \
        if ((n_tokens) == 1)                                                                       \
            float_tile_parts(type, n_rows, n_tokens, step_bytes, tile, 0, VF_PARTS);               \
        else                                                                                       \
            UNROLL for (int part = 0; part < VF_PARTS; part++)                                     \
                float_tile_parts(type, n_rows, n_tokens, step_bytes, tile, part, 1);               \
    }
#define DIRECT_TILE(name, n_rows, n_tokens)                                                        \
    FLOAT_TILE(name##_f32, RAD_TYPE_F32, n_rows, n_tokens, 64)                                     \
    FLOAT_TILE(name##_f16, RAD_TYPE_F16, n_rows, n_tokens, 32)                                     \
    FLOAT_TILE(name##_bf16, RAD_TYPE_BF16, n_rows, n_tokens, 32)
#if VF_PARTS == 1
#define PACKED_TILE(n_tokens)                                                                      \
    FLOAT_TILE(packed_##n_tokens##_f32, RAD_TYPE_F32, FLOAT_ROWS, n_tokens, FLOAT_ROWS * 64)       \
    FLOAT_TILE(packed_##n_tokens##_f16, RAD_TYPE_F16, FLOAT_ROWS, n_tokens, FLOAT_ROWS * 32)       \
    FLOAT_TILE(packed_##n_tokens##_bf16, RAD_TYPE_BF16, FLOAT_ROWS, n_tokens, FLOAT_ROWS * 32)
#else
#define PACKED_TILE(n_tokens)                                                                      \
    FLOAT_TILE(packed_##n_tokens##_f32, RAD_TYPE_F32, FLOAT_ROWS, n_tokens, FLOAT_ROWS * 64)
#endif

DIRECT_TILE(direct_one_row, 1, 1)
DIRECT_TILE(direct_1, FLOAT_STREAMS, 1)
DIRECT_TILE(direct_2, FLOAT_ROWS, 2)
DIRECT_TILE(direct_3, FLOAT_ROWS, 3)
PACKED_TILE(1)
PACKED_TILE(2)
PACKED_TILE(3)
#if VF_PARTS != 2
DIRECT_TILE(direct_4, FLOAT_ROWS, 4)
DIRECT_TILE(direct_5, FLOAT_ROWS, 5)
DIRECT_TILE(direct_6, FLOAT_ROWS, 6)
PACKED_TILE(4)
PACKED_TILE(5)
PACKED_TILE(6)
#define FLOAT_TILES(name, suffix)                                                                  \
    {                                                                                              \
        name##1##suffix, name##2##suffix, name##3##suffix, name##4##suffix, name##5##suffix,       \
            name##6##suffix                                                                        \
    }
#else
#define FLOAT_TILES(name, suffix)                                                                  \
    {                                                                                              \
        name##1##suffix, name##2##suffix, name##3##suffix                                          \
    }
#endif

/* For 1, 2, ... tokens. */
static const float_tile_fn packed_tiles_f32[FLOAT_TOKENS] = FLOAT_TILES(packed_, _f32);
#if VF_PARTS == 1
static const float_tile_fn packed_tiles_f16[FLOAT_TOKENS] = FLOAT_TILES(packed_, _f16);
static const float_tile_fn packed_tiles_bf16[FLOAT_TOKENS] = FLOAT_TILES(packed_, _bf16);
#endif
static const float_tile_fn direct_tiles_f32[FLOAT_TOKENS] = FLOAT_TILES(direct_, _f32);
static const float_tile_fn direct_tiles_f16[FLOAT_TOKENS] = FLOAT_TILES(direct_, _f16);
static const float_tile_fn direct_tiles_bf16[FLOAT_TOKENS] = FLOAT_TILES(direct_, _bf16);

/* ---- the end of a sum ------------------------------------------------------------------------ */

/* A product in flight. */
typedef struct float_job {
    const rad_matrix *w;
    const rad_activations *x;
    size_t row_bytes;
    float *y;
    size_t y_stride;
} float_job;

static const float *token_values(const float_job *job, uint32_t token)
{
    return job->x->values + token * (size_t)job->w->n_columns;
}

/* The last columns, fewer than 16, of one output. */
static void add_last_columns(const float_job *job, uint32_t row, uint32_t token, float *lanes)
{
    size_t bytes = float_bytes(job->w->type);
    uint32_t n = job->w->n_columns, whole = n / 16 * 16;
    const uint8_t *weights = job->w->data + row * job->row_bytes + whole * bytes;
    const float *x = token_values(job, token) + whole;
    for (uint32_t i = 0; i < n - whole; i++)
        lanes[i] = fmaf(load_weight(job->w->type, weights + i * bytes), x[i], lanes[i]);
}

/* Outputs of n_rows rows and n_tokens tokens from their partial sums, for which sums has room up to
 * a multiple of 16 rows. */
static void finish_sums(const float_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                        uint32_t n_tokens, float *sums, size_t sum_stride)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *of_token = sums + t * sum_stride;
        if (job->w->n_columns % 16 != 0)
            for (uint32_t r = 0; r < n_rows; r++)
                add_last_columns(job, row + r, token + t, of_token + r * 16);
        float *out = job->y + (token + t) * job->y_stride + row;
        for (uint32_t r = 0; r < n_rows; r += 16) {
            float values[16];
            vf sixteen = vf_sum_16(of_token + r * 16);
            if (n_rows - r >= 16) { /* a copy of unknown length takes longer than the sum */
                vf_store(out + r, sixteen);
                continue;
            }
            vf_store(values, sixteen);
            memcpy(out + r, values, (n_rows - r) * sizeof(float));
        }
    }
}

/* ---- a few tokens ---------------------------------------------------------------------------- */

/* Four rows, or one, and all tokens, in groups of nearly equal size; `tile` is the first. */
static void direct_group(const float_tile_fn *tiles, float_tile tile, uint32_t n_tokens)
{
    uint32_t groups = (n_tokens + FLOAT_TOKENS - 1) / FLOAT_TOKENS;
    uint32_t most = (n_tokens + groups - 1) / groups;
    for (uint32_t t = 0; t < n_tokens; t += most) {
        uint32_t n = n_tokens - t < most ? n_tokens - t : most;
        tiles[n - 1](&tile);
        tile.x += most * tile.x_stride;
        tile.sums += most * tile.sum_stride;
    }
}

static void direct_row(float_tile_fn one_row, float_tile tile, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        one_row(&tile);
        tile.x += tile.x_stride;
        tile.sums += tile.sum_stride;
    }
}

static void direct_rows(const float_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                        uint32_t n_tokens)
{
    rad_type type = job->w->type;
    const float_tile_fn *tiles = type == RAD_TYPE_F16    ? direct_tiles_f16
                                 : type == RAD_TYPE_BF16 ? direct_tiles_bf16
                                                         : direct_tiles_f32;
    float_tile_fn one_row = type == RAD_TYPE_F16    ? direct_one_row_f16
                            : type == RAD_TYPE_BF16 ? direct_one_row_bf16
                                                    : direct_one_row_f32;
    float sums[FLOAT_FEW][16 * 16];
    memset(sums, 0, n_tokens * sizeof sums[0]);
    uint32_t whole = job->w->n_columns / 16 * 16;
    uint32_t chunk = n_tokens == 1 ? whole + 16 : FLOAT_CHUNK;
    float_tile tile = {.row_bytes = job->row_bytes,
                       .x_stride = job->w->n_columns,
                       .sum_stride = 16 * 16,
                       .ahead = token_values(job, token)};
    for (uint32_t r = 0; r < n_rows;) {
        uint32_t tile_rows = n_tokens == 1 ? FLOAT_STREAMS : FLOAT_ROWS;
        uint32_t step = n_rows - r < tile_rows ? 1 : tile_rows;
        tile.sums = sums[0] + r * 16;
        for (uint32_t column = 0, n; column == 0 || column < whole; column += chunk) {
            n = whole - column < chunk ? whole - column : chunk;
            tile.weights = job->w->data + (row + r) * job->row_bytes + column * float_bytes(type);
            tile.x = token_values(job, token) + column;
            tile.n_steps = n / 16;
            tile.resume = column > 0;
            if (step > 1)
                direct_group(tiles, tile, n_tokens);
            else
                direct_row(one_row, tile, n_tokens);
        }
        r += step;
    }
    finish_sums(job, row, n_rows, token, n_tokens, sums[0], 16 * 16);
}

/* ---- many tokens ----------------------------------------------------------------------------- */

/* Sixteen weights; from NULL zeros. */
INLINE void pack_step(rad_type type, const uint8_t *from, uint8_t *to)
{
    size_t packed_bytes = 16 * float_bytes(packed_type(type));
    if (from == NULL)
        memset(to, 0, packed_bytes);
    else if (packed_type(type) == type)
        memcpy(to, from, packed_bytes);
    else
        UNROLL for (size_t lane = 0; lane < 16; lane += VF_PART_LANES) vf_part_store(
            (float *)(void *)to + lane, load_weights(type, from + lane * float_bytes(type)));
}

/* Rows as [tile of 4][16 columns][4][16]; rows that the last tile lacks are zero. */
INLINE void pack_rows(rad_type type, const float_job *job, uint32_t row, uint32_t n_rows,
                      uint8_t *packed)
{
    uint32_t steps = job->w->n_columns / 16;
    size_t bytes = 16 * float_bytes(type), packed_bytes = 16 * float_bytes(packed_type(type));
    for (uint32_t r = 0; r < n_rows || r % FLOAT_ROWS != 0; r++) {
        size_t first = (size_t)(r / FLOAT_ROWS) * steps * FLOAT_ROWS + r % FLOAT_ROWS;
        uint8_t *to = packed + first * packed_bytes;
        const uint8_t *from = r < n_rows ? job->w->data + (row + r) * job->row_bytes : NULL;
        for (uint32_t step = 0; step < steps; step++, to += FLOAT_ROWS * packed_bytes)
            pack_step(type, from != NULL ? from + step * bytes : NULL, to);
    }
}

static void pack_block(const float_job *job, uint32_t row, uint32_t n_rows, uint8_t *packed)
{
    if (job->w->type == RAD_TYPE_F16)
        pack_rows(RAD_TYPE_F16, job, row, n_rows, packed);
    else if (job->w->type == RAD_TYPE_BF16)
        pack_rows(RAD_TYPE_BF16, job, row, n_rows, packed);
    else
        pack_rows(RAD_TYPE_F32, job, row, n_rows, packed);
}

static const float_tile_fn *packed_tiles(rad_type type)
{
#if VF_PARTS == 1
    if (type == RAD_TYPE_F16)
        return packed_tiles_f16;
    if (type == RAD_TYPE_BF16)
        return packed_tiles_bf16;
#endif
    (void)type;
    return packed_tiles_f32;
}

/* What the tile of rows r fetches for later: the next columns of one of the tokens, or the first
 * ones of the tokens that follow. */
static const float *wanted_soon(const float_job *job, uint32_t token, uint32_t n_tokens,
                                uint32_t last_token, uint32_t column, uint32_t r)
{
    uint32_t of = token + r / FLOAT_ROWS % n_tokens;
    if (column < job->w->n_columns)
        return token_values(job, of) + column;
    return token_values(job, of + n_tokens < last_token ? of + n_tokens : of);
}

/* The tiles of four rows and all tokens of a group; `tile` is the first of them. */
static void multiply_group(const float_tile_fn *tiles, float_tile tile, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t += FLOAT_TOKENS) {
        uint32_t n = n_tokens - t < FLOAT_TOKENS ? n_tokens - t : FLOAT_TOKENS;
        tiles[n - 1](&tile);
        tile.x += FLOAT_TOKENS * tile.x_stride;
        tile.sums += FLOAT_TOKENS * tile.sum_stride;
    }
}

static void multiply_block(const float_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                           uint32_t last_token, const uint8_t *packed, float *sums)
{
    const float_tile_fn *tiles = packed_tiles(job->w->type);
    size_t bytes = float_bytes(packed_type(job->w->type));
    uint32_t n_tokens = last_token - token < FLOAT_GROUP ? last_token - token : FLOAT_GROUP;
    uint32_t n_columns = job->w->n_columns, whole = n_columns / 16 * 16;
    float_tile tile = {.row_bytes = 16 * bytes,
                       .x_stride = n_columns,
                       .sum_stride = (size_t)RAD_FLOAT_BLOCK_ROWS * 16};
    for (uint32_t column = 0, n; column == 0 || column < whole; column += FLOAT_CHUNK) {
        n = whole - column < FLOAT_CHUNK ? whole - column : FLOAT_CHUNK;
        tile.x = token_values(job, token) + column;
        tile.n_steps = n / 16;
        tile.resume = column > 0;
        for (uint32_t r = 0; r < n_rows; r += FLOAT_ROWS) {
            tile.weights = packed + ((size_t)r * whole + (size_t)column * FLOAT_ROWS) * bytes;
            tile.sums = sums + r * 16;
            tile.ahead = wanted_soon(job, token, n_tokens, last_token, column + n, r);
            multiply_group(tiles, tile, n_tokens);
        }
    }
    finish_sums(job, row, n_rows, token, n_tokens, sums, tile.sum_stride);
}

static void product_float(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                          uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                          size_t y_stride, float *scratch)
{
    float_job job = {w, x, w->n_columns * float_bytes(w->type), y, y_stride};
    bool few = last_token - first_token <= FLOAT_FEW;
    uint32_t block = few ? 16 : rad_float_block_rows(w->n_columns);
    uint8_t *packed = (uint8_t *)scratch;
    float *sums = scratch + (size_t)block * w->n_columns;
    if (!few) /* rows that a block lacks add up to something, too */
        memset(sums, 0, sizeof(float) * RAD_FLOAT_TILE_TOKENS * RAD_FLOAT_BLOCK_ROWS * 16);
    for (uint32_t row = first_row; row < last_row; row += block) {
        uint32_t n_rows = last_row - row < block ? last_row - row : block;
        if (few) {
            direct_rows(&job, row, n_rows, first_token, last_token - first_token);
            continue;
        }
        pack_block(&job, row, n_rows, packed);
        for (uint32_t token = first_token; token < last_token; token += FLOAT_GROUP)
            multiply_block(&job, row, n_rows, token, last_token, packed, sums);
    }
}

#endif
