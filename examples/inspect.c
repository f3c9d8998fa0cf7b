/* radllm-inspect: what is in a model file, and whether it can be run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/text.h"

enum { SHOWN_ITEMS = 6, SHOWN_BYTES = 200, SHOWN_TENSORS = 40 };

typedef enum file_kind {
    KIND_MODEL,
    KIND_TENSORS,
    KIND_VOCABULARY,
    KIND_METADATA,
    KIND_ADAPTER
} file_kind;

static const char *const kind_names[] = {"model", "tensors", "vocabulary", "metadata", "adapter"};

static uint64_t file_number(const radllm_file *file, const char *name)
{
    uint64_t value = 0;
    check(radllm_file_number(file, name, &value, program_error()), name);
    return value;
}

static bool has_key(const radllm_file *file, const char *key)
{
    uint64_t index = 0;
    return radllm_file_metadata_find(file, key, &index, NULL) == RADLLM_OK;
}

static radllm_metadata_info metadata_at(const radllm_file *file, uint64_t index)
{
    radllm_metadata_info info = {.size = sizeof info};
    check(radllm_file_metadata(file, index, &info, program_error()), "metadata");
    return info;
}

static void metadata_text(const radllm_file *file, uint64_t index, uint64_t item, buffer *out)
{
    buffer_clear(out);
    buffer_reserve(out, 64);
    size_t length = 0;
    radllm_status status = radllm_file_metadata_text(file, index, item, out->data, out->capacity,
                                                     &length, program_error());
    if (status == RADLLM_E_BUFFER) {
        buffer_reserve(out, length);
        status = radllm_file_metadata_text(file, index, item, out->data, out->capacity, &length,
                                           program_error());
    }
    check(status, "metadata");
    out->length = length;
}

/* Whether the file says more of a model than a family's name: a tokenizer or hyper-parameters. */
static bool describes_model(const radllm_file *file)
{
    uint64_t index = 0;
    check(radllm_file_metadata_find(file, "general.architecture", &index, program_error()), NULL);
    if (strcmp(metadata_at(file, index).type, "string") != 0)
        return true; /* whatever it is, it is wrong */
    buffer family = {0};
    metadata_text(file, index, 0, &family);
    buffer_add_text(&family, ".");
    uint64_t count = file_number(file, "metadata");
    bool found = false;
    for (uint64_t i = 0; i < count && !found; i++) {
        const char *key = metadata_at(file, i).key;
        found =
            strncmp(key, "tokenizer.", 10) == 0 || strncmp(key, family.data, family.length) == 0;
    }
    buffer_free(&family);
    return found;
}

/* What changes a model, by PEFT's names or GGUF's keys. */
static bool is_adapter(const radllm_file *file)
{
    static const char begins[] = "base_model.model.";
    radllm_tensor_info info = {.size = sizeof info};
    if (has_key(file, "adapter.type"))
        return true;
    return file_number(file, "tensors") != 0 &&
           radllm_file_tensor(file, 0, &info, program_error()) == RADLLM_OK &&
           strncmp(info.name, begins, sizeof begins - 1) == 0;
}

/* Checks as deep as the kind of file allows; ends the program when the file is refused. */
static file_kind check_file(const radllm_file *file, const common_settings *common)
{
    bool tensors = file_number(file, "tensors") != 0;
    bool vocabulary = !tensors && has_key(file, "tokenizer.ggml.model");
    if (is_adapter(file))
        return KIND_ADAPTER; /* to be checked with its model: --lora */
    if (!vocabulary && has_key(file, "general.architecture")) {
        radllm_status status = radllm_file_check_model(file, program_error());
        if (status == RADLLM_OK)
            return KIND_MODEL;
        if (status != RADLLM_E_FORMAT || describes_model(file)) {
            radllm_file_check_model(file, program_error()); /* its message again */
            check(status, NULL);
        }
    }
    if (tensors)
        return KIND_TENSORS;
    if (!vocabulary)
        return KIND_METADATA;
    radllm_model *model = NULL;
    option_set(common->options, "vocab_only", "1", "vocab_only");
    check(radllm_model_load(NULL, file, common->options, program_cancel(), &model, program_error()),
          NULL);
    option_set(common->options, "vocab_only", "0", "vocab_only");
    radllm_model_free(model);
    return KIND_VOCABULARY;
}

