#include "io/rearrange.h"

#include <stdio.h>
#include <string.h>

#include "io/derived.h"
#include "io/families.h"
#include "io/source.h"

#define NAME_SIZE 192

typedef struct rearranger {
    rad_source *from, *to;
    const rad_rearrange_shape *shape;
    const rad_folder_family *family;
    bool *used; /* of the tensors of `from` */
    radllm_error *error;
} rearranger;

/* The first of several names. */
static int first_size(const char *names)
{
    return (int)strcspn(names, "|");
}

static radllm_status refuse(const rearranger *r, const rad_tensor *tensor, const char *why)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                    "%s: the tensor '%s' %s in a folder of the family %s; keep the GGUF file",
                    rad_source_label(r->from),
                    rad_quote(quoted, tensor->name.data, tensor->name.size), why,
                    r->family->model_type);
}

static bool is_vector(const rad_tensor *tensor)
{
    return tensor->n_elements == tensor->dims[0];
}

/* ---- forms ---------------------------------------------------------------------------------- */

static radllm_status add(const rearranger *r, const rad_derived_tensor *tensor)
{
    return rad_derived_add_tensor(r->to, tensor, r->error);
}

static rad_derived_tensor plain(const rad_tensor *const *from, const char *name)
{
    rad_derived_tensor tensor = {
        .name = name, .n_dims = (*from)->n_dims, .from = from, .n_from = 1};
    memcpy(tensor.dims, (*from)->dims, sizeof tensor.dims);
    return tensor;
}

/* Rows of queries and keys: back to halves. */
static radllm_status add_plain(const rearranger *r, const rad_tensor *from, const char *gguf,
                               const char *name)
{
    rad_derived_tensor tensor = plain(&from, name);
    bool queries = strncmp(gguf, "attn_q.", 7) == 0, keys = strncmp(gguf, "attn_k.", 7) == 0;
    if (strstr(name, "shared_expert_gate.weight") != NULL)
        tensor.n_dims = 2; /* a matrix of one row there */
    if (!r->family->halves || (!queries && !keys))
        return add(r, &tensor);
    uint64_t rows = is_vector(from) ? from->dims[0] : from->dims[1];
    uint64_t heads = queries ? r->shape->n_heads : r->shape->n_kv_heads;
    if (heads == 0 || rows % heads != 0 || rows / heads % 2 != 0)
        return refuse(r, from, "has rows that heads do not divide, which have no place");
    tensor.order = (rad_row_order){rows / heads / 2, 2, 1};
    return add(r, &tensor);
}

static radllm_status add_added(const rearranger *r, const rad_tensor *from, const char *name)
{
    rad_derived_tensor tensor = plain(&from, name);
    tensor.added = -1.0f;
    return add(r, &tensor);
}

static radllm_status add_experts(const rearranger *r, const rad_tensor *from, const char *name)
{
    const char *at = strstr(name, "%u");
    radllm_status status = RADLLM_OK;
    if (at == NULL || from->dims[2] != r->shape->n_experts)
        return refuse(r, from, "has another number of experts, which has no place");
    for (uint64_t e = 0; e < r->shape->n_experts && status == RADLLM_OK; e++) {
        char one[NAME_SIZE + 16];
        snprintf(one, sizeof one, "%.*s%u%s", (int)(at - name), name, (unsigned)e, at + 2);
        rad_derived_tensor tensor = {.name = one,
                                     .n_dims = 2,
                                     .dims = {from->dims[0], from->dims[1], 1, 1},
                                     .from = &from,
                                     .n_from = 1,
                                     .first = e * from->dims[1]};
        status = add(r, &tensor);
    }
    return status;
}

