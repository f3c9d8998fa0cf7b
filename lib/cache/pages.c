#include "cache/pages.h"

#include <string.h>

struct rad_page_pool {
    rad_allocator allocator;
    rad_cache_type type;
    size_t tile_bytes; /* of keys, or of values, of one head */
    size_t page_bytes;
    uint32_t n_pages, n_layers;
    uint8_t *memory;
    uint32_t *free_pages; /* a stack of indexes */
    uint32_t n_free;
    uint32_t *heads_before; /* per layer: key/value heads of the layers before it */
};

static uint64_t tile_bytes(const rad_hparams *hparams, rad_cache_type type)
{
    return (uint64_t)RAD_TILE_KEYS * hparams->head_dim * (type == RAD_CACHE_F16 ? 2 : 4);
}

uint64_t rad_page_bytes(const rad_hparams *hparams, rad_cache_type type)
{
    uint64_t heads = 0;
    for (uint32_t i = 0; i < hparams->n_layers; i++)
        heads += hparams->layers[i].n_kv_heads;
    uint64_t bytes;
    return rad_mul_u64(heads * 2, tile_bytes(hparams, type), &bytes) ? bytes : 0;
}

radllm_status rad_page_pool_create(const rad_allocator *allocator, const rad_hparams *hparams,
                                   rad_cache_type type, uint32_t n_pages, rad_page_pool **out,
                                   radllm_error *error)
{
    uint64_t total;
    uint64_t page_bytes = rad_page_bytes(hparams, type);
    if (page_bytes == 0 || !rad_mul_u64(page_bytes, n_pages, &total) || total > PTRDIFF_MAX)
        return rad_fail_memory(error, SIZE_MAX);
    rad_page_pool *pool = rad_alloc_zero(allocator, sizeof *pool);
    if (pool == NULL)
        return rad_fail_memory(error, sizeof *pool);
    pool->allocator = *allocator;
    pool->type = type;
    pool->tile_bytes = (size_t)tile_bytes(hparams, type);
    pool->page_bytes = (size_t)page_bytes;
    pool->n_pages = n_pages;
    pool->n_layers = hparams->n_layers;
    pool->memory = rad_alloc(allocator, (size_t)total); /* pages are zeroed when taken */
    pool->free_pages = rad_alloc(allocator, n_pages * sizeof *pool->free_pages);
    pool->heads_before = rad_alloc(allocator, hparams->n_layers * sizeof *pool->heads_before);
    if (pool->memory == NULL || pool->free_pages == NULL || pool->heads_before == NULL) {
        rad_page_pool_free(pool);
        return rad_fail_memory(error, (size_t)total);
    }
    uint32_t heads = 0;
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        pool->heads_before[i] = heads;
        heads += hparams->layers[i].n_kv_heads;
    }
    for (uint32_t i = 0; i < n_pages; i++)
        pool->free_pages[i] = n_pages - 1 - i;
    pool->n_free = n_pages;
    *out = pool;
    return RADLLM_OK;
}

void rad_page_pool_free(rad_page_pool *pool)
{
    if (pool == NULL)
        return;
    rad_allocator allocator = pool->allocator;
    rad_free(&allocator, pool->memory, pool->page_bytes * pool->n_pages);
    rad_free(&allocator, pool->free_pages, pool->n_pages * sizeof *pool->free_pages);
    rad_free(&allocator, pool->heads_before, pool->n_layers * sizeof *pool->heads_before);
    rad_free(&allocator, pool, sizeof *pool);
}

rad_cache_type rad_page_pool_type(const rad_page_pool *pool)
{
    return pool->type;
}

uint8_t *rad_page_take(rad_page_pool *pool)
{
    if (pool->n_free == 0)
        return NULL;
    uint8_t *page = pool->memory + (size_t)pool->free_pages[--pool->n_free] * pool->page_bytes;
    memset(page, 0, pool->page_bytes);
    return page;
}

void rad_page_release(rad_page_pool *pool, uint8_t *page)
{
    rad_wipe(page, pool->page_bytes);
    pool->free_pages[pool->n_free++] = (uint32_t)((size_t)(page - pool->memory) / pool->page_bytes);
}

size_t rad_page_keys(const rad_page_pool *pool, uint32_t layer, uint32_t kv_head)
{
    return ((size_t)pool->heads_before[layer] + kv_head) * 2 * pool->tile_bytes;
}

size_t rad_page_values(const rad_page_pool *pool, uint32_t layer, uint32_t kv_head)
{
    return rad_page_keys(pool, layer, kv_head) + pool->tile_bytes;
}
