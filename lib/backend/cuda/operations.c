/* Products, attention and experts, and which call computes an operation. What is in neither this
 * file nor layer.c is the CPU's. */
#include "backend/cuda/operations.h"

#include "backend/cuda/half.h"

#include <stdio.h>
#include <string.h>

/* ---- attention ------------------------------------------------------------------------------- */

rad_cuda_attend_arguments rad_cuda_attend_shape(const rad_cuda_means *means, const rad_op *op,
                                                uint32_t longest_span, uint32_t *rows)
{
    const rad_hparams *h = &means->model->hparams;
    const rad_layer_params *layer = &h->layers[op->layer];
    rad_reach reach = rad_policy_reach(&means->cache->policy, layer->window);
    rad_cache_format format = means->cache->format;
    rad_cuda_attend_arguments a = {
        .key_bytes = (uint32_t)rad_key_tile_bytes(format.keys, h->head_dim),
        .value_bytes = (uint32_t)rad_value_tile_bytes(format.values, h->value_dim),
        .key_type = format.keys,
        .value_type = format.values,
        .key_dim = h->head_dim,
        .value_dim = h->value_dim,
        .n_heads = layer->n_heads,
        .n_kv_heads = layer->n_kv_heads,
        .window = reach.window,
        .sinks = reach.sinks,
        .scale = h->query_scale,
        .cap = h->attention_cap};
    *rows = rad_cuda_attend_choose(&a, longest_span, means->properties->shared_bytes);
    rad_cuda_attend_heads(&a, *rows, longest_span, means->properties->shared_bytes);
    return a;
}

/* Keys that a block of tokens looks at, at most. */
static uint64_t keys_seen(const rad_cuda_backend *b, const rad_cuda_attend_arguments *a)
{
    uint64_t window = (uint64_t)a->window + 255 + RAD_CUDA_BLOCK_TOKENS;
    return a->window != 0 && window < b->most_keys ? window : b->most_keys;
}

static radllm_status run_attend(rad_cuda_backend *b, const rad_op *op)
{
    const rad_hparams *h = &b->model->hparams;
    rad_cuda_means means = {b->model, &b->cache->plan, &b->device->properties, b->library};
    uint32_t rows;
    rad_cuda_attend_arguments a = rad_cuda_attend_shape(&means, op, b->longest_span, &rows);
    a.queries = rad_cuda_value(b, op->in);
    a.sink_queries = a.sinks > 0 ? rad_cuda_value(b, op->other) : NULL;
    a.rows = rad_cuda_at(b, b->layout.rows);
    a.blocks = rad_cuda_at(b, b->layout.blocks[a.tokens_per_block - 1]);
    a.pages = pages_of(b, op->layer);
    a.first = first_of(b, op->layer);
    a.learned_sinks = values_of(b, op->bias);
    if (h->max_alibi_bias > 0.0f)
        a.slopes =
            (const float *)rad_cuda_at(b, b->layout.slopes) + (size_t)op->layer * h->max_heads;
    a.out = rad_cuda_value(b, op->out);
    a.n_blocks = b->n_blocks[a.tokens_per_block - 1];
    a.states = rad_cuda_at(b, b->layout.states);
    a.counters = rad_cuda_at(b, b->layout.counters);
    rad_cuda_attend_plan(&a, keys_seen(b, &a), b->device->properties.multiprocessors,
                         b->device->properties.shared_bytes, b->layout.states_bytes);
    if (rad_cuda_attend_makes_tiles(&a))
        a.tiles = rad_cuda_tiles_for(b, op, a.heads_per_block * a.value_dim, &a.tile_block);
    rad_cuda_grid grid = {a.n_blocks, a.n_kv_heads * a.head_blocks, a.n_parts};
    radllm_status status =
        launch(b, rad_cuda_attend_kernel(&a, rows), grid, rad_cuda_attend_shared(&a, rows), &a);
    if (status != RADLLM_OK || !rad_cuda_attend_is_merged_apart(&a))
        return status;
    return launch(b, &rad_cuda_kernel_attend_merge, (rad_cuda_grid){a.n_blocks, a.n_heads, 1},
                  rad_cuda_attend_merge_shared(a.value_dim), &a);
}

/* ---- products -------------------------------------------------------------------------------- */

