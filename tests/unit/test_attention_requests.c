/* Attention policies: a session goes on behind its context, alone and in company, in the memory
 * that was planned, and what cannot be is told. */
#include <math.h>

#include "unit/policies.h"

/* ---- requests ----------------------------------------------------------------------------------
 */

typedef struct answer {
    int32_t tokens[LONG];
    int64_t count, drafted, accepted;
} answer;

static void read_answer(radllm_request *request, answer *out)
{
    rad_assert_ok(radllm_request_number(request, "answer_tokens", &out->count, error), error);
    rad_assert_ok(radllm_request_number(request, "drafted_tokens", &out->drafted, error), error);
    rad_assert_ok(radllm_request_number(request, "accepted_tokens", &out->accepted, error), error);
    ck_assert_int_le(out->count, LONG);
    for (int64_t i = 0; i < out->count; i++) {
        radllm_answer_token token = {.size = sizeof token};
        rad_assert_ok(radllm_request_token(request, (uint64_t)i, &token, error), error);
        out->tokens[i] = token.token;
    }
}

static radllm_request *new_request(radllm_session *session, const int32_t *prompt, int n_prompt)
{
    radllm_request *request;
    rad_assert_ok(
        radllm_request_new_tokens(session, prompt, (size_t)n_prompt, options, &request, error),
        error);
    return request;
}

static void run(radllm_session *session, const int32_t *prompt, int n_prompt, answer *out)
{
    radllm_request *request = new_request(session, prompt, n_prompt);
    rad_assert_ok(radllm_request_run(request, NULL, error), error);
    ck_assert_int_eq(radllm_request_finish(request), RADLLM_FINISH_LENGTH);
    read_answer(request, out);
    radllm_request_free(request);
}

static void set_sampler(int n_tokens)
{
    set_integer("max_tokens", n_tokens);
    set_integer("ignore_end", 1);
    set_text("temperature", "0.7");
    set_text("repeat_penalty", "1.05");
    set_integer("penalty_last_n", -1);
}

/* The same by feeding tokens and sampling: the random stream begins with the answer there, so the
 * most likely token is taken. */
