/* GGUF: the container of model files, versions 2 and 3, little-endian.
 *
 * header: "GGUF", u32 version, u64 tensor count, u64 key count; then the keys with typed values;
 * then a description of each tensor (name, dimensions, type, offset); then, at a multiple of the
 * alignment, the data of the tensors.
 *
 * Nothing in the file is trusted. A count or length is compared with the bytes that would be needed
 * to hold it before memory is taken for it; tables grow with the entries that were really read;
 * arrays of arrays are refused, so nothing recurses; sums and products are checked. */
#include "io/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX           65535u /* bytes, by the specification */
#define TENSOR_NAME_MAX   64u    /* bytes, by the specification */
#define DIMS_MAX          4u
#define ALIGNMENT_DEFAULT 32u
#define ALIGNMENT_MIN     8u
#define ALIGNMENT_MAX     (1u << 24)
#define ENTRIES_FIRST     64u /* room that a table begins with */

/* The fewest bytes that a key with its value, a description of a tensor, and a string take. */
#define KEY_BYTES_MIN    (8u + 1u + 4u + 1u)
#define TENSOR_BYTES_MIN (8u + 1u + 4u + 8u + 4u + 8u)
#define STRING_BYTES_MIN 8u

#define DAMAGED "the file is damaged or incomplete: fetch it again"
#define FAULTY  "the file is damaged or was made by a faulty converter: fetch or convert it again"

typedef struct gguf_parser {
    rad_reader reader;
    rad_source *source;
    rad_meta_table *table;
    rad_gguf_header *header;
    uint32_t part;
    radllm_error *error;
    char place[RAD_QUOTE_SIZE + 32];
} gguf_parser;

/* ---- memory ------------------------------------------------------------------------------ */

static radllm_status check_limit(gguf_parser *parser, uint64_t size)
{
    rad_source *source = parser->source;
    uint64_t tables = source->n_tensors * sizeof *source->tensors +
                      parser->table->count * sizeof *parser->table->entries;
    if (size <= RAD_METADATA_LIMIT && source->arena_used + tables + size <= RAD_METADATA_LIMIT)
        return RADLLM_OK;
    return rad_fail(parser->error, RADLLM_E_LIMIT,
                    "%s: %s at byte %" PRIu64 ": the metadata would take more than %" PRIu64
                    " MiB of memory, far more than any model needs; " DAMAGED,
                    parser->reader.label, parser->reader.place, parser->reader.position,
                    RAD_METADATA_LIMIT >> 20);
}

static radllm_status take(gguf_parser *parser, uint64_t size, size_t alignment, void **out)
{
    radllm_status status = check_limit(parser, size);
    if (status != RADLLM_OK)
        return status;
    *out = rad_arena_alloc(&parser->source->arena, (size_t)size, alignment);
    if (*out == NULL)
        return rad_fail_memory(parser->error, (size_t)size);
    parser->source->arena_used += size;
    return RADLLM_OK;
}

/* ---- header ------------------------------------------------------------------------------ */

static radllm_status fail_count(gguf_parser *parser, const char *what, uint64_t count,
                                uint64_t position, uint64_t item_bytes)
{
    return rad_fail(parser->error, RADLLM_E_FORMAT,
                    "%s: the %s count %" PRIu64 " at byte %" PRIu64 " is impossible: at least "
                    "%" PRIu64 " bytes each do not fit into the %" PRIu64 " bytes that follow; "
                    "the download may be incomplete or damaged: fetch the file again",
                    parser->reader.label, what, count, position, item_bytes,
                    rad_reader_remaining(&parser->reader));
}

