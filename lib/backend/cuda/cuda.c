/* libradllm-cuda.so: opening a device, and the table that the library finds. */
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED extern const char radllm_cuda_build_id[];
EXPORTED const rad_cuda_table *radllm_cuda_table(void);

const char radllm_cuda_build_id[] = RAD_CUDA_BUILD_ID;

void rad_cuda_message(char out[RAD_CUDA_MESSAGE_SIZE], const char *message)
{
    size_t n = 0;
    for (; n + 1 < RAD_CUDA_MESSAGE_SIZE && message[n] != '\0'; n++)
        out[n] = message[n] >= 0x20 && message[n] < 0x7f ? message[n] : '?';
    out[n] = '\0';
}

radllm_status rad_cuda_failed(const rad_cuda_device *device, radllm_status status,
                              radllm_error *error)
{
    char quoted[RAD_CUDA_MESSAGE_SIZE];
    rad_cuda_message(quoted, device->message);
    if (status == RADLLM_E_MEMORY)
        return rad_fail(error, RADLLM_E_MEMORY,
                        "the device has no memory left: %s; set the option vram_limit lower, or "
                        "context, sessions or batch",
                        quoted);
    return rad_fail(error, RADLLM_E_DEVICE,
                    "the device failed: %s; this engine can compute no more: free it and make "
                    "another one, with device=cpu where the device does not come back",
                    quoted);
}

void rad_cuda_lock(rad_cuda *cuda)
{
    pthread_mutex_lock(&cuda->mutex);
    cuda->host_context = rad_cuda_thread_context();
}

void rad_cuda_unlock(rad_cuda *cuda)
{
    rad_cuda_restore_thread(cuda->host_context);
    pthread_mutex_unlock(&cuda->mutex);
}

static void cuda_close(rad_cuda *cuda)
{
    if (cuda == NULL)
        return;
    rad_allocator allocator = cuda->host.allocator;
    if (cuda->process == rad_process_id()) {
        rad_cuda_lock(cuda);
        for (uint32_t k = 0; k < cuda->n_gpus; k++)
            cuda->gpus[k].device->close(cuda->gpus[k].device);
        rad_cuda_unlock(cuda);
        pthread_mutex_destroy(&cuda->mutex);
    }
    rad_free(&allocator, cuda, sizeof *cuda);
}

/* What the driver knows, as the choice where the host made none; that of the host must be among it.
 */
static radllm_status check_choice(rad_cuda *cuda, radllm_error *error)
{
    char message[RAD_CUDA_MESSAGE_SIZE] = "", quoted[RAD_CUDA_MESSAGE_SIZE];
    rad_cuda_choice *choice = &cuda->choice;
    int count = rad_cuda_device_count(message);
    rad_cuda_message(quoted, message);
    if (count <= 0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: no GPU can be used: %s; install NVIDIA's driver, or set the "
                        "option device to cpu",
                        message[0] != '\0' ? quoted : "the driver knows none");
    for (uint32_t i = 0; i < choice->n; i++) {
        if (choice->numbers[i] >= count)
            return rad_fail(error, RADLLM_E_UNSUPPORTED,
                            "device=cuda: there is no GPU number %u; the driver knows %d (options "
                            "gpu and gpus: 0 to %d)",
                            choice->numbers[i], count, count - 1);
    }
    cuda->chosen = choice->n > 0;
    for (; !cuda->chosen && choice->n < RAD_CUDA_GPUS && choice->n < (uint32_t)count; choice->n++)
        choice->numbers[choice->n] = (uint8_t)choice->n;
    return RADLLM_OK;
}

/* What is taken right behind opening is the driver's context, and what other programs and other
 * engines of this process have. No context that was seen is larger than this. */
#define MOST_CONTEXT_BYTES ((uint64_t)640 << 20)

/* A process has one context of a GPU, for all engines: the least that was ever taken behind opening
 * is nearest to it. Numbers behind the last one are not remembered. */
static uint64_t context_of(uint32_t number, uint64_t taken, uint64_t all)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        uint64_t all, least; /* another total: another GPU */
    } seen[RAD_CUDA_GPUS];
    uint64_t context = taken < MOST_CONTEXT_BYTES ? taken : MOST_CONTEXT_BYTES;
    if (number >= RAD_CUDA_GPUS || pthread_mutex_lock(&mutex) != 0)
        return context;
    if (seen[number].all != all || context < seen[number].least) {
        seen[number].all = all;
        seen[number].least = context;
    }
    context = seen[number].least;
    (void)pthread_mutex_unlock(&mutex);
    return context;
}

