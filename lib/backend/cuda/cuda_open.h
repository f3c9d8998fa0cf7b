/* The CUDA backend lives in a shared object of its own, libradllm-cuda.so, which is opened beside
 * this library where it and a GPU are there. Nothing of CUDA is needed without. */
#ifndef RAD_CUDA_OPEN_H
#define RAD_CUDA_OPEN_H

#include "backend/cuda/cuda_interface.h"

/* Whether it is worth trying: the object lies beside the library and this system has a driver.
 * Nothing is loaded. */
bool rad_cuda_is_there(void);

/* Opens the object, which stays in memory until the process ends. RADLLM_E_UNSUPPORTED when it is
 * not there or comes from another build, naming the path and the remedy. */
radllm_status rad_cuda_open(const rad_cuda_table **out, radllm_error *error);
/* The same with the object's own, absolute path. */
radllm_status rad_cuda_open_path(const char *path, const rad_cuda_table **out, radllm_error *error);

/* What the object may call. */
extern const rad_cuda_library rad_cuda_own_library;

#endif
