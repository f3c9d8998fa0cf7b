#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numeric.h"

#define KEY_SIZE 160

#define REFETCH        "fetch or convert the model again"
#define WINDOW_PATTERN "attention.sliding_window_pattern"

/* Reads keys of the form ARCHITECTURE.NAME. The first failure is kept; later reads do nothing. */
typedef struct reader {
    const rad_source *source;
    const char *architecture;
    radllm_error *error;
    radllm_status status;
    char key[KEY_SIZE];
} reader;

static const char *full_key(reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->architecture, name);
    return r->key;
}

static int64_t integer(reader *r, const char *name, int64_t minimum, int64_t maximum,
                       int64_t fallback)
{
    int64_t value = fallback;
    if (r->status == RADLLM_OK)
        r->status = rad_meta_integer(r->source, full_key(r, name), minimum, maximum, fallback,
                                     &value, r->error);
    return value;
}

static double real(reader *r, const char *name, double minimum, double maximum, double fallback)
{
    double value = fallback;
    if (r->status == RADLLM_OK)
        r->status = rad_meta_real(r->source, full_key(r, name), minimum, maximum, fallback, &value,
                                  r->error);
    return value;
}

static bool has(reader *r, const char *name)
{
    return rad_source_find_meta(r->source, full_key(r, name)) != NULL;
}

/* Fails when a key that has no default is missing. */
static void require(reader *r, const char *name)
{
    if (r->status == RADLLM_OK && !has(r, name))
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: key %s is missing; the file is no complete model, convert it "
                             "again",
                             rad_source_label(r->source), full_key(r, name));
}

/* A number, or an array with one for each layer. */
static int64_t per_layer(reader *r, const char *name, uint32_t layer, uint32_t n_layers,
                         int64_t minimum, int64_t maximum, int64_t fallback)
{
    if (r->status != RADLLM_OK)
        return fallback;
    const rad_meta *meta = rad_source_find_meta(r->source, full_key(r, name));
    if (meta == NULL || !meta->is_array)
        return integer(r, name, minimum, maximum, fallback);
    bool integers = meta->type != RAD_META_F32 && meta->type != RAD_META_F64 &&
                    meta->type != RAD_META_STRING && meta->type != RAD_META_BOOL;
    if (!integers || meta->count != n_layers) {
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: key %s must be a number or an array of %u integers, one for each "
                             "layer; it has %llu items; " REFETCH,
                             rad_source_label(r->source), r->key, n_layers,
                             (unsigned long long)meta->count);
        return fallback;
    }
    int64_t value = (int64_t)rad_meta_item_u64(meta, layer);
    if (value < minimum || value > maximum) {
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: key %s, layer %u: %lld is not between %lld and %lld; " REFETCH,
                             rad_source_label(r->source), r->key, layer, (long long)value,
                             (long long)minimum, (long long)maximum);
        return fallback;
    }
    return value;
}

bool rad_has_experts(const rad_hparams *h, uint32_t layer)
{
    return h->layers[layer].experts;
}

radllm_status rad_hparams_architecture(const rad_source *source, const rad_architecture **out,
                                       radllm_error *error)
{
    const char *path = rad_source_label(source);
    rad_text name;
    radllm_status status = rad_meta_text(source, "general.architecture", &name, error);
    if (status != RADLLM_OK)
        return status;
    if (name.data == NULL && !rad_source_is_gguf(source))
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "%s: there is no config.json beside the weights, which says what model they "
            "are of; fetch it into their folder",
            path);
    if (name.data == NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: key general.architecture is missing; this is no model file", path);
    rad_text type;
    status = rad_meta_text(source, "general.type", &type, error);
    if (status != RADLLM_OK)
        return status;
    char quoted[RAD_QUOTE_SIZE];
    if (type.data != NULL && !(type.size == 5 && memcmp(type.data, "model", 5) == 0))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: general.type is \"%s\", not \"model\"; give the base model's file",
                        path, rad_quote(quoted, type.data, type.size));
    *out = rad_architecture_find(name.data, name.size);
    if (*out != NULL)
        return RADLLM_OK;
    char names[256];
    rad_architecture_names(names, sizeof names);
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: architecture \"%s\" is not supported; this version runs: %s", path,
                    rad_quote(quoted, name.data, name.size), names);
}

/* ---- experts -------------------------------------------------------------------------------- */

