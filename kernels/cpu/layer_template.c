/* The kernels of layer.h, compiled once for each instruction set by the three small files that
 * define RAD_LAYER_TABLE and include this one. */
#include "kernels/cpu/layer.h"

#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/cache_numbers.h"
#include "kernels/cpu/layer_vector.h"

#define LANES 16 /* of the canonical shape of sums */

/* ---- sums ---------------------------------------------------------------------------------- */

static float sum_lanes(float lanes[LANES])
{
    for (int j = 0; j < 8; j++)
        lanes[j] = lanes[j] + lanes[j + 8];
    for (int j = 0; j < 4; j++)
        lanes[j] = lanes[j] + lanes[j + 4];
    float even = lanes[0] + lanes[2];
    float odd = lanes[1] + lanes[3];
    return even + odd;
}

static float sum_of_squares(const float *x, uint32_t n)
{
    enum { VECTORS = LANES / VECTOR_WIDTH };
    vector sums[VECTORS];
    UNROLL
    for (int v = 0; v < VECTORS; v++)
        sums[v] = vector_set(0.0f);
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            vector part = vector_load(x + i + v * VECTOR_WIDTH);
            sums[v] = vector_fma(part, part, sums[v]);
        }
    }
    float lanes[LANES];
    UNROLL
    for (int v = 0; v < VECTORS; v++)
        vector_store(lanes + v * VECTOR_WIDTH, sums[v]);
    for (; i < n; i++)
        lanes[i % LANES] = fmaf(x[i], x[i], lanes[i % LANES]);
    return sum_lanes(lanes);
}

static float sum_of_values(const float *x, uint32_t n)
{
    float lanes[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++)
            lanes[j] = lanes[j] + x[i + j];
    }
    for (; i < n; i++)
        lanes[i % LANES] = lanes[i % LANES] + x[i];
    return sum_lanes(lanes);
}

static float sum_of_squared_differences(const float *x, float mean, uint32_t n)
{
    float lanes[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float difference = x[i + j] - mean;
            lanes[j] = fmaf(difference, difference, lanes[j]);
        }
    }
    for (; i < n; i++) {
        float difference = x[i] - mean;
        lanes[i % LANES] = fmaf(difference, difference, lanes[i % LANES]);
    }
    return sum_lanes(lanes);
}

/* ---- norms ----------------------------------------------------------------------------------- */

static void rms_norm(const float *x, const float *weight, float epsilon, uint32_t n, float *y)
{
    float factor = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + epsilon);
    if (weight == NULL) {
        SAME_INDEX_ONLY
        for (uint32_t i = 0; i < n; i++)
            y[i] = x[i] * factor;
    } else {
        SAME_INDEX_ONLY
        for (uint32_t i = 0; i < n; i++)
            y[i] = (x[i] * factor) * weight[i];
    }
}

static void layer_norm(const float *x, const float *weight, const float *bias, float epsilon,
                       uint32_t n, float *y)
{
    float mean = sum_of_values(x, n) / (float)n;
    float variance = sum_of_squared_differences(x, mean, n) / (float)n;
    float factor = 1.0f / sqrtf(variance + epsilon);
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * factor;
    if (weight != NULL) {
        SAME_INDEX_ONLY
        for (uint32_t i = 0; i < n; i++)
            y[i] = y[i] * weight[i];
    }
    if (bias != NULL) {
        SAME_INDEX_ONLY
        for (uint32_t i = 0; i < n; i++)
            y[i] = y[i] + bias[i];
    }
}

/* ---- one element at a time ------------------------------------------------------------------- */

/* Compilers do not make vectors of such pairs. */
static void rotate_pairs(float *x, const float *cosine, const float *sine, uint32_t n_pairs)
{
    uint32_t i = 0;
    for (; i + VECTOR_WIDTH <= n_pairs; i += VECTOR_WIDTH) {
        vector a, b, c = vector_load(cosine + i), s = vector_load(sine + i);
        vector_load_pairs(x + 2 * i, &a, &b);
        vector_store_pairs(x + 2 * i, vector_fms(a, c, vector_multiply(b, s)),
                           vector_fma(a, s, vector_multiply(b, c)));
    }
    for (; i < n_pairs; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = fmaf(a, cosine[i], -(b * sine[i]));
        x[2 * i + 1] = fmaf(a, sine[i], b * cosine[i]);
    }
}

