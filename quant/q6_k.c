/* Q6_K, super-blocks of 256: 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed
 * sub-scales (one per 16), f16 d. Each half of 128 elements has 64 + 32 bytes: elements l, l + 32
 * take the low nibbles of bytes l, l + 32, elements l + 64, l + 96 the high ones; the upper bits of
 * the four sit in byte l at bits 0, 2, 4, 6. Weight = d * sub_scale * (quant - 32). */
#include "quant/search.h"

enum { BLOCK = 256, BYTES = 210, HIGH = 128, SCALES = 192, D = 208 };

void rad_unpack_q6_k(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes + D);
    out->minimum = 0.0f;
    memcpy(out->sub_scales, bytes + SCALES, 16);
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = bytes + 64 * half;
        const uint8_t *high = bytes + HIGH + 32 * half;
        int8_t *q = out->quants + 128 * half;
        for (int l = 0; l < 32; l++) {
            q[l] = (int8_t)(((low[l] & 15) | (high[l] & 3) << 4) - 32);
            q[l + 32] = (int8_t)(((low[l + 32] & 15) | ((high[l] >> 2) & 3) << 4) - 32);
            q[l + 64] = (int8_t)(((low[l] >> 4) | ((high[l] >> 4) & 3) << 4) - 32);
            q[l + 96] = (int8_t)(((low[l + 32] >> 4) | (high[l] >> 6) << 4) - 32);
        }
    }
}

void rad_decode_q6_k(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q6_k(bytes, &block);
        for (int j = 0; j < BLOCK; j++) {
            float scale = block.scale * (float)block.sub_scales[j / 16];
            values[i + (size_t)j] = scale * (float)block.quants[j];
        }
    }
}

/* Puts quants 0..63 in their places. */
static void pack(const uint8_t q[BLOCK], uint8_t *bytes)
{
    for (int half = 0; half < 2; half++) {
        uint8_t *low = bytes + 64 * half;
        uint8_t *high = bytes + HIGH + 32 * half;
        const uint8_t *from = q + 128 * half;
        for (int l = 0; l < 32; l++) {
            low[l] = (uint8_t)((from[l] & 15) | (from[l + 64] & 15) << 4);
            low[l + 32] = (uint8_t)((from[l + 32] & 15) | (from[l + 96] & 15) << 4);
            high[l] = (uint8_t)(from[l] >> 4 | (from[l + 32] >> 4) << 2 | (from[l + 64] >> 4) << 4 |
                                (from[l + 96] >> 4) << 6);
        }
    }
}

void rad_encode_q6_k(const float *values, const float *importance, void *blocks, size_t n)
{
    static const rad_super_shape shape = {16, -128.0f, 127.0f, {-32.0f, 31.0f, NULL}, 3};
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_super_fit fit;
        uint8_t q[BLOCK];
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_fit_super_scales(&numbers, &shape, &fit);
        for (int j = 0; j < 16; j++) {
            float scale = fit.scale * (float)fit.sub_scales[j];
            float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
            bytes[SCALES + j] = (uint8_t)(int8_t)fit.sub_scales[j];
            int8_t near[16];
            numbers.lanes->quants(numbers.x + 16 * j, 16, inverse, 0.0f, -32.0f, 31.0f, near);
            for (int k = 0; k < 16; k++)
                q[16 * j + k] = (uint8_t)(near[k] + 32);
        }
        pack(q, bytes);
        rad_store_u16(bytes + D, fit.half_scale);
    }
}
