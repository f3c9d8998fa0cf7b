/* Q5_1, blocks of 32: f16 scale, f16 minimum, u32 of fifth bits, 16 bytes of low nibbles, ordered
 * as in Q5_0. Weight = scale * quant + minimum. */
#include "quant/search.h"

enum { BLOCK = 32, BYTES = 24 };

void rad_unpack_q5_1(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    uint32_t high = rad_load_u32(bytes + 4);
    out->scale = rad_load_f16(bytes);
    out->minimum = rad_load_f16(bytes + 2);
    for (int j = 0; j < 16; j++) {
        out->quants[j] = (int8_t)((bytes[8 + j] & 15) | (int)((high >> j) & 1) << 4);
        out->quants[j + 16] = (int8_t)((bytes[8 + j] >> 4) | (int)((high >> (j + 16)) & 1) << 4);
    }
}

void rad_decode_q5_1(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q5_1(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale + block.minimum;
    }
}

void rad_encode_q5_1(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        int8_t quants[BLOCK];
        uint8_t numbers[BLOCK];
        rad_encode_affine(values + i, importance != NULL ? importance + i : NULL, BLOCK, 31.0f,
                          bytes, quants);
        for (int j = 0; j < BLOCK; j++)
            numbers[j] = (uint8_t)quants[j];
        rad_pack_fives(numbers, bytes + 4);
    }
}
