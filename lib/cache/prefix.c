#include "cache/prefix.h"

#include <string.h>

#define MOST_CHILDREN 256 /* that rad_prefix_nearest() looks at */

typedef struct prefix_node {
    int32_t tokens[RAD_TILE_KEYS];
    uint8_t *pages[RAD_PREFIX_GROUPS];
    rad_prefix parent, child;  /* child: the newest */
    rad_prefix previous, next; /* among the parent's children */
    rad_prefix newer, older;   /* by use */
    rad_prefix chain;          /* the next node with the same hash, or the next free one */
} prefix_node;

struct rad_prefixes {
    rad_allocator allocator;
    rad_page_pool *pools[RAD_PREFIX_GROUPS];
    bool windowed[RAD_PREFIX_GROUPS];
    uint32_t n_groups, n_nodes; /* n_nodes: there is room for, besides the root */
    uint32_t n_slots;           /* of the hash table, a power of two */
    prefix_node *nodes;
    rad_prefix *slots;
    rad_prefix free, newest, oldest;
    rad_prefix_counts counts;
};

/* ---- memory ---------------------------------------------------------------------------------- */

static uint32_t slots_for(uint32_t n_nodes)
{
    uint32_t n = 16;
    while (n < n_nodes && n < (uint32_t)1 << 31)
        n *= 2;
    return n;
}

static uint64_t nodes_bytes(uint32_t n_nodes)
{
    return ((uint64_t)n_nodes + 1) * sizeof(prefix_node);
}

static uint64_t slots_bytes(uint32_t n_nodes)
{
    return (uint64_t)slots_for(n_nodes) * sizeof(rad_prefix);
}

uint64_t rad_prefixes_bytes(uint32_t n_nodes)
{
    return nodes_bytes(n_nodes) + slots_bytes(n_nodes);
}

static void reset(rad_prefixes *p)
{
    uint64_t evicted = p->counts.n_evicted;
    rad_wipe(p->nodes, (size_t)nodes_bytes(p->n_nodes));
    for (uint32_t i = 0; i < p->n_slots; i++)
        p->slots[i] = RAD_PREFIX_NONE;
    prefix_node *root = &p->nodes[RAD_PREFIX_ROOT];
    root->parent = root->child = RAD_PREFIX_NONE;
    for (uint32_t i = 1; i <= p->n_nodes; i++)
        p->nodes[i].chain = i < p->n_nodes ? i + 1 : RAD_PREFIX_NONE;
    p->free = p->n_nodes > 0 ? 1 : RAD_PREFIX_NONE;
    p->newest = p->oldest = RAD_PREFIX_NONE;
    p->counts = (rad_prefix_counts){.n_evicted = evicted};
}

rad_prefixes *rad_prefixes_create(const rad_allocator *allocator, uint32_t n_nodes,
                                  rad_page_pool *const *pools, const bool *windowed,
                                  uint32_t n_groups)
{
    rad_prefixes *p = rad_alloc_zero(allocator, sizeof *p);
    if (p == NULL)
        return NULL;
    p->allocator = *allocator;
    p->n_groups = n_groups;
    p->n_nodes = n_nodes;
    p->n_slots = slots_for(n_nodes);
    for (uint32_t g = 0; g < n_groups; g++) {
        p->pools[g] = pools[g];
        p->windowed[g] = windowed[g];
    }
    p->nodes = rad_alloc(allocator, (size_t)nodes_bytes(n_nodes));
    p->slots = rad_alloc(allocator, (size_t)slots_bytes(n_nodes));
    if (p->nodes == NULL || p->slots == NULL) {
        rad_free(allocator, p->nodes, (size_t)nodes_bytes(n_nodes));
        rad_free(allocator, p->slots, (size_t)slots_bytes(n_nodes));
        rad_free(allocator, p, sizeof *p);
        return NULL;
    }
    reset(p);
    return p;
}

void rad_prefixes_free(rad_prefixes *p)
{
    if (p == NULL)
        return;
    rad_allocator allocator = p->allocator;
    rad_prefix_clear(p);
    rad_free(&allocator, p->nodes, (size_t)nodes_bytes(p->n_nodes));
    rad_free(&allocator, p->slots, (size_t)slots_bytes(p->n_nodes));
    rad_free(&allocator, p, sizeof *p);
}

/* ---- finding --------------------------------------------------------------------------------- */

void rad_prefix_salt(const char *salt, size_t size, int32_t block[RAD_TILE_KEYS])
{
    memset(block, 0, RAD_TILE_KEYS * sizeof *block);
    block[0] = -1 - (int32_t)size; /* tokens are not negative */
    if (size > 0)
        memcpy(block + 1, salt, size);
}

