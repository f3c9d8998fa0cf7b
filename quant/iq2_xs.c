/* IQ2_XS, super-blocks of 256: f16 d, 32 16-bit words (the number of an entry in nine bits, seven
 * signs), 8 bytes of sub-scales s, a nibble for each 16. Weight = d / 8 * (2 s + 1) * entry. */
#include "quant/codebooks.h"

enum { BYTES = 74, SCALES = 66 };

void rad_unpack_iq2_xs(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes) * 0.125f;
    out->minimum = 0.0f;
    for (int j = 0; j < 16; j++)
        out->sub_scales[j] = (int8_t)(2 * (bytes[SCALES + j / 2] >> (4 * (j % 2)) & 15) + 1);
    for (int k = 0; k < 32; k++) {
        uint32_t word = rad_load_u16(bytes + 2 + 2 * k);
        rad_take_iq2(rad_codebook_iq2_xs[word & 511], rad_even_signs(word >> 9),
                     out->quants + 8 * k);
    }
}

void rad_decode_iq2_xs(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 16, rad_unpack_iq2_xs);
}
