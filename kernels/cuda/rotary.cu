/* Rotary positions. The table comes from the host, by the double-precision function that is the
 * same everywhere. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/cuda/rotary.h"

#define THREADS 128

/* Whether an element of a row belongs to a pair that is rotated. */
RAD_DEVICE bool is_rotated(const rad_cuda_rotate_arguments &a, uint32_t i)
{
    if (i < a.first)
        return false;
    uint32_t behind = i - a.first;
    uint32_t head = a.stride != 0 ? behind / a.stride : 0;
    return head < a.n_heads && behind - head * a.stride < 2 * a.n_pairs;
}

/* A block takes a head of a row, and its share of what is copied besides. */
RAD_CUDA_KERNEL(rotate, THREADS, rad_cuda_rotate_arguments, a)
{
    for (uint32_t row = rad_block_y(); row < a.n_rows; row += rad_grid_y()) {
        const float *in = a.in + (uint64_t)row * a.row;
        float *out = a.out + (uint64_t)row * a.row;
        rotate_head(a, row, rad_block_x());
        for (uint32_t i = rad_block_x() * THREADS + rad_thread(); in != out && i < a.row;
             i += rad_grid_x() * THREADS) {
            if (!is_rotated(a, i))
                out[i] = in[i];
        }
    }
}
