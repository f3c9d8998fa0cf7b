/* lib/cache: key/value memory: pages, and which page holds which positions of a sequence. Nothing
 * here computes.
 *
 * A page holds the keys and values of RAD_TILE_KEYS consecutive positions, for all layers and
 * key/value heads. Inside, layer after layer and head after head, stand a tile of keys,
 * [head_dim][RAD_TILE_KEYS], and a tile of values, [RAD_TILE_KEYS][head_dim]. */
#ifndef RAD_PAGES_H
#define RAD_PAGES_H

#include "base/base.h"
#include "kernels/cpu/layer.h"
#include "model/hparams.h"

typedef struct rad_page_pool rad_page_pool;

/* Bytes of one page for a model; 0 when they exceed 64 bits. */
uint64_t rad_page_bytes(const rad_hparams *hparams, rad_cache_type type);

/* One block of n_pages pages. Not thread-safe: the engine's lock guards it. */
radllm_status rad_page_pool_create(const rad_allocator *allocator, const rad_hparams *hparams,
                                   rad_cache_type type, uint32_t n_pages, rad_page_pool **out,
                                   radllm_error *error);
void rad_page_pool_free(rad_page_pool *pool);
rad_cache_type rad_page_pool_type(const rad_page_pool *pool);

/* A page full of zeros, or NULL when all are taken. */
uint8_t *rad_page_take(rad_page_pool *pool);
/* Wipes the page and gives it back. */
void rad_page_release(rad_page_pool *pool, uint8_t *page);

/* Where a tile stands inside a page. */
size_t rad_page_keys(const rad_page_pool *pool, uint32_t layer, uint32_t kv_head);
size_t rad_page_values(const rad_page_pool *pool, uint32_t layer, uint32_t kv_head);

#endif
