/* What a step tells the device: rows, output rows, and the page tables of its sequences. */
#include "backend/cuda/cuda.h"

#include <string.h>

#define KEYS_STEP 256

/* Staging memory stands as the device's, from `rows` on. */
static void *staged(const rad_cuda_backend *b, uint64_t offset)
{
    return b->staging + (offset - b->layout.rows);
}

uint64_t rad_cuda_staging_bytes(const rad_cuda_layout *layout)
{
    return layout->told_end - layout->rows;
}

uint32_t rad_cuda_most_blocks(const rad_backend_settings *settings, uint32_t tokens)
{
    return settings->max_tokens / tokens + settings->max_spans;
}

static void write_rows(const rad_cuda_backend *b)
{
    const rad_batch *batch = b->batch;
    rad_cuda_row *rows = staged(b, b->layout.rows);
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        const rad_token_span *span = &batch->spans[s];
        uint32_t end = span->first_position + span->n_rows;
        for (uint32_t i = 0; i < span->n_rows; i++) {
            uint32_t row = span->first_row + i, position = span->first_position + i;
            rows[row] =
                (rad_cuda_row){position, b->model->hparams.bidirectional ? end : position + 1, s,
                               (uint32_t)batch->tokens[row]};
        }
    }
}

/* Entries of tiles that are not held are never looked at. */
static void write_table(const rad_cuda_backend *b, uint32_t group)
{
    const rad_cache_group *g = &b->cache->plan.groups[group];
    const rad_page_pool *pool = b->cache->pools[group];
    uint32_t stride = rad_cuda_table_stride(g);
    uint32_t *table = staged(b, b->layout.tables[group]);
    for (uint32_t s = 0; s < b->batch->n_spans; s++, table += stride) {
        const rad_sequence *sequence = b->batch->spans[s].sequence;
        const rad_page_table *pages = &sequence->tables[group];
        memset(table, 0, stride * sizeof *table);
        for (uint32_t tile = 0; tile < pages->sinks; tile++)
            table[tile] = rad_page_index(pool, pages->pages[tile]);
        for (uint32_t tile = pages->first; tile < pages->end; tile++)
            table[rad_cache_slot(g, tile)] =
                rad_page_index(pool, rad_sequence_page(sequence, group, tile));
    }
}

/* The spans in blocks of at most so many tokens. */
static void write_blocks(rad_cuda_backend *b, uint32_t tokens)
{
    rad_cuda_attend_block *blocks = staged(b, b->layout.blocks[tokens - 1]);
    uint32_t n = 0;
    for (uint32_t s = 0; s < b->batch->n_spans; s++) {
        const rad_token_span *span = &b->batch->spans[s];
        for (uint32_t first = 0; first < span->n_rows; first += tokens) {
            uint32_t left = span->n_rows - first;
            blocks[n++] =
                (rad_cuda_attend_block){span->first_row + first, left < tokens ? left : tokens};
        }
    }
    b->n_blocks[tokens - 1] = n;
}

static radllm_status send(rad_cuda_backend *b, uint64_t offset, uint64_t bytes)
{
    return b->device->upload(b->device, RAD_CUDA_COMPUTE, rad_cuda_at(b, offset), staged(b, offset),
                             bytes);
}

/* Those blocks that some operation will want. */
static radllm_status send_blocks(rad_cuda_backend *b)
{
    rad_cuda_means means = {b->model, &b->cache->plan, &b->device->properties, b->library};
    radllm_status status = RADLLM_OK;
    memset(b->n_blocks, 0, sizeof b->n_blocks);
    for (uint32_t i = 0; i < b->program->n_ops && status == RADLLM_OK; i++) {
        uint32_t rows;
        if (!b->on_device[i] || b->program->ops[i].kind != RAD_OP_ATTEND)
            continue;
        uint32_t tokens = rad_cuda_attend_shape(&means, &b->program->ops[i], b->longest_span, &rows)
                              .tokens_per_block;
        if (b->n_blocks[tokens - 1] > 0)
            continue;
        write_blocks(b, tokens);
        status = send(b, b->layout.blocks[tokens - 1],
                      b->n_blocks[tokens - 1] * sizeof(rad_cuda_attend_block));
    }
    return status;
}

static void measure(rad_cuda_backend *b)
{
    b->longest_span = b->most_keys = 0;
    for (uint32_t s = 0; s < b->batch->n_spans; s++) {
        const rad_token_span *span = &b->batch->spans[s];
        uint32_t end = span->first_position + span->n_rows;
        b->longest_span = span->n_rows > b->longest_span ? span->n_rows : b->longest_span;
        b->most_keys = end > b->most_keys ? end : b->most_keys;
    }
    /* Steps that follow each other are then cut alike, and can be replayed. */
    b->most_keys = (b->most_keys + KEYS_STEP - 1) / KEYS_STEP * KEYS_STEP;
}

radllm_status rad_cuda_send_batch(rad_cuda_backend *b)
{
    const rad_batch *batch = b->batch;
    measure(b);
    write_rows(b);
    if (batch->n_outputs > 0)
        memcpy(staged(b, b->layout.outputs), batch->outputs,
               batch->n_outputs * sizeof *batch->outputs);
    radllm_status status = send(b, b->layout.rows, batch->n_tokens * sizeof(rad_cuda_row));
    if (status == RADLLM_OK && batch->n_outputs > 0)
        status = send(b, b->layout.outputs, batch->n_outputs * sizeof(uint32_t));
    for (uint32_t g = 0; g < b->cache->plan.n_groups && status == RADLLM_OK; g++) {
        write_table(b, g);
        uint64_t row =
            (uint64_t)rad_cuda_table_stride(&b->cache->plan.groups[g]) * sizeof(uint32_t);
        status = send(b, b->layout.tables[g], batch->n_spans * row);
    }
    return status == RADLLM_OK ? send_blocks(b) : status;
}
