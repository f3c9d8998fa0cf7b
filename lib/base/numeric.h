/* The library's own elementary functions and the floating-point environment (numeric contract,
 * rules 4 to 6). Results depend on the arguments alone: no libm function but fma and sqrt. */
#ifndef RAD_NUMERIC_H
#define RAD_NUMERIC_H

#include <stddef.h>
#include <stdint.h>

/* Double precision, for load time, sampling and tables: errors below 2 ulp over the whole range;
 * special values as in C99 Annex F. */
double rad_exp(double x);
/* y[i] = rad_exp((x[i] - greatest) / divisor), the same bits, much faster; returns `sum` with y[0],
 * y[1] and so on added in that order. No x is NaN or above `greatest`, which is finite; divisor >
 * 0. level: rad_vector_level(), or less, for the same result. */
double rad_exponentials(int level, const float *x, double greatest, double divisor, size_t n,
                        double *y, double sum);
double rad_ln(double x);            /* natural */
double rad_pow(double x, double y); /* a zero result or infinity has no sign unless y is odd */
double rad_tanh(double x);
/* Own range reduction, for every finite x (positions of rotary tables are below 2^31). */
double rad_sin(double x);
double rad_cos(double x);
void rad_sin_cos(double x, double *sine, double *cosine); /* both, in little more time than one */

/* The saved floating-point environment of the host. */
typedef struct rad_fpenv {
    uint64_t control; /* MXCSR or FPCR */
} rad_fpenv;
/* Sets round to nearest, no flush-to-zero, no denormals-are-zero, exceptions masked. */
rad_fpenv rad_fpenv_enter(void);
void rad_fpenv_leave(rad_fpenv saved);

/* Philox 4x32-10 (Salmon et al. 2011): counter-based random numbers. */
void rad_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* In [0, 1), 53 bits, a function of the arguments alone. */
double rad_random_unit(uint64_t seed, uint32_t choice, uint64_t position);

#endif
