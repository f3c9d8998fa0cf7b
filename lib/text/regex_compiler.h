/* What the parts of the compiler of regular expressions share: regex.c reads groups, single things
 * and quantifiers, regex_class.c what stands for one of several characters, and regex_code.c writes
 * code and sets. Blocks of code hold only jumps relative to themselves, so that they can be moved
 * and copied. Nothing of this is for others. */
#ifndef RAD_REGEX_COMPILER_H
#define RAD_REGEX_COMPILER_H

#include <string.h>

#include "text/regex_program.h"
#include "text/utf8.h"

#define RAD_RE_CODE_MAX  4096
#define RAD_RE_ITEMS_MAX 4096
#define RAD_RE_SETS_MAX  1024
#define RAD_RE_DEPTH_MAX 50

typedef struct rad_regex_compiler {
    const uint8_t *start;
    const uint8_t *p;
    const uint8_t *end;
    rad_regex *regex;
    bool fold;     /* i */
    bool dot_all;  /* m */
    bool extended; /* x */
    uint32_t depth;
    const char *where;
    radllm_error *error;
} rad_regex_compiler;

typedef struct rad_regex_quantifier {
    uint32_t low;
    uint32_t high;
    rad_regex_mode mode;
} rad_regex_quantifier;

/* ---- reading ------------------------------------------------------------------------------ */

static inline bool rad_regex_more(const rad_regex_compiler *c)
{
    return c->p < c->end;
}

static inline bool rad_regex_next_is(const rad_regex_compiler *c, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(c->end - c->p) >= size && memcmp(c->p, text, size) == 0;
}

static inline bool rad_regex_take(rad_regex_compiler *c, const char *text)
{
    if (!rad_regex_next_is(c, text))
        return false;
    c->p += strlen(text);
    return true;
}

static inline uint32_t rad_regex_take_code(rad_regex_compiler *c)
{
    uint32_t code;
    c->p += rad_utf8_decode(c->p, c->end, &code);
    return code;
}

/* ---- regex_code.c: errors, and what is written -------------------------------------------- */

radllm_status rad_regex_refuse(const rad_regex_compiler *c, const char *what);
radllm_status rad_regex_too_large(const rad_regex_compiler *c);

radllm_status rad_regex_emit(rad_regex_compiler *c, rad_regex_code code);
/* Makes room for one instruction at `at`. */
radllm_status rad_regex_insert(rad_regex_compiler *c, uint32_t at, rad_regex_code code);
radllm_status rad_regex_add_item(rad_regex_compiler *c, rad_regex_item_kind kind, bool negated,
                                 uint32_t low, uint32_t high);
/* Ends a set of the items from `first` on and emits it. */
radllm_status rad_regex_emit_set(rad_regex_compiler *c, uint32_t first, bool negated, bool fold);
/* The number of characters that a look-behind's code matches; -1 where it may differ. */
int64_t rad_regex_fixed_length(const rad_regex_code *code, uint32_t count);
/* Applies a quantifier to the block from `at` on. */
radllm_status rad_regex_quantify(rad_regex_compiler *c, uint32_t at, rad_regex_quantifier q);

/* ---- regex_class.c: one of several characters --------------------------------------------- */

/* The class behind a backslash as items of a set; *is_class is false, and nothing taken, where the
 * escape is no class. */
radllm_status rad_regex_add_class(rad_regex_compiler *c, bool *is_class);
/* One character behind a backslash that is no class. */
radllm_status rad_regex_take_escaped(rad_regex_compiler *c, uint32_t *code);
/* The set behind an opening bracket. */
radllm_status rad_regex_compile_class(rad_regex_compiler *c);

#endif
