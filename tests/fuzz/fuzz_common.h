/* What the fuzzing targets share: conditions that must hold, memory that is counted and fails on
 * request, and files that lie in memory. */
#ifndef RAD_FUZZ_COMMON_H
#define RAD_FUZZ_COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/model_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold. assert() would be off in release builds. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- memory that is counted ------------------------------------------------------------------ */

typedef struct memory {
    size_t live_blocks;
    size_t live_bytes;
    size_t peak_bytes;
    uint64_t calls;
    uint64_t fail_at; /* this call fails; 0: none */
} memory;

static inline void *memory_take(void *user, size_t size, size_t alignment)
{
    memory *m = user;
    if (++m->calls == m->fail_at)
        return NULL;
    void *pointer = NULL;
    if (posix_memalign(&pointer, alignment, size) != 0)
        return NULL;
    m->live_blocks++;
    m->live_bytes += size;
    m->peak_bytes = m->live_bytes > m->peak_bytes ? m->live_bytes : m->peak_bytes;
    return pointer;
}

static inline void memory_give_back(void *user, void *pointer, size_t size)
{
    memory *m = user;
    HOLDS(m->live_blocks > 0 && m->live_bytes >= size);
    m->live_blocks--;
    m->live_bytes -= size;
    free(pointer);
}

/* The same where what is asked for, or what is held, is above `most`: refused. */
static inline void *memory_take_within(size_t most, void *user, size_t size, size_t alignment)
{
    const memory *m = user;
    return size > most || m->live_bytes > most ? NULL : memory_take(user, size, alignment);
}

/* What opening and running a model may end with, whatever its files hold. */
static inline bool model_may_end_with(radllm_status status)
{
    return status == RADLLM_OK || status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
           status == RADLLM_E_MEMORY || status == RADLLM_E_LIMIT || status == RADLLM_E_NUMERIC ||
           status == RADLLM_E_ARGUMENT;
}

/* The vectors of three tokens, by a model that gives no text; NULL where there are none. */
static inline const float *embed_some(radllm_engine *engine, const radllm_options *options,
                                      size_t *needed)
{
    static const int32_t tokens[] = {0, 1, 2};
    static float vectors[4096];
    const int32_t *text = tokens;
    size_t count = 3;
    radllm_status status =
        radllm_embed_tokens(engine, &text, &count, 1, options, NULL, vectors, 4096, needed, NULL);
    HOLDS(model_may_end_with(status) || status == RADLLM_E_IO || status == RADLLM_E_BUFFER);
    return status == RADLLM_OK ? vectors : NULL;
}

/* For one input in eight, the number of an allocation up to `most` that shall fail; else 0. */
static inline uint64_t failing_allocation(const uint8_t *data, size_t size, uint32_t most)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;
    return hash % 8 == 0 ? 1 + hash / 8 % most : 0;
}

/* ---- a file in memory ------------------------------------------------------------------------ */

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static inline int32_t read_input(void *user, uint64_t offset, void *buffer, size_t size)
{
    const input *in = user;
    HOLDS(offset <= in->size && size <= in->size - offset); /* the library checks that first */
    memcpy(buffer, in->data + offset, size);
    return 0;
}

/* Takes a number from the front of an input; 0 behind its end. */
static inline uint8_t take_byte(input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static inline input take_bytes(input *in, size_t size)
{
    input taken = {in->data, size < in->size ? size : in->size};
    in->data += taken.size;
    in->size -= taken.size;
    return taken;
}

/* ---- GGUF files to write --------------------------------------------------------------------- */

typedef struct gguf_text {
    uint8_t *data;
    size_t size, capacity;
    uint64_t n_keys;
} gguf_text;

static inline void gguf_put(gguf_text *file, const void *data, size_t size)
{
    if (file->size + size > file->capacity) {
        file->capacity = 2 * (file->size + size) + 1024;
        file->data = realloc(file->data, file->capacity);
        HOLDS(file->data != NULL);
    }
    if (size > 0)
        memcpy(file->data + file->size, data, size);
    file->size += size;
}

static inline void gguf_put_number(gguf_text *file, uint64_t value, size_t size)
{
    gguf_put(file, &value, size); /* little-endian machines */
}

static inline void gguf_put_string(gguf_text *file, const void *data, size_t size)
{
    gguf_put_number(file, size, 8);
    gguf_put(file, data, size);
}

static inline void gguf_begin(gguf_text *file)
{
    *file = (gguf_text){0};
    gguf_put(file, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
}

/* A key's name and type; its value is put next. */
static inline void gguf_begin_key(gguf_text *file, const char *name, rad_meta_type type)
{
    gguf_put_string(file, name, strlen(name));
    gguf_put_number(file, type, 4);
    file->n_keys++;
    memcpy(file->data + 16, &file->n_keys, 8);
}

static inline void gguf_begin_array(gguf_text *file, const char *name, rad_meta_type type,
                                    uint64_t count)
{
    gguf_begin_key(file, name, RAD_META_ARRAY);
    gguf_put_number(file, type, 4);
    gguf_put_number(file, count, 8);
}

static inline void gguf_key_string(gguf_text *file, const char *name, const char *value)
{
    gguf_begin_key(file, name, RAD_META_STRING);
    gguf_put_string(file, value, strlen(value));
}

/* The letter that byte-level vocabularies spell a byte with, as UTF-8. */
static inline size_t byte_letter(uint32_t byte, char out[4])
{
    uint32_t code = byte;
    if (byte <= 0x20)
        code = 0x100 + byte;
    else if (byte >= 0x7F && byte <= 0xA0)
        code = 0x100 + 33 + (byte - 0x7F);
    else if (byte == 0xAD)
        code = 0x100 + 67;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    return 2;
}

#endif
