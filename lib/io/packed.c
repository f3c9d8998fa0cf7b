#include "io/packed.h"

#include <stdio.h>
#include <string.h>

#define MODULE_NAME 192
#define AUTO_ROUND  "auto-round"
#define EXL2_ENDING "|.q_weight"

static const rad_packed_method methods[] = {
    {"gptq", NULL, rad_gptq_configure, ".qweight", rad_gptq_weight},
    {"awq", NULL, rad_awq_configure, ".qweight", rad_awq_weight},
    {AUTO_ROUND,
     "auto_round:auto_gptq|auto_round:gptq|auto_gptq|gptq|auto_round:auto_gptq:exllamav2|"
     "auto_round:gptq:exllamav2|auto_round:gptq:tritonv2",
     rad_round_gptq_configure, ".qweight", rad_gptq_weight},
    {AUTO_ROUND, "auto_round|auto_round:gptqmodel|auto_round:exllamav2|auto_round:tritonv2",
     rad_round_configure, ".qweight", rad_gptq_weight},
    {AUTO_ROUND, "auto_round:auto_awq|auto_round:awq|auto_awq|awq|auto_round:awq:gemm",
     rad_round_configure, ".qweight", rad_awq_weight},
    {"exl2", NULL, rad_exl2_configure, ".q_weight", rad_exl2_weight},
    {"compressed-tensors", "pack-quantized", rad_integers_configure, ".weight_packed",
     rad_integers_weight},
    {"compressed-tensors", "int-quantized", rad_integers_configure, ".weight", rad_integers_weight},
    {"bitsandbytes", NULL, rad_bnb_configure, ".weight", rad_bnb_weight},
    {"fp8", NULL, NULL, ".weight", rad_fp8_weight},
    {"fbgemm_fp8", NULL, NULL, ".weight", rad_fp8_weight},
    {"compressed-tensors", "float-quantized", rad_compressed_configure, ".weight", rad_fp8_weight},
    {"compressed-tensors", "naive-quantized", rad_compressed_configure, ".weight", rad_fp8_weight},
    {"compressed-tensors", "dense", rad_compressed_configure, NULL, NULL}, /* caches alone */
    {"compressed-tensors", "nvfp4-pack-quantized", rad_compressed_configure, ".weight_packed",
     rad_nvfp4_weight},
    {"compressed-tensors", "mxfp4-pack-quantized", rad_compressed_configure, ".weight_packed",
     rad_mxfp4_weight},
    {"compressed-tensors", "mixed-precision", rad_integers_configure, ".weight_packed|.weight",
     rad_mixed_weight},
    {"bitnet", NULL, rad_bitnet_configure, ".weight", rad_bitnet_weight},
    {"mxfp4", NULL, NULL, NULL, NULL}, /* gpt-oss: families.c has names for its blocks */
};

/* ---- for the methods ------------------------------------------------------------------------ */

radllm_status rad_packed_fail(const rad_packing *packing, const char *module, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(packing->error, RADLLM_E_FORMAT,
                    "%s: the quantized weight of module '%s' %s; the files are damaged or belong "
                    "to different models: fetch all files of one model",
                    packing->folder->label, rad_quote(quoted, module, strlen(module)), what);
}

radllm_status rad_packed_refuse(const rad_packing *packing, const char *key, const char *what)
{
    bool advised = strstr(what, "fetch") != NULL || strstr(what, "save") != NULL;
    return rad_fail(packing->error, RADLLM_E_UNSUPPORTED, "%s/%s: the quantization's %s %s%s",
                    packing->folder->label, packing->file, key, what,
                    advised ? "" : "; fetch the model in another form");
}

static radllm_status wrong_type(const rad_packing *packing, const char *key, const char *wanted)
{
    return rad_fail(packing->error, RADLLM_E_FORMAT,
                    "%s/%s: the quantization's %s must be %s; the file is damaged: fetch it again",
                    packing->folder->label, packing->file, key, wanted);
}

radllm_status rad_packed_text(const rad_packing *packing, const char *key, const char *fallback,
                              const char **out)
{
    const json_t *value = json_object_get(packing->config, key);
    *out = fallback;
    if (value == NULL || json_is_null(value))
        return RADLLM_OK;
    *out = json_string_value(value);
    return *out != NULL ? RADLLM_OK : wrong_type(packing, key, "a text");
}