static radllm_status read_header(gguf_parser *parser, uint64_t *n_tensors, uint64_t *n_keys)
{
    rad_reader *reader = &parser->reader;
    uint32_t magic;
    radllm_status status = rad_reader_u32(reader, &magic, "the magic number");
    if (status == RADLLM_OK)
        status = rad_reader_u32(reader, &parser->header->version, "the version");
    if (status == RADLLM_OK)
        status = rad_reader_u64(reader, n_tensors, "the tensor count");
    if (status == RADLLM_OK)
        status = rad_reader_u64(reader, n_keys, "the key count");
    if (status != RADLLM_OK)
        return status;
    uint64_t remaining = rad_reader_remaining(reader);
    if (*n_tensors > remaining / TENSOR_BYTES_MIN)
        return fail_count(parser, "tensor", *n_tensors, 8, TENSOR_BYTES_MIN);
    if (*n_keys > remaining / KEY_BYTES_MIN)
        return fail_count(parser, "key", *n_keys, 16, KEY_BYTES_MIN);
    if (*n_tensors * TENSOR_BYTES_MIN > remaining - *n_keys * KEY_BYTES_MIN)
        return fail_count(parser, "tensor", *n_tensors, 8, TENSOR_BYTES_MIN);
    return RADLLM_OK;
}

/* ---- strings ----------------------------------------------------------------------------- */

static radllm_status read_string(gguf_parser *parser, const char *length_name, const char *name,
                                 rad_text *out)
{
    rad_reader *reader = &parser->reader;
    uint64_t size;
    radllm_status status = rad_reader_u64(reader, &size, length_name);
    if (status == RADLLM_OK)
        status = rad_reader_need(reader, size, name);
    if (status != RADLLM_OK)
        return status;
    *out = (rad_text){"", 0};
    if (size == 0)
        return RADLLM_OK;
    void *data;
    status = take(parser, size, 1, &data);
    if (status == RADLLM_OK)
        status = rad_reader_bytes(reader, data, (size_t)size, name);
    if (status == RADLLM_OK)
        *out = (rad_text){data, (size_t)size};
    return status;
}

/* A key or a tensor name: 1 to `limit` bytes without NUL, so that it can be a C string too. */
static radllm_status read_name(gguf_parser *parser, const char *what, uint64_t limit, rad_text *out)
{
    rad_reader *reader = &parser->reader;
    uint64_t position = reader->position;
    uint64_t size;
    radllm_status status = rad_reader_u64(reader, &size, "the length of the name");
    if (status == RADLLM_OK)
        status = rad_reader_need(reader, size, "the name");
    if (status != RADLLM_OK)
        return status;
    if (size == 0)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s at byte %" PRIu64 " has an empty name; " FAULTY, reader->label,
                        reader->place, position);
    if (size > limit)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s at byte %" PRIu64 " has a name of %" PRIu64 " bytes, but a %s may "
                        "have at most %" PRIu64 "; " FAULTY,
                        reader->label, reader->place, position, size, what, limit);
    void *data;
    status = take(parser, size + 1, 1, &data);
    if (status == RADLLM_OK)
        status = rad_reader_bytes(reader, data, (size_t)size, "the name");
    if (status != RADLLM_OK)
        return status;
    ((char *)data)[size] = '\0';
    if (memchr(data, '\0', (size_t)size) != NULL)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s at byte %" PRIu64 " has a name with a NUL byte in it; " FAULTY,
                        reader->label, reader->place, position);
    *out = (rad_text){data, (size_t)size};
    return RADLLM_OK;
}

/* ---- values ------------------------------------------------------------------------------ */

/* Bytes of a number or bool; 0 for what has no fixed size. */
static size_t item_bytes(uint32_t type)
{
    switch (type) {
    case RAD_META_U8:
    case RAD_META_I8:
    case RAD_META_BOOL:
        return 1;
    case RAD_META_U16:
    case RAD_META_I16:
        return 2;
    case RAD_META_U32:
    case RAD_META_I32:
    case RAD_META_F32:
        return 4;
    case RAD_META_U64:
    case RAD_META_I64:
    case RAD_META_F64:
        return 8;
    default:
        return 0;
    }
}

