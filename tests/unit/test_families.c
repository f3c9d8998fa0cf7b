/* What single families bring of their own: keys and tensors that are wrong, and what must follow
 * from those that are right. Golden logits say the rest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/hparams.h"
#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"
#include "unit/opened.h"
#include "unit/refused.h"

static const char *golden(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "tests/golden/architectures/%s.gguf", name);
    return rad_test_source_path(path);
}

typedef struct row {
    float *logits;
    uint32_t n;
} row;

static int32_t keep_row(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    row *kept = user;
    (void)position;
    kept->n = n_vocab;
    memcpy(kept->logits, logits, n_vocab * sizeof *logits);
    return 0;
}

/* Logits behind some ids, of a model that is written first. */
static void logits_of(gguf_builder *file, const int32_t *ids, size_t n_ids, float logits[320])
{
    const char *path = rad_test_temp_path("family.gguf");
    gguf_write(file, path);
    opened o = open_file(path, NULL);
    row kept = {.logits = logits};
    rad_assert_ok(radllm_session_feed_each(o.session, ids, n_ids, keep_row, &kept, NULL, o.error),
                  o.error);
    ck_assert_uint_eq(kept.n, 320);
    close_file(&o);
    gguf_builder_free(file);
}

/* ---- ALiBi ----------------------------------------------------------------------------------- */

START_TEST(slopes_are_those_of_the_paper)
{
    for (uint32_t i = 0; i < 8; i++) { /* 1/2, 1/4, ..., 1/256 */
        ck_assert(rad_alibi_slope(8.0f, 8, i) == ldexpf(1.0f, -(int)i - 1));
        ck_assert(rad_alibi_slope(16.0f, 8, i) == ldexpf(1.0f, -2 * (int)i - 2));
    }
    static const float twelve[] = {0x1p-1f,    0x1p-2f,    0x1p-3f,     0x1p-4f,
                                   0x1p-5f,    0x1p-6f,    0x1p-7f,     0x1p-8f,
                                   0.7071068f, 0.3535534f, 0.17677670f, 0.08838835f};
    for (uint32_t i = 0; i < 12; i++)
        ck_assert_float_eq_tol(rad_alibi_slope(8.0f, 12, i), twelve[i], 1e-7f);
    ck_assert(rad_alibi_slope(8.0f, 1, 0) == 0x1p-8f);
    ck_assert_float_eq_tol(rad_alibi_slope(8.0f, 112, 64), 0.9576033f, 1e-6f); /* 2^(-1/16) */
}
END_TEST

START_TEST(wrong_keys)
{
    static const struct {
        const char *model, *key;
        float value;
    } wrong[] = {
        {"mpt-f32", "mpt.attention.max_alibi_bias", NAN},
        {"mpt-f32", "mpt.attention.max_alibi_bias", -8.0f},
        {"mpt-f32", "mpt.attention.max_alibi_bias", INFINITY},
        {"mpt-f32", "mpt.attention.max_alibi_bias", 1e9f},
        {"bloom-f32", "bloom.attention.max_alibi_bias", 0.0f},
        {"bloom-f32", "bloom.attention.max_alibi_bias", NAN},
        {"mpt-f32", "mpt.attention.clamp_kqv", NAN},
        {"mpt-f32", "mpt.attention.clamp_kqv", -1.0f},
        {"mpt-f32", "mpt.attention.clamp_kqv", INFINITY},
        {"bloom-f32", "bloom.attention.layer_norm_epsilon", NAN},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        gguf_builder file = gguf_load(golden(wrong[i].model));
        gguf_key_f32(&file, wrong[i].key, wrong[i].value);
        refuse(&file, RADLLM_E_FORMAT, wrong[i].key);
    }
    gguf_builder file = gguf_load(golden("mpt-f32"));
    gguf_remove_key(&file, "mpt.attention.max_alibi_bias");
    refuse(&file, RADLLM_E_FORMAT, "mpt.attention.max_alibi_bias is missing");
    file = gguf_load(golden("mpt-f32")); /* without ALiBi positions must be learned */
    gguf_key_f32(&file, "mpt.attention.max_alibi_bias", 0.0f);
    refuse(&file, RADLLM_E_FORMAT, "position_embd.weight is missing");
    file = gguf_load(golden("bloom-f32"));
    gguf_key_string(&file, "bloom.attention.max_alibi_bias", "8");
    refuse(&file, RADLLM_E_FORMAT, "bloom.attention.max_alibi_bias");
}
END_TEST

