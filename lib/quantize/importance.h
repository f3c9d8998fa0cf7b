/* How much each column of each matrix matters: the mean square of what the matrix is multiplied
 * with, over a text. */
#ifndef RAD_IMPORTANCE_H
#define RAD_IMPORTANCE_H

#include "io/model_source.h"

/* Of one tensor: `n_matrices` (experts; 1: it is none, or all are alike) times `n_columns`. */
typedef struct rad_importance_entry {
    rad_text name; /* of the tensor; also NUL-terminated */
    uint32_t n_matrices;
    uint64_t n_columns;
    double *sums;     /* of squares, by matrix and column */
    uint64_t *counts; /* of rows that were summed, by matrix */
} rad_importance_entry;

typedef struct rad_importance {
    rad_allocator allocator;
    rad_arena arena;
    rad_importance_entry *entries; /* sorted by name */
    size_t n_entries, capacity;
    uint64_t n_chunks, chunk_tokens; /* of the text; chunk_tokens 0: not known */
    rad_text dataset;                /* what the text was; may be empty */
    rad_text origin;                 /* the file it was read from; "" where it was measured */
} rad_importance;

void rad_importance_free(rad_importance *importance);
/* NULL where there is none. */
const rad_importance_entry *rad_importance_find(const rad_importance *importance, const char *name);

#endif
