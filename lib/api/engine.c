/* Engines and sessions. */
#include <string.h>

#include "api/engine.h"
#include "api/model.h"
#include "engine/device.h"

static radllm_status check_weights(const radllm_model *model, const char *which,
                                   radllm_error *error)
{
    RAD_CHECK_PROCESS(model->process);
    if (model->model->vocabulary_only)
        return rad_fail(error, RADLLM_E_STATE,
                        "the %s was loaded with vocab_only; load it with its weights", which);
    return RADLLM_OK;
}

/* draft may be NULL. */
static radllm_status new_engine(const radllm_host *host, radllm_model *model, radllm_model *draft,
                                const radllm_options *options, radllm_engine **out,
                                radllm_error *error)
{
    radllm_status checked = check_weights(model, "model", error);
    if (checked == RADLLM_OK && draft != NULL)
        checked = check_weights(draft, "draft model", error);
    if (checked != RADLLM_OK)
        return checked;
    rad_host own = host != NULL ? host->settings : model->host;
    rad_engine_settings settings;
    rad_options_engine(options, &settings);
    settings.draft = draft != NULL ? draft->model : NULL;
    radllm_engine *engine = rad_alloc_zero(&own.allocator, sizeof *engine);
    if (engine == NULL)
        return rad_fail_memory(error, sizeof *engine);
    atomic_init(&engine->references, 1);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_engine_create(&own, model->model, &settings, &engine->engine, error);
    rad_fpenv_leave(saved);
    if (status != RADLLM_OK) {
        rad_free(&own.allocator, engine, sizeof *engine);
        return status;
    }
    engine->model = rad_model_retain(model);
    engine->draft = draft != NULL ? rad_model_retain(draft) : NULL;
    *out = engine;
    return RADLLM_OK;
}

radllm_status radllm_engine_new(const radllm_host *host, radllm_model *model,
                                const radllm_options *options, radllm_engine **out,
                                radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(out);
    return new_engine(host, model, NULL, options, out, error);
}

radllm_status radllm_engine_new_with_draft(const radllm_host *host, radllm_model *model,
                                           radllm_model *draft, const radllm_options *options,
                                           radllm_engine **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(draft);
    RAD_CHECK_NULL(out);
    return new_engine(host, model, draft, options, out, error);
}

radllm_engine *rad_engine_retain(radllm_engine *engine)
{
    atomic_fetch_add(&engine->references, 1);
    return engine;
}

void radllm_engine_free(radllm_engine *engine)
{
    if (engine == NULL || atomic_fetch_sub(&engine->references, 1) != 1)
        return;
    rad_allocator allocator = engine->engine->host.allocator;
    radllm_model *model = engine->model, *draft = engine->draft;
    rad_engine_free(engine->engine);
    rad_free(&allocator, engine, sizeof *engine);
    radllm_model_free(model);
    radllm_model_free(draft);
}

