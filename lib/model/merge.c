#include "model/merge.h"

#include <math.h>
#include <string.h>

#include "model/fill.h"
#include "model/merge_columns.h"

/* Whether a weight is one of a layer's: the others stand alone before and behind them. */
static bool is_of_layer(const rad_model *model, const rad_weight *weight)
{
    uintptr_t at = (uintptr_t)weight, first = (uintptr_t)model->layers;
    return at >= first && at < first + model->hparams.n_layers * sizeof *model->layers;
}

/* Which pair of an adapter changes a weight, or one expert's rows of it; *lookup: as an embedding.
 */
static const rad_adapter_pair *pair_of(const rad_model *model, const rad_adapter_use *use,
                                       const rad_weight *weight, uint32_t expert, bool *lookup)
{
    *lookup = weight == &model->embedding;
    if (!*lookup && weight != &model->output && !is_of_layer(model, weight))
        return NULL; /* norms and tables before and behind the layers */
    uint32_t slot = rad_adapter_slot(model, weight) + (weight->by_head ? 0 : expert);
    return rad_adapter_find(use->adapter, slot);
}

/* The tensor that takes a weight's place, of the last adapter that has one. */
static const rad_adapter_whole *whole_of(const rad_model *model, const rad_weight *weight,
                                         const rad_source **source)
{
    const rad_adapter_whole *found = NULL;
    for (uint32_t i = 0; i < model->merged.n; i++) {
        const rad_adapter *adapter = model->merged.uses[i].adapter;
        for (uint32_t k = 0; k < adapter->n_wholes; k++) {
            const rad_adapter_whole *whole = &adapter->wholes[k];
            if (weight >= whole->weight && weight < whole->weight + whole->n) {
                found = whole;
                *source = adapter->source;
            }
        }
    }
    return found;
}

static radllm_status check_encoder(const rad_model *model, const rad_weight *weight,
                                   radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)weight->matrix.type);
    if (weight->matrix.n_rows == 0 ||
        (info->encode != NULL && weight->scale == 1.0f && weight->scales == NULL))
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: tensor %s is of type %s, which this version does not write, so that no "
                    "adapter can be merged into it: merge it into a file of another type "
                    "(radllm-convert --lora ADAPTER --type BF16), or leave adapter_merge out",
                    rad_source_label(model->source), weight->tensor->name.data, info->name);
}

/* Matrices of a weight, experts' or heads'. */
static uint32_t n_experts_of(const rad_weight *weight)
{
    return weight->matrix.n_rows == 0 ? 1 : weight->n_experts;
}

static radllm_status mark_weight(rad_model *model, rad_weight *weight, void *data,
                                 radllm_error *error)
{
    (void)data;
    (void)error;
    const rad_source *source;
    weight->merged = whole_of(model, weight, &source) != NULL;
    uint32_t n_experts = n_experts_of(weight);
    for (uint32_t i = 0; i < model->merged.n * n_experts && !weight->merged; i++) {
        bool lookup;
        const rad_adapter_use *use = &model->merged.uses[i / n_experts];
        weight->merged = pair_of(model, use, weight, i % n_experts, &lookup) != NULL;
    }
    return RADLLM_OK;
}

static radllm_status check_weight(rad_model *model, rad_weight *weight, void *data,
                                  radllm_error *error)
{
    (void)data;
    return weight->merged ? check_encoder(model, weight, error) : RADLLM_OK;
}

bool rad_merge_unties(const rad_model *model)
{
    bool changed = false;
    for (uint32_t i = 0; i < model->adapters.n; i++) {
        const rad_adapter *adapter = model->adapters.uses[i].adapter;
        changed = changed ||
                  rad_adapter_find(adapter, rad_adapter_slot(model, &model->embedding)) != NULL ||
                  rad_adapter_find(adapter, rad_adapter_slot(model, &model->output)) != NULL;
        for (uint32_t k = 0; k < adapter->n_wholes; k++)
            changed = changed || adapter->wholes[k].weight == &model->embedding ||
                      adapter->wholes[k].weight == &model->output;
    }
    return changed && model->output.tensor == NULL && !model->hparams.architecture->encoder;
}

radllm_status rad_merge_mark(rad_model *model, radllm_error *error)
{
    model->merged = model->adapters;
    model->adapters.n = 0;
    for (uint32_t i = 0; i < model->merged.n; i++) {
        const rad_adapter *adapter = model->merged.uses[i].adapter;
        if (adapter->n_wholes > 0 && model->merged.uses[i].scale != 1.0f)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "%s: the adapter holds whole tensors (modules_to_save), which have no "
                            "scale: use it with the scale 1",
                            rad_source_label(adapter->source));
    }
    return rad_for_each_weight(model, mark_weight, NULL, error);
}

