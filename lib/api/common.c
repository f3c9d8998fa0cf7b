/* Versions, errors, the host, cancellation, and what all entries share. */
#include <string.h>

#include "api/handles.h"

#define NUMERIC_VERSION 2

uint32_t radllm_version(void)
{
    return RADLLM_VERSION_MAJOR * 1000000u + RADLLM_VERSION_MINOR * 1000u + RADLLM_VERSION_PATCH;
}

#define TEXT_OF(number)       #number
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *radllm_version_text(void)
{
    return VERSION_TEXT(RADLLM_VERSION_MAJOR, RADLLM_VERSION_MINOR, RADLLM_VERSION_PATCH);
}

uint32_t radllm_numeric_version(void)
{
    return NUMERIC_VERSION;
}

const char *radllm_status_name(radllm_status status)
{
    static const char *const names[] = {
        "RADLLM_OK",        "RADLLM_E_ARGUMENT",    "RADLLM_E_MEMORY",   "RADLLM_E_IO",
        "RADLLM_E_FORMAT",  "RADLLM_E_UNSUPPORTED", "RADLLM_E_LIMIT",    "RADLLM_E_BUDGET",
        "RADLLM_E_NUMERIC", "RADLLM_E_CANCELLED",   "RADLLM_E_STATE",    "RADLLM_E_NOT_FOUND",
        "RADLLM_E_BUFFER",  "RADLLM_E_FORKED",      "RADLLM_E_INTERNAL", "RADLLM_E_DEVICE"};
    if (status < 0 || (size_t)status >= sizeof names / sizeof *names)
        return "unknown status";
    return names[status];
}

/* ---- errors ------------------------------------------------------------------------------ */

radllm_status radllm_error_new(radllm_error **out)
{
    if (out == NULL)
        return RADLLM_E_ARGUMENT;
    radllm_error *error = rad_alloc_zero(&rad_default_allocator, sizeof *error);
    if (error == NULL)
        return RADLLM_E_MEMORY;
    error->allocator = &rad_default_allocator;
    *out = error;
    return RADLLM_OK;
}

void radllm_error_free(radllm_error *error)
{
    if (error != NULL)
        rad_free(error->allocator, error, sizeof *error);
}

radllm_status radllm_error_status(const radllm_error *error)
{
    return error != NULL ? error->status : RADLLM_OK;
}

const char *radllm_error_message(const radllm_error *error)
{
    return error != NULL ? error->message : "";
}

radllm_status rad_fail_null(radllm_error *error, const char *name)
{
    return rad_fail(error, RADLLM_E_ARGUMENT, "the argument %s is NULL", name);
}

radllm_status rad_check_process(int64_t process, radllm_error *error)
{
    if (process == rad_process_id())
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_FORKED,
                    "the object was made before fork(), in another process; make it again in this "
                    "one");
}

/* ---- texts ------------------------------------------------------------------------------- */

size_t rad_text_length(const char *text, size_t length)
{
    return length == RADLLM_NUL ? strlen(text) : length;
}

radllm_status rad_copy_out(const char *text, size_t size, char *buffer, size_t capacity,
                           size_t *length, radllm_error *error)
{
    if (length != NULL)
        *length = size;
    if (buffer == NULL && capacity != 0)
        return rad_fail_null(error, "buffer");
    if (size > capacity)
        return rad_fail(error, RADLLM_E_BUFFER, "the text has %zu bytes, the buffer %zu", size,
                        capacity);
    if (size > 0)
        memcpy(buffer, text, size);
    if (size < capacity)
        buffer[size] = '\0';
    return RADLLM_OK;
}

radllm_status rad_copy_tokens(const rad_tokens *from, int32_t *tokens, size_t capacity,
                              size_t *count, radllm_error *error)
{
    if (count != NULL)
        *count = from->count;
    if (tokens == NULL && capacity != 0)
        return rad_fail_null(error, "tokens");
    if (from->count > capacity)
        return rad_fail(error, RADLLM_E_BUFFER, "there are %zu tokens, the buffer has room for %zu",
                        from->count, capacity);
    if (from->count > 0)
        memcpy(tokens, from->ids, from->count * sizeof *tokens);
    return RADLLM_OK;
}

radllm_status rad_copy_info(void *info, const void *known, size_t known_size, radllm_error *error)
{
    size_t size;
    memcpy(&size, info, sizeof size);
    if (size <= sizeof size)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the member size is %zu; set it to the size of the struct before the call",
                        size);
    memcpy(info, known, size < known_size ? size : known_size);
    return RADLLM_OK;
}

const char *rad_gpu_name(const rad_cuda_placement *placement, const char *name, uint32_t *index)
{
    if (strncmp(name, "gpu", 3) != 0 || name[3] < '0' || name[3] > '9')
        return NULL;
    *index = 0;
    for (name += 3; *name >= '0' && *name <= '9' && *index < RAD_CUDA_GPUS; name++)
        *index = 10 * *index + (uint32_t)(*name - '0');
    return *name == '_' && *index < placement->n_gpus ? name + 1 : NULL;
}

