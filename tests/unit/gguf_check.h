/* Opens GGUF bytes as a file and by callback, and checks what comes of it. */
#ifndef RAD_TEST_GGUF_CHECK_H
#define RAD_TEST_GGUF_CHECK_H

#include "io/model_source.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

/* The bytes must be refused with `status` and a message that holds each of the texts (the last
 * argument is NULL), by path and by callback, in memory bounded by their size, without a leak. */
void gguf_refused(const gguf_bytes *bytes, radllm_status status, ...);
/* The same for a builder, which stays as it is. */
#define gguf_refuse(file, status, ...)                                                             \
    do {                                                                                           \
        gguf_bytes built_ = gguf_build(file);                                                      \
        gguf_refused(&built_, (status), __VA_ARGS__, (const char *)NULL);                          \
        gguf_bytes_free(&built_);                                                                  \
    } while (0)

/* Opens what the builder makes; the case fails when it is refused. The caller releases it. */
rad_source *gguf_accept(gguf_builder *file);

/* Opens bytes by callback with memory that counts. */
radllm_status gguf_open_bytes(const gguf_bytes *bytes, rad_test_memory *memory, rad_source **out,
                              radllm_error *error);
/* A radllm_read_fn over a gguf_bytes; fails beyond its end. */
int32_t gguf_read_bytes(void *user, uint64_t offset, void *buffer, size_t size);

#endif
