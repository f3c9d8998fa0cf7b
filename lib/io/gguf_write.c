#include "io/gguf_write.h"
#include "base/file_write.h"
#include "base/platform.h"

#include <inttypes.h>
#include <string.h>

#define VERSION           3u
#define ALIGNMENT_DEFAULT 32u

typedef struct written_key {
    char *name;
    size_t name_size;
    uint8_t *value; /* type and value as they stand in the file */
    size_t value_size;
} written_key;

typedef struct written_tensor {
    char *name;
    size_t name_size;
    rad_type type;
    uint32_t n_dims;
    uint64_t dims[4];
    uint64_t n_bytes;
    uint64_t offset;
} written_tensor;

struct rad_gguf_writer {
    rad_allocator allocator;
    rad_arena arena;
    uint32_t alignment;
    radllm_error failure; /* the first one of an add function */
    written_key *keys;
    size_t n_keys;
    size_t keys_capacity;
    written_tensor *tensors;
    size_t n_tensors;
    size_t tensors_capacity;
    uint64_t data_bytes; /* of all tensors, padded */
    rad_output *output;
    uint64_t data_start;
    size_t current;        /* tensor whose data comes next */
    uint64_t current_done; /* bytes of it */
};

radllm_status rad_gguf_writer_new(const rad_allocator *allocator, uint32_t alignment,
                                  rad_gguf_writer **out, radllm_error *error)
{
    if (alignment < 8 || (alignment & (alignment - 1)) != 0)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the alignment %" PRIu32 " is no power of two from 8 on; 32 is usual",
                        alignment);
    rad_gguf_writer *writer = rad_alloc_zero(allocator, sizeof *writer);
    if (writer == NULL)
        return rad_fail_memory(error, sizeof *writer);
    writer->allocator = *allocator;
    writer->arena.allocator = &writer->allocator;
    writer->alignment = alignment;
    if (alignment != ALIGNMENT_DEFAULT)
        rad_gguf_set_integer(writer, "general.alignment", RAD_META_U32, alignment);
    *out = writer;
    return RADLLM_OK;
}

void rad_gguf_writer_free(rad_gguf_writer *writer)
{
    if (writer == NULL)
        return;
    rad_allocator allocator = writer->allocator;
    rad_output_free(writer->output);
    rad_free(&allocator, writer->keys, writer->keys_capacity * sizeof *writer->keys);
    rad_free(&allocator, writer->tensors, writer->tensors_capacity * sizeof *writer->tensors);
    rad_arena_free(&writer->arena);
    rad_free(&allocator, writer, sizeof *writer);
}

/* ---- bytes in memory ----------------------------------------------------------------------- */

static void *take(rad_gguf_writer *writer, size_t size)
{
    if (writer->failure.status != RADLLM_OK)
        return NULL;
    void *memory = rad_arena_alloc(&writer->arena, size, 8);
    if (memory == NULL)
        (void)rad_fail_memory(&writer->failure, size);
    return memory;
}

static uint8_t *put_number(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *out++ = (uint8_t)(value >> (8 * i));
    return out;
}

static uint8_t *put_bytes(uint8_t *out, const void *data, size_t size)
{
    if (size > 0)
        memcpy(out, data, size);
    return out + size;
}

