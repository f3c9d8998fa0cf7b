/* config.json and the texts beside it, as the metadata that a GGUF file of the model has. Sizes are
 * checked again where the metadata are read: here only what would be lost on the way. */
#include "io/folder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numeric.h"

#define PAIRS_MAX  512   /* half of the greatest head */
#define LAYERS_MAX 65536 /* more are refused later */

#define TEMPLATE          "tokenizer.chat_template"
#define TEMPLATE_NAME_MAX 64

typedef struct reader {
    rad_folder *folder;
    const rad_folder_family *family;
    radllm_error *error;
    radllm_status status; /* the first failure is kept; later reads do nothing */
    uint32_t n_templates;
} reader;

/* ---- metadata ------------------------------------------------------------------------------- */

static rad_meta *add_entry(reader *r, const char *key, rad_meta_type type)
{
    rad_source *source = r->folder->source;
    rad_meta_table *table = &source->metadata;
    void *entries = table->entries;
    if (r->status != RADLLM_OK)
        return NULL;
    size_t needed = table->count + 1 < 64 ? 64 : table->count + 1;
    char *name = rad_arena_copy(&source->arena, key, strlen(key));
    if (name == NULL || !rad_reserve(&source->host.allocator, &entries, &table->capacity, needed,
                                     sizeof *table->entries)) {
        r->status = rad_fail_memory(r->error, needed * sizeof *table->entries);
        return NULL;
    }
    table->entries = entries;
    rad_meta *meta = &table->entries[table->count++].meta;
    table->entries[table->count - 1].position = 0;
    *meta = (rad_meta){.key = {name, strlen(key)}, .type = type, .count = 1};
    return meta;
}

static void add_bytes(reader *r, const char *key, rad_meta_type type, uint64_t count,
                      const void *items, size_t size)
{
    rad_meta *meta = add_entry(r, key, type);
    if (meta == NULL)
        return;
    meta->items = (const uint8_t *)rad_arena_copy(&r->folder->source->arena, items, size);
    meta->count = count;
    if (meta->items == NULL)
        r->status = rad_fail_memory(r->error, size);
}

/* What was added last is an array, also where it has one item. */
static void mark_array(reader *r)
{
    rad_meta_table *table = &r->folder->source->metadata;
    if (r->status == RADLLM_OK)
        table->entries[table->count - 1].meta.is_array = true;
}

static const char *full_key(const reader *r, char key[128], const char *name)
{
    snprintf(key, 128, "%s.%s", r->family->architecture, name);
    return key;
}

/* Keys below the architecture's name. */
static void put_integer(reader *r, const char *name, int64_t value)
{
    char key[128];
    add_bytes(r, full_key(r, key, name), RAD_META_I64, 1, &value, sizeof value);
}

static void put_real(reader *r, const char *name, double value)
{
    char key[128];
    add_bytes(r, full_key(r, key, name), RAD_META_F64, 1, &value, sizeof value);
}

static void put_bool(reader *r, const char *name, bool value)
{
    char key[128];
    uint8_t byte = value;
    add_bytes(r, full_key(r, key, name), RAD_META_BOOL, 1, &byte, 1);
}

static void put_text(reader *r, const char *key, const char *text, size_t size)
{
    rad_arena *arena = &r->folder->source->arena;
    rad_meta *meta = add_entry(r, key, RAD_META_STRING);
    if (meta == NULL)
        return;
    rad_text *strings = rad_arena_alloc(arena, sizeof *strings, _Alignof(rad_text));
    char *copy = rad_arena_copy(arena, text, size);
    if (strings == NULL || copy == NULL) {
        r->status = rad_fail_memory(r->error, size);
        return;
    }
    *strings = (rad_text){copy, size};
    meta->strings = strings;
}

/* A text below the architecture's name. */
static void put_text_key(reader *r, const char *name, const char *text)
{
    char key[128];
    put_text(r, full_key(r, key, name), text, strlen(text));
}

/* ---- values of the configuration ------------------------------------------------------------ */

/* The value of the first of several keys ("a|b") that is there and not null. */
static json_t *find(const json_t *object, const char *names)
{
    while (*names != '\0') {
        char name[64];
        size_t size = strcspn(names, "|");
        snprintf(name, sizeof name, "%.*s", (int)size, names);
        json_t *value = json_object_get(object, name);
        if (value != NULL && !json_is_null(value))
            return value;
        names += size + (names[size] == '|');
    }
    return NULL;
}

static void fail_value(reader *r, const char *names, const char *wanted)
{
    if (r->status == RADLLM_OK)
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s/%s: the key %.*s must be %s; the file is damaged, or not of "
                             "a model: fetch it again",
                             r->folder->label, r->folder->config_name, (int)strcspn(names, "|"),
                             names, wanted);
}

/* A size: a whole number from `minimum` to 2^31 - 1. */
static int64_t size_in(reader *r, const json_t *object, const char *names, int64_t minimum,
                       int64_t fallback)
{
    json_t *value = find(object, names);
    if (value == NULL && fallback >= 0)
        return fallback;
    int64_t number = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    /* Some converters write 4096.0. */
    if (json_is_real(value) && json_real_value(value) >= 0.0 && json_real_value(value) < 2e9 &&
        json_real_value(value) == (double)(int64_t)json_real_value(value))
        number = (int64_t)json_real_value(value);
    if (number >= minimum && number <= INT32_MAX)
        return number;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "a whole number from %d to %d", (int)minimum, INT32_MAX);
    fail_value(r, names, wanted);
    return minimum;
}

