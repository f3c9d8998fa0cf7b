/* Q2_K, super-blocks of 256: 16 bytes of sub-scale (low nibble) and sub-minimum (high nibble) per
 * 16, 64 bytes of 2-bit quants, f16 d, f16 dmin. Each half of 128 elements has 32 bytes; bits 0-1
 * of byte l are element l, bits 2-3 element l + 32, and so on. Weight = d * sub_scale * quant -
 * dmin * sub_minimum. */
#include "quant/formats.h"

enum { BLOCK = 256, BYTES = 84, QUANTS = 16, D = 80, DMIN = 82 };

void rad_unpack_q2_k(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes + D);
    out->minimum = -rad_load_f16(bytes + DMIN);
    for (int j = 0; j < 16; j++) {
        out->sub_scales[j] = (int8_t)(bytes[j] & 15);
        out->sub_minima[j] = (int8_t)(bytes[j] >> 4);
    }
    for (int part = 0; part < 8; part++) { /* 32 elements at a time, for the compiler's vectors */
        const uint8_t *pairs = bytes + QUANTS + part / 4 * 32;
        for (int l = 0; l < 32; l++)
            out->quants[32 * part + l] = (int8_t)(pairs[l] >> (part % 4 * 2) & 3);
    }
}

void rad_decode_q2_k(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q2_k(bytes, &block);
        for (int j = 0; j < BLOCK; j++) {
            float scale = block.scale * (float)block.sub_scales[j / 16];
            float minimum = -block.minimum * (float)block.sub_minima[j / 16];
            values[i + (size_t)j] = scale * (float)block.quants[j] - minimum;
        }
    }
}

static void encode_block(const float x[BLOCK], uint8_t *bytes)
{
    float scales[16], minima[16], largest_scale = 0.0f, largest_minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        float minimum;
        scales[j] = rad_search_scale_minimum(x + 16 * j, 16, 3, true, &minimum);
        minima[j] = -minimum; /* the format subtracts it */
        largest_scale = scales[j] > largest_scale ? scales[j] : largest_scale;
        largest_minimum = minima[j] > largest_minimum ? minima[j] : largest_minimum;
    }
    uint16_t half_scale = rad_f32_to_f16_saturated(largest_scale / 15.0f);
    uint16_t half_minimum = rad_f32_to_f16_saturated(largest_minimum / 15.0f);
    float d = rad_f16_to_f32(half_scale), dmin = rad_f16_to_f32(half_minimum);
    memset(bytes, 0, BYTES);
    for (int j = 0; j < 16; j++) {
        int sub_scale = d == 0.0f ? 0 : rad_nearest(scales[j] / d, 0, 15);
        int sub_minimum = dmin == 0.0f ? 0 : rad_nearest(minima[j] / dmin, 0, 15);
        float scale = d * (float)sub_scale, minimum = dmin * (float)sub_minimum;
        bytes[j] = (uint8_t)(sub_scale | sub_minimum << 4);
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            int q = scale == 0.0f ? 0 : rad_nearest((x[i] + minimum) / scale, 0, 3);
            bytes[QUANTS + i / 128 * 32 + i % 32] |= (uint8_t)(q << (i % 128 / 32 * 2));
        }
    }
    rad_store_u16(bytes + D, half_scale);
    rad_store_u16(bytes + DMIN, half_minimum);
}

void rad_encode_q2_k(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        encode_block(x, bytes);
    }
}
