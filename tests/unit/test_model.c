/* Model files whose container is fine and whose contents are not: each is refused with a message
 * that names the key or tensor. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"
#include "unit/refused.h"
#include "unit/opened.h"

START_TEST(a_good_model_is_taken)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("good.gguf"));
    opened o = open_file(rad_test_temp_path("good.gguf"), NULL);
    int32_t tokens[] = {1, 5, 9};
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, o.error), o.error);
    close_file(&o);
    gguf_builder_free(&file);
}
END_TEST

/* ---- hyper-parameters -------------------------------------------------------------------------
 */

START_TEST(missing_keys)
{
    static const char *const keys[] = {"general.architecture",
                                       "llama.context_length",
                                       "llama.embedding_length",
                                       "llama.block_count",
                                       "llama.feed_forward_length",
                                       "llama.attention.head_count",
                                       "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_remove_key(&file, keys[i]);
        refuse(&file, RADLLM_E_FORMAT, keys[i]);
    }
    gguf_builder file = gguf_tiny_llama();
    gguf_remove_key(&file, "tokenizer.ggml.tokens");
    refuse(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens");
}
END_TEST

START_TEST(keys_of_the_wrong_type)
{
    static const char *const keys[] = {"llama.context_length", "llama.embedding_length",
                                       "llama.block_count", "llama.feed_forward_length",
                                       "llama.attention.head_count"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_key_string(&file, keys[i], "many");
        refuse(&file, RADLLM_E_FORMAT, keys[i]);
    }
    gguf_builder file = gguf_tiny_llama();
    gguf_key_u32(&file, "general.architecture", 3);
    refuse(&file, RADLLM_E_FORMAT, "general.architecture");
    file = gguf_tiny_llama();
    gguf_key_string(&file, "llama.attention.layer_norm_rms_epsilon", "small");
    refuse(&file, RADLLM_E_FORMAT, "llama.attention.layer_norm_rms_epsilon");
    file = gguf_tiny_llama();
    gguf_key_u32(&file, "general.name", 1);
    refuse(&file, RADLLM_E_FORMAT, "general.name");
    file = gguf_tiny_llama();
    gguf_key_strings(&file, "tokenizer.chat_template", (const char *[]){"a", "b"}, 2);
    refuse(&file, RADLLM_E_FORMAT, "tokenizer.chat_template");
}
END_TEST

START_TEST(messages_name_the_file)
{
    static const char *const keys[] = {"llama.block_count", "tokenizer.ggml.tokens"};
    for (size_t i = 0; i < 2; i++) {
        gguf_builder file = gguf_tiny_llama();
        const char *path = rad_test_temp_path("odd\x1b[31m\xff.gguf");
        gguf_remove_key(&file, keys[i]);
        gguf_write(&file, path);
        radllm_error *error;
        radllm_model *model;
        radllm_error_new(&error);
        rad_assert_error(radllm_model_open(NULL, path, NULL, NULL, &model, error), RADLLM_E_FORMAT,
                         error, "odd\\x1b[31m\\xff.gguf: ");
        const char *message = radllm_error_message(error);
        ck_assert_ptr_nonnull(strstr(message, keys[i]));
        ck_assert_ptr_null(strchr(message, '\x1b')); /* what is shown is printable */
        ck_assert_ptr_null(strchr(message, '\xff'));
        radllm_error_free(error);
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(numbers_out_of_range)
{
    static const struct {
        const char *key;
        uint32_t value;
    } cases[] = {
        {"llama.block_count", 0},
        {"llama.block_count", 1000000000},
        {"llama.embedding_length", 0},
        {"llama.embedding_length", 0xffffffffu},
        {"llama.context_length", 0},
        {"llama.context_length", 0xffffffffu},
        {"llama.feed_forward_length", 0},
        {"llama.attention.head_count", 0},
        {"llama.attention.head_count_kv", 0},
        {"llama.attention.key_length", 100000},
        {"llama.rope.dimension_count", 7},
        {"llama.rope.dimension_count", 512},
        {"llama.vocab_size", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_key_u32(&file, cases[i].key, cases[i].value);
        refuse(&file, RADLLM_E_FORMAT, cases[i].key);
    }
    gguf_builder file = gguf_tiny_llama();
    gguf_key_f32(&file, "llama.attention.layer_norm_rms_epsilon", NAN);
    refuse(&file, RADLLM_E_FORMAT, "llama.attention.layer_norm_rms_epsilon");
    file = gguf_tiny_llama();
    gguf_key_f32(&file, "llama.rope.freq_base", INFINITY);
    refuse(&file, RADLLM_E_FORMAT, "llama.rope.freq_base");
    file = gguf_tiny_llama();
    gguf_key_f32(&file, "llama.rope.freq_base", 0.0f);
    refuse(&file, RADLLM_E_FORMAT, "llama.rope.freq_base");
}
END_TEST

START_TEST(heads_that_do_not_divide)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.attention.head_count", 5);
    gguf_key_u32(&file, "llama.attention.head_count_kv", 5);
    refuse(&file, RADLLM_E_FORMAT, "llama.attention.head_count");
    file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.attention.head_count_kv", 3);
    refuse(&file, RADLLM_E_FORMAT, "llama.attention.head_count_kv");
    file = gguf_tiny_llama();
    uint32_t heads[] = {4, 4, 4};
    gguf_key_array(&file, "llama.attention.head_count", GGUF_U32, heads, sizeof *heads, 3);
    refuse(&file, RADLLM_E_FORMAT, "llama.attention.head_count");
}
END_TEST

START_TEST(what_this_version_cannot_run)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_key_string(&file, "general.architecture", "nosuch");
    refuse(&file, RADLLM_E_UNSUPPORTED, "\"nosuch\" is not supported");
    file = gguf_tiny_llama();
    gguf_key_string(&file, "general.type", "adapter");
    refuse(&file, RADLLM_E_UNSUPPORTED, "this is an adapter");
    file = gguf_tiny_llama();
    gguf_key_string(&file, "llama.rope.scaling.type", "mrope");
    refuse(&file, RADLLM_E_UNSUPPORTED, "rope.scaling.type");
    file = gguf_tiny_llama();
    gguf_key_string(&file, "llama.rope.scaling.type", "longrope");
    refuse(&file, RADLLM_E_FORMAT, "needs two lists of factors");
    file = gguf_tiny_llama();
    gguf_key_bool(&file, "llama.attention.causal", 0);
    gguf_key_u32(&file, "llama.attention.sliding_window", 16);
    refuse(&file, RADLLM_E_UNSUPPORTED, "llama.attention.causal");
}
END_TEST

/* Odd but finite settings of yarn must neither crash nor hang. */
START_TEST(odd_rope_scaling_is_survived)
{
    static const float values[] = {1e-3f, 1.0f, 1e6f};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            gguf_builder file = gguf_tiny_llama();
            gguf_key_string(&file, "llama.rope.scaling.type", "yarn");
            gguf_key_f32(&file, "llama.rope.scaling.factor", values[i]);
            gguf_key_f32(&file, "llama.rope.scaling.yarn_beta_fast", j == 0 ? 0.0f : values[j]);
            gguf_key_f32(&file, "llama.rope.scaling.yarn_beta_slow", j == 1 ? 0.0f : 1.0f);
            gguf_key_f32(&file, "llama.rope.freq_base", j == 2 ? 1.0f : 10000.0f);
            gguf_write(&file, rad_test_temp_path("yarn.gguf"));
            opened o = open_file(rad_test_temp_path("yarn.gguf"), NULL);
            int32_t tokens[] = {1, 5, 9};
            rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, o.error), o.error);
            close_file(&o);
            gguf_builder_free(&file);
        }
    }
}
END_TEST

