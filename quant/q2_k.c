/* Q2_K, super-blocks of 256: 16 bytes of sub-scale (low nibble) and sub-minimum (high nibble) per
 * 16, 64 bytes of 2-bit quants, f16 d, f16 dmin. Each half of 128 elements has 32 bytes; bits 0-1
 * of byte l are element l, bits 2-3 element l + 32, and so on. Weight = d * sub_scale * quant -
 * dmin * sub_minimum. */
#include "quant/search.h"

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

static void write_block(const rad_numbers *numbers, const rad_super_fit *fit, uint8_t *bytes)
{
    memset(bytes, 0, BYTES);
    for (int j = 0; j < 16; j++) {
        float scale = fit->scale * (float)fit->sub_scales[j];
        float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        float shift = fit->minimum * (float)fit->sub_minima[j] * inverse;
        bytes[j] = (uint8_t)(fit->sub_scales[j] | fit->sub_minima[j] << 4);
        int8_t q[16];
        numbers->lanes->quants(numbers->x + 16 * j, 16, inverse, shift, 0.0f, 3.0f, q);
        for (int i = 0; i < 16; i++)
            bytes[QUANTS + j / 8 * 32 + j % 2 * 16 + i] |= (uint8_t)(q[i] << (j % 8 / 2 * 2));
    }
    rad_store_u16(bytes + D, fit->half_scale);
    rad_store_u16(bytes + DMIN, fit->half_minimum);
}

void rad_encode_q2_k(const float *values, const float *importance, void *blocks, size_t n)
{
    static const rad_super_shape shape = {16, 0.0f, 15.0f, {0.0f, 3.0f, NULL}, 3};
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_super_fit fit;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_fit_super_affine(&numbers, &shape, &fit);
        write_block(&numbers, &fit, bytes);
    }
}
