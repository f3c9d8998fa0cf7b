/* Tokenizers of Hugging Face folders: tokenizer.json or tokenizer.model, and the files beside them.
 */
#ifndef RAD_TOKENIZER_JSON_H
#define RAD_TOKENIZER_JSON_H

#include "io/json_tree.h"
#include "text/tokenizer.h"

/* Texts of the files, which are changed while they are read; NULL: there is no such file. */
typedef struct rad_tokenizer_file {
    char *data;
    size_t size;
} rad_tokenizer_file;

typedef struct rad_tokenizer_files {
    rad_tokenizer_file tokenizer;          /* tokenizer.json, or tokenizer.model */
    rad_tokenizer_file added;              /* added_tokens.json; beside a tokenizer.model only */
    rad_tokenizer_file config;             /* tokenizer_config.json */
    rad_tokenizer_file special_tokens_map; /* special_tokens_map.json */
    rad_tokenizer_file generation_config;  /* generation_config.json */
    rad_tokenizer_file chat_template;      /* chat_template.jinja */
    rad_tokenizer_file sentences;          /* sentence_bert_config.json */
    int64_t rows;                          /* of the embedding; 0: not known */
} rad_tokenizer_files;

/* Whether a token is padding behind the embedding's rows, as some models were published with: it
 * is no token then, and text that spells it is text. */
bool rad_is_outer_padding(const rad_tree *config, int64_t rows, int64_t id, rad_text text);

/* Builds a tokenizer that gives the tokens that the package `tokenizers` gives. Parts of the file
 * that are not known are refused by name. Keeps no pointer into the texts. */
radllm_status rad_tokenizer_create_json(const rad_host *host, const rad_tokenizer_files *files,
                                        rad_tokenizer **out, radllm_error *error);

/* Makes a tokenizer of the parts of a tokenizer.json that a GGUF file has under RAD_KEY_PARTS, and
 * of its vocabulary. Which tokens begin and end answers is left to the caller. */
radllm_status rad_tokenizer_read_parts(rad_tokenizer *tokenizer, const rad_source *source,
                                       radllm_error *error);

/* Whether the source has a tokenizer.json or tokenizer.model beside it, and the tokenizer of such a
 * source. rad_tokenizer_create asks and calls these. */
bool rad_tokenizer_is_folder(const rad_source *source);
radllm_status rad_tokenizer_create_folder(const rad_host *host, const rad_source *source,
                                          rad_tokenizer **out, radllm_error *error);

/* The JSON texts beside a tokenizer, parsed; of those that are not there `count` is 0. */
typedef struct rad_tokenizer_side {
    rad_tree config, map, generation, added, sentences;
} rad_tokenizer_side;

/* rad_tokenizer_side_free also after a failure. */
radllm_status rad_tokenizer_side_parse(rad_tokenizer_side *side, const rad_tokenizer_files *files,
                                       const rad_allocator *allocator, radllm_error *error);
/* Whether texts are read in lower case, as sentence-transformers is told to. */
radllm_status rad_tokenizer_side_lowers(const rad_tokenizer_side *side, bool *lowers,
                                        radllm_error *error);
void rad_tokenizer_side_free(rad_tokenizer_side *side);
/* Which tokens begin and end a text and an answer. What the texts do not say stays as it is. */
radllm_status rad_tokenizer_side_apply(rad_tokenizer *tokenizer, const rad_tokenizer_side *side,
                                       radllm_error *error);

#endif
