/* What is guessed and how far: the lookup of drafts in the text so far, and the pace that suits how
 * many of them are accepted. */
#include <math.h>

#include "engine/lookup.h"
#include "engine/pace.h"
#include "unit/harness.h"

START_TEST(lookup_finds_the_longest_agreement)
{
    int32_t draft[64];
    uint32_t quality = 9;
    const int32_t text[] = {1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 3, 6, 6, 2, 3};
    /* "2 3" twice: the latter goes on with 7 8 3; "3" alone also with 6. */
    ck_assert_uint_eq(rad_lookup_draft(text, 15, 3, draft, &quality), 3);
    ck_assert_int_eq(draft[0], 7);
    ck_assert_int_eq(draft[1], 8);
    ck_assert_int_eq(draft[2], 3);
    ck_assert_uint_eq(quality, 1);
    /* "9 2 3" is longer than the later "2 3". */
    const int32_t longer[] = {9, 2, 3, 4, 1, 2, 3, 5, 9, 2, 3};
    ck_assert_uint_eq(rad_lookup_draft(longer, 11, 1, draft, &quality), 1);
    ck_assert_int_eq(draft[0], 4);
    ck_assert_uint_eq(quality, 2);
    /* A short period goes on for as long as is asked. */
    const int32_t period[] = {5, 1, 2, 1, 2};
    ck_assert_uint_eq(rad_lookup_draft(period, 5, 64, draft, &quality), 64);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(draft[i], 1 + i % 2);
    ck_assert_uint_eq(rad_lookup_draft(text, 6, 8, draft, &quality), 0);
    ck_assert_uint_eq(rad_lookup_draft(text, 1, 8, draft, &quality), 0);
    ck_assert_uint_eq(rad_lookup_draft(text, 0, 8, draft, &quality), 0);
    ck_assert_uint_eq(rad_lookup_draft(text, 15, 0, draft, &quality), 0);
}
END_TEST

/* Every row beyond the first takes as much. */
static rad_pace_cost linear(double cost)
{
    return (rad_pace_cost){.rows = 1, .other = cost};
}

/* Tokens per cost of n tokens where each drafted token is right with `probability`. */
static double simulate(double probability, const rad_pace_cost *believed, const rad_pace_cost *real,
                       int n, uint32_t seed)
{
    rad_pace pace;
    rad_pace_start(&pace);
    double cost = 0.0;
    int tokens = 0;
    while (tokens < n) {
        int left = n - tokens - 1;
        uint32_t most = left < 8 ? (uint32_t)left : 8, accepted = 0;
        uint32_t length = rad_pace_length(&pace, 0, believed, most);
        ck_assert_uint_le(length, most);
        for (bool right = true; right && accepted < length; accepted += right) {
            seed = seed * 1664525u + 1013904223u;
            right = (double)(seed >> 8) / 16777216.0 < probability;
        }
        cost += 1.0 + rad_pace_added(real, length);
        tokens += 1 + (int)accepted;
        if (length > 0)
            rad_pace_learn(&pace, 0, believed, length, accepted);
    }
    return tokens / cost;
}

static void check_pace(const rad_pace_cost *cost)
{
    for (int a = 25; a <= 100; a += 25) {
        double sum = 0.0, best = 1.0, tokens = 1.0;
        for (uint32_t seed = 0; seed < 40; seed++)
            sum += simulate(a / 100.0, cost, cost, 256, seed * 7919) / 40;
        for (uint32_t k = 1; k <= 8; k++) {
            tokens += pow(a / 100.0, k);
            best = fmax(best, tokens / (1.0 + rad_pace_added(cost, k)));
        }
        ck_assert_double_gt(sum, 0.9 * best);
    }
}

