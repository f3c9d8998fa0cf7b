#include "io/packed_affine.h"

#include <stdio.h>
#include <string.h>

#include "quant/affine.h"

/* Group indexes are padded to whole blocks; more than this many times the columns is no model. */
enum { PADDING_MAX = 4, BLOCK = RAD_AFFINE_BLOCK, WIDE_BLOCK = RAD_AFFINE_WIDE_BLOCK };

/* ---- the order of columns ------------------------------------------------------------------- */

/* Working memory for one module. */
typedef struct ordering {
    rad_packing *packing;
    const char *module;
    rad_packed_affine *a;
    uint32_t *groups; /* of each column */
    uint32_t *starts; /* n_groups + 1: where the columns of each group begin in a row */
} ordering;

uint32_t *rad_affine_numbers(const rad_packing *packing, uint64_t n)
{
    size_t bytes;
    if (!rad_mul_size((size_t)n, sizeof(uint32_t), &bytes))
        return NULL;
    return rad_arena_alloc(&packing->folder->source->arena, bytes, _Alignof(uint32_t));
}

/* Counts the columns of each group, and pads each to whole blocks: of 128 where all groups are
 * made of such, else of 32. */
static radllm_status place_groups(ordering *o, bool *in_order)
{
    rad_packed_affine *a = o->a;
    uint32_t *starts = o->starts;
    memset(starts, 0, ((size_t)a->n_groups + 1) * sizeof *starts);
    *in_order = true;
    for (uint32_t i = 0; i < a->n_in; i++) {
        starts[o->groups[i] + 1]++;
        *in_order = *in_order && (i == 0 || o->groups[i] >= o->groups[i - 1]);
    }
    a->elements = WIDE_BLOCK;
    for (uint32_t g = 1; g <= a->n_groups; g++)
        if (starts[g] % WIDE_BLOCK != 0)
            a->elements = BLOCK;
    uint64_t total = 0;
    for (uint32_t g = 1; g <= a->n_groups; g++) {
        uint64_t padded = ((uint64_t)starts[g] + a->elements - 1) / a->elements * a->elements;
        *in_order = *in_order && padded == starts[g];
        total += padded;
        if (total > (uint64_t)PADDING_MAX * a->n_in)
            return rad_packed_fail(o->packing, o->module,
                                   "has groups of fewer than 8 columns on average");
        starts[g] = (uint32_t)total;
    }
    a->packed.n_columns = (uint32_t)total;
    return RADLLM_OK;
}

/* An order like that of a module not long ago is shared with it: products of one input then use
 * the same activations. */
bool rad_affine_share_order(rad_packing *packing, rad_packed_affine *a, const uint32_t *columns)
{
    for (size_t i = 0; i < sizeof packing->recent / sizeof *packing->recent; i++) {
        const rad_packed_affine *other = packing->recent[i];
        if (other != NULL && other->packed.n_columns == a->packed.n_columns &&
            memcmp(other->packed.columns, columns, a->packed.n_columns * sizeof *columns) == 0) {
            a->packed.columns = other->packed.columns;
            a->places = other->places;
            return true;
        }
    }
    return false;
}

void rad_affine_keep_order(rad_packing *packing, rad_packed_affine *a, const uint32_t *columns)
{
    const size_t n_recent = sizeof packing->recent / sizeof *packing->recent;
    a->packed.columns = columns;
    packing->recent[packing->n_orders++ % n_recent] = a;
}

static radllm_status order_columns(ordering *o, const uint32_t *starts)
{
    rad_packing *packing = o->packing;
    const rad_allocator *allocator = &packing->folder->source->host.allocator;
    rad_packed_affine *a = o->a;
    const size_t bytes = a->packed.n_columns * sizeof(uint32_t);
    uint32_t *next = o->starts, *places = o->groups; /* a column's group becomes its place */
    uint32_t *columns = rad_alloc(allocator, bytes);
    if (columns == NULL)
        return rad_fail_memory(packing->error, bytes);
    memcpy(next, starts, a->n_groups * sizeof *next);
    memset(columns, 255, bytes); /* RAD_NO_COLUMN */
    for (uint32_t i = 0; i < a->n_in; i++) {
        places[i] = next[places[i]]++;
        columns[places[i]] = i;
    }
    radllm_status status = RADLLM_OK;
    if (!rad_affine_share_order(packing, a, columns)) {
        uint32_t *kept = rad_affine_numbers(packing, (uint64_t)a->packed.n_columns + a->n_in);
        if (kept == NULL)
            status = rad_fail_memory(packing->error, bytes);
        else {
            a->places = memcpy(kept + a->packed.n_columns, places, a->n_in * sizeof *places);
            rad_affine_keep_order(packing, a, memcpy(kept, columns, bytes));
        }
    }
    rad_free(allocator, columns, bytes);
    return status;
}