static int64_t size_of(reader *r, const char *names, int64_t fallback)
{
    return size_in(r, r->folder->config, names, 1, fallback);
}

static double real_in(reader *r, const json_t *object, const char *names, double fallback)
{
    json_t *value = find(object, names);
    if (value == NULL)
        return fallback;
    if (json_is_number(value) && json_number_value(value) - json_number_value(value) == 0.0)
        return json_number_value(value);
    fail_value(r, names, "a finite number");
    return fallback;
}

static bool bool_in(reader *r, const json_t *object, const char *names, bool fallback)
{
    json_t *value = find(object, names);
    if (value != NULL && !json_is_boolean(value))
        fail_value(r, names, "true or false");
    return value != NULL ? json_is_true(value) : fallback;
}

static void refuse(reader *r, const char *key, const char *value, const char *remedy)
{
    char quoted[RAD_QUOTE_SIZE];
    if (r->status == RADLLM_OK)
        r->status =
            rad_fail(r->error, RADLLM_E_UNSUPPORTED, "%s/%s: %s is \"%s\"; %s", r->folder->label,
                     r->folder->config_name, key, rad_quote(quoted, value, strlen(value)), remedy);
}

/* ---- rotations ------------------------------------------------------------------------------ */

/* The context before scaling: beside the rotations' own keys it comes first. */
static int64_t original_context(reader *r, const json_t *rope)
{
    static const char key[] = "original_max_position_embeddings";
    return size_of(r, key, size_in(r, rope, key, 1, size_of(r, "max_position_embeddings", 1)));
}

/* In GGUF 0 means that nothing is scaled. */
static double factor_of(reader *r, const json_t *rope, double fallback)
{
    double factor = real_in(r, rope, "factor", fallback);
    if (factor <= 0.0)
        fail_value(r, "rope_scaling.factor", "above 0");
    return factor;
}

static void put_llama3(reader *r, const json_t *rope)
{
    put_text_key(r, "rope.scaling.type", "llama3");
    put_real(r, "rope.scaling.factor", factor_of(r, rope, 8.0));
    put_real(r, "rope.scaling.low_freq_factor", real_in(r, rope, "low_freq_factor", 1.0));
    put_real(r, "rope.scaling.high_freq_factor", real_in(r, rope, "high_freq_factor", 4.0));
    put_integer(r, "rope.scaling.original_context_length", original_context(r, rope));
}

/* How long rotations are: by the factor alone in GGUF, which attn_factor is relative to, of two
 * keys the one that llama.cpp reads. Latent attention scales its scores instead, and llama.cpp
 * knows no other length there. */
static void put_yarn_length(reader *r, const json_t *rope, double factor, bool latent)
{
    double plain = factor > 1.0 ? 0.1 * rad_ln(factor) + 1.0 : 1.0;
    double all = real_in(r, rope, "mscale_all_dim", 0.0), own = real_in(r, rope, "mscale", 0.0);
    double length = real_in(r, rope, "attention_factor", 0.0);
    if (length == 0.0 && all != 0.0 && own != 0.0 && factor > 1.0)
        length = (0.1 * own * rad_ln(factor) + 1.0) / (0.1 * all * rad_ln(factor) + 1.0);
    if (latent && all != 0.0) {
        put_real(r, "rope.scaling.yarn_log_multiplier", 0.1 * all);
        length = length == 0.0 ? plain : length;
        if (length != 1.0)
            put_real(r, "rope.scaling.yarn_attn_factor", length);
    } else if (length != 0.0) {
        put_real(r, "rope.scaling.attn_factor", length / plain);
    }
}

static void put_yarn(reader *r, const json_t *rope, bool latent)
{
    int64_t original = original_context(r, rope);
    double factor =
        factor_of(r, rope, (double)size_of(r, "max_position_embeddings", 1) / (double)original);
    put_text_key(r, "rope.scaling.type", "yarn");
    put_real(r, "rope.scaling.factor", factor);
    put_integer(r, "rope.scaling.original_context_length", original);
    put_real(r, "rope.scaling.yarn_beta_fast", real_in(r, rope, "beta_fast", 32.0));
    put_real(r, "rope.scaling.yarn_beta_slow", real_in(r, rope, "beta_slow", 1.0));
    put_bool(r, "rope.scaling.yarn_exact", !bool_in(r, rope, "truncate", true));
    put_yarn_length(r, rope, factor, latent);
}

/* Where rotations are said to be scaled: the older key counts where both are there. */
static const json_t *scaling_of(const reader *r)
{
    const json_t *rope = find(r->folder->config, "rope_scaling");
    return rope != NULL && !(json_is_object(rope) && json_object_size(rope) == 0)
               ? rope
               : find(r->folder->config, "rope_parameters");
}

/* Of layers that see all, where others have rotations of their own. */
static const json_t *rope_of(const reader *r)
{
    const json_t *rope = scaling_of(r);
    const json_t *full = json_object_get(rope, "full_attention");
    return json_is_object(full) ? full : rope;
}

/* NULL where that is no text. */
static const char *rope_type_of(const json_t *rope)
{
    const json_t *type = find(rope, "rope_type|type");
    return type == NULL ? "default" : json_string_value(type);
}

