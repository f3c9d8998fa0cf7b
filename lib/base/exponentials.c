/* rad_exp() over an array, at the width of the machine's vectors: the same operations in each lane,
 * so the same bits as one at a time. Written once without branches; compilers vectorise it. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/numeric.h"
#include "base/platform.h"

#define ROUND_SHIFT 0x1.8p52

/* rad_exp() for x <= 0, as numeric.c has it; there is no infinity to look out for. */
static inline __attribute__((always_inline)) double exp_below_one(double x)
{
    double bounded = x < -746.0 ? -746.0 : x;
    double shifted = bounded * 0x1.71547652b82fep0 + ROUND_SHIFT;
    double k = shifted - ROUND_SHIFT;
    double high = fma(-k, 0x1.62e42fefa39efp-1, bounded), low = fma(-k, 0x1.abc9e3b39803fp-56, 0.0);
    double r = high + low, part = r - high;
    double rest = (high - (r - part)) + (low - part);
    double z = r * r, z2 = z * z;
    double first = (1.0 / 2 + r * (1.0 / 6)) + z * (1.0 / 24 + r * (1.0 / 120));
    double second = (1.0 / 720 + r * (1.0 / 5040)) + z * (1.0 / 40320 + r * (1.0 / 362880));
    double third =
        (1.0 / 3628800 + r * (1.0 / 39916800)) + z * (1.0 / 479001600 + r * (1.0 / 6227020800.0));
    double tail = fma(z, first + z2 * (second + z2 * third), rest);
    double sum = 1.0 + r, lost = r - (sum - 1.0);
    /* 2^k in two steps, so that results below the normal range are rounded once, by the second. */
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023 + 100) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    double result = (sum + (lost + tail)) * power * 0x1p-100;
    return x < -746.0 ? 0.0 : result;
}

#define EXPONENTIALS(name, target)                                                                 \
    target static void name(const float *x, double greatest, double divisor, size_t n, double *y)  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = exp_below_one(((double)x[i] - greatest) / divisor);                             \
    }

#if defined(__x86_64__)
EXPONENTIALS(exponentials_avx2, __attribute__((target("avx2,fma"))))
EXPONENTIALS(exponentials_avx512, __attribute__((target("avx512f,avx512dq,fma"))))
#else
EXPONENTIALS(exponentials_plain, )
#endif

#if defined(__x86_64__)
/* cpuid takes long under a hypervisor. Whoever asks first notes the answer, which is the same for
 * all. */
static int vector_level(void)
{
    static atomic_int known; /* 0: not yet; else 1 + the level */
    int level = atomic_load_explicit(&known, memory_order_relaxed) - 1;
    if (level < 0) {
        rad_cpu cpu = rad_cpu_detect();
        level = cpu.avx512 ? 2 : cpu.avx2 ? 1 : 0;
        atomic_store_explicit(&known, level + 1, memory_order_relaxed);
    }
    return level;
}
#endif

void rad_exponentials(const float *x, double greatest, double divisor, size_t n, double *y)
{
#if defined(__x86_64__)
    int level = vector_level();
    if (level == 2)
        exponentials_avx512(x, greatest, divisor, n, y);
    else if (level == 1)
        exponentials_avx2(x, greatest, divisor, n, y);
    /* fma would be a slow call */
    for (size_t i = 0; level == 0 && i < n; i++)
        y[i] = rad_exp(((double)x[i] - greatest) / divisor);
#else
    exponentials_plain(x, greatest, divisor, n, y);
#endif
}