static void rotate(float *x, const float *cosine, const float *sine, uint32_t n_pairs,
                   int32_t interleaved)
{
    if (interleaved) {
        rotate_pairs(x, cosine, sine, n_pairs);
        return;
    }
    float *second = x + n_pairs;
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n_pairs; i++) {
        float a = x[i], b = second[i];
        x[i] = fmaf(a, cosine[i], -(b * sine[i]));
        second[i] = fmaf(a, sine[i], b * cosine[i]);
    }
}

static void silu_multiply(const float *gate, const float *up, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        y[i] = rad_siluf(gate[i]) * up[i];
}

static void gelu_tanh_multiply(const float *gate, const float *up, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        y[i] = rad_gelu_tanhf(gate[i]) * up[i];
}

static void relu2_multiply(const float *gate, const float *up, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++) {
        float r = gate[i] < 0.0f ? 0.0f : gate[i]; /* NaN stays */
        y[i] = r * r * up[i];
    }
}

static void clamped_multiply(const float *gate, const float *up, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++) {
        float g = gate[i] > 7.0f ? 7.0f : gate[i];
        float u = up[i] > 7.0f ? 7.0f : up[i];
        u = u < -7.0f ? -7.0f : u;
        y[i] = g / (1.0f + rad_expf(-(1.702f * g))) * (u + 1.0f);
    }
}

static void gelu_tanh(const float *x, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        y[i] = rad_gelu_tanhf(x[i]);
}

static void gelu_erf(const float *x, uint32_t n, float *y)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        y[i] = rad_gelu_erff(x[i]);
}

static void clamp(const float *x, float limit, uint32_t n, float *out)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++) {
        float below = x[i] > limit ? limit : x[i];
        out[i] = below < -limit ? -limit : below;
    }
}

static void add(const float *x, const float *y, uint32_t n, float *out)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] + y[i];
}

static void scale(const float *x, float factor, uint32_t n, float *out)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] * factor;
}

static void add_scaled(const float *x, float factor, uint32_t n, float *out)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        out[i] = fmaf(x[i], factor, out[i]);
}

static void soft_cap(const float *x, float cap, uint32_t n, float *out)
{
    SAME_INDEX_ONLY
    for (uint32_t i = 0; i < n; i++)
        out[i] = cap * rad_tanhf(x[i] / cap);
}

/* ---- attention to one tile
 * ------------------------------------------------------------------------ */

/* Queries are taken in groups; inside a group, in blocks that share each load of the tile. Where a
 * group is more than two blocks, a chunk of an F16 tile is converted to floats once for all of
 * them, else as it is loaded; of narrower floats always once. What a group lacks of a block is
 * taken four, two or one at a time: each query's sum is one chain of additions, and only several of
 * them keep the adders busy. None of this changes the order behind any value. */
#define GROUP      32
#define BLOCK      (VECTOR_WIDTH == 16 ? 8 : 4)
#define CHUNK_DIMS 64
/* Vectors of sums of each query: all 32 slots, or four, where there are registers for them. */
#define MAX_VECTORS          (VECTOR_WIDTH == 16 ? 2 : 4)
#define MANY_VECTORS_QUERIES (VECTOR_WIDTH == 16 ? 8 : 2)

typedef struct tile_group {
    const float *queries;
    size_t query_stride;
    const uint8_t *integers; /* the same of keys in Q8_0 and Q4_0 */
    size_t integers_stride;
    uint32_t n;
    const uint8_t *first, *last;
    const float *slopes; /* NULL: none */
    const int32_t *distances;
    float *state;
    size_t state_stride;
    uint32_t value_dim;
    float rescale[GROUP];                            /* of the state so far */
    float weight[GROUP];                             /* of this tile's outputs */
    _Alignas(64) float scores[GROUP][RAD_TILE_KEYS]; /* then probabilities */
} tile_group;

