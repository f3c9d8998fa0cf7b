/* Q6_K, super-blocks of 256: 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed
 * sub-scales (one per 16), f16 d. Each half of 128 elements has 64 + 32 bytes: elements l, l + 32
 * take the low nibbles of bytes l, l + 32, elements l + 64, l + 96 the high ones; the upper bits of
 * the four sit in byte l at bits 0, 2, 4, 6. Weight = d * sub_scale * (quant - 32). */
#include "quant/formats.h"

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

void rad_encode_q6_k(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK], scales[16], extreme = 0.0f;
        int8_t unused[32];
        uint8_t q[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        for (int j = 0; j < 16; j++) {
            scales[j] = rad_search_scale(x + 16 * j, 16, 32, unused);
            float magnitude = scales[j] < 0.0f ? -scales[j] : scales[j];
            if (magnitude > (extreme < 0.0f ? -extreme : extreme))
                extreme = scales[j];
        }
        /* The largest sub-scale becomes -128, the end of the range that reaches furthest. */
        uint16_t half = rad_f32_to_f16_saturated(extreme / -128.0f);
        float d = rad_f16_to_f32(half);
        for (int j = 0; j < 16; j++) {
            int sub_scale = d == 0.0f ? 0 : rad_nearest(scales[j] / d, -128, 127);
            float scale = d * (float)sub_scale;
            bytes[SCALES + j] = (uint8_t)(int8_t)sub_scale;
            for (int k = 16 * j; k < 16 * j + 16; k++)
                q[k] = (uint8_t)(32 + (scale == 0.0f ? 0 : rad_nearest(x[k] / scale, -32, 31)));
        }
        pack(q, bytes);
        rad_store_u16(bytes + D, half);
    }
}