radllm_status radllm_engine_step(radllm_engine *engine, uint32_t *pending, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_PROCESS(engine->engine->process);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_engine_step(engine->engine, NULL, pending, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_engine_start_worker(radllm_engine *engine, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_PROCESS(engine->engine->process);
    return rad_engine_start_worker(engine->engine, error);
}

radllm_status radllm_engine_stop_worker(radllm_engine *engine, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_PROCESS(engine->engine->process);
    return rad_engine_stop_worker(engine->engine, error);
}

radllm_status radllm_engine_clear_prefixes(radllm_engine *engine, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_PROCESS(engine->engine->process);
    radllm_status status = rad_engine_take_step(engine->engine, error);
    if (status != RADLLM_OK)
        return status;
    rad_cache_clear_prefixes(engine->engine->cache);
    rad_engine_give_step(engine->engine);
    return RADLLM_OK;
}

radllm_status radllm_engine_number(const radllm_engine *engine, const char *name, int64_t *out,
                                   radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine->engine->process);
    rad_engine *inner = engine->engine;
    if (strcmp(name, "gpu_bandwidth") == 0) {
        *out = rad_device_bandwidth(inner);
        return RADLLM_OK;
    }
    if (strcmp(name, "gpu_int8_macs") == 0 || strcmp(name, "gpu_float_macs") == 0) {
        *out = rad_device_multiply_adds(inner, name[4] == 'f');
        return RADLLM_OK;
    }
    const rad_engine_plan *plan = &inner->plan;
    const rad_cuda_placement *placement = &plan->placement;
    uint32_t gpu = 0;
    const char *of_gpu = rad_gpu_name(placement, name, &gpu);
    if (rad_placement_number(placement, name, out))
        return RADLLM_OK;
    if (of_gpu != NULL && strcmp(of_gpu, "used") == 0) {
        *out = rad_device_used(inner, gpu, 1);
        return RADLLM_OK;
    }
    rad_cache_counts counts = rad_cache_count(inner->cache);
    const rad_named_number numbers[] = {
        {"threads", plan->settings.n_threads},
        {"context", plan->settings.context},
        {"sessions", plan->settings.n_sessions},
        {"batch", plan->settings.batch},
        {"positions", plan->positions},
        {"window", plan->policy.window},
        {"sinks", plan->policy.sinks},
        {"recompute_period", plan->policy.period},
        {"cache_bytes", (int64_t)plan->cache_bytes},
        {"cache_position_bytes", (int64_t)rad_cache_position_bytes(&plan->cache)},
        {"activation_bytes", (int64_t)plan->activation_bytes},
        {"tokens_computed", (int64_t)atomic_load(&inner->tokens_computed)},
        {"tokens_reused", (int64_t)atomic_load(&inner->tokens_reused)},
        {"tokens_shared", (int64_t)atomic_load(&inner->tokens_shared)},
        {"prefix_memory", (int64_t)plan->cache.prefix_bytes},
        {"cache_positions", (int64_t)plan->settings.cache_positions},
        {"prefix_blocks", counts.prefixes.n_nodes},
        {"prefix_bytes", (int64_t)counts.prefixes.bytes},
        {"pages_evicted", (int64_t)counts.prefixes.n_evicted},
        {"pages_copied", (int64_t)counts.n_copied},
        {"pages_free", (int64_t)counts.n_free},
        {"draft_bytes", (int64_t)plan->draft_bytes},
        {"drafted_tokens", (int64_t)atomic_load(&inner->tokens_drafted)},
        {"accepted_tokens", (int64_t)atomic_load(&inner->tokens_accepted)},
        {"gpu_used", rad_device_used(inner, 0, placement->n_gpus)},
        {"gpu_upload_ns", (int64_t)inner->upload_ns},
        {"gpu_check_ns", (int64_t)inner->check_ns},
    };
    return rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, out, error);
}

radllm_status radllm_engine_expert(const radllm_engine *engine, uint32_t layer, uint32_t expert,
                                   radllm_expert_info *info, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_NULL(info);
    RAD_CHECK_PROCESS(engine->engine->process);
    const rad_engine *inner = engine->engine;
    const rad_hparams *h = &inner->model->hparams;
    if (layer >= h->n_layers || !rad_has_experts(h, layer) || expert >= h->router.n_experts)
        return rad_fail(error, RADLLM_E_NOT_FOUND,
                        "there is no expert %u in layer %u; the model has %u layers and %u experts "
                        "in those that have any",
                        expert, layer, h->n_layers, h->router.n_experts);
    radllm_expert_info known = {.size = info->size,
                                .tokens = rad_device_expert_tokens(inner, layer, expert)};
    return rad_copy_info(info, &known, sizeof known, error);
}

radllm_status radllm_engine_text(const radllm_engine *engine, const char *name, char *buffer,
                                 size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_NULL(name);
    RAD_CHECK_PROCESS(engine->engine->process);
    const rad_engine *inner = engine->engine;
    char cache_type[RAD_CACHE_FORMAT_NAME];
    char device[RAD_DEVICE_TEXT], placement[RAD_DEVICE_TEXT];
    rad_cache_format_name(inner->plan.cache.format, cache_type);
    rad_device_text(inner, device);
    rad_placement_text(&inner->plan, inner->model->hparams.n_layers, placement);
    const struct {
        const char *name, *text;
    } texts[] = {
        {"isa", inner->model->kernels->name},
        {"cache_type", cache_type},
        {"attention", rad_policy_name(&inner->plan.policy)},
        {"device", device},
        {"placement", placement},
        {"fast", rad_device_fast(inner)},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].name, name) == 0)
            return rad_copy_out(texts[i].text, strlen(texts[i].text), buffer, capacity, length,
                                error);
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no text called \"%s\"",
                    rad_quote(quoted, name, strlen(name)));
}

/* ---- sessions -------------------------------------------------------------------------------- */

radllm_status radllm_session_new(radllm_engine *engine, radllm_session **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(engine);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine->engine->process);
    const rad_allocator *allocator = &engine->engine->host.allocator;
    radllm_session *session = rad_alloc_zero(allocator, sizeof *session);
    if (session == NULL)
        return rad_fail_memory(error, sizeof *session);
    radllm_status status = rad_session_create(engine->engine, &session->session, error);
    if (status != RADLLM_OK) {
        rad_free(allocator, session, sizeof *session);
        return status;
    }
    atomic_init(&session->references, 1);
    session->engine = rad_engine_retain(engine);
    *out = session;
    return RADLLM_OK;
}

