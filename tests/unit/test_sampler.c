/* The sampler: hand-computed choices, the truncations and probabilities of
 * tests/golden/sampler/cases.txt, hostile logits and settings, and log-probabilities. */
#include "unit/harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "sample/sampler.h"
#include "sample/scan.h"

static rad_test_memory memory;
static rad_allocator allocator;
static rad_sampler *sampler;
static radllm_error error;
static rad_sampler_settings settings;

#define N_VOCAB 100

static const rad_sampler_settings defaults = {.temperature = 1.0f,
                                              .top_p = 1.0f,
                                              .typical_p = 1.0f,
                                              .repeat_penalty = 1.0f,
                                              .penalty_last_n = -1};

static void set_up(void)
{
    rad_test_memory_init(&memory, 0);
    allocator = rad_test_allocator(&memory);
    settings = defaults;
    rad_assert_ok(rad_sampler_create(&allocator, N_VOCAB, &sampler, &error), &error);
}

static void tear_down(void)
{
    ck_assert_uint_eq(atomic_load(&memory.n_allocations), 1); /* choosing takes none */
    rad_sampler_free(sampler);
    rad_test_memory_check(&memory);
}

static int32_t choose(const float *logits, uint32_t n, const int32_t *history, size_t n_history,
                      uint64_t position)
{
    int32_t token = -2;
    rad_assert_ok(rad_sampler_choose(sampler, &settings, logits, n, history, n_history, 0, position,
                                     &token, &error),
                  &error);
    return token;
}

/* ---- greedy, bias, penalties ------------------------------------------------------------------
 */

START_TEST(greedy_takes_the_greatest_and_the_lower_id)
{
    settings.temperature = 0.0f;
    float logits[] = {1.0f, 3.0f, -INFINITY, 3.0f, 2.9f};
    ck_assert_int_eq(choose(logits, 5, NULL, 0, 0), 1);
    float zeros[] = {-1.0f, -0.0f, 0.0f};
    ck_assert_int_eq(choose(zeros, 3, NULL, 0, 0), 1);
    float one[] = {-5.0f};
    ck_assert_int_eq(choose(one, 1, NULL, 0, 0), 0);
    rad_logit_bias nothing = {0, 0.0f}; /* the slower way gives the same */
    settings.biases = &nothing;
    settings.n_biases = 1;
    ck_assert_int_eq(choose(logits, 5, NULL, 0, 0), 1);
    ck_assert_int_eq(choose(zeros, 3, NULL, 0, 0), 1);
}
END_TEST

START_TEST(biases_move_and_forbid_tokens)
{
    settings.temperature = 0.0f;
    float logits[] = {1.0f, 3.0f, 2.0f, -INFINITY};
    rad_logit_bias biases[] = {{1, -INFINITY}, {0, 0.6f}, {0, 0.6f}, {3, 100.0f}};
    settings.biases = biases;
    settings.n_biases = 4;
    ck_assert_int_eq(choose(logits, 4, NULL, 0, 0), 0); /* 1 + 0.6 + 0.6 > 2 */
    settings.n_biases = 1;
    ck_assert_int_eq(choose(logits, 4, NULL, 0, 0), 2);
    settings.temperature = 1.0f;
    for (uint64_t i = 0; i < 500; i++)
        ck_assert_int_ne(choose(logits, 4, NULL, 0, i), 1);
}
END_TEST

START_TEST(penalties_follow_the_history)
{
    settings.temperature = 0.0f;
    float logits[] = {4.0f, 3.0f, -1.0f, -1.5f};
    int32_t history[] = {0, 2, 0, 0, -1, 1000000};
    settings.repeat_penalty = 2.0f; /* token 0: 2; token 2: -2 */
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 1);
    float low[] = {-1.0f, -5.0f, -1.0f, -1.5f};
    ck_assert_int_eq(choose(low, 4, history, 6, 0), 3); /* tokens 0 and 2: -2 */
    settings.repeat_penalty = 1.0f;
    settings.frequency_penalty = 0.4f; /* token 0: 4 - 3 * 0.4 = 2.8 */
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 1);
    settings.penalty_last_n = 4; /* only two of the three: 4 - 0.8 = 3.2 */
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 0);
    settings.penalty_last_n = 0;
    settings.frequency_penalty = 100.0f;
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 0);
    settings.penalty_last_n = -1;
    settings.frequency_penalty = 0.0f;
    settings.presence_penalty = 0.9f; /* once, whatever the count: 4 - 0.9 = 3.1 */
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 0);
    settings.presence_penalty = 1.1f;
    ck_assert_int_eq(choose(logits, 4, history, 6, 0), 1);
    settings.presence_penalty = 0.0f; /* and the counts are clean for the next call */
    settings.frequency_penalty = 0.4f;
    ck_assert_int_eq(choose(logits, 4, history, 1, 0), 0);
}
END_TEST

