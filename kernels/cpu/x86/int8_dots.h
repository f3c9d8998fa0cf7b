/* Products with the 8 bits of LLM.int8: rows as they stand in the file, whose blocks are a vector
 * each, times a few tokens at once. Rows stay in the second-level cache while the tokens of a
 * stretch pass, the few tokens in the first. Integer sums are exact, so any order will do. */
#ifndef RAD_X86_INT8_DOTS_H
#define RAD_X86_INT8_DOTS_H

#include "kernels/cpu/int8_product.h"

enum {
    INT8_TOKENS = WIDE_DOT ? 8 : 4, /* at once */
    INT8_STRETCH = 64,              /* tokens whose outliers are known at a time */
    INT8_ROWS = 16
};

/* In scratch memory. */
typedef struct int8_stretch {
    int8_outliers outliers[INT8_STRETCH];
    uint32_t
        start[INT8_STRETCH]; /* of the sums: VNNI wants unsigned weights, 128 more than they are */
} int8_stretch;

_Static_assert(sizeof(int8_stretch) <= RAD_PRODUCT_SCRATCH, "scratch of a product");

NOT_INLINE static uint32_t int8_start(const int8_t *quants, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += quants[i];
    return SIGNED_BYTES ? 0 : (uint32_t)(-128 * sum);
}

/* Sums of products of n tokens, n_columns quants each, one behind the other; each in 16 parts. */
INLINE void int8_dots(int n, const uint8_t *row, const int8_t *quants, uint32_t n_columns,
                      uint32_t (*parts)[16])
{
    vi total[INT8_TOKENS];
    UNROLL for (int t = 0; t < n; t++) total[t] = vi_zero();
    for (uint32_t at = 0; at < n_columns; at += RAD_SCALED_BLOCK, row += INT8_BYTES) {
        vi w = vi_load(row + INT8_QUANTS);
        vi weights = SIGNED_BYTES ? vi_magnitude(w) : vi_xor(w, vi_set8(128));
        UNROLL for (int t = 0; t < n; t++)
        {
            vi column = vi_load(quants + (size_t)t * n_columns + at);
            if (SIGNED_BYTES)
                column = vi_with_sign(column, w);
            total[t] = WIDE_DOT ? vi_dot(total[t], weights, column)
                                : vi_accumulate(total[t], vi_widen(vi_dot_first(weights, column)));
        }
    }
    UNROLL for (int t = 0; t < n; t++) vi_store(parts[t], total[t]);
}

NOT_INLINE static void int8_many(const uint8_t *row, const int8_t *quants, uint32_t n_columns,
                                 uint32_t (*parts)[16])
{
    int8_dots(INT8_TOKENS, row, quants, n_columns, parts);
}

NOT_INLINE static void int8_one(const uint8_t *row, const int8_t *quants, uint32_t n_columns,
                                uint32_t (*parts)[16])
{
    int8_dots(1, row, quants, n_columns, parts);
}

NOT_INLINE static int32_t int8_sum(const uint32_t *parts, uint32_t sum)
{
    for (int i = 0; i < 16; i++)
        sum += parts[i];
    return (int32_t)sum;
}

/* Tokens from `first` on, numbers `at`.. of the stretch. */
NOT_INLINE static void int8_group(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                                  uint32_t last_row, uint32_t first, uint32_t n, uint32_t at,
                                  const int8_stretch *stretch, float *y, size_t y_stride)
{
    const size_t row_bytes = w->n_columns / RAD_SCALED_BLOCK * (size_t)INT8_BYTES;
    const int8_t *quants = x->quants + (size_t)first * x->n_columns;
    for (uint32_t row = first_row; row < last_row; row++) {
        const uint8_t *weights = w->data + row * row_bytes;
        uint32_t parts[INT8_TOKENS][16];
        if (n == INT8_TOKENS)
            int8_many(weights, quants, x->n_columns, parts);
        for (uint32_t t = 0; t < n; t++) {
            if (n < INT8_TOKENS)
                int8_one(weights, quants + (size_t)t * x->n_columns, x->n_columns, &parts[t]);
            y[(first + t) * y_stride + row] =
                int8_output(weights, x, first + t, &stretch->outliers[at + t],
                            int8_sum(parts[t], stretch->start[at + t]));
        }
    }
}

NOT_INLINE static void product_int8(const rad_matrix *w, const rad_activations *x,
                                    uint32_t first_row, uint32_t last_row, uint32_t first_token,
                                    uint32_t last_token, float *y, size_t y_stride, void *scratch)
{
    int8_stretch *stretch = scratch;
    for (uint32_t first = first_token; first < last_token; first += INT8_STRETCH) {
        const uint32_t n = last_token - first < INT8_STRETCH ? last_token - first : INT8_STRETCH;
        for (uint32_t t = 0; t < n; t++) {
            const size_t at = (size_t)(first + t) * x->n_columns;
            int8_find_outliers(x->values + at, x->n_columns, x->threshold, &stretch->outliers[t]);
            stretch->start[t] = int8_start(x->quants + at, x->n_columns);
        }
        for (uint32_t row = first_row; row < last_row; row += INT8_ROWS) {
            const uint32_t end = last_row - row < INT8_ROWS ? last_row : row + INT8_ROWS;
            for (uint32_t t = 0; t < n; t += INT8_TOKENS)
                int8_group(w, x, row, end, first + t, n - t < INT8_TOKENS ? n - t : INT8_TOKENS, t,
                           stretch, y, y_stride);
        }
    }
}

#endif
