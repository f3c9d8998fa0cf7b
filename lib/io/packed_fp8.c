/* Floats of 8 and 4 bits with scales: FP8 as `transformers` (fp8, fbgemm_fp8) and
 * compressed-tensors have it, NVFP4 and MXFP4 of compressed-tensors. How activations were rounded
 * in training or calibration (dynamic and static schemes) is not followed: they stay F32, or int8
 * as the types of blocks want them. */
#include <string.h>

#include "io/packed_scaled.h"

static radllm_status check_scale(const rad_scaled_part *part, float scale)
{
    if (scale > 0.0f && scale < 1e30f)
        return RADLLM_OK;
    return rad_scaled_fail(part, "a scale that is zero, negative, or no number");
}

/* ---- FP8 ------------------------------------------------------------------------------------ */

static float number_of_fp8(const rad_packed_scaled *w, uint8_t code, float scale)
{
    (void)w;
    return rad_f16_to_f32(rad_e4m3_to_f16(code)) * (scale * 256.0f);
}

/* The upper half of F16. No type of blocks has it. */
static float number_of_e5m2(const rad_packed_scaled *w, uint8_t code, float scale)
{
    (void)w;
    return rad_f16_to_f32((uint16_t)(code << 8)) * scale;
}

static radllm_status read_fp8(const rad_scaled_part *part)
{
    const rad_packed_scaled *w = part->weight;
    float grid[1024 + 2];
    radllm_status status = rad_source_read(part->source, w->codes.part,
                                           w->codes.offset + part->row * w->n_in + part->column,
                                           part->codes, part->n, part->error);
    const uint32_t first = part->column / w->block_columns,
                   n = (part->column + part->n - 1) / w->block_columns - first + 1;
    if (status == RADLLM_OK)
        status = rad_scaled_numbers(part->source, w->scale_type, w->scales,
                                    part->row / w->block_rows * w->grid_columns + first, n, grid,
                                    part->error);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++)
        status = check_scale(part, grid[i]);
    /* From there on exponents are those of no numbers. */
    const uint8_t limit = w->number == number_of_e5m2 ? 0x7c : 0x7f;
    uint8_t worst = 0;
    for (uint32_t i = 0; i < part->n && status == RADLLM_OK; i++)
        worst = (part->codes[i] & 0x7f) > worst ? part->codes[i] & 0x7f : worst;
    if (status == RADLLM_OK && worst >= limit)
        return rad_scaled_fail(part, "a weight that is no number");
    for (uint32_t i = 0; i < part->n && status == RADLLM_OK; i += w->step)
        part->scales[i / w->step] = grid[(part->column + i) / w->block_columns - first];
    return status;
}

/* The rows and columns of blocks that the configuration names, for scales of blocks; where it names
 * none, those that are usual. all: they are those of every matrix, not of some. */
static radllm_status block_shape(const rad_packing *packing, bool *named, bool *all, uint32_t *rows,
                                 uint32_t *columns)
{
    const json_t *shape = json_object_get(packing->config, "weight_block_size");
    const json_t *groups = json_object_get(packing->config, "config_groups"), *group;
    const char *key;
    *all = json_is_array(shape);
    json_object_foreach((json_t *)(uintptr_t)groups, key, group)
    {
        const json_t *found = json_object_get(json_object_get(group, "weights"), "block_structure");
        if (json_is_array(found))
            shape = found;
    }
    *rows = *columns = 128;
    *named = json_is_array(shape);
    if (!*named)
        return RADLLM_OK;
    const json_int_t r = json_integer_value(json_array_get(shape, 0)),
                     c = json_integer_value(json_array_get(shape, 1));
    if (json_array_size(shape) != 2 || r < 1 || r > INT32_MAX || c < 1 || c > INT32_MAX)
        return rad_packed_refuse(packing, "block size",
                                 "must be two whole numbers above 0; the file is damaged");
    *rows = (uint32_t)r;
    *columns = (uint32_t)c;
    return RADLLM_OK;
}

static uint64_t dim_of(const rad_stored *stored, uint32_t i)
{
    return i < stored->n_dims ? stored->dims[i] : 1;
}

/* One scale; one for each row, or for equal parts of it; or one for each block. */
static radllm_status place_scales(const rad_packing *packing, const char *module,
                                  const rad_stored *stored, const rad_stored *scales,
                                  rad_packed_scaled *w)
{
    const uint64_t rows = stored->dims[0], columns = stored->dims[1], parts = dim_of(scales, 1);
    bool named, all;
    radllm_status status = block_shape(packing, &named, &all, &w->block_rows, &w->block_columns);
    if (status != RADLLM_OK)
        return status;
    w->grid_columns = (uint32_t)((columns + w->block_columns - 1) / w->block_columns);
    const uint64_t grid_rows = (rows + w->block_rows - 1) / w->block_rows;
    const bool blocks =
        scales->n_dims == 2 && scales->dims[0] == grid_rows && parts == w->grid_columns;
    if (all && !blocks && (scales->n_elements != 1 || grid_rows != 1 || w->grid_columns != 1))
        return rad_packed_fail(packing, module,
                               "has not the scales of blocks of weight_block_size");
    if (scales->n_elements == 1) {
        w->block_rows = (uint32_t)rows;
        w->block_columns = (uint32_t)columns;
        w->grid_columns = 1;
    } else if (!(named && blocks) && scales->n_dims <= 2 && dim_of(scales, 0) == rows &&
               parts > 0 && columns % parts == 0) {
        w->block_rows = 1;
        w->block_columns = (uint32_t)(columns / parts);
        w->grid_columns = (uint32_t)parts;
    } else if (!blocks) {
        return rad_packed_fail(packing, module,
                               "has scales for neither the tensor, nor its rows, nor its blocks");
    }
    return RADLLM_OK;
}

