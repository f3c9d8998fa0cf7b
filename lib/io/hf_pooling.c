/* What sentence-transformers puts behind a model: modules.json lists layers, 1_Pooling/config.json
 * says how the vectors of tokens become one. Whatever is not computed is refused: vectors without
 * it would be wrong in silence. */
#include "io/folder.h"

#include <string.h>

#define MODULES "modules.json"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static radllm_status refuse(const rad_folder *folder, const char *file, const char *what,
                            const char *value, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_UNSUPPORTED, "%s/%s: %s \"%s\" is not supported", folder->label,
                    file, what, rad_quote(quoted, value, strlen(value)));
}

static radllm_status fail(const rad_folder *folder, const char *file, const char *what,
                          radllm_error *error)
{
    return rad_fail(error, RADLLM_E_FORMAT, "%s/%s: %s; fetch the file again", folder->label, file,
                    what);
}

/* One layer behind the other. */
static radllm_status read_module(const rad_folder *folder, const json_t *module,
                                 rad_folder_pooling *pooling, radllm_error *error)
{
    const char *type = text_of(module, "type"), *path = text_of(module, "path");
    const char *dot = strrchr(type, '.'), *name = dot == NULL ? type : dot + 1;
    if (*name == '\0')
        return fail(folder, MODULES, "each module must be an object with a type", error);
    if (strcmp(name, "Normalize") == 0) {
        pooling->normalises = true;
        return RADLLM_OK;
    }
    if (strcmp(name, "Pooling") == 0)
        return strcmp(path, "1_Pooling") == 0
                   ? RADLLM_OK
                   : refuse(folder, MODULES, "another place of pooling than 1_Pooling:", path,
                            error);
    if (strcmp(name, "Transformer") == 0)
        return *path == '\0' ? RADLLM_OK
                             : refuse(folder, MODULES, "a model in the folder", path, error);
    return refuse(folder, MODULES, "a layer of type", type, error);
}

static radllm_status read_modules(const rad_folder *folder, rad_folder_pooling *pooling,
                                  radllm_error *error)
{
    json_t *list = NULL;
    size_t i;
    json_t *module;
    radllm_status status = rad_folder_json_list(folder, MODULES, &list, error);
    if (status != RADLLM_OK || list == NULL)
        return status;
    pooling->has_modules = true;
    json_array_foreach(list, i, module)
    {
        status = read_module(folder, module, pooling, error);
        if (status != RADLLM_OK)
            break;
    }
    json_decref(list);
    return status;
}

/* Names and flags of ways to pool; -1: one that is not computed. */
static const struct {
    const char *name, *flag;
    int type;
} ways[] = {
    {"mean", "pooling_mode_mean_tokens", 1},
    {"cls", "pooling_mode_cls_token", 2},
    {"lasttoken", "pooling_mode_lasttoken", 3},
    {"max", "pooling_mode_max_tokens", -1},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", -1},
    {"weightedmean", "pooling_mode_weightedmean_tokens", -1},
};

/* The older form: a flag for each way, of which one may be set. */
static radllm_status read_flags(const rad_folder *folder, const json_t *config, const char **mode,
                                radllm_error *error)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const json_t *value = json_object_get(config, ways[i].flag);
        if (value != NULL && !json_is_boolean(value))
            return fail(folder, RAD_FOLDER_POOLING, "its flags must be true or false", error);
        if (json_is_true(value) && *mode != NULL)
            return refuse(folder, RAD_FOLDER_POOLING, "more than one way of pooling: also",
                          ways[i].name, error);
        if (json_is_true(value))
            *mode = ways[i].name;
    }
    return RADLLM_OK;
}

static radllm_status find_way(const rad_folder *folder, const json_t *config,
                              rad_folder_pooling *pooling, radllm_error *error)
{
    const json_t *named = json_object_get(config, "pooling_mode");
    const char *mode = json_string_value(named);
    radllm_status status = RADLLM_OK;
    if (named != NULL && mode == NULL)
        return fail(folder, RAD_FOLDER_POOLING, "pooling_mode must be a text", error);
    if (mode == NULL)
        status = read_flags(folder, config, &mode, error);
    if (status == RADLLM_OK && mode == NULL)
        status = fail(folder, RAD_FOLDER_POOLING, "it names no way of pooling", error);
    if (status != RADLLM_OK)
        return status;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, mode) == 0)
            pooling->type = ways[i].type;
    }
    if (pooling->type < 0)
        return refuse(folder, RAD_FOLDER_POOLING, "pooling by", mode, error);
    return RADLLM_OK;
}

radllm_status rad_folder_read_pooling(const rad_folder *folder, rad_folder_pooling *pooling,
                                      radllm_error *error)
{
    json_t *config = NULL;
    *pooling = (rad_folder_pooling){.type = -1};
    radllm_status status = read_modules(folder, pooling, error);
    if (status == RADLLM_OK)
        status = rad_folder_json(folder, RAD_FOLDER_POOLING, &config, error);
    if (status == RADLLM_OK && config != NULL)
        status = find_way(folder, config, pooling, error);
    json_decref(config);
    return status;
}
