#include "quantize/shape.h"

#include <string.h>

#include "io/derived.h"
#include "model/bind.h"

typedef struct shaper {
    rad_source *to;
    const rad_file_type *type;
    rad_mixture_model model;
    int64_t ranks[RAD_MIXTURE_LISTS]; /* tensors of each list so far */
} shaper;

static radllm_status add_shape(void *user, const char *name, uint32_t n_dims,
                               const uint64_t dims[4], radllm_error *error)
{
    shaper *s = user;
    rad_tensor tensor = {.name = {name, strlen(name)}, .n_dims = n_dims, .n_elements = 1};
    memcpy(tensor.dims, dims, sizeof tensor.dims);
    for (int i = 0; i < 4; i++) /* bounds of hyper-parameters keep it small enough */
        tensor.n_elements *= dims[i];
    rad_type type = RAD_TYPE_F32;
    int list = rad_mixture_list(&tensor);
    int64_t rank = list < 0 ? 0 : s->ranks[list]++;
    if (rad_mixture_applies(&tensor))
        type = rad_mixture_fitting(rad_mixture_type(s->type, &s->model, &tensor, rank), dims[0]);
    return rad_derived_add_shape(s->to, name, type, n_dims, dims, error);
}

static radllm_status count_shape(void *user, const char *name, uint32_t n_dims,
                                 const uint64_t dims[4], radllm_error *error)
{
    rad_tensor tensor = {.name = {name, strlen(name)}};
    (void)n_dims;
    (void)dims;
    (void)error;
    ((shaper *)user)->model.n_values += rad_mixture_makes_values(&tensor);
    return RADLLM_OK;
}

static radllm_status copy_metadata(const rad_source *from, rad_source *to, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < rad_source_n_meta(from) && status == RADLLM_OK; i++)
        status = rad_derived_add_meta(to, rad_source_meta(from, i), error);
    return status;
}

static radllm_status fill(const rad_host *host, rad_source *from, shaper *s, radllm_error *error)
{
    rad_arena arena = {.allocator = &host->allocator};
    rad_tokenizer *tokenizer = NULL;
    rad_hparams h;
    bool tied = rad_source_is_tied(from);
    radllm_status status = rad_tokenizer_create(host, from, &tokenizer, error);
    if (status == RADLLM_OK)
        status = rad_hparams_read(from, rad_tokenizer_size(tokenizer), &arena, &h, error);
    if (status == RADLLM_OK)
        status = rad_mixture_model_read(from, false, &s->model, error);
    s->model.is_tied = tied;
    if (status == RADLLM_OK)
        status = rad_bind_list(&h, tied, count_shape, s, error);
    if (status == RADLLM_OK)
        status = copy_metadata(from, s->to, error);
    if (status == RADLLM_OK)
        status = rad_bind_list(&h, tied, add_shape, s, error);
    if (status == RADLLM_OK)
        status = rad_derived_finish(s->to, error);
    rad_tokenizer_free(tokenizer);
    rad_arena_free(&arena);
    return status;
}

radllm_status rad_shape_make(const rad_host *host, const char *path, const rad_file_type *type,
                             rad_source **out, radllm_error *error)
{
    rad_source *from = NULL;
    shaper s = {.type = type};
    if (type->copy)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "a configuration without weights has no types to keep: name one (option "
                        "quantize)");
    radllm_status status = rad_shape_open(host, path, &from, error);
    if (status == RADLLM_OK)
        status = rad_derived_new(from, &s.to, error);
    if (status == RADLLM_OK)
        status = fill(host, from, &s, error);
    rad_source_release(from); /* the other one keeps it */
    if (status == RADLLM_OK)
        *out = s.to;
    else
        rad_source_release(s.to);
    return status;
}
