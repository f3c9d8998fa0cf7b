#include "text/trie.h"

#include <string.h>

radllm_status rad_trie_make(rad_trie *trie, rad_arena *arena, size_t total, radllm_error *error)
{
    size_t slots = 16, bytes;
    while (slots < total + total / 2)
        slots *= 2;
    if (slots > RAD_TRIE_NONE || !rad_mul_size(slots, sizeof *trie->slots, &bytes))
        return rad_fail_memory(error, SIZE_MAX);
    trie->slots = rad_arena_alloc(arena, bytes, 8);
    if (trie->slots == NULL)
        return rad_fail_memory(error, bytes);
    for (size_t i = 0; i < slots; i++)
        trie->slots[i].parent = RAD_TRIE_NONE;
    trie->mask = (uint32_t)(slots - 1);
    trie->seed = (uint32_t)((uintptr_t)trie->slots >> 6) * 0xC2B2AE35u;
    return RADLLM_OK;
}

/* The slot of a child that is there, or where it goes. */
static uint32_t child_slot(const rad_trie *trie, uint32_t node, uint8_t byte)
{
    uint32_t key = (node + trie->seed) * 0x9E3779B1u ^ byte * 0x85EBCA6Bu;
    uint32_t slot = (key ^ key >> 15) & trie->mask;
    while (trie->slots[slot].parent != RAD_TRIE_NONE &&
           (trie->slots[slot].parent != node || trie->slots[slot].entry >> 24 != byte))
        slot = (slot + 1) & trie->mask;
    return slot;
}

void rad_trie_add(rad_trie *trie, const uint8_t *text, size_t size, uint32_t id)
{
    uint32_t node = RAD_TRIE_ROOT;
    for (size_t i = 0; i < size; i++) {
        uint32_t slot = child_slot(trie, node, text[i]);
        if (trie->slots[slot].parent == RAD_TRIE_NONE) {
            trie->slots[slot].parent = node;
            trie->slots[slot].entry = (uint32_t)text[i] << 24 | RAD_TRIE_IDS;
        }
        node = slot;
    }
    if (size > 0)
        trie->slots[node].entry = (trie->slots[node].entry & ~RAD_TRIE_IDS) | id;
}
