/* The backend: runs a program's operations in their order, each on its device or on the CPU, and
 * brings values from one to the other where that changes. */
#include "backend/cuda/operations.h"

#include <string.h>

#define VALUE(v) (1u << (v))

/* ---- what operations read and write ---------------------------------------------------------- */

/* Values that must be up to date, as a set. */
static uint32_t read_by(const rad_cuda_chain *c, const rad_op *op)
{
    const rad_cuda_backend *b = &c->parts[0];
    rad_cuda_means means = {b->model, &b->cache->plan, &b->device->properties, b->library};
    return rad_cuda_reads(&means, op, c->values[op->out].where != 0 ? VALUE(op->out) : 0);
}

/* Floats of a row of what it writes. */
static uint64_t written_width(const rad_cuda_chain *c, const rad_op *op)
{
    bool by_head = op->kind == RAD_OP_ADAPT && op->n_heads > 0;
    if (op->kind == RAD_OP_COPY || op->kind == RAD_OP_HEAD_PRODUCT || by_head)
        return op->to.row;
    if (op->kind == RAD_OP_EXPERT_PRODUCT || op->experts)
        return (uint64_t)op->width * c->program->model->hparams.router.n_used;
    return op->width;
}

/* ---- bringing values over -------------------------------------------------------------------- */

static radllm_status wait(rad_cuda_backend *b, radllm_error *error)
{
    b->under_way = false;
    radllm_status status = b->device->synchronize(b->device, RAD_CUDA_COMPUTE);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->device, status, error);
}

/* For the copies from memory that the CPU is about to write to. */
static radllm_status wait_for_copies(rad_cuda_chain *c, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t k = 0; k < c->n && status == RADLLM_OK; k++) {
        if (c->parts[k].under_way)
            status = wait(&c->parts[k], error);
    }
    return status;
}

/* A device that has a value which the CPU has not. */
static rad_cuda_backend *holder(rad_cuda_chain *c, uint8_t value)
{
    uint32_t k = 0;
    while (k + 1 < c->n && (c->values[value].where & RAD_CUDA_THERE(k)) == 0)
        k++;
    return &c->parts[k];
}

static radllm_status bring_here(rad_cuda_chain *c, uint8_t value, radllm_error *error)
{
    rad_cuda_backend *from = holder(c, value);
    radllm_status status = from->device->download(
        from->device, RAD_CUDA_COMPUTE, c->library->cpu_value(c->cpu, value),
        rad_cuda_value(from, value), c->values[value].floats * sizeof(float));
    status = status == RADLLM_OK ? wait(from, error) : rad_cuda_failed(from->device, status, error);
    if (status != RADLLM_OK)
        return status;
    c->library->cpu_changed(c->cpu, value);
    c->values[value].where |= RAD_CUDA_HERE;
    return RADLLM_OK;
}

/* What is put on a device's stream from now on comes behind what another one's has now. */
static radllm_status follow(rad_cuda_backend *b, const rad_cuda_backend *before,
                            radllm_error *error)
{
    rad_cuda_device *device = b->device, *other = before->device;
    radllm_status status = other->event_record(other, before->reached, RAD_CUDA_COMPUTE);
    if (status != RADLLM_OK)
        return rad_cuda_failed(other, status, error);
    status = device->stream_wait(device, RAD_CUDA_COMPUTE, before->reached);
    return status == RADLLM_OK ? status : rad_cuda_failed(device, status, error);
}

/* From another device, whose work this one follows; through memory of the host where there is no
 * other way. */
