/* The embedded model against llama.cpp, for each number format: every greedy choice and the
 * perplexity of a text (tests/golden/README.md says how the figures were made).
 *
 *   test_golden_greedy [MODEL.gguf...]     the embedded model when none is named
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radllm/radllm.h"
#include "unit/harness.h"

#define TOLERANCE 0.002 /* of a perplexity, as a share */
#define N_CONTEXT 256
#define N_CHUNKS  16
#define EMBEDDED  "examples/models/radreport-q8_0.gguf"
#define REMEDY    "make greedy.json again with tools/oracle/make_greedy_goldens.py"

static const char *const *model_paths;
static size_t n_models;

typedef struct fixture {
    const char *path;
    radllm_error *error;
    radllm_model *model;
    radllm_engine *engine;
    json_t *golden; /* of all formats */
    json_t *type;   /* of this file; borrowed from golden */
    const char *name;
    bool made_for_another; /* the embedded model is not the one that llama.cpp ran */
} fixture;

/* What a callback compares with; `failed` counts steps that no noise explains. */
typedef struct answer_check {
    const fixture *fixture;
    size_t n_prompt;
    json_t *ids, *margins;
    double noise;
    size_t agreed, close, failed;
} answer_check;

typedef struct text_score {
    const int32_t *tokens;
    double sum;
    size_t count;
} text_score;

static const char *golden_file(const char *name)
{
    char relative[128];
    snprintf(relative, sizeof relative, "tests/golden/greedy/%s", name);
    return rad_test_source_path(relative);
}