/* Base, instruct or chat, and how that was decided; "" for what is no model. */
typedef struct model_kind {
    char name[32], reason[256];
} model_kind;

static model_kind find_model_kind(const radllm_file *file, file_kind kind,
                                  const common_settings *common)
{
    model_kind found = {"", ""};
    radllm_model *model = NULL;
    size_t length = 0;
    if (kind != KIND_MODEL && kind != KIND_VOCABULARY)
        return found;
    option_set(common->options, "vocab_only", "1", "vocab_only");
    check(radllm_model_load(NULL, file, common->options, program_cancel(), &model, program_error()),
          NULL);
    option_set(common->options, "vocab_only", "0", "vocab_only");
    check(radllm_model_text(model, "kind", found.name, sizeof found.name, &length, program_error()),
          "kind");
    check(radllm_model_text(model, "kind_reason", found.reason, sizeof found.reason, &length,
                            program_error()),
          "kind_reason");
    radllm_model_free(model);
    return found;
}

static radllm_tensor_info tensor_at(const radllm_file *file, uint64_t index)
{
    radllm_tensor_info info = {.size = sizeof info};
    check(radllm_file_tensor(file, index, &info, program_error()), "tensor");
    return info;
}

/* A value in its own type, so that programs can read it. */
static json_t *value_json(const char *type, const buffer *text)
{
    int64_t integer = 0;
    bool whole = ends_with(type, "8") || ends_with(type, "16") || ends_with(type, "32") ||
                 ends_with(type, "64");
    bool real = ends_with(type, "f32") || ends_with(type, "f64");
    if (ends_with(type, "bool"))
        return json_boolean(strcmp(text->data, "true") == 0 || strcmp(text->data, "1") == 0);
    if (whole && !real && parse_integer(text->data, &integer))
        return json_integer(integer);
    char *end = NULL;
    double value = real ? strtod(text->data, &end) : 0.0;
    if (real && text->length != 0 && *end == '\0' && value - value == 0)
        return json_real(value);
    return json_from_text(text->data, text->length);
}

static json_t *metadata_json(const radllm_file *file, bool all)
{
    json_t *entries = json_array();
    buffer text = {0};
    uint64_t count = file_number(file, "metadata");
    for (uint64_t i = 0; i < count; i++) {
        radllm_metadata_info info = metadata_at(file, i);
        bool array = strncmp(info.type, "array", 5) == 0;
        json_t *entry = json_object();
        json_put(entry, "key", json_from_text(info.key, strlen(info.key)));
        json_put(entry, "type", json_string(info.type));
        if (array) {
            uint64_t shown = all || info.count <= SHOWN_ITEMS ? info.count : SHOWN_ITEMS;
            json_t *items = json_array();
            for (uint64_t item = 0; item < shown; item++) {
                metadata_text(file, i, item, &text);
                json_push(items, value_json(info.type, &text));
            }
            json_put(entry, "count", json_integer((json_int_t)info.count));
            json_put(entry, "shortened", json_boolean(shown < info.count));
            json_put(entry, "value", items);
        } else {
            metadata_text(file, i, 0, &text);
            json_put(entry, "value", value_json(info.type, &text));
        }
        json_push(entries, entry);
    }
    buffer_free(&text);
    return entries;
}

