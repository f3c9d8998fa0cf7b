#include "engine/embed.h"

#include <math.h>
#include <string.h>

/* A text that is being computed. */
typedef struct slot {
    rad_sequence sequence;
    size_t text;       /* its number */
    uint32_t n_done;   /* tokens */
    bool busy;         /* it has a text */
    float *out;        /* the text's first vector */
    double *sums;      /* of the vectors so far, for their mean */
    uint32_t n_piece;  /* tokens in the step at hand */
    uint32_t n_wanted; /* and how many of their vectors are wanted */
} slot;

typedef struct job {
    rad_engine *engine;
    const rad_embed_settings *settings;
    const rad_embed_text *texts;
    size_t count, next; /* the first text that has no slot yet */
    float *out;         /* of that text */
    slot *slots;
    uint32_t n_slots, n_reserved; /* reserved: sessions that nobody else can have meanwhile */
    double *sums;
} job;

/* ---- what is asked for ------------------------------------------------------------------------
 */

static radllm_status check_texts(const job *j, radllm_error *error)
{
    const rad_engine *engine = j->engine;
    uint32_t context = engine->plan.settings.context, n_vocab = engine->model->hparams.n_vocab;
    if (engine->plan.policy.kind > RAD_ATTENTION_FULL)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "embeddings are made of whole texts; make the engine with attention=auto, "
                        "not %s",
                        rad_policy_name(&engine->plan.policy));
    for (size_t i = 0; i < j->count; i++) {
        const rad_embed_text *text = &j->texts[i];
        if (text->n_tokens == 0)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "text %zu has no tokens, so that there is nothing to embed", i);
        if (text->n_tokens > context)
            return rad_fail(error, RADLLM_E_LIMIT,
                            "text %zu has %u tokens, the context holds %u; shorten it, make the "
                            "engine with a larger option context, or set truncate=1",
                            i, text->n_tokens, context);
        for (uint32_t t = 0; t < text->n_tokens; t++) {
            if (text->tokens[t] < 0 || (uint32_t)text->tokens[t] >= n_vocab)
                return rad_fail(error, RADLLM_E_ARGUMENT,
                                "text %zu: token %u has the id %d; the vocabulary has %u entries",
                                i, t, (int)text->tokens[t], n_vocab);
        }
    }
    return RADLLM_OK;
}

/* Where sequences go on from step to step, the cache has room for those of sessions alone. */
static radllm_status reserve(job *j, radllm_error *error)
{
    rad_engine *engine = j->engine;
    uint32_t most = engine->plan.settings.n_sessions;
    if (!engine->model->hparams.bidirectional) {
        pthread_mutex_lock(&engine->mutex);
        most -= engine->n_sessions;
        most = most < j->count ? most : (uint32_t)j->count;
        engine->n_sessions += most;
        pthread_mutex_unlock(&engine->mutex);
        j->n_reserved = most;
    }
    if (most == 0)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "embedding needs a session of the engine, and all %u are in use; free one, "
                        "or make the engine with a larger option sessions",
                        engine->plan.settings.n_sessions);
    most = most < j->count ? most : (uint32_t)j->count;
    const rad_allocator *allocator = &engine->host.allocator;
    size_t width = engine->model->hparams.width;
    bool mean = j->settings->pooling == RAD_POOLING_MEAN;
    j->slots = rad_alloc_zero(allocator, most * sizeof *j->slots);
    j->n_slots = j->slots != NULL ? most : 0;
    if (mean && j->slots != NULL) /* released by the number of slots */
        j->sums = rad_alloc(allocator, most * width * sizeof *j->sums);
    if (j->slots == NULL || (mean && j->sums == NULL))
        return rad_fail_memory(error, most * width * sizeof *j->sums);
    for (uint32_t i = 0; i < most; i++) {
        j->slots[i].sums = mean ? j->sums + i * width : NULL;
        if (!rad_sequence_create(engine->cache, &j->slots[i].sequence))
            return rad_fail_memory(error, sizeof *j->slots);
    }
    return RADLLM_OK;
}

