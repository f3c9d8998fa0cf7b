/* FP8 with scales, as folders are read: blocks of 64, an F32 scale, then 64 numbers of type E4M3 (a
 * sign, 4 bits of exponent of bias 7, 3 of mantissa; no infinity). Weight = number * scale, rounded
 * once. A number's bits are those of an F16 number 2^8 times as small, which is how kernels widen
 * it; the scale makes up for it. The codes of NaN read as +-480: whoever makes blocks refuses
 * them. */
#include "quant/formats.h"

enum { BLOCK = RAD_SCALED_BLOCK, BYTES = 68, NUMBERS = 4 };

void rad_decode_fp8(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float scale = rad_load_f32(bytes) * 256.0f;
        for (int e = 0; e < BLOCK; e++)
            values[i + (size_t)e] = rad_f16_to_f32(rad_e4m3_to_f16(bytes[NUMBERS + e])) * scale;
    }
}
