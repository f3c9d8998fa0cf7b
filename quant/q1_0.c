/* Q1_0, blocks of 128: f16 scale, 128 bits, lowest first. Weight = scale where the bit is set, else
 * -scale. */
#include "quant/formats.h"

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

void rad_encode_q1_0(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        double sum = 0.0; /* the mean magnitude leaves the least squared error */
        rad_copy_finite(values + i, x, BLOCK);
        memset(bytes, 0, BYTES);
        for (int j = 0; j < BLOCK; j++) {
            sum += x[j] < 0.0f ? -(double)x[j] : (double)x[j];
            bytes[2 + j / 8] |= (uint8_t)((x[j] >= 0.0f) << (j % 8));
        }
        rad_store_u16(bytes, rad_f32_to_f16_saturated((float)(sum / BLOCK)));
    }
}