static void release(job *j)
{
    rad_engine *engine = j->engine;
    const rad_allocator *allocator = &engine->host.allocator;
    size_t sums = (size_t)j->n_slots * engine->model->hparams.width * sizeof *j->sums;
    for (uint32_t i = 0; i < j->n_slots; i++)
        rad_sequence_free(&j->slots[i].sequence, true);
    if (j->sums != NULL)
        rad_wipe(j->sums, sums);
    rad_free(allocator, j->sums, sums);
    rad_free(allocator, j->slots, j->n_slots * sizeof *j->slots);
    pthread_mutex_lock(&engine->mutex);
    engine->n_sessions -= j->n_reserved;
    pthread_mutex_unlock(&engine->mutex);
}

/* ---- a step ------------------------------------------------------------------------------------
 */

static void take_next_text(job *j, slot *s)
{
    const rad_embed_text *text = &j->texts[j->next];
    size_t width = j->engine->model->hparams.width;
    s->busy = true;
    s->text = j->next++;
    s->n_done = 0;
    s->out = j->out;
    for (size_t i = 0; s->sums != NULL && i < width; i++)
        s->sums[i] = 0.0;
    j->out += rad_embed_rows(j->settings, text) * width;
}

/* Cuts a text's next piece to what the step has room for; n_piece 0: there is none. */
static void fit_piece(const job *j, const rad_batch *batch, slot *s)
{
    const rad_backend_settings *limits = &j->engine->plan.backend;
    uint32_t left = j->texts[s->text].n_tokens - s->n_done;
    uint32_t room = limits->max_tokens - batch->n_tokens;
    uint32_t room_outputs = limits->max_outputs - batch->n_outputs;
    bool each = s->sums != NULL || j->settings->pooling == RAD_POOLING_NONE;
    uint32_t n = left < room ? left : room;
    if (each)
        n = n < room_outputs ? n : room_outputs;
    if (n < left && j->engine->model->hparams.bidirectional)
        n = 0; /* all of it, or nothing */
    s->n_wanted = each ? n : j->settings->pooling == RAD_POOLING_CLS ? s->n_done == 0 : n == left;
    if (s->n_wanted > room_outputs)
        n = 0;
    s->n_piece = n;
}

static void add_piece(const job *j, rad_batch *batch, slot *s)
{
    rad_engine *engine = j->engine;
    const rad_embed_text *text = &j->texts[s->text];
    memcpy(engine->tokens + batch->n_tokens, text->tokens + s->n_done,
           s->n_piece * sizeof *engine->tokens);
    engine->spans[batch->n_spans++] = (rad_token_span){batch->n_tokens, s->n_piece, s->n_done,
                                                       &s->sequence, &engine->model->adapters};
    /* The first one, or the last ones. */
    uint32_t first = j->settings->pooling == RAD_POOLING_CLS ? 0 : s->n_piece - s->n_wanted;
    for (uint32_t i = 0; i < s->n_wanted; i++)
        engine->outputs[batch->n_outputs++] = batch->n_tokens + first + i;
    batch->n_tokens += s->n_piece;
}

static radllm_status build_batch(job *j, rad_batch *batch, radllm_error *error)
{
    rad_engine *engine = j->engine;
    *batch = (rad_batch){.tokens = engine->tokens,
                         .spans = engine->spans,
                         .outputs = engine->outputs,
                         .hidden = true};
    for (uint32_t i = 0; i < j->n_slots; i++)
        j->slots[i].n_piece = 0;
    for (uint32_t i = 0; i < j->n_slots; i++) {
        slot *s = &j->slots[i];
        if (!s->busy && j->next == j->count)
            continue;
        if (!s->busy)
            take_next_text(j, s);
        fit_piece(j, batch, s);
        if (s->n_piece == 0)
            break;
        if (!rad_sequence_extend(&s->sequence, s->n_done, s->n_done + s->n_piece))
            return rad_fail(error, RADLLM_E_INTERNAL, "the page pool is exhausted");
        add_piece(j, batch, s);
    }
    return RADLLM_OK;
}

/* ---- vectors -----------------------------------------------------------------------------------
 */