/* An index of groups that was made and never filled, which other programs do not look at either. */
static bool is_unfilled(const ordering *o)
{
    uint32_t any = o->a->n_groups == 1 || o->a->quant_form != RAD_QUANTS_BY_COLUMN;
    for (uint32_t i = 0; i < o->a->n_in; i++)
        any |= o->groups[i];
    return any == 0;
}

/* Groups of equal size, or as the file's index of groups says. */
static radllm_status read_groups(ordering *o, const rad_stored *index, uint64_t group_size)
{
    const rad_packed_affine *a = o->a;
    radllm_status status = RADLLM_OK;
    if (index != NULL)
        status = rad_source_read(o->packing->folder->source, index->part, index->offset, o->groups,
                                 a->n_in * sizeof *o->groups, o->packing->error);
    if (index != NULL && status == RADLLM_OK && is_unfilled(o)) {
        if (json_is_true(json_object_get(o->packing->config, "desc_act")))
            return rad_packed_fail(o->packing, o->module,
                                   "has a g_idx of zeros, though its columns are grouped by it "
                                   "(desc_act)");
        index = NULL;
    }
    for (uint32_t i = 0; i < a->n_in && status == RADLLM_OK; i++) {
        if (index == NULL)
            o->groups[i] = (uint32_t)(i / group_size);
        if (o->groups[i] >= a->n_groups)
            status = rad_packed_fail(o->packing, o->module,
                                     "has a column in a group (g_idx) that has no scales");
    }
    return status;
}

static radllm_status find_order(ordering *o, const rad_stored *index, uint64_t group_size)
{
    rad_packed_affine *a = o->a;
    bool in_order;
    radllm_status status = read_groups(o, index, group_size);
    if (status == RADLLM_OK)
        status = place_groups(o, &in_order);
    if (status != RADLLM_OK)
        return status;
    uint32_t *blocks = rad_affine_numbers(o->packing, (uint64_t)a->n_groups + 1);
    uint32_t *starts = o->starts + a->n_groups + 1; /* a copy, while the first one moves */
    if (blocks == NULL)
        return rad_fail_memory(o->packing->error, a->n_groups * sizeof *blocks);
    memcpy(starts, o->starts, ((size_t)a->n_groups + 1) * sizeof *starts);
    for (uint32_t g = 0; g <= a->n_groups; g++)
        blocks[g] = starts[g] / a->elements;
    a->first_block = blocks;
    return in_order ? RADLLM_OK : order_columns(o, starts);
}

/* index: g_idx, or NULL. */
static radllm_status make_order(rad_packing *packing, const char *module, rad_packed_affine *a,
                                const rad_stored *index, uint64_t group_size)
{
    const rad_allocator *allocator = &packing->folder->source->host.allocator;
    size_t numbers = (size_t)a->n_in + 2 * ((size_t)a->n_groups + 1);
    ordering o = {packing, module, a, rad_alloc(allocator, numbers * sizeof *o.groups), NULL};
    if (o.groups == NULL)
        return rad_fail_memory(packing->error, numbers * sizeof *o.groups);
    o.starts = o.groups + a->n_in;
    radllm_status status = find_order(&o, index, group_size);
    rad_free(allocator, o.groups, numbers * sizeof *o.groups);
    return status;
}

/* ---- what all have in common ---------------------------------------------------------------- */

rad_piece rad_affine_piece(const rad_stored *stored)
{
    return (rad_piece){stored->offset, stored->part};
}

bool rad_affine_is_matrix(const rad_stored *stored, rad_type type, uint64_t rows, uint64_t columns)
{
    return stored->type == type && stored->n_dims == 2 && stored->dims[0] == rows &&
           stored->dims[1] == columns;
}

static bool is_float(const rad_stored *stored)
{
    return rad_type_find((uint32_t)stored->type)->family == RAD_FAMILY_FLOAT;
}

