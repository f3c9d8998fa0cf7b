/* The kernels of a layer other than matrix products. One C source (layer_template.c), compiled once
 * for each instruction set: every loop has a fixed order and explicit fma, so the bits agree by
 * construction whatever the compiler vectorises. exp and tanh are those of base/numeric_f32.h.
 * Not-finite input gives not-finite output where it takes part; which NaN is not specified. */
#ifndef RAD_LAYER_H
#define RAD_LAYER_H

#include <stddef.h>
#include <stdint.h>

/* Keys of a tile: constant, at absolute positions (numeric contract, rule 7). */
#define RAD_TILE_KEYS 32

/* Number formats of cached keys and values. What is stored of a float x:
 *
 * - F32: x. F16, BF16: x rounded to nearest even; finite values beyond the greatest become it.
 * - FP8: E4M3 (greatest 448, no infinity), no scale, rounded and held likewise; what is not finite
 *   becomes NaN.
 * - Q8_0: blocks of 32 dimensions (the last may be shorter). d = F16 of (greatest |x| / 127),
 *   q = round-half-even(x * (1 / d) held to -127..127), 0 where d is 0. The number is d q.
 * - Q4_0: the same with d = F16 of (greatest |x| / 8), negative where the greatest is the maximum
 *   and not only the minimum, and q held to -8..7.
 *
 * Beyond 127 or 8 times 65504 the last two hold values there; a block with a value that is not
 * finite gets d = NaN. */
typedef enum rad_cache_type {
    RAD_CACHE_F32 = 0,
    RAD_CACHE_F16 = 1,
    RAD_CACHE_BF16 = 2,
    RAD_CACHE_FP8 = 3,
    RAD_CACHE_Q8_0 = 4,
    RAD_CACHE_Q4_0 = 5
} rad_cache_type;
#define RAD_CACHE_TYPES 6

/* True for those whose products are of integers. */
static inline int32_t rad_cache_type_is_integer(rad_cache_type type)
{
    return type == RAD_CACHE_Q8_0 || type == RAD_CACHE_Q4_0;
}

/* Blocks of a head in Q8_0 and Q4_0. */
#define RAD_CACHE_BLOCK 32
static inline uint32_t rad_cache_blocks(uint32_t head_dim)
{
    return (head_dim + RAD_CACHE_BLOCK - 1) / RAD_CACHE_BLOCK;
}

/* Bytes of an element of the formats without blocks. */
static inline size_t rad_cache_element_bytes(rad_cache_type type)
{
    return type == RAD_CACHE_F32 ? 4 : type == RAD_CACHE_FP8 ? 1 : 2;
}

/* Bytes of a tile of keys of one head. Floats stand as [key_dim][RAD_TILE_KEYS]. Q8_0: bytes q +
 * 128 as [dimensions by four][RAD_TILE_KEYS][4], behind them the d as
 * uint16_t[block][RAD_TILE_KEYS]. Q4_0: dimensions by eight, of which byte j has j in its low and 4
 * + j in its high half, as q + 8. So four dimensions of a key are one lane of a vector. */
static inline size_t rad_key_tile_bytes(rad_cache_type type, uint32_t key_dim)
{
    if (!rad_cache_type_is_integer(type))
        return RAD_TILE_KEYS * key_dim * rad_cache_element_bytes(type);
    uint32_t words = type == RAD_CACHE_Q8_0 ? (key_dim + 3) / 4 : (key_dim + 7) / 8;
    return RAD_TILE_KEYS * ((size_t)words * 4 + rad_cache_blocks(key_dim) * sizeof(uint16_t));
}

/* Bytes of one key's values in a row of the integers, without scales: dimensions are filled up so
 * that vectors of 16 need no rest. */
static inline size_t rad_value_row_bytes(rad_cache_type type, uint32_t value_dim)
{
    return type == RAD_CACHE_Q8_0 ? ((size_t)value_dim + 15) / 16 * 16
                                  : (size_t)rad_cache_blocks(value_dim) * 16;
}

/* Bytes of a tile of values of one head. Floats stand as [RAD_TILE_KEYS][value_dim]. Q8_0: bytes q
 * as [pair of keys][dimension][2], behind them the d as uint16_t[block][RAD_TILE_KEYS]. Q4_0:
 * [pair][block][16][2], where byte j has dimension j in its low and 16 + j in its high half, as
 * q + 8. So two keys of a dimension are one lane of a vector, and no byte belongs to two keys. */
