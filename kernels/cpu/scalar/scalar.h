/* The plain C kernels: what every faster one is compared with. */
#ifndef RAD_SCALAR_H
#define RAD_SCALAR_H

#include "kernels/kernels.h"

void rad_quantize_q8_32_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                               int16_t *sums);
void rad_quantize_q8_64_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                               int16_t *sums);
void rad_quantize_q8_256_scalar(const float *x, uint32_t n, int8_t *quants, float *scales,
                                int16_t *sums);
void rad_quantize_q8_row_scalar(const float *x, uint32_t n, int8_t *quants, float *scale,
                                int16_t *sums);

#endif