static json_t *tensors_json(const radllm_file *file)
{
    json_t *tensors = json_array();
    uint64_t count = file_number(file, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_tensor_info info = tensor_at(file, i);
        json_t *entry = json_object();
        json_put(entry, "name", json_from_text(info.name, strlen(info.name)));
        json_put(entry, "type", json_string(info.type));
        json_t *dims = json_array();
        for (uint32_t d = 0; d < info.n_dims && d < 4; d++)
            json_push(dims, json_integer((json_int_t)info.dims[d]));
        json_put(entry, "dims", dims);
        json_put(entry, "bytes", json_integer((json_int_t)info.bytes));
        json_put(entry, "offset", json_integer((json_int_t)info.offset));
        json_put(entry, "part", json_integer(info.part));
        json_put(entry, "computable", json_boolean(info.computable));
        json_push(tensors, entry);
    }
    return tensors;
}

static const char *const file_numbers[] = {"version", "alignment", "parts", "metadata",
                                           "tensors", "elements",  "bytes", "tensor_bytes"};
static const char *const plan_numbers[] = {
    "weights",         "cache",   "activations",  "vocabulary",     "overhead", "total", "context",
    "largest_context", "experts", "experts_used", "active_weights", "prefixes", "draft"};
/* Where there is a GPU; the last eight are bytes. */
static const char *const gpu_numbers[] = {"layers",  "output",    "weights", "cache", "activations",
                                          "context", "libraries", "draft",   "total", "memory"};
enum { N_FILE_NUMBERS = 8, N_PLAN_NUMBERS = 13, N_GPU_NUMBERS = 10 };

static uint64_t plan_number(const radllm_plan *plan, const char *name)
{
    uint64_t value = 0;
    check(radllm_plan_number(plan, name, &value, program_error()), name);
    return value;
}

/* Of one GPU, or (index below 0) of all of them. */
static uint64_t gpu_number(const radllm_plan *plan, int index, const char *name)
{
    char whole[64];
    if (index < 0)
        snprintf(whole, sizeof whole, "gpu_%s", name);
    else
        snprintf(whole, sizeof whole, "gpu%d_%s", index, name);
    return plan_number(plan, whole);
}

static void put_gpus(json_t *bytes, const radllm_plan *plan)
{
    int count = (int)plan_number(plan, "gpu_count");
    json_t *list = json_array();
    for (size_t i = 0; count > 0 && i < N_GPU_NUMBERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "gpu_%s", gpu_numbers[i]);
        json_put(bytes, name, json_integer((json_int_t)gpu_number(plan, -1, gpu_numbers[i])));
    }
    for (int k = 0; k < count; k++) {
        json_t *gpu = json_object();
        json_put(gpu, "number", json_integer((json_int_t)gpu_number(plan, k, "number")));
        for (size_t i = 0; i < N_GPU_NUMBERS; i++)
            json_put(gpu, gpu_numbers[i],
                     json_integer((json_int_t)gpu_number(plan, k, gpu_numbers[i])));
        json_push(list, gpu);
    }
    if (count > 0)
        json_put(bytes, "gpus", list);
    else
        json_decref(list);
}

