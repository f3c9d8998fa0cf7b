/* Engines with room for fewer tokens than their sessions could hold (cache_positions): requests
 * wait and give way, and the answers are those of a session that computes alone. */
#define RAD_ASKING_TOKENS 70

#include "unit/asking.h"

enum { N_SESSIONS = 8, N_PROMPTS = 20, SMALL = 256 };

static radllm_engine *limited_engine(int n_sessions, int positions)
{
    set_integer("cache_positions", positions);
    radllm_engine *engine = new_engine(n_sessions, 64, SMALL);
    set_integer("cache_positions", 0);
    return engine;
}

static prompt prompt_number(uint32_t i)
{
    return make_prompt(i % 3, 40 + i * 5, i, 60 + i * 37 % 120);
}

/* N_SESSIONS sessions take the prompts in turn. Returns how many tokens were computed. */
static int64_t ask_all(radllm_engine *engine, result *results)
{
    radllm_session *sessions[N_SESSIONS];
    radllm_request *requests[N_SESSIONS] = {NULL};
    uint32_t which[N_SESSIONS] = {0}, pending = 1, next = 0;
    for (int i = 0; i < N_SESSIONS; i++)
        sessions[i] = new_session(engine);
    while (pending > 0) {
        for (int i = 0; i < N_SESSIONS; i++) {
            if (requests[i] != NULL && radllm_request_state(requests[i]) == RADLLM_REQUEST_PENDING)
                continue;
            if (requests[i] != NULL)
                read_result(requests[i], &results[which[i]]);
            requests[i] = NULL;
            if (next == N_PROMPTS)
                continue;
            prompt p = prompt_number(next);
            which[i] = next++;
            requests[i] = new_request(sessions[i], &p, &results[which[i]]);
            rad_assert_ok(radllm_request_submit(requests[i], error), error);
        }
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
        if (pending == 0 && next < N_PROMPTS)
            pending = 1;
    }
    for (int i = 0; i < N_SESSIONS; i++) {
        if (requests[i] != NULL)
            read_result(requests[i], &results[which[i]]);
        radllm_session_free(sessions[i]);
    }
    return number(engine, "tokens_computed");
}

typedef struct room {
    int kind, positions;
    const char *speculate, *prefix_cache;
    bool tight; /* something is computed more than once */
} room;

static const room rooms[] = {{0, 0, "off", "1", false},     {0, 256, "off", "1", true},
                             {0, 256, "lookup", "1", true}, {0, 300, "off", "0", true},
                             {0, 700, "off", "1", false},   {0, 100000, "off", "1", false},
                             {1, 256, "off", "1", true},    {1, 500, "off", "1", true},
                             {2, 256, "off", "1", false},   {1, 256, "lookup", "0", true}};

START_TEST(answers_are_those_of_a_session_alone)
{
    static result results[N_PROMPTS];
    const room *r = &rooms[_i];
    open_kind(r->kind);
    set_text("speculate", r->speculate);
    set_text("prefix_cache", r->prefix_cache);
    radllm_engine *engine = limited_engine(N_SESSIONS, r->positions);
    radllm_engine *roomy = limited_engine(N_SESSIONS, 0);
    int64_t n_pages = number(engine, "pages_free");
    if (r->tight)
        ck_assert_int_lt(number(engine, "cache_bytes"), number(roomy, "cache_bytes"));
    int64_t computed = ask_all(engine, results), least = ask_all(roomy, results);
    if (r->tight)
        ck_assert_int_gt(computed, least);
    radllm_engine_free(roomy);
    close_engine(engine, n_pages);
    engine = limited_engine(N_SESSIONS, r->positions);
    (void)ask_all(engine, results);
    close_engine(engine, n_pages);
    for (uint32_t i = 0; i < N_PROMPTS; i++) {
        prompt p = prompt_number(i);
        result expected = ask_alone(&p);
        assert_same(&results[i], &expected);
        ck_assert_int_lt(results[i].reused, (int64_t)p.n);
    }
    close_model();
}
END_TEST

static radllm_status feed(radllm_session *session, const prompt *p)
{
    return radllm_session_feed(session, p->ids, p->n, NULL, error);
}

