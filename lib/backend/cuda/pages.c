/* The devices' parts of the pages of keys and values: a block for each group of layers on each. A
 * page's parts stand behind each other where all of it is read or written. */
#include "backend/cuda/cuda.h"

#include <string.h>

#define ALIGNMENT 64

/* Of a page: layers first..end-1 of a group. */
static uint64_t bytes_of_layers(const rad_cuda_library *library, const rad_cache_plan *plan,
                                const rad_hparams *hparams, uint32_t group, uint32_t first,
                                uint32_t end)
{
    uint64_t bytes = 0,
             per_head = (uint64_t)rad_key_tile_bytes(plan->format.keys, hparams->head_dim) +
                        rad_value_tile_bytes(plan->format.values, hparams->value_dim);
    for (uint32_t i = first; i < end; i++) {
        uint64_t of_layer = hparams->layers[i].n_kv_heads * per_head;
        if (library->cache_group_of(hparams, i) != group)
            continue;
        bytes = !hparams->bidirectional ? bytes + of_layer : of_layer > bytes ? of_layer : bytes;
    }
    return bytes;
}

uint64_t rad_cuda_page_part(const rad_cuda_library *library, const rad_cache_plan *plan,
                            const rad_hparams *hparams, const rad_cuda_share *share, uint32_t group,
                            uint64_t *first, uint64_t *used)
{
    uint32_t end = share->first_layer + share->n_layers;
    *first = hparams->bidirectional
                 ? 0
                 : bytes_of_layers(library, plan, hparams, group, 0, share->first_layer);
    *used = bytes_of_layers(library, plan, hparams, group, share->first_layer, end);
    return (*used + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static void *page_at(const rad_cuda_gpu *gpu, uint32_t group, uint32_t index)
{
    return gpu->pages[group] + index * gpu->page_bytes[group];
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
    rad_cuda_lock(cuda);
    for (uint32_t k = 0; k < cuda->n_gpus; k++) {
        rad_cuda_gpu *gpu = &cuda->gpus[k];
        if (gpu->pages[group] == NULL) /* none of the group's layers are there */
            continue;
        (void)gpu->device->fill(gpu->device, RAD_CUDA_COMPUTE, page_at(gpu, group, index), 0,
                                gpu->page_bytes[group]);
    }
    rad_cuda_unlock(cuda);
}

static void copy_page(void *user, uint32_t group, uint32_t to, uint32_t from)
{
    rad_cuda *cuda = user;
    rad_cuda_lock(cuda);
    for (uint32_t k = 0; k < cuda->n_gpus; k++) {
        rad_cuda_gpu *gpu = &cuda->gpus[k];
        if (gpu->pages[group] == NULL)
            continue;
        (void)gpu->device->copy(gpu->device, RAD_CUDA_COMPUTE, page_at(gpu, group, to),
                                page_at(gpu, group, from), gpu->page_bytes[group]);
    }
    rad_cuda_unlock(cuda);
}

static bool read_page(void *user, uint32_t group, uint32_t index, void *out)
{
    rad_cuda *cuda = user;
    radllm_status status = RADLLM_OK;
    memset(out, 0, (size_t)cuda->far_bytes[group]); /* padding is no one's */
    rad_cuda_lock(cuda);
    for (uint32_t k = 0; k < cuda->n_gpus && status == RADLLM_OK; k++) {
        rad_cuda_gpu *gpu = &cuda->gpus[k];
        if (gpu->pages[group] == NULL)
            continue;
        status = gpu->device->download(gpu->device, RAD_CUDA_COMPUTE,
                                       (uint8_t *)out + gpu->page_first[group],
                                       page_at(gpu, group, index), gpu->page_used[group]);
    }
    for (uint32_t k = 0; k < cuda->n_gpus && status == RADLLM_OK; k++)
        status = cuda->gpus[k].device->synchronize(cuda->gpus[k].device, RAD_CUDA_COMPUTE);
    rad_cuda_unlock(cuda);
    return status == RADLLM_OK;
}

static bool write_page(void *user, uint32_t group, uint32_t index, const void *bytes)
{
    rad_cuda *cuda = user;
    radllm_status status = RADLLM_OK;
    rad_cuda_lock(cuda);
    for (uint32_t k = 0; k < cuda->n_gpus && status == RADLLM_OK; k++) {
        rad_cuda_gpu *gpu = &cuda->gpus[k];
        if (gpu->pages[group] == NULL)
            continue;
        status = gpu->device->upload(gpu->device, RAD_CUDA_COMPUTE, page_at(gpu, group, index),
                                     (const uint8_t *)bytes + gpu->page_first[group],
                                     gpu->page_used[group]);
    }
    for (uint32_t k = 0; k < cuda->n_gpus && status == RADLLM_OK; k++)
        status = cuda->gpus[k].device->synchronize(cuda->gpus[k].device, RAD_CUDA_COMPUTE);
    rad_cuda_unlock(cuda);
    return status == RADLLM_OK;
}

static radllm_status take_pages(const rad_cuda *cuda, rad_cuda_gpu *gpu,
                                const rad_cuda_share *share, const rad_hparams *hparams,
                                const rad_cache_plan *plan)
{
    rad_cuda_device *device = gpu->device;
    radllm_status status = RADLLM_OK;
    for (uint32_t g = 0; g < plan->n_groups && status == RADLLM_OK; g++) {
        void *memory = NULL;
        gpu->page_bytes[g] = rad_cuda_page_part(cuda->library, plan, hparams, share, g,
                                                &gpu->page_first[g], &gpu->page_used[g]);
        gpu->pages_bytes[g] = gpu->page_bytes[g] * plan->groups[g].n_pages;
        status = device->alloc(device, gpu->pages_bytes[g], &memory);
        gpu->pages[g] = memory;
        if (status == RADLLM_OK && memory != NULL)
            status = device->fill(device, RAD_CUDA_COMPUTE, memory, 0, gpu->pages_bytes[g]);
    }
    return status;
}

radllm_status rad_cuda_create_pages(rad_cuda *cuda, const rad_cuda_placement *placement,
                                    const rad_hparams *hparams, const rad_cache_plan *plan,
                                    rad_far_memory *far, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    rad_cuda_lock(cuda);
    for (uint32_t g = 0; g < plan->n_groups; g++)
        cuda->far_bytes[g] = plan->groups[g].far_bytes;
    for (uint32_t k = 0; k < cuda->n_gpus && status == RADLLM_OK; k++) {
        status = take_pages(cuda, &cuda->gpus[k], &placement->gpus[k], hparams, plan);
        if (status != RADLLM_OK)
            status = rad_cuda_failed(cuda->gpus[k].device, status, error);
    }
    rad_cuda_unlock(cuda);
    if (status != RADLLM_OK)
        rad_cuda_free_pages(cuda);
    *far = (rad_far_memory){cuda, zero_page, copy_page, read_page, write_page};
    return status;
}

/* Wiped, since what is freed on a device can be read by who takes it next. */
void rad_cuda_free_pages(rad_cuda *cuda)
{
    if (is_child(cuda))
        return;
    rad_cuda_lock(cuda);
    for (uint32_t k = 0; k < cuda->n_gpus; k++) {
        rad_cuda_gpu *gpu = &cuda->gpus[k];
        for (uint32_t g = 0; g < RAD_CACHE_GROUPS; g++) {
            if (gpu->pages[g] == NULL)
                continue;
            (void)gpu->device->fill(gpu->device, RAD_CUDA_COMPUTE, gpu->pages[g], 0,
                                    gpu->pages_bytes[g]);
            (void)gpu->device->free(gpu->device, gpu->pages[g]);
            gpu->pages[g] = NULL;
        }
    }
    rad_cuda_unlock(cuda);
}