START_TEST(answers_go_on_behind_the_context)
{
    enum { PROMPT = 200, ANSWER = 200 };
    static answer got, again;
    int32_t tokens[LONG];
    make_tokens(tokens, PROMPT, 7);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    set_sampler(ANSWER);
    set_text("temperature", "0");
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        set_integer("batch", 64);
        running r = start(model), by_hand = start(model);
        run(r.session, tokens, PROMPT, &got);
        ck_assert_int_eq(got.count, ANSWER);
        ck_assert_uint_eq(radllm_session_length(r.session), PROMPT + ANSWER - 1);
        rad_assert_ok(radllm_session_feed(by_hand.session, tokens, PROMPT, NULL, error), error);
        for (int k = 0; k < ANSWER; k++) {
            int32_t token;
            rad_assert_ok(radllm_session_sample(by_hand.session, options, &token, NULL, error),
                          error);
            ck_assert_int_eq(token, got.tokens[k]);
            rad_assert_ok(radllm_session_feed(by_hand.session, &token, 1, NULL, error), error);
        }
        /* How the session began is forgotten, so the same prompt is computed anew. */
        run(r.session, tokens, PROMPT, &again);
        ck_assert_mem_eq(&again, &got, sizeof got);
        stop(&by_hand);
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

START_TEST(company_changes_nothing)
{
    enum { ANSWER = 90 };
    static const int prompts[] = {150, 3, 60, 40};
    static answer expected[4], got;
    int32_t tokens[LONG];
    make_tokens(tokens, LONG, 8);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    set_sampler(ANSWER);
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        set_integer("sessions", 1);
        set_integer("batch", 512);
        running alone = start(model);
        for (int k = 0; k < 4; k++)
            run(alone.session, tokens + 9 * k, prompts[k], &expected[k]);
        stop(&alone);
        set_integer("sessions", 4);
        set_integer("batch", i % 2 == 0 ? 6 : 300);
        running r = start(model);
        radllm_session *sessions[4] = {r.session};
        radllm_request *requests[4];
        uint32_t pending = 0;
        for (int k = 0; k < 4; k++) {
            if (k > 0)
                rad_assert_ok(radllm_session_new(r.engine, &sessions[k], error), error);
            requests[k] = new_request(sessions[k], tokens + 9 * k, prompts[k]);
            rad_assert_ok(radllm_request_submit(requests[k], error), error);
            rad_assert_ok(radllm_engine_step(r.engine, &pending, error), error);
        }
        while (pending > 0)
            rad_assert_ok(radllm_engine_step(r.engine, &pending, error), error);
        for (int k = 0; k < 4; k++) {
            rad_assert_ok(radllm_request_status(requests[k], error), error);
            read_answer(requests[k], &got);
            ck_assert_mem_eq(&got, &expected[k], sizeof got);
            radllm_request_free(requests[k]);
            if (k > 0)
                radllm_session_free(sessions[k]);
        }
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

START_TEST(speculation_changes_nothing)
{
    enum { PROMPT = 60, ANSWER = 150 };
    static const char *const ways[] = {"off", "lookup", "draft"};
    static answer expected, got;
    int32_t tokens[LONG];
    make_tokens(tokens, PROMPT, 9);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        set_sampler(ANSWER);
        set_integer("batch", 64);
        for (int k = 0; k < 3; k++) {
            running r;
            set_text("speculate", ways[k]);
            rad_assert_ok(
                radllm_engine_new_with_draft(NULL, model, model, options, &r.engine, error), error);
            rad_assert_ok(radllm_session_new(r.engine, &r.session, error), error);
            run(r.session, tokens, PROMPT, k == 0 ? &expected : &got);
            if (k > 0) {
                ck_assert_mem_eq(got.tokens, expected.tokens, sizeof got.tokens);
                /* The model as its own draft model is right, behind the context too. */
                bool rebuilds = strcmp(policies[i].attention, "recompute") == 0;
                ck_assert(k == 1 || rebuilds || got.accepted > ANSWER / 3);
            }
            stop(&r);
        }
    }
    radllm_model_free(model);
}
END_TEST

static const char *const choices[] = {"yes", "no", "the heart is large and so are the lungs", "a",
                                      "there is no pleural effusion and no pneumothorax"};
enum { N_CHOICES = 5 };

/* The sum of an answer's log-probabilities, by feeding. */
static double by_hand(radllm_model *model, radllm_session *session, const int32_t *prompt,
                      int n_prompt, const char *choice)
{
    int32_t tokens[128];
    size_t count;
    double sum = 0.0;
    static float logits[291];
    rad_assert_ok(radllm_tokenize(model, choice, RADLLM_NUL, 0, tokens, 128, &count, error), error);
    rad_assert_ok(radllm_session_rewind(session, 0, error), error);
    rad_assert_ok(radllm_session_feed(session, prompt, (size_t)n_prompt, NULL, error), error);
    for (size_t i = 0; i < count; i++) {
        double total = 0.0;
        rad_assert_ok(radllm_session_logits(session, logits, 291, NULL, error), error);
        for (int v = 0; v < 291; v++)
            total += exp((double)logits[v] - (double)logits[tokens[i]]);
        sum -= log(total);
        rad_assert_ok(radllm_session_feed(session, tokens + i, 1, NULL, error), error);
    }
    return sum;
}

START_TEST(choices_are_scored)
{
    enum { PROMPT = 170 };
    int32_t tokens[LONG];
    make_tokens(tokens, PROMPT, 10);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        set_integer("batch", 1 + 20 * (i % 3));
        running r = start(model), hand = start(model);
        radllm_request *request = new_request(r.session, tokens, PROMPT);
        rad_assert_ok(radllm_request_set_choices(request, choices, NULL, N_CHOICES, error), error);
        rad_assert_ok(radllm_request_run(request, NULL, error), error);
        for (uint64_t k = 0; k < N_CHOICES; k++) {
            radllm_choice_result result = {.size = sizeof result};
            rad_assert_ok(radllm_request_choice(request, k, &result, error), error);
            double expected = by_hand(model, hand.session, tokens, PROMPT, choices[k]);
            ck_assert_double_le(fabs(result.logprob - expected), 1e-9 * fabs(expected));
        }
        radllm_request_free(request);
        stop(&hand);
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------
 */

static uint64_t planned(const radllm_file *file, const char *name)
{
    radllm_plan *plan;
    uint64_t value;
    rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
    rad_assert_ok(radllm_plan_number(plan, name, &value, error), error);
    radllm_plan_free(plan);
    return value;
}

static void check_memory(const char *path, const policy *p)
{
    rad_test_memory memory;
    radllm_host *host;
    radllm_file *file;
    radllm_model *model;
    running r;
    static int32_t tokens[LONG];
    set_policy(p);
    rad_test_memory_init(&memory, 0);
    rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                  error);
    rad_assert_ok(radllm_file_open(host, path, &file, error), error);
    uint64_t opened = atomic_load(&memory.live_bytes), total = planned(file, "total");
    rad_assert_ok(radllm_model_load(host, file, options, NULL, &model, error), error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &r.engine, error), error);
    radllm_session *second;
    rad_assert_ok(radllm_session_new(r.engine, &r.session, error), error);
    rad_assert_ok(radllm_session_new(r.engine, &second, error), error);
    double measured = (double)(atomic_load(&memory.live_bytes) - opened);
    printf("# %s %d: planned %.0f, measured %.0f bytes\n", p->attention, (int)p->window,
           (double)total, measured);
    ck_assert_double_le(measured, (double)total * 1.02);
    ck_assert_double_ge(measured, (double)total * 0.98);
    /* Going on behind the context takes nothing from the host. */
    unsigned long long before = atomic_load(&memory.n_allocations);
    make_tokens(tokens, LONG, 11);
    int count = strcmp(p->attention, "auto") == 0 ? 100 : LONG;
    for (int done = 0; done < count; done += 20)
        rad_assert_ok(radllm_session_feed(r.session, tokens + done, 20, NULL, error), error);
    ck_assert_uint_eq(atomic_load(&memory.n_allocations), before);
    radllm_session_free(second);
    stop(&r);
    radllm_model_free(model);
    radllm_file_free(file);
    radllm_host_free(host);
    rad_test_memory_check(&memory);
}

