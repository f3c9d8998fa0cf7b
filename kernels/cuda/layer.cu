/* Work on each row of a value by itself, but norms: copies, gates, sums. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/quantize.h"

#define THREADS 256
#define EACH    4 /* elements of a thread; a block has 1024 of a row */

RAD_CUDA_KERNEL(copy, THREADS, rad_cuda_copy_arguments, a)
{
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        uint64_t from_row = a.from_rows != NULL ? a.from_rows[row] : row;
        const float *in = a.in + from_row * a.from_row + a.from_first;
        float *out = a.out + (uint64_t)row * a.to_row + a.to_first;
        for (uint32_t j = 0; j < EACH; j++) {
            uint32_t i = (rad_block_x() * EACH + j) * THREADS + rad_thread();
            if (i >= a.width * a.n_heads)
                break;
            uint32_t head = i / a.width, of_head = i - head * a.width;
            out[(uint64_t)head * a.to_stride + of_head] =
                in[(uint64_t)head * a.from_stride + of_head];
        }
    }
}

RAD_CUDA_KERNEL(elements, THREADS, rad_cuda_elements_arguments, a)
{
    bool two = a.kind <= RAD_CUDA_CLAMPED_MULTIPLY || a.kind == RAD_CUDA_ADD;
    bool gated = a.kind == RAD_CUDA_ADD_GATED;
    RAD_SHARED(float, staged, EACH *THREADS);
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const float *in = a.in + (uint64_t)row * a.in_stride;
        const float *other = a.other + (uint64_t)row * a.other_stride;
        float *out = a.out + (uint64_t)row * a.out_stride;
        const float gate = gated ? rad_sigmoidf(other[0]) : 0.0f;
        const uint32_t first = rad_block_x() * EACH * THREADS;
        float x[EACH], y[EACH], before[EACH]; /* all loads are under way before the first is used */
#pragma unroll
        for (uint32_t j = 0; j < EACH; j++) {
            const uint32_t i = first + j * THREADS + rad_thread();
            x[j] = i < a.n ? in[i] : 0.0f;
            y[j] = !two ? gate : i < a.n ? other[i] : 0.0f;
            before[j] = gated && i < a.n ? out[i] : 0.0f;
        }
#pragma unroll
        for (uint32_t j = 0; j < EACH; j++) {
            const uint32_t i = first + j * THREADS + rad_thread();
            const float result = element(a.kind, x[j], y[j], before[j], a.number);
            if (i < a.n)
                out[i] = result;
            staged[j * THREADS + rad_thread()] = result;
        }
        if (a.tiles != NULL) { /* a block has four tiles */
            const uint32_t n_tiles = (a.n + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
            const uint32_t tile = rad_block_x() * EACH + rad_warp();
            rad_barrier();
            if (rad_warp() < EACH && tile < n_tiles)
                quantize_tile(staged + rad_warp() * RAD_CUDA_CHUNK, a.n, a.tile_block, tile,
                              a.tiles + (uint64_t)row * n_tiles * RAD_CUDA_TILE_BYTES);
            rad_barrier();
        }
    }
}

RAD_CUDA_KERNEL(combine, THREADS, rad_cuda_combine_arguments, a)
{
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const uint32_t *row_of = a.row_of + (uint64_t)row * a.n_used;
        const uint32_t *weights = a.routes + (uint64_t)row * 2 * a.n_used + a.n_used;
        float *out = a.out + (uint64_t)row * a.n;
        for (uint32_t j = 0; j < EACH; j++) {
            uint32_t i = (rad_block_x() * EACH + j) * THREADS + rad_thread();
            if (i >= a.n)
                break;
            float sum = a.in[(uint64_t)row_of[0] * a.n + i] * rad_float(weights[0]);
            for (uint32_t k = 1; k < a.n_used; k++)
                sum = rad_fma(a.in[(uint64_t)row_of[k] * a.n + i], rad_float(weights[k]), sum);
            out[i] = sum;
        }
    }
}
