#include "engine/engine.h"

#include <math.h>
#include <string.h>

#include "engine/draft.h"

static size_t tokens_bytes(const rad_engine *engine)
{
    return engine->plan.settings.context * sizeof(int32_t);
}

static size_t logits_bytes(const rad_engine *engine)
{
    return engine->model->hparams.n_vocab * sizeof(float);
}

static bool create_parts(rad_session *session)
{
    rad_engine *engine = session->engine;
    const rad_allocator *allocator = &engine->host.allocator;
    session->tokens = rad_alloc(allocator, tokens_bytes(engine));
    session->logits = rad_alloc(allocator, logits_bytes(engine));
    return session->tokens != NULL && session->logits != NULL &&
           rad_sequence_create(engine->cache, &session->sequence) &&
           (engine->draft == NULL ||
            rad_sequence_create(rad_draft_cache_of(engine->draft), &session->draft.sequence));
}

radllm_status rad_session_create(rad_engine *engine, rad_session **out, radllm_error *error)
{
    const rad_allocator *allocator = &engine->host.allocator;
    pthread_mutex_lock(&engine->mutex);
    bool full = engine->n_sessions == engine->plan.settings.n_sessions;
    engine->n_sessions += full ? 0 : 1;
    pthread_mutex_unlock(&engine->mutex);
    if (full)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the engine has %u sessions already; free one, or make the engine with a "
                        "larger option sessions",
                        engine->plan.settings.n_sessions);
    rad_session *session = rad_alloc_zero(allocator, sizeof *session);
    if (session != NULL) {
        session->engine = engine;
        if (create_parts(session)) {
            *out = session;
            return RADLLM_OK;
        }
        rad_session_free(session);
    } else {
        pthread_mutex_lock(&engine->mutex);
        engine->n_sessions--;
        pthread_mutex_unlock(&engine->mutex);
    }
    return rad_fail_memory(error, logits_bytes(engine));
}

radllm_status rad_session_fork(const rad_session *session, rad_session **out, radllm_error *error)
{
    rad_session *fork;
    radllm_status status = rad_session_create(session->engine, &fork, error);
    if (status != RADLLM_OK)
        return status;
    rad_sequence_share(&session->sequence, &fork->sequence);
    if (fork->draft.sequence.cache != NULL)
        rad_sequence_share(&session->draft.sequence, &fork->draft.sequence);
    memcpy(fork->tokens, session->tokens, session->n_known * sizeof *session->tokens);
    memcpy(fork->salt, session->salt, sizeof fork->salt);
    fork->own = session->own;
    fork->n_tokens = session->n_tokens;
    fork->n_known = session->n_known;
    fork->draft.n_tokens = session->draft.n_tokens;
    fork->has_logits = session->has_logits;
    if (session->has_logits)
        memcpy(fork->logits, session->logits, logits_bytes(session->engine));
    *out = fork;
    return RADLLM_OK;
}

void rad_session_free(rad_session *session)
{
    if (session == NULL)
        return;
    rad_engine *engine = session->engine;
    rad_allocator allocator = engine->host.allocator;
    bool alive = engine->process == rad_process_id();
    rad_sequence_free(&session->sequence, alive);
    rad_sequence_free(&session->draft.sequence, alive);
    if (alive) {
        pthread_mutex_lock(&engine->mutex);
        engine->n_sessions--;
        pthread_mutex_unlock(&engine->mutex);
    }
    if (session->tokens != NULL)
        rad_wipe(session->tokens, tokens_bytes(engine));
    if (session->logits != NULL)
        rad_wipe(session->logits, logits_bytes(engine));
    rad_free(&allocator, session->tokens, tokens_bytes(engine));
    rad_free(&allocator, session->logits, logits_bytes(engine));
    rad_free(&allocator, session, sizeof *session);
}

