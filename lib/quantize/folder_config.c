/* config.json and generation_config.json of a model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric.h"
#include "quantize/folder.h"
#include "text/export_json.h"

typedef struct builder {
    const rad_folder_model *model;
    const rad_hparams *h;
    json_t *object;
    bool failed; /* memory is short */
} builder;

static void put(builder *b, const char *key, json_t *value)
{
    b->failed = json_object_set_new(b->object, key, value) != 0 || b->failed;
}

static void put_integer(builder *b, const char *key, uint64_t value)
{
    put(b, key, json_integer((json_int_t)value));
}

/* A number as people write it, with so many digits. */
static double rounded(double value, int digits)
{
    char text[40];
    int size = snprintf(text, sizeof text, "[%.*g", digits, value);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == ',' ? '.' : *c;
    snprintf(text + size, sizeof text - (size_t)size, "%s]",
             strpbrk(text, ".e") == NULL ? ".0" : "");
    json_t *list = json_loads(text, 0, NULL); /* in any locale */
    value = list != NULL ? json_real_value(json_array_get(list, 0)) : value;
    json_decref(list);
    return value;
}

/* Numbers of single precision: 1e-05 and not 9.9999997e-06, but more digits where these are needed
 * to mean the same number. */
static double shortest(double value)
{
    int digits = 7;
    while (digits < 9 && (float)rounded(value, digits) != (float)value)
        digits++;
    return rounded(value, digits);
}

static void put_real(builder *b, const char *key, double value)
{
    put(b, key, json_real(shortest(value)));
}

static void put_text(builder *b, const char *key, const char *text)
{
    put(b, key, json_string(text));
}

static void put_flag(builder *b, const char *key, bool value)
{
    put(b, key, json_boolean(value));
}

static bool is_type(const builder *b, const char *model_type)
{
    return strcmp(b->model->model_type, model_type) == 0;
}

/* Of the layers' sizes, where config.json has a key of the architecture for them; NULL: not here.
 */
static const rad_meta *find(const builder *b, const char *name)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->h->architecture->name, name);
    return rad_source_find_meta(b->model->source, key);
}

static bool has_tensor(const builder *b, const char *name)
{
    return rad_source_find_tensor(b->model->source, name) != NULL;
}

static json_t *token(int32_t id)
{
    return id >= 0 ? json_integer(id) : json_null();
}

/* ---- rotations ------------------------------------------------------------------------------ */

/* What all published models of Llama 3 have. */
#define LOW      1.0
#define HIGH     4.0
#define PAIRS    512
#define TWO_PI   6.283185307179586
#define ACCURACY 1e-5

static double divisor_of(const rad_rope_params *rope, uint32_t pair, double factor, double context)
{
    double waves = context * rad_pow(rope->theta, -(double)pair / rope->n_pairs) / TWO_PI;
    double smooth = (waves - LOW) / (HIGH - LOW);
    return waves > HIGH ? 1.0 : waves < LOW ? factor : 1.0 / ((1.0 - smooth) / factor + smooth);
}

static bool fits(const rad_rope_params *rope, const float *divisors, double factor, double context)
{
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        double wanted = divisor_of(rope, i, factor, context);
        if (!(fabs((double)divisors[i] - wanted) <= ACCURACY * wanted))
            return false;
    }
    return true;
}

/* Of a number above zero, without the C library's help. */
static double nearest_whole(double x)
{
    return x < 0x1p52 ? (double)(int64_t)(x + 0.5) : x;
}

/* The context follows from a divisor between 1 and the factor; without one, any that fits. */
static bool find_context(rad_folder_model *model, const float *divisors)
{
    const rad_rope_params *rope = &model->hparams.rope;
    double f = model->factor;
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        double d = (double)divisors[i];
        if (!(d > 1.001 && d < f * 0.999))
            continue;
        double smooth = (1.0 / d - 1.0 / f) / (1.0 - 1.0 / f);
        double waves = smooth * (HIGH - LOW) + LOW;
        model->context =
            nearest_whole(waves * TWO_PI * rad_pow(rope->theta, (double)i / rope->n_pairs));
        return fits(rope, divisors, f, model->context);
    }
    for (model->context = 8192.0; model->context >= 1.0; model->context /= 2.0)
        if (fits(rope, divisors, f, model->context))
            return true;
    return false;
}