START_TEST(the_pace_suits_the_acceptance)
{
    static const double costs[] = {0.05, 0.1, 0.2, 0.4, 0.8};
    for (int c = 0; c < 5; c++) {
        rad_pace_cost cost = linear(costs[c]), twice = linear(2 * costs[c]);
        for (int n = 64; n <= 1024; n *= 4)
            ck_assert_double_gt(simulate(0.0, &cost, &cost, n, 1), 0.97);
        /* A machine where a row costs twice what was estimated. */
        if (costs[c] < 0.4)
            ck_assert_double_gt(simulate(0.0, &cost, &twice, 128, 1), 0.97);
        check_pace(&cost);
    }
    /* Memory bounds up to four rows, arithmetic what is beyond; and steps of several requests. */
    for (uint32_t rows = 1; rows <= 8; rows *= 2) {
        rad_pace_cost cost = {.rows = rows, .product = 0.2, .other = 0.04};
        check_pace(&cost);
    }
}
END_TEST

START_TEST(what_rows_take)
{
    rad_pace_cost cost = {.rows = 1, .product = 0.01, .other = 0.01};
    ck_assert_double_eq_tol(rad_pace_added(&cost, 3), 0.03, 1e-4); /* memory bounds */
    cost.draft = 0.5;
    ck_assert_double_eq_tol(rad_pace_added(&cost, 3), 1.53, 1e-4);
    cost = (rad_pace_cost){.rows = 1, .several = 0.4};
    ck_assert_double_eq_tol(rad_pace_added(&cost, 1), 0.4, 1e-9);
    cost.rows = 2;
    ck_assert_double_eq_tol(rad_pace_added(&cost, 1), 0.0, 1e-9);
    /* Arithmetic bounds; 5 rows are computed as 8. */
    cost = (rad_pace_cost){.rows = 1, .product = 10.0};
    ck_assert_double_eq_tol(rad_pace_added(&cost, 3), 3.0, 1e-2);
    ck_assert_double_eq_tol(rad_pace_added(&cost, 4), 7.0, 1e-2);
    ck_assert_double_eq_tol(rad_pace_added(&cost, 7), 7.0, 1e-2);
    /* Halfway: a step of one row takes cbrt(1 + 0.4^3), one of two cbrt(1 + 0.8^3). */
    cost = (rad_pace_cost){.rows = 1, .product = 0.4};
    ck_assert_double_eq_tol(rad_pace_added(&cost, 1), cbrt(1.512 / 1.064) - 1.0, 1e-9);
    /* 2 of 8 experts, nothing else: two rows read 7/16 of them, not 4/16. */
    cost = (rad_pace_cost){.rows = 1, .experts = 1.0, .chosen = 0.25};
    ck_assert_double_eq_tol(rad_pace_added(&cost, 1), 0.75, 1e-9);
    cost.experts = 0.5;
    ck_assert_double_eq_tol(rad_pace_added(&cost, 1), 0.375, 1e-9);
}
END_TEST

START_TEST(the_pace_recovers)
{
    rad_pace pace;
    rad_pace_cost cost = linear(0.1);
    rad_pace_start(&pace);
    for (int i = 0; i < 2000; i++) {
        uint32_t length = rad_pace_length(&pace, 2, &cost, 8);
        if (length > 0)
            rad_pace_learn(&pace, 2, &cost, length, 0);
    }
    /* Another quality was never tried, and is. */
    ck_assert_uint_gt(rad_pace_length(&pace, 1, &cost, 8), 0);
    int until = 0, steps = 0;
    for (uint32_t length = 0; length < 8 && steps < 200; steps++) {
        length = rad_pace_length(&pace, 2, &cost, 8);
        if (length > 0) {
            until = until == 0 ? steps : until;
            rad_pace_learn(&pace, 2, &cost, length, length);
        }
    }
    ck_assert_int_le(until, 64);
    ck_assert_int_le(steps, until + 20);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "pace");
    tcase_add_test(cases, lookup_finds_the_longest_agreement);
    tcase_add_test(cases, the_pace_suits_the_acceptance);
    tcase_add_test(cases, what_rows_take);
    tcase_add_test(cases, the_pace_recovers);
}

int main(void)
{
    return rad_test_main("pace", add_cases);
}
