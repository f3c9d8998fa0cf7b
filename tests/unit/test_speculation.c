/* Speculation changes nothing but the speed: tokens, text, log-probabilities, all logits, the
 * reason of the end and what the session holds are those of a request without it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

enum { MAX_ANSWER = 127, TOPS = 3 };

static radllm_error *error;
static radllm_options *options;
static radllm_model *model;    /* two layers */
static radllm_model *smaller;  /* the first of them */
static radllm_model *the_same; /* as `model` */

static void set_integer(const char *key, int64_t value)
{
    rad_assert_ok(radllm_options_set_integer(options, key, value, error), error);
}

static void set_number(const char *key, double value)
{
    rad_assert_ok(radllm_options_set_real(options, key, value, error), error);
}

static void set_text(const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

static void reset(const char *key)
{
    rad_assert_ok(radllm_options_reset(options, key, error), error);
}

/* The tiny model without its second layer. */
static gguf_builder smaller_file(void)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_remove_key(&file, "llama.block_count");
    gguf_key_u32(&file, "llama.block_count", 1);
    for (size_t i = file.n_tensors; i > 0; i--) {
        char name[96];
        snprintf(name, sizeof name, "%s", file.tensors[i - 1].name);
        if (strncmp(name, "blk.1.", 6) == 0)
            gguf_remove_tensor(&file, name);
    }
    return file;
}

static const char *write_file(gguf_builder file, const char *name)
{
    const char *path = rad_test_temp_path(name);
    gguf_write(&file, path);
    gguf_builder_free(&file);
    return path;
}

static radllm_model *open_model(const char *path)
{
    radllm_model *opened;
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &opened, error), error);
    return opened;
}

static void setup(void)
{
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_integer("threads", 2);
    set_integer("max_tokens", 40);
    set_integer("top_logprobs", TOPS);
    set_integer("ignore_end", 1);
    model = open_model(write_file(gguf_tiny_llama(), "model.gguf"));
    the_same = open_model(rad_test_temp_path("model.gguf"));
    smaller = open_model(write_file(smaller_file(), "smaller.gguf"));
}

static void teardown(void)
{
    radllm_model_free(model);
    radllm_model_free(the_same);
    radllm_model_free(smaller);
    radllm_options_free(options);
    radllm_error_free(error);
}

/* ---- ways to speculate ------------------------------------------------------------------------
 */

typedef enum way {
    OFF,
    LOOKUP,
    BY_SMALLER,
    BY_THE_SAME,
    HOST_MIXED, /* a callback that is right about two times in three */
    HOST_WRONG,
    HOST_NONSENSE, /* more than was asked for, ids out of range, negative counts */
    N_WAYS
} way;

/* All that can be seen of an answer. */
typedef struct outcome {
    radllm_status status;
    int32_t finish;
    uint32_t held; /* by the session afterwards */
    int64_t n_tokens;
    radllm_answer_token tokens[MAX_ANSWER][TOPS + 1];
    char text[4096];
    uint64_t logits; /* hash of all */
    uint32_t n_logits;
    uint64_t pieces; /* hash of what the callback got, piece by piece */
    uint32_t n_pieces;
} outcome;

/* What a request's callbacks know. */
typedef struct listener {
    way way;
    uint64_t pieces, logits;
    uint32_t n_pieces, n_logits;
    uint32_t cancel_at; /* this piece cancels; 0: none */
    uint32_t cancel_at_logits;
    uint32_t n_prompt;
    const outcome *recorded; /* for the callback that proposes */
    uint32_t proposals;
} listener;

static uint64_t hash(uint64_t value, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        value = (value ^ bytes[i]) * 1099511628211u;
    return value;
}

static int32_t take_text(void *user, const char *text, size_t length)
{
    listener *l = user;
    l->pieces = hash(hash(l->pieces, text, length), "|", 1);
    return ++l->n_pieces == l->cancel_at;
}

static int32_t take_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    listener *l = user;
    ck_assert_uint_eq(position, l->n_logits);
    l->logits = hash(l->logits, logits, n_vocab * sizeof *logits);
    return ++l->n_logits == l->cancel_at_logits;
}

