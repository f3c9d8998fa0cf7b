/* Matrix products: quantizes the input once for all products that read it, then cuts the rows of
 * the weight among the threads. */
#include "backend/cpu/cpu.h"

/* Rows of one task: enough tasks for even work, not more. With many tokens a task takes the rows
 * that a kernel multiplies together, since each costs more. */
#define TASKS_PER_THREAD 6
#define MANY_TOKENS      16
#define MANY_TOKENS_ROWS 64
#define FEW_TOKENS_ROWS  1024

typedef struct quantize_job {
    const rad_cpu_backend *cpu;
    const float *values;
    rad_activations *target;
} quantize_job;

static void quantize_row(const quantize_job *job, uint32_t row)
{
    const rad_kernels *kernels = job->cpu->kernels;
    const rad_activations *x = job->target;
    uint32_t n = x->n_columns;
    size_t start = (size_t)row * n;
    int8_t *quants = (int8_t *)x->quants + start;
    int16_t *sums = (int16_t *)x->sums + start / 16;
    if (x->kind == RAD_ACTIVATION_Q8_256)
        kernels->quantize_q8_256(job->values + start, n, quants,
                                 (float *)x->scales + (size_t)row * (n / 256), sums);
    else if (x->kind == RAD_ACTIVATION_Q8_ROW)
        kernels->quantize_q8_row(job->values + start, n, quants, (float *)x->scales + row, sums);
    else
        kernels->quantize_q8_32(job->values + start, n, quants,
                                (float *)x->scales + (size_t)row * (n / 32), sums);
}

static void quantize_tile(void *data, uint32_t tile, uint32_t worker)
{
    (void)worker;
    const quantize_job *job = data;
    const rad_activations *x = job->target;
    for (uint32_t i = 0; i < RAD_TILE_TOKENS && tile * RAD_TILE_TOKENS + i < x->n_tokens; i++)
        quantize_row(job, tile * RAD_TILE_TOKENS + i);
    if (x->tiles != NULL)
        rad_arrange_tile(x, tile, (uint8_t *)x->tiles);
}

/* The input of an operation in the form that its weight wants. */
static void prepare_input(rad_cpu_backend *cpu, const rad_op *op, rad_activations *x)
{
    const rad_matrix *matrix = &op->weight->matrix;
    uint32_t n_tokens = rad_cpu_rows(cpu, op);
    *x = (rad_activations){.kind = rad_type_find(matrix->type)->activation,
                           .n_tokens = n_tokens,
                           .n_columns = matrix->n_columns,
                           .values = rad_cpu_value(cpu, op->in),
                           .quants = (int8_t *)(cpu->memory + cpu->layout.quants),
                           .scales = (float *)(void *)(cpu->memory + cpu->layout.scales),
                           .sums = (int16_t *)(void *)(cpu->memory + cpu->layout.sums),
                           .tiles = n_tokens > 1 ? cpu->memory + cpu->layout.tiles : NULL};
    if (x->kind == RAD_ACTIVATION_F32 ||
        (cpu->quantized_value == op->in && cpu->quantized_kind == x->kind))
        return;
    quantize_job job = {cpu, x->values, x};
    rad_cpu_parallel(cpu, quantize_tile, &job, (n_tokens + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS,
                     (uint64_t)n_tokens * x->n_columns);
    cpu->quantized_value = op->in;
    cpu->quantized_kind = x->kind;
}

typedef struct product_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
    rad_activations input;
    bool ready; /* the weight is in memory */
    uint32_t rows_per_task;
} product_job;

/* What comes behind a product: the scale of the whole matrix, then the bias. */
static void finish_rows(const rad_op *op, float *out, size_t stride, uint32_t first, uint32_t last,
                        uint32_t n_tokens)
{
    float scale = op->weight->scale;
    for (uint32_t t = 0; t < n_tokens && scale != 1.0f; t++) {
        float *row = out + (size_t)t * stride;
        for (uint32_t r = first; r < last; r++)
            row[r] *= scale;
    }
    if (op->bias == NULL)
        return;
    const float *bias = op->bias->values;
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *row = out + (size_t)t * stride;
        for (uint32_t r = first; r < last; r++)
            row[r] += bias[r];
    }
}

