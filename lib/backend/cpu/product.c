/* Matrix products: quantizes the input once for all products that read it, then cuts the rows of
 * the weight among the threads. */
#include "backend/cpu/cpu.h"

/* Rows of one task: as many tasks as even work needs, since all wait for the last one. With many
 * tokens a task takes the rows that a kernel multiplies together, since each costs more. */
#define TASKS_PER_THREAD 24
#define MANY_TOKENS      16
#define MANY_TOKENS_ROWS 64
#define FEW_TOKENS_ROWS  256

void rad_cpu_quantize_row(const rad_kernels *kernels, const float *values, const rad_activations *x,
                          uint32_t row)
{
    uint32_t n = x->n_columns;
    size_t start = (size_t)row * n;
    int8_t *quants = (int8_t *)x->quants + start;
    int16_t *sums = (int16_t *)x->sums + start / 16;
    if (x->kind == RAD_ACTIVATION_Q8_64)
        kernels->quantize_q8_64(values, n, quants, (float *)x->scales + (size_t)row * (n / 64),
                                sums);
    else if (x->kind == RAD_ACTIVATION_Q8_256)
        kernels->quantize_q8_256(values, n, quants, (float *)x->scales + (size_t)row * (n / 256),
                                 sums);
    else if (x->kind == RAD_ACTIVATION_Q8_OUTLIERS)
        rad_quantize_q8_outliers(values, n, x->threshold, quants, (float *)x->scales + row);
    else if (x->kind == RAD_ACTIVATION_Q8_ROW)
        kernels->quantize_q8_row(values, n, quants, (float *)x->scales + row, sums);
    else
        kernels->quantize_q8_32(values, n, quants, (float *)x->scales + (size_t)row * (n / 32),
                                sums);
}

void rad_cpu_quantize_ordered(const rad_kernels *kernels, const float *values,
                              const uint32_t *columns, const rad_activations *x, uint32_t row,
                              float *ordered)
{
    for (uint32_t i = 0; columns != NULL && i < x->n_columns; i++)
        ordered[i] = columns[i] != RAD_NO_COLUMN ? values[columns[i]] : 0.0f;
    rad_cpu_quantize_row(kernels, columns != NULL ? ordered : values, x, row);
}

typedef struct quantize_job {
    const rad_cpu_backend *cpu;
    const rad_activations *target;
    uint32_t n_inputs; /* of a row of values */
    const uint32_t *columns;
} quantize_job;

static void quantize_tile(void *data, uint32_t tile, uint32_t worker)
{
    const quantize_job *job = data;
    const rad_activations *x = job->target;
    for (uint32_t i = 0; i < RAD_TILE_TOKENS && tile * RAD_TILE_TOKENS + i < x->n_tokens; i++) {
        uint32_t row = tile * RAD_TILE_TOKENS + i;
        rad_cpu_quantize_ordered(job->cpu->kernels, x->values + (size_t)row * job->n_inputs,
                                 job->columns, x, row, rad_cpu_scratch(job->cpu, worker));
    }
    if (x->tiles != NULL)
        rad_arrange_tile(x, tile, (uint8_t *)x->tiles);
}

void rad_cpu_prepare_input(rad_cpu_backend *cpu, const rad_op *op, rad_activations *x)
{
    const rad_matrix *matrix = &op->weight->matrix;
    const uint32_t *columns = rad_weight_columns(op->weight, 0);
    uint32_t n_tokens = rad_cpu_rows(cpu, op);
    *x = (rad_activations){.kind = rad_type_find(matrix->type)->activation,
                           .n_tokens = n_tokens,
                           .n_columns = matrix->n_columns,
                           .values = rad_cpu_value(cpu, op->in),
                           .quants = (int8_t *)(cpu->memory + cpu->layout.quants),
                           .scales = (float *)(void *)(cpu->memory + cpu->layout.scales),
                           .sums = (int16_t *)(void *)(cpu->memory + cpu->layout.sums),
                           .tiles = n_tokens > 1 ? cpu->memory + cpu->layout.tiles : NULL,
                           .threshold = op->weight->threshold};
    if (x->kind == RAD_ACTIVATION_Q8_OUTLIERS)
        x->tiles = NULL;
    if (x->kind == RAD_ACTIVATION_F32 ||
        (cpu->quantized_value == op->in && cpu->quantized_kind == x->kind &&
         cpu->quantized_columns == columns))
        return;
    quantize_job job = {cpu, x, rad_weight_inputs(op->weight), columns};
    rad_cpu_parallel(cpu, quantize_tile, &job, (n_tokens + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS,
                     (uint64_t)n_tokens * x->n_columns);
    cpu->quantized_value = op->in;
    cpu->quantized_kind = x->kind;
    cpu->quantized_columns = columns;
}

/* What comes behind a product: the scale of the whole matrix, then the bias. Rows of out are
 * `stride` apart. */
static void finish_rows(const rad_op *op, uint32_t expert, float *out, size_t stride,
                        uint32_t first, uint32_t last, uint32_t n_tokens)
{
    float scale = op->weight->scales != NULL ? op->weight->scales[expert] : op->weight->scale;
    for (uint32_t t = 0; t < n_tokens && scale != 1.0f; t++) {
        float *row = out + t * stride;
        for (uint32_t r = first; r < last; r++)
            row[r] *= scale;
    }
    if (op->bias == NULL)
        return;
    const float *bias = op->bias->values + (size_t)expert * rad_weight_rows(op->weight);
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *row = out + t * stride;
        for (uint32_t r = first; r < last; r++)
            row[r] += bias[r];
    }
}

