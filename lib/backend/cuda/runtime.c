/* The device by the CUDA runtime, which is linked statically: it opens the driver itself, so that a
 * machine without one gets a message and nothing else. */
#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cublas.h"
#include "backend/cuda/device.h"

enum {
    LEAST_CAPABILITY = 75, /* of the PTX that every build has */
    WAITING_PTX = 90,      /* kernels compiled for less do not wait themselves */
    /* For cuBLAS, as its documentation advises; from compute capability 9.0 on, and before. */
    WORKSPACE_BYTES = 32 << 20,
    OLD_WORKSPACE_BYTES = 4 << 20,
};

typedef struct runtime {
    rad_cuda_device device; /* first */
    int index;
    bool overlaps; /* kernels wait for those before them themselves (rad_wait_for_earlier()) */
    cudaStream_t streams[RAD_CUDA_STREAMS];
    rad_cublas *blas; /* NULL: not opened */
    void *workspace;  /* its own */
} runtime;

static runtime *of(rad_cuda_device *device)
{
    return (runtime *)(void *)device;
}

/* ---- errors ------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static radllm_status fail(runtime *r, radllm_status status,
                                                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->device.message, sizeof r->device.message, format, arguments);
    va_end(arguments);
    if (status == RAD_CUDA_E_LOST)
        r->device.lost = true;
    return status;
}

/* The answer of a call of the runtime; what is no success ends the device. */
static radllm_status answer(runtime *r, cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return RADLLM_OK;
    (void)cudaGetLastError();
    return fail(r, RAD_CUDA_E_LOST, "CUDA device %d (%s): %s: %s (%s)", r->index,
                r->device.properties.name, what, cudaGetErrorString(error),
                cudaGetErrorName(error));
}

/* The same where too little memory is no more than that. */
static radllm_status answer_memory(runtime *r, cudaError_t error, const char *what, uint64_t size)
{
    if (error != cudaErrorMemoryAllocation)
        return answer(r, error, what);
    (void)cudaGetLastError();
    char bytes[40] = "";
    if (size > 0)
        snprintf(bytes, sizeof bytes, " for %llu bytes", (unsigned long long)size);
    return fail(r, RADLLM_E_MEMORY, "CUDA device %d (%s): %s: out of memory%s", r->index,
                r->device.properties.name, what, bytes);
}

/* What every call begins with: the calling thread may have used another device. */
static radllm_status enter(runtime *r)
{
    if (r->device.lost)
        return RAD_CUDA_E_LOST; /* the message of the first failure stays */
    return answer(r, cudaSetDevice(r->index), "the device cannot be used");
}

/* ---- the thread ----------------------------------------------------------------------------- */

/* A function of the driver itself, since the runtime cannot give a thread nothing back: 0 is that,
 * and what answers where the driver does not have it. Its address is kept once it is found. */
typedef struct driver_call {
    const char *name;
    atomic_uintptr_t address;
} driver_call;

static int call_driver(driver_call *call, void *argument)
{
    uintptr_t address = atomic_load_explicit(&call->address, memory_order_relaxed);
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void *symbol = NULL;
    int (*function)(void *);
    if (address == 0) {
        if (cudaGetDriverEntryPointByVersion(call->name, &symbol, 4000, cudaEnableDefault,
                                             &found) != cudaSuccess ||
            found != cudaDriverEntryPointSuccess || symbol == NULL) {
            (void)cudaGetLastError();
            return -1;
        }
        address = (uintptr_t)symbol;
        atomic_store_explicit(&call->address, address, memory_order_relaxed);
    }
    memcpy(&function, &address, sizeof function);
    return function(argument);
}

uintptr_t rad_cuda_thread_context(void)
{
    static driver_call get = {.name = "cuCtxGetCurrent"};
    void *context = NULL;
    return call_driver(&get, &context) == 0 ? (uintptr_t)context : 0;
}

void rad_cuda_restore_thread(uintptr_t context)
{
    static driver_call set = {.name = "cuCtxSetCurrent"};
    (void)call_driver(&set, (void *)context);
}

