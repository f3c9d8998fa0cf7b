/* Progress on standard error: a bar with rate and remaining time on a terminal, now and then a line
 * elsewhere. */
#ifndef EXAMPLES_PROGRESS_H
#define EXAMPLES_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress_bar {
    const char *label;
    const char *unit; /* "rows"; "" shows no rate */
    uint64_t total;
    uint64_t first; /* where this run began */
    double start;
    double shown; /* when something was shown last */
    bool on_terminal;
    bool only_on_terminal;
    bool visible;
} progress_bar;

void progress_begin(progress_bar *bar, const char *label, const char *unit, uint64_t total,
                    uint64_t first);
/* Shows `done` when it is time to. */
void progress_show(progress_bar *bar, uint64_t done);
/* Removes the bar from the terminal, so that something else can be written. */
void progress_clear(progress_bar *bar);
void progress_end(progress_bar *bar);

/* "1 h 02 min", "3 min 05 s", "12 s". */
void format_duration(double seconds, char *out, unsigned capacity);

#endif
