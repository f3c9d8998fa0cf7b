/* rad_exp() over an array and their sum, at the width of the machine's vectors: the same operations
 * in each lane, so the same bits as one at a time. Written once without branches; compilers
 * vectorise it. */
#include <math.h>
#include <string.h>

#include "base/numeric.h"

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

/* Of these many the sum is added up while the next are computed: it waits for each addition in
 * turn, which leaves the vectors' units free. */
enum { AT_A_TIME = 16 };

static inline __attribute__((always_inline)) double
exponentials(const float *x, double greatest, double divisor, size_t n, double *y, double sum)
{
    size_t added = 0, done = 0;
    for (; done + AT_A_TIME <= n; done += AT_A_TIME) {
        for (size_t i = done; i < done + AT_A_TIME; i++)
            y[i] = exp_below_one(((double)x[i] - greatest) / divisor);
        for (; added < done; added++)
            sum += y[added];
    }
    for (; done < n; done++)
        y[done] = exp_below_one(((double)x[done] - greatest) / divisor);
    for (; added < n; added++)
        sum += y[added];
    return sum;
}

/* A division by one changes nothing and takes as long as any. */
#define EXPONENTIALS(name, target)                                                                 \
    target static double name(const float *x, double greatest, double divisor, size_t n,           \
                              double *y, double sum)                                               \
    {                                                                                              \
        if (divisor == 1.0)                                                                        \
            return exponentials(x, greatest, 1.0, n, y, sum);                                      \
        return exponentials(x, greatest, divisor, n, y, sum);                                      \
    }

#if defined(__x86_64__)
EXPONENTIALS(exponentials_avx2, __attribute__((target("avx2,fma"))))
EXPONENTIALS(exponentials_avx512, __attribute__((target("avx512f,avx512dq,fma"))))

/* fma would be a slow call without its instruction. */
static double exponentials_plain(const float *x, double greatest, double divisor, size_t n,
                                 double *y, double sum)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = rad_exp(((double)x[i] - greatest) / divisor);
        sum += y[i];
    }
    return sum;
}
#else
EXPONENTIALS(exponentials_plain, )
#endif

double rad_exponentials(int level, const float *x, double greatest, double divisor, size_t n,
                        double *y, double sum)
{
#if defined(__x86_64__)
    if (level == 2)
        return exponentials_avx512(x, greatest, divisor, n, y, sum);
    if (level == 1)
        return exponentials_avx2(x, greatest, divisor, n, y, sum);
#endif
    (void)level;
    return exponentials_plain(x, greatest, divisor, n, y, sum);
}