/* ---- tensors ----------------------------------------------------------------------------------
 */

START_TEST(missing_tensors)
{
    static const char *const names[] = {"token_embd.weight",      "output_norm.weight",
                                        "blk.0.attn_norm.weight", "blk.1.attn_q.weight",
                                        "blk.0.attn_k.weight",    "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_remove_tensor(&file, names[i]);
        refuse(&file, RADLLM_E_FORMAT, names[i]);
    }
    gguf_builder file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.block_count", 3);
    refuse(&file, RADLLM_E_FORMAT, "blk.2.");
}
END_TEST

START_TEST(tensors_of_the_wrong_shape)
{
    static const struct {
        const char *name;
        uint32_t n_dims;
        uint64_t dims[4];
    } cases[] = {
        {"token_embd.weight", 2, {32, 290}},     {"token_embd.weight", 2, {291, 32}},
        {"output_norm.weight", 1, {31}},         {"output_norm.weight", 2, {32, 2}},
        {"blk.0.attn_q.weight", 2, {32, 16}},    {"blk.0.attn_q.weight", 1, {32}},
        {"blk.1.attn_k.weight", 2, {32, 32}},    {"blk.1.ffn_down.weight", 2, {32, 64}},
        {"blk.1.ffn_up.weight", 3, {32, 64, 2}}, {"blk.0.ffn_gate.weight", 4, {32, 32, 2, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_remove_tensor(&file, cases[i].name);
        gguf_tensor_random(&file, cases[i].name, cases[i].n_dims, cases[i].dims, 0.1f);
        refuse(&file, RADLLM_E_FORMAT, cases[i].name);
    }
}
END_TEST

START_TEST(tensors_that_nothing_uses)
{
    static const char *const names[] = {"blk.2.attn_q.weight", "blk.0.attn_sinks.weight",
                                        "position_embd.weight"};
    uint64_t dims[] = {32, 32};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gguf_builder file = gguf_tiny_llama();
        gguf_tensor_random(&file, names[i], 2, dims, 0.1f);
        refuse(&file, RADLLM_E_UNSUPPORTED, names[i]);
    }
}
END_TEST

/* Whether a model has biases, its other layers and norms tell. */
START_TEST(biases_that_are_lost)
{
    static const struct {
        const char *model, *tensor;
    } lost[] = {
        {"qwen2", "blk.0.attn_k.bias"},        {"qwen2", "blk.1.attn_v.bias"},
        {"gpt2", "blk.0.attn_qkv.bias"},       {"gpt2", "blk.1.ffn_down.bias"},
        {"gpt2", "output_norm.bias"},          {"bloom", "token_embd_norm.bias"},
        {"gpt-oss", "blk.1.attn_output.bias"}, {"gpt-oss", "blk.0.ffn_up_exps.bias"},
    };
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        char path[64], message[64];
        snprintf(path, sizeof path, "tests/golden/architectures/%s-f32.gguf", lost[i].model);
        snprintf(message, sizeof message, "tensor %s is missing", lost[i].tensor);
        gguf_builder file = gguf_load(rad_test_source_path(path));
        gguf_remove_tensor(&file, lost[i].tensor);
        refuse(&file, RADLLM_E_FORMAT, message);
    }
}
END_TEST

