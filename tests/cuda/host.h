/* The host half of kernels/cuda/device.h, which alone includes it: for tests, where runner.c runs
 * kernels on the CPU. */
#ifndef RAD_CUDA_HOST_H
#define RAD_CUDA_HOST_H

#include <math.h>

#include "cuda/runner.h"

#define RAD_CUDA_KERNEL(name, threads, type, a)                                                    \
    RAD_CUDA_KERNEL_BODY(name, threads, rad_host_wait_for_earlier(), type, a)
#define RAD_CUDA_KERNEL_BLOCKS(name, threads, blocks, type, a)                                     \
    RAD_CUDA_KERNEL(name, threads, type, a)
#define RAD_CUDA_KERNEL_EARLY(name, threads, type, a)                                              \
    RAD_CUDA_KERNEL_BODY(name, threads, (void)0, type, a)
#define RAD_CUDA_KERNEL_EARLY_BLOCKS(name, threads, blocks, type, a)                               \
    RAD_CUDA_KERNEL_EARLY(name, threads, type, a)
#define RAD_CUDA_KERNEL_BODY(name, threads, wait, type, a)                                         \
    static void rad_cuda_body_##name(const type a);                                                \
    extern "C" {                                                                                   \
    static void rad_cuda_entry_##name(const void *arguments)                                       \
    {                                                                                              \
        type a;                                                                                    \
        memcpy(&a, arguments, sizeof a);                                                           \
        wait;                                                                                      \
        rad_cuda_body_##name(a);                                                                   \
    }                                                                                              \
    extern const rad_cuda_kernel rad_cuda_kernel_##name;                                           \
    }                                                                                              \
    const rad_cuda_kernel rad_cuda_kernel_##name = {#name, (void (*)(void))rad_cuda_entry_##name,  \
                                                    threads, sizeof(type)};                        \
    static void rad_cuda_body_##name(const type a)

