#include "engine/shift.h"

#include <string.h>

#include "base/numeric.h"
#include "engine/room.h"
#include "kernels/cpu/cached.h"

typedef struct mover {
    rad_session *session;
    const rad_model *model;
    const rad_cache *cache;
    uint32_t count;       /* positions that a key moves down by */
    float *cosine, *sine; /* of the rotation, [n_pairs] each */
    float *key;
} mover;

static radllm_status check_model(const rad_engine *engine, radllm_error *error)
{
    const rad_hparams *h = &engine->model->hparams;
    if (h->rotary == RAD_ROTARY_NONE && h->max_alibi_bias <= 0.0f)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the model's positions are learned and part of its keys, which cannot be "
                        "shifted; use radllm_session_remove()");
    return RADLLM_OK;
}

/* Whether all is held that moves, and that a token behind it will see. */
static bool can_move(const rad_session *session, uint32_t first, uint32_t length)
{
    const rad_sequence *sequence = &session->sequence;
    if (session->n_tokens != session->n_known || !rad_session_shares(session) ||
        session->engine->plan.policy.kind == RAD_ATTENTION_RECOMPUTE ||
        session->engine->plan.cache.n_far_layers > 0) /* keys on a device are computed anew */
        return false;
    for (uint32_t g = 0; g < sequence->cache->plan.n_groups; g++) {
        for (uint32_t tile = 0; tile * RAD_TILE_KEYS < length; tile++) {
            bool moved = (tile + 1) * RAD_TILE_KEYS > first;
            if ((moved || rad_sequence_sees(sequence, g, length, tile)) &&
                !rad_sequence_holds(sequence, g, tile))
                return false;
        }
    }
    return true;
}

static void fill_rotation(mover *m, bool local)
{
    uint32_t context = m->session->engine->program.context;
    for (uint32_t i = 0; i < m->model->hparams.rope.n_pairs; i++) {
        double sine, cosine;
        rad_sin_cos(-(double)m->count * rad_model_rope_frequency(m->model, local, context, i),
                    &sine, &cosine);
        m->cosine[i] = (float)cosine;
        m->sine[i] = (float)sine;
    }
}

static void move_key(const mover *m, const uint8_t *from, uint32_t from_slot, uint8_t *to,
                     uint32_t to_slot)
{
    const rad_hparams *h = &m->model->hparams;
    rad_cache_type type = m->cache->plan.format.keys;
    const rad_layer_kernels *layer = m->model->kernels->layer;
    rad_cached_key(from, h->head_dim, type, from_slot, m->key);
    if (h->rotary != RAD_ROTARY_NONE)
        layer->rotate(m->key + rad_rotated_first(h), m->cosine, m->sine, h->rope.n_pairs,
                      h->rotary == RAD_ROTARY_INTERLEAVED);
    layer->store_key(m->key, h->head_dim, type, to, to_slot);
}

/* One position of one layer. Lower positions first, so that nothing is overwritten before it was
 * moved. */
static void move_position(const mover *m, uint32_t layer, uint32_t position)
{
    const rad_cache *cache = m->cache;
    const rad_sequence *sequence = &m->session->sequence;
    uint32_t group = cache->layers[layer].group, source = position + m->count;
    uint32_t from_slot = source % RAD_TILE_KEYS, to_slot = position % RAD_TILE_KEYS;
    const uint8_t *from = rad_sequence_page(sequence, group, source / RAD_TILE_KEYS);
    uint8_t *to = rad_sequence_page(sequence, group, position / RAD_TILE_KEYS);
    const rad_hparams *h = &m->model->hparams;
    for (uint32_t head = 0; head < h->layers[layer].n_kv_heads; head++) {
        size_t keys = rad_cache_keys(cache, layer, head);
        size_t values = rad_cache_values(cache, layer, head);
        move_key(m, from + keys, from_slot, to + keys, to_slot);
        rad_cached_move_value(from + values, from_slot, to + values, to_slot, h->value_dim,
                              cache->plan.format.values);
    }
}

static radllm_status move_all(mover *m, uint32_t first, uint32_t length, radllm_error *error)
{
    const rad_allocator *allocator = &m->session->engine->host.allocator;
    const rad_hparams *h = &m->model->hparams;
    size_t n_pairs = h->rope.n_pairs, bytes = (2 * n_pairs + h->head_dim) * sizeof(float);
    m->cosine = rad_alloc(allocator, bytes);
    if (m->cosine == NULL)
        return rad_fail_memory(error, bytes);
    m->sine = m->cosine + n_pairs;
    m->key = m->sine + n_pairs;
    rad_fpenv saved = rad_fpenv_enter();
    for (uint32_t layer = 0; layer < h->n_layers; layer++) {
        if (layer == 0 || h->layers[layer].local != h->layers[layer - 1].local)
            fill_rotation(m, h->layers[layer].local);
        for (uint32_t position = first; position < length; position++)
            move_position(m, layer, position);
    }
    rad_fpenv_leave(saved);
    rad_wipe(m->cosine, bytes);
    rad_free(allocator, m->cosine, bytes);
    return RADLLM_OK;
}

radllm_status rad_session_shift(rad_session *session, uint32_t first, uint32_t count,
                                radllm_error *error)
{
    const rad_engine *engine = session->engine;
    radllm_status status = check_model(engine, error);
    if (status != RADLLM_OK)
        return status;
    uint32_t length = session->n_known - count;
    if (!can_move(session, first, length)) {
        rad_session_remove(session, first, count);
        return RADLLM_OK;
    }
    if (!rad_sequence_own(&session->sequence, first))
        return rad_room_fail(engine, error);
    mover m = {.session = session, .model = engine->model, .cache = engine->cache, .count = count};
    status = move_all(&m, first, length, error);
    if (status != RADLLM_OK)
        return status;
    rad_session_cut_draft(session, first);
    memmove(session->tokens + first, session->tokens + first + count,
            (length - first) * sizeof *session->tokens);
    session->own = true;
    session->has_logits = false;
    rad_session_cut(session, length);
    return RADLLM_OK;
}
