/* Which layers the emulated device gets, by number and by budget, what an engine takes there,
 * experts that stay in main memory; and what comes of a device that is lost, full, or not there. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/texts.h"

/* ---- placement ------------------------------------------------------------------------------- */

static int64_t number_of(const opened *o, const char *name)
{
    int64_t value = -1;
    rad_assert_ok(radllm_engine_number(o->engine, name, &value, o->error), o->error);
    return value;
}

START_TEST(layers_are_divided_by_number)
{
    static const char *const pairs[] = {"cache=f32 gpu_layers=0", "cache=f32 gpu_layers=1",
                                        "cache=f32 gpu_layers=2", "cache=f32 gpu_layers=3"};
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    opened here = open_on("cpu", model, "cache=f32");
    feed(&here, 0, 40, 40);
    for (int i = 0; i < 4; i++) {
        opened there = open_on("cuda", model, pairs[i]);
        ck_assert_int_eq(number_of(&there, "gpu_layers"), i < 2 ? i : 2);
        ck_assert_int_eq(number_of(&there, "gpu_output"), i == 3);
        feed(&there, 0, 40, 13);
        assert_same_logits(&here, &there, pairs[i]);
        close_file(&there);
    }
    close_file(&here);
}
END_TEST

/* Each smaller budget holds no more than the one before, down to one that holds no layer. */
START_TEST(layers_are_divided_by_budget)
{
    static const char model[] = "architectures/qwen3-q8_0";
    opened whole = open_on("cuda", model, "cache=bf16");
    int64_t budget = number_of(&whole, "gpu_total"), layers = number_of(&whole, "gpu_layers");
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = RADLLM_OK;
    bool parted = false;
    feed(&whole, 0, 9, 9);
    for (; status == RADLLM_OK; budget -= RAD_TEST_SANITIZED ? 60000 : 15000) {
        char pairs[64];
        snprintf(pairs, sizeof pairs, "cache=bf16 vram_limit=%lld", (long long)budget);
        radllm_options *options = options_on("cuda", pairs);
        opened part = whole;
        status = radllm_engine_new(NULL, whole.model, options, &part.engine, &error);
        radllm_options_free(options);
        if (status != RADLLM_OK)
            break;
        ck_assert_int_le(number_of(&part, "gpu_total"), budget);
        ck_assert_int_le(number_of(&part, "gpu_layers"), layers);
        layers = number_of(&part, "gpu_layers");
        parted = parted || layers < number_of(&whole, "gpu_layers");
        rad_assert_ok(radllm_session_new(part.engine, &part.session, &error), &error);
        feed(&part, 0, 9, 9);
        assert_same_logits(&whole, &part, pairs);
        radllm_session_free(part.session);
        radllm_engine_free(part.engine);
    }
    ck_assert(parted);
    rad_assert_error(status, RADLLM_E_BUDGET, &error, "1 layer needs");
    close_file(&whole);
}
END_TEST

/* Where experts have no room, all else of the layers is on the device; how many tokens an expert
 * had is known of both. */
START_TEST(experts_stay_here_where_they_have_no_room)
{
    static const char *const models[] = {
        "architectures/mixtral-q8_0", "architectures/qwen2moe-q8_0",
        "architectures/deepseek2-lite-q8_0", "architectures/gpt-oss-q8_0"};
    const char *model = models[_i];
    opened whole = open_on("cuda", model, "cache=f32"), here = open_on("cpu", model, "cache=f32");
    char pairs[64], placement[256];
    snprintf(pairs, sizeof pairs, "cache=f32 vram_limit=%lld",
             (long long)(number_of(&whole, "gpu_total") - number_of(&whole, "gpu_weights") / 2));
    opened part = open_on("cuda", model, pairs);
    opened *all[] = {&here, &whole, &part};
    rad_assert_ok(
        radllm_engine_text(part.engine, "placement", placement, sizeof placement, NULL, part.error),
        part.error);
    ck_assert_msg(strstr(placement, "without experts") != NULL, "%s", placement);
    ck_assert_int_eq(number_of(&part, "gpu_layers"), number_of(&whole, "gpu_layers"));
    for (int i = 0; i < 3; i++) {
        feed(all[i], 0, 20, 20);
        feed(all[i], 20, 23, 1);
    }
    assert_same_logits(&here, &whole, "experts on the device");
    assert_same_logits(&here, &part, "experts on the CPU");
    uint32_t layer = _i == 2 ? 1 : 0; /* the first with experts */
    for (uint32_t e = 0; e < 4; e++) {
        radllm_expert_info info[3] = {
            {.size = sizeof *info}, {.size = sizeof *info}, {.size = sizeof *info}};
        for (int i = 0; i < 3; i++)
            rad_assert_ok(radllm_engine_expert(all[i]->engine, layer, e, &info[i], all[i]->error),
                          all[i]->error);
        ck_assert_uint_eq(info[0].tokens, info[1].tokens);
        ck_assert_uint_eq(info[0].tokens, info[2].tokens);
    }
    for (int i = 0; i < 3; i++)
        close_file(all[i]);
}
END_TEST

