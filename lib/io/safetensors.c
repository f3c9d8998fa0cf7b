/* The safetensors format: eight bytes with the length of a JSON header, the header, the data. Every
 * byte of the data belongs to exactly one tensor: a file that hides something between or behind
 * its tensors is refused, as the format asks. */
#include "io/folder.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_MAX 100000000u /* bytes, by the format */
#define PREFIX     8u

#define DAMAGED "the file is damaged or incomplete: fetch it again"

typedef struct header {
    rad_source *source;
    rad_stored_table *table;
    size_t first; /* of this file's tensors in the table */
    uint32_t part;
    const char *label;
    uint64_t data_start, data_bytes;
    radllm_error *error;
} header;

static uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

bool rad_is_safetensors(const uint8_t *head, size_t head_size, uint64_t file_size)
{
    if (head_size < 10 || head[8] != '{')
        return false;
    uint64_t json = load_u64(head);
    return json >= 2 && json <= file_size - PREFIX;
}

/* ---- one tensor ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    rad_type type;
} dtypes[] = {
    {"F32", RAD_TYPE_F32},
    {"F16", RAD_TYPE_F16},
    {"BF16", RAD_TYPE_BF16},
    {"BOOL", RAD_TYPE_BOOL},
    {"U8", RAD_TYPE_U8},
    {"I8", RAD_TYPE_I8},
    {"I16", RAD_TYPE_I16},
    {"U16", RAD_TYPE_U16},
    {"I32", RAD_TYPE_I32},
    {"U32", RAD_TYPE_U32},
    {"I64", RAD_TYPE_I64},
    {"U64", RAD_TYPE_U64},
    {"F64", RAD_TYPE_F64},
    {"C64", RAD_TYPE_C64},
    {"F8_E4M3", RAD_TYPE_F8_E4M3},
    {"F8_E5M2", RAD_TYPE_F8_E5M2},
    {"F8_E8M0", RAD_TYPE_F8_E8M0},
    {"F8_E4M3FNUZ", RAD_TYPE_F8_E4M3FNUZ},
    {"F8_E5M2FNUZ", RAD_TYPE_F8_E5M2FNUZ},
    {"F6_E2M3", RAD_TYPE_F6_E2M3},
    {"F6_E3M2", RAD_TYPE_F6_E3M2},
    {"F4", RAD_TYPE_F4},
};

/* Says what is wrong with a tensor's description. */
static radllm_status fail_tensor(const header *h, const rad_stored *stored, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(h->error, RADLLM_E_FORMAT, "%s: tensor '%s': %s; " DAMAGED, h->label,
                    rad_quote(quoted, stored->name.data, stored->name.size), what);
}

static radllm_status read_dtype(const header *h, const json_t *value, rad_stored *stored)
{
    const char *name = json_string_value(value);
    if (name == NULL)
        return fail_tensor(h, stored, "its dtype is missing or no text");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            stored->type = dtypes[i].type;
            return RADLLM_OK;
        }
    }
    char tensor[RAD_QUOTE_SIZE], quoted[RAD_QUOTE_SIZE];
    return rad_fail(
        h->error, RADLLM_E_UNSUPPORTED,
        "%s: tensor '%s' has the dtype '%s', which this version does not know; the file "
        "is damaged, or newer than this library: fetch it again or get a newer library",
        h->label, rad_quote(tensor, stored->name.data, stored->name.size),
        rad_quote(quoted, name, strlen(name)));
}

static radllm_status read_shape(const header *h, const json_t *value, rad_stored *stored)
{
    const size_t most = sizeof stored->dims / sizeof *stored->dims;
    if (!json_is_array(value))
        return fail_tensor(h, stored, "its shape is missing or no list");
    if (json_array_size(value) > most)
        return fail_tensor(h, stored, "its shape has more than 8 dimensions");
    stored->n_dims = (uint32_t)json_array_size(value);
    stored->n_elements = 1;
    for (size_t i = 0; i < most; i++) {
        json_t *dim = json_array_get(value, i);
        stored->dims[i] = 1;
        if (i >= stored->n_dims)
            continue;
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail_tensor(h, stored, "its shape holds what is no whole number from 0 on");
        stored->dims[i] = (uint64_t)json_integer_value(dim);
        if (!rad_mul_u64(stored->n_elements, stored->dims[i], &stored->n_elements))
            return fail_tensor(h, stored, "its shape has more than 2^64 elements");
    }
    const rad_type_info *info = rad_type_find((uint32_t)stored->type);
    if (stored->n_elements % info->block_elements != 0 ||
        !rad_mul_u64(stored->n_elements / info->block_elements, info->block_bytes,
                     &stored->n_bytes))
        return fail_tensor(h, stored, "its shape makes no whole number of bytes below 2^64");
    return RADLLM_OK;
}

