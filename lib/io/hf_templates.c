/* Chat templates: files of their own, or texts in tokenizer_config.json; the default, and others by
 * name. */
#include "io/hf_reader.h"

#include <string.h>

#define TEMPLATE          "tokenizer.chat_template"
#define TEMPLATE_NAME_MAX 64

/* Names in GGUF are letters and digits, with '_' for all else, as llama.cpp's converter makes them;
 * the default has none. The last of a name counts. */
static void put_named_template(rad_hf_reader *r, rad_text name, const char *text, size_t size)
{
    char key[sizeof TEMPLATE + TEMPLATE_NAME_MAX + 1] = TEMPLATE;
    const rad_meta_table *table = &r->folder->source->metadata;
    size_t end = sizeof TEMPLATE - 1, at = 0;
    if (r->status != RADLLM_OK || name.size == 0)
        return;
    if (name.size > TEMPLATE_NAME_MAX || r->n_templates++ == RAD_FOLDER_TEMPLATES_MAX) {
        r->status = rad_fail(r->error, RADLLM_E_LIMIT,
                             "%s: chat_template: at most %d chat templates are read, with names of "
                             "%d bytes; fetch the model again",
                             r->folder->label, RAD_FOLDER_TEMPLATES_MAX, TEMPLATE_NAME_MAX);
        return;
    }
    if (name.size != 7 || memcmp(name.data, "default", 7) != 0) {
        key[end++] = '.';
        for (size_t i = 0; i < name.size; i++) {
            char c = name.data[i], small = (char)(c | 0x20);
            bool kept = (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z');
            key[end++] = kept ? c : '_';
        }
        key[end] = '\0';
    }
    while (at < table->count && strcmp(table->entries[at].meta.key.data, key) != 0)
        at++;
    rad_hf_put_text(r, key, text, size);
    if (r->status == RADLLM_OK && at + 1 < table->count)
        table->entries[at].meta.strings =
            table->entries[--r->folder->source->metadata.count].meta.strings;
}

/* A file of one template. Whether it is there. */
static bool put_template_file(rad_hf_reader *r, const char *file, rad_text name)
{
    const rad_source *source = r->folder->source;
    char *text = NULL;
    size_t size = 0;
    if (r->status == RADLLM_OK)
        r->status = rad_source_side_file(source, &source->host.allocator, file, (size_t)1 << 20,
                                         &text, &size, r->error);
    if (text == NULL)
        return false;
    put_named_template(r, name, text, size);
    rad_free(&source->host.allocator, text, size + 1);
    return true;
}

/* chat_template: a text, or several with names: a list, or an object. `named`: all of them count,
 * and not the default alone. */
static void put_template_of(rad_hf_reader *r, const char *file, bool named, bool *found)
{
    json_t *config = NULL, *value, *item;
    const char *key;
    size_t i;
    if (r->status == RADLLM_OK && !*found)
        r->status = rad_folder_json(r->folder, file, &config, r->error);
    value = json_object_get(config, "chat_template");
    const size_t count = json_is_string(value)  ? 1
                         : json_is_array(value) ? json_array_size(value)
                                                : json_object_size(value);
    void *at = json_object_iter(value);
    for (i = 0; i < count; i++, at = json_object_iter_next(value, at)) {
        item = json_array_get(value, i);
        key = json_is_array(value) ? json_string_value(json_object_get(item, "name"))
              : at != NULL         ? json_object_iter_key(at)
                                   : "default";
        item = json_is_array(value) ? json_object_get(item, "template")
               : at != NULL         ? json_object_iter_value(at)
                                    : value;
        bool is_default = key != NULL && strcmp(key, "default") == 0;
        if (key == NULL || !json_is_string(item) || !(named || is_default))
            continue;
        put_named_template(r, (rad_text){key, strlen(key)}, json_string_value(item),
                           json_string_length(item));
        *found = *found || is_default;
    }
    json_decref(config);
}

/* What templates are called that are not the default. */
static void put_template_names(rad_hf_reader *r)
{
    const rad_source *source = r->folder->source;
    rad_text names[RAD_FOLDER_TEMPLATES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < source->metadata.count && count < RAD_FOLDER_TEMPLATES_MAX; i++) {
        const rad_text key = source->metadata.entries[i].meta.key;
        if (key.size > sizeof TEMPLATE && memcmp(key.data, TEMPLATE ".", sizeof TEMPLATE) == 0)
            names[count++] = (rad_text){key.data + sizeof TEMPLATE, key.size - sizeof TEMPLATE};
    }
    rad_meta *meta = count > 0 ? rad_hf_add_entry(r, TEMPLATE "s", RAD_META_STRING) : NULL;
    if (meta == NULL)
        return;
    const size_t bytes = count * sizeof *names;
    rad_text *kept = rad_arena_alloc(&r->folder->source->arena, bytes, _Alignof(rad_text));
    if (kept == NULL) {
        r->status = rad_fail_memory(r->error, bytes);
        return;
    }
    memcpy(kept, names, bytes);
    meta->strings = kept;
    meta->count = count;
    rad_hf_mark_array(r);
}

/* Where templates stand in files of their own, those of tokenizer_config.json do not count but for
 * its default, where that has no file. */
void rad_hf_put_templates(rad_hf_reader *r)
{
    static const rad_text plain = {"default", 7};
    const char *file;
    bool found = put_template_file(r, "chat_template.jinja", plain), named = !found;
    for (size_t i = 0; (file = rad_source_template_file(r->folder->source, i)) != NULL; i++) {
        const char *name = file + sizeof RAD_FOLDER_TEMPLATES - 1;
        (void)put_template_file(r, file, (rad_text){name, strlen(name) - sizeof "jinja"});
        named = false;
    }
    put_template_of(r, "tokenizer_config.json", named, &found);
    put_template_of(r, "chat_template.json", named, &found); /* of what sees and reads */
    put_template_names(r);
}