/* Rows of floats in the form that quantized weights are multiplied with. */
static radllm_status quantize_rows(rad_cuda_backend *b, const rad_op *op, const float *x,
                                   uint32_t stride, uint32_t n_rows)
{
    rad_activation_kind kind = activation_of(op->weight);
    bool whole_rows = kind == RAD_ACTIVATION_Q8_ROW || kind == RAD_ACTIVATION_Q8_OUTLIERS;
    const rad_cuda_kernel *kernel = kind == RAD_ACTIVATION_Q8_OUTLIERS
                                        ? &rad_cuda_kernel_quantize_outliers
                                    : whole_rows ? &rad_cuda_kernel_quantize_row
                                                 : &rad_cuda_kernel_quantize;
    uint32_t n_columns = op->weight->matrix.n_columns;
    uint32_t n_tiles = (n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    rad_cuda_quantize_arguments a = {.x = x,
                                     .tiles = rad_cuda_at(b, b->layout.tiles),
                                     .columns = rad_cuda_weight_of(b, op->weight)->columns,
                                     .n_inputs = stride,
                                     .n_columns = n_columns,
                                     .block = rad_activation_block(kind, n_columns),
                                     .threshold = op->weight->threshold};
    radllm_status status = RADLLM_OK;
    for (uint32_t first = 0; first < n_rows && status == RADLLM_OK; first += MOST_GRID_ROWS) {
        uint32_t n = n_rows - first < MOST_GRID_ROWS ? n_rows - first : MOST_GRID_ROWS;
        status =
            launch(b, kernel, (rad_cuda_grid){whole_rows ? 1 : (n_tiles + 7) / 8, n, 1}, 0, &a);
        a.x += (size_t)n * stride;
        a.tiles += rad_cuda_tiles_bytes(n, n_columns);
    }
    return status;
}

/* The same of an operation's input, unless that was done already. */
static radllm_status quantize(rad_cuda_backend *b, const rad_op *op, uint32_t n_rows)
{
    rad_activation_kind kind = activation_of(op->weight);
    const uint32_t *columns = rad_cuda_weight_of(b, op->weight)->columns;
    if (b->tiles_value == op->in && b->tiles_kind == kind && b->tiles_columns == columns)
        return RADLLM_OK;
    b->tiles_value = op->in;
    b->tiles_kind = kind;
    b->tiles_columns = columns;
    b->tiles = rad_cuda_at(b, b->layout.tiles);
    return quantize_rows(b, op, rad_cuda_value(b, op->in), rad_weight_inputs(op->weight), n_rows);
}

/* Of experts whose columns stand in orders of their own: the input of each slot, in its expert's.
 */
static radllm_status quantize_slots(rad_cuda_backend *b, const rad_op *op, uint32_t n_slots)
{
    uint32_t n_columns = op->weight->matrix.n_columns, n_used = b->model->hparams.router.n_used;
    uint32_t n_tiles = (n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    uint32_t most = MOST_GRID_ROWS / n_used * n_used;
    rad_cuda_quantize_arguments a = {
        .x = rad_cuda_value(b, op->in),
        .tiles = rad_cuda_at(b, b->layout.tiles),
        .columns = rad_cuda_weight_of(b, op->weight)->columns,
        .n_inputs = rad_weight_inputs(op->weight),
        .n_columns = n_columns,
        .block = rad_activation_block(activation_of(op->weight), n_columns),
        .experts = rad_cuda_at(b, b->grouped ? b->layout.expert_of : b->layout.slot_expert),
        .inputs = b->grouped && !op->by_choice ? rad_cuda_at(b, b->layout.token_of) : NULL,
        .slots_per_input = op->by_choice ? 1 : n_used};
    radllm_status status = RADLLM_OK;
    b->tiles = a.tiles;
    b->tiles_value = -1; /* no other product reads them */
    for (uint32_t first = 0, n; first < n_slots && status == RADLLM_OK; first += n) {
        n = n_slots - first < most ? n_slots - first : most;
        status = launch(b, &rad_cuda_kernel_quantize_slots,
                        (rad_cuda_grid){(n_tiles + 7) / 8, n, 1}, 0, &a);
        a.tiles += rad_cuda_tiles_bytes(n, n_columns);
        a.experts += n;
        if (a.inputs != NULL)
            a.inputs += n;
        else
            a.x += (size_t)(n / a.slots_per_input) * a.n_inputs;
    }
    return status;
}

static bool is_ordered(const rad_cuda_backend *b, const rad_weight *weight)
{
    return rad_cuda_weight_of(b, weight)->columns != NULL;
}

static rad_cuda_product_part part_of(const rad_cuda_backend *b, const rad_op *op)
{
    const rad_weight *weight = op->weight;
    const rad_cuda_weight *there = rad_cuda_weight_of(b, weight);
    uint32_t n_rows = rad_weight_rows(weight);
    return (rad_cuda_product_part){.weights = there->data,
                                   .y = rad_cuda_value(b, op->out),
                                   .bias = values_of(b, op->bias),
                                   .scales = there->scales,
                                   .expert_bytes = rad_cuda_expert_bytes(weight),
                                   .n_rows = n_rows,
                                   .y_stride = n_rows};
}

/* What a product is multiplied with, and where its results go. With slots (of experts, of heads)
 * each multiplies the matrix that it names with the input of its place, or one for several. */
typedef struct inputs {
    const float *x; /* rows x_stride apart */
    uint64_t x_stride;
    const uint8_t *tiles; /* the same, where weights are quantized */
    uint32_t n_tokens;
    const uint32_t *experts; /* NULL: no slots; then n_tokens is not looked at */
    uint32_t n_slots, slots_per_input;
} inputs;

/* NULL where weights are quantized. */
static const rad_cuda_kernel *dot_kernel(rad_type type)
{
    switch (type) {
    case RAD_TYPE_F32:
        return &rad_cuda_kernel_dot_f32;
    case RAD_TYPE_F16:
        return &rad_cuda_kernel_dot_f16;
    case RAD_TYPE_BF16:
        return &rad_cuda_kernel_dot_bf16;
    case RAD_TYPE_FP8:
        return &rad_cuda_kernel_dot_fp8;
    case RAD_TYPE_NF4:
    case RAD_TYPE_FP4:
        return &rad_cuda_kernel_dot_level4;
    default:
        return NULL;
    }
}

/* Matrices of one type that read the same input, in one launch. */
typedef struct parts {
    rad_cuda_product_part of[RAD_CUDA_PRODUCT_PARTS];
    uint32_t n, n_rows; /* rows of all */
    rad_cuda_behind behind;
    const rad_cuda_before *before; /* NULL: the input is there */
    rad_type last;                 /* then: of the last part */
    rad_cuda_heads heads;
} parts;

static parts one_part(rad_cuda_product_part part)
{
    return (parts){.of = {part}, .n = 1, .n_rows = part.n_rows};
}

/* Writes where each part's blocks of so many rows begin in the grid; returns how many there are. */
static uint32_t cut_parts(const parts *p, uint32_t rows, rad_cuda_product_part *out)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        out[i] = p->of[i];
        out[i].first_block = blocks;
        blocks += (p->of[i].n_rows + rows - 1) / rows;
    }
    return blocks;
}

