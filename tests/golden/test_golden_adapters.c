/* Adapters as PEFT saves them, and GGUF files of the same, against the logits that `peft` and
 * `transformers` compute; on models from folders, from GGUF, and on quantized ones. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "golden/logits.h"
#include "unit/harness.h"

static const char *folders;

typedef struct golden {
    char base[64];
    int32_t ids[64];
    size_t n_ids, n_positions;
    struct {
        char name[64];
        double scale;
    } adapters[4];
    size_t n_adapters;
    float *logits;
    size_t n_logits;
} golden;

static golden read_golden(const char *name)
{
    golden g = {0};
    char path[256];
    snprintf(path, sizeof path, "tests/golden/adapters/%s.json", name);
    json_t *json = json_load_file(rad_test_source_path(path), 0, NULL);
    ck_assert_ptr_nonnull(json);
    snprintf(g.base, sizeof g.base, "%s", json_string_value(json_object_get(json, "base")));
    json_t *ids = json_object_get(json, "ids"), *adapters = json_object_get(json, "adapters");
    g.n_ids = json_array_size(ids);
    ck_assert_uint_le(g.n_ids, 64);
    for (size_t i = 0; i < g.n_ids; i++)
        g.ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    g.n_adapters = json_array_size(adapters);
    for (size_t i = 0; i < g.n_adapters; i++) {
        json_t *pair = json_array_get(adapters, i);
        snprintf(g.adapters[i].name, sizeof g.adapters[i].name, "%s",
                 json_string_value(json_array_get(pair, 0)));
        g.adapters[i].scale = json_number_value(json_array_get(pair, 1));
    }
    g.n_positions = (size_t)json_integer_value(json_object_get(json, "n_positions"));
    json_decref(json);
    snprintf(path, sizeof path, "tests/golden/adapters/%s.logits.f32", name);
    size_t size;
    g.logits = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    g.n_logits = size / sizeof(float);
    return g;
}

static radllm_options *options_of(const golden *g, const char *ending)
{
    radllm_options *options;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    for (size_t i = 0; i < g->n_adapters && ending != NULL; i++) {
        char path[256], item[1024];
        snprintf(path, sizeof path, "tests/golden/adapters/%s%s", g->adapters[i].name, ending);
        snprintf(item, sizeof item, "%s=%g", rad_test_source_path(path), g->adapters[i].scale);
        ck_assert_int_eq(radllm_options_set_text(options, "adapter", item, RADLLM_NUL, NULL),
                         RADLLM_OK);
    }
    return options;
}

/* Logits of the last positions with the adapters, whose names get `ending` (NULL: without). load:
 * an option, where they are to be merged; NULL: they are not. */
static float *logits_of(const char *model, const golden *g, const char *ending, const char *load)
{
    radllm_options *options = options_of(g, ending);
    uint32_t n_vocab;
    if (load != NULL) {
        radllm_options_set_integer(options, "adapter_merge", 1, NULL);
        radllm_options_set_text(options, "load", load, RADLLM_NUL, NULL);
    }
    float *all = rad_test_logits(model, options, g->ids, g->n_ids, 5, &n_vocab);
    radllm_options_free(options);
    size_t n = g->n_positions * n_vocab;
    ck_assert_uint_eq(n, g->n_logits);
    memmove(all, all + (g->n_ids - g->n_positions) * n_vocab, n * sizeof *all);
    return all;
}

static const struct {
    const char *name;
    bool in_folder, in_gguf; /* its base is a folder; tests/golden/architectures/BASE-f32.gguf */
    bool as_gguf;            /* the adapter is there as GGUF as well */
    bool ties; /* it changes an embedding that is the output too: it is merged into files only */
} all[] = {
    {"llama-whole", true, true, false, false},
    {"phi3-whole", true, false, false, false},
    {"gpt2-whole", true, true, false, false},
    {"llama-dora", true, true, false, false},
    {"gpt2-dora", true, true, false, false},
    {"llama-all", true, true, true, false},
    {"llama-attention", true, true, false, false},
    {"llama-both", true, true, false, false},
    {"llama-grouped", true, true, true, true},
    {"qwen2-head", true, true, false, false},
    {"gemma2-embedding", true, true, true, true},
    {"mixtral-attention", true, true, false, false},
    {"gpt2-all", true, true, false, false},
    {"bloom-attention", true, true, true, false},
    {"phi3-fused", true, false, false, false},
    {"deepseek2-lite-all", true, true, false, false},
    {"deepseek2-v3-all", true, true, false, false},
    {"deepseek2-lite-dora", true, true, false, false},
    {"llama-all-q8_0", false, false, true, false},
    {"gpt2-all-q8_0", false, false, false, false},
    {"qwen3moe-parameters", true, true, false, false},
    {"gpt-oss-parameters", true, true, false, false},
    {"mixtral-gates", true, true, false, false},
    {"mixtral-gates-first", true, true, false, false},
    {"mixtral-experts", true, true, true, false},
    {"mixtral-experts-q8_0", false, false, true, false},
    {"tied-head", true, true, false, true},
    {"tied-embedding", true, true, false, true},
};

static void compare(const char *what, const char *model, const golden *g, const char *ending,
                    double tolerance)
{
    float *logits = logits_of(model, g, ending, NULL);
    double error = rad_test_relative_error(logits, g->logits, g->n_logits);
    printf("# %s%s on %s: relative error %.3g (at most %.3g)\n", what, ending, model, error,
           tolerance);
    ck_assert_msg(error < tolerance, "relative error %g", error);
    free(logits);
}

