/* The tables of keys and of tensors: sorted once, searched by bisection. Sorting and searching are
 * bounded by n log n and log n whatever the names, so that no choice of names makes them slow, as
 * it could with a hash table. */
#include "io/source.h"

#include <inttypes.h>
#include <string.h>

static void sift_down(uint32_t *order, size_t root, size_t count, rad_index_less less,
                      const void *context)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && less(context, order[child], order[child + 1]))
            child++;
        if (!less(context, order[root], order[child]))
            return;
        uint32_t moved = order[root];
        order[root] = order[child];
        order[child] = moved;
        root = child;
    }
}

void rad_sort_indexes(uint32_t *order, size_t count, rad_index_less less, const void *context)
{
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t i = count / 2; i-- > 0;)
        sift_down(order, i, count, less, context);
    for (size_t end = count; end-- > 1;) {
        uint32_t largest = order[0];
        order[0] = order[end];
        order[end] = largest;
        sift_down(order, 0, end, less, context);
    }
}

int rad_text_compare(rad_text a, rad_text b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int result = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (result != 0)
        return result;
    return a.size < b.size ? -1 : a.size > b.size;
}

/* ---- metadata ---------------------------------------------------------------------------- */

static bool key_less(const void *context, uint32_t a, uint32_t b)
{
    const rad_meta_entry *entries = context;
    int result = rad_text_compare(entries[a].meta.key, entries[b].meta.key);
    return result != 0 ? result < 0 : a < b;
}

radllm_status rad_meta_table_finish(const rad_source *source, const char *label,
                                    rad_meta_table *table, radllm_error *error)
{
    if (table->count == 0)
        return RADLLM_OK;
    size_t bytes = table->count * sizeof *table->order;
    table->order = rad_alloc(&source->host.allocator, bytes);
    if (table->order == NULL)
        return rad_fail_memory(error, bytes);
    rad_sort_indexes(table->order, table->count, key_less, table->entries);
    for (size_t i = 1; i < table->count; i++) {
        const rad_meta_entry *first = &table->entries[table->order[i - 1]];
        const rad_meta_entry *second = &table->entries[table->order[i]];
        char quoted[RAD_QUOTE_SIZE];
        if (rad_text_compare(first->meta.key, second->meta.key) == 0)
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s: the key '%s' occurs twice, at byte %" PRIu64 " and at byte "
                            "%" PRIu64 "; the file is damaged or was made by a faulty converter: "
                            "fetch or convert it again",
                            label, rad_quote(quoted, first->meta.key.data, first->meta.key.size),
                            first->position, second->position);
    }
    return RADLLM_OK;
}

const rad_meta *rad_meta_table_find(const rad_meta_table *table, const char *key)
{
    rad_text wanted = {key, strlen(key)};
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const rad_meta *meta = &table->entries[table->order[middle]].meta;
        int result = rad_text_compare(wanted, meta->key);
        if (result == 0)
            return meta;
        if (result < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void rad_meta_table_free(const rad_source *source, rad_meta_table *table)
{
    const rad_allocator *allocator = &source->host.allocator;
    rad_free(allocator, table->order, table->count * sizeof *table->order);
    rad_free(allocator, table->entries, table->capacity * sizeof *table->entries);
    *table = (rad_meta_table){0};
}

/* ---- tensors ----------------------------------------------------------------------------- */

static bool offset_less(const void *context, uint32_t a, uint32_t b)
{
    const rad_tensor_entry *entries = context;
    const rad_tensor *x = &entries[a].tensor;
    const rad_tensor *y = &entries[b].tensor;
    if (x->part != y->part)
        return x->part < y->part;
    return x->offset != y->offset ? x->offset < y->offset : a < b;
}

static bool name_less(const void *context, uint32_t a, uint32_t b)
{
    const rad_tensor_entry *entries = context;
    int result = rad_text_compare(entries[a].tensor.name, entries[b].tensor.name);
    return result != 0 ? result < 0 : a < b;
}

static radllm_status check_overlap(const rad_source *source, radllm_error *error)
{
    const uint32_t *order = source->tensor_order;
    for (size_t i = 1; i < source->n_tensors; i++) {
        const rad_tensor *first = &source->tensors[order[i - 1]].tensor;
        const rad_tensor *second = &source->tensors[order[i]].tensor;
        if (first->part != second->part || first->offset + first->n_bytes <= second->offset)
            continue;
        char a[RAD_QUOTE_SIZE];
        char b[RAD_QUOTE_SIZE];
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the tensors '%s' (bytes %" PRIu64 " to %" PRIu64 ") and '%s' (from "
                        "byte %" PRIu64 ") overlap; the file is damaged or was made by a faulty "
                        "converter: fetch or convert it again",
                        source->parts[first->part].label,
                        rad_quote(a, first->name.data, first->name.size), first->offset,
                        first->offset + first->n_bytes,
                        rad_quote(b, second->name.data, second->name.size), second->offset);
    }
    return RADLLM_OK;
}

static radllm_status check_unique(const rad_source *source, radllm_error *error)
{
    const uint32_t *order = source->tensor_order;
    for (size_t i = 1; i < source->n_tensors; i++) {
        const rad_tensor_entry *first = &source->tensors[order[i - 1]];
        const rad_tensor_entry *second = &source->tensors[order[i]];
        if (rad_text_compare(first->tensor.name, second->tensor.name) != 0)
            continue;
        char quoted[RAD_QUOTE_SIZE];
        rad_quote(quoted, first->tensor.name.data, first->tensor.name.size);
        if (first->tensor.part != second->tensor.part)
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s: the tensor '%s' (byte %" PRIu64 ") is also in part %" PRIu32
                            " of the split model; the parts belong to different models, or one is "
                            "a copy of another: fetch all parts of one model again",
                            source->parts[second->tensor.part].label, quoted, second->position,
                            first->tensor.part + 1);
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the tensor name '%s' occurs twice, at byte %" PRIu64 " and at byte "
                        "%" PRIu64 "; the file is damaged or was made by a faulty converter: "
                        "fetch or convert it again",
                        source->parts[first->tensor.part].label, quoted, first->position,
                        second->position);
    }
    return RADLLM_OK;
}

radllm_status rad_tensors_finish(rad_source *source, bool check_bytes, radllm_error *error)
{
    if (source->n_tensors == 0)
        return RADLLM_OK;
    size_t bytes = source->n_tensors * sizeof *source->tensor_order;
    source->tensor_order = rad_alloc(&source->host.allocator, bytes);
    if (source->tensor_order == NULL)
        return rad_fail_memory(error, bytes);
    rad_sort_indexes(source->tensor_order, source->n_tensors, name_less, source->tensors);
    radllm_status status = check_unique(source, error);
    if (status != RADLLM_OK || !check_bytes)
        return status;
    rad_sort_indexes(source->tensor_order, source->n_tensors, offset_less, source->tensors);
    status = check_overlap(source, error);
    /* The searches need the order of the names. */
    rad_sort_indexes(source->tensor_order, source->n_tensors, name_less, source->tensors);
    return status;
}

const rad_tensor *rad_source_find_tensor(const rad_source *source, const char *name)
{
    rad_text wanted = {name, strlen(name)};
    size_t low = 0;
    size_t high = source->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const rad_tensor *tensor = &source->tensors[source->tensor_order[middle]].tensor;
        int result = rad_text_compare(wanted, tensor->name);
        if (result == 0)
            return tensor;
        if (result < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
