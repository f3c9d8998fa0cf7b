/* Finds the files of a model's folder. Only plain files directly in the folder are opened: the
 * names of weight files come from an index that anybody may have written. */
#include "io/folder.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_NAME  "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
#define ADAPTER     "adapter_model.safetensors"
#define JSON_MAX    ((size_t)64 << 20)
#define NAME_MAX_   255u
#define PARTS_MAX   4096u
#define SHARD_END   27 /* characters of -00001-of-00002.safetensors */

static bool is_directory(const char *path)
{
    struct stat information;
    return stat(path, &information) == 0 && S_ISDIR(information.st_mode);
}

bool rad_is_folder_path(const char *path)
{
    return rad_ends_with(path, strlen(path), ".safetensors") ||
           rad_ends_with(path, strlen(path), ".safetensors.index.json") || is_directory(path);
}

/* ---- one file of the folder ----------------------------------------------------------------- */

static char *join(rad_folder *folder, const char *name, size_t size)
{
    size_t head = strlen(folder->path), bytes = head + size + 2;
    char *path = rad_arena_alloc(&folder->source->arena, bytes, 1);
    if (path != NULL)
        snprintf(path, bytes, "%s/%.*s", folder->path, (int)size, name);
    return path;
}

/* The hub's client keeps each file under its hash, and a folder of links "../../blobs/HASH" to
 * them. Such a link, which cannot name anything else, is followed; no other one is. */
