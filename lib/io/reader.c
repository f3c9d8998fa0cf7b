#include "io/reader.h"

#include <inttypes.h>
#include <string.h>

radllm_status rad_reader_open(rad_reader *reader, const rad_source *source, uint32_t part,
                              radllm_error *error)
{
    *reader = (rad_reader){
        .source = source,
        .part = part,
        .label = source->parts[part].label,
        .place = "the header",
        .size = source->parts[part].size,
        .error = error,
    };
    reader->buffer = rad_alloc(&source->host.allocator, RAD_READER_BUFFER);
    return reader->buffer != NULL ? RADLLM_OK : rad_fail_memory(error, RAD_READER_BUFFER);
}

void rad_reader_close(rad_reader *reader)
{
    rad_free(&reader->source->host.allocator, reader->buffer, RAD_READER_BUFFER);
    reader->buffer = NULL;
}

radllm_status rad_reader_need(const rad_reader *reader, uint64_t size, const char *what)
{
    uint64_t remaining = rad_reader_remaining(reader);
    if (size <= remaining)
        return RADLLM_OK;
    return rad_fail(reader->error, RADLLM_E_FORMAT,
                    "%s: %s: %s at byte %" PRIu64 " needs %" PRIu64 " bytes, but the file ends "
                    "after %" PRIu64 " more; the download may be incomplete or damaged: fetch the "
                    "file again",
                    reader->label, reader->place, what, reader->position, size, remaining);
}

/* Takes what the buffer holds of the next `size` bytes. */
static size_t take_buffered(rad_reader *reader, uint8_t *out, size_t size)
{
    uint64_t used = reader->position - reader->buffer_start;
    if (used >= reader->buffer_size)
        return 0;
    size_t available = reader->buffer_size - (size_t)used;
    size_t taken = size < available ? size : available;
    memcpy(out, reader->buffer + used, taken);
    reader->position += taken;
    return taken;
}

radllm_status rad_reader_bytes(rad_reader *reader, void *out, size_t size, const char *what)
{
    radllm_status status = rad_reader_need(reader, size, what);
    if (status != RADLLM_OK || size == 0)
        return status;
    uint8_t *target = out;
    size_t taken = take_buffered(reader, target, size);
    target += taken;
    size -= taken;
    if (size >= RAD_READER_BUFFER) { /* large pieces go straight to where they belong */
        status = rad_source_read(reader->source, reader->part, reader->position, target, size,
                                 reader->error);
        if (status == RADLLM_OK)
            reader->position += size;
        return status;
    }
    if (size == 0)
        return RADLLM_OK;
    uint64_t remaining = rad_reader_remaining(reader);
    size_t fill = remaining < RAD_READER_BUFFER ? (size_t)remaining : RAD_READER_BUFFER;
    reader->buffer_size = 0;
    status = rad_source_read(reader->source, reader->part, reader->position, reader->buffer, fill,
                             reader->error);
    if (status != RADLLM_OK)
        return status;
    reader->buffer_start = reader->position;
    reader->buffer_size = fill;
    (void)take_buffered(reader, target, size);
    return RADLLM_OK;
}

radllm_status rad_reader_u32(rad_reader *reader, uint32_t *out, const char *what)
{
    uint8_t b[4];
    radllm_status status = rad_reader_bytes(reader, b, sizeof b, what);
    if (status == RADLLM_OK)
        *out = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return status;
}

radllm_status rad_reader_u64(rad_reader *reader, uint64_t *out, const char *what)
{
    uint8_t b[8];
    radllm_status status = rad_reader_bytes(reader, b, sizeof b, what);
    if (status != RADLLM_OK)
        return status;
    *out = 0;
    for (int i = 7; i >= 0; i--)
        *out = *out << 8 | b[i];
    return RADLLM_OK;
}
