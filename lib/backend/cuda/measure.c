/* What a device does at most, by trying: bytes of a copy, multiply-adds of matrix instructions. */
#include "backend/cuda/cuda.h"

enum {
    COPIES = 8,       /* that measure the bandwidth */
    BLOCKS = 2,       /* of peak.cu, on a multiprocessor */
    FIRST_ROUNDS = 4, /* then four times as many, until it takes long enough */
    MOST_ROUNDS = 1 << 20,
    MACS_OF_BYTES = 16 * 8 * 32, /* of a matrix instruction */
    MACS_OF_HALVES = 16 * 8 * 16,
    CHAINS = 8, /* instructions of a warp in a round: peak.cu */
};
#define LONG_ENOUGH 2.0f /* milliseconds */

/* Two events, and memory of a device; its own thread. */
typedef struct measuring {
    rad_cuda_device *device;
    rad_cuda_event *events[2];
    void *memory;
} measuring;

static radllm_status begin(const rad_cuda *cuda, uint64_t bytes, measuring *m)
{
    *m = (measuring){.device = cuda->gpus[0].device};
    radllm_status status = m->device->alloc(m->device, bytes, &m->memory);
    for (int i = 0; i < 2 && status == RADLLM_OK; i++)
        status = m->device->event_new(m->device, &m->events[i]);
    return status;
}

static void end(const measuring *m)
{
    for (int i = 0; i < 2; i++)
        m->device->event_free(m->device, m->events[i]);
    (void)m->device->free(m->device, m->memory);
}

static radllm_status note(const measuring *m, int which)
{
    return m->device->event_record(m->device, m->events[which], RAD_CUDA_COMPUTE);
}

/* Milliseconds between the events; 0: something failed. */
static float time_of(const measuring *m, radllm_status status)
{
    float milliseconds = 0.0f;
    if (status == RADLLM_OK)
        status = note(m, 1);
    if (status == RADLLM_OK)
        status = m->device->event_wait(m->device, m->events[1]);
    if (status == RADLLM_OK)
        status =
            m->device->event_milliseconds(m->device, m->events[0], m->events[1], &milliseconds);
    return status == RADLLM_OK ? milliseconds : 0.0f;
}

static float time_copies(const measuring *m, uint64_t bytes)
{
    radllm_status status = RADLLM_OK;
    for (int i = 0; i <= COPIES && status == RADLLM_OK; i++) {
        status = m->device->copy(m->device, RAD_CUDA_COMPUTE, (uint8_t *)m->memory + bytes,
                                 m->memory, bytes);
        if (i == 0 && status == RADLLM_OK) /* the first one warms up */
            status = note(m, 0);
    }
    return time_of(m, status);
}

uint64_t rad_cuda_bandwidth(const rad_cuda *cuda)
{
    rad_cuda *own = (rad_cuda *)cuda;
    rad_cuda_device *device = own->gpus[0].device;
    uint64_t most = 16 * device->properties.l2_bytes, available = 0, all = 0;
    float milliseconds = 0.0f;
    measuring m;
    rad_cuda_lock(own);
    radllm_status status = device->memory(device, &available, &all);
    uint64_t bytes = (most < available / 4 ? most : available / 4) & ~(uint64_t)255;
    bytes = status == RADLLM_OK ? bytes : 0;
    if (begin(cuda, 2 * bytes, &m) == RADLLM_OK && bytes > 0)
        milliseconds = time_copies(&m, bytes);
    end(&m);
    rad_cuda_unlock(own);
    return milliseconds > 0.0f
               ? (uint64_t)(2.0 * COPIES * (double)bytes / (double)milliseconds * 1000.0)
               : 0;
}

/* Multiply-adds a millisecond; 0: something failed. */
static double time_rounds(const measuring *m, const rad_cuda_kernel *kernel, double macs)
{
    rad_cuda_device *device = m->device;
    uint32_t n_blocks = BLOCKS * device->properties.multiprocessors;
    rad_cuda_peak_arguments a = {.out = m->memory, .rounds = FIRST_ROUNDS};
    double warps = (double)n_blocks * (RAD_CUDA_PEAK_THREADS / 32);
    float milliseconds = 0.0f;
    for (;; a.rounds *= 4) {
        radllm_status status = note(m, 0);
        if (status == RADLLM_OK)
            status = device->launch(device, kernel, (rad_cuda_grid){n_blocks, 1, 1}, 0, &a);
        milliseconds = time_of(m, status);
        if (milliseconds <= 0.0f)
            return 0.0;
        if (milliseconds >= LONG_ENOUGH || a.rounds >= MOST_ROUNDS)
            return warps * CHAINS * a.rounds * macs / (double)milliseconds;
    }
}

uint64_t rad_cuda_multiply_adds(const rad_cuda *cuda, bool floats)
{
    rad_cuda *own = (rad_cuda *)cuda;
    const rad_cuda_properties *properties = &own->gpus[0].device->properties;
    uint64_t bytes = (uint64_t)BLOCKS * properties->multiprocessors * RAD_CUDA_PEAK_THREADS * 4;
    double speed = 0.0;
    measuring m;
    rad_cuda_lock(own);
    if (begin(cuda, bytes, &m) == RADLLM_OK)
        speed = time_rounds(&m, floats ? &rad_cuda_kernel_peak_halves : &rad_cuda_kernel_peak_bytes,
                            floats ? MACS_OF_HALVES : MACS_OF_BYTES);
    end(&m);
    rad_cuda_unlock(own);
    return (uint64_t)(speed * 1000.0);
}
