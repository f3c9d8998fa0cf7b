/* BF16: the upper half of an IEEE single. */
#include "quant/formats.h"

void rad_decode_bf16(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        values[i] = rad_bf16_to_f32(rad_load_u16(bytes + 2 * i));
}

void rad_encode_bf16(const float *values, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        rad_store_u16(bytes + 2 * i, rad_f32_to_bf16(values[i]));
}
