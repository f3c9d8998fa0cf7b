#include "engine/schedule.h"

#include <string.h>

#include "engine/request.h"
#include "engine/room.h"
#include "engine/speculate.h"

/* ---- common beginnings ------------------------------------------------------------------------
 */

/* Lists the requests whose prompt is not computed. */
static void find_starting(rad_engine *engine)
{
    engine->n_starting = 0;
    pthread_mutex_lock(&engine->mutex);
    for (rad_request *r = engine->queue; r != NULL; r = r->next) {
        if (r->phase == RAD_PHASE_PROMPT)
            engine->starting[engine->n_starting++] = r;
    }
    pthread_mutex_unlock(&engine->mutex);
}

/* Whether an older request will compute at least a block of what r needs. */
static bool computes_for(const rad_request *older, const rad_request *r)
{
    uint32_t held = r->session->n_tokens, done = older->session->n_tokens, same = 0;
    uint32_t most = older->n_prompt / RAD_TILE_KEYS * RAD_TILE_KEYS; /* blocks that it completes */
    most = most < r->n_prompt - 1 ? most : r->n_prompt - 1;
    if (!rad_session_shares(older->session) || !rad_session_shares(r->session) ||
        most < held + RAD_TILE_KEYS ||
        memcmp(&older->session->key, &r->session->key, sizeof r->session->key) != 0)
        return false;
    while (same < most && older->prompt[same] == r->prompt[same])
        same++;
    return same >= held + RAD_TILE_KEYS && done / RAD_TILE_KEYS * RAD_TILE_KEYS < same;
}

/* What older requests have computed is taken; what they are about to compute is waited for. The
 * oldest waits for nobody, so some request always goes on. Whom the step has no room for in any
 * case is not looked at. */
static void share_beginnings(rad_engine *engine)
{
    if (engine->cache->prefixes == NULL)
        return;
    find_starting(engine);
    uint64_t planned = 0;
    for (uint32_t i = 0; i < engine->n_starting; i++) {
        rad_request *r = engine->starting[i];
        r->waits = planned >= engine->plan.backend.max_tokens;
        if (r->waits)
            continue;
        uint32_t taken = rad_session_adopt(r->session, r->prompt, r->n_prompt - 1);
        if (taken > 0) {
            pthread_mutex_lock(&engine->mutex);
            r->n_reused += taken;
            r->n_shared += taken;
            pthread_mutex_unlock(&engine->mutex);
        }
        for (uint32_t k = 0; k < i && !r->waits; k++)
            r->waits = computes_for(engine->starting[k], r);
        planned += r->waits ? 0 : r->n_prompt - r->session->n_tokens;
    }
}

/* ---- the batch ---------------------------------------------------------------------------------
 */

/* What is left of a step's limits while the batch is built. */
typedef struct builder {
    rad_engine *engine;
    rad_batch batch;
    uint32_t n_work;
} builder;

/* What a request would compute next: known tokens whose keys are gone, then new ones. */
typedef struct piece {
    uint32_t n_old, n_new;
    const int32_t *tokens; /* the new ones */
    uint32_t n_outputs;    /* of them, the last ones, that want logits */
} piece;

static piece next_piece(rad_request *r)
{
    rad_session *session = r->session;
    const rad_attention_policy *policy = &session->engine->plan.policy;
    if (r->phase == RAD_PHASE_PROMPT) {
        uint32_t held = session->n_tokens;
        return (piece){0, r->n_prompt - held, r->prompt + held, 1};
    }
    rad_session_rebase(session, session->n_known);
    piece next = {.n_old = session->n_known - session->n_tokens};
    if (r->phase == RAD_PHASE_GENERATE) { /* and its draft */
        next.tokens = r->n_draft > 0 ? r->draft : &r->answer[r->n_answer - 1].token;
        next.n_new = 1 + r->n_draft;
    } else {
        const rad_choice *choice = &r->choices[r->choice];
        uint32_t done = session->n_known - r->n_prompt;
        uint32_t segment = rad_policy_segment(policy, session->n_known);
        next.tokens = choice->tokens + done;
        next.n_new = choice->n_tokens - 1 - done; /* the last one is scored, not computed */
        next.n_new = next.n_new < segment ? next.n_new : segment;
    }
    next.n_outputs = next.n_new;
    return next;
}

