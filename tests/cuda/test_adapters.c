/* Adapters on the emulated device: the CPU's bits, by the device alone where they have room there,
 * and by the CPU where they have not. */
#include <stdlib.h>
#include <string.h>

#include "cuda/texts.h"
#include "golden/logits.h"

#define N_IDS 7

static const int32_t ids[N_IDS] = {1, 17, 5, 60, 33, 2, 41};

static const char *adapter_path(const char *name)
{
    static char relative[256];
    snprintf(relative, sizeof relative, "tests/golden/adapters/%s", name);
    return rad_test_source_path(relative);
}

static float *logits_with(const char *device, const char *model, const char *adapter,
                          const char *pairs, size_t chunk, uint32_t *n_vocab)
{
    char text[700];
    int n = snprintf(text, sizeof text, "%s", pairs);
    if (adapter != NULL)
        snprintf(text + n, sizeof text - (size_t)n, " adapter=%s", adapter_path(adapter));
    radllm_options *options = options_on(device, text);
    float *logits = rad_test_logits(model_path(model), options, ids, N_IDS, chunk, n_vocab);
    radllm_options_free(options);
    return logits;
}

/* Bases with quantized matrices, whose products have the CPU's bits on the device too. */
static const struct {
    const char *model, *adapter, *pairs;
    size_t chunk;
} all[] = {
    {"architectures/llama-mha-f32", "llama-all", "cache=f32", 0},
    {"architectures/llama-mha-q8_0", "llama-all.gguf", "cache=f32", 0},
    {"architectures/llama-mha-q8_0", "llama-all.gguf", "cache=f32", 1},
    {"architectures/llama-mha-q8_0", "llama-all.gguf", "cache=f32 batch=3", 0},
    {"architectures/llama-mha-f32", "llama-attention", "cache=f32", 3},
    {"architectures/llama3-gqa-tied-q8_0", "llama-grouped.gguf", "cache=f32", 0},
    {"architectures/qwen2-q8_0", "qwen2-head", "cache=f32", 2},
    {"architectures/gemma2-f32", "gemma2-embedding.gguf", "cache=f32", 3},
    {"architectures/mixtral-q8_0", "mixtral-attention", "cache=f32", 0},
    {"architectures/gpt2-q8_0", "gpt2-all", "cache=f32", 1},
    {"architectures/bloom-f32", "bloom-attention.gguf", "cache=f32", 3},
    {"architectures/mixtral-f32", "mixtral-experts.gguf", "cache=f32", 3},
    {"architectures/mixtral-q8_0", "mixtral-experts.gguf", "cache=f32", 0},
    {"architectures/mixtral-q8_0", "mixtral-gates", "cache=f32", 1},
    {"architectures/qwen3moe-q8_0", "qwen3moe-parameters", "cache=f32", 0},
    {"architectures/gpt-oss-q8_0", "gpt-oss-parameters", "cache=f32", 2},
    /* A part of the layers on the device. */
    {"architectures/llama-mha-q8_0", "llama-all.gguf", "cache=f32 gpu_layers=1", 0},
};

START_TEST(adapters_have_the_bits_of_the_cpu)
{
    uint32_t n_vocab;
    size_t chunk = all[_i].chunk;
    const char *model = all[_i].model, *adapter = all[_i].adapter;
    float *here = logits_with("cpu", model, adapter, "cache=f32", 0, &n_vocab);
    float *plain = logits_with("cpu", model, NULL, "cache=f32", 0, &n_vocab);
    float *there = logits_with("cuda", model, adapter, all[_i].pairs, chunk, &n_vocab);
    size_t bytes = (size_t)N_IDS * n_vocab * sizeof *here;
    ck_assert_int_ne(memcmp(here, plain, bytes), 0);
    ck_assert_msg(memcmp(here, there, bytes) == 0, "%s with %s: logits of the device are off by %g",
                  model, adapter, rad_test_relative_error(there, here, bytes / sizeof *here));
    free(here);
    free(plain);
    free(there);
}
END_TEST

/* ---- sessions -------------------------------------------------------------------------------- */

static const char *base = "architectures/llama-mha-q8_0";
static const char *names[] = {"llama-all.gguf", "llama-attention"};

/* A model on a device, and sessions that have what their number says: the first adapter, the second
 * with a scale, both, none. */
