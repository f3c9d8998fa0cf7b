/* Streams tensors in other number formats to a file, in constant memory: for all kinds of files. */
#ifndef RAD_QUANTIZE_DATA_H
#define RAD_QUANTIZE_DATA_H

#include "quantize/quantize.h"

typedef struct rad_data_writer rad_data_writer;
typedef radllm_status (*rad_data_sink)(void *user, const void *data, size_t size,
                                       radllm_error *error);

/* What is told of it: elements of all tensors. */
typedef struct rad_data_progress {
    const radllm_cancel *cancel;
    uint64_t done, total;
} rad_data_progress;

/* The host must outlive the writer. */
radllm_status rad_data_writer_new(const rad_host *host, uint32_t n_threads, rad_data_sink sink,
                                  void *user, rad_data_writer **out, radllm_error *error);
void rad_data_writer_free(rad_data_writer *writer);
void rad_data_writer_release(rad_data_writer *writer); /* its buffers, until the next tensor */

/* Refuses what rad_data_write() cannot do, which is told without reading. */
radllm_status rad_data_check(const rad_tensor *tensor, rad_type type, radllm_error *error);
/* Gives the sink all bytes of a tensor in a type, in order. importance may be NULL. */
radllm_status rad_data_write(rad_data_writer *writer, const rad_source *source,
                             const rad_tensor *tensor, rad_type type,
                             const rad_importance_entry *importance, rad_data_progress *progress,
                             radllm_error *error);
/* RADLLM_E_CANCELLED when the caller or the host wants no more; tells the host how far it is. */
radllm_status rad_data_look_up(const rad_data_writer *writer, const rad_data_progress *progress,
                               radllm_error *error);

#endif
