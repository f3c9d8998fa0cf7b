/* What an engine takes, before anything is taken. */
#include "engine/device.h"
#include "engine/draft.h"

#include <string.h>

#define DEFAULT_CONTEXT 4096
#define MOST_TEXTS      64                   /* whose embeddings are computed in one step */
#define LOGITS_BYTES    ((uint64_t)16 << 20) /* wanted for the logits of one step */

static uint32_t default_outputs(const rad_model *model, const rad_engine_settings *settings)
{
    uint64_t outputs = LOGITS_BYTES / sizeof(float) / model->hparams.n_vocab;
    if (model->hparams.architecture->encoder) /* it has no logits */
        return settings->batch;
    outputs = outputs < settings->n_sessions ? settings->n_sessions : outputs;
    return (uint32_t)(outputs > settings->batch ? settings->batch : outputs);
}

/* A learned position is a row of a table, which ends somewhere; other positions can be computed. */
static radllm_status check_context(const rad_model *model, const rad_engine_settings *settings,
                                   radllm_error *error)
{
    uint32_t made_for = model->hparams.context_length;
    bool learned = model->hparams.architecture->learned_positions;
    if (settings->context <= made_for || (settings->unlimited && !learned))
        return RADLLM_OK;
    if (model->hparams.bidirectional)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "a context of %u tokens was asked for; the model was made for %u: lower "
                        "the option context%s",
                        settings->context, made_for,
                        learned ? "" : ", or set context_limit=ignore");
    return rad_fail(error, RADLLM_E_LIMIT,
                    "a context of %u tokens was asked for; the model was made for %u: lower the "
                    "option context, or set attention=%s%s",
                    settings->context, made_for, learned ? "recompute" : "sinks",
                    learned ? "" : ", or context_limit=ignore to go beyond what it has learned");
}

/* Where tokens see those behind them, a text is computed in one step. Its keys are forgotten then:
 * texts share no beginnings, and how many there are in a step is no matter of sessions. */
static radllm_status adapt_to_whole_texts(rad_engine_plan *plan, radllm_error *error)
{
    rad_engine_settings *settings = &plan->settings;
    if (plan->policy.kind > RAD_ATTENTION_FULL)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "attention=%s is for models that generate; tokens of this one see the "
                        "whole text: leave the option attention at auto",
                        rad_policy_name(&plan->policy));
    if (settings->draft != NULL)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the model gives embeddings and no text, so that a draft model has nothing "
                        "to propose");
    if (settings->batch < settings->context)
        settings->batch = settings->context;
    uint32_t texts = settings->batch / 8 < MOST_TEXTS ? settings->batch / 8 : MOST_TEXTS;
    if (settings->n_sessions < texts)
        settings->n_sessions = texts;
    if (settings->n_sessions > settings->batch)
        settings->n_sessions = settings->batch;
    settings->no_prefixes = true;
    settings->cache_positions = 0; /* no keys outlive a step */
    return RADLLM_OK;
}

static radllm_status fill_defaults(const rad_model *model, rad_engine_plan *plan,
                                   radllm_error *error)
{
    rad_engine_settings *settings = &plan->settings;
    uint32_t made_for = model->hparams.context_length;
    radllm_status status = rad_policy_make(&model->hparams, &settings->attention,
                                           settings->unlimited, &plan->policy, error);
    if (status != RADLLM_OK)
        return status;
    bool endless = rad_policy_is_endless(&plan->policy, &model->hparams);
    status = endless ? RADLLM_OK : check_context(model, settings, error);
    if (status != RADLLM_OK)
        return status;
    if (settings->context == 0)
        settings->context = made_for < DEFAULT_CONTEXT ? made_for : DEFAULT_CONTEXT;
    if (plan->policy.kind == RAD_ATTENTION_RECOMPUTE && settings->context < plan->policy.window)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "attention=recompute rebuilds from the last %u tokens, a session keeps "
                        "%u: raise the option context or lower window",
                        plan->policy.window, settings->context);
    plan->positions = endless ? RAD_MAX_POSITIONS : settings->context;
    if (settings->n_threads == 0)
        settings->n_threads = rad_processor_count();
    if (settings->n_sessions == 0)
        settings->n_sessions = 1;
    if (model->hparams.bidirectional)
        return adapt_to_whole_texts(plan, error);
    if (settings->cache_positions > 0 && settings->cache_positions < settings->context)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "cache_positions is %u, less than one session's context of %u: raise it, "
                        "or lower the option context",
                        settings->cache_positions, settings->context);
    uint64_t most = (uint64_t)settings->context * settings->n_sessions;
    if (settings->batch > most)
        settings->batch = (uint32_t)most;
    if (settings->batch < settings->n_sessions)
        settings->batch = settings->n_sessions;
    return RADLLM_OK;
}

rad_cache_format rad_cache_format_of(const rad_model *model, const rad_engine_settings *settings)
{
    rad_cache_type by_model = rad_model_is_f32(model) ? RAD_CACHE_F32 : RAD_CACHE_F16;
    return (rad_cache_format){
        settings->cache_keys >= 0 ? (rad_cache_type)settings->cache_keys : by_model,
        settings->cache_values >= 0 ? (rad_cache_type)settings->cache_values : by_model};
}

/* A model's weights, and the adapters that it was loaded with. */
uint64_t rad_weights_and_adapters(const rad_model *model)
{
    uint64_t bytes = rad_model_weight_bytes(model);
    for (uint32_t i = 0; i < model->adapters.n; i++)
        bytes += rad_adapter_bytes(model->adapters.uses[i].adapter); /* both are in memory */
    return bytes;
}

