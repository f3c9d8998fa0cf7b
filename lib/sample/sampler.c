#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"

/* A token that may still be chosen. */
typedef struct candidate {
    double key;    /* what the stage at hand sorts by: greater is better */
    double weight; /* e^(logit - greatest logit) */
    float logit;
    int32_t token;
} candidate;

struct rad_sampler {
    rad_allocator allocator;
    uint32_t n_vocab;
    uint32_t *counts; /* of each token in the history; all zero between calls */
    candidate candidates[];
};

/* The tokens left, in candidates[0..n). */
typedef struct candidate_list {
    candidate *items;
    uint32_t n;
    double greatest; /* logit, when the weights were made */
} candidate_list;

/* ---- making and freeing ------------------------------------------------------------------ */

size_t rad_sampler_bytes(uint32_t n_vocab)
{
    return sizeof(rad_sampler) + (size_t)n_vocab * (sizeof(candidate) + sizeof(uint32_t));
}

radllm_status rad_sampler_create(const rad_allocator *allocator, uint32_t n_vocab,
                                 rad_sampler **out, radllm_error *error)
{
    *out = NULL;
    if (n_vocab == 0 || n_vocab > INT32_MAX / 32)
        return rad_fail(error, RADLLM_E_ARGUMENT, "a vocabulary of %u tokens cannot be sampled",
                        n_vocab);
    size_t bytes = rad_sampler_bytes(n_vocab);
    rad_sampler *sampler = rad_alloc_zero(allocator, bytes);
    if (sampler == NULL)
        return rad_fail_memory(error, bytes);
    sampler->allocator = *allocator;
    sampler->n_vocab = n_vocab;
    sampler->counts = (uint32_t *)(void *)(sampler->candidates + n_vocab);
    *out = sampler;
    return RADLLM_OK;
}

void rad_sampler_free(rad_sampler *sampler)
{
    if (sampler == NULL)
        return;
    rad_allocator allocator = sampler->allocator;
    rad_free(&allocator, sampler, rad_sampler_bytes(sampler->n_vocab));
}

/* ---- checks -------------------------------------------------------------------------------- */

static bool in_range(float value, float low, float high)
{
    return value >= low && value <= high; /* false for NaN */
}

static radllm_status out_of_range(radllm_error *error, const char *name, float value,
                                  const char *range)
{
    return rad_fail(error, RADLLM_E_ARGUMENT, "%s is %g; give %s", name, (double)value, range);
}

static radllm_status check_settings(const rad_sampler_settings *settings, uint32_t n_vocab,
                                    radllm_error *error)
{
    const float most = 3e38f;
    if (!in_range(settings->temperature, 0.0f, most))
        return out_of_range(error, "temperature", settings->temperature, "0 or more");
    if (settings->top_k < 0)
        return rad_fail(error, RADLLM_E_ARGUMENT, "top_k is %d; give 0 (off) or more",
                        settings->top_k);
    if (!in_range(settings->top_p, 0.0f, 1.0f))
        return out_of_range(error, "top_p", settings->top_p, "a number from 0 to 1 (off)");
    if (!in_range(settings->min_p, 0.0f, 1.0f))
        return out_of_range(error, "min_p", settings->min_p, "a number from 0 (off) to 1");
    if (!in_range(settings->typical_p, 0.0f, 1.0f))
        return out_of_range(error, "typical_p", settings->typical_p, "a number from 0 to 1 (off)");
    if (!in_range(settings->repeat_penalty, 1e-6f, 1e6f))
        return out_of_range(error, "repeat_penalty", settings->repeat_penalty,
                            "a number above 0; 1 is off");
    if (!in_range(settings->frequency_penalty, -1e6f, 1e6f))
        return out_of_range(error, "frequency_penalty", settings->frequency_penalty,
                            "a number of ordinary size; 0 is off");
    if (!in_range(settings->presence_penalty, -1e6f, 1e6f))
        return out_of_range(error, "presence_penalty", settings->presence_penalty,
                            "a number of ordinary size; 0 is off");
    if (settings->penalty_last_n < -1)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "penalty_last_n is %d; give -1 (all), 0 (off) or more",
                        settings->penalty_last_n);
    for (size_t i = 0; i < settings->n_biases; i++) {
        const rad_logit_bias *bias = &settings->biases[i];
        if (bias->token < 0 || (uint32_t)bias->token >= n_vocab)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "logit bias for token %d; the vocabulary has the ids 0 to %u",
                            bias->token, n_vocab - 1);
        if (!(bias->bias <= most))
            return out_of_range(error, "a logit bias", bias->bias, "a number or -infinity");
    }
    return RADLLM_OK;
}