/* The host waits once for what a layer's experts read, and once at the end of a step. */
START_TEST(experts_here_cost_one_wait_a_layer)
{
    static const char model[] = "architectures/qwen2moe-q8_0";
    char path[1024], pairs[64];
    unsigned long long waits[2][2] = {{0}};
    opened whole = open_on("cuda", model, "cache=f32");
    long long limit = number_of(&whole, "gpu_total") - number_of(&whole, "gpu_weights") / 2;
    unsigned long long layers = (unsigned long long)number_of(&whole, "gpu_layers");
    close_file(&whole);
    snprintf(path, sizeof path, "%s", rad_test_temp_path("waits"));
    snprintf(pairs, sizeof pairs, "cache=f32 vram_limit=%lld", limit);
    setenv("RAD_EMULATED_COUNTS", path, 1);
    for (uint32_t i = 0; i < 2; i++) {
        opened part = open_on("cuda", model, pairs);
        feed(&part, 0, 7, 7);
        feed(&part, 7, 8 + 3 * i, 1);
        close_file(&part);
        waits[i][0] = calls_of(path, "event_wait");
        waits[i][1] = calls_of(path, "synchronize");
    }
    unsetenv("RAD_EMULATED_COUNTS");
    ck_assert_uint_eq(waits[1][0] - waits[0][0], 3 * layers);
    ck_assert_uint_eq(waits[1][1] - waits[0][1], 3);
}
END_TEST

START_TEST(the_plan_says_what_is_taken)
{
    static const char *const names[] = {"gpu_layers", "gpu_weights", "gpu_cache", "gpu_activations",
                                        "gpu_total"};
    opened o = open_on("cuda", "architectures/llama3-gqa-tied-q8_0", "");
    radllm_options *options = options_on("cuda", "");
    radllm_file *file = NULL;
    radllm_plan *plan = NULL;
    rad_assert_ok(
        radllm_file_open(NULL, model_path("architectures/llama3-gqa-tied-q8_0"), &file, o.error),
        o.error);
    rad_assert_ok(radllm_plan_new(file, options, &plan, o.error), o.error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t planned = 0;
        rad_assert_ok(radllm_plan_number(plan, names[i], &planned, o.error), o.error);
        ck_assert_int_gt((int64_t)planned, 0);
        ck_assert_int_eq((int64_t)planned, number_of(&o, names[i]));
    }
    int64_t used = number_of(&o, "gpu_used"), total = number_of(&o, "gpu_total");
    ck_assert_msg(used >= total && used - total < total / 50 + 65536,
                  "%lld bytes are planned, %lld taken", (long long)total, (long long)used);
    ck_assert_int_gt(number_of(&o, "gpu_upload_ns"), 0);
    ck_assert_int_gt(number_of(&o, "gpu_bandwidth"), 0);
    ck_assert_int_gt(number_of(&o, "gpu_int8_macs"), 0);
    ck_assert_int_gt(number_of(&o, "gpu_float_macs"), 0);
    ck_assert_int_eq(number_of(&o, "gpu_used"), used); /* what was taken to measure is given back */
    radllm_plan_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    close_file(&o);
}
END_TEST

/* Where the host's memory has a budget, the largest context is that of an engine with this device:
 * its keys and values are there, and pinned memory is here. */