static radllm_status read_numbers(gguf_parser *parser, rad_meta *meta)
{
    rad_reader *reader = &parser->reader;
    uint64_t position = reader->position;
    uint64_t size = meta->count * item_bytes(meta->type); /* fits: the count was checked */
    radllm_status status = rad_reader_need(reader, size, "the value");
    void *data = NULL;
    if (status == RADLLM_OK)
        status = take(parser, size, 8, &data);
    if (status == RADLLM_OK)
        status = rad_reader_bytes(reader, data, (size_t)size, "the value");
    if (status != RADLLM_OK)
        return status;
    meta->items = data;
    if (meta->type != RAD_META_BOOL)
        return RADLLM_OK;
    for (uint64_t i = 0; i < meta->count; i++)
        if (meta->items[i] > 1)
            return rad_fail(parser->error, RADLLM_E_FORMAT,
                            "%s: %s: the bool at byte %" PRIu64 " is %u, which is neither 0 nor "
                            "1; " FAULTY,
                            reader->label, reader->place, position + i, meta->items[i]);
    return RADLLM_OK;
}

static radllm_status read_strings(gguf_parser *parser, rad_meta *meta)
{
    void *data;
    radllm_status status = take(parser, meta->count * sizeof(rad_text), 8, &data);
    if (status != RADLLM_OK)
        return status;
    rad_text *strings = data;
    for (uint64_t i = 0; i < meta->count; i++) {
        status = read_string(parser, "the length of a string", "a string", &strings[i]);
        if (status != RADLLM_OK)
            return status;
    }
    meta->strings = strings;
    return RADLLM_OK;
}

static radllm_status fail_value_type(gguf_parser *parser, const char *what, uint32_t type,
                                     uint64_t position)
{
    return rad_fail(parser->error, RADLLM_E_FORMAT,
                    "%s: %s: the %s %" PRIu32 " at byte %" PRIu64 " is unknown (types are 0 to "
                    "12); " DAMAGED,
                    parser->reader.label, parser->reader.place, what, type, position);
}

static radllm_status read_array_head(gguf_parser *parser, rad_meta *meta)
{
    rad_reader *reader = &parser->reader;
    uint64_t position = reader->position;
    uint32_t type;
    radllm_status status = rad_reader_u32(reader, &type, "the type of the array's items");
    if (status != RADLLM_OK)
        return status;
    if (type == RAD_META_ARRAY)
        return rad_fail(parser->error, RADLLM_E_UNSUPPORTED,
                        "%s: %s: an array of arrays at byte %" PRIu64 " cannot be read; no model "
                        "uses them: the file is damaged or was made by a faulty converter: fetch "
                        "or convert it again",
                        reader->label, reader->place, position);
    if (type > RAD_META_F64)
        return fail_value_type(parser, "item type", type, position);
    position = reader->position;
    status = rad_reader_u64(reader, &meta->count, "the length of the array");
    if (status != RADLLM_OK)
        return status;
    uint64_t item = type == RAD_META_STRING ? STRING_BYTES_MIN : item_bytes(type);
    if (meta->count > rad_reader_remaining(reader) / item)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s: the array length %" PRIu64 " at byte %" PRIu64 " is impossible: "
                        "at least %" PRIu64 " bytes each do not fit into the %" PRIu64 " bytes "
                        "that follow; the download may be incomplete or damaged: fetch the file "
                        "again",
                        reader->label, reader->place, meta->count, position, item,
                        rad_reader_remaining(reader));
    meta->type = (rad_meta_type)type;
    meta->is_array = true;
    return RADLLM_OK;
}

static radllm_status read_value(gguf_parser *parser, rad_meta *meta)
{
    uint64_t position = parser->reader.position;
    uint32_t type;
    radllm_status status = rad_reader_u32(&parser->reader, &type, "the type of the value");
    if (status != RADLLM_OK)
        return status;
    if (type > RAD_META_F64)
        return fail_value_type(parser, "value type", type, position);
    meta->type = (rad_meta_type)type;
    meta->count = 1;
    if (type == RAD_META_ARRAY) {
        status = read_array_head(parser, meta);
        if (status != RADLLM_OK)
            return status;
    }
    return meta->type == RAD_META_STRING ? read_strings(parser, meta) : read_numbers(parser, meta);
}

