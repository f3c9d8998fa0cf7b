/* What the files of operations (layer.c, operations.c, choose.c) share. */
#ifndef RAD_BACKEND_CUDA_OPERATIONS_H
#define RAD_BACKEND_CUDA_OPERATIONS_H

#include "backend/cuda/cuda.h"
#include "kernels/cuda/kernels_layer.h"

/* Elements of a row that a block of an elementwise kernel takes; most rows of a grid. */
#define BLOCK_ELEMENTS 1024
#define MOST_GRID_ROWS 65535

static inline radllm_status launch(rad_cuda_backend *b, const rad_cuda_kernel *kernel,
                                   rad_cuda_grid grid, uint32_t shared, const void *arguments)
{
    return b->device->launch(b->device, kernel, grid, shared, arguments);
}

static inline rad_cuda_grid rows_grid(uint64_t width, uint32_t n_rows)
{
    uint32_t x = (uint32_t)((width + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS);
    return (rad_cuda_grid){x, n_rows < MOST_GRID_ROWS ? n_rows : MOST_GRID_ROWS, 1};
}

static inline const float *values_of(const rad_cuda_backend *b, const rad_weight *weight)
{
    return weight != NULL ? rad_cuda_weight_of(b, weight)->values : NULL;
}

static inline rad_activation_kind activation_of(const rad_weight *weight)
{
    return rad_type_find(weight->matrix.type)->activation;
}

/* Pages of a layer's keys and values. */
static inline rad_cuda_pages pages_of(const rad_cuda_backend *b, uint32_t layer)
{
    uint32_t group = b->cache->layers[layer].group;
    const rad_cache_group *g = &b->cache->plan.groups[group];
    return (rad_cuda_pages){.pool = b->gpu->pages[group],
                            .tables = rad_cuda_at(b, b->layout.tables[group]),
                            .page_bytes = b->gpu->page_bytes[group],
                            .table_stride = rad_cuda_table_stride(g),
                            .n_sinks = g->n_sinks,
                            .n_slots = g->n_slots};
}

/* Where a layer's stand in each page. */
static inline uint64_t first_of(const rad_cuda_backend *b, uint32_t layer)
{
    const rad_cache_layer *place = &b->cache->layers[layer];
    return place->first - b->gpu->page_first[place->group];
}

/* ---- adapt.c ------------------------------------------------------------------------------------
 */

radllm_status rad_cuda_run_adapt(rad_cuda_backend *b, const rad_op *op);

/* ---- layer.c -----------------------------------------------------------------------------------
 */

/* All but products, attention and experts; RADLLM_E_INTERNAL where an operation is none of these.
 */
radllm_status rad_cuda_run_rows(rad_cuda_backend *b, const rad_op *op);
/* Which of RAD_CUDA_SILU_MULTIPLY and so on an operation on elements is. */
uint32_t rad_cuda_kind_of_elements(const rad_cuda_backend *b, const rad_op *op);
/* Whether an operation's result will be wanted quantized, in which way and in blocks of how many
 * columns, which divide `piece`. */
bool rad_cuda_wants_tiles(const rad_cuda_backend *b, const rad_op *op, uint32_t piece,
                          rad_activation_kind *kind, uint32_t *block);
/* Where an operation's result will be wanted quantized, it can be so at once, by blocks of `piece`
 * columns: where its tiles go, and how many columns have a scale; NULL: not so. */
uint8_t *rad_cuda_tiles_for(rad_cuda_backend *b, const rad_op *op, uint32_t piece, uint32_t *block);
/* How many operations from `at` on are one launch; 1 where that one stands alone. */
uint32_t rad_cuda_fused(const rad_cuda_backend *b, uint32_t at, uint32_t end);
/* What such products need to know of their heads. */
rad_cuda_heads rad_cuda_heads_of(const rad_cuda_backend *b, const rad_op *ops);
/* Runs those of which there are more than one. */
radllm_status rad_cuda_run_fused(rad_cuda_backend *b, const rad_op *ops);

#endif
