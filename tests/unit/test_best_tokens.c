/* Choices from the best tokens alone are those from all logits, or none is made. */
#include "unit/harness.h"

#include <math.h>
#include <stdlib.h>

#include "base/numeric.h"
#include "sample/sampler.h"

static rad_test_memory memory;
static rad_allocator allocator;
static radllm_error error;
static rad_sampler_settings settings;

static const rad_sampler_settings defaults = {.temperature = 1.0f,
                                              .top_p = 1.0f,
                                              .typical_p = 1.0f,
                                              .repeat_penalty = 1.0f,
                                              .penalty_last_n = -1};

static void set_up(void)
{
    rad_test_memory_init(&memory, 0);
    allocator = rad_test_allocator(&memory);
}

/* Choosing takes no memory besides the sampler's. */
static void tear_down(void)
{
    ck_assert_uint_eq(atomic_load(&memory.n_allocations), 1);
    rad_test_memory_check(&memory);
}

enum { BEST_VOCAB = 3000 };

static uint64_t next_random(uint64_t *seed)
{
    return (uint64_t)(rad_random_unit(12, 0, (*seed)++) * 4294967296.0);
}

static const float *sorted_logits;

static int better_first(const void *x, const void *y)
{
    uint32_t a = ((const rad_token_logit *)x)->token, b = ((const rad_token_logit *)y)->token;
    if (sorted_logits[a] != sorted_logits[b])
        return sorted_logits[a] > sorted_logits[b] ? -1 : 1;
    return a < b ? -1 : 1;
}

static int lower_first(const void *x, const void *y)
{
    uint32_t a = ((const rad_token_logit *)x)->token, b = ((const rad_token_logit *)y)->token;
    return a < b ? -1 : a > b;
}

/* The plain way: all that can be chosen, sorted. The mass is off by as much as it may be. */
static rad_best_tokens best_of(const float *logits, uint32_t n_vocab, rad_token_logit *list)
{
    double mass = 0.0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] > -INFINITY)
            list[n++] = (rad_token_logit){logits[i], i};
    }
    sorted_logits = logits;
    qsort(list, n, sizeof *list, better_first);
    uint32_t kept = n < RAD_BEST_TOKENS ? n : RAD_BEST_TOKENS;
    for (uint32_t i = 0; i < n; i++)
        mass += rad_exp((double)list[i].logit - list[0].logit);
    mass *= n_vocab % 2 == 0 ? 1.0 - 9e-7 : 1.0 + 9e-7;
    qsort(list, kept, sizeof *list, lower_first);
    return (rad_best_tokens){list, kept, kept == n, mass};
}

/* Normal, coarse (many ties), few that can be chosen, or all alike. */
static void fill_logits(uint64_t *seed, float *logits, uint32_t n_vocab)
{
    uint64_t kind = next_random(seed) % 4;
    float scale = (float)(1 + next_random(seed) % 8);
    for (uint32_t i = 0; i < n_vocab; i++) {
        float x = 0.0f;
        for (int k = 0; k < 6; k++)
            x += (float)(next_random(seed) % 4096) / 2048.0f - 1.0f;
        logits[i] = kind == 1 ? floorf(x * scale) : kind == 3 ? 1.5f + x * 1e-3f : x * scale;
        if (kind == 2 && next_random(seed) % 16 != 0)
            logits[i] = -INFINITY;
        if (kind == 1 && logits[i] == 0.0f && i % 2 == 0)
            logits[i] = -0.0f;
    }
    logits[next_random(seed) % n_vocab] = scale;
}

static void random_settings(uint64_t *seed, rad_logit_bias *biases)
{
    static const float temperatures[] = {0.0f, 0.3f, 0.8f, 1.0f, 2.5f};
    static const float shares[] = {1.0f, 1.0f, 0.95f, 0.5f, 0.0f};
    static const float least[] = {0.0f, 0.0f, 0.05f, 0.5f, 1.0f};
    static const int32_t counts[] = {0, 1, 2, 40, 100, 255, 256};
    settings = defaults;
    settings.seed = next_random(seed);
    settings.temperature = temperatures[next_random(seed) % 5];
    settings.top_k = counts[next_random(seed) % 7];
    settings.top_p = shares[next_random(seed) % 5];
    settings.typical_p = shares[next_random(seed) % 5];
    settings.min_p = least[next_random(seed) % 5];
    if (next_random(seed) % 4 == 0) { /* top_p alone, or with min_p */
        settings.top_k = 0;
        settings.typical_p = 1.0f;
        settings.top_p = 0.3f + 0.69f * (float)(next_random(seed) % 1000) / 1000.0f;
    }
    if (next_random(seed) % 2 == 0) {
        settings.repeat_penalty = next_random(seed) % 8 == 0 ? 0.9f : 1.3f;
        settings.frequency_penalty = next_random(seed) % 2 == 0 ? 0.2f : 0.0f;
        settings.presence_penalty = next_random(seed) % 4 == 0 ? 0.5f : 0.0f;
        settings.penalty_last_n = next_random(seed) % 3 == 0 ? 16 : -1;
    }
    settings.biases = biases;
    settings.n_biases = next_random(seed) % 4 == 0 ? 3 : 0;
}

