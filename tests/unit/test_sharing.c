/* Sessions share what they begin with: found by content, copied when written to, given back when
 * room is short; and the answers are those of a session that computes everything itself. */
#include "unit/asking.h"

START_TEST(sessions_share_what_they_begin_with)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(3, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    prompt first = make_prompt(1, 100, 1, 100), second = make_prompt(1, 70, 2, 200);
    radllm_session *sessions[] = {new_session(engine), new_session(engine), new_session(engine)};
    result expected = ask_alone(&first), other = ask_alone(&second);
    result got = ask(sessions[0], &first);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 0);
    ck_assert_int_eq(number(engine, "prefix_blocks"), (100 + MAX_TOKENS) / 32);

    /* Two blocks, and six tokens of the third, whose page is copied. */
    got = ask(sessions[1], &second);
    assert_same(&got, &other);
    ck_assert_int_eq(got.reused, 70);
    ck_assert_int_eq(number(engine, "tokens_shared"), 70);
    ck_assert_int_ge(number(engine, "pages_copied"), 1);
    ck_assert_int_eq(number(engine, "tokens_computed"), 100 + 130 + 2 * (MAX_TOKENS - 1));

    /* What was written behind the copy did not change the first one's page. */
    got = ask(sessions[2], &first);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 96);
    got = ask(sessions[0], &first);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 99);
    for (int i = 0; i < 3; i++)
        radllm_session_free(sessions[i]);

    /* It outlives the sessions. */
    radllm_session *late = new_session(engine);
    got = ask(late, &second);
    assert_same(&got, &other);
    ck_assert_int_ge(got.reused, 192);
    radllm_session_free(late);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(room_is_made_for_what_is_needed_now)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(2, 32, 256);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *sessions[] = {new_session(engine), new_session(engine)};
    for (uint32_t i = 0; i < 24; i++) {
        prompt p = make_prompt(i / 2 % 3, 40 + i * 3, i, 60 + i * 7);
        result expected = ask_alone(&p), got = ask(sessions[i % 2], &p);
        assert_same(&got, &expected);
    }
    ck_assert_int_gt(number(engine, "pages_evicted"), 0);
    ck_assert_int_gt(number(engine, "tokens_shared"), 0);
    radllm_session_free(sessions[0]);
    radllm_session_free(sessions[1]);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

/* More memory keeps more. */
START_TEST(memory_for_beginnings_is_added)
{
    open_kind(0);
    int64_t evicted[2], planned[2], bytes[2];
    for (int more = 0; more < 2; more++) {
        set_integer("prefix_memory", more * 4000000);
        radllm_engine *engine = new_engine(1, 32, 128);
        radllm_session *session = new_session(engine);
        for (uint32_t i = 0; i < 24; i++) {
            prompt p = make_prompt(i % 6, 96, i, 100);
            (void)ask(session, &p);
        }
        evicted[more] = number(engine, "pages_evicted");
        planned[more] = number(engine, "prefix_memory");
        bytes[more] = number(engine, "cache_bytes");
        if (more) /* all but the first of each family */
            ck_assert_int_eq(number(engine, "tokens_shared"), 18 * 96);
        radllm_session_free(session);
        radllm_engine_free(engine);
    }
    ck_assert_int_gt(evicted[0], 0);
    ck_assert_int_eq(evicted[1], 0);
    ck_assert_int_gt(planned[1], 3900000);
    ck_assert_int_lt(planned[0], 100000);
    ck_assert_int_eq(bytes[1] - bytes[0], planned[1] - planned[0]);
    close_model();
}
END_TEST

enum { REPORTS = RAD_TEST_SANITIZED ? 64 : 200, INSTRUCTION = 600, AT_ONCE = 8 };

static void check_work(const radllm_engine *engine, int64_t report_tokens)
{
    int64_t computed = number(engine, "tokens_computed"), generated = REPORTS * (MAX_TOKENS - 1);
    int64_t least = INSTRUCTION + report_tokens;
    ck_assert_int_ge(computed - generated, least - REPORTS); /* reports agree now and then */
    ck_assert_int_le((computed - generated) * 100, least * 105);
}

/* Many reports with the same instruction, some at a time: it is computed once. */
START_TEST(an_instruction_is_computed_once)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(AT_ONCE, 256, CONTEXT);
    radllm_session *sessions[AT_ONCE];
    radllm_request *requests[AT_ONCE];
    result results[AT_ONCE];
    int64_t n_pages = number(engine, "pages_free"), report_tokens = 0;
    for (int s = 0; s < AT_ONCE; s++)
        sessions[s] = new_session(engine);
    for (uint32_t i = 0; i < REPORTS; i += AT_ONCE) {
        for (uint32_t s = 0; s < AT_ONCE; s++) {
            prompt p = make_prompt(9, INSTRUCTION, i + s, INSTRUCTION + 20 + (i + s) % 33);
            report_tokens += (int64_t)p.n - INSTRUCTION;
            requests[s] = new_request(sessions[s], &p, &results[s]);
            rad_assert_ok(radllm_request_submit(requests[s], error), error);
        }
        for (uint32_t pending = 1; pending > 0;)
            rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
        for (uint32_t s = 0; s < AT_ONCE; s++)
            read_result(requests[s], &results[s]);
        if (i % 64 == 0) {
            prompt p = make_prompt(9, INSTRUCTION, i, INSTRUCTION + 20 + i % 33);
            result expected = ask_alone(&p);
            assert_same(&results[0], &expected);
        }
    }
    check_work(engine, report_tokens);
    for (int s = 0; s < AT_ONCE; s++)
        radllm_session_free(sessions[s]);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

