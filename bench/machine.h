/* What this machine can do at most, and what the process has used: the scale that speeds are put
 * on. Nothing here knows models. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct machine_limits {
    uint32_t threads;
    double read_bytes; /* a second, from memory, by all threads together: the best of read_each */
    double read_each[3];
    char read_kernel[24]; /* which it was */
    double int8_macs;     /* multiply-adds of 8-bit integers a second, in registers */
    double float_macs;    /* of 32-bit floats */
    char int8_isa[24];    /* the instructions that were used */
    char float_isa[24];
} machine_limits;

/* Measures each limit for so many seconds, in a child process, so that its memory is not counted as
 * ours. Zeros where that failed. isa: "avx2" leaves out what is beyond it, for the arithmetic. */
machine_limits machine_measure(uint32_t threads, const char *isa, double seconds);
/* Keeps the greater figure of each: what else the machine does can only lower them. */
void machine_keep_better(machine_limits *limits, const machine_limits *again);

/* reader.c: the same reading in pieces, between other work. Its threads sleep meanwhile. Where
 * there are no memory or threads for it the program ends with a message. */
typedef struct machine_reader machine_reader;
machine_reader *machine_reader_new(uint32_t threads, const char *isa);
/* Bytes a second: the best of the loops, each of which reads a piece. */
double machine_reader_read(machine_reader *reader);
void machine_reader_free(machine_reader *reader);

/* Seconds to map a file and read all of it once; 0 where that failed. */
double machine_sum_file(const char *path, uint32_t threads);

/* The processor's name. */
void machine_cpu_name(char *out, unsigned capacity);

/* The most memory that the process held since the last reset, in bytes; 0 where it cannot be
 * read. Resetting needs a Linux kernel and can fail, then the peak is that of the whole run. */
uint64_t machine_peak_memory(void);
void machine_reset_peak_memory(void);

/* Energy counters of the processor packages. */
typedef struct energy_meter {
    bool powercap;
    int perf[16]; /* one counter per package */
    unsigned n_perf;
    double perf_scale;
} energy_meter;
/* False where no counter can be read. */
bool energy_open(energy_meter *meter);
/* Joules since some moment; differences count. */
double energy_joules(const energy_meter *meter);
/* b - a, with a counter that began again at zero in between. */
double energy_difference(const energy_meter *meter, double a, double b);
void energy_close(energy_meter *meter);

/* Drops a file from the page cache. */
void machine_forget_file(const char *path);

#endif
