/* Whole models on several emulated devices (test_backend.c: on one): layers that are divided
 * between them have the bits that one device gives, whatever the division. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/texts.h"
#include "golden/logits.h"

#define N_IDS 7

static const int32_t ids[N_IDS] = {1, 17, 5, 60, 33, 2, 41};
static const char tied[] = "architectures/llama3-gqa-tied-q8_0";

static radllm_options *make_options(const char *pairs)
{
    return options_on("cuda", pairs);
}

/* ---- divisions ------------------------------------------------------------------------------- */

static void plan_numbers(const char *model, const char *pairs, const char *const *names, size_t n,
                         uint64_t *numbers)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = make_options(pairs);
    radllm_file *file = NULL;
    radllm_plan *plan = NULL;
    rad_assert_ok(radllm_file_open(NULL, model_path(model), &file, &error), &error);
    rad_assert_ok(radllm_plan_new(file, options, &plan, &error), &error);
    for (size_t i = 0; i < n; i++)
        rad_assert_ok(radllm_plan_number(plan, names[i], &numbers[i], &error), &error);
    radllm_plan_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
}

static uint64_t plan_number(const char *model, const char *pairs, const char *name)
{
    uint64_t number;
    plan_numbers(model, pairs, &name, 1, &number);
    return number;
}

/* The options with budgets that give one layer to each device before the last of n. */
static const char *divide(const char *model, const char *pairs, int n, char out[512])
{
    char limits[128] = "", all[512];
    size_t used = 0;
    for (int k = 0; k + 1 < n; k++) {
        char name[32];
        snprintf(all, sizeof all, "%s vram_limits=%s0 gpu_layers=%d", pairs, limits, k + 1);
        snprintf(name, sizeof name, "gpu%d_total", k);
        used += (size_t)snprintf(limits + used, sizeof limits - used, "%llu,",
                                 (unsigned long long)plan_number(model, all, name));
    }
    snprintf(out, 512, "%s vram_limits=%s0", pairs, limits);
    return out;
}

static float *logits_of(const char *model, const char *pairs, size_t chunk, uint32_t *n_vocab)
{
    radllm_options *options = make_options(pairs);
    float *logits = rad_test_logits(model_path(model), options, ids, N_IDS, chunk, n_vocab);
    radllm_options_free(options);
    return logits;
}

static int64_t number_of(const opened *o, const char *name)
{
    int64_t value = -1;
    rad_assert_ok(radllm_engine_number(o->engine, name, &value, o->error), o->error);
    return value;
}

static opened open_with(const char *model, const char *pairs)
{
    radllm_options *options = make_options(pairs);
    opened o = open_file(model_path(model), options);
    radllm_options_free(options);
    return o;
}

/* ---- every architecture ---------------------------------------------------------------------- */