radllm_status rad_merge_prepare(rad_model *model, radllm_error *error)
{
    if (rad_merge_unties(model))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: an adapter changes the embedding or the output, which are one matrix "
                        "in this model: merge it into a file (radllm-convert --lora), or leave "
                        "adapter_merge out",
                        rad_source_label(model->source));
    radllm_status status = rad_merge_mark(model, error);
    if (status == RADLLM_OK)
        status = rad_for_each_weight(model, check_weight, NULL, error);
    model->behind = model->behind && model->merged.n == 0; /* rows in the file are others */
    return status == RADLLM_OK ? rad_model_place(model, error) : status;
}

/* Row `row` of a matrix of floats. */
static void decode(const rad_matrix *matrix, uint32_t row, float *out)
{
    rad_matrix_decode_row(matrix, row, out);
}

/* The rows [rank][columns] that are added up: A, from row `first` on, or the transpose of B. */
static void decode_terms(const rad_adapter_pair *pair, uint32_t first, bool lookup, float *terms,
                         float *row)
{
    uint32_t rank = pair->b.n_columns, columns = lookup ? pair->b.n_rows : pair->a.n_columns;
    for (uint32_t k = 0; !lookup && k < rank; k++)
        decode(&pair->a, first + k, terms + (size_t)k * columns);
    for (uint32_t i = 0; lookup && i < columns; i++) {
        decode(&pair->b, i, row);
        for (uint32_t k = 0; k < rank; k++)
            terms[(size_t)k * columns + i] = row[k];
    }
}

typedef struct merger {
    float *terms, *factors, *values; /* values: all rows */
    float *own, *row;                /* DoRA: all rows as the model has them, and room for one */
    uint32_t first, n, columns;      /* rows of a matrix: of one expert or head, where they are */
    uint32_t rows, base;             /* all of it, and where it begins in pairs of more rows */
    uint32_t head;                   /* which one; 0 of all others */
} merger;

/* Adds the product of row `row` of B, which is in m->factors, and A to a row. */
static void add_product(const merger *m, uint32_t rank, float by, float *values)
{
    for (uint32_t k = 0; k < rank; k++) {
        const float *term = m->terms + (size_t)k * m->columns;
        float factor = by * m->factors[k];
        for (uint32_t i = 0; i < m->columns; i++)
            values[i] = fmaf(factor, term[i], values[i]);
    }
}

/* What a row is multiplied with to get its length: that of the model's own row and this product
 * alone is 1, whatever else is added. */
static float length_factor(const merger *m, const rad_adapter_pair *pair, uint32_t first,
                           uint32_t r, float by)
{
    double sum = 0.0;
    float length;
    memcpy(m->row, m->own + (size_t)r * m->columns, m->columns * sizeof *m->row);
    add_product(m, pair->b.n_columns, by, m->row);
    for (uint32_t i = 0; i < m->columns; i++)
        sum += (double)m->row[i] * (double)m->row[i];
    decode(&pair->lengths, first + r, &length);
    return sum > 0.0 ? (float)((double)length / sqrt(sum)) : 0.0f;
}

static radllm_status add_pair(const merger *m, const rad_model *model, const rad_weight *weight,
                              const rad_adapter_pair *pair, float by, radllm_error *error)
{
    const bool lookup = weight == &model->embedding;
    const bool columns = rad_adapter_has_columns(model, weight, pair);
    uint32_t rank = pair->b.n_columns;
    uint32_t first = m->first + (pair->b.n_rows > m->rows ? m->base : 0);
    decode_terms(pair, pair->a.n_rows > rank ? m->head * rank : 0, lookup, m->terms, m->factors);
    radllm_status status =
        columns ? rad_merge_columns(model, weight, pair, m->head, by, m->row, error) : RADLLM_OK;
    for (uint32_t r = 0; r < m->n && status == RADLLM_OK; r++) {
        float *values = m->values + (size_t)r * m->columns;
        decode(lookup ? &pair->a : &pair->b, first + r, m->factors);
        add_product(m, pair->b.n_columns, by, values);
        if (pair->lengths.n_rows == 0)
            continue;
        float factor = columns ? 1.0f : length_factor(m, pair, first, r, by);
        for (uint32_t i = 0; i < m->columns; i++)
            values[i] *= columns ? m->row[i] : factor;
    }
    return status;
}

/* Numbers first..first+n-1 of a whole tensor as floats. */
static radllm_status read_whole(const rad_model *model, const rad_source *source,
                                const rad_adapter_whole *whole, uint64_t first, size_t n,
                                float *values, radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)whole->tensor->type);
    size_t bytes = n * info->block_bytes;
    uint8_t *raw = rad_alloc(&model->host.allocator, bytes);
    if (raw == NULL)
        return rad_fail_memory(error, bytes);
    radllm_status status =
        rad_source_read_tensor(source, whole->tensor, first * info->block_bytes, raw, bytes, error);
    if (status == RADLLM_OK)
        info->decode(raw, values, n);
    for (size_t i = 0; i < n && status == RADLLM_OK && whole->less_one; i++)
        values[i] += 1.0f;
    rad_free(&model->host.allocator, raw, bytes);
    return status;
}

