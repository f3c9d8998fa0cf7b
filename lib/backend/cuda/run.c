/* The backend: runs a program's operations in their order, each on the device or on the CPU, and
 * brings values from one to the other where that changes. */
#include "backend/cuda/operations.h"

#include <string.h>

/* ---- what operations read and write ---------------------------------------------------------- */

#define VALUE(v) (1u << (v))

/* Values that must be up to date, as a set. */
static uint32_t read_by(const rad_cuda_backend *b, const rad_op *op)
{
    bool sinks = op->kind == RAD_OP_ATTEND && b->cache->layers[op->layer].reach.sinks > 0;
    switch (op->kind) {
    case RAD_OP_EMBED:
    case RAD_OP_ROTARY_TABLE:
        return 0;
    case RAD_OP_POSITIONS:
    case RAD_OP_HEAD_NORM:
    case RAD_OP_GELU:
    case RAD_OP_CLAMP:
    case RAD_OP_SOFT_CAP:
        return VALUE(op->out);
    case RAD_OP_ADAPT:
        return VALUE(op->out) | VALUE(op->in);
    case RAD_OP_NORM:
    case RAD_OP_PRODUCT:
    case RAD_OP_SELECT:
    case RAD_OP_ROUTE:
    case RAD_OP_EXPERT_PRODUCT:
        return VALUE(op->in);
    case RAD_OP_ATTEND:
        return VALUE(op->in) | (sinks ? VALUE(op->other) : 0);
    case RAD_OP_ROTATE:
    case RAD_OP_STORE:
    case RAD_OP_GATED:
    case RAD_OP_ADD:
    case RAD_OP_COMBINE:
        return VALUE(op->in) | VALUE(op->other);
    case RAD_OP_ADD_GATED:
        return VALUE(op->in) | VALUE(op->other) | VALUE(op->out);
    case RAD_OP_COPY: /* other parts of the row stay as they are, where there are any yet */
    case RAD_OP_HEAD_PRODUCT:
        return VALUE(op->in) | (b->values[op->out].where != 0 ? VALUE(op->out) : 0);
    }
    return 0;
}

/* Floats of a row of what it writes. */
static uint64_t written_width(const rad_cuda_backend *b, const rad_op *op)
{
    if (op->kind == RAD_OP_COPY || op->kind == RAD_OP_HEAD_PRODUCT)
        return op->to.row;
    if (op->kind == RAD_OP_EXPERT_PRODUCT)
        return (uint64_t)op->width * b->model->hparams.router.n_used;
    return op->width;
}

/* ---- bringing values over -------------------------------------------------------------------- */

static radllm_status wait(rad_cuda_backend *b)
{
    b->under_way = false;
    return b->device->synchronize(b->device, RAD_CUDA_COMPUTE);
}

static radllm_status bring(rad_cuda_backend *b, uint8_t value, bool to_device, radllm_error *error)
{
    uint64_t bytes = b->values[value].floats * sizeof(float);
    float *here = b->library->cpu_value(b->cpu, value), *there = rad_cuda_value(b, value);
    radllm_status status;
    if (to_device) {
        status = b->device->upload(b->device, RAD_CUDA_COMPUTE, there, here, bytes);
        b->under_way = true;
    } else {
        status = b->device->download(b->device, RAD_CUDA_COMPUTE, here, there, bytes);
        if (status == RADLLM_OK)
            status = wait(b);
        b->library->cpu_changed(b->cpu, value);
    }
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    b->values[value].where = RAD_CUDA_HERE | RAD_CUDA_THERE;
    return RADLLM_OK;
}