#define SESSIONS 4
#define TEXT     1024 /* of an answer, in numbers */
typedef struct company {
    opened o;
    radllm_adapter *adapters[2];
    radllm_session *sessions[SESSIONS];
} company;

static void set_adapters(company *c, int session)
{
    static const float scales[] = {1.0f, -0.7f};
    int first = session == 1, n = session == 3 ? 0 : session == 2 ? 2 : 1;
    rad_assert_ok(radllm_session_set_adapters(c->sessions[session], c->adapters + first,
                                              scales + first, (size_t)n, c->o.error),
                  c->o.error);
}

static company open_company(const char *device, const char *pairs)
{
    char text[256];
    company c;
    snprintf(text, sizeof text, "cache=f32 sessions=5 context=64 %s", pairs);
    radllm_options *options = options_on(device, text);
    c.o = open_file(model_path(base), options);
    for (int i = 0; i < 2; i++)
        rad_assert_ok(
            radllm_adapter_open(c.o.model, adapter_path(names[i]), NULL, &c.adapters[i], c.o.error),
            c.o.error);
    for (int i = 0; i < SESSIONS; i++) {
        rad_assert_ok(radllm_session_new(c.o.engine, &c.sessions[i], c.o.error), c.o.error);
        set_adapters(&c, i);
    }
    radllm_options_free(options);
    return c;
}

static void close_company(company *c)
{
    for (int i = 0; i < SESSIONS; i++)
        radllm_session_free(c->sessions[i]);
    for (int i = 0; i < 2; i++)
        radllm_adapter_free(c->adapters[i]);
    close_file(&c->o);
}

/* Answers of some sessions, computed together. */
static void answer(company *c, unsigned which, const char *length, char texts[SESSIONS][TEXT])
{
    radllm_request *requests[SESSIONS] = {NULL};
    uint32_t pending = 1;
    radllm_options *options = options_on("cpu", "temperature=0 ignore_end=yes");
    rad_assert_ok(radllm_options_set_text(options, "max_tokens", length, RADLLM_NUL, c->o.error),
                  c->o.error);
    for (int i = 0; i < SESSIONS; i++) {
        if ((which >> i & 1) == 0)
            continue;
        rad_assert_ok(radllm_request_new_tokens(c->sessions[i], ids + i % 3, 3, options,
                                                &requests[i], c->o.error),
                      c->o.error);
        rad_assert_ok(radllm_request_submit(requests[i], c->o.error), c->o.error);
    }
    while (pending > 0)
        rad_assert_ok(radllm_engine_step(c->o.engine, &pending, c->o.error), c->o.error);
    for (int i = 0; i < SESSIONS; i++) {
        int64_t n = 0;
        size_t used = 0;
        if (requests[i] == NULL)
            continue;
        rad_assert_ok(radllm_request_status(requests[i], c->o.error), c->o.error);
        rad_assert_ok(radllm_request_number(requests[i], "answer_tokens", &n, c->o.error),
                      c->o.error);
        for (int64_t t = 0; t < n; t++) {
            radllm_answer_token token = {.size = sizeof token};
            rad_assert_ok(radllm_request_token(requests[i], (uint64_t)t, &token, c->o.error),
                          c->o.error);
            used += (size_t)snprintf(texts[i] + used, TEXT - used, "%d ", (int)token.token);
        }
        radllm_request_free(requests[i]);
    }
    radllm_options_free(options);
}

/* Each alone, where steps are graphs from the second on, then all together; what they have changes,
 * and is given back. */
static void answer_in_turns(const char *device, const char *pairs, char texts[4][SESSIONS][TEXT])
{
    company c = open_company(device, pairs);
    for (unsigned i = 0; i < SESSIONS; i++)
        answer(&c, 1u << i, "6", texts[0]);
    answer(&c, 15, "5", texts[1]);
    for (int i = 0; i < SESSIONS; i++) /* both change places */
        rad_assert_ok(
            radllm_session_set_adapters(c.sessions[i], c.adapters + i % 2, NULL, 1, c.o.error),
            c.o.error);
    answer(&c, 9, "4", texts[2]);
    for (int i = 0; i < SESSIONS; i++)
        rad_assert_ok(radllm_session_set_adapters(c.sessions[i], NULL, NULL, 0, c.o.error),
                      c.o.error);
    answer(&c, 2, "4", texts[3]);
    close_company(&c);
}