/* A new weight of so many columns and groups, which the products can bear. */
radllm_status rad_affine_begin(rad_packing *packing, const char *module, uint64_t n_in,
                               uint64_t n_groups, rad_packed_affine **out)
{
    rad_arena *arena = &packing->folder->source->arena;
    if (n_in == 0 || n_in % BLOCK != 0 || n_in > INT32_MAX / PADDING_MAX)
        return rad_packed_fail(packing, module,
                               "does not have a multiple of 32 columns, below 2^29");
    if (n_groups == 0 || n_groups > n_in)
        return rad_packed_fail(packing, module, "does not have one to as many groups as columns");
    rad_packed_affine *a = rad_arena_alloc_zero(arena, sizeof *a, _Alignof(rad_packed_affine));
    char *name = rad_arena_copy(arena, module, strlen(module));
    if (a == NULL || name == NULL)
        return rad_fail_memory(packing->error, sizeof *a);
    a->packed.rows = rad_affine_rows;
    a->packed.module = name;
    a->n_in = (uint32_t)n_in;
    a->n_groups = (uint32_t)n_groups;
    *out = a;
    return RADLLM_OK;
}

/* Blocks have 16 bits for a scale: rows whose scales are finer are put together in F32. */
static radllm_status finish_wide(rad_packing *packing, const char *module,
                                 const rad_packed_affine *blocks, uint64_t n_rows)
{
    rad_packed_affine *a =
        rad_arena_alloc(&packing->folder->source->arena, sizeof *a, _Alignof(rad_packed_affine));
    char quoted[RAD_QUOTE_SIZE];
    if (a == NULL)
        return rad_fail_memory(packing->error, sizeof *a);
    if (!packing->wide)
        rad_log_line(&packing->folder->source->host, RADLLM_LOG_WARNING,
                     "%s: scales in F32 need more than 16 bits (module '%s' and others): such rows "
                     "are put together in F32, which takes 4 bytes for each weight; saved with "
                     "scales in F16 or BF16 the model takes a fraction of that",
                     packing->folder->label, rad_quote(quoted, module, strlen(module)));
    packing->wide = true;
    *a = *blocks;
    a->blocks = blocks;
    a->packed.rows = rad_affine_wide_rows;
    a->packed.n_columns = a->n_in;
    a->packed.columns = NULL;
    a->packed.row_bytes = (uint64_t)a->n_in * sizeof(float);
    return rad_packed_add(packing, module, RAD_TYPE_F32, n_rows, a->n_in, &a->packed);
}

static rad_type size_rows(rad_packed_affine *a)
{
    rad_type type = rad_affine_type(a->bits, a->elements);
    a->block_bytes = rad_type_find((uint32_t)type)->block_bytes;
    a->packed.row_bytes = (uint64_t)(a->packed.n_columns / a->elements) * a->block_bytes;
    return type;
}

static rad_packed_affine *in_blocks(const rad_stored *stored)
{
    if (stored->packed == NULL || stored->packed->rows != rad_affine_rows)
        return NULL;
    return (rad_packed_affine *)(uintptr_t)stored->packed;
}

void rad_affine_gather(const rad_stored *stored, rad_affine_blocks *blocks)
{
    const rad_packed_affine *a = in_blocks(stored);
    if (a != NULL && a->bits > blocks->bits)
        blocks->bits = a->bits;
    if (a != NULL && a->elements < blocks->elements)
        blocks->elements = a->elements;
}

void rad_affine_set_blocks(rad_stored *stored, const rad_affine_blocks *blocks)
{
    rad_packed_affine *a = in_blocks(stored);
    if (a == NULL)
        return;
    uint32_t *firsts = (uint32_t *)(uintptr_t)a->first_block;
    for (uint32_t g = 0; g <= a->n_groups; g++)
        firsts[g] *= a->elements / blocks->elements;
    a->elements = blocks->elements;
    a->bits = blocks->bits;
    stored->type = size_rows(a);
    stored->n_bytes = stored->dims[0] * a->packed.row_bytes;
}

/* With bits and the order of columns known. */
radllm_status rad_affine_finish(rad_packing *packing, const char *module, rad_packed_affine *a,
                                uint64_t n_rows)
{
    rad_type type = size_rows(a);
    bool fits;
    a->packed.scattered = a->quant_form != RAD_QUANTS_BY_ROW;
    radllm_status status =
        rad_affine_fits(packing->folder->source, a, a->n_groups * n_rows, &fits, packing->error);
    if (status != RADLLM_OK)
        return status;
    return fits ? rad_packed_add(packing, module, type, n_rows, a->n_in, &a->packed)
                : finish_wide(packing, module, a, n_rows);
}

/* The size of groups by the configuration, checked against how many there are. A module's own size
 * (any_bits) is that of the whole row or a power of two, which their number then tells. */
