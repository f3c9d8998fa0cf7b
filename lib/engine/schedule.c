#include "engine/schedule.h"

#include <string.h>

#include "engine/request.h"

/* What is left of a step's limits while the batch is built. */
typedef struct builder {
    rad_engine *engine;
    rad_batch batch;
    uint32_t n_work;
} builder;

/* The tokens that a request would compute next; *outputs of them, the last ones, want logits. */
static uint32_t next_tokens(const rad_request *r, const int32_t **tokens, uint32_t *outputs)
{
    uint32_t held = r->session->n_tokens;
    if (r->phase == RAD_PHASE_PROMPT) {
        *tokens = r->prompt + held;
        *outputs = 1;
        return r->n_prompt - held;
    }
    if (r->phase == RAD_PHASE_GENERATE) {
        *tokens = &r->answer[r->n_answer - 1].token;
        *outputs = 1;
        return 1;
    }
    const rad_choice *choice = &r->choices[r->choice];
    uint32_t done = held - r->n_prompt; /* the last token of an answer is scored, not computed */
    *tokens = choice->tokens + done;
    *outputs = choice->n_tokens - 1 - done;
    return *outputs;
}

/* Adds a request's next piece as far as the step has room. */
static void add_request(builder *b, rad_request *r)
{
    rad_engine *engine = b->engine;
    const rad_backend_settings *limits = &engine->plan.backend;
    const int32_t *tokens;
    uint32_t wanted_outputs;
    uint32_t wanted = next_tokens(r, &tokens, &wanted_outputs);
    uint32_t room = limits->max_tokens - b->batch.n_tokens;
    uint32_t room_outputs = limits->max_outputs - b->batch.n_outputs;
    uint32_t n = wanted < room ? wanted : room;
    if (r->phase == RAD_PHASE_CHOICE)
        n = n < room_outputs ? n : room_outputs;
    uint32_t n_outputs = r->phase == RAD_PHASE_CHOICE ? n : n == wanted ? 1 : 0;
    if (n == 0 || n_outputs > room_outputs || b->n_work == limits->max_spans)
        return;
    if (!rad_session_extend(r->session, r->session->n_tokens + n))
        return; /* cannot happen: the pool holds every session's whole context */
    memcpy(engine->tokens + b->batch.n_tokens, tokens, n * sizeof *tokens);
    engine->spans[b->n_work] =
        (rad_token_span){b->batch.n_tokens, n, r->session->n_tokens, r->session->pages};
    engine->work[b->n_work++] = (struct rad_work){r, n, b->batch.n_outputs, n_outputs};
    b->batch.n_tokens += n;
    for (uint32_t i = 0; i < n_outputs; i++)
        engine->outputs[b->batch.n_outputs++] = b->batch.n_tokens - n_outputs + i;
}

/* First the requests that generate, which need one token each, then the others, oldest first. */
static void build_batch(builder *b)
{
    rad_engine *engine = b->engine;
    for (int pass = 0; pass < 2; pass++) {
        for (rad_request *r = engine->queue; r != NULL; r = r->next) {
            if ((r->phase == RAD_PHASE_GENERATE) == (pass == 0))
                add_request(b, r);
        }
    }
    b->batch.tokens = engine->tokens;
    b->batch.spans = engine->spans;
    b->batch.n_spans = b->n_work;
    b->batch.outputs = engine->outputs;
}

/* Books the computed tokens into the session and hands the logits on. */
static void take_results(builder *b)
{
    rad_engine *engine = b->engine;
    for (uint32_t i = 0; i < b->n_work; i++) {
        const struct rad_work *work = &engine->work[i];
        rad_session *session = work->request->session;
        memcpy(session->tokens + session->n_tokens, engine->tokens + engine->spans[i].first_row,
               work->n_tokens * sizeof *engine->tokens);
        session->n_tokens += work->n_tokens;
        session->has_logits = false;
        for (uint32_t o = 0; o < work->n_outputs; o++)
            rad_request_take_logits(work->request, engine->backend->table->logits(
                                                       engine->backend, work->first_output + o));
    }
    atomic_fetch_add(&engine->tokens_computed, b->batch.n_tokens);
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

/* A step that was cancelled leaves its requests as they were; one that failed fails them. */
static void run_batch(builder *b, const radllm_cancel *cancel)
{
    rad_engine *engine = b->engine;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = engine->backend->table->run(engine->backend, &b->batch, cancel, &error);
    if (status == RADLLM_OK) {
        take_results(b);
        for (uint32_t i = 0; i < b->n_work; i++)
            rad_request_tell(engine->work[i].request);
    } else if (status != RADLLM_E_CANCELLED) {
        for (uint32_t i = 0; i < b->n_work; i++)
            rad_request_fail(engine->work[i].request, &error);
    }
    drop_cancelled(engine); /* by a callback */
}

uint32_t rad_schedule_step(rad_engine *engine, const radllm_cancel *cancel)
{
    builder b = {.engine = engine};
    drop_cancelled(engine);
    pthread_mutex_lock(&engine->mutex);
    build_batch(&b);
    pthread_mutex_unlock(&engine->mutex);
    if (b.n_work > 0)
        run_batch(&b, cancel);
    uint32_t left = 0;
    pthread_mutex_lock(&engine->mutex);
    for (const rad_request *r = engine->queue; r != NULL; r = r->next)
        left++;
    pthread_mutex_unlock(&engine->mutex);
    return left;
}