/* Of a head's values the first ones may rotate alone. */
static void put_partial_rotation(reader *r, const json_t *rope, bool latent)
{
    const json_t *config = r->folder->config;
    double share =
        real_in(r, rope, "partial_rotary_factor", real_in(r, config, "partial_rotary_factor", 1.0));
    int64_t heads = size_of(r, "num_attention_heads", -1);
    int64_t head = size_of(r, "head_dim", size_of(r, "hidden_size", -1) / (heads > 0 ? heads : 1));
    if (latent || share == 1.0)
        return;
    /* Other classes know no share: whole heads rotate, and scaled ones do not fit. */
    if (strncmp(r->family->model_type, "phi", 3) != 0) {
        const char *type = rope_type_of(rope);
        if (type == NULL || strcmp(type, "default") != 0)
            refuse(r, "partial_rotary_factor", "not 1",
                   "heads of models of this type rotate whole");
        return;
    }
    if (!(share > 0.0 && share < 1.0))
        fail_value(r, "partial_rotary_factor", "above 0 and at most 1");
    else
        put_integer(r, "rope.dimension_count", (int64_t)((double)head * share));
}

/* A list of numbers as an array under `name`. */
static void put_numbers(reader *r, const json_t *rope, const char *key, const char *name)
{
    const json_t *list = find(rope, key);
    size_t n = json_array_size(list);
    double numbers[PAIRS_MAX];
    bool numeric = n > 0 && n <= PAIRS_MAX;
    for (size_t i = 0; numeric && i < n; i++) {
        numeric = json_is_number(json_array_get(list, i));
        numbers[i] = json_number_value(json_array_get(list, i));
    }
    if (!numeric) {
        fail_value(r, key, "a list of numbers, one for each pair of a head's values that rotates");
        return;
    }
    char full[128];
    add_bytes(r, full_key(r, full, name), RAD_META_F64, n, numbers, n * sizeof *numbers);
    mark_array(r);
}

/* A divisor for each rotation, of one of two lists; and a length of rotations, which follows from
 * how much longer the context became. */
static void put_longrope(reader *r, const json_t *rope)
{
    int64_t context = size_of(r, "max_position_embeddings", 1);
    int64_t original = original_context(r, rope);
    double factor = real_in(r, rope, "factor", (double)context / (double)original);
    double length = real_in(r, rope, "attention_factor", 0.0);
    if (length == 0.0)
        length = factor > 1.0 && original > 1
                     ? sqrt(1.0 + rad_ln(factor) / rad_ln((double)original))
                     : 1.0;
    put_text_key(r, "rope.scaling.type", "longrope");
    put_integer(r, "rope.scaling.original_context_length", original);
    put_real(r, "rope.scaling.attn_factor", length);
    put_numbers(r, rope, "short_factor", "rope.scaling.short_factors");
    put_numbers(r, rope, "long_factor", "rope.scaling.long_factors");
    if (find(rope, "short_mscale|long_mscale") != NULL)
        refuse(r, "rope_scaling.short_mscale", "given",
               "rotations of this length are not supported");
}

/* How many times the context that the configuration gives the model is made for: dynamic scaling
 * begins there. */
static double stretch_of(reader *r)
{
    const json_t *rope = rope_of(r);
    const char *type = rope_type_of(rope);
    if (type == NULL || strcmp(type, "dynamic") != 0)
        return 1.0;
    double factor = real_in(r, rope, "factor", 1.0);
    if (factor >= 1.0 && factor <= 1024.0)
        return factor;
    fail_value(r, "factor", "from 1 to 1024");
    return 1.0;
}

static void put_scaling(reader *r, const json_t *rope, const char *name, bool latent)
{
    bool lists = find(rope, "long_factor") != NULL;
    if (strcmp(name, "longrope") == 0 || strcmp(name, "su") == 0 ||
        (strcmp(name, "yarn") == 0 && lists)) {
        put_longrope(r, rope);
    } else if (strcmp(name, "llama3") == 0) {
        put_llama3(r, rope);
    } else if (strcmp(name, "yarn") == 0) {
        put_yarn(r, rope, latent);
    } else if (strcmp(name, "linear") == 0) {
        put_text_key(r, "rope.scaling.type", "linear");
        put_real(r, "rope.scaling.factor", factor_of(r, rope, 1.0));
    } else if (strcmp(name, "dynamic") == 0) {
        put_text_key(r, "rope.scaling.type", "dynamic");
        put_real(r, "rope.scaling.factor", stretch_of(r));
        put_integer(r, "rope.scaling.original_context_length",
                    size_of(r, "max_position_embeddings", -1));
    } else if (strcmp(name, "default") != 0) {
        refuse(r, "rope_scaling.rope_type", name,
               "this version knows default, linear, dynamic, llama3, yarn and longrope");
    }
}

/* Layers with a window rotate by a base of their own. */
static void put_local_rope(reader *r)
{
    const json_t *config = r->folder->config;
    const json_t *local = json_object_get(find(config, "rope_parameters"), "sliding_attention");
    const char *type = rope_type_of(local);
    if (type == NULL || strcmp(type, "default") != 0)
        refuse(r, "rope_parameters.sliding_attention.rope_type", type == NULL ? "no text" : type,
               "layers with a window rotate unscaled in this version");
    put_real(r, "rope.freq_base_swa",
             real_in(r, local, "rope_theta", real_in(r, config, "rope_local_base_freq", 1e4)));
}

