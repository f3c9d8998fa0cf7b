/* Keys and values to the cache's number formats and back, and queries to integers: plain loops,
 * included by layer_template.c alone. layer.h says what is stored where. */
#ifndef RAD_CACHE_NUMBERS_H
#define RAD_CACHE_NUMBERS_H

#include <string.h>

#include "kernels/cpu/layer_vector.h"

#define GREATEST_HALF 65504.0f

/* Rounds half to even without a conversion that NaN could break; |x| < 2^22. */
ALWAYS_INLINE int32_t nearest_integer(float x)
{
    return (int32_t)(rad_float_bits(x + RAD_F32_ROUND) - RAD_F32_ROUND_BITS);
}

/* The greatest magnitude of n numbers; NaN or infinity where one is not finite. */
ALWAYS_INLINE float greatest_magnitude(const float *x, uint32_t n)
{
    uint32_t greatest = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = rad_float_bits(x[i]) & 0x7fffffffu;
        greatest = bits > greatest ? bits : greatest;
    }
    return rad_float_of_bits(greatest);
}

/* One block to integers low..high and the half d that belongs to them. */
ALWAYS_INLINE uint16_t quantize_block(const float *x, uint32_t n, float d, float low, float high,
                                      int32_t *quants)
{
    uint16_t half = d - d == 0.0f ? rad_half_saturated(d) : 0x7e00u;
    float scale = rad_float_of_half(half);
    float factor = scale != 0.0f && scale == scale ? 1.0f / scale : 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float scaled = x[i] * factor;
        scaled = scaled > high ? high : scaled;
        scaled = scaled < low ? low : scaled;
        quants[i] = scale == scale ? nearest_integer(scaled) : 0;
    }
    return half;
}

static uint16_t quantize_block_8(const float *x, uint32_t n, int32_t *quants)
{
    return quantize_block(x, n, greatest_magnitude(x, n) / 127.0f, -127.0f, 127.0f, quants);
}

static uint16_t quantize_block_4(const float *x, uint32_t n, int32_t *quants)
{
    float greatest = greatest_magnitude(x, n), d = greatest / 8.0f;
    float sign = 1.0f; /* the greatest becomes -8, which has no counterpart */
    for (uint32_t i = 0; i < n; i++)
        sign = x[i] == greatest ? -1.0f : sign;
    return quantize_block(x, n, d * sign, -8.0f, 7.0f, quants);
}

ALWAYS_INLINE uint16_t quantize_cached(const float *x, uint32_t n, rad_cache_type type,
                                       int32_t *quants)
{
    return type == RAD_CACHE_Q8_0 ? quantize_block_8(x, n, quants) : quantize_block_4(x, n, quants);
}

ALWAYS_INLINE uint32_t dims_of_block(uint32_t dim, uint32_t first)
{
    return dim - first < RAD_CACHE_BLOCK ? dim - first : RAD_CACHE_BLOCK;
}

static void store_integer_key(const float *key, uint32_t key_dim, rad_cache_type type,
                              uint8_t *tile, uint32_t slot)
{
    uint16_t *scales = (uint16_t *)(void *)(tile + rad_key_tile_bytes(type, key_dim)) -
                       (size_t)rad_cache_blocks(key_dim) * RAD_TILE_KEYS;
    for (uint32_t first = 0; first < key_dim; first += RAD_CACHE_BLOCK) {
        int32_t quants[RAD_CACHE_BLOCK] = {0};
        uint32_t n = dims_of_block(key_dim, first);
        scales[(size_t)first / RAD_CACHE_BLOCK * RAD_TILE_KEYS + slot] =
            quantize_cached(key + first, n, type, quants);
        if (type == RAD_CACHE_Q8_0) {
            for (uint32_t i = 0; i < (n + 3) / 4 * 4; i++)
                tile[((first + i) / 4 * RAD_TILE_KEYS + slot) * 4 + i % 4] =
                    (uint8_t)(quants[i] + 128);
            continue;
        }
        for (uint32_t i = 0; i < (n + 7) / 8 * 4; i++) {
            const int32_t *eight = quants + i / 4 * 8;
            tile[((first / 8 + i / 4) * RAD_TILE_KEYS + slot) * 4 + i % 4] =
                (uint8_t)((eight[i % 4] + 8) | (eight[4 + i % 4] + 8) << 4);
        }
    }
}

static void store_integer_value(const float *value, uint32_t value_dim, rad_cache_type type,
                                uint8_t *tile, uint32_t slot)
{
    uint16_t *scales = (uint16_t *)(void *)(tile + rad_value_tile_bytes(type, value_dim)) -
                       (size_t)rad_cache_blocks(value_dim) * RAD_TILE_KEYS;
    uint8_t *row = tile + slot / 2 * 2 * rad_value_row_bytes(type, value_dim) + slot % 2;
    for (uint32_t first = 0; first < value_dim; first += RAD_CACHE_BLOCK) {
        int32_t quants[RAD_CACHE_BLOCK] = {0};
        uint32_t n = dims_of_block(value_dim, first);
        scales[(size_t)first / RAD_CACHE_BLOCK * RAD_TILE_KEYS + slot] =
            quantize_cached(value + first, n, type, quants);
        if (type == RAD_CACHE_Q8_0) {
            for (uint32_t i = 0; i < n; i++)
                row[2 * ((size_t)first + i)] = (uint8_t)quants[i];
            continue;
        }
        for (uint32_t i = 0; i < 16; i++)
            row[first + 2 * i] = (uint8_t)((quants[i] + 8) | (quants[16 + i] + 8) << 4);
    }
}

