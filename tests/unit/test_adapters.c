/* Sessions with different adapters in one batch give the bits that each gives alone; adapters
 * change between requests; beginnings, forks and files keep to their adapters. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/made_adapters.h"

/* ---- company --------------------------------------------------------------------------------- */

START_TEST(company_changes_nothing)
{
    open_all();
    set_text("speculate", _i == 1 ? "lookup" : "off");
    prompt prompts[2 * SETS];
    result expected[2 * SETS];
    for (int i = 0; i < 2 * SETS; i++) {
        prompts[i] = make_prompt(1, i % 2 == 0 ? 70 : 0, (uint32_t)i, 70 + 5 * (size_t)i);
        expected[i] = ask_set(i % SETS, &prompts[i], 512, 2);
        result other = ask_set(i % SETS, &prompts[i], 7, 1);
        assert_same(&other, &expected[i]);
        for (int k = 0; k < i; k++) /* no adapter is left out */
            ck_assert_uint_ne(expected[i].hash, expected[k].hash);
    }
    assert_company(prompts, expected);
    close_all();
}
END_TEST

/* All instruction sets, layouts and ways of loading. */
START_TEST(kernels_agree)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    result expected = {.hash = 0};
    prompt p = make_prompt(1, 0, 3, 90);
    open_all();
    expected = ask_set(6, &p, 512, 2);
    close_all();
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        open_all();
        set_text("isa", isas[i]);
        set_text("layout", i % 2 == 0 ? "file" : "lane");
        radllm_model *other;
        if (radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL, &other,
                              error) == RADLLM_OK) {
            radllm_model *first = model;
            model = other;
            for (int k = 0; k < ADAPTERS; k++) {
                radllm_adapter_free(adapters[k]);
                rad_assert_ok(
                    radllm_adapter_open(model, adapter_path(k), NULL, &adapters[k], error), error);
            }
            result got = ask_set(6, &p, 33, 3);
            assert_same(&got, &expected);
            radllm_model_free(first);
        }
        close_all();
    }
}
END_TEST

/* ---- changing -------------------------------------------------------------------------------- */

START_TEST(adapters_change_between_requests)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 120);
    result expected[SETS];
    for (int i = 0; i < SETS; i++)
        expected[i] = ask_set(i, &p, 512, 2);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *session = new_session(engine), *fork;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SETS; i++) {
            attach(session, i);
            result got = ask(session, &p);
            assert_same(&got, &expected[i]);
            attach(session, i); /* the same: nothing is lost */
            got = ask(session, &p);
            assert_same(&got, &expected[i]);
            ck_assert_int_eq(got.reused, 119);
        }
    }
    /* In the second round each set found its own beginning again. */
    ck_assert_int_ge(number(engine, "tokens_shared"), SETS * 96);
    rad_assert_ok(radllm_session_fork(session, &fork, error), error);
    radllm_session_free(session);
    result got = ask(fork, &p);
    assert_same(&got, &expected[SETS - 1]);
    ck_assert_int_eq(got.reused, 119);
    radllm_session_free(fork);
    close_engine(engine, n_pages);
    close_all();
}
END_TEST

/* Tokens that a session was fed are computed anew. */
START_TEST(what_was_fed_is_computed_anew)
{
    static float first[4096], second[4096];
    size_t n;
    open_all();
    prompt p = make_prompt(1, 0, 1, 90);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    attach(one, 3);
    rad_assert_ok(radllm_session_feed(one, p.ids, p.n, NULL, error), error);
    rad_assert_ok(radllm_session_logits(one, first, 4096, &n, error), error);
    rad_assert_ok(radllm_session_feed(two, p.ids, p.n - 1, NULL, error), error);
    attach(two, 3);
    ck_assert_uint_eq(radllm_session_length(two), p.n - 1);
    rad_assert_error(radllm_session_logits(two, second, 4096, &n, error), RADLLM_E_STATE, error,
                     "no logits");
    rad_assert_ok(radllm_session_feed(two, p.ids + p.n - 1, 1, NULL, error), error);
    rad_assert_ok(radllm_session_logits(two, second, 4096, &n, error), error);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    close_all();
}
END_TEST