static char models[64][64];
static int n_models;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_models(void)
{
    static const char end[] = "-q8_0.gguf";
    DIR *folder = opendir(rad_test_source_path("tests/golden/architectures"));
    for (struct dirent *e; folder != NULL && n_models < 60 && (e = readdir(folder)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length > sizeof end && length < 48 &&
            strcmp(e->d_name + length - sizeof end + 1, end) == 0)
            snprintf(models[n_models++], sizeof models[0], "architectures/%.*s", (int)length - 5,
                     e->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    qsort(models, (size_t)n_models, sizeof models[0], by_name);
    snprintf(models[n_models++], sizeof models[0], "types/f16");
    snprintf(models[n_models++], sizeof models[0], "types/bf16");
    snprintf(models[n_models++], sizeof models[0], "architectures/mixtral-f32");
}

/* On two or on three, with copies between devices or through the host's memory: all four in turns,
 * so that each architecture has one and each way a quarter of them. */
START_TEST(divided_models_have_the_bits_of_one_device)
{
    const char *model = models[_i];
    uint32_t n_vocab;
    if (RAD_TEST_SANITIZED && _i % 5 != 0)
        return;
    float *one = logits_of(model, "cache=f16", 0, &n_vocab);
    int n = 2 + _i % 2;
    char pairs[512];
    divide(model, "cache=f16", n, pairs);
    static const char *const peers[] = {"1", "0", "2"};
    setenv("RAD_EMULATED_PEERS", peers[_i / 2 % 3], 1);
    ck_assert_uint_eq(plan_number(model, pairs, "gpu_count"), (uint64_t)n);
    float *several = logits_of(model, pairs, n == 2 ? 0 : 3, &n_vocab);
    ck_assert_msg(memcmp(one, several, (size_t)N_IDS * n_vocab * sizeof *one) == 0,
                  "%s: %d devices differ from one", model, n);
    free(several);
    free(one);
}
END_TEST

/* ---- sessions -------------------------------------------------------------------------------- */

static int32_t sample(const opened *o, const char *pairs)
{
    radllm_options *options = make_options(pairs);
    int32_t token = -1;
    rad_assert_ok(radllm_session_sample(o->session, options, &token, NULL, o->error), o->error);
    radllm_options_free(options);
    return token;
}

/* With a further session of each. */
static void close_both(opened files[2], opened besides[2])
{
    for (int i = 0; i < 2; i++) {
        radllm_session_free(besides[i].session);
        close_file(&files[i]);
    }
}

/* Six tokens that a request draws of all. */
static void draw(const opened *o, int32_t tokens[6])
{
    radllm_options *options =
        options_on("cpu", "max_tokens=6 ignore_end=yes temperature=0.9 seed=5");
    radllm_request *request = NULL;
    const int32_t prompt[] = {5, 9, 11};
    rad_assert_ok(radllm_request_new_tokens(o->session, prompt, 3, options, &request, o->error),
                  o->error);
    rad_assert_ok(radllm_request_run(request, NULL, o->error), o->error);
    for (size_t t = 0; t < 6; t++) {
        radllm_answer_token token = {.size = sizeof token};
        rad_assert_ok(radllm_request_token(request, t, &token, o->error), o->error);
        tokens[t] = token.token;
    }
    radllm_request_free(request);
    radllm_options_free(options);
}

/* Steps of one token are graphs from the second on; batches of several sessions; the most likely
 * token, chosen on the last device, and drawn ones. */
START_TEST(steps_are_repeated)
{
    static const char pairs[] = "sessions=2 batch=9 context=96 cache=q8_0";
    char divided[512];
    opened all[2], others[2];
    int32_t tokens[2][8], drawn[2][6];
    setenv("RAD_EMULATED_PEERS", _i == 0 ? "0" : "1", 1);
    divide(tied, pairs, 3, divided);
    for (int i = 0; i < 2; i++) {
        all[i] = others[i] = open_with(tied, i == 0 ? pairs : divided);
        rad_assert_ok(radllm_session_new(all[i].engine, &others[i].session, all[i].error),
                      all[i].error);
        feed(&all[i], 0, 40, i == 0 ? 40 : 9);
        feed(&others[i], 3, 20, 17);
        for (int t = 0; t < 8; t++) {
            tokens[i][t] = sample(&all[i], t == 5 ? "temperature=1.5 seed=7" : "");
            rad_assert_ok(radllm_session_feed(all[i].session, &tokens[i][t], 1, NULL, all[i].error),
                          all[i].error);
        }
    }
    ck_assert_int_eq(memcmp(tokens[0], tokens[1], sizeof tokens[0]), 0);
    assert_same_logits(&all[0], &all[1], "behind repeated steps");
    assert_same_logits(&others[0], &others[1], "of a session besides");
    for (int i = 0; i < 2; i++)
        draw(&others[i], drawn[i]);
    ck_assert_int_eq(memcmp(drawn[0], drawn[1], sizeof drawn[0]), 0);
    close_both(all, others);
}
END_TEST

/* Beginnings that sessions share, forks that go apart, what is taken out, files that another
 * division wrote: of layers in one group of pages, and in two. */
START_TEST(pages_are_divided)
{
    static const char *const names[] = {"architectures/llama3-gqa-tied-q8_0",
                                        "architectures/gemma2-q8_0"};
    static const char pairs[] = "sessions=3 batch=40 context=96 cache=q4_0";
    char divided[512];
    opened both[2], forks[2];
    const char *path = rad_test_temp_path("divided");
    divide(names[_i], pairs, 2, divided);
    for (int i = 0; i < 2; i++) {
        opened *o = &both[i];
        *o = open_with(names[_i], i == 0 ? divided : pairs);
        forks[i] = *o;
        feed(o, 0, 70, 40);
        rad_assert_ok(radllm_session_fork(o->session, &forks[i].session, o->error), o->error);
        feed(&forks[i], 70, LONG, 1);
        rad_assert_ok(radllm_session_rewind(o->session, 41, o->error), o->error);
        feed(o, 60, LONG, 7); /* other tokens than before at these positions */
    }
    assert_same_logits(&both[0], &both[1], "behind a rewind");
    assert_same_logits(&forks[0], &forks[1], "of a fork");
    rad_assert_ok(radllm_session_snapshot(forks[0].session, path, NULL, both[0].error),
                  both[0].error);
    for (int i = 0; i < 2; i++) { /* one device goes on with what several have computed */
        rad_assert_ok(radllm_session_restore(both[i].session, path, NULL, both[i].error),
                      both[i].error);
        feed(&both[i], 3, 12, 4);
    }
    assert_same_logits(&both[0], &both[1], "behind a snapshot");
    rad_assert_ok(radllm_session_snapshot(forks[1].session, path, NULL, both[1].error),
                  both[1].error);
    rad_assert_ok(radllm_session_restore(both[0].session, path, NULL, both[0].error),
                  both[0].error);
    feed(&both[0], 3, 12, 4);
    assert_same_logits(&both[0], &both[1], "behind a snapshot of one device");
    for (int i = 0; i < 2; i++) {
        int64_t shared;
        opened third = both[i];
        rad_assert_ok(radllm_session_new(third.engine, &third.session, third.error), third.error);
        feed(&third, 0, 69, 40);
        shared = number_of(&third, "tokens_shared");
        ck_assert_int_ge(shared, 32);
        radllm_session_free(forks[i].session);
        forks[i].session = third.session;
    }
    assert_same_logits(&forks[0], &forks[1], "of a shared beginning");
    close_both(both, forks);
}
END_TEST

/* Each device adds what they change of its own layers. */
START_TEST(adapters_are_added_between)
{
    static const char model[] = "architectures/bloom-f32";
    char pairs[400], divided[512];
    uint32_t n_vocab;
    snprintf(pairs, sizeof pairs, "adapter=%s.gguf",
             rad_test_source_path("tests/golden/adapters/bloom-attention"));
    float *one = logits_of(model, pairs, 0, &n_vocab);
    float *several = logits_of(model, divide(model, pairs, 3, divided), 3, &n_vocab);
    ck_assert_int_eq(memcmp(one, several, (size_t)N_IDS * n_vocab * sizeof *one), 0);
    free(one);
    free(several);
}
END_TEST

/* Where the devices are not of one kind, which layers each has belongs to what a file goes on with.
 */
START_TEST(kinds_of_devices_are_told_apart)
{
    char divided[512], text[512];
    const char *path = rad_test_temp_path("kinds");
    setenv("RAD_EMULATED_OTHER", "1", 1);
    divide(tied, "gpus=0,1", 2, divided);
    opened both[2] = {open_with(tied, divided), open_with(tied, "gpus=0")};
    rad_assert_ok(
        radllm_engine_text(both[0].engine, "device", text, sizeof text, NULL, both[0].error),
        both[0].error);
    ck_assert_str_eq(text, "cuda: emulated device, emulated device of another kind");
    feed(&both[0], 0, 9, 9);
    rad_assert_ok(radllm_session_snapshot(both[0].session, path, NULL, both[0].error),
                  both[0].error);
    rad_assert_ok(radllm_session_restore(both[0].session, path, NULL, both[0].error),
                  both[0].error);
    rad_assert_error(radllm_session_restore(both[1].session, path, NULL, both[1].error),
                     RADLLM_E_ARGUMENT, both[1].error,
                     "emulated device: 1, emulated device of another kind: 1, 2 layers");
    for (int i = 0; i < 2; i++)
        close_file(&both[i]);
}
END_TEST

/* An encoder's vectors: tokens that see the whole text, in one step, with pages that the layers of
 * a device use one after the other. */
START_TEST(encoders_are_divided)
{
    static const char model[] = "encoders/bert-q8_0";
    static const int32_t text[] = {1, 2, 3, 5, 8, 13, 21, 34, 55};
    static float vectors[2][4096];
    const int32_t *const texts[] = {text};
    const size_t length = 9;
    size_t n[2] = {0};
    char divided[512];
    divide(model, "cache=f32", 2, divided);
    for (int i = 0; i < 2; i++) {
        radllm_options *options = make_options(i == 0 ? "cache=f32" : divided);
        int64_t count = 0;
        n[i] = embed_with(options, model, texts, &length, 1, vectors[i], 4096, &count);
        ck_assert_int_eq(count, i + 1);
        radllm_options_free(options);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_int_eq(memcmp(vectors[0], vectors[1], n[0] * sizeof(float)), 0);
}
END_TEST

/* ---- placement ------------------------------------------------------------------------------- */

/* With room on one, others are left alone; each has what its budget holds, and the CPU the rest;
 * plan and engine say the same, and no more is taken. */
START_TEST(budgets_divide_layers)
{
    static const char *const names[] = {"gpu0_layers",  "gpu1_layers",      "gpu0_total",
                                        "gpu1_total",   "gpu0_weights",     "gpu1_cache",
                                        "gpu1_context", "gpu1_activations", "gpu_total",
                                        "gpu_layers",   "gpu0_number",      "gpu1_number"};
    enum { N = sizeof names / sizeof *names };
    uint64_t planned[N];
    char divided[512], limited[512], text[512];
    opened whole = open_with(tied, "");
    ck_assert_int_eq(number_of(&whole, "gpu_count"), 1);
    ck_assert_int_eq(number_of(&whole, "gpu0_number"), 0);
    int64_t others = number_of(&whole, "gpu_used") - number_of(&whole, "gpu_context");
    divide(tied, "gpus=2,0", 2, divided);
    plan_numbers(tied, divided, names, N, planned);
    opened two = open_with(tied, divided);
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(number_of(&two, names[i]), (int64_t)planned[i]);
    ck_assert_uint_eq(planned[0], 1);
    ck_assert_uint_eq(planned[1], 1);
    ck_assert_uint_eq(planned[10], 2);
    ck_assert_uint_eq(planned[11], 0);
    ck_assert_uint_eq(planned[2] + planned[3], planned[8]);
    for (int k = 0; k < 2; k++) {
        int64_t used = number_of(&two, k == 0 ? "gpu0_used" : "gpu1_used") - (k == 1 ? others : 0);
        int64_t total = (int64_t)planned[2 + k];
        ck_assert_msg(used >= total && used - total < total / 50 + 65536,
                      "device %d: %lld bytes are planned, %lld taken", k, (long long)total,
                      (long long)used);
    }
    rad_assert_ok(radllm_engine_text(two.engine, "device", text, sizeof text, NULL, two.error),
                  two.error);
    ck_assert_str_eq(text, "cuda: 2 x emulated device");
    rad_assert_ok(radllm_engine_text(two.engine, "placement", text, sizeof text, NULL, two.error),
                  two.error);
    ck_assert_str_eq(text, "2 layers and output on cuda; layers on GPU 2: 1, GPU 0: 1");
    /* The second has room for a layer less than is left: the output is the CPU's. */
    snprintf(limited, sizeof limited, "gpus=0,1 vram_limits=%llu,%llu",
             (unsigned long long)planned[2], (unsigned long long)planned[2]);
    opened parted = open_with(tied, limited);
    ck_assert_int_eq(number_of(&parted, "gpu_layers"), 2);
    ck_assert_int_eq(number_of(&parted, "gpu_output"), 0);
    opened split = open_with(tied, "gpu_split=0,1");
    ck_assert_int_eq(number_of(&split, "gpu_count"), 2);
    ck_assert_int_eq(number_of(&split, "gpu0_number"), 1);
    ck_assert_int_eq(number_of(&split, "gpu0_layers"), 1);
    opened *all[] = {&whole, &two, &parted, &split};
    for (int i = 0; i < 4; i++)
        feed(all[i], 0, 20, 13);
    assert_same_logits(&whole, &two, "two devices");
    assert_same_logits(&whole, &parted, "two devices and the CPU");
    assert_same_logits(&whole, &split, "two devices by number");
    for (int i = 0; i < 4; i++)
        close_file(all[i]);
}
END_TEST

/* Where experts have no room on all devices together, all else of the layers is there. */
START_TEST(experts_stay_here)
{
    static const char model[] = "architectures/mixtral-q8_0";
    static const char *const names[] = {"gpu_total", "gpu_weights"};
    uint64_t numbers[2];
    char pairs[128], text[512];
    plan_numbers(model, "cache=f32", names, 2, numbers);
    unsigned long long limit = numbers[0] - numbers[1] * 11 / 12;
    snprintf(pairs, sizeof pairs, "cache=f32 gpus=1,2 vram_limit=%llu", limit);
    opened whole = open_with(model, "cache=f32"), part = open_with(model, pairs);
    /* The last layer's experts have the output rows alone, so that pieces count. */
    rad_assert_ok(radllm_engine_text(part.engine, "placement", text, sizeof text, NULL, part.error),
                  part.error);
    ck_assert_msg(strstr(text, "without experts") != NULL && strstr(text, "GPU 2") != NULL, "%s",
                  text);
    feed(&whole, 0, 20, 6);
    feed(&part, 0, 20, 6);
    assert_same_logits(&whole, &part, text);
    for (uint32_t layer = 0; layer < 2; layer++) {
        radllm_expert_info info[2] = {{.size = sizeof *info}, {.size = sizeof *info}};
        rad_assert_ok(radllm_engine_expert(whole.engine, layer, 1, &info[0], whole.error),
                      whole.error);
        rad_assert_ok(radllm_engine_expert(part.engine, layer, 1, &info[1], part.error),
                      part.error);
        ck_assert_uint_eq(info[0].tokens, info[1].tokens);
    }
    close_file(&part);
    /* With their experts on two devices, how many tokens these had is asked of the right one. */
    char divided[512];
    part = open_with(model, divide(model, "cache=f32", 2, divided));
    feed(&part, 0, 20, 6);
    for (uint32_t layer = 0; layer < 2; layer++) {
        radllm_expert_info info[2] = {{.size = sizeof *info}, {.size = sizeof *info}};
        rad_assert_ok(radllm_engine_expert(whole.engine, layer, 1, &info[0], whole.error),
                      whole.error);
        rad_assert_ok(radllm_engine_expert(part.engine, layer, 1, &info[1], part.error),
                      part.error);
        ck_assert_uint_eq(info[0].tokens, info[1].tokens);
    }
    close_file(&part);
    close_file(&whole);
}
END_TEST

/* ---- what fails ------------------------------------------------------------------------------ */

START_TEST(wrong_lists_are_errors)
{
    static const char *const wrong[][2] = {
        {"gpus", "0,0"},         {"gpus", "0,"},
        {"gpus", "64"},          {"gpus", "-1"},
        {"gpus", "one"},         {"vram_limits", "8G,"},
        {"vram_limits", "8T"},   {"vram_limits", "9999999999999G"},
        {"vram_limits", "1,,2"}, {"gpu_split", "1,-1"},
        {"vram_limit", "8T"},    {"vram_limit", "1G,2G"},
        {"vram_limit", "-1G"},   {"vram_limit", "9999999999999G"},
        {"vram_limit", "G"},     {"threads", "1K"}};
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = make_options("gpus=0,7 vram_limits=1G,0");
    radllm_model *model = NULL;
    radllm_engine *engine = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        rad_assert_error(
            radllm_options_set_text(options, wrong[i][0], wrong[i][1], RADLLM_NUL, &error),
            RADLLM_E_ARGUMENT, &error, wrong[i][0]);
    rad_assert_ok(radllm_model_open(NULL, model_path(tied), options, NULL, &model, &error), &error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_UNSUPPORTED,
                     &error, "GPU number 7");
    rad_assert_ok(radllm_options_set_text(options, "gpus", "0,1", RADLLM_NUL, &error), &error);
    rad_assert_ok(radllm_options_set_text(options, "vram_limits", "1K,2K", RADLLM_NUL, &error),
                  &error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_BUDGET,
                     &error, "1 layer needs");
    rad_assert_ok(radllm_options_set_text(options, "gpu_split", "0,2", RADLLM_NUL, &error), &error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_BUDGET,
                     &error, "1 layer needs");
    radllm_options_free(options);
    options = make_options("vram_limit=3K");
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_BUDGET,
                     &error, "more than the 3072 there are");
    radllm_model_free(model);
    radllm_options_free(options);
}
END_TEST

/* As many layers as the option says are on each, or it is an error. */
START_TEST(a_split_is_exact)
{
    static const struct {
        const char *options, *message;
    } wrong[] = {
        {"gpu_split=3", "gpu_split asks for 3 layers together, the model has 2"},
        {"gpu_split=2,1", "gpu_split asks for 3 layers together, the model has 2"},
        {"gpu_split=1 gpu_layers=0", NULL},
        {"gpu_split=1,1 gpu_layers=1", "2 layers together, gpu_layers for 1"},
        {"gpu=0 gpu_split=1 gpu_layers=2", "1 layers together, gpu_layers for 2"},
        {"gpu=0 gpu_split=0", "0 layers together, the model has 2; change it, or set device=cpu"},
        {"gpu=0 gpu_split=1,1", "1 layers on GPU 2 of the list, which has 1"},
        {"gpus=2,0 gpu_split=0,0,1", "1 layers on GPU 3 of the list, which has 2"},
        {"gpu=0 gpu_split=1", NULL},
        {"gpu_split=0", NULL}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        radllm_error error = {.status = RADLLM_OK};
        radllm_options *options = make_options(wrong[i].options);
        radllm_model *model = NULL;
        radllm_engine *engine = NULL;
        rad_assert_ok(radllm_model_open(NULL, model_path(tied), options, NULL, &model, &error),
                      &error);
        radllm_status status = radllm_engine_new(NULL, model, options, &engine, &error);
        if (wrong[i].message == NULL)
            rad_assert_ok(status, &error);
        else
            rad_assert_error(status, RADLLM_E_ARGUMENT, &error, wrong[i].message);
        radllm_engine_free(engine);
        radllm_model_free(model);
        radllm_options_free(options);
    }
}
END_TEST

/* The second of three is lost at its n-th call, or its n-th allocation finds no memory: a status
 * each time, nothing that stays taken, and another engine computes. Copies that could not be tried
 * for want of memory go through the host's, so that an allocation can fail unseen, a few in a row.
 */
START_TEST(a_second_device_that_fails_is_a_status)
{
    radllm_error error = {.status = RADLLM_OK};
    char divided[512];
    setenv("RAD_EMULATED_PEERS", _i == 0 ? "1" : "0", 1);
    divide(tied, "context=64 batch=16", 3, divided);
    radllm_options *options = make_options(divided);
    opened o = {.error = &error};
    int32_t tokens[] = {1, 5, 9};
    rad_assert_ok(radllm_model_open(NULL, model_path(tied), options, NULL, &o.model, &error),
                  &error);
    setenv("RAD_EMULATED_FAILING", _i < 2 ? "1" : "2", 1);
    for (int what = 0; what < 2; what++) {
        const char *variable = what == 0 ? "RAD_EMULATED_LOSE" : "RAD_EMULATED_FAIL_ALLOC";
        int survived = 0, enough = what == 1 ? 6 : 1; /* times in a row */
        int n = 1, step = what == 1 ? 1 : RAD_TEST_SANITIZED ? 53 : 13;
        for (; survived < enough && n < 4000; n += step) {
            char text[16];
            snprintf(text, sizeof text, "%d", n);
            setenv(variable, text, 1);
            radllm_status status = radllm_engine_new(NULL, o.model, options, &o.engine, &error);
            if (status != RADLLM_OK) {
                bool expected = what == 1
                                    ? status == RADLLM_E_MEMORY
                                    : status == RADLLM_E_DEVICE || status == RADLLM_E_UNSUPPORTED ||
                                          status == RADLLM_E_BUDGET;
                ck_assert_msg(expected, "%s=%d: %d, %s", variable, n, (int)status, error.message);
                survived = 0;
                continue;
            }
            rad_assert_ok(radllm_session_new(o.engine, &o.session, &error), &error);
            for (int t = 0; t < 3 && status == RADLLM_OK; t++) /* the last one by a graph */
                status = radllm_session_feed(o.session, tokens, 1, NULL, &error);
            survived = status == RADLLM_OK ? survived + 1 : 0;
            if (survived == 0) {
                rad_assert_error(status, RADLLM_E_DEVICE, &error, "device failed");
                rad_assert_error(radllm_session_feed(o.session, tokens, 3, NULL, &error),
                                 RADLLM_E_DEVICE, &error, "device failed");
            }
            radllm_session_free(o.session);
            radllm_engine_free(o.engine);
        }
        ck_assert_int_eq(survived, enough);
        ck_assert_int_gt(n, 4 + enough);
        unsetenv(variable);
    }
    rad_assert_ok(radllm_options_set_text(options, "device", "cpu", RADLLM_NUL, &error), &error);
    rad_assert_ok(radllm_engine_new(NULL, o.model, options, &o.engine, &error), &error);
    rad_assert_ok(radllm_session_new(o.engine, &o.session, &error), &error);
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, &error), &error);
    radllm_session_free(o.session);
    radllm_engine_free(o.engine);
    radllm_model_free(o.model);
    radllm_options_free(options);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *bits = rad_test_case(suite, "models"), *cases = rad_test_case(suite, "sessions");
    TCase *placement = rad_test_case(suite, "placement"), *fails = rad_test_case(suite, "failures");
    tcase_add_loop_test(bits, divided_models_have_the_bits_of_one_device, 0, n_models);
    tcase_add_loop_test(cases, steps_are_repeated, 0, 2);
    tcase_add_loop_test(cases, pages_are_divided, 0, 2);
    tcase_add_test(cases, adapters_are_added_between);
    tcase_add_test(cases, kinds_of_devices_are_told_apart);
    tcase_add_test(cases, encoders_are_divided);
    tcase_add_test(placement, budgets_divide_layers);
    tcase_add_test(placement, experts_stay_here);
    tcase_add_test(fails, wrong_lists_are_errors);
    tcase_add_test(fails, a_split_is_exact);
    tcase_add_loop_test(fails, a_second_device_that_fails_is_a_status, 0, 3);
}

int main(void)
{
    setenv("RAD_EMULATED_DEVICES", "3", 1);
    list_models();
    return rad_test_main("cuda_gpus", add_cases);
}
