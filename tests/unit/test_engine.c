/* Engine, sessions and requests by the public API: the answer to a request depends on the request
 * alone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

enum { MAX_TOKENS = 24 };

static radllm_error *error;
static radllm_model *model;
static radllm_options *options;

static void set_number(const char *key, double value)
{
    rad_assert_ok(radllm_options_set_real(options, key, value, error), error);
}

static void set_integer(const char *key, int64_t value)
{
    rad_assert_ok(radllm_options_set_integer(options, key, value, error), error);
}

static void set_text(const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(options, key, value, RADLLM_NUL, error), error);
}

static void setup(void)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("engine.gguf"));
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_integer("threads", 2);
    set_integer("max_tokens", MAX_TOKENS);
    set_integer("top_logprobs", 3);
    set_integer("ignore_end", 1);
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_temp_path("engine.gguf"), options, NULL, &model, error),
        error);
}

static void teardown(void)
{
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
}

static radllm_engine *new_engine(int n_sessions, int batch)
{
    radllm_engine *engine;
    set_integer("sessions", n_sessions);
    set_integer("batch", batch);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    return engine;
}

static radllm_session *new_session(radllm_engine *engine)
{
    radllm_session *session;
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    return session;
}

static radllm_request *new_request(radllm_session *session, const char *prompt)
{
    radllm_request *request;
    rad_assert_ok(
        radllm_request_new_complete(session, prompt, RADLLM_NUL, options, &request, error), error);
    return request;
}

/* All that an answer is: tokens, log-probabilities (their bits), text. */
typedef struct answer {
    int64_t n_tokens;
    radllm_answer_token tokens[MAX_TOKENS][4];
    char text[2048];
} answer;

static void read_answer(const radllm_request *request, answer *out)
{
    memset(out, 0, sizeof *out);
    rad_assert_ok(radllm_request_number(request, "answer_tokens", &out->n_tokens, error), error);
    ck_assert_int_le(out->n_tokens, MAX_TOKENS);
    for (int64_t i = 0; i < out->n_tokens; i++) {
        for (uint32_t rank = 0; rank < 4; rank++)
            out->tokens[i][rank].size = sizeof out->tokens[i][rank];
        rad_assert_ok(radllm_request_token(request, (uint64_t)i, &out->tokens[i][3], error), error);
        for (uint32_t rank = 0; rank < 3; rank++)
            rad_assert_ok(
                radllm_request_top_token(request, (uint64_t)i, rank, &out->tokens[i][rank], error),
                error);
    }
    size_t length;
    rad_assert_ok(radllm_request_text(request, out->text, sizeof out->text, &length, error), error);
}

static answer answer_alone(const char *prompt)
{
    radllm_engine *engine = new_engine(1, 512);
    radllm_session *session = new_session(engine);
    radllm_request *request = new_request(session, prompt);
    answer result;
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_LENGTH);
    read_answer(request, &result);
    ck_assert_int_eq(result.n_tokens, MAX_TOKENS);
    /* In this order the objects keep each other alive. */
    radllm_engine_free(engine);
    radllm_session_free(session);
    radllm_request_free(request);
    return result;
}

static const char *const prompts[] = {
    "the lungs are clear", "a",
    "no pleural effusion and no pneumothorax; the heart is of normal size", "x y z"};

/* ---- company --------------------------------------------------------------------------------- */

static void company(int batch, double temperature)
{
    answer expected[4];
    set_number("temperature", temperature);
    set_integer("seed", 7);
    for (int i = 0; i < 4; i++)
        expected[i] = answer_alone(prompts[i]);
    radllm_engine *engine = new_engine(4, batch);
    radllm_session *sessions[4];
    radllm_request *requests[4];
    uint32_t pending = 0;
    for (int i = 0; i < 4; i++) {
        sessions[i] = new_session(engine);
        requests[i] = new_request(sessions[i], prompts[i]);
        rad_assert_ok(radllm_request_submit(requests[i], error), error);
        /* They join at different times. */
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    }
    while (pending > 0)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    for (int i = 0; i < 4; i++) {
        answer got;
        rad_assert_ok(radllm_request_status(requests[i], error), error);
        read_answer(requests[i], &got);
        ck_assert_mem_eq(&got, &expected[i], sizeof got);
        radllm_request_free(requests[i]);
        radllm_session_free(sessions[i]);
    }
    radllm_engine_free(engine);
}

START_TEST(company_changes_nothing)
{
    company(512, 0.0);
    company(5, 0.0);
    company(512, 0.9);
    company(4, 0.9);
}
END_TEST

