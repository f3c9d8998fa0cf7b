/* Products by heads: each head's matrix times its part of each row. A task takes one head and some
 * tokens; the input is brought together, and quantized, by the task itself. An output's bits depend
 * on its row of the matrix and its part of the input only. */
#include "backend/cpu/cpu.h"

#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* The buffers of a task's input one behind the other; returns their bytes. memory NULL: to measure
 * them. */
static size_t place_input(uint32_t columns, uint8_t *memory, rad_activations *x)
{
    size_t at[5], used = 0;
    const size_t bytes[] = {(size_t)RAD_HEAD_TOKENS * columns * sizeof(float),
                            (size_t)RAD_HEAD_TOKENS * columns,
                            (size_t)RAD_HEAD_TOKENS * (columns / 32 + 1) * sizeof(float),
                            (size_t)RAD_HEAD_TOKENS * (columns / 16 + 1) * sizeof(int16_t),
                            (size_t)rad_tiles_bytes(RAD_HEAD_TOKENS, columns)};
    for (int i = 0; i < 5; i++) {
        at[i] = used;
        used += aligned(bytes[i]);
    }
    if (memory != NULL) {
        x->values = (float *)(void *)(memory + at[0]);
        x->quants = (int8_t *)(memory + at[1]);
        x->scales = (float *)(void *)(memory + at[2]);
        x->sums = (int16_t *)(void *)(memory + at[3]);
        x->tiles = x->n_tokens > 1 ? memory + at[4] : NULL;
    }
    return used;
}

size_t rad_cpu_head_input_bytes(const rad_program *program)
{
    size_t most = 0;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        if (program->ops[i].kind != RAD_OP_HEAD_PRODUCT)
            continue;
        size_t bytes = place_input(program->ops[i].weight->matrix.n_columns, NULL, NULL);
        most = bytes > most ? bytes : most;
    }
    return most;
}

typedef struct head_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
    uint32_t n_tokens, n_chunks;
    bool ready;
} head_job;

static void gather(const head_job *job, const float *in, rad_activations *x)
{
    const rad_kernels *kernels = job->cpu->kernels;
    size_t row = job->op->from.row;
    for (uint32_t t = 0; t < x->n_tokens; t++) {
        if (x->kind == RAD_ACTIVATION_F32)
            memcpy((float *)x->values + (size_t)t * x->n_columns, in + t * row,
                   x->n_columns * sizeof(float));
        else
            rad_cpu_quantize_row(kernels, in + t * row, x, t);
    }
    for (uint32_t tile = 0;
         x->tiles != NULL && x->kind != RAD_ACTIVATION_F32 && tile * RAD_TILE_TOKENS < x->n_tokens;
         tile++)
        rad_arrange_tile(x, tile, (uint8_t *)x->tiles);
}

static void head_task(void *data, uint32_t index, uint32_t worker)
{
    const head_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_op *op = job->op;
    const rad_matrix *matrix = &op->weight->matrix;
    uint32_t head = index / job->n_chunks, first = index % job->n_chunks * RAD_HEAD_TOKENS;
    uint32_t left = job->n_tokens - first;
    rad_activations x = {.kind = rad_type_find(matrix->type)->activation,
                         .n_tokens = left < RAD_HEAD_TOKENS ? left : RAD_HEAD_TOKENS,
                         .n_columns = matrix->n_columns};
    place_input(matrix->n_columns,
                cpu->memory + cpu->layout.head_input + worker * cpu->layout.head_input_bytes, &x);
    gather(job,
           rad_cpu_value(cpu, op->in) + (size_t)first * op->from.row + op->from.first +
               (size_t)head * op->from.stride,
           &x);
    float *out = rad_cpu_value(cpu, op->out) + (size_t)first * op->to.row + op->to.first +
                 (size_t)head * op->to.stride;
    rad_cpu_product_rows(job->cpu, op, head, &x, 0, rad_weight_rows(op->weight), job->ready, worker,
                         out, op->to.row);
}

void rad_cpu_head_product(rad_cpu_backend *cpu, const rad_op *op)
{
    head_job job = {.cpu = cpu,
                    .op = op,
                    .n_tokens = rad_cpu_rows(cpu, op),
                    .ready = rad_model_is_ready(cpu->model, op->weight)};
    job.n_chunks = (job.n_tokens + RAD_HEAD_TOKENS - 1) / RAD_HEAD_TOKENS;
    rad_cpu_parallel(cpu, head_task, &job, job.n_chunks * op->n_heads,
                     (uint64_t)op->weight->matrix.n_rows * op->weight->matrix.n_columns);
}
