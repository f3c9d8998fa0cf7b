/* Matrix products in plain C and the table that they belong to; kernels.h defines their arithmetic.
 * Each weight block is taken apart once and multiplied with every token of the range, so that one
 * code path serves all formats and both layouts. Compiled once as it is and once for processors
 * with FMA, where fmaf() is an instruction and not a call: plain C is several times as fast there,
 * with the same bits. */
#ifndef RAD_SCALAR_TABLE_H
#define RAD_SCALAR_TABLE_H

#include "kernels/cpu/scalar/scalar.h"

#include "base/numeric_f32.h"
#include "kernels/cpu/tables.h"

#include "kernels/cpu/float_block.h"
#include "kernels/cpu/int8_product.h"
#include "kernels/cpu/unpacked.h"

/* Weights are widened once for a few tokens, since widening costs more than multiplying. */
enum { FLOAT_TOKENS = 8, FLOAT_LANES = 16 };

/* n weights that stand side by side, at most FLOAT_LANES; a loop for each type, which the compiler
 * can vectorise. */
static void widen_weights(rad_type type, const uint8_t *weights, uint32_t n, float *out)
{
    uint16_t halves[FLOAT_LANES];
    if (type == RAD_TYPE_F32) {
        memcpy(out, weights, n * sizeof *out);
        return;
    }
    memcpy(halves, weights, n * sizeof *halves);
    if (type == RAD_TYPE_F16) {
        for (uint32_t j = 0; j < n; j++)
            out[j] = rad_float_of_half(halves[j]);
    } else {
        for (uint32_t j = 0; j < n; j++)
            out[j] = rad_float_of_bf16(halves[j]);
    }
}

/* The n weights from `column` on, at most FLOAT_LANES; a block of weights with a scale is widened
 * where its first column is wanted. */
static void load_weights(const rad_matrix *w, const rad_type_info *info, uint32_t row,
                         uint32_t column, uint32_t n, float block[RAD_SCALED_BLOCK], float *out)
{
    size_t at = (size_t)row * w->n_columns + column;
    if (info->family == RAD_FAMILY_SCALED) {
        if (column % RAD_SCALED_BLOCK == 0)
            info->decode(w->data + at / RAD_SCALED_BLOCK * info->block_bytes, block,
                         RAD_SCALED_BLOCK);
        memcpy(out, block + column % RAD_SCALED_BLOCK, n * sizeof *out);
        return;
    }
    if (w->layout == RAD_LAYOUT_LANE)
        at = rad_float_lane_index(row, column, w->n_columns);
    widen_weights(w->type, w->data + at * info->block_bytes, n, out);
}

static void product_float(const rad_matrix *w, const rad_type_info *info, const rad_activations *x,
                          uint32_t row, uint32_t first_token, uint32_t last_token, float *y,
                          size_t y_stride)
{
    float block[RAD_SCALED_BLOCK];
    for (uint32_t t = first_token; t < last_token; t += FLOAT_TOKENS) {
        const float *values = x->values + (size_t)t * w->n_columns;
        uint32_t n_tokens = last_token - t < FLOAT_TOKENS ? last_token - t : FLOAT_TOKENS;
        float sums[FLOAT_TOKENS][FLOAT_LANES] = {{0.0f}};
        for (uint32_t i = 0; i < w->n_columns; i += FLOAT_LANES) {
            uint32_t n = w->n_columns - i < FLOAT_LANES ? w->n_columns - i : FLOAT_LANES;
            float widened[FLOAT_LANES];
            load_weights(w, info, row, i, n, block, widened);
            for (uint32_t k = 0; k < n_tokens; k++) {
                const float *of_token = values + (size_t)k * w->n_columns + i;
                if (n == FLOAT_LANES) { /* a number of steps that the compiler knows */
                    for (uint32_t j = 0; j < FLOAT_LANES; j++)
                        sums[k][j] = fmaf(widened[j], of_token[j], sums[k][j]);
                } else {
                    for (uint32_t j = 0; j < n; j++)
                        sums[k][j] = fmaf(widened[j], of_token[j], sums[k][j]);
                }
            }
        }
        for (uint32_t k = 0; k < n_tokens; k++) {
            for (uint32_t width = FLOAT_LANES / 2; width > 0; width /= 2)
                for (uint32_t i = 0; i < width; i++)
                    sums[k][i] += sums[k][i + width];
            y[(t + k) * y_stride + row] = sums[k][0];
        }
    }
}

static void product(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                    uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                    size_t y_stride, void *scratch)
{
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    (void)scratch;
    if (info == NULL || info->family == RAD_FAMILY_NONE)
        return;
    if (info->family == RAD_FAMILY_INT8) {
        product_int8_plain(w, x, first_row, last_row, first_token, last_token, y, y_stride);
        return;
    }
    for (uint32_t row = first_row; row < last_row; row++) {
        if (info->family == RAD_FAMILY_FLOAT || info->family == RAD_FAMILY_SCALED)
            product_float(w, info, x, row, first_token, last_token, y, y_stride);
        else
            unpacked_product(w, info, x, row, first_token, last_token, y, y_stride);
    }
}

const rad_kernels TABLE_NAME = {
    .isa = RAD_ISA_SCALAR,
    .name = TABLE_TEXT,
    .quantize_q8_32 = rad_quantize_q8_32_scalar,
    .quantize_q8_64 = rad_quantize_q8_64_scalar,
    .quantize_q8_256 = rad_quantize_q8_256_scalar,
    .quantize_q8_row = rad_quantize_q8_row_scalar,
    .product = product,
    .pack_lane_group = rad_pack_lane_group,
    .layer = &TABLE_LAYER,
};

#endif