static inline size_t rad_value_tile_bytes(rad_cache_type type, uint32_t value_dim)
{
    if (!rad_cache_type_is_integer(type))
        return RAD_TILE_KEYS * value_dim * rad_cache_element_bytes(type);
    return RAD_TILE_KEYS *
           (rad_value_row_bytes(type, value_dim) + rad_cache_blocks(value_dim) * sizeof(uint16_t));
}

/* A query in integers, for keys in Q8_0 and Q4_0: int8_t[blocks * 32], then float[blocks], the
 * scale of each block, then int32_t[blocks], the sum of its integers. Aligned as a float. */
static inline size_t rad_query_bytes(uint32_t key_dim)
{
    return (size_t)rad_cache_blocks(key_dim) * (RAD_CACHE_BLOCK + sizeof(float) + sizeof(int32_t));
}

/* One layer's heads, and how their keys and values are kept. */
typedef struct rad_attention_shape {
    uint32_t key_dim, value_dim; /* of a head */
    rad_cache_type key_type, value_type;
    float scale; /* of a score */
    float cap;   /* of a scaled score; 0: none */
} rad_attention_shape;

/* The queries of one call to attend_tile(), and their running states. */
typedef struct rad_tile_queries {
    const float *values; /* rows of key_dim floats, `stride` floats apart */
    size_t stride;
    const uint8_t *integers; /* for keys in Q8_0 and Q4_0: from quantize_query() */
    size_t integers_stride;  /* bytes */
    uint32_t n;
    const uint8_t *first, *last; /* query i sees slots first[i]..last[i]-1 of the tile */
    /* ALiBi (Press et al. 2022): slot s adds slopes[i] * (distances[i] + s) to the score, where
     * distances[i] is the position of slot 0 less that of query i. slopes NULL: none. */
    const float *slopes;
    const int32_t *distances;
    float *states; /* rows, state_stride floats apart: value_dim outputs, max, sum */
    size_t state_stride;
} rad_tile_queries;

/* A stride of states whose outputs, where they begin so, stay at the borders of cache lines. */
static inline size_t rad_attention_state_floats(uint32_t value_dim)
{
    return ((size_t)value_dim + 2 + 15) / 16 * 16;
}

