#include "engine/request.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/numeric.h"
#include "engine/room.h"

#define WAIT_NS 10000000 /* between looks at a cancellation flag while a worker computes */

static rad_engine *engine_of(const rad_request *request)
{
    return request->session->engine;
}

/* ---- creation -------------------------------------------------------------------------------- */

static void *copy_array(rad_arena *arena, const void *items, size_t count, size_t size)
{
    void *copy = rad_arena_alloc(arena, count * size, 8);
    if (copy != NULL && count > 0)
        memcpy(copy, items, count * size);
    return copy;
}

static bool copy_settings(rad_request *request, const rad_request_settings *settings)
{
    rad_arena *arena = &request->arena;
    rad_request_settings *own = &request->settings;
    *own = *settings;
    own->sampler.biases = copy_array(arena, settings->sampler.biases, settings->sampler.n_biases,
                                     sizeof *settings->sampler.biases);
    own->stop_tokens = copy_array(arena, settings->stop_tokens, settings->n_stop_tokens,
                                  sizeof *settings->stop_tokens);
    rad_text *stops = rad_arena_alloc(arena, settings->n_stops * sizeof *stops, 8);
    own->stops = stops;
    if (own->sampler.biases == NULL || own->stop_tokens == NULL || stops == NULL)
        return false;
    for (size_t i = 0; i < settings->n_stops; i++) {
        stops[i].size = settings->stops[i].size;
        stops[i].data = rad_arena_copy(arena, settings->stops[i].data, settings->stops[i].size);
        if (stops[i].data == NULL)
            return false;
        if (stops[i].size > request->longest_stop)
            request->longest_stop = stops[i].size;
    }
    return true;
}

/* Room for the answer, so that generating takes nothing from the host; text may outgrow it, and so
 * may an answer that is longer than the context, where positions go on. */
static bool reserve_answer(rad_request *request)
{
    rad_engine *engine = engine_of(request);
    const rad_allocator *allocator = &engine->host.allocator;
    uint64_t most = (uint64_t)engine->plan.positions - request->n_prompt + 1;
    int64_t asked = request->settings.max_tokens;
    if (most > (uint64_t)engine->plan.settings.context + 1)
        most = (uint64_t)engine->plan.settings.context + 1;
    if (asked >= 0 && (uint64_t)asked < most)
        most = (uint64_t)asked;
    size_t tops = (size_t)most * request->settings.top_logprobs;
    return rad_reserve(allocator, (void **)&request->answer, &request->answer_capacity,
                       (size_t)most, sizeof *request->answer) &&
           (tops == 0 || rad_reserve(allocator, (void **)&request->top, &request->top_capacity,
                                     tops, sizeof *request->top)) &&
           rad_reserve(allocator, (void **)&request->text, &request->text_capacity,
                       (size_t)most * 8 + rad_detokenizer_bound(engine->model->tokenizer), 1);
}

radllm_status rad_request_create(rad_session *session, const int32_t *prompt, size_t n_prompt,
                                 const rad_request_settings *settings, rad_request **out,
                                 radllm_error *error)
{
    rad_engine *engine = session->engine;
    const rad_allocator *allocator = &engine->host.allocator;
    uint32_t context = engine->plan.positions, n_vocab = engine->model->hparams.n_vocab;
    if (n_prompt == 0)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the prompt has no tokens, and the model has no BOS to begin with");
    if (n_prompt > context)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the prompt has %zu tokens, the context holds %u; shorten the prompt or "
                        "make the engine with a larger option context",
                        n_prompt, context);
    for (size_t i = 0; i < n_prompt; i++) {
        if (prompt[i] < 0 || (uint32_t)prompt[i] >= n_vocab)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "token %zu has the id %d; the vocabulary has %u entries", i,
                            (int)prompt[i], n_vocab);
    }
    if (settings->speculation == RAD_SPECULATION_DRAFT && engine->draft == NULL)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option speculate is \"draft\" and the engine has no draft model; make it "
                        "with radllm_engine_new_with_draft(), or use \"lookup\"");
    rad_request *request = rad_alloc_zero(allocator, sizeof *request);
    if (request == NULL)
        return rad_fail_memory(error, sizeof *request);
    request->session = session;
    rad_pace_start(&request->pace);
    request->arena.allocator = allocator;
    request->n_prompt = (uint32_t)n_prompt;
    request->best_choice = -1;
    request->ahead = -1;
    request->prompt = copy_array(&request->arena, prompt, n_prompt, sizeof *prompt);
    request->piece =
        rad_arena_alloc(&request->arena, rad_detokenizer_bound(engine->model->tokenizer), 1);
    rad_detokenizer_start(&request->detokenizer, engine->model->tokenizer, 0);
    if (request->prompt == NULL || request->piece == NULL || !copy_settings(request, settings) ||
        !reserve_answer(request)) {
        rad_request_free(request);
        return rad_fail_memory(error, n_prompt * sizeof *prompt);
    }
    *out = request;
    return RADLLM_OK;
}