static int32_t propose(void *user, const int32_t *tokens, uint32_t count, int32_t *draft,
                       uint32_t capacity)
{
    listener *l = user;
    uint32_t position = count - l->n_prompt;
    ck_assert_uint_gt(capacity, 0);
    ck_assert_int_eq(tokens[count - 1], l->recorded->tokens[position - 1][TOPS].token);
    l->proposals++;
    for (uint32_t i = 0; i < capacity; i++) {
        const outcome *r = l->recorded;
        int32_t right = position + i < r->n_tokens ? r->tokens[position + i][TOPS].token : 7;
        bool wrong = l->way == HOST_WRONG || (position + i) * 2654435761u >> 16 > 43000u;
        draft[i] = wrong ? (right + 1) % 200 : right;
    }
    if (l->way != HOST_NONSENSE)
        return (int32_t)capacity;
    switch (l->proposals % 5) {
    case 0:
        return -3;
    case 1:
        draft[0] = -1;
        return (int32_t)capacity;
    case 2:
        draft[capacity - 1] = 1 << 30;
        return (int32_t)capacity;
    case 3:
        return INT32_MAX;
    default:
        return 0;
    }
}

static radllm_engine *new_engine(way used)
{
    radllm_engine *engine;
    radllm_model *draft = used == BY_SMALLER ? smaller : used == BY_THE_SAME ? the_same : NULL;
    if (draft != NULL)
        rad_assert_ok(radllm_engine_new_with_draft(NULL, model, draft, options, &engine, error),
                      error);
    else
        rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    return engine;
}

static radllm_session *new_session(radllm_engine *engine)
{
    radllm_session *session;
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    return session;
}

static int64_t number(const radllm_request *request, const char *name)
{
    int64_t value = -1;
    rad_assert_ok(radllm_request_number(request, name, &value, error), error);
    return value;
}

static radllm_request *new_request(radllm_session *session, const char *prompt, way used,
                                   listener *l)
{
    radllm_request *request;
    set_text("speculate", used == LOOKUP                              ? "lookup"
                          : used == BY_SMALLER || used == BY_THE_SAME ? "draft"
                                                                      : "off");
    rad_assert_ok(
        radllm_request_new_complete(session, prompt, RADLLM_NUL, options, &request, error), error);
    reset("speculate");
    l->way = used;
    l->n_prompt = (uint32_t)number(request, "prompt_tokens");
    rad_assert_ok(radllm_request_set_callback(request, take_text, l, error), error);
    rad_assert_ok(radllm_request_set_logits(request, take_logits, l, error), error);
    if (used >= HOST_MIXED)
        rad_assert_ok(radllm_request_set_draft(request, propose, l, error), error);
    return request;
}

static void read_outcome(const radllm_request *request, const radllm_session *session,
                         const listener *l, outcome *out)
{
    memset(out, 0, sizeof *out);
    out->status = radllm_request_status(request, error);
    out->finish = radllm_request_finish(request);
    out->held = radllm_session_length(session);
    out->n_tokens = number(request, "answer_tokens");
    ck_assert_int_le(out->n_tokens, MAX_ANSWER);
    for (int64_t i = 0; i < out->n_tokens; i++) {
        for (uint32_t rank = 0; rank <= TOPS; rank++)
            out->tokens[i][rank].size = sizeof out->tokens[i][rank];
        rad_assert_ok(radllm_request_token(request, (uint64_t)i, &out->tokens[i][TOPS], error),
                      error);
        for (uint32_t rank = 0; rank < TOPS; rank++)
            rad_assert_ok(
                radllm_request_top_token(request, (uint64_t)i, rank, &out->tokens[i][rank], error),
                error);
    }
    rad_assert_ok(radllm_request_text(request, out->text, sizeof out->text, NULL, error), error);
    out->logits = l->logits;
    out->n_logits = l->n_logits;
    out->pieces = l->pieces;
    out->n_pieces = l->n_pieces;
    ck_assert_int_le(number(request, "accepted_tokens"), number(request, "drafted_tokens"));
}

/* One request on a new engine and session. The listener's settings are the caller's. */
static void run_alone(const char *prompt, way used, listener l, outcome *out, int64_t counts[2])
{
    radllm_engine *engine = new_engine(used);
    radllm_session *session = new_session(engine);
    radllm_request *request = new_request(session, prompt, used, &l);
    (void)radllm_request_run(request, NULL, error);
    read_outcome(request, session, &l, out);
    if (counts != NULL) {
        counts[0] = number(request, "drafted_tokens");
        counts[1] = number(request, "accepted_tokens");
    }
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}

