/* Double-precision functions as inline code without branches: for loops that vectorise, and for the
 * CUDA kernels, which include this text as functions of the device (RAD_NUMERIC_INLINE). Each
 * multiply-add that is rounded once is an explicit fma. */
#ifndef RAD_NUMERIC_F64_H
#define RAD_NUMERIC_F64_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef RAD_NUMERIC_INLINE
#define RAD_NUMERIC_INLINE static inline
#endif

#define RAD_F64_ROUND 0x1.8p52 /* x + it: an integer in the low bits */

/* rad_exp() for x <= 0, as numeric.c has it; there is no infinity to look out for. */
RAD_NUMERIC_INLINE double rad_exp_below_one(double x)
{
    double bounded = x < -746.0 ? -746.0 : x;
    double shifted = bounded * 0x1.71547652b82fep0 + RAD_F64_ROUND;
    double k = shifted - RAD_F64_ROUND;
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

#endif