/* ---- memory ------------------------------------------------------------------------------- */

static radllm_status memory(rad_cuda_device *device, uint64_t *free_bytes, uint64_t *all_bytes)
{
    runtime *r = of(device);
    *free_bytes = *all_bytes = 0;
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    size_t free_size = 0, all_size = 0;
    status = answer(r, cudaMemGetInfo(&free_size, &all_size), "asking for free memory");
    *free_bytes = free_size;
    *all_bytes = all_size;
    return status;
}

static radllm_status alloc_device(rad_cuda_device *device, uint64_t size, void **pointer)
{
    runtime *r = of(device);
    *pointer = NULL;
    radllm_status status = enter(r);
    if (status != RADLLM_OK || size == 0)
        return status;
    status = answer_memory(r, cudaMalloc(pointer, size), "allocating memory", size);
    if (status != RADLLM_OK)
        *pointer = NULL;
    return status;
}

/* What is freed is tried on a lost device as well: where only a call failed, it is still taken. */
static bool can_free(runtime *r)
{
    return r->device.lost ? cudaSetDevice(r->index) == cudaSuccess : enter(r) == RADLLM_OK;
}

static radllm_status freed(runtime *r, cudaError_t error, const char *what)
{
    if (!r->device.lost)
        return answer(r, error, what);
    (void)cudaGetLastError();
    return RAD_CUDA_E_LOST; /* the message of the first failure stays */
}

static radllm_status free_device(rad_cuda_device *device, void *pointer)
{
    runtime *r = of(device);
    if (!can_free(r))
        return RAD_CUDA_E_LOST;
    return freed(r, pointer != NULL ? cudaFree(pointer) : cudaSuccess, "freeing memory");
}

static radllm_status alloc_host(rad_cuda_device *device, uint64_t size, void **pointer)
{
    runtime *r = of(device);
    *pointer = NULL;
    radllm_status status = enter(r);
    if (status != RADLLM_OK || size == 0)
        return status;
    status = answer_memory(r, cudaHostAlloc(pointer, size, cudaHostAllocPortable),
                           "allocating pinned memory of the host", size);
    if (status != RADLLM_OK)
        *pointer = NULL;
    return status;
}

/* The memory is the host's, and freed whatever became of the device. */
static radllm_status free_host(rad_cuda_device *device, void *pointer)
{
    runtime *r = of(device);
    (void)can_free(r);
    return freed(r, pointer != NULL ? cudaFreeHost(pointer) : cudaSuccess,
                 "freeing pinned memory of the host");
}

/* ---- work on streams ------------------------------------------------------------------------ */

static radllm_status move(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size, enum cudaMemcpyKind kind,
                          const char *what)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK || size == 0)
        return status;
    return answer(r, cudaMemcpyAsync(to, from, size, kind, r->streams[stream]), what);
}

static radllm_status upload(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                            const void *from, uint64_t size)
{
    return move(device, stream, to, from, size, cudaMemcpyHostToDevice, "copying to the device");
}

static radllm_status download(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                              const void *from, uint64_t size)
{
    return move(device, stream, to, from, size, cudaMemcpyDeviceToHost, "copying from the device");
}

static radllm_status copy(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size)
{
    return move(device, stream, to, from, size, cudaMemcpyDeviceToDevice, "copying on the device");
}

static bool reaches(rad_cuda_device *device, rad_cuda_device *other)
{
    runtime *r = of(device);
    int can = 0;
    if (enter(r) != RADLLM_OK ||
        cudaDeviceCanAccessPeer(&can, r->index, of(other)->index) != cudaSuccess || can == 0) {
        (void)cudaGetLastError();
        return false;
    }
    cudaError_t error = cudaDeviceEnablePeerAccess(of(other)->index, 0);
    (void)cudaGetLastError();
    return error == cudaSuccess || error == cudaErrorPeerAccessAlreadyEnabled;
}

