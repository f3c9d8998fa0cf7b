/* Reads weights. With load=copy every tensor is read into the library's own memory, in the layout
 * its kernels like best, so that the file is not needed afterwards; with load=map the matrices stay
 * in the mapped file, but for those that it does not hold as they are used. */
#include "model/fill.h"

#include <string.h>

#include "model/merge.h"

#define CHUNK_BYTES     ((uint64_t)1 << 20) /* read at once by one task */
#define SCATTERED_BYTES ((uint64_t)4 << 20) /* where bytes of many rows stand side by side */

/* Reads one matrix by the pool: each task reads some groups of 16 rows and packs them. */
typedef struct matrix_copy {
    const rad_model *model;
    const rad_weight *weight;
    const rad_tensor *tensor;
    uint64_t offset;    /* of the first row, in the tensor */
    uint32_t first_row; /* of the weight's, where experts have tensors of their own */
    const rad_matrix *matrix;
    uint8_t *target;
    uint8_t *scratch;     /* scratch_bytes for each worker */
    uint64_t row_bytes;   /* in the file */
    uint64_t group_bytes; /* in the lane layout */
    uint32_t rows_per_task;
    const atomic_bool *stop; /* or NULL */
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
    if (copy->stop != NULL && atomic_load(copy->stop)) {
        atomic_store(&copy->status, RADLLM_E_CANCELLED);
        return;
    }
    bool lane = matrix->layout == RAD_LAYOUT_LANE;
    uint8_t *rows = lane ? copy->scratch + (size_t)worker * copy->rows_per_task * copy->row_bytes
                         : copy->target + first * copy->row_bytes;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = rad_weight_read(copy->model, copy->weight, copy->tensor,
                                           copy->offset + first * copy->row_bytes, rows,
                                           (size_t)((last - first) * copy->row_bytes), &error);
    if (status == RADLLM_OK && copy->weight->merged)
        status = rad_merge_rows(copy->model, copy->weight, copy->first_row + first, last - first,
                                rows, &error);
    if (status != RADLLM_OK) {
        copy_failed(copy, status, &error);
        return;
    }
    for (uint32_t row = first; lane && row < last; row += RAD_LANE_ROWS) {
        uint32_t n = last - row < RAD_LANE_ROWS ? last - row : RAD_LANE_ROWS;
        copy->model->kernels->pack_lane_group(
            matrix->type, matrix->n_columns, rows + (row - first) * copy->row_bytes, n,
            copy->target + row / RAD_LANE_ROWS * copy->group_bytes);
    }
}

/* Bytes of a row in the file. */
static uint64_t file_row_bytes(const rad_matrix *matrix)
{
    return rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, 1, matrix->n_columns);
}

/* A task reads some rows. Where a few of them are in many places it is larger, and tasks are as
 * many as threads, or a multiple of them. */
static uint32_t rows_per_task(const rad_filler *fill, const rad_matrix *matrix)
{
    const bool scattered = rad_source_is_scattered(fill->model->source);
    uint64_t group_bytes = file_row_bytes(matrix) * RAD_LANE_ROWS;
    uint64_t most = (scattered ? SCATTERED_BYTES : CHUNK_BYTES) / group_bytes;
    most = most < 1 ? 1 : most > 64 && !scattered ? 64 : most;
    if (scattered) {
        uint64_t groups = ((uint64_t)matrix->n_rows + RAD_LANE_ROWS - 1) / RAD_LANE_ROWS;
        uint64_t threads = rad_pool_size(fill->pool), tasks = (groups + most - 1) / most;
        tasks = (tasks + threads - 1) / threads * threads;
        most = (groups + tasks - 1) / tasks;
    }
    return (uint32_t)most * RAD_LANE_ROWS;
}

