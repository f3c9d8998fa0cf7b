/* MXFP4, blocks of 32 (OCP Microscaling Formats 1.0): a byte of exponent e, 16 bytes of 4-bit E2M1
 * numbers in the order of Q4_0. Weight = 2^(e - 127) * number; the numbers are doubled to be
 * integers and the scale halved. e = 255 would be NaN in the specification; files are read as ggml
 * reads them, where it is one more exponent. */
#include "quant/formats.h"

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

static double error_with(const float x[BLOCK], int e)
{
    double scale = half_scale((uint8_t)e), error = 0.0;
    for (int j = 0; j < BLOCK; j++) {
        double difference = scale * rad_levels_e2m1[rad_nearest_e2m1((float)(x[j] / scale))] - x[j];
        error += difference * difference;
    }
    return error;
}

void rad_encode_mxfp4(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK], largest;
        uint32_t bits;
        rad_copy_finite(values + i, x, BLOCK);
        largest = rad_largest_magnitude(x, BLOCK);
        memcpy(&bits, &largest, sizeof(bits));
        /* 4 and 6 are the numbers of the largest exponent, 2; one more wastes it, one less cuts. */
        int usual = (int)(bits >> 23) - 2, best = 0;
        double best_error = error_with(x, 0);
        for (int e = usual - 1; e <= usual + 1; e++) {
            double error = e < 1 || e > LARGEST_EXPONENT ? best_error : error_with(x, e);
            if (error < best_error) {
                best = e;
                best_error = error;
            }
        }
        bytes[0] = (uint8_t)best;
        for (int j = 0; j < 16; j++)
            bytes[1 + j] = (uint8_t)(rad_nearest_e2m1(x[j] / half_scale(bytes[0])) |
                                     rad_nearest_e2m1(x[j + 16] / half_scale(bytes[0])) << 4);
    }
}