static radllm_status copy_from(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                               rad_cuda_device *other, const void *from, uint64_t size)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK || size == 0)
        return status;
    return answer(
        r, cudaMemcpyPeerAsync(to, r->index, from, of(other)->index, size, r->streams[stream]),
        "copying from another device");
}

static radllm_status fill(rad_cuda_device *device, rad_cuda_stream stream, void *to, uint8_t value,
                          uint64_t size)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK || size == 0)
        return status;
    return answer(r, cudaMemsetAsync(to, value, size, r->streams[stream]), "filling memory");
}

/* The runtime names a kernel by the address of its stub, as a pointer to data. */
static const void *entry_of(const rad_cuda_kernel *kernel)
{
    const void *entry;
    memcpy(&entry, &kernel->entry, sizeof entry);
    return entry;
}

/* Of a launch, and of what is set before one. Where the device does not have what was asked for,
 * that is said. A kernel's code is loaded when it is first launched, for which there may be no
 * memory. */
static radllm_status answer_launch(runtime *r, cudaError_t error, const rad_cuda_kernel *kernel,
                                   rad_cuda_grid grid, uint32_t dynamic_shared_bytes)
{
    if (error != cudaErrorInvalidValue && error != cudaErrorInvalidConfiguration &&
        error != cudaErrorLaunchOutOfResources)
        return answer_memory(r, error, kernel->name, 0);
    (void)cudaGetLastError();
    return fail(r, RAD_CUDA_E_LOST,
                "CUDA device %d (%s) does not take kernel %s with %u x %u x %u blocks of %u "
                "threads and %u bytes "
                "of dynamic shared memory (a block can have %u in all): %s (%s)",
                r->index, r->device.properties.name, kernel->name, grid.x, grid.y, grid.z,
                kernel->threads, dynamic_shared_bytes, r->device.properties.shared_bytes,
                cudaGetErrorString(error), cudaGetErrorName(error));
}

static radllm_status launch(rad_cuda_device *device, const rad_cuda_kernel *kernel,
                            rad_cuda_grid grid, uint32_t dynamic_shared_bytes,
                            const void *arguments)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK || grid.x == 0 || grid.y == 0 || grid.z == 0)
        return status;
    const void *entry = entry_of(kernel);
    if (dynamic_shared_bytes > RAD_CUDA_USUAL_DYNAMIC) {
        cudaError_t error = cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 (int)dynamic_shared_bytes);
        if (error != cudaSuccess)
            return answer_launch(r, error, kernel, grid, dynamic_shared_bytes);
    }
    cudaLaunchAttribute early = {.id = cudaLaunchAttributeProgrammaticStreamSerialization,
                                 .val.programmaticStreamSerializationAllowed = 1};
    cudaLaunchConfig_t config = {.gridDim = {grid.x, grid.y, grid.z},
                                 .blockDim = {kernel->threads, 1, 1},
                                 .dynamicSmemBytes = dynamic_shared_bytes,
                                 .stream = r->streams[RAD_CUDA_COMPUTE],
                                 .attrs = &early,
                                 .numAttrs = r->overlaps ? 1 : 0};
    void *parameters[1] = {(void *)(uintptr_t)arguments};
    return answer_launch(r, cudaLaunchKernelExC(&config, entry, parameters), kernel, grid,
                         dynamic_shared_bytes);
}

static radllm_status synchronize(rad_cuda_device *device, rad_cuda_stream stream)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaStreamSynchronize(r->streams[stream]), "computing");
}

/* ---- events --------------------------------------------------------------------------------- */

static cudaEvent_t event_of(rad_cuda_event *event)
{
    return (cudaEvent_t)(void *)event;
}

static radllm_status event_new(rad_cuda_device *device, rad_cuda_event **event)
{
    runtime *r = of(device);
    *event = NULL;
    radllm_status status = enter(r);
    cudaEvent_t made = NULL;
    if (status == RADLLM_OK)
        status = answer_memory(r, cudaEventCreate(&made), "making an event", sizeof made);
    if (status == RADLLM_OK)
        *event = (rad_cuda_event *)(void *)made;
    return status;
}

