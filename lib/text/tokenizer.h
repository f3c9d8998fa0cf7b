/* lib/text: text and tokens. UTF-8, pre-tokenizers, byte-level BPE, SentencePiece-style
 * BPE, WordPiece, streaming detokenizer, chat templates. Nothing here knows of weights or sessions.
 */
#ifndef RAD_TOKENIZER_H
#define RAD_TOKENIZER_H

#include "base/base.h"
#include "io/model_source.h"

typedef struct rad_tokenizer rad_tokenizer;

/* Token types, numbered as in tokenizer.ggml.token_type. */
typedef enum rad_token_type {
    RAD_TOKEN_NORMAL = 1,
    RAD_TOKEN_UNKNOWN = 2,
    RAD_TOKEN_CONTROL = 3,
    RAD_TOKEN_USER_DEFINED = 4,
    RAD_TOKEN_UNUSED = 5,
    RAD_TOKEN_BYTE = 6
} rad_token_type;

/* Builds a tokenizer from the tokenizer.json beside the model where there is one
 * (tokenizer_json.h), else from the tokenizer.ggml.* metadata, and checks all of it (lengths and
 * types of the arrays, ids within the vocabulary, merges of known pieces, byte tokens, sizes). It
 * keeps no pointer into the source. Immutable afterwards; any number of threads. */
radllm_status rad_tokenizer_create(const rad_host *host, const rad_source *source,
                                   rad_tokenizer **out, radllm_error *error);
void rad_tokenizer_free(rad_tokenizer *tokenizer);

/* A growing list of token ids. Zero-initialise but for `allocator`; rad_tokens_free wipes it. */
typedef struct rad_tokens {
    const rad_allocator *allocator;
    int32_t *ids;
    size_t count;
    size_t capacity;
} rad_tokens;
bool rad_tokens_push(rad_tokens *tokens, int32_t id); /* false: memory */
void rad_tokens_free(rad_tokens *tokens);

/* Appends the ids of text. flags: RADLLM_TOKENIZE_... Linear time in size for any text. Invalid
 * UTF-8 is taken as llama.cpp does for each kind of tokenizer (see utf8.h). */
radllm_status rad_tokenizer_encode(const rad_tokenizer *tokenizer, const char *text, size_t size,
                                   uint32_t flags, rad_tokens *out, radllm_error *error);

/* A stretch of text; parse: the texts of control tokens in it are read as those tokens. */
typedef struct rad_text_span {
    rad_text text;
    bool parse;
} rad_text_span;

/* Appends the ids of the spans as of one text: pieces are cut and merged across their borders, but
 * a control token is read only where its whole text lies in adjacent spans that have `parse` set.
 * flags: RADLLM_TOKENIZE_ADD_SPECIAL, or RAD_TOKENIZE_ADD_BOS: the BOS token alone where the
 * tokenizer adds it, and not where the text begins with it. rad_tokenizer_encode is the case of
 * one span. */
enum { RAD_TOKENIZE_ADD_BOS = 1 << 16 };
radllm_status rad_tokenizer_encode_spans(const rad_tokenizer *tokenizer, const rad_text_span *spans,
                                         size_t count, uint32_t flags, rad_tokens *out,
                                         radllm_error *error);

/* The bytes that a token stands for in running text (SentencePiece: U+2581 becomes a space; byte
 * tokens their byte; control tokens nothing unless `special`). Returns the length; writes at most
 * capacity bytes. Ids out of range give 0. The leading space of a SentencePiece text is handled by
 * rad_tokenizer_decode and the detokenizer, not here. */
size_t rad_tokenizer_piece(const rad_tokenizer *tokenizer, int32_t id, bool special, char *buffer,
                           size_t capacity);

/* Appends the bytes of a sequence of tokens, as the reference tokenizer's decode gives them
 * (leading space of SentencePiece removed when the tokenizer adds one; WordPiece joined with
 * spaces). *length receives the full size; at most capacity bytes are written. */
radllm_status rad_tokenizer_decode(const rad_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                   uint32_t flags, char *buffer, size_t capacity, size_t *length,
                                   radllm_error *error);

/* A stream of tokens to text that never ends within a UTF-8 character. Fixed size: a token's text
 * is given out piece by piece. Invalid bytes become U+FFFD (one per maximal subpart, as Unicode
 * recommends). */
typedef struct rad_detokenizer {
    const rad_tokenizer *tokenizer;
    uint32_t flags;
    bool at_start;      /* nothing was given out yet */
    bool at_head;       /* no token came yet */
    uint8_t stripped;   /* characters that were taken from the head */
    int32_t last;       /* token whose text may be another where none follows, or -1 */
    uint8_t pending[4]; /* the beginning of a character */
    uint32_t n_pending;
} rad_detokenizer;
void rad_detokenizer_start(rad_detokenizer *detokenizer, const rad_tokenizer *tokenizer,
                           uint32_t flags);
/* Upper bound of the bytes that one push can give. */
size_t rad_detokenizer_bound(const rad_tokenizer *tokenizer);
/* Writes the text that became complete (buffer of rad_detokenizer_bound() bytes); returns its
 * length. */
size_t rad_detokenizer_push(rad_detokenizer *detokenizer, int32_t id, char *buffer);
size_t rad_detokenizer_finish(rad_detokenizer *detokenizer, char *buffer);

uint32_t rad_tokenizer_size(const rad_tokenizer *tokenizer); /* of the vocabulary */
/* "llama", "gpt2", "bert"; of a tokenizer.json "bpe", "unigram", "wordpiece", "wordlevel" */
const char *rad_tokenizer_kind(const rad_tokenizer *tokenizer);
const char *rad_tokenizer_pre(const rad_tokenizer *tokenizer); /* pre-tokenizer's name, or "" */
int32_t rad_tokenizer_bos(const rad_tokenizer *tokenizer);     /* -1: none */
int32_t rad_tokenizer_eos(const rad_tokenizer *tokenizer);
/* What fills batches up where the model is trained. */
int32_t rad_tokenizer_padding(const rad_tokenizer *tokenizer);
bool rad_tokenizer_adds_bos(const rad_tokenizer *tokenizer);
bool rad_tokenizer_adds_eos(const rad_tokenizer *tokenizer);
bool rad_tokenizer_is_end(const rad_tokenizer *tokenizer, int32_t id);
rad_token_type rad_tokenizer_type(const rad_tokenizer *tokenizer, int32_t id);
/* The entry as it stands in the file. */
rad_text rad_tokenizer_entry(const rad_tokenizer *tokenizer, int32_t id);
/* The id of an entry, or -1. */
int32_t rad_tokenizer_find(const rad_tokenizer *tokenizer, const char *entry, size_t size);
/* The chat template's text in the files beside a tokenizer.json; "" where there is none. */
rad_text rad_tokenizer_chat_template(const rad_tokenizer *tokenizer);
const char *rad_unicode_version(void);                      /* of the character data in use */
size_t rad_tokenizer_bytes(const rad_tokenizer *tokenizer); /* memory held */

#endif
