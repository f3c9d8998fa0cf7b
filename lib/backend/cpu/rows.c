/* Operations that work on each row of a value by itself. */
#include "backend/cpu/cpu.h"

#include <string.h>

#include "base/numeric.h"
#include "base/numeric_f32.h"

typedef struct rows_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
} rows_job;

static void embed_row(rad_cpu_backend *cpu, const rad_op *op, uint32_t row, uint32_t worker,
                      float *out)
{
    uint32_t token = (uint32_t)cpu->batch->tokens[row];
    rad_matrix one;
    if (rad_model_is_ready(cpu->model, op->weight))
        rad_matrix_decode_row(&op->weight->matrix, token, out);
    else if (rad_cpu_read_rows(cpu, op->weight, token, 1, worker, &one))
        rad_matrix_decode_row(&one, 0, out);
    if (op->weight->scale != 1.0f)
        cpu->kernels->layer->scale(out, op->weight->scale, op->width, out);
    if (op->number != 1.0f)
        cpu->kernels->layer->scale(out, op->number, op->width, out);
}

static uint32_t position_of_row(const rad_batch *batch, uint32_t row)
{
    uint32_t span = 0;
    while (row >= batch->spans[span].first_row + batch->spans[span].n_rows)
        span++;
    return batch->spans[span].first_position + (row - batch->spans[span].first_row);
}

/* Adds a row of a table to a row; `scratch` holds one row. */
static void add_position(rad_cpu_backend *cpu, const rad_op *op, uint32_t row, uint32_t worker,
                         float *out)
{
    float *scratch = rad_cpu_scratch(cpu, worker);
    uint32_t position = position_of_row(cpu->batch, row);
    position = position < op->limit ? position : op->limit;
    rad_matrix one;
    if (rad_model_is_ready(cpu->model, op->weight))
        rad_matrix_decode_row(&op->weight->matrix, position, scratch);
    else if (rad_cpu_read_rows(cpu, op->weight, position, 1, worker, &one))
        rad_matrix_decode_row(&one, 0, scratch);
    else
        return;
    if (op->weight->scale != 1.0f)
        cpu->kernels->layer->scale(scratch, op->weight->scale, op->width, scratch);
    cpu->kernels->layer->add(out, scratch, op->width, out);
}

static void norm_row(const rad_cpu_backend *cpu, const rad_op *op, const float *in, float *out)
{
    const rad_hparams *h = &cpu->model->hparams;
    const rad_layer_kernels *layer = cpu->kernels->layer;
    if (h->architecture->layer_norms)
        layer->layer_norm(in, op->weight->values, op->bias != NULL ? op->bias->values : NULL,
                          h->norm_epsilon, op->width, out);
    else
        layer->rms_norm(in, op->weight->values, h->norm_epsilon, op->width, out);
}

static void gate_row(const rad_cpu_backend *cpu, const float *gate, const float *up, uint32_t n,
                     float *out)
{
    const rad_layer_kernels *layer = cpu->kernels->layer;
    switch (cpu->model->hparams.architecture->gate) {
    case RAD_GATE_SILU:
        layer->silu_multiply(gate, up, n, out);
        break;
    case RAD_GATE_GELU_TANH:
        layer->gelu_tanh_multiply(gate, up, n, out);
        break;
    case RAD_GATE_RELU2:
        layer->relu2_multiply(gate, up, n, out);
        break;
    case RAD_GATE_CLAMPED:
        layer->clamped_multiply(gate, up, n, out);
        break;
    case RAD_GATE_NONE:
    case RAD_GATE_NONE_ERF:
        break;
    }
}

/* All cosines, then all sines. */
static void rotary_row(const rad_cpu_backend *cpu, const rad_op *op, uint32_t row, float *out)
{
    uint32_t n = cpu->model->hparams.rope.n_pairs;
    const double *frequencies =
        (const double *)(const void *)(cpu->memory + cpu->layout.frequencies) + (op->local ? n : 0);
    float magnitude = op->local ? 1.0f : cpu->rope_magnitude;
    uint32_t counted = position_of_row(cpu->batch, row);
    double position = counted < op->limit ? counted : op->limit;
    for (uint32_t i = 0; i < n; i++) {
        double angle = position * frequencies[i];
        double sine, cosine;
        rad_sin_cos(angle, &sine, &cosine);
        out[i] = (float)cosine * magnitude;
        out[n + i] = (float)sine * magnitude;
    }
}

static void head_norm_row(const rad_cpu_backend *cpu, const rad_op *op, float *out)
{
    const rad_hparams *h = &cpu->model->hparams;
    for (uint32_t head = 0; head < op->n_heads; head++) {
        float *values = out + (size_t)head * h->head_dim;
        cpu->kernels->layer->rms_norm(values, op->weight->values, h->norm_epsilon, h->head_dim,
                                      values);
    }
}

