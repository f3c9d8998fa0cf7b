/* Writing a file from front to back: snapshots of sessions, converters, tools. */
#ifndef RAD_FILE_WRITE_H
#define RAD_FILE_WRITE_H

#include "base/base.h"

/* Bytes go to PATH.partial, which becomes PATH only when all was written: a reader never sees half
 * a file, and what stood at PATH stays when writing fails. Of a link the file behind it is
 * replaced. Where PATH is a device or a pipe it is written directly. RADLLM_E_IO where somebody
 * else writes the same file now. One thread at a time. */
typedef struct rad_output rad_output;

/* out may be NULL: then nothing is made, and only what would be refused is. */
radllm_status rad_output_open(const rad_allocator *allocator, const char *path, rad_output **out,
                              radllm_error *error);
/* The same; nobody but the file's owner can read it. */
radllm_status rad_output_open_private(const rad_allocator *allocator, const char *path,
                                      rad_output **out, radllm_error *error);
/* The same, into memory. */
radllm_status rad_output_open_memory(const rad_allocator *allocator, rad_output **out,
                                     radllm_error *error);
radllm_status rad_output_write(rad_output *output, const void *data, size_t size,
                               radllm_error *error);
/* What was written into memory, and a NUL behind it, which the caller frees (size + 1 bytes). */
radllm_status rad_output_take(rad_output *output, char **data, size_t *size, radllm_error *error);
uint64_t rad_output_position(const rad_output *output); /* bytes written so far */
/* Whether what stands at path is another user's, in a folder where only owners may give names (the
 * sticky bit, as /tmp has it): it cannot be replaced. */
bool rad_is_kept_by_owner(const char *path);
/* Hands the bytes to the storage device and gives the file its name. Then free it. */
radllm_status rad_output_commit(rad_output *output, radllm_error *error);
/* Removes what was written, unless it was committed. */
void rad_output_free(rad_output *output);

#endif
