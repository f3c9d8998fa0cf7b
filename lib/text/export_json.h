/* A tokenizer of GGUF as the texts of a folder: tokenizer.json and tokenizer_config.json. */
#ifndef RAD_EXPORT_JSON_H
#define RAD_EXPORT_JSON_H

#include "base/file_write.h"
#include "text/tokenizer.h"

/* RADLLM_E_UNSUPPORTED for tokenizers that have no form there. */
radllm_status rad_tokenizer_write_json(const rad_tokenizer *tokenizer, rad_output *output,
                                       radllm_error *error);
/* An id for what is said of special tokens, or -1: a GGUF file of byte-level BPE that names none of
 * its tokens has number 11, as readers do, which is some piece of text; named in a folder it would
 * be taken out of all texts. */
int32_t rad_tokenizer_special_id(const rad_tokenizer *tokenizer, int32_t id);
/* With the chat templates of `source`, where it is not NULL. */
radllm_status rad_tokenizer_write_config(const rad_tokenizer *tokenizer, const rad_source *source,
                                         uint64_t context, rad_output *output, radllm_error *error);

#endif
