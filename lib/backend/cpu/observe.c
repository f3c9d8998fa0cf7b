/* Shows an observer what products are multiplied with, before they are. */
#include "backend/cpu/cpu.h"

static void observe_experts(const rad_cpu_backend *cpu, const rad_op *op)
{
    const rad_observer *observer = cpu->settings.observer;
    const rad_expert_group *groups =
        (const rad_expert_group *)(const void *)(cpu->memory + cpu->layout.groups);
    const uint32_t *token_of =
        (const uint32_t *)(const void *)(cpu->memory + cpu->layout.choice_token);
    const float *values = rad_cpu_value(cpu, op->in);
    uint32_t n = rad_weight_inputs(op->weight);
    for (uint32_t g = 0; g < cpu->n_groups; g++)
        for (uint32_t i = 0; i < groups[g].n_rows; i++) {
            uint32_t row = groups[g].first_row + i;
            observer->rows(observer->user, op->weight, groups[g].expert,
                           values + (size_t)(op->by_choice ? row : token_of[row]) * n, 1);
        }
}

void rad_cpu_observe(const rad_cpu_backend *cpu, const rad_op *op)
{
    const rad_observer *observer = cpu->settings.observer;
    if (op->kind == RAD_OP_EXPERT_PRODUCT)
        observe_experts(cpu, op);
    else if (op->kind == RAD_OP_PRODUCT)
        observer->rows(observer->user, op->weight, 0, rad_cpu_value(cpu, op->in),
                       rad_cpu_rows(cpu, op));
}
