/* I2_S of BitNet, ternary: groups of 128 elements in 32 bytes of 2-bit codes; byte p holds element
 * p in its upper two bits, then p + 32, p + 64 and p + 96. Weight = (code - 1) * scale, with one
 * F32 scale for the whole tensor behind its last group (in a tail of 32 bytes); here it is left
 * out. Code 3, which the format's own tools do not write, is 2, as their products take it. */
#include "quant/formats.h"

enum { BLOCK = 128, BYTES = 32 };

void rad_unpack_i2_s(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = 1.0f;
    out->minimum = 0.0f;
    for (int part = 0; part < 4; part++) /* 32 elements at a time, for the compiler's vectors */
        for (int l = 0; l < 32; l++)
            out->quants[32 * part + l] = (int8_t)((bytes[l] >> (6 - 2 * part) & 3) - 1);
}

void rad_decode_i2_s(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_i2_s);
}

/* Of values that are divided by the scale already. */
void rad_encode_i2_s(const float *values, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        memset(bytes, 0, BYTES);
        for (int j = 0; j < BLOCK; j++)
            bytes[j % 32] |= (uint8_t)((rad_nearest(x[j], -1, 1) + 1) << (6 - j / 32 * 2));
    }
}