/* theta and scaling: in rope_parameters, or in rope_theta and rope_scaling as of old. */
static void put_rope(reader *r, bool latent)
{
    const json_t *config = r->folder->config, *rope = rope_of(r);
    put_partial_rotation(r, rope, latent);
    if (rope != NULL && !json_is_object(rope))
        fail_value(r, "rope_parameters", "an object");
    double theta = real_in(r, rope, "rope_theta", 0.0);
    put_real(r, "rope.freq_base",
             theta != 0.0 ? theta : real_in(r, config, "rope_theta", r->family->theta));
    const char *name = rope_type_of(rope);
    if (name == NULL)
        fail_value(r, "rope_scaling.rope_type", "a text");
    else
        put_scaling(r, rope, name, latent);
    if (strcmp(r->family->architecture, "gemma3") == 0)
        put_local_rope(r);
    else if (rope != scaling_of(r))
        refuse(r, "rope_parameters", "by layers", "models of this type rotate alike in all layers");
}

/* ---- experts -------------------------------------------------------------------------------- */

static void put_experts(reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    int64_t count = size_of(r, "num_local_experts|num_experts|n_routed_experts", 0);
    shape->n_experts = (uint32_t)count;
    if (count == 0)
        return;
    put_integer(r, "expert_count", count);
    put_integer(r, "expert_used_count", size_of(r, "num_experts_per_tok|experts_per_token", -1));
    put_integer(r, "expert_feed_forward_length",
                size_of(r, "moe_intermediate_size|intermediate_size", -1));
    if (find(config, "shared_expert_intermediate_size") != NULL)
        put_integer(r, "expert_shared_feed_forward_length",
                    size_of(r, "shared_expert_intermediate_size", -1));
    /* Others' weights of experts are always normalized, whatever stands there. */
    if (find(config, "norm_topk_prob") != NULL &&
        !rad_is_one_of(r->family->model_type, "mixtral|gpt_oss"))
        put_bool(r, "expert_weights_norm", bool_in(r, config, "norm_topk_prob", false));
    if (find(config, "n_shared_experts") != NULL)
        put_integer(r, "expert_shared_count", size_in(r, config, "n_shared_experts", 0, 0));
    if (find(config, "first_k_dense_replace") != NULL)
        put_integer(r, "leading_dense_block_count",
                    size_in(r, config, "first_k_dense_replace", 0, 0));
    if (find(config, "routed_scaling_factor") != NULL)
        put_real(r, "expert_weights_scale", real_in(r, config, "routed_scaling_factor", 1.0));
    /* V2-Lite has groups in its configuration and takes the best of all. */
    const char *method = json_string_value(find(config, "topk_method"));
    if (find(config, "n_group") != NULL && (method == NULL || strcmp(method, "greedy") != 0)) {
        put_integer(r, "expert_group_count", size_of(r, "n_group", -1));
        put_integer(r, "expert_group_used_count", size_of(r, "topk_group", -1));
    }
    if (size_in(r, config, "moe_layer_freq", 1, 1) != 1)
        refuse(r, "moe_layer_freq", "above 1",
               "layers with and without experts in turns are not supported in models of this type");
}

/* Of the layers every decoder_sparse_step-th one has experts (Qwen), less those of a list. */
static void put_expert_layers(reader *r, const rad_folder_shape *shape)
{
    const json_t *config = r->folder->config, *dense = find(config, "mlp_only_layers"), *item;
    int64_t step = size_in(r, config, "decoder_sparse_step", 1, 1);
    size_t i;
    if (shape->n_experts == 0 || shape->n_layers > LAYERS_MAX || r->status != RADLLM_OK ||
        (step == 1 && json_array_size(dense) == 0))
        return;
    uint8_t *sparse = rad_arena_alloc_zero(&r->folder->source->arena, shape->n_layers, 1);
    if (sparse == NULL) {
        r->status = rad_fail_memory(r->error, shape->n_layers);
        return;
    }
    for (uint32_t l = 0; l < shape->n_layers; l++)
        sparse[l] = ((int64_t)l + 1) % step == 0;
    json_array_foreach(dense, i, item)
    {
        json_int_t layer = json_is_integer(item) ? json_integer_value(item) : -1;
        if (layer >= 0 && layer < (json_int_t)shape->n_layers)
            sparse[layer] = 0;
        else
            fail_value(r, "mlp_only_layers", "a list of numbers of layers");
    }
    char key[128];
    add_bytes(r, full_key(r, key, "expert_layers"), RAD_META_BOOL, shape->n_layers, sparse,
              shape->n_layers);
    mark_array(r);
}

/* DeepSeek's routers and attention. */
static void put_deepseek(reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    bool third = strcmp(r->family->model_type, "deepseek_v2") != 0;
    int64_t plain = size_of(r, "qk_nope_head_dim", -1),
            rotated = size_of(r, "qk_rope_head_dim", -1);
    int64_t value = size_of(r, "v_head_dim", -1), rank = size_of(r, "kv_lora_rank", -1);
    put_integer(r, "expert_gating_func", third ? 2 : 1);
    put_integer(r, "attention.kv_lora_rank", rank);
    if (find(config, "q_lora_rank") != NULL)
        put_integer(r, "attention.q_lora_rank", size_of(r, "q_lora_rank", -1));
    put_integer(r, "rope.dimension_count", rotated);
    put_integer(r, "attention.key_length_mla", plain + rotated);
    put_integer(r, "attention.value_length_mla", value);
    put_integer(r, "attention.key_length", rank + rotated);
    put_integer(r, "attention.value_length", rank);
    shape->latent_plain = (uint32_t)plain;
    shape->latent_value = (uint32_t)value;
}