static void event_free(rad_cuda_device *device, rad_cuda_event *event)
{
    if (event != NULL && can_free(of(device)))
        (void)freed(of(device), cudaEventDestroy(event_of(event)), "freeing an event");
}

static radllm_status event_record(rad_cuda_device *device, rad_cuda_event *event,
                                  rad_cuda_stream stream)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaEventRecord(event_of(event), r->streams[stream]), "recording an event");
}

static radllm_status stream_wait(rad_cuda_device *device, rad_cuda_stream stream,
                                 rad_cuda_event *event)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaStreamWaitEvent(r->streams[stream], event_of(event), 0),
                  "waiting for an event");
}

static radllm_status event_wait(rad_cuda_device *device, rad_cuda_event *event)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaEventSynchronize(event_of(event)), "computing");
}

static radllm_status event_reached(rad_cuda_device *device, rad_cuda_event *event, bool *reached)
{
    runtime *r = of(device);
    *reached = false;
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    cudaError_t error = cudaEventQuery(event_of(event));
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return RADLLM_OK;
    }
    *reached = error == cudaSuccess;
    return answer(r, error, "computing");
}

static radllm_status event_milliseconds(rad_cuda_device *device, rad_cuda_event *from,
                                        rad_cuda_event *to, float *milliseconds)
{
    runtime *r = of(device);
    *milliseconds = 0;
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaEventElapsedTime(milliseconds, event_of(from), event_of(to)),
                  "asking for a time");
}

/* ---- graphs --------------------------------------------------------------------------------- */

static cudaGraphExec_t graph_of(rad_cuda_graph *graph)
{
    return (cudaGraphExec_t)(void *)graph;
}

static radllm_status capture_begin(rad_cuda_device *device)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(
        r, cudaStreamBeginCapture(r->streams[RAD_CUDA_COMPUTE], cudaStreamCaptureModeThreadLocal),
        "beginning to capture a graph");
}

/* Where a call in between failed, too: a thread that captures can free nothing. */
static radllm_status capture_end(rad_cuda_device *device, rad_cuda_graph **graph)
{
    runtime *r = of(device);
    cudaGraph_t captured = NULL;
    cudaGraphExec_t made = NULL;
    *graph = NULL;
    radllm_status status = can_free(r) ? RADLLM_OK : RAD_CUDA_E_LOST;
    if (status != RADLLM_OK)
        return status;
    cudaError_t error = cudaStreamEndCapture(r->streams[RAD_CUDA_COMPUTE], &captured);
    if (device->lost) {
        if (error == cudaSuccess && captured != NULL)
            (void)cudaGraphDestroy(captured);
        return freed(r, error, "capturing a graph");
    }
    if (error == cudaErrorStreamCaptureInvalidated || error == cudaErrorStreamCaptureUnjoined) {
        (void)cudaGetLastError();
        return fail(r, RADLLM_E_STATE, "a forbidden call ended the capture of a graph: %s",
                    cudaGetErrorString(error));
    }
    status = answer(r, error, "capturing a graph");
    if (status == RADLLM_OK)
        status = answer_memory(r, cudaGraphInstantiate(&made, captured, 0), "making a graph", 0);
    if (captured != NULL)
        (void)cudaGraphDestroy(captured);
    if (status == RADLLM_OK)
        *graph = (rad_cuda_graph *)(void *)made;
    return status;
}

static radllm_status graph_launch(rad_cuda_device *device, rad_cuda_graph *graph)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    return answer(r, cudaGraphLaunch(graph_of(graph), r->streams[RAD_CUDA_COMPUTE]),
                  "launching a graph");
}

static void graph_free(rad_cuda_device *device, rad_cuda_graph *graph)
{
    if (graph != NULL && can_free(of(device)))
        (void)freed(of(device), cudaGraphExecDestroy(graph_of(graph)), "freeing a graph");
}

/* ---- products by cuBLAS ---------------------------------------------------------------------- */

