/* Q8_0, blocks of 32: f16 scale, 32 signed bytes. Weight = scale * quant. */
#include "quant/search.h"

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

/* The scale is rounded first, so that the integers are nearest for the one that is stored. */
void rad_encode_q8_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    (void)importance; /* there is nothing to choose */
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        uint16_t half = rad_f32_to_f16_saturated(rad_largest_magnitude(x, BLOCK) / 127.0f);
        float scale = rad_f16_to_f32(half), inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        rad_store_u16(bytes, half);
        for (int j = 0; j < BLOCK; j++)
            bytes[2 + j] = (uint8_t)(int8_t)rad_quant(x[j], inverse, 0.0f, -127.0f, 127.0f);
    }
}