START_TEST(tensors_of_types_without_kernels)
{
    uint64_t dims[] = {256, 291};
    gguf_builder file = gguf_tiny_llama();
    gguf_remove_tensor(&file, "token_embd.weight");
    gguf_key_u32(&file, "llama.embedding_length", 256);
    gguf_tensor(&file, "token_embd.weight", 15, 2, dims, NULL, 292 * 291); /* Q8_K */
    refuse(&file, RADLLM_E_UNSUPPORTED, "Q8_K");
    uint64_t width[] = {32};
    file = gguf_tiny_llama();
    gguf_remove_tensor(&file, "output_norm.weight");
    gguf_tensor(&file, "output_norm.weight", 8, 1, width, NULL, 34); /* Q8_0 */
    refuse(&file, RADLLM_E_UNSUPPORTED, "output_norm.weight");
}
END_TEST

START_TEST(rope_divisors_that_are_no_numbers)
{
    static const float values[] = {0.0f, -1.0f, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        gguf_builder file = gguf_tiny_llama();
        uint64_t dims[] = {4};
        gguf_fill_f32(gguf_tensor_random(&file, "rope_freqs.weight", 1, dims, 1.0f), values[i]);
        refuse(&file, RADLLM_E_FORMAT, "rope_freqs.weight");
    }
}
END_TEST