typedef struct rad_layer_kernels {
    /* y = x / sqrt(mean(x^2) + epsilon) * weight. The sum of squares is taken in the canonical dot
     * shape: sixteen interleaved partial sums s[i % 16] = fma(x_i, x_i, s), then the tree
     * 8, 4, 2, 1. The factor is 1 / sqrt(sum / n + epsilon) in F32; y = (x * factor) * weight.
     * weight may be NULL (all ones).
     * In place is allowed here and in every function below that has x and y or out. */
    void (*rms_norm)(const float *x, const float *weight, float epsilon, uint32_t n, float *y);
    /* LayerNorm: mean = sum / n, variance = sum of (x - mean)^2 / n, both sums in the canonical
     * shape (the second by fma); factor = 1 / sqrt(variance + epsilon);
     * y = ((x - mean) * factor) * weight + bias, each step rounded. weight and bias may be NULL. */
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float epsilon,
                       uint32_t n, float *y);
    /* Rotates the first 2 * n_pairs values of one head in place. Interleaved: pairs (2i, 2i+1),
     * else (i, i + n_pairs). (a, b) -> (fma(a, cos, -(b * sin)), fma(a, sin, b * cos)). */
    void (*rotate)(float *x, const float *cosine, const float *sine, uint32_t n_pairs,
                   int32_t interleaved);
    /* y = silu(gate) * up, silu(x) = x / (1 + exp(-x)). */
    void (*silu_multiply)(const float *gate, const float *up, uint32_t n, float *y);
    /* y = gelu(gate) * up in the tanh form. */
    void (*gelu_tanh_multiply)(const float *gate, const float *up, uint32_t n, float *y);
    /* y = r r up, with r = gate where that is above 0, else 0. */
    void (*relu2_multiply)(const float *gate, const float *up, uint32_t n, float *y);
    /* y = silu of slope 1.702 of min(gate, 7), times (1 + up held to -7..7): gpt-oss.
     * g / (1 + exp(-(1.702 g))) * (u + 1). */
    void (*clamped_multiply)(const float *gate, const float *up, uint32_t n, float *y);
    /* y = gelu(x) in the tanh form. */
    void (*gelu_tanh)(const float *x, uint32_t n, float *y);
    /* y = gelu(x) itself, by the normal distribution. */
    void (*gelu_erf)(const float *x, uint32_t n, float *y);
    /* out = x held to -limit..limit. */
    void (*clamp)(const float *x, float limit, uint32_t n, float *out);
    void (*add)(const float *x, const float *y, uint32_t n, float *out);
    void (*scale)(const float *x, float factor, uint32_t n, float *out);
    /* out = fma(x, factor, out). */
    void (*add_scaled)(const float *x, float factor, uint32_t n, float *out);
    /* out = cap * tanh(x / cap), cap > 0. */
    void (*soft_cap)(const float *x, float cap, uint32_t n, float *out);
    /* Converts to the cache's format and stores a key in its slot of a tile. Slots share no byte.
     */
    void (*store_key)(const float *key, uint32_t key_dim, rad_cache_type type, void *tile_keys,
                      uint32_t slot);
    void (*store_value)(const float *value, uint32_t value_dim, rad_cache_type type,
                        void *tile_values, uint32_t slot);
    /* A query in integers, rad_query_bytes(): per block of 32 dimensions (the last may be shorter)
     * by the rule for activations, d = greatest |x| / 127, q = round-half-even(x * (127 / greatest
     * |x|)); zeros where that is below 2^-100, d = NaN where a value is not finite. */
    void (*quantize_query)(const float *query, uint32_t key_dim, void *integers);
    /* Attention of some queries to one tile. An empty range leaves a query's state alone.
     *
     * - score[slot]: fma chain from 0 over d = 0..key_dim-1 of q[d] * k[d][slot]; of keys in Q8_0
     *   and Q4_0 fma chain from 0 over blocks of (dq * dk) * float(exact integer sum). Then times
     *   `scale`, then cap * tanh(score / cap) when cap > 0, then with slopes
     *   fma(slope, (float)(distance + slot), score).
     * - m = max over visible slots, leaving out NaN.
     * - p = exp(score - m) for visible slots and 0 for the others.
     * - l = sum of p in a tree: slots 16 apart, then 8, 4, 2, 1.
     * - o[d] = fma chain from 0 by increasing visible slot of p * v[slot][d]; the values of other
     *   slots are not read into any sum, so they may hold anything. Of values in Q8_0 and Q4_0 see
     *   below.
     *
     * Then merges into the query's running state (max = -infinity and zeros at first):
     *
     * - M = max(max, m), a = exp(max - M) (0 at first), b = exp(m - M).
     * - sum = fma(sum, a, l * b), out[d] = fma(out[d], a, o[d] * b).
     *
     * Values in Q8_0 and Q4_0, for each block of 32 dimensions: D = the greatest |dv| of the
     * visible slots, w = dv * (32767 / D) (0 where D is 0), P = round-half-even(p w), an integer of
     * 16 bits, 0 where masked; S = exact integer sum of P * v; c = (D / 32767) * b, NaN where the
     * merged sum is NaN; out[d] = fma(out[d], a, float(S) * c).
     *
     * The bits of a query's state do not depend on the other queries of the call. Takes about 20
     * KiB of stack. */
    void (*attend_tile)(const rad_attention_shape *shape, const rad_tile_queries *queries,
                        const void *tile_keys, const void *tile_values);
    /* Merges a state into another, as attend_tile() does with a tile: M = max(max, m),
     * a = exp(max - M), b = exp(m - M), sum = fma(sum, a, l * b), out[d] = fma(out[d], a, o[d] *
     * b). One that nothing came into (maximum -infinity, sum 0) changes nothing, and is replaced.
     */
    void (*merge_states)(float *state, const float *part, uint32_t value_dim);
    /* out[d] = the state's out[d] / its sum; in place is allowed. */
    void (*finish_attention)(const float *state, uint32_t value_dim, float *out);
} rad_layer_kernels;

/* Which of them this CPU can run is decided by rad_kernels_find(). */
extern const rad_layer_kernels rad_layer_kernels_scalar;
#if defined(__x86_64__)
extern const rad_layer_kernels rad_layer_kernels_scalar_fma;
extern const rad_layer_kernels rad_layer_kernels_avx2;
extern const rad_layer_kernels rad_layer_kernels_avx2_vnni;
extern const rad_layer_kernels rad_layer_kernels_avx512;
extern const rad_layer_kernels rad_layer_kernels_avx512_vnni;
#elif defined(__aarch64__)
extern const rad_layer_kernels rad_layer_kernels_neon;
extern const rad_layer_kernels rad_layer_kernels_neon_dotprod;
#endif

#endif
