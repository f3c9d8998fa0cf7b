#include "cuda/emulated_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- several devices ----------------------------------------------------------------------- */

/* All that are open, and the one whose memory can be touched: that of the others is as if it were
 * not there. One thread at a time: rad_cuda_thread_context(). */
static emulated *devices, *shown;

void rad_emulated_protect(const emulated *e, int protection)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const allocation *a = e->allocations; a != NULL; a = a->next) {
        if (!a->host && mprotect(a->map + page, a->map_bytes - 2 * page, protection) != 0)
            abort();
    }
}

void rad_emulated_show(emulated *e)
{
    if (shown == e)
        return;
    if (shown != NULL)
        rad_emulated_protect(shown, PROT_NONE);
    rad_emulated_protect(e, PROT_READ | PROT_WRITE);
    shown = e;
}

/* ---- memory ------------------------------------------------------------------------------- */

const allocation *rad_emulated_find(const emulated *e, const void *address, bool guards)
{
    const uint8_t *at = address;
    for (const allocation *a = e->allocations; a != NULL; a = a->next)
        if (guards ? at >= a->map && at < a->map + a->map_bytes
                   : at >= a->data && at < a->data + a->size)
            return a;
    return NULL;
}

/* Of any device; *owner: whose. */
const allocation *rad_emulated_find_any(const void *address, bool guards, const emulated **owner)
{
    const allocation *a = NULL;
    for (*owner = devices; *owner != NULL; *owner = (*owner)->next) {
        if ((a = rad_emulated_find(*owner, address, guards)) != NULL)
            break;
    }
    return a;
}

emulated *rad_emulated_capturing(void)
{
    emulated *e = devices;
    while (e != NULL && !e->capturing)
        e = e->next;
    return e;
}

static bool touches(const operation *o, const uint8_t *at, uint64_t size)
{
    const uint8_t *to = o->to, *from = o->from;
    return o->kind == COPY &&
           ((to < at + size && to + o->size > at) || (from < at + size && from + o->size > at));
}

bool rad_emulated_is_under_way(const void *at, uint64_t size)
{
    for (const emulated *e = devices; e != NULL; e = e->next) {
        for (int s = 0; s < RAD_CUDA_STREAMS && !e->device.lost; s++) {
            for (const operation *o = e->streams[s].first; o != NULL; o = o->next)
                if (touches(o, at, size))
                    return true;
        }
    }
    return false;
}

void rad_emulated_describe(void *user, uintptr_t address, char *text, size_t size)
{
    const emulated *owner;
    const allocation *a = rad_emulated_find_any((const void *)address, true, &owner);
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
    a->written = calloc(size / 4 + 1, sizeof *a->written);
    if (a->written == NULL) {
        munmap(a->map, a->map_bytes);
        return false;
    }
    a->data = at_begin ? a->map + page : a->map + page + pages - (size + 15) / 16 * 16;
    a->size = size;
    rad_poison(a->map + page, pages);
    a->next = e->allocations;
    e->allocations = a;
    return true;
}

uint32_t rad_emulated_list(emulated *e)
{
    uint32_t n = 0;
    for (const allocation *a = e->allocations; a != NULL; a = a->next, n++) {
        if (n == e->memory_capacity) {
            uint32_t more = n + 64;
            rad_device_memory *memory = realloc(e->memory, more * sizeof *memory);
            if (memory == NULL)
                abort();
            e->memory = memory;
            e->memory_capacity = more;
        }
        e->memory[n] = (rad_device_memory){a->data, a->size, a->written};
    }
    return n;
}

/* What lies between the data and the pages that cannot be reached is as it was. */
radllm_status rad_emulated_check_slack(emulated *e, const allocation *a, const char *kernel)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uint8_t *begin = a->map + page, *end = a->map + a->map_bytes - page;
    for (const uint8_t *at = begin; at < end; at++) {
        if (at == a->data)
            at += a->size;
        if (at < end && *at != ((at - begin) & 1 ? 0xff : 0xf5))
            return rad_emulated_fail(
                e, RAD_CUDA_E_LOST,
                "kernel %s: something was written %zu bytes %s an allocation of %llu bytes", kernel,
                (size_t)(at < a->data ? a->data - at : at - a->data - (ptrdiff_t)a->size),
                at < a->data ? "before" : "behind", (unsigned long long)a->size);
    }
    return RADLLM_OK;
}