/* Weights that are not numbers: an error, and no endless loop in the sampler. */
START_TEST(weights_that_are_no_numbers)
{
    static const char *const names[] = {"token_embd.weight", "output_norm.weight",
                                        "blk.0.attn_q.weight", "blk.1.ffn_down.weight",
                                        "blk.0.attn_v.weight"};
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const char *const temperatures[] = {"0", "1"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (int v = 0; v < 6; v++) {
            gguf_builder file = gguf_tiny_llama();
            gguf_fill_f32(gguf_find_tensor(&file, names[n]), values[v % 3]);
            gguf_write(&file, rad_test_temp_path("nan.gguf"));
            opened o = open_file(rad_test_temp_path("nan.gguf"), NULL);
            radllm_options *options;
            radllm_request *request;
            rad_assert_ok(radllm_options_new(NULL, &options, o.error), o.error);
            rad_assert_ok(radllm_options_set_integer(options, "max_tokens", 4, o.error), o.error);
            rad_assert_ok(radllm_options_set_text(options, "temperature", temperatures[v / 3],
                                                  RADLLM_NUL, o.error),
                          o.error);
            rad_assert_ok(
                radllm_request_new_complete(o.session, "abc", 3, options, &request, o.error),
                o.error);
            rad_assert_error(radllm_request_run(request, NULL, o.error), RADLLM_E_NUMERIC, o.error,
                             "");
            ck_assert_int_eq(radllm_request_state(request), RADLLM_REQUEST_FAILED);
            radllm_request_free(request);
            /* The same where it must choose among answers. */
            const char *choices[] = {"yes", "no"};
            rad_assert_ok(
                radllm_request_new_complete(o.session, "abc", 3, options, &request, o.error),
                o.error);
            rad_assert_ok(radllm_request_set_choices(request, choices, NULL, 2, o.error), o.error);
            rad_assert_error(radllm_request_run(request, NULL, o.error), RADLLM_E_NUMERIC, o.error,
                             "");
            radllm_request_free(request);
            radllm_options_free(options);
            close_file(&o);
            gguf_builder_free(&file);
        }
    }
}
END_TEST

/* ---- limits -----------------------------------------------------------------------------------
 */

