/* Sessions with different adapters in one batch give the bits that each gives alone; adapters
 * change between requests; beginnings, forks and files keep to their adapters; and whatever is
 * wrong with an adapter is told by its tensor. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/adapter.h"
#include "io/module_pattern.h"
#include "unit/adapted.h"

/* ---- adapters in GGUF ------------------------------------------------------------------------ */

enum { WIDTH = 32, FFN = 64, Q = 32, K = 16, VOCAB = 291, RANK = 4 };

static void add_pair(gguf_builder *file, const char *tensor, uint64_t columns, uint64_t rows,
                     uint64_t rank)
{
    char name[80];
    snprintf(name, sizeof name, "%s.lora_a", tensor);
    gguf_tensor_random(file, name, 2, (uint64_t[]){columns, rank}, 0.4f);
    snprintf(name, sizeof name, "%s.lora_b", tensor);
    gguf_tensor_random(file, name, 2, (uint64_t[]){rank, rows}, 0.4f);
}

static gguf_builder empty_adapter(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.type", "adapter");
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_string(&file, "adapter.type", "lora");
    gguf_key_f32(&file, "adapter.lora.alpha", 8.0f);
    return file;
}

/* For gguf_tiny_llama(). 0: all matrices; 1: some, of another rank; 2: the embedding and output. */
static gguf_builder make_adapter(int which)
{
    gguf_builder file = empty_adapter();
    for (int layer = 0; layer < 2 && which < 2; layer++) {
        char name[64];
        static const struct {
            const char *name;
            uint64_t columns, rows;
        } matrices[] = {
            {"attn_q", WIDTH, Q},   {"attn_v", WIDTH, K},      {"ffn_down", FFN, WIDTH},
            {"attn_k", WIDTH, K},   {"attn_output", Q, WIDTH}, {"ffn_gate", WIDTH, FFN},
            {"ffn_up", WIDTH, FFN},
        };
        for (size_t i = 0; i < (which == 0 ? 7 : 3); i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i].name);
            add_pair(&file, name, matrices[i].columns, matrices[i].rows, which == 0 ? RANK : 19);
        }
    }
    if (which == 2) {
        gguf_tensor_random(&file, "token_embd.weight.lora_a", 2, (uint64_t[]){3, VOCAB}, 0.4f);
        gguf_tensor_random(&file, "token_embd.weight.lora_b", 2, (uint64_t[]){3, WIDTH}, 0.4f);
        add_pair(&file, "output.weight", WIDTH, VOCAB, 2);
    }
    return file;
}

static const char *adapter_path(int which)
{
    char name[32];
    snprintf(name, sizeof name, "adapter%d.gguf", which);
    return rad_test_temp_path(name);
}

enum { ADAPTERS = 3 };

static void open_all(void)
{
    open_kind(0);
    for (int i = 0; i < ADAPTERS; i++) {
        gguf_builder file = make_adapter(i);
        gguf_write(&file, adapter_path(i));
        gguf_builder_free(&file);
        rad_assert_ok(radllm_adapter_open(model, adapter_path(i), NULL, &adapters[i], error),
                      error);
    }
}

/* Sets of adapters: none, each alone, two in both orders, one with another scale. */
static const adapter_set sets[SETS] = {
    {0, {0}, {0}},
    {1, {0}, {1.0f}},
    {1, {1}, {1.0f}},
    {2, {0, 1}, {0.5f, -2.0f}},
    {2, {1, 0}, {-2.0f, 0.5f}},
    {1, {0}, {0.25f}},
    {3, {2, 0, 1}, {1.0f, 1.0f, 0.5f}},
};

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

/* ---- what is refused ------------------------------------------------------------------------- */

static void refuse(const char *path, radllm_status status, const char *part)
{
    radllm_adapter *adapter = NULL;
    rad_assert_error(radllm_adapter_open(model, path, NULL, &adapter, error), status, error, part);
    ck_assert_ptr_null(adapter);
}

