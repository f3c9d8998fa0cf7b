#include "common/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "common/program.h"

enum { BAR_WIDTH = 30 };
static const double terminal_interval = 0.2;
static const double line_interval = 30.0;

void format_duration(double seconds, char *out, unsigned capacity)
{
    if (!(seconds >= 0) || seconds > 1e8)
        snprintf(out, capacity, "?");
    else if (seconds >= 3600)
        snprintf(out, capacity, "%u h %02u min", (unsigned)(seconds / 3600),
                 (unsigned)(seconds / 60) % 60);
    else if (seconds >= 60)
        snprintf(out, capacity, "%u min %02u s", (unsigned)(seconds / 60), (unsigned)seconds % 60);
    else
        snprintf(out, capacity, "%u s", (unsigned)(seconds + 0.5));
}

void progress_begin(progress_bar *bar, const char *label, const char *unit, uint64_t total,
                    uint64_t first)
{
    double now = clock_seconds();
    *bar = (progress_bar){.label = label,
                          .unit = unit,
                          .total = total,
                          .first = first,
                          .start = now,
                          .shown = now,
                          .on_terminal = isatty(STDERR_FILENO) == 1};
}

void progress_show(progress_bar *bar, uint64_t done)
{
    double now = clock_seconds();
    if (now - bar->shown < (bar->on_terminal ? terminal_interval : line_interval))
        return;
    if (!bar->on_terminal && bar->only_on_terminal)
        return;
    bar->shown = now;
    double share = bar->total != 0 ? (double)done / (double)bar->total : 1.0;
    double elapsed = now - bar->start;
    double rate = elapsed > 0 ? (double)(done - bar->first) / elapsed : 0.0;
    char left[32];
    format_duration(rate > 0 ? (double)(bar->total - done) / rate : -1.0, left, sizeof left);
    char numbers[128] = "";
    if (bar->unit[0] != '\0')
        snprintf(numbers, sizeof numbers, " %llu of %llu %s, %.1f a second,",
                 (unsigned long long)done, (unsigned long long)bar->total, bar->unit, rate);
    if (!bar->on_terminal) {
        fprintf(stderr, "%s: %s%s %.0f%%, %s left\n", program_name(), bar->label, numbers,
                100 * share, left);
        return;
    }
    char drawn[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        drawn[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    drawn[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] %3.0f%%%s %s left", bar->label, drawn, 100 * share, numbers,
            left);
    fflush(stderr);
    bar->visible = true;
}

void progress_clear(progress_bar *bar)
{
    if (bar->visible)
        fputs("\r\033[K", stderr);
    bar->visible = false;
}

void progress_end(progress_bar *bar)
{
    progress_clear(bar);
}
