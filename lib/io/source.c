/* rad_source: opening, sharing, reading and mapping. */
#include "io/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

radllm_status rad_source_new(const rad_host *host, rad_source **out, radllm_error *error)
{
    rad_host copy = {0};
    if (host != NULL)
        copy = *host;
    if (copy.allocator.allocate == NULL)
        copy.allocator = rad_default_allocator;
    rad_source *source = rad_alloc_zero(&copy.allocator, sizeof *source);
    if (source == NULL)
        return rad_fail_memory(error, sizeof *source);
    source->host = copy;
    source->arena.allocator = &source->host.allocator;
    atomic_init(&source->references, 1);
    atomic_init(&source->mapped, false);
    if (pthread_mutex_init(&source->mapping, NULL) != 0) {
        rad_free(&copy.allocator, source, sizeof *source);
        return rad_fail(error, RADLLM_E_MEMORY,
                        "cannot make a lock for the model file: the system is short of memory");
    }
    *out = source;
    return RADLLM_OK;
}

static void free_source(rad_source *source)
{
    rad_allocator allocator = source->host.allocator;
    for (size_t i = 0; i < source->n_parts; i++)
        rad_file_close(source->parts[i].file);
    rad_free(&allocator, source->parts, source->parts_capacity * sizeof *source->parts);
    rad_free(&allocator, source->tensor_order, source->n_tensors * sizeof *source->tensor_order);
    rad_free(&allocator, source->tensors, source->tensors_capacity * sizeof *source->tensors);
    rad_meta_table_free(source, &source->metadata);
    rad_arena_free(&source->arena);
    (void)pthread_mutex_destroy(&source->mapping);
    rad_source_release(source->base);
    rad_free(&allocator, source, sizeof *source);
}

static radllm_status reserve_part(rad_source *source, radllm_error *error)
{
    void *parts = source->parts;
    if (!rad_reserve(&source->host.allocator, &parts, &source->parts_capacity, source->n_parts + 1,
                     sizeof *source->parts))
        return rad_fail_memory(error, (source->n_parts + 1) * sizeof *source->parts);
    source->parts = parts;
    source->parts[source->n_parts] = (rad_part){0};
    return RADLLM_OK;
}

/* What git leaves in a file's place where LFS did not fetch it. */
static radllm_status check_pointer(const rad_source *source, uint32_t part, radllm_error *error)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    const rad_part *file = &source->parts[part];
    char head[sizeof start - 1];
    if (file->size < sizeof head || file->size > 1024)
        return RADLLM_OK;
    radllm_status status = rad_source_read(source, part, 0, head, sizeof head, error);
    if (status != RADLLM_OK || memcmp(head, start, sizeof head) != 0)
        return status;
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: this is a Git LFS pointer and not the file itself; fetch the real file "
                    "with 'git lfs pull'",
                    file->label);
}

static radllm_status add_part(rad_source *source, const char *path, bool plain, radllm_error *error)
{
    radllm_status status = reserve_part(source, error);
    if (status != RADLLM_OK)
        return status;
    rad_part *part = &source->parts[source->n_parts];
    status = plain ? rad_file_open_plain(&source->host.allocator, path, &part->file, error)
                   : rad_file_open(&source->host.allocator, path, &part->file, error);
    if (status != RADLLM_OK)
        return status;
    part->size = rad_file_size(part->file);
    rad_path_label(part->label, path);
    return check_pointer(source, (uint32_t)source->n_parts++, error);
}

radllm_status rad_source_add_part(rad_source *source, const char *path, radllm_error *error)
{
    return add_part(source, path, false, error);
}

radllm_status rad_source_add_plain_part(rad_source *source, const char *path, radllm_error *error)
{
    return add_part(source, path, true, error);
}

/* Reads the first part, then the others, then checks what concerns all. */
static radllm_status read_all(rad_source *source, radllm_error *error)
{
    rad_gguf_header header;
    radllm_status status = rad_gguf_read(source, 0, &source->metadata, &header, error);
    if (status != RADLLM_OK)
        return status;
    source->version = header.version;
    source->alignment = header.alignment;
    status = rad_split_read(source, error);
    if (status != RADLLM_OK)
        return status;
    return rad_tensors_finish(source, true, error);
}

static radllm_status open_gguf(rad_source *source, const char *path, radllm_error *error)
{
    radllm_status status = rad_source_add_part(source, path, error);
    return status == RADLLM_OK ? read_all(source, error) : status;
}

radllm_status rad_source_open(const rad_host *host, const char *path, rad_source **out,
                              radllm_error *error)
{
    if (path == NULL || path[0] == '\0')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path of the model is empty; give the path of a GGUF file, or of a "
                        "folder with safetensors files");
    rad_source *source;
    radllm_status status = rad_source_new(host, &source, error);
    if (status != RADLLM_OK)
        return status;
    size_t size = strlen(path);
    source->path = rad_arena_copy(&source->arena, path, size);
    rad_path_label(source->label, path);
    if (source->path == NULL)
        status = rad_fail_memory(error, size);
    else if (rad_is_folder_path(path))
        status = rad_folder_open(source, path, error);
    else if (rad_is_vocabulary_path(path))
        status = rad_vocabulary_open(source, path, error);
    else
        status = open_gguf(source, path, error);
    if (status != RADLLM_OK)
        free_source(source);
    else
        *out = source;
    return status;
}