/* What the host feeds stays until the host frees it. */
START_TEST(who_finds_no_room_is_told)
{
    open_kind(0);
    radllm_engine *engine = limited_engine(3, SMALL);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *fed = new_session(engine), *asking = new_session(engine);
    radllm_session *late = new_session(engine);
    prompt much = make_prompt(1, 0, 1, 250), some = make_prompt(2, 0, 2, 140);
    result got, expected = ask_alone(&some);
    rad_assert_ok(feed(fed, &much), error);
    ck_assert_int_eq(feed(late, &some), RADLLM_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(radllm_error_message(error), "cache_positions"));
    radllm_request *request = new_request(asking, &some, &got);
    ck_assert_int_eq(radllm_request_run(request, NULL, error), RADLLM_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(radllm_error_message(error), "cache_positions"));
    radllm_request_free(request);
    radllm_session_free(fed);
    got = ask(asking, &some);
    assert_same(&got, &expected);
    rad_assert_ok(feed(late, &some), error);
    radllm_session_free(late);
    radllm_session_free(asking);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

static size_t logits_of(radllm_session *session, float *logits)
{
    size_t n = 0;
    rad_assert_ok(radllm_session_logits(session, logits, 1024, &n, error), error);
    return n;
}

/* A session whose pages others have taken goes on, is forked, and saved. */
START_TEST(sessions_go_on_without_their_pages)
{
    static float wanted[1024], got[1024];
    open_kind(_i);
    radllm_engine *engine = limited_engine(3, SMALL), *other = limited_engine(1, 0);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *first = new_session(engine), *second = new_session(engine);
    radllm_session *fork = NULL, *alone = new_session(other);
    prompt one = make_prompt(1, 0, 1, 90), more = make_prompt(2, 0, 2, 180);
    prompt next = make_prompt(3, 0, 3, 20);
    (void)ask(alone, &one);
    rad_assert_ok(feed(alone, &next), error);
    size_t n = logits_of(alone, wanted);
    (void)ask(first, &one);
    (void)ask(second, &more);
    const char *path = rad_test_temp_path("room.session");
    rad_assert_ok(radllm_session_snapshot(first, path, NULL, error), error);
    rad_assert_ok(radllm_session_fork(first, &fork, error), error);
    rad_assert_ok(feed(fork, &next), error);
    ck_assert_uint_eq(logits_of(fork, got), n);
    ck_assert_mem_eq(got, wanted, n * sizeof *got);
    radllm_session_free(fork);
    rad_assert_ok(feed(first, &next), error);
    ck_assert_uint_eq(logits_of(first, got), n);
    ck_assert_mem_eq(got, wanted, n * sizeof *got);
    radllm_session_free(first);
    rad_assert_ok(radllm_session_restore(second, path, NULL, error), error);
    rad_assert_ok(feed(second, &next), error);
    ck_assert_uint_eq(logits_of(second, got), n);
    ck_assert_mem_eq(got, wanted, n * sizeof *got);
    radllm_session_free(second);
    radllm_session_free(alone);
    radllm_engine_free(other);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(waiting_requests_are_cancelled)
{
    open_kind(0);
    radllm_engine *engine = limited_engine(4, SMALL);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *sessions[4];
    radllm_request *requests[4];
    result results[4], expected;
    uint32_t pending = 4;
    prompt last = make_prompt(0, 0, 3, 150);
    expected = ask_alone(&last);
    for (uint32_t i = 0; i < 4; i++) {
        prompt p = make_prompt(0, 0, i, 150);
        sessions[i] = new_session(engine);
        requests[i] = new_request(sessions[i], &p, &results[i]);
        rad_assert_ok(radllm_request_submit(requests[i], error), error);
    }
    for (int i = 0; i < 3; i++)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    radllm_request_cancel(requests[0]);
    radllm_request_cancel(requests[2]);
    while (pending > 0)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    ck_assert_int_eq(radllm_request_status(requests[0], error), RADLLM_E_CANCELLED);
    ck_assert_int_eq(radllm_request_status(requests[2], error), RADLLM_E_CANCELLED);
    read_result(requests[3], &results[3]);
    assert_same(&results[3], &expected);
    for (int i = 0; i < 3; i++)
        radllm_request_free(requests[i]);
    for (int i = 0; i < 4; i++)
        radllm_session_free(sessions[i]);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(less_than_a_context_is_refused)
{
    radllm_engine *engine = NULL;
    open_kind(0);
    set_integer("context", SMALL);
    set_integer("cache_positions", SMALL - 1);
    ck_assert_int_eq(radllm_engine_new(NULL, model, options, &engine, error), RADLLM_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(radllm_error_message(error), "cache_positions"));
    close_model();
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "room");
    tcase_add_loop_test(cases, answers_are_those_of_a_session_alone, 0,
                        (int)(sizeof rooms / sizeof *rooms));
    tcase_add_test(cases, who_finds_no_room_is_told);
    tcase_add_loop_test(cases, sessions_go_on_without_their_pages, 0, KINDS);
    tcase_add_test(cases, waiting_requests_are_cancelled);
    tcase_add_test(cases, less_than_a_context_is_refused);
}

int main(void)
{
    return rad_test_main("room", add_cases);
}