static radllm_status add_heads(const rearranger *r, const rad_tensor *from, const char *name)
{
    rad_derived_tensor tensor = plain(&from, name);
    uint64_t rows = is_vector(from) ? from->dims[0] : from->dims[1], heads = r->shape->n_heads;
    if (heads == 0 || rows % (3 * heads) != 0)
        return refuse(r, from, "has rows that heads do not divide, which have no place");
    tensor.order = (rad_row_order){3, heads, rows / 3 / heads};
    return add(r, &tensor);
}

/* Columns as rows, of all matrices of a stack; what several have in turns. */
static radllm_status add_turned(const rearranger *r, const rad_tensor *const *from, uint32_t n_from,
                                const rad_tensor *behind, const char *name)
{
    rad_derived_tensor tensor = plain(from, name);
    tensor.form = RAD_DERIVED_TURNED;
    tensor.n_from = n_from;
    tensor.behind = behind;
    tensor.dims[0] = n_from * (*from)->dims[1];
    tensor.dims[1] = (*from)->dims[0] + (behind != NULL ? behind->dims[1] : 0);
    return add(r, &tensor);
}

/* The tensor that is kept together with another one: its name with `other` in place of `own`. */
static const rad_tensor *take_companion(const rearranger *r, const rad_tensor *tensor,
                                        const char *own, const char *other)
{
    char name[NAME_SIZE];
    const char *at = strstr(tensor->name.data, own);
    if (at == NULL || tensor->name.size + strlen(other) >= sizeof name)
        return NULL;
    snprintf(name, sizeof name, "%.*s%s%s", (int)(at - tensor->name.data), tensor->name.data, other,
             at + strlen(own));
    const rad_tensor *found = rad_source_find_tensor(r->from, name);
    if (found != NULL)
        r->used[rad_source_tensor_index(r->from, found)] = true;
    return found;
}

bool rad_rearrange_is_packed(const rad_tensor *tensor)
{
    return tensor->type == RAD_TYPE_U8;
}

/* Blocks of MXFP4: their codes and their scales, rows of several tensors in turns. */
static radllm_status add_blocks(const rearranger *r, const rad_tensor *const *from, uint32_t n_from,
                                const char *name)
{
    char full[NAME_SIZE + 16];
    const uint64_t *dims = (*from)->dims, blocks = dims[0] / 32, rows = n_from * dims[1];
    rad_derived_tensor tensor = {.name = full,
                                 .n_dims = 4,
                                 .dims = {16, blocks, rows, dims[2]},
                                 .form = RAD_DERIVED_CODES,
                                 .from = from,
                                 .n_from = n_from,
                                 .turns = true,
                                 .row = dims[0]};
    snprintf(full, sizeof full, "%s_blocks", name);
    radllm_status status = add(r, &tensor);
    if (status != RADLLM_OK)
        return status;
    snprintf(full, sizeof full, "%s_scales", name);
    tensor.n_dims = 3;
    tensor.form = RAD_DERIVED_SCALES;
    memcpy(tensor.dims, (const uint64_t[4]){blocks, rows, dims[2], 1}, sizeof tensor.dims);
    return add(r, &tensor);
}

/* gpt-oss: the experts' matrices of one role, or of two in turns; and their biases. */
static radllm_status add_stack(const rearranger *r, const rad_tensor *tensor, const char *name,
                               bool pairs)
{
    const rad_tensor *from[2] = {tensor, NULL};
    const uint32_t n_from = pairs ? 2 : 1;
    bool packed = tensor->type == RAD_TYPE_MXFP4, stays = packed;
    if (pairs)
        from[1] = take_companion(r, tensor, "ffn_gate_exps", "ffn_up_exps");
    if (pairs && from[1] == NULL)
        return refuse(r, tensor, "has no companion, and no place");
    for (uint32_t i = 0; i < n_from; i++)
        stays = stays && from[i]->type == tensor->type &&
                r->shape->stays[rad_source_tensor_index(r->from, from[i])];
    if (stays)
        return add_blocks(r, from, n_from, name);
    if (strstr(name, "_bias") == NULL)
        return add_turned(r, from, n_from, NULL, name);
    rad_derived_tensor bias = plain(from, name);
    bias.n_from = n_from;
    bias.turns = true;
    bias.row = 1;
    bias.n_dims = 2;
    bias.dims[0] *= n_from;
    return add(r, &bias);
}

