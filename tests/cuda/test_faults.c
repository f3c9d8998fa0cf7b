/* What goes wrong on the device, call by call: the n-th call of each function of its table fails,
 * or the n-th piece of its work, while a model is loaded, in steps, forks, snapshots and at the
 * end. What the library has answered until then is right, then come errors, all memory is given
 * back (RAD_EMULATED_FREED, and AddressSanitizer for the host's), and the model goes on on the CPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/models.h"

enum { MOST_NOTES = 1 << 16, PROMPT = 3, ANSWER = 4 };

/* What was answered, in order. */
typedef struct notes {
    size_t used;
    uint8_t bytes[MOST_NOTES];
} notes;

static void note(notes *n, const void *bytes, size_t size)
{
    ck_assert_uint_le(size, sizeof n->bytes - n->used);
    memcpy(n->bytes + n->used, bytes, size);
    n->used += size;
}

static int32_t word(uint32_t i)
{
    return (int32_t)(3 + (i * 7919u + i / 5u) % 60u);
}

typedef struct play {
    radllm_engine *engine;
    radllm_session *sessions[3];
    radllm_request *requests[2];
    notes *notes;
    radllm_error *error;
} play;

static radllm_status feed(play *p, int which, uint32_t first, uint32_t n)
{
    int32_t tokens[PROMPT];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = word(first + i);
    return radllm_session_feed(p->sessions[which], tokens, n, NULL, p->error);
}

static radllm_status note_logits(play *p, int which)
{
    float logits[1024];
    size_t n = 0;
    radllm_status status =
        radllm_session_logits(p->sessions[which], logits, sizeof logits / 4, &n, p->error);
    if (status == RADLLM_OK)
        note(p->notes, logits, n * sizeof *logits);
    return status;
}

/* A prompt, and tokens one by one, so often that the steps are a graph. */
static radllm_status generate(play *p)
{
    radllm_status status = radllm_session_new(p->engine, &p->sessions[0], p->error);
    if (status == RADLLM_OK)
        status = feed(p, 0, 0, PROMPT);
    for (uint32_t i = 0; i < ANSWER && status == RADLLM_OK; i++) {
        int32_t token = -1;
        status = radllm_session_sample(p->sessions[0], NULL, &token, NULL, p->error);
        if (status != RADLLM_OK)
            break;
        note(p->notes, &token, sizeof token);
        status = radllm_session_feed(p->sessions[0], &token, 1, NULL, p->error);
    }
    return status == RADLLM_OK ? note_logits(p, 0) : status;
}

/* A page that two sessions share is copied. */
static radllm_status go_apart(play *p)
{
    radllm_status status = radllm_session_fork(p->sessions[0], &p->sessions[1], p->error);
    if (status == RADLLM_OK)
        status = feed(p, 1, 40, 3);
    if (status == RADLLM_OK)
        status = note_logits(p, 1);
    if (status == RADLLM_OK)
        status = feed(p, 0, 50, 2);
    return status;
}

static radllm_status save(play *p)
{
    const char *path = rad_test_temp_path("faults.session");
    radllm_status status = radllm_session_snapshot(p->sessions[1], path, NULL, p->error);
    if (status == RADLLM_OK)
        status = radllm_session_new(p->engine, &p->sessions[2], p->error);
    if (status == RADLLM_OK)
        status = radllm_session_restore(p->sessions[2], path, NULL, p->error);
    if (status == RADLLM_OK)
        status = feed(p, 2, 60, 1);
    return status == RADLLM_OK ? note_logits(p, 2) : status;
}

static radllm_status ask(play *p, radllm_options *const options[2])
{
    uint32_t pending = 1;
    radllm_status status = RADLLM_OK;
    for (int i = 0; i < 2 && status == RADLLM_OK; i++) {
        int32_t prompt[] = {5, word((uint32_t)i), 7};
        status = radllm_request_new_tokens(p->sessions[i], prompt, 3, options[i], &p->requests[i],
                                           p->error);
        if (status == RADLLM_OK)
            status = radllm_request_submit(p->requests[i], p->error);
    }
    while (status == RADLLM_OK && pending > 0)
        status = radllm_engine_step(p->engine, &pending, p->error);
    for (int i = 0; i < 2 && status == RADLLM_OK; i++) {
        char text[256];
        size_t size = 0;
        status = radllm_request_status(p->requests[i], p->error);
        if (status == RADLLM_OK)
            status = radllm_request_text(p->requests[i], text, sizeof text, &size, p->error);
        if (status == RADLLM_OK)
            note(p->notes, text, size);
    }
    return status;
}

