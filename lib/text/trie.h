/* A tree of byte strings in one table: each of its slots is a node, found by its parent and byte.
 */
#ifndef RAD_TRIE_H
#define RAD_TRIE_H

#include "base/base.h"

#define RAD_TRIE_ROOT  UINT32_MAX
#define RAD_TRIE_NONE  (UINT32_MAX - 1)
#define RAD_TRIE_DEPTH 1024        /* bytes of the longest string */
#define RAD_TRIE_IDS   0x00FFFFFFu /* ids are below */

typedef struct rad_trie_slot {
    uint32_t parent; /* RAD_TRIE_NONE: free */
    uint32_t entry;  /* the byte in the upper 8 bits, below it the id, RAD_TRIE_IDS for none */
} rad_trie_slot;

typedef struct rad_trie {
    rad_trie_slot *slots;
    uint32_t mask;
    uint32_t seed;
} rad_trie;

/* Room for strings of `total` bytes together. */
radllm_status rad_trie_make(rad_trie *trie, rad_arena *arena, size_t total, radllm_error *error);
/* Adds a string that is not empty and not too long; one that is there gets the new id. */
void rad_trie_add(rad_trie *trie, const uint8_t *text, size_t size, uint32_t id);
/* The child of a node, or RAD_TRIE_NONE. */
static inline uint32_t rad_trie_child(const rad_trie *trie, uint32_t node, uint8_t byte)
{
    uint32_t key = (node + trie->seed) * 0x9E3779B1u ^ byte * 0x85EBCA6Bu;
    for (uint32_t slot = (key ^ key >> 15) & trie->mask;; slot = (slot + 1) & trie->mask) {
        const rad_trie_slot *s = &trie->slots[slot];
        if (s->parent == node && s->entry >> 24 == byte)
            return slot;
        if (s->parent == RAD_TRIE_NONE)
            return RAD_TRIE_NONE;
    }
}
/* The id of a node other than the root, or -1. */
static inline int32_t rad_trie_id(const rad_trie *trie, uint32_t node)
{
    uint32_t id = trie->slots[node].entry & RAD_TRIE_IDS;
    return id == RAD_TRIE_IDS ? -1 : (int32_t)id;
}

#endif
