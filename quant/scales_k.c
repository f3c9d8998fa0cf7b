/* What Q4_K and Q5_K share: eight pairs of 6-bit sub-scales and sub-minima packed into 12 bytes,
 * and how they are found. For j < 4 scale j is the low six bits of byte j, minimum j of byte
 * j + 4; for j >= 4 their low nibbles share byte j + 4 and their upper two bits are the tops of
 * bytes j - 4 and j. */
#include "quant/scales_k.h"

void rad_unpack_scales_k(const uint8_t packed[12], int8_t scales[8], int8_t minima[8])
{
    for (int j = 0; j < 4; j++) {
        scales[j] = (int8_t)(packed[j] & 63);
        minima[j] = (int8_t)(packed[j + 4] & 63);
        scales[j + 4] = (int8_t)((packed[j + 8] & 15) | (packed[j] >> 6) << 4);
        minima[j + 4] = (int8_t)((packed[j + 8] >> 4) | (packed[j + 4] >> 6) << 4);
    }
}

static void pack_scales_k(const int scales[8], const int minima[8], uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scales[j] | (scales[j + 4] >> 4) << 6);
        packed[j + 4] = (uint8_t)(minima[j] | (minima[j + 4] >> 4) << 6);
        packed[j + 8] = (uint8_t)((scales[j + 4] & 15) | (minima[j + 4] & 15) << 4);
    }
}

void rad_encode_super_k(const float *values, const float *importance, int high, uint8_t header[16],
                        uint8_t q[256])
{
    const rad_super_shape shape = {32, 0.0f, 63.0f, {0.0f, (float)high, NULL}, 3};
    rad_numbers numbers;
    rad_super_fit fit;
    rad_numbers_take(values, importance, 256, &numbers);
    rad_fit_super_affine(&numbers, &shape, &fit);
    for (int j = 0; j < 8; j++) {
        float scale = fit.scale * (float)fit.sub_scales[j];
        float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        float shift = fit.minimum * (float)fit.sub_minima[j] * inverse;
        numbers.lanes->quants(numbers.x + 32 * j, 32, inverse, shift, 0.0f, (float)high,
                              (int8_t *)q + 32 * j);
    }
    rad_store_u16(header, fit.half_scale);
    rad_store_u16(header + 2, fit.half_minimum);
    pack_scales_k(fit.sub_scales, fit.sub_minima, header + 4);
}

void rad_decode_super_k(const rad_block *block, float values[256])
{
    float dmin = -block->minimum;
    for (int j = 0; j < 8; j++) {
        float scale = block->scale * (float)block->sub_scales[j];
        float minimum = dmin * (float)block->sub_minima[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            values[i] = scale * (float)block->quants[i] - minimum;
    }
}
