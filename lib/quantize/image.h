/* A folder as the GGUF file that readers of such files expect of it: rows of queries and keys in
 * their order, the experts of a layer as one tensor, keys in their types, the tokenizer. */
#ifndef RAD_IMAGE_H
#define RAD_IMAGE_H

#include "io/model_source.h"

/* Makes a source that nothing but the names and types of GGUF stands in; of a GGUF file it is the
 * source itself. Release it. *no_file fails with what it is that other readers of GGUF have no
 * words for, so that no file is to be written, a folder alone; its status is RADLLM_OK otherwise.
 */
radllm_status rad_image_make(const rad_host *host, rad_source *source, rad_source **out,
                             radllm_error *no_file, radllm_error *error);

/* "blk.3.ffn_gate.5.weight" is matrix 5 of "blk.3.ffn_gate_exps.weight": false for other names. */
#define RAD_STACK_NAME 96
bool rad_stack_name(rad_text name, char stack[RAD_STACK_NAME], uint32_t *expert);

#endif
