/* What matrix instructions do at most, for measurements: nothing but them, with operands in
 * registers. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

#define CHAINS 8 /* sums of a warp that do not wait for each other */

/* Bits that differ from lane to lane, as those of weights do. */
RAD_DEVICE uint32_t some_bits(uint32_t i)
{
    return (rad_lane() + 1u) * 2654435761u + i * 0x9e3779b9u;
}

/* Two numbers of bfloat16 from 1 to 2. */
RAD_DEVICE uint32_t some_halves(uint32_t i)
{
    return (some_bits(i) & 0x007f007fu) | 0x3f803f80u;
}

RAD_CUDA_KERNEL(peak_bytes, RAD_CUDA_PEAK_THREADS, rad_cuda_peak_arguments, p)
{
    const uint32_t a[4] = {some_bits(0), some_bits(1), some_bits(2), some_bits(3)};
    const uint32_t b[2] = {some_bits(4), some_bits(5)};
    int32_t sums[CHAINS][4] = {};
#pragma unroll 1
    for (uint32_t round = 0; round < p.rounds; round++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++)
            rad_mma_s8(sums[i], a, b);
    }
    uint32_t all = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        all ^= (uint32_t)(sums[i][0] ^ sums[i][1] ^ sums[i][2] ^ sums[i][3]);
    p.out[rad_block_x() * RAD_CUDA_PEAK_THREADS + rad_thread()] = all;
}

RAD_CUDA_KERNEL(peak_halves, RAD_CUDA_PEAK_THREADS, rad_cuda_peak_arguments, p)
{
    const uint32_t a[4] = {some_halves(0), some_halves(1), some_halves(2), some_halves(3)};
    const uint32_t b[2] = {some_halves(4), some_halves(5)};
    float sums[CHAINS][4] = {};
#pragma unroll 1
    for (uint32_t round = 0; round < p.rounds; round++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++)
            rad_mma_bf16(sums[i], a, b);
    }
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    p.out[rad_block_x() * RAD_CUDA_PEAK_THREADS + rad_thread()] = rad_bits(all);
}
