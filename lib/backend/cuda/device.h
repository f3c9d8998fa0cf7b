/* A CUDA device as the backend sees it: memory, two streams, launches, events, graphs. Two
 * implementations, chosen by what is linked: runtime.c (the CUDA runtime) and tests/cuda/emulated.c
 * (memory with guard pages, kernels as fibers on the CPU). Nothing here knows of models.
 *
 * All functions return RADLLM_OK, RADLLM_E_MEMORY (this allocation failed, the device goes on), or
 * RAD_CUDA_E_LOST: a kernel failed, the driver answered with an error, or the device is gone; then
 * device->lost is set, and every later call answers so too. What frees something still does.
 * device->message says what happened. Work on a stream runs in order and later; its errors are
 * reported by a later call, at the latest by `synchronize`. One thread at a time. */
#ifndef RAD_BACKEND_CUDA_DEVICE_H
#define RAD_BACKEND_CUDA_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/kernels.h"
#include "radllm/radllm.h"

#define RAD_CUDA_E_LOST RADLLM_E_INTERNAL

enum { RAD_CUDA_MESSAGE_SIZE = 512, RAD_CUDA_GEMM_NAME = 32 };

/* A block's shared memory beyond 48 KiB, static and dynamic bytes together, has to be asked for by
 * kernel, which the device does for launches with more dynamic bytes than the second number. So
 * kernels that have fewer of them have at most 16 KiB of static ones, or none of the others. */
enum { RAD_CUDA_USUAL_SHARED = 48 * 1024, RAD_CUDA_USUAL_DYNAMIC = 32 * 1024 };

/* Launches and graphs run on the first; copies can be on the second and overlap. */
typedef enum rad_cuda_stream { RAD_CUDA_COMPUTE, RAD_CUDA_COPY, RAD_CUDA_STREAMS } rad_cuda_stream;

typedef struct rad_cuda_event rad_cuda_event;
typedef struct rad_cuda_graph rad_cuda_graph;
typedef struct rad_cuda_device rad_cuda_device;

typedef struct rad_cuda_grid {
    uint32_t x, y, z;
} rad_cuda_grid;

typedef struct rad_cuda_properties {
    char name[128];
    char uuid[48];       /* as nvidia-smi prints it, "GPU-..."; empty where unknown */
    uint64_t bytes;      /* memory in all */
    uint32_t capability; /* 90 for 9.0 */
    uint32_t multiprocessors;
    uint32_t shared_bytes;                /* that a block may have, dynamic ones included */
    uint32_t multiprocessor_shared_bytes; /* of one multiprocessor */
    uint32_t multiprocessor_threads;
    uint64_t l2_bytes;
    uint32_t driver_version, runtime_version; /* 13000 for 13.0 */
    bool integrated;                          /* its memory is the host's (Jetson) */
} rad_cuda_properties;

/* y = w x^T for rows of w and of x, or y += that: row t of y has the products of row t of x with
 * all rows of w. */
typedef struct rad_cuda_gemm {
    const void *w, *x; /* numbers of `type`, n_columns of each row; rows of w behind each other */
    float *y;
    uint64_t x_stride, y_stride; /* numbers from one row to the next */
    uint32_t type;               /* RAD_CUDA_F32, F16 or BF16 (kernels_layer.h) */
    uint32_t n_rows, n_columns, n_tokens;
    bool adds;
} rad_cuda_gemm;

struct rad_cuda_device {
    rad_cuda_properties properties;
    bool lost;
    char message[RAD_CUDA_MESSAGE_SIZE]; /* of the last failure */

    /* Memory, events and graphs are freed before. */
    void (*close)(rad_cuda_device *device);
    /* Bytes free and in all, as the driver says now. */
    radllm_status (*memory)(rad_cuda_device *device, uint64_t *free_bytes, uint64_t *all_bytes);
    /* Device memory, aligned to 256 (the emulated device: 16), contents undefined; 0 bytes give
     * NULL. `free` waits for the work that may still use it. */
    radllm_status (*alloc)(rad_cuda_device *device, uint64_t size, void **pointer);
    radllm_status (*free)(rad_cuda_device *device, void *pointer);
    /* Pinned host memory, at the same address for kernels of all devices. No copy of it may be
     * under way, on any device, when it is freed. */
    radllm_status (*host_alloc)(rad_cuda_device *device, uint64_t size, void **pointer);
    radllm_status (*host_free)(rad_cuda_device *device, void *pointer);