radllm_status rad_packed_integer(const rad_packing *packing, const char *key, int64_t fallback,
                                 int64_t *out)
{
    const json_t *value = json_object_get(packing->config, key);
    *out = fallback;
    if (value == NULL || json_is_null(value))
        return RADLLM_OK;
    *out = json_integer_value(value);
    return json_is_integer(value) ? RADLLM_OK : wrong_type(packing, key, "a whole number");
}

rad_stored *rad_packed_part(const rad_packing *packing, const char *module, const char *ending)
{
    char name[MODULE_NAME + 32];
    snprintf(name, sizeof name, "%s%s", module, ending);
    rad_stored *stored = rad_stored_find(&packing->folder->stored, name);
    if (stored != NULL)
        stored->used = true;
    return stored;
}

radllm_status rad_packed_add(rad_packing *packing, const char *module, rad_type type,
                             uint64_t n_rows, uint64_t n_columns, const rad_packed *packed)
{
    rad_source *source = packing->folder->source;
    char name[MODULE_NAME + 32];
    packing->any = true;
    source->scattered = source->scattered || packed->scattered;
    size_t size = (size_t)snprintf(name, sizeof name, "%s.weight", module);
    rad_stored entry = {
        .type = type, .n_dims = 2, .dims = {n_rows, n_columns, 1, 1, 1, 1, 1, 1}, .packed = packed};
    if (!rad_mul_u64(n_rows, n_columns, &entry.n_elements) ||
        !rad_mul_u64(n_rows, packed->row_bytes, &entry.n_bytes))
        return rad_packed_fail(packing, module, "has more than 2^64 bytes");
    rad_stored *there = rad_stored_find(&packing->folder->stored, name);
    if (there != NULL) {
        entry.name = there->name;
        entry.part = there->part;
        entry.offset = there->offset;
        *there = entry;
        return RADLLM_OK;
    }
    void *items = packing->made.items;
    if (!rad_reserve(&source->host.allocator, &items, &packing->made.capacity,
                     packing->made.count + 1, sizeof entry))
        return rad_fail_memory(packing->error, (packing->made.count + 1) * sizeof entry);
    packing->made.items = items;
    entry.name = (rad_text){rad_arena_copy(&source->arena, name, size), size};
    if (entry.name.data == NULL)
        return rad_fail_memory(packing->error, size);
    packing->made.items[packing->made.count++] = entry;
    return RADLLM_OK;
}

/* ---- a folder ------------------------------------------------------------------------------- */

/* Copies the module's name where the tensor's has one of the endings. */
static bool take_module(rad_text name, const char *endings, char module[MODULE_NAME])
{
    while (*endings != '\0') {
        size_t size = strcspn(endings, "|");
        if (name.size > size && name.size - size < MODULE_NAME &&
            memcmp(name.data + name.size - size, endings, size) == 0) {
            memcpy(module, name.data, name.size - size);
            module[name.size - size] = '\0';
            return true;
        }
        endings += size + (endings[size] == '|');
    }
    return false;
}

/* Weights of a part of the model that is left out may have any shape. */
static radllm_status make_weights(rad_packing *packing, const rad_packed_method *method)
{
    rad_stored_table *table = &packing->folder->stored;
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < table->count && status == RADLLM_OK; i++) {
        char module[MODULE_NAME];
        if (!table->items[i].used && take_module(table->items[i].name, method->endings, module))
            status = method->weight(packing, module, &table->items[i]);
    }
    return status;
}

/* What caches and results would be rounded by, which they are not here. */
static void leave_out_scales(rad_packing *packing)
{
    static const char endings[] = ".k_scale|.v_scale|.q_scale|.kv_scale|.prob_scale|.output_scale|"
                                  ".k_zero_point|.v_zero_point";
    rad_stored_table *table = &packing->folder->stored;
    char module[MODULE_NAME];
    for (size_t i = 0; i < table->count; i++)
        if (take_module(table->items[i].name, endings, module) && strstr(module, "attn") != NULL)
            table->items[i].used = true;
}

