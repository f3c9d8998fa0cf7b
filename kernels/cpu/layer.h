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

/* Number formats of cached keys and values. */
typedef enum rad_cache_type { RAD_CACHE_F32 = 0, RAD_CACHE_F16 = 1 } rad_cache_type;

/* Bytes of a tile of keys, or of values, of one head. */
static inline size_t rad_tile_bytes(rad_cache_type type, uint32_t head_dim)
{
    return (size_t)RAD_TILE_KEYS * head_dim * (type == RAD_CACHE_F16 ? 2 : 4);
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
    uint32_t n;
    const uint8_t *first, *last; /* query i sees slots first[i]..last[i]-1 of the tile */
    /* ALiBi (Press et al. 2022): slot s adds slopes[i] * (distances[i] + s) to the score, where
     * distances[i] is the position of slot 0 less that of query i. slopes NULL: none. */
    const float *slopes;
    const int32_t *distances;
    float *states; /* rows, state_stride floats apart: max, sum, value_dim outputs */
    size_t state_stride;
} rad_tile_queries;

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
    /* Converts to the cache's format (F16: nearest even, finite values saturate) and stores a key:
     * tile_keys is the tile's [key_dim][RAD_TILE_KEYS] block, so element d goes to [d][slot]. */
    void (*store_key)(const float *key, uint32_t key_dim, rad_cache_type type, void *tile_keys,
                      uint32_t slot);
    /* tile_values is [RAD_TILE_KEYS][value_dim]. */
    void (*store_value)(const float *value, uint32_t value_dim, rad_cache_type type,
                        void *tile_values, uint32_t slot);
    /* Attention of some queries to one tile. An empty range leaves a query's state alone.
     *
     * - score[slot]: fma chain from 0 over d = 0..key_dim-1 of q[d] * k[d][slot], then times
     *   `scale`, then cap * tanh(score / cap) when cap > 0, then with slopes
     *   fma(slope, (float)(distance + slot), score).
     * - m = max over visible slots, leaving out NaN.
     * - p = exp(score - m) for visible slots and 0 for the others.
     * - l = sum of p in a tree: slots 16 apart, then 8, 4, 2, 1.
     * - o[d] = fma chain from 0 by increasing visible slot of p * v[slot][d]; the values of other
     *   slots are not read into any sum, so they may hold anything.
     *
     * Then merges into the query's running state (max = -infinity and zeros at first):
     *
     * - M = max(max, m), a = exp(max - M) (0 at first), b = exp(m - M).
     * - sum = fma(sum, a, l * b), out[d] = fma(out[d], a, o[d] * b).
     *
     * The bits of a query's state do not depend on the other queries of the call. Takes about 20
     * KiB of stack. */
    void (*attend_tile)(const rad_attention_shape *shape, const rad_tile_queries *queries,
                        const void *tile_keys, const void *tile_values);
    /* out[d] = state out[d] / sum. */
    void (*finish_attention)(const float *state, uint32_t value_dim, float *out);
} rad_layer_kernels;

/* Which of them this CPU can run is decided by rad_kernels_find(). */
extern const rad_layer_kernels rad_layer_kernels_scalar;
#if defined(__x86_64__)
extern const rad_layer_kernels rad_layer_kernels_scalar_fma;
extern const rad_layer_kernels rad_layer_kernels_avx2;
extern const rad_layer_kernels rad_layer_kernels_avx512;
#elif defined(__aarch64__)
extern const rad_layer_kernels rad_layer_kernels_neon;
#endif

#endif
