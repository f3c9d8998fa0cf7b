#include <string.h>

#include "base/numeric.h"
#include "model/adapter_bind.h"

/* Which row of the stored tensor becomes row `row`. */
typedef struct row_order {
    bool regroup;  /* from heads' queries, keys and values (BLOOM) */
    int halves;    /* 1: from (i, i + n/2) to (2i, 2i + 1); -1: back */
    uint32_t head; /* rows of a head */
    uint32_t step; /* rows from one head to the next; 0: as many as it has */
    uint32_t n_rows;
    uint32_t first; /* rows before its own */
    rad_adapter_part part;
} row_order;

static uint32_t stored_row_of_own(const row_order *order, uint32_t row)
{
    uint32_t head = row / order->head, i = row % order->head, half = order->head / 2;
    if (order->step > 0)
        return head * order->step + i;
    if (order->part == RAD_ADAPTER_SECOND_HALF)
        return order->n_rows / 2 + row;
    if (order->part == RAD_ADAPTER_EVEN || order->part == RAD_ADAPTER_ODD)
        return 2 * row + (order->part == RAD_ADAPTER_ODD ? 1 : 0);
    if (order->regroup) { /* row: part, head, value */
        uint32_t n_heads = order->n_rows / 3 / order->head;
        return (head % n_heads * 3 + head / n_heads) * order->head + i;
    }
    if (order->halves > 0)
        return head * order->head + i / 2 + i % 2 * half;
    if (order->halves < 0)
        return head * order->head + (i < half ? 2 * i : 2 * (i - half) + 1);
    return row;
}

static uint32_t stored_row(const row_order *order, uint32_t row)
{
    return order->first + stored_row_of_own(order, row);
}

static row_order order_of(const rad_adapter_binder *b, const rad_adapter_couple *c)
{
    const rad_hparams *h = &b->model->hparams;
    uint32_t slot = (uint32_t)(c - b->couples), role = slot % RAD_LAYER_WEIGHTS;
    row_order order = {.head = h->head_dim,
                       .n_rows = (uint32_t)rad_adapter_measure(b, c).all_rows,
                       .first = (uint32_t)c->first,
                       .part = c->b->part};
    bool heads = slot < rad_adapter_embedding_slot(b->model) &&
                 (role == RAD_WEIGHT_QUERY || role == RAD_WEIGHT_KEY) && h->head_dim % 2 == 0;
    if (c->b->rows == RAD_ADAPTER_ROWS_HEADS_QKV)
        order.regroup = true;
    else if (heads && b->description.halves && h->rotary == RAD_ROTARY_INTERLEAVED)
        order.halves = 1;
    else if (heads && !b->description.halves && h->rotary == RAD_ROTARY_HALVES &&
             h->architecture->rotary == RAD_ROTARY_INTERLEAVED)
        order.halves = -1;
    return order;
}

static radllm_status check_finite(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                  const rad_matrix *matrix)
{
    const rad_type_info *info = rad_type_find((uint32_t)matrix->type);
    size_t n = (size_t)matrix->n_rows * matrix->n_columns;
    float values[256], sum = 0.0f; /* of zeros, or NaN */
    for (size_t done = 0; done < n; done += sizeof values / sizeof *values) {
        size_t part = n - done < 256 ? n - done : 256;
        info->decode(matrix->data + done * info->block_bytes, values, part);
        for (size_t i = 0; i < part; i++)
            sum += values[i] * 0.0f;
    }
    if (sum == 0.0f)
        return RADLLM_OK;
    return rad_adapter_refuse(
        b, RADLLM_E_FORMAT, tensor,
        "holds what is no finite number: the file is damaged: fetch it again");
}

/* The numbers of a tensor as rad_adapter_kept_type() has them, in its own order, until the next one
 * of the same kind is read. */