/* The same token as from all logits, or none; and it is one for most that can narrow. */
START_TEST(the_best_tokens_give_the_choice_of_all)
{
    enum { ROUNDS = 4000, HISTORY = 50 };
    static float logits[BEST_VOCAB];
    static rad_token_logit list[BEST_VOCAB];
    rad_sampler *large;
    uint64_t seed = 11;
    uint32_t n_decided = 0, n_narrow = 0, n_changed = 0, n_by_mass = 0;
    rad_assert_ok(rad_sampler_create(&allocator, BEST_VOCAB, &large, &error), &error);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t n_vocab = 1 + (uint32_t)(next_random(&seed) % BEST_VOCAB);
        int32_t history[HISTORY], wanted = -1;
        fill_logits(&seed, logits, n_vocab);
        rad_best_tokens best = best_of(logits, n_vocab, list);
        rad_logit_bias biases[3] = {{0, -INFINITY}, {0, -2.0f}, {0, 0.0f}};
        for (int i = 0; i < 3; i++) /* mostly of tokens that count */
            biases[i].token = (int32_t)best.list[next_random(&seed) % best.n].token;
        biases[2].bias = next_random(&seed) % 4 == 0 ? 1.0f : -0.5f;
        for (int i = 0; i < HISTORY; i++)
            history[i] = i % 3 == 0 ? (int32_t)(next_random(&seed) % n_vocab)
                                    : (int32_t)best.list[next_random(&seed) % best.n].token;
        random_settings(&seed, biases);
        bool narrow = rad_sampler_can_narrow(&settings, n_vocab);
        int32_t token =
            rad_sampler_choose_best(large, &settings, &best, n_vocab, history, HISTORY, 0, round);
        radllm_status status = rad_sampler_choose(large, &settings, logits, n_vocab, history,
                                                  HISTORY, 0, round, &wanted, &error);
        ck_assert_msg(token < 0 || (narrow && status == RADLLM_OK && token == wanted),
                      "round %u: %d from the best, %d from all", round, (int)token, (int)wanted);
        n_narrow += narrow && best.n > 0;
        n_decided += token >= 0;
        n_changed += token >= 0 && (settings.n_biases > 0 || settings.repeat_penalty != 1.0f);
        n_by_mass += token >= 0 && settings.temperature > 0.0f && settings.top_k == 0 &&
                     settings.top_p < 1.0f && settings.top_p > 0.0f && !best.all;
    }
    ck_assert_msg(n_decided > n_narrow * 3 / 4 && n_changed > ROUNDS / 8 && n_by_mass > ROUNDS / 40,
                  "%u of %u decided, %u with penalties or bias, %u by mass", n_decided, n_narrow,
                  n_changed, n_by_mass);
    rad_sampler_free(large);
}
END_TEST

/* 128 tokens have half of all, but for roundings: the mass cannot say whether a 129th stays; with a
 * bit more or less wanted it can. Where others were lowered it says less, and without it nothing.
 */
START_TEST(the_best_tokens_leave_open_what_they_cannot_know)
{
    enum { HALF = 128, N = 1024 };
    static float logits[N];
    static rad_token_logit list[N];
    static const float shares[] = {0.5f, 0.499f, 0.5005f};
    rad_sampler *large;
    rad_assert_ok(rad_sampler_create(&allocator, N, &large, &error), &error);
    for (uint32_t i = 0; i < N; i++)
        logits[i] = i < HALF ? 0.0f : i < N - 1 ? -1.9459101f : -3.0f;
    logits[200] = -1.5f;
    for (int i = 0; i < 3; i++) {
        rad_best_tokens best = best_of(logits, N, list), unknown = best;
        rad_logit_bias far[20];
        unknown.mass = 0.0;
        settings = defaults;
        settings.top_p = shares[i];
        double others = 0.0;
        for (uint32_t k = HALF; k < N; k++)
            others += rad_exp((double)logits[k]);
        if (i == 0)
            settings.top_p = (float)(HALF / (HALF + others));
        for (uint32_t position = 0; position < 50; position++) {
            int32_t token = -1, wanted = -1;
            rad_assert_ok(rad_sampler_choose(large, &settings, logits, N, NULL, 0, 0, position,
                                             &wanted, &error),
                          &error);
            token = rad_sampler_choose_best(large, &settings, &best, N, NULL, 0, 0, position);
            ck_assert_int_eq(token, i == 0 ? -1 : wanted);
            token = rad_sampler_choose_best(large, &settings, &unknown, N, NULL, 0, 0, position);
            ck_assert_int_eq(token, -1);
        }
        for (int32_t k = 0; k < 20; k++)
            far[k] = (rad_logit_bias){900 + k, -1.0f};
        settings.biases = far;
        settings.n_biases = 20;
        ck_assert_int_eq(rad_sampler_choose_best(large, &settings, &best, N, NULL, 0, 0, 0), -1);
    }
    /* One of the best falls below others that are not among them. */
    rad_logit_bias low = {300, -2.5f};
    for (uint32_t i = 0; i < N; i++)
        logits[i] = i == 0 ? 0.0f : i < 254 ? -7.0f : i < 274 ? -8.0f : -INFINITY;
    logits[300] = -6.5f;
    rad_best_tokens best = best_of(logits, N, list);
    settings = defaults;
    settings.biases = &low;
    settings.n_biases = 1;
    settings.top_p = 1.2311f / 1.237537f;
    ck_assert_int_eq(rad_sampler_choose_best(large, &settings, &best, N, NULL, 0, 0, 0), -1);
    settings.top_p = 0.99f;
    ck_assert_int_ge(rad_sampler_choose_best(large, &settings, &best, N, NULL, 0, 0, 0), 0);
    rad_sampler_free(large);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "best_tokens");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, the_best_tokens_give_the_choice_of_all);
    tcase_add_test(cases, the_best_tokens_leave_open_what_they_cannot_know);
}

int main(void)
{
    return rad_test_main("best_tokens", add_cases);
}
