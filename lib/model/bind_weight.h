/* Binding of one tensor; bind.c has the roles. */
#ifndef RAD_BIND_WEIGHT_H
#define RAD_BIND_WEIGHT_H

#include "model/shapes.h"

/* The tensor of this name, as a matrix or a vector; nothing where there is none and none is
 * required. file_layout: no lanes. */
radllm_status rad_bind_tensor(rad_model *model, const char *name, rad_shape wanted, bool required,
                              bool file_layout, rad_weight *weight, radllm_error *error);
/* weight->tensor, whose shape is checked, or weight->parts, as a matrix. */
radllm_status rad_bind_matrix(rad_model *model, rad_weight *weight, const rad_shape *wanted,
                              bool file_layout, radllm_error *error);
radllm_status rad_bind_missing(const rad_model *model, const char *name, radllm_error *error);

#endif