/* Outputs, maximum, sum. */
ALWAYS_INLINE float *state_of(const tile_group *group, uint32_t i)
{
    return group->state + i * group->state_stride;
}

/* Keys and values of a tile are floats, or halves that each load converts. */
ALWAYS_INLINE const void *element(const void *data, size_t index, bool half)
{
    return half ? (const void *)((const uint16_t *)data + index)
                : (const void *)((const float *)data + index);
}

ALWAYS_INLINE vector load_elements(const void *data, size_t index, bool half)
{
    return half ? vector_load_half((const uint16_t *)data + index)
                : vector_load((const float *)data + index);
}

static bool is_masked(const tile_group *group, uint32_t i)
{
    return group->first[i] > 0 || group->last[i] < RAD_TILE_KEYS;
}

static bool sees_nothing(const tile_group *group, uint32_t i)
{
    return group->first[i] >= group->last[i];
}

/* scores[q][slot .. slot + n_vectors * VECTOR_WIDTH) += q . k over n_dims dimensions. */
ALWAYS_INLINE void score_slots(const float *queries, size_t query_stride, uint32_t n_dims,
                               const void *keys, bool half, float (*scores)[RAD_TILE_KEYS],
                               int slot, int n_queries, int n_vectors)
{
    vector sums[BLOCK][MAX_VECTORS];
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            sums[q][v] = vector_load(&scores[q][slot + v * VECTOR_WIDTH]);
    }
    for (uint32_t d = 0; d < n_dims; d++) {
        vector key[4];
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            key[v] = load_elements(keys, (size_t)d * RAD_TILE_KEYS + slot + v * VECTOR_WIDTH, half);
        UNROLL
        for (int q = 0; q < n_queries; q++) {
            vector query = vector_set(queries[q * query_stride + d]);
            UNROLL
            for (int v = 0; v < n_vectors; v++)
                sums[q][v] = vector_fma(query, key[v], sums[q][v]);
        }
    }
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            vector_store(&scores[q][slot + v * VECTOR_WIDTH], sums[q][v]);
    }
}

/* n_queries from i on. */
ALWAYS_INLINE void score_queries(tile_group *group, uint32_t i, uint32_t first_dim, uint32_t n_dims,
                                 const void *keys, bool half, int n_queries)
{
    const int n_vectors = n_queries <= MANY_VECTORS_QUERIES ? MAX_VECTORS : 2;
    const float *queries = group->queries + i * group->query_stride + first_dim;
    for (int slot = 0; slot < RAD_TILE_KEYS; slot += n_vectors * VECTOR_WIDTH)
        score_slots(queries, group->query_stride, n_dims, keys, half, group->scores + i, slot,
                    n_queries, n_vectors);
}

