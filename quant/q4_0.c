/* Q4_0, blocks of 32: f16 scale, 16 bytes of 4-bit quants; element j is the low nibble of byte j,
 * element j + 16 the high one. Weight = scale * (quant - 8). */
#include "quant/search.h"

enum { BLOCK = 32, BYTES = 18 };

void rad_unpack_q4_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        out->quants[j] = (int8_t)((bytes[2 + j] & 15) - 8);
        out->quants[j + 16] = (int8_t)((bytes[2 + j] >> 4) - 8);
    }
}

void rad_decode_q4_0(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q4_0(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale;
    }
}

void rad_encode_q4_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        int8_t quants[BLOCK];
        rad_encode_scaled(values + i, importance != NULL ? importance + i : NULL, BLOCK, -8.0f,
                          7.0f, bytes, quants);
        for (int j = 0; j < 16; j++) {
            int low = quants[j] + 8, high = quants[j + 16] + 8;
            bytes[2 + j] = (uint8_t)(low | high << 4);
        }
    }
}
