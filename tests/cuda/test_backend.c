/* Whole models on the emulated device: libradllm-cuda.so beside this program is the host half of
 * the backend with the kernels as C++ and the emulated device (tests/cuda/meson.build). What the
 * device computes has the CPU's bits, but for attention to keys and values in F16, which is near.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/texts.h"
#include "golden/logits.h"
#include "unit/gguf_builder.h"

#define N_IDS 7

static const int32_t ids[N_IDS] = {1, 17, 5, 60, 33, 2, 41};

static float *logits_on(const char *device, const char *name, const char *pairs, size_t chunk,
                        uint32_t *n_vocab)
{
    radllm_options *options = options_on(device, pairs);
    float *logits = rad_test_logits(model_path(name), options, ids, N_IDS, chunk, n_vocab);
    radllm_options_free(options);
    return logits;
}

typedef struct way {
    const char *model, *options;
    size_t chunk;
} way;

/* All layers are on the device. */
static void check_is_there(const char *name, const char *pairs)
{
    radllm_options *options = options_on("cuda", pairs);
    opened o = open_file(model_path(name), options);
    int64_t layers, wanted;
    char device[256];
    rad_assert_ok(radllm_engine_number(o.engine, "gpu_layers", &layers, o.error), o.error);
    rad_assert_ok(radllm_model_number(o.model, "layers", &wanted, o.error), o.error);
    rad_assert_ok(radllm_engine_text(o.engine, "device", device, sizeof device, NULL, o.error),
                  o.error);
    ck_assert_int_eq(layers, wanted);
    ck_assert_msg(strncmp(device, "cuda: ", 6) == 0, "%s", device);
    close_file(&o);
    radllm_options_free(options);
}

/* Attention to halves and products with 16-bit weights are by matrix instructions, in an order of
 * their own; the input of these products is rounded to 16 bits. */
#define NEAR 3e-2

static bool has_own_order(const way *w)
{
    return strstr(w->options, "cache=f16") != NULL || strstr(w->model, "f16") != NULL;
}

static void check_way(const way *w)
{
    uint32_t n_vocab;
    check_is_there(w->model, w->options);
    float *here = logits_on("cpu", w->model, w->options, 0, &n_vocab);
    float *there = logits_on("cuda", w->model, w->options, w->chunk, &n_vocab);
    double error = rad_test_relative_error(there, here, (size_t)N_IDS * n_vocab);
    bool same = memcmp(here, there, (size_t)N_IDS * n_vocab * sizeof *here) == 0;
    ck_assert_msg(same || (has_own_order(w) && error < NEAR),
                  "%s %s: logits of the device are off by %g", w->model, w->options, error);
    free(here);
    free(there);
}

#define Q8(name, options, chunk)                                                                   \
    {                                                                                              \
        "architectures/" name "-q8_0", options, chunk                                              \
    }

static const way families[] = {
    Q8("llama3-gqa-tied", "cache=f32", 0),
    Q8("llama3-gqa-tied", "cache=f32", 1),
    Q8("llama3-gqa-tied", "cache=f32 batch=3", 0),
    Q8("llama3-gqa-tied", "cache=f16", 0),
    Q8("gemma2", "cache=f16", 0),
    Q8("bitnet", "cache=f32", 0),
    Q8("bloom", "cache=f32", 0),
    Q8("deepseek2-lite", "cache=f32", 0),
    Q8("deepseek2-v3", "cache=f32", 0),
    Q8("dots1", "cache=f32", 0),
    Q8("gemma2", "cache=f32", 0),
    Q8("gpt-oss", "cache=f32", 0),
    Q8("gpt2", "cache=f32", 0),
    Q8("llama-linear", "cache=f32", 0),
    Q8("llama-values", "cache=f32", 0),
    Q8("merged-experts", "cache=f32", 0),
    Q8("mistral-window", "cache=f32", 0),
    Q8("mixtral", "cache=f32", 0),
    Q8("mpt", "cache=f32", 0),
    Q8("mpt-qk-norm", "cache=f32", 0),
    Q8("qwen2", "cache=f32", 0),
    Q8("qwen2-tied-yarn", "cache=f32", 0),
    Q8("qwen2moe", "cache=f32", 0),
    Q8("qwen3", "cache=f32", 0),
    Q8("qwen3moe", "cache=f32", 0),
    {"architectures/llama3-gqa-tied-f32", "", 0},
    {"architectures/mixtral-f32", "", 0},
    {"architectures/deepseek2-lite-f32", "", 0},
    {"types/f16", "cache=f32", 0},
    {"types/bf16", "cache=f32", 0},
};

/* Sanitizers, which slow fibers down, watch some of the models. */
#define LEFT_OUT(every) (RAD_TEST_SANITIZED && _i % (every) != 0)

START_TEST(families_have_the_bits_of_the_cpu)
{
    if (LEFT_OUT(5))
        return;
    check_way(&families[_i]);
}
END_TEST