/* Positions that a sequence holds at most of `positions`. */
static uint32_t cached_positions(const rad_engine_plan *plan, uint32_t positions)
{
    return plan->policy.kind == RAD_ATTENTION_RECOMPUTE ? plan->policy.window : positions;
}

void rad_engine_limit_cache(const rad_engine_plan *plan, rad_cache_plan *cache)
{
    if (plan->settings.cache_positions > 0)
        rad_cache_plan_limit(cache, plan->settings.cache_positions, plan->settings.n_sessions);
}

/* How many positions there is room for, and what finding common beginnings takes. */
static bool finish_cache(rad_engine_plan *plan)
{
    rad_engine_limit_cache(plan, &plan->cache);
    return plan->settings.no_prefixes ||
           rad_cache_plan_prefixes(&plan->cache, plan->settings.prefix_memory);
}

radllm_status rad_engine_plan_make(const rad_model *model, const rad_engine_settings *settings,
                                   rad_engine_plan *plan, radllm_error *error)
{
    memset(plan, 0, sizeof *plan);
    plan->settings = *settings;
    rad_engine_settings *s = &plan->settings;
    radllm_status status = fill_defaults(model, plan, error);
    if (status != RADLLM_OK)
        return status;
    rad_program program;
    status = rad_program_build(model, &plan->policy, rad_policy_length(&plan->policy, s->context),
                               &program, error);
    if (status != RADLLM_OK)
        return status;
    plan->backend = (rad_backend_settings){.n_threads = s->n_threads,
                                           .max_tokens = s->batch,
                                           .max_outputs = default_outputs(model, s),
                                           .max_spans = s->n_sessions,
                                           .adapters = &model->adapters,
                                           .blas = s->blas,
                                           .apart = s->device.apart,
                                           .observer = s->observer};
    plan->activation_bytes = rad_cpu_backend_bytes(&program, &plan->backend);
    if (plan->activation_bytes != 0 &&
        !rad_add_u64(plan->activation_bytes, rad_program_bytes(&program), &plan->activation_bytes))
        plan->activation_bytes = 0;
    rad_program_free(&program);
    plan->session_bytes = (rad_session_capacity(plan) * sizeof(int32_t) +
                           (uint64_t)model->hparams.n_vocab * sizeof(float)) *
                          s->n_sessions;
    plan->n_samplers = s->n_threads < s->n_sessions ? s->n_threads : s->n_sessions;
    if (plan->n_samplers > RAD_MAX_SAMPLERS)
        plan->n_samplers = RAD_MAX_SAMPLERS;
    if (model->hparams.bidirectional)
        plan->n_samplers = 1;
    plan->session_bytes += (uint64_t)plan->n_samplers * rad_sampler_bytes(model->hparams.n_vocab);
    if (model->hparams.bidirectional)
        plan->session_bytes = 0;
    if (plan->activation_bytes == 0 ||
        !rad_cache_plan_make(&model->hparams, &plan->policy, rad_cache_format_of(model, s),
                             cached_positions(plan, plan->positions), s->batch, s->n_sessions,
                             &plan->cache) ||
        !finish_cache(plan))
        return rad_fail(error, RADLLM_E_LIMIT,
                        "context, sessions and batch together exceed what can be addressed; lower "
                        "one of them");
    plan->cache_bytes = plan->cache.bytes;
    plan->weight_bytes = rad_weights_and_adapters(model);
    return s->draft != NULL ? rad_draft_plan(plan, error) : RADLLM_OK;
}

bool rad_engine_plan_total(const rad_engine_plan *plan, uint64_t *total)
{
    *total = plan->weight_bytes;
    return rad_add_u64(*total, plan->cache_bytes, total) &&
           rad_add_u64(*total, plan->activation_bytes, total) &&
           rad_add_u64(*total, plan->session_bytes, total);
}

/* Divides a plan that is tried; false: the device has no room. */
static bool divide(const rad_divider *divider, rad_engine_plan *plan)
{
    if (divider->device == NULL)
        return true;
    rad_host quiet = *divider->host;
    quiet.log = NULL;
    if (rad_device_divide(divider, plan, NULL) != RADLLM_OK)
        return plan->settings.device.choice == RAD_DEVICE_AUTO;
    return plan->settings.draft == NULL ||
           rad_draft_plan_device(&quiet, divider->cuda, plan, NULL) == RADLLM_OK;
}

static bool fits(const rad_model *model, const rad_engine_settings *settings, uint32_t context,
                 uint64_t budget, const rad_divider *divider)
{
    rad_engine_settings tried = *settings;
    tried.context = context;
    rad_engine_plan plan;
    uint64_t total;
    return rad_engine_plan_make(model, &tried, &plan, NULL) == RADLLM_OK &&
           divide(divider, &plan) && rad_engine_plan_total(&plan, &total) &&
           (budget == 0 || total <= budget);
}

uint32_t rad_engine_largest_context(const rad_model *model, const rad_engine_settings *settings,
                                    uint64_t budget, const rad_divider *divider)
{
    uint32_t low = 0, high = model->hparams.context_length;
    if (settings->context > high)
        high = budget != 0 ? RAD_MAX_CONTEXT : settings->context;
    while (low < high) { /* the greatest that fits is in low..high */
        uint32_t middle = high - (high - low) / 2;
        if (fits(model, settings, middle, budget, divider))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
