/* libradllm-blas.so: matrix products by OpenBLAS, for blas_open.c. */
#include "backend/blas/blas_interface.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED extern const char radllm_blas_build_id[];
EXPORTED const char *radllm_blas_description(void);
EXPORTED int32_t radllm_blas_product_f32(const float *w, size_t n_rows, size_t n_columns,
                                         const float *x, size_t n_tokens, float *y,
                                         size_t y_stride);

const char radllm_blas_build_id[] = RAD_BLAS_BUILD_ID;

const char *radllm_blas_description(void)
{
    return openblas_get_config();
}

int32_t radllm_blas_product_f32(const float *w, size_t n_rows, size_t n_columns, const float *x,
                                size_t n_tokens, float *y, size_t y_stride)
{
    if (n_rows > INT_MAX || n_columns > INT_MAX || n_tokens > INT_MAX || y_stride > INT_MAX)
        return 1;
    if (n_rows == 0 || n_tokens == 0)
        return 0;
    if (n_columns == 0) { /* BLAS wants a row length of at least 1 */
        for (size_t t = 0; t < n_tokens; t++)
            memset(y + t * y_stride, 0, n_rows * sizeof *y);
        return 0;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n_tokens, (blasint)n_rows,
                (blasint)n_columns, 1.0f, x, (blasint)n_columns, w, (blasint)n_columns, 0.0f, y,
                (blasint)y_stride);
    return 0;
}