static radllm_status read_key(gguf_parser *parser, uint64_t index)
{
    rad_meta_table *table = parser->table;
    const rad_allocator *allocator = &parser->source->host.allocator;
    snprintf(parser->place, sizeof parser->place, "key number %" PRIu64, index + 1);
    radllm_status status = check_limit(parser, sizeof *table->entries);
    if (status != RADLLM_OK)
        return status;
    void *entries = table->entries;
    size_t needed = table->count + 1 < ENTRIES_FIRST ? ENTRIES_FIRST : table->count + 1;
    if (!rad_reserve(allocator, &entries, &table->capacity, needed, sizeof *table->entries))
        return rad_fail_memory(parser->error, needed * sizeof *table->entries);
    table->entries = entries;
    rad_meta_entry *entry = &table->entries[table->count];
    *entry = (rad_meta_entry){.position = parser->reader.position};
    status = read_name(parser, "key", KEY_MAX, &entry->meta.key);
    if (status != RADLLM_OK)
        return status;
    char quoted[RAD_QUOTE_SIZE];
    snprintf(parser->place, sizeof parser->place, "key '%s'",
             rad_quote(quoted, entry->meta.key.data, entry->meta.key.size));
    status = read_value(parser, &entry->meta);
    if (status == RADLLM_OK)
        table->count++;
    return status;
}

static radllm_status read_alignment(gguf_parser *parser)
{
    const rad_meta *meta = rad_meta_table_find(parser->table, "general.alignment");
    parser->header->alignment = ALIGNMENT_DEFAULT;
    if (meta == NULL)
        return RADLLM_OK;
    if (meta->type != RAD_META_U32 || meta->is_array)
        return rad_fail(
            parser->error, RADLLM_E_FORMAT,
            "%s: the key 'general.alignment' is of type %s%s, but u32 is needed; " FAULTY,
            parser->reader.label, meta->is_array ? "array of " : "",
            rad_meta_type_name(meta->type));
    uint64_t alignment = rad_meta_item_u64(meta, 0);
    if (alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX ||
        (alignment & (alignment - 1)) != 0)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: the key 'general.alignment' is %" PRIu64 ", but a power of two from "
                        "%u to %u is needed; " FAULTY,
                        parser->reader.label, alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
    parser->header->alignment = alignment;
    return RADLLM_OK;
}

/* ---- tensors ----------------------------------------------------------------------------- */

static radllm_status read_dims(gguf_parser *parser, rad_tensor *tensor)
{
    rad_reader *reader = &parser->reader;
    uint64_t position = reader->position;
    radllm_status status = rad_reader_u32(reader, &tensor->n_dims, "the number of dimensions");
    if (status != RADLLM_OK)
        return status;
    if (tensor->n_dims < 1 || tensor->n_dims > DIMS_MAX)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s has %" PRIu32 " dimensions (byte %" PRIu64 "), but 1 to %u are "
                        "possible; " DAMAGED,
                        reader->label, reader->place, tensor->n_dims, position, DIMS_MAX);
    tensor->n_elements = 1;
    for (uint32_t i = 0; i < DIMS_MAX; i++)
        tensor->dims[i] = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        position = reader->position;
        status = rad_reader_u64(reader, &tensor->dims[i], "a dimension");
        if (status != RADLLM_OK)
            return status;
        uint64_t dim = tensor->dims[i];
        if (dim == 0 || dim > INT64_MAX)
            return rad_fail(parser->error, RADLLM_E_FORMAT,
                            "%s: %s: dimension %" PRIu32 " at byte %" PRIu64 " is %" PRId64
                            ", but it must be positive; " DAMAGED,
                            reader->label, reader->place, i, position, (int64_t)dim);
        if (!rad_mul_u64(tensor->n_elements, dim, &tensor->n_elements) ||
            tensor->n_elements > INT64_MAX)
            return rad_fail(parser->error, RADLLM_E_FORMAT,
                            "%s: %s: the product of the dimensions (byte %" PRIu64 ") exceeds 63 "
                            "bits; " DAMAGED,
                            reader->label, reader->place, position);
    }
    return RADLLM_OK;
}

