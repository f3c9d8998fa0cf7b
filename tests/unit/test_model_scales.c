/* Scales of whole matrices: tensors of their own (NAME.scale, as beside NVFP4) and the tail of
 * I2_S.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

enum { N_IDS = 5, N_VOCAB = 291, I2_S = 36 };

static int32_t keep_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    ck_assert_uint_eq(n_vocab, N_VOCAB);
    memcpy((float *)user + (size_t)position * N_VOCAB, logits, N_VOCAB * sizeof *logits);
    return 0;
}

/* Opens the built file and computes the logits of a few ids; frees the file. */
static void compute(gguf_builder *file, const char *load, float logits[N_IDS * N_VOCAB])
{
    static const int32_t ids[N_IDS] = {1, 50, 7, 260, 99};
    const char *path = rad_test_temp_path("scales.gguf");
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    gguf_write(file, path);
    gguf_builder_free(file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    rad_assert_ok(radllm_options_set_text(options, "load", load, RADLLM_NUL, error), error);
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    rad_assert_ok(radllm_session_feed_each(session, ids, N_IDS, keep_logits, logits, NULL, error),
                  error);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
}

static void multiply(gguf_builder *file, const char *name, float factor)
{
    gguf_tensor_entry *tensor = gguf_find_tensor(file, name);
    for (size_t i = 0; i < tensor->data_size / sizeof(float); i++) {
        float value;
        memcpy(&value, (uint8_t *)tensor->data + i * sizeof value, sizeof value);
        value *= factor;
        memcpy((uint8_t *)tensor->data + i * sizeof value, &value, sizeof value);
    }
}

static gguf_tensor_entry *add_scale(gguf_builder *file, const char *name, float value)
{
    return gguf_tensor(file, name, 0, 1, (uint64_t[]){1}, &value, sizeof value);
}

/* A scale that is a power of two changes no rounding: the logits are those of a file with the
 * matrices multiplied, bit for bit. */
START_TEST(scales_multiply_matrices)
{
    static const char *const names[][3] = {
        {"token_embd.weight", "token_embd.scale", "2"},
        {"output.weight", "output.scale", "0.5"},
        {"blk.0.attn_q.weight", "blk.0.attn_q.scale", "4"},
        {"blk.0.attn_k.weight", "blk.0.attn_k.weight.scale", "-0.25"},
        {"blk.1.attn_output.weight", "blk.1.attn_output.scale", "8"},
        {"blk.1.ffn_down.weight", "blk.1.ffn_down.scale", "0.125"}};
    static float expected[N_IDS * N_VOCAB], found[N_IDS * N_VOCAB];
    gguf_builder multiplied = gguf_tiny_llama(), scaled = gguf_tiny_llama(),
                 plain = gguf_tiny_llama();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        float factor = strtof(names[i][2], NULL);
        multiply(&multiplied, names[i][0], factor);
        add_scale(&scaled, names[i][1], factor);
    }
    add_scale(&scaled, "blk.0.attn_v.input_scale", 3.0f); /* of activations: not used */
    compute(&multiplied, "copy", expected);
    compute(&scaled, _i == 0 ? "copy" : "map", found);
    ck_assert_mem_eq(found, expected, sizeof found);
    compute(&plain, "copy", found);
    ck_assert(memcmp(found, expected, sizeof found) != 0);
}
END_TEST

/* Four experts, of which two are used, in both layers. */
static gguf_builder with_experts(void)
{
    static const char *const parts[] = {"ffn_gate", "ffn_up", "ffn_down"};
    gguf_builder file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.expert_count", 4);
    gguf_key_u32(&file, "llama.expert_used_count", 2);
    for (int i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s.weight", i / 3, parts[i % 3]);
        const gguf_tensor_entry *dense = gguf_find_tensor(&file, name);
        uint64_t dims[3] = {dense->dims[0], dense->dims[1], 4};
        gguf_remove_tensor(&file, name);
        snprintf(name, sizeof name, "blk.%d.%s_exps.weight", i / 3, parts[i % 3]);
        gguf_tensor_random(&file, name, 3, dims, 0.3f);
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", i / 3);
        if (i % 3 == 0)
            gguf_tensor_random(&file, name, 2, (uint64_t[]){32, 4}, 1.0f);
    }
    return file;
}

