#include "backend/cpu/cpu.h"

#include <string.h>

#define ALIGNMENT 64

/* ---- layout of the memory ------------------------------------------------------------------ */

static bool place(uint64_t *used, uint64_t count, uint64_t size, size_t *offset)
{
    uint64_t bytes;
    *offset = (size_t)*used;
    return rad_mul_u64(count, size, &bytes) && rad_add_u64(*used, bytes, used) &&
           rad_align_u64(*used, ALIGNMENT, used) && *used <= PTRDIFF_MAX;
}

/* Bytes that a worker reads from the file at a time: enough for one call, and the rows are still in
 * the second-level cache when they are multiplied. */
#define STREAM_BYTES ((size_t)256 << 10)

static size_t file_row_bytes(const rad_matrix *matrix)
{
    return (size_t)rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, 1, matrix->n_columns);
}

static size_t measure_stream(const rad_program *program)
{
    size_t most = STREAM_BYTES;
    if (!program->model->behind)
        return 0;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_PRODUCT && op->kind != RAD_OP_EXPERT_PRODUCT &&
            op->kind != RAD_OP_HEAD_PRODUCT && op->kind != RAD_OP_EMBED &&
            op->kind != RAD_OP_POSITIONS)
            continue;
        size_t needed = RAD_LANE_ROWS * file_row_bytes(&op->weight->matrix);
        most = needed > most ? needed : most;
    }
    return (most + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Greatest input width of a product, and greatest scratch that a product's kernel needs. */
static void measure_products(const rad_program *program, uint32_t *columns, size_t *scratch)
{
    *columns = 0;
    *scratch = rad_cpu_attention_scratch(&program->model->hparams);
    if ((program->model->positions.tensor != NULL || /* a row of its table */
         program->model->token_types.tensor != NULL) &&
        *scratch < program->model->hparams.width * sizeof(float))
        *scratch = program->model->hparams.width * sizeof(float);
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_PRODUCT && op->kind != RAD_OP_EXPERT_PRODUCT &&
            op->kind != RAD_OP_HEAD_PRODUCT)
            continue;
        const rad_matrix *matrix = &op->weight->matrix;
        size_t needed = rad_product_scratch_bytes(matrix);
        if (!op->by_choice && op->kind != RAD_OP_HEAD_PRODUCT)
            *columns = matrix->n_columns > *columns ? matrix->n_columns : *columns;
        *scratch = needed > *scratch ? needed : *scratch;
        needed = matrix->n_columns * sizeof(float); /* a row of the input in another order */
        *scratch = needed > *scratch ? needed : *scratch;
    }
    *scratch = (*scratch + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* The inputs of experts: a row for each choice, in groups whose tiles begin anew. */
static bool place_experts(const rad_program *program, uint64_t tokens, uint64_t *used,
                          rad_cpu_layout *layout)
{
    const rad_hparams *h = &program->model->hparams;
    uint64_t rows = tokens * h->router.n_used, experts = h->router.n_experts;
    uint64_t groups = experts < rows ? experts : rows, columns = 0;
    bool floats = false;
    if (experts == 0)
        return true;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_EXPERT_PRODUCT)
            continue;
        const rad_matrix *matrix = &op->weight->matrix;
        columns = matrix->n_columns > columns ? matrix->n_columns : columns;
        const rad_activation_kind kind = rad_type_find(matrix->type)->activation;
        floats = floats || kind == RAD_ACTIVATION_F32 || kind == RAD_ACTIVATION_Q8_OUTLIERS;
    }
    uint64_t n_tiles = rows / RAD_TILE_TOKENS + groups; /* each group's last one may be partial */
    uint64_t tiles = rad_tiles_bytes(n_tiles * RAD_TILE_TOKENS, columns);
    return place(used, floats ? rows * columns : 0, sizeof(float), &layout->choice_values) &&
           place(used, rows * columns, sizeof(int8_t), &layout->choice_quants) &&
           place(used, rows * (columns / 32 + 1), sizeof(float), &layout->choice_scales) &&
           place(used, rows * (columns / 16 + 1), sizeof(int16_t), &layout->choice_sums) &&
           (tiles > 0 || columns == 0) && place(used, tiles, 1, &layout->choice_tiles) &&
           place(used, rows, sizeof(uint32_t), &layout->choice_token) &&
           place(used, rows, sizeof(uint32_t), &layout->choice_row) &&
           place(used, groups, sizeof(rad_expert_group), &layout->groups) &&
           place(used, n_tiles, sizeof(uint32_t), &layout->tile_group) &&
           place(used, (uint64_t)h->n_layers * experts, sizeof(uint64_t), &layout->expert_tokens);
}

