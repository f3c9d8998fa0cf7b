/* Q4_K, super-blocks of 256: f16 d, f16 dmin, 12 bytes of sub-scales and sub-minima per 32, 128
 * bytes of 4-bit quants; every 32 bytes hold two sub-blocks, one in the low nibbles and the next in
 * the high ones. Weight = d * sub_scale * quant - dmin * sub_minimum. */
#include "quant/scales_k.h"

enum { BLOCK = 256, BYTES = 144 };

void rad_unpack_q4_k(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = -rad_load_f16(bytes + 2);
    rad_unpack_scales_k(bytes + 4, out->sub_scales, out->sub_minima);
    for (int i = 0; i < 128; i++) {
        int8_t *pair = out->quants + i / 32 * 64 + i % 32;
        pair[0] = (int8_t)(bytes[16 + i] & 15);
        pair[32] = (int8_t)(bytes[16 + i] >> 4);
    }
}

void rad_decode_q4_k(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q4_k(bytes, &block);
        rad_decode_super_k(&block, values + i);
    }
}

void rad_encode_q4_k(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        uint8_t q[BLOCK];
        rad_encode_super_k(values + i, importance != NULL ? importance + i : NULL, 15, bytes, q);
        for (int j = 0; j < 128; j++) {
            const uint8_t *pair = q + j / 32 * 64 + j % 32;
            bytes[16 + j] = (uint8_t)(pair[0] | pair[32] << 4);
        }
    }
}
