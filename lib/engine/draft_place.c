/* Where the draft model is computed: on a GPU that has room left for all of it, else by the CPU. */
#include <inttypes.h>

#include "backend/cuda/cuda_open.h"
#include "engine/draft.h"

/* Opens and places it on GPU k of the model's; false where it has not room for all, and why. */
static bool try_gpu(const rad_host *host, const rad_program *program, rad_engine_plan *plan,
                    uint32_t k, rad_draft_device *d, radllm_error *why)
{
    const rad_cuda_share *share = &plan->placement.gpus[k];
    const rad_cuda_placement *p = &d->placement;
    rad_cuda_choice choice = {.n = 1, .numbers = {(uint8_t)share->number}};
    if (share->limit <= share->bytes.total) {
        rad_fail(why, RADLLM_E_BUDGET, "the model takes all");
        return false;
    }
    /* The driver's context is there already, and counts in both. */
    rad_cuda_request request = {
        .program = program,
        .cache = &plan->draft_cache,
        .settings = &plan->draft_backend,
        .limits = {share->limit - share->bytes.total + share->bytes.context},
        .n_layers = -1,
        .split = {-1}};
    if (d->cuda->open(host, &rad_cuda_own_library, &choice, &d->device, why) != RADLLM_OK)
        return false;
    if (d->cuda->place(d->device, &request, &d->placement, why) == RADLLM_OK) {
        if (p->n_layers == program->model->hparams.n_layers && p->output && !p->experts_here)
            return true;
        rad_fail(why, RADLLM_E_BUDGET, "%s", p->reason);
    }
    d->cuda->close(d->device);
    d->device = NULL;
    return false;
}

/* What it takes on GPU k of the model's, and no more of main memory. */
static void count(rad_engine_plan *plan, uint32_t k, const rad_cuda_placement *p)
{
    uint64_t bytes = p->bytes.total - p->bytes.context, before = plan->draft_cache.bytes;
    rad_cuda_bytes *sums[] = {&plan->placement.gpus[k].bytes, &plan->placement.bytes};
    for (size_t i = 0; i < 2; i++) {
        sums[i]->draft += bytes;
        sums[i]->total += bytes;
    }
    rad_cache_plan_divide(&plan->draft_cache, &plan->settings.draft->hparams, p->n_layers);
    plan->cache_bytes -= before - plan->draft_cache.bytes;
    plan->activation_bytes += p->pinned;
    plan->draft_bytes += p->pinned - (before - plan->draft_cache.bytes);
}

void rad_draft_place(const rad_host *host, const rad_program *program, const rad_cuda_table *cuda,
                     rad_engine_plan *plan, rad_draft_device *out)
{
    radllm_error why = {.status = RADLLM_OK};
    *out = (rad_draft_device){.cuda = cuda};
    for (uint32_t k = plan->placement.n_gpus; k-- > 0;) {
        if (!try_gpu(host, program, plan, k, out, &why))
            continue;
        const rad_cuda_bytes *b = &out->placement.bytes;
        count(plan, k, &out->placement);
        rad_log_line(host, RADLLM_LOG_INFO,
                     "draft model: on GPU %u: weights %" PRIu64 ", cache %" PRIu64
                     ", activations %" PRIu64 " bytes",
                     plan->placement.gpus[k].number, b->weights, b->cache, b->activations);
        return;
    }
    if (plan->placement.n_gpus > 0)
        rad_log_line(host, RADLLM_LOG_WARNING,
                     "draft model: the CPU computes it, and will hardly be faster than the model: "
                     "no GPU has room for all of it: %s",
                     why.message);
}

radllm_status rad_draft_plan_device(const rad_host *host, const rad_cuda_table *cuda,
                                    rad_engine_plan *plan, radllm_error *error)
{
    rad_program program;
    rad_draft_device place;
    radllm_status status = rad_draft_program(plan, &program, error);
    if (status != RADLLM_OK)
        return status;
    rad_draft_place(host, &program, cuda, plan, &place);
    rad_draft_close_device(&place);
    rad_program_free(&program);
    return RADLLM_OK;
}

void rad_draft_close_device(rad_draft_device *d)
{
    if (d->device == NULL)
        return;
    d->cuda->free_pages(d->device);
    d->cuda->close(d->device);
    d->device = NULL;
}
