/* The text of kernels/cpu/layer.h, written out plainly: one value after the other, no vectors, no
 * templates. What every table of layer kernels, the scalar ones too, is compared with. */
#ifndef RAD_TEST_PLAIN_H
#define RAD_TEST_PLAIN_H

#include <stdint.h>

#include "kernels/cpu/layer.h"

/* The sum of n floats, a power of two up to 32, as a tree: n / 2 apart, then n / 4, and so on. */
float plain_tree(const float *values, uint32_t n);

/* ---- rows ------------------------------------------------------------------------------------ */

/* x, then what a function takes beside it (a weight or a second vector, a bias), n values or pairs;
 * y is written, or changed. */
typedef struct row_arguments {
    const float *x, *second, *third;
    uint32_t n;
    float *y;
} row_arguments;

void plain_rms_norm(const row_arguments *a);
void plain_layer_norm(const row_arguments *a);
void plain_rotate(const row_arguments *a);
void plain_rotate_interleaved(const row_arguments *a);
void plain_silu_multiply(const row_arguments *a);
void plain_gelu_tanh_multiply(const row_arguments *a);
void plain_relu2_multiply(const row_arguments *a);
void plain_clamped_multiply(const row_arguments *a);
void plain_gelu_tanh(const row_arguments *a);
void plain_gelu_erf(const row_arguments *a);
void plain_clamp(const row_arguments *a);
void plain_add(const row_arguments *a);
void plain_scale(const row_arguments *a);
void plain_add_scaled(const row_arguments *a);
void plain_soft_cap(const row_arguments *a);
/* The numbers that they take, and the calls of kernels with them. */
#define ROW_EPSILON 1e-5f
#define ROW_LIMIT   1.5f
#define ROW_FACTOR  1.7f
#define ROW_PART    0.7f
#define ROW_CAP     30.0f

/* ---- cached keys and values ------------------------------------------------------------------ */

enum { MAX_DIM = 576, MAX_BLOCKS = MAX_DIM / RAD_CACHE_BLOCK };

/* A head's numbers in a format: floats, or integers with a scale for each block. */
typedef struct plain_row {
    float values[MAX_DIM];
    int32_t quants[MAX_DIM];
    uint16_t scales[MAX_BLOCKS];
} plain_row;

/* Numbers as a format keeps them. */
void plain_store(const float *x, uint32_t dim, rad_cache_type type, plain_row *row);
/* The block of a query that begins at x, n of its numbers. */
void plain_quantize_query(const float *x, uint32_t n, int32_t *quants, float *scale);

/* ---- attention ------------------------------------------------------------------------------- */

/* One query and what it is to one tile. */
typedef struct plain_query {
    const float *values;
    uint32_t first, last;
    float slope; /* 0: none */
    int32_t distance;
} plain_query;

void plain_attend(const rad_attention_shape *shape, const plain_query *query, const plain_row *keys,
                  const plain_row *values, float *state);
void plain_merge_states(float *state, const float *part, uint32_t value_dim);

#endif
