#include <stdio.h>
#include <string.h>

#include "model/adapter_bind.h"

uint32_t rad_adapter_embedding_slot(const rad_model *model)
{
    return model->hparams.n_layers * RAD_LAYER_WEIGHTS;
}

uint32_t rad_adapter_first_expert_slot(const rad_model *model)
{
    return rad_adapter_embedding_slot(model) + 2;
}

uint32_t rad_adapter_slot(const rad_model *model, const rad_weight *weight)
{
    uint32_t ends = rad_adapter_embedding_slot(model);
    if (weight == &model->embedding)
        return ends;
    if (weight == &model->output)
        return ends + 1;
    uint32_t slot = (uint32_t)(weight - model->layers[0].weights);
    uint32_t role = slot % RAD_LAYER_WEIGHTS - RAD_WEIGHT_EXPERT_GATES;
    return role < RAD_ADAPTER_EXPERT_ROLES
               ? rad_adapter_first_expert_slot(model) +
                     (slot / RAD_LAYER_WEIGHTS * RAD_ADAPTER_EXPERT_ROLES + role) *
                         model->hparams.router.n_experts
               : slot;
}

/* The matrix at a slot; its tensor is NULL where the model has none. */
static const rad_weight *weight_at(const rad_model *model, uint32_t slot)
{
    uint32_t ends = rad_adapter_embedding_slot(model);
    if (slot < ends)
        return &model->layers[slot / RAD_LAYER_WEIGHTS].weights[slot % RAD_LAYER_WEIGHTS];
    bool tied = slot == ends || model->output.tensor == NULL;
    return tied ? &model->embedding : &model->output;
}

static bool has_name(const rad_weight *weight, const char *name)
{
    return weight->tensor != NULL && strcmp(weight->tensor->name.data, name) == 0;
}

uint32_t rad_adapter_slots_of(const rad_model *model, const char *name, uint32_t *last)
{
    uint32_t ends = rad_adapter_embedding_slot(model), layer = 0;
    *last = ends + 2;
    if (strncmp(name, "blk.", 4) != 0)
        return ends;
    for (name += 4; *name >= '0' && *name <= '9' && layer < RAD_MAX_LAYERS; name++)
        layer = layer * 10 + (uint32_t)(*name - '0');
    *last = layer < model->hparams.n_layers ? (layer + 1) * RAD_LAYER_WEIGHTS : 0;
    return layer < model->hparams.n_layers ? layer * RAD_LAYER_WEIGHTS : 0;
}

bool rad_adapter_is_at(const rad_model *model, uint32_t slot, const char *name)
{
    uint32_t ends = rad_adapter_embedding_slot(model);
    if (slot >= ends) /* a tied output is changed by its own name alone */
        return strcmp(name, slot == ends ? "token_embd.weight" : "output.weight") == 0;
    return has_name(weight_at(model, slot), name);
}

radllm_status rad_adapter_refuse(const rad_adapter_binder *b, radllm_status status,
                                 const rad_adapter_tensor *tensor, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    const rad_text *name = &tensor->tensor->name;
    return rad_fail(b->error, status, "%s: tensor '%s' (of %s) %s",
                    rad_source_label(b->adapter->source), rad_quote(quoted, name->data, name->size),
                    tensor->target, what);
}

radllm_status rad_adapter_fail_shape(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                     uint64_t columns, uint64_t rows)
{
    char quoted[RAD_QUOTE_SIZE];
    const rad_text *name = &tensor->tensor->name;
    const uint64_t *dims = tensor->tensor->dims;
    return rad_fail(b->error, RADLLM_E_ARGUMENT,
                    "%s: tensor '%s' (of %s) is %llu x %llu; the model needs %llu x %llu: the "
                    "adapter belongs to another model",
                    rad_source_label(b->adapter->source), rad_quote(quoted, name->data, name->size),
                    tensor->target, (unsigned long long)dims[1], (unsigned long long)dims[0],
                    (unsigned long long)rows, (unsigned long long)columns);
}

/* Whether a weight is one matrix that tokens are multiplied with. */
static bool is_product(const rad_weight *weight)
{
    return weight->matrix.n_rows != 0 && weight->n_experts == 1 && !weight->by_head;
}

