/* lib/forward: the transformer as a list of operations. It never asks which backend or instruction
 * set it runs on. */
#ifndef RAD_PROGRAM_H
#define RAD_PROGRAM_H

#include "backend/backend.h"

/* Writes the program of a model under a policy, for sessions of this context; its operations are in
 * one block of the model's allocator. The model must outlive it. */
radllm_status rad_program_build(const rad_model *model, const rad_attention_policy *policy,
                                uint32_t context, rad_program *program, radllm_error *error);
/* What it takes in memory. */
uint64_t rad_program_bytes(const rad_program *program);
void rad_program_free(rad_program *program);

#endif
