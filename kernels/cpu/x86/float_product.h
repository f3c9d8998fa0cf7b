/* Products with F32, F16 and BF16 weights in the canonical dot shape: one 16-lane vector holds the
 * sixteen partial sums of an output. Weights of many-token products are widened once into scratch.
 */
#ifndef RAD_X86_FLOAT_PRODUCT_H
#define RAD_X86_FLOAT_PRODUCT_H

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

enum {
    FLOAT_ROWS = 3, /* of a tile with two tokens: six vectors of sums */
    FLOAT_TOKENS = 2,
    FLOAT_SINGLE_ROWS = 4, /* of a tile with one token */
    FLOAT_TOKEN_BLOCK = 32 /* tokens that pass over a few rows before the next rows */
};

INLINE size_t float_bytes(rad_type type)
{
    return type == RAD_TYPE_F32 ? 4 : 2;
}

INLINE vf_part load_weights(rad_type type, const uint8_t *p)
{
    return type == RAD_TYPE_F16    ? vf_part_load_f16(p)
           : type == RAD_TYPE_BF16 ? vf_part_load_bf16(p)
                                   : vf_part_load(p);
}

static float load_weight(rad_type type, const uint8_t *p)
{
    uint16_t half;
    float value;
    if (type == RAD_TYPE_F32) {
        memcpy(&value, p, 4);
        return value;
    }
    memcpy(&half, p, 2);
    return type == RAD_TYPE_F16 ? rad_f16_to_f32(half) : rad_bf16_to_f32(half);
}

/* The last columns, fewer than 16, and the tree. */
static float finish_sum(rad_type type, const uint8_t *weights, const float *x, uint32_t n,
                        float lanes[16])
{
    for (uint32_t i = 0; i < n; i++)
        lanes[i] = fmaf(load_weight(type, weights + i * float_bytes(type)), x[i], lanes[i]);
    return vf_sum(vf_load(lanes));
}

/* y[t * y_stride + r] for n_rows x n_tokens outputs; rows are row_bytes apart. */
INLINE void float_tile(rad_type type, int n_rows, int n_tokens, const uint8_t *weights,
                       size_t row_bytes, const float *x, uint32_t n_columns, float *y,
                       size_t y_stride)
{
    vf sum[FLOAT_SINGLE_ROWS][FLOAT_TOKENS];
    uint32_t whole = n_columns / 16 * 16;
    size_t bytes = float_bytes(type);
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int t = 0; t < n_tokens; t++) sum[r][t] = vf_zero();
    }
    for (uint32_t i = 0; i < whole; i += 16) {
        UNROLL for (int part = 0; part < VF_PARTS; part++)
        {
            size_t at = i + (size_t)part * VF_PART_LANES;
            vf_part column[FLOAT_TOKENS];
            UNROLL for (int t = 0; t < n_tokens; t++) column[t] =
                vf_part_load(x + t * (size_t)n_columns + at);
            UNROLL for (int r = 0; r < n_rows; r++)
            {
                vf_part w = load_weights(type, weights + (size_t)r * row_bytes + at * bytes);
                UNROLL for (int t = 0; t < n_tokens; t++)
                    vf_part_fma(&sum[r][t], part, w, column[t]);
            }
        }
    }
    /* Through memory, so that no register is alive across the calls: gcc would keep it in memory
     * during the loop as well. */
    float lanes[FLOAT_SINGLE_ROWS][FLOAT_TOKENS][16];
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int t = 0; t < n_tokens; t++) vf_store(lanes[r][t], sum[r][t]);
    }
    for (int r = 0; r < n_rows; r++)
        for (int t = 0; t < n_tokens; t++)
            y[(size_t)t * y_stride + (size_t)r] =
                finish_sum(type, weights + (size_t)r * row_bytes + whole * bytes,
                           x + t * (size_t)n_columns + whole, n_columns - whole, lanes[r][t]);
}

INLINE void single_token(rad_type type, const rad_matrix *w, const float *x, uint32_t first_row,
                         uint32_t last_row, float *y)
{
    size_t row_bytes = w->n_columns * float_bytes(type);
    const uint8_t *weights = w->data;
    uint32_t row = first_row;
    for (; row + FLOAT_SINGLE_ROWS <= last_row; row += FLOAT_SINGLE_ROWS)
        float_tile(type, FLOAT_SINGLE_ROWS, 1, weights + row * row_bytes, row_bytes, x,
                   w->n_columns, y + row, 0);
    for (; row < last_row; row++)
        float_tile(type, 1, 1, weights + row * row_bytes, row_bytes, x, w->n_columns, y + row, 0);
}