static radllm_status give_workspace(runtime *r, rad_cublas *blas)
{
    size_t bytes =
        r->device.properties.capability >= 90 ? WORKSPACE_BYTES : (size_t)OLD_WORKSPACE_BYTES;
    radllm_status status = alloc_device(&r->device, bytes, &r->workspace);
    if (status != RADLLM_OK)
        return status;
    int answered = rad_cublas_set_workspace(blas, r->workspace, bytes);
    return answered == 0 ? RADLLM_OK
                         : fail(r, RADLLM_E_UNSUPPORTED, "cuBLAS takes no memory: %s",
                                rad_cublas_status(blas, answered));
}

/* What cuBLAS leaves behind as the runtime's last error is not ours; an error that stays is seen by
 * the next call. */
static radllm_status gemm_open(rad_cuda_device *device, char name[RAD_CUDA_GEMM_NAME])
{
    runtime *r = of(device);
    rad_cublas *blas = NULL;
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    status =
        rad_cublas_open(rad_cublas_names, r->streams[RAD_CUDA_COMPUTE], &blas, device->message);
    (void)cudaGetLastError();
    if (status == RADLLM_OK)
        status = give_workspace(r, blas);
    if (status != RADLLM_OK) {
        rad_cublas_close(blas, !device->lost);
        (void)free_device(device, r->workspace);
        r->workspace = NULL;
        return status;
    }
    r->blas = blas;
    rad_cublas_name(blas, name);
    return RADLLM_OK;
}

static radllm_status gemm(rad_cuda_device *device, const rad_cuda_gemm *g)
{
    runtime *r = of(device);
    radllm_status status = enter(r);
    if (status != RADLLM_OK)
        return status;
    if (r->blas == NULL)
        return fail(r, RADLLM_E_STATE, "cuBLAS was not opened");
    int answered = rad_cublas_gemm(r->blas, g);
    return answered == 0 ? RADLLM_OK
                         : fail(r, RAD_CUDA_E_LOST,
                                "CUDA device %d (%s): cuBLAS, %u rows, %u columns, %u tokens: %s",
                                r->index, r->device.properties.name, g->n_rows, g->n_columns,
                                g->n_tokens, rad_cublas_status(r->blas, answered));
}

/* ---- opening -------------------------------------------------------------------------------- */

static void close_device(rad_cuda_device *device)
{
    runtime *r = of(device);
    bool answers = cudaSetDevice(r->index) == cudaSuccess;
    rad_cublas_close(r->blas, answers && !device->lost);
    if (answers && r->workspace != NULL)
        (void)cudaFree(r->workspace);
    if (answers)
        for (int i = 0; i < RAD_CUDA_STREAMS; i++)
            if (r->streams[i] != NULL)
                (void)cudaStreamDestroy(r->streams[i]);
    (void)cudaGetLastError();
    free(r);
}

int rad_cuda_device_count(char message[RAD_CUDA_MESSAGE_SIZE])
{
    int n = 0;
    message[0] = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "no CUDA device can be used: %s (%s)",
                 cudaGetErrorString(error), cudaGetErrorName(error));
        return 0;
    }
    if (n == 0)
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "the driver knows no CUDA device");
    return n;
}