static radllm_status read_numbers(rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                  const uint8_t **out)
{
    const rad_tensor *from = tensor->tensor;
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    const rad_allocator *allocator = &b->adapter->allocator;
    uint32_t at = tensor->role == RAD_ADAPTER_B ? 1 : 0;
    bool widened = rad_adapter_kept_type(tensor) != from->type;
    uint64_t size = rad_type_find((uint32_t)rad_adapter_kept_type(tensor))->block_bytes, bytes;
    *out = b->held[at].numbers;
    if (b->held[at].tensor == from)
        return RADLLM_OK;
    rad_free(allocator, b->held[at].numbers, b->held[at].bytes);
    b->held[at].tensor = NULL;
    b->held[at].numbers = NULL;
    bool fits = rad_mul_u64(from->n_elements, size, &bytes) && bytes <= PTRDIFF_MAX;
    uint8_t *numbers = fits ? rad_alloc(allocator, (size_t)bytes) : NULL;
    uint8_t *blocks =
        widened && numbers != NULL ? rad_alloc(allocator, (size_t)from->n_bytes) : numbers;
    radllm_status status = blocks == NULL
                               ? rad_fail_memory(b->error, fits ? (size_t)bytes : SIZE_MAX)
                               : rad_source_read_tensor(b->adapter->source, from, 0, blocks,
                                                        (size_t)from->n_bytes, b->error);
    if (widened && status == RADLLM_OK)
        info->decode(blocks, (float *)(void *)numbers, (size_t)from->n_elements);
    if (widened)
        rad_free(allocator, blocks, (size_t)from->n_bytes);
    *out = b->held[at].numbers = numbers;
    b->held[at].bytes = fits ? (size_t)bytes : 0;
    b->held[at].tensor = status == RADLLM_OK ? from : NULL;
    return status;
}

/* Where a matrix stands in a tensor: its element (row, column) at first + row_step * stored row +
 * column_step * column. */
typedef struct steps {
    size_t first, row, column;
} steps;

/* Reads a matrix of the adapter to its place. */
static radllm_status read_matrix(rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                 const row_order *order, steps step, rad_matrix *matrix)
{
    size_t size = rad_type_find((uint32_t)matrix->type)->block_bytes;
    size_t row_bytes = matrix->n_columns * size;
    const uint8_t *stored;
    radllm_status status = read_numbers(b, tensor, &stored);
    uint8_t *out = b->adapter->data + (uintptr_t)matrix->data;
    matrix->data = out;
    for (uint32_t row = 0; status == RADLLM_OK && row < matrix->n_rows; row++) {
        const uint8_t *from = stored + (step.first + stored_row(order, row) * step.row) * size;
        if (step.column == 1)
            memcpy(out + row * row_bytes, from, row_bytes);
        for (uint32_t i = 0; step.column != 1 && i < matrix->n_columns; i++)
            memcpy(out + row * row_bytes + i * size, from + i * step.column * size, size);
    }
    return status == RADLLM_OK ? check_finite(b, tensor, matrix) : status;
}

/* What changes kv_b, whose rows are each head's for its key, then those for its value. To the
 * heads' products of keys, which go from queries to short vectors, it is the transpose: for each
 * head A is that of its rows of B, B is that of A, and lengths are those of columns. */
static radllm_status read_latent(rad_adapter_binder *b, const rad_adapter_couple *c, bool keys,
                                 rad_adapter_pair *pair)
{
    const rad_latent *latent = &b->model->hparams.latent;
    const uint32_t rank = pair->b.n_columns, head = latent->plain + latent->value;
    const row_order plain = {.head = 1}, of_keys = {.head = rank, .step = head * rank};
    const row_order of_values = {.head = latent->value, .step = head};
    const row_order columns = {.head = latent->plain, .step = head};
    const steps a = {0, latent->rank, 1}, turned_a = {0, 1, latent->rank}, turned_b = {0, 1, rank};
    const steps values = {(size_t)latent->plain * rank, rank, 1};
    const steps lengths = {keys ? 0 : latent->plain, 1, 1};
    radllm_status status = keys ? read_matrix(b, c->b, &of_keys, turned_b, &pair->a)
                                : read_matrix(b, c->a, &plain, a, &pair->a);
    if (status == RADLLM_OK)
        status = keys ? read_matrix(b, c->a, &plain, turned_a, &pair->b)
                      : read_matrix(b, c->b, &of_values, values, &pair->b);
    if (status == RADLLM_OK && c->lengths != NULL)
        status = read_matrix(b, c->lengths, keys ? &columns : &of_values, lengths, &pair->lengths);
    return status;
}