START_TEST(files_keep_to_their_adapters)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 90), longer = make_prompt(1, 0, 1, 110);
    result expected = ask_set(3, &longer, 512, 2);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    const char *path = rad_test_temp_path("session.snap");
    attach(one, 3);
    rad_assert_ok(radllm_session_feed(one, p.ids, p.n, NULL, error), error);
    rad_assert_ok(radllm_session_snapshot(one, path, NULL, error), error);
    rad_assert_error(radllm_session_restore(two, path, NULL, error), RADLLM_E_ARGUMENT, error,
                     "\"no adapter\"");
    attach(two, 4);
    rad_assert_error(radllm_session_restore(two, path, NULL, error), RADLLM_E_ARGUMENT, error,
                     "=0.5\"");
    attach(two, 3);
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    result got = ask(two, &longer);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 90);
    attach(one, 0);
    rad_assert_ok(radllm_session_feed(one, p.ids, 0, NULL, error), error);
    rad_assert_ok(radllm_session_snapshot(one, path, NULL, error), error);
    rad_assert_error(radllm_session_restore(two, path, NULL, error), RADLLM_E_ARGUMENT, error,
                     "made with \"no adapter\"");
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    close_all();
}
END_TEST

/* The option gives them to each session; the plan counts them. */
START_TEST(the_option)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 90);
    result expected = ask_set(3, &p, 512, 2);
    char item[1200];
    radllm_model *with;
    radllm_file *file;
    radllm_plan *plan;
    uint64_t bytes = 0, more = 0, total = 0;
    size_t length;
    char text[1024];
    rad_assert_ok(radllm_file_open(NULL, rad_test_temp_path("sharing.gguf"), &file, error), error);
    rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
    rad_assert_ok(radllm_plan_number(plan, "weights", &bytes, error), error);
    radllm_plan_free(plan);
    snprintf(item, sizeof item, "%s=0.5", adapter_path(0));
    set_text("adapter", item);
    snprintf(item, sizeof item, "%s=-2", adapter_path(1));
    set_text("adapter", item);
    rad_assert_ok(radllm_plan_new(file, options, &plan, error), error);
    rad_assert_ok(radllm_plan_number(plan, "adapters", &more, error), error);
    rad_assert_ok(radllm_plan_number(plan, "weights", &total, error), error);
    ck_assert_uint_gt(more, 10000);
    ck_assert_uint_eq(total, bytes + more);
    radllm_plan_free(plan);
    radllm_file_free(file);
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL, &with, error),
        error);
    rad_assert_ok(radllm_model_text(with, "adapters", text, sizeof text, &length, error), error);
    ck_assert_ptr_nonnull(strstr(text, "=0.5\n"));
    ck_assert_uint_eq(length, 2 * 64 + strlen("=0.5\n=-2\n"));
    radllm_model *first = model;
    model = with;
    radllm_engine *engine = new_engine(1, 64, CONTEXT);
    radllm_session *session = new_session(engine);
    result got = ask(session, &p);
    assert_same(&got, &expected);
    rad_assert_error(radllm_session_set_adapters(session, adapters, NULL, 1, error),
                     RADLLM_E_ARGUMENT, error, "another model");
    rad_assert_ok(radllm_session_set_adapters(session, NULL, NULL, 0, error), error);
    got = ask(session, &p);
    model = first;
    radllm_options_reset(options, "adapter", NULL);
    expected = ask_set(0, &p, 512, 2);
    assert_same(&got, &expected);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(with);
    close_all();
}
END_TEST

/* One tensor of several, row behind row. */
static void fuse(gguf_builder *file, const char *const names[], int n, const char *fused)
{
    uint8_t data[65536];
    uint64_t dims[2] = {WIDTH, 0};
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        const gguf_tensor_entry *tensor = gguf_find_tensor(file, names[i]);
        ck_assert_uint_le(size + tensor->data_size, sizeof data);
        memcpy(data + size, tensor->data, tensor->data_size);
        size += tensor->data_size;
        dims[1] += tensor->dims[1];
        gguf_remove_tensor(file, names[i]);
    }
    gguf_tensor(file, fused, 0, 2, dims, data, size);
}

/* gguf_tiny_llama() as a model of Phi-3. */
static gguf_builder make_phi3(bool apart)
{
    gguf_builder file = make_model(0);
    gguf_key_string(&file, "general.architecture", "phi3");
    for (size_t i = 0; i < file.n_keys; i++) {
        gguf_key_entry *key = &file.keys[i];
        if (key->size < 6 || memcmp(key->name, "llama.", 6) != 0)
            continue;
        memmove(key->name + 4, key->name + 5, key->size - 5);
        memcpy(key->name, "phi3", 4);
        key->size--;
    }
    for (int layer = 0; layer < 2 && !apart; layer++) {
        char names[6][64];
        static const char *const parts[] = {"attn_q",   "attn_k", "attn_v",
                                            "ffn_gate", "ffn_up", "attn_qkv"};
        for (int i = 0; i < 6; i++)
            snprintf(names[i], sizeof names[i], "blk.%d.%s.weight", layer, parts[i]);
        fuse(&file, (const char *const[]){names[0], names[1], names[2]}, 3, names[5]);
        fuse(&file, (const char *const[]){names[3], names[4]}, 2, names[4]);
    }
    return file;
}

