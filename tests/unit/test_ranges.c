/* Attention behind more positions than a range of keys has: the same bits whether a thread computes
 * all ranges of a head or several threads one each, whatever the tokens come with. */
#include <stdio.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/harness.h"

/* Two borders of ranges, one of them among the last tokens. */
enum { N_TOKENS = 2060, LAST = 30, CONTEXT = 2100 };

typedef struct way {
    int threads, batch, piece;
    const char *isa;
} way;

/* The last tokens at once, in whole blocks of queries; then few at a time, by many threads. */
static const way ways[] = {{1, 512, LAST, "auto"},
                           {3, 512, 1, "auto"},
                           {8, 300, 1, "auto"},
                           {8, 512, 4, "auto"},
                           {2, 64, 7, "scalar"}};

/* What sanitizers look for does not need all of them. */
#if RAD_TEST_SANITIZED
enum { N_WAYS = 2 };
#else
enum { N_WAYS = sizeof ways / sizeof *ways };
#endif

typedef struct model_case {
    const char *name;
    const char *settings[4][2];
} model_case;

static const model_case cases[] = {
    {"llama3-gqa-tied", {{"cache", "f16"}}},
    {"llama3-gqa-tied", {{"cache", "q8_0"}}},
    {"llama3-gqa-tied", {{"attention", "sinks"}, {"sinks", "40"}, {"window", "1500"}}},
    {"gemma2", {{"cache", "f32"}}},
    {"gpt-oss", {{"attention", "full"}}}, /* learned sinks */
    {"bloom", {{"cache", "q4_0"}}},
    {"deepseek2-v3", {{"cache", "f16"}}},
};

static radllm_error *error;

static void set_integer(radllm_options *options, const char *key, int64_t value)
{
    rad_assert_ok(radllm_options_set_integer(options, key, value, error), error);
}

static void set_text(radllm_options *options, const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

static int32_t add_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)position;
    uint64_t *hash = user;
    const uint8_t *bytes = (const uint8_t *)logits;
    for (size_t i = 0; i < n_vocab * sizeof *logits; i++)
        *hash = (*hash ^ bytes[i]) * 1099511628211u;
    return 0;
}

static uint64_t hash_of(const model_case *which, const way *how)
{
    char path[128];
    int32_t ids[N_TOKENS];
    uint64_t hash = 14695981039346656037u;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    snprintf(path, sizeof path, "tests/golden/architectures/%s-q8_0.gguf", which->name);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_integer(options, "threads", how->threads);
    set_integer(options, "batch", how->batch);
    set_integer(options, "context", CONTEXT);
    set_text(options, "context_limit", "ignore");
    set_text(options, "isa", how->isa);
    for (int i = 0; which->settings[i][0] != NULL; i++)
        set_text(options, which->settings[i][0], which->settings[i][1]);
    rad_assert_ok(radllm_model_open(NULL, rad_test_source_path(path), options, NULL, &model, error),
                  error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = 3 + (i * 37 + i / 50) % 200;
    rad_assert_ok(radllm_session_feed(session, ids, N_TOKENS - LAST, NULL, error), error);
    for (int i = N_TOKENS - LAST; i < N_TOKENS; i += how->piece)
        rad_assert_ok(radllm_session_feed_each(
                          session, ids + i,
                          (size_t)(N_TOKENS - i < how->piece ? N_TOKENS - i : how->piece),
                          add_logits, &hash, NULL, error),
                      error);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_options_free(options);
    return hash;
}

START_TEST(ranges_do_not_depend_on_who_computes_them)
{
    const model_case *which = &cases[_i];
    if (RAD_TEST_SANITIZED && _i % 2 != 0)
        return;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    uint64_t expected = hash_of(which, &ways[0]);
    for (size_t i = 1; i < N_WAYS; i++)
        ck_assert_msg(hash_of(which, &ways[i]) == expected, "%s, %s %s: way %zu", which->name,
                      which->settings[0][0], which->settings[0][1], i);
    radllm_error_free(error);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *tests = rad_test_case(suite, "ranges");
    tcase_add_loop_test(tests, ranges_do_not_depend_on_who_computes_them, 0,
                        RAD_TEST_RACES_ONLY ? 2 : sizeof cases / sizeof *cases);
}

int main(void)
{
    return rad_test_main("ranges", add_cases);
}
