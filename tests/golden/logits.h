/* Logits of a model file for a list of ids, by the public API. */
#ifndef RAD_TEST_LOGITS_H
#define RAD_TEST_LOGITS_H

#include <stddef.h>
#include <stdint.h>

#include "radllm/radllm.h"

/* n_ids rows of n_vocab floats, by malloc; the case fails on any error. `options` may be NULL.
 * chunk: ids fed at a time (0: all at once). */
float *rad_test_logits(const char *path, const radllm_options *options, const int32_t *ids,
                       size_t n_ids, size_t chunk, uint32_t *n_vocab);
/* Norm of the difference of n values divided by the norm of `golden`. */
double rad_test_relative_error(const float *values, const float *golden, size_t n);

#endif
