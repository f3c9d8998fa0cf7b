#include "golden/logits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "unit/harness.h"

typedef struct collector {
    float *rows;
    uint32_t n_vocab;
    size_t count;
} collector;

static int32_t collect(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    collector *c = user;
    ck_assert_uint_eq(position, c->count);
    ck_assert_uint_eq(n_vocab, c->n_vocab);
    memcpy(c->rows + c->count * n_vocab, logits, n_vocab * sizeof *logits);
    c->count++;
    return 0;
}

float *rad_test_logits(const char *path, const radllm_options *options, const int32_t *ids,
                       size_t n_ids, size_t chunk, uint32_t *n_vocab)
{
    radllm_error *error;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    int64_t size;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    rad_assert_ok(radllm_model_number(model, "vocab_size", &size, error), error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    collector c = {.n_vocab = (uint32_t)size};
    c.rows = malloc(n_ids * (size_t)size * sizeof *c.rows);
    ck_assert_ptr_nonnull(c.rows);
    for (size_t done = 0; done < n_ids;) {
        size_t n = chunk == 0 || n_ids - done < chunk ? n_ids - done : chunk;
        rad_assert_ok(radllm_session_feed_each(session, ids + done, n, collect, &c, NULL, error),
                      error);
        done += n;
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_error_free(error);
    *n_vocab = c.n_vocab;
    return c.rows;
}

double rad_test_relative_error(const float *values, const float *golden, size_t n)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)values[i] - (double)golden[i];
        difference += d * d;
        norm += (double)golden[i] * (double)golden[i];
    }
    return sqrt(difference / norm);
}
