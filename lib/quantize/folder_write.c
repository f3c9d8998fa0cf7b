/* From a plan to a folder: the tensors in files of safetensors, what says which model it is, and
 * the tokenizer. */
#include "base/folder_write.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/derived.h"
#include "io/rearrange.h"
#include "quantize/folder.h"
#include "quantize/scaled.h"
#include "quantize/write.h"
#include "text/export.h"
#include "text/export_json.h"
#include "text/tokenizer_json.h"

#define SHARDS_MAX 99999u

typedef struct folder_writer {
    const rad_quantize_plan *plan;
    const rad_allocator *allocator;
    const rad_folder_settings *settings;
    rad_folder_model model;
    rad_model *bound;
    rad_arena arena;    /* of what follows */
    rad_source *scaled; /* what they are made of where matrices have scales; NULL: the plan's own */
    rad_source *to;     /* tensors as the folder has them */
    rad_type *types;    /* of each */
    uint32_t *shard_of;
    uint32_t n_shards;
    rad_folder_output *folder;
    rad_output *file; /* that is written now */
    rad_data_writer *data;
    rad_data_progress progress;
    radllm_error *error;
} folder_writer;

/* A text that grows. */
typedef struct text_buffer {
    const rad_allocator *allocator;
    char *data;
    size_t size, capacity;
    bool failed;
} text_buffer;

/* ---- types ---------------------------------------------------------------------------------- */

static const char *dtype_of(rad_type type)
{
    return type == RAD_TYPE_F32    ? "F32"
           : type == RAD_TYPE_F16  ? "F16"
           : type == RAD_TYPE_BF16 ? "BF16"
           : type == RAD_TYPE_U8   ? "U8"
                                   : NULL;
}

static uint64_t size_of(rad_type type)
{
    return rad_type_find((uint32_t)type)->block_bytes;
}

static uint64_t bytes_of(const folder_writer *w, uint64_t i)
{
    return rad_source_tensor(w->to, i)->n_elements * size_of(w->types[i]);
}

/* What the plan has for a tensor of `source`. */
static const rad_quantized_tensor *planned_for(const folder_writer *w, const rad_tensor *tensor)
{
    if (w->scaled != NULL)
        tensor = rad_derived_origin(tensor);
    return &w->plan->tensors[rad_source_tensor_index(w->plan->source, tensor)];
}

/* The type that the plan has for the tensor that this one is made of. */
static radllm_status choose_type(folder_writer *w, uint64_t i)
{
    const rad_tensor *made = rad_source_tensor(w->to, i);
    const rad_tensor *from = rad_derived_origin(made);
    const rad_quantized_tensor *planned = planned_for(w, from);
    char quoted[RAD_QUOTE_SIZE];
    w->types[i] = rad_rearrange_is_packed(made) ? RAD_TYPE_U8 : planned->type;
    w->model.packed = w->model.packed || w->types[i] == RAD_TYPE_U8;
    if (dtype_of(w->types[i]) != NULL)
        return RADLLM_OK;
    return rad_fail(w->error, RADLLM_E_ARGUMENT,
                    "the tensor '%s' is %s, which folders do not hold: ask for the type F16, BF16 "
                    "or F32 (option quantize; --type of radllm-convert)",
                    rad_quote(quoted, from->name.data, from->name.size),
                    rad_type_find((uint32_t)planned->type)->name);
}

static radllm_status choose_types(folder_writer *w)
{
    uint64_t n = rad_source_n_tensors(w->to), at = 0;
    size_t bytes = (size_t)n * sizeof *w->types;
    w->types = rad_arena_alloc(&w->arena, bytes + 1, 8);
    w->shard_of = rad_arena_alloc(&w->arena, bytes + 1, 8);
    if (w->types == NULL || w->shard_of == NULL)
        return rad_fail_memory(w->error, bytes);
    for (uint64_t i = 0; i < n; i++) {
        radllm_status status = choose_type(w, i);
        if (status != RADLLM_OK)
            return status;
        if (w->settings->shard_bytes != 0 && at > 0 &&
            at + bytes_of(w, i) > w->settings->shard_bytes) {
            w->n_shards++;
            at = 0;
        }
        at += bytes_of(w, i);
        w->shard_of[i] = w->n_shards;
    }
    w->n_shards++;
    const rad_tensor *embedding = rad_source_find_tensor(w->plan->source, "token_embd.weight");
    rad_type type =
        embedding == NULL
            ? RAD_TYPE_F32
            : w->plan->tensors[rad_source_tensor_index(w->plan->source, embedding)].type;
    w->model.dtype = type == RAD_TYPE_F32   ? "float32"
                     : type == RAD_TYPE_F16 ? "float16"
                                            : "bfloat16";
    if (w->n_shards > SHARDS_MAX)
        return rad_fail(w->error, RADLLM_E_ARGUMENT,
                        "files of %" PRIu64 " bytes would be %u; ask for larger ones",
                        w->settings->shard_bytes, w->n_shards);
    return RADLLM_OK;
}

