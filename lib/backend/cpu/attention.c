/* Attention to the cache, tile by tile from left to right (numeric contract, rule 7). A task is a
 * block of tokens of one sequence and one key/value head with the query heads that share it. */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

static rad_attention_block *blocks_of(const rad_cpu_backend *cpu)
{
    return (rad_attention_block *)(void *)(cpu->memory + cpu->layout.blocks);
}

void rad_cpu_plan_attention(rad_cpu_backend *cpu)
{
    rad_attention_block *blocks = blocks_of(cpu);
    uint32_t n = 0;
    for (uint32_t s = 0; s < cpu->batch->n_spans; s++) {
        uint32_t rows = cpu->batch->spans[s].n_rows;
        for (uint32_t first = 0; first < rows; first += RAD_ATTENTION_TOKENS) {
            uint32_t left = rows - first;
            blocks[n++] = (rad_attention_block){
                s, first, left < RAD_ATTENTION_TOKENS ? left : RAD_ATTENTION_TOKENS};
        }
    }
    cpu->n_blocks = n;
}

/* ---- writing keys and values ---------------------------------------------------------------- */

typedef struct cache_job {
    const rad_cpu_backend *cpu;
    const rad_op *op;
    const rad_layer_params *params;
} cache_job;

/* One block of tokens and all heads: tasks write to different slots. */
static void store_block(void *data, uint32_t index, uint32_t worker)
{
    (void)worker;
    const cache_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_attention_block *block = &blocks_of(cpu)[index];
    const rad_token_span *span = &cpu->batch->spans[block->span];
    const rad_layer_kernels *layer = cpu->kernels->layer;
    const rad_hparams *h = &cpu->model->hparams;
    rad_cache_format format = cpu->cache->plan.format;
    uint32_t group = cpu->cache->layers[job->op->layer].group;
    uint32_t key_width = job->params->n_kv_heads * h->head_dim;
    uint32_t value_width = job->params->n_kv_heads * h->value_dim;
    const float *keys = rad_cpu_value(cpu, job->op->in);
    const float *values = rad_cpu_value(cpu, job->op->other);
    for (uint32_t i = 0; i < block->n_rows; i++) {
        uint32_t in_span = block->first_row + i;
        uint32_t position = span->first_position + in_span;
        size_t row = span->first_row + in_span;
        uint8_t *page = rad_sequence_page(span->sequence, group, position / RAD_TILE_KEYS);
        uint32_t slot = position % RAD_TILE_KEYS;
        for (uint32_t head = 0; head < job->params->n_kv_heads; head++) {
            layer->store_key(keys + row * key_width + head * h->head_dim, h->head_dim, format.keys,
                             page + rad_cache_keys(cpu->cache, job->op->layer, head), slot);
            layer->store_value(values + row * value_width + head * h->value_dim, h->value_dim,
                               format.values,
                               page + rad_cache_values(cpu->cache, job->op->layer, head), slot);
        }
    }
}

void rad_cpu_store(rad_cpu_backend *cpu, const rad_op *op)
{
    cache_job job = {cpu, op, &cpu->model->hparams.layers[op->layer]};
    rad_cpu_parallel(cpu, store_block, &job, cpu->n_blocks,
                     (uint64_t)cpu->batch->n_tokens * op->width * 2);
}

/* ---- attending --------------------------------------------------------------------------------
 */

static float *slopes_of(const rad_cpu_backend *cpu)
{
    return (float *)(void *)(cpu->memory + cpu->layout.slopes);
}

/* ALiBi slopes of all heads; layers mostly have as many heads as the one before. */
static void prepare_slopes(rad_cpu_backend *cpu, uint32_t n_heads)
{
    const rad_hparams *h = &cpu->model->hparams;
    if (h->max_alibi_bias == 0.0f || cpu->n_slopes == n_heads)
        return;
    for (uint32_t i = 0; i < n_heads; i++)
        slopes_of(cpu)[i] = rad_alibi_slope(h->max_alibi_bias, n_heads, i);
    cpu->n_slopes = n_heads;
}

