/* Finds each role's tensor by name. */
#include "model/bind.h"

#include <stdio.h>
#include <string.h>

#include "model/bind_weight.h"

typedef enum need {
    NEED_ALWAYS,
    NEED_OPTIONAL,
    NEED_FIRST_NORM,       /* where attention has a norm before it */
    NEED_QUERY,            /* where queries are one product */
    NEED_HEADS,            /* where keys and values are */
    NEED_HEADS_OPTIONAL,   /* the same, and it may be absent */
    NEED_LATENT,           /* where they come from short vectors */
    NEED_LATENT_QUERY,     /* where queries do too */
    NEED_EXPANDED,         /* where the cache holds the keys and values of heads */
    NEED_COMPRESSED,       /* where it holds the short vectors */
    NEED_HEAD_NORMS,       /* where the architecture normalises heads */
    NEED_QK_NORM_BIAS,     /* where it normalises all of them together */
    NEED_SANDWICH,         /* where it has second norms */
    NEED_SANDWICH_BIAS,    /* the same, and it may be absent */
    NEED_FFN_NORM,         /* where the feed-forward has a norm of its own */
    NEED_FFN_NORM_BIAS,    /* the same, and it may be absent */
    NEED_DENSE,            /* where the layer has no experts */
    NEED_DENSE_OPTIONAL,   /* the same, and it may be absent */
    NEED_EXPERTS,          /* where it has experts */
    NEED_EXPERTS_OPTIONAL, /* the same, and it may be absent */
    NEED_SHARED,           /* where a shared expert stands beside them */
    NEED_SHARED_GATED,     /* where that has a gate */
    NEED_GATE,             /* where a dense layer has a gate */
    NEED_GATE_OPTIONAL,    /* the same, and it may be absent */
    NEED_NORM_BIAS,        /* where norms may have biases */
    NEED_SUB_NORM,         /* where it has norms before the last products */
    NEED_SINKS             /* where heads have sinks */
} need;

typedef struct role_row {
    const char *name;   /* behind "blk.N." */
    rad_extent columns; /* dims[0] */
    rad_extent rows;    /* dims[1]; none: a vector */
    need need;
} role_row;

