/* A tensor becomes a weight: its type, its layout in memory, its scale. */
#include "model/bind_weight.h"

#include <stdio.h>
#include <string.h>

/* Vectors are stored in a float type and kept as F32. */
static radllm_status bind_vector(const rad_model *model, rad_weight *weight, radllm_error *error)
{
    rad_type type = weight->tensor->type;
    if (type == RAD_TYPE_F32 || type == RAD_TYPE_F16 || type == RAD_TYPE_BF16)
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: tensor %s is a vector of type %s, and must be F32, F16 or BF16: fetch or "
                    "convert it again",
                    rad_source_label(model->source), weight->tensor->name.data,
                    rad_type_find(type)->name);
}

/* One F32 number that is a scale: it must be finite. */
static radllm_status read_scale(const rad_model *model, const rad_tensor *tensor, uint64_t offset,
                                float *scale, radllm_error *error)
{
    radllm_status status =
        rad_source_read(model->source, tensor->part, offset, scale, sizeof *scale, error);
    if (status == RADLLM_OK && !(*scale - *scale == 0.0f))
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: tensor %s: its scale (byte %llu) is not a finite number; the file is "
                        "damaged: fetch it again",
                        rad_source_label(model->source), tensor->name.data,
                        (unsigned long long)offset);
    return status;
}

/* A scale for each matrix of a stack. */
static radllm_status bind_scales(rad_model *model, rad_weight *weight, radllm_error *error)
{
    const rad_tensor *tensor = weight->scale_tensor;
    if (tensor->type != RAD_TYPE_F32)
        return rad_fail(error, RADLLM_E_UNSUPPORTED, "%s: tensor %s, of scales, must be F32",
                        rad_source_label(model->source), tensor->name.data);
    size_t bytes = weight->n_experts * sizeof(float);
    float *scales = rad_arena_alloc(&model->arena, bytes, 64);
    if (scales == NULL)
        return rad_fail_memory(error, bytes);
    weight->scales = scales;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < weight->n_experts && status == RADLLM_OK; i++)
        status = read_scale(model, tensor, tensor->offset + i * sizeof(float), &scales[i], error);
    return status;
}

/* The scale of a whole matrix: behind its blocks in I2_S, or a tensor of its own beside it, as
 * files in NVFP4 have it: NAME.scale where the matrix is NAME.weight, or NAME.weight.scale. A
 * stack may have one for each of its matrices. */
static radllm_status bind_scale(rad_model *model, rad_weight *weight, radllm_error *error)
{
    const rad_tensor *tensor = weight->tensor;
    uint64_t tail = rad_type_find(tensor->type)->tail_bytes;
    weight->scale = 1.0f;
    if (tensor->view != NULL)
        weight->scale = rad_tensor_scale(tensor);
    else if (tail != 0)
        return read_scale(model, tensor, tensor->offset + tensor->n_bytes - tail, &weight->scale,
                          error);
    char name[128];
    if (rad_ends_with(tensor->name.data, tensor->name.size, ".weight")) {
        snprintf(name, sizeof name, "%.*s.scale", (int)(tensor->name.size - strlen(".weight")),
                 tensor->name.data);
        weight->scale_tensor = rad_source_find_tensor(model->source, name);
    }
    if (weight->scale_tensor == NULL) {
        snprintf(name, sizeof name, "%s.scale", tensor->name.data);
        weight->scale_tensor = rad_source_find_tensor(model->source, name);
    }
    tensor = weight->scale_tensor;
    if (tensor == NULL)
        return RADLLM_OK;
    if (weight->n_experts > 1 && tensor->n_elements == weight->n_experts)
        return bind_scales(model, weight, error);
    if (tensor->type != RAD_TYPE_F32 || tensor->n_elements != 1)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor %s, the scale of a matrix, must be one F32 number",
                        rad_source_label(model->source), tensor->name.data);
    return read_scale(model, tensor, tensor->offset, &weight->scale, error);
}

