/* Products with the 8 bits of LLM.int8 in plain C, and what those with vectors (x86/int8_dots.h)
 * share with it. An input whose magnitude reaches the threshold is multiplied as a float, by
 * columns; all others are int8, with a zero at these columns. kernels.h defines the arithmetic. */
#ifndef RAD_INT8_PRODUCT_H
#define RAD_INT8_PRODUCT_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernels.h"

enum { INT8_BYTES = 68, INT8_QUANTS = 4, INT8_LISTED = 254 };

/* The first columns of a token that are outliers, looked for once for all rows. What is beyond them
 * is looked for again by each row: models have few. */
typedef struct int8_outliers {
    uint32_t n;
    uint32_t rest; /* the column from which none is listed */
    uint32_t columns[INT8_LISTED];
} int8_outliers;

/* Whether one of a block's inputs is an outlier: without a branch for each, since few are. */
static inline bool int8_any_outlier(const float *values, float threshold)
{
    int any = 0;
    for (int i = 0; i < RAD_SCALED_BLOCK; i++)
        any |= fabsf(values[i]) >= threshold;
    return any != 0;
}

/* n is a multiple of the block. */
static inline void int8_find_outliers(const float *values, uint32_t n, float threshold,
                                      int8_outliers *found)
{
    found->n = 0;
    for (found->rest = 0; found->rest < n; found->rest += RAD_SCALED_BLOCK) {
        if (!int8_any_outlier(values + found->rest, threshold))
            continue;
        if (found->n + RAD_SCALED_BLOCK > INT8_LISTED)
            return;
        for (uint32_t i = found->rest; i < found->rest + RAD_SCALED_BLOCK; i++)
            if (fabsf(values[i]) >= threshold)
                found->columns[found->n++] = i;
    }
}

static inline float int8_add_column(const uint8_t *row, const float *values, uint32_t column,
                                    float sum)
{
    const uint8_t *block = row + (size_t)(column / RAD_SCALED_BLOCK) * INT8_BYTES;
    return fmaf((float)(int8_t)block[INT8_QUANTS + column % RAD_SCALED_BLOCK], values[column], sum);
}

/* The output of a row and a token, whose sum of integer products is known. */
static inline float int8_output(const uint8_t *row, const rad_activations *x, uint32_t token,
                                const int8_outliers *outliers, int32_t products)
{
    const float *values = x->values + (size_t)token * x->n_columns;
    float scale, sum = 0.0f;
    memcpy(&scale, row, sizeof scale);
    for (uint32_t i = 0; i < outliers->n; i++)
        sum = int8_add_column(row, values, outliers->columns[i], sum);
    for (uint32_t i = outliers->rest; i < x->n_columns; i++)
        if (fabsf(values[i]) >= x->threshold)
            sum = int8_add_column(row, values, i, sum);
    return fmaf(x->scales[token], (float)products, sum) * (scale * RAD_INT8_STEP);
}

/* A block's sum of products; 64 of them are far below 2^31. */
static inline int32_t int8_dot(const int8_t *w, const int8_t *x)
{
    int32_t sum = 0;
    for (int i = 0; i < RAD_SCALED_BLOCK; i++)
        sum += w[i] * x[i];
    return sum;
}

static inline int32_t int8_products(const uint8_t *row, const int8_t *quants, uint32_t n_columns)
{
    int32_t sum = 0;
    for (uint32_t b = 0; b < n_columns / RAD_SCALED_BLOCK; b++)
        sum += int8_dot((const int8_t *)row + (size_t)b * INT8_BYTES + INT8_QUANTS,
                        quants + (size_t)b * RAD_SCALED_BLOCK);
    return sum;
}

static inline void product_int8_plain(const rad_matrix *w, const rad_activations *x,
                                      uint32_t first_row, uint32_t last_row, uint32_t first_token,
                                      uint32_t last_token, float *y, size_t y_stride)
{
    const size_t row_bytes = w->n_columns / RAD_SCALED_BLOCK * (size_t)INT8_BYTES;
    for (uint32_t t = first_token; t < last_token; t++) {
        const int8_t *quants = x->quants + (size_t)t * x->n_columns;
        int8_outliers outliers;
        int8_find_outliers(x->values + (size_t)t * x->n_columns, w->n_columns, x->threshold,
                           &outliers);
        for (uint32_t row = first_row; row < last_row; row++) {
            const uint8_t *weights = w->data + row * row_bytes;
            y[t * y_stride + row] =
                int8_output(weights, x, t, &outliers, int8_products(weights, quants, x->n_columns));
        }
    }
}

#endif
