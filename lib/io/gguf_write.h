/* Writes GGUF files, version 3: for the converter and for tools. */
#ifndef RAD_GGUF_WRITE_H
#define RAD_GGUF_WRITE_H

#include "io/model_source.h"

/* Use: make it, add keys and tensors, begin, give the data of every tensor in the order in which
 * they were added, finish, free. The first failure of an add function is kept and reported by
 * begin. One thread at a time. */
typedef struct rad_gguf_writer rad_gguf_writer;

/* alignment: a power of two from 8 on; 32 is usual. Another value than 32 is written as a key. */
radllm_status rad_gguf_writer_new(const rad_allocator *allocator, uint32_t alignment,
                                  rad_gguf_writer **out, radllm_error *error);
void rad_gguf_writer_free(rad_gguf_writer *writer); /* removes an unfinished file */

/* Keys. An entry of the same key is replaced. Whatever is given is copied. */
void rad_gguf_set_integer(rad_gguf_writer *writer, const char *key, rad_meta_type type,
                          int64_t value);
void rad_gguf_set_f32(rad_gguf_writer *writer, const char *key, float value);
void rad_gguf_set_bool(rad_gguf_writer *writer, const char *key, bool value);
void rad_gguf_set_text(rad_gguf_writer *writer, const char *key, rad_text value);
/* Any value, arrays included, as it was read or as the caller made it (items little-endian). */
void rad_gguf_set_meta(rad_gguf_writer *writer, const rad_meta *meta);
/* The same of a key that is known to be new: no search, so that many keys take no quadratic time.
 */
void rad_gguf_add_meta(rad_gguf_writer *writer, const rad_meta *meta);

/* Declares a tensor of 1 to 4 dimensions, dims[0] contiguous. */
void rad_gguf_add_tensor(rad_gguf_writer *writer, const char *name, rad_type type, uint32_t n_dims,
                         const uint64_t *dims);

/* Bytes that the file will have, with what was added so far. */
radllm_status rad_gguf_file_bytes(const rad_gguf_writer *writer, uint64_t *out,
                                  radllm_error *error);

/* Creates the file and writes all but the data. */
radllm_status rad_gguf_begin(rad_gguf_writer *writer, const char *path, radllm_error *error);
/* The next `size` bytes of data of the next tensor that is not complete; a piece never spans two
 * tensors. */
radllm_status rad_gguf_data(rad_gguf_writer *writer, const void *data, size_t size,
                            radllm_error *error);
/* RADLLM_E_STATE when data of a tensor is missing. The file has its name only now. */
radllm_status rad_gguf_finish(rad_gguf_writer *writer, radllm_error *error);

#endif
