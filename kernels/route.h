/* Routing of a mixture of experts: which experts a token goes to, and with which weights. One
 * function for all families, described by a rad_router. Plain C, the same for every instruction
 * set: its bits depend on the token's logits only. */
#ifndef RAD_ROUTE_H
#define RAD_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

/* Bounds that no real model reaches. */
#define RAD_MAX_EXPERTS      1024
#define RAD_MAX_EXPERTS_USED 128

/* How logits become scores. */
typedef enum rad_gating {
    RAD_GATING_SOFTMAX, /* over all experts */
    RAD_GATING_SIGMOID, /* each by itself (DeepSeek-V3) */
    RAD_GATING_CHOSEN   /* softmax over the chosen experts (Mixtral, gpt-oss) */
} rad_gating;

typedef struct rad_router {
    uint32_t n_experts; /* 0: a dense model */
    uint32_t n_used;    /* 1 to n_experts */
    /* Experts stand in n_groups groups of the same size, of which only the n_groups_used best are
     * looked at; 1, 1: no groups. A group is as good as the sum of its group_best best scores. */
    uint32_t n_groups, n_groups_used, group_best;
    rad_gating gating;
    bool normalise; /* weights are divided by their sum */
    float scale;    /* weights are multiplied with it, at the end */
} rad_router;

/* Routes one token.
 *
 * - score: softmax p_e = exp(x_e - max) / sum of exp(x - max) by increasing e; sigmoid
 *   1 / (1 + exp(-x_e)); chosen: x_e itself.
 * - rank = score + bias, where there is a bias (n_experts values, or NULL): it decides who is
 *   chosen and nothing else.
 * - groups, then experts in them, are taken by decreasing rank; ties go to the lower id.
 * - weight: the score; for `chosen`, softmax of the chosen scores in the order of choice. With
 *   normalise: divided by (sum of the chosen in that order + 1e-20). Then times scale. A softmax
 *   with normalise and without bias is computed as `chosen`.
 *
 * experts and weights receive n_used values, the best first. When a logit (or bias) is not a
 * number, all weights are NaN, so that it is noticed; the experts are still different and in range.
 */
void rad_route(const rad_router *described, const float *logits, const float *bias,
               uint32_t *experts, float *weights);

#endif
