/* Sessions of several threads share what they begin with, while some are given up, freed and made
 * anew, and what is kept is cleared now and then. */
#include <pthread.h>

#include "unit/asking.h"

enum { THREADS = 4, ROUNDS = 12 };

typedef struct runner {
    radllm_engine *engine;
    uint32_t index;
    const result *expected; /* of each of three prompts */
    bool same;
} runner;

static void *run_some(void *data)
{
    runner *r = data;
    radllm_session *session = NULL;
    r->same = true;
    for (uint32_t i = 0; i < ROUNDS && r->same; i++) {
        uint32_t which = (i + r->index) % 3;
        prompt p = make_prompt(2, 120, which, 180);
        radllm_request *request = NULL;
        result got = {.hash = 0};
        if (i % 4 == 0) {
            radllm_session_free(session);
            r->same = radllm_session_new(r->engine, &session, NULL) == RADLLM_OK;
        }
        r->same =
            r->same &&
            radllm_request_new_tokens(session, p.ids, p.n, options, &request, NULL) == RADLLM_OK &&
            radllm_request_set_logits(request, add_logits, &got.hash, NULL) == RADLLM_OK &&
            (i % 5 == 4 || radllm_request_run(request, NULL, NULL) == RADLLM_OK) &&
            (i % 5 == 4 || got.hash == r->expected[which].hash);
        if (i % 5 == 4 && r->same) { /* one that is given up while it waits or runs */
            int64_t n;
            r->same = radllm_request_submit(request, NULL) == RADLLM_OK;
            (void)radllm_engine_number(r->engine, "prefix_bytes", &n, NULL);
            if (i % 2 == 0)
                (void)radllm_engine_clear_prefixes(r->engine, NULL);
            radllm_request_cancel(request);
        }
        radllm_request_free(request);
    }
    radllm_session_free(session);
    return NULL;
}

/* By turns with and without a worker; under a policy that forgets, in another number format; with
 * room for one session's context. */
START_TEST(many_threads_share)
{
    open_kind(_i < 2 ? 1 : 0);
    if (_i == 2 || _i == 3) {
        set_text("attention", "sinks");
        set_integer("window", 60);
        set_text("cache", "q8_0");
    }
    result expected[3];
    for (uint32_t i = 0; i < 3; i++) {
        prompt p = make_prompt(2, 120, i, 180);
        expected[i] = ask_alone(&p);
    }
    set_integer("cache_positions", _i >= 4 ? 256 : 0);
    radllm_engine *engine = new_engine(THREADS, 48, 256);
    int64_t n_pages = number(engine, "pages_free");
    pthread_t threads[THREADS];
    runner runners[THREADS];
    if (_i % 2 == 1)
        rad_assert_ok(radllm_engine_start_worker(engine, error), error);
    for (uint32_t t = 0; t < THREADS; t++) {
        runners[t] = (runner){engine, t, expected, false};
        ck_assert_int_eq(pthread_create(&threads[t], NULL, run_some, &runners[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        ck_assert(runners[t].same);
    }
    ck_assert_int_gt(number(engine, "tokens_shared"), 0);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "threads");
    tcase_add_loop_test(cases, many_threads_share, 0, 6);
}

int main(void)
{
    return rad_test_main("sharing_threads", add_cases);
}
