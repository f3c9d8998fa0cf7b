/* A mixture of experts. Each token's choices become rows, sorted by expert and then by token, so
 * that each expert's weights are read once for all tokens that chose it, by the same kernels as any
 * product; experts that nobody chose are not touched. A row's bits do not depend on the others, and
 * a token adds its rows in the order of its choice (numeric contract, rule 8). */
#include "backend/cpu/cpu.h"

#include <string.h>

static uint32_t *words(const rad_cpu_backend *cpu, size_t offset)
{
    return (uint32_t *)(void *)(cpu->memory + offset);
}

static rad_expert_group *groups_of(const rad_cpu_backend *cpu)
{
    return (rad_expert_group *)(void *)(cpu->memory + cpu->layout.groups);
}

/* ---- statistics ------------------------------------------------------------------------------ */

static _Atomic(uint64_t) *expert_tokens(const rad_cpu_backend *cpu, uint32_t layer)
{
    return (_Atomic(uint64_t) *)(void *)(cpu->memory + cpu->layout.expert_tokens) +
           (size_t)layer * cpu->model->hparams.router.n_experts;
}

void rad_cpu_backend_clear_expert_tokens(rad_backend *backend)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    const rad_hparams *h = &cpu->model->hparams;
    for (uint32_t l = 0; l < h->n_layers; l++) {
        for (uint32_t e = 0; e < h->router.n_experts; e++)
            atomic_init(&expert_tokens(cpu, l)[e], 0);
    }
}

uint64_t rad_cpu_backend_expert_tokens(const rad_backend *backend, uint32_t layer, uint32_t expert)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return atomic_load_explicit(&expert_tokens(cpu, layer)[expert], memory_order_relaxed);
}

/* ---- routing --------------------------------------------------------------------------------- */

typedef struct route_job {
    const rad_cpu_backend *cpu;
    const rad_op *op;
} route_job;

/* Of a value that RAD_OP_ROUTE made: the experts of a token, as integers, then their weights. */
static uint32_t *routed_experts(const rad_cpu_backend *cpu, uint8_t value, uint32_t token)
{
    return (uint32_t *)(void *)rad_cpu_value(cpu, value) +
           (size_t)token * 2 * cpu->model->hparams.router.n_used;
}

static void route_row(void *data, uint32_t row, uint32_t worker)
{
    (void)worker;
    const route_job *job = data;
    const rad_router *router = &job->cpu->model->hparams.router;
    uint32_t *experts = routed_experts(job->cpu, job->op->out, row);
    rad_route(router, rad_cpu_value(job->cpu, job->op->in) + (size_t)row * router->n_experts,
              job->op->bias != NULL ? job->op->bias->values : NULL, experts,
              (float *)(experts + router->n_used));
}

/* Cuts the rows into groups. starts[e] is the first row of expert e, starts[n_experts] the end. */
static void make_groups(rad_cpu_backend *cpu, const uint32_t *starts)
{
    rad_expert_group *groups = groups_of(cpu);
    uint32_t *tile_group = words(cpu, cpu->layout.tile_group);
    uint32_t n = 0, tiles = 0;
    for (uint32_t e = 0; e < cpu->model->hparams.router.n_experts; e++) {
        uint32_t rows = starts[e + 1] - starts[e];
        if (rows == 0)
            continue;
        groups[n] = (rad_expert_group){e, starts[e], rows, tiles};
        for (uint32_t end = tiles + (rows + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS; tiles < end;
             tiles++)
            tile_group[tiles] = n;
        n++;
    }
    cpu->n_groups = n;
    cpu->n_group_tiles = tiles;
}

/* Sorts the choices in `value` by expert, keeping the order of tokens and ranks: a counting sort.
 */
static void sort_choices(rad_cpu_backend *cpu, uint8_t value, uint32_t n_tokens)
{
    const rad_router *router = &cpu->model->hparams.router;
    uint32_t starts[RAD_MAX_EXPERTS + 1] = {0}, next[RAD_MAX_EXPERTS];
    uint32_t *token_of = words(cpu, cpu->layout.choice_token);
    uint32_t *row_of = words(cpu, cpu->layout.choice_row);
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (uint32_t k = 0; k < router->n_used; k++)
            starts[routed_experts(cpu, value, t)[k] + 1]++;
    }
    for (uint32_t e = 0; e < router->n_experts; e++) {
        starts[e + 1] += starts[e];
        next[e] = starts[e];
    }
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (uint32_t k = 0; k < router->n_used; k++) {
            uint32_t row = next[routed_experts(cpu, value, t)[k]]++;
            token_of[row] = t;
            row_of[(size_t)t * router->n_used + k] = row;
        }
    }
    make_groups(cpu, starts);
}

