/* Products with F32, F16 and BF16 weights in the canonical dot shape: a vector of 16 lanes holds
 * the sixteen partial sums of an output. Tiles of 4 rows and a few tokens keep their sums in
 * registers over a chunk of columns; sums then wait in memory for the next chunk, and sixteen rows
 * at a time are added up at the end.
 *
 * In the lane layout sixteen rows stand side by side: one stream of memory, which delivers more
 * than several do, above all where many loads are under way: a token is multiplied with all of
 * them at once. Rows of a file are multiplied where they are with a few tokens, too, which memory
 * delivers no faster anyway. More tokens: blocks of rows are packed once into scratch, four rows
 * side by side so that no two of them fall into one set of the first-level cache, and stay in the
 * second level while all tokens pass. On x86 16-bit weights are widened as they are loaded, which
 * halves what the second level must deliver; on Arm they are widened when packed. */
#ifndef RAD_X86_FLOAT_PRODUCT_H
#define RAD_X86_FLOAT_PRODUCT_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/float_block.h"
#include "kernels/kernels.h"

enum {
    FLOAT_ROWS = 4,                        /* of a tile */
    FLOAT_STREAMS = VF_PARTS == 1 ? 8 : 4, /* rows of a tile of one token in a file: memory delivers
                                            * more to eight streams than to four */
    FLOAT_LANE_TILE = VF_PARTS == 2 ? 8 : 16, /* the same in lanes */
    FLOAT_TOKENS = VF_PARTS == 2 ? 3 : 6, /* of a tile: 24 registers of sums of 32, or 12 of 16 */
    FLOAT_CHUNK = VF_PARTS == 1 ? 1024 : 512, /* columns whose operands fit the first-level cache */
    FLOAT_LANE_CHUNK = 256,                   /* the same of sixteen rows */
    FLOAT_SUMS = VF_PARTS == 2 ? 8 : 24,      /* registers of sums in one pass over a tile */
    FLOAT_FEW = VF_PARTS == 2 ? 16 : 12,      /* tokens for which rows are not packed */
    /* Of a block; weights, tokens and sums together are to fit the first two levels. */
    FLOAT_BLOCK = VF_PARTS == 2 ? 32 : RAD_FLOAT_BLOCK_ROWS,
    FLOAT_GROUP =
        VF_PARTS == 2 ? 3 : RAD_FLOAT_TILE_TOKENS /* tokens that share the loads of a row tile */
};

/* Type of packed weights. */
INLINE rad_type packed_type(rad_type type)
{
    return VF_PARTS <= 2 && (type == RAD_TYPE_F16 || type == RAD_TYPE_BF16) ? type : RAD_TYPE_F32;
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
    size_t row_bytes, step_bytes;
    const float *x;
    size_t x_stride;
    float *sums;
    size_t sum_stride;
    uint32_t n_steps;
    bool resume; /* sums go on from memory, not from zero */
    /* What is wanted soon: each step fetches two lines of it, ahead_bytes behind those of the last.
     */
    const void *ahead;
    size_t ahead_bytes;
} float_tile;

/* Where the rows of a tile stand, as far as a compiler is to know it. */
typedef enum float_rows {
    ROWS_ANYWHERE,
    ROWS_OF_FILE, /* of one token, from memory */
    ROWS_OF_LANES /* all of them */
} float_rows;