static radllm_status pass(rad_cuda_chain *c, rad_cuda_backend *b, uint8_t value,
                          radllm_error *error)
{
    const rad_cuda_backend *from = holder(c, value);
    rad_cuda_device *device = b->device, *other = from->device;
    uint64_t bytes = c->values[value].floats * sizeof(float);
    float *to = rad_cuda_value(b, value);
    radllm_status status;
    if (b->passed == NULL) {
        status = device->copy_from(device, RAD_CUDA_COMPUTE, to, other, rad_cuda_value(from, value),
                                   bytes);
        return status == RADLLM_OK ? status : rad_cuda_failed(device, status, error);
    }
    uint8_t *between =
        b->passed + rad_cuda_set_bytes(c->program, &c->settings, b->needed & (VALUE(value) - 1));
    status = other->download(other, RAD_CUDA_COMPUTE, between, rad_cuda_value(from, value), bytes);
    if (status != RADLLM_OK)
        return rad_cuda_failed(other, status, error);
    status = follow(b, from, error);
    if (status != RADLLM_OK)
        return status;
    status = device->upload(device, RAD_CUDA_COMPUTE, to, between, bytes);
    return status == RADLLM_OK ? status : rad_cuda_failed(device, status, error);
}

static radllm_status bring_there(rad_cuda_chain *c, rad_cuda_backend *b, uint8_t value,
                                 radllm_error *error)
{
    radllm_status status;
    if ((c->values[value].where & RAD_CUDA_HERE) != 0) {
        status = b->device->upload(b->device, RAD_CUDA_COMPUTE, rad_cuda_value(b, value),
                                   c->library->cpu_value(c->cpu, value),
                                   c->values[value].floats * sizeof(float));
        b->under_way = true;
        if (status != RADLLM_OK)
            status = rad_cuda_failed(b->device, status, error);
    } else
        status = pass(c, b, value, error);
    if (status == RADLLM_OK)
        c->values[value].where |= RAD_CUDA_THERE(b - c->parts);
    return status;
}

/* To a device, or (NULL) here. Values that nobody wrote in this run may be named by operations that
 * pass over them. */
static radllm_status bring_all(rad_cuda_chain *c, uint32_t set, rad_cuda_backend *to,
                               radllm_error *error)
{
    uint32_t wanted = to != NULL ? RAD_CUDA_THERE(to - c->parts) : RAD_CUDA_HERE;
    radllm_status status = RADLLM_OK;
    for (uint8_t v = 0; v < c->program->n_values && status == RADLLM_OK; v++) {
        uint32_t where = c->values[v].where;
        if ((set & VALUE(v)) == 0 || where == 0 || (where & wanted) != 0)
            continue;
        status = to != NULL ? bring_there(c, to, v, error) : bring_here(c, v, error);
    }
    return status;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool has_adapters(const rad_batch *batch)
{
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        if (batch->spans[s].adapters != NULL && batch->spans[s].adapters->n > 0)
            return true;
    }
    return false;
}

/* Where the result of an operation stands. */
static void note_result(rad_cuda_chain *c, rad_cuda_backend *b, const rad_op *op, bool on_device)
{
    if (op->kind == RAD_OP_STORE)
        return;
    if (op->out == b->tiles_value && op != b->tiles_maker)
        b->tiles_value = -1;
    c->values[op->out].where = on_device ? RAD_CUDA_THERE(b - c->parts) : RAD_CUDA_HERE;
    c->values[op->out].floats = rad_cuda_rows(b, op) * written_width(c, op);
}

static radllm_status run_op(rad_cuda_chain *c, rad_cuda_backend *b, const rad_op *op,
                            bool on_device, radllm_error *error)
{
    radllm_status status = bring_all(c, read_by(c, op), on_device ? b : NULL, error);
    if (status != RADLLM_OK)
        return status;
    if (on_device) {
        status = rad_cuda_run_op(b, op);
        if (status != RADLLM_OK)
            return rad_cuda_failed(b->device, status, error);
    } else {
        status = wait_for_copies(c, error);
        if (op->experts && b->on_device[op - 1 - b->program->ops])
            c->library->cpu_take_choices(c->cpu, op, !b->grouped);
        if (status == RADLLM_OK)
            status = c->library->cpu_run_op(c->cpu, op, error);
        if (status != RADLLM_OK)
            return status;
    }
    note_result(c, b, op, on_device);
    return RADLLM_OK;
}

