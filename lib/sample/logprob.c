#include "sample/sampler.h"

#include <math.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "sample/scan.h"

/* ln of the sum of e^(logit - greatest), by rising id; NaN where a logit is NaN or +infinity or all
 * are -infinity. */
static double log_of_sum(const float *logits, uint32_t n_vocab, double *greatest)
{
    enum { AT_A_TIME = 512 };
    double powers[AT_A_TIME];
    int level = rad_vector_level();
    rad_logit_scan scan = rad_scan_logits(level, logits, n_vocab);
    *greatest = scan.greatest;
    if (!scan.finite || scan.greatest == -INFINITY)
        return NAN;
    double sum = 0.0;
    for (uint32_t first = 0; first < n_vocab; first += AT_A_TIME) {
        uint32_t n = n_vocab - first < AT_A_TIME ? n_vocab - first : AT_A_TIME;
        sum = rad_exponentials(level, logits + first, *greatest, 1.0, n, powers, sum);
    }
    return rad_ln(sum);
}

double rad_log_probability(const float *logits, uint32_t n_vocab, int32_t token)
{
    double greatest;
    double log_sum = log_of_sum(logits, n_vocab, &greatest);
    return ((double)logits[token] - greatest) - log_sum;
}

/* While tokens are collected, `logprob` holds the logit. */
static bool worse(const rad_token_logprob *a, const rad_token_logprob *b)
{
    return a->logprob < b->logprob || (a->logprob == b->logprob && a->token > b->token);
}

/* A heap with the worst on top. */
static void sift_down(rad_token_logprob *items, uint32_t n, uint32_t at)
{
    rad_token_logprob moving = items[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && worse(&items[child + 1], &items[child]))
            child++;
        if (!worse(&items[child], &moving))
            break;
        items[at] = items[child];
        at = child;
    }
    items[at] = moving;
}

/* Tokens first..last-1 where they are better than the worst. */
static void offer_tokens(const float *logits, uint32_t first, uint32_t last, uint32_t kept,
                         rad_token_logprob *out)
{
    for (uint32_t i = first; i < last; i++) {
        rad_token_logprob item = {(int32_t)i, logits[i]};
        if (worse(&out[0], &item)) {
            out[0] = item;
            sift_down(out, kept, 0);
        }
    }
}

void rad_top_logprobs(const float *logits, uint32_t n_vocab, uint32_t count, rad_token_logprob *out)
{
    uint32_t kept = count < n_vocab ? count : n_vocab;
    for (uint32_t i = kept; i < count; i++)
        out[i] = (rad_token_logprob){-1, -INFINITY};
    if (kept == 0)
        return;
    for (uint32_t i = 0; i < kept; i++)
        out[i] = (rad_token_logprob){(int32_t)i, logits[i]};
    for (uint32_t at = kept / 2; at > 0; at--)
        sift_down(out, kept, at - 1);
    uint32_t next = kept;
    while (next < n_vocab) {
        uint32_t end = n_vocab - next < RAD_SCAN_BLOCK ? n_vocab : next + RAD_SCAN_BLOCK;
        float most = INFINITY;
        if (end - next == RAD_SCAN_BLOCK)
            rad_block_maxima(rad_vector_level(), logits + next, 1, &most);
        if (most > out[0].logprob)
            offer_tokens(logits, next, end, kept, out);
        next = end;
    }
    for (uint32_t n = kept; n > 1; n--) { /* the worst goes to the end */
        rad_token_logprob worst = out[0];
        out[0] = out[n - 1];
        out[n - 1] = worst;
        sift_down(out, n - 1, 0);
    }
    double greatest;
    double log_sum = log_of_sum(logits, n_vocab, &greatest);
    for (uint32_t i = 0; i < kept; i++)
        out[i].logprob = (float)(((double)out[i].logprob - greatest) - log_sum);
}
