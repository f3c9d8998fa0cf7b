#include "cache/sequence.h"

static size_t table_bytes(const rad_cache *cache, uint32_t group)
{
    const rad_cache_group *g = &cache->plan.groups[group];
    return ((size_t)g->n_sinks + g->n_slots) * sizeof(uint8_t *);
}

static uint32_t tiles_for(uint32_t length)
{
    return length / RAD_TILE_KEYS + (length % RAD_TILE_KEYS != 0);
}

static uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The first tile of the ring that a token at `position` sees in a group. */
static uint32_t first_tile(const rad_cache_group *group, uint32_t position)
{
    if (group->window == 0 || position < group->window)
        return group->n_sinks;
    return greater((position - group->window + 1) / RAD_TILE_KEYS, group->n_sinks);
}

static const rad_cache_group *group_of(const rad_sequence *sequence, uint32_t group)
{
    return &sequence->cache->plan.groups[group];
}

static uint8_t **slot_of(const rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    uint32_t slot = rad_cache_slot(group_of(sequence, group), tile);
    return &sequence->tables[group].pages[slot];
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
    while (table->sinks > end)
        rad_page_release(sequence->cache->pools[group], table->pages[--table->sinks]);
    while (table->end > end && table->end > table->first)
        release_last(sequence, group);
    if (table->first == table->end) /* empty: it can begin anywhere */
        table->first = table->end = greater(end, group_of(sequence, group)->n_sinks);
}

/* Takes one tile more, in the place of an old one where the ring is full. */
static bool extend_ring(rad_sequence *sequence, uint32_t group)
{
    rad_page_table *table = &sequence->tables[group];
    if (table->end - table->first == group_of(sequence, group)->n_slots)
        release_first(sequence, group);
    uint8_t *page = rad_cache_take_page(sequence->cache, group);
    if (page == NULL)
        return false;
    *slot_of(sequence, group, table->end++) = page;
    return true;
}

bool rad_sequence_holds(const rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    const rad_page_table *table = &sequence->tables[group];
    if (tile < group_of(sequence, group)->n_sinks)
        return tile < table->sinks;
    return tile >= table->first && tile < table->end;
}

/* Pages that are about to be written to belong to this sequence alone. */
static bool own_pages(rad_sequence *sequence, uint32_t group, uint32_t from)
{
    const rad_page_table *table = &sequence->tables[group];
    uint32_t end = greater(table->sinks, table->end);
    bool own = true;
    for (uint32_t tile = from / RAD_TILE_KEYS; own && tile < end; tile++)
        own = !rad_sequence_holds(sequence, group, tile) ||
              rad_cache_own_page(sequence->cache, group, slot_of(sequence, group, tile));
    return own;
}

static bool extend_group(rad_sequence *sequence, uint32_t group, uint32_t from, uint32_t length)
{
    rad_page_table *table = &sequence->tables[group];
    uint32_t n_sinks = group_of(sequence, group)->n_sinks, end = tiles_for(length);
    uint32_t needed = first_tile(group_of(sequence, group), from);
    while (table->sinks < n_sinks && table->sinks < end) {
        uint8_t *page = rad_cache_take_page(sequence->cache, group);
        if (page == NULL)
            return false;
        table->pages[table->sinks++] = page;
    }
    if (table->first == table->end && table->end < needed)
        table->first = table->end = needed;
    if (!own_pages(sequence, group, from))
        return false;
    while (table->end < end) {
        if (!extend_ring(sequence, group))
            return false;
    }
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
    for (uint32_t g = 0; g < cache->plan.n_groups && enough; g++)
        enough = extend_group(sequence, g, from, length);
    pthread_mutex_unlock(&cache->mutex);
    return enough;
}

bool rad_sequence_reserve(rad_sequence *sequence, uint32_t length)
{
    rad_cache *cache = sequence->cache;
    bool enough = true;
    pthread_mutex_lock(&cache->mutex);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++) {
        const rad_cache_group *group = group_of(sequence, g);
        const rad_page_table *table = &sequence->tables[g];
        uint32_t end = tiles_for(length);
        end = group->window != 0 ? 0 : end < group->n_slots ? end : group->n_slots;
        while (enough && table->end < end)
            enough = extend_ring(sequence, g);
    }
    pthread_mutex_unlock(&cache->mutex);
    return enough;
}

bool rad_sequence_can_cut(const rad_sequence *sequence, uint32_t length)
{
    for (uint32_t g = 0; g < sequence->cache->plan.n_groups; g++) {
        const rad_page_table *table = &sequence->tables[g];
        uint32_t needed = first_tile(group_of(sequence, g), length);
        if (table->first > needed && needed < tiles_for(length))
            return false;
    }
    return true;
}

