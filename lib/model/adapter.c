#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/adapter_bind.h"

#define ALIGNMENT 64

/* ---- shapes ---------------------------------------------------------------------------------- */

static radllm_status check_shape(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                 uint64_t columns, uint64_t rows)
{
    const rad_tensor *found = tensor->tensor;
    bool stack = tensor->rows == RAD_ADAPTER_ROWS_STACK;
    uint64_t n = stack ? b->model->hparams.router.n_experts : 1;
    if (stack && found->dims[2] != n)
        return rad_adapter_refuse(
            b, RADLLM_E_ARGUMENT, tensor,
            "is for another number of experts: the adapter belongs to another model");
    if (found->dims[0] != columns || found->dims[1] != rows || found->dims[2] != n ||
        found->dims[3] != 1)
        return rad_adapter_fail_shape(b, tensor, columns, rows);
    if (rad_type_find((uint32_t)found->type)->decode == NULL ||
        rad_type_find((uint32_t)found->type)->tail_bytes != 0)
        return rad_adapter_refuse(
            b, RADLLM_E_UNSUPPORTED, tensor,
            "is of a type that cannot be computed with; F32, F16 and BF16 can");
    return RADLLM_OK;
}

static radllm_status check_rank(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                uint64_t rank)
{
    char what[160];
    uint32_t told = tensor->rank;
    if (rank == 0 || rank > RAD_ADAPTER_RANK_MAX)
        snprintf(what, sizeof what, "has the rank %llu; ranks from 1 to %u are supported",
                 (unsigned long long)rank, RAD_ADAPTER_RANK_MAX);
    else if (told != 0 && rank != told)
        snprintf(what, sizeof what,
                 "has the rank %llu, the configuration says %u: fetch both files again",
                 (unsigned long long)rank, told);
    else
        return RADLLM_OK;
    return rad_adapter_refuse(b, RADLLM_E_FORMAT, tensor, what);
}

static bool looks_up(const rad_adapter_binder *b, const rad_adapter_couple *c)
{
    return c - b->couples == rad_adapter_embedding_slot(b->model);
}

static radllm_status check_lengths(const rad_adapter_binder *b, const rad_adapter_couple *c,
                                   bool lookup, uint64_t rows)
{
    if (b->description.lengths && c->lengths == NULL)
        return rad_adapter_refuse(
            b, RADLLM_E_FORMAT, c->a,
            "has no magnitudes beside it, which DoRA needs: fetch the file again");
    if (c->lengths == NULL)
        return RADLLM_OK;
    if (lookup)
        return rad_adapter_refuse(b, RADLLM_E_UNSUPPORTED, c->lengths,
                                  "is of DoRA of an embedding, which is not supported");
    return check_shape(b, c->lengths, rows, 1);
}

rad_adapter_extents rad_adapter_measure(const rad_adapter_binder *b, const rad_adapter_couple *c)
{
    const uint64_t *dims = c->a->tensor->dims;
    bool lookup = looks_up(b, c), table = c->a->role == RAD_ADAPTER_TABLE;
    bool parameter = c->a->rows == RAD_ADAPTER_ROWS_PARAMETER;
    rad_adapter_extents x = {.lookup = lookup,
                             .table = table,
                             .n_experts = parameter ? c->weight->n_experts : 1,
                             .rank = lookup && !table ? dims[0] : dims[1],
                             .columns =
                                 lookup ? b->model->hparams.n_vocab : rad_weight_inputs(c->weight),
                             .rows = lookup ? rad_weight_inputs(c->weight)
                                     : rad_adapter_is_of_experts(c->a) ? rad_weight_rows(c->weight)
                                     : c->part                         ? c->weight->matrix.n_rows
                                               : c->weight->tensor->dims[1]};
    if (c->weight->by_head) { /* of kv_b */
        const rad_latent *latent = &b->model->hparams.latent;
        x.columns = latent->rank;
        x.rows = (uint64_t)c->weight->n_experts * (latent->plain + latent->value);
        x.keys = (size_t)(c - b->couples) % RAD_LAYER_WEIGHTS == RAD_WEIGHT_KEY_B;
    }
    x.rank /= x.n_experts;
    x.all_rows = c->all > 0 ? c->all : c->a->part == RAD_ADAPTER_ALL ? x.rows : 2 * x.rows;
    x.swapped = parameter && dims[0] != x.columns && dims[0] == x.all_rows;
    return x;
}