static bool is_hub_link(const char *target)
{
    static const char prefix[] = "../../blobs/";
    if (strncmp(target, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *hash = target + sizeof prefix - 1;
    size_t digits = strspn(hash, "0123456789abcdef");
    return hash[digits] == '\0' && (digits == 40 || digits == 64);
}

/* Replaces *path by what it leads to when it is a link of the hub's client. deeper: the file stands
 * in a folder inside the folder. */
static radllm_status follow_hub_link(rad_folder *folder, bool deeper, char **path,
                                     radllm_error *error)
{
    char target[128];
    ssize_t size = readlink(*path, target, sizeof target - 1);
    if (size <= 0)
        return RADLLM_OK; /* no link, or nothing: opening it tells */
    target[size] = '\0';
    const char *start = deeper && strncmp(target, "../", 3) == 0 ? target + 3 : target;
    if (!is_hub_link(start))
        return RADLLM_OK;
    *path = join(folder, start, strlen(start));
    return *path != NULL ? RADLLM_OK : rad_fail_memory(error, (size_t)size);
}

/* Opens a file of the folder as the next part. side: it holds no weights. */
static radllm_status add_file(rad_folder *folder, const char *name, size_t size, bool side,
                              radllm_error *error)
{
    rad_source *source = folder->source;
    char *path = join(folder, name, size);
    char *kept = rad_arena_copy(&source->arena, name, size);
    if (path == NULL || kept == NULL)
        return rad_fail_memory(error, size);
    char label[RAD_PATH_LABEL_SIZE];
    rad_path_label(label, path);
    radllm_status status = follow_hub_link(folder, memchr(name, '/', size) != NULL, &path, error);
    if (status == RADLLM_OK)
        status = rad_source_add_plain_part(source, path, error);
    if (status != RADLLM_OK)
        return status;
    rad_part *part = &source->parts[source->n_parts - 1];
    part->side = side ? kept : NULL;
    memcpy(part->label, label, sizeof label);
    return RADLLM_OK;
}

static bool exists(rad_folder *folder, const char *name)
{
    struct stat information;
    char *path = join(folder, name, strlen(name));
    return path != NULL && lstat(path, &information) == 0;
}

static radllm_status read_json(const rad_folder *folder, const char *name, bool list, json_t **out,
                               radllm_error *error)
{
    const rad_source *source = folder->source;
    char *text;
    size_t size;
    *out = NULL;
    radllm_status status =
        rad_source_side_file(source, &source->host.allocator, name, JSON_MAX, &text, &size, error);
    if (status != RADLLM_OK || text == NULL)
        return status;
    char label[RAD_PATH_LABEL_SIZE + 64];
    snprintf(label, sizeof label, "%s/%s", folder->label, name);
    status = list ? rad_json_array(label, text, size, out, error)
                  : rad_json_object(label, text, size, out, error);
    rad_free(&source->host.allocator, text, size + 1);
    return status;
}

radllm_status rad_folder_json(const rad_folder *folder, const char *name, json_t **out,
                              radllm_error *error)
{
    return read_json(folder, name, false, out, error);
}

radllm_status rad_folder_json_list(const rad_folder *folder, const char *name, json_t **out,
                                   radllm_error *error)
{
    return read_json(folder, name, true, out, error);
}

/* ---- the index ------------------------------------------------------------------------------ */

static radllm_status check_name(const rad_folder *folder, const char *index, const char *name,
                                radllm_error *error)
{
    size_t size = strlen(name);
    if (strchr(name, '/') == NULL && strchr(name, '\\') == NULL && size <= NAME_MAX_ &&
        rad_ends_with(name, strlen(name), ".safetensors"))
        return RADLLM_OK;
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(
        error, RADLLM_E_FORMAT,
        "%s/%s: weight_map names the file '%s'; only .safetensors files directly in the "
        "model's folder are opened: the index is damaged or hostile: fetch it again",
        folder->label, index, rad_quote(quoted, name, size));
}

/* Adds a file that the index names, once: `parts` holds the number of the part by name. */
static radllm_status add_shard(rad_folder *folder, const char *index, const char *name,
                               json_t *parts, radllm_error *error)
{
    rad_source *source = folder->source;
    radllm_status status = check_name(folder, index, name, error);
    if (status != RADLLM_OK || json_object_get(parts, name) != NULL)
        return status;
    if (source->n_parts >= PARTS_MAX)
        return rad_fail(error, RADLLM_E_LIMIT, "%s/%s: weight_map names more than %u files",
                        folder->label, index, PARTS_MAX);
    if (json_object_set_new(parts, name, json_integer((json_int_t)source->n_parts)) != 0)
        return rad_fail_memory(error, strlen(name));
    status = add_file(folder, name, strlen(name), false, error);
    if (status != RADLLM_E_IO || error == NULL)
        return status;
    radllm_error inner = *error;
    return rad_fail(error, status,
                    "the file '%s', which %s names, is missing or cannot be read: %s; fetch all "
                    "files of the model",
                    name, index, inner.message);
}

/* Every tensor stands in the file that the index says. */
static radllm_status check_index(rad_folder *folder, const char *index, json_t *map,
                                 const json_t *parts, radllm_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const rad_stored *stored = rad_stored_find(&folder->stored, name);
        const char *file = json_string_value(value);
        char quoted[RAD_QUOTE_SIZE];
        if (stored == NULL ||
            json_integer_value(json_object_get(parts, file)) != (json_int_t)stored->part)
            return rad_fail(
                error, RADLLM_E_FORMAT,
                "%s/%s: the tensor '%s' is not in %s as the index says; the files belong "
                "to different models: fetch all files of one model",
                folder->label, index, rad_quote(quoted, name, strlen(name)), file);
    }
    return RADLLM_OK;
}

static radllm_status read_headers(rad_folder *folder, radllm_error *error)
{
    rad_source *source = folder->source;
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < source->n_parts && status == RADLLM_OK; i++) {
        if (source->parts[i].side == NULL)
            status = rad_safetensors_read(source, (uint32_t)i, &folder->stored, error);
    }
    return status == RADLLM_OK ? rad_stored_finish(source, &folder->stored, error) : status;
}