/* Of 16-bit weights too, few and many tokens have the same bits. */
START_TEST(halves_have_one_order)
{
    static const uint32_t chunks[] = {1, 5};
    const char *model = _i == 0 ? "types/f16" : "types/bf16";
    uint32_t n_vocab;
    float *whole = logits_on("cuda", model, "cache=f16", 0, &n_vocab);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        float *pieces = logits_on("cuda", model, "cache=f16", chunks[i], &n_vocab);
        ck_assert_int_eq(memcmp(whole, pieces, (size_t)N_IDS * n_vocab * sizeof *whole), 0);
        free(pieces);
    }
    free(whole);
}
END_TEST

static void assert_close_logits(const opened *a, const opened *b, double most, const char *what)
{
    int64_t n_vocab;
    rad_assert_ok(radllm_model_number(a->model, "vocab_size", &n_vocab, a->error), a->error);
    float *x = last_logits(a), *y = last_logits(b);
    double error = rad_test_relative_error(x, y, (size_t)n_vocab);
    bool same = memcmp(x, y, (size_t)n_vocab * sizeof *x) == 0;
    ck_assert_msg(same || error < most, "%s: off by %g", what, error);
    free(x);
    free(y);
}

/* ---- caches ---------------------------------------------------------------------------------- */

static const way cached[] = {
    Q8("llama3-gqa-tied", "cache=f32 batch=64", 64),
    Q8("llama3-gqa-tied", "cache=f16 batch=33", 33),
    Q8("llama3-gqa-tied", "cache=bf16 batch=64", 64),
    Q8("llama3-gqa-tied", "cache=fp8 batch=64", 64),
    Q8("llama3-gqa-tied", "cache=q8_0 batch=64", 64),
    Q8("llama3-gqa-tied", "cache=q4_0 batch=64", 64),
    Q8("llama3-gqa-tied", "cache_keys=q8_0 cache_values=f16 batch=64", 64),
    Q8("llama3-gqa-tied", "cache=f32 attention=window window=24 context=64 batch=16", 16),
    Q8("llama3-gqa-tied", "cache=f32 attention=sinks window=24 sinks=3 context=64 batch=16", 16),
    Q8("llama3-gqa-tied", "cache=f16 attention=sinks window=24 sinks=3 context=64 batch=16", 16),
    Q8("llama3-gqa-tied",
       "cache=bf16 attention=recompute window=20 recompute_period=8 context=64 batch=32", 32),
    Q8("gemma2", "cache=fp8 batch=32", 32),
    Q8("gpt-oss", "cache=f32 batch=32", 32),
    Q8("bloom", "cache=q8_0 batch=32", 32),
};

START_TEST(caches_have_the_bits_of_the_cpu)
{
    const way *w = &cached[_i];
    if (LEFT_OUT(3))
        return;
    opened here = open_on("cpu", w->model, w->options);
    opened there = open_on("cuda", w->model, w->options);
    feed(&here, 0, LONG, (uint32_t)w->chunk);
    feed(&there, 0, LONG, (uint32_t)w->chunk);
    double most = strstr(w->options, "cache=f16") != NULL ? NEAR : 0.0;
    assert_close_logits(&here, &there, most, w->options);
    close_file(&here);
    close_file(&there);
}
END_TEST

/* ---- experts with 16-bit weights ---------------------------------------------------------------
 */

/* Writes a model with its weights in a type of 16 bits. */
static void write_halves(const char *from, const char *to, const char *type)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = NULL;
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    rad_assert_ok(radllm_options_new(NULL, &options, &error), &error);
    rad_assert_ok(radllm_options_set_text(options, "quantize", type, RADLLM_NUL, &error), &error);
    rad_assert_ok(radllm_file_open(NULL, from, &file, &error), &error);
    rad_assert_ok(radllm_quantization_new(NULL, file, NULL, options, &plan, &error), &error);
    rad_assert_ok(radllm_quantization_write(plan, to, NULL, &error), &error);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
}

/* Few tokens go to their experts one by one, many in tiles. */
START_TEST(experts_of_halves_have_one_order)
{
    static const char pairs[] = "cache=f32 batch=64";
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("experts.gguf"));
    write_halves(model_path(_i == 0 ? "architectures/mixtral-f32" : "architectures/qwen3moe-f32"),
                 path, _i == 0 ? "F16" : "BF16");
    radllm_options *cpu = options_on("cpu", pairs), *cuda = options_on("cuda", pairs);
    opened here = open_file(path, cpu), whole = open_file(path, cuda),
           pieces = open_file(path, cuda);
    feed(&here, 0, LONG, 64);
    feed(&whole, 0, LONG, 64);
    feed(&pieces, 0, LONG, 8);
    assert_close_logits(&here, &whole, NEAR, "experts");
    assert_same_logits(&whole, &pieces, "experts in pieces");
    close_file(&here);
    close_file(&whole);
    close_file(&pieces);
    radllm_options_free(cpu);
    radllm_options_free(cuda);
}
END_TEST

