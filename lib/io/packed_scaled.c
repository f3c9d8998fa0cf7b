#include "io/packed_scaled.h"

#include <string.h>

enum { PART = 1024, SCALES = PART };

bool rad_scaled_is_number(rad_type type)
{
    return type == RAD_TYPE_F32 || type == RAD_TYPE_F16 || type == RAD_TYPE_BF16;
}

bool rad_scaled_is_matrix(const rad_stored *stored)
{
    return stored->n_dims == 2 && stored->n_elements > 0 && stored->dims[0] <= INT32_MAX &&
           stored->dims[1] <= INT32_MAX;
}

radllm_status rad_scaled_fail(const rad_scaled_part *part, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    const char *module = part->weight->packed.module;
    return rad_fail(part->error, RADLLM_E_FORMAT,
                    "%s: the quantized weight of module '%s', row %llu, has %s; the file is "
                    "damaged: fetch it again",
                    rad_source_label(part->source), rad_quote(quoted, module, strlen(module)),
                    (unsigned long long)part->row, what);
}

float rad_e8m0_to_f32(uint8_t e)
{
    uint32_t bits = e == 0 ? 0x00400000u : e == 255 ? 0x7fc00000u : (uint32_t)e << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

radllm_status rad_scaled_numbers(const rad_source *source, rad_type type, rad_piece at,
                                 uint64_t first, uint32_t n, float *out, radllm_error *error)
{
    uint8_t stored[SCALES * sizeof(float)];
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const size_t size = info->block_bytes;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0, some; i < n && status == RADLLM_OK; i += some) {
        some = n - i < SCALES ? n - i : SCALES;
        status = rad_source_read(source, at.part, at.offset + (first + i) * size, stored,
                                 some * size, error);
        if (status == RADLLM_OK && type != RAD_TYPE_F8_E8M0)
            info->decode(stored, out + i, some);
        for (uint32_t k = 0; k < some && type == RAD_TYPE_F8_E8M0; k++)
            out[i + k] = rad_e8m0_to_f32(stored[k]);
    }
    return status;
}

/* The blocks of a part. */
static void put_blocks(const rad_packed_scaled *w, const uint8_t *codes, const float *scales,
                       uint32_t n, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i += w->step, out += w->block_bytes) {
        const float scale = scales[i / w->step];
        if (w->type == RAD_TYPE_NF4 || w->type == RAD_TYPE_FP4) {
            rad_pack_nf4(scale, codes + i, out);
        } else {
            memcpy(out, &scale, sizeof scale);
            memcpy(out + sizeof scale, codes + i, RAD_SCALED_BLOCK);
        }
    }
}

static radllm_status scaled_rows(const rad_source *source, const rad_packed *packed, uint64_t first,
                                 uint64_t count, uint8_t *out, radllm_error *error)
{
    const rad_packed_scaled *w = (const rad_packed_scaled *)packed;
    uint8_t codes[PART];
    float scales[SCALES];
    radllm_status status = RADLLM_OK;
    for (uint64_t row = first; row < first + count; row++) {
        for (uint32_t column = 0, n; column < w->n_in; column += n) {
            n = w->n_in - column < PART ? w->n_in - column : PART;
            rad_scaled_part part = {source, w, row, column, n, codes, scales, error};
            status = w->read(&part);
            if (status != RADLLM_OK)
                return status;
            if (w->type != RAD_TYPE_F32) {
                put_blocks(w, codes, scales, n, out);
                out += n / w->step * w->block_bytes;
                continue;
            }
            for (uint32_t i = 0; i < n; i++, out += sizeof(float)) {
                float value = w->number(w, codes[i], scales[i]);
                memcpy(out, &value, sizeof value);
            }
        }
    }
    return RADLLM_OK;
}

radllm_status rad_scaled_add(rad_packing *packing, const char *module, uint64_t n_rows,
                             rad_type type, bool plain, rad_packed_scaled *weight)
{
    rad_arena *arena = &packing->folder->source->arena;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    if (plain || weight->n_in % info->block_elements != 0)
        info = rad_type_find(type = RAD_TYPE_F32);
    rad_packed_scaled *kept =
        rad_arena_alloc_zero(arena, sizeof *kept, _Alignof(rad_packed_scaled));
    char *name = rad_arena_copy(arena, module, strlen(module));
    if (kept == NULL || name == NULL)
        return rad_fail_memory(packing->error, sizeof *kept);
    *kept = *weight;
    kept->type = type;
    kept->step = info->block_elements;
    kept->block_bytes = info->block_bytes;
    if (kept->packed.rows == NULL)
        kept->packed.rows = scaled_rows;
    kept->packed.module = name;
    kept->packed.row_bytes = (uint64_t)(weight->n_in / info->block_elements) * info->block_bytes;
    kept->packed.n_columns = weight->n_in;
    return rad_packed_add(packing, module, type, n_rows, weight->n_in, &kept->packed);
}