static void end(play *p)
{
    for (int i = 0; i < 2; i++)
        radllm_request_free(p->requests[i]);
    for (int i = 0; i < 3; i++)
        radllm_session_free(p->sessions[i]);
    radllm_engine_free(p->engine);
}

/* All that the lost device is asked for fails; nothing else does. */
static void check_unusable(play *p, const char *what)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_session *session = p->sessions[0];
    int32_t token = 5;
    if (p->engine == NULL || session == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        radllm_status status = radllm_session_feed(session, &token, 1, NULL, &error);
        ck_assert_msg(status == RADLLM_E_DEVICE, "%s: a step behind it: %s", what, error.message);
    }
    if (radllm_session_length(session) > 0) {
        radllm_status status =
            radllm_session_snapshot(session, rad_test_temp_path("none.session"), NULL, &error);
        ck_assert_msg(status == RADLLM_E_DEVICE, "%s: a snapshot: %s", what, error.message);
    }
}

static radllm_status play_all(radllm_model *model, const radllm_options *options, const char *what,
                              notes *notes, radllm_error *error)
{
    play p = {.notes = notes, .error = error};
    radllm_options *asked[2] = {NULL, NULL};
    notes->used = 0;
    for (int i = 0; i < 2; i++) {
        rad_assert_ok(radllm_options_new(NULL, &asked[i], error), error);
        rad_assert_ok(radllm_options_set_integer(asked[i], "max_tokens", 2, error), error);
    }
    rad_assert_ok(radllm_options_set_text(asked[1], "temperature", "0.9", RADLLM_NUL, error),
                  error);
    radllm_status status = radllm_engine_new(NULL, model, options, &p.engine, error);
    if (status == RADLLM_OK)
        status = generate(&p);
    if (status == RADLLM_OK)
        status = go_apart(&p);
    if (status == RADLLM_OK)
        status = save(&p);
    if (status == RADLLM_OK)
        status = ask(&p, asked);
    if (status != RADLLM_OK)
        check_unusable(&p, what);
    end(&p);
    for (int i = 0; i < 2; i++)
        radllm_options_free(asked[i]);
    return status;
}

/* ---- which calls ------------------------------------------------------------------------------
 */

typedef struct counts {
    uint32_t n;
    char names[32][32];
    unsigned long long calls[32];
} counts;

static counts read_counts(const char *path)
{
    counts c = {0};
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (c.n < 32 && fscanf(file, "%31s %llu", c.names[c.n], &c.calls[c.n]) == 2)
        c.n++;
    (void)fclose(file);
    return c;
}

/* Some, from the first call to the last one. */
static unsigned long long next_call(unsigned long long at, unsigned long long all, uint32_t steps)
{
    unsigned long long next = at + (all - 1) / steps;
    next += next == at ? 1 : 0;
    return at < all && next > all ? all : next;
}

typedef struct way {
    const char *model, *options;
    uint32_t steps; /* calls of a kind */
} way;

static const way ways[] = {
    {"llama3-gqa-tied-q8_0", "", 2},
    {"llama3-gqa-tied-q8_0", "gpu_layers=1", 1},
    {"mixtral-q8_0", "", 1},
};

static radllm_options *options_of(const char *device, const char *pairs)
{
    char text[256];
    snprintf(text, sizeof text, "cache=f32 sessions=3 context=64 batch=16 prefix_cache=no %s",
             pairs);
    return options_on(device, text);
}

/* Failures behind which the device goes on: what wants too much, and graphs that cannot be made. */
static const char *const lesser[] = {"alloc 3 memory",      "host_alloc 4 memory",
                                     "event_new 2 memory",  "capture_end 1 memory",
                                     "capture_end 1 state", "capture_end 2 state"};

static notes wanted, got;

static void check_failure(radllm_model *model, const radllm_options *cuda, const char *what)
{
    radllm_error error = {.status = RADLLM_OK};
    bool stays = strstr(what, "memory") != NULL || strstr(what, "state") != NULL;
    setenv("RAD_EMULATED_FAIL", what, 1);
    radllm_status status = play_all(model, cuda, what, &got, &error);
    ck_assert_msg(got.used <= wanted.used && memcmp(got.bytes, wanted.bytes, got.used) == 0,
                  "%s: what was answered before is wrong", what);
    if (status == RADLLM_OK)
        ck_assert_msg(got.used == wanted.used, "%s: something is left out", what);
    else
        ck_assert_msg(status == RADLLM_E_DEVICE || (stays && status == RADLLM_E_MEMORY) ||
                          (got.used == 0 && status == RADLLM_E_UNSUPPORTED),
                      "%s: status %d: %s", what, (int)status, error.message);
    unsetenv("RAD_EMULATED_FAIL");
}