radllm_status rad_merge_vector(const rad_model *model, const rad_weight *weight, float *values,
                               radllm_error *error)
{
    const rad_source *source = NULL;
    const rad_adapter_whole *whole = whole_of(model, weight, &source);
    return whole == NULL ? RADLLM_OK
                         : read_whole(model, source, whole, weight->first, (size_t)weight->n_values,
                                      values, error);
}

/* The same for rows that are all the weight's. */
static radllm_status merge_part(const rad_model *model, const rad_weight *weight, uint64_t first,
                                size_t n, float *values, radllm_error *error)
{
    const rad_source *source = NULL;
    const rad_adapter_whole *whole = whole_of(model, weight, &source);
    size_t columns = rad_weight_inputs(weight), rank = 0;
    radllm_status status = RADLLM_OK;
    if (whole != NULL)
        status = read_whole(model, source, whole, first, n, values, error);
    if (status != RADLLM_OK || weight->matrix.n_rows == 0)
        return status;
    const uint32_t rows = rad_weight_rows(weight);
    bool lengths = false;
    for (uint32_t i = 0; i < model->merged.n; i++) {
        const rad_adapter *adapter = model->merged.uses[i].adapter;
        rank = adapter->rank > rank ? adapter->rank : rank;
        lengths = lengths || adapter->lengths;
    }
    size_t bytes = (rank * columns + rank + 1 + (lengths ? columns + n : 0)) * sizeof(float);
    float *terms = rad_alloc(&model->host.allocator, bytes);
    if (terms == NULL)
        return rad_fail_memory(error, bytes);
    merger m = {.values = values,
                .columns = (uint32_t)columns,
                .rows = rows,
                .terms = terms,
                .factors = terms + rank * columns};
    m.row = m.factors + rank + 1;
    m.own = m.row + columns;
    if (lengths)
        memcpy(m.own, values, n * sizeof *values);
    uint32_t row = (uint32_t)(first / columns - weight->first);
    uint32_t end = row + (uint32_t)(n / columns);
    for (; row < end && status == RADLLM_OK;
         row += m.n, m.values += m.n * columns, m.own += m.n * columns) {
        uint32_t expert = row / rows;
        m.first = row % rows;
        m.head = weight->by_head ? expert : 0;
        m.base = weight->by_head ? expert * rows : (uint32_t)weight->first;
        m.n = end - row < rows - m.first ? end - row : rows - m.first;
        for (uint32_t i = 0; i < model->merged.n && status == RADLLM_OK; i++) {
            bool lookup;
            const rad_adapter_use *use = &model->merged.uses[i];
            const rad_adapter_pair *pair = pair_of(model, use, weight, expert, &lookup);
            if (pair != NULL)
                status = add_pair(&m, model, weight, pair,
                                  (float)(pair->scale * (double)use->scale), error);
        }
    }
    rad_free(&model->host.allocator, terms, bytes);
    return status;
}

/* Whether a weight has some of the rows of its tensor, side by side with others'. */
static bool is_part(const rad_model *model, const rad_weight *weight)
{
    return is_of_layer(model, weight) && weight->matrix.n_rows > 0 && weight->n_experts == 1 &&
           weight->matrix.n_rows < weight->tensor->dims[1];
}

radllm_status rad_merge_numbers(const rad_model *model, const rad_weight *weight, uint64_t first,
                                size_t n, float *values, radllm_error *error)
{
    if (!is_part(model, weight))
        return merge_part(model, weight, first, n, values, error);
    radllm_status status = RADLLM_OK;
    const uint64_t columns = rad_weight_inputs(weight), last = first + n;
    const rad_weight *part = weight;
    while (part[-1].tensor == weight->tensor) /* the first role of a layer is none of these */
        part--;
    for (; part->tensor == weight->tensor && status == RADLLM_OK; part++) {
        uint64_t begin = part->first * columns, end = begin + part->matrix.n_rows * columns;
        begin = begin > first ? begin : first;
        end = end < last ? end : last;
        if (begin < end)
            status = merge_part(model, part, begin, (size_t)(end - begin), values + (begin - first),
                                error);
    }
    return status;
}

radllm_status rad_merge_rows(const rad_model *model, const rad_weight *weight, uint32_t first,
                             uint32_t n, uint8_t *rows, radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)weight->matrix.type);
    size_t columns = weight->matrix.n_columns, bytes = (size_t)n * columns * sizeof(float);
    size_t row_bytes = columns / info->block_elements * info->block_bytes;
    float *values = rad_alloc(&model->host.allocator, bytes);
    if (values == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t r = 0; r < n; r++)
        info->decode(rows + r * row_bytes, values + r * columns, columns);
    radllm_status status = rad_merge_numbers(model, weight, (weight->first + first) * columns,
                                             (size_t)n * columns, values, error);
    for (uint32_t r = 0; r < n && status == RADLLM_OK; r++)
        info->encode(values + r * columns, NULL, rows + r * row_bytes, columns);
    rad_free(&model->host.allocator, values, bytes);
    return status;
}

void rad_merge_finish(rad_model *model)
{
    for (uint32_t i = 0; i < model->merged.n; i++)
        rad_adapter_forget_numbers(model->merged.uses[i].adapter);
}
