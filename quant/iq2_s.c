/* IQ2_S, super-blocks of 256: f16 d, 32 low bytes of numbers of entries, 32 bytes of signs, 8 bytes
 * with the upper two bits of four numbers each, 8 bytes of sub-scales s, a nibble for each 16.
 * Weight = d / 8 * (2 s + 1) * entry. */
#include "quant/codebooks.h"

enum { BYTES = 82, LOW = 2, SIGNS = 34, HIGH = 66, SCALES = 74 };

void rad_unpack_iq2_s(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes) * 0.125f;
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++)
        out->sub_scales[j] = (int8_t)(2 * (bytes[SCALES + j / 2] >> (4 * (j % 2)) & 15) + 1);
    for (int k = 0; k < 32; k++) {
        uint32_t high = bytes[HIGH + k / 4] >> (2 * (k % 4)) & 3u;
        rad_take_iq2(rad_codebook_iq2_s[bytes[LOW + k] | high << 8], bytes[SIGNS + k],
                     out->quants + 8 * k);
    }
}

void rad_decode_iq2_s(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 16, rad_unpack_iq2_s);
}
