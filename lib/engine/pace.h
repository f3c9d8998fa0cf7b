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

typedef struct rad_pace {
    rad_pace_class first[RAD_PACE_CLASSES];
    float next_tries, next_hits; /* the same for a token behind an accepted one */
} rad_pace;

void rad_pace_start(rad_pace *pace);
/* The number of tokens, up to `most`, for which the expected tokens of a step over its cost are
 * greatest. cost: of one drafted token, in steps without a draft. 0: none now. */
uint32_t rad_pace_length(rad_pace *pace, uint32_t quality, double cost, uint32_t most);
/* What became of a draft of at least one token. */
void rad_pace_learn(rad_pace *pace, uint32_t quality, double cost, uint32_t drafted,
                    uint32_t accepted);

#endif