static void write_uuid(const cudaUUID_t *uuid, char *text, size_t size)
{
    unsigned char b[16];
    memcpy(b, uuid->bytes, sizeof b);
    snprintf(text, size, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static radllm_status read_properties(runtime *r)
{
    struct cudaDeviceProp p;
    rad_cuda_properties *out = &r->device.properties;
    int driver = 0, version = 0;
    radllm_status status = answer(r, cudaGetDeviceProperties(&p, r->index), "asking what it is");
    if (status == RADLLM_OK)
        status = answer(r, cudaDriverGetVersion(&driver), "asking for the driver's version");
    if (status == RADLLM_OK)
        status = answer(r, cudaRuntimeGetVersion(&version), "asking for the runtime's version");
    if (status != RADLLM_OK)
        return status;
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
    write_uuid(&p.uuid, out->uuid, sizeof out->uuid);
    out->bytes = p.totalGlobalMem;
    out->capability = (uint32_t)(10 * p.major + p.minor);
    out->multiprocessors = (uint32_t)p.multiProcessorCount;
    out->shared_bytes = (uint32_t)p.sharedMemPerBlockOptin;
    out->multiprocessor_shared_bytes = (uint32_t)p.sharedMemPerMultiprocessor;
    out->multiprocessor_threads = (uint32_t)p.maxThreadsPerMultiProcessor;
    out->l2_bytes = (uint64_t)p.l2CacheSize;
    out->driver_version = (uint32_t)driver;
    out->runtime_version = (uint32_t)version;
    out->integrated = p.integrated != 0;
    return RADLLM_OK;
}

/* Whether the object's kernels run on the device, and whether they are those that wait: asked of
 * one of them. */
static radllm_status check_kernels(runtime *r)
{
    struct cudaFuncAttributes attributes;
    uint32_t capability = r->device.properties.capability;
    if (capability < LEAST_CAPABILITY)
        return fail(r, RADLLM_E_UNSUPPORTED,
                    "CUDA device %d (%s) has compute capability %u.%u; this library needs %d.%d",
                    r->index, r->device.properties.name, capability / 10, capability % 10,
                    LEAST_CAPABILITY / 10, LEAST_CAPABILITY % 10);
    cudaError_t error = cudaFuncGetAttributes(&attributes, entry_of(&rad_cuda_kernel_add));
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion) {
        (void)cudaGetLastError();
        return fail(
            r, RADLLM_E_UNSUPPORTED,
            "CUDA device %d (%s, compute capability %u.%u): this build's kernels do not run "
            "there: %s",
            r->index, r->device.properties.name, capability / 10, capability % 10,
            cudaGetErrorString(error));
    }
    r->overlaps = error == cudaSuccess && attributes.ptxVersion >= WAITING_PTX;
    return answer(r, error, "looking for the kernels");
}

static const rad_cuda_device functions = {
    .close = close_device,
    .memory = memory,
    .alloc = alloc_device,
    .free = free_device,
    .host_alloc = alloc_host,
    .host_free = free_host,
    .upload = upload,
    .download = download,
    .copy = copy,
    .fill = fill,
    .reaches = reaches,
    .copy_from = copy_from,
    .launch = launch,
    .gemm_open = gemm_open,
    .gemm = gemm,
    .event_new = event_new,
    .event_free = event_free,
    .event_record = event_record,
    .stream_wait = stream_wait,
    .event_wait = event_wait,
    .event_reached = event_reached,
    .event_milliseconds = event_milliseconds,
    .synchronize = synchronize,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .graph_launch = graph_launch,
    .graph_free = graph_free,
};

radllm_status rad_cuda_device_open(int index, rad_cuda_device **device,
                                   char message[RAD_CUDA_MESSAGE_SIZE])
{
    *device = NULL;
    int n = rad_cuda_device_count(message);
    if (index < 0 || index >= n) {
        if (n > 0)
            snprintf(message, RAD_CUDA_MESSAGE_SIZE, "there is no CUDA device %d; there are %d",
                     index, n);
        return RADLLM_E_NOT_FOUND;
    }
    runtime *r = calloc(1, sizeof *r);
    if (r == NULL) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "out of the host's memory");
        return RADLLM_E_MEMORY;
    }
    r->device = functions;
    r->index = index;
    radllm_status status = read_properties(r);
    if (status == RADLLM_OK)
        status = enter(r);
    if (status == RADLLM_OK)
        status = check_kernels(r);
    for (int i = 0; i < RAD_CUDA_STREAMS && status == RADLLM_OK; i++)
        status = answer_memory(r, cudaStreamCreateWithFlags(&r->streams[i], cudaStreamNonBlocking),
                               "making a stream", 0);
    if (status != RADLLM_OK) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "%s", r->device.message);
        close_device(&r->device);
        return status;
    }
    *device = &r->device;
    return RADLLM_OK;
}