/* The same with rows from the file, some at a time. */
static void product_from_file(const product_job *job, uint32_t first, uint32_t last,
                              uint32_t worker, float *out)
{
    rad_cpu_backend *cpu = job->cpu;
    const rad_weight *weight = job->op->weight;
    uint32_t most = rad_cpu_stream_rows(cpu, &weight->matrix);
    for (; first < last; first += most) {
        uint32_t n = last - first < most ? last - first : most;
        rad_matrix rows;
        if (!rad_cpu_read_rows(cpu, weight, first, n, worker, &rows))
            return;
        cpu->kernels->product(&rows, &job->input, 0, n, 0, job->input.n_tokens, out + first,
                              weight->matrix.n_rows, rad_cpu_scratch(cpu, worker));
    }
}

static void product_rows(void *data, uint32_t index, uint32_t worker)
{
    product_job *job = data;
    const rad_matrix *matrix = &job->op->weight->matrix;
    uint32_t first = index * job->rows_per_task;
    uint32_t last = first + job->rows_per_task;
    last = last > matrix->n_rows ? matrix->n_rows : last;
    float *out = rad_cpu_value(job->cpu, job->op->out);
    if (job->ready)
        job->cpu->kernels->product(matrix, &job->input, first, last, 0, job->input.n_tokens, out,
                                   matrix->n_rows, rad_cpu_scratch(job->cpu, worker));
    else
        product_from_file(job, first, last, worker, out);
    finish_rows(job->op, out, matrix->n_rows, first, last, job->input.n_tokens);
}

/* ---- BLAS, outside the contract ------------------------------------------------------------- */

typedef struct slab_job {
    const rad_matrix *matrix;
    float *slab;
    uint32_t first_row;
} slab_job;

static void widen_row(void *data, uint32_t index, uint32_t worker)
{
    (void)worker;
    const slab_job *job = data;
    rad_matrix_decode_row(job->matrix, job->first_row + index,
                          job->slab + (size_t)index * job->matrix->n_columns);
}

/* Some rows at a time; false when BLAS refuses the sizes: the kernels then do it. */
static bool product_by_blas(rad_cpu_backend *cpu, const rad_op *op, const rad_activations *input)
{
    const rad_matrix *matrix = &op->weight->matrix;
    float *out = rad_cpu_value(cpu, op->out);
    slab_job job = {matrix, (float *)(void *)(cpu->memory + cpu->layout.slab), 0};
    for (; job.first_row < matrix->n_rows; job.first_row += RAD_BLAS_ROWS) {
        uint32_t left = matrix->n_rows - job.first_row;
        uint32_t n = left < RAD_BLAS_ROWS ? left : RAD_BLAS_ROWS;
        rad_cpu_parallel(cpu, widen_row, &job, n, (uint64_t)n * matrix->n_columns);
        if (rad_blas_product(&cpu->blas, job.slab, n, matrix->n_columns, input->values,
                             input->n_tokens, out + job.first_row, matrix->n_rows,
                             NULL) != RADLLM_OK)
            return false;
    }
    finish_rows(op, out, matrix->n_rows, 0, matrix->n_rows, input->n_tokens);
    return true;
}

void rad_cpu_product(rad_cpu_backend *cpu, const rad_op *op)
{
    product_job job = {.cpu = cpu, .op = op, .ready = rad_model_is_ready(cpu->model, op->weight)};
    prepare_input(cpu, op, &job.input);
    if (cpu->blas.product != NULL && job.input.kind == RAD_ACTIVATION_F32 &&
        product_by_blas(cpu, op, &job.input))
        return;
    uint32_t n_rows = op->weight->matrix.n_rows;
    uint32_t tasks = cpu->settings.n_threads * TASKS_PER_THREAD;
    uint32_t rows = n_rows / tasks / RAD_LANE_ROWS * RAD_LANE_ROWS;
    rows = rows < RAD_LANE_ROWS ? RAD_LANE_ROWS : rows > FEW_TOKENS_ROWS ? FEW_TOKENS_ROWS : rows;
    if (job.input.n_tokens >= MANY_TOKENS)
        rows = MANY_TOKENS_ROWS;
    job.rows_per_task = rows;
    rad_cpu_parallel(cpu, product_rows, &job, (n_rows + rows - 1) / rows,
                     (uint64_t)n_rows * op->weight->matrix.n_columns);
}