/* As beside experts in NVFP4: a scale for each. */
START_TEST(scales_multiply_experts)
{
    static const float factors[4] = {2.0f, 0.25f, -4.0f, 1.0f};
    static float expected[N_IDS * N_VOCAB], found[N_IDS * N_VOCAB];
    gguf_builder multiplied = with_experts(), scaled = with_experts(), plain = with_experts();
    gguf_tensor_entry *stack = gguf_find_tensor(&multiplied, "blk.1.ffn_up_exps.weight");
    size_t n = stack->data_size / sizeof(float);
    for (size_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, (uint8_t *)stack->data + i * sizeof value, sizeof value);
        value *= factors[i / (n / 4)];
        memcpy((uint8_t *)stack->data + i * sizeof value, &value, sizeof value);
    }
    gguf_tensor(&scaled, "blk.1.ffn_up_exps.scale", 0, 1, (uint64_t[]){4}, factors, sizeof factors);
    compute(&multiplied, "copy", expected);
    compute(&scaled, _i == 0 ? "copy" : "map", found);
    ck_assert_mem_eq(found, expected, sizeof found);
    compute(&plain, "copy", found);
    ck_assert(memcmp(found, expected, sizeof found) != 0);
}
END_TEST

static void refuse(gguf_builder *file, radllm_status expected, const char *part)
{
    const char *path = rad_test_temp_path("refused.gguf");
    radllm_error *error;
    radllm_model *model = NULL;
    gguf_write(file, path);
    gguf_builder_free(file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_error(radllm_model_open(NULL, path, NULL, NULL, &model, error), expected, error,
                     part);
    radllm_error_free(error);
}

START_TEST(scales_that_are_none)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const float two[] = {1.0f, 2.0f};
    for (int i = 0; i < 3; i++) {
        gguf_builder file = gguf_tiny_llama();
        add_scale(&file, "blk.0.attn_q.scale", values[i]);
        refuse(&file, RADLLM_E_FORMAT, "blk.0.attn_q.scale: its scale");
    }
    gguf_builder file = gguf_tiny_llama();
    gguf_tensor(&file, "output.scale", 0, 1, (uint64_t[]){2}, two, sizeof two);
    refuse(&file, RADLLM_E_UNSUPPORTED, "output.scale");
    file = gguf_tiny_llama();
    gguf_tensor(&file, "output.scale", 1, 1, (uint64_t[]){1}, two, 2);
    refuse(&file, RADLLM_E_UNSUPPORTED, "output.scale");
    static const float odd[4] = {1.0f, 1.0f, NAN, 1.0f};
    file = with_experts();
    gguf_tensor(&file, "blk.0.ffn_up_exps.scale", 0, 1, (uint64_t[]){4}, odd, sizeof odd);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_up_exps.scale: its scale");
    file = with_experts();
    gguf_tensor(&file, "blk.0.ffn_up_exps.scale", 0, 1, (uint64_t[]){3}, odd, 12);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.0.ffn_up_exps.scale");
    /* Two scales for one matrix, and one for a vector: no place for them. */
    file = gguf_tiny_llama();
    add_scale(&file, "output.scale", 1.0f);
    add_scale(&file, "output.weight.scale", 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "output.weight.scale");
    file = gguf_tiny_llama();
    add_scale(&file, "output_norm.scale", 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "output_norm.scale");
}
END_TEST

/* I2_S: all codes 1 (zeros) but a few, scale in the tail. */
static gguf_builder ternary_file(float scale, size_t missing)
{
    enum { ROW = 256, BYTES = ROW * N_VOCAB / 4 + 32 };
    static uint8_t data[BYTES];
    gguf_builder file = gguf_tiny_llama();
    memset(data, 0x55, sizeof data);
    memset(data + BYTES - 32, 0, 32);
    memcpy(data + BYTES - 32, &scale, sizeof scale);
    gguf_remove_tensor(&file, "token_embd.weight");
    gguf_key_u32(&file, "llama.embedding_length", ROW);
    gguf_tensor(&file, "token_embd.weight", I2_S, 2, (uint64_t[]){ROW, N_VOCAB}, data,
                BYTES - missing);
    return file;
}

START_TEST(ternary_tails)
{
    static const float values[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        gguf_builder file = ternary_file(values[i], 0);
        refuse(&file, RADLLM_E_FORMAT, "token_embd.weight: its scale");
    }
    gguf_builder file = ternary_file(1.0f, 0); /* then the next tensor does not fit the width */
    refuse(&file, RADLLM_E_FORMAT, "output_norm.weight has the shape");
    file = ternary_file(1.0f, 32); /* without its tail it would run into the end of the file */
    refuse(&file, RADLLM_E_FORMAT, "token_embd.weight");
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "scales");
    tcase_add_loop_test(cases, scales_multiply_matrices, 0, 2);
    tcase_add_loop_test(cases, scales_multiply_experts, 0, 2);
    tcase_add_test(cases, scales_that_are_none);
    tcase_add_test(cases, ternary_tails);
}

int main(void)
{
    return rad_test_main("model_scales", add_cases);
}
