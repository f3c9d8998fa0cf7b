#include "engine/engine.h"

#include <string.h>

#include "base/numeric.h"
#include "engine/device.h"
#include "engine/device_check.h"
#include "engine/draft.h"
#include "engine/schedule.h"
#include "engine/speculate.h"

static size_t work_bytes(const rad_engine *engine)
{
    return engine->plan.backend.max_spans * sizeof *engine->work;
}

static radllm_status check_budget(const rad_engine *engine, radllm_error *error)
{
    const rad_engine_plan *plan = &engine->plan;
    const rad_divider divider = {&engine->host, engine->cuda, engine->device, &engine->program};
    uint64_t budget = plan->settings.budget;
    uint64_t total;
    if (budget == 0 || (rad_engine_plan_total(plan, &total) && total <= budget))
        return RADLLM_OK;
    uint32_t largest = rad_engine_largest_context(engine->model, &plan->settings, budget, &divider);
    if (largest == 0)
        return rad_fail(error, RADLLM_E_BUDGET,
                        "weights (%llu bytes) and engine exceed the memory budget of %llu bytes "
                        "even with a context of 1; raise memory_budget or use a smaller model",
                        (unsigned long long)plan->weight_bytes, (unsigned long long)budget);
    return rad_fail(error, RADLLM_E_BUDGET,
                    "a context of %u needs %llu bytes, more than the memory budget of %llu; the "
                    "largest context that fits is %u",
                    plan->settings.context, (unsigned long long)total, (unsigned long long)budget,
                    largest);
}

static radllm_status create_parts(rad_engine *engine, radllm_error *error)
{
    const rad_allocator *allocator = &engine->host.allocator;
    const rad_engine_plan *plan = &engine->plan;
    radllm_status status = rad_program_build(
        engine->model, &plan->policy, rad_policy_length(&plan->policy, plan->settings.context),
        &engine->program, error);
    rad_far_memory far;
    if (status == RADLLM_OK)
        status = rad_device_open(&engine->host, &engine->program, &engine->plan, &engine->cuda,
                                 &engine->device, error);
    if (status == RADLLM_OK && plan->settings.draft != NULL)
        status = rad_draft_open(engine, error);
    bool on_device = plan->placement.n_layers > 0;
    if (status == RADLLM_OK)
        status = check_budget(engine, error);
    if (status == RADLLM_OK && on_device)
        status = engine->cuda->create_pages(engine->device, &plan->placement,
                                            &engine->model->hparams, &plan->cache, &far, error);
    if (status == RADLLM_OK)
        status = rad_cache_create(allocator, &engine->model->hparams, &plan->cache,
                                  on_device ? &far : NULL, &engine->cache, error);
    if (status == RADLLM_OK)
        status = rad_cpu_backend_create(&engine->host, &engine->program, engine->cache,
                                        &plan->backend, &engine->cpu, error);
    engine->backend = engine->cpu;
    if (status == RADLLM_OK && on_device)
        status = rad_device_create_backend(engine, error);
    for (uint32_t i = 0; i < plan->n_samplers && status == RADLLM_OK; i++)
        status = rad_sampler_create(allocator, engine->model->hparams.n_vocab, &engine->samplers[i],
                                    error);
    if (status != RADLLM_OK)
        return status;
    engine->spans = rad_alloc(allocator, plan->backend.max_spans * sizeof *engine->spans);
    engine->tokens = rad_alloc(allocator, plan->backend.max_tokens * sizeof *engine->tokens);
    engine->outputs = rad_alloc(allocator, plan->backend.max_outputs * sizeof *engine->outputs);
    engine->draws = rad_alloc(allocator, plan->backend.max_outputs * sizeof *engine->draws);
    engine->work = rad_alloc(allocator, work_bytes(engine));
    engine->drafting = rad_alloc(allocator, plan->backend.max_spans * sizeof *engine->drafting);
    engine->starting = rad_alloc(allocator, plan->backend.max_spans * sizeof *engine->starting);
    if (engine->spans == NULL || engine->tokens == NULL || engine->outputs == NULL ||
        engine->draws == NULL || engine->work == NULL || engine->drafting == NULL ||
        engine->starting == NULL)
        return rad_fail_memory(error, plan->backend.max_tokens * sizeof *engine->tokens);
    rad_speculation_start(engine);
    return plan->settings.draft != NULL ? rad_draft_create(engine, error) : RADLLM_OK;
}