static bool has_hash(const char *path, const char *expected)
{
    radllm_model *model;
    char hash[65];
    size_t length;
    ck_assert_int_eq(radllm_model_open(NULL, path, NULL, NULL, &model, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_model_hash(model, NULL, hash, sizeof hash, &length, NULL), RADLLM_OK);
    radllm_model_free(model);
    return strncmp(hash, expected, 64) == 0;
}

static fixture open_fixture(const char *path)
{
    fixture f = {.path = path};
    char hash[65];
    size_t length;
    ck_assert_int_eq(radllm_error_new(&f.error), RADLLM_OK);
    rad_assert_ok(radllm_model_open(NULL, path, NULL, NULL, &f.model, f.error), f.error);
    rad_assert_ok(radllm_engine_new(NULL, f.model, NULL, &f.engine, f.error), f.error);
    rad_assert_ok(radllm_model_hash(f.model, NULL, hash, sizeof hash, &length, f.error), f.error);
    f.golden = json_load_file(golden_file("greedy.json"), 0, NULL);
    ck_assert_ptr_nonnull(f.golden);
    const char *name;
    json_t *type;
    json_object_foreach(json_object_get(f.golden, "types"), name, type)
    {
        json_t *known = json_object_get(type, "model_hash");
        if (known != NULL && strncmp(json_string_value(known), hash, 64) == 0) {
            f.type = type;
            f.name = name;
        }
    }
    const char *source = rad_test_source_path(EMBEDDED);
    json_t *of_source = json_object_get(f.golden, "model_hash");
    f.made_for_another = of_source != NULL && !has_hash(source, json_string_value(of_source));
    ck_assert_msg(f.type != NULL || f.made_for_another,
                  "%s: greedy.json has no figures for this file (hash %.64s): " REMEDY, path, hash);
    return f;
}

static void close_fixture(fixture *f)
{
    json_decref(f->golden);
    radllm_engine_free(f->engine);
    radllm_model_free(f->model);
    radllm_error_free(f->error);
}

static int32_t check_step(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    answer_check *check = user;
    if (position + 1 < check->n_prompt)
        return 0;
    size_t step = position + 1 - check->n_prompt;
    uint32_t best = 0;
    for (uint32_t t = 1; t < n_vocab; t++)
        best = logits[t] > logits[best] ? t : best;
    json_int_t expected = json_integer_value(json_array_get(check->ids, step));
    double margin = json_number_value(json_array_get(check->margins, step));
    if ((json_int_t)best == expected) {
        check->agreed++;
    } else if (margin < 2 * check->noise) {
        check->close++;
    } else {
        check->failed++;
        printf("# %s: step %zu chooses %u, llama.cpp %d by a margin of %g\n", check->fixture->path,
               step, best, (int)expected, margin);
    }
    return 0;
}

/* Feeds the recorded answer, so that every step is compared, also behind a close call. */
static void check_answer(const fixture *f, json_t *golden, answer_check *check)
{
    json_t *prompt = json_object_get(golden, "prompt_ids");
    check->ids = json_object_get(golden, "ids");
    check->margins = json_object_get(golden, "margins");
    check->n_prompt = json_array_size(prompt);
    size_t n = check->n_prompt + json_array_size(check->ids) - 1;
    int32_t *tokens = malloc(n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        json_t *id = i < check->n_prompt ? json_array_get(prompt, i)
                                         : json_array_get(check->ids, i - check->n_prompt);
        tokens[i] = (int32_t)json_integer_value(id);
    }
    radllm_session *session;
    rad_assert_ok(radllm_session_new(f->engine, &session, f->error), f->error);
    rad_assert_ok(radllm_session_feed_each(session, tokens, n, check_step, check, NULL, f->error),
                  f->error);
    radllm_session_free(session);
    free(tokens);
}

/* The prompt's text gives the recorded ids. */
static void check_prompt_ids(const fixture *f, json_t *golden)
{
    const char *text = json_string_value(json_object_get(golden, "prompt"));
    json_t *ids = json_object_get(golden, "prompt_ids");
    int32_t tokens[4096];
    size_t count;
    rad_assert_ok(radllm_tokenize(f->model, text, strlen(text),
                                  RADLLM_TOKENIZE_ADD_SPECIAL | RADLLM_TOKENIZE_PARSE_SPECIAL,
                                  tokens, 4096, &count, f->error),
                  f->error);
    ck_assert_uint_eq(count, json_array_size(ids));
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(tokens[i], json_integer_value(json_array_get(ids, i)));
}

START_TEST(greedy_choices_agree)
{
    fixture f = open_fixture(model_paths[_i]);
    if (f.type == NULL) {
        close_fixture(&f);
        RAD_SKIP("llama.cpp ran another embedded model: " REMEDY);
    }
    answer_check check = {.fixture = &f};
    check.noise = json_number_value(json_object_get(f.type, "margin_noise"));
    size_t index;
    json_t *answer;
    json_array_foreach(json_object_get(f.type, "greedy"), index, answer)
    {
        check_prompt_ids(&f, answer);
        check_answer(&f, answer, &check);
    }
    printf("# %s: %zu greedy choices agree, %zu differ within the noise of %g\n", f.name,
           check.agreed, check.close, check.noise);
    ck_assert_uint_ge(check.agreed, 300);
    ck_assert_uint_eq(check.failed, 0);
    close_fixture(&f);
}
END_TEST

static int32_t score_position(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    text_score *score = user;
    if (position < N_CONTEXT / 2 || position >= N_CONTEXT - 1)
        return 0;
    float largest = logits[0];
    for (uint32_t t = 1; t < n_vocab; t++)
        largest = logits[t] > largest ? logits[t] : largest;
    double sum = 0.0;
    for (uint32_t t = 0; t < n_vocab; t++)
        sum += exp((double)logits[t] - (double)largest);
    score->sum += log(sum) - ((double)logits[score->tokens[position + 1]] - (double)largest);
    score->count++;
    return 0;
}

/* The embedded model adds no BOS, so the chunks are fed as they are. */
START_TEST(perplexity_agrees)
{
    fixture f = open_fixture(model_paths[_i]);
    if (f.type == NULL) {
        close_fixture(&f);
        RAD_SKIP("llama.cpp ran another embedded model: " REMEDY);
    }
    size_t size, count;
    char *text = (char *)rad_test_read_file(golden_file("perplexity.txt"), &size);
    int32_t *tokens = malloc((size + 8) * sizeof *tokens);
    rad_assert_ok(radllm_tokenize(f.model, text, size, RADLLM_TOKENIZE_ADD_SPECIAL, tokens,
                                  size + 8, &count, f.error),
                  f.error);
    ck_assert_uint_ge(count, (size_t)N_CONTEXT * N_CHUNKS);
    text_score score = {0};
    for (size_t chunk = 0; chunk < N_CHUNKS; chunk++) {
        radllm_session *session;
        score.tokens = tokens + chunk * N_CONTEXT;
        rad_assert_ok(radllm_session_new(f.engine, &session, f.error), f.error);
        rad_assert_ok(radllm_session_feed_each(session, score.tokens, N_CONTEXT, score_position,
                                               &score, NULL, f.error),
                      f.error);
        radllm_session_free(session);
    }
    double found = exp(score.sum / (double)score.count);
    double expected =
        json_number_value(json_object_get(json_object_get(f.type, "perplexity"), "value"));
    printf("# %s: perplexity %.4f, llama.cpp %.4f (%+.3f%%)\n", f.name, found, expected,
           100.0 * (found / expected - 1.0));
    ck_assert(fabs(found / expected - 1.0) < TOLERANCE);
    free(tokens);
    free(text);
    close_fixture(&f);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "against llama.cpp");
    tcase_add_loop_test(cases, greedy_choices_agree, 0, (int)n_models);
    tcase_add_loop_test(cases, perplexity_agrees, 0,
                        (int)(RAD_TEST_SANITIZED ? (n_models + 3) / 4 : n_models));
}

int main(int argc, char **argv)
{
    static const char *embedded[1];
    embedded[0] = rad_test_source_path(EMBEDDED);
    model_paths = argc > 1 ? (const char *const *)(argv + 1) : embedded;
    n_models = argc > 1 ? (size_t)(argc - 1) : 1;
    return rad_test_main("golden_greedy", add_cases);
}
