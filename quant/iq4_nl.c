/* IQ4_NL, blocks of 32: f16 scale, 16 bytes of 4-bit codes in the order of Q4_0. Weight = scale *
 * level[code]; the sixteen levels are denser around zero, as weights are. */
#include "quant/formats.h"

enum { BLOCK = 32, BYTES = 18 };

const int8_t rad_levels_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

void rad_unpack_iq4_nl(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        out->quants[j] = rad_levels_iq4[bytes[2 + j] & 15];
        out->quants[j + 16] = rad_levels_iq4[bytes[2 + j] >> 4];
    }
}

void rad_decode_iq4_nl(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_iq4_nl);
}

void rad_encode_iq4_nl(const float *values, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float x[BLOCK];
        rad_copy_finite(values + i, x, BLOCK);
        uint16_t half = rad_f32_to_f16_saturated(rad_search_level_scale(x, BLOCK, rad_levels_iq4));
        float scale = rad_f16_to_f32(half);
        rad_store_u16(bytes, half);
        memset(bytes + 2, 0, 16);
        for (int j = 0; j < BLOCK && scale != 0.0f; j++)
            bytes[2 + j % 16] |=
                (uint8_t)(rad_nearest_level(x[j] / scale, rad_levels_iq4) << (j < 16 ? 0 : 4));
    }
}