/* `parts` is an empty object. */
static radllm_status read_map(rad_folder *folder, const char *index, const json_t *root,
                              json_t *parts, radllm_error *error)
{
    json_t *map = json_object_get(root, "weight_map"), *value;
    const char *name;
    radllm_status status = RADLLM_OK;
    if (parts == NULL)
        return rad_fail_memory(error, sizeof(void *));
    if (!json_is_object(map) || json_object_size(map) == 0)
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "%s/%s: the key weight_map is missing, empty or no object: this is no index "
            "of safetensors files: fetch it again",
            folder->label, index);
    json_object_foreach(map, name, value)
    {
        if (!json_is_string(value))
            return rad_fail(
                error, RADLLM_E_FORMAT,
                "%s/%s: weight_map must give a file's name for each tensor; the index is "
                "damaged: fetch it again",
                folder->label, index);
        status = add_shard(folder, index, json_string_value(value), parts, error);
        if (status != RADLLM_OK)
            return status;
    }
    status = read_headers(folder, error);
    return status == RADLLM_OK ? check_index(folder, index, map, parts, error) : status;
}

/* Whether the folder has a file that its index names, or the index is damaged. */
static bool names_a_file(rad_folder *folder, const json_t *root)
{
    const char *name;
    json_t *map = json_object_get(root, "weight_map"), *value;
    json_object_foreach(map, name, value)
    {
        const char *file = json_string_value(value);
        if (file == NULL || strpbrk(file, "/\\") != NULL || exists(folder, file))
            return true;
    }
    return json_object_size(map) == 0;
}

/* *left: where the index may be that of another model, of which no file is there; NULL: it is not.
 */
static radllm_status open_index(rad_folder *folder, const char *name, bool *left,
                                radllm_error *error)
{
    json_t *root = NULL;
    radllm_status status = add_file(folder, name, strlen(name), true, error);
    if (status == RADLLM_OK)
        status = rad_folder_json(folder, name, &root, error);
    json_t *parts = json_object();
    if (status == RADLLM_OK && left != NULL)
        *left = !names_a_file(folder, root);
    if (status == RADLLM_OK && (left == NULL || !*left))
        status = read_map(folder, name, root, parts, error);
    json_decref(parts);
    json_decref(root);
    return status;
}

static radllm_status open_single(rad_folder *folder, const char *name, radllm_error *error)
{
    radllm_status status = add_file(folder, name, strlen(name), false, error);
    return status == RADLLM_OK ? read_headers(folder, error) : status;
}

/* ---- the folder ----------------------------------------------------------------------------- */

/* What else a folder may hold instead of weights that can be read, and what to do then. */
static radllm_status fail_no_weights(rad_folder *folder, radllm_error *error)
{
    static const struct {
        const char *name, *remedy;
    } kinds[] = {
        {"adapter_model.bin", "this is an adapter whose weights are a Python pickle "
                              "(adapter_model.bin), which can run any code; fetch or save "
                              "adapter_model.safetensors"},
        {"pytorch_model.bin",
         "its weights are Python pickles (pytorch_model.bin), which can run any "
         "code; fetch the model's safetensors files"},
        {"pytorch_model.bin.index.json",
         "its weights are Python pickles (pytorch_model-*.bin), which can run any code; fetch the "
         "model's safetensors files"},
        {"consolidated.safetensors",
         "its weights (consolidated.safetensors) have the publisher's own names; fetch "
         "model.safetensors, or its index and files"},
        {"consolidated.00.pth",
         "its weights are Python pickles (consolidated.00.pth), which can run "
         "any code; fetch the model's safetensors files"},
        {"tf_model.h5", "its weights are TensorFlow's (tf_model.h5); fetch the model's "
                        "safetensors files"},
        {"flax_model.msgpack", "its weights are Flax's (flax_model.msgpack); fetch the model's "
                               "safetensors files"},
        {"snapshots", "this is where the hub's client keeps a model; give the folder of one "
                      "revision in snapshots"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (exists(folder, kinds[i].name))
            return rad_fail(error, RADLLM_E_UNSUPPORTED, "%s: %s", folder->label, kinds[i].remedy);
    }
    if (exists(folder, "adapter_config.json"))
        return rad_fail(error, RADLLM_E_IO,
                        "%s: this is an adapter without its weights (adapter_model.safetensors); "
                        "fetch all its files",
                        folder->label);
    return rad_fail(error, RADLLM_E_IO,
                    "%s: the folder has neither " SINGLE_NAME " nor " INDEX_NAME
                    "; give a folder that has, or the path of a GGUF file",
                    folder->label);
}

/* All of these are part of what the model is, so they are hashed with it. */
static const char *const side_files[] = {"adapter_config.json",
                                         "config.json",
                                         "quantize_config.json",
                                         "quant_config.json",
                                         "hf_quant_config.json",
                                         "generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "tokenizer.model",
                                         "vocab.json",
                                         "merges.txt",
                                         "modules.json",
                                         "sentence_bert_config.json",
                                         "sentence_roberta_config.json",
                                         "sentence_xlm-roberta_config.json",
                                         RAD_FOLDER_POOLING};

/* The folder inside the folder may be no link, which could lead anywhere. */
static radllm_status check_inner_folder(rad_folder *folder, const char *name, radllm_error *error)
{
    struct stat information;
    const char *slash = strchr(name, '/');
    if (slash == NULL)
        return RADLLM_OK;
    char *path = join(folder, name, (size_t)(slash - name));
    if (path == NULL)
        return rad_fail_memory(error, strlen(name));
    if (lstat(path, &information) == 0 && S_ISDIR(information.st_mode))
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s/%.*s is no folder of its own (links are not followed): fetch the model "
                    "again",
                    folder->label, (int)(slash - name), name);
}

