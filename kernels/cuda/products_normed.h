/* The norm of one token that the blocks of a product begin with, each for itself: all of it goes on
 * beside the loads of weights. The bits are those of the kernel `norm`. */
#ifndef RAD_CUDA_PRODUCTS_NORMED_H
#define RAD_CUDA_PRODUCTS_NORMED_H

#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantize.h"

enum {
    RAD_FEW_THREADS = 256,
    RAD_FEW_TILE_STRIDE = RAD_CUDA_TILE_BYTES + 16 /* tiles side by side meet different banks */
};

/* Weights of a norm for the tiles that a warp makes first. */
enum { RAD_FEW_NORM_AHEAD = 1 };
struct few_norm_weights {
    float of[RAD_FEW_NORM_AHEAD][8];
};

/* Those of the lane's 8 columns of a tile. */
RAD_DEVICE void few_norm_load(const rad_cuda_few_arguments &a, uint32_t tile, float weights[8])
{
    const uint32_t column = tile * RAD_CUDA_CHUNK + rad_lane() * 8;
    const bool some = a.before.weight != nullptr && column < a.n_columns;
    const rad_f4 ones = {1.0f, 1.0f, 1.0f, 1.0f};
    const rad_f4 low = some ? rad_floats(rad_load16(a.before.weight + column)) : ones;
    const rad_f4 high = some ? rad_floats(rad_load16(a.before.weight + column + 4)) : ones;
    weights[0] = low.x, weights[1] = low.y, weights[2] = low.z, weights[3] = low.w;
    weights[4] = high.x, weights[5] = high.y, weights[6] = high.z, weights[7] = high.w;
}

/* The lane's 8 columns of a tile: normed, and quantized to shared memory. */
RAD_DEVICE void few_norm_tile(const rad_cuda_few_arguments &a, const float *row, uint32_t tile,
                              float factor, const float weights[8], uint8_t *tiles)
{
    const uint32_t column = tile * RAD_CUDA_CHUNK + rad_lane() * 8;
    float y[8] = {};
    if (column < a.n_columns) {
        const rad_f4 low = rad_floats(rad_load16(row + column));
        const rad_f4 high = rad_floats(rad_load16(row + column + 4));
        const float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            y[i] = x[i] * factor;
            y[i] = y[i] * weights[i];
        }
        if (rad_block_x() == 0) {
            rad_store16(a.before.out + column, rad_words({y[0], y[1], y[2], y[3]}));
            rad_store16(a.before.out + column + 4, rad_words({y[4], y[5], y[6], y[7]}));
        }
    }
    uint8_t *to = tiles + tile * RAD_FEW_TILE_STRIDE;
    quantize_write_sums(to, quantize_write(to, y, quantize_amax(y, a.before.tile_block)));
}

/* The norm of the token's row and its tiles, which all blocks make, each for itself: what takes the
 * time of a kernel of its own goes on beside the loads of weights. row: room for it. */
RAD_DEVICE void few_norm(const rad_cuda_few_arguments &a, const few_norm_weights &ahead, float *row,
                         uint8_t *tiles)
{
    RAD_SHARED(float, result, 4);
    const uint32_t n_tiles = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
#pragma unroll 1 /* registers are short: weights are on their way into them */
    for (uint32_t i = rad_thread() * 4; i < a.n_columns; i += RAD_FEW_THREADS * 4)
        rad_copy_async16(row + i, a.before.in + i);
    rad_copy_async_commit();
    rad_copy_async_wait(0);
    rad_barrier();
    if (rad_warp() == 0) {
        float sum = 0.0f;
        if (rad_lane() < RAD_NORM_LANES)
            sum = sum_of_lane<OF_SQUARES>(row, a.n_columns, 0.0f, sum);
        sum = sum_lanes(sum);
        if (rad_lane() == 0)
            *result = 1.0f / rad_sqrt(sum / (float)a.n_columns + a.before.epsilon);
    }
    rad_barrier();
    const float factor = *result;
#pragma unroll
    for (uint32_t i = 0; i < RAD_FEW_NORM_AHEAD; i++)
        if (i * 8 + rad_warp() < n_tiles)
            few_norm_tile(a, row, i * 8 + rad_warp(), factor, ahead.of[i], tiles);
#pragma unroll 1
    for (uint32_t tile = RAD_FEW_NORM_AHEAD * 8 + rad_warp(); tile < n_tiles; tile += 8) {
        float weights[8];
        few_norm_load(a, tile, weights);
        few_norm_tile(a, row, tile, factor, weights, tiles);
    }
    rad_barrier();
}

#endif