void rad_cpu_route(rad_cpu_backend *cpu, const rad_op *op)
{
    route_job job = {cpu, op};
    const rad_router *router = &cpu->model->hparams.router;
    uint32_t n_tokens = rad_cpu_rows(cpu, op);
    rad_cpu_parallel(cpu, route_row, &job, n_tokens,
                     (uint64_t)n_tokens * router->n_experts * (4 + router->n_used));
    sort_choices(cpu, op->out, n_tokens);
    for (uint32_t g = 0; g < cpu->n_groups; g++)
        atomic_fetch_add_explicit(&expert_tokens(cpu, op->layer)[groups_of(cpu)[g].expert],
                                  groups_of(cpu)[g].n_rows, memory_order_relaxed);
    cpu->choices_by_token = false;
    cpu->gathered_value = -1; /* the rows are others now */
}

void rad_cpu_backend_take_choices(rad_backend *backend, const rad_op *op, bool by_token)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    uint32_t n_tokens = rad_cpu_rows(cpu, op), n_used = cpu->model->hparams.router.n_used;
    uint32_t *token_of = words(cpu, cpu->layout.choice_token);
    cpu->choices_by_token = by_token;
    for (uint32_t i = 0; by_token && i < n_tokens * n_used; i++)
        token_of[i] = i / n_used;
    if (!by_token)
        sort_choices(cpu, op->other, n_tokens);
}

void rad_cpu_each_expert(rad_cpu_backend *cpu, const rad_op *op, rad_cpu_expert_fn visit,
                         void *data)
{
    const rad_expert_group *groups = groups_of(cpu);
    const uint32_t *token_of = words(cpu, cpu->layout.choice_token);
    uint32_t n_used = cpu->model->hparams.router.n_used, n = rad_cpu_rows(cpu, op) * n_used;
    for (uint32_t g = 0; !cpu->choices_by_token && g < cpu->n_groups; g++)
        visit(data, &groups[g], token_of + groups[g].first_row);
    for (uint32_t i = 0; cpu->choices_by_token && i < n; i++) {
        uint32_t expert = routed_experts(cpu, op->other, i / n_used)[i % n_used];
        visit(data, &(rad_expert_group){.expert = expert, .first_row = i, .n_rows = 1},
              token_of + i);
    }
}

/* ---- products -------------------------------------------------------------------------------- */

typedef struct expert_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
    rad_activations tokens; /* the input by token, where it is one */
    rad_activation_kind kind;
    bool ready;
    bool ordered; /* some experts have their columns in an order of their own */
    uint32_t rows_per_task, tasks_per_group;
} expert_job;

/* How many scales a row of n activations of a quantized kind has. */
static size_t scales_of_row(rad_activation_kind kind, size_t n)
{
    return n / rad_activation_block(kind, (uint32_t)n);
}

/* The input of one group: its part of the buffers by choice. */
static rad_activations group_input(const expert_job *job, const rad_expert_group *group)
{
    const rad_cpu_backend *cpu = job->cpu;
    const rad_cpu_layout *at = &cpu->layout;
    uint32_t n = job->op->weight->matrix.n_columns;
    size_t row = group->first_row;
    size_t scales = scales_of_row(job->kind, n);
    const float *values = job->op->by_choice
                              ? rad_cpu_value(cpu, job->op->in)
                              : (const float *)(void *)(cpu->memory + at->choice_values);
    const uint8_t *tiles = cpu->memory + at->choice_tiles +
                           rad_tiles_bytes((uint64_t)group->first_tile * RAD_TILE_TOKENS, n);
    return (rad_activations){
        .kind = job->kind,
        .n_tokens = group->n_rows,
        .n_columns = n,
        .values = values + row * rad_weight_inputs(job->op->weight),
        .quants = (int8_t *)(cpu->memory + at->choice_quants) + row * n,
        .scales = (float *)(void *)(cpu->memory + at->choice_scales) + row * scales,
        .sums = (int16_t *)(void *)(cpu->memory + at->choice_sums) + row * (n / 16),
        .tiles = group->n_rows > 1 && job->kind != RAD_ACTIVATION_Q8_OUTLIERS ? tiles : NULL,
        .threshold = job->op->weight->threshold,
    };
}

static void copy_row(const rad_activations *from, uint32_t row, const rad_activations *to,
                     uint32_t to_row)
{
    size_t n = from->n_columns, sums = n / 16;
    size_t scales = scales_of_row(from->kind, n);
    if (from->kind == RAD_ACTIVATION_F32 || from->kind == RAD_ACTIVATION_Q8_OUTLIERS)
        memcpy((float *)to->values + to_row * n, from->values + row * n, n * sizeof(float));
    if (from->kind == RAD_ACTIVATION_F32)
        return;
    memcpy((int8_t *)to->quants + to_row * n, from->quants + row * n, n);
    memcpy((float *)to->scales + to_row * scales, from->scales + row * scales,
           scales * sizeof(float));
    if (from->kind != RAD_ACTIVATION_Q8_OUTLIERS)
        memcpy((int16_t *)to->sums + to_row * sums, from->sums + row * sums,
               sums * sizeof(int16_t));
}

