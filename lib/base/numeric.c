/* Elementary functions in double precision from + - * / and fma alone.
 *
 * Method. exp: x = k ln 2 + r, Taylor series of degree 13 in |r| <= ln(2)/2 (remainder below
 * 2^-57). log: x = 2^k m, m in [sqrt(1/2), sqrt(2)), the series of atanh at (m - 1)/(m + 1) in
 * double-double arithmetic. pow: exp(y log x) with log x in double-double. tanh: expm1 and one
 * corrected division. sin, cos: x = k pi/2 + r, with pi/2 in three parts for |x| < 2^33 and with
 * the bits of 2/pi beyond, then Taylor series in |r| <= pi/4.
 * Error: below 1 ulp for each (tests/unit/test_numeric.c measures it); the bound promised to
 * callers is 2 ulp. Double-double: T. J. Dekker, "A floating-point technique for extending the
 * available precision", Numerische Mathematik 18, 1971. */
#include "base/numeric.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define SIGN_BIT       (UINT64_C(1) << 63)
#define INFINITE       (UINT64_C(0x7ff) << 52)
#define NOT_A_NUMBER   (UINT64_C(0x7ff8) << 48)
#define SQRT_HALF_BITS UINT64_C(0x3fe6a09e667f3bcd)
#define ROUND_SHIFT    0x1.8p52 /* x + it - it is x rounded to an integer, |x| < 2^51 */
#define LN2_HIGH       0x1.62e42fefa39efp-1
#define LN2_LOW        0x1.abc9e3b39803fp-56
#define LOG2_E         0x1.71547652b82fep0

/* ---- double-double ----------------------------------------------------------------------------
 */

typedef struct pair {
    double high, low; /* the value is the sum; high is the sum rounded */
} pair;

static pair quick_two_sum(double a, double b) /* |a| >= |b|, or a = 0 */
{
    double sum = a + b;
    return (pair){sum, b - (sum - a)};
}

static pair two_sum(double a, double b)
{
    double sum = a + b;
    double part = sum - a;
    return (pair){sum, (a - (sum - part)) + (b - part)};
}

static pair two_product(double a, double b)
{
    double product = a * b;
    return (pair){product, fma(a, b, -product)};
}

static pair pair_add(pair a, pair b)
{
    pair high = two_sum(a.high, b.high);
    pair low = two_sum(a.low, b.low);
    pair sum = quick_two_sum(high.high, high.low + low.high);
    return quick_two_sum(sum.high, sum.low + low.low);
}

static pair pair_multiply(pair a, pair b)
{
    pair p = two_product(a.high, b.high);
    return quick_two_sum(p.high, p.low + fma(a.high, b.low, a.low * b.high));
}

/* ---- exp ----------------------------------------------------------------------------------------
 */

/* (e^r - 1 - r) / r^2 for |r| <= 0.35. Without fma and in a tree, since calls of fma in a chain are
 * slow where the compiler may not use the instruction; its error is multiplied by r^2 < 1/8. */
static double exp_tail(double r)
{
    double z = r * r;
    double low = (1.0 / 2 + r * (1.0 / 6)) + z * (1.0 / 24 + r * (1.0 / 120));
    double middle = (1.0 / 720 + r * (1.0 / 5040)) + z * (1.0 / 40320 + r * (1.0 / 362880));
    double high =
        (1.0 / 3628800 + r * (1.0 / 39916800)) + z * (1.0 / 479001600 + r * (1.0 / 6227020800.0));
    double z2 = z * z;
    return low + z2 * (middle + z2 * high);
}

/* high + low = k ln 2 + the result, with |result| <= 0.35. |high| < 2000. */
static pair reduce_exp(double high, double low, double *k)
{
    *k = (high * LOG2_E + ROUND_SHIFT) - ROUND_SHIFT;
    /* The first difference is exact: a multiple of 2^-54 below 1/2. */
    return two_sum(fma(-*k, LN2_HIGH, high), fma(-*k, LN2_LOW, low));
}

/* x 2^k for 1/2 <= x < 2 and -1080 <= k <= 1025, rounded once below the normal range too. */
static double scale_by_power(double x, int k)
{
    if (k > 1023)
        return x * 2.0 * of_bits((uint64_t)(k - 1 + 1023) << 52);
    if (k >= -1022)
        return x * of_bits((uint64_t)(k + 1023) << 52);
    return x * of_bits((uint64_t)(k + 100 + 1023) << 52) * 0x1p-100;
}

