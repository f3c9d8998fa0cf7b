/* IQ4_NL, blocks of 32: f16 scale, 16 bytes of 4-bit codes in the order of Q4_0. Weight = scale *
 * level[code]; the sixteen levels are denser around zero, as weights are. */
#include "quant/search.h"

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

/* The levels from one to the next. */
static const rad_level_steps steps = {-127.0f,
                                      {-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f,
                                       -4.5f, 7.0f, 19.0f, 31.5f, 45.5f, 61.0f, 79.0f, 101.0f},
                                      {23.0f, 21.0f, 18.0f, 16.0f, 14.0f, 13.0f, 12.0f, 11.0f,
                                       12.0f, 12.0f, 13.0f, 15.0f, 16.0f, 20.0f, 24.0f}};

const rad_grid rad_grid_iq4 = {-127.0f, 113.0f, &steps};

void rad_encode_iq4_nl(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_factor factor = rad_search_factor(&numbers, BLOCK, &rad_grid_iq4, false);
        rad_store_u16(bytes, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
        float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
        int8_t codes[BLOCK];
        numbers.lanes->codes(numbers.x, BLOCK, inverse, &steps, codes);
        for (int j = 0; j < 16; j++)
            bytes[2 + j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
    }
}