static radllm_status multiply_floats(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                     const inputs *in)
{
    rad_type type = op->weight->matrix.type;
    uint32_t most = in->experts == NULL ? MOST_GRID_ROWS * RAD_CUDA_DOT_TOKENS : MOST_GRID_ROWS;
    uint32_t count = in->experts == NULL ? in->n_tokens : in->n_slots;
    rad_cuda_dot_arguments a = {.x = in->x,
                                .x_stride = in->x_stride,
                                .experts = in->experts,
                                .slots_per_input = in->slots_per_input,
                                .n_parts = p->n,
                                .n_columns = op->weight->matrix.n_columns,
                                .n_tokens = in->n_tokens};
    if (type == RAD_TYPE_NF4 || type == RAD_TYPE_FP4)
        memcpy(a.levels, type == RAD_TYPE_FP4 ? rad_levels_fp4 : rad_levels_nf4, sizeof a.levels);
    if (count > most)
        return RADLLM_E_INTERNAL; /* a step has fewer tokens, and slots come in pieces */
    if (in->experts == NULL && type == RAD_TYPE_F32 &&
        rad_cuda_is_fast(b, type, p->of, p->n, in->n_tokens))
        return rad_cuda_fast_product(b, type, p->of, p->n, in->x, in->x_stride, a.n_columns,
                                     in->n_tokens);
    rad_cuda_grid grid = {cut_parts(p, RAD_CUDA_DOT_ROWS, a.parts),
                          (in->n_tokens + RAD_CUDA_DOT_TOKENS - 1) / RAD_CUDA_DOT_TOKENS, 1};
    if (in->experts != NULL) {
        grid.y = 1;
        grid.z = in->n_slots;
    }
    return launch(b, dot_kernel(type), grid, 0, &a);
}

/* As many tokens at a time as the kernel takes, or slots. */
static radllm_status multiply_few(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                  const inputs *in, rad_cuda_few_launch how)
{
    uint32_t n_columns = op->weight->matrix.n_columns;
    rad_cuda_few_arguments a = {.tiles = in->tiles,
                                .x = in->x,
                                .x_stride = in->x_stride,
                                .experts = in->experts,
                                .slots_per_input = in->slots_per_input,
                                .n_parts = p->n,
                                .n_columns = n_columns,
                                .n_tokens = 1,
                                .rows_log2 = how.rows_log2,
                                .behind = p->behind};
    if (p->before != NULL) {
        how = rad_cuda_normed_launch(op->weight->matrix.type, p->last, n_columns, how);
        a.before = *p->before;
        a.heads = p->heads;
    }
    rad_cuda_grid grid = {cut_parts(p, 1u << how.rows_log2, a.parts), 1, 1};
    if (in->experts != NULL) {
        grid.z = in->n_slots;
        return launch(b, how.kernel, grid, how.shared_bytes, &a);
    }
    radllm_status status = RADLLM_OK;
    for (uint32_t first = 0; first < in->n_tokens && status == RADLLM_OK; first += a.n_tokens) {
        uint32_t left = in->n_tokens - first;
        a.n_tokens = left < how.n_tokens ? left : how.n_tokens;
        status = launch(b, how.kernel, grid, how.shared_bytes, &a);
        if (a.tiles != NULL)
            a.tiles += rad_cuda_tiles_bytes(a.n_tokens, n_columns);
        a.x += a.n_tokens * a.x_stride;
        for (uint32_t i = 0; i < p->n; i++) {
            size_t done = (size_t)a.n_tokens * a.parts[i].y_stride;
            a.parts[i].y += done;
            a.parts[i].add = a.parts[i].add != NULL ? a.parts[i].add + done : NULL;
        }
    }
    return status;
}

