/* The logits of an answer, whose tokens are guessed ahead in one way or another. */
#ifndef RAD_TEST_CONTRACT_ANSWER_H
#define RAD_TEST_CONTRACT_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "radllm/radllm.h"

enum { ANSWER_TOKENS = 32 };

/* Answers the prompt on the session with a random choice and repeated tokens made less likely;
 * returns the hash of the logits of each position. speculation: off, lookup, draft or host.
 * company: another session of the engine, whose tokens are computed in the same steps, or NULL.
 * Ends the program with the library's message when that fails. */
uint64_t hash_answer(radllm_session *session, radllm_session *company, const int32_t *prompt,
                     size_t n_prompt, const char *speculation, radllm_error *error);

/* FNV-1a, 64 bits. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t size);
/* A radllm_logits_fn: adds them to the hash that user points to. */
int32_t add_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab);
void fail(const char *what, const radllm_error *error);

#endif