/* An adapter of fused matrices on a model that has them apart, as ExLlamaV2 writes Phi-3. */
START_TEST(fused_matrices_are_changed_apart)
{
    prompt p = make_prompt(1, 0, 1, 40);
    result results[2][3];
    gguf_builder file = empty_adapter();
    gguf_key_string(&file, "general.architecture", "phi3");
    for (int layer = 0; layer < 2; layer++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_qkv.weight", layer);
        add_pair(&file, name, WIDTH, Q + 2 * K, RANK);
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", layer);
        add_pair(&file, name, WIDTH, 2 * FFN, RANK);
    }
    gguf_write(&file, adapter_path(0));
    gguf_builder_free(&file);
    for (int apart = 0; apart < 2; apart++) {
        open_builder(make_phi3(apart == 1));
        results[apart][0] = ask_alone(&p);
        rad_assert_ok(radllm_adapter_open(model, adapter_path(0), NULL, &adapters[0], error),
                      error);
        results[apart][1] = ask_set(1, &p, 512, 2);
        radllm_model *plain = model;
        set_text("adapter", adapter_path(0));
        set_integer("adapter_merge", 1);
        rad_assert_ok(radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL,
                                        &model, error),
                      error);
        results[apart][2] = ask_alone(&p);
        radllm_model_free(model);
        model = plain;
        close_all();
    }
    for (int i = 0; i < 3; i++)
        assert_same(&results[1][i], &results[0][i]);
    ck_assert_uint_ne(results[0][1].hash, results[0][0].hash);
    ck_assert_uint_ne(results[0][2].hash, results[0][0].hash);
    /* Rows that are not those of all. */
    file = empty_adapter();
    gguf_key_string(&file, "general.architecture", "phi3");
    add_pair(&file, "blk.0.attn_qkv.weight", WIDTH, Q + K, RANK);
    gguf_write(&file, adapter_path(1));
    gguf_builder_free(&file);
    open_builder(make_phi3(true));
    rad_assert_error(radllm_adapter_open(model, adapter_path(1), NULL, &adapters[1], error),
                     RADLLM_E_ARGUMENT, error, "is 48 x 4; the model needs 64 x 4");
    close_all();
}
END_TEST

START_TEST(what_an_adapter_is)
{
    open_all();
    radllm_adapter_facts facts = {.size = sizeof facts};
    rad_assert_ok(radllm_adapter_info(adapters[1], &facts, error), error);
    ck_assert_uint_eq(facts.rank, 19);
    ck_assert_uint_eq(facts.pairs, 6);
    ck_assert_uint_eq(facts.tensors, 12);
    ck_assert(facts.alpha == 8.0);
    ck_assert_uint_ge(facts.bytes, 19 * (2 * (WIDTH + Q) + 2 * (WIDTH + K) + 2 * (FFN + WIDTH)));
    char hashes[2][65];
    for (int i = 0; i < 2; i++)
        rad_assert_ok(radllm_adapter_hash(adapters[i], hashes[i], 65, NULL, error), error);
    ck_assert_str_ne(hashes[0], hashes[1]);
    radllm_adapter *again;
    char hash[65];
    rad_assert_ok(radllm_adapter_open(model, adapter_path(0), NULL, &again, error), error);
    rad_assert_ok(radllm_adapter_hash(again, hash, 65, NULL, error), error);
    ck_assert_str_eq(hash, hashes[0]);
    radllm_adapter_free(again);
    set_integer("memory_budget", 100);
    rad_assert_error(radllm_adapter_open(model, adapter_path(0), options, &again, error),
                     RADLLM_E_BUDGET, error, "budget of 100");
    set_integer("memory_budget", 0);
    radllm_engine *engine = new_engine(1, 64, CONTEXT);
    radllm_session *session = new_session(engine);
    radllm_adapter *many[16];
    float scales[16];
    for (int i = 0; i < 16; i++) {
        many[i] = adapters[i % 3];
        scales[i] = i == 0 ? NAN : 1.0f;
    }
    rad_assert_error(radllm_session_set_adapters(session, many, scales, 1, error),
                     RADLLM_E_ARGUMENT, error, "scale");
    rad_assert_error(radllm_session_set_adapters(session, many, NULL, 16, error), RADLLM_E_LIMIT,
                     error, "15");
    many[3] = NULL;
    rad_assert_error(radllm_session_set_adapters(session, many, NULL, 16, error), RADLLM_E_ARGUMENT,
                     error, "adapters");
    /* A scale of 0 is none. */
    prompt p = make_prompt(1, 0, 1, 90);
    result expected = ask_set(0, &p, 512, 2);
    scales[0] = 0.0f;
    rad_assert_ok(radllm_session_set_adapters(session, many, scales, 1, error), error);
    result got = ask(session, &p);
    assert_same(&got, &expected);
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_all();
}
END_TEST

