/* Chat templates by name. A template lays out messages as pieces of two kinds: its own text, in
 * which control tokens are read, and the user's, in which they never are. */
#ifndef RAD_CHAT_TEMPLATE_H
#define RAD_CHAT_TEMPLATE_H

#include "text/tokenizer.h"

typedef enum rad_role { RAD_ROLE_SYSTEM, RAD_ROLE_USER, RAD_ROLE_ASSISTANT } rad_role;

typedef struct rad_message {
    rad_role role;
    rad_text text;
} rad_message;

typedef struct rad_chat_template rad_chat_template;

/* By name ("chatml", "llama3", ...); NULL when unknown. */
const rad_chat_template *rad_chat_template_find(const char *name);
/* The beginning of the SHA-256 of a text's normal form, in hexadecimal; false where it has none. */
bool rad_chat_text_hash(rad_text text, char hash[17]);
/* By the known texts of a model file's tokenizer.chat_template, which may differ in comments and in
 * white space that renders nothing; NULL: unknown. */
const rad_chat_template *rad_chat_template_match(rad_text text);
const char *rad_chat_template_name(const rad_chat_template *chat_template);
/* The names, one after the other; NULL behind the last. */
const char *rad_chat_template_name_at(uint32_t index);

/* Appends the tokens of the messages, ending where the assistant's answer begins. `date` is what
 * templates that write a date write; empty: the one in the original's text (no clock is read).
 * Fails with RADLLM_E_UNSUPPORTED where the template cannot express the messages (a system message
 * in Gemma 2, turns that do not alternate where the original raises), naming the message. */
radllm_status rad_chat_template_encode(const rad_chat_template *chat_template,
                                       const rad_tokenizer *tokenizer, const rad_message *messages,
                                       size_t count, rad_text date, rad_tokens *out,
                                       radllm_error *error);
/* The laid out text (for tests against the reference renderings). The caller frees *text with
 * rad_free(allocator, *text, *size + 1). */
radllm_status rad_chat_template_text(const rad_chat_template *chat_template,
                                     const rad_tokenizer *tokenizer, const rad_message *messages,
                                     size_t count, rad_text date, const rad_allocator *allocator,
                                     char **text, size_t *size, radllm_error *error);
/* Strings and token texts that end an answer in this template besides the tokenizer's end tokens
 * ("### Instruction:" for Alpaca); NULL behind the last. */
const char *rad_chat_template_stop(const rad_chat_template *chat_template, uint32_t index);
/* All of them: an array with NULL behind the last. */
const char *const *rad_chat_template_stops(const rad_chat_template *chat_template);
/* The date that the original's text writes; "" when it writes none. */
const char *rad_chat_template_date(const rad_chat_template *chat_template);

#endif