/* ---- golden truncations -------------------------------------------------------------------------
 */

typedef struct golden {
    char name[32];
    int n_vocab, n_history, n_kept;
    float logits[N_VOCAB];
    int32_t history[N_VOCAB], kept[N_VOCAB];
    double probability[N_VOCAB];
} golden;

static bool read_golden(FILE *file, golden *g)
{
    settings = defaults;
    if (fscanf(file, "%31s %d %f %f %f %f %f %f %f %d", g->name, &settings.top_k,
               &settings.typical_p, &settings.top_p, &settings.min_p, &settings.temperature,
               &settings.repeat_penalty, &settings.frequency_penalty, &settings.presence_penalty,
               &settings.penalty_last_n) != 10)
        return false;
    ck_assert_int_eq(fscanf(file, "%d", &g->n_vocab), 1);
    ck_assert(g->n_vocab <= N_VOCAB);
    for (int i = 0; i < g->n_vocab; i++)
        ck_assert_int_eq(fscanf(file, "%f", &g->logits[i]), 1);
    ck_assert_int_eq(fscanf(file, "%d", &g->n_history), 1);
    ck_assert(g->n_history <= N_VOCAB);
    for (int i = 0; i < g->n_history; i++)
        ck_assert_int_eq(fscanf(file, "%d", &g->history[i]), 1);
    ck_assert_int_eq(fscanf(file, "%d", &g->n_kept), 1);
    ck_assert(g->n_kept <= g->n_vocab);
    for (int i = 0; i < g->n_kept; i++)
        ck_assert_int_eq(fscanf(file, "%d", &g->kept[i]), 1);
    for (int i = 0; i < g->n_kept; i++)
        ck_assert_int_eq(fscanf(file, "%lf", &g->probability[i]), 1);
    return true;
}

static void draw(const golden *g, int n_draws, int *counts)
{
    memset(counts, 0, N_VOCAB * sizeof *counts);
    for (int i = 0; i < n_draws; i++)
        counts[choose(g->logits, (uint32_t)g->n_vocab, g->history, (size_t)g->n_history,
                      (uint64_t)i)]++;
}

/* Hot enough that all that stay are about equally likely: each is seen, and no other. */
static void check_kept(const golden *g)
{
    int counts[N_VOCAB], expected[N_VOCAB] = {0};
    float temperature = settings.temperature;
    settings.temperature = 1e6f;
    draw(g, 40 * g->n_vocab, counts);
    settings.temperature = temperature;
    for (int i = 0; i < g->n_kept; i++)
        expected[g->kept[i]] = 1;
    for (int i = 0; i < g->n_vocab; i++)
        ck_assert_msg((counts[i] > 0) == (expected[i] > 0), "%s: token %d %s", g->name, i,
                      expected[i] ? "is missing" : "should not stay");
}

static void check_frequencies(const golden *g)
{
    enum { DRAWS = 20000 };
    int counts[N_VOCAB];
    draw(g, DRAWS, counts);
    double chi_square = 0, rare = 0, rare_seen = 0;
    int degrees = -1;
    for (int i = 0; i < g->n_kept; i++) {
        double wanted = g->probability[i] * DRAWS, seen = counts[g->kept[i]];
        if (wanted < 8) { /* pooled */
            rare += wanted;
            rare_seen += seen;
        } else {
            chi_square += (seen - wanted) * (seen - wanted) / wanted;
            degrees++;
        }
    }
    if (rare > 1) {
        chi_square += (rare_seen - rare) * (rare_seen - rare) / rare;
        degrees++;
    }
    /* Mean n and variance 2 n; the draws are fixed, so this passes always or never. */
    ck_assert_msg(chi_square < degrees + 4 * sqrt(2.0 * degrees) + 1, "%s: chi-square %g of %d",
                  g->name, chi_square, degrees);
}