static radllm_status fail_divisors(const rad_folder_model *model, radllm_error *error)
{
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: the divisors of rotations (rope_freqs.weight, rope_factors_*.weight) are "
                    "neither those of Llama 3 nor of longrope, so that config.json has no words "
                    "for them; keep the GGUF file",
                    rad_source_label(model->source));
}

static radllm_status read_divisors(const rad_folder_model *model, const char *name, float *out,
                                   radllm_error *error)
{
    const rad_tensor *tensor = rad_source_find_tensor(model->source, name);
    const uint32_t n = model->hparams.rope.n_pairs;
    if (tensor == NULL || tensor->type != RAD_TYPE_F32 || tensor->n_elements != n || n > PAIRS)
        return fail_divisors(model, error);
    return rad_source_read_tensor(model->source, tensor, 0, out, n * sizeof *out, error);
}

radllm_status rad_folder_find_scaling(rad_folder_model *model, radllm_error *error)
{
    const uint32_t n = model->hparams.rope.n_pairs;
    float *divisors = model->divisors[0];
    model->factor = 0.0;
    if (model->hparams.rope.scaling == RAD_ROPE_LONG) {
        radllm_status status = read_divisors(model, "rope_factors_short.weight", divisors, error);
        return status == RADLLM_OK
                   ? read_divisors(model, "rope_factors_long.weight", model->divisors[1], error)
                   : status;
    }
    if (rad_source_find_tensor(model->source, "rope_freqs.weight") == NULL)
        return RADLLM_OK;
    radllm_status status = read_divisors(model, "rope_freqs.weight", divisors, error);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++)
        if ((double)divisors[i] > model->factor)
            model->factor = (double)divisors[i];
    bool known =
        model->factor > 0.0 && model->factor < 1e6 && model->hparams.rope.scaling == RAD_ROPE_PLAIN;
    if (status == RADLLM_OK && !(known && find_context(model, divisors)))
        status = fail_divisors(model, error);
    return status;
}

static void put_yarn(builder *b)
{
    const rad_rope_params *rope = &b->h->rope;
    const rad_meta *all = find(b, "rope.scaling.yarn_log_multiplier");
    double usual = 0.1 * rad_ln(rope->factor) + 1.0, length = (double)rad_rope_magnitude(rope);
    put_text(b, "rope_type", "yarn");
    put_real(b, "factor", rope->factor);
    put_integer(b, "original_max_position_embeddings", (uint64_t)rope->original_context);
    put_real(b, "beta_fast", rope->beta_fast);
    put_real(b, "beta_slow", rope->beta_slow);
    if (rope->exact)
        put_flag(b, "truncate", false);
    if (b->h->latent.rank > 0 && all != NULL && all->type == RAD_META_F32) { /* scores are scaled */
        double scale = rounded(10.0 * rad_meta_item_f64(all, 0), 6);
        put(b, "mscale", json_real(scale));
        put(b, "mscale_all_dim", json_real(scale));
        usual = 1.0;
    }
    if (fabs(length - usual) > 1e-6 * usual)
        put_real(b, "attention_factor", length);
}

static void put_divisors(builder *b, const char *key, const float *divisors)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < b->h->rope.n_pairs; i++)
        b->failed =
            json_array_append_new(list, json_real(shortest((double)divisors[i]))) != 0 || b->failed;
    put(b, key, list);
}

