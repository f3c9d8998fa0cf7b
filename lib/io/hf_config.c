/* config.json and the texts beside it, as the metadata that a GGUF file of the model has. Sizes are
 * checked again where the metadata are read: here only what would be lost on the way. */
#include "io/hf_reader.h"

#include <math.h>
#include <string.h>

#define LAYERS_MAX 65536 /* more are refused later */

/* ---- experts -------------------------------------------------------------------------------- */

static void put_experts(rad_hf_reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    int64_t count = rad_hf_size(r, "num_local_experts|num_experts|n_routed_experts", 0);
    shape->n_experts = (uint32_t)count;
    if (count == 0)
        return;
    rad_hf_put_integer(r, "expert_count", count);
    rad_hf_put_integer(r, "expert_used_count",
                       rad_hf_size(r, "num_experts_per_tok|experts_per_token", -1));
    rad_hf_put_integer(r, "expert_feed_forward_length",
                       rad_hf_size(r, "moe_intermediate_size|intermediate_size", -1));
    if (rad_hf_find(config, "shared_expert_intermediate_size") != NULL)
        rad_hf_put_integer(r, "expert_shared_feed_forward_length",
                           rad_hf_size(r, "shared_expert_intermediate_size", -1));
    /* Others' weights of experts are always normalized, whatever stands there. */
    if (rad_hf_find(config, "norm_topk_prob") != NULL &&
        !rad_is_one_of(r->family->model_type, "mixtral|gpt_oss"))
        rad_hf_put_bool(r, "expert_weights_norm",
                        rad_hf_bool_in(r, config, "norm_topk_prob", false));
    if (rad_hf_find(config, "n_shared_experts") != NULL)
        rad_hf_put_integer(r, "expert_shared_count",
                           rad_hf_size_in(r, config, "n_shared_experts", 0, 0));
    if (rad_hf_find(config, "first_k_dense_replace") != NULL)
        rad_hf_put_integer(r, "leading_dense_block_count",
                           rad_hf_size_in(r, config, "first_k_dense_replace", 0, 0));
    if (rad_hf_find(config, "routed_scaling_factor") != NULL)
        rad_hf_put_real(r, "expert_weights_scale",
                        rad_hf_real_in(r, config, "routed_scaling_factor", 1.0));
    /* V2-Lite has groups in its configuration and takes the best of all. */
    const char *method = json_string_value(rad_hf_find(config, "topk_method"));
    if (rad_hf_find(config, "n_group") != NULL &&
        (method == NULL || strcmp(method, "greedy") != 0)) {
        rad_hf_put_integer(r, "expert_group_count", rad_hf_size(r, "n_group", -1));
        rad_hf_put_integer(r, "expert_group_used_count", rad_hf_size(r, "topk_group", -1));
    }
    if (rad_hf_size_in(r, config, "moe_layer_freq", 1, 1) != 1)
        rad_hf_refuse(
            r, "moe_layer_freq", "above 1",
            "layers with and without experts in turns are not supported in models of this type");
}

/* Of the layers every decoder_sparse_step-th one has experts (Qwen), less those of a list. */
static void put_expert_layers(rad_hf_reader *r, const rad_folder_shape *shape)
{
    const json_t *config = r->folder->config, *dense = rad_hf_find(config, "mlp_only_layers"),
                 *item;
    int64_t step = rad_hf_size_in(r, config, "decoder_sparse_step", 1, 1);
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
            rad_hf_fail_value(r, "mlp_only_layers", "a list of numbers of layers");
    }
    rad_hf_put_items(r, "expert_layers", RAD_META_BOOL, shape->n_layers, sparse, shape->n_layers);
    rad_hf_mark_array(r);
}

/* Rows of a packed matrix cannot be turned into columns: then it is used as a whole, and the cache
 * holds the keys and values of all heads. */
static bool is_latent_whole(const rad_stored_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->items[i].packed != NULL &&
            rad_ends_with(table->items[i].name.data, table->items[i].name.size,
                          ".kv_b_proj.weight"))
            return true;
    return false;
}