/* Products from operation *at on that read the same input, with nothing between them but adapters,
 * each of which adds to its own product alone. mixed: the third may be of another type. *at becomes
 * the last one's. */
static uint32_t find_joined(const rad_cuda_backend *b, uint32_t *at, uint32_t end, bool mixed,
                            const rad_op *joined[RAD_CUDA_PRODUCT_PARTS])
{
    uint32_t n = 0;
    for (uint32_t i = *at; i < end && n < RAD_CUDA_PRODUCT_PARTS; i++) {
        const rad_op *op = &b->program->ops[i];
        if (op->kind == RAD_OP_ADAPT && n > 0) /* else a product may read what it adds to */
            continue;
        if (op->kind != RAD_OP_PRODUCT || !b->on_device[i] ||
            (n > 0 && !rad_cuda_can_join(b, joined[0], op, mixed && n == 2)))
            break;
        joined[n++] = op;
        *at = i;
    }
    return n;
}

/* What reads a value's tiles is told them last: products write none. A sum takes the place of the
 * product's own result, which then nobody reads. */
static radllm_status run_products(rad_cuda_chain *c, rad_cuda_backend *b,
                                  const rad_cuda_products *p, radllm_error *error)
{
    bool adds = p->behind != NULL && p->behind->kind == RAD_OP_ADD;
    uint32_t reads = read_by(c, p->norm != NULL ? p->norm : p->ops[0]);
    if (p->heads != NULL)
        reads |= VALUE(p->heads->in);
    if (adds)
        reads |= read_by(c, p->behind) & ~VALUE(p->ops[0]->out);
    radllm_status status = bring_all(c, reads, b, error);
    if (status != RADLLM_OK)
        return status;
    if (p->norm != NULL)
        note_result(c, b, p->norm, true);
    for (uint32_t i = 0; i < p->n && !adds; i++)
        note_result(c, b, p->ops[i], true);
    status = rad_cuda_run_products(b, p);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    if (p->behind != NULL)
        note_result(c, b, p->behind, true);
    return RADLLM_OK;
}

static radllm_status run_fused(rad_cuda_chain *c, rad_cuda_backend *b, const rad_op *ops,
                               uint32_t n, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++)
        status = bring_all(c, read_by(c, &ops[i]), b, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_cuda_run_fused(b, ops);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    for (uint32_t i = 0; i < n; i++)
        note_result(c, b, &ops[i], true);
    return RADLLM_OK;
}

/* What adapters add to a product, where a row has some for it. */
static radllm_status adapt(rad_cuda_chain *c, rad_cuda_backend *b, uint32_t at, radllm_error *error)
{
    const rad_op *op = &b->program->ops[at];
    if (!rad_cuda_is_adapted(c->batch, op))
        return RADLLM_OK;
    return run_op(c, b, op, b->on_device[at] && b->adapters_there, error);
}

/* Products behind the norm at *at whose blocks can make it; none: n is 0. */
static void find_normed(const rad_cuda_backend *b, uint32_t *at, uint32_t end, bool mixed,
                        rad_cuda_products *p)
{
    uint32_t last = *at + 1;
    p->n = last < end ? find_joined(b, &last, end, mixed, p->ops) : 0;
    if (p->n > 0 && rad_cuda_takes_norm(b, p->norm, p->ops, p->n))
        *at = last;
    else
        p->n = 0;
}

/* Products that are one launch from *at on, which becomes the last operation of it; none: n is 0.
 */
