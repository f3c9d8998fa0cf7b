#include "quantize/merged.h"

#include <string.h>

#include "io/derived.h"
#include "model/fill.h"
#include "model/merge.h"

/* What changes one tensor. */
typedef struct change {
    const rad_model *model;
    const rad_weight *weight; /* one of those that are rows of it; NULL: it stays */
    uint64_t first;           /* where experts have tensors of their own: its first number */
} change;

struct rad_merged {
    rad_allocator allocator;
    rad_model *model;
    change *changes; /* of each tensor of the source; then of an output that becomes one */
    size_t n;
    bool unties;
};

static radllm_status apply(void *user, uint64_t first, size_t n, float *values, radllm_error *error)
{
    const change *c = user;
    return rad_merge_numbers(c->model, c->weight, c->first + first, n, values, error);
}

static radllm_status note_weight(rad_model *model, rad_weight *weight, void *data,
                                 radllm_error *error)
{
    rad_merged *merged = data;
    (void)error;
    uint32_t n = weight->parts != NULL ? weight->n_experts : 1;
    for (uint32_t i = 0; weight->merged && i < n; i++) {
        const rad_tensor *tensor = weight->parts != NULL ? weight->parts[i].tensor : weight->tensor;
        bool untied = merged->unties && weight == &model->output;
        size_t at = untied ? merged->n : rad_source_tensor_index(model->source, tensor);
        merged->changes[at] = (change){model, weight, i * tensor->n_elements};
    }
    return RADLLM_OK;
}

radllm_status rad_quantize_bind(const rad_host *host, rad_source *source, rad_model **out,
                                radllm_error *error)
{
    const rad_model_settings plain = {.file_layout = true, .any_isa = true, .wait = RAD_WAIT_YES};
    return rad_model_bind(host, source, &plain, out, error);
}

/* The model without its weights, and the adapters bound to it. */
static radllm_status bind(const rad_host *host, const rad_quantize_settings *settings,
                          rad_source *source, rad_merged *merged, radllm_error *error)
{
    radllm_status status = rad_quantize_bind(host, source, &merged->model, error);
    if (status == RADLLM_OK)
        status = settings->adapters(settings->adapters_user, merged->model, error);
    merged->unties = status == RADLLM_OK && rad_merge_unties(merged->model);
    if (merged->unties)
        merged->model->output = merged->model->embedding;
    if (status == RADLLM_OK)
        status = rad_merge_mark(merged->model, error);
    return status == RADLLM_OK ? rad_for_each_weight(merged->model, note_weight, merged, error)
                               : status;
}

static radllm_status fill(rad_source *from, rad_merged *merged, rad_source *to, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < rad_source_n_meta(from) && status == RADLLM_OK; i++)
        status = rad_derived_add_meta(to, rad_source_meta(from, i), error);
    size_t n = merged->n + (merged->unties ? 1 : 0);
    for (size_t i = 0; i < n && status == RADLLM_OK; i++) {
        const rad_tensor *own =
            i < merged->n ? rad_source_tensor(from, i) : merged->model->embedding.tensor;
        rad_derived_tensor tensor = {.name = i < merged->n ? own->name.data : "output.weight",
                                     .n_dims = own->n_dims,
                                     .from = &own,
                                     .n_from = 1,
                                     .change = merged->changes[i].weight != NULL ? apply : NULL,
                                     .user = &merged->changes[i]};
        memcpy(tensor.dims, own->dims, sizeof tensor.dims);
        status = rad_derived_add_tensor(to, &tensor, error);
    }
    return status == RADLLM_OK ? rad_derived_finish(to, error) : status;
}

radllm_status rad_merged_make(const rad_host *host, const rad_quantize_settings *settings,
                              rad_source **source, rad_merged **out, radllm_error *error)
{
    size_t n = (size_t)rad_source_n_tensors(*source), bytes = (n + 1) * sizeof(change);
    rad_merged *merged = rad_alloc_zero(&host->allocator, sizeof *merged);
    if (merged == NULL)
        return rad_fail_memory(error, sizeof *merged);
    *merged = (rad_merged){.allocator = host->allocator, .n = n};
    rad_source *to = NULL;
    merged->changes = rad_alloc_zero(&host->allocator, bytes);
    radllm_status status = merged->changes != NULL ? RADLLM_OK : rad_fail_memory(error, bytes);
    if (status == RADLLM_OK)
        status = bind(host, settings, *source, merged, error);
    if (status == RADLLM_OK)
        status = rad_derived_new(*source, &to, error);
    if (status == RADLLM_OK)
        status = fill(*source, merged, to, error);
    if (status == RADLLM_OK) {
        rad_source_release(*source); /* the new one keeps it */
        *source = to;
        *out = merged;
    } else {
        rad_source_release(to);
        rad_merged_free(merged);
    }
    return status;
}

void rad_merged_free(rad_merged *merged)
{
    if (merged == NULL)
        return;
    rad_allocator allocator = merged->allocator;
    rad_model_free(merged->model);
    rad_free(&allocator, merged->changes, (merged->n + 1) * sizeof(change));
    rad_free(&allocator, merged, sizeof *merged);
}