/* Cuts a piece to what the step has room for; false where it has none. */
static bool fit_piece(const builder *b, bool each, piece *next)
{
    const rad_backend_settings *limits = &b->engine->plan.backend;
    uint32_t room = limits->max_tokens - b->batch.n_tokens;
    uint32_t room_outputs = limits->max_outputs - b->batch.n_outputs;
    uint32_t wanted = next->n_new;
    next->n_old = next->n_old < room ? next->n_old : room;
    room -= next->n_old;
    next->n_new = next->n_new < room ? next->n_new : room;
    if (each) { /* logits of each new token */
        next->n_new = next->n_new < room_outputs ? next->n_new : room_outputs;
        next->n_outputs = next->n_new;
    } else if (next->n_new < wanted) {
        next->n_outputs = 0;
    }
    return next->n_old + next->n_new > 0 && next->n_outputs <= room_outputs &&
           b->n_work < limits->max_spans;
}

/* Adds a request's next piece as far as the step has room. */
static void add_request(builder *b, rad_request *r)
{
    rad_engine *engine = b->engine;
    rad_session *session = r->session;
    int32_t *tokens = engine->tokens + b->batch.n_tokens;
    piece next = next_piece(r);
    if (next.n_old > 0 && engine->cache->plan.limited && !session->own &&
        rad_session_adopt(session, session->tokens, session->n_known) > 0)
        next = next_piece(r); /* others' pages, or its own from before it gave them back */
    uint32_t n_behind = session->n_known + RAD_TILE_KEYS, n_whole = r->n_prompt + RAD_TILE_KEYS;
    bool starts = r->phase == RAD_PHASE_PROMPT || next.n_old > 0;
    if (!fit_piece(b, r->phase != RAD_PHASE_PROMPT, &next))
        return;
    uint32_t n = next.n_old + next.n_new, from = session->n_tokens;
    rad_room_need need = {from + n, n_whole > n_behind ? n_whole : n_behind, starts};
    if (!rad_room_make(engine, engine->work, b->n_work, r, &need))
        return;
    if (next.n_old > 0)
        memcpy(tokens, rad_session_at(session, from), next.n_old * sizeof *tokens);
    memcpy(tokens + next.n_old, next.tokens, next.n_new * sizeof *tokens);
    engine->spans[b->n_work] = (rad_token_span){b->batch.n_tokens, n, from - session->base,
                                                &session->sequence, &session->adapters};
    engine->work[b->n_work++] = (struct rad_work){.request = r,
                                                  .generates = r->phase == RAD_PHASE_GENERATE,
                                                  .goes_on = true,
                                                  .n_tokens = n,
                                                  .n_old = next.n_old,
                                                  .first_output = b->batch.n_outputs,
                                                  .n_outputs = next.n_outputs};
    b->batch.n_tokens += n;
    for (uint32_t i = 0; i < next.n_outputs; i++)
        engine->outputs[b->batch.n_outputs++] = b->batch.n_tokens - next.n_outputs + i;
    if (next.n_outputs == 0)
        return;
    r->narrows = rad_request_narrows(r);
    if (rad_request_is_greedy(r))
        b->batch.chooses = true;
    else if (r->narrows)
        b->batch.narrows = true;
    for (uint32_t i = 0; i < next.n_outputs; i++) {
        rad_draw *draw = &engine->draws[b->batch.n_outputs - next.n_outputs + i];
        *draw = rad_request_draw(r, i);
        if (draw->temperature > 0.0)
            b->batch.draws = engine->draws;
    }
}

/* First the requests that generate, which need one token each, then the others, oldest first. */
static void build_batch(builder *b)
{
    rad_engine *engine = b->engine;
    for (int pass = 0; pass < 2; pass++) {
        for (rad_request *r = engine->queue; r != NULL; r = r->next) {
            bool waits = r->phase == RAD_PHASE_PROMPT && r->waits;
            if ((r->phase == RAD_PHASE_GENERATE) == (pass == 0) && !waits)
                add_request(b, r);
        }
    }
    b->batch.tokens = engine->tokens;
    b->batch.spans = engine->spans;
    b->batch.n_spans = b->n_work;
    b->batch.outputs = engine->outputs;
}

