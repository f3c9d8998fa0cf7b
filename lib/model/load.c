/* Making a model: what is bound, how many bytes it takes, and when its weights are read. */
#include "model/model.h"

#include <string.h>

#include "model/adapter.h"
#include "model/bind.h"
#include "model/fill.h"
#include "model/merge.h"

/* Below this many bytes of weights, reading them first is not noticed. */
#define BEHIND_BYTES ((uint64_t)64 << 20)

radllm_status rad_for_each_weight(rad_model *model, rad_visit_fn visit, void *data,
                                  radllm_error *error)
{
    rad_weight *heads[] = {
        &model->embedding,           &model->embedding_norm, &model->positions,
        &model->embedding_norm_bias, &model->output_norm,    &model->output_norm_bias,
        &model->token_types,         &model->output,         &model->output_bias};
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof heads / sizeof *heads && status == RADLLM_OK; i++) {
        if (heads[i]->tensor != NULL)
            status = visit(model, heads[i], data, error);
    }
    for (uint32_t l = 0; l < model->hparams.n_layers && status == RADLLM_OK; l++) {
        for (int role = 0; role < RAD_LAYER_WEIGHTS && status == RADLLM_OK; role++) {
            rad_weight *weight = &model->layers[l].weights[role];
            if (weight->tensor != NULL)
                status = visit(model, weight, data, error);
        }
    }
    return status;
}

bool rad_weight_is_mapped(const rad_model *model, const rad_weight *weight)
{
    bool mapped = model->mapped && weight->matrix.n_rows != 0 && !weight->merged;
    if (weight->parts == NULL)
        return mapped && rad_tensor_is_mappable(weight->tensor);
    for (uint32_t e = 0; e < weight->n_experts && mapped; e++)
        mapped = rad_tensor_is_mappable(weight->parts[e].tensor);
    return mapped;
}

uint64_t rad_weight_copied_bytes(const rad_model *model, const rad_weight *weight)
{
    if (weight->matrix.n_rows == 0)
        return weight->n_values * sizeof(float);
    if (rad_weight_is_mapped(model, weight))
        return 0;
    return rad_matrix_bytes(weight->matrix.type, weight->matrix.layout, weight->matrix.n_rows,
                            weight->matrix.n_columns);
}

/* Vectors stand together before the matrices: reading them first then touches little of the block.
 */
typedef struct placing {
    uint64_t total;
    bool vectors;
} placing;

static radllm_status place_weight(rad_model *model, rad_weight *weight, void *data,
                                  radllm_error *error)
{
    placing *place = data;
    if ((weight->matrix.n_rows == 0) != place->vectors)
        return RADLLM_OK;
    weight->offset = place->total;
    if (!rad_add_u64(place->total, rad_weight_copied_bytes(model, weight), &place->total) ||
        !rad_align_u64(place->total, RAD_WEIGHT_ALIGNMENT, &place->total))
        return rad_fail(error, RADLLM_E_FORMAT, "%s: the weights exceed 64 bits of bytes",
                        rad_source_label(model->source));
    return RADLLM_OK;
}

/* What a token reads of a weight: of a stack, the experts that it uses. A table that is only looked
 * up is not read. */
static uint64_t active_bytes(const rad_model *model, const rad_weight *weight)
{
    uint64_t bytes = rad_weight_file_bytes(weight);
    bool looked_up = model->output.tensor != NULL || model->hparams.architecture->encoder;
    if (weight->matrix.n_rows == 0 || weight == &model->positions ||
        weight == &model->token_types || (weight == &model->embedding && looked_up))
        return 0;
    return weight->n_experts > 1 && !weight->by_head
               ? bytes / weight->n_experts * model->hparams.router.n_used
               : bytes;
}

static radllm_status number_weight(rad_model *model, rad_weight *weight, void *data,
                                   radllm_error *error)
{
    (void)data;
    (void)error;
    weight->order = model->n_weights++;
    model->active_bytes += active_bytes(model, weight);
    return RADLLM_OK;
}

