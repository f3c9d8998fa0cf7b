/* Products with 16-bit weights of many tokens: the tiles of kernels_products_float.h. */
#ifndef RAD_CUDA_PRODUCTS_HALF_MANY_H
#define RAD_CUDA_PRODUCTS_HALF_MANY_H

#include "kernels/cuda/products_half.h"

/* A block has ROWS and TOKENS, a warp WARP_ROWS and WARP_TOKENS of them. Shared memory gives 128
 * bytes a clock, so that the larger a warp's share is the less its instructions wait.
 *
 * A stage is a line of 64 columns of all rows and tokens. */
template <uint32_t rows, uint32_t tokens, uint32_t warp_rows, uint32_t warp_tokens, uint32_t stages>
struct half_tile {
    enum : uint32_t {
        ROWS = rows,
        TOKENS = tokens,
        WARP_ROWS = warp_rows,
        WARP_TOKENS = warp_tokens,
        ROW_TILES = warp_rows / 16,
        TOKEN_TILES = warp_tokens / 8,
        TOKEN_WARPS = tokens / warp_tokens,
        THREADS = 32 * (rows / warp_rows) * (tokens / warp_tokens),
        COPIED = THREADS / 8, /* lines at a time */
        STAGES = stages,      /* usually */
        STAGE = (rows + tokens) * LINE
    };
    static_assert(rows % COPIED == 0 && tokens % COPIED == 0 && COPIED % 8 == 0, "whole copies");

    float c[ROW_TILES][TOKEN_TILES][4];
    rad_u4 x[TOKEN_TILES]; /* what is multiplied next: tokens, */
    uint32_t first[2][4];  /* and 16 rows */
};

struct many_job {
    const uint16_t *weights, *halves; /* of the first row and token */
    uint32_t last_row, last_token;    /* those that are there, from the first on */
    uint32_t n_columns, n_stages;

    RAD_MEMBER uint32_t token_bytes(uint32_t token, uint32_t) const
    {
        return token * (2 * n_columns);
    }
};

/* Of tokens that stand anywhere, which those are that a thread copies. */
template <class T> struct gather_job : many_job {
    uint32_t tokens[T::TOKENS / T::COPIED];

    RAD_MEMBER uint64_t token_bytes(uint32_t, uint32_t i) const
    {
        return (uint64_t)tokens[i] * (2 * n_columns);
    }
};

/* Begins to copy a stage: a thread has 16 bytes of each COPIED-th line. What is not there is
 * computed and not written. (Not copying it made all of it slower: 2,048 tokens x 4,096 x 4,096
 * took 240 us on an H100, and 173 us so.) */
template <class T, class J> RAD_DEVICE void fetch(const J &job, uint32_t stage, uint16_t *to)
{
    const uint32_t piece = rad_thread() % 8, first = rad_thread() / 8;
    const uint32_t column = stage * LINE + 8 * piece;
    if (stage >= job.n_stages || column >= job.n_columns)
        return;
    const uint8_t *weights = (const uint8_t *)(job.weights + column);
    const uint8_t *halves = (const uint8_t *)(job.halves + column);
    uint16_t *rows = to + row_place(first, piece);
    uint16_t *tokens = to + T::ROWS * LINE + token_place(first, piece);
#pragma unroll
    for (uint32_t i = 0; i < T::ROWS / T::COPIED; i++) {
        const uint32_t row = first + i * T::COPIED;
        const uint32_t line = row < job.last_row ? row : job.last_row;
        rad_copy_async16(rows + i * T::COPIED * LINE, weights + line * (2 * job.n_columns));
    }
#pragma unroll
    for (uint32_t i = 0; i < T::TOKENS / T::COPIED; i++) {
        const uint32_t token = first + i * T::COPIED;
        const uint32_t line = token < job.last_token ? token : job.last_token;
        rad_copy_async16(tokens + i * T::COPIED * LINE, halves + job.token_bytes(line, i));
    }
}

/* The lane's operand of 32 columns, the first or the second ones of a line. */
RAD_DEVICE rad_u4 load_token(const uint16_t *lines, uint32_t second)
{
    return rad_load16(lines + token_place(rad_lane() / 4, second * 4 + rad_lane() % 4));
}

RAD_DEVICE void load_row_pair(uint32_t rows[2][4], const uint16_t *lines, uint32_t second)
{
    load_rows(rows[0], lines, second * 2);
    load_rows(rows[1], lines, second * 2 + 1);
}

