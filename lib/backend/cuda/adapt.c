/* Adapters on devices. Their matrices stand there beside the weights, and what they add to a
 * product are two products in the CPU's order, which have the CPU's bits: so an adapter that has no
 * room there, or that changes something the device does not compute, is the CPU's in silence. */
#include "backend/cuda/operations.h"

#include <string.h>

/* Runs behind which a copy that none of them used makes room for another one, and behind which one
 * that had no room is tried again. */
#define MOST_UNUSED_RUNS 100

/* ---- matrices -------------------------------------------------------------------------------- */

/* What a token has of results of products with A, at most: with experts one for each of its. */
static uint32_t set_width(const rad_hparams *hparams, const rad_adapter_set *set)
{
    uint32_t width = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        const rad_adapter *adapter = set->uses[i].adapter;
        uint32_t of = adapter->rank * (adapter->n_expert_pairs > 0 ? hparams->router.n_used : 1);
        width = of > width ? of : width;
    }
    return width;
}

static uint64_t hidden_bytes(const rad_backend_settings *settings, uint32_t width)
{
    return rad_cuda_aligned((uint64_t)settings->max_tokens * width * sizeof(float));
}

/* Behind an adapter's matrices, where it changes experts: all its pairs, and the pair of each slot.
 */
static uint64_t pairs_bytes(const rad_adapter *adapter)
{
    return adapter->n_expert_pairs > 0
               ? rad_cuda_aligned(adapter->n_pairs * sizeof(rad_cuda_expert_pair))
               : 0;
}

static uint64_t table_bytes(const rad_adapter *adapter)
{
    return adapter->n_expert_pairs > 0
               ? pairs_bytes(adapter) + rad_cuda_aligned(adapter->n_slots * sizeof(uint32_t))
               : 0;
}

static uint64_t copy_bytes(const rad_adapter *adapter)
{
    return rad_cuda_aligned(adapter->data_bytes) + table_bytes(adapter);
}

uint64_t rad_cuda_adapter_bytes(const rad_hparams *hparams, const rad_backend_settings *settings)
{
    const rad_adapter_set *set = settings->adapters;
    uint64_t bytes = 0;
    if (set == NULL)
        return 0;
    for (uint32_t i = 0; i < set->n; i++)
        bytes += copy_bytes(set->uses[i].adapter);
    return bytes + hidden_bytes(settings, set_width(hparams, set));
}

static rad_cuda_adapter *find(rad_cuda_backend *b, const rad_adapter *adapter)
{
    for (uint32_t i = 0; i < RAD_CUDA_ADAPTERS; i++) {
        rad_cuda_adapter *copy = &b->adapters[i];
        if (copy->data != NULL && copy->id == adapter->id)
            return copy;
    }
    return NULL;
}

/* Graphs have addresses of what is given back in them. */
static radllm_status give_back(rad_cuda_backend *b, uint8_t **memory, uint64_t bytes)
{
    uint8_t *freed = *memory;
    if (freed == NULL)
        return RADLLM_OK;
    rad_cuda_forget_replays(b);
    *memory = NULL;
    b->adapter_bytes -= bytes;
    return b->device->free(b->device, freed);
}

/* Of those that are not in the set, and that no run of the last ones used. */
static radllm_status make_room(rad_cuda_backend *b, const rad_adapter_set *set)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < RAD_CUDA_ADAPTERS && status == RADLLM_OK; i++) {
        rad_cuda_adapter *copy = &b->adapters[i];
        bool wanted = copy->data == NULL || b->n_runs - copy->used < MOST_UNUSED_RUNS;
        for (uint32_t k = 0; k < set->n && !wanted; k++)
            wanted = set->uses[k].adapter->id == copy->id;
        if (!wanted)
            status = give_back(b, &copy->data, copy->bytes);
    }
    return status;
}

