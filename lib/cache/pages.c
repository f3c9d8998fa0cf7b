#include "cache/pages.h"

#include <string.h>

struct rad_page_pool {
    rad_allocator allocator;
    size_t page_bytes;
    uint32_t n_pages;
    uint8_t *memory;
    uint32_t *owners;     /* of each page */
    uint32_t *free_pages; /* a stack of indexes */
    uint32_t n_free;
    rad_far_memory far;
    uint32_t number;  /* as `far` knows the pool */
    size_t far_bytes; /* 0: nothing is there */
};

radllm_status rad_page_pool_create(const rad_allocator *allocator, uint64_t page_bytes,
                                   uint32_t n_pages, const rad_far_memory *far, uint32_t number,
                                   uint64_t far_bytes, rad_page_pool **out, radllm_error *error)
{
    uint64_t total;
    if (page_bytes == 0 || !rad_mul_u64(page_bytes, n_pages, &total) || total > PTRDIFF_MAX)
        return rad_fail_memory(error, SIZE_MAX);
    rad_page_pool *pool = rad_alloc_zero(allocator, sizeof *pool);
    if (pool == NULL)
        return rad_fail_memory(error, sizeof *pool);
    pool->allocator = *allocator;
    pool->page_bytes = (size_t)page_bytes;
    pool->n_pages = n_pages;
    if (far != NULL && far_bytes > 0) {
        pool->far = *far;
        pool->number = number;
        pool->far_bytes = (size_t)far_bytes;
    }
    pool->memory = rad_alloc(allocator, (size_t)total); /* pages are zeroed when taken */
    pool->owners = rad_alloc_zero(allocator, n_pages * sizeof *pool->owners);
    pool->free_pages = rad_alloc(allocator, n_pages * sizeof *pool->free_pages);
    if (pool->memory == NULL || pool->owners == NULL || pool->free_pages == NULL) {
        rad_page_pool_free(pool);
        return rad_fail_memory(error, (size_t)total);
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
    for (uint32_t i = 0; pool->n_free < pool->n_pages && i < pool->n_pages; i++) {
        if (pool->memory != NULL && pool->owners != NULL && pool->owners[i] > 0)
            rad_wipe(pool->memory + i * pool->page_bytes, pool->page_bytes);
    }
    rad_free(&allocator, pool->memory, pool->page_bytes * pool->n_pages);
    rad_free(&allocator, pool->owners, pool->n_pages * sizeof *pool->owners);
    rad_free(&allocator, pool->free_pages, pool->n_pages * sizeof *pool->free_pages);
    rad_free(&allocator, pool, sizeof *pool);
}

uint32_t rad_page_pool_free_pages(const rad_page_pool *pool)
{
    return pool->n_free;
}

uint32_t rad_page_index(const rad_page_pool *pool, const uint8_t *page)
{
    return (uint32_t)((size_t)(page - pool->memory) / pool->page_bytes);
}

size_t rad_page_far_bytes(const rad_page_pool *pool)
{
    return pool->far_bytes;
}

bool rad_page_read_far(const rad_page_pool *pool, const uint8_t *page, void *out)
{
    return pool->far.read(pool->far.user, pool->number, rad_page_index(pool, page), out);
}

bool rad_page_write_far(const rad_page_pool *pool, const uint8_t *page, const void *bytes)
{
    return pool->far.write(pool->far.user, pool->number, rad_page_index(pool, page), bytes);
}

size_t rad_page_bytes(const rad_page_pool *pool)
{
    return pool->page_bytes;
}

static uint8_t *take(rad_page_pool *pool)
{
    if (pool->n_free == 0)
        return NULL;
    uint32_t index = pool->free_pages[--pool->n_free];
    pool->owners[index] = 1;
    return pool->memory + (size_t)index * pool->page_bytes;
}

uint8_t *rad_page_take(rad_page_pool *pool)
{
    uint8_t *page = take(pool);
    if (page != NULL)
        memset(page, 0, pool->page_bytes);
    return page;
}

uint8_t *rad_page_copy(rad_page_pool *pool, const uint8_t *from)
{
    uint8_t *page = take(pool);
    if (page == NULL)
        return NULL;
    memcpy(page, from, pool->page_bytes);
    if (pool->far_bytes > 0)
        pool->far.copy(pool->far.user, pool->number, rad_page_index(pool, page),
                       rad_page_index(pool, from));
    return page;
}

void rad_page_share(rad_page_pool *pool, const uint8_t *page)
{
    pool->owners[rad_page_index(pool, page)]++;
}

uint32_t rad_page_owners(const rad_page_pool *pool, const uint8_t *page)
{
    return pool->owners[rad_page_index(pool, page)];
}

void rad_page_release(rad_page_pool *pool, uint8_t *page)
{
    uint32_t index = rad_page_index(pool, page);
    if (--pool->owners[index] > 0)
        return;
    rad_wipe(page, pool->page_bytes);
    if (pool->far_bytes > 0)
        pool->far.zero(pool->far.user, pool->number, index);
    pool->free_pages[pool->n_free++] = index;
}
