#include "common/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* What stands behind the bar: share, numbers and remaining time. */
static void describe(const progress_bar *bar, uint64_t done, double now, char *out, size_t capacity)
{
    double share = bar->total != 0 ? (double)done / (double)bar->total : 1.0;
    double elapsed = now - bar->start;
    double rate = elapsed > 0 ? (double)(done - bar->first) / elapsed : 0.0;
    char left[32];
    char speed[48] = "";
    char numbers[128] = "";
    format_duration(rate > 0 ? (double)(bar->total - done) / rate : -1.0, left, sizeof left);
    if (rate >= 1)
        snprintf(speed, sizeof speed, " %.1f a second,", rate);
    else if (rate > 0)
        snprintf(speed, sizeof speed, " %.1f s each,", 1 / rate);
    if (bar->unit[0] != '\0')
        snprintf(numbers, sizeof numbers, " %llu of %llu %s,%s", (unsigned long long)done,
                 (unsigned long long)bar->total, bar->unit, speed);
    snprintf(out, capacity, "%3.0f%%%s %s left", 100 * share, numbers, left);
}

static unsigned terminal_columns(void)
{
    struct winsize size = {.ws_col = 0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
        return size.ws_col;
    return 80;
}

/* What a bar may take beside `used` characters. */
static unsigned bar_width(size_t used, unsigned columns)
{
    if (used + 5 >= columns)
        return 0;
    unsigned width = columns - (unsigned)used - 5;
    return width < BAR_WIDTH ? width : BAR_WIDTH;
}

/* A line that does not fit the terminal could not be drawn over: the bar gives way, then the end
 * of the text. */
static void draw(const progress_bar *bar, double share, const char *text)
{
    unsigned columns = terminal_columns();
    unsigned width = bar_width(strlen(bar->label) + strlen(text), columns);
    unsigned full = (unsigned)(share * width);
    char drawn[BAR_WIDTH + 4] = "";
    if (width != 0) {
        drawn[0] = '[';
        memset(drawn + 1, '#', full);
        memset(drawn + 1 + full, '.', width - full);
        memcpy(drawn + 1 + width, "] ", 3);
    }
    char line[512];
    snprintf(line, sizeof line, "%s %s%s", bar->label, drawn, text);
    fprintf(stderr, "\r\033[K%.*s", (int)columns - 1, line);
    fflush(stderr);
}

void progress_begin(progress_bar *bar, const char *label, const char *unit, uint64_t total,
                    uint64_t first)
{
    double now = clock_seconds();
    bool on_terminal = isatty(STDERR_FILENO) == 1;
    *bar = (progress_bar){.label = label,
                          .unit = unit,
                          .total = total,
                          .first = first,
                          .start = now,
                          .shown = on_terminal && unit[0] != '\0' ? now - terminal_interval : now,
                          .on_terminal = on_terminal};
}

void progress_show(progress_bar *bar, uint64_t done)
{
    double now = clock_seconds();
    if (now - bar->shown < (bar->on_terminal ? terminal_interval : line_interval))
        return;
    if (!bar->on_terminal && bar->only_on_terminal)
        return;
    bar->shown = now;
    char text[256];
    describe(bar, done, now, text, sizeof text);
    if (!bar->on_terminal) {
        fprintf(stderr, "%s: %s %s\n", program_name(), bar->label, text);
        return;
    }
    draw(bar, bar->total != 0 ? (double)done / (double)bar->total : 1.0, text);
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
