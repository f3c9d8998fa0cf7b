#include "kernels/cpu/cached.h"

#include <string.h>

#include "base/numeric_f32.h"

/* Dimension d of a slot in the integers of a tile of keys, without its scale. */
static int32_t integer_of_key(const uint8_t *tile, rad_cache_type type, uint32_t d, uint32_t slot)
{
    if (type == RAD_CACHE_Q8_0)
        return tile[((size_t)d / 4 * RAD_TILE_KEYS + slot) * 4 + d % 4] - 128;
    uint8_t pair = tile[((size_t)d / 8 * RAD_TILE_KEYS + slot) * 4 + d % 4];
    return (d % 8 < 4 ? pair & 15 : pair >> 4) - 8;
}

static const uint16_t *scales_of(const void *tile, size_t tile_bytes, uint32_t dim)
{
    return (const uint16_t *)(const void *)((const uint8_t *)tile + tile_bytes) -
           (size_t)rad_cache_blocks(dim) * RAD_TILE_KEYS;
}

void rad_cached_key(const void *tile_keys, uint32_t key_dim, rad_cache_type type, uint32_t slot,
                    float *key)
{
    const uint16_t *scales = NULL;
    if (rad_cache_type_is_integer(type))
        scales = scales_of(tile_keys, rad_key_tile_bytes(type, key_dim), key_dim);
    for (uint32_t d = 0; d < key_dim; d++) {
        size_t at = (size_t)d * RAD_TILE_KEYS + slot;
        switch (type) {
        case RAD_CACHE_F32:
            key[d] = ((const float *)tile_keys)[at];
            break;
        case RAD_CACHE_F16:
            key[d] = rad_float_of_half(((const uint16_t *)tile_keys)[at]);
            break;
        case RAD_CACHE_BF16:
            key[d] = rad_float_of_bf16(((const uint16_t *)tile_keys)[at]);
            break;
        case RAD_CACHE_FP8:
            key[d] = rad_float_of_fp8(((const uint8_t *)tile_keys)[at]);
            break;
        default:
            key[d] = rad_float_of_half(scales[d / RAD_CACHE_BLOCK * RAD_TILE_KEYS + slot]) *
                     (float)integer_of_key(tile_keys, type, d, slot);
        }
    }
}

static void move_integers(const uint8_t *from, uint32_t from_slot, uint8_t *to, uint32_t to_slot,
                          uint32_t value_dim, rad_cache_type type)
{
    size_t row = rad_value_row_bytes(type, value_dim),
           bytes = rad_value_tile_bytes(type, value_dim);
    const uint8_t *source = from + from_slot / 2 * 2 * row + from_slot % 2;
    uint8_t *target = to + to_slot / 2 * 2 * row + to_slot % 2;
    for (size_t i = 0; i < row; i++)
        target[2 * i] = source[2 * i];
    const uint16_t *scales = scales_of(from, bytes, value_dim);
    uint16_t *moved =
        (uint16_t *)(void *)(to + bytes) - (size_t)rad_cache_blocks(value_dim) * RAD_TILE_KEYS;
    for (uint32_t block = 0; block < rad_cache_blocks(value_dim); block++)
        moved[block * RAD_TILE_KEYS + to_slot] = scales[block * RAD_TILE_KEYS + from_slot];
}

void rad_cached_move_value(const void *from, uint32_t from_slot, void *to, uint32_t to_slot,
                           uint32_t value_dim, rad_cache_type type)
{
    if (rad_cache_type_is_integer(type)) {
        move_integers(from, from_slot, to, to_slot, value_dim, type);
        return;
    }
    size_t row = value_dim * rad_cache_element_bytes(type);
    memmove((uint8_t *)to + to_slot * row, (const uint8_t *)from + from_slot * row, row);
}
