/* Regular expressions as tokenizer.json writes them (Oniguruma's Ruby syntax). A matcher of our
 * own, since patterns and texts are hostile: every step is counted against a budget, nothing
 * recurses while matching, memory comes from the host, and classes are those of utf8proc as
 * everywhere.
 *
 * Known: alternatives, groups (plain, named, atomic, with options i, m and x), * + ? {n,m} (greedy,
 * lazy, possessive), classes, also in classes and joined by &&, \s \S \d \D \w \W \h \H, \p{...} of
 * general categories and Han, . ^ $ \A \z \Z \b \B, look-ahead, look-behind of fixed length,
 * comments. Anything else is refused by name. */
#ifndef RAD_REGEX_H
#define RAD_REGEX_H

#include "io/model_source.h"

typedef struct rad_regex rad_regex;

/* Compiles a pattern into the arena. `where` names it in messages. */
radllm_status rad_regex_compile(rad_arena *arena, rad_text pattern, const char *where,
                                const rad_regex **out, radllm_error *error);

typedef struct rad_regex_frame {
    uint32_t kind;
    uint32_t at; /* of an instruction, or a register */
    uint32_t position;
    uint32_t least;
} rad_regex_frame;

/* Memory for matching, used again from call to call. Zero it, set the allocator and the budget. */
typedef struct rad_regex_space {
    const rad_allocator *allocator;
    rad_regex_frame *frames;
    size_t capacity;
    size_t n_frames;
    uint64_t budget; /* steps that are left */
    bool no_memory;  /* why a search failed; else the budget was used up */
    bool failed;
} rad_regex_space;
void rad_regex_space_free(rad_regex_space *space);

typedef enum rad_regex_result {
    RAD_REGEX_MATCH,
    RAD_REGEX_NONE,
    RAD_REGEX_FAILED
} rad_regex_result;

/* The first match that begins at `from` or behind it in UTF-8 text. */
rad_regex_result rad_regex_find(const rad_regex *regex, rad_regex_space *space, const uint8_t *text,
                                size_t size, size_t from, size_t *start, size_t *end);

/* A letter, mark, decimal number or connector, or what else Unicode calls alphabetic. */
bool rad_is_word(uint32_t code);
static inline bool rad_is_space(uint32_t code) /* the property White_Space */
{
    return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

#endif