radllm_status rad_fp8_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    static const char *const unused[] = {".input_scale", ".activation_scale", ".input_scale_ub"};
    const rad_stored *scales = rad_packed_part(packing, module, ".weight_scale_inv");
    if (scales == NULL)
        scales = rad_packed_part(packing, module, ".weight_scale");
    const bool e5m2 = stored->type == RAD_TYPE_F8_E5M2;
    if (scales == NULL && !e5m2 && stored->type != RAD_TYPE_F8_E4M3 && stored->type != RAD_TYPE_I8)
        return RADLLM_OK; /* an ordinary one */
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        rad_packed_part(packing, module, unused[i]);
    if (scales == NULL)
        return rad_packed_fail(packing, module, "has no scales (weight_scale_inv or weight_scale)");
    if ((stored->type != RAD_TYPE_F8_E4M3 && !e5m2) || !rad_scaled_is_matrix(stored))
        return rad_packed_fail(packing, module, "must be a matrix of F8_E4M3 or F8_E5M2");
    if (!rad_scaled_is_number(scales->type) && scales->type != RAD_TYPE_F8_E8M0)
        return rad_packed_fail(packing, module,
                               "has scales of a type that is none of F32, F16, BF16, F8_E8M0");
    rad_packed_scaled w = {.n_in = (uint32_t)stored->dims[1],
                           .codes = {stored->offset, stored->part},
                           .scales = {scales->offset, scales->part},
                           .scale_type = scales->type,
                           .read = read_fp8,
                           .number = e5m2 ? number_of_e5m2 : number_of_fp8};
    radllm_status status = place_scales(packing, module, stored, scales, &w);
    if (status != RADLLM_OK)
        return status;
    bool whole = !e5m2 && (w.block_columns % RAD_SCALED_BLOCK == 0 || w.grid_columns == 1);
    return rad_scaled_add(packing, module, stored->dims[0], RAD_TYPE_FP8, !whole, &w);
}

/* ---- 4 bits --------------------------------------------------------------------------------- */

/* Codes (the low nibble first) and scale bytes of `block` columns each. */
static radllm_status read_fp4(const rad_packed_scaled *w, const rad_source *source, uint64_t row,
                              uint32_t column, uint32_t n, uint8_t *pairs, uint8_t *scales,
                              radllm_error *error)
{
    radllm_status status = rad_source_read(
        source, w->codes.part, w->codes.offset + (row * w->n_in + column) / 2, pairs, n / 2, error);
    if (status == RADLLM_OK)
        status = rad_source_read(source, w->scales.part,
                                 w->scales.offset + (row * w->n_in + column) / w->block, scales,
                                 n / w->block, error);
    return status;
}

static uint8_t nibble(const uint8_t *pairs, uint32_t i)
{
    return pairs[i / 2] >> (i % 2 * 4) & 15;
}

/* `half` codes in the low nibbles, the next ones in the high ones. */
static void pack_halves(const uint8_t *pairs, uint32_t first, uint32_t half, uint8_t *out)
{
    for (uint32_t i = 0; i < half; i++)
        out[i] = (uint8_t)(nibble(pairs, first + i) | nibble(pairs, first + half + i) << 4);
}

static bool are_scales(const rad_packed_scaled *w, const uint8_t *scales, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (w->block == 32 ? scales[i] == 255 : scales[i] >= 0x7f)
            return false;
    return true;
}

/* For rows in F32: scale / global, then times the number. */
static radllm_status read_fp4_part(const rad_scaled_part *part)
{
    const rad_packed_scaled *w = part->weight;
    uint8_t pairs[1024 / 2], scales[1024 / 16];
    radllm_status status =
        read_fp4(w, part->source, part->row, part->column, part->n, pairs, scales, part->error);
    if (status == RADLLM_OK && !are_scales(w, scales, part->n / w->block))
        return rad_scaled_fail(part, "a scale that is negative or no number");
    for (uint32_t i = 0; i < part->n && status == RADLLM_OK; i++) {
        const uint8_t scale = scales[i / w->block];
        part->codes[i] = nibble(pairs, i);
        part->scales[i] = w->block == 32
                              ? rad_e8m0_to_f32(scale)
                              : rad_f16_to_f32(rad_e4m3_to_f16(scale)) * 256.0f / w->scale;
    }
    return status;
}