START_TEST(the_largest_context_is_told_exactly)
{
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    radllm_error error = {.status = RADLLM_OK};
    char pairs[128];
    uint64_t planned = 0, all = 0;
    unsigned largest = 0;
    snprintf(pairs, sizeof pairs, "memory_budget=1M gpu_layers=%d", _i);
    radllm_options *options = options_on("cuda", pairs);
    radllm_file *file = NULL;
    radllm_plan *plan = NULL;
    radllm_model *opened_model = NULL;
    radllm_engine *engine = NULL;
    rad_assert_ok(radllm_file_open(NULL, model_path(model), &file, &error), &error);
    rad_assert_ok(radllm_plan_new(file, options, &plan, &error), &error);
    rad_assert_ok(radllm_plan_number(plan, "largest_context", &planned, &error), &error);
    rad_assert_ok(radllm_plan_number(plan, "context", &all, &error), &error);
    rad_assert_ok(radllm_model_load(NULL, file, options, NULL, &opened_model, &error), &error);
    rad_assert_error(radllm_engine_new(NULL, opened_model, options, &engine, &error),
                     RADLLM_E_BUDGET, &error, "the largest context that fits is ");
    ck_assert_int_eq(sscanf(strstr(error.message, "fits is"), "fits is %u", &largest), 1);
    ck_assert_uint_eq(largest, planned);
    ck_assert(largest > 1 && largest < all);
    for (unsigned more = 0; more < 2; more++) {
        rad_assert_ok(radllm_options_set_integer(options, "context", largest + more, &error),
                      &error);
        radllm_status status = radllm_engine_new(NULL, opened_model, options, &engine, &error);
        ck_assert_int_eq(status, more == 0 ? RADLLM_OK : RADLLM_E_BUDGET);
        radllm_engine_free(engine);
        engine = NULL;
    }
    radllm_model_free(opened_model);
    radllm_plan_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
}
END_TEST

/* Memory that another engine of this process took before is no part of the driver's line: the same
 * budget holds the same layers. */
START_TEST(what_others_take_is_no_context)
{
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    opened first = open_on("cuda", model, "cache=f32");
    int64_t context = number_of(&first, "gpu_context"), total = number_of(&first, "gpu_total");
    char pairs[64];
    setenv("RAD_EMULATED_TAKEN", "30000000", 1);
    snprintf(pairs, sizeof pairs, "cache=f32 vram_limit=%lld", (long long)total);
    opened second = open_on("cuda", model, pairs);
    unsetenv("RAD_EMULATED_TAKEN");
    ck_assert_int_eq(number_of(&second, "gpu_context"), context);
    ck_assert_int_eq(number_of(&second, "gpu_total"), total);
    ck_assert_int_eq(number_of(&second, "gpu_output"), 1);
    close_file(&first);
    close_file(&second);
}
END_TEST

/* Engines of one model, each on a thread, made, used and freed while others compute. */
enum { THREADS = 3, TURNS = 2 };

static const opened *of_all;
static const float *wanted_logits;

static void *compute_beside_others(void *right)
{
    radllm_options *options = options_on("cuda", "cache=f32 threads=1");
    int64_t n_vocab = 0;
    size_t n = 0;
    opened o = *of_all;
    if (radllm_error_new(&o.error) != RADLLM_OK ||
        radllm_model_number(o.model, "vocab_size", &n_vocab, o.error) != RADLLM_OK)
        return NULL;
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    for (int turn = 0; turn < TURNS; turn++) {
        int32_t tokens[9];
        for (uint32_t i = 0; i < 9; i++)
            tokens[i] = long_id(i);
        o.engine = NULL;
        o.session = NULL;
        if (radllm_engine_new(NULL, o.model, options, &o.engine, o.error) == RADLLM_OK &&
            radllm_session_new(o.engine, &o.session, o.error) == RADLLM_OK &&
            radllm_session_feed(o.session, tokens, 9, NULL, o.error) == RADLLM_OK &&
            radllm_session_logits(o.session, logits, (size_t)n_vocab, &n, o.error) == RADLLM_OK &&
            memcmp(logits, wanted_logits, n * sizeof *logits) == 0)
            ++*(int *)right;
        radllm_session_free(o.session);
        radllm_engine_free(o.engine);
    }
    free(logits);
    radllm_error_free(o.error);
    radllm_options_free(options);
    return NULL;
}