/* Scratch of a task: running states, then slopes, distances, integers and visible range of each
 * query. */
static size_t state_width(const rad_hparams *hparams)
{
    return rad_attention_state_floats(hparams->value_dim);
}

static size_t max_queries(const rad_hparams *hparams)
{
    size_t most = 1;
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        size_t group = hparams->layers[i].n_heads / hparams->layers[i].n_kv_heads;
        most = group > most ? group : most;
    }
    return most * RAD_ATTENTION_TOKENS;
}

size_t rad_cpu_attention_scratch(const rad_hparams *hparams)
{
    return max_queries(hparams) * (state_width(hparams) * sizeof(float) + sizeof(float) +
                                   sizeof(int32_t) + rad_query_bytes(hparams->head_dim) + 2);
}

typedef struct attend_task {
    const rad_cpu_backend *cpu;
    const rad_token_span *span;
    const rad_reach *reach;
    uint32_t layer, kv_head, group, n_tokens;
    uint32_t first_position;  /* of the block */
    const float *queries;     /* of the block's first token and the group's first head */
    const float *sinks;       /* the same, rotated as the keys of sinks want them */
    size_t query_stride;      /* between tokens */
    float *states;            /* [token][head of the group] */
    const float *head_slopes; /* of the group's heads; NULL: no ALiBi */
    float *slopes;            /* of the queries of a call to the kernel, as the following */
    int32_t *distances;
    uint8_t *integers; /* [token][head of the group], rad_query_bytes() each; of keys in
                        * integers */
    uint8_t *first, *last;
} attend_task;

/* First key of its window that a query at `position` sees. */
static uint32_t first_visible(const rad_reach *reach, uint32_t position)
{
    return reach->window != 0 && position >= reach->window ? position - reach->window + 1 : 0;
}

/* Where in a tile the keys are that a token sees: of the sinks, or of its window, which begins
 * behind the sinks. */
static void visible_slots(const attend_task *task, uint32_t token, uint32_t tile, bool of_sinks,
                          uint8_t *first, uint8_t *last)
{
    uint32_t position = task->first_position + token;
    uint32_t start = tile * RAD_TILE_KEYS, sinks = task->reach->sinks;
    uint32_t low = first_visible(task->reach, position), high = position + 1;
    if (of_sinks) {
        low = 0;
        high = high < sinks ? high : sinks;
    } else if (low < sinks) {
        low = sinks;
    }
    low = low > start ? low - start : 0;
    high = high > start ? high - start : 0;
    *first = (uint8_t)(low < RAD_TILE_KEYS ? low : RAD_TILE_KEYS);
    *last = (uint8_t)(high < RAD_TILE_KEYS ? high : RAD_TILE_KEYS);
    if (*first > *last)
        *first = *last;
}

/* Position of the tile's first slot, less that of a token; to sinks both inside the cache. */
static int32_t distance_of(const attend_task *task, uint32_t token, uint32_t tile, bool of_sinks)
{
    uint32_t position = task->first_position + token;
    uint32_t last = task->reach->sinks + task->reach->window - 1;
    return (int32_t)(tile * RAD_TILE_KEYS - (of_sinks && position > last ? last : position));
}

static rad_attention_shape shape_of(const rad_cpu_backend *cpu)
{
    const rad_hparams *h = &cpu->model->hparams;
    return (rad_attention_shape){.key_dim = h->head_dim,
                                 .value_dim = h->value_dim,
                                 .key_type = cpu->cache->plan.format.keys,
                                 .value_type = cpu->cache->plan.format.values,
                                 .scale = h->query_scale,
                                 .cap = h->attention_cap};
}

/* One tile, its sinks or its other keys; all queries of the task. Either the tokens or the heads of
 * the group form the kernel's list of queries, whichever is longer; each query's bits are the same.
 */
