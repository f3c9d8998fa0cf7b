/* Sharing of model handles between the files of the API layer. */
#ifndef RAD_API_MODEL_H
#define RAD_API_MODEL_H

#include "api/handles.h"

radllm_model *rad_model_retain(radllm_model *model);

#endif
