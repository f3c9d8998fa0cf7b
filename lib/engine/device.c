#include "engine/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda_open.h"

bool rad_device_is_wanted(rad_device_choice choice)
{
    return choice == RAD_DEVICE_CUDA || (choice == RAD_DEVICE_AUTO && rad_cuda_is_there());
}

/* Where cuBLAS is not there, all is computed as ever, and the record of the run says so. */
static radllm_status use_fast(const rad_host *host, const rad_cuda_table *cuda, rad_cuda *device,
                              radllm_error *error)
{
    radllm_error why = {.status = RADLLM_OK};
    radllm_status status = cuda->use_fast(device, &why);
    if (status != RADLLM_OK && status != RADLLM_E_UNSUPPORTED)
        return rad_fail(error, status, "%s", why.message);
    if (status != RADLLM_OK)
        rad_log_line(host, RADLLM_LOG_WARNING,
                     "fast=cublas: products stay within the numeric contract: %s", why.message);
    return RADLLM_OK;
}

radllm_status rad_device_divide(const rad_divider *divider, rad_engine_plan *plan,
                                radllm_error *error)
{
    const rad_device_settings *settings = &plan->settings.device;
    rad_cuda_placement placement = {0};
    rad_cuda_request request = {.program = divider->program,
                                .cache = &plan->cache,
                                .settings = &plan->backend,
                                .n_layers = settings->n_layers};
    memcpy(request.limits, settings->limits, sizeof request.limits);
    memcpy(request.split, settings->split, sizeof request.split);
    radllm_status status = divider->cuda->place(divider->device, &request, &placement, error);
    if (status != RADLLM_OK || placement.n_layers == 0)
        return status;
    plan->placement = placement;
    plan->cache_bytes -= plan->cache.bytes;
    rad_cache_plan_divide(&plan->cache, &divider->program->model->hparams, placement.n_layers);
    plan->cache_bytes += plan->cache.bytes;
    plan->activation_bytes += placement.pinned;
    return RADLLM_OK;
}

static radllm_status open_and_place(const rad_host *host, const rad_program *program,
                                    rad_engine_plan *plan, const rad_cuda_table **cuda,
                                    rad_cuda **device, radllm_error *error)
{
    const rad_device_settings *settings = &plan->settings.device;
    radllm_status status = rad_cuda_open(cuda, error);
    if (status == RADLLM_OK)
        status = (*cuda)->open(host, &rad_cuda_own_library, &settings->gpus, device, error);
    if (status != RADLLM_OK)
        return status;
    if (settings->fast)
        status = use_fast(host, *cuda, *device, error);
    if (status == RADLLM_OK)
        status = rad_device_divide(&(rad_divider){host, *cuda, *device, program}, plan, error);
    if (status == RADLLM_OK && plan->placement.n_layers > 0)
        return RADLLM_OK;
    (*cuda)->close(*device);
    *device = NULL;
    return status;
}

/* What the plan needs is said line by line, before anything is taken. */
static void log_placement(const rad_host *host, const rad_engine_plan *plan, uint32_t n_layers)
{
    const rad_cuda_placement *p = &plan->placement;
    char where[RAD_DEVICE_TEXT];
    rad_placement_text(plan, n_layers, where);
    rad_log_line(host, RADLLM_LOG_INFO, "placement: %s", where);
    if (p->reason[0] != '\0' && (p->n_layers < n_layers || !p->output))
        rad_log_line(host, RADLLM_LOG_INFO, "placement: not more on the device: %s", p->reason);
    for (uint32_t k = 0; k < p->n_gpus; k++) {
        const rad_cuda_share *share = &p->gpus[k];
        const rad_cuda_bytes *b = &share->bytes;
        rad_log_line(host, RADLLM_LOG_INFO,
                     "device %s (GPU %u, %u layers): weights %" PRIu64 ", cache %" PRIu64
                     ", activations %" PRIu64 ", driver %" PRIu64 ", libraries %" PRIu64
                     ", together %" PRIu64 " of %" PRIu64 " bytes",
                     share->device, share->number, share->n_layers, b->weights, b->cache,
                     b->activations, b->context, b->libraries, b->total, share->limit);
    }
}

static radllm_status on_cpu(const rad_host *host, const rad_engine_settings *settings)
{
    if (settings->device.fast)
        rad_log_line(host, RADLLM_LOG_INFO,
                     "fast=cublas changes nothing: no layer is computed on a GPU");
    return RADLLM_OK;
}