bool rad_adapter_is_of_experts(const rad_adapter_tensor *tensor)
{
    return tensor->rows == RAD_ADAPTER_ROWS_EXPERT || tensor->rows == RAD_ADAPTER_ROWS_STACK ||
           tensor->rows == RAD_ADAPTER_ROWS_PARAMETER;
}

static radllm_status fail_absent(const rad_adapter_binder *b, const rad_adapter_tensor *tensor)
{
    return rad_adapter_refuse(
        b, RADLLM_E_ARGUMENT, tensor,
        "changes what the model does not have: the adapter belongs to another model");
}

/* The stack that a tensor of experts changes; NULL: the model has none. Files may have a tensor for
 * each expert, so that the role tells, not a tensor's name. */
static const rad_weight *find_stack(const rad_model *model, const char *target)
{
    static const char *const names[RAD_ADAPTER_EXPERT_ROLES] = {"gate", "up", "down"};
    uint32_t last, first = rad_adapter_slots_of(model, target, &last);
    const rad_weight *found = NULL;
    for (uint32_t i = 0;
         i < RAD_ADAPTER_EXPERT_ROLES && first < last && first < rad_adapter_embedding_slot(model);
         i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", first / RAD_LAYER_WEIGHTS,
                 names[i]);
        if (strcmp(target, name) == 0)
            found = weight_at(model, first + RAD_WEIGHT_EXPERT_GATES + i);
    }
    return found != NULL && found->tensor != NULL ? found : NULL;
}

/* Where short vectors of latent attention are in the cache, a layer has no kv_b, but what it is
 * made of: the heads' products of keys, returned here, and those of values behind them. */
static const rad_weight *find_latent(const rad_model *model, const char *target)
{
    char name[64];
    uint32_t last, first = rad_adapter_slots_of(model, target, &last);
    if (!model->hparams.latent.compressed || first >= last ||
        first == rad_adapter_embedding_slot(model))
        return NULL;
    snprintf(name, sizeof name, "blk.%u.attn_kv_b.weight", first / RAD_LAYER_WEIGHTS);
    return strcmp(target, name) == 0 ? weight_at(model, first + RAD_WEIGHT_KEY_B) : NULL;
}

/* The slot of one of queries, keys and values by its own name, where they are rows of one tensor in
 * every file, but three modules in `transformers` (nomic-bert); 0: none. */
static uint32_t slot_of_part(const rad_model *model, const char *target)
{
    static const char *const names[] = {"q", "k", "v"};
    uint32_t last, first = rad_adapter_slots_of(model, target, &last);
    for (uint32_t i = 0; i < 3 && first < last && first < rad_adapter_embedding_slot(model); i++) {
        char name[64], fused[64];
        uint32_t layer = first / RAD_LAYER_WEIGHTS;
        snprintf(name, sizeof name, "blk.%u.attn_%s.weight", layer, names[i]);
        snprintf(fused, sizeof fused, "blk.%u.attn_qkv.weight", layer);
        if (strcmp(target, name) == 0 &&
            rad_adapter_is_at(model, first + RAD_WEIGHT_QUERY + i, fused))
            return first + RAD_WEIGHT_QUERY + i;
    }
    return 0;
}

/* What the adapter's file has as one matrix and the model apart (Phi-3 of ExLlamaV2): queries, keys
 * and values, or gates and ups. The first of *n weights, which have *all rows together; NULL: there
 * are none. */
static const rad_weight *pieces_at(const rad_model *model, const rad_adapter_tensor *tensor,
                                   uint32_t *n, uint64_t *all)
{
    static const char *const names[] = {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"};
    const rad_architecture *a = model->hparams.architecture;
    uint32_t last, first = rad_adapter_slots_of(model, tensor->target, &last);
    const uint32_t layer = first / RAD_LAYER_WEIGHTS;
    char name[64], fused[64];
    if (first >= last || first == rad_adapter_embedding_slot(model))
        return NULL;
    snprintf(name, sizeof name, "blk.%u.attn_qkv.weight", layer);
    snprintf(fused, sizeof fused, "blk.%u.ffn_up.weight", layer);
    const bool qkv = strcmp(tensor->target, name) == 0;
    if (!qkv && (!a->fused_gate_up || strcmp(tensor->target, fused) != 0 ||
                 strstr(tensor->tensor->name.data, ".up_proj.") != NULL))
        return NULL;
    const uint32_t count = qkv ? 3 : 2;
    const rad_weight *weight = weight_at(model, first) + (qkv ? RAD_WEIGHT_QUERY : RAD_WEIGHT_GATE);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, names[(qkv ? 0 : 3) + i]);
        if (!has_name(&weight[i], name) || !is_product(&weight[i]))
            return NULL;
        rows += weight[i].matrix.n_rows;
    }
    *n = count;
    *all = rows;
    return weight;
}