/* ---- in any order ---------------------------------------------------------------------------- */

enum { MANY = 5, PROMPTS = 10, ROUNDS_OF_ALL = 40 };

/* Of some matrices of a model's layers, of any shape. */
static void write_adapter_for(const char *path, gguf_builder *of, int which)
{
    static const char *const names[] = {"attn_q", "attn_output", "ffn_down", "attn_k", "ffn_up"};
    gguf_builder file = empty_adapter();
    for (size_t i = 0; i < 5; i++) {
        char name[64];
        for (int layer = 0; layer < 2; layer++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, names[i]);
            const gguf_tensor_entry *own = gguf_find_tensor(of, name);
            if (own != NULL && (which == 0 || (int)i % 2 == which - 1))
                add_pair(&file, name, own->dims[0], own->dims[1], which == 0 ? 4 : 3 + 14 * which);
        }
    }
    gguf_write(&file, path);
    gguf_builder_free(&file);
}

/* All that a session may do before it is asked, its adapters set, forked or restored. */
static void change_session(radllm_engine *engine, radllm_session **sessions, int *set, int at,
                           const prompt *p, uint32_t *random)
{
    const char *path = rad_test_temp_path("any.snap");
    int other = next_id(random) % MANY;
    switch (next_id(random) % 6) {
    case 0:
        if (other == at)
            break;
        radllm_session_free(sessions[at]);
        rad_assert_ok(radllm_session_fork(sessions[other], &sessions[at], error), error);
        set[at] = set[other];
        break;
    case 1:
        rad_assert_ok(radllm_session_snapshot(sessions[at], path, NULL, error), error);
        radllm_session_free(sessions[at]);
        sessions[at] = new_session(engine);
        attach(sessions[at], set[at]);
        rad_assert_ok(radllm_session_restore(sessions[at], path, NULL, error), error);
        break;
    case 2:
        rad_assert_ok(radllm_session_rewind(sessions[at], 0, error), error);
        rad_assert_ok(radllm_session_feed(sessions[at], p->ids, p->n / 2, NULL, error), error);
        break;
    default:
        break;
    }
    if (next_id(random) % 3 != 0) {
        set[at] = next_id(random) % SETS;
        attach(sessions[at], set[at]);
    }
}

/* Sessions get adapters, lose them, are forked, restored and guess ahead, in each other's company;
 * each answer is the one that is given alone. */
