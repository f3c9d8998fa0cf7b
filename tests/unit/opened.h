/* A model file opened with everything that a session needs. */
#ifndef RAD_TEST_OPENED_H
#define RAD_TEST_OPENED_H

#include "unit/harness.h"

typedef struct opened {
    radllm_error *error;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
} opened;

static inline opened open_by_host(const radllm_host *host, const char *path,
                                  const radllm_options *options)
{
    opened o;
    ck_assert_int_eq(radllm_error_new(&o.error), RADLLM_OK);
    rad_assert_ok(radllm_model_open(host, path, options, NULL, &o.model, o.error), o.error);
    rad_assert_ok(radllm_engine_new(host, o.model, options, &o.engine, o.error), o.error);
    rad_assert_ok(radllm_session_new(o.engine, &o.session, o.error), o.error);
    return o;
}

static inline opened open_file(const char *path, const radllm_options *options)
{
    return open_by_host(NULL, path, options);
}

static inline void close_file(opened *o)
{
    radllm_session_free(o->session);
    radllm_engine_free(o->engine);
    radllm_model_free(o->model);
    radllm_error_free(o->error);
}

#endif
