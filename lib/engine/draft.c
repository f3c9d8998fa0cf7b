#include "engine/draft.h"

#include <string.h>

#include "base/numeric.h"
#include "engine/request.h"

struct rad_draft_model {
    const rad_model *model;
    rad_program program;
    rad_draft_device place;
    rad_cache *cache;
    rad_backend *backend; /* `cpu`, or the GPU's, which uses it */
    rad_backend *cpu;
    uint32_t n_vocab; /* ids that both models know */

    /* The batch being built. */
    rad_token_span *spans;
    int32_t *tokens;
    uint32_t *outputs;
    rad_draw *draws;      /* of each output */
    rad_request **owners; /* of each span */
    bool *complete;       /* the span ends with the request's last token: its logits are wanted */
};

/* ---- the vocabulary -------------------------------------------------------------------------- */

/* Whether the entries from `first` on stand for nothing: padding up to a round number. */
static bool only_unused(const rad_tokenizer *tokenizer, uint32_t first)
{
    for (uint32_t i = first; i < rad_tokenizer_size(tokenizer); i++) {
        rad_text entry = rad_tokenizer_entry(tokenizer, (int32_t)i);
        bool padding = entry.size >= 4 && memcmp(entry.data, "[PAD", 4) == 0;
        if (rad_tokenizer_type(tokenizer, (int32_t)i) != RAD_TOKEN_UNUSED && !padding)
            return false;
    }
    return true;
}

static uint32_t shorter(const rad_model *a, const rad_model *b)
{
    uint32_t n = rad_tokenizer_size(a->tokenizer), other = rad_tokenizer_size(b->tokenizer);
    return n < other ? n : other;
}

radllm_status rad_draft_check(const rad_model *model, const rad_model *draft, radllm_error *error)
{
    if (draft->hparams.bidirectional)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the draft model (architecture %s) gives embeddings and no text",
                        draft->hparams.architecture->name);
    const rad_tokenizer *own = model->tokenizer, *other = draft->tokenizer;
    uint32_t n = shorter(model, draft);
    for (uint32_t i = 0; i < n; i++) {
        rad_text a = rad_tokenizer_entry(own, (int32_t)i);
        rad_text b = rad_tokenizer_entry(other, (int32_t)i);
        char quoted_a[RAD_QUOTE_SIZE], quoted_b[RAD_QUOTE_SIZE];
        if (a.size != b.size || (a.size > 0 && memcmp(a.data, b.data, a.size) != 0))
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "the draft model has another vocabulary: token %u is \"%s\" there and "
                            "\"%s\" in the model; use a draft model of the same family",
                            i, rad_quote(quoted_b, b.data, b.size),
                            rad_quote(quoted_a, a.data, a.size));
    }
    if (!only_unused(own, n) || !only_unused(other, n))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the draft model has another vocabulary: %u tokens there, %u in the model; "
                        "use a draft model of the same family",
                        rad_tokenizer_size(other), rad_tokenizer_size(own));
    return RADLLM_OK;
}

/* ---- memory ----------------------------------------------------------------------------------
 */

/* The model's own, as far as the draft model can follow it: what it computes decides no answer. It
 * keeps its keys where the model rebuilds them, and proposes nothing behind its context. */
static rad_attention_policy policy_of(const rad_engine_plan *plan, const rad_model *draft)
{
    rad_attention_policy policy = plan->policy;
    if (policy.kind == RAD_ATTENTION_RECOMPUTE || draft->hparams.architecture->learned_positions)
        policy = (rad_attention_policy){.kind = RAD_ATTENTION_AUTO};
    return policy;
}

static radllm_status too_large(radllm_error *error)
{
    return rad_fail(error, RADLLM_E_LIMIT,
                    "context, sessions and batch together exceed what can be addressed with this "
                    "draft model; lower one of them");
}

radllm_status rad_draft_program(const rad_engine_plan *plan, rad_program *program,
                                radllm_error *error)
{
    return rad_program_build(plan->settings.draft, &plan->draft_policy,
                             rad_policy_length(&plan->draft_policy, plan->settings.context),
                             program, error);
}

