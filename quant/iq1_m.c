/* IQ1_M, super-blocks of 256: 32 low bytes of numbers of entries (eight elements each), 16 bytes
 * with a nibble for each entry (three upper bits, and one that moves its elements down by an eighth
 * instead of up), four 16-bit words: sub-scales s, three bits for each 16 elements, and in the
 * upper nibbles the four nibbles of f16 d, lowest first. Weight = d * (2 s + 1) * (entry +- 1/8).
 */
#include "quant/codebooks.h"

enum { BYTES = 56, LOW = 0, HIGH = 32, SCALES = 48 };

void rad_unpack_iq1_m(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    uint32_t d = 0;
    for (int j = 0; j < 4; j++) {
        uint32_t word = rad_load_u16(bytes + SCALES + 2 * j);
        d |= word >> 12 << 4 * j;
        for (int k = 0; k < 4; k++)
            out->sub_scales[4 * j + k] = (int8_t)(2 * (word >> 3 * k & 7) + 1);
    }
    out->scale = rad_f16_to_f32((uint16_t)d) * 0.125f;
    out->minimum = 0.0f;
    for (int k = 0; k < 32; k++) {
        uint32_t nibble = bytes[HIGH + k / 2] >> (4 * (k % 2)) & 15u;
        rad_take_iq1(rad_codebook_iq1[bytes[LOW + k] | (nibble & 7) << 8], nibble >> 3,
                     out->quants + 8 * k);
    }
}

void rad_decode_iq1_m(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 16, rad_unpack_iq1_m);
}
