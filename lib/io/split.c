/* Models that are cut into several files, NAME-00001-of-0000N.gguf and so on. The first carries the
 * metadata of the model, each has a header and a data section of its own. */
#include "io/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PARTS_MAX 65535 /* split.count is a u16 */

#define REFETCH "fetch all parts of one model again"

/* The keys of one file that say which part it is. count is 0 when the file is no part. */
typedef struct split_keys {
    int64_t number; /* from 0 */
    int64_t count;
    int64_t n_tensors; /* of all parts; -1 when the file does not say */
} split_keys;

static radllm_status read_keys(const rad_meta_table *table, const char *label, split_keys *out,
                               radllm_error *error)
{
    radllm_status status =
        rad_meta_table_integer(table, label, "split.no", 0, PARTS_MAX - 1, 0, &out->number, error);
    if (status == RADLLM_OK)
        status = rad_meta_table_integer(table, label, "split.count", 0, PARTS_MAX, 0, &out->count,
                                        error);
    if (status == RADLLM_OK)
        status = rad_meta_table_integer(table, label, "split.tensors.count", 0, INT64_MAX, -1,
                                        &out->n_tensors, error);
    return status;
}

/* The length of what stands before "-00001-of-0000N.gguf" in path, when it ends so for this part
 * number (from 1) and count; else SIZE_MAX. */
static size_t prefix_length(const char *path, int64_t number, int64_t count)
{
    char ending[64];
    int length =
        snprintf(ending, sizeof ending, "-%05" PRId64 "-of-%05" PRId64 ".gguf", number, count);
    size_t size = strlen(path);
    if (length < 0 || size < (size_t)length || strcmp(path + size - (size_t)length, ending) != 0)
        return SIZE_MAX;
    return size - (size_t)length;
}

/* The path of a part in the arena; NULL when memory is short. */
static char *part_path(rad_source *source, size_t prefix, int64_t number, int64_t count)
{
    size_t size = prefix + 64;
    char *path = rad_arena_alloc(&source->arena, size, 1);
    if (path != NULL)
        snprintf(path, size, "%.*s-%05" PRId64 "-of-%05" PRId64 ".gguf", (int)prefix, source->path,
                 number, count);
    return path;
}

static radllm_status fail_not_first(rad_source *source, const split_keys *keys, radllm_error *error)
{
    const char *label = source->parts[0].label;
    size_t prefix = prefix_length(source->path, keys->number + 1, keys->count);
    if (prefix == SIZE_MAX)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s: this is part %" PRId64 " of %" PRId64 " of a split model; open its "
                        "first part, whose name ends with -00001-of-%05" PRId64 ".gguf",
                        label, keys->number + 1, keys->count, keys->count);
    char *path = part_path(source, prefix, 1, keys->count);
    if (path == NULL)
        return rad_fail_memory(error, prefix + 64);
    char first[RAD_PATH_LABEL_SIZE];
    return rad_fail(error, RADLLM_E_ARGUMENT,
                    "%s: this is part %" PRId64 " of %" PRId64 " of a split model; open its first "
                    "part: %s",
                    label, keys->number + 1, keys->count, rad_path_label(first, path));
}