START_TEST(a_kept_prefix_changes_nothing)
{
    answer expected = answer_alone("the lungs are clear and the heart is large");
    radllm_engine *engine = new_engine(1, 512);
    radllm_session *session = new_session(engine);
    const char *before[] = {"the lungs are not", "the lungs are clear and the heart is large", "q"};
    for (int i = 0; i < 3; i++) {
        radllm_request *first = new_request(session, before[i]);
        rad_assert_ok(radllm_request_run(first, NULL, error), error);
        radllm_request *second = new_request(session, "the lungs are clear and the heart is large");
        rad_assert_ok(radllm_request_run(second, NULL, error), error);
        answer got;
        int64_t reused, prompt_tokens;
        read_answer(second, &got);
        ck_assert_mem_eq(&got, &expected, sizeof got);
        rad_assert_ok(radllm_request_number(second, "reused_tokens", &reused, error), error);
        rad_assert_ok(radllm_request_number(second, "prompt_tokens", &prompt_tokens, error), error);
        ck_assert_int_ge(reused, i == 0 ? 4 : 1);
        if (i == 1)
            ck_assert_int_eq(reused, prompt_tokens - 1);
        radllm_request_free(first);
        radllm_request_free(second);
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

typedef struct runner {
    radllm_engine *engine;
    const char *prompt;
    const answer *expected;
    bool same;
} runner;

static void *run_some(void *data)
{
    runner *r = data;
    r->same = true;
    radllm_session *session;
    if (radllm_session_new(r->engine, &session, NULL) != RADLLM_OK)
        return NULL;
    for (int i = 0; i < 4; i++) {
        radllm_request *request = NULL;
        int64_t n = 0;
        char text[2048] = "";
        r->same = r->same &&
                  radllm_request_new_complete(session, r->prompt, RADLLM_NUL, options, &request,
                                              NULL) == RADLLM_OK &&
                  radllm_request_run(request, NULL, NULL) == RADLLM_OK &&
                  radllm_request_number(request, "answer_tokens", &n, NULL) == RADLLM_OK &&
                  radllm_request_text(request, text, sizeof text, NULL, NULL) == RADLLM_OK;
        r->same = r->same && n == r->expected->n_tokens && strcmp(text, r->expected->text) == 0;
        radllm_request_free(request);
    }
    radllm_session_free(session);
    return NULL;
}

static void from_many_threads(bool worker)
{
    answer expected[4];
    runner runners[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        expected[i] = answer_alone(prompts[i]);
    radllm_engine *engine = new_engine(4, 64);
    if (worker)
        rad_assert_ok(radllm_engine_start_worker(engine, error), error);
    for (int i = 0; i < 4; i++) {
        runners[i] = (runner){engine, prompts[i], &expected[i], false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_some, &runners[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(runners[i].same);
    }
    if (worker) {
        rad_assert_error(radllm_engine_start_worker(engine, error), RADLLM_E_STATE, error,
                         "worker already");
        rad_assert_ok(radllm_engine_stop_worker(engine, error), error);
        rad_assert_error(radllm_engine_stop_worker(engine, error), RADLLM_E_STATE, error,
                         "no worker");
    }
    radllm_engine_free(engine);
}

START_TEST(many_threads_step)
{
    from_many_threads(false);
}
END_TEST

START_TEST(a_worker_steps)
{
    from_many_threads(true);
}
END_TEST

/* ---- callbacks and cancellation ----------------------------------------------------------------
 */

typedef struct listener {
    radllm_engine *engine;
    radllm_session *session;
    char text[4096];
    size_t length;
    int calls, stop_after;
    radllm_status step, feed;
} listener;

static int32_t listen(void *user, const char *text, size_t length)
{
    listener *l = user;
    int32_t token = 5;
    memcpy(l->text + l->length, text, length);
    l->length += length;
    l->calls++;
    if (l->engine != NULL)
        l->step = radllm_engine_step(l->engine, NULL, NULL);
    if (l->session != NULL)
        l->feed = radllm_session_feed(l->session, &token, 1, NULL, NULL);
    return l->calls == l->stop_after;
}

START_TEST(callbacks_get_the_text)
{
    answer expected = answer_alone(prompts[0]);
    radllm_engine *engine = new_engine(2, 64);
    radllm_session *session = new_session(engine), *other = new_session(engine);
    radllm_request *request = new_request(session, prompts[0]);
    listener l = {.engine = engine, .session = other};
    rad_assert_ok(radllm_request_set_callback(request, listen, &l, error), error);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    ck_assert_int_gt(l.calls, 1);
    ck_assert_uint_eq(l.length, strlen(expected.text));
    ck_assert_mem_eq(l.text, expected.text, l.length);
    /* A callback cannot compute on its own engine; it is told so and nothing hangs. */
    ck_assert_int_eq(l.step, RADLLM_E_STATE);
    ck_assert_int_eq(l.feed, RADLLM_E_STATE);
    rad_assert_error(radllm_request_set_callback(request, listen, &l, error), RADLLM_E_STATE, error,
                     "before");
    rad_assert_error(radllm_request_submit(request, error), RADLLM_E_STATE, error, "before");
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_session_free(other);
    radllm_engine_free(engine);
}
END_TEST

START_TEST(a_callback_cancels)
{
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine);
    radllm_request *request = new_request(session, prompts[0]);
    listener l = {.stop_after = 2};
    rad_assert_ok(radllm_request_set_callback(request, listen, &l, error), error);
    rad_assert_error(radllm_request_run(request, NULL, error), RADLLM_E_CANCELLED, error, "");
    ck_assert_int_eq(l.calls, 2);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_CANCELLED);
    /* The session can be used again. */
    radllm_request *next = new_request(session, prompts[1]);
    rad_assert_ok(radllm_request_run(next, NULL, error), error);
    radllm_request_free(next);
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

START_TEST(a_cancellation_object_stops)
{
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine);
    radllm_cancel *cancel;
    int32_t tokens[] = {1, 5};
    rad_assert_ok(radllm_cancel_new(NULL, &cancel, error), error);
    radllm_cancel_set(cancel);
    radllm_request *request = new_request(session, prompts[0]);
    rad_assert_error(radllm_request_run(request, cancel, error), RADLLM_E_CANCELLED, error, "");
    radllm_request_free(request);
    rad_assert_error(radllm_session_feed(session, tokens, 2, cancel, error), RADLLM_E_CANCELLED,
                     error, "");
    ck_assert_uint_eq(radllm_session_length(session), 0);
    radllm_model *second;
    rad_assert_error(
        radllm_model_open(NULL, rad_test_temp_path("engine.gguf"), NULL, cancel, &second, error),
        RADLLM_E_CANCELLED, error, "");
    radllm_cancel_reset(cancel);
    rad_assert_ok(radllm_session_feed(session, tokens, 2, cancel, error), error);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_cancel_free(cancel);
}
END_TEST

START_TEST(a_running_request_is_freed)
{
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine);
    uint32_t pending;
    for (int worker = 0; worker < 2; worker++) {
        if (worker)
            rad_assert_ok(radllm_engine_start_worker(engine, error), error);
        for (int i = 0; i < 20; i++) {
            radllm_request *request = new_request(session, prompts[i % 4]);
            rad_assert_ok(radllm_request_submit(request, error), error);
            if (!worker)
                rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
            radllm_request_free(request);
        }
    }
    rad_assert_ok(radllm_engine_stop_worker(engine, error), error);
    rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    ck_assert_uint_eq(pending, 0);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

START_TEST(one_request_for_each_session)
{
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine), *second;
    radllm_request *first = new_request(session, prompts[0]);
    radllm_request *other = new_request(session, prompts[1]);
    int32_t token = 3;
    rad_assert_ok(radllm_request_submit(first, error), error);
    rad_assert_error(radllm_request_submit(other, error), RADLLM_E_STATE, error, "another request");
    rad_assert_error(radllm_session_feed(session, &token, 1, NULL, error), RADLLM_E_STATE, error,
                     "a request runs");
    rad_assert_error(radllm_session_new(engine, &second, error), RADLLM_E_LIMIT, error,
                     "option sessions");
    rad_assert_ok(radllm_request_run(first, NULL, error), error);
    rad_assert_ok(radllm_request_run(other, NULL, error), error);
    radllm_request_free(first);
    radllm_request_free(other);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

/* ---- ends of an answer --------------------------------------------------------------------------
 */

START_TEST(stop_strings)
{
    answer whole = answer_alone(prompts[0]);
    size_t size = strlen(whole.text);
    ck_assert_uint_gt(size, 8);
    /* Any piece of the text, wherever tokens begin and end, stops at its first occurrence. */
    for (size_t start = 1; start + 3 < size; start++) {
        char stop[4] = {0};
        memcpy(stop, whole.text + start, 3);
        if (((unsigned char)stop[0] & 0xc0) == 0x80)
            continue; /* within a character */
        rad_assert_ok(radllm_options_reset(options, "stop", error), error);
        set_text("stop", "never in the text, and long");
        set_text("stop", stop);
        size_t expected = (size_t)(strstr(whole.text, stop) - whole.text);
        radllm_engine *engine = new_engine(1, 64);
        radllm_session *session = new_session(engine);
        radllm_request *request = new_request(session, prompts[0]);
        listener l = {0};
        char text[2048];
        size_t length;
        rad_assert_ok(radllm_request_set_callback(request, listen, &l, error), error);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_STOP);
        rad_assert_ok(radllm_request_text(request, text, sizeof text, &length, error), error);
        ck_assert_uint_eq(length, expected);
        ck_assert_uint_eq(l.length, expected); /* nothing was told that was taken back */
        ck_assert_mem_eq(text, whole.text, expected);
        radllm_request_free(request);
        radllm_session_free(session);
        radllm_engine_free(engine);
    }
}
END_TEST

START_TEST(stop_tokens_and_bias)
{
    answer whole = answer_alone(prompts[0]);
    char id[32];
    snprintf(id, sizeof id, "%d", (int)whole.tokens[3][3].token);
    set_text("stop_token", id);
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine);
    radllm_request *request = new_request(session, prompts[0]);
    int64_t n;
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    rad_assert_ok(radllm_request_number(request, "answer_tokens", &n, error), error);
    ck_assert_int_le(n, 3);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_STOP);
    radllm_request_free(request);
    /* Forbidding the first token changes the answer from there on. */
    char bias[48];
    snprintf(bias, sizeof bias, "%d:-inf", (int)whole.tokens[0][3].token);
    set_text("logit_bias", bias);
    request = new_request(session, prompts[0]);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    answer got;
    read_answer(request, &got);
    if (got.n_tokens > 0)
        ck_assert_int_ne(got.tokens[0][3].token, whole.tokens[0][3].token);
    radllm_request_free(request);
    set_text("logit_bias", "99999:1");
    rad_assert_error(radllm_request_new_complete(session, "a", 1, options, &request, error),
                     RADLLM_E_ARGUMENT, error, "\"99999:1\" does not name a token");
    const char *wrong[] = {"5", "5:", "5:nan", "5:inf", "5:1e9", "5:x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rad_assert_ok(radllm_options_reset(options, "logit_bias", error), error);
        set_text("logit_bias", wrong[i]);
        rad_assert_error(radllm_request_new_complete(session, "a", 1, options, &request, error),
                         RADLLM_E_ARGUMENT, error, "is not TOKEN:BIAS");
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

START_TEST(no_tokens_and_a_full_context)
{
    radllm_engine *engine = new_engine(1, 64);
    radllm_session *session = new_session(engine);
    set_integer("max_tokens", 0);
    radllm_request *request = new_request(session, prompts[0]);
    int64_t n;
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    rad_assert_ok(radllm_request_number(request, "answer_tokens", &n, error), error);
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_LENGTH);
    radllm_request_free(request);
    set_integer("max_tokens", -1);
    request = new_request(session, prompts[0]);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_LENGTH);
    ck_assert_uint_eq(radllm_session_length(session), 128);
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

/* ---- choices ------------------------------------------------------------------------------------
 */

/* Log-probability of an answer by feeding it token by token. */
static double by_hand(radllm_session *session, const char *prompt, const char *choice)
{
    int32_t tokens[256];
    size_t n_prompt, n_choice;
    double sum = 0.0;
    rad_assert_ok(radllm_tokenize(model, prompt, RADLLM_NUL, RADLLM_TOKENIZE_ADD_SPECIAL, tokens,
                                  128, &n_prompt, error),
                  error);
    rad_assert_ok(
        radllm_tokenize(model, choice, RADLLM_NUL, 0, tokens + n_prompt, 128, &n_choice, error),
        error);
    rad_assert_ok(radllm_session_rewind(session, 0, error), error);
    rad_assert_ok(radllm_session_feed(session, tokens, n_prompt, NULL, error), error);
    for (size_t i = 0; i < n_choice; i++) {
        radllm_options *forced;
        char bias[48];
        int32_t token;
        float logprob;
        rad_assert_ok(radllm_options_new(NULL, &forced, error), error);
        snprintf(bias, sizeof bias, "%d:1e6", (int)tokens[n_prompt + i]);
        rad_assert_ok(radllm_options_set_text(forced, "logit_bias", bias, RADLLM_NUL, error),
                      error);
        rad_assert_ok(radllm_session_sample(session, forced, &token, &logprob, error), error);
        ck_assert_int_eq(token, tokens[n_prompt + i]);
        sum += (double)logprob;
        rad_assert_ok(radllm_session_feed(session, &token, 1, NULL, error), error);
        radllm_options_free(forced);
    }
    return sum;
}

START_TEST(choices_are_scored)
{
    static const char *const choices[] = {"yes", "no",        "the heart is large",
                                          "a",   "not clear", "no pleural effusion is seen"};
    enum { N = 6 };
    for (int batch = 2; batch < 64; batch += 20) {
        radllm_engine *engine = new_engine(2, batch);
        radllm_session *session = new_session(engine), *hand = new_session(engine);
        radllm_request *request = new_request(session, prompts[2]);
        rad_assert_ok(radllm_request_set_choices(request, choices, NULL, N, error), error);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_CHOICE);
        double total = 0.0, best = -1e300;
        int best_index = -1;
        for (int i = 0; i < N; i++) {
            radllm_choice_result result = {.size = sizeof result};
            rad_assert_ok(radllm_request_choice(request, (uint64_t)i, &result, error), error);
            ck_assert_double_eq_tol(result.logprob, by_hand(hand, prompts[2], choices[i]), 1e-4);
            total += result.probability;
            if (result.logprob > best) {
                best = result.logprob;
                best_index = i;
            }
        }
        int64_t choice;
        char text[64];
        ck_assert_double_eq_tol(total, 1.0, 1e-12);
        rad_assert_ok(radllm_request_number(request, "choice", &choice, error), error);
        ck_assert_int_eq(choice, best_index);
        rad_assert_ok(radllm_request_text(request, text, sizeof text, NULL, error), error);
        ck_assert_str_eq(text, choices[choice]);
        radllm_request_free(request);
        radllm_session_free(session);
        radllm_session_free(hand);
        radllm_engine_free(engine);
    }
}
END_TEST

