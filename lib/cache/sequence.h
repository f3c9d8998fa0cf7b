/* Which pages hold the keys and values of one sequence, group by group. A windowed group's table is
 * a ring over tiles: old tiles make room for new ones. */
#ifndef RAD_SEQUENCE_H
#define RAD_SEQUENCE_H

#include "cache/cache.h"

typedef struct rad_page_table {
    uint8_t **pages;     /* of tile t: pages[t % n_slots] */
    uint32_t first, end; /* tiles first..end-1 are held */
} rad_page_table;

typedef struct rad_sequence {
    rad_cache *cache; /* NULL: never created */
    rad_page_table tables[RAD_CACHE_GROUPS];
} rad_sequence;

/* An empty sequence; false when memory is short. */
bool rad_sequence_create(rad_cache *cache, rad_sequence *sequence);
/* Gives all pages back. `alive`: false in a forked child, where the pools are left alone. */
void rad_sequence_free(rad_sequence *sequence, bool alive);

/* Makes sure of pages for positions up to `length` - 1, of which those from `from` on are about to
 * be computed (at most the cache's chunk); windowed groups may lose tiles that no position from
 * `from` on sees. False when the pool has no page left, which cannot happen within the plan. */
bool rad_sequence_extend(rad_sequence *sequence, uint32_t from, uint32_t length);

/* Gives back the pages behind the first `length` positions. Returns `length` when all that a token
 * at that position would see is still held; else the sequence is emptied, and 0. */
uint32_t rad_sequence_cut(rad_sequence *sequence, uint32_t length);

/* The page of a tile that is held. */
static inline uint8_t *rad_sequence_page(const rad_sequence *sequence, uint32_t group,
                                         uint32_t tile)
{
    return sequence->tables[group].pages[tile % sequence->cache->plan.groups[group].n_slots];
}

#endif