/* By matrix instructions, with the same bits. */
static radllm_status multiply_many(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                   const inputs *in)
{
    rad_cuda_many_arguments a = {.tiles = in->tiles,
                                 .x = in->x,
                                 .x_stride = in->x_stride,
                                 .n_parts = p->n,
                                 .n_columns = op->weight->matrix.n_columns,
                                 .n_tokens = in->n_tokens};
    rad_cuda_grid grid = {cut_parts(p, RAD_CUDA_MANY_ROWS, a.parts),
                          (in->n_tokens + RAD_CUDA_MANY_TOKENS - 1) / RAD_CUDA_MANY_TOKENS, 1};
    return launch(b, rad_cuda_many_kernel(op->weight->matrix.type), grid, 0, &a);
}

static radllm_status multiply_quantized(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                        const inputs *in)
{
    rad_type type = op->weight->matrix.type;
    rad_cuda_few_launch few =
        rad_cuda_few_choose(type, p->n_rows, op->weight->matrix.n_columns,
                            in->experts == NULL ? in->n_tokens : 1, &b->device->properties);
    bool many =
        in->experts == NULL && in->n_tokens > few.n_tokens && rad_cuda_many_kernel(type) != NULL;
    return many ? multiply_many(b, op, p, in) : multiply_few(b, op, p, in, few);
}

static bool is_float(const rad_weight *weight)
{
    return activation_of(weight) == RAD_ACTIVATION_F32;
}

static radllm_status multiply(rad_cuda_backend *b, const rad_op *op, const parts *p,
                              const inputs *in)
{
    return is_float(op->weight) ? multiply_floats(b, op, p, in) : multiply_quantized(b, op, p, in);
}

static bool is_half(const rad_cuda_backend *b, const rad_weight *weight)
{
    const rad_type type = weight->matrix.type;
    return rad_cuda_half_fits(type, weight->matrix.n_columns) &&
           !((b->settings.apart & RAD_CUDA_APART_SCALED) != 0 && rad_cuda_is_scaled(type));
}

/* Rounds an operation's input to 16 bits, unless that was done already. */
static radllm_status round_halves(rad_cuda_backend *b, const rad_op *op, uint32_t n_rows,
                                  bool in_order, rad_cuda_half_arguments *a)
{
    rad_type type = op->weight->matrix.type;
    rad_cuda_half_prepare(type, n_rows, a);
    if (b->tiles_value == op->in && b->tiles_kind == RAD_ACTIVATION_F32 && b->tiles_type == type &&
        b->tiles_in_order == in_order)
        return RADLLM_OK;
    b->tiles_value = op->in;
    b->tiles_kind = RAD_ACTIVATION_F32;
    b->tiles_type = type;
    b->tiles_in_order = in_order;
    return rad_cuda_half_round(b->device, type, rad_cuda_value(b, op->in),
                               rad_weight_inputs(op->weight), n_rows, in_order, a);
}

/* 16-bit weights, and those that become so, by matrix instructions. */
static radllm_status multiply_halves(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                     const inputs *in)
{
    rad_type type = op->weight->matrix.type;
    rad_cuda_half_arguments a = {.halves = rad_cuda_at(b, b->layout.tiles),
                                 .n_parts = p->n,
                                 .n_columns = op->weight->matrix.n_columns,
                                 .n_tokens = in->n_tokens};
    bool fast = rad_cuda_is_fast(b, type, p->of, p->n, in->n_tokens);
    memcpy(a.parts, p->of, sizeof a.parts);
    radllm_status status = round_halves(b, op, in->n_tokens, fast, &a);
    if (status != RADLLM_OK)
        return status;
    return fast ? rad_cuda_fast_product(b, type, a.parts, a.n_parts, a.halves, a.n_columns,
                                        a.n_columns, a.n_tokens)
                : rad_cuda_half_product(b->device, type, &a, 1);
}

bool rad_cuda_can_join(const rad_cuda_backend *b, const rad_op *op, const rad_op *next,
                       bool any_type)
{
    const rad_matrix *x = &op->weight->matrix, *y = &next->weight->matrix;
    return op->in == next->in && op->out != next->out && op->per_output == next->per_output &&
           (any_type || x->type == y->type) && x->n_columns == y->n_columns &&
           op->weight->threshold == next->weight->threshold &&
           rad_cuda_weight_of(b, op->weight)->columns == NULL &&
           rad_cuda_weight_of(b, next->weight)->columns == NULL;
}

