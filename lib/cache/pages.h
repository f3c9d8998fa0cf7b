/* A pool of pages of one size with reference counts: the same page can belong to several sequences.
 * What stands inside a page is cache.h's affair. Not thread-safe. */
#ifndef RAD_PAGES_H
#define RAD_PAGES_H

#include "base/base.h"

typedef struct rad_page_pool rad_page_pool;

radllm_status rad_page_pool_create(const rad_allocator *allocator, uint64_t page_bytes,
                                   uint32_t n_pages, rad_page_pool **out, radllm_error *error);
/* Wipes what is still in use. */
void rad_page_pool_free(rad_page_pool *pool);
uint32_t rad_page_pool_free_pages(const rad_page_pool *pool);
size_t rad_page_bytes(const rad_page_pool *pool); /* of one page */

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
