#include "engine/pace.h"

#include "base/numeric.h"

/* Before anything is known: four first tokens in ten are accepted; behind those six in ten, or as
 * many as first ones: drafts of one token say nothing of a second one. */
#define FIRST_TRIES 2.0f
#define FIRST_HITS  0.8f
#define NEXT_PRIOR  2.0
#define NEXT_LEAST  0.6
/* How much an older draft weighs: about the last 14 first tokens count, and the last 20 others. */
#define FIRST_FADING 0.93f
#define NEXT_FADING  0.95f
/* Acceptance beyond what a drafted token costs: what is gained below it is not worth the attempts.
 */
#define PAYS_BEYOND 0.05
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
    pace->next_tries = pace->next_hits = 0;
}

/* Kernels of few tokens compute 1, 2, 4 or 8 of them, those of many four at a time. */
static uint32_t computed_rows(uint32_t rows)
{
    uint32_t whole = rows / 8 * 8, rest = rows % 8;
    return whole + (rest <= 2 ? rest : rest <= 4 ? 4 : 8);
}

/* What rows read that choose their experts independently, in what one row reads. */
static double read_by(const rad_pace_cost *cost, uint32_t rows)
{
    if (cost->chosen <= 0.0)
        return 1.0;
    double of_experts = (1.0 - rad_pow(1.0 - cost->chosen, rows)) / cost->chosen;
    return 1.0 - cost->experts + cost->experts * of_experts;
}

static double step_cost(const rad_pace_cost *cost, uint32_t rows)
{
    double products = cost->product * computed_rows(rows), reading = read_by(cost, rows);
    /* Both go on at once, but neither hides the other wholly where they take as long. */
    double both = rad_pow(products * products * products + reading * reading * reading, 1.0 / 3.0);
    return both + (rows > 1 ? cost->several : 0.0) + cost->other * (rows - 1);
}

double rad_pace_added(const rad_pace_cost *cost, uint32_t drafted)
{
    double before = step_cost(cost, cost->rows);
    double with = step_cost(cost, cost->rows * (1 + drafted)) + cost->draft * drafted;
    return (with - before) / before;
}

uint32_t rad_pace_length(rad_pace *pace, uint32_t quality, const rad_pace_cost *cost, uint32_t most)
{
    rad_pace_class *first = &pace->first[quality];
    if (most == 0)
        return 0;
    if (first->wait > 0) {
        first->wait--;
        return 0;
    }
    double probability = (double)first->hits / (double)first->tries;
    double prior = probability > NEXT_LEAST ? probability : NEXT_LEAST;
    double next =
        ((double)pace->next_hits + NEXT_PRIOR * prior) / ((double)pace->next_tries + NEXT_PRIOR);
    double tokens = 1.0, best = 1.0;
    uint32_t length = 1; /* an attempt, where none pays */
    for (uint32_t n = 1; n <= most; n++) {
        tokens += probability;
        probability *= next;
        double speed = tokens / (1.0 + rad_pace_added(cost, n));
        if (speed > best) {
            best = speed;
            length = n;
        }
    }
    return length;
}

void rad_pace_learn(rad_pace *pace, uint32_t quality, const rad_pace_cost *cost, uint32_t drafted,
                    uint32_t accepted)
{
    double least = rad_pace_added(cost, 1);
    rad_pace_class *first = &pace->first[quality];
    first->tries = first->tries * FIRST_FADING + 1.0f;
    first->hits = first->hits * FIRST_FADING + (accepted > 0 ? 1.0f : 0.0f);
    for (uint32_t i = 1; i < drafted && i <= accepted; i++) {
        pace->next_tries = pace->next_tries * NEXT_FADING + 1.0f;
        pace->next_hits = pace->next_hits * NEXT_FADING + (i < accepted ? 1.0f : 0.0f);
    }
    if (accepted > 0) {
        first->pause = 0;
    } else if ((double)first->hits <= (least + PAYS_BEYOND) * (double)first->tries) {
        uint32_t pause = first->pause * 2;
        uint32_t shortest = SHORTEST_PAUSE + (uint32_t)(PAUSE_BY_COST * least);
        pause = pause < shortest ? shortest : pause;
        first->pause = pause > LONGEST_PAUSE ? LONGEST_PAUSE : pause;
        first->wait = first->pause;
    }
}
