#include "cache/cache.h"

#include <stdio.h>
#include <string.h>

#define PAGE_ALIGNMENT 64

void rad_cache_format_name(rad_cache_format format, char name[RAD_CACHE_FORMAT_NAME])
{
    static const char *const names[RAD_CACHE_TYPES] = {"f32", "f16", "bf16", "fp8", "q8_0", "q4_0"};
    if (format.keys == format.values)
        snprintf(name, RAD_CACHE_FORMAT_NAME, "%s", names[format.keys]);
    else
        snprintf(name, RAD_CACHE_FORMAT_NAME, "%s/%s", names[format.keys], names[format.values]);
}

/* ---- the plan -------------------------------------------------------------------------------- */

static bool has_window(const rad_hparams *hparams, uint32_t layer)
{
    return hparams->layers[layer].window != 0;
}

uint32_t rad_cache_group_of(const rad_hparams *hparams, uint32_t layer)
{
    if (!has_window(hparams, layer))
        return 0;
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        if (!has_window(hparams, i))
            return 1;
    }
    return 0;
}

static uint64_t head_bytes(const rad_hparams *hparams, rad_cache_format format)
{
    return (uint64_t)rad_key_tile_bytes(format.keys, hparams->head_dim) +
           rad_value_tile_bytes(format.values, hparams->value_dim);
}

/* Tiles that n consecutive positions touch at most, wherever they begin. */
static uint64_t tiles_touched(uint64_t n)
{
    return (n + RAD_TILE_KEYS - 2) / RAD_TILE_KEYS + 1;
}

static uint64_t tiles_for(uint64_t length)
{
    return (length + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
}

static bool finish_group(rad_cache_group *group, uint32_t positions, uint32_t chunk,
                         uint32_t n_sequences, uint64_t *bytes)
{
    uint64_t slots = tiles_for(positions), pages, of_group;
    if (group->window != 0) {
        uint64_t needed = tiles_touched((uint64_t)group->window + chunk);
        slots = slots > group->n_sinks ? slots - group->n_sinks : 1;
        slots = needed < slots ? needed : slots;
    }
    if (!rad_mul_u64(slots + group->n_sinks, n_sequences, &pages) || pages > UINT32_MAX ||
        !rad_mul_u64(pages, group->page_bytes, &of_group) || !rad_add_u64(*bytes, of_group, bytes))
        return false;
    group->n_slots = (uint32_t)slots;
    group->n_pages = (uint32_t)pages;
    return true;
}

/* No sequence outlives a step, so that all of them together hold what one step computes. There is
 * one group then; returns its bytes. */
static uint64_t limit_pages(rad_cache_group *group, uint32_t chunk, uint32_t n_sequences)
{
    uint64_t pages = chunk / RAD_TILE_KEYS + (uint64_t)n_sequences;
    group->n_pages = pages < group->n_pages ? (uint32_t)pages : group->n_pages;
    return group->n_pages * group->page_bytes;
}

bool rad_cache_plan_make(const rad_hparams *hparams, const rad_attention_policy *policy,
                         rad_cache_format format, uint32_t positions, uint32_t chunk,
                         uint32_t n_sequences, rad_cache_plan *plan)
{
    *plan = (rad_cache_plan){.format = format, .policy = *policy};
    uint64_t per_head = head_bytes(hparams, format);
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        uint32_t index = rad_cache_group_of(hparams, i);
        rad_cache_group *group = &plan->groups[index];
        rad_reach reach = rad_policy_reach(policy, hparams->layers[i].window);
        uint32_t n_sinks = (uint32_t)tiles_for(reach.sinks);
        plan->n_groups = index + 1 > plan->n_groups ? index + 1 : plan->n_groups;
        group->window = reach.window > group->window ? reach.window : group->window;
        group->n_sinks = n_sinks > group->n_sinks ? n_sinks : group->n_sinks;
        uint64_t bytes;
        if (!rad_mul_u64(hparams->layers[i].n_kv_heads, per_head, &bytes))
            return false;
        if (hparams->bidirectional) /* no layer's keys outlive the layer */
            group->page_bytes = bytes > group->page_bytes ? bytes : group->page_bytes;
        else if (!rad_add_u64(group->page_bytes, bytes, &group->page_bytes))
            return false;
    }
    for (uint32_t g = 0; g < plan->n_groups; g++) {
        rad_cache_group *group = &plan->groups[g];
        if (!rad_align_u64(group->page_bytes, PAGE_ALIGNMENT, &group->page_bytes) ||
            !finish_group(group, positions, chunk, n_sequences, &plan->bytes))
            return false;
        if (hparams->bidirectional)
            plan->bytes = limit_pages(group, chunk, n_sequences);
    }
    return true;
}

void rad_cache_plan_limit(rad_cache_plan *plan, uint64_t positions, uint32_t n_sequences)
{
    uint64_t pages = tiles_for(positions) + n_sequences;
    for (uint32_t g = 0; g < plan->n_groups; g++) {
        rad_cache_group *group = &plan->groups[g];
        if (group->window != 0 || pages >= group->n_pages)
            continue;
        plan->bytes -= (group->n_pages - pages) * group->page_bytes;
        group->n_pages = (uint32_t)pages;
        plan->limited = true;
    }
}

