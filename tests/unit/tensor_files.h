/* Files of safetensors in a folder of the test's own, and what is said of them. */
#ifndef RAD_TEST_TENSOR_FILES_H
#define RAD_TEST_TENSOR_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/model_source.h"
#include "unit/harness.h"

/* An entry of a header. */
#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* A path inside the folder `m` of this test, made at the first call. */
static inline const char *inside(const char *name)
{
    char relative[300];
    mkdir(rad_test_temp_path("m"), 0700);
    snprintf(relative, sizeof relative, "m%s%s", name[0] != '\0' ? "/" : "", name);
    return rad_test_temp_path(relative);
}

static inline void write_text(const char *name, const char *text)
{
    rad_test_write_file(inside(name), text, strlen(text));
}

/* A header and n_data bytes of data, each the low byte of its place. */
static inline void write_tensors(const char *name, const char *header, size_t n_data)
{
    uint64_t size = strlen(header);
    uint8_t *bytes = malloc(8 + size + n_data);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, &size, 8);
    memcpy(bytes + 8, header, size);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + size + i] = (uint8_t)i;
    rad_test_write_file(inside(name), bytes, 8 + size + n_data);
    free(bytes);
}

static inline radllm_status open_path(const char *path, rad_test_memory *memory, rad_source **out,
                                      radllm_error *error)
{
    rad_host host = {.allocator = rad_test_allocator(memory)};
    return rad_source_open(&host, path, out, error);
}

/* Opens what must be refused; nothing stays behind. */
static inline void refuse(const char *path, radllm_status expected, const char *part)
{
    rad_test_memory memory;
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_test_memory_init(&memory, 0);
    rad_assert_error(open_path(path, &memory, &source, &error), expected, &error, part);
    ck_assert_ptr_null(source);
    ck_assert_uint_gt(strlen(error.message), 20);
    for (const char *c = error.message; *c != '\0'; c++)
        ck_assert_msg((unsigned char)*c >= 0x20, "control character in: %s", error.message);
    rad_test_memory_check(&memory);
}

static inline rad_source *accept(const char *path)
{
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    return source;
}

#endif