static radllm_status fail_logit(radllm_error *error, uint32_t token, float logit, const char *when)
{
    return rad_fail(error, RADLLM_E_NUMERIC,
                    "the logit of token %u is %s%s; the model file is damaged, or its numbers "
                    "overflow on this input",
                    token, logit != logit ? "not a number" : "infinite", when);
}

static radllm_status fail_nothing_left(radllm_error *error, bool by_bias)
{
    if (by_bias)
        return rad_fail(error, RADLLM_E_NUMERIC,
                        "the logit bias forbids every token; allow at least one");
    return rad_fail(error, RADLLM_E_NUMERIC,
                    "every logit is -infinity; the model file is damaged, or its numbers overflow "
                    "on this input");
}

/* ---- bias and penalties ---------------------------------------------------------------------- */

/* Fails on NaN and +infinity; *any is false when all are -infinity. */
static radllm_status check_logits(const float *logits, uint32_t n_vocab, bool *any,
                                  radllm_error *error)
{
    uint32_t bad = 0;
    float greatest = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++) {
        bad |= !(logits[i] < INFINITY);
        greatest = logits[i] > greatest ? logits[i] : greatest;
    }
    *any = greatest > -INFINITY;
    for (uint32_t i = 0; bad != 0 && i < n_vocab; i++) {
        if (!(logits[i] < INFINITY))
            return fail_logit(error, i, logits[i], "");
    }
    return RADLLM_OK;
}

/* The tail of the history that the penalties look at. */
static const int32_t *penalised_history(const rad_sampler_settings *settings,
                                        const int32_t *history, size_t *n_history)
{
    bool off = settings->repeat_penalty == 1.0f && settings->frequency_penalty == 0.0f &&
               settings->presence_penalty == 0.0f;
    size_t n = *n_history;
    if (off)
        n = 0;
    else if (settings->penalty_last_n >= 0 && (size_t)settings->penalty_last_n < n)
        n = (size_t)settings->penalty_last_n;
    const int32_t *tail = n > 0 ? history + (*n_history - n) : NULL;
    *n_history = n;
    return tail;
}

static float penalise(const rad_sampler_settings *settings, float logit, uint32_t count)
{
    if (logit > 0.0f)
        logit = logit / settings->repeat_penalty;
    else
        logit = logit * settings->repeat_penalty;
    float frequency = (float)count * settings->frequency_penalty;
    return logit - (frequency + settings->presence_penalty);
}

/* Each token once: its count goes back to 0 when it is met first. */
static void apply_penalties(rad_sampler *sampler, const rad_sampler_settings *settings,
                            uint32_t n_vocab, const int32_t *history, size_t n_history)
{
    for (size_t i = 0; i < n_history; i++) {
        if (history[i] >= 0 && (uint32_t)history[i] < n_vocab)
            sampler->counts[history[i]]++;
    }
    for (size_t i = 0; i < n_history; i++) {
        if (history[i] < 0 || (uint32_t)history[i] >= n_vocab)
            continue;
        uint32_t *count = &sampler->counts[history[i]];
        if (*count > 0) {
            float *logit = &sampler->candidates[history[i]].logit;
            *logit = penalise(settings, *logit, *count);
            *count = 0;
        }
    }
}

