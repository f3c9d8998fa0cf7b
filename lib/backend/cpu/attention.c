/* Attention to the cache (numeric contract, rule 7). A task is a block of tokens of one sequence
 * and one key/value head with the query heads that share it.
 *
 * Keys are taken in ranges of RAD_RANGE_TILES tiles, whose borders are absolute positions. What
 * precedes all keys (a learned sink, the sinks of a policy) and range 0 go into a query's state
 * tile by tile from left to right. Every further range begins empty, and is merged as a whole, from
 * left to right. So ranges may be computed by several threads, where a batch has too few tasks for
 * them, with the same bits. */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Tokens of a block: they share the loads of a tile, and with their heads they should stay in the
 * second-level cache. */
#define BLOCK_QUERIES      256
#define MOST_BLOCK_TOKENS  32
#define LEAST_BLOCK_TOKENS 8

static rad_attention_block *blocks_of(const rad_cpu_backend *cpu)
{
    return (rad_attention_block *)(void *)(cpu->memory + cpu->layout.blocks);
}

void rad_cpu_plan_attention(rad_cpu_backend *cpu)
{
    rad_attention_block *blocks = blocks_of(cpu);
    uint32_t n = 0, most = rad_cpu_block_tokens(&cpu->model->hparams);
    for (uint32_t s = 0; s < cpu->batch->n_spans; s++) {
        uint32_t rows = cpu->batch->spans[s].n_rows;
        for (uint32_t first = 0; first < rows; first += most) {
            uint32_t left = rows - first;
            blocks[n++] = (rad_attention_block){s, first, left < most ? left : most};
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

/* Scratch of a task: states, those of a part, then slopes, distances, integers and visible range of
 * each query. */
static size_t state_width(const rad_hparams *hparams)
{
    return rad_attention_state_floats(hparams->value_dim);
}

static size_t max_group(const rad_hparams *hparams)
{
    size_t most = 1;
    for (uint32_t i = 0; i < hparams->n_layers; i++) {
        size_t group = hparams->layers[i].n_heads / hparams->layers[i].n_kv_heads;
        most = group > most ? group : most;
    }
    return most;
}

uint32_t rad_cpu_block_tokens(const rad_hparams *hparams)
{
    size_t tokens = BLOCK_QUERIES / max_group(hparams);
    return tokens > MOST_BLOCK_TOKENS    ? MOST_BLOCK_TOKENS
           : tokens < LEAST_BLOCK_TOKENS ? LEAST_BLOCK_TOKENS
                                         : (uint32_t)tokens;
}

static size_t max_queries(const rad_hparams *hparams)
{
    return max_group(hparams) * rad_cpu_block_tokens(hparams);
}

/* Queries whose parts are computed at a time: 64 heads of one token, 16 of four. */
static size_t part_queries(const rad_hparams *hparams)
{
    return 64 * max_group(hparams);
}

size_t rad_cpu_part_floats(const rad_hparams *hparams)
{
    return part_queries(hparams) * state_width(hparams);
}

/* Of a query, as floats or as integers. */
static size_t gathered_bytes(const rad_hparams *hparams)
{
    size_t floats = hparams->head_dim * sizeof(float),
           integers = rad_query_bytes(hparams->head_dim);
    return floats > integers ? floats : integers;
}

size_t rad_cpu_attention_scratch(const rad_hparams *hparams)
{
    return max_queries(hparams) * (2 * state_width(hparams) * sizeof(float) + sizeof(float) +
                                   sizeof(int32_t) + gathered_bytes(hparams) + 2);
}

typedef struct attend_task {
    const rad_cpu_backend *cpu;
    const rad_token_span *span;
    const rad_reach *reach;
    uint32_t layer, kv_head, group, n_tokens;
    uint32_t first_position; /* of the block */
    const float *queries;    /* of the block's first token and the group's first head */
    const float *sinks;      /* the same, rotated as the keys of sinks want them */
    size_t query_stride;     /* between tokens */
    float *states;           /* [token][head of the group]: what is attended to is added to them */
    const float *learned_sinks; /* of the group's heads; NULL: none */
    const float *head_slopes;   /* of the group's heads; NULL: no ALiBi */
    float *slopes;              /* of the queries of a call to the kernel, as the following */
    int32_t *distances;
    uint8_t *gathered; /* queries, [token][head of the group]: floats, or rad_query_bytes() each */
    uint8_t *first, *last;
    float *out; /* of the block's first token and the group's first head */
} attend_task;

/* First key of its window that a query at `position` sees. */
static uint32_t first_visible(const rad_reach *reach, uint32_t position)
{
    return reach->window != 0 && position >= reach->window ? position - reach->window + 1 : 0;
}

/* Behind the last key that a query at `position` sees; with tokens that see those behind them a
 * span is all that there is of its sequence. */
static uint32_t end_visible(const attend_task *task, uint32_t position)
{
    return task->cpu->model->hparams.bidirectional ? task->span->first_position + task->span->n_rows
                                                   : position + 1;
}

/* Where in a tile the keys are that a token sees: of the sinks, or of its window, which begins
 * behind the sinks. */
static void visible_slots(const attend_task *task, uint32_t token, uint32_t tile, bool of_sinks,
                          uint8_t *first, uint8_t *last)
{
    uint32_t position = task->first_position + token;
    uint32_t start = tile * RAD_TILE_KEYS, sinks = task->reach->sinks;
    uint32_t low = first_visible(task->reach, position), high = end_visible(task, position);
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

/* One tile, its sinks or its other keys; all queries of the task. */
static void attend_one_tile(const attend_task *task, uint32_t tile, bool of_sinks)
{
    const rad_cpu_backend *cpu = task->cpu;
    rad_attention_shape shape = shape_of(cpu);
    uint32_t group = cpu->cache->layers[task->layer].group;
    const uint8_t *page = rad_sequence_page(task->span->sequence, group, tile);
    rad_tile_queries queries = {.values = (const float *)(const void *)task->gathered,
                                .stride = shape.key_dim,
                                .integers = task->gathered,
                                .integers_stride = rad_query_bytes(shape.key_dim),
                                .n = task->n_tokens * task->group,
                                .first = task->first,
                                .last = task->last,
                                .slopes = task->head_slopes != NULL ? task->slopes : NULL,
                                .distances = task->distances,
                                .states = task->states,
                                .state_stride = state_width(&cpu->model->hparams)};
    for (uint32_t t = 0; t < task->n_tokens; t++) {
        uint32_t at = t * task->group;
        uint8_t first, last;
        visible_slots(task, t, tile, of_sinks, &first, &last);
        memset(task->first + at, first, task->group);
        memset(task->last + at, last, task->group);
        for (uint32_t head = 0; queries.slopes != NULL && head < task->group; head++)
            task->distances[at + head] = distance_of(task, t, tile, of_sinks);
    }
    cpu->kernels->layer->attend_tile(
        &shape, &queries, page + rad_cache_keys(cpu->cache, task->layer, task->kv_head),
        page + rad_cache_values(cpu->cache, task->layer, task->kv_head));
}

/* Queries, or what they are for sinks, one behind the other and as the keys want them: once for all
 * tiles. */
static void gather_queries(const attend_task *task, const float *queries)
{
    const rad_cpu_backend *cpu = task->cpu;
    uint32_t key_dim = cpu->model->hparams.head_dim;
    bool integers = rad_cache_type_is_integer(cpu->cache->plan.format.keys);
    size_t bytes = integers ? rad_query_bytes(key_dim) : key_dim * sizeof(float);
    uint8_t *out = task->gathered;
    for (uint32_t t = 0; t < task->n_tokens; t++) {
        const float *heads = queries + t * task->query_stride;
        for (uint32_t head = 0; head < task->group; head++, out += bytes) {
            if (integers)
                cpu->kernels->layer->quantize_query(heads + (size_t)head * key_dim, key_dim, out);
            else
                memcpy(out, heads + (size_t)head * key_dim, bytes);
        }
    }
}

/* ---- ranges -----------------------------------------------------------------------------------
 */

/* States that nothing came into, or a head's learned sink alone: one score, whose value is nothing.
 */
static void clear_states(const attend_task *task, const float *sinks)
{
    const rad_hparams *h = &task->cpu->model->hparams;
    size_t width = state_width(h);
    for (size_t i = 0; i < (size_t)task->n_tokens * task->group; i++) {
        float *state = task->states + i * width;
        memset(state, 0, width * sizeof(float));
        state[h->value_dim] = sinks != NULL ? sinks[i % task->group] : -INFINITY;
        state[h->value_dim + 1] = sinks != NULL ? 1.0f : 0.0f;
    }
}

static uint32_t first_tile(const attend_task *task)
{
    uint32_t first = first_visible(task->reach, task->first_position);
    first = first > task->reach->sinks ? first : task->reach->sinks;
    return first / RAD_TILE_KEYS;
}

static uint32_t last_tile(const attend_task *task)
{
    uint32_t last = task->first_position + task->n_tokens - 1;
    return (end_visible(task, last) - 1) / RAD_TILE_KEYS;
}

/* The first range behind range 0 that a task sees. */
static uint32_t first_range(const attend_task *task)
{
    uint32_t range = first_tile(task) / RAD_RANGE_TILES;
    return range > 0 ? range : 1;
}

/* Parts of a task: what precedes all keys and range 0, then each further range. */
static uint32_t count_parts(const attend_task *task)
{
    uint32_t first = first_range(task), last = last_tile(task) / RAD_RANGE_TILES;
    return 1 + (last >= first ? last - first + 1 : 0);
}

static void attend_range(const attend_task *task, uint32_t range)
{
    uint32_t tile = range * RAD_RANGE_TILES, end = tile + RAD_RANGE_TILES;
    tile = first_tile(task) > tile ? first_tile(task) : tile;
    end = last_tile(task) + 1 < end ? last_tile(task) + 1 : end;
    for (; tile < end; tile++)
        attend_one_tile(task, tile, false);
}

/* One part, from its own beginning. Sinks come first, then the window; a tile that holds both kinds
 * of keys is taken in two parts, wherever the window stands. `prepared`: part 0 came before. */
static void attend_part(const attend_task *task, uint32_t part, bool prepared)
{
    if (part > 0) {
        clear_states(task, NULL);
        if (!prepared)
            gather_queries(task, task->queries);
        attend_range(task, first_range(task) + part - 1);
        return;
    }
    clear_states(task, task->learned_sinks);
    if (task->reach->sinks != 0)
        gather_queries(task, task->sinks);
    for (uint32_t tile = 0; tile <= last_tile(task) && tile * RAD_TILE_KEYS < task->reach->sinks;
         tile++)
        attend_one_tile(task, tile, true);
    gather_queries(task, task->queries);
    attend_range(task, 0);
}

/* Adds the states of a part to those of the parts before it. */
static void merge_part(const attend_task *task, float *states, const float *part)
{
    const rad_hparams *h = &task->cpu->model->hparams;
    size_t width = state_width(h);
    for (size_t i = 0; i < (size_t)task->n_tokens * task->group; i++)
        task->cpu->kernels->layer->merge_states(states + i * width, part + i * width, h->value_dim);
}

/* ---- tasks ------------------------------------------------------------------------------------
 */

/* Task `index` of an operation, with a worker's scratch. */
static attend_task make_task(const cache_job *job, uint32_t index, uint32_t worker)
{
    const rad_cpu_backend *cpu = job->cpu;
    const rad_hparams *h = &cpu->model->hparams;
    uint32_t n_kv_heads = job->params->n_kv_heads, group = job->params->n_heads / n_kv_heads;
    const rad_attention_block *block = &blocks_of(cpu)[index / n_kv_heads];
    const rad_token_span *span = &cpu->batch->spans[block->span];
    uint32_t kv_head = index % n_kv_heads;
    size_t query_width = (size_t)job->params->n_heads * h->head_dim;
    size_t row = span->first_row + block->first_row;
    size_t first_query = row * query_width + (size_t)kv_head * group * h->head_dim;
    size_t n_queries = max_queries(h);
    float *states = rad_cpu_scratch(cpu, worker);
    float *slopes = states + 2 * n_queries * state_width(h);
    int32_t *distances = (int32_t *)(void *)(slopes + n_queries);
    uint8_t *gathered = (uint8_t *)(distances + n_queries);
    uint8_t *ranges = gathered + n_queries * gathered_bytes(h);
    const rad_weight *sinks = job->op->bias;
    return (attend_task){
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
        .learned_sinks = sinks != NULL ? sinks->values + kv_head * group : NULL,
        .head_slopes = h->max_alibi_bias > 0.0f ? slopes_of(cpu) + (size_t)kv_head * group : NULL,
        .slopes = slopes,
        .distances = distances,
        .gathered = gathered,
        .first = ranges,
        .last = ranges + n_queries,
        .out = rad_cpu_value(cpu, job->op->out) + row * job->op->width +
               (size_t)kv_head * group * h->value_dim};
}

/* Slopes of a task's queries, which are those of their heads. */
static void repeat_slopes(const attend_task *task)
{
    for (uint32_t t = 0; task->head_slopes != NULL && t < task->n_tokens; t++)
        memcpy(task->slopes + (size_t)t * task->group, task->head_slopes,
               task->group * sizeof(float));
}

static void finish_task(const cache_job *job, const attend_task *task, const float *states)
{
    const rad_hparams *h = &task->cpu->model->hparams;
    for (uint32_t t = 0; t < task->n_tokens; t++) {
        for (uint32_t head = 0; head < task->group; head++)
            task->cpu->kernels->layer->finish_attention(
                states + (t * task->group + head) * state_width(h), h->value_dim,
                task->out + (size_t)t * job->op->width + (size_t)head * h->value_dim);
    }
}

/* A task as a whole. */
static void attend_block(void *data, uint32_t index, uint32_t worker)
{
    const cache_job *job = data;
    attend_task task = make_task(job, index, worker);
    float *states = task.states, *part = states + max_queries(&job->cpu->model->hparams) *
                                                      state_width(&job->cpu->model->hparams);
    uint32_t n_parts = count_parts(&task);
    repeat_slopes(&task);
    attend_part(&task, 0, false);
    task.states = part;
    for (uint32_t i = 1; i < n_parts; i++) {
        attend_part(&task, i, true);
        merge_part(&task, states, part);
    }
    finish_task(job, &task, states);
}

/* ---- tasks in parts: few tokens behind many ---------------------------------------------------
 */

/* A round: parts first .. first + n - 1, counted over all tasks as if each had n_parts. */
typedef struct parts_job {
    cache_job base;
    uint32_t n_parts;
    uint32_t first, n;
    size_t task_floats; /* of the states of a task */
} parts_job;

static float *states_of_task(const parts_job *job, uint32_t task)
{
    return (float *)(void *)(job->base.cpu->memory + job->base.cpu->layout.task_states) +
           task * job->task_floats;
}

static float *states_of_part(const parts_job *job, uint32_t index)
{
    return (float *)(void *)(job->base.cpu->memory + job->base.cpu->layout.part_states) +
           (index - job->first) * job->task_floats;
}

static void attend_one_part(void *data, uint32_t index, uint32_t worker)
{
    const parts_job *job = data;
    uint32_t at = job->first + index, part = at % job->n_parts;
    attend_task task = make_task(&job->base, at / job->n_parts, worker);
    if (part >= count_parts(&task))
        return;
    task.states = part == 0 ? states_of_task(job, at / job->n_parts) : states_of_part(job, at);
    repeat_slopes(&task);
    attend_part(&task, part, false);
}

/* What the round found of a task; its output where that was the last of it. */
static void merge_task(void *data, uint32_t index, uint32_t worker)
{
    const parts_job *job = data;
    uint32_t begin = index * job->n_parts, end = begin + job->n_parts;
    attend_task task = make_task(&job->base, index, worker);
    float *states = states_of_task(job, index);
    uint32_t n_parts = count_parts(&task);
    for (uint32_t at = begin > job->first ? begin : job->first;
         at < end && at < job->first + job->n; at++) {
        uint32_t part = at - begin;
        if (part > 0 && part < n_parts)
            merge_part(&task, states, states_of_part(job, at));
        if (part + 1 == n_parts)
            finish_task(&job->base, &task, states);
    }
}

/* True where the batch has few tasks for its threads and they are long: how to cut them. */
static bool plan_parts(parts_job *job, uint32_t n_tasks)
{
    const rad_cpu_backend *cpu = job->base.cpu;
    const rad_hparams *h = &cpu->model->hparams;
    uint32_t group = job->base.params->n_heads / job->base.params->n_kv_heads, rows = 0;
    job->n_parts = 1;
    if (cpu->settings.n_threads == 1 || n_tasks >= RAD_TASKS_PER_THREAD * cpu->settings.n_threads)
        return false;
    for (uint32_t i = 0; i < n_tasks; i += job->base.params->n_kv_heads) {
        attend_task task = make_task(&job->base, i, 0);
        uint32_t n = count_parts(&task);
        job->n_parts = n > job->n_parts ? n : job->n_parts;
        rows = task.n_tokens > rows ? task.n_tokens : rows;
    }
    size_t queries = part_queries(h), of_task = (size_t)rows * group;
    job->task_floats = of_task * state_width(h);
    job->n = (uint32_t)(queries / of_task);
    return job->n_parts > 2 && of_task * n_tasks <= queries && job->n >= cpu->settings.n_threads;
}

static void attend_in_parts(rad_cpu_backend *cpu, parts_job *job, uint32_t n_tasks, uint64_t work)
{
    uint32_t n = n_tasks * job->n_parts, at_a_time = job->n;
    for (job->first = 0; job->first < n; job->first += at_a_time) {
        job->n = n - job->first < at_a_time ? n - job->first : at_a_time;
        rad_cpu_parallel(cpu, attend_one_part, job, job->n, work);
        rad_cpu_parallel(cpu, merge_task, job, n_tasks, job->n * job->task_floats);
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
    parts_job job = {.base = {cpu, op, &cpu->model->hparams.layers[op->layer]}};
    uint32_t n_tasks = cpu->n_blocks * job.base.params->n_kv_heads;
    uint64_t work = attention_work(cpu, op);
    prepare_slopes(cpu, job.base.params->n_heads);
    if (plan_parts(&job, n_tasks))
        attend_in_parts(cpu, &job, n_tasks, work);
    else
        rad_cpu_parallel(cpu, attend_block, &job.base, n_tasks, work);
}
