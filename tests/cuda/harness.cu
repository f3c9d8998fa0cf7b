#include "kernels/cuda/device.h"
#include "cuda/harness_kernels.h"

#ifdef RAD_CUDA_HOST
/* The sum of what lies deep in the stack, so that no compiler leaves it out. */
static __attribute__((noinline)) uint32_t deep(uint32_t n)
{
    volatile uint32_t many[1024];
    many[n % 1024] = n;
    return n == 0 ? many[0] : deep(n - 1) + many[n % 1024];
}
#else
RAD_DEVICE uint32_t deep(uint32_t n)
{
    return n;
}
#endif

RAD_DEVICE void warp_operations(const rad_cuda_harness_arguments &a, uint32_t x, uint32_t *out)
{
    uint32_t even = rad_ballot(x % 2 == 0);
    uint32_t sum = x;
    for (uint32_t mask = 16; mask > 0; mask /= 2)
        sum += rad_shuffle_xor(sum, mask);
    uint32_t first = rad_shuffle(x, 0), next = rad_shuffle_down(x, 1);
    rad_atomic_add_u32(&a.counter[0], x);
    rad_atomic_max_u32(&a.counter[1], x);
    *out = even ^ sum ^ first << 8 ^ next << 16;
}

RAD_DEVICE void copies(const rad_cuda_harness_arguments &a, uint32_t *tile, uint32_t first)
{
    uint32_t thread = rad_thread();
    if (thread < 8)
        rad_copy_async16(tile + 4 * thread, a.in + first + 4 * thread);
    rad_copy_async_commit();
    if (thread >= 8 && thread < 16)
        rad_copy_async16(tile + 4 * thread, a.in + first + 4 * thread);
    rad_copy_async_commit();
    rad_copy_async_wait(a.mode == HARNESS_COPY_NOT_WAITED ? 1 : 0);
    rad_barrier();
    a.out[first + thread] = tile[thread];
}

RAD_DEVICE void memory_errors(const rad_cuda_harness_arguments &a, uint32_t *tile, uint32_t n)
{
    uint32_t thread = rad_thread();
    bool me = thread == 33;
    if (a.mode == HARNESS_READ_BEHIND)
        a.out[thread] = a.in[me ? n : 0];
    else if (a.mode == HARNESS_READ_BEFORE)
        a.out[thread] = *(a.in - (me ? 1 : 0));
    else if (a.mode == HARNESS_WRITE_BEHIND)
        a.out[me ? n : thread] = 1;
    else if (a.mode == HARNESS_SHARED_BEHIND)
        tile[me ? 64 : thread] = 1;
    else if (a.mode == HARNESS_DYNAMIC_BEHIND)
        ((uint32_t *)rad_dynamic_shared())[me ? 64 : thread] = 1;
    else if (a.mode == HARNESS_MISALIGNED)
        a.out[thread] = rad_load16(a.in + (me ? 1 : 0)).x;
    else
        a.out[thread] = deep(me ? 100000 : 1);
}

RAD_DEVICE void meeting_errors(const rad_cuda_harness_arguments &a)
{
    uint32_t thread = rad_thread(), lane = rad_lane();
    if (a.mode == HARNESS_EARLY_RETURN && thread == 7)
        return;
    if (a.mode == HARNESS_TWO_BARRIERS && thread == 7)
        rad_barrier();
    if (a.mode == HARNESS_OTHER_OPERATION && lane == 5)
        rad_ballot(true);
    else if (a.mode == HARNESS_OTHER_OPERATION || (a.mode == HARNESS_MISSING_LANE && lane != 5))
        a.out[thread] = rad_shuffle(thread, 0);
    rad_barrier();
}

RAD_CUDA_KERNEL(harness, 64, rad_cuda_harness_arguments, a)
{
    RAD_SHARED(uint32_t, tile, 64);
    uint32_t thread = rad_thread(), first = rad_block_x() * 64, n = rad_grid_x() * 64;
    switch (a.mode) {
    case HARNESS_REVERSE:
    case HARNESS_NO_BARRIER:
        tile[thread] = a.in[first + thread];
        if (a.mode == HARNESS_REVERSE)
            rad_barrier();
        a.out[first + thread] = tile[63 - thread];
        break;
    case HARNESS_UNINITIALISED:
        a.out[first + thread] = tile[thread];
        tile[thread] = 0;
        break;
    case HARNESS_COPY_ASYNC:
    case HARNESS_COPY_NOT_WAITED:
        copies(a, tile, first);
        break;
    case HARNESS_WARP:
        warp_operations(a, a.in[first + thread], &a.out[first + thread]);
        break;
    case HARNESS_EARLY_RETURN:
    case HARNESS_TWO_BARRIERS:
    case HARNESS_MISSING_LANE:
    case HARNESS_OTHER_OPERATION:
        meeting_errors(a);
        break;
    default:
        memory_errors(a, tile, n);
    }
}

RAD_CUDA_KERNEL_EARLY(harness_early, 64, rad_cuda_harness_arguments, a)
{
    RAD_SHARED(uint32_t, tile, 64);
    uint32_t thread = rad_thread(), i = rad_block_x() * 64 + thread, x = 0;
    if (a.mode == HARNESS_EARLY_COPY && thread < 16)
        rad_copy_async16(tile + 4 * thread, a.in + rad_block_x() * 64 + 4 * thread);
    else if (a.mode == HARNESS_EARLY)
        x = a.in[i];
    else if (a.mode == HARNESS_EARLY_WRITE)
        a.out[i] = 1;
    if (a.mode != HARNESS_NEVER_WAITS || thread != 33)
        rad_wait_for_earlier();
    rad_copy_async_commit();
    rad_copy_async_wait(0);
    rad_barrier();
    a.out[i] = a.mode == HARNESS_EARLY_COPY ? tile[thread] : x;
}

/* a by ldmatrix, b by hand. */
RAD_CUDA_KERNEL(harness_mma, 32, rad_cuda_harness_mma_arguments, g)
{
    RAD_SHARED(uint8_t, tile, 16 * 32);
    uint32_t lane = rad_lane(), group = lane / 4, four = lane % 4;
    rad_store16(tile + 16 * lane, rad_load16(g.a + 16 * lane));
    rad_warp_barrier();
    uint32_t a[4], b[2], c[4];
    rad_ldmatrix_x4(a, tile + 32 * (lane % 16) + 16 * (lane / 16));
    for (uint32_t i = 0; i < 2; i++)
        memcpy(&b[i], g.b + 32 * group + 16 * i + 4 * four, 4);
    uint32_t *rows[2] = {g.c + 8 * group + 2 * four, g.c + 8 * (group + 8) + 2 * four};
    for (uint32_t i = 0; i < 4; i++)
        c[i] = rows[i / 2][i % 2];
    if (g.kind == HARNESS_S8)
        rad_mma_s8((int32_t *)c, a, b);
    else if (g.kind == HARNESS_F16)
        rad_mma_f16((float *)c, a, b);
    else
        rad_mma_bf16((float *)c, a, b);
    for (uint32_t i = 0; i < 4; i++)
        rows[i / 2][i % 2] = c[i];
}