static bool make_layout(const rad_program *program, const rad_backend_settings *settings,
                        rad_cpu_layout *layout)
{
    uint64_t used = 0, rows = settings->max_tokens;
    uint32_t columns;
    bool fits = true;
    uint64_t tiles;
    measure_products(program, &columns, &layout->scratch_bytes);
    layout->stream_bytes = measure_stream(program);
    layout->head_input_bytes = rad_cpu_head_input_bytes(program);
    for (uint32_t i = 0; i < program->n_values; i++) {
        const rad_value *value = &program->values[i];
        uint64_t width;
        fits =
            fits &&
            rad_mul_u64(value->per_output ? settings->max_outputs : rows, value->width, &width) &&
            place(&used, width, sizeof(float), &layout->values[i]);
    }
    tiles = rows > 1 ? rad_tiles_bytes(rows, columns) : 0;
    fits = fits && (tiles > 0 || rows <= 1 || columns == 0);
    uint64_t blocks = rows / rad_cpu_block_tokens(&program->model->hparams) + settings->max_spans;
    uint64_t parts = settings->n_threads > 1 ? rad_cpu_part_floats(&program->model->hparams) : 0;
    fits =
        fits && place(&used, rows * columns, sizeof(int8_t), &layout->quants) &&
        place(&used, rows * (columns / 32 + 1), sizeof(float), &layout->scales) &&
        place(&used, rows * (columns / 16 + 1), sizeof(int16_t), &layout->sums) &&
        place(&used, tiles, 1, &layout->tiles) &&
        place(&used, 2 * program->model->hparams.rope.n_pairs, sizeof(double),
              &layout->frequencies) &&
        place(&used,
              program->model->hparams.max_alibi_bias > 0.0f ? program->model->hparams.max_heads : 0,
              sizeof(float), &layout->slopes) &&
        place(&used, blocks, sizeof(rad_attention_block), &layout->blocks) &&
        place(&used, parts, sizeof(float), &layout->task_states) &&
        place(&used, parts, sizeof(float), &layout->part_states) &&
        place(&used, settings->n_threads, layout->scratch_bytes, &layout->scratch) &&
        place(&used, settings->n_threads, layout->stream_bytes, &layout->stream) &&
        place(&used, settings->n_threads, layout->head_input_bytes, &layout->head_input) &&
        place(&used, settings->blas ? (uint64_t)RAD_BLAS_ROWS * columns : 0, sizeof(float),
              &layout->slab) &&
        place_experts(program, rows, &used, layout);
    layout->total = (size_t)used;
    return fits;
}

uint64_t rad_cpu_backend_bytes(const rad_program *program, const rad_backend_settings *settings)
{
    rad_cpu_layout layout;
    return make_layout(program, settings, &layout)
               ? layout.total + sizeof(rad_cpu_backend) + rad_cpu_adapter_bytes(program, settings)
               : 0;
}

/* ---- running --------------------------------------------------------------------------------- */

