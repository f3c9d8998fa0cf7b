/* The option fast=cublas: with whole models on the emulated device, whose library for products adds
 * in an order of its own, and how cuBLAS itself is called, with an object that takes its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cublas.h"
#include "cuda/cublas_double.h"
#include "golden/logits.h"
#include "kernels/cuda/kernels_layer.h"
#include "unit/opened.h"

/* ---- whole models ---------------------------------------------------------------------------- */

#define N_TOKENS 40
#define NEAR     3e-2 /* inputs of products with 16-bit weights are rounded */

typedef struct lines {
    char last[512]; /* of those that speak of the option */
} lines;

static void keep_line(void *user, int32_t level, const char *line)
{
    lines *l = user;
    if (level <= RADLLM_LOG_INFO && strncmp(line, "fast=", 5) == 0)
        snprintf(l->last, sizeof l->last, "%s", line);
}

static radllm_options *make_options(const char *device, const char *fast)
{
    radllm_options *options = NULL;
    radllm_error error = {.status = RADLLM_OK};
    const char *const pairs[][2] = {{"device", device},   {"fast", fast},     {"threads", "1"},
                                    {"cache", "f32"},     {"context", "128"}, {"batch", "64"},
                                    {"prefix_cache", "0"}};
    rad_assert_ok(radllm_options_new(NULL, &options, &error), &error);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        rad_assert_ok(
            radllm_options_set_text(options, pairs[i][0], pairs[i][1], RADLLM_NUL, &error), &error);
    return options;
}

static opened open_on(const char *device, const char *fast, const char *name, lines *log)
{
    char relative[256];
    radllm_error error = {.status = RADLLM_OK};
    radllm_host *host = NULL;
    radllm_options *options = make_options(device, fast);
    snprintf(relative, sizeof relative, "tests/golden/%s.gguf", name);
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, &error), &error);
    if (log != NULL)
        rad_assert_ok(radllm_host_set_log(host, keep_line, log, RADLLM_LOG_INFO, &error), &error);
    opened o = open_by_host(host, rad_test_source_path(relative), options);
    radllm_options_free(options);
    radllm_host_free(host);
    return o;
}

static radllm_status feed_some(const opened *o, uint32_t first, uint32_t n)
{
    int32_t tokens[N_TOKENS];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(3 + ((first + i) * 7919u + (first + i) / 5u) % 60u);
    return radllm_session_feed(o->session, tokens, n, NULL, o->error);
}

/* The last logits of all tokens, in pieces. The caller frees. */
static float *logits_of(const opened *o, uint32_t piece, int64_t *n_vocab)
{
    size_t n;
    rad_assert_ok(radllm_session_rewind(o->session, 0, o->error), o->error);
    for (uint32_t i = 0; i < N_TOKENS; i += piece)
        rad_assert_ok(feed_some(o, i, piece), o->error);
    rad_assert_ok(radllm_model_number(o->model, "vocab_size", n_vocab, o->error), o->error);
    float *logits = malloc((size_t)*n_vocab * sizeof *logits);
    rad_assert_ok(radllm_session_logits(o->session, logits, (size_t)*n_vocab, &n, o->error),
                  o->error);
    return logits;
}

static const char *text_of(const opened *o, const char *name)
{
    static char text[512];
    rad_assert_ok(radllm_engine_text(o->engine, name, text, sizeof text, NULL, o->error), o->error);
    return text;
}

static int64_t number_of(const opened *o, const char *name)
{
    int64_t value = -1;
    rad_assert_ok(radllm_engine_number(o->engine, name, &value, o->error), o->error);
    return value;
}

typedef struct fast_model {
    const char *name;
    bool leaves; /* it has unquantized weights */
} fast_model;

static const fast_model models[] = {
    {"types/f16", true},
    {"types/bf16", true},
    {"architectures/qwen2-f32", true}, /* biases */
    {"architectures/gpt2-f32", true},
    {"architectures/llama3-gqa-tied-q8_0", false},
};

