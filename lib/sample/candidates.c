#include "sample/candidates.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"

/* ---- the greatest ---------------------------------------------------------------------------- */

#define LANES 16 /* maxima side by side: compilers make vectors of them */

float rad_greatest_logit(const float *logits, uint32_t n, bool *finite)
{
    float most[LANES];
    uint32_t bad[LANES] = {0}, i = 0, any_bad = 0;
    for (int j = 0; j < LANES; j++)
        most[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float logit = logits[i + j];
            most[j] = logit > most[j] ? logit : most[j];
            bad[j] |= !(logit < INFINITY);
        }
    }
    float greatest = -INFINITY;
    for (int j = 0; j < LANES; j++) {
        greatest = most[j] > greatest ? most[j] : greatest;
        any_bad |= bad[j];
    }
    for (; i < n; i++) {
        greatest = logits[i] > greatest ? logits[i] : greatest;
        any_bad |= !(logits[i] < INFINITY);
    }
    *finite = any_bad == 0;
    return greatest;
}

int32_t rad_first_of(const float *logits, uint32_t n, float logit)
{
    enum { BLOCK = 64 };
    uint32_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        uint32_t found = 0;
        for (int j = 0; j < BLOCK; j++)
            found |= logits[i + j] == logit;
        if (found != 0)
            break;
    }
    while (i + 1 < n && logits[i] != logit)
        i++;
    return (int32_t)i;
}

/* ---- the list -------------------------------------------------------------------------------- */

void rad_candidates_take_all(rad_candidates *list, void *memory, const float *logits,
                             uint32_t n_vocab)
{
    uint8_t *bytes = memory;
    size_t part = (size_t)n_vocab * 8;
    *list = (rad_candidates){.logits = memory,
                             .weights = (double *)(void *)(bytes + part),
                             .spare = {bytes + 2 * part, bytes + 3 * part},
                             .keys = (double *)(void *)(bytes + 4 * part)};
    list->tokens = (int32_t *)(void *)(list->logits + n_vocab);
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        list->logits[n] = logits[i];
        list->tokens[n] = (int32_t)i;
        n += logits[i] > -INFINITY;
    }
    list->n = n;
}

void rad_candidates_make_weights(rad_candidates *list, double temperature)
{
    bool finite;
    double greatest = rad_greatest_logit(list->logits, list->n, &finite);
    if (list->temperature == temperature && list->greatest == greatest)
        return;
    rad_exponentials(list->logits, greatest, temperature, list->n, list->weights);
    list->greatest = greatest;
    list->temperature = temperature;
}

double rad_candidates_sum(const rad_candidates *list)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        sum += list->weights[i];
    return sum;
}

/* ---- sorting only as far as needed -------------------------------------------------------------
 */

/* What a stage sorts by: a 64-bit key, smaller is better, ties by id. The keys of top-k and top-p
 * are the bits of the logits in the upper half, such that equal logits have equal keys: in the list
 * they stand by id already, in whichever way it was sorted before. Those of typical-p are the bits
 * of a distance. */
typedef struct ranking {
    const rad_candidates *list;
    const double *distances; /* NULL: by logit */
    double greatest;
} ranking;

#define BUCKETS 1024

static uint64_t key_of(const ranking *ranking, uint32_t i)
{
    if (ranking->distances != NULL) {
        uint64_t bits;
        memcpy(&bits, &ranking->distances[i], sizeof bits);
        return bits;
    }
    float logit = ranking->list->logits[i] + 0.0f; /* -0 becomes 0 */
    uint32_t bits;
    memcpy(&bits, &logit, sizeof bits);
    bits = bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
    return (uint64_t)bits << 32;
}

/* Rises with the key, in steps of 1/16. */
static uint32_t bucket_of(const ranking *ranking, uint32_t i)
{
    double distance = ranking->distances != NULL
                          ? ranking->distances[i]
                          : ranking->greatest - (double)ranking->list->logits[i];
    distance *= 16.0;
    return distance < BUCKETS - 1 ? (uint32_t)distance : BUCKETS - 1;
}

/* True when entry a comes before b. */
static bool comes_first(const ranking *ranking, uint32_t a, uint32_t b)
{
    uint64_t x = key_of(ranking, a), y = key_of(ranking, b);
    return x < y || (x == y && ranking->list->tokens[a] < ranking->list->tokens[b]);
}

/* A heap with the last on top, for runs of entries whose keys agree in their upper halves. */
static void sift_down(const ranking *ranking, uint64_t *entries, uint32_t n, uint32_t at)
{
    uint64_t moving = entries[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n &&
            comes_first(ranking, (uint32_t)entries[child], (uint32_t)entries[child + 1]))
            child++;
        if (!comes_first(ranking, (uint32_t)moving, (uint32_t)entries[child]))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = moving;
}

static void sort_run(const ranking *ranking, uint64_t *entries, uint32_t n)
{
    bool sorted = true;
    for (uint32_t i = 1; i < n && sorted; i++)
        sorted = comes_first(ranking, (uint32_t)entries[i - 1], (uint32_t)entries[i]);
    if (sorted)
        return;
    for (uint32_t at = n / 2; at > 0; at--)
        sift_down(ranking, entries, n, at - 1);
    for (uint32_t left = n - 1; left > 0; left--) {
        uint64_t last = entries[0];
        entries[0] = entries[left];
        entries[left] = last;
        sift_down(ranking, entries, left, 0);
    }
}

