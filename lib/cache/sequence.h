/* Which pages hold the keys and values of one sequence, group by group. A windowed group's table is
 * a ring over tiles: old tiles make room for new ones. Before it stand the tiles of sinks, which
 * stay. */
#ifndef RAD_SEQUENCE_H
#define RAD_SEQUENCE_H

#include "cache/cache.h"

typedef struct rad_page_table {
    uint8_t **pages;     /* of a sink's tile t: pages[t]; others: pages[n_sinks + t % n_slots] */
    uint32_t sinks;      /* tiles 0..sinks-1 are held, of n_sinks */
    uint32_t first, end; /* and tiles first..end-1, from n_sinks on */
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
 * be computed, and belong to no other sequence then (at most the cache's chunk); windowed groups
 * may lose tiles that no position from `from` on sees. False when the pool has no page left, which
 * cannot happen but in a limited plan. */
bool rad_sequence_extend(rad_sequence *sequence, uint32_t from, uint32_t length);

/* Takes pages for positions up to `length` - 1 of layers without a window, as far as a sequence may
 * be long. False when the pool has not so many. */
bool rad_sequence_reserve(rad_sequence *sequence, uint32_t length);

/* Makes sure that the pages it holds from position `from` on belong to no other sequence. */
bool rad_sequence_own(rad_sequence *sequence, uint32_t from);

/* Whether all that a token at position `length` would see is held. */
bool rad_sequence_can_cut(const rad_sequence *sequence, uint32_t length);
/* Gives back the pages behind the first `length` positions. Returns `length` where
 * rad_sequence_can_cut() is true; else the sequence is emptied, and 0. */
uint32_t rad_sequence_cut(rad_sequence *sequence, uint32_t length);

/* Sharing, where the cache has been planned with it. What other keys know stays apart. */

/* Lets other sequences find the pages of the first `count` tokens, all of which are computed, as
 * far as they fill blocks. Pages that are known already are taken in place of the sequence's own.
 */
void rad_sequence_publish(rad_sequence *sequence, const rad_prefix_key *key, const int32_t *tokens,
                          uint32_t count);
/* Looks for the keys and values of the first `limit` tokens, where the sequence holds those of
 * `held` tokens. Returns how many it holds now: where more are known, it holds those pages in place
 * of its own. A page of which only some tokens agree is copied when it is written to. */
uint32_t rad_sequence_adopt(rad_sequence *sequence, const rad_prefix_key *key,
                            const int32_t *tokens, uint32_t held, uint32_t limit);
/* Lets `to`, of the same cache, hold the pages of `from` in place of its own. */
void rad_sequence_share(const rad_sequence *from, rad_sequence *to);

/* For sequences that come from elsewhere, from an empty one on. Whether a tile is held; whether a
 * token at position `length` sees it, if it is before that; takes an empty page for a tile, in
 * ascending order, RADLLM_E_FORMAT where such a sequence cannot hold it, RADLLM_E_LIMIT without a
 * page; whether all is held that a token at
 * position `length` sees, and no more. */
bool rad_sequence_holds(const rad_sequence *sequence, uint32_t group, uint32_t tile);
bool rad_sequence_sees(const rad_sequence *sequence, uint32_t group, uint32_t length,
                       uint32_t tile);
radllm_status rad_sequence_insert(rad_sequence *sequence, uint32_t group, uint32_t tile);
bool rad_sequence_complete(const rad_sequence *sequence, uint32_t length);

/* Where a tile's page stands in its group's table. */
static inline uint32_t rad_cache_slot(const rad_cache_group *group, uint32_t tile)
{
    return tile < group->n_sinks ? tile : group->n_sinks + tile % group->n_slots;
}

/* The page of a tile that is held. */
static inline uint8_t *rad_sequence_page(const rad_sequence *sequence, uint32_t group,
                                         uint32_t tile)
{
    return sequence->tables[group]
        .pages[rad_cache_slot(&sequence->cache->plan.groups[group], tile)];
}

#endif