static uint8_t *put_string(uint8_t *out, rad_text text)
{
    return put_bytes(put_number(out, text.size, 8), text.data, text.size);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static size_t item_bytes(rad_meta_type type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return (size_t)type < sizeof bytes ? bytes[type] : 0;
}

static written_key *find_key(rad_gguf_writer *writer, rad_text key)
{
    for (size_t i = 0; i < writer->n_keys; i++)
        if (writer->keys[i].name_size == key.size &&
            memcmp(writer->keys[i].name, key.data, key.size) == 0)
            return &writer->keys[i];
    return NULL;
}

/* `fresh`: the key is known to be new. */
static void set_value(rad_gguf_writer *writer, rad_text key, bool fresh, uint8_t *value,
                      size_t value_size)
{
    if (value == NULL)
        return;
    written_key *entry = fresh ? NULL : find_key(writer, key);
    if (entry == NULL) {
        void *keys = writer->keys;
        char *name = take(writer, key.size + 1);
        if (name == NULL)
            return;
        if (!rad_reserve(&writer->allocator, &keys, &writer->keys_capacity, writer->n_keys + 1,
                         sizeof *writer->keys)) {
            (void)rad_fail_memory(&writer->failure, sizeof *writer->keys);
            return;
        }
        writer->keys = keys;
        memcpy(name, key.data, key.size);
        name[key.size] = '\0';
        entry = &writer->keys[writer->n_keys++];
        *entry = (written_key){.name = name, .name_size = key.size};
    }
    entry->value = value;
    entry->value_size = value_size;
}

static void put_meta(rad_gguf_writer *writer, const rad_meta *meta, bool fresh)
{
    if (writer->failure.status != RADLLM_OK)
        return;
    if (meta->key.size == 0 || meta->key.size > 65535 ||
        (meta->type != RAD_META_STRING && item_bytes(meta->type) == 0)) {
        (void)rad_fail(&writer->failure, RADLLM_E_ARGUMENT,
                       "a key with an empty or too long name, or without a type, cannot be "
                       "written; give a name of 1 to 65535 bytes");
        return;
    }
    uint64_t payload = 0;
    bool fits = true;
    if (meta->type == RAD_META_STRING) {
        for (uint64_t i = 0; i < meta->count && fits; i++)
            fits = rad_add_u64(payload, 8, &payload) &&
                   rad_add_u64(payload, meta->strings[i].size, &payload);
    } else {
        fits = rad_mul_u64(meta->count, item_bytes(meta->type), &payload);
    }
    if (!fits || payload > PTRDIFF_MAX / 2) {
        (void)rad_fail_memory(&writer->failure, SIZE_MAX);
        return;
    }
    size_t head = meta->is_array ? 4 + 4 + 8 : 4;
    uint8_t *value = take(writer, head + (size_t)payload);
    if (value == NULL)
        return;
    uint8_t *out = value;
    if (meta->is_array)
        out = put_number(out, RAD_META_ARRAY, 4);
    out = put_number(out, (uint64_t)meta->type, 4);
    if (meta->is_array)
        out = put_number(out, meta->count, 8);
    if (meta->type == RAD_META_STRING)
        for (uint64_t i = 0; i < meta->count; i++)
            out = put_string(out, meta->strings[i]);
    else
        (void)put_bytes(out, meta->items, (size_t)payload);
    set_value(writer, meta->key, fresh, value, head + (size_t)payload);
}

void rad_gguf_set_meta(rad_gguf_writer *writer, const rad_meta *meta)
{
    put_meta(writer, meta, false);
}

void rad_gguf_add_meta(rad_gguf_writer *writer, const rad_meta *meta)
{
    put_meta(writer, meta, true);
}

static void set_number(rad_gguf_writer *writer, const char *key, rad_meta_type type, uint64_t bits)
{
    uint8_t bytes[8];
    (void)put_number(bytes, bits, 8);
    rad_meta meta = {.key = {key, strlen(key)}, .type = type, .count = 1, .items = bytes};
    rad_gguf_set_meta(writer, &meta);
}

void rad_gguf_set_integer(rad_gguf_writer *writer, const char *key, rad_meta_type type,
                          int64_t value)
{
    set_number(writer, key, type, (uint64_t)value);
}

void rad_gguf_set_f32(rad_gguf_writer *writer, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    set_number(writer, key, RAD_META_F32, bits);
}

void rad_gguf_set_bool(rad_gguf_writer *writer, const char *key, bool value)
{
    set_number(writer, key, RAD_META_BOOL, value ? 1 : 0);
}

void rad_gguf_set_text(rad_gguf_writer *writer, const char *key, rad_text value)
{
    rad_meta meta = {
        .key = {key, strlen(key)}, .type = RAD_META_STRING, .count = 1, .strings = &value};
    rad_gguf_set_meta(writer, &meta);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static radllm_status tensor_bytes(const char *name, rad_type type, uint32_t n_dims,
                                  const uint64_t *dims, uint64_t *out, radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    size_t name_size = strlen(name);
    uint64_t elements = 1;
    bool possible = info != NULL && (uint32_t)type < RAD_TYPE_FOREIGN && name_size >= 1 &&
                    name_size <= 64 && n_dims >= 1 && n_dims <= 4;
    for (uint32_t i = 0; possible && i < n_dims; i++)
        possible = dims[i] > 0 && rad_mul_u64(elements, dims[i], &elements);
    if (!possible || dims[0] % info->block_elements != 0 ||
        !rad_mul_u64(elements / info->block_elements, info->block_bytes, out) ||
        !rad_add_u64(*out, info->tail_bytes, out)) {
        char quoted[RAD_QUOTE_SIZE];
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the tensor '%s' cannot be written with type %s, %" PRIu32 " dimensions "
                        "and rows of %" PRIu64 " elements; a name has 1 to 64 bytes, a tensor 1 to "
                        "4 dimensions, a row whole blocks",
                        rad_quote(quoted, name, name_size), info != NULL ? info->name : "unknown",
                        n_dims, n_dims >= 1 ? dims[0] : 0);
    }
    return RADLLM_OK;
}

void rad_gguf_add_tensor(rad_gguf_writer *writer, const char *name, rad_type type, uint32_t n_dims,
                         const uint64_t *dims)
{
    written_tensor tensor = {.name_size = strlen(name), .type = type, .n_dims = n_dims};
    if (writer->failure.status != RADLLM_OK ||
        tensor_bytes(name, type, n_dims, dims, &tensor.n_bytes, &writer->failure) != RADLLM_OK)
        return;
    memcpy(tensor.dims, dims, n_dims * sizeof *dims);
    tensor.offset = writer->data_bytes;
    uint64_t end;
    if (!rad_add_u64(tensor.offset, tensor.n_bytes, &end) ||
        !rad_align_u64(end, writer->alignment, &end) || end > INT64_MAX) {
        (void)rad_fail(&writer->failure, RADLLM_E_ARGUMENT,
                       "the tensors need more than 2^63 bytes; write fewer of them");
        return;
    }
    tensor.name = take(writer, tensor.name_size + 1);
    if (tensor.name == NULL)
        return;
    memcpy(tensor.name, name, tensor.name_size + 1);
    void *tensors = writer->tensors;
    if (!rad_reserve(&writer->allocator, &tensors, &writer->tensors_capacity, writer->n_tensors + 1,
                     sizeof *writer->tensors)) {
        (void)rad_fail_memory(&writer->failure, sizeof *writer->tensors);
        return;
    }
    writer->tensors = tensors;
    writer->tensors[writer->n_tensors++] = tensor;
    writer->data_bytes = end;
}

radllm_status rad_gguf_file_bytes(const rad_gguf_writer *writer, uint64_t *out, radllm_error *error)
{
    if (writer->failure.status != RADLLM_OK)
        return rad_fail(error, writer->failure.status, "%s", writer->failure.message);
    uint64_t bytes = 4 + 4 + 8 + 8; /* sums of what is in memory, which do not overflow */
    for (size_t i = 0; i < writer->n_keys; i++)
        bytes += 8 + writer->keys[i].name_size + writer->keys[i].value_size;
    for (size_t i = 0; i < writer->n_tensors; i++)
        bytes += 8 + writer->tensors[i].name_size + 4 + 8 * writer->tensors[i].n_dims + 4 + 8;
    if (!rad_align_u64(bytes, writer->alignment, &bytes) ||
        !rad_add_u64(bytes, writer->data_bytes, out))
        return rad_fail_memory(error, SIZE_MAX);
    return RADLLM_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static radllm_status write_number(rad_gguf_writer *writer, uint64_t value, size_t bytes,
                                  radllm_error *error)
{
    uint8_t out[8];
    (void)put_number(out, value, bytes);
    return rad_output_write(writer->output, out, bytes, error);
}

static radllm_status write_name(rad_gguf_writer *writer, const char *name, size_t size,
                                radllm_error *error)
{
    radllm_status status = write_number(writer, size, 8, error);
    return status != RADLLM_OK ? status : rad_output_write(writer->output, name, size, error);
}

static radllm_status write_padding(rad_gguf_writer *writer, radllm_error *error)
{
    static const uint8_t zeros[64];
    uint64_t past = rad_output_position(writer->output) - writer->data_start;
    uint64_t missing = -past & (uint64_t)(writer->alignment - 1);
    radllm_status status = RADLLM_OK;
    while (missing > 0 && status == RADLLM_OK) {
        size_t piece = missing < sizeof zeros ? (size_t)missing : sizeof zeros;
        status = rad_output_write(writer->output, zeros, piece, error);
        missing -= piece;
    }
    return status;
}

static radllm_status write_keys(rad_gguf_writer *writer, radllm_error *error)
{
    for (size_t i = 0; i < writer->n_keys; i++) {
        const written_key *key = &writer->keys[i];
        radllm_status status = write_name(writer, key->name, key->name_size, error);
        if (status == RADLLM_OK)
            status = rad_output_write(writer->output, key->value, key->value_size, error);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

static radllm_status write_tensor_infos(rad_gguf_writer *writer, radllm_error *error)
{
    for (size_t i = 0; i < writer->n_tensors; i++) {
        const written_tensor *tensor = &writer->tensors[i];
        radllm_status status = write_name(writer, tensor->name, tensor->name_size, error);
        if (status == RADLLM_OK)
            status = write_number(writer, tensor->n_dims, 4, error);
        for (uint32_t d = 0; d < tensor->n_dims && status == RADLLM_OK; d++)
            status = write_number(writer, tensor->dims[d], 8, error);
        if (status == RADLLM_OK)
            status = write_number(writer, (uint64_t)tensor->type, 4, error);
        if (status == RADLLM_OK)
            status = write_number(writer, tensor->offset, 8, error);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

radllm_status rad_gguf_begin(rad_gguf_writer *writer, const char *path, radllm_error *error)
{
    if (writer->failure.status != RADLLM_OK)
        return rad_fail(error, writer->failure.status, "%s", writer->failure.message);
    if (writer->output != NULL)
        return rad_fail(error, RADLLM_E_STATE, "the writer has begun a file already");
    radllm_status status = rad_output_open(&writer->allocator, path, &writer->output, error);
    if (status == RADLLM_OK)
        status = rad_output_write(writer->output, "GGUF", 4, error);
    if (status == RADLLM_OK)
        status = write_number(writer, VERSION, 4, error);
    if (status == RADLLM_OK)
        status = write_number(writer, writer->n_tensors, 8, error);
    if (status == RADLLM_OK)
        status = write_number(writer, writer->n_keys, 8, error);
    if (status == RADLLM_OK)
        status = write_keys(writer, error);
    if (status == RADLLM_OK)
        status = write_tensor_infos(writer, error);
    if (status == RADLLM_OK) /* data_start is 0 here: the data section begins aligned in the file */
        status = write_padding(writer, error);
    if (status == RADLLM_OK)
        writer->data_start = rad_output_position(writer->output);
    return status;
}

radllm_status rad_gguf_data(rad_gguf_writer *writer, const void *data, size_t size,
                            radllm_error *error)
{
    if (writer->output == NULL || writer->current >= writer->n_tensors)
        return rad_fail(error, RADLLM_E_STATE,
                        "there is no tensor that waits for data: all %zu have theirs, or the file "
                        "was not begun",
                        writer->n_tensors);
    const written_tensor *tensor = &writer->tensors[writer->current];
    if (size > tensor->n_bytes - writer->current_done)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the tensor '%s' has %" PRIu64 " bytes, of which %" PRIu64 " are written: "
                        "%zu more do not fit",
                        tensor->name, tensor->n_bytes, writer->current_done, size);
    radllm_status status = rad_output_write(writer->output, data, size, error);
    if (status != RADLLM_OK)
        return status;
    writer->current_done += size;
    if (writer->current_done < tensor->n_bytes)
        return RADLLM_OK;
    writer->current++;
    writer->current_done = 0;
    return write_padding(writer, error);
}

radllm_status rad_gguf_finish(rad_gguf_writer *writer, radllm_error *error)
{
    if (writer->output == NULL || writer->current < writer->n_tensors)
        return rad_fail(error, RADLLM_E_STATE,
                        "the file cannot be finished: the data of %zu of %zu tensors is missing",
                        writer->n_tensors - writer->current, writer->n_tensors);
    return rad_output_commit(writer->output, error);
}
