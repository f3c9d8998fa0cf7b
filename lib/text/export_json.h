/* A tokenizer of GGUF as the texts of a folder: tokenizer.json and tokenizer_config.json. */
#ifndef RAD_EXPORT_JSON_H
#define RAD_EXPORT_JSON_H

#include "base/file_write.h"
#include "text/tokenizer.h"

/* RADLLM_E_UNSUPPORTED for tokenizers that have no form there. */
radllm_status rad_tokenizer_write_json(const rad_tokenizer *tokenizer, rad_output *output,
                                       radllm_error *error);
/* chat_template: "" where there is none. */
radllm_status rad_tokenizer_write_config(const rad_tokenizer *tokenizer, rad_text chat_template,
                                         uint64_t context, rad_output *output, radllm_error *error);

#endif
