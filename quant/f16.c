/* F16: IEEE half precision. */
#include "quant/formats.h"

void rad_decode_f16(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        values[i] = rad_load_f16(bytes + 2 * i);
}

void rad_encode_f16(const float *values, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        rad_store_u16(bytes + 2 * i, rad_f32_to_f16(values[i]));
}
