/* bitsandbytes: NF4 and FP4 (QLoRA, arXiv 2305.14314), and LLM.int8 (arXiv 2208.07339). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/packed_scaled.h"

/* Of the description of a weight, which has a dozen short values. */
#define STATE_BYTES_MAX ((uint64_t)1 << 16)

/* ---- 4 bits --------------------------------------------------------------------------------- */

/* The greatest magnitudes of blocks first .. first + n - 1; where they are quantized themselves,
 * level * nested absmax + offset, rounded twice. */
static radllm_status read_absmaxes(const rad_scaled_part *part, uint64_t first, uint32_t n,
                                   float *out)
{
    const rad_packed_scaled *w = part->weight;
    uint8_t codes[1024 + 1];
    float nested = 0.0f;
    if (w->nested_block == 0)
        return rad_scaled_numbers(part->source, RAD_TYPE_F32, w->scales, first, n, out,
                                  part->error);
    radllm_status status = rad_source_read(part->source, w->scales.part, w->scales.offset + first,
                                           codes, n, part->error);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        if (i == 0 || (first + i) % w->nested_block == 0)
            status = rad_scaled_numbers(part->source, RAD_TYPE_F32, w->nested_scales,
                                        (first + i) / w->nested_block, 1, &nested, part->error);
        out[i] = w->nested_levels[codes[i]] * nested;
        out[i] = out[i] + w->nested_offset;
    }
    return status;
}

/* Blocks run over the matrix row by row, whatever the length of a row. */
static radllm_status read_4_bits(const rad_scaled_part *part)
{
    const rad_packed_scaled *w = part->weight;
    uint8_t pairs[1024 / 2 + 1];
    float absmaxes[1024 + 1];
    const uint64_t first = part->row * w->n_in + part->column, last = first + part->n - 1;
    const uint64_t block = first / w->block, n_blocks = last / w->block - block + 1;
    radllm_status status = rad_source_read(part->source, w->codes.part, w->codes.offset + first / 2,
                                           pairs, (size_t)(last / 2 - first / 2 + 1), part->error);
    if (status == RADLLM_OK)
        status = read_absmaxes(part, block, (uint32_t)n_blocks, absmaxes);
    if (status != RADLLM_OK)
        return status;
    for (uint64_t i = 0; i < n_blocks; i++)
        if (!(absmaxes[i] - absmaxes[i] == 0.0f))
            return rad_scaled_fail(part, "a scale (absmax) that is no number");
    for (uint32_t i = 0; i < part->n; i++) {
        uint8_t pair = pairs[i / 2 + ((first & 1) != 0 && (i & 1) != 0)];
        part->codes[i] = ((first + i) & 1) == 0 ? pair >> 4 : pair & 15;
    }
    for (uint32_t i = 0; i < part->n; i += w->step)
        part->scales[i / w->step] = absmaxes[(first + i) / w->block - block];
    return RADLLM_OK;
}

static float number_of_level(const rad_packed_scaled *w, uint8_t code, float scale)
{
    return w->levels[code] * scale;
}

/* A whole number of the description, between 1 and 2^31 - 1; 0: it is not that. */
static uint32_t state_number(const json_t *state, const char *key)
{
    const json_t *value = json_object_get(state, key);
    json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number > 0 && number <= INT32_MAX ? (uint32_t)number : 0;
}

typedef struct four_bits {
    rad_packing *packing;
    const char *module;
    const rad_stored *stored;
    json_t *state;
    uint64_t n_rows;
    rad_packed_scaled w;
} four_bits;

static radllm_status read_shape(four_bits *f)
{
    const json_t *shape = json_object_get(f->state, "shape");
    const json_int_t rows = json_integer_value(json_array_get(shape, 0)),
                     columns = json_integer_value(json_array_get(shape, 1));
    if (json_array_size(shape) != 2 || rows <= 0 || rows > INT32_MAX || columns <= 0 ||
        columns > INT32_MAX)
        return rad_packed_fail(f->packing, f->module,
                               "is described (quant_state) with a shape that is none of a matrix");
    f->n_rows = (uint64_t)rows;
    f->w.n_in = (uint32_t)columns;
    if (f->stored->n_bytes != (f->n_rows * f->w.n_in + 1) / 2)
        return rad_packed_fail(f->packing, f->module,
                               "has not the bytes of the shape that it is described with");
    return RADLLM_OK;
}