/* Phi-3's own programs want no more than these three keys. */
static void put_longrope(builder *b, builder *scaling)
{
    const rad_rope_params *rope = &b->h->rope;
    double growth = (double)b->h->context_length / rope->original_context;
    double usual = growth > 1.0 && rope->original_context > 1.0
                       ? sqrt(1.0 + rad_ln(growth) / rad_ln(rope->original_context))
                       : 1.0;
    put_integer(b, "original_max_position_embeddings", (uint64_t)rope->original_context);
    put_text(scaling, "type", "longrope");
    put_divisors(scaling, "short_factor", b->model->divisors[0]);
    put_divisors(scaling, "long_factor", b->model->divisors[1]);
    if (fabs(rope->attention_factor - usual) > 1e-6 * usual)
        put_real(scaling, "attention_factor", rope->attention_factor);
}

static void put_llama3(builder *b)
{
    const rad_rope_params *rope = &b->h->rope;
    bool found = b->model->factor > 0.0;
    put_text(b, "rope_type", "llama3");
    put_real(b, "factor", found ? b->model->factor : rope->factor);
    put_real(b, "low_freq_factor", found ? LOW : rope->low_frequency);
    put_real(b, "high_freq_factor", found ? HIGH : rope->high_frequency);
    put_integer(b, "original_max_position_embeddings",
                (uint64_t)(found ? b->model->context : rope->original_context));
}

/* transformers asks for rope_type and, since version 5, for theta in one object; what is said in
 * the way of version 4 it understands. */
static void put_rope(builder *b)
{
    const rad_rope_params *rope = &b->h->rope;
    put_real(b, "rope_theta", rope->theta);
    if (b->h->architecture->local_theta > 0.0)
        put_real(b, "rope_local_base_freq", b->h->local_rope.theta);
    builder scaling = {.model = b->model, .h = b->h, .object = json_object()};
    if (b->model->factor > 0.0 || rope->scaling == RAD_ROPE_LLAMA3) {
        put_llama3(&scaling);
    } else if (rope->scaling == RAD_ROPE_LINEAR || rope->scaling == RAD_ROPE_DYNAMIC) {
        put_text(&scaling, "rope_type", rope->scaling == RAD_ROPE_LINEAR ? "linear" : "dynamic");
        put_real(&scaling, "factor", rope->factor);
    } else if (rope->scaling == RAD_ROPE_YARN) {
        put_yarn(&scaling);
    } else if (rope->scaling == RAD_ROPE_LONG) {
        put_longrope(b, &scaling);
    } else if (is_type(b, "gpt_oss")) { /* whose usual rotations are scaled */
        put_text(&scaling, "rope_type", "default");
    } else {
        json_decref(scaling.object);
        put(b, "rope_scaling", json_null());
        return;
    }
    b->failed = b->failed || scaling.failed;
    put(b, "rope_scaling", scaling.object);
}

static void put_partial_rotation(builder *b)
{
    double rotated = 2.0 * b->h->rope.n_pairs, head = b->h->head_dim;
    double share = rounded(rotated / head, 6);
    while ((uint64_t)(share * head) < (uint64_t)rotated) /* as readers count them */
        share += 1e-7;
    if (share != 1.0 || is_type(b, "phi"))
        put(b, "partial_rotary_factor", json_real(share));
}

/* ---- families ------------------------------------------------------------------------------- */

