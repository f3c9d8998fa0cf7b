/* The ways to compute the same thing, and which of their combinations are tried. */
#ifndef RAD_TEST_CONTRACT_SETTINGS_H
#define RAD_TEST_CONTRACT_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIMENSIONS = 11, MAX_VALUES = 8 };

/* One way: an index into the values of each dimension. */
typedef struct combination {
    uint8_t index[DIMENSIONS];
} combination;

typedef struct dimension {
    const char *name;
    const char *values[MAX_VALUES + 1]; /* NULL behind the last */
} dimension;

/* threads, batch, chunk, isa, layout, load; environment, history, speculation, prefix, company */
extern const dimension dimensions[DIMENSIONS];

typedef enum cover {
    COVER_VALUES,  /* each value of each dimension occurs */
    COVER_PAIRS,   /* each pair of values of two dimensions occurs */
    COVER_KERNELS, /* every combination of the first six dimensions, and all pairs */
    COVER_ALL      /* every combination of the first six dimensions, and of the others */
} cover;

/* Combinations, by malloc. Ways that this processor cannot go are left out, and with
 * RADLLM_CONTRACT_ISA in the environment those of other instruction sets. */
combination *choose_combinations(cover wanted, size_t *count);

/* full, kernels, pairs or values; by anything else pairs, where that is quick, or values. */
cover cover_of(const char *name);

/* Which of n combinations a subject goes by: `first` and on, as many as are returned. With "sample"
 * the first three; with "turns" one of the first two, which differ in every dimension, the subjects
 * by turns, and what gcc computes one way clang computes the other; by anything else all. */
size_t ways_of(const char *name, size_t subject, size_t n, size_t *first);

/* "threads 8, chunk 7, ..." in a static buffer. */
const char *describe(const combination *c);
const char *value_of(const combination *c, const char *dimension_name);

#endif