START_TEST(wrong_tensors)
{
    static const char *const needed[][2] = {{"bloom-q8_0", "token_embd_norm.weight"},
                                            {"bloom-q8_0", "blk.1.attn_qkv.weight"},
                                            {"mpt-q8_0", "blk.0.attn_norm.weight"},
                                            {"mpt-q8_0", "blk.1.ffn_up.weight"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        gguf_builder file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
        file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        gguf_tensor_random(&file, needed[i][1], 2, (uint64_t[]){64, 7}, 1.0f);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
    }
    gguf_builder file = gguf_load(golden("mpt-qk-norm-q8_0")); /* one head's norm is too short */
    gguf_remove_tensor(&file, "blk.0.attn_q_norm.weight");
    gguf_tensor_random(&file, "blk.0.attn_q_norm.weight", 1, (uint64_t[]){16}, 1.0f);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.attn_q_norm.weight");
    file = gguf_load(golden("mpt-q8_0")); /* scales of activations, which are not computed */
    gguf_tensor_random(&file, "blk.0.ffn.act.scales", 1, (uint64_t[]){256}, 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.0.ffn.act.scales");
    file = gguf_load(golden("gpt2-q8_0"));
    gguf_tensor_random(&file, "token_embd_norm.weight", 1, (uint64_t[]){64}, 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "token_embd_norm.weight");
}
END_TEST

/* MPT with learned positions: at the first one, a table of zeros changes nothing. */
START_TEST(mpt_without_alibi)
{
    static const int32_t ids[] = {317, 5, 77};
    float biased[320], plain[320];
    for (size_t n = 1; n <= 3; n += 2) {
        gguf_builder file = gguf_load(golden("mpt-f32"));
        logits_of(&file, ids, n, biased);
        file = gguf_load(golden("mpt-f32"));
        gguf_key_f32(&file, "mpt.attention.max_alibi_bias", 0.0f);
        gguf_tensor_random(&file, "position_embd.weight", 2, (uint64_t[]){64, 128}, 0.0f);
        logits_of(&file, ids, n, plain);
        ck_assert_int_eq(memcmp(biased, plain, sizeof plain) == 0, n == 1);
    }
}
END_TEST

START_TEST(a_clamp_that_nothing_reaches)
{
    static const int32_t ids[] = {317, 5, 77, 201};
    float clamped[320], wide[320], none[320];
    gguf_builder file = gguf_load(golden("mpt-f32"));
    logits_of(&file, ids, 4, clamped);
    file = gguf_load(golden("mpt-f32"));
    gguf_key_f32(&file, "mpt.attention.clamp_kqv", 1e6f);
    logits_of(&file, ids, 4, wide);
    file = gguf_load(golden("mpt-f32"));
    gguf_key_f32(&file, "mpt.attention.clamp_kqv", 0.0f);
    logits_of(&file, ids, 4, none);
    ck_assert_int_eq(memcmp(wide, none, sizeof none), 0);
    ck_assert_int_ne(memcmp(clamped, none, sizeof none), 0);
}
END_TEST

/* ---- latent attention, and values of another size than keys ---------------------------------- */

START_TEST(wrong_latent_keys)
{
    static const struct {
        const char *model, *key;
        uint32_t value;
        const char *message;
    } wrong[] = {
        {"deepseek2-v3-f32", "deepseek2.attention.kv_lora_rank", 0, "kv_lora_rank"},
        {"deepseek2-v3-f32", "deepseek2.attention.kv_lora_rank", 0xffffffffu, "kv_lora_rank"},
        {"deepseek2-v3-f32", "deepseek2.attention.kv_lora_rank", 96, "attn_kv_a_mqa.weight"},
        {"deepseek2-v3-f32", "deepseek2.attention.q_lora_rank", 0x80000000u, "q_lora_rank"},
        {"deepseek2-v3-f32", "deepseek2.attention.q_lora_rank", 64, "attn_q_a.weight"},
        {"deepseek2-v3-f32", "deepseek2.attention.q_lora_rank", 0, "attn_q.weight is missing"},
        {"deepseek2-v3-f32", "deepseek2.rope.dimension_count", 48, "rope.dimension_count"},
        {"deepseek2-v3-f32", "deepseek2.rope.dimension_count", 15, "rope.dimension_count"},
        {"deepseek2-v3-f32", "deepseek2.attention.key_length_mla", 1025, "key_length_mla"},
        {"deepseek2-v3-f32", "deepseek2.attention.value_length_mla", 0, "value_length_mla"},
        {"deepseek2-v3-f32", "deepseek2.attention.value_length_mla", 32, "attn_v_b.weight"},
        {"deepseek2-lite-f32", "deepseek2.attention.value_length", 24, "attn_kv_b.weight"},
        {"deepseek2-lite-f32", "deepseek2.attention.key_length", 8, "rope.dimension_count"},
        {"deepseek2-lite-f32", "deepseek2.attention.q_lora_rank", 32, "attn_q_a.weight is missing"},
        {"llama-values-f32", "llama.attention.value_length", 32, "blk.0.attn_v.weight"},
        {"llama-values-f32", "llama.attention.value_length", 0, "value_length"},
        {"llama-values-f32", "llama.attention.value_length", 0x7fffffffu, "value_length"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        gguf_builder file = gguf_load(golden(wrong[i].model));
        gguf_key_u32(&file, wrong[i].key, wrong[i].value);
        refuse(&file, RADLLM_E_FORMAT, wrong[i].message);
    }
    static const char *const needed[] = {"kv_lora_rank", "value_length_mla", "key_length_mla"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        gguf_builder file = gguf_load(golden("deepseek2-v3-f32"));
        char key[64];
        snprintf(key, sizeof key, "deepseek2.attention.%s", needed[i]);
        gguf_remove_key(&file, key);
        /* Without key_length_mla it is a file of the older kind, whose tensors are others. */
        refuse(&file, RADLLM_E_FORMAT, i < 2 ? key : "attn_q_b.weight has the shape");
    }
    gguf_builder file = gguf_load(golden("deepseek2-v3-f32"));
    gguf_key_f32(&file, "deepseek2.rope.scaling.yarn_log_multiplier", NAN);
    refuse(&file, RADLLM_E_FORMAT, "yarn_log_multiplier");
    file = gguf_load(golden("deepseek2-v3-f32"));
    gguf_key_f32(&file, "deepseek2.attention.temperature_scale", 0.1f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "temperature_scale");
}
END_TEST

START_TEST(wrong_latent_tensors)
{
    static const char *const needed[][2] = {{"deepseek2-v3-q8_0", "blk.1.attn_k_b.weight"},
                                            {"deepseek2-v3-q8_0", "blk.2.attn_v_b.weight"},
                                            {"deepseek2-v3-q8_0", "blk.0.attn_kv_a_norm.weight"},
                                            {"deepseek2-v3-q8_0", "blk.0.attn_q_a_norm.weight"},
                                            {"deepseek2-lite-q8_0", "blk.0.attn_kv_b.weight"},
                                            {"deepseek2-lite-q8_0", "blk.1.attn_kv_a_mqa.weight"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        gguf_builder file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
        file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        gguf_tensor_random(&file, needed[i][1], 3, (uint64_t[]){64, 7, 3}, 1.0f);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
    }
    gguf_builder file = gguf_load(golden("deepseek2-v3-q8_0")); /* a head is missing */
    gguf_remove_tensor(&file, "blk.0.attn_k_b.weight");
    gguf_tensor_random(&file, "blk.0.attn_k_b.weight", 3, (uint64_t[]){32, 64, 3}, 1.0f);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.attn_k_b.weight");
    file = gguf_load(golden("deepseek2-v3-q8_0")); /* the layer that guesses further tokens */
    gguf_tensor_random(&file, "blk.3.nextn.eh_proj.weight", 2, (uint64_t[]){128, 64}, 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.3.nextn.eh_proj.weight");
}
END_TEST

/* Some converters write both forms of the product; the older keys say which is used. */
START_TEST(both_forms_of_the_product)
{
    static const int32_t ids[] = {317, 5, 77, 201};
    float one[320], both[320];
    gguf_builder file = gguf_load(golden("deepseek2-lite-f32"));
    logits_of(&file, ids, 4, one);
    file = gguf_load(golden("deepseek2-lite-f32"));
    for (uint32_t layer = 0; layer < 3; layer++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.attn_k_b.weight", layer);
        gguf_tensor_random(&file, name, 2, (uint64_t[]){24, 128}, 1.0f);
        snprintf(name, sizeof name, "blk.%u.attn_v_b.weight", layer);
        gguf_tensor_random(&file, name, 2, (uint64_t[]){32, 64}, 1.0f);
    }
    logits_of(&file, ids, 4, both);
    ck_assert_int_eq(memcmp(one, both, sizeof one), 0);
}
END_TEST

/* A cache of short vectors does not grow with the heads. */
START_TEST(the_cache_holds_short_vectors)
{
    static const struct {
        const char *model;
        uint64_t floats; /* of a position and a layer */
    } expected[] = {{"deepseek2-v3-f32", 64 + 16 + 64}, {"deepseek2-lite-f32", 4 * (32 + 16)}};
    for (int i = 0; i < 2; i++) {
        radllm_options *options;
        radllm_file *file;
        radllm_error *error;
        uint64_t bytes[2];
        ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
        rad_assert_ok(radllm_options_new(NULL, &options, error), error);
        rad_assert_ok(radllm_file_open(NULL, golden(expected[i].model), &file, error), error);
        for (int n = 0; n < 2; n++) {
            radllm_plan *plan;
            rad_assert_ok(radllm_options_set_integer(options, "context", n == 0 ? 96 : 224, error),
                          error);
            rad_assert_ok(radllm_options_set_integer(options, "prefix_cache", 0, error), error);
            rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
            rad_assert_ok(radllm_plan_number(plan, "cache", &bytes[n], error), error);
            radllm_plan_free(plan);
        }
        ck_assert_uint_eq(bytes[1] - bytes[0], 128 * 3 * expected[i].floats * sizeof(float));
        radllm_file_free(file);
        radllm_options_free(options);
        radllm_error_free(error);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *latent = rad_test_case(suite, "latent");
    tcase_add_test(latent, wrong_latent_keys);
    tcase_add_test(latent, wrong_latent_tensors);
    tcase_add_test(latent, both_forms_of_the_product);
    tcase_add_test(latent, the_cache_holds_short_vectors);
    TCase *alibi = rad_test_case(suite, "alibi");
    tcase_add_test(alibi, slopes_are_those_of_the_paper);
    tcase_add_test(alibi, wrong_keys);
    tcase_add_test(alibi, wrong_tensors);
    tcase_add_test(alibi, mpt_without_alibi);
    tcase_add_test(alibi, a_clamp_that_nothing_reaches);
}

int main(void)
{
    return rad_test_main("families", add_cases);
}
