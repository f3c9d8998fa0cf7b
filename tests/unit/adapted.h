/* Sessions with adapters, for tests of what company does to them: a test opens its adapters and
 * says which sets of them there are. */
#ifndef RAD_TEST_ADAPTED_H
#define RAD_TEST_ADAPTED_H

#include "unit/asking.h"

enum { SETS = 7, MOST_ADAPTERS = 4 };

typedef struct adapter_set {
    size_t n;
    int which[3];
    float scales[3];
} adapter_set;

static const adapter_set sets[SETS]; /* the test's */
static radllm_adapter *adapters[MOST_ADAPTERS];

static inline void close_all(void)
{
    for (int i = 0; i < MOST_ADAPTERS; i++) {
        radllm_adapter_free(adapters[i]);
        adapters[i] = NULL;
    }
    close_model();
}

static inline void attach(radllm_session *session, int set)
{
    radllm_adapter *list[3] = {NULL};
    for (size_t i = 0; i < sets[set].n; i++)
        list[i] = adapters[sets[set].which[i]];
    rad_assert_ok(radllm_session_set_adapters(session, list, sets[set].scales, sets[set].n, error),
                  error);
}

/* By a session that computes everything itself, with a batch of `batch` rows. */
static inline result ask_set(int set, const prompt *p, int batch, int threads)
{
    set_integer("prefix_cache", 0);
    set_integer("threads", threads);
    radllm_engine *engine = new_engine(1, batch, CONTEXT);
    set_integer("prefix_cache", 1);
    set_integer("threads", 2);
    radllm_session *session = new_session(engine);
    attach(session, set);
    result r = ask(session, p);
    radllm_session_free(session);
    radllm_engine_free(engine);
    return r;
}

/* Two sessions of each set, all together in the same steps. */
static inline void assert_company(const prompt prompts[2 * SETS], const result expected[2 * SETS])
{
    result got[2 * SETS];
    radllm_session *sessions[2 * SETS];
    radllm_request *requests[2 * SETS];
    radllm_engine *engine = new_engine(2 * SETS, 97, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    for (int i = 0; i < 2 * SETS; i++) {
        sessions[i] = new_session(engine);
        attach(sessions[i], i % SETS);
        requests[i] = new_request(sessions[i], &prompts[i], &got[i]);
        rad_assert_ok(radllm_request_submit(requests[i], error), error);
    }
    for (uint32_t pending = 1; pending > 0;)
        rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
    for (int i = 0; i < 2 * SETS; i++) {
        read_result(requests[i], &got[i]);
        assert_same(&got[i], &expected[i]);
        radllm_session_free(sessions[i]);
    }
    close_engine(engine, n_pages);
}

/* Each allocation fails while an adapter is opened and a session gets it, and nothing is lost. */
static inline void assert_memory_may_fail(rad_test_memory *memory, radllm_session *session,
                                          const char *path, uint64_t most)
{
    for (uint64_t n = 1;; n++) {
        radllm_adapter *adapter = NULL;
        uint64_t live = atomic_load(&memory->n_live);
        atomic_store(&memory->failed, false);
        atomic_store(&memory->fail_at, atomic_load(&memory->n_allocations) + n);
        radllm_status status = radllm_adapter_open(model, path, NULL, &adapter, error);
        if (status == RADLLM_OK)
            status = radllm_session_set_adapters(session, &adapter, NULL, 1, error);
        bool failed = atomic_load(&memory->failed);
        atomic_store(&memory->fail_at, 0);
        ck_assert_int_eq(status, failed ? RADLLM_E_MEMORY : RADLLM_OK);
        if (failed && adapter == NULL)
            ck_assert_uint_eq(atomic_load(&memory->n_live), live);
        radllm_adapter_free(adapter);
        if (!failed)
            break;
        ck_assert_uint_lt(n, most);
    }
}

#endif
