/* The sum of a norm. Sums have the CPU's order: sixteen interleaved partial sums, then a tree. So
 * sixteen lanes are enough for a sum, and what a row costs is the chain of its length / 16
 * additions. */
#ifndef RAD_CUDA_NORM_H
#define RAD_CUDA_NORM_H

#include "kernels/cuda/device.h"

enum { RAD_NORM_LANES = 16, RAD_NORM_BATCH = 8 };

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

/* A lane's chain over `count` staged elements. What comes next is loaded while this is added. */
template <int what>
RAD_DEVICE float sum_of_lane(const float *staged, uint32_t count, float mean, float sum)
{
    const uint32_t batch = RAD_NORM_BATCH * RAD_NORM_LANES, n_whole = count / batch;
    const float *at = staged + rad_thread();
    float ahead[RAD_NORM_BATCH] = {};
    if (n_whole > 0)
#pragma unroll
        for (int k = 0; k < RAD_NORM_BATCH; k++)
            ahead[k] = at[k * RAD_NORM_LANES];
    for (uint32_t b = 0; b < n_whole; b++) {
        float now[RAD_NORM_BATCH];
#pragma unroll
        for (int k = 0; k < RAD_NORM_BATCH; k++)
            now[k] = ahead[k];
        at += batch;
        if (b + 1 < n_whole)
#pragma unroll
            for (int k = 0; k < RAD_NORM_BATCH; k++)
                ahead[k] = at[k * RAD_NORM_LANES];
#pragma unroll
        for (int k = 0; k < RAD_NORM_BATCH; k++)
            sum = add_to_lane(what, now[k], mean, sum);
    }
    for (uint32_t i = n_whole * batch + rad_thread(); i < count; i += RAD_NORM_LANES)
        sum = add_to_lane(what, staged[i], mean, sum);
    return sum;
}

#endif
