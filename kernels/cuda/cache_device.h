/* Where things stand in the cache, for kernels: kernels/cpu/layer.h has the text. */
#ifndef RAD_CUDA_CACHE_DEVICE_H
#define RAD_CUDA_CACHE_DEVICE_H

#include "kernels/cpu/layer.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"

RAD_DEVICE bool rad_is_integer_cache(uint32_t type)
{
    return type == RAD_CACHE_Q8_0 || type == RAD_CACHE_Q4_0;
}

RAD_DEVICE uint32_t rad_integer_blocks(uint32_t dim)
{
    return (dim + 31) / 32;
}

/* The scales of a tile of integers, [block][RAD_TILE_KEYS], are its end. */
RAD_DEVICE uint16_t *rad_tile_scales(uint8_t *tile, uint32_t tile_bytes, uint32_t dim)
{
    return (uint16_t *)(tile + tile_bytes) - rad_integer_blocks(dim) * RAD_TILE_KEYS;
}

RAD_DEVICE const uint16_t *rad_tile_scales(const uint8_t *tile, uint32_t tile_bytes, uint32_t dim)
{
    return (const uint16_t *)(tile + tile_bytes) - rad_integer_blocks(dim) * RAD_TILE_KEYS;
}

/* Bytes of one key's values in integers, without scales. */
RAD_DEVICE uint32_t rad_integer_value_row(uint32_t type, uint32_t value_dim)
{
    return type == RAD_CACHE_Q8_0 ? (value_dim + 15) / 16 * 16 : rad_integer_blocks(value_dim) * 16;
}

RAD_DEVICE uint32_t rad_cache_page_number(const rad_cuda_pages &pages, uint32_t sequence,
                                          uint32_t tile)
{
    uint32_t slot = tile < pages.n_slots ? tile : tile % pages.n_slots;
    slot = tile < pages.n_sinks ? tile : pages.n_sinks + slot;
    return pages.tables[(uint64_t)sequence * pages.table_stride + slot];
}

RAD_DEVICE uint8_t *rad_cache_page(const rad_cuda_pages &pages, uint32_t sequence, uint32_t tile)
{
    return pages.pool + rad_cache_page_number(pages, sequence, tile) * pages.page_bytes;
}

/* One of the formats without blocks, element `index` of a tile. */
RAD_DEVICE void store_number(uint8_t *tile, uint32_t index, uint32_t type, float x)
{
    switch (type) {
    case RAD_CACHE_F32:
        ((float *)tile)[index] = x;
        break;
    case RAD_CACHE_F16:
        ((uint16_t *)tile)[index] = rad_half_saturated(x);
        break;
    case RAD_CACHE_BF16:
        ((uint16_t *)tile)[index] = rad_bf16_saturated(x);
        break;
    default:
        tile[index] = rad_fp8_saturated(x);
        break;
    }
}

#endif
