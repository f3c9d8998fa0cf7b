/* An engine's check of its device: it passes and leaves no trace, finds kernels that are wrong, and
 * with device=auto the CPU computes then. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda/models.h"

/* In the place of the C library's: device=auto finds a driver. */
int access(const char *path, int mode)
{
    return strcmp(path, "/dev/nvidiactl") == 0 ? 0 : faccessat(AT_FDCWD, path, mode, 0);
}

static char last_warning[512];

static void keep_warning(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level == RADLLM_LOG_WARNING)
        snprintf(last_warning, sizeof last_warning, "%s", message);
}

static radllm_status make(const char *model, const char *device, const char *pairs, opened *o)
{
    radllm_host *host = NULL;
    radllm_options *options = options_on(device, pairs);
    *o = (opened){NULL, NULL, NULL, NULL};
    last_warning[0] = '\0';
    ck_assert_int_eq(radllm_error_new(&o->error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, o->error), o->error);
    rad_assert_ok(radllm_host_set_log(host, keep_warning, NULL, RADLLM_LOG_WARNING, o->error),
                  o->error);
    rad_assert_ok(radllm_model_open(host, model_path(model), options, NULL, &o->model, o->error),
                  o->error);
    radllm_status status = radllm_engine_new(host, o->model, options, &o->engine, o->error);
    radllm_options_free(options);
    radllm_host_free(host);
    return status;
}

static opened made(const char *model, const char *device, const char *pairs)
{
    opened o;
    radllm_status status = make(model, device, pairs, &o);
    rad_assert_ok(status, o.error);
    return o;
}

static int64_t number_of(const opened *o, const char *name)
{
    int64_t number = -1;
    rad_assert_ok(radllm_engine_number(o->engine, name, &number, o->error), o->error);
    return number;
}

static bool is_on_cpu(const opened *o)
{
    char text[256];
    rad_assert_ok(radllm_engine_text(o->engine, "device", text, sizeof text, NULL, o->error),
                  o->error);
    return strcmp(text, "cpu") == 0;
}

typedef struct kind {
    const char *model, *options;
    bool checks;
} kind;

static const kind kinds[] = {
    {"architectures/llama3-gqa-tied-q8_0", "", true},
    {"architectures/llama3-gqa-tied-q8_0", "context=1", true},
    {"architectures/llama3-gqa-tied-q8_0", "context=7 batch=3 cache=q8_0", true},
    {"architectures/llama3-gqa-tied-q8_0", "attention=sinks window=9 sinks=4 context=16", true},
    {"architectures/llama3-gqa-tied-q8_0", "attention=recompute window=8 context=16", true},
    {"architectures/llama3-gqa-tied-q8_0", "gpu_layers=1 sessions=3", true},
    {"architectures/llama3-gqa-tied-q8_0", "gpu_split=1,1", true}, /* two devices */
    {"architectures/llama3-gqa-tied-q8_0", "sessions=4 context=64 cache_positions=96", true},
    {"architectures/mistral-window-q8_0", "prefix_cache=0", true},
    {"architectures/qwen2moe-q8_0", "", true},
    {"architectures/gpt-oss-q8_0", "", true},
    {"architectures/deepseek2-v3-q8_0", "", true},
    {"architectures/gpt2-q8_0", "fast=cublas", true},
    {"encoders/bert-q8_0", "", false},
};

START_TEST(nothing_is_left_of_it)
{
    const kind *k = &kinds[_i];
    static const char *const empty[] = {"tokens_computed", "tokens_reused", "prefix_blocks",
                                        "prefix_bytes",    "pages_copied",  "pages_evicted"};
    char pairs[128];
    snprintf(pairs, sizeof pairs, "%s gpu_check=1", k->options);
    setenv("RAD_EMULATED_DEVICES", "2", 1);
    opened checked = made(k->model, "cuda", pairs);
    opened unchecked = made(k->model, "cuda", k->options);
    ck_assert_int_eq(number_of(&checked, "gpu_check_ns") > 0, k->checks);
    ck_assert_int_eq(number_of(&unchecked, "gpu_check_ns"), 0);
    ck_assert_str_eq(last_warning, "");
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        ck_assert_int_eq(number_of(&checked, empty[i]), 0);
    ck_assert_int_eq(number_of(&checked, "pages_free"), number_of(&unchecked, "pages_free"));
    radllm_expert_info expert = {.size = sizeof expert};
    for (uint32_t e = 0; radllm_engine_expert(checked.engine, 1, e, &expert, NULL) == RADLLM_OK;
         e++)
        ck_assert_uint_eq(expert.tokens, 0);
    close_file(&checked);
    close_file(&unchecked);
}
END_TEST

/* Kernels that compute one of the two ways alone. */
static const char *const wrong[] = {"few_q8_0",    "some_q8_0",  "many_q8_0",
                                    "normed_q8_0", "attend_few", "attend_many"};