START_TEST(truncations_and_probabilities_are_the_golden_ones)
{
    FILE *file = fopen(rad_test_source_path("tests/golden/sampler/cases.txt"), "r");
    ck_assert_ptr_nonnull(file);
    static golden g;
    int n_cases = 0;
    while (read_golden(file, &g)) {
        check_kept(&g);
        if (!RAD_TEST_SANITIZED || n_cases % 6 == 0)
            check_frequencies(&g);
        n_cases++;
    }
    fclose(file);
    ck_assert_int_eq(n_cases, 18);
}
END_TEST

START_TEST(truncations_by_hand)
{
    /* p = 0.5, 0.25, 0.125, 0.125 */
    float logits[] = {-2.0f, 0.0f, -1.0f, -2.0f};
    for (int i = 0; i < 4; i++)
        logits[i] *= 0.69314718f;
    int seen[4];
    struct {
        int32_t top_k;
        float top_p, min_p, typical_p;
        const char *stays;
    } cases[] = {
        {2, 1, 0, 1, "0110"},
        {3, 1, 0, 1, "1110"}, /* the tie goes to the lower id */
        {99, 1, 0, 1, "1111"},
        {0, 0.4f, 0, 1, "0100"},
        {0, 0.6f, 0, 1, "0110"},
        {0, 0.8f, 0, 1, "1110"},
        {0, 0.9f, 0, 1, "1111"},
        {0, 0, 0, 1, "0100"},
        {0, 1, 0.3f, 1, "0110"},
        {0, 1, 0.2f, 1, "1111"},
        {0, 1, 1, 1, "0100"},
        /* H = 1.75 bits; distances 1.25, 0.75, 0.25, 1.25 */
        {0, 1, 0, 0.2f, "0010"},
        {0, 1, 0, 0.6f, "0110"},
        {0, 1, 0, 0.8f, "1110"},
        {0, 1, 0, 0, "0010"},
        {2, 0.5f, 0, 1, "0100"}, /* 2/3 is more than 0.5 */
        {0, 0.6f, 0.6f, 1, "0100"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        settings.top_k = cases[c].top_k;
        settings.top_p = cases[c].top_p;
        settings.min_p = cases[c].min_p;
        settings.typical_p = cases[c].typical_p;
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < 400; i++)
            seen[choose(logits, 4, NULL, 0, i)]++;
        for (int i = 0; i < 4; i++)
            ck_assert_msg((seen[i] > 0) == (cases[c].stays[i] == '1'), "case %zu, token %d", c, i);
    }
}
END_TEST

START_TEST(the_choice_depends_on_seed_choice_and_position_alone)
{
    float logits[N_VOCAB];
    for (int i = 0; i < N_VOCAB; i++)
        logits[i] = (float)(rad_random_unit(5, 0, (uint64_t)i) * 3);
    int32_t first[200], token;
    for (uint64_t i = 0; i < 200; i++)
        first[i] = choose(logits, N_VOCAB, NULL, 0, i);
    rad_sampler *other = NULL; /* made for more tokens, used for other things before */
    rad_assert_ok(rad_sampler_create(&rad_default_allocator, 5 * N_VOCAB, &other, &error), &error);
    int differences = 0;
    for (uint64_t i = 200; i > 0; i--) {
        rad_assert_ok(rad_sampler_choose(other, &settings, logits, N_VOCAB, NULL, 0, 1, i - 1,
                                         &token, &error),
                      &error);
        differences += token != first[i - 1];
        rad_assert_ok(rad_sampler_choose(other, &settings, logits, N_VOCAB, NULL, 0, 0, i - 1,
                                         &token, &error),
                      &error);
        ck_assert_int_eq(token, first[i - 1]);
    }
    rad_sampler_free(other);
    ck_assert_int_gt(differences, 100);
}
END_TEST

