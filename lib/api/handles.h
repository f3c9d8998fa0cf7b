/* lib/api: one thin layer: argument checks, then one call inward. The only place that knows the
 * public structs. */
#ifndef RAD_HANDLES_H
#define RAD_HANDLES_H

#include <stdatomic.h>

#include "api/options.h"
#include "base/host.h"
#include "base/numeric.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "model/model.h"
#include "quantize/quantize.h"
#include "text/chat_template.h"

struct radllm_host {
    rad_host settings;
    int64_t process;
};

struct radllm_file {
    atomic_uint references;
    rad_host host;
    rad_source *source;
    int64_t process;
    pthread_mutex_t hash_mutex;
    char hash[65]; /* "" until it was asked for */
};

struct radllm_plan {
    rad_allocator allocator;
    int64_t process;
    uint64_t weights, cache, activations, vocabulary, overhead, draft, context, largest_context;
    uint64_t prefixes; /* of the cache */
    uint64_t experts, experts_used, active_weights;
    uint64_t adapters; /* of the weights */
    rad_cuda_placement placement;
};

struct radllm_importance {
    atomic_uint references;
    rad_importance importance;
    int64_t process;
};

struct radllm_quantization {
    rad_allocator allocator;
    int64_t process;
    radllm_importance *importance; /* NULL: none */
    rad_quantize_plan plan;
};

struct radllm_model {
    atomic_uint references;
    rad_host host;
    radllm_file *file;
    rad_model *model;
    int64_t process;
    const rad_chat_template *chat_template; /* that equals the file's own text, or NULL */
};

struct radllm_adapter {
    radllm_model *model;
    rad_adapter *adapter;
};

struct radllm_engine {
    atomic_uint references;
    radllm_model *model;
    radllm_model *draft; /* NULL: none */
    rad_engine *engine;
};

struct radllm_session {
    atomic_uint references;
    radllm_engine *engine;
    rad_session *session;
};

struct radllm_request {
    radllm_session *session;
    rad_request *request;
};

struct radllm_chat {
    rad_allocator allocator;
    int64_t process;
    rad_message *messages;
    size_t count, capacity;
};

struct radllm_detokenizer {
    radllm_model *model;
    rad_detokenizer stream;
    char *piece; /* what the last token gave */
    size_t piece_capacity, piece_size;
};

/* The host's settings, or the defaults for NULL. */
rad_host rad_host_settings(const radllm_host *host);

/* For a NULL argument that may not be NULL. */
radllm_status rad_fail_null(radllm_error *error, const char *name);
/* RADLLM_E_FORKED when `process` is not this one. */
radllm_status rad_check_process(int64_t process, radllm_error *error);

#define RAD_CHECK_NULL(pointer)                                                                    \
    do {                                                                                           \
        if ((pointer) == NULL)                                                                     \
            return rad_fail_null(error, #pointer);                                                 \
    } while (0)

#define RAD_CHECK_PROCESS(process)                                                                 \
    do {                                                                                           \
        radllm_status process_status_ = rad_check_process(process, error);                         \
        if (process_status_ != RADLLM_OK)                                                          \
            return process_status_;                                                                \
    } while (0)

/* Length of a text argument, which may be RADLLM_NUL. */
size_t rad_text_length(const char *text, size_t length);

/* Copies text out as the header's conventions say. */
radllm_status rad_copy_out(const char *text, size_t size, char *buffer, size_t capacity,
                           size_t *length, radllm_error *error);
/* The same for tokens, without a NUL. */
radllm_status rad_copy_tokens(const rad_tokens *from, int32_t *tokens, size_t capacity,
                              size_t *count, radllm_error *error);

/* Fills a public struct, whose first member says how much of it the host knows; it fails when that
 * was not set. */
radllm_status rad_copy_info(void *info, const void *known, size_t known_size, radllm_error *error);

/* A name and its number, for the calls that look numbers up by name. */
typedef struct rad_named_number {
    const char *name;
    int64_t value;
} rad_named_number;

/* What a plan and an engine tell of GPUs: "gpu_NAME" of all of them together, "gpuI_NAME" of the
 * I-th. False for other names. */
bool rad_placement_number(const rad_cuda_placement *placement, const char *name, int64_t *out);
/* What stands behind "gpuI_" of the I-th GPU of a placement; NULL: it is no such name. */
const char *rad_gpu_name(const rad_cuda_placement *placement, const char *name, uint32_t *index);

radllm_status rad_find_number(const rad_named_number *numbers, size_t count, const char *name,
                              int64_t *out, radllm_error *error);

/* The tokens of a chat with the template that `options` name. */
radllm_status rad_chat_encode(const radllm_model *model, const radllm_chat *chat,
                              const radllm_options *options, rad_tokens *tokens,
                              const rad_chat_template **used, radllm_error *error);

#endif
