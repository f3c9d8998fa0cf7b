/* The device half of device.h, which alone includes it. Architectures below 8.0 lack asynchronous
 * copies and the larger matrix instructions: these are then made of what 7.5 has. */
#ifndef RAD_CUDA_DEVICE_NVCC_H
#define RAD_CUDA_DEVICE_NVCC_H

/* What this kernel does from here on comes behind all that the kernels before it in the stream have
 * done: where the launch allows it, a kernel begins while the one before it still runs. Only what
 * no kernel writes may be read before (weights). Every thread calls it. */
RAD_DEVICE void rad_wait_for_earlier(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* The kernel behind this one may begin, as far as its own wait, once all blocks are here. */
RAD_DEVICE void rad_let_next_begin(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Defines a kernel, whose body follows, and its descriptor. With _BLOCKS a multiprocessor is to
 * have room for the registers of so many blocks, and the compiler need not aim at more. An _EARLY
 * kernel calls rad_wait_for_earlier() itself. */
#define RAD_CUDA_KERNEL(name, threads, type, a)                                                    \
    RAD_CUDA_KERNEL_BOUNDS(name, threads, __launch_bounds__(threads), rad_wait_for_earlier(),      \
                           type, a)
#define RAD_CUDA_KERNEL_BLOCKS(name, threads, blocks, type, a)                                     \
    RAD_CUDA_KERNEL_BOUNDS(name, threads, __launch_bounds__(threads, blocks),                      \
                           rad_wait_for_earlier(), type, a)
#define RAD_CUDA_KERNEL_EARLY(name, threads, type, a)                                              \
    RAD_CUDA_KERNEL_BOUNDS(name, threads, __launch_bounds__(threads), (void)0, type, a)
#define RAD_CUDA_KERNEL_EARLY_BLOCKS(name, threads, blocks, type, a)                               \
    RAD_CUDA_KERNEL_BOUNDS(name, threads, __launch_bounds__(threads, blocks), (void)0, type, a)
#define RAD_CUDA_KERNEL_BOUNDS(name, threads, bounds, wait, type, a)                               \
    static __device__ __forceinline__ void rad_cuda_body_##name(const type &a);                    \
    extern "C" __global__ void bounds rad_cuda_entry_##name(const __grid_constant__ type a)        \
    {                                                                                              \
        rad_let_next_begin();                                                                      \
        wait;                                                                                      \
        rad_cuda_body_##name(a);                                                                   \
    }                                                                                              \
    extern "C" {                                                                                   \
    extern const rad_cuda_kernel rad_cuda_kernel_##name;                                           \
    }                                                                                              \
    const rad_cuda_kernel rad_cuda_kernel_##name = {#name, (void (*)(void))rad_cuda_entry_##name,  \
                                                    threads, sizeof(type)};                        \
    static __device__ __forceinline__ void rad_cuda_body_##name(const type &a)

/* type name[count] in the block's shared memory, aligned to 16, contents undefined. */
#define RAD_SHARED(type, name, count) __shared__ __align__(16) type name[count]

/* The bytes that the launch gave the block besides, aligned to 16. */
extern __shared__ uint4 rad_cuda_dynamic_shared[];
RAD_DEVICE uint8_t *rad_dynamic_shared(void)
{
    return (uint8_t *)rad_cuda_dynamic_shared;
}

/* ---- where a thread is ------------------------------------------------------------------------
 */

RAD_DEVICE uint32_t rad_thread(void)
{
    return threadIdx.x;
}

RAD_DEVICE uint32_t rad_threads(void)
{
    return blockDim.x;
}

RAD_DEVICE uint32_t rad_lane(void)
{
    return threadIdx.x & 31;
}

RAD_DEVICE uint32_t rad_warp(void)
{
    return threadIdx.x >> 5;
}

RAD_DEVICE uint32_t rad_block_x(void)
{
    return blockIdx.x;
}

RAD_DEVICE uint32_t rad_block_y(void)
{
    return blockIdx.y;
}

RAD_DEVICE uint32_t rad_block_z(void)
{
    return blockIdx.z;
}

RAD_DEVICE uint32_t rad_grid_x(void)
{
    return gridDim.x;
}

RAD_DEVICE uint32_t rad_grid_y(void)
{
    return gridDim.y;
}

/* ---- together ---------------------------------------------------------------------------------
 */

#define RAD_WHOLE_WARP 0xffffffffu

RAD_DEVICE void rad_barrier(void)
{
    __syncthreads();
}

RAD_DEVICE void rad_warp_barrier(void)
{
    __syncwarp();
}

/* What this thread wrote is seen by other blocks before what it writes from here on. */
RAD_DEVICE void rad_fence(void)
{
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
}

/* T is int32_t, uint32_t or float. */
template <typename T> RAD_DEVICE T rad_shuffle(T value, uint32_t lane)
{
    return __shfl_sync(RAD_WHOLE_WARP, value, (int)lane);
}

template <typename T> RAD_DEVICE T rad_shuffle_xor(T value, uint32_t mask)
{
    return __shfl_xor_sync(RAD_WHOLE_WARP, value, (int)mask);
}

template <typename T> RAD_DEVICE T rad_shuffle_down(T value, uint32_t n)
{
    return __shfl_down_sync(RAD_WHOLE_WARP, value, n);
}

RAD_DEVICE uint32_t rad_ballot(bool flag)
{
    return __ballot_sync(RAD_WHOLE_WARP, flag);
}

RAD_DEVICE uint32_t rad_atomic_add_u32(uint32_t *pointer, uint32_t value)
{
    return atomicAdd(pointer, value);
}

RAD_DEVICE uint64_t rad_atomic_add_u64(uint64_t *pointer, uint64_t value)
{
    return atomicAdd((unsigned long long *)pointer, (unsigned long long)value);
}

RAD_DEVICE uint32_t rad_atomic_max_u32(uint32_t *pointer, uint32_t value)
{
    return atomicMax(pointer, value);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

RAD_DEVICE rad_u4 rad_load16(const void *pointer)
{
    return *(const rad_u4 *)pointer;
}

RAD_DEVICE rad_u2 rad_load8(const void *pointer)
{
    return *(const rad_u2 *)pointer;
}

/* For global memory that no thread writes and that is read once, weights above all: past L1. Stays
 * in front of rad_wait_for_earlier(), which a load by the constant path (.nc) would not. */
RAD_DEVICE rad_u4 rad_load16_once(const void *pointer)
{
    rad_u4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(pointer)));
    return v;
}