static void attend_one_tile(const attend_task *task, uint32_t tile, bool of_sinks)
{
    const rad_cpu_backend *cpu = task->cpu;
    rad_attention_shape shape = shape_of(cpu);
    uint32_t group = cpu->cache->layers[task->layer].group;
    const uint8_t *page = rad_sequence_page(task->span->sequence, group, tile);
    const uint8_t *keys = page + rad_cache_keys(cpu->cache, task->layer, task->kv_head);
    const uint8_t *values = page + rad_cache_values(cpu->cache, task->layer, task->kv_head);
    const float *heads = of_sinks ? task->sinks : task->queries;
    size_t width = state_width(&cpu->model->hparams), query_bytes = rad_query_bytes(shape.key_dim);
    rad_tile_queries queries = {
        .first = task->first, .last = task->last, .distances = task->distances};
    if (task->n_tokens >= task->group) {
        for (uint32_t t = 0; t < task->n_tokens; t++) {
            visible_slots(task, t, tile, of_sinks, &task->first[t], &task->last[t]);
            task->distances[t] = distance_of(task, t, tile, of_sinks);
        }
        queries.n = task->n_tokens;
        queries.stride = task->query_stride;
        queries.state_stride = task->group * width;
        queries.integers_stride = task->group * query_bytes;
        for (uint32_t head = 0; head < task->group; head++) {
            for (uint32_t t = 0; task->head_slopes != NULL && t < task->n_tokens; t++)
                task->slopes[t] = task->head_slopes[head];
            queries.slopes = task->head_slopes != NULL ? task->slopes : NULL;
            queries.values = heads + (size_t)head * shape.key_dim;
            queries.integers = task->integers + head * query_bytes;
            queries.states = task->states + head * width;
            cpu->kernels->layer->attend_tile(&shape, &queries, keys, values);
        }
        return;
    }
    queries.n = task->group;
    queries.stride = shape.key_dim;
    queries.state_stride = width;
    queries.integers_stride = query_bytes;
    queries.slopes = task->head_slopes;
    for (uint32_t t = 0; t < task->n_tokens; t++) {
        uint8_t first, last;
        visible_slots(task, t, tile, of_sinks, &first, &last);
        memset(task->first, first, task->group);
        memset(task->last, last, task->group);
        for (uint32_t head = 0; head < task->group; head++)
            task->distances[head] = distance_of(task, t, tile, of_sinks);
        queries.values = heads + t * task->query_stride;
        queries.integers = task->integers + t * task->group * query_bytes;
        queries.states = task->states + t * task->group * width;
        cpu->kernels->layer->attend_tile(&shape, &queries, keys, values);
    }
}

/* Queries, or what they are for sinks, as keys in integers want them: once for all tiles. */
static void quantize_queries(const attend_task *task, const float *queries)
{
    uint32_t key_dim = task->cpu->model->hparams.head_dim;
    if (!rad_cache_type_is_integer(task->cpu->cache->plan.format.keys))
        return;
    uint8_t *integers = task->integers;
    for (uint32_t t = 0; t < task->n_tokens; t++) {
        for (uint32_t head = 0; head < task->group; head++) {
            const float *query = queries + t * task->query_stride + (size_t)head * key_dim;
            task->cpu->kernels->layer->quantize_query(query, key_dim, integers);
            integers += rad_query_bytes(key_dim);
        }
    }
}

/* Sinks first, then the window, from left to right. A tile that holds both kinds of keys is taken
 * in two parts, wherever the window stands. */
static void attend_tiles(const attend_task *task)
{
    const rad_reach *reach = task->reach;
    uint32_t first = first_visible(reach, task->first_position);
    uint32_t last_tile = (task->first_position + task->n_tokens - 1) / RAD_TILE_KEYS;
    if (reach->sinks != 0)
        quantize_queries(task, task->sinks);
    for (uint32_t tile = 0; tile <= last_tile && tile * RAD_TILE_KEYS < reach->sinks; tile++)
        attend_one_tile(task, tile, true);
    quantize_queries(task, task->queries);
    first = first > reach->sinks ? first : reach->sinks;
    for (uint32_t tile = first / RAD_TILE_KEYS; tile <= last_tile; tile++)
        attend_one_tile(task, tile, false);
}

