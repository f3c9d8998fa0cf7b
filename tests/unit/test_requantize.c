/* The program tests/tools/requantize.c, and with it the writer on whole models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/gguf_check.h"

/* Runs requantize; returns its exit status. What it says goes to `said` (may be NULL). */
static int run(const char *in, const char *out, const char *type, char said[1024])
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], 2);
        execl(REQUANTIZE_PATH, "requantize", in, out, type, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char text[1024];
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    if (said != NULL)
        memcpy(said, text, used + 1);
    else
        ck_assert_msg(WEXITSTATUS(status) == 0, "%s", text);
    return WEXITSTATUS(status);
}

static rad_source *open_source(const char *path)
{
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    return source;
}

static float *decode(const rad_source *source, const rad_tensor *tensor)
{
    radllm_error error = {0};
    uint8_t *bytes = malloc((size_t)tensor->n_bytes);
    float *values = malloc((size_t)tensor->n_elements * sizeof *values);
    ck_assert(bytes != NULL && values != NULL);
    rad_assert_ok(rad_source_read(source, tensor->part, tensor->offset, bytes,
                                  (size_t)tensor->n_bytes, &error),
                  &error);
    rad_type_find((uint32_t)tensor->type)->decode(bytes, values, (size_t)tensor->n_elements);
    free(bytes);
    return values;
}

static double relative_error(const rad_source *a, const rad_source *b, const char *name)
{
    const rad_tensor *x = rad_source_find_tensor(a, name);
    const rad_tensor *y = rad_source_find_tensor(b, name);
    ck_assert(x != NULL && y != NULL);
    ck_assert_uint_eq(x->n_elements, y->n_elements);
    float *p = decode(a, x);
    float *q = decode(b, y);
    double difference = 0;
    double size = 0;
    for (uint64_t i = 0; i < x->n_elements; i++) {
        difference += ((double)p[i] - (double)q[i]) * ((double)p[i] - (double)q[i]);
        size += (double)p[i] * (double)p[i];
    }
    free(p);
    free(q);
    return sqrt(difference / size);
}

START_TEST(converts_to_every_type)
{
    static const struct {
        const char *name;
        rad_type type;
        int64_t file_type;
        double least; /* relative error: at least and at most this */
        double most;
    } cases[] = {
        {"F32", RAD_TYPE_F32, 0, 0, 0},           {"F16", RAD_TYPE_F16, 1, 1e-6, 5e-4},
        {"BF16", RAD_TYPE_BF16, 32, 1e-5, 4e-3},  {"Q8_0", RAD_TYPE_Q8_0, 7, 1e-4, 0.01},
        {"Q4_0", RAD_TYPE_Q4_0, 2, 0.01, 0.12},   {"Q4_1", RAD_TYPE_Q4_1, 3, 0.01, 0.1},
        {"Q5_0", RAD_TYPE_Q5_0, 8, 0.005, 0.06},  {"Q5_1", RAD_TYPE_Q5_1, 9, 0.005, 0.05},
        {"Q4_K", RAD_TYPE_Q4_K, 14, 0.01, 0.1},   {"Q5_K", RAD_TYPE_Q5_K, 16, 0.005, 0.05},
        {"Q6_K", RAD_TYPE_Q6_K, 18, 0.002, 0.03},
    };
    char in[1024];
    char out[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("out.gguf"));
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_tensor_random(&file, "blk.0.ffn_up.weight", 2, (uint64_t[]){512, 20}, 0.1f);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){512}, 1.0f);
    gguf_write(&file, in);
    gguf_builder_free(&file);
    rad_source *original = open_source(in);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(in, out, cases[i].name, NULL);
        rad_source *source = open_source(out);
        ck_assert_uint_eq(rad_source_n_tensors(source), rad_source_n_tensors(original));
        int64_t file_type = -1;
        radllm_error error = {0};
        rad_assert_ok(rad_meta_integer(source, "general.file_type", 0, 100, -1, &file_type, &error),
                      &error);
        ck_assert_int_eq(file_type, cases[i].file_type);
        const rad_tensor *matrix = rad_source_find_tensor(source, "blk.0.ffn_up.weight");
        ck_assert_msg(matrix->type == cases[i].type, "%s: type %d", cases[i].name, matrix->type);
        ck_assert_int_eq(rad_source_find_tensor(source, "output_norm.weight")->type, RAD_TYPE_F32);
        double found = relative_error(original, source, "blk.0.ffn_up.weight");
        ck_assert_msg(found >= cases[i].least && found <= cases[i].most,
                      "%s: relative error %g is not from %g to %g", cases[i].name, found,
                      cases[i].least, cases[i].most);
        rad_source_release(source);
    }
    rad_source_release(original);
}
END_TEST