/* In the order of their names, which the folder does not keep. */
static radllm_status find_templates(rad_folder *folder, DIR *directory, const char **names,
                                    size_t *count, radllm_error *error)
{
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char name[sizeof RAD_FOLDER_TEMPLATES + NAME_MAX_] = RAD_FOLDER_TEMPLATES;
        size_t head = sizeof RAD_FOLDER_TEMPLATES - 1, size = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || size > NAME_MAX_ ||
            !rad_ends_with(entry->d_name, size, ".jinja"))
            continue;
        if (*count == RAD_FOLDER_TEMPLATES_MAX)
            return rad_fail(error, RADLLM_E_LIMIT,
                            "%s/" RAD_FOLDER_TEMPLATES ": at most %d files are read; fetch the "
                            "model again",
                            folder->label, RAD_FOLDER_TEMPLATES_MAX);
        memcpy(name + head, entry->d_name, size + 1);
        const char *kept = rad_arena_copy(&folder->source->arena, name, head + size);
        if (kept == NULL)
            return rad_fail_memory(error, head + size);
        size_t at = (*count)++;
        for (; at > 0 && strcmp(names[at - 1], kept) > 0; at--)
            names[at] = names[at - 1];
        names[at] = kept;
    }
    return RADLLM_OK;
}

static radllm_status add_templates(rad_folder *folder, radllm_error *error)
{
    static const char inner[] = RAD_FOLDER_TEMPLATES;
    const char *names[RAD_FOLDER_TEMPLATES_MAX];
    char *path = join(folder, inner, sizeof inner - 2);
    size_t count = 0;
    struct stat information;
    if (path == NULL)
        return rad_fail_memory(error, sizeof inner);
    if (lstat(path, &information) != 0)
        return RADLLM_OK;
    radllm_status status = check_inner_folder(folder, inner, error);
    DIR *directory = status == RADLLM_OK ? opendir(path) : NULL;
    if (status == RADLLM_OK)
        status = find_templates(folder, directory, names, &count, error);
    if (directory != NULL)
        (void)closedir(directory);
    for (size_t i = 0; i < count && status == RADLLM_OK; i++)
        status = add_file(folder, names[i], strlen(names[i]), true, error);
    return status;
}

static radllm_status add_side_files(rad_folder *folder, radllm_error *error)
{
    radllm_status status = add_templates(folder, error);
    for (size_t i = 0; i < sizeof side_files / sizeof *side_files && status == RADLLM_OK; i++) {
        if (!exists(folder, side_files[i]))
            continue;
        status = check_inner_folder(folder, side_files[i], error);
        if (status == RADLLM_OK)
            status = add_file(folder, side_files[i], strlen(side_files[i]), true, error);
    }
    return status;
}

