#include "quantize/importance.h"

#include <string.h>

void rad_importance_free(rad_importance *importance)
{
    rad_free(&importance->allocator, importance->entries,
             importance->capacity * sizeof *importance->entries);
    rad_arena_free(&importance->arena);
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