/* DeepSeek's routers and attention. */
static void put_deepseek(rad_hf_reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    bool third = strcmp(r->family->model_type, "deepseek_v2") != 0;
    int64_t plain = rad_hf_size(r, "qk_nope_head_dim", -1),
            rotated = rad_hf_size(r, "qk_rope_head_dim", -1);
    int64_t value = rad_hf_size(r, "v_head_dim", -1), rank = rad_hf_size(r, "kv_lora_rank", -1);
    rad_hf_put_integer(r, "expert_gating_func", third ? 2 : 1);
    rad_hf_put_integer(r, "attention.kv_lora_rank", rank);
    if (rad_hf_find(config, "q_lora_rank") != NULL)
        rad_hf_put_integer(r, "attention.q_lora_rank", rad_hf_size(r, "q_lora_rank", -1));
    rad_hf_put_integer(r, "rope.dimension_count", rotated);
    shape->latent_whole = is_latent_whole(&r->folder->stored);
    if (!shape->latent_whole) {
        rad_hf_put_integer(r, "attention.key_length_mla", plain + rotated);
        rad_hf_put_integer(r, "attention.value_length_mla", value);
    }
    rad_hf_put_integer(r, "attention.key_length", (shape->latent_whole ? plain : rank) + rotated);
    rad_hf_put_integer(r, "attention.value_length", shape->latent_whole ? value : rank);
    shape->latent_plain = (uint32_t)plain;
    shape->latent_value = (uint32_t)value;
}

/* ---- windows -------------------------------------------------------------------------------- */

/* Whether a layer has the window: as listed, or (types == NULL) as the family has it. */
static bool has_window(rad_hf_reader *r, const json_t *types, uint32_t layer)
{
    const char *name = json_string_value(json_array_get(types, layer));
    int64_t most = rad_hf_size_in(r, r->folder->config, "max_window_layers", 0, 28);
    if (types == NULL)
        return r->family->windows == RAD_CONFIG_WINDOW_EVERY ||
               (r->family->windows == RAD_CONFIG_WINDOW_TURNS ? layer % 2 == 0 && layer < most
                                                              : layer >= most);
    if (name != NULL && strcmp(name, "sliding_attention") == 0)
        return true;
    if (name == NULL || strcmp(name, "full_attention") != 0)
        rad_hf_refuse(r, "layer_types", name == NULL ? "no text" : name,
                      "this version knows full_attention and sliding_attention");
    return false;
}

/* Which layers have the window; whether any has. `patterned`: said also if none has. */
static bool put_layer_types(rad_hf_reader *r, const rad_folder_shape *shape, const json_t *types,
                            bool patterned)
{
    if (types != NULL && (!json_is_array(types) || json_array_size(types) != shape->n_layers))
        rad_hf_fail_value(r, "layer_types",
                          "a list of one text for each of num_hidden_layers layers");
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
    if (any || patterned) {
        rad_hf_put_items(r, "attention.sliding_window_pattern", RAD_META_BOOL, shape->n_layers,
                         pattern, shape->n_layers);
        rad_hf_mark_array(r);
    }
    return any;
}

static void put_windows(rad_hf_reader *r, const rad_folder_shape *shape)
{
    const json_t *config = r->folder->config, *types = rad_hf_find(config, "layer_types");
    const rad_config_windows kind = r->family->windows;
    int64_t window = rad_hf_size_in(r, config, "sliding_window", 0, 0);
    bool qwen = strncmp(r->family->model_type, "qwen", 4) == 0;
    /* Whether layers have a window also says how they rotate. */
    bool patterned = strcmp(r->family->architecture, "gemma3") == 0;
    /* Mixtral was published with a stray window, which it was not trained with. */
    if ((qwen && !rad_hf_bool_in(r, config, "use_sliding_window", false)) ||
        (kind == RAD_CONFIG_WINDOW_EVERY && !qwen && window == 4096) ||
        kind == RAD_CONFIG_WINDOW_NEVER)
        window = 0;
    if (kind == RAD_CONFIG_WINDOW_EVERY)
        types = NULL;
    if (patterned && types == NULL)
        rad_hf_put_integer(
            r, "attention.sliding_window_pattern",
            rad_hf_size_in(r, config, "sliding_window_pattern|_sliding_window_pattern", 1, 6));
    else if ((patterned || (window != 0 && (types != NULL || kind > RAD_CONFIG_WINDOW_ALWAYS))) &&
             !put_layer_types(r, shape, types, patterned))
        window = 0;
    bool plain = strcmp(r->family->architecture, "llama") == 0; /* it has none without the key */
    if (window != 0 || (kind == RAD_CONFIG_WINDOW_ALWAYS && !plain) || qwen)
        rad_hf_put_integer(r, "attention.sliding_window", window);
}

