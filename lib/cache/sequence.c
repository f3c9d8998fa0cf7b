#include "cache/sequence.h"

static size_t table_bytes(const rad_cache *cache, uint32_t group)
{
    return cache->plan.groups[group].n_slots * sizeof(uint8_t *);
}

static uint32_t tiles_for(uint32_t length)
{
    return length / RAD_TILE_KEYS + (length % RAD_TILE_KEYS != 0);
}

/* The first tile that a token at `position` sees in a group. */
static uint32_t first_tile(const rad_cache_group *group, uint32_t position)
{
    if (group->window == 0 || position < group->window)
        return 0;
    return (position - group->window + 1) / RAD_TILE_KEYS;
}

static uint8_t **slot_of(const rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    return &sequence->tables[group].pages[tile % sequence->cache->plan.groups[group].n_slots];
}

bool rad_sequence_create(rad_cache *cache, rad_sequence *sequence)
{
    *sequence = (rad_sequence){.cache = cache};
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        sequence->tables[g].pages = rad_alloc(&cache->allocator, table_bytes(cache, g));
        if (sequence->tables[g].pages == NULL) {
            rad_sequence_free(sequence, true);
            return false;
        }
    }
    return true;
}

/* The caller holds the cache's mutex in the functions below. */

static void release_first(rad_sequence *sequence, uint32_t group)
{
    rad_page_table *table = &sequence->tables[group];
    rad_page_release(sequence->cache->pools[group], *slot_of(sequence, group, table->first++));
}

static void release_last(rad_sequence *sequence, uint32_t group)
{
    rad_page_table *table = &sequence->tables[group];
    rad_page_release(sequence->cache->pools[group], *slot_of(sequence, group, --table->end));
}

static void cut_group(rad_sequence *sequence, uint32_t group, uint32_t end)
{
    rad_page_table *table = &sequence->tables[group];
    while (table->end > end && table->end > table->first)
        release_last(sequence, group);
    if (table->first == table->end) /* empty: it can begin anywhere */
        table->first = table->end = end;
}

/* Takes one tile more, in the place of an old one where the ring is full. */
static bool extend_group(rad_sequence *sequence, uint32_t group)
{
    rad_page_table *table = &sequence->tables[group];
    if (table->end - table->first == sequence->cache->plan.groups[group].n_slots)
        release_first(sequence, group);
    uint8_t *page = rad_page_take(sequence->cache->pools[group]);
    if (page == NULL)
        return false;
    *slot_of(sequence, group, table->end++) = page;
    return true;
}

void rad_sequence_free(rad_sequence *sequence, bool alive)
{
    rad_cache *cache = sequence->cache;
    if (cache == NULL)
        return;
    if (alive)
        (void)rad_sequence_cut(sequence, 0);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++)
        rad_free(&cache->allocator, sequence->tables[g].pages, table_bytes(cache, g));
    sequence->cache = NULL;
}

bool rad_sequence_extend(rad_sequence *sequence, uint32_t from, uint32_t length)
{
    rad_cache *cache = sequence->cache;
    bool enough = true;
    pthread_mutex_lock(&cache->mutex);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        uint32_t needed = first_tile(&cache->plan.groups[g], from);
        rad_page_table *table = &sequence->tables[g];
        if (table->first == table->end && table->end < needed)
            table->first = table->end = needed;
        while (enough && table->end < tiles_for(length))
            enough = extend_group(sequence, g);
    }
    pthread_mutex_unlock(&cache->mutex);
    return enough;
}

uint32_t rad_sequence_cut(rad_sequence *sequence, uint32_t length)
{
    rad_cache *cache = sequence->cache;
    uint32_t kept = length;
    pthread_mutex_lock(&cache->mutex);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        cut_group(sequence, g, tiles_for(length));
        if (sequence->tables[g].first > first_tile(&cache->plan.groups[g], length))
            kept = 0;
    }
    for (uint32_t g = 0; g < cache->plan.n_groups && kept < length; g++)
        cut_group(sequence, g, 0);
    pthread_mutex_unlock(&cache->mutex);
    return kept;
}
