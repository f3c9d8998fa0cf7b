/* What AddressSanitizer calls before each access of a kernel, in builds with it alone. Kernels load
 * 32 bytes and more at a time, for which the sanitizer's own function asks its tables byte by byte:
 * half of the time of all tests went there. Where nothing near is poisoned, one comparison is
 * enough; its functions judge the rest. Eight bytes of memory are one byte of the tables, 0 where
 * all may be used (Serebryany et al., AddressSanitizer: A Fast Address Sanity Checker, USENIX ATC
 * 2012). */
#include <stdint.h>

#define UNWATCHED __attribute__((no_sanitize("address", "undefined")))
#define TABLES_AT ((uintptr_t)0x7fff8000) /* on x86-64 Linux (compiler-rt, asan_mapping.h) */

/* Whether all is well with the size bytes at the address; false: it is to be asked. */
UNWATCHED static inline int clean(uintptr_t address, uintptr_t size)
{
    uint64_t eight;
    __builtin_memcpy(&eight, (const void *)((address >> 3) + TABLES_AT), sizeof eight);
    return size <= 56 && eight == 0;
}

#define ACCESS(kind, bytes)                                                                        \
    void __asan_##kind##bytes(uintptr_t address);                                                  \
    void rad_watch_##kind##bytes(uintptr_t address);                                               \
    UNWATCHED void rad_watch_##kind##bytes(uintptr_t address)                                      \
    {                                                                                              \
        if (!clean(address, bytes))                                                                \
            __asan_##kind##bytes(address);                                                         \
    }
#define ACCESSES(kind)                                                                             \
    ACCESS(kind, 1)                                                                                \
    ACCESS(kind, 2)                                                                                \
    ACCESS(kind, 4)                                                                                \
    ACCESS(kind, 8)                                                                                \
    ACCESS(kind, 16)                                                                               \
    void __asan_##kind##N(uintptr_t address, uintptr_t size);                                      \
    void rad_watch_##kind##N(uintptr_t address, uintptr_t size);                                   \
    UNWATCHED void rad_watch_##kind##N(uintptr_t address, uintptr_t size)                          \
    {                                                                                              \
        if (!clean(address, size))                                                                 \
            __asan_##kind##N(address, size);                                                       \
    }

ACCESSES(load)
ACCESSES(store)

void *__asan_memcpy(void *to, const void *from, uintptr_t size);
void *__asan_memmove(void *to, const void *from, uintptr_t size);
void *__asan_memset(void *to, int value, uintptr_t size);
void *rad_watch_memcpy(void *to, const void *from, uintptr_t size);
void *rad_watch_memmove(void *to, const void *from, uintptr_t size);
void *rad_watch_memset(void *to, int value, uintptr_t size);

UNWATCHED void *rad_watch_memcpy(void *to, const void *from, uintptr_t size)
{
    return __asan_memcpy(to, from, size);
}

UNWATCHED void *rad_watch_memmove(void *to, const void *from, uintptr_t size)
{
    return __asan_memmove(to, from, size);
}

UNWATCHED void *rad_watch_memset(void *to, int value, uintptr_t size)
{
    return __asan_memset(to, value, size);
}