rad_cuda_few_launch rad_cuda_few_of(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n)
{
    const rad_matrix *matrix = &ops[0]->weight->matrix;
    uint32_t n_tokens = rad_cuda_rows(b, ops[0]);
    uint64_t n_rows = 0;
    for (uint32_t i = 0; i < n; i++)
        n_rows += rad_weight_rows(ops[i]->weight);
    rad_cuda_few_launch few = rad_cuda_few_choose(matrix->type, n_rows, matrix->n_columns, n_tokens,
                                                  &b->device->properties);
    if (n_tokens > few.n_tokens)
        few.kernel = NULL;
    return few;
}

/* What the blocks of a product go on with. */
static void set_behind(rad_cuda_backend *b, const rad_op *op, parts *p)
{
    if (op->kind == RAD_OP_ADD) {
        p->of[0].y = rad_cuda_value(b, op->out);
        p->of[0].add = p->of[0].y;
        return;
    }
    p->behind = (rad_cuda_behind){.counters = rad_cuda_at(b, b->layout.pieces),
                                  .kind = rad_cuda_kind_of_elements(b, op)};
    (void)rad_cuda_tiles_for(b, op, RAD_CUDA_CHUNK, &p->behind.tile_block);
    b->tiles = rad_cuda_at(b, b->layout.tiles_behind); /* the others are being read */
    p->behind.tiles = b->tiles;
}

static rad_cuda_before before_of(const rad_cuda_backend *b, const rad_op *norm, const rad_op *op)
{
    return (rad_cuda_before){.in = rad_cuda_value(b, norm->in),
                             .weight = values_of(b, norm->weight),
                             .out = rad_cuda_value(b, norm->out),
                             .epsilon = b->model->hparams.norm_epsilon,
                             .tile_block =
                                 rad_activation_block(activation_of(op->weight), norm->width)};
}

radllm_status rad_cuda_run_products(rad_cuda_backend *b, const rad_cuda_products *products)
{
    const rad_op *op = products->ops[0];
    inputs in = {.x = rad_cuda_value(b, op->in),
                 .x_stride = rad_weight_inputs(op->weight),
                 .n_tokens = rad_cuda_rows(b, op)};
    parts p = {.n = products->n};
    rad_cuda_before before;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < p.n; i++) {
        p.of[i] = part_of(b, products->ops[i]);
        p.n_rows += p.of[i].n_rows;
    }
    if (products->norm != NULL) {
        before = before_of(b, products->norm, op);
        p.before = &before;
        p.last = products->ops[p.n - 1]->weight->matrix.type;
    } else if (!is_half(b, op->weight) && !is_float(op->weight)) {
        status = quantize(b, op, in.n_tokens);
        in.tiles = b->tiles;
    }
    if (products->heads != NULL)
        p.heads = rad_cuda_heads_of(b, products->heads);
    if (products->behind != NULL)
        set_behind(b, products->behind, &p);
    if (status != RADLLM_OK)
        return status;
    return is_half(b, op->weight) ? multiply_halves(b, op, &p, &in) : multiply(b, op, &p, &in);
}

/* Heads' matrices times their parts of each row, a token at a time: its heads are slots. */
static radllm_status run_head_product(rad_cuda_backend *b, const rad_op *op)
{
    uint32_t n_columns = op->weight->matrix.n_columns, n_tokens = rad_cuda_rows(b, op);
    uint64_t tiles = rad_cuda_tiles_bytes(op->n_heads, n_columns);
    inputs in = {.x = rad_cuda_value(b, op->in) + op->from.first,
                 .x_stride = op->from.stride,
                 .tiles = rad_cuda_at(b, b->layout.tiles),
                 .n_tokens = 1,
                 .experts = rad_cuda_at(b, b->layout.slot_itself),
                 .n_slots = op->n_heads,
                 .slots_per_input = 1};
    rad_cuda_product_part part = part_of(b, op);
    part.y += op->to.first;
    part.y_stride = op->to.stride;
    radllm_status status = RADLLM_OK;
    if (!is_float(op->weight))
        status = quantize_rows(b, op, in.x, op->from.stride, n_tokens * op->n_heads);
    b->tiles_value = -1; /* the tiles are parts of rows */
    for (uint32_t t = 0; t < n_tokens && status == RADLLM_OK; t++) {
        parts p = one_part(part);
        status = multiply(b, op, &p, &in);
        in.x += op->from.row;
        in.tiles += tiles;
        part.y += op->to.row;
    }
    return status;
}

/* ---- experts --------------------------------------------------------------------------------- */

uint64_t rad_cuda_most_expert_tiles(const rad_hparams *hparams, uint64_t n_tokens)
{
    return n_tokens * hparams->router.n_used / RAD_CUDA_MANY_TOKENS + hparams->router.n_experts;
}

