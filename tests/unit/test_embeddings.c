/* Embeddings by the public header: what is asked for wrongly, what a damaged file lacks, memory
 * that is short, calls that are cancelled, and company of other calls. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "unit/harness.h"

#define BERT    "tests/golden/encoders/bert-f32.gguf"
#define DECODER "tests/golden/encoders/qwen3-embedding-f32.gguf"
#define PLAIN   "tests/golden/architectures/qwen3-q8_0.gguf"

enum { WIDTH = 32 };

typedef struct opened {
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
} opened;

static void set(const opened *o, const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(o->options, key, value, RADLLM_NUL, o->error), o->error);
}

static opened open_model(const char *path)
{
    opened o = {0};
    ck_assert_int_eq(radllm_error_new(&o.error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &o.options, o.error), o.error);
    set(&o, "threads", "2");
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_source_path(path), o.options, NULL, &o.model, o.error),
        o.error);
    rad_assert_ok(radllm_engine_new(NULL, o.model, o.options, &o.engine, o.error), o.error);
    return o;
}

static void close_model(opened *o)
{
    radllm_engine_free(o->engine);
    radllm_model_free(o->model);
    radllm_options_free(o->options);
    radllm_error_free(o->error);
}

static radllm_status embed(const opened *o, const char *text, size_t length, float *vector)
{
    size_t needed;
    return radllm_embed(o->engine, &text, &length, 1, o->options, NULL, vector, WIDTH, &needed,
                        o->error);
}

START_TEST(wrong_calls_are_refused)
{
    opened o = open_model(BERT);
    float vector[WIDTH] = {0};
    const char *texts[] = {"a", NULL};
    const int32_t good[] = {5}, bad[] = {5, 500};
    const int32_t *tokens[] = {good, bad};
    size_t counts[] = {1, 2}, needed = 0;
    rad_assert_error(
        radllm_embed(o.engine, texts, NULL, 2, NULL, NULL, vector, WIDTH, &needed, o.error),
        RADLLM_E_ARGUMENT, o.error, "text 1 is NULL");
    rad_assert_error(
        radllm_embed(o.engine, texts, NULL, 1, NULL, NULL, vector, WIDTH - 1, &needed, o.error),
        RADLLM_E_BUFFER, o.error, "32 floats");
    ck_assert_uint_eq(needed, WIDTH);
    rad_assert_error(radllm_embed(o.engine, texts, NULL, 1, NULL, NULL, NULL, 1, &needed, o.error),
                     RADLLM_E_ARGUMENT, o.error, "vectors");
    rad_assert_error(radllm_embed(o.engine, texts, NULL, SIZE_MAX / 64, NULL, NULL, vector, WIDTH,
                                  &needed, o.error),
                     RADLLM_E_ARGUMENT, o.error, "at most");
    float two[2 * WIDTH];
    rad_assert_error(radllm_embed_tokens(o.engine, tokens, counts, 2, NULL, NULL, two, 2 * WIDTH,
                                         &needed, o.error),
                     RADLLM_E_ARGUMENT, o.error, "text 1: token 1 has the id 500");
    counts[0] = 0;
    rad_assert_error(radllm_embed_tokens(o.engine, tokens, counts, 1, NULL, NULL, two, 2 * WIDTH,
                                         &needed, o.error),
                     RADLLM_E_ARGUMENT, o.error, "no tokens");
    counts[0] = SIZE_MAX; /* is never read */
    rad_assert_error(radllm_embed_tokens(o.engine, tokens, counts, 1, NULL, NULL, two, 2 * WIDTH,
                                         &needed, o.error),
                     RADLLM_E_LIMIT, o.error, "the context holds 96");
    rad_assert_ok(radllm_embed(o.engine, NULL, NULL, 0, NULL, NULL, NULL, 0, &needed, o.error),
                  o.error);
    ck_assert_uint_eq(needed, 0);
    radllm_session *session = NULL;
    rad_assert_error(radllm_session_new(o.engine, &session, o.error), RADLLM_E_UNSUPPORTED, o.error,
                     "radllm_embed()");
    close_model(&o);
}
END_TEST