/* Queries that are taken together from i on. */
static uint32_t block_size(const tile_group *group, uint32_t i)
{
    uint32_t left = group->n - i;
    return left >= BLOCK ? BLOCK : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

ALWAYS_INLINE void score_chunk(tile_group *group, uint32_t first_dim, uint32_t n_dims,
                               const void *keys, bool half)
{
    for (uint32_t i = 0, size; i < group->n; i += size) {
        size = block_size(group, i);
        if (size == BLOCK)
            score_queries(group, i, first_dim, n_dims, keys, half, BLOCK);
        else if (size == 4)
            score_queries(group, i, first_dim, n_dims, keys, half, 4);
        else if (size == 2)
            score_queries(group, i, first_dim, n_dims, keys, half, 2);
        else
            score_queries(group, i, first_dim, n_dims, keys, half, 1);
    }
}

static void score_floats(tile_group *group, uint32_t first_dim, uint32_t n_dims, const float *keys)
{
    score_chunk(group, first_dim, n_dims, keys, false);
}

#include "kernels/cpu/attend_integers.h"

static void score_group(tile_group *group, const rad_attention_shape *shape, const void *tile_keys)
{
    uint32_t key_dim = shape->key_dim;
    if (rad_cache_type_is_integer(shape->key_type)) {
        score_integers(group, shape, tile_keys);
        return;
    }
    memset(group->scores, 0, sizeof group->scores[0] * group->n);
    if (shape->key_type == RAD_CACHE_F32) {
        score_floats(group, 0, key_dim, tile_keys);
        return;
    }
    if (shape->key_type == RAD_CACHE_F16 && group->n <= 2 * BLOCK) {
        score_chunk(group, 0, key_dim, tile_keys, true);
        return;
    }
    for (uint32_t d = 0; d < key_dim; d += CHUNK_DIMS) {
        uint32_t n_dims = key_dim - d < CHUNK_DIMS ? key_dim - d : CHUNK_DIMS;
        float keys[CHUNK_DIMS * RAD_TILE_KEYS];
        widen(tile_keys, (size_t)d * RAD_TILE_KEYS, (size_t)n_dims * RAD_TILE_KEYS, shape->key_type,
              keys);
        score_floats(group, d, n_dims, keys);
    }
}

/* The greatest of the two where they are ordered. */
ALWAYS_INLINE float greater(float a, float b)
{
    return a > b ? a : b;
}

#ifndef RAD_LAYER_REDUCES
/* slots 16 apart, then 8, 4, 2, 1; NaN is left out. */
static float greatest_of_tile(const float values[RAD_TILE_KEYS])
{
    float m[LANES];
    for (int j = 0; j < 16; j++)
        m[j] = greater(values[j + 16], greater(values[j], -INFINITY));
    for (int j = 0; j < 8; j++)
        m[j] = greater(m[j], m[j + 8]);
    for (int j = 0; j < 4; j++)
        m[j] = greater(m[j], m[j + 4]);
    return greater(greater(m[0], m[2]), greater(m[1], m[3]));
}

static float sum_of_tile(const float values[RAD_TILE_KEYS])
{
    float lanes[LANES];
    for (int j = 0; j < LANES; j++)
        lanes[j] = values[j] + values[j + LANES];
    return sum_lanes(lanes);
}
#endif

/* The same of the scores of all queries. */
#define REDUCE_GROUP(name, of_tile, of_tiles)                                                      \
    static void name(tile_group *group, float *out)                                                \
    {                                                                                              \
        uint32_t i = 0;                                                                            \
        for (; i + REDUCED_TILES <= group->n; i += REDUCED_TILES)                                  \
            of_tiles(group->scores + i, out + i);                                                  \
        for (; i < group->n; i++)                                                                  \
            out[i] = of_tile(group->scores[i]);                                                    \
    }
REDUCE_GROUP(greatest_of_group, greatest_of_tile, greatest_of_tiles)
REDUCE_GROUP(sums_of_group, sum_of_tile, sums_of_tiles)

/* ALiBi: a bias that grows with the distance to the query. */
static void add_bias(float *scores, float slope, int32_t distance)
{
    for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
        scores[slot] = fmaf(slope, (float)(distance + slot), scores[slot]);
}

/* Scores of a query, scaled, capped and biased. */
static void scale_query(tile_group *group, uint32_t i, float scale_factor, float cap)
{
    float *scores = group->scores[i];
    for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
        scores[slot] = scores[slot] * scale_factor;
    if (cap > 0.0f)
        soft_cap(scores, cap, RAD_TILE_KEYS, scores);
    if (group->slopes != NULL)
        add_bias(scores, group->slopes[i], group->distances[i]);
}

static void hide_slots(tile_group *group, uint32_t i, float hidden)
{
    float *scores = group->scores[i];
    int32_t first = group->first[i], last = group->last[i];
    for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
        scores[slot] = slot >= first && slot < last ? scores[slot] : hidden;
}

/* The running maximum and sum of each query that sees something, and the two factors of the coming
 * merge of outputs. */
static void merge_group(tile_group *group, const float *maxima, const float *sums)
{
    float merged[GROUP];
    for (uint32_t i = 0; i < group->n; i++) {
        float before = state_of(group, i)[group->value_dim];
        merged[i] = greater(before, maxima[i]);
        group->rescale[i] = before - merged[i];
        group->weight[i] = maxima[i] - merged[i];
    }
    /* Whole vectors, without a rest that is done one by one; but a few are quicker so. */
    uint32_t whole =
        group->n < 4 ? group->n : (group->n + VECTOR_WIDTH - 1) / VECTOR_WIDTH * VECTOR_WIDTH;
    for (uint32_t i = group->n; i < whole; i++)
        group->rescale[i] = group->weight[i] = 0.0f;
    for (uint32_t i = 0; i < whole; i++) {
        group->rescale[i] = rad_expf_below_one(group->rescale[i]);
        group->weight[i] = rad_expf_below_one(group->weight[i]);
    }
    for (uint32_t i = 0; i < group->n; i++) {
        float *state = state_of(group, i) + group->value_dim;
        if (sees_nothing(group, i)) {
            group->rescale[i] = 1.0f;
            continue;
        }
        state[0] = merged[i];
        state[1] = fmaf(state[1], group->rescale[i], sums[i] * group->weight[i]);
    }
}

/* Scores become probabilities, 0 where masked, and are merged into the states. One stage for all
 * queries, then the next: each is a chain that waits for itself. */
static void normalise_group(tile_group *group, float scale_factor, float cap)
{
    float maxima[GROUP], sums[GROUP];
    bool masked = false;
    for (uint32_t i = 0; i < group->n; i++) {
        scale_query(group, i, scale_factor, cap);
        if (is_masked(group, i)) {
            masked = true;
            hide_slots(group, i, -INFINITY);
        }
    }
    greatest_of_group(group, maxima);
    for (uint32_t i = 0; i < group->n; i++) {
        float *scores = group->scores[i], maximum = maxima[i];
        for (int slot = 0; slot < RAD_TILE_KEYS; slot++)
            scores[slot] = rad_expf_below_one(scores[slot] - maximum);
    }
    for (uint32_t i = 0; masked && i < group->n; i++) {
        if (is_masked(group, i)) /* where nothing has a score, the difference is NaN */
            hide_slots(group, i, 0.0f);
    }
    sums_of_group(group, sums);
    merge_group(group, maxima, sums);
}

/* Adds slots begin..end-1 to the sums of n_queries queries. */
ALWAYS_INLINE void add_values(float (*probabilities)[RAD_TILE_KEYS], const void *values,
                              size_t stride, bool half, uint32_t begin, uint32_t end,
                              vector (*sums)[4], int n_queries, int n_vectors)
{
    for (size_t slot = begin; slot < end; slot++) {
        vector value[4];
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            value[v] = load_elements(values, slot * stride + v * VECTOR_WIDTH, half);
        UNROLL
        for (int q = 0; q < n_queries; q++) {
            vector p = vector_set(probabilities[q][slot]);
            UNROLL
            for (int v = 0; v < n_vectors; v++)
                sums[q][v] = vector_fma(p, value[v], sums[q][v]);
        }
    }
}

/* Outputs dim .. dim + n_vectors * VECTOR_WIDTH - 1 of n_queries queries from i on; values points
 * at the first of them in slot 0. Each query takes the slots of its own range in order; the part of
 * the ranges that all share is done together. */
ALWAYS_INLINE void output_dims(tile_group *group, uint32_t i, const void *values, size_t stride,
                               bool half, uint32_t dim, int n_queries, int n_vectors)
{
    vector sums[BLOCK][4];
    uint32_t first = 0, last = RAD_TILE_KEYS;
    const uint8_t *firsts = group->first + i, *lasts = group->last + i;
    float(*probabilities)[RAD_TILE_KEYS] = group->scores + i;
    float *state = state_of(group, i) + dim;
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        first = firsts[q] > first ? firsts[q] : first;
        last = lasts[q] < last ? lasts[q] : last;
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            sums[q][v] = vector_set(0.0f);
    }
    UNROLL
    for (int q = 0; q < n_queries; q++)
        add_values(probabilities + q, values, stride, half, firsts[q], first, sums + q, 1,
                   n_vectors);
    add_values(probabilities, values, stride, half, first, last, sums, n_queries, n_vectors);
    UNROLL
    for (int q = 0; q < n_queries; q++) {
        add_values(probabilities + q, values, stride, half, last, lasts[q], sums + q, 1, n_vectors);
        float *out = state + q * group->state_stride;
        vector rescale = vector_set(group->rescale[i + (uint32_t)q]);
        vector weight = vector_set(group->weight[i + (uint32_t)q]);
        UNROLL
        for (int v = 0; v < n_vectors; v++) {
            vector before = vector_load(out + v * VECTOR_WIDTH);
            vector_store(out + v * VECTOR_WIDTH,
                         vector_fma(before, rescale, vector_multiply(sums[q][v], weight)));
        }
    }
}

