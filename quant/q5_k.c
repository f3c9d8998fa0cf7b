/* Q5_K, super-blocks of 256: as Q4_K, with 32 bytes of fifth bits between the scales and the
 * nibbles: bit j of byte l belongs to element l of sub-block j. */
#include "quant/scales_k.h"

enum { BLOCK = 256, BYTES = 176 };

void rad_unpack_q5_k(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    const uint8_t *high = bytes + 16;
    const uint8_t *low = bytes + 48;
    out->scale = rad_load_f16(bytes);
    out->minimum = -rad_load_f16(bytes + 2);
    rad_unpack_scales_k(bytes + 4, out->sub_scales, out->sub_minima);
    for (int i = 0; i < 128; i++) {
        int sub_block = i / 32 * 2, l = i % 32;
        int8_t *pair = out->quants + 32 * sub_block + l;
        pair[0] = (int8_t)((low[i] & 15) | ((high[l] >> sub_block) & 1) << 4);
        pair[32] = (int8_t)((low[i] >> 4) | ((high[l] >> (sub_block + 1)) & 1) << 4);
    }
}

void rad_decode_q5_k(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q5_k(bytes, &block);
        rad_decode_super_k(&block, values + i);
    }
}

void rad_encode_q5_k(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        uint8_t q[BLOCK];
        rad_encode_super_k(values + i, importance != NULL ? importance + i : NULL, 31, bytes, q);
        memset(bytes + 16, 0, 32);
        for (int j = 0; j < BLOCK; j++)
            bytes[16 + j % 32] |= (uint8_t)((q[j] >> 4) << (j / 32));
        for (int j = 0; j < 128; j++) {
            const uint8_t *pair = q + j / 32 * 64 + j % 32;
            bytes[48 + j] = (uint8_t)((pair[0] & 15) | (pair[32] & 15) << 4);
        }
    }
}