/* DeepSeek: of each head the rows for its key, and those for its value. */
static radllm_status add_latent(const rearranger *r, const rad_tensor *keys, const char *name)
{
    const rad_tensor *values = take_companion(r, keys, "attn_k_b", "attn_v_b");
    if (values == NULL || values->dims[2] != keys->dims[2])
        return refuse(r, keys, "has no companion for values, and no place");
    rad_derived_tensor tensor = plain(&keys, name);
    tensor.form = RAD_DERIVED_TURNED;
    tensor.behind = values;
    tensor.n_dims = 2; /* the heads' rows one behind the other */
    tensor.dims[0] = keys->dims[1];
    tensor.dims[1] = (keys->dims[0] + values->dims[1]) * keys->dims[2];
    tensor.dims[2] = 1;
    return add(r, &tensor);
}

static radllm_status add_form(const rearranger *r, const rad_name_row *row, const rad_tensor *from,
                              const char *name)
{
    switch (row->form) {
    case FORM_PLAIN:
    case FORM_LATENT_BOTH:
    case FORM_POSITIONS:
        return add_plain(r, from, row->gguf, name);
    case FORM_PLUS_ONE:
        return add_added(r, from, name);
    case FORM_TRANSPOSED:
        return add_turned(r, &from, 1, NULL, name);
    case FORM_EXPERTS:
        return add_experts(r, from, name);
    case FORM_HEADS_QKV:
        return add_heads(r, from, name);
    case FORM_TURNS_GATE:
        return add_stack(r, from, name, true);
    case FORM_STACK_TURNED:
        return add_stack(r, from, name, false);
    case FORM_LATENT_KEYS:
        return add_latent(r, from, name);
    default:
        return refuse(r, from, "has a form that this version does not write");
    }
}

/* ---- names ---------------------------------------------------------------------------------- */

/* `row` is of the whole model (layer < 0) or of a layer, whose names there begin with `prefix`. */
static radllm_status translate_row(const rearranger *r, const rad_name_row *row, const char *prefix,
                                   int64_t layer)
{
    char gguf[NAME_SIZE], name[NAME_SIZE];
    if (row->gguf == NULL || row->form == FORM_NONE)
        return RADLLM_OK;
    if (layer < 0) {
        snprintf(gguf, sizeof gguf, "%s", row->gguf);
        snprintf(name, sizeof name, "%.*s", first_size(row->stored), row->stored);
    } else {
        snprintf(gguf, sizeof gguf, "blk.%u.%s", (unsigned)layer, row->gguf);
        snprintf(name, sizeof name, "%.*s%u.%s", first_size(prefix), prefix, (unsigned)layer,
                 row->stored);
    }
    const rad_tensor *from = rad_source_find_tensor(r->from, gguf);
    if (from == NULL || r->used[rad_source_tensor_index(r->from, from)])
        return RADLLM_OK; /* several rows say what it may be called */
    r->used[rad_source_tensor_index(r->from, from)] = true;
    return add_form(r, row, from, name);
}

static uint64_t count_layers(const rearranger *r)
{
    uint64_t n = 0, most = rad_source_n_tensors(r->from);
    char name[NAME_SIZE];
    do /* each layer has this one, of every family */
        snprintf(name, sizeof name, "blk.%u.attn_output.weight", (unsigned)n);
    while (n < most && rad_source_find_tensor(r->from, name) != NULL && ++n > 0);
    return n;
}