/* What a further part says of itself must agree with the first one. */
static radllm_status check_part(const rad_source *source, uint32_t part,
                                const rad_meta_table *table, const split_keys *first,
                                radllm_error *error)
{
    const char *label = source->parts[part].label;
    split_keys keys;
    radllm_status status = read_keys(table, label, &keys, error);
    if (status != RADLLM_OK)
        return status;
    if (rad_meta_table_find(table, "split.no") == NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.no' is missing, so this is no part of the split model "
                        "that %s begins; " REFETCH,
                        label, source->parts[0].label);
    if (keys.number != (int64_t)part)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.no' is %" PRId64 ", but by its name the file is part "
                        "%" PRIu32 " (split.no %" PRIu32 "); it was renamed: " REFETCH,
                        label, keys.number, part + 1, part);
    if (keys.count != 0 && keys.count != first->count)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.count' is %" PRId64 ", but %" PRId64 " in the first "
                        "part; the file belongs to another model: " REFETCH,
                        label, keys.count, first->count);
    if (keys.n_tensors >= 0 && first->n_tensors >= 0 && keys.n_tensors != first->n_tensors)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.tensors.count' is %" PRId64 ", but %" PRId64 " in the "
                        "first part; the file belongs to another model: " REFETCH,
                        label, keys.n_tensors, first->n_tensors);
    const rad_meta *here = rad_meta_table_find(table, "general.architecture");
    const rad_meta *there = rad_meta_table_find(&source->metadata, "general.architecture");
    if (here != NULL && there != NULL && here->type == RAD_META_STRING &&
        there->type == RAD_META_STRING && !here->is_array && !there->is_array &&
        rad_text_compare(here->strings[0], there->strings[0]) != 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'general.architecture' differs from the first part's; the "
                        "file belongs to another model: " REFETCH,
                        label);
    return RADLLM_OK;
}

static radllm_status read_part(rad_source *source, size_t prefix, uint32_t part,
                               const split_keys *first, radllm_error *error)
{
    char *path = part_path(source, prefix, (int64_t)part + 1, first->count);
    if (path == NULL)
        return rad_fail_memory(error, prefix + 64);
    radllm_status status = rad_source_add_part(source, path, error);
    if (status != RADLLM_OK) {
        if (error == NULL || status != RADLLM_E_IO)
            return status;
        radllm_error inner = *error;
        return rad_fail(error, status,
                        "part %" PRIu32 " of %" PRId64 " of the split model is missing or cannot "
                        "be read: %s",
                        part + 1, first->count, inner.message);
    }
    rad_meta_table table;
    rad_gguf_header header;
    status = rad_gguf_read(source, part, &table, &header, error);
    if (status == RADLLM_OK)
        status = check_part(source, part, &table, first, error);
    rad_meta_table_free(source, &table);
    return status;
}

static radllm_status check_first(rad_source *source, const split_keys *keys, size_t *prefix,
                                 radllm_error *error)
{
    const char *label = source->parts[0].label;
    if (keys->number >= keys->count)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.no' is %" PRId64 ", but 'split.count' is %" PRId64
                        "; the file is damaged: " REFETCH,
                        label, keys->number, keys->count);
    if (keys->number != 0)
        return fail_not_first(source, keys, error);
    if (keys->count == 1)
        return RADLLM_OK;
    if (source->read != NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is the first of %" PRId64 " parts of a split model, which cannot "
                        "be read by callback; merge the parts first (llama-gguf-split --merge)",
                        label, keys->count);
    *prefix = prefix_length(source->path, 1, keys->count);
    if (*prefix == SIZE_MAX)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: this is the first of %" PRId64 " parts of a split model, but its name "
                        "does not end with -00001-of-%05" PRId64 ".gguf, so the others cannot be "
                        "found; give all parts their original names",
                        label, keys->count, keys->count);
    return RADLLM_OK;
}

radllm_status rad_split_read(rad_source *source, radllm_error *error)
{
    split_keys keys;
    const char *label = source->parts[0].label;
    radllm_status status = read_keys(&source->metadata, label, &keys, error);
    if (status != RADLLM_OK)
        return status;
    if (rad_meta_table_find(&source->metadata, "split.count") == NULL)
        return RADLLM_OK;
    size_t prefix = 0;
    if (keys.count == 0) /* llama-gguf-split --merge leaves this in the whole model */
        keys.count = 1;
    status = check_first(source, &keys, &prefix, error);
    for (int64_t part = 1; status == RADLLM_OK && part < keys.count; part++)
        status = read_part(source, prefix, (uint32_t)part, &keys, error);
    if (status != RADLLM_OK)
        return status;
    if (keys.n_tensors >= 0 && (uint64_t)keys.n_tensors != source->n_tensors)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key 'split.tensors.count' is %" PRId64 ", but the %" PRId64
                        " parts hold %zu tensors; " REFETCH,
                        source->parts[0].label, keys.n_tensors, keys.count, source->n_tensors);
    return RADLLM_OK;
}