static void refuse_gguf(gguf_builder *file, radllm_status status, const char *part)
{
    gguf_write(file, rad_test_temp_path("wrong.gguf"));
    refuse(rad_test_temp_path("wrong.gguf"), status, part);
    gguf_builder_free(file);
}

#define Q_NAME "blk.1.attn_q.weight"

START_TEST(wrong_gguf)
{
    open_all();
    gguf_builder file = make_adapter(0);
    gguf_key_string(&file, "general.architecture", "qwen2");
    refuse_gguf(&file, RADLLM_E_ARGUMENT, "architecture \"qwen2\", the model is llama");
    file = make_adapter(0);
    gguf_key_string(&file, "adapter.type", "control_vector");
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "adapter.type");
    file = make_adapter(0);
    gguf_key_string(&file, "general.type", "model");
    refuse_gguf(&file, RADLLM_E_ARGUMENT, "this is no adapter");
    file = make_adapter(0);
    gguf_key_f32(&file, "adapter.lora.alpha", NAN);
    refuse_gguf(&file, RADLLM_E_FORMAT, "adapter.lora.alpha");
    file = make_adapter(0);
    gguf_key_u32(&file, "adapter.alora.invocation_tokens", 1);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "aLoRA");
    file = make_adapter(0);
    gguf_remove_tensor(&file, Q_NAME ".lora_b");
    refuse_gguf(&file, RADLLM_E_FORMAT, Q_NAME ".lora_a' (of " Q_NAME ") has no companion B");
    file = make_adapter(0);
    gguf_remove_tensor(&file, Q_NAME ".lora_a");
    refuse_gguf(&file, RADLLM_E_FORMAT, "has no companion A");
    file = make_adapter(0);
    gguf_tensor_random(&file, "blk.0.attn_q.weight", 2, (uint64_t[]){WIDTH, Q}, 1.0f);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "neither .lora_a nor .lora_b");
    file = make_adapter(0);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){WIDTH}, 1.0f);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "set the option adapter_merge");
    refuse(rad_test_temp_path("sharing.gguf"), RADLLM_E_ARGUMENT, "this is no adapter");
    refuse(rad_test_temp_path("nothing.gguf"), RADLLM_E_IO, "nothing.gguf");
    file = empty_adapter();
    refuse_gguf(&file, RADLLM_E_FORMAT, "no tensors");
    close_all();
}
END_TEST

/* What a model says by itself. */
static result ask_model(const char *path, const prompt *p)
{
    radllm_model *first = model;
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    result r = ask_alone(p);
    radllm_model_free(model);
    model = first;
    return r;
}

/* Norms that llama.cpp's converter took along take the place of the model's own when merged. */
START_TEST(norms_in_gguf)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 40);
    gguf_builder file = make_adapter(1), changed = make_model(0);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){WIDTH}, 1.0f);
    const gguf_tensor_entry *norm = gguf_find_tensor(&file, "output_norm.weight"),
                            *own = gguf_find_tensor(&changed, "output_norm.weight");
    ck_assert_uint_eq(own->type, norm->type);
    memcpy(own->data, norm->data, norm->data_size);
    gguf_write(&file, rad_test_temp_path("norms.gguf"));
    gguf_write(&changed, rad_test_temp_path("changed.gguf"));
    set_integer("adapter_merge", 1);
    set_text("adapter", adapter_path(1));
    result expected = ask_model(rad_test_temp_path("changed.gguf"), &p);
    radllm_options_reset(options, "adapter", NULL);
    set_text("adapter", rad_test_temp_path("norms.gguf"));
    result got = ask_model(rad_test_temp_path("sharing.gguf"), &p);
    assert_same(&got, &expected);
    gguf_builder_free(&file);
    gguf_builder_free(&changed);
    close_all();
}
END_TEST

