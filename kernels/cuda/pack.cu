/* Brings rows of blocks into the layout of kernels_products.h: a thread writes sections. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

/* Byte `at` of a field of a row's chunk. */
RAD_DEVICE uint32_t field_byte(const rad_cuda_field &field, uint32_t block_bytes,
                               const uint8_t *blocks, uint32_t n_blocks, uint32_t at)
{
    const uint32_t per_block = (uint32_t)field.part * field.parts, block = at / per_block;
    const uint32_t rest = at % per_block;
    if (block >= n_blocks)
        return 0;
    return blocks[(uint64_t)block * block_bytes + field.offset + rest / field.part * field.stride +
                  rest % field.part];
}

RAD_DEVICE void put_section(uint8_t *out, uint32_t bytes, const uint32_t words[4])
{
    if (bytes == 16)
        rad_store16(out, {words[0], words[1], words[2], words[3]});
    else if (bytes == 8)
        rad_store8(out, {words[0], words[1]});
    else if (bytes == 4)
        *(uint32_t *)out = words[0];
    else
        *(uint16_t *)out = (uint16_t)words[0];
}

RAD_CUDA_KERNEL(pack, 256, rad_cuda_pack_arguments, a)
{
    const uint32_t per_chunk = RAD_CUDA_CHUNK / a.form.block_elements;
    const uint32_t n_blocks = a.n_columns / a.form.block_elements;
    const uint32_t first = rad_block_y() * per_chunk;
    const uint32_t n = n_blocks - first < per_chunk ? n_blocks - first : per_chunk;
    const uint32_t lane = rad_lane(), row = rad_block_x() * RAD_CUDA_GROUP_ROWS + lane;
    const uint32_t n_chunks = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    const uint8_t *blocks = a.blocks + ((uint64_t)row * n_blocks + first) * a.form.block_bytes;
    uint8_t *out = a.groups + ((uint64_t)rad_block_x() * n_chunks + rad_block_y()) *
                                  a.form.chunk_bytes * RAD_CUDA_GROUP_ROWS;
    for (uint32_t f = 0; f < a.form.n_fields; f++) {
        const rad_cuda_field field = a.form.fields[f];
        const uint32_t bytes = per_chunk * field.part * field.parts;
        for (uint32_t s = rad_warp(); s * field.section < bytes; s += 8) {
            uint32_t words[4] = {0, 0, 0, 0};
            if (row < a.n_rows) {
#pragma unroll
                for (uint32_t i = 0; i < 16; i++)
                    if (i < field.section)
                        words[i / 4] |=
                            field_byte(field, a.form.block_bytes, blocks, n, s * field.section + i)
                            << (i % 4 * 8);
            }
            put_section(out + (s * RAD_CUDA_GROUP_ROWS + lane) * field.section, field.section,
                        words);
        }
        out += bytes * RAD_CUDA_GROUP_ROWS;
    }
}
