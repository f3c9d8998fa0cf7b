/* What the kernels (.cu) are written in: the names below and plain C++ of the C kind, nothing of
 * CUDA directly. Two halves: for nvcc, and (macro RAD_CUDA_HOST, tests/cuda/host.h) for a C++
 * compiler of the host, where the threads of a block are fibers.
 *
 * Warp operations (rad_shuffle*, rad_ballot, rad_warp_barrier, rad_mma_*, rad_ldmatrix_*) are
 * reached by all 32 lanes together, rad_barrier() by all threads of the block; no thread has
 * returned before. Of them rad_barrier and rad_warp_barrier alone order memory. */
#ifndef RAD_CUDA_DEVICE_H
#define RAD_CUDA_DEVICE_H

#include <stdint.h>
#include <string.h>

#include "kernels/cuda/kernels.h"

struct alignas(16) rad_u4 {
    uint32_t x, y, z, w;
};
struct alignas(8) rad_u2 {
    uint32_t x, y;
};
struct alignas(16) rad_f4 {
    float x, y, z, w;
};

#ifdef RAD_CUDA_HOST
#define RAD_DEVICE  static inline
#define RAD_OUTLINE static
#define RAD_MEMBER  inline
#else
#define RAD_DEVICE  static __device__ __forceinline__
#define RAD_OUTLINE static __device__ __noinline__ /* one copy, whatever its length */
#define RAD_MEMBER  __device__ __forceinline__     /* of a struct's functions that have a `this` */
#endif

/* The CPU's own elementary functions and number formats, the same text. */
#define RAD_NUMERIC_INLINE RAD_DEVICE
#include "base/numeric_f32.h"

#ifdef RAD_CUDA_HOST
#include "cuda/host.h"
#else
#include "kernels/cuda/device_nvcc.h"
#endif

/* ---- the same in both halves ------------------------------------------------------------------
 */

RAD_DEVICE uint32_t rad_bits(float x)
{
    return rad_float_bits(x);
}

RAD_DEVICE float rad_float(uint32_t bits)
{
    return rad_float_of_bits(bits);
}

RAD_DEVICE rad_f4 rad_floats(rad_u4 words)
{
    return {rad_float(words.x), rad_float(words.y), rad_float(words.z), rad_float(words.w)};
}

RAD_DEVICE rad_u4 rad_words(rad_f4 floats)
{
    return {rad_bits(floats.x), rad_bits(floats.y), rad_bits(floats.z), rad_bits(floats.w)};
}

RAD_DEVICE float rad_bf16_to_float(uint16_t bits)
{
    return rad_float_of_bf16(bits);
}

RAD_DEVICE bool rad_any(bool flag)
{
    return rad_ballot(flag) != 0;
}

RAD_DEVICE bool rad_all(bool flag)
{
    return rad_ballot(flag) == 0xffffffffu;
}

#endif
