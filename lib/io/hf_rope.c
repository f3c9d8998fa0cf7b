/* Rotations and how they are stretched for longer contexts: rope_scaling and rope_parameters. */
#include "io/hf_reader.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"

#define PAIRS_MAX 512 /* half of the greatest head */

/* The context before scaling: beside the rotations' own keys it comes first. */
static int64_t original_context(rad_hf_reader *r, const json_t *rope)
{
    static const char key[] = "original_max_position_embeddings";
    return rad_hf_size(
        r, key, rad_hf_size_in(r, rope, key, 1, rad_hf_size(r, "max_position_embeddings", 1)));
}

/* In GGUF 0 means that nothing is scaled. */
static double factor_of(rad_hf_reader *r, const json_t *rope, double fallback)
{
    double factor = rad_hf_real_in(r, rope, "factor", fallback);
    if (factor <= 0.0)
        rad_hf_fail_value(r, "rope_scaling.factor", "above 0");
    return factor;
}

static void put_llama3(rad_hf_reader *r, const json_t *rope)
{
    rad_hf_put_text_key(r, "rope.scaling.type", "llama3");
    rad_hf_put_real(r, "rope.scaling.factor", factor_of(r, rope, 8.0));
    rad_hf_put_real(r, "rope.scaling.low_freq_factor",
                    rad_hf_real_in(r, rope, "low_freq_factor", 1.0));
    rad_hf_put_real(r, "rope.scaling.high_freq_factor",
                    rad_hf_real_in(r, rope, "high_freq_factor", 4.0));
    rad_hf_put_integer(r, "rope.scaling.original_context_length", original_context(r, rope));
}

/* How long rotations are: by the factor alone in GGUF, which attn_factor is relative to, of two
 * keys the one that llama.cpp reads. Latent attention scales its scores instead, and llama.cpp
 * knows no other length there. */
static void put_yarn_length(rad_hf_reader *r, const json_t *rope, double factor, bool latent)
{
    double plain = factor > 1.0 ? 0.1 * rad_ln(factor) + 1.0 : 1.0;
    double all = rad_hf_real_in(r, rope, "mscale_all_dim", 0.0),
           own = rad_hf_real_in(r, rope, "mscale", 0.0);
    double length = rad_hf_real_in(r, rope, "attention_factor", 0.0);
    if (length == 0.0 && all != 0.0 && own != 0.0 && factor > 1.0)
        length = (0.1 * own * rad_ln(factor) + 1.0) / (0.1 * all * rad_ln(factor) + 1.0);
    if (latent && all != 0.0) {
        rad_hf_put_real(r, "rope.scaling.yarn_log_multiplier", 0.1 * all);
        length = length == 0.0 ? plain : length;
        if (length != 1.0)
            rad_hf_put_real(r, "rope.scaling.yarn_attn_factor", length);
    } else if (length != 0.0) {
        rad_hf_put_real(r, "rope.scaling.attn_factor", length / plain);
    }
}

static void put_yarn(rad_hf_reader *r, const json_t *rope, bool latent)
{
    int64_t original = original_context(r, rope);
    double factor =
        factor_of(r, rope, (double)rad_hf_size(r, "max_position_embeddings", 1) / (double)original);
    rad_hf_put_text_key(r, "rope.scaling.type", "yarn");
    rad_hf_put_real(r, "rope.scaling.factor", factor);
    rad_hf_put_integer(r, "rope.scaling.original_context_length", original);
    rad_hf_put_real(r, "rope.scaling.yarn_beta_fast", rad_hf_real_in(r, rope, "beta_fast", 32.0));
    rad_hf_put_real(r, "rope.scaling.yarn_beta_slow", rad_hf_real_in(r, rope, "beta_slow", 1.0));
    rad_hf_put_bool(r, "rope.scaling.yarn_exact", !rad_hf_bool_in(r, rope, "truncate", true));
    put_yarn_length(r, rope, factor, latent);
}