static radllm_status read_offsets(const header *h, const json_t *value, rad_stored *stored)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return fail_tensor(h, stored,
                           "its data_offsets are no pair of a begin and an end behind it");
    uint64_t first = (uint64_t)json_integer_value(begin), last = (uint64_t)json_integer_value(end);
    char quoted[RAD_QUOTE_SIZE];
    rad_quote(quoted, stored->name.data, stored->name.size);
    if (last > h->data_bytes)
        return rad_fail(h->error, RADLLM_E_FORMAT,
                        "%s: tensor '%s' ends at byte %" PRIu64 " of the data, which has %" PRIu64
                        " bytes; the download may be incomplete: fetch the file again",
                        h->label, quoted, last, h->data_bytes);
    if (last - first != stored->n_bytes)
        return rad_fail(h->error, RADLLM_E_FORMAT,
                        "%s: tensor '%s' needs %" PRIu64 " bytes by its shape and dtype, but its "
                        "data_offsets (%" PRIu64 " to %" PRIu64 ") give it %" PRIu64 "; " DAMAGED,
                        h->label, quoted, stored->n_bytes, first, last, last - first);
    stored->offset = h->data_start + first;
    return RADLLM_OK;
}

static radllm_status reserve(const header *h)
{
    rad_stored_table *table = h->table;
    void *items = table->items;
    if (!rad_reserve(&h->source->host.allocator, &items, &table->capacity, table->count + 1,
                     sizeof *table->items))
        return rad_fail_memory(h->error, (table->count + 1) * sizeof *table->items);
    table->items = items;
    return RADLLM_OK;
}

static radllm_status read_tensor(const header *h, const char *name, size_t size,
                                 const json_t *value)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets"};
    rad_stored stored = {.name = {name, size}, .part = h->part};
    if (!json_is_object(value))
        return fail_tensor(h, &stored, "its description is no object");
    if (json_object_size(value) > sizeof known / sizeof *known)
        return fail_tensor(h, &stored,
                           "its description has more than dtype, shape and data_offsets");
    radllm_status status = read_dtype(h, json_object_get(value, known[0]), &stored);
    if (status == RADLLM_OK)
        status = read_shape(h, json_object_get(value, known[1]), &stored);
    if (status == RADLLM_OK)
        status = read_offsets(h, json_object_get(value, known[2]), &stored);
    if (status == RADLLM_OK)
        status = reserve(h);
    if (status != RADLLM_OK)
        return status;
    stored.name.data = rad_arena_copy(&h->source->arena, name, size);
    if (stored.name.data == NULL)
        return rad_fail_memory(h->error, size);
    h->table->items[h->table->count++] = stored;
    return RADLLM_OK;
}

/* ---- a whole file --------------------------------------------------------------------------- */

static radllm_status check_metadata(const header *h, json_t *value)
{
    const char *key;
    json_t *item;
    bool texts = json_is_object(value);
    json_object_foreach(value, key, item) texts = texts && json_is_string(item);
    if (texts)
        return RADLLM_OK;
    return rad_fail(h->error, RADLLM_E_FORMAT,
                    "%s: __metadata__ must be an object of texts; " DAMAGED, h->label);
}

static bool offset_less(const void *context, uint32_t a, uint32_t b)
{
    const rad_stored *items = context;
    uint64_t a_end = items[a].offset + items[a].n_bytes, b_end = items[b].offset + items[b].n_bytes;
    if (items[a].offset != items[b].offset)
        return items[a].offset < items[b].offset;
    return a_end != b_end ? a_end < b_end : a < b;
}

/* The tensors of this file follow each other without gap or overlap, to its end. */
static radllm_status check_cover(const header *h)
{
    size_t count = h->table->count - h->first;
    const rad_stored *items = count > 0 ? h->table->items + h->first : NULL;
    uint64_t at = h->data_start;
    size_t bytes = count * sizeof(uint32_t);
    uint32_t *order = rad_alloc(&h->source->host.allocator, bytes);
    if (order == NULL && count > 0)
        return rad_fail_memory(h->error, bytes);
    rad_sort_indexes(order, count, offset_less, items);
    const rad_stored *wrong = NULL;
    for (size_t i = 0; i < count && wrong == NULL; i++) {
        const rad_stored *stored = &items[order[i]];
        if (stored->offset != at)
            wrong = stored;
        at = stored->offset + stored->n_bytes;
    }
    rad_free(&h->source->host.allocator, order, bytes);
    char quoted[RAD_QUOTE_SIZE];
    if (wrong != NULL)
        return rad_fail(
            h->error, RADLLM_E_FORMAT,
            "%s: tensor '%s' begins at byte %" PRIu64 ", and the one before it does not "
            "end there: tensors overlap or leave a gap; " DAMAGED,
            h->label, rad_quote(quoted, wrong->name.data, wrong->name.size), wrong->offset);
    if (at != h->data_start + h->data_bytes)
        return rad_fail(h->error, RADLLM_E_FORMAT,
                        "%s: the last tensor ends at byte %" PRIu64 ", but the file has %" PRIu64
                        " bytes: what stands behind it belongs to no tensor; " DAMAGED,
                        h->label, at, h->data_start + h->data_bytes);
    return RADLLM_OK;
}