START_TEST(more_tokens_than_the_context)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("good.gguf"));
    opened o = open_file(rad_test_temp_path("good.gguf"), NULL);
    int32_t tokens[200];
    for (int i = 0; i < 200; i++)
        tokens[i] = 5;
    radllm_request *request;
    rad_assert_error(radllm_session_feed(o.session, tokens, 129, NULL, o.error), RADLLM_E_LIMIT,
                     o.error, "context of 128");
    ck_assert_uint_eq(radllm_session_length(o.session), 0);
    rad_assert_error(radllm_request_new_tokens(o.session, tokens, 200, NULL, &request, o.error),
                     RADLLM_E_LIMIT, o.error, "200 tokens");
    rad_assert_ok(radllm_session_feed(o.session, tokens, 128, NULL, o.error), o.error);
    rad_assert_error(radllm_session_feed(o.session, tokens, 1, NULL, o.error), RADLLM_E_LIMIT,
                     o.error, "larger option context");
    tokens[3] = 291;
    rad_assert_ok(radllm_session_rewind(o.session, 0, o.error), o.error);
    rad_assert_error(radllm_session_feed(o.session, tokens, 5, NULL, o.error), RADLLM_E_ARGUMENT,
                     o.error, "token 3 has the id 291");
    tokens[3] = -1;
    rad_assert_error(radllm_session_feed(o.session, tokens, 5, NULL, o.error), RADLLM_E_ARGUMENT,
                     o.error, "token 3 has the id -1");
    close_file(&o);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(a_prompt_of_100_megabytes)
{
    /* A sanitizer would take half a minute. */
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("good.gguf"));
    opened o = open_file(rad_test_temp_path("good.gguf"), NULL);
    size_t size = (RAD_TEST_SANITIZED ? 10u : 100u) << 20;
    char *prompt = malloc(size);
    memset(prompt, 'a', size);
    radllm_request *request;
    rad_assert_error(radllm_request_new_complete(o.session, prompt, size, NULL, &request, o.error),
                     RADLLM_E_LIMIT, o.error, "the context holds 128");
    free(prompt);
    close_file(&o);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(context_and_budget)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("good.gguf");
    gguf_write(&file, path);
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_error_new(&error);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    rad_assert_ok(radllm_options_set_integer(options, "context", 129, error), error);
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_LIMIT, error,
                     "made for 128");
    rad_assert_ok(radllm_options_reset(options, "context", error), error);
    /* Weights alone take about 120 kB; find what fits and see that it does. */
    int64_t weights;
    rad_assert_ok(radllm_model_number(model, "weight_bytes", &weights, error), error);
    rad_assert_ok(radllm_options_set_integer(options, "memory_budget", weights - 1, error), error);
    radllm_model *second;
    rad_assert_error(radllm_model_open(NULL, path, options, NULL, &second, error), RADLLM_E_BUDGET,
                     error, "memory_budget");
    rad_assert_ok(radllm_options_set_integer(options, "memory_budget", weights + 180000, error),
                  error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_BUDGET,
                     error, "largest context that fits is ");
    int largest = atoi(strstr(radllm_error_message(error), "fits is ") + 8);
    ck_assert_int_gt(largest, 0);
    ck_assert_int_lt(largest, 128);
    rad_assert_ok(radllm_options_set_integer(options, "context", largest, error), error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    radllm_engine_free(engine);
    rad_assert_ok(radllm_options_set_integer(options, "context", largest + 1, error), error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_BUDGET,
                     error, "memory budget");
    radllm_options_free(options);
    radllm_model_free(model);
    radllm_error_free(error);
    gguf_builder_free(&file);
}
END_TEST

/* The weight bytes of a model of a codebook format, or -1 where the budget forbids it. */
static int64_t weights_with(const char *layout, int64_t budget)
{
    radllm_error *error;
    radllm_options *options;
    radllm_model *model = NULL;
    int64_t weights = -1;
    radllm_error_new(&error);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    rad_assert_ok(radllm_options_set_text(options, "layout", layout, RADLLM_NUL, error), error);
    rad_assert_ok(radllm_options_set_integer(options, "memory_budget", budget, error), error);
    const char *path = rad_test_source_path("tests/golden/types/iq2_xs.gguf");
    radllm_status status = radllm_model_open(NULL, path, options, NULL, &model, error);
    if (status == RADLLM_OK)
        rad_assert_ok(radllm_model_number(model, "weight_bytes", &weights, error), error);
    else
        ck_assert_int_eq(status, RADLLM_E_BUDGET);
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
    return weights;
}

/* Lanes of a codebook format are larger than the file: they give way to a budget. */
START_TEST(a_small_budget_keeps_the_file_layout)
{
    int64_t lane = weights_with("lane", 0), file = weights_with("file", 0);
    printf("# lane %lld, file %lld bytes\n", (long long)lane, (long long)file);
    ck_assert_int_gt(lane, file);
    ck_assert_int_eq(weights_with("auto", 0), lane);
    ck_assert_int_eq(weights_with("auto", lane), lane);
    ck_assert_int_eq(weights_with("auto", lane - 1), file);
    ck_assert_int_eq(weights_with("auto", file), file);
    ck_assert_int_eq(weights_with("auto", file - 1), -1);
    ck_assert_int_eq(weights_with("lane", lane - 1), -1);
}
END_TEST

