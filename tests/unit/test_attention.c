/* Attention policies: what a token sees, and that its logits depend on nothing else. */
#include <jansson.h>
#include <math.h>

#include "unit/policies.h"

/* ---- what is seen ------------------------------------------------------------------------------
 */

START_TEST(a_window_is_the_one_of_the_metadata)
{
    int32_t tokens[CONTEXT];
    make_tokens(tokens, CONTEXT, 1);
    radllm_model *plain = open_model(rad_test_temp_path("tiny.gguf"));
    radllm_model *windowed = open_model(rad_test_temp_path("windowed.gguf"));
    trace full = compute(plain, tokens, CONTEXT, 512, 512);
    trace expected = compute(windowed, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(full.hashes, expected.hashes, 24 * sizeof *full.hashes);
    ck_assert_uint_ne(full.hashes[24], expected.hashes[24]);
    set_policy(&(policy){"window", 24, 0, 0});
    trace got = compute(plain, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    /* Without a number it is the model's own; full forgets it; a wider one does not widen it. */
    set_policy(&(policy){"window", 0, 0, 0});
    got = compute(windowed, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    set_policy(&(policy){"window", 60, 0, 0});
    got = compute(windowed, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(&got, &expected, sizeof got);
    set_policy(&(policy){"full", 0, 0, 0});
    got = compute(windowed, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(&got, &full, sizeof got);
    radllm_model_free(plain);
    radllm_model_free(windowed);
}
END_TEST

/* Sinks that fill whole tiles are summed as any keys while nothing was forgotten. */
START_TEST(sinks_change_nothing_at_first)
{
    int32_t tokens[CONTEXT];
    make_tokens(tokens, CONTEXT, 2);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    trace expected = compute(model, tokens, CONTEXT, 512, 512);
    set_policy(&(policy){"sinks", 48, 32, 0});
    trace got = compute(model, tokens, CONTEXT, 512, 512);
    ck_assert_mem_eq(got.hashes, expected.hashes, 80 * sizeof *got.hashes);
    ck_assert_uint_ne(got.hashes[80], expected.hashes[80]);
    radllm_model_free(model);
}
END_TEST

static void remove_layer(gguf_builder *file, int layer)
{
    static const char *const parts[] = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i]);
        gguf_remove_tensor(file, name);
    }
}

/* With one layer keys and values are those of tokens alone: what is left in the cache is as good as
 * a text of the first tokens and the last ones, in which positions are counted anew. */
START_TEST(sinks_count_positions_inside_the_cache)
{
    enum { SINKS = 5, WINDOW = 43, SEEN = SINKS + WINDOW };
    int32_t tokens[LONG], seen[SEEN];
    float got[291], expected[291];
    gguf_builder file = gguf_tiny_llama();
    gguf_remove_key(&file, "llama.block_count");
    gguf_key_u32(&file, "llama.block_count", 1);
    remove_layer(&file, 1);
    gguf_write(&file, rad_test_temp_path("one.gguf"));
    gguf_builder_free(&file);
    make_tokens(tokens, LONG, 3);
    radllm_model *model = open_model(rad_test_temp_path("one.gguf"));
    running plain = start(model);
    set_policy(&(policy){"sinks", WINDOW, SINKS, 0});
    running r = start(model);
    for (int p = 0; p < LONG; p++) {
        rad_assert_ok(radllm_session_feed(r.session, tokens + p, 1, NULL, error), error);
        if (p < SEEN || p % 37 != 0)
            continue;
        memcpy(seen, tokens, SINKS * sizeof *seen);
        memcpy(seen + SINKS, tokens + p + 1 - WINDOW, WINDOW * sizeof *seen);
        rad_assert_ok(radllm_session_rewind(plain.session, 0, error), error);
        rad_assert_ok(radllm_session_feed(plain.session, seen, SEEN, NULL, error), error);
        rad_assert_ok(radllm_session_logits(plain.session, expected, 291, NULL, error), error);
        rad_assert_ok(radllm_session_logits(r.session, got, 291, NULL, error), error);
        for (int i = 0; i < 291; i++)
            ck_assert_float_le(fabsf(got[i] - expected[i]), 2e-4f);
    }
    stop(&plain);
    stop(&r);
    radllm_model_free(model);
}
END_TEST

static uint32_t base_of(uint32_t p, uint32_t window, uint32_t period)
{
    return p < window ? 0 : (p - window + 1 + period - 1) / period * period;
}

START_TEST(recomputed_keys_are_those_of_a_fresh_text)
{
    int32_t tokens[LONG];
    make_tokens(tokens, LONG, 4);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    running plain = start(model);
    for (int i = 0; i < N_POLICIES; i++) {
        const policy *p = &policies[i];
        if (strcmp(p->attention, "recompute") != 0)
            continue;
        uint32_t period = p->period > 0 ? (uint32_t)p->period : 1;
        set_policy(p);
        trace got = compute(model, tokens, LONG, 512, 512);
        for (uint32_t at = 0; at < LONG; at += 7) {
            uint32_t base = base_of(at, (uint32_t)p->window, period);
            rad_assert_ok(radllm_session_rewind(plain.session, 0, error), error);
            rad_assert_ok(
                radllm_session_feed(plain.session, tokens + base, at - base + 1, NULL, error),
                error);
            ck_assert_uint_eq(last_hash(plain.session), got.hashes[at]);
        }
    }
    stop(&plain);
    radllm_model_free(model);
}
END_TEST

/* Log-probabilities of a text's tokens, beside those of tools/oracle/attention_reference.py. */
typedef struct scoring {
    const int32_t *tokens;
    const json_t *expected;
    double greatest;
} scoring;

static int32_t score(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    scoring *s = user;
    double sum = 0.0;
    if (position >= json_array_size(s->expected))
        return 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - (double)logits[s->tokens[position + 1]]);
    double difference = log(sum) - json_real_value(json_array_get(s->expected, position));
    s->greatest = fabs(difference) > s->greatest ? fabs(difference) : s->greatest;
    return 0;
}

START_TEST(scores_are_those_of_a_plain_implementation)
{
    int32_t tokens[LONG];
    json_t *golden = json_load_file(rad_test_source_path("tests/golden/attention.json"), 0, NULL);
    ck_assert_ptr_nonnull(golden);
    const json_t *ids = json_object_get(golden, "tokens"),
                 *cases = json_object_get(golden, "cases");
    for (size_t i = 0; i < json_array_size(ids); i++)
        tokens[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    radllm_model *model =
        open_model(rad_test_source_path("tests/golden/architectures/llama-mha-f32.gguf"));
    ck_assert_uint_eq(json_array_size(cases), 6);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        policy p = {json_string_value(json_object_get(c, "attention")),
                    json_integer_value(json_object_get(c, "window")),
                    json_integer_value(json_object_get(c, "sinks")),
                    json_integer_value(json_object_get(c, "period"))};
        p.period = strcmp(p.attention, "recompute") == 0 ? p.period : 0;
        set_policy(&p);
        running r = start(model);
        scoring s = {tokens, json_object_get(c, "scores"), 0.0};
        ck_assert_uint_eq(json_array_size(s.expected), json_array_size(ids) - 1);
        rad_assert_ok(radllm_session_feed_each(r.session, tokens, json_array_size(ids), score, &s,
                                               NULL, error),
                      error);
        printf("# %s: %.7f\n", p.attention, s.greatest);
        ck_assert_double_le(s.greatest, 1e-4);
        stop(&r);
    }
    json_decref(golden);
    radllm_model_free(model);
}
END_TEST

/* ---- nothing else matters ----------------------------------------------------------------------
 */

/* Sanitizers see every other case. */
#define LEFT_OUT(number) (RAD_TEST_SANITIZED && (number) % 2 != 0)

START_TEST(any_pieces_give_the_same)
{
    static const int batches[] = {1, 7, 33, 512}, chunks[] = {LONG, 3, 100, 17};
    static int32_t tokens[LONG];
    make_tokens(tokens, LONG, 5);
    radllm_model *model = open_model(model_path(_i));
    for (int i = 0; i < N_POLICIES; i++) {
        if (LEFT_OUT(_i + i))
            continue;
        set_policy(&policies[i]);
        rad_assert_ok(radllm_options_reset(options, "context", error), error);
        trace expected = compute(model, tokens, LONG, 512, LONG);
        set_integer("context", CONTEXT); /* history alone */
        for (int k = RAD_TEST_SANITIZED; k < (RAD_TEST_SANITIZED ? 2 : 4); k++) {
            trace got = compute(model, tokens, LONG, batches[k], chunks[k]);
            ck_assert_mem_eq(&got, &expected, sizeof got);
        }
        /* The last logits alone: recompute then computes less. */
        running r = start(model);
        rad_assert_ok(radllm_session_feed(r.session, tokens, LONG, NULL, error), error);
        ck_assert_uint_eq(last_hash(r.session), expected.hashes[LONG - 1]);
        int64_t computed;
        rad_assert_ok(radllm_engine_number(r.engine, "tokens_computed", &computed, error), error);
        if (strcmp(policies[i].attention, "recompute") == 0)
            ck_assert_int_le(computed, policies[i].window);
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

/* ---- rewinding ---------------------------------------------------------------------------------
 */

START_TEST(a_session_rewinds)
{
    int32_t tokens[LONG];
    make_tokens(tokens, LONG, 6);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    set_integer("batch", 16);
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        trace expected = compute(model, tokens, LONG, 16, LONG);
        running r = start(model);
        /* All tokens are kept yet: any length, also behind what is held. */
        static const uint32_t lengths[] = {119, 100, 64, 33, 5, 1};
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            if (LEFT_OUT(i + (int)k))
                continue;
            trace t = {.next = radllm_session_length(r.session)};
            feed(r.session, tokens + t.next, (int)(120 - t.next), 50, &t);
            rad_assert_ok(radllm_session_rewind(r.session, lengths[k], error), error);
            ck_assert_uint_eq(radllm_session_length(r.session), lengths[k]);
            t.next = lengths[k];
            feed(r.session, tokens + lengths[k], 110, 110, &t);
            for (uint32_t p = lengths[k]; p < lengths[k] + 110; p++)
                ck_assert_uint_eq(t.hashes[p], expected.hashes[p]);
            rad_assert_ok(radllm_session_rewind(r.session, 0, error), error);
        }
        /* Some are forgotten: a little way back, and to nothing. */
        trace t = {.next = 0};
        feed(r.session, tokens, LONG, LONG, &t);
        rad_assert_error(radllm_session_rewind(r.session, 70, error), RADLLM_E_LIMIT, error,
                         "is forgotten");
        ck_assert_uint_eq(radllm_session_length(r.session), LONG);
        rad_assert_ok(radllm_session_rewind(r.session, LONG - 3, error), error);
        t.next = LONG - 3;
        feed(r.session, tokens + LONG - 3, 3, 2, &t);
        ck_assert_mem_eq(&t, &expected, sizeof t);
        rad_assert_ok(radllm_session_rewind(r.session, 0, error), error);
        t.next = 0;
        feed(r.session, tokens, LONG, 64, &t);
        ck_assert_mem_eq(&t, &expected, sizeof t);
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

/* ---- copies ------------------------------------------------------------------------------------
 */

START_TEST(copies_go_on_the_same)
{
    enum { KEPT = 300 };
    int32_t tokens[LONG];
    make_tokens(tokens, LONG, 15);
    radllm_model *model = open_model(rad_test_temp_path("tiny.gguf"));
    const char *path = rad_test_temp_path("behind.session");
    set_integer("batch", 48);
    for (int i = 0; i < N_POLICIES; i++) {
        set_policy(&policies[i]);
        set_integer("sessions", 1);
        trace expected = compute(model, tokens, LONG, 48, LONG), seen = {.next = 0};
        set_integer("sessions", 3);
        running r = start(model);
        radllm_session *copies[2];
        feed(r.session, tokens, KEPT, 77, &seen);
        rad_assert_ok(radllm_session_fork(r.session, &copies[0], error), error);
        rad_assert_ok(radllm_session_new(r.engine, &copies[1], error), error);
        rad_assert_ok(radllm_session_snapshot(r.session, path, NULL, error), error);
        rad_assert_ok(radllm_session_restore(copies[1], path, NULL, error), error);
        for (int k = 0; k < 2; k++) {
            ck_assert_uint_eq(radllm_session_length(copies[k]), KEPT);
            ck_assert_uint_eq(last_hash(copies[k]), expected.hashes[KEPT - 1]);
            feed(copies[k], tokens + KEPT, LONG - KEPT, 31, &seen);
            ck_assert_mem_eq(&seen, &expected, sizeof seen);
            seen.next = KEPT;
        }
        /* What is taken out near the end is as if it had never been; far back it is forgotten. */
        rad_assert_error(radllm_session_remove(r.session, 70, 3, error), RADLLM_E_LIMIT, error,
                         "is forgotten");
        rad_assert_ok(radllm_session_rewind(r.session, KEPT - 2, error), error);
        rad_assert_ok(radllm_session_feed(r.session, tokens, 2, NULL, error), error);
        rad_assert_ok(radllm_session_remove(r.session, KEPT - 2, 2, error), error);
        seen.next = KEPT - 2;
        feed(r.session, tokens + KEPT - 2, LONG - KEPT + 2, 31, &seen);
        ck_assert_mem_eq(&seen, &expected, sizeof seen);
        radllm_session_free(copies[0]);
        radllm_session_free(copies[1]);
        stop(&r);
    }
    radllm_model_free(model);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "attention");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, a_window_is_the_one_of_the_metadata);
    tcase_add_test(cases, sinks_change_nothing_at_first);
    tcase_add_test(cases, sinks_count_positions_inside_the_cache);
    tcase_add_test(cases, recomputed_keys_are_those_of_a_fresh_text);
    tcase_add_test(cases, scores_are_those_of_a_plain_implementation);
    tcase_add_loop_test(cases, any_pieces_give_the_same, 0, N_MODELS);
    tcase_add_test(cases, a_session_rewinds);
    tcase_add_test(cases, copies_go_on_the_same);
}

int main(void)
{
    return rad_test_main("attention", add_cases);
}