/* FNV-1a over the tokens that each golden case chooses: the same with every compiler. */
START_TEST(choices_are_the_recorded_ones)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    FILE *file = fopen(rad_test_source_path("tests/golden/sampler/cases.txt"), "r");
    ck_assert_ptr_nonnull(file);
    static golden g;
    while (read_golden(file, &g)) {
        settings.seed = 42;
        for (uint64_t i = 0; i < 500; i++) {
            int32_t token =
                choose(g.logits, (uint32_t)g.n_vocab, g.history, (size_t)g.n_history, i << 30);
            hash = (hash ^ (uint64_t)token) * UINT64_C(0x100000001b3);
        }
    }
    fclose(file);
    ck_assert_msg(hash == UINT64_C(0x6def88d05123bb89), "the hash is 0x%016llx",
                  (unsigned long long)hash);
}
END_TEST

/* ---- extremes
 * ------------------------------------------------------------------------------------ */

START_TEST(temperatures_at_the_edges)
{
    float logits[] = {1.0f, 5.0f, 5.0f, -3e38f, 3e38f};
    settings.temperature = 1e-40f; /* a denormal */
    for (uint64_t i = 0; i < 50; i++)
        ck_assert_int_eq(choose(logits, 5, NULL, 0, i), 4);
    settings.temperature = 3e38f;
    int seen[5] = {0};
    for (uint64_t i = 0; i < 500; i++)
        seen[choose(logits, 5, NULL, 0, i)]++;
    ck_assert(seen[0] > 0 && seen[1] > 0 && seen[2] > 0 && seen[4] > 0);
}
END_TEST

START_TEST(logits_that_are_not_finite_are_errors)
{
    float logits[] = {1.0f, 2.0f, NAN, 0.0f};
    int32_t token = 7;
    for (int greedy = 0; greedy < 2; greedy++) {
        settings.temperature = greedy ? 0.0f : 1.0f;
        logits[2] = NAN;
        rad_assert_error(
            rad_sampler_choose(sampler, &settings, logits, 4, NULL, 0, 0, 0, &token, &error),
            RADLLM_E_NUMERIC, &error, "logit of token 2 is not a number");
        ck_assert_int_eq(token, -1);
        logits[2] = INFINITY;
        rad_assert_error(
            rad_sampler_choose(sampler, &settings, logits, 4, NULL, 0, 0, 0, &token, &error),
            RADLLM_E_NUMERIC, &error, "logit of token 2 is infinite");
        logits[2] = -INFINITY;
        choose(logits, 4, NULL, 0, 0);
        float none[] = {-INFINITY, -INFINITY};
        rad_assert_error(
            rad_sampler_choose(sampler, &settings, none, 2, NULL, 0, 0, 0, &token, &error),
            RADLLM_E_NUMERIC, &error, "every logit is -infinity");
        rad_logit_bias biases[] = {{0, -INFINITY}, {1, -INFINITY}, {3, -INFINITY}};
        settings.biases = biases;
        settings.n_biases = 3;
        rad_assert_error(
            rad_sampler_choose(sampler, &settings, logits, 4, NULL, 0, 0, 0, &token, &error),
            RADLLM_E_NUMERIC, &error, "forbids every token");
        biases[0].bias = 3e38f;
        logits[0] = 3e38f;
        rad_assert_error(
            rad_sampler_choose(sampler, &settings, logits, 4, NULL, 0, 0, 0, &token, &error),
            RADLLM_E_NUMERIC, &error, "after bias and penalties");
        settings.n_biases = 0;
    }
}
END_TEST

static void check_refused(const char *part)
{
    float logits[] = {1.0f, 2.0f};
    int32_t token;
    rad_assert_error(
        rad_sampler_choose(sampler, &settings, logits, 2, NULL, 0, 0, 0, &token, &error),
        RADLLM_E_ARGUMENT, &error, part);
    settings = defaults;
}

