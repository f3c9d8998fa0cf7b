/* The two products of attend_tile() with keys and values in Q8_0 and Q4_0, in integers. Included by
 * layer_template.c alone, in the middle of its part on attention. */
#ifndef RAD_ATTEND_INTEGERS_H
#define RAD_ATTEND_INTEGERS_H

#include "kernels/cpu/layer_integers.h"

#define GREATEST_WEIGHT 32767.0f /* of a value, as an integer of 16 bits */
#define SCORED          4        /* queries whose scores, and their sums, stay in registers */

/* ---- scores ---------------------------------------------------------------------------------- */

static const uint16_t *scales_of_keys(const rad_attention_shape *shape, const uint8_t *tile)
{
    return (const uint16_t *)(const void *)(tile +
                                            rad_key_tile_bytes(shape->key_type, shape->key_dim)) -
           (size_t)rad_cache_blocks(shape->key_dim) * RAD_TILE_KEYS;
}

/* Scores of n_vectors of slots from `slot` on, of n_queries from `queries` on: over the blocks, the
 * exact sums times both scales. */
ALWAYS_INLINE void score_integer_slots(const uint8_t *queries, size_t stride, uint32_t key_dim,
                                       const uint8_t *keys, const uint16_t *scales, bool nibbles,
                                       float (*scores)[RAD_TILE_KEYS], int slot, int n_queries,
                                       int n_vectors)
{
    vector found[SCORED][MAX_VECTORS];
    uint32_t n_blocks = rad_cache_blocks(key_dim);
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            found[q][v] = vector_set(0.0f);
    }
    for (uint32_t block = 0; block < n_blocks; block++) {
        integers sums[SCORED][MAX_VECTORS];
        uint32_t first = block * RAD_CACHE_BLOCK;
        uint32_t n_words = (dims_of_block(key_dim, first) + 3) / 4;
        const uint8_t *block_keys = keys + (size_t)first * RAD_TILE_KEYS / (nibbles ? 2 : 1);
        size_t scale_at = (size_t)n_blocks * RAD_CACHE_BLOCK + block * sizeof(float);
        UNROLL
        for (int q = 0; q < n_queries; q++) {
            int32_t sum;
            memcpy(&sum, queries + q * stride + scale_at + n_blocks * sizeof(float), sizeof sum);
            UNROLL
            for (int v = 0; v < n_vectors; v++)
                sums[q][v] = integers_set(-(nibbles ? 8 : KEY_OFFSET) * sum);
        }
        for (uint32_t word = 0; word < n_words; word++) {
            key_bytes four[MAX_VECTORS];
            const uint8_t *at =
                block_keys + ((nibbles ? word / 2 : word) * RAD_TILE_KEYS + slot) * 4;
            UNROLL
            for (int v = 0; v < n_vectors; v++) {
                const uint8_t *p = at + (size_t)v * INTEGER_WIDTH * 4;
                four[v] = nibbles ? load_nibble_keys(p, word % 2 != 0) : load_keys(p);
            }
            UNROLL
            for (int q = 0; q < n_queries; q++) {
                query_bytes query =
                    load_query((const int8_t *)queries + q * stride + first + word * 4);
                UNROLL
                for (int v = 0; v < n_vectors; v++)
                    sums[q][v] = integer_dot(sums[q][v], four[v], query);
            }
        }
        UNROLL
        for (int v = 0; v < n_vectors; v++) {
            vector key_scale =
                vector_load_half(scales + (size_t)block * RAD_TILE_KEYS + slot + v * INTEGER_WIDTH);
            UNROLL
            for (int q = 0; q < n_queries; q++) {
                float query_scale;
                memcpy(&query_scale, queries + q * stride + scale_at, sizeof query_scale);
                vector scale = vector_multiply(vector_set(query_scale), key_scale);
                found[q][v] = vector_fma(scale, integers_to_floats(sums[q][v]), found[q][v]);
            }
        }
    }
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            vector_store(&scores[q][slot + v * INTEGER_WIDTH], found[q][v]);
    }
}

ALWAYS_INLINE void score_integer_queries(tile_group *group, uint32_t i, uint32_t key_dim,
                                         const uint8_t *keys, const uint16_t *scales, bool nibbles,
                                         int n_queries)
{
    const int n_vectors = n_queries <= MANY_VECTORS_QUERIES ? MAX_VECTORS : 2;
    const uint8_t *queries = group->integers + i * group->integers_stride;
    for (int slot = 0; slot < RAD_TILE_KEYS; slot += n_vectors * INTEGER_WIDTH)
        score_integer_slots(queries, group->integers_stride, key_dim, keys, scales, nibbles,
                            group->scores + i, slot, n_queries, n_vectors);
}