static radllm_status check_extents(const rad_adapter_binder *b, const rad_adapter_couple *c,
                                   const rad_adapter_extents *x)
{
    uint64_t all_ranks = x->n_experts * x->rank; /* of another length than the tensor's: */
    if (x->table && !x->lookup)
        return rad_adapter_refuse(b, RADLLM_E_ARGUMENT, c->a,
                                  "is of an embedding, the model's matrix is none");
    radllm_status status = check_rank(b, c->a, x->rank);
    if (status == RADLLM_OK)
        status = x->lookup && !x->table
                     ? check_shape(b, c->a, x->rank, x->columns)
                     : check_shape(b, c->a, x->swapped ? x->all_rows : x->columns, all_ranks);
    if (status == RADLLM_OK)
        status = check_shape(b, c->b, all_ranks, x->swapped ? x->columns : x->all_rows);
    return status == RADLLM_OK ? check_lengths(b, c, x->lookup, c->all > 0 ? c->all : x->rows)
                               : status;
}

static radllm_status check_couple(const rad_adapter_binder *b, const rad_adapter_couple *c,
                                  rad_adapter_pair *pair)
{
    const rad_adapter_tensor *one = c->a != NULL ? c->a : c->b != NULL ? c->b : c->lengths;
    if (c->a == NULL || c->b == NULL)
        return rad_adapter_refuse(
            b, RADLLM_E_FORMAT, one,
            c->a != NULL ? "has no companion B: the file is incomplete: fetch it again"
                         : "has no companion A: the file is incomplete: fetch it again");
    if (c->a->rows != c->b->rows)
        return rad_adapter_refuse(b, RADLLM_E_FORMAT, one, "is there in two forms");
    rad_adapter_extents x = rad_adapter_measure(b, c);
    radllm_status status = check_extents(b, c, &x);
    if (status != RADLLM_OK)
        return status;
    uint32_t rank = (uint32_t)x.rank, rows = (uint32_t)x.rows, columns = (uint32_t)x.columns;
    double alpha = c->a->alpha == 0.0 && b->description.by_rank ? (double)rank : c->a->alpha;
    pair->scale = alpha / (b->description.root ? sqrt((double)rank) : (double)rank);
    pair->a =
        (rad_matrix){.n_rows = x.lookup ? columns : rank, .n_columns = x.lookup ? rank : columns};
    pair->b = (rad_matrix){.n_rows = rows, .n_columns = rank};
    if (c->weight->by_head) {
        pair->a.n_columns = rad_weight_inputs(c->weight);
        pair->a.n_rows = x.keys ? rank * c->weight->n_experts : rank;
        pair->b.n_rows = x.keys ? rad_weight_rows(c->weight) : c->weight->matrix.n_rows;
        rows = x.keys ? c->weight->n_experts * pair->a.n_columns : pair->b.n_rows;
    }
    if (c->lengths != NULL)
        pair->lengths = (rad_matrix){.n_rows = rows, .n_columns = 1};
    return RADLLM_OK;
}

rad_type rad_adapter_kept_type(const rad_adapter_tensor *tensor)
{
    rad_type type = tensor->tensor->type;
    bool plain = type == RAD_TYPE_F32 || type == RAD_TYPE_F16 || type == RAD_TYPE_BF16;
    return plain ? type : RAD_TYPE_F32;
}

static bool place_matrix(rad_matrix *matrix, const rad_adapter_tensor *tensor, uint64_t *used)
{
    matrix->type = rad_adapter_kept_type(tensor);
    matrix->layout = RAD_LAYOUT_FILE;
    uint64_t bytes =
        rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, matrix->n_rows, matrix->n_columns);
    matrix->data = (const uint8_t *)(uintptr_t)*used; /* an offset, until there is memory */
    return bytes != 0 && rad_add_u64(*used, bytes, used) && rad_align_u64(*used, ALIGNMENT, used) &&
           *used <= PTRDIFF_MAX;
}