static void wipe_and_free(const rad_allocator *allocator, void *data, size_t size)
{
    if (data != NULL)
        rad_wipe(data, size);
    rad_free(allocator, data, size);
}

static void remove_from_queue(rad_request *request)
{
    rad_engine *engine = engine_of(request);
    pthread_mutex_lock(&engine->mutex);
    for (rad_request **link = &engine->queue; *link != NULL; link = &(*link)->next) {
        if (*link == request) {
            *link = request->next;
            break;
        }
    }
    if (request->session->request == request)
        request->session->request = NULL;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

void rad_request_free(rad_request *request)
{
    if (request == NULL)
        return;
    rad_engine *engine = engine_of(request);
    rad_allocator allocator = engine->host.allocator;
    if (engine->process == rad_process_id()) {
        /* A step may be using it, even when it is finished. */
        bool taken = rad_engine_take_step(engine, NULL) == RADLLM_OK;
        remove_from_queue(request);
        if (taken)
            rad_engine_give_step(engine);
    }
    rad_wipe(request->draft, sizeof request->draft);
    if (request->prompt != NULL)
        rad_wipe(request->prompt, request->n_prompt * sizeof *request->prompt);
    wipe_and_free(&allocator, request->text, request->text_capacity);
    wipe_and_free(&allocator, request->answer, request->answer_capacity * sizeof *request->answer);
    wipe_and_free(&allocator, request->top, request->top_capacity * sizeof *request->top);
    rad_arena_free(&request->arena);
    rad_free(&allocator, request, sizeof *request);
}

radllm_status rad_request_set_choices(rad_request *request, const rad_text *choices, size_t count,
                                      radllm_error *error)
{
    rad_engine *engine = engine_of(request);
    uint32_t room = engine->plan.positions - request->n_prompt;
    if (request->state != RADLLM_REQUEST_NEW)
        return rad_fail(error, RADLLM_E_STATE, "choices are set before the request is submitted");
    rad_choice *own = rad_arena_alloc_zero(&request->arena, count * sizeof *own, 8);
    if (own == NULL)
        return rad_fail_memory(error, count * sizeof *own);
    for (size_t i = 0; i < count; i++) {
        rad_tokens tokens = {.allocator = &engine->host.allocator};
        radllm_status status = rad_tokenizer_encode(engine->model->tokenizer, choices[i].data,
                                                    choices[i].size, 0, &tokens, error);
        if (status == RADLLM_OK && tokens.count == 0)
            status = rad_fail(error, RADLLM_E_ARGUMENT, "choice %zu has no tokens", i);
        if (status == RADLLM_OK && tokens.count - 1 > room)
            status = rad_fail(error, RADLLM_E_LIMIT,
                              "choice %zu has %zu tokens, which do not fit behind the prompt's %u "
                              "in the context of %u",
                              i, tokens.count, request->n_prompt, engine->plan.positions);
        if (status == RADLLM_OK) {
            own[i].n_tokens = (uint32_t)tokens.count;
            own[i].tokens =
                copy_array(&request->arena, tokens.ids, tokens.count, sizeof *tokens.ids);
            own[i].text.size = choices[i].size;
            own[i].text.data = rad_arena_copy(&request->arena, choices[i].data, choices[i].size);
            if (own[i].tokens == NULL || own[i].text.data == NULL)
                status = rad_fail_memory(error, choices[i].size);
        }
        rad_tokens_free(&tokens);
        if (status != RADLLM_OK)
            return status;
    }
    request->choices = own;
    request->n_choices = (uint32_t)count;
    return RADLLM_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Where keys are rebuilt, the prompt begins with what its last token sees; else nothing is skipped.
 */
static void skip_unseen(rad_request *request)
{
    rad_session *session = request->session;
    uint32_t last = request->n_prompt - 1;
    uint32_t base = rad_policy_base(&engine_of(request)->plan.policy, last);
    if (session->n_known < base)
        rad_session_append(session, request->prompt + session->n_known, base - session->n_known);
    rad_session_rebase(session, last);
}

/* Keeps what the session holds of the new prompt; its last token is always computed anew, for its
 * logits. */
static void reuse_prefix(rad_request *request)
{
    rad_session *session = request->session;
    uint32_t limit = request->n_prompt - 1, same = 0;
    limit = session->n_known < limit ? session->n_known : limit;
    if (session->first > 0)
        limit = 0; /* how it began is forgotten */
    while (same < limit && session->tokens[same] == request->prompt[same])
        same++;
    int32_t *salt = session->key.blocks[1];
    if (memcmp(salt, request->settings.salt, sizeof request->settings.salt) != 0)
        same = 0;
    memcpy(salt, request->settings.salt, sizeof request->settings.salt);
    rad_session_cut(session, same);
    if (session->n_tokens == 0)
        rad_session_cut(session, 0); /* all comes from the prompt */
    skip_unseen(request);
    request->n_reused = session->n_tokens - session->base;
    atomic_fetch_add(&engine_of(request)->tokens_reused, request->n_reused);
}

void rad_request_restart(rad_request *request)
{
    rad_session_cut(request->session, 0);
    skip_unseen(request);
    request->phase = RAD_PHASE_PROMPT;
}

radllm_status rad_request_submit(rad_request *request, radllm_error *error)
{
    rad_engine *engine = engine_of(request);
    rad_session *session = request->session;
    pthread_mutex_lock(&engine->mutex);
    bool busy = session->request != NULL;
    bool fresh = request->state == RADLLM_REQUEST_NEW;
    if (!busy && fresh)
        session->request = request;
    pthread_mutex_unlock(&engine->mutex);
    if (!fresh)
        return rad_fail(error, RADLLM_E_STATE, "the request was submitted before");
    if (busy)
        return rad_fail(error, RADLLM_E_STATE, "another request runs on the session");
    reuse_prefix(request);
    request->start_ns = rad_clock_ns();
    pthread_mutex_lock(&engine->mutex);
    request->state = RADLLM_REQUEST_PENDING;
    rad_request **end = &engine->queue;
    while (*end != NULL)
        end = &(*end)->next;
    *end = request;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
    return RADLLM_OK;
}

/* Waits a moment for the worker to change something. */
static void wait_for_worker(rad_engine *engine)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&engine->changed, &engine->mutex, &until);
}