static const char *const prompts[] = {
    "the lungs are clear the lungs are clear the", "a",
    "no pleural effusion and no pneumothorax; the heart is of normal size, no pleural effusion",
    "x y z x y z x y"};
enum { N_PROMPTS = 4 };

static outcome expected, got; /* too large for the stack */

static void compare(const outcome *want, const outcome *have, const char *what, way used)
{
    if (memcmp(want, have, sizeof *want) != 0)
        ck_abort_msg("%s, way %d: %lld tokens instead of %lld, finish %d instead of %d, held %u "
                     "instead of %u, %u logits instead of %u, \"%s\" instead of \"%s\"",
                     what, (int)used, (long long)have->n_tokens, (long long)want->n_tokens,
                     have->finish, want->finish, have->held, want->held, have->n_logits,
                     want->n_logits, have->text, want->text);
}

/* All ways, and how many tokens were accepted in all of them. */
static int64_t try_all_ways(const char *what)
{
    int64_t accepted = 0;
    for (int p = 0; p < N_PROMPTS; p++) {
        run_alone(prompts[p], OFF, (listener){0}, &expected, NULL);
        for (way used = LOOKUP; used < N_WAYS; used++) {
            int64_t counts[2];
            run_alone(prompts[p], used, (listener){.recorded = &expected}, &got, counts);
            compare(&expected, &got, what, used);
            accepted += counts[1];
            if (used == HOST_WRONG)
                ck_assert_int_eq(counts[1], 0);
        }
    }
    return accepted;
}

/* ---- the same answer --------------------------------------------------------------------------
 */

START_TEST(greedy_is_the_same)
{
    for (int most = 1; most <= 64; most = most * 2 + 1) {
        set_integer("draft_tokens", most < 64 ? most : 64);
        ck_assert_int_gt(try_all_ways("greedy"), 40);
    }
}
END_TEST

START_TEST(any_sampler_is_the_same)
{
    static const struct {
        const char *name, *value;
    } settings[] = {{"temperature", "0.9"},    {"top_k", "40"},
                    {"top_p", "0.9"},          {"min_p", "0.02"},
                    {"typical_p", "0.9"},      {"repeat_penalty", "1.3"},
                    {"penalty_last_n", "5"},   {"frequency_penalty", "0.5"},
                    {"presence_penalty", "1"}, {"penalty_last_n", "-1"},
                    {"logit_bias", "270:2.5"}, {"seed", "12345"},
                    {"temperature", "0.3"}};
    /* Each on top of those before it. */
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        set_text(settings[i].name, settings[i].value);
        if (!RAD_TEST_SANITIZED || i % 4 == 0)
            ck_assert_int_gt(try_all_ways(settings[i].name), 10);
    }
}
END_TEST

/* The draft model samples with the request's own random numbers: one that equals the model is right
 * always, whatever the temperature. */
START_TEST(the_same_model_is_always_right)
{
    static const char *const temperatures[] = {"0", "0.7", "1.5"};
    for (int i = 0; i < 3; i++) {
        int64_t counts[2];
        set_text("temperature", temperatures[i]);
        set_text("repeat_penalty", "1.1");
        run_alone(prompts[i], BY_THE_SAME, (listener){0}, &got, counts);
        ck_assert_int_ge(counts[0], 10);
        ck_assert_int_eq(counts[0], counts[1]);
    }
}
END_TEST

START_TEST(every_length_is_the_same)
{
    for (int n = -1; n < 20; n++) {
        set_integer("max_tokens", n);
        set_integer("context", n < 0 ? 100 : 128);
        (void)try_all_ways("length");
        ck_assert_int_eq(expected.finish, RADLLM_FINISH_LENGTH);
        if (n < 0)
            ck_assert_uint_eq(expected.held, 100);
    }
}
END_TEST

START_TEST(a_context_may_end_within_a_draft)
{
    set_integer("max_tokens", -1);
    for (int context = 92; context < 128; context += 5) {
        set_integer("context", context);
        (void)try_all_ways("context");
        ck_assert_uint_eq(expected.held, (uint32_t)context);
    }
}
END_TEST