/* STEM-00002-of-00003.safetensors: how many files there are, and the length of STEM. */
static unsigned count_shards(const char *name, size_t *stem)
{
    unsigned number, count;
    int end = 0;
    *stem = strlen(name) > SHARD_END ? strlen(name) - SHARD_END : 0;
    if (*stem == 0 ||
        sscanf(name + *stem, "-%5u-of-%5u.safetensors%n", &number, &count, &end) != 2 ||
        end != SHARD_END)
        return 0;
    return count;
}

/* All files of a model of whose shards one has this name; with its index where there is one.
 * EXL2 has none, or that of the model before it was quantized. */
static radllm_status open_shards(rad_folder *folder, const char *name, radllm_error *error)
{
    size_t stem;
    unsigned count = count_shards(name, &stem);
    char path[NAME_MAX_ + sizeof ".safetensors.index.json"];
    snprintf(path, sizeof path, "%.*s.safetensors.index.json", (int)stem, name);
    if (exists(folder, path))
        return open_index(folder, path, NULL, error);
    if (count > PARTS_MAX)
        return rad_fail(error, RADLLM_E_LIMIT, "%s/%s: a model has at most %u files", folder->label,
                        name, PARTS_MAX);
    radllm_status status = RADLLM_OK;
    for (unsigned i = 1; i <= count && status == RADLLM_OK; i++) {
        snprintf(path, sizeof path, "%.*s-%05u-of-%05u.safetensors", (int)stem, name, i, count);
        status = exists(folder, path)
                     ? add_file(folder, path, strlen(path), false, error)
                     : rad_fail(error, RADLLM_E_IO,
                                "%s/%s: one of the model's %u files is missing; fetch all of them",
                                folder->label, path, count);
    }
    return status == RADLLM_OK ? read_headers(folder, error) : status;
}

/* What safetensors files a folder has under other names: how many models, and one's name. */
static unsigned find_others(const rad_folder *folder, char name[NAME_MAX_ + 1])
{
    DIR *directory = opendir(folder->path);
    struct dirent *entry;
    unsigned n = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        const char *found = entry->d_name;
        size_t size = strlen(found), stem, same;
        if (found[0] == '.' || size > NAME_MAX_ || !rad_ends_with(found, size, ".safetensors") ||
            strcmp(found, ADAPTER) == 0 || strncmp(found, "consolidated", 12) == 0)
            continue;
        bool another = n == 0 || count_shards(found, &stem) == 0 ||
                       count_shards(name, &same) == 0 || stem != same ||
                       strcmp(found + stem + 6, name + stem + 6) != 0 ||
                       memcmp(found, name, stem) != 0;
        n += another;
        memcpy(name, found, size + 1);
    }
    if (directory != NULL)
        (void)closedir(directory);
    return n;
}

static radllm_status open_others(rad_folder *folder, const char *name, unsigned n,
                                 radllm_error *error)
{
    size_t stem;
    if (n > 1)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: the folder has several .safetensors files, of which none is "
                        "" SINGLE_NAME " and no " INDEX_NAME " says what is in them; give the "
                        "path of the file that is the model",
                        folder->label);
    return count_shards(name, &stem) > 0 ? open_shards(folder, name, error)
                                         : open_single(folder, name, error);
}

static radllm_status open_named(rad_folder *folder, const char *name, radllm_error *error)
{
    size_t stem;
    if (rad_ends_with(name, strlen(name), ".index.json"))
        return open_index(folder, name, NULL, error);
    return count_shards(name, &stem) > 0 && exists(folder, "config.json")
               ? open_shards(folder, name, error)
               : open_single(folder, name, error);
}