/* The same for one output, where head_dim is no multiple of the vectors. */
ALWAYS_INLINE void output_dim(tile_group *group, uint32_t i, const void *values, size_t stride,
                              bool half, uint32_t dim)
{
    float sum = 0.0f;
    for (uint32_t slot = group->first[i]; slot < group->last[i]; slot++) {
        const void *value = element(values, slot * stride, half);
        float number = half ? rad_float_of_half(*(const uint16_t *)value) : *(const float *)value;
        sum = fmaf(group->scores[i][slot], number, sum);
    }
    float *out = state_of(group, i) + dim;
    *out = fmaf(*out, group->rescale[i], sum * group->weight[i]);
}

/* Outputs first_dim .. first_dim + n_dims - 1 of n_queries queries from i on. */
ALWAYS_INLINE void output_queries(tile_group *group, uint32_t i, const void *values, size_t stride,
                                  bool half, uint32_t first_dim, uint32_t n_dims, int n_queries)
{
    uint32_t d = 0;
    if (n_queries <= (VECTOR_WIDTH == 8 ? 2 : 4)) /* AVX2 has registers for no more */
        for (; d + 4 * VECTOR_WIDTH <= n_dims; d += 4 * VECTOR_WIDTH)
            output_dims(group, i, element(values, d, half), stride, half, first_dim + d, n_queries,
                        4);
    for (; d + 2 * VECTOR_WIDTH <= n_dims; d += 2 * VECTOR_WIDTH)
        output_dims(group, i, element(values, d, half), stride, half, first_dim + d, n_queries, 2);
    for (; d + VECTOR_WIDTH <= n_dims; d += VECTOR_WIDTH)
        output_dims(group, i, element(values, d, half), stride, half, first_dim + d, n_queries, 1);
    for (; d < n_dims; d++) {
        for (uint32_t q = i; q < i + (uint32_t)n_queries; q++)
            output_dim(group, q, element(values, d, half), stride, half, first_dim + d);
    }
}