/* An empty text has its frame alone; NUL is a byte like others; what is too long can be cut. */
START_TEST(odd_texts_have_vectors)
{
    opened o = open_model(BERT);
    float vector[WIDTH], other[WIDTH];
    char text[2000];
    memset(text, 'a', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = ' ';
    rad_assert_ok(embed(&o, "", 0, vector), o.error);
    rad_assert_ok(embed(&o, "chest\0", 6, vector), o.error);
    rad_assert_ok(embed(&o, "\xff\xfe\0\x80", 4, other), o.error);
    rad_assert_error(embed(&o, text, sizeof text, vector), RADLLM_E_LIMIT, o.error, "truncate");
    set(&o, "truncate", "1");
    rad_assert_ok(embed(&o, text, sizeof text, vector), o.error);
    rad_assert_ok(embed(&o, text, 2 * (96 - 2), other), o.error); /* as long as fits its frame */
    ck_assert_mem_eq(vector, other, sizeof vector);
    close_model(&o);
}
END_TEST

START_TEST(decoders_need_pooling_and_a_session)
{
    opened o = open_model(PLAIN), own = open_model(DECODER);
    float vector[64];
    size_t needed;
    const char *text = "x";
    radllm_session *session;
    rad_assert_error(
        radllm_embed(o.engine, &text, NULL, 1, o.options, NULL, vector, 64, &needed, o.error),
        RADLLM_E_UNSUPPORTED, o.error, "no embedding model");
    set(&o, "pooling", "mean");
    rad_assert_ok(
        radllm_embed(o.engine, &text, NULL, 1, o.options, NULL, vector, 64, &needed, o.error),
        o.error);
    rad_assert_ok(embed(&own, text, 1, vector), own.error);
    rad_assert_ok(radllm_session_new(own.engine, &session, own.error), own.error);
    rad_assert_error(embed(&own, text, 1, vector), RADLLM_E_LIMIT, own.error, "sessions");
    radllm_session_free(session);
    rad_assert_ok(embed(&own, text, 1, vector), own.error);
    rad_assert_ok(radllm_session_new(own.engine, &session, own.error), own.error);
    radllm_session_free(session);
    close_model(&o);
    close_model(&own);
}
END_TEST

START_TEST(options_of_endless_texts_are_refused)
{
    opened o = open_model(BERT);
    radllm_engine *engine = NULL;
    set(&o, "attention", "window");
    set(&o, "window", "16");
    rad_assert_error(radllm_engine_new(NULL, o.model, o.options, &engine, o.error),
                     RADLLM_E_ARGUMENT, o.error, "attention");
    radllm_options_reset(o.options, "attention", NULL);
    radllm_options_reset(o.options, "window", NULL);
    set(&o, "context", "97");
    rad_assert_error(radllm_engine_new(NULL, o.model, o.options, &engine, o.error), RADLLM_E_LIMIT,
                     o.error, "lower the option context");
    ck_assert_ptr_null(engine);
    close_model(&o);
}
END_TEST

START_TEST(a_cancelled_call_leaves_nothing)
{
    opened o = open_model(BERT);
    radllm_cancel *cancel;
    float vector[WIDTH], again[WIDTH];
    const char *text = "the chest";
    size_t needed;
    rad_assert_ok(embed(&o, text, 9, vector), o.error);
    rad_assert_ok(radllm_cancel_new(NULL, &cancel, o.error), o.error);
    radllm_cancel_set(cancel);
    rad_assert_error(
        radllm_embed(o.engine, &text, NULL, 1, NULL, cancel, again, WIDTH, &needed, o.error),
        RADLLM_E_CANCELLED, o.error, "cancelled");
    rad_assert_ok(embed(&o, text, 9, again), o.error);
    ck_assert_mem_eq(vector, again, sizeof vector);
    radllm_cancel_free(cancel);
    close_model(&o);
}
END_TEST

/* ---- damaged files --------------------------------------------------------------------------- */

/* The file with `from` written over by `to`, which is as long. */
static void refuse_changed(const char *from, const char *to, radllm_status expected,
                           const char *part)
{
    size_t size, n = strlen(from);
    char *bytes = (char *)rad_test_read_file(rad_test_source_path(BERT), &size), *found = NULL;
    radllm_model *model = NULL;
    radllm_error *error;
    ck_assert_uint_eq(n, strlen(to));
    for (size_t i = 0; i + n <= size && found == NULL; i++) {
        if (memcmp(bytes + i, from, n) == 0)
            found = bytes + i;
    }
    ck_assert_ptr_nonnull(found);
    memcpy(found, to, n);
    const char *path = rad_test_temp_path("changed.gguf");
    rad_test_write_file(path, bytes, size);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_error(radllm_model_open(NULL, path, NULL, NULL, &model, error), expected, error,
                     part);
    ck_assert_ptr_null(model);
    radllm_error_free(error);
    free(bytes);
}

START_TEST(what_a_file_lacks_is_named)
{
    refuse_changed("token_types.weight", "token_typos.weight", RADLLM_E_FORMAT,
                   "token_types.weight");
    refuse_changed("position_embd.weight", "positions_embd.weigh", RADLLM_E_FORMAT,
                   "position_embd.weight");
    refuse_changed("blk.1.layer_output_norm.bias", "blk.1.layer_output_norm.bios",
                   RADLLM_E_UNSUPPORTED, "bios");
    refuse_changed("bert.attention.layer_norm_epsilon", "bert.attention.layer_norm_epsilom",
                   RADLLM_E_FORMAT, "layer_norm_epsilon");
}
END_TEST

/* ---- memory and threads -----------------------------------------------------------------------
 */

static radllm_status embed_within(rad_test_memory *memory, radllm_model *model)
{
    const char *texts[] = {"the chest", "", "no"};
    float vectors[3 * WIDTH];
    size_t needed;
    radllm_host *host = NULL;
    radllm_engine *engine = NULL;
    radllm_status status =
        radllm_host_new(rad_test_allocate, rad_test_release, memory, &host, NULL);
    if (status == RADLLM_OK)
        status = radllm_engine_new(host, model, NULL, &engine, NULL);
    if (status == RADLLM_OK)
        status =
            radllm_embed(engine, texts, NULL, 3, NULL, NULL, vectors, 3 * WIDTH, &needed, NULL);
    radllm_engine_free(engine);
    radllm_host_free(host);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    opened o = open_model(BERT);
    uint64_t n = 1;
    radllm_status status;
    do {
        rad_test_memory memory;
        rad_test_memory_init(&memory, n++);
        status = embed_within(&memory, o.model);
        rad_test_memory_check(&memory);
        ck_assert(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    } while (status != RADLLM_OK && n < 1000);
    ck_assert_int_eq(status, RADLLM_OK);
    close_model(&o);
}
END_TEST

/* Returns NULL where all went well. */
static void *embed_often(void *data)
{
    const opened *o = data;
    const char *texts[] = {"the chest", "no acute finding", "a"};
    float vectors[3 * WIDTH];
    size_t needed;
    for (int i = 0; i < 20; i++) {
        if (radllm_embed(o->engine, texts, NULL, 3, NULL, NULL, vectors, 3 * WIDTH, &needed,
                         NULL) != RADLLM_OK)
            return data;
    }
    return NULL;
}

START_TEST(calls_of_several_threads_take_turns)
{
    opened o = open_model(BERT);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, embed_often, &o), 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    close_model(&o);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *calls = rad_test_case(suite, "calls");
    tcase_add_test(calls, wrong_calls_are_refused);
    tcase_add_test(calls, odd_texts_have_vectors);
    tcase_add_test(calls, decoders_need_pooling_and_a_session);
    tcase_add_test(calls, options_of_endless_texts_are_refused);
    tcase_add_test(calls, a_cancelled_call_leaves_nothing);
    tcase_add_test(calls, what_a_file_lacks_is_named);
    tcase_add_test(calls, every_allocation_may_fail);
    tcase_add_test(calls, calls_of_several_threads_take_turns);
}

int main(void)
{
    return rad_test_main("embeddings", add_cases);
}
