/* Kernels of tests are compiled with -fsanitize=thread and linked without its run-time library: the
 * compiler then tells each access to memory by the calls below, which runner.c looks at. */
#include "cuda/runner.h"

#include <string.h>

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

#define WATCH(size)                                                                                \
    void __tsan_read##size(void *at);                                                              \
    void __tsan_write##size(void *at);                                                             \
    void __tsan_unaligned_read##size(void *at);                                                    \
    void __tsan_unaligned_write##size(void *at);                                                   \
    void __tsan_read##size(void *at)                                                               \
    {                                                                                              \
        rad_host_watch(at, size, false, false);                                                    \
    }                                                                                              \
    void __tsan_write##size(void *at)                                                              \
    {                                                                                              \
        rad_host_watch(at, size, true, false);                                                     \
    }                                                                                              \
    void __tsan_unaligned_read##size(void *at)                                                     \
    {                                                                                              \
        rad_host_watch(at, size, false, false);                                                    \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *at)                                                    \
    {                                                                                              \
        rad_host_watch(at, size, true, false);                                                     \
    }
WATCH(1)
WATCH(2)
WATCH(4)
WATCH(8)
WATCH(16)

void __tsan_read_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size);

void __tsan_read_range(void *at, size_t size)
{
    rad_host_watch(at, size, false, false);
}

void __tsan_write_range(void *at, size_t size)
{
    rad_host_watch(at, size, true, false);
}

/* Calls that clang makes in place of the C library's. */
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int value, size_t size);

void *__tsan_memcpy(void *to, const void *from, size_t size)
{
    rad_host_watch(from, size, false, false);
    rad_host_watch(to, size, true, false);
    return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size)
{
    rad_host_watch(from, size, false, false);
    rad_host_watch(to, size, true, false);
    return memmove(to, from, size);
}

void *__tsan_memset(void *to, int value, size_t size)
{
    rad_host_watch(to, size, true, false);
    return memset(to, value, size);
}

/* The atomic operations that cuda/host.h uses; all in one order. */
uint32_t __tsan_atomic32_fetch_add(volatile uint32_t *at, uint32_t value, int order);
uint64_t __tsan_atomic64_fetch_add(volatile uint64_t *at, uint64_t value, int order);
uint32_t __tsan_atomic32_load(const volatile uint32_t *at, int order);
int __tsan_atomic32_compare_exchange_strong(volatile uint32_t *at, uint32_t *expected,
                                            uint32_t value, int order, int failure);
int __tsan_atomic32_compare_exchange_weak(volatile uint32_t *at, uint32_t *expected, uint32_t value,
                                          int order, int failure);
uint32_t __tsan_atomic32_compare_exchange_val(volatile uint32_t *at, uint32_t expected,
                                              uint32_t value, int order, int failure);
void __tsan_atomic_thread_fence(int order);

uint32_t __tsan_atomic32_fetch_add(volatile uint32_t *at, uint32_t value, int order)
{
    (void)order;
    rad_host_watch((const void *)at, sizeof *at, true, true);
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

uint64_t __tsan_atomic64_fetch_add(volatile uint64_t *at, uint64_t value, int order)
{
    (void)order;
    rad_host_watch((const void *)at, sizeof *at, true, true);
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

uint32_t __tsan_atomic32_load(const volatile uint32_t *at, int order)
{
    (void)order;
    rad_host_watch((const void *)at, sizeof *at, false, true);
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

int __tsan_atomic32_compare_exchange_strong(volatile uint32_t *at, uint32_t *expected,
                                            uint32_t value, int order, int failure)
{
    (void)order;
    (void)failure;
    rad_host_watch((const void *)at, sizeof *at, true, true);
    return __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int __tsan_atomic32_compare_exchange_weak(volatile uint32_t *at, uint32_t *expected, uint32_t value,
                                          int order, int failure)
{
    return __tsan_atomic32_compare_exchange_strong(at, expected, value, order, failure);
}

uint32_t __tsan_atomic32_compare_exchange_val(volatile uint32_t *at, uint32_t expected,
                                              uint32_t value, int order, int failure)
{
    __tsan_atomic32_compare_exchange_strong(at, &expected, value, order, failure);
    return expected;
}

void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
