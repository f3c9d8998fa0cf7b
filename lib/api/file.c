/* Model files and plans. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/file.h"
#include "engine/device.h"
#include "engine/draft.h"
#include "quantize/shape.h"

static radllm_status wrap_source(const rad_host *host, rad_source *source, radllm_file **out,
                                 radllm_error *error)
{
    radllm_file *file = rad_alloc_zero(&host->allocator, sizeof *file);
    if (file == NULL) {
        rad_source_release(source);
        return rad_fail_memory(error, sizeof *file);
    }
    atomic_init(&file->references, 1);
    file->host = *host;
    file->source = source;
    file->process = rad_process_id();
    pthread_mutex_init(&file->hash_mutex, NULL);
    *out = file;
    return RADLLM_OK;
}

radllm_status radllm_file_open(const radllm_host *host, const char *path, radllm_file **out,
                               radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(path);
    RAD_CHECK_NULL(out);
    rad_host settings = rad_host_settings(host);
    rad_source *source;
    radllm_status status = rad_source_open(&settings, path, &source, error);
    return status == RADLLM_OK ? wrap_source(&settings, source, out, error) : status;
}

radllm_status radllm_file_open_callback(const radllm_host *host, radllm_read_fn read, void *user,
                                        uint64_t file_size, radllm_file **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(read);
    RAD_CHECK_NULL(out);
    rad_host settings = rad_host_settings(host);
    rad_source *source;
    radllm_status status =
        rad_source_open_callback(&settings, read, user, file_size, &source, error);
    return status == RADLLM_OK ? wrap_source(&settings, source, out, error) : status;
}

radllm_status radllm_file_open_shape(const radllm_host *host, const char *path,
                                     const radllm_options *options, radllm_file **out,
                                     radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(path);
    RAD_CHECK_NULL(out);
    rad_host own = rad_host_settings(host);
    rad_quantize_settings settings;
    rad_options_quantize(options, &settings);
    rad_source *source = NULL;
    radllm_status status = rad_shape_make(&own, path, settings.file_type, &source, error);
    return status == RADLLM_OK ? wrap_source(&own, source, out, error) : status;
}

radllm_file *rad_file_retain(radllm_file *file)
{
    atomic_fetch_add(&file->references, 1);
    return file;
}

void radllm_file_free(radllm_file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->references, 1) != 1)
        return;
    rad_allocator allocator = file->host.allocator;
    rad_source_release(file->source);
    pthread_mutex_destroy(&file->hash_mutex);
    rad_free(&allocator, file, sizeof *file);
}

radllm_status radllm_file_check_model(const radllm_file *file, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_PROCESS(file->process);
    rad_model_settings settings;
    rad_options_model(NULL, &settings);
    rad_fpenv saved = rad_fpenv_enter();
    rad_model *model;
    radllm_status status = rad_model_bind(&file->host, file->source, &settings, &model, error);
    if (status == RADLLM_OK)
        rad_model_free(model);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_file_number(const radllm_file *file, const char *name, uint64_t *out,
                                 radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(file->process);
    const rad_source *source = file->source;
    uint64_t bytes = 0, tensor_bytes = 0, elements = 0;
    for (uint32_t i = 0; i < rad_source_n_parts(source); i++)
        bytes += rad_source_part_bytes(source, i);
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++) {
        tensor_bytes += rad_source_tensor(source, i)->n_bytes;
        elements += rad_source_tensor(source, i)->n_elements;
    }
    const rad_named_number numbers[] = {
        {"version", rad_source_version(source)},
        {"alignment", (int64_t)rad_source_alignment(source)},
        {"metadata", (int64_t)rad_source_n_meta(source)},
        {"tensors", (int64_t)rad_source_n_tensors(source)},
        {"parts", rad_source_n_parts(source)},
        {"bytes", (int64_t)bytes},
        {"tensor_bytes", (int64_t)tensor_bytes},
        {"elements", (int64_t)elements},
    };
    int64_t value = 0;
    radllm_status status =
        rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, &value, error);
    if (status == RADLLM_OK)
        *out = (uint64_t)value;
    return status;
}

/* ---- metadata -------------------------------------------------------------------------------- */

