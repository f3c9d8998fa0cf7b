/* What the tests of attention policies share: the policies, sessions under them, and a hash of the
 * logits at each position. */
#ifndef RAD_TEST_POLICIES_H
#define RAD_TEST_POLICIES_H

#include <stdio.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

enum { LONG = 420, CONTEXT = 128 };

typedef struct policy {
    const char *attention;
    int64_t window, sinks, period; /* 0: not set */
} policy;

/* Sinks that share a tile with the window, that fill tiles, and that do both. */
static const policy policies[] = {{"window", 24, 0, 0},    {"window", 100, 0, 0},
                                  {"sinks", 29, 3, 0},     {"sinks", 33, 40, 0},
                                  {"sinks", 48, 64, 0},    {"recompute", 20, 0, 0},
                                  {"recompute", 40, 0, 8}, {"recompute", 17, 0, 17}};
enum { N_POLICIES = sizeof policies / sizeof *policies };

static radllm_error *error;
static radllm_options *options;

static inline void set_integer(const char *key, int64_t value)
{
    rad_assert_ok(radllm_options_set_integer(options, key, value, error), error);
}

static inline void set_text(const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

static inline void set_policy(const policy *p)
{
    static const char *const keys[] = {"window", "sinks", "recompute_period"};
    const int64_t values[] = {p->window, p->sinks, p->period};
    set_text("attention", p->attention);
    for (int i = 0; i < 3; i++) {
        rad_assert_ok(radllm_options_reset(options, keys[i], error), error);
        if (values[i] > 0)
            set_integer(keys[i], values[i]);
    }
}

static inline void setup(void)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("tiny.gguf"));
    gguf_key_u32(&file, "llama.attention.sliding_window", 24);
    gguf_write(&file, rad_test_temp_path("windowed.gguf"));
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_integer("threads", 2);
}

static inline void teardown(void)
{
    radllm_options_free(options);
    radllm_error_free(error);
}

static inline radllm_model *open_model(const char *path)
{
    radllm_model *model;
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    return model;
}

typedef struct running {
    radllm_engine *engine;
    radllm_session *session;
} running;

static inline running start(radllm_model *model)
{
    running r;
    rad_assert_ok(radllm_engine_new(NULL, model, options, &r.engine, error), error);
    rad_assert_ok(radllm_session_new(r.engine, &r.session, error), error);
    return r;
}

static inline void stop(running *r)
{
    radllm_session_free(r->session);
    radllm_engine_free(r->engine);
}

static inline void make_tokens(int32_t *tokens, int count, uint32_t state)
{
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((state >> 8) % 250);
    }
}

/* One hash for the logits of each position. */
typedef struct trace {
    uint64_t hashes[LONG];
    uint32_t next;
} trace;

static inline uint64_t hash_logits(const float *logits, uint32_t n_vocab)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < n_vocab * sizeof *logits; i++)
        hash = (hash ^ ((const uint8_t *)logits)[i]) * 1099511628211u;
    return hash;
}

static inline int32_t note(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    trace *t = user;
    ck_assert_uint_eq(position, t->next);
    t->hashes[t->next++] = hash_logits(logits, n_vocab);
    return 0;
}

static inline void feed(radllm_session *session, const int32_t *tokens, int count, int chunk,
                        trace *t)
{
    for (int done = 0; done < count; done += chunk) {
        int n = count - done < chunk ? count - done : chunk;
        rad_assert_ok(
            radllm_session_feed_each(session, tokens + done, (size_t)n, note, t, NULL, error),
            error);
    }
}

static inline trace compute(radllm_model *model, const int32_t *tokens, int count, int batch,
                            int chunk)
{
    trace t = {.next = 0};
    set_integer("batch", batch);
    running r = start(model);
    feed(r.session, tokens, count, chunk, &t);
    ck_assert_uint_eq(radllm_session_length(r.session), (uint32_t)count);
    stop(&r);
    return t;
}

static inline uint64_t last_hash(radllm_session *session)
{
    static float logits[1 << 17];
    size_t count;
    rad_assert_ok(radllm_session_logits(session, logits, 1 << 17, &count, error), error);
    return hash_logits(logits, (uint32_t)count);
}

/* A model's file, by a test's number: all kinds of windows. */
static inline const char *model_path(int i)
{
    static const char *const golden[] = {"gemma2-f32", "gpt-oss-q8_0", "mistral-window-q8_0",
                                         "qwen2-tied-yarn-q8_0"};
    char path[96];
    if (i == 0)
        return rad_test_temp_path("tiny.gguf");
    snprintf(path, sizeof path, "tests/golden/architectures/%s.gguf", golden[i - 1]);
    return rad_test_source_path(path);
}
enum { N_MODELS = 5 };

#endif
