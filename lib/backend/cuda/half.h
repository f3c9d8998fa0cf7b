/* Products with 16-bit weights, and with FP8, NF4 and FP4 ones, by matrix instructions: which
 * kernel, with what (kernels/cuda/kernels_products_float.h). */
#ifndef RAD_BACKEND_CUDA_HALF_H
#define RAD_BACKEND_CUDA_HALF_H

#include "backend/cuda/device.h"
#include "quant/quant.h"

/* Whether a matrix is multiplied so. By its shape alone, so that all numbers of tokens are. */
bool rad_cuda_half_fits(rad_type type, uint32_t n_columns);

/* Bytes of n_inputs rows of rounded activations, and a factor for each; 0 on overflow. */
uint64_t rad_cuda_halves_bytes(uint64_t n_inputs, uint64_t n_columns);

/* Sets what of `a`, which is zeros else, a type needs besides; n_inputs: rows of a->halves. */
void rad_cuda_half_prepare(rad_type type, uint32_t n_inputs, rad_cuda_half_arguments *a);
/* Gives each part of `a` its first block of so many rows; returns the blocks of all. */
uint32_t rad_cuda_half_place(rad_cuda_half_arguments *a, uint32_t rows);
/* Rounds n_inputs rows of x into a->halves: as the kernels here want them, or in their order (of
 * 16-bit weights). */
radllm_status rad_cuda_half_round(rad_cuda_device *device, rad_type type, const float *x,
                                  uint64_t x_stride, uint32_t n_inputs, bool in_order,
                                  const rad_cuda_half_arguments *a);
/* The product of a->halves: of a->n_tokens rows, or with a->experts of n_slots slots (at most
 * 65,535). Sets what of `a` depends on the kernel. */
radllm_status rad_cuda_half_product(rad_cuda_device *device, rad_type type,
                                    rad_cuda_half_arguments *a, uint32_t n_slots);

/* The same by the kernel of few tokens, whatever the type. */
radllm_status rad_cuda_half_few(rad_cuda_device *device, rad_type type, rad_cuda_half_arguments *a,
                                uint32_t n_slots);
/* With a->experts, inputs and where tiles stand, of slots by expert: in tiles, of which there are
 * at most most_tiles, or with 0 slot by slot (at most 65,535). */
radllm_status rad_cuda_half_grouped(rad_cuda_device *device, rad_type type,
                                    rad_cuda_half_arguments *a, uint32_t n_slots,
                                    uint32_t most_tiles);

/* The kernels among which it chooses, all with the same bits: 0 for few tokens, then tiles. For
 * tests and bench; RADLLM_E_UNSUPPORTED where the device lacks the shared memory. The first is the
 * number of kernels of 16-bit weights, the other one of those with scales. */
enum { RAD_CUDA_HALF_KERNELS = 7, RAD_CUDA_SCALED_KERNELS = 3 };
const rad_cuda_kernel *rad_cuda_half_kernel(rad_type type, uint32_t kernel);
radllm_status rad_cuda_half_product_by(rad_cuda_device *device, rad_type type,
                                       rad_cuda_half_arguments *a, uint32_t n_slots,
                                       uint32_t kernel);

/* ---- scaled.c: the same of FP8, NF4 and FP4 ----------------------------------------------------
 */

bool rad_cuda_is_scaled(rad_type type);
void rad_cuda_scaled_prepare(rad_type type, uint32_t n_inputs, rad_cuda_half_arguments *a);
radllm_status rad_cuda_scaled_round(rad_cuda_device *device, rad_type type, const float *x,
                                    uint64_t x_stride, uint32_t n_inputs,
                                    const rad_cuda_half_arguments *a);
radllm_status rad_cuda_scaled_product(rad_cuda_device *device, rad_type type,
                                      rad_cuda_half_arguments *a, uint32_t n_slots);
radllm_status rad_cuda_scaled_grouped(rad_cuda_device *device, rad_type type,
                                      rad_cuda_half_arguments *a, uint32_t n_slots,
                                      uint32_t most_tiles);
/* kernel: from 1 on. */
radllm_status rad_cuda_scaled_product_by(rad_cuda_device *device, rad_type type,
                                         rad_cuda_half_arguments *a, uint32_t kernel);
const rad_cuda_kernel *rad_cuda_scaled_kernel(rad_type type, uint32_t kernel);

#endif
