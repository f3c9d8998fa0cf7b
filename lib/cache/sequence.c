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
    uint8_t *page = rad_cache_take_page(sequence->cache, group);
    if (page == NULL)
        return false;
    *slot_of(sequence, group, table->end++) = page;
    return true;
}

/* Pages that are about to be written to belong to this sequence alone. */
static bool own_pages(rad_sequence *sequence, uint32_t group, uint32_t from)
{
    bool own = true;
    for (uint32_t tile = from / RAD_TILE_KEYS; own && tile < sequence->tables[group].end; tile++)
        own = rad_cache_own_page(sequence->cache, group, slot_of(sequence, group, tile));
    return own;
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
        enough = enough && own_pages(sequence, g, from);
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

/* ---- sharing --------------------------------------------------------------------------------- */

bool rad_sequence_holds(const rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    const rad_page_table *table = &sequence->tables[group];
    return tile >= table->first && tile < table->end;
}

bool rad_sequence_sees(const rad_sequence *sequence, uint32_t group, uint32_t length, uint32_t tile)
{
    return tile >= first_tile(&sequence->cache->plan.groups[group], length);
}

/* Where the beginnings with this salt hang; RAD_PREFIX_NONE: nowhere yet. */
static rad_prefix find_salt(const rad_prefixes *prefixes, const int32_t *salt)
{
    return salt[0] == 0 ? RAD_PREFIX_ROOT : rad_prefix_find(prefixes, RAD_PREFIX_ROOT, salt);
}

/* One tile of the sequence and its node: the node learns the page, or the sequence takes the node's
 * in place of its own, which is equal. */
static void unite(rad_sequence *sequence, rad_prefix node, uint32_t tile)
{
    rad_cache *cache = sequence->cache;
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        if (!rad_sequence_holds(sequence, g, tile))
            continue;
        uint8_t **own = slot_of(sequence, g, tile);
        uint8_t *known = rad_prefix_page(cache->prefixes, node, g);
        if (known == NULL) {
            rad_prefix_give_page(cache->prefixes, node, g, *own);
        } else if (known != *own) {
            rad_page_share(cache->pools[g], known);
            rad_page_release(cache->pools[g], *own);
            *own = known;
        }
    }
}

void rad_sequence_publish(rad_sequence *sequence, const int32_t *salt, const int32_t *tokens,
                          uint32_t count)
{
    rad_cache *cache = sequence->cache;
    rad_prefixes *prefixes = cache->prefixes;
    if (prefixes == NULL)
        return;
    pthread_mutex_lock(&cache->mutex);
    rad_prefix node = RAD_PREFIX_ROOT;
    if (salt[0] != 0)
        node = rad_prefix_add(prefixes, node, salt);
    for (uint32_t tile = 0; node != RAD_PREFIX_NONE && tile < count / RAD_TILE_KEYS; tile++) {
        node = rad_prefix_add(prefixes, node, tokens + (size_t)tile * RAD_TILE_KEYS);
        if (node != RAD_PREFIX_NONE)
            unite(sequence, node, tile);
    }
    if (node != RAD_PREFIX_NONE)
        rad_prefix_touch(prefixes, node);
    pthread_mutex_unlock(&cache->mutex);
}

/* What is known of a beginning: `whole` blocks, which end in `node`, and the first `more` tokens of
 * the block of `part`. */
typedef struct beginning {
    rad_prefix node, part;
    uint32_t whole, more;
} beginning;

static uint32_t length_of(const beginning *b)
{
    return b->whole * RAD_TILE_KEYS + b->more;
}

static beginning find_beginning(const rad_prefixes *prefixes, rad_prefix node,
                                const int32_t *tokens, uint32_t limit)
{
    beginning b = {.node = node};
    rad_prefix next;
    while (limit - b.whole * RAD_TILE_KEYS >= RAD_TILE_KEYS &&
           (next = rad_prefix_find(prefixes, b.node, tokens + b.whole * RAD_TILE_KEYS)) !=
               RAD_PREFIX_NONE) {
        b.node = next;
        b.whole++;
    }
    uint32_t left = limit - b.whole * RAD_TILE_KEYS;
    left = left < RAD_TILE_KEYS ? left : RAD_TILE_KEYS;
    b.part = rad_prefix_nearest(prefixes, b.node, tokens + b.whole * RAD_TILE_KEYS, left, &b.more);
    return b;
}