/* Device memory inside the limit; *out stays NULL where there is none. */
static radllm_status take(rad_cuda_backend *b, uint64_t bytes, uint8_t **out)
{
    void *memory = NULL;
    *out = NULL;
    if (bytes > b->adapter_limit || b->adapter_bytes > b->adapter_limit - bytes)
        return RADLLM_OK;
    radllm_status status = b->device->alloc(b->device, bytes, &memory);
    if (status == RADLLM_OK) {
        *out = memory;
        b->adapter_bytes += bytes;
    }
    return status == RADLLM_E_MEMORY ? RADLLM_OK : status;
}

/* What is freed can be read by who takes it next. */
static radllm_status free_hidden(rad_cuda_backend *b)
{
    uint64_t bytes = hidden_bytes(&b->settings, b->adapter_width);
    if (b->adapter_hidden != NULL)
        (void)b->device->fill(b->device, RAD_CUDA_COMPUTE, b->adapter_hidden, 0, bytes);
    return give_back(b, &b->adapter_hidden, bytes);
}

/* The results of products with A, for all tokens of a step. */
static radllm_status reserve_hidden(rad_cuda_backend *b, uint32_t width)
{
    if (width <= b->adapter_width)
        return RADLLM_OK;
    uint8_t *larger;
    radllm_status status = take(b, hidden_bytes(&b->settings, width), &larger);
    if (status != RADLLM_OK || larger == NULL)
        return status;
    status = free_hidden(b);
    b->adapter_hidden = larger;
    b->adapter_width = width;
    return status;
}

static uint32_t kind_of(rad_type type)
{
    return type == RAD_TYPE_F16    ? RAD_CUDA_ADAPT_F16
           : type == RAD_TYPE_BF16 ? RAD_CUDA_ADAPT_BF16
                                   : RAD_CUDA_ADAPT_F32;
}

static void write_table(const rad_adapter *adapter, uint8_t *table)
{
    rad_cuda_expert_pair *pairs = (rad_cuda_expert_pair *)(void *)table;
    for (uint32_t i = 0; i < adapter->n_pairs; i++) {
        const rad_adapter_pair *pair = &adapter->pairs[i];
        pairs[i] = (rad_cuda_expert_pair){.a = (uint64_t)(pair->a.data - adapter->data),
                                          .b = (uint64_t)(pair->b.data - adapter->data),
                                          .scale = pair->scale,
                                          .rank = pair->b.n_columns,
                                          .b_rows = pair->b.n_rows,
                                          .a_type = kind_of(pair->a.type),
                                          .b_type = kind_of(pair->b.type)};
    }
    memcpy(table + pairs_bytes(adapter), adapter->slots, adapter->n_slots * sizeof(uint32_t));
}

static radllm_status upload_table(rad_cuda_backend *b, const rad_adapter *adapter, uint8_t *to)
{
    const rad_allocator *allocator = &b->cuda->host.allocator;
    const size_t bytes = (size_t)table_bytes(adapter);
    uint8_t *table = bytes > 0 ? rad_alloc_zero(allocator, bytes) : NULL;
    if (table == NULL)
        return bytes > 0 ? RADLLM_E_MEMORY : RADLLM_OK;
    write_table(adapter, table);
    radllm_status status = b->device->upload(b->device, RAD_CUDA_COPY, to, table, bytes);
    if (status == RADLLM_OK)
        status = b->device->synchronize(b->device, RAD_CUDA_COPY);
    rad_free(allocator, table, bytes);
    return status;
}

static radllm_status copy_over(rad_cuda_backend *b, const rad_adapter *adapter)
{
    uint32_t place = 0;
    uint64_t bytes = copy_bytes(adapter);
    radllm_status status = RADLLM_OK;
    while (place < RAD_CUDA_ADAPTERS && b->adapters[place].data != NULL)
        place++;
    if (place == RAD_CUDA_ADAPTERS || bytes == 0)
        return RADLLM_OK;
    rad_cuda_adapter *copy = &b->adapters[place];
    *copy = (rad_cuda_adapter){.id = adapter->id, .bytes = bytes, .used = b->n_runs};
    status = take(b, bytes, &copy->data);
    if (status != RADLLM_OK || copy->data == NULL)
        return status;
    status =
        b->device->upload(b->device, RAD_CUDA_COPY, copy->data, adapter->data, adapter->data_bytes);
    if (status == RADLLM_OK)
        status = b->device->synchronize(b->device, RAD_CUDA_COPY);
    if (status == RADLLM_OK)
        status = upload_table(b, adapter, copy->data + rad_cuda_aligned(adapter->data_bytes));
    if (status != RADLLM_OK)
        (void)give_back(b, &copy->data, bytes);
    return status;
}