bool rad_cache_plan_prefixes(rad_cache_plan *plan, uint64_t bytes)
{
    uint64_t per_block = 0, pages;
    for (uint32_t g = 0; g < plan->n_groups; g++) {
        if (!rad_add_u64(per_block, plan->groups[g].page_bytes, &per_block))
            return false;
    }
    uint64_t more = bytes / per_block;
    for (uint32_t g = 0; g < plan->n_groups; g++) {
        rad_cache_group *group = &plan->groups[g];
        pages = group->n_pages + more;
        if (pages >= UINT32_MAX)
            return false;
        group->n_pages = (uint32_t)pages;
        plan->n_prefixes = group->n_pages > plan->n_prefixes ? group->n_pages : plan->n_prefixes;
    }
    plan->prefix_bytes = more * per_block + rad_prefixes_bytes(plan->n_prefixes);
    return rad_add_u64(plan->bytes, plan->prefix_bytes, &plan->bytes);
}

/* Of a page: the part of layers first..last-1 of a group. */
static uint64_t part_bytes(const rad_cache_plan *plan, const rad_hparams *hparams, uint32_t group,
                           uint32_t first, uint32_t last)
{
    uint64_t bytes = 0, per_head = head_bytes(hparams, plan->format);
    for (uint32_t i = first; i < last; i++) {
        uint64_t of_layer = hparams->layers[i].n_kv_heads * per_head;
        if (rad_cache_group_of(hparams, i) != group)
            continue;
        bytes = !hparams->bidirectional ? bytes + of_layer : of_layer > bytes ? of_layer : bytes;
    }
    return (bytes + PAGE_ALIGNMENT - 1) & ~(uint64_t)(PAGE_ALIGNMENT - 1);
}

/* All sums are of parts of what was summed before. */
void rad_cache_plan_divide(rad_cache_plan *plan, const rad_hparams *hparams, uint32_t n_far)
{
    plan->n_far_layers = n_far;
    plan->far_bytes = 0;
    for (uint32_t g = 0; g < plan->n_groups; g++) {
        rad_cache_group *group = &plan->groups[g];
        uint64_t before = group->page_bytes;
        uint64_t here = part_bytes(plan, hparams, g, n_far, hparams->n_layers);
        group->far_bytes = part_bytes(plan, hparams, g, 0, n_far);
        group->page_bytes = here > 0 ? here : PAGE_ALIGNMENT; /* pages are told apart by address */
        plan->far_bytes += group->far_bytes * group->n_pages;
        plan->bytes -= (before - group->page_bytes) * group->n_pages;
    }
}

void rad_cache_describe(const rad_cache_plan *plan, char *text, size_t capacity)
{
    const rad_attention_policy *policy = &plan->policy;
    int n = snprintf(text, capacity,
                     "tile=%d\nkeys=%d\nvalues=%d\nattention=%s, window %u, sinks %u, period %u\n",
                     RAD_TILE_KEYS, (int)plan->format.keys, (int)plan->format.values,
                     rad_policy_name(policy), policy->window, policy->sinks, policy->period);
    for (uint32_t g = 0; g < plan->n_groups && n >= 0 && (size_t)n < capacity; g++)
        n += snprintf(text + n, capacity - (size_t)n, "group%u=window %u, page %llu\n", g,
                      plan->groups[g].window, (unsigned long long)plan->groups[g].page_bytes);
    for (uint32_t g = 0;
         g < plan->n_groups && plan->n_far_layers > 0 && n >= 0 && (size_t)n < capacity; g++)
        n += snprintf(text + n, capacity - (size_t)n, "group%u=%llu on the device\n", g,
                      (unsigned long long)plan->groups[g].far_bytes);
}

uint64_t rad_cache_position_bytes(const rad_cache_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t g = 0; g < plan->n_groups; g++)
        bytes += plan->groups[g].page_bytes + plan->groups[g].far_bytes;
    return bytes / RAD_TILE_KEYS;
}

/* ---- the memory ------------------------------------------------------------------------------ */

static void place_layers(rad_cache *cache, const rad_hparams *hparams)
{
    size_t used[RAD_CACHE_GROUPS] = {0};
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        uint32_t group = rad_cache_group_of(hparams, i);
        if (i == cache->plan.n_far_layers)
            memset(used, 0, sizeof used);
        rad_reach reach = rad_policy_reach(&cache->plan.policy, hparams->layers[i].window);
        cache->layers[i] = (rad_cache_layer){reach, group, used[group]};
        if (hparams->bidirectional)
            continue; /* layers follow each other in the same place */
        used[group] += hparams->layers[i].n_kv_heads * (cache->key_bytes + cache->value_bytes);
    }
}