static float *part_of(const rad_cpu_backend *cpu, uint8_t value, const rad_parts *parts,
                      uint32_t row, uint32_t head)
{
    return rad_cpu_value(cpu, value) + (size_t)row * parts->row + parts->first +
           (size_t)head * parts->stride;
}

static void rotate_row(const rad_cpu_backend *cpu, const rad_op *op, uint32_t row)
{
    const rad_hparams *h = &cpu->model->hparams;
    uint32_t n = h->rope.n_pairs;
    const float *table = rad_cpu_value(cpu, op->in) + (size_t)row * 2 * n;
    size_t start = (size_t)row * op->to.row;
    int32_t interleaved = h->rotary == RAD_ROTARY_INTERLEAVED;
    if (op->other != op->out)
        memcpy(rad_cpu_value(cpu, op->out) + start, rad_cpu_value(cpu, op->other) + start,
               op->to.row * sizeof(float));
    for (uint32_t head = 0; head < op->n_heads; head++)
        cpu->kernels->layer->rotate(part_of(cpu, op->out, &op->to, row, head), table, table + n, n,
                                    interleaved);
}

static void copy_row(const rad_cpu_backend *cpu, const rad_op *op, uint32_t row)
{
    for (uint32_t head = 0; head < op->n_heads; head++)
        memcpy(part_of(cpu, op->out, &op->to, row, head),
               part_of(cpu, op->in, &op->from, row, head), op->width * sizeof(float));
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + rad_expf(-x));
}

static void one_row(void *data, uint32_t row, uint32_t worker)
{
    const rows_job *job = data;
    rad_cpu_backend *cpu = job->cpu;
    const rad_op *op = job->op;
    const rad_layer_kernels *layer = cpu->kernels->layer;
    uint32_t n = op->width;
    const float *in = rad_cpu_value(cpu, op->in) + (size_t)row * n;
    const float *other = rad_cpu_value(cpu, op->other) + (size_t)row * n;
    float *out = rad_cpu_value(cpu, op->out) + (size_t)row * n;
    switch (op->kind) {
    case RAD_OP_EMBED:
        embed_row(cpu, op, row, worker, out);
        break;
    case RAD_OP_ROTARY_TABLE:
        rotary_row(cpu, op, row, out);
        break;
    case RAD_OP_NORM:
        norm_row(cpu, op, in, out);
        break;
    case RAD_OP_POSITIONS:
        add_position(cpu, op, row, worker, out);
        break;
    case RAD_OP_HEAD_NORM:
        head_norm_row(cpu, op, out);
        break;
    case RAD_OP_ROTATE:
        rotate_row(cpu, op, row);
        break;
    case RAD_OP_COPY:
        copy_row(cpu, op, row);
        break;
    case RAD_OP_GATED:
        gate_row(cpu, in, other, n, out);
        break;
    case RAD_OP_GELU:
        if (cpu->model->hparams.architecture->gate == RAD_GATE_NONE_ERF)
            layer->gelu_erf(out, n, out);
        else
            layer->gelu_tanh(out, n, out);
        break;
    case RAD_OP_CLAMP:
        layer->clamp(out, op->number, n, out);
        break;
    case RAD_OP_ADD:
        layer->add(in, other, n, out);
        break;
    case RAD_OP_SELECT:
        memcpy(out, rad_cpu_value(cpu, op->in) + (size_t)cpu->batch->outputs[row] * n,
               n * sizeof(float));
        break;
    case RAD_OP_SOFT_CAP:
        layer->soft_cap(out, op->number, n, out);
        break;
    case RAD_OP_ADD_GATED:
        layer->add_scaled(in, sigmoid(rad_cpu_value(cpu, op->other)[row]), n, out);
        break;
    case RAD_OP_PRODUCT:
    case RAD_OP_ADAPT:
    case RAD_OP_HEAD_PRODUCT:
    case RAD_OP_STORE:
    case RAD_OP_ATTEND:
    case RAD_OP_ROUTE:
    case RAD_OP_EXPERT_PRODUCT:
    case RAD_OP_COMBINE:
        break; /* in files of their own */
    }
}

void rad_cpu_rows_op(rad_cpu_backend *cpu, const rad_op *op)
{
    rows_job job = {cpu, op};
    uint32_t rows = rad_cpu_rows(cpu, op);
    /* Sines and cosines cost more than the other operations' additions. */
    uint64_t cost = op->kind == RAD_OP_ROTARY_TABLE ? 16 : 1;
    rad_cpu_parallel(cpu, one_row, &job, rows, cost * rows * op->width);
}