static bool boolean(reader *r, const char *name, bool fallback)
{
    bool value = fallback;
    if (r->status == RADLLM_OK)
        r->status = rad_meta_bool(r->source, full_key(r, name), fallback, &value, r->error);
    return value;
}

static void read_gating(reader *r, rad_hparams *h)
{
    /* 0: not said. 4, the square root of softplus, is of no family here. */
    static const rad_gating kinds[] = {RAD_GATING_SOFTMAX, RAD_GATING_SOFTMAX, RAD_GATING_SIGMOID,
                                       RAD_GATING_CHOSEN};
    rad_router *router = &h->router;
    int64_t kind = integer(r, "expert_gating_func", 0, 3, 0);
    router->gating = kind == 0 ? h->architecture->gating : kinds[kind];
    router->normalise = boolean(r, "expert_weights_norm", h->architecture->normalise_experts);
    router->scale = (float)real(r, "expert_weights_scale", 0.0, 1e6, 1.0);
    if (router->scale == 0.0f)
        router->scale = 1.0f; /* as some converters write "none" */
    if (router->gating == RAD_GATING_CHOSEN)
        router->normalise = false;
}

/* DeepSeek's groups: by the best score where scores are a softmax (V2), by the two best (V3). */
static void read_groups(reader *r, rad_hparams *h)
{
    rad_router *router = &h->router;
    router->n_groups = (uint32_t)integer(r, "expert_group_count", 0, router->n_experts, 1);
    router->n_groups = router->n_groups == 0 ? 1 : router->n_groups;
    router->n_groups_used =
        (uint32_t)integer(r, "expert_group_used_count", 0, router->n_groups, router->n_groups);
    if (router->n_groups_used == 0)
        router->n_groups_used = router->n_groups;
    router->group_best = router->gating == RAD_GATING_SIGMOID ? 2 : 1;
    if (r->status != RADLLM_OK)
        return;
    if (router->n_experts % router->n_groups != 0 ||
        router->n_experts / router->n_groups * router->n_groups_used < router->n_used)
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: key %s.expert_group_count: %u experts in %u groups, of which %u "
                             "are used, cannot give %u experts to a token; " REFETCH,
                             rad_source_label(r->source), r->architecture, router->n_experts,
                             router->n_groups, router->n_groups_used, router->n_used);
}

static void read_expert_sizes(reader *r, rad_hparams *h)
{
    const rad_architecture *a = h->architecture;
    /* Mixtral has one key for both. */
    int64_t fallback = a->experts == RAD_EXPERTS_COUNTED
                           ? integer(r, "feed_forward_length", 1, RAD_MAX_FFN, 1)
                           : 0;
    if (fallback == 0)
        require(r, "expert_feed_forward_length");
    h->expert_ffn = (uint32_t)integer(r, "expert_feed_forward_length", 1, RAD_MAX_FFN, fallback);
    if (a->shared_experts == RAD_SHARED_GATED) {
        require(r, "expert_shared_feed_forward_length");
        h->shared_ffn =
            (uint32_t)integer(r, "expert_shared_feed_forward_length", 1, RAD_MAX_FFN, 1);
    } else if (a->shared_experts == RAD_SHARED_PLAIN) {
        uint64_t shared = (uint64_t)integer(r, "expert_shared_count", 0, RAD_MAX_EXPERTS, 0);
        if (shared * h->expert_ffn > RAD_MAX_FFN && r->status == RADLLM_OK)
            r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                                 "%s: key %s.expert_shared_count: %llu shared experts of %u are "
                                 "more than any model has; " REFETCH,
                                 rad_source_label(r->source), r->architecture,
                                 (unsigned long long)shared, h->expert_ffn);
        else
            h->shared_ffn = (uint32_t)(shared * h->expert_ffn);
    }
}

static void read_experts(reader *r, rad_hparams *h)
{
    rad_experts_kind kind = h->architecture->experts;
    rad_router *router = &h->router;
    /* A dense family may still say that it has none, or one. */
    if (kind == RAD_EXPERTS_NEVER) {
        if (integer(r, "expert_count", 0, INT32_MAX, 0) > 1 && r->status == RADLLM_OK)
            r->status = rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                                 "%s: key %s.expert_count: models of architecture %s have no "
                                 "experts in this version",
                                 rad_source_label(r->source), r->architecture, r->architecture);
        return;
    }
    if (kind == RAD_EXPERTS_ALWAYS)
        require(r, "expert_count");
    router->n_experts = (uint32_t)integer(r, "expert_count", kind == RAD_EXPERTS_ALWAYS ? 1 : 0,
                                          RAD_MAX_EXPERTS, 0);
    if (router->n_experts == 0)
        return;
    require(r, "expert_used_count");
    int64_t most =
        router->n_experts < RAD_MAX_EXPERTS_USED ? router->n_experts : RAD_MAX_EXPERTS_USED;
    router->n_used = (uint32_t)integer(r, "expert_used_count", 1, most, 1);
    read_gating(r, h);
    read_groups(r, h);
    read_expert_sizes(r, h);
}