/* For one token and rows of a file, which come from memory: half the rows in one step, half in the
 * next, since two steps of 16-bit weights make a line. */
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
INLINE void float_tile_parts(rad_type type, float_rows rows, int n_rows, int n_tokens,
                             const float_tile *tile, int first_part, int n_parts)
{
    const size_t lanes_bytes = RAD_FLOAT_LANES * float_bytes(type);
    const size_t row_bytes = rows == ROWS_OF_LANES ? lanes_bytes : tile->row_bytes;
    const size_t step_bytes =
        rows == ROWS_OF_LANES ? RAD_FLOAT_LANE_ROWS * lanes_bytes : tile->step_bytes;
    const uint8_t *ahead = tile->ahead;
    vf_part sum[VF_PARTS][16][FLOAT_TOKENS];
    float *sums = tile->sums + first_part * VF_PART_LANES;
    const uint8_t *weights = tile->weights + (size_t)first_part * VF_PART_LANES * float_bytes(type);
    const float *x = tile->x + first_part * VF_PART_LANES;
    FOR_SUMS sum[p][r][t] = vf_part_zero();
    if (tile->resume)
        FOR_SUMS sum[p][r][t] =
            vf_part_load(sums + (size_t)t * tile->sum_stride + r * 16 + p * VF_PART_LANES);
    for (uint32_t step = 0; step < tile->n_steps; step++) {
        if (rows == ROWS_OF_FILE) {
            fetch_next_rows(tile, weights, n_rows, step);
        } else if (rows == ROWS_ANYWHERE && first_part == 0 && n_tokens > 1) {
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(ahead + 64, 0, 2);
            ahead += tile->ahead_bytes;
        }
        UNROLL for (int p = 0; p < n_parts; p++)
        {
            vf_part column[FLOAT_TOKENS];
            size_t lane = (size_t)p * VF_PART_LANES;
            UNROLL for (int t = 0; t < n_tokens; t++) column[t] =
                vf_part_load(x + (size_t)t * tile->x_stride + lane);
            UNROLL for (int r = 0; r < n_rows; r++)
            {
                vf_part w =
                    load_weights(type, weights + (size_t)r * row_bytes + lane * float_bytes(type));
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

/* Many sums leave registers for one part at a time. */
#define FLOAT_TILE(name, type, rows, n_rows, n_tokens)                                             \
    static void name(const float_tile *tile)                                                       \
    {                                                                                              \
        if ((n_rows) * (n_tokens)*VF_PARTS <= FLOAT_SUMS)                                          \
            float_tile_parts(type, rows, n_rows, n_tokens, tile, 0, VF_PARTS);                     \
        else                                                                                       \
            UNROLL for (int part = 0; part < VF_PARTS; part++)                                     \
                float_tile_parts(type, rows, n_rows, n_tokens, tile, part, 1);                     \
    }
#define FLOAT_TILES_OF(name, rows, n_rows, n_tokens)                                               \
    FLOAT_TILE(name##_f32, RAD_TYPE_F32, rows, n_rows, n_tokens)                                   \
    FLOAT_TILE(name##_f16, RAD_TYPE_F16, rows, n_rows, n_tokens)                                   \
    FLOAT_TILE(name##_bf16, RAD_TYPE_BF16, rows, n_rows, n_tokens)

FLOAT_TILES_OF(file_row, ROWS_OF_FILE, 1, 1)
FLOAT_TILES_OF(file_rows, ROWS_OF_FILE, FLOAT_STREAMS, 1)
FLOAT_TILES_OF(lane_rows, ROWS_OF_LANES, FLOAT_LANE_TILE, 1)
FLOAT_TILES_OF(tile_1, ROWS_ANYWHERE, FLOAT_ROWS, 1)
FLOAT_TILES_OF(tile_2, ROWS_ANYWHERE, FLOAT_ROWS, 2)
FLOAT_TILES_OF(tile_3, ROWS_ANYWHERE, FLOAT_ROWS, 3)
#if VF_PARTS != 2
FLOAT_TILES_OF(tile_4, ROWS_ANYWHERE, FLOAT_ROWS, 4)
FLOAT_TILES_OF(tile_5, ROWS_ANYWHERE, FLOAT_ROWS, 5)
FLOAT_TILES_OF(tile_6, ROWS_ANYWHERE, FLOAT_ROWS, 6)
#define MORE_TILES(suffix) tile_4##suffix, tile_5##suffix, tile_6##suffix,
#else
#define MORE_TILES(suffix)
#endif

/* The tiles of a type: 4 rows and 1, 2, ... tokens; and for one token rows of a file, or lanes. */
typedef struct float_tiles {
    float_tile_fn of_tokens[FLOAT_TOKENS];
    float_tile_fn file_row, file_rows, lane_rows;
} float_tiles;

#define FLOAT_TILES(suffix)                                                                        \
    {                                                                                              \
        {tile_1##suffix, tile_2##suffix, tile_3##suffix, MORE_TILES(suffix)}, file_row##suffix,    \
            file_rows##suffix, lane_rows##suffix                                                   \
    }

static const float_tiles tiles_f32 = FLOAT_TILES(_f32), tiles_f16 = FLOAT_TILES(_f16),
                         tiles_bf16 = FLOAT_TILES(_bf16);

static const float_tiles *tiles_of(rad_type type)
{
    return type == RAD_TYPE_F16 ? &tiles_f16 : type == RAD_TYPE_BF16 ? &tiles_bf16 : &tiles_f32;
}

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

/* Four rows and all tokens, in groups of nearly equal size; `tile` is the first. */
static void direct_group(const float_tiles *tiles, float_tile tile, uint32_t n_tokens)
{
    uint32_t groups = (n_tokens + FLOAT_TOKENS - 1) / FLOAT_TOKENS;
    uint32_t most = (n_tokens + groups - 1) / groups;
    for (uint32_t t = 0; t < n_tokens; t += most) {
        uint32_t n = n_tokens - t < most ? n_tokens - t : most;
        tiles->of_tokens[n - 1](&tile);
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

/* A tile of n_rows rows and all tokens; `tile` is complete but for its function. */
static void direct_tile(const float_job *job, uint32_t n_rows, float_tile tile, uint32_t n_tokens)
{
    const float_tiles *tiles = tiles_of(job->w->type);
    if (n_rows == 1)
        direct_row(tiles->file_row, tile, n_tokens);
    else if (n_tokens > 1)
        direct_group(tiles, tile, n_tokens);
    else if (job->w->layout == RAD_LAYOUT_LANE)
        tiles->lane_rows(&tile);
    else
        tiles->file_rows(&tile);
}

/* Sixteen rows, or what there is of them. */
static void direct_rows(const float_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                        uint32_t n_tokens)
{
    const bool lanes = job->w->layout == RAD_LAYOUT_LANE, one = n_tokens == 1;
    const size_t step = 16 * float_bytes(job->w->type);
    const uint32_t tile_rows = !one ? FLOAT_ROWS : lanes ? FLOAT_LANE_TILE : FLOAT_STREAMS;
    const uint32_t whole = job->w->n_columns / 16 * 16;
    const uint32_t chunk = one && (!lanes || VF_PARTS == 1) ? whole + 16
                           : lanes                          ? FLOAT_LANE_CHUNK
                                                            : FLOAT_CHUNK;
    const uint8_t *weights = job->w->data + row * job->row_bytes;
    float sums[FLOAT_FEW][16 * 16];
    memset(sums, 0, n_tokens * sizeof sums[0]);
    float_tile tile = {.row_bytes = lanes ? step : job->row_bytes,
                       .step_bytes = lanes ? RAD_FLOAT_LANE_ROWS * step : step,
                       .x_stride = job->w->n_columns,
                       .sum_stride = 16 * 16,
                       .ahead_bytes = lanes ? FLOAT_ROWS * step : 64};
    for (uint32_t column = 0; column == 0 || column < whole; column += chunk) {
        tile.x = token_values(job, token) + column;
        tile.n_steps = (whole - column < chunk ? whole - column : chunk) / 16;
        tile.resume = column > 0;
        for (uint32_t r = 0, n; r < n_rows; r += n) {
            n = lanes || n_rows - r >= tile_rows ? tile_rows : 1;
            tile.weights = weights + column / 16 * tile.step_bytes + r * tile.row_bytes;
            tile.sums = sums[0] + r * 16;
            tile.ahead = lanes ? weights + (column + chunk) / 16 * tile.step_bytes +
                                     r / FLOAT_ROWS * (chunk / 16) * tile.ahead_bytes
                               : (const uint8_t *)token_values(job, token);
            direct_tile(job, n, tile, n_tokens);
        }
    }
    finish_sums(job, row, n_rows, token, n_tokens, sums[0], 16 * 16);
}

/* ---- many tokens ----------------------------------------------------------------------------- */

/* Rows that are packed together. */
static uint32_t block_rows(uint32_t n_columns)
{
    uint32_t most = rad_float_block_rows(n_columns);
    return most < FLOAT_BLOCK ? most : FLOAT_BLOCK;
}

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
    const bool lanes = job->w->layout == RAD_LAYOUT_LANE;
    uint32_t steps = job->w->n_columns / 16;
    size_t bytes = 16 * float_bytes(type), packed_bytes = 16 * float_bytes(packed_type(type));
    for (uint32_t r = 0; r < n_rows || r % FLOAT_ROWS != 0; r++) {
        size_t first = (size_t)(r / FLOAT_ROWS) * steps * FLOAT_ROWS + r % FLOAT_ROWS;
        uint8_t *to = packed + first * packed_bytes;
        const uint8_t *from = job->w->data + (row + r) * job->row_bytes;
        if (lanes)
            from = job->w->data +
                   rad_float_lane_index(row + r, 0, job->w->n_columns) * float_bytes(type);
        for (uint32_t step = 0; step < steps; step++, to += FLOAT_ROWS * packed_bytes)
            pack_step(type,
                      r < n_rows ? from + step * (lanes ? RAD_FLOAT_LANE_ROWS * bytes : bytes)
                                 : NULL,
                      to);
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
static void multiply_group(const float_tiles *tiles, float_tile tile, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t += FLOAT_TOKENS) {
        uint32_t n = n_tokens - t < FLOAT_TOKENS ? n_tokens - t : FLOAT_TOKENS;
        tiles->of_tokens[n - 1](&tile);
        tile.x += FLOAT_TOKENS * tile.x_stride;
        tile.sums += FLOAT_TOKENS * tile.sum_stride;
    }
}

static void multiply_block(const float_job *job, uint32_t row, uint32_t n_rows, uint32_t token,
                           uint32_t last_token, const uint8_t *packed, float *sums)
{
    const float_tiles *tiles = tiles_of(packed_type(job->w->type));
    size_t bytes = float_bytes(packed_type(job->w->type));
    uint32_t n_tokens = last_token - token < FLOAT_GROUP ? last_token - token : FLOAT_GROUP;
    uint32_t n_columns = job->w->n_columns, whole = n_columns / 16 * 16;
    float_tile tile = {.row_bytes = 16 * bytes,
                       .step_bytes = FLOAT_ROWS * 16 * bytes,
                       .x_stride = n_columns,
                       .sum_stride = (size_t)FLOAT_BLOCK * 16,
                       .ahead_bytes = 64};
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
    uint32_t block = few ? 16 : block_rows(w->n_columns);
    uint8_t *packed = (uint8_t *)scratch;
    float *sums = scratch + (size_t)block * w->n_columns;
    if (!few) /* rows that a block lacks add up to something, too */
        memset(sums, 0, sizeof(float) * FLOAT_GROUP * FLOAT_BLOCK * 16);
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