/* What the plan says before loading, against what the library then holds. */
START_TEST(the_plan_is_kept)
{
    static const int contexts[] = {64, 1024};
    static const char *const layouts[] = {"file", "lane"};
    for (int i = 0; i < 4; i++) {
        rad_test_memory memory;
        radllm_error *error;
        radllm_host *host;
        radllm_options *options;
        radllm_file *file;
        radllm_plan *plan;
        radllm_model *model;
        radllm_engine *engine;
        radllm_session *session;
        uint64_t planned, opened_bytes;
        rad_test_memory_init(&memory, 0);
        radllm_error_new(&error);
        rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                      error);
        rad_assert_ok(radllm_options_new(host, &options, error), error);
        rad_assert_ok(radllm_options_set_integer(options, "context", contexts[i / 2], error),
                      error);
        rad_assert_ok(radllm_options_set_text(options, "layout", layouts[i % 2], RADLLM_NUL, error),
                      error);
        rad_assert_ok(radllm_file_open(host,
                                       rad_test_source_path("examples/models/radreport-q8_0.gguf"),
                                       &file, error),
                      error);
        opened_bytes = atomic_load(&memory.live_bytes);
        rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
        rad_assert_ok(radllm_plan_number(plan, "total", &planned, error), error);
        radllm_plan_free(plan);
        ck_assert_uint_eq(atomic_load(&memory.live_bytes), opened_bytes);
        rad_assert_ok(radllm_model_load(host, file, options, NULL, &model, error), error);
        rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
        rad_assert_ok(radllm_session_new(engine, &session, error), error);
        double measured = (double)(atomic_load(&memory.live_bytes) - opened_bytes);
        printf("# planned %.0f, measured %.0f bytes\n", (double)planned, measured);
        ck_assert_double_le(measured, (double)planned * 1.02);
        ck_assert_double_ge(measured, (double)planned * 0.98);
        /* Generating takes nothing from the host. */
        unsigned long long before = atomic_load(&memory.n_allocations);
        int32_t tokens[] = {5, 6, 7};
        for (int k = 0; k < 10; k++)
            rad_assert_ok(radllm_session_feed(session, tokens, 3, NULL, error), error);
        ck_assert_uint_eq(atomic_load(&memory.n_allocations), before);
        radllm_session_free(session);
        radllm_engine_free(engine);
        radllm_model_free(model);
        radllm_file_free(file);
        radllm_options_free(options);
        radllm_host_free(host);
        radllm_error_free(error);
        rad_test_memory_check(&memory);
    }
}
END_TEST

/* ---- the file goes away ------------------------------------------------------------------------
 */

static void feed_some(opened *o)
{
    int32_t tokens[] = {1, 5, 9, 40};
    rad_assert_ok(radllm_session_feed(o->session, tokens, 4, NULL, o->error), o->error);
}

