/* Reads JSON (RFC 8259) out of hostile hands: one pass, no recursion, no allocation but one array
 * of 16 bytes per value, strings decoded where they stand. Strict: duplicate keys, invalid UTF-8,
 * lone surrogates and anything behind the value are errors that name the byte. */
#ifndef RAD_JSON_TREE_H
#define RAD_JSON_TREE_H

#include "io/model_source.h"

typedef enum rad_tree_kind {
    RAD_TREE_NULL,
    RAD_TREE_FALSE,
    RAD_TREE_TRUE,
    RAD_TREE_NUMBER,
    RAD_TREE_STRING,
    RAD_TREE_ARRAY,
    RAD_TREE_OBJECT
} rad_tree_kind;

/* A value; those that an array holds follow it, and the keys and values of an object by turns. */
typedef struct rad_tree_value {
    uint32_t kind;
    uint32_t start; /* in the text: of a string's first byte, or of the value */
    uint32_t size;  /* of a string or number in bytes; how many values or pairs it holds */
    uint32_t next;  /* index of the value behind this one and all it holds */
} rad_tree_value;

#define RAD_TREE_DEPTH 128 /* most levels */

/* Zero-initialise but for the allocator. */
typedef struct rad_tree {
    const rad_allocator *allocator;
    char *text; /* the caller's; must stay */
    rad_tree_value *values;
    size_t count;
    size_t capacity;
} rad_tree;

#define RAD_TREE_NONE UINT32_MAX

/* Parses text[0..size), which it changes, into at most max_values values; values[0] is the whole.
 * `label` names the text in messages. rad_tree_free also after a failure. */
radllm_status rad_tree_parse(rad_tree *json, char *text, size_t size, size_t max_values,
                             const char *label, radllm_error *error);
void rad_tree_free(rad_tree *json);

/* The first value in an array or key in an object; meaningful where it is not empty. The next one
 * is at json->values[at].next; the value of a key at `at` is at + 1. */
static inline uint32_t rad_tree_first(uint32_t at)
{
    return at + 1;
}

static inline rad_tree_kind rad_tree_kind_of(const rad_tree *json, uint32_t at)
{
    return at == RAD_TREE_NONE ? RAD_TREE_NULL : (rad_tree_kind)json->values[at].kind;
}

/* The bytes of a string or number. */
static inline rad_text rad_tree_text(const rad_tree *json, uint32_t at)
{
    rad_text text = {json->text + json->values[at].start, json->values[at].size};
    return text;
}

/* The value of a key, or RAD_TREE_NONE; also where `object` is none. Looks at each key. */
uint32_t rad_tree_get(const rad_tree *json, uint32_t object, const char *key);
bool rad_tree_is(const rad_tree *json, uint32_t at, const char *text); /* a string that equals */
/* A number without fraction and exponent that fits; false otherwise. */
bool rad_tree_integer(const rad_tree *json, uint32_t at, int64_t *out);
/* Any number, to the nearest double where it has at most 19 digits, a fraction of at most 19, and
 * no exponent; else to within some units of the last place. The same on all machines. */
bool rad_tree_number(const rad_tree *json, uint32_t at, double *out);

/* The number that a text of digits alone says, or another great one where 63 bits do not hold it;
 * -1 for other texts. */
int64_t rad_tree_number_of(rad_text text);

#endif