static radllm_status read_entries(const header *h, json_t *root)
{
    radllm_status status = RADLLM_OK;
    void *at = json_object_iter(root);
    for (; at != NULL && status == RADLLM_OK; at = json_object_iter_next(root, at)) {
        const char *key = json_object_iter_key(at);
        json_t *value = json_object_iter_value(at);
        status = strcmp(key, "__metadata__") == 0 ? check_metadata(h, value)
                                                  : read_tensor(h, key, strlen(key), value);
    }
    return status == RADLLM_OK ? check_cover(h) : status;
}

static radllm_status read_header(const header *h, uint64_t size)
{
    rad_source *source = h->source;
    char *text = rad_alloc(&source->host.allocator, (size_t)size);
    if (text == NULL)
        return rad_fail_memory(h->error, (size_t)size);
    radllm_status status = rad_source_read(source, h->part, PREFIX, text, (size_t)size, h->error);
    if (status == RADLLM_OK && text[0] != '{')
        status =
            rad_fail(h->error, RADLLM_E_FORMAT,
                     "%s: the header does not begin with '{' at byte 8: this is no safetensors "
                     "file, or a damaged one: fetch it again",
                     h->label);
    json_t *root = NULL;
    if (status == RADLLM_OK)
        status = rad_json_object(h->label, text, (size_t)size, &root, h->error);
    rad_free(&source->host.allocator, text, (size_t)size);
    if (status == RADLLM_OK)
        status = read_entries(h, root);
    json_decref(root);
    return status;
}

radllm_status rad_safetensors_read(rad_source *source, uint32_t part, rad_stored_table *table,
                                   radllm_error *error)
{
    const rad_part *file = &source->parts[part];
    header h = {.source = source,
                .table = table,
                .first = table->count,
                .part = part,
                .label = file->label,
                .error = error};
    uint8_t prefix[PREFIX];
    if (file->size < PREFIX)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the file has %" PRIu64 " bytes, fewer than the 8 that a safetensors "
                        "file begins with; the download may have failed: fetch it again",
                        h.label, file->size);
    radllm_status status = rad_source_read(source, part, 0, prefix, sizeof prefix, error);
    if (status != RADLLM_OK)
        return status;
    uint64_t size = load_u64(prefix);
    if (size < 2 || size > HEADER_MAX)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the length of the header at byte 0 is %" PRIu64
                        ", but it must be from "
                        "2 to %u: this is no safetensors file, or a damaged one: fetch it again",
                        h.label, size, HEADER_MAX);
    if (size > file->size - PREFIX)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the header of %" PRIu64
                        " bytes goes beyond the end of the file (%" PRIu64
                        " bytes); the download may be incomplete: fetch it again",
                        h.label, size, file->size);
    h.data_start = PREFIX + size;
    h.data_bytes = file->size - h.data_start;
    return read_header(&h, size);
}

/* ---- tables --------------------------------------------------------------------------------- */

static bool name_less(const void *context, uint32_t a, uint32_t b)
{
    const rad_stored *items = context;
    int result = rad_text_compare(items[a].name, items[b].name);
    return result != 0 ? result < 0 : a < b;
}

radllm_status rad_stored_finish(const rad_source *source, rad_stored_table *table,
                                radllm_error *error)
{
    if (table->count == 0)
        return RADLLM_OK;
    size_t bytes = table->count * sizeof *table->order;
    table->order = rad_alloc(&source->host.allocator, bytes);
    if (table->order == NULL)
        return rad_fail_memory(error, bytes);
    rad_sort_indexes(table->order, table->count, name_less, table->items);
    for (size_t i = 1; i < table->count; i++) {
        const rad_stored *a = &table->items[table->order[i - 1]];
        const rad_stored *b = &table->items[table->order[i]];
        char quoted[RAD_QUOTE_SIZE];
        if (rad_text_compare(a->name, b->name) == 0)
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s: the tensor '%s' is also in %s; the files belong to different "
                            "models, or one is a copy of another: fetch all files of one model",
                            source->parts[b->part].label,
                            rad_quote(quoted, b->name.data, b->name.size),
                            source->parts[a->part].label);
    }
    return RADLLM_OK;
}

rad_stored *rad_stored_find(const rad_stored_table *table, const char *name)
{
    rad_text wanted = {name, strlen(name)};
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        rad_stored *stored = &table->items[table->order[middle]];
        int result = rad_text_compare(wanted, stored->name);
        if (result == 0)
            return stored;
        if (result < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void rad_stored_free(const rad_source *source, rad_stored_table *table)
{
    const rad_allocator *allocator = &source->host.allocator;
    rad_free(allocator, table->order, table->count * sizeof *table->order);
    rad_free(allocator, table->items, table->capacity * sizeof *table->items);
    *table = (rad_stored_table){0};
}
