/* What the compiler of regular expressions gives to the matcher. */
#ifndef RAD_REGEX_PROGRAM_H
#define RAD_REGEX_PROGRAM_H

#include "text/regex.h"

typedef enum rad_regex_op {
    RAD_RE_CHAR,      /* code a */
    RAD_RE_FOLD,      /* code a, which is folded */
    RAD_RE_SET,       /* set a */
    RAD_RE_LOOP,      /* set a, low to high times */
    RAD_RE_SPLIT,     /* goes on behind it; failing that, at +a. lazy: the other way round */
    RAD_RE_JUMP,      /* goes on at +a */
    RAD_RE_LOOK,      /* what follows up to +a, without moving; b characters back for look-behind */
    RAD_RE_ATOMIC,    /* what follows up to +a, for good */
    RAD_RE_INNER_END, /* the end of these two */
    RAD_RE_MARK,      /* register a = position */
    RAD_RE_MOVED,     /* goes on at +b where the position is that of register a */
    RAD_RE_LINE_START, /* ^ */
    RAD_RE_LINE_END,   /* $ */
    RAD_RE_TEXT_START, /* \A */
    RAD_RE_TEXT_END,   /* \z */
    RAD_RE_LAST_LINE,  /* \Z */
    RAD_RE_BOUNDARY,   /* \b */
    RAD_RE_MATCH
} rad_regex_op;

typedef enum rad_regex_mode { RAD_RE_GREEDY, RAD_RE_LAZY, RAD_RE_POSSESSIVE } rad_regex_mode;

typedef struct rad_regex_code {
    uint8_t op;
    uint8_t mode;    /* of loops and splits */
    uint8_t negated; /* of looks and boundaries */
    uint8_t behind;  /* a look-behind */
    uint32_t a;
    uint32_t b;
    uint32_t low;
    uint32_t high; /* UINT32_MAX: no end */
} rad_regex_code;

typedef enum rad_regex_item_kind {
    RAD_RE_RANGE,      /* low to high */
    RAD_RE_CATEGORIES, /* a bit in low per utf8proc category */
    RAD_RE_SPACE,
    RAD_RE_WORD,
    RAD_RE_NESTED /* any of the low items that follow, which count for this one alone */
} rad_regex_item_kind;

typedef struct rad_regex_item {
    uint8_t kind;
    uint8_t negated;
    uint32_t low;
    uint32_t high;
} rad_regex_item;

typedef struct rad_regex_set {
    uint32_t first; /* item */
    uint32_t count;
    bool negated;
    bool fold;
    uint32_t ascii[4]; /* a bit for each of the first 128 characters */
} rad_regex_set;

struct rad_regex {
    rad_regex_code *code;
    rad_regex_item *items;
    rad_regex_set *sets;
    uint32_t n_code;
    uint32_t n_items;
    uint32_t n_sets;
    uint32_t n_registers;
};

#define RAD_RE_REGISTERS 32

bool rad_regex_in_set(const rad_regex *regex, const rad_regex_set *set, uint32_t code);
uint32_t rad_regex_fold(uint32_t code);
/* What the next character from *code on that a set holds folds to, where asking for a character,
 * what it folds to and the upper case of that would not find it; 0: there is none. */
uint32_t rad_regex_next_fold(const rad_regex *regex, const rad_regex_set *set, uint32_t *code);

#endif
