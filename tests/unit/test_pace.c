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

/* Tokens per cost of n tokens where each drafted token is right with `probability`. */
static double simulate(double probability, double believed, double real, int n, uint32_t seed)
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
        cost += 1.0 + real * length;
        tokens += 1 + (int)accepted;
        if (length > 0)
            rad_pace_learn(&pace, 0, believed, length, accepted);
    }
    return tokens / cost;
}

START_TEST(the_pace_suits_the_acceptance)
{
    static const double costs[] = {0.05, 0.1, 0.2, 0.4, 0.8};
    for (int c = 0; c < 5; c++) {
        for (int n = 64; n <= 1024; n *= 4)
            ck_assert_double_gt(simulate(0.0, costs[c], costs[c], n, 1), 0.97);
        /* A machine where a row costs twice what was estimated. */
        if (costs[c] < 0.4)
            ck_assert_double_gt(simulate(0.0, costs[c], 2 * costs[c], 128, 1), 0.97);
        for (int a = 25; a <= 100; a += 25) {
            double sum = 0.0, best = 1.0, tokens = 1.0;
            for (uint32_t seed = 0; seed < 40; seed++)
                sum += simulate(a / 100.0, costs[c], costs[c], 256, seed * 7919) / 40;
            for (int k = 1; k <= 8; k++) {
                tokens += pow(a / 100.0, k);
                best = fmax(best, tokens / (1.0 + costs[c] * k));
            }
            ck_assert_double_gt(sum, 0.9 * best);
        }
    }
}
END_TEST

START_TEST(the_pace_recovers)
{
    rad_pace pace;
    rad_pace_start(&pace);
    for (int i = 0; i < 2000; i++) {
        uint32_t length = rad_pace_length(&pace, 2, 0.1, 8);
        if (length > 0)
            rad_pace_learn(&pace, 2, 0.1, length, 0);
    }
    /* Another quality was never tried, and is. */
    ck_assert_uint_gt(rad_pace_length(&pace, 1, 0.1, 8), 0);
    int until = 0, steps = 0;
    for (uint32_t length = 0; length < 8 && steps < 200; steps++) {
        length = rad_pace_length(&pace, 2, 0.1, 8);
        if (length > 0) {
            until = until == 0 ? steps : until;
            rad_pace_learn(&pace, 2, 0.1, length, length);
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
    tcase_add_test(cases, the_pace_recovers);
}

int main(void)
{
    return rad_test_main("pace", add_cases);
}
