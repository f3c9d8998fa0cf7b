/* F16: IEEE half precision. */
#include "base/platform.h"
#include "quant/formats.h"
#include "quant/lanes.h"

void rad_decode_f16(const void *blocks, float *values, size_t n)
{
    rad_lanes_find(rad_vector_level())->from_f16(blocks, values, n);
}

void rad_encode_f16(const float *values, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    rad_lanes_find(rad_vector_level())->to_f16(values, blocks, n);
}