radllm_status rad_cuda_reserve_adapters(rad_cuda_backend *b, const rad_adapter_set *set,
                                        radllm_error *error)
{
    radllm_status status = make_room(b, set);
    if (status == RADLLM_OK)
        status = reserve_hidden(b, set_width(&b->model->hparams, set));
    for (uint32_t i = 0; i < set->n && status == RADLLM_OK; i++) {
        if (find(b, set->uses[i].adapter) == NULL)
            status = copy_over(b, set->uses[i].adapter);
    }
    return status == RADLLM_OK ? status : rad_cuda_failed(b->device, status, error);
}

void rad_cuda_free_adapters(rad_cuda_backend *b)
{
    for (uint32_t i = 0; i < RAD_CUDA_ADAPTERS; i++)
        (void)give_back(b, &b->adapters[i].data, b->adapters[i].bytes);
    (void)free_hidden(b);
}

/* ---- a batch --------------------------------------------------------------------------------- */

static const rad_adapter_set *set_of(const rad_batch *batch, uint32_t span)
{
    const rad_adapter_set *set = batch->spans[span].adapters;
    return set != NULL && set->n > 0 ? set : NULL;
}

/* Whether all of a set are on the device; they are used now. */
static bool use_set(rad_cuda_backend *b, const rad_adapter_set *set)
{
    bool all = set_width(&b->model->hparams, set) <= b->adapter_width;
    for (uint32_t i = 0; i < set->n; i++) {
        rad_cuda_adapter *copy = find(b, set->uses[i].adapter);
        if (copy != NULL)
            copy->used = b->n_runs;
        all = all && copy != NULL;
    }
    return all;
}

/* The rows of each span that has adapters, those of equal sets behind each other together. */
static void find_adapted(rad_cuda_backend *b, bool per_output)
{
    const rad_batch *batch = b->batch;
    rad_cuda_adapted *all = b->adapted[per_output];
    uint32_t n = 0, output = 0;
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        const rad_adapter_set *set = set_of(batch, s);
        const rad_token_span *span = &batch->spans[s];
        uint32_t end = span->first_row + span->n_rows, first_output = output;
        while (output < batch->n_outputs && batch->outputs[output] < end)
            output++;
        uint32_t first = per_output ? first_output : span->first_row;
        uint32_t n_rows = (per_output ? output : end) - first;
        if (set == NULL || n_rows == 0)
            continue;
        if (n > 0 && all[n - 1].first_row + all[n - 1].n_rows == first &&
            rad_adapter_sets_equal(set, all[n - 1].set))
            all[n - 1].n_rows += n_rows;
        else
            all[n++] = (rad_cuda_adapted){set, first, n_rows};
    }
    b->n_adapted[per_output] = n;
}

void rad_cuda_begin_adapters(rad_cuda_backend *b)
{
    const rad_batch *batch = b->batch;
    bool tries = ++b->n_runs >= b->adapters_retry;
    b->adapters_there = true;
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        const rad_adapter_set *set = set_of(batch, s);
        bool all = set == NULL || use_set(b, set);
        if (!all && tries) { /* a device that fails is lost to all that comes */
            b->adapters_retry = b->n_runs + MOST_UNUSED_RUNS;
            (void)rad_cuda_reserve_adapters(b, set, NULL);
            all = use_set(b, set);
        }
        b->adapters_there = b->adapters_there && all;
    }
    find_adapted(b, false);
    find_adapted(b, true);
}