static radllm_status check_groups(const rad_packing *packing, const char *module, uint64_t n_in,
                                  uint64_t n_groups, uint64_t *group_size)
{
    uint64_t size = packing->group_size > 0 ? (uint64_t)packing->group_size : n_in;
    if (packing->any_bits && (n_in + size - 1) / size != n_groups) {
        size = n_groups == 1 ? n_in : 1;
        while (size < n_in && (n_in + size - 1) / size > n_groups)
            size *= 2;
    }
    *group_size = size;
    if ((n_in + size - 1) / size != n_groups)
        return rad_packed_fail(packing, module,
                               "does not have the scales of as many groups as the configuration "
                               "says");
    return RADLLM_OK;
}

/* bits and group_size under the names that a program gives them. */
static radllm_status read_sizes(rad_packing *packing, const char *bits_key, const char *group_key)
{
    int64_t bits;
    radllm_status status = rad_packed_integer(packing, bits_key, 0, &bits);
    if (status == RADLLM_OK)
        status = rad_packed_integer(packing, group_key, 128, &packing->group_size);
    if (status != RADLLM_OK)
        return status;
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return rad_packed_refuse(packing, bits_key, "must be 2, 3, 4 or 8");
    if (packing->group_size == 0 || packing->group_size < -1 || packing->group_size > INT32_MAX)
        return rad_packed_refuse(packing, group_key, "must be -1 or above 0");
    packing->bits = (int)bits;
    return RADLLM_OK;
}

/* ---- GPTQ ----------------------------------------------------------------------------------- */

static radllm_status check_text(const rad_packing *packing, const char *key, const char *fallback,
                                const char *const *known, size_t n_known, size_t *which)
{
    const char *text;
    radllm_status status = rad_packed_text(packing, key, fallback, &text);
    if (status != RADLLM_OK)
        return status;
    for (*which = 0; *which < n_known; (*which)++)
        if (rad_same_any_case(text, known[*which], strlen(known[*which]) + 1))
            return RADLLM_OK;
    char quoted[RAD_QUOTE_SIZE], what[RAD_QUOTE_SIZE + 160];
    snprintf(what, sizeof what,
             "is \"%s\", which this version does not read; fetch the model in the form \"%s\"",
             rad_quote(quoted, text, strlen(text)), known[0]);
    return rad_packed_refuse(packing, key, what);
}

/* gptqmodel computes with zero points of version 2, and makes version 1 of them by taking one off
 * each field of a word in one subtraction: below a zero point of 0 it borrows from the next one.
 * Others never had such (older programs cannot write them). */
static bool by_gptqmodel(const json_t *config)
{
    const json_t *by = json_object_get(json_object_get(config, "meta"), "quantizer"), *entry;
    size_t i;
    const char *text = json_string_value(by);
    bool found = text != NULL && strncmp(text, "gptqmodel", 9) == 0;
    json_array_foreach(by, i, entry)
    {
        text = json_string_value(entry);
        found = found || (text != NULL && strncmp(text, "gptqmodel", 9) == 0);
    }
    return found;
}

radllm_status rad_gptq_configure(rad_packing *packing)
{
    static const char *const formats[] = {"gptq", "gptq_v2"}, *const words[] = {"int32"};
    size_t format = 0, word;
    radllm_status status = read_sizes(packing, "bits", "group_size");
    if (status == RADLLM_OK)
        status = check_text(packing, "checkpoint_format", "gptq", formats, 2, &format);
    packing->plain_zeros = format == 1;
    if (status == RADLLM_OK) /* newer name of the same, which counts where it stands alone */
        status = check_text(packing, "format", formats[format], formats, 2, &format);
    if (json_object_get(packing->config, "checkpoint_format") == NULL)
        packing->plain_zeros = format == 1;
    if (status == RADLLM_OK)
        status = check_text(packing, "pack_dtype", "int32", words, 1, &word);
    packing->carried_zeros = by_gptqmodel(packing->config);
    const json_t *overrides = json_object_get(packing->config, "dynamic");
    packing->any_bits = json_object_size(overrides) > 0;
    const json_t *rotation = json_object_get(packing->config, "rotation");
    if (status == RADLLM_OK && json_is_string(rotation) && json_string_length(rotation) > 0)
        return rad_packed_refuse(packing, "rotation",
                                 "is there: rotated activations are not computed");
    if (status == RADLLM_OK && json_is_true(json_object_get(packing->config, "is_marlin_format")))
        return rad_packed_refuse(packing, "is_marlin_format",
                                 "is true: that packing is not read; fetch the model in the form "
                                 "\"gptq\"");
    return status;
}