void rad_cpu_parallel(rad_cpu_backend *cpu, rad_pool_fn task, void *data, uint32_t count,
                      uint64_t work)
{
    if (work >= 16384 && count > 1) {
        rad_pool_run(cpu->pool, task, data, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        task(data, i, 0);
}

/* Nothing that was made of the value before holds any more. */
static void value_changed(rad_cpu_backend *cpu, uint8_t value)
{
    if (value == cpu->quantized_value)
        cpu->quantized_value = -1;
    if (value == cpu->gathered_value)
        cpu->gathered_value = -1;
}

static void run_op(rad_cpu_backend *cpu, const rad_op *op)
{
    switch (op->kind) {
    case RAD_OP_PRODUCT:
        rad_cpu_product(cpu, op);
        break;
    case RAD_OP_ADAPT:
        if (cpu->n_adapter_passes == 0)
            return;
        rad_cpu_adapt(cpu, op);
        break;
    case RAD_OP_STORE:
        rad_cpu_store(cpu, op);
        return; /* changes no value */
    case RAD_OP_ATTEND:
        rad_cpu_attend(cpu, op);
        break;
    case RAD_OP_HEAD_PRODUCT:
        rad_cpu_head_product(cpu, op);
        break;
    case RAD_OP_ROUTE:
        rad_cpu_route(cpu, op);
        break;
    case RAD_OP_EXPERT_PRODUCT:
        rad_cpu_expert_product(cpu, op);
        break;
    case RAD_OP_COMBINE:
        rad_cpu_combine(cpu, op);
        break;
    default:
        rad_cpu_rows_op(cpu, op);
        break;
    }
    value_changed(cpu, op->out);
}

radllm_status rad_cpu_backend_run_op(rad_backend *backend, const rad_op *op, radllm_error *error)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    if (cpu->settings.observer != NULL)
        rad_cpu_observe(cpu, op);
    run_op(cpu, op);
    radllm_status status = atomic_load_explicit(&cpu->failure, memory_order_relaxed);
    return status == RADLLM_OK ? status : rad_fail(error, status, "%s", cpu->read_error.message);
}

static radllm_status run_ops(rad_cpu_backend *cpu, const radllm_cancel *cancel, radllm_error *error)
{
    uint32_t n = cpu->batch->hidden ? cpu->program->n_hidden_ops : cpu->program->n_ops;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        const rad_op *op = &cpu->program->ops[i];
        if (rad_cancelled(cancel))
            return rad_fail(error, RADLLM_E_CANCELLED, "the computation was cancelled");
        if (op->per_output && cpu->batch->n_outputs == 0)
            break;
        status = rad_cpu_backend_run_op(&cpu->base, op, error);
    }
    return status;
}

void rad_cpu_backend_begin(rad_backend *backend, const rad_batch *batch)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    cpu->batch = batch;
    cpu->quantized_value = -1;
    cpu->gathered_value = -1;
    atomic_store(&cpu->failure, RADLLM_OK);
    rad_cpu_plan_attention(cpu);
    rad_cpu_plan_adapters(cpu);
    rad_model_step_begins(cpu->model);
}

void rad_cpu_backend_end(rad_backend *backend)
{
    rad_model_step_ends(((rad_cpu_backend *)backend)->model);
}

float *rad_cpu_backend_value(const rad_backend *backend, uint8_t value)
{
    return rad_cpu_value((const rad_cpu_backend *)backend, value);
}

void rad_cpu_backend_changed(rad_backend *backend, uint8_t value)
{
    value_changed((rad_cpu_backend *)backend, value);
}

void rad_cpu_backend_parallel(rad_backend *backend, rad_pool_fn task, void *data, uint32_t count)
{
    rad_pool_run(((rad_cpu_backend *)backend)->pool, task, data, count);
}

void rad_cpu_backend_lend(rad_backend *backend, uint8_t value, float *memory)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    uint8_t *own = cpu->memory + cpu->layout.values[value];
    cpu->values[value] = memory != NULL ? memory : (float *)(void *)own;
}

static radllm_status cpu_run(rad_backend *backend, const rad_batch *batch,
                             const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = rad_model_check(((rad_cpu_backend *)backend)->model, error);
    if (status != RADLLM_OK)
        return status;
    rad_cpu_backend_begin(backend, batch);
    status = run_ops((rad_cpu_backend *)backend, cancel, error);
    rad_cpu_backend_end(backend);
    return status;
}

uint32_t rad_cpu_stream_rows(const rad_cpu_backend *cpu, const rad_matrix *matrix)
{
    size_t rows = cpu->layout.stream_bytes / file_row_bytes(matrix);
    rows = rows > matrix->n_rows ? matrix->n_rows : rows;
    return (uint32_t)(rows < RAD_LANE_ROWS ? rows : rows / RAD_LANE_ROWS * RAD_LANE_ROWS);
}

bool rad_cpu_read_rows(rad_cpu_backend *cpu, const rad_weight *weight, uint32_t first, uint32_t n,
                       uint32_t worker, rad_matrix *rows)
{
    uint8_t *buffer = cpu->memory + cpu->layout.stream + worker * cpu->layout.stream_bytes;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = rad_model_read_rows(cpu->model, weight, first, n, buffer, &error);
    *rows = weight->matrix;
    rows->layout = RAD_LAYOUT_FILE;
    rows->n_rows = n;
    rows->data = buffer;
    int none = RADLLM_OK;
    if (status != RADLLM_OK && atomic_compare_exchange_strong(&cpu->failure, &none, status))
        memcpy(cpu->read_error.message, error.message, sizeof error.message);
    return status == RADLLM_OK;
}

