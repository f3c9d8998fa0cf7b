#include "engine/engine.h"

#include <math.h>
#include <string.h>

#include "engine/draft.h"
#include "engine/request.h"
#include "engine/room.h"

static size_t tokens_bytes(const rad_engine *engine)
{
    return (size_t)rad_session_capacity(&engine->plan) * sizeof(int32_t);
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

/* The set, and what tells its beginnings from those of others: adapters by number, and scales. */
static void take_adapters(rad_session *session, const rad_adapter_set *set)
{
    int32_t numbers[2 * RAD_ADAPTERS_MAX];
    for (uint32_t i = 0; i < set->n; i++) {
        memcpy(&numbers[2 * i], &set->uses[i].adapter->id, sizeof numbers[0]);
        memcpy(&numbers[2 * i + 1], &set->uses[i].scale, sizeof numbers[0]);
    }
    rad_adapter_set_clear(&session->adapters);
    rad_adapter_set_copy(&session->adapters, set);
    rad_prefix_numbers(numbers, 2 * set->n, session->key.blocks[0]);
}

radllm_status rad_session_create(rad_engine *engine, rad_session **out, radllm_error *error)
{
    const rad_allocator *allocator = &engine->host.allocator;
    if (engine->model->hparams.bidirectional)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the model (architecture %s) gives embeddings and no text; use "
                        "radllm_embed(), or the program radllm-embed",
                        engine->model->hparams.architecture->name);
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
        take_adapters(session, &engine->model->adapters);
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

/* Drops what is unread of it, for the caller who holds the step. */
static void forget_unread(rad_session *session)
{
    if (session->engine->unread != session)
        return;
    session->engine->unread = NULL;
    atomic_store(&session->is_unread, false);
}

radllm_status rad_session_read_logits(rad_session *session, radllm_error *error)
{
    rad_engine *engine = session->engine;
    if (!atomic_load(&session->is_unread))
        return RADLLM_OK;
    radllm_status status = rad_engine_take_step(engine, error);
    if (status != RADLLM_OK)
        return status;
    status = engine->unread == session ? rad_engine_read_logits(engine, error) : RADLLM_OK;
    rad_engine_give_step(engine);
    return status;
}

radllm_status rad_session_fork(rad_session *session, rad_session **out, radllm_error *error)
{
    rad_session *fork;
    radllm_status status = rad_session_read_logits(session, error);
    if (status == RADLLM_OK)
        status = rad_session_create(session->engine, &fork, error);
    if (status != RADLLM_OK)
        return status;
    rad_sequence_share(&session->sequence, &fork->sequence);
    if (fork->draft.sequence.cache != NULL)
        rad_sequence_share(&session->draft.sequence, &fork->draft.sequence);
    memcpy(fork->tokens, session->tokens,
           (session->n_known - session->origin) * sizeof *session->tokens);
    fork->origin = session->origin;
    fork->first = session->first;
    fork->base = session->base;
    rad_adapter_set_clear(&fork->adapters);
    rad_adapter_set_copy(&fork->adapters, &session->adapters);
    fork->key = session->key;
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
    if (alive && atomic_load(&session->is_unread) &&
        rad_engine_take_step(engine, NULL) == RADLLM_OK) {
        forget_unread(session);
        rad_engine_give_step(engine);
    }
    rad_adapter_set_clear(&session->adapters);
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

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Where positions have no end, tokens are moved to the beginning once in `context` tokens. */
uint64_t rad_session_capacity(const rad_engine_plan *plan)
{
    uint64_t context = plan->settings.context;
    return plan->positions == context ? context : 2 * context + 1 + RAD_MAX_DRAFT;
}

static uint32_t context_of(const rad_session *session)
{
    return session->engine->plan.settings.context;
}

int32_t *rad_session_at(const rad_session *session, uint32_t position)
{
    return session->tokens + (position - session->origin);
}

/* For at most as many tokens as the context, or as the draft of a step. */
static int32_t *make_room(rad_session *session, uint32_t count)
{
    uint32_t held = session->n_known - session->origin, context = context_of(session);
    if ((uint64_t)held + count > rad_session_capacity(&session->engine->plan) && held > context) {
        uint32_t dropped = held - context;
        memmove(session->tokens, session->tokens + dropped, context * sizeof(int32_t));
        rad_wipe(session->tokens + context, dropped * sizeof(int32_t));
        session->origin += dropped;
    }
    return rad_session_at(session, session->n_known);
}

int32_t *rad_session_behind(rad_session *session)
{
    return make_room(session, 1 + RAD_MAX_DRAFT);
}

void rad_session_append(rad_session *session, const int32_t *tokens, uint32_t count)
{
    uint32_t context = context_of(session);
    for (uint32_t done = 0, n; done < count; done += n) {
        n = count - done < context ? count - done : context;
        memcpy(make_room(session, n), tokens + done, n * sizeof *tokens);
        session->n_known += n;
    }
    if (session->n_known > context && session->n_known - context > session->first)
        session->first = session->n_known - context;
}

const int32_t *rad_session_history(const rad_session *session, uint32_t extra, uint32_t *count)
{
    uint32_t end = session->n_known + extra, context = context_of(session);
    uint32_t first = session->first;
    if (end > context && end - context > first)
        first = end - context;
    *count = end - first;
    return rad_session_at(session, first);
}

/* Forgets tokens; what is left may be nothing but their number. */
static void cut_tokens(rad_session *session, uint32_t length)
{
    uint32_t kept = length > session->origin ? length : session->origin;
    if (length >= session->n_known)
        return;
    rad_wipe(rad_session_at(session, kept), (session->n_known - kept) * sizeof(int32_t));
    session->n_known = length;
    session->has_logits = false;
    if (length < session->first || length == 0)
        session->first = length;
    if (length < session->origin || length == 0)
        session->origin = length;
}

/* ---- keys and values ------------------------------------------------------------------------- */

bool rad_session_can_cut(const rad_session *session, uint32_t length)
{
    const rad_attention_policy *policy = &session->engine->plan.policy;
    if (session->first == 0 || length == 0)
        return true;
    if (policy->kind == RAD_ATTENTION_RECOMPUTE)
        return session->first <= rad_policy_base(policy, length);
    return rad_sequence_can_cut(&session->sequence, length);
}

/* Gives back keys and values from position `length` on. */
static void cut_keys(rad_session *session, uint32_t length)
{
    uint32_t held = length < session->n_tokens ? length : session->n_tokens;
    if (held < session->base) {
        (void)rad_sequence_cut(&session->sequence, 0);
        session->base = held;
    }
    session->n_tokens = session->base + rad_sequence_cut(&session->sequence, held - session->base);
    session->own = session->own && session->n_tokens > session->base;
    rad_session_cut_draft(session, length);
}

void rad_session_cut(rad_session *session, uint32_t length)
{
    if (length < session->n_known && !rad_session_can_cut(session, length))
        length = 0;
    cut_tokens(session, length);
    cut_keys(session, session->n_known);
}

void rad_session_rebase(rad_session *session, uint32_t position)
{
    uint32_t base = rad_policy_base(&session->engine->plan.policy, position);
    if (base == session->base)
        return;
    (void)rad_sequence_cut(&session->sequence, 0);
    session->base = session->n_tokens = base;
}

bool rad_session_shares(const rad_session *session)
{
    return session->first == 0 && session->base == 0;
}

void rad_session_remove(rad_session *session, uint32_t first, uint32_t count)
{
    uint32_t left = session->n_known - first - count;
    int32_t *tokens = rad_session_at(session, first);
    cut_keys(session, first);
    memmove(tokens, tokens + count, left * sizeof *tokens);
    rad_wipe(tokens + left, count * sizeof *tokens);
    session->n_known = first + left;
    session->has_logits = false;
}

radllm_status rad_session_set_adapters(rad_session *session, const rad_adapter_set *wanted,
                                       radllm_error *error)
{
    rad_engine *engine = session->engine;
    if (rad_adapter_sets_equal(&session->adapters, wanted))
        return RADLLM_OK;
    radllm_status status = rad_engine_take_step(engine, error);
    if (status != RADLLM_OK)
        return status;
    status = engine->backend->table->reserve_adapters(engine->backend, wanted, error);
    rad_engine_give_step(engine);
    if (status != RADLLM_OK)
        return status;
    if (session->first == 0) {
        cut_keys(session, 0);
        session->has_logits = false;
    } else {
        rad_session_cut(session, 0);
    }
    take_adapters(session, wanted);
    return RADLLM_OK;
}

uint32_t rad_session_adopt(rad_session *session, const int32_t *tokens, uint32_t limit)
{
    uint32_t before = session->n_tokens;
    if (!rad_session_shares(session))
        return 0;
    session->n_tokens =
        rad_sequence_adopt(&session->sequence, &session->key, tokens, before, limit);
    uint32_t more = session->n_tokens - before;
    session->own = session->own && more == 0; /* else all its pages are others' now */
    if (session->n_known < session->n_tokens)
        rad_session_append(session, tokens + session->n_known,
                           session->n_tokens - session->n_known);
    atomic_fetch_add(&session->engine->tokens_shared, more);
    atomic_fetch_add(&session->engine->tokens_reused, more);
    return more;
}

void rad_session_publish(rad_session *session)
{
    if (!session->own && rad_session_shares(session))
        rad_sequence_publish(&session->sequence, &session->key, session->tokens, session->n_tokens);
}

bool rad_session_extend(rad_session *session, uint32_t length)
{
    return rad_sequence_extend(&session->sequence, session->n_tokens - session->base,
                               length - session->base);
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
    uint32_t positions = engine->plan.positions, n_vocab = engine->model->hparams.n_vocab;
    if (count > positions - session->n_known)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "%zu tokens behind the %u that the session holds are more than its context "
                        "of %u; make the engine with a larger option context, or with "
                        "attention=sinks",
                        count, session->n_known, positions);
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

/* Where the most likely token is known, the logits are taken when they are wanted. */
static radllm_status take_last_logits(rad_session *session, uint32_t output, radllm_error *error)
{
    rad_engine *engine = session->engine;
    session->choice = engine->backend->table->choice(engine->backend, output);
    engine->unread = session;
    engine->unread_output = output;
    atomic_store(&session->is_unread, true);
    return session->choice >= 0 ? RADLLM_OK : rad_engine_read_logits(engine, error);
}

/* Computes the next `count` known tokens; logits are wanted of the last n_outputs of them. */
static radllm_status compute_piece(const feed *f, uint32_t count, uint32_t n_outputs,
                                   radllm_error *error)
{
    rad_session *session = f->session;
    rad_engine *engine = session->engine;
    for (uint32_t i = 0; i < n_outputs; i++)
        engine->outputs[i] = count - n_outputs + i;
    rad_token_span span = {0, count, session->n_tokens - session->base, &session->sequence,
                           &session->adapters};
    rad_batch batch = {.n_tokens = count,
                       .tokens = rad_session_at(session, session->n_tokens),
                       .n_spans = 1,
                       .spans = &span,
                       .n_outputs = n_outputs,
                       .outputs = engine->outputs,
                       .chooses = f->callback == NULL};
    if (!rad_session_extend(session, session->n_tokens + count))
        return rad_room_fail(engine, error);
    radllm_status status = rad_engine_run(engine, &batch, f->cancel, error);
    if (status != RADLLM_OK)
        return status;
    atomic_fetch_add(&engine->tokens_computed, count);
    session->n_tokens += count;
    rad_session_publish(session);
    for (uint32_t i = 0; f->callback != NULL && i < n_outputs; i++) {
        const float *logits = engine->backend->table->logits(engine->backend, i);
        if (f->callback(f->user, session->n_tokens - n_outputs + i, logits,
                        engine->model->hparams.n_vocab) != 0)
            return rad_fail(error, RADLLM_E_CANCELLED, "the callback asked to stop");
    }
    return n_outputs > 0 ? take_last_logits(session, n_outputs - 1, error) : RADLLM_OK;
}

/* Computes what is known and not in the cache; logits are wanted from position first_output on. */
static radllm_status compute_known(const feed *f, uint32_t first_output, radllm_error *error)
{
    rad_session *session = f->session;
    const rad_backend_settings *limits = &session->engine->plan.backend;
    radllm_status status = RADLLM_OK;
    while (session->n_tokens < session->n_known && status == RADLLM_OK) {
        uint32_t from = session->n_tokens, left = session->n_known - from;
        uint32_t count = left < limits->max_tokens ? left : limits->max_tokens;
        uint32_t not_wanted = first_output > from ? first_output - from : 0;
        uint32_t outputs = count > not_wanted ? count - not_wanted : 0;
        if (outputs > limits->max_outputs) {
            count -= outputs - limits->max_outputs;
            outputs = limits->max_outputs;
        }
        status = compute_piece(f, count, outputs, error);
    }
    return status;
}

/* How many of `left` tokens are fed together: what one step can compute, the history can hold and,
 * where logits of each are wanted, what sees the same keys. */
static uint32_t piece_of(const feed *f, size_t left)
{
    const rad_engine_plan *plan = &f->session->engine->plan;
    uint32_t most = plan->backend.max_tokens;
    most = plan->settings.context < most ? plan->settings.context : most;
    if (f->callback != NULL) {
        uint32_t segment = rad_policy_segment(&plan->policy, f->session->n_known);
        most = plan->backend.max_outputs < most ? plan->backend.max_outputs : most;
        most = segment < most ? segment : most;
    }
    return left < most ? (uint32_t)left : most;
}

/* The tokens are known at once, and what others have computed of them is taken. */
static radllm_status feed_at_once(const feed *f, const int32_t *tokens, uint32_t count,
                                  radllm_error *error)
{
    rad_session *session = f->session;
    uint32_t before = session->n_known;
    rad_session_append(session, tokens, count);
    rad_session_rebase(session, session->n_known - 1);
    uint32_t first_output = f->callback != NULL ? before : session->n_known - 1;
    (void)rad_session_adopt(session, session->tokens, first_output);
    return compute_known(f, first_output, error);
}

/* Piece by piece, since older tokens are forgotten meanwhile, or keys rebuilt. What the last token
 * does not see need not be rebuilt where its logits alone are wanted. */
static radllm_status feed_pieces(const feed *f, const int32_t *tokens, size_t count,
                                 radllm_error *error)
{
    rad_session *session = f->session;
    bool rebuilds = session->engine->plan.policy.kind == RAD_ATTENTION_RECOMPUTE;
    radllm_status status = rebuilds ? RADLLM_OK : compute_known(f, session->n_known, error);
    for (size_t done = 0; done < count && status == RADLLM_OK;) {
        uint32_t n = piece_of(f, count - done);
        rad_session_append(session, tokens + done, n);
        done += n;
        if (f->callback == NULL && done < count && rebuilds)
            continue;
        uint32_t first_output = f->callback != NULL ? session->n_known - n
                                : done == count     ? session->n_known - 1
                                                    : session->n_known;
        rad_session_rebase(session, f->callback != NULL ? first_output : session->n_known - 1);
        status = compute_known(f, first_output, error);
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
    uint32_t before = session->n_known;
    feed f = {session, callback, user, cancel};
    forget_unread(session);
    session->has_logits = false;
    bool forgets =
        count > context_of(session) - (before < context_of(session) ? before : context_of(session));
    bool rebuilds = engine->plan.policy.kind == RAD_ATTENTION_RECOMPUTE;
    if (forgets || (rebuilds && callback != NULL))
        status = feed_pieces(&f, tokens, count, error);
    else
        status = feed_at_once(&f, tokens, (uint32_t)count, error);
    if (status == RADLLM_OK)
        session->has_logits = true;
    else
        rad_session_cut(session, before);
    rad_engine_give_step(engine);
    return status;
}

/* From where the logits stand: who samples at each token copies none. */
static radllm_status sample_logits(rad_session *session, const rad_sampler_settings *settings,
                                   int32_t *token, float *logprob, radllm_error *error)
{
    rad_engine *engine = session->engine;
    uint32_t n_vocab = engine->model->hparams.n_vocab, n_history;
    const int32_t *history = rad_session_history(session, 0, &n_history);
    const float *logits = session->logits;
    radllm_status status = RADLLM_OK;
    if (engine->unread == session) {
        const rad_backend_table *table = engine->backend->table;
        status = table->fetch(engine->backend, engine->unread_output, 1, error);
        logits = table->logits(engine->backend, engine->unread_output);
    }
    if (status == RADLLM_OK)
        status = rad_sampler_choose(engine->samplers[0], settings, logits, n_vocab, history,
                                    n_history, 0, session->n_known, token, error);
    if (status == RADLLM_OK && logprob != NULL)
        *logprob = (float)rad_log_probability(logits, n_vocab, *token);
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
    if (engine->unread == session && logprob == NULL && rad_sampler_is_greedy(settings, n_vocab))
        *token = session->choice;
    else
        status = sample_logits(session, settings, token, logprob, error);
    rad_engine_give_step(engine);
    return status;
}
