/* Quantizing model files. */
#include <string.h>

#include "api/file.h"
#include "base/file_write.h"
#include "quantize/folder.h"

/* ---- importance ---------------------------------------------------------------------------------
 */

static radllm_status new_importance(const rad_host *host, radllm_importance **out,
                                    radllm_error *error)
{
    radllm_importance *importance = rad_alloc_zero(&host->allocator, sizeof *importance);
    if (importance == NULL)
        return rad_fail_memory(error, sizeof *importance);
    atomic_init(&importance->references, 1);
    importance->process = rad_process_id();
    rad_importance_init(&host->allocator, &importance->importance);
    *out = importance;
    return RADLLM_OK;
}

/* Gives it out, or frees it. */
static radllm_status end_importance(radllm_importance *importance, radllm_status status,
                                    radllm_importance **out)
{
    if (status == RADLLM_OK)
        *out = importance;
    else
        radllm_importance_free(importance);
    return status;
}

radllm_status radllm_importance_measure(const radllm_host *host, const radllm_model *model,
                                        const char *text, size_t length, const char *name,
                                        const radllm_options *options, const radllm_cancel *cancel,
                                        radllm_importance **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(text);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(model->process);
    rad_host own = rad_host_settings(host);
    if (model->model->vocabulary_only)
        return rad_fail(error, RADLLM_E_STATE,
                        "the model was opened with vocab_only and has no weights to calibrate");
    radllm_importance *importance = NULL;
    radllm_status status = new_importance(&own, &importance, error);
    if (status != RADLLM_OK)
        return status;
    rad_calibration_settings settings;
    rad_options_calibration(options, &settings);
    rad_importance *inside = &importance->importance;
    size_t name_size = name != NULL ? strlen(name) : 0;
    const char *copy = rad_arena_copy(&inside->arena, name != NULL ? name : "", name_size);
    if (copy == NULL)
        return end_importance(importance, rad_fail_memory(error, name_size), out);
    inside->dataset = (rad_text){copy, name_size};
    rad_fpenv saved = rad_fpenv_enter();
    status =
        rad_importance_measure(&own, model->model, (rad_text){text, rad_text_length(text, length)},
                               &settings, cancel, inside, error);
    rad_fpenv_leave(saved);
    return end_importance(importance, status, out);
}

radllm_status radllm_importance_open(const radllm_host *host, const char *path,
                                     radllm_importance **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(path);
    RAD_CHECK_NULL(out);
    rad_host own = rad_host_settings(host);
    radllm_importance *importance = NULL;
    radllm_status status = new_importance(&own, &importance, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_importance_read(&own, path, &importance->importance, error);
    return end_importance(importance, status, out);
}

radllm_status radllm_importance_save(const radllm_importance *importance, const char *path,
                                     const char *format, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(importance);
    RAD_CHECK_NULL(path);
    RAD_CHECK_NULL(format);
    RAD_CHECK_PROCESS(importance->process);
    char quoted[RAD_QUOTE_SIZE];
    bool legacy = strcmp(format, "dat") == 0;
    if (!legacy && strcmp(format, "gguf") != 0)
        return rad_fail(error, RADLLM_E_ARGUMENT, "\"%s\" is no format; \"gguf\" and \"dat\" are",
                        rad_quote(quoted, format, strlen(format)));
    return rad_importance_write(&importance->importance, path, legacy, error);
}

radllm_status radllm_importance_number(const radllm_importance *importance, const char *name,
                                       uint64_t *out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(importance);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(importance->process);
    const rad_named_number numbers[] = {
        {"entries", (int64_t)importance->importance.n_entries},
        {"chunks", (int64_t)importance->importance.n_chunks},
        {"chunk_tokens", (int64_t)importance->importance.chunk_tokens},
    };
    int64_t value = 0;
    radllm_status status =
        rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, &value, error);
    if (status == RADLLM_OK)
        *out = (uint64_t)value;
    return status;
}

void radllm_importance_free(radllm_importance *importance)
{
    if (importance == NULL || atomic_fetch_sub(&importance->references, 1) != 1)
        return;
    rad_allocator allocator = importance->importance.allocator;
    rad_importance_free(&importance->importance);
    rad_free(&allocator, importance, sizeof *importance);
}

/* ---- the plan -----------------------------------------------------------------------------------
 */

radllm_status radllm_quantization_new(const radllm_host *host, const radllm_file *file,
                                      const radllm_importance *importance,
                                      const radllm_options *options, radllm_quantization **out,
                                      radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(file->process);
    if (importance != NULL)
        RAD_CHECK_PROCESS(importance->process);
    rad_host own = rad_host_settings(host);
    rad_quantize_settings settings;
    rad_options_quantize(options, &settings);
    radllm_quantization *quantization = rad_alloc_zero(&own.allocator, sizeof *quantization);
    if (quantization == NULL)
        return rad_fail_memory(error, sizeof *quantization);
    quantization->allocator = own.allocator;
    quantization->process = file->process;
    if (importance != NULL) {
        quantization->importance = (radllm_importance *)importance; /* the count is no change */
        atomic_fetch_add(&quantization->importance->references, 1);
        settings.importance = &importance->importance;
    }
    radllm_status status =
        rad_quantize_plan_make(&own, file->source, &settings, &quantization->plan, error);
    if (status != RADLLM_OK)
        radllm_quantization_free(quantization);
    else
        *out = quantization;
    return status;
}

