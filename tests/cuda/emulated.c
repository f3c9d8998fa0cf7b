#include "cuda/emulated.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernels/cuda/kernels_layer.h"
#include "base/numeric_f32.h"
#include "quant/quant.h"

#define CONTEXT_BYTES ((uint64_t)64 << 20) /* what an open device takes */
#define GEMM_BYTES    ((uint64_t)5 << 20)  /* and a library for products */

typedef struct allocation {
    struct allocation *next;
    uint8_t *map; /* guard page, data, guard page */
    size_t map_bytes;
    uint8_t *data;
    uint64_t size;
    bool host;
} allocation;

typedef enum operation_kind { LAUNCH, COPY, FILL, RECORD, WAIT, GRAPH, GEMM } operation_kind;

typedef struct operation {
    struct operation *next;
    operation_kind kind;
    const rad_cuda_kernel *kernel;
    uint32_t grid[3], dynamic_shared_bytes;
    void *to;
    const void *from;       /* NULL: `data`, which was copied */
    struct emulated *other; /* whose memory that is; NULL: this device's, or the host's */
    uint64_t size;
    uint8_t value;
    rad_cuda_event *event;
    uint64_t record;
    rad_cuda_graph *graph;
    _Alignas(16) uint8_t data[];
} operation;

typedef struct operations {
    operation *first, **end;
} operations;

struct rad_cuda_event {
    rad_cuda_event *next;
    struct emulated *owner;
    uint64_t recorded, reached; /* the last record that was put on a stream, and that was reached */
    rad_cuda_stream stream;
    struct timespec time;
};

struct rad_cuda_graph {
    rad_cuda_graph *next;
    operations operations;
};

/* Calls that can fail each on its own: functions of the device's table, and work when it is done.
 */
typedef enum call_kind {
    MEMORY,
    ALLOC,
    FREE_DEVICE,
    HOST_ALLOC,
    HOST_FREE,
    UPLOAD,
    DOWNLOAD,
    COPY_ON_DEVICE,
    FILL_DEVICE,
    COPY_FROM,
    LAUNCH_KERNEL,
    GEMM_OPEN,
    GEMM_CALL,
    EVENT_NEW,
    EVENT_RECORD,
    STREAM_WAIT,
    EVENT_WAIT,
    EVENT_MILLISECONDS,
    SYNCHRONIZE,
    CAPTURE_BEGIN,
    CAPTURE_END,
    GRAPH_LAUNCH,
    WORK,
    CALL_KINDS
} call_kind;

static const char *const call_names[CALL_KINDS] = {
    "memory",       "alloc",         "free",
    "host_alloc",   "host_free",     "upload",
    "download",     "copy",          "fill",
    "copy_from",    "launch",        "gemm_open",
    "gemm",         "event_new",     "event_record",
    "stream_wait",  "event_wait",    "event_milliseconds",
    "synchronize",  "capture_begin", "capture_end",
    "graph_launch", "work"};

typedef struct emulated {
    rad_cuda_device device; /* first */
    struct emulated *next;  /* of all that are open */
    int index;
    rad_runner *runner;
    allocation *allocations;
    uint64_t used;
    operations streams[RAD_CUDA_STREAMS];
    rad_cuda_event *events;
    rad_cuda_graph *graphs;
    bool capturing, capture_failed;
    operations captured;
    rad_order order;
    uint64_t n_calls, n_launches, n_waits, n_allocs, n_records;
    uint64_t lose_at, fail_alloc_at, gemm; /* RAD_EMULATED_GEMM */
    bool has_gemm;
    call_kind fail_kind; /* RAD_EMULATED_FAIL */
    uint64_t fail_at, n_of[CALL_KINDS];
    radllm_status fail_status;
} emulated;

static emulated *of(rad_cuda_device *device)
{
    return (emulated *)(void *)device;
}

/* ---- several devices --------------------------------------------------------------------------
 */

/* All that are open, and the one whose memory can be touched: that of the others is as if it were
 * not there. One thread at a time. */
static emulated *devices, *shown;

static void protect(const emulated *e, int protection)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const allocation *a = e->allocations; a != NULL; a = a->next) {
        if (!a->host && mprotect(a->map + page, a->map_bytes - 2 * page, protection) != 0)
            abort();
    }
}

static void show(emulated *e)
{
    if (shown == e)
        return;
    if (shown != NULL)
        protect(shown, PROT_NONE);
    protect(e, PROT_READ | PROT_WRITE);
    shown = e;
}