static bool same(const float *a, const float *b, int64_t n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* Pieces of 20 are captured and replayed as a graph, and have the bits of the pieces before them;
 * few tokens keep the contract's. */
START_TEST(fast_products_are_near)
{
    const fast_model *m = &models[_i];
    int64_t n;
    opened cpu = open_on("cpu", "none", m->name, NULL);
    opened contract = open_on("cuda", "none", m->name, NULL);
    opened fast = open_on("cuda", "cublas", m->name, NULL);
    float *wanted = logits_of(&cpu, N_TOKENS, &n), *kept = logits_of(&contract, N_TOKENS, &n);
    float *all = logits_of(&fast, N_TOKENS, &n), *pieces = logits_of(&fast, 20, &n);
    float *again = logits_of(&fast, 20, &n), *few = logits_of(&fast, 5, &n);
    double error = rad_test_relative_error(all, wanted, (size_t)n);
    double in_pieces = rad_test_relative_error(pieces, wanted, (size_t)n);
    ck_assert_msg(error < NEAR && in_pieces < NEAR, "%s: off by %g, in pieces by %g", m->name,
                  error, in_pieces);
    ck_assert_msg(same(all, kept, n) != m->leaves, "%s: %s", m->name,
                  m->leaves ? "the library is not used" : "quantized weights left the contract");
    ck_assert(same(pieces, again, n));
    ck_assert(same(few, kept, n));
    free(wanted);
    free(kept);
    free(all);
    free(pieces);
    free(again);
    free(few);
    close_file(&cpu);
    close_file(&contract);
    close_file(&fast);
}
END_TEST

START_TEST(the_record_says_so)
{
    opened contract = open_on("cuda", "none", "types/f16", NULL);
    int64_t used = number_of(&contract, "gpu_used"); /* the other's is there as well later */
    int64_t own = used - number_of(&contract, "gpu_context");
    opened fast = open_on("cuda", "cublas", "types/f16", NULL);
    radllm_error error = {.status = RADLLM_OK};
    ck_assert_str_eq(text_of(&contract, "fast"), "");
    ck_assert(strstr(text_of(&contract, "placement"), "by") == NULL);
    ck_assert_str_eq(text_of(&fast, "fast"), "emulated products");
    ck_assert(strstr(text_of(&fast, "placement"), "unquantized products by emulated products"));
    /* Its memory is a line of the plan. */
    ck_assert_int_eq(number_of(&contract, "gpu_libraries"), 0);
    int64_t libraries = number_of(&fast, "gpu_libraries");
    ck_assert_int_eq(libraries, 5 << 20);
    ck_assert_int_eq(number_of(&fast, "gpu_total"), number_of(&contract, "gpu_total") + libraries);
    ck_assert_int_eq(number_of(&fast, "gpu_used") - used, own + libraries);
    /* What was computed so goes on nowhere else. */
    rad_assert_ok(feed_some(&fast, 0, 20), fast.error);
    const char *path = rad_test_temp_path("fast");
    rad_assert_ok(radllm_session_snapshot(fast.session, path, NULL, fast.error), fast.error);
    ck_assert_int_ne(radllm_session_restore(contract.session, path, NULL, &error), RADLLM_OK);
    ck_assert_msg(strstr(error.message, "fast") != NULL, "%s", error.message);
    rad_assert_ok(radllm_session_restore(fast.session, path, NULL, fast.error), fast.error);
    close_file(&contract);
    close_file(&fast);
}
END_TEST

START_TEST(without_the_library_the_contract_holds)
{
    lines log = {""};
    int64_t n;
    setenv("RAD_EMULATED_GEMM", "0", 1);
    opened contract = open_on("cuda", "none", "types/f16", NULL);
    opened fast = open_on("cuda", "cublas", "types/f16", &log);
    unsetenv("RAD_EMULATED_GEMM");
    ck_assert_msg(strstr(log.last, "within the numeric contract: no emulated library"), "%s",
                  log.last);
    ck_assert_str_eq(text_of(&fast, "fast"), "");
    ck_assert_int_eq(number_of(&fast, "gpu_libraries"), 0);
    float *a = logits_of(&contract, N_TOKENS, &n), *b = logits_of(&fast, N_TOKENS, &n);
    ck_assert(same(a, b, n));
    free(a);
    free(b);
    close_file(&contract);
    close_file(&fast);
}
END_TEST

START_TEST(on_the_cpu_it_changes_nothing)
{
    lines log = {""};
    int64_t n;
    opened plain = open_on("cpu", "none", "types/f16", NULL);
    opened fast = open_on("cpu", "cublas", "types/f16", &log);
    ck_assert_msg(strstr(log.last, "changes nothing") != NULL, "%s", log.last);
    ck_assert_str_eq(text_of(&fast, "fast"), "");
    float *a = logits_of(&plain, N_TOKENS, &n), *b = logits_of(&fast, N_TOKENS, &n);
    ck_assert(same(a, b, n));
    free(a);
    free(b);
    close_file(&plain);
    close_file(&fast);
}
END_TEST

START_TEST(a_failed_product_ends_the_engine)
{
    setenv("RAD_EMULATED_GEMM", "2", 1);
    opened o = open_on("cuda", "cublas", "types/f16", NULL);
    unsetenv("RAD_EMULATED_GEMM");
    rad_assert_ok(feed_some(&o, 0, 5), o.error); /* too few for it */
    rad_assert_error(feed_some(&o, 5, 20), RADLLM_E_DEVICE, o.error, "library for products failed");
    rad_assert_error(feed_some(&o, 5, 5), RADLLM_E_DEVICE, o.error, "device failed");
    close_file(&o);
}
END_TEST

/* The device is lost at each call from its opening to some tokens that are multiplied so. */
START_TEST(a_lost_device_is_a_status)
{
    opened o = open_on("cpu", "none", "types/f16", NULL);
    radllm_options *options = make_options("cuda", "cublas");
    bool survived = false;
    radllm_session_free(o.session);
    radllm_engine_free(o.engine);
    for (int n = 1; !survived; n += n < 12 ? 1 : RAD_TEST_SANITIZED ? 41 : 7) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        setenv("RAD_EMULATED_LOSE", text, 1);
        o.session = NULL;
        o.engine = NULL;
        radllm_status status = radllm_engine_new(NULL, o.model, options, &o.engine, o.error);
        if (status == RADLLM_OK)
            status = radllm_session_new(o.engine, &o.session, o.error);
        if (status == RADLLM_OK)
            status = feed_some(&o, 0, 20);
        ck_assert_msg(status == RADLLM_OK || status == RADLLM_E_DEVICE ||
                          (n < 12 && status == RADLLM_E_UNSUPPORTED),
                      "%d: %s", n, radllm_error_message(o.error));
        survived = status == RADLLM_OK;
        radllm_session_free(o.session);
        radllm_engine_free(o.engine);
    }
    unsetenv("RAD_EMULATED_LOSE");
    radllm_options_free(options);
    radllm_model_free(o.model);
    radllm_error_free(o.error);
}
END_TEST

