/* NVFP4, blocks of 64: four unsigned E4M3 scales (exponent bias 7), then 32 bytes of E2M1 numbers,
 * 8 for each 16 elements: the low nibbles are elements 0-7, the high ones 8-15. Weight = scale *
 * number; the numbers are doubled to be integers and the scales halved. The codes 0 and 0x7f read
 * as zero, and the top bit of a scale is ignored but for that, as in ggml. A tensor may have one
 * more F32 scale of its own beside it in the file; that is the business of whoever binds tensors.
 */
#include "quant/search.h"

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

/* The code whose scale leaves the least error of 16 numbers: its largest number is next to the
 * largest value, or somewhat below. */
static uint8_t search_code(const rad_numbers *numbers, const float *x, const float *w)
{
    float wanted = rad_largest_magnitude(x, SUB_BLOCK) * numbers->unit / 12.0f;
    float inverse[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], best_error = 0.0f;
    int usual = 1, best = 1;
    while (usual < LARGEST_CODE && half_scale((uint8_t)usual) < wanted)
        usual++;
    for (int lane = 0; lane < RAD_LANES; lane++) {
        int code = usual - 10 + lane;
        inverse[lane] =
            code < 1 || code > LARGEST_CODE ? 0.0f : numbers->unit / half_scale((uint8_t)code);
    }
    numbers->lanes->sums(x, w, SUB_BLOCK, inverse, &rad_grid_e2m1, xq, qq);
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float scale = inverse[lane] != 0.0f ? 1.0f / inverse[lane] : 0.0f;
        float error = scale * (scale * qq[lane] - 2.0f * xq[lane]);
        if (error < best_error) {
            best_error = error;
            best = usual - 10 + lane;
        }
    }
    return (uint8_t)best;
}

void rad_encode_nvfp4(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        for (int s = 0; s < BLOCK / SUB_BLOCK; s++) {
            const float *x = numbers.x + SUB_BLOCK * s;
            bytes[s] = search_code(&numbers, x, numbers.w + SUB_BLOCK * s);
            float inverse = numbers.unit / half_scale(bytes[s]);
            int8_t codes[SUB_BLOCK];
            rad_codes_e2m1(&numbers, (uint32_t)(SUB_BLOCK * s), SUB_BLOCK, inverse, codes);
            for (int j = 0; j < 8; j++)
                bytes[NUMBERS + 8 * s + j] = (uint8_t)(codes[j] | codes[j + 8] << 4);
        }
    }
}
