/* cuBLAS, opened when it is wanted: nothing of it is needed to build or to run without. */
#ifndef RAD_BACKEND_CUDA_CUBLAS_H
#define RAD_BACKEND_CUDA_CUBLAS_H

#include "backend/cuda/device.h"

typedef struct rad_cublas rad_cublas;

/* Where it is looked for: names for the system's loader, and paths; NULL behind the last one. */
extern const char *const rad_cublas_names[];

/* Opens the first that there is, for one stream (a cudaStream_t). RADLLM_E_UNSUPPORTED where there
 * is none, it lacks a function, or cannot be used with this device or driver; message says why. The
 * object stays in memory until the process ends. */
radllm_status rad_cublas_open(const char *const *names, void *stream, rad_cublas **out,
                              char message[RAD_CUDA_MESSAGE_SIZE]);
/* "cuBLAS 13.1.0" */
void rad_cublas_name(const rad_cublas *blas, char name[RAD_CUDA_GEMM_NAME]);
/* Memory of the device for what it computes, aligned to 256: without, a captured graph would need
 * more of it at each replay. It stays the caller's, and outlives `blas`. The answer is as below. */
int rad_cublas_set_workspace(rad_cublas *blas, void *workspace, size_t bytes);
/* 0, or the library's number of what went wrong. Sizes and strides are at most INT_MAX. */
int rad_cublas_gemm(rad_cublas *blas, const rad_cuda_gemm *gemm);
const char *rad_cublas_status(const rad_cublas *blas, int status);
/* destroy: false where the device is lost, and no call of its library may be made. */
void rad_cublas_close(rad_cublas *blas, bool destroy);

#endif
