/* A model of which there is nothing but its configuration, as if it were written in a type: for
 * plans. */
#ifndef RAD_SHAPE_H
#define RAD_SHAPE_H

#include "quantize/mixture.h"

/* Opens a configuration (config.json of Hugging Face) as a source whose tensors have names, types
 * and sizes, and no bytes. Release it. */
radllm_status rad_shape_make(const rad_host *host, const char *path, const rad_file_type *type,
                             rad_source **out, radllm_error *error);

#endif