radllm_status rad_draft_plan(rad_engine_plan *plan, radllm_error *error)
{
    const rad_engine_settings *s = &plan->settings;
    const rad_model *draft = s->draft;
    rad_program program;
    plan->draft_policy = policy_of(plan, draft);
    radllm_status status = rad_draft_program(plan, &program, error);
    if (status != RADLLM_OK)
        return status;
    plan->draft_context = s->context;
    if (rad_policy_is_endless(&plan->draft_policy, &draft->hparams))
        plan->draft_context = RAD_MAX_POSITIONS;
    else if (draft->hparams.context_length < s->context)
        plan->draft_context = draft->hparams.context_length;
    plan->draft_backend = (rad_backend_settings){.n_threads = s->n_threads,
                                                 .max_tokens = s->batch,
                                                 .max_outputs = s->n_sessions,
                                                 .max_spans = s->n_sessions,
                                                 .adapters = &draft->adapters,
                                                 .blas = s->blas,
                                                 .apart = s->device.apart};
    uint64_t activations = rad_cpu_backend_bytes(&program, &plan->draft_backend);
    rad_program_free(&program);
    uint64_t weights = rad_weights_and_adapters(draft);
    plan->draft_bytes = weights;
    if (activations == 0 ||
        !rad_cache_plan_make(&draft->hparams, &plan->draft_policy, rad_cache_format_of(draft, s),
                             plan->draft_context, s->batch, s->n_sessions, &plan->draft_cache))
        return too_large(error);
    rad_engine_limit_cache(plan, &plan->draft_cache);
    if (!rad_add_u64(plan->draft_bytes, plan->draft_cache.bytes, &plan->draft_bytes) ||
        !rad_add_u64(plan->draft_bytes, activations, &plan->draft_bytes) ||
        !rad_add_u64(plan->weight_bytes, weights, &plan->weight_bytes) ||
        !rad_add_u64(plan->cache_bytes, plan->draft_cache.bytes, &plan->cache_bytes) ||
        !rad_add_u64(plan->activation_bytes, activations, &plan->activation_bytes))
        return too_large(error);
    return RADLLM_OK;
}

static radllm_status create_buffers(rad_draft_model *draft, const rad_engine *engine,
                                    radllm_error *error)
{
    const rad_allocator *allocator = &engine->host.allocator;
    const rad_backend_settings *settings = &engine->plan.draft_backend;
    draft->spans = rad_alloc(allocator, settings->max_spans * sizeof *draft->spans);
    draft->tokens = rad_alloc(allocator, settings->max_tokens * sizeof *draft->tokens);
    draft->outputs = rad_alloc(allocator, settings->max_outputs * sizeof *draft->outputs);
    draft->draws = rad_alloc(allocator, settings->max_outputs * sizeof *draft->draws);
    draft->owners = rad_alloc(allocator, settings->max_spans * sizeof *draft->owners);
    draft->complete = rad_alloc(allocator, settings->max_spans * sizeof *draft->complete);
    if (draft->spans != NULL && draft->tokens != NULL && draft->outputs != NULL &&
        draft->draws != NULL && draft->owners != NULL && draft->complete != NULL)
        return RADLLM_OK;
    return rad_fail_memory(error, settings->max_tokens * sizeof *draft->tokens);
}

radllm_status rad_draft_open(rad_engine *engine, radllm_error *error)
{
    rad_engine_plan *plan = &engine->plan;
    const rad_model *model = plan->settings.draft;
    rad_draft_model *draft = rad_alloc_zero(&engine->host.allocator, sizeof *draft);
    if (draft == NULL)
        return rad_fail_memory(error, sizeof *draft);
    engine->draft = draft;
    draft->model = model;
    draft->n_vocab = model->hparams.n_vocab < engine->model->hparams.n_vocab
                         ? model->hparams.n_vocab
                         : engine->model->hparams.n_vocab;
    radllm_status status = rad_draft_program(plan, &draft->program, error);
    if (status == RADLLM_OK)
        rad_draft_place(&engine->host, &draft->program, engine->cuda, plan, &draft->place);
    return status;
}

/* The GPU's backend, which leaves to the CPU's what comes before the first layer. */
static radllm_status create_there(const rad_engine *engine, rad_draft_model *draft,
                                  radllm_error *error)
{
    rad_backend *backend;
    radllm_status status = draft->place.cuda->create_backend(
        draft->place.device, &draft->place.placement, &draft->program, draft->cache,
        &engine->plan.draft_backend, draft->cpu, NULL, &backend, error);
    if (status == RADLLM_OK)
        draft->backend = backend;
    return status;
}

