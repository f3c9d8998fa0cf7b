/* Loops that do one thing as fast as the processor can. */
#ifndef BENCH_MACHINE_LOOPS_H
#define BENCH_MACHINE_LOOPS_H

#include <stddef.h>
#include <stdint.h>

enum { MACHINE_READS = 3 };

/* Returns how many multiply-adds it made. */
typedef double (*machine_compute_fn)(uint64_t rounds);
/* Returns how many bytes it read. */
typedef double (*machine_read_fn)(const unsigned char *data, size_t size);

typedef struct machine_loops {
    machine_compute_fn int8;
    const char *int8_isa;
    machine_compute_fn real;
    const char *real_isa;
    machine_read_fn read[MACHINE_READS]; /* in order, asked for ahead, several streams */
} machine_loops;

/* The best loops of this processor; with isa "avx2" none beyond AVX2. */
machine_loops machine_best_loops(const char *isa);

#endif