START_TEST(every_call_can_fail)
{
    const way *w = &ways[_i];
    char path[256];
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *cuda = options_of("cuda", w->options), *cpu = options_of("cpu", "");
    radllm_model *model = NULL;
    snprintf(path, sizeof path, "tests/golden/architectures/%s.gguf", w->model);
    rad_assert_ok(radllm_model_open(NULL, rad_test_source_path(path), cuda, NULL, &model, &error),
                  &error);
    setenv("RAD_EMULATED_FREED", "1", 1);
    rad_assert_ok(play_all(model, cpu, "cpu", &wanted, &error), &error);
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    setenv("RAD_EMULATED_COUNTS", path, 1);
    rad_assert_ok(play_all(model, cuda, "cuda", &got, &error), &error);
    unsetenv("RAD_EMULATED_COUNTS");
    ck_assert_uint_eq(got.used, wanted.used);
    ck_assert_int_eq(memcmp(got.bytes, wanted.bytes, got.used), 0);
    counts c = read_counts(path);
    for (uint32_t k = 0; k < c.n; k++) {
        if (_i > 0 && strstr("upload download launch work", c.names[k]) == NULL)
            continue; /* each kind once */
        for (unsigned long long at = 1; at <= c.calls[k];
             at = next_call(at, c.calls[k], w->steps)) {
            char what[64];
            snprintf(what, sizeof what, "%s %llu", c.names[k], at);
            check_failure(model, cuda, what);
        }
    }
    for (size_t i = 0; i < sizeof lesser / sizeof *lesser && _i == 0; i++)
        check_failure(model, cuda, lesser[i]);
    rad_assert_ok(play_all(model, cpu, "cpu", &got, &error), &error);
    ck_assert_int_eq(memcmp(got.bytes, wanted.bytes, wanted.used), 0);
    radllm_model_free(model);
    radllm_options_free(cuda);
    radllm_options_free(cpu);
}
END_TEST

/* Tokens one by one; one that finds no memory is tried again. The last one's logits. */
static void feed_again(radllm_model *model, const radllm_options *options, uint32_t n,
                       uint32_t n_failures, notes *out)
{
    radllm_error error = {.status = RADLLM_OK};
    play p = {.notes = out, .error = &error};
    uint32_t failed = 0;
    out->used = 0;
    rad_assert_ok(radllm_engine_new(NULL, model, options, &p.engine, &error), &error);
    rad_assert_ok(radllm_session_new(p.engine, &p.sessions[0], &error), &error);
    for (uint32_t i = 0; i < n; i++) {
        radllm_status status = feed(&p, 0, i, 1);
        if (status == RADLLM_E_MEMORY) {
            failed++;
            status = feed(&p, 0, i, 1);
        }
        rad_assert_ok(status, &error);
    }
    ck_assert_uint_eq(failed, n_failures);
    rad_assert_ok(note_logits(&p, 0), &error);
    end(&p);
}

/* A kernel's code finds no room while a graph is captured: what was captured until then is never
 * replayed as the whole step. */
START_TEST(half_a_graph_is_none)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *cuda = options_of("cuda", "");
    radllm_model *model = NULL;
    char path[256], what[64];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    rad_assert_ok(radllm_model_open(NULL, model_path("architectures/llama3-gqa-tied-q8_0"), cuda,
                                    NULL, &model, &error),
                  &error);
    feed_again(model, cuda, 2, 0, &wanted);
    setenv("RAD_EMULATED_COUNTS", path, 1);
    feed_again(model, cuda, 1, 0, &got);
    unsetenv("RAD_EMULATED_COUNTS");
    unsigned long long first = calls_of(path, "launch");
    for (unsigned long long at = first + 1; at < first + 8; at += 3) {
        snprintf(what, sizeof what, "launch %llu memory", at);
        setenv("RAD_EMULATED_FAIL", what, 1);
        feed_again(model, cuda, 2, 1, &got);
        unsetenv("RAD_EMULATED_FAIL");
        ck_assert_uint_eq(got.used, wanted.used);
        ck_assert_msg(memcmp(got.bytes, wanted.bytes, got.used) == 0, "%s: wrong logits", what);
    }
    radllm_model_free(model);
    radllm_options_free(cuda);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "faults");
    tcase_add_test(cases, half_a_graph_is_none);
    tcase_add_loop_test(cases, every_call_can_fail, 0, sizeof ways / sizeof *ways);
}

int main(void)
{
    return rad_test_main("cuda_faults", add_cases);
}