/* Fills the list with all tokens whose logits, biased and penalised, are above -infinity. */
static radllm_status make_list(rad_sampler *sampler, const rad_sampler_settings *settings,
                               const float *logits, uint32_t n_vocab, const int32_t *history,
                               size_t n_history, candidate_list *list, radllm_error *error)
{
    candidate *items = sampler->candidates;
    for (uint32_t i = 0; i < n_vocab; i++) {
        items[i].logit = logits[i];
        items[i].token = (int32_t)i;
    }
    for (size_t i = 0; i < settings->n_biases; i++) {
        float *logit = &items[settings->biases[i].token].logit;
        *logit = *logit + settings->biases[i].bias;
    }
    apply_penalties(sampler, settings, n_vocab, history, n_history);
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!(items[i].logit < INFINITY))
            return fail_logit(error, i, items[i].logit, " after bias and penalties");
        if (items[i].logit > -INFINITY)
            items[n++] = items[i];
    }
    if (n == 0)
        return fail_nothing_left(error, true);
    list->items = items;
    list->n = n;
    return RADLLM_OK;
}

static int32_t greatest_of(const float *logits, uint32_t n_vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return (int32_t)best;
}

static int32_t greatest_in(const candidate_list *list)
{
    uint32_t best = 0; /* by rising id here */
    for (uint32_t i = 1; i < list->n; i++) {
        if (list->items[i].logit > list->items[best].logit)
            best = i;
    }
    return list->items[best].token;
}

/* ---- sorting only as far as needed
 * --------------------------------------------------------------- */

/* A total order: ids differ. */
static bool better(const candidate *a, const candidate *b)
{
    return a->key > b->key || (a->key == b->key && a->token < b->token);
}

/* A heap with the best on top. */
static void sift_down(candidate *items, uint32_t n, uint32_t at)
{
    candidate moving = items[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && better(&items[child + 1], &items[child]))
            child++;
        if (!better(&items[child], &moving))
            break;
        items[at] = items[child];
        at = child;
    }
    items[at] = moving;
}

static void make_heap(candidate_list *list)
{
    for (uint32_t at = list->n / 2; at > 0; at--)
        sift_down(list->items, list->n, at - 1);
}

/* Moves the best of the n left in the heap behind them and returns it. */
static const candidate *take_best(candidate_list *list, uint32_t n)
{
    candidate best = list->items[0];
    list->items[0] = list->items[n - 1];
    list->items[n - 1] = best;
    sift_down(list->items, n - 1, 0);
    return &list->items[n - 1];
}

/* The n_taken at the end, best last, become the list, best first. */
static void keep_taken(candidate_list *list, uint32_t n_taken)
{
    for (uint32_t low = 0, high = list->n - 1; low < n_taken && low < high; low++, high--) {
        candidate other = list->items[low];
        list->items[low] = list->items[high];
        list->items[high] = other;
    }
    list->n = n_taken;
}

/* ---- the stages --------------------------------------------------------------------------------
 */

static void keep_top_k(candidate_list *list, uint32_t k)
{
    if (k >= list->n)
        return;
    for (uint32_t i = 0; i < list->n; i++)
        list->items[i].key = list->items[i].logit;
    make_heap(list);
    for (uint32_t i = 0; i < k; i++)
        (void)take_best(list, list->n - i);
    keep_taken(list, k);
}

static void make_weights(candidate_list *list, double temperature)
{
    double greatest = -INFINITY;
    for (uint32_t i = 0; i < list->n; i++) {
        double logit = list->items[i].logit;
        greatest = logit > greatest ? logit : greatest;
    }
    for (uint32_t i = 0; i < list->n; i++) {
        double below = (double)list->items[i].logit - greatest;
        list->items[i].weight = rad_exp(below / temperature);
    }
    list->greatest = greatest;
}

static double sum_of_weights(const candidate_list *list)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        sum += list->items[i].weight;
    return sum;
}