/* Eight layers, so that the rule of the mixtures shows. */
static gguf_builder layered_model(bool tied)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_u32(&file, "llama.block_count", 8);
    gguf_tensor_random(&file, "token_embd.weight", 2, (uint64_t[]){256, 4}, 1.0f);
    if (!tied)
        gguf_tensor_random(&file, "output.weight", 2, (uint64_t[]){256, 4}, 1.0f);
    for (int i = 0; i < 8; i++) {
        static const char *const names[] = {"attn_q", "attn_v", "ffn_down", "ffn_gate_inp"};
        char name[64];
        for (int k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, names[k]);
            gguf_tensor_random(&file, name, 2, (uint64_t[]){256, 2}, 1.0f);
        }
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", i);
        gguf_tensor_random(&file, name, 1, (uint64_t[]){256}, 1.0f);
    }
    gguf_tensor_random(&file, "blk.0.odd.weight", 2, (uint64_t[]){96, 2}, 1.0f);
    gguf_tensor_random(&file, "blk.0.odder.weight", 2, (uint64_t[]){40, 2}, 1.0f);
    return file;
}

START_TEST(follows_the_rules_of_the_mixtures)
{
    static const bool more[8] = {true, false, false, true, false, false, true, true};
    char in[1024];
    char out[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("out.gguf"));
    for (int tied = 0; tied < 2; tied++) {
        gguf_builder file = layered_model(tied == 1);
        gguf_write(&file, in);
        run(in, out, "Q4_K_M", NULL);
        rad_source *source = open_source(out);
        if (tied == 0)
            ck_assert_int_eq(rad_source_find_tensor(source, "output.weight")->type, RAD_TYPE_Q6_K);
        ck_assert_int_eq(rad_source_find_tensor(source, "token_embd.weight")->type,
                         tied == 1 ? RAD_TYPE_Q6_K : RAD_TYPE_Q4_K);
        for (int i = 0; i < 8; i++) {
            static const char *const names[] = {"attn_q", "attn_v", "ffn_down", "ffn_gate_inp"};
            const rad_type expected[] = {RAD_TYPE_Q4_K, more[i] ? RAD_TYPE_Q6_K : RAD_TYPE_Q4_K,
                                         more[i] ? RAD_TYPE_Q6_K : RAD_TYPE_Q4_K, RAD_TYPE_F32};
            for (int k = 0; k < 4; k++) {
                char name[64];
                snprintf(name, sizeof name, "blk.%d.%s.weight", i, names[k]);
                ck_assert_msg(rad_source_find_tensor(source, name)->type == expected[k],
                              "%s has type %d", name, rad_source_find_tensor(source, name)->type);
            }
        }
        ck_assert_int_eq(rad_source_find_tensor(source, "blk.0.odd.weight")->type, RAD_TYPE_Q5_0);
        ck_assert_int_eq(rad_source_find_tensor(source, "blk.0.odder.weight")->type, RAD_TYPE_F16);
        rad_source_release(source);
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(is_the_same_again)
{
    char in[1024];
    char first[1024];
    char second[1024];
    snprintf(in, sizeof in, "%s", rad_test_source_path("tests/golden/types/q8_0.gguf"));
    snprintf(first, sizeof first, "%s", rad_test_temp_path("first.gguf"));
    snprintf(second, sizeof second, "%s", rad_test_temp_path("second.gguf"));
    run(in, first, "Q8_0", NULL); /* the same type: the blocks stay as they are */
    rad_source *original = open_source(in);
    rad_source *copy = open_source(first);
    ck_assert(relative_error(original, copy, "blk.0.ffn_up.weight") == 0);
    rad_source_release(original);
    rad_source_release(copy);
    run(first, second, "Q8_0", NULL); /* and the whole file from now on */
    size_t sizes[2];
    uint8_t *bytes[2] = {rad_test_read_file(first, &sizes[0]),
                         rad_test_read_file(second, &sizes[1])};
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert(memcmp(bytes[0], bytes[1], sizes[0]) == 0);
    free(bytes[0]);
    free(bytes[1]);
}
END_TEST

START_TEST(refuses_with_a_message)
{
    char in[1024];
    char said[1024];
    snprintf(in, sizeof in, "%s", rad_test_source_path("tests/golden/types/f32.gguf"));
    const char *out = rad_test_temp_path("none.gguf");
    ck_assert_int_eq(run(in, out, "Q9_9", said), 2);
    ck_assert_ptr_nonnull(strstr(said, "usage: requantize"));
    ck_assert_int_eq(run("/nonexistent.gguf", out, "Q8_0", said), 1);
    ck_assert_ptr_nonnull(strstr(said, "No such file"));
    ck_assert_int_eq(access(out, F_OK), -1);
    if (access("/dev/full", W_OK) == 0) {
        ck_assert_int_eq(run(in, "/dev/full", "Q8_0", said), 1);
        ck_assert_ptr_nonnull(strstr(said, "No space left on device"));
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "requantize");
    tcase_add_test(cases, converts_to_every_type);
    tcase_add_test(cases, follows_the_rules_of_the_mixtures);
    tcase_add_test(cases, is_the_same_again);
    tcase_add_test(cases, refuses_with_a_message);
}

int main(void)
{
    return rad_test_main("requantize", add_cases);
}