static void put_windows(builder *b)
{
    uint32_t window = 0, n = 0;
    for (uint32_t i = 0; i < b->h->n_layers; i++) {
        window = b->h->layers[i].window > window ? b->h->layers[i].window : window;
        n += b->h->layers[i].window > 0;
    }
    bool listed = is_type(b, "gemma2") || is_type(b, "gemma3_text") || is_type(b, "gpt_oss");
    bool later = strncmp(b->model->model_type, "qwen", 4) == 0 || is_type(b, "dots1");
    if (listed && n == 0) /* which want a window all the same */
        window = b->h->context_length;
    put(b, "sliding_window", window > 0 ? json_integer(window) : json_null());
    if (later && n > 0)
        put_flag(b, "use_sliding_window", true);
    if (is_type(b, "qwen3_moe") || (!listed && (n == 0 || (!later && n == b->h->n_layers))))
        return;
    if (listed && n > 0 && find(b, "attention.sliding_window_pattern") == NULL)
        return; /* the family's own, here and there */
    json_t *types = json_array();
    for (uint32_t i = 0; i < b->h->n_layers; i++) {
        bool local = b->h->layers[i].window > 0 || b->h->layers[i].local;
        b->failed = json_array_append_new(
                        types, json_string(local ? "sliding_attention" : "full_attention")) != 0 ||
                    b->failed;
    }
    put(b, "layer_types", types);
}

/* Whether experts are told of as DeepSeek does. */
static bool is_deepseek(const builder *b)
{
    return is_type(b, "deepseek_v2") || is_type(b, "deepseek_v3") || is_type(b, "dots1");
}

static void put_deepseek_experts(builder *b)
{
    const rad_hparams *h = b->h;
    const rad_router *router = &h->router;
    uint32_t dense = 0;
    while (dense < h->n_layers && !h->layers[dense].experts)
        dense++;
    put_integer(b, "n_shared_experts", h->shared_ffn / h->expert_ffn);
    put_integer(b, "first_k_dense_replace", dense);
    put_integer(b, "moe_layer_freq", 1);
    put_real(b, "routed_scaling_factor", (double)router->scale);
    put_integer(b, "n_group", router->n_groups);
    put_integer(b, "topk_group", router->n_groups_used);
    put_text(b, "scoring_func", router->gating == RAD_GATING_SIGMOID ? "sigmoid" : "softmax");
    put_text(b, "topk_method",
             !is_type(b, "deepseek_v2") ? "noaux_tc"
             : router->n_groups > 1     ? "group_limited_greedy"
                                        : "greedy");
}

static void put_dense_layers(builder *b)
{
    json_t *dense = json_array();
    for (uint32_t i = 0; i < b->h->n_layers; i++)
        if (!b->h->layers[i].experts)
            b->failed = json_array_append_new(dense, json_integer(i)) != 0 || b->failed;
    put_integer(b, "decoder_sparse_step", 1);
    put(b, "mlp_only_layers", dense);
}

static void put_experts(builder *b)
{
    const rad_hparams *h = b->h;
    if (h->router.n_experts == 0)
        return;
    bool local = is_type(b, "mixtral") || is_type(b, "gpt_oss");
    put_integer(b,
                local            ? "num_local_experts"
                : is_deepseek(b) ? "n_routed_experts"
                                 : "num_experts",
                h->router.n_experts);
    put_integer(b, "num_experts_per_tok", h->router.n_used);
    if (local)
        return;
    put_integer(b, "moe_intermediate_size", h->expert_ffn);
    if (!is_type(b, "qwen2_moe") || find(b, "expert_weights_norm") != NULL) /* else: false */
        put_flag(b, "norm_topk_prob", h->router.normalise);
    if (is_deepseek(b))
        put_deepseek_experts(b);
    else
        put_dense_layers(b);
    if (!is_deepseek(b) && h->shared_ffn > 0)
        put_integer(b, "shared_expert_intermediate_size", h->shared_ffn);
}

/* Where all layers have experts it is said all the same. */
static uint64_t ffn_length(const builder *b)
{
    const rad_hparams *h = b->h;
    uint32_t fallback = h->max_ffn > 0 ? h->max_ffn : h->expert_ffn;
    const rad_meta *meta = find(b, "feed_forward_length");
    bool number = meta != NULL && !meta->is_array && meta->type != RAD_META_STRING &&
                  meta->type != RAD_META_F32 && meta->type != RAD_META_F64;
    if (is_type(b, "gpt_oss"))
        return h->expert_ffn;
    return number && rad_meta_item_u64(meta, 0) > 0 ? rad_meta_item_u64(meta, 0) : fallback;
}

