/* Products with FP8, NF4 and FP4 weights by matrix instructions (half.h): which kernel. */
#include "backend/cuda/half.h"
#include "base/numeric_f32.h"
#include "kernels/kernels.h"
#include "quant/formats.h"

/* Up to so many tokens go by eights where small tiles are too few for all multiprocessors. */
enum { MOST_FEW_TOKENS = 32, BAND_TOKENS = 2048, SMALL = 0, LARGE = 1 };

/* Clocks of a block of 64 columns, where others run on its multiprocessor and alone, by the tiles
 * of half.c that are as large; not measured. */
typedef struct tile {
    const rad_cuda_kernel *kernels[2]; /* FP8, levels */
    uint32_t rows, tokens, shared_bytes;
    uint32_t clocks, clocks_alone;
} tile;

static const tile tiles[] = {
    [SMALL] = {{&rad_cuda_kernel_scaled_64x64_fp8, &rad_cuda_kernel_scaled_64x64_level4},
               64,
               64,
               RAD_CUDA_SCALED_BYTES(64, 64),
               500,
               900},
    [LARGE] = {{&rad_cuda_kernel_scaled_128x128_fp8, &rad_cuda_kernel_scaled_128x128_level4},
               128,
               128,
               RAD_CUDA_SCALED_BYTES(128, 128),
               1500,
               1500},
};

static bool is_level4(rad_type type)
{
    return type != RAD_TYPE_FP8;
}

bool rad_cuda_is_scaled(rad_type type)
{
    return type == RAD_TYPE_FP8 || type == RAD_TYPE_NF4 || type == RAD_TYPE_FP4;
}

/* The numbers of FP4 times 12 are exact in F16, and those of FP8 are 2^-8 times themselves there
 * (kernels/cuda/products_scaled.h). */
void rad_cuda_scaled_prepare(rad_type type, uint32_t n_inputs, rad_cuda_half_arguments *a)
{
    const float *levels = type == RAD_TYPE_FP4 ? rad_levels_fp4 : rad_levels_nf4;
    const float times = type == RAD_TYPE_FP4 ? 12.0f : 1.0f;
    a->factors = (const float *)(const void *)(a->halves + (uint64_t)n_inputs * a->n_columns);
    a->scale = is_level4(type) ? 1.0f / times : 256.0f;
    for (uint32_t i = 0; i < 16 && is_level4(type); i++) {
        const uint32_t half = rad_half_saturated(levels[i] * times);
        a->levels[i / 4] |= (half & 255) << i % 4 * 8;
        a->levels[4 + i / 4] |= half >> 8 << i % 4 * 8;
    }
}

radllm_status rad_cuda_scaled_round(rad_cuda_device *device, rad_type type, const float *x,
                                    uint64_t x_stride, uint32_t n_inputs,
                                    const rad_cuda_half_arguments *a)
{
    rad_cuda_scaled_round_arguments round = {x, (uint16_t *)(uintptr_t)a->halves,
                                             (float *)(uintptr_t)a->factors, x_stride,
                                             a->n_columns};
    return device->launch(device,
                          is_level4(type) ? &rad_cuda_kernel_scaled_round_level4
                                          : &rad_cuda_kernel_scaled_round_fp8,
                          (rad_cuda_grid){n_inputs, 1, 1}, 0, &round);
}

static uint32_t tiles_of_tokens(const tile *t, uint32_t n_tokens)
{
    return (n_tokens + t->tokens - 1) / t->tokens;
}

static bool has_room(const rad_cuda_device *device, const tile *t)
{
    return t->shared_bytes <= device->properties.shared_bytes;
}

static uint64_t estimate(const rad_cuda_device *device, rad_cuda_half_arguments *a, const tile *t)
{
    uint64_t blocks = (uint64_t)rad_cuda_half_place(a, t->rows) * tiles_of_tokens(t, a->n_tokens);
    uint32_t multiprocessors = device->properties.multiprocessors;
    uint64_t turns = (blocks + multiprocessors - 1) / multiprocessors;
    return turns == 1 ? t->clocks_alone : turns * t->clocks;
}

/* NULL: by eights. */
static const tile *choose_tile(const rad_cuda_device *device, rad_cuda_half_arguments *a)
{
    const tile *small = &tiles[SMALL], *large = &tiles[LARGE];
    if (a->n_tokens <= RAD_CUDA_HALF_FEW_TOKENS || !has_room(device, small) ||
        (a->n_tokens <= MOST_FEW_TOKENS &&
         rad_cuda_half_place(a, small->rows) < device->properties.multiprocessors))
        return NULL;
    return has_room(device, large) && estimate(device, a, large) < estimate(device, a, small)
               ? large
               : small;
}

static radllm_status multiply_many(rad_cuda_device *device, rad_type type,
                                   rad_cuda_half_arguments *a, const tile *t)
{
    a->n_row_blocks = rad_cuda_half_place(a, t->rows);
    a->band = BAND_TOKENS / t->tokens;
    rad_cuda_grid grid = {a->n_row_blocks * tiles_of_tokens(t, a->n_tokens), 1, 1};
    return device->launch(device, t->kernels[is_level4(type)], grid, t->shared_bytes, a);
}

radllm_status rad_cuda_scaled_product(rad_cuda_device *device, rad_type type,
                                      rad_cuda_half_arguments *a, uint32_t n_slots)
{
    const tile *best = a->experts != NULL ? NULL : choose_tile(device, a);
    return best == NULL ? rad_cuda_half_few(device, type, a, n_slots)
                        : multiply_many(device, type, a, best);
}

radllm_status rad_cuda_scaled_grouped(rad_cuda_device *device, rad_type type,
                                      rad_cuda_half_arguments *a, uint32_t n_slots,
                                      uint32_t most_tiles)
{
    const tile *t = &tiles[SMALL];
    if (most_tiles == 0 || !has_room(device, t))
        return rad_cuda_half_few(device, type, a, n_slots);
    a->n_row_blocks = rad_cuda_half_place(a, t->rows);
    return device->launch(device,
                          is_level4(type) ? &rad_cuda_kernel_scaled_grouped_level4
                                          : &rad_cuda_kernel_scaled_grouped_fp8,
                          (rad_cuda_grid){most_tiles * a->n_row_blocks, 1, 1}, t->shared_bytes, a);
}

const rad_cuda_kernel *rad_cuda_scaled_kernel(rad_type type, uint32_t kernel)
{
    if (kernel > 0)
        return tiles[kernel - 1].kernels[is_level4(type)];
    return is_level4(type) ? &rad_cuda_kernel_scaled_few_level4 : &rad_cuda_kernel_scaled_few_fp8;
}

radllm_status rad_cuda_scaled_product_by(rad_cuda_device *device, rad_type type,
                                         rad_cuda_half_arguments *a, uint32_t kernel)
{
    const tile *t = &tiles[kernel - 1];
    return has_room(device, t) ? multiply_many(device, type, a, t) : RADLLM_E_UNSUPPORTED;
}
