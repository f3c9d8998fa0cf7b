/* Models of three kinds, engines, prompts that begin alike, and all that an answer is. */
#ifndef RAD_TEST_ASKING_H
#define RAD_TEST_ASKING_H

#include <string.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

#ifndef RAD_ASKING_TOKENS
#define RAD_ASKING_TOKENS 12 /* of an answer */
#endif
enum { MAX_TOKENS = RAD_ASKING_TOKENS, CONTEXT = 1024, WINDOW = 70 };

static radllm_error *error;
static radllm_model *model;
static radllm_options *options;

static inline void set_integer(const char *key, int64_t value)
{
    rad_assert_ok(radllm_options_set_integer(options, key, value, error), error);
}

static inline void set_text(const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

/* 0: all layers look at everything; 1: some look at a window; 2: all do. */
enum { KINDS = 3 };

static inline gguf_builder make_model(int kind)
{
    if (kind == 0) {
        gguf_builder file = gguf_tiny_llama();
        gguf_key_u32(&file, "llama.context_length", CONTEXT);
        return file;
    }
    gguf_builder file = gguf_load(
        rad_test_source_path(kind == 1 ? "tests/golden/architectures/gemma2-q8_0.gguf"
                                       : "tests/golden/architectures/mistral-window-q8_0.gguf"));
    gguf_key_u32(&file, kind == 1 ? "gemma2.context_length" : "llama.context_length", CONTEXT);
    gguf_key_u32(&file,
                 kind == 1 ? "gemma2.attention.sliding_window" : "llama.attention.sliding_window",
                 WINDOW);
    return file;
}

static inline void open_builder(gguf_builder file)
{
    gguf_write(&file, rad_test_temp_path("sharing.gguf"));
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_integer("threads", 2);
    set_integer("max_tokens", MAX_TOKENS);
    set_integer("ignore_end", 1);
    set_text("temperature", "0.8");
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL, &model, error),
        error);
}

static inline void open_kind(int kind)
{
    open_builder(make_model(kind));
}

static inline void close_model(void)
{
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
}

static inline radllm_engine *new_engine(int n_sessions, int batch, int context)
{
    radllm_engine *engine;
    set_integer("sessions", n_sessions);
    set_integer("batch", batch);
    set_integer("context", context);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    return engine;
}

static inline radllm_session *new_session(radllm_engine *engine)
{
    radllm_session *session;
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    return session;
}

static inline int64_t number(const radllm_engine *engine, const char *name)
{
    int64_t value = -1;
    rad_assert_ok(radllm_engine_number(engine, name, &value, error), error);
    return value;
}

/* A prompt: `shared` tokens that are the same for each `family`, then its own. */
typedef struct prompt {
    int32_t ids[CONTEXT];
    size_t n;
} prompt;

static inline int32_t next_id(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (int32_t)(3 + (*state >> 8) % 280);
}

static inline prompt make_prompt(uint32_t family, size_t shared, uint32_t own, size_t n)
{
    prompt p = {.n = n};
    uint32_t common = family * 7919 + 1, single = own * 104729 + 5;
    for (size_t i = 0; i < n; i++)
        p.ids[i] = i < shared ? next_id(&common) : next_id(&single);
    return p;
}

typedef struct result {
    int32_t tokens[MAX_TOKENS];
    uint64_t hash; /* of all logits */
    int64_t reused;
} result;

static inline int32_t add_logits(void *user, uint32_t position, const float *logits,
                                 uint32_t n_vocab)
{
    (void)position;
    const uint8_t *bytes = (const uint8_t *)logits;
    uint64_t *hash = user;
    for (size_t i = 0; i < n_vocab * sizeof *logits; i++)
        *hash = (*hash ^ bytes[i]) * 1099511628211u;
    return 0;
}

static inline radllm_request *new_request(radllm_session *session, const prompt *p, result *out)
{
    radllm_request *request;
    memset(out, 0, sizeof *out);
    rad_assert_ok(radllm_request_new_tokens(session, p->ids, p->n, options, &request, error),
                  error);
    rad_assert_ok(radllm_request_set_logits(request, add_logits, &out->hash, error), error);
    return request;
}

static inline void read_result(radllm_request *request, result *out)
{
    rad_assert_ok(radllm_request_status(request, error), error);
    for (uint64_t i = 0; i < MAX_TOKENS; i++) {
        radllm_answer_token token = {.size = sizeof token};
        rad_assert_ok(radllm_request_token(request, i, &token, error), error);
        out->tokens[i] = token.token;
    }
    rad_assert_ok(radllm_request_number(request, "reused_tokens", &out->reused, error), error);
    radllm_request_free(request);
}

static inline result ask(radllm_session *session, const prompt *p)
{
    result r;
    radllm_request *request = new_request(session, p, &r);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    read_result(request, &r);
    return r;
}

/* By a session that computes everything itself. */
static inline result ask_alone(const prompt *p)
{
    set_integer("prefix_cache", 0);
    radllm_engine *engine = new_engine(1, 512, CONTEXT);
    set_integer("prefix_cache", 1);
    radllm_session *session = new_session(engine);
    result r = ask(session, p);
    ck_assert_int_eq(r.reused, 0);
    ck_assert_int_eq(number(engine, "tokens_shared"), 0);
    radllm_session_free(session);
    radllm_engine_free(engine);
    return r;
}

static inline void assert_same(const result *got, const result *expected)
{
    ck_assert_mem_eq(got->tokens, expected->tokens, sizeof got->tokens);
    ck_assert_uint_eq(got->hash, expected->hash);
}

/* No page is lost: all are free when nothing holds them. */
static inline void close_engine(radllm_engine *engine, int64_t n_pages)
{
    rad_assert_ok(radllm_engine_clear_prefixes(engine, error), error);
    ck_assert_int_eq(number(engine, "prefix_blocks"), 0);
    ck_assert_int_eq(number(engine, "prefix_bytes"), 0);
    ck_assert_int_eq(number(engine, "pages_free"), n_pages);
    radllm_engine_free(engine);
}

#endif