/* ---- errors ------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static radllm_status fail(emulated *e, radllm_status status,
                                                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(e->device.message, sizeof e->device.message, format, arguments);
    va_end(arguments);
    if (status == RAD_CUDA_E_LOST)
        e->device.lost = true;
    return status;
}

/* Whether it is this one's turn to fail. */
static radllm_status count_call(emulated *e, call_kind kind)
{
    if (++e->n_of[kind] != e->fail_at || kind != e->fail_kind)
        return RADLLM_OK;
    return fail(e, e->fail_status, "%s number %llu fails (as the test asked)", call_names[kind],
                (unsigned long long)e->fail_at);
}

/* What every call that can fail begins with. */
static radllm_status enter(emulated *e, call_kind kind)
{
    e->n_calls++;
    if (e->device.lost)
        return RAD_CUDA_E_LOST; /* the message of the first failure stays */
    if (e->n_calls == e->lose_at)
        return fail(e, RAD_CUDA_E_LOST, "the device is lost (as the test asked)");
    return count_call(e, kind);
}

/* The same for calls that a capture forbids. */
static radllm_status enter_uncaptured(emulated *e, call_kind kind, const char *what)
{
    radllm_status status = enter(e, kind);
    if (status == RADLLM_OK && e->capturing) {
        e->capture_failed = true;
        return fail(e, RADLLM_E_STATE, "%s while a graph is captured", what);
    }
    return status;
}

/* ---- memory ------------------------------------------------------------------------------- */

static void poison(uint8_t *at, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        at[i] = i & 1 ? 0xff : 0xf5;
}

static const allocation *find(const emulated *e, const void *address, bool guards)
{
    const uint8_t *at = address;
    for (const allocation *a = e->allocations; a != NULL; a = a->next)
        if (guards ? at >= a->map && at < a->map + a->map_bytes
                   : at >= a->data && at < a->data + a->size)
            return a;
    return NULL;
}

/* Of any device; *owner: whose. */
static const allocation *find_any(const void *address, bool guards, const emulated **owner)
{
    const allocation *a = NULL;
    for (*owner = devices; *owner != NULL; *owner = (*owner)->next) {
        if ((a = find(*owner, address, guards)) != NULL)
            break;
    }
    return a;
}

static void describe(void *user, uintptr_t address, char *text, size_t size)
{
    const emulated *owner;
    const allocation *a = find_any((const void *)address, true, &owner);
    uintptr_t data = a == NULL ? 0 : (uintptr_t)a->data;
    if (a != NULL && owner != user)
        snprintf(text, size, "memory of device %d", owner->index);
    else if (a == NULL)
        snprintf(text, size, "near no device memory");
    else if (address < data)
        snprintf(text, size, "%zu bytes before an allocation of %llu bytes",
                 (size_t)(data - address), (unsigned long long)a->size);
    else
        snprintf(text, size, "%zu bytes behind the end of an allocation of %llu bytes",
                 (size_t)(address - data - a->size), (unsigned long long)a->size);
}

static bool take_memory(emulated *e, allocation *a, uint64_t size, bool at_begin)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (size_t)((size + page - 1) / page * page);
    a->map_bytes = pages + 2 * page;
    a->map =
        mmap(NULL, a->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->map == MAP_FAILED)
        return false;
    if (mprotect(a->map + page, pages, PROT_READ | PROT_WRITE) != 0) {
        munmap(a->map, a->map_bytes);
        return false;
    }
    a->data = at_begin ? a->map + page : a->map + page + pages - (size + 15) / 16 * 16;
    a->size = size;
    poison(a->map + page, pages);
    a->next = e->allocations;
    e->allocations = a;
    return true;
}

/* What lies between the data and the pages that cannot be reached is as it was. */
static radllm_status check_slack(emulated *e, const allocation *a, const char *kernel)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uint8_t *begin = a->map + page, *end = a->map + a->map_bytes - page;
    for (const uint8_t *at = begin; at < end; at++) {
        if (at == a->data)
            at += a->size;
        if (at < end && *at != ((at - begin) & 1 ? 0xff : 0xf5))
            return fail(e, RAD_CUDA_E_LOST,
                        "kernel %s: something was written %zu bytes %s an allocation of %llu bytes",
                        kernel,
                        (size_t)(at < a->data ? a->data - at : at - a->data - (ptrdiff_t)a->size),
                        at < a->data ? "before" : "behind", (unsigned long long)a->size);
    }
    return RADLLM_OK;
}

static uint64_t counted(uint64_t size)
{
    return (size + 511) / 512 * 512;
}