static uint64_t counted(uint64_t size)
{
    return (size + 511) / 512 * 512;
}

/* Of the memory that all have who opened the same device. */
static uint64_t left(const emulated *e)
{
    uint64_t all = e->device.properties.bytes, used = e->taken;
    for (const emulated *other = devices; other != NULL; other = other->next)
        used += other->index == e->index ? other->used : 0;
    return used < all ? all - used : 0;
}

static radllm_status take(emulated *e, uint64_t size, bool host, void **pointer)
{
    *pointer = NULL;
    radllm_status status =
        rad_emulated_enter_uncaptured(e, host ? HOST_ALLOC : ALLOC, "memory is allocated");
    if (status != RADLLM_OK || size == 0)
        return status;
    e->n_allocs++;
    rad_emulated_show(e);
    bool fits = host || (size <= e->device.properties.bytes && counted(size) <= left(e));
    allocation *a = fits && e->n_allocs != e->fail_alloc_at ? calloc(1, sizeof *a) : NULL;
    bool at_begin = e->order != RAD_ORDERS_IN_TURN ? e->order % 2 == 1 : e->n_allocs % 2 == 1;
    if (a == NULL || !take_memory(e, a, size, at_begin)) {
        free(a);
        return rad_emulated_fail(e, RADLLM_E_MEMORY,
                                 "out of memory: %llu bytes asked for, %llu free",
                                 (unsigned long long)size, (unsigned long long)left(e));
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

void rad_emulated_release(emulated *e, allocation **link)
{
    allocation *a = *link;
    *link = a->next;
    if (!a->host)
        e->used -= counted(a->size);
    munmap(a->map, a->map_bytes);
    free(a->written);
    free(a);
}

static radllm_status give(emulated *e, void *pointer, bool host)
{
    radllm_status status =
        rad_emulated_enter_uncaptured(e, host ? HOST_FREE : FREE_DEVICE, "memory is freed");
    if (pointer == NULL || (status != RADLLM_OK && !e->device.lost))
        return status;
    allocation **link = &e->allocations;
    while (*link != NULL && (*link)->data != pointer)
        link = &(*link)->next;
    if (*link == NULL || (*link)->host != host)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "%p is freed, which was not allocated",
                                 pointer);
    if (status == RADLLM_OK && host && rad_emulated_is_under_way(pointer, (*link)->size))
        status = rad_emulated_fail(e, RAD_CUDA_E_LOST,
                                   "pinned memory is freed while a copy of it is under way");
    if (status == RADLLM_OK && !host)
        status = rad_emulated_run_all(e);
    rad_emulated_show(e);
    if (status == RADLLM_OK)
        status = rad_emulated_check_slack(e, *link, "(unknown)");
    rad_emulated_release(e, link);
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
    *free_bytes = left(e);
    return rad_emulated_enter(e, MEMORY);
}

radllm_status rad_emulated_check_range(emulated *e, const void *at, uint64_t size, const char *what)
{
    const allocation *a = rad_emulated_find(e, at, false);
    if (a == NULL || a->host)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "%s: %p is no device memory", what, at);
    uint64_t offset = (uint64_t)((const uint8_t *)at - a->data);
    if (size > a->size - offset)
        return rad_emulated_fail(
            e, RAD_CUDA_E_LOST, "%s: %llu bytes at offset %llu of an allocation of %llu", what,
            (unsigned long long)size, (unsigned long long)offset, (unsigned long long)a->size);
    return RADLLM_OK;
}

/* ---- the table ------------------------------------------------------------------------------ */

void rad_emulated_join(emulated *e)
{
    e->next = devices;
    devices = e;
}

void rad_emulated_leave(emulated *e)
{
    emulated **link = &devices;
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    shown = shown == e ? NULL : shown;
}

void rad_emulated_memory_calls(rad_cuda_device *device)
{
    device->memory = memory;
    device->alloc = alloc_device;
    device->free = free_device;
    device->host_alloc = alloc_host;
    device->host_free = free_host;
}