START_TEST(settings_out_of_range_are_refused)
{
    settings.temperature = -1.0f;
    check_refused("temperature is -1");
    settings.temperature = NAN;
    check_refused("temperature");
    settings.temperature = INFINITY;
    check_refused("temperature");
    settings.top_k = -1;
    check_refused("top_k is -1");
    settings.top_p = 1.5f;
    check_refused("top_p is 1.5");
    settings.min_p = -0.1f;
    check_refused("min_p");
    settings.typical_p = NAN;
    check_refused("typical_p");
    settings.repeat_penalty = 0.0f;
    check_refused("repeat_penalty is 0");
    settings.frequency_penalty = INFINITY;
    check_refused("frequency_penalty");
    settings.presence_penalty = NAN;
    check_refused("presence_penalty");
    settings.penalty_last_n = -2;
    check_refused("penalty_last_n is -2");
    rad_logit_bias bias = {2, 1.0f};
    settings.biases = &bias;
    settings.n_biases = 1;
    check_refused("logit bias for token 2; the vocabulary has the ids 0 to 1");
    bias = (rad_logit_bias){1, NAN};
    settings.biases = &bias;
    settings.n_biases = 1;
    check_refused("a logit bias is");
    float logits[N_VOCAB + 1] = {0};
    int32_t token;
    rad_assert_error(
        rad_sampler_choose(sampler, &settings, logits, N_VOCAB + 1, NULL, 0, 0, 0, &token, &error),
        RADLLM_E_ARGUMENT, &error, "101 logits");
    rad_sampler *none = NULL;
    rad_assert_error(rad_sampler_create(&rad_default_allocator, 0, &none, &error),
                     RADLLM_E_ARGUMENT, &error, "0 tokens");
    rad_test_memory failing;
    rad_test_memory_init(&failing, 1);
    rad_allocator bad = rad_test_allocator(&failing);
    rad_assert_error(rad_sampler_create(&bad, 10, &none, &error), RADLLM_E_MEMORY, &error, "bytes");
    ck_assert_ptr_null(none);
}
END_TEST

/* Every truncation on a vocabulary of the largest models; equal logits are the worst case. */
START_TEST(large_vocabularies_are_quick)
{
    enum { LARGE = 256000 };
    float *logits = malloc(LARGE * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    rad_sampler *large = NULL;
    rad_assert_ok(rad_sampler_create(&rad_default_allocator, LARGE, &large, &error), &error);
    for (int equal = 0; equal < 2; equal++) {
        for (uint32_t i = 0; i < LARGE; i++)
            logits[i] = equal ? 0.5f : (float)(rad_random_unit(1, 1, i) * 20);
        for (int stage = 0; stage < 5; stage++) {
            settings = defaults;
            settings.top_k = stage == 1 ? 40 : 0;
            settings.top_p = stage == 2 ? 0.95f : 1.0f;
            settings.typical_p = stage == 3 ? 0.9f : 1.0f;
            settings.min_p = stage == 4 ? 0.05f : 0.0f;
            int32_t token = -1;
            for (uint64_t i = 0; i < 2; i++)
                rad_assert_ok(rad_sampler_choose(large, &settings, logits, LARGE, NULL, 0, 0, i,
                                                 &token, &error),
                              &error);
            ck_assert(token >= 0 && token < LARGE);
            if (equal && stage == 1)
                ck_assert_int_lt(token, 40);
        }
    }
    rad_sampler_free(large);
    free(logits);
}
END_TEST

/* ---- large vocabularies -------------------------------------------------------------------------
 */

/* What scans must find, one logit after the other. */
static rad_logit_scan plain_scan(const float *logits, uint32_t n)
{
    rad_logit_scan scan = {-INFINITY, 0, true};
    for (uint32_t i = 0; i < n; i++) {
        scan.finite = scan.finite && logits[i] < INFINITY;
        if (logits[i] > scan.greatest) {
            scan.greatest = logits[i];
            scan.first = i;
        }
    }
    return scan;
}

/* Few different values, so that ties are common; some rounds with zeros of both signs, with
 * -infinity in most places, and with one logit that is not finite. */
static void fill_for_scan(float *logits, uint32_t n, uint64_t round)
{
    static const float odd[] = {NAN, INFINITY, -NAN};
    for (uint32_t i = 0; i < n; i++) {
        double u = rad_random_unit(3, 1, round << 32 | i);
        logits[i] = round % 5 == 1   ? (u < 0.5 ? -0.0f : 0.0f)
                    : round % 5 == 2 ? (u < 0.99 ? -INFINITY : (float)u)
                    : round % 5 == 3 ? (float)(u - 2.0)
                                     : (float)(int)(u * 50);
    }
    if (round % 7 == 3)
        logits[(uint32_t)(rad_random_unit(4, 1, round) * n)] = odd[round % 3];
}

START_TEST(scans_find_the_same_at_every_width)
{
    static float logits[9001];
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 200, 4096, 4100, 8192, 9000};
    for (uint64_t round = 0; round < (RAD_TEST_SANITIZED ? 70 : 400); round++) {
        uint32_t n = sizes[round % 10];
        float *unaligned = logits + 1;
        fill_for_scan(unaligned, n, round);
        rad_logit_scan wanted = plain_scan(unaligned, n);
        for (int level = 0; level <= rad_vector_level(); level++) {
            rad_logit_scan got = rad_scan_logits(level, unaligned, n);
            ck_assert(got.finite == wanted.finite);
            ck_assert(got.greatest == wanted.greatest);
            ck_assert(!wanted.finite || got.first == wanted.first);
        }
    }
}
END_TEST