/* 32 columns of all tiles of a warp, the first or the second ones of `rows`; between the
 * instructions it loads the operands of the next 32. Two instructions of the same sums stand apart
 * by those of the other tokens. */
template <class T, bool bf16>
RAD_DEVICE void multiply_tiles(T &w, const uint16_t *rows, uint32_t second,
                               const uint16_t *next_rows, const uint16_t *next_tokens,
                               uint32_t next_second)
{
    rad_u4 next[T::TOKEN_TILES];
#pragma unroll
    for (uint32_t r = 0; r < T::ROW_TILES; r++) {
        uint32_t now[2][4];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            now[i / 4][i % 4] = w.first[i / 4][i % 4];
        if (r + 1 < T::ROW_TILES)
            load_row_pair(w.first, rows + (r + 1) * 16 * LINE, second);
        else
            load_row_pair(w.first, next_rows, next_second);
#pragma unroll
        for (uint32_t t = r * T::TOKEN_TILES / T::ROW_TILES;
             t < (r + 1) * T::TOKEN_TILES / T::ROW_TILES; t++)
            next[t] = load_token(next_tokens + t * 8 * LINE, next_second);
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
#pragma unroll
            for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
                multiply<bf16>(w.c[r][t], now[i], w.x[t], i);
    }
#pragma unroll
    for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
        w.x[t] = next[t];
}

/* Until of the stages that were fetched at most all but `there` are on their way. */
template <class T> RAD_DEVICE void wait(uint32_t n_buffers, int there)
{
    if (n_buffers == T::STAGES)
        rad_copy_async_wait((int)T::STAGES - 1 - there);
    else
        rad_copy_async_wait(0);
    rad_barrier();
}

/* The second half of a stage is multiplied when the next stage is there, so that its operands can
 * be loaded meanwhile. */
template <class T, bool bf16, class J>
RAD_DEVICE void sum_many(T &w, const J &job, uint32_t n_buffers)
{
    uint16_t *buffers = (uint16_t *)rad_dynamic_shared();
    const uint32_t row = rad_warp() / T::TOKEN_WARPS * T::WARP_ROWS * LINE;
    const uint32_t token = (T::ROWS + rad_warp() % T::TOKEN_WARPS * T::WARP_TOKENS) * LINE;
    for (uint32_t stage = 0; stage + 1 < n_buffers; stage++) {
        fetch<T>(job, stage, buffers + stage * T::STAGE);
        rad_copy_async_commit();
    }
    wait<T>(n_buffers, 1);
    const uint16_t *now = buffers;
    load_row_pair(w.first, now + row, 0);
#pragma unroll
    for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
        w.x[t] = load_token(now + token + t * 8 * LINE, 0);
    uint32_t next = 1, free = n_buffers - 1;
    for (uint32_t stage = 0; stage < job.n_columns / LINE; stage++) {
        const uint16_t *rows = now + row;
        multiply_tiles<T, bf16>(w, rows, 0, rows, now + token, 1);
        if (stage + 1 < job.n_stages) {
            wait<T>(n_buffers, 2); /* nobody reads the stage before any more */
            fetch<T>(job, stage + n_buffers - 1, buffers + free * T::STAGE);
            rad_copy_async_commit();
            now = buffers + next * T::STAGE;
        }
        multiply_tiles<T, bf16>(w, rows, 1, now + row, now + token, 0);
        free = free + 1 == n_buffers ? 0 : free + 1;
        next = next + 1 == n_buffers ? 0 : next + 1;
    }
    if (job.n_columns % LINE != 0)
        multiply_tiles<T, bf16>(w, now + row, 0, now + row, now + token, 0);
}

/* What comes behind the product, for all sums of a thread. */
template <class T>
RAD_DEVICE void write_tiles(const T &w, const rad_cuda_product_part &part, uint32_t expert,
                            uint32_t first_row, uint32_t first_token, uint32_t n_tokens)
{
    first_row += rad_warp() / T::TOKEN_WARPS * T::WARP_ROWS + rad_lane() / 4;
    first_token += rad_warp() % T::TOKEN_WARPS * T::WARP_TOKENS + rad_lane() % 4 * 2;
#pragma unroll
    for (uint32_t r = 0; r < 2 * T::ROW_TILES; r++) {
        const uint32_t row = first_row + r * 8;
        if (row >= part.n_rows)
            break;
        const float bias =
            part.bias != nullptr ? part.bias[(uint64_t)expert * part.n_rows + row] : 0.0f;
#pragma unroll
        for (uint32_t t = 0; t < 2 * T::TOKEN_TILES; t++) {
            const uint32_t token = first_token + t / 2 * 8 + t % 2;
            if (token < n_tokens)
                finish(part, expert, bias, token, row, w.c[r / 2][t / 2][r % 2 * 2 + t % 2]);
        }
    }
}