/* Where rotations are said to be scaled: the older key counts where both are there. */
static const json_t *scaling_of(const rad_hf_reader *r)
{
    const json_t *rope = rad_hf_find(r->folder->config, "rope_scaling");
    return rope != NULL && !(json_is_object(rope) && json_object_size(rope) == 0)
               ? rope
               : rad_hf_find(r->folder->config, "rope_parameters");
}

/* Of layers that see all, where others have rotations of their own. */
static const json_t *rope_of(const rad_hf_reader *r)
{
    const json_t *rope = scaling_of(r);
    const json_t *full = json_object_get(rope, "full_attention");
    return json_is_object(full) ? full : rope;
}

const char *rad_hf_rope_type(const json_t *rope)
{
    const json_t *type = rad_hf_find(rope, "rope_type|type");
    return type == NULL ? "default" : json_string_value(type);
}

/* Of a head's values the first ones may rotate alone. */
static void put_partial_rotation(rad_hf_reader *r, const json_t *rope, bool latent)
{
    const json_t *config = r->folder->config;
    double share = rad_hf_real_in(r, rope, "partial_rotary_factor",
                                  rad_hf_real_in(r, config, "partial_rotary_factor", 1.0));
    int64_t heads = rad_hf_size(r, "num_attention_heads", -1);
    int64_t head =
        rad_hf_size(r, "head_dim", rad_hf_size(r, "hidden_size", -1) / (heads > 0 ? heads : 1));
    if (latent || share == 1.0)
        return;
    /* Other classes know no share: whole heads rotate, and scaled ones do not fit. */
    if (strncmp(r->family->model_type, "phi", 3) != 0) {
        const char *type = rad_hf_rope_type(rope);
        if (type == NULL || strcmp(type, "default") != 0)
            rad_hf_refuse(r, "partial_rotary_factor", "not 1",
                          "heads of models of this type rotate whole");
        return;
    }
    if (!(share > 0.0 && share < 1.0))
        rad_hf_fail_value(r, "partial_rotary_factor", "above 0 and at most 1");
    else
        rad_hf_put_integer(r, "rope.dimension_count", (int64_t)((double)head * share));
}

/* A list of numbers as an array under `name`. */
static void put_numbers(rad_hf_reader *r, const json_t *rope, const char *key, const char *name)
{
    const json_t *list = rad_hf_find(rope, key);
    size_t n = json_array_size(list);
    double numbers[PAIRS_MAX];
    bool numeric = n > 0 && n <= PAIRS_MAX;
    for (size_t i = 0; numeric && i < n; i++) {
        numeric = json_is_number(json_array_get(list, i));
        numbers[i] = json_number_value(json_array_get(list, i));
    }
    if (!numeric) {
        rad_hf_fail_value(r, key,
                          "a list of numbers, one for each pair of a head's values that rotates");
        return;
    }
    rad_hf_put_items(r, name, RAD_META_F64, n, numbers, n * sizeof *numbers);
    rad_hf_mark_array(r);
}

/* A divisor for each rotation, of one of two lists; and a length of rotations, which follows from
 * how much longer the context became. */
static void put_longrope(rad_hf_reader *r, const json_t *rope)
{
    int64_t context = rad_hf_size(r, "max_position_embeddings", 1);
    int64_t original = original_context(r, rope);
    double factor = rad_hf_real_in(r, rope, "factor", (double)context / (double)original);
    double length = rad_hf_real_in(r, rope, "attention_factor", 0.0);
    if (length == 0.0)
        length = factor > 1.0 && original > 1
                     ? sqrt(1.0 + rad_ln(factor) / rad_ln((double)original))
                     : 1.0;
    rad_hf_put_text_key(r, "rope.scaling.type", "longrope");
    rad_hf_put_integer(r, "rope.scaling.original_context_length", original);
    rad_hf_put_real(r, "rope.scaling.attn_factor", length);
    put_numbers(r, rope, "short_factor", "rope.scaling.short_factors");
    put_numbers(r, rope, "long_factor", "rope.scaling.long_factors");
    if (rad_hf_find(rope, "short_mscale|long_mscale") != NULL)
        rad_hf_refuse(r, "rope_scaling.short_mscale", "given",
                      "rotations of this length are not supported");
}