#define RAD_SHARED(type, name, count)                                                              \
    static const char name##_site = 0;                                                             \
    type(&name)[count] = *(type(*)[count])rad_host_shared(&name##_site, sizeof(type) * (count))

RAD_DEVICE uint8_t *rad_dynamic_shared(void)
{
    return (uint8_t *)rad_host_dynamic_shared();
}

/* ---- where a thread is ------------------------------------------------------------------------
 */

RAD_DEVICE uint32_t rad_thread(void)
{
    return rad_host_here.thread;
}

RAD_DEVICE uint32_t rad_threads(void)
{
    return rad_host_here.threads;
}

RAD_DEVICE uint32_t rad_lane(void)
{
    return rad_host_here.thread & 31;
}

RAD_DEVICE uint32_t rad_warp(void)
{
    return rad_host_here.thread >> 5;
}

RAD_DEVICE uint32_t rad_block_x(void)
{
    return rad_host_here.block[0];
}

RAD_DEVICE uint32_t rad_block_y(void)
{
    return rad_host_here.block[1];
}

RAD_DEVICE uint32_t rad_block_z(void)
{
    return rad_host_here.block[2];
}

RAD_DEVICE uint32_t rad_grid_x(void)
{
    return rad_host_here.grid[0];
}

RAD_DEVICE uint32_t rad_grid_y(void)
{
    return rad_host_here.grid[1];
}

/* ---- together ---------------------------------------------------------------------------------
 */

/* The places where threads meet: the caller's file and line, as default arguments. */
#define RAD_HOST_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* Kernels run one behind the other here, and the runner knows which would overlap. */
RAD_DEVICE void rad_wait_for_earlier(void)
{
    rad_host_wait_for_earlier();
}

RAD_DEVICE void rad_barrier(RAD_HOST_PLACE)
{
    rad_host_barrier(file, line);
}

RAD_DEVICE void rad_host_nothing(rad_warp_exchange *)
{
}

RAD_DEVICE void rad_warp_barrier(RAD_HOST_PLACE)
{
    rad_host_warp("rad_warp_barrier", rad_host_nothing, nullptr, 0, nullptr, 0, file, line);
}

RAD_DEVICE void rad_fence(void)
{
    rad_host_fence();
}

/* in[0] the value, in[1] the lane that it is taken from. */
RAD_DEVICE void rad_host_exchange(rad_warp_exchange *warp)
{
    for (uint32_t lane = 0; lane < 32; lane++)
        warp->out[lane][0] = warp->in[warp->in[lane][1] & 31][0];
}

template <typename T>
static inline T rad_host_shuffle(const char *what, T value, uint32_t from, const char *file,
                                 int line)
{
    static_assert(sizeof(T) == 4, "values of 32 bits");
    uint32_t in[2] = {0, from}, out;
    memcpy(in, &value, sizeof value);
    rad_host_warp(what, rad_host_exchange, in, 2, &out, 1, file, line);
    memcpy(&value, &out, sizeof value);
    return value;
}

template <typename T> static inline T rad_shuffle(T value, uint32_t lane, RAD_HOST_PLACE)
{
    return rad_host_shuffle("rad_shuffle", value, lane, file, line);
}

template <typename T> static inline T rad_shuffle_xor(T value, uint32_t mask, RAD_HOST_PLACE)
{
    return rad_host_shuffle("rad_shuffle_xor", value, rad_lane() ^ mask, file, line);
}

template <typename T> static inline T rad_shuffle_down(T value, uint32_t n, RAD_HOST_PLACE)
{
    uint32_t from = rad_lane() + n;
    return rad_host_shuffle("rad_shuffle_down", value, from < 32 ? from : rad_lane(), file, line);
}

RAD_DEVICE void rad_host_ballot(rad_warp_exchange *warp)
{
    uint32_t bits = 0;
    for (uint32_t lane = 0; lane < 32; lane++)
        bits |= (warp->in[lane][0] != 0 ? 1u : 0u) << lane;
    for (uint32_t lane = 0; lane < 32; lane++)
        warp->out[lane][0] = bits;
}

RAD_DEVICE uint32_t rad_ballot(bool flag, RAD_HOST_PLACE)
{
    uint32_t in = flag, out;
    rad_host_warp("rad_ballot", rad_host_ballot, &in, 1, &out, 1, file, line);
    return out;
}

RAD_DEVICE uint32_t rad_atomic_add_u32(uint32_t *pointer, uint32_t value)
{
    return __atomic_fetch_add(pointer, value, __ATOMIC_RELAXED);
}

RAD_DEVICE uint64_t rad_atomic_add_u64(uint64_t *pointer, uint64_t value)
{
    return __atomic_fetch_add(pointer, value, __ATOMIC_RELAXED);
}

RAD_DEVICE uint32_t rad_atomic_max_u32(uint32_t *pointer, uint32_t value)
{
    uint32_t old = __atomic_load_n(pointer, __ATOMIC_RELAXED);
    while (old < value && !__atomic_compare_exchange_n(pointer, &old, value, true, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
    }
    return old;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

RAD_DEVICE void rad_host_aligned(const void *pointer, uintptr_t alignment, const char *what)
{
    if (((uintptr_t)pointer & (alignment - 1)) != 0)
        rad_host_fail("%s of %p, which is not aligned to %u bytes", what, pointer,
                      (unsigned)alignment);
}

RAD_DEVICE rad_u4 rad_load16(const void *pointer)
{
    rad_host_aligned(pointer, 16, "rad_load16");
    return *(const rad_u4 *)pointer;
}

RAD_DEVICE rad_u2 rad_load8(const void *pointer)
{
    rad_host_aligned(pointer, 8, "rad_load8");
    return *(const rad_u2 *)pointer;
}

RAD_DEVICE rad_u4 rad_load16_once(const void *pointer)
{
    return rad_load16(pointer);
}

RAD_DEVICE void rad_prefetch(const void *pointer, uint32_t bytes)
{
    rad_host_aligned(pointer, 16, "rad_prefetch");
    (void)((const volatile char *)pointer)[0];
    (void)((const volatile char *)pointer)[bytes - 1];
}

RAD_DEVICE void rad_store16(void *pointer, rad_u4 value)
{
    rad_host_aligned(pointer, 16, "rad_store16");
    *(rad_u4 *)pointer = value;
}

RAD_DEVICE void rad_store8(void *pointer, rad_u2 value)
{
    rad_host_aligned(pointer, 8, "rad_store8");
    *(rad_u2 *)pointer = value;
}

RAD_DEVICE void rad_copy_async16(void *shared, const void *global)
{
    rad_host_aligned(shared, 16, "rad_copy_async16");
    rad_host_aligned(global, 16, "rad_copy_async16");
    rad_host_copy_async(shared, global);
}

RAD_DEVICE void rad_copy_async_commit(void)
{
    rad_host_copy_commit();
}

RAD_DEVICE void rad_copy_async_wait(int n)
{
    rad_host_copy_wait(n < 0 || n > 6 ? 6 : n);
}

/* ---- arithmetic -------------------------------------------------------------------------------
 */

RAD_DEVICE float rad_fma(float a, float b, float c)
{
    return fmaf(a, b, c);
}

RAD_DEVICE float rad_sqrt(float x)
{
    return sqrtf(x);
}

RAD_DEVICE float rad_max(float a, float b)
{
    return fmaxf(a, b);
}

RAD_DEVICE float rad_exp2(float x)
{
    float power = exp2f(x);
    return power < 0x1p-126f ? 0.0f : power; /* NaN stays */
}

RAD_DEVICE float rad_round(float x)
{
    return rintf(x);
}

RAD_DEVICE int32_t rad_host_byte(uint32_t word, int i)
{
    return (int8_t)(word >> (8 * i));
}

/* Sums wrap, as on the device. */
RAD_DEVICE int32_t rad_dp4a(int32_t a, int32_t b, int32_t c)
{
    uint32_t sum = (uint32_t)c;
    for (int i = 0; i < 4; i++)
        sum += (uint32_t)(rad_host_byte((uint32_t)a, i) * rad_host_byte((uint32_t)b, i));
    return (int32_t)sum;
}

RAD_DEVICE uint32_t rad_byte_permute(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t choice = selector >> (4 * i);
        uint32_t byte = (uint32_t)(both >> (8 * (choice & 7))) & 255;
        if (choice & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}

RAD_DEVICE float rad_half_to_float(uint16_t half)
{
    return rad_float_of_half(half);
}

RAD_DEVICE uint16_t rad_float_to_half(float x)
{
    uint32_t bits = rad_float_bits(x);
    uint32_t magnitude = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7f800000u)
        return 0x7fff;
    if (magnitude >= 0x477ff000u) /* from the middle between 65504 and 65536 on */
        return (uint16_t)(sign | 0x7c00u);
    return rad_half_saturated(x);
}

RAD_DEVICE uint32_t rad_two_halves(float x, float y)
{
    return (uint32_t)rad_float_to_half(x) | (uint32_t)rad_float_to_half(y) << 16;
}

/* ---- matrix instructions -------------------------------------------------------------------- */

/* in[] of a lane holds a[4], b[2] and c[4], out[] the new c. */
template <typename A> static inline void rad_host_mma_8(rad_warp_exchange *warp)
{
    A a[16][32];
    int8_t b[8][32]; /* by column */
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t group = lane / 4, column = lane % 4 * 4;
        for (uint32_t i = 0; i < 4; i++)
            memcpy(&a[group + i % 2 * 8][column + i / 2 * 16], &warp->in[lane][i], 4);
        for (uint32_t i = 0; i < 2; i++)
            memcpy(&b[group][column + i * 16], &warp->in[lane][4 + i], 4);
    }
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t i = 0; i < 4; i++) {
            const A *row = a[lane / 4 + i / 2 * 8];
            const int8_t *column = b[lane % 4 * 2 + i % 2];
            int32_t sum = 0;
            for (int k = 0; k < 32; k++)
                sum += row[k] * column[k];
            warp->out[lane][i] = warp->in[lane][6 + i] + (uint32_t)sum;
        }
}

template <typename T>
static inline void rad_host_mma(const char *what, rad_warp_function function, T c[4],
                                const uint32_t a[4], const uint32_t b[2], const char *file,
                                int line)
{
    uint32_t in[10] = {a[0], a[1], a[2], a[3], b[0], b[1]}, out[4];
    memcpy(&in[6], c, 16);
    rad_host_warp(what, function, in, 10, out, 4, file, line);
    memcpy(c, out, 16);
}

RAD_DEVICE void rad_mma_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2], RAD_HOST_PLACE)
{
    rad_host_mma("rad_mma_s8", rad_host_mma_8<int8_t>, c, a, b, file, line);
}

