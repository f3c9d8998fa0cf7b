/* NF4 and FP4 of bitsandbytes, as folders are read: blocks of 64, an F32 scale (the block's
 * greatest magnitude), then 64 4-bit codes in eight words of 32 bits: element e is nibble e / 8 of
 * word e % 8, so that one shift of the words gives eight elements in their lanes. Weight = level *
 * scale, rounded once.
 *
 * NF4_INT8, what nf4=int8 makes of NF4: blocks of 32 with the bytes of IQ4_NL, an F16 scale and
 * codes of levels that are whole numbers. */
#include "quant/formats.h"

enum { BLOCK = RAD_SCALED_BLOCK, BYTES = 36, CODES = 4 };

/* Quantiles of the normal distribution (QLoRA, arXiv 2305.14314, appendix E), as its authors'
 * program has them. */
const float rad_levels_nf4[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};

/* A sign, two bits of exponent and one of mantissa, over the greatest one. */
const float rad_levels_fp4[16] = {
    0.0f, 0.0625f / 12.0f,  8.0f / 12.0f,  1.0f,  4.0f / 12.0f,  0.5f,  2.0f / 12.0f,  0.25f,
    0.0f, -0.0625f / 12.0f, -8.0f / 12.0f, -1.0f, -4.0f / 12.0f, -0.5f, -2.0f / 12.0f, -0.25f};

static void decode(const float levels[16], const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float scale = rad_load_f32(bytes);
        for (uint32_t e = 0; e < BLOCK; e++)
            values[i + e] =
                levels[rad_load_u32(bytes + CODES + e % 8 * 4) >> e / 8 * 4 & 15] * scale;
    }
}

void rad_decode_nf4(const void *blocks, float *values, size_t n)
{
    decode(rad_levels_nf4, blocks, values, n);
}

void rad_decode_fp4(const void *blocks, float *values, size_t n)
{
    decode(rad_levels_fp4, blocks, values, n);
}

void rad_pack_nf4(float scale, const uint8_t codes[RAD_SCALED_BLOCK], uint8_t *block)
{
    rad_store_f32(block, scale);
    for (int word = 0; word < 8; word++) {
        uint32_t bits = 0;
        for (int i = 0; i < 8; i++)
            bits |= (uint32_t)codes[8 * i + word] << 4 * i;
        rad_store_u32(block + CODES + 4 * word, bits);
    }
}

/* The levels of NF4 times STEPS, rounded. Of all factors up to 127 this one leaves the least error
 * for normal numbers: 0.47 % of their root of the mean square, where NF4 itself is 9.2 % off. */
#define STEPS 124.115f
static const int8_t levels_int8[16] = {-124, -86, -65, -49, -35, -23, -11, 0,
                                       10,   20,  31,  42,  55,  70,  90,  124};
enum { SMALL_BLOCK = 32, SMALL_BYTES = 18 };

void rad_unpack_nf4_int8(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++) {
        out->quants[j] = levels_int8[bytes[2 + j] & 15];
        out->quants[j + 16] = levels_int8[bytes[2 + j] >> 4];
    }
}

void rad_decode_nf4_int8(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){SMALL_BLOCK, SMALL_BYTES},
                      rad_unpack_nf4_int8);
}

bool rad_round_nf4(uint8_t *blocks, size_t n)
{
    for (; n > 0; n--, blocks += BYTES) {
        const uint16_t scale = rad_f32_to_f16(rad_load_f32(blocks) / STEPS);
        if ((scale & 0x7c00) == 0x7c00)
            return false;
        uint8_t codes[BLOCK], *out = blocks;
        for (uint32_t e = 0; e < BLOCK; e++)
            codes[e] = rad_load_u32(blocks + CODES + e % 8 * 4) >> e / 8 * 4 & 15;
        for (uint32_t first = 0; first < BLOCK; first += SMALL_BLOCK, out += SMALL_BYTES) {
            rad_store_u16(out, scale);
            for (uint32_t j = 0; j < 16; j++)
                out[2 + j] = (uint8_t)(codes[first + j] | codes[first + j + 16] << 4);
        }
    }
    return true;
}