static const char *const type_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
static const char *const array_names[] = {
    "array of u8",  "array of i8",  "array of u16",  "array of i16",    "array of u32",
    "array of i32", "array of f32", "array of bool", "array of string", "array of array",
    "array of u64", "array of i64", "array of f64"};

static radllm_status find_entry(const radllm_file *file, uint64_t index, const rad_meta **out,
                                radllm_error *error)
{
    uint64_t count = rad_source_n_meta(file->source);
    if (index >= count)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no metadata entry %llu of %llu",
                        (unsigned long long)index, (unsigned long long)count);
    *out = rad_source_meta(file->source, index);
    return RADLLM_OK;
}

radllm_status radllm_file_metadata(const radllm_file *file, uint64_t index,
                                   radllm_metadata_info *info, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(info);
    RAD_CHECK_PROCESS(file->process);
    const rad_meta *meta = NULL;
    radllm_status status = find_entry(file, index, &meta, error);
    if (status != RADLLM_OK)
        return status;
    radllm_metadata_info known = {.size = info->size,
                                  .key = meta->key.data,
                                  .type = meta->is_array ? array_names[meta->type]
                                                         : type_names[meta->type],
                                  .count = meta->count};
    return rad_copy_info(info, &known, sizeof known, error);
}

radllm_status radllm_file_metadata_find(const radllm_file *file, const char *key, uint64_t *index,
                                        radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(key);
    RAD_CHECK_NULL(index);
    RAD_CHECK_PROCESS(file->process);
    const rad_meta *meta = rad_source_find_meta(file->source, key);
    char quoted[RAD_QUOTE_SIZE];
    if (meta == NULL)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "the file has no key \"%s\"",
                        rad_quote(quoted, key, strlen(key)));
    for (uint64_t i = 0; i < rad_source_n_meta(file->source); i++) {
        if (rad_source_meta(file->source, i) == meta)
            *index = i;
    }
    return RADLLM_OK;
}

/* Numbers are written with a point in any locale. */
static size_t number_text(const rad_meta *meta, uint64_t item, char out[64])
{
    int n;
    switch (meta->type) {
    case RAD_META_F32:
    case RAD_META_F64:
        n = snprintf(out, 64, meta->type == RAD_META_F32 ? "%.9g" : "%.17g",
                     rad_meta_item_f64(meta, item));
        for (int i = 0; i < n; i++)
            out[i] = out[i] == ',' ? '.' : out[i];
        break;
    case RAD_META_BOOL:
        n = snprintf(out, 64, "%s", rad_meta_item_u64(meta, item) != 0 ? "true" : "false");
        break;
    case RAD_META_I8:
    case RAD_META_I16:
    case RAD_META_I32:
    case RAD_META_I64:
        n = snprintf(out, 64, "%lld", (long long)rad_meta_item_u64(meta, item));
        break;
    default:
        n = snprintf(out, 64, "%llu", (unsigned long long)rad_meta_item_u64(meta, item));
        break;
    }
    return n > 0 ? (size_t)n : 0;
}

radllm_status radllm_file_metadata_text(const radllm_file *file, uint64_t index, uint64_t item,
                                        char *buffer, size_t capacity, size_t *length,
                                        radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_PROCESS(file->process);
    const rad_meta *meta = NULL;
    radllm_status status = find_entry(file, index, &meta, error);
    if (status != RADLLM_OK)
        return status;
    char quoted[RAD_QUOTE_SIZE];
    if (item >= meta->count)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "key %s has %llu items, not %llu",
                        rad_quote(quoted, meta->key.data, meta->key.size),
                        (unsigned long long)meta->count, (unsigned long long)item + 1);
    if (meta->type == RAD_META_STRING)
        return rad_copy_out(meta->strings[item].data, meta->strings[item].size, buffer, capacity,
                            length, error);
    char number[64];
    return rad_copy_out(number, number_text(meta, item, number), buffer, capacity, length, error);
}