radllm_status rad_draft_create(rad_engine *engine, radllm_error *error)
{
    rad_draft_model *draft = engine->draft;
    rad_engine_plan *plan = &engine->plan;
    const rad_hparams *hparams = &draft->model->hparams;
    bool there = draft->place.device != NULL;
    rad_far_memory far;
    radllm_status status = RADLLM_OK;
    plan->draft_backend.threads_of = engine->cpu;
    if (there)
        status = draft->place.cuda->create_pages(draft->place.device, &draft->place.placement,
                                                 hparams, &plan->draft_cache, &far, error);
    if (status == RADLLM_OK)
        status = rad_cache_create(&engine->host.allocator, hparams, &plan->draft_cache,
                                  there ? &far : NULL, &draft->cache, error);
    if (status == RADLLM_OK)
        status = rad_cpu_backend_create(&engine->host, &draft->program, draft->cache,
                                        &plan->draft_backend, &draft->cpu, error);
    draft->backend = draft->cpu;
    if (status == RADLLM_OK && there)
        status = create_there(engine, draft, error);
    if (status == RADLLM_OK)
        status = create_buffers(draft, engine, error);
    return status; /* what was made is freed with the engine */
}

void rad_draft_free(rad_engine *engine)
{
    rad_draft_model *draft = engine->draft;
    if (draft == NULL)
        return;
    const rad_allocator *allocator = &engine->host.allocator;
    const rad_backend_settings *settings = &engine->plan.draft_backend;
    if (draft->backend != NULL && draft->backend != draft->cpu)
        draft->backend->table->free(draft->backend);
    if (draft->cpu != NULL)
        draft->cpu->table->free(draft->cpu);
    rad_cache_free(draft->cache);
    rad_draft_close_device(&draft->place);
    rad_program_free(&draft->program);
    if (draft->tokens != NULL)
        rad_wipe(draft->tokens, settings->max_tokens * sizeof *draft->tokens);
    rad_free(allocator, draft->spans, settings->max_spans * sizeof *draft->spans);
    rad_free(allocator, draft->tokens, settings->max_tokens * sizeof *draft->tokens);
    rad_free(allocator, draft->outputs, settings->max_outputs * sizeof *draft->outputs);
    rad_free(allocator, draft->draws, settings->max_outputs * sizeof *draft->draws);
    rad_free(allocator, draft->owners, settings->max_spans * sizeof *draft->owners);
    rad_free(allocator, draft->complete, settings->max_spans * sizeof *draft->complete);
    rad_free(allocator, draft, sizeof *draft);
    engine->draft = NULL;
}

rad_cache *rad_draft_cache_of(rad_draft_model *draft)
{
    return draft->cache;
}

/* ---- proposing ------------------------------------------------------------------------------- */

/* The next output row is a request's: what a GPU can choose of it by itself is asked for. */
static void want_token(rad_draft_model *draft, rad_batch *batch, const rad_request *r)
{
    const rad_sampler_settings *settings = &r->settings.sampler;
    rad_draw *draw = &draft->draws[batch->n_outputs];
    *draw = (rad_draw){0.0, 0.0};
    if (rad_sampler_is_greedy(settings, draft->n_vocab)) {
        batch->chooses = true;
    } else if (rad_sampler_is_plain(settings, draft->n_vocab)) {
        draw->unit = rad_random_unit(settings->seed, 0, r->n_answer + r->n_draft);
        draw->temperature = settings->temperature;
        batch->draws = draft->draws;
    } else if (rad_sampler_can_narrow(settings, draft->n_vocab)) {
        batch->narrows = true;
    }
    draft->outputs[batch->n_outputs++] = batch->n_tokens - 1;
}

/* Adds what the draft model has not computed of a request's sequence and draft, as far as there is
 * room. */
static void add_request(rad_draft_model *draft, rad_batch *batch, uint32_t max_tokens,
                        rad_request *r)
{
    rad_session *session = r->session;
    uint32_t first = session->draft.n_tokens;
    if (first < session->first) { /* what it has not computed is forgotten */
        r->wanted = 0;
        return;
    }
    uint32_t all = session->n_known + 1 + r->n_draft - first, room = max_tokens - batch->n_tokens;
    uint32_t n = all < room ? all : room;
    for (uint32_t i = 0; i < n; i++) { /* ids that only the other model has */
        if ((uint32_t)*rad_session_at(session, first + i) >= draft->model->hparams.n_vocab)
            n = 0;
    }
    if (n < all)
        r->wanted = 0; /* no draft this time */
    if (n == 0 || !rad_session_extend_draft(session, first + n)) {
        r->wanted = 0;
        return;
    }
    memcpy(draft->tokens + batch->n_tokens, rad_session_at(session, first),
           n * sizeof *draft->tokens);
    draft->spans[batch->n_spans] = (rad_token_span){
        batch->n_tokens, n, first, &session->draft.sequence, &draft->model->adapters};
    draft->owners[batch->n_spans] = r;
    draft->complete[batch->n_spans++] = n == all;
    batch->n_tokens += n;
    if (n == all)
        want_token(draft, batch, r);
}