/* Multi-head latent attention. */
static void put_latent(builder *b)
{
    const rad_latent *latent = &b->h->latent;
    put_integer(b, "kv_lora_rank", latent->rank);
    put(b, "q_lora_rank", latent->query_rank > 0 ? json_integer(latent->query_rank) : json_null());
    put_integer(b, "qk_nope_head_dim", latent->plain);
    put_integer(b, "qk_rope_head_dim", latent->rotated);
    put_integer(b, "v_head_dim", latent->value);
    put_flag(b, "rope_interleave", b->h->rotary != RAD_ROTARY_HALVES);
    put_integer(b, "num_nextn_predict_layers", 0);
}

static void put_cap(builder *b, const char *key, float cap)
{
    put(b, key, cap > 0.0f ? json_real(shortest((double)cap)) : json_null());
}

static void put_gemma(builder *b)
{
    put_text(b, "hidden_activation", "gelu_pytorch_tanh");
    put_cap(b, "attn_logit_softcapping", b->h->attention_cap);
    put_cap(b, "final_logit_softcapping", b->h->logit_cap);
    put_integer(b, "query_pre_attn_scalar", /* a whole number there */
                (uint64_t)(1.0 / ((double)b->h->query_scale * (double)b->h->query_scale) + 0.5));
}

/* gpt-oss, whose experts stay in blocks. */
static void put_blocks(builder *b)
{
    static const char *const others[] = {"model.layers.*.self_attn", "model.layers.*.mlp.router",
                                         "model.embed_tokens", "lm_head"};
    json_t *quantization = json_object(), *names = json_array();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        b->failed = json_array_append_new(names, json_string(others[i])) != 0 || b->failed;
    b->failed = json_object_set_new(quantization, "quant_method", json_string("mxfp4")) != 0 ||
                json_object_set_new(quantization, "modules_to_not_convert", names) != 0 ||
                b->failed;
    put(b, "quantization_config", quantization);
}

static void put_usual(builder *b)
{
    const rad_hparams *h = b->h;
    bool phi = is_type(b, "phi"), gemma = is_type(b, "gemma2") || is_type(b, "gemma3_text");
    bool latent = h->latent.rank > 0, dynamic = h->rope.scaling == RAD_ROPE_DYNAMIC;
    put_integer(b, "hidden_size", h->width);
    put_integer(b, "intermediate_size", ffn_length(b));
    put_integer(b, "num_hidden_layers", h->n_layers);
    put_integer(b, "num_attention_heads", h->layers[0].n_heads);
    put_integer(b, "num_key_value_heads", latent ? h->layers[0].n_heads : h->layers[0].n_kv_heads);
    /* Of these the heads divide the width where nothing else is said. */
    bool divided =
        find(b, "attention.key_length") == NULL &&
        rad_is_one_of(b->model->model_type, "llama|mistral|mixtral|qwen2|qwen2_moe|bitnet");
    if (!latent && !divided && !phi && !is_type(b, "phi3"))
        put_integer(b, "head_dim", h->head_dim);
    put_integer(b, "max_position_embeddings",
                dynamic ? (uint64_t)h->rope.original_context : h->context_length);
    put_real(b, phi ? "layer_norm_eps" : "rms_norm_eps", (double)h->norm_epsilon);
    put_text(b, "hidden_act",
             phi                    ? "gelu_new"
             : gemma                ? "gelu_pytorch_tanh"
             : is_type(b, "bitnet") ? "relu2"
                                    : "silu");
    if (gemma)
        put_gemma(b);
    put_flag(b, is_type(b, "qwen2_moe") ? "qkv_bias" : "attention_bias",
             has_tensor(b, "blk.0.attn_q.bias"));
    if (is_type(b, "llama"))
        put_flag(b, "mlp_bias", has_tensor(b, "blk.0.ffn_up.bias"));
    if (latent)
        put_latent(b);
    put_experts(b);
    if (!latent)
        put_windows(b);
    if (!latent)
        put_partial_rotation(b);
    put_rope(b);
    if (b->model->packed)
        put_blocks(b);
}