static rad_cuda_products find_products(const rad_cuda_backend *b, uint32_t *at, uint32_t end)
{
    rad_cuda_products p = {.n = 0};
    const rad_op *op = &b->program->ops[*at];
    uint32_t last = *at;
    bool mixed = (b->settings.apart & RAD_CUDA_APART_VALUES) == 0;
    if (op->kind == RAD_OP_NORM && b->on_device[*at]) {
        p.norm = op;
        find_normed(b, &last, end, mixed, &p);
        if (p.n == 0 && mixed)
            find_normed(b, &last, end, false, &p);
    } else {
        p.n = find_joined(b, &last, end, false, p.ops);
    }
    if (p.n == 0)
        return p;
    p.behind = rad_cuda_find_behind(b, p.ops, p.n, last + 1, end);
    if (p.behind != NULL && p.norm != NULL && p.behind->out == p.norm->in)
        p.behind = NULL; /* blocks may still read of it what others would write */
    p.heads = rad_cuda_find_heads(b, &p, last + 1, end);
    *at = p.behind != NULL  ? (uint32_t)(p.behind - b->program->ops)
          : p.heads != NULL ? (uint32_t)(p.heads + 2 - b->program->ops)
                            : last;
    return p;
}

/* The second of two products of experts that are one launch, with nothing between them but what
 * adapts the first; *at becomes its number. NULL: there is none. */
static const rad_op *find_second(const rad_cuda_backend *b, uint32_t *at, uint32_t end)
{
    const rad_op *ops = b->program->ops;
    uint32_t next = *at + 1;
    if (ops[*at].kind != RAD_OP_EXPERT_PRODUCT || !b->on_device[*at])
        return NULL;
    while (next < end && ops[next].kind == RAD_OP_ADAPT)
        next++;
    if (next == end || ops[next].kind != RAD_OP_EXPERT_PRODUCT || !b->on_device[next] ||
        !rad_cuda_can_join_experts(b, &ops[*at], &ops[next]))
        return NULL;
    *at = next;
    return &ops[next];
}

