/* Quantized folders made by the packages that people publish with (tools/oracle/make_published.py):
 * decoded weights against what the package decodes, by their hashes, bit for bit; logits against
 * what `transformers` computes from those in double precision; or the refusal that is meant.
 *
 * Usage: test_golden_published [FOLDER_OF_CASES] (tests/golden/published) */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "golden/decoded.h"
#include "golden/logits.h"

enum { CASES_MAX = 256 };

static const char *folder;
static char names[CASES_MAX][128];
static int n_cases;
static rad_test_memory memory;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Each NAME.json is a case. */
static void find_cases(void)
{
    DIR *all = opendir(folder);
    for (struct dirent *entry; all != NULL && (entry = readdir(all)) != NULL;) {
        size_t size = strlen(entry->d_name);
        if (size > 5 && size < sizeof *names && n_cases < CASES_MAX &&
            strcmp(entry->d_name + size - 5, ".json") == 0) {
            memcpy(names[n_cases], entry->d_name, size - 5);
            n_cases++;
        }
    }
    if (all != NULL)
        closedir(all);
    qsort(names, (size_t)n_cases, sizeof *names, by_name);
}

static json_t *read_case(int i, char path[1024])
{
    snprintf(path, 1024, "%s/%s.json", folder, names[i]);
    json_t *json = json_load_file(path, 0, NULL);
    ck_assert_msg(json != NULL, "%s", path);
    snprintf(path, 1024, "%s/%s", folder, names[i]);
    return json;
}

static void hash_of(const rad_source *source, const char *name, char text[65])
{
    uint8_t digest[32];
    const rad_tensor *tensor = rad_source_find_tensor(source, name);
    ck_assert_msg(tensor != NULL, "%s is missing", name);
    const uint64_t rows = tensor->n_elements / tensor->dims[0];
    float *values = rad_test_decoded(source, tensor, 0, rows);
    for (uint64_t i = 0; i < tensor->n_elements; i++)
        values[i] += 0.0f; /* zeros without a sign */
    rad_sha256(values, (size_t)tensor->n_elements * sizeof *values, digest);
    for (int i = 0; i < 32; i++)
        snprintf(text + i * 2, 3, "%02x", digest[i]);
    free(values);
}

START_TEST(weights_are_the_packages)
{
    char path[1024], hash[65];
    const char *name;
    json_t *json = read_case(_i, path), *wanted;
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *source = NULL;
    radllm_error error = {.status = RADLLM_OK};
    if (json_object_get(json, "refuse") == NULL) {
        rad_assert_ok(rad_source_open(&host, path, &source, &error), &error);
        json_object_foreach(json_object_get(json, "tensors"), name, wanted)
        {
            hash_of(source, name, hash);
            ck_assert_msg(strcmp(hash, json_string_value(wanted)) == 0, "%s: %s", names[_i], name);
        }
        rad_source_release(source);
    }
    json_decref(json);
    rad_test_memory_check(&memory);
}
END_TEST

static void check_refusal(int i, const char *path, const char *says)
{
    radllm_error *error;
    radllm_model *model = NULL;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    ck_assert_msg(radllm_model_open(NULL, path, NULL, NULL, &model, error) != RADLLM_OK,
                  "%s is not refused", names[i]);
    printf("# %s: %s\n", names[i], radllm_error_message(error));
    ck_assert_msg(strstr(radllm_error_message(error), says) != NULL, "%s", names[i]);
    radllm_error_free(error);
}

static float *logits_of(const char *path, const json_t *json, const char *key, const char *value,
                        size_t *n)
{
    int32_t ids[64];
    const json_t *list = json_object_get(json, "ids");
    const size_t n_ids = json_array_size(list);
    radllm_options *options;
    uint32_t n_vocab;
    ck_assert_uint_le(n_ids, 64);
    for (size_t i = 0; i < n_ids; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    ck_assert_int_eq(radllm_options_set_text(options, key, value, RADLLM_NUL, NULL), RADLLM_OK);
    float *logits = rad_test_logits(path, options, ids, n_ids, 0, &n_vocab);
    radllm_options_free(options);
    *n = n_ids * n_vocab;
    return logits;
}

START_TEST(logits_agree)
{
    static const char *const ways[][2] = {{"load", "map"}, {"isa", "scalar"}};
    char path[1024], file[1100];
    size_t size, n;
    json_t *json = read_case(_i, path);
    const char *refusal = json_string_value(json_object_get(json, "refuse"));
    if (refusal != NULL) {
        check_refusal(_i, path, refusal);
        json_decref(json);
        return;
    }
    float *logits = logits_of(path, json, "load", "copy", &n);
    snprintf(file, sizeof file, "%s.logits.f32", path);
    float *golden = (float *)(void *)rad_test_read_file(file, &size);
    ck_assert_uint_eq(size, n * sizeof *golden);
    const double error = rad_test_relative_error(logits, golden, n),
                 most = json_number_value(json_object_get(json, "tolerance"));
    printf("# %s: relative error %.3g (at most %.3g)\n", names[_i], error, most);
    ck_assert_msg(error < most, "%s: relative error %g", names[_i], error);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        float *other = logits_of(path, json, ways[w][0], ways[w][1], &n);
        ck_assert_msg(memcmp(other, logits, n * sizeof *other) == 0, "%s: %s=%s", names[_i],
                      ways[w][0], ways[w][1]);
        free(other);
    }
    free(golden);
    free(logits);
    json_decref(json);
}
END_TEST

START_TEST(there_are_cases)
{
    ck_assert_int_gt(n_cases, 0);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *all = rad_test_case(suite, "published");
    tcase_add_test(all, there_are_cases);
    tcase_add_loop_test(all, weights_are_the_packages, 0, n_cases);
    tcase_add_loop_test(all, logits_agree, 0, n_cases);
}

int main(int argc, char **argv)
{
    folder = argc > 1 ? argv[1] : rad_test_source_path("tests/golden/published");
    find_cases();
    return rad_test_main("golden_published", add_cases);
}