START_TEST(the_file_is_deleted_while_mapped)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("mapped.gguf");
    gguf_write(&file, path);
    radllm_options *options;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "load", "map", RADLLM_NUL, NULL);
    opened o = open_file(path, options);
    ck_assert_int_eq(unlink(path), 0);
    feed_some(&o);
    close_file(&o);
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(the_file_is_truncated_after_loading)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("copied.gguf");
    gguf_write(&file, path);
    opened o = open_file(path, NULL);
    ck_assert_int_eq(truncate(path, 100), 0);
    feed_some(&o);
    char hash[65];
    size_t length;
    rad_assert_error(radllm_model_hash(o.model, NULL, hash, sizeof hash, &length, o.error),
                     RADLLM_E_IO, o.error, "copied.gguf");
    close_file(&o);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(a_file_has_the_hash_of_its_models)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("hashed.gguf");
    gguf_write(&file, path);
    char of_file[65] = "", of_model[65] = "", other[65] = "";
    size_t length;
    radllm_error *error;
    radllm_file *opened_file;
    radllm_error_new(&error);
    rad_assert_ok(radllm_file_open(NULL, path, &opened_file, error), error);
    ck_assert_int_eq(radllm_file_hash(opened_file, NULL, NULL, 0, &length, error), RADLLM_E_BUFFER);
    ck_assert_uint_eq(length, 64);
    rad_assert_ok(radllm_file_hash(opened_file, NULL, of_file, 65, &length, error), error);
    ck_assert_uint_eq(strspn(of_file, "0123456789abcdef"), 64);
    opened o = open_file(path, NULL);
    rad_assert_ok(radllm_model_hash(o.model, NULL, of_model, 65, &length, error), error);
    ck_assert_str_eq(of_model, of_file);
    close_file(&o);
    radllm_file_free(opened_file);
    /* Another file has another one; a cancelled call keeps nothing. */
    gguf_key_u32(&file, "general.file_type", 77);
    gguf_write(&file, path);
    radllm_cancel *cancel;
    rad_assert_ok(radllm_cancel_new(NULL, &cancel, error), error);
    radllm_cancel_set(cancel);
    rad_assert_ok(radllm_file_open(NULL, path, &opened_file, error), error);
    ck_assert_int_eq(radllm_file_hash(opened_file, cancel, other, 65, &length, error),
                     RADLLM_E_CANCELLED);
    rad_assert_ok(radllm_file_hash(opened_file, NULL, other, 65, &length, error), error);
    ck_assert_str_ne(other, of_file);
    radllm_cancel_free(cancel);
    radllm_file_free(opened_file);
    radllm_error_free(error);
    gguf_builder_free(&file);
}
END_TEST

/* The last byte anew, and a time of change that no clock was too coarse for. */
static void write_again(const char *path)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, -1, SEEK_END), 0);
    ck_assert_int_eq(fputc(7, file), 7);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

START_TEST(the_file_is_truncated_before_loading)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("short.gguf");
    gguf_write(&file, path);
    radllm_error *error;
    radllm_file *opened_file;
    radllm_model *model;
    radllm_error_new(&error);
    rad_assert_ok(radllm_file_open(NULL, path, &opened_file, error), error);
    ck_assert_int_eq(truncate(path, 8000), 0);
    rad_assert_error(radllm_model_load(NULL, opened_file, NULL, NULL, &model, error), RADLLM_E_IO,
                     error, "short.gguf");
    radllm_file_free(opened_file);
    /* Of the same length, but not the same. */
    gguf_write(&file, path);
    rad_assert_ok(radllm_file_open(NULL, path, &opened_file, error), error);
    write_again(path);
    rad_assert_error(radllm_model_load(NULL, opened_file, NULL, NULL, &model, error), RADLLM_E_IO,
                     error, "short.gguf: the file was written to while it was read");
    radllm_file_free(opened_file);
    radllm_error_free(error);
    gguf_builder_free(&file);
}
END_TEST

/* ---- copied behind the first tokens ---------------------------------------------------------- */

static radllm_options *behind(void)
{
    radllm_options *options;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_options_set_text(options, "load_wait", "no", RADLLM_NUL, NULL),
                     RADLLM_OK);
    return options;
}