static radllm_status create(const rad_host *host, const rad_model *model,
                            const rad_engine_settings *settings, rad_engine **out,
                            radllm_error *error)
{
    rad_engine_plan plan;
    radllm_status status = rad_engine_plan_make(model, settings, &plan, error);
    if (status != RADLLM_OK)
        return status;
    rad_engine *engine = rad_alloc_zero(&host->allocator, sizeof *engine);
    if (engine == NULL)
        return rad_fail_memory(error, sizeof *engine);
    engine->host = *host;
    engine->model = model;
    engine->plan = plan;
    engine->process = rad_process_id();
    /* With default attributes these never fail on the systems that the library runs on. */
    if (pthread_mutex_init(&engine->mutex, NULL) != 0 ||
        pthread_cond_init(&engine->changed, NULL) != 0) {
        rad_free(&host->allocator, engine, sizeof *engine);
        return rad_fail_memory(error, sizeof(pthread_mutex_t));
    }
    status = create_parts(engine, error);
    if (status == RADLLM_OK && !settings->device.unchecked)
        status = rad_device_check(engine, error);
    /* Another program can have taken what was free when layers were placed. */
    if (status == RADLLM_E_MEMORY && engine->device != NULL &&
        settings->device.choice == RAD_DEVICE_AUTO)
        status = RADLLM_E_DEVICE;
    if (status == RADLLM_OK)
        *out = engine;
    else
        rad_engine_free(engine);
    return status;
}

radllm_status rad_engine_create(const rad_host *host, const rad_model *model,
                                const rad_engine_settings *settings, rad_engine **out,
                                radllm_error *error)
{
    rad_engine_settings own = *settings;
    radllm_error why = {.status = RADLLM_OK};
    if (own.n_threads == 0 && host->executor != NULL)
        own.n_threads = host->executor_workers;
    radllm_status status = own.draft != NULL ? rad_draft_check(model, own.draft, error) : RADLLM_OK;
    if (status != RADLLM_OK)
        return status;
    if (error == NULL)
        error = &why;
    status = create(host, model, &own, out, error);
    if (status == RADLLM_E_DEVICE && own.device.choice == RAD_DEVICE_AUTO) {
        rad_log_line(host, RADLLM_LOG_WARNING, "device=auto: the CPU computes: %s", error->message);
        rad_error_clear(error);
        own.device.choice = RAD_DEVICE_CPU;
        status = create(host, model, &own, out, error);
    }
    return status;
}

void rad_engine_free(rad_engine *engine)
{
    if (engine == NULL)
        return;
    rad_allocator allocator = engine->host.allocator;
    const rad_backend_settings *settings = &engine->plan.backend;
    /* In a forked child the worker does not exist and the locks may be held by nobody. */
    if (engine->process == rad_process_id()) {
        (void)rad_engine_stop_worker(engine, NULL);
        pthread_cond_destroy(&engine->changed);
        pthread_mutex_destroy(&engine->mutex);
    }
    rad_draft_free(engine); /* it uses the backend's threads */
    if (engine->backend != NULL && engine->backend != engine->cpu)
        engine->backend->table->free(engine->backend);
    if (engine->cpu != NULL)
        engine->cpu->table->free(engine->cpu);
    for (uint32_t i = 0; i < RAD_MAX_SAMPLERS; i++)
        rad_sampler_free(engine->samplers[i]);
    rad_cache_free(engine->cache);
    rad_device_close(engine);
    rad_program_free(&engine->program);
    rad_free(&allocator, engine->spans, settings->max_spans * sizeof *engine->spans);
    rad_wipe(engine->tokens,
             engine->tokens != NULL ? settings->max_tokens * sizeof *engine->tokens : 0);
    rad_free(&allocator, engine->tokens, settings->max_tokens * sizeof *engine->tokens);
    rad_free(&allocator, engine->outputs, settings->max_outputs * sizeof *engine->outputs);
    rad_free(&allocator, engine->draws, settings->max_outputs * sizeof *engine->draws);
    rad_free(&allocator, engine->work, work_bytes(engine));
    rad_free(&allocator, engine->drafting, settings->max_spans * sizeof *engine->drafting);
    rad_free(&allocator, engine->starting, settings->max_spans * sizeof *engine->starting);
    rad_free(&allocator, engine, sizeof *engine);
}