/* The token that a GPU chose, or that follows from the best ones it gave; -1: the logits are to be
 * looked at. */
static int32_t chosen_there(const rad_engine *engine, const rad_request *r, uint32_t output,
                            const int32_t *history, uint32_t n_history)
{
    const rad_draft_model *draft = engine->draft;
    const rad_backend_table *table = draft->backend->table;
    const rad_sampler_settings *settings = &r->settings.sampler;
    if (rad_sampler_is_greedy(settings, draft->n_vocab))
        return table->choice(draft->backend, output);
    if (draft->draws[output].temperature > 0.0)
        return table->drawn != NULL ? table->drawn(draft->backend, output) : -1;
    if (table->best == NULL || !rad_sampler_can_narrow(settings, draft->n_vocab))
        return -1;
    rad_best_tokens best = table->best(draft->backend, output);
    return best.n == 0
               ? -1
               : rad_sampler_choose_best(engine->samplers[0], settings, &best, draft->n_vocab,
                                         history, n_history, 0, r->n_answer + r->n_draft);
}

/* The request's own sampler and random stream: what the model would choose from these logits. -1:
 * they are no numbers, or there is a bias for an id that the draft model lacks. */
static int32_t choose(const rad_engine *engine, const rad_request *r, uint32_t output)
{
    const rad_draft_model *draft = engine->draft;
    const rad_backend_table *table = draft->backend->table;
    uint32_t n_history;
    const int32_t *history = rad_session_history(r->session, 1 + r->n_draft, &n_history);
    int32_t token = chosen_there(engine, r, output, history, n_history);
    if (token >= 0 || table->fetch(draft->backend, output, 1, NULL) != RADLLM_OK)
        return token;
    radllm_status status = rad_sampler_choose(
        engine->samplers[0], &r->settings.sampler, table->logits(draft->backend, output),
        draft->n_vocab, history, n_history, 0, r->n_answer + r->n_draft, &token, NULL);
    return status == RADLLM_OK ? token : -1;
}

/* Nothing comes behind a token that ends the answer; a GPU may choose one of the draft model's own.
 */
static void take_token(rad_engine *engine, rad_request *r, uint32_t output)
{
    rad_session *session = r->session;
    int32_t token = choose(engine, r, output);
    if (token < 0 || (uint32_t)token >= engine->draft->n_vocab ||
        (!r->settings.ignore_end && rad_tokenizer_is_end(engine->model->tokenizer, token))) {
        r->wanted = r->n_draft;
        return;
    }
    r->draft[++r->n_draft] = token;
    if (r->n_draft < r->wanted)
        *rad_session_at(session, session->n_known + r->n_draft) = token;
}

void rad_draft_propose(rad_engine *engine, rad_request *const *requests, uint32_t count,
                       const radllm_cancel *cancel)
{
    rad_draft_model *draft = engine->draft;
    for (;;) {
        rad_batch batch = {
            .tokens = draft->tokens, .spans = draft->spans, .outputs = draft->outputs};
        for (uint32_t i = 0; i < count; i++) {
            if (requests[i]->n_draft < requests[i]->wanted)
                add_request(draft, &batch, engine->plan.draft_backend.max_tokens, requests[i]);
        }
        if (batch.n_spans == 0)
            return;
        if (draft->backend->table->run(draft->backend, &batch, cancel, NULL) != RADLLM_OK) {
            for (uint32_t i = 0; i < count; i++)
                requests[i]->wanted = 0;
            return;
        }
        uint32_t output = 0;
        for (uint32_t i = 0; i < batch.n_spans; i++) {
            rad_request *r = draft->owners[i];
            r->session->draft.n_tokens += draft->spans[i].n_rows;
            if (draft->complete[i])
                take_token(engine, r, output++);
        }
    }
}
