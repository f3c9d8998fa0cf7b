#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numeric.h"
#include "model/fill.h"

#define ALIGNMENT 64

/* The tensors of one matrix, until its pair is made. */
typedef struct couple {
    const rad_adapter_tensor *a, *b;
    const rad_adapter_tensor *lengths; /* NULL: none */
    const rad_weight *weight;          /* one of those that are rows of the tensor */
    bool part;                         /* it is that one's alone */
    uint64_t first, all; /* where the model has apart what the adapter's tensors are of together:
                            its rows of all; 0: it has them all */
} couple;

typedef struct binder {
    rad_adapter *adapter;
    rad_model *model;
    rad_adapter_description description;
    couple *couples; /* by slot */
    bool merge;
    radllm_error *error;
    /* The numbers of the tensors that were read last, an A and a B: those of all experts may stand
     * in one. */
    struct {
        const rad_tensor *tensor;
        uint8_t *numbers;
        size_t bytes;
    } held[2];
} binder;

/* ---- what it changes ------------------------------------------------------------------------- */

static uint32_t embedding_slot(const rad_model *model)
{
    return model->hparams.n_layers * RAD_LAYER_WEIGHTS;
}

/* Slots of experts stand behind all others: by layer, by role, by expert. */
static uint32_t first_expert_slot(const rad_model *model)
{
    return embedding_slot(model) + 2;
}

#define EXPERT_ROLES 3u

uint32_t rad_adapter_slot(const rad_model *model, const rad_weight *weight)
{
    uint32_t ends = embedding_slot(model);
    if (weight == &model->embedding)
        return ends;
    if (weight == &model->output)
        return ends + 1;
    uint32_t slot = (uint32_t)(weight - model->layers[0].weights);
    uint32_t role = slot % RAD_LAYER_WEIGHTS - RAD_WEIGHT_EXPERT_GATES;
    return role < EXPERT_ROLES
               ? first_expert_slot(model) + (slot / RAD_LAYER_WEIGHTS * EXPERT_ROLES + role) *
                                                model->hparams.router.n_experts
               : slot;
}

/* The matrix at a slot; its tensor is NULL where the model has none. */
static const rad_weight *weight_at(const rad_model *model, uint32_t slot)
{
    uint32_t ends = embedding_slot(model);
    if (slot < ends)
        return &model->layers[slot / RAD_LAYER_WEIGHTS].weights[slot % RAD_LAYER_WEIGHTS];
    bool tied = slot == ends || model->output.tensor == NULL;
    return tied ? &model->embedding : &model->output;
}

static bool has_name(const rad_weight *weight, const char *name)
{
    return weight->tensor != NULL && strcmp(weight->tensor->name.data, name) == 0;
}

/* Slots from `first` to *last that a name can stand at. */
static uint32_t slots_of(const rad_model *model, const char *name, uint32_t *last)
{
    uint32_t ends = embedding_slot(model), layer = 0;
    *last = ends + 2;
    if (strncmp(name, "blk.", 4) != 0)
        return ends;
    for (name += 4; *name >= '0' && *name <= '9' && layer < RAD_MAX_LAYERS; name++)
        layer = layer * 10 + (uint32_t)(*name - '0');
    *last = layer < model->hparams.n_layers ? (layer + 1) * RAD_LAYER_WEIGHTS : 0;
    return layer < model->hparams.n_layers ? layer * RAD_LAYER_WEIGHTS : 0;
}

static bool is_at(const rad_model *model, uint32_t slot, const char *name)
{
    uint32_t ends = embedding_slot(model);
    if (slot >= ends) /* a tied output is changed by its own name alone */
        return strcmp(name, slot == ends ? "token_embd.weight" : "output.weight") == 0;
    return has_name(weight_at(model, slot), name);
}

static radllm_status refuse(const binder *b, radllm_status status, const rad_adapter_tensor *tensor,
                            const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    const rad_text *name = &tensor->tensor->name;
    return rad_fail(b->error, status, "%s: tensor '%s' (of %s) %s",
                    rad_source_label(b->adapter->source), rad_quote(quoted, name->data, name->size),
                    tensor->target, what);
}

/* Whether a weight is one matrix that tokens are multiplied with. */
static bool is_product(const rad_weight *weight)
{
    return weight->matrix.n_rows != 0 && weight->n_experts == 1 && !weight->by_head;
}

static bool is_of_experts(const rad_adapter_tensor *tensor)
{
    return tensor->rows == RAD_ADAPTER_ROWS_EXPERT || tensor->rows == RAD_ADAPTER_ROWS_STACK ||
           tensor->rows == RAD_ADAPTER_ROWS_PARAMETER;
}

static radllm_status fail_absent(const binder *b, const rad_adapter_tensor *tensor)
{
    return refuse(b, RADLLM_E_ARGUMENT, tensor,
                  "changes what the model does not have: the adapter belongs to another model");
}

/* The stack that a tensor of experts changes; NULL: the model has none. Files may have a tensor for
 * each expert, so that the role tells, not a tensor's name. */