static radllm_status place_weights(rad_model *model, uint64_t *bytes, radllm_error *error)
{
    placing place = {.vectors = true};
    radllm_status status = rad_for_each_weight(model, place_weight, &place, error);
    place.vectors = false;
    if (status == RADLLM_OK)
        status = rad_for_each_weight(model, place_weight, &place, error);
    *bytes = place.total;
    return status;
}

radllm_status rad_model_place(rad_model *model, radllm_error *error)
{
    uint64_t total;
    radllm_status status = place_weights(model, &total, error);
    if (status == RADLLM_OK && total > PTRDIFF_MAX)
        return rad_fail_memory(error, SIZE_MAX);
    if (status == RADLLM_OK)
        model->weight_bytes = (size_t)total;
    return status;
}

/* Back to the file's layout where lanes take more bytes. */
static radllm_status stay_small(rad_model *model, rad_weight *weight, void *data,
                                radllm_error *error)
{
    (void)model;
    (void)data;
    (void)error;
    rad_matrix *matrix = &weight->matrix;
    if (matrix->n_rows != 0 &&
        rad_lane_group_bytes(matrix->type, matrix->n_columns) >
            rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, RAD_LANE_ROWS, matrix->n_columns))
        matrix->layout = RAD_LAYOUT_FILE;
    return RADLLM_OK;
}

/* Numbers all weights and gives each its place. */
static radllm_status arrange_weights(rad_model *model, const rad_model_settings *settings,
                                     uint64_t *bytes, radllm_error *error)
{
    radllm_status status = rad_for_each_weight(model, number_weight, NULL, error);
    if (status == RADLLM_OK)
        status = place_weights(model, bytes, error);
    uint64_t memory = settings->map_large ? rad_memory_size() : 0, limit = settings->budget;
    limit = memory != 0 && (limit == 0 || memory < limit) ? memory : limit;
    if (status != RADLLM_OK || limit == 0 || *bytes <= limit || !settings->any_layout)
        return status;
    status = rad_for_each_weight(model, stay_small, NULL, error);
    return status == RADLLM_OK ? place_weights(model, bytes, error) : status;
}

uint64_t rad_model_weight_bytes(const rad_model *model)
{
    return model->weight_bytes;
}

/* The tokenizer's messages name keys; here they get the name of the file in front. */
static radllm_status name_file(const rad_model *model, radllm_status status, radllm_error *error)
{
    const char *label = rad_source_label(model->source);
    if (status == RADLLM_OK || status == RADLLM_E_MEMORY || error == NULL ||
        strncmp(error->message, label, strlen(label)) == 0)
        return status;
    radllm_error inner = *error;
    return rad_fail(error, status, "%s: %s", label, inner.message);
}

/* Texts that are only read where a caller asks for them must still be texts. */
static radllm_status check_texts(const rad_model *model, radllm_error *error)
{
    static const char *const keys[] = {"general.name", "tokenizer.chat_template"};
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && status == RADLLM_OK; i++) {
        rad_text text;
        status = rad_meta_text(model->source, keys[i], &text, error);
    }
    return status;
}

