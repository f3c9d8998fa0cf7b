/* How weights stand in a device's memory (kernels/cuda/kernels_products.h), and how they are
 * brought there from the rows of a file. */
#ifndef RAD_BACKEND_CUDA_LAYOUT_H
#define RAD_BACKEND_CUDA_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/cuda/device.h"
#include "kernels/cuda/kernels.h"
#include "kernels/kernels.h"

/* NULL for a type that has no layout of its own here: plain numbers, and types that are not
 * computed with. */
const rad_cuda_form *rad_cuda_form_of(rad_type type);

/* Bytes of a matrix on the device; 0 on overflow, or where rad_cuda_form_of() is NULL or the
 * columns are no multiple of the type's blocks. */
uint64_t rad_cuda_matrix_bytes(rad_type type, uint64_t n_rows, uint64_t n_columns);

/* True for types whose blocks are first written anew with codes of fixed width (quant/codes.h). */
bool rad_cuda_is_recoded(rad_type type);
/* Writes the n_blocks blocks of such a type anew, into n_blocks * form->block_bytes bytes. */
void rad_cuda_recode(rad_type type, const uint8_t *blocks, size_t n_blocks, uint8_t *out);

/* Packs n_rows rows, at most 32, into a group of rows on the host: what the kernel `pack` does.
 * Blocks of recoded types are the recoded ones. */
void rad_cuda_pack_group(const rad_cuda_form *form, const uint8_t *blocks, uint32_t n_rows,
                         uint32_t n_columns, uint8_t *group);

/* Bytes of the quantized activations of n_tokens rows; 0 on overflow. */
uint64_t rad_cuda_tiles_bytes(uint64_t n_tokens, uint64_t n_columns);

/* The kernel of few tokens (NULL: none for this type), the rows of a block as a power of two for a
 * machine of so many multiprocessors, and the bytes of dynamic shared memory. n_rows: of all parts
 * of the launch. */
const rad_cuda_kernel *rad_cuda_few_kernel(rad_type type);
uint32_t rad_cuda_few_rows_log2(rad_type type, uint64_t n_rows, uint32_t n_columns,
                                uint32_t multiprocessors);
uint32_t rad_cuda_few_shared_bytes(rad_type type, uint32_t rows_log2);

/* How a product of few tokens is launched: its kernel (NULL: none for this type), the rows of a
 * block, the bytes of dynamic shared memory, and the most tokens of a launch. _some_: by the kernel
 * for some tokens. _choose: by the quicker one of those that the machine has room for; n_rows: of
 * all parts of the launch. */
typedef struct rad_cuda_few_launch {
    const rad_cuda_kernel *kernel;
    uint32_t rows_log2, shared_bytes, n_tokens;
} rad_cuda_few_launch;
rad_cuda_few_launch rad_cuda_some_launch(rad_type type);
rad_cuda_few_launch rad_cuda_few_choose(rad_type type, uint64_t n_rows, uint32_t n_columns,
                                        uint32_t n_tokens, const rad_cuda_properties *properties);

/* The same product of one token whose blocks compute the norm of its input (rad_cuda_before); the
 * kernel is NULL where there is none for the type, or for two (last: of the last part, often the
 * same). few: of rad_cuda_few_choose(). */
rad_cuda_few_launch rad_cuda_normed_launch(rad_type type, rad_type last, uint32_t n_columns,
                                           rad_cuda_few_launch few);

/* The kernel of many tokens; NULL: none for this type. */
const rad_cuda_kernel *rad_cuda_many_kernel(rad_type type);

#endif