START_TEST(exponentials_and_their_sum_are_those_one_at_a_time)
{
    static float x[3001];
    static double y[3001];
    static const double divisors[] = {1.0, 0.7, 1e-40, 3e38};
    for (uint64_t round = 0; round < 48; round++) {
        size_t n = round < 40 ? round : 2000 + 111 * (round - 40);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(-rad_random_unit(8, 2, round << 32 | i) * (round % 2 ? 800 : 3));
        if (n > 20) {
            x[0] = 0.25f;
            x[18] = -INFINITY;
        }
        double divisor = divisors[round % 4];
        for (int level = 0; level <= rad_vector_level(); level++) {
            double sum = rad_exponentials(level, x, 0.25, divisor, n, y, 2.0), wanted = 2.0;
            for (size_t i = 0; i < n; i++) {
                double power = rad_exp(((double)x[i] - 0.25) / divisor);
                ck_assert(y[i] == power);
                wanted += power;
            }
            ck_assert(sum == wanted);
        }
    }
}
END_TEST

/* Whatever the history is: settings that leave every token its weight. */
START_TEST(plain_settings_are_known)
{
    const rad_logit_bias bias = {3, 0.0f};
    rad_sampler_settings plain = defaults, other[10];
    plain.temperature = 0.7f;
    for (int i = 0; i < 10; i++)
        other[i] = plain;
    ck_assert(rad_sampler_is_plain(&plain, N_VOCAB));
    plain.top_k = (int32_t)N_VOCAB;
    ck_assert(rad_sampler_is_plain(&plain, N_VOCAB));
    plain.repeat_penalty = 1.5f; /* of no tokens */
    plain.penalty_last_n = 0;
    ck_assert(rad_sampler_is_plain(&plain, N_VOCAB));
    other[0].temperature = 0.0f;
    other[1].top_k = (int32_t)N_VOCAB - 1;
    other[2].top_p = 0.999f;
    other[3].min_p = 1e-6f;
    other[4].typical_p = 0.999f;
    other[5].repeat_penalty = 1.1f;
    other[5].penalty_last_n = -1;
    other[6].presence_penalty = -0.5f;
    other[6].penalty_last_n = 3;
    other[7].biases = &bias;
    other[7].n_biases = 1;
    other[8].temperature = -1.0f; /* an error */
    other[9].frequency_penalty = NAN;
    for (int i = 0; i < 10; i++)
        ck_assert_msg(!rad_sampler_is_plain(&other[i], N_VOCAB), "settings %d", i);
}
END_TEST

enum { PLAIN_VOCAB = 12000 };

typedef struct plain_candidate {
    int32_t token;
    float logit;
    double weight, rank; /* smaller is better */
} plain_candidate;

static int by_rank(const void *a, const void *b)
{
    const plain_candidate *x = a, *y = b;
    return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1)
                              : (x->token > y->token) - (x->token < y->token);
}

static double plain_weights(plain_candidate *list, uint32_t n, double temperature)
{
    double greatest = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        greatest = list[i].logit > greatest ? list[i].logit : greatest;
    for (uint32_t i = 0; i < n; i++) {
        list[i].weight = rad_exp(((double)list[i].logit - greatest) / temperature);
        sum += list[i].weight;
    }
    return sum;
}

/* Sorts, and keeps the shortest list with this mass. */
static uint32_t plain_mass(plain_candidate *list, uint32_t n, double wanted)
{
    qsort(list, n, sizeof *list, by_rank);
    double sum = 0.0;
    uint32_t kept = 0;
    for (; kept < n && (kept == 0 || sum < wanted); kept++)
        sum += list[kept].weight;
    return kept;
}

