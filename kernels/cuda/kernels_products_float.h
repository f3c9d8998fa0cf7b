/* Products with unquantized weights, and with those that are levels or numbers times a scale. A
 * part of kernels.h, which alone includes it. Weights stand as in the file, rows one behind the
 * other. */
#ifndef RAD_CUDA_KERNELS_PRODUCTS_FLOAT_H
#define RAD_CUDA_KERNELS_PRODUCTS_FLOAT_H

#include <stdint.h>

#include "kernels/cuda/kernels_products.h"

/* ---- the CPU's order ----------------------------------------------------------------------------
 *
 * Sixteen interleaved partial sums and a tree (kernels/kernels.h), the CPU's bits: F32 weights,
 * 16-bit ones whose rows are no multiple of 32 columns long, and matrices of heads; FP8, NF4 and
 * FP4 ones by the option gpu_apart. */
enum { RAD_CUDA_DOT_ROWS = 16, RAD_CUDA_DOT_TOKENS = 8 };

/* y = W x in F32. Grid: x for each part its rows over RAD_CUDA_DOT_ROWS, rounded up; y tokens over
 * RAD_CUDA_DOT_TOKENS, rounded up; z slots where there are experts, as in
 * rad_cuda_product_arguments, which also says what a part is. */
typedef struct rad_cuda_dot_arguments {
    rad_cuda_product_part parts[RAD_CUDA_PRODUCT_PARTS];
    const float *x; /* row t begins at t * x_stride */
    uint64_t x_stride;
    const uint32_t *experts; /* NULL: none */
    uint32_t slots_per_input;
    uint32_t n_parts;
    uint32_t n_columns;
    uint32_t n_tokens;
    float levels[16]; /* of dot_level4: what the codes stand for (NF4, FP4) */
} rad_cuda_dot_arguments;
RAD_CUDA_DECLARE(dot_f32);
RAD_CUDA_DECLARE(dot_f16);
RAD_CUDA_DECLARE(dot_bf16);
RAD_CUDA_DECLARE(dot_fp8);
RAD_CUDA_DECLARE(dot_level4);

/* ---- adapters -----------------------------------------------------------------------------------
 *
 * The CPU's order. adapt_down: y = A x; grid: x rows of A over RAD_CUDA_ADAPT_A_ROWS, y tokens over
 * RAD_CUDA_ADAPT_TOKENS, rounded up. adapt_up: y = fma(factor, B x, y); grid: x rows of B over
 * RAD_CUDA_ADAPT_B_ROWS, y as before. */
enum { RAD_CUDA_ADAPT_A_ROWS = 4, RAD_CUDA_ADAPT_B_ROWS = 32, RAD_CUDA_ADAPT_TOKENS = 8 };
typedef struct rad_cuda_adapt_arguments {
    const uint8_t *matrix; /* rows one behind the other */
    const float *x;        /* row t begins at t * x_stride */
    float *y;
    uint64_t x_stride, y_stride;
    uint32_t n_rows, n_columns, n_tokens;
    float factor;
} rad_cuda_adapt_arguments;
RAD_CUDA_DECLARE(adapt_down_f32);
RAD_CUDA_DECLARE(adapt_down_f16);
RAD_CUDA_DECLARE(adapt_down_bf16);
RAD_CUDA_DECLARE(adapt_up_f32);
RAD_CUDA_DECLARE(adapt_up_f16);
RAD_CUDA_DECLARE(adapt_up_bf16);

/* The same behind products of experts, for slots, each of which has an expert and a token, and an
 * output row of its own. adapt_experts_down, then adapt_experts_up; grid: x rows of A (of the
 * greatest rank) or B as above, y slots over slots_per_block (1 or RAD_CUDA_ADAPT_TOKENS), rounded
 * up. Pairs have their own ranks, types and scales. */
enum { RAD_CUDA_ADAPT_F32, RAD_CUDA_ADAPT_F16, RAD_CUDA_ADAPT_BF16 };
typedef struct rad_cuda_expert_pair {
    uint64_t a, b; /* where the matrices begin */
    double scale;
    uint32_t rank, b_rows, a_type, b_type;
} rad_cuda_expert_pair;
typedef struct rad_cuda_adapt_experts_arguments {
    const uint8_t *data;
    const rad_cuda_expert_pair *pairs;
    const uint32_t *places;   /* of each expert: 0, or 1 + its pair's number */
    const uint32_t *experts;  /* of each slot */
    const uint32_t *token_of; /* the same; NULL: slot / n_used */
    const float *x;           /* rows of tokens, or (by_slot) of slots */
    float *hidden, *y;        /* of slots; hidden_stride and n_rows apart */
    uint32_t by_slot, n_used, n_slots, slots_per_block;
    uint32_t first_token, n_tokens; /* slots of others are passed over */
    uint32_t n_columns, n_rows, hidden_stride;
    uint32_t first_row;  /* of B, where it has more than n_rows */
    float scale, number; /* times the pair's own, in this order and in 64 bits */
} rad_cuda_adapt_experts_arguments;
RAD_CUDA_DECLARE(adapt_experts_down);
RAD_CUDA_DECLARE(adapt_experts_up);

/* ---- 16-bit weights by matrix instructions
 * --------------------------------------------------------
 *
 * Activations are rounded to the weights' format first (F16 saturates). One order for all numbers
 * of tokens: the columns of a row, a multiple of 32, are summed from zero in ascending order, 16 by
 * an instruction. The sums inside an instruction are the device's own, so that bits differ between
 * kinds of devices, and from the CPU's. */