static radllm_status copy_matrix(rad_filler *fill, const rad_weight *weight,
                                 const rad_tensor *tensor, uint64_t offset, uint32_t first_row,
                                 const rad_matrix *matrix, radllm_error *error)
{
    matrix_copy copy = {.model = fill->model,
                        .weight = weight,
                        .tensor = tensor,
                        .offset = offset,
                        .first_row = first_row,
                        .matrix = matrix,
                        .target = (uint8_t *)matrix->data, /* in the model's own block */
                        .scratch = fill->scratch,
                        .row_bytes = file_row_bytes(matrix),
                        .group_bytes = rad_lane_group_bytes(matrix->type, matrix->n_columns),
                        .rows_per_task = rows_per_task(fill, matrix),
                        .stop = fill->stop,
                        .error = error};
    uint32_t tasks = (matrix->n_rows + copy.rows_per_task - 1) / copy.rows_per_task;
    rad_pool_run(fill->pool, copy_rows, &copy, tasks);
    return atomic_load(&copy.status);
}

static radllm_status copy_weight(rad_filler *fill, const rad_weight *weight, radllm_error *error)
{
    if (weight->parts == NULL)
        return copy_matrix(fill, weight, weight->tensor, rad_weight_tensor_offset(weight), 0,
                           &weight->matrix, error);
    radllm_status status = RADLLM_OK;
    rad_matrix expert = weight->matrix;
    expert.n_rows = rad_weight_rows(weight);
    for (uint32_t e = 0; e < weight->n_experts && status == RADLLM_OK; e++) {
        const rad_tensor *tensor = weight->parts[e].tensor;
        expert.data = weight->parts[e].data;
        status = copy_matrix(fill, weight, tensor, 0, e * expert.n_rows, &expert, error);
    }
    return status;
}

static radllm_status fill_vector(rad_model *model, rad_weight *weight, radllm_error *error)
{
    float *target = (float *)(void *)(model->weights + weight->offset);
    const rad_tensor *tensor = weight->tensor;
    const rad_type_info *info = rad_type_find(tensor->type);
    /* A narrower type is read into the upper end and widened from the front. */
    uint64_t n = weight->n_values, n_bytes = rad_weight_file_bytes(weight);
    size_t spare = (size_t)(n * sizeof(float) - n_bytes);
    uint8_t *raw = (uint8_t *)target + spare;
    radllm_status status = rad_source_read_tensor(
        model->source, tensor, rad_weight_tensor_offset(weight), raw, (size_t)n_bytes, error);
    if (status != RADLLM_OK)
        return status;
    if (tensor->type != RAD_TYPE_F32) {
        for (uint64_t i = 0; i < n; i++) {
            float value;
            info->decode(raw + i * info->block_bytes, &value, 1);
            memcpy(&target[i], &value, sizeof value);
        }
    }
    weight->values = target;
    return weight->merged ? rad_merge_vector(model, weight, target, error) : RADLLM_OK;
}

/* Counts a weight and tells the host; fails when no more is wanted. */
static radllm_status report(rad_filler *fill, const rad_weight *weight, radllm_error *error)
{
    const rad_host *host = &fill->model->host;
    bool stop = rad_cancelled(fill->cancel);
    fill->done += rad_weight_file_bytes(weight);
    if (fill->stop != NULL) /* the loader's thread: callbacks are not for it */
        stop = atomic_load(fill->stop);
    else if (host->progress != NULL)
        stop = host->progress(host->progress_user, "load", fill->done, fill->total) != 0 || stop;
    if (stop)
        return rad_fail(error, RADLLM_E_CANCELLED, "loading was cancelled");
    return RADLLM_OK;
}

/* Experts that have tensors of their own stand where the file has them, or one behind the other. */
static void prepare_parts(rad_model *model, rad_weight *weight, bool mapped)
{
    uint64_t bytes = rad_matrix_bytes(weight->matrix.type, weight->matrix.layout,
                                      rad_weight_rows(weight), weight->matrix.n_columns);
    for (uint32_t e = 0; e < weight->n_experts; e++) {
        const rad_tensor *tensor = weight->parts[e].tensor;
        weight->parts[e].data =
            mapped ? rad_source_mapped(model->source, tensor->part) + tensor->offset
                   : weight->matrix.data + e * bytes;
    }
}