/* Up to NARROWED halves that stand `step` apart. */
ALWAYS_INLINE void store_few_halves(const float *x, size_t n, size_t step, uint16_t *out)
{
    uint16_t halves[NARROWED];
    store_halves(x, halves);
    UNROLL
    for (size_t i = 0; i < NARROWED; i++)
        if (i < n)
            out[i * step] = halves[i];
}

static void store_all_halves(const float *x, size_t n, size_t step, uint16_t *out)
{
    float rest[NARROWED] = {0};
    size_t i = 0;
    for (; i + NARROWED <= n; i += NARROWED)
        if (step == 1)
            store_halves(x + i, out + i);
        else
            store_few_halves(x + i, NARROWED, step, out + i * step);
    if (i == n)
        return;
    memcpy(rest, x + i, (n - i) * sizeof *x);
    store_few_halves(rest, n - i, step, out + i * step);
}

static void store_key(const float *key, uint32_t key_dim, rad_cache_type type, void *tile_keys,
                      uint32_t slot)
{
    switch (type) {
    case RAD_CACHE_F32:
        for (size_t d = 0; d < key_dim; d++)
            ((float *)tile_keys)[d * RAD_TILE_KEYS + slot] = key[d];
        break;
    case RAD_CACHE_F16:
        store_all_halves(key, key_dim, RAD_TILE_KEYS, (uint16_t *)tile_keys + slot);
        break;
    case RAD_CACHE_BF16:
        for (size_t d = 0; d < key_dim; d++)
            ((uint16_t *)tile_keys)[d * RAD_TILE_KEYS + slot] = rad_bf16_saturated(key[d]);
        break;
    case RAD_CACHE_FP8:
        for (size_t d = 0; d < key_dim; d++)
            ((uint8_t *)tile_keys)[d * RAD_TILE_KEYS + slot] = rad_fp8_saturated(key[d]);
        break;
    default:
        store_integer_key(key, key_dim, type, tile_keys, slot);
    }
}

static void store_value(const float *value, uint32_t value_dim, rad_cache_type type,
                        void *tile_values, uint32_t slot)
{
    size_t row = (size_t)slot * value_dim;
    switch (type) {
    case RAD_CACHE_F32:
        memcpy((float *)tile_values + row, value, value_dim * sizeof *value);
        break;
    case RAD_CACHE_F16:
        store_all_halves(value, value_dim, 1, (uint16_t *)tile_values + row);
        break;
    case RAD_CACHE_BF16:
        for (size_t d = 0; d < value_dim; d++)
            ((uint16_t *)tile_values)[row + d] = rad_bf16_saturated(value[d]);
        break;
    case RAD_CACHE_FP8:
        for (size_t d = 0; d < value_dim; d++)
            ((uint8_t *)tile_values)[row + d] = rad_fp8_saturated(value[d]);
        break;
    default:
        store_integer_value(value, value_dim, type, tile_values, slot);
    }
}

/* n floats of a tile that has no blocks, from element `first` on. */
static void widen(const void *tile, size_t first, size_t n, rad_cache_type type, float *values)
{
    if (type == RAD_CACHE_F16) {
        const uint16_t *halves = (const uint16_t *)tile + first;
        size_t i = 0;
        for (; i + VECTOR_WIDTH <= n; i += VECTOR_WIDTH)
            vector_store(values + i, vector_load_half(halves + i));
        for (; i < n; i++)
            values[i] = rad_float_of_half(halves[i]);
    } else if (type == RAD_CACHE_BF16) {
        const uint16_t *codes = (const uint16_t *)tile + first;
        for (size_t i = 0; i < n; i++)
            values[i] = rad_float_of_bf16(codes[i]);
    } else {
        const uint8_t *codes = (const uint8_t *)tile + first;
        for (size_t i = 0; i < n; i++)
            values[i] = rad_float_of_fp8(codes[i]);
    }
}

static void quantize_query(const float *query, uint32_t key_dim, void *integers)
{
    uint32_t n_blocks = rad_cache_blocks(key_dim);
    int8_t *quants = integers;
    float *scales = (float *)(void *)(quants + (size_t)n_blocks * RAD_CACHE_BLOCK);
    int32_t *sums = (int32_t *)(void *)(scales + n_blocks);
    memset(quants, 0, (size_t)n_blocks * RAD_CACHE_BLOCK);
    for (uint32_t block = 0; block < n_blocks; block++) {
        const float *x = query + (size_t)block * RAD_CACHE_BLOCK;
        uint32_t n = dims_of_block(key_dim, block * RAD_CACHE_BLOCK);
        float greatest = greatest_magnitude(x, n);
        int32_t sum = 0;
        bool finite = greatest - greatest == 0.0f;
        scales[block] = finite ? 0.0f : NAN;
        if (finite && greatest >= 0x1p-100f) {
            float factor = 127.0f / greatest;
            scales[block] = greatest / 127.0f;
            for (uint32_t i = 0; i < n; i++) {
                int32_t q = nearest_integer(x[i] * factor);
                quants[block * RAD_CACHE_BLOCK + i] = (int8_t)q;
                sum += q;
            }
        }
        sums[block] = sum;
    }
}

#endif
