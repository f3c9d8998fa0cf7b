/* OpenBLAS for unquantized products, outside the numeric contract: it chooses the order of
 * additions by the machine, reads the environment and keeps threads of its own. Therefore it lives
 * in a shared object of its own, which is opened only when the option `fast` asks for it. */
#ifndef RAD_BLAS_OPEN_H
#define RAD_BLAS_OPEN_H

#include "base/base.h"
#include "backend/blas/blas_interface.h"

/* An opened object. Immutable; any number of threads may multiply at the same time. The object
 * stays in memory until the process ends: its threads could not be told apart from the host's. */
typedef struct rad_blas {
    rad_blas_product_fn product;
    const char *description; /* what it is and for which CPU, for the record of a run */
} rad_blas;

/* Opens libradllm-blas.so in the directory that this library was loaded from; no other place is
 * looked at. RADLLM_E_UNSUPPORTED when it is not there or comes from another build,
 * naming the path and the remedy. */
radllm_status rad_blas_open(rad_blas *out, radllm_error *error);

/* The same with the object's own, absolute path. */
radllm_status rad_blas_open_path(const char *path, rad_blas *out, radllm_error *error);

/* y[t * y_stride + r] = sum over k of x[t * n_columns + k] * w[r * n_columns + k]; strides in
 * floats, y_stride >= n_rows. RADLLM_E_LIMIT when a size is beyond what BLAS counts with (2^31 -
 * 1). */
radllm_status rad_blas_product(const rad_blas *blas, const float *w, size_t n_rows,
                               size_t n_columns, const float *x, size_t n_tokens, float *y,
                               size_t y_stride, radllm_error *error);

#endif
