/* An object that takes the place of cuBLAS in tests: its functions under their names, for memory of
 * the host. It checks what it is called with and gives status 7 (invalid value) for the rest. */
#ifndef RAD_CUBLAS_DOUBLE_H
#define RAD_CUBLAS_DOUBLE_H

#include <stdint.h>
#include <string.h>

#include "kernels/cuda/kernels_layer.h"
#include "quant/quant.h"

/* A product with so many rows fails with status 13 (execution failed). */
#define CUBLAS_DOUBLE_FAILING_ROWS 999

/* Small whole numbers, which every format holds. */
static inline uint16_t cublas_double_half(uint32_t type, float value)
{
    return type == RAD_CUDA_F16 ? rad_f32_to_f16(value) : rad_f32_to_bf16(value);
}

#endif
