#include "text/specials.h"

#include <string.h>

static bool is_special(uint8_t type)
{
    return type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_UNKNOWN || type == RAD_TOKEN_USER_DEFINED;
}

static uint32_t child_of(rad_specials *specials, uint32_t *first, uint8_t byte)
{
    for (uint32_t at = *first; at != 0; at = specials->nodes[at].sibling)
        if (specials->nodes[at].byte == byte)
            return at;
    uint32_t made = specials->n_nodes++;
    rad_special_node *node = &specials->nodes[made];
    node->token = -1;
    node->child = 0;
    node->byte = byte;
    node->sibling = *first;
    *first = made;
    return made;
}

static void insert(rad_specials *specials, const uint8_t *text, size_t size, int32_t token)
{
    uint32_t at = child_of(specials, &specials->root[text[0]], text[0]);
    specials->nodes[at].sibling = 0; /* the root is a table, not a list */
    for (size_t i = 1; i < size; i++)
        at = child_of(specials, &specials->nodes[at].child, text[i]);
    specials->nodes[at].token = token;
}

radllm_status rad_specials_start(rad_specials *specials, rad_arena *arena, size_t total,
                                 const uint8_t *types, radllm_error *error)
{
    size_t bytes;
    if (!rad_mul_size(total + 1, sizeof(rad_special_node), &bytes))
        return rad_fail_memory(error, total);
    specials->nodes = rad_arena_alloc(arena, bytes, sizeof(uint32_t));
    if (specials->nodes == NULL)
        return rad_fail_memory(error, bytes);
    specials->n_nodes = 1;
    specials->types = types;
    memset(specials->root, 0, sizeof specials->root);
    return RADLLM_OK;
}

void rad_specials_add(rad_specials *specials, const uint8_t *text, size_t size, int32_t token)
{
    if (size > 0)
        insert(specials, text, size, token);
}

radllm_status rad_specials_make(rad_specials *specials, rad_vocabulary *vocabulary,
                                radllm_error *error)
{
    size_t total = 0;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size;
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (!is_special(vocabulary->types[id]))
            continue;
        if (size > RAD_SPECIAL_MAX) {
            char quoted[RAD_QUOTE_SIZE];
            return rad_fail(error, RADLLM_E_LIMIT,
                            "tokenizer.ggml.tokens[%u], a control or user-defined token, is %zu "
                            "bytes long (\"%s\"): at most %d are supported",
                            id, size, rad_quote(quoted, (const char *)text, size), RAD_SPECIAL_MAX);
        }
        total += size;
    }
    radllm_status status =
        rad_specials_start(specials, &vocabulary->arena, total, vocabulary->types, error);
    for (uint32_t id = 0; id < vocabulary->size && status == RADLLM_OK; id++) {
        size_t size;
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (is_special(vocabulary->types[id]))
            rad_specials_add(specials, text, size, (int32_t)id);
    }
    return status;
}

int32_t rad_specials_match(const rad_specials *specials, const uint8_t *p, const uint8_t *parse_end,
                           const uint8_t *end, size_t *length)
{
    int32_t found = -1;
    const uint8_t *q = p;
    uint32_t at = specials->root[*p];
    while (at != 0) {
        const rad_special_node *node = &specials->nodes[at];
        q++;
        if (node->token >= 0) {
            bool user_defined = specials->types[node->token] == RAD_TOKEN_USER_DEFINED;
            if (user_defined || q <= parse_end) {
                found = node->token;
                *length = (size_t)(q - p);
            }
        }
        if (q == end)
            break;
        for (at = node->child; at != 0 && specials->nodes[at].byte != *q;)
            at = specials->nodes[at].sibling;
    }
    return found;
}
