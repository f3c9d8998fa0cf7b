/* Activations to 8 bits (numeric contract, rule 2; scalar/quantize.c says it in plain C). */
#ifndef RAD_X86_QUANTIZE_H
#define RAD_X86_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

INLINE void quantize(const float *x, uint32_t n, uint32_t block, int8_t *quants, float *scales,
                     int16_t *sums)
{
    for (uint32_t first = 0; first < n; first += block) {
        vi largest = vi_load_magnitude_bits(x + first);
        for (uint32_t i = first + 16; i < first + block; i += 16)
            largest = vi_max_unsigned(largest, vi_load_magnitude_bits(x + i));
        uint32_t amax_bits = vi_largest(largest);
        float amax, scale = 0.0f, factor = 0.0f;
        memcpy(&amax, &amax_bits, sizeof(amax));
        bool finite = amax_bits < 0x7f800000u;
        if (!finite || amax < 0x1p-100f) {
            const uint32_t nan_bits = 0x7fc00000u;
            if (!finite)
                memcpy(&scale, &nan_bits, sizeof(scale));
            memset(quants + first, 0, block);
            memset(sums + first / 16, 0, block / 16 * sizeof(sums[0]));
        } else {
            scale = amax / 127.0f;
            factor = 127.0f / amax;
            for (uint32_t i = first; i < first + block; i += 16)
                sums[i / 16] =
                    vf_store_rounded(quants + i, vf_multiply(vf_load(x + i), vf_set(factor)));
        }
        scales[first / block] = scale;
    }
}

static void quantize_q8_32(const float *x, uint32_t n, int8_t *quants, float *scales, int16_t *sums)
{
    quantize(x, n, 32, quants, scales, sums);
}

static void quantize_q8_64(const float *x, uint32_t n, int8_t *quants, float *scales, int16_t *sums)
{
    quantize(x, n, 64, quants, scales, sums);
}

static void quantize_q8_256(const float *x, uint32_t n, int8_t *quants, float *scales,
                            int16_t *sums)
{
    quantize(x, n, 256, quants, scales, sums);
}

static void quantize_q8_row(const float *x, uint32_t n, int8_t *quants, float *scale, int16_t *sums)
{
    quantize(x, n, n, quants, scale, sums);
}

#endif