/* e^(high + low), |low| far below |high|. */
static double exp_pair(double high, double low)
{
    if (high > 710.0)
        return of_bits(INFINITE);
    if (high < -746.0)
        return 0.0;
    double k;
    pair r = reduce_exp(high, low, &k);
    double tail = fma(r.high * r.high, exp_tail(r.high), r.low);
    pair sum = quick_two_sum(1.0, r.high);
    return scale_by_power(sum.high + (sum.low + tail), (int)k);
}

double rad_exp(double x)
{
    return x != x ? x + x : exp_pair(x, 0.0);
}

/* ---- log, pow
 * ------------------------------------------------------------------------------------ */

/* log x for a positive, finite x, to about 2^-95 of its size. */
static pair log_pair(double x)
{
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    /* x = 2^power m with m in [sqrt(1/2), sqrt(2)): count in steps of the exponent from sqrt(1/2).
     */
    uint64_t steps = bits_of(x) - SQRT_HALF_BITS + (UINT64_C(1024) << 52);
    int power = (int)(steps >> 52) - 1024;
    double m = of_bits(bits_of(x) - ((uint64_t)(int64_t)power << 52));
    k += power;

    double numerator = m - 1.0; /* exact */
    pair denominator = two_sum(m, 1.0);
    double quotient = numerator / denominator.high;
    double rest = fma(-quotient, denominator.high, numerator) - quotient * denominator.low;
    pair s = quick_two_sum(quotient, rest / denominator.high);
    pair z = pair_multiply(s, s); /* below 0.0295 */
    pair sum = {1.0 / 43.0, 0.0};
    for (int odd = 41; odd >= 1; odd -= 2) {
        double inverse = 1.0 / odd;
        pair term = {inverse, fma(-inverse, odd, 1.0) / odd};
        sum = pair_add(pair_multiply(sum, z), term);
    }
    pair logarithm = pair_multiply(sum, (pair){2.0 * s.high, 2.0 * s.low});
    if (k == 0)
        return logarithm; /* keeps log 1 = 0 and full relative precision near 1 */
    pair powers = two_product(k, LN2_HIGH);
    powers.low = fma(k, LN2_LOW, powers.low);
    return pair_add(powers, logarithm);
}

double rad_ln(double x)
{
    if (x != x || x == of_bits(INFINITE))
        return x + x;
    if (x == 0.0)
        return -of_bits(INFINITE);
    if (x < 0.0)
        return of_bits(NOT_A_NUMBER);
    return log_pair(x).high;
}

/* 0: y is not an integer, 1: odd, 2: even. */
static int integer_kind(double y)
{
    double magnitude = of_bits(bits_of(y) & ~SIGN_BIT);
    if (magnitude >= 0x1p53)
        return 2;
    if (magnitude < 1.0)
        return magnitude == 0.0 ? 2 : 0;
    uint64_t whole = (uint64_t)magnitude;
    if ((double)whole != magnitude)
        return 0;
    return (whole & 1) != 0 ? 1 : 2;
}

/* |x| is 0, 1 or infinite, or y is infinite; magnitude = |x|. */
static double pow_of_extremes(double magnitude, double y)
{
    if (magnitude == 1.0)
        return 1.0;
    bool grows = (magnitude > 1.0) == (y > 0.0);
    return grows ? of_bits(INFINITE) : 0.0;
}

double rad_pow(double x, double y)
{
    if (y == 0.0 || x == 1.0)
        return 1.0;
    if (x != x || y != y)
        return x + y;
    bool negative = (bits_of(x) & SIGN_BIT) != 0;
    double magnitude = of_bits(bits_of(x) & ~SIGN_BIT);
    double infinite = of_bits(INFINITE);
    bool y_infinite = y == infinite || y == -infinite;
    int kind = y_infinite ? 2 : integer_kind(y);
    if (negative && kind == 0 && magnitude != 0.0 && magnitude != infinite)
        return of_bits(NOT_A_NUMBER);
    double result;
    if (magnitude == 0.0 || magnitude == 1.0 || magnitude == infinite || y_infinite) {
        result = pow_of_extremes(magnitude, y);
    } else if (y > 0x1p64 || y < -0x1p64) { /* no x next to 1 is close enough to matter */
        result = pow_of_extremes(magnitude, y > 0.0 ? infinite : -infinite);
    } else {
        pair logarithm = log_pair(magnitude);
        double high = y * logarithm.high;
        double low = fma(y, logarithm.high, -high) + y * logarithm.low;
        result = exp_pair(high, low);
    }
    return negative && kind == 1 ? -result : result;
}

/* ---- tanh
 * ---------------------------------------------------------------------------------------- */