static const float *cpu_logits(const rad_backend *backend, uint32_t index)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return rad_cpu_value(cpu, cpu->program->logits) + (size_t)index * cpu->model->hparams.n_vocab;
}

static int32_t cpu_choice(const rad_backend *backend, uint32_t index)
{
    (void)backend;
    (void)index;
    return -1;
}

static radllm_status cpu_fetch(rad_backend *backend, uint32_t first, uint32_t n,
                               radllm_error *error)
{
    (void)backend;
    (void)first;
    (void)n;
    (void)error;
    return RADLLM_OK;
}

static const float *cpu_hidden(const rad_backend *backend, uint32_t index)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return rad_cpu_value(cpu, cpu->program->hidden) + (size_t)index * cpu->model->hparams.width;
}

static void cpu_free(rad_backend *backend)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    rad_allocator allocator = cpu->host.allocator;
    if (cpu->settings.threads_of == NULL)
        rad_pool_free(cpu->pool);
    rad_cpu_free_adapters(cpu);
    rad_wipe(cpu->memory, cpu->memory != NULL ? cpu->layout.total : 0);
    rad_free(&allocator, cpu->memory, cpu->layout.total);
    rad_free(&allocator, cpu, sizeof *cpu);
}

static const rad_backend_table cpu_table = {.run = cpu_run,
                                            .logits = cpu_logits,
                                            .choice = cpu_choice,
                                            .fetch = cpu_fetch,
                                            .reserve_adapters = rad_cpu_reserve_adapters,
                                            .hidden = cpu_hidden,
                                            .free = cpu_free};

const char *rad_cpu_backend_fast(const rad_backend *backend)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return cpu->blas.product != NULL ? cpu->blas.description : "";
}

static void fill_frequencies(rad_cpu_backend *cpu)
{
    const rad_rope_params *rope = &cpu->model->hparams.rope;
    double *frequencies = (double *)(void *)(cpu->memory + cpu->layout.frequencies);
    uint32_t context = cpu->program->context;
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        frequencies[i] = rad_model_rope_frequency(cpu->model, false, context, i);
        frequencies[rope->n_pairs + i] =
            cpu->model->hparams.architecture->local_theta > 0.0
                ? rad_model_rope_frequency(cpu->model, true, context, i)
                : 0.0;
    }
    cpu->rope_magnitude = rad_rope_magnitude(rope);
}

radllm_status rad_cpu_backend_create(const rad_host *host, const rad_program *program,
                                     const rad_cache *cache, const rad_backend_settings *settings,
                                     rad_backend **out, radllm_error *error)
{
    rad_cpu_backend *cpu = rad_alloc_zero(&host->allocator, sizeof *cpu);
    if (cpu == NULL)
        return rad_fail_memory(error, sizeof *cpu);
    cpu->base.table = &cpu_table;
    cpu->host = *host;
    cpu->program = program;
    cpu->model = program->model;
    cpu->cache = cache;
    cpu->kernels = program->model->kernels;
    cpu->settings = *settings;
    radllm_status status = RADLLM_OK;
    if (!make_layout(program, settings, &cpu->layout)) {
        cpu->layout.total = 0;
        status = rad_fail_memory(error, SIZE_MAX);
    } else {
        cpu->memory = rad_alloc(&host->allocator, cpu->layout.total);
        if (cpu->memory == NULL)
            status = rad_fail_memory(error, cpu->layout.total);
    }
    if (status == RADLLM_OK && settings->adapters != NULL)
        status = rad_cpu_reserve_adapters(&cpu->base, settings->adapters, error);
    if (status == RADLLM_OK && settings->blas)
        status = rad_blas_open(&cpu->blas, error);
    if (status == RADLLM_OK && settings->blas)
        rad_model_wait(cpu->model); /* BLAS takes weights from memory only */
    if (settings->threads_of != NULL)
        cpu->pool = ((const rad_cpu_backend *)settings->threads_of)->pool;
    else if (status == RADLLM_OK)
        status = rad_pool_create(host, settings->n_threads, &cpu->pool, error);
    if (status != RADLLM_OK) {
        cpu_free(&cpu->base);
        return status;
    }
    for (uint32_t v = 0; v < program->n_values; v++)
        rad_cpu_backend_lend(&cpu->base, (uint8_t)v, NULL);
    fill_frequencies(cpu);
    rad_cpu_backend_clear_expert_tokens(&cpu->base);
    *out = &cpu->base;
    return RADLLM_OK;
}