START_TEST(the_file_is_deleted_before_it_is_copied)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("behind.gguf");
    gguf_write(&file, path);
    radllm_options *options = behind();
    opened o = open_file(path, options);
    ck_assert_int_eq(unlink(path), 0);
    for (int i = 0; i < 5; i++)
        feed_some(&o);
    close_file(&o);
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(the_file_is_truncated_before_it_is_copied)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("behind.gguf");
    gguf_write(&file, path);
    radllm_options *options = behind();
    int32_t tokens[] = {1, 5, 9, 40};
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    opened o = open_file(path, options);
    ck_assert_int_eq(truncate(path, 8000), 0);
    /* Within this time copying has not begun. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds =
        (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
    bool in_time = seconds < 0.1;
    radllm_status status = radllm_session_feed(o.session, tokens, 4, NULL, o.error);
    if (in_time || status != RADLLM_OK)
        rad_assert_error(status, RADLLM_E_IO, o.error, "behind.gguf");
    radllm_request *request;
    rad_assert_ok(radllm_request_new_tokens(o.session, tokens, 4, NULL, &request, o.error),
                  o.error);
    status = radllm_request_run(request, NULL, o.error);
    if (in_time || status != RADLLM_OK)
        rad_assert_error(status, RADLLM_E_IO, o.error, "behind.gguf");
    radllm_request_free(request);
    close_file(&o);
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(the_file_is_rewritten_before_it_is_copied)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("behind.gguf");
    gguf_write(&file, path);
    radllm_options *options = behind();
    int32_t tokens[] = {1, 5, 9, 40};
    opened o = open_file(path, options);
    write_again(path);
    /* It is told when all was read. */
    const struct timespec moment = {.tv_nsec = 10000000};
    radllm_status status = RADLLM_OK;
    for (int i = 0; i < 3000 && status == RADLLM_OK; i++) {
        status = radllm_session_feed(o.session, tokens, 1, NULL, o.error);
        if (status == RADLLM_OK)
            status = radllm_session_rewind(o.session, 0, o.error);
        nanosleep(&moment, NULL);
    }
    rad_assert_error(status, RADLLM_E_IO, o.error,
                     "behind.gguf: the file was written to while it was read");
    close_file(&o);
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

/* A model that is freed while it is copied, at several moments. */
START_TEST(a_model_is_freed_before_it_is_copied)
{
    gguf_builder file = gguf_tiny_llama();
    const char *path = rad_test_temp_path("behind.gguf");
    gguf_write(&file, path);
    radllm_options *options = behind();
    for (int i = 0; i < 20; i++) {
        opened o = open_file(path, options);
        if (i % 2 == 0)
            feed_some(&o);
        close_file(&o);
    }
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *numbers = rad_test_case(suite, "hyper-parameters");
    tcase_add_test(numbers, a_good_model_is_taken);
    tcase_add_test(numbers, missing_keys);
    tcase_add_test(numbers, keys_of_the_wrong_type);
    tcase_add_test(numbers, messages_name_the_file);
    tcase_add_test(numbers, numbers_out_of_range);
    tcase_add_test(numbers, heads_that_do_not_divide);
    tcase_add_test(numbers, what_this_version_cannot_run);
    tcase_add_test(numbers, odd_rope_scaling_is_survived);
    TCase *tensors = rad_test_case(suite, "tensors");
    tcase_add_test(tensors, missing_tensors);
    tcase_add_test(tensors, tensors_of_the_wrong_shape);
    tcase_add_test(tensors, tensors_that_nothing_uses);
    tcase_add_test(tensors, biases_that_are_lost);
    tcase_add_test(tensors, tensors_of_types_without_kernels);
    tcase_add_test(tensors, rope_divisors_that_are_no_numbers);
    tcase_add_test(tensors, weights_that_are_no_numbers);
    TCase *limits = rad_test_case(suite, "limits");
    tcase_add_test(limits, more_tokens_than_the_context);
    tcase_add_test(limits, a_prompt_of_100_megabytes);
    tcase_add_test(limits, context_and_budget);
    tcase_add_test(limits, a_small_budget_keeps_the_file_layout);
    tcase_add_test(limits, the_plan_is_kept);
    TCase *files = rad_test_case(suite, "files that change");
    tcase_add_test(files, the_file_is_deleted_while_mapped);
    tcase_add_test(files, the_file_is_truncated_after_loading);
    tcase_add_test(files, the_file_is_truncated_before_loading);
    tcase_add_test(files, the_file_is_deleted_before_it_is_copied);
    tcase_add_test(files, the_file_is_truncated_before_it_is_copied);
    tcase_add_test(files, the_file_is_rewritten_before_it_is_copied);
    tcase_add_test(files, a_model_is_freed_before_it_is_copied);
    tcase_add_test(files, a_file_has_the_hash_of_its_models);
}

int main(void)
{
    return rad_test_main("model", add_cases);
}
