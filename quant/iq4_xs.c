/* IQ4_XS, super-blocks of 256: f16 d, 16 bits of upper sub-scale bits (two for each 32, lowest
 * first), 4 bytes of low nibbles of sub-scales, 128 bytes of codes: 16 for each 32 elements, in the
 * order of IQ4_NL. Weight = d * (sub_scale - 32) * level[code]. */
#include "quant/search.h"

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

void rad_encode_iq4_xs(const float *values, const float *importance, void *blocks, size_t n)
{
    const rad_super_shape shape = {32, -32.0f, 31.0f, rad_grid_iq4, 3};
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_super_fit fit;
        uint32_t high = 0;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_fit_super_scales(&numbers, &shape, &fit);
        memset(bytes, 0, BYTES);
        for (int j = 0; j < 8; j++) {
            float scale = fit.scale * (float)fit.sub_scales[j];
            float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
            bytes[LOW + j / 2] |= (uint8_t)(((fit.sub_scales[j] + 32) & 15) << (4 * (j % 2)));
            high |= (uint32_t)(fit.sub_scales[j] + 32) >> 4 << 2 * j;
            int8_t codes[32];
            numbers.lanes->codes(numbers.x + 32 * j, 32, inverse, rad_grid_iq4.steps, codes);
            for (int k = 0; k < 16; k++)
                bytes[CODES + 16 * j + k] = (uint8_t)(codes[k] | codes[k + 16] << 4);
        }
        rad_store_u16(bytes, fit.half_scale);
        rad_store_u16(bytes + HIGH, (uint16_t)high);
    }
}
