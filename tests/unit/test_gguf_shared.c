/* The GGUF files of the shared test data: valid ones, crafted ones with the answer that is due,
 * fuzzing corpora and files of older formats. Skipped where the data is absent. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/gguf_check.h"

/* Opens a file by path with memory that counts; closes it; returns the status. */
static radllm_status try_file(const char *path, radllm_error *error)
{
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *source = NULL;
    radllm_status status = rad_source_open(&host, path, &source, error);
    if (status == RADLLM_OK)
        rad_source_release(source);
    else
        ck_assert_msg(strncmp(error->message, path, strlen(path)) == 0, "no path in: %s",
                      error->message);
    rad_test_memory_check(&memory);
    return status;
}

static void check_crafted(const char *folder, const json_t *one)
{
    const char *name = json_string_value(json_object_get(one, "file"));
    const char *expect = json_string_value(json_object_get(one, "expect"));
    ck_assert_ptr_nonnull(name);
    ck_assert_ptr_nonnull(expect);
    if (strncmp(name, "gguf/", 5) != 0)
        return;
    char path[1024];
    radllm_error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    radllm_status status = try_file(path, &error);
    if (strcmp(expect, "reject") == 0)
        ck_assert_msg(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED,
                      "%s was not refused", name);
    else if (strcmp(expect, "implementation-defined") != 0) /* accepted, as a container */
        ck_assert_msg(status == RADLLM_OK, "%s was refused: %s", name, error.message);
}

START_TEST(answers_the_crafted_files_as_expected)
{
    const char *shared = rad_test_shared_path("malformed/crafted");
    if (shared == NULL)
        RAD_SKIP("the shared test data is absent (malformed/crafted)");
    char folder[600];
    char path[700];
    snprintf(folder, sizeof folder, "%s", shared);
    snprintf(path, sizeof path, "%s/expectations.json", folder);
    json_t *root = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(root);
    const json_t *cases = json_object_get(root, "cases");
    ck_assert_uint_gt(json_array_size(cases), 50);
    size_t index;
    const json_t *one;
    json_array_foreach(cases, index, one) check_crafted(folder, one);
    json_decref(root);
}
END_TEST

/* Calls `check` for every regular file below a folder of the shared data; how many there were. */
static int for_each_file(const char *folder, void (*check)(const char *path))
{
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    int count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        ck_assert_int_lt(length, (int)sizeof path);
        if (entry->d_type == DT_DIR) {
            count += for_each_file(path, check);
        } else {
            check(path);
            count++;
        }
    }
    closedir(directory);
    return count;
}

static void check_survives(const char *path)
{
    radllm_error error = {0};
    (void)try_file(path, &error);
}

static void check_accepted(const char *path)
{
    radllm_error error = {0};
    size_t length = strlen(path);
    if (length < 5 || strcmp(path + length - 5, ".gguf") != 0)
        return;
    rad_assert_ok(try_file(path, &error), &error);
}

START_TEST(survives_the_fuzzing_corpora)
{
    const char *shared = rad_test_shared_path("malformed/gguf-fuzz");
    if (shared == NULL)
        RAD_SKIP("the shared test data is absent (malformed/gguf-fuzz)");
    char folder[600];
    snprintf(folder, sizeof folder, "%s", shared);
    ck_assert_int_gt(for_each_file(folder, check_survives), 200);
}
END_TEST

START_TEST(opens_vocabularies_without_tensors)
{
    const char *shared = rad_test_shared_path("malformed/gguf-tokenizer-stubs");
    if (shared == NULL)
        RAD_SKIP("the shared test data is absent (malformed/gguf-tokenizer-stubs)");
    char folder[600];
    snprintf(folder, sizeof folder, "%s", shared);
    ck_assert_int_gt(for_each_file(folder, check_accepted), 10);
    snprintf(folder, sizeof folder, "%s", rad_test_shared_path("tokenizers/ggml-vocab"));
    ck_assert_int_gt(for_each_file(folder, check_accepted), 5);
}
END_TEST