/* ---- windows -------------------------------------------------------------------------------- */

/* Whether a layer has the window: as listed, or (types == NULL) as the family has it. */
static bool has_window(reader *r, const json_t *types, uint32_t layer)
{
    const char *name = json_string_value(json_array_get(types, layer));
    int64_t most = size_in(r, r->folder->config, "max_window_layers", 0, 28);
    if (types == NULL)
        return r->family->windows == RAD_CONFIG_WINDOW_EVERY ||
               (r->family->windows == RAD_CONFIG_WINDOW_TURNS ? layer % 2 == 0 && layer < most
                                                              : layer >= most);
    if (name != NULL && strcmp(name, "sliding_attention") == 0)
        return true;
    if (name == NULL || strcmp(name, "full_attention") != 0)
        refuse(r, "layer_types", name == NULL ? "no text" : name,
               "this version knows full_attention and sliding_attention");
    return false;
}

/* Which layers have the window; whether any has. `patterned`: said also if none has. */
static bool put_layer_types(reader *r, const rad_folder_shape *shape, const json_t *types,
                            bool patterned)
{
    if (types != NULL && (!json_is_array(types) || json_array_size(types) != shape->n_layers))
        fail_value(r, "layer_types", "a list of one text for each layer");
    if (r->status != RADLLM_OK || shape->n_layers > LAYERS_MAX)
        return false;
    uint8_t *pattern = rad_arena_alloc_zero(&r->folder->source->arena, shape->n_layers, 1);
    if (pattern == NULL) {
        r->status = rad_fail_memory(r->error, shape->n_layers);
        return false;
    }
    bool any = false;
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        pattern[i] = has_window(r, types, i);
        any = any || pattern[i] != 0;
    }
    char key[128];
    if (any || patterned) {
        add_bytes(r, full_key(r, key, "attention.sliding_window_pattern"), RAD_META_BOOL,
                  shape->n_layers, pattern, shape->n_layers);
        mark_array(r);
    }
    return any;
}

static void put_windows(reader *r, const rad_folder_shape *shape)
{
    const json_t *config = r->folder->config, *types = find(config, "layer_types");
    const rad_config_windows kind = r->family->windows;
    int64_t window = size_in(r, config, "sliding_window", 0, 0);
    bool qwen = strncmp(r->family->model_type, "qwen", 4) == 0;
    /* Whether layers have a window also says how they rotate. */
    bool patterned = strcmp(r->family->architecture, "gemma3") == 0;
    /* Mixtral was published with a stray window, which it was not trained with. */
    if ((qwen && !bool_in(r, config, "use_sliding_window", false)) ||
        (kind == RAD_CONFIG_WINDOW_EVERY && !qwen && window == 4096) ||
        kind == RAD_CONFIG_WINDOW_NEVER)
        window = 0;
    if (kind == RAD_CONFIG_WINDOW_EVERY)
        types = NULL;
    if (patterned && types == NULL)
        put_integer(r, "attention.sliding_window_pattern",
                    size_in(r, config, "sliding_window_pattern|_sliding_window_pattern", 1, 6));
    else if ((patterned || (window != 0 && (types != NULL || kind > RAD_CONFIG_WINDOW_ALWAYS))) &&
             !put_layer_types(r, shape, types, patterned))
        window = 0;
    if (window != 0 || kind == RAD_CONFIG_WINDOW_ALWAYS || qwen)
        put_integer(r, "attention.sliding_window", window);
}

/* ---- styles --------------------------------------------------------------------------------- */

static void check_activation(reader *r)
{
    const json_t *config = r->folder->config;
    const char *key = find(config, "hidden_activation") != NULL ? "hidden_activation"
                      : find(config, "hidden_act") != NULL      ? "hidden_act"
                                                                : "activation_function";
    const json_t *value = find(config, key);
    const char *name = json_string_value(value);
    if (name == NULL && value != NULL)
        fail_value(r, key, "a text");
    else if (name != NULL && r->family->activation != NULL &&
             !rad_is_one_of(name, r->family->activation))
        refuse(r, key, name, "this activation is not supported in models of this type");
}