static const role_row role_rows[RAD_LAYER_WEIGHTS] = {
    [RAD_WEIGHT_ATTENTION_NORM] = {"attn_norm.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                   NEED_FIRST_NORM},
    [RAD_WEIGHT_ATTENTION_NORM_BIAS] = {"attn_norm.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                        NEED_NORM_BIAS},
    [RAD_WEIGHT_QUERY_A] = {"attn_q_a.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_Q_RANK,
                            NEED_LATENT_QUERY},
    [RAD_WEIGHT_QUERY_A_NORM] = {"attn_q_a_norm.weight", RAD_EXTENT_Q_RANK, RAD_EXTENT_NONE,
                                 NEED_LATENT_QUERY},
    [RAD_WEIGHT_QUERY_B] = {"attn_q_b.weight", RAD_EXTENT_Q_RANK, RAD_EXTENT_Q, NEED_LATENT_QUERY},
    [RAD_WEIGHT_KV_A] = {"attn_kv_a_mqa.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_RANK_ROTATED,
                         NEED_LATENT},
    [RAD_WEIGHT_KV_A_NORM] = {"attn_kv_a_norm.weight", RAD_EXTENT_RANK, RAD_EXTENT_NONE,
                              NEED_LATENT},
    [RAD_WEIGHT_KV_B] = {"attn_kv_b.weight", RAD_EXTENT_RANK, RAD_EXTENT_PLAIN_VALUE,
                         NEED_EXPANDED},
    [RAD_WEIGHT_KEY_B] = {"attn_k_b.weight", RAD_EXTENT_PLAIN, RAD_EXTENT_RANK, NEED_COMPRESSED},
    [RAD_WEIGHT_VALUE_B] = {"attn_v_b.weight", RAD_EXTENT_RANK, RAD_EXTENT_VALUE, NEED_COMPRESSED},
    [RAD_WEIGHT_QUERY] = {"attn_q.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_Q, NEED_QUERY},
    [RAD_WEIGHT_KEY] = {"attn_k.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_K, NEED_HEADS},
    [RAD_WEIGHT_VALUE] = {"attn_v.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_V, NEED_HEADS},
    [RAD_WEIGHT_QUERY_BIAS] = {"attn_q.bias", RAD_EXTENT_Q, RAD_EXTENT_NONE, NEED_HEADS_OPTIONAL},
    [RAD_WEIGHT_KEY_BIAS] = {"attn_k.bias", RAD_EXTENT_K, RAD_EXTENT_NONE, NEED_HEADS_OPTIONAL},
    [RAD_WEIGHT_VALUE_BIAS] = {"attn_v.bias", RAD_EXTENT_V, RAD_EXTENT_NONE, NEED_HEADS_OPTIONAL},
    [RAD_WEIGHT_QUERY_NORM] = {"attn_q_norm.weight", RAD_EXTENT_Q_NORM, RAD_EXTENT_NONE,
                               NEED_HEAD_NORMS},
    [RAD_WEIGHT_KEY_NORM] = {"attn_k_norm.weight", RAD_EXTENT_K_NORM, RAD_EXTENT_NONE,
                             NEED_HEAD_NORMS},
    [RAD_WEIGHT_QUERY_NORM_BIAS] = {"attn_q_norm.bias", RAD_EXTENT_Q_NORM, RAD_EXTENT_NONE,
                                    NEED_QK_NORM_BIAS},
    [RAD_WEIGHT_KEY_NORM_BIAS] = {"attn_k_norm.bias", RAD_EXTENT_K_NORM, RAD_EXTENT_NONE,
                                  NEED_QK_NORM_BIAS},
    [RAD_WEIGHT_OUTPUT] = {"attn_output.weight", RAD_EXTENT_ATTENDED, RAD_EXTENT_WIDTH,
                           NEED_ALWAYS},
    [RAD_WEIGHT_OUTPUT_BIAS] = {"attn_output.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                NEED_OPTIONAL},
    [RAD_WEIGHT_POST_ATTENTION_NORM] = {"post_attention_norm.weight", RAD_EXTENT_WIDTH,
                                        RAD_EXTENT_NONE, NEED_SANDWICH},
    [RAD_WEIGHT_ATTENTION_SUB_NORM] = {"attn_sub_norm.weight", RAD_EXTENT_ATTENDED, RAD_EXTENT_NONE,
                                       NEED_SUB_NORM},
    [RAD_WEIGHT_FFN_SUB_NORM] = {"ffn_sub_norm.weight", RAD_EXTENT_FFN, RAD_EXTENT_NONE,
                                 NEED_SUB_NORM},
    [RAD_WEIGHT_POST_ATTENTION_NORM_BIAS] = {"post_attention_norm.bias", RAD_EXTENT_WIDTH,
                                             RAD_EXTENT_NONE, NEED_SANDWICH_BIAS},
    [RAD_WEIGHT_SINKS] = {"attn_sinks.weight", RAD_EXTENT_HEADS, RAD_EXTENT_NONE, NEED_SINKS},
    [RAD_WEIGHT_FFN_NORM_BIAS] = {"ffn_norm.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                  NEED_FFN_NORM_BIAS},
    [RAD_WEIGHT_FFN_NORM] = {"ffn_norm.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE, NEED_FFN_NORM},
    [RAD_WEIGHT_GATE] = {"ffn_gate.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_FFN, NEED_GATE},
    [RAD_WEIGHT_UP] = {"ffn_up.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_FFN, NEED_DENSE},
    [RAD_WEIGHT_DOWN] = {"ffn_down.weight", RAD_EXTENT_FFN, RAD_EXTENT_WIDTH, NEED_DENSE},
    [RAD_WEIGHT_GATE_BIAS] = {"ffn_gate.bias", RAD_EXTENT_FFN, RAD_EXTENT_NONE, NEED_GATE_OPTIONAL},
    [RAD_WEIGHT_UP_BIAS] = {"ffn_up.bias", RAD_EXTENT_FFN, RAD_EXTENT_NONE, NEED_DENSE_OPTIONAL},
    [RAD_WEIGHT_DOWN_BIAS] = {"ffn_down.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                              NEED_DENSE_OPTIONAL},
    [RAD_WEIGHT_ROUTER] = {"ffn_gate_inp.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_EXPERTS,
                           NEED_EXPERTS},
    [RAD_WEIGHT_ROUTER_BIAS] = {"ffn_gate_inp.bias", RAD_EXTENT_EXPERTS, RAD_EXTENT_NONE,
                                NEED_EXPERTS_OPTIONAL},
    [RAD_WEIGHT_CHOICE_BIAS] = {"exp_probs_b.bias", RAD_EXTENT_EXPERTS, RAD_EXTENT_NONE,
                                NEED_EXPERTS_OPTIONAL},
    [RAD_WEIGHT_EXPERT_GATES] = {"ffn_gate_exps.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_EXPERT_FFN,
                                 NEED_EXPERTS},
    [RAD_WEIGHT_EXPERT_UPS] = {"ffn_up_exps.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_EXPERT_FFN,
                               NEED_EXPERTS},
    [RAD_WEIGHT_EXPERT_DOWNS] = {"ffn_down_exps.weight", RAD_EXTENT_EXPERT_FFN, RAD_EXTENT_WIDTH,
                                 NEED_EXPERTS},
    [RAD_WEIGHT_EXPERT_GATE_BIASES] = {"ffn_gate_exps.bias", RAD_EXTENT_EXPERT_FFN, RAD_EXTENT_NONE,
                                       NEED_EXPERTS_OPTIONAL},
    [RAD_WEIGHT_EXPERT_UP_BIASES] = {"ffn_up_exps.bias", RAD_EXTENT_EXPERT_FFN, RAD_EXTENT_NONE,
                                     NEED_EXPERTS_OPTIONAL},
    [RAD_WEIGHT_EXPERT_DOWN_BIASES] = {"ffn_down_exps.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                       NEED_EXPERTS_OPTIONAL},
    [RAD_WEIGHT_SHARED_ROUTER] = {"ffn_gate_inp_shexp.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_ONE,
                                  NEED_SHARED_GATED},
    [RAD_WEIGHT_SHARED_GATE] = {"ffn_gate_shexp.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_SHARED_FFN,
                                NEED_SHARED},
    [RAD_WEIGHT_SHARED_UP] = {"ffn_up_shexp.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_SHARED_FFN,
                              NEED_SHARED},
    [RAD_WEIGHT_SHARED_DOWN] = {"ffn_down_shexp.weight", RAD_EXTENT_SHARED_FFN, RAD_EXTENT_WIDTH,
                                NEED_SHARED},
    [RAD_WEIGHT_POST_FFN_NORM] = {"post_ffw_norm.weight", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                  NEED_SANDWICH},
    [RAD_WEIGHT_POST_FFN_NORM_BIAS] = {"post_ffw_norm.bias", RAD_EXTENT_WIDTH, RAD_EXTENT_NONE,
                                       NEED_SANDWICH_BIAS},
};

static bool is_by_head(int role)
{
    return role == RAD_WEIGHT_KEY_B || role == RAD_WEIGHT_VALUE_B;
}

/* How many matrices, or vectors, a role's tensor holds, in one dimension more: of all experts, or
 * of all heads. 1: it is no stack. */
static uint32_t stack_of(const rad_hparams *h, const rad_layer_params *layer, int role)
{
    if (role >= RAD_WEIGHT_EXPERT_GATES && role <= RAD_WEIGHT_EXPERT_DOWN_BIASES)
        return h->router.n_experts;
    return is_by_head(role) ? layer->n_heads : 1;
}

/* ---- experts that are a tensor each ---------------------------------------------------------- */

/* blk.3.ffn_gate.5.weight; "" for a role that files never had so. */
static void name_expert(uint32_t layer, int role, uint32_t expert, char *name, size_t size)
{
    static const char *const names[] = {"ffn_gate", "ffn_up", "ffn_down"};
    name[0] = '\0';
    if (role >= RAD_WEIGHT_EXPERT_GATES && role <= RAD_WEIGHT_EXPERT_DOWNS)
        snprintf(name, size, "blk.%u.%s.%u.weight", layer, names[role - RAD_WEIGHT_EXPERT_GATES],
                 expert);
}

static bool has_expert_tensors(const rad_model *model, uint32_t layer, int role)
{
    char name[64];
    name_expert(layer, role, 0, name, sizeof name);
    return rad_source_find_tensor(model->source, name) != NULL;
}

static radllm_status check_expert(const rad_model *model, const rad_tensor *tensor,
                                  const rad_tensor *first, rad_shape wanted, radllm_error *error)
{
    wanted.n_experts = 1;
    radllm_status status = rad_shape_check(model, tensor, &wanted, error);
    if (status != RADLLM_OK)
        return status;
    uint32_t n, n_first;
    (void)rad_tensor_columns(tensor, &n);
    (void)rad_tensor_columns(first, &n_first);
    if (n != n_first)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor %s has groups of columns of other sizes than the first "
                        "expert's: this version wants them alike; fetch the model in another form",
                        rad_source_label(model->source), tensor->name.data);
    if (tensor->type == first->type && rad_type_find(tensor->type)->tail_bytes == 0)
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: tensor %s has the type %s, the first expert's tensor %s; experts that "
                    "have a tensor each must be of one type without a scale of its own: quantize "
                    "the model again",
                    rad_source_label(model->source), tensor->name.data,
                    rad_type_find(tensor->type)->name, rad_type_find(first->type)->name);
}

/* What the tensors of experts are multiplied with, where folders have that. */
static radllm_status take_part_scales(rad_model *model, rad_weight *weight, radllm_error *error)
{
    bool any = false;
    for (uint32_t e = 0; e < weight->n_experts; e++)
        any = any || rad_tensor_scale(weight->parts[e].tensor) != 1.0f;
    if (!any)
        return RADLLM_OK;
    const size_t bytes = weight->n_experts * sizeof(float);
    float *scales = rad_arena_alloc(&model->arena, bytes, 64);
    if (scales == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t e = 0; e < weight->n_experts; e++)
        scales[e] = rad_tensor_scale(weight->parts[e].tensor);
    weight->scales = scales;
    return RADLLM_OK;
}

/* Mixtral files of the first months: one weight, whose rows stand in many places. */
static radllm_status bind_experts(rad_model *model, uint32_t layer, int role, rad_shape wanted,
                                  bool file_layout, rad_weight *weight, radllm_error *error)
{
    size_t bytes = wanted.n_experts * sizeof *weight->parts;
    rad_weight_part *parts = rad_arena_alloc_zero(&model->arena, bytes, _Alignof(rad_weight_part));
    if (parts == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t e = 0; e < wanted.n_experts; e++) {
        char name[64];
        name_expert(layer, role, e, name, sizeof name);
        parts[e].tensor = rad_source_find_tensor(model->source, name);
        if (parts[e].tensor == NULL)
            return rad_bind_missing(model, name, error);
        radllm_status status = check_expert(model, parts[e].tensor, parts[0].tensor, wanted, error);
        if (status != RADLLM_OK)
            return status;
    }
    weight->n_experts = wanted.n_experts;
    weight->parts = parts;
    weight->tensor = parts[0].tensor;
    radllm_status status = rad_bind_matrix(model, weight, &wanted, file_layout, error);
    return status == RADLLM_OK ? take_part_scales(model, weight, error) : status;
}

/* Whether a role is looked for in a layer; *required: and must be there. */
static bool is_expected(const rad_hparams *h, uint32_t layer, need need, bool *required)
{
    const rad_architecture *a = h->architecture;
    bool experts = rad_has_experts(h, layer);
    *required = need != NEED_OPTIONAL && need != NEED_DENSE_OPTIONAL &&
                need != NEED_EXPERTS_OPTIONAL && need != NEED_GATE_OPTIONAL &&
                need != NEED_NORM_BIAS && need != NEED_FFN_NORM_BIAS &&
                need != NEED_HEADS_OPTIONAL && need != NEED_QK_NORM_BIAS &&
                need != NEED_SANDWICH_BIAS && !(need == NEED_HEAD_NORMS && a->qk_layer_norms);
    switch (need) {
    case NEED_ALWAYS:
    case NEED_OPTIONAL:
        return true;
    case NEED_FIRST_NORM:
        return !a->encoder;
    case NEED_QUERY:
        return h->latent.query_rank == 0;
    case NEED_HEADS:
    case NEED_HEADS_OPTIONAL:
        return h->latent.rank == 0;
    case NEED_LATENT:
        return h->latent.rank > 0;
    case NEED_LATENT_QUERY:
        return h->latent.query_rank > 0;
    case NEED_EXPANDED:
        return h->latent.rank > 0 && !h->latent.compressed;
    case NEED_COMPRESSED:
        return h->latent.compressed;
    case NEED_HEAD_NORMS:
        return a->head_norms || a->qk_layer_norms;
    case NEED_QK_NORM_BIAS:
        return a->qk_layer_norms;
    case NEED_SANDWICH:
        return a->sandwich_norms || a->encoder;
    case NEED_SANDWICH_BIAS:
        return a->encoder;
    case NEED_DENSE:
    case NEED_DENSE_OPTIONAL:
        return !experts;
    case NEED_EXPERTS:
    case NEED_EXPERTS_OPTIONAL:
        return experts;
    case NEED_GATE:
    case NEED_GATE_OPTIONAL:
        return !experts && rad_has_gate(a->gate);
    case NEED_FFN_NORM:
        return !a->parallel && !a->encoder;
    case NEED_FFN_NORM_BIAS:
        return a->layer_norms && !a->parallel && !a->encoder;
    case NEED_NORM_BIAS:
        return a->layer_norms && !a->encoder;
    case NEED_SUB_NORM:
        return a->sub_norms;
    case NEED_SINKS:
        return a->sinks;
    case NEED_SHARED:
        return experts && h->shared_ffn > 0;
    case NEED_SHARED_GATED:
        return experts && h->shared_ffn > 0 && a->shared_experts == RAD_SHARED_GATED;
    }
    return false;
}

static bool is_qkv(int role)
{
    return role >= RAD_WEIGHT_QUERY && role <= RAD_WEIGHT_VALUE_BIAS;
}

static bool is_gate_or_up(int role)
{
    return role == RAD_WEIGHT_GATE || role == RAD_WEIGHT_UP;
}

static bool has_tensor(const rad_model *model, uint32_t layer, const char *end)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s.weight", layer, end);
    return rad_source_find_tensor(model->source, name) != NULL;
}

/* Whether files of an architecture have the role's matrix as a part of another. */
static bool is_usually_fused(const rad_architecture *a, int role)
{
    return is_qkv(role) ? a->fused_qkv : is_gate_or_up(role) && a->fused_gate_up;
}

/* Whether this one has: converters of different years write queries, keys and values apart, or in
 * one; and ExLlamaV2 takes apart what is one elsewhere (Phi-3). */
static bool is_fused(const rad_model *model, uint32_t layer, int role)
{
    if (is_qkv(role) && has_tensor(model, layer, "attn_qkv"))
        return true;
    return is_usually_fused(model->hparams.architecture, role) &&
           !has_tensor(model, layer, is_qkv(role) ? "attn_q" : "ffn_gate");
}

/* Norms of the stream, which stand where others have second norms. */
static const char *encoder_name(int role)
{
    switch (role) {
    case RAD_WEIGHT_POST_ATTENTION_NORM:
        return "attn_output_norm.weight";
    case RAD_WEIGHT_POST_ATTENTION_NORM_BIAS:
        return "attn_output_norm.bias";
    case RAD_WEIGHT_POST_FFN_NORM:
        return "layer_output_norm.weight";
    case RAD_WEIGHT_POST_FFN_NORM_BIAS:
        return "layer_output_norm.bias";
    default:
        return NULL;
    }
}

/* fused: by is_fused() of this role. */
static void name_tensor(const rad_hparams *h, uint32_t layer, int role, bool fused, char *name,
                        size_t size)
{
    const rad_architecture *a = h->architecture;
    if (fused && is_qkv(role))
        snprintf(name, size, "blk.%u.attn_qkv.%s", layer,
                 role >= RAD_WEIGHT_QUERY_BIAS ? "bias" : "weight");
    else if (fused && is_gate_or_up(role))
        snprintf(name, size, "blk.%u.ffn_up.weight", layer);
    else if (a->ffn_norm != NULL && role == RAD_WEIGHT_FFN_NORM)
        snprintf(name, size, "blk.%u.%s.weight", layer, a->ffn_norm);
    else if (a->encoder && encoder_name(role) != NULL)
        snprintf(name, size, "blk.%u.%s", layer, encoder_name(role));
    else
        snprintf(name, size, "blk.%u.%s", layer, role_rows[role].name);
}

/* Gates and ups as parts of one tensor, in this order. */
static void take_half(const rad_layer_params *params, int role, rad_shape *wanted)
{
    if (!is_gate_or_up(role))
        return;
    wanted->first = role == RAD_WEIGHT_GATE ? 0 : params->ffn_length;
    wanted->n_part = params->ffn_length;
    wanted->rows = 2 * (uint64_t)params->ffn_length;
}

/* Queries, keys and values as parts of one tensor, in this order. */
static void take_part(const rad_hparams *h, const rad_layer_params *params, int role,
                      rad_shape *wanted)
{
    uint64_t q = rad_extent_of(h, params, RAD_EXTENT_Q), k = rad_extent_of(h, params, RAD_EXTENT_K),
             v = rad_extent_of(h, params, RAD_EXTENT_V);
    if (!is_qkv(role))
        return;
    int part = (role - RAD_WEIGHT_QUERY) % 3;
    wanted->first = part == 0 ? 0 : part == 1 ? q : q + k;
    wanted->n_part = part == 0 ? q : part == 1 ? k : v;
    *(wanted->is_matrix ? &wanted->rows : &wanted->columns) = q + k + v;
}

static radllm_status bind_role(rad_model *model, uint32_t index, int role, bool required,
                               bool file_layout, radllm_error *error)
{
    const rad_hparams *h = &model->hparams;
    const rad_layer_params *params = &h->layers[index];
    const role_row *row = &role_rows[role];
    rad_weight *weight = &model->layers[index].weights[role];
    rad_shape wanted = rad_shape_of(h, params, row->columns, row->rows);
    wanted.n_experts = stack_of(h, params, role);
    wanted.of_stack = is_by_head(role) ? RAD_EXTENT_HEADS : RAD_EXTENT_EXPERTS;
    bool fused = is_fused(model, index, role);
    if (fused) {
        take_part(h, params, role, &wanted);
        take_half(params, role, &wanted);
    }
    if (has_expert_tensors(model, index, role))
        return bind_experts(model, index, role, wanted, file_layout, weight, error);
    char name[64];
    name_tensor(h, index, role, fused, name, sizeof name);
    weight->by_head = is_by_head(role);
    return rad_bind_tensor(model, name, wanted, required, file_layout, weight, error);
}

static radllm_status bind_layer(rad_model *model, uint32_t index, bool file_layout,
                                radllm_error *error)
{
    for (int role = 0; role < RAD_LAYER_WEIGHTS; role++) {
        bool required;
        if (!is_expected(&model->hparams, index, role_rows[role].need, &required))
            continue;
        radllm_status status = bind_role(model, index, role, required, file_layout, error);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

/* What may be absent is so in all layers: where one alone lacks it, it was lost. */
static radllm_status check_alike(const rad_model *model, int role, radllm_error *error)
{
    const rad_hparams *h = &model->hparams;
    uint32_t with = 0, without = 0; /* a layer's number, and one */
    for (uint32_t i = 0; i < h->n_layers; i++) {
        bool required;
        if (is_expected(h, i, role_rows[role].need, &required))
            *(model->layers[i].weights[role].tensor != NULL ? &with : &without) = i + 1;
    }
    if (with == 0 || without == 0)
        return RADLLM_OK;
    char name[64];
    name_tensor(h, without - 1, role, is_fused(model, without - 1, role), name, sizeof name);
    return rad_bind_missing(model, name, error);
}

/* Reads a list of divisors of rotations from the tensor, or from the array of a folder's
 * configuration. */
static radllm_status read_divisors(const rad_model *model, const char *name,
                                   const rad_tensor *tensor, const rad_meta *meta, float *values,
                                   radllm_error *error)
{
    const char *label = rad_source_label(model->source);
    uint32_t n = model->hparams.rope.n_pairs;
    if (tensor != NULL && tensor->type != RAD_TYPE_F32)
        return rad_fail(error, RADLLM_E_UNSUPPORTED, "%s: tensor %s must be F32", label, name);
    if (tensor == NULL && (!meta->is_array || meta->type != RAD_META_F64 || meta->count != n))
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: %s has %llu numbers; there must be one for each of the %u pairs that "
                        "rotate; fetch or convert the model again",
                        label, name, (unsigned long long)meta->count, n);
    radllm_status status = RADLLM_OK;
    if (tensor != NULL)
        status = rad_source_read_tensor(model->source, tensor, 0, values, n * sizeof(float), error);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        if (tensor == NULL)
            values[i] = (float)rad_meta_item_f64(meta, i);
        if (!(values[i] > 0.0f && values[i] < 1e9f))
            status = rad_fail(error, RADLLM_E_FORMAT, "%s: %s: value %u is not a positive number",
                              label, name, i);
    }
    return status;
}

/* *out stays NULL where the file has no such list. */
static radllm_status bind_divisors(rad_model *model, const char *name, const char *key,
                                   const float **out, radllm_error *error)
{
    char full[96];
    rad_weight divisors = {0};
    rad_shape wanted = {.columns = model->hparams.rope.n_pairs, .rows = 1, .n_experts = 1};
    radllm_status status = rad_bind_tensor(model, name, wanted, false, true, &divisors, error);
    snprintf(full, sizeof full, "%s.%s", model->hparams.architecture->name, key);
    const rad_meta *meta = rad_source_find_meta(model->source, full);
    if (status != RADLLM_OK || (divisors.tensor == NULL && meta == NULL))
        return status;
    size_t bytes = model->hparams.rope.n_pairs * sizeof(float);
    float *values = rad_arena_alloc(&model->arena, bytes, 64);
    if (values == NULL)
        return rad_fail_memory(error, bytes);
    *out = values;
    return read_divisors(model, divisors.tensor != NULL ? name : full, divisors.tensor, meta,
                         values, error);
}

static radllm_status bind_rope_divisors(rad_model *model, radllm_error *error)
{
    if (model->hparams.rope.scaling != RAD_ROPE_LONG)
        return bind_divisors(model, "rope_freqs.weight", "", &model->rope_divisors, error);
    radllm_status status =
        bind_divisors(model, "rope_factors_short.weight", "rope.scaling.short_factors",
                      &model->rope_divisors, error);
    if (status == RADLLM_OK)
        status = bind_divisors(model, "rope_factors_long.weight", "rope.scaling.long_factors",
                               &model->long_rope_divisors, error);
    if (status == RADLLM_OK && (model->rope_divisors == NULL || model->long_rope_divisors == NULL))
        status = rad_fail(error, RADLLM_E_FORMAT,
                          "%s: rotations are scaled by longrope, which needs two lists of factors "
                          "(rope_factors_short, rope_factors_long); one is missing: convert the "
                          "model again",
                          rad_source_label(model->source));
    return status;
}

/* What stands before and behind the layers. */
static radllm_status bind_ends(rad_model *model, bool file_layout, radllm_error *error)
{
    const rad_hparams *h = &model->hparams;
    const rad_architecture *a = h->architecture;
    const rad_shape table = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_VOCABULARY);
    const rad_shape vector = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_NONE);
    const rad_shape logits = rad_shape_of(h, NULL, RAD_EXTENT_VOCABULARY, RAD_EXTENT_NONE);
    const rad_shape places = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_PLACES);
    const rad_shape types = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_TYPES);
    bool normed = a->embedding_norm || a->encoder;
    bool learned = a->learned_positions || (a->alibi == RAD_ALIBI_KEYED && h->max_alibi_bias == 0);
    const struct {
        const char *name;
        const rad_shape *wanted;
        bool expected, required;
        bool file_layout; /* where rows are only looked up */
        rad_weight *weight;
    } ends[] = {
        {"token_embd.weight", &table, true, true, file_layout, &model->embedding},
        {"token_types.weight", &types, h->n_token_types > 0, true, true, &model->token_types},
        {"token_embd_norm.weight", &vector, normed, true, true, &model->embedding_norm},
        {"token_embd_norm.bias", &vector, normed && a->layer_norms, false, true,
         &model->embedding_norm_bias},
        {"position_embd.weight", &places, learned, true, true, &model->positions},
        {"output_norm.weight", &vector, !a->encoder, true, true, &model->output_norm},
        {"output_norm.bias", &vector, a->layer_norms && !a->encoder, false, true,
         &model->output_norm_bias},
        {"output.weight", &table, !a->encoder, false, file_layout, &model->output},
        {"output.bias", &logits, a->output_bias, false, true, &model->output_bias},
    };
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof ends / sizeof *ends && status == RADLLM_OK; i++) {
        if (ends[i].expected)
            status = rad_bind_tensor(model, ends[i].name, *ends[i].wanted, ends[i].required,
                                     ends[i].file_layout, ends[i].weight, error);
    }
    if (model->output.tensor != NULL || a->encoder)
        model->embedding.matrix.layout = RAD_LAYOUT_FILE;
    return status;
}

/* Where the layers' norms have biases, what stands before and behind the layers has them too. */
static radllm_status check_end_biases(const rad_model *model, radllm_error *error)
{
    const rad_weight *weights = model->layers[0].weights;
    if (weights[RAD_WEIGHT_ATTENTION_NORM_BIAS].tensor == NULL &&
        weights[RAD_WEIGHT_POST_ATTENTION_NORM_BIAS].tensor == NULL)
        return RADLLM_OK;
    if (model->embedding_norm.tensor != NULL && model->embedding_norm_bias.tensor == NULL)
        return rad_bind_missing(model, "token_embd_norm.bias", error);
    if (model->output_norm.tensor != NULL && model->output_norm_bias.tensor == NULL)
        return rad_bind_missing(model, "output_norm.bias", error);
    if (model->hparams.architecture->output_bias && model->output_bias.tensor == NULL)
        return rad_bind_missing(model, "output.bias", error);
    return RADLLM_OK;
}

radllm_status rad_bind_tensors(rad_model *model, bool file_layout, radllm_error *error)
{
    const rad_hparams *h = &model->hparams;
    radllm_status status = bind_ends(model, file_layout, error);
    if (status != RADLLM_OK)
        return status;
    size_t bytes = h->n_layers * sizeof *model->layers;
    model->layers = rad_arena_alloc_zero(&model->arena, bytes, _Alignof(rad_layer));
    if (model->layers == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t i = 0; i < h->n_layers && status == RADLLM_OK; i++)
        status = bind_layer(model, i, file_layout, error);
    if (status == RADLLM_OK)
        status = bind_rope_divisors(model, error);
    if (status == RADLLM_OK)
        status = rad_check_leftovers(model, error);
    for (int role = 0; role < RAD_LAYER_WEIGHTS && status == RADLLM_OK; role++)
        status = check_alike(model, role, error);
    return status == RADLLM_OK ? check_end_biases(model, error) : status;
}

/* ---- shapes of a model that is not at hand --------------------------------------------------- */

static radllm_status give_shape(const rad_shape *wanted, const char *name, rad_give_shape give,
                                void *user, radllm_error *error)
{
    uint64_t dims[4] = {wanted->columns, wanted->is_matrix ? wanted->rows : wanted->n_experts,
                        wanted->is_matrix ? wanted->n_experts : 1, 1};
    uint32_t n_dims = dims[2] > 1 ? 3 : wanted->is_matrix || dims[1] > 1 ? 2 : 1;
    return give(user, name, n_dims, dims, error);
}

/* Queries, keys and values, or gates and ups, may be one tensor, which the first of them names. */
static bool is_named_before(const rad_hparams *h, int role)
{
    const rad_architecture *a = h->architecture;
    return (a->fused_qkv && is_qkv(role) && (role - RAD_WEIGHT_QUERY) % 3 != 0) ||
           (a->fused_gate_up && role == RAD_WEIGHT_UP);
}

static radllm_status list_layer(const rad_hparams *h, uint32_t index, rad_give_shape give,
                                void *user, radllm_error *error)
{
    const rad_layer_params *params = &h->layers[index];
    radllm_status status = RADLLM_OK;
    for (int role = 0; role < RAD_LAYER_WEIGHTS && status == RADLLM_OK; role++) {
        const role_row *row = &role_rows[role];
        bool required = false;
        if (!is_expected(h, index, row->need, &required) || is_named_before(h, role))
            continue;
        if (!required && !(h->architecture->qkv_biases && row->need == NEED_HEADS_OPTIONAL))
            continue;
        rad_shape wanted = rad_shape_of(h, params, row->columns, row->rows);
        wanted.n_experts = stack_of(h, params, role);
        const bool fused = is_usually_fused(h->architecture, role);
        if (fused) {
            take_part(h, params, role, &wanted);
            take_half(params, role, &wanted);
        }
        char name[64];
        name_tensor(h, index, role, fused, name, sizeof name);
        status = give_shape(&wanted, name, give, user, error);
    }
    return status;
}

radllm_status rad_bind_list(const rad_hparams *h, bool tied, rad_give_shape give, void *user,
                            radllm_error *error)
{
    const rad_shape table = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_VOCABULARY);
    const rad_shape vector = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_NONE);
    const rad_shape places = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_PLACES);
    const rad_shape types = rad_shape_of(h, NULL, RAD_EXTENT_WIDTH, RAD_EXTENT_TYPES);
    const bool encoder = h->architecture->encoder;
    radllm_status status = give_shape(&table, "token_embd.weight", give, user, error);
    if (status == RADLLM_OK && h->n_token_types > 0)
        status = give_shape(&types, "token_types.weight", give, user, error);
    if (status == RADLLM_OK && (encoder || h->architecture->embedding_norm))
        status = give_shape(&vector, "token_embd_norm.weight", give, user, error);
    if (status == RADLLM_OK && h->architecture->learned_positions)
        status = give_shape(&places, "position_embd.weight", give, user, error);
    if (status == RADLLM_OK && !encoder)
        status = give_shape(&vector, "output_norm.weight", give, user, error);
    if (status == RADLLM_OK && !tied && !encoder)
        status = give_shape(&table, "output.weight", give, user, error);
    for (uint32_t i = 0; i < h->n_layers && status == RADLLM_OK; i++)
        status = list_layer(h, i, give, user, error);
    return status;
}
