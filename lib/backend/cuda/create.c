/* The backend's memory, on devices and of the host: taken, filled, wiped and given back. */
#include "backend/cuda/cuda.h"

#include <string.h>

/* ---- freeing --------------------------------------------------------------------------------- */

/* Pinned memory, wiped. */
static void free_pinned(rad_cuda_device *device, void *memory, uint64_t bytes)
{
    if (memory == NULL)
        return;
    rad_wipe(memory, bytes);
    (void)device->host_free(device, memory);
}

static void free_part(rad_cuda_backend *b)
{
    rad_cuda_device *device = b->device;
    rad_cuda_forget_replays(b);
    rad_cuda_free_adapters(b);
    if (b->memory != NULL) { /* what is freed can be read by who takes it next */
        (void)device->fill(device, RAD_CUDA_COMPUTE, b->memory, 0, b->layout.total);
        (void)device->free(device, b->memory);
    }
    if (b->weight_memory != NULL)
        (void)device->free(device, b->weight_memory);
    device->event_free(device, b->reached);
    device->event_free(device, b->arrived);
    free_pinned(device, b->passed, b->passed_bytes);
}

/* That of the host belongs to the last device, behind whose work all of a step's is done. */
static void free_device_memory(rad_cuda_chain *c)
{
    rad_cuda_device *last = c->cuda->gpus[c->n - 1].device;
    rad_cuda_lock(c->cuda);
    for (uint32_t k = 0; c->parts != NULL && k < c->n; k++)
        free_part(&c->parts[k]);
    free_pinned(last, c->staging, c->staging_bytes);
    free_pinned(last, c->results, c->results_bytes);
    free_pinned(last, c->choices, c->settings.max_outputs * sizeof *c->choices);
    free_pinned(last, c->candidates, c->settings.max_outputs * sizeof *c->candidates);
    free_pinned(last, c->drawn, c->settings.max_outputs * sizeof *c->drawn);
    free_pinned(last, c->crossing, c->crossing_bytes);
    rad_cuda_unlock(c->cuda);
}

static size_t adapted_bytes(const rad_backend_settings *settings)
{
    return (size_t)2 * settings->max_spans * sizeof(rad_cuda_adapted);
}

void rad_cuda_free_backend(rad_backend *backend)
{
    rad_cuda_chain *c = (rad_cuda_chain *)backend;
    rad_allocator allocator = c->cuda->host.allocator;
    for (uint32_t v = 0; v < c->program->n_values; v++)
        c->library->cpu_lend(c->cpu, (uint8_t)v, NULL);
    if (c->cuda->process == rad_process_id())
        free_device_memory(c);
    for (uint32_t k = 0; c->parts != NULL && k < c->n; k++) {
        rad_cuda_backend *b = &c->parts[k];
        rad_free(&allocator, b->on_device, c->program->n_ops * sizeof *b->on_device);
        rad_free(&allocator, b->weights, b->model->n_weights * sizeof *b->weights);
        rad_free(&allocator, b->adapted[0], adapted_bytes(&c->settings));
    }
    rad_free(&allocator, c->parts, c->n * sizeof *c->parts);
    rad_free(&allocator, c->on_device, c->program->n_ops * sizeof *c->on_device);
    rad_free(&allocator, c, sizeof *c);
}

/* ---- one device ------------------------------------------------------------------------------ */

/* Slopes of ALiBi by layer; the numbers of slots. */
static radllm_status fill_tables(rad_cuda_backend *b, radllm_error *error)
{
    const rad_hparams *h = &b->model->hparams;
    uint64_t n_slopes = h->max_alibi_bias > 0.0f ? (uint64_t)h->n_layers * h->max_heads : 0;
    uint64_t n_slots = (uint64_t)b->settings.max_tokens * h->router.n_used;
    n_slots = n_slots > h->max_heads ? n_slots : h->max_heads; /* heads are slots as well */
    uint64_t bytes = 4 * (n_slopes + n_slots);
    const rad_allocator *allocator = &b->cuda->host.allocator;
    void *memory = rad_alloc_zero(allocator, (size_t)bytes);
    float *slopes = memory;
    uint32_t *slots = (uint32_t *)memory + n_slopes;
    if (memory == NULL)
        return rad_fail_memory(error, (size_t)bytes);
    for (uint32_t l = 0; n_slopes > 0 && l < h->n_layers; l++) {
        for (uint32_t i = 0; i < h->layers[l].n_heads; i++)
            slopes[(size_t)l * h->max_heads + i] =
                b->library->alibi_slope(h->max_alibi_bias, h->layers[l].n_heads, i);
    }
    for (uint32_t i = 0; i < n_slots; i++)
        slots[i] = i;
    radllm_status status = b->device->upload(
        b->device, RAD_CUDA_COMPUTE, rad_cuda_at(b, b->layout.slopes), slopes, 4 * n_slopes);
    if (status == RADLLM_OK)
        status = b->device->upload(b->device, RAD_CUDA_COMPUTE,
                                   rad_cuda_at(b, b->layout.slot_itself), slots, 4 * n_slots);
    if (status == RADLLM_OK) /* the copies may read it until then */
        status = b->device->synchronize(b->device, RAD_CUDA_COMPUTE);
    rad_free(allocator, memory, (size_t)bytes);
    return status == RADLLM_OK ? status : rad_cuda_failed(b->device, status, error);
}

