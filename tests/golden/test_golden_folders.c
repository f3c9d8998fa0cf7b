/* The models of tests/golden as folders (make_folder.py): against `transformers`, whose logits of
 * the same weights the golden files hold, and against the GGUF file that they were made from. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "golden/logits.h"
#include "unit/harness.h"

static const char *folders;

typedef struct golden {
    int32_t ids[256];
    size_t n_ids;
    double tolerance;
    float *logits;
    size_t n_logits;
} golden;

static golden read_golden(const char *stem)
{
    golden g = {0};
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.ids.json", stem);
    json_t *json = json_load_file(rad_test_source_path(path), 0, NULL);
    ck_assert_ptr_nonnull(json);
    json_t *ids = json_object_get(json, "ids");
    g.n_ids = json_array_size(ids);
    ck_assert_uint_le(g.n_ids, 256);
    for (size_t i = 0; i < g.n_ids; i++)
        g.ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    g.tolerance = json_real_value(json_object_get(json, "tolerance"));
    json_decref(json);
    snprintf(path, sizeof path, "tests/golden/%s.logits.f32", stem);
    size_t size;
    g.logits = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    g.n_logits = size / sizeof(float);
    return g;
}

/* `load` and `load_wait` are options. */
static float *logits_of(const char *path, const golden *g, const char *load, const char *load_wait)
{
    radllm_options *options;
    uint32_t n_vocab;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    radllm_options_set_text(options, "load", load, RADLLM_NUL, NULL);
    radllm_options_set_text(options, "load_wait", load_wait, RADLLM_NUL, NULL);
    float *logits = rad_test_logits(path, options, g->ids, g->n_ids, 0, &n_vocab);
    radllm_options_free(options);
    ck_assert_uint_eq(g->n_ids * n_vocab, g->n_logits);
    return logits;
}

static const struct {
    const char *folder;
    const char *golden; /* of which file; NULL: architectures/FOLDER-f32 */
    /* Whether the GGUF file gives the same bits. It does not where the rows that rotate are in
     * another order there, so that scores are summed up in another order; where it has the heads'
     * keys and values in place of short vectors; and where its other matrices are in Q8_0. */
    bool same_bits;
} models[] = {
    {"llama-mha", NULL, false},
    {"llama3-gqa-tied", NULL, false},
    {"llama-linear", NULL, false},
    {"llama-yarn", NULL, false},
    {"mistral-window", NULL, false},
    {"mixtral", NULL, false},
    {"merged-experts", NULL, false},
    {"qwen2", NULL, true},
    {"qwen2-tied-yarn", NULL, true},
    {"qwen2moe", NULL, true},
    {"qwen2moe-normed", NULL, true},
    {"qwen3", NULL, true},
    {"qwen3moe", NULL, true},
    {"dots1", NULL, true},
    {"deepseek2-lite", NULL, false},
    {"deepseek2-v3", NULL, true},
    {"gemma2", NULL, true},
    {"gpt-oss", NULL, true},
    {"gpt-oss-mxfp4", "architectures/gpt-oss-q8_0", false},
    {"gpt2", NULL, true},
    {"bloom", NULL, true},
    {"mpt", NULL, true},
    {"mpt-qk-norm", NULL, true},
    /* Weights of another family's file: `transformers` computed these from the folder. */
    {"ministral", "folders/ministral", false},
    {"phi", "folders/phi", false},
    {"phi3", "folders/phi3", false},
    {"phi3-partial", "folders/phi3-partial", false},
    {"types-bf16", "types/bf16", false},
    {"types-f16", "types/f16", false},
};

START_TEST(folder_agrees)
{
    char path[1024], stem[128], gguf[256];
    snprintf(path, sizeof path, "%s/%s", folders, models[_i].folder);
    if (models[_i].golden != NULL)
        snprintf(stem, sizeof stem, "%s", models[_i].golden);
    else
        snprintf(stem, sizeof stem, "architectures/%s-f32", models[_i].folder);
    golden g = read_golden(stem);
    float *copied = logits_of(path, &g, "copy", "auto");
    double error = rad_test_relative_error(copied, g.logits, g.n_logits);
    printf("# %s: relative error %.3g (at most %.3g)\n", models[_i].folder, error, g.tolerance);
    ck_assert_msg(error < g.tolerance, "relative error %g", error);
    float *mapped = logits_of(path, &g, "map", "auto");
    ck_assert_mem_eq(copied, mapped, g.n_logits * sizeof *copied);
    float *behind = logits_of(path, &g, "copy", "no");
    ck_assert_mem_eq(copied, behind, g.n_logits * sizeof *copied);
    if (strncmp(stem, "folders/", 8) == 0) {
        free(copied);
        free(mapped);
        free(behind);
        free(g.logits);
        return;
    }
    snprintf(gguf, sizeof gguf, "tests/golden/%s.gguf", stem);
    float *of_gguf = logits_of(rad_test_source_path(gguf), &g, "copy", "auto");
    if (models[_i].same_bits)
        ck_assert_mem_eq(copied, of_gguf, g.n_logits * sizeof *copied);
    else
        ck_assert(rad_test_relative_error(copied, of_gguf, g.n_logits) < g.tolerance);
    free(copied);
    free(mapped);
    free(behind);
    free(of_gguf);
    free(g.logits);
}
END_TEST

/* A file of the folder, and the index of several, lead to the same model. */
START_TEST(files_lead_to_the_folder)
{
    static const char *const paths[] = {"qwen3moe", "qwen3moe/",
                                        "qwen3moe/model.safetensors.index.json",
                                        "qwen3moe/model-00002-of-00003.safetensors"};
    char hashes[4][65];
    for (size_t i = 0; i < 4; i++) {
        char path[1024];
        radllm_file *file;
        snprintf(path, sizeof path, "%s/%s", folders, paths[i]);
        ck_assert_int_eq(radllm_file_open(NULL, path, &file, NULL), RADLLM_OK);
        ck_assert_int_eq(radllm_file_hash(file, NULL, hashes[i], 65, NULL, NULL), RADLLM_OK);
        ck_assert_str_eq(hashes[i], hashes[0]);
        ck_assert_int_eq(radllm_file_check_model(file, NULL), RADLLM_OK);
        radllm_file_free(file);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "folders");
    tcase_add_loop_test(cases, folder_agrees, 0, sizeof models / sizeof *models);
    tcase_add_test(cases, files_lead_to_the_folder);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_folders", add_cases);
}