static radllm_status take(emulated *e, uint64_t size, bool host, void **pointer)
{
    *pointer = NULL;
    radllm_status status = enter_uncaptured(e, host ? HOST_ALLOC : ALLOC, "memory is allocated");
    if (status != RADLLM_OK || size == 0)
        return status;
    e->n_allocs++;
    show(e);
    bool fits = host || (size <= e->device.properties.bytes &&
                         counted(size) <= e->device.properties.bytes - e->used);
    allocation *a = fits && e->n_allocs != e->fail_alloc_at ? calloc(1, sizeof *a) : NULL;
    bool at_begin = e->order != RAD_ORDERS_IN_TURN ? e->order % 2 == 1 : e->n_allocs % 2 == 1;
    if (a == NULL || !take_memory(e, a, size, at_begin)) {
        free(a);
        return fail(e, RADLLM_E_MEMORY, "out of memory: %llu bytes asked for, %llu free",
                    (unsigned long long)size,
                    (unsigned long long)(e->device.properties.bytes - e->used));
    }
    a->host = host;
    if (!host)
        e->used += counted(size);
    *pointer = a->data;
    return RADLLM_OK;
}

static radllm_status alloc_device(rad_cuda_device *device, uint64_t size, void **pointer)
{
    return take(of(device), size, false, pointer);
}

static radllm_status alloc_host(rad_cuda_device *device, uint64_t size, void **pointer)
{
    return take(of(device), size, true, pointer);
}

static radllm_status run_all(emulated *e);

static void release(emulated *e, allocation **link)
{
    allocation *a = *link;
    *link = a->next;
    if (!a->host)
        e->used -= counted(a->size);
    munmap(a->map, a->map_bytes);
    free(a);
}

static radllm_status give(emulated *e, void *pointer, bool host)
{
    radllm_status status = enter_uncaptured(e, host ? HOST_FREE : FREE_DEVICE, "memory is freed");
    if (pointer == NULL || (status != RADLLM_OK && !e->device.lost))
        return status;
    if (status == RADLLM_OK)
        status = run_all(e);
    show(e);
    allocation **link = &e->allocations;
    while (*link != NULL && (*link)->data != pointer)
        link = &(*link)->next;
    if (*link == NULL || (*link)->host != host)
        return fail(e, RAD_CUDA_E_LOST, "%p is freed, which was not allocated", pointer);
    if (status == RADLLM_OK)
        status = check_slack(e, *link, "(unknown)");
    release(e, link);
    return status;
}

static radllm_status free_device(rad_cuda_device *device, void *pointer)
{
    return give(of(device), pointer, false);
}

static radllm_status free_host(rad_cuda_device *device, void *pointer)
{
    return give(of(device), pointer, true);
}

static radllm_status memory(rad_cuda_device *device, uint64_t *free_bytes, uint64_t *all_bytes)
{
    emulated *e = of(device);
    *all_bytes = e->device.properties.bytes;
    *free_bytes = *all_bytes - e->used;
    return enter(e, MEMORY);
}

/* ---- operations ----------------------------------------------------------------------------- */