radllm_status radllm_file_tensor(const radllm_file *file, uint64_t index, radllm_tensor_info *info,
                                 radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(info);
    RAD_CHECK_PROCESS(file->process);
    uint64_t count = rad_source_n_tensors(file->source);
    if (index >= count)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no tensor %llu of %llu",
                        (unsigned long long)index, (unsigned long long)count);
    const rad_tensor *tensor = rad_source_tensor(file->source, index);
    const rad_type_info *type = rad_type_find(tensor->type);
    radllm_tensor_info known = {.size = info->size,
                                .name = tensor->name.data,
                                .type = type->name,
                                .n_dims = tensor->n_dims,
                                .bytes = tensor->n_bytes,
                                .offset = tensor->offset,
                                .part = tensor->part,
                                .computable = type->activation != RAD_ACTIVATION_NONE};
    memcpy(known.dims, tensor->dims, sizeof known.dims);
    return rad_copy_info(info, &known, sizeof known, error);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* As when its weights are read. */
static void tie_output(rad_model *model)
{
    if (model->output.tensor == NULL && !model->hparams.architecture->encoder)
        model->output = model->embedding;
}

/* Asks the device, where there is one, what it would take; finds the largest context. draft may be
 * NULL. */
static radllm_status plan_device(const rad_host *host, rad_model *model, rad_model *draft,
                                 const rad_engine_settings *settings, rad_engine_plan *engine,
                                 radllm_plan *plan, radllm_error *error)
{
    rad_program program;
    rad_divider divider = {host, NULL, NULL, &program};
    const uint64_t budget = settings->budget;
    plan->largest_context = rad_engine_largest_context(model, settings, budget, &divider);
    if (!rad_device_is_wanted(engine->settings.device.choice))
        return RADLLM_OK;
    tie_output(model);
    if (draft != NULL)
        tie_output(draft);
    radllm_status status = rad_program_build(
        model, &engine->policy, rad_policy_length(&engine->policy, engine->settings.context),
        &program, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_device_open(host, &program, engine, &divider.cuda, &divider.device, error);
    if (divider.device != NULL && draft != NULL)
        status = rad_draft_plan_device(host, divider.cuda, engine, error);
    if (status == RADLLM_OK && divider.device != NULL)
        plan->largest_context = rad_engine_largest_context(model, settings, budget, &divider);
    if (divider.device != NULL)
        divider.cuda->close(divider.device);
    rad_program_free(&program);
    return status;
}

/* draft may be NULL. */
static radllm_status fill_plan(rad_model *model, rad_model *draft, const radllm_options *options,
                               radllm_plan *plan, radllm_error *error)
{
    rad_engine_settings settings;
    rad_engine_plan engine;
    rad_options_engine(options, &settings);
    settings.draft = draft;
    radllm_status status = RADLLM_OK;
    if (draft != NULL)
        status = rad_draft_check(model, draft, error);
    if (status == RADLLM_OK)
        status = rad_engine_plan_make(model, &settings, &engine, error);
    if (status == RADLLM_OK)
        status = plan_device(&model->host, model, draft, &settings, &engine, plan, error);
    if (status != RADLLM_OK)
        return status;
    plan->weights = engine.weight_bytes;
    plan->adapters = rad_weights_and_adapters(model) - rad_model_weight_bytes(model);
    plan->experts = model->hparams.router.n_experts;
    plan->experts_used = model->hparams.router.n_used;
    plan->active_weights = model->active_bytes;
    plan->cache = engine.cache_bytes;
    plan->prefixes = engine.cache.prefix_bytes;
    plan->activations = engine.activation_bytes;
    plan->vocabulary = rad_tokenizer_bytes(model->tokenizer);
    plan->overhead = rad_arena_bytes(&model->arena) + engine.session_bytes;
    if (draft != NULL) {
        uint64_t vocabulary = rad_tokenizer_bytes(draft->tokenizer);
        uint64_t overhead = rad_arena_bytes(&draft->arena);
        plan->vocabulary += vocabulary;
        plan->overhead += overhead;
        plan->draft = engine.draft_bytes + vocabulary + overhead;
    }
    plan->placement = engine.placement;
    plan->context = engine.settings.context;
    return RADLLM_OK;
}

/* Both files as models without their weights; draft may be NULL. */
static radllm_status bind_and_plan(const radllm_file *file, const radllm_file *draft,
                                   const radllm_options *options, radllm_plan *plan,
                                   radllm_error *error)
{
    rad_model_settings settings;
    rad_options_model(options, &settings);
    settings.vocabulary_only = false;
    rad_model *model = NULL, *draft_model = NULL;
    radllm_status status = rad_model_bind(&file->host, file->source, &settings, &model, error);
    if (status == RADLLM_OK)
        status = rad_options_adapters(options, model, error);
    if (status == RADLLM_OK && draft != NULL)
        status = rad_model_bind(&draft->host, draft->source, &settings, &draft_model, error);
    if (status == RADLLM_OK)
        status = fill_plan(model, draft_model, options, plan, error);
    rad_model_free(draft_model);
    rad_model_free(model);
    return status;
}

static radllm_status new_plan(const radllm_file *file, const radllm_file *draft,
                              const radllm_options *options, radllm_plan **out, radllm_error *error)
{
    radllm_plan *plan = rad_alloc_zero(&file->host.allocator, sizeof *plan);
    if (plan == NULL)
        return rad_fail_memory(error, sizeof *plan);
    plan->allocator = file->host.allocator;
    plan->process = file->process;
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = bind_and_plan(file, draft, options, plan, error);
    rad_fpenv_leave(saved);
    if (status != RADLLM_OK)
        radllm_plan_free(plan);
    else
        *out = plan;
    return status;
}

radllm_status radllm_plan_new(const radllm_file *file, const radllm_options *options,
                              radllm_plan **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(file->process);
    return new_plan(file, NULL, options, out, error);
}

radllm_status radllm_plan_new_with_draft(const radllm_file *file, const radllm_file *draft,
                                         const radllm_options *options, radllm_plan **out,
                                         radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(draft);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(file->process);
    RAD_CHECK_PROCESS(draft->process);
    return new_plan(file, draft, options, out, error);
}

void radllm_plan_free(radllm_plan *plan)
{
    if (plan == NULL)
        return;
    rad_allocator allocator = plan->allocator;
    rad_free(&allocator, plan, sizeof *plan);
}

radllm_status radllm_plan_number(const radllm_plan *plan, const char *name, uint64_t *out,
                                 radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(plan);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(plan->process);
    const rad_named_number numbers[] = {
        {"weights", (int64_t)plan->weights},
        {"cache", (int64_t)plan->cache},
        {"activations", (int64_t)plan->activations},
        {"vocabulary", (int64_t)plan->vocabulary},
        {"overhead", (int64_t)plan->overhead},
        {"total", (int64_t)(plan->weights + plan->cache + plan->activations + plan->vocabulary +
                            plan->overhead)},
        {"draft", (int64_t)plan->draft},
        {"prefixes", (int64_t)plan->prefixes},
        {"context", (int64_t)plan->context},
        {"largest_context", (int64_t)plan->largest_context},
        {"experts", (int64_t)plan->experts},
        {"experts_used", (int64_t)plan->experts_used},
        {"active_weights", (int64_t)plan->active_weights},
        {"adapters", (int64_t)plan->adapters},
    };
    int64_t value = 0;
    radllm_status status = RADLLM_OK;
    if (!rad_placement_number(&plan->placement, name, &value))
        status = rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, &value, error);
    if (status == RADLLM_OK)
        *out = (uint64_t)value;
    return status;
}
