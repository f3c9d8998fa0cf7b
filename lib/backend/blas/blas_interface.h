/* What libradllm-blas.so gives to the library: the only header that both sides include. */
#ifndef RAD_BLAS_INTERFACE_H
#define RAD_BLAS_INTERFACE_H

#include <stddef.h>
#include <stdint.h>

/* Both sides are compiled with the same text: the release, and a number that changes with what
 * stands here. */
#define RAD_BLAS_BUILD_ID RAD_PROJECT_VERSION " interface 1"

/* Names of the object's symbols. */
#define RAD_BLAS_SYMBOL_BUILD_ID    "radllm_blas_build_id"    /* const char [] */
#define RAD_BLAS_SYMBOL_DESCRIPTION "radllm_blas_description" /* const char *(void) */
#define RAD_BLAS_SYMBOL_PRODUCT     "radllm_blas_product_f32"

/* y = x W^T in F32: w has n_rows rows, x n_tokens rows, both of n_columns contiguous floats; row t
 * of y begins at t * y_stride. Returns 0, or 1 when a size does not fit BLAS. */
typedef int32_t (*rad_blas_product_fn)(const float *w, size_t n_rows, size_t n_columns,
                                       const float *x, size_t n_tokens, float *y, size_t y_stride);
typedef const char *(*rad_blas_description_fn)(void);

#endif
