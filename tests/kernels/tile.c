#include "tests/kernels/tile.h"

#include <stdlib.h>
#include <string.h>

#include "base/numeric_f32.h"

const char *const cache_names[RAD_CACHE_TYPES] = {"f32", "f16", "bf16", "fp8", "q8_0", "q4_0"};

const uint32_t head_dims[N_HEAD_DIMS] = {1, 3, 4, 8, 15, 31, 33, 40, 64, 80, 96, 112, 128, 256};

size_t tile_bytes(bool of_keys, rad_cache_type type, uint32_t dim)
{
    return of_keys ? rad_key_tile_bytes(type, dim) : rad_value_tile_bytes(type, dim);
}

void tile_store(const table *of, bool of_keys, rad_cache_type type, uint32_t dim, const float *head,
                uint8_t *memory, uint32_t slot)
{
    if (of_keys)
        LAYER_KERNEL(of, store_key)(head, dim, type, memory, slot);
    else
        LAYER_KERNEL(of, store_value)(head, dim, type, memory, slot);
}

void tile_make_of(tile *out, bool of_keys, rad_cache_type type, uint32_t dim, const float *heads,
                  uint32_t first, uint32_t last, int background)
{
    out->of_keys = of_keys;
    out->type = type;
    out->dim = dim;
    out->memory = input_new(tile_bytes(of_keys, type, dim), sizeof(float));
    memset(out->memory.data, background, out->memory.size);
    for (uint32_t slot = first; slot < last; slot++) {
        const float *head = heads + (size_t)slot * dim;
        plain_store(head, dim, type, &out->rows[slot]);
        if (of_keys)
            rad_layer_kernels_scalar.store_key(head, dim, type, out->memory.data, slot);
        else
            rad_layer_kernels_scalar.store_value(head, dim, type, out->memory.data, slot);
    }
    input_seal(&out->memory);
}

void tile_make(tile *out, bool of_keys, rad_cache_type type, uint32_t dim, flavour kind)
{
    static float heads[RAD_TILE_KEYS * MAX_DIM];
    fill(heads, (size_t)RAD_TILE_KEYS * dim, kind);
    tile_make_of(out, of_keys, type, dim, heads, 0, RAD_TILE_KEYS, 0);
}

void tile_free(tile *t)
{
    input_free(&t->memory);
}

static bool float_is(const uint8_t *memory, rad_cache_type type, size_t at, float value)
{
    uint32_t bits;
    uint16_t half;
    switch (type) {
    case RAD_CACHE_F32:
        memcpy(&bits, memory + 4 * at, sizeof bits);
        return same_float(rad_float_of_bits(bits), value);
    case RAD_CACHE_FP8:
        return same_float(rad_float_of_fp8(memory[at]), value);
    default:
        memcpy(&half, memory + 2 * at, sizeof half);
        return same_float(type == RAD_CACHE_F16 ? rad_float_of_half(half) : rad_float_of_bf16(half),
                          value);
    }
}

static bool integer_is(const uint8_t *memory, bool of_keys, rad_cache_type type, uint32_t dim,
                       uint32_t slot, uint32_t d, const plain_row *row)
{
    bool four = type == RAD_CACHE_Q4_0, high = of_keys ? d % 8 >= 4 : d % 32 >= 16;
    size_t blocks = (dim + 31) / 32, pair_bytes = 2 * rad_value_row_bytes(type, dim);
    uint16_t scale;
    memcpy(&scale, memory + tile_bytes(of_keys, type, dim) - (blocks - d / 32) * 64 + slot * 2,
           sizeof scale);
    size_t at = slot / 2 * pair_bytes + slot % 2;
    if (of_keys)
        at = four ? ((size_t)d / 8 * 32 + slot) * 4 + d % 4
                  : ((size_t)d / 4 * 32 + slot) * 4 + d % 4;
    else
        at += four ? (size_t)d / 32 * 32 + d % 16 * 2 : (size_t)d * 2;
    int32_t stored = four      ? (high ? memory[at] >> 4 : memory[at] & 15) - 8
                     : of_keys ? memory[at] - 128
                               : (int8_t)memory[at];
    return scale == row->scales[d / 32] && stored == row->quants[d];
}

bool tile_slot_is(const uint8_t *memory, bool of_keys, rad_cache_type type, uint32_t dim,
                  uint32_t slot, const plain_row *row)
{
    bool same = true;
    for (uint32_t d = 0; d < dim; d++) {
        size_t at = of_keys ? (size_t)d * 32 + slot : (size_t)slot * dim + d;
        same = same && (rad_cache_type_is_integer(type)
                            ? integer_is(memory, of_keys, type, dim, slot, d, row)
                            : float_is(memory, type, at, row->values[d]));
    }
    return same;
}
