/* Single-precision elementary functions as inline code without branches, so that the loops of the
 * layer kernels vectorise and give the same bits at every width. Choices are selects, integers come
 * from the bits of a float (never from a conversion that NaN or a large value could break), and
 * every multiply-add is an explicit fmaf. NaN gives NaN; which NaN is not specified.
 * Greatest errors found, in units of the last place: expf 1.04, tanhf 1.50, sigmoidf 2.48 (on every
 * 13th float), siluf 2.30 (on every 101st above -87; below -88.73 it is -0). gelu_tanhf is right to
 * 4e-7 |x|, gelu_erff to 2.2e-7 |x| and 4.3e-7 of itself. tests/unit/test_numeric.c measures on a
 * part of them. */
#ifndef RAD_NUMERIC_F32_H
#define RAD_NUMERIC_F32_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The CUDA kernels include this text as well: as functions of the device. */
#ifndef RAD_NUMERIC_INLINE
#define RAD_NUMERIC_INLINE static inline
#endif

RAD_NUMERIC_INLINE uint32_t rad_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

RAD_NUMERIC_INLINE float rad_float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define RAD_F32_LOG2_E     0x1.715476p0f
#define RAD_F32_LN2_HIGH   0x1.62e43p-1f
#define RAD_F32_LN2_LOW    -0x1.05c61p-29f
#define RAD_F32_ROUND      0x1.8p23f /* x + it: an integer in the low bits, |x| < 2^22 */
#define RAD_F32_ROUND_BITS 0x4b400000u

/* x = k ln 2 + r for -87 <= x <= 89; gives e^r - 1 by its Taylor series of degree 7 and the bits of
 * the integer k (two's complement). */
RAD_NUMERIC_INLINE float rad_expm1_reduced(float x, uint32_t *k_bits)
{
    float shifted = fmaf(x, RAD_F32_LOG2_E, RAD_F32_ROUND);
    float k = shifted - RAD_F32_ROUND;
    *k_bits = rad_float_bits(shifted) - RAD_F32_ROUND_BITS;
    float r = fmaf(-k, RAD_F32_LN2_HIGH, x);
    r = fmaf(-k, RAD_F32_LN2_LOW, r);
    float tail = fmaf(1.0f / 5040, r, 1.0f / 720);
    tail = fmaf(tail, r, 1.0f / 120);
    tail = fmaf(tail, r, 1.0f / 24);
    tail = fmaf(tail, r, 1.0f / 6);
    tail = fmaf(tail, r, 0.5f);
    return fmaf(r * r, tail, r);
}

/* e^x; 0 below -87 (numeric contract, rule 4), +infinity where the result would overflow. */
RAD_NUMERIC_INLINE float rad_expf(float x)
{
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -87.0f ? -87.0f : bounded;
    uint32_t k;
    float mantissa = 1.0f + rad_expm1_reduced(bounded, &k);
    /* 2^128 is no float: multiply by two powers, each about half of k. */
    uint32_t half = ((k + 256u) >> 1) - 128u;
    float first = rad_float_of_bits((half + 127u) << 23);
    float second = rad_float_of_bits((k - half + 127u) << 23);
    float result = mantissa * first * second;
    return x < -87.0f ? 0.0f : result;
}

/* The same bits in fewer steps for x <= 0 and NaN: 2^k is a float. Any other x gives anything. The
 * power, not the result, becomes 0: gcc would make a branch of the latter, and no vectors. */
RAD_NUMERIC_INLINE float rad_expf_below_one(float x)
{
    float bounded = x < -87.0f ? -87.0f : x;
    uint32_t k;
    float mantissa = 1.0f + rad_expm1_reduced(bounded, &k);
    float power = rad_float_of_bits((k + 127u) << 23);
    return mantissa * (x < -87.0f ? 0.0f : power);
}