/* ---- how cuBLAS is called -------------------------------------------------------------------- */

static char message[RAD_CUDA_MESSAGE_SIZE];

static rad_cublas *open_double(void)
{
    static const char *const names[] = {"no-such-libcublas.so", DOUBLE_PATH, NULL};
    static int stream;
    rad_cublas *blas = NULL;
    ck_assert_msg(rad_cublas_open(names, &stream, &blas, message) == RADLLM_OK, "%s", message);
    return blas;
}

static void check_gemm(rad_cublas *blas, uint32_t type, bool adds)
{
    enum { ROWS = 5, COLUMNS = 3, TOKENS = 4, X_STRIDE = 4, Y_STRIDE = 7 };
    float w[ROWS * COLUMNS], x[TOKENS * X_STRIDE], y[TOKENS * Y_STRIDE];
    uint16_t half_w[ROWS * COLUMNS], half_x[TOKENS * X_STRIDE];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        half_w[i] = cublas_double_half(type, w[i] = (float)(i % 7 - 3));
    for (int i = 0; i < TOKENS * X_STRIDE; i++)
        half_x[i] = cublas_double_half(type, x[i] = (float)(i % 5 - 2));
    for (int i = 0; i < TOKENS * Y_STRIDE; i++)
        y[i] = 100.0f;
    bool wide = type == RAD_CUDA_F32;
    rad_cuda_gemm gemm = {.w = wide ? (const void *)w : half_w,
                          .x = wide ? (const void *)x : half_x,
                          .y = y,
                          .x_stride = X_STRIDE,
                          .y_stride = Y_STRIDE,
                          .type = type,
                          .n_rows = ROWS,
                          .n_columns = COLUMNS,
                          .n_tokens = TOKENS,
                          .adds = adds};
    ck_assert_int_eq(rad_cublas_gemm(blas, &gemm), 0);
    for (int t = 0; t < TOKENS; t++) {
        for (int r = 0; r < Y_STRIDE; r++) {
            float sum = adds || r >= ROWS ? 100.0f : 0.0f;
            for (int k = 0; k < COLUMNS && r < ROWS; k++)
                sum += w[r * COLUMNS + k] * x[t * X_STRIDE + k];
            ck_assert_float_eq(y[t * Y_STRIDE + r], sum);
        }
    }
}