static void print_json(const radllm_file *file, const char *path, file_kind kind,
                       const model_kind *taught, const radllm_plan *plan, bool all)
{
    json_t *object = json_object();
    json_put(object, "file", json_from_text(path, strlen(path)));
    json_put(object, "kind", json_string(kind_names[kind]));
    if (taught->name[0] != '\0') {
        json_put(object, "model_kind", json_string(taught->name));
        json_put(object, "model_kind_reason", json_string(taught->reason));
    }
    for (size_t i = 0; i < N_FILE_NUMBERS; i++) {
        bool list =
            strcmp(file_numbers[i], "metadata") == 0 || strcmp(file_numbers[i], "tensors") == 0;
        char key[32];
        snprintf(key, sizeof key, "%s%s", list ? "n_" : "", file_numbers[i]);
        json_put(object, key, json_integer((json_int_t)file_number(file, file_numbers[i])));
    }
    json_put(object, "metadata", metadata_json(file, all));
    json_put(object, "tensors", tensors_json(file));
    if (plan != NULL) {
        json_t *bytes = json_object();
        for (size_t i = 0; i < N_PLAN_NUMBERS; i++)
            json_put(bytes, plan_numbers[i],
                     json_integer((json_int_t)plan_number(plan, plan_numbers[i])));
        put_gpus(bytes, plan);
        json_put(object, "plan", bytes);
    }
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

/* A value on one line, shortened. */
static void print_value(const char *type, const buffer *text, bool all)
{
    size_t length = text->length;
    bool quoted = ends_with(type, "string");
    if (!all && length > SHOWN_BYTES) {
        length = SHOWN_BYTES;
        while (length > 0 && ((unsigned char)text->data[length] & 0xC0) == 0x80)
            length--;
    }
    output_text(quoted ? "\"" : "");
    output_escaped(text->data, length);
    output_text(quoted ? "\"" : "");
    if (length < text->length)
        output_format(" ... (%zu bytes)", text->length);
}

static void print_metadata(const radllm_file *file, bool all)
{
    buffer text = {0};
    uint64_t count = file_number(file, "metadata");
    output_format("\nMetadata (%" PRIu64 ")\n", count);
    for (uint64_t i = 0; i < count; i++) {
        radllm_metadata_info info = metadata_at(file, i);
        output_text("  ");
        output_escaped(info.key, strlen(info.key));
        if (strncmp(info.type, "array", 5) != 0) {
            output_format(" (%s) = ", info.type);
            metadata_text(file, i, 0, &text);
            print_value(info.type, &text, all);
            output_text("\n");
            continue;
        }
        output_format(" (%s, %" PRIu64 ") = [", info.type, info.count);
        uint64_t shown = all || info.count <= SHOWN_ITEMS ? info.count : SHOWN_ITEMS;
        for (uint64_t item = 0; item < shown; item++) {
            output_text(item != 0 ? ", " : "");
            metadata_text(file, i, item, &text);
            print_value(info.type, &text, all);
        }
        output_text(shown < info.count ? ", ...]\n" : "]\n");
    }
    buffer_free(&text);
}

static void print_bytes(const char *name, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    if (unit == 0)
        output_format("  %-16s %" PRIu64 " bytes\n", name, bytes);
    else
        output_format("  %-16s %" PRIu64 " bytes (%.1f %s)\n", name, bytes, value, units[unit]);
}

/* Bytes and number of tensors of each type. */
/* Where layers are placed on a GPU. */
static void print_gpu(const radllm_plan *plan)
{
    static const char *const names[] = {"weights",   "cache",       "activations", "driver",
                                        "libraries", "draft model", "together",    "of"};
    for (int k = 0; k < (int)plan_number(plan, "gpu_count"); k++) {
        output_format("\nOn GPU %" PRIu64 "\n  %-16s %" PRIu64 "%s\n",
                      gpu_number(plan, k, "number"), "layers", gpu_number(plan, k, "layers"),
                      gpu_number(plan, k, "output") != 0 ? ", and the last product" : "");
        for (size_t i = 2; i < N_GPU_NUMBERS; i++)
            print_bytes(names[i - 2], gpu_number(plan, k, gpu_numbers[i]));
    }
}

static void print_types(const radllm_file *file)
{
    typedef struct type_sum {
        const char *name;
        uint64_t count;
        uint64_t bytes;
        bool computable;
    } type_sum;
    type_sum sums[64];
    size_t n_sums = 0;
    uint64_t count = file_number(file, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_tensor_info info = tensor_at(file, i);
        size_t at = 0;
        while (at < n_sums && strcmp(sums[at].name, info.type) != 0)
            at++;
        if (at == n_sums && n_sums < sizeof sums / sizeof *sums)
            sums[n_sums++] = (type_sum){info.type, 0, 0, info.computable != 0};
        if (at < n_sums) {
            sums[at].count++;
            sums[at].bytes += info.bytes;
        }
    }
    output_text("\nTypes\n");
    for (size_t i = 0; i < n_sums; i++)
        output_format("  %-8s %" PRIu64 " tensors, %" PRIu64 " bytes%s\n", sums[i].name,
                      sums[i].count, sums[i].bytes,
                      sums[i].computable ? "" : ", this version cannot compute with it");
}

static void print_tensors(const radllm_file *file, bool all)
{
    uint64_t count = file_number(file, "tensors");
    uint64_t shown = all || count <= SHOWN_TENSORS ? count : SHOWN_TENSORS;
    output_format("\nTensors (%" PRIu64 ")\n", count);
    for (uint64_t i = 0; i < shown; i++) {
        radllm_tensor_info info = tensor_at(file, i);
        char dims[100] = "";
        int used = 0;
        for (uint32_t d = 0; d < info.n_dims && d < 4; d++)
            used += snprintf(dims + used, sizeof dims - (size_t)used, "%s%" PRIu64,
                             d != 0 ? " x " : "", info.dims[d]);
        output_format("  %-8s %-20s %12" PRIu64 " bytes  ", info.type, dims, info.bytes);
        output_escaped(info.name, strlen(info.name));
        output_text("\n");
    }
    if (shown < count)
        output_format("  ... and %" PRIu64 " more (--all shows them)\n", count - shown);
    if (count != 0)
        print_types(file);
}

static void print_plain(const radllm_file *file, const char *path, file_kind kind,
                        const model_kind *taught, const radllm_plan *plan, bool all)
{
    static const char *const described[] = {"a model that this version can run",
                                            "a container of tensors, no model",
                                            "a vocabulary without weights", "metadata alone",
                                            "an adapter (LoRA), to be given to its model: --lora"};
    output_text("File ");
    output_escaped(path, strlen(path));
    output_format("\n  %-16s %s\n", "kind", described[kind]);
    if (taught->name[0] != '\0')
        output_format("  %-16s %s: %s\n", "model", taught->name, taught->reason);
    uint64_t version = file_number(file, "version");
    if (version == 0)
        output_format("  %-16s safetensors\n", "format");
    else
        output_format("  %-16s GGUF %" PRIu64 "\n", "format", version);
    output_format("  %-16s %" PRIu64 "\n", "parts", file_number(file, "parts"));
    if (version != 0)
        output_format("  %-16s %" PRIu64 "\n", "alignment", file_number(file, "alignment"));
    output_format("  %-16s %" PRIu64 "\n", "elements", file_number(file, "elements"));
    print_bytes("bytes", file_number(file, "bytes"));
    print_bytes("tensor bytes", file_number(file, "tensor_bytes"));
    print_metadata(file, all);
    print_tensors(file, all);
    if (plan == NULL)
        return;
    output_format("\nMemory for a context of %" PRIu64 " tokens\n", plan_number(plan, "context"));
    for (size_t i = 0; i < 6; i++)
        print_bytes(plan_numbers[i], plan_number(plan, plan_numbers[i]));
    print_bytes("kept beginnings", plan_number(plan, "prefixes")); /* part of the cache */
    if (plan_number(plan, "draft") > 0)
        print_bytes("draft model", plan_number(plan, "draft")); /* part of the total */
    output_format("  %-16s %" PRIu64 " tokens\n", "largest context",
                  plan_number(plan, "largest_context"));
    if (plan_number(plan, "largest_context") < plan_number(plan, "context"))
        output_text("  This exceeds the memory budget.\n");
    print_gpu(plan);
    if (plan_number(plan, "experts") == 0)
        return;
    output_format("\nMixture of experts\n  %-16s %" PRIu64 ", of which a token uses %" PRIu64 "\n",
                  "experts", plan_number(plan, "experts"), plan_number(plan, "experts_used"));
    print_bytes("read by a token", plan_number(plan, "active_weights"));
}

/* ---- a model that is not at hand ---------------------------------------------------------------
 */

static const char *const shape_types[] = {"BF16", "Q4_K_M"};
static const char *const shape_numbers[] = {"weights", "cache", "activations", "overhead", "total"};
enum { SHAPE_CONTEXTS = 3, N_SHAPE_NUMBERS = 5 };

/* For results that do not depend on this machine. */
static void fix_options(const common_settings *common)
{
    static const char *const fixed[][2] = {{"load", "copy"}, {"layout", "file"}, {"threads", "8"}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!option_changed(common->options, fixed[i][0]))
            option_set(common->options, fixed[i][0], fixed[i][1], fixed[i][0]);
}

static uint64_t longest_context(const radllm_file *file)
{
    uint64_t count = file_number(file, "metadata"), longest = 0;
    buffer text = {0};
    int64_t value = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!ends_with(metadata_at(file, i).key, ".context_length"))
            continue;
        metadata_text(file, i, 0, &text);
        longest = parse_integer(text.data, &value) && value > 0 ? (uint64_t)value : 0;
    }
    buffer_free(&text);
    return longest;
}