/* Of expert number `expert` of the tensor, where it has several. */
static radllm_status read_pair(rad_adapter_binder *b, const rad_adapter_couple *c, uint32_t expert,
                               rad_adapter_pair *pair)
{
    const row_order plain = {.head = 1}, order = order_of(b, c);
    rad_adapter_extents x = rad_adapter_measure(b, c);
    size_t rank = pair->b.n_columns, columns = pair->a.n_columns, n = x.n_experts;
    bool stack = c->a->rows == RAD_ADAPTER_ROWS_STACK;
    if (c->weight->by_head)
        return read_latent(b, c, x.keys, pair);
    steps a = {n > 1 || stack ? expert * rank * columns : 0, columns, 1};
    steps by = {stack ? expert * rank * pair->b.n_rows : n > 1 ? expert : 0, rank * n, n};
    if (x.table)
        a = (steps){0, 1, pair->a.n_rows};
    if (x.swapped) {
        a = (steps){expert, n, rank * n};
        by = (steps){expert * rank * (size_t)x.all_rows, 1, (size_t)x.all_rows};
    }
    radllm_status status = read_matrix(b, x.swapped ? c->b : c->a, &plain, a, &pair->a);
    if (status == RADLLM_OK)
        status = read_matrix(b, x.swapped ? c->a : c->b, &order, by, &pair->b);
    if (status == RADLLM_OK && c->lengths != NULL)
        status = read_matrix(b, c->lengths, &order, (steps){0, 1, 1}, &pair->lengths);
    return status;
}

static void hash_pair(rad_hasher *hasher, uint32_t slot, const rad_adapter_pair *pair)
{
    const rad_matrix *matrices[] = {&pair->a, &pair->b, &pair->lengths};
    uint64_t scale;
    memcpy(&scale, &pair->scale, sizeof scale);
    for (int i = 0; i < (pair->lengths.n_rows > 0 ? 3 : 2); i++) {
        const rad_matrix *m = matrices[i];
        const uint64_t head[] = {slot, m->type, m->n_rows, m->n_columns, scale};
        rad_hasher_add(hasher, head, sizeof head);
        rad_hasher_add(hasher, m->data,
                       (size_t)rad_matrix_bytes(m->type, RAD_LAYOUT_FILE, m->n_rows, m->n_columns));
    }
}

/* Its numbers, a piece at a time. */
static radllm_status hash_whole(const rad_adapter_binder *b, rad_hasher *hasher,
                                const rad_adapter_whole *whole)
{
    enum { PIECE = 1 << 16 };
    const rad_adapter *adapter = b->adapter;
    const rad_tensor *tensor = whole->tensor;
    uint8_t *piece = rad_alloc(&adapter->allocator, PIECE);
    if (piece == NULL)
        return rad_fail_memory(b->error, PIECE);
    const rad_tensor *own = whole->weight->tensor;
    const rad_text name = own != NULL ? own->name : (rad_text){"output.weight", 13};
    const uint64_t head[] = {tensor->type, tensor->n_bytes, name.size};
    rad_hasher_add(hasher, head, sizeof head);
    rad_hasher_add(hasher, name.data, name.size);
    radllm_status status = RADLLM_OK;
    for (uint64_t at = 0; at < tensor->n_bytes && status == RADLLM_OK; at += PIECE) {
        uint64_t left = tensor->n_bytes - at;
        size_t n = left < PIECE ? (size_t)left : PIECE;
        status =
            rad_source_read(adapter->source, tensor->part, tensor->offset + at, piece, n, b->error);
        if (status == RADLLM_OK)
            rad_hasher_add(hasher, piece, n);
    }
    rad_free(&adapter->allocator, piece, PIECE);
    return status;
}

radllm_status rad_adapter_read_pairs(rad_adapter_binder *b)
{
    rad_adapter *adapter = b->adapter;
    rad_hasher hasher;
    radllm_status status = RADLLM_OK;
    rad_hasher_start(&hasher);
    rad_adapter_pair *pair = adapter->pairs;
    for (uint32_t slot = 0; slot < adapter->n_slots && status == RADLLM_OK; slot++) {
        const rad_adapter_couple *c = &b->couples[slot];
        if (c->a == NULL)
            continue;
        uint32_t first = rad_adapter_first_expert_slot(b->model);
        uint32_t expert = slot < first ? 0 : (slot - first) % b->model->hparams.router.n_experts;
        status = read_pair(b, c, expert, pair);
        if (status == RADLLM_OK)
            hash_pair(&hasher, slot, pair);
        pair++;
    }
    for (int i = 0; i < 2; i++)
        rad_free(&adapter->allocator, b->held[i].numbers, b->held[i].bytes);
    for (uint32_t i = 0; i < adapter->n_wholes && status == RADLLM_OK; i++)
        status = hash_whole(b, &hasher, &adapter->wholes[i]);
    rad_hasher_end(&hasher, adapter->digest);
    return status;
}