/* With rows from the file, some at a time. */
static void product_from_file(rad_cpu_backend *cpu, const rad_weight *weight, uint32_t expert,
                              const rad_activations *x, uint32_t first, uint32_t last,
                              uint32_t worker, float *out, size_t stride)
{
    uint32_t n_rows = rad_weight_rows(weight), most = rad_cpu_stream_rows(cpu, &weight->matrix);
    for (; first < last; first += most) {
        uint32_t n = last - first < most ? last - first : most;
        rad_matrix rows;
        if (!rad_cpu_read_rows(cpu, weight, expert * n_rows + first, n, worker, &rows))
            return;
        cpu->kernels->product(&rows, x, 0, n, 0, x->n_tokens, out + first, stride,
                              rad_cpu_scratch(cpu, worker));
    }
}

void rad_cpu_product_rows(rad_cpu_backend *cpu, const rad_op *op, uint32_t expert,
                          const rad_activations *x, uint32_t first, uint32_t last, bool ready,
                          uint32_t worker, float *out, size_t stride)
{
    rad_matrix part = op->weight->matrix;
    part.n_rows = rad_weight_rows(op->weight);
    if (ready) {
        part.data = rad_weight_expert_data(op->weight, expert);
        cpu->kernels->product(&part, x, first, last, 0, x->n_tokens, out, stride,
                              rad_cpu_scratch(cpu, worker));
    } else {
        product_from_file(cpu, op->weight, expert, x, first, last, worker, out, stride);
    }
    finish_rows(op, expert, out, stride, first, last, x->n_tokens);
}

typedef struct product_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
    rad_activations input;
    bool ready; /* the weight is in memory */
    uint32_t rows_per_task;
} product_job;

static void product_task(void *data, uint32_t index, uint32_t worker)
{
    const product_job *job = data;
    uint32_t n_rows = job->op->weight->matrix.n_rows;
    uint32_t first = index * job->rows_per_task, last = first + job->rows_per_task;
    rad_cpu_product_rows(job->cpu, job->op, 0, &job->input, first, last > n_rows ? n_rows : last,
                         job->ready, worker, rad_cpu_value(job->cpu, job->op->out), n_rows);
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
    finish_rows(op, 0, out, matrix->n_rows, 0, matrix->n_rows, input->n_tokens);
    return true;
}

uint32_t rad_cpu_rows_per_task(const rad_cpu_backend *cpu, uint64_t n_rows, uint32_t n_tokens)
{
    uint64_t tasks = (uint64_t)cpu->settings.n_threads * TASKS_PER_THREAD;
    uint64_t rows = n_rows / tasks / RAD_LANE_ROWS * RAD_LANE_ROWS;
    if (n_tokens >= MANY_TOKENS)
        return MANY_TOKENS_ROWS;
    if (rows < RAD_LANE_ROWS)
        return RAD_LANE_ROWS;
    return rows > FEW_TOKENS_ROWS ? FEW_TOKENS_ROWS : (uint32_t)rows;
}

void rad_cpu_product(rad_cpu_backend *cpu, const rad_op *op)
{
    product_job job = {.cpu = cpu, .op = op, .ready = rad_model_is_ready(cpu->model, op->weight)};
    rad_cpu_prepare_input(cpu, op, &job.input);
    if (cpu->blas.product != NULL && job.input.kind == RAD_ACTIVATION_F32 &&
        product_by_blas(cpu, op, &job.input))
        return;
    uint32_t n_rows = op->weight->matrix.n_rows;
    job.rows_per_task = rad_cpu_rows_per_task(cpu, n_rows, job.input.n_tokens);
    rad_cpu_parallel(cpu, product_task, &job, (n_rows + job.rows_per_task - 1) / job.rows_per_task,
                     (uint64_t)n_rows * op->weight->matrix.n_columns);
}
