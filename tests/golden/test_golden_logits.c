/* Logits of the small random models of tests/golden against independent implementations
 * (tests/golden/README.md says how they were made). */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/logits.h"
#include "unit/harness.h"

typedef struct golden {
    json_t *json;
    int32_t *ids;
    size_t n_ids;
    float *logits;
    uint32_t n_vocab;
} golden;

static const char *golden_path(const char *folder, const char *name, const char *ending)
{
    char relative[512];
    snprintf(relative, sizeof relative, "tests/golden/%s/%s%s", folder, name, ending);
    return rad_test_source_path(relative);
}

static float *read_floats(const char *path, size_t n)
{
    size_t size;
    uint8_t *bytes = rad_test_read_file(path, &size);
    ck_assert_uint_eq(size, n * sizeof(float));
    return (float *)(void *)bytes;
}

static golden read_golden(const char *folder, const char *name)
{
    golden g = {0};
    json_error_t failure;
    g.json = json_load_file(golden_path(folder, name, ".ids.json"), 0, &failure);
    ck_assert_msg(g.json != NULL, "%s: %s", name, failure.text);
    json_t *ids = json_object_get(g.json, "ids");
    g.n_ids = json_array_size(ids);
    g.ids = malloc(g.n_ids * sizeof *g.ids);
    for (size_t i = 0; i < g.n_ids; i++)
        g.ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    g.n_vocab = (uint32_t)json_integer_value(json_object_get(g.json, "n_vocab"));
    ck_assert_uint_eq(g.n_ids, (size_t)json_integer_value(json_object_get(g.json, "n_positions")));
    g.logits = read_floats(golden_path(folder, name, ".logits.f32"), g.n_ids * g.n_vocab);
    return g;
}

static void free_golden(golden *g)
{
    json_decref(g->json);
    free(g->ids);
    free(g->logits);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over the last positions of the error against the contract's own arithmetic, done by
 * another implementation in float64. */
static double contract_error(const golden *g, const char *folder, const char *name,
                             const float *logits)
{
    json_t *positions = json_object_get(g->json, "contract_positions");
    if (positions == NULL)
        return 0.0;
    size_t n = (size_t)json_integer_value(positions);
    float *expected =
        read_floats(golden_path(folder, name, ".contract.logits.f32"), n * g->n_vocab);
    double *errors = malloc(n * sizeof *errors);
    for (size_t i = 0; i < n; i++)
        errors[i] = rad_test_relative_error(logits + (g->n_ids - n + i) * g->n_vocab,
                                            expected + i * g->n_vocab, g->n_vocab);
    qsort(errors, n, sizeof *errors, compare_doubles);
    double median = errors[n / 2];
    free(errors);
    free(expected);
    return median;
}

static void check_file(const char *folder, const char *name)
{
    golden g = read_golden(folder, name);
    radllm_options *options;
    uint32_t n_vocab;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL), RADLLM_OK);
    float *logits =
        rad_test_logits(golden_path(folder, name, ".gguf"), options, g.ids, g.n_ids, 0, &n_vocab);
    ck_assert_uint_eq(n_vocab, g.n_vocab);
    double error = rad_test_relative_error(logits, g.logits, g.n_ids * n_vocab);
    double tolerance = json_real_value(json_object_get(g.json, "tolerance"));
    double contract = contract_error(&g, folder, name, logits);
    printf("# %s: relative error %.3g (at most %.3g), to the contract %.3g\n", name, error,
           tolerance, contract);
    ck_assert_msg(error < tolerance, "%s: relative error %g is not below %g", name, error,
                  tolerance);
    ck_assert_msg(contract < 1e-5, "%s: error to the contract %g is not below 1e-5", name,
                  contract);
    free(logits);
    radllm_options_free(options);
    free_golden(&g);
}

static size_t check_folder(const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "tests/golden/%s", folder);
    DIR *directory = opendir(rad_test_source_path(path));
    ck_assert_ptr_nonnull(directory);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[256];
        size_t size = strlen(entry->d_name);
        if (size < 10 || strcmp(entry->d_name + size - 9, ".ids.json") != 0)
            continue;
        memcpy(name, entry->d_name, size - 9);
        name[size - 9] = '\0';
        check_file(folder, name);
        count++;
    }
    closedir(directory);
    return count;
}

START_TEST(architectures_agree)
{
    ck_assert_uint_ge(check_folder("architectures"), 46);
}
END_TEST

START_TEST(types_agree)
{
    ck_assert_uint_ge(check_folder("types"), 29);
}
END_TEST

/* The trained model of the shared data: ids and logits computed in double precision. */
START_TEST(stories_agree)
{
    const char *shared = rad_test_shared_path("models/stories260K/expected_greedy.json");
    if (shared == NULL)
        RAD_SKIP("the shared test data is absent");
    json_t *json = json_load_file(shared, 0, NULL);
    json_t *tokens = json_object_get(json, "tokens");
    size_t n = json_array_size(tokens);
    ck_assert_uint_ge(n, 100);
    int32_t *ids = malloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    uint32_t n_vocab;
    float *logits = rad_test_logits(rad_test_shared_path("models/stories260K/stories260K.gguf"),
                                    NULL, ids, n, 0, &n_vocab);
    float *expected = read_floats(
        rad_test_shared_path("models/stories260K/expected_logits_first32.f32"), 32 * n_vocab);
    double worst = 0.0;
    for (size_t i = 0; i < 32 * n_vocab; i++)
        worst = fmax(worst, fabs((double)logits[i] - (double)expected[i]));
    printf("# stories260K: greatest difference of a logit %.3g\n", worst);
    ck_assert(worst < 1e-3);
    for (size_t i = 0; i + 1 < n; i++) {
        const float *row = logits + i * n_vocab;
        uint32_t best = 0;
        for (uint32_t t = 1; t < n_vocab; t++)
            best = row[t] > row[best] ? t : best;
        ck_assert_int_eq((int32_t)best, ids[i + 1]);
    }
    free(logits);
    free(expected);
    free(ids);
    json_decref(json);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "golden logits");
    tcase_add_test(cases, architectures_agree);
    tcase_add_test(cases, types_agree);
    tcase_add_test(cases, stories_agree);
}

int main(void)
{
    return rad_test_main("golden_logits", add_cases);
}
