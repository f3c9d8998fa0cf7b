#include "quantize/scaled.h"

#include <string.h>

#include "io/derived.h"
#include "model/fill.h"

typedef struct scaled {
    const rad_weight **weights; /* of each tensor that has a scale; NULL: it stays */
    bool *left_out;             /* tensors that are scales */
    bool any;
} scaled;

static radllm_status apply(void *user, uint64_t first, size_t n, float *values, radllm_error *error)
{
    const rad_weight *weight = user;
    uint64_t matrix = weight->tensor->dims[0] * weight->tensor->dims[1];
    (void)error;
    for (size_t i = 0; i < n; i++)
        values[i] *= weight->scales != NULL ? weight->scales[(first + i) / matrix] : weight->scale;
    return RADLLM_OK;
}

static radllm_status note_weight(rad_model *model, rad_weight *weight, void *data,
                                 radllm_error *error)
{
    scaled *s = data;
    (void)error;
    if (weight->scale_tensor == NULL || weight->parts != NULL)
        return RADLLM_OK;
    s->weights[rad_source_tensor_index(model->source, weight->tensor)] = weight;
    s->left_out[rad_source_tensor_index(model->source, weight->scale_tensor)] = s->any = true;
    return RADLLM_OK;
}

static radllm_status fill(const rad_source *from, const scaled *s, rad_source *to,
                          radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < rad_source_n_meta(from) && status == RADLLM_OK; i++)
        status = rad_derived_add_meta(to, rad_source_meta(from, i), error);
    for (uint64_t i = 0; i < rad_source_n_tensors(from) && status == RADLLM_OK; i++) {
        const rad_tensor *own = rad_source_tensor(from, i);
        const rad_weight *weight = s->weights[i];
        rad_derived_tensor tensor = {.name = own->name.data,
                                     .n_dims = own->n_dims,
                                     .from = &own,
                                     .n_from = 1,
                                     .change = weight != NULL ? apply : NULL,
                                     .user = (void *)(uintptr_t)weight};
        memcpy(tensor.dims, own->dims, sizeof tensor.dims);
        /* Of activations: this library, which does not need it, is not alone in that. */
        if (!s->left_out[i] && !rad_ends_with(own->name.data, own->name.size, ".input_scale"))
            status = rad_derived_add_tensor(to, &tensor, error);
    }
    return status == RADLLM_OK ? rad_derived_finish(to, error) : status;
}

radllm_status rad_scaled_make(rad_model *model, rad_arena *arena, rad_source **out,
                              radllm_error *error)
{
    size_t n = (size_t)rad_source_n_tensors(model->source), bytes = n * sizeof(rad_weight *);
    scaled s = {.weights = rad_arena_alloc_zero(arena, bytes + 1, _Alignof(rad_weight *)),
                .left_out = rad_arena_alloc_zero(arena, n + 1, 1)};
    rad_source *to = NULL;
    *out = NULL;
    if (s.weights == NULL || s.left_out == NULL)
        return rad_fail_memory(error, bytes);
    radllm_status status = rad_for_each_weight(model, note_weight, &s, error);
    if (status != RADLLM_OK || !s.any)
        return status;
    status = rad_derived_new(model->source, &to, error);
    if (status == RADLLM_OK)
        status = fill(model->source, &s, to, error);
    if (status == RADLLM_OK)
        *out = to;
    else
        rad_source_release(to);
    return status;
}
