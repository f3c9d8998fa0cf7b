/* How many tokens are worth drafting, from what was accepted before. It depends on counts alone,
 * never on time: it changes no answer, and the same request is computed the same way each time. */
#ifndef RAD_PACE_H
#define RAD_PACE_H

#include <stdint.h>

/* Drafts of different quality are counted apart: see rad_lookup_draft(). */
#define RAD_PACE_CLASSES 3

typedef struct rad_pace_class {
    float tries,
        hits;       /* drafts so far and those whose first token was accepted, older ones fading */
    uint32_t wait;  /* drafts to leave out before the next attempt */
    uint32_t pause; /* what `wait` was set to last; 0: drafting pays */
} rad_pace_class;

/* What a step takes, in the time of reading the weights for one row. All rows read them together,
 * but for experts that only some choose; the arithmetic of products goes on meanwhile. */
typedef struct rad_pace_cost {
    uint32_t rows;  /* of a step without drafts */
    double product; /* a row's products alone */
    double other;   /* what else a row takes: attention, norms, sampling */
    double several; /* what having more than one row takes: other kernels */
    double experts; /* of what a row reads, the part that is experts' */
    double chosen;  /* of these, the part that a row chooses */
    double draft;   /* a drafted token in each of the rows, if a model makes them */
} rad_pace_cost;

typedef struct rad_pace {
    rad_pace_class first[RAD_PACE_CLASSES];
    float next_tries, next_hits; /* the same for a token behind an accepted one */
} rad_pace;

void rad_pace_start(rad_pace *pace);
/* What `drafted` tokens for each row add to a step, in steps without a draft. */
double rad_pace_added(const rad_pace_cost *cost, uint32_t drafted);
/* The number of tokens, up to `most`, for which the expected tokens of a step over its cost are
 * greatest. 0: none now. */
uint32_t rad_pace_length(rad_pace *pace, uint32_t quality, const rad_pace_cost *cost,
                         uint32_t most);
/* What became of a draft of at least one token. */
void rad_pace_learn(rad_pace *pace, uint32_t quality, const rad_pace_cost *cost, uint32_t drafted,
                    uint32_t accepted);

#endif