/* A pair of other shapes in place of one that fits. */
static void refuse_shapes(const char *name, uint64_t columns, uint64_t rank, uint64_t b_rank,
                          uint64_t rows, radllm_status status, const char *part)
{
    char full[80];
    gguf_builder file = make_adapter(0);
    snprintf(full, sizeof full, "%s.lora_a", name);
    if (gguf_find_tensor(&file, full) != NULL)
        gguf_remove_tensor(&file, full);
    gguf_tensor_random(&file, full, 2, (uint64_t[]){columns, rank}, 1.0f);
    snprintf(full, sizeof full, "%s.lora_b", name);
    if (gguf_find_tensor(&file, full) != NULL)
        gguf_remove_tensor(&file, full);
    gguf_tensor_random(&file, full, 2, (uint64_t[]){b_rank, rows}, 1.0f);
    refuse_gguf(&file, status, part);
}

START_TEST(wrong_shapes)
{
    open_all();
    refuse_shapes(Q_NAME, 64, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "lora_a' (of " Q_NAME ") is 4 x 64; the model needs 4 x 32");
    refuse_shapes(Q_NAME, WIDTH, 4, 4, 48, RADLLM_E_ARGUMENT,
                  "lora_b' (of " Q_NAME ") is 48 x 4; the model needs 32 x 4");
    refuse_shapes(Q_NAME, WIDTH, 4, 8, Q, RADLLM_E_ARGUMENT, "is 32 x 8");
    refuse_shapes(Q_NAME, WIDTH, 5000, 5000, Q, RADLLM_E_FORMAT, "rank 5000");
    refuse_shapes("blk.2.attn_q.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.4294967297.attn_q.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.0.nosuch.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.0.attn_norm.weight", WIDTH, 4, 4, 1, RADLLM_E_UNSUPPORTED,
                  "no plain matrix");
    gguf_builder file = make_adapter(0);
    ((float *)(void *)gguf_find_tensor(&file, Q_NAME ".lora_a")->data)[5] = INFINITY;
    refuse_gguf(&file, RADLLM_E_FORMAT, "no finite number");
    file = make_adapter(0);
    gguf_find_tensor(&file, Q_NAME ".lora_a")->type = 26; /* I32 */
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "of a type that cannot be computed with");
    close_all();
}
END_TEST

/* ---- folders --------------------------------------------------------------------------------- */

static const char *in_folder(const char *name)
{
    char path[64];
    mkdir(rad_test_temp_path("peft"), 0700);
    snprintf(path, sizeof path, "peft/%s", name);
    return rad_test_temp_path(path);
}

/* One pair of matrices for layer 0, of the given rank, under these names. */
static void write_tensors(const char *a, const char *b, uint32_t rank)
{
    char header[1024] = "";
    size_t a_bytes = (size_t)rank * WIDTH * 4, b_bytes = (size_t)rank * Q * 4;
    int size = snprintf(header, sizeof header,
                        "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%d],\"data_offsets\":[0,%zu]},"
                        "\"%s\":{\"dtype\":\"F32\",\"shape\":[%d,%u],\"data_offsets\":[%zu,%zu]}}",
                        a, rank, WIDTH, a_bytes, b, Q, rank, a_bytes, a_bytes + b_bytes);
    size_t total = 8 + (size_t)size + a_bytes + b_bytes;
    uint8_t *bytes = calloc(1, total);
    bytes[0] = (uint8_t)size;
    bytes[1] = (uint8_t)(size >> 8);
    memcpy(bytes + 8, header, (size_t)size);
    for (size_t i = 0; i < (a_bytes + b_bytes) / 4; i++) {
        float value = (float)((i * 37) % 19) / 19.0f - 0.5f;
        memcpy(bytes + 8 + (size_t)size + i * 4, &value, 4);
    }
    rad_test_write_file(in_folder("adapter_model.safetensors"), bytes, total);
    free(bytes);
}

#define Q_MODULE "base_model.model.model.layers.0.self_attn.q_proj"

static void write_config(const char *rest)
{
    char text[1024];
    int size = snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",%s}", rest);
    rad_test_write_file(in_folder("adapter_config.json"), text, (size_t)size);
}

static void refuse_config(const char *rest, radllm_status status, const char *part)
{
    write_config(rest);
    refuse(in_folder(""), status, part);
}

