/* Q8_0, blocks of 32: f16 scale, 32 signed bytes. Weight = scale * quant. */
#include "quant/formats.h"

enum { BLOCK = 32, BYTES = 34 };

void rad_unpack_q8_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    memcpy(out->quants, bytes + 2, BLOCK);
}

void rad_decode_q8_0(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q8_0(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale;
    }
}

void rad_encode_q8_0(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK], largest = 0.0f;
        rad_copy_finite(values + i, x, BLOCK);
        for (int j = 0; j < BLOCK; j++) {
            float magnitude = x[j] < 0.0f ? -x[j] : x[j];
            largest = magnitude > largest ? magnitude : largest;
        }
        uint16_t half = rad_f32_to_f16_saturated(largest / 127.0f);
        float scale = rad_f16_to_f32(half);
        rad_store_u16(bytes, half);
        for (int j = 0; j < BLOCK; j++)
            bytes[2 + j] =
                (uint8_t)(int8_t)(scale == 0.0f ? 0 : rad_nearest(x[j] / scale, -127, 127));
    }
}