static json_t *plan_shape(const char *path, const char *type, uint64_t context,
                          const common_settings *common, json_t *object)
{
    radllm_file *file = NULL;
    radllm_plan *plan = NULL;
    char number[32];
    option_set(common->options, "quantize", type, "quantize");
    check(radllm_file_open_shape(NULL, path, common->options, &file, program_error()), NULL);
    uint64_t longest = longest_context(file);
    uint64_t wanted = context == 0 || context > longest ? longest : context;
    snprintf(number, sizeof number, "%" PRIu64, wanted);
    option_set(common->options, "context", number, "context");
    check(radllm_plan_new(file, common->options, &plan, program_error()), path);
    json_t *entry = json_object();
    json_put(entry, "type", json_string(type));
    json_put(entry, "context", json_integer((json_int_t)wanted));
    for (size_t i = 0; i < N_SHAPE_NUMBERS; i++)
        json_put(entry, shape_numbers[i],
                 json_integer((json_int_t)plan_number(plan, shape_numbers[i])));
    json_put(object, "parameters", json_integer((json_int_t)file_number(file, "elements")));
    json_put(object, "longest_context", json_integer((json_int_t)longest));
    radllm_plan_free(plan);
    radllm_file_free(file);
    return entry;
}

static void print_shape(const json_t *object, const char *path)
{
    const json_t *plans = json_object_get(object, "plans"), *plan;
    size_t i;
    output_text("Configuration ");
    output_escaped(path, strlen(path));
    output_format("\n  %-16s %" JSON_INTEGER_FORMAT "\n", "parameters",
                  json_integer_value(json_object_get(object, "parameters")));
    output_text("\n  type     context       weights         cache   activations         total\n");
    json_array_foreach(plans, i, plan)
    {
        output_format("  %-7s %8" JSON_INTEGER_FORMAT,
                      json_string_value(json_object_get(plan, "type")),
                      json_integer_value(json_object_get(plan, "context")));
        for (size_t n = 0; n < N_SHAPE_NUMBERS; n++)
            if (strcmp(shape_numbers[n], "overhead") != 0)
                output_format(" %10.2f GB",
                              (double)json_integer_value(json_object_get(plan, shape_numbers[n])) /
                                  1e9);
        output_text("\n");
    }
}