/* Who waits for another's work goes on when that one is cancelled. */
START_TEST(a_cancelled_request_releases_those_that_wait)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(3, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *sessions[3];
    radllm_request *requests[3];
    result results[3];
    for (uint32_t s = 0; s < 3; s++) {
        prompt p = make_prompt(4, 300, s, 320);
        sessions[s] = new_session(engine);
        requests[s] = new_request(sessions[s], &p, &results[s]);
        rad_assert_ok(radllm_request_submit(requests[s], error), error);
    }
    rad_assert_ok(radllm_engine_step(engine, NULL, error), error);
    ck_assert_int_eq(number(engine, "tokens_computed"), 64); /* the first one's alone */
    radllm_request_cancel(requests[0]);
    for (uint32_t pending = 1; pending > 0;)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    ck_assert_int_eq(radllm_request_finish(requests[0]), RADLLM_FINISH_CANCELLED);
    radllm_request_free(requests[0]);
    for (uint32_t s = 1; s < 3; s++) {
        prompt p = make_prompt(4, 300, s, 320);
        result expected = ask_alone(&p);
        read_result(requests[s], &results[s]);
        assert_same(&results[s], &expected);
    }
    ck_assert_int_eq(number(engine, "tokens_computed"), 300 + 2 * 20 + 2 * (MAX_TOKENS - 1));
    for (int s = 0; s < 3; s++)
        radllm_session_free(sessions[s]);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(salts_keep_tenants_apart)
{
    open_kind(0);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two = new_session(engine);
    prompt p = make_prompt(1, 100, 1, 100);
    static const char *const salts[] = {"", "tenant a", "tenant b", "tenant a\1"};
    char longest[126];
    for (int i = 0; i < 4; i++) {
        set_text("cache_salt", salts[i]);
        ck_assert_int_eq(ask(one, &p).reused, 0);
        ck_assert_int_eq(ask(two, &p).reused, 96);
    }
    set_text("cache_salt", "tenant a");
    ck_assert_int_eq(ask(one, &p).reused, 96); /* from what is kept; not from the session */
    memset(longest, 'x', sizeof longest);
    rad_assert_ok(radllm_options_set_text(options, "cache_salt", longest, 124, error), error);
    ck_assert_int_eq(ask(one, &p).reused, 0);
    rad_assert_error(radllm_options_set_text(options, "cache_salt", longest, 125, error),
                     RADLLM_E_ARGUMENT, error, "cache_salt");
    radllm_session_free(one);
    radllm_session_free(two);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(it_can_be_cleared_and_turned_off)
{
    open_kind(0);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    prompt p = make_prompt(1, 100, 1, 100);
    result expected = ask(one, &p);
    ck_assert_int_gt(number(engine, "prefix_bytes"), 0);
    rad_assert_ok(radllm_engine_clear_prefixes(engine, error), error);
    ck_assert_int_eq(number(engine, "prefix_bytes"), 0);
    result got = ask(two, &p);
    ck_assert_int_eq(got.reused, 0);
    assert_same(&got, &expected);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    set_text("prefix_cache", "off");
    engine = new_engine(1, 64, CONTEXT);
    ck_assert_int_eq(number(engine, "prefix_memory"), 0);
    one = new_session(engine);
    (void)ask(one, &p);
    ck_assert_int_eq(number(engine, "prefix_blocks"), 0);
    radllm_session_free(one);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

/* Tokens fed one session after the other. */
START_TEST(fed_tokens_are_shared)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two = new_session(engine);
    prompt p = make_prompt(1, 200, 1, 200);
    static float first[4096], second[4096];
    size_t n;
    rad_assert_ok(radllm_session_feed(one, p.ids, 150, NULL, error), error);
    rad_assert_ok(radllm_session_feed(one, p.ids + 150, 50, NULL, error), error);
    rad_assert_ok(radllm_session_logits(one, first, 4096, &n, error), error);
    rad_assert_ok(radllm_session_feed(two, p.ids, 20, NULL, error), error);
    rad_assert_ok(radllm_session_feed(two, p.ids + 20, 180, NULL, error), error);
    rad_assert_ok(radllm_session_logits(two, second, 4096, &n, error), error);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    ck_assert_int_eq(radllm_session_length(two), 200);
    ck_assert_int_eq(number(engine, "tokens_shared"), 19 + 192 - 20);
    ck_assert_int_eq(number(engine, "tokens_computed"), 200 + 1 + 8);
    radllm_session_free(one);
    radllm_session_free(two);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "beginnings");
    tcase_add_loop_test(cases, sessions_share_what_they_begin_with, 0, KINDS);
    tcase_add_loop_test(cases, room_is_made_for_what_is_needed_now, 0, KINDS);
    tcase_add_test(cases, memory_for_beginnings_is_added);
    if (!RAD_TEST_RACES_ONLY)
        tcase_add_loop_test(cases, an_instruction_is_computed_once, 0, KINDS);
    tcase_add_loop_test(cases, a_cancelled_request_releases_those_that_wait, 0, KINDS);
    tcase_add_test(cases, salts_keep_tenants_apart);
    tcase_add_test(cases, it_can_be_cleared_and_turned_off);
    tcase_add_loop_test(cases, fed_tokens_are_shared, 0, KINDS);
}

int main(void)
{
    return rad_test_main("sharing", add_cases);
}