bool rad_sequence_own(rad_sequence *sequence, uint32_t from)
{
    bool own = true;
    pthread_mutex_lock(&sequence->cache->mutex);
    for (uint32_t g = 0; g < sequence->cache->plan.n_groups && own; g++)
        own = own_pages(sequence, g, from);
    pthread_mutex_unlock(&sequence->cache->mutex);
    return own;
}

uint32_t rad_sequence_cut(rad_sequence *sequence, uint32_t length)
{
    rad_cache *cache = sequence->cache;
    uint32_t kept = rad_sequence_can_cut(sequence, length) ? length : 0;
    pthread_mutex_lock(&cache->mutex);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++)
        cut_group(sequence, g, tiles_for(kept));
    pthread_mutex_unlock(&cache->mutex);
    return kept;
}

/* ---- sharing --------------------------------------------------------------------------------- */

bool rad_sequence_sees(const rad_sequence *sequence, uint32_t group, uint32_t length, uint32_t tile)
{
    const rad_cache_group *g = group_of(sequence, group);
    return tile < g->n_sinks || tile >= first_tile(g, length);
}

/* Where the beginnings with this key hang; RAD_PREFIX_NONE: nowhere yet (add: no node can be had).
 */
static rad_prefix find_key(rad_prefixes *prefixes, const rad_prefix_key *key, bool add)
{
    rad_prefix node = RAD_PREFIX_ROOT;
    for (int i = 0; i < RAD_PREFIX_KEYS && node != RAD_PREFIX_NONE; i++) {
        const int32_t *block = key->blocks[i];
        if (block[0] != 0)
            node = add ? rad_prefix_add(prefixes, node, block)
                       : rad_prefix_find(prefixes, node, block);
    }
    return node;
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

void rad_sequence_publish(rad_sequence *sequence, const rad_prefix_key *key, const int32_t *tokens,
                          uint32_t count)
{
    rad_cache *cache = sequence->cache;
    rad_prefixes *prefixes = cache->prefixes;
    if (prefixes == NULL)
        return;
    pthread_mutex_lock(&cache->mutex);
    rad_prefix node = find_key(prefixes, key, true);
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
    uint32_t n_sinks = group_of(sequence, group)->n_sinks;
    uint32_t length = length_of(b), end = tiles_for(length);
    table->sinks = n_sinks < end ? n_sinks : end;
    table->first = table->end = greater(end, n_sinks);
    for (uint32_t tile = end; tile-- > 0; node = rad_prefix_parent(cache->prefixes, node)) {
        if (!rad_sequence_sees(sequence, group, length, tile))
            continue;
        uint8_t *page = rad_prefix_page(cache->prefixes, node, group);
        rad_page_share(cache->pools[group], page);
        *slot_of(sequence, group, tile) = page;
        if (tile >= n_sinks)
            table->first = tile;
    }
}

uint32_t rad_sequence_adopt(rad_sequence *sequence, const rad_prefix_key *key,
                            const int32_t *tokens, uint32_t held, uint32_t limit)
{
    rad_cache *cache = sequence->cache;
    if (cache->prefixes == NULL || limit <= held)
        return held;
    pthread_mutex_lock(&cache->mutex);
    rad_prefix root = find_key(cache->prefixes, key, false);
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
        for (uint32_t tile = 0; tile < greater(table->sinks, table->end); tile++) {
            if (!rad_sequence_holds(from, g, tile))
                continue;
            *slot_of(to, g, tile) = *slot_of(from, g, tile);
            rad_page_share(cache->pools[g], *slot_of(from, g, tile));
        }
        to->tables[g].sinks = table->sinks;
        to->tables[g].first = table->first;
        to->tables[g].end = table->end;
    }
    pthread_mutex_unlock(&cache->mutex);
}

/* The next tile of a table that is filled in ascending order. */
static bool is_next(const rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    const rad_cache_group *g = group_of(sequence, group);
    const rad_page_table *table = &sequence->tables[group];
    if (tile < g->n_sinks)
        return tile == table->sinks;
    return table->first == table->end ||
           (tile == table->end && table->end - table->first < g->n_slots);
}

radllm_status rad_sequence_insert(rad_sequence *sequence, uint32_t group, uint32_t tile)
{
    rad_page_table *table = &sequence->tables[group];
    if (!is_next(sequence, group, tile))
        return RADLLM_E_FORMAT;
    pthread_mutex_lock(&sequence->cache->mutex);
    uint8_t *page = rad_cache_take_page(sequence->cache, group);
    pthread_mutex_unlock(&sequence->cache->mutex);
    if (page == NULL)
        return RADLLM_E_LIMIT;
    *slot_of(sequence, group, tile) = page;
    if (tile < group_of(sequence, group)->n_sinks) {
        table->sinks++;
        return RADLLM_OK;
    }
    if (table->first == table->end)
        table->first = tile;
    table->end = tile + 1;
    return RADLLM_OK;
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
