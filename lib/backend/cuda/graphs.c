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

static rad_cuda_step_key key_of(const rad_cuda_backend *b)
{
    rad_cuda_step_key key;
    memset(&key, 0, sizeof key);
    key.n_tokens = b->batch->n_tokens;
    key.n_outputs = b->batch->n_outputs;
    key.n_spans = b->batch->n_spans;
    key.hidden = b->batch->hidden;
    key.chooses = b->batch->chooses;
    key.narrows = b->batch->narrows;
    key.longest_span = b->longest_span;
    key.most_keys = b->most_keys;
    memcpy(key.n_blocks, b->n_blocks, sizeof key.n_blocks);
    return key;
}

bool rad_cuda_can_replay(const rad_cuda_backend *b, uint32_t first, uint32_t end)
{
    bool all = first < end && b->batch->n_outputs > 0 && b->batch->n_tokens <= MOST_TOKENS;
    for (uint32_t i = first; i < end && all; i++)
        all = b->on_device[i] || b->program->ops[i].kind == RAD_OP_ADAPT;
    return all;
}

rad_cuda_replay *rad_cuda_find_replay(rad_cuda_backend *b)
{
    rad_cuda_step_key key = key_of(b);
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

void rad_cuda_free_replays(rad_cuda_backend *b)
{
    for (uint32_t i = 0; i < RAD_CUDA_REPLAYS; i++) {
        if (b->replays[i].graph != NULL)
            b->device->graph_free(b->device, b->replays[i].graph);
        b->replays[i].graph = NULL;
    }
}
