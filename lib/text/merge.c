#include "text/merge.h"

#include <string.h>

/* Up to here a scan for the least key is faster than a heap, and n * n is still a small constant.
 */
#define SCAN_LIMIT 24

static uint32_t pair_slot(const rad_merge_rules *rules, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t product = (key ^ rules->seed) * UINT64_C(0x9E3779B97F4A7C15);
    product = (product ^ product >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(product >> 32) & rules->pairs_mask;
}

static void insert(rad_merge_rules *rules, const rad_pair *pair)
{
    uint32_t slot = pair_slot(rules, pair->left, pair->right);
    while (rules->pairs[slot].left >= 0) {
        if (rules->pairs[slot].left == pair->left && rules->pairs[slot].right == pair->right) {
            if (rules->last_counts)
                rules->pairs[slot] = *pair;
            return;
        }
        slot = (slot + 1) & rules->pairs_mask;
    }
    rules->pairs[slot] = *pair;
}

void rad_merge_rules_add(rad_merge_rules *rules, const rad_pair *pair)
{
    rad_pair *waiting = &rules->waiting[rules->n_pairs % RAD_MERGE_WAITING];
    __builtin_prefetch(&rules->pairs[pair_slot(rules, pair->left, pair->right)], 1);
    if (rules->n_pairs++ >= RAD_MERGE_WAITING)
        insert(rules, waiting);
    *waiting = *pair;
}

void rad_merge_rules_end(rad_merge_rules *rules)
{
    uint32_t n = rules->n_pairs;
    for (uint32_t i = n > RAD_MERGE_WAITING ? n - RAD_MERGE_WAITING : 0; i < n; i++)
        insert(rules, &rules->waiting[i % RAD_MERGE_WAITING]);
}

radllm_status rad_merge_rules_make(rad_merge_rules *rules, rad_arena *arena, uint64_t count,
                                   radllm_error *error)
{
    uint32_t slots = 16;
    while (slots < count + count / 2)
        slots *= 2;
    size_t bytes = (size_t)slots * sizeof(rad_pair);
    rules->pairs = rad_arena_alloc(arena, bytes, sizeof(uint32_t));
    if (rules->pairs == NULL)
        return rad_fail_memory(error, bytes);
    memset(rules->pairs, 0xFF, bytes);
    rules->pairs_mask = slots - 1;
    return RADLLM_OK;
}

/* The key of joining two neighbours, RAD_MERGE_NONE when they do not join, and what they become. */
static inline uint32_t join_key(const rad_merge_rules *rules, const rad_merge_space *space,
                                const uint8_t *text, const rad_symbol *left,
                                const rad_symbol *right, int32_t *merged)
{
    if (rules->pairs == NULL) {
        if (left->id == RAD_MERGE_FROZEN || right->id == RAD_MERGE_FROZEN)
            return RAD_MERGE_NONE;
        *merged = rad_vocabulary_find_text(rules->vocabulary, text + left->start,
                                           (size_t)left->length + right->length);
        if (*merged < 0 || *merged >= rules->n_texts)
            return RAD_MERGE_NONE;
        if (space->splits != NULL && rules->vocabulary->types[*merged] == RAD_TOKEN_UNUSED)
            space->splits[*merged] = space->now << 11 | left->length;
        return rules->score_keys[*merged];
    }
    if (left->id < 0 || right->id < 0)
        return RAD_MERGE_NONE;
    for (uint32_t slot = pair_slot(rules, left->id, right->id);;
         slot = (slot + 1) & rules->pairs_mask) {
        const rad_pair *pair = &rules->pairs[slot];
        if (pair->left == left->id && pair->right == right->id) {
            *merged = pair->merged;
            return pair->rank;
        }
        if (pair->left < 0)
            return RAD_MERGE_NONE;
    }
}

bool rad_merge_add(rad_merge_space *space, uint32_t start, uint32_t length, int32_t id)
{
    if (space->n_symbols == space->symbols_capacity &&
        !rad_reserve(space->allocator, (void **)&space->symbols, &space->symbols_capacity,
                     space->n_symbols + 64, sizeof(rad_symbol)))
        return false;
    rad_symbol *symbol = &space->symbols[space->n_symbols++];
    symbol->start = start;
    symbol->length = length;
    symbol->id = id;
    return true;
}

/* For few symbols: keys kept beside them, the least found by looking at all. */
static void merge_by_scan(const rad_merge_rules *rules, rad_merge_space *space, const uint8_t *text)
{
    uint32_t keys[SCAN_LIMIT];
    int32_t merged[SCAN_LIMIT];
    rad_symbol *symbols = space->symbols;
    uint32_t n = (uint32_t)space->n_symbols;
    for (uint32_t i = 0; i + 1 < n; i++)
        keys[i] = join_key(rules, space, text, &symbols[i], &symbols[i + 1], &merged[i]);
    for (;;) {
        uint32_t best = 0;
        uint32_t best_key = RAD_MERGE_NONE;
        for (uint32_t i = 0; i + 1 < n; i++) {
            if (keys[i] < best_key) {
                best_key = keys[i];
                best = i;
            }
        }
        if (best_key == RAD_MERGE_NONE)
            break;
        symbols[best].length += symbols[best + 1].length;
        symbols[best].id = merged[best];
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            symbols[i] = symbols[i + 1];
            if (i + 1 < n) {
                keys[i] = keys[i + 1];
                merged[i] = merged[i + 1];
            }
        }
        if (best > 0)
            keys[best - 1] =
                join_key(rules, space, text, &symbols[best - 1], &symbols[best], &merged[best - 1]);
        if (best + 1 < n)
            keys[best] =
                join_key(rules, space, text, &symbols[best], &symbols[best + 1], &merged[best]);
    }
    space->n_symbols = n;
}