START_TEST(wrong_configurations)
{
    open_all();
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    static const struct {
        const char *config;
        radllm_status status;
        const char *part;
    } wrong[] = {
        {"\"r\":0,\"lora_alpha\":1", RADLLM_E_FORMAT, "key r must be a whole number from 1"},
        {"\"r\":-4,\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"r\":1000000000,\"lora_alpha\":1", RADLLM_E_FORMAT, "not 1000000000"},
        {"\"r\":\"4\",\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"r\":8,\"lora_alpha\":1", RADLLM_E_FORMAT, "has the rank 4, the configuration says 8"},
        {"\"r\":4", RADLLM_E_FORMAT, "lora_alpha"},
        {"\"r\":4,\"lora_alpha\":1e300", RADLLM_E_FORMAT, "lora_alpha"},
        {"\"r\":4,\"lora_alpha\":1,\"use_dora\":true", RADLLM_E_FORMAT, "which DoRA needs"},
        {"\"r\":4,\"lora_alpha\":1,\"lora_bias\":true", RADLLM_E_UNSUPPORTED, "biases of B"},
        {"\"r\":4,\"lora_alpha\":1,\"layer_replication\":[[0,2]]", RADLLM_E_UNSUPPORTED,
         "layer_replication"},
        {"\"r\":4,\"lora_alpha\":1,\"alora_invocation_tokens\":[1]", RADLLM_E_UNSUPPORTED, "aLoRA"},
        {"\"r\":4,\"lora_alpha\":1,\"rank_pattern\":{\"q_proj\":0}", RADLLM_E_FORMAT,
         "rank_pattern"},
        {"\"r\":4,\"lora_alpha\":1,\"rank_pattern\":{\"[qk]_proj\":5}", RADLLM_E_FORMAT,
         "has the rank 4, the configuration says 5"},
        {"\"r\":8,\"lora_alpha\":1,\"rank_pattern\":{\"k_proj\":4}", RADLLM_E_FORMAT,
         "has the rank 4, the configuration says 8"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"q_proj\":\"x\"}", RADLLM_E_FORMAT,
         "alpha_pattern"},
        {"\"r\":4,\"lora_alpha\":1000000000000000000000000000000", RADLLM_E_FORMAT,
         "key lora_alpha must be a number from"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"(?=q_proj)\":3}", RADLLM_E_UNSUPPORTED,
         "key alpha_pattern holds the regular expression '(?=q_proj)'"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"(q_proj\":3}", RADLLM_E_UNSUPPORTED,
         "regular expression"},
        {"\"r\":4,\"lora_alpha\":1,\"use_rslora\":\"yes\"", RADLLM_E_FORMAT,
         "key use_rslora must be true or false"},
        {"\"r\":4,\"lora_alpha\":1,\"use_dora\":1", RADLLM_E_FORMAT, "key use_dora must be"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"pissa_niter_16\"", RADLLM_E_UNSUPPORTED,
         "key init_lora_weights says pissa, which changes the model's own"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"OLoRA\"", RADLLM_E_UNSUPPORTED,
         "says olora"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"corda\"", RADLLM_E_UNSUPPORTED,
         "says corda"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"lora_ga\"", RADLLM_E_UNSUPPORTED,
         "says lora_ga"},
        {"\"r\":4,\"lora_alpha\":1,\"target_parameters\":[\"q_proj.weight\"],"
         "\"rank_pattern\":{\"q_proj\":4,\"q_proj.weight\":5}",
         RADLLM_E_FORMAT, "has the rank 4, the configuration says 5"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"loftq\"", RADLLM_E_UNSUPPORTED,
         "path_initial_model_for_weight_conversion"},
        {"\"r\":4,\"lora_alpha\":1,\"peft_type\":\"IA3\"", RADLLM_E_FORMAT, "duplicate"},
        {"\"r\":4,", RADLLM_E_FORMAT, "adapter_config.json"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse_config(wrong[i].config, wrong[i].status, wrong[i].part);
    const char *other = "{\"peft_type\":\"IA3\",\"r\":4}";
    rad_test_write_file(in_folder("adapter_config.json"), other, strlen(other));
    refuse(in_folder(""), RADLLM_E_UNSUPPORTED, "\"IA3\" is not supported");
    unlink(in_folder("adapter_config.json"));
    refuse(in_folder(""), RADLLM_E_IO, "adapter_config.json is missing");
    close_all();
}
END_TEST

/* As Python's re says, but for what is not supported. */
START_TEST(patterns)
{
    static const struct {
        const char *pattern;
        rad_pattern_result result;
    } known[] = {
        {"q_proj", RAD_PATTERN_YES},
        {"proj", RAD_PATTERN_NO},
        {".*q_proj", RAD_PATTERN_YES},
        {".*proj", RAD_PATTERN_YES},
        {"self_attn\\.(q|k)_proj", RAD_PATTERN_YES},
        {"self_attn.(k|v)_proj", RAD_PATTERN_NO},
        {"layers\\.[0-9]+\\.self_attn\\.q_proj", RAD_PATTERN_YES},
        {"^model\\..*\\.q_proj$", RAD_PATTERN_YES},
        {"^layers.*", RAD_PATTERN_NO},
        {"layers\\.\\d{2}\\..*", RAD_PATTERN_YES},
        {"layers\\.\\d{3,}\\..*", RAD_PATTERN_NO},
        {"k_proj|q_proj", RAD_PATTERN_YES},
        {"[^.]+", RAD_PATTERN_YES},
        {"[a-p]_proj|v", RAD_PATTERN_NO},
        {"(?:\\w+\\.)+q_proj", RAD_PATTERN_YES},
        {"layers\\.1{1,2}?\\.self_attn\\.q_proj", RAD_PATTERN_YES},
        {"mlp.*|self.*", RAD_PATTERN_YES},
        {"", RAD_PATTERN_NO},
        {"a(", RAD_PATTERN_UNKNOWN},
        {"(?!k).*", RAD_PATTERN_UNKNOWN},
        {"\\bq_proj", RAD_PATTERN_UNKNOWN},
        {"(q_proj)\\1", RAD_PATTERN_UNKNOWN},
        {"q{", RAD_PATTERN_UNKNOWN},
        {"**", RAD_PATTERN_UNKNOWN},
        {"[q", RAD_PATTERN_UNKNOWN},
        {"q_proj\\", RAD_PATTERN_UNKNOWN},
        {"(.*)*(.*)*(.*)*x", RAD_PATTERN_NO},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t steps = 100000;
        rad_pattern_result result =
            rad_module_pattern_match(known[i].pattern, "model.layers.11.self_attn.q_proj", &steps);
        ck_assert_msg(result == known[i].result, "%s", known[i].pattern);
    }
    uint32_t few = 10;
    ck_assert_int_eq(rad_module_pattern_match(".*.*.*.*.*.*q", "q_proj", &few),
                     RAD_PATTERN_UNKNOWN);
}
END_TEST

static void refuse_names(const char *a, const char *b, radllm_status status, const char *part)
{
    write_tensors(a, b, 4);
    refuse(in_folder(""), status, part);
}

START_TEST(wrong_names)
{
    open_all();
    write_config("\"r\":4,\"lora_alpha\":8");
    refuse_names("q.lora_A.weight", "q.lora_B.weight", RADLLM_E_UNSUPPORTED, "no name that PEFT");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_magnitude_vector", RADLLM_E_UNSUPPORTED,
                 "DoRA");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_C.weight", RADLLM_E_UNSUPPORTED,
                 "a kind of LoRA");
    refuse_names("base_model.model.model.layers.0.nosuch.lora_A.weight",
                 "base_model.model.model.layers.0.nosuch.lora_B.weight", RADLLM_E_ARGUMENT,
                 "names nothing in a model of architecture llama");
    refuse_names("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight",
                 "base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight",
                 RADLLM_E_ARGUMENT, "what the model does not have");
    refuse_names("base_model.model.model.layers.0.mlp.experts.1.up_proj.lora_A.weight",
                 "base_model.model.model.layers.0.mlp.experts.1.up_proj.lora_B.weight",
                 RADLLM_E_ARGUMENT, "experts.1.up_proj.lora_A.weight' (of blk.0.ffn_up_exps");
    refuse_names(Q_MODULE ".lora_A.weight", "base_model.model.lm_head.weight", RADLLM_E_UNSUPPORTED,
                 "modules_to_save");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".base_layer.bias", RADLLM_E_FORMAT,
                 "has no companion B"); /* the model's own */
    write_config("\"r\":4,\"lora_alpha\":8,\"bias\":\"lora_only\"");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".base_layer.bias", RADLLM_E_UNSUPPORTED,
                 "base_layer.bias' (of blk.0.attn_q.bias) takes the place of the model's own");
    refuse_names(Q_MODULE ".lora_embedding_A", Q_MODULE ".lora_embedding_B", RADLLM_E_ARGUMENT,
                 "of an embedding");
    /* As an adapter for a model it is refused; without one it can be listed. */
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    radllm_file *file;
    uint64_t n = 0;
    rad_assert_ok(radllm_file_open(NULL, in_folder(""), &file, error), error);
    rad_assert_ok(radllm_file_number(file, "tensors", &n, error), error);
    ck_assert_uint_eq(n, 2);
    rad_assert_error(radllm_file_check_model(file, error), RADLLM_E_UNSUPPORTED, error,
                     "this is an adapter");
    radllm_file_free(file);
    radllm_adapter *adapter;
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    radllm_adapter_free(adapter);
    close_all();
}
END_TEST

