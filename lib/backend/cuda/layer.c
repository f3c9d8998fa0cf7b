/* Operations on rows: norms, rotation, copies, element by element, the cache. Some that follow each
 * other are one launch. */
#include "backend/cuda/operations.h"

/* ---- quantized at once ----------------------------------------------------------------------- */

/* The first product that reads what an operation gives, before that is written anew; NULL: none. */
static const rad_op *reader_of(const rad_cuda_backend *b, const rad_op *op)
{
    const rad_op *end = b->program->ops + b->program->n_ops;
    for (const rad_op *next = op + 1; next < end && next->layer == op->layer; next++) {
        bool product = next->kind == RAD_OP_PRODUCT || next->kind == RAD_OP_EXPERT_PRODUCT;
        if (product && next->in == op->out && activation_of(next->weight) != RAD_ACTIVATION_F32)
            return next;
        if (next->kind != RAD_OP_STORE && next->kind != RAD_OP_ADAPT && next->out == op->out)
            return NULL;
    }
    return NULL;
}

bool rad_cuda_wants_tiles(const rad_cuda_backend *b, const rad_op *op, uint32_t piece,
                          rad_activation_kind *kind, uint32_t *block)
{
    const rad_op *reader = reader_of(b, op);
    if (reader == NULL || reader->weight->matrix.n_columns != op->width ||
        reader->per_output != op->per_output ||
        rad_cuda_weight_of(b, reader->weight)->columns != NULL)
        return false;
    *kind = activation_of(reader->weight);
    *block = rad_activation_block(*kind, op->width);
    return (*kind == RAD_ACTIVATION_Q8_256 || *kind == RAD_ACTIVATION_Q8_64 ||
            *kind == RAD_ACTIVATION_Q8_32) &&
           op->width % *block == 0 && piece % *block == 0;
}

