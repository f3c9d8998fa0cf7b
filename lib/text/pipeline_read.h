/* Reading tokenizer.json: what the files that do it share. */
#ifndef RAD_PIPELINE_READ_H
#define RAD_PIPELINE_READ_H

#include "io/json_tree.h"
#include "text/tokenizer_internal.h"

typedef struct rad_pipeline_reader {
    rad_tree json;
    const rad_tree *config; /* tokenizer_config.json; count 0: there is none */
    int64_t rows;           /* of rad_tokenizer_files */
    const rad_source *gguf; /* NULL, or what has the vocabulary and the merges in keys of its own */
    bool lowers;            /* texts are read in lower case, whatever tokenizer.json says */
    rad_arena *arena;       /* of what is kept */
    rad_tokenizer *tokenizer;
    rad_pipeline *pipeline;
    radllm_error *error;
} rad_pipeline_reader;

/* Texts that patterns find or that are put in their place have at most this many bytes. */
#define RAD_CONTENT_MAX 1024

/* Members of an object. Each fails where the value is there and of another kind; null counts as
 * missing. `what` names the object in messages. Texts are copied into the arena. */
radllm_status rad_read_flag(rad_pipeline_reader *r, uint32_t object, const char *what,
                            const char *key, bool fallback, bool *out);
radllm_status rad_read_string(rad_pipeline_reader *r, uint32_t object, const char *what,
                              const char *key, size_t most, rad_text *out); /* missing: NULL, 0 */
radllm_status rad_read_count(rad_pipeline_reader *r, uint32_t object, const char *what,
                             const char *key, int64_t fallback, int64_t most, uint32_t *out);
/* Fails with a message that names the part's type. */
radllm_status rad_refuse_part(const rad_pipeline_reader *r, uint32_t part, const char *what);
/* Calls `read` for a part that is no sequence, and for each part of a sequence, whose parts are
 * found under `list`. */
typedef radllm_status (*rad_read_part_fn)(rad_pipeline_reader *r, uint32_t part);
radllm_status rad_read_parts(rad_pipeline_reader *r, uint32_t part, const char *what,
                             const char *list, rad_read_part_fn read);
/* {"String": ...} or {"Regex": ...} */
radllm_status rad_read_pattern(rad_pipeline_reader *r, uint32_t part, const char *what,
                               rad_pattern *out);

radllm_status rad_read_normalizers(rad_pipeline_reader *r, uint32_t part);
radllm_status rad_read_splitters(rad_pipeline_reader *r, uint32_t part);
radllm_status rad_read_frame(rad_pipeline_reader *r, uint32_t part);
/* Reads the model's vocabulary and the added tokens into the tokenizer's vocabulary. */
radllm_status rad_read_vocabulary(rad_pipeline_reader *r, uint32_t model, uint32_t added);
/* The same of r->gguf. */
radllm_status rad_read_gguf_vocabulary(rad_pipeline_reader *r, uint32_t model);
/* The rest of the model; after the pre-tokenizers. */
radllm_status rad_read_model(rad_pipeline_reader *r, uint32_t model);
/* How added tokens are found; after the normalizers. */
radllm_status rad_read_added(rad_pipeline_reader *r, uint32_t added);
/* Reads the decoder and makes the pieces of all tokens. */
radllm_status rad_read_decoder(rad_pipeline_reader *r, uint32_t part);

#endif
