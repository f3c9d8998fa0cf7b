/* Matrix products in plain C; kernels.h defines their arithmetic. Each weight block is taken apart
 * once and multiplied with every token of the range, so that one code path serves all formats and
 * both layouts. */
#include "kernels/cpu/scalar/scalar.h"

#include "kernels/cpu/unpacked.h"

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
            unpacked_product(w, info, x, row, first_token, last_token, y, y_stride);
    }
}