static inline bool before(const rad_candidate *a, const rad_candidate *b)
{
    return a->key < b->key || (a->key == b->key && a->left < b->left);
}

static void sift_down(rad_candidate *heap, size_t n, size_t at)
{
    rad_candidate moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static bool push(rad_merge_space *space, const rad_candidate *candidate)
{
    if (space->n_heap == space->heap_capacity &&
        !rad_reserve(space->allocator, (void **)&space->heap, &space->heap_capacity,
                     space->n_heap + 64, sizeof(rad_candidate)))
        return false;
    size_t at = space->n_heap++;
    while (at > 0 && before(candidate, &space->heap[(at - 1) / 2])) {
        space->heap[at] = space->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    space->heap[at] = *candidate;
    return true;
}

static rad_candidate pop(rad_merge_space *space)
{
    rad_candidate top = space->heap[0];
    space->heap[0] = space->heap[--space->n_heap];
    if (space->n_heap > 1)
        sift_down(space->heap, space->n_heap, 0);
    return top;
}

static bool push_pair(const rad_merge_rules *rules, rad_merge_space *space, const uint8_t *text,
                      int32_t left)
{
    rad_symbol *symbols = space->symbols;
    if (left < 0 || symbols[left].next < 0)
        return true;
    const rad_symbol *right = &symbols[symbols[left].next];
    rad_candidate candidate;
    candidate.key = join_key(rules, space, text, &symbols[left], right, &candidate.merged);
    if (candidate.key == RAD_MERGE_NONE)
        return true;
    candidate.left = (uint32_t)left;
    candidate.length = symbols[left].length + right->length;
    return push(space, &candidate);
}

static bool merge_by_heap(const rad_merge_rules *rules, rad_merge_space *space, const uint8_t *text)
{
    rad_symbol *symbols = space->symbols;
    size_t n = space->n_symbols;
    space->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next = i + 1 < n ? (int32_t)(i + 1) : -1;
    }
    for (size_t i = 0; i + 1 < n; i++)
        if (!push_pair(rules, space, text, (int32_t)i))
            return false;
    while (space->n_heap > 0) {
        rad_candidate best = pop(space);
        rad_symbol *left = &symbols[best.left];
        if (left->length == 0 || left->next < 0)
            continue;
        rad_symbol *right = &symbols[left->next];
        /* Symbols only grow, so an equal length means that neither changed since. */
        if (left->length + right->length != best.length)
            continue;
        left->length = best.length;
        left->id = best.merged;
        right->length = 0;
        left->next = right->next;
        if (left->next >= 0)
            symbols[left->next].previous = (int32_t)best.left;
        if (!push_pair(rules, space, text, left->previous) ||
            !push_pair(rules, space, text, (int32_t)best.left))
            return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (symbols[i].length > 0)
            symbols[kept++] = symbols[i];
    space->n_symbols = kept;
    return true;
}

bool rad_merge_run(const rad_merge_rules *rules, rad_merge_space *space, const uint8_t *text)
{
    if (space->n_symbols < 2)
        return true;
    if (space->n_symbols > SCAN_LIMIT)
        return merge_by_heap(rules, space, text);
    merge_by_scan(rules, space, text);
    return true;
}

void rad_merge_space_free(rad_merge_space *space)
{
    rad_wipe(space->symbols, space->symbols_capacity * sizeof(rad_symbol));
    rad_wipe(space->heap, space->heap_capacity * sizeof(rad_candidate));
    rad_free(space->allocator, space->symbols, space->symbols_capacity * sizeof(rad_symbol));
    rad_free(space->allocator, space->heap, space->heap_capacity * sizeof(rad_candidate));
    space->symbols = NULL;
    space->heap = NULL;
    space->symbols_capacity = space->heap_capacity = space->n_symbols = space->n_heap = 0;
}