/* A file that the adapters were merged into when it was written: where it is made of another one,
 * it gives the bits that merging at loading gives. */
static void compare_written(const char *model, const golden *g, const float *merged,
                            double tolerance)
{
    char path[256];
    radllm_file *file;
    radllm_quantization *plan;
    radllm_options *options = options_of(g, "");
    radllm_options_set_text(options, "quantize", "COPY", RADLLM_NUL, NULL);
    snprintf(path, sizeof path, "%s", rad_test_temp_path("merged.gguf"));
    ck_assert_int_eq(radllm_file_open(NULL, model, &file, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_quantization_new(NULL, file, NULL, options, &plan, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_quantization_write(plan, path, NULL, NULL), RADLLM_OK);
    uint64_t n = 0;
    ck_assert_int_eq(radllm_quantization_number(plan, "merged", &n, NULL), RADLLM_OK);
    ck_assert_uint_gt(n, 0);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    float *written = logits_of(path, g, NULL, NULL);
    double error = rad_test_relative_error(written, g->logits, g->n_logits);
    printf("# written of %s: relative error %.3g (at most %.3g)\n", model, error, tolerance);
    ck_assert_msg(error < tolerance, "relative error %g", error);
    if (strstr(model, ".gguf") != NULL && merged != NULL)
        ck_assert_mem_eq(written, merged, g->n_logits * sizeof *merged);
    free(written);
}

static void compare_merged(const char *model, const golden *g, double tolerance)
{
    float *copied = logits_of(model, g, "", "copy"), *mapped = logits_of(model, g, "", "map");
    double error = rad_test_relative_error(copied, g->logits, g->n_logits);
    printf("# merged into %s: relative error %.3g (at most %.3g)\n", model, error, tolerance);
    ck_assert_msg(error < tolerance, "relative error %g", error);
    ck_assert_mem_eq(copied, mapped, g->n_logits * sizeof *copied);
    compare_written(model, g, copied, tolerance);
    free(copied);
    free(mapped);
}

static void compare_both(int index, const char *model, const golden *g, double tolerance)
{
    compare(all[index].name, model, g, "", tolerance);
    if (all[index].as_gguf)
        compare(all[index].name, model, g, ".gguf", tolerance);
    if (all[index].ties)
        compare_written(model, g, NULL, tolerance);
    else
        compare_merged(model, g, tolerance < 1e-2 ? tolerance : 2 * tolerance); /* rounded twice */
}

/* Whole tensors, and lengths of rows (DoRA). */
static bool only_merged(const char *name)
{
    return strstr(name, "-whole") != NULL || strstr(name, "-dora") != NULL ||
           strncmp(name, "tied-", 5) == 0;
}

static void compare_only_merged(int index, const char *model, const golden *g)
{
    if (all[index].ties)
        compare_written(model, g, NULL, 1e-4);
    else
        compare_merged(model, g, 1e-4);
}

START_TEST(adapter_agrees)
{
    golden g = read_golden(all[_i].name);
    char path[1024], file[256];
    snprintf(path, sizeof path, "%s/%s", folders, g.base);
    if (only_merged(all[_i].name)) {
        if (all[_i].in_folder)
            compare_only_merged(_i, path, &g);
        if (!all[_i].in_gguf) {
            free(g.logits);
            return;
        }
        snprintf(file, sizeof file, "tests/golden/architectures/%s-f32.gguf", g.base);
        compare_only_merged(_i, rad_test_source_path(file), &g);
        free(g.logits);
        return;
    }
    if (all[_i].in_folder)
        compare_both(_i, path, &g, 1e-4);
    snprintf(file, sizeof file, "tests/golden/architectures/%s%s.gguf", g.base,
             all[_i].in_gguf ? "-f32" : "");
    snprintf(path, sizeof path, "%s", rad_test_source_path(file));
    if (all[_i].in_gguf || !all[_i].in_folder) /* the bound of tests/golden for Q8_0 */
        compare_both(_i, path, &g, all[_i].in_gguf ? 1e-4 : 2e-2);
    free(g.logits);
}
END_TEST

/* Into the matrix that is both: neither a pair nor a whole tensor. */
START_TEST(tied_matrices_are_not_merged)
{
    static const char *const names[] = {"llama-grouped", "tied-head"};
    radllm_options *options;
    radllm_error *error;
    radllm_model *model;
    char path[256], adapter[256];
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    snprintf(path, sizeof path, "%s",
             rad_test_source_path("tests/golden/architectures/llama3-gqa-tied-f32.gguf"));
    snprintf(adapter, sizeof adapter, "tests/golden/adapters/%s", names[_i]);
    radllm_options_set_text(options, "adapter", rad_test_source_path(adapter), RADLLM_NUL, NULL);
    radllm_options_set_integer(options, "adapter_merge", 1, NULL);
    rad_assert_error(radllm_model_open(NULL, path, options, NULL, &model, error),
                     RADLLM_E_UNSUPPORTED, error, "one matrix in this model: merge it into a file");
    radllm_options_free(options);
    radllm_error_free(error);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "adapters");
    tcase_add_loop_test(cases, tied_matrices_are_not_merged, 0, 2);
    tcase_add_loop_test(cases, adapter_agrees, 0, sizeof all / sizeof *all);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_adapters", add_cases);
}
