#include "quantize/mixture.h"

#include <stdio.h>
#include <string.h>

/* The order is that of RAD_FILE_TYPE_NAMES: from many bits to few. */
const rad_file_type rad_file_types[RAD_FILE_TYPES] = {
    {"F32", 0, RAD_TYPE_F32, false},          {"F16", 1, RAD_TYPE_F16, false},
    {"BF16", 32, RAD_TYPE_BF16, false},       {"Q8_0", 7, RAD_TYPE_Q8_0, false},
    {"Q6_K", 18, RAD_TYPE_Q6_K, false},       {"Q5_K_M", 17, RAD_TYPE_Q5_K, false},
    {"Q5_K_S", 16, RAD_TYPE_Q5_K, false},     {"Q5_1", 9, RAD_TYPE_Q5_1, false},
    {"Q5_0", 8, RAD_TYPE_Q5_0, false},        {"Q4_K_M", 15, RAD_TYPE_Q4_K, false},
    {"Q4_K_S", 14, RAD_TYPE_Q4_K, false},     {"IQ4_NL", 25, RAD_TYPE_IQ4_NL, false},
    {"IQ4_XS", 30, RAD_TYPE_IQ4_XS, false},   {"MXFP4", 38, RAD_TYPE_MXFP4, false},
    {"MXFP4_MOE", 38, RAD_TYPE_MXFP4, false}, {"NVFP4", 39, RAD_TYPE_NVFP4, false},
    {"Q4_1", 3, RAD_TYPE_Q4_1, false},        {"Q4_0", 2, RAD_TYPE_Q4_0, false},
    {"Q3_K_L", 13, RAD_TYPE_Q3_K, false},     {"Q3_K_M", 12, RAD_TYPE_Q3_K, false},
    {"Q3_K_S", 11, RAD_TYPE_Q3_K, false},     {"Q2_K", 10, RAD_TYPE_Q2_K, false},
    {"Q2_K_S", 21, RAD_TYPE_Q2_K, false},     {"TQ2_0", 37, RAD_TYPE_TQ2_0, false},
    {"TQ1_0", 36, RAD_TYPE_TQ1_0, false},     {"Q2_0", 41, RAD_TYPE_Q2_0, false},
    {"Q1_0", 40, RAD_TYPE_Q1_0, false},       {"COPY", 0, RAD_TYPE_F32, true},
};

/* ---- roles --------------------------------------------------------------------------------------
 */

typedef enum role {
    ROLE_OTHER,
    ROLE_OUTPUT,
    ROLE_EMBEDDING,
    ROLE_VALUES,
    ROLE_KEYS,
    ROLE_ATTENTION_OUTPUT,
    ROLE_DOWN
} role;

static bool has(const rad_tensor *tensor, const char *part)
{
    return strstr(tensor->name.data, part) != NULL;
}

bool rad_mixture_makes_values(const rad_tensor *tensor)
{
    return has(tensor, "attn_v.weight") || has(tensor, "attn_qkv.weight") ||
           has(tensor, "attn_kv_b.weight");
}

static role role_of(const rad_tensor *tensor)
{
    if (strcmp(tensor->name.data, "output.weight") == 0)
        return ROLE_OUTPUT;
    if (strcmp(tensor->name.data, "token_embd.weight") == 0 ||
        strcmp(tensor->name.data, "per_layer_token_embd.weight") == 0)
        return ROLE_EMBEDDING;
    if (rad_mixture_makes_values(tensor))
        return ROLE_VALUES;
    if (has(tensor, "attn_k.weight"))
        return ROLE_KEYS;
    if (has(tensor, "attn_output.weight"))
        return ROLE_ATTENTION_OUTPUT;
    return has(tensor, "ffn_down") ? ROLE_DOWN : ROLE_OTHER;
}

int rad_mixture_list(const rad_tensor *tensor)
{
    role role = rad_mixture_applies(tensor) ? role_of(tensor) : ROLE_OTHER;
    return role == ROLE_VALUES ? 0 : role == ROLE_DOWN ? 1 : -1;
}

int64_t rad_mixture_layer(const rad_tensor *tensor)
{
    const char *text = tensor->name.data;
    if (strncmp(text, "blk.", 4) != 0 || text[4] < '0' || text[4] > '9')
        return -1;
    int64_t layer = 0;
    for (text += 4; *text >= '0' && *text <= '9' && layer < 1000000; text++)
        layer = layer * 10 + (*text - '0');
    return *text == '.' ? layer : -1;
}