static void configure_usual(reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    const rad_folder_family *family = r->family;
    bool latent = strcmp(family->architecture, "deepseek2") == 0;
    shape->n_layers = (uint32_t)size_of(r, "num_hidden_layers", -1);
    shape->n_heads = (uint32_t)size_of(r, "num_attention_heads", -1);
    shape->extra_layers = (uint32_t)size_in(r, config, "num_nextn_predict_layers", 0, 0);
    put_integer(r, "context_length",
                (int64_t)((double)size_of(r, "max_position_embeddings", -1) * stretch_of(r)));
    put_integer(r, "embedding_length", size_of(r, "hidden_size", -1));
    put_integer(r, "block_count", shape->n_layers);
    put_integer(r, "feed_forward_length",
                size_of(r, "intermediate_size|moe_intermediate_size", -1));
    put_integer(r, "attention.head_count", shape->n_heads);
    if (!latent)
        put_integer(r, "attention.head_count_kv",
                    size_of(r, "num_key_value_heads", shape->n_heads));
    if (!latent && find(config, "head_dim") != NULL) {
        put_integer(r, "attention.key_length", size_of(r, "head_dim", -1));
        put_integer(r, "attention.value_length", size_of(r, "head_dim", -1));
    }
    bool layer_norms = strcmp(family->architecture, "phi2") == 0;
    put_real(
        r, layer_norms ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        real_in(r, config, layer_norms ? "layer_norm_eps" : "rms_norm_eps", family->norm_epsilon));
    if (strncmp(family->architecture, "gemma", 5) == 0) {
        if (strcmp(family->architecture, "gemma2") == 0) /* Gemma 3 has the key, and no such cap */
            put_real(r, "attn_logit_softcapping",
                     real_in(r, config, "attn_logit_softcapping", 0.0));
        put_real(r, "final_logit_softcapping", real_in(r, config, "final_logit_softcapping", 0.0));
        put_real(r, "attention.scale",
                 1.0 / sqrt(real_in(r, config, "query_pre_attn_scalar", 256.0)));
    }
    if (!bool_in(r, config, "is_causal", true))
        put_bool(r, "attention.causal", false);
    if (real_in(r, config, "swiglu_alpha", 1.702) != 1.702 ||
        real_in(r, config, "swiglu_limit", 7.0) != 7.0)
        refuse(r, "swiglu_alpha or swiglu_limit", "not 1.702 and 7", "this is not supported");
    if (bool_in(r, config, "use_bidirectional_attention", false))
        refuse(r, "use_bidirectional_attention", "true",
               "encoders of this family are not supported");
    if (latent)
        put_deepseek(r, shape);
    put_experts(r, shape);
    put_expert_layers(r, shape);
    put_windows(r, shape);
    put_rope(r, latent);
    if (family->halves || (latent && !bool_in(r, config, "rope_interleave", true)))
        put_text_key(r, "rope.layout", "halves");
}

static void put_plain_shape(reader *r, rad_folder_shape *shape, const char *width,
                            const char *layers, const char *heads, int64_t context)
{
    shape->n_layers = (uint32_t)size_of(r, layers, -1);
    shape->n_heads = (uint32_t)size_of(r, heads, -1);
    put_integer(r, "context_length", context);
    put_integer(r, "embedding_length", size_of(r, width, -1));
    put_integer(r, "block_count", shape->n_layers);
    put_integer(r, "attention.head_count", shape->n_heads);
    put_real(r, "attention.layer_norm_epsilon",
             real_in(r, r->folder->config, "layer_norm_epsilon|layer_norm_eps",
                     r->family->norm_epsilon));
}

static void configure_gpt2(reader *r, rad_folder_shape *shape)
{
    int64_t width = size_of(r, "n_embd", -1);
    put_plain_shape(r, shape, "n_embd", "n_layer", "n_head", size_of(r, "n_positions|n_ctx", -1));
    put_integer(r, "feed_forward_length", size_of(r, "n_inner", 4 * width));
    if (bool_in(r, r->folder->config, "scale_attn_by_inverse_layer_idx", false) ||
        !bool_in(r, r->folder->config, "scale_attn_weights", true))
        refuse(r, "scale_attn_by_inverse_layer_idx", "another than GPT-2's",
               "attention scaled so is not supported");
}

static void configure_bloom(reader *r, rad_folder_shape *shape)
{
    int64_t width = size_of(r, "hidden_size|n_embed", -1);
    put_plain_shape(r, shape, "hidden_size|n_embed", "n_layer|num_hidden_layers",
                    "n_head|num_attention_heads", size_of(r, "seq_length", 2048));
    put_integer(r, "feed_forward_length", 4 * width);
    if (bool_in(r, r->folder->config, "apply_residual_connection_post_layernorm", false))
        refuse(r, "apply_residual_connection_post_layernorm", "true", "this is not supported");
}

static void configure_mpt(reader *r, rad_folder_shape *shape)
{
    const json_t *attention = find(r->folder->config, "attn_config");
    int64_t width = size_of(r, "d_model", -1);
    double clip = real_in(r, attention, "clip_qkv", 0.0);
    put_plain_shape(r, shape, "d_model", "n_layers", "n_heads", size_of(r, "max_seq_len", -1));
    double ffn = real_in(r, r->folder->config, "expansion_ratio", 4.0) * (double)width;
    put_integer(r, "feed_forward_length", ffn > 0.0 && ffn < 2e9 ? (int64_t)ffn : 0);
    if (clip != 0.0)
        put_real(r, "attention.clamp_kqv", clip);
    put_real(r, "attention.max_alibi_bias",
             bool_in(r, attention, "alibi", true) ? real_in(r, attention, "alibi_bias_max", 8.0)
                                                  : 0.0);
    const json_t *scale = find(attention, "softmax_scale");
    if (json_is_number(scale))
        put_real(r, "attention.scale", json_number_value(scale));
}

/* How many types of tokens there are; the key has no architecture's name in front. */
static void put_token_types(reader *r)
{
    int64_t count = size_in(r, r->folder->config, "type_vocab_size", 0, 2);
    add_bytes(r, "tokenizer.ggml.token_type_count", RAD_META_I64, 1, &count, sizeof count);
}

/* What sentence-transformers puts behind a model. */
static void put_pooling(reader *r)
{
    rad_folder_pooling pooling;
    if (r->status == RADLLM_OK)
        r->status = rad_folder_read_pooling(r->folder, &pooling, r->error);
    if (r->status != RADLLM_OK)
        return;
    if (pooling.type >= 0)
        put_integer(r, "pooling_type", pooling.type);
    if (pooling.has_modules)
        put_bool(r, "normalize_embeddings", pooling.normalises);
}