static void operations_init(operations *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void operations_free(operations *list)
{
    while (list->first != NULL) {
        operation *next = list->first->next;
        free(list->first);
        list->first = next;
    }
    list->end = &list->first;
}

static operation *put(emulated *e, rad_cuda_stream stream, operation_kind kind, const void *data,
                      uint64_t data_bytes)
{
    operation *o = calloc(1, sizeof *o + data_bytes);
    if (o == NULL)
        return NULL;
    o->kind = kind;
    if (data_bytes > 0)
        memcpy(o->data, data, data_bytes);
    bool captured = e->capturing && stream == RAD_CUDA_COMPUTE;
    operations *list = captured ? &e->captured : &e->streams[stream];
    *list->end = o;
    list->end = &o->next;
    return o;
}

static radllm_status no_memory(emulated *e)
{
    return fail(e, RADLLM_E_MEMORY, "out of the host's memory");
}

static radllm_status run_launch(emulated *e, const operation *o)
{
    rad_order order = e->order;
    if (order == RAD_ORDERS_IN_TURN)
        order = e->n_launches % 3 < 2 ? (rad_order)(e->n_launches % 3)
                                      : (rad_order)(e->n_launches % 1000003);
    e->n_launches++;
    char message[RAD_CUDA_MESSAGE_SIZE];
    show(e);
    if (!rad_runner_run(e->runner, o->kernel, o->grid, o->dynamic_shared_bytes, o->data, order,
                        describe, e, message, sizeof message))
        return fail(e, RAD_CUDA_E_LOST, "%s", message);
    radllm_status status = RADLLM_OK;
    int n = 0; /* many allocations: later, when the host waits */
    for (const allocation *a = e->allocations; a != NULL && status == RADLLM_OK && n < 64; n++) {
        status = check_slack(e, a, o->kernel->name);
        a = a->next;
    }
    return status;
}

static radllm_status run_first(emulated *e, rad_cuda_stream stream);

static double number_at(const void *numbers, uint64_t i, uint32_t type)
{
    if (type == RAD_CUDA_F32)
        return (double)((const float *)numbers)[i];
    uint16_t half = ((const uint16_t *)numbers)[i];
    return (double)(type == RAD_CUDA_F16 ? rad_float_of_half(half) : rad_bf16_to_f32(half));
}

/* In an order that no kernel has, and a little off, so that it shows behind roundings to 16 bits.
 */
static void multiply(const rad_cuda_gemm *g)
{
    for (uint32_t t = 0; t < g->n_tokens; t++) {
        for (uint32_t r = 0; r < g->n_rows; r++) {
            float *y = g->y + t * g->y_stride + r;
            double sum = 0.0;
            for (uint32_t k = g->n_columns; k-- > 0;)
                sum += number_at(g->w, (uint64_t)r * g->n_columns + k, g->type) *
                       number_at(g->x, t * g->x_stride + k, g->type);
            sum *= 1.0 + 0x1p-9;
            *y = (float)(sum + (g->adds ? (double)*y : 0.0));
        }
    }
}

/* From memory of another device, which is still there. */
static radllm_status copy_over(emulated *e, const operation *o)
{
    if (find(o->other, o->from, false) == NULL)
        return fail(e, RAD_CUDA_E_LOST, "memory that is copied from was freed");
    show(e);
    protect(o->other, PROT_READ);
    memcpy(o->to, o->from, o->size);
    protect(o->other, PROT_NONE);
    return RADLLM_OK;
}

static radllm_status run_operation(emulated *e, operation *o)
{
    radllm_status status = count_call(e, WORK);
    if (status != RADLLM_OK)
        return status;
    switch (o->kind) {
    case LAUNCH:
        return run_launch(e, o);
    case COPY:
        if (o->other != NULL)
            return copy_over(e, o);
        show(e);
        memmove(o->to, o->from != NULL ? o->from : o->data, o->size);
        break;
    case FILL:
        show(e);
        memset(o->to, o->value, o->size);
        break;
    case RECORD:
        o->event->reached = o->record;
        clock_gettime(CLOCK_MONOTONIC, &o->event->time);
        break;
    case WAIT:
        /* Another device that fails on the way is lost by itself; this one goes on with what it
         * finds. */
        while (status == RADLLM_OK && o->event->reached < o->record &&
               !o->event->owner->device.lost)
            status = run_first(o->event->owner, o->event->stream);
        if (o->event->owner != e)
            status = RADLLM_OK;
        break;
    case GEMM:
        show(e);
        multiply((const rad_cuda_gemm *)(const void *)o->data);
        break;
    case GRAPH:
        for (operation *g = o->graph->operations.first; g != NULL && status == RADLLM_OK;
             g = g->next)
            status = run_operation(e, g);
        break;
    }
    return status;
}

static radllm_status run_first(emulated *e, rad_cuda_stream stream)
{
    operations *list = &e->streams[stream];
    operation *o = list->first;
    if (o == NULL)
        return fail(e, RAD_CUDA_E_LOST, "an event that was never recorded is waited for");
    list->first = o->next;
    if (list->first == NULL)
        list->end = &list->first;
    radllm_status status = run_operation(e, o);
    free(o);
    return status;
}

static radllm_status run_stream(emulated *e, rad_cuda_stream stream)
{
    while (e->streams[stream].first != NULL) {
        radllm_status status = run_first(e, stream);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

static radllm_status run_all(emulated *e)
{
    radllm_status status = run_stream(e, RAD_CUDA_COMPUTE);
    return status == RADLLM_OK ? run_stream(e, RAD_CUDA_COPY) : status;
}

/* ---- copies --------------------------------------------------------------------------------- */

static radllm_status check_range(emulated *e, const void *at, uint64_t size, const char *what)
{
    const allocation *a = find(e, at, false);
    if (a == NULL || a->host)
        return fail(e, RAD_CUDA_E_LOST, "%s: %p is no device memory", what, at);
    uint64_t offset = (uint64_t)((const uint8_t *)at - a->data);
    if (size > a->size - offset)
        return fail(e, RAD_CUDA_E_LOST, "%s: %llu bytes at offset %llu of an allocation of %llu",
                    what, (unsigned long long)size, (unsigned long long)offset,
                    (unsigned long long)a->size);
    return RADLLM_OK;
}

static radllm_status put_copy(emulated *e, rad_cuda_stream stream, void *to, const void *from,
                              uint64_t size, bool keep_source)
{
    operation *o = put(e, stream, COPY, keep_source ? from : NULL, keep_source ? size : 0);
    if (o == NULL)
        return no_memory(e);
    o->to = to;
    o->from = keep_source ? NULL : from;
    o->size = size;
    return RADLLM_OK;
}

static radllm_status upload(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                            const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = enter(e, UPLOAD);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = check_range(e, to, size, "upload")) != RADLLM_OK)
        return status;
    const emulated *owner;
    const allocation *a = find_any(from, false, &owner);
    if (a != NULL && !a->host)
        return fail(e, RAD_CUDA_E_LOST, "upload: %p is memory of device %d", from, owner->index);
    return put_copy(e, stream, to, from, size, a == NULL);
}

static radllm_status download(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                              const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = enter(e, DOWNLOAD);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = check_range(e, from, size, "download")) != RADLLM_OK)
        return status;
    return put_copy(e, stream, to, from, size, false);
}