/* Keeps the best by key until their weights sum to `wanted` or more. */
static void keep_mass(candidate_list *list, double wanted)
{
    make_heap(list);
    double sum = 0.0;
    uint32_t taken = 0;
    while (taken < list->n) {
        sum += take_best(list, list->n - taken)->weight;
        taken++;
        if (sum >= wanted)
            break;
    }
    keep_taken(list, taken);
}

static void keep_typical(candidate_list *list, double mass)
{
    double sum = sum_of_weights(list), log_sum = rad_ln(sum), entropy = 0.0;
    for (uint32_t i = 0; i < list->n; i++) {
        candidate *item = &list->items[i];
        double log_probability = ((double)item->logit - list->greatest) - log_sum;
        entropy -= item->weight / sum * log_probability;
        item->key = log_probability;
    }
    for (uint32_t i = 0; i < list->n; i++) {
        double distance = -list->items[i].key - entropy;
        list->items[i].key = distance < 0.0 ? distance : -distance;
    }
    keep_mass(list, mass * sum);
}

static void keep_top_p(candidate_list *list, double mass)
{
    for (uint32_t i = 0; i < list->n; i++)
        list->items[i].key = list->items[i].logit;
    keep_mass(list, mass * sum_of_weights(list));
}

static void keep_min_p(candidate_list *list, double fraction)
{
    double greatest = 0.0;
    for (uint32_t i = 0; i < list->n; i++)
        greatest = list->items[i].weight > greatest ? list->items[i].weight : greatest;
    uint32_t n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->items[i].weight >= fraction * greatest)
            list->items[n++] = list->items[i];
    }
    list->n = n;
}

static int32_t choose(candidate_list *list, double temperature, double unit)
{
    make_weights(list, temperature);
    double target = unit * sum_of_weights(list), sum = 0.0;
    int32_t last = list->items[0].token;
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->items[i].weight <= 0.0)
            continue;
        last = list->items[i].token;
        sum += list->items[i].weight;
        if (sum > target)
            break;
    }
    return last;
}

static void truncate(candidate_list *list, const rad_sampler_settings *settings)
{
    if (settings->top_k > 0)
        keep_top_k(list, (uint32_t)settings->top_k);
    if (settings->typical_p >= 1.0f && settings->top_p >= 1.0f && settings->min_p <= 0.0f)
        return;
    make_weights(list, 1.0);
    if (settings->typical_p < 1.0f)
        keep_typical(list, settings->typical_p);
    if (settings->top_p < 1.0f)
        keep_top_p(list, settings->top_p);
    if (settings->min_p > 0.0f)
        keep_min_p(list, settings->min_p);
}

radllm_status rad_sampler_choose(rad_sampler *sampler, const rad_sampler_settings *settings,
                                 const float *logits, uint32_t n_vocab, const int32_t *history,
                                 size_t n_history, uint32_t choice, uint64_t position,
                                 int32_t *token, radllm_error *error)
{
    *token = -1;
    if (n_vocab == 0 || n_vocab > sampler->n_vocab)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%u logits were given to a sampler made for 1 to %u tokens", n_vocab,
                        sampler->n_vocab);
    radllm_status status = check_settings(settings, n_vocab, error);
    if (status != RADLLM_OK)
        return status;
    bool any = false;
    status = check_logits(logits, n_vocab, &any, error);
    if (status != RADLLM_OK)
        return status;
    if (!any)
        return fail_nothing_left(error, false);
    history = penalised_history(settings, history, &n_history);
    if (settings->temperature == 0.0f && settings->n_biases == 0 && n_history == 0) {
        *token = greatest_of(logits, n_vocab);
        return RADLLM_OK;
    }
    candidate_list list = {sampler->candidates, 0, 0.0};
    status = make_list(sampler, settings, logits, n_vocab, history, n_history, &list, error);
    if (status != RADLLM_OK)
        return status;
    if (settings->temperature == 0.0f) {
        *token = greatest_in(&list);
        return RADLLM_OK;
    }
    truncate(&list, settings);
    double unit = rad_random_unit(settings->seed, choice, position);
    *token = choose(&list, settings->temperature, unit);
    return RADLLM_OK;
}