/* True when the ranges of n queries from i on have a slot in common. */
static bool block_overlaps(const tile_group *group, uint32_t i, uint32_t n)
{
    uint32_t first = 0, last = RAD_TILE_KEYS;
    for (uint32_t q = i; q < i + n; q++) {
        first = group->first[q] > first ? group->first[q] : first;
        last = group->last[q] < last ? group->last[q] : last;
    }
    return first < last;
}

ALWAYS_INLINE void output_chunk(tile_group *group, const void *values, size_t stride, bool half,
                                uint32_t first_dim, uint32_t n_dims)
{
    for (uint32_t i = 0, size; i < group->n; i += size) {
        size = block_size(group, i);
        if (size > 1 && !block_overlaps(group, i, size))
            size = 1;
        if (size == BLOCK)
            output_queries(group, i, values, stride, half, first_dim, n_dims, BLOCK);
        else if (size == 4)
            output_queries(group, i, values, stride, half, first_dim, n_dims, 4);
        else if (size == 2)
            output_queries(group, i, values, stride, half, first_dim, n_dims, 2);
        else if (!sees_nothing(group, i))
            output_queries(group, i, values, stride, half, first_dim, n_dims, 1);
    }
}

static void output_floats(tile_group *group, const float *values, size_t stride, uint32_t first_dim,
                          uint32_t n_dims)
{
    output_chunk(group, values, stride, false, first_dim, n_dims);
}