/* Vectors are read; matrices learn where they will stand. */
static radllm_status prepare_weight(rad_model *model, rad_weight *weight, void *data,
                                    radllm_error *error)
{
    rad_filler *fill = data;
    rad_matrix *matrix = &weight->matrix;
    if (matrix->n_rows == 0) {
        radllm_status status = fill_vector(model, weight, error);
        return status == RADLLM_OK ? report(fill, weight, error) : status;
    }
    bool mapped = rad_weight_is_mapped(model, weight);
    matrix->data = mapped ? rad_source_mapped(model->source, weight->tensor->part) +
                                weight->tensor->offset + rad_weight_tensor_offset(weight)
                          : model->weights + weight->offset;
    if (weight->parts != NULL)
        prepare_parts(model, weight, mapped);
    return RADLLM_OK;
}

static radllm_status fill_matrix(rad_model *model, rad_weight *weight, void *data,
                                 radllm_error *error)
{
    rad_filler *fill = data;
    radllm_status status = RADLLM_OK;
    if (weight->matrix.n_rows != 0) {
        if (!rad_weight_is_mapped(model, weight))
            status = copy_weight(fill, weight, error);
        if (status == RADLLM_OK)
            status = report(fill, weight, error);
    }
    if (status == RADLLM_OK)
        atomic_store_explicit(&model->n_ready, weight->order + 1, memory_order_release);
    return status;
}

static radllm_status measure_weight(rad_model *model, rad_weight *weight, void *data,
                                    radllm_error *error)
{
    (void)model;
    (void)error;
    rad_filler *fill = data;
    fill->total += rad_weight_file_bytes(weight);
    rad_matrix matrix = weight->matrix; /* as copy_weight() reads it */
    if (weight->parts != NULL)
        matrix.n_rows = rad_weight_rows(weight);
    if (matrix.n_rows != 0 && matrix.layout == RAD_LAYOUT_LANE) {
        size_t needed = (size_t)(rows_per_task(fill, &matrix) * file_row_bytes(&matrix));
        fill->scratch_bytes = needed > fill->scratch_bytes ? needed : fill->scratch_bytes;
    }
    return RADLLM_OK;
}

static radllm_status allocate(rad_filler *fill, radllm_error *error)
{
    rad_model *model = fill->model;
    const rad_allocator *allocator = &model->host.allocator;
    model->weights = rad_alloc(allocator, model->weight_bytes);
    if (model->weights == NULL)
        return rad_fail_memory(error, model->weight_bytes);
    size_t scratch;
    if (!rad_mul_size(fill->scratch_bytes, rad_pool_size(fill->pool), &scratch))
        return rad_fail_memory(error, SIZE_MAX);
    fill->scratch_bytes = scratch;
    if (scratch == 0)
        return RADLLM_OK;
    fill->scratch = rad_alloc(allocator, scratch);
    return fill->scratch != NULL ? RADLLM_OK : rad_fail_memory(error, scratch);
}

radllm_status rad_fill_begin(rad_model *model, uint32_t n_threads, const radllm_cancel *cancel,
                             rad_filler *fill, radllm_error *error)
{
    *fill = (rad_filler){.model = model, .cancel = cancel};
    radllm_status status = rad_pool_create(&model->host, n_threads, &fill->pool, error);
    if (status == RADLLM_OK)
        status = rad_for_each_weight(model, measure_weight, fill, error);
    if (status == RADLLM_OK)
        status = allocate(fill, error);
    if (status == RADLLM_OK)
        status = rad_for_each_weight(model, prepare_weight, fill, error);
    if (status == RADLLM_OK && model->output.tensor == NULL &&
        !model->hparams.architecture->encoder)
        model->output = model->embedding;
    if (status != RADLLM_OK)
        rad_fill_end(fill);
    return status;
}

radllm_status rad_fill_matrices(rad_filler *fill, radllm_error *error)
{
    return rad_for_each_weight(fill->model, fill_matrix, fill, error);
}

void rad_fill_end(rad_filler *fill)
{
    if (fill->scratch != NULL)
        rad_free(&fill->model->host.allocator, fill->scratch, fill->scratch_bytes);
    rad_pool_free(fill->pool);
    *fill = (rad_filler){0};
}