static void put_gpt2(builder *b)
{
    const rad_hparams *h = b->h;
    put_integer(b, "n_embd", h->width);
    put_integer(b, "n_layer", h->n_layers);
    put_integer(b, "n_head", h->layers[0].n_heads);
    put_integer(b, "n_positions", h->context_length);
    put_integer(b, "n_inner", h->max_ffn);
    put_real(b, "layer_norm_epsilon", (double)h->norm_epsilon);
    put(b, "activation_function", json_string("gelu_new"));
}

static void put_bloom(builder *b)
{
    const rad_hparams *h = b->h;
    put_integer(b, "hidden_size", h->width);
    put_integer(b, "n_layer", h->n_layers);
    put_integer(b, "n_head", h->layers[0].n_heads);
    put_integer(b, "seq_length", h->context_length);
    put_real(b, "layer_norm_epsilon", (double)h->norm_epsilon);
    put(b, "apply_residual_connection_post_layernorm", json_false());
}

static void put_mpt(builder *b)
{
    const rad_hparams *h = b->h;
    builder attention = {.model = b->model, .h = h, .object = json_object()};
    double usual = 1.0 / sqrt((double)h->head_dim), scale = (double)h->query_scale;
    put_integer(b, "d_model", h->width);
    put_integer(b, "n_layers", h->n_layers);
    put_integer(b, "n_heads", h->layers[0].n_heads);
    put_integer(b, "max_seq_len", h->context_length);
    if (h->max_ffn % h->width == 0)
        put_integer(b, "expansion_ratio", h->max_ffn / h->width);
    else
        put(b, "expansion_ratio", json_real((double)h->max_ffn / h->width));
    put_real(b, "layer_norm_epsilon", (double)h->norm_epsilon);
    put_text(b, "norm_type", "low_precision_layernorm");
    put_flag(b, "no_bias", !has_tensor(b, "blk.0.attn_qkv.bias"));
    put_flag(b, "learned_pos_emb", has_tensor(b, "position_embd.weight"));
    put_text(&attention, "attn_type", "multihead_attention");
    put_flag(&attention, "qk_ln", has_tensor(b, "blk.0.attn_q_norm.weight"));
    put_cap(&attention, "clip_qkv", h->qkv_clamp);
    put(&attention, "softmax_scale",
        fabs(scale - usual) > 1e-6 * usual ? json_real(shortest(scale)) : json_null());
    put_flag(&attention, "alibi", h->max_alibi_bias > 0.0f);
    put(&attention, "alibi_bias_max", /* a whole number there */
        json_integer(h->max_alibi_bias > 0.0f ? (json_int_t)(h->max_alibi_bias + 0.5f) : 8));
    b->failed = b->failed || attention.failed;
    put(b, "attn_config", attention.object);
}

