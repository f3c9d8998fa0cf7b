/* The two ways of reading a model's matrices: before radllm_model_open() returns, or behind the
 * first tokens by threads of the model. */
#ifndef RAD_FILL_H
#define RAD_FILL_H

#include <stdatomic.h>

#include "model/model.h"

#define RAD_WEIGHT_ALIGNMENT 64

/* Calls visit for each weight that takes memory of its own, in the order in which they are used. */
typedef radllm_status (*rad_visit_fn)(rad_model *model, rad_weight *weight, void *data,
                                      radllm_error *error);
radllm_status rad_for_each_weight(rad_model *model, rad_visit_fn visit, void *data,
                                  radllm_error *error);
/* Whether a matrix stays in the mapped file. */
bool rad_weight_is_mapped(const rad_model *model, const rad_weight *weight);
/* Bytes that a weight takes in the block of copied weights. */
uint64_t rad_weight_copied_bytes(const rad_model *model, const rad_weight *weight);

/* Gives all weights their places anew, before any memory is taken. */
radllm_status rad_model_place(rad_model *model, radllm_error *error);

typedef struct rad_filler {
    rad_model *model;
    rad_pool *pool;
    const radllm_cancel *cancel;
    const atomic_bool *stop; /* NULL: none */
    uint8_t *scratch;
    size_t scratch_bytes; /* of all workers, once allocated */
    uint64_t done, total; /* bytes of the file, for progress */
} rad_filler;

/* Takes all the memory that filling needs, reads the vectors, and says where the matrices will
 * stand. On failure nothing is left but what rad_model_free() frees. */
radllm_status rad_fill_begin(rad_model *model, uint32_t n_threads, const radllm_cancel *cancel,
                             rad_filler *fill, radllm_error *error);
/* Reads the matrices in order; each becomes ready when it is complete. */
radllm_status rad_fill_matrices(rad_filler *fill, radllm_error *error);
void rad_fill_end(rad_filler *fill);

/* Starts a thread that runs rad_fill_matrices() and then rad_fill_end(). False: no thread could be
 * started and `fill` is as before. */
bool rad_behind_start(rad_model *model, const rad_filler *fill);
/* Stops and joins it. NULL is allowed. In a child made by fork() only memory is given back. */
void rad_behind_free(rad_loader *loader);

#endif