/* The couples that a tensor belongs to: *n, one behind the other. */
static radllm_status find_couples(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                  rad_adapter_couple **out, uint32_t *n)
{
    uint32_t last, slot = rad_adapter_slots_of(b->model, tensor->target, &last);
    const rad_weight *weight, *latent = find_latent(b->model, tensor->target);
    uint64_t all = 0;
    *n = 1;
    if (tensor->rows == RAD_ADAPTER_ROWS_OTHER)
        return rad_adapter_refuse(
            b, RADLLM_E_UNSUPPORTED, tensor,
            "changes what belongs to experts and is no matrix, which is not supported: "
            "merge the adapter into the model by PEFT");
    if (rad_adapter_is_of_experts(tensor)) {
        bool one = tensor->rows == RAD_ADAPTER_ROWS_EXPERT;
        weight = find_stack(b->model, tensor->target);
        if (weight == NULL || (one && tensor->expert >= weight->n_experts))
            return fail_absent(b, tensor);
        slot = rad_adapter_slot(b->model, weight) + (one ? tensor->expert : 0);
        *n = one ? 1 : weight->n_experts;
    } else if (latent != NULL) {
        weight = latent;
        slot = rad_adapter_slot(b->model, latent);
        *n = 2;
    } else if (tensor->role != RAD_ADAPTER_TABLE &&
               (weight = pieces_at(b->model, tensor, n, &all)) != NULL) {
        slot = rad_adapter_slot(b->model, weight);
    } else {
        const uint32_t part = slot_of_part(b->model, tensor->target);
        while (slot < last && !rad_adapter_is_at(b->model, slot, tensor->target))
            slot++;
        slot = slot >= last && part > 0 ? part : slot;
        if (slot >= last)
            return fail_absent(b, tensor);
        b->couples[slot].part = part > 0 && slot == part;
        weight = weight_at(b->model, slot);
        if (!is_product(weight))
            return rad_adapter_refuse(
                b, RADLLM_E_UNSUPPORTED, tensor,
                "changes what is no plain matrix in the model, which is not supported");
    }
    *out = &b->couples[slot];
    for (uint32_t i = 0, first = 0; i < *n; i++) {
        (*out)[i].weight = weight + (latent != NULL || all > 0 ? i : 0);
        (*out)[i].first = first;
        (*out)[i].all = all;
        first += all > 0 ? weight[i].matrix.n_rows : 0;
    }
    return RADLLM_OK;
}

/* ---- whole tensors --------------------------------------------------------------------------- */

typedef struct search {
    const char *name;
    rad_weight *found; /* the first one */
    uint32_t n;        /* weights that are rows of it, side by side */
    bool scattered;    /* there are others */
} search;

static radllm_status look_at(rad_model *model, rad_weight *weight, void *data, radllm_error *error)
{
    (void)model;
    (void)error;
    search *s = data;
    if (!has_name(weight, s->name))
        return RADLLM_OK;
    s->found = s->n == 0 ? weight : s->found;
    s->scattered = s->scattered || weight != s->found + s->n;
    s->n++;
    return RADLLM_OK;
}

/* Whether rows of a layer's weight stand in another order in the adapter's file. */
static bool is_reordered(const rad_adapter_binder *b, const rad_weight *weight)
{
    const rad_layer *layers = b->model->layers;
    bool in_layers = false;
    for (uint32_t l = 0; l < b->model->hparams.n_layers && !in_layers; l++) {
        const rad_weight *weights = layers[l].weights;
        in_layers = weight == &weights[RAD_WEIGHT_QUERY] || weight == &weights[RAD_WEIGHT_KEY] ||
                    weight == &weights[RAD_WEIGHT_QUERY_BIAS] ||
                    weight == &weights[RAD_WEIGHT_KEY_BIAS];
    }
    return in_layers && b->description.halves && b->model->hparams.rotary == RAD_ROTARY_INTERLEAVED;
}

