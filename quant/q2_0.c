/* Q2_0, blocks of 64: f16 scale, 16 bytes of 2-bit codes, lowest first. Weight = scale * (code -
 * 1): -1, 0, 1 or 2. */
#include "quant/formats.h"

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

/* Values near to both ends cannot be had with one scale, so it may be negative: tried are the
 * extreme value as -1, 1 or 2, and some scales between. */
static float search_scale(const float x[BLOCK])
{
    float largest = rad_largest_magnitude(x, BLOCK);
    double best = -1.0, best_scale = 0.0;
    for (int step = -10; step <= 10 && largest > 0.0f; step++) {
        double inverse = 0.2 * step / largest, xq = 0.0, qq = 0.0;
        for (int i = 0; i < BLOCK; i++) {
            int q = rad_nearest((float)(inverse * x[i]), -1, 2);
            xq += (double)x[i] * q;
            qq += (double)q * q;
        }
        if (qq > 0.0 && xq * xq > best * qq) {
            best = xq * xq / qq;
            best_scale = xq / qq;
        }
    }
    return (float)best_scale;
}

void rad_encode_q2_0(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        uint16_t half = rad_f32_to_f16_saturated(search_scale(x));
        float scale = rad_f16_to_f32(half);
        memset(bytes, 0, BYTES);
        rad_store_u16(bytes, half);
        for (int j = 0; j < BLOCK; j++) {
            int q = scale == 0.0f ? 0 : rad_nearest(x[j] / scale, -1, 2);
            bytes[2 + j / 4] |= (uint8_t)((q + 1) << (j % 4 * 2));
        }
    }
}
