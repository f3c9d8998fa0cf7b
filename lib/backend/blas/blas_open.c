#include "backend/blas/blas_open.h"

#include "base/object.h"

static const rad_object_kind blas_object = {
    "libradllm-blas.so", RAD_BLAS_SYMBOL_BUILD_ID, RAD_BLAS_BUILD_ID,
    "install libradllm-blas.so of this release (meson option blas) and OpenBLAS, or leave the "
    "option fast at its default"};

radllm_status rad_blas_open_path(const char *path, rad_blas *out, radllm_error *error)
{
    rad_blas_description_fn describe = NULL;
    rad_blas blas = {NULL, NULL};
    void *object;
    radllm_status status = rad_object_open(&blas_object, path, &object, error);
    if (status != RADLLM_OK)
        return status;
    if (!rad_object_function(object, RAD_BLAS_SYMBOL_DESCRIPTION, &describe, sizeof describe) ||
        !rad_object_function(object, RAD_BLAS_SYMBOL_PRODUCT, &blas.product, sizeof blas.product))
        return rad_object_refuse(&blas_object, path, object, error);
    blas.description = describe();
    *out = blas;
    return RADLLM_OK;
}

radllm_status rad_blas_open(rad_blas *out, radllm_error *error)
{
    char path[RAD_OBJECT_PATH_SIZE];
    radllm_status status = rad_object_path(&blas_object, path, error);
    return status == RADLLM_OK ? rad_blas_open_path(path, out, error) : status;
}

radllm_status rad_blas_product(const rad_blas *blas, const float *w, size_t n_rows,
                               size_t n_columns, const float *x, size_t n_tokens, float *y,
                               size_t y_stride, radllm_error *error)
{
    if (blas->product(w, n_rows, n_columns, x, n_tokens, y, y_stride) != 0)
        return rad_fail(
            error, RADLLM_E_LIMIT,
            "a product of %zu x %zu weights with %zu tokens is larger than BLAS counts; "
            "leave the option fast at its default",
            n_rows, n_columns, n_tokens);
    return RADLLM_OK;
}
