/* rad_exp() over an array and their sum, at the width of the machine's vectors: the same operations
 * in each lane, so the same bits as one at a time. Written once without branches; compilers
 * vectorise it. */
#define RAD_NUMERIC_INLINE static inline __attribute__((always_inline))
#include "base/numeric.h"
#include "base/numeric_f64.h"

/* Of these many the sum is added up while the next are computed: it waits for each addition in
 * turn, which leaves the vectors' units free. */
enum { AT_A_TIME = 16 };

static inline __attribute__((always_inline)) double
exponentials(const float *x, double greatest, double divisor, size_t n, double *y, double sum)
{
    size_t added = 0, done = 0;
    for (; done + AT_A_TIME <= n; done += AT_A_TIME) {
        for (size_t i = done; i < done + AT_A_TIME; i++)
            y[i] = rad_exp_below_one(((double)x[i] - greatest) / divisor);
        for (; added < done; added++)
            sum += y[added];
    }
    for (; done < n; done++)
        y[done] = rad_exp_below_one(((double)x[done] - greatest) / divisor);
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