/* What the file says of each layer, yes or no; NULL where it says nothing. */
static const rad_meta *layer_flags(reader *r, const char *name, uint32_t n_layers)
{
    const rad_meta *meta = rad_source_find_meta(r->source, full_key(r, name));
    if (meta == NULL || !meta->is_array || r->status != RADLLM_OK)
        return NULL; /* a number is for RAD_WINDOW_MOST; other families have none */
    if (meta->type == RAD_META_BOOL && meta->count == n_layers)
        return meta;
    r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                         "%s: key %s must be an array of %u bools, one for each layer; it has %llu "
                         "items of type %s; " REFETCH,
                         rad_source_label(r->source), r->key, n_layers,
                         (unsigned long long)meta->count, rad_meta_type_name(meta->type));
    return NULL;
}

/* `turn`: of so many layers one sees all; 0: none does. */
static bool has_window(const rad_architecture *a, uint32_t turn, uint32_t layer)
{
    switch (a->windows) {
    case RAD_WINDOW_ALL:
        return true;
    case RAD_WINDOW_EVEN:
        return layer % 2 == 0;
    case RAD_WINDOW_MOST:
        return turn == 0 || (layer + 1) % turn != 0;
    default:
        return false;
    }
}

static void read_layers(reader *r, rad_hparams *h)
{
    uint32_t n = h->n_layers;
    const rad_meta *pattern = layer_flags(r, WINDOW_PATTERN, n);
    const rad_meta *sparse = layer_flags(r, "expert_layers", n);
    uint32_t dense_first = (uint32_t)integer(r, "leading_dense_block_count", 0, n, 0);
    uint32_t window = 0, turn = 6;
    if (h->architecture->windows != RAD_WINDOW_NEVER || pattern != NULL)
        window = (uint32_t)integer(r, "attention.sliding_window", 0, UINT32_MAX,
                                   h->architecture->default_window);
    if (h->architecture->windows == RAD_WINDOW_MOST && pattern == NULL)
        turn = (uint32_t)integer(r, WINDOW_PATTERN, 0, RAD_MAX_LAYERS, turn);
    for (uint32_t i = 0; i < n && r->status == RADLLM_OK; i++) {
        rad_layer_params *layer = &h->layers[i];
        layer->n_heads = (uint32_t)per_layer(r, "attention.head_count", i, n, 1, RAD_MAX_HEADS, 0);
        layer->n_kv_heads = (uint32_t)per_layer(r, "attention.head_count_kv", i, n, 1,
                                                RAD_MAX_HEADS, layer->n_heads);
        layer->experts = h->router.n_experts > 0 && i >= dense_first &&
                         (sparse == NULL || rad_meta_item_u64(sparse, i) != 0);
        if (!layer->experts)
            layer->ffn_length =
                (uint32_t)per_layer(r, "feed_forward_length", i, n, 1, RAD_MAX_FFN, 0);
        bool local = has_window(h->architecture, turn, i);
        if (pattern != NULL)
            local = rad_meta_item_u64(pattern, i) != 0;
        layer->window = local ? window : 0;
        layer->local = local && h->architecture->local_theta > 0.0;
        if (r->status == RADLLM_OK && layer->n_heads % layer->n_kv_heads != 0) {
            r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                                 "%s: key %s.attention.head_count_kv: %u key/value heads do not "
                                 "divide %u heads (layer %u); " REFETCH,
                                 rad_source_label(r->source), r->architecture, layer->n_kv_heads,
                                 layer->n_heads, i);
        }
        if (layer->n_heads > h->max_heads)
            h->max_heads = layer->n_heads;
        if (layer->n_kv_heads > h->max_kv_heads)
            h->max_kv_heads = layer->n_kv_heads;
        if (layer->ffn_length > h->max_ffn)
            h->max_ffn = layer->ffn_length;
    }
}