/* nomic-bert is told of in GPT-2's words as well, which its own programs read. */
static void put_bert(builder *b)
{
    const rad_hparams *h = b->h;
    const rad_tensor *positions = rad_source_find_tensor(b->model->source, "position_embd.weight");
    bool nomic = is_type(b, "nomic_bert");
    uint64_t n_positions = positions != NULL ? positions->dims[1] : h->context_length;
    const struct {
        const char *name, *other;
        uint64_t value;
    } sizes[] = {{"hidden_size", "n_embd", h->width},
                 {"num_hidden_layers", "n_layer", h->n_layers},
                 {"num_attention_heads", "n_head", h->layers[0].n_heads},
                 {"intermediate_size", "n_inner", h->max_ffn},
                 {"max_position_embeddings", "n_positions", n_positions}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        put_integer(b, sizes[i].name, sizes[i].value);
        if (nomic)
            put_integer(b, sizes[i].other, sizes[i].value);
    }
    put_integer(b, "type_vocab_size", h->n_token_types);
    put_real(b, "layer_norm_eps", (double)h->norm_epsilon);
    put_text(b, "hidden_act", nomic ? "silu" : "gelu");
    if (!nomic) {
        put_text(b, "position_embedding_type", "absolute");
        return;
    }
    bool biases = has_tensor(b, "blk.0.ffn_up.bias");
    put_real(b, "layer_norm_epsilon", (double)h->norm_epsilon);
    put_text(b, "activation_function", "swiglu");
    put_flag(b, "qkv_proj_bias", has_tensor(b, "blk.0.attn_qkv.bias"));
    put_flag(b, "mlp_fc1_bias", biases);
    put_flag(b, "mlp_fc2_bias", biases);
    put_flag(b, "prenorm", false);
    put_real(b, "rotary_emb_base", h->rope.theta);
    put_real(b, "rotary_emb_fraction", 1.0);
    put_flag(b, "rotary_emb_interleaved", false);
    put_real(b, "rope_theta", h->rope.theta);
}

static const char *class_of(const char *model_type)
{
    static const char *const classes[][2] = {
        {"llama", "LlamaForCausalLM"},
        {"mistral", "MistralForCausalLM"},
        {"ministral", "MinistralForCausalLM"},
        {"mixtral", "MixtralForCausalLM"},
        {"qwen2", "Qwen2ForCausalLM"},
        {"qwen3", "Qwen3ForCausalLM"},
        {"qwen2_moe", "Qwen2MoeForCausalLM"},
        {"qwen3_moe", "Qwen3MoeForCausalLM"},
        {"phi", "PhiForCausalLM"},
        {"phi3", "Phi3ForCausalLM"},
        {"gemma2", "Gemma2ForCausalLM"},
        {"gemma3_text", "Gemma3ForCausalLM"},
        {"bitnet", "BitNetForCausalLM"},
        {"deepseek_v2", "DeepseekV2ForCausalLM"},
        {"deepseek_v3", "DeepseekV3ForCausalLM"},
        {"dots1", "Dots1ForCausalLM"},
        {"gpt_oss", "GptOssForCausalLM"},
        {"mpt", "MptForCausalLM"},
        {"bert", "BertModel"},
        {"nomic_bert", "NomicBertModel"},
        {"gpt2", "GPT2LMHeadModel"},
        {"bloom", "BloomForCausalLM"},
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(model_type, classes[i][0]) == 0)
            return classes[i][1];
    return "";
}

static radllm_status finish(builder *b, json_t **out, radllm_error *error)
{
    if (b->object == NULL || b->failed) {
        json_decref(b->object);
        return rad_fail_memory(error, 4096);
    }
    *out = b->object;
    return RADLLM_OK;
}

static int32_t padding(const rad_tokenizer *tokenizer)
{
    int32_t id = rad_tokenizer_padding(tokenizer);
    if (id < 0)
        id = rad_tokenizer_find(tokenizer, "[PAD]", strlen("[PAD]"));
    return id >= 0 ? id : rad_tokenizer_find(tokenizer, "<pad>", strlen("<pad>"));
}

static json_t *special(const rad_folder_model *model, int32_t id)
{
    return token(rad_tokenizer_special_id(model->tokenizer, id));
}