/* Bits for which the words of zero points are as many as there are; 0 where several are. */
static int bits_of_zeros(uint64_t rows, uint64_t words)
{
    static const int all[] = {2, 3, 4, 8};
    int bits = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if ((rows * (uint32_t)all[i] + 31) / 32 == words)
            bits = bits == 0 ? all[i] : -1;
    }
    return bits > 0 ? bits : 0;
}

/* The columns and bits of a module: g_idx counts the columns, where there is one; else zero points
 * say the bits. */
static radllm_status find_gptq_bits(const rad_packing *packing, const char *module,
                                    const rad_stored *quants, const rad_stored *index,
                                    const rad_stored *zeros, uint64_t *n_in, int *bits)
{
    uint64_t words = quants->dims[0];
    *bits = packing->bits;
    if (index == NULL && packing->any_bits)
        *bits = bits_of_zeros(quants->dims[1], zeros->n_dims == 2 ? zeros->dims[1] : 0);
    *n_in = index != NULL ? index->dims[0] : *bits > 0 ? words * 32 / (uint32_t)*bits : 0;
    if (packing->any_bits && *n_in > 0)
        *bits = (int)(words * 32 / *n_in);
    if ((*bits != 2 && *bits != 3 && *bits != 4 && *bits != 8) ||
        *n_in * (uint32_t)*bits != words * 32)
        return rad_packed_fail(packing, module,
                               "has qweight and g_idx (or qzeros) of sizes that do not go with "
                               "its bits");
    return RADLLM_OK;
}

radllm_status rad_gptq_weight(rad_packing *packing, const char *module, rad_stored *quants)
{
    const rad_stored *zeros = rad_packed_part(packing, module, ".qzeros");
    const rad_stored *scales = rad_packed_part(packing, module, ".scales");
    const rad_stored *index = rad_packed_part(packing, module, ".g_idx");
    rad_packed_affine *a;
    uint64_t n_in = 0, group_size;
    int bits;
    quants->used = true;
    if (zeros == NULL || scales == NULL)
        return rad_packed_fail(packing, module, zeros == NULL ? "has no qzeros" : "has no scales");
    if (quants->n_dims != 2 || quants->type != RAD_TYPE_I32 || quants->n_elements == 0 ||
        (index != NULL && (index->type != RAD_TYPE_I32 || index->n_dims != 1)))
        return rad_packed_fail(packing, module,
                               "does not have qweight I32 [words, rows] and g_idx I32 [columns]");
    radllm_status status = find_gptq_bits(packing, module, quants, index, zeros, &n_in, &bits);
    if (status != RADLLM_OK)
        return status;
    const uint64_t rows = quants->dims[1], groups = scales->dims[0];
    if (!is_float(scales) || !rad_affine_is_matrix(scales, scales->type, groups, rows) ||
        !rad_affine_is_matrix(zeros, RAD_TYPE_I32, groups, (rows * (uint32_t)bits + 31) / 32))
        return rad_packed_fail(packing, module,
                               "does not have scales [groups, rows] of floats and qzeros I32 "
                               "[groups, words] beside its qweight");
    if (index == NULL && groups > 1 && json_is_true(json_object_get(packing->config, "desc_act")))
        return rad_packed_fail(packing, module,
                               "has no g_idx, though its columns are grouped by it (desc_act)");
    status = check_groups(packing, module, n_in, groups, &group_size);
    if (status == RADLLM_OK)
        status = rad_affine_begin(packing, module, n_in, groups, &a);
    if (status != RADLLM_OK)
        return status;
    a->quant_form = RAD_QUANTS_BY_COLUMN;
    a->zero_form = RAD_ZEROS_BY_COLUMN;
    a->scale_type = scales->type;
    a->bits = a->stored_bits = bits;
    if (!packing->plain_zeros && packing->carried_zeros && bits != 3)
        a->words_plus = UINT32_MAX / ((1u << bits) - 1);
    else
        a->zero_plus = packing->plain_zeros ? 0 : 1;
    a->pitch = rows;
    a->quants = rad_affine_piece(quants);
    a->scales = rad_affine_piece(scales);
    a->zeros = rad_affine_piece(zeros);
    status = make_order(packing, module, a, index, group_size);
    return status == RADLLM_OK ? rad_affine_finish(packing, module, a, rows) : status;
}

/* ---- AWQ ------------------------------------------------------------------------------------ */