/* Where latent attention keeps the short vectors, they are one head's keys and values for all. */
static void set_kv_heads(reader *r, rad_hparams *h)
{
    h->max_kv_heads = 0;
    for (uint32_t i = 0; i < h->n_layers && r->status == RADLLM_OK; i++) {
        rad_layer_params *layer = &h->layers[i];
        layer->n_kv_heads = h->latent.compressed ? 1 : layer->n_heads;
        if (layer->n_kv_heads > h->max_kv_heads)
            h->max_kv_heads = layer->n_kv_heads;
    }
}

/* One of two keys for a head's size: with compressed caches that of the heads themselves. */
static uint32_t latent_length(reader *r, const rad_hparams *h, const char *key, const char *plain)
{
    const char *name = h->latent.compressed ? key : plain;
    require(r, name);
    return (uint32_t)integer(r, name, 1, RAD_MAX_HEAD_DIM, 2);
}

static void read_latent(reader *r, rad_hparams *h)
{
    rad_latent *latent = &h->latent;
    require(r, "attention.kv_lora_rank");
    require(r, "rope.dimension_count");
    latent->rank = (uint32_t)integer(r, "attention.kv_lora_rank", 1, RAD_MAX_LATENT, 1);
    latent->query_rank = (uint32_t)integer(r, "attention.q_lora_rank", 0, RAD_MAX_WIDTH, 0);
    latent->rotated = (uint32_t)integer(r, "rope.dimension_count", 2, RAD_MAX_HEAD_DIM, 2);
    latent->compressed = has(r, "attention.key_length_mla");
    uint32_t key = latent_length(r, h, "attention.key_length_mla", "attention.key_length");
    latent->value = latent_length(r, h, "attention.value_length_mla", "attention.value_length");
    if (real(r, "attention.temperature_scale", -1e6, 1e6, 0.0) != 0.0 && r->status == RADLLM_OK)
        r->status = rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                             "%s: key %s.attention.temperature_scale: scores that grow with the "
                             "position are not supported",
                             rad_source_label(r->source), r->architecture);
    if (r->status != RADLLM_OK)
        return;
    if (latent->rotated >= key) {
        r->status =
            rad_fail(r->error, RADLLM_E_FORMAT,
                     "%s: key %s.rope.dimension_count: %u of a head's %u key values rotate; "
                     "some must be left that do not; " REFETCH,
                     rad_source_label(r->source), r->architecture, latent->rotated, key);
        return;
    }
    latent->plain = key - latent->rotated;
    h->head_dim = latent->compressed ? latent->rank + latent->rotated : key;
    h->value_dim = latent->compressed ? latent->rank : latent->value;
    set_kv_heads(r, h);
}

static void read_head_dim(reader *r, rad_hparams *h)
{
    uint32_t heads = h->layers[0].n_heads;
    if (r->status != RADLLM_OK)
        return;
    if (!has(r, "attention.key_length") && h->width % heads != 0) {
        r->status = rad_fail(
            r->error, RADLLM_E_FORMAT,
            "%s: key %s.attention.head_count: %u heads do not divide "
            "embedding_length %u, and there is no key %s.attention.key_length; " REFETCH,
            rad_source_label(r->source), r->architecture, heads, h->width, r->architecture);
        return;
    }
    int64_t fallback = h->width / heads;
    h->head_dim = (uint32_t)integer(r, "attention.key_length", 1, RAD_MAX_HEAD_DIM, fallback);
    if (h->width % heads != 0)
        fallback = h->head_dim;
    h->value_dim = (uint32_t)integer(r, "attention.value_length", 1, RAD_MAX_HEAD_DIM, fallback);
    if (r->status == RADLLM_OK && (h->head_dim % 2 != 0 || h->head_dim > RAD_MAX_HEAD_DIM))
        r->status =
            rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                     "%s: a head dimension of %u (key %s.attention.key_length) is not "
                     "supported; it must be even and at most %d: take another model",
                     rad_source_label(r->source), h->head_dim, r->architecture, RAD_MAX_HEAD_DIM);
}

static bool text_is(rad_text text, const char *word)
{
    return text.data != NULL && text.size == strlen(word) &&
           memcmp(text.data, word, text.size) == 0;
}

/* How long rotations are: by the factor, times attn_factor; or as yarn_attn_factor says, which
 * converters write as config.json has attention_factor: the whole length. */
