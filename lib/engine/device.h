/* The device that an engine computes with besides the CPU: whether there is one, what of the model
 * it takes, and what it is called in the record of a run. */
#ifndef RAD_DEVICE_H
#define RAD_DEVICE_H

#include "engine/engine.h"

/* Whether a device will be tried. */
bool rad_device_is_wanted(rad_device_choice choice);

/* Opens the device that the plan's settings ask for and divides the plan between it and the CPU:
 * placement, cache. With `auto` a device that cannot be used is left alone, and the host's log says
 * why; then, and with the CPU alone, *cuda and *device become NULL. */
radllm_status rad_device_open(const rad_host *host, const rad_program *program,
                              rad_engine_plan *plan, const rad_cuda_table **cuda, rad_cuda **device,
                              radllm_error *error);
/* Divides another plan with the same device, where layers have room there. */
radllm_status rad_device_divide(const rad_divider *divider, rad_engine_plan *plan,
                                radllm_error *error);
radllm_status rad_device_create_backend(rad_engine *engine, radllm_error *error);
/* Behind everything else that used it. */
void rad_device_close(rad_engine *engine);

/* What computes outside the numeric contract, on either; "" when nothing does. */
const char *rad_device_fast(const rad_engine *engine);
/* "cpu", or "cuda: NAMES"; which layers are where, and what else decides their bits. */
#define RAD_DEVICE_TEXT 512
void rad_device_text(const rad_engine *engine, char text[RAD_DEVICE_TEXT]);
void rad_placement_text(const rad_engine_plan *plan, uint32_t n_layers, char text[RAD_DEVICE_TEXT]);
/* As rad_cpu_backend_expert_tokens(), of both. */
uint64_t rad_device_expert_tokens(const rad_engine *engine, uint32_t layer, uint32_t expert);
/* Bytes of the memory of n GPUs that are taken now, by all processes; 0: none, or not known. */
int64_t rad_device_used(const rad_engine *engine, uint32_t first, uint32_t n);
/* Bytes a second that a copy on the first GPU reads and writes; measured by the call. 0: no device,
 * or no room. */
int64_t rad_device_bandwidth(const rad_engine *engine);
int64_t rad_device_multiply_adds(const rad_engine *engine, bool floats);

#endif
