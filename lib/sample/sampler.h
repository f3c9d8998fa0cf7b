/* lib/sample: from logits to a token: penalties, bias, truncation, random choice,
 * log-probabilities. Nothing here knows how logits are made. */
#ifndef RAD_SAMPLER_H
#define RAD_SAMPLER_H

#include "base/base.h"

typedef struct rad_logit_bias {
    int32_t token;
    float bias; /* -infinity forbids the token */
} rad_logit_bias;

/* The values in brackets change nothing. What each does is said at rad_sampler_choose(). */
typedef struct rad_sampler_settings {
    uint64_t seed;
    float temperature;       /* 0 and more; 0: greedy */
    int32_t top_k;           /* 1 and more [0] */
    float top_p;             /* 0 to 1 [1] */
    float min_p;             /* 0 to 1 [0] */
    float typical_p;         /* 0 to 1 [1] */
    float repeat_penalty;    /* above 0 [1] */
    float frequency_penalty; /* [0] */
    float presence_penalty;  /* [0] */
    int32_t penalty_last_n;  /* tokens of history looked at; -1: all [0] */
    const rad_logit_bias *biases;
    size_t n_biases;
} rad_sampler_settings;

/* Work memory for vocabularies of up to n_vocab tokens (44 bytes each): one allocation, so that
 * sampling takes none from the host. One call at a time. */
typedef struct rad_sampler rad_sampler;
radllm_status rad_sampler_create(const rad_allocator *allocator, uint32_t n_vocab,
                                 rad_sampler **out, radllm_error *error);
void rad_sampler_free(rad_sampler *sampler);
/* What rad_sampler_create() allocates, for plans. */
size_t rad_sampler_bytes(uint32_t n_vocab);

/* Chooses a token. The random number is u = rad_random_unit(seed, choice, position), which depends
 * on nothing else. history holds the tokens so far (prompt and answer); ids outside the vocabulary
 * in it are passed over. In this order, with ties always to the lower id:
 *
 * 1. bias: logit + bias (F32). A token at -infinity takes no further part.
 * 2. penalties (F32), for each token that occurs `count` times in the last penalty_last_n tokens:
 *    logit / repeat_penalty if logit > 0, else logit * repeat_penalty; from that
 *    count * frequency_penalty + presence_penalty is subtracted.
 * 3. temperature 0: the greatest logit, and that is all.
 * 4. top-k: the k greatest logits stay. From here on p = e^(logit - greatest) / sum in double
 *    precision, over the tokens that stay; a sum runs in the order of the list, which is by id at
 *    first and best first after a stage that sorts.
 * 5. typical-p (Meister et al. 2022): with entropy H = -sum of p ln p, sorted by rising
 *    |-ln p - H|, the shortest list whose p sum to typical_p or more stays.
 * 6. top-p (Holtzman et al. 2020): sorted by falling p, the same with top_p.
 * 7. min-p (Nguyen et al. 2024): p >= min_p * the greatest p stays.
 * 8. temperature and choice: w = e^((logit - greatest) / temperature); the first token of the list
 *    at which the running sum of w exceeds u * sum.
 *
 * At least one token stays in each stage. llama.cpp's default chain has the same order and
 * formulas; it differs in the order of sums, in F32, in its random numbers, and where a sum equals
 * typical_p.
 *
 * RADLLM_E_NUMERIC when a logit is NaN or +infinity, or all are -infinity; RADLLM_E_ARGUMENT for a
 * setting out of range. Time is linear in n_vocab. */
radllm_status rad_sampler_choose(rad_sampler *sampler, const rad_sampler_settings *settings,
                                 const float *logits, uint32_t n_vocab, const int32_t *history,
                                 size_t n_history, uint32_t choice, uint64_t position,
                                 int32_t *token, radllm_error *error);

/* Whether that is the greatest logit's token, or an error, whatever the history. */
bool rad_sampler_is_greedy(const rad_sampler_settings *settings, uint32_t n_vocab);

/* Whether nothing is left out of the choice and no logit changed, whatever the history: of all that
 * rad_sampler_choose() says, 8. */
bool rad_sampler_is_plain(const rad_sampler_settings *settings, uint32_t n_vocab);

/* The same choice from the best tokens alone; -1 where they do not decide it. */
int32_t rad_sampler_choose_best(rad_sampler *sampler, const rad_sampler_settings *settings,
                                const rad_best_tokens *best, uint32_t n_vocab,
                                const int32_t *history, size_t n_history, uint32_t choice,
                                uint64_t position);
/* Whether they can, where they are as many as RAD_BEST_TOKENS: with top_k below that, top_p or
 * min_p without typical_p, or temperature 0, and no bias or penalty that raises a logit. */
bool rad_sampler_can_narrow(const rad_sampler_settings *settings, uint32_t n_vocab);

/* Natural logarithm of softmax(logits)[token], in double precision with own exp and log: (logit -
 * greatest) - ln(sum of e^(logit - greatest) by rising id). -infinity for a logit of -infinity; NaN
 * where a logit is NaN or +infinity or all are -infinity. token < n_vocab. */
double rad_log_probability(const float *logits, uint32_t n_vocab, int32_t token);
typedef struct rad_token_logprob {
    int32_t token;
    float logprob;
} rad_token_logprob;
/* The `count` most likely tokens, best first, ties to the lower id; entries beyond n_vocab get
 * token -1. Time n_vocab log count. */
void rad_top_logprobs(const float *logits, uint32_t n_vocab, uint32_t count,
                      rad_token_logprob *out);

#endif