uint8_t *rad_cuda_tiles_for(rad_cuda_backend *b, const rad_op *op, uint32_t piece, uint32_t *block)
{
    rad_activation_kind kind;
    if (!rad_cuda_wants_tiles(b, op, piece, &kind, block))
        return NULL;
    b->tiles_value = op->out;
    b->tiles_kind = kind;
    b->tiles_columns = NULL;
    b->tiles_maker = op;
    b->tiles = rad_cuda_at(b, b->layout.tiles);
    return b->tiles;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* before: what is added in front of the norm; NULL: nothing. added: the norm that makes what is
 * added; NULL: none. */
static radllm_status run_norm(rad_cuda_backend *b, const rad_op *op, const rad_op *before,
                              const rad_op *added)
{
    const rad_hparams *h = &b->model->hparams;
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_norm_arguments a = {.in = rad_cuda_value(b, op->in),
                                 .weight = values_of(b, op->weight),
                                 .bias = values_of(b, op->bias),
                                 .out = rad_cuda_value(b, op->out),
                                 .n = op->width,
                                 .n_rows = n_rows,
                                 .layer_norm = h->architecture->layer_norms,
                                 .epsilon = h->norm_epsilon};
    if (before != NULL) {
        a.in = rad_cuda_value(b, before->in);
        a.add = rad_cuda_value(b, before->other);
        a.sum = rad_cuda_value(b, before->out);
    }
    if (added != NULL) {
        a.add = rad_cuda_value(b, added->in);
        a.add_weight = values_of(b, added->weight);
    }
    a.tiles = rad_cuda_tiles_for(b, op, op->width, &a.tile_block);
    return launch(b, added != NULL ? &rad_cuda_kernel_norm_of_norm : &rad_cuda_kernel_norm,
                  (rad_cuda_grid){n_rows, 1, 1}, 0, &a);
}

static radllm_status run_head_norm(rad_cuda_backend *b, const rad_op *op)
{
    const rad_hparams *h = &b->model->hparams;
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_head_norm_arguments a = {.values = rad_cuda_value(b, op->out),
                                      .weight = values_of(b, op->weight),
                                      .row = op->width,
                                      .stride = h->head_dim,
                                      .n = h->head_dim,
                                      .n_heads = op->n_heads,
                                      .n_rows = n_rows,
                                      .epsilon = h->norm_epsilon};
    uint32_t heads = n_rows * op->n_heads;
    return launch(b, &rad_cuda_kernel_head_norm, (rad_cuda_grid){(heads + 15) / 16, 1, 1}, 0, &a);
}

static rad_cuda_rotate_arguments rotation_of(const rad_cuda_backend *b, const rad_op *op)
{
    const rad_hparams *h = &b->model->hparams;
    return (rad_cuda_rotate_arguments){.in = rad_cuda_value(b, op->other),
                                       .out = rad_cuda_value(b, op->out),
                                       .table = rad_cuda_value(b, op->in),
                                       .row = op->to.row,
                                       .first = op->to.first,
                                       .stride = op->to.stride,
                                       .n_heads = op->n_heads,
                                       .n_pairs = h->rope.n_pairs,
                                       .n_rows = rad_cuda_rows(b, op),
                                       .interleaved = h->rotary == RAD_ROTARY_INTERLEAVED};
}

static radllm_status run_rotate(rad_cuda_backend *b, const rad_op *op)
{
    rad_cuda_rotate_arguments a = rotation_of(b, op);
    rad_cuda_grid grid = rows_grid(0, a.n_rows);
    grid.x = op->n_heads;
    return launch(b, &rad_cuda_kernel_rotate, grid, 0, &a);
}

static radllm_status run_copy(rad_cuda_backend *b, const rad_op *op)
{
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_copy_arguments a = {.in = rad_cuda_value(b, op->in),
                                 .out = rad_cuda_value(b, op->out),
                                 .from_row = op->from.row,
                                 .from_first = op->from.first,
                                 .from_stride = op->from.stride,
                                 .to_row = op->to.row,
                                 .to_first = op->to.first,
                                 .to_stride = op->to.stride,
                                 .width = op->width,
                                 .n_heads = op->n_heads,
                                 .n_rows = n_rows};
    return launch(b, &rad_cuda_kernel_copy, rows_grid((uint64_t)op->n_heads * op->width, n_rows), 0,
                  &a);
}

static radllm_status run_select(rad_cuda_backend *b, const rad_op *op)
{
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_copy_arguments a = {.in = rad_cuda_value(b, op->in),
                                 .out = rad_cuda_value(b, op->out),
                                 .from_rows = rad_cuda_at(b, b->layout.outputs),
                                 .from_row = op->width,
                                 .to_row = op->width,
                                 .width = op->width,
                                 .n_heads = 1,
                                 .n_rows = n_rows};
    return launch(b, &rad_cuda_kernel_copy, rows_grid(op->width, n_rows), 0, &a);
}

/* ---- element by element ---------------------------------------------------------------------- */

static uint32_t kind_of_gate(rad_gate gate)
{
    switch (gate) {
    case RAD_GATE_GELU_TANH:
        return RAD_CUDA_GELU_TANH_MULTIPLY;
    case RAD_GATE_RELU2:
        return RAD_CUDA_RELU2_MULTIPLY;
    case RAD_GATE_CLAMPED:
        return RAD_CUDA_CLAMPED_MULTIPLY;
    default:
        return RAD_CUDA_SILU_MULTIPLY;
    }
}

uint32_t rad_cuda_kind_of_elements(const rad_cuda_backend *b, const rad_op *op)
{
    rad_gate gate = b->model->hparams.architecture->gate;
    switch (op->kind) {
    case RAD_OP_GATED:
        return kind_of_gate(gate);
    case RAD_OP_GELU:
        return gate == RAD_GATE_NONE_ERF ? RAD_CUDA_GELU_ERF : RAD_CUDA_GELU_TANH;
    case RAD_OP_CLAMP:
        return RAD_CUDA_CLAMP;
    case RAD_OP_SOFT_CAP:
        return RAD_CUDA_SOFT_CAP;
    case RAD_OP_ADD_GATED:
        return RAD_CUDA_ADD_GATED;
    default:
        return RAD_CUDA_ADD;
    }
}

static radllm_status run_elements(rad_cuda_backend *b, const rad_op *op)
{
    bool in_place =
        op->kind == RAD_OP_GELU || op->kind == RAD_OP_CLAMP || op->kind == RAD_OP_SOFT_CAP;
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_elements_arguments a = {.in = rad_cuda_value(b, in_place ? op->out : op->in),
                                     .other = in_place ? NULL : rad_cuda_value(b, op->other),
                                     .out = rad_cuda_value(b, op->out),
                                     .in_stride = op->width,
                                     .other_stride = op->kind == RAD_OP_ADD_GATED ? 1 : op->width,
                                     .out_stride = op->width,
                                     .n = op->width,
                                     .n_rows = n_rows,
                                     .kind = rad_cuda_kind_of_elements(b, op),
                                     .number = op->number};
    if (op->kind == RAD_OP_GATED || op->kind == RAD_OP_GELU)
        a.tiles = rad_cuda_tiles_for(b, op, op->width, &a.tile_block);
    return launch(b, &rad_cuda_kernel_elements, rows_grid(op->width, n_rows), 0, &a);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static rad_cuda_store_arguments store_of(const rad_cuda_backend *b, const rad_op *op)
{
    const rad_hparams *h = &b->model->hparams;
    return (rad_cuda_store_arguments){.keys = rad_cuda_value(b, op->in),
                                      .values = rad_cuda_value(b, op->other),
                                      .rows = rad_cuda_at(b, b->layout.rows),
                                      .pages = pages_of(b, op->layer),
                                      .first = first_of(b, op->layer),
                                      .key_bytes = (uint32_t)b->cache->key_bytes,
                                      .value_bytes = (uint32_t)b->cache->value_bytes,
                                      .key_type = b->cache->plan.format.keys,
                                      .value_type = b->cache->plan.format.values,
                                      .key_dim = h->head_dim,
                                      .value_dim = h->value_dim,
                                      .n_heads = h->layers[op->layer].n_kv_heads,
                                      .n_rows = b->batch->n_tokens};
}

static radllm_status run_store(rad_cuda_backend *b, const rad_op *op)
{
    rad_cuda_store_arguments a = store_of(b, op);
    rad_cuda_grid grid = rows_grid(0, a.n_rows);
    grid.x = a.n_heads;
    return launch(b, &rad_cuda_kernel_store, grid, 0, &a);
}

/* ---- several in one launch ------------------------------------------------------------------- */

static bool is_in_place(const rad_op *rotate)
{
    return rotate->kind == RAD_OP_ROTATE && rotate->other == rotate->out && !rotate->per_output;
}

static bool are_sum_and_norm(const rad_op *op)
{
    return op[0].kind == RAD_OP_ADD && op[1].kind == RAD_OP_NORM && op[1].in == op[0].out &&
           op[1].width == op[0].width && op[1].per_output == op[0].per_output;
}

/* The norm of what is added, which nothing else reads. */
static bool is_norm_of_sum(const rad_cuda_backend *b, const rad_op *op)
{
    return op[0].kind == RAD_OP_NORM && op[0].weight != NULL && op[0].bias == NULL &&
           !b->model->hparams.architecture->layer_norms && are_sum_and_norm(op + 1) &&
           op[1].other == op[0].out && op[1].in != op[0].out && op[1].out != op[0].in &&
           op[2].out != op[0].in && op[0].width == op[1].width &&
           op[0].per_output == op[1].per_output && !rad_cuda_is_read(b, op + 3, op[0].out);
}

/* Rotation of queries and of keys, all heads of both, and the way into the cache. */
static bool are_rotations_and_store(const rad_cuda_backend *b, const rad_op *op)
{
    return is_in_place(&op[0]) && is_in_place(&op[1]) && op[2].kind == RAD_OP_STORE &&
           op[2].in == op[1].out && op[0].out != op[1].out &&
           op[1].n_heads == b->model->hparams.layers[op[2].layer].n_kv_heads;
}

/* The norm of the heads that are rotated. */
static bool is_norm_of(const rad_cuda_backend *b, const rad_op *norm, const rad_op *rotate)
{
    return norm->kind == RAD_OP_HEAD_NORM && norm->out == rotate->out &&
           norm->n_heads == rotate->n_heads && norm->width == rotate->to.row &&
           norm->per_output == rotate->per_output && rotate->to.first == 0 &&
           rotate->to.stride == b->model->hparams.head_dim;
}

uint32_t rad_cuda_fused(const rad_cuda_backend *b, uint32_t at, uint32_t end)
{
    const rad_op *op = &b->program->ops[at];
    uint32_t n = 1;
    if (at + 1 < end && are_sum_and_norm(op))
        n = 2;
    else if ((b->settings.apart & RAD_CUDA_APART_ADD) == 0 && at + 2 < end && is_norm_of_sum(b, op))
        n = 3;
    else if (at + 2 < end && are_rotations_and_store(b, op))
        n = 3;
    else if ((b->settings.apart & RAD_CUDA_APART_HEADS) == 0 && at + 4 < end &&
             op[0].kind == RAD_OP_HEAD_NORM && are_rotations_and_store(b, op + 2) &&
             is_norm_of(b, &op[0], &op[2]) && is_norm_of(b, &op[1], &op[3]))
        n = 5;
    for (uint32_t i = 0; i < n; i++)
        n = b->on_device[at + i] ? n : 1;
    return n;
}

rad_cuda_heads rad_cuda_heads_of(const rad_cuda_backend *b, const rad_op *ops)
{
    rad_cuda_store_arguments store = store_of(b, &ops[2]);
    return (rad_cuda_heads){.table = rad_cuda_value(b, ops[0].in),
                            .row = store.rows,
                            .pages = store.pages,
                            .first = store.first,
                            .key_bytes = store.key_bytes,
                            .value_bytes = store.value_bytes,
                            .key_type = store.key_type,
                            .value_type = store.value_type,
                            .dim = store.key_dim,
                            .value_dim = store.value_dim,
                            .interleaved = rotation_of(b, &ops[0]).interleaved};
}

radllm_status rad_cuda_run_fused(rad_cuda_backend *b, const rad_op *ops)
{
    const rad_hparams *h = &b->model->hparams;
    rad_cuda_head_norms norms = {.n = 0};
    if (ops[0].kind == RAD_OP_NORM)
        return run_norm(b, &ops[2], &ops[1], &ops[0]);
    if (ops[0].kind == RAD_OP_ADD)
        return run_norm(b, &ops[1], &ops[0], NULL);
    if (ops[0].kind == RAD_OP_HEAD_NORM) {
        norms = (rad_cuda_head_norms){.queries = values_of(b, ops[0].weight),
                                      .keys = values_of(b, ops[1].weight),
                                      .n = h->head_dim,
                                      .epsilon = h->norm_epsilon};
        ops += 2;
    }
    rad_cuda_rotate_store_arguments a = {rotation_of(b, &ops[0]), rotation_of(b, &ops[1]),
                                         store_of(b, &ops[2]), norms};
    rad_cuda_grid grid = rows_grid(0, a.store.n_rows);
    grid.x = a.queries.n_heads + a.keys.n_heads;
    return launch(b, &rad_cuda_kernel_rotate_store, grid, 0, &a);
}

/* ---- all ------------------------------------------------------------------------------------- */

radllm_status rad_cuda_run_rows(rad_cuda_backend *b, const rad_op *op)
{
    switch (op->kind) {
    case RAD_OP_NORM:
        return run_norm(b, op, NULL, NULL);
    case RAD_OP_HEAD_NORM:
        return run_head_norm(b, op);
    case RAD_OP_ROTATE:
        return run_rotate(b, op);
    case RAD_OP_COPY:
        return run_copy(b, op);
    case RAD_OP_SELECT:
        return run_select(b, op);
    case RAD_OP_GATED:
    case RAD_OP_GELU:
    case RAD_OP_CLAMP:
    case RAD_OP_ADD:
    case RAD_OP_SOFT_CAP:
    case RAD_OP_ADD_GATED:
        return run_elements(b, op);
    case RAD_OP_STORE:
        return run_store(b, op);
    default:
        return RADLLM_E_INTERNAL; /* rad_cuda_missing() names it */
    }
}
