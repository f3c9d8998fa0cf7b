/* MXFP4, blocks of 32 (OCP Microscaling Formats 1.0): a byte of exponent e, 16 bytes of 4-bit E2M1
 * numbers in the order of Q4_0. Weight = 2^(e - 127) * number; the numbers are doubled to be
 * integers and the scale halved. e = 255 would be NaN in the specification; files are read as ggml
 * reads them, where it is one more exponent. */
#include "quant/search.h"

enum { BLOCK = 32, BYTES = 17, LARGEST_EXPONENT = 252 /* 12 * 2^(252 - 128) is finite */ };

const int8_t rad_levels_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128), subnormal for e < 3. */
static float half_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

void rad_unpack_mxfp4(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = half_scale(bytes[0]);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        out->quants[j] = rad_levels_e2m1[bytes[1 + j] & 15];
        out->quants[j + 16] = rad_levels_e2m1[bytes[1 + j] >> 4];
    }
}

void rad_decode_mxfp4(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_mxfp4);
}

/* The levels from one to the next; the last step is never taken. */
const rad_level_steps rad_steps_e2m1 = {
    -12.0f,
    {-10.0f, -7.0f, -5.0f, -3.5f, -2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f,
     1e30f},
    {4.0f, 2.0f, 2.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 2.0f, 2.0f, 4.0f, 0.0f}};

/* The exponent that leaves the least error. The largest number is in 1..2, so that 12 times the
 * scale is next to it at 2^-3; smaller scales cut it, larger ones waste levels. */
static int search_exponent(const rad_numbers *numbers)
{
    float inverse[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], best_error = 0.0f;
    int unit, best = 0;
    for (int lane = 0; lane < RAD_LANES; lane++)
        inverse[lane] = (float)(1 << (lane < 7 ? lane : 7));
    numbers->lanes->levels(numbers->x, numbers->w, BLOCK, inverse, &rad_steps_e2m1, xq, qq);
    memcpy(&unit, &numbers->unit, sizeof unit);
    unit >>= 23; /* the exponent of the numbers' unit, biased by 127 as the format's is */
    for (int lane = 0; lane < 8; lane++) {
        float scale = 1.0f / inverse[lane], error = scale * (scale * qq[lane] - 2.0f * xq[lane]);
        int exponent = unit - lane + 1; /* one more, since levels are doubled */
        if (error < best_error && exponent >= 1 && exponent <= LARGEST_EXPONENT) {
            best_error = error;
            best = exponent;
        }
    }
    return best;
}

void rad_encode_mxfp4(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        bytes[0] = (uint8_t)search_exponent(&numbers);
        float inverse = numbers.unit / half_scale(bytes[0]);
        for (int j = 0; j < 16; j++)
            bytes[1 + j] = (uint8_t)(rad_nearest_e2m1(numbers.x[j] * inverse) |
                                     rad_nearest_e2m1(numbers.x[j + 16] * inverse) << 4);
    }
}