/* Entries are upper half of the key, then place. By three digits of the key, from the lowest, each
 * pass stable; a digit that all share needs none. Returns where the result stands. */
static uint64_t *sort_entries(const ranking *ranking, uint64_t *from, uint64_t *to, uint32_t n)
{
    static const int shifts[3] = {32, 43, 54};
    uint32_t counts[3][2048];
    memset(counts, 0, sizeof counts);
    for (uint32_t i = 0; i < n; i++) {
        for (int digit = 0; digit < 3; digit++)
            counts[digit][from[i] >> shifts[digit] & 2047]++;
    }
    for (int digit = 0; digit < 3; digit++) {
        if (n == 0 || counts[digit][from[0] >> shifts[digit] & 2047] == n)
            continue;
        uint32_t start = 0;
        for (uint32_t value = 0; value < 2048; value++) {
            uint32_t count = counts[digit][value];
            counts[digit][value] = start;
            start += count;
        }
        for (uint32_t i = 0; i < n; i++)
            to[counts[digit][from[i] >> shifts[digit] & 2047]++] = from[i];
        uint64_t *other = from;
        from = to;
        to = other;
    }
    for (uint32_t i = 0, end; ranking->distances != NULL && i < n; i = end) {
        for (end = i + 1; end < n && from[end] >> 32 == from[i] >> 32; end++) {
        }
        sort_run(ranking, from + i, end - i);
    }
    return from;
}

/* The entries of buckets 0 to last, sorted. */
static uint64_t *sort_buckets(const ranking *ranking, uint32_t last, uint32_t *n)
{
    const rad_candidates *list = ranking->list;
    uint64_t *entries = list->spare[0];
    *n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        entries[*n] = (key_of(ranking, i) & ~(uint64_t)UINT32_MAX) | i;
        *n += bucket_of(ranking, i) <= last;
    }
    return sort_entries(ranking, entries, list->spare[1], *n);
}

/* The first n of `entries` become the list. */
static void keep_entries(rad_candidates *list, const uint64_t *entries, uint32_t n)
{
    void *old = list->logits;
    int taken = entries == list->spare[0] ? 0 : 1;
    float *logits = list->spare[1 - taken];
    int32_t *tokens = (int32_t *)(void *)(logits + n);
    double *weights = list->keys;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (uint32_t)entries[i];
        logits[i] = list->logits[at];
        tokens[i] = list->tokens[at];
        weights[i] = list->weights[at];
    }
    list->spare[1 - taken] = old;
    list->keys = list->weights;
    list->logits = logits;
    list->tokens = tokens;
    list->weights = weights;
    list->n = n;
}

void rad_candidates_keep_top_k(rad_candidates *list, uint32_t k)
{
    if (k >= list->n)
        return;
    bool finite;
    ranking by_logit = {list, NULL, rad_greatest_logit(list->logits, list->n, &finite)};
    uint32_t counts[BUCKETS] = {0}, last = 0, n;
    for (uint32_t i = 0; i < list->n; i++)
        counts[bucket_of(&by_logit, i)]++;
    for (uint32_t seen = counts[0]; seen < k; seen += counts[last])
        last++;
    keep_entries(list, sort_buckets(&by_logit, last, &n), k);
}

/* Keeps the best until their weights sum to `wanted` or more. The histogram's sums run in another
 * order, so they only guess how far to sort; where the guess falls short, all are sorted. */
static void keep_mass(rad_candidates *list, const ranking *ranking, double wanted)
{
    double masses[BUCKETS] = {0.0}, mass = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        masses[bucket_of(ranking, i)] += list->weights[i];
    uint32_t last = 0, n, taken = 0;
    for (mass = masses[0]; last + 1 < BUCKETS && !(mass > wanted * (1.0 + 1e-9));
         mass += masses[last])
        last++;
    for (;;) {
        const uint64_t *entries = sort_buckets(ranking, last, &n);
        double sum = 0.0;
        for (taken = 0; taken < n && (taken == 0 || sum < wanted); taken++)
            sum += list->weights[(uint32_t)entries[taken]];
        if (sum >= wanted || last + 1 >= BUCKETS) {
            keep_entries(list, entries, taken);
            return;
        }
        last = BUCKETS - 1;
    }
}

void rad_candidates_keep_typical(rad_candidates *list, double mass)
{
    double sum = rad_candidates_sum(list), log_sum = rad_ln(sum), entropy = 0.0;
    for (uint32_t i = 0; i < list->n; i++) {
        double log_probability = ((double)list->logits[i] - list->greatest) - log_sum;
        entropy -= list->weights[i] / sum * log_probability;
        list->keys[i] = log_probability;
    }
    for (uint32_t i = 0; i < list->n; i++)
        list->keys[i] = fabs(-list->keys[i] - entropy);
    ranking by_distance = {list, list->keys, 0.0};
    keep_mass(list, &by_distance, mass * sum);
}

void rad_candidates_keep_top_p(rad_candidates *list, double mass)
{
    ranking by_logit = {list, NULL, list->greatest};
    keep_mass(list, &by_logit, mass * rad_candidates_sum(list));
}

void rad_candidates_keep_min_p(rad_candidates *list, double fraction)
{
    double greatest = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        greatest = list->weights[i] > greatest ? list->weights[i] : greatest;
    uint32_t n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        list->logits[n] = list->logits[i];
        list->tokens[n] = list->tokens[i];
        list->weights[n] = list->weights[i];
        n += list->weights[i] >= fraction * greatest;
    }
    list->n = n;
}