/* Whether all products of the experts that `route` chooses can take slots by expert. */
static bool can_group(const rad_cuda_backend *b, const rad_op *route)
{
    const rad_op *end = b->program->ops + b->program->n_ops;
    bool can = true;
    for (const rad_op *op = route; op < end && op->kind != RAD_OP_COMBINE; op++)
        can = can && (op->kind != RAD_OP_EXPERT_PRODUCT || is_half(b, op->weight) ||
                      rad_cuda_many_kernel(op->weight->matrix.type) != NULL);
    return can;
}

/* Slots by expert, their tiles, and how many tokens each expert had. */
static radllm_status group(rad_cuda_backend *b, const rad_op *op, uint32_t n_rows)
{
    const rad_router *router = &b->model->hparams.router;
    uint64_t *counts = rad_cuda_at(b, b->layout.expert_tokens);
    rad_cuda_group_arguments a = {.routes =
                                      (const uint32_t *)(const void *)rad_cuda_value(b, op->out),
                                  .starts = rad_cuda_at(b, b->layout.starts),
                                  .token_of = rad_cuda_at(b, b->layout.token_of),
                                  .row_of = rad_cuda_at(b, b->layout.row_of),
                                  .expert_of = rad_cuda_at(b, b->layout.expert_of),
                                  .tile_expert = rad_cuda_at(b, b->layout.tile_expert),
                                  .tile_first = rad_cuda_at(b, b->layout.tile_first),
                                  .n_tiles = rad_cuda_at(b, b->layout.n_tiles),
                                  .counts = counts + (size_t)op->layer * router->n_experts,
                                  .n_experts = router->n_experts,
                                  .n_used = router->n_used,
                                  .n_rows = n_rows,
                                  .tile_rows = RAD_CUDA_MANY_TOKENS};
    return launch(b, &rad_cuda_kernel_group, (rad_cuda_grid){router->n_experts, 1, 1},
                  4 * router->n_experts, &a);
}

/* A slot is a choice: token * n_used + rank. */
static radllm_status list_slots(rad_cuda_backend *b, const rad_op *op, uint32_t n_rows)
{
    uint32_t n_used = b->model->hparams.router.n_used;
    rad_cuda_copy_arguments a = {.in = rad_cuda_value(b, op->out),
                                 .out = rad_cuda_at(b, b->layout.slot_expert),
                                 .from_row = 2 * n_used,
                                 .to_row = n_used,
                                 .width = n_used,
                                 .n_heads = 1,
                                 .n_rows = n_rows};
    return launch(b, &rad_cuda_kernel_copy, rows_grid(n_used, n_rows), 0, &a);
}

static radllm_status run_route(rad_cuda_backend *b, const rad_op *op)
{
    const rad_router *router = &b->model->hparams.router;
    uint32_t n_rows = rad_cuda_rows(b, op), n_used = router->n_used;
    rad_cuda_route_arguments a = {.logits = rad_cuda_value(b, op->in),
                                  .bias = values_of(b, op->bias),
                                  .routes = (uint32_t *)(void *)rad_cuda_value(b, op->out),
                                  .n_experts = router->n_experts,
                                  .n_used = n_used,
                                  .n_groups = router->n_groups,
                                  .n_groups_used = router->n_groups_used,
                                  .group_best = router->group_best,
                                  .gating = router->gating,
                                  .normalise = router->normalise,
                                  .scale = router->scale,
                                  .n_rows = n_rows};
    radllm_status status = launch(b, &rad_cuda_kernel_route, (rad_cuda_grid){n_rows, 1, 1},
                                  rad_cuda_route_shared(router->n_experts, n_used), &a);
    b->grouped = can_group(b, op);
    if (status == RADLLM_OK)
        status = group(b, op, n_rows);
    return status == RADLLM_OK && !b->grouped ? list_slots(b, op, n_rows) : status;
}

/* The same of slots by expert. */
static radllm_status multiply_grouped_halves(rad_cuda_backend *b, const rad_op *op,
                                             uint32_t n_tokens)
{
    const rad_hparams *h = &b->model->hparams;
    bool few = n_tokens <= RAD_CUDA_PRODUCT_TOKENS;
    uint32_t n_slots = n_tokens * h->router.n_used;
    rad_cuda_half_arguments a = {.parts = {part_of(b, op)},
                                 .halves = rad_cuda_at(b, b->layout.tiles),
                                 .experts = rad_cuda_at(b, b->layout.expert_of),
                                 .inputs =
                                     op->by_choice ? NULL : rad_cuda_at(b, b->layout.token_of),
                                 .tile_expert = rad_cuda_at(b, b->layout.tile_expert),
                                 .tile_first = rad_cuda_at(b, b->layout.tile_first),
                                 .starts = rad_cuda_at(b, b->layout.starts),
                                 .n_tiles = rad_cuda_at(b, b->layout.n_tiles),
                                 .slots_per_input = 1,
                                 .n_parts = 1,
                                 .n_columns = op->weight->matrix.n_columns,
                                 .n_tokens = 1};
    radllm_status status = round_halves(b, op, op->by_choice ? n_slots : n_tokens, false, &a);
    return status == RADLLM_OK
               ? rad_cuda_half_grouped(b->device, op->weight->matrix.type, &a, n_slots,
                                       few ? 0 : (uint32_t)rad_cuda_most_expert_tiles(h, n_tokens))
               : status;
}