double rad_tanh(double x)
{
    if (x != x)
        return x + x;
    double magnitude = of_bits(bits_of(x) & ~SIGN_BIT);
    uint64_t sign = bits_of(x) & SIGN_BIT;
    if (magnitude > 22.0) /* 1 - 2 e^-44 rounds to 1 */
        return of_bits(bits_of(1.0) | sign);
    if (magnitude < 0x1p-28) /* x - x^3 / 3 rounds to x */
        return x;
    double k;
    pair r = reduce_exp(2.0 * magnitude, 0.0, &k);
    double power = scale_by_power(1.0, (int)k);
    pair q = quick_two_sum(r.high, fma(r.high * r.high, exp_tail(r.high), r.low));
    /* e^(2x) - 1 = (2^k - 1) + 2^k q, then tanh = that / (that + 2). */
    pair numerator = two_sum(power - 1.0, power * q.high);
    numerator = quick_two_sum(numerator.high, numerator.low + power * q.low);
    pair denominator = two_sum(numerator.high, 2.0);
    denominator.low += numerator.low;
    double quotient = numerator.high / denominator.high;
    double rest = fma(-quotient, denominator.high, numerator.high) + numerator.low -
                  quotient * denominator.low;
    return of_bits(bits_of(quotient + rest / denominator.high) | sign);
}

/* ---- sin, cos
 * ------------------------------------------------------------------------------------ */

#define HALF_PI_1   0x1.921fb54442d18p+0
#define HALF_PI_2   0x1.1a62633145c07p-54
#define HALF_PI_3   -0x1.f1976b7ed8fbcp-110
#define TWO_OVER_PI 0x1.45f306dc9c883p-1

/* |x| < 2^33: the rest of x after quadrant quarter turns, in [-pi/4, pi/4], to about 2^-120. */
static pair reduce_moderate(double x, int *quadrant)
{
    double k = (x * TWO_OVER_PI + ROUND_SHIFT) - ROUND_SHIFT;
    double rest = fma(-k, HALF_PI_1, x); /* exact: a multiple of 2^-53 below 1 */
    pair second = two_product(-k, HALF_PI_2);
    pair sum = two_sum(rest, second.high);
    *quadrant = (int)((int64_t)k & 3);
    return quick_two_sum(sum.high, sum.low + fma(-k, HALF_PI_3, second.low));
}

/* 64 zeros, then the first 1280 bits of 2/pi. */
static const uint64_t two_over_pi_bits[21] = {
    UINT64_C(0x0000000000000000), UINT64_C(0xa2f9836e4e441529), UINT64_C(0xfc2757d1f534ddc0),
    UINT64_C(0xdb6295993c439041), UINT64_C(0xfe5163abdebbc561), UINT64_C(0xb7246e3a424dd2e0),
    UINT64_C(0x06492eea09d1921c), UINT64_C(0xfe1deb1cb129a73e), UINT64_C(0xe88235f52ebb4484),
    UINT64_C(0xe99c7026b45f7e41), UINT64_C(0x3991d639835339f4), UINT64_C(0x9c845f8bbdf9283b),
    UINT64_C(0x1ff897ffde05980f), UINT64_C(0xef2f118b5a0a6d1f), UINT64_C(0x6d367ecf27cb09b7),
    UINT64_C(0x4f463f669e5fea2d), UINT64_C(0x7527bac7ebe5f17b), UINT64_C(0x3d0739f78a5292ea),
    UINT64_C(0x6bfb5fb11f8d5d08), UINT64_C(0x56033046fc7b6bab), UINT64_C(0xf0cfbc209af4361d)};

/* 64 bits of the table from bit `position` on. */
static uint64_t table_bits(unsigned position)
{
    unsigned word = position / 64, shift = position % 64;
    if (shift == 0)
        return two_over_pi_bits[word];
    return two_over_pi_bits[word] << shift | two_over_pi_bits[word + 1] >> (64 - shift);
}

/* The high 64 bits of a b + c; the low ones go to *low. */
static uint64_t multiply_add(uint64_t a, uint64_t b, uint64_t c, uint64_t *low)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    uint64_t middle = (p00 >> 32) + (uint32_t)p01 + (uint32_t)p10;
    uint64_t product = middle << 32 | (uint32_t)p00;
    *low = product + c;
    return p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32) + (*low < c);
}

/* Any finite |x| >= 1. M. Payne, R. Hanek, "Radian reduction for trigonometric functions", SIGNUM
 * Newsletter 18, 1983: with x = m 2^e, bits of 2/pi that give multiples of 4 are left out, 256 bits
 * are multiplied, the two on top are the quadrant and the others the fraction, exact to 2^-200. */