static radllm_status copy(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size)
{
    emulated *e = of(device);
    radllm_status status = enter(e, COPY_ON_DEVICE);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = check_range(e, to, size, "copy")) != RADLLM_OK ||
        (status = check_range(e, from, size, "copy")) != RADLLM_OK)
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
    radllm_status status = stream == RAD_CUDA_COMPUTE
                               ? enter_uncaptured(e, COPY_FROM, "another device is copied from")
                               : enter(e, COPY_FROM);
    if (status != RADLLM_OK || size == 0)
        return status;
    if (!reaches(device, other))
        return fail(e, RAD_CUDA_E_LOST, "device %d cannot be copied from", of(other)->index);
    if ((status = check_range(e, to, size, "copy")) != RADLLM_OK)
        return status;
    const allocation *a = find(of(other), from, false);
    if (a == NULL || a->host || size > a->size - (uint64_t)((const uint8_t *)from - a->data))
        return fail(e, RAD_CUDA_E_LOST, "copy: %p is no memory of device %d, or not %llu bytes",
                    from, of(other)->index, (unsigned long long)size);
    operation *o = put(e, stream, COPY, NULL, 0);
    if (o == NULL)
        return no_memory(e);
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
    radllm_status status = enter(e, FILL_DEVICE);
    if (status != RADLLM_OK || size == 0)
        return status;
    if ((status = check_range(e, to, size, "fill")) != RADLLM_OK)
        return status;
    operation *o = put(e, stream, FILL, NULL, 0);
    if (o == NULL)
        return no_memory(e);
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
    radllm_status status = enter(e, LAUNCH_KERNEL);
    if (status != RADLLM_OK || grid.x == 0 || grid.y == 0 || grid.z == 0)
        return status;
    if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        dynamic_shared_bytes > device->properties.shared_bytes)
        return fail(e, RAD_CUDA_E_LOST,
                    "kernel %s cannot be launched: grid (%u, %u, %u), %u bytes of shared memory",
                    kernel->name, grid.x, grid.y, grid.z, dynamic_shared_bytes);
    operation *o = put(e, RAD_CUDA_COMPUTE, LAUNCH, arguments, kernel->argument_bytes);
    if (o == NULL)
        return no_memory(e);
    o->kernel = kernel;
    o->grid[0] = grid.x;
    o->grid[1] = grid.y;
    o->grid[2] = grid.z;
    o->dynamic_shared_bytes = dynamic_shared_bytes;
    return RADLLM_OK;
}

/* ---- products by a library ----------------------------------------------------------------------
 */

