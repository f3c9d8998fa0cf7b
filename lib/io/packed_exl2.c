/* EXL2: groups of columns with bits of their own, whose scales are 4 bits of the greatest one. */
#include <string.h>

#include "io/packed_affine.h"

radllm_status rad_exl2_configure(rad_packing *packing)
{
    (void)packing; /* each group of columns says its own bits */
    return RADLLM_OK;
}

/* q_groups: for each group its bits and the row of words that it begins with. */
static radllm_status read_exl2_groups(rad_packing *packing, const char *module,
                                      rad_packed_affine *a, const rad_stored *groups,
                                      uint64_t n_words)
{
    const rad_source *source = packing->folder->source;
    rad_exl2_group *of = rad_arena_alloc(&packing->folder->source->arena, a->n_groups * sizeof *of,
                                         _Alignof(rad_exl2_group));
    uint32_t *blocks = rad_affine_numbers(packing, (uint64_t)a->n_groups + 1);
    uint64_t column = 0;
    if (of == NULL || blocks == NULL)
        return rad_fail_memory(packing->error, a->n_groups * sizeof *of);
    a->exl2 = of;
    a->first_block = blocks;
    a->elements = RAD_AFFINE_WIDE_BLOCK;
    radllm_status status = RADLLM_OK;
    for (uint32_t g = 0; g <= a->n_groups && status == RADLLM_OK; g++) {
        uint16_t pair[2] = {0, (uint16_t)n_words};
        if (g < a->n_groups)
            status = rad_source_read(source, groups->part, groups->offset + g * sizeof pair, pair,
                                     sizeof pair, packing->error);
        uint32_t first = g == a->n_groups ? (uint32_t)n_words : pair[1];
        if (g > 0) { /* where the one before ends */
            uint32_t rows = first - of[g - 1].first_word, bits = of[g - 1].bits;
            if (first <= of[g - 1].first_word || rows % bits != 0)
                return rad_packed_fail(packing, module,
                                       "has q_groups that are not one behind the "
                                       "other");
            column += (uint64_t)rows / bits * 32;
            a->elements =
                rows / bits * 32 % RAD_AFFINE_WIDE_BLOCK != 0 ? RAD_AFFINE_BLOCK : a->elements;
        } else if (first != 0) {
            return rad_packed_fail(packing, module, "has q_groups that do not begin at row 0");
        }
        blocks[g] = (uint32_t)column;
        if (g == a->n_groups || status != RADLLM_OK)
            break;
        if (pair[0] < 2 || pair[0] == 7 || pair[0] > 8)
            return rad_packed_fail(packing, module, "has q_groups of other bits than 2 to 6 and 8");
        of[g] = (rad_exl2_group){pair[0], first, (uint32_t)column};
        a->bits = pair[0] > a->bits ? pair[0] : a->bits;
    }
    if (status == RADLLM_OK && column != a->n_in)
        return rad_packed_fail(packing, module,
                               "has q_groups for another number of columns than "
                               "q_invperm");
    for (uint32_t g = 0; g <= a->n_groups && status == RADLLM_OK; g++)
        blocks[g] /= a->elements;
    return status;
}

static radllm_status read_exl2_maxima(rad_packing *packing, const char *module,
                                      rad_packed_affine *a, const rad_stored *maxima)
{
    float *values = rad_arena_alloc(&packing->folder->source->arena, a->n_groups * sizeof *values,
                                    _Alignof(float));
    (void)module;
    if (values == NULL)
        return rad_fail_memory(packing->error, a->n_groups * sizeof *values);
    uint16_t *halves = (uint16_t *)(void *)values + a->n_groups; /* widened from the front */
    radllm_status status = rad_source_read(packing->folder->source, maxima->part, maxima->offset,
                                           halves, a->n_groups * sizeof *halves, packing->error);
    for (uint32_t g = 0; g < a->n_groups && status == RADLLM_OK; g++) {
        float value = rad_f16_to_f32(rad_f32_to_f16(rad_f16_to_f32(halves[g]) / 256.0f));
        memcpy(&values[g], &value, sizeof value);
    }
    a->maxima = values;
    return status;
}