/* ---- texts ---------------------------------------------------------------------------------- */

static void add_text(text_buffer *b, const char *text, size_t size)
{
    void *data = b->data;
    if (b->failed || !rad_reserve(b->allocator, &data, &b->capacity, b->size + size + 1, 1)) {
        b->failed = true;
        return;
    }
    b->data = data;
    memcpy(b->data + b->size, text, size);
    b->size += size;
}

static void add_format(text_buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add_format(text_buffer *b, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    b->failed = b->failed || size < 0 || (size_t)size >= sizeof text;
    if (!b->failed)
        add_text(b, text, (size_t)size);
}

static void shard_name(const folder_writer *w, uint32_t shard, char name[64])
{
    if (w->n_shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, w->n_shards);
}

static radllm_status begin_file(folder_writer *w, const char *name)
{
    return rad_folder_output_file(w->folder, name, &w->file, w->error);
}

/* Also after a failure, which it passes on. */
static radllm_status end_file(folder_writer *w, radllm_status status)
{
    if (status == RADLLM_OK)
        status = rad_output_commit(w->file, w->error);
    rad_output_free(w->file);
    w->file = NULL;
    return status;
}

static radllm_status write_text(folder_writer *w, const char *name, const char *text, size_t size)
{
    radllm_status status = begin_file(w, name);
    if (status == RADLLM_OK)
        status = rad_output_write(w->file, text, size, w->error);
    return end_file(w, status);
}

/* Takes the object. */
static radllm_status write_json(folder_writer *w, const char *name, json_t *object)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    radllm_status status =
        text != NULL ? write_text(w, name, text, strlen(text)) : rad_fail_memory(w->error, 4096);
    free(text);
    json_decref(object);
    return status;
}

/* ---- weights -------------------------------------------------------------------------------- */

#define PASSES 3

/* Numbers of four bytes stand before those of two and one, so that all are aligned. */
static bool comes_now(const folder_writer *w, uint64_t i, uint32_t shard, int pass)
{
    return w->shard_of[i] == shard && size_of(w->types[i]) == (uint64_t)4 >> pass;
}

static void describe_tensor(const folder_writer *w, text_buffer *b, uint64_t i, uint64_t offset)
{
    const rad_tensor *tensor = rad_source_tensor(w->to, i);
    add_format(b, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name.data,
               dtype_of(w->types[i]));
    for (uint32_t d = tensor->n_dims; d-- > 0;)
        add_format(b, "%" PRIu64 "%s", tensor->dims[d], d > 0 ? "," : "");
    add_format(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + bytes_of(w, i));
}

static radllm_status write_header(folder_writer *w, uint32_t shard)
{
    text_buffer b = {.allocator = w->allocator};
    uint64_t offset = 0;
    add_format(&b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int pass = 0; pass < PASSES; pass++) {
        for (uint64_t i = 0; i < rad_source_n_tensors(w->to); i++) {
            if (!comes_now(w, i, shard, pass))
                continue;
            describe_tensor(w, &b, i, offset);
            offset += bytes_of(w, i);
        }
    }
    add_format(&b, "}");
    while (!b.failed && b.size % 8 != 0)
        add_format(&b, " ");
    radllm_status status = b.failed ? rad_fail_memory(w->error, b.size) : RADLLM_OK;
    uint8_t size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)((uint64_t)b.size >> 8 * i);
    if (status == RADLLM_OK)
        status = rad_output_write(w->file, size, sizeof size, w->error);
    if (status == RADLLM_OK)
        status = rad_output_write(w->file, b.data, b.size, w->error);
    rad_free(w->allocator, b.data, b.capacity);
    return status;
}