radllm_status rad_awq_configure(rad_packing *packing)
{
    static const char *const versions[] = {"gemm"};
    const char *backend = NULL;
    const bool old = json_object_get(packing->config, "w_bit") != NULL;
    size_t version;
    radllm_status status =
        read_sizes(packing, old ? "w_bit" : "bits", old ? "q_group_size" : "group_size");
    if (status == RADLLM_OK)
        status = check_text(packing, "version", "gemm", versions, 1, &version);
    if (status == RADLLM_OK) /* gptqmodel's name of it */
        status = check_text(packing, "format", "gemm", versions, 1, &version);
    if (status == RADLLM_OK)
        status = rad_packed_text(packing, "backend", "auto", &backend);
    if (status == RADLLM_OK && strcmp(backend, "llm-awq") == 0)
        return rad_packed_refuse(
            packing, "backend",
            "is \"llm-awq\", whose packing is not read; fetch the model in the "
            "version \"gemm\"");
    if (status == RADLLM_OK && packing->bits != 4)
        return rad_packed_refuse(packing, old ? "w_bit" : "bits", "must be 4 for AWQ");
    return status;
}

radllm_status rad_awq_weight(rad_packing *packing, const char *module, rad_stored *quants)
{
    const rad_stored *zeros = rad_packed_part(packing, module, ".qzeros");
    const rad_stored *scales = rad_packed_part(packing, module, ".scales");
    rad_packed_affine *a;
    uint64_t group_size;
    quants->used = true;
    if (zeros == NULL || scales == NULL)
        return rad_packed_fail(packing, module, zeros == NULL ? "has no qzeros" : "has no scales");
    const uint64_t n_in = quants->dims[0], words = quants->dims[1], groups = scales->dims[0];
    if (words > INT32_MAX || !rad_affine_is_matrix(quants, RAD_TYPE_I32, n_in, words) ||
        !is_float(scales) || quants->n_elements == 0 ||
        !rad_affine_is_matrix(scales, scales->type, groups, words * 8) ||
        !rad_affine_is_matrix(zeros, RAD_TYPE_I32, groups, words))
        return rad_packed_fail(packing, module,
                               "does not have qweight I32 [columns, rows / 8], scales [groups, "
                               "rows] of floats and qzeros I32 [groups, rows / 8]");
    radllm_status status = check_groups(packing, module, n_in, groups, &group_size);
    if (status == RADLLM_OK && n_in % group_size != 0)
        return rad_packed_fail(
            packing, module, "has columns that are no multiple of the configuration's group_size");
    if (status == RADLLM_OK)
        status = rad_affine_begin(packing, module, n_in, groups, &a);
    if (status != RADLLM_OK)
        return status;
    a->quant_form = RAD_QUANTS_AWQ;
    a->zero_form = RAD_ZEROS_AWQ;
    a->scale_type = scales->type;
    a->bits = a->stored_bits = 4;
    a->pitch = words * 8;
    a->quants = rad_affine_piece(quants);
    a->scales = rad_affine_piece(scales);
    a->zeros = rad_affine_piece(zeros);
    status = make_order(packing, module, a, NULL, group_size);
    return status == RADLLM_OK ? rad_affine_finish(packing, module, a, words * 8) : status;
}

/* ---- auto-round ----------------------------------------------------------------------------- */

/* It has packings of others, with settings of its own. */
radllm_status rad_round_configure(rad_packing *packing)
{
    static const char *const types[] = {"int", "int_sym", "int_asym"};
    const json_t *config = packing->config;
    int64_t activations = 16;
    size_t type;
    radllm_status status = read_sizes(packing, "bits", "group_size");
    if (status == RADLLM_OK)
        status = check_text(packing, "data_type", types[0], types, 3, &type);
    if (status == RADLLM_OK)
        status = rad_packed_integer(packing, "act_bits", 16, &activations);
    if (status == RADLLM_OK && activations < 16)
        return rad_packed_refuse(packing, "act_bits", "must be 16");
    if (json_object_size(json_object_get(config, "rotation_config")) > 0)
        return rad_packed_refuse(packing, "rotation_config",
                                 "is there: rotated activations are not computed");
    packing->any_bits = json_object_size(json_object_get(config, "extra_config")) > 0;
    packing->plain_zeros = true;
    return status;
}

/* It takes the one off as gptqmodel does. */
radllm_status rad_round_gptq_configure(rad_packing *packing)
{
    radllm_status status = rad_round_configure(packing);
    packing->plain_zeros = false;
    packing->carried_zeros = true;
    return status;
}

/* ---- compressed-tensors: integers ----------------------------------------------------------- */

/* One group of the configuration: whole numbers of 4 or 8 bits. Beside others (mixed-precision) no
 * more than these are looked at. */
