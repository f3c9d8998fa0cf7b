/* Models that give embeddings, as GGUF files and as folders, against the vectors that
 * `transformers` computed from the same weights (tools/oracle/make_encoders.py). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden/logits.h"
#include "unit/harness.h"

enum { MOST_IDS = 128, MOST_TEXTS = 8 };

static const char *folders;

static const struct {
    const char *file;   /* in tests/golden/encoders */
    const char *folder; /* with the same weights; NULL: none */
    bool folder_alone;  /* the GGUF file's vocabulary is of a kind that is refused */
} models[] = {
    {"bert-f32", "bert", false},
    {"bert-q8_0", NULL, false},
    {"nomic-bert-f32", "nomic-bert", false},
    {"nomic-bert-q8_0", NULL, false},
    {"xlm-roberta-f32", "xlm-roberta", true},
    {"qwen3-embedding-f32", "qwen3-embedding", false},
    {"qwen3-embedding-q8_0", NULL, false},
};

typedef struct golden {
    int32_t ids[MOST_IDS];
    size_t n_ids, width;
    double tolerance;
    char pooling[8];
    float *hidden;
    json_t *json;
} golden;

static golden read_golden(const char *name)
{
    golden g = {0};
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/golden/encoders/%s.ids.json", name);
    g.json = json_load_file(rad_test_source_path(path), JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(g.json);
    json_t *ids = json_object_get(g.json, "ids");
    g.n_ids = json_array_size(ids);
    ck_assert_uint_le(g.n_ids, MOST_IDS);
    for (size_t i = 0; i < g.n_ids; i++)
        g.ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    g.tolerance = json_real_value(json_object_get(g.json, "tolerance"));
    snprintf(g.pooling, sizeof g.pooling, "%s",
             json_string_value(json_object_get(g.json, "pooling")));
    snprintf(path, sizeof path, "tests/golden/encoders/%s.hidden.f32", name);
    g.hidden = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    g.width = size / sizeof(float) / g.n_ids;
    return g;
}

static void free_golden(golden *g)
{
    json_decref(g->json);
    free(g->hidden);
}

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

static opened open_model(const char *path, const char *load, const char *adapter, bool merge)
{
    opened o = {0};
    ck_assert_int_eq(radllm_error_new(&o.error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &o.options, o.error), o.error);
    set(&o, "load", load);
    set(&o, "cache", "f32");
    if (adapter != NULL)
        set(&o, "adapter", adapter);
    set(&o, "adapter_merge", merge ? "true" : "false");
    rad_assert_ok(radllm_model_open(NULL, path, o.options, NULL, &o.model, o.error), o.error);
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

/* Vectors of the golden ids under an option pooling, by malloc. */
static float *embed(const opened *o, const golden *g, const char *pooling, const char *normalize)
{
    const int32_t *tokens = g->ids;
    size_t n = strcmp(pooling, "none") == 0 ? g->n_ids * g->width : g->width, length;
    float *vectors = malloc(n * sizeof *vectors);
    ck_assert_ptr_nonnull(vectors);
    set(o, "pooling", pooling);
    set(o, "normalize", normalize);
    rad_assert_ok(radllm_embed_tokens(o->engine, &tokens, &g->n_ids, 1, o->options, NULL, vectors,
                                      n, &length, o->error),
                  o->error);
    ck_assert_uint_eq(length, n);
    return vectors;
}

/* What pooling makes of the golden vectors, brought to length 1. */
static void pool(const golden *g, const char *pooling, float *out)
{
    double norm = 0.0;
    for (size_t i = 0; i < g->width; i++) {
        double value = 0.0;
        for (size_t t = 0; t < g->n_ids; t++)
            value += (double)g->hidden[t * g->width + i] / (double)g->n_ids;
        if (strcmp(pooling, "cls") == 0)
            value = (double)g->hidden[i];
        if (strcmp(pooling, "last") == 0)
            value = (double)g->hidden[(g->n_ids - 1) * g->width + i];
        out[i] = (float)value;
        norm += value * value;
    }
    for (size_t i = 0; i < g->width; i++)
        out[i] = (float)((double)out[i] / sqrt(norm));
}

static void check_vectors(const opened *o, const golden *g, const char *what)
{
    static const char *const poolings[] = {"mean", "cls", "last"};
    float *tokens = embed(o, g, "none", "auto"), expected[256];
    double error = rad_test_relative_error(tokens, g->hidden, g->n_ids * g->width);
    printf("# %s: relative error %.3g (at most %.3g)\n", what, error, g->tolerance);
    ck_assert_msg(error < g->tolerance, "relative error %g", error);
    ck_assert_uint_le(g->width, 256);
    for (size_t i = 0; i < sizeof poolings / sizeof *poolings; i++) {
        float *vector = embed(o, g, poolings[i], "on");
        pool(g, poolings[i], expected);
        ck_assert(rad_test_relative_error(vector, expected, g->width) < g->tolerance);
        if (strcmp(poolings[i], g->pooling) == 0) { /* which is what the model says */
            float *own = embed(o, g, "auto", "auto");
            ck_assert_mem_eq(own, vector, g->width * sizeof *own);
            free(own);
        }
        free(vector);
    }
    free(tokens);
}

/* The texts become the tokens that the `tokenizers` package makes of them, and have one embedding
 * as text and as tokens, alone and together. */
static void check_texts(const opened *o, const golden *g)
{
    json_t *list = json_object_get(g->json, "texts"), *entry;
    const char *texts[MOST_TEXTS];
    size_t lengths[MOST_TEXTS], count = json_array_size(list), i, length;
    ck_assert_uint_le(count, MOST_TEXTS);
    float *together = malloc(count * g->width * sizeof *together), alone[256];
    set(o, "pooling", "auto");
    set(o, "normalize", "auto");
    json_array_foreach(list, i, entry)
    {
        json_t *text = json_array_get(entry, 0), *ids = json_array_get(entry, 1);
        int32_t tokens[MOST_IDS];
        size_t n;
        texts[i] = json_string_value(text);
        lengths[i] = json_string_length(text);
        rad_assert_ok(radllm_tokenize(o->model, texts[i], lengths[i], RADLLM_TOKENIZE_ADD_SPECIAL,
                                      tokens, MOST_IDS, &n, o->error),
                      o->error);
        ck_assert_uint_eq(n, json_array_size(ids));
        for (size_t t = 0; t < n; t++)
            ck_assert_int_eq(tokens[t], json_integer_value(json_array_get(ids, t)));
    }
    rad_assert_ok(radllm_embed(o->engine, texts, lengths, count, o->options, NULL, together,
                               count * g->width, &length, o->error),
                  o->error);
    for (i = 0; i < count; i++) {
        rad_assert_ok(radllm_embed(o->engine, &texts[i], &lengths[i], 1, o->options, NULL, alone,
                                   g->width, &length, o->error),
                      o->error);
        ck_assert_mem_eq(alone, together + i * g->width, g->width * sizeof *alone);
    }
    free(together);
}

START_TEST(file_agrees)
{
    char path[256];
    if (models[_i].folder_alone)
        return;
    golden g = read_golden(models[_i].file);
    snprintf(path, sizeof path, "tests/golden/encoders/%s.gguf", models[_i].file);
    opened o = open_model(rad_test_source_path(path), "copy", NULL, false);
    check_vectors(&o, &g, models[_i].file);
    check_texts(&o, &g);
    close_model(&o);
    free_golden(&g);
}
END_TEST

/* The folder has the same vectors, mapped as well. */
START_TEST(folder_agrees)
{
    if (models[_i].folder == NULL)
        return;
    golden g = read_golden(models[_i].file);
    char path[1024], gguf[256];
    snprintf(path, sizeof path, "%s/%s", folders, models[_i].folder);
    snprintf(gguf, sizeof gguf, "tests/golden/encoders/%s.gguf", models[_i].file);
    opened copied = open_model(path, "copy", NULL, false),
           mapped = open_model(path, "map", NULL, false),
           file = open_model(models[_i].folder_alone ? path : rad_test_source_path(gguf), "copy",
                             NULL, false);
    check_vectors(&copied, &g, path);
    check_texts(&copied, &g);
    float *a = embed(&copied, &g, "auto", "auto"), *b = embed(&mapped, &g, "auto", "auto"),
          *c = embed(&file, &g, "auto", "auto");
    ck_assert_mem_eq(a, b, g.width * sizeof *a);
    ck_assert_mem_eq(a, c, g.width * sizeof *a);
    free(a);
    free(b);
    free(c);
    close_model(&copied);
    close_model(&mapped);
    close_model(&file);
    free_golden(&g);
}
END_TEST

static void write_merged(const char *model, const char *adapter, const char *out)
{
    opened o = {0};
    radllm_file *file;
    radllm_quantization *plan;
    ck_assert_int_eq(radllm_error_new(&o.error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &o.options, o.error), o.error);
    set(&o, "adapter", adapter);
    set(&o, "quantize", "COPY");
    rad_assert_ok(radllm_file_open(NULL, model, &file, o.error), o.error);
    rad_assert_ok(radllm_quantization_new(NULL, file, NULL, o.options, &plan, o.error), o.error);
    rad_assert_ok(radllm_quantization_write(plan, out, NULL, o.error), o.error);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    close_model(&o);
}

/* Vectors of the last tokens with an adapter, beside the model and merged, by its folder and by
 * GGUF (tools/oracle/make_adapters.py). */
START_TEST(adapter_agrees)
{
    static const char *const names[][2] = {{"bert", "bert-all"},
                                           {"qwen3-embedding", "qwen3-embedding-all"},
                                           {"nomic-bert", "nomic-bert-all"}};
    char path[1024], adapter[256], model[64];
    size_t size;
    snprintf(path, sizeof path, "tests/golden/adapters/%s.logits.f32", names[_i][1]);
    float *expected = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    snprintf(path, sizeof path, "tests/golden/adapters/%s", names[_i][1]);
    snprintf(adapter, sizeof adapter, "%s", rad_test_source_path(path));
    snprintf(model, sizeof model, "%s-f32", names[_i][0]);
    golden g = read_golden(model);
    const size_t n = size / sizeof *expected;
    g.n_ids = 16; /* of the adapter's golden file, the first ones of the encoder's */
    for (int way = 0; way < 6; way++) { /* the last two: merged into a file */
        char gguf[256], source[1024];
        snprintf(gguf, sizeof gguf, "tests/golden/encoders/%s.gguf", model);
        snprintf(path, sizeof path, "%s/%s", folders, names[_i][0]);
        snprintf(source, sizeof source, "%s", way % 4 < 2 ? rad_test_source_path(gguf) : path);
        if (way >= 4)
            write_merged(way == 4 ? source : path, adapter, rad_test_temp_path("merged.gguf"));
        opened o = way >= 4 ? open_model(rad_test_temp_path("merged.gguf"), "copy", NULL, false)
                            : open_model(source, "copy", adapter, way % 2 == 1);
        float *vectors = embed(&o, &g, "none", "auto");
        double error = rad_test_relative_error(vectors + g.n_ids * g.width - n, expected, n);
        printf("# %s, way %d: relative error %.3g (at most 1e-5)\n", names[_i][1], way, error);
        ck_assert_msg(error < 1e-5, "relative error %g", error);
        free(vectors);
        close_model(&o);
    }
    free(expected);
    free_golden(&g);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "embeddings");
    tcase_add_loop_test(cases, adapter_agrees, 0, 3);
    tcase_add_loop_test(cases, file_agrees, 0, sizeof models / sizeof *models);
    tcase_add_loop_test(cases, folder_agrees, 0, sizeof models / sizeof *models);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_embeddings", add_cases);
}