static void count_parameters(rad_model *model, const rad_weight *weight)
{
    uint64_t n = weight->n_values;
    if (weight->matrix.n_rows != 0)
        n = (uint64_t)weight->matrix.n_rows * rad_weight_inputs(weight);
    model->n_parameters += n;
    if (weight->n_experts > 1 && !weight->by_head)
        n = n / weight->n_experts * model->hparams.router.n_used;
    model->n_active_parameters += n;
}

radllm_status rad_bind_matrix(rad_model *model, rad_weight *weight, const rad_shape *wanted,
                              bool file_layout, radllm_error *error)
{
    const rad_tensor *tensor = weight->tensor;
    const rad_type_info *info = rad_type_find(tensor->type);
    if (info->activation == RAD_ACTIVATION_NONE)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor %s has the type %s, which is none for weights; convert the "
                        "model again, to F16, Q8_0 or Q4_K_M for example",
                        rad_source_label(model->source), tensor->name.data, info->name);
    uint64_t rows = tensor->dims[1] * tensor->dims[2]; /* of all experts: bounds keep it small */
    uint32_t n_columns;
    const uint32_t *columns = rad_tensor_columns(tensor, &n_columns);
    if (columns != NULL &&
        (weight->by_head || weight == &model->embedding || weight == &model->positions))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor %s has its columns in another order, which this version does "
                        "not compute for this kind of tensor: fetch the model in another form",
                        rad_source_label(model->source), tensor->name.data);
    if (weight->parts != NULL)
        rows *= weight->n_experts;
    if (rows > INT32_MAX || tensor->dims[0] > INT32_MAX ||
        (info->family == RAD_FAMILY_ROW && tensor->dims[0] > RAD_ROW_COLUMNS_MAX) ||
        (info->family == RAD_FAMILY_INT8 && tensor->dims[0] > RAD_INT8_COLUMNS_MAX))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor %s is too large: take a smaller model",
                        rad_source_label(model->source), tensor->name.data);
    weight->threshold = rad_tensor_threshold(tensor);
    /* An expert begins with a group of lanes. */
    rad_type type =
        model->nf4_int8 && tensor->type == RAD_TYPE_NF4 ? RAD_TYPE_NF4_INT8 : tensor->type;
    bool lane = !file_layout && rad_has_lane_layout(type, n_columns) &&
                (weight->n_experts == 1 || tensor->dims[1] % RAD_LANE_ROWS == 0);
    model->rounds_nf4 = model->rounds_nf4 || type == RAD_TYPE_NF4_INT8;
    weight->matrix = (rad_matrix){.type = type,
                                  .layout = lane ? RAD_LAYOUT_LANE : RAD_LAYOUT_FILE,
                                  .n_rows = (uint32_t)(wanted->n_part != 0 ? wanted->n_part : rows),
                                  .n_columns = n_columns};
    count_parameters(model, weight);
    return bind_scale(model, weight, error);
}

radllm_status rad_bind_missing(const rad_model *model, const char *name, radllm_error *error)
{
    return rad_fail(
        error, RADLLM_E_FORMAT,
        "%s: tensor %s is missing; the file is no complete %s model, fetch or convert it "
        "again",
        rad_source_label(model->source), name, model->hparams.architecture->name);
}

radllm_status rad_bind_tensor(rad_model *model, const char *name, rad_shape wanted, bool required,
                              bool file_layout, rad_weight *weight, radllm_error *error)
{
    weight->n_experts = wanted.n_experts;
    weight->first = wanted.first;
    weight->tensor = rad_source_find_tensor(model->source, name);
    if (weight->tensor == NULL) {
        if (!required)
            return RADLLM_OK;
        return rad_bind_missing(model, name, error);
    }
    radllm_status status = rad_shape_check(model, weight->tensor, &wanted, error);
    if (status != RADLLM_OK)
        return status;
    if (wanted.is_matrix)
        return rad_bind_matrix(model, weight, &wanted, file_layout, error);
    weight->n_values = wanted.n_part != 0 ? wanted.n_part : weight->tensor->n_elements;
    count_parameters(model, weight);
    return bind_vector(model, weight, error);
}
