/* Weights and activations of random and extreme contents, in every number format. */
#ifndef RAD_TEST_WEIGHTS_H
#define RAD_TEST_WEIGHTS_H

#include "tests/kernels/check.h"

/* Every type that products take. */
enum { N_TYPES = 46 };
extern const rad_type all_types[N_TYPES];

/* What weights and activations are filled with. */
typedef enum content {
    CONTENT_NORMAL,      /* plausible scales, random quants */
    CONTENT_RANDOM_BITS, /* every bit random: infinite and NaN scales too */
    CONTENT_ALL_ONES,    /* largest quants and sub-scales, plausible scales */
    CONTENT_ALL_ZEROS,
    CONTENT_MINUS_128, /* bytes of 0x80: the most negative quants and sub-scales */
    CONTENT_TINY,      /* subnormal scales and values */
    CONTENT_HUGE,      /* largest finite scales and values */
    N_CONTENTS
} content;
extern const char *const content_names[N_CONTENTS];

float random_float(content kind);
void fill_weights(rad_type type, content kind, uint8_t *data, size_t size);

/* A matrix in the layout of files, and in lanes where the type has them (else .lane.data is NULL).
 */
typedef struct weights {
    rad_matrix file, lane;
    input file_memory, lane_memory;
} weights;
weights weights_new(rad_type type, content kind, uint32_t n_rows, uint32_t n_columns);
void weights_free(weights *w);
/* The lane layout of a matrix; the memory is not sealed. */
input lanes_of(const rad_matrix *file);

/* Activations as a type wants them, quantized by the scalar table. */
typedef struct activations {
    rad_activations x;
    input values, quants, scales, sums, tiles;
    uint32_t tiles_tokens;
} activations;
/* `threshold` of Q8_OUTLIERS. */
activations activations_new(rad_type type, content kind, uint32_t n_tokens, uint32_t n_columns,
                            float threshold);
/* The first n_tokens tokens, with their tiles, which stand until the next call. */
rad_activations activations_of(activations *in, uint32_t n_tokens);
void activations_free(activations *in);

typedef void (*quantize_fn)(const float *x, uint32_t n, int8_t *quants, float *scales,
                            int16_t *sums);
/* That of a kind of activations, noted as called. */
quantize_fn quantize_function(const table *of, rad_activation_kind kind);

#endif