START_TEST(kernels_that_are_wrong_are_found)
{
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    opened o;
    setenv("RAD_EMULATED_WRONG", wrong[_i], 1);
    ck_assert_msg(make(model, "cuda", "gpu_check=1", &o) == RADLLM_E_DEVICE, "%s", wrong[_i]);
    ck_assert_ptr_nonnull(strstr(radllm_error_message(o.error), "gpu_check=0"));
    close_file(&o);
    o = made(model, "cuda", "");
    ck_assert(!is_on_cpu(&o));
    close_file(&o);
    o = made(model, "auto", "gpu_check=1");
    ck_assert(is_on_cpu(&o));
    ck_assert_ptr_nonnull(strstr(last_warning, "the CPU computes"));
    close_file(&o);
    unsetenv("RAD_EMULATED_WRONG");
}
END_TEST

/* The device is lost at the n-th call of the driver, until the engine is made without it failing.
 */
/* Tokens, of both ways; the host ends it at the third call. */
static int32_t count_calls(void *user, const char *stage, uint64_t done, uint64_t total)
{
    uint64_t *calls = user;
    if (strcmp(stage, "check") != 0)
        return 0;
    ck_assert_uint_eq(total, 40);
    ck_assert_uint_eq(done, *calls == 0 ? 20 : *calls == 1 ? 31 : 36);
    return ++*calls == 3;
}

START_TEST(the_host_can_end_it)
{
    uint64_t calls = 0;
    radllm_error *error = NULL;
    radllm_host *host = NULL;
    radllm_model *opened_model = NULL;
    radllm_engine *engine = NULL;
    radllm_options *options = options_on("auto", "gpu_check=1");
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, error), error);
    rad_assert_ok(radllm_host_set_progress(host, count_calls, &calls, error), error);
    rad_assert_ok(radllm_model_open(host, model_path("architectures/qwen2moe-q8_0"), options, NULL,
                                    &opened_model, error),
                  error);
    ck_assert_int_eq(radllm_engine_new(host, opened_model, options, &engine, error),
                     RADLLM_E_CANCELLED);
    ck_assert_uint_eq(calls, 3);
    radllm_model_free(opened_model);
    radllm_options_free(options);
    radllm_host_free(host);
    radllm_error_free(error);
}
END_TEST

START_TEST(auto_takes_a_device_that_is_right)
{
    opened o = made("architectures/llama3-gqa-tied-q8_0", "auto", "gpu_check=1");
    ck_assert(!is_on_cpu(&o));
    ck_assert_str_eq(last_warning, "");
    close_file(&o);
}
END_TEST

START_TEST(the_cpu_goes_on_where_the_driver_fails)
{
    char call[32];
    bool on_cpu = true;
    uint32_t n = 1;
    for (; on_cpu; n += n < 40 ? 1 : 13) {
        snprintf(call, sizeof call, "%u", n);
        setenv("RAD_EMULATED_LOSE", call, 1);
        opened o = made("architectures/llama3-gqa-tied-q8_0", "auto", "gpu_check=1");
        on_cpu = is_on_cpu(&o);
        ck_assert_int_eq(last_warning[0] != '\0', on_cpu);
        unsetenv("RAD_EMULATED_LOSE");
        close_file(&o);
    }
    ck_assert_uint_gt(n, 40);
}
END_TEST

/* What was free when layers were placed can be taken by another program before they are there. */
START_TEST(the_cpu_goes_on_where_memory_is_gone)
{
    char call[32];
    bool on_cpu = true;
    uint32_t n = 1;
    for (; on_cpu; n++) {
        snprintf(call, sizeof call, "%u", n);
        setenv("RAD_EMULATED_FAIL_ALLOC", call, 1);
        opened o = made("architectures/llama3-gqa-tied-q8_0", "auto", "");
        unsetenv("RAD_EMULATED_FAIL_ALLOC");
        on_cpu = is_on_cpu(&o);
        ck_assert_int_eq(strstr(last_warning, "no memory left") != NULL, on_cpu);
        close_file(&o);
    }
    ck_assert_uint_gt(n, 4);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "check");
    tcase_add_loop_test(cases, nothing_is_left_of_it, 0, (int)(sizeof kinds / sizeof *kinds));
    tcase_add_loop_test(cases, kernels_that_are_wrong_are_found, 0,
                        RAD_TEST_WATCHED ? (int)(sizeof wrong / sizeof *wrong) : 0);
    tcase_add_test(cases, the_host_can_end_it);
    tcase_add_test(cases, auto_takes_a_device_that_is_right);
    tcase_add_test(cases, the_cpu_goes_on_where_the_driver_fails);
    tcase_add_test(cases, the_cpu_goes_on_where_memory_is_gone);
}

int main(void)
{
    return rad_test_main("cuda_check", add_cases);
}
