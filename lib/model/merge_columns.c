#include "model/merge_columns.h"

#include <math.h>

typedef struct room {
    double *sums; /* of squares */
    float *terms; /* A of the head: [rank][columns] */
    float *factors, *row;
    uint8_t *stored; /* all rows of the head, as the file has them */
    size_t row_bytes;
} room;

/* Adds up the squares of a row, with the product. */
static void add_row(const room *m, const rad_adapter_pair *pair, uint32_t row, float by)
{
    const uint32_t rank = pair->b.n_columns, columns = pair->a.n_columns;
    rad_matrix_decode_row(&pair->b, row, m->factors);
    for (uint32_t k = 0; k < rank; k++) {
        const float *term = m->terms + (size_t)k * columns;
        for (uint32_t i = 0; i < columns; i++)
            m->row[i] = fmaf(by * m->factors[k], term[i], m->row[i]);
    }
    for (uint32_t i = 0; i < columns; i++)
        m->sums[i] += (double)m->row[i] * (double)m->row[i];
}

static radllm_status add_up(const rad_model *model, const rad_weight *weight,
                            const rad_adapter_pair *pair, uint32_t head, float by, const room *m,
                            radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)weight->tensor->type);
    const uint32_t rank = pair->b.n_columns, columns = pair->a.n_columns, rows = pair->b.n_rows;
    const uint64_t first = (weight->first + (uint64_t)head * rows) * m->row_bytes;
    radllm_status status = rad_source_read_tensor(model->source, weight->tensor, first, m->stored,
                                                  rows * m->row_bytes, error);
    for (uint32_t k = 0; k < rank && status == RADLLM_OK; k++)
        rad_matrix_decode_row(&pair->a, head * rank + k, m->terms + (size_t)k * columns);
    for (uint32_t r = 0; r < rows && status == RADLLM_OK; r++) {
        info->decode(m->stored + r * m->row_bytes, m->row, columns);
        add_row(m, pair, r, by);
    }
    return status;
}

radllm_status rad_merge_columns(const rad_model *model, const rad_weight *weight,
                                const rad_adapter_pair *pair, uint32_t head, float by, float *out,
                                radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)weight->tensor->type);
    const size_t columns = pair->a.n_columns, rank = pair->b.n_columns;
    const size_t floats = (rank + 1) * columns + rank;
    room m = {.row_bytes = columns / info->block_elements * info->block_bytes};
    const size_t bytes =
        columns * sizeof(double) + floats * sizeof(float) + pair->b.n_rows * m.row_bytes;
    m.sums = rad_alloc_zero(&model->host.allocator, bytes);
    if (m.sums == NULL)
        return rad_fail_memory(error, bytes);
    m.terms = (float *)(void *)(m.sums + columns);
    m.row = m.terms + rank * columns;
    m.factors = m.row + columns;
    m.stored = (uint8_t *)(m.factors + rank);
    radllm_status status = add_up(model, weight, pair, head, by, &m, error);
    for (uint32_t i = 0; i < columns && status == RADLLM_OK; i++) {
        rad_matrix_decode_row(&pair->lengths, head * (uint32_t)columns + i, &out[i]);
        out[i] = m.sums[i] > 0.0 ? (float)((double)out[i] / sqrt(m.sums[i])) : 0.0f;
    }
    rad_free(&model->host.allocator, m.sums, bytes);
    return status;
}