RAD_NUMERIC_INLINE float rad_tanhf(float x)
{
    uint32_t sign = rad_float_bits(x) & 0x80000000u;
    float magnitude = rad_float_of_bits(rad_float_bits(x) & 0x7fffffffu);
    float twice = 2.0f * magnitude;
    twice = twice > 20.0f ? 20.0f : twice; /* tanh 10 rounds to 1 */
    uint32_t k;
    float q = rad_expm1_reduced(twice, &k);
    float power = rad_float_of_bits((k + 127u) << 23);
    float numerator = fmaf(q, power, power - 1.0f); /* e^(2x) - 1 */
    float far = numerator / (numerator + 2.0f);
    /* Near 0 the quotient's roundings would add up: Taylor series, as exact as the last addition.
     */
    float z = magnitude * magnitude;
    float series = fmaf(21844.0f / 6081075, z, -1382.0f / 155925);
    series = fmaf(series, z, 62.0f / 2835);
    series = fmaf(series, z, -17.0f / 315);
    series = fmaf(series, z, 2.0f / 15);
    series = fmaf(series, z, -1.0f / 3);
    float near = fmaf(magnitude * z, series, magnitude);
    float result = magnitude < 0.35f ? near : far;
    return rad_float_of_bits(rad_float_bits(result) | sign);
}

/* 1 / (1 + e^-x). */
RAD_NUMERIC_INLINE float rad_sigmoidf(float x)
{
    return 1.0f / (1.0f + rad_expf(-x));
}

/* x sigmoid(x). NaN for -infinity, so that a broken model is noticed. */
RAD_NUMERIC_INLINE float rad_siluf(float x)
{
    return x / (1.0f + rad_expf(-x));
}

/* GELU in the form with tanh: x / 2 (1 + tanh u), u = sqrt(2 / pi) (x + 0.044715 x^3), written as
 * x sigmoid(2 u), which is the same and loses nothing where tanh is near -1. */
RAD_NUMERIC_INLINE float rad_gelu_tanhf(float x)
{
    float u = 0x1.988454p0f * fmaf(0.044715f * (x * x), x, x); /* 2 sqrt(2 / pi) */
    return x / (1.0f + rad_expf(-u));
}

/* GELU itself (Hendrycks and Gimpel 2016): x times the normal distribution at x, which is
 * (1 + erf(x / sqrt 2)) / 2. Below -|x| that is exp(-x^2 / 2) g(|x|), where g falls smoothly: here
 * u times a polynomial of degree 8 in u = 1 / (1 + 11/32 |x|), off by 2e-8 of g at most up to 13.3
 * (a minimax fit); above that the exponential is 0. */