/* ---- styles --------------------------------------------------------------------------------- */

static void check_activation(rad_hf_reader *r)
{
    const json_t *config = r->folder->config;
    const char *key = rad_hf_find(config, "hidden_activation") != NULL ? "hidden_activation"
                      : rad_hf_find(config, "hidden_act") != NULL      ? "hidden_act"
                                                                       : "activation_function";
    const json_t *value = rad_hf_find(config, key);
    const char *name = json_string_value(value);
    if (name == NULL && value != NULL)
        rad_hf_fail_value(r, key, "a text");
    else if (name != NULL && r->family->activation != NULL &&
             !rad_is_one_of(name, r->family->activation))
        rad_hf_refuse(r, key, name, "this activation is not supported in models of this type");
}

static void configure_usual(rad_hf_reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    const rad_folder_family *family = r->family;
    bool latent = strcmp(family->architecture, "deepseek2") == 0;
    shape->n_layers = (uint32_t)rad_hf_size(r, "num_hidden_layers", -1);
    shape->n_heads = (uint32_t)rad_hf_size(r, "num_attention_heads", -1);
    shape->extra_layers = (uint32_t)rad_hf_size_in(r, config, "num_nextn_predict_layers", 0, 0);
    rad_hf_put_integer(
        r, "context_length",
        (int64_t)((double)rad_hf_size(r, "max_position_embeddings", -1) * rad_hf_stretch(r)));
    rad_hf_put_integer(r, "embedding_length", rad_hf_size(r, "hidden_size", -1));
    rad_hf_put_integer(r, "block_count", shape->n_layers);
    rad_hf_put_integer(r, "feed_forward_length",
                       rad_hf_size(r, "intermediate_size|moe_intermediate_size", -1));
    rad_hf_put_integer(r, "attention.head_count", shape->n_heads);
    if (!latent)
        rad_hf_put_integer(r, "attention.head_count_kv",
                           rad_hf_size(r, "num_key_value_heads", shape->n_heads));
    if (!latent && rad_hf_find(config, "head_dim") != NULL) {
        rad_hf_put_integer(r, "attention.key_length", rad_hf_size(r, "head_dim", -1));
        rad_hf_put_integer(r, "attention.value_length", rad_hf_size(r, "head_dim", -1));
    }
    bool layer_norms = strcmp(family->architecture, "phi2") == 0;
    rad_hf_put_real(
        r, layer_norms ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        rad_hf_real_in(r, config, layer_norms ? "layer_norm_eps" : "rms_norm_eps",
                       family->norm_epsilon));
    if (strncmp(family->architecture, "gemma", 5) == 0) {
        if (strcmp(family->architecture, "gemma2") == 0) /* Gemma 3 has the key, and no such cap */
            rad_hf_put_real(r, "attn_logit_softcapping",
                            rad_hf_real_in(r, config, "attn_logit_softcapping", 0.0));
        rad_hf_put_real(r, "final_logit_softcapping",
                        rad_hf_real_in(r, config, "final_logit_softcapping", 0.0));
        rad_hf_put_real(r, "attention.scale",
                        1.0 / sqrt(rad_hf_real_in(r, config, "query_pre_attn_scalar", 256.0)));
    }
    if (!rad_hf_bool_in(r, config, "is_causal", true))
        rad_hf_put_bool(r, "attention.causal", false);
    if (rad_hf_real_in(r, config, "swiglu_alpha", 1.702) != 1.702 ||
        rad_hf_real_in(r, config, "swiglu_limit", 7.0) != 7.0)
        rad_hf_refuse(r, "swiglu_alpha or swiglu_limit", "not 1.702 and 7",
                      "this is not supported");
    if (rad_hf_bool_in(r, config, "use_bidirectional_attention", false))
        rad_hf_refuse(r, "use_bidirectional_attention", "true",
                      "encoders of this family are not supported");
    if (latent)
        put_deepseek(r, shape);
    put_experts(r, shape);
    put_expert_layers(r, shape);
    put_windows(r, shape);
    rad_hf_put_rope(r, latent);
    if (family->halves || (latent && !rad_hf_bool_in(r, config, "rope_interleave", true)))
        rad_hf_put_text_key(r, "rope.layout", "halves");
}

