/* What tests of sessions on devices share: texts of some length, and their last logits. */
#ifndef RAD_TEST_CUDA_TEXTS_H
#define RAD_TEST_CUDA_TEXTS_H

#include <stdlib.h>

#include "cuda/models.h"

#define LONG 76

static inline int32_t long_id(uint32_t i)
{
    return (int32_t)(3 + (i * 7919u + i / 5u) % 60u);
}

/* The last logits of a text that is fed in pieces of `chunk`. */
static inline void feed(opened *o, uint32_t first, uint32_t last, uint32_t chunk)
{
    int32_t tokens[LONG];
    for (uint32_t i = first; i < last; i++)
        tokens[i] = long_id(i);
    for (uint32_t i = first; i < last; i += chunk) {
        uint32_t n = last - i < chunk ? last - i : chunk;
        rad_assert_ok(radllm_session_feed(o->session, tokens + i, n, NULL, o->error), o->error);
    }
}

static inline float *last_logits(const opened *o)
{
    size_t n;
    int64_t n_vocab;
    rad_assert_ok(radllm_model_number(o->model, "vocab_size", &n_vocab, o->error), o->error);
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    rad_assert_ok(radllm_session_logits(o->session, logits, (size_t)n_vocab, &n, o->error),
                  o->error);
    return logits;
}

static inline void assert_same_logits(const opened *a, const opened *b, const char *what)
{
    int64_t n_vocab;
    rad_assert_ok(radllm_model_number(a->model, "vocab_size", &n_vocab, a->error), a->error);
    float *x = last_logits(a), *y = last_logits(b);
    ck_assert_msg(memcmp(x, y, (size_t)n_vocab * sizeof *x) == 0, "%s", what);
    free(x);
    free(y);
}

static inline opened open_on(const char *device, const char *name, const char *pairs)
{
    radllm_options *options = options_on(device, pairs);
    opened o = open_file(model_path(name), options);
    radllm_options_free(options);
    return o;
}

#endif