radllm_status rad_source_open_callback(const rad_host *host, radllm_read_fn read, void *user,
                                       uint64_t file_size, rad_source **out, radllm_error *error)
{
    if (read == NULL)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the read function is NULL; give one that reads the model's bytes");
    rad_source *source;
    radllm_status status = rad_source_new(host, &source, error);
    if (status != RADLLM_OK)
        return status;
    source->path = (char *)(uintptr_t) "";
    source->read = read;
    source->read_user = user;
    status = reserve_part(source, error);
    if (status == RADLLM_OK) {
        source->parts[0].size = file_size;
        snprintf(source->label, sizeof source->label, "(model supplied by the host)");
        memcpy(source->parts[0].label, source->label, sizeof source->label);
        source->n_parts = 1;
        status = read_all(source, error);
    }
    if (status != RADLLM_OK)
        free_source(source);
    else
        *out = source;
    return status;
}

rad_source *rad_source_retain(rad_source *source)
{
    atomic_fetch_add_explicit(&source->references, 1, memory_order_relaxed);
    return source;
}

void rad_source_release(rad_source *source)
{
    if (source == NULL)
        return;
    if (atomic_fetch_sub_explicit(&source->references, 1, memory_order_acq_rel) == 1)
        free_source(source);
}

/* ---- what it holds ----------------------------------------------------------------------- */

const char *rad_source_label(const rad_source *source)
{
    return source->label;
}

bool rad_source_is_gguf(const rad_source *source)
{
    return !source->foreign;
}

bool rad_source_is_file(const rad_source *source)
{
    return source->read == NULL;
}

bool rad_source_is_scattered(const rad_source *source)
{
    return source->scattered;
}

bool rad_source_is_tied(const rad_source *source)
{
    return source->tied;
}

bool rad_source_is_shape(const rad_source *source)
{
    return source->shape;
}

uint32_t rad_source_version(const rad_source *source)
{
    return source->version;
}

uint64_t rad_source_alignment(const rad_source *source)
{
    return source->alignment;
}

uint32_t rad_source_n_parts(const rad_source *source)
{
    return (uint32_t)source->n_parts;
}

uint64_t rad_source_part_bytes(const rad_source *source, uint32_t part)
{
    return source->parts[part].size;
}

uint64_t rad_source_n_meta(const rad_source *source)
{
    return source->metadata.count;
}

const rad_meta *rad_source_meta(const rad_source *source, uint64_t index)
{
    return &source->metadata.entries[index].meta;
}

const rad_meta *rad_source_find_meta(const rad_source *source, const char *key)
{
    return rad_meta_table_find(&source->metadata, key);
}

uint64_t rad_source_n_tensors(const rad_source *source)
{
    return source->n_tensors;
}

const rad_tensor *rad_source_tensor(const rad_source *source, uint64_t index)
{
    return &source->tensors[index].tensor;
}

uint64_t rad_source_tensor_index(const rad_source *source, const rad_tensor *tensor)
{
    return (uint64_t)((const rad_tensor_entry *)(const void *)tensor - source->tensors);
}

/* ---- bytes ------------------------------------------------------------------------------- */

radllm_status rad_source_read(const rad_source *source, uint32_t part, uint64_t offset,
                              void *buffer, size_t size, radllm_error *error)
{
    if (part >= source->n_parts)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is a configuration without weights: it can be planned, not run",
                        source->label);
    const rad_part *from = &source->parts[part];
    if (from->file != NULL)
        return rad_file_read(from->file, offset, buffer, size, error);
    uint64_t end;
    if (!rad_add_u64(offset, size, &end) || end > from->size)
        return rad_fail(error, RADLLM_E_IO,
                        "%s: %zu bytes at byte %" PRIu64 " lie beyond the end (%" PRIu64 " bytes)",
                        from->label, size, offset, from->size);
    if (size > 0 && source->read(source->read_user, offset, buffer, size) != 0)
        return rad_fail(error, RADLLM_E_IO,
                        "%s: the host's read function failed for %zu bytes at byte %" PRIu64
                        "; check where the host takes the model from",
                        from->label, size, offset);
    return RADLLM_OK;
}

radllm_status rad_source_check(const rad_source *source, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    for (; source != NULL && status == RADLLM_OK; source = source->base)
        for (size_t i = 0; i < source->n_parts && status == RADLLM_OK; i++)
            if (source->parts[i].file != NULL)
                status = rad_file_check(source->parts[i].file, error);
    return status;
}

radllm_status rad_source_map(rad_source *source, radllm_error *error)
{
    if (source->read != NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: bytes that the host supplies cannot be mapped; load with the option "
                        "load=copy instead",
                        source->label);
    radllm_status status = RADLLM_OK;
    (void)pthread_mutex_lock(&source->mapping);
    if (!atomic_load_explicit(&source->mapped, memory_order_relaxed)) {
        for (size_t i = 0; i < source->n_parts && status == RADLLM_OK; i++) {
            if (source->parts[i].side == NULL)
                status = rad_file_map(source->parts[i].file, &source->parts[i].mapped, error);
        }
        if (status == RADLLM_OK)
            atomic_store_explicit(&source->mapped, true, memory_order_release);
    }
    (void)pthread_mutex_unlock(&source->mapping);
    return status;
}

const uint8_t *rad_source_mapped(const rad_source *source, uint32_t part)
{
    if (!atomic_load_explicit(&source->mapped, memory_order_acquire))
        return NULL;
    return source->parts[part].mapped;
}