static radllm_status take_part(rad_cuda_chain *c, rad_cuda_backend *b)
{
    rad_cuda_device *device = b->device;
    uint32_t k = (uint32_t)(b - c->parts);
    void *memory = NULL, *passed = NULL;
    radllm_status status = device->alloc(device, b->layout.total, &memory);
    b->memory = memory;
    if (k > 0)
        b->passed_bytes = rad_cuda_passed_bytes(c->cuda, c->program, &c->settings, k, b->needed);
    if (status == RADLLM_OK)
        status = device->host_alloc(device, b->passed_bytes, &passed);
    b->passed = passed;
    if (status == RADLLM_OK && k + 1 < c->n)
        status = device->event_new(device, &b->reached);
    return status == RADLLM_OK && c->crossing != NULL ? device->event_new(device, &b->arrived)
                                                      : status;
}

static radllm_status fill_part(rad_cuda_chain *c, rad_cuda_backend *b, const radllm_cancel *cancel,
                               radllm_error *error)
{
    rad_cuda_device *device = b->device;
    radllm_status status = take_part(c, b);
    if (status != RADLLM_OK)
        return rad_cuda_failed(device, status, error);
    uint64_t before = 0;
    for (const rad_cuda_backend *other = c->parts; other < b; other++)
        before += c->placement.gpus[other - c->parts].bytes.weights;
    status = rad_cuda_upload(b, before, c->placement.bytes.weights, cancel, error);
    if (status != RADLLM_OK)
        return status;
    /* What nobody computed is never told, but may be read. */
    status = device->fill(device, RAD_CUDA_COMPUTE, b->memory, 0, b->layout.total);
    if (status != RADLLM_OK)
        return rad_cuda_failed(device, status, error);
    status = fill_tables(b, error);
    const rad_cuda_share *share = &c->placement.gpus[b - c->parts];
    b->adapter_limit =
        share->limit - share->bytes.total +
        rad_cuda_adapter_bytes(&c->program->model->hparams, &c->settings); /* planned */
    return status == RADLLM_OK && c->settings.adapters != NULL
               ? rad_cuda_reserve_adapters(b, c->settings.adapters, error)
               : status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Pinned memory in which the CPU's values of a set stand from now on. */
static void lend(rad_cuda_chain *c, uint32_t set, float *memory)
{
    for (uint32_t v = 0; v < c->program->n_values && memory != NULL; v++) {
        if ((set >> v & 1) == 0)
            continue;
        c->library->cpu_lend(c->cpu, (uint8_t)v, memory);
        memory += rad_cuda_value_bytes(c->program, &c->settings, v) / sizeof(float);
    }
}

static uint32_t results_of(const rad_cuda_chain *c)
{
    uint32_t set = 0;
    for (uint32_t v = 0; v < c->program->n_values; v++)
        set |= (uint32_t)rad_cuda_is_result(c->program, c->on_device, v) << v;
    return set;
}

/* For what a step is told, what the host reads of it, and what experts in main memory read and
 * give, so that copies of it need no waiting. */
static radllm_status take_pinned(rad_cuda_chain *c, radllm_error *error)
{
    rad_cuda_backend *last = &c->parts[c->n - 1];
    rad_cuda_device *device = last->device;
    uint32_t crossing_set = rad_cuda_crossing(c->program, c->on_device);
    void *staging = NULL, *results = NULL, *choices = NULL, *crossing = NULL;
    void *candidates = NULL, *drawn = NULL;
    c->staging_bytes = rad_cuda_staging_bytes(&c->parts[0].layout);
    c->results_bytes = rad_cuda_results_bytes(c->program, &c->settings, c->on_device);
    c->crossing_bytes = rad_cuda_set_bytes(c->program, &c->settings, crossing_set);
    radllm_status status = device->host_alloc(device, c->staging_bytes, &staging);
    c->staging = staging;
    for (uint32_t k = 0; k < c->n; k++)
        c->parts[k].staging = staging;
    if (status == RADLLM_OK)
        status = device->host_alloc(device, c->results_bytes, &results);
    c->results = results;
    lend(c, results_of(c), c->results);
    if (status == RADLLM_OK)
        status = device->host_alloc(
            device, rad_cuda_choices_bytes(c->program, &c->settings, c->on_device), &choices);
    c->choices = last->choices = choices;
    if (status == RADLLM_OK)
        status = device->host_alloc(
            device, rad_cuda_candidates_bytes(c->program, &c->settings, c->on_device), &candidates);
    c->candidates = last->candidates = candidates;
    if (status == RADLLM_OK)
        status = device->host_alloc(
            device, rad_cuda_drawn_bytes(c->program, &c->settings, c->on_device), &drawn);
    c->drawn = last->drawn = drawn;
    if (status == RADLLM_OK)
        status = device->host_alloc(device, c->crossing_bytes, &crossing);
    c->crossing = crossing;
    lend(c, crossing_set, c->crossing);
    return status == RADLLM_OK ? status : rad_cuda_failed(device, status, error);
}

/* Which operations are whose, and where everything will be. */
static radllm_status lay_out(rad_cuda_chain *c, const rad_cache *cache, radllm_error *error)
{
    const rad_allocator *allocator = &c->cuda->host.allocator;
    const rad_program *program = c->program;
    size_t flags = program->n_ops * sizeof *c->on_device;
    size_t weights = program->model->n_weights * sizeof(rad_cuda_weight);
    c->on_device = rad_alloc_zero(allocator, flags);
    c->parts = rad_alloc_zero(allocator, c->n * sizeof *c->parts);
    if (c->on_device == NULL || c->parts == NULL)
        return rad_fail_memory(error, flags + c->n * sizeof *c->parts);
    for (uint32_t k = 0; k < c->n; k++) /* all of them can be freed from here on */
        c->parts[k] = (rad_cuda_backend){.cuda = c->cuda,
                                         .gpu = &c->cuda->gpus[k],
                                         .device = c->cuda->gpus[k].device,
                                         .library = c->library,
                                         .program = program,
                                         .model = program->model,
                                         .cache = cache,
                                         .cpu = c->cpu,
                                         .settings = c->settings};
    for (uint32_t k = 0; k < c->n; k++) {
        rad_cuda_backend *b = &c->parts[k];
        rad_cuda_means means = {b->model, &cache->plan, &b->device->properties, c->library};
        b->on_device = rad_alloc(allocator, flags);
        b->weights = rad_alloc_zero(allocator, weights);
        b->adapted[0] = rad_alloc_zero(allocator, adapted_bytes(&c->settings));
        if (b->on_device == NULL || b->weights == NULL || b->adapted[0] == NULL ||
            !rad_cuda_lay_out(&means, program, &c->settings, &b->layout))
            return rad_fail_memory(error, flags + weights);
        b->adapted[1] = b->adapted[0] + c->settings.max_spans;
        rad_cuda_divide(&means, program, &c->placement.gpus[k], c->placement.experts_here,
                        b->on_device);
        for (uint32_t i = 0; i < program->n_ops; i++)
            c->on_device[i] = c->on_device[i] || b->on_device[i];
        b->first = rad_cuda_first_of(program, b->on_device);
        b->needed = rad_cuda_needed(&means, program, b->on_device);
    }
    return RADLLM_OK;
}

static radllm_status fill_chain(rad_cuda_chain *c, const rad_cache *cache,
                                const radllm_cancel *cancel, radllm_error *error)
{
    radllm_status status = lay_out(c, cache, error);
    if (status != RADLLM_OK)
        return status;
    rad_cuda_lock(c->cuda);
    status = take_pinned(c, error);
    for (uint32_t k = 0; k < c->n && status == RADLLM_OK; k++)
        status = fill_part(c, &c->parts[k], cancel, error);
    rad_cuda_unlock(c->cuda);
    return status;
}

radllm_status rad_cuda_create_backend(rad_cuda *cuda, const rad_cuda_placement *placement,
                                      const rad_program *program, const rad_cache *cache,
                                      const rad_backend_settings *settings, rad_backend *cpu,
                                      const radllm_cancel *cancel, rad_backend **out,
                                      radllm_error *error)
{
    rad_cuda_chain *c = rad_alloc_zero(&cuda->host.allocator, sizeof *c);
    if (c == NULL)
        return rad_fail_memory(error, sizeof *c);
    c->base.table = &rad_cuda_backend_table;
    c->cuda = cuda;
    c->library = cuda->library;
    c->program = program;
    c->cpu = cpu;
    c->settings = *settings;
    c->placement = *placement;
    c->n = cuda->n_gpus;
    c->inputs = rad_cuda_inputs(program);
    radllm_status status = fill_chain(c, cache, cancel, error);
    if (status != RADLLM_OK) {
        rad_cuda_free_backend(&c->base);
        return status;
    }
    *out = &c->base;
    return RADLLM_OK;
}