/* Slots by expert: few of them each by itself, many in tiles by matrix instructions. p: products of
 * the same input, op the first one. */
static radllm_status multiply_grouped(rad_cuda_backend *b, const rad_op *op, const parts *p,
                                      uint32_t n_tokens)
{
    const rad_hparams *h = &b->model->hparams;
    rad_type type = op->weight->matrix.type;
    uint32_t n_slots = n_tokens * h->router.n_used, n_columns = op->weight->matrix.n_columns;
    bool by_slot = op->by_choice || is_ordered(b, op->weight);
    const uint32_t *token_of = by_slot ? NULL : rad_cuda_at(b, b->layout.token_of);
    if (n_tokens <= RAD_CUDA_PRODUCT_TOKENS) {
        uint32_t rows_log2 = rad_cuda_few_rows_log2(type, p->n_rows, n_columns,
                                                    b->device->properties.multiprocessors);
        rad_cuda_few_arguments a = {.tiles = b->tiles,
                                    .x = rad_cuda_value(b, op->in),
                                    .x_stride = rad_weight_inputs(op->weight),
                                    .experts = rad_cuda_at(b, b->layout.expert_of),
                                    .inputs = token_of,
                                    .slots_per_input = 1,
                                    .n_parts = p->n,
                                    .n_columns = n_columns,
                                    .n_tokens = 1,
                                    .rows_log2 = rows_log2};
        rad_cuda_grid grid = {cut_parts(p, 1u << rows_log2, a.parts), 1, n_slots};
        return launch(b, rad_cuda_few_kernel(type), grid,
                      rad_cuda_few_shared_bytes(type, rows_log2), &a);
    }
    rad_cuda_many_arguments a = {.tiles = b->tiles,
                                 .tile_expert = rad_cuda_at(b, b->layout.tile_expert),
                                 .tile_first = rad_cuda_at(b, b->layout.tile_first),
                                 .starts = rad_cuda_at(b, b->layout.starts),
                                 .n_tiles = rad_cuda_at(b, b->layout.n_tiles),
                                 .inputs = token_of,
                                 .x = rad_cuda_value(b, op->in),
                                 .x_stride = rad_weight_inputs(op->weight),
                                 .n_parts = p->n,
                                 .n_columns = n_columns,
                                 .n_tokens = n_slots};
    rad_cuda_grid grid = {cut_parts(p, RAD_CUDA_MANY_ROWS, a.parts),
                          (uint32_t)rad_cuda_most_expert_tiles(h, n_tokens), 1};
    return launch(b, rad_cuda_many_kernel(type), grid, 0, &a);
}

/* Slots by token. */
static radllm_status multiply_slots(rad_cuda_backend *b, const rad_op *op, uint32_t n_tokens)
{
    uint32_t n_used = b->model->hparams.router.n_used;
    uint32_t n_slots = n_tokens * n_used, most = MOST_GRID_ROWS / n_used * n_used;
    inputs in = {.x = rad_cuda_value(b, op->in),
                 .x_stride = rad_weight_inputs(op->weight),
                 .tiles = b->tiles,
                 .n_tokens = 1,
                 .experts = rad_cuda_at(b, b->layout.slot_expert),
                 .slots_per_input = op->by_choice || is_ordered(b, op->weight) ? 1 : n_used};
    rad_cuda_product_part part = part_of(b, op);
    radllm_status status = RADLLM_OK;
    for (uint32_t first = 0; first < n_slots && status == RADLLM_OK; first += most) {
        parts p = one_part(part);
        in.n_slots = n_slots - first < most ? n_slots - first : most;
        status = multiply(b, op, &p, &in);
        uint32_t inputs_done = in.n_slots / in.slots_per_input;
        in.x += inputs_done * in.x_stride;
        if (in.tiles != NULL)
            in.tiles += rad_cuda_tiles_bytes(inputs_done, op->weight->matrix.n_columns);
        in.experts += in.n_slots;
        part.y += (size_t)in.n_slots * part.y_stride;
    }
    return status;
}

static radllm_status run_expert_product(rad_cuda_backend *b, const rad_op *op)
{
    uint32_t n_tokens = rad_cuda_rows(b, op), n_used = b->model->hparams.router.n_used;
    radllm_status status = RADLLM_OK;
    if (b->grouped && is_half(b, op->weight))
        return multiply_grouped_halves(b, op, n_tokens);
    if (is_ordered(b, op->weight))
        status = quantize_slots(b, op, n_tokens * n_used);
    else if (!is_float(op->weight))
        status = quantize(b, op, op->by_choice ? n_tokens * n_used : n_tokens);
    if (status != RADLLM_OK)
        return status;
    parts p = one_part(part_of(b, op));
    return b->grouped ? multiply_grouped(b, op, &p, n_tokens) : multiply_slots(b, op, n_tokens);
}