static void read_yarn_length(reader *r, rad_hparams *h)
{
    rad_rope_params *rope = &h->rope;
    double whole = real(r, "rope.scaling.yarn_attn_factor", 0.0, 1e3, 0.0);
    rope->level = h->latent.rank > 0 && has(r, "rope.scaling.yarn_log_multiplier");
    if (whole == 0.0)
        return;
    rope->level = true;
    rope->attention_factor = whole;
}

static void read_rope_scaling(reader *r, rad_hparams *h)
{
    rad_rope_params *rope = &h->rope;
    rad_text type = {NULL, 0};
    if (r->status == RADLLM_OK)
        r->status = rad_meta_text(r->source, full_key(r, "rope.scaling.type"), &type, r->error);
    if (r->status != RADLLM_OK)
        return;
    double factor =
        real(r, "rope.scaling.factor", 0.0, 1e6, real(r, "rope.scale_linear", 0.0, 1e6, 0.0));
    rope->factor = factor == 0.0 ? 1.0 : factor;
    rope->original_context = (double)integer(r, "rope.scaling.original_context_length", 1,
                                             RAD_MAX_CONTEXT, h->context_length);
    rope->scaling = rope->factor == 1.0 ? RAD_ROPE_PLAIN : RAD_ROPE_LINEAR;
    rope->attention_factor = real(r, "rope.scaling.attn_factor", 0.0, 1e3, 1.0);
    /* Converters write no type beside the lists. */
    bool lists = rad_source_find_tensor(r->source, "rope_factors_long.weight") != NULL ||
                 has(r, "rope.scaling.long_factors");
    if (text_is(type, "longrope") || (lists && !text_is(type, "yarn"))) {
        rope->scaling = RAD_ROPE_LONG;
        return;
    }
    if (type.data == NULL || text_is(type, "linear"))
        return;
    if (text_is(type, "none")) {
        rope->scaling = RAD_ROPE_PLAIN;
        rope->factor = 1.0;
    } else if (text_is(type, "yarn")) {
        rope->scaling = RAD_ROPE_YARN;
        rope->extension_factor = real(r, "rope.scaling.yarn_ext_factor", -1e3, 1e3, 1.0);
        rope->beta_fast = real(r, "rope.scaling.yarn_beta_fast", 0.0, 1e6, 32.0);
        rope->beta_slow = real(r, "rope.scaling.yarn_beta_slow", 0.0, 1e6, 1.0);
        read_yarn_length(r, h);
        rope->exact = boolean(r, "rope.scaling.yarn_exact", rope->exact);
        if (rope->extension_factor < 0.0)
            rope->extension_factor = 1.0;
    } else if (text_is(type, "llama3")) {
        rope->scaling = RAD_ROPE_LLAMA3;
        rope->low_frequency = real(r, "rope.scaling.low_freq_factor", 0x1p-20, 0x1p20, 1.0);
        rope->high_frequency = real(r, "rope.scaling.high_freq_factor", 0x1p-20, 0x1p20, 4.0);
    } else if (text_is(type, "dynamic") && rope->factor >= 1.0 && rope->n_pairs > 1) {
        rope->scaling = RAD_ROPE_DYNAMIC;
    } else {
        char quoted[RAD_QUOTE_SIZE];
        r->status = rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                             "%s: key %s.rope.scaling.type: \"%s\" is not supported; this version "
                             "knows none, linear, yarn, llama3, longrope and dynamic",
                             rad_source_label(r->source), r->architecture,
                             rad_quote(quoted, type.data, type.size));
    }
}

/* Converters reorder the rows of some families; a folder has them as they were trained. */
static void read_rotary_layout(reader *r, rad_hparams *h)
{
    rad_text layout = {NULL, 0};
    h->rotary = h->architecture->rotary;
    if (r->status == RADLLM_OK)
        r->status = rad_meta_text(r->source, full_key(r, "rope.layout"), &layout, r->error);
    if (layout.data == NULL)
        return;
    if (text_is(layout, "halves") && h->rotary == RAD_ROTARY_INTERLEAVED)
        h->rotary = RAD_ROTARY_HALVES;
    else if (r->status == RADLLM_OK)
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: key %s: only \"halves\" is known, for families whose rows "
                             "converters reorder",
                             rad_source_label(r->source), r->key);
}