bool rad_cuda_is_adapted(const rad_batch *batch, const rad_op *op)
{
    uint32_t n = op->experts ? op->weight->n_experts : 1;
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        const rad_adapter_set *set = set_of(batch, s);
        for (uint32_t i = 0; set != NULL && i < set->n * n; i++) {
            if (rad_adapter_find(set->uses[i / n].adapter, op->slot + i % n) != NULL)
                return true;
        }
    }
    return false;
}

bool rad_cuda_adapters_key(const rad_cuda_backend *b, rad_cuda_step_key *key)
{
    const rad_batch *batch = b->batch;
    const rad_adapter_set *first = set_of(batch, 0);
    key->n_adapters = first != NULL ? first->n : 0;
    for (uint32_t i = 0; i < key->n_adapters; i++) {
        key->adapters[i].id = first->uses[i].adapter->id;
        key->adapters[i].scale = first->uses[i].scale;
    }
    for (uint32_t s = 1; s < batch->n_spans; s++) {
        const rad_adapter_set *set = set_of(batch, s);
        if ((set == NULL) != (first == NULL) ||
            (set != NULL && !rad_adapter_sets_equal(set, first)))
            return false;
    }
    return first == NULL || b->adapters_there;
}

/* ---- products -------------------------------------------------------------------------------- */

static const rad_cuda_kernel *kernel_of(rad_type type, bool up)
{
    switch (type) {
    case RAD_TYPE_F16:
        return up ? &rad_cuda_kernel_adapt_up_f16 : &rad_cuda_kernel_adapt_down_f16;
    case RAD_TYPE_BF16:
        return up ? &rad_cuda_kernel_adapt_up_bf16 : &rad_cuda_kernel_adapt_down_bf16;
    default:
        return up ? &rad_cuda_kernel_adapt_up_f32 : &rad_cuda_kernel_adapt_down_f32;
    }
}

static rad_cuda_grid grid_of(const rad_cuda_adapt_arguments *a, uint32_t rows)
{
    return (rad_cuda_grid){(a->n_rows + rows - 1) / rows,
                           (a->n_tokens + RAD_CUDA_ADAPT_TOKENS - 1) / RAD_CUDA_ADAPT_TOKENS, 1};
}

/* out += scale * number * B (A in), for the rows of a run. */
static radllm_status add_pair(rad_cuda_backend *b, const rad_op *op, const rad_cuda_adapted *run,
                              const rad_adapter_use *use, const rad_adapter_pair *pair)
{
    const rad_cuda_adapter *copy = find(b, use->adapter);
    const uint8_t *here = use->adapter->data;
    uint64_t row_bytes =
        (uint64_t)pair->b.n_columns * rad_type_find((uint32_t)pair->b.type)->block_bytes;
    if (copy == NULL)
        return RADLLM_E_INTERNAL; /* such a batch is the CPU's */
    rad_cuda_adapt_arguments a = {.matrix = copy->data + (pair->a.data - here),
                                  .x = rad_cuda_value(b, op->in) +
                                       (uint64_t)run->first_row * pair->a.n_columns,
                                  .y = (float *)(void *)b->adapter_hidden,
                                  .x_stride = pair->a.n_columns,
                                  .y_stride = pair->a.n_rows,
                                  .n_rows = pair->a.n_rows,
                                  .n_columns = pair->a.n_columns,
                                  .n_tokens = run->n_rows};
    radllm_status status =
        launch(b, kernel_of(pair->a.type, false), grid_of(&a, RAD_CUDA_ADAPT_A_ROWS), 0, &a);
    uint64_t first = pair->b.n_rows > op->width ? op->weight->first : 0; /* of a pair for several */
    a.matrix = copy->data + (pair->b.data - here) + first * row_bytes;
    a.x = a.y;
    a.y = rad_cuda_value(b, op->out) + (uint64_t)run->first_row * op->width;
    a.x_stride = a.n_columns = pair->b.n_columns;
    a.y_stride = a.n_rows = op->width;
    a.factor = (float)(pair->scale * (double)use->scale * (double)op->number);
    return status == RADLLM_OK
               ? launch(b, kernel_of(pair->b.type, true), grid_of(&a, RAD_CUDA_ADAPT_B_ROWS), 0, &a)
               : status;
}