static radllm_status open_gpu(rad_cuda_gpu *gpu, radllm_error *error)
{
    char message[RAD_CUDA_MESSAGE_SIZE] = "", quoted[RAD_CUDA_MESSAGE_SIZE];
    radllm_status status = rad_cuda_device_open((int)gpu->number, &gpu->device, message);
    if (status != RADLLM_OK) {
        rad_cuda_message(quoted, message);
        return rad_fail(error, status == RADLLM_E_MEMORY ? status : RADLLM_E_UNSUPPORTED,
                        "device=cuda: GPU number %u cannot be opened: %s; set the option device to "
                        "cpu",
                        gpu->number, quoted);
    }
    uint64_t all;
    status = gpu->device->memory(gpu->device, &gpu->free_at_open, &all);
    if (status != RADLLM_OK) {
        status = rad_cuda_failed(gpu->device, status, error);
        gpu->device->close(gpu->device);
        return status;
    }
    gpu->context_bytes = context_of(gpu->number, all - gpu->free_at_open, all);
    return RADLLM_OK;
}

/* The same, and what was opened on the first one besides. */
static radllm_status open_alike(rad_cuda *cuda, rad_cuda_gpu *gpu, radllm_error *error)
{
    radllm_status status = open_gpu(gpu, error);
    if (status != RADLLM_OK || cuda->fast[0] == '\0')
        return status;
    status = rad_cuda_open_fast(cuda, gpu, error);
    if (status != RADLLM_OK)
        gpu->device->close(gpu->device);
    return status;
}

radllm_status rad_cuda_open_next(rad_cuda *cuda, rad_cuda_gpu **out, char why[RAD_CUDA_TEXT],
                                 radllm_error *error)
{
    *out = NULL;
    while (cuda->n_tried < cuda->choice.n) {
        rad_cuda_gpu *gpu = &cuda->gpus[cuda->n_gpus];
        radllm_error failure = {.status = RADLLM_OK};
        *gpu =
            (rad_cuda_gpu){.number = cuda->choice.numbers[cuda->n_tried], .place = cuda->n_tried};
        cuda->n_tried++;
        radllm_status status = open_alike(cuda, gpu, &failure);
        if (status == RADLLM_OK) {
            cuda->n_gpus++;
            *out = gpu;
            return RADLLM_OK;
        }
        if (cuda->chosen || cuda->n_tried == 1)
            return rad_fail(error, status, "%s", failure.message);
        snprintf(why, RAD_CUDA_TEXT, "%.*s", RAD_CUDA_TEXT - 1, failure.message);
    }
    return RADLLM_OK;
}

void rad_cuda_keep(rad_cuda *cuda, const rad_cuda_placement *placement)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cuda->n_gpus; i++) {
        if (kept < placement->n_gpus && cuda->gpus[i].number == placement->gpus[kept].number)
            cuda->gpus[kept++] = cuda->gpus[i];
        else
            cuda->gpus[i].device->close(cuda->gpus[i].device);
    }
    cuda->n_gpus = kept;
    cuda->n_tried = cuda->gpus[kept - 1].place + 1; /* those behind can be opened again */
}

static radllm_status cuda_open(const rad_host *host, const rad_cuda_library *library,
                               const rad_cuda_choice *choice, rad_cuda **out, radllm_error *error)
{
    rad_cuda *cuda = rad_alloc_zero(&host->allocator, sizeof *cuda);
    if (cuda == NULL)
        return rad_fail_memory(error, sizeof *cuda);
    cuda->host = *host;
    cuda->library = library;
    cuda->process = rad_process_id();
    cuda->choice = *choice;
    /* With default attributes this never fails on the systems that the library runs on. */
    if (pthread_mutex_init(&cuda->mutex, NULL) != 0) {
        rad_free(&host->allocator, cuda, sizeof *cuda);
        return rad_fail_memory(error, sizeof(pthread_mutex_t));
    }
    char why[RAD_CUDA_TEXT];
    rad_cuda_gpu *first;
    rad_cuda_lock(cuda);
    radllm_status status = check_choice(cuda, error);
    if (status == RADLLM_OK)
        status = rad_cuda_open_next(cuda, &first, why, error);
    rad_cuda_unlock(cuda);
    if (status != RADLLM_OK) {
        cuda_close(cuda);
        return status;
    }
    *out = cuda;
    return RADLLM_OK;
}

static uint64_t memory_used(const rad_cuda *cuda, uint32_t index)
{
    uint64_t available = 0, all = 0;
    rad_cuda *own = (rad_cuda *)cuda;
    rad_cuda_device *device = own->gpus[index].device;
    rad_cuda_lock(own);
    radllm_status status = device->memory(device, &available, &all);
    rad_cuda_unlock(own);
    return status == RADLLM_OK ? all - available : 0;
}

const rad_cuda_table *radllm_cuda_table(void)
{
    static const rad_cuda_table table = {.fingerprint = rad_cuda_fingerprint,
                                         .open = cuda_open,
                                         .use_fast = rad_cuda_use_fast,
                                         .close = cuda_close,
                                         .place = rad_cuda_place,
                                         .create_pages = rad_cuda_create_pages,
                                         .free_pages = rad_cuda_free_pages,
                                         .create_backend = rad_cuda_create_backend,
                                         .expert_tokens = rad_cuda_expert_tokens,
                                         .clear_expert_tokens = rad_cuda_clear_expert_tokens,
                                         .memory_used = memory_used,
                                         .bandwidth = rad_cuda_bandwidth,
                                         .multiply_adds = rad_cuda_multiply_adds};
    return &table;
}
