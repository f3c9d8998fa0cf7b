/* Makes the bytes of GGUF files for tests, well-formed or wrong in one chosen way. It shares no
 * code with the library's reader and writer.
 *
 *   gguf_builder file = gguf_builder_new();
 *   gguf_key_u32(&file, "llama.block_count", 0);       // keys, in this order
 *   gguf_tensor(&file, "a", 0, 2, (uint64_t[]){4, 2}, values, sizeof values);
 *   gguf_bytes bytes = gguf_build(&file);              // bytes.data, bytes.size
 *   gguf_put_u64(bytes.data + file.tensors[0].dims_position, 0);
 *   ...
 *   gguf_bytes_free(&bytes);
 *   gguf_builder_free(&file);
 *
 * Setting a key again replaces it. gguf_load() takes an existing file apart, so that a test can
 * change one thing in it; gguf_tiny_llama() makes a small model with a vocabulary and random
 * weights. */
#ifndef RAD_TEST_GGUF_BUILDER_H
#define RAD_TEST_GGUF_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

typedef struct gguf_key_entry {
    char *name; /* `size` bytes, may hold NUL */
    size_t size;
    uint32_t type;  /* as written */
    uint8_t *value; /* all that follows the type */
    size_t value_size;
    size_t position;       /* after gguf_build: of the key's length */
    size_t value_position; /* of the first byte behind the type */
} gguf_key_entry;

typedef struct gguf_tensor_entry {
    char *name;
    size_t size;
    uint32_t n_dims; /* as written; up to 8 are written */
    uint64_t dims[8];
    uint32_t type;
    bool own_offset; /* write `offset` instead of where the data will lie */
    uint64_t offset;
    uint8_t *data;
    size_t data_size;
    size_t position; /* after gguf_build: of the name's length */
    size_t dims_position;
    size_t type_position;
    size_t offset_position;
    size_t data_position;
} gguf_tensor_entry;

typedef struct gguf_builder {
    char magic[4];
    uint32_t version;
    size_t alignment; /* of the data; the key is the caller's affair */
    bool own_counts;  /* write the two counts below instead of the real ones */
    uint64_t count_keys;
    uint64_t count_tensors;
    gguf_key_entry *keys;
    size_t n_keys;
    gguf_tensor_entry *tensors;
    size_t n_tensors;
    size_t infos_end;  /* after gguf_build: the end of the last tensor's description */
    size_t data_start; /* after gguf_build */
} gguf_builder;

typedef struct gguf_bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
} gguf_bytes;

gguf_builder gguf_builder_new(void); /* version 3, alignment 32, nothing in it */
void gguf_builder_free(gguf_builder *file);

/* ---- keys ------------------------------------------------------------------------------------ */

/* Any type and value; returns the entry, valid until a key is added. Unlike the others it adds
 * always, so that a key can occur twice. */
gguf_key_entry *gguf_key_raw(gguf_builder *file, const char *name, size_t name_size, uint32_t type,
                             const void *value, size_t value_size);
void gguf_key_u32(gguf_builder *file, const char *name, uint32_t value);
void gguf_key_i32(gguf_builder *file, const char *name, int32_t value);
void gguf_key_u16(gguf_builder *file, const char *name, uint16_t value);
void gguf_key_u64(gguf_builder *file, const char *name, uint64_t value);
void gguf_key_f32(gguf_builder *file, const char *name, float value);
void gguf_key_bool(gguf_builder *file, const char *name, uint8_t value);
void gguf_key_string(gguf_builder *file, const char *name, const char *value);
void gguf_key_text(gguf_builder *file, const char *name, const void *value, size_t size);
void gguf_key_strings(gguf_builder *file, const char *name, const char *const *values,
                      size_t count);
/* Items of `item_size` bytes each, as they stand in memory (little-endian machines). */
void gguf_key_array(gguf_builder *file, const char *name, uint32_t item_type, const void *items,
                    size_t item_size, size_t count);
gguf_key_entry *gguf_find_key(gguf_builder *file, const char *name); /* NULL when it is not there */
void gguf_remove_key(gguf_builder *file, const char *name);

/* ---- tensors --------------------------------------------------------------------------------- */

/* data NULL: zeros. Returns the entry, valid until a tensor is added. */
gguf_tensor_entry *gguf_tensor(gguf_builder *file, const char *name, uint32_t type, uint32_t n_dims,
                               const uint64_t *dims, const void *data, size_t data_size);
/* An F32 tensor of n_dims dimensions with reproducible values between -scale and scale. */
gguf_tensor_entry *gguf_tensor_random(gguf_builder *file, const char *name, uint32_t n_dims,
                                      const uint64_t *dims, float scale);
gguf_tensor_entry *gguf_find_tensor(gguf_builder *file, const char *name);
void gguf_remove_tensor(gguf_builder *file, const char *name);
/* Replaces the data of an F32 tensor by `count` copies of value. */
void gguf_fill_f32(gguf_tensor_entry *tensor, float value);

/* ---- whole files ----------------------------------------------------------------------------- */

gguf_bytes gguf_build(gguf_builder *file);
void gguf_bytes_free(gguf_bytes *bytes);
void gguf_put_u32(uint8_t *at, uint32_t value);
void gguf_put_u64(uint8_t *at, uint64_t value);
/* Writes the built file to path. */
void gguf_write(gguf_builder *file, const char *path);

/* A well-formed GGUF file (version 2 or 3), taken apart. The case fails when it cannot be read. */
gguf_builder gguf_load(const char *path);

/* A valid llama model of 2 layers, width 32, 4 heads, 2 key/value heads, feed-forward 64, context
 * 128, with a SentencePiece-like vocabulary of 291 tokens (unknown, BOS, EOS, 256 bytes, letters
 * and a few words) and random F32 weights. */
gguf_builder gguf_tiny_llama(void);

#endif
