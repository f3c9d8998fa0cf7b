/* IQ4_XS, super-blocks of 256: f16 d, 16 bits of upper sub-scale bits (two for each 32, lowest
 * first), 4 bytes of low nibbles of sub-scales, 128 bytes of codes: 16 for each 32 elements, in the
 * order of IQ4_NL. Weight = d * (sub_scale - 32) * level[code]. */
#include "quant/formats.h"

enum { BLOCK = 256, BYTES = 136, HIGH = 2, LOW = 4, CODES = 8 };

void rad_unpack_iq4_xs(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    uint32_t high = rad_load_u16(bytes + HIGH);
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 8; j++) {
        uint32_t low = bytes[LOW + j / 2] >> (4 * (j % 2)) & 15u;
        out->sub_scales[j] = (int8_t)((int)(low | (high >> 2 * j & 3) << 4) - 32);
        for (int i = 0; i < 16; i++) {
            uint8_t pair = bytes[CODES + 16 * j + i];
            out->quants[32 * j + i] = rad_levels_iq4[pair & 15];
            out->quants[32 * j + i + 16] = rad_levels_iq4[pair >> 4];
        }
    }
}

void rad_decode_iq4_xs(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 32, rad_unpack_iq4_xs);
}

static void encode_block(const float x[BLOCK], uint8_t *bytes)
{
    float scales[8], extreme = 0.0f;
    for (int j = 0; j < 8; j++) {
        scales[j] = rad_search_level_scale(x + 32 * j, 32, rad_levels_iq4);
        float magnitude = scales[j] < 0.0f ? -scales[j] : scales[j];
        if (magnitude > (extreme < 0.0f ? -extreme : extreme))
            extreme = scales[j];
    }
    uint16_t half = rad_f32_to_f16_saturated(extreme / -32.0f);
    float d = rad_f16_to_f32(half);
    uint32_t high = 0;
    memset(bytes, 0, BYTES);
    for (int j = 0; j < 8; j++) {
        int sub_scale = d == 0.0f ? 0 : rad_nearest(scales[j] / d, -32, 31);
        float scale = d * (float)sub_scale;
        bytes[LOW + j / 2] |= (uint8_t)(((sub_scale + 32) & 15) << (4 * (j % 2)));
        high |= (uint32_t)(sub_scale + 32) >> 4 << 2 * j;
        for (int i = 0; i < 32 && scale != 0.0f; i++)
            bytes[CODES + 16 * j + i % 16] |=
                (uint8_t)(rad_nearest_level(x[32 * j + i] / scale, rad_levels_iq4)
                          << (i < 16 ? 0 : 4));
    }
    rad_store_u16(bytes, half);
    rad_store_u16(bytes + HIGH, (uint16_t)high);
}

void rad_encode_iq4_xs(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        encode_block(x, bytes);
    }
}