void rad_session_cut(rad_session *session, uint32_t length)
{
    if (length < session->n_known) {
        rad_wipe(session->tokens + length, (session->n_known - length) * sizeof(int32_t));
        session->n_known = length;
        session->has_logits = false;
    }
    uint32_t held = length < session->n_tokens ? length : session->n_tokens;
    session->n_tokens = rad_sequence_cut(&session->sequence, held);
    session->own = session->own && session->n_tokens > 0;
    rad_session_cut_draft(session, session->n_tokens);
}

void rad_session_remove(rad_session *session, uint32_t first, uint32_t count)
{
    uint32_t end = session->n_known, left = end - first - count;
    uint32_t held = session->n_tokens < first ? session->n_tokens : first;
    session->n_tokens = rad_sequence_cut(&session->sequence, held);
    session->own = session->own && session->n_tokens > 0;
    rad_session_cut_draft(session, session->n_tokens);
    memmove(session->tokens + first, session->tokens + first + count,
            left * sizeof *session->tokens);
    rad_wipe(session->tokens + first + left, count * sizeof *session->tokens);
    session->n_known = first + left;
    session->has_logits = false;
}

uint32_t rad_session_adopt(rad_session *session, const int32_t *tokens, uint32_t limit)
{
    uint32_t before = session->n_tokens;
    session->n_tokens =
        rad_sequence_adopt(&session->sequence, session->salt, tokens, before, limit);
    uint32_t more = session->n_tokens - before;
    session->own = session->own && more == 0; /* else all its pages are others' now */
    if (tokens != session->tokens && more > 0)
        memcpy(session->tokens + before, tokens + before, more * sizeof *tokens);
    if (session->n_known < session->n_tokens)
        session->n_known = session->n_tokens;
    atomic_fetch_add(&session->engine->tokens_shared, more);
    atomic_fetch_add(&session->engine->tokens_reused, more);
    return more;
}

void rad_session_publish(rad_session *session)
{
    if (!session->own)
        rad_sequence_publish(&session->sequence, session->salt, session->tokens, session->n_tokens);
}

bool rad_session_extend(rad_session *session, uint32_t length)
{
    return rad_sequence_extend(&session->sequence, session->n_tokens, length);
}

void rad_session_cut_draft(rad_session *session, uint32_t length)
{
    rad_draft_cache *draft = &session->draft;
    if (draft->sequence.cache == NULL)
        return;
    uint32_t held = length < draft->n_tokens ? length : draft->n_tokens;
    draft->n_tokens = rad_sequence_cut(&draft->sequence, held);
}

bool rad_session_extend_draft(rad_session *session, uint32_t length)
{
    return rad_sequence_extend(&session->draft.sequence, session->draft.n_tokens, length);
}

/* ---- token level ----------------------------------------------------------------------------- */

static radllm_status check_tokens(const rad_session *session, const int32_t *tokens, size_t count,
                                  radllm_error *error)
{
    const rad_engine *engine = session->engine;
    uint32_t context = engine->plan.settings.context, n_vocab = engine->model->hparams.n_vocab;
    if (count > context - session->n_known)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "%zu tokens behind the %u that the session holds are more than its context "
                        "of %u; make the engine with a larger option context",
                        count, session->n_known, context);
    for (size_t i = 0; i < count; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= n_vocab)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "token %zu has the id %d; the vocabulary has %u entries", i,
                            (int)tokens[i], n_vocab);
    }
    return RADLLM_OK;
}

typedef struct feed {
    rad_session *session;
    radllm_logits_fn callback;
    void *user;
    const radllm_cancel *cancel;
} feed;

/* Computes the next n of the session's tokens; outputs: all of them with a callback, else the last
 * one when wanted. */