static float number_of_fp4(const rad_packed_scaled *w, uint8_t code, float scale)
{
    static const float sizes[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    (void)w;
    return (code & 8 ? 0.0f - sizes[code & 7] : sizes[code & 7]) * scale;
}

/* Blocks of NVFP4 and MXFP4 as GGUF has them: scale bytes, then nibbles. */
static radllm_status fp4_rows(const rad_source *source, const rad_packed *packed, uint64_t first,
                              uint64_t count, uint8_t *out, radllm_error *error)
{
    enum { PART = 1024 };
    const rad_packed_scaled *w = (const rad_packed_scaled *)packed;
    const uint32_t in_block = w->step / w->block;
    uint8_t pairs[PART / 2], scales[PART / 16];
    for (uint64_t row = first; row < first + count; row++) {
        for (uint32_t column = 0, n; column < w->n_in; column += n) {
            n = w->n_in - column < PART ? w->n_in - column : PART;
            rad_scaled_part part = {source, w, row, column, n, NULL, NULL, error};
            radllm_status status = read_fp4(w, source, row, column, n, pairs, scales, error);
            if (status != RADLLM_OK)
                return status;
            if (!are_scales(w, scales, n / w->block))
                return rad_scaled_fail(&part, "a scale that is negative or no number");
            for (uint32_t i = 0; i < n; i += w->step, out += w->block_bytes) {
                memcpy(out, scales + i / w->block, in_block);
                for (uint32_t s = 0; s < in_block; s++)
                    pack_halves(pairs, i + s * w->block, w->block / 2,
                                out + in_block + s * w->block / 2);
            }
        }
    }
    return RADLLM_OK;
}

/* One number of a tensor of its own. */
static radllm_status read_global(const rad_packing *packing, const char *module, float *out)
{
    const rad_stored *global = rad_packed_part(packing, module, ".weight_global_scale");
    if (global == NULL || global->n_elements != 1 || !rad_scaled_is_number(global->type))
        return rad_packed_fail(packing, module, "must have one number as its weight_global_scale");
    radllm_status status =
        rad_scaled_numbers(packing->folder->source, global->type,
                           (rad_piece){global->offset, global->part}, 0, 1, out, packing->error);
    if (status == RADLLM_OK && !(*out > 0.0f && *out < 1e30f && 1.0f / *out > 0.0f))
        return rad_packed_fail(packing, module,
                               "has a weight_global_scale that is zero, negative, or no number");
    return status;
}

static radllm_status make_fp4(rad_packing *packing, const char *module, const rad_stored *stored,
                              rad_type type, uint32_t block, rad_type scale_type, float global)
{
    const rad_stored *scales = rad_packed_part(packing, module, ".weight_scale");
    if (stored->type != RAD_TYPE_U8 || !rad_scaled_is_matrix(stored) || scales == NULL ||
        stored->dims[1] > INT32_MAX / 2 ||
        (scales->type != scale_type && scales->type != RAD_TYPE_U8) || scales->n_dims != 2 ||
        scales->dims[0] != stored->dims[0] || scales->dims[1] * block != stored->dims[1] * 2)
        return rad_packed_fail(packing, module,
                               "must be a matrix of U8 with a scale of 8 bits for each block of "
                               "columns");
    rad_packed_part(packing, module, ".input_global_scale");
    rad_packed_part(packing, module, ".weight_packed"); /* in the place of a weight */
    rad_packed_scaled w = {.scale = global,
                           .read = read_fp4_part,
                           .number = number_of_fp4,
                           .n_in = (uint32_t)stored->dims[1] * 2,
                           .block = block,
                           .codes = {stored->offset, stored->part},
                           .scales = {scales->offset, scales->part}};
    if (w.n_in % rad_type_find((uint32_t)type)->block_elements == 0) {
        w.packed.rows = fp4_rows;
        w.packed.scale = 1.0f / global;
    }
    return rad_scaled_add(packing, module, stored->dims[0], type, false, &w);
}

radllm_status rad_nvfp4_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    float global;
    radllm_status status = read_global(packing, module, &global);
    if (status != RADLLM_OK)
        return status;
    return make_fp4(packing, module, stored, RAD_TYPE_NVFP4, 16, RAD_TYPE_F8_E4M3, global);
}

radllm_status rad_mxfp4_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    return make_fp4(packing, module, stored, RAD_TYPE_MXFP4, 32, RAD_TYPE_F8_E8M0, 1.0f);
}

/* ---- several of compressed-tensors in one folder ----------------------------------------------
 */

/* Which one a module has, its tensors tell. */
radllm_status rad_mixed_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    if (stored->type == RAD_TYPE_I32 || stored->type == RAD_TYPE_I8)
        return rad_integers_weight(packing, module, stored);
    if (!rad_ends_with(stored->name.data, stored->name.size, "_packed"))
        return rad_fp8_weight(packing, module, stored);
    return rad_packed_part(packing, module, ".weight_global_scale") != NULL
               ? rad_nvfp4_weight(packing, module, stored)
               : rad_mxfp4_weight(packing, module, stored);
}
