/* A model whose matrices have scales in tensors beside them (NVFP4), as one whose matrices are
 * multiplied with these: what folders hold. */
#ifndef RAD_QUANTIZE_SCALED_H
#define RAD_QUANTIZE_SCALED_H

#include "model/model.h"

/* *out has the tensors of the model's source without NAME.scale and NAME.input_scale; a matrix that
 * had a scale is F32 in it, rad_derived_origin() gives the source's own. NULL where there are none.
 * Nothing of it outlives the model and the arena. */
radllm_status rad_scaled_make(rad_model *model, rad_arena *arena, rad_source **out,
                              radllm_error *error);

#endif