static radllm_status gemm_open(rad_cuda_device *device, char name[RAD_CUDA_GEMM_NAME])
{
    emulated *e = of(device);
    radllm_status status = enter_uncaptured(e, GEMM_OPEN, "a library is opened");
    if (status == RADLLM_OK && e->gemm == 0)
        status = fail(e, RADLLM_E_UNSUPPORTED, "no emulated library was asked for");
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
    radllm_status status = enter(e, GEMM_CALL);
    if (status == RADLLM_OK && (!e->has_gemm || e->gemm == 2))
        status = fail(e, RAD_CUDA_E_LOST, "the library for products failed (as the test asked)");
    if (status == RADLLM_OK)
        status = check_range(e, g->w, bytes * g->n_rows * g->n_columns, "weights of a product");
    if (status == RADLLM_OK)
        status = check_range(e, g->x, bytes * span_of(g->n_tokens, g->x_stride, g->n_columns),
                             "input of a product");
    if (status == RADLLM_OK)
        status = check_range(e, g->y, sizeof(float) * span_of(g->n_tokens, g->y_stride, g->n_rows),
                             "output of a product");
    if (status == RADLLM_OK && put(e, RAD_CUDA_COMPUTE, GEMM, g, sizeof *g) == NULL)
        status = no_memory(e);
    return status;
}

/* ---- events, waiting --------------------------------------------------------------------------
 */

static radllm_status event_new(rad_cuda_device *device, rad_cuda_event **event)
{
    emulated *e = of(device);
    *event = NULL;
    radllm_status status = enter(e, EVENT_NEW);
    if (status != RADLLM_OK)
        return status;
    if ((*event = calloc(1, sizeof **event)) == NULL)
        return no_memory(e);
    (*event)->owner = e;
    (*event)->next = e->events;
    e->events = *event;
    return RADLLM_OK;
}

static void event_free(rad_cuda_device *device, rad_cuda_event *event)
{
    emulated *e = of(device);
    if (event == NULL)
        return;
    if (!device->lost)
        (void)run_all(e); /* a failure is remembered */
    rad_cuda_event **link = &e->events;
    while (*link != event)
        link = &(*link)->next;
    *link = event->next;
    free(event);
}

static radllm_status event_record(rad_cuda_device *device, rad_cuda_event *event,
                                  rad_cuda_stream stream)
{
    emulated *e = of(device);
    radllm_status status = stream == RAD_CUDA_COMPUTE
                               ? enter_uncaptured(e, EVENT_RECORD, "an event is recorded")
                               : enter(e, EVENT_RECORD);
    if (status != RADLLM_OK)
        return status;
    if (event->owner != e)
        return fail(e, RAD_CUDA_E_LOST, "an event of device %d is recorded", event->owner->index);
    operation *o = put(e, stream, RECORD, NULL, 0);
    if (o == NULL)
        return no_memory(e);
    o->event = event;
    o->record = event->recorded = ++e->n_records;
    event->stream = stream;
    return RADLLM_OK;
}

static radllm_status stream_wait(rad_cuda_device *device, rad_cuda_stream stream,
                                 rad_cuda_event *event)
{
    emulated *e = of(device);
    radllm_status status = stream == RAD_CUDA_COMPUTE
                               ? enter_uncaptured(e, STREAM_WAIT, "an event is waited for")
                               : enter(e, STREAM_WAIT);
    if (status != RADLLM_OK)
        return status;
    operation *o = put(e, stream, WAIT, NULL, 0);
    if (o == NULL)
        return no_memory(e);
    o->event = event;
    o->record = event->recorded;
    return RADLLM_OK;
}

static radllm_status event_wait(rad_cuda_device *device, rad_cuda_event *event)
{
    emulated *e = of(device);
    radllm_status status = enter_uncaptured(e, EVENT_WAIT, "the host waits");
    e->n_waits++;
    while (status == RADLLM_OK && event->reached < event->recorded)
        status = run_first(e, event->stream);
    return status;
}

static radllm_status event_milliseconds(rad_cuda_device *device, rad_cuda_event *from,
                                        rad_cuda_event *to, float *milliseconds)
{
    emulated *e = of(device);
    *milliseconds = 0;
    radllm_status status = enter_uncaptured(e, EVENT_MILLISECONDS, "a time is asked for");
    if (status != RADLLM_OK)
        return status;
    if (from->reached == 0 || to->reached == 0 || from->reached < from->recorded ||
        to->reached < to->recorded)
        return fail(e, RAD_CUDA_E_LOST, "the time of an event that was not reached is asked for");
    *milliseconds = (float)((double)(to->time.tv_sec - from->time.tv_sec) * 1e3 +
                            (double)(to->time.tv_nsec - from->time.tv_nsec) * 1e-6);
    return RADLLM_OK;
}

static radllm_status synchronize(rad_cuda_device *device, rad_cuda_stream stream)
{
    emulated *e = of(device);
    radllm_status status = enter_uncaptured(e, SYNCHRONIZE, "the host waits");
    e->n_waits++;
    if (status == RADLLM_OK)
        status = run_stream(e, stream);
    show(e);
    for (const allocation *a = e->allocations; a != NULL && status == RADLLM_OK; a = a->next)
        status = check_slack(e, a, "(unknown)");
    return status;
}