START_TEST(cublas_is_called_as_documented)
{
    char name[RAD_CUDA_GEMM_NAME];
    _Alignas(256) static char workspace[1024];
    rad_cublas *blas = open_double();
    rad_cublas_name(blas, name);
    ck_assert_str_eq(name, "cuBLAS 13.4.2");
    ck_assert_int_eq(rad_cublas_set_workspace(blas, workspace, sizeof workspace), 0);
    static const uint32_t types[] = {RAD_CUDA_F32, RAD_CUDA_F16, RAD_CUDA_BF16};
    for (int i = 0; i < 3; i++) {
        check_gemm(blas, types[i], false);
        check_gemm(blas, types[i], true);
    }
    rad_cublas_close(blas, true);
}
END_TEST

START_TEST(what_cublas_refuses_is_told)
{
    rad_cublas *blas = open_double(), *none;
    rad_cuda_gemm gemm = {.type = RAD_CUDA_F16, .n_rows = CUBLAS_DOUBLE_FAILING_ROWS};
    ck_assert_int_eq(rad_cublas_gemm(blas, &gemm), 13);
    ck_assert_str_eq(rad_cublas_status(blas, 13), "status 13");
    rad_cublas_close(blas, true);
    setenv("CUBLAS_DOUBLE_FAILS", "1", 1);
    static const char *const fails[] = {DOUBLE_PATH, NULL};
    ck_assert_int_eq(rad_cublas_open(fails, NULL, &none, message), RADLLM_E_UNSUPPORTED);
    ck_assert_str_eq(message, "cuBLAS 13.4.2 cannot be used here: status 1");
    ck_assert_ptr_null(none);
    unsetenv("CUBLAS_DOUBLE_FAILS");
}
END_TEST

START_TEST(other_objects_are_no_cublas)
{
    static const char *const missing[] = {"no-such-libcublas.so", NULL};
    static const char *const others[] = {OTHER_PATH, NULL};
    rad_cublas *blas;
    ck_assert_int_eq(rad_cublas_open(missing, NULL, &blas, message), RADLLM_E_UNSUPPORTED);
    ck_assert_msg(strstr(message, "no-such-libcublas.so") != NULL, "%s", message);
    ck_assert_int_eq(rad_cublas_open(others, NULL, &blas, message), RADLLM_E_UNSUPPORTED);
    ck_assert_msg(strstr(message, "lacks a function") != NULL, "%s", message);
    ck_assert_ptr_null(blas);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "fast");
    tcase_add_loop_test(cases, fast_products_are_near, 0, sizeof models / sizeof *models);
    tcase_add_test(cases, the_record_says_so);
    tcase_add_test(cases, without_the_library_the_contract_holds);
    tcase_add_test(cases, on_the_cpu_it_changes_nothing);
    tcase_add_test(cases, a_failed_product_ends_the_engine);
    tcase_add_test(cases, a_lost_device_is_a_status);
    cases = rad_test_case(suite, "cublas");
    tcase_add_test(cases, cublas_is_called_as_documented);
    tcase_add_test(cases, what_cublas_refuses_is_told);
    tcase_add_test(cases, other_objects_are_no_cublas);
}

int main(void)
{
    return rad_test_main("cuda_fast", add_cases);
}
