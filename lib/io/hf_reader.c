#include "io/hf_reader.h"

#include <stdio.h>
#include <string.h>

/* ---- metadata ------------------------------------------------------------------------------- */

rad_meta *rad_hf_add_entry(rad_hf_reader *r, const char *key, rad_meta_type type)
{
    rad_source *source = r->folder->source;
    rad_meta_table *table = &source->metadata;
    void *entries = table->entries;
    if (r->status != RADLLM_OK)
        return NULL;
    size_t needed = table->count + 1 < 64 ? 64 : table->count + 1;
    char *name = rad_arena_copy(&source->arena, key, strlen(key));
    if (name == NULL || !rad_reserve(&source->host.allocator, &entries, &table->capacity, needed,
                                     sizeof *table->entries)) {
        r->status = rad_fail_memory(r->error, needed * sizeof *table->entries);
        return NULL;
    }
    table->entries = entries;
    rad_meta *meta = &table->entries[table->count++].meta;
    table->entries[table->count - 1].position = 0;
    *meta = (rad_meta){.key = {name, strlen(key)}, .type = type, .count = 1};
    return meta;
}

static void add_bytes(rad_hf_reader *r, const char *key, rad_meta_type type, uint64_t count,
                      const void *items, size_t size)
{
    rad_meta *meta = rad_hf_add_entry(r, key, type);
    if (meta == NULL)
        return;
    meta->items = (const uint8_t *)rad_arena_copy(&r->folder->source->arena, items, size);
    meta->count = count;
    if (meta->items == NULL)
        r->status = rad_fail_memory(r->error, size);
}

/* What was added last is an array, also where it has one item. */
void rad_hf_mark_array(rad_hf_reader *r)
{
    rad_meta_table *table = &r->folder->source->metadata;
    if (r->status == RADLLM_OK)
        table->entries[table->count - 1].meta.is_array = true;
}

static const char *full_key(const rad_hf_reader *r, char key[128], const char *name)
{
    snprintf(key, 128, "%s.%s", r->family->architecture, name);
    return key;
}

/* Keys below the architecture's name. */
void rad_hf_put_integer(rad_hf_reader *r, const char *name, int64_t value)
{
    char key[128];
    add_bytes(r, full_key(r, key, name), RAD_META_I64, 1, &value, sizeof value);
}

void rad_hf_put_real(rad_hf_reader *r, const char *name, double value)
{
    char key[128];
    add_bytes(r, full_key(r, key, name), RAD_META_F64, 1, &value, sizeof value);
}

void rad_hf_put_bool(rad_hf_reader *r, const char *name, bool value)
{
    char key[128];
    uint8_t byte = value;
    add_bytes(r, full_key(r, key, name), RAD_META_BOOL, 1, &byte, 1);
}

void rad_hf_put_text(rad_hf_reader *r, const char *key, const char *text, size_t size)
{
    rad_arena *arena = &r->folder->source->arena;
    rad_meta *meta = rad_hf_add_entry(r, key, RAD_META_STRING);
    if (meta == NULL)
        return;
    rad_text *strings = rad_arena_alloc(arena, sizeof *strings, _Alignof(rad_text));
    char *copy = rad_arena_copy(arena, text, size);
    if (strings == NULL || copy == NULL) {
        r->status = rad_fail_memory(r->error, size);
        return;
    }
    *strings = (rad_text){copy, size};
    meta->strings = strings;
}

void rad_hf_put_items(rad_hf_reader *r, const char *name, rad_meta_type type, uint64_t count,
                      const void *items, size_t size)
{
    char key[128];
    add_bytes(r, full_key(r, key, name), type, count, items, size);
}

void rad_hf_put_count(rad_hf_reader *r, const char *key, int64_t value)
{
    add_bytes(r, key, RAD_META_I64, 1, &value, sizeof value);
}

/* A text below the architecture's name. */
void rad_hf_put_text_key(rad_hf_reader *r, const char *name, const char *text)
{
    char key[128];
    rad_hf_put_text(r, full_key(r, key, name), text, strlen(text));
}

/* ---- values of the configuration ------------------------------------------------------------ */

/* Its name as well: of the first of `names` where there is none. */
static json_t *find_named(const json_t *object, const char *names, char name[64])
{
    const char *rest = names;
    while (*rest != '\0') {
        size_t size = strcspn(rest, "|");
        snprintf(name, 64, "%.*s", (int)size, rest);
        json_t *value = json_object_get(object, name);
        if (value != NULL && !json_is_null(value))
            return value;
        rest += size + (rest[size] == '|');
    }
    snprintf(name, 64, "%.*s", (int)strcspn(names, "|"), names);
    return NULL;
}

/* The value of the first of several keys ("a|b") that is there and not null. */
json_t *rad_hf_find(const json_t *object, const char *names)
{
    char name[64];
    return find_named(object, names, name);
}

void rad_hf_fail_value(rad_hf_reader *r, const char *names, const char *wanted)
{
    if (r->status == RADLLM_OK)
        r->status = rad_fail(r->error, RADLLM_E_FORMAT,
                             "%s/%s: the key %.*s must be %s; the file is damaged, or not of "
                             "a model: fetch it again",
                             r->folder->label, r->folder->config_name, (int)strcspn(names, "|"),
                             names, wanted);
}

/* A size: a whole number from `minimum` to 2^31 - 1. */
int64_t rad_hf_size_in(rad_hf_reader *r, const json_t *object, const char *names, int64_t minimum,
                       int64_t fallback)
{
    char name[64];
    json_t *value = find_named(object, names, name);
    if (value == NULL && fallback >= 0)
        return fallback;
    int64_t number = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    /* Some converters write 4096.0. */
    if (json_is_real(value) && json_real_value(value) >= 0.0 && json_real_value(value) < 2e9 &&
        json_real_value(value) == (double)(int64_t)json_real_value(value))
        number = (int64_t)json_real_value(value);
    if (number >= minimum && number <= INT32_MAX)
        return number;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "a whole number from %d to %d", (int)minimum, INT32_MAX);
    rad_hf_fail_value(r, name, wanted);
    return minimum;
}

int64_t rad_hf_size(rad_hf_reader *r, const char *names, int64_t fallback)
{
    return rad_hf_size_in(r, r->folder->config, names, 1, fallback);
}

double rad_hf_real_in(rad_hf_reader *r, const json_t *object, const char *names, double fallback)
{
    char name[64];
    json_t *value = find_named(object, names, name);
    if (value == NULL)
        return fallback;
    if (json_is_number(value) && json_number_value(value) - json_number_value(value) == 0.0)
        return json_number_value(value);
    rad_hf_fail_value(r, name, "a finite number");
    return fallback;
}

bool rad_hf_bool_in(rad_hf_reader *r, const json_t *object, const char *names, bool fallback)
{
    char name[64];
    json_t *value = find_named(object, names, name);
    if (value != NULL && !json_is_boolean(value))
        rad_hf_fail_value(r, name, "true or false");
    return value != NULL ? json_is_true(value) : fallback;
}

void rad_hf_refuse(rad_hf_reader *r, const char *key, const char *value, const char *remedy)
{
    char quoted[RAD_QUOTE_SIZE];
    if (r->status == RADLLM_OK)
        r->status =
            rad_fail(r->error, RADLLM_E_UNSUPPORTED, "%s/%s: %s is \"%s\"; %s", r->folder->label,
                     r->folder->config_name, key, rad_quote(quoted, value, strlen(value)), remedy);
}