    /* The host's side may not be touched, nor freed, before the stream has come so far: where it is
     * pinned the copy is made then; of other memory the driver promises nothing (it stages it at
     * once on most machines, and reads it late where devices see the host's page tables). */
    radllm_status (*upload)(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                            const void *from, uint64_t size);
    radllm_status (*download)(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                              const void *from, uint64_t size);
    radllm_status (*copy)(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                          const void *from, uint64_t size);
    radllm_status (*fill)(rad_cuda_device *device, rad_cuda_stream stream, void *to, uint8_t value,
                          uint64_t size);
    /* Whether memory of another device can be copied from without a way through the host's. */
    bool (*reaches)(rad_cuda_device *device, rad_cuda_device *other);
    /* Copies from there, on this device's stream: it does not wait for the other's work. */
    radllm_status (*copy_from)(rad_cuda_device *device, rad_cuda_stream stream, void *to,
                               rad_cuda_device *other, const void *from, uint64_t size);
    /* On the compute stream. The arguments are copied. An empty grid launches nothing. */
    radllm_status (*launch)(rad_cuda_device *device, const rad_cuda_kernel *kernel,
                            rad_cuda_grid grid, uint32_t dynamic_shared_bytes,
                            const void *arguments);

    /* A library of the device's maker for products of floats, which takes orders of its own.
     * `gemm_open` loads it and takes its memory; RADLLM_E_UNSUPPORTED where there is none, and the
     * device goes on. name: what the library calls itself. `gemm` is for the time after that, on
     * the compute stream. */
    radllm_status (*gemm_open)(rad_cuda_device *device, char name[RAD_CUDA_GEMM_NAME]);
    radllm_status (*gemm)(rad_cuda_device *device, const rad_cuda_gemm *gemm);

    radllm_status (*event_new)(rad_cuda_device *device, rad_cuda_event **event);
    void (*event_free)(rad_cuda_device *device, rad_cuda_event *event);
    radllm_status (*event_record)(rad_cuda_device *device, rad_cuda_event *event,
                                  rad_cuda_stream stream);
    /* What is put on `stream` from now on begins when the event's record was reached. The event
     * may be another device's. */
    radllm_status (*stream_wait)(rad_cuda_device *device, rad_cuda_stream stream,
                                 rad_cuda_event *event);
    /* The host waits for the record. */
    radllm_status (*event_wait)(rad_cuda_device *device, rad_cuda_event *event);
    /* Whether it was reached, without waiting. */
    radllm_status (*event_reached)(rad_cuda_device *device, rad_cuda_event *event, bool *reached);
    /* Between two records that were reached. */
    radllm_status (*event_milliseconds)(rad_cuda_device *device, rad_cuda_event *from,
                                        rad_cuda_event *to, float *milliseconds);
    radllm_status (*synchronize)(rad_cuda_device *device, rad_cuda_stream stream);

    /* Between begin and end what is put on the compute stream is written down and not run:
     * launches, products, fills, and copies on the device. Nothing may be allocated, freed or
     * waited for by the thread, on any device; events take no part, and copies from and to the host
     * neither. A graph that is launched runs on the compute stream, with the pointers and arguments
     * as they were written down. When something went wrong in between, end gives no graph and a
     * status; the stream is usable again. */
    radllm_status (*capture_begin)(rad_cuda_device *device);
    radllm_status (*capture_end)(rad_cuda_device *device, rad_cuda_graph **graph);
    radllm_status (*graph_launch)(rad_cuda_device *device, rad_cuda_graph *graph);
    void (*graph_free)(rad_cuda_device *device, rad_cuda_graph *graph);
};

/* Calls of a device leave the calling thread with that one as the thread's own, for all libraries
 * in the process. What the thread has now, and how it gets that back. */
uintptr_t rad_cuda_thread_context(void);
void rad_cuda_restore_thread(uintptr_t context);

/* How many devices the driver knows; without driver or device 0, and message says why. */
int rad_cuda_device_count(char message[RAD_CUDA_MESSAGE_SIZE]);
/* Opens number index. RADLLM_E_UNSUPPORTED where this build has no kernels for it; else as above.
 */
radllm_status rad_cuda_device_open(int index, rad_cuda_device **device,
                                   char message[RAD_CUDA_MESSAGE_SIZE]);

#endif
