/* What comes behind a product of few tokens and is done by its blocks: the last one to be done with
 * 256 rows of all parts goes on with these. The same operations as those of kernels of their own,
 * and so the same bits. */
#ifndef RAD_CUDA_PRODUCTS_BEHIND_H
#define RAD_CUDA_PRODUCTS_BEHIND_H

#include "kernels/cuda/elements.h"
#include "kernels/cuda/last_block.h"
#include "kernels/cuda/quantize.h"

enum { RAD_BEHIND_AT_ONCE = 4 /* tokens whose loads are under way together */ };

/* Blocks that have rows of a piece. */
RAD_DEVICE uint32_t blocks_of_piece(const rad_cuda_few_arguments &a, uint32_t piece)
{
    const uint32_t left = a.parts[0].n_rows - piece * RAD_CUDA_CHUNK;
    const uint32_t rows = left < RAD_CUDA_CHUNK ? left : (uint32_t)RAD_CUDA_CHUNK;
    return ((rows + (1u << a.rows_log2) - 1) >> a.rows_log2) * a.n_parts;
}

/* The activation of a piece's columns, over those of the first part, and their tiles. A thread has
 * a column; then a warp has a token. */
RAD_OUTLINE void activate_piece(const rad_cuda_few_arguments &a, uint32_t piece)
{
    const uint32_t n = a.parts[0].n_rows, column = piece * RAD_CUDA_CHUNK + rad_thread();
    const uint32_t n_tiles = (n + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    const bool is_there = column<n, two = a.n_parts> 1;
    float *staged = (float *)rad_dynamic_shared(); /* whose sums are all added up */
    for (uint32_t token = 0; token < a.n_tokens; token += RAD_BEHIND_AT_ONCE) {
        float x[RAD_BEHIND_AT_ONCE], y[RAD_BEHIND_AT_ONCE];
#pragma unroll
        for (uint32_t j = 0; j < RAD_BEHIND_AT_ONCE; j++) {
            const bool some = is_there && token + j < a.n_tokens;
            x[j] = some ? a.parts[0].y[(token + j) * a.parts[0].y_stride + column] : 0.0f;
            y[j] = some && two ? a.parts[1].y[(token + j) * a.parts[1].y_stride + column] : 0.0f;
        }
#pragma unroll
        for (uint32_t j = 0; j < RAD_BEHIND_AT_ONCE; j++) {
            if (token + j >= a.n_tokens)
                break;
            const float result = element(a.behind.kind, x[j], y[j], 0.0f, 0.0f);
            if (is_there)
                a.parts[0].y[(token + j) * a.parts[0].y_stride + column] = result;
            staged[(token + j) * RAD_CUDA_CHUNK + rad_thread()] = result;
        }
    }
    rad_barrier();
    for (uint32_t token = rad_warp(); token < a.n_tokens; token += RAD_CUDA_CHUNK / 32)
        quantize_tile(staged + token * RAD_CUDA_CHUNK, n, a.behind.tile_block, piece,
                      a.behind.tiles + (uint64_t)token * n_tiles * RAD_CUDA_TILE_BYTES);
}

/* By all threads of a block of 256, when its rows are written. (Where these begin is found anew: no
 * register holds it so long.) */
RAD_DEVICE void go_on_behind(const rad_cuda_few_arguments &a)
{
    if (a.behind.counters == nullptr)
        return;
    RAD_SHARED(uint32_t, flag, 4);
    uint32_t block = rad_block_x();
    if (a.n_parts > 1 && block >= a.parts[1].first_block)
        block -= a.parts[1].first_block;
    const uint32_t piece = (block << a.rows_log2) / RAD_CUDA_CHUNK;
    if (is_last(a.behind.counters + piece, blocks_of_piece(a, piece), flag))
        activate_piece(a, piece);
}

#endif