START_TEST(the_plan_is_kept)
{
    set_integer("context", 120);
    set_integer("sessions", 2); /* makes room for larger steps */
    set_integer("batch", 240);
    for (int i = 0; i < N_POLICIES; i++)
        check_memory(model_path(_i), &policies[i]);
    check_memory(model_path(_i), &(policy){"auto", 0, 0, 0});
}
END_TEST

/* Bytes of keys and values for one position of all layers, in F32. */
enum { POSITION = 2 * 2 * 2 * 8 * 4 };

START_TEST(memory_is_bounded_by_the_window)
{
    radllm_file *file;
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("tiny.gguf"), &file, error), error);
    set_integer("batch", 32);
    for (int i = 0; i < N_POLICIES; i++) {
        const policy *p = &policies[i];
        uint64_t cache[2];
        set_policy(p);
        for (int k = 0; k < 2; k++) {
            set_integer("context", k == 0 ? 128 : 100000);
            cache[k] = planned(file, "cache");
        }
        ck_assert_uint_eq(cache[0], cache[1]);
        /* A tile for each border: of the sinks, and both of window and chunk. */
        uint64_t chunk = strcmp(p->attention, "recompute") == 0 ? 0 : 32;
        uint64_t positions = (uint64_t)(p->window + p->sinks) + chunk;
        ck_assert_uint_le(cache[0], (positions + 3 * 32) * POSITION);
    }
    radllm_file_free(file);
}
END_TEST

/* ---- what cannot be ----------------------------------------------------------------------------
 */

START_TEST(numbers_belong_to_their_policy)
{
    static const struct {
        policy asked;
        radllm_status status;
        const char *message;
    } cases[] = {
        {{"auto", 30, 0, 0}, RADLLM_E_ARGUMENT, "option window: attention is \"auto\""},
        {{"full", 30, 0, 0}, RADLLM_E_ARGUMENT, "option window: attention is \"full\""},
        {{"window", 30, 4, 0}, RADLLM_E_ARGUMENT, "option sinks: attention is \"window\""},
        {{"recompute", 30, 4, 0}, RADLLM_E_ARGUMENT, "option sinks: attention is \"recompute\""},
        {{"sinks", 30, 0, 2}, RADLLM_E_ARGUMENT, "option recompute_period: attention is \"sinks\""},
        {{"window", 0, 0, 0}, RADLLM_E_ARGUMENT, "needs the option window"},
        {{"sinks", 0, 4, 0}, RADLLM_E_ARGUMENT, "needs the option window"},
        {{"recompute", 0, 0, 0}, RADLLM_E_ARGUMENT, "needs the option window"},
        {{"recompute", 30, 0, 31}, RADLLM_E_ARGUMENT, "31 is more than the window of 30"},
        {{"window", 129, 0, 0}, RADLLM_E_LIMIT, "over 129 positions"},
        {{"sinks", 125, 0, 0}, RADLLM_E_LIMIT, "over 129 positions"},
        {{"recompute", 129, 0, 0}, RADLLM_E_LIMIT, "over 129 positions"},
    };
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    radllm_engine *engine;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_policy(&cases[i].asked);
        rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), cases[i].status,
                         error, cases[i].message);
    }
    set_policy(&(policy){"recompute", 100, 0, 0});
    set_integer("context", 99);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_ARGUMENT,
                     error, "raise the option context");
    radllm_model_free(model);
}
END_TEST

