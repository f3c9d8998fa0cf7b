/* Reads a file part from front to back through a buffer of fixed size. Every read is checked
 * against the bytes that remain, so that no length in a file is ever trusted. */
#ifndef RAD_READER_H
#define RAD_READER_H

#include "io/source.h"

#define RAD_READER_BUFFER ((size_t)64 << 10)

typedef struct rad_reader {
    const rad_source *source;
    uint32_t part;
    const char *label;     /* the file, for messages */
    const char *place;     /* what is being read, for messages: "the header", "key 'a.b'" */
    uint64_t size;         /* of the file */
    uint64_t position;     /* of the next byte */
    uint8_t *buffer;       /* RAD_READER_BUFFER bytes */
    uint64_t buffer_start; /* position of its first byte */
    size_t buffer_size;    /* bytes in it */
    radllm_error *error;
} rad_reader;

radllm_status rad_reader_open(rad_reader *reader, const rad_source *source, uint32_t part,
                              radllm_error *error);
void rad_reader_close(rad_reader *reader);

static inline uint64_t rad_reader_remaining(const rad_reader *reader)
{
    return reader->size - reader->position;
}

/* RADLLM_E_FORMAT when fewer than `size` bytes remain; `what` names them ("the string length"). */
radllm_status rad_reader_need(const rad_reader *reader, uint64_t size, const char *what);
radllm_status rad_reader_bytes(rad_reader *reader, void *out, size_t size, const char *what);
radllm_status rad_reader_u32(rad_reader *reader, uint32_t *out, const char *what);
radllm_status rad_reader_u64(rad_reader *reader, uint64_t *out, const char *what);

#endif
