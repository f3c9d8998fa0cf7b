#include "cuda/emulated_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GEMM_BYTES ((uint64_t)5 << 20) /* what a library for products takes */

/* ---- copies --------------------------------------------------------------------------------- */

static radllm_status put_copy(emulated *e, rad_cuda_stream stream, void *to, const void *from,
                              uint64_t size, bool keep_source)
{
    operation *o =
        rad_emulated_put(e, stream, COPY, keep_source ? from : NULL, keep_source ? size : 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->to = to;
    o->from = keep_source ? NULL : from;
    o->size = size;
    return RADLLM_OK;
}

static radllm_status upload(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                            const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, UPLOAD);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = rad_emulated_check_range(e, to, size, "upload")) != RADLLM_OK)
        return status;
    const emulated *owner;
    const allocation *a = rad_emulated_find_any(from, false, &owner);
    if (a != NULL && !a->host)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "upload: %p is memory of device %d", from,
                                 owner->index);
    return put_copy(e, stream, to, from, size, a == NULL);
}

static radllm_status download(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                              const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, DOWNLOAD);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = rad_emulated_check_range(e, from, size, "download")) != RADLLM_OK)
        return status;
    return put_copy(e, stream, to, from, size, false);
}

static radllm_status copy(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, COPY_ON_DEVICE);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = rad_emulated_check_range(e, to, size, "copy")) != RADLLM_OK ||
        (status = rad_emulated_check_range(e, from, size, "copy")) != RADLLM_OK)
        return status;
    return put_copy(e, stream, to, from, size, false);
}

static bool reaches(rad_cuda_device *device, rad_cuda_device *other)
{
    const char *text = getenv("RAD_EMULATED_PEERS");
    return device != other && (text == NULL || strcmp(text, "0") != 0);
}

static radllm_status copy_from(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                               rad_cuda_device *other, const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status =
        stream == RAD_CUDA_COMPUTE
            ? rad_emulated_enter_uncaptured(e, COPY_FROM, "another device is copied from")
            : rad_emulated_enter(e, COPY_FROM);
    if (status != RADLLM_OK || size == 0)
        return status;
    if (!reaches(device, other))
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "device %d cannot be copied from",
                                 of(other)->index);
    if ((status = rad_emulated_check_range(e, to, size, "copy")) != RADLLM_OK)
        return status;
    const allocation *a = rad_emulated_find(of(other), from, false);
    if (a == NULL || a->host || size > a->size - (uint64_t)((const uint8_t *)from - a->data))
        return rad_emulated_fail(e, RAD_CUDA_E_LOST,
                                 "copy: %p is no memory of device %d, or not %llu bytes", from,
                                 of(other)->index, (unsigned long long)size);
    operation *o = rad_emulated_put(e, stream, COPY, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->to = to;
    o->from = from;
    o->size = size;
    o->other = of(other);
    return RADLLM_OK;
}

static radllm_status fill(rad_cuda_device *device, rad_cuda_stream stream, void *to, uint8_t value,
                          uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, FILL_DEVICE);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = rad_emulated_check_range(e, to, size, "fill")) != RADLLM_OK)
        return status;
    operation *o = rad_emulated_put(e, stream, FILL, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->to = to;
    o->value = value;
    o->size = size;
    return RADLLM_OK;
}

static radllm_status launch(rad_cuda_device *device, const rad_cuda_kernel *kernel,
                            rad_cuda_grid grid, uint32_t dynamic_shared_bytes,
                            const void *arguments)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, LAUNCH_KERNEL);
    if (status != RADLLM_OK || grid.x == 0 || grid.y == 0 || grid.z == 0)
        return status;
    if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        dynamic_shared_bytes > device->properties.shared_bytes)
        return rad_emulated_fail(
            e, RAD_CUDA_E_LOST,
            "kernel %s cannot be launched: grid (%u, %u, %u), %u bytes of shared memory",
            kernel->name, grid.x, grid.y, grid.z, dynamic_shared_bytes);
    operation *o = rad_emulated_put(e, RAD_CUDA_COMPUTE, LAUNCH, arguments, kernel->argument_bytes);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->kernel = kernel;
    o->grid[0] = grid.x;
    o->grid[1] = grid.y;
    o->grid[2] = grid.z;
    o->dynamic_shared_bytes = dynamic_shared_bytes;
    return RADLLM_OK;
}

/* ---- products by a library ----------------------------------------------------------------- */

static radllm_status gemm_open(rad_cuda_device *device, char name[RAD_CUDA_GEMM_NAME])
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter_uncaptured(e, GEMM_OPEN, "a library is opened");
    if (status == RADLLM_OK && e->gemm == 0)
        status = rad_emulated_fail(e, RADLLM_E_UNSUPPORTED, "no emulated library was asked for");
    if (status != RADLLM_OK)
        return status;
    e->used += GEMM_BYTES;
    e->has_gemm = true;
    snprintf(name, RAD_CUDA_GEMM_NAME, "emulated products");
    return RADLLM_OK;
}

static uint64_t number_bytes(uint32_t type)
{
    return type == RAD_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
}

static uint64_t span_of(uint32_t n, uint64_t stride, uint32_t last)
{
    return n == 0 ? 0 : (n - 1) * stride + last;
}

static radllm_status gemm(rad_cuda_device *device, const rad_cuda_gemm *g)
{
    emulated *e = of(device);
    uint64_t bytes = number_bytes(g->type);
    radllm_status status = rad_emulated_enter(e, GEMM_CALL);
    if (status == RADLLM_OK && (!e->has_gemm || e->gemm == 2))
        status = rad_emulated_fail(e, RAD_CUDA_E_LOST,
                                   "the library for products failed (as the test asked)");
    if (status == RADLLM_OK)
        status = rad_emulated_check_range(e, g->w, bytes * g->n_rows * g->n_columns,
                                          "weights of a product");
    if (status == RADLLM_OK)
        status = rad_emulated_check_range(
            e, g->x, bytes * span_of(g->n_tokens, g->x_stride, g->n_columns), "input of a product");
    if (status == RADLLM_OK)
        status = rad_emulated_check_range(
            e, g->y, sizeof(float) * span_of(g->n_tokens, g->y_stride, g->n_rows),
            "output of a product");
    if (status == RADLLM_OK && rad_emulated_put(e, RAD_CUDA_COMPUTE, GEMM, g, sizeof *g) == NULL)
        status = rad_emulated_no_memory(e);
    return status;
}

/* ---- the table ------------------------------------------------------------------------------ */

void rad_emulated_work_calls(rad_cuda_device *device)
{
    device->upload = upload;
    device->download = download;
    device->copy = copy;
    device->fill = fill;
    device->reaches = reaches;
    device->copy_from = copy_from;
    device->launch = launch;
    device->gemm_open = gemm_open;
    device->gemm = gemm;
}