/* Asks for memory that will be read soon, so that it is in the L2 cache then: a multiple of 16
 * bytes from an aligned address on, all of it there. */
RAD_DEVICE void rad_prefetch(const void *pointer, uint32_t bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(pointer)),
        "r"(bytes));
#endif
}

RAD_DEVICE void rad_store16(void *pointer, rad_u4 value)
{
    *(rad_u4 *)pointer = value;
}

RAD_DEVICE void rad_store8(void *pointer, rad_u2 value)
{
    *(rad_u2 *)pointer = value;
}

RAD_DEVICE uint32_t rad_shared_address(const void *shared)
{
    return (uint32_t)__cvta_generic_to_shared(shared);
}

/* Copies begun by this thread, in groups that commit() ends; wait(n) waits until at most n (0 to 6,
 * a constant) of the last groups are not done. A barrier makes them seen by others. */
RAD_DEVICE void rad_copy_async16(void *shared, const void *global)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(rad_shared_address(shared)),
                 "l"(__cvta_generic_to_global(global))
                 : "memory");
#else
    rad_u4 v; /* past L1 as well, which may hold what other blocks have written since */
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(global))
                 : "memory");
    *(rad_u4 *)shared = v;
#endif
}

RAD_DEVICE void rad_copy_async_commit(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

RAD_DEVICE void rad_copy_async_wait(int n)
{
#if __CUDA_ARCH__ >= 800
    if (n == 0)
        asm volatile("cp.async.wait_group 0;" ::: "memory");
    else if (n == 1)
        asm volatile("cp.async.wait_group 1;" ::: "memory");
    else if (n == 2)
        asm volatile("cp.async.wait_group 2;" ::: "memory");
    else if (n == 3)
        asm volatile("cp.async.wait_group 3;" ::: "memory");
    else if (n == 4)
        asm volatile("cp.async.wait_group 4;" ::: "memory");
    else if (n == 5)
        asm volatile("cp.async.wait_group 5;" ::: "memory");
    else
        asm volatile("cp.async.wait_group 6;" ::: "memory");
#endif
}

/* ---- arithmetic -------------------------------------------------------------------------------
 */

RAD_DEVICE float rad_fma(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}

RAD_DEVICE float rad_sqrt(float x)
{
    return __fsqrt_rn(x);
}

/* The greater; of NaN and a number the number. */
RAD_DEVICE float rad_max(float a, float b)
{
    return fmaxf(a, b);
}

/* 2^x within 2 units of the last place; 0 below 2^-126. The same on every device, but not the
 * host's. */
RAD_DEVICE float rad_exp2(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

/* To an integer, half to even. */
RAD_DEVICE float rad_round(float x)
{
    return rintf(x);
}

/* c + the sum of four products of signed bytes. */
RAD_DEVICE int32_t rad_dp4a(int32_t a, int32_t b, int32_t c)
{
    return __dp4a(a, b, c);
}

/* PRMT: result byte i is byte (selector >> 4 i & 7) of b:a, or its sign eight times where bit 3 is
 * set as well. */
RAD_DEVICE uint32_t rad_byte_permute(uint32_t a, uint32_t b, uint32_t selector)
{
    uint32_t d;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
    return d;
}

RAD_DEVICE float rad_half_to_float(uint16_t half)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
}

/* Rounds to nearest even, overflows to infinity; rad_half_saturated() saturates. */
RAD_DEVICE uint16_t rad_float_to_half(float x)
{
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
}

/* Two by rad_float_to_half(), the first in the low half. */
RAD_DEVICE uint32_t rad_two_halves(float x, float y)
{
#if __CUDA_ARCH__ >= 800
    uint32_t two;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(y), "f"(x));
    return two;
#else
    return (uint32_t)rad_float_to_half(x) | (uint32_t)rad_float_to_half(y) << 16;
#endif
}

