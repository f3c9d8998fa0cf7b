/* Q4_1, blocks of 32: f16 scale, f16 minimum, 16 bytes of 4-bit quants in the order of Q4_0.
 * Weight = scale * quant + minimum. */
#include "quant/search.h"

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

void rad_encode_q4_1(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        int8_t quants[BLOCK];
        rad_encode_affine(values + i, importance != NULL ? importance + i : NULL, BLOCK, 15.0f,
                          bytes, quants);
        for (int j = 0; j < 16; j++) {
            int low = quants[j], high = quants[j + 16];
            bytes[4 + j] = (uint8_t)(low | high << 4);
        }
    }
}