/* Four rows of a group: brought together from the tokens, or quantized where they stand. */
static void gather_tile(void *data, uint32_t index, uint32_t worker)
{
    const expert_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_expert_group *group = &groups_of(cpu)[words(cpu, cpu->layout.tile_group)[index]];
    const uint32_t *columns = rad_weight_columns(job->op->weight, group->expert);
    const float *values = rad_cpu_value(cpu, job->op->in);
    const size_t n_inputs = rad_weight_inputs(job->op->weight);
    const uint32_t *token_of = words(cpu, cpu->layout.choice_token) + group->first_row;
    rad_activations x = group_input(job, group);
    uint32_t tile = index - group->first_tile;
    for (uint32_t i = tile * RAD_TILE_TOKENS; i < (tile + 1) * RAD_TILE_TOKENS && i < group->n_rows;
         i++) {
        if (job->op->by_choice || job->ordered)
            rad_cpu_quantize_ordered(
                cpu->kernels,
                values + (job->op->by_choice ? group->first_row + i : token_of[i]) * n_inputs,
                columns, &x, i, rad_cpu_scratch(cpu, worker));
        else
            copy_row(&job->tokens, token_of[i], &x, i);
    }
    if (x.tiles != NULL && job->kind != RAD_ACTIVATION_F32)
        rad_arrange_tile(&x, tile, (uint8_t *)x.tiles);
}

static bool has_order(const rad_weight *weight)
{
    bool found = rad_weight_columns(weight, 0) != NULL;
    for (uint32_t e = 1; weight->parts != NULL && e < weight->n_experts && !found; e++)
        found = rad_weight_columns(weight, e) != NULL;
    return found;
}

static void gather_input(rad_cpu_backend *cpu, const rad_op *op, expert_job *job)
{
    job->kind = rad_type_find(op->weight->matrix.type)->activation;
    job->ordered = has_order(op->weight);
    if ((op->by_choice && job->kind == RAD_ACTIVATION_F32) ||
        (cpu->gathered_value == op->in && cpu->gathered_kind == job->kind && !job->ordered))
        return;
    if (!op->by_choice && !job->ordered)
        rad_cpu_prepare_input(cpu, op, &job->tokens);
    rad_cpu_parallel(cpu, gather_tile, job, cpu->n_group_tiles,
                     (uint64_t)cpu->n_group_tiles * RAD_TILE_TOKENS * op->weight->matrix.n_columns);
    cpu->gathered_value = job->ordered ? -1 : op->in;
    cpu->gathered_kind = job->kind;
}

static void expert_rows(void *data, uint32_t index, uint32_t worker)
{
    const expert_job *job = data;
    const rad_expert_group *group = &groups_of(job->cpu)[index / job->tasks_per_group];
    rad_activations x = group_input(job, group);
    uint32_t n_rows = rad_weight_rows(job->op->weight);
    uint32_t first = index % job->tasks_per_group * job->rows_per_task;
    uint32_t last = first + job->rows_per_task;
    float *out = rad_cpu_value(job->cpu, job->op->out) + (size_t)group->first_row * n_rows;
    rad_cpu_product_rows(job->cpu, job->op, group->expert, &x, first, last > n_rows ? n_rows : last,
                         job->ready, worker, out, n_rows);
}

void rad_cpu_expert_product(rad_cpu_backend *cpu, const rad_op *op)
{
    expert_job job = {.cpu = cpu, .op = op, .ready = rad_model_is_ready(cpu->model, op->weight)};
    gather_input(cpu, op, &job);
    uint32_t n_rows = rad_weight_rows(op->weight), most = 0;
    for (uint32_t g = 0; g < cpu->n_groups; g++) {
        uint32_t rows = groups_of(cpu)[g].n_rows;
        most = rows > most ? rows : most;
    }
    uint64_t all_rows = (uint64_t)n_rows * cpu->n_groups;
    job.rows_per_task = rad_cpu_rows_per_task(cpu, all_rows, most);
    job.tasks_per_group = (n_rows + job.rows_per_task - 1) / job.rows_per_task;
    rad_cpu_parallel(cpu, expert_rows, &job, job.tasks_per_group * cpu->n_groups,
                     all_rows * op->weight->matrix.n_columns);
}

/* ---- adding up ------------------------------------------------------------------------------- */

static void combine_row(void *data, uint32_t row, uint32_t worker)
{
    (void)worker;
    const route_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_layer_kernels *layer = cpu->kernels->layer;
    uint32_t n = job->op->width, n_used = cpu->model->hparams.router.n_used;
    const uint32_t *row_of = words(cpu, cpu->layout.choice_row) + (size_t)row * n_used;
    const float *weights = (const float *)(routed_experts(cpu, job->op->other, row) + n_used);
    const float *in = rad_cpu_value(cpu, job->op->in);
    float *out = rad_cpu_value(cpu, job->op->out) + (size_t)row * n;
    layer->scale(in + (size_t)row_of[0] * n, weights[0], n, out);
    for (uint32_t k = 1; k < n_used; k++)
        layer->add_scaled(in + (size_t)row_of[k] * n, weights[k], n, out);
}

void rad_cpu_combine(rad_cpu_backend *cpu, const rad_op *op)
{
    route_job job = {cpu, op};
    uint32_t rows = rad_cpu_rows(cpu, op);
    rad_cpu_parallel(cpu, combine_row, &job, rows,
                     (uint64_t)rows * op->width * cpu->model->hparams.router.n_used);
}
