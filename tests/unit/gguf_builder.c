#include "unit/gguf_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/harness.h"

static void *checked(void *pointer)
{
    ck_assert_ptr_nonnull(pointer);
    return pointer;
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = checked(calloc(1, size + 1));
    if (data != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

gguf_builder gguf_builder_new(void)
{
    return (gguf_builder){.magic = {'G', 'G', 'U', 'F'}, .version = 3, .alignment = 32};
}

static void free_key(gguf_key_entry *key)
{
    free(key->name);
    free(key->value);
}

static void free_tensor(gguf_tensor_entry *tensor)
{
    free(tensor->name);
    free(tensor->data);
}

void gguf_builder_free(gguf_builder *file)
{
    for (size_t i = 0; i < file->n_keys; i++)
        free_key(&file->keys[i]);
    for (size_t i = 0; i < file->n_tensors; i++)
        free_tensor(&file->tensors[i]);
    free(file->keys);
    free(file->tensors);
    *file = gguf_builder_new();
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void gguf_put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void gguf_put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void append(gguf_bytes *bytes, const void *data, size_t size)
{
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = (bytes->size + size) * 2 + 256;
        bytes->data = checked(realloc(bytes->data, bytes->capacity));
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void append_u32(gguf_bytes *bytes, uint32_t value)
{
    uint8_t at[4];
    gguf_put_u32(at, value);
    append(bytes, at, sizeof at);
}

static void append_u64(gguf_bytes *bytes, uint64_t value)
{
    uint8_t at[8];
    gguf_put_u64(at, value);
    append(bytes, at, sizeof at);
}

static void append_padding(gguf_bytes *bytes, size_t alignment)
{
    while (bytes->size % alignment != 0)
        append(bytes, "", 1);
}

void gguf_bytes_free(gguf_bytes *bytes)
{
    free(bytes->data);
    *bytes = (gguf_bytes){0};
}

/* ---- keys ------------------------------------------------------------------------------------ */

gguf_key_entry *gguf_key_raw(gguf_builder *file, const char *name, size_t name_size, uint32_t type,
                             const void *value, size_t value_size)
{
    file->keys = checked(realloc(file->keys, (file->n_keys + 1) * sizeof *file->keys));
    gguf_key_entry *key = &file->keys[file->n_keys++];
    *key = (gguf_key_entry){.name = copy_of(name, name_size),
                            .size = name_size,
                            .type = type,
                            .value = copy_of(value, value_size),
                            .value_size = value_size};
    return key;
}

gguf_key_entry *gguf_find_key(gguf_builder *file, const char *name)
{
    for (size_t i = 0; i < file->n_keys; i++)
        if (file->keys[i].size == strlen(name) && strcmp(file->keys[i].name, name) == 0)
            return &file->keys[i];
    return NULL;
}

static void set_key(gguf_builder *file, const char *name, uint32_t type, const void *value,
                    size_t size)
{
    gguf_key_entry *key = gguf_find_key(file, name);
    if (key == NULL) {
        gguf_key_raw(file, name, strlen(name), type, value, size);
        return;
    }
    uint8_t *copy = copy_of(value, size);
    free(key->value);
    key->value = copy;
    key->value_size = size;
    key->type = type;
}

void gguf_remove_key(gguf_builder *file, const char *name)
{
    gguf_key_entry *key = gguf_find_key(file, name);
    ck_assert_msg(key != NULL, "there is no key %s to remove", name);
    free_key(key);
    size_t behind = (size_t)(file->keys + file->n_keys - (key + 1));
    memmove(key, key + 1, behind * sizeof *key);
    file->n_keys--;
}

void gguf_key_u32(gguf_builder *file, const char *name, uint32_t value)
{
    set_key(file, name, GGUF_U32, &value, sizeof value);
}

void gguf_key_i32(gguf_builder *file, const char *name, int32_t value)
{
    set_key(file, name, GGUF_I32, &value, sizeof value);
}

void gguf_key_u16(gguf_builder *file, const char *name, uint16_t value)
{
    set_key(file, name, GGUF_U16, &value, sizeof value);
}

void gguf_key_u64(gguf_builder *file, const char *name, uint64_t value)
{
    set_key(file, name, GGUF_U64, &value, sizeof value);
}

void gguf_key_f32(gguf_builder *file, const char *name, float value)
{
    set_key(file, name, GGUF_F32, &value, sizeof value);
}

void gguf_key_bool(gguf_builder *file, const char *name, uint8_t value)
{
    set_key(file, name, GGUF_BOOL, &value, sizeof value);
}

void gguf_key_text(gguf_builder *file, const char *name, const void *value, size_t size)
{
    gguf_bytes bytes = {0};
    append_u64(&bytes, size);
    append(&bytes, value, size);
    set_key(file, name, GGUF_STRING, bytes.data, bytes.size);
    gguf_bytes_free(&bytes);
}

void gguf_key_string(gguf_builder *file, const char *name, const char *value)
{
    gguf_key_text(file, name, value, strlen(value));
}

void gguf_key_strings(gguf_builder *file, const char *name, const char *const *values, size_t count)
{
    gguf_bytes bytes = {0};
    append_u32(&bytes, GGUF_STRING);
    append_u64(&bytes, count);
    for (size_t i = 0; i < count; i++) {
        append_u64(&bytes, strlen(values[i]));
        append(&bytes, values[i], strlen(values[i]));
    }
    set_key(file, name, GGUF_ARRAY, bytes.data, bytes.size);
    gguf_bytes_free(&bytes);
}

void gguf_key_array(gguf_builder *file, const char *name, uint32_t item_type, const void *items,
                    size_t item_size, size_t count)
{
    gguf_bytes bytes = {0};
    append_u32(&bytes, item_type);
    append_u64(&bytes, count);
    append(&bytes, items, item_size * count);
    set_key(file, name, GGUF_ARRAY, bytes.data, bytes.size);
    gguf_bytes_free(&bytes);
}

/* ---- tensors --------------------------------------------------------------------------------- */

gguf_tensor_entry *gguf_tensor(gguf_builder *file, const char *name, uint32_t type, uint32_t n_dims,
                               const uint64_t *dims, const void *data, size_t data_size)
{
    file->tensors = checked(realloc(file->tensors, (file->n_tensors + 1) * sizeof *file->tensors));
    gguf_tensor_entry *tensor = &file->tensors[file->n_tensors++];
    *tensor = (gguf_tensor_entry){.name = copy_of(name, strlen(name)),
                                  .size = strlen(name),
                                  .n_dims = n_dims,
                                  .type = type,
                                  .data = copy_of(data, data_size),
                                  .data_size = data_size};
    for (uint32_t i = 0; i < n_dims && i < 8; i++)
        tensor->dims[i] = dims[i];
    return tensor;
}

gguf_tensor_entry *gguf_tensor_random(gguf_builder *file, const char *name, uint32_t n_dims,
                                      const uint64_t *dims, float scale)
{
    size_t count = 1;
    for (uint32_t i = 0; i < n_dims; i++)
        count *= (size_t)dims[i];
    gguf_tensor_entry *tensor = gguf_tensor(file, name, 0, n_dims, dims, NULL, count * 4);
    uint64_t state = 88172645463325252u;
    for (const char *c = name; *c != '\0'; c++)
        state = (state ^ (unsigned char)*c) * 1099511628211u;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float value = ((float)(state >> 40) / 8388608.0f - 1.0f) * scale;
        memcpy(tensor->data + 4 * i, &value, 4);
    }
    return tensor;
}

gguf_tensor_entry *gguf_find_tensor(gguf_builder *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

void gguf_remove_tensor(gguf_builder *file, const char *name)
{
    gguf_tensor_entry *tensor = gguf_find_tensor(file, name);
    ck_assert_msg(tensor != NULL, "there is no tensor %s to remove", name);
    free_tensor(tensor);
    size_t behind = (size_t)(file->tensors + file->n_tensors - (tensor + 1));
    memmove(tensor, tensor + 1, behind * sizeof *tensor);
    file->n_tensors--;
}

void gguf_fill_f32(gguf_tensor_entry *tensor, float value)
{
    for (size_t i = 0; i + 4 <= tensor->data_size; i += 4)
        memcpy(tensor->data + i, &value, 4);
}

/* ---- whole files ----------------------------------------------------------------------------- */

static void build_header(gguf_builder *file, gguf_bytes *bytes)
{
    append(bytes, file->magic, 4);
    append_u32(bytes, file->version);
    append_u64(bytes, file->own_counts ? file->count_tensors : file->n_tensors);
    append_u64(bytes, file->own_counts ? file->count_keys : file->n_keys);
    for (size_t i = 0; i < file->n_keys; i++) {
        gguf_key_entry *key = &file->keys[i];
        key->position = bytes->size;
        append_u64(bytes, key->size);
        append(bytes, key->name, key->size);
        append_u32(bytes, key->type);
        key->value_position = bytes->size;
        append(bytes, key->value, key->value_size);
    }
}

static void build_infos(gguf_builder *file, gguf_bytes *bytes)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        gguf_tensor_entry *tensor = &file->tensors[i];
        tensor->position = bytes->size;
        append_u64(bytes, tensor->size);
        append(bytes, tensor->name, tensor->size);
        append_u32(bytes, tensor->n_dims);
        tensor->dims_position = bytes->size;
        for (uint32_t d = 0; d < tensor->n_dims && d < 8; d++)
            append_u64(bytes, tensor->dims[d]);
        tensor->type_position = bytes->size;
        append_u32(bytes, tensor->type);
        tensor->offset_position = bytes->size;
        append_u64(bytes, tensor->own_offset ? tensor->offset : offset);
        offset += (tensor->data_size + file->alignment - 1) / file->alignment * file->alignment;
    }
    file->infos_end = bytes->size;
}

gguf_bytes gguf_build(gguf_builder *file)
{
    gguf_bytes bytes = {0};
    build_header(file, &bytes);
    build_infos(file, &bytes);
    if (file->n_tensors > 0)
        append_padding(&bytes, file->alignment);
    file->data_start = bytes.size;
    for (size_t i = 0; i < file->n_tensors; i++) {
        append_padding(&bytes, file->alignment);
        file->tensors[i].data_position = bytes.size;
        append(&bytes, file->tensors[i].data, file->tensors[i].data_size);
    }
    return bytes;
}

void gguf_write(gguf_builder *file, const char *path)
{
    gguf_bytes bytes = gguf_build(file);
    rad_test_write_file(path, bytes.data, bytes.size);
    gguf_bytes_free(&bytes);
}

/* ---- taking a file apart --------------------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *data;
    size_t size;
    size_t at;
} cursor;

static const uint8_t *skip(cursor *in, uint64_t size)
{
    ck_assert_msg(size <= in->size - in->at, "the file to take apart is not well-formed");
    const uint8_t *start = in->data + in->at;
    in->at += (size_t)size;
    return start;
}

static uint64_t take_number(cursor *in, size_t bytes)
{
    const uint8_t *at = skip(in, bytes);
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static void skip_items(cursor *in, uint64_t type, uint64_t count)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    ck_assert_uint_lt(type, sizeof sizes);
    if (type != GGUF_STRING) {
        skip(in, sizes[type] * count);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        skip(in, take_number(in, 8));
}

static void load_key(gguf_builder *file, cursor *in)
{
    size_t size = (size_t)take_number(in, 8);
    const char *name = (const char *)skip(in, size);
    uint32_t type = (uint32_t)take_number(in, 4);
    size_t start = in->at;
    if (type == GGUF_ARRAY) {
        uint64_t item_type = take_number(in, 4);
        skip_items(in, item_type, take_number(in, 8));
    } else {
        skip_items(in, type, 1);
    }
    gguf_key_raw(file, name, size, type, in->data + start, in->at - start);
}

static void load_tensor(gguf_builder *file, cursor *in)
{
    char name[256] = {0};
    size_t size = (size_t)take_number(in, 8);
    ck_assert_uint_lt(size, sizeof name);
    memcpy(name, skip(in, size), size);
    uint32_t n_dims = (uint32_t)take_number(in, 4);
    ck_assert_uint_le(n_dims, 4);
    uint64_t dims[4] = {0};
    for (uint32_t d = 0; d < n_dims; d++)
        dims[d] = take_number(in, 8);
    uint32_t type = (uint32_t)take_number(in, 4);
    gguf_tensor_entry *tensor = gguf_tensor(file, name, type, n_dims, dims, NULL, 0);
    tensor->offset = take_number(in, 8);
}

/* The data of a tensor: up to the next one or the end, padding included. */
static void load_data(gguf_builder *file, const cursor *in, size_t start)
{
    for (size_t i = 0; i < file->n_tensors; i++) {
        gguf_tensor_entry *tensor = &file->tensors[i];
        size_t end = in->size - start;
        for (size_t k = 0; k < file->n_tensors; k++)
            if (file->tensors[k].offset > tensor->offset && file->tensors[k].offset < end)
                end = (size_t)file->tensors[k].offset;
        ck_assert_uint_le(tensor->offset, end);
        free(tensor->data);
        tensor->data_size = end - (size_t)tensor->offset;
        tensor->data = copy_of(in->data + start + tensor->offset, tensor->data_size);
    }
}

gguf_builder gguf_load(const char *path)
{
    cursor in = {0};
    uint8_t *data = rad_test_read_file(path, &in.size);
    in.data = data;
    gguf_builder file = gguf_builder_new();
    memcpy(file.magic, skip(&in, 4), 4);
    file.version = (uint32_t)take_number(&in, 4);
    uint64_t n_tensors = take_number(&in, 8);
    uint64_t n_keys = take_number(&in, 8);
    for (uint64_t i = 0; i < n_keys; i++)
        load_key(&file, &in);
    for (uint64_t i = 0; i < n_tensors; i++)
        load_tensor(&file, &in);
    gguf_key_entry *alignment = gguf_find_key(&file, "general.alignment");
    if (alignment != NULL) {
        cursor value = {alignment->value, alignment->value_size, 0};
        file.alignment = (size_t)take_number(&value, 4);
    }
    size_t start = (in.at + file.alignment - 1) / file.alignment * file.alignment;
    if (n_tensors > 0)
        load_data(&file, &in, start);
    free(data);
    return file;
}

/* ---- a tiny model ---------------------------------------------------------------------------- */

#define WIDTH  32
#define FFN    64
#define HEADS  4
#define KV     2
#define LAYERS 2
#define VOCAB  291

static void add_vocabulary(gguf_builder *file)
{
    static const char *const words[] = {"\xe2\x96\x81the", "\xe2\x96\x81is", "in", "er", "on"};
    static char texts[VOCAB][16];
    const char *tokens[VOCAB];
    float scores[VOCAB];
    int32_t types[VOCAB];
    for (int i = 0; i < VOCAB; i++) {
        types[i] = 1;
        scores[i] = (float)-i;
        if (i < 3) {
            static const char *const control[] = {"<unk>", "<s>", "</s>"};
            snprintf(texts[i], sizeof texts[i], "%s", control[i]);
            types[i] = i == 0 ? 2 : 3;
        } else if (i < 259) {
            snprintf(texts[i], sizeof texts[i], "<0x%02X>", (unsigned)(i - 3));
            types[i] = 6;
        } else if (i < 264) {
            snprintf(texts[i], sizeof texts[i], "%s", words[i - 259]);
        } else if (i == 264) {
            snprintf(texts[i], sizeof texts[i], "\xe2\x96\x81");
        } else {
            snprintf(texts[i], sizeof texts[i], "%c", 'a' + (i - 265));
        }
        tokens[i] = texts[i];
    }
    gguf_key_string(file, "tokenizer.ggml.model", "llama");
    gguf_key_strings(file, "tokenizer.ggml.tokens", tokens, VOCAB);
    gguf_key_array(file, "tokenizer.ggml.scores", GGUF_F32, scores, 4, VOCAB);
    gguf_key_array(file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, VOCAB);
    gguf_key_u32(file, "tokenizer.ggml.bos_token_id", 1);
    gguf_key_u32(file, "tokenizer.ggml.eos_token_id", 2);
    gguf_key_u32(file, "tokenizer.ggml.unknown_token_id", 0);
}

static void add_layer(gguf_builder *file, int layer)
{
    static const struct {
        const char *name;
        uint32_t n_dims;
        uint64_t dims[2];
    } parts[] = {
        {"attn_norm", 1, {WIDTH}},
        {"attn_q", 2, {WIDTH, WIDTH}},
        {"attn_k", 2, {WIDTH, WIDTH / HEADS * KV}},
        {"attn_v", 2, {WIDTH, WIDTH / HEADS * KV}},
        {"attn_output", 2, {WIDTH, WIDTH}},
        {"ffn_norm", 1, {WIDTH}},
        {"ffn_gate", 2, {WIDTH, FFN}},
        {"ffn_up", 2, {WIDTH, FFN}},
        {"ffn_down", 2, {FFN, WIDTH}},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i].name);
        gguf_tensor_entry *tensor =
            gguf_tensor_random(file, name, parts[i].n_dims, parts[i].dims, 0.3f);
        if (parts[i].n_dims == 1)
            gguf_fill_f32(tensor, 1.0f);
    }
}

gguf_builder gguf_tiny_llama(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_string(&file, "general.name", "tiny");
    gguf_key_u32(&file, "llama.context_length", 128);
    gguf_key_u32(&file, "llama.embedding_length", WIDTH);
    gguf_key_u32(&file, "llama.block_count", LAYERS);
    gguf_key_u32(&file, "llama.feed_forward_length", FFN);
    gguf_key_u32(&file, "llama.attention.head_count", HEADS);
    gguf_key_u32(&file, "llama.attention.head_count_kv", KV);
    gguf_key_f32(&file, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_key_u32(&file, "llama.rope.dimension_count", WIDTH / HEADS);
    add_vocabulary(&file);
    gguf_tensor_random(&file, "token_embd.weight", 2, (uint64_t[]){WIDTH, VOCAB}, 1.0f);
    for (int layer = 0; layer < LAYERS; layer++)
        add_layer(&file, layer);
    gguf_fill_f32(gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){WIDTH}, 1.0f),
                  1.0f);
    gguf_tensor_random(&file, "output.weight", 2, (uint64_t[]){WIDTH, VOCAB}, 1.0f);
    return file;
}