static rad_request *first_cancelled(rad_engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    rad_request *r = engine->queue;
    while (r != NULL && !atomic_load(&r->cancelled))
        r = r->next;
    pthread_mutex_unlock(&engine->mutex);
    return r;
}

static void drop_cancelled(rad_engine *engine)
{
    rad_request *r;
    while ((r = first_cancelled(engine)) != NULL)
        rad_request_finish(r, RADLLM_FINISH_CANCELLED);
}

/* ---- results ----------------------------------------------------------------------------------
 */

/* Books the next n computed tokens into the session. */
static void book(rad_engine *engine, struct rad_work *work, uint32_t n)
{
    rad_session *session = work->request->session;
    const rad_token_span *span = &engine->spans[work - engine->work];
    const int32_t *tokens = engine->tokens + span->first_row + work->n_booked;
    uint32_t old = session->n_known - session->n_tokens; /* these stand there already */
    if (n > old)
        rad_session_append(session, tokens + old, n - old);
    bool completes = session->n_tokens % RAD_TILE_KEYS + n >= RAD_TILE_KEYS; /* a block */
    session->n_tokens += n;
    session->has_logits = false;
    if (completes)
        rad_session_publish(session);
    work->n_booked += n;
}

/* A piece of a prompt or of a choice is taken whole; of an answer the next token. */
static void book_result(rad_engine *engine, struct rad_work *work)
{
    work->n_ready = 0;
    if (work->n_booked < work->n_old)
        book(engine, work, work->n_old);
    if (work->n_booked == work->n_tokens)
        return; /* nothing new among them */
    work->n_ready = work->generates ? 1 : work->n_outputs;
    book(engine, work, work->generates ? 1 : work->n_tokens - work->n_old);
    work->ready = work->first_output;
    if (work->generates)
        work->ready += work->n_booked - work->n_old - 1;
}

static void hand_on(const struct rad_work *work)
{
    for (uint32_t i = 0; i < work->n_ready; i++)
        rad_request_take_output(work->request, work->ready + i);
}

/* Task `index` has every n_samplers-th of the works that are chosen ahead. */
static void choose_some(void *data, uint32_t index, uint32_t worker)
{
    const builder *b = data;
    rad_engine *engine = b->engine;
    (void)worker;
    for (uint32_t i = 0; i < b->n_work; i++) {
        const struct rad_work *work = &engine->work[i];
        if (work->number != UINT32_MAX && work->number % engine->plan.n_samplers == index)
            rad_request_choose_ahead(work->request, work->ready, engine->samplers[index]);
    }
}

/* Where several requests choose from logits, they do so at the same time; what comes of it is told
 * in their order. */
static void choose_ahead(builder *b)
{
    rad_engine *engine = b->engine;
    const rad_backend_table *table = engine->backend->table;
    uint32_t n = 0, most = engine->plan.n_samplers;
    for (uint32_t i = 0; i < b->n_work && most > 1; i++) {
        struct rad_work *work = &engine->work[i];
        bool can = work->goes_on && work->n_ready == 1 &&
                   rad_request_can_choose_ahead(work->request, work->ready);
        work->number = can ? n++ : UINT32_MAX;
    }
    if (n < 2)
        return;
    for (uint32_t i = 0; i < b->n_work; i++) {
        struct rad_work *work = &engine->work[i];
        if (work->number != UINT32_MAX && !rad_request_has_best(work->request, work->ready) &&
            table->fetch(engine->backend, work->ready, 1, NULL) != RADLLM_OK)
            work->number = UINT32_MAX;
    }
    rad_cpu_backend_parallel(engine->cpu, choose_some, b, n < most ? n : most);
}

/* Whether the next token of the draft is the one that was chosen: then its logits are computed. */
static bool next_is_right(const rad_engine *engine, const struct rad_work *work)
{
    const rad_request *r = work->request;
    const rad_token_span *span = &engine->spans[work - engine->work];
    return work->generates && work->n_booked > work->n_old && work->n_booked < work->n_tokens &&
           r->state == RADLLM_REQUEST_PENDING &&
           r->answer[r->n_answer - 1].token == engine->tokens[span->first_row + work->n_booked];
}