/* A head's learned sink is the tile before the first one: one score, whose value is nothing. */
static void clear_states(const attend_task *task, const float *sinks, size_t width)
{
    for (size_t i = 0; i < (size_t)task->n_tokens * task->group; i++) {
        float *state = task->states + i * width;
        uint32_t value_dim = task->cpu->model->hparams.value_dim;
        memset(state, 0, width * sizeof(float));
        state[value_dim] = sinks != NULL ? sinks[i % task->group] : -INFINITY;
        state[value_dim + 1] = sinks != NULL ? 1.0f : 0.0f;
    }
}

static void attend_block(void *data, uint32_t index, uint32_t worker)
{
    const cache_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_hparams *h = &cpu->model->hparams;
    uint32_t n_kv_heads = job->params->n_kv_heads;
    const rad_attention_block *block = &blocks_of(cpu)[index / n_kv_heads];
    const rad_token_span *span = &cpu->batch->spans[block->span];
    size_t width = state_width(h);
    uint32_t group = job->params->n_heads / n_kv_heads;
    uint32_t kv_head = index % n_kv_heads;
    size_t query_width = (size_t)job->params->n_heads * h->head_dim, out_width = job->op->width;
    size_t row = span->first_row + block->first_row;
    size_t first_query = row * query_width + (size_t)kv_head * group * h->head_dim;
    float *states = rad_cpu_scratch(cpu, worker);
    size_t n_queries = max_queries(h);
    float *slopes = states + n_queries * width;
    int32_t *distances = (int32_t *)(void *)(slopes + n_queries);
    uint8_t *integers = (uint8_t *)(distances + n_queries);
    uint8_t *ranges = integers + n_queries * rad_query_bytes(h->head_dim);
    attend_task task = {
        .cpu = cpu,
        .span = span,
        .reach = &cpu->cache->layers[job->op->layer].reach,
        .layer = job->op->layer,
        .kv_head = kv_head,
        .group = group,
        .n_tokens = block->n_rows,
        .first_position = span->first_position + block->first_row,
        .queries = rad_cpu_value(cpu, job->op->in) + first_query,
        .sinks = rad_cpu_value(cpu, job->op->other) + first_query,
        .query_stride = query_width,
        .states = states,
        .head_slopes = h->max_alibi_bias > 0.0f ? slopes_of(cpu) + (size_t)kv_head * group : NULL,
        .slopes = slopes,
        .distances = distances,
        .integers = integers,
        .first = ranges,
        .last = ranges + n_queries};
    const rad_weight *sinks = job->op->bias;
    clear_states(&task, sinks != NULL ? sinks->values + kv_head * group : NULL, width);
    attend_tiles(&task);
    float *out =
        rad_cpu_value(cpu, job->op->out) + row * out_width + (size_t)kv_head * group * h->value_dim;
    for (uint32_t t = 0; t < block->n_rows; t++) {
        for (uint32_t head = 0; head < group; head++)
            cpu->kernels->layer->finish_attention(states + (t * group + head) * width, h->value_dim,
                                                  out + t * out_width + head * h->value_dim);
    }
}

/* Scores and weighted sums that the batch will compute, roughly. */
static uint64_t attention_work(const rad_cpu_backend *cpu, const rad_op *op)
{
    const rad_reach *reach = &cpu->cache->layers[op->layer].reach;
    uint64_t keys = 0, most = (uint64_t)reach->window + reach->sinks;
    for (uint32_t s = 0; s < cpu->batch->n_spans; s++) {
        const rad_token_span *span = &cpu->batch->spans[s];
        uint64_t seen = (uint64_t)span->first_position + span->n_rows;
        keys += span->n_rows * (reach->window != 0 && most < seen ? most : seen);
    }
    return keys * op->width;
}

void rad_cpu_attend(rad_cpu_backend *cpu, const rad_op *op)
{
    cache_job job = {cpu, op, &cpu->model->hparams.layers[op->layer]};
    prepare_slopes(cpu, job.params->n_heads);
    rad_cpu_parallel(cpu, attend_block, &job, cpu->n_blocks * job.params->n_kv_heads,
                     attention_work(cpu, op));
}