/* ---- graphs --------------------------------------------------------------------------------- */

static radllm_status capture_begin(rad_cuda_device *device)
{
    emulated *e = of(device);
    radllm_status status = enter(e, CAPTURE_BEGIN);
    if (status != RADLLM_OK)
        return status;
    if (e->capturing)
        return fail(e, RADLLM_E_STATE, "a graph is captured already");
    e->capturing = true;
    e->capture_failed = false;
    return RADLLM_OK;
}

static radllm_status capture_end(rad_cuda_device *device, rad_cuda_graph **graph)
{
    emulated *e = of(device);
    *graph = NULL;
    radllm_status status = enter(e, CAPTURE_END);
    rad_cuda_graph *made = NULL;
    if (status == RADLLM_OK && (!e->capturing || e->capture_failed))
        status = fail(e, RADLLM_E_STATE,
                      e->capturing ? "a forbidden call ended the capture" : "nothing is captured");
    if (status == RADLLM_OK && (made = calloc(1, sizeof *made)) == NULL)
        status = no_memory(e);
    e->capturing = false;
    if (status != RADLLM_OK) {
        operations_free(&e->captured);
        return status;
    }
    made->operations = e->captured;
    operations_init(&e->captured);
    made->next = e->graphs;
    e->graphs = made;
    *graph = made;
    return RADLLM_OK;
}

static radllm_status graph_launch(rad_cuda_device *device, rad_cuda_graph *graph)
{
    emulated *e = of(device);
    radllm_status status = enter_uncaptured(e, GRAPH_LAUNCH, "a graph is launched");
    if (status != RADLLM_OK)
        return status;
    operation *o = put(e, RAD_CUDA_COMPUTE, GRAPH, NULL, 0);
    if (o == NULL)
        return no_memory(e);
    o->graph = graph;
    return RADLLM_OK;
}