static void keep_line(void *user, int32_t level, const char *line)
{
    ck_assert_int_eq(level, RADLLM_LOG_WARNING);
    char *kept = user;
    ck_assert_str_eq(kept, ""); /* one alone */
    snprintf(kept, 512, "%s", line);
}

/* Modules that were trained, of which the file has nothing. */
START_TEST(names_without_tensors)
{
    char line[512] = "";
    radllm_host *host;
    radllm_adapter *adapter;
    open_all();
    radllm_model *first = model;
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, error), error);
    rad_assert_ok(radllm_host_set_log(host, keep_line, line, RADLLM_LOG_WARNING, error), error);
    rad_assert_ok(
        radllm_model_open(host, rad_test_temp_path("sharing.gguf"), NULL, NULL, &model, error),
        error);
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    static const char *const saved[] = {"lm_head", "norm", "model.embed_tokens", "v_proj",
                                        "self_attn.v_proj"};
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) {
        char config[128], part[128];
        snprintf(config, sizeof config, "\"r\":4,\"lora_alpha\":1,\"modules_to_save\":[\"%s\"]",
                 saved[i]);
        snprintf(part, sizeof part, "modules_to_save names '%s', of which the file holds no tensor",
                 saved[i]);
        refuse_config(config, RADLLM_E_FORMAT, part);
    }
    ck_assert_str_eq(line, "");
    write_config("\"r\":4,\"lora_alpha\":1,\"modules_to_save\":[\"score\",\"_head\",\"\",7],"
                 "\"target_modules\":[\"q_proj\",\"self_attn\",\"v_proj\",\"proj\",\"c_attn\"]");
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    ck_assert_ptr_nonnull(strstr(line, "target_modules names 'v_proj'"));
    radllm_adapter_free(adapter);
    radllm_model_free(model);
    radllm_host_free(host);
    model = first;
    close_all();
}
END_TEST