static radllm_status run_two_experts(rad_cuda_chain *c, rad_cuda_backend *b, const rad_op *op,
                                     const rad_op *next, radllm_error *error)
{
    radllm_status status = bring_all(c, read_by(c, op) | read_by(c, next), b, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_cuda_run_two_experts(b, op, next);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    note_result(c, b, op, true);
    note_result(c, b, next, true);
    return RADLLM_OK;
}

/* One operation, or several that are one launch; *at becomes the last one's. */
static radllm_status run_next(rad_cuda_chain *c, rad_cuda_backend *b, uint32_t *at, uint32_t end,
                              bool adapters, radllm_error *error)
{
    const rad_op *op = &b->program->ops[*at];
    uint32_t first = *at, n_fused = rad_cuda_fused(b, first, end);
    if (n_fused > 1) {
        *at += n_fused - 1;
        return run_fused(c, b, op, n_fused, error);
    }
    rad_cuda_products products = find_products(b, at, end);
    const rad_op *second = products.n == 0 ? find_second(b, at, end) : NULL;
    if (products.n == 0 && second == NULL)
        return op->kind == RAD_OP_ADAPT ? (adapters ? adapt(c, b, first, error) : RADLLM_OK)
                                        : run_op(c, b, op, b->on_device[first], error);
    radllm_status status = second != NULL ? run_two_experts(c, b, op, second, error)
                                          : run_products(c, b, &products, error);
    for (uint32_t i = first; i < *at && adapters && status == RADLLM_OK; i++)
        status = b->program->ops[i].kind == RAD_OP_ADAPT ? adapt(c, b, i, error) : RADLLM_OK;
    return status;
}

/* ---- experts in main memory ------------------------------------------------------------------ */

/* The operations from ROUTE to COMBINE, which the CPU computes, and those behind them that the
 * device can compute meanwhile: the shared expert. */
typedef struct mixture {
    uint32_t first, combine, end;
    uint32_t inputs; /* values of the device that the CPU reads, as a set */
} mixture;

static bool find_mixture(const rad_cuda_chain *c, const rad_cuda_backend *b, uint32_t first,
                         uint32_t end, mixture *m)
{
    const rad_op *ops = b->program->ops;
    uint32_t written = 0, i = first;
    *m = (mixture){.first = first};
    if (ops[first].kind != RAD_OP_ROUTE || b->on_device[first] ||
        (c->values[ops[first].in].where & RAD_CUDA_HERE) != 0)
        return false;
    for (; i < end && ops[i].kind != RAD_OP_COMBINE; i++) {
        if (ops[i].kind == RAD_OP_ADAPT)
            continue;
        m->inputs |= read_by(c, &ops[i]) & ~written;
        written |= VALUE(ops[i].out);
    }
    if (i == end)
        return false;
    m->combine = i;
    m->inputs |= read_by(c, &ops[i]) & ~written;
    written |= VALUE(ops[i].out);
    for (m->end = i + 1; m->end < end && b->on_device[m->end]; m->end++) {
        const rad_op *op = &ops[m->end];
        if (op->kind != RAD_OP_ADAPT &&
            ((read_by(c, op) & written) != 0 || (m->inputs & VALUE(op->out)) != 0))
            break;
        if (op->kind != RAD_OP_ADAPT) /* the device's, from here on */
            written &= ~VALUE(op->out);
    }
    return true;
}

/* Whether a value that the CPU reads is this device's alone. */
static bool is_brought(const rad_cuda_chain *c, const rad_cuda_backend *b, const mixture *m,
                       uint8_t value)
{
    uint32_t where = c->values[value].where;
    return (m->inputs & VALUE(value)) != 0 && (where & RAD_CUDA_HERE) == 0 &&
           (where & RAD_CUDA_THERE(b - c->parts)) != 0;
}

/* What the CPU reads is on its way to pinned memory, and behind it the device goes on. */
static radllm_status begin_mixture(rad_cuda_chain *c, rad_cuda_backend *b, const mixture *m)
{
    rad_cuda_device *device = b->device;
    radllm_status status = RADLLM_OK;
    for (uint8_t v = 0; v < c->program->n_values && status == RADLLM_OK; v++) {
        if (is_brought(c, b, m, v))
            status = device->download(device, RAD_CUDA_COMPUTE, c->library->cpu_value(c->cpu, v),
                                      rad_cuda_value(b, v), c->values[v].floats * sizeof(float));
    }
    if (status == RADLLM_OK)
        status = device->event_record(device, b->arrived, RAD_CUDA_COMPUTE);
    b->under_way = false; /* when that is reached */
    return status;
}

static radllm_status await_mixture(rad_cuda_chain *c, rad_cuda_backend *b, const mixture *m)
{
    radllm_status status = b->device->event_wait(b->device, b->arrived);
    for (uint8_t v = 0; v < c->program->n_values && status == RADLLM_OK; v++) {
        if (!is_brought(c, b, m, v))
            continue;
        c->library->cpu_changed(c->cpu, v);
        c->values[v].where |= RAD_CUDA_HERE;
    }
    return status;
}

/* The device's and the CPU's memory of a value are two, so that what both write stands in its own
 * place, and in the program's order the device's is the later one. */
static radllm_status run_mixture(rad_cuda_chain *c, rad_cuda_backend *b, const mixture *m,
                                 radllm_error *error)
{
    const rad_op *ops = b->program->ops;
    radllm_status status = begin_mixture(c, b, m);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    for (uint32_t i = m->combine + 1; i < m->end && status == RADLLM_OK; i++)
        status = run_next(c, b, &i, m->end, false, error);
    if (status != RADLLM_OK)
        return status;
    status = await_mixture(c, b, m);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    for (uint32_t i = m->first; i <= m->combine && status == RADLLM_OK; i++) {
        if (ops[i].kind != RAD_OP_ADAPT)
            status = run_op(c, b, &ops[i], false, error);
    }
    for (uint32_t i = m->combine + 1; i < m->end && status == RADLLM_OK; i++) {
        if (ops[i].kind != RAD_OP_ADAPT)
            note_result(c, b, &ops[i], true);
    }
    return status;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static radllm_status run_range(rad_cuda_chain *c, rad_cuda_backend *b, uint32_t first, uint32_t end,
                               const radllm_cancel *cancel, radllm_error *error)
{
    bool adapters = has_adapters(c->batch);
    radllm_status status = RADLLM_OK;
    mixture m;
    for (uint32_t i = first; i < end && status == RADLLM_OK; i++) {
        if (rad_cancelled(cancel))
            return rad_fail(error, RADLLM_E_CANCELLED, "the computation was cancelled");
        if (c->program->ops[i].per_output && c->batch->n_outputs == 0)
            break;
        if (!adapters && b->arrived != NULL && find_mixture(c, b, i, end, &m)) {
            status = run_mixture(c, b, &m, error);
            i = m.end - 1;
        } else {
            status = run_next(c, b, &i, end, adapters, error);
        }
    }
    return status;
}

/* Whether the most likely tokens are wanted of a batch whose logits a device has just made. */
static bool is_choosing(const rad_cuda_chain *c, const rad_cuda_backend *b)
{
    const rad_batch *batch = c->batch;
    return (batch->chooses || batch->narrows || batch->draws != NULL) && !batch->hidden &&
           batch->n_outputs > 0 && b->choices != NULL &&
           c->values[c->program->logits].where == RAD_CUDA_THERE(b - c->parts);
}

/* To the end, and what is chosen of the logits. */
static radllm_status run_rest(rad_cuda_chain *c, rad_cuda_backend *b, uint32_t first, uint32_t end,
                              const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = run_range(c, b, first, end, cancel, error);
    if (status != RADLLM_OK || !is_choosing(c, b))
        return status;
    status = rad_cuda_run_greatest(b);
    if (status == RADLLM_OK && c->batch->narrows)
        status = rad_cuda_run_candidates(b);
    if (status == RADLLM_OK && c->batch->draws != NULL)
        status = rad_cuda_run_draw(b);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->device, status, error);
}

/* Writes the launches down. A graph that cannot be made is none: the launches are then made. */
static radllm_status capture(rad_cuda_chain *c, rad_cuda_backend *b, uint32_t first, uint32_t end,
                             rad_cuda_replay *replay, radllm_error *error)
{
    radllm_status status = b->device->capture_begin(b->device);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    status = run_rest(c, b, first, end, NULL, error);
    radllm_status ended = b->device->capture_end(b->device, &replay->graph);
    b->tiles_value = -1;       /* nothing of it was run */
    if (status != RADLLM_OK) { /* a part of the step: it must not be replayed as one */
        b->device->graph_free(b->device, replay->graph);
        replay->graph = NULL;
    }
    return status != RADLLM_OK || ended == RADLLM_OK || !b->device->lost
               ? status
               : rad_cuda_failed(b->device, ended, error);
}

/* Operations that are all a device's: by a graph, where such a step came before. What they read is
 * there. */
static radllm_status replay_range(rad_cuda_chain *c, rad_cuda_backend *b, rad_cuda_replay *replay,
                                  uint32_t first, uint32_t end, const radllm_cancel *cancel,
                                  radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    if (!replay->is_new && replay->graph == NULL)
        status = capture(c, b, first, end, replay, error);
    if (status != RADLLM_OK)
        return status;
    replay->is_new = false;
    if (replay->graph == NULL)
        return run_rest(c, b, first, end, cancel, error);
    status = b->device->graph_launch(b->device, replay->graph);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->device, status, error);
    for (uint32_t i = first; i < end; i++) {
        if (c->program->ops[i].kind != RAD_OP_ADAPT)
            note_result(c, b, &c->program->ops[i], true);
    }
    return RADLLM_OK;
}