static radllm_status put_data(void *user, const void *data, size_t size, radllm_error *error)
{
    folder_writer *w = user;
    return rad_output_write(w->file, data, size, error);
}

static radllm_status write_shard(folder_writer *w, uint32_t shard)
{
    char name[64];
    shard_name(w, shard, name);
    radllm_status status = begin_file(w, name);
    if (status == RADLLM_OK)
        status = write_header(w, shard);
    for (int pass = 0; pass < PASSES; pass++)
        for (uint64_t i = 0; i < rad_source_n_tensors(w->to) && status == RADLLM_OK; i++)
            if (comes_now(w, i, shard, pass))
                status = rad_data_write(w->data, w->to, rad_source_tensor(w->to, i), w->types[i],
                                        NULL, &w->progress, w->error);
    return end_file(w, status);
}

static radllm_status write_index(folder_writer *w)
{
    text_buffer b = {.allocator = w->allocator};
    uint64_t total = 0, n = rad_source_n_tensors(w->to);
    if (w->n_shards == 1)
        return RADLLM_OK;
    for (uint64_t i = 0; i < n; i++)
        total += bytes_of(w, i);
    add_format(&b, "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {\n",
               total);
    for (uint64_t i = 0; i < n; i++) {
        char name[64];
        shard_name(w, w->shard_of[i], name);
        add_format(&b, "    \"%s\": \"%s\"%s\n", rad_source_tensor(w->to, i)->name.data, name,
                   i + 1 < n ? "," : "");
    }
    add_format(&b, "  }\n}\n");
    radllm_status status = b.failed ? rad_fail_memory(w->error, b.size)
                                    : write_text(w, "model.safetensors.index.json", b.data, b.size);
    rad_free(w->allocator, b.data, b.capacity);
    return status;
}

/* ---- the rest ------------------------------------------------------------------------------- */

static bool has_text(const folder_writer *w, const char *name)
{
    return rad_source_has_side_file(rad_derived_base(w->plan->source), name);
}

static radllm_status copy_text(folder_writer *w, const char *name)
{
    char *text;
    size_t size;
    radllm_status status = rad_source_side_file(rad_derived_base(w->plan->source), w->allocator,
                                                name, SIZE_MAX - 1, &text, &size, w->error);
    if (status == RADLLM_OK && text != NULL)
        status = write_text(w, name, text, size);
    rad_free(w->allocator, text, text != NULL ? size + 1 : 0);
    return status;
}

static radllm_status write_configs(folder_writer *w)
{
    static const struct {
        const char *name;
        radllm_status (*make)(const rad_folder_model *, json_t **, radllm_error *);
    } files[] = {{"config.json", rad_folder_config},
                 {"generation_config.json", rad_folder_generation_config},
                 {"modules.json", rad_folder_modules},
                 {"1_Pooling/config.json", rad_folder_pooling}};
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files && status == RADLLM_OK; i++) {
        json_t *object = NULL;
        if ((i == 1 && w->model.hparams.architecture->encoder) ||
            (i >= 2 && !rad_folder_pools(&w->model)))
            continue;
        if (i == 1 && has_text(w, files[i].name)) { /* how to sample as well */
            status = copy_text(w, files[i].name);
            continue;
        }
        status = files[i].make(&w->model, &object, w->error);
        if (status == RADLLM_OK)
            status = write_json(w, files[i].name, object);
    }
    return status;
}

/* Whether the tokenizer is one of files, which are copied: nothing of them is lost then. */
static bool has_files(const folder_writer *w)
{
    return has_text(w, "tokenizer.json") || has_text(w, "tokenizer.model");
}

static const char *template_file(const folder_writer *w, size_t index)
{
    return rad_source_template_file(rad_derived_base(w->plan->source), index);
}

static radllm_status copy_tokenizer(folder_writer *w)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "added_tokens.json",
                                        "special_tokens_map.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "sentence_bert_config.json",
                                        "sentence_roberta_config.json",
                                        "sentence_xlm-roberta_config.json"};
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == RADLLM_OK; i++)
        status = copy_text(w, names[i]);
    const char *name;
    for (size_t i = 0; status == RADLLM_OK && (name = template_file(w, i)) != NULL; i++)
        status = copy_text(w, name);
    return status;
}