bool rad_cuda_can_join_experts(const rad_cuda_backend *b, const rad_op *op, const rad_op *next)
{
    return (b->settings.apart & RAD_CUDA_APART_EXPERTS) == 0 && b->grouped && !op->by_choice &&
           !next->by_choice && !is_half(b, op->weight) && !is_float(op->weight) &&
           !is_ordered(b, op->weight) && !is_ordered(b, next->weight) &&
           rad_cuda_can_join(b, op, next, false);
}

radllm_status rad_cuda_run_two_experts(rad_cuda_backend *b, const rad_op *op, const rad_op *next)
{
    uint32_t n_tokens = rad_cuda_rows(b, op);
    parts p = {.of = {part_of(b, op), part_of(b, next)}, .n = 2};
    p.n_rows = p.of[0].n_rows + p.of[1].n_rows;
    radllm_status status = quantize(b, op, n_tokens);
    return status == RADLLM_OK ? multiply_grouped(b, op, &p, n_tokens) : status;
}

static radllm_status run_combine(rad_cuda_backend *b, const rad_op *op)
{
    uint32_t n_rows = rad_cuda_rows(b, op);
    rad_cuda_combine_arguments a = {
        .in = rad_cuda_value(b, op->in),
        .row_of = rad_cuda_at(b, b->grouped ? b->layout.row_of : b->layout.slot_itself),
        .routes = (const uint32_t *)(const void *)rad_cuda_value(b, op->other),
        .out = rad_cuda_value(b, op->out),
        .n = op->width,
        .n_used = b->model->hparams.router.n_used,
        .n_rows = n_rows};
    return launch(b, &rad_cuda_kernel_combine, rows_grid(op->width, n_rows), 0, &a);
}

/* ---- what is missing ------------------------------------------------------------------------- */

/* Orders of experts are of blocks that quantize_slots makes. */
static bool takes_orders(const rad_cuda_means *means, const rad_weight *weight)
{
    rad_activation_kind kind = activation_of(weight);
    bool blocks = kind == RAD_ACTIVATION_Q8_32 || kind == RAD_ACTIVATION_Q8_64 ||
                  kind == RAD_ACTIVATION_Q8_256;
    return blocks || rad_cuda_orders(means->library, weight) == 0;
}

/* However few queries a block takes. */
static bool has_shared_memory(const rad_cuda_means *means, const rad_op *op)
{
    uint32_t rows, limit = means->properties->shared_bytes;
    rad_cuda_attend_arguments a = rad_cuda_attend_shape(means, op, 1, &rows);
    a.division = RAD_CUDA_ATTEND_WHOLE;
    return rad_cuda_attend_shared(&a, rows) <= limit &&
           rad_cuda_attend_merge_shared(a.value_dim) <= limit;
}

const char *rad_cuda_missing(const rad_cuda_means *means, const rad_op *op, char why[RAD_CUDA_TEXT])
{
    switch (op->kind) {
    case RAD_OP_EMBED:
    case RAD_OP_POSITIONS:
    case RAD_OP_ROTARY_TABLE:
        return "lookup of tables";
    case RAD_OP_EXPERT_PRODUCT:
        if (!takes_orders(means, op->weight))
            return "experts of this type with columns in an order of their own";
        break;
    case RAD_OP_HEAD_PRODUCT: /* its input's parts must be rows of one distance */
        if (!is_float(op->weight) && op->from.row != op->n_heads * op->from.stride)
            return "products by heads of this shape";
        break;
    case RAD_OP_PRODUCT:
        break;
    case RAD_OP_ATTEND:
        return has_shared_memory(means, op) ? NULL : "room for attention with heads of this size";
    default:
        return NULL;
    }
    rad_type type = op->weight->matrix.type;
    if (dot_kernel(type) != NULL || rad_cuda_few_kernel(type) != NULL)
        return NULL;
    snprintf(why, RAD_CUDA_TEXT, "products with weights of type %s",
             rad_type_find((uint32_t)type)->name);
    return why;
}

/* ---- all ------------------------------------------------------------------------------------- */

radllm_status rad_cuda_run_op(rad_cuda_backend *b, const rad_op *op)
{
    switch (op->kind) {
    case RAD_OP_ATTEND:
        return run_attend(b, op);
    case RAD_OP_PRODUCT:
        return rad_cuda_run_products(b, &(rad_cuda_products){.ops = {op}, .n = 1});
    case RAD_OP_HEAD_PRODUCT:
        return run_head_product(b, op);
    case RAD_OP_ROUTE:
        return run_route(b, op);
    case RAD_OP_EXPERT_PRODUCT:
        return run_expert_product(b, op);
    case RAD_OP_COMBINE:
        return run_combine(b, op);
    case RAD_OP_ADAPT:
        return rad_cuda_run_adapt(b, op);
    default:
        return rad_cuda_run_rows(b, op);
    }
}