static void count_drafts(rad_engine *engine, rad_request *r, uint32_t drafted, uint32_t accepted)
{
    pthread_mutex_lock(&engine->mutex);
    r->n_drafted += drafted;
    r->n_accepted += accepted;
    pthread_mutex_unlock(&engine->mutex);
    atomic_fetch_add(&engine->tokens_drafted, drafted);
    atomic_fetch_add(&engine->tokens_accepted, accepted);
}

/* In rounds: each is what a step without drafts would be, so that callbacks come, and cancel, as
 * they would then. A finished request's session is the host's again and is not touched. */
static void take_results(builder *b)
{
    rad_engine *engine = b->engine;
    atomic_fetch_add(&engine->tokens_computed, b->batch.n_tokens);
    for (uint32_t i = 0; i < b->n_work; i++) {
        const struct rad_work *work = &engine->work[i];
        if (work->generates && work->n_outputs > 1)
            count_drafts(engine, work->request, work->n_outputs - 1, 0);
    }
    for (bool any = true; any;) {
        for (uint32_t i = 0; i < b->n_work; i++) {
            if (engine->work[i].goes_on)
                book_result(engine, &engine->work[i]);
        }
        choose_ahead(b);
        for (uint32_t i = 0; i < b->n_work; i++) {
            if (engine->work[i].goes_on)
                hand_on(&engine->work[i]);
        }
        for (uint32_t i = 0; i < b->n_work; i++) {
            if (engine->work[i].goes_on)
                rad_request_tell(engine->work[i].request);
        }
        drop_cancelled(engine); /* by a callback */
        any = false;
        for (uint32_t i = 0; i < b->n_work; i++) {
            struct rad_work *work = &engine->work[i];
            work->goes_on = work->goes_on && next_is_right(engine, work);
            if (work->goes_on)
                count_drafts(engine, work->request, 0, 1);
            any = any || work->goes_on;
        }
    }
}

/* Forgets the drafts of a step: what was right is part of the session, the rest is cut. */
static void settle_drafts(const builder *b, bool computed)
{
    for (uint32_t i = 0; i < b->n_work; i++) {
        const struct rad_work *work = &b->engine->work[i];
        rad_request *r = work->request;
        if (!work->generates || r->state != RADLLM_REQUEST_PENDING)
            continue; /* a finished one was cut when it finished */
        if (computed && work->n_outputs > 1)
            rad_speculation_learn(r, work->n_outputs - 1, work->n_booked - work->n_old - 1);
        if (work->n_outputs > 1 || r->session->draft.n_tokens > r->session->n_known)
            rad_session_cut(r->session, r->session->n_known);
    }
}

/* A step that was cancelled leaves its requests as they were; one that failed fails them. */
static void run_batch(builder *b, const radllm_cancel *cancel)
{
    rad_engine *engine = b->engine;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = rad_engine_run(engine, &b->batch, cancel, &error);
    if (status == RADLLM_OK) {
        take_results(b);
    } else if (status != RADLLM_E_CANCELLED) {
        for (uint32_t i = 0; i < b->n_work; i++)
            rad_request_fail(engine->work[i].request, &error);
    }
    settle_drafts(b, status == RADLLM_OK);
    drop_cancelled(engine);
}

uint32_t rad_schedule_step(rad_engine *engine, const radllm_cancel *cancel)
{
    builder b = {.engine = engine};
    drop_cancelled(engine);
    rad_speculate(engine, cancel);
    share_beginnings(engine);
    pthread_mutex_lock(&engine->mutex);
    rad_request *oldest = engine->queue; /* what comes now was not looked at */
    build_batch(&b);
    pthread_mutex_unlock(&engine->mutex);
    if (b.n_work > 0)
        run_batch(&b, cancel);
    else if (oldest != NULL && engine->cache->plan.limited) /* all others would have given way */
        rad_room_fail_request(oldest);
    uint32_t left = 0;
    pthread_mutex_lock(&engine->mutex);
    for (const rad_request *r = engine->queue; r != NULL; r = r->next)
        left++;
    pthread_mutex_unlock(&engine->mutex);
    return left;
}