bool rad_mixture_applies(const rad_tensor *tensor)
{
    static const char *const kept[] = {"_norm.weight",
                                       "ffn_gate_inp.weight",
                                       "altup",
                                       "laurel",
                                       "per_layer_model_proj",
                                       "ssm_conv1d",
                                       "shortconv.conv",
                                       "time_mix_first.weight",
                                       "time_mix_w0.weight",
                                       "time_mix_w1.weight",
                                       "time_mix_w2.weight",
                                       "time_mix_v0.weight",
                                       "time_mix_v1.weight",
                                       "time_mix_v2.weight",
                                       "time_mix_a0.weight",
                                       "time_mix_a1.weight",
                                       "time_mix_a2.weight",
                                       "time_mix_g1.weight",
                                       "time_mix_g2.weight",
                                       "time_mix_decay_w",
                                       "time_mix_lerp_fused.weight",
                                       "attn_rel_b.weight",
                                       ".position_embd",
                                       ".patch_embd",
                                       ".patch_merger",
                                       ".rel_pos",
                                       "a.rvq.codebook",
                                       "mm.a.code_embd",
                                       "sam.pos_embd",
                                       "sam.neck.",
                                       "sam.net_",
                                       "indexer.k_proj",
                                       "indexer.q_proj",
                                       "ffn_gate_tid2eid"};
    size_t size = tensor->name.size;
    /* A third dimension of experts alone makes no matrix of a vector. */
    if (tensor->n_dims < 2 || size < 6 || strcmp(tensor->name.data + size - 6, "weight") != 0 ||
        tensor->n_elements == tensor->dims[0])
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (has(tensor, kept[i]))
            return false;
    return strcmp(tensor->name.data, "position_embd.weight") != 0 &&
           strcmp(tensor->name.data, "token_types.weight") != 0;
}

/* ---- the rules ----------------------------------------------------------------------------------
 */

typedef enum condition {
    ALWAYS,
    MORE_BITS,      /* the first and the last eighth of the layers, and every third between */
    FIRST_TWO,      /* tensors of the role */
    FIRST_FOUR,     /* the same */
    FIRST_EIGHTH,   /* of the layers */
    FIRST_16TH,     /* the same */
    UNWEIGHTED_8TH, /* the first eighth, where there is no matrix of importance */
    WEIGHTED_8TH,   /* the first eighth, where there is one */
    GROUPS_OF_FOUR, /* four or more heads share keys and values */
    EIGHT_EXPERTS
} condition;

typedef struct rule {
    const char *file;
    role role;
    condition when;
    rad_type type;
} rule;