/* A device's operations, and the CPU's between them, up to the next device's. */
static radllm_status run_part(rad_cuda_chain *c, uint32_t k, uint32_t n,
                              const radllm_cancel *cancel, radllm_error *error)
{
    rad_cuda_backend *b = &c->parts[k];
    uint32_t first = b->first < n ? b->first : n;
    uint32_t end = k + 1 < c->n && c->parts[k + 1].first < n ? c->parts[k + 1].first : n;
    bool nothing = first == end || (c->batch->n_outputs == 0 && c->program->ops[first].per_output);
    radllm_status status = RADLLM_OK;
    if (nothing && k > 0)
        return RADLLM_OK;
    if (k > 0)
        status = follow(b, b - 1, error);
    rad_cuda_replay *replay = rad_cuda_find_replay(b, first, end);
    if (status == RADLLM_OK && (k > 0 || replay != NULL))
        status = bring_all(c, b->needed, b, error);
    if (status != RADLLM_OK)
        return status;
    return replay != NULL ? replay_range(c, b, replay, first, end, cancel, error)
                          : run_rest(c, b, first, end, cancel, error);
}

static radllm_status run_ops(rad_cuda_chain *c, const radllm_cancel *cancel, radllm_error *error)
{
    uint32_t n = c->batch->hidden ? c->program->n_hidden_ops : c->program->n_ops;
    uint32_t first = c->parts[0].first < n ? c->parts[0].first : n;
    radllm_status status = run_range(c, &c->parts[0], 0, first, cancel, error);
    if (status == RADLLM_OK)
        status = rad_cuda_send_batch(c, error);
    for (uint32_t k = 0; k < c->n && status == RADLLM_OK; k++)
        status = run_part(c, k, n, cancel, error);
    return status;
}