START_TEST(engines_compute_beside_each_other)
{
    pthread_t threads[THREADS];
    int right[THREADS] = {0};
    opened o = open_on("cuda", "architectures/qwen3moe-q8_0", "cache=f32");
    feed(&o, 0, 9, 4);
    float *logits = last_logits(&o);
    of_all = &o;
    wanted_logits = logits;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, compute_beside_others, &right[i]), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(right[i], TURNS);
    free(logits);
    close_file(&o);
}
END_TEST

/* A snapshot of one goes on under no other placement, and the message has both. */
START_TEST(snapshots_name_where_layers_were)
{
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    const char *path = rad_test_temp_path("placed.session");
    opened o[] = {open_on("cpu", model, "cache=f32"), open_on("cuda", model, "cache=f32"),
                  open_on("cuda", model, "cache=f32 gpu_layers=1")};
    static const char *const lines[] = {"\"device=cpu\"",
                                        "\"device=emulated device, 2 layers and the output\"",
                                        "\"device=emulated device, 1 layers\""};
    for (int from = 0; from < 3; from++) {
        feed(&o[from], 0, 9, 9);
        rad_assert_ok(radllm_session_snapshot(o[from].session, path, NULL, o[from].error),
                      o[from].error);
        for (int to = 0; to < 3; to++) {
            radllm_status status = radllm_session_restore(o[to].session, path, NULL, o[to].error);
            ck_assert_int_eq(status, from == to ? RADLLM_OK : RADLLM_E_ARGUMENT);
            for (int i = 0; i < 3 && from != to; i++)
                ck_assert_msg((strstr(radllm_error_message(o[to].error), lines[i]) != NULL) ==
                                  (i == from || i == to),
                              "%s", radllm_error_message(o[to].error));
        }
        rad_assert_ok(radllm_session_rewind(o[from].session, 0, o[from].error), o[from].error);
    }
    for (int i = 0; i < 3; i++)
        close_file(&o[i]);
}
END_TEST

/* ---- what fails ------------------------------------------------------------------------------ */

/* The device is lost at its n-th call, for every n up to the end of some tokens: each call of the
 * library fails with a status, and the CPU goes on with the same model. */
START_TEST(a_lost_device_is_a_status)
{
    radllm_options *cuda = options_on("cuda", "context=64 batch=16");
    radllm_options *cpu = options_on("cpu", "context=64 batch=16");
    radllm_error error = {.status = RADLLM_OK};
    opened o = {.error = &error};
    bool survived = false;
    rad_assert_ok(radllm_model_open(NULL, model_path("architectures/llama3-gqa-tied-q8_0"), cuda,
                                    NULL, &o.model, &error),
                  &error);
    int32_t tokens[] = {1, 5, 9};
    for (int n = 1; !survived && n < 4000; n += RAD_TEST_SANITIZED ? 61 : n < 20 ? 1 : 31) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        setenv("RAD_EMULATED_LOSE", text, 1);
        radllm_status status = radllm_engine_new(NULL, o.model, cuda, &o.engine, &error);
        if (status != RADLLM_OK) {
            ck_assert_msg(status == RADLLM_E_DEVICE || status == RADLLM_E_UNSUPPORTED, "%d: %s", n,
                          error.message);
            continue;
        }
        rad_assert_ok(radllm_session_new(o.engine, &o.session, &error), &error);
        status = radllm_session_feed(o.session, tokens, 3, NULL, &error);
        survived = status == RADLLM_OK;
        if (!survived) {
            rad_assert_error(status, RADLLM_E_DEVICE, &error, "device failed: emulated device 0");
            rad_assert_error(radllm_session_feed(o.session, tokens, 3, NULL, &error),
                             RADLLM_E_DEVICE, &error, "message (as the test asked); this engine");
        }
        radllm_session_free(o.session);
        radllm_engine_free(o.engine);
    }
    ck_assert(survived);
    unsetenv("RAD_EMULATED_LOSE");
    rad_assert_ok(radllm_engine_new(NULL, o.model, cpu, &o.engine, &error), &error);
    rad_assert_ok(radllm_session_new(o.engine, &o.session, &error), &error);
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, &error), &error);
    radllm_session_free(o.session);
    radllm_engine_free(o.engine);
    radllm_model_free(o.model);
    radllm_options_free(cuda);
    radllm_options_free(cpu);
}
END_TEST

/* A child made by fork() gives its memory back without a word to the device, and the parent goes
 * on.
 */
