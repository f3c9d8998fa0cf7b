/* A tokenizer of a folder as GGUF has it: the entries tokenizer.ggml.*. */
#ifndef RAD_TEXT_EXPORT_H
#define RAD_TEXT_EXPORT_H

#include "text/merge.h"
#include "text/tokenizer.h"

typedef radllm_status (*rad_put_meta)(void *user, const rad_meta *meta, radllm_error *error);

/* Whether it was made of a tokenizer.json. */
bool rad_tokenizer_has_parts(const rad_tokenizer *tokenizer);
/* Whether GGUF's own keys say all that the parts of a tokenizer.json do. */
bool rad_tokenizer_is_plain(const rad_tokenizer *tokenizer);

/* Gives the entries of a tokenizer that was made of the files of a folder, `source`, with `size`
 * tokens: the embedding may have more rows than there are tokens. *keyed: with the parts of
 * tokenizer.json under a key of ours; it becomes true where they are needed. RADLLM_E_UNSUPPORTED
 * for models that GGUF has no words for. */
radllm_status rad_tokenizer_export(const rad_tokenizer *tokenizer, const rad_source *source,
                                   uint32_t size, bool *keyed, rad_put_meta put, void *user,
                                   radllm_error *error);

/* The pairs that merge, by rank, in the arena; none where pieces merge by score. */
radllm_status rad_tokenizer_merges(const rad_tokenizer *tokenizer, rad_arena *arena,
                                   const rad_pair ***out, uint32_t *count, radllm_error *error);

/* RADLLM_E_UNSUPPORTED, naming a text, where a tokenizer and what was made of it in another form
 * ("GGUF") cut it otherwise: a list of texts with what tokenizers differ in; `thorough`: and texts
 * put together of the vocabulary's pieces. */
radllm_status rad_tokenizer_compare(const rad_tokenizer *a, const rad_tokenizer *b,
                                    const char *form, bool thorough, radllm_error *error);

#endif
