/* Tokens that are chosen on the device, of each output row: the most likely one, what the others
 * follow; the best ones; one that is drawn from all. */
#include "backend/cuda/operations.h"

/* Parts of all rows, then whole rows. */
static rad_cuda_grid parts_grid(const rad_cuda_backend *b)
{
    uint32_t n = b->batch->n_outputs;
    return (rad_cuda_grid){b->layout.n_parts, n < MOST_GRID_ROWS ? n : MOST_GRID_ROWS, 1};
}

static radllm_status launch_rows(rad_cuda_backend *b, const rad_cuda_kernel *kernel,
                                 const void *arguments)
{
    return launch(b, kernel, (rad_cuda_grid){b->batch->n_outputs, 1, 1}, 0, arguments);
}

radllm_status rad_cuda_run_greatest(rad_cuda_backend *b)
{
    uint32_t n_vocab = b->model->hparams.n_vocab;
    rad_cuda_greatest_arguments a = {.logits = rad_cuda_value(b, b->program->logits),
                                     .parts = rad_cuda_at(b, b->layout.parts),
                                     .out = b->choices,
                                     .stride = n_vocab,
                                     .n = n_vocab,
                                     .n_parts = b->layout.n_parts,
                                     .n_rows = b->batch->n_outputs};
    radllm_status status = launch(b, &rad_cuda_kernel_greatest_parts, parts_grid(b), 0, &a);
    return status == RADLLM_OK ? launch_rows(b, &rad_cuda_kernel_greatest, &a) : status;
}

radllm_status rad_cuda_run_candidates(rad_cuda_backend *b)
{
    uint32_t n_vocab = b->model->hparams.n_vocab;
    rad_cuda_candidates_arguments a = {.logits = rad_cuda_value(b, b->program->logits),
                                       .parts = rad_cuda_at(b, b->layout.parts),
                                       .counts = rad_cuda_at(b, b->layout.candidate_counts),
                                       .masses = rad_cuda_at(b, b->layout.candidate_masses),
                                       .n_keys = rad_cuda_at(b, b->layout.n_candidate_keys),
                                       .keys = rad_cuda_at(b, b->layout.candidate_keys),
                                       .out = b->candidates,
                                       .stride = n_vocab,
                                       .n = n_vocab,
                                       .n_parts = b->layout.n_parts,
                                       .n_rows = b->batch->n_outputs};
    radllm_status status = launch(b, &rad_cuda_kernel_candidate_counts, parts_grid(b), 0, &a);
    if (status == RADLLM_OK)
        status = launch(b, &rad_cuda_kernel_candidate_keys, parts_grid(b), 0, &a);
    return status == RADLLM_OK ? launch_rows(b, &rad_cuda_kernel_candidates, &a) : status;
}

radllm_status rad_cuda_run_draw(rad_cuda_backend *b)
{
    uint32_t n_vocab = b->model->hparams.n_vocab;
    rad_cuda_draw_arguments a = {.logits = rad_cuda_value(b, b->program->logits),
                                 .parts = rad_cuda_at(b, b->layout.parts),
                                 .draws = rad_cuda_at(b, b->layout.draws),
                                 .sums = rad_cuda_at(b, b->layout.draw_sums),
                                 .out = b->drawn,
                                 .stride = n_vocab,
                                 .n = n_vocab,
                                 .n_parts = b->layout.n_parts,
                                 .n_rows = b->batch->n_outputs};
    radllm_status status = launch(b, &rad_cuda_kernel_draw_sums, parts_grid(b), 0, &a);
    return status == RADLLM_OK ? launch_rows(b, &rad_cuda_kernel_draw, &a) : status;
}