bool rad_placement_number(const rad_cuda_placement *placement, const char *name, int64_t *out)
{
    uint32_t k;
    const char *rest = rad_gpu_name(placement, name, &k);
    const rad_cuda_share *share = rest != NULL ? &placement->gpus[k] : NULL;
    if (share == NULL && strncmp(name, "gpu_", 4) == 0)
        rest = name + 4;
    if (rest == NULL)
        return false;
    const rad_cuda_bytes *b = share != NULL ? &share->bytes : &placement->bytes;
    const rad_named_number numbers[] = {
        {"layers", share != NULL ? share->n_layers : placement->n_layers},
        {"output", share != NULL ? share->output : placement->output},
        {"weights", (int64_t)b->weights},
        {"cache", (int64_t)b->cache},
        {"activations", (int64_t)b->activations},
        {"context", (int64_t)b->context},
        {"libraries", (int64_t)b->libraries},
        {"draft", (int64_t)b->draft},
        {"total", (int64_t)b->total},
        {"memory", (int64_t)b->memory},
        {share != NULL ? "number" : "count", share != NULL ? share->number : placement->n_gpus},
    };
    return rad_find_number(numbers, sizeof numbers / sizeof *numbers, rest, out, NULL) == RADLLM_OK;
}

radllm_status rad_find_number(const rad_named_number *numbers, size_t count, const char *name,
                              int64_t *out, radllm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            *out = numbers[i].value;
            return RADLLM_OK;
        }
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no number called \"%s\"",
                    rad_quote(quoted, name, strlen(name)));
}

/* ---- host -------------------------------------------------------------------------------- */

rad_host rad_host_settings(const radllm_host *host)
{
    if (host != NULL)
        return host->settings;
    return (rad_host){.allocator = rad_default_allocator};
}

radllm_status radllm_host_new(radllm_allocate_fn allocate, radllm_release_fn release, void *user,
                              radllm_host **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(out);
    if ((allocate == NULL) != (release == NULL))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "allocate and release must both be given, or both be NULL");
    rad_allocator allocator = rad_default_allocator;
    if (allocate != NULL)
        allocator = (rad_allocator){allocate, release, user};
    radllm_host *host = rad_alloc_zero(&allocator, sizeof *host);
    if (host == NULL)
        return rad_fail_memory(error, sizeof *host);
    host->settings.allocator = allocator;
    host->process = rad_process_id();
    *out = host;
    return RADLLM_OK;
}

void radllm_host_free(radllm_host *host)
{
    if (host == NULL)
        return;
    rad_allocator allocator = host->settings.allocator;
    rad_free(&allocator, host, sizeof *host);
}

radllm_status radllm_host_set_log(radllm_host *host, radllm_log_fn log, void *user, int32_t level,
                                  radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(host);
    RAD_CHECK_PROCESS(host->process);
    host->settings.log = log;
    host->settings.log_user = user;
    host->settings.log_level = level;
    return RADLLM_OK;
}

radllm_status radllm_host_set_executor(radllm_host *host, radllm_executor_fn executor, void *user,
                                       uint32_t workers, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(host);
    RAD_CHECK_PROCESS(host->process);
    if (executor != NULL && (workers < 1 || workers > 1024))
        return rad_fail(error, RADLLM_E_ARGUMENT, "workers is %u; it must be 1 to 1024", workers);
    host->settings.executor = executor;
    host->settings.executor_user = user;
    host->settings.executor_workers = executor != NULL ? workers : 0;
    return RADLLM_OK;
}

radllm_status radllm_host_set_progress(radllm_host *host, radllm_progress_fn progress, void *user,
                                       radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(host);
    RAD_CHECK_PROCESS(host->process);
    host->settings.progress = progress;
    host->settings.progress_user = user;
    return RADLLM_OK;
}

/* ---- cancellation ------------------------------------------------------------------------ */

radllm_status radllm_cancel_new(const radllm_host *host, radllm_cancel **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(out);
    rad_host settings = rad_host_settings(host);
    radllm_cancel *cancel = rad_alloc_zero(&settings.allocator, sizeof *cancel);
    if (cancel == NULL)
        return rad_fail_memory(error, sizeof *cancel);
    cancel->allocator = settings.allocator;
    *out = cancel;
    return RADLLM_OK;
}

void radllm_cancel_free(radllm_cancel *cancel)
{
    if (cancel == NULL)
        return;
    rad_allocator allocator = cancel->allocator;
    rad_free(&allocator, cancel, sizeof *cancel);
}

void radllm_cancel_set(radllm_cancel *cancel)
{
    if (cancel != NULL)
        atomic_store_explicit(&cancel->stop, 1, memory_order_relaxed);
}

void radllm_cancel_reset(radllm_cancel *cancel)
{
    if (cancel != NULL)
        atomic_store_explicit(&cancel->stop, 0, memory_order_relaxed);
}