START_TEST(more_positions_than_the_model_was_made_for)
{
    static int32_t tokens[LONG];
    make_tokens(tokens, LONG, 12);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    radllm_engine *engine;
    set_integer("context", LONG);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_LIMIT, error,
                     "attention=sinks, or context_limit=ignore");
    set_text("context_limit", "ignore");
    trace expected = compute(model, tokens, LONG, 512, 512);
    trace got = compute(model, tokens, LONG, 9, 100);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    set_policy(&(policy){"sinks", 200, 0, 0});
    got = compute(model, tokens, LONG, 9, 100);
    radllm_model_free(model);
}
END_TEST

START_TEST(learned_positions_end_with_their_table)
{
    static int32_t tokens[LONG];
    int64_t length;
    make_tokens(tokens, LONG, 13);
    radllm_model *model =
        open_model(rad_test_source_path("tests/golden/architectures/gpt2-q8_0.gguf"));
    radllm_engine *engine;
    rad_assert_ok(radllm_model_number(model, "context_length", &length, error), error);
    set_text("context_limit", "ignore");
    set_integer("context", length + 1);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_LIMIT, error,
                     "attention=recompute");
    rad_assert_ok(radllm_options_reset(options, "context", error), error);
    set_policy(&(policy){"sinks", 20, 4, 0});
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_ARGUMENT,
                     error, "use attention=recompute");
    /* A window may be short, and positions still end. */
    set_policy(&(policy){"window", 20, 0, 0});
    set_integer("context", 50);
    running r = start(model);
    rad_assert_error(radllm_session_feed(r.session, tokens, 51, NULL, error), RADLLM_E_LIMIT, error,
                     "context");
    rad_assert_ok(radllm_session_feed(r.session, tokens, 50, NULL, error), error);
    stop(&r);
    /* Counted anew they go on. */
    set_policy(&(policy){"recompute", 20, 0, 5});
    trace expected = compute(model, tokens, LONG, 512, 512);
    trace got = compute(model, tokens, LONG, 9, 100);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    radllm_model_free(model);
}
END_TEST

/* ---- failing -----------------------------------------------------------------------------------
 */

static int32_t cancel_later(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)logits;
    (void)n_vocab;
    return position == *(const uint32_t *)user;
}

START_TEST(a_cancelled_feed_leaves_what_can_be_left)
{
    static int32_t tokens[LONG];
    make_tokens(tokens, LONG, 14);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        trace expected = compute(model, tokens, LONG, 32, LONG);
        running r = start(model);
        for (uint32_t end = 60; end < LONG; end += 250) {
            trace t = {.next = 0};
            feed(r.session, tokens, 50, 50, &t);
            rad_assert_error(radllm_session_feed_each(r.session, tokens + 50, LONG - 50,
                                                      cancel_later, &end, NULL, error),
                             RADLLM_E_CANCELLED, error, "");
            /* As it was; or nothing, where that was forgotten. */
            uint32_t length = radllm_session_length(r.session);
            ck_assert(length == 50 || (end > CONTEXT && length == 0));
            t.next = length;
            feed(r.session, tokens + length, (int)(LONG - length), 70, &t);
            ck_assert_mem_eq(&t, &expected, sizeof t);
            rad_assert_ok(radllm_session_rewind(r.session, 0, error), error);
        }
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "attention_requests");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, answers_go_on_behind_the_context);
    tcase_add_test(cases, company_changes_nothing);
    tcase_add_test(cases, speculation_changes_nothing);
    tcase_add_test(cases, choices_are_scored);
    tcase_add_loop_test(cases, the_plan_is_kept, 0, N_MODELS);
    tcase_add_test(cases, memory_is_bounded_by_the_window);
    tcase_add_test(cases, numbers_belong_to_their_policy);
    tcase_add_test(cases, more_positions_than_the_model_was_made_for);
    tcase_add_test(cases, learned_positions_end_with_their_table);
    tcase_add_test(cases, a_cancelled_feed_leaves_what_can_be_left);
}

int main(void)
{
    return rad_test_main("attention_requests", add_cases);
}
