/* Steps of few tokens are the same launches again and again, of which only the data differ: the
 * launches of one are written down as a graph and replayed, which spares the host most of its part.
 * A graph belongs to what decides grids and arguments: the key. */
#include "backend/cuda/cuda.h"

#include <string.h>

/* Steps with more tokens keep the device busy enough. */
#define MOST_TOKENS 64

static bool same_key(const rad_cuda_step_key *a, const rad_cuda_step_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* False where the batch is no graph's. */
static bool make_key(const rad_cuda_backend *b, rad_cuda_step_key *key)
{
    memset(key, 0, sizeof *key);
    key->n_tokens = b->batch->n_tokens;
    key->n_outputs = b->batch->n_outputs;
    key->n_spans = b->batch->n_spans;
    key->hidden = b->batch->hidden;
    key->chooses = b->batch->chooses;
    key->narrows = b->batch->narrows;
    key->draws = b->batch->draws != NULL;
    key->longest_span = b->longest_span;
    key->most_keys = b->most_keys;
    memcpy(key->n_blocks, b->n_blocks, sizeof key->n_blocks);
    return rad_cuda_adapters_key(b, key);
}

/* Adapters that some rows have must be the device's to add. */
static bool is_there(const rad_cuda_backend *b, uint32_t at)
{
    const rad_op *op = &b->program->ops[at];
    return b->on_device[at] || (op->kind == RAD_OP_ADAPT && !rad_cuda_is_adapted(b->batch, op));
}

static bool are_there(const rad_cuda_backend *b, uint32_t first, uint32_t end)
{
    bool all = first < end;
    for (uint32_t i = first; i < end && all; i++)
        all = is_there(b, i);
    return all;
}

rad_cuda_replay *rad_cuda_find_replay(rad_cuda_backend *b, uint32_t first, uint32_t end)
{
    rad_cuda_step_key key;
    if (b->batch->n_outputs == 0 || b->batch->n_tokens > MOST_TOKENS || !make_key(b, &key) ||
        !are_there(b, first, end))
        return NULL;
    rad_cuda_replay *oldest = &b->replays[0];
    for (uint32_t i = 0; i < RAD_CUDA_REPLAYS; i++) {
        rad_cuda_replay *replay = &b->replays[i];
        if (replay->used != 0 && same_key(&replay->key, &key)) {
            replay->used = ++b->n_replayed;
            return replay;
        }
        oldest = replay->used < oldest->used ? replay : oldest;
    }
    if (oldest->graph != NULL)
        b->device->graph_free(b->device, oldest->graph);
    *oldest = (rad_cuda_replay){.key = key, .used = ++b->n_replayed, .is_new = true};
    return oldest;
}

void rad_cuda_forget_replays(rad_cuda_backend *b)
{
    for (uint32_t i = 0; i < RAD_CUDA_REPLAYS; i++) {
        if (b->replays[i].graph != NULL)
            b->device->graph_free(b->device, b->replays[i].graph);
        b->replays[i] = (rad_cuda_replay){.graph = NULL};
    }
}