radllm_status rad_folder_config(const rad_folder_model *model, json_t **out, radllm_error *error)
{
    builder b = {.model = model, .h = &model->hparams, .object = json_object()};
    json_t *classes = json_array();
    b.failed = json_array_append_new(classes, json_string(class_of(model->model_type))) != 0;
    put(&b, "architectures", classes);
    put(&b, "model_type", json_string(model->model_type));
    bool encoder = model->hparams.architecture->encoder;
    if (is_type(&b, "gpt2"))
        put_gpt2(&b);
    else if (is_type(&b, "bloom"))
        put_bloom(&b);
    else if (is_type(&b, "mpt"))
        put_mpt(&b);
    else if (encoder)
        put_bert(&b);
    else
        put_usual(&b);
    put_integer(&b, "vocab_size", model->hparams.n_vocab);
    put(&b, "tie_word_embeddings", json_boolean(!has_tensor(&b, "output.weight")));
    put(&b, "torch_dtype", json_string(model->dtype));
    put(&b, "bos_token_id", special(model, rad_tokenizer_bos(model->tokenizer)));
    put(&b, "eos_token_id", special(model, rad_tokenizer_eos(model->tokenizer)));
    /* Families have defaults beyond small vocabularies. */
    int32_t pad = encoder ? padding(model->tokenizer) : rad_tokenizer_padding(model->tokenizer);
    if (!encoder || pad >= 0)
        put(&b, "pad_token_id", token(pad));
    return finish(&b, out, error);
}

radllm_status rad_folder_generation_config(const rad_folder_model *model, json_t **out,
                                           radllm_error *error)
{
    builder b = {.model = model, .object = json_object()};
    json_t *ends = json_array();
    const rad_tokenizer *tokenizer = model->tokenizer;
    const int32_t eos = rad_tokenizer_eos(tokenizer);
    bool text = rad_tokenizer_special_id(tokenizer, eos) < 0; /* readers' choice, and no end */
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(tokenizer); id++)
        if (rad_tokenizer_is_end(tokenizer, id) && !(text && id == eos))
            b.failed = json_array_append_new(ends, json_integer(id)) != 0 || b.failed;
    put(&b, "bos_token_id", special(model, rad_tokenizer_bos(tokenizer)));
    bool none = json_array_size(ends) == 0;
    if (none)
        json_decref(ends);
    put(&b, "eos_token_id", none ? json_null() : ends);
    return finish(&b, out, error);
}

/* ---- embeddings ----------------------------------------------------------------------------- */

bool rad_folder_pools(const rad_folder_model *model)
{
    const builder b = {.model = model, .h = &model->hparams};
    return find(&b, "pooling_type") != NULL && model->hparams.pooling >= RAD_POOLING_MEAN &&
           model->hparams.pooling <= RAD_POOLING_LAST;
}

radllm_status rad_folder_modules(const rad_folder_model *model, json_t **out, radllm_error *error)
{
    static const char *const kinds[][2] = {
        {"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Normalize", "2_Normalize"}};
    builder b = {.model = model, .object = json_array()};
    int n = model->hparams.plain_embeddings ? 2 : 3;
    for (int i = 0; i < n; i++) {
        char name[8], type[64];
        builder one = {.object = json_object()};
        snprintf(name, sizeof name, "%d", i);
        snprintf(type, sizeof type, "sentence_transformers.models.%s", kinds[i][0]);
        put_integer(&one, "idx", (uint64_t)i);
        put_text(&one, "name", name);
        put_text(&one, "path", kinds[i][1]);
        put_text(&one, "type", type);
        b.failed = json_array_append_new(b.object, one.object) != 0 || one.failed || b.failed;
    }
    return finish(&b, out, error);
}

radllm_status rad_folder_pooling(const rad_folder_model *model, json_t **out, radllm_error *error)
{
    static const struct {
        const char *flag;
        rad_pooling way;
    } flags[] = {{"pooling_mode_cls_token", RAD_POOLING_CLS},
                 {"pooling_mode_mean_tokens", RAD_POOLING_MEAN},
                 {"pooling_mode_lasttoken", RAD_POOLING_LAST}};
    builder b = {.model = model, .object = json_object()};
    put_integer(&b, "word_embedding_dimension", model->hparams.width);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        put_flag(&b, flags[i].flag, flags[i].way == model->hparams.pooling);
    put_flag(&b, "pooling_mode_max_tokens", false);
    return finish(&b, out, error);
}
