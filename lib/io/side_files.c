/* Texts beside the weights, and a tokenizer.json that is opened by itself. */
#include "io/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint32_t find_side(const rad_source *source, const char *name)
{
    uint32_t part = 0;
    while (part < source->n_parts &&
           (source->parts[part].side == NULL || strcmp(source->parts[part].side, name) != 0))
        part++;
    return part;
}

static const rad_source *owner_of(const rad_source *source)
{
    while (source->beside)
        source = source->base;
    return source;
}

bool rad_source_has_side_file(const rad_source *source, const char *name)
{
    source = owner_of(source);
    return find_side(source, name) < source->n_parts;
}

radllm_status rad_source_side_file(const rad_source *source, const rad_allocator *allocator,
                                   const char *name, size_t most, char **data, size_t *size,
                                   radllm_error *error)
{
    source = owner_of(source);
    uint32_t part = find_side(source, name);
    *data = NULL;
    *size = 0;
    if (part == source->n_parts)
        return RADLLM_OK;
    uint64_t bytes = source->parts[part].size;
    if (bytes > most || bytes >= SIZE_MAX)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "%s: the file has %" PRIu64 " bytes; at most %zu are read: fetch it again",
                        source->parts[part].label, bytes, most);
    char *text = rad_alloc(allocator, (size_t)bytes + 1);
    if (text == NULL)
        return rad_fail_memory(error, (size_t)bytes + 1);
    radllm_status status = rad_source_read(source, part, 0, text, (size_t)bytes, error);
    if (status != RADLLM_OK) {
        rad_free(allocator, text, (size_t)bytes + 1);
        return status;
    }
    text[bytes] = '\0';
    *data = text;
    *size = (size_t)bytes;
    return RADLLM_OK;
}

const char *rad_source_template_file(const rad_source *source, size_t index)
{
    const size_t size = sizeof RAD_FOLDER_TEMPLATES - 1;
    source = owner_of(source);
    for (size_t i = 0; i < source->n_parts; i++) {
        const char *name = source->parts[i].side;
        if (name != NULL && strncmp(name, RAD_FOLDER_TEMPLATES, size) == 0 && index-- == 0)
            return name;
    }
    return NULL;
}

bool rad_source_is_vocabulary(const rad_source *source)
{
    return !source->foreign && source->n_parts > 0 && source->parts[0].side != NULL;
}

/* ---- a vocabulary by itself -------------------------------------------------------------- */

bool rad_is_vocabulary_path(const char *path)
{
    return (rad_ends_with(path, strlen(path), ".json") &&
            !rad_ends_with(path, strlen(path), ".safetensors.index.json")) ||
           rad_ends_with(path, strlen(path), ".model");
}

static radllm_status add_side(rad_source *source, const char *path, const char *name,
                              radllm_error *error)
{
    radllm_status status = rad_source_add_part(source, path, error);
    if (status == RADLLM_OK)
        source->parts[source->n_parts - 1].side = name;
    return status;
}

radllm_status rad_vocabulary_open(rad_source *source, const char *path, radllm_error *error)
{
    static const char *const beside[] = {"tokenizer_config.json", "special_tokens_map.json",
                                         "generation_config.json", "chat_template.jinja",
                                         "added_tokens.json"};
    const char *own =
        rad_ends_with(path, strlen(path), ".model") ? "tokenizer.model" : "tokenizer.json";
    radllm_status status = add_side(source, path, own, error);
    const char *slash = strrchr(path, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    if (strcmp(path + folder, own) != 0)
        return status; /* under another name it may stand beside another one's files */
    for (size_t i = 0; i < sizeof beside / sizeof *beside && status == RADLLM_OK; i++) {
        size_t bytes = folder + strlen(beside[i]) + 1;
        char *other = rad_arena_alloc(&source->arena, bytes, 1);
        if (other == NULL)
            return rad_fail_memory(error, bytes);
        snprintf(other, bytes, "%.*s%s", (int)folder, path, beside[i]);
        struct stat information;
        if (stat(other, &information) == 0)
            status = add_side(source, other, beside[i], error);
    }
    return status;
}
