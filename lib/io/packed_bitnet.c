/* BitNet b1.58 as `transformers` saves it: four ternary numbers of two bits, plus one, in a byte;
 * byte [r, c] holds rows r, r + n/4, r + n/2, r + 3n/4 of n, and one scale is for the whole matrix.
 */
#include <string.h>

#include "io/packed_scaled.h"

enum { GROUP = 128, PART = 1024 };

/* Two bits of each byte: row `row` of columns. */
static radllm_status read_ternary(const rad_scaled_part *part)
{
    const rad_packed_scaled *w = part->weight;
    const uint64_t in_file = part->row % w->packed_rows;
    const unsigned shift = (unsigned)(part->row / w->packed_rows) * 2;
    uint8_t wrong = 0;
    radllm_status status = rad_source_read(part->source, w->codes.part,
                                           w->codes.offset + in_file * w->n_in + part->column,
                                           part->codes, part->n, part->error);
    for (uint32_t i = 0; i < part->n && status == RADLLM_OK; i++) {
        part->codes[i] = part->codes[i] >> shift & 3;
        wrong |= part->codes[i] == 3;
        part->scales[i] = w->scale;
    }
    if (status == RADLLM_OK && wrong)
        return rad_scaled_fail(part, "a number that is none of -1, 0 and 1");
    return status;
}

static float number_of_ternary(const rad_packed_scaled *w, uint8_t code, float scale)
{
    (void)w;
    return (float)(code - 1) * scale;
}

/* Groups of I2_S (quant/i2_s.c). */
static radllm_status ternary_rows(const rad_source *source, const rad_packed *packed,
                                  uint64_t first, uint64_t count, uint8_t *out, radllm_error *error)
{
    const rad_packed_scaled *w = (const rad_packed_scaled *)packed;
    uint8_t codes[PART];
    float scales[PART];
    for (uint64_t row = first; row < first + count; row++) {
        for (uint32_t column = 0, n; column < w->n_in; column += n) {
            n = w->n_in - column < PART ? w->n_in - column : PART;
            rad_scaled_part part = {source, w, row, column, n, codes, scales, error};
            radllm_status status = read_ternary(&part);
            if (status != RADLLM_OK)
                return status;
            for (uint32_t i = 0; i < n; i += GROUP, out += GROUP / 4)
                for (uint32_t p = 0; p < GROUP / 4; p++)
                    out[p] = (uint8_t)(codes[i + p] << 6 | codes[i + p + 32] << 4 |
                                       codes[i + p + 64] << 2 | codes[i + p + 96]);
        }
    }
    return RADLLM_OK;
}

radllm_status rad_bitnet_configure(rad_packing *packing)
{
    const char *mode;
    radllm_status status = rad_packed_text(packing, "quantization_mode", "offline", &mode);
    if (status == RADLLM_OK && strcmp(mode, "offline") != 0)
        return rad_packed_refuse(packing, "quantization_mode",
                                 "is one of training, whose weights are rounded at each use; fetch "
                                 "the packed model");
    if (status == RADLLM_OK)
        status = rad_packed_text(packing, "linear_class", "bitlinear", &mode);
    if (status == RADLLM_OK && !rad_is_one_of(mode, "bitlinear|autobitlinear"))
        return rad_packed_refuse(packing, "linear_class",
                                 "is neither \"bitlinear\" nor \"autobitlinear\"");
    if (status == RADLLM_OK && json_is_true(json_object_get(packing->config, "use_rms_norm")))
        return rad_packed_refuse(packing, "use_rms_norm",
                                 "is true, which this version does not "
                                 "compute");
    return status;
}

radllm_status rad_bitnet_weight(rad_packing *packing, const char *module, rad_stored *stored)
{
    const rad_stored *scales = rad_packed_part(packing, module, ".weight_scale");
    const char *kind;
    float scale;
    radllm_status status = rad_packed_text(packing, "linear_class", "bitlinear", &kind);
    if (status != RADLLM_OK || (scales == NULL && rad_scaled_is_number(stored->type)))
        return status;
    if (stored->type != RAD_TYPE_U8 || !rad_scaled_is_matrix(stored) ||
        stored->dims[0] > INT32_MAX / 4 || scales == NULL || scales->n_elements != 1 ||
        !rad_scaled_is_number(scales->type))
        return rad_packed_fail(packing, module,
                               "must be a matrix of U8 with one number as its weight_scale");
    status =
        rad_scaled_numbers(packing->folder->source, scales->type,
                           (rad_piece){scales->offset, scales->part}, 0, 1, &scale, packing->error);
    if (status != RADLLM_OK)
        return status;
    if (strcmp(kind, "autobitlinear") != 0) /* the older way divides by it */
        scale = 1.0f / scale;
    if (!(scale > 0.0f && scale < 1e30f))
        return rad_packed_fail(packing, module,
                               "has a weight_scale that is zero, negative, or no number");
    rad_packed_scaled w = {.n_in = (uint32_t)stored->dims[1],
                           .codes = {stored->offset, stored->part},
                           .packed_rows = stored->dims[0],
                           .scale = scale,
                           .read = read_ternary,
                           .number = number_of_ternary};
    if (w.n_in % GROUP == 0) {
        w.packed.rows = ternary_rows;
        w.packed.scale = scale;
    }
    return rad_scaled_add(packing, module, stored->dims[0] * 4, RAD_TYPE_I2_S, false, &w);
}
