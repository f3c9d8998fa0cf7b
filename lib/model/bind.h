/* Binding of tensors to the roles of an architecture. */
#ifndef RAD_BIND_H
#define RAD_BIND_H

#include "model/model.h"

/* Fills model->embedding, output_norm, output, layers and rope_divisors from model->source, with
 * matrices described but not yet in memory. */
radllm_status rad_bind_tensors(rad_model *model, bool file_layout, radllm_error *error);

#endif
