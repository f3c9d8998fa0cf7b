/* The draft model of an engine: a smaller model with the same vocabulary that proposes tokens. It
 * has key/value memory and a backend of its own, and the engine's threads, or the engine's GPU.
 * What it computes decides how fast an answer comes, never which. */
#ifndef RAD_DRAFT_H
#define RAD_DRAFT_H

#include "engine/engine.h"

/* RADLLM_E_ARGUMENT with the first difference when the models' vocabularies differ. They may differ
 * in length when what one of them has more is unused. */
radllm_status rad_draft_check(const rad_model *model, const rad_model *draft, radllm_error *error);

/* Fills the draft's part of a plan whose settings are complete, and adds to its sums. */
radllm_status rad_draft_plan(rad_engine_plan *plan, radllm_error *error);

radllm_status rad_draft_program(const rad_engine_plan *plan, rad_program *program,
                                radllm_error *error);

/* What the draft model has of a GPU. */
typedef struct rad_draft_device {
    const rad_cuda_table *cuda;
    rad_cuda *device; /* NULL: the CPU computes it */
    rad_cuda_placement placement;
} rad_draft_device;

/* Behind rad_device_open() for the model, which left `cuda` (NULL: no device): opens the GPU of the
 * model's, the last one first, that has room left for all of the draft model, and adds to the plan
 * what it takes there. The model's layers stay where they are, so that their bits are those without
 * a draft model. The host's log says where it is, and why not on a GPU. */
void rad_draft_place(const rad_host *host, const rad_program *program, const rad_cuda_table *cuda,
                     rad_engine_plan *plan, rad_draft_device *out);
/* The same for a plan alone. */
radllm_status rad_draft_plan_device(const rad_host *host, const rad_cuda_table *cuda,
                                    rad_engine_plan *plan, radllm_error *error);
/* Behind everything else that used it. */
void rad_draft_close_device(rad_draft_device *device);

/* Behind rad_device_open(): takes nothing yet but a place. settings.draft must outlive it. */
radllm_status rad_draft_open(rad_engine *engine, radllm_error *error);
/* For an engine whose backend is made. */
radllm_status rad_draft_create(rad_engine *engine, radllm_error *error);
void rad_draft_free(rad_engine *engine);
rad_cache *rad_draft_cache_of(rad_draft_model *draft);

/* Makes the drafts of requests that want one: up to `wanted` tokens each, into draft[1] on. The
 * sessions' tokens are followed by the answer's last one. Catches up with the sessions first, with
 * as many tokens as a step computes; a request that needs more gets no draft this time. The caller
 * holds the step. */
void rad_draft_propose(rad_engine *engine, rad_request *const *requests, uint32_t count,
                       const radllm_cancel *cancel);

#endif
