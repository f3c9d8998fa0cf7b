/* IQ1_S, super-blocks of 256: f16 d, 32 low bytes of numbers of entries (eight elements each), 8
 * 16-bit words, one for each 32 elements: four times the upper three bits of a number, sub-scale s
 * in bits 12-14, and bit 15 that moves the 32 elements down by an eighth instead of up. Weight =
 * d * (2 s + 1) * (entry +- 1/8), in integers d / 8 * (2 s + 1) * (8 entry +- 1). */
#include "quant/codebooks.h"

enum { BYTES = 50, LOW = 2, HIGH = 34 };

void rad_unpack_iq1_s(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes) * 0.125f;
    out->minimum = 0.0f;
    for (int j = 0; j < 8; j++) {
        uint32_t word = rad_load_u16(bytes + HIGH + 2 * j);
        out->sub_scales[j] = (int8_t)(2 * (word >> 12 & 7) + 1);
        for (int k = 0; k < 4; k++) {
            uint32_t number = bytes[LOW + 4 * j + k] | (word >> 3 * k & 7) << 8;
            rad_take_iq1(rad_codebook_iq1[number], word >> 15, out->quants + 32 * j + 8 * k);
        }
    }
}

void rad_decode_iq1_s(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 32, rad_unpack_iq1_s);
}
