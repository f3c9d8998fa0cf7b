#include "sample/candidates.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "sample/scan.h"

/* ---- the list -------------------------------------------------------------------------------- */

static void place_list(rad_candidates *list, void *memory, uint32_t n_vocab)
{
    uint8_t *bytes = memory;
    size_t part = (size_t)n_vocab * 8;
    *list = (rad_candidates){.logits = memory,
                             .weights = (double *)(void *)(bytes + part),
                             .spare = {bytes + 2 * part, bytes + 3 * part},
                             .keys = (double *)(void *)(bytes + 4 * part),
                             .sum = -1.0,
                             .level = rad_vector_level()};
    list->tokens = (int32_t *)(void *)(list->logits + n_vocab);
}

/* Adds logits first..last-1 that are `bound` or more and above -infinity. */
static void take_range(rad_candidates *list, const float *logits, uint32_t first, uint32_t last,
                       float bound)
{
    uint32_t n = list->n;
    for (uint32_t i = first; i < last; i++) {
        list->logits[n] = logits[i];
        list->tokens[n] = (int32_t)i;
        n += (uint32_t)(logits[i] > -INFINITY) & (uint32_t)(logits[i] >= bound);
    }
    list->n = n;
}

void rad_candidates_take_all(rad_candidates *list, void *memory, const float *logits,
                             uint32_t n_vocab)
{
    place_list(list, memory, n_vocab);
    uint32_t whole = n_vocab / RAD_SCAN_BLOCK * RAD_SCAN_BLOCK;
    for (uint32_t first = 0; first < whole; first += RAD_SCAN_BLOCK) {
        uint32_t left_out = 0;
        for (uint32_t i = first; i < first + RAD_SCAN_BLOCK; i++)
            left_out |= !(logits[i] > -INFINITY);
        if (left_out != 0) {
            take_range(list, logits, first, first + RAD_SCAN_BLOCK, -INFINITY);
            continue;
        }
        memcpy(list->logits + list->n, logits + first, RAD_SCAN_BLOCK * sizeof *logits);
        for (uint32_t i = 0; i < RAD_SCAN_BLOCK; i++)
            list->tokens[list->n + i] = (int32_t)(first + i);
        list->n += RAD_SCAN_BLOCK;
    }
    take_range(list, logits, whole, n_vocab, -INFINITY);
}

/* By blocks: one whose greatest is below the bound needs no look inside. */
static void take_from_blocks(rad_candidates *list, const float *logits, uint32_t n_vocab,
                             const float *maxima, float bound)
{
    uint32_t n_blocks = n_vocab / RAD_SCAN_BLOCK;
    for (uint32_t block = 0; block < n_blocks; block++) {
        if (maxima[block] >= bound)
            take_range(list, logits, block * RAD_SCAN_BLOCK, (block + 1) * RAD_SCAN_BLOCK, bound);
    }
    take_range(list, logits, n_blocks * RAD_SCAN_BLOCK, n_vocab, bound);
}

void rad_candidates_take_above(rad_candidates *list, void *memory, const float *logits,
                               uint32_t n_vocab, float bound)
{
    place_list(list, memory, n_vocab);
    float *maxima = list->spare[0];
    rad_block_maxima(list->level, logits, n_vocab / RAD_SCAN_BLOCK, maxima);
    take_from_blocks(list, logits, n_vocab, maxima, bound);
}

double rad_candidates_make_weights(rad_candidates *list, double temperature)
{
    double greatest = rad_scan_logits(list->level, list->logits, list->n).greatest;
    if (list->temperature == temperature && list->greatest == greatest)
        return rad_candidates_sum(list);
    list->sum = rad_exponentials(list->level, list->logits, greatest, temperature, list->n,
                                 list->weights, 0.0);
    list->greatest = greatest;
    list->temperature = temperature;
    return list->sum;
}