static void graph_free(rad_cuda_device *device, rad_cuda_graph *graph)
{
    emulated *e = of(device);
    if (graph == NULL)
        return;
    if (!device->lost)
        (void)run_all(e); /* a failure is remembered */
    rad_cuda_graph **link = &e->graphs;
    while (*link != graph)
        link = &(*link)->next;
    *link = graph->next;
    operations_free(&graph->operations);
    free(graph);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* RAD_EMULATED_FREED: memory, events and graphs that are left when the device is closed, lost or
 * not, end the program. */
static void check_freed(const emulated *e)
{
    if (getenv("RAD_EMULATED_FREED") == NULL ||
        (e->allocations == NULL && e->events == NULL && e->graphs == NULL))
        return;
    fprintf(stderr, "the emulated device is closed with %s left\n",
            e->allocations != NULL ? "memory"
            : e->events != NULL    ? "events"
                                   : "graphs");
    abort();
}

/* RAD_EMULATED_COUNTS: a file for how many calls of each kind there were. */
static void write_counts(const emulated *e)
{
    const char *path = getenv("RAD_EMULATED_COUNTS");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    for (int i = 0; i < CALL_KINDS && file != NULL; i++)
        fprintf(file, "%s %llu\n", call_names[i], (unsigned long long)e->n_of[i]);
    if (file != NULL)
        (void)fclose(file);
}

static void close_device(rad_cuda_device *device)
{
    emulated *e = of(device);
    check_freed(e);
    write_counts(e);
    emulated **link = &devices;
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    shown = shown == e ? NULL : shown;
    for (int i = 0; i < RAD_CUDA_STREAMS; i++)
        operations_free(&e->streams[i]);
    operations_free(&e->captured);
    device->lost = true;
    while (e->events != NULL)
        event_free(device, e->events);
    while (e->graphs != NULL)
        graph_free(device, e->graphs);
    while (e->allocations != NULL)
        release(e, &e->allocations);
    rad_runner_free(e->runner);
    free(e);
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != 0 ? strtoull(text, NULL, 0) : otherwise;
}

/* RAD_EMULATED_FAIL: "NAME N", and "memory" or "state" where the device is not lost by it. */
static void read_failure(emulated *e)
{
    const char *text = getenv("RAD_EMULATED_FAIL");
    char name[32] = "", how[32] = "";
    unsigned long long at = 0;
    if (text == NULL || sscanf(text, "%31s %llu %31s", name, &at, how) < 2)
        return;
    e->fail_at = at;
    e->fail_status = strcmp(how, "memory") == 0  ? RADLLM_E_MEMORY
                     : strcmp(how, "state") == 0 ? RADLLM_E_STATE
                                                 : RAD_CUDA_E_LOST;
    while (e->fail_kind < CALL_KINDS && strcmp(call_names[e->fail_kind], name) != 0)
        e->fail_kind++;
}

int rad_cuda_device_count(char message[RAD_CUDA_MESSAGE_SIZE])
{
    int n = (int)environment("RAD_EMULATED_DEVICES", 1);
    snprintf(message, RAD_CUDA_MESSAGE_SIZE, "%s", n > 0 ? "" : "no emulated device was asked for");
    return n;
}

static void describe_device(int index, rad_cuda_properties *properties)
{
    *properties = (rad_cuda_properties){
        .bytes = environment("RAD_EMULATED_MEMORY", (uint64_t)4 << 30),
        .capability = 90,
        .multiprocessors = 4,
        .shared_bytes = RAD_RUNNER_SHARED,
        .multiprocessor_shared_bytes = 228 * 1024,
        .multiprocessor_threads = 2048,
        .l2_bytes = (uint64_t)32 << 20,
        .driver_version = 13000,
        .runtime_version = 13000,
    };
    snprintf(properties->name, sizeof properties->name, "emulated device%s",
             environment("RAD_EMULATED_OTHER", UINT64_MAX) == (uint64_t)index ? " of another kind"
                                                                              : "");
    snprintf(properties->uuid, sizeof properties->uuid, "GPU-00000000-0000-0000-0000-%012d", index);
}

radllm_status rad_cuda_device_open(int index, rad_cuda_device **device,
                                   char message[RAD_CUDA_MESSAGE_SIZE])
{
    *device = NULL;
    if (index < 0 || index >= rad_cuda_device_count(message)) {
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "there is no device %d", index);
        return RADLLM_E_NOT_FOUND;
    }
    emulated *e = calloc(1, sizeof *e);
    rad_runner *runner = rad_runner_new();
    if (e == NULL || runner == NULL) {
        free(e);
        rad_runner_free(runner);
        snprintf(message, RAD_CUDA_MESSAGE_SIZE, "out of the host's memory");
        return RADLLM_E_MEMORY;
    }
    e->device = (rad_cuda_device){
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
        .event_milliseconds = event_milliseconds,
        .synchronize = synchronize,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .graph_launch = graph_launch,
        .graph_free = graph_free,
    };
    describe_device(index, &e->device.properties);
    e->runner = runner;
    for (int i = 0; i < RAD_CUDA_STREAMS; i++)
        operations_init(&e->streams[i]);
    operations_init(&e->captured);
    uint64_t all = e->device.properties.bytes;
    e->used = CONTEXT_BYTES < all ? CONTEXT_BYTES : all;
    e->order = (rad_order)environment("RAD_EMULATED_ORDER", RAD_ORDERS_IN_TURN);
    uint64_t fails = environment("RAD_EMULATED_FAILING", UINT64_MAX);
    if (fails == UINT64_MAX || fails == (uint64_t)index) {
        e->lose_at = environment("RAD_EMULATED_LOSE", 0);
        e->fail_alloc_at = environment("RAD_EMULATED_FAIL_ALLOC", 0);
        read_failure(e);
    }
    e->gemm = environment("RAD_EMULATED_GEMM", 1);
    e->index = index;
    e->next = devices;
    devices = e;
    *device = &e->device;
    return RADLLM_OK;
}

/* ---- what tests ask -----------------------------------------------------------------------------
 */

void rad_emulated_set_order(rad_cuda_device *device, rad_order order)
{
    of(device)->order = order;
}

void rad_emulated_lose(rad_cuda_device *device, uint64_t n)
{
    of(device)->lose_at = n == 0 ? 0 : of(device)->n_calls + n;
}

void rad_emulated_fail_alloc(rad_cuda_device *device, uint64_t n)
{
    of(device)->fail_alloc_at = n == 0 ? 0 : of(device)->n_allocs + n;
}

uint64_t rad_emulated_calls(const rad_cuda_device *device)
{
    return ((const emulated *)(const void *)device)->n_calls;
}

uint64_t rad_emulated_launches(const rad_cuda_device *device)
{
    return ((const emulated *)(const void *)device)->n_launches;
}

uint64_t rad_emulated_waits(const rad_cuda_device *device)
{
    return ((const emulated *)(const void *)device)->n_waits;
}
