/* A pool of pages of one size with reference counts: the same page can belong to several sequences.
 * What stands inside a page is cache.h's affair. Not thread-safe. */
#ifndef RAD_PAGES_H
#define RAD_PAGES_H

#include "base/base.h"

typedef struct rad_page_pool rad_page_pool;

/* Memory elsewhere (a device's) in which each page of a pool has a part as well, found by the
 * page's index. Parts are zeros at first, and again when their pages are released. What fails there
 * is told to whoever computes next. Any thread. */
typedef struct rad_far_memory {
    void *user;
    void (*zero)(void *user, uint32_t pool, uint32_t index);
    void (*copy)(void *user, uint32_t pool, uint32_t to, uint32_t from);
    /* All bytes of a part, from and to this machine's memory; false when that fails. */
    bool (*read)(void *user, uint32_t pool, uint32_t index, void *out);
    bool (*write)(void *user, uint32_t pool, uint32_t index, const void *bytes);
} rad_far_memory;

/* `far` is copied; NULL: none. `number` is what it knows the pool by, far_bytes the size of a part
 * there. */
radllm_status rad_page_pool_create(const rad_allocator *allocator, uint64_t page_bytes,
                                   uint32_t n_pages, const rad_far_memory *far, uint32_t number,
                                   uint64_t far_bytes, rad_page_pool **out, radllm_error *error);
/* Wipes what is still in use. */
void rad_page_pool_free(rad_page_pool *pool);
uint32_t rad_page_pool_free_pages(const rad_page_pool *pool);
size_t rad_page_bytes(const rad_page_pool *pool); /* of one page */
size_t rad_page_far_bytes(const rad_page_pool *pool);
uint32_t rad_page_index(const rad_page_pool *pool, const uint8_t *page);
/* A page's part elsewhere, where there is one. */
bool rad_page_read_far(const rad_page_pool *pool, const uint8_t *page, void *out);
bool rad_page_write_far(const rad_page_pool *pool, const uint8_t *page, const void *bytes);

/* A page full of zeros that belongs to the caller alone, or NULL when all are taken. */
uint8_t *rad_page_take(rad_page_pool *pool);
/* The same with what stands in a page. */
uint8_t *rad_page_copy(rad_page_pool *pool, const uint8_t *from);
/* One owner more. */
void rad_page_share(rad_page_pool *pool, const uint8_t *page);
uint32_t rad_page_owners(const rad_page_pool *pool, const uint8_t *page);
/* One owner less; the last one's page is wiped and free again. */
void rad_page_release(rad_page_pool *pool, uint8_t *page);

#endif
