#include "quantize/importance.h"

#include <string.h>

void rad_importance_init(const rad_allocator *allocator, rad_importance *importance)
{
    *importance = (rad_importance){.allocator = *allocator, .chunk_tokens = 1, .dataset = {"", 0}};
    importance->arena.allocator = &importance->allocator;
}

void rad_importance_free(rad_importance *importance)
{
    rad_free(&importance->allocator, importance->entries,
             importance->capacity * sizeof *importance->entries);
    rad_arena_free(&importance->arena);
}

rad_importance_entry *rad_importance_add(rad_importance *importance, rad_text name,
                                         uint32_t n_matrices, uint64_t n_columns)
{
    uint64_t bytes;
    void *entries = importance->entries;
    if (!rad_mul_u64(n_matrices, n_columns, &bytes) ||
        !rad_mul_u64(bytes, sizeof(double), &bytes) || bytes > PTRDIFF_MAX ||
        !rad_reserve(&importance->allocator, &entries, &importance->capacity,
                     importance->n_entries + 1, sizeof *importance->entries))
        return NULL;
    importance->entries = entries;
    rad_importance_entry *entry = &importance->entries[importance->n_entries];
    *entry = (rad_importance_entry){
        .name = {rad_arena_copy(&importance->arena, name.data, name.size), name.size},
        .n_matrices = n_matrices,
        .n_columns = n_columns,
        .sums = rad_arena_alloc_zero(&importance->arena, (size_t)bytes, sizeof(double)),
        .counts = rad_arena_alloc_zero(&importance->arena, n_matrices * sizeof(uint64_t),
                                       sizeof(uint64_t))};
    if (entry->name.data == NULL || entry->sums == NULL || entry->counts == NULL)
        return NULL;
    importance->n_entries++;
    return entry;
}

bool rad_importance_add_totals(rad_importance *importance, rad_importance_entry *entry)
{
    size_t n = entry->n_matrices * (size_t)entry->n_columns; /* sums are as many */
    entry->totals = rad_arena_alloc_zero(&importance->arena, n * sizeof(double), sizeof(double));
    return entry->totals != NULL;
}

/* Heap sort: no memory, no recursion, n log n at worst. */
static void sift(rad_importance_entry *entries, size_t root, size_t count)
{
    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && strcmp(entries[child].name.data, entries[child + 1].name.data) < 0)
            child++;
        if (strcmp(entries[root].name.data, entries[child].name.data) >= 0)
            return;
        rad_importance_entry swapped = entries[root];
        entries[root] = entries[child];
        entries[child] = swapped;
        root = child;
    }
}

radllm_status rad_importance_finish(rad_importance *importance, const char *label,
                                    radllm_error *error)
{
    rad_importance_entry *entries = importance->entries;
    size_t count = importance->n_entries;
    for (size_t i = count / 2; i-- > 0;)
        sift(entries, i, count);
    for (size_t end = count; end > 1; end--) {
        rad_importance_entry swapped = entries[0];
        entries[0] = entries[end - 1];
        entries[end - 1] = swapped;
        sift(entries, 0, end - 1);
    }
    for (size_t i = 1; i < count; i++) {
        char quoted[RAD_QUOTE_SIZE];
        if (strcmp(entries[i].name.data, entries[i - 1].name.data) == 0)
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s has two entries for the tensor '%s'; make it again", label,
                            rad_quote(quoted, entries[i].name.data, entries[i].name.size));
    }
    return RADLLM_OK;
}

const rad_importance_entry *rad_importance_find(const rad_importance *importance, const char *name)
{
    size_t low = 0, high = importance != NULL ? importance->n_entries : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, importance->entries[middle].name.data);
        if (order == 0)
            return &importance->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
