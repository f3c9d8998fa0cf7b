#include "backend/cuda/half.h"

#include <assert.h>

enum { STEP = 32, ROUNDED_AT_ONCE = 2048, MOST_GRID_ROWS = 65535, MOST_COLUMNS = 1 << 22 };

/* Tiles of many tokens. Clocks are of 64 columns of a block, where others run on its multiprocessor
 * beside or behind it, and alone: from the times of 4,096 and 14,336 x 4,096 on an H100. */
typedef struct tile {
    const rad_cuda_kernel *kernels[2]; /* F16, BF16 */
    uint32_t rows, tokens;
    uint32_t stages; /* in shared memory, at most: as the kernel has them */
    uint32_t clocks, clocks_alone;
} tile;

#define KERNELS(name)                                                                              \
    {                                                                                              \
        &rad_cuda_kernel_half_##name##_f16, &rad_cuda_kernel_half_##name##_bf16                    \
    }

static const tile tiles[] = {
    {KERNELS(64x32), 64, 32, 8, 250, 600},       {KERNELS(32x64), 32, 64, 8, 250, 610},
    {KERNELS(64x64), 64, 64, 6, 450, 740},       {KERNELS(128x64), 128, 64, 4, 690, 1200},
    {KERNELS(128x128), 128, 128, 3, 1150, 2130}, {KERNELS(128x256), 128, 256, 4, 2330, 2330},
};
enum { TILES = sizeof tiles / sizeof *tiles, LEAST_STAGES = 3, GROUPED_TILE = 2 };
static_assert(TILES + 1 == RAD_CUDA_HALF_KERNELS, "few tokens, and tiles");

/* Bytes a clock of the L2 cache, all multiprocessors together, for each, and for one of them at
 * most. Tokens of tiles that run near each other. */
enum { L2_CLOCK_BYTES = 36, L2_MOST_CLOCK_BYTES = 44, BAND_TOKENS = 2048 };

bool rad_cuda_half_fits(rad_type type, uint32_t n_columns)
{
    return (type == RAD_TYPE_F16 || type == RAD_TYPE_BF16 || rad_cuda_is_scaled(type)) &&
           n_columns % STEP == 0 && n_columns <= MOST_COLUMNS;
}

uint64_t rad_cuda_halves_bytes(uint64_t n_inputs, uint64_t n_columns)
{
    uint64_t bytes;
    return __builtin_add_overflow(n_columns, sizeof(float) / sizeof(uint16_t), &bytes) ||
                   __builtin_mul_overflow(n_inputs, bytes, &bytes) ||
                   __builtin_mul_overflow(bytes, sizeof(uint16_t), &bytes)
               ? 0
               : bytes;
}

void rad_cuda_half_prepare(rad_type type, uint32_t n_inputs, rad_cuda_half_arguments *a)
{
    if (rad_cuda_is_scaled(type))
        rad_cuda_scaled_prepare(type, n_inputs, a);
}

radllm_status rad_cuda_half_round(rad_cuda_device *device, rad_type type, const float *x,
                                  uint64_t x_stride, uint32_t n_inputs, bool in_order,
                                  const rad_cuda_half_arguments *a)
{
    radllm_status status = RADLLM_OK;
    if (rad_cuda_is_scaled(type))
        return rad_cuda_scaled_round(device, type, x, x_stride, n_inputs, a);
    uint32_t blocks = (a->n_columns + ROUNDED_AT_ONCE - 1) / ROUNDED_AT_ONCE;
    for (uint32_t first = 0, n; first < n_inputs && status == RADLLM_OK; first += n) {
        n = n_inputs - first < MOST_GRID_ROWS ? n_inputs - first : MOST_GRID_ROWS;
        rad_cuda_half_round_arguments round = {x + first * x_stride,
                                               (uint16_t *)(uintptr_t)a->halves +
                                                   (uint64_t)first * a->n_columns,
                                               x_stride,
                                               a->n_columns,
                                               type == RAD_TYPE_BF16,
                                               in_order};
        status = device->launch(device, &rad_cuda_kernel_half_round, (rad_cuda_grid){blocks, n, 1},
                                0, &round);
    }
    return status;
}

uint32_t rad_cuda_half_place(rad_cuda_half_arguments *a, uint32_t rows)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        a->parts[i].first_block = blocks;
        blocks += (a->parts[i].n_rows + rows - 1) / rows;
    }
    return blocks;
}

static uint32_t tiles_of_tokens(const tile *t, uint32_t n_tokens)
{
    return (n_tokens + t->tokens - 1) / t->tokens;
}

static uint32_t stages_of(const tile *t, uint32_t shared_bytes)
{
    uint32_t room = shared_bytes / rad_cuda_half_stage_bytes(t->rows, t->tokens);
    return room < t->stages ? room : t->stages;
}

/* Clocks for 64 columns: of the instructions, or of the bytes that come from the L2 cache. */
static uint64_t estimate(const tile *t, uint64_t blocks, uint32_t multiprocessors)
{
    uint64_t turns = (blocks + multiprocessors - 1) / multiprocessors;
    uint64_t bytes = rad_cuda_half_stage_bytes(t->rows, t->tokens);
    uint64_t compute = turns == 1 ? t->clocks_alone : turns * t->clocks;
    uint64_t all = blocks * bytes / multiprocessors / L2_CLOCK_BYTES;
    uint64_t one = turns * bytes / L2_MOST_CLOCK_BYTES;
    uint64_t read = all > one ? all : one;
    return compute > read ? compute : read;
}