START_TEST(stop_strings_are_the_same)
{
    run_alone(prompts[0], OFF, (listener){0}, &expected, NULL);
    char whole[4096];
    strcpy(whole, expected.text);
    for (size_t start = 2; start + 2 < strlen(whole); start += RAD_TEST_SANITIZED ? 17 : 3) {
        char stop[3] = {whole[start], whole[start + 1], '\0'};
        set_text("stop", stop);
        (void)try_all_ways("stop");
        reset("stop");
    }
    char id[16];
    snprintf(id, sizeof id, "%d", expected.tokens[9][TOPS].token);
    set_text("stop_token", id);
    (void)try_all_ways("stop token");
}
END_TEST

START_TEST(ends_are_the_same)
{
    set_integer("ignore_end", 0);
    set_number("temperature", 1.2);
    set_text("logit_bias", "2:4");
    bool ended = false;
    for (int seed = 0; seed < 6; seed++) {
        set_integer("seed", seed);
        (void)try_all_ways("end");
        ended = ended || expected.finish == RADLLM_FINISH_END;
    }
    ck_assert(ended);
}
END_TEST

/* ---- cancellation ----------------------------------------------------------------------------
 */

START_TEST(a_callback_cancels_at_the_same_place)
{
    for (uint32_t at = 1; at < 30; at += RAD_TEST_SANITIZED ? 9 : 3) {
        for (way used = OFF; used < N_WAYS; used++) {
            outcome whole;
            listener l = {.cancel_at = at};
            if (used == OFF) {
                run_alone(prompts[0], OFF, l, &expected, NULL);
                ck_assert_int_eq(expected.finish, RADLLM_FINISH_CANCELLED);
                ck_assert_uint_eq(expected.n_pieces, at);
                continue;
            }
            run_alone(prompts[0], OFF, (listener){0}, &whole, NULL);
            l.recorded = &whole;
            run_alone(prompts[0], used, l, &got, NULL);
            compare(&expected, &got, "cancelled by text", used);
        }
    }
}
END_TEST

START_TEST(a_logits_callback_cancels_at_the_same_place)
{
    outcome whole;
    run_alone(prompts[0], OFF, (listener){0}, &whole, NULL);
    for (uint32_t at = 1; at < 30; at += RAD_TEST_SANITIZED ? 9 : 3) {
        run_alone(prompts[0], OFF, (listener){.cancel_at_logits = at}, &expected, NULL);
        ck_assert_int_eq(expected.finish, RADLLM_FINISH_CANCELLED);
        ck_assert_int_eq(expected.n_tokens, (int64_t)at - 1);
        for (way used = LOOKUP; used < N_WAYS; used++) {
            run_alone(prompts[0], used, (listener){.cancel_at_logits = at, .recorded = &whole},
                      &got, NULL);
            compare(&expected, &got, "cancelled by logits", used);
        }
    }
}
END_TEST

START_TEST(a_cancelled_step_can_be_followed)
{
    radllm_cancel *cancel;
    outcome whole;
    rad_assert_ok(radllm_cancel_new(NULL, &cancel, error), error);
    run_alone(prompts[0], OFF, (listener){0}, &whole, NULL);
    for (way used = LOOKUP; used < N_WAYS; used++) {
        radllm_engine *engine = new_engine(used);
        radllm_session *session = new_session(engine);
        listener l = {.recorded = &whole};
        radllm_request *request = new_request(session, prompts[0], used, &l);
        uint32_t pending;
        rad_assert_ok(radllm_request_submit(request, error), error);
        for (int i = 0; i < 4; i++)
            rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
        radllm_cancel_set(cancel); /* before the next step computes */
        rad_assert_error(radllm_request_run(request, cancel, error), RADLLM_E_CANCELLED, error, "");
        radllm_cancel_reset(cancel);
        radllm_request_free(request);
        listener next = {.recorded = &whole};
        request = new_request(session, prompts[0], used, &next);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        read_outcome(request, session, &next, &got);
        compare(&whole, &got, "after a cancelled request", used);
        radllm_request_free(request);
        radllm_session_free(session);
        radllm_engine_free(engine);
    }
    radllm_cancel_free(cancel);
}
END_TEST

/* ---- company and what comes after --------------------------------------------------------------
 */