static void read_rope(reader *r, rad_hparams *h)
{
    int64_t rotated = integer(r, "rope.dimension_count", 2, RAD_MAX_HEAD_DIM, (int64_t)h->head_dim);
    h->rope.theta = real(r, "rope.freq_base", 1e-3, 1e30, 10000.0);
    if (r->status == RADLLM_OK && (rotated % 2 != 0 || rotated > h->head_dim))
        r->status =
            rad_fail(r->error, RADLLM_E_FORMAT,
                     "%s: key %s.rope.dimension_count: %lld must be even and at most the "
                     "head dimension %u; " REFETCH,
                     rad_source_label(r->source), r->architecture, (long long)rotated, h->head_dim);
    h->rope.n_pairs = (uint32_t)rotated / 2;
    h->rope.exact = h->architecture->yarn_exact;
    read_rope_scaling(r, h);
    read_rotary_layout(r, h);
    double local = h->architecture->local_theta;
    if (local > 0.0)
        h->local_rope = (rad_rope_params){
            .theta = real(r, "rope.freq_base_swa", 1e-3, 1e30, local),
            .n_pairs = h->rope.n_pairs,
            .factor = 1.0,
            .attention_factor = 1.0,
        };
}

static void read_alibi(reader *r, rad_hparams *h)
{
    static const char key[] = "attention.max_alibi_bias";
    rad_alibi kind = h->architecture->alibi;
    if (kind == RAD_ALIBI_KEYED)
        require(r, key);
    if (kind != RAD_ALIBI_NEVER)
        h->max_alibi_bias =
            (float)real(r, key, kind == RAD_ALIBI_ALWAYS ? 0x1p-10 : 0.0, 0x1p10, 8.0);
}

/* What latent attention multiplies scores with, in place of longer rotations. */
static double yarn_score_scale(reader *r, const rad_hparams *h)
{
    double multiplier = real(r, "rope.scaling.yarn_log_multiplier", 0.0, 1e3, 0.0);
    bool scaled = h->latent.rank > 0 && h->rope.scaling == RAD_ROPE_YARN && h->rope.factor > 1.0;
    if (r->status != RADLLM_OK || !scaled)
        return 1.0;
    double growth = 1.0 + multiplier * rad_ln(h->rope.factor);
    return growth * growth;
}

static void read_scales(reader *r, rad_hparams *h)
{
    const rad_architecture *a = h->architecture;
    const char *epsilon =
        a->layer_norms ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    require(r, epsilon);
    h->norm_epsilon = (float)real(r, epsilon, 0.0, 1.0, 1e-5);
    /* Families without caps do not read the keys. */
    h->attention_cap = a->default_attention_cap;
    h->logit_cap = a->default_logit_cap;
    if (a->default_attention_cap > 0.0f)
        h->attention_cap =
            (float)real(r, "attn_logit_softcapping", 0.0, 1e6, a->default_attention_cap);
    if (a->default_logit_cap > 0.0f || a->capped)
        h->logit_cap = (float)real(r, "final_logit_softcapping", 0.0, 1e6, a->default_logit_cap);
    if (r->status != RADLLM_OK)
        return;
    double per_head = h->latent.rank > 0 ? h->latent.plain + h->latent.rotated : h->head_dim;
    if (a->width_scaled_query_layers != 0 && h->n_layers == a->width_scaled_query_layers)
        per_head = (double)h->width / h->layers[0].n_heads;
    h->qkv_clamp = a->clamped_qkv ? (float)real(r, "attention.clamp_kqv", 0.0, 1e6, 0.0) : 0.0f;
    read_alibi(r, h);
    /* A file may give the scale itself. */
    double scale = real(r, "attention.scale", 0.0, 1e3, 0.0);
    scale = scale != 0.0 ? scale : 1.0 / sqrt(per_head);
    h->query_scale = (float)(scale * yarn_score_scale(r, h));
    h->embedding_scale = a->scaled_embeddings ? (float)sqrt((double)h->width) : 1.0f;
}

const char *rad_pooling_name(rad_pooling pooling)
{
    static const char *const names[] = {"", "none", "mean", "cls", "last", "rank"};
    return names[pooling];
}

/* What models have that give embeddings. */
static void read_embedding(reader *r, rad_hparams *h)
{
    bool encoder = h->architecture->encoder;
    h->bidirectional = !boolean(r, "attention.causal", !encoder);
    int64_t pooling = integer(r, "pooling_type", -1, 4, -1);
    h->pooling = (rad_pooling)(pooling + 1);
    if (encoder && h->pooling == RAD_POOLING_UNKNOWN)
        h->pooling = RAD_POOLING_MEAN;
    h->plain_embeddings = !boolean(r, "normalize_embeddings", true);
    /* The key has no architecture's name in front. */
    int64_t types = encoder ? 2 : 0;
    if (encoder && r->status == RADLLM_OK)
        r->status = rad_meta_integer(r->source, "tokenizer.ggml.token_type_count", 0, 1 << 16,
                                     types, &types, r->error);
    h->n_token_types = (uint32_t)types;
    if (encoder && !h->bidirectional && r->status == RADLLM_OK)
        r->status = rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                             "%s: key %s.attention.causal is true: decoders of this architecture "
                             "are not supported",
                             rad_source_label(r->source), r->architecture);
}