/* ---- the step -------------------------------------------------------------------------------- */

radllm_status rad_engine_take_step(rad_engine *engine, radllm_error *error)
{
    pthread_mutex_lock(&engine->mutex);
    if (engine->stepping && pthread_equal(engine->stepper, pthread_self())) {
        pthread_mutex_unlock(&engine->mutex);
        return rad_fail(error, RADLLM_E_STATE,
                        "this call computes and cannot be made from a callback of the same engine");
    }
    while (engine->stepping)
        pthread_cond_wait(&engine->changed, &engine->mutex);
    engine->stepping = true;
    engine->stepper = pthread_self();
    pthread_mutex_unlock(&engine->mutex);
    return RADLLM_OK;
}

void rad_engine_give_step(rad_engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->stepping = false;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

radllm_status rad_engine_read_logits(rad_engine *engine, radllm_error *error)
{
    rad_session *session = engine->unread;
    if (session == NULL)
        return RADLLM_OK;
    const rad_backend_table *table = engine->backend->table;
    radllm_status status = table->fetch(engine->backend, engine->unread_output, 1, error);
    if (status != RADLLM_OK)
        return status;
    memcpy(session->logits, table->logits(engine->backend, engine->unread_output),
           engine->model->hparams.n_vocab * sizeof(float));
    engine->unread = NULL;
    atomic_store(&session->is_unread, false);
    return RADLLM_OK;
}

radllm_status rad_engine_run(rad_engine *engine, const rad_batch *batch,
                             const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = rad_engine_read_logits(engine, error);
    return status == RADLLM_OK ? engine->backend->table->run(engine->backend, batch, cancel, error)
                               : status;
}

radllm_status rad_engine_step(rad_engine *engine, const radllm_cancel *cancel, uint32_t *pending,
                              radllm_error *error)
{
    radllm_status status = rad_engine_take_step(engine, error);
    if (status != RADLLM_OK)
        return status;
    uint32_t left = rad_schedule_step(engine, cancel);
    rad_engine_give_step(engine);
    if (pending != NULL)
        *pending = left;
    return RADLLM_OK;
}

/* ---- the worker ------------------------------------------------------------------------------ */

static void *worker_main(void *data)
{
    rad_engine *engine = data;
    rad_fpenv saved = rad_fpenv_enter();
    pthread_mutex_lock(&engine->mutex);
    while (!engine->worker_stops) {
        if (engine->queue == NULL) {
            pthread_cond_wait(&engine->changed, &engine->mutex);
            continue;
        }
        pthread_mutex_unlock(&engine->mutex);
        (void)rad_engine_step(engine, NULL, NULL, NULL);
        pthread_mutex_lock(&engine->mutex);
    }
    pthread_mutex_unlock(&engine->mutex);
    rad_fpenv_leave(saved);
    return NULL;
}

radllm_status rad_engine_start_worker(rad_engine *engine, radllm_error *error)
{
    pthread_mutex_lock(&engine->mutex);
    bool runs = engine->worker_runs;
    int failure = 0;
    if (!runs) {
        engine->worker_stops = false;
        failure = rad_thread_start(&engine->worker, 0, worker_main, engine);
        engine->worker_runs = failure == 0;
    }
    pthread_mutex_unlock(&engine->mutex);
    if (runs)
        return rad_fail(error, RADLLM_E_STATE, "the engine has a worker already");
    if (failure != 0)
        return rad_fail(error, RADLLM_E_MEMORY, "cannot start a thread: error %d", failure);
    return RADLLM_OK;
}

radllm_status rad_engine_stop_worker(rad_engine *engine, radllm_error *error)
{
    pthread_mutex_lock(&engine->mutex);
    if (!engine->worker_runs) {
        pthread_mutex_unlock(&engine->mutex);
        return rad_fail(error, RADLLM_E_STATE, "the engine has no worker");
    }
    if (pthread_equal(engine->worker, pthread_self())) {
        pthread_mutex_unlock(&engine->mutex);
        return rad_fail(error, RADLLM_E_STATE, "a callback cannot stop the worker it runs on");
    }
    engine->worker_runs = false;
    engine->worker_stops = true;
    pthread_t worker = engine->worker;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
    pthread_join(worker, NULL);
    return RADLLM_OK;
}
