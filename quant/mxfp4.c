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

/* The levels from one to the next; the last step leads nowhere: it is taken by what a scale of zero
 * makes infinite. */
static const rad_level_steps steps = {
    -12.0f,
    {-10.0f, -7.0f, -5.0f, -3.5f, -2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f,
     1e30f},
    {4.0f, 2.0f, 2.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 2.0f, 2.0f, 4.0f, 0.0f}};

const rad_grid rad_grid_e2m1 = {-12.0f, 12.0f, &steps};

void rad_codes_e2m1(const rad_numbers *numbers, uint32_t first, uint32_t n, float inverse,
                    int8_t *codes)
{
    static const int8_t by_level[16] = {15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 7};
    numbers->lanes->codes(numbers->x + first, n, inverse, &steps, codes);
    for (uint32_t i = 0; i < n; i++)
        codes[i] = by_level[codes[i]];
}

/* The exponent that leaves the least error. The largest number is in 1..2, so that 12 times the
 * scale is next to it at 2^-3; smaller scales cut it, larger ones waste levels. */
static int search_exponent(const rad_numbers *numbers)
{
    float best_error = 0.0f;
    int unit, best = 0;
    memcpy(&unit, &numbers->unit, sizeof unit);
    unit >>= 23; /* the exponent of the numbers' unit, biased by 127 as the format's is */
    for (int power = 2; power < 6; power++) {
        float inverse = (float)(1 << power), scale = 1.0f / inverse, xq, qq;
        int exponent = unit - power + 1; /* one more, since levels are doubled */
        numbers->lanes->sums_of_one(numbers->x, numbers->w, BLOCK, inverse, &rad_grid_e2m1, &xq,
                                    &qq);
        float error = scale * (scale * qq - 2.0f * xq);
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
        int8_t codes[BLOCK];
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        bytes[0] = (uint8_t)search_exponent(&numbers);
        float inverse = bytes[0] != 0 ? numbers.unit / half_scale(bytes[0]) : 0.0f; /* 0: zeros */
        rad_codes_e2m1(&numbers, 0, BLOCK, inverse, codes);
        for (int j = 0; j < 16; j++)
            bytes[1 + j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
    }
}