static radllm_status write_tokenizer(folder_writer *w)
{
    radllm_status status = RADLLM_OK;
    if (strcmp(rad_tokenizer_kind(w->model.tokenizer), "none") == 0)
        return RADLLM_OK;
    if (has_files(w)) {
        status = copy_tokenizer(w);
        if (status != RADLLM_OK || has_text(w, "tokenizer_config.json") ||
            !has_text(w, "tokenizer.json"))
            return status;
    } else {
        status = begin_file(w, "tokenizer.json");
        if (status != RADLLM_OK)
            return status;
        status = end_file(w, rad_tokenizer_write_json(w->model.tokenizer, w->file, w->error));
    }
    bool apart = has_text(w, "chat_template.jinja") || template_file(w, 0) != NULL;
    if (status == RADLLM_OK)
        status = begin_file(w, "tokenizer_config.json");
    if (status != RADLLM_OK)
        return status;
    return end_file(w,
                    rad_tokenizer_write_config(w->model.tokenizer, apart ? NULL : w->plan->source,
                                               w->model.hparams.context_length, w->file, w->error));
}

/* Whether config.json has words for what layers differ in. */
static bool are_alike(const rad_hparams *h)
{
    bool alike = true;
    for (uint32_t i = 0; i < h->n_layers; i++)
        alike = alike && h->layers[i].n_heads == h->layers[0].n_heads &&
                h->layers[i].n_kv_heads == h->layers[0].n_kv_heads &&
                (h->layers[i].experts || h->layers[i].ffn_length == h->max_ffn);
    return alike;
}

static radllm_status rearrange(folder_writer *w)
{
    const rad_hparams *h = &w->model.hparams;
    rad_source *source = w->scaled != NULL ? w->scaled : w->plan->source;
    size_t n = (size_t)rad_source_n_tensors(source), bytes = n * sizeof(bool);
    bool *stays = rad_arena_alloc_zero(&w->arena, bytes + 1, 1);
    if (stays == NULL)
        return rad_fail_memory(w->error, bytes);
    for (size_t i = 0; i < n; i++)
        stays[i] = planned_for(w, rad_source_tensor(source, i))->type ==
                   rad_source_tensor(source, i)->type;
    rad_rearrange_shape shape = {.n_heads = h->layers[0].n_heads,
                                 .n_kv_heads = h->layers[0].n_kv_heads,
                                 .n_experts = h->router.n_experts,
                                 .scaling =
                                     w->model.factor > 0.0 || h->rope.scaling == RAD_ROPE_LONG,
                                 .sigmoid = h->router.gating == RAD_GATING_SIGMOID,
                                 .stays = stays};
    uint32_t windows = 0;
    for (uint32_t i = 0; i < h->n_layers; i++)
        windows += h->layers[i].window > 0;
    shape.window = windows > 0;
    shape.window_pattern = windows > 0 && windows < h->n_layers;
    return rad_rearrange(source, &shape, &w->model.model_type, &w->to, w->error);
}

/* What the model is, and its tensors as the folder has them. */
static radllm_status understand(folder_writer *w)
{
    rad_source *source = w->plan->source;
    rad_hparams *h = &w->model.hparams;
    radllm_status status = rad_quantize_bind(&w->plan->host, source, &w->bound, w->error);
    if (status != RADLLM_OK)
        return status;
    *h = w->bound->hparams;
    w->model.source = source;
    w->model.tokenizer = w->bound->tokenizer;
    status = rad_folder_find_scaling(&w->model, w->error);
    if (status == RADLLM_OK)
        status = rad_scaled_make(w->bound, &w->arena, &w->scaled, w->error);
    if (status == RADLLM_OK)
        status = rearrange(w);
    if (status == RADLLM_OK && !are_alike(h))
        status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                          "%s: its layers differ in their sizes, which config.json has no words "
                          "for; keep the GGUF file",
                          rad_source_label(source));
    bool in_part = h->rotary != RAD_ROTARY_NONE && h->latent.rank == 0 &&
                   2 * h->rope.n_pairs != h->head_dim &&
                   !rad_is_one_of(w->model.model_type, "phi|phi3");
    if (status == RADLLM_OK && in_part)
        status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                          "%s: of each head of %u values %u rotate, which config.json has no words "
                          "for in models of type %s; keep the GGUF file",
                          rad_source_label(source), h->head_dim, 2 * h->rope.n_pairs,
                          w->model.model_type);
    return status;
}