RAD_NUMERIC_INLINE float rad_gelu_erff(float x)
{
    float magnitude = rad_float_of_bits(rad_float_bits(x) & 0x7fffffffu);
    magnitude = magnitude > 14.0f ? 14.0f : magnitude;
    float u = 1.0f / fmaf(0x1.6p-2f, magnitude, 1.0f);
    float g = fmaf(-0x1.cd2f1ap-6f, u, 0x1.29cb7ep-3f);
    g = fmaf(g, u, -0x1.1956fcp-2f);
    g = fmaf(g, u, 0x1.8daa06p-3f);
    g = fmaf(g, u, -0x1.532aap-5f);
    g = fmaf(g, u, 0x1.d0d6f2p-4f);
    g = fmaf(g, u, 0x1.dd5e22p-4f);
    g = fmaf(g, u, 0x1.19bcf6p-3f);
    g = fmaf(g, u, 0x1.18d17ep-3f);
    float square = magnitude * magnitude;
    float lost = fmaf(magnitude, magnitude, -square); /* what the rounding of the square left */
    float tail = rad_expf_below_one(-0.5f * square) * (u * g);
    tail = fmaf(tail, -0.5f * lost, tail);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

/* IEEE half precision to single, exact; a signalling NaN becomes quiet. */
RAD_NUMERIC_INLINE float rad_float_of_half(uint16_t half)
{
    uint32_t magnitude = half & 0x7fffu;
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    /* Below the normal range: count the units of 2^-24 with a float whose last bit has that weight.
     */
    float small = rad_float_of_bits(0x3f000000u + magnitude) - 0.5f;
    uint32_t normal = (magnitude << 13) + ((127u - 15u) << 23);
    uint32_t special = 0x7f800000u | magnitude << 13 | (magnitude > 0x7c00u ? 0x400000u : 0u);
    uint32_t bits = magnitude < 0x400u ? rad_float_bits(small) : normal;
    bits = magnitude >= 0x7c00u ? special : bits;
    return rad_float_of_bits(bits | sign);
}

/* To half precision with rounding to nearest even; finite values beyond +-65504 become +-65504,
 * infinities stay, NaN becomes 0x7e00. */
RAD_NUMERIC_INLINE uint16_t rad_half_saturated(float x)
{
    uint32_t bits = rad_float_bits(x);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    /* Below 2^-14 the half's last bit weighs 2^-24: adding 1/2 rounds there. */
    float shifted = rad_float_of_bits(magnitude) + 0.5f;
    uint32_t small = rad_float_bits(shifted) - 0x3f000000u;
    uint32_t normal = (magnitude - ((127u - 15u) << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude >= 0x477fe000u ? 0x7bffu : half; /* 65504 and more */
    half = magnitude == 0x7f800000u ? 0x7c00u : half;
    half |= sign;
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)half;
}

/* bfloat16: exact to single; from single with rounding to nearest even, where finite values beyond
 * the greatest become it, infinities stay and NaN becomes 0x7fc0. */
RAD_NUMERIC_INLINE float rad_float_of_bf16(uint16_t bits)
{
    return rad_float_of_bits((uint32_t)bits << 16);
}

RAD_NUMERIC_INLINE uint16_t rad_bf16_saturated(float x)
{
    uint32_t bits = rad_float_bits(x);
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t rounded = (magnitude + 0x7fffu + (magnitude >> 16 & 1u)) >> 16;
    rounded = magnitude >= 0x7f7f8000u ? 0x7f7fu : rounded;
    rounded = magnitude == 0x7f800000u ? 0x7f80u : rounded;
    rounded |= bits >> 16 & 0x8000u;
    rounded = magnitude > 0x7f800000u ? 0x7fc0u : rounded;
    return (uint16_t)rounded;
}

/* FP8 E4M3 (OCP 8-bit floating point, revision 1.0): greatest 448, no infinity, NaN is 0x7f and
 * 0xff. To single exact; from single with rounding to nearest even, where finite values beyond the
 * greatest become it and what is not finite NaN. */
RAD_NUMERIC_INLINE float rad_float_of_fp8(uint8_t code)
{
    uint32_t magnitude = code & 0x7fu;
    /* Below the normal range: count the units of 2^-9 with a float whose last bit has that weight.
     */
    float small = rad_float_of_bits(0x46800000u + magnitude) - 16384.0f;
    uint32_t normal = (magnitude << 20) + ((127u - 7u) << 23);
    uint32_t bits = magnitude < 8u ? rad_float_bits(small) : normal;
    bits = magnitude == 0x7fu ? 0x7fc00000u : bits;
    return rad_float_of_bits(bits | (uint32_t)(code & 0x80u) << 24);
}

RAD_NUMERIC_INLINE uint8_t rad_fp8_saturated(float x)
{
    uint32_t bits = rad_float_bits(x);
    uint32_t magnitude = bits & 0x7fffffffu;
    /* Below 2^-6 the last bit weighs 2^-9: adding 2^14 rounds there. */
    float shifted = rad_float_of_bits(magnitude) + 16384.0f;
    uint32_t small = rad_float_bits(shifted) - 0x46800000u;
    uint32_t normal = (magnitude - ((127u - 7u) << 23) + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20;
    uint32_t code = magnitude < 0x3c800000u ? small : normal;
    code = magnitude >= 0x43e00000u ? 0x7eu : code; /* 448 and more */
    code = magnitude >= 0x7f800000u ? 0x7fu : code;
    return (uint8_t)(code | (bits >> 24 & 0x80u));
}

#endif