/* What the encoders of this family must be. */
static void check_bert(reader *r)
{
    static const struct {
        const char *key;
        bool usual;
    } flags[] = {{"is_decoder", false},
                 {"prenorm", false},
                 {"parallel_block", false},
                 {"rotary_emb_interleaved", false},
                 {"use_rms_norm", false}};
    const json_t *config = r->folder->config;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (bool_in(r, config, flags[i].key, flags[i].usual) != flags[i].usual)
            refuse(r, flags[i].key, "true", "encoders of this kind are not supported");
    }
    if (size_in(r, config, "num_experts|moe_every_n_layers", 0, 0) > 0)
        refuse(r, "num_experts", "above 0", "encoders with experts are not supported");
    if (real_in(r, config, "rotary_emb_fraction", 1.0) != 1.0 &&
        strcmp(r->family->architecture, "bert") != 0)
        refuse(r, "rotary_emb_fraction", "not 1", "this is not supported");
    const char *kind = json_string_value(find(config, "position_embedding_type"));
    if (kind != NULL && strcmp(kind, "absolute") != 0)
        refuse(r, "position_embedding_type", kind, "only absolute positions are supported");
}

/* BERT's own keys, and those of nomic-bert, which come from GPT-2. */
static void configure_bert(reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    bool rotary = strcmp(r->family->architecture, "bert") != 0;
    int64_t width = size_of(r, "hidden_size|n_embd", -1);
    int64_t positions = size_of(r, "max_trained_positions|max_position_embeddings|n_positions", -1);
    /* Positions are counted from behind the padding's id on. */
    if (strstr(r->family->model_type, "roberta") != NULL)
        shape->first_position = (uint32_t)size_in(r, config, "pad_token_id", 0, 1) + 1;
    if (positions <= shape->first_position)
        fail_value(r, "max_position_embeddings", "more than pad_token_id + 1");
    check_bert(r);
    put_plain_shape(r, shape, "hidden_size|n_embd", "num_hidden_layers|n_layer",
                    "num_attention_heads|n_head", positions - shape->first_position);
    put_integer(r, "feed_forward_length", size_of(r, "intermediate_size|n_inner", 4 * width));
    put_bool(r, "attention.causal", false);
    put_token_types(r);
    if (rotary) {
        const json_t *rope = find(config, "rope_parameters");
        const char *type = rope_type_of(rope);
        /* Dynamic scaling begins behind the context. */
        if (type == NULL || !rad_is_one_of(type, "default|dynamic"))
            refuse(r, "rope_parameters.rope_type", type == NULL ? "no text" : type,
                   "rotations are not scaled in encoders");
        put_real(r, "rope.freq_base",
                 real_in(r, rope, "rope_theta",
                         real_in(r, config, "rotary_emb_base|rope_theta", r->family->theta)));
    }
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* Names in GGUF are letters and digits, with '_' for all else, as llama.cpp's converter makes them;
 * the default has none. The last of a name counts. */
static void put_named_template(reader *r, rad_text name, const char *text, size_t size)
{
    char key[sizeof TEMPLATE + TEMPLATE_NAME_MAX + 1] = TEMPLATE;
    const rad_meta_table *table = &r->folder->source->metadata;
    size_t end = sizeof TEMPLATE - 1, at = 0;
    if (r->status != RADLLM_OK || name.size == 0)
        return;
    if (name.size > TEMPLATE_NAME_MAX || r->n_templates++ == RAD_FOLDER_TEMPLATES_MAX) {
        r->status = rad_fail(r->error, RADLLM_E_LIMIT,
                             "%s: chat_template: at most %d chat templates are read, with names of "
                             "%d bytes; fetch the model again",
                             r->folder->label, RAD_FOLDER_TEMPLATES_MAX, TEMPLATE_NAME_MAX);
        return;
    }
    if (name.size != 7 || memcmp(name.data, "default", 7) != 0) {
        key[end++] = '.';
        for (size_t i = 0; i < name.size; i++) {
            char c = name.data[i], small = (char)(c | 0x20);
            bool kept = (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z');
            key[end++] = kept ? c : '_';
        }
        key[end] = '\0';
    }
    while (at < table->count && strcmp(table->entries[at].meta.key.data, key) != 0)
        at++;
    put_text(r, key, text, size);
    if (r->status == RADLLM_OK && at + 1 < table->count)
        table->entries[at].meta.strings =
            table->entries[--r->folder->source->metadata.count].meta.strings;
}

/* A file of one template. Whether it is there. */
static bool put_template_file(reader *r, const char *file, rad_text name)
{
    const rad_source *source = r->folder->source;
    char *text = NULL;
    size_t size = 0;
    if (r->status == RADLLM_OK)
        r->status = rad_source_side_file(source, &source->host.allocator, file, (size_t)1 << 20,
                                         &text, &size, r->error);
    if (text == NULL)
        return false;
    put_named_template(r, name, text, size);
    rad_free(&source->host.allocator, text, size + 1);
    return true;
}

/* chat_template: a text, or several with names: a list, or an object. `named`: all of them count,
 * and not the default alone. */
static void put_template_of(reader *r, const char *file, bool named, bool *found)
{
    json_t *config = NULL, *value, *item;
    const char *key;
    size_t i;
    if (r->status == RADLLM_OK && !*found)
        r->status = rad_folder_json(r->folder, file, &config, r->error);
    value = json_object_get(config, "chat_template");
    const size_t count = json_is_string(value)  ? 1
                         : json_is_array(value) ? json_array_size(value)
                                                : json_object_size(value);
    void *at = json_object_iter(value);
    for (i = 0; i < count; i++, at = json_object_iter_next(value, at)) {
        item = json_array_get(value, i);
        key = json_is_array(value) ? json_string_value(json_object_get(item, "name"))
              : at != NULL         ? json_object_iter_key(at)
                                   : "default";
        item = json_is_array(value) ? json_object_get(item, "template")
               : at != NULL         ? json_object_iter_value(at)
                                    : value;
        bool is_default = key != NULL && strcmp(key, "default") == 0;
        if (key == NULL || !json_is_string(item) || !(named || is_default))
            continue;
        put_named_template(r, (rad_text){key, strlen(key)}, json_string_value(item),
                           json_string_length(item));
        *found = *found || is_default;
    }
    json_decref(config);
}

/* What templates are called that are not the default. */
static void put_template_names(reader *r)
{
    const rad_source *source = r->folder->source;
    rad_text names[RAD_FOLDER_TEMPLATES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < source->metadata.count && count < RAD_FOLDER_TEMPLATES_MAX; i++) {
        const rad_text key = source->metadata.entries[i].meta.key;
        if (key.size > sizeof TEMPLATE && memcmp(key.data, TEMPLATE ".", sizeof TEMPLATE) == 0)
            names[count++] = (rad_text){key.data + sizeof TEMPLATE, key.size - sizeof TEMPLATE};
    }
    rad_meta *meta = count > 0 ? add_entry(r, TEMPLATE "s", RAD_META_STRING) : NULL;
    if (meta == NULL)
        return;
    meta->strings = (const rad_text *)(const void *)rad_arena_copy(
        &r->folder->source->arena, (const char *)names, count * sizeof *names);
    meta->count = count;
    if (meta->strings == NULL)
        r->status = rad_fail_memory(r->error, count * sizeof *names);
    mark_array(r);
}

/* Where templates stand in files of their own, those of tokenizer_config.json do not count but for
 * its default, where that has no file. */
static void put_templates(reader *r)
{
    static const rad_text plain = {"default", 7};
    const char *file;
    bool found = put_template_file(r, "chat_template.jinja", plain), named = !found;
    for (size_t i = 0; (file = rad_source_template_file(r->folder->source, i)) != NULL; i++) {
        const char *name = file + sizeof RAD_FOLDER_TEMPLATES - 1;
        (void)put_template_file(r, file, (rad_text){name, strlen(name) - sizeof "jinja"});
        named = false;
    }
    put_template_of(r, "tokenizer_config.json", named, &found);
    put_template_of(r, "chat_template.json", named, &found); /* of what sees and reads */
    put_template_names(r);
}

/* Moves the end of a path before its last part, whose beginning it returns. */
static size_t last_part(const char *path, size_t *end)
{
    while (*end > 0 && path[*end - 1] == '/')
        (*end)--;
    size_t start = *end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return start;
}

/* The folder's own name; in the cache of the hub, models--AUTHOR--NAME/snapshots/HASH, the model's.
 */
static void put_name(reader *r)
{
    static const char cache[] = "models--", inner[] = "snapshots";
    const char *path = r->folder->path;
    size_t end = strlen(path), start = last_part(path, &end), inner_end = start;
    size_t at = last_part(path, &inner_end), cache_end = at, size = sizeof inner - 1;
    if (inner_end - at == size && memcmp(path + at, inner, size) == 0) {
        at = last_part(path, &cache_end);
        size = sizeof cache - 1;
        if (cache_end - at > size && memcmp(path + at, cache, size) == 0) {
            end = start = cache_end;
            while (start > at && (path[start - 1] != '-' || path[start - 2] != '-'))
                start--;
        }
    }
    if (end > start && path[start] != '.')
        put_text(r, "general.name", path + start, end - start);
}

radllm_status rad_folder_configure(rad_folder *folder, const rad_folder_family *family,
                                   rad_folder_shape *shape, radllm_error *error)
{
    static void (*const styles[])(reader *,
                                  rad_folder_shape *) = {[RAD_CONFIG_USUAL] = configure_usual,
                                                         [RAD_CONFIG_GPT2] = configure_gpt2,
                                                         [RAD_CONFIG_BLOOM] = configure_bloom,
                                                         [RAD_CONFIG_MPT] = configure_mpt,
                                                         [RAD_CONFIG_BERT] = configure_bert};
    reader r = {.folder = folder, .family = family, .error = error};
    *shape = (rad_folder_shape){0};
    put_text(&r, "general.architecture", family->architecture, strlen(family->architecture));
    put_name(&r);
    check_activation(&r);
    styles[family->style](&r, shape);
    put_integer(&r, "vocab_size", size_of(&r, "vocab_size", -1));
    if (!rad_source_has_side_file(folder->source, "tokenizer.json") &&
        !rad_source_has_side_file(folder->source, "tokenizer.model"))
        put_text(&r, "tokenizer.ggml.model", "none", 4);
    put_templates(&r);
    put_pooling(&r);
    shape->tied = bool_in(&r, folder->config, "tie_word_embeddings", family->tied);
    return r.status;
}