static uint32_t plain_typical(plain_candidate *list, uint32_t n, double sum, double mass)
{
    double greatest = -INFINITY, log_sum = rad_ln(sum), entropy = 0.0;
    for (uint32_t i = 0; i < n; i++)
        greatest = list[i].logit > greatest ? list[i].logit : greatest;
    for (uint32_t i = 0; i < n; i++)
        entropy -= list[i].weight / sum * (((double)list[i].logit - greatest) - log_sum);
    for (uint32_t i = 0; i < n; i++)
        list[i].rank = fabs(-(((double)list[i].logit - greatest) - log_sum) - entropy);
    return plain_mass(list, n, mass * sum);
}

/* The stages of rad_sampler_choose() with a whole sort each time. */
static int32_t plain_choice(const float *logits, uint64_t position)
{
    static plain_candidate list[PLAIN_VOCAB];
    uint32_t n = 0, kept = 0;
    for (int32_t i = 0; i < PLAIN_VOCAB; i++)
        if (logits[i] > -INFINITY)
            list[n++] = (plain_candidate){i, logits[i], 0.0, -logits[i]};
    if (settings.top_k > 0 && (uint32_t)settings.top_k < n) {
        qsort(list, n, sizeof *list, by_rank);
        n = (uint32_t)settings.top_k;
    }
    double sum = plain_weights(list, n, 1.0);
    if (settings.typical_p < 1.0f) {
        n = plain_typical(list, n, sum, settings.typical_p);
    } else if (settings.top_p < 1.0f) {
        n = plain_mass(list, n, settings.top_p * sum);
    } else if (settings.min_p > 0.0f) {
        for (uint32_t i = 0; i < n; i++)
            if (list[i].weight >= settings.min_p)
                list[kept++] = list[i];
        n = kept;
    }
    double target = rad_random_unit(settings.seed, 0, position);
    target *= plain_weights(list, n, settings.temperature);
    sum = 0.0;
    int32_t last = list[0].token;
    for (uint32_t i = 0; i < n && sum <= target; i++) {
        if (list[i].weight > 0.0) {
            last = list[i].token;
            sum += list[i].weight;
        }
    }
    return last;
}

/* Ways that leave most tokens out unseen choose as if all had been sorted. */
START_TEST(large_vocabularies_choose_as_a_plain_sampler)
{
    static const struct {
        int32_t top_k;
        float typical_p, top_p, min_p;
    } ways[] = {{1, 1, 1, 0},    {40, 1, 1, 0},    {45, 1, 1, 0},      {46, 1, 1, 0},
                {5000, 1, 1, 0}, {12000, 1, 1, 0}, {40, 1, 0.9f, 0},   {0, 1, 1, 0.05f},
                {0, 1, 1, 1},    {0, 1, 1, 1e-9f}, {300, 1, 1, 0.02f}, {0, 1, 0.9f, 0},
                {0, 0.8f, 1, 0}, {0, 1, 1, 0}};
    static float logits[PLAIN_VOCAB];
    rad_sampler *large = NULL;
    rad_assert_ok(rad_sampler_create(&rad_default_allocator, PLAIN_VOCAB, &large, &error), &error);
    for (int kind = 0; kind < 4; kind++) {
        for (uint32_t i = 0; i < PLAIN_VOCAB; i++) {
            double u = rad_random_unit(6, (uint32_t)kind, i);
            logits[i] = kind == 0   ? (float)(u * 12)
                        : kind == 1 ? (float)(int)(u * 9)                /* many ties */
                        : kind == 2 ? (u < 0.997 ? -INFINITY : (float)u) /* about 40 tokens */
                                    : (i == 11990 ? 20.0f : (float)u);   /* one, in the last part */
        }
        for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
            settings = defaults;
            settings.top_k = ways[way].top_k;
            settings.typical_p = ways[way].typical_p;
            settings.top_p = ways[way].top_p;
            settings.min_p = ways[way].min_p;
            settings.temperature = way % 2 == 0 ? 1.0f : 0.8f;
            for (uint64_t position = 0; position < 2; position++) {
                int32_t token = -1;
                rad_assert_ok(rad_sampler_choose(large, &settings, logits, PLAIN_VOCAB, NULL, 0, 0,
                                                 position, &token, &error),
                              &error);
                ck_assert_int_eq(token, plain_choice(logits, position));
            }
        }
    }
    rad_sampler_free(large);
}
END_TEST

/* ---- log-probabilities
 * ------------------------------------------------------------------------------ */

