/* Products with FP8, NF4 and FP4 weights of many tokens: the tiles of kernels_products_float.h. */
#ifndef RAD_CUDA_PRODUCTS_SCALED_MANY_H
#define RAD_CUDA_PRODUCTS_SCALED_MANY_H

#include "kernels/cuda/products_half_many.h"
#include "kernels/cuda/products_scaled.h"

/* A block has ROWS and TOKENS, a warp WARP_ROWS and WARP_TOKENS of them; a stage is a block of 64
 * columns. Tokens of several stages are on their way to shared memory. Weights come through
 * registers: a thread loads the words of a step of some rows while the stage before is multiplied,
 * and takes them apart, once for all warps, into one of two places in shared memory. */
template <uint32_t rows, uint32_t tokens, uint32_t warp_rows, uint32_t warp_tokens>
struct scaled_tile {
    enum : uint32_t {
        ROWS = rows,
        TOKENS = tokens,
        WARP_ROWS = warp_rows,
        WARP_TOKENS = warp_tokens,
        ROW_TILES = warp_rows / 16,
        TOKEN_TILES = warp_tokens / 8,
        TOKEN_WARPS = tokens / warp_tokens,
        THREADS = 32 * (rows / warp_rows) * (tokens / warp_tokens),
        COPIED = THREADS / 8, /* lines of tokens at a time */
        TAKEN = THREADS / 4,  /* rows that are taken apart at a time */
        TURNS = rows / TAKEN,
        STAGES = RAD_CUDA_SCALED_STAGES
    };
    static_assert(tokens % COPIED == 0 && rows % TAKEN == 0 && TAKEN % 8 == 0, "whole turns");

    float c[ROW_TILES][TOKEN_TILES][4];
};

/* Where all is in shared memory. */
template <class T> struct scaled_shared {
    uint16_t tokens[T::STAGES][T::TOKENS * LINE];
    uint16_t rows[2][T::ROWS * LINE];
    float scales[2][T::ROWS];
};

/* What a thread loads of a stage: of each of its rows the words of step `thread % 4`. */
template <class T> struct scaled_words {
    uint32_t words[T::TURNS][4];
    float scales[T::TURNS];
};

template <class T, class F>
RAD_DEVICE void load_words(scaled_words<T> &w, const uint32_t *rows, uint32_t last_row,
                           uint32_t n_blocks, uint32_t stage)
{
    const uint32_t step = rad_thread() % 4;
    if (stage >= n_blocks)
        return;
#pragma unroll
    for (uint32_t i = 0; i < T::TURNS; i++) {
        const uint32_t row = rad_thread() / 4 + i * T::TAKEN;
        const uint32_t line = row < last_row ? row : last_row;
        const uint32_t *block = rows + ((uint64_t)line * n_blocks + stage) * F::BLOCK_WORDS;
        w.scales[i] = rad_float(block[0]);
#pragma unroll
        for (uint32_t four = 0; four < 4; four++)
            w.words[i][four] = block[F::word_at(F::word_of(step), four)];
    }
}

/* The operands of a step stand as an instruction takes them: of each lane of four the first pair,
 * then the second. */
template <class T, class F>
RAD_DEVICE void take_apart(const scaled_words<T> &w, uint16_t *rows, float *scales,
                           const rad_cuda_half_arguments &a)
{
    const uint32_t step = rad_thread() % 4;
#pragma unroll
    for (uint32_t i = 0; i < T::TURNS; i++) {
        const uint32_t row = rad_thread() / 4 + i * T::TAKEN;
        uint32_t first[4], second[4];
#pragma unroll
        for (uint32_t four = 0; four < 4; four++)
            F::pairs(a.levels, w.words[i][four], step, first[four], second[four]);
        rad_store16(rows + row_place(row, 2 * step), {first[0], first[1], first[2], first[3]});
        rad_store16(rows + row_place(row, 2 * step + 1),
                    {second[0], second[1], second[2], second[3]});
        if (step == 0)
            scales[row] = w.scales[i] * a.scale;
    }
}

template <class T, class J> RAD_DEVICE void fetch_tokens(const J &job, uint32_t stage, uint16_t *to)
{
    const uint32_t piece = rad_thread() % 8, first = rad_thread() / 8;
    if (stage >= job.n_stages)
        return;
    const uint8_t *halves = (const uint8_t *)(job.halves + stage * LINE + 8 * piece);
    uint16_t *tokens = to + token_place(first, piece);
#pragma unroll
    for (uint32_t i = 0; i < T::TOKENS / T::COPIED; i++) {
        const uint32_t token = first + i * T::COPIED;
        const uint32_t line = token < job.last_token ? token : job.last_token;
        rad_copy_async16(tokens + i * T::COPIED * LINE, halves + job.token_bytes(line, i));
    }
}