/* Length 1; what has no length stays. Sums are of increasing index, in double precision. */
static radllm_status finish_vector(const job *j, const slot *s, float *vector, radllm_error *error)
{
    uint32_t width = j->engine->model->hparams.width;
    double sum = 0.0;
    for (uint32_t i = 0; i < width; i++)
        sum += (double)vector[i] * vector[i];
    if (!(sum - sum == 0.0))
        return rad_fail(error, RADLLM_E_NUMERIC,
                        "the embedding of text %zu is not finite; the weights may be damaged, or "
                        "the text drives the model beyond its number range",
                        s->text);
    if (!j->settings->normalise || sum == 0.0)
        return RADLLM_OK;
    double length = sqrt(sum);
    for (uint32_t i = 0; i < width; i++)
        vector[i] = (float)(vector[i] / length);
    return RADLLM_OK;
}

static radllm_status take_row(const job *j, slot *s, uint32_t row, const float *values,
                              radllm_error *error)
{
    uint32_t width = j->engine->model->hparams.width;
    float *vector = s->out;
    if (s->sums != NULL) {
        for (uint32_t i = 0; i < width; i++)
            s->sums[i] += values[i];
        return RADLLM_OK;
    }
    if (j->settings->pooling == RAD_POOLING_NONE)
        vector += (size_t)row * width;
    memcpy(vector, values, width * sizeof *vector);
    return finish_vector(j, s, vector, error);
}

/* What the step computed of a text. */
static radllm_status take_piece(const job *j, slot *s, uint32_t first_output, radllm_error *error)
{
    const rad_backend *backend = j->engine->backend;
    const rad_embed_text *text = &j->texts[s->text];
    uint32_t width = j->engine->model->hparams.width;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < s->n_wanted && status == RADLLM_OK; i++)
        status =
            take_row(j, s, s->n_done + i, backend->table->hidden(backend, first_output + i), error);
    s->n_done += s->n_piece;
    if (status != RADLLM_OK || s->n_done < text->n_tokens)
        return status;
    if (s->sums != NULL) {
        for (uint32_t i = 0; i < width; i++)
            s->out[i] = (float)(s->sums[i] / text->n_tokens);
        status = finish_vector(j, s, s->out, error);
    }
    (void)rad_sequence_cut(&s->sequence, 0);
    s->busy = false;
    return status;
}

static bool is_finished(const job *j)
{
    for (uint32_t i = 0; i < j->n_slots; i++) {
        if (j->slots[i].busy)
            return false;
    }
    return j->next == j->count;
}

static radllm_status compute_batch(job *j, const radllm_cancel *cancel, radllm_error *error)
{
    rad_engine *engine = j->engine;
    rad_batch batch;
    radllm_status status = build_batch(j, &batch, error);
    if (status == RADLLM_OK)
        status = rad_engine_run(engine, &batch, cancel, error);
    if (status != RADLLM_OK)
        return status;
    atomic_fetch_add(&engine->tokens_computed, batch.n_tokens);
    uint32_t output = 0;
    for (uint32_t i = 0; i < j->n_slots && status == RADLLM_OK; i++) {
        slot *s = &j->slots[i];
        if (s->n_piece == 0)
            continue;
        status = take_piece(j, s, output, error);
        output += s->n_wanted;
    }
    return status;
}

/* The caller holds the step. Whoever has it next finds all pages that the plan promises. */
static radllm_status compute_step(job *j, const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = compute_batch(j, cancel, error);
    for (uint32_t i = 0; status != RADLLM_OK && i < j->n_slots; i++)
        (void)rad_sequence_cut(&j->slots[i].sequence, 0);
    return status;
}

radllm_status rad_engine_embed(rad_engine *engine, const rad_embed_settings *settings,
                               const rad_embed_text *texts, size_t count,
                               const radllm_cancel *cancel, float *out, radllm_error *error)
{
    job j = {.engine = engine, .settings = settings, .texts = texts, .count = count, .out = out};
    radllm_status status = check_texts(&j, error);
    if (status != RADLLM_OK || count == 0)
        return status;
    status = reserve(&j, error);
    while (status == RADLLM_OK && !is_finished(&j)) {
        status = rad_engine_take_step(engine, error);
        if (status != RADLLM_OK)
            break;
        status = compute_step(&j, cancel, error);
        rad_engine_give_step(engine);
    }
    release(&j);
    return status;
}