static radllm_status create_prefixes(rad_cache *cache, radllm_error *error)
{
    const rad_cache_plan *plan = &cache->plan;
    bool windowed[RAD_CACHE_GROUPS];
    for (uint32_t g = 0; g < plan->n_groups; g++)
        windowed[g] = plan->groups[g].window != 0;
    cache->prefixes = rad_prefixes_create(&cache->allocator, plan->n_prefixes, cache->pools,
                                          windowed, plan->n_groups);
    return cache->prefixes != NULL
               ? RADLLM_OK
               : rad_fail_memory(error, (size_t)rad_prefixes_bytes(plan->n_prefixes));
}

radllm_status rad_cache_create(const rad_allocator *allocator, const rad_hparams *hparams,
                               const rad_cache_plan *plan, const rad_far_memory *far,
                               rad_cache **out, radllm_error *error)
{
    rad_cache *cache = rad_alloc_zero(allocator, sizeof *cache);
    if (cache == NULL)
        return rad_fail_memory(error, sizeof *cache);
    cache->allocator = *allocator;
    cache->plan = *plan;
    cache->key_bytes = rad_key_tile_bytes(plan->format.keys, hparams->head_dim);
    cache->value_bytes = rad_value_tile_bytes(plan->format.values, hparams->value_dim);
    cache->n_layers = hparams->n_layers;
    /* With default attributes this never fails on the systems that the library runs on. */
    if (pthread_mutex_init(&cache->mutex, NULL) != 0) {
        rad_free(allocator, cache, sizeof *cache);
        return rad_fail_memory(error, sizeof(pthread_mutex_t));
    }
    radllm_status status = RADLLM_OK;
    cache->layers = rad_alloc(allocator, cache->n_layers * sizeof *cache->layers);
    if (cache->layers == NULL)
        status = rad_fail_memory(error, cache->n_layers * sizeof *cache->layers);
    for (uint32_t g = 0; status == RADLLM_OK && g < plan->n_groups; g++)
        status =
            rad_page_pool_create(allocator, plan->groups[g].page_bytes, plan->groups[g].n_pages,
                                 far, g, plan->groups[g].far_bytes, &cache->pools[g], error);
    if (status == RADLLM_OK && plan->n_prefixes > 0)
        status = create_prefixes(cache, error);
    if (status != RADLLM_OK) {
        rad_cache_free(cache);
        return status;
    }
    place_layers(cache, hparams);
    *out = cache;
    return RADLLM_OK;
}

void rad_cache_free(rad_cache *cache)
{
    if (cache == NULL)
        return;
    rad_allocator allocator = cache->allocator;
    rad_prefixes_free(cache->prefixes);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++)
        rad_page_pool_free(cache->pools[g]);
    pthread_mutex_destroy(&cache->mutex);
    rad_free(&allocator, cache->layers, cache->n_layers * sizeof *cache->layers);
    rad_free(&allocator, cache, sizeof *cache);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static bool make_room(rad_cache *cache, uint32_t group)
{
    return rad_page_pool_free_pages(cache->pools[group]) > 0 ||
           (cache->prefixes != NULL && rad_prefix_evict(cache->prefixes, group));
}

uint8_t *rad_cache_take_page(rad_cache *cache, uint32_t group)
{
    return make_room(cache, group) ? rad_page_take(cache->pools[group]) : NULL;
}

/* Where all pages are used by sequences, and yet this one has one owner more, that is the tree of
 * beginnings (in a plan without limit another sequence would leave a page over), which then lets
 * go. */
bool rad_cache_own_page(rad_cache *cache, uint32_t group, uint8_t **page)
{
    rad_page_pool *pool = cache->pools[group];
    bool room = rad_page_owners(pool, *page) == 1 || make_room(cache, group);
    while (!room && rad_page_owners(pool, *page) == 2 && cache->prefixes != NULL &&
           rad_prefix_forget(cache->prefixes))
        room = rad_page_owners(pool, *page) == 1;
    if (rad_page_owners(pool, *page) == 1)
        return true;
    uint8_t *copy = room ? rad_page_copy(pool, *page) : NULL;
    if (copy == NULL)
        return false;
    rad_page_release(pool, *page);
    *page = copy;
    cache->n_copied++;
    return true;
}

void rad_cache_clear_prefixes(rad_cache *cache)
{
    if (cache->prefixes == NULL)
        return;
    pthread_mutex_lock(&cache->mutex);
    rad_prefix_clear(cache->prefixes);
    pthread_mutex_unlock(&cache->mutex);
}

rad_cache_counts rad_cache_count(rad_cache *cache)
{
    rad_cache_counts counts = {0};
    pthread_mutex_lock(&cache->mutex);
    if (cache->prefixes != NULL)
        counts.prefixes = rad_prefix_count(cache->prefixes);
    for (uint32_t g = 0; g < cache->plan.n_groups; g++)
        counts.n_free += rad_page_pool_free_pages(cache->pools[g]);
    counts.n_copied = cache->n_copied;
    pthread_mutex_unlock(&cache->mutex);
    return counts;
}
