/* Writes what tokenizer.json holds, and the parts of it that GGUF has no keys for. */
#ifndef RAD_JSON_WRITER_H
#define RAD_JSON_WRITER_H

#include "base/file_write.h"
#include "text/tokenizer_internal.h"

#define RAD_MARK      "\xE2\x96\x81"
#define RAD_PIECE_MAX 512
#define RAD_METASPACE                                                                              \
    "{\"type\": \"Metaspace\", \"replacement\": \"" RAD_MARK "\", \"prepend_scheme\": \""

typedef struct rad_json_writer {
    const rad_tokenizer *tokenizer;
    rad_output *output;
    radllm_error *error;
    radllm_status status; /* the first failure; later calls do nothing */
} rad_json_writer;

void rad_json(rad_json_writer *w, const char *text); /* as it is */
void rad_json_bytes(rad_json_writer *w, const char *bytes, size_t size);
void rad_json_number(rad_json_writer *w, int64_t value);
void rad_json_flag(rad_json_writer *w, bool value);
bool rad_json_is_utf8(rad_text text);
void rad_json_string(rad_json_writer *w, rad_text text); /* quoted */
/* A token's text as tokenizer.json has it. */
void rad_json_entry(rad_json_writer *w, int32_t id);
void rad_json_charsmap(rad_json_writer *w,
                       const rad_charsmap *map); /* in base 64, without quotes */

/* The parts of a tokenizer that was made of a tokenizer.json: "normalizer": ... to "decoder": ...,
 * with a comma behind each, then the object "model" without its vocabulary and its end. `keyed`:
 * for GGUF, which has a key for the table of replacements where the model is Unigram. */
void rad_json_parts(rad_json_writer *w, bool keyed);

#endif