/* What the caller reads is brought here, and what went wrong on the way is known then: of each
 * device, before the ones behind it are waited for. */
static radllm_status finish(rad_cuda_chain *c, radllm_error *error)
{
    uint32_t results = VALUE(c->batch->hidden ? c->program->hidden : c->program->logits);
    rad_cuda_backend *last = &c->parts[c->n - 1];
    radllm_status status = RADLLM_OK;
    c->chosen = is_choosing(c, last);
    for (uint32_t k = 0; k + 1 < c->n && status == RADLLM_OK; k++)
        status = wait(&c->parts[k], error);
    if (status == RADLLM_OK && c->batch->n_outputs > 0 && !c->chosen)
        status = bring_all(c, results, NULL, error);
    return status == RADLLM_OK ? wait(last, error) : status;
}

static radllm_status cuda_run(rad_backend *backend, const rad_batch *batch,
                              const radllm_cancel *cancel, radllm_error *error)
{
    rad_cuda_chain *c = (rad_cuda_chain *)backend;
    c->batch = batch;
    c->chosen = false;
    memset(c->values, 0, sizeof c->values);
    for (uint32_t k = 0; k < c->n; k++) {
        c->parts[k].tiles_value = -1;
        c->parts[k].tiles_maker = NULL;
    }
    rad_cuda_lock(c->cuda);
    rad_cuda_tell_batch(c);
    for (uint32_t k = 0; k < c->n; k++)
        rad_cuda_begin_adapters(&c->parts[k]);
    c->library->cpu_begin(c->cpu, batch);
    radllm_status status = run_ops(c, cancel, error);
    if (status == RADLLM_OK)
        status = finish(c, error);
    else /* what is under way still reads what the next run will write */
        for (uint32_t k = 0; k < c->n; k++)
            (void)wait(&c->parts[k], NULL);
    c->library->cpu_end(c->cpu);
    rad_cuda_unlock(c->cuda);
    return status;
}

static const float *cuda_logits(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    return c->library->cpu_logits(c->cpu, index);
}

static int32_t cuda_choice(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    return c->chosen && c->choices[index].failed == 0 ? (int32_t)c->choices[index].token : -1;
}

static rad_best_tokens cuda_best(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    if (!c->chosen || !c->batch->narrows)
        return (rad_best_tokens){NULL, 0, false, 0.0};
    const rad_cuda_candidates *found = &c->candidates[index];
    _Static_assert(sizeof(rad_token_logit) == sizeof(rad_cuda_candidate), "they are the same");
    return (rad_best_tokens){(const rad_token_logit *)(const void *)found->list, found->n,
                             found->all != 0, found->mass};
}

static int32_t cuda_drawn(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    return c->chosen && c->batch->draws != NULL && c->drawn[index].decided != 0
               ? (int32_t)c->drawn[index].token
               : -1;
}

