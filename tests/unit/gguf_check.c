#include "unit/gguf_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t gguf_read_bytes(void *user, uint64_t offset, void *buffer, size_t size)
{
    const gguf_bytes *bytes = user;
    if (offset > bytes->size || size > bytes->size - offset)
        return 1;
    memcpy(buffer, bytes->data + offset, size);
    return 0;
}

radllm_status gguf_open_bytes(const gguf_bytes *bytes, rad_test_memory *memory, rad_source **out,
                              radllm_error *error)
{
    rad_host host = {.allocator = rad_test_allocator(memory)};
    return rad_source_open_callback(&host, gguf_read_bytes, (void *)(uintptr_t)bytes, bytes->size,
                                    out, error);
}

static void check_message(const char *message, va_list parts)
{
    size_t length = strlen(message);
    ck_assert_uint_gt(length, 20);
    ck_assert_uint_lt(length, RAD_ERROR_MESSAGE_SIZE - 1);
    for (size_t i = 0; i < length; i++)
        ck_assert_msg((unsigned char)message[i] >= 0x20, "control character in: %s", message);
    const char *part;
    while ((part = va_arg(parts, const char *)) != NULL)
        ck_assert_msg(strstr(message, part) != NULL, "'%s' is not in: %s", part, message);
}

static void check_memory(const rad_test_memory *memory, size_t size)
{
    rad_test_memory_check(memory);
    unsigned long long limit = 600000 + 32 * (unsigned long long)size;
    unsigned long long peak = atomic_load(&memory->peak_bytes);
    ck_assert_msg(peak <= limit, "%llu bytes of memory for a file of %zu bytes", peak, size);
}

void gguf_refused(const gguf_bytes *bytes, radllm_status status, ...)
{
    va_list parts;
    va_start(parts, status);
    va_list again;
    va_copy(again, parts);

    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_source *source = NULL;
    radllm_error error = {0};
    ck_assert_msg(gguf_open_bytes(bytes, &memory, &source, &error) == status,
                  "status %d instead of %d: %s", error.status, status, error.message);
    ck_assert_int_eq(error.status, status);
    ck_assert_ptr_null(source);
    check_message(error.message, parts);
    check_memory(&memory, bytes->size);
    ck_assert_int_eq(gguf_open_bytes(bytes, &memory, &source, NULL), status);
    rad_test_memory_check(&memory);

    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("refused.gguf"));
    rad_test_write_file(path, bytes->data, bytes->size);
    rad_test_memory_init(&memory, 0);
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    radllm_status by_path = rad_source_open(&host, path, &source, &error);
    ck_assert_msg(by_path == status, "by path: %s", error.message);
    ck_assert_msg(strncmp(error.message, path, strlen(path)) == 0, "no path in: %s", error.message);
    check_message(error.message, again);
    check_memory(&memory, bytes->size);
    va_end(again);
    va_end(parts);
}

rad_source *gguf_accept(gguf_builder *file)
{
    const char *path = rad_test_temp_path("accepted.gguf");
    gguf_write(file, path);
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    return source;
}