static void company(int batch, int first)
{
    static outcome alone[N_PROMPTS];
    radllm_session *sessions[N_PROMPTS];
    radllm_request *requests[N_PROMPTS];
    listener listeners[N_PROMPTS] = {{.way = OFF}};
    for (int i = 0; i < N_PROMPTS; i++)
        run_alone(prompts[i], OFF, (listener){0}, &alone[i], NULL);
    set_integer("sessions", N_PROMPTS);
    set_integer("batch", batch);
    radllm_engine *engine = new_engine(first % 2 == 0 ? BY_SMALLER : BY_THE_SAME);
    uint32_t pending = 0;
    for (int i = 0; i < N_PROMPTS; i++) {
        way used = (way)((first + i) % N_WAYS);
        listeners[i].recorded = &alone[i];
        sessions[i] = new_session(engine);
        requests[i] = new_request(sessions[i], prompts[i], used, &listeners[i]);
        rad_assert_ok(radllm_request_submit(requests[i], error), error);
        /* They join at different times. */
        for (int n = 0; n <= i; n++)
            rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    }
    for (int steps = 0; pending > 0; steps++) {
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
        ck_assert_int_lt(steps, 400);
    }
    for (int i = 0; i < N_PROMPTS; i++) {
        read_outcome(requests[i], sessions[i], &listeners[i], &got);
        compare(&alone[i], &got, "in company", listeners[i].way);
        radllm_request_free(requests[i]);
        radllm_session_free(sessions[i]);
    }
    radllm_engine_free(engine);
    reset("sessions");
    reset("batch");
}

START_TEST(company_changes_nothing)
{
    static const int batches[] = {4, 5, 9, 33, 512};
    for (int b = 0; b < 5; b += RAD_TEST_SANITIZED ? 2 : 1) {
        for (int first = 0; first < N_WAYS; first++)
            company(batches[b], first);
        set_number("temperature", 0.8);
    }
}
END_TEST

/* While one request drafts as much as it can, another's prompt is computed all the same. */
START_TEST(drafts_leave_room_for_prompts)
{
    set_integer("sessions", 2);
    set_integer("batch", 6);
    set_integer("draft_tokens", 64);
    radllm_engine *engine = new_engine(BY_THE_SAME);
    radllm_session *first = new_session(engine), *second = new_session(engine);
    listener l = {0}, other = {0};
    radllm_request *drafting = new_request(first, prompts[1], BY_THE_SAME, &l);
    rad_assert_ok(radllm_request_submit(drafting, error), error);
    uint32_t pending;
    for (int i = 0; i < 3; i++)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    radllm_request *prompt = new_request(second, prompts[0], OFF, &other);
    rad_assert_ok(radllm_request_submit(prompt, error), error);
    while (other.n_logits == 0)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    ck_assert_uint_eq(pending, 2); /* the first is still at it */
    radllm_request_free(drafting);
    radllm_request_free(prompt);
    radllm_session_free(first);
    radllm_session_free(second);
    radllm_engine_free(engine);
}
END_TEST

/* Rejected tokens leave nothing behind: a second request reuses as much as it would otherwise, and
 * what is fed by hand gives the same logits. */
START_TEST(a_session_goes_on_the_same)
{
    static const char *const second = "the lungs are clear the lungs are clear the heart is large";
    static outcome after[N_WAYS];
    static float logits[N_WAYS][291];
    int64_t reused[N_WAYS];
    outcome whole, whole_second;
    run_alone(prompts[0], OFF, (listener){0}, &whole, NULL);
    run_alone(second, OFF, (listener){0}, &whole_second, NULL);
    for (way used = OFF; used < N_WAYS; used++) {
        radllm_engine *engine = new_engine(used);
        radllm_session *session = new_session(engine);
        listener l = {.recorded = &whole}, m = {.recorded = &whole_second};
        radllm_request *request = new_request(session, prompts[0], used, &l);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        radllm_request_free(request);
        int32_t more[] = {270, 271, 272};
        size_t count;
        rad_assert_ok(radllm_session_feed(session, more, 3, NULL, error), error);
        rad_assert_ok(radllm_session_logits(session, logits[used], 291, &count, error), error);
        request = new_request(session, second, used, &m);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        reused[used] = number(request, "reused_tokens");
        read_outcome(request, session, &m, &after[used]);
        ck_assert_int_gt(reused[used], 30);
        ck_assert_int_eq(reused[used], reused[OFF]);
        ck_assert_mem_eq(logits[used], logits[OFF], sizeof logits[OFF]);
        compare(&after[OFF], &after[used], "second request", used);
        radllm_request_free(request);
        radllm_session_free(session);
        radllm_engine_free(engine);
    }
    compare(&whole_second, &after[OFF], "second request without speculation", OFF);
}
END_TEST