/* Dynamic scaling begins there. */
double rad_hf_stretch(rad_hf_reader *r)
{
    const json_t *rope = rope_of(r);
    const char *type = rad_hf_rope_type(rope);
    if (type == NULL || strcmp(type, "dynamic") != 0)
        return 1.0;
    double factor = rad_hf_real_in(r, rope, "factor", 1.0);
    if (factor >= 1.0 && factor <= 1024.0)
        return factor;
    rad_hf_fail_value(r, "factor", "from 1 to 1024");
    return 1.0;
}

static void put_scaling(rad_hf_reader *r, const json_t *rope, const char *name, bool latent)
{
    bool lists = rad_hf_find(rope, "long_factor") != NULL;
    if (strcmp(name, "longrope") == 0 || strcmp(name, "su") == 0 ||
        (strcmp(name, "yarn") == 0 && lists)) {
        put_longrope(r, rope);
    } else if (strcmp(name, "llama3") == 0) {
        put_llama3(r, rope);
    } else if (strcmp(name, "yarn") == 0) {
        put_yarn(r, rope, latent);
    } else if (strcmp(name, "linear") == 0) {
        rad_hf_put_text_key(r, "rope.scaling.type", "linear");
        rad_hf_put_real(r, "rope.scaling.factor", factor_of(r, rope, 1.0));
    } else if (strcmp(name, "dynamic") == 0) {
        rad_hf_put_text_key(r, "rope.scaling.type", "dynamic");
        rad_hf_put_real(r, "rope.scaling.factor", rad_hf_stretch(r));
        rad_hf_put_integer(r, "rope.scaling.original_context_length",
                           rad_hf_size(r, "max_position_embeddings", -1));
    } else if (strcmp(name, "default") != 0) {
        rad_hf_refuse(r, "rope_scaling.rope_type", name,
                      "this version knows default, linear, dynamic, llama3, yarn and longrope");
    }
}

/* Layers with a window rotate by a base of their own. */
static void put_local_rope(rad_hf_reader *r)
{
    const json_t *config = r->folder->config;
    const json_t *local =
        json_object_get(rad_hf_find(config, "rope_parameters"), "sliding_attention");
    const char *type = rad_hf_rope_type(local);
    if (type == NULL || strcmp(type, "default") != 0)
        rad_hf_refuse(r, "rope_parameters.sliding_attention.rope_type",
                      type == NULL ? "no text" : type,
                      "layers with a window rotate unscaled in this version");
    rad_hf_put_real(r, "rope.freq_base_swa",
                    rad_hf_real_in(r, local, "rope_theta",
                                   rad_hf_real_in(r, config, "rope_local_base_freq", 1e4)));
}

/* theta and scaling: in rope_parameters, or in rope_theta and rope_scaling as of old. */
void rad_hf_put_rope(rad_hf_reader *r, bool latent)
{
    const json_t *config = r->folder->config, *rope = rope_of(r);
    put_partial_rotation(r, rope, latent);
    if (rope != NULL && !json_is_object(rope))
        rad_hf_fail_value(r, "rope_parameters", "an object");
    double theta = rad_hf_real_in(r, rope, "rope_theta", 0.0);
    rad_hf_put_real(r, "rope.freq_base",
                    theta != 0.0 ? theta
                                 : rad_hf_real_in(r, config, "rope_theta", r->family->theta));
    const char *name = rad_hf_rope_type(rope);
    if (name == NULL)
        rad_hf_fail_value(r, "rope_scaling.rope_type", "a text");
    else
        put_scaling(r, rope, name, latent);
    if (strcmp(r->family->architecture, "gemma3") == 0)
        put_local_rope(r);
    else if (rope != scaling_of(r))
        rad_hf_refuse(r, "rope_parameters", "by layers",
                      "models of this type rotate alike in all layers");
}