static radllm_status check_scheme(rad_packing *packing, const json_t *scheme)
{
    const char *format = json_string_value(json_object_get(packing->config, "format"));
    const json_t *weights = json_object_get(scheme, "weights");
    const char *type = json_string_value(json_object_get(weights, "type"));
    const json_t *bits = json_object_get(weights, "num_bits");
    if (!json_is_object(weights))
        return rad_packed_refuse(packing, "config_groups", "hold a scheme without weights");
    const bool others = type != NULL && strcmp(type, "int") != 0;
    if (others && format != NULL && strcmp(format, "mixed-precision") == 0)
        return RADLLM_OK;
    if (others)
        return rad_packed_refuse(packing, "config_groups",
                                 "hold weights whose type is not \"int\" in this format");
    if (!json_is_integer(bits) || (json_integer_value(bits) != 4 && json_integer_value(bits) != 8))
        return rad_packed_refuse(packing, "config_groups",
                                 "hold weights whose num_bits are neither 4 nor 8");
    if (json_is_object(json_object_get(weights, "block_structure")))
        return rad_packed_refuse(packing, "config_groups", "hold weights with a block_structure");
    packing->any_bits =
        packing->any_bits || (packing->bits != 0 && packing->bits != (int)json_integer_value(bits));
    packing->bits = (int)json_integer_value(bits);
    packing->symmetric =
        packing->symmetric || !json_is_false(json_object_get(weights, "symmetric"));
    return RADLLM_OK;
}

radllm_status rad_integers_configure(rad_packing *packing)
{
    json_t *groups = json_object_get(packing->config, "config_groups"), *scheme;
    const char *name;
    radllm_status status = rad_compressed_configure(packing);
    if (status != RADLLM_OK)
        return status;
    if (json_object_size(groups) == 0)
        return rad_packed_refuse(packing, "config_groups", "are missing");
    json_object_foreach(groups, name, scheme)
    {
        if (status == RADLLM_OK)
            status = check_scheme(packing, scheme);
    }
    return status;
}

/* weight_shape says how wide rows are, since words may be padded. */
static radllm_status read_shape(const rad_packing *packing, const char *module,
                                const rad_stored *shape, uint64_t dims[2])
{
    uint8_t bytes[16];
    const bool wide = shape != NULL && shape->type == RAD_TYPE_I64;
    const size_t size = wide ? 8 : 4;
    if (shape == NULL || shape->n_elements != 2 || (!wide && shape->type != RAD_TYPE_I32))
        return rad_packed_fail(packing, module, "has no weight_shape of two whole numbers");
    radllm_status status = rad_source_read(packing->folder->source, shape->part, shape->offset,
                                           bytes, 2 * size, packing->error);
    dims[0] = dims[1] = 0;
    for (int i = 0; i < 2 && status == RADLLM_OK; i++)
        memcpy(&dims[i], bytes + (size_t)i * size, size);
    return status;
}

/* Scales [rows, groups], or one for all rows (tensor): then its row is not another's. */
static radllm_status take_scales(const rad_packing *packing, const char *module,
                                 const rad_stored *scales, uint64_t rows, uint64_t *groups)
{
    if (scales == NULL || !is_float(scales) ||
        (scales->n_dims != 2 && !(scales->n_dims == 1 && scales->dims[0] == rows)) ||
        scales->dims[0] != rows || scales->dims[1] == 0)
        return rad_packed_fail(packing, module,
                               "has no weight_scale of floats for each row, in groups or not (a "
                               "scale for the whole tensor is not read)");
    *groups = scales->dims[1];
    return RADLLM_OK;
}

static radllm_status take_zeros(const rad_packing *packing, const char *module,
                                const rad_stored *zeros, uint64_t rows, rad_packed_affine *a)
{
    a->zero_form = RAD_ZEROS_MIDDLE;
    if (zeros == NULL)
        return packing->symmetric
                   ? RADLLM_OK
                   : rad_packed_fail(packing, module,
                                     "has no weight_zero_point, though it is not symmetric");
    a->zeros = rad_affine_piece(zeros);
    a->zero_form = zeros->type == RAD_TYPE_I8 ? RAD_ZEROS_BYTES : RAD_ZEROS_BY_ROW;
    uint64_t words = (rows + 32 / (uint32_t)a->bits - 1) / (32 / (uint32_t)a->bits);
    if ((zeros->type == RAD_TYPE_I8 && zeros->n_elements == rows * a->n_groups &&
         zeros->dims[0] == rows) ||
        rad_affine_is_matrix(zeros, RAD_TYPE_I32, words, a->n_groups))
        return RADLLM_OK;
    return rad_packed_fail(packing, module,
                           "has a weight_zero_point that is neither I8 [rows, groups] nor I32 "
                           "[words, groups]");
}

