/* IQ3_XXS, super-blocks of 256: f16 d, 64 numbers of entries (four elements each), then 32 bits for
 * each 32 elements: four times seven signs, sub-scale s in the upper four. Weight = d / 4 * (2 s +
 * 1) * entry. */
#include "quant/codebooks.h"

enum { BYTES = 98, ENTRIES = 2, SIGNS = 66 };

void rad_unpack_iq3_xxs(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes) * 0.25f;
    out->minimum = 0.0f;
    for (int j = 0; j < 8; j++) {
        uint32_t packed = rad_load_u32(bytes + SIGNS + 4 * j);
        out->sub_scales[j] = (int8_t)(2 * (packed >> 28) + 1);
        for (int k = 0; k < 8; k += 2) {
            const uint8_t *numbers = bytes + ENTRIES + 8 * j + k;
            rad_take_iq3_xxs(rad_codebook_iq3_xxs[numbers[0]], rad_codebook_iq3_xxs[numbers[1]],
                             rad_even_signs(packed >> 7 * (k / 2) & 127),
                             out->quants + 32 * j + 4 * k);
        }
    }
}

void rad_decode_iq3_xxs(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 32, rad_unpack_iq3_xxs);
}
