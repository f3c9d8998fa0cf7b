/* The 8 bits of LLM.int8 (bitsandbytes), as folders are read: blocks of 64, an F32 scale (the row's
 * greatest magnitude, the same in all blocks of a row), then 64 int8. Weight = (quant * scale) *
 * (1 / 127), with 1 / 127 as the F32 that bitsandbytes has. */
#include "quant/formats.h"

enum { BLOCK = RAD_SCALED_BLOCK, BYTES = 68, QUANTS = 4 };

void rad_decode_int8(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        float scale = rad_load_f32(bytes);
        for (int e = 0; e < BLOCK; e++)
            values[i + (size_t)e] = (float)(int8_t)bytes[QUANTS + e] * scale * RAD_INT8_STEP;
    }
}