/* A window that reaches to both sides is of no family here. */
static void check_windows(reader *r, const rad_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layers && h->bidirectional && r->status == RADLLM_OK; i++) {
        if (h->layers[i].window != 0 || h->latent.rank != 0 || h->architecture->sinks)
            r->status = rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                                 "%s: key %s.attention.causal is false: tokens that see those "
                                 "behind them are not supported with windows, latent attention or "
                                 "sinks",
                                 rad_source_label(r->source), r->architecture);
    }
}

static void read_vocabulary_size(reader *r, uint32_t n_vocab, rad_hparams *h)
{
    h->n_vocab = n_vocab;
    int64_t declared = integer(r, "vocab_size", 1, INT32_MAX, n_vocab);
    if (r->status != RADLLM_OK)
        return;
    if (n_vocab == 0)
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: the file has no vocabulary (tokenizer.ggml.tokens)",
                             rad_source_label(r->source));
    else if (declared < n_vocab && !rad_source_is_gguf(r->source))
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s: config.json has a vocab_size of %lld, but the tokenizer has %u "
                             "tokens; fetch all files of one model",
                             rad_source_label(r->source), (long long)declared, n_vocab);
    else if (!rad_source_is_gguf(r->source)) /* rows behind the last token stand for nothing */
        h->n_vocab = (uint32_t)declared;
    else if (declared < n_vocab)
        r->status =
            rad_fail(r->error, RADLLM_E_FORMAT,
                     "%s: key %s.vocab_size is %lld, but tokenizer.ggml.tokens has %u "
                     "entries; " REFETCH,
                     rad_source_label(r->source), r->architecture, (long long)declared, n_vocab);
}

radllm_status rad_hparams_read(const rad_source *source, uint32_t n_vocab, rad_arena *arena,
                               rad_hparams *h, radllm_error *error)
{
    memset(h, 0, sizeof *h);
    radllm_status status = rad_hparams_architecture(source, &h->architecture, error);
    if (status != RADLLM_OK)
        return status;
    reader r = {.source = source, .architecture = h->architecture->name, .error = error};
    require(&r, "context_length");
    require(&r, "embedding_length");
    require(&r, "block_count");
    require(&r, "feed_forward_length");
    require(&r, "attention.head_count");
    h->context_length = (uint32_t)integer(&r, "context_length", 1, RAD_MAX_CONTEXT, 1);
    h->width = (uint32_t)integer(&r, "embedding_length", 1, RAD_MAX_WIDTH, 1);
    h->n_layers = (uint32_t)integer(&r, "block_count", 1, RAD_MAX_LAYERS, 1);
    read_vocabulary_size(&r, n_vocab, h);
    read_embedding(&r, h);
    read_experts(&r, h);
    if (r.status != RADLLM_OK)
        return r.status;
    size_t bytes = h->n_layers * sizeof *h->layers;
    h->layers = rad_arena_alloc_zero(arena, bytes, _Alignof(rad_layer_params));
    if (h->layers == NULL)
        return rad_fail_memory(error, bytes);
    read_layers(&r, h);
    if (h->architecture->latent)
        read_latent(&r, h);
    else
        read_head_dim(&r, h);
    check_windows(&r, h);
    read_rope(&r, h);
    read_scales(&r, h);
    return r.status;
}

uint32_t rad_rotated_first(const rad_hparams *h)
{
    return h->latent.compressed ? h->latent.rank : h->latent.plain;
}

/* ---- biases of attention -------------------------------------------------------------------- */

float rad_alibi_slope(float max_bias, uint32_t n_heads, uint32_t head)
{
    uint32_t power = 1;
    while (power <= n_heads / 2)
        power *= 2;
    double step = (double)max_bias / power;
    if (head < power)
        return (float)rad_pow(2.0, -step * (head + 1.0));
    return (float)rad_pow(2.0, -step / 2.0 * (2.0 * (head - power) + 1.0));
}

