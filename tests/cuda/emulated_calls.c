#include "cuda/emulated_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GEMM_BYTES ((uint64_t)5 << 20) /* what a library for products takes */

/* ---- copies --------------------------------------------------------------------------------- */

/* The host's side is read and written when the copy is made, as late as that is. */
static radllm_status put_copy(emulated *e, rad_cuda_stream stream, void *to, const void *from,
                              uint64_t size)
{
    operation *o = rad_emulated_put(e, stream, COPY, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->to = to;
    o->from = from;
    o->size = size;
    return RADLLM_OK;
}

/* What a copy between host and device begins with: the second address is the host's. */
static radllm_status check_host_copy(emulated *e, call_kind kind, rad_cuda_stream stream,
                                     const void *device_side, const void *host_side, uint64_t size,
                                     const char *what)
{
    const emulated *owner;
    radllm_status status =
        stream == RAD_CUDA_COMPUTE
            ? rad_emulated_enter_uncaptured(e, kind, "memory of the host is copied")
            : rad_emulated_enter(e, kind);
    if (status != RADLLM_OK || size == 0)
        return status;
    status = rad_emulated_check_range(e, device_side, size, what);
    const allocation *a = rad_emulated_find_any(host_side, false, &owner);
    if (status == RADLLM_OK && a != NULL && !a->host)
        status = rad_emulated_fail(e, RAD_CUDA_E_LOST, "%s: %p is memory of device %d", what,
                                   host_side, owner->index);
    return status;
}

static radllm_status upload(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                            const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = check_host_copy(e, UPLOAD, stream, to, from, size, "upload");
    return status != RADLLM_OK || size == 0 ? status : put_copy(e, stream, to, from, size);
}

static radllm_status download(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                              const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = check_host_copy(e, DOWNLOAD, stream, from, to, size, "download");
    return status != RADLLM_OK || size == 0 ? status : put_copy(e, stream, to, from, size);
}

static radllm_status copy(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size)
{
    emulated *e = of(device);
    uintptr_t a = (uintptr_t)to, b = (uintptr_t)from;
    radllm_status status = rad_emulated_enter(e, COPY_ON_DEVICE);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = rad_emulated_check_range(e, to, size, "copy")) != RADLLM_OK ||
        (status = rad_emulated_check_range(e, from, size, "copy")) != RADLLM_OK)
        return status;
    if ((a < b ? b - a : a - b) < size)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "copy: both sides overlap");
    return put_copy(e, stream, to, from, size);
}

uint64_t rad_emulated_peers(void)
{
    const char *text = getenv("RAD_EMULATED_PEERS");
    return text != NULL ? strtoull(text, NULL, 10) : PEERS_RIGHT;
}

static bool is_peer(const rad_cuda_device *device, const rad_cuda_device *other)
{
    return device != other && rad_emulated_peers() != PEERS_NONE;
}

static bool reaches(rad_cuda_device *device, rad_cuda_device *other)
{
    rad_emulated_enter_freely(of(device), "another device is made known");
    return is_peer(device, other);
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
    if (!is_peer(device, other))
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