START_TEST(a_forked_child_leaves_the_device_alone)
{
    if (RAD_TEST_SANITIZED)
        RAD_SKIP("sanitizers and fork() do not go together (test_host.c)");
    opened o = open_on("cuda", "architectures/llama3-gqa-tied-q8_0", "sessions=2 context=96");
    feed(&o, 0, 40, 40);
    pid_t child = fork();
    if (child == 0) {
        close_file(&o);
        _exit(0);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %d", status);
    feed(&o, 40, LONG, 9);
    close_file(&o);
}
END_TEST

/* No memory for the n-th allocation, for every n: a status, and the next engine is whole. */
START_TEST(a_full_device_is_a_status)
{
    radllm_options *options = options_on("cuda", "context=64 batch=16");
    radllm_error error = {.status = RADLLM_OK};
    opened o = {.error = &error};
    int32_t tokens[] = {1, 5, 9};
    int n = 1;
    rad_assert_ok(radllm_model_open(NULL, model_path("architectures/llama3-gqa-tied-q8_0"), options,
                                    NULL, &o.model, &error),
                  &error);
    for (radllm_status status = RADLLM_E_MEMORY; status != RADLLM_OK && n < 1000; n++) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        setenv("RAD_EMULATED_FAIL_ALLOC", text, 1);
        status = radllm_engine_new(NULL, o.model, options, &o.engine, &error);
        if (status != RADLLM_OK)
            rad_assert_error(status, RADLLM_E_MEMORY, &error, "memory");
    }
    ck_assert_int_gt(n, 6);
    unsetenv("RAD_EMULATED_FAIL_ALLOC");
    rad_assert_ok(radllm_session_new(o.engine, &o.session, &error), &error);
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, &error), &error);
    radllm_session_free(o.session);
    radllm_engine_free(o.engine);
    radllm_model_free(o.model);
    radllm_options_free(options);
}
END_TEST

START_TEST(a_small_or_missing_device_is_an_error_or_the_cpu)
{
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    radllm_options *options = options_on("cuda", "");
    radllm_error error = {.status = RADLLM_OK};
    radllm_model *opened_model = NULL;
    radllm_engine *engine = NULL;
    rad_assert_ok(radllm_model_open(NULL, model_path(model), options, NULL, &opened_model, &error),
                  &error);
    setenv("RAD_EMULATED_MEMORY", "60000", 1);
    rad_assert_error(radllm_engine_new(NULL, opened_model, options, &engine, &error),
                     RADLLM_E_BUDGET, &error, "1 layer needs");
    unsetenv("RAD_EMULATED_MEMORY");
    setenv("RAD_EMULATED_DEVICES", "0", 1);
    rad_assert_error(radllm_engine_new(NULL, opened_model, options, &engine, &error),
                     RADLLM_E_UNSUPPORTED, &error, "no GPU can be used");
    unsetenv("RAD_EMULATED_DEVICES");
    rad_assert_ok(radllm_options_set_integer(options, "gpu", 3, &error), &error);
    rad_assert_error(radllm_engine_new(NULL, opened_model, options, &engine, &error),
                     RADLLM_E_UNSUPPORTED, &error, "GPU number 3");
    radllm_model_free(opened_model);
    radllm_options_free(options);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "placement");
    tcase_add_test(cases, layers_are_divided_by_number);
    tcase_add_test(cases, layers_are_divided_by_budget);
    tcase_add_test(cases, the_plan_says_what_is_taken);
    tcase_add_loop_test(cases, the_largest_context_is_told_exactly, 1, 3);
    tcase_add_test(cases, engines_compute_beside_each_other);
    tcase_add_test(cases, snapshots_name_where_layers_were);
    tcase_add_test(cases, what_others_take_is_no_context);
    tcase_add_loop_test(cases, experts_stay_here_where_they_have_no_room, 0, 4);
    tcase_add_test(cases, experts_here_cost_one_wait_a_layer);
    cases = rad_test_case(suite, "failures");
    tcase_add_test(cases, a_lost_device_is_a_status);
    tcase_add_test(cases, a_full_device_is_a_status);
    tcase_add_test(cases, a_forked_child_leaves_the_device_alone);
    tcase_add_test(cases, a_small_or_missing_device_is_an_error_or_the_cpu);
}

int main(void)
{
    return rad_test_main("cuda_placement", add_cases);
}