static radllm_status bind_all(rad_model *model, const rad_model_settings *settings,
                              radllm_error *error)
{
    /* First, so that a family that is not known is not reported as some detail of its tokenizer. */
    const rad_architecture *architecture;
    radllm_status status = RADLLM_OK;
    if (!settings->vocabulary_only && rad_source_is_vocabulary(model->source))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is a tokenizer without a model; open the model's folder, or set "
                        "the option vocab_only",
                        rad_source_label(model->source));
    if (!settings->vocabulary_only && rad_source_is_adapter(model->source))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is an adapter (LoRA) without a model: open the model that it was "
                        "trained for, and give it the adapter (option adapter)",
                        rad_source_label(model->source));
    if (!settings->vocabulary_only)
        status = rad_hparams_architecture(model->source, &architecture, error);
    if (status == RADLLM_OK)
        status = name_file(
            model, rad_tokenizer_create(&model->host, model->source, &model->tokenizer, error),
            error);
    if (status == RADLLM_OK)
        status = check_texts(model, error);
    if (status != RADLLM_OK || settings->vocabulary_only)
        return status;
    status = rad_hparams_read(model->source, rad_tokenizer_size(model->tokenizer), &model->arena,
                              &model->hparams, error);
    if (status == RADLLM_OK)
        status = rad_bind_tensors(model, settings->file_layout || settings->map, error);
    uint64_t total = 0;
    if (status == RADLLM_OK)
        status = arrange_weights(model, settings, &total, error);
    if (status == RADLLM_OK && total > PTRDIFF_MAX)
        status = rad_fail_memory(error, SIZE_MAX);
    model->weight_bytes = (size_t)total;
    model->behind = !model->mapped && rad_source_is_file(model->source) &&
                    model->host.executor == NULL && !rad_source_is_scattered(model->source) &&
                    (settings->wait == RAD_WAIT_NO ||
                     (settings->wait == RAD_WAIT_AUTO && total >= BEHIND_BYTES));
    return status;
}

radllm_status rad_model_bind(const rad_host *host, rad_source *source,
                             const rad_model_settings *settings, rad_model **out,
                             radllm_error *error)
{
    const rad_kernels *kernels =
        rad_kernels_find(settings->any_isa ? RAD_ISA_BEST : settings->isa, !settings->any_isa);
    if (kernels == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "this processor cannot run the instruction set that the option isa asks "
                        "for; use isa=auto");
    rad_model *model = rad_alloc_zero(&host->allocator, sizeof *model);
    if (model == NULL)
        return rad_fail_memory(error, sizeof *model);
    model->host = *host;
    model->source = rad_source_retain(source);
    model->arena.allocator = &model->host.allocator;
    model->kernels = kernels;
    model->vocabulary_only = settings->vocabulary_only;
    model->mapped = settings->map || (settings->map_file && rad_source_is_file(source));
    model->nf4_int8 = settings->nf4_int8;
    model->layout = settings->file_layout || settings->map ? RAD_LAYOUT_FILE : RAD_LAYOUT_LANE;
    radllm_status status = bind_all(model, settings, error);
    if (status != RADLLM_OK) {
        rad_source_name_key(source, error);
        rad_model_free(model);
        return status;
    }
    uint64_t memory = rad_memory_size();
    if (settings->map_large && !model->mapped && rad_source_is_file(source) && memory != 0 &&
        model->weight_bytes > memory) {
        rad_model_settings mapped = *settings;
        mapped.map = true;
        rad_model_free(model);
        return rad_model_bind(host, source, &mapped, out, error);
    }
    *out = model;
    return RADLLM_OK;
}

void rad_model_free(rad_model *model)
{
    if (model == NULL)
        return;
    rad_allocator allocator = model->host.allocator;
    rad_behind_free(model->loader);
    rad_adapter_set_clear(&model->adapters);
    rad_adapter_set_clear(&model->merged);
    rad_free(&allocator, model->weights, model->weight_bytes);
    rad_tokenizer_free(model->tokenizer);
    rad_arena_free(&model->arena);
    rad_source_release(model->source);
    rad_free(&allocator, model, sizeof *model);
}

bool rad_model_is_f32(const rad_model *model)
{
    if (model->vocabulary_only)
        return false;
    return model->layers[0].weights[RAD_WEIGHT_OUTPUT].matrix.type == RAD_TYPE_F32;
}

