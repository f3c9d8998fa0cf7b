/* The floating-point environment (numeric contract, rule 5). On x86-64 all arithmetic of the
 * library is SSE or AVX and obeys MXCSR alone; the x87 control word is left as the host set it,
 * since no x87 instruction takes part (long double is not used). */
#include "base/numeric.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

/* All six exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero, no
 * sticky flag set: the processor's own default. */
#define MXCSR_DEFAULT 0x1f80u

rad_fpenv rad_fpenv_enter(void)
{
    rad_fpenv saved = {_mm_getcsr()};
    _mm_setcsr(MXCSR_DEFAULT);
    return saved;
}

void rad_fpenv_leave(rad_fpenv saved)
{
    _mm_setcsr((unsigned)saved.control); /* with the sticky flags that the host had */
}

#elif defined(__aarch64__)

rad_fpenv rad_fpenv_enter(void)
{
    rad_fpenv saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved.control));
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)) : "memory");
    return saved;
}

void rad_fpenv_leave(rad_fpenv saved)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(saved.control) : "memory");
}

#else
#error "say here how this processor's rounding mode and flush-to-zero are saved and set"
#endif
