/* lib/cache: key/value memory: pages, and which page holds which positions of a sequence. Nothing
 * here computes.
 *
 * Layers are taken in groups: those that look at all keys, and those that look at a window. A page
 * of a group holds the keys and values of RAD_TILE_KEYS consecutive positions, for all its layers.
 * Inside, layer after layer and key/value head after head, stand a tile of keys and a tile of
 * values, as kernels/cpu/layer.h lays them out for each number format. */
#ifndef RAD_CACHE_H
#define RAD_CACHE_H

#include <pthread.h>

#include "cache/policy.h"
#include "cache/prefix.h"
#include "kernels/cpu/layer.h"

#define RAD_CACHE_GROUPS RAD_PREFIX_GROUPS

typedef struct rad_cache_format {
    rad_cache_type keys, values;
} rad_cache_format;

/* "q8_0", or "q8_0/f16" where keys and values differ; with an end. */
#define RAD_CACHE_FORMAT_NAME 16
void rad_cache_format_name(rad_cache_format format, char name[RAD_CACHE_FORMAT_NAME]);

/* What one group of layers takes. */
typedef struct rad_cache_group {
    uint32_t window;  /* the greatest of its layers; 0: they look at all keys */
    uint32_t n_sinks; /* first pages of a sequence, which stay */
    uint32_t n_slots; /* its other pages, at most */
    uint32_t n_pages; /* of all sequences, and those kept for beginnings alone */
    uint64_t page_bytes;
    uint64_t far_bytes; /* of a page's part elsewhere: that of the layers there */
} rad_cache_group;

typedef struct rad_cache_plan {
    rad_cache_format format;
    rad_attention_policy policy;
    uint32_t n_groups;
    rad_cache_group groups[RAD_CACHE_GROUPS];
    uint32_t n_prefixes;   /* blocks of tokens whose pages are found again; 0: none are */
    uint64_t prefix_bytes; /* for finding them, and pages that no sequence needs */
    uint64_t bytes;        /* all in this machine's memory */
    bool limited;          /* there are fewer pages than all sequences could fill */
    uint32_t n_far_layers; /* the first ones; their keys and values are elsewhere (pages.h) */
    uint64_t far_bytes;    /* all there */
} rad_cache_plan;

/* For n_sequences of at most `positions` positions, of which at most `chunk` are computed in one
 * step. A windowed group holds sinks + window + chunk positions, however long a sequence is. Where
 * tokens see those behind them, a sequence is computed in one step as a whole and forgotten. False
 * when the bytes or pages exceed what can be counted. */
bool rad_cache_plan_make(const rad_hparams *hparams, const rad_attention_policy *policy,
                         rad_cache_format format, uint32_t positions, uint32_t chunk,
                         uint32_t n_sequences, rad_cache_plan *plan);
/* Lowers the pages of layers without a window to what `positions` of all sequences together take,
 * each of which may end in the middle of a page; sequences can then find none left. */
void rad_cache_plan_limit(rad_cache_plan *plan, uint64_t positions, uint32_t n_sequences);
/* Adds that sequences share the pages of common beginnings, with `bytes` for pages more than the
 * sequences need. */
bool rad_cache_plan_prefixes(rad_cache_plan *plan, uint64_t bytes);

/* A layer's group: the first one is that of layers without a window, where there are any. */
uint32_t rad_cache_group_of(const rad_hparams *hparams, uint32_t layer);
/* Divides the pages of a finished plan: keys and values of the first n_far layers are elsewhere. */
void rad_cache_plan_divide(rad_cache_plan *plan, const rad_hparams *hparams, uint32_t n_far);

/* What must be equal for pages to mean the same, as lines "key=value". */
void rad_cache_describe(const rad_cache_plan *plan, char *text, size_t capacity);
/* Of one position in all layers. */
uint64_t rad_cache_position_bytes(const rad_cache_plan *plan);

/* What a layer sees, and where its tiles stand inside the pages of its group. */
typedef struct rad_cache_layer {
    rad_reach reach;
    uint32_t group;
    size_t first; /* keys of head 0; its values follow, then the next head's keys. Of a layer whose
                   * pages are elsewhere: in their parts there */
} rad_cache_layer;

typedef struct rad_cache {
    rad_allocator allocator;
    rad_cache_plan plan;
    size_t key_bytes, value_bytes; /* of a tile */
    rad_cache_layer *layers;
    uint32_t n_layers;
    pthread_mutex_t mutex; /* guards what follows; taken last */
    rad_page_pool *pools[RAD_CACHE_GROUPS];
    rad_prefixes *prefixes; /* NULL: beginnings are not shared */
    uint64_t n_copied;      /* pages so far, before a change that not all owners want */
} rad_cache;

/* far: NULL where no layer is elsewhere; it is used until the cache is freed. */
radllm_status rad_cache_create(const rad_allocator *allocator, const rad_hparams *hparams,
                               const rad_cache_plan *plan, const rad_far_memory *far,
                               rad_cache **out, radllm_error *error);
/* All sequences must be freed before. */
void rad_cache_free(rad_cache *cache);

/* A page of zeros, for the caller alone; a beginning that nobody uses may go for it. NULL when all
 * are in use. The caller holds the mutex. */
uint8_t *rad_cache_take_page(rad_cache *cache, uint32_t group);
/* Makes sure that *page belongs to nobody else, with a copy if need be. False when there is no page
 * for it. The caller holds the mutex. */
bool rad_cache_own_page(rad_cache *cache, uint32_t group, uint8_t **page);
/* Forgets all beginnings; pages that no sequence holds are wiped. */
void rad_cache_clear_prefixes(rad_cache *cache);

typedef struct rad_cache_counts {
    rad_prefix_counts prefixes;
    uint64_t n_free, n_copied; /* pages of all groups */
} rad_cache_counts;
rad_cache_counts rad_cache_count(rad_cache *cache);

static inline size_t rad_cache_keys(const rad_cache *cache, uint32_t layer, uint32_t kv_head)
{
    return cache->layers[layer].first + kv_head * (cache->key_bytes + cache->value_bytes);
}

static inline size_t rad_cache_values(const rad_cache *cache, uint32_t layer, uint32_t kv_head)
{
    return rad_cache_keys(cache, layer, kv_head) + cache->key_bytes;
}

#endif