radllm_session *rad_session_retain(radllm_session *session)
{
    atomic_fetch_add(&session->references, 1);
    return session;
}

void radllm_session_free(radllm_session *session)
{
    if (session == NULL || atomic_fetch_sub(&session->references, 1) != 1)
        return;
    radllm_engine *engine = session->engine;
    rad_session_free(session->session);
    rad_free(&engine->engine->host.allocator, session, sizeof *session);
    radllm_engine_free(engine);
}

radllm_status rad_session_check_idle(radllm_session *session, radllm_error *error)
{
    rad_engine *engine = session->engine->engine;
    RAD_CHECK_PROCESS(engine->process);
    pthread_mutex_lock(&engine->mutex);
    bool busy = session->session->request != NULL;
    pthread_mutex_unlock(&engine->mutex);
    if (busy)
        return rad_fail(error, RADLLM_E_STATE, "a request runs on the session");
    return RADLLM_OK;
}

static radllm_status feed(radllm_session *session, const int32_t *tokens, size_t count,
                          radllm_logits_fn callback, void *user, const radllm_cancel *cancel,
                          radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    if (tokens == NULL && count != 0)
        return rad_fail_null(error, "tokens");
    radllm_status status = rad_session_check_idle(session, error);
    if (status != RADLLM_OK)
        return status;
    rad_fpenv saved = rad_fpenv_enter();
    status = rad_session_feed(session->session, tokens, count, callback, user, cancel, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_session_feed(radllm_session *session, const int32_t *tokens, size_t count,
                                  const radllm_cancel *cancel, radllm_error *error)
{
    return feed(session, tokens, count, NULL, NULL, cancel, error);
}

radllm_status radllm_session_feed_each(radllm_session *session, const int32_t *tokens, size_t count,
                                       radllm_logits_fn callback, void *user,
                                       const radllm_cancel *cancel, radllm_error *error)
{
    if (callback == NULL) {
        rad_error_clear(error);
        return rad_fail_null(error, "callback");
    }
    return feed(session, tokens, count, callback, user, cancel, error);
}

radllm_status radllm_session_logits(const radllm_session *session, float *logits, size_t capacity,
                                    size_t *count, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_PROCESS(session->engine->engine->process);
    rad_session *inner = session->session;
    size_t n_vocab = inner->engine->model->hparams.n_vocab;
    if (count != NULL)
        *count = n_vocab;
    if (logits == NULL && capacity != 0)
        return rad_fail_null(error, "logits");
    if (!inner->has_logits)
        return rad_fail(error, RADLLM_E_STATE,
                        "the session has no logits; feed at least one token first");
    if (capacity < n_vocab)
        return rad_fail(error, RADLLM_E_BUFFER, "there are %zu logits, the buffer has room for %zu",
                        n_vocab, capacity);
    radllm_status status = rad_session_read_logits(inner, error);
    if (status == RADLLM_OK)
        memcpy(logits, inner->logits, n_vocab * sizeof *logits);
    return status;
}

radllm_status radllm_session_sample(radllm_session *session, const radllm_options *options,
                                    int32_t *token, float *logprob, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(token);
    radllm_status status = rad_session_check_idle(session, error);
    if (status != RADLLM_OK)
        return status;
    rad_request_settings settings;
    rad_request_lists lists;
    rad_fpenv saved = rad_fpenv_enter();
    status =
        rad_options_request(options, session->engine->model->model, NULL, &settings, &lists, error);
    if (status == RADLLM_OK) {
        status = rad_session_sample(session->session, &settings.sampler, token, logprob, error);
        rad_request_lists_free(&lists);
    }
    rad_fpenv_leave(saved);
    return status;
}

uint32_t radllm_session_length(const radllm_session *session)
{
    return session != NULL ? session->session->n_known : 0;
}

radllm_status radllm_session_rewind(radllm_session *session, uint32_t length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    radllm_status status = rad_session_check_idle(session, error);
    if (status != RADLLM_OK)
        return status;
    if (length > session->session->n_known)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "cannot rewind to %u tokens: the session holds %u", length,
                        session->session->n_known);
    if (!rad_session_can_cut(session->session, length))
        return rad_fail(error, RADLLM_E_LIMIT,
                        "cannot rewind to %u tokens: the session keeps the last %u of its %u, and "
                        "what came before %u is forgotten; rewind to 0, or make the engine with a "
                        "larger option context",
                        length, session->session->engine->plan.settings.context,
                        session->session->n_known, length);
    rad_session_cut(session->session, length);
    return RADLLM_OK;
}