START_TEST(a_worker_steps)
{
    for (way used = LOOKUP; used <= BY_THE_SAME; used++) {
        run_alone(prompts[2], OFF, (listener){0}, &expected, NULL);
        radllm_engine *engine = new_engine(used);
        radllm_session *session = new_session(engine);
        rad_assert_ok(radllm_engine_start_worker(engine, error), error);
        for (int i = 0; i < 5; i++) {
            listener l = {0};
            radllm_request *request = new_request(session, prompts[2], used, &l);
            rad_assert_ok(radllm_request_submit(request, error), error);
            /* Read and rewind as soon as it is done, while the step may still end. */
            while (radllm_request_state(request) == RADLLM_REQUEST_PENDING)
                (void)number(request, "accepted_tokens");
            rad_assert_ok(radllm_request_run(request, NULL, error), error);
            read_outcome(request, session, &l, &got);
            compare(&expected, &got, "by a worker", used);
            rad_assert_ok(radllm_session_rewind(session, 3, error), error);
            radllm_request_free(request);
        }
        radllm_session_free(session);
        radllm_engine_free(engine);
    }
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------
 */

static radllm_status run_with_memory(rad_test_memory *memory, bool check_generation)
{
    radllm_host *host;
    radllm_engine *engine = NULL;
    radllm_session *session = NULL;
    radllm_request *request = NULL;
    radllm_status status =
        radllm_host_new(rad_test_allocate, rad_test_release, memory, &host, error);
    if (status != RADLLM_OK)
        return status;
    status = radllm_engine_new_with_draft(host, model, the_same, options, &engine, error);
    if (status == RADLLM_OK)
        status = radllm_session_new(engine, &session, error);
    if (status == RADLLM_OK)
        status =
            radllm_request_new_complete(session, prompts[0], RADLLM_NUL, options, &request, error);
    unsigned long long before = atomic_load(&memory->n_allocations);
    if (status == RADLLM_OK)
        status = radllm_request_run(request, NULL, error);
    if (check_generation) {
        ck_assert_uint_eq(atomic_load(&memory->n_allocations), before);
        ck_assert_int_gt(number(request, "accepted_tokens"), 0);
    }
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_host_free(host);
    return status;
}

START_TEST(survives_failing_memory)
{
    set_text("speculate", "draft");
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        rad_test_memory_init(&memory, n);
        radllm_status status = run_with_memory(&memory, false);
        rad_test_memory_check(&memory);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, error);
            ck_assert_uint_gt(n, 25);
            break;
        }
        rad_assert_error(status, RADLLM_E_MEMORY, error, "");
    }
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_assert_ok(run_with_memory(&memory, true), error);
    rad_test_memory_check(&memory);
}
END_TEST

static uint64_t planned(const radllm_plan *plan, const char *name)
{
    uint64_t value = 0;
    rad_assert_ok(radllm_plan_number(plan, name, &value, error), error);
    return value;
}