static void put_plain_shape(rad_hf_reader *r, rad_folder_shape *shape, const char *width,
                            const char *layers, const char *heads, int64_t context)
{
    shape->n_layers = (uint32_t)rad_hf_size(r, layers, -1);
    shape->n_heads = (uint32_t)rad_hf_size(r, heads, -1);
    rad_hf_put_integer(r, "context_length", context);
    rad_hf_put_integer(r, "embedding_length", rad_hf_size(r, width, -1));
    rad_hf_put_integer(r, "block_count", shape->n_layers);
    rad_hf_put_integer(r, "attention.head_count", shape->n_heads);
    rad_hf_put_real(r, "attention.layer_norm_epsilon",
                    rad_hf_real_in(r, r->folder->config, "layer_norm_epsilon|layer_norm_eps",
                                   r->family->norm_epsilon));
}

static void configure_gpt2(rad_hf_reader *r, rad_folder_shape *shape)
{
    int64_t width = rad_hf_size(r, "n_embd", -1);
    put_plain_shape(r, shape, "n_embd", "n_layer", "n_head",
                    rad_hf_size(r, "n_positions|n_ctx", -1));
    rad_hf_put_integer(r, "feed_forward_length", rad_hf_size(r, "n_inner", 4 * width));
    if (rad_hf_bool_in(r, r->folder->config, "scale_attn_by_inverse_layer_idx", false) ||
        !rad_hf_bool_in(r, r->folder->config, "scale_attn_weights", true))
        rad_hf_refuse(r, "scale_attn_by_inverse_layer_idx", "another than GPT-2's",
                      "attention scaled so is not supported");
}

static void configure_bloom(rad_hf_reader *r, rad_folder_shape *shape)
{
    int64_t width = rad_hf_size(r, "hidden_size|n_embed", -1);
    put_plain_shape(r, shape, "hidden_size|n_embed", "n_layer|num_hidden_layers",
                    "n_head|num_attention_heads", rad_hf_size(r, "seq_length", 2048));
    rad_hf_put_integer(r, "feed_forward_length", 4 * width);
    if (rad_hf_bool_in(r, r->folder->config, "apply_residual_connection_post_layernorm", false))
        rad_hf_refuse(r, "apply_residual_connection_post_layernorm", "true",
                      "this is not supported");
}

static void configure_mpt(rad_hf_reader *r, rad_folder_shape *shape)
{
    const json_t *attention = rad_hf_find(r->folder->config, "attn_config");
    int64_t width = rad_hf_size(r, "d_model", -1);
    double clip = rad_hf_real_in(r, attention, "clip_qkv", 0.0);
    put_plain_shape(r, shape, "d_model", "n_layers", "n_heads", rad_hf_size(r, "max_seq_len", -1));
    double ffn = rad_hf_real_in(r, r->folder->config, "expansion_ratio", 4.0) * (double)width;
    rad_hf_put_integer(r, "feed_forward_length", ffn > 0.0 && ffn < 2e9 ? (int64_t)ffn : 0);
    if (clip != 0.0)
        rad_hf_put_real(r, "attention.clamp_kqv", clip);
    rad_hf_put_real(r, "attention.max_alibi_bias",
                    rad_hf_bool_in(r, attention, "alibi", true)
                        ? rad_hf_real_in(r, attention, "alibi_bias_max", 8.0)
                        : 0.0);
    const json_t *scale = rad_hf_find(attention, "softmax_scale");
    if (json_is_number(scale))
        rad_hf_put_real(r, "attention.scale", json_number_value(scale));
}

/* How many types of tokens there are; the key has no architecture's name in front. */
static void put_token_types(rad_hf_reader *r)
{
    rad_hf_put_count(r, "tokenizer.ggml.token_type_count",
                     rad_hf_size_in(r, r->folder->config, "type_vocab_size", 0, 2));
}

/* What sentence-transformers puts behind a model. */
static void put_pooling(rad_hf_reader *r)
{
    rad_folder_pooling pooling;
    if (r->status == RADLLM_OK)
        r->status = rad_folder_read_pooling(r->folder, &pooling, r->error);
    if (r->status != RADLLM_OK)
        return;
    if (pooling.type >= 0)
        rad_hf_put_integer(r, "pooling_type", pooling.type);
    if (pooling.has_modules)
        rad_hf_put_bool(r, "normalize_embeddings", pooling.normalises);
}

