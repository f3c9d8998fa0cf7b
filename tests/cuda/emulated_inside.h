/* What the parts of the emulated device share: emulated.c opens it and counts calls,
 * emulated_memory.c has its memory, emulated_queue.c streams, events and graphs, emulated_calls.c
 * what is put on a stream. */
#ifndef RAD_CUDA_EMULATED_INSIDE_H
#define RAD_CUDA_EMULATED_INSIDE_H

#include <time.h>

#include "cuda/emulated.h"
#include "kernels/cuda/kernels_layer.h"

typedef struct allocation {
    struct allocation *next;
    uint8_t *map; /* guard page, data, guard page */
    size_t map_bytes;
    uint8_t *data;
    uint64_t size;
    bool host;
    rad_written *written; /* rad_device_memory */
} allocation;

typedef enum operation_kind { LAUNCH, COPY, FILL, RECORD, WAIT, GRAPH, GEMM } operation_kind;

typedef struct operation {
    struct operation *next;
    operation_kind kind;
    const rad_cuda_kernel *kernel;
    uint32_t grid[3], dynamic_shared_bytes;
    void *to;
    const void *from;
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
    EVENT_REACHED,
    EVENT_MILLISECONDS,
    SYNCHRONIZE,
    CAPTURE_BEGIN,
    CAPTURE_END,
    GRAPH_LAUNCH,
    WORK,
    CALL_KINDS
} call_kind;
typedef struct emulated {
    rad_cuda_device device; /* first */
    struct emulated *next;  /* of all that are open */
    int index;
    bool guest; /* RAD_EMULATED_GUEST */
    rad_runner *runner;
    allocation *allocations;
    uint64_t taken; /* of its memory, by others and the driver */
    uint64_t used;  /* by this one */
    operations streams[RAD_CUDA_STREAMS];
    rad_cuda_event *events;
    rad_cuda_graph *graphs;
    bool capturing, capture_failed;
    operations captured;
    rad_order order;
    uint64_t n_calls, n_launches, n_waits, n_allocs, n_records;
    uint64_t first_launch;     /* that may still run when the next one begins */
    rad_device_memory *memory; /* room for what the runner is told */
    uint32_t memory_capacity;
    uint64_t lose_at, fail_alloc_at, gemm; /* RAD_EMULATED_GEMM */
    bool has_gemm;
    call_kind fail_kind; /* RAD_EMULATED_FAIL */
    uint64_t fail_at, n_of[CALL_KINDS];
    radllm_status fail_status;
} emulated;
static inline emulated *of(rad_cuda_device *device)
{
    return (emulated *)(void *)device;
}

/* Sets the device's message and gives the status back; RAD_CUDA_E_LOST loses the device. */
__attribute__((format(printf, 3, 4))) radllm_status
rad_emulated_fail(emulated *e, radllm_status status, const char *format, ...);
radllm_status rad_emulated_no_memory(emulated *e);

/* Whether it is the turn of this call, or piece of work, to fail. */
radllm_status rad_emulated_count(emulated *e, call_kind kind);

/* What every call that can fail begins with; the second: calls that a capture forbids, of whichever
 * device. The third, of calls that cannot fail: ends the capture at hand. */
radllm_status rad_emulated_enter(emulated *e, call_kind kind);
radllm_status rad_emulated_enter_uncaptured(emulated *e, call_kind kind, const char *what);
void rad_emulated_enter_freely(emulated *e, const char *what);
/* The device that captures; NULL: none. */
emulated *rad_emulated_capturing(void);
/* Whether work on any device is still to read or write a range of the host's memory. */
bool rad_emulated_is_under_way(const void *at, uint64_t size);

/* RAD_EMULATED_PEERS. */
enum { PEERS_NONE, PEERS_RIGHT, PEERS_WRONG };
uint64_t rad_emulated_peers(void);

/* The list of devices that are open, of which one's memory can be touched. */
void rad_emulated_join(emulated *e);
void rad_emulated_leave(emulated *e);
void rad_emulated_show(emulated *e);
void rad_emulated_protect(const emulated *e, int protection);

/* The allocation that holds this address (or its guards); the second: of any device, and whose. */
const allocation *rad_emulated_find(const emulated *e, const void *address, bool guards);
const allocation *rad_emulated_find_any(const void *address, bool guards, const emulated **owner);

/* Where an address lies, in words (rad_runner_run). */
void rad_emulated_describe(void *user, uintptr_t address, char *text, size_t size);

/* All of it, for the runner; how much that is. */
uint32_t rad_emulated_list(emulated *e);

/* Nothing was written beside an allocation; a range lies in device memory. */
radllm_status rad_emulated_check_slack(emulated *e, const allocation *a, const char *kernel);
radllm_status rad_emulated_check_range(emulated *e, const void *at, uint64_t size,
                                       const char *what);
void rad_emulated_release(emulated *e, allocation **link);

/* Lists of work. NULL where the host has no memory. */
void rad_emulated_operations_init(operations *list);
void rad_emulated_operations_free(operations *list);
operation *rad_emulated_put(emulated *e, rad_cuda_stream stream, operation_kind kind,
                            const void *data, uint64_t data_bytes);
radllm_status rad_emulated_run_all(emulated *e);

/* Each file's functions of the device's table. */
void rad_emulated_memory_calls(rad_cuda_device *device);
void rad_emulated_queue_calls(rad_cuda_device *device);
void rad_emulated_work_calls(rad_cuda_device *device);

#endif
