/* Finds control and user-defined tokens in text: a tree of their texts, longest match first. */
#ifndef RAD_SPECIALS_H
#define RAD_SPECIALS_H

#include "text/vocabulary.h"

/* Longer texts of such tokens are refused, so that looking for them takes a bounded time. */
#define RAD_SPECIAL_MAX 1024

typedef struct rad_special_node {
    int32_t token;    /* that ends here, or -1 */
    uint32_t child;   /* 0: none */
    uint32_t sibling; /* 0: none */
    uint8_t byte;
} rad_special_node;

typedef struct rad_specials {
    rad_special_node *nodes; /* nodes[0] is not used */
    uint32_t n_nodes;
    uint32_t root[256]; /* by first byte; 0: none */
    const uint8_t *types;
} rad_specials;

radllm_status rad_specials_make(rad_specials *specials, rad_vocabulary *vocabulary,
                                radllm_error *error);
/* The same, text by text: room for `total` bytes, then the texts (at most RAD_SPECIAL_MAX bytes
 * each; of two equal ones the last counts). types: of the tokens. */
radllm_status rad_specials_start(rad_specials *specials, rad_arena *arena, size_t total,
                                 const uint8_t *types, radllm_error *error);
void rad_specials_add(rad_specials *specials, const uint8_t *text, size_t size, int32_t token);
/* The longest token whose text begins at p, and its length; -1 when there is none. Control and
 * unknown tokens must end at or before parse_end; user-defined ones at or before end. */
int32_t rad_specials_match(const rad_specials *specials, const uint8_t *p, const uint8_t *parse_end,
                           const uint8_t *end, size_t *length);

#endif