ALWAYS_INLINE void score_integer_group(tile_group *group, uint32_t key_dim, const uint8_t *keys,
                                       const uint16_t *scales, bool nibbles)
{
    for (uint32_t i = 0, size; i < group->n; i += size) {
        size = block_size(group, i) < SCORED ? block_size(group, i) : SCORED;
        if (size == SCORED)
            score_integer_queries(group, i, key_dim, keys, scales, nibbles, SCORED);
        else if (size == 2)
            score_integer_queries(group, i, key_dim, keys, scales, nibbles, 2);
        else
            score_integer_queries(group, i, key_dim, keys, scales, nibbles, 1);
    }
}

static void score_integers(tile_group *group, const rad_attention_shape *shape, const void *keys)
{
    const uint16_t *scales = scales_of_keys(shape, keys);
    if (shape->key_type == RAD_CACHE_Q8_0)
        score_integer_group(group, shape->key_dim, keys, scales, false);
    else
        score_integer_group(group, shape->key_dim, keys, scales, true);
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* What the probabilities of a block of 32 dimensions are multiplied with to become integers, and
 * what the sums are then multiplied with. */
typedef struct value_scales {
    _Alignas(64) float weights[RAD_TILE_KEYS]; /* 0 where hidden */
    float step;
} value_scales;

/* Those of the first blocks of a tile. */
#define KEPT_BLOCKS 8
typedef struct tile_scales {
    value_scales blocks[KEPT_BLOCKS];
    uint32_t n;
} tile_scales;

static void weigh_values(const uint16_t *scales, int32_t first, int32_t last, value_scales *out)
{
    uint16_t greatest = 0;
    for (int slot = 0; slot < RAD_TILE_KEYS; slot++) {
        uint16_t magnitude = slot >= first && slot < last ? scales[slot] & 0x7fffu : 0u;
        greatest = magnitude > greatest ? magnitude : greatest;
    }
    float largest = rad_float_of_half(greatest);
    float factor = largest > 0.0f ? GREATEST_WEIGHT / largest : 0.0f;
    for (int slot = 0; slot < RAD_TILE_KEYS; slot += VECTOR_WIDTH)
        vector_store(out->weights + slot,
                     vector_multiply(vector_load_half(scales + slot), vector_set(factor)));
    if (first > 0 || last < RAD_TILE_KEYS)
        for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
            out->weights[slot] = slot >= first && slot < last ? out->weights[slot] : 0.0f;
    out->step = largest / GREATEST_WEIGHT;
}

/* The probabilities of the group as integers, for one block of dimensions. */
typedef struct integer_weights {
    _Alignas(64) int16_t weights[GROUP][RAD_TILE_KEYS];
    float factors[GROUP]; /* of a query's sums */
} integer_weights;

/* The integer stands in the low bits of the sum; where it is none, the factor is NaN. */
static void round_weights(const float *probabilities, const float *weights, int16_t *out)
{
    for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
        out[slot] =
            (int16_t)rad_float_bits(fmaf(probabilities[slot], weights[slot], RAD_F32_ROUND));
}

static void weigh_queries(const tile_group *group, const uint16_t *scales,
                          const value_scales *whole, integer_weights *out)
{
    value_scales part;
    for (uint32_t i = 0; i < group->n; i++) {
        const value_scales *used = whole;
        if (sees_nothing(group, i)) { /* -0 is what added changes no bit */
            memset(out->weights[i], 0, sizeof out->weights[i]);
            out->factors[i] = -0.0f;
            continue;
        }
        if (is_masked(group, i)) {
            weigh_values(scales, group->first[i], group->last[i], &part);
            used = &part;
        }
        round_weights(group->scores[i], used->weights, out->weights[i]);
        float sum = state_of(group, i)[group->value_dim + 1];
        out->factors[i] = sum == sum ? used->step * group->weight[i] : sum;
    }
}

/* n_dims outputs from `dim` on, at most n_vectors * INTEGER_WIDTH, of n_queries from i on; `values`
 * points at the first of them in pair 0. */
ALWAYS_INLINE void output_pairs(const tile_group *group, uint32_t i, const integer_weights *weights,
                                const uint8_t *values, size_t stride, bool nibbles, bool high,
                                uint32_t dim, uint32_t n_dims, int n_queries, int n_vectors)
{
    integers sums[BLOCK][2];
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            sums[q][v] = integers_zero();
    }
    for (size_t pair = 0; pair < RAD_TILE_KEYS / 2; pair++) {
        value_pairs two[2];
        UNROLL
        for (int v = 0; v < n_vectors; v++) {
            const uint8_t *p = values + pair * stride + (size_t)v * INTEGER_WIDTH * 2;
            two[v] = nibbles ? load_nibble_pairs(p, high) : load_pairs(p);
        }
        UNROLL
        for (int q = 0; q < n_queries; q++) {
            pair_weights p = load_weights(&weights->weights[i + q][2 * pair]);
            UNROLL
            for (int v = 0; v < n_vectors; v++)
                sums[q][v] = pair_dot(sums[q][v], p, two[v]);
        }
    }
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        float *out = state_of(group, i + q) + dim;
        vector rescale = vector_set(group->rescale[i + q]);
        vector factor = vector_set(weights->factors[i + q]);
        UNROLL
        for (int v = 0; v < n_vectors; v++) {
            uint32_t at = (uint32_t)v * INTEGER_WIDTH;
            vector sum = vector_multiply(integers_to_floats(sums[q][v]), factor);
            if (at + INTEGER_WIDTH <= n_dims) {
                vector_store(out + at, vector_fma(vector_load(out + at), rescale, sum));
                continue;
            }
            float rest[INTEGER_WIDTH] = {0};
            for (uint32_t d = at; d < n_dims; d++)
                rest[d - at] = out[d];
            vector_store(rest, vector_fma(vector_load(rest), rescale, sum));
            for (uint32_t d = at; d < n_dims; d++)
                out[d] = rest[d - at];
        }
    }
}

