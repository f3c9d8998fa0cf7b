/* Q3_K, super-blocks of 256: 32 bytes of third bits, 64 bytes of lower bit pairs, 12 bytes of 6-bit
 * sub-scales per 16, f16 d. The pairs stand as in Q2_K; the third bit of element i is bit i / 32 of
 * byte i % 32, and where it is clear 4 is taken off. The low nibbles of sub-scales j and j + 8 are
 * byte j of the twelve, the upper two bits of sub-scale j are in byte 8 + j % 4 at bit 2 * (j / 4).
 * Weight = d * (sub_scale - 32) * quant. */
#include "quant/formats.h"

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

static void encode_block(const float x[BLOCK], uint8_t *bytes)
{
    float scales[16], extreme = 0.0f;
    int8_t unused[32];
    for (int j = 0; j < 16; j++) {
        scales[j] = rad_search_scale(x + 16 * j, 16, 4, unused);
        float magnitude = scales[j] < 0.0f ? -scales[j] : scales[j];
        if (magnitude > (extreme < 0.0f ? -extreme : extreme))
            extreme = scales[j];
    }
    /* The largest sub-scale becomes -32, the end of the range that reaches furthest. */
    uint16_t half = rad_f32_to_f16_saturated(extreme / -32.0f);
    float d = rad_f16_to_f32(half);
    memset(bytes, 0, BYTES);
    for (int j = 0; j < 16; j++) {
        int sub_scale = d == 0.0f ? 0 : rad_nearest(scales[j] / d, -32, 31);
        float scale = d * (float)sub_scale;
        bytes[SCALES + j % 8] |= (uint8_t)(((sub_scale + 32) & 15) << (j < 8 ? 0 : 4));
        bytes[SCALES + 8 + j % 4] |= (uint8_t)((sub_scale + 32) >> 4 << (2 * (j / 4)));
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            int q = 4 + (scale == 0.0f ? 0 : rad_nearest(x[i] / scale, -4, 3));
            *pair_byte(bytes, i) |= (uint8_t)((q & 3) << (i % 128 / 32 * 2));
            bytes[i % 32] |= (uint8_t)(q >> 2 << (i / 32));
        }
    }
    rad_store_u16(bytes + D, half);
}

void rad_encode_q3_k(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        encode_block(x, bytes);
    }
}