/* A mapped model may be larger than memory: what is not used stays on the disk. */
static void warn_of_disk(const rad_model *model)
{
    uint64_t bytes = 0, memory = rad_memory_size();
    for (uint32_t i = 0; i < rad_source_n_parts(model->source); i++)
        bytes += rad_source_part_bytes(model->source, i);
    if (memory == 0 || bytes <= memory)
        return;
    rad_log_line(&model->host, RADLLM_LOG_WARNING,
                 "the model has %llu bytes and this machine %llu bytes of memory: it runs at the "
                 "speed of its disk",
                 (unsigned long long)bytes, (unsigned long long)memory);
}

radllm_status rad_model_fill(rad_model *model, const rad_model_settings *settings,
                             const radllm_cancel *cancel, radllm_error *error)
{
    if (model->vocabulary_only)
        return RADLLM_OK;
    if (rad_source_is_shape(model->source))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is a configuration without weights: it can be planned, not run",
                        rad_source_label(model->source));
    if (settings->budget != 0 && model->weight_bytes > settings->budget)
        return rad_fail(error, RADLLM_E_BUDGET,
                        "the weights take %zu bytes, more than the memory budget of %llu; raise "
                        "memory_budget, use load=map, or a smaller quantization",
                        model->weight_bytes, (unsigned long long)settings->budget);
    radllm_status status = RADLLM_OK;
    if (model->mapped) {
        warn_of_disk(model);
        status = rad_source_map(model->source, error);
    }
    uint32_t n_threads = settings->n_threads != 0 ? settings->n_threads : rad_processor_count();
    rad_filler fill;
    if (status == RADLLM_OK)
        status = rad_fill_begin(model, n_threads, cancel, &fill, error);
    if (status != RADLLM_OK)
        return status;
    if (model->behind && rad_behind_start(model, &fill))
        return RADLLM_OK; /* the loader owns `fill` now */
    status = rad_fill_matrices(&fill, error);
    if (status == RADLLM_OK)
        status = rad_source_check(model->source, error);
    rad_fill_end(&fill);
    rad_merge_finish(model);
    return status;
}

double rad_model_rope_frequency(const rad_model *model, bool local, uint32_t context, uint32_t pair)
{
    const rad_rope_params *rope = local ? &model->hparams.local_rope : &model->hparams.rope;
    const float *divisors =
        rad_rope_is_long(rope, context) ? model->long_rope_divisors : model->rope_divisors;
    double divisor = divisors != NULL && !local ? (double)divisors[pair] : 1.0;
    return rad_rope_frequency(rope, context, pair, divisor);
}

bool rad_model_is_ready(const rad_model *model, const rad_weight *weight)
{
    return weight->order < atomic_load_explicit(&model->n_ready, memory_order_acquire);
}

radllm_status rad_weight_read(const rad_model *model, const rad_weight *weight,
                              const rad_tensor *tensor, uint64_t offset, void *buffer, size_t size,
                              radllm_error *error)
{
    radllm_status status =
        rad_source_read_tensor(model->source, tensor, offset, buffer, size, error);
    if (status != RADLLM_OK || weight->matrix.type == tensor->type ||
        rad_round_nf4(buffer, size / rad_type_find((uint32_t)tensor->type)->block_bytes))
        return status;
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: tensor %s has a scale that is too great for nf4=int8; use nf4=float",
                    rad_source_label(model->source), tensor->name.data);
}

radllm_status rad_model_read_rows(const rad_model *model, const rad_weight *weight, uint32_t first,
                                  uint32_t n, void *buffer, radllm_error *error)
{
    const rad_matrix *matrix = &weight->matrix;
    uint64_t row_bytes = rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, 1, matrix->n_columns);
    const rad_tensor *tensor = weight->tensor;
    uint64_t offset = rad_weight_tensor_offset(weight);
    if (weight->parts != NULL) {
        tensor = weight->parts[first / rad_weight_rows(weight)].tensor;
        offset = 0;
        first %= rad_weight_rows(weight);
    }
    return rad_weight_read(model, weight, tensor, offset + first * row_bytes, buffer,
                           (size_t)(n * row_bytes), error);
}