/* ---- matrix instructions -------------------------------------------------------------------- */

/* c += a b of 16 x 32 and 32 x 8 signed bytes, exact. With group = lane / 4, four = lane % 4:
 * a[0], a[1]: rows group, group + 8, columns 4 four to 4 four + 3; a[2], a[3]: the same, 16 columns
 * on; b[0]: column group, rows 4 four to 4 four + 3; b[1]: 16 rows on; c[0], c[1]: row group,
 * columns 2 four, 2 four + 1; c[2], c[3]: row group + 8. */
RAD_DEVICE void rad_mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        asm volatile(
            "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1])
            : "r"(a[i]), "r"(b[i / 2]));
#endif
}

/* The same where the bytes of a are unsigned. */
RAD_DEVICE void rad_mma_u8_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        asm volatile(
            "mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1])
            : "r"(a[i]), "r"(b[i / 2]));
#endif
}

/* As rad_mma_s8() to d = c + a b: where c is a constant it stays in its registers. */
RAD_DEVICE void rad_mma_s8_to(int32_t d[4], const int32_t c[4], const uint32_t a[4],
                              const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%10, %11, %12, %13};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]),
          "r"(c[2]), "r"(c[3]));
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        d[i] = c[i];
    rad_mma_s8(d, a, b);
#endif
}

/* d = c + a b of 16 x 16 and 16 x 8 signed bytes: the first or the second half of what rad_mma_s8()
 * multiplies, a[0], a[1], b[0] or a[2], a[3], b[1]. */
RAD_DEVICE void rad_mma_s8_half_to(int32_t d[4], const int32_t c[4], uint32_t a0, uint32_t a1,
                                   uint32_t b)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, "
                 "{%6}, {%7, %8, %9, %10};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a0), "r"(a1), "r"(b), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#else
    const uint32_t a[2] = {a0, a1};
#pragma unroll
    for (int i = 0; i < 2; i++)
        asm volatile(
            "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%4, %5};"
            : "=r"(d[2 * i]), "=r"(d[2 * i + 1])
            : "r"(a[i]), "r"(b), "r"(c[2 * i]), "r"(c[2 * i + 1]));
#endif
}

/* c += a b of 16 x 16 and 16 x 8 halves, sums in float. a[0], a[1]: rows group, group + 8, columns
 * 2 four, 2 four + 1 (the first in the low half); a[2], a[3]: 8 columns on; b[0]: column group,
 * rows 2 four, 2 four + 1; b[1]: 8 rows on; c as above. */
RAD_DEVICE void rad_mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (int i = 0; i < 2; i++)
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

/* The same to d = c + a b. */
RAD_DEVICE void rad_mma_f16_to(float d[4], const float c[4], const uint32_t a[4],
                               const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
          "f"(c[2]), "f"(c[3]));
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        d[i] = c[i];
    rad_mma_f16(d, a, b);
#endif
}

/* The same with bfloat16. */
RAD_DEVICE void rad_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    uint32_t row = rad_lane() & ~3u, column = (rad_lane() & 3u) * 8;
#pragma unroll 1 /* sixteen of these stand in a loop: registers are short */
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t from = i & 3u;
        bool low = i < 4;
        uint32_t top = rad_shuffle(low ? a[0] : a[2], row + from);
        uint32_t bottom = rad_shuffle(low ? a[1] : a[3], row + from);
        uint32_t left = rad_shuffle(low ? b[0] : b[1], column + from);
        uint32_t right = rad_shuffle(low ? b[0] : b[1], column + 4 + from);
#pragma unroll
        for (int word = 0; word < 2; word++) {
            uint32_t shift = word ? 0 : 16, mask = 0xffff0000u;
            float x0 = __uint_as_float(top << shift & mask);
            float x1 = __uint_as_float(bottom << shift & mask);
            float y0 = __uint_as_float(left << shift & mask);
            float y1 = __uint_as_float(right << shift & mask);
            c[0] = __fmaf_rn(x0, y0, c[0]);
            c[1] = __fmaf_rn(x0, y1, c[1]);
            c[2] = __fmaf_rn(x1, y0, c[2]);
            c[3] = __fmaf_rn(x1, y1, c[3]);
        }
    }
#endif
}

/* Four matrices of 8 x 8 16-bit numbers from shared memory: lane 8 m + r gives the address of row r
 * of matrix m, aligned to 16; a lane receives of each matrix the numbers 2 four and 2 four + 1 of
 * row `group`; _trans: of column `group`. */
RAD_DEVICE void rad_ldmatrix_x4(uint32_t out[4], const void *shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(rad_shared_address(shared))
                 : "memory");
}

RAD_DEVICE void rad_ldmatrix_x4_trans(uint32_t out[4], const void *shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(rad_shared_address(shared))
                 : "memory");
}

#endif