void radllm_quantization_free(radllm_quantization *quantization)
{
    if (quantization == NULL)
        return;
    rad_allocator allocator = quantization->allocator;
    rad_quantize_plan_free(&quantization->plan);
    radllm_importance_free(quantization->importance);
    rad_free(&allocator, quantization, sizeof *quantization);
}

radllm_status radllm_quantization_number(const radllm_quantization *quantization, const char *name,
                                         uint64_t *out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(quantization);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(quantization->process);
    const rad_quantize_plan *plan = &quantization->plan;
    uint64_t bytes = 0;
    radllm_status status = rad_quantize_file_bytes(plan, &bytes, error);
    if (status != RADLLM_OK)
        return status;
    int64_t quantized = 0, weighted = 0, fallbacks = 0, merged = 0, rounded = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const rad_quantized_tensor *tensor = &plan->tensors[i];
        bool floats = rad_type_find((uint32_t)tensor->type)->family == RAD_FAMILY_FLOAT;
        quantized += tensor->type != tensor->own->type && !floats ? 1 : 0;
        merged += tensor->own != tensor->from ? 1 : 0;
        rounded += tensor->own != tensor->from && tensor->type == tensor->own->type && !floats;
        weighted += tensor->importance != NULL ? 1 : 0;
        fallbacks += tensor->fallback ? 1 : 0;
    }
    const rad_named_number numbers[] = {
        {"tensors", (int64_t)plan->n_tensors},
        {"quantized", quantized},
        {"weighted", weighted},
        {"fallbacks", fallbacks},
        {"merged", merged},
        {"rounded_again", rounded},
        {"elements", (int64_t)plan->n_elements},
        {"source_bytes", (int64_t)plan->bytes_from},
        {"tensor_bytes", (int64_t)plan->bytes_to},
        {"bytes", (int64_t)bytes},
    };
    int64_t value = 0;
    status = rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, &value, error);
    if (status == RADLLM_OK)
        *out = (uint64_t)value;
    return status;
}

radllm_status radllm_quantization_tensor(const radllm_quantization *quantization, uint64_t index,
                                         radllm_quantized_tensor_info *info, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(quantization);
    RAD_CHECK_NULL(info);
    RAD_CHECK_PROCESS(quantization->process);
    const rad_quantize_plan *plan = &quantization->plan;
    if (index >= plan->n_tensors)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no tensor %llu of %zu",
                        (unsigned long long)index, plan->n_tensors);
    const rad_quantized_tensor *tensor = &plan->tensors[index];
    radllm_quantized_tensor_info known = {.size = info->size,
                                          .name = tensor->from->name.data,
                                          .source_type =
                                              rad_type_find((uint32_t)tensor->own->type)->name,
                                          .type = rad_type_find((uint32_t)tensor->type)->name,
                                          .source_bytes = tensor->own->n_bytes,
                                          .bytes = tensor->n_bytes,
                                          .weighted = tensor->importance != NULL,
                                          .fallback = tensor->fallback};
    return rad_copy_info(info, &known, sizeof known, error);
}

radllm_status radllm_quantization_write(const radllm_quantization *quantization, const char *path,
                                        const radllm_cancel *cancel, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(quantization);
    RAD_CHECK_NULL(path);
    RAD_CHECK_PROCESS(quantization->process);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_quantize_write(&quantization->plan, path, cancel, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_quantization_write_folder(const radllm_quantization *quantization,
                                               const char *path, uint64_t shard_bytes,
                                               uint32_t flags, const radllm_cancel *cancel,
                                               radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(quantization);
    RAD_CHECK_NULL(path);
    RAD_CHECK_PROCESS(quantization->process);
    if ((flags & ~(uint32_t)RADLLM_FOLDER_REPLACE) != 0)
        return rad_fail(error, RADLLM_E_ARGUMENT, "unknown flags 0x%x", flags);
    rad_folder_settings settings = {.shard_bytes = shard_bytes,
                                    .replace = (flags & RADLLM_FOLDER_REPLACE) != 0};
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status =
        rad_quantize_write_folder(&quantization->plan, path, &settings, cancel, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_quantization_check(const radllm_quantization *quantization, const char *path,
                                        int32_t folder, uint64_t shard_bytes, uint32_t flags,
                                        radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(quantization);
    RAD_CHECK_PROCESS(quantization->process);
    const rad_folder_settings settings = {.shard_bytes = shard_bytes,
                                          .replace = (flags & RADLLM_FOLDER_REPLACE) != 0,
                                          .only_check = true};
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status =
        folder != 0 ? rad_quantize_write_folder(&quantization->plan, path, &settings, NULL, error)
                    : rad_quantize_check(&quantization->plan, error);
    if (status == RADLLM_OK && folder == 0 && path != NULL)
        status = rad_output_open(&quantization->allocator, path, NULL, error);
    rad_fpenv_leave(saved);
    return status;
}
