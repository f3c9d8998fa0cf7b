/* Whether a model goes on with texts, follows instructions, or holds conversations. */
#ifndef RAD_KIND_H
#define RAD_KIND_H

#include "text/tokenizer.h"

typedef enum rad_model_kind { RAD_KIND_BASE, RAD_KIND_INSTRUCT, RAD_KIND_CHAT } rad_model_kind;

#define RAD_KIND_REASON 160

/* Decided by the first that says it: the keys general.finetune, general.name and general.basename;
 * a chat template; the token that ends answers; the file's name. `reason` receives which, in words.
 * chat_template:
 * "" where there is none. */
rad_model_kind rad_kind_of(const rad_source *source, const rad_tokenizer *tokenizer,
                           rad_text chat_template, char reason[RAD_KIND_REASON]);

/* Whether there are chat templates for some purpose (tokenizer.chat_template.NAME). */
bool rad_has_named_templates(const rad_source *source);

#endif
