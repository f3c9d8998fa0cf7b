/* config.json and generation_config.json of a model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric.h"
#include "quantize/folder.h"

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

/* Numbers of single precision as people write them: 1e-05 and not 9.9999997e-06. */
static void put_real(builder *b, const char *key, double value)
{
    char text[40];
    int size = snprintf(text, sizeof text, "[%.7g", value);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == ',' ? '.' : *c;
    snprintf(text + size, sizeof text - (size_t)size, "%s]",
             strpbrk(text, ".e") == NULL ? ".0" : "");
    json_t *list = json_loads(text, 0, NULL); /* in any locale */
    put(b, key, json_real(list != NULL ? json_real_value(json_array_get(list, 0)) : value));
    json_decref(list);
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

radllm_status rad_folder_find_scaling(rad_folder_model *model, radllm_error *error)
{
    const rad_tensor *tensor = rad_source_find_tensor(model->source, "rope_freqs.weight");
    const uint32_t n = model->hparams.rope.n_pairs;
    float divisors[PAIRS];
    radllm_status status = RADLLM_OK;
    model->factor = 0.0;
    if (model->hparams.rope.scaling == RAD_ROPE_LONG ||
        model->hparams.rope.scaling == RAD_ROPE_DYNAMIC ||
        model->hparams.rope.scaling == RAD_ROPE_LLAMA3 || /* as files of GGUF do not say it */
        model->hparams.architecture->local_theta > 0.0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: a model whose rotations follow from its context (longrope, dynamic), "
                        "or differ between layers (Gemma 3), becomes no folder in this version; "
                        "keep the GGUF file",
                        rad_source_label(model->source));
    if (tensor == NULL)
        return RADLLM_OK;
    bool known = tensor->type == RAD_TYPE_F32 && tensor->n_elements == n && n <= PAIRS;
    if (known)
        status =
            rad_source_read_tensor(model->source, tensor, 0, divisors, n * sizeof *divisors, error);
    for (uint32_t i = 0; i < n && known && status == RADLLM_OK; i++)
        if ((double)divisors[i] > model->factor)
            model->factor = (double)divisors[i];
    known = known && model->factor > 0.0 && model->factor < 1e6;
    if (status == RADLLM_OK && !(known && find_context(model, divisors)))
        status = rad_fail(error, RADLLM_E_UNSUPPORTED,
                          "%s: the divisors in rope_freqs.weight are not those of Llama 3, so that "
                          "config.json has no words for them; keep the GGUF file",
                          rad_source_label(model->source));
    return status;
}

/* transformers asks for rope_type and, since version 5, for theta in one object. */
static void put_rope(builder *b)
{
    const rad_rope_params *rope = &b->h->rope;
    put_real(b, "rope_theta", rope->theta);
    builder scaling = {.model = b->model, .h = b->h, .object = json_object()};
    if (b->model->factor > 0.0) {
        put(&scaling, "rope_type", json_string("llama3"));
        put_real(&scaling, "factor", b->model->factor);
        put_real(&scaling, "low_freq_factor", LOW);
        put_real(&scaling, "high_freq_factor", HIGH);
        put_integer(&scaling, "original_max_position_embeddings", (uint64_t)b->model->context);
    } else if (rope->scaling == RAD_ROPE_LINEAR) {
        put(&scaling, "rope_type", json_string("linear"));
        put_real(&scaling, "factor", rope->factor);
    } else if (rope->scaling == RAD_ROPE_YARN) {
        put(&scaling, "rope_type", json_string("yarn"));
        put_real(&scaling, "factor", rope->factor);
        put_integer(&scaling, "original_max_position_embeddings", (uint64_t)rope->original_context);
        put_real(&scaling, "beta_fast", rope->beta_fast);
        put_real(&scaling, "beta_slow", rope->beta_slow);
        double usual = 0.1 * rad_ln(rope->factor) + 1.0, length = (double)rad_rope_magnitude(rope);
        if (fabs(length - usual) > 1e-6 * usual)
            put_real(&scaling, "attention_factor", length);
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
    if (2 * b->h->rope.n_pairs != b->h->head_dim)
        put_real(b, "partial_rotary_factor",
                 (double)(2 * b->h->rope.n_pairs) / (double)b->h->head_dim);
}

/* ---- families ------------------------------------------------------------------------------- */

static void put_windows(builder *b)
{
    uint32_t window = 0, n = 0;
    for (uint32_t i = 0; i < b->h->n_layers; i++) {
        window = b->h->layers[i].window > window ? b->h->layers[i].window : window;
        n += b->h->layers[i].window > 0;
    }
    put(b, "sliding_window", window > 0 ? json_integer(window) : json_null());
    if (n == 0 || (n == b->h->n_layers && strcmp(b->model->model_type, "gemma2") != 0))
        return;
    json_t *types = json_array();
    for (uint32_t i = 0; i < b->h->n_layers; i++)
        b->failed = json_array_append_new(types, json_string(b->h->layers[i].window > 0
                                                                 ? "sliding_attention"
                                                                 : "full_attention")) != 0 ||
                    b->failed;
    put(b, "layer_types", types);
}

static void put_experts(builder *b)
{
    const rad_hparams *h = b->h;
    if (h->router.n_experts == 0)
        return;
    bool mixtral = strcmp(b->model->model_type, "mixtral") == 0;
    put_integer(b, mixtral ? "num_local_experts" : "num_experts", h->router.n_experts);
    put_integer(b, "num_experts_per_tok", h->router.n_used);
    if (mixtral)
        return;
    put_integer(b, "moe_intermediate_size", h->expert_ffn);
    put(b, "norm_topk_prob", json_boolean(h->router.normalise));
    put_integer(b, "decoder_sparse_step", 1);
    put(b, "mlp_only_layers", json_array());
    if (h->shared_ffn > 0)
        put_integer(b, "shared_expert_intermediate_size", h->shared_ffn);
}

/* Where all layers have experts it is said all the same. */
static uint64_t ffn_length(const builder *b)
{
    const rad_hparams *h = b->h;
    uint32_t fallback = h->max_ffn > 0 ? h->max_ffn : h->expert_ffn;
    char key[96];
    snprintf(key, sizeof key, "%s.feed_forward_length", h->architecture->name);
    const rad_meta *meta = rad_source_find_meta(b->model->source, key);
    bool number = meta != NULL && !meta->is_array && meta->type != RAD_META_STRING &&
                  meta->type != RAD_META_F32 && meta->type != RAD_META_F64;
    return number && rad_meta_item_u64(meta, 0) > 0 ? rad_meta_item_u64(meta, 0) : fallback;
}

static void put_usual(builder *b)
{
    const rad_hparams *h = b->h;
    const char *type = b->model->model_type;
    bool phi = strcmp(type, "phi") == 0, gemma = strcmp(type, "gemma2") == 0;
    put_integer(b, "hidden_size", h->width);
    put_integer(b, "intermediate_size", ffn_length(b));
    put_integer(b, "num_hidden_layers", h->n_layers);
    put_integer(b, "num_attention_heads", h->layers[0].n_heads);
    put_integer(b, "num_key_value_heads", h->layers[0].n_kv_heads);
    if (!phi && strcmp(type, "phi3") != 0)
        put_integer(b, "head_dim", h->head_dim);
    put_integer(b, "max_position_embeddings", h->context_length);
    put_real(b, phi ? "layer_norm_eps" : "rms_norm_eps", (double)h->norm_epsilon);
    put(b, "hidden_act", json_string(phi ? "gelu_new" : gemma ? "gelu_pytorch_tanh" : "silu"));
    if (gemma) {
        put(b, "hidden_activation", json_string("gelu_pytorch_tanh"));
        put_real(b, "attn_logit_softcapping", (double)h->attention_cap);
        put_real(b, "final_logit_softcapping", (double)h->logit_cap);
        put_integer(b, "query_pre_attn_scalar", /* a whole number there */
                    (uint64_t)(1.0 / ((double)h->query_scale * (double)h->query_scale) + 0.5));
    }
    put(b, "attention_bias", json_boolean(has_tensor(b, "blk.0.attn_q.bias")));
    if (strcmp(type, "llama") == 0)
        put(b, "mlp_bias", json_boolean(has_tensor(b, "blk.0.ffn_up.bias")));
    put_experts(b);
    put_windows(b);
    put_partial_rotation(b);
    put_rope(b);
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

radllm_status rad_folder_config(const rad_folder_model *model, json_t **out, radllm_error *error)
{
    builder b = {.model = model, .h = &model->hparams, .object = json_object()};
    json_t *classes = json_array();
    b.failed = json_array_append_new(classes, json_string(class_of(model->model_type))) != 0;
    put(&b, "architectures", classes);
    put(&b, "model_type", json_string(model->model_type));
    if (strcmp(model->model_type, "gpt2") == 0)
        put_gpt2(&b);
    else if (strcmp(model->model_type, "bloom") == 0)
        put_bloom(&b);
    else
        put_usual(&b);
    put_integer(&b, "vocab_size", model->hparams.n_vocab);
    put(&b, "tie_word_embeddings", json_boolean(!has_tensor(&b, "output.weight")));
    put(&b, "torch_dtype", json_string(model->dtype));
    put(&b, "bos_token_id", token(rad_tokenizer_bos(model->tokenizer)));
    put(&b, "eos_token_id", token(rad_tokenizer_eos(model->tokenizer)));
    put(&b, "pad_token_id", json_null()); /* families have defaults beyond small vocabularies */
    return finish(&b, out, error);
}

radllm_status rad_folder_generation_config(const rad_folder_model *model, json_t **out,
                                           radllm_error *error)
{
    builder b = {.model = model, .object = json_object()};
    json_t *ends = json_array();
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(model->tokenizer); id++)
        if (rad_tokenizer_is_end(model->tokenizer, id))
            b.failed = json_array_append_new(ends, json_integer(id)) != 0 || b.failed;
    put(&b, "bos_token_id", token(rad_tokenizer_bos(model->tokenizer)));
    put(&b, "eos_token_id", ends);
    return finish(&b, out, error);
}
