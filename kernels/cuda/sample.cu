/* The greatest logit, for greedy choice: many blocks for parts of a row, then one for the row. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"

#define THREADS  256
#define NO_TOKEN 0xffffffffu

/* The better one of two; ties go to the lower id, and what is no candidate has NO_TOKEN. */
RAD_DEVICE rad_cuda_greatest better(rad_cuda_greatest a, rad_cuda_greatest b)
{
    bool second = b.token != NO_TOKEN && (a.token == NO_TOKEN || b.value > a.value ||
                                          (b.value == a.value && b.token < a.token));
    rad_cuda_greatest out = second ? b : a;
    out.failed = a.failed | b.failed;
    return out;
}

/* Thread 0 receives the best of the block. */
RAD_DEVICE rad_cuda_greatest best_of_block(rad_cuda_greatest mine, rad_cuda_greatest *warps)
{
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        rad_cuda_greatest other = mine;
        other.value = rad_shuffle_xor(mine.value, mask);
        other.token = rad_shuffle_xor(mine.token, mask);
        other.failed = rad_shuffle_xor(mine.failed, mask);
        mine = better(mine, other);
    }
    rad_barrier();
    if (rad_lane() == 0)
        warps[rad_warp()] = mine;
    rad_barrier();
    for (uint32_t w = 1; w < THREADS / 32; w++)
        mine = rad_thread() == 0 ? better(mine, warps[w]) : mine;
    return mine;
}

/* A token at -infinity is none; NaN and +infinity end the request. */
RAD_DEVICE rad_cuda_greatest of_logit(float logit, uint32_t token)
{
    bool lowest = rad_bits(logit) == 0xff800000u;
    bool finite = (rad_bits(logit) & 0x7fffffffu) < 0x7f800000u;
    return {logit, finite ? token : NO_TOKEN, finite || lowest ? 0u : 1u, 0};
}

RAD_CUDA_KERNEL(greatest_parts, THREADS, rad_cuda_greatest_arguments, a)
{
    RAD_SHARED(rad_cuda_greatest, warps, THREADS / 32);
    uint32_t size = (a.n + a.n_parts - 1) / a.n_parts;
    uint32_t first = rad_block_x() * size, end = a.n - first < size ? a.n : first + size;
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const float *logits = a.logits + row * a.stride;
        rad_cuda_greatest mine = {0.0f, NO_TOKEN, 0, 0};
        for (uint32_t i = first + rad_thread(); first < a.n && i < end; i += THREADS)
            mine = better(mine, of_logit(logits[i], i));
        mine = best_of_block(mine, warps);
        if (rad_thread() == 0)
            a.parts[(uint64_t)row * a.n_parts + rad_block_x()] = mine;
    }
}

RAD_CUDA_KERNEL(greatest, THREADS, rad_cuda_greatest_arguments, a)
{
    RAD_SHARED(rad_cuda_greatest, warps, THREADS / 32);
    for (uint32_t row = rad_block_x(); row < a.n_rows; row += rad_grid_x()) {
        rad_cuda_greatest mine = {0.0f, NO_TOKEN, 0, 0};
        for (uint32_t i = rad_thread(); i < a.n_parts; i += THREADS)
            mine = better(mine, a.parts[(uint64_t)row * a.n_parts + i]);
        mine = best_of_block(mine, warps);
        if (rad_thread() == 0) {
            mine.failed |= mine.token == NO_TOKEN;
            a.out[row] = mine;
            a.parts[(uint64_t)row * a.n_parts] = mine;
        }
    }
}
