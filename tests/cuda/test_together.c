/* Operations that are one launch have the bits of those that are several, in whole models; and they
 * are fewer launches. */
#include <stdlib.h>
#include <string.h>

#include "cuda/models.h"
#include "golden/logits.h"

#define N_IDS    7
#define N_MANY   24
#define EMBEDDED "examples/models/radreport-q8_0.gguf"
/* As the option gpu_apart has them. */
enum { GATE = 1, ADD = 2, NORM = 4, WIDE = 8, HEADS = 16, VALUES = 64, EXPERTS = 128, ALL = 223 };

static const int32_t ids[N_IDS] = {1, 17, 5, 60, 33, 2, 41};

typedef struct way {
    const char *model, *options;
    size_t chunk;
    int apart;     /* what makes more launches apart */
    uint32_t more; /* so many for each layer, */
    uint32_t once; /* and for the last norm */
} way;

/* Of the family in Q8_0, or a file. */
static const char *path_of(const char *model)
{
    char name[128];
    snprintf(name, sizeof name, "architectures/%s-q8_0", model);
    if (model[0] == '/')
        return model;
    return strchr(model, '/') != NULL ? rad_test_source_path(model) : model_path(name);
}

/* A model of llama's family in a format, with values in another. */
static const char *mixed_model(const char *format, const char *values)
{
    char again[] = "quantize_again=1 quantize_pure=1 threads=1", tensor[64];
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = options_on("cpu", again);
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    const char *path = rad_test_temp_path("mixed.gguf");
    snprintf(tensor, sizeof tensor, "*attn_v*=%s", values);
    rad_assert_ok(radllm_options_set_text(options, "quantize", format, RADLLM_NUL, &error), &error);
    rad_assert_ok(radllm_options_set_text(options, "quantize_tensor", tensor, RADLLM_NUL, &error),
                  &error);
    rad_assert_ok(radllm_file_open(NULL, model_path("types/q6_k"), &file, &error), &error);
    rad_assert_ok(radllm_quantization_new(NULL, file, NULL, options, &plan, &error), &error);
    rad_assert_ok(radllm_quantization_write(plan, path, NULL, &error), &error);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    return path;
}

static float *logits_with(int apart, const way *w, unsigned long long *launches, size_t *n_logits)
{
    char path[1024], pairs[128];
    uint32_t n_vocab;
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    setenv("RAD_EMULATED_COUNTS", path, 1);
    snprintf(pairs, sizeof pairs, "%s gpu_apart=%d", w->options, apart);
    radllm_options *options = options_on("cuda", pairs);
    float *logits = rad_test_logits(path_of(w->model), options, ids, N_IDS, w->chunk, &n_vocab);
    radllm_options_free(options);
    unsetenv("RAD_EMULATED_COUNTS");
    *launches = calls_of(path, "launch");
    *n_logits = (size_t)N_IDS * n_vocab;
    return logits;
}

static uint32_t layers_of(const char *model)
{
    int64_t layers;
    radllm_options *options = options_on("cuda", "");
    opened o = open_file(path_of(model), options);
    rad_assert_ok(radllm_model_number(o.model, "layers", &layers, o.error), o.error);
    close_file(&o);
    radllm_options_free(options);
    return (uint32_t)layers;
}

/* A token at a time: the first step is launched, the second written down, the others replay that.
 */
static const way ways[] = {
    {EMBEDDED, "cache=f16", 1, HEADS, 1, 0},
    {EMBEDDED, "cache=bf16", 1, NORM, 3, 0},
    {EMBEDDED, "cache=q8_0", 1, HEADS, 0, 0},
    {"llama3-gqa-tied", "cache=f16", 1, GATE, 1, 0},
    {"llama3-gqa-tied", "cache=f16", 1, NORM, 2, 1},
    {"llama3-gqa-tied", "cache=f16", 1, ADD | NORM, 2, 1},
    {"llama3-gqa-tied", "cache=q8_0", 3, 0, 0, 0},
    {"qwen2", "cache=f32", 1, ALL, 3, 1},
    {"qwen3", "cache=f16", 1, HEADS, 2, 0},
    {"qwen3", "cache=q8_0", 3, HEADS, 0, 0},
    {"gpt2", "cache=f16", 1, ALL, 1, 0},
    {"gemma2", "cache=f16", 1, GATE, 1, 0},
    {"gemma2", "cache=f16", 1, ADD, 2, 0},
    {"bitnet", "cache=f16", 1, GATE, 0, 0},
    {"mixtral", "cache=f16", 1, GATE, 0, 0},
    {"mixtral", "cache=f16", 1, EXPERTS, 1, 0},
    {"qwen3moe", "cache=f16", 3, EXPERTS, 0, 0},
    {"gpt-oss", "cache=f16", 1, EXPERTS, 1, 0},
    {"qwen2moe", "cache=f16", 1, GATE, 1, 0},
    {"bloom", "cache=f16", 0, 0, 0, 0},
};