static radllm_status open_weights(rad_folder *folder, const char *name, radllm_error *error)
{
    char other[NAME_MAX_ + 1];
    if (name != NULL)
        return open_named(folder, name, error);
    if (exists(folder, SINGLE_NAME))
        return open_single(folder, SINGLE_NAME, error);
    bool indexed = exists(folder, INDEX_NAME), left = true;
    unsigned n = find_others(folder, other);
    radllm_status status = RADLLM_OK;
    if (indexed)
        status = open_index(folder, INDEX_NAME, n == 1 ? &left : NULL, error);
    if (status != RADLLM_OK || (indexed && (n != 1 || !left)))
        return status;
    return n > 0                     ? open_others(folder, other, n, error)
           : exists(folder, ADAPTER) ? open_single(folder, ADAPTER, error)
                                     : fail_no_weights(folder, error);
}

/* Cuts the path into the folder and a file's name in it (NULL: it is the folder). */
static char *cut_path(rad_source *source, const char *path, const char **name)
{
    *name = NULL;
    if (is_directory(path))
        return rad_arena_copy(&source->arena, path, strlen(path));
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    if (slash == NULL)
        return rad_arena_copy(&source->arena, ".", 1);
    return rad_arena_copy(&source->arena, path, slash == path ? 1 : (size_t)(slash - path));
}

/* By the name that PEFT gives. */
static bool is_adapter(const rad_source *source)
{
    return source->n_parts > 0 &&
           rad_ends_with(source->parts[0].label, strlen(source->parts[0].label), ADAPTER);
}

radllm_status rad_folder_open(rad_source *source, const char *path, radllm_error *error)
{
    rad_folder folder = {.source = source, .config_name = "config.json"};
    const char *name;
    source->foreign = true;
    folder.path = cut_path(source, path, &name);
    if (folder.path == NULL)
        return rad_fail_memory(error, strlen(path));
    rad_path_label(folder.label, folder.path);
    radllm_status status = open_weights(&folder, name, error);
    source->adapter = status == RADLLM_OK && is_adapter(source);
    if (status == RADLLM_OK)
        status = add_side_files(&folder, error);
    if (status == RADLLM_OK && !source->adapter) /* else it is of the model that was trained */
        status = rad_folder_json(&folder, "config.json", &folder.config, error);
    if (status == RADLLM_OK)
        status = rad_folder_translate(&folder, error);
    json_decref(folder.config);
    rad_stored_free(source, &folder.stored);
    return status;
}

/* Of what was given as a configuration. */
static radllm_status refuse_gguf(const rad_folder *folder, radllm_error *error)
{
    char magic[4];
    if (rad_source_part_bytes(folder->source, 0) < sizeof magic)
        return RADLLM_OK;
    radllm_status status = rad_source_read(folder->source, 0, 0, magic, sizeof magic, error);
    if (status == RADLLM_OK && memcmp(magic, "GGUF", sizeof magic) == 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s is a GGUF file, and a configuration without weights (config.json) is "
                        "wanted; open the file as a model, whose plan is made of it alone",
                        rad_source_label(folder->source));
    return status;
}

radllm_status rad_shape_open(const rad_host *host, const char *path, rad_source **out,
                             radllm_error *error)
{
    rad_source *source;
    radllm_status status = rad_source_new(host, &source, error);
    if (status != RADLLM_OK)
        return status;
    rad_folder folder = {.source = source};
    const char *name;
    source->foreign = source->shape = true;
    source->path = (char *)(uintptr_t) "";
    rad_path_label(source->label, path);
    folder.path = cut_path(source, path, &name);
    if (folder.path == NULL)
        status = rad_fail_memory(error, strlen(path));
    if (status == RADLLM_OK && name == NULL)
        name = "config.json";
    folder.config_name = name;
    if (status == RADLLM_OK) {
        rad_path_label(folder.label, folder.path);
        status = add_file(&folder, name, strlen(name), true, error);
    }
    if (status == RADLLM_OK)
        status = refuse_gguf(&folder, error);
    if (status == RADLLM_OK)
        status = rad_folder_json(&folder, name, &folder.config, error);
    if (status == RADLLM_OK)
        status = rad_folder_translate(&folder, error);
    json_decref(folder.config);
    rad_stored_free(source, &folder.stored);
    if (status == RADLLM_OK)
        *out = source;
    else
        rad_source_release(source);
    return status;
}
