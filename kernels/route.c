#include "kernels/route.h"

#include <math.h>
#include <string.h>

#include "base/numeric_f32.h"

/* The greatest of n numbers; -infinity when there are none. NaN is left out. */
static float greatest(const float *x, uint32_t n)
{
    float most = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* y = softmax(x); in place is allowed. */
static void softmax(const float *x, uint32_t n, float *y)
{
    float most = greatest(x, n), sum = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        y[i] = rad_expf(x[i] - most);
        sum += y[i];
    }
    for (uint32_t i = 0; i < n; i++)
        y[i] /= sum;
}

static void make_scores(const rad_router *router, const float *logits, float *scores)
{
    uint32_t n = router->n_experts;
    if (router->gating == RAD_GATING_SOFTMAX) {
        softmax(logits, n, scores);
    } else if (router->gating == RAD_GATING_SIGMOID) {
        for (uint32_t i = 0; i < n; i++)
            scores[i] = 1.0f / (1.0f + rad_expf(-logits[i]));
    } else {
        memcpy(scores, logits, n * sizeof *scores);
    }
}

/* The best of those that are not taken yet; NaN comes last, as minus infinity. */
static uint32_t take_best(const float *ranks, uint32_t n, bool *taken)
{
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (!taken[i] && (best == n || ranks[i] > ranks[best]))
            best = i;
    }
    taken[best] = true;
    return best;
}

/* Marks the experts of the groups that are not looked at as taken. */
static void take_groups(const rad_router *router, const float *ranks, bool *taken)
{
    uint32_t size = router->n_experts / router->n_groups;
    float groups[RAD_MAX_EXPERTS];
    bool used[RAD_MAX_EXPERTS] = {false};
    for (uint32_t g = 0; g < router->n_groups; g++) {
        const float *members = ranks + (size_t)g * size;
        bool counted[RAD_MAX_EXPERTS] = {false};
        groups[g] = 0.0f;
        for (uint32_t i = 0; i < router->group_best && i < size; i++)
            groups[g] += members[take_best(members, size, counted)];
        groups[g] = groups[g] == groups[g] ? groups[g] : -INFINITY; /* infinities of both signs */
    }
    for (uint32_t i = 0; i < router->n_groups_used; i++)
        take_best(groups, router->n_groups, used);
    for (uint32_t e = 0; e < router->n_experts; e++)
        taken[e] = !used[e / size];
}

static void weigh(const rad_router *router, float *weights)
{
    uint32_t n = router->n_used;
    if (router->gating == RAD_GATING_CHOSEN)
        softmax(weights, n, weights);
    if (router->normalise) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < n; i++)
            sum += weights[i];
        for (uint32_t i = 0; i < n; i++)
            weights[i] /= sum + 1e-20f;
    }
    for (uint32_t i = 0; router->scale != 1.0f && i < n; i++)
        weights[i] *= router->scale;
}

/* A softmax over all, divided by the sum of the chosen, is the softmax of the chosen but for
 * rounding, and there nothing can underflow. Not where a bias is added to the scores: it decides
 * between probabilities. */
static rad_router simplified(const rad_router *router, bool has_bias)
{
    rad_router same = *router;
    if (router->gating == RAD_GATING_SOFTMAX && router->normalise && !has_bias) {
        same.gating = RAD_GATING_CHOSEN;
        same.normalise = false;
    }
    return same;
}

void rad_route(const rad_router *described, const float *logits, const float *bias,
               uint32_t *experts, float *weights)
{
    const rad_router simple = simplified(described, bias != NULL), *router = &simple;
    float scores[RAD_MAX_EXPERTS], ranks[RAD_MAX_EXPERTS];
    bool taken[RAD_MAX_EXPERTS] = {false}, all_numbers = true;
    uint32_t n = router->n_experts;
    make_scores(router, logits, scores);
    for (uint32_t i = 0; i < n; i++) {
        ranks[i] = bias != NULL ? scores[i] + bias[i] : scores[i];
        if (!(ranks[i] == ranks[i])) {
            all_numbers = false;
            ranks[i] = -INFINITY;
        }
    }
    if (router->n_groups > 1)
        take_groups(router, ranks, taken);
    for (uint32_t i = 0; i < router->n_used; i++) {
        experts[i] = take_best(ranks, n, taken);
        weights[i] = scores[experts[i]];
    }
    weigh(router, weights);
    for (uint32_t i = 0; i < router->n_used && !all_numbers; i++)
        weights[i] = NAN;
}