/* q_invperm: where each column of the matrix stands. */
static radllm_status read_exl2_order(rad_packing *packing, const char *module, rad_packed_affine *a,
                                     const rad_stored *order)
{
    const rad_allocator *allocator = &packing->folder->source->host.allocator;
    const size_t bytes = a->n_in * sizeof(uint32_t);
    uint32_t *places = rad_alloc(allocator, 2 * bytes);
    if (places == NULL)
        return rad_fail_memory(packing->error, 2 * bytes);
    uint32_t *columns = places + a->n_in;
    radllm_status status = rad_source_read(packing->folder->source, order->part, order->offset,
                                           places, bytes, packing->error);
    memset(columns, 255, bytes);
    for (uint32_t i = 0; i < a->n_in && status == RADLLM_OK; i++) {
        if (places[i] >= a->n_in || columns[places[i]] != RAD_NO_COLUMN)
            status = rad_packed_fail(packing, module,
                                     "has a q_invperm that is no order of its "
                                     "columns");
        else
            columns[places[i]] = i;
    }
    if (status == RADLLM_OK && !rad_affine_share_order(packing, a, columns)) {
        uint32_t *kept = rad_affine_numbers(packing, a->n_in);
        if (kept == NULL)
            status = rad_fail_memory(packing->error, bytes);
        else
            rad_affine_keep_order(packing, a, memcpy(kept, columns, bytes));
    }
    rad_free(allocator, places, 2 * bytes);
    return status;
}

/* Rows are padded to a multiple of 32; of the logits' matrix the vocabulary is known. */
static uint64_t exl2_rows(const rad_packing *packing, const char *module, uint64_t pitch)
{
    const json_t *size = json_object_get(packing->folder->config, "vocab_size");
    int64_t vocabulary = json_is_integer(size) ? json_integer_value(size) : 0;
    if (strcmp(module, "lm_head") == 0 && vocabulary > 0 && (uint64_t)vocabulary < pitch &&
        pitch - (uint64_t)vocabulary < 32)
        return (uint64_t)vocabulary;
    return pitch;
}

radllm_status rad_exl2_weight(rad_packing *packing, const char *module, rad_stored *quants)
{
    const rad_stored *groups = rad_packed_part(packing, module, ".q_groups");
    const rad_stored *scales = rad_packed_part(packing, module, ".q_scale");
    const rad_stored *maxima = rad_packed_part(packing, module, ".q_scale_max");
    const rad_stored *order = rad_packed_part(packing, module, ".q_invperm");
    (void)rad_packed_part(packing, module, ".q_perm"); /* the same turned round */
    (void)rad_packed_part(packing, module, ".q_group_map");
    rad_packed_affine *a;
    quants->used = true;
    if (groups == NULL || scales == NULL || maxima == NULL || order == NULL)
        return rad_packed_fail(packing, module,
                               "lacks q_groups, q_scale, q_scale_max or q_invperm");
    const uint64_t n_groups = maxima->n_elements, pitch = quants->dims[1];
    if (quants->type != RAD_TYPE_I32 || quants->n_dims != 2 || quants->n_elements == 0 ||
        quants->dims[0] > INT32_MAX || pitch % 8 != 0 || maxima->type != RAD_TYPE_F16 ||
        maxima->n_dims != 1 || order->type != RAD_TYPE_I32 || order->n_dims != 1 ||
        groups->type != RAD_TYPE_I16 || groups->n_dims != 1 || groups->n_elements / 2 != n_groups ||
        !rad_affine_is_matrix(scales, RAD_TYPE_I32, n_groups, pitch / 8))
        return rad_packed_fail(packing, module,
                               "does not have q_weight I32 [words, rows], q_groups I16 [2 "
                               "groups], q_scale I32 [groups, rows / 8], q_scale_max F16 "
                               "[groups] and q_invperm I32 [columns]");
    radllm_status status = rad_affine_begin(packing, module, order->n_elements, n_groups, &a);
    if (status != RADLLM_OK)
        return status;
    a->quant_form = RAD_QUANTS_BY_COLUMN;
    a->zero_form = RAD_ZEROS_MIDDLE;
    a->scale_type = RAD_TYPE_F16;
    a->pitch = pitch;
    a->quants = rad_affine_piece(quants);
    a->scales = rad_affine_piece(scales);
    a->packed.n_columns = a->n_in;
    status = read_exl2_groups(packing, module, a, groups, quants->dims[0]);
    if (status == RADLLM_OK)
        status = read_exl2_maxima(packing, module, a, maxima);
    if (status == RADLLM_OK)
        status = read_exl2_order(packing, module, a, order);
    return status == RADLLM_OK
               ? rad_affine_finish(packing, module, a, exl2_rows(packing, module, pitch))
               : status;
}