static void compare_answers(int way)
{
    static const char *const ways[] = {"", "gpu_layers=1", "batch=2"};
    static char here[4][SESSIONS][TEXT], there[4][SESSIONS][TEXT];
    answer_in_turns("cpu", "", here);
    answer_in_turns("cuda", ways[way], there);
    ck_assert_str_ne(here[0][0], here[0][3]);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < SESSIONS; i++)
            ck_assert_str_eq(here[turn][i], there[turn][i]);
    }
}

START_TEST(sessions_have_their_own)
{
    compare_answers(_i);
}
END_TEST

/* Experts' rows stand by expert, those of all sessions together. */
START_TEST(sessions_have_their_own_experts)
{
    base = "architectures/mixtral-q8_0";
    names[0] = "mixtral-experts.gguf";
    names[1] = "mixtral-gates";
    compare_answers(_i);
}
END_TEST

/* Many tokens and few, by the device alone, with no more room than was planned: steps of one are
 * graphs. */
static const struct {
    const char *model, *adapter;
} mixtures[] = {
    {"architectures/mixtral-q8_0", "mixtral-experts.gguf"},
    {"architectures/mixtral-f32", "mixtral-experts"},
    {"architectures/qwen3moe-q8_0", "qwen3moe-parameters"},
    {"architectures/gpt-oss-q8_0", "gpt-oss-parameters"},
};

START_TEST(experts_are_adapted_on_the_device)
{
    char pairs[512];
    int64_t total;
    const char *model = mixtures[_i].model;
    snprintf(pairs, sizeof pairs, "cache=f32 batch=64 adapter=%s",
             adapter_path(mixtures[_i].adapter));
    opened here = open_on("cpu", model, pairs), whole = open_on("cuda", model, pairs),
           plain = open_on("cpu", model, "cache=f32 batch=64");
    rad_assert_ok(radllm_engine_number(whole.engine, "gpu_total", &total, whole.error),
                  whole.error);
    snprintf(pairs + strlen(pairs), sizeof pairs - strlen(pairs), " vram_limit=%lld",
             (long long)total);
    opened pieces = open_on("cuda", model, pairs);
    feed(&here, 0, LONG, 64);
    feed(&plain, 0, LONG, 64);
    feed(&whole, 0, LONG, 64);
    feed(&pieces, 0, 20, 20);
    feed(&pieces, 20, LONG, 1);
    assert_same_logits(&here, &whole, "many tokens");
    assert_same_logits(&here, &pieces, "few tokens");
    float *with = last_logits(&here), *without = last_logits(&plain);
    ck_assert_float_ne(with[0], without[0]);
    free(with);
    free(without);
    ck_assert_uint_gt(graphs_at_end(&pieces), 40);
    close_file(&here);
    close_file(&whole);
    close_file(&plain);
}
END_TEST

/* The same adapter with another scale, token by token: no graph of the first one is replayed. */
START_TEST(scales_have_graphs_of_their_own)
{
    static const char *const devices[] = {"cpu", "cuda"};
    static const float scales[] = {1.0f, -0.7f, 1.0f};
    float logits[2][3][512];
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        company c = open_company(devices[i], "prefix_cache=no");
        radllm_session *session = c.sessions[0];
        for (int k = 0; k < 3; k++) {
            rad_assert_ok(
                radllm_session_set_adapters(session, c.adapters, &scales[k], 1, c.o.error),
                c.o.error);
            for (int t = 0; t < 4; t++)
                rad_assert_ok(radllm_session_feed(session, &ids[t], 1, NULL, c.o.error), c.o.error);
            rad_assert_ok(radllm_session_logits(session, logits[i][k], 512, &n, c.o.error),
                          c.o.error);
        }
        close_company(&c);
    }
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(memcmp(logits[0][k], logits[1][k], n * sizeof(float)), 0);
    ck_assert_int_ne(memcmp(logits[0][0], logits[0][1], n * sizeof(float)), 0);
}
END_TEST

/* No values go to the CPU and back for them, and steps that have the same ones are graphs. */
START_TEST(adapters_stay_on_the_device)
{
    static const char *const kinds[] = {"download", "synchronize", "graph_launch"};
    static char texts[SESSIONS][TEXT];
    unsigned long long calls[2][3];
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    for (int i = 0; i < 2; i++) {
        setenv("RAD_EMULATED_COUNTS", path, 1);
        company c = open_company("cuda", "");
        answer(&c, i == 0 ? 8 : 1, "12", texts);
        close_company(&c);
        unsetenv("RAD_EMULATED_COUNTS");
        for (int k = 0; k < 3; k++)
            calls[i][k] = calls_of(path, kinds[k]);
    }
    for (int k = 0; k < 3; k++)
        ck_assert_uint_eq(calls[0][k], calls[1][k]);
    ck_assert_uint_gt(calls[1][2], 5);
}
END_TEST

