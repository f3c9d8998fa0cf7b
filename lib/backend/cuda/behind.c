/* What products are one launch with: a residual sum; of few tokens an activation of what they give
 * (kernels/cuda/products_behind.h); of one token the norm that makes their input
 * (kernels/cuda/products_normed.h), and rotation and store (kernels/cuda/products_heads.h). */
#include "backend/cuda/operations.h"

/* Whether no row has adapters for the operations from `first` up to `end`, as far as these adapt.
 */
static bool is_plain(const rad_cuda_backend *b, const rad_op *first, const rad_op *end)
{
    for (const rad_op *op = first; op < end; op++) {
        if (op->kind == RAD_OP_ADAPT && rad_cuda_is_adapted(b->batch, op))
            return false;
    }
    return true;
}

/* GATED of two products, or GELU of one, in its place. */
static bool is_activation(const rad_op *op, const rad_op *const *ops, uint32_t n)
{
    bool takes = op->kind == RAD_OP_GATED
                     ? n == 2 && op->in == ops[0]->out && op->other == ops[1]->out
                     : op->kind == RAD_OP_GELU && n == 1;
    takes = takes && op->out == ops[0]->out && op->per_output == ops[0]->per_output;
    for (uint32_t i = 0; i < n; i++)
        takes = takes && rad_weight_rows(ops[i]->weight) == op->width;
    return takes;
}

static bool takes_activation(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n,
                             const rad_op *op)
{
    rad_activation_kind kind;
    uint32_t block;
    return (b->settings.apart & RAD_CUDA_APART_GATE) == 0 && is_activation(op, ops, n) &&
           activation_of(ops[0]->weight) != RAD_ACTIVATION_F32 &&
           rad_cuda_few_of(b, ops, n).kernel != NULL &&
           rad_cuda_wants_tiles(b, op, RAD_CUDA_CHUNK, &kind, &block);
}

bool rad_cuda_is_read(const rad_cuda_backend *b, const rad_op *op, uint8_t value)
{
    const rad_op *end = b->program->ops + b->program->n_ops;
    rad_cuda_means means = {b->model, &b->cache->plan, &b->device->properties, b->library};
    for (; op < end; op++) {
        if ((rad_cuda_reads(&means, op, UINT32_MAX) >> value & 1) != 0)
            return true;
        if (op->kind != RAD_OP_STORE && op->out == value)
            return false;
    }
    return value == b->program->logits || value == b->program->hidden;
}

/* A sum in place, of what is there and of the product alone. */
static bool takes_sum(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n,
                      const rad_op *op)
{
    return (b->settings.apart & RAD_CUDA_APART_ADD) == 0 && op->kind == RAD_OP_ADD && n == 1 &&
           b->cuda->fast[0] == 0 && op->in == op->out && op->other == ops[0]->out &&
           op->other != op->out && ops[0]->in != op->out && op->width == ops[0]->width &&
           op->per_output == ops[0]->per_output && !rad_cuda_is_read(b, op + 1, op->other);
}

const rad_op *rad_cuda_find_behind(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n,
                                   uint32_t next, uint32_t end)
{
    while (next < end && b->program->ops[next].kind == RAD_OP_ADAPT)
        next++;
    const rad_op *op = &b->program->ops[next];
    if (next == end || !b->on_device[next] ||
        !(takes_activation(b, ops, n, op) || takes_sum(b, ops, n, op)) || !is_plain(b, ops[0], op))
        return NULL;
    return op;
}

/* With more blocks than this for each multiprocessor most of them would repeat the norm while
 * nothing but it keeps them from their weights; the first number: for measurements. */
enum { FEW_BLOCKS = 4, MOST_BLOCKS = 8, MOST_SHARED = 96 * 1024 };

bool rad_cuda_takes_norm(const rad_cuda_backend *b, const rad_op *norm, const rad_op *const *ops,
                         uint32_t n)
{
    const rad_weight *weight = ops[0]->weight, *last = ops[n - 1]->weight;
    const rad_cuda_properties *properties = &b->device->properties;
    rad_activation_kind kind = activation_of(weight);
    if ((b->settings.apart & RAD_CUDA_APART_NORM) != 0 || kind == RAD_ACTIVATION_F32 ||
        kind != activation_of(last) || rad_cuda_rows(b, norm) != 1 ||
        b->model->hparams.architecture->layer_norms || norm->bias != NULL ||
        norm->in == norm->out || ops[0]->in != norm->out ||
        ops[0]->per_output != norm->per_output || weight->matrix.n_columns != norm->width ||
        norm->width % rad_activation_block(kind, norm->width) != 0 ||
        rad_cuda_weight_of(b, weight)->columns != NULL)
        return false;
    rad_cuda_few_launch few = rad_cuda_few_of(b, ops, n);
    uint32_t blocks = 0,
             most = (b->settings.apart & RAD_CUDA_APART_WIDE) != 0 ? FEW_BLOCKS : MOST_BLOCKS;
    for (uint32_t i = 0; i < n; i++)
        blocks += (uint32_t)(rad_weight_rows(ops[i]->weight) >> few.rows_log2);
    rad_cuda_few_launch how =
        rad_cuda_normed_launch(weight->matrix.type, last->matrix.type, norm->width, few);
    return few.kernel != NULL && how.kernel != NULL &&
           blocks <= most * properties->multiprocessors && how.shared_bytes <= MOST_SHARED &&
           how.shared_bytes + RAD_CUDA_NORMED_STATIC <= properties->shared_bytes;
}

static bool has_blocks(uint32_t cache_type)
{
    return cache_type == RAD_CACHE_Q8_0 || cache_type == RAD_CACHE_Q4_0;
}

/* Heads that a block's rows divide, rotated whole. */
static bool are_heads(const rad_cuda_backend *b, const rad_op *rotate, uint32_t rows)
{
    const rad_hparams *h = &b->model->hparams;
    const rad_cache_format *format = &b->cache->plan.format;
    bool whole = rotate->to.first == 0 && rotate->to.stride == h->head_dim &&
                 2 * h->rope.n_pairs == h->head_dim;
    return whole && rows >= 16 && h->head_dim % rows == 0 && h->value_dim % rows == 0 &&
           !has_blocks((uint32_t)format->keys) && !has_blocks((uint32_t)format->values);
}

const rad_op *rad_cuda_find_heads(const rad_cuda_backend *b, const rad_cuda_products *products,
                                  uint32_t next, uint32_t end)
{
    const rad_op *const *of = products->ops;
    while (next < end && b->program->ops[next].kind == RAD_OP_ADAPT)
        next++;
    const rad_op *ops = &b->program->ops[next];
    if ((b->settings.apart & RAD_CUDA_APART_HEADS) != 0 || products->norm == NULL ||
        products->n != 3 || next >= end || ops->kind != RAD_OP_ROTATE ||
        rad_cuda_fused(b, next, end) != 3)
        return NULL;
    bool same = ops[0].out == of[0]->out && ops[1].out == of[1]->out &&
                ops[2].other == of[2]->out && ops[0].in == ops[1].in &&
                of[0]->width == ops[0].width && of[1]->width == ops[1].width;
    bool fit = are_heads(b, &ops[0], 1u << rad_cuda_few_of(b, of, 3).rows_log2) &&
               are_heads(b, &ops[1], 16);
    return same && fit && is_plain(b, of[0], ops) ? ops : NULL;
}