double rad_candidates_sum(rad_candidates *list)
{
    if (list->sum >= 0.0)
        return list->sum;
    double sum = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        sum += list->weights[i];
    list->sum = sum;
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

/* Buckets rise with the key, in steps of 1/16; rounding to single precision keeps them in order. Of
 * `n` entries from `first` on, at most BUCKETS_AT_A_TIME. */
enum { BUCKETS_AT_A_TIME = 64 };

static void buckets_of(const ranking *ranking, uint32_t first, uint32_t n, int32_t *buckets)
{
    const float most = BUCKETS - 1;
    float greatest = (float)ranking->greatest, distances[BUCKETS_AT_A_TIME];
    for (uint32_t i = 0; i < n; i++)
        distances[i] = ranking->distances != NULL ? (float)ranking->distances[first + i]
                                                  : greatest - ranking->list->logits[first + i];
    for (uint32_t i = 0; i < n; i++) {
        float distance = distances[i] * 16.0f;
        buckets[i] = (int32_t)(distance < most ? distance : most);
    }
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
static uint64_t *sort_buckets(const ranking *ranking, int32_t last, uint32_t *n)
{
    const rad_candidates *list = ranking->list;
    uint64_t *entries = list->spare[0];
    int32_t buckets[BUCKETS_AT_A_TIME];
    uint32_t taken = 0;
    for (uint32_t first = 0, some; first < list->n; first += some) {
        some = list->n - first < BUCKETS_AT_A_TIME ? list->n - first : BUCKETS_AT_A_TIME;
        int32_t least = BUCKETS;
        buckets_of(ranking, first, some, buckets);
        for (uint32_t i = 0; i < some; i++)
            least = buckets[i] < least ? buckets[i] : least;
        for (uint32_t i = 0; i < some && least <= last; i++) {
            entries[taken] = (key_of(ranking, first + i) & ~(uint64_t)UINT32_MAX) | (first + i);
            taken += buckets[i] <= last;
        }
    }
    *n = taken;
    return sort_entries(ranking, entries, list->spare[1], taken);
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
    list->sum = -1.0;
}

/* A heap with the least on top. */
static void sift_down_least(float *heap, uint32_t n, uint32_t at)
{
    float moving = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (!(heap[child] < moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

/* The k-th greatest of n > k values, by a heap of k. */
static float kth_greatest(const float *values, uint32_t n, uint32_t k, float *heap)
{
    memcpy(heap, values, k * sizeof *heap);
    for (uint32_t at = k / 2; at > 0; at--)
        sift_down_least(heap, k, at - 1);
    for (uint32_t i = k; i < n; i++) {
        if (values[i] > heap[0]) {
            heap[0] = values[i];
            sift_down_least(heap, k, 0);
        }
    }
    return heap[0];
}

/* Of blocks of tokens, k + 1 have a greatest logit of at least the (k + 1)th of them, so more than
 * k tokens have that, and only such tokens can be among the k best: few where k is few. */
void rad_candidates_take_top_k(rad_candidates *list, void *memory, const float *logits,
                               uint32_t n_vocab, uint32_t k)
{
    place_list(list, memory, n_vocab);
    uint32_t n_blocks = n_vocab / RAD_SCAN_BLOCK;
    float *maxima = list->spare[0], *heap = list->spare[1], bound = -INFINITY;
    if (k < n_blocks / 4) {
        rad_block_maxima(list->level, logits, n_blocks, maxima);
        bound = kth_greatest(maxima, n_blocks, k + 1, heap);
    }
    if (bound > -INFINITY)
        take_from_blocks(list, logits, n_vocab, maxima, bound);
    else
        rad_candidates_take_all(list, memory, logits, n_vocab);
    if (k >= list->n)
        return;
    ranking by_logit = {list, NULL, rad_scan_logits(list->level, list->logits, list->n).greatest};
    uint32_t counts[BUCKETS] = {0}, seen, n;
    int32_t buckets[BUCKETS_AT_A_TIME], last = 0;
    for (uint32_t first = 0, some; first < list->n; first += some) {
        some = list->n - first < BUCKETS_AT_A_TIME ? list->n - first : BUCKETS_AT_A_TIME;
        buckets_of(&by_logit, first, some, buckets);
        for (uint32_t i = 0; i < some; i++)
            counts[buckets[i]]++;
    }
    for (seen = counts[0]; seen < k; seen += counts[last])
        last++;
    keep_entries(list, sort_buckets(&by_logit, last, &n), k);
}

/* Keeps the best until their weights sum to `wanted` or more. The histogram's sums run in another
 * order, so they only guess how far to sort; where the guess falls short, all are sorted. */
static void keep_mass(rad_candidates *list, const ranking *ranking, double wanted)
{
    double masses[BUCKETS] = {0.0}, mass = 0.0;
    int32_t buckets[BUCKETS_AT_A_TIME], last = 0;
    uint32_t n, taken = 0;
    for (uint32_t first = 0, some; first < list->n; first += some) {
        some = list->n - first < BUCKETS_AT_A_TIME ? list->n - first : BUCKETS_AT_A_TIME;
        buckets_of(ranking, first, some, buckets);
        for (uint32_t i = 0; i < some; i++)
            masses[buckets[i]] += list->weights[first + i];
    }
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

bool rad_candidates_keep_top_p_between(rad_candidates *list, double mass, double least, double most,
                                       float bound)
{
    ranking by_logit = {list, NULL, list->greatest};
    double sum = 0.0;
    if (!(most < INFINITY))
        return false;
    keep_mass(list, &by_logit, mass * most);
    for (uint32_t i = 0; i + 1 < list->n; i++)
        sum += list->weights[i];
    bool fewer_suffice = list->n > 1 && sum >= mass * least;
    sum += list->weights[list->n - 1];
    return !fewer_suffice && sum >= mass * most && list->logits[list->n - 1] > bound;
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
    list->sum = -1.0;
}
