/* Activations to 8 bits (numeric contract, rule 2). */
#include "kernels/cpu/scalar/scalar.h"

#include <string.h>

/* Round half to even without a library call: adding 1.5 * 2^23 leaves no fraction bits. Holds for
 * |value| < 2^22 in the default rounding mode. */
static int32_t round_half_even(float value)
{
    const float shift = 12582912.0f;
    return (int32_t)((value + shift) - shift);
}

static void quantize(const float *x, uint32_t n, uint32_t block, int8_t *quants, float *scales,
                     int16_t *sums)
{
    for (uint32_t first = 0; first < n; first += block) {
        uint32_t amax_bits = 0;
        for (uint32_t i = first; i < first + block; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof(bits));
            bits &= 0x7fffffffu;
            amax_bits = bits > amax_bits ? bits : amax_bits;
        }
        float amax;
        memcpy(&amax, &amax_bits, sizeof(amax));
        bool finite = amax_bits < 0x7f800000u;
        if (!finite || amax < 0x1p-100f) {
            const uint32_t nan_bits = 0x7fc00000u;
            scales[first / block] = 0.0f;
            if (!finite)
                memcpy(&scales[first / block], &nan_bits, sizeof(nan_bits));
            memset(quants + first, 0, block);
            memset(sums + first / 16, 0, block / 16 * sizeof(sums[0]));
            continue;
        }
        scales[first / block] = amax / 127.0f;
        float factor = 127.0f / amax;
        for (uint32_t i = first; i < first + block; i += 16) {
            int32_t sum = 0;
            for (uint32_t j = i; j < i + 16; j++) {
                int32_t q = round_half_even(x[j] * factor);
                quants[j] = (int8_t)q;
                sum += q;
            }
            sums[i / 16] = (int16_t)sum;
        }
    }
}

void rad_quantize_q8_32_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                               int16_t *sums)
{
    quantize(x, n, 32, quants, scales, sums);
}

void rad_quantize_q8_64_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                               int16_t *sums)
{
    quantize(x, n, 64, quants, scales, sums);
}

void rad_quantize_q8_256_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                                int16_t *sums)
{
    quantize(x, n, RAD_SUPER_BLOCK, quants, scales, sums);
}

void rad_quantize_q8_row_scalar(const float *x, uint32_t n, int8_t *quants, float *scale,
                                int16_t *sums)
{
    quantize(x, n, n, quants, scale, sums);
}

void rad_quantize_q8_outliers(const float *x, uint32_t n, float threshold, int8_t *quants,
                              float *scale)
{
    const uint32_t infinity = 0x7f800000u;
    uint32_t amax_bits = 0, limit;
    memcpy(&limit, &threshold, sizeof limit);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        bool outlier = bits >= limit && bits <= infinity; /* positive floats are ordered as bits */
        amax_bits = bits > amax_bits && !outlier ? bits : amax_bits;
    }
    float amax, factor;
    memcpy(&amax, &amax_bits, sizeof amax);
    bool finite = amax_bits < infinity, plain = finite && amax >= 0x1p-100f;
    *scale = plain ? amax / 127.0f : finite ? 0.0f : amax;
    factor = plain ? 127.0f / amax : 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bool rounded = plain && (bits & 0x7fffffffu) <= amax_bits;
        quants[i] = (int8_t)(rounded ? round_half_even(x[i] * factor) : 0);
    }
}