/* What changes a part of the model that is left out as well. */
START_TEST(parts_that_are_left_out)
{
    static const struct {
        const char *architecture, *module;
    } parts[] = {
        {"gemma3", "model.vision_tower.encoder.layers.0.self_attn.q_proj"},
        {"gemma3", "vision_tower.vision_model.encoder.layers.0.mlp.fc1"},
        {"bert", "pooler.dense"},
        {"bert", "roberta.pooler.dense"},
        {"nomic-bert", "pooler.dense"},
    };
    char line[512] = "", a[160], b[160];
    const rad_host host = {.log = keep_line, .log_user = line, .log_level = RADLLM_LOG_WARNING};
    rad_source *source;
    rad_adapter_description found;
    open_all();
    write_config("\"r\":4,\"lora_alpha\":8,\"init_lora_weights\":\"gaussian\"");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(a, sizeof a, "base_model.model.%s.lora_A.weight", parts[i].module);
        snprintf(b, sizeof b, "base_model.model.%s.lora_B.weight", parts[i].module);
        write_tensors(a, b, 4);
        rad_assert_ok(rad_source_open(&host, in_folder(""), &source, error), error);
        rad_assert_ok(rad_adapter_describe(source, parts[i].architecture, &found, error), error);
        ck_assert_uint_eq(found.count, 2);
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(found.tensors[k].role, RAD_ADAPTER_COPY);
        ck_assert_ptr_nonnull(strstr(line, parts[i].module));
        line[0] = '\0';
        rad_adapter_forget(source, &found);
        rad_assert_error(rad_adapter_describe(source, "llama", &found, error), RADLLM_E_ARGUMENT,
                         error, "names nothing in a model of architecture llama");
        rad_source_release(source);
    }
    close_all();
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* Opens and attaches with every allocation failing in turn; nothing is lost, and what failed can
 * be done again. */