static void check(const way *w)
{
    unsigned long long launches[3];
    size_t n;
    float *together = logits_with(0, w, &launches[0], &n);
    float *apart = logits_with(ALL, w, &launches[1], &n);
    ck_assert_msg(memcmp(together, apart, n * sizeof *apart) == 0, "%s %s", w->model, w->options);
    free(apart);
    if (w->chunk == 1) {
        apart = logits_with(w->apart, w, &launches[2], &n);
        ck_assert_msg(memcmp(together, apart, n * sizeof *apart) == 0, "%s %d", w->model, w->apart);
        ck_assert_uint_eq(launches[2] - launches[0],
                          2ull * (w->more * layers_of(w->model) + w->once));
        free(apart);
    }
    free(together);
}

START_TEST(bits_are_the_same)
{
    check(&ways[_i]);
}
END_TEST

/* Queries, keys and values in two formats are one launch; apart four, with the tiles of values and
 * rotation. */
START_TEST(values_in_another_format)
{
    static const char *const formats[][2] = {{"Q4_K_S", "Q6_K"},
                                             {"Q5_K_S", "Q6_K"},
                                             {"Q3_K_S", "Q4_K"},
                                             {"Q3_K_S", "Q5_K"},
                                             {"IQ4_XS", "Q5_K"}};
    char path[1024];
    snprintf(path, sizeof path, "%s", mixed_model(formats[_i][0], formats[_i][1]));
    const way w = {path, "cache=f16", 1, VALUES, 3, 0};
    check(&w);
}
END_TEST

/* What follows from the number of multiprocessors: rows of products' blocks, tiles, parts of keys,
 * which products make norms. None of it changes a bit. */
static const char *const anywhere[][2] = {{"llama3-gqa-tied", "cache=f16"},
                                          {"gemma2", "cache=q8_0"},
                                          {"qwen2moe", "cache=f16"},
                                          {"deepseek2-v3", "cache=bf16"}};

static float *logits_on(const char *multiprocessors, int model, size_t chunk, size_t *n)
{
    int32_t many[N_MANY];
    uint32_t n_vocab;
    for (int32_t i = 0; i < N_MANY; i++)
        many[i] = (37 * i + 5) % 64;
    setenv("RAD_EMULATED_MULTIPROCESSORS", multiprocessors, 1);
    radllm_options *options = options_on("cuda", anywhere[model][1]);
    float *logits =
        rad_test_logits(path_of(anywhere[model][0]), options, many, N_MANY, chunk, &n_vocab);
    radllm_options_free(options);
    unsetenv("RAD_EMULATED_MULTIPROCESSORS");
    *n = (size_t)N_MANY * n_vocab;
    return logits;
}

START_TEST(any_number_of_multiprocessors)
{
    static const char *const numbers[] = {"1", "46", "132"};
    size_t n;
    float *wanted = logits_on("4", _i, 0, &n);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        float *got = logits_on(numbers[i], _i, i % 2 == 0 ? 0 : 11, &n);
        ck_assert_msg(memcmp(got, wanted, n * sizeof *got) == 0, "%s, %s multiprocessors",
                      anywhere[_i][0], numbers[i]);
        free(got);
    }
    free(wanted);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "together");
    tcase_add_loop_test(cases, bits_are_the_same, 0, (int)(sizeof ways / sizeof ways[0]));
    tcase_add_loop_test(cases, values_in_another_format, 0, 5);
    tcase_add_loop_test(cases, any_number_of_multiprocessors, 0,
                        (int)(sizeof anywhere / sizeof anywhere[0]));
}

int main(void)
{
    return rad_test_main("cuda_together", add_cases);
}