/* ---- pages ----------------------------------------------------------------------------------- */

/* Beginnings that sessions share, forks that go apart, what is taken out, files. */
START_TEST(pages_are_shared_copied_and_restored)
{
    static const char pairs[] = "sessions=3 batch=40 context=96 cache=f32";
    static const char model[] = "architectures/llama3-gqa-tied-q8_0";
    opened here = open_on("cpu", model, pairs), there = open_on("cuda", model, pairs);
    opened *both[] = {&here, &there};
    opened forks[2];
    int64_t shared = 0;
    for (int i = 0; i < 2; i++) {
        opened *o = both[i];
        feed(o, 0, 70, 40);
        forks[i] = *o;
        rad_assert_ok(radllm_session_fork(o->session, &forks[i].session, o->error), o->error);
        feed(&forks[i], 70, LONG, 1);
        rad_assert_ok(radllm_session_rewind(o->session, 41, o->error), o->error);
        feed(o, 60, LONG, 7); /* other tokens than before at these positions */
    }
    assert_same_logits(&here, &there, "behind a rewind");
    assert_same_logits(&forks[0], &forks[1], "of a fork");
    for (int i = 0; i < 2; i++) {
        opened *o = both[i];
        const char *path = rad_test_temp_path(i == 0 ? "here" : "there");
        rad_assert_ok(radllm_session_snapshot(forks[i].session, path, NULL, o->error), o->error);
        rad_assert_ok(radllm_session_restore(o->session, path, NULL, o->error), o->error);
        feed(o, 3, 12, 4);
    }
    assert_same_logits(&here, &there, "behind a snapshot");
    rad_assert_error(
        radllm_session_restore(here.session, rad_test_temp_path("there"), NULL, here.error),
        RADLLM_E_ARGUMENT, here.error, "device=");
    for (int i = 0; i < 2; i++) {
        opened third = *both[i];
        rad_assert_ok(radllm_session_new(third.engine, &third.session, third.error), third.error);
        feed(&third, 0, 69, 40);
        rad_assert_ok(radllm_engine_number(third.engine, "tokens_shared", &shared, third.error),
                      third.error);
        ck_assert_int_ge(shared, 32);
        radllm_session_free(forks[i].session);
        forks[i].session = third.session;
    }
    assert_same_logits(&forks[0], &forks[1], "of a shared beginning");
    for (int i = 0; i < 2; i++) {
        rad_assert_ok(radllm_session_shift(both[i]->session, 4, 8, both[i]->error), both[i]->error);
        radllm_session_free(forks[i].session);
        close_file(both[i]);
    }
}
END_TEST

/* ---- the most likely token ------------------------------------------------------------------- */

static const char greedy_model[] = "architectures/llama3-gqa-tied-q8_0";

static int32_t sample(const opened *o, const char *pairs, float *logprob)
{
    radllm_options *options = options_on("cpu", pairs);
    int32_t token = -1;
    rad_assert_ok(radllm_session_sample(o->session, options, &token, logprob, o->error), o->error);
    radllm_options_free(options);
    return token;
}

/* The device says which token has the greatest logit; all that reads logits behind that finds the
 * CPU's: probabilities, penalties, forks, files, and a session that others' steps came after. */
