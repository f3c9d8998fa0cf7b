/* How much each column of each matrix matters: the mean square of what the matrix is multiplied
 * with, over a text, and the mean where it is known. */
#ifndef RAD_IMPORTANCE_H
#define RAD_IMPORTANCE_H

#include "engine/engine.h"
#include "io/model_source.h"

/* Of one tensor: `n_matrices` (experts; 1: it is none, or the file did not say) times `n_columns`.
 */
typedef struct rad_importance_entry {
    rad_text name; /* of the tensor; also NUL-terminated */
    uint32_t n_matrices;
    uint64_t n_columns;
    double *sums;     /* of squares, by matrix and column */
    double *totals;   /* of the values themselves; NULL: not known */
    uint64_t *counts; /* of rows that were summed, by matrix */
} rad_importance_entry;

typedef struct rad_importance {
    rad_allocator allocator;
    rad_arena arena;
    rad_importance_entry *entries; /* sorted by name, once finished */
    size_t n_entries, capacity;
    uint64_t n_chunks, chunk_tokens; /* of the text; at least 1 token */
    rad_text dataset;                /* what the text was, NUL-terminated; may be empty */
} rad_importance;

/* The value must stay where it is; free it also after a failure of another function. */
void rad_importance_init(const rad_allocator *allocator, rad_importance *importance);
void rad_importance_free(rad_importance *importance);
/* Adds an entry of zeros. NULL when memory is short. */
rad_importance_entry *rad_importance_add(rad_importance *importance, rad_text name,
                                         uint32_t n_matrices, uint64_t n_columns);
/* Zeros for the sums of the values themselves; false when memory is short. */
bool rad_importance_add_totals(rad_importance *importance, rad_importance_entry *entry);
/* Sorts the entries; two of one name are an error that names the file. */
radllm_status rad_importance_finish(rad_importance *importance, const char *label,
                                    radllm_error *error);
/* NULL where there is none. */
const rad_importance_entry *rad_importance_find(const rad_importance *importance, const char *name);

/* ---- files of llama.cpp's imatrix program (imatrix.c) ------------------------------------------
 */

/* Either form, told apart by its beginning: GGUF, or the older one. */
radllm_status rad_importance_read(const rad_host *host, const char *path,
                                  rad_importance *importance, radllm_error *error);
/* legacy: the older form, which other programs call .dat. */
radllm_status rad_importance_write(const rad_importance *importance, const char *path, bool legacy,
                                   radllm_error *error);

/* ---- calibration (calibrate.c) -----------------------------------------------------------------
 */

typedef struct rad_calibration_settings {
    rad_engine_settings engine; /* but for context, sessions and the like */
    uint32_t chunk_tokens;      /* the text is cut into pieces of so many tokens */
    int64_t n_chunks;           /* at most; -1: all */
} rad_calibration_settings;

/* Runs the model over a text and adds up. The same bits whatever the threads. */
radllm_status rad_importance_measure(const rad_host *host, const rad_model *model, rad_text text,
                                     const rad_calibration_settings *settings,
                                     const radllm_cancel *cancel, rad_importance *importance,
                                     radllm_error *error);

#endif
