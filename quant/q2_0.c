/* Q2_0, blocks of 64: f16 scale, 16 bytes of 2-bit codes, lowest first. Weight = scale * (code -
 * 1): -1, 0, 1 or 2. */
#include "quant/search.h"

enum { BLOCK = 64, BYTES = 18 };

void rad_unpack_q2_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int i = 0; i < BLOCK; i++)
        out->quants[i] = (int8_t)((bytes[2 + i / 4] >> (i % 4 * 2) & 3) - 1);
}

void rad_decode_q2_0(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_q2_0);
}

void rad_encode_q2_0(const float *values, const float *importance, void *blocks, size_t n)
{
    static const rad_grid grid = {-1.0f, 2.0f, NULL};
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_factor factor = rad_search_factor(&numbers, BLOCK, &grid, false);
        memset(bytes, 0, BYTES);
        rad_store_u16(bytes, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
        float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
        int8_t q[BLOCK];
        numbers.lanes->quants(numbers.x, BLOCK, inverse, 0.0f, -1.0f, 2.0f, q);
        for (int j = 0; j < BLOCK; j++)
            bytes[2 + j / 4] |= (uint8_t)((q[j] + 1) << (j % 4 * 2));
    }
}