static radllm_status feed_piece(const feed *f, uint32_t n, bool call, bool want_last,
                                radllm_error *error)
{
    rad_session *session = f->session;
    rad_engine *engine = session->engine;
    uint32_t n_outputs = call ? n : want_last ? 1 : 0;
    for (uint32_t i = 0; i < n_outputs; i++)
        engine->outputs[i] = n - n_outputs + i;
    rad_token_span span = {0, n, session->n_tokens, &session->sequence};
    rad_batch batch = {
        n, session->tokens + session->n_tokens, 1, &span, n_outputs, engine->outputs};
    if (!rad_session_extend(session, session->n_tokens + n))
        return rad_fail(error, RADLLM_E_INTERNAL, "the page pool is exhausted");
    radllm_status status = engine->backend->table->run(engine->backend, &batch, f->cancel, error);
    if (status != RADLLM_OK)
        return status;
    atomic_fetch_add(&engine->tokens_computed, n);
    uint32_t first = session->n_tokens;
    session->n_tokens += n;
    if (session->n_known < session->n_tokens)
        session->n_known = session->n_tokens;
    rad_session_publish(session);
    for (uint32_t i = 0; call && i < n; i++) {
        const float *logits = engine->backend->table->logits(engine->backend, i);
        if (f->callback(f->user, first + i, logits, engine->model->hparams.n_vocab) != 0)
            return rad_fail(error, RADLLM_E_CANCELLED, "the callback asked to stop");
    }
    if (want_last) {
        memcpy(session->logits, engine->backend->table->logits(engine->backend, n_outputs - 1),
               logits_bytes(engine));
        session->has_logits = true;
    }
    return RADLLM_OK;
}

/* Computes session->tokens up to `end`, of which the first `before` were fed earlier: what the
 * cache lost of them is computed anew. */
static radllm_status feed_tokens(const feed *f, uint32_t before, uint32_t end, radllm_error *error)
{
    rad_session *session = f->session;
    const rad_backend_settings *limits = &session->engine->plan.backend;
    radllm_status status = RADLLM_OK;
    (void)rad_session_adopt(session, session->tokens, f->callback != NULL ? before : end - 1);
    while (session->n_tokens < end && status == RADLLM_OK) {
        bool call = f->callback != NULL && session->n_tokens >= before;
        uint32_t left = (f->callback != NULL && !call ? before : end) - session->n_tokens;
        uint32_t most = call ? limits->max_outputs : limits->max_tokens;
        uint32_t n = left < most ? left : most;
        status = feed_piece(f, n, call, session->n_tokens + n == end, error);
    }
    return status;
}

radllm_status rad_session_feed(rad_session *session, const int32_t *tokens, size_t count,
                               radllm_logits_fn callback, void *user, const radllm_cancel *cancel,
                               radllm_error *error)
{
    rad_engine *engine = session->engine;
    radllm_status status = check_tokens(session, tokens, count, error);
    if (status == RADLLM_OK && count > 0)
        status = rad_engine_take_step(engine, error);
    if (status != RADLLM_OK || count == 0)
        return status;
    uint32_t before = session->n_known, end = before + (uint32_t)count;
    feed f = {session, callback, user, cancel};
    session->has_logits = false;
    memcpy(session->tokens + before, tokens, count * sizeof *tokens);
    status = feed_tokens(&f, before, end, error);
    if (status != RADLLM_OK) {
        rad_wipe(session->tokens + before, count * sizeof *tokens);
        rad_session_cut(session, before);
    }
    rad_engine_give_step(engine);
    return status;
}

radllm_status rad_session_sample(rad_session *session, const rad_sampler_settings *settings,
                                 int32_t *token, float *logprob, radllm_error *error)
{
    rad_engine *engine = session->engine;
    uint32_t n_vocab = engine->model->hparams.n_vocab;
    if (!session->has_logits)
        return rad_fail(error, RADLLM_E_STATE,
                        "the session has no logits; feed at least one token first");
    radllm_status status = rad_engine_take_step(engine, error);
    if (status != RADLLM_OK)
        return status;
    status =
        rad_sampler_choose(engine->sampler, settings, session->logits, n_vocab, session->tokens,
                           session->n_tokens, 0, session->n_tokens, token, error);
    if (status == RADLLM_OK && logprob != NULL)
        *logprob = (float)rad_log_probability(session->logits, n_vocab, *token);
    rad_engine_give_step(engine);
    return status;
}
