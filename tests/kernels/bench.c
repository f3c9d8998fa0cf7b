/* Timing: the clock, the line that is printed, and what the processor can do at best. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/machine_loops.h"
#include "tests/kernels/check.h"

static double read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double wall_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* So that other programs on the machine disturb less. */
double thread_clock(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static char current[96];

bool time_wanted(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(current, sizeof current, format, arguments);
    va_end(arguments);
    if (!is_wanted(current))
        return false;
    if (chosen.list)
        puts(current);
    return !chosen.list;
}

void time_call(const timed *job)
{
    /* As many calls a measurement as take long beside reading the clock. */
    enum { CLOCK_READS = 50 };
    double best = 1e30, start = thread_clock(), a_reading = 1e30;
    for (int i = 0; i < 10; i++) {
        double before = thread_clock(), taken = thread_clock() - before;
        a_reading = taken < a_reading ? taken : a_reading;
    }
    long calls = 1;
    do {
        double before = thread_clock();
        for (long i = 0; i < calls; i++)
            job->call(job->data);
        double taken = thread_clock() - before;
        best = taken / (double)calls < best ? taken / (double)calls : best;
        if (taken < CLOCK_READS * a_reading && calls < 1 << 20) {
            calls *= 4;
            best = 1e30;
        }
    } while (thread_clock() - start < chosen.seconds || best > 1e29);
    printf("%-50s %11.3f us", current, best * 1e6);
    if (job->macs > 0)
        printf(" %9.2f GMAC/s", job->macs / best * 1e-9);
    if (job->elements > 0)
        printf(" %9.3f Gelement/s", job->elements / best * 1e-9);
    if (job->bytes > 0)
        printf(" %8.2f GB/s", job->bytes / best * 1e-9);
    if (job->seconds_at_peak > 0)
        printf(" %6.1f %% of peak", 100.0 * job->seconds_at_peak / best);
    printf("\n");
    fflush(stdout);
}

/* The best of some rounds, so that the clock rate has risen. */
static double rate_of(machine_compute_fn loop)
{
    double best = 0.0;
    for (int i = 0; i < 20 && loop != NULL; i++) {
        double before = thread_clock(), done = loop(200000);
        double rate = done / (thread_clock() - before);
        best = rate > best ? rate : best;
    }
    return best;
}

peaks peak_of(const table *of)
{
    static peaks known[2];
    const bool wide = strstr(of->name, "avx512") != NULL;
    if (known[wide].floats == 0.0) {
        machine_loops loops = machine_best_loops(wide ? "avx512" : "avx2");
        known[wide] = (peaks){rate_of(loops.int8), rate_of(loops.real)};
    }
    return known[wide];
}

/* memcpy() of half the bytes, in the cache. */
double peak_copying(double bytes)
{
    static double known_bytes, known;
    size_t half = (size_t)(bytes / 2.0);
    if (bytes == known_bytes)
        return known;
    uint8_t *from = aligned_alloc(64, half / 64 * 64 + 64),
            *to = aligned_alloc(64, half / 64 * 64 + 64);
    if (from == NULL || to == NULL)
        exit(2);
    memset(from, 1, half);
    known_bytes = bytes;
    known = 1e30;
    for (int round = 0; round < 200; round++) {
        enum { CALLS = 256 };
        double before = thread_clock();
        for (int i = 0; i < CALLS; i++) {
            memcpy(to, from, half);
            __asm__ volatile("" : : "r"(to) : "memory"); /* the copy is wanted each time */
        }
        double taken = (thread_clock() - before) / CALLS;
        known = taken < known ? taken : known;
    }
    free(from);
    free(to);
    return known;
}