/* Names of types that ggml dropped or that only forks know; NULL for other numbers. */
static const char *removed_type(uint32_t type)
{
    switch (type) {
    case 4:
        return "Q4_2, which ggml removed";
    case 5:
        return "Q4_3, which ggml removed";
    case 31:
        return "Q4_0_4_4, which ggml removed";
    case 32:
        return "Q4_0_4_8, which ggml removed";
    case 33:
        return "Q4_0_8_8, which ggml removed";
    case 37:
        return "IQ4_NL_4_8, which ggml removed, or I8_S of the BitNet fork";
    case 38:
        return "IQ4_NL_8_8, which ggml removed, or TL1 of the BitNet fork";
    default:
        return NULL;
    }
}

static radllm_status read_type(gguf_parser *parser, rad_tensor *tensor)
{
    rad_reader *reader = &parser->reader;
    uint64_t position = reader->position;
    uint32_t type;
    radllm_status status = rad_reader_u32(reader, &type, "the tensor type");
    if (status != RADLLM_OK)
        return status;
    const char *removed = removed_type(type);
    if (removed != NULL)
        return rad_fail(parser->error, RADLLM_E_UNSUPPORTED,
                        "%s: %s has type %" PRIu32 " (byte %" PRIu64 "): %s; it cannot be read: "
                        "convert the model again, to Q4_0 or Q4_K_M for example",
                        reader->label, reader->place, type, position, removed);
    const rad_type_info *info = type < RAD_TYPE_FOREIGN ? rad_type_find(type) : NULL;
    if (info == NULL)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s has the unknown type %" PRIu32 " (byte %" PRIu64 "); the file is "
                        "damaged, or newer than this library: fetch it again, or convert it to a "
                        "common type",
                        reader->label, reader->place, type, position);
    tensor->type = (rad_type)type;
    if (tensor->dims[0] % info->block_elements != 0)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s (byte %" PRIu64 ") has rows of %" PRIu64 " elements, but type %s "
                        "needs a multiple of %" PRIu32 "; " FAULTY,
                        reader->label, reader->place, position, tensor->dims[0], info->name,
                        info->block_elements);
    if (!rad_mul_u64(tensor->n_elements / info->block_elements, info->block_bytes,
                     &tensor->n_bytes) ||
        !rad_add_u64(tensor->n_bytes, info->tail_bytes, &tensor->n_bytes) ||
        tensor->n_bytes > reader->size)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: %s needs %" PRIu64 " elements of type %s (byte %" PRIu64 "), more "
                        "than the file's %" PRIu64 " bytes can hold; the download may be "
                        "incomplete or damaged: fetch the file again",
                        reader->label, reader->place, tensor->n_elements, info->name, position,
                        reader->size);
    return RADLLM_OK;
}

static radllm_status read_tensor(gguf_parser *parser, uint64_t index)
{
    rad_source *source = parser->source;
    snprintf(parser->place, sizeof parser->place, "tensor number %" PRIu64, index + 1);
    radllm_status status = check_limit(parser, sizeof *source->tensors);
    if (status != RADLLM_OK)
        return status;
    void *tensors = source->tensors;
    size_t needed = source->n_tensors + 1 < ENTRIES_FIRST ? ENTRIES_FIRST : source->n_tensors + 1;
    if (!rad_reserve(&source->host.allocator, &tensors, &source->tensors_capacity, needed,
                     sizeof *source->tensors))
        return rad_fail_memory(parser->error, needed * sizeof *source->tensors);
    source->tensors = tensors;
    rad_tensor_entry *entry = &source->tensors[source->n_tensors];
    *entry = (rad_tensor_entry){.position = parser->reader.position};
    rad_tensor *tensor = &entry->tensor;
    tensor->part = parser->part;
    status = read_name(parser, "tensor", TENSOR_NAME_MAX, &tensor->name);
    if (status != RADLLM_OK)
        return status;
    char quoted[RAD_QUOTE_SIZE];
    snprintf(parser->place, sizeof parser->place, "tensor '%s'",
             rad_quote(quoted, tensor->name.data, tensor->name.size));
    status = read_dims(parser, tensor);
    if (status == RADLLM_OK)
        status = read_type(parser, tensor);
    if (status == RADLLM_OK) /* relative to the data section until that is known */
        status = rad_reader_u64(&parser->reader, &tensor->offset, "the offset");
    if (status == RADLLM_OK)
        source->n_tensors++;
    return status;
}

