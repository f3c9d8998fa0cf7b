/* The device's part of the pages of keys and values: a block for each group of layers. */
#include "backend/cuda/cuda.h"

static void *page_at(const rad_cuda *cuda, uint32_t group, uint32_t index)
{
    return cuda->pages[group] + index * cuda->page_bytes[group];
}

/* A child made by fork() gives its copies of sequences back, and has no device. */
static bool is_child(const rad_cuda *cuda)
{
    return cuda->process != rad_process_id();
}

static void zero_page(void *user, uint32_t group, uint32_t index)
{
    rad_cuda *cuda = user;
    if (is_child(cuda))
        return;
    pthread_mutex_lock(&cuda->mutex);
    (void)cuda->device->fill(cuda->device, RAD_CUDA_COMPUTE, page_at(cuda, group, index), 0,
                             cuda->page_bytes[group]);
    pthread_mutex_unlock(&cuda->mutex);
}

static void copy_page(void *user, uint32_t group, uint32_t to, uint32_t from)
{
    rad_cuda *cuda = user;
    pthread_mutex_lock(&cuda->mutex);
    (void)cuda->device->copy(cuda->device, RAD_CUDA_COMPUTE, page_at(cuda, group, to),
                             page_at(cuda, group, from), cuda->page_bytes[group]);
    pthread_mutex_unlock(&cuda->mutex);
}

static bool read_page(void *user, uint32_t group, uint32_t index, void *out)
{
    rad_cuda *cuda = user;
    pthread_mutex_lock(&cuda->mutex);
    radllm_status status = cuda->device->download(
        cuda->device, RAD_CUDA_COMPUTE, out, page_at(cuda, group, index), cuda->page_bytes[group]);
    if (status == RADLLM_OK)
        status = cuda->device->synchronize(cuda->device, RAD_CUDA_COMPUTE);
    pthread_mutex_unlock(&cuda->mutex);
    return status == RADLLM_OK;
}

static bool write_page(void *user, uint32_t group, uint32_t index, const void *bytes)
{
    rad_cuda *cuda = user;
    pthread_mutex_lock(&cuda->mutex);
    radllm_status status =
        cuda->device->upload(cuda->device, RAD_CUDA_COMPUTE, page_at(cuda, group, index), bytes,
                             cuda->page_bytes[group]);
    pthread_mutex_unlock(&cuda->mutex);
    return status == RADLLM_OK;
}

radllm_status rad_cuda_create_pages(rad_cuda *cuda, const rad_cache_plan *plan, rad_far_memory *far,
                                    radllm_error *error)
{
    rad_cuda_device *device = cuda->device;
    radllm_status status = RADLLM_OK;
    pthread_mutex_lock(&cuda->mutex);
    for (uint32_t g = 0; g < plan->n_groups && status == RADLLM_OK; g++) {
        const rad_cache_group *group = &plan->groups[g];
        void *memory = NULL;
        cuda->page_bytes[g] = group->far_bytes;
        cuda->pages_bytes[g] = group->far_bytes * group->n_pages;
        status = device->alloc(device, cuda->pages_bytes[g], &memory);
        cuda->pages[g] = memory;
        if (status == RADLLM_OK && memory != NULL)
            status = device->fill(device, RAD_CUDA_COMPUTE, memory, 0, cuda->pages_bytes[g]);
    }
    if (status != RADLLM_OK)
        status = rad_cuda_failed(cuda, status, error);
    pthread_mutex_unlock(&cuda->mutex);
    if (status != RADLLM_OK)
        rad_cuda_free_pages(cuda);
    *far = (rad_far_memory){cuda, zero_page, copy_page, read_page, write_page};
    return status;
}

/* Wiped, since what is freed on a device can be read by who takes it next. */
void rad_cuda_free_pages(rad_cuda *cuda)
{
    rad_cuda_device *device = cuda->device;
    if (is_child(cuda))
        return;
    pthread_mutex_lock(&cuda->mutex);
    for (uint32_t g = 0; g < RAD_CACHE_GROUPS; g++) {
        if (cuda->pages[g] == NULL)
            continue;
        (void)device->fill(device, RAD_CUDA_COMPUTE, cuda->pages[g], 0, cuda->pages_bytes[g]);
        (void)device->free(device, cuda->pages[g]);
        cuda->pages[g] = NULL;
    }
    pthread_mutex_unlock(&cuda->mutex);
}
