/* Which pages hold the keys and values of which beginnings of sequences, found by the tokens
 * themselves. A tree: a node is a block of RAD_TILE_KEYS tokens behind those of its parent, with
 * one page of each group of layers; it owns one reference to each. A windowed group's page may be
 * missing. Blocks are compared in full; hashes only find candidates.
 *
 * One tree belongs to one cache, so that what makes beginnings equal besides their tokens (model,
 * number format, windows) is equal by construction. What a salt keeps apart begins with a block
 * that holds the salt.
 *
 * All memory is taken at creation; when nodes or pages run short, those go that were not used for
 * the longest time. Not thread-safe. */
#ifndef RAD_PREFIX_H
#define RAD_PREFIX_H

#include "cache/pages.h"
#include "kernels/cpu/layer.h"

#define RAD_PREFIX_GROUPS 2

/* The longest salt: it must fit into a block. */
#define RAD_SALT_SIZE ((RAD_TILE_KEYS - 1) * sizeof(int32_t))

typedef struct rad_prefixes rad_prefixes;

/* A node's number; 0 is the root, which has no tokens and no pages. */
typedef uint32_t rad_prefix;
#define RAD_PREFIX_ROOT 0u
#define RAD_PREFIX_NONE UINT32_MAX

/* For at most n_nodes nodes, whose pages come from pools[group]; windowed groups can do without a
 * page. NULL when memory is short. */
rad_prefixes *rad_prefixes_create(const rad_allocator *allocator, uint32_t n_nodes,
                                  rad_page_pool *const *pools, const bool *windowed,
                                  uint32_t n_groups);
/* Before the pools. */
void rad_prefixes_free(rad_prefixes *prefixes);
/* What it takes; 0 when that exceeds 64 bits. */
uint64_t rad_prefixes_bytes(uint32_t n_nodes);

/* Writes the block that stands for a salt of at most RAD_SALT_SIZE bytes. No block of tokens is
 * equal to it. The empty salt's is never looked up. */
void rad_prefix_salt(const char *salt, size_t size, int32_t block[RAD_TILE_KEYS]);

/* What beginnings must have in common besides their tokens: blocks of the tree before those of
 * tokens, each of which begins with a number below 0, or with 0 where it is left out. */
#define RAD_PREFIX_KEYS 2
typedef struct rad_prefix_key {
    int32_t blocks[RAD_PREFIX_KEYS][RAD_TILE_KEYS]; /* adapters, salt */
} rad_prefix_key;
/* A block of `count` numbers of another kind; no salt is equal to it. */
void rad_prefix_numbers(const int32_t *numbers, uint32_t count, int32_t block[RAD_TILE_KEYS]);

/* The child of `parent` with these RAD_TILE_KEYS tokens, or RAD_PREFIX_NONE. */
rad_prefix rad_prefix_find(const rad_prefixes *prefixes, rad_prefix parent, const int32_t *block);
/* The same, made without pages where there is none. RAD_PREFIX_NONE when no node can be had. */
rad_prefix rad_prefix_add(rad_prefixes *prefixes, rad_prefix parent, const int32_t *block);
/* The child that begins with most of the n <= RAD_TILE_KEYS tokens; *same of them. Looks at the
 * newest children only. */
rad_prefix rad_prefix_nearest(const rad_prefixes *prefixes, rad_prefix parent,
                              const int32_t *tokens, uint32_t n, uint32_t *same);
rad_prefix rad_prefix_parent(const rad_prefixes *prefixes, rad_prefix node);
/* NULL: none. */
uint8_t *rad_prefix_page(const rad_prefixes *prefixes, rad_prefix node, uint32_t group);
/* For a node without one; becomes one more owner of the page. */
void rad_prefix_give_page(rad_prefixes *prefixes, rad_prefix node, uint32_t group, uint8_t *page);
/* It and all before it were used now. */
void rad_prefix_touch(rad_prefixes *prefixes, rad_prefix node);

/* Gives back one page of the group's pool that nobody else owns, least recently used first. False
 * when there is none. */
bool rad_prefix_evict(rad_prefixes *prefixes, uint32_t group);
/* Forgets the least recently used node, whoever else owns its pages. False when there is none. */
bool rad_prefix_forget(rad_prefixes *prefixes);
void rad_prefix_clear(rad_prefixes *prefixes);

typedef struct rad_prefix_counts {
    uint32_t n_nodes;
    uint64_t n_pages, bytes; /* pages that nodes own now, and theirs */
    uint64_t n_evicted;      /* pages given back for want of room, so far */
} rad_prefix_counts;
rad_prefix_counts rad_prefix_count(const rad_prefixes *prefixes);

#endif
