/* A model with adapters in its weights, as a source of tensors: what is written of a plan that asks
 * for it. */
#ifndef RAD_QUANTIZE_MERGED_H
#define RAD_QUANTIZE_MERGED_H

#include "quantize/quantize.h"

/* Opens the adapters (settings->adapters) for the model of a source that has the names of GGUF, and
 * puts in its place one whose tensors they changed: these are F32, rad_derived_origin() gives the
 * model's own. Free *out after the source. */
radllm_status rad_merged_make(const rad_host *host, const rad_quantize_settings *settings,
                              rad_source **source, rad_merged **out, radllm_error *error);
void rad_merged_free(rad_merged *merged); /* NULL is allowed */

#endif