/* ---- hosts
 * ---------------------------------------------------------------------------------------- */

typedef struct executor_state {
    int calls;
} executor_state;

static void run_backwards(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    executor_state *state = user;
    state->calls++;
    for (uint32_t i = count; i > 0; i--)
        task(data, i - 1);
}

START_TEST(a_host_executor_gives_the_same)
{
    answer expected = answer_alone(prompts[2]);
    executor_state state = {0};
    radllm_host *host;
    radllm_engine *engine;
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, error), error);
    rad_assert_ok(radllm_host_set_executor(host, run_backwards, &state, 3, error), error);
    set_integer("sessions", 1);
    rad_assert_ok(radllm_engine_new(host, model, options, &engine, error), error);
    radllm_host_free(host);
    radllm_session *session = new_session(engine);
    radllm_request *request = new_request(session, prompts[2]);
    answer got;
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    read_answer(request, &got);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    ck_assert_int_gt(state.calls, 0);
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

START_TEST(a_forked_child_is_told)
{
    radllm_engine *engine = new_engine(2, 64);
    radllm_session *session = new_session(engine), *other;
    radllm_request *request = new_request(session, prompts[0]);
    int32_t token = 3;
    pid_t child = fork();
    if (child == 0) {
        uint32_t pending;
        int good = radllm_session_feed(session, &token, 1, NULL, NULL) == RADLLM_E_FORKED &&
                   radllm_session_new(engine, &other, NULL) == RADLLM_E_FORKED &&
                   radllm_engine_step(engine, &pending, NULL) == RADLLM_E_FORKED &&
                   radllm_request_run(request, NULL, NULL) == RADLLM_E_FORKED &&
                   radllm_model_number(model, "layers", &(int64_t){0}, NULL) == RADLLM_E_FORKED;
        radllm_request_free(request);
        radllm_session_free(session);
        radllm_engine_free(engine);
        radllm_model_free(model);
        _exit(good ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "engine");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, company_changes_nothing);
    tcase_add_test(cases, a_kept_prefix_changes_nothing);
    tcase_add_test(cases, many_threads_step);
    tcase_add_test(cases, a_worker_steps);
    tcase_add_test(cases, callbacks_get_the_text);
    tcase_add_test(cases, a_callback_cancels);
    tcase_add_test(cases, a_cancellation_object_stops);
    tcase_add_test(cases, a_running_request_is_freed);
    tcase_add_test(cases, one_request_for_each_session);
    tcase_add_test(cases, stop_strings);
    tcase_add_test(cases, stop_tokens_and_bias);
    tcase_add_test(cases, no_tokens_and_a_full_context);
    tcase_add_test(cases, choices_are_scored);
    tcase_add_test(cases, a_host_executor_gives_the_same);
    tcase_add_test(cases, a_forked_child_is_told);
}

int main(void)
{
    return rad_test_main("engine", add_cases);
}