radllm_status rad_device_open(const rad_host *host, const rad_program *program,
                              rad_engine_plan *plan, const rad_cuda_table **cuda, rad_cuda **device,
                              radllm_error *error)
{
    const rad_engine_settings *settings = &plan->settings;
    rad_device_choice choice = settings->device.choice;
    radllm_error why = {.status = RADLLM_OK};
    *cuda = NULL;
    *device = NULL;
    /* Who watches what products are multiplied with sees the CPU's. */
    if (!rad_device_is_wanted(choice) || settings->observer != NULL)
        return on_cpu(host, settings);
    radllm_status status = open_and_place(host, program, plan, cuda, device, &why);
    if (status != RADLLM_OK && choice != RAD_DEVICE_AUTO)
        return rad_fail(error, status, "%s", why.message);
    if (status != RADLLM_OK)
        rad_log_line(host, RADLLM_LOG_WARNING, "device=auto: the CPU computes: %s", why.message);
    if (*device == NULL)
        return on_cpu(host, settings);
    log_placement(host, plan, program->model->hparams.n_layers);
    return RADLLM_OK;
}

radllm_status rad_device_create_backend(rad_engine *engine, radllm_error *error)
{
    rad_backend *backend = NULL;
    uint64_t begin = rad_clock_ns();
    radllm_status status = engine->cuda->create_backend(
        engine->device, &engine->plan.placement, &engine->program, engine->cache,
        &engine->plan.backend, engine->cpu, NULL, &backend, error);
    if (status != RADLLM_OK)
        return status;
    engine->backend = backend;
    engine->upload_ns = rad_clock_ns() - begin;
    rad_log_line(
        &engine->host, RADLLM_LOG_INFO, "placement: %.1f MiB went up in %.3f s (%.1f GB/s)",
        (double)engine->plan.placement.bytes.weights / 1048576, (double)engine->upload_ns * 1e-9,
        (double)engine->plan.placement.bytes.weights /
            (double)(engine->upload_ns + (engine->upload_ns == 0)));
    return RADLLM_OK;
}

void rad_device_close(rad_engine *engine)
{
    if (engine->device == NULL)
        return;
    engine->cuda->free_pages(engine->device);
    engine->cuda->close(engine->device);
    engine->device = NULL;
}

/* ---- the record of a run --------------------------------------------------------------------- */

void rad_device_text(const rad_engine *engine, char text[RAD_DEVICE_TEXT])
{
    if (engine->device == NULL)
        snprintf(text, RAD_DEVICE_TEXT, "cpu");
    else
        snprintf(text, RAD_DEVICE_TEXT, "cuda: %s", engine->plan.placement.devices);
}

const char *rad_device_fast(const rad_engine *engine)
{
    const char *cpu = rad_cpu_backend_fast(engine->cpu);
    return cpu[0] != '\0' ? cpu : engine->plan.placement.fast;
}

void rad_placement_text(const rad_engine_plan *plan, uint32_t n_layers, char text[RAD_DEVICE_TEXT])
{
    const rad_cuda_placement *p = &plan->placement;
    const char *experts = p->experts_here ? " without experts" : "";
    int n;
    if (p->n_layers == 0)
        n = snprintf(text, RAD_DEVICE_TEXT, "%u layers and output on cpu", n_layers);
    else if (p->n_layers < n_layers)
        n = snprintf(text, RAD_DEVICE_TEXT, "%u layers%s on cuda, %u layers and output on cpu",
                     p->n_layers, experts, n_layers - p->n_layers);
    else
        n = snprintf(text, RAD_DEVICE_TEXT, "%u layers%s%s on cuda%s", n_layers, experts,
                     p->output ? " and output" : "", p->output ? "" : ", output on cpu");
    for (uint32_t k = 0; p->n_gpus > 1 && k < p->n_gpus; k++)
        n += snprintf(text + n, RAD_DEVICE_TEXT - (size_t)n, "%s GPU %u: %u",
                      k == 0 ? "; layers on" : ",", p->gpus[k].number, p->gpus[k].n_layers);
    if (p->fast[0] != '\0')
        snprintf(text + n, RAD_DEVICE_TEXT - (size_t)n, ", unquantized products by %s", p->fast);
}

int64_t rad_device_used(const rad_engine *engine, uint32_t first, uint32_t n)
{
    uint64_t used = 0;
    for (uint32_t k = first; engine->device != NULL && k < first + n; k++)
        used += engine->cuda->memory_used(engine->device, k);
    return (int64_t)used;
}

int64_t rad_device_bandwidth(const rad_engine *engine)
{
    return engine->device != NULL ? (int64_t)engine->cuda->bandwidth(engine->device) : 0;
}

int64_t rad_device_multiply_adds(const rad_engine *engine, bool floats)
{
    return engine->device != NULL ? (int64_t)engine->cuda->multiply_adds(engine->device, floats)
                                  : 0;
}

uint64_t rad_device_expert_tokens(const rad_engine *engine, uint32_t layer, uint32_t expert)
{
    uint64_t count = rad_cpu_backend_expert_tokens(engine->cpu, layer, expert);
    if (engine->device != NULL)
        count += engine->cuda->expert_tokens(engine->backend, layer, expert);
    return count;
}
