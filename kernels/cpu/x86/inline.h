/* Templates in C: functions that are always inlined with constant arguments, loops that are always
 * unrolled. */
#ifndef RAD_X86_INLINE_H
#define RAD_X86_INLINE_H

#define INLINE static inline __attribute__((always_inline))

/* Before a loop whose count is constant once its function is inlined. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
