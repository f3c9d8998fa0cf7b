/* The tokens that may still be chosen, and what narrows them. A stage that sorts takes only as much
 * as it keeps: a histogram of the keys says which tokens can be among them. */
#ifndef RAD_CANDIDATES_H
#define RAD_CANDIDATES_H

#include "base/base.h"

/* logits[i], tokens[i] for i < n: by rising id at first, best first behind a stage that sorts.
 * weights[i] = e^((logit - greatest) / temperature). */
typedef struct rad_candidates {
    float *logits;
    int32_t *tokens;
    double *weights;
    uint32_t n;
    double greatest, temperature; /* of the weights; temperature 0: there are none yet */
    void *spare[2];               /* 8 bytes for each token, as logits and tokens together have */
    double *keys;
} rad_candidates;

#define RAD_CANDIDATE_BYTES 40

/* The greatest logit (-infinity for none); *finite is false when one is NaN or +infinity. */
float rad_greatest_logit(const float *logits, uint32_t n, bool *finite);
/* The first token with this logit, which one has. */
int32_t rad_first_of(const float *logits, uint32_t n, float logit);

/* memory: RAD_CANDIDATE_BYTES for each token, aligned to 8. All tokens above -infinity. */
void rad_candidates_take_all(rad_candidates *list, void *memory, const float *logits,
                             uint32_t n_vocab);
void rad_candidates_make_weights(rad_candidates *list, double temperature);
double rad_candidates_sum(const rad_candidates *list);
/* What they keep is said at rad_sampler_choose(); the last three need weights at temperature 1. */
void rad_candidates_keep_top_k(rad_candidates *list, uint32_t k);
void rad_candidates_keep_typical(rad_candidates *list, double mass);
void rad_candidates_keep_top_p(rad_candidates *list, double mass);
void rad_candidates_keep_min_p(rad_candidates *list, double fraction);

#endif
