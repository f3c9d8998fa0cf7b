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

/* Greatest input width of a product, and greatest scratch that a product's kernel needs. */
static void measure_products(const rad_program *program, uint32_t *columns, size_t *scratch)
{
    *columns = 0;
    *scratch = rad_cpu_attention_scratch(&program->model->hparams);
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_PRODUCT)
            continue;
        const rad_matrix *matrix = &op->weight->matrix;
        size_t needed = rad_product_scratch_bytes(matrix);
        *columns = matrix->n_columns > *columns ? matrix->n_columns : *columns;
        *scratch = needed > *scratch ? needed : *scratch;
    }
    *scratch = (*scratch + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static bool make_layout(const rad_program *program, const rad_backend_settings *settings,
                        rad_cpu_layout *layout)
{
    uint64_t used = 0, rows = settings->max_tokens;
    uint32_t columns;
    bool fits = true;
    measure_products(program, &columns, &layout->scratch_bytes);
    for (uint32_t i = 0; i < program->n_values; i++) {
        const rad_value *value = &program->values[i];
        uint64_t width;
        fits =
            fits &&
            rad_mul_u64(value->per_output ? settings->max_outputs : rows, value->width, &width) &&
            place(&used, width, sizeof(float), &layout->values[i]);
    }
    uint64_t blocks = rows / RAD_ATTENTION_TOKENS + settings->max_spans;
    fits =
        fits && place(&used, rows * columns, sizeof(int8_t), &layout->quants) &&
        place(&used, rows * (columns / 32 + 1), sizeof(float), &layout->scales) &&
        place(&used, rows * (columns / 16 + 1), sizeof(int16_t), &layout->sums) &&
        place(&used, program->model->hparams.rope.n_pairs, sizeof(double), &layout->frequencies) &&
        place(&used, blocks, sizeof(rad_attention_block), &layout->blocks) &&
        place(&used, settings->n_threads, layout->scratch_bytes, &layout->scratch) &&
        place(&used, settings->blas ? (uint64_t)RAD_BLAS_ROWS * columns : 0, sizeof(float),
              &layout->slab);
    layout->total = (size_t)used;
    return fits;
}

uint64_t rad_cpu_backend_bytes(const rad_program *program, const rad_backend_settings *settings)
{
    rad_cpu_layout layout;
    return make_layout(program, settings, &layout) ? layout.total + sizeof(rad_cpu_backend) : 0;
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

static void run_op(rad_cpu_backend *cpu, const rad_op *op)
{
    switch (op->kind) {
    case RAD_OP_PRODUCT:
        rad_cpu_product(cpu, op);
        break;
    case RAD_OP_STORE:
        rad_cpu_store(cpu, op);
        return; /* changes no value */
    case RAD_OP_ATTEND:
        rad_cpu_attend(cpu, op);
        break;
    default:
        rad_cpu_rows_op(cpu, op);
        break;
    }
    if (op->out == cpu->quantized_value)
        cpu->quantized_value = -1;
}

static bool cpu_run(rad_backend *backend, const rad_batch *batch, const radllm_cancel *cancel)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    cpu->batch = batch;
    cpu->quantized_value = -1;
    rad_cpu_plan_attention(cpu);
    for (uint32_t i = 0; i < cpu->program->n_ops; i++) {
        const rad_op *op = &cpu->program->ops[i];
        if (rad_cancelled(cancel))
            return false;
        if (op->per_output && batch->n_outputs == 0)
            break;
        run_op(cpu, op);
    }
    return true;
}

static const float *cpu_logits(const rad_backend *backend, uint32_t index)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return rad_cpu_value(cpu, cpu->program->logits) + (size_t)index * cpu->model->hparams.n_vocab;
}

static void cpu_free(rad_backend *backend)
{
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    rad_allocator allocator = cpu->host.allocator;
    rad_pool_free(cpu->pool);
    rad_wipe(cpu->memory, cpu->memory != NULL ? cpu->layout.total : 0);
    rad_free(&allocator, cpu->memory, cpu->layout.total);
    rad_free(&allocator, cpu, sizeof *cpu);
}

static const rad_backend_table cpu_table = {cpu_run, cpu_logits, cpu_free};

const char *rad_cpu_backend_fast(const rad_backend *backend)
{
    const rad_cpu_backend *cpu = (const rad_cpu_backend *)backend;
    return cpu->blas.product != NULL ? cpu->blas.description : "";
}

static void fill_frequencies(rad_cpu_backend *cpu)
{
    const rad_rope_params *rope = &cpu->model->hparams.rope;
    double *frequencies = (double *)(void *)(cpu->memory + cpu->layout.frequencies);
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        double divisor =
            cpu->model->rope_divisors != NULL ? (double)cpu->model->rope_divisors[i] : 1.0;
        frequencies[i] = rad_rope_frequency(rope, i, divisor);
    }
    cpu->rope_magnitude = rad_rope_magnitude(rope);
}

radllm_status rad_cpu_backend_create(const rad_host *host, const rad_program *program,
                                     const rad_page_pool *pages,
                                     const rad_backend_settings *settings, rad_backend **out,
                                     radllm_error *error)
{
    rad_cpu_backend *cpu = rad_alloc_zero(&host->allocator, sizeof *cpu);
    if (cpu == NULL)
        return rad_fail_memory(error, sizeof *cpu);
    cpu->base.table = &cpu_table;
    cpu->host = *host;
    cpu->program = program;
    cpu->model = program->model;
    cpu->pages = pages;
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
    if (status == RADLLM_OK && settings->blas)
        status = rad_blas_open(&cpu->blas, error);
    if (status == RADLLM_OK)
        status = rad_pool_create(host, settings->n_threads, &cpu->pool, error);
    if (status != RADLLM_OK) {
        cpu_free(&cpu->base);
        return status;
    }
    fill_frequencies(cpu);
    *out = &cpu->base;
    return RADLLM_OK;
}
