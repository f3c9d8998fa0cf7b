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
    double sum;                   /* of the weights, in order; negative: not known */
    int level;                    /* of vectors */
    void *spare[2];               /* 8 bytes for each token, as logits and tokens together have */
    double *keys;
} rad_candidates;

#define RAD_CANDIDATE_BYTES 40

/* memory: RAD_CANDIDATE_BYTES for each token, aligned to 8. The logits are finite or -infinity;
 * they may stand in the last 8 bytes' part of the memory. All tokens above -infinity. */
void rad_candidates_take_all(rad_candidates *list, void *memory, const float *logits,
                             uint32_t n_vocab);
/* Those of `bound` or more, too. */
void rad_candidates_take_above(rad_candidates *list, void *memory, const float *logits,
                               uint32_t n_vocab, float bound);
/* The k best, best first; all by id where there are no more than k. */
void rad_candidates_take_top_k(rad_candidates *list, void *memory, const float *logits,
                               uint32_t n_vocab, uint32_t k);
/* Returns their sum. */
double rad_candidates_make_weights(rad_candidates *list, double temperature);
double rad_candidates_sum(rad_candidates *list);
/* What they keep is said at rad_sampler_choose(); they need weights at temperature 1. */
void rad_candidates_keep_typical(rad_candidates *list, double mass);
void rad_candidates_keep_top_p(rad_candidates *list, double mass);
/* The same where other tokens stay besides, all with logits below `bound`, and the sum of all
 * weights is only known to be from `least` to `most`: whether that decides it. */
bool rad_candidates_keep_top_p_between(rad_candidates *list, double mass, double least, double most,
                                       float bound);
void rad_candidates_keep_min_p(rad_candidates *list, double fraction);

#endif
