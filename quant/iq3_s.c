/* IQ3_S, super-blocks of 256: f16 d, 64 low bytes of numbers of entries (four elements each), 8
 * bytes with the ninth bits of eight numbers each, 32 bytes of signs, 4 bytes of sub-scales s, a
 * nibble for each 32. Weight = d * (2 s + 1) * entry. */
#include "quant/codebooks.h"

enum { BYTES = 110, LOW = 2, HIGH = 66, SIGNS = 74, SCALES = 106 };

void rad_unpack_iq3_s(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    for (int j = 0; j < 8; j++)
        out->sub_scales[j] = (int8_t)(2 * (bytes[SCALES + j / 2] >> (4 * (j % 2)) & 15) + 1);
    for (int k = 0; k < 64; k += 2) {
        uint32_t high = bytes[HIGH + k / 8] >> (k % 8) & 3u;
        rad_take_iq3_s(rad_codebook_iq3_s[bytes[LOW + k] | (high & 1) << 8],
                       rad_codebook_iq3_s[bytes[LOW + k + 1] | high >> 1 << 8],
                       bytes[SIGNS + k / 2], out->quants + 4 * k);
    }
}

void rad_decode_iq3_s(const void *blocks, float *values, size_t n)
{
    rad_decode_super(blocks, values, n, BYTES, 32, rad_unpack_iq3_s);
}