static void output_group(tile_group *group, const rad_attention_shape *shape,
                         const void *tile_values)
{
    uint32_t value_dim = shape->value_dim;
    if (shape->value_type == RAD_CACHE_F32) {
        output_floats(group, tile_values, value_dim, 0, value_dim);
        return;
    }
    if (shape->value_type == RAD_CACHE_F16 && group->n <= 2 * BLOCK) {
        output_chunk(group, tile_values, value_dim, true, 0, value_dim);
        return;
    }
    for (uint32_t d = 0; d < value_dim; d += CHUNK_DIMS) {
        uint32_t n_dims = value_dim - d < CHUNK_DIMS ? value_dim - d : CHUNK_DIMS;
        float values[RAD_TILE_KEYS * CHUNK_DIMS];
        for (size_t slot = 0; slot < RAD_TILE_KEYS; slot++)
            widen(tile_values, slot * value_dim + d, n_dims, shape->value_type,
                  values + slot * CHUNK_DIMS);
        output_floats(group, values, CHUNK_DIMS, d, n_dims);
    }
}

static void attend_tile(const rad_attention_shape *shape, const rad_tile_queries *queries,
                        const void *tile_keys, const void *tile_values)
{
    tile_scales scales;
    bool integer_values = rad_cache_type_is_integer(shape->value_type);
    if (integer_values)
        weigh_tile(shape, tile_values, &scales);
    for (uint32_t start = 0; start < queries->n; start += GROUP) {
        tile_group group;
        group.queries = queries->values + start * queries->stride;
        group.query_stride = queries->stride;
        group.integers_stride = queries->integers_stride;
        group.integers =
            queries->integers != NULL ? queries->integers + start * queries->integers_stride : NULL;
        group.n = queries->n - start < GROUP ? queries->n - start : GROUP;
        group.first = queries->first + start;
        group.last = queries->last + start;
        group.slopes = queries->slopes != NULL ? queries->slopes + start : NULL;
        group.distances = queries->slopes != NULL ? queries->distances + start : NULL;
        group.state = queries->states + start * queries->state_stride;
        group.state_stride = queries->state_stride;
        group.value_dim = shape->value_dim;
        uint32_t n_seeing = 0;
        for (uint32_t i = 0; i < group.n; i++)
            n_seeing += sees_nothing(&group, i) ? 0 : 1;
        if (n_seeing == 0)
            continue;
        score_group(&group, shape, tile_keys);
        normalise_group(&group, shape->scale, shape->cap);
        if (integer_values)
            output_integers(&group, shape, tile_values, &scales);
        else
            output_group(&group, shape, tile_values);
    }
}

static bool is_empty(const float *state, uint32_t value_dim)
{
    return state[value_dim] == -INFINITY && state[value_dim + 1] == 0.0f;
}

static void merge_states(float *state, const float *part, uint32_t value_dim)
{
    if (is_empty(part, value_dim))
        return;
    if (is_empty(state, value_dim)) {
        memcpy(state, part, ((size_t)value_dim + 2) * sizeof *state);
        return;
    }
    float before = state[value_dim], maximum = part[value_dim];
    float merged = greater(before, maximum);
    float rescale = rad_expf_below_one(before - merged);
    float weight = rad_expf_below_one(maximum - merged);
    state[value_dim] = merged;
    state[value_dim + 1] = fmaf(state[value_dim + 1], rescale, part[value_dim + 1] * weight);
    for (uint32_t d = 0; d < value_dim; d++)
        state[d] = fmaf(state[d], rescale, part[d] * weight);
}

static void finish_attention(const float *state, uint32_t value_dim, float *out)
{
    float sum = state[value_dim + 1];
    for (uint32_t d = 0; d < value_dim; d++)
        out[d] = state[d] / sum;
}

const rad_layer_kernels RAD_LAYER_TABLE = {
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .rotate = rotate,
    .silu_multiply = silu_multiply,
    .gelu_tanh_multiply = gelu_tanh_multiply,
    .relu2_multiply = relu2_multiply,
    .clamped_multiply = clamped_multiply,
    .gelu_tanh = gelu_tanh,
    .gelu_erf = gelu_erf,
    .clamp = clamp,
    .add = add,
    .scale = scale,
    .add_scaled = add_scaled,
    .soft_cap = soft_cap,
    .store_key = store_key,
    .store_value = store_value,
    .quantize_query = quantize_query,
    .attend_tile = attend_tile,
    .merge_states = merge_states,
    .finish_attention = finish_attention,
};
