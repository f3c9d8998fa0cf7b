/* Templates in C: functions that are always inlined with constant arguments, loops that are always
 * unrolled. */
#ifndef RAD_X86_INLINE_H
#define RAD_X86_INLINE_H

/* UNROLL goes before a loop whose count is constant once its function is inlined. Emulated builds,
 * which exist for tests alone, are kept small. */
#if defined(RAD_EMULATED)
#define INLINE static inline
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define NOT_INLINE __attribute__((noinline))

/* One copy, whatever the constants that it is called with. */
#if defined(__clang__)
#define ONE_COPY NOT_INLINE
#else
#define ONE_COPY __attribute__((noinline, noclone))
#endif

/* gcc moves all additions of a chain behind the last product, and then runs out of registers. An
 * empty statement that claims to change the sum keeps each addition in its place. */
#if defined(__clang__) || defined(RAD_EMULATED)
#define KEEP_IN_PLACE(vector)
#else
#define KEEP_IN_PLACE(vector) __asm__("" : "+v"(vector))
#endif

/* Compilers hold on to what they stored a moment ago, here in copies on the stack beside the place
 * itself. Behind this statement they read the place again. */
#define READ_AGAIN() __asm__ volatile("" ::: "memory")

#endif
