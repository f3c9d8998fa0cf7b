/* Decoding by way of the integers: for formats where scale * sub_scale * quant is exact in F32, so
 * that the order of the two multiplications is all there is to agree on. */
#include "quant/formats.h"

static void decode_block(const rad_block *block, uint32_t n, float *values)
{
    for (uint32_t j = 0; j < n; j++)
        values[j] = (float)block->quants[j] * block->scale;
}

static void decode_super(const rad_block *block, uint32_t sub_block, float *values)
{
    for (uint32_t j = 0; j < RAD_SUPER_BLOCK; j++) {
        float scale = block->scale * (float)block->sub_scales[j / sub_block];
        values[j] = scale * (float)block->quants[j];
    }
}

void rad_decode_blocks(const void *blocks, float *values, size_t n, rad_block_shape shape,
                       rad_unpack_fn unpack)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += shape.elements, bytes += shape.bytes) {
        rad_block block;
        unpack(bytes, &block);
        decode_block(&block, shape.elements, values + i);
    }
}

void rad_decode_super(const void *blocks, float *values, size_t n, size_t block_bytes,
                      uint32_t sub_block, rad_unpack_fn unpack)
{
    const uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += RAD_SUPER_BLOCK, bytes += block_bytes) {
        rad_block block;
        unpack(bytes, &block);
        decode_super(&block, sub_block, values + i);
    }
}

void rad_decode_unpacked(const rad_block *block, rad_family family, float values[RAD_SUPER_BLOCK])
{
    if (family == RAD_FAMILY_TERNARY)
        decode_block(block, RAD_SUPER_BLOCK, values);
    else
        decode_super(block, family == RAD_FAMILY_SUPER_16 ? 16 : 32, values);
}