START_TEST(sessions_choose_on_the_device)
{
    static const char pairs[] = "sessions=3 batch=40 context=96 cache=f32";
    opened here = open_on("cpu", greedy_model, pairs), there = open_on("cuda", greedy_model, pairs);
    opened *both[] = {&here, &there};
    opened others[2], forks[2];
    int32_t chosen[2][12], penalised[2], drawn[2];
    float logprobs[2];
    for (int i = 0; i < 2; i++) {
        opened *o = both[i];
        others[i] = *o;
        rad_assert_ok(radllm_session_new(o->engine, &others[i].session, o->error), o->error);
        feed(o, 0, 9, 9);
        feed(&others[i], 3, 20, 17);
        chosen[i][0] = sample(o, "", NULL); /* behind another session's step */
        chosen[i][1] = sample(&others[i], "", NULL);
        for (int t = 2; t < 12; t++) {
            rad_assert_ok(radllm_session_feed(o->session, &chosen[i][t - 1], 1, NULL, o->error),
                          o->error);
            chosen[i][t] = sample(o, "temperature=0", NULL);
        }
        ck_assert_int_eq(sample(o, "", &logprobs[i]), chosen[i][11]);
        feed(&others[i], 4, 5, 1);
        penalised[i] = sample(&others[i], "repeat_penalty=3 penalty_last_n=-1", NULL);
        feed(&others[i], 5, 6, 1);
        drawn[i] = sample(&others[i], "temperature=1.5 seed=7", NULL);
        feed(o, 7, 8, 1);
        rad_assert_ok(radllm_session_fork(o->session, &forks[i].session, o->error), o->error);
        forks[i].engine = o->engine;
        forks[i].model = o->model;
        forks[i].error = o->error;
    }
    ck_assert_int_eq(memcmp(chosen[0], chosen[1], sizeof chosen[0]), 0);
    ck_assert(logprobs[0] == logprobs[1]);
    ck_assert_int_eq(penalised[0], penalised[1]);
    ck_assert_int_eq(drawn[0], drawn[1]);
    assert_same_logits(&forks[0], &forks[1], "of a fork");
    assert_same_logits(&others[0], &others[1], "of a session that others came after");
    for (int i = 0; i < 2; i++) {
        opened *o = both[i];
        const char *path = rad_test_temp_path("unread");
        feed(o, 11, 12, 1);
        rad_assert_ok(radllm_session_snapshot(o->session, path, NULL, o->error), o->error);
        feed(&forks[i], 20, 21, 1);
        rad_assert_ok(radllm_session_restore(forks[i].session, path, NULL, o->error), o->error);
        feed(o, 12, 13, 1);
        chosen[i][0] = sample(&forks[i], "", NULL);
        radllm_session_free(o->session); /* with logits that nobody read */
        rad_assert_ok(radllm_session_new(o->engine, &o->session, o->error), o->error);
        feed(o, 0, 3, 3);
    }
    ck_assert_int_eq(chosen[0][0], chosen[1][0]);
    assert_same_logits(&forks[0], &forks[1], "of a file");
    for (int i = 0; i < 2; i++) {
        radllm_session_free(others[i].session);
        radllm_session_free(forks[i].session);
        close_file(both[i]);
    }
}
END_TEST

static const char *const asked[] = {
    "max_tokens=14 ignore_end=yes",
    "max_tokens=9 ignore_end=yes temperature=0 top_logprobs=2",
    "max_tokens=12 ignore_end=yes temperature=1.2 seed=3",
    "max_tokens=11 ignore_end=yes repeat_penalty=2 penalty_last_n=-1",
    "max_tokens=20 ignore_end=yes speculate=lookup draft_tokens=4",
    "max_tokens=5 ignore_end=yes",
    "max_tokens=12 ignore_end=yes temperature=1.1 top_k=40 top_p=0.95 min_p=0.01 seed=5",
    "max_tokens=10 ignore_end=yes temperature=0.9 top_k=9 repeat_penalty=1.3 penalty_last_n=-1",
    "max_tokens=8 ignore_end=yes temperature=1.5 min_p=0.1 seed=8 speculate=lookup draft_tokens=3",
    "max_tokens=12 ignore_end=yes temperature=0.6 top_p=0.9 seed=6 repeat_penalty=1.1",
    "max_tokens=20 ignore_end=yes temperature=1.3 top_p=0.999 seed=9",
    "max_tokens=20 ignore_end=yes temperature=0.8 seed=10 speculate=lookup draft_tokens=4",
    "max_tokens=7 ignore_end=yes temperature=1 seed=11 top_logprobs=1",
    "max_tokens=9 ignore_end=yes temperature=1 seed=12 repeat_penalty=1.2"};
#define N_ASKED (sizeof asked / sizeof *asked)

/* Requests of one batch, of which some want the greatest logit's token and others more. Those that
 * choose from logits do so at the same time, where there are threads for it. */
static void answer_together(const opened *o, char texts[N_ASKED][512])
{
    radllm_request *requests[N_ASKED];
    radllm_session *sessions[N_ASKED];
    uint32_t pending = 1;
    for (size_t i = 0; i < N_ASKED; i++) {
        int32_t prompt[5 + 2 * N_ASKED];
        size_t n = 5 + 2 * i;
        bool repeats = strstr(asked[i], "lookup") != NULL; /* and is guessed */
        for (size_t t = 0; t < n; t++)
            prompt[t] = repeats ? (int32_t)(10 + t % 3) : long_id((uint32_t)(7 * i + t));
        radllm_options *options = options_on("cpu", asked[i]);
        rad_assert_ok(radllm_session_new(o->engine, &sessions[i], o->error), o->error);
        rad_assert_ok(
            radllm_request_new_tokens(sessions[i], prompt, n, options, &requests[i], o->error),
            o->error);
        rad_assert_ok(radllm_request_submit(requests[i], o->error), o->error);
        radllm_options_free(options);
    }
    while (pending > 0)
        rad_assert_ok(radllm_engine_step(o->engine, &pending, o->error), o->error);
    for (size_t i = 0; i < N_ASKED; i++) {
        int64_t n = 0;
        size_t used = 0;
        rad_assert_ok(radllm_request_status(requests[i], o->error), o->error);
        rad_assert_ok(radllm_request_number(requests[i], "answer_tokens", &n, o->error), o->error);
        for (int64_t t = 0; t < n; t++) {
            radllm_answer_token token = {.size = sizeof token};
            rad_assert_ok(radllm_request_token(requests[i], (size_t)t, &token, o->error), o->error);
            used += (size_t)snprintf(texts[i] + used, 512 - used, "%d:%a ", (int)token.token,
                                     i == 1 ? (double)token.logprob : 0.0);
        }
        radllm_request_free(requests[i]);
        radllm_session_free(sessions[i]);
    }
}

