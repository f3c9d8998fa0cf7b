#include "cuda/emulated.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/emulated_inside.h"

#define CONTEXT_BYTES ((uint64_t)64 << 20) /* what an open device takes */

static const char *const call_names[CALL_KINDS] = {"memory",
                                                   "alloc",
                                                   "free",
                                                   "host_alloc",
                                                   "host_free",
                                                   "upload",
                                                   "download",
                                                   "copy",
                                                   "fill",
                                                   "copy_from",
                                                   "launch",
                                                   "gemm_open",
                                                   "gemm",
                                                   "event_new",
                                                   "event_record",
                                                   "stream_wait",
                                                   "event_wait",
                                                   "event_reached",
                                                   "event_milliseconds",
                                                   "synchronize",
                                                   "capture_begin",
                                                   "capture_end",
                                                   "graph_launch",
                                                   "work"};

/* ---- errors ------------------------------------------------------------------------------- */

radllm_status rad_emulated_fail(emulated *e, radllm_status status, const char *format, ...)
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
radllm_status rad_emulated_count(emulated *e, call_kind kind)
{
    if (++e->n_of[kind] != e->fail_at || kind != e->fail_kind)
        return RADLLM_OK;
    return rad_emulated_fail(e, e->fail_status, "%s number %llu fails (as the test asked)",
                             call_names[kind], (unsigned long long)e->fail_at);
}

/* The thread's own device, one more than its number; 0: what the host's program has. */
static _Thread_local uintptr_t current;
static _Thread_local uint64_t n_visits; /* times that the host's was asked for, less returns */

/* Devices are for one thread at a time, all of them together: who has the host's context has them
 * until it is given back. */
static pthread_mutex_t all_devices;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_mutex(void)
{
    pthread_mutexattr_t recursive;
    if (pthread_mutexattr_init(&recursive) != 0 ||
        pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE) != 0 ||
        pthread_mutex_init(&all_devices, &recursive) != 0)
        abort();
}

uintptr_t rad_cuda_thread_context(void)
{
    (void)pthread_once(&once, make_mutex);
    (void)pthread_mutex_lock(&all_devices);
    n_visits++;
    return current;
}

void rad_cuda_restore_thread(uintptr_t context)
{
    n_visits--;
    current = context;
    (void)pthread_mutex_unlock(&all_devices);
}

/* RAD_EMULATED_GUEST: no call may change a thread that is not given back. */
static void visit(const emulated *e)
{
    if (e->guest && n_visits == 0) {
        fprintf(stderr, "a call of the emulated device changes the host's thread for good\n");
        abort();
    }
    current = (uintptr_t)e->index + 1;
}

/* What every call that can fail begins with. */
radllm_status rad_emulated_enter(emulated *e, call_kind kind)
{
    e->n_calls++;
    visit(e);
    if (e->device.lost)
        return RAD_CUDA_E_LOST; /* the message of the first failure stays */
    if (e->n_calls == e->lose_at)
        return rad_emulated_fail(
            e, RAD_CUDA_E_LOST,
            "emulated device %d: computing: it is lost, and what is said of it "
            "is as long as a driver's message (as the test asked)",
            e->index);
    return rad_emulated_count(e, kind);
}

/* The same for calls that a capture forbids. */
radllm_status rad_emulated_enter_uncaptured(emulated *e, call_kind kind, const char *what)
{
    radllm_status status = rad_emulated_enter(e, kind);
    emulated *capturing = rad_emulated_capturing();
    if (status == RADLLM_OK && capturing != NULL) {
        capturing->capture_failed = true;
        return rad_emulated_fail(e, RADLLM_E_STATE, "%s while a graph is captured", what);
    }
    return status;
}

void rad_emulated_enter_freely(emulated *e, const char *what)
{
    visit(e);
    emulated *capturing = rad_emulated_capturing();
    if (capturing == NULL)
        return;
    capturing->capture_failed = true;
    (void)rad_emulated_fail(capturing, RADLLM_E_STATE, "%s while a graph is captured", what);
}

radllm_status rad_emulated_no_memory(emulated *e)
{
    return rad_emulated_fail(e, RADLLM_E_MEMORY, "out of the host's memory");
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
    visit(e);
    check_freed(e);
    write_counts(e);
    rad_emulated_leave(e);
    for (int i = 0; i < RAD_CUDA_STREAMS; i++)
        rad_emulated_operations_free(&e->streams[i]);
    rad_emulated_operations_free(&e->captured);
    device->lost = true;
    while (e->events != NULL)
        device->event_free(device, e->events);
    while (e->graphs != NULL)
        device->graph_free(device, e->graphs);
    while (e->allocations != NULL)
        rad_emulated_release(e, &e->allocations);
    rad_runner_free(e->runner);
    free(e->memory);
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
        .capability = (uint32_t)environment("RAD_EMULATED_CAPABILITY", 90),
        .multiprocessors = (uint32_t)environment("RAD_EMULATED_MULTIPROCESSORS", 4),
        .shared_bytes = (uint32_t)environment("RAD_EMULATED_SHARED", RAD_RUNNER_SHARED),
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
    e->device.close = close_device;
    rad_emulated_memory_calls(&e->device);
    rad_emulated_queue_calls(&e->device);
    rad_emulated_work_calls(&e->device);
    describe_device(index, &e->device.properties);
    e->runner = runner;
    rad_runner_set_shared(runner, e->device.properties.shared_bytes);
    e->first_launch = 1;
    for (int i = 0; i < RAD_CUDA_STREAMS; i++)
        rad_emulated_operations_init(&e->streams[i]);
    rad_emulated_operations_init(&e->captured);
    uint64_t all = e->device.properties.bytes;
    uint64_t taken = CONTEXT_BYTES + environment("RAD_EMULATED_TAKEN", 0);
    e->taken = taken < all ? taken : all;
    e->order = (rad_order)environment("RAD_EMULATED_ORDER", RAD_ORDERS_IN_TURN);
    uint64_t fails = environment("RAD_EMULATED_FAILING", UINT64_MAX);
    if (fails == UINT64_MAX || fails == (uint64_t)index) {
        e->lose_at = environment("RAD_EMULATED_LOSE", 0);
        e->fail_alloc_at = environment("RAD_EMULATED_FAIL_ALLOC", 0);
        read_failure(e);
    }
    e->gemm = environment("RAD_EMULATED_GEMM", 1);
    e->guest = environment("RAD_EMULATED_GUEST", 0) != 0;
    e->index = index;
    visit(e);
    rad_emulated_join(e);
    *device = &e->device;
    return RADLLM_OK;
}

/* ---- what tests ask ------------------------------------------------------------------------ */

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

void rad_emulated_is_result(rad_cuda_device *device, const void *address, uint64_t size)
{
    const allocation *a = rad_emulated_find(of(device), address, false);
    if (a == NULL || size == 0)
        return;
    const uint64_t first = (uint64_t)((const uint8_t *)address - a->data);
    const uint64_t end = first + size < a->size ? first + size : a->size;
    for (uint64_t word = first / 4; 4 * word < end; word++)
        a->written[word] = (rad_written){UINT32_MAX, 0, 0};
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