/* A block of at most 32 dimensions from `first` on. */
ALWAYS_INLINE void output_integer_queries(const tile_group *group, uint32_t i,
                                          const integer_weights *weights, const uint8_t *values,
                                          size_t stride, bool nibbles, uint32_t first,
                                          uint32_t n_dims, int n_queries)
{
    for (uint32_t d = 0, n; d < n_dims; d += n) {
        /* The halves of a byte are 16 dimensions apart: no vectors across. */
        n = nibbles && INTEGER_WIDTH == 16 ? 16 : 2 * INTEGER_WIDTH;
        const uint8_t *p = values + (nibbles ? first + d % 16 * 2 : (first + d) * 2);
        if (n == INTEGER_WIDTH || n_dims - d <= INTEGER_WIDTH)
            output_pairs(group, i, weights, p, stride, nibbles, d >= 16, first + d, n_dims - d,
                         n_queries, 1);
        else
            output_pairs(group, i, weights, p, stride, nibbles, d >= 16, first + d, n_dims - d,
                         n_queries, 2);
    }
}

ALWAYS_INLINE void output_integer_block(const tile_group *group, const integer_weights *weights,
                                        const uint8_t *values, size_t stride, bool nibbles,
                                        uint32_t first, uint32_t n_dims)
{
    for (uint32_t i = 0, size; i < group->n; i += size) {
        size = block_size(group, i);
        if (size == BLOCK)
            output_integer_queries(group, i, weights, values, stride, nibbles, first, n_dims,
                                   BLOCK);
        else if (size == 4)
            output_integer_queries(group, i, weights, values, stride, nibbles, first, n_dims, 4);
        else if (size == 2)
            output_integer_queries(group, i, weights, values, stride, nibbles, first, n_dims, 2);
        else
            output_integer_queries(group, i, weights, values, stride, nibbles, first, n_dims, 1);
    }
}

static const uint16_t *scales_of_values(const rad_attention_shape *shape, const void *tile)
{
    return (const uint16_t *)(const void *)((const uint8_t *)tile +
                                            rad_value_tile_bytes(shape->value_type,
                                                                 shape->value_dim)) -
           (size_t)rad_cache_blocks(shape->value_dim) * RAD_TILE_KEYS;
}

/* The same for all groups of queries: what a query that sees the whole tile multiplies with. */
static void weigh_tile(const rad_attention_shape *shape, const void *values, tile_scales *out)
{
    uint32_t n = rad_cache_blocks(shape->value_dim);
    out->n = n < KEPT_BLOCKS ? n : KEPT_BLOCKS;
    for (uint32_t block = 0; block < out->n; block++)
        weigh_values(scales_of_values(shape, values) + (size_t)block * RAD_TILE_KEYS, 0,
                     RAD_TILE_KEYS, &out->blocks[block]);
}

static void output_integers(const tile_group *group, const rad_attention_shape *shape,
                            const uint8_t *values, const tile_scales *kept)
{
    size_t stride = 2 * rad_value_row_bytes(shape->value_type, shape->value_dim);
    for (uint32_t block = 0; block < rad_cache_blocks(shape->value_dim); block++) {
        const uint16_t *scales = scales_of_values(shape, values) + (size_t)block * RAD_TILE_KEYS;
        uint32_t first = block * RAD_CACHE_BLOCK, n_dims = dims_of_block(shape->value_dim, first);
        integer_weights weights;
        value_scales made;
        if (block >= kept->n)
            weigh_values(scales, 0, RAD_TILE_KEYS, &made);
        weigh_queries(group, scales, block < kept->n ? &kept->blocks[block] : &made, &weights);
        if (shape->value_type == RAD_CACHE_Q8_0)
            output_integer_block(group, &weights, values, stride, false, first, n_dims);
        else
            output_integer_block(group, &weights, values, stride, true, first, n_dims);
    }
}

#endif
