/* Norms. Sums have the CPU's order: sixteen interleaved partial sums, then a tree. So sixteen lanes
 * are enough for a sum, and what a row costs is the chain of its length / 16 additions. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/cuda/quantize.h"

#define THREADS 256
#define LANES   16
#define STAGED  4096 /* floats of a row that are brought together at a time */

/* The tree over lanes 0 to 15, and the same over 16 to 31. Each step adds two numbers, so that the
 * order of the two does not matter. */
RAD_DEVICE float sum_lanes(float lane)
{
    lane = lane + rad_shuffle_xor(lane, 8);
    lane = lane + rad_shuffle_xor(lane, 4);
    lane = lane + rad_shuffle_xor(lane, 2);
    return lane + rad_shuffle_xor(lane, 1);
}

enum { OF_VALUES, OF_SQUARES, OF_DIFFERENCES };

RAD_DEVICE float add_to_lane(int what, float x, float mean, float sum)
{
    if (what == OF_VALUES)
        return sum + x;
    float part = what == OF_DIFFERENCES ? x - mean : x;
    return rad_fma(part, part, sum);
}

/* The sum over a row, by all threads of the block, which all receive it. */
template <int what>
RAD_DEVICE float sum_of_row(const float *x, uint32_t n, float mean, float *staged, float *result)
{
    float sum = 0.0f;
    for (uint32_t first = 0; first < n; first += STAGED) {
        uint32_t count = n - first < STAGED ? n - first : STAGED;
        rad_barrier();
        for (uint32_t i = rad_thread(); i < count; i += THREADS)
            staged[i] = x[first + i];
        rad_barrier();
        if (rad_thread() < LANES) {
#pragma unroll 8
            for (uint32_t i = rad_thread(); i < count; i += LANES)
                sum = add_to_lane(what, staged[i], mean, sum);
        }
    }
    if (rad_warp() == 0) {
        sum = sum_lanes(sum);
        if (rad_lane() == 0)
            *result = sum;
    }
    rad_barrier();
    return *result;
}

RAD_CUDA_KERNEL(norm, THREADS, rad_cuda_norm_arguments, a)
{
    RAD_SHARED(float, staged, STAGED);
    RAD_SHARED(float, result, 4);
    for (uint32_t row = rad_block_x(); row < a.n_rows; row += rad_grid_x()) {
        const float *x = a.in + (uint64_t)row * a.n;
        float *out = a.out + (uint64_t)row * a.n;
        if (a.add != NULL) {
            const float *add = a.add + (uint64_t)row * a.n;
            float *sum = a.sum + (uint64_t)row * a.n;
            for (uint32_t i = rad_thread(); i < a.n; i += THREADS)
                sum[i] = x[i] + add[i];
            x = sum; /* each element is read behind the barrier that begins a sum */
        }
        float mean = 0.0f, sum;
        if (a.layer_norm) {
            mean = sum_of_row<OF_VALUES>(x, a.n, 0.0f, staged, result) / (float)a.n;
            sum = sum_of_row<OF_DIFFERENCES>(x, a.n, mean, staged, result + 1);
        } else {
            sum = sum_of_row<OF_SQUARES>(x, a.n, 0.0f, staged, result + 1);
        }
        float factor = 1.0f / rad_sqrt(sum / (float)a.n + a.epsilon);
        for (uint32_t i = rad_thread(); i < a.n; i += THREADS) {
            float y = (a.layer_norm ? x[i] - mean : x[i]) * factor;
            if (a.weight != NULL)
                y = y * a.weight[i];
            if (a.layer_norm && a.bias != NULL)
                y = y + a.bias[i];
            out[i] = y;
        }
        if (a.tiles != NULL) {
            const uint32_t n_tiles = (a.n + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
            rad_barrier();
            for (uint32_t tile = rad_warp(); tile < n_tiles; tile += THREADS / 32)
                quantize_tile(out, a.n, a.tile_block, tile,
                              a.tiles + (uint64_t)row * n_tiles * RAD_CUDA_TILE_BYTES);
        }
    }
}

/* Sixteen lanes for each head. */
RAD_CUDA_KERNEL(head_norm, THREADS, rad_cuda_head_norm_arguments, a)
{
    uint32_t index = rad_block_x() * (THREADS / LANES) + rad_thread() / LANES;
    uint32_t row = index / a.n_heads, head = index - row * a.n_heads;
    bool is_one = row < a.n_rows;
    uint32_t n = is_one ? a.n : 0, lane = rad_thread() % LANES;
    float *x =
        a.values + (is_one ? (uint64_t)row * a.row + a.first + (uint64_t)head * a.stride : 0);
    float sum = 0.0f;
#pragma unroll 4
    for (uint32_t i = lane; i < n; i += LANES)
        sum = rad_fma(x[i], x[i], sum);
    sum = sum_lanes(sum);
    float factor = 1.0f / rad_sqrt(sum / (float)a.n + a.epsilon);
    for (uint32_t i = lane; i < n; i += LANES) {
        float y = x[i] * factor;
        x[i] = a.weight != NULL ? y * a.weight[i] : y;
    }
}