static radllm_status write_all(folder_writer *w, const char *path)
{
    const rad_host *host = &w->plan->host;
    bool checks = w->settings->only_check;
    radllm_status status = RADLLM_OK;
    if (path != NULL)
        status = rad_folder_output_open(w->allocator, path, w->settings->replace,
                                        checks ? NULL : &w->folder, w->error);
    if (checks)
        return status;
    if (status == RADLLM_OK)
        status = rad_data_writer_new(host, w->plan->n_threads, put_data, w, &w->data, w->error);
    if (status == RADLLM_OK)
        status = rad_data_look_up(w->data, &w->progress, w->error);
    if (status == RADLLM_OK)
        status = write_configs(w);
    if (status == RADLLM_OK)
        status = write_tokenizer(w);
    for (uint32_t shard = 0; shard < w->n_shards && status == RADLLM_OK; shard++)
        status = write_shard(w, shard);
    if (status == RADLLM_OK)
        status = write_index(w);
    if (status == RADLLM_OK)
        status = rad_source_check(w->plan->source, w->error);
    if (status == RADLLM_OK)
        status = rad_folder_output_commit(w->folder, w->error);
    return status;
}

/* The text of tokenizer.json, or of tokenizer_config.json. */
static radllm_status make_text(folder_writer *w, bool config, rad_tokenizer_file *file)
{
    rad_output *output = NULL;
    radllm_status status = rad_output_open_memory(w->allocator, &output, w->error);
    if (status == RADLLM_OK)
        status = config
                     ? rad_tokenizer_write_config(w->model.tokenizer, w->plan->source,
                                                  w->model.hparams.context_length, output, w->error)
                     : rad_tokenizer_write_json(w->model.tokenizer, output, w->error);
    if (status == RADLLM_OK)
        status = rad_output_take(output, &file->data, &file->size, w->error);
    rad_output_free(output);
    return status;
}

/* What readers make of the texts that will be written gives the same tokens. */
static radllm_status check_tokenizer(folder_writer *w)
{
    rad_tokenizer_files files = {0};
    rad_tokenizer *made = NULL;
    if (strcmp(rad_tokenizer_kind(w->model.tokenizer), "none") == 0 || has_files(w))
        return RADLLM_OK;
    radllm_status status = make_text(w, false, &files.tokenizer);
    if (status == RADLLM_OK)
        status = make_text(w, true, &files.config);
    if (status == RADLLM_OK)
        status = rad_tokenizer_create_json(&w->plan->host, &files, &made, w->error);
    if (status == RADLLM_OK)
        status = rad_tokenizer_compare(w->model.tokenizer, made, "tokenizer.json", false, w->error);
    rad_tokenizer_free(made);
    rad_free(w->allocator, files.tokenizer.data, files.tokenizer.size + 1);
    rad_free(w->allocator, files.config.data, files.config.size + 1);
    return status;
}

/* What stands in the way of writing that is known before. */
static radllm_status check(folder_writer *w)
{
    radllm_status status = check_tokenizer(w);
    for (uint64_t i = 0; i < rad_source_n_tensors(w->to) && status == RADLLM_OK; i++)
        status = rad_data_check(rad_source_tensor(w->to, i), w->types[i], w->error);
    return status;
}

radllm_status rad_quantize_write_folder(const rad_quantize_plan *plan, const char *path,
                                        const rad_folder_settings *settings,
                                        const radllm_cancel *cancel, radllm_error *error)
{
    folder_writer w = {.plan = plan,
                       .allocator = &plan->host.allocator,
                       .settings = settings,
                       .arena = {.allocator = &plan->host.allocator},
                       .progress = {.cancel = cancel, .total = plan->n_elements},
                       .error = error};
    radllm_status status = understand(&w);
    if (status == RADLLM_OK)
        status = choose_types(&w);
    if (status == RADLLM_OK)
        status = check(&w);
    if (status == RADLLM_OK)
        status = write_all(&w, path);
    rad_data_writer_free(w.data);
    rad_output_free(w.file);
    rad_folder_output_free(w.folder);
    rad_source_release(w.to);
    rad_source_release(w.scaled);
    rad_model_free(w.bound);
    rad_arena_free(&w.arena);
    return status;
}
