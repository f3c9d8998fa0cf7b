/* The option fast=cublas: products of many tokens with F32, F16 and BF16 weights by cuBLAS, which
 * takes orders of additions of its own. All else of a step stays as it is. */
#include "backend/cuda/cuda.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/kernels_layer.h"

/* Fewer tokens are computed within the contract: the weights are read once for eight of them. An
 * estimate: not measured on a device. */
enum { LEAST_TOKENS = 16, BLOCK_ELEMENTS = 1024, MOST_GRID_ROWS = 65535 };

/* Others take memory of the same device meanwhile; no library that was seen takes more. */
#define MOST_BYTES ((uint64_t)1 << 30)

radllm_status rad_cuda_open_fast(rad_cuda *cuda, rad_cuda_gpu *gpu, radllm_error *error)
{
    rad_cuda_device *device = gpu->device;
    uint64_t before = 0, after = 0, all;
    char name[RAD_CUDA_GEMM_NAME] = "";
    radllm_status status = device->memory(device, &before, &all);
    if (status == RADLLM_OK)
        status = device->gemm_open(device, name);
    if (status == RADLLM_E_UNSUPPORTED) {
        char quoted[RAD_CUDA_MESSAGE_SIZE];
        rad_cuda_message(quoted, device->message);
        return rad_fail(error, status, "%s", quoted);
    }
    if (status == RADLLM_OK)
        status = device->memory(device, &after, &all);
    if (status != RADLLM_OK)
        return rad_cuda_failed(device, status, error);
    uint64_t taken = after < before ? before - after : 0;
    gpu->library_bytes = taken < MOST_BYTES ? taken : MOST_BYTES;
    memcpy(cuda->fast, name, sizeof cuda->fast);
    return RADLLM_OK;
}

radllm_status rad_cuda_use_fast(rad_cuda *cuda, radllm_error *error)
{
    rad_cuda_lock(cuda);
    radllm_status status = rad_cuda_open_fast(cuda, &cuda->gpus[0], error);
    rad_cuda_unlock(cuda);
    return status;
}

bool rad_cuda_is_fast(const rad_cuda_backend *b, rad_type type, const rad_cuda_product_part *parts,
                      uint32_t n_parts, uint32_t n_tokens)
{
    bool is = b->cuda->fast[0] != '\0' && n_tokens >= LEAST_TOKENS && n_tokens <= INT_MAX &&
              (type == RAD_TYPE_F32 || type == RAD_TYPE_F16 || type == RAD_TYPE_BF16);
    for (uint32_t i = 0; i < n_parts; i++) /* one of a matrix's own would be one more pass */
        is = is && parts[i].scales == NULL && parts[i].n_rows <= INT_MAX &&
             parts[i].y_stride <= INT_MAX;
    return is;
}

/* y += a row that stands `stride` further for each token. */
static radllm_status add(rad_cuda_device *device, const rad_cuda_product_part *part,
                         const float *other, uint32_t stride, uint32_t n_tokens)
{
    uint32_t n = part->n_rows, y_stride = (uint32_t)part->y_stride;
    rad_cuda_elements_arguments a = {.in = part->y,
                                     .other = other,
                                     .out = part->y,
                                     .in_stride = y_stride,
                                     .other_stride = stride,
                                     .out_stride = y_stride,
                                     .n = n,
                                     .n_rows = n_tokens,
                                     .kind = RAD_CUDA_ADD};
    rad_cuda_grid grid = {(n + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS,
                          n_tokens < MOST_GRID_ROWS ? n_tokens : MOST_GRID_ROWS, 1};
    return device->launch(device, &rad_cuda_kernel_elements, grid, 0, &a);
}

static uint32_t numbers_of(rad_type type)
{
    return type == RAD_TYPE_F32   ? RAD_CUDA_F32
           : type == RAD_TYPE_F16 ? RAD_CUDA_F16
                                  : RAD_CUDA_BF16;
}

static radllm_status run_part(rad_cuda_device *device, const rad_cuda_product_part *part,
                              rad_cuda_gemm gemm)
{
    gemm.w = part->weights;
    gemm.y = part->y;
    gemm.y_stride = part->y_stride;
    gemm.n_rows = part->n_rows;
    gemm.adds = part->add == part->y;
    radllm_status status = device->gemm(device, &gemm);
    if (status == RADLLM_OK && part->bias != NULL)
        status = add(device, part, part->bias, 0, gemm.n_tokens);
    if (status == RADLLM_OK && part->add != NULL && !gemm.adds)
        status = add(device, part, part->add, (uint32_t)part->y_stride, gemm.n_tokens);
    return status;
}

radllm_status rad_cuda_fast_product(rad_cuda_backend *b, rad_type type,
                                    const rad_cuda_product_part *parts, uint32_t n_parts,
                                    const void *x, uint64_t x_stride, uint32_t n_columns,
                                    uint32_t n_tokens)
{
    rad_cuda_gemm gemm = {.x = x,
                          .x_stride = x_stride,
                          .type = numbers_of(type),
                          .n_columns = n_columns,
                          .n_tokens = n_tokens};
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < n_parts && status == RADLLM_OK; i++)
        status = run_part(b->device, &parts[i], gemm);
    return status;
}
