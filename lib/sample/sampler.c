#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "sample/candidates.h"
#include "sample/scan.h"

struct rad_sampler {
    rad_allocator allocator;
    uint32_t n_vocab;
    uint32_t *counts; /* of each token in the history; all zero between calls */
    float *adjusted;  /* logits with bias and penalties: in the place of the list's keys */
    double candidates[];
};

/* ---- making and freeing ------------------------------------------------------------------ */

size_t rad_sampler_bytes(uint32_t n_vocab)
{
    return sizeof(rad_sampler) + (size_t)n_vocab * (RAD_CANDIDATE_BYTES + sizeof(uint32_t));
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
    uint8_t *memory = (uint8_t *)sampler->candidates;
    sampler->counts = (uint32_t *)(void *)(memory + (size_t)n_vocab * RAD_CANDIDATE_BYTES);
    sampler->adjusted =
        (float *)(void *)(memory + (size_t)n_vocab * (RAD_CANDIDATE_BYTES - sizeof(double)));
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

/* Fails on NaN and +infinity, and where nothing is above -infinity. */
static radllm_status check_logits(const float *logits, uint32_t n_vocab, bool adjusted,
                                  rad_logit_scan *scan, radllm_error *error)
{
    *scan = rad_scan_logits(rad_vector_level(), logits, n_vocab);
    for (uint32_t i = 0; !scan->finite && i < n_vocab; i++) {
        if (!(logits[i] < INFINITY))
            return fail_logit(error, i, logits[i], adjusted ? " after bias and penalties" : "");
    }
    return scan->greatest > -INFINITY ? RADLLM_OK : fail_nothing_left(error, adjusted);
}

static bool has_penalties(const rad_sampler_settings *settings)
{
    return settings->repeat_penalty != 1.0f || settings->frequency_penalty != 0.0f ||
           settings->presence_penalty != 0.0f;
}

/* The tail of the history that the penalties look at. */
static const int32_t *penalised_history(const rad_sampler_settings *settings,
                                        const int32_t *history, size_t *n_history)
{
    size_t n = *n_history;
    if (!has_penalties(settings))
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
            float *logit = &sampler->adjusted[history[i]];
            *logit = penalise(settings, *logit, *count);
            *count = 0;
        }
    }
}

/* The logits, biased and penalised. */
static void adjust(rad_sampler *sampler, const rad_sampler_settings *settings, const float *logits,
                   uint32_t n_vocab, const int32_t *history, size_t n_history)
{
    memcpy(sampler->adjusted, logits, n_vocab * sizeof *logits);
    for (size_t i = 0; i < settings->n_biases; i++) {
        float *logit = &sampler->adjusted[settings->biases[i].token];
        *logit = *logit + settings->biases[i].bias;
    }
    apply_penalties(sampler, settings, n_vocab, history, n_history);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int32_t choose(rad_candidates *list, double temperature, double unit)
{
    double target = unit * rad_candidates_make_weights(list, temperature), sum = 0.0;
    int32_t last = list->tokens[0];
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->weights[i] <= 0.0)
            continue;
        last = list->tokens[i];
        sum += list->weights[i];
        if (sum > target)
            break;
    }
    return last;
}

/* Min-p alone compares weights with the greatest, 1: tokens far below that need none. The margin is
 * far above the errors of exp and ln. */
static bool is_min_p_alone(const rad_sampler_settings *settings)
{
    return settings->typical_p >= 1.0f && settings->top_p >= 1.0f && settings->min_p > 0.0f;
}

static float min_p_bound(const rad_sampler_settings *settings, float greatest)
{
    double bound = (double)greatest + rad_ln(settings->min_p) - 1e-3;
    return (float)(bound - 1e-6 * fabs(bound));
}

static void take_candidates(rad_candidates *list, const rad_sampler_settings *settings,
                            void *memory, const float *logits, uint32_t n_vocab, float greatest)
{
    if (settings->top_k > 0) {
        rad_candidates_take_top_k(list, memory, logits, n_vocab, (uint32_t)settings->top_k);
    } else if (is_min_p_alone(settings)) {
        rad_candidates_take_above(list, memory, logits, n_vocab, min_p_bound(settings, greatest));
    } else {
        rad_candidates_take_all(list, memory, logits, n_vocab);
    }
}

static bool is_top_p_first(const rad_sampler_settings *settings)
{
    return settings->top_k == 0 && settings->typical_p >= 1.0f && settings->top_p < 1.0f;
}

static bool truncates(const rad_sampler_settings *settings)
{
    return settings->typical_p < 1.0f || settings->top_p < 1.0f || settings->min_p > 0.0f;
}

