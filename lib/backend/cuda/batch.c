/* What a step tells the devices: rows, output rows, the page tables of its sequences, and what the
 * CPU computes before the first layer. One copy for all, to each device; it is written and laid out
 * by the first one's part of the backend. */
#include "backend/cuda/cuda.h"

#include <string.h>

#define KEYS_STEP 256

/* Staging memory stands as the device's, from `told` on. */
static void *staged(const rad_cuda_backend *b, uint64_t offset)
{
    return b->staging + (offset - b->layout.told);
}

uint64_t rad_cuda_staging_bytes(const rad_cuda_layout *layout)
{
    return layout->told_end - layout->told;
}

uint64_t rad_cuda_value_bytes(const rad_program *program, const rad_backend_settings *settings,
                              uint32_t value)
{
    const rad_value *v = &program->values[value];
    return (uint64_t)(v->per_output ? settings->max_outputs : settings->max_tokens) * v->width *
           sizeof(float);
}

/* The next part's place. There is room for all of them: place.c. */
static uint64_t take(rad_cuda_backend *b, uint64_t bytes)
{
    uint64_t offset = b->told;
    b->told += rad_cuda_aligned(bytes);
    return offset;
}

uint32_t rad_cuda_most_blocks(const rad_backend_settings *settings, uint32_t tokens)
{
    return settings->max_tokens / tokens + settings->max_spans;
}

static void write_rows(rad_cuda_backend *b)
{
    const rad_batch *batch = b->batch;
    b->layout.rows = take(b, batch->n_tokens * sizeof(rad_cuda_row));
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

static void write_draws(rad_cuda_backend *b)
{
    _Static_assert(sizeof(rad_draw) == sizeof(rad_cuda_draw), "they are the same");
    const rad_batch *batch = b->batch;
    uint64_t bytes = batch->draws != NULL ? batch->n_outputs * sizeof *batch->draws : 0;
    b->layout.draws = take(b, bytes);
    if (bytes > 0)
        memcpy(staged(b, b->layout.draws), batch->draws, bytes);
}

/* Entries of tiles that are not held are never looked at. */
static void write_table(rad_cuda_backend *b, uint32_t group)
{
    const rad_cache_group *g = &b->cache->plan.groups[group];
    const rad_page_pool *pool = b->cache->pools[group];
    uint32_t stride = rad_cuda_table_stride(g);
    b->layout.tables[group] = take(b, (uint64_t)b->batch->n_spans * stride * sizeof(uint32_t));
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
    uint64_t most = b->batch->n_tokens / tokens + b->batch->n_spans;
    b->layout.blocks[tokens - 1] = take(b, most * sizeof(rad_cuda_attend_block));
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

/* Those blocks that some operation of a part will want. */
static void write_all_blocks(rad_cuda_backend *b, const rad_cuda_backend *part)
{
    rad_cuda_means means = {part->model, &part->cache->plan, &part->device->properties,
                            part->library};
    for (uint32_t i = 0; i < part->program->n_ops; i++) {
        uint32_t rows;
        if (!part->on_device[i] || part->program->ops[i].kind != RAD_OP_ATTEND)
            continue;
        uint32_t tokens =
            rad_cuda_attend_shape(&means, &part->program->ops[i], b->longest_span, &rows)
                .tokens_per_block;
        if (b->n_blocks[tokens - 1] == 0)
            write_blocks(b, tokens);
    }
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

/* What was told is in the same places of all devices. */
static void share(const rad_cuda_backend *b, rad_cuda_backend *part)
{
    part->batch = b->batch;
    part->told = b->told;
    part->longest_span = b->longest_span;
    part->most_keys = b->most_keys;
    part->layout.rows = b->layout.rows;
    part->layout.outputs = b->layout.outputs;
    part->layout.draws = b->layout.draws;
    memcpy(part->n_blocks, b->n_blocks, sizeof part->n_blocks);
    memcpy(part->layout.tables, b->layout.tables, sizeof part->layout.tables);
    memcpy(part->layout.blocks, b->layout.blocks, sizeof part->layout.blocks);
    memcpy(part->layout.values, b->layout.values, sizeof part->layout.values);
}

void rad_cuda_tell_batch(rad_cuda_chain *c)
{
    rad_cuda_backend *b = &c->parts[0];
    const rad_batch *batch = c->batch;
    b->batch = batch;
    b->told = b->layout.told;
    measure(b);
    write_rows(b);
    b->layout.outputs = take(b, batch->n_outputs * sizeof *batch->outputs);
    if (batch->n_outputs > 0)
        memcpy(staged(b, b->layout.outputs), batch->outputs,
               batch->n_outputs * sizeof *batch->outputs);
    write_draws(b);
    for (uint32_t g = 0; g < b->cache->plan.n_groups; g++)
        write_table(b, g);
    memset(b->n_blocks, 0, sizeof b->n_blocks);
    for (uint32_t k = 0; k < c->n; k++)
        write_all_blocks(b, &c->parts[k]);
    for (uint32_t v = 0; v < b->program->n_values; v++) {
        if ((c->inputs >> v & 1) == 0)
            continue;
        b->layout.values[v] =
            take(b, (uint64_t)batch->n_tokens * b->program->values[v].width * sizeof(float));
        b->library->cpu_lend(b->cpu, (uint8_t)v, staged(b, b->layout.values[v]));
    }
    for (uint32_t k = 1; k < c->n; k++)
        share(b, &c->parts[k]);
}

radllm_status rad_cuda_send_batch(rad_cuda_chain *c, radllm_error *error)
{
    uint32_t everywhere = RAD_CUDA_HERE;
    for (uint32_t k = 0; k < c->n; k++) {
        rad_cuda_backend *b = &c->parts[k];
        radllm_status status =
            b->device->upload(b->device, RAD_CUDA_COMPUTE, rad_cuda_at(b, b->layout.told),
                              staged(b, b->layout.told), b->told - b->layout.told);
        if (status != RADLLM_OK)
            return rad_cuda_failed(b->device, status, error);
        b->under_way = true;
        everywhere |= RAD_CUDA_THERE(k);
    }
    for (uint32_t v = 0; v < c->program->n_values; v++) {
        if ((c->inputs >> v & 1) != 0 && c->values[v].where != 0)
            c->values[v].where = everywhere;
    }
    return RADLLM_OK;
}
