/* F32: IEEE single precision, stored as it is. */
#include "quant/formats.h"

void rad_decode_f32(const void *blocks, float *values, size_t n)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = rad_load_u32(bytes + 4 * i);
        memcpy(&values[i], &bits, sizeof(bits));
    }
}

void rad_encode_f32(const float *values, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        rad_store_u32(bytes + 4 * i, bits);
    }
}