static void truncate(rad_candidates *list, const rad_sampler_settings *settings)
{
    if (!truncates(settings))
        return;
    rad_candidates_make_weights(list, 1.0);
    if (settings->typical_p < 1.0f)
        rad_candidates_keep_typical(list, settings->typical_p);
    if (settings->top_p < 1.0f)
        rad_candidates_keep_top_p(list, settings->top_p);
    if (settings->min_p > 0.0f)
        rad_candidates_keep_min_p(list, settings->min_p);
}

/* ---- choosing from the best ------------------------------------------------------------------ */

static bool raises_logits(const rad_sampler_settings *settings)
{
    bool raises = settings->repeat_penalty < 1.0f || settings->frequency_penalty < 0.0f ||
                  settings->presence_penalty < 0.0f;
    for (size_t i = 0; i < settings->n_biases; i++)
        raises = raises || settings->biases[i].bias > 0.0f;
    return raises;
}

bool rad_sampler_can_narrow(const rad_sampler_settings *settings, uint32_t n_vocab)
{
    bool min_p = settings->top_k == 0 && is_min_p_alone(settings);
    bool top_k = settings->top_k > 0 && settings->top_k < RAD_BEST_TOKENS;
    return (settings->temperature == 0.0f || top_k || min_p || is_top_p_first(settings)) &&
           !raises_logits(settings) && check_settings(settings, n_vocab, NULL) == RADLLM_OK;
}

/* As adjust(), of the best. Returns how many other tokens were changed, at most. */
static size_t adjust_best(rad_sampler *sampler, const rad_sampler_settings *settings,
                          const rad_best_tokens *best, uint32_t n_vocab, const int32_t *history,
                          size_t n_history)
{
    float *adjusted = sampler->adjusted;
    size_t n_others = 0;
    for (uint32_t i = 0; i < best->n; i++)
        adjusted[i] = best->list[i].logit;
    for (size_t b = 0; b < settings->n_biases; b++) {
        uint32_t token = (uint32_t)settings->biases[b].token, low = 0, high = best->n;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (best->list[middle].token < token)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < best->n && best->list[low].token == token)
            adjusted[low] = adjusted[low] + settings->biases[b].bias;
        else
            n_others++;
    }
    for (size_t i = 0; i < n_history; i++) {
        if (history[i] >= 0 && (uint32_t)history[i] < n_vocab)
            sampler->counts[history[i]]++;
    }
    for (uint32_t i = 0; i < best->n; i++) {
        uint32_t *count = &sampler->counts[best->list[i].token];
        if (*count > 0)
            adjusted[i] = penalise(settings, adjusted[i], *count);
        *count = 0;
    }
    for (size_t i = 0; i < n_history; i++) {
        if (history[i] >= 0 && (uint32_t)history[i] < n_vocab) {
            n_others += sampler->counts[history[i]] > 0;
            sampler->counts[history[i]] = 0;
        }
    }
    return n_others;
}

/* Tokens besides the best have no logit above this one, and nothing raised it since. */
static float least_of(const rad_best_tokens *best)
{
    float least = INFINITY;
    for (uint32_t i = 0; i < best->n; i++)
        least = best->list[i].logit < least ? best->list[i].logit : least;
    return least;
}

static bool best_decide(const rad_sampler_settings *settings, const rad_best_tokens *best,
                        const float *adjusted, bool changed, float greatest)
{
    float least = least_of(best);
    uint32_t n_above = 0, n_left = 0,
             k = settings->temperature == 0.0f ? 1 : (uint32_t)settings->top_k;
    if (settings->temperature != 0.0f && k == 0)
        return least < min_p_bound(settings, greatest);
    for (uint32_t i = 0; i < best->n; i++) {
        n_above += adjusted[i] > least;
        n_left += adjusted[i] > -INFINITY;
    }
    return changed ? n_above >= k && n_left > k : best->n > k;
}

/* Top-p of the list, the best with bias and penalties, where other tokens are left: their weights
 * together are the mass without the best's, less at most what n_lowered of them lost. False where
 * this leaves open how many stay. */