/* The first tensor that is a part of some quantized weight and belongs to none that was found. */
static const rad_stored *find_rest(const rad_packing *packing, const char *endings)
{
    const rad_stored_table *table = &packing->folder->stored;
    char module[MODULE_NAME];
    for (size_t i = 0; i < table->count; i++)
        if (!table->items[i].used && take_module(table->items[i].name, endings, module))
            return &table->items[i];
    return NULL;
}

/* Else the weight would be said to be missing, or to have another shape. */
static radllm_status refuse_rest(const rad_packing *packing, const char *what)
{
    const rad_stored *rest =
        find_rest(packing, ".qweight|.weight_packed|.SCB|.weight.absmax|.weight_scale_inv|"
                           ".weight_scale" EXL2_ENDING);
    char quoted[RAD_QUOTE_SIZE];
    if (rest == NULL)
        return RADLLM_OK;
    return rad_fail(packing->error, RADLLM_E_FORMAT,
                    "%s: the tensor '%s' is part of a quantized weight, and %s %s; fetch all files "
                    "of one model",
                    packing->folder->label, rad_quote(quoted, rest->name.data, rest->name.size),
                    packing->file, what);
}

/* The entries that were made join the others. */
static radllm_status join_tables(rad_packing *packing)
{
    rad_source *source = packing->folder->source;
    rad_stored_table *table = &packing->folder->stored, *made = &packing->made;
    if (made->count == 0)
        return RADLLM_OK;
    void *items = table->items;
    size_t count = table->count + made->count;
    if (!rad_reserve(&source->host.allocator, &items, &table->capacity, count,
                     sizeof *table->items))
        return rad_fail_memory(packing->error, count * sizeof *table->items);
    table->items = items;
    rad_free(&source->host.allocator, table->order, table->count * sizeof *table->order);
    table->order = NULL;
    memcpy(table->items + table->count, made->items, made->count * sizeof *made->items);
    table->count = count;
    return rad_stored_finish(source, table, packing->error);
}

/* Whether the first scheme of compressed-tensors is of whole numbers: "naive" says no more than
 * that each number stands by itself. */
static bool has_integers(const rad_packing *packing)
{
    json_t *groups = json_object_get(packing->config, "config_groups");
    const json_t *scheme = json_object_iter_value(json_object_iter(groups));
    const json_t *type = json_object_get(json_object_get(scheme, "weights"), "type");
    return json_is_string(type) && strcmp(json_string_value(type), "int") == 0;
}

radllm_status rad_compressed_configure(rad_packing *packing)
{
    const json_t *sparse = json_object_get(packing->config, "sparsity_config");
    const char *format = json_string_value(json_object_get(sparse, "format"));
    if (format != NULL && strcmp(format, "dense") != 0)
        return rad_packed_refuse(packing, "sparsity_config",
                                 "is not \"dense\": sparse weights "
                                 "are not read");
    if (json_object_size(json_object_get(packing->config, "transform_config")) > 0)
        return rad_packed_refuse(packing, "transform_config",
                                 "is there: transformed activations are not computed");
    return RADLLM_OK;
}

/* The key that says in which packing a method's weights are, and what it says. */
static radllm_status find_format(const rad_packing *packing, const char **name, const char **key,
                                 const char **format)
{
    static const char gptq[] = "auto_round:auto_gptq";
    *key = "format";
    if (strcmp(*name, "intel/" AUTO_ROUND) == 0)
        *name = AUTO_ROUND;
    if (strcmp(*name, AUTO_ROUND) != 0) {
        radllm_status status = rad_packed_text(packing, *key, "dense", format);
        if (status == RADLLM_OK && strcmp(*format, "naive-quantized") == 0 && has_integers(packing))
            *format = "int-quantized";
        return status;
    }
    *key = "packing_format";
    if (json_object_get(packing->config, *key) == NULL) /* as it was called first */
        *key = "backend";
    radllm_status status = rad_packed_text(packing, *key, gptq, format);
    if (status == RADLLM_OK && strcmp(*key, "backend") == 0 && strcmp(*format, "auto") == 0)
        *format = gptq;
    return status;
}