/* All weights that are rows of one tensor share a pair, which stands at the first one's slot. */
static void share_pair(const rad_adapter_binder *b, uint32_t slot, uint32_t number,
                       const char *target)
{
    uint32_t last;
    (void)rad_adapter_slots_of(b->model, target, &last);
    for (uint32_t next = slot + 1; slot < rad_adapter_embedding_slot(b->model) && next < last;
         next++) {
        if (rad_adapter_is_at(b->model, next, target))
            b->adapter->slots[next] = number;
    }
}

static bool is_there(const rad_adapter_couple *c)
{
    return c->a != NULL || c->b != NULL || c->lengths != NULL;
}

/* Checks all couples, makes pairs of them, and gives each its place in memory. */
static radllm_status make_pairs(rad_adapter_binder *b, uint64_t *used)
{
    rad_adapter *adapter = b->adapter;
    for (uint32_t slot = 0; slot < adapter->n_slots; slot++) {
        adapter->n_pairs += is_there(&b->couples[slot]) ? 1 : 0;
        if (slot >= rad_adapter_first_expert_slot(b->model))
            adapter->n_expert_pairs += is_there(&b->couples[slot]) ? 1 : 0;
    }
    adapter->pairs = rad_alloc_zero(&adapter->allocator,
                                    (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs);
    if (adapter->pairs == NULL)
        return rad_fail_memory(b->error, adapter->n_pairs * sizeof *adapter->pairs);
    rad_adapter_pair *pair = adapter->pairs;
    for (uint32_t slot = 0; slot < adapter->n_slots; slot++) {
        const rad_adapter_couple *c = &b->couples[slot];
        if (!is_there(c))
            continue;
        radllm_status status = check_couple(b, c, pair);
        if (status == RADLLM_OK && adapter->slots[slot] != 0)
            status = rad_adapter_refuse(b, RADLLM_E_FORMAT, c->a, "is there in two forms");
        if (status != RADLLM_OK)
            return status;
        rad_adapter_extents x = rad_adapter_measure(b, c);
        bool over = x.swapped || x.keys;
        if (!place_matrix(&pair->a, over ? c->b : c->a, used) ||
            !place_matrix(&pair->b, over ? c->a : c->b, used) ||
            (c->lengths != NULL && !place_matrix(&pair->lengths, c->lengths, used)))
            return rad_fail_memory(b->error, SIZE_MAX);
        uint32_t rank = pair->b.n_columns;
        adapter->rank = rank > adapter->rank ? rank : adapter->rank;
        adapter->lengths = adapter->lengths || c->lengths != NULL;
        adapter->slots[slot] = (uint32_t)(++pair - adapter->pairs);
        if (c->all == 0)
            share_pair(b, slot, adapter->slots[slot], c->a->target);
    }
    return RADLLM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static radllm_status allocate(rad_adapter_binder *b)
{
    rad_adapter *adapter = b->adapter;
    const rad_allocator *allocator = &adapter->allocator;
    adapter->n_slots =
        rad_adapter_first_expert_slot(b->model) +
        b->model->hparams.n_layers * RAD_ADAPTER_EXPERT_ROLES * b->model->hparams.router.n_experts;
    adapter->n_tensors = rad_source_n_tensors(adapter->source);
    b->couples = rad_alloc_zero(allocator, adapter->n_slots * sizeof *b->couples);
    adapter->slots = rad_alloc_zero(allocator, adapter->n_slots * sizeof *adapter->slots);
    adapter->wholes = rad_alloc_zero(allocator, adapter->n_tensors * sizeof *adapter->wholes);
    if (b->couples == NULL || adapter->wholes == NULL || adapter->slots == NULL)
        return rad_fail_memory(b->error, adapter->n_slots * sizeof *b->couples);
    return RADLLM_OK;
}

static radllm_status bind(rad_adapter_binder *b, uint64_t limit)
{
    rad_adapter *adapter = b->adapter;
    uint64_t used = 0;
    radllm_status status = allocate(b);
    for (size_t i = 0; i < b->description.count && status == RADLLM_OK; i++)
        status = rad_adapter_place_tensor(b, &b->description.tensors[i]);
    if (status == RADLLM_OK)
        status = make_pairs(b, &used);
    if (status != RADLLM_OK)
        return status;
    if (adapter->n_pairs + adapter->n_wholes == 0)
        return rad_fail(b->error, RADLLM_E_FORMAT, "%s: the adapter changes nothing",
                        rad_source_label(adapter->source));
    if (limit != 0 && used > limit)
        return rad_fail(b->error, RADLLM_E_BUDGET,
                        "%s: the adapter takes %llu bytes, more than the memory budget of %llu",
                        rad_source_label(adapter->source), (unsigned long long)used,
                        (unsigned long long)limit);
    adapter->data = rad_alloc(&adapter->allocator, (size_t)used);
    if (adapter->data == NULL && used > 0)
        return rad_fail_memory(b->error, (size_t)used);
    adapter->data_bytes = (size_t)used;
    return rad_adapter_read_pairs(b);
}

radllm_status rad_adapter_open(rad_model *model, const char *path, bool merge, uint64_t limit,
                               rad_adapter **out, radllm_error *error)
{
    const rad_allocator *allocator = &model->host.allocator;
    rad_adapter *adapter = rad_alloc_zero(allocator, sizeof *adapter);
    if (adapter == NULL)
        return rad_fail_memory(error, sizeof *adapter);
    adapter->allocator = *allocator;
    atomic_init(&adapter->references, 1);
    adapter->id = atomic_fetch_add(&model->n_adapters, 1) + 1;
    rad_adapter_binder b = {.adapter = adapter, .model = model, .merge = merge, .error = error};
    radllm_status status = rad_source_open(&model->host, path, &adapter->source, error);
    if (status == RADLLM_OK)
        status = rad_adapter_describe(adapter->source, model->hparams.architecture->name,
                                      &b.description, error);
    if (status == RADLLM_OK) {
        adapter->alpha = b.description.alpha;
        status = bind(&b, limit);
        rad_free(allocator, b.couples, adapter->n_slots * sizeof *b.couples);
        rad_adapter_forget(adapter->source, &b.description);
    }
    if (status != RADLLM_OK)
        rad_adapter_release(adapter);
    else
        *out = adapter;
    return status;
}

rad_adapter *rad_adapter_retain(rad_adapter *adapter)
{
    atomic_fetch_add_explicit(&adapter->references, 1, memory_order_relaxed);
    return adapter;
}

void rad_adapter_release(rad_adapter *adapter)
{
    if (adapter == NULL ||
        atomic_fetch_sub_explicit(&adapter->references, 1, memory_order_acq_rel) != 1)
        return;
    rad_allocator allocator = adapter->allocator;
    rad_source_release(adapter->source);
    rad_free(&allocator, adapter->slots, adapter->n_slots * sizeof *adapter->slots);
    rad_free(&allocator, adapter->pairs, (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs);
    rad_free(&allocator, adapter->wholes, adapter->n_tensors * sizeof *adapter->wholes);
    rad_free(&allocator, adapter->data, adapter->data_bytes);
    rad_free(&allocator, adapter, sizeof *adapter);
}

void rad_adapter_forget_numbers(rad_adapter *adapter)
{
    rad_free(&adapter->allocator, adapter->data, adapter->data_bytes);
    rad_source_release(adapter->source);
    adapter->data = NULL;
    adapter->data_bytes = 0;
    adapter->source = NULL;
}

uint64_t rad_adapter_bytes(const rad_adapter *adapter)
{
    return adapter->data_bytes + adapter->n_slots * sizeof *adapter->slots +
           (adapter->n_pairs + (size_t)1) * sizeof *adapter->pairs +
           adapter->n_tensors * sizeof *adapter->wholes;
}