RAD_DEVICE void rad_mma_u8_s8(int32_t c[4], const uint32_t a[4], const uint32_t b[2],
                              RAD_HOST_PLACE)
{
    rad_host_mma("rad_mma_u8_s8", rad_host_mma_8<uint8_t>, c, a, b, file, line);
}

RAD_DEVICE void rad_mma_s8_to(int32_t d[4], const int32_t c[4], const uint32_t a[4],
                              const uint32_t b[2], RAD_HOST_PLACE)
{
    memcpy(d, c, 16);
    rad_mma_s8(d, a, b, file, line);
}

RAD_DEVICE void rad_mma_s8_half_to(int32_t d[4], const int32_t c[4], uint32_t a0, uint32_t a1,
                                   uint32_t b0, RAD_HOST_PLACE)
{
    const uint32_t a[4] = {a0, a1, 0, 0}, b[2] = {b0, 0};
    memcpy(d, c, 16);
    rad_mma_s8(d, a, b, file, line);
}

/* Sums run from c by increasing k, plainly; the device's order is its own. */
template <bool bf16> static inline void rad_host_mma_16(rad_warp_exchange *warp)
{
    float a[16][16], b[8][16]; /* b by column */
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t group = lane / 4, column = lane % 4 * 2;
        for (uint32_t i = 0; i < 6; i++)
            for (uint32_t k = 0; k < 2; k++) {
                uint16_t bits = (uint16_t)(warp->in[lane][i] >> (16 * k));
                float x = bf16 ? rad_float_of_bf16(bits) : rad_float_of_half(bits);
                if (i < 4)
                    a[group + i % 2 * 8][column + k + i / 2 * 8] = x;
                else
                    b[group][column + k + (i - 4) * 8] = x;
            }
    }
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t i = 0; i < 4; i++) {
            const float *row = a[lane / 4 + i / 2 * 8], *column = b[lane % 4 * 2 + i % 2];
            float sum = rad_float_of_bits(warp->in[lane][6 + i]);
            for (int k = 0; k < 16; k++)
                sum += row[k] * column[k];
            warp->out[lane][i] = rad_float_bits(sum);
        }
}

