/* What products of few tokens are one launch with: an activation of what they give. (The kernels:
 * kernels/cuda/products_behind.h.) */
#include "backend/cuda/operations.h"

#include <stdlib.h>
#include <string.h>

uint32_t rad_cuda_apart(void)
{
    static const char *const names[] = {"gate"};
    const char *text = getenv("RADLLM_CUDA_APART");
    uint32_t apart = 0;
    for (uint32_t i = 0; text != NULL && i < sizeof names / sizeof names[0]; i++)
        apart |= strstr(text, names[i]) != NULL ? 1u << i : 0;
    return apart;
}

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

const rad_op *rad_cuda_find_behind(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n,
                                   uint32_t next, uint32_t end)
{
    rad_activation_kind kind;
    uint32_t block;
    while (next < end && b->program->ops[next].kind == RAD_OP_ADAPT)
        next++;
    const rad_op *op = &b->program->ops[next];
    if ((b->apart & RAD_CUDA_APART_GATE) != 0 || next == end || !b->on_device[next] ||
        !is_activation(op, ops, n) || activation_of(ops[0]->weight) == RAD_ACTIVATION_F32 ||
        rad_cuda_few_of(b, ops, n).kernel == NULL ||
        !rad_cuda_wants_tiles(b, op, RAD_CUDA_CHUNK, &kind, &block) || !is_plain(b, ops[0], op))
        return NULL;
    return op;
}
