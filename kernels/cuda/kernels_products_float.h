/* Products with unquantized weights, and with those that are levels or numbers times a scale. A
 * part of kernels.h, which alone includes it. Weights stand as in the file, rows one behind the
 * other. */
#ifndef RAD_CUDA_KERNELS_PRODUCTS_FLOAT_H
#define RAD_CUDA_KERNELS_PRODUCTS_FLOAT_H

#include <stdint.h>

#include "kernels/cuda/kernels_products.h"

/* ---- the CPU's order ----------------------------------------------------------------------------
 *
 * Sixteen interleaved partial sums and a tree (kernels/kernels.h), the CPU's bits: F32, FP8, NF4
 * and FP4 weights, and 16-bit ones whose rows are no multiple of 32 columns long. */
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

#endif