/* What a block has. */
struct many_tile {
    const rad_cuda_product_part *part;
    uint32_t first_row, first_token;
};

/* Blocks stand in bands of a.band tiles of tokens, in a band those of the same rows side by side:
 * what runs at a time reads few rows and few tokens, which the L2 cache then serves. */
template <class T> RAD_DEVICE many_tile many_tile_of(const rad_cuda_half_arguments &a)
{
    const uint32_t n_tiles = (a.n_tokens + T::TOKENS - 1) / T::TOKENS;
    const uint32_t band_blocks = a.band * a.n_row_blocks;
    const uint32_t first_tile = rad_block_x() / band_blocks * a.band;
    const uint32_t at = rad_block_x() % band_blocks;
    const uint32_t width = n_tiles - first_tile < a.band ? n_tiles - first_tile : a.band;
    many_tile tile;
    tile.part = &part_of(a, at / width, T::ROWS, &tile.first_row);
    tile.first_token = (first_tile + at % width) * T::TOKENS;
    return tile;
}

template <class T, bool bf16> RAD_DEVICE void many(const rad_cuda_half_arguments &a)
{
    const many_tile tile = many_tile_of<T>(a);
    const rad_cuda_product_part &part = *tile.part;
    const many_job job = {(const uint16_t *)part.weights + (uint64_t)tile.first_row * a.n_columns,
                          a.halves + (uint64_t)tile.first_token * a.n_columns,
                          part.n_rows - 1 - tile.first_row,
                          a.n_tokens - 1 - tile.first_token,
                          a.n_columns,
                          (a.n_columns + LINE - 1) / LINE};
    T w = {};
    sum_many<T, bf16>(w, job, a.n_stages);
    write_tiles(w, part, 0, tile.first_row, tile.first_token, a.n_tokens);
}

/* What a block has of an expert; `last`: of its tokens, from the first on. */
struct group_tile {
    uint32_t expert, first_row, first, last;
};

template <class T> RAD_DEVICE bool group_tile_of(const rad_cuda_half_arguments &a, group_tile &tile)
{
    const uint32_t number = rad_block_x() / a.n_row_blocks;
    tile.first_row = rad_block_x() % a.n_row_blocks * T::ROWS;
    if (number >= *a.n_tiles)
        return false;
    tile.expert = a.tile_expert[number];
    tile.first = a.tile_first[number];
    const uint32_t left = a.starts[tile.expert + 1] - tile.first;
    tile.last = left < T::TOKENS ? left - 1 : (uint32_t)T::TOKENS - 1;
    return true;
}

template <class T>
RAD_DEVICE gather_job<T> group_job(const rad_cuda_half_arguments &a, const group_tile &tile,
                                   const uint16_t *weights)
{
    gather_job<T> job = {{weights, a.halves, a.parts[0].n_rows - 1 - tile.first_row, tile.last,
                          a.n_columns, (a.n_columns + LINE - 1) / LINE},
                         {}};
#pragma unroll
    for (uint32_t i = 0; i < T::TOKENS / T::COPIED; i++) {
        const uint32_t token = rad_thread() / 8 + i * T::COPIED;
        const uint32_t output = tile.first + (token < tile.last ? token : tile.last);
        job.tokens[i] = a.inputs != nullptr ? a.inputs[output] : output;
    }
    return job;
}

/* Tokens by expert: a block has those of a tile, whose outputs stand side by side. */
template <class T, bool bf16> RAD_DEVICE void grouped(const rad_cuda_half_arguments &a)
{
    group_tile tile;
    if (!group_tile_of<T>(a, tile))
        return;
    const rad_cuda_product_part &part = a.parts[0];
    const gather_job<T> job =
        group_job<T>(a, tile,
                     (const uint16_t *)(part.weights + tile.expert * part.expert_bytes) +
                         (uint64_t)tile.first_row * a.n_columns);
    T w = {};
    sum_many<T, bf16>(w, job, a.n_stages);
    write_tiles(w, part, tile.expert, tile.first_row, tile.first, tile.first + tile.last + 1);
}

#endif