/* The memory that a model takes of which the configuration alone is at hand. */
static void show_shape(const char *path, const common_settings *common)
{
    static const uint64_t contexts[SHAPE_CONTEXTS] = {4096, 32768, 0};
    json_t *object = json_object(), *plans = json_array();
    fix_options(common);
    json_put(object, "file", json_from_text(path, strlen(path)));
    for (size_t t = 0; t < sizeof shape_types / sizeof *shape_types; t++) {
        json_int_t before = 0;
        for (size_t c = 0; c < SHAPE_CONTEXTS; c++) {
            json_t *plan = plan_shape(path, shape_types[t], contexts[c], common, object);
            json_int_t context = json_integer_value(json_object_get(plan, "context"));
            if (context != before) /* shorter ones than asked for come once */
                json_array_append(plans, plan);
            before = context;
            json_decref(plan);
        }
    }
    json_put(object, "plans", plans);
    if (common->json)
        output_json(object, JSON_INDENT(2));
    else
        print_shape(object, path);
    json_decref(object);
}

static const char *parse(int count, char **values, bool *all, const char **shape,
                         common_settings *common)
{
    const argument table[] = {
        {'\0', "all", NULL, ARGUMENT_FLAG, all, NULL, 0, 0,
         "show long arrays, texts and lists of tensors in full"},
        {'\0', "plan", "SHAPE", ARGUMENT_TEXT, shape, NULL, 0, 0,
         "in place of FILE: the memory of a model of which the\nconfiguration alone is at hand (a "
         "config.json): at 16 and\n4 bits, with 4,096, 32,768 and the most tokens of context"},
        {'\0', "load", "HOW", ARGUMENT_OPTION, NULL, "load", 0, 0,
         "plan for weights that are loaded as auto, copy or map"},
        {'\0', "layout", "HOW", ARGUMENT_OPTION, NULL, "layout", 0, 0,
         "plan for weights laid out as auto, file or lane"},
        {'\0', "draft-model", "FILE", ARGUMENT_TEXT, &common->draft_model, NULL, 0, 0,
         "plan for computing with that smaller model, which guesses\ntokens ahead"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        {'\0', "memory-budget", "BYTES", ARGUMENT_OPTION, NULL, "memory_budget", 0, 0,
         "tell the largest context that fits so much memory"},
    };
    const program_usage usage = {
        "FILE [OPTION]...\n-m FILE [OPTION]...\n--plan SHAPE [OPTION]...",
        "Shows what is in a model file: metadata, tensors and the memory that running it takes.",
        "A file that describes a model is checked as loading would check it; one with a "
        "vocabulary\n"
        "alone as a vocabulary; tensors and metadata without an architecture are shown as they\n"
        "are. For a file that is refused the exit status is 1 and a message says why.",
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(count, values, &usage, common);
    size_t named = common->positional.count + (common->model != NULL) + (*shape != NULL);
    if (named == 1 && *shape != NULL)
        return NULL;
    if (named != 1)
        fail_usage(named == 0 ? "name a file" : "name one file only");
    return common->model != NULL ? common->model : common->positional.items[0];
}

static radllm_status make_plan(const radllm_file *file, const common_settings *common,
                               radllm_plan **plan)
{
    if (common->draft_model == NULL)
        return radllm_plan_new(file, common->options, plan, program_error());
    radllm_file *draft = NULL;
    radllm_status status = radllm_file_open(NULL, common->draft_model, &draft, program_error());
    if (status == RADLLM_OK)
        status = radllm_plan_new_with_draft(file, draft, common->options, plan, program_error());
    radllm_file_free(draft);
    return status;
}

int main(int argc, char **argv)
{
    program_start("radllm-inspect");
    bool all = false;
    common_settings common;
    const char *shape = NULL;
    const char *path = parse(argc, argv, &all, &shape, &common);
    program_catch_signals(false);
    if (shape != NULL) {
        show_shape(shape, &common);
        arguments_free(&common);
        return program_finish(EXIT_CODE_OK);
    }
    radllm_file *file = NULL;
    check(radllm_file_open(NULL, path, &file, program_error()), NULL);
    file_kind kind = check_file(file, &common);
    const model_kind taught = find_model_kind(file, kind, &common);
    radllm_plan *plan = NULL;
    int code = EXIT_CODE_OK;
    /* A budget that is too small does not keep the rest from being shown. */
    if (kind == KIND_MODEL && make_plan(file, &common, &plan) != RADLLM_OK) {
        warn("no memory plan: %s", radllm_error_message(program_error()));
        code = EXIT_CODE_FAILED;
    }
    if (common.json)
        print_json(file, path, kind, &taught, plan, all);
    else
        print_plain(file, path, kind, &taught, plan, all);
    radllm_plan_free(plan);
    radllm_file_free(file);
    arguments_free(&common);
    return program_finish(code);
}