enum {
    RAD_CUDA_HALF_FEW_ROWS = 16, /* of a block, and tokens */
    RAD_CUDA_HALF_FEW_TOKENS = 8,
    RAD_CUDA_HALF_FEW_PIECES = 6, /* of 4 KiB of dynamic shared memory */
    RAD_CUDA_HALF_FEW_SHARED = RAD_CUDA_HALF_FEW_PIECES * 4096
};

/* Grid: x ceil(n_columns / 2048), y tokens. */
typedef struct rad_cuda_half_round_arguments {
    const float *x;
    uint16_t *halves; /* aligned to 16; rows of n_columns, each 32 in an order of their own */
    uint64_t x_stride;
    uint32_t n_columns; /* a multiple of 32 */
    uint32_t bf16;
    uint32_t in_order; /* columns as they stand: for others than the kernels below */
} rad_cuda_half_round_arguments;
RAD_CUDA_DECLARE(half_round);

/* half_few: as rad_cuda_dot_arguments; grid x for each part its rows over RAD_CUDA_HALF_FEW_ROWS,
 * rounded up, y tokens over RAD_CUDA_HALF_FEW_TOKENS, rounded up, z slots where there are experts
 * (slot s has input inputs[s]; NULL: s / slots_per_input); dynamic shared memory
 * RAD_CUDA_HALF_FEW_SHARED.
 *
 * half_RxT: a block has R rows of a part and T tokens, there are no experts; grid x all pairs of
 * tiles, dynamic shared memory n_stages, 3 to 8, times rad_cuda_half_stage_bytes(R, T).
 *
 * half_grouped: outputs stand by expert, as in rad_cuda_many_arguments; tiles are those of
 * half_64x64, grid x the most tiles of tokens that there can be times n_row_blocks. */
static inline uint32_t rad_cuda_half_stage_bytes(uint32_t rows, uint32_t tokens)
{
    return 128 * (rows + tokens);
}
typedef struct rad_cuda_half_arguments {
    rad_cuda_product_part parts[RAD_CUDA_PRODUCT_PARTS]; /* weights aligned to 16 */
    const uint16_t *halves;
    const uint32_t *experts, *inputs;                            /* NULL: none */
    const uint32_t *tile_expert, *tile_first, *starts, *n_tiles; /* of half_grouped */
    uint32_t slots_per_input;
    uint32_t n_parts;
    uint32_t n_columns; /* a multiple of 32 */
    uint32_t n_tokens;
    uint32_t n_stages, n_row_blocks, band; /* of half_RxT: n_row_blocks of all parts */
    /* Of scaled_*: of tokens; of blocks' scales; F16 numbers, first the 16 low bytes. */
    const float *factors;
    float scale;
    uint32_t levels[8];
} rad_cuda_half_arguments;
RAD_CUDA_DECLARE(half_few_f16);
RAD_CUDA_DECLARE(half_few_bf16);
RAD_CUDA_DECLARE(half_128x256_f16);
RAD_CUDA_DECLARE(half_128x256_bf16);
RAD_CUDA_DECLARE(half_128x128_f16);
RAD_CUDA_DECLARE(half_128x128_bf16);
RAD_CUDA_DECLARE(half_128x64_f16);
RAD_CUDA_DECLARE(half_128x64_bf16);
RAD_CUDA_DECLARE(half_64x64_f16);
RAD_CUDA_DECLARE(half_64x64_bf16);
RAD_CUDA_DECLARE(half_32x64_f16);
RAD_CUDA_DECLARE(half_32x64_bf16);
RAD_CUDA_DECLARE(half_64x32_f16);
RAD_CUDA_DECLARE(half_64x32_bf16);
RAD_CUDA_DECLARE(half_grouped_f16);
RAD_CUDA_DECLARE(half_grouped_bf16);

/* ---- FP8, NF4 and FP4 weights by matrix instructions
 * ---------------------------------------------
 *
 * Blocks of 64 columns with a scale. Activations are rounded to F16 first, a row with a power of
 * two of its own that brings its greatest magnitude to between 2^14 and 2^15. FP8 numbers are exact
 * in F16; levels are rounded to it (NF4), or twelve times themselves (FP4, exactly). One order for
 * all numbers of tokens: a block's columns are summed from zero, 16 by an instruction, and these
 * sums c are added up by ascending columns, y = fma(c, scale, y); then the row's power of two. */
typedef struct rad_cuda_scaled_round_arguments {
    const float *x;
    uint16_t *halves; /* aligned to 16; rows of n_columns, each 64 in an order of their own */
    float *factors;   /* of rows, what takes their power of two back; NaN: not all are finite */
    uint64_t x_stride;
    uint32_t n_columns; /* a multiple of 64 */
} rad_cuda_scaled_round_arguments;
/* Grid: x rows. */
RAD_CUDA_DECLARE(scaled_round_fp8);
RAD_CUDA_DECLARE(scaled_round_level4);

/* As the kernels half_* above, without stages, bands and dynamic shared memory of few tokens; tiles
 * take RAD_CUDA_SCALED_BYTES(R, T). */
enum { RAD_CUDA_SCALED_STAGES = 4 };
#define RAD_CUDA_SCALED_BYTES(rows, tokens)                                                        \
    (RAD_CUDA_SCALED_STAGES * 128u * (tokens) + 2 * (128u + 4u) * (rows))
RAD_CUDA_DECLARE(scaled_few_fp8);
RAD_CUDA_DECLARE(scaled_few_level4);
RAD_CUDA_DECLARE(scaled_128x128_fp8);
RAD_CUDA_DECLARE(scaled_128x128_level4);
RAD_CUDA_DECLARE(scaled_64x64_fp8);
RAD_CUDA_DECLARE(scaled_64x64_level4);
RAD_CUDA_DECLARE(scaled_grouped_fp8);
RAD_CUDA_DECLARE(scaled_grouped_level4);

#endif