radllm_status rad_request_run(rad_request *request, const radllm_cancel *cancel,
                              radllm_error *error)
{
    rad_engine *engine = engine_of(request);
    radllm_status status = RADLLM_OK;
    pthread_mutex_lock(&engine->mutex);
    bool fresh = request->state == RADLLM_REQUEST_NEW;
    pthread_mutex_unlock(&engine->mutex);
    if (fresh)
        status = rad_request_submit(request, error);
    while (status == RADLLM_OK) {
        if (rad_cancelled(cancel))
            atomic_store(&request->cancelled, true);
        pthread_mutex_lock(&engine->mutex);
        bool pending = request->state == RADLLM_REQUEST_PENDING;
        bool worker = engine->worker_runs;
        if (pending && worker)
            wait_for_worker(engine);
        pthread_mutex_unlock(&engine->mutex);
        if (!pending)
            break;
        if (!worker)
            status = rad_engine_step(engine, cancel, NULL, error);
    }
    if (status == RADLLM_OK)
        status = rad_engine_take_step(engine, error); /* until the last callback has returned */
    if (status == RADLLM_OK)
        rad_engine_give_step(engine);
    if (status != RADLLM_OK || request->state != RADLLM_REQUEST_FAILED)
        return status;
    if (error != NULL) {
        error->status = request->error.status;
        memcpy(error->message, request->error.message, sizeof error->message);
    }
    return request->error.status;
}

void rad_request_finish(rad_request *request, int32_t finish)
{
    rad_engine *engine = engine_of(request);
    if (finish != RADLLM_FINISH_STOP && finish != RADLLM_FINISH_CHOICE) {
        size_t n = rad_detokenizer_finish(&request->detokenizer, request->piece);
        pthread_mutex_lock(&engine->mutex);
        if (n > 0 && rad_reserve(&engine->host.allocator, (void **)&request->text,
                                 &request->text_capacity, request->text_size + n, 1)) {
            memcpy(request->text + request->text_size, request->piece, n);
            request->text_size += n;
        }
        pthread_mutex_unlock(&engine->mutex);
    }
    /* The keys of a draft's wrong tokens; later the session is the host's. */
    rad_session_cut(request->session, request->session->n_known);
    rad_room_leave(request->session);
    remove_from_queue(request);
    pthread_mutex_lock(&engine->mutex);
    request->text_final = request->text_size;
    request->finish = finish;
    uint64_t total = rad_clock_ns() - request->start_ns;
    request->answer_ns = total - request->prompt_ns;
    request->state = finish == RADLLM_FINISH_ERROR || finish == RADLLM_FINISH_CANCELLED
                         ? RADLLM_REQUEST_FAILED
                         : RADLLM_REQUEST_DONE;
    if (finish == RADLLM_FINISH_CANCELLED)
        rad_fail(&request->error, RADLLM_E_CANCELLED, "the request was cancelled");
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

void rad_request_fail(rad_request *request, const radllm_error *error)
{
    request->error.status = error->status;
    memcpy(request->error.message, error->message, sizeof error->message);
    rad_request_finish(request, RADLLM_FINISH_ERROR);
}

void rad_request_tell(rad_request *request)
{
    if (request->callback == NULL)
        return;
    size_t from = request->text_told, to = request->text_final;
    if (to <= from)
        return;
    request->text_told = to;
    /* Only this thread changes the text, so it can be read without the mutex. */
    if (request->callback(request->callback_user, request->text + from, to - from) != 0)
        atomic_store(&request->cancelled, true);
}