START_TEST(the_plan_counts_the_draft_model)
{
    radllm_file *file, *draft;
    radllm_plan *plan, *without;
    set_integer("sessions", 2);
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("model.gguf"), &file, error), error);
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("smaller.gguf"), &draft, error), error);
    rad_assert_ok(radllm_plan_new(file, options, &without, error), error);
    rad_assert_ok(radllm_plan_new_with_draft(file, draft, options, &plan, error), error);
    ck_assert_uint_eq(planned(without, "draft"), 0);
    ck_assert_uint_eq(planned(plan, "total"), planned(without, "total") + planned(plan, "draft"));

    /* What an engine with two sessions really takes, beside the weights. */
    rad_test_memory memory;
    radllm_host *host;
    radllm_engine *engine;
    rad_test_memory_init(&memory, 0);
    rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                  error);
    unsigned long long before = atomic_load(&memory.live_bytes);
    rad_assert_ok(radllm_engine_new_with_draft(host, model, smaller, options, &engine, error),
                  error);
    radllm_session *first = new_session(engine), *second = new_session(engine);
    double taken = (double)(atomic_load(&memory.live_bytes) - before);
    double cache = (double)planned(plan, "cache") + (double)planned(plan, "activations");
    ck_assert_double_ge(taken, cache);
    ck_assert_double_le(taken, cache * 1.1); /* of so small a model, tables are a visible part */
    int64_t draft_bytes;
    rad_assert_ok(radllm_engine_number(engine, "draft_bytes", &draft_bytes, error), error);
    ck_assert_int_gt(draft_bytes, 0);
    ck_assert_int_le(draft_bytes, (int64_t)planned(plan, "draft"));
    radllm_session_free(first);
    radllm_session_free(second);
    radllm_engine_free(engine);
    radllm_host_free(host);

    /* A budget that is enough without the draft model and not with it. */
    uint64_t alone = planned(without, "weights") + planned(without, "cache") +
                     planned(without, "activations") + 2 * (128 + 291) * 4; /* tokens and logits */
    set_integer("memory_budget", (int64_t)alone + draft_bytes / 2);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    radllm_engine_free(engine);
    rad_assert_error(radllm_engine_new_with_draft(NULL, model, smaller, options, &engine, error),
                     RADLLM_E_BUDGET, error, "budget");
    set_integer("memory_budget", (int64_t)planned(plan, "total"));
    rad_assert_ok(radllm_engine_new_with_draft(NULL, model, smaller, options, &engine, error),
                  error);
    radllm_engine_free(engine);
    radllm_plan_free(plan);
    radllm_plan_free(without);
    radllm_file_free(draft);
    radllm_file_free(file);
}
END_TEST

/* ---- refusals ----------------------------------------------------------------------------------
 */

/* The smaller model with other tokens: `count` of them, token `changed` with another text. */
static const char *other_vocabulary(const char *name, size_t count, size_t changed,
                                    const char *text, int32_t last_type)
{
    static char texts[512][16];
    static const char *tokens[512];
    static float scores[512];
    static int32_t types[512];
    gguf_builder file = smaller_file();
    for (size_t i = 0; i < count; i++) {
        size_t length = 0;
        types[i] = i < 3 ? (i == 0 ? 2 : 3) : i < 259 ? 6 : i < 291 ? 1 : last_type;
        if (i < 291)
            rad_assert_ok(
                radllm_token_piece(model, (int32_t)i, texts[i], sizeof texts[i], &length, error),
                error);
        else
            snprintf(texts[i], sizeof texts[i], "more%zu", i);
        tokens[i] = i == changed ? text : texts[i];
        scores[i] = -(float)i;
    }
    static const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.scores",
                                       "tokenizer.ggml.token_type"};
    for (int i = 0; i < 3; i++)
        gguf_remove_key(&file, keys[i]);
    gguf_key_strings(&file, keys[0], tokens, count);
    gguf_key_array(&file, keys[1], GGUF_F32, scores, 4, count);
    gguf_key_array(&file, keys[2], GGUF_I32, types, 4, count);
    static const char *const matrices[] = {"token_embd.weight", "output.weight"};
    for (int i = 0; i < 2; i++) {
        gguf_remove_tensor(&file, matrices[i]);
        gguf_tensor_random(&file, matrices[i], 2, (uint64_t[]){32, count}, 1.0f);
    }
    return write_file(file, name);
}

START_TEST(another_vocabulary_is_refused)
{
    radllm_engine *engine = NULL;
    radllm_model *draft = open_model(other_vocabulary("a.gguf", 291, 280, "Q", 1));
    rad_assert_error(radllm_engine_new_with_draft(NULL, model, draft, options, &engine, error),
                     RADLLM_E_ARGUMENT, error, "token 280 is \"Q\" there and \"p\" in the model");
    radllm_model_free(draft);
    draft = open_model(other_vocabulary("b.gguf", 300, SIZE_MAX, "", 1));
    rad_assert_error(radllm_engine_new_with_draft(NULL, model, draft, options, &engine, error),
                     RADLLM_E_ARGUMENT, error, "300 tokens there, 291 in the model");
    /* The other way round as well. */
    rad_assert_error(radllm_engine_new_with_draft(NULL, draft, model, options, &engine, error),
                     RADLLM_E_ARGUMENT, error, "291 tokens there, 300 in the model");
    radllm_file *file, *other;
    radllm_plan *plan;
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("model.gguf"), &file, error), error);
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("b.gguf"), &other, error), error);
    rad_assert_error(radllm_plan_new_with_draft(file, other, options, &plan, error),
                     RADLLM_E_ARGUMENT, error, "another vocabulary");
    radllm_file_free(file);
    radllm_file_free(other);
    radllm_model_free(draft);
    ck_assert_ptr_null(engine);
}
END_TEST