static radllm_status read_nesting(four_bits *f, uint64_t n_blocks)
{
    rad_packing *packing = f->packing;
    rad_source *source = packing->folder->source;
    const rad_stored *absmax = rad_packed_part(packing, f->module, ".weight.nested_absmax");
    const rad_stored *map = rad_packed_part(packing, f->module, ".weight.nested_quant_map");
    const json_t *offset = json_object_get(f->state, "nested_offset");
    f->w.nested_block = state_number(f->state, "nested_blocksize");
    if (absmax == NULL || map == NULL || f->w.nested_block == 0 || !json_is_number(offset))
        return rad_packed_fail(packing, f->module,
                               "has scales in 8 bits without all of nested_absmax, "
                               "nested_quant_map, nested_blocksize above 0 and nested_offset");
    if (absmax->type != RAD_TYPE_F32 || map->type != RAD_TYPE_F32 || map->n_elements != 256 ||
        absmax->n_elements != (n_blocks + f->w.nested_block - 1) / f->w.nested_block)
        return rad_packed_fail(packing, f->module,
                               "has a nested_absmax or nested_quant_map of another size or type "
                               "than its scales need");
    f->w.nested_scales = (rad_piece){absmax->offset, absmax->part};
    f->w.nested_offset = (float)json_number_value(offset);
    float *levels = rad_arena_alloc(&source->arena, 256 * sizeof *levels, _Alignof(float));
    if (levels == NULL)
        return rad_fail_memory(packing->error, 256 * sizeof *levels);
    f->w.nested_levels = levels;
    return rad_source_read(source, map->part, map->offset, levels, 256 * sizeof *levels,
                           packing->error);
}

static radllm_status read_scales(four_bits *f)
{
    rad_packing *packing = f->packing;
    const rad_stored *absmax = rad_packed_part(packing, f->module, ".weight.absmax");
    f->w.block = state_number(f->state, "blocksize");
    if (f->w.block < 32 || f->w.block > 4096 || (f->w.block & (f->w.block - 1)) != 0)
        return rad_packed_fail(packing, f->module,
                               "is described (quant_state) with a blocksize that bitsandbytes "
                               "does not have: a power of 2 from 32 to 4096");
    const uint64_t n_blocks = (f->n_rows * f->w.n_in + f->w.block - 1) / f->w.block;
    if (absmax == NULL || absmax->n_elements != n_blocks ||
        (absmax->type != RAD_TYPE_F32 && absmax->type != RAD_TYPE_U8))
        return rad_packed_fail(packing, f->module,
                               "must have a tensor absmax of F32 or U8 with a number for each "
                               "block");
    f->w.scales = (rad_piece){absmax->offset, absmax->part};
    return absmax->type == RAD_TYPE_U8 ? read_nesting(f, n_blocks) : RADLLM_OK;
}

static radllm_status add_4_bits(four_bits *f, const rad_stored *map)
{
    rad_packing *packing = f->packing;
    radllm_status status = read_shape(f);
    if (status == RADLLM_OK)
        status = read_scales(f);
    if (status == RADLLM_OK && (map == NULL || map->type != RAD_TYPE_F32 || map->n_elements != 16))
        status = rad_packed_fail(packing, f->module,
                                 "must have a tensor quant_map of 16 numbers in F32");
    if (status == RADLLM_OK)
        status = rad_source_read(packing->folder->source, map->part, map->offset, f->w.levels,
                                 sizeof f->w.levels, packing->error);
    for (int i = 0; i < 16 && status == RADLLM_OK; i++)
        if (!(f->w.levels[i] - f->w.levels[i] == 0.0f))
            status = rad_packed_fail(packing, f->module, "has a level that is no number");
    if (status != RADLLM_OK)
        return status;
    bool normal = true, floating = true; /* -0 is the 0 that it equals */
    for (int i = 0; i < 16; i++) {
        normal = normal && f->w.levels[i] == rad_levels_nf4[i];
        floating = floating && f->w.levels[i] == rad_levels_fp4[i];
    }
    f->w.codes = (rad_piece){f->stored->offset, f->stored->part};
    f->w.read = read_4_bits;
    f->w.number = number_of_level;
    bool plain = (!normal && !floating) || f->w.block < RAD_SCALED_BLOCK;
    return rad_scaled_add(packing, f->module, f->n_rows, floating ? RAD_TYPE_FP4 : RAD_TYPE_NF4,
                          plain, &f->w);
}

static radllm_status make_4_bits(rad_packing *packing, const char *module, const rad_stored *stored,
                                 const rad_stored *described)
{
    const rad_source *source = packing->folder->source;
    const rad_allocator *allocator = &source->host.allocator;
    const size_t size = (size_t)described->n_bytes;
    char quoted[RAD_QUOTE_SIZE], label[RAD_PATH_LABEL_SIZE + RAD_QUOTE_SIZE + 16];
    snprintf(label, sizeof label, "%s: tensor '%s'", packing->folder->label,
             rad_quote(quoted, described->name.data, described->name.size));
    if (described->type != RAD_TYPE_U8 || size > STATE_BYTES_MAX)
        return rad_packed_fail(packing, module,
                               "must be described by a tensor quant_state of U8, at most 64 KiB");
    char *text = rad_alloc(allocator, size + 1);
    if (text == NULL)
        return rad_fail_memory(packing->error, size + 1);
    four_bits f = {.packing = packing, .module = module, .stored = stored};
    radllm_status status =
        rad_source_read(source, described->part, described->offset, text, size, packing->error);
    if (status == RADLLM_OK)
        status = rad_json_object(label, text, size, &f.state, packing->error);
    rad_free(allocator, text, size + 1);
    if (status == RADLLM_OK)
        status = add_4_bits(&f, rad_packed_part(packing, module, ".weight.quant_map"));
    json_decref(f.state);
    return status;
}