static const rad_weight *find_stack(const rad_model *model, const char *target)
{
    static const char *const names[EXPERT_ROLES] = {"gate", "up", "down"};
    uint32_t last, first = slots_of(model, target, &last);
    const rad_weight *found = NULL;
    for (uint32_t i = 0; i < EXPERT_ROLES && first < last && first < embedding_slot(model); i++) {
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
    uint32_t last, first = slots_of(model, target, &last);
    if (!model->hparams.latent.compressed || first >= last || first == embedding_slot(model))
        return NULL;
    snprintf(name, sizeof name, "blk.%u.attn_kv_b.weight", first / RAD_LAYER_WEIGHTS);
    return strcmp(target, name) == 0 ? weight_at(model, first + RAD_WEIGHT_KEY_B) : NULL;
}

/* The slot of one of queries, keys and values by its own name, where they are rows of one tensor in
 * every file, but three modules in `transformers` (nomic-bert); 0: none. */
static uint32_t slot_of_part(const rad_model *model, const char *target)
{
    static const char *const names[] = {"q", "k", "v"};
    uint32_t last, first = slots_of(model, target, &last);
    for (uint32_t i = 0; i < 3 && first < last && first < embedding_slot(model); i++) {
        char name[64], fused[64];
        uint32_t layer = first / RAD_LAYER_WEIGHTS;
        snprintf(name, sizeof name, "blk.%u.attn_%s.weight", layer, names[i]);
        snprintf(fused, sizeof fused, "blk.%u.attn_qkv.weight", layer);
        if (strcmp(target, name) == 0 && is_at(model, first + RAD_WEIGHT_QUERY + i, fused))
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
    uint32_t last, first = slots_of(model, tensor->target, &last);
    const uint32_t layer = first / RAD_LAYER_WEIGHTS;
    char name[64], fused[64];
    if (first >= last || first == embedding_slot(model))
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
static radllm_status find_couples(const binder *b, const rad_adapter_tensor *tensor, couple **out,
                                  uint32_t *n)
{
    uint32_t last, slot = slots_of(b->model, tensor->target, &last);
    const rad_weight *weight, *latent = find_latent(b->model, tensor->target);
    uint64_t all = 0;
    *n = 1;
    if (tensor->rows == RAD_ADAPTER_ROWS_OTHER)
        return refuse(b, RADLLM_E_UNSUPPORTED, tensor,
                      "changes what belongs to experts and is no matrix, which is not supported: "
                      "merge the adapter into the model by PEFT");
    if (is_of_experts(tensor)) {
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
        while (slot < last && !is_at(b->model, slot, tensor->target))
            slot++;
        slot = slot >= last && part > 0 ? part : slot;
        if (slot >= last)
            return fail_absent(b, tensor);
        b->couples[slot].part = part > 0 && slot == part;
        weight = weight_at(b->model, slot);
        if (!is_product(weight))
            return refuse(b, RADLLM_E_UNSUPPORTED, tensor,
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

static radllm_status fail_shape(const binder *b, const rad_adapter_tensor *tensor, uint64_t columns,
                                uint64_t rows);

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
static bool is_reordered(const binder *b, const rad_weight *weight)
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

static radllm_status place_whole(const binder *b, const rad_adapter_tensor *tensor)
{
    search s = {.name = tensor->target};
    if (!b->merge)
        return refuse(
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
        return refuse(b, RADLLM_E_ARGUMENT, tensor,
                      "changes what the model does not have (or has together with something else): "
                      "the adapter belongs to another model, or has to be merged by PEFT");
    const rad_tensor *own = s.found->tensor, *other = tensor->tensor;
    own = own != NULL ? own : b->model->embedding.tensor;
    if (s.scattered || s.found->n_experts > 1 || tensor->transposed ||
        tensor->rows != RAD_ADAPTER_ROWS_PLAIN || is_reordered(b, s.found))
        return refuse(b, RADLLM_E_UNSUPPORTED, tensor,
                      "takes the place of what stands in another form in the model, which is not "
                      "supported: merge the adapter into the model by PEFT");
    const bool by_token = own == b->model->embedding.tensor || own == b->model->output.tensor;
    if (by_token && own->dims[0] == other->dims[0] && own->dims[1] != other->dims[1])
        return refuse(b, RADLLM_E_ARGUMENT, tensor,
                      "is for a vocabulary of another size (tokens were added in training): resize "
                      "the model's embeddings, merge the adapter by PEFT, and use that model");
    for (int i = 0; i < 4; i++) {
        if (own->dims[i] != other->dims[i])
            return fail_shape(b, tensor, own->dims[0], own->dims[1]);
    }
    if (rad_type_find((uint32_t)other->type)->family != RAD_FAMILY_FLOAT)
        return refuse(b, RADLLM_E_UNSUPPORTED, tensor, "must be F32, F16 or BF16");
    b->adapter->wholes[b->adapter->n_wholes++] =
        (rad_adapter_whole){other, s.found, s.n, tensor->less_one};
    return RADLLM_OK;
}

static radllm_status place_tensor(const binder *b, const rad_adapter_tensor *tensor)
{
    couple *found = NULL;
    if (tensor->role == RAD_ADAPTER_COPY)
        return RADLLM_OK; /* the model's own weights, which it has */
    if (tensor->role == RAD_ADAPTER_WHOLE)
        return place_whole(b, tensor);
    if (tensor->role == RAD_ADAPTER_MAGNITUDE && !b->merge)
        return refuse(b, RADLLM_E_UNSUPPORTED, tensor,
                      "is of DoRA, which no session can compute by itself: set the option "
                      "adapter_merge, or merge it into a file (radllm-convert --lora)");
    uint32_t n = 0;
    radllm_status status = find_couples(b, tensor, &found, &n);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        couple *c = &found[i];
        const rad_adapter_tensor **place = tensor->role == RAD_ADAPTER_B           ? &c->b
                                           : tensor->role == RAD_ADAPTER_MAGNITUDE ? &c->lengths
                                                                                   : &c->a;
        if (*place != NULL)
            status = refuse(b, RADLLM_E_FORMAT, tensor, "is there twice");
        *place = tensor;
    }
    return status;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static radllm_status fail_shape(const binder *b, const rad_adapter_tensor *tensor, uint64_t columns,
                                uint64_t rows)
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

static radllm_status check_shape(const binder *b, const rad_adapter_tensor *tensor,
                                 uint64_t columns, uint64_t rows)
{
    const rad_tensor *found = tensor->tensor;
    bool stack = tensor->rows == RAD_ADAPTER_ROWS_STACK;
    uint64_t n = stack ? b->model->hparams.router.n_experts : 1;
    if (stack && found->dims[2] != n)
        return refuse(b, RADLLM_E_ARGUMENT, tensor,
                      "is for another number of experts: the adapter belongs to another model");
    if (found->dims[0] != columns || found->dims[1] != rows || found->dims[2] != n ||
        found->dims[3] != 1)
        return fail_shape(b, tensor, columns, rows);
    if (rad_type_find((uint32_t)found->type)->decode == NULL ||
        rad_type_find((uint32_t)found->type)->tail_bytes != 0)
        return refuse(b, RADLLM_E_UNSUPPORTED, tensor,
                      "is of a type that cannot be computed with; F32, F16 and BF16 can");
    return RADLLM_OK;
}

static radllm_status check_rank(const binder *b, const rad_adapter_tensor *tensor, uint64_t rank)
{
    char what[160];
    uint32_t told = tensor->rank;
    if (rank == 0 || rank > RAD_ADAPTER_RANK_MAX)
        snprintf(what, sizeof what, "has the rank %llu; ranks from 1 to %u are supported",
                 (unsigned long long)rank, RAD_ADAPTER_RANK_MAX);
    else if (told != 0 && rank != told)
        snprintf(what, sizeof what,
                 "has the rank %llu, the configuration says %u: fetch both files again",
                 (unsigned long long)rank, told);
    else
        return RADLLM_OK;
    return refuse(b, RADLLM_E_FORMAT, tensor, what);
}

static bool looks_up(const binder *b, const couple *c)
{
    return c - b->couples == embedding_slot(b->model);
}

static radllm_status check_lengths(const binder *b, const couple *c, bool lookup, uint64_t rows)
{
    if (b->description.lengths && c->lengths == NULL)
        return refuse(b, RADLLM_E_FORMAT, c->a,
                      "has no magnitudes beside it, which DoRA needs: fetch the file again");
    if (c->lengths == NULL)
        return RADLLM_OK;
    if (lookup)
        return refuse(b, RADLLM_E_UNSUPPORTED, c->lengths,
                      "is of DoRA of an embedding, which is not supported");
    return check_shape(b, c->lengths, rows, 1);
}

/* What stands in a couple's tensors. */
typedef struct extents {
    bool lookup, table;
    uint32_t n_experts; /* in one tensor */
    uint64_t rank, columns, rows;
    uint64_t all_rows; /* in the tensor, of which `rows` are the weight's */
    bool swapped;      /* a parameter of PEFT's first versions: A and B have changed places */
    bool keys;         /* of latent attention: what is computed has them changed over */
} extents;

static extents measure(const binder *b, const couple *c)
{
    const uint64_t *dims = c->a->tensor->dims;
    bool lookup = looks_up(b, c), table = c->a->role == RAD_ADAPTER_TABLE;
    bool parameter = c->a->rows == RAD_ADAPTER_ROWS_PARAMETER;
    extents x = {.lookup = lookup,
                 .table = table,
                 .n_experts = parameter ? c->weight->n_experts : 1,
                 .rank = lookup && !table ? dims[0] : dims[1],
                 .columns = lookup ? b->model->hparams.n_vocab : rad_weight_inputs(c->weight),
                 .rows = lookup                ? rad_weight_inputs(c->weight)
                         : is_of_experts(c->a) ? rad_weight_rows(c->weight)
                         : c->part             ? c->weight->matrix.n_rows
                                               : c->weight->tensor->dims[1]};
    if (c->weight->by_head) { /* of kv_b */
        const rad_latent *latent = &b->model->hparams.latent;
        x.columns = latent->rank;
        x.rows = (uint64_t)c->weight->n_experts * (latent->plain + latent->value);
        x.keys = (size_t)(c - b->couples) % RAD_LAYER_WEIGHTS == RAD_WEIGHT_KEY_B;
    }
    x.rank /= x.n_experts;
    x.all_rows = c->all > 0 ? c->all : c->a->part == RAD_ADAPTER_ALL ? x.rows : 2 * x.rows;
    x.swapped = parameter && dims[0] != x.columns && dims[0] == x.all_rows;
    return x;
}

static radllm_status check_extents(const binder *b, const couple *c, const extents *x)
{
    uint64_t all_ranks = x->n_experts * x->rank; /* of another length than the tensor's: */
    if (x->table && !x->lookup)
        return refuse(b, RADLLM_E_ARGUMENT, c->a, "is of an embedding, the model's matrix is none");
    radllm_status status = check_rank(b, c->a, x->rank);
    if (status == RADLLM_OK)
        status = x->lookup && !x->table
                     ? check_shape(b, c->a, x->rank, x->columns)
                     : check_shape(b, c->a, x->swapped ? x->all_rows : x->columns, all_ranks);
    if (status == RADLLM_OK)
        status = check_shape(b, c->b, all_ranks, x->swapped ? x->columns : x->all_rows);
    return status == RADLLM_OK ? check_lengths(b, c, x->lookup, c->all > 0 ? c->all : x->rows)
                               : status;
}

static radllm_status check_couple(const binder *b, const couple *c, rad_adapter_pair *pair)
{
    const rad_adapter_tensor *one = c->a != NULL ? c->a : c->b != NULL ? c->b : c->lengths;
    if (c->a == NULL || c->b == NULL)
        return refuse(b, RADLLM_E_FORMAT, one,
                      c->a != NULL ? "has no companion B: the file is incomplete: fetch it again"
                                   : "has no companion A: the file is incomplete: fetch it again");
    if (c->a->rows != c->b->rows)
        return refuse(b, RADLLM_E_FORMAT, one, "is there in two forms");
    extents x = measure(b, c);
    radllm_status status = check_extents(b, c, &x);
    if (status != RADLLM_OK)
        return status;
    uint32_t rank = (uint32_t)x.rank, rows = (uint32_t)x.rows, columns = (uint32_t)x.columns;
    double alpha = c->a->alpha == 0.0 && b->description.by_rank ? (double)rank : c->a->alpha;
    pair->scale = alpha / (b->description.root ? sqrt((double)rank) : (double)rank);
    pair->a =
        (rad_matrix){.n_rows = x.lookup ? columns : rank, .n_columns = x.lookup ? rank : columns};
    pair->b = (rad_matrix){.n_rows = rows, .n_columns = rank};
    if (c->weight->by_head) {
        pair->a.n_columns = rad_weight_inputs(c->weight);
        pair->a.n_rows = x.keys ? rank * c->weight->n_experts : rank;
        pair->b.n_rows = x.keys ? rad_weight_rows(c->weight) : c->weight->matrix.n_rows;
        rows = x.keys ? c->weight->n_experts * pair->a.n_columns : pair->b.n_rows;
    }
    if (c->lengths != NULL)
        pair->lengths = (rad_matrix){.n_rows = rows, .n_columns = 1};
    return RADLLM_OK;
}

/* Numbers of 16 or 32 bits are kept as they are, others are widened. */
static rad_type kept_type(const rad_adapter_tensor *tensor)
{
    rad_type type = tensor->tensor->type;
    bool plain = type == RAD_TYPE_F32 || type == RAD_TYPE_F16 || type == RAD_TYPE_BF16;
    return plain ? type : RAD_TYPE_F32;
}

static bool place_matrix(rad_matrix *matrix, const rad_adapter_tensor *tensor, uint64_t *used)
{
    matrix->type = kept_type(tensor);
    matrix->layout = RAD_LAYOUT_FILE;
    uint64_t bytes =
        rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, matrix->n_rows, matrix->n_columns);
    matrix->data = (const uint8_t *)(uintptr_t)*used; /* an offset, until there is memory */
    return bytes != 0 && rad_add_u64(*used, bytes, used) && rad_align_u64(*used, ALIGNMENT, used) &&
           *used <= PTRDIFF_MAX;
}

/* All weights that are rows of one tensor share a pair, which stands at the first one's slot. */
static void share_pair(const binder *b, uint32_t slot, uint32_t number, const char *target)
{
    uint32_t last;
    (void)slots_of(b->model, target, &last);
    for (uint32_t next = slot + 1; slot < embedding_slot(b->model) && next < last; next++) {
        if (is_at(b->model, next, target))
            b->adapter->slots[next] = number;
    }
}

static bool is_there(const couple *c)
{
    return c->a != NULL || c->b != NULL || c->lengths != NULL;
}

/* Checks all couples, makes pairs of them, and gives each its place in memory. */
static radllm_status make_pairs(binder *b, uint64_t *used)
{
    rad_adapter *adapter = b->adapter;
    for (uint32_t slot = 0; slot < adapter->n_slots; slot++) {
        adapter->n_pairs += is_there(&b->couples[slot]) ? 1 : 0;
        if (slot >= first_expert_slot(b->model))
            adapter->n_expert_pairs += is_there(&b->couples[slot]) ? 1 : 0;
    }
    adapter->pairs = rad_alloc_zero(&adapter->allocator,
                                    (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs);
    if (adapter->pairs == NULL)
        return rad_fail_memory(b->error, adapter->n_pairs * sizeof *adapter->pairs);
    rad_adapter_pair *pair = adapter->pairs;
    for (uint32_t slot = 0; slot < adapter->n_slots; slot++) {
        const couple *c = &b->couples[slot];
        if (!is_there(c))
            continue;
        radllm_status status = check_couple(b, c, pair);
        if (status == RADLLM_OK && adapter->slots[slot] != 0)
            status = refuse(b, RADLLM_E_FORMAT, c->a, "is there in two forms");
        if (status != RADLLM_OK)
            return status;
        extents x = measure(b, c);
        bool over = x.swapped || x.keys;
        if (!place_matrix(&pair->a, over ? c->b : c->a, used) ||
            !place_matrix(&pair->b, over ? c->a : c->b, used) ||
            (c->lengths != NULL && !place_matrix(&pair->lengths, c->lengths, used)))
            return rad_fail_memory(b->error, SIZE_MAX);
        uint32_t rank = pair->b.n_columns;
        adapter->rank = rank > adapter->rank ? rank : adapter->rank;
        adapter->lengths = adapter->lengths || c->lengths != NULL;
        adapter->slots[slot] = (uint32_t)(++pair - adapter->pairs);
        if (c->all == 0)
            share_pair(b, slot, adapter->slots[slot], c->a->target);
    }
    return RADLLM_OK;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Which row of the stored tensor becomes row `row`. */
typedef struct row_order {
    bool regroup;  /* from heads' queries, keys and values (BLOOM) */
    int halves;    /* 1: from (i, i + n/2) to (2i, 2i + 1); -1: back */
    uint32_t head; /* rows of a head */
    uint32_t step; /* rows from one head to the next; 0: as many as it has */
    uint32_t n_rows;
    uint32_t first; /* rows before its own */
    rad_adapter_part part;
} row_order;

static uint32_t stored_row_of_own(const row_order *order, uint32_t row)
{
    uint32_t head = row / order->head, i = row % order->head, half = order->head / 2;
    if (order->step > 0)
        return head * order->step + i;
    if (order->part == RAD_ADAPTER_SECOND_HALF)
        return order->n_rows / 2 + row;
    if (order->part == RAD_ADAPTER_EVEN || order->part == RAD_ADAPTER_ODD)
        return 2 * row + (order->part == RAD_ADAPTER_ODD ? 1 : 0);
    if (order->regroup) { /* row: part, head, value */
        uint32_t n_heads = order->n_rows / 3 / order->head;
        return (head % n_heads * 3 + head / n_heads) * order->head + i;
    }
    if (order->halves > 0)
        return head * order->head + i / 2 + i % 2 * half;
    if (order->halves < 0)
        return head * order->head + (i < half ? 2 * i : 2 * (i - half) + 1);
    return row;
}

static uint32_t stored_row(const row_order *order, uint32_t row)
{
    return order->first + stored_row_of_own(order, row);
}

static row_order order_of(const binder *b, const couple *c)
{
    const rad_hparams *h = &b->model->hparams;
    uint32_t slot = (uint32_t)(c - b->couples), role = slot % RAD_LAYER_WEIGHTS;
    row_order order = {.head = h->head_dim,
                       .n_rows = (uint32_t)measure(b, c).all_rows,
                       .first = (uint32_t)c->first,
                       .part = c->b->part};
    bool heads = slot < embedding_slot(b->model) &&
                 (role == RAD_WEIGHT_QUERY || role == RAD_WEIGHT_KEY) && h->head_dim % 2 == 0;
    if (c->b->rows == RAD_ADAPTER_ROWS_HEADS_QKV)
        order.regroup = true;
    else if (heads && b->description.halves && h->rotary == RAD_ROTARY_INTERLEAVED)
        order.halves = 1;
    else if (heads && !b->description.halves && h->rotary == RAD_ROTARY_HALVES &&
             h->architecture->rotary == RAD_ROTARY_INTERLEAVED)
        order.halves = -1;
    return order;
}

static radllm_status check_finite(const binder *b, const rad_adapter_tensor *tensor,
                                  const rad_matrix *matrix)
{
    const rad_type_info *info = rad_type_find((uint32_t)matrix->type);
    size_t n = (size_t)matrix->n_rows * matrix->n_columns;
    float values[256], sum = 0.0f; /* of zeros, or NaN */
    for (size_t done = 0; done < n; done += sizeof values / sizeof *values) {
        size_t part = n - done < 256 ? n - done : 256;
        info->decode(matrix->data + done * info->block_bytes, values, part);
        for (size_t i = 0; i < part; i++)
            sum += values[i] * 0.0f;
    }
    if (sum == 0.0f)
        return RADLLM_OK;
    return refuse(b, RADLLM_E_FORMAT, tensor,
                  "holds what is no finite number: the file is damaged: fetch it again");
}

/* The numbers of a tensor as kept_type() has them, in its own order, until the next one of the same
 * kind is read. */
static radllm_status read_numbers(binder *b, const rad_adapter_tensor *tensor, const uint8_t **out)
{
    const rad_tensor *from = tensor->tensor;
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    const rad_allocator *allocator = &b->adapter->allocator;
    uint32_t at = tensor->role == RAD_ADAPTER_B ? 1 : 0;
    bool widened = kept_type(tensor) != from->type;
    uint64_t size = rad_type_find((uint32_t)kept_type(tensor))->block_bytes, bytes;
    *out = b->held[at].numbers;
    if (b->held[at].tensor == from)
        return RADLLM_OK;
    rad_free(allocator, b->held[at].numbers, b->held[at].bytes);
    b->held[at].tensor = NULL;
    b->held[at].numbers = NULL;
    bool fits = rad_mul_u64(from->n_elements, size, &bytes) && bytes <= PTRDIFF_MAX;
    uint8_t *numbers = fits ? rad_alloc(allocator, (size_t)bytes) : NULL;
    uint8_t *blocks =
        widened && numbers != NULL ? rad_alloc(allocator, (size_t)from->n_bytes) : numbers;
    radllm_status status = blocks == NULL
                               ? rad_fail_memory(b->error, fits ? (size_t)bytes : SIZE_MAX)
                               : rad_source_read_tensor(b->adapter->source, from, 0, blocks,
                                                        (size_t)from->n_bytes, b->error);
    if (widened && status == RADLLM_OK)
        info->decode(blocks, (float *)(void *)numbers, (size_t)from->n_elements);
    if (widened)
        rad_free(allocator, blocks, (size_t)from->n_bytes);
    *out = b->held[at].numbers = numbers;
    b->held[at].bytes = fits ? (size_t)bytes : 0;
    b->held[at].tensor = status == RADLLM_OK ? from : NULL;
    return status;
}

/* Where a matrix stands in a tensor: its element (row, column) at first + row_step * stored row +
 * column_step * column. */
typedef struct steps {
    size_t first, row, column;
} steps;

/* Reads a matrix of the adapter to its place. */
static radllm_status read_matrix(binder *b, const rad_adapter_tensor *tensor,
                                 const row_order *order, steps step, rad_matrix *matrix)
{
    size_t size = rad_type_find((uint32_t)matrix->type)->block_bytes;
    size_t row_bytes = matrix->n_columns * size;
    const uint8_t *stored;
    radllm_status status = read_numbers(b, tensor, &stored);
    uint8_t *out = b->adapter->data + (uintptr_t)matrix->data;
    matrix->data = out;
    for (uint32_t row = 0; status == RADLLM_OK && row < matrix->n_rows; row++) {
        const uint8_t *from = stored + (step.first + stored_row(order, row) * step.row) * size;
        if (step.column == 1)
            memcpy(out + row * row_bytes, from, row_bytes);
        for (uint32_t i = 0; step.column != 1 && i < matrix->n_columns; i++)
            memcpy(out + row * row_bytes + i * size, from + i * step.column * size, size);
    }
    return status == RADLLM_OK ? check_finite(b, tensor, matrix) : status;
}

/* What changes kv_b, whose rows are each head's for its key, then those for its value. To the
 * heads' products of keys, which go from queries to short vectors, it is the transpose: for each
 * head A is that of its rows of B, B is that of A, and lengths are those of columns. */
static radllm_status read_latent(binder *b, const couple *c, bool keys, rad_adapter_pair *pair)
{
    const rad_latent *latent = &b->model->hparams.latent;
    const uint32_t rank = pair->b.n_columns, head = latent->plain + latent->value;
    const row_order plain = {.head = 1}, of_keys = {.head = rank, .step = head * rank};
    const row_order of_values = {.head = latent->value, .step = head};
    const row_order columns = {.head = latent->plain, .step = head};
    const steps a = {0, latent->rank, 1}, turned_a = {0, 1, latent->rank}, turned_b = {0, 1, rank};
    const steps values = {(size_t)latent->plain * rank, rank, 1};
    const steps lengths = {keys ? 0 : latent->plain, 1, 1};
    radllm_status status = keys ? read_matrix(b, c->b, &of_keys, turned_b, &pair->a)
                                : read_matrix(b, c->a, &plain, a, &pair->a);
    if (status == RADLLM_OK)
        status = keys ? read_matrix(b, c->a, &plain, turned_a, &pair->b)
                      : read_matrix(b, c->b, &of_values, values, &pair->b);
    if (status == RADLLM_OK && c->lengths != NULL)
        status = read_matrix(b, c->lengths, keys ? &columns : &of_values, lengths, &pair->lengths);
    return status;
}

/* Of expert number `expert` of the tensor, where it has several. */
static radllm_status read_pair(binder *b, const couple *c, uint32_t expert, rad_adapter_pair *pair)
{
    const row_order plain = {.head = 1}, order = order_of(b, c);
    extents x = measure(b, c);
    size_t rank = pair->b.n_columns, columns = pair->a.n_columns, n = x.n_experts;
    bool stack = c->a->rows == RAD_ADAPTER_ROWS_STACK;
    if (c->weight->by_head)
        return read_latent(b, c, x.keys, pair);
    steps a = {n > 1 || stack ? expert * rank * columns : 0, columns, 1};
    steps by = {stack ? expert * rank * pair->b.n_rows : n > 1 ? expert : 0, rank * n, n};
    if (x.table)
        a = (steps){0, 1, pair->a.n_rows};
    if (x.swapped) {
        a = (steps){expert, n, rank * n};
        by = (steps){expert * rank * (size_t)x.all_rows, 1, (size_t)x.all_rows};
    }
    radllm_status status = read_matrix(b, x.swapped ? c->b : c->a, &plain, a, &pair->a);
    if (status == RADLLM_OK)
        status = read_matrix(b, x.swapped ? c->a : c->b, &order, by, &pair->b);
    if (status == RADLLM_OK && c->lengths != NULL)
        status = read_matrix(b, c->lengths, &order, (steps){0, 1, 1}, &pair->lengths);
    return status;
}

static void hash_pair(rad_hasher *hasher, uint32_t slot, const rad_adapter_pair *pair)
{
    const rad_matrix *matrices[] = {&pair->a, &pair->b, &pair->lengths};
    uint64_t scale;
    memcpy(&scale, &pair->scale, sizeof scale);
    for (int i = 0; i < (pair->lengths.n_rows > 0 ? 3 : 2); i++) {
        const rad_matrix *m = matrices[i];
        const uint64_t head[] = {slot, m->type, m->n_rows, m->n_columns, scale};
        rad_hasher_add(hasher, head, sizeof head);
        rad_hasher_add(hasher, m->data,
                       (size_t)rad_matrix_bytes(m->type, RAD_LAYOUT_FILE, m->n_rows, m->n_columns));
    }
}

/* Its numbers, a piece at a time. */
static radllm_status hash_whole(const binder *b, rad_hasher *hasher, const rad_adapter_whole *whole)
{
    enum { PIECE = 1 << 16 };
    const rad_adapter *adapter = b->adapter;
    const rad_tensor *tensor = whole->tensor;
    uint8_t *piece = rad_alloc(&adapter->allocator, PIECE);
    if (piece == NULL)
        return rad_fail_memory(b->error, PIECE);
    const rad_tensor *own = whole->weight->tensor;
    const rad_text name = own != NULL ? own->name : (rad_text){"output.weight", 13};
    const uint64_t head[] = {tensor->type, tensor->n_bytes, name.size};
    rad_hasher_add(hasher, head, sizeof head);
    rad_hasher_add(hasher, name.data, name.size);
    radllm_status status = RADLLM_OK;
    for (uint64_t at = 0; at < tensor->n_bytes && status == RADLLM_OK; at += PIECE) {
        uint64_t left = tensor->n_bytes - at;
        size_t n = left < PIECE ? (size_t)left : PIECE;
        status =
            rad_source_read(adapter->source, tensor->part, tensor->offset + at, piece, n, b->error);
        if (status == RADLLM_OK)
            rad_hasher_add(hasher, piece, n);
    }
    rad_free(&adapter->allocator, piece, PIECE);
    return status;
}

static radllm_status read_pairs(binder *b)
{
    rad_adapter *adapter = b->adapter;
    rad_hasher hasher;
    radllm_status status = RADLLM_OK;
    rad_hasher_start(&hasher);
    rad_adapter_pair *pair = adapter->pairs;
    for (uint32_t slot = 0; slot < adapter->n_slots && status == RADLLM_OK; slot++) {
        const couple *c = &b->couples[slot];
        if (c->a == NULL)
            continue;
        uint32_t first = first_expert_slot(b->model);
        uint32_t expert = slot < first ? 0 : (slot - first) % b->model->hparams.router.n_experts;
        status = read_pair(b, c, expert, pair);
        if (status == RADLLM_OK)
            hash_pair(&hasher, slot, pair);
        pair++;
    }
    for (int i = 0; i < 2; i++)
        rad_free(&adapter->allocator, b->held[i].numbers, b->held[i].bytes);
    for (uint32_t i = 0; i < adapter->n_wholes && status == RADLLM_OK; i++)
        status = hash_whole(b, &hasher, &adapter->wholes[i]);
    rad_hasher_end(&hasher, adapter->digest);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static radllm_status allocate(binder *b)
{
    rad_adapter *adapter = b->adapter;
    const rad_allocator *allocator = &adapter->allocator;
    adapter->n_slots = first_expert_slot(b->model) + b->model->hparams.n_layers * EXPERT_ROLES *
                                                         b->model->hparams.router.n_experts;
    adapter->n_tensors = rad_source_n_tensors(adapter->source);
    b->couples = rad_alloc_zero(allocator, adapter->n_slots * sizeof *b->couples);
    adapter->slots = rad_alloc_zero(allocator, adapter->n_slots * sizeof *adapter->slots);
    adapter->wholes = rad_alloc_zero(allocator, adapter->n_tensors * sizeof *adapter->wholes);
    if (b->couples == NULL || adapter->wholes == NULL || adapter->slots == NULL)
        return rad_fail_memory(b->error, adapter->n_slots * sizeof *b->couples);
    return RADLLM_OK;
}

static radllm_status bind(binder *b, uint64_t limit)
{
    rad_adapter *adapter = b->adapter;
    uint64_t used = 0;
    radllm_status status = allocate(b);
    for (size_t i = 0; i < b->description.count && status == RADLLM_OK; i++)
        status = place_tensor(b, &b->description.tensors[i]);
    if (status == RADLLM_OK)
        status = make_pairs(b, &used);
    if (status != RADLLM_OK)
        return status;
    if (adapter->n_pairs + adapter->n_wholes == 0)
        return rad_fail(b->error, RADLLM_E_FORMAT, "%s: the adapter changes nothing",
                        rad_source_label(adapter->source));
    if (limit != 0 && used > limit)
        return rad_fail(b->error, RADLLM_E_BUDGET,
                        "%s: the adapter takes %llu bytes, more than the memory budget of %llu",
                        rad_source_label(adapter->source), (unsigned long long)used,
                        (unsigned long long)limit);
    adapter->data = rad_alloc(&adapter->allocator, (size_t)used);
    if (adapter->data == NULL && used > 0)
        return rad_fail_memory(b->error, (size_t)used);
    adapter->data_bytes = (size_t)used;
    return read_pairs(b);
}

radllm_status rad_adapter_open(rad_model *model, const char *path, bool merge, uint64_t limit,
                               rad_adapter **out, radllm_error *error)
{
    const rad_allocator *allocator = &model->host.allocator;
    rad_adapter *adapter = rad_alloc_zero(allocator, sizeof *adapter);
    if (adapter == NULL)
        return rad_fail_memory(error, sizeof *adapter);
    adapter->allocator = *allocator;
    atomic_init(&adapter->references, 1);
    adapter->id = atomic_fetch_add(&model->n_adapters, 1) + 1;
    binder b = {.adapter = adapter, .model = model, .merge = merge, .error = error};
    radllm_status status = rad_source_open(&model->host, path, &adapter->source, error);
    if (status == RADLLM_OK)
        status = rad_adapter_describe(adapter->source, model->hparams.architecture->name,
                                      &b.description, error);
    if (status == RADLLM_OK) {
        adapter->alpha = b.description.alpha;
        status = bind(&b, limit);
        rad_free(allocator, b.couples, adapter->n_slots * sizeof *b.couples);
        rad_adapter_forget(adapter->source, &b.description);
    }
    if (status != RADLLM_OK)
        rad_adapter_release(adapter);
    else
        *out = adapter;
    return status;
}

rad_adapter *rad_adapter_retain(rad_adapter *adapter)
{
    atomic_fetch_add_explicit(&adapter->references, 1, memory_order_relaxed);
    return adapter;
}

void rad_adapter_release(rad_adapter *adapter)
{
    if (adapter == NULL ||
        atomic_fetch_sub_explicit(&adapter->references, 1, memory_order_acq_rel) != 1)
        return;
    rad_allocator allocator = adapter->allocator;
    rad_source_release(adapter->source);
    rad_free(&allocator, adapter->slots, adapter->n_slots * sizeof *adapter->slots);
    rad_free(&allocator, adapter->pairs, (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs);
    rad_free(&allocator, adapter->wholes, adapter->n_tensors * sizeof *adapter->wholes);
    rad_free(&allocator, adapter->data, adapter->data_bytes);
    rad_free(&allocator, adapter, sizeof *adapter);
}

void rad_adapter_forget_numbers(rad_adapter *adapter)
{
    rad_free(&adapter->allocator, adapter->data, adapter->data_bytes);
    rad_source_release(adapter->source);
    adapter->data = NULL;
    adapter->data_bytes = 0;
    adapter->source = NULL;
}

uint64_t rad_adapter_bytes(const rad_adapter *adapter)
{
    return adapter->data_bytes + adapter->n_slots * sizeof *adapter->slots +
           (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs +
           adapter->n_tensors * sizeof *adapter->wholes;
}