static radllm_status translate(const rearranger *r)
{
    const rad_name_row *row = r->family->rows;
    radllm_status status = RADLLM_OK;
    for (; row->gguf != NULL && status == RADLLM_OK; row++)
        status = translate_row(r, row, NULL, -1);
    const char *prefix = row->stored;
    uint64_t layers = count_layers(r);
    for (uint64_t i = 0; i < layers; i++)
        for (const rad_name_row *of = row + 1; of->stored != NULL && status == RADLLM_OK; of++)
            status = translate_row(r, of, prefix, (int64_t)i);
    for (uint64_t i = 0; i < rad_source_n_tensors(r->from) && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(r->from, i);
        bool known = r->shape->scaling && strncmp(tensor->name.data, "rope_f", 6) == 0;
        if (!r->used[i] && !known)
            status = refuse(r, tensor, "has no place");
    }
    return status;
}

/* ---- the family ----------------------------------------------------------------------------- */

static radllm_status find_family(rearranger *r)
{
    rad_text architecture;
    radllm_status status = rad_meta_text(r->from, "general.architecture", &architecture, r->error);
    if (status != RADLLM_OK)
        return status;
    const rad_rearrange_shape *shape = r->shape;
    const char *llama = shape->n_experts > 0    ? "mixtral"
                        : shape->window_pattern ? "ministral"
                        : shape->window         ? "mistral"
                                                : "llama";
    const char *deepseek = shape->sigmoid ? "deepseek_v3" : "deepseek_v2";
    const char *const known[][2] = {
        {"qwen2", "qwen2"},
        {"qwen3", "qwen3"},
        {"qwen2moe", "qwen2_moe"},
        {"qwen3moe", "qwen3_moe"},
        {"phi2", "phi"},
        {"phi3", "phi3"},
        {"gemma2", "gemma2"},
        {"gemma3", "gemma3_text"},
        {"gpt2", "gpt2"},
        {"bloom", "bloom"},
        {"mpt", "mpt"},
        {"bert", "bert"},
        {"nomic-bert", "nomic_bert"},
        {"bitnet-b1.58", "bitnet"},
        {"deepseek2", deepseek},
        {"dots1", "dots1"},
        {"gpt-oss", "gpt_oss"},
    };
    const char *name = NULL;
    if (architecture.size == 5 && memcmp(architecture.data, "llama", 5) == 0)
        name = llama;
    for (size_t i = 0; i < sizeof known / sizeof *known && architecture.data != NULL; i++)
        if (architecture.size == strlen(known[i][0]) &&
            memcmp(architecture.data, known[i][0], architecture.size) == 0)
            name = known[i][1];
    r->family = name != NULL ? rad_folder_family_named(name) : NULL;
    char quoted[RAD_QUOTE_SIZE];
    if (r->family == NULL)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "%s: models of the family \"%s\" are not written as folders, since "
                        "transformers has no class for it",
                        rad_source_label(r->from),
                        rad_quote(quoted, architecture.data != NULL ? architecture.data : "",
                                  architecture.size));
    return RADLLM_OK;
}

radllm_status rad_rearrange(rad_source *source, const rad_rearrange_shape *shape,
                            const char **model_type, rad_source **out, radllm_error *error)
{
    rearranger r = {.from = source, .shape = shape, .error = error};
    const rad_allocator allocator = source->host.allocator;
    size_t bytes = (size_t)rad_source_n_tensors(source) + 1;
    radllm_status status = find_family(&r);
    if (status == RADLLM_OK)
        status = rad_derived_new(source, &r.to, error);
    if (status != RADLLM_OK)
        return status;
    r.used = rad_alloc_zero(&allocator, bytes);
    status = r.used != NULL ? translate(&r) : rad_fail_memory(error, bytes);
    if (status == RADLLM_OK)
        status = rad_derived_finish(r.to, error);
    rad_free(&allocator, r.used, bytes);
    if (status == RADLLM_OK) {
        *model_type = r.family->model_type;
        *out = r.to;
    } else {
        rad_source_release(r.to);
    }
    return status;
}