/* Makes the offset of a tensor absolute. */
static radllm_status place_tensor(gguf_parser *parser, rad_tensor_entry *entry, uint64_t data_start)
{
    rad_tensor *tensor = &entry->tensor;
    const rad_reader *reader = &parser->reader;
    char quoted[RAD_QUOTE_SIZE];
    rad_quote(quoted, tensor->name.data, tensor->name.size);
    if (tensor->offset % parser->header->alignment != 0)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: tensor '%s' (described at byte %" PRIu64 ") has the offset %" PRIu64
                        ", which is no multiple of the alignment %" PRIu64 "; " FAULTY,
                        reader->label, quoted, entry->position, tensor->offset,
                        parser->header->alignment);
    uint64_t start;
    uint64_t end;
    if (!rad_add_u64(data_start, tensor->offset, &start) ||
        !rad_add_u64(start, tensor->n_bytes, &end) || end > reader->size)
        return rad_fail(parser->error, RADLLM_E_FORMAT,
                        "%s: tensor '%s' (described at byte %" PRIu64 ") has %" PRIu64 " bytes at "
                        "offset %" PRIu64 " of the data section, which begins at byte %" PRIu64
                        ": beyond the end of the file (%" PRIu64 " bytes); the download may be "
                        "incomplete or damaged: fetch the file again",
                        reader->label, quoted, entry->position, tensor->n_bytes, tensor->offset,
                        data_start, reader->size);
    tensor->offset = start;
    return RADLLM_OK;
}

static radllm_status read_tensors(gguf_parser *parser, uint64_t count)
{
    rad_source *source = parser->source;
    size_t first = source->n_tensors;
    for (uint64_t i = 0; i < count; i++) {
        radllm_status status = read_tensor(parser, i);
        if (status != RADLLM_OK)
            return status;
    }
    uint64_t data_start;
    if (!rad_align_u64(parser->reader.position, parser->header->alignment, &data_start))
        data_start = UINT64_MAX;
    for (size_t i = first; i < source->n_tensors; i++) {
        radllm_status status = place_tensor(parser, &source->tensors[i], data_start);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

/* ---- a whole file ------------------------------------------------------------------------ */

static radllm_status read_file(gguf_parser *parser)
{
    uint64_t n_tensors;
    uint64_t n_keys;
    radllm_status status = read_header(parser, &n_tensors, &n_keys);
    if (status != RADLLM_OK)
        return status;
    parser->reader.place = parser->place;
    for (uint64_t i = 0; i < n_keys; i++) {
        status = read_key(parser, i);
        if (status != RADLLM_OK)
            return status;
    }
    status =
        rad_meta_table_finish(parser->source, parser->reader.label, parser->table, parser->error);
    if (status == RADLLM_OK)
        status = read_alignment(parser);
    if (status == RADLLM_OK)
        status = read_tensors(parser, n_tensors);
    return status;
}

radllm_status rad_gguf_read(rad_source *source, uint32_t part, rad_meta_table *table,
                            rad_gguf_header *header, radllm_error *error)
{
    *table = (rad_meta_table){0};
    *header = (rad_gguf_header){0};
    radllm_status status = rad_gguf_check_magic(source, part, error);
    if (status != RADLLM_OK)
        return status;
    gguf_parser parser = {
        .source = source, .table = table, .header = header, .part = part, .error = error};
    status = rad_reader_open(&parser.reader, source, part, error);
    if (status != RADLLM_OK)
        return status;
    status = read_file(&parser);
    rad_reader_close(&parser.reader);
    return status;
}
