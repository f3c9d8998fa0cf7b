/* What of a weight stands where on the device, and how many bytes it takes. */
#include "backend/cuda/cuda.h"

static uint64_t row_bytes(const rad_weight *weight)
{
    return rad_matrix_bytes(weight->matrix.type, RAD_LAYOUT_FILE, 1, weight->matrix.n_columns);
}

/* Of the first n_rows rows of a matrix; plain numbers stand as in the file. */
static uint64_t stored_bytes(const rad_weight *weight, uint64_t n_rows)
{
    return rad_cuda_form_of(weight->matrix.type) != NULL
               ? rad_cuda_matrix_bytes(weight->matrix.type, n_rows, weight->matrix.n_columns)
               : n_rows * row_bytes(weight);
}

uint64_t rad_cuda_expert_bytes(const rad_weight *weight)
{
    return stored_bytes(weight, rad_weight_rows(weight));
}

static uint64_t scales_bytes(const rad_weight *weight)
{
    if (weight->scales != NULL)
        return weight->n_experts * sizeof(float);
    return weight->scale != 1.0f ? sizeof(float) : 0;
}

uint32_t rad_cuda_orders(const rad_cuda_library *library, const rad_weight *weight)
{
    uint32_t n = weight->parts == NULL ? 1 : weight->n_experts;
    for (uint32_t e = 0; e < n; e++)
        if (library->weight_columns(weight, e) != NULL)
            return n;
    return 0;
}

/* Of one order. */
static uint64_t columns_bytes(const rad_weight *weight)
{
    return (uint64_t)weight->matrix.n_columns * sizeof(uint32_t);
}

uint64_t rad_cuda_weight_bytes(const rad_cuda_library *library, const rad_weight *weight)
{
    if (weight->matrix.n_rows == 0)
        return rad_cuda_aligned(weight->n_values * sizeof(float));
    return rad_cuda_aligned(weight->n_experts * rad_cuda_expert_bytes(weight)) +
           rad_cuda_aligned(scales_bytes(weight)) +
           rad_cuda_aligned(rad_cuda_orders(library, weight) * columns_bytes(weight));
}

/* ---- stretches ------------------------------------------------------------------------------- */

uint64_t rad_cuda_sent_row_bytes(const rad_weight *weight)
{
    const rad_cuda_form *form = rad_cuda_form_of(weight->matrix.type);
    if (form == NULL || !rad_cuda_is_recoded(weight->matrix.type))
        return row_bytes(weight);
    return (uint64_t)weight->matrix.n_columns / form->block_elements * form->block_bytes;
}

void rad_cuda_place_weight(rad_cuda_backend *b, const rad_weight *weight, uint8_t *to)
{
    rad_cuda_weight *there = &b->weights[weight->order];
    if (weight->matrix.n_rows == 0) {
        there->values = (const float *)(const void *)to;
        return;
    }
    there->data = to;
    to += rad_cuda_aligned(weight->n_experts * rad_cuda_expert_bytes(weight));
    if (scales_bytes(weight) > 0)
        there->scales = (const float *)(const void *)to;
    to += rad_cuda_aligned(scales_bytes(weight));
    if (rad_cuda_orders(b->library, weight) > 0)
        there->columns = (const uint32_t *)(const void *)to;
}

/* Numbers of 32 bits, as they stand in memory. */
static rad_cuda_stretch numbers(const void *from, uint64_t bytes, const void *to)
{
    return (rad_cuda_stretch){.from = from,
                              .to = (uint8_t *)(uintptr_t)to,
                              .n = bytes / 4,
                              .file_row_bytes = 4,
                              .sent_row_bytes = 4};
}

static rad_cuda_stretch expert_rows(const rad_cuda_backend *b, const rad_weight *weight,
                                    uint32_t expert)
{
    const rad_cuda_weight *there = rad_cuda_weight_of(b, weight);
    uint64_t n = rad_weight_rows(weight);
    rad_cuda_stretch rows = {.weight = weight,
                             .form = rad_cuda_form_of(weight->matrix.type),
                             .to = (uint8_t *)(uintptr_t)there->data +
                                   expert * rad_cuda_expert_bytes(weight),
                             .first = expert * n,
                             .n = n,
                             .file_row_bytes = row_bytes(weight),
                             .sent_row_bytes = rad_cuda_sent_row_bytes(weight)};
    if (weight->matrix.layout == RAD_LAYOUT_FILE && b->library->model_is_ready(b->model, weight))
        rows.from = rad_weight_expert_data(weight, expert);
    return rows;
}

bool rad_cuda_find_stretch(const rad_cuda_backend *b, const rad_weight *weight, uint32_t index,
                           rad_cuda_stretch *out)
{
    const rad_cuda_weight *there = rad_cuda_weight_of(b, weight);
    if (weight->matrix.n_rows == 0) {
        *out = numbers(weight->values, weight->n_values * sizeof(float), there->values);
        return index == 0;
    }
    if (index < weight->n_experts) {
        *out = expert_rows(b, weight, index);
        return true;
    }
    if (index == weight->n_experts) {
        *out = numbers(weight->scales != NULL ? weight->scales : &weight->scale,
                       scales_bytes(weight), there->scales);
        return true;
    }
    uint32_t order = index - weight->n_experts - 1; /* 0, 1, 2, ... where an expert has none */
    if (order >= rad_cuda_orders(b->library, weight))
        return false;
    *out = numbers(b->library->weight_columns(weight, order), columns_bytes(weight),
                   there->columns + (uint64_t)order * weight->matrix.n_columns);
    return true;
}

rad_cuda_stretch rad_cuda_cut(rad_cuda_stretch *rest, uint64_t n)
{
    rad_cuda_stretch cut = *rest;
    cut.n = n;
    rest->n -= n;
    rest->first += n;
    if (rest->from != NULL)
        rest->from += n * rest->file_row_bytes;
    rest->to += rest->weight != NULL ? stored_bytes(rest->weight, n) : n * rest->sent_row_bytes;
    return cut;
}
