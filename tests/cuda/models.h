/* What tests of whole models on devices share: models of tests/golden, options, an encoder. */
#ifndef RAD_TEST_CUDA_MODELS_H
#define RAD_TEST_CUDA_MODELS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/opened.h"

static inline const char *model_path(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, "tests/golden/%s.gguf", name);
    return rad_test_source_path(relative);
}

/* "key=value" pairs, separated by blanks. Engines do not check the device, which takes long here:
 * test_check.c is there for that. */
static inline radllm_options *options_on(const char *device, const char *pairs)
{
    radllm_options *options = NULL;
    radllm_error error = {.status = RADLLM_OK};
    char text[1024], *rest = text;
    rad_assert_ok(radllm_options_new(NULL, &options, &error), &error);
    snprintf(text, sizeof text, "device=%s threads=1 gpu_check=0 %s", device, pairs);
    for (char *pair = strtok_r(text, " ", &rest); pair != NULL; pair = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        rad_assert_ok(radllm_options_set_text(options, pair, equals + 1, RADLLM_NUL, &error),
                      &error);
    }
    return options;
}

/* The vectors of n_texts texts; n_gpus (NULL: not asked for): how many the engine computes on. */
static inline size_t embed_with(const radllm_options *options, const char *name,
                                const int32_t *const *texts, const size_t *lengths, size_t n_texts,
                                float *vectors, size_t capacity, int64_t *n_gpus)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_model *model = NULL;
    radllm_engine *engine = NULL;
    size_t n = 0;
    rad_assert_ok(radllm_model_open(NULL, model_path(name), options, NULL, &model, &error), &error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, &error), &error);
    if (n_gpus != NULL)
        rad_assert_ok(radllm_engine_number(engine, "gpu_count", n_gpus, &error), &error);
    rad_assert_ok(radllm_embed_tokens(engine, texts, lengths, n_texts, options, NULL, vectors,
                                      capacity, &n, &error),
                  &error);
    radllm_engine_free(engine);
    radllm_model_free(model);
    return n;
}

/* By the emulated device's counts at its end. */
static inline unsigned long long calls_of(const char *path, const char *name)
{
    char found[32];
    unsigned long long n, calls = UINT64_MAX;
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fscanf(file, "%31s %llu", found, &n) == 2)
        calls = strcmp(found, name) == 0 ? n : calls;
    (void)fclose(file);
    return calls;
}

/* Closes a file on the emulated device: how many graphs were launched. */
static inline unsigned long long graphs_at_end(opened *o)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    setenv("RAD_EMULATED_COUNTS", path, 1);
    close_file(o);
    unsetenv("RAD_EMULATED_COUNTS");
    return calls_of(path, "graph_launch");
}

#endif
