/* The number formats of cached keys and values by the public API: chosen apart, counted as planned,
 * and the same logits however a text is cut. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

enum { N_IDS = 70, MAX_VOCAB = 4096 };

static const char *const types[] = {"f32", "f16", "bf16", "fp8", "q8_0", "q4_0"};
static const double bits[] = {32, 16, 16, 8, 8.5, 4.5};
enum { N_TYPES = sizeof types / sizeof *types };

static radllm_error *error;
static radllm_model *model;
static radllm_options *options;

static void set_text(const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

static void setup(void)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("cache.gguf"));
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_text("threads", "2");
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_temp_path("cache.gguf"), options, NULL, &model, error),
        error);
}

static void teardown(void)
{
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
}

typedef struct last_logits {
    float values[MAX_VOCAB];
    uint32_t n;
} last_logits;

static int32_t keep(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)position;
    last_logits *out = user;
    out->n = n_vocab < MAX_VOCAB ? n_vocab : MAX_VOCAB;
    memcpy(out->values, logits, out->n * sizeof *logits);
    return 0;
}

/* The logits behind a fixed text, computed `chunk` tokens at a time. */
static void logits_of(radllm_engine *engine, int chunk, last_logits *out)
{
    radllm_session *session;
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++)
        ids[i] = 1 + i * 7 % 20;
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    for (int i = 0; i < N_IDS; i += chunk)
        rad_assert_ok(radllm_session_feed_each(session, ids + i,
                                               (size_t)(N_IDS - i < chunk ? N_IDS - i : chunk),
                                               keep, out, NULL, error),
                      error);
    radllm_session_free(session);
}

static int64_t number_of(const radllm_engine *engine, const char *name)
{
    int64_t value = 0;
    rad_assert_ok(radllm_engine_number(engine, name, &value, error), error);
    return value;
}

/* Keys in one format and values in another: the name, the bytes, and equal logits by any chunk. */
static void check_pair(int keys, int values, const last_logits *exact)
{
    radllm_engine *engine;
    char name[32], expected[32];
    static last_logits first, second;
    set_text("cache", types[keys]);
    set_text("cache_keys", "auto");
    set_text("cache_values", types[values]);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    rad_assert_ok(radllm_engine_text(engine, "cache_type", name, sizeof name, NULL, error), error);
    snprintf(expected, sizeof expected, keys == values ? "%s" : "%s/%s", types[keys],
             types[values]);
    ck_assert_str_eq(name, expected);
    logits_of(engine, N_IDS, &first);
    logits_of(engine, 3, &second);
    ck_assert_uint_gt(first.n, 0);
    ck_assert_int_eq(memcmp(first.values, second.values, first.n * sizeof(float)), 0);
    double difference = 0, size = 0;
    for (uint32_t i = 0; i < first.n; i++) {
        difference += pow((double)first.values[i] - (double)exact->values[i], 2);
        size += pow((double)exact->values[i], 2);
    }
    double rough = bits[keys] < bits[values] ? bits[keys] : bits[values];
    ck_assert_double_le(sqrt(difference / size), rough < 8 ? 0.5 : rough < 16 ? 0.2 : 0.02);
    if (keys != 0 || values != 0) /* and the format was really used */
        ck_assert_double_gt(difference, 0);
    radllm_engine_free(engine);
}

START_TEST(keys_and_values_have_formats_of_their_own)
{
    static last_logits exact;
    radllm_engine *engine;
    set_text("cache", "f32");
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    logits_of(engine, N_IDS, &exact);
    radllm_engine_free(engine);
    for (int keys = 0; keys < N_TYPES; keys++) {
        for (int values = 0; values < N_TYPES; values++)
            check_pair(keys, values, &exact);
    }
}
END_TEST

START_TEST(the_plan_counts_the_format)
{
    radllm_file *file;
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("cache.gguf"), &file, error), error);
    for (int type = 0; type < N_TYPES; type++) {
        radllm_plan *plan;
        radllm_engine *engine;
        uint64_t bytes = 0;
        set_text("cache_keys", types[type]);
        set_text("cache_values", types[N_TYPES - 1 - type]);
        rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
        rad_assert_ok(radllm_plan_number(plan, "cache", &bytes, error), error);
        rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
        ck_assert_uint_eq(bytes, (uint64_t)number_of(engine, "cache_bytes"));
        int64_t positions = number_of(engine, "context");
        int64_t of_positions = positions * number_of(engine, "cache_position_bytes");
        ck_assert_int_ge((int64_t)bytes, of_positions);
        ck_assert_int_le((int64_t)bytes, 2 * of_positions);
        radllm_engine_free(engine);
        radllm_plan_free(plan);
    }
    radllm_file_free(file);
}
END_TEST

START_TEST(other_formats_are_refused)
{
    static const char *const keys[] = {"cache", "cache_keys", "cache_values"};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(radllm_options_set_text(options, keys[i], "q5_0", RADLLM_NUL, error),
                         RADLLM_E_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(radllm_error_message(error), "q8_0"));
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "cache formats");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, keys_and_values_have_formats_of_their_own);
    tcase_add_test(cases, the_plan_counts_the_format);
    tcase_add_test(cases, other_formats_are_refused);
}

int main(void)
{
    return rad_test_main("cache_formats", add_cases);
}