START_TEST(requests_choose_on_the_device)
{
    static const char pairs[] = "sessions=16 batch=64 context=64 cache=f32";
    static const char *const devices[] = {"cpu", "cuda", "cpu", "cuda"};
    static const char *const threads[] = {"threads=1", "threads=1", "threads=5", "threads=2"};
    char first[N_ASKED][512] = {{0}};
    for (int way = 0; way < 4; way++) {
        char texts[N_ASKED][512] = {{0}}, all[256];
        snprintf(all, sizeof all, "%s %s", pairs, threads[way]);
        opened o = open_on(devices[way], greedy_model, all);
        answer_together(&o, way == 0 ? first : texts);
        for (size_t i = 0; i < N_ASKED && way > 0; i++)
            ck_assert_str_eq(first[i], texts[i]);
        close_file(&o);
    }
}
END_TEST

/* Requests that choose among the best tokens, or from all by a temperature alone, have a token or
 * some come down, and no logits. */
START_TEST(logits_stay_on_the_device)
{
    char path[1024];
    unsigned long long downloads[4];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("downloads"));
    static const char *const settings[] = {
        "max_tokens=6 ignore_end=yes temperature=0.9 top_k=20 seed=3",
        "max_tokens=6 ignore_end=yes temperature=0.9 top_p=0.5 seed=3",
        "max_tokens=6 ignore_end=yes temperature=0.9 seed=3",
        "max_tokens=6 ignore_end=yes temperature=0.9 seed=3 typical_p=0.9"};
    for (int i = 0; i < 4; i++) {
        radllm_options *options = options_on("cpu", settings[i]);
        radllm_request *request = NULL;
        int32_t prompt[] = {5, 9, 11};
        setenv("RAD_EMULATED_COUNTS", path, 1);
        opened o = open_on("cuda", greedy_model, "cache=f32");
        rad_assert_ok(radllm_request_new_tokens(o.session, prompt, 3, options, &request, o.error),
                      o.error);
        rad_assert_ok(radllm_request_run(request, NULL, o.error), o.error);
        radllm_request_free(request);
        radllm_options_free(options);
        close_file(&o);
        unsetenv("RAD_EMULATED_COUNTS");
        downloads[i] = calls_of(path, "download");
    }
    ck_assert_uint_eq(downloads[0], 0);
    ck_assert_uint_eq(downloads[1], 0);
    ck_assert_uint_eq(downloads[2], 0);
    ck_assert_uint_eq(downloads[3], 6);
}
END_TEST

/* Logits that are no numbers are the same error, by requests and by sessions. */
START_TEST(logits_that_are_no_numbers_are_an_error)
{
    static const char *const devices[] = {"cpu", "cuda"};
    static const float values[] = {NAN, INFINITY, 3e38f};
    char messages[2][512];
    gguf_builder file = gguf_tiny_llama();
    gguf_fill_f32(gguf_find_tensor(&file, "output_norm.weight"), values[_i % 3]);
    gguf_write(&file, rad_test_temp_path("nan.gguf"));
    for (int i = 0; i < 2; i++) {
        radllm_options *options =
            options_on(devices[i], _i < 3 ? "max_tokens=4" : "max_tokens=4 temperature=0.9");
        opened o = open_file(rad_test_temp_path("nan.gguf"), options);
        radllm_request *request = NULL;
        int32_t token = 3;
        rad_assert_ok(radllm_request_new_tokens(o.session, &token, 1, options, &request, o.error),
                      o.error);
        rad_assert_error(radllm_request_run(request, NULL, o.error), RADLLM_E_NUMERIC, o.error,
                         "logit");
        snprintf(messages[i], sizeof messages[i], "%s", radllm_error_message(o.error));
        radllm_request_free(request);
        rad_assert_ok(radllm_session_feed(o.session, &token, 1, NULL, o.error), o.error);
        rad_assert_error(radllm_session_sample(o.session, options, &token, NULL, o.error),
                         RADLLM_E_NUMERIC, o.error, messages[i]);
        radllm_options_free(options);
        close_file(&o);
    }
    ck_assert_str_eq(messages[0], messages[1]);
    gguf_builder_free(&file);
}
END_TEST

static int32_t pass_over(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)user, (void)position, (void)logits, (void)n_vocab;
    return 0;
}