START_TEST(log_probabilities_are_those_of_the_softmax)
{
    float logits[] = {0.0f, 1.0f, -INFINITY, 1.0f, -2.0f};
    double sum = 1 + 2 * exp(1) + exp(-2);
    for (int i = 0; i < 5; i++) {
        double expected = (double)logits[i] - log(sum), got = rad_log_probability(logits, 5, i);
        ck_assert(i == 2 ? got == -INFINITY : fabs(got - expected) < 1e-14);
    }
    rad_token_logprob top[7];
    rad_top_logprobs(logits, 5, 7, top);
    static const int32_t order[] = {1, 3, 0, 4, 2, -1, -1};
    for (int i = 0; i < 7; i++) {
        ck_assert_int_eq(top[i].token, order[i]);
        if (i < 5)
            ck_assert(top[i].logprob == (float)rad_log_probability(logits, 5, order[i]));
    }
    rad_top_logprobs(logits, 5, 2, top);
    ck_assert(top[0].token == 1 && top[1].token == 3);
    rad_top_logprobs(logits, 5, 0, NULL);
    float far[] = {1e30f, -1e30f, 3e38f};
    ck_assert(rad_log_probability(far, 3, 2) == 0.0);
    float nan[] = {1.0f, NAN};
    ck_assert(isnan(rad_log_probability(nan, 2, 0)));
}
END_TEST

START_TEST(top_log_probabilities_are_sorted)
{
    float logits[N_VOCAB];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N_VOCAB; i++) /* many ties */
            logits[i] = (float)(int)(rad_random_unit(9, (uint32_t)round, (uint64_t)i) * 30);
        rad_token_logprob top[N_VOCAB];
        uint32_t count = (uint32_t)(1 + round * 5);
        rad_top_logprobs(logits, N_VOCAB, count, top);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t before = 0; /* tokens that belong in front of this one */
            for (int k = 0; k < N_VOCAB; k++) {
                float mine = logits[top[i].token];
                before += logits[k] > mine || (logits[k] == mine && k < top[i].token);
            }
            ck_assert_uint_eq(before, i);
        }
    }
}
END_TEST

START_TEST(top_log_probabilities_of_many_tokens)
{
    static float logits[5000];
    static const uint32_t counts[] = {1, 20, 100};
    for (uint32_t round = 0; round < 9; round++) {
        for (uint32_t i = 0; i < 5000; i++)
            logits[i] = (float)(int)(rad_random_unit(10, round, i) * (round % 2 ? 1e6 : 300));
        rad_token_logprob top[100];
        uint32_t count = counts[round % 3];
        rad_top_logprobs(logits, 5000, count, top);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t before = 0;
            float mine = logits[top[i].token];
            for (int k = 0; k < 5000; k++)
                before += logits[k] > mine || (logits[k] == mine && k < top[i].token);
            ck_assert_uint_eq(before, i);
        }
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "sampler");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, greedy_takes_the_greatest_and_the_lower_id);
    tcase_add_test(cases, biases_move_and_forbid_tokens);
    tcase_add_test(cases, penalties_follow_the_history);
    tcase_add_test(cases, truncations_and_probabilities_are_the_golden_ones);
    tcase_add_test(cases, truncations_by_hand);
    tcase_add_test(cases, the_choice_depends_on_seed_choice_and_position_alone);
    tcase_add_test(cases, choices_are_the_recorded_ones);
    tcase_add_test(cases, temperatures_at_the_edges);
    tcase_add_test(cases, logits_that_are_not_finite_are_errors);
    tcase_add_test(cases, settings_out_of_range_are_refused);
    tcase_add_test(cases, large_vocabularies_are_quick);
    tcase_add_test(cases, scans_find_the_same_at_every_width);
    tcase_add_test(cases, exponentials_and_their_sum_are_those_one_at_a_time);
    tcase_add_test(cases, plain_settings_are_known);
    tcase_add_test(cases, large_vocabularies_choose_as_a_plain_sampler);
    tcase_add_test(cases, log_probabilities_are_those_of_the_softmax);
    tcase_add_test(cases, top_log_probabilities_are_sorted);
    tcase_add_test(cases, top_log_probabilities_of_many_tokens);
}

int main(void)
{
    return rad_test_main("sampler", add_cases);
}
