/* Vocabularies for the tests of lib/text, made in memory. */
#ifndef RAD_TEST_TEXT_SUPPORT_H
#define RAD_TEST_TEXT_SUPPORT_H

#include "text/tokenizer.h"
#include "unit/gguf_builder.h"

/* The keys of a byte-level vocabulary: the 256 letters of bytes (ids 0 to 255), the pieces that
 * `merges` make (each merge is "a b" and adds "ab"), then the `specials`, of type control. */
gguf_builder text_byte_level(const char *pre, const char *const *merges, size_t n_merges,
                             const char *const *specials, size_t n_specials);
/* The keys of a SentencePiece vocabulary: <unk>, <s>, </s>, 256 bytes, then `pieces`, each with a
 * score of minus its place. */
gguf_builder text_sentencepiece(const char *const *pieces, size_t n_pieces);
/* The keys of a WordPiece vocabulary of just these entries. */
gguf_builder text_wordpiece(const char *const *entries, size_t count);

/* Tries to make a tokenizer from the file that the builder describes. */
radllm_status text_create(gguf_builder *file, const rad_host *host, rad_tokenizer **out,
                          radllm_error *error);
/* Must succeed; frees the builder. */
rad_tokenizer *text_tokenizer(gguf_builder *file);
/* Opens a model file and makes its tokenizer; must succeed. */
rad_tokenizer *text_open(const char *path);

/* The ids of a text; the caller frees. */
rad_tokens text_encode(const rad_tokenizer *tokenizer, const char *text, size_t size,
                       uint32_t flags);
/* Fails unless the ids of a text (NUL-terminated) are those of the list "1 2 3". */
void text_check(const rad_tokenizer *tokenizer, const char *text, uint32_t flags, const char *ids);

/* The vocabulary of a "vocab.json" and "merges.txt", which must exist. Tokens behind those of the
 * file are added as control tokens. */
gguf_builder text_from_json(const char *pre, const char *vocabulary, const char *merges,
                            const char *const *specials, size_t n_specials);

#endif
