#include "engine/pace.h"

/* Before anything is known: four first tokens in ten are accepted, six in ten behind those. */
#define FIRST_TRIES 2.0f
#define FIRST_HITS  0.8f
#define NEXT_TRIES  2.0f
#define NEXT_HITS   1.2f
/* How much an older draft weighs: about the last 14 first tokens count, and the last 20 others. */
#define FIRST_FADING 0.93f
#define NEXT_FADING  0.95f
/* Steps between attempts where drafting does not pay, longer where an attempt costs more; doubled
 * from one failure to the next. So drafts that are never right cost less than three parts in a
 * hundred even of a short answer. */
#define SHORTEST_PAUSE 8
#define PAUSE_BY_COST  40.0
#define LONGEST_PAUSE  64

void rad_pace_start(rad_pace *pace)
{
    for (int i = 0; i < RAD_PACE_CLASSES; i++)
        pace->first[i] = (rad_pace_class){FIRST_TRIES, FIRST_HITS, 0, 0};
    pace->next_tries = NEXT_TRIES;
    pace->next_hits = NEXT_HITS;
}

uint32_t rad_pace_length(rad_pace *pace, uint32_t quality, double cost, uint32_t most)
{
    rad_pace_class *first = &pace->first[quality];
    if (most == 0)
        return 0;
    if (first->wait > 0) {
        first->wait--;
        return 0;
    }
    double probability = (double)first->hits / (double)first->tries;
    double next = (double)pace->next_hits / (double)pace->next_tries;
    double tokens = 1.0, best = 1.0;
    uint32_t length = 1; /* an attempt, where none pays */
    for (uint32_t n = 1; n <= most; n++) {
        tokens += probability;
        probability *= next;
        double speed = tokens / (1.0 + cost * n);
        if (speed > best) {
            best = speed;
            length = n;
        }
    }
    return length;
}

void rad_pace_learn(rad_pace *pace, uint32_t quality, double cost, uint32_t drafted,
                    uint32_t accepted)
{
    rad_pace_class *first = &pace->first[quality];
    first->tries = first->tries * FIRST_FADING + 1.0f;
    first->hits = first->hits * FIRST_FADING + (accepted > 0 ? 1.0f : 0.0f);
    for (uint32_t i = 1; i < drafted && i <= accepted; i++) {
        pace->next_tries = pace->next_tries * NEXT_FADING + 1.0f;
        pace->next_hits = pace->next_hits * NEXT_FADING + (i < accepted ? 1.0f : 0.0f);
    }
    if (accepted > 0) {
        first->pause = 0;
    } else if ((double)first->hits <= cost * (double)first->tries) {
        uint32_t pause = first->pause * 2;
        uint32_t shortest = SHORTEST_PAUSE + (uint32_t)(PAUSE_BY_COST * cost);
        pause = pause < shortest ? shortest : pause;
        first->pause = pause > LONGEST_PAUSE ? LONGEST_PAUSE : pause;
        first->wait = first->pause;
    }
}