/* Adapters that are known beforehand are planned (those of experts too); without room for others
 * the CPU adds them. */
START_TEST(adapters_count)
{
    static char here[4][SESSIONS][TEXT], there[4][SESSIONS][TEXT];
    char text[512], limit[64];
    int64_t bytes[2], used, total;
    if (_i == 1) {
        base = "architectures/mixtral-q8_0";
        names[0] = "mixtral-experts.gguf";
        names[1] = "mixtral-attention";
    }
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "cache=f32 sessions=5 context=64%s%s",
                 i == 1 ? " adapter=" : "", i == 1 ? adapter_path(names[0]) : "");
        radllm_options *options = options_on("cuda", text);
        opened o = open_file(model_path(base), options);
        rad_assert_ok(radllm_engine_number(o.engine, "gpu_total", &total, o.error), o.error);
        rad_assert_ok(radllm_engine_number(o.engine, "gpu_used", &used, o.error), o.error);
        ck_assert_int_ge(used, total);
        ck_assert_int_lt(used - total, total / 50 + 65536);
        bytes[i] = total;
        close_file(&o);
        radllm_options_free(options);
    }
    ck_assert_int_gt(bytes[1], bytes[0]);
    snprintf(limit, sizeof limit, "vram_limit=%lld", (long long)bytes[0]);
    answer_in_turns("cpu", "", here);
    answer_in_turns("cuda", limit, there);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < SESSIONS; i++)
            ck_assert_str_eq(here[turn][i], there[turn][i]);
    }
}
END_TEST

static int64_t planned_with(const char *pairs)
{
    int64_t total;
    char text[512];
    snprintf(text, sizeof text, "cache=f32 sessions=5 context=200 %s", pairs);
    radllm_options *options = options_on("cuda", text);
    opened o = open_file(model_path(base), options);
    rad_assert_ok(radllm_engine_number(o.engine, "gpu_total", &total, o.error), o.error);
    close_file(&o);
    radllm_options_free(options);
    return total;
}

/* Room for the first alone: the second is the CPU's, until the first was not used for long. */
START_TEST(adapters_change_places)
{
    static const char *const lengths[] = {"118", "130"};
    static char here[SESSIONS][TEXT], there[SESSIONS][TEXT];
    unsigned long long downloads[2];
    char path[1024], pairs[400];
    company c = open_company("cpu", "context=200");
    answer(&c, 3, "130", here);
    close_company(&c);
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    snprintf(pairs, sizeof pairs, "adapter=%s", adapter_path("llama-all.gguf"));
    snprintf(pairs, sizeof pairs, "context=200 vram_limit=%lld", (long long)planned_with(pairs));
    for (int i = 0; i < 2; i++) {
        setenv("RAD_EMULATED_COUNTS", path, 1);
        c = open_company("cuda", pairs);
        answer(&c, 1, "4", there);
        answer(&c, 2, lengths[i], there);
        close_company(&c);
        unsetenv("RAD_EMULATED_COUNTS");
        downloads[i] = calls_of(path, "download");
    }
    ck_assert_str_eq(here[1], there[1]);
    ck_assert_uint_gt(downloads[0], 100);
    ck_assert_uint_eq(downloads[0], downloads[1]);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "adapters");
    tcase_add_loop_test(cases, adapters_have_the_bits_of_the_cpu, 0, sizeof all / sizeof *all);
    tcase_add_loop_test(cases, sessions_have_their_own, 0, 3);
    tcase_add_loop_test(cases, sessions_have_their_own_experts, 0, 3);
    tcase_add_loop_test(cases, experts_are_adapted_on_the_device, 0,
                        sizeof mixtures / sizeof *mixtures);
    tcase_add_test(cases, scales_have_graphs_of_their_own);
    tcase_add_test(cases, adapters_stay_on_the_device);
    tcase_add_loop_test(cases, adapters_count, 0, 2);
    tcase_add_test(cases, adapters_change_places);
}

int main(void)
{
    return rad_test_main("cuda_adapters", add_cases);
}