START_TEST(in_any_order)
{
    static prompt prompts[PROMPTS];
    static result expected[PROMPTS][SETS];
    uint32_t random = 12345u + (uint32_t)_i;
    gguf_builder builder = make_model(_i == 0 ? 0 : 2);
    for (int i = 0; i < ADAPTERS; i++)
        write_adapter_for(adapter_path(i), &builder, i);
    open_builder(builder);
    for (int i = 0; i < ADAPTERS; i++)
        rad_assert_ok(radllm_adapter_open(model, adapter_path(i), NULL, &adapters[i], error),
                      error);
    for (uint32_t i = 0; i < PROMPTS; i++) {
        prompts[i] = make_prompt(i % 2, 33 + 16 * (i % 4), i, 72 + 9 * i);
        for (int k = 0; k < SETS; k++)
            expected[i][k] = ask_set(k, &prompts[i], 512, 2);
    }
    radllm_engine *engine;
    set_integer("sessions", MANY + 1);
    set_integer("batch", 61);
    rad_assert_ok(radllm_engine_new_with_draft(NULL, model, model, options, &engine, error), error);
    radllm_session *sessions[MANY];
    int set[MANY] = {0};
    for (int i = 0; i < MANY; i++)
        sessions[i] = new_session(engine);
    const char *times = getenv("RAD_TEST_ROUNDS");
    for (int round = times != NULL ? atoi(times) : ROUNDS_OF_ALL; round > 0; round--) {
        static const char *const guesses[] = {"off", "lookup", "draft"};
        radllm_request *requests[MANY];
        result got[MANY];
        int chosen[MANY];
        for (int i = 0; i < MANY; i++) {
            chosen[i] = next_id(&random) % PROMPTS;
            change_session(engine, sessions, set, i, &prompts[chosen[i]], &random);
        }
        for (int i = 0; i < MANY; i++) {
            set_text("speculate", guesses[next_id(&random) % 3]);
            requests[i] = new_request(sessions[i], &prompts[chosen[i]], &got[i]);
            rad_assert_ok(radllm_request_submit(requests[i], error), error);
        }
        rad_assert_error(radllm_session_set_adapters(sessions[0], adapters, NULL, 1, error),
                         RADLLM_E_STATE, error, "request");
        for (uint32_t pending = 1; pending > 0;)
            rad_assert_ok(radllm_engine_step(engine, &pending, error), error);
        for (int i = 0; i < MANY; i++) {
            read_result(requests[i], &got[i]);
            assert_same(&got[i], &expected[chosen[i]][set[i]]);
        }
    }
    ck_assert_int_gt(number(engine, "tokens_shared"), 0);
    for (int i = 0; i < MANY; i++)
        radllm_session_free(sessions[i]);
    radllm_engine_free(engine);
    close_all();
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 6 };

typedef struct runner {
    radllm_engine *engine;
    int first;
    const prompt *p;
    const result *expected; /* of each set */
    bool same;
} runner;

static void *run_some(void *data)
{
    runner *r = data;
    radllm_session *session = NULL;
    r->same = radllm_session_new(r->engine, &session, NULL) == RADLLM_OK;
    for (int i = 0; i < ROUNDS && r->same; i++) {
        int set = (r->first + i) % SETS;
        radllm_adapter *list[3] = {NULL};
        radllm_request *request = NULL;
        uint64_t hash = 0;
        for (size_t k = 0; k < sets[set].n; k++)
            list[k] = adapters[sets[set].which[k]];
        r->same = radllm_session_set_adapters(session, list, sets[set].scales, sets[set].n, NULL) ==
                      RADLLM_OK &&
                  radllm_request_new_tokens(session, r->p->ids, r->p->n, options, &request, NULL) ==
                      RADLLM_OK &&
                  radllm_request_set_logits(request, add_logits, &hash, NULL) == RADLLM_OK &&
                  radllm_request_run(request, NULL, NULL) == RADLLM_OK &&
                  hash == r->expected[set].hash;
        radllm_request_free(request);
    }
    radllm_session_free(session);
    return NULL;
}

START_TEST(threads_have_their_own)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 70);
    result expected[SETS];
    for (int i = 0; i < SETS; i++)
        expected[i] = ask_set(i, &p, 512, 2);
    radllm_engine *engine = new_engine(THREADS, 48, 256);
    pthread_t threads[THREADS];
    runner runners[THREADS];
    if (_i == 1)
        rad_assert_ok(radllm_engine_start_worker(engine, error), error);
    for (int t = 0; t < THREADS; t++) {
        runners[t] = (runner){engine, t, &p, expected, false};
        ck_assert_int_eq(pthread_create(&threads[t], NULL, run_some, &runners[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        ck_assert(runners[t].same);
    }
    radllm_engine_free(engine);
    close_all();
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "sessions");
    tcase_add_loop_test(cases, threads_have_their_own, 0, 2);
    if (RAD_TEST_RACES_ONLY)
        return;
    tcase_add_loop_test(cases, company_changes_nothing, 0, 2);
    tcase_add_test(cases, kernels_agree);
    tcase_add_test(cases, adapters_change_between_requests);
    tcase_add_test(cases, what_was_fed_is_computed_anew);
    tcase_add_test(cases, files_keep_to_their_adapters);
    tcase_add_loop_test(cases, in_any_order, 0, 2);
    tcase_add_test(cases, the_option);
    tcase_add_test(cases, fused_matrices_are_changed_apart);
    tcase_add_test(cases, what_an_adapter_is);
}

int main(void)
{
    return rad_test_main("adapters", add_cases);
}
