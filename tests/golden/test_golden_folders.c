/* The models of tests/golden as folders (make_folder.py): against `transformers`, whose logits of
 * the same weights the golden files hold, and against the GGUF file that they were made from. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden/logits.h"
#include "unit/harness.h"

static const char *folders;

typedef struct golden {
    int32_t ids[256];
    size_t n_ids;
    double tolerance;
    int64_t context; /* of the session; 0: as the model has it */
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
    g.context = json_integer_value(json_object_get(json, "context"));
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
    if (g->context != 0)
        ck_assert_int_eq(radllm_options_set_integer(options, "context", g->context, NULL),
                         RADLLM_OK);
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
    bool no_gguf; /* of folders/: llama.cpp has no form for it */
} models[] = {
    {"llama-mha", NULL, false, false},
    {"llama3-gqa-tied", NULL, false, false},
    {"llama-linear", NULL, false, false},
    {"llama-yarn", NULL, false, false},
    {"mistral-window", NULL, false, false},
    {"mixtral", NULL, false, false},
    {"merged-experts", NULL, false, false},
    {"qwen2", NULL, true, false},
    {"qwen2-tied-yarn", NULL, true, false},
    {"qwen2moe", NULL, true, false},
    {"qwen2moe-normed", NULL, true, false},
    {"qwen3", NULL, true, false},
    {"qwen3moe", NULL, true, false},
    {"dots1", NULL, true, false},
    {"deepseek2-lite", NULL, false, false},
    {"deepseek2-v3", NULL, true, false},
    {"gemma2", NULL, true, false},
    {"gpt-oss", NULL, true, false},
    {"gpt-oss-mxfp4", "architectures/gpt-oss-q8_0", false, false},
    {"gpt2", NULL, true, false},
    {"bloom", NULL, true, false},
    {"mpt", NULL, true, false},
    {"mpt-qk-norm", NULL, true, false},
    {"bitnet", NULL, true, false},
    /* Weights of another family's file: `transformers` computed these from the folder. */
    {"ministral", "folders/ministral", false, false},
    {"phi", "folders/phi", true, false},
    {"phi3", "folders/phi3", true, false},
    {"phi3-partial", "folders/phi3-partial", true, false},
    {"phi3-longrope-short", "folders/phi3-longrope-short", true, false},
    {"phi3-longrope-long", "folders/phi3-longrope-long", true, false},
    {"llama-dynamic", "folders/llama-dynamic", false, false},
    {"llama-yarn-whole", "folders/llama-yarn-whole", false, false},
    {"gemma3", "folders/gemma3", true, false},
    {"gemma3-sees", "folders/gemma3", false, true},
    {"qwen2moe-sparse", "folders/qwen2moe-sparse", false, true},
    {"deepseek2-halves", "folders/deepseek2-halves", false, true},
    {"deepseek2-length", "folders/deepseek2-length", false, true},
    /* Windows, and keys that are left out. */
    {"ministral-full", "folders/ministral-full", false, true},
    {"qwen2-later", "folders/qwen2-later", false, true},
    {"qwen2moe-turns", "folders/qwen2moe-turns", false, true},
    {"qwen3moe-window", "folders/qwen3moe-window", false, true},
    {"mixtral-window", "folders/mixtral-window", false, true},
    {"gemma2-left-out", "folders/gemma2-left-out", false, true},
    {"gemma3-cap", "folders/gemma3-cap", false, true},
    {"phi-left-out", "folders/phi-left-out", false, true},
    {"gpt-oss-left-out", "folders/gpt-oss-left-out", false, true},
    {"gpt-oss-plain", "folders/gpt-oss-plain", false, true},
    {"llama3-left-out", "folders/llama3-left-out", false, true},
    {"types-bf16", "types/bf16", false, false},
    {"types-f16", "types/f16", false, false},
};