/* What the encoders of this family must be. */
static void check_bert(rad_hf_reader *r)
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
        if (rad_hf_bool_in(r, config, flags[i].key, flags[i].usual) != flags[i].usual)
            rad_hf_refuse(r, flags[i].key, "true", "encoders of this kind are not supported");
    }
    if (rad_hf_size_in(r, config, "num_experts|moe_every_n_layers", 0, 0) > 0)
        rad_hf_refuse(r, "num_experts", "above 0", "encoders with experts are not supported");
    if (rad_hf_real_in(r, config, "rotary_emb_fraction", 1.0) != 1.0 &&
        strcmp(r->family->architecture, "bert") != 0)
        rad_hf_refuse(r, "rotary_emb_fraction", "not 1", "this is not supported");
    const char *kind = json_string_value(rad_hf_find(config, "position_embedding_type"));
    if (kind != NULL && strcmp(kind, "absolute") != 0)
        rad_hf_refuse(r, "position_embedding_type", kind, "only absolute positions are supported");
}

/* BERT's own keys, and those of nomic-bert, which come from GPT-2. */
static void configure_bert(rad_hf_reader *r, rad_folder_shape *shape)
{
    const json_t *config = r->folder->config;
    bool rotary = strcmp(r->family->architecture, "bert") != 0;
    int64_t width = rad_hf_size(r, "hidden_size|n_embd", -1);
    int64_t positions =
        rad_hf_size(r, "max_trained_positions|max_position_embeddings|n_positions", -1);
    /* Positions are counted from behind the padding's id on. */
    if (strstr(r->family->model_type, "roberta") != NULL)
        shape->first_position = (uint32_t)rad_hf_size_in(r, config, "pad_token_id", 0, 1) + 1;
    if (positions <= shape->first_position)
        rad_hf_fail_value(r, "max_position_embeddings", "more than pad_token_id + 1");
    check_bert(r);
    put_plain_shape(r, shape, "hidden_size|n_embd", "num_hidden_layers|n_layer",
                    "num_attention_heads|n_head", positions - shape->first_position);
    rad_hf_put_integer(r, "feed_forward_length",
                       rad_hf_size(r, "intermediate_size|n_inner", 4 * width));
    rad_hf_put_bool(r, "attention.causal", false);
    put_token_types(r);
    if (rotary) {
        const json_t *rope = rad_hf_find(config, "rope_parameters");
        const char *type = rad_hf_rope_type(rope);
        /* Dynamic scaling begins behind the context. */
        if (type == NULL || !rad_is_one_of(type, "default|dynamic"))
            rad_hf_refuse(r, "rope_parameters.rope_type", type == NULL ? "no text" : type,
                          "rotations are not scaled in encoders");
        rad_hf_put_real(r, "rope.freq_base",
                        rad_hf_real_in(r, rope, "rope_theta",
                                       rad_hf_real_in(r, config, "rotary_emb_base|rope_theta",
                                                      r->family->theta)));
    }
}

/* ---- texts ---------------------------------------------------------------------------------- */

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
static void put_name(rad_hf_reader *r)
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
        rad_hf_put_text(r, "general.name", path + start, end - start);
}

radllm_status rad_folder_configure(rad_folder *folder, const rad_folder_family *family,
                                   rad_folder_shape *shape, radllm_error *error)
{
    static void (*const styles[])(rad_hf_reader *,
                                  rad_folder_shape *) = {[RAD_CONFIG_USUAL] = configure_usual,
                                                         [RAD_CONFIG_GPT2] = configure_gpt2,
                                                         [RAD_CONFIG_BLOOM] = configure_bloom,
                                                         [RAD_CONFIG_MPT] = configure_mpt,
                                                         [RAD_CONFIG_BERT] = configure_bert};
    rad_hf_reader r = {.folder = folder, .family = family, .error = error};
    *shape = (rad_folder_shape){0};
    rad_hf_put_text(&r, "general.architecture", family->architecture, strlen(family->architecture));
    put_name(&r);
    check_activation(&r);
    styles[family->style](&r, shape);
    rad_hf_put_integer(&r, "vocab_size", rad_hf_size(&r, "vocab_size", -1));
    if (!rad_source_has_side_file(folder->source, "tokenizer.json") &&
        !rad_source_has_side_file(folder->source, "tokenizer.model"))
        rad_hf_put_text(&r, "tokenizer.ggml.model", "none", 4);
    rad_hf_put_templates(&r);
    put_pooling(&r);
    shape->tied = rad_hf_bool_in(&r, folder->config, "tie_word_embeddings", family->tied);
    return r.status;
}