void rad_prefix_numbers(const int32_t *numbers, uint32_t count, int32_t block[RAD_TILE_KEYS])
{
    memset(block, 0, RAD_TILE_KEYS * sizeof *block);
    block[0] = count > 0 ? -1 - (int32_t)RAD_SALT_SIZE - (int32_t)count : 0;
    if (count > 0)
        memcpy(block + 1, numbers, count * sizeof *numbers);
}

static rad_prefix *slot_of(const rad_prefixes *p, rad_prefix parent, const int32_t *block)
{
    uint64_t hash = 0x9e3779b97f4a7c15u * (parent + 1u);
    for (int i = 0; i < RAD_TILE_KEYS; i++) {
        hash = (hash ^ (uint32_t)block[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 29;
    }
    return &p->slots[(hash >> 16) & (p->n_slots - 1)];
}

rad_prefix rad_prefix_find(const rad_prefixes *p, rad_prefix parent, const int32_t *block)
{
    rad_prefix node = *slot_of(p, parent, block);
    while (node != RAD_PREFIX_NONE &&
           (p->nodes[node].parent != parent ||
            memcmp(p->nodes[node].tokens, block, sizeof p->nodes[node].tokens) != 0))
        node = p->nodes[node].chain;
    return node;
}

rad_prefix rad_prefix_nearest(const rad_prefixes *p, rad_prefix parent, const int32_t *tokens,
                              uint32_t n, uint32_t *same)
{
    rad_prefix best = RAD_PREFIX_NONE, child = p->nodes[parent].child;
    *same = 0;
    for (int i = 0; i < MOST_CHILDREN && child != RAD_PREFIX_NONE && *same < n; i++) {
        const prefix_node *node = &p->nodes[child];
        uint32_t equal = 0;
        while (equal < n && node->tokens[equal] == tokens[equal])
            equal++;
        if (equal > *same) {
            *same = equal;
            best = child;
        }
        child = node->next;
    }
    return best;
}

rad_prefix rad_prefix_parent(const rad_prefixes *p, rad_prefix node)
{
    return p->nodes[node].parent;
}

uint8_t *rad_prefix_page(const rad_prefixes *p, rad_prefix node, uint32_t group)
{
    return p->nodes[node].pages[group];
}

/* ---- use ------------------------------------------------------------------------------------- */

static void unlink_use(rad_prefixes *p, rad_prefix index)
{
    const prefix_node *node = &p->nodes[index];
    *(node->newer != RAD_PREFIX_NONE ? &p->nodes[node->newer].older : &p->newest) = node->older;
    *(node->older != RAD_PREFIX_NONE ? &p->nodes[node->older].newer : &p->oldest) = node->newer;
}

/* Next to a node that was used at the same time or later; RAD_PREFIX_NONE: it is the newest. */
static void link_use(rad_prefixes *p, rad_prefix index, rad_prefix newer)
{
    prefix_node *node = &p->nodes[index];
    rad_prefix *link = newer != RAD_PREFIX_NONE ? &p->nodes[newer].older : &p->newest;
    node->newer = newer;
    node->older = *link;
    *(node->older != RAD_PREFIX_NONE ? &p->nodes[node->older].newer : &p->oldest) = index;
    *link = index;
}

/* A parent becomes newer than its child, so that the oldest node of all is always a leaf. */
void rad_prefix_touch(rad_prefixes *p, rad_prefix node)
{
    for (; node != RAD_PREFIX_ROOT; node = p->nodes[node].parent) {
        unlink_use(p, node);
        link_use(p, node, RAD_PREFIX_NONE);
    }
}

/* ---- changing the tree ----------------------------------------------------------------------- */

static size_t page_bytes(const rad_prefixes *p, uint32_t group)
{
    return rad_page_bytes(p->pools[group]) + rad_page_far_bytes(p->pools[group]);
}

static void drop_page(rad_prefixes *p, prefix_node *node, uint32_t group)
{
    if (node->pages[group] == NULL)
        return;
    rad_page_release(p->pools[group], node->pages[group]);
    node->pages[group] = NULL;
    p->counts.n_pages--;
    p->counts.bytes -= page_bytes(p, group);
    p->counts.n_evicted++;
}

/* Of a leaf. */
static void remove_node(rad_prefixes *p, rad_prefix index)
{
    prefix_node *node = &p->nodes[index];
    for (uint32_t g = 0; g < p->n_groups; g++)
        drop_page(p, node, g);
    unlink_use(p, index);
    rad_prefix *link = slot_of(p, node->parent, node->tokens);
    while (*link != index)
        link = &p->nodes[*link].chain;
    *link = node->chain;
    if (node->previous != RAD_PREFIX_NONE)
        p->nodes[node->previous].next = node->next;
    else
        p->nodes[node->parent].child = node->next;
    if (node->next != RAD_PREFIX_NONE)
        p->nodes[node->next].previous = node->previous;
    rad_wipe(node, sizeof *node);
    node->chain = p->free;
    p->free = index;
    p->counts.n_nodes--;
}

static rad_prefix take_node(rad_prefixes *p, rad_prefix parent)
{
    if (p->free == RAD_PREFIX_NONE) {
        if (p->oldest == parent)
            rad_prefix_touch(p, parent);
        if (p->oldest == RAD_PREFIX_NONE || p->oldest == parent)
            return RAD_PREFIX_NONE;
        remove_node(p, p->oldest);
    }
    rad_prefix index = p->free;
    p->free = p->nodes[index].chain;
    return index;
}

rad_prefix rad_prefix_add(rad_prefixes *p, rad_prefix parent, const int32_t *block)
{
    rad_prefix index = rad_prefix_find(p, parent, block);
    if (index != RAD_PREFIX_NONE)
        return index;
    index = take_node(p, parent);
    if (index == RAD_PREFIX_NONE)
        return index;
    prefix_node *node = &p->nodes[index];
    rad_prefix *slot = slot_of(p, parent, block), sibling = p->nodes[parent].child;
    memcpy(node->tokens, block, sizeof node->tokens);
    node->chain = *slot;
    *slot = index;
    node->parent = parent;
    node->child = node->previous = RAD_PREFIX_NONE;
    node->next = sibling;
    if (sibling != RAD_PREFIX_NONE)
        p->nodes[sibling].previous = index;
    p->nodes[parent].child = index;
    link_use(p, index, parent != RAD_PREFIX_ROOT ? parent : RAD_PREFIX_NONE);
    p->counts.n_nodes++;
    return index;
}

void rad_prefix_give_page(rad_prefixes *p, rad_prefix node, uint32_t group, uint8_t *page)
{
    rad_page_share(p->pools[group], page);
    p->nodes[node].pages[group] = page;
    p->counts.n_pages++;
    p->counts.bytes += page_bytes(p, group);
}

static bool owned_alone(const rad_prefixes *p, const prefix_node *node, uint32_t group)
{
    const uint8_t *page = node->pages[group];
    return page != NULL && rad_page_owners(p->pools[group], page) == 1;
}

static bool empty_leaf(const rad_prefixes *p, const prefix_node *node)
{
    bool any = node->child != RAD_PREFIX_NONE;
    for (uint32_t g = 0; g < p->n_groups; g++)
        any = any || node->pages[g] != NULL;
    return !any;
}

/* A windowed layer's page can go whatever stands behind it. */
static bool evict_windowed(rad_prefixes *p, uint32_t group)
{
    rad_prefix index = p->oldest;
    while (index != RAD_PREFIX_NONE && !owned_alone(p, &p->nodes[index], group))
        index = p->nodes[index].newer;
    if (index == RAD_PREFIX_NONE)
        return false;
    drop_page(p, &p->nodes[index], group);
    if (empty_leaf(p, &p->nodes[index]))
        remove_node(p, index);
    return true;
}

/* Others go from the leaves on. A leaf that a sequence holds was used now, and so was all before
 * it; where a leaf is held, its sequence holds the pages before it as well, so that a page that
 * nobody else owns has a leaf behind it that nobody else owns. */
static bool evict_leaf(rad_prefixes *p, uint32_t group)
{
    for (uint32_t tries = p->counts.n_nodes; tries > 0 && p->oldest != RAD_PREFIX_NONE; tries--) {
        rad_prefix leaf = p->oldest;
        bool frees = owned_alone(p, &p->nodes[leaf], group);
        if (frees || empty_leaf(p, &p->nodes[leaf]))
            remove_node(p, leaf);
        else
            rad_prefix_touch(p, leaf);
        if (frees)
            return true;
    }
    return false;
}

bool rad_prefix_evict(rad_prefixes *p, uint32_t group)
{
    return p->windowed[group] ? evict_windowed(p, group) : evict_leaf(p, group);
}

bool rad_prefix_forget(rad_prefixes *p)
{
    if (p->oldest == RAD_PREFIX_NONE)
        return false;
    remove_node(p, p->oldest);
    return true;
}

void rad_prefix_clear(rad_prefixes *p)
{
    uint64_t evicted = p->counts.n_evicted; /* for want of room: these are not */
    for (uint32_t i = 1; i <= p->n_nodes; i++) {
        for (uint32_t g = 0; g < p->n_groups; g++)
            drop_page(p, &p->nodes[i], g);
    }
    p->counts.n_evicted = evicted;
    reset(p);
}

rad_prefix_counts rad_prefix_count(const rad_prefixes *p)
{
    return p->counts;
}
