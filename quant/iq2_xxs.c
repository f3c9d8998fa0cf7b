/* IQ2_XXS, super-blocks of 256: f16 d, then 8 bytes for each 32 elements: four numbers of entries
 * (eight elements each), and 32 bits: four times seven signs, sub-scale s in the upper four. Weight
 * = d / 8 * (2 s + 1) * entry. */
#include "quant/codebooks.h"

enum { BYTES = 66 };

void rad_unpack_iq2_xxs(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes) * 0.125f;
    out->minimum = 0.0f;
    for (int j = 0; j < 8; j++) {
        const uint8_t *part = bytes + 2 + 8 * j;
        uint32_t signs = rad_load_u32(part + 4);
        out->sub_scales[j] = (int8_t)(2 * (signs >> 28) + 1);
        for (int k = 0; k < 4; k++)
            rad_take_iq2(rad_codebook_iq2_xxs[part[k]], rad_even_signs(signs >> 7 * k & 127),
                         out->quants + 32 * j + 8 * k);
    }
}

void rad_decode_iq2_xxs(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 32, rad_unpack_iq2_xxs);
}
