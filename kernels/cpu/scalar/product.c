/* Matrix products in plain C; kernels.h defines their arithmetic. Each weight block is taken apart
 * once and multiplied with every token of the range, so that one code path serves all formats and
 * both layouts. */
#include "kernels/cpu/scalar/scalar.h"

#include <math.h>

#include "kernels/cpu/lane.h"

static int32_t dot(const int8_t *a, const int8_t *b, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The exact integers of one block: the scaled sum of products, and the scaled sum of quants that
 * the minimum multiplies. */
static void integer_sums(const rad_type_info *info, const rad_block *block, const int8_t *q,
                         const int16_t *sums, int32_t *products, int32_t *minima)
{
    if (info->family == RAD_FAMILY_BLOCK) {
        *products = dot(block->quants, q, 32);
        *minima = sums[0] + sums[1];
        return;
    }
    uint32_t sub_block = info->family == RAD_FAMILY_SUPER_16 ? 16 : 32;
    *products = 0;
    *minima = 0;
    for (uint32_t j = 0; j < RAD_SUPER_BLOCK / sub_block; j++) {
        *products +=
            block->sub_scales[j] * dot(block->quants + j * sub_block, q + j * sub_block, sub_block);
        if (info->has_minimum)
            for (uint32_t k = j * sub_block / 16; k < (j + 1) * sub_block / 16; k++)
                *minima += block->sub_minima[j] * sums[k];
    }
}

static void product_quantized(const rad_matrix *w, const rad_type_info *info,
                              const rad_activations *x, uint32_t row, uint32_t first_token,
                              uint32_t last_token, float *y, size_t y_stride)
{
    uint32_t n_blocks = w->n_columns / info->block_elements;
    size_t row_bytes = (size_t)n_blocks * info->block_bytes;
    for (uint32_t t = first_token; t < last_token; t++)
        y[t * y_stride + row] = 0.0f;
    for (uint32_t b = 0; b < n_blocks; b++) {
        uint8_t copy[256];
        const uint8_t *bytes = copy;
        rad_block block;
        if (w->layout == RAD_LAYOUT_FILE)
            bytes = w->data + row * row_bytes + (size_t)b * info->block_bytes;
        else
            rad_lane_take_block(w->type,
                                w->data + RAD_LANE_ROWS * (row / RAD_LANE_ROWS * row_bytes +
                                                           (size_t)b * info->block_bytes),
                                row % RAD_LANE_ROWS, copy);
        info->unpack(bytes, &block);
        for (uint32_t t = first_token; t < last_token; t++) {
            size_t at = (size_t)t * w->n_columns + (size_t)b * info->block_elements;
            float scale = x->scales[(size_t)t * n_blocks + b];
            int32_t products, minima;
            float *out = &y[t * y_stride + row];
            integer_sums(info, &block, x->quants + at, x->sums + at / 16, &products, &minima);
            *out = fmaf(block.scale * scale, (float)products, *out);
            if (info->has_minimum)
                *out = fmaf(block.minimum * scale, (float)minima, *out);
        }
    }
}

static float load_weight(rad_type type, const uint8_t *row, uint32_t column)
{
    uint16_t half;
    float value;
    if (type == RAD_TYPE_F32) {
        memcpy(&value, row + 4 * (size_t)column, 4);
        return value;
    }
    memcpy(&half, row + 2 * (size_t)column, 2);
    return type == RAD_TYPE_F16 ? rad_f16_to_f32(half) : rad_bf16_to_f32(half);
}

/* Each weight is widened once for a few tokens, since widening costs more than multiplying. */
enum { FLOAT_TOKENS = 8 };

static void product_float(const rad_matrix *w, const rad_type_info *info, const rad_activations *x,
                          uint32_t row, uint32_t first_token, uint32_t last_token, float *y,
                          size_t y_stride)
{
    const uint8_t *weights = w->data + (size_t)row * w->n_columns * info->block_bytes;
    for (uint32_t t = first_token; t < last_token; t += FLOAT_TOKENS) {
        const float *values = x->values + (size_t)t * w->n_columns;
        uint32_t n_tokens = last_token - t < FLOAT_TOKENS ? last_token - t : FLOAT_TOKENS;
        float sums[FLOAT_TOKENS][16] = {{0.0f}};
        for (uint32_t i = 0; i < w->n_columns; i++) {
            float weight = load_weight(w->type, weights, i);
            for (uint32_t k = 0; k < n_tokens; k++)
                sums[k][i % 16] =
                    fmaf(weight, values[(size_t)k * w->n_columns + i], sums[k][i % 16]);
        }
        for (uint32_t k = 0; k < n_tokens; k++) {
            for (uint32_t width = 8; width > 0; width /= 2)
                for (uint32_t i = 0; i < width; i++)
                    sums[k][i] += sums[k][i + width];
            y[(t + k) * y_stride + row] = sums[k][0];
        }
    }
}

void rad_product_scalar(const rad_matrix *w, const rad_activations *x, uint32_t first_row,
                        uint32_t last_row, uint32_t first_token, uint32_t last_token, float *y,
                        size_t y_stride, void *scratch)
{
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    (void)scratch;
    if (info == NULL || info->family == RAD_FAMILY_NONE)
        return;
    for (uint32_t row = first_row; row < last_row; row++) {
        if (info->family == RAD_FAMILY_FLOAT)
            product_float(w, info, x, row, first_token, last_token, y, y_stride);
        else
            product_quantized(w, info, x, row, first_token, last_token, y, y_stride);
    }
}