/* The tile that is expected to take the least time; -1 where none has room. */
static int choose_tile(const rad_cuda_properties *properties, rad_cuda_half_arguments *a)
{
    uint64_t least = UINT64_MAX;
    int best = -1;
    for (int i = 0; i < TILES; i++) {
        const tile *t = &tiles[i];
        uint64_t blocks =
            (uint64_t)rad_cuda_half_place(a, t->rows) * tiles_of_tokens(t, a->n_tokens);
        uint64_t clocks = estimate(t, blocks, properties->multiprocessors);
        if (stages_of(t, properties->shared_bytes) >= LEAST_STAGES && clocks < least) {
            least = clocks;
            best = i;
        }
    }
    return best;
}

static radllm_status multiply_many(rad_cuda_device *device, rad_type type,
                                   rad_cuda_half_arguments *a, const tile *t)
{
    a->n_stages = stages_of(t, device->properties.shared_bytes);
    a->n_row_blocks = rad_cuda_half_place(a, t->rows);
    a->band = BAND_TOKENS / t->tokens;
    rad_cuda_grid grid = {a->n_row_blocks * tiles_of_tokens(t, a->n_tokens), 1, 1};
    return device->launch(device, t->kernels[type == RAD_TYPE_BF16], grid,
                          a->n_stages * rad_cuda_half_stage_bytes(t->rows, t->tokens), a);
}

radllm_status rad_cuda_half_few(rad_cuda_device *device, rad_type type, rad_cuda_half_arguments *a,
                                uint32_t n_slots)
{
    bool slots = a->experts != NULL;
    uint32_t groups = (a->n_tokens + RAD_CUDA_HALF_FEW_TOKENS - 1) / RAD_CUDA_HALF_FEW_TOKENS;
    rad_cuda_grid grid = {rad_cuda_half_place(a, RAD_CUDA_HALF_FEW_ROWS), slots ? 1 : groups,
                          slots ? n_slots : 1};
    return device->launch(device, rad_cuda_half_kernel(type, 0), grid,
                          rad_cuda_is_scaled(type) ? 0 : RAD_CUDA_HALF_FEW_SHARED, a);
}

radllm_status rad_cuda_half_product(rad_cuda_device *device, rad_type type,
                                    rad_cuda_half_arguments *a, uint32_t n_slots)
{
    if (rad_cuda_is_scaled(type))
        return rad_cuda_scaled_product(device, type, a, n_slots);
    int best = a->experts != NULL || a->n_tokens <= RAD_CUDA_HALF_FEW_TOKENS
                   ? -1
                   : choose_tile(&device->properties, a);
    return best < 0 ? rad_cuda_half_few(device, type, a, n_slots)
                    : multiply_many(device, type, a, &tiles[best]);
}

radllm_status rad_cuda_half_grouped(rad_cuda_device *device, rad_type type,
                                    rad_cuda_half_arguments *a, uint32_t n_slots,
                                    uint32_t most_tiles)
{
    if (rad_cuda_is_scaled(type))
        return rad_cuda_scaled_grouped(device, type, a, n_slots, most_tiles);
    const tile *t = &tiles[GROUPED_TILE];
    a->n_stages = stages_of(t, device->properties.shared_bytes);
    if (most_tiles == 0 || a->n_stages < LEAST_STAGES)
        return rad_cuda_half_few(device, type, a, n_slots);
    a->n_row_blocks = rad_cuda_half_place(a, t->rows);
    return device->launch(device,
                          type == RAD_TYPE_BF16 ? &rad_cuda_kernel_half_grouped_bf16
                                                : &rad_cuda_kernel_half_grouped_f16,
                          (rad_cuda_grid){most_tiles * a->n_row_blocks, 1, 1},
                          a->n_stages * rad_cuda_half_stage_bytes(t->rows, t->tokens), a);
}

const rad_cuda_kernel *rad_cuda_half_kernel(rad_type type, uint32_t kernel)
{
    bool bf16 = type == RAD_TYPE_BF16;
    if (rad_cuda_is_scaled(type))
        return rad_cuda_scaled_kernel(type, kernel);
    if (kernel > 0)
        return tiles[kernel - 1].kernels[bf16];
    return bf16 ? &rad_cuda_kernel_half_few_bf16 : &rad_cuda_kernel_half_few_f16;
}

radllm_status rad_cuda_half_product_by(rad_cuda_device *device, rad_type type,
                                       rad_cuda_half_arguments *a, uint32_t n_slots,
                                       uint32_t kernel)
{
    if (kernel == 0)
        return rad_cuda_half_few(device, type, a, n_slots);
    if (rad_cuda_is_scaled(type))
        return rad_cuda_scaled_product_by(device, type, a, kernel);
    const tile *t = &tiles[kernel - 1];
    return stages_of(t, device->properties.shared_bytes) < LEAST_STAGES
               ? RADLLM_E_UNSUPPORTED
               : multiply_many(device, type, a, t);
}