/* Steps of one size for tokens, for logits and for vectors, each often enough to be a graph. */
START_TEST(tokens_logits_and_vectors_have_graphs_of_their_own)
{
    static const char *const devices[] = {"cpu", "cuda"};
    const int32_t word = 9;
    const int32_t *const text = &word;
    const size_t one = 1;
    float vectors[2][256];
    size_t n[2];
    int32_t chosen[2][4];
    opened both[2];
    for (int i = 0; i < 2; i++) {
        radllm_options *options = options_on(devices[i], "pooling=mean");
        both[i] = open_on(devices[i], greedy_model, "sessions=2 cache=f32 batch=8 context=32");
        for (uint32_t round = 0; round < 4; round++) {
            int32_t token = long_id(round);
            feed(&both[i], round, round + 1, 1);
            chosen[i][round] = sample(&both[i], "", NULL);
            rad_assert_ok(radllm_session_feed_each(both[i].session, &token, 1, pass_over, NULL,
                                                   NULL, both[i].error),
                          both[i].error);
            rad_assert_ok(radllm_embed_tokens(both[i].engine, &text, &one, 1, options, NULL,
                                              vectors[i], 256, &n[i], both[i].error),
                          both[i].error);
        }
        radllm_options_free(options);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_int_eq(memcmp(vectors[0], vectors[1], n[0] * sizeof(float)), 0);
    ck_assert_int_eq(memcmp(chosen[0], chosen[1], sizeof chosen[0]), 0);
    assert_same_logits(&both[0], &both[1], "besides vectors");
    for (int i = 0; i < 2; i++)
        close_file(&both[i]);
}
END_TEST

/* More kinds of steps than graphs are kept of: the oldest one makes room, and comes back. */
START_TEST(graphs_make_room)
{
    static const char pairs[] = "cache=f32 context=64 batch=64 prefix_cache=no";
    enum { KINDS = 18, TIMES = 3 };
    opened both[] = {open_on("cpu", greedy_model, pairs), open_on("cuda", greedy_model, pairs)};
    for (uint32_t kind = 0; kind <= KINDS; kind++) {
        for (uint32_t time = 0; time < TIMES; time++) {
            for (int i = 0; i < 2; i++) {
                uint32_t n = kind % KINDS + 1;
                rad_assert_ok(radllm_session_rewind(both[i].session, 0, both[i].error),
                              both[i].error);
                feed(&both[i], time, time + n, n);
            }
            assert_same_logits(&both[0], &both[1], "among many graphs");
        }
    }
    close_file(&both[0]);
    close_file(&both[1]);
}
END_TEST

/* Two answers, computed together, as numbers. */
static void answer_both(const opened *o, const char *const asks[2], char *text, size_t size)
{
    static const int32_t prompts[][3] = {{5, 9, 11}, {7, 3, 30}};
    radllm_session *sessions[2];
    radllm_request *requests[2];
    uint32_t pending = 1;
    for (int i = 0; i < 2; i++) {
        radllm_options *options = options_on("cpu", asks[i]);
        rad_assert_ok(radllm_session_new(o->engine, &sessions[i], o->error), o->error);
        rad_assert_ok(
            radllm_request_new_tokens(sessions[i], prompts[i], 3, options, &requests[i], o->error),
            o->error);
        rad_assert_ok(radllm_request_submit(requests[i], o->error), o->error);
        radllm_options_free(options);
    }
    while (pending > 0)
        rad_assert_ok(radllm_engine_step(o->engine, &pending, o->error), o->error);
    for (int i = 0; i < 2; i++) {
        int64_t n = 0;
        rad_assert_ok(radllm_request_status(requests[i], o->error), o->error);
        rad_assert_ok(radllm_request_number(requests[i], "answer_tokens", &n, o->error), o->error);
        for (int64_t t = 0; t < n; t++) {
            radllm_answer_token token = {.size = sizeof token};
            size_t used = strlen(text);
            rad_assert_ok(radllm_request_token(requests[i], (uint64_t)t, &token, o->error),
                          o->error);
            snprintf(text + used, size - used, "%d ", (int)token.token);
        }
        radllm_request_free(requests[i]);
        radllm_session_free(sessions[i]);
    }
}

/* One engine's steps of two tokens, of requests that want the most likely one, choose among the
 * best ones, look at all: each pair often enough to be a graph, then the next one. */
START_TEST(choices_have_graphs_of_their_own)
{
    static const char greedy[] = "max_tokens=5 ignore_end=yes";
    static const char best[] = "max_tokens=5 ignore_end=yes temperature=2 top_k=40 seed=3";
    static const char all[] = "max_tokens=5 ignore_end=yes temperature=2 seed=4";
    static const char *const asks[][2] = {{greedy, greedy}, {greedy, best}, {best, best},
                                          {greedy, all},    {best, all},    {greedy, greedy}};
    static const char *const devices[] = {"cpu", "cuda"};
    char texts[2][1024] = {{0}};
    for (int i = 0; i < 2; i++) {
        opened o = open_on(devices[i], greedy_model, "sessions=3 cache=f32 prefix_cache=no");
        for (size_t k = 0; k < sizeof asks / sizeof *asks; k++)
            answer_both(&o, asks[k], texts[i], sizeof texts[i]);
        close_file(&o);
    }
    ck_assert_str_eq(texts[0], texts[1]);
}
END_TEST

/* Pieces that are all of other lengths, or, with `singles`, single tokens behind the first ones. */
static void feed_keys(const opened *o, uint32_t n_tokens, bool singles)
{
    uint32_t piece = 64;
    for (uint32_t first = 0, n; first < n_tokens; first += n, piece--) {
        int32_t tokens[64];
        n = singles && first >= 250 ? 1 : piece;
        n = n < n_tokens - first ? n : n_tokens - first;
        for (uint32_t t = 0; t < n; t++)
            tokens[t] = long_id(first + t);
        rad_assert_ok(radllm_session_feed(o->session, tokens, n, NULL, o->error), o->error);
    }
}

/* Single tokens behind so many keys that attention divides these otherwise than before: a graph for
 * fewer keys is not replayed. */
START_TEST(more_keys_have_graphs_of_their_own)
{
    static const char *const caches[] = {"f16", "q8_0"};
    char pairs[128];
    snprintf(pairs, sizeof pairs, "cache=%s context=300 batch=64 context_limit=ignore", caches[_i]);
    opened singles = open_on("cuda", greedy_model, pairs);
    opened pieces = open_on("cuda", greedy_model, pairs);
    feed_keys(&singles, 260, true);
    feed_keys(&pieces, 260, false);
    assert_same_logits(&singles, &pieces, caches[_i]);
    close_file(&singles);
    close_file(&pieces);
}
END_TEST

/* Tokens that see the whole text: an encoder's vectors, of texts of two lengths together. */
START_TEST(encoders_have_the_bits_of_the_cpu)
{
    static const char *const models[] = {"encoders/bert-q8_0", "encoders/nomic-bert-f32"};
    static const char *const devices[] = {"cpu", "cuda"};
    static const int32_t first[] = {1, 9, 4, 30, 7}, second[] = {1, 2, 3, 5, 8, 13, 21, 34, 55};
    const int32_t *const texts[] = {first, second};
    const size_t lengths[] = {5, 9};
    enum { MOST = 4096 };
    static float vectors[2][MOST];
    size_t n[2] = {0};
    for (int i = 0; i < 2; i++) {
        radllm_options *options = options_on(devices[i], "cache=f32");
        n[i] = embed_with(options, models[_i], texts, lengths, 2, vectors[i], MOST, NULL);
        radllm_options_free(options);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_int_eq(memcmp(vectors[0], vectors[1], n[0] * sizeof(float)), 0);
}
END_TEST

/* Quantized folders (tests/golden/make_packed.py), from the test's argument. Those with 16-bit
 * matrices besides round activations to 16 bits for them. */
static const char *packed_folder;

static const char *const packed[] = {
    "awq",          "bitnet",        "exl2",       "fp4",   "fp8-blocks", "gptq-3", "gptq-4-order",
    "gptq-experts", "int8-outliers", "integers-8", "mxfp4", "nf4-nested", "nvfp4"};

START_TEST(quantized_folders_are_near_the_cpu)
{
    char path[1024];
    float *logits[2];
    uint32_t n_vocab;
    static const char *const devices[] = {"cpu", "cuda"};
    if (LEFT_OUT(4))
        return;
    snprintf(path, sizeof path, "%s/%s", packed_folder, packed[_i]);
    for (int i = 0; i < 2; i++) {
        radllm_options *options = options_on(devices[i], "cache=f32");
        logits[i] = rad_test_logits(path, options, ids, N_IDS, 0, &n_vocab);
        radllm_options_free(options);
    }
    double error = rad_test_relative_error(logits[1], logits[0], (size_t)N_IDS * n_vocab);
    ck_assert_msg(error < 5e-3, "%s: logits of the device are off by %g", packed[_i], error);
    free(logits[0]);
    free(logits[1]);
}
END_TEST

/* Of FP8, NF4 and FP4 many tokens, few and one have the same bits; as multiply-adds, for
 * measurements, other ones, and the record says so. */
static const char *const scaled[] = {"fp8-blocks", "fp8-channel", "fp8-experts",
                                     "fp8-latent", "nf4-nested",  "fp4"};

START_TEST(weights_with_scales_have_one_order)
{
    static const uint32_t pieces[] = {64, 20, 1};
    static const char pairs[] = "cache=f32 batch=64";
    char path[1024], text[512];
    snprintf(path, sizeof path, "%s/%s", packed_folder, scaled[_i]);
    radllm_options *cpu = options_on("cpu", pairs), *cuda = options_on("cuda", pairs),
                   *adds = options_on("cuda", "cache=f32 batch=64 gpu_apart=32");
    opened here = open_file(path, cpu), there[3], apart = open_file(path, adds);
    feed(&here, 0, LONG, 64);
    for (int i = 0; i < 3; i++) {
        there[i] = open_file(path, cuda);
        feed(&there[i], 0, LONG, pieces[i]);
    }
    assert_close_logits(&here, &there[0], 5e-3, scaled[_i]);
    assert_same_logits(&there[0], &there[1], "pieces of 20");
    assert_same_logits(&there[0], &there[2], "one by one");
    feed(&apart, 0, LONG, 64);
    assert_close_logits(&here, &apart, 5e-3, "multiply-adds");
    float *by_adds = last_logits(&apart), *by_matrix = last_logits(&there[0]);
    ck_assert_float_ne(by_adds[0], by_matrix[0]);
    free(by_adds);
    free(by_matrix);
    rad_assert_ok(
        radllm_engine_text(apart.engine, "placement", text, sizeof text, NULL, apart.error),
        apart.error);
    ck_assert_msg(strstr(text, "by multiply-adds") != NULL, "%s", text);
    rad_assert_ok(
        radllm_engine_text(there[0].engine, "placement", text, sizeof text, NULL, apart.error),
        apart.error);
    ck_assert_msg(strstr(text, "multiply-adds") == NULL, "%s", text);
    close_file(&here);
    close_file(&apart);
    for (int i = 0; i < 3; i++)
        close_file(&there[i]);
    radllm_options_free(cpu);
    radllm_options_free(cuda);
    radllm_options_free(adds);
}
END_TEST

/* Few tokens and many, by the device alone, so that steps of one token are graphs. */
static const char *const experts[] = {"int8-experts", "gptq-experts", "exl2-experts",
                                      "gptq-some-experts"};

START_TEST(experts_of_folders_are_on_the_device)
{
    static const char pairs[] = "cache=f32 batch=64";
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", packed_folder, experts[_i]);
    radllm_options *cpu = options_on("cpu", pairs), *cuda = options_on("cuda", pairs);
    opened here = open_file(path, cpu), whole = open_file(path, cuda);
    opened pieces = open_file(path, cuda);
    feed(&here, 0, LONG, 64);
    feed(&whole, 0, LONG, 64);
    feed(&pieces, 0, 20, 20);
    feed(&pieces, 20, LONG, 1);
    assert_close_logits(&here, &whole, 5e-3, experts[_i]); /* the output's matrix is of F16 */
    assert_same_logits(&whole, &pieces, "experts in pieces");
    ck_assert_uint_gt(graphs_at_end(&pieces), 40);
    close_file(&here);
    close_file(&whole);
    radllm_options_free(cpu);
    radllm_options_free(cuda);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "backend");
    tcase_add_loop_test(cases, halves_have_one_order, 0, 2);
    tcase_add_loop_test(cases, families_have_the_bits_of_the_cpu, 0,
                        sizeof families / sizeof *families / (RAD_TEST_SANITIZED ? 4 : 1));
    tcase_add_loop_test(cases, caches_have_the_bits_of_the_cpu, 0,
                        sizeof cached / sizeof *cached / (RAD_TEST_SANITIZED ? 4 : 1));
    tcase_add_loop_test(cases, experts_of_halves_have_one_order, 0, 2);
    tcase_add_loop_test(cases, encoders_have_the_bits_of_the_cpu, 0, 2);
    if (packed_folder != NULL) {
        tcase_add_loop_test(cases, quantized_folders_are_near_the_cpu, 0,
                            sizeof packed / sizeof *packed);
        tcase_add_loop_test(cases, weights_with_scales_have_one_order, 0,
                            sizeof scaled / sizeof *scaled);
        tcase_add_loop_test(rad_test_case(suite, "folders"), experts_of_folders_are_on_the_device,
                            0, sizeof experts / sizeof *experts);
    }
    tcase_add_test(cases, pages_are_shared_copied_and_restored);
    tcase_add_loop_test(cases, logits_that_are_no_numbers_are_an_error, 0, 6);
    tcase_add_test(cases, tokens_logits_and_vectors_have_graphs_of_their_own);
    tcase_add_test(cases, choices_have_graphs_of_their_own);
    tcase_add_test(cases, graphs_make_room);
    tcase_add_loop_test(cases, more_keys_have_graphs_of_their_own, 0, 2);
    cases = rad_test_case(suite, "choices");
    tcase_add_test(cases, sessions_choose_on_the_device);
    tcase_add_test(cases, requests_choose_on_the_device);
    tcase_add_test(cases, logits_stay_on_the_device);
}

int main(int argc, char **argv)
{
    packed_folder = argc > 1 ? argv[1] : NULL;
    return rad_test_main("cuda_backend", add_cases);
}