RAD_DEVICE void rad_mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2], RAD_HOST_PLACE)
{
    rad_host_mma("rad_mma_f16", rad_host_mma_16<false>, c, a, b, file, line);
}

RAD_DEVICE void rad_mma_f16_to(float d[4], const float c[4], const uint32_t a[4],
                               const uint32_t b[2], RAD_HOST_PLACE)
{
    memcpy(d, c, 16);
    rad_mma_f16(d, a, b, file, line);
}

RAD_DEVICE void rad_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], RAD_HOST_PLACE)
{
    rad_host_mma("rad_mma_bf16", rad_host_mma_16<true>, c, a, b, file, line);
}

/* in[0], in[1]: the address of a lane's row. */
template <uint32_t n, bool transposed> static inline void rad_host_ldmatrix(rad_warp_exchange *warp)
{
    for (uint32_t m = 0; m < n; m++) {
        uint16_t matrix[8][8];
        for (uint32_t row = 0; row < 8; row++) {
            const void *address;
            memcpy(&address, warp->in[8 * m + row], sizeof address);
            memcpy(matrix[row], address, 16);
        }
        for (uint32_t lane = 0; lane < 32; lane++) {
            uint32_t group = lane / 4, four = lane % 4;
            uint16_t low = transposed ? matrix[2 * four][group] : matrix[group][2 * four];
            uint16_t high = transposed ? matrix[2 * four + 1][group] : matrix[group][2 * four + 1];
            warp->out[lane][m] = (uint32_t)high << 16 | low;
        }
    }
}

template <uint32_t n, bool transposed>
static inline void rad_host_load_matrices(uint32_t *out, const void *shared, const char *file,
                                          int line)
{
    static_assert(sizeof shared == 8, "addresses of 64 bits");
    if (rad_lane() < 8 * n)
        rad_host_aligned(shared, 16, "rad_ldmatrix");
    uint32_t in[2];
    memcpy(in, &shared, sizeof shared);
    rad_host_warp(transposed ? "rad_ldmatrix_trans" : "rad_ldmatrix",
                  rad_host_ldmatrix<n, transposed>, in, 2, out, n, file, line);
}

RAD_DEVICE void rad_ldmatrix_x4(uint32_t out[4], const void *shared, RAD_HOST_PLACE)
{
    rad_host_load_matrices<4, false>(out, shared, file, line);
}

RAD_DEVICE void rad_ldmatrix_x4_trans(uint32_t out[4], const void *shared, RAD_HOST_PLACE)
{
    rad_host_load_matrices<4, true>(out, shared, file, line);
}

#endif