/* Of a file's rules for a role the first whose condition holds counts. */
static const rule rules[] = {
    {"Q2_K", ROLE_VALUES, GROUPS_OF_FOUR, RAD_TYPE_Q4_K},
    {"Q2_K", ROLE_VALUES, ALWAYS, RAD_TYPE_Q3_K},
    {"Q2_K", ROLE_DOWN, ALWAYS, RAD_TYPE_Q3_K},
    {"Q2_K", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"Q2_K", ROLE_ATTENTION_OUTPUT, ALWAYS, RAD_TYPE_Q3_K},
    {"Q2_K_S", ROLE_VALUES, GROUPS_OF_FOUR, RAD_TYPE_Q4_K},
    {"Q2_K_S", ROLE_DOWN, FIRST_EIGHTH, RAD_TYPE_Q4_K},
    {"Q3_K_S", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"Q3_K_M", ROLE_VALUES, FIRST_TWO, RAD_TYPE_Q5_K},
    {"Q3_K_M", ROLE_VALUES, ALWAYS, RAD_TYPE_Q4_K},
    {"Q3_K_M", ROLE_DOWN, FIRST_16TH, RAD_TYPE_Q5_K},
    {"Q3_K_M", ROLE_DOWN, ALWAYS, RAD_TYPE_Q4_K},
    {"Q3_K_M", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"Q3_K_M", ROLE_ATTENTION_OUTPUT, ALWAYS, RAD_TYPE_Q4_K},
    {"Q3_K_L", ROLE_VALUES, ALWAYS, RAD_TYPE_Q5_K},
    {"Q3_K_L", ROLE_DOWN, ALWAYS, RAD_TYPE_Q5_K},
    {"Q3_K_L", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q3_K},
    {"Q3_K_L", ROLE_ATTENTION_OUTPUT, ALWAYS, RAD_TYPE_Q5_K},
    {"Q4_0", ROLE_DOWN, WEIGHTED_8TH, RAD_TYPE_Q4_1},
    {"Q5_0", ROLE_DOWN, WEIGHTED_8TH, RAD_TYPE_Q5_1},
    {"Q4_K_S", ROLE_VALUES, FIRST_FOUR, RAD_TYPE_Q5_K},
    {"Q4_K_S", ROLE_DOWN, FIRST_EIGHTH, RAD_TYPE_Q5_K},
    {"Q4_K_S", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"Q4_K_M", ROLE_VALUES, MORE_BITS, RAD_TYPE_Q6_K},
    {"Q4_K_M", ROLE_DOWN, MORE_BITS, RAD_TYPE_Q6_K},
    {"Q4_K_M", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"Q5_K_M", ROLE_VALUES, MORE_BITS, RAD_TYPE_Q6_K},
    {"Q5_K_M", ROLE_DOWN, MORE_BITS, RAD_TYPE_Q6_K},
    {"IQ4_NL", ROLE_VALUES, GROUPS_OF_FOUR, RAD_TYPE_Q5_K},
    {"IQ4_NL", ROLE_DOWN, UNWEIGHTED_8TH, RAD_TYPE_Q5_K},
    {"IQ4_NL", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"IQ4_XS", ROLE_VALUES, GROUPS_OF_FOUR, RAD_TYPE_Q5_K},
    {"IQ4_XS", ROLE_DOWN, UNWEIGHTED_8TH, RAD_TYPE_Q5_K},
    {"IQ4_XS", ROLE_ATTENTION_OUTPUT, EIGHT_EXPERTS, RAD_TYPE_Q5_K},
    {"TQ1_0", ROLE_EMBEDDING, ALWAYS, RAD_TYPE_Q4_K},
    {"TQ2_0", ROLE_EMBEDDING, ALWAYS, RAD_TYPE_Q4_K},
    {"Q2_0", ROLE_EMBEDDING, ALWAYS, RAD_TYPE_Q4_K},
};

static bool more_bits(int64_t i, int64_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* `at` of `n`: which of the role's tensors it is. */
static bool holds(condition when, const rad_mixture_model *model, int64_t at, int64_t n)
{
    switch (when) {
    case MORE_BITS:
        return more_bits(at, n);
    case FIRST_TWO:
        return at < 2;
    case FIRST_FOUR:
        return at < 4;
    case FIRST_EIGHTH:
        return at < n / 8;
    case FIRST_16TH:
        return at < n / 16;
    case UNWEIGHTED_8TH:
        return !model->has_importance && at < n / 8;
    case WEIGHTED_8TH:
        return model->has_importance && at < n / 8;
    case GROUPS_OF_FOUR:
        return model->n_kv_heads > 0 && model->n_heads / model->n_kv_heads >= 4;
    case EIGHT_EXPERTS:
        return model->n_experts == 8;
    default:
        return true;
    }
}

static rad_type by_rules(const rad_file_type *file, const rad_mixture_model *model, role role,
                         int64_t at, int64_t n)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].role == role && strcmp(rules[i].file, file->name) == 0 &&
            holds(rules[i].when, model, at, n))
            return rules[i].type;
    return file->type;
}

/* The matrix behind the last layer, or the embedding that stands for it. */
static rad_type output_type(const rad_file_type *file, const rad_tensor *tensor)
{
    if (strcmp(file->name, "MXFP4_MOE") == 0 ||
        tensor->dims[0] % rad_type_find((uint32_t)file->type)->block_elements != 0)
        return RAD_TYPE_Q8_0;
    return file->type == RAD_TYPE_Q8_0 ? RAD_TYPE_Q8_0 : RAD_TYPE_Q6_K;
}

