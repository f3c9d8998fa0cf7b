/* Q8_0, blocks of 32: f16 scale, 32 signed bytes. Weight = scale * quant. */
#include "base/platform.h"
#include "quant/search.h"

enum { BLOCK = 32, BYTES = 34 };

void rad_unpack_q8_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes);
    out->minimum = 0.0f;
    memcpy(out->quants, bytes + 2, BLOCK);
}

void rad_decode_q8_0(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_block block;
        rad_unpack_q8_0(bytes, &block);
        for (int j = 0; j < BLOCK; j++)
            values[i + (size_t)j] = (float)block.quants[j] * block.scale;
    }
}

void rad_encode_q8_0(const float *values, const float *importance, void *blocks, size_t n)
{
    const rad_lanes *lanes = rad_lanes_find(rad_vector_level());
    uint8_t *bytes = blocks;
    (void)importance; /* there is nothing to choose */
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES)
        lanes->q8_0(values + i, bytes);
}