/* Rows and columns of a module, from the packed words or from bytes; *bits are those of the file.
 */
static radllm_status find_integers(const rad_packing *packing, const char *module, bool words,
                                   const rad_stored *quants, uint64_t dims[2], int *bits)
{
    radllm_status status = RADLLM_OK;
    memcpy(dims, quants->dims, 2 * sizeof *dims);
    *bits = 8;
    if (words)
        status =
            read_shape(packing, module, rad_packed_part(packing, module, ".weight_shape"), dims);
    if (status == RADLLM_OK && words && dims[1] > 0 && quants->dims[1] < UINT64_MAX / 32)
        *bits = (int)(quants->dims[1] * 32 / dims[1]);
    if (status == RADLLM_OK &&
        (quants->n_dims != 2 || quants->n_elements == 0 || dims[0] != quants->dims[0] ||
         quants->type != (words ? RAD_TYPE_I32 : RAD_TYPE_I8) || (*bits != 4 && *bits != 8) ||
         dims[1] > INT32_MAX || dims[1] % BLOCK != 0 ||
         (words && quants->dims[1] * 32 != dims[1] * (uint32_t)*bits) ||
         (words && !packing->any_bits && *bits != packing->bits)))
        return rad_packed_fail(packing, module,
                               "does not have words or bytes for a multiple of 32 columns in the "
                               "bits that the configuration says");
    return status;
}

/* Where there is no other order of columns, weight_g_idx is -1 throughout. */
static radllm_status drop_empty_index(const rad_packing *packing, const rad_stored **index)
{
    int32_t first = 0;
    if (*index == NULL || (*index)->type != RAD_TYPE_I32 || (*index)->n_elements == 0)
        return RADLLM_OK;
    radllm_status status = rad_source_read(packing->folder->source, (*index)->part,
                                           (*index)->offset, &first, sizeof first, packing->error);
    if (first == -1)
        *index = NULL;
    return status;
}

/* weight_packed, or the weight itself in int8. */
radllm_status rad_integers_weight(rad_packing *packing, const char *module, rad_stored *quants)
{
    static const char ending[] = ".weight_packed";
    const size_t size = quants->name.size, tail = sizeof ending - 1;
    const bool words = size > tail && memcmp(quants->name.data + size - tail, ending, tail) == 0;
    uint64_t dims[2], groups = 0;
    rad_packed_affine *a;
    int bits;
    if (!words && quants->type != RAD_TYPE_I8)
        return RADLLM_OK; /* left in floats */
    quants->used = true;
    const rad_stored *scales = rad_packed_part(packing, module, ".weight_scale");
    const rad_stored *zeros = rad_packed_part(packing, module, ".weight_zero_point");
    const rad_stored *index = rad_packed_part(packing, module, ".weight_g_idx");
    (void)rad_packed_part(packing, module, ".input_scale"); /* activations have scales of ours */
    (void)rad_packed_part(packing, module, ".input_zero_point");
    radllm_status status = find_integers(packing, module, words, quants, dims, &bits);
    if (status == RADLLM_OK)
        status = take_scales(packing, module, scales, dims[0], &groups);
    if (status == RADLLM_OK)
        status = rad_affine_begin(packing, module, dims[1], groups, &a);
    if (status != RADLLM_OK)
        return status;
    if (dims[1] % groups != 0 ||
        (index != NULL && (index->type != RAD_TYPE_I32 || index->n_elements != dims[1])))
        return rad_packed_fail(packing, module,
                               "does not have groups of equal size, or weight_g_idx I32 [columns]");
    a->quant_form = RAD_QUANTS_BY_ROW;
    a->scale_type = scales->type;
    a->stored_bits = bits;
    a->bits = words ? bits : packing->any_bits ? 8 : packing->bits;
    a->flip = words ? 0 : 128;
    a->less = words ? 0 : 128 - (1u << (a->bits - 1));
    a->pitch = dims[0];
    a->quants = rad_affine_piece(quants);
    a->scales = rad_affine_piece(scales);
    status = take_zeros(packing, module, zeros, dims[0], a);
    if (status == RADLLM_OK)
        status = drop_empty_index(packing, &index);
    if (status == RADLLM_OK)
        status = make_order(packing, module, a, index, dims[1] / groups);
    return status == RADLLM_OK ? rad_affine_finish(packing, module, a, dims[0]) : status;
}