/* ---- experts --------------------------------------------------------------------------------- */

static bool changes_experts(const rad_op *op, const rad_adapter *adapter)
{
    bool any = false;
    for (uint32_t e = 0; adapter->n_expert_pairs > 0 && e < op->weight->n_experts && !any; e++)
        any = rad_adapter_find(adapter, op->slot + e) != NULL;
    return any;
}

/* The same for the slots of a run's tokens, wherever they stand. */
static radllm_status adapt_experts(rad_cuda_backend *b, const rad_op *op,
                                   const rad_cuda_adapted *run, const rad_adapter_use *use)
{
    const rad_adapter *adapter = use->adapter;
    const rad_cuda_adapter *copy = find(b, adapter);
    uint32_t n_tokens = rad_cuda_rows(b, op), n_used = b->model->hparams.router.n_used;
    if (copy == NULL)
        return RADLLM_E_INTERNAL; /* as above */
    const uint8_t *table = copy->data + rad_cuda_aligned(adapter->data_bytes);
    rad_cuda_adapt_experts_arguments a = {
        .data = copy->data,
        .pairs = (const rad_cuda_expert_pair *)(const void *)table,
        .places = (const uint32_t *)(const void *)(table + pairs_bytes(adapter)) + op->slot,
        .experts = rad_cuda_at(b, b->grouped ? b->layout.expert_of : b->layout.slot_expert),
        .token_of = b->grouped ? rad_cuda_at(b, b->layout.token_of) : NULL,
        .x = rad_cuda_value(b, op->in),
        .hidden = (float *)(void *)b->adapter_hidden,
        .y = rad_cuda_value(b, op->out),
        .by_slot = op->by_choice,
        .n_used = n_used,
        .n_slots = n_tokens * n_used,
        .slots_per_block =
            b->grouped && n_tokens > RAD_CUDA_ADAPT_TOKENS ? RAD_CUDA_ADAPT_TOKENS : 1,
        .first_token = run->first_row,
        .n_tokens = run->n_rows,
        .n_columns = rad_weight_inputs(op->weight),
        .n_rows = op->width,
        .hidden_stride = adapter->rank,
        .first_row = (uint32_t)op->weight->first,
        .scale = use->scale,
        .number = op->number};
    if (a.n_slots > MOST_GRID_ROWS)
        a.slots_per_block = RAD_CUDA_ADAPT_TOKENS;
    uint32_t blocks = (a.n_slots + a.slots_per_block - 1) / a.slots_per_block;
    rad_cuda_grid down = {(adapter->rank + RAD_CUDA_ADAPT_A_ROWS - 1) / RAD_CUDA_ADAPT_A_ROWS,
                          blocks, 1};
    rad_cuda_grid up = {(a.n_rows + RAD_CUDA_ADAPT_B_ROWS - 1) / RAD_CUDA_ADAPT_B_ROWS, blocks, 1};
    radllm_status status = launch(b, &rad_cuda_kernel_adapt_experts_down, down, 0, &a);
    return status == RADLLM_OK ? launch(b, &rad_cuda_kernel_adapt_experts_up, up, 0, &a) : status;
}

radllm_status rad_cuda_run_adapt(rad_cuda_backend *b, const rad_op *op)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t r = 0; r < b->n_adapted[op->per_output]; r++) {
        const rad_cuda_adapted *run = &b->adapted[op->per_output][r];
        for (uint32_t i = 0; i < run->set->n && status == RADLLM_OK; i++) {
            const rad_adapter_use *use = &run->set->uses[i];
            const rad_adapter_pair *pair =
                op->experts ? NULL : rad_adapter_find(use->adapter, op->slot);
            if (op->experts && changes_experts(op, use->adapter))
                status = adapt_experts(b, op, run, use);
            else if (pair != NULL)
                status = add_pair(b, op, run, use, pair);
        }
    }
    return status;
}