/* Whether all pages of a node are there that a token at `length` sees. */
static bool complete(const rad_sequence *sequence, rad_prefix node, uint32_t tile, uint32_t length)
{
    const rad_cache *cache = sequence->cache;
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        if (rad_sequence_sees(sequence, g, length, tile) &&
            rad_prefix_page(cache->prefixes, node, g) == NULL)
            return false;
    }
    return true;
}

/* Shortens a beginning until all its pages are there. Where one is missing that the next token
 * sees, so it is for the shorter ones behind it. */
static void shorten(const rad_sequence *sequence, beginning *b)
{
    const rad_prefixes *prefixes = sequence->cache->prefixes;
    if (b->more > 0 && !complete(sequence, b->part, b->whole, length_of(b)))
        b->more = 0;
    rad_prefix node = b->node;
    for (uint32_t tile = b->whole; tile-- > 0; node = rad_prefix_parent(prefixes, node)) {
        if (complete(sequence, node, tile, length_of(b)))
            continue;
        *b = (beginning){.node = rad_prefix_parent(prefixes, node), .whole = tile};
    }
}

/* Shares the pages of a complete beginning with an empty sequence. */
static void take_group(rad_sequence *sequence, uint32_t group, const beginning *b)
{
    const rad_cache *cache = sequence->cache;
    rad_page_table *table = &sequence->tables[group];
    rad_prefix node = b->more > 0 ? b->part : b->node;
    uint32_t length = length_of(b), end = tiles_for(length), first = end;
    for (uint32_t tile = end; tile-- > 0; node = rad_prefix_parent(cache->prefixes, node)) {
        if (!rad_sequence_sees(sequence, group, length, tile))
            break;
        uint8_t *page = rad_prefix_page(cache->prefixes, node, group);
        rad_page_share(cache->pools[group], page);
        *slot_of(sequence, group, tile) = page;
        first = tile;
    }
    table->first = first;
    table->end = end;
}

uint32_t rad_sequence_adopt(rad_sequence *sequence, const int32_t *salt, const int32_t *tokens,
                            uint32_t held, uint32_t limit)
{
    rad_cache *cache = sequence->cache;
    if (cache->prefixes == NULL || limit <= held)
        return held;
    pthread_mutex_lock(&cache->mutex);
    rad_prefix root = find_salt(cache->prefixes, salt);
    beginning b = {0};
    if (root != RAD_PREFIX_NONE) {
        b = find_beginning(cache->prefixes, root, tokens, limit);
        if (length_of(&b) > held)
            shorten(sequence, &b);
    }
    uint32_t length = length_of(&b);
    for (uint32_t g = 0; length > held && g < cache->plan.n_groups; g++) {
        cut_group(sequence, g, 0);
        take_group(sequence, g, &b);
    }
    if (length > held)
        rad_prefix_touch(cache->prefixes, b.more > 0 ? b.part : b.node);
    pthread_mutex_unlock(&cache->mutex);
    return length > held ? length : held;
}

void rad_sequence_share(const rad_sequence *from, rad_sequence *to)
{
    rad_cache *cache = from->cache;
    pthread_mutex_lock(&cache->mutex);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        const rad_page_table *table = &from->tables[g];
        cut_group(to, g, 0);
        for (uint32_t tile = table->first; tile < table->end; tile++) {
            *slot_of(to, g, tile) = *slot_of(from, g, tile);
            rad_page_share(cache->pools[g], *slot_of(from, g, tile));
        }
        to->tables[g].first = table->first;
        to->tables[g].end = table->end;
    }
    pthread_mutex_unlock(&cache->mutex);
}

bool rad_sequence_insert(rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    rad_page_table *table = &sequence->tables[group];
    if (table->first == table->end)
        table->first = table->end = tile;
    if (tile != table->end ||
        table->end - table->first == sequence->cache->plan.groups[group].n_slots)
        return false;
    pthread_mutex_lock(&sequence->cache->mutex);
    uint8_t *page = rad_cache_take_page(sequence->cache, group);
    pthread_mutex_unlock(&sequence->cache->mutex);
    if (page != NULL)
        *slot_of(sequence, group, table->end++) = page;
    return page != NULL;
}

bool rad_sequence_complete(const rad_sequence *sequence, uint32_t length)
{
    uint32_t n_tiles = tiles_for(length);
    for (uint32_t g = 0; g < sequence->cache->plan.n_groups; g++) {
        if (rad_sequence_holds(sequence, g, n_tiles))
            return false;
        for (uint32_t tile = 0; tile < n_tiles; tile++) {
            if (rad_sequence_sees(sequence, g, length, tile) &&
                !rad_sequence_holds(sequence, g, tile))
                return false;
        }
    }
    return true;
}