/* Values that nobody wrote in this run may be named by operations that pass over them. */
static radllm_status bring_all(rad_cuda_backend *b, uint32_t set, bool to_device,
                               radllm_error *error)
{
    uint32_t wanted = to_device ? RAD_CUDA_THERE : RAD_CUDA_HERE;
    radllm_status status = RADLLM_OK;
    for (uint8_t v = 0; v < b->program->n_values && status == RADLLM_OK; v++) {
        if ((set & VALUE(v)) != 0 && b->values[v].where != 0 && (b->values[v].where & wanted) == 0)
            status = bring(b, v, to_device, error);
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
static void note_result(rad_cuda_backend *b, const rad_op *op, bool on_device)
{
    if (op->kind == RAD_OP_STORE)
        return;
    if (op->out == b->tiles_value && op != b->tiles_maker)
        b->tiles_value = -1;
    b->values[op->out].where = on_device ? RAD_CUDA_THERE : RAD_CUDA_HERE;
    b->values[op->out].floats = rad_cuda_rows(b, op) * written_width(b, op);
}

static radllm_status run_op(rad_cuda_backend *b, const rad_op *op, bool on_device,
                            radllm_error *error)
{
    radllm_status status = bring_all(b, read_by(b, op), on_device, error);
    if (status != RADLLM_OK)
        return status;
    if (on_device) {
        status = rad_cuda_run_op(b, op);
        if (status != RADLLM_OK)
            return rad_cuda_failed(b->cuda, status, error);
    } else {
        if (b->under_way && (status = wait(b)) != RADLLM_OK)
            return rad_cuda_failed(b->cuda, status, error);
        status = b->library->cpu_run_op(b->cpu, op, error);
        if (status != RADLLM_OK)
            return status;
    }
    note_result(b, op, on_device);
    return RADLLM_OK;
}

/* Products from operation *at on that read the same input, with nothing between them but adapters,
 * which no row has. *at becomes the last one's. */
static uint32_t find_joined(const rad_cuda_backend *b, uint32_t *at, uint32_t end,
                            const rad_op *joined[RAD_CUDA_PRODUCT_PARTS])
{
    uint32_t n = 0;
    for (uint32_t i = *at; i < end && n < RAD_CUDA_PRODUCT_PARTS; i++) {
        const rad_op *op = &b->program->ops[i];
        if (op->kind == RAD_OP_ADAPT)
            continue;
        if (op->kind != RAD_OP_PRODUCT || !b->on_device[i] ||
            (n > 0 && !rad_cuda_can_join(b, joined[0], op)))
            break;
        joined[n++] = op;
        *at = i;
    }
    return n;
}

static radllm_status run_joined(rad_cuda_backend *b, const rad_op *const *joined, uint32_t n,
                                radllm_error *error)
{
    radllm_status status = bring_all(b, read_by(b, joined[0]), true, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_cuda_run_products(b, joined, n);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    for (uint32_t i = 0; i < n; i++)
        note_result(b, joined[i], true);
    return RADLLM_OK;
}

static radllm_status run_fused(rad_cuda_backend *b, const rad_op *ops, uint32_t n,
                               radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++)
        status = bring_all(b, read_by(b, &ops[i]), true, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_cuda_run_fused(b, ops);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    for (uint32_t i = 0; i < n; i++)
        note_result(b, &ops[i], true);
    return RADLLM_OK;
}

/* One operation, or several that are one launch; *at becomes the last one's. */
static radllm_status run_next(rad_cuda_backend *b, uint32_t *at, uint32_t end, bool adapters,
                              radllm_error *error)
{
    const rad_op *op = &b->program->ops[*at], *joined[RAD_CUDA_PRODUCT_PARTS];
    uint32_t n_fused = rad_cuda_fused(b, *at, end);
    uint32_t n = adapters || n_fused > 1 ? 0 : find_joined(b, at, end, joined);
    if (n_fused > 1) {
        *at += n_fused - 1;
        return run_fused(b, op, n_fused, error);
    }
    if (n > 0)
        return run_joined(b, joined, n, error);
    return op->kind != RAD_OP_ADAPT || adapters ? run_op(b, op, b->on_device[*at], error)
                                                : RADLLM_OK;
}

/* ---- experts in main memory ------------------------------------------------------------------ */

/* The operations from ROUTE to COMBINE, which the CPU computes, and those behind them that the
 * device can compute meanwhile: the shared expert. */
typedef struct mixture {
    uint32_t first, combine, end;
    uint32_t inputs; /* values of the device that the CPU reads, as a set */
} mixture;

static bool find_mixture(const rad_cuda_backend *b, uint32_t first, uint32_t end, mixture *m)
{
    const rad_op *ops = b->program->ops;
    uint32_t written = 0, i = first;
    *m = (mixture){.first = first};
    if (ops[first].kind != RAD_OP_ROUTE || b->on_device[first] ||
        (b->values[ops[first].in].where & RAD_CUDA_HERE) != 0)
        return false;
    for (; i < end && ops[i].kind != RAD_OP_COMBINE; i++) {
        if (ops[i].kind == RAD_OP_ADAPT)
            continue;
        m->inputs |= read_by(b, &ops[i]) & ~written;
        written |= VALUE(ops[i].out);
    }
    if (i == end)
        return false;
    m->combine = i;
    m->inputs |= read_by(b, &ops[i]) & ~written;
    written |= VALUE(ops[i].out);
    for (m->end = i + 1; m->end < end && b->on_device[m->end]; m->end++) {
        const rad_op *op = &ops[m->end];
        if (op->kind != RAD_OP_ADAPT &&
            ((read_by(b, op) & written) != 0 || (m->inputs & VALUE(op->out)) != 0))
            break;
        if (op->kind != RAD_OP_ADAPT) /* the device's, from here on */
            written &= ~VALUE(op->out);
    }
    return true;
}

/* What the CPU reads is on its way to pinned memory, and behind it the device goes on. */
static radllm_status begin_mixture(rad_cuda_backend *b, const mixture *m)
{
    rad_cuda_device *device = b->device;
    radllm_status status = RADLLM_OK;
    for (uint8_t v = 0; v < b->program->n_values && status == RADLLM_OK; v++) {
        if ((m->inputs & VALUE(v)) != 0 && b->values[v].where == RAD_CUDA_THERE)
            status = device->download(device, RAD_CUDA_COMPUTE, b->library->cpu_value(b->cpu, v),
                                      rad_cuda_value(b, v), b->values[v].floats * sizeof(float));
    }
    if (status == RADLLM_OK)
        status = device->event_record(device, b->arrived, RAD_CUDA_COMPUTE);
    b->under_way = false; /* when that is reached */
    return status;
}

static radllm_status await_mixture(rad_cuda_backend *b, const mixture *m)
{
    radllm_status status = b->device->event_wait(b->device, b->arrived);
    for (uint8_t v = 0; v < b->program->n_values && status == RADLLM_OK; v++) {
        if ((m->inputs & VALUE(v)) == 0 || b->values[v].where == 0)
            continue;
        if (b->values[v].where == RAD_CUDA_THERE)
            b->library->cpu_changed(b->cpu, v);
        b->values[v].where |= RAD_CUDA_HERE;
    }
    return status;
}

/* The device's and the CPU's memory of a value are two, so that what both write stands in its own
 * place, and in the program's order the device's is the later one. */
static radllm_status run_mixture(rad_cuda_backend *b, const mixture *m, radllm_error *error)
{
    const rad_op *ops = b->program->ops;
    radllm_status status = begin_mixture(b, m);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    for (uint32_t i = m->combine + 1; i < m->end && status == RADLLM_OK; i++)
        status = run_next(b, &i, m->end, false, error);
    if (status != RADLLM_OK)
        return status;
    status = await_mixture(b, m);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    for (uint32_t i = m->first; i <= m->combine && status == RADLLM_OK; i++) {
        if (ops[i].kind != RAD_OP_ADAPT)
            status = run_op(b, &ops[i], false, error);
    }
    for (uint32_t i = m->combine + 1; i < m->end && status == RADLLM_OK; i++) {
        if (ops[i].kind != RAD_OP_ADAPT)
            note_result(b, &ops[i], true);
    }
    return status;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static radllm_status run_range(rad_cuda_backend *b, uint32_t first, uint32_t end,
                               const radllm_cancel *cancel, radllm_error *error)
{
    bool adapters = has_adapters(b->batch);
    radllm_status status = RADLLM_OK;
    mixture m;
    for (uint32_t i = first; i < end && status == RADLLM_OK; i++) {
        if (rad_cancelled(cancel))
            return rad_fail(error, RADLLM_E_CANCELLED, "the computation was cancelled");
        if (b->program->ops[i].per_output && b->batch->n_outputs == 0)
            break;
        if (!adapters && b->arrived != NULL && find_mixture(b, i, end, &m)) {
            status = run_mixture(b, &m, error);
            i = m.end - 1;
        } else {
            status = run_next(b, &i, end, adapters, error);
        }
    }
    return status;
}

/* Whether the most likely tokens are wanted of a batch whose logits have just been made. */
static bool is_choosing(const rad_cuda_backend *b)
{
    const rad_batch *batch = b->batch;
    return (batch->chooses || batch->narrows) && !batch->hidden && batch->n_outputs > 0 &&
           b->choices != NULL && b->values[b->program->logits].where == RAD_CUDA_THERE;
}

/* To the end, and what is chosen of the logits. */
static radllm_status run_rest(rad_cuda_backend *b, uint32_t first, uint32_t end,
                              const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = run_range(b, first, end, cancel, error);
    if (status != RADLLM_OK || !is_choosing(b))
        return status;
    status = rad_cuda_run_greatest(b);
    if (status == RADLLM_OK && b->batch->narrows)
        status = rad_cuda_run_candidates(b);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->cuda, status, error);
}

/* Writes the launches down. A graph that cannot be made is none: the launches are then made. */
static radllm_status capture(rad_cuda_backend *b, uint32_t first, uint32_t end,
                             rad_cuda_replay *replay, radllm_error *error)
{
    radllm_status status = b->device->capture_begin(b->device);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    status = run_rest(b, first, end, NULL, error);
    radllm_status ended = b->device->capture_end(b->device, &replay->graph);
    b->tiles_value = -1; /* nothing of it was run */
    return status != RADLLM_OK || ended == RADLLM_OK || !b->device->lost
               ? status
               : rad_cuda_failed(b->cuda, ended, error);
}

/* Operations that are the device's from here to the end: by a graph, where such a step came before.
 */
static radllm_status replay_range(rad_cuda_backend *b, uint32_t first, uint32_t end,
                                  const radllm_cancel *cancel, radllm_error *error)
{
    rad_cuda_replay *replay = rad_cuda_find_replay(b);
    radllm_status status = bring_all(b, UINT32_MAX, true, error);
    if (status == RADLLM_OK && !replay->is_new && replay->graph == NULL)
        status = capture(b, first, end, replay, error);
    if (status != RADLLM_OK)
        return status;
    replay->is_new = false;
    if (replay->graph == NULL)
        return run_rest(b, first, end, cancel, error);
    status = b->device->graph_launch(b->device, replay->graph);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    for (uint32_t i = first; i < end; i++) {
        if (b->program->ops[i].kind != RAD_OP_ADAPT)
            note_result(b, &b->program->ops[i], true);
    }
    return RADLLM_OK;
}

static radllm_status run_ops(rad_cuda_backend *b, const radllm_cancel *cancel, radllm_error *error)
{
    uint32_t n = b->batch->hidden ? b->program->n_hidden_ops : b->program->n_ops;
    uint32_t first = b->first < n ? b->first : n;
    radllm_status status = run_range(b, 0, first, cancel, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_cuda_send_batch(b);
    if (status != RADLLM_OK)
        return rad_cuda_failed(b->cuda, status, error);
    return !has_adapters(b->batch) && rad_cuda_can_replay(b, first, n)
               ? replay_range(b, first, n, cancel, error)
               : run_rest(b, first, n, cancel, error);
}

/* What the caller reads is brought here, and what went wrong on the way is known then. */
static radllm_status finish(rad_cuda_backend *b, radllm_error *error)
{
    uint32_t results = VALUE(b->batch->hidden ? b->program->hidden : b->program->logits);
    radllm_status status = RADLLM_OK;
    b->chosen = is_choosing(b);
    if (b->batch->n_outputs > 0 && !b->chosen)
        status = bring_all(b, results, false, error);
    if (status == RADLLM_OK) {
        status = wait(b);
        if (status != RADLLM_OK)
            status = rad_cuda_failed(b->cuda, status, error);
    }
    return status;
}

static radllm_status cuda_run(rad_backend *backend, const rad_batch *batch,
                              const radllm_cancel *cancel, radllm_error *error)
{
    rad_cuda_backend *b = (rad_cuda_backend *)backend;
    b->batch = batch;
    b->chosen = false;
    b->tiles_value = -1;
    b->tiles_maker = NULL;
    memset(b->values, 0, sizeof b->values);
    pthread_mutex_lock(&b->cuda->mutex);
    rad_cuda_tell_batch(b);
    b->library->cpu_begin(b->cpu, batch);
    radllm_status status = run_ops(b, cancel, error);
    if (status == RADLLM_OK)
        status = finish(b, error);
    else /* what is under way still reads what the next run will write */
        (void)wait(b);
    b->library->cpu_end(b->cpu);
    pthread_mutex_unlock(&b->cuda->mutex);
    return status;
}

static const float *cuda_logits(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_backend *b = (const rad_cuda_backend *)backend;
    return b->library->cpu_logits(b->cpu, index);
}

static int32_t cuda_choice(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_backend *b = (const rad_cuda_backend *)backend;
    return b->chosen && b->choices[index].failed == 0 ? (int32_t)b->choices[index].token : -1;
}

static uint32_t cuda_best(const rad_backend *backend, uint32_t index, const rad_token_logit **list,
                          bool *all)
{
    const rad_cuda_backend *b = (const rad_cuda_backend *)backend;
    if (!b->chosen || !b->batch->narrows)
        return 0;
    const rad_cuda_candidates *found = &b->candidates[index];
    _Static_assert(sizeof(rad_token_logit) == sizeof(rad_cuda_candidate), "they are the same");
    *list = (const rad_token_logit *)(const void *)found->list;
    *all = found->all != 0;
    return found->n;
}

static radllm_status cuda_fetch(rad_backend *backend, uint32_t first, uint32_t n,
                                radllm_error *error)
{
    rad_cuda_backend *b = (rad_cuda_backend *)backend;
    uint8_t value = b->program->logits;
    size_t start = (size_t)first * b->model->hparams.n_vocab;
    if (!b->chosen)
        return RADLLM_OK;
    pthread_mutex_lock(&b->cuda->mutex);
    radllm_status status = b->device->download(
        b->device, RAD_CUDA_COMPUTE, b->library->cpu_value(b->cpu, value) + start,
        rad_cuda_value(b, value) + start, (uint64_t)n * b->model->hparams.n_vocab * sizeof(float));
    if (status == RADLLM_OK)
        status = wait(b);
    if (status != RADLLM_OK)
        status = rad_cuda_failed(b->cuda, status, error);
    pthread_mutex_unlock(&b->cuda->mutex);
    return status;
}

static const float *cuda_hidden(const rad_backend *backend, uint32_t index)
{
    const rad_cuda_backend *b = (const rad_cuda_backend *)backend;
    return b->library->cpu_hidden(b->cpu, index);
}

static radllm_status cuda_reserve_adapters(rad_backend *backend, uint32_t rank, radllm_error *error)
{
    rad_cuda_backend *b = (rad_cuda_backend *)backend;
    return b->library->cpu_reserve_adapters(b->cpu, rank, error);
}

uint64_t rad_cuda_expert_tokens(const rad_backend *backend, uint32_t layer, uint32_t expert)
{
    const rad_cuda_backend *b = (const rad_cuda_backend *)backend;
    const uint64_t *there = rad_cuda_at(b, b->layout.expert_tokens);
    uint64_t count = 0;
    pthread_mutex_lock(&b->cuda->mutex);
    radllm_status status = b->device->download(
        b->device, RAD_CUDA_COMPUTE, &count,
        there + (size_t)layer * b->model->hparams.router.n_experts + expert, sizeof count);
    if (status == RADLLM_OK)
        status = b->device->synchronize(b->device, RAD_CUDA_COMPUTE);
    pthread_mutex_unlock(&b->cuda->mutex);
    return status == RADLLM_OK ? count : 0;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static void free_device_memory(rad_cuda_backend *b)
{
    rad_cuda_device *device = b->device;
    pthread_mutex_lock(&b->cuda->mutex);
    rad_cuda_free_replays(b);
    if (b->memory != NULL) { /* what is freed can be read by who takes it next */
        (void)device->fill(device, RAD_CUDA_COMPUTE, b->memory, 0, b->layout.total);
        (void)device->free(device, b->memory);
    }
    if (b->weight_memory != NULL)
        (void)device->free(device, b->weight_memory);
    if (b->staging != NULL) {
        rad_wipe(b->staging, b->staging_bytes);
        (void)device->host_free(device, b->staging);
    }
    if (b->results != NULL) {
        rad_wipe(b->results, b->results_bytes);
        (void)device->host_free(device, b->results);
    }
    if (b->choices != NULL) {
        rad_wipe(b->choices, b->settings.max_outputs * sizeof *b->choices);
        (void)device->host_free(device, b->choices);
    }
    if (b->candidates != NULL) {
        rad_wipe(b->candidates, b->settings.max_outputs * sizeof *b->candidates);
        (void)device->host_free(device, b->candidates);
    }
    if (b->crossing != NULL) {
        rad_wipe(b->crossing, b->crossing_bytes);
        (void)device->host_free(device, b->crossing);
    }
    if (b->arrived != NULL)
        device->event_free(device, b->arrived);
    pthread_mutex_unlock(&b->cuda->mutex);
}

static void cuda_free(rad_backend *backend)
{
    rad_cuda_backend *b = (rad_cuda_backend *)backend;
    rad_allocator allocator = b->cuda->host.allocator;
    for (uint32_t v = 0; v < b->program->n_values; v++)
        b->library->cpu_lend(b->cpu, (uint8_t)v, NULL);
    if (b->cuda->process == rad_process_id())
        free_device_memory(b);
    rad_free(&allocator, b->on_device, b->program->n_ops * sizeof *b->on_device);
    rad_free(&allocator, b->weights, b->model->n_weights * sizeof *b->weights);
    rad_free(&allocator, b, sizeof *b);
}

static const rad_backend_table cuda_table = {.run = cuda_run,
                                             .logits = cuda_logits,
                                             .choice = cuda_choice,
                                             .best = cuda_best,
                                             .fetch = cuda_fetch,
                                             .reserve_adapters = cuda_reserve_adapters,
                                             .hidden = cuda_hidden,
                                             .free = cuda_free};

/* What the host reads goes from the device to pinned memory, where it stands as the CPU's value. */
static void lend_results(rad_cuda_backend *b)
{
    uint64_t used = 0;
    for (uint32_t v = 0; v < b->program->n_values; v++) {
        if (!rad_cuda_is_result(b->program, b->on_device, v))
            continue;
        b->library->cpu_lend(b->cpu, (uint8_t)v, b->results + used / sizeof(float));
        used += rad_cuda_value_bytes(b->program, &b->settings, v);
    }
}

/* What experts in main memory read and give, so that copies of it need no waiting. */
static radllm_status take_crossing(rad_cuda_backend *b)
{
    uint32_t set = rad_cuda_crossing(b->program, b->on_device);
    uint64_t used = 0;
    void *memory = NULL;
    if (set == 0)
        return RADLLM_OK;
    b->crossing_bytes = rad_cuda_crossing_bytes(b->program, &b->settings, b->on_device);
    radllm_status status = b->device->host_alloc(b->device, b->crossing_bytes, &memory);
    b->crossing = memory;
    for (uint32_t v = 0; v < b->program->n_values && status == RADLLM_OK; v++) {
        if ((set & VALUE(v)) == 0)
            continue;
        b->library->cpu_lend(b->cpu, (uint8_t)v, b->crossing + used / sizeof(float));
        used += rad_cuda_value_bytes(b->program, &b->settings, v);
    }
    return status == RADLLM_OK ? b->device->event_new(b->device, &b->arrived) : status;
}

static radllm_status take_memory(rad_cuda_backend *b, radllm_error *error)
{
    rad_cuda_device *device = b->device;
    void *memory = NULL, *staging = NULL, *results = NULL, *choices = NULL;
    void *candidates = NULL;
    b->staging_bytes = rad_cuda_staging_bytes(&b->layout);
    b->results_bytes = rad_cuda_results_bytes(b->program, &b->settings, b->on_device);
    radllm_status status = device->alloc(device, b->layout.total, &memory);
    b->memory = memory;
    if (status == RADLLM_OK)
        status = device->host_alloc(device, b->staging_bytes, &staging);
    b->staging = staging;
    if (status == RADLLM_OK)
        status = device->host_alloc(device, b->results_bytes, &results);
    b->results = results;
    if (status == RADLLM_OK && results != NULL)
        lend_results(b);
    if (status == RADLLM_OK)
        status = device->host_alloc(
            device, rad_cuda_choices_bytes(b->program, &b->settings, b->on_device), &choices);
    b->choices = choices;
    if (status == RADLLM_OK)
        status = device->host_alloc(
            device, rad_cuda_candidates_bytes(b->program, &b->settings, b->on_device), &candidates);
    b->candidates = candidates;
    if (status == RADLLM_OK)
        status = take_crossing(b);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->cuda, status, error);
}

/* Slopes of ALiBi by layer; the numbers of slots. */
static radllm_status fill_tables(rad_cuda_backend *b, radllm_error *error)
{
    const rad_hparams *h = &b->model->hparams;
    uint64_t n_slopes = h->max_alibi_bias > 0.0f ? (uint64_t)h->n_layers * h->max_heads : 0;
    uint64_t n_slots = (uint64_t)b->settings.max_tokens * h->router.n_used;
    n_slots = n_slots > h->max_heads ? n_slots : h->max_heads; /* heads are slots as well */
    uint64_t bytes = 4 * (n_slopes > n_slots ? n_slopes : n_slots);
    const rad_allocator *allocator = &b->cuda->host.allocator;
    void *memory = rad_alloc_zero(allocator, (size_t)bytes);
    float *slopes = memory;
    uint32_t *slots = memory;
    if (memory == NULL)
        return rad_fail_memory(error, (size_t)bytes);
    for (uint32_t l = 0; n_slopes > 0 && l < h->n_layers; l++) {
        for (uint32_t i = 0; i < h->layers[l].n_heads; i++)
            slopes[(size_t)l * h->max_heads + i] =
                b->library->alibi_slope(h->max_alibi_bias, h->layers[l].n_heads, i);
    }
    radllm_status status = b->device->upload(
        b->device, RAD_CUDA_COMPUTE, rad_cuda_at(b, b->layout.slopes), slopes, 4 * n_slopes);
    for (uint32_t i = 0; i < n_slots; i++)
        slots[i] = i;
    if (status == RADLLM_OK)
        status = b->device->upload(b->device, RAD_CUDA_COMPUTE,
                                   rad_cuda_at(b, b->layout.slot_itself), slots, 4 * n_slots);
    rad_free(allocator, memory, (size_t)bytes);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->cuda, status, error);
}

static radllm_status clear_memory(rad_cuda_backend *b, radllm_error *error)
{
    radllm_status status =
        b->device->fill(b->device, RAD_CUDA_COMPUTE, b->memory, 0, b->layout.total);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->cuda, status, error);
}

static radllm_status fill_backend(rad_cuda_backend *b, const radllm_cancel *cancel,
                                  radllm_error *error)
{
    const rad_allocator *allocator = &b->cuda->host.allocator;
    rad_cuda_means means = {b->model, &b->cache->plan, &b->device->properties, b->library};
    size_t flags = b->program->n_ops * sizeof *b->on_device;
    size_t weights = b->model->n_weights * sizeof *b->weights;
    b->on_device = rad_alloc(allocator, flags);
    b->weights = rad_alloc_zero(allocator, weights);
    if (b->on_device == NULL || b->weights == NULL)
        return rad_fail_memory(error, flags + weights);
    rad_cuda_divide(&means, b->program, &b->placement, b->on_device);
    while (b->first < b->program->n_ops && !b->on_device[b->first])
        b->first++;
    b->inputs = rad_cuda_inputs(b->program);
    if (!rad_cuda_lay_out(&means, b->program, &b->settings, &b->layout))
        return rad_fail_memory(error, SIZE_MAX);
    pthread_mutex_lock(&b->cuda->mutex);
    radllm_status status = take_memory(b, error);
    if (status == RADLLM_OK)
        status = rad_cuda_upload(b, cancel, error);
    if (status == RADLLM_OK) /* what nobody computed is never told, but may be read */
        status = clear_memory(b, error);
    if (status == RADLLM_OK)
        status = fill_tables(b, error);
    pthread_mutex_unlock(&b->cuda->mutex);
    return status;
}

radllm_status rad_cuda_create_backend(rad_cuda *cuda, const rad_cuda_placement *placement,
                                      const rad_program *program, const rad_cache *cache,
                                      const rad_backend_settings *settings, rad_backend *cpu,
                                      const radllm_cancel *cancel, rad_backend **out,
                                      radllm_error *error)
{
    rad_cuda_backend *b = rad_alloc_zero(&cuda->host.allocator, sizeof *b);
    if (b == NULL)
        return rad_fail_memory(error, sizeof *b);
    b->base.table = &cuda_table;
    b->cuda = cuda;
    b->device = cuda->device;
    b->library = cuda->library;
    b->program = program;
    b->model = program->model;
    b->cache = cache;
    b->cpu = cpu;
    b->settings = *settings;
    b->placement = *placement;
    radllm_status status = fill_backend(b, cancel, error);
    if (status != RADLLM_OK) {
        cuda_free(&b->base);
        return status;
    }
    *out = &b->base;
    return RADLLM_OK;
}
