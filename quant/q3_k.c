/* Q3_K, super-blocks of 256: 32 bytes of third bits, 64 bytes of lower bit pairs, 12 bytes of 6-bit
 * sub-scales per 16, f16 d. The pairs stand as in Q2_K; the third bit of element i is bit i / 32 of
 * byte i % 32, and where it is clear 4 is taken off. The low nibbles of sub-scales j and j + 8 are
 * byte j of the twelve, the upper two bits of sub-scale j are in byte 8 + j % 4 at bit 2 * (j / 4).
 * Weight = d * (sub_scale - 32) * quant. */
#include "quant/search.h"

enum { BLOCK = 256, BYTES = 110, PAIRS = 32, SCALES = 96, D = 108 };

static uint8_t *pair_byte(uint8_t *bytes, int i)
{
    return bytes + PAIRS + i / 128 * 32 + i % 32;
}

void rad_unpack_q3_k(const void *block, rad_block *out)
{
    const uint8_t *bytes = block, *packed = bytes + SCALES;
    out->scale = rad_load_f16(bytes + D);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        int low = packed[j % 8] >> (j < 8 ? 0 : 4) & 15;
        int high = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        out->sub_scales[j] = (int8_t)((low | high << 4) - 32);
    }
    for (int part = 0; part < 8; part++) { /* 32 elements at a time, for the compiler's vectors */
        const uint8_t *pairs = bytes + PAIRS + part / 4 * 32;
        for (int l = 0; l < 32; l++) {
            int third = bytes[l] >> part & 1;
            out->quants[32 * part + l] =
                (int8_t)((pairs[l] >> (part % 4 * 2) & 3) + (third << 2) - 4);
        }
    }
}

void rad_decode_q3_k(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 16, rad_unpack_q3_k);
}

static void write_block(const rad_numbers *numbers, const rad_super_fit *fit, uint8_t *bytes)
{
    memset(bytes, 0, BYTES);
    for (int j = 0; j < 16; j++) {
        int sub_scale = fit->sub_scales[j];
        float scale = fit->scale * (float)sub_scale;
        float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        bytes[SCALES + j % 8] |= (uint8_t)(((sub_scale + 32) & 15) << (j < 8 ? 0 : 4));
        bytes[SCALES + 8 + j % 4] |= (uint8_t)((sub_scale + 32) >> 4 << (2 * (j / 4)));
        uint8_t *pairs = pair_byte(bytes, 16 * j), *thirds = bytes + j % 2 * 16;
        int8_t q[16];
        numbers->lanes->quants(numbers->x + 16 * j, 16, inverse, 0.0f, -4.0f, 3.0f, q);
        for (int i = 0; i < 16; i++) {
            pairs[i] |= (uint8_t)(((q[i] + 4) & 3) << (j % 8 / 2 * 2));
            thirds[i] |= (uint8_t)((q[i] + 4) >> 2 << (j / 2));
        }
    }
    rad_store_u16(bytes + D, fit->half_scale);
}

void rad_encode_q3_k(const float *values, const float *importance, void *blocks, size_t n)
{
    static const rad_super_shape shape = {16, -32.0f, 31.0f, {-4.0f, 3.0f, NULL}, 1};
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_super_fit fit;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        for (int k = 0; k < BLOCK && !numbers.weighted; k++) { /* magnitudes count for more here */
            float magnitude = numbers.x[k] < 0.0f ? -numbers.x[k] : numbers.x[k];
            numbers.w[k] = 0.1f * numbers.w[k] + 0.9f * magnitude;
        }
        rad_fit_super_scales(&numbers, &shape, &fit);
        write_block(&numbers, &fit, bytes);
    }
}