static radllm_status place_whole(const rad_adapter_binder *b, const rad_adapter_tensor *tensor)
{
    search s = {.name = tensor->target};
    if (!b->merge)
        return rad_adapter_refuse(
            b, RADLLM_E_UNSUPPORTED, tensor,
            "takes the place of the model's own (modules_to_save, or bias), which no "
            "session can do by itself: set the option adapter_merge, or merge it into a file "
            "(radllm-convert --lora)");
    (void)rad_for_each_weight(b->model, look_at, &s, NULL);
    if (s.found == NULL && !b->model->hparams.architecture->encoder &&
        strcmp(s.name, "output.weight") == 0) { /* tied */
        s.found = &b->model->output;
        s.n = 1;
    }
    if (s.found == NULL)
        return rad_adapter_refuse(
            b, RADLLM_E_ARGUMENT, tensor,
            "changes what the model does not have (or has together with something else): "
            "the adapter belongs to another model, or has to be merged by PEFT");
    const rad_tensor *own = s.found->tensor, *other = tensor->tensor;
    own = own != NULL ? own : b->model->embedding.tensor;
    if (s.scattered || s.found->n_experts > 1 || tensor->transposed ||
        tensor->rows != RAD_ADAPTER_ROWS_PLAIN || is_reordered(b, s.found))
        return rad_adapter_refuse(
            b, RADLLM_E_UNSUPPORTED, tensor,
            "takes the place of what stands in another form in the model, which is not "
            "supported: merge the adapter into the model by PEFT");
    const bool by_token = own == b->model->embedding.tensor || own == b->model->output.tensor;
    if (by_token && own->dims[0] == other->dims[0] && own->dims[1] != other->dims[1])
        return rad_adapter_refuse(
            b, RADLLM_E_ARGUMENT, tensor,
            "is for a vocabulary of another size (tokens were added in training): resize "
            "the model's embeddings, merge the adapter by PEFT, and use that model");
    for (int i = 0; i < 4; i++) {
        if (own->dims[i] != other->dims[i])
            return rad_adapter_fail_shape(b, tensor, own->dims[0], own->dims[1]);
    }
    if (rad_type_find((uint32_t)other->type)->family != RAD_FAMILY_FLOAT)
        return rad_adapter_refuse(b, RADLLM_E_UNSUPPORTED, tensor, "must be F32, F16 or BF16");
    b->adapter->wholes[b->adapter->n_wholes++] =
        (rad_adapter_whole){other, s.found, s.n, tensor->less_one};
    return RADLLM_OK;
}

radllm_status rad_adapter_place_tensor(const rad_adapter_binder *b,
                                       const rad_adapter_tensor *tensor)
{
    rad_adapter_couple *found = NULL;
    if (tensor->role == RAD_ADAPTER_COPY)
        return RADLLM_OK; /* the model's own weights, which it has */
    if (tensor->role == RAD_ADAPTER_WHOLE)
        return place_whole(b, tensor);
    if (tensor->role == RAD_ADAPTER_MAGNITUDE && !b->merge)
        return rad_adapter_refuse(
            b, RADLLM_E_UNSUPPORTED, tensor,
            "is of DoRA, which no session can compute by itself: set the option "
            "adapter_merge, or merge it into a file (radllm-convert --lora)");
    uint32_t n = 0;
    radllm_status status = find_couples(b, tensor, &found, &n);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        rad_adapter_couple *c = &found[i];
        const rad_adapter_tensor **place = tensor->role == RAD_ADAPTER_B           ? &c->b
                                           : tensor->role == RAD_ADAPTER_MAGNITUDE ? &c->lengths
                                                                                   : &c->a;
        if (*place != NULL)
            status = rad_adapter_refuse(b, RADLLM_E_FORMAT, tensor, "is there twice");
        *place = tensor;
    }
    return status;
}
