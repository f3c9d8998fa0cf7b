/* TQ2_0, ternary, super-blocks of 256: 64 bytes of 2-bit codes, f16 d. Each half of 128 elements
 * has 32 bytes, in the order of Q2_K. Weight = d * (code - 1). */
#include "quant/search.h"

enum { BLOCK = 256, BYTES = 66, D = 64 };

void rad_unpack_tq2_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes + D);
    out->minimum = 0.0f;
    for (int part = 0; part < 8; part++) { /* 32 elements at a time, for the compiler's vectors */
        const uint8_t *codes = bytes + part / 4 * 32;
        for (int l = 0; l < 32; l++)
            out->quants[32 * part + l] = (int8_t)((codes[l] >> (part % 4 * 2) & 3) - 1);
    }
}

void rad_decode_tq2_0(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_tq2_0);
}

void rad_encode_tq2_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_factor factor = rad_search_ternary_factor(&numbers, BLOCK);
        rad_store_u16(bytes + D, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
        float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
        int8_t q[BLOCK];
        numbers.lanes->quants(numbers.x, BLOCK, inverse, 0.0f, -1.0f, 1.0f, q);
        memset(bytes, 0, D);
        for (int part = 0; part < 8; part++)
            for (int l = 0; l < 32; l++)
                bytes[part / 4 * 32 + l] |= (uint8_t)((q[32 * part + l] + 1) << (part % 4 * 2));
    }
}