/* All that is known of a way is its name; without one it is that of a file of its own. */
static radllm_status find_method(rad_packing *packing, const char *fallback,
                                 const rad_packed_method **out)
{
    const char *name, *key, *format;
    if (json_is_true(json_object_get(packing->config, "load_in_8bit")) ||
        json_is_true(json_object_get(packing->config, "load_in_4bit")))
        fallback = "bitsandbytes"; /* which did not name itself at first */
    radllm_status status = rad_packed_text(packing, "quant_method", fallback, &name);
    if (status == RADLLM_OK && name == NULL)
        return rad_packed_refuse(packing, "quant_method", "is not said");
    if (status == RADLLM_OK)
        status = find_format(packing, &name, &key, &format);
    if (status != RADLLM_OK)
        return status;
    bool known = false;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        known = true;
        *out = &methods[i];
        if (methods[i].format == NULL || rad_is_one_of(format, methods[i].format))
            return RADLLM_OK;
    }
    char quoted[RAD_QUOTE_SIZE], what[RAD_QUOTE_SIZE + 160];
    const char *unknown = known ? format : name;
    snprintf(what, sizeof what,
             "is \"%s\", which this version does not read; fetch the model in "
             "another form, or a GGUF file",
             rad_quote(quoted, unknown, strlen(unknown)));
    return rad_packed_refuse(packing, known ? key : "quant_method", what);
}

static radllm_status pack(rad_packing *packing, const char *fallback)
{
    const rad_packed_method *method = NULL;
    radllm_status status = find_method(packing, fallback, &method);
    if (status == RADLLM_OK && method->configure != NULL)
        status = method->configure(packing);
    if (status == RADLLM_OK && method->weight != NULL)
        status = make_weights(packing, method);
    if (status == RADLLM_OK && method->weight == rad_bitnet_weight && !packing->any &&
        packing->folder->stored.count > 0)
        return rad_packed_refuse(packing, "quant_method",
                                 "is \"bitnet\", and no weight is packed: masters for training are "
                                 "not rounded here; fetch the packed model");
    if (status == RADLLM_OK)
        leave_out_scales(packing);
    if (status == RADLLM_OK)
        status = refuse_rest(packing, "says another quant_method or format");
    if (status == RADLLM_OK)
        status = join_tables(packing);
    rad_free(&packing->folder->source->host.allocator, packing->made.items,
             packing->made.capacity * sizeof *packing->made.items);
    return status;
}

/* In config.json, or in a file of its own as older programs wrote it. */
radllm_status rad_packed_find(rad_folder *folder, radllm_error *error)
{
    static const struct {
        const char *file, *method;
    } others[] = {{"quantize_config.json", "gptq"},
                  {"quant_config.json", "awq"},
                  {"hf_quant_config.json", "modelopt"}};
    static const char *const keys[] = {"quantization_config", "compression_config"};
    rad_packing packing = {.folder = folder, .file = folder->config_name, .error = error};
    for (size_t i = 0; i < sizeof keys / sizeof *keys && packing.config == NULL; i++) {
        packing.config = json_object_get(folder->config, keys[i]);
        if (json_is_null(packing.config))
            packing.config = NULL;
    }
    /* Which says the same under both keys, or has the first alone. */
    if (json_object_get(json_object_get(folder->config, "quantization"), "bits") != NULL &&
        json_object_get(packing.config, "quant_method") == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s/%s: the weights are quantized by MLX (the key quantization), which "
                        "this version does not read; fetch the model in BF16, or a GGUF file",
                        folder->label, folder->config_name);
    if (packing.config != NULL && !json_is_object(packing.config))
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "%s/%s: quantization_config must be an object; the file is damaged: fetch it "
            "again",
            folder->label, folder->config_name);
    if (packing.config != NULL)
        return pack(&packing, NULL);
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others && status == RADLLM_OK; i++) {
        json_t *config = NULL;
        status = rad_folder_json(folder, others[i].file, &config, error);
        if (config != NULL) {
            packing.config = config;
            packing.file = others[i].file;
            status = pack(&packing, others[i].method);
            json_decref(config);
            return status;
        }
    }
    if (status == RADLLM_OK && find_rest(&packing, &EXL2_ENDING[1]) != NULL)
        return pack(&packing, "exl2"); /* whose tensors say it all: at first nothing else did */
    return status == RADLLM_OK ? refuse_rest(&packing, "has no quantization_config") : status;
}