static bool keep_top_p_of_best(rad_candidates *list, double top_p, const rad_best_tokens *best,
                               size_t n_lowered)
{
    const double error = 2e-6; /* of the mass, and of sums in another order */
    float least = least_of(best), greatest = -INFINITY;
    double here = rad_candidates_make_weights(list, 1.0), before = 0.0;
    if (!(best->mass > 0.0))
        return false;
    for (uint32_t i = 0; i < best->n; i++)
        greatest = best->list[i].logit > greatest ? best->list[i].logit : greatest;
    for (uint32_t i = 0; i < best->n; i++)
        before += rad_exp((double)best->list[i].logit - greatest);
    double unit = rad_exp((double)greatest - list->greatest);
    double others = best->mass > before ? (best->mass - before) * unit : 0.0;
    double lost = (double)n_lowered * rad_exp((double)least - list->greatest);
    double doubt = error * (here + best->mass * unit);
    double fewest = here + (others > lost ? others - lost : 0.0) - doubt;
    return rad_candidates_keep_top_p_between(list, top_p, fewest, here + others + doubt, least);
}

int32_t rad_sampler_choose_best(rad_sampler *sampler, const rad_sampler_settings *settings,
                                const rad_best_tokens *best, uint32_t n_vocab,
                                const int32_t *history, size_t n_history, uint32_t choice,
                                uint64_t position)
{
    if (best->n == 0 || best->n > n_vocab || n_vocab > sampler->n_vocab ||
        !rad_sampler_can_narrow(settings, n_vocab))
        return -1;
    history = penalised_history(settings, history, &n_history);
    size_t n_others = adjust_best(sampler, settings, best, n_vocab, history, n_history);
    const float *logits = sampler->adjusted;
    bool changed = settings->n_biases > 0 || n_history > 0;
    rad_logit_scan scan = rad_scan_logits(rad_vector_level(), logits, best->n);
    for (uint32_t i = 0; !scan.finite && i < best->n; i++) {
        if (!(logits[i] < INFINITY))
            return -1;
    }
    bool open_top_p = settings->temperature != 0.0f && is_top_p_first(settings) && !best->all;
    if (!(scan.greatest > -INFINITY) ||
        (!best->all && !open_top_p && !best_decide(settings, best, logits, changed, scan.greatest)))
        return -1;
    if (settings->temperature == 0.0f)
        return (int32_t)best->list[scan.first].token;
    rad_candidates list;
    take_candidates(&list, settings, sampler->candidates, logits, best->n, scan.greatest);
    if (open_top_p) {
        if (!keep_top_p_of_best(&list, settings->top_p, best, n_others))
            return -1;
        if (settings->min_p > 0.0f)
            rad_candidates_keep_min_p(&list, settings->min_p);
    } else {
        truncate(&list, settings);
    }
    double unit = rad_random_unit(settings->seed, choice, position);
    return (int32_t)best->list[choose(&list, settings->temperature, unit)].token;
}

/* Whether the logits stay as they are. */
static bool changes_nothing(const rad_sampler_settings *settings, uint32_t n_vocab)
{
    return settings->n_biases == 0 && (!has_penalties(settings) || settings->penalty_last_n == 0) &&
           check_settings(settings, n_vocab, NULL) == RADLLM_OK;
}

bool rad_sampler_is_greedy(const rad_sampler_settings *settings, uint32_t n_vocab)
{
    return settings->temperature == 0.0f && changes_nothing(settings, n_vocab);
}

bool rad_sampler_is_plain(const rad_sampler_settings *settings, uint32_t n_vocab)
{
    bool all = settings->top_k == 0 || (uint32_t)settings->top_k >= n_vocab;
    return settings->temperature > 0.0f && all && !truncates(settings) &&
           changes_nothing(settings, n_vocab);
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
    rad_logit_scan scan;
    history = penalised_history(settings, history, &n_history);
    if (settings->n_biases > 0 || n_history > 0) {
        /* Neither makes a logit that is not finite finite, so that one scan does; the logits as
         * they were are looked at for the message. */
        adjust(sampler, settings, logits, n_vocab, history, n_history);
        status = check_logits(sampler->adjusted, n_vocab, true, &scan, error);
        if (status != RADLLM_OK) {
            radllm_status before = check_logits(logits, n_vocab, false, &scan, error);
            return before != RADLLM_OK ? before : status;
        }
        logits = sampler->adjusted;
    } else {
        status = check_logits(logits, n_vocab, false, &scan, error);
        if (status != RADLLM_OK)
            return status;
    }
    if (settings->temperature == 0.0f) {
        *token = (int32_t)scan.first;
        return RADLLM_OK;
    }
    rad_candidates list;
    take_candidates(&list, settings, sampler->candidates, logits, n_vocab, scan.greatest);
    truncate(&list, settings);
    double unit = rad_random_unit(settings->seed, choice, position);
    *token = choose(&list, settings->temperature, unit);
    return RADLLM_OK;
}
