#include "backend/cuda/half.h"

/* From so many tokens on, blocks of 128 tokens; below, each 8 read the weights anew, which the
 * second-level cache has. An estimate: not measured on a device. */
enum { MANY_TOKENS = 33, STEP = 32, ROUNDED_AT_ONCE = 2048, MOST_GRID_ROWS = 65535 };
/* The sums of so many columns' ranges fit the shared memory that every device gives a block. */
enum { MOST_COLUMNS = 96 * RAD_CUDA_HALF_RANGE };

bool rad_cuda_half_fits(rad_type type, uint32_t n_columns)
{
    return (type == RAD_TYPE_F16 || type == RAD_TYPE_BF16) && n_columns % STEP == 0 &&
           n_columns <= MOST_COLUMNS;
}

uint64_t rad_cuda_halves_bytes(uint64_t n_inputs, uint64_t n_columns)
{
    uint64_t bytes;
    return __builtin_mul_overflow(n_inputs, n_columns, &bytes) ||
                   __builtin_mul_overflow(bytes, sizeof(uint16_t), &bytes)
               ? 0
               : bytes;
}

radllm_status rad_cuda_half_round(rad_cuda_device *device, rad_type type, const float *x,
                                  uint64_t x_stride, uint32_t n_inputs,
                                  const rad_cuda_half_arguments *a)
{
    radllm_status status = RADLLM_OK;
    uint32_t blocks = (a->n_columns + ROUNDED_AT_ONCE - 1) / ROUNDED_AT_ONCE;
    for (uint32_t first = 0, n; first < n_inputs && status == RADLLM_OK; first += n) {
        n = n_inputs - first < MOST_GRID_ROWS ? n_inputs - first : MOST_GRID_ROWS;
        rad_cuda_half_round_arguments round = {
            x + first * x_stride, (uint16_t *)(uintptr_t)a->halves + (uint64_t)first * a->n_columns,
            x_stride, a->n_columns, type == RAD_TYPE_BF16};
        status = device->launch(device, &rad_cuda_kernel_half_round, (rad_cuda_grid){blocks, n, 1},
                                0, &round);
    }
    return status;
}

/* The blocks of all parts. */
static uint32_t place_parts(rad_cuda_half_arguments *a, uint32_t rows)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        a->parts[i].first_block = blocks;
        blocks += (a->parts[i].n_rows + rows - 1) / rows;
    }
    return blocks;
}

static radllm_status multiply_many(rad_cuda_device *device, rad_type type,
                                   rad_cuda_half_arguments *a)
{
    uint32_t blocks = place_parts(a, RAD_CUDA_HALF_MANY_ROWS);
    uint32_t room = device->properties.shared_bytes / RAD_CUDA_HALF_STAGE_BYTES;
    a->n_stages = room < RAD_CUDA_HALF_STAGES ? room : RAD_CUDA_HALF_STAGES;
    rad_cuda_grid grid = {
        blocks, (a->n_tokens + RAD_CUDA_HALF_MANY_TOKENS - 1) / RAD_CUDA_HALF_MANY_TOKENS, 1};
    return device->launch(device,
                          type == RAD_TYPE_F16 ? &rad_cuda_kernel_half_many_f16
                                               : &rad_cuda_kernel_half_many_bf16,
                          grid, a->n_stages * RAD_CUDA_HALF_STAGE_BYTES, a);
}

radllm_status rad_cuda_half_product(rad_cuda_device *device, rad_type type,
                                    rad_cuda_half_arguments *a, uint32_t n_slots)
{
    if (a->experts == NULL && a->n_tokens >= MANY_TOKENS)
        return multiply_many(device, type, a);
    uint32_t blocks = place_parts(a, RAD_CUDA_HALF_FEW_ROWS);
    uint32_t ranges = (a->n_columns + RAD_CUDA_HALF_RANGE - 1) / RAD_CUDA_HALF_RANGE;
    uint32_t groups = (a->n_tokens + RAD_CUDA_HALF_FEW_TOKENS - 1) / RAD_CUDA_HALF_FEW_TOKENS;
    rad_cuda_grid grid = {blocks, a->experts == NULL ? groups : 1,
                          a->experts == NULL ? 1 : n_slots};
    const uint32_t sums = RAD_CUDA_HALF_FEW_ROWS * RAD_CUDA_HALF_FEW_TOKENS * sizeof(float);
    return device->launch(device,
                          type == RAD_TYPE_F16 ? &rad_cuda_kernel_half_few_f16
                                               : &rad_cuda_kernel_half_few_bf16,
                          grid, ranges * sums, a);
}