static radllm_status cuda_fetch(rad_backend *backend, uint32_t first, uint32_t n,
                                radllm_error *error)
{
    rad_cuda_chain *c = (rad_cuda_chain *)backend;
    rad_cuda_backend *b = &c->parts[c->n - 1]; /* that has made them */
    uint8_t value = c->program->logits;
    size_t n_vocab = c->program->model->hparams.n_vocab, start = (size_t)first * n_vocab;
    if (!c->chosen)
        return RADLLM_OK;
    rad_cuda_lock(c->cuda);
    radllm_status status = b->device->download(
        b->device, RAD_CUDA_COMPUTE, c->library->cpu_value(c->cpu, value) + start,
        rad_cuda_value(b, value) + start, (uint64_t)n * n_vocab * sizeof(float));
    status = status == RADLLM_OK ? wait(b, error) : rad_cuda_failed(b->device, status, error);
    rad_cuda_unlock(c->cuda);
    return status;
}

static const float *cuda_hidden(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    return c->library->cpu_hidden(c->cpu, index);
}

static radllm_status cuda_reserve_adapters(rad_backend *backend, const rad_adapter_set *set,
                                           radllm_error *error)
{
    rad_cuda_chain *c = (rad_cuda_chain *)backend;
    radllm_status status = c->library->cpu_reserve_adapters(c->cpu, set, error);
    rad_cuda_lock(c->cuda);
    for (uint32_t k = 0; k < c->n && status == RADLLM_OK; k++)
        status = rad_cuda_reserve_adapters(&c->parts[k], set, error);
    rad_cuda_unlock(c->cuda);
    return status;
}

uint64_t rad_cuda_expert_tokens(const rad_backend *backend, uint32_t layer, uint32_t expert)
{
    const rad_cuda_chain *c = (const rad_cuda_chain *)backend;
    uint32_t k = 0;
    while (k + 1 < c->n && c->placement.gpus[k + 1].first_layer <= layer)
        k++;
    const rad_cuda_backend *b = &c->parts[k];
    const uint64_t *there = rad_cuda_at(b, b->layout.expert_tokens);
    uint64_t count = 0;
    rad_cuda_lock(c->cuda);
    radllm_status status = b->device->download(
        b->device, RAD_CUDA_COMPUTE, &count,
        there + (size_t)layer * b->model->hparams.router.n_experts + expert, sizeof count);
    if (status == RADLLM_OK)
        status = b->device->synchronize(b->device, RAD_CUDA_COMPUTE);
    rad_cuda_unlock(c->cuda);
    return status == RADLLM_OK ? count : 0;
}

radllm_status rad_cuda_clear_expert_tokens(rad_backend *backend, radllm_error *error)
{
    rad_cuda_chain *c = (rad_cuda_chain *)backend;
    const rad_hparams *h = &c->program->model->hparams;
    uint64_t bytes = (uint64_t)h->n_layers * h->router.n_experts * sizeof(uint64_t);
    radllm_status status = RADLLM_OK;
    rad_cuda_lock(c->cuda);
    for (uint32_t k = 0; k < c->n && bytes > 0 && status == RADLLM_OK; k++) {
        rad_cuda_backend *b = &c->parts[k];
        status = b->device->fill(b->device, RAD_CUDA_COMPUTE,
                                 rad_cuda_at(b, b->layout.expert_tokens), 0, bytes);
        if (status != RADLLM_OK)
            status = rad_cuda_failed(b->device, status, error);
    }
    rad_cuda_unlock(c->cuda);
    return status;
}

const rad_backend_table rad_cuda_backend_table = {.run = cuda_run,
                                                  .logits = cuda_logits,
                                                  .choice = cuda_choice,
                                                  .best = cuda_best,
                                                  .drawn = cuda_drawn,
                                                  .fetch = cuda_fetch,
                                                  .reserve_adapters = cuda_reserve_adapters,
                                                  .hidden = cuda_hidden,
                                                  .free = rad_cuda_free_backend};
