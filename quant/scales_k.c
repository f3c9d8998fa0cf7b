/* What Q4_K and Q5_K share: eight pairs of 6-bit sub-scales and sub-minima packed into 12 bytes,
 * and the search for them. For j < 4 scale j is the low six bits of byte j, minimum j of byte
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

void rad_encode_super_k(const float x[256], int high, uint8_t header[16], uint8_t q[256])
{
    float scales[8], minima[8], largest_scale = 0.0f, largest_minimum = 0.0f;
    for (int j = 0; j < 8; j++) {
        float minimum;
        scales[j] = rad_search_scale_minimum(x + 32 * j, 32, high, true, &minimum);
        minima[j] = -minimum; /* the format subtracts it */
        largest_scale = scales[j] > largest_scale ? scales[j] : largest_scale;
        largest_minimum = minima[j] > largest_minimum ? minima[j] : largest_minimum;
    }
    uint16_t half_scale = rad_f32_to_f16_saturated(largest_scale / 63.0f);
    uint16_t half_minimum = rad_f32_to_f16_saturated(largest_minimum / 63.0f);
    float d = rad_f16_to_f32(half_scale);
    float dmin = rad_f16_to_f32(half_minimum);
    int sub_scales[8], sub_minima[8];
    for (int j = 0; j < 8; j++) {
        sub_scales[j] = d == 0.0f ? 0 : rad_nearest(scales[j] / d, 0, 63);
        sub_minima[j] = dmin == 0.0f ? 0 : rad_nearest(minima[j] / dmin, 0, 63);
        float scale = d * (float)sub_scales[j];
        float minimum = dmin * (float)sub_minima[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            q[i] = (uint8_t)(scale == 0.0f ? 0 : rad_nearest((x[i] + minimum) / scale, 0, high));
    }
    rad_store_u16(header, half_scale);
    rad_store_u16(header + 2, half_minimum);
    pack_scales_k(sub_scales, sub_minima, header + 4);
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