START_TEST(memory_fails)
{
    gguf_builder small = gguf_tiny_llama(), file = make_adapter(1);
    gguf_write(&small, rad_test_temp_path("small.gguf"));
    gguf_write(&file, adapter_path(1));
    gguf_builder_free(&small);
    gguf_builder_free(&file);
    write_config("\"r\":4,\"lora_alpha\":8");
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    radllm_host *host;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                  error);
    radllm_engine *engine;
    radllm_session *session;
    rad_assert_ok(
        radllm_model_open(host, rad_test_temp_path("small.gguf"), NULL, NULL, &model, error),
        error);
    rad_assert_ok(radllm_engine_new(host, model, NULL, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    for (int which = 0; which < 2; which++) {
        const char *path = which == 0 ? adapter_path(1) : in_folder("");
        assert_memory_may_fail(&memory, session, path, 1000);
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_host_free(host);
    radllm_error_free(error);
    rad_test_memory_check(&memory);
}
END_TEST

/* The same while a model is read that an adapter is merged into. */
START_TEST(memory_fails_while_merging)
{
    gguf_builder small = gguf_tiny_llama(), file = make_adapter(0);
    gguf_write(&small, rad_test_temp_path("small.gguf"));
    gguf_write(&file, adapter_path(0));
    gguf_builder_free(&small);
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_text("adapter", adapter_path(0));
    set_integer("adapter_merge", 1);
    set_integer("threads", 1);
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        radllm_host *host;
        rad_test_memory_init(&memory, 0);
        rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                      error);
        atomic_store(&memory.fail_at, atomic_load(&memory.n_allocations) + n);
        radllm_status status =
            radllm_model_open(host, rad_test_temp_path("small.gguf"), options, NULL, &model, error);
        bool failed = atomic_load(&memory.failed);
        ck_assert_int_eq(status, failed ? RADLLM_E_MEMORY : RADLLM_OK);
        if (!failed)
            radllm_model_free(model);
        radllm_host_free(host);
        rad_test_memory_check(&memory);
        if (!failed)
            break;
        ck_assert_uint_lt(n, 3000);
    }
    radllm_options_free(options);
    radllm_error_free(error);
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
    tcase_add_test(cases, what_an_adapter_is);
    cases = rad_test_case(suite, "files");
    tcase_add_test(cases, wrong_gguf);
    tcase_add_test(cases, norms_in_gguf);
    tcase_add_test(cases, wrong_shapes);
    tcase_add_test(cases, wrong_configurations);
    tcase_add_test(cases, patterns);
    tcase_add_test(cases, wrong_names);
    tcase_add_test(cases, names_without_tensors);
    tcase_add_test(cases, parts_that_are_left_out);
    tcase_add_test(cases, memory_fails);
    tcase_add_test(cases, memory_fails_while_merging);
}

int main(void)
{
    return rad_test_main("adapters", add_cases);
}