START_TEST(names_the_old_formats)
{
    static const struct {
        const char *name;
        radllm_status status;
        const char *part;
    } files[] = {
        {"ggjt-v1-ggml-vocab.bin", RADLLM_E_FORMAT, "an old ggml model (ggjt)"},
        {"ggmf-v1-ggml-vocab.bin", RADLLM_E_FORMAT, "an old ggml model (ggmf)"},
        {"gguf-draft-example.gguf", RADLLM_E_FORMAT, "a draft of GGUF"},
        {"gguf-v1-ggml-vocab-llama.gguf", RADLLM_E_UNSUPPORTED, "GGUF version 1"},
        {"gguf-v1-prerelease-ggml-vocab-llama.gguf", RADLLM_E_UNSUPPORTED, "GGUF version 1"},
        {"gguf-v1-swapped-magic-ggml-vocab-llama.gguf", RADLLM_E_FORMAT, "a draft of GGUF"},
        {"unversioned-ggml-vocab.bin", RADLLM_E_FORMAT, "this is no GGUF file"},
        {"gguf-v2-ggml-vocab-falcon.gguf", RADLLM_OK, ""},
    };
    if (rad_test_shared_path("malformed/old-formats") == NULL)
        RAD_SKIP("the shared test data is absent (malformed/old-formats)");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[128];
        char path[1024];
        radllm_error error = {0};
        snprintf(name, sizeof name, "malformed/old-formats/%s", files[i].name);
        snprintf(path, sizeof path, "%s", rad_test_shared_path(name));
        rad_assert_error(try_file(path, &error), files[i].status, &error, files[i].part);
    }
}
END_TEST

/* Under another name than theirs; under that they are opened. */
START_TEST(refuses_safetensors_by_name)
{
    const char *path =
        rad_test_shared_path("malformed/crafted/safetensors/ok-escaped-name.safetensors");
    if (path == NULL)
        RAD_SKIP("the shared test data is absent (malformed/crafted)");
    radllm_error error = {0};
    size_t size;
    uint8_t *bytes = rad_test_read_file(path, &size);
    path = rad_test_temp_path("renamed.bin");
    rad_test_write_file(path, bytes, size);
    free(bytes);
    rad_assert_error(try_file(path, &error), RADLLM_E_FORMAT, &error, "this is a safetensors file");
}
END_TEST

START_TEST(opens_a_trained_model)
{
    const char *path = rad_test_shared_path("models/stories260K/stories260K.gguf");
    if (path == NULL)
        RAD_SKIP("the shared test data is absent (models/stories260K)");
    rad_source *source;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    ck_assert_uint_eq(rad_source_n_tensors(source), 48);
    ck_assert_uint_eq(rad_source_find_meta(source, "tokenizer.ggml.tokens")->count, 512);
    int64_t width;
    rad_assert_ok(rad_meta_integer(source, "llama.embedding_length", 1, 65536, 0, &width, &error),
                  &error);
    ck_assert_int_eq(width, 64);
    rad_source_release(source);
}
END_TEST

START_TEST(opens_the_golden_models)
{
    char folder[600];
    snprintf(folder, sizeof folder, "%s", rad_test_source_path("tests/golden"));
    ck_assert_int_gt(for_each_file(folder, check_accepted), 30);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "shared");
    tcase_add_test(cases, answers_the_crafted_files_as_expected);
    tcase_add_test(cases, survives_the_fuzzing_corpora);
    tcase_add_test(cases, opens_vocabularies_without_tensors);
    tcase_add_test(cases, names_the_old_formats);
    tcase_add_test(cases, refuses_safetensors_by_name);
    tcase_add_test(cases, opens_a_trained_model);
    tcase_add_test(cases, opens_the_golden_models);
}

int main(void)
{
    return rad_test_main("gguf_shared", add_cases);
}