static pair reduce_huge(double x, int *quadrant)
{
    uint64_t bits = bits_of(x);
    uint64_t mantissa = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1) << 52;
    int exponent = (int)(bits >> 52 & 0x7ff) - 1075;
    unsigned first = (unsigned)(exponent - 2 + 64); /* the bit of weight 2^(1 - exponent) */
    uint64_t fraction[4], carry = 0;                /* lowest word first */
    for (unsigned i = 0; i < 4; i++)
        carry = multiply_add(mantissa, table_bits(first + 64 * (3 - i)), carry, &fraction[i]);
    unsigned quarter = (unsigned)(fraction[3] >> 62);
    bool above_half = (fraction[3] >> 61 & 1) != 0;
    fraction[3] &= ~(UINT64_C(3) << 62);
    if (above_half) { /* the next quadrant, minus (1 - fraction) */
        uint64_t borrow = 0;
        for (unsigned i = 0; i < 4; i++) {
            uint64_t word = fraction[i];
            fraction[i] = 0 - word - borrow;
            borrow = (word | borrow) != 0;
        }
        fraction[3] &= ~(UINT64_C(3) << 62);
        quarter++;
    }
    pair sum = {0.0, 0.0};
    double weight = 0x1p-254;
    for (unsigned i = 0; i < 8; i++) { /* exact pieces of 32 bits, the smallest first */
        uint32_t piece = (uint32_t)(fraction[i / 2] >> (i % 2 * 32));
        sum = pair_add(sum, (pair){piece * weight, 0.0});
        weight *= 0x1p32;
    }
    bool minus = above_half != ((bits & SIGN_BIT) != 0);
    if (minus)
        sum = (pair){-sum.high, -sum.low};
    *quadrant = (int)(((bits & SIGN_BIT) != 0 ? 0u - quarter : quarter) & 3);
    return pair_multiply(sum, (pair){HALF_PI_1, HALF_PI_2});
}

/* sin(r) for |r| <= pi/4. */
static double sine_kernel(pair r)
{
    double z = r.high * r.high, z2 = z * z;
    double low = (-1.0 / 6 + z * (1.0 / 120)) + z2 * (-1.0 / 5040 + z * (1.0 / 362880));
    double high = (-1.0 / 39916800 + z * (1.0 / 6227020800.0)) +
                  z2 * (-1.0 / 1307674368000.0 + z * (1.0 / 355687428096000.0));
    double series = low + (z2 * z2) * high;
    /* sin(h + l) = h + (l cos h + h^3 S(h^2)) */
    double correction = r.low - 0.5 * z * r.low;
    return r.high + (correction + z * r.high * series);
}

/* cos(r) for |r| <= pi/4. */
static double cosine_kernel(pair r)
{
    double z = r.high * r.high, z2 = z * z;
    double z_low = fma(r.high, r.high, -z);
    double low = (1.0 / 24 + z * (-1.0 / 720)) + z2 * (1.0 / 40320 + z * (-1.0 / 3628800));
    double high = (1.0 / 479001600 + z * (-1.0 / 87178291200.0)) +
                  z2 * (1.0 / 20922789888000.0 + z * (-1.0 / 6402373705728000.0));
    double series = low + (z2 * z2) * high;
    /* cos(h + l) = 1 - h^2 / 2 + (h^4 C(h^2) - h l) */
    pair head = quick_two_sum(1.0, -0.5 * z);
    double correction = -r.high * r.low - 0.5 * z_low;
    return head.high + (head.low + (correction + z2 * series));
}

void rad_sin_cos(double x, double *sine, double *cosine)
{
    double magnitude = of_bits(bits_of(x) & ~SIGN_BIT);
    if (!(magnitude < of_bits(INFINITE))) {
        *sine = *cosine = x == x ? of_bits(NOT_A_NUMBER) : x + x;
        return;
    }
    int quadrant = 0;
    pair r = {x, 0.0};
    if (magnitude >= 0x1p33)
        r = reduce_huge(x, &quadrant);
    else if (magnitude > 0.78)
        r = reduce_moderate(x, &quadrant);
    double s = magnitude < 0x1p-27 ? x : sine_kernel(r); /* keeps the sign of zero */
    double c = cosine_kernel(r);
    bool swapped = (quadrant & 1) != 0;
    double sine_value = swapped ? c : s, cosine_value = swapped ? s : c;
    *sine = (quadrant & 2) != 0 ? -sine_value : sine_value;
    *cosine = ((quadrant + 1) & 2) != 0 ? -cosine_value : cosine_value;
}

double rad_sin(double x)
{
    double sine, cosine;
    rad_sin_cos(x, &sine, &cosine);
    return sine;
}

double rad_cos(double x)
{
    double sine, cosine;
    rad_sin_cos(x, &sine, &cosine);
    return cosine;
}
