/* NVFP4, blocks of 64: four unsigned E4M3 scales (exponent bias 7), then 32 bytes of E2M1 numbers,
 * 8 for each 16 elements: the low nibbles are elements 0-7, the high ones 8-15. Weight = scale *
 * number; the numbers are doubled to be integers and the scales halved. The codes 0 and 0x7f read
 * as zero, and the top bit of a scale is ignored but for that, as in ggml. A tensor may have one
 * more F32 scale of its own beside it in the file; that is the business of whoever binds tensors.
 */
#include "quant/formats.h"

enum { BLOCK = 64, BYTES = 36, SUB_BLOCK = 16, NUMBERS = 4, LARGEST_CODE = 0x7e };

static float half_scale(uint8_t code)
{
    uint32_t exponent = code >> 3 & 15u, mantissa = code & 7u;
    if (code == 0x7f)
        return 0.0f;
    /* mantissa / 8 * 2^-6, or (1 + mantissa / 8) * 2^(exponent - 7); halved: */
    if (exponent == 0)
        return (float)mantissa * 0x1p-10f;
    return (float)((8 + mantissa) << exponent) * 0x1p-11f;
}

void rad_unpack_nvfp4(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = 0.0f;
    out->minimum = 0.0f;
    for (int s = 0; s < BLOCK / SUB_BLOCK; s++) {
        int8_t *quants = out->quants + SUB_BLOCK * s;
        out->scales_16[s] = half_scale(bytes[s]);
        for (int j = 0; j < 8; j++) {
            uint8_t pair = bytes[NUMBERS + 8 * s + j];
            quants[j] = rad_levels_e2m1[pair & 15];
            quants[j + 8] = rad_levels_e2m1[pair >> 4];
        }
    }
}

void rad_decode_nvfp4(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_nvfp4(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = block.scales_16[j / SUB_BLOCK] * (float)block.quants[j];
    }
}

static double error_with(const float *x, uint8_t code)
{
    double scale = half_scale(code), error = 0.0;
    for (int j = 0; j < SUB_BLOCK; j++) {
        double difference = scale * rad_levels_e2m1[rad_nearest_e2m1((float)(x[j] / scale))] - x[j];
        error += difference * difference;
    }
    return error;
}

/* The code whose largest number is next to the largest value, or a neighbour if that fits better.
 */
static uint8_t search_code(const float *x)
{
    float wanted = rad_largest_magnitude(x, SUB_BLOCK) / 12.0f;
    uint8_t usual = 1, best;
    while (usual < LARGEST_CODE && half_scale(usual) < wanted)
        usual++;
    best = usual;
    double best_error = error_with(x, usual);
    for (int code = usual - 4; code <= usual + 2; code++) {
        double error = code < 1 || code > LARGEST_CODE ? best_error : error_with(x, (uint8_t)code);
        if (error < best_error) {
            best = (uint8_t)code;
            best_error = error;
        }
    }
    return best;
}

void rad_encode_nvfp4(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        for (int s = 0; s < BLOCK / SUB_BLOCK; s++) {
            const float *part = x + SUB_BLOCK * s;
            bytes[s] = search_code(part);
            float scale = half_scale(bytes[s]);
            for (int j = 0; j < 8; j++)
                bytes[NUMBERS + 8 * s + j] = (uint8_t)(rad_nearest_e2m1(part[j] / scale) |
                                                       rad_nearest_e2m1(part[j + 8] / scale) << 4);
        }
    }
}