/* ---- rotary frequencies ------------------------------------------------------------------ */

static const double pi = 3.14159265358979323846;

/* The pair at which `rotations` full turns happen over the original context. */
static double yarn_pair(const rad_rope_params *rope, double rotations)
{
    double n = 2.0 * rope->n_pairs;
    double found =
        n * rad_ln(rope->original_context / (rotations * 2.0 * pi)) / (2.0 * rad_ln(rope->theta));
    /* Odd thetas and betas give infinities or NaN: keep to what floor_small() can take. */
    return found > -1e6 ? (found < 1e6 ? found : 1e6) : -1e6;
}

/* Rounds towards minus infinity, for the small numbers of yarn_pair(). */
static double floor_small(double x)
{
    double truncated = (double)(int64_t)x;
    return truncated > x ? truncated - 1.0 : truncated;
}

/* How far a frequency keeps its own value (1) or is divided by the factor (0). */
static double yarn_mix(const rad_rope_params *rope, uint32_t pair)
{
    double last = 2.0 * rope->n_pairs - 1.0;
    double low = yarn_pair(rope, rope->beta_fast), high = yarn_pair(rope, rope->beta_slow);
    if (!rope->exact) {
        low = floor_small(low);
        high = -floor_small(-high);
    }
    low = low < 0.0 ? 0.0 : low;
    high = high > last ? last : high;
    double span = high - low < 0.001 ? 0.001 : high - low;
    double ramp = ((double)pair - low) / span;
    ramp = ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp;
    return (1.0 - ramp) * rope->extension_factor;
}

/* In single precision, as converters write it to files (rope_freqs.weight). */
static double llama3_divisor(const rad_rope_params *rope, double frequency)
{
    double waves = rope->original_context * frequency / (2.0 * pi); /* in the original context */
    if (waves > rope->high_frequency)
        return 1.0;
    if (waves < rope->low_frequency)
        return (double)(float)rope->factor;
    double smooth = (waves - rope->low_frequency) / (rope->high_frequency - rope->low_frequency);
    return (double)(float)(1.0 / ((1.0 - smooth) / rope->factor + smooth));
}

bool rad_rope_is_long(const rad_rope_params *rope, uint32_t context)
{
    return rope->scaling == RAD_ROPE_LONG && context > rope->original_context;
}

uint32_t rad_rope_choice(const rad_rope_params *rope, uint32_t context)
{
    if (rope->scaling == RAD_ROPE_LONG)
        return rad_rope_is_long(rope, context) ? 2 : 1;
    if (rope->scaling == RAD_ROPE_DYNAMIC)
        return context > rope->original_context ? context : 1;
    return 0;
}

/* The base of dynamic scaling: all waves become longer, the longest by `factor` times the growth of
 * the context, the shortest hardly. */
static double dynamic_theta(const rad_rope_params *rope, uint32_t context)
{
    double n = 2.0 * rope->n_pairs, growth = context / rope->original_context;
    if (growth <= 1.0)
        return rope->theta;
    return rope->theta * rad_pow(rope->factor * growth - (rope->factor - 1.0), n / (n - 2.0));
}

double rad_rope_frequency(const rad_rope_params *rope, uint32_t context, uint32_t pair,
                          double divisor)
{
    double theta = rope->scaling == RAD_ROPE_DYNAMIC ? dynamic_theta(rope, context) : rope->theta;
    double frequency = rad_pow(theta, -(double)pair / rope->n_pairs) / divisor;
    if (rope->scaling == RAD_ROPE_PLAIN || rope->scaling == RAD_ROPE_LONG ||
        rope->scaling == RAD_ROPE_DYNAMIC)
        return frequency;
    if (rope->scaling == RAD_ROPE_LLAMA3)
        return frequency / llama3_divisor(rope, frequency);
    double divided = frequency / rope->factor;
    if (rope->scaling == RAD_ROPE_LINEAR)
        return divided;
    double mix = yarn_mix(rope, pair);
    return divided * (1.0 - mix) + frequency * mix;
}

float rad_rope_magnitude(const rad_rope_params *rope)
{
    if (rope->scaling != RAD_ROPE_YARN || rope->extension_factor == 0.0)
        return (float)rope->attention_factor;
    double growth = rope->factor > 1.0 && !rope->level ? 0.1 * rad_ln(rope->factor) + 1.0 : 1.0;
    return (float)(rope->attention_factor * growth);
}
