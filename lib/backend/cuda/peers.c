/* Whether a GPU can copy from another one's memory: asked of the driver, and tried, since on some
 * boards the copies that it allows do not arrive as they were (translation of addresses between the
 * slots). */
#include "backend/cuda/cuda.h"

#include <string.h>

enum { TRIED_BYTES = 4096 };

/* Copies bytes from the one to the other, and what arrived back here. */
static radllm_status send(rad_cuda_device *device, rad_cuda_device *other, const uint8_t *bytes,
                          void *from, void *to, uint8_t *got)
{
    radllm_status status = other->upload(other, RAD_CUDA_COMPUTE, from, bytes, TRIED_BYTES);
    if (status == RADLLM_OK)
        status = other->synchronize(other, RAD_CUDA_COMPUTE);
    if (status == RADLLM_OK)
        status = device->copy_from(device, RAD_CUDA_COMPUTE, to, other, from, TRIED_BYTES);
    if (status == RADLLM_OK)
        status = device->download(device, RAD_CUDA_COMPUTE, got, to, TRIED_BYTES);
    return status == RADLLM_OK ? device->synchronize(device, RAD_CUDA_COMPUTE) : status;
}

bool rad_cuda_reaches(rad_cuda_device *device, rad_cuda_device *other)
{
    uint8_t bytes[TRIED_BYTES], got[TRIED_BYTES] = {0};
    void *from = NULL, *to = NULL;
    if (!device->reaches(device, other))
        return false;
    for (uint32_t i = 0; i < TRIED_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256 + 1);
    radllm_status status = other->alloc(other, TRIED_BYTES, &from);
    if (status == RADLLM_OK)
        status = device->alloc(device, TRIED_BYTES, &to);
    if (status == RADLLM_OK)
        status = send(device, other, bytes, from, to, got);
    if (from != NULL)
        (void)other->free(other, from);
    if (to != NULL)
        (void)device->free(device, to);
    return status == RADLLM_OK && memcmp(bytes, got, TRIED_BYTES) == 0;
}
