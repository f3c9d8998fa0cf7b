#include "backend/cuda/cublas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/kernels_layer.h"

/* Numbers of cuBLAS's documentation, the same in versions 12 and 13. */
enum {
    OP_N = 0,
    OP_T = 1,
    R_32F = 0,
    R_16F = 2,
    R_16BF = 14,
    COMPUTE_32F = 68, /* no TF32: that is a mode of its own */
    GEMM_DEFAULT = -1,
    EXACT_REDUCTIONS = 16, /* parts of a sum are added in 32 bits, never in 16 */
    MAJOR_VERSION = 0,
    MINOR_VERSION = 1,
    PATCH_LEVEL = 2
};

const char *const rad_cublas_names[] = {"libcublas.so.13", "libcublas.so.12",
                                        "/usr/local/cuda/lib64/libcublas.so.13",
                                        "/usr/local/cuda/lib64/libcublas.so.12", NULL};

struct rad_cublas {
    void *handle;
    int version[3];
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*get_property)(int type, int *value);
    int (*set_stream)(void *handle, void *stream);
    int (*set_workspace)(void *handle, void *workspace, size_t bytes);
    int (*set_math_mode)(void *handle, int mode);
    const char *(*get_status_string)(int status);
    int (*gemm_ex)(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha,
                   const void *a, int type_a, int lda, const void *b, int type_b, int ldb,
                   const void *beta, void *c, int type_c, int ldc, int compute, int algorithm);
};

/* dlsym gives functions as object pointers; POSIX promises that this copy works. */
static bool find(void *object, const char *name, void *function)
{
    void *symbol = dlsym(object, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool find_all(void *object, rad_cublas *blas)
{
    return find(object, "cublasCreate_v2", &blas->create) &&
           find(object, "cublasDestroy_v2", &blas->destroy) &&
           find(object, "cublasGetProperty", &blas->get_property) &&
           find(object, "cublasSetStream_v2", &blas->set_stream) &&
           find(object, "cublasSetWorkspace_v2", &blas->set_workspace) &&
           find(object, "cublasSetMathMode", &blas->set_math_mode) &&
           find(object, "cublasGetStatusString", &blas->get_status_string) &&
           find(object, "cublasGemmEx", &blas->gemm_ex);
}

/* NULL: none of them can be opened; message then names the first. */
static void *open_first(const char *const *names, char message[RAD_CUDA_MESSAGE_SIZE])
{
    message[0] = '\0';
    for (; *names != NULL; names++) {
        /* It keeps threads and handlers of its own, which must not lose their code. */
        void *object = dlopen(*names, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (object != NULL)
            return object;
        const char *why = dlerror();
        if (message[0] == '\0')
            snprintf(message, RAD_CUDA_MESSAGE_SIZE, "cuBLAS cannot be opened: %s",
                     why != NULL ? why : "no reason given");
    }
    return NULL;
}

static int prepare(rad_cublas *blas, void *stream)
{
    static const int properties[] = {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
    int status = 0;
    for (int i = 0; i < 3 && status == 0; i++)
        status = blas->get_property(properties[i], &blas->version[i]);
    if (status == 0)
        status = blas->create(&blas->handle);
    if (status == 0)
        status = blas->set_stream(blas->handle, stream);
    return status == 0 ? blas->set_math_mode(blas->handle, EXACT_REDUCTIONS) : status;
}

radllm_status rad_cublas_open(const char *const *names, void *stream, rad_cublas **out,
                              char message[RAD_CUDA_MESSAGE_SIZE])
{
    *out = NULL;
    void *object = open_first(names, message);
    if (object == NULL)
        return RADLLM_E_UNSUPPORTED;
    rad_cublas *blas = calloc(1, sizeof *blas);
    if (blas == NULL) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "out of the host's memory");
        return RADLLM_E_MEMORY;
    }
    if (!find_all(object, blas)) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "cuBLAS lacks a function that is needed of it");
        free(blas);
        return RADLLM_E_UNSUPPORTED;
    }
    int status = prepare(blas, stream);
    if (status != 0) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "cuBLAS %d.%d.%d cannot be used here: %s",
                 blas->version[0], blas->version[1], blas->version[2],
                 rad_cublas_status(blas, status));
        rad_cublas_close(blas, true);
        return RADLLM_E_UNSUPPORTED;
    }
    *out = blas;
    return RADLLM_OK;
}

void rad_cublas_name(const rad_cublas *blas, char name[RAD_CUDA_GEMM_NAME])
{
    snprintf(name, RAD_CUDA_GEMM_NAME, "cuBLAS %d.%d.%d", blas->version[0], blas->version[1],
             blas->version[2]);
}

int rad_cublas_set_workspace(rad_cublas *blas, void *workspace, size_t bytes)
{
    return blas->set_workspace(blas->handle, workspace, bytes);
}

int rad_cublas_gemm(rad_cublas *blas, const rad_cuda_gemm *gemm)
{
    const float alpha = 1.0f, beta = gemm->adds ? 1.0f : 0.0f;
    int type = gemm->type == RAD_CUDA_F32 ? R_32F : gemm->type == RAD_CUDA_F16 ? R_16F : R_16BF;
    /* BLAS has columns behind each other: our rows of w are the columns of its A, which is
     * transposed, those of x of its B, and those of y of its C. */
    return blas->gemm_ex(blas->handle, OP_T, OP_N, (int)gemm->n_rows, (int)gemm->n_tokens,
                         (int)gemm->n_columns, &alpha, gemm->w, type, (int)gemm->n_columns, gemm->x,
                         type, (int)gemm->x_stride, &beta, gemm->y, R_32F, (int)gemm->y_stride,
                         COMPUTE_32F, GEMM_DEFAULT);
}

const char *rad_cublas_status(const rad_cublas *blas, int status)
{
    const char *text = blas->get_status_string(status);
    return text != NULL ? text : "an unknown status";
}

void rad_cublas_close(rad_cublas *blas, bool destroy)
{
    if (blas == NULL)
        return;
    if (blas->handle != NULL && destroy)
        (void)blas->destroy(blas->handle);
    free(blas);
}
