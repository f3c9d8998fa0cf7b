/* Adapters that become part of a model's weights while these are read (option adapter_merge). */
#ifndef RAD_MERGE_H
#define RAD_MERGE_H

#include "model/adapter.h"

/* Whether the model's adapters change what is the embedding and the output at once. */
bool rad_merge_unties(const rad_model *model);
/* Marks the weights that the model's adapters change; sessions then begin with none. */
radllm_status rad_merge_mark(rad_model *model, radllm_error *error);
/* Adds the adapters' products to numbers first..first+n-1 of a marked weight's tensor, whole rows
 * of it, of which vectors have one. Any thread. */
radllm_status rad_merge_numbers(const rad_model *model, const rad_weight *weight, uint64_t first,
                                size_t n, float *values, radllm_error *error);
/* The same to all weights as they are read: makes the model's adapters part of its weights.
 * RADLLM_E_UNSUPPORTED where a weight cannot be changed: its type has no encoder, or it is the
 * embedding and the output at once. */
radllm_status rad_merge_prepare(rad_model *model, radllm_error *error);
/* Adds the adapters' products to rows first..first+n-1 of a weight, as the file has them (or to
 * those of a whole tensor in its place): each row is decoded to floats, for each adapter in order
 * and each k in increasing order w[i] = fma(scale * b[row][k], a[k][i], w[i]), and encoded again in
 * its type. Any thread. */
radllm_status rad_merge_rows(const rad_model *model, const rad_weight *weight, uint32_t first,
                             uint32_t n, uint8_t *rows, radllm_error *error);
/* The same for a vector, of which only a whole one can be merged. */
radllm_status rad_merge_vector(const rad_model *model, const rad_weight *weight, float *values,
                               radllm_error *error);
/* Behind the last of them: gives back what only merging needed. */
void rad_merge_finish(rad_model *model);

#endif
