/* lib/sample: from logits to a token: penalties, bias, truncation, random choice,
 * log-probabilities. Nothing here knows how logits are made. */
#ifndef RAD_SAMPLER_H
#define RAD_SAMPLER_H

#include "base/base.h"

typedef struct rad_logit_bias {
    int32_t token;
    float bias; /* -infinity forbids the token */
} rad_logit_bias;

/* The defaults in brackets change nothing. */
typedef struct rad_sampler_settings {
    uint64_t seed;
    float temperature;       /* 0: greedy, ties to the lower id */
    int32_t top_k;           /* [0] */
    float top_p;             /* [1] */
    float min_p;             /* [0] */
    float typical_p;         /* [1] */
    float repeat_penalty;    /* [1] divides positive logits, multiplies negative ones */
    float frequency_penalty; /* [0] times the count */
    float presence_penalty;  /* [0] */
    int32_t penalty_last_n;  /* tokens of history looked at; -1: all */
    const rad_logit_bias *biases;
    size_t n_biases;
} rad_sampler_settings;

/* Work memory for vocabularies of up to n_vocab tokens: one allocation, so that sampling takes none
 * from the host. */
typedef struct rad_sampler rad_sampler;
radllm_status rad_sampler_create(const rad_allocator *allocator, uint32_t n_vocab,
                                 rad_sampler **out, radllm_error *error);
void rad_sampler_free(rad_sampler *sampler);

/* Chooses a token. The random number is a function of (seed, choice, position) alone. history holds
 * the tokens so far (prompt and answer). Order: bias, penalties, temperature 0 ends here with the
 * greatest; top-k, typical, top-p, min-p (each on what the one before left), temperature, choice.
 * RADLLM_E_NUMERIC when a logit is NaN or +infinity, or all are -infinity. */
radllm_status rad_sampler_choose(rad_sampler *sampler, const rad_sampler_settings *settings,
                                 const float *logits, uint32_t n_vocab, const int32_t *history,
                                 size_t n_history, uint32_t choice, uint64_t position,
                                 int32_t *token, radllm_error *error);

/* Natural logarithm of softmax(logits)[token], in double precision with own exp and log. */
double rad_log_probability(const float *logits, uint32_t n_vocab, int32_t token);
typedef struct rad_token_logprob {
    int32_t token;
    float logprob;
} rad_token_logprob;
/* The `count` most likely tokens, best first, ties to the lower id. */
void rad_top_logprobs(const float *logits, uint32_t n_vocab, uint32_t count,
                      rad_token_logprob *out);

#endif