static void single_token_f32(const rad_matrix *w, const float *x, uint32_t first_row,
                             uint32_t last_row, float *y)
{
    single_token(RAD_TYPE_F32, w, x, first_row, last_row, y);
}

static void single_token_f16(const rad_matrix *w, const float *x, uint32_t first_row,
                             uint32_t last_row, float *y)
{
    single_token(RAD_TYPE_F16, w, x, first_row, last_row, y);
}

static void single_token_bf16(const rad_matrix *w, const float *x, uint32_t first_row,
                              uint32_t last_row, float *y)
{
    single_token(RAD_TYPE_BF16, w, x, first_row, last_row, y);
}

/* Widens n_rows whole rows to F32; returns where they are (F32 rows stay in place). */
static const uint8_t *widen_rows(const rad_matrix *w, uint32_t row, uint32_t n_rows, float *scratch)
{
    size_t bytes = float_bytes(w->type);
    const uint8_t *from = w->data + (size_t)row * w->n_columns * bytes;
    if (w->type == RAD_TYPE_F32)
        return from;
    size_t n = (size_t)n_rows * w->n_columns, i = 0;
    for (; i + 16 <= n; i += 16)
        UNROLL for (size_t lane = 0; lane < 16; lane += VF_PART_LANES)
            vf_part_store(scratch + i + lane, load_weights(w->type, from + (i + lane) * bytes));
    for (; i < n; i++)
        scratch[i] = load_weight(w->type, from + i * bytes);
    return (const uint8_t *)scratch;
}

static void float_rows_3(const uint8_t *weights, size_t row_bytes, const float *x,
                         uint32_t n_tokens, uint32_t n_columns, float *y, size_t y_stride)
{
    uint32_t t = 0;
    for (; t + FLOAT_TOKENS <= n_tokens; t += FLOAT_TOKENS)
        float_tile(RAD_TYPE_F32, FLOAT_ROWS, FLOAT_TOKENS, weights, row_bytes,
                   x + t * (size_t)n_columns, n_columns, y + t * y_stride, y_stride);
    for (; t < n_tokens; t++)
        float_tile(RAD_TYPE_F32, FLOAT_ROWS, 1, weights, row_bytes, x + t * (size_t)n_columns,
                   n_columns, y + t * y_stride, y_stride);
}

static void float_rows_1(const uint8_t *weights, const float *x, uint32_t n_tokens,
                         uint32_t n_columns, float *y, size_t y_stride)
{
    for (uint32_t t = 0; t < n_tokens; t++)
        float_tile(RAD_TYPE_F32, 1, 1, weights, 0, x + t * (size_t)n_columns, n_columns,
                   y + t * y_stride, y_stride);
}

static void product_float(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                          uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                          size_t y_stride, float *scratch)
{
    uint32_t n_columns = w->n_columns;
    if (last_token - first_token == 1) {
        const float *values = x->values + first_token * (size_t)n_columns;
        float *out = y + first_token * y_stride;
        if (w->type == RAD_TYPE_F32)
            single_token_f32(w, values, first_row, last_row, out);
        else if (w->type == RAD_TYPE_F16)
            single_token_f16(w, values, first_row, last_row, out);
        else
            single_token_bf16(w, values, first_row, last_row, out);
        return;
    }
    for (uint32_t token = first_token; token < last_token; token += FLOAT_TOKEN_BLOCK) {
        uint32_t n =
            last_token - token < FLOAT_TOKEN_BLOCK ? last_token - token : FLOAT_TOKEN_BLOCK;
        const float *values = x->values + token * (size_t)n_columns;
        for (uint32_t row = first_row; row < last_row;) {
            uint32_t n_rows = last_row - row < FLOAT_ROWS ? 1 : FLOAT_ROWS;
            const uint8_t *weights = widen_rows(w, row, n_rows, scratch);
            float *out = y + token * y_stride + row;
            if (n_rows == FLOAT_ROWS)
                float_rows_3(weights, n_columns * sizeof(float), values, n, n_columns, out,
                             y_stride);
            else
                float_rows_1(weights, values, n, n_columns, out, y_stride);
            row += n_rows;
        }
    }
}

#endif