/* A stage: for 16 rows at a time the sums of its columns, then those times scales. */
template <class T>
RAD_DEVICE void multiply_stage(T &w, const uint16_t *rows, const float *scales,
                               const uint16_t *tokens)
{
    rad_u4 x[T::TOKEN_TILES][2];
#pragma unroll
    for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
#pragma unroll
        for (uint32_t second = 0; second < 2; second++)
            x[t][second] = load_token(tokens + t * 8 * LINE, second);
#pragma unroll
    for (uint32_t r = 0; r < T::ROW_TILES; r++) {
        float c[T::TOKEN_TILES][4] = {};
        const float scale[2] = {scales[r * 16 + rad_lane() / 4],
                                scales[r * 16 + 8 + rad_lane() / 4]};
#pragma unroll
        for (uint32_t s = 0; s < SCALED_STEPS; s++) {
            uint32_t sixteen[4];
            load_rows(sixteen, rows + r * 16 * LINE, s);
#pragma unroll
            for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
                multiply<false>(c[t], sixteen, x[t][s / 2], s % 2);
        }
#pragma unroll
        for (uint32_t t = 0; t < T::TOKEN_TILES; t++)
#pragma unroll
            for (uint32_t i = 0; i < 4; i++)
                w.c[r][t][i] = rad_fma(c[t][i], scale[i / 2], w.c[r][t][i]);
    }
}

/* rows: of weights, from the block's first one on. */
template <class T, class F, class J>
RAD_DEVICE void sum_stages(T &w, const J &job, const uint32_t *rows,
                           const rad_cuda_half_arguments &a)
{
    scaled_shared<T> &shared = *(scaled_shared<T> *)rad_dynamic_shared();
    const uint32_t first_row = rad_warp() / T::TOKEN_WARPS * T::WARP_ROWS;
    const uint32_t first_token = rad_warp() % T::TOKEN_WARPS * T::WARP_TOKENS;
    scaled_words<T> words = {};
    load_words<T, F>(words, rows, job.last_row, job.n_stages, 0);
    for (uint32_t stage = 0; stage + 1 < T::STAGES; stage++) {
        fetch_tokens<T>(job, stage, shared.tokens[stage]);
        rad_copy_async_commit();
    }
    take_apart<T, F>(words, shared.rows[0], shared.scales[0], a);
    load_words<T, F>(words, rows, job.last_row, job.n_stages, 1);
    for (uint32_t stage = 0; stage < job.n_stages; stage++) {
        const uint32_t now = stage % 2, next = 1 - now;
        rad_copy_async_wait((int)T::STAGES - 2);
        rad_barrier(); /* this stage is there, and nobody reads the one before any more */
        fetch_tokens<T>(job, stage + T::STAGES - 1,
                        shared.tokens[(stage + T::STAGES - 1) % T::STAGES]);
        rad_copy_async_commit();
        if (stage + 1 < job.n_stages)
            take_apart<T, F>(words, shared.rows[next], shared.scales[next], a);
        load_words<T, F>(words, rows, job.last_row, job.n_stages, stage + 2);
        multiply_stage(w, shared.rows[now] + first_row * LINE, shared.scales[now] + first_row,
                       shared.tokens[stage % T::STAGES] + first_token * LINE);
    }
}

/* Takes the rows' powers of two back; inputs: NULL, or which row each token is. */
template <class T>
RAD_DEVICE void scale_tokens(T &w, const rad_cuda_half_arguments &a, const uint32_t *inputs,
                             uint32_t first_token, uint32_t n_tokens)
{
    first_token += rad_warp() % T::TOKEN_WARPS * T::WARP_TOKENS + rad_lane() % 4 * 2;
#pragma unroll
    for (uint32_t t = 0; t < 2 * T::TOKEN_TILES; t++) {
        const uint32_t token = first_token + t / 2 * 8 + t % 2;
        if (token >= n_tokens)
            continue;
        const float factor = a.factors[inputs != nullptr ? inputs[token] : token];
#pragma unroll
        for (uint32_t r = 0; r < 2 * T::ROW_TILES; r++)
            w.c[r / 2][t / 2][r % 2 * 2 + t % 2] *= factor;
    }
}

template <class T, class F> RAD_DEVICE void scaled_many(const rad_cuda_half_arguments &a)
{
    const many_tile at = many_tile_of<T>(a);
    const rad_cuda_product_part &part = *at.part;
    const many_job job = {nullptr,
                          a.halves + (uint64_t)at.first_token * a.n_columns,
                          part.n_rows - 1 - at.first_row,
                          a.n_tokens - 1 - at.first_token,
                          a.n_columns,
                          a.n_columns / SCALED_BLOCK};
    T w = {};
    sum_stages<T, F>(w, job, scaled_row<F>(part, 0, at.first_row, a.n_columns), a);
    scale_tokens(w, a, nullptr, at.first_token, a.n_tokens);
    write_tiles(w, part, 0, at.first_row, at.first_token, a.n_tokens);
}

template <class T, class F> RAD_DEVICE void scaled_grouped(const rad_cuda_half_arguments &a)
{
    group_tile at;
    if (!group_tile_of<T>(a, at))
        return;
    const rad_cuda_product_part &part = a.parts[0];
    const gather_job<T> job = group_job<T>(a, at, nullptr);
    T w = {};
    sum_stages<T, F>(w, job, scaled_row<F>(part, at.expert, at.first_row, a.n_columns), a);
    scale_tokens(w, a, a.inputs, at.first, at.first + at.last + 1);
    write_tiles(w, part, at.expert, at.first_row, at.first, at.first + at.last + 1);
}

#endif