START_TEST(folder_agrees)
{
    char path[1024], stem[128], gguf[1100];
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
    const char *of_source = gguf;
    if (strncmp(stem, "folders/", 8) == 0) {
        snprintf(gguf, sizeof gguf, "%s.gguf", path);
    } else {
        snprintf(gguf, sizeof gguf, "tests/golden/%s.gguf", stem);
        of_source = rad_test_source_path(gguf);
    }
    float *of_gguf = models[_i].no_gguf ? NULL : logits_of(of_source, &g, "copy", "auto");
    if (of_gguf == NULL)
        ;
    else if (models[_i].same_bits)
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

static radllm_session *open_session(const char *path, int64_t context, radllm_model **model,
                                    radllm_engine **engine)
{
    radllm_options *options;
    radllm_session *session;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_options_set_integer(options, "context", context, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_model_open(NULL, path, options, NULL, model, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_engine_new(NULL, *model, options, engine, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_session_new(*engine, &session, NULL), RADLLM_OK);
    radllm_options_free(options);
    return session;
}

/* What rotates by one list is nothing to a session that rotates by the other. */
START_TEST(rotations_are_part_of_a_snapshot)
{
    static const int64_t contexts[] = {32, 31, 33, 256};
    const int32_t ids[] = {1, 2, 3};
    char path[1024];
    const char *file = rad_test_temp_path("longrope.snapshot");
    radllm_error *error;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    snprintf(path, sizeof path, "%s/phi3-longrope-short", folders);
    for (size_t i = 0; i < 4; i++) {
        radllm_model *model;
        radllm_engine *engine;
        radllm_session *session = open_session(path, contexts[i], &model, &engine);
        radllm_status status = RADLLM_OK;
        if (i == 0) {
            rad_assert_ok(radllm_session_feed(session, ids, 3, NULL, error), error);
            rad_assert_ok(radllm_session_snapshot(session, file, NULL, error), error);
        } else {
            status = radllm_session_restore(session, file, NULL, error);
        }
        if (contexts[i] <= 32)
            rad_assert_ok(status, error);
        else
            rad_assert_error(status, RADLLM_E_ARGUMENT, error, "rotations=1");
        radllm_session_free(session);
        radllm_engine_free(engine);
        radllm_model_free(model);
    }
    radllm_error_free(error);
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

/* ---- converting ------------------------------------------------------------------------------ */

static radllm_status convert(rad_test_memory *memory, const char *in, const char *out, bool folder)
{
    radllm_host *host = NULL;
    radllm_options *options = NULL;
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    radllm_status status =
        radllm_host_new(rad_test_allocate, rad_test_release, memory, &host, NULL);
    if (status == RADLLM_OK)
        status = radllm_options_new(host, &options, NULL);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "quantize", "F16", RADLLM_NUL, NULL);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "threads", "1", RADLLM_NUL, NULL);
    if (status == RADLLM_OK)
        status = radllm_file_open(host, in, &file, NULL);
    if (status == RADLLM_OK)
        status = radllm_quantization_new(host, file, NULL, options, &plan, NULL);
    if (status == RADLLM_OK)
        status = folder ? radllm_quantization_write_folder(plan, out, 100000, RADLLM_FOLDER_REPLACE,
                                                           NULL, NULL)
                        : radllm_quantization_write(plan, out, NULL, NULL);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    radllm_host_free(host);
    return status;
}

/* Each allocation fails in turn: an ordinary status, and nothing is lost or left behind. */
START_TEST(each_allocation_of_converting_fails)
{
    static const struct {
        const char *in;
        bool made, folder; /* made: of the folders that were made for these tests */
    } cases[] = {{"bert", true, false},
                 {"merged-experts", true, false},
                 {"tests/golden/architectures/llama3-gqa-tied-f32.gguf", false, true},
                 {"tests/golden/types/nvfp4.gguf", false, true}}; /* with scales beside matrices */
    char in[1024], out[1024];
    if (cases[_i].made)
        snprintf(in, sizeof in, "%s/%s", folders, cases[_i].in);
    else
        snprintf(in, sizeof in, "%s", rad_test_source_path(cases[_i].in));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("converted"));
    rad_test_memory memory;
    for (uint64_t n = 1;; n += n < 60 ? 1 : 7) {
        rad_test_memory_init(&memory, n);
        radllm_status status = convert(&memory, in, out, cases[_i].folder);
        rad_test_memory_check(&memory);
        if (!memory.failed) {
            ck_assert_int_eq(status, RADLLM_OK);
            ck_assert_uint_gt(n, 20);
            break;
        }
        ck_assert_int_eq(status, RADLLM_E_MEMORY);
        ck_assert_int_ne(access(out, F_OK), 0);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "folders");
    tcase_add_loop_test(cases, folder_agrees, 0, sizeof models / sizeof *models);
    tcase_add_test(cases, files_lead_to_the_folder);
    tcase_add_loop_test(cases, each_allocation_of_converting_fails, 0, 4);
    tcase_add_test(cases, rotations_are_part_of_a_snapshot);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_folders", add_cases);
}
