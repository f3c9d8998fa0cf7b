/* Q1_0, blocks of 128: f16 scale, 128 bits, lowest first. Weight = scale where the bit is set, else
 * -scale. */
#include "quant/search.h"

enum { BLOCK = 128, BYTES = 18 };

void rad_unpack_q1_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int i = 0; i < BLOCK; i++)
        out->quants[i] = bytes[2 + i / 8] >> (i % 8) & 1 ? 1 : -1;
}

void rad_decode_q1_0(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_q1_0);
}

void rad_encode_q1_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        float sum = 0.0f, weight = 0.0f; /* the mean magnitude leaves the least squared error */
        memset(bytes, 0, BYTES);
        for (int j = 0; j < BLOCK; j++) {
            float x = numbers.x[j];
            sum += numbers.w[j] * (x < 0.0f ? -x : x);
            weight += numbers.w[j];
            bytes[2 + j / 8] |= (uint8_t)((x >= 0.0f) << (j % 8));
        }
        rad_store_u16(bytes, rad_half_in_units(sum / weight, numbers.unit));
    }
}
