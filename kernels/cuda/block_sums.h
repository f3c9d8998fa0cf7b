/* Sums of one number of each thread of a block, whose `threads` are a power of two. Their order is
 * fixed. `sums` is shared memory for as many numbers. */
#ifndef RAD_CUDA_BLOCK_SUMS_H
#define RAD_CUDA_BLOCK_SUMS_H

#include "kernels/cuda/device.h"

/* Of all. It ends with a barrier. */
template <uint32_t threads> RAD_DEVICE double sum_of_block(double mine, double *sums)
{
    sums[rad_thread()] = mine;
    rad_barrier();
    for (uint32_t half = threads / 2; half > 0; half /= 2) {
        if (rad_thread() < half)
            sums[rad_thread()] += sums[rad_thread() + half];
        rad_barrier();
    }
    double sum = sums[0];
    rad_barrier();
    return sum;
}

/* Of each thread and those before it; they stay in `sums`. What is done with them ends with a
 * barrier. */
template <uint32_t threads, typename T> RAD_DEVICE T sum_up_to(T mine, T *sums)
{
    sums[rad_thread()] = mine;
    rad_barrier();
    for (uint32_t step = 1; step < threads; step *= 2) {
        T before = rad_thread() >= step ? sums[rad_thread() - step] : T(0);
        rad_barrier();
        sums[rad_thread()] += before;
        rad_barrier();
    }
    return sums[rad_thread()];
}

#endif
