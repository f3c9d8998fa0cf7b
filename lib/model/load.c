/* Brings weights into memory. With load=copy every tensor is read into the library's own memory, in
 * the layout its kernels like best, so that the file is not needed afterwards; with load=map the
 * matrices stay in the mapped file. */
#include "model/model.h"

#include <stdatomic.h>
#include <string.h>

#include "model/bind.h"

#define WEIGHT_ALIGNMENT 64
#define CHUNK_BYTES      ((uint64_t)1 << 20) /* read at once by one task */

/* Calls visit for each weight that takes memory of its own. */
typedef radllm_status (*visit_fn)(rad_model *model, rad_weight *weight, void *data,
                                  radllm_error *error);

static radllm_status for_each_weight(rad_model *model, visit_fn visit, void *data,
                                     radllm_error *error)
{
    rad_weight *heads[] = {&model->embedding, &model->output_norm, &model->output};
    radllm_status status = RADLLM_OK;
    for (int i = 0; i < 3 && status == RADLLM_OK; i++) {
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

/* Bytes that a weight takes in the block of copied weights. */
static uint64_t copied_bytes(const rad_model *model, const rad_weight *weight)
{
    if (weight->matrix.n_rows == 0)
        return weight->tensor->n_elements * sizeof(float);
    if (model->mapped)
        return 0;
    return rad_matrix_bytes(weight->matrix.type, weight->matrix.layout, weight->matrix.n_rows,
                            weight->matrix.n_columns);
}

static radllm_status add_bytes(rad_model *model, rad_weight *weight, void *data,
                               radllm_error *error)
{
    uint64_t *total = data;
    uint64_t bytes = copied_bytes(model, weight);
    if (!rad_add_u64(*total, bytes, total) || !rad_align_u64(*total, WEIGHT_ALIGNMENT, total))
        return rad_fail(error, RADLLM_E_FORMAT, "%s: the weights exceed 64 bits of bytes",
                        rad_source_path(model->source));
    return RADLLM_OK;
}

uint64_t rad_model_weight_bytes(const rad_model *model)
{
    return model->weight_bytes;
}

static radllm_status bind_all(rad_model *model, const rad_model_settings *settings,
                              radllm_error *error)
{
    /* First, so that a family that is not known is not reported as some detail of its tokenizer. */
    const rad_architecture *architecture;
    radllm_status status = RADLLM_OK;
    if (!settings->vocabulary_only)
        status = rad_hparams_architecture(model->source, &architecture, error);
    if (status == RADLLM_OK)
        status = rad_tokenizer_create(&model->host, model->source, &model->tokenizer, error);
    if (status != RADLLM_OK || settings->vocabulary_only)
        return status;
    status = rad_hparams_read(model->source, rad_tokenizer_size(model->tokenizer), &model->arena,
                              &model->hparams, error);
    if (status == RADLLM_OK)
        status = rad_bind_tensors(model, settings->file_layout || settings->map, error);
    uint64_t total = 0;
    if (status == RADLLM_OK)
        status = for_each_weight(model, add_bytes, &total, error);
    if (status == RADLLM_OK && total > PTRDIFF_MAX)
        status = rad_fail_memory(error, SIZE_MAX);
    model->weight_bytes = (size_t)total;
    return status;
}

radllm_status rad_model_bind(const rad_host *host, rad_source *source,
                             const rad_model_settings *settings, rad_model **out,
                             radllm_error *error)
{
    const rad_kernels *kernels =
        rad_kernels_find(settings->any_isa ? RAD_ISA_AVX512 : settings->isa, !settings->any_isa);
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
    model->mapped = settings->map;
    model->layout = settings->file_layout || settings->map ? RAD_LAYOUT_FILE : RAD_LAYOUT_LANE;
    radllm_status status = bind_all(model, settings, error);
    if (status != RADLLM_OK) {
        rad_model_free(model);
        return status;
    }
    *out = model;
    return RADLLM_OK;
}

void rad_model_free(rad_model *model)
{
    if (model == NULL)
        return;
    rad_allocator allocator = model->host.allocator;
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
    return model->layers[0].weights[RAD_WEIGHT_QUERY].matrix.type == RAD_TYPE_F32;
}

/* ---- filling ----------------------------------------------------------------------------- */

/* Reads one matrix by the pool: each task reads some groups of 16 rows and packs them. */
typedef struct matrix_copy {
    const rad_source *source;
    const rad_tensor *tensor;
    const rad_matrix *matrix;
    uint8_t *target;
    uint8_t *scratch;     /* scratch_bytes for each worker */
    uint64_t row_bytes;   /* in the file */
    uint64_t group_bytes; /* in the lane layout */
    uint32_t rows_per_task;
    _Atomic(int32_t) status;
    radllm_error *error; /* written by the first task that fails */
} matrix_copy;

static void copy_failed(matrix_copy *copy, radllm_status status, const radllm_error *error)
{
    int32_t none = RADLLM_OK;
    if (atomic_compare_exchange_strong(&copy->status, &none, status) && copy->error != NULL) {
        copy->error->status = error->status;
        memcpy(copy->error->message, error->message, sizeof error->message);
    }
}

static void copy_rows(void *data, uint32_t index, uint32_t worker)
{
    matrix_copy *copy = data;
    const rad_matrix *matrix = copy->matrix;
    uint32_t first = index * copy->rows_per_task;
    uint32_t last = first + copy->rows_per_task;
    last = last > matrix->n_rows ? matrix->n_rows : last;
    if (atomic_load(&copy->status) != RADLLM_OK)
        return;
    bool lane = matrix->layout == RAD_LAYOUT_LANE;
    uint8_t *rows = lane ? copy->scratch + (size_t)worker * copy->rows_per_task * copy->row_bytes
                         : copy->target + first * copy->row_bytes;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = rad_source_read(copy->source, copy->tensor->part,
                                           copy->tensor->offset + first * copy->row_bytes, rows,
                                           (size_t)((last - first) * copy->row_bytes), &error);
    if (status != RADLLM_OK) {
        copy_failed(copy, status, &error);
        return;
    }
    for (uint32_t row = first; lane && row < last; row += RAD_LANE_ROWS) {
        uint32_t n = last - row < RAD_LANE_ROWS ? last - row : RAD_LANE_ROWS;
        rad_pack_lane_group(matrix->type, matrix->n_columns, rows + (row - first) * copy->row_bytes,
                            n, copy->target + row / RAD_LANE_ROWS * copy->group_bytes);
    }
}

typedef struct filler {
    rad_pool *pool;
    const radllm_cancel *cancel;
    uint8_t *scratch;
    size_t scratch_bytes; /* per worker */
    uint64_t used;        /* of model->weights */
    uint64_t done, total; /* bytes of the file, for progress */
} filler;

/* Bytes of a row in the file. */
static uint64_t file_row_bytes(const rad_matrix *matrix)
{
    return rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, 1, matrix->n_columns);
}

static uint32_t rows_per_task(const rad_matrix *matrix)
{
    uint64_t groups = CHUNK_BYTES / (file_row_bytes(matrix) * RAD_LANE_ROWS);
    groups = groups < 1 ? 1 : groups > 64 ? 64 : groups;
    return (uint32_t)groups * RAD_LANE_ROWS;
}

static radllm_status fill_matrix(rad_model *model, rad_weight *weight, uint8_t *target,
                                 filler *fill, radllm_error *error)
{
    rad_matrix *matrix = &weight->matrix;
    matrix_copy copy = {.source = model->source,
                        .tensor = weight->tensor,
                        .matrix = matrix,
                        .target = target,
                        .scratch = fill->scratch,
                        .row_bytes = file_row_bytes(matrix),
                        .group_bytes = rad_lane_group_bytes(matrix->type, matrix->n_columns),
                        .rows_per_task = rows_per_task(matrix),
                        .error = error};
    uint32_t tasks = (matrix->n_rows + copy.rows_per_task - 1) / copy.rows_per_task;
    rad_pool_run(fill->pool, copy_rows, &copy, tasks);
    matrix->data = target;
    return atomic_load(&copy.status);
}

static radllm_status fill_vector(rad_model *model, rad_weight *weight, float *target,
                                 radllm_error *error)
{
    const rad_tensor *tensor = weight->tensor;
    const rad_type_info *info = rad_type_find(tensor->type);
    /* A narrower type is read into the upper end and widened from the front. */
    size_t spare = (size_t)(tensor->n_elements * sizeof(float) - tensor->n_bytes);
    uint8_t *raw = (uint8_t *)target + spare;
    radllm_status status = rad_source_read(model->source, tensor->part, tensor->offset, raw,
                                           (size_t)tensor->n_bytes, error);
    if (status != RADLLM_OK)
        return status;
    if (tensor->type != RAD_TYPE_F32) {
        for (uint64_t i = 0; i < tensor->n_elements; i++) {
            float value;
            info->decode(raw + i * info->block_bytes, &value, 1);
            memcpy(&target[i], &value, sizeof value);
        }
    }
    weight->values = target;
    return RADLLM_OK;
}

static radllm_status fill_weight(rad_model *model, rad_weight *weight, void *data,
                                 radllm_error *error)
{
    filler *fill = data;
    if (rad_cancelled(fill->cancel))
        return rad_fail(error, RADLLM_E_CANCELLED, "loading was cancelled");
    uint8_t *target = model->weights + fill->used;
    uint64_t bytes = copied_bytes(model, weight);
    radllm_status status = RADLLM_OK;
    if (weight->matrix.n_rows == 0)
        status = fill_vector(model, weight, (float *)(void *)target, error);
    else if (model->mapped)
        weight->matrix.data =
            rad_source_mapped(model->source, weight->tensor->part) + weight->tensor->offset;
    else
        status = fill_matrix(model, weight, target, fill, error);
    fill->used = (fill->used + bytes + WEIGHT_ALIGNMENT - 1) & ~(uint64_t)(WEIGHT_ALIGNMENT - 1);
    fill->done += weight->tensor->n_bytes;
    const rad_host *host = &model->host;
    if (status == RADLLM_OK && host->progress != NULL &&
        host->progress(host->progress_user, "load", fill->done, fill->total) != 0)
        status = rad_fail(error, RADLLM_E_CANCELLED, "loading was cancelled");
    return status;
}

static radllm_status measure_weight(rad_model *model, rad_weight *weight, void *data,
                                    radllm_error *error)
{
    (void)model;
    (void)error;
    filler *fill = data;
    fill->total += weight->tensor->n_bytes;
    if (weight->matrix.n_rows != 0 && weight->matrix.layout == RAD_LAYOUT_LANE) {
        size_t needed = (size_t)(rows_per_task(&weight->matrix) * file_row_bytes(&weight->matrix));
        fill->scratch_bytes = needed > fill->scratch_bytes ? needed : fill->scratch_bytes;
    }
    return RADLLM_OK;
}

static radllm_status fill_all(rad_model *model, filler *fill, radllm_error *error)
{
    const rad_allocator *allocator = &model->host.allocator;
    radllm_status status = for_each_weight(model, measure_weight, fill, error);
    if (status != RADLLM_OK)
        return status;
    model->weights = rad_alloc(allocator, model->weight_bytes);
    if (model->weights == NULL)
        return rad_fail_memory(error, model->weight_bytes);
    size_t scratch = 0;
    if (!rad_mul_size(fill->scratch_bytes, rad_pool_size(fill->pool), &scratch))
        return rad_fail_memory(error, SIZE_MAX);
    if (scratch != 0) {
        fill->scratch = rad_alloc(allocator, scratch);
        if (fill->scratch == NULL)
            return rad_fail_memory(error, scratch);
    }
    status = for_each_weight(model, fill_weight, fill, error);
    rad_free(allocator, fill->scratch, scratch);
    if (model->output.tensor == NULL)
        model->output = model->embedding;
    return status;
}

radllm_status rad_model_fill(rad_model *model, const rad_model_settings *settings,
                             const radllm_cancel *cancel, radllm_error *error)
{
    if (model->vocabulary_only)
        return RADLLM_OK;
    if (settings->budget != 0 && model->weight_bytes > settings->budget)
        return rad_fail(error, RADLLM_E_BUDGET,
                        "the weights take %zu bytes, more than the memory budget of %llu; raise "
                        "memory_budget, use load=map, or a smaller quantization",
                        model->weight_bytes, (unsigned long long)settings->budget);
    radllm_status status = RADLLM_OK;
    if (model->mapped)
        status = rad_source_map(model->source, error);
    if (status != RADLLM_OK)
        return status;
    filler fill = {.cancel = cancel};
    uint32_t n_threads = settings->n_threads != 0 ? settings->n_threads : rad_processor_count();
    status = rad_pool_create(&model->host, n_threads, &fill.pool, error);
    if (status != RADLLM_OK)
        return status;
    status = fill_all(model, &fill, error);
    rad_pool_free(fill.pool);
    return status;
}