rad_type rad_mixture_type(const rad_file_type *file, const rad_mixture_model *model,
                          const rad_tensor *tensor, int64_t rank)
{
    role role = role_of(tensor);
    if (rad_type_find((uint32_t)file->type)->family == RAD_FAMILY_FLOAT)
        return file->type;
    if (role == ROLE_OUTPUT || (role == ROLE_EMBEDDING && model->is_tied))
        return output_type(file, tensor);
    if (strcmp(file->name, "MXFP4_MOE") == 0)
        return tensor->dims[2] > 1 ? RAD_TYPE_MXFP4 : RAD_TYPE_Q8_0;
    if (model->n_experts == 8 && (role == ROLE_VALUES || role == ROLE_KEYS))
        return RAD_TYPE_Q8_0; /* small beside the experts */
    bool values = role == ROLE_VALUES;
    bool by_layer = !values && model->n_experts > 1;
    rad_type type = by_rules(file, model, role, by_layer ? rad_mixture_layer(tensor) : rank,
                             values ? model->n_values : model->n_layers);
    /* In models of 70B parameters values are an eighth of queries, and cost little. */
    if (values && model->is_70b && (type == RAD_TYPE_Q3_K || type == RAD_TYPE_Q4_K))
        type = RAD_TYPE_Q5_K;
    return type;
}

rad_type rad_mixture_fitting(rad_type type, uint64_t row)
{
    if (row % rad_type_find((uint32_t)type)->block_elements == 0)
        return type;
    rad_type smaller = type == RAD_TYPE_Q4_K     ? RAD_TYPE_Q5_0
                       : type == RAD_TYPE_Q5_K   ? RAD_TYPE_Q5_1
                       : type == RAD_TYPE_Q6_K   ? RAD_TYPE_Q8_0
                       : type == RAD_TYPE_IQ4_XS ? RAD_TYPE_IQ4_NL
                                                 : RAD_TYPE_Q4_0;
    return row % rad_type_find((uint32_t)smaller)->block_elements == 0 ? smaller : RAD_TYPE_F16;
}

/* ---- the model ----------------------------------------------------------------------------------
 */

/* An integer, or the first one of an array. */
static radllm_status read_number(const rad_source *source, rad_text architecture, const char *name,
                                 int64_t fallback, int64_t *out, radllm_error *error)
{
    char key[192];
    snprintf(key, sizeof key, "%.*s.%s", (int)(architecture.size < 64 ? architecture.size : 64),
             architecture.data, name);
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL || !meta->is_array)
        return rad_meta_integer(source, key, 0, 1 << 24, fallback, out, error);
    *out = fallback;
    if (meta->count > 0 && meta->type != RAD_META_STRING && meta->type != RAD_META_F32 &&
        meta->type != RAD_META_F64)
        *out = (int64_t)rad_meta_item_u64(meta, 0);
    return RADLLM_OK;
}

/* llama.cpp takes a model for one of 70B parameters by its family and layers. */
static bool is_70b(rad_text family, const rad_mixture_model *model)
{
    static const struct {
        const char *family;
        int64_t n_layers;
        bool grouped; /* heads share keys and values */
    } models[] = {{"llama", 80, true},
                  {"qwen2", 80, false},
                  {"olmo", 80, false},
                  {"deci", 80, false},
                  {"jais2", 68, false}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strlen(models[i].family) == family.size &&
            memcmp(models[i].family, family.data, family.size) == 0)
            return model->n_layers == models[i].n_layers &&
                   !(models[i].grouped && model->n_heads == model->n_kv_heads);
    return false;
}

radllm_status rad_mixture_model_read(const rad_source *source, bool has_importance,
                                     rad_mixture_model *out, radllm_error *error)
{
    *out = (rad_mixture_model){.has_importance = has_importance};
    out->is_tied = rad_source_find_tensor(source, "output.weight") == NULL;
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++)
        out->n_values += rad_mixture_makes_values(rad_source_tensor(source, i)) ? 1 : 0;
    rad_text architecture;
    radllm_status status = rad_meta_text(source, "general.architecture", &architecture, error);
    if (status != RADLLM_OK || architecture.data == NULL)
        return status;
    status = read_number(source, architecture, "block_count", 0, &out->n_layers, error);
    if (status == RADLLM_OK)
        status = read_number(source, architecture, "expert_count", 0, &out->n_experts, error);
    if (status == RADLLM_OK)
        status = read_number(source, architecture, "attention.head_count", 0, &out->n_heads, error);
    if (status == RADLLM_OK)
        status = read_number(source, architecture, "attention.head_count_kv", out->n_heads,
                             &out->n_kv_heads, error);
    out->is_70b = is_70b(architecture, out);
    return status;
}
