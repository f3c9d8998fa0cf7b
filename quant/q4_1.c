/* Q4_1, blocks of 32: f16 scale, f16 minimum, 16 bytes of 4-bit quants in the order of Q4_0.
 * Weight = scale * quant + minimum. */
#include "quant/formats.h"

enum { BLOCK = 32, BYTES = 20 };

void rad_unpack_q4_1(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = rad_load_f16(bytes + 2);
    for (int j = 0; j < 16; j++) {
        out->quants[j] = (int8_t)(bytes[4 + j] & 15);
        out->quants[j + 16] = (int8_t)(bytes[4 + j] >> 4);
    }
}

void rad_decode_q4_1(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q4_1(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale + block.minimum;
    }
}

void rad_encode_q4_1(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK], minimum;
        uint8_t q[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        uint16_t half_scale =
            rad_f32_to_f16_saturated(rad_search_scale_minimum(x, BLOCK, 15, false, &minimum));
        uint16_t half_minimum = rad_f32_to_f16_saturated(minimum);
        float scale = rad_f16_to_f32(half_scale);
        minimum = rad_f16_to_f32(half_minimum);
        rad_store_u16(bytes, half_scale);
        rad_store_u16(bytes + 2, half_minimum);
        for (int j = 0; j < BLOCK; j++)
            q[j] = (uint8_t)(scale == 0.0f ? 0 : rad_nearest((x[j] - minimum) / scale, 0, 15));
        for (int j = 0; j < 16; j++)
            bytes[4 + j] = (uint8_t)(q[j] | q[j + 16] << 4);
    }
}