/* Families pad their vocabularies to different round numbers. */
START_TEST(padding_is_no_difference)
{
    outcome whole;
    listener l = {0};
    run_alone(prompts[0], OFF, l, &whole, NULL);
    radllm_model *own = smaller;
    smaller = open_model(other_vocabulary("padded.gguf", 320, SIZE_MAX, "", 5));
    run_alone(prompts[0], BY_SMALLER, l, &got, NULL);
    compare(&whole, &got, "padded", BY_SMALLER);
    /* The model is the padded one: tokens that the draft model lacks are never put to it. */
    radllm_model *unpadded = model;
    model = smaller;
    smaller = own;
    set_text("logit_bias", "300:1e6");
    run_alone(prompts[0], OFF, l, &whole, NULL);
    ck_assert_int_eq(whole.tokens[3][TOPS].token, 300);
    run_alone(prompts[0], BY_SMALLER, l, &got, NULL);
    compare(&whole, &got, "unpadded", BY_SMALLER);
    radllm_model_free(model);
    model = unpadded;
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
    radllm_engine *engine = new_engine(OFF);
    radllm_session *session = new_session(engine);
    radllm_request *request;
    set_text("speculate", "draft");
    rad_assert_error(
        radllm_request_new_complete(session, "a", RADLLM_NUL, options, &request, error),
        RADLLM_E_ARGUMENT, error, "radllm_engine_new_with_draft");
    rad_assert_error(radllm_options_set_text(options, "speculate", "maybe", 5, error),
                     RADLLM_E_ARGUMENT, error, "off|lookup|draft");
    rad_assert_error(radllm_options_set_integer(options, "draft_tokens", 65, error),
                     RADLLM_E_ARGUMENT, error, "1 to 64");
    reset("speculate");
    listener l = {0};
    request = new_request(session, "a", OFF, &l);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    rad_assert_error(radllm_request_set_draft(request, propose, &l, error), RADLLM_E_STATE, error,
                     "before the request is submitted");
    rad_assert_error(radllm_request_set_logits(request, take_logits, &l, error), RADLLM_E_STATE,
                     error, "before the request is submitted");
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "speculation");
    tcase_add_checked_fixture(cases, setup, teardown);
    if (!RAD_TEST_RACES_ONLY) {
        tcase_add_test(cases, greedy_is_the_same);
        tcase_add_test(cases, any_sampler_is_the_same);
        tcase_add_test(cases, every_length_is_the_same);
        tcase_add_test(cases, a_context_may_end_within_a_draft);
        tcase_add_test(cases, stop_strings_are_the_same);
        tcase_add_test(cases, ends_are_the_same);
    }
    tcase_add_test(cases, the_same_model_is_always_right);
    tcase_add_test(cases, a_callback_cancels_at_the_same_place);
    tcase_add_test(cases, a_logits_callback_cancels_at_the_same_place);
    tcase_add_test(cases, a_cancelled_step_can_be_followed);
    tcase_add_test(cases, company_changes_nothing);
    tcase_add_test(cases, drafts_leave_room_for_prompts);
    tcase_add_test(cases, a_session_goes_on_the_same);
    tcase_add_test(cases, a_worker_steps);
    tcase_add_test(cases, survives_failing_memory);
    tcase_add_test(cases, the_plan_counts_the_draft_model);
    tcase_add_test(cases, another_vocabulary_is_refused);
    tcase_add_test(cases, padding_is_no_difference);
    tcase_add_test(cases, what_cannot_be_is_refused);
}

int main(void)
{
    return rad_test_main("speculation", add_cases);
}
