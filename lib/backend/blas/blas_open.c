#include "backend/blas/blas_open.h"

#include <dlfcn.h>
#include <string.h>

#define OBJECT_NAME "libradllm-blas.so"

/* dlsym gives functions as object pointers; POSIX promises that this copy works. */
static void *find(void *object, const char *name, void *function, size_t size)
{
    void *symbol = dlsym(object, name);
    memcpy(function, &symbol, size);
    return symbol;
}

/* The loader's own words about what went wrong, as printable text. */
static const char *reason(char quoted[RAD_QUOTE_SIZE])
{
    const char *text = dlerror();
    if (text == NULL)
        text = "no reason given";
    return rad_quote(quoted, text, strlen(text));
}

radllm_status rad_blas_open_path(const char *path, rad_blas *out, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE], why[RAD_QUOTE_SIZE];
    rad_quote(quoted, path, strlen(path));
    if (path[0] != '/')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path '%s' is not absolute, and " OBJECT_NAME
                        " is opened by absolute path only; load libradllm by its whole path",
                        quoted);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (object == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "cannot open '%s': %s; install " OBJECT_NAME
                        " of this release (meson option blas) and OpenBLAS, or leave the option "
                        "fast at its default",
                        quoted, reason(why));

    const char *build_id = dlsym(object, RAD_BLAS_SYMBOL_BUILD_ID);
    rad_blas_description_fn describe = NULL;
    rad_blas blas = {NULL, NULL};
    if (build_id == NULL ||
        find(object, RAD_BLAS_SYMBOL_DESCRIPTION, &describe, sizeof describe) == NULL ||
        find(object, RAD_BLAS_SYMBOL_PRODUCT, &blas.product, sizeof blas.product) == NULL) {
        dlclose(object);
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "'%s' is not a " OBJECT_NAME " that this library knows; install the one of "
                        "release " RAD_PROJECT_VERSION,
                        quoted);
    }
    if (strncmp(build_id, RAD_BLAS_BUILD_ID, sizeof RAD_BLAS_BUILD_ID) != 0) {
        rad_quote(why, build_id, strnlen(build_id, RAD_QUOTE_SIZE));
        dlclose(object);
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "'%s' comes from build '%s', but this library is build '%s'; install both "
                        "from the same release",
                        quoted, why, RAD_BLAS_BUILD_ID);
    }
    blas.description = describe();
    *out = blas;
    return RADLLM_OK;
}

radllm_status rad_blas_open(rad_blas *out, radllm_error *error)
{
    static const char anchor = 0; /* its address tells where this library was loaded from */
    Dl_info info;
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == NULL || info.dli_fname[0] != '/')
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "cannot tell the directory that libradllm was loaded from, and " OBJECT_NAME
                        " is looked for there only; load libradllm by its whole path");
    size_t directory = (size_t)(strrchr(info.dli_fname, '/') - info.dli_fname) + 1;
    char path[4096];
    if (directory + sizeof OBJECT_NAME > sizeof path)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the path of the directory that libradllm was loaded from has %zu bytes; "
                        "at most %zu are possible",
                        directory, sizeof path - sizeof OBJECT_NAME);
    memcpy(path, info.dli_fname, directory);
    memcpy(path + directory, OBJECT_NAME, sizeof OBJECT_NAME);
    return rad_blas_open_path(path, out, error);
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