/* The threshold of outliers; 0 asks for none. */
radllm_status rad_bnb_configure(rad_packing *packing)
{
    const json_t *value = json_object_get(packing->config, "llm_int8_threshold");
    const double threshold = json_number_value(value);
    packing->threshold = 6.0f;
    if (value == NULL || json_is_null(value))
        return RADLLM_OK;
    if (!json_is_number(value) || !(threshold >= 0.0 && threshold < 1e30))
        return rad_packed_refuse(packing, "llm_int8_threshold",
                                 "must be a number of at least 0; the file is damaged");
    packing->threshold = threshold > 0.0 ? (float)threshold : INFINITY;
    return RADLLM_OK;
}

/* ---- 8 bits --------------------------------------------------------------------------------- */

static radllm_status read_8_bits(const rad_scaled_part *part)
{
    const rad_packed_scaled *w = part->weight;
    float scale;
    radllm_status status = rad_source_read(part->source, w->codes.part,
                                           w->codes.offset + part->row * w->n_in + part->column,
                                           part->codes, part->n, part->error);
    if (status == RADLLM_OK)
        status = rad_scaled_numbers(part->source, RAD_TYPE_F32, w->scales, part->row, 1, &scale,
                                    part->error);
    if (status == RADLLM_OK && !(scale >= 0.0f && scale - scale == 0.0f))
        return rad_scaled_fail(part, "a greatest magnitude (SCB) that is none");
    for (uint32_t i = 0; i < part->n && status == RADLLM_OK; i += w->step)
        part->scales[i / w->step] = scale;
    return status;
}

static float number_of_8_bits(const rad_packed_scaled *w, uint8_t code, float scale)
{
    (void)w;
    return (float)(int8_t)code * scale * RAD_INT8_STEP;
}

static radllm_status make_8_bits(rad_packing *packing, const char *module, const rad_stored *stored,
                                 const rad_stored *scales)
{
    const rad_stored *format = rad_packed_part(packing, module, ".weight_format");
    uint8_t order = 0;
    radllm_status status = RADLLM_OK;
    if (stored->type != RAD_TYPE_I8 || !rad_scaled_is_matrix(stored) ||
        scales->type != RAD_TYPE_F32 || scales->n_elements != stored->dims[0])
        return rad_packed_fail(packing, module,
                               "must be a matrix of I8 with a number of F32 for each row (SCB)");
    if (format != NULL && (format->n_elements != 1 || format->n_bytes != 1))
        return rad_packed_fail(packing, module, "has a weight_format that is not one byte");
    if (format != NULL)
        status = rad_source_read(packing->folder->source, format->part, format->offset, &order, 1,
                                 packing->error);
    if (status == RADLLM_OK && order != 0)
        return rad_packed_refuse(packing, "weight_format",
                                 "is one of a GPU's own orders of rows; save the model again with "
                                 "a newer bitsandbytes");
    if (status != RADLLM_OK)
        return status;
    rad_packed_scaled w = {.packed = {.threshold = packing->threshold},
                           .n_in = (uint32_t)stored->dims[1],
                           .codes = {stored->offset, stored->part},
                           .scales = {scales->offset, scales->part},
                           .read = read_8_bits,
                           .number = number_of_8_bits};
    return rad_scaled_add(packing, module, stored->dims[0], RAD_TYPE_INT8, false, &w);
}

radllm_status rad_bnb_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    const rad_stored *scales = rad_packed_part(packing, module, ".SCB");
    const rad_stored *state =
        rad_packed_part(packing, module, ".weight.quant_state.bitsandbytes__nf4");
    if (state == NULL)
        state = rad_packed_part(packing, module, ".weight.quant_state.bitsandbytes__fp4");
    if (state != NULL)
        return make_4_bits(packing, module, stored, state);
    if (scales != NULL)
        return make_8_bits(packing, module, stored, scales);
    if (rad_scaled_is_number(stored->type))
        return RADLLM_OK;
    return rad_packed_fail(packing, module,
                           "has neither a quant_state (NF4, FP4) nor row statistics SCB (8 bits)");
}
