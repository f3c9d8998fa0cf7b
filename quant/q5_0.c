/* Q5_0, blocks of 32: f16 scale, u32 of fifth bits (bit j for element j), 16 bytes of low nibbles
 * in the order of Q4_0. Weight = scale * (quant - 16). */
#include "quant/search.h"

enum { BLOCK = 32, BYTES = 22 };

void rad_unpack_q5_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    uint32_t high = rad_load_u32(bytes + 2);
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        int low_half = (bytes[6 + j] & 15) | (int)((high >> j) & 1) << 4;
        int high_half = (bytes[6 + j] >> 4) | (int)((high >> (j + 16)) & 1) << 4;
        out->quants[j] = (int8_t)(low_half - 16);
        out->quants[j + 16] = (int8_t)(high_half - 16);
    }
}

void rad_decode_q5_0(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q5_0(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale;
    }
}

void rad_encode_q5_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        int8_t quants[BLOCK];
        uint8_t numbers[BLOCK];
        rad_encode_scaled(values + i, importance != NULL ? importance + i : NULL, BLOCK, -16.0f,
                          15.0f, bytes, quants);
        for (int j = 0; j < BLOCK; j++)
            numbers[j] = (uint8_t)(quants[j] + 16);
        rad_pack_fives(numbers, bytes + 2);
    }
}
