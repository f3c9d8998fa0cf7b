/* Makes the tensors that GGUF has of what a folder stores. */
#include <stdio.h>
#include <string.h>

#include "io/families.h"
#include "io/packed_affine.h"

#define LAYER_NAME 192

/* ---- tensors -------------------------------------------------------------------------------- */

typedef struct translator {
    rad_folder *folder;
    const rad_folder_shape *shape;
    radllm_error *error;
    const rad_stored *embedding; /* once it was found */
} translator;

static radllm_status fail_shape(const translator *t, const rad_stored *stored, const char *what)
{
    char quoted[RAD_QUOTE_SIZE], shape[96] = "";
    for (uint32_t i = 0, n = 0; i < stored->n_dims && n < sizeof shape; i++)
        n += (uint32_t)snprintf(shape + n, sizeof shape - n, "%s%llu", i > 0 ? " x " : "",
                                (unsigned long long)stored->dims[i]);
    return rad_fail(t->error, RADLLM_E_FORMAT,
                    "%s: tensor '%s' of shape %s %s; the file does not belong to config.json: "
                    "fetch both again",
                    t->folder->source->parts[stored->part].label,
                    rad_quote(quoted, stored->name.data, stored->name.size), shape, what);
}

/* Adds a tensor of one part's bytes as they are, to be changed by the caller; NULL: no memory. */
static rad_tensor *add_tensor(const translator *t, const char *name, const rad_stored *stored)
{
    rad_source *source = t->folder->source;
    void *tensors = source->tensors;
    if (!rad_reserve(&source->host.allocator, &tensors, &source->tensors_capacity,
                     source->n_tensors + 1, sizeof *source->tensors)) {
        rad_fail_memory(t->error, (source->n_tensors + 1) * sizeof *source->tensors);
        return NULL;
    }
    source->tensors = tensors;
    size_t size = strlen(name);
    char *copy = rad_arena_copy(&source->arena, name, size);
    if (copy == NULL) {
        rad_fail_memory(t->error, size);
        return NULL;
    }
    rad_tensor_entry *entry = &source->tensors[source->n_tensors++];
    *entry = (rad_tensor_entry){.tensor = {.name = {copy, size},
                                           .type = stored->type,
                                           .n_dims = stored->n_dims < 4 ? stored->n_dims : 4,
                                           .dims = {1, 1, 1, 1},
                                           .n_elements = stored->n_elements,
                                           .n_bytes = stored->n_bytes,
                                           .part = stored->part,
                                           .offset = stored->offset,
                                           .stored = stored->name.data}};
    for (uint32_t i = 0; i < stored->n_dims; i++) /* what is beyond four is in the last one */
        entry->tensor.dims[i < 3 ? i : 3] *= stored->dims[stored->n_dims - 1 - i];
    if (entry->tensor.n_dims == 0)
        entry->tensor.n_dims = 1;
    return &entry->tensor;
}

static void set_dims(rad_tensor *tensor, uint64_t columns, uint64_t rows, uint64_t stack)
{
    const rad_type_info *info = rad_type_find((uint32_t)tensor->type);
    tensor->dims[0] = columns;
    tensor->dims[1] = rows;
    tensor->dims[2] = stack;
    tensor->dims[3] = 1;
    tensor->n_dims = stack > 1 ? 3 : rows > 1 ? 2 : 1;
    tensor->n_elements = columns * rows * stack; /* at most what is stored */
    tensor->n_bytes = tensor->n_elements / info->block_elements * info->block_bytes;
}

static size_t number_bytes(const rad_stored *stored)
{
    return rad_type_find((uint32_t)stored->type)->block_bytes;
}

/* Only numbers that stand alone can be put together anew. */
static radllm_status check_numbers(const translator *t, const rad_stored *stored)
{
    char quoted[RAD_QUOTE_SIZE];
    if (stored->packed != NULL)
        return rad_fail(t->error, RADLLM_E_UNSUPPORTED,
                        "%s: tensor '%s' is quantized, and this version reads this matrix of plain "
                        "numbers alone; fetch the model in BF16, or as a GGUF file",
                        t->folder->label, rad_quote(quoted, stored->name.data, stored->name.size));
    if (rad_type_find((uint32_t)stored->type)->block_elements != 1)
        return fail_shape(t, stored, "is of a packed type, which it cannot be");
    return RADLLM_OK;
}

/* A view of n_pieces, all beginning with `stored`; *out is in the arena. */
static radllm_status add_view(const translator *t, rad_view_form form, const rad_stored *stored,
                              uint64_t n_pieces, rad_tensor *tensor, rad_view **out)
{
    rad_arena *arena = &t->folder->source->arena;
    size_t bytes;
    *out = rad_arena_alloc_zero(arena, sizeof **out, _Alignof(rad_view));
    if (*out == NULL || !rad_mul_size((size_t)n_pieces, sizeof(rad_piece), &bytes))
        return rad_fail_memory(t->error, sizeof **out);
    rad_piece *pieces = rad_arena_alloc(arena, bytes, _Alignof(rad_piece));
    if (pieces == NULL)
        return rad_fail_memory(t->error, bytes);
    for (uint64_t i = 0; i < n_pieces; i++)
        pieces[i] = (rad_piece){stored->offset, stored->part};
    (*out)->form = form;
    (*out)->stored = stored->type;
    (*out)->pieces = pieces;
    tensor->view = *out;
    return RADLLM_OK;
}

/* The pieces as they were just made, to be written. */
static rad_piece *pieces_of(const rad_view *view)
{
    return (rad_piece *)(uintptr_t)view->pieces;
}

static void set_units(rad_view *view, uint64_t piece_units, uint64_t first, uint64_t block,
                      uint64_t stride)
{
    view->piece_units = piece_units;
    view->first = first;
    view->block = block;
    view->stride = stride;
}

static void set_bytes(rad_view *view, uint64_t n_numbers, uint64_t unit_bytes,
                      uint64_t stored_bytes)
{
    view->n_numbers = n_numbers;
    view->unit_bytes = unit_bytes;
    view->stored_bytes = stored_bytes;
}

static bool is_f8(rad_type type)
{
    return type == RAD_TYPE_F8_E4M3 || type == RAD_TYPE_F8_E5M2;
}

/* Rows of a packed weight, beginning at the first one. */
static radllm_status make_packed(const translator *t, const char *name, const rad_stored *stored,
                                 uint64_t n_pieces, rad_view **out)
{
    rad_tensor *tensor = add_tensor(t, name, stored);
    if (tensor == NULL)
        return RADLLM_E_MEMORY;
    radllm_status status = add_view(t, RAD_VIEW_PACKED, stored, n_pieces, tensor, out);
    if (status != RADLLM_OK)
        return status;
    const uint64_t units = stored->dims[0];
    for (uint64_t i = 0; i < n_pieces; i++)
        pieces_of(*out)[i].offset = 0;
    (*out)->packed = stored->packed;
    set_units(*out, units, 0, units, units);
    set_bytes(*out, stored->dims[1], stored->packed->row_bytes, stored->packed->row_bytes);
    return RADLLM_OK;
}

/* As it is; numbers of 8 bits are widened as they are read. */
static radllm_status make_plain(const translator *t, const char *name, const rad_stored *stored)
{
    rad_view *packed;
    if (stored->packed != NULL)
        return make_packed(t, name, stored, 1, &packed);
    rad_tensor *tensor = add_tensor(t, name, stored);
    rad_view *view;
    if (tensor == NULL)
        return RADLLM_E_MEMORY;
    if (!is_f8(stored->type) || stored->n_elements == 0)
        return RADLLM_OK;
    radllm_status status = add_view(t, RAD_VIEW_BF16, stored, 1, tensor, &view);
    if (status != RADLLM_OK)
        return status;
    tensor->type = RAD_TYPE_BF16;
    tensor->n_bytes = 2 * stored->n_elements;
    uint64_t columns = stored->n_dims > 1 ? tensor->dims[0] : 1;
    uint64_t units = stored->n_elements / columns;
    set_units(view, units, 0, units, units);
    set_bytes(view, columns, 2 * columns, columns);
    return RADLLM_OK;
}

static radllm_status make_plus_one(const translator *t, const char *name, const rad_stored *stored)
{
    const rad_type_info *info = rad_type_find((uint32_t)stored->type);
    rad_tensor *tensor = add_tensor(t, name, stored);
    rad_view *view;
    if (tensor == NULL)
        return RADLLM_E_MEMORY;
    if (info->family != RAD_FAMILY_FLOAT || stored->n_elements == 0)
        return fail_shape(t, stored, "must hold numbers of type F32, F16 or BF16");
    radllm_status status = add_view(t, RAD_VIEW_PLUS_ONE, stored, 1, tensor, &view);
    if (status != RADLLM_OK)
        return status;
    tensor->type = RAD_TYPE_F32;
    tensor->n_bytes = sizeof(float) * stored->n_elements;
    set_units(view, stored->n_elements, 0, stored->n_elements, stored->n_elements);
    set_bytes(view, 1, sizeof(float), info->block_bytes);
    return RADLLM_OK;
}

/* A tensor that a view makes of a stack of parts of so many bytes, all of numbers. */
static radllm_status add_stack(const translator *t, const char *name, const rad_stored *stored,
                               rad_view_form form, uint64_t stack, uint64_t part_bytes,
                               rad_tensor **tensor, rad_view **view)
{
    radllm_status status = check_numbers(t, stored);
    if (status != RADLLM_OK)
        return status;
    *tensor = add_tensor(t, name, stored);
    if (*tensor == NULL)
        return RADLLM_E_MEMORY;
    status = add_view(t, form, stored, stack, *tensor, view);
    for (uint64_t i = 0; status == RADLLM_OK && i < stack; i++)
        pieces_of(*view)[i].offset += i * part_bytes;
    return status;
}

/* Matrices [rows, columns], one or stacked, whose columns first, first + stride, ... (n of them, a
 * block at a time) are the rows of the tensor. */
static radllm_status make_columns(const translator *t, const char *name, const rad_stored *stored,
                                  uint64_t n, uint64_t first, uint64_t block, uint64_t stride)
{
    const uint64_t stack = stored->n_dims == 3 ? stored->dims[0] : 1;
    const uint64_t rows = stored->dims[stored->n_dims - 2];
    const uint64_t columns = stored->dims[stored->n_dims - 1];
    const size_t size = number_bytes(stored);
    rad_tensor *tensor = NULL;
    rad_view *view = NULL;
    radllm_status status =
        add_stack(t, name, stored, RAD_VIEW_COLUMNS, stack, rows * columns * size, &tensor, &view);
    if (status != RADLLM_OK)
        return status;
    set_dims(tensor, rows, n, stack);
    set_units(view, n, first, block, stride);
    set_bytes(view, rows, rows * size, columns * size);
    return RADLLM_OK;
}

static radllm_status make_transposed(const translator *t, const char *name,
                                     const rad_stored *stored, uint32_t n_dims)
{
    if (stored->n_dims != n_dims || stored->n_elements == 0)
        return fail_shape(t, stored,
                          n_dims == 2 ? "must have two dimensions above 0"
                                      : "must have three dimensions above 0");
    uint64_t columns = stored->dims[n_dims - 1];
    return make_columns(t, name, stored, columns, 0, columns, columns);
}

/* A matrix less its first rows. */
static radllm_status make_positions(const translator *t, const char *name, const rad_stored *stored)
{
    const uint64_t first = t->shape->first_position;
    if (stored->n_dims != 2 || stored->n_elements == 0 || stored->dims[0] <= first)
        return fail_shape(t, stored,
                          "must have two dimensions, and more rows than pad_token_id leaves out");
    if (first == 0)
        return make_plain(t, name, stored);
    radllm_status status = check_numbers(t, stored);
    rad_tensor *tensor = status == RADLLM_OK ? add_tensor(t, name, stored) : NULL;
    if (tensor == NULL)
        return status == RADLLM_OK ? RADLLM_E_MEMORY : status;
    set_dims(tensor, stored->dims[1], stored->dims[0] - first, 1);
    tensor->offset += first * stored->dims[1] * number_bytes(stored);
    return RADLLM_OK;
}

/* Rows of stacked matrices [stack, all, columns], or numbers of stacked vectors [stack, all]: n of
 * each. */
static radllm_status make_rows(const translator *t, const char *name, const rad_stored *stored,
                               bool vectors, uint64_t n, uint64_t first, uint64_t block,
                               uint64_t stride)
{
    const uint64_t stack = stored->dims[0], all = stored->dims[1];
    const uint64_t columns = vectors ? 1 : stored->dims[2];
    const size_t size = number_bytes(stored);
    rad_tensor *tensor = NULL;
    rad_view *view = NULL;
    radllm_status status =
        add_stack(t, name, stored, RAD_VIEW_ROWS, stack, all * columns * size, &tensor, &view);
    if (status != RADLLM_OK)
        return status;
    if (vectors)
        set_dims(tensor, n, stack, 1);
    else
        set_dims(tensor, columns, n, stack);
    set_units(view, n, first, block, stride);
    set_bytes(view, columns, columns * size, columns * size);
    return RADLLM_OK;
}

static radllm_status make_half_stack(const translator *t, const char *name,
                                     const rad_stored *stored, bool second)
{
    if (stored->n_dims != 3 || stored->n_elements == 0 || stored->dims[1] % 2 != 0)
        return fail_shape(t, stored, "must have three dimensions, the second one even");
    uint64_t n = stored->dims[1] / 2;
    return make_rows(t, name, stored, false, n, second ? n : 0, n, n);
}

static radllm_status make_turns(const translator *t, const char *name, const rad_stored *stored,
                                bool second)
{
    uint64_t all = stored->n_dims > 0 ? stored->dims[stored->n_dims - 1] : 0;
    if ((stored->n_dims != 2 && stored->n_dims != 3) || stored->n_elements == 0 || all % 2 != 0)
        return fail_shape(t, stored, "must have two or three dimensions, the last one even");
    if (stored->n_dims == 2)
        return make_rows(t, name, stored, true, all / 2, second, 1, 2);
    return make_columns(t, name, stored, all / 2, second, 1, 2);
}

static radllm_status make_heads_qkv(const translator *t, const char *name, const rad_stored *stored)
{
    const uint64_t heads = t->shape->n_heads, all = stored->n_dims > 0 ? stored->dims[0] : 0;
    const bool vector = stored->n_dims == 1;
    if ((!vector && stored->n_dims != 2) || stored->n_elements == 0 || all % (3 * heads) != 0)
        return fail_shape(
            t, stored, "must have three rows for each value of n_head (num_attention_heads) heads");
    uint64_t head = all / 3 / heads, columns = vector ? 1 : stored->dims[1];
    if (stored->packed != NULL) {
        rad_view *packed;
        radllm_status made = make_packed(t, name, stored, 3, &packed);
        if (made != RADLLM_OK)
            return made;
        for (uint64_t i = 0; i < 3; i++)
            pieces_of(packed)[i].offset = i * head;
        set_units(packed, heads * head, 0, head, 3 * head);
        return RADLLM_OK;
    }
    size_t size = number_bytes(stored);
    radllm_status status = check_numbers(t, stored);
    rad_tensor *tensor = status == RADLLM_OK ? add_tensor(t, name, stored) : NULL;
    rad_view *view;
    if (tensor == NULL)
        return status == RADLLM_OK ? RADLLM_E_MEMORY : status;
    status = add_view(t, RAD_VIEW_ROWS, stored, 3, tensor, &view);
    if (status != RADLLM_OK)
        return status;
    for (uint64_t i = 0; i < 3; i++)
        pieces_of(view)[i].offset += i * head * columns * size;
    set_units(view, heads * head, 0, head, 3 * head);
    set_bytes(view, columns, columns * size, columns * size);
    return RADLLM_OK;
}

/* kv_b_proj: for each head the rows of its key, then those of its value, of `rank` columns. */
static radllm_status make_latent(const translator *t, const char *name, const rad_stored *stored,
                                 bool values)
{
    const uint64_t heads = t->shape->n_heads, plain = t->shape->latent_plain;
    const uint64_t value = t->shape->latent_value;
    uint64_t rows;
    if (stored->n_dims != 2 || stored->n_elements == 0 ||
        !rad_mul_u64(heads, plain + value, &rows) || rows != stored->dims[0])
        return fail_shape(
            t, stored,
            "must have rows for the keys and values of all heads: num_attention_heads times "
            "qk_nope_head_dim and v_head_dim");
    uint64_t rank = stored->dims[1];
    size_t size = number_bytes(stored);
    radllm_status status = check_numbers(t, stored);
    rad_tensor *tensor = status == RADLLM_OK ? add_tensor(t, name, stored) : NULL;
    rad_view *view;
    if (tensor == NULL)
        return status == RADLLM_OK ? RADLLM_E_MEMORY : status;
    status = add_view(t, values ? RAD_VIEW_ROWS : RAD_VIEW_COLUMNS, stored, heads, tensor, &view);
    if (status != RADLLM_OK)
        return status;
    for (uint64_t i = 0; i < heads; i++)
        pieces_of(view)[i].offset += (i * (plain + value) + (values ? plain : 0)) * rank * size;
    uint64_t columns = values ? rank : plain, units = values ? value : rank;
    set_dims(tensor, columns, units, heads);
    set_units(view, units, 0, units, units);
    set_bytes(view, columns, columns * size, rank * size);
    return RADLLM_OK;
}

/* ---- tensors made of several ---------------------------------------------------------------- */

/* "%u" in the name is the expert's number. */
static rad_stored *find_expert(const translator *t, const char *pattern, uint32_t expert)
{
    char name[LAYER_NAME];
    const char *at = strstr(pattern, "%u");
    snprintf(name, sizeof name, "%.*s%u%s", (int)(at - pattern), pattern, expert, at + 2);
    return rad_stored_find(&t->folder->stored, name);
}

/* A tensor for each expert, named as files of 2023 have them: blk.3.ffn_gate.5.weight. */
static radllm_status make_experts(const translator *t, const char *name, const char *pattern)
{
    const char *end = strstr(name, "_exps.");
    radllm_status status = RADLLM_OK;
    rad_affine_blocks blocks = {0, 128};
    for (uint32_t i = 0; i < t->shape->n_experts; i++) {
        const rad_stored *expert = find_expert(t, pattern, i);
        if (expert == NULL)
            break;
        rad_affine_gather(expert, &blocks);
    }
    for (uint32_t i = 0; i < t->shape->n_experts && status == RADLLM_OK; i++) {
        char one[LAYER_NAME];
        rad_stored *expert = find_expert(t, pattern, i);
        if (expert == NULL)
            return RADLLM_OK; /* the first one: they are named otherwise; else binding tells */
        snprintf(one, sizeof one, "%.*s.%u.%s", (int)(end - name), name, i, end + 6);
        expert->used = true;
        rad_affine_set_blocks(expert, &blocks);
        status = make_plain(t, one, expert);
    }
    return status;
}

/* NAME_blocks U8 [experts, rows, columns / 32, 16] and NAME_scales U8 [experts, rows, columns /
 * 32]. first, stride: which rows of each expert. */
static radllm_status make_mxfp4(const translator *t, const char *name, const char *stored_name,
                                uint64_t first, uint64_t stride)
{
    char full[LAYER_NAME];
    snprintf(full, sizeof full, "%s_blocks", stored_name);
    rad_stored *blocks = rad_stored_find(&t->folder->stored, full);
    snprintf(full, sizeof full, "%s_scales", stored_name);
    rad_stored *scales = rad_stored_find(&t->folder->stored, full);
    if (blocks == NULL && scales == NULL)
        return RADLLM_OK;
    if (blocks == NULL || scales == NULL)
        return fail_shape(t, blocks == NULL ? scales : blocks,
                          "has no companion of scales or blocks");
    if (blocks->type != RAD_TYPE_U8 || scales->type != RAD_TYPE_U8 || blocks->n_dims != 4 ||
        scales->n_dims != 3 || blocks->dims[3] != 16 || blocks->n_elements == 0 ||
        memcmp(blocks->dims, scales->dims, 3 * sizeof *blocks->dims) != 0 ||
        blocks->dims[1] % stride != 0)
        return fail_shape(t, blocks,
                          "and its scales must be U8 [experts, rows, blocks, 16] and "
                          "[experts, rows, blocks]");
    const uint64_t stack = blocks->dims[0], rows = blocks->dims[1], in_row = blocks->dims[2];
    rad_tensor *tensor = add_tensor(t, name, blocks);
    rad_view *view;
    if (tensor == NULL)
        return RADLLM_E_MEMORY;
    radllm_status status = add_view(t, RAD_VIEW_MXFP4, blocks, stack, tensor, &view);
    if (status != RADLLM_OK)
        return status;
    rad_piece *of_scales =
        rad_arena_alloc(&t->folder->source->arena, stack * sizeof *of_scales, _Alignof(rad_piece));
    if (of_scales == NULL)
        return rad_fail_memory(t->error, stack * sizeof *of_scales);
    for (uint64_t i = 0; i < stack; i++) {
        pieces_of(view)[i].offset += i * rows * in_row * 16;
        of_scales[i] = (rad_piece){scales->offset + i * rows * in_row, scales->part};
    }
    view->scales = of_scales;
    blocks->used = scales->used = true;
    tensor->type = RAD_TYPE_MXFP4;
    set_dims(tensor, in_row * 32, rows / stride, stack);
    set_units(view, rows / stride, first, 1, stride);
    set_bytes(view, in_row * 32, in_row * 17, in_row * 16);
    return RADLLM_OK;
}

static radllm_status make(const translator *t, rad_form form, const char *name,
                          const rad_stored *stored)
{
    switch (form) {
    case FORM_PLAIN:
        return make_plain(t, name, stored);
    case FORM_PLUS_ONE:
        return make_plus_one(t, name, stored);
    case FORM_TRANSPOSED: /* a packed weight is [out, in] whatever it was made of */
        return stored->packed != NULL ? make_plain(t, name, stored)
                                      : make_transposed(t, name, stored, 2);
    case FORM_STACK_TURNED:
        return make_transposed(t, name, stored, 3);
    case FORM_STACK_GATE:
    case FORM_STACK_UP:
        return make_half_stack(t, name, stored, form == FORM_STACK_UP);
    case FORM_TURNS_GATE:
    case FORM_TURNS_UP:
        return make_turns(t, name, stored, form == FORM_TURNS_UP);
    case FORM_HEADS_QKV:
        return make_heads_qkv(t, name, stored);
    case FORM_LATENT_BOTH:
        return t->shape->latent_whole ? make_plain(t, name, stored) : RADLLM_OK;
    case FORM_LATENT_KEYS:
    case FORM_LATENT_VALUES:
        if (t->shape->latent_whole)
            return RADLLM_OK;
        return make_latent(t, name, stored, form == FORM_LATENT_VALUES);
    case FORM_POSITIONS:
        return make_positions(t, name, stored);
    default:
        return RADLLM_OK;
    }
}

/* One row of a table, with full names. */
static radllm_status translate_row(const translator *t, rad_form form, const char *name,
                                   const char *stored_name)
{
    if (form == FORM_EXPERTS)
        return make_experts(t, name, stored_name);
    if (form == FORM_MXFP4)
        return make_mxfp4(t, name, stored_name, 0, 1);
    if (form == FORM_MXFP4_GATE || form == FORM_MXFP4_UP)
        return make_mxfp4(t, name, stored_name, form == FORM_MXFP4_UP, 2);
    rad_stored *stored = rad_stored_find(&t->folder->stored, stored_name);
    if (stored == NULL)
        return RADLLM_OK;
    stored->used = true;
    return make(t, form, name, stored);
}

static void leave_out(const translator *t, const char *begin, size_t size)
{
    for (size_t i = 0; i < t->folder->stored.count; i++) {
        rad_stored *stored = &t->folder->stored.items[i];
        if (strncmp(stored->name.data, begin, size) == 0)
            stored->used = true;
    }
}

/* Whether two tensors hold the same bytes. */
static radllm_status compare(const translator *t, const rad_stored *a, const rad_stored *b,
                             bool *same)
{
    enum { BYTES = 1 << 18 };
    const rad_source *source = t->folder->source;
    const rad_allocator *allocator = &source->host.allocator;
    radllm_status status = RADLLM_OK;
    uint8_t *bytes = rad_alloc(allocator, 2 * (size_t)BYTES);
    if (bytes == NULL)
        return rad_fail_memory(t->error, 2 * (size_t)BYTES);
    *same = a->type == b->type && a->n_dims == b->n_dims && a->n_bytes == b->n_bytes &&
            memcmp(a->dims, b->dims, sizeof a->dims) == 0;
    for (uint64_t at = 0; *same && at < a->n_bytes && status == RADLLM_OK; at += BYTES) {
        size_t n = a->n_bytes - at < BYTES ? (size_t)(a->n_bytes - at) : BYTES;
        status = rad_source_read(source, a->part, a->offset + at, bytes, n, t->error);
        if (status == RADLLM_OK)
            status = rad_source_read(source, b->part, b->offset + at, bytes + BYTES, n, t->error);
        *same = status == RADLLM_OK && memcmp(bytes, bytes + BYTES, n) == 0;
    }
    rad_free(allocator, bytes, 2 * (size_t)BYTES);
    return status;
}

/* A stored output that the configuration says is the embedding: is it? Adapters that were merged
 * may have changed one of the two, as `transformers` 5 notices; and ExLlamaV2 quantizes the output
 * apart, and computes with that. */
static radllm_status check_tied(const translator *t, const rad_stored *output, bool *tied)
{
    const rad_stored *embedding = t->embedding;
    *tied = t->shape->tied;
    if (!*tied || embedding == NULL)
        return RADLLM_OK;
    radllm_status status = RADLLM_OK;
    *tied = false;
    if (embedding->packed != NULL || output->packed != NULL)
        return RADLLM_OK;
    status = compare(t, embedding, output, tied);
    if (status == RADLLM_OK && !*tied)
        rad_log_line(&t->folder->source->host, RADLLM_LOG_WARNING,
                     "%s: %s is another matrix than the embedding, which config.json says it is "
                     "(tie_word_embeddings): both are used as they are",
                     t->folder->label, output->name.data);
    return status;
}

/* Rows of the whole model; a name may be one of several. */
static radllm_status translate_ends(translator *t, const rad_name_row *row)
{
    radllm_status status = RADLLM_OK;
    const char *names = row->stored;
    while (*names != '\0' && status == RADLLM_OK) {
        char stored[LAYER_NAME];
        size_t size = strcspn(names, "|");
        snprintf(stored, sizeof stored, "%.*s", (int)size, names);
        if (row->form == FORM_NONE_OF)
            leave_out(t, names, size);
        rad_stored *found = rad_stored_find(&t->folder->stored, stored);
        bool tied = false;
        if (found != NULL && strcmp(row->gguf, "token_embd.weight") == 0)
            t->embedding = found;
        if (found != NULL && strcmp(row->gguf, "output.weight") == 0)
            status = check_tied(t, found, &tied);
        if (tied)
            found->used = true; /* the embedding once more */
        else if (found != NULL && status == RADLLM_OK)
            return translate_row(t, row->form, row->gguf, stored);
        names += size + (names[size] == '|');
    }
    return status;
}

static radllm_status translate_layer(const translator *t, const rad_name_row *rows,
                                     const char *prefix, size_t prefix_size, uint32_t layer)
{
    radllm_status status = RADLLM_OK;
    for (; rows->stored != NULL && status == RADLLM_OK; rows++) {
        char name[64], stored[LAYER_NAME];
        snprintf(name, sizeof name, "blk.%u.%s", layer, rows->gguf != NULL ? rows->gguf : "");
        snprintf(stored, sizeof stored, "%.*s%u.%s", (int)prefix_size, prefix, layer, rows->stored);
        status = translate_row(t, rows->form, name, stored);
    }
    return status;
}

/* Layers behind the model's own, which guess further tokens (DeepSeek-V3). */
static void leave_out_extra_layers(const translator *t, const char *prefix, size_t prefix_size)
{
    char begin[LAYER_NAME];
    for (uint32_t i = 0; i < t->shape->extra_layers && i < 16; i++) {
        int size = snprintf(begin, sizeof begin, "%.*s%u.", (int)prefix_size, prefix,
                            t->shape->n_layers + i);
        leave_out(t, begin, (size_t)size);
    }
}

/* Whether any tensor's name begins with prefix. */
static bool has_prefix(const rad_stored_table *table, const char *prefix, size_t size)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->items[i].name.size >= size &&
            memcmp(table->items[i].name.data, prefix, size) == 0)
            return true;
    }
    return false;
}

static radllm_status translate_layers(const translator *t, const rad_name_row *rows,
                                      const char *prefixes)
{
    size_t size = strcspn(prefixes, "|");
    while (prefixes[size] == '|' && !has_prefix(&t->folder->stored, prefixes, size)) {
        prefixes += size + 1;
        size = strcspn(prefixes, "|");
    }
    radllm_status status = RADLLM_OK;
    /* No more layers than tensors: a count alone does not make work. */
    for (uint32_t i = 0;
         i < t->shape->n_layers && i < t->folder->stored.count && status == RADLLM_OK; i++)
        status = translate_layer(t, rows, prefixes, size, i);
    if (status == RADLLM_OK)
        leave_out_extra_layers(t, prefixes, size);
    return status;
}

/* A bias of zeros, which some quantizers give to every matrix. */
static bool is_no_bias(const translator *t, const rad_stored *stored)
{
    enum { BYTES_MAX = 1 << 18 };
    const rad_source *source = t->folder->source;
    if (stored->packed != NULL || stored->n_bytes > BYTES_MAX || t->folder->config == NULL ||
        !rad_ends_with(stored->name.data, stored->name.size, ".bias"))
        return false;
    uint8_t bytes[256] = {0};
    uint8_t any = 0;
    for (uint64_t at = 0; at < stored->n_bytes && any == 0; at += sizeof bytes) {
        uint64_t left = stored->n_bytes - at;
        size_t n = left < sizeof bytes ? (size_t)left : sizeof bytes;
        if (rad_source_read(source, stored->part, stored->offset + at, bytes, n, NULL) != RADLLM_OK)
            return false;
        for (size_t i = 0; i < n; i++)
            any |= bytes[i];
    }
    return any == 0;
}

/* Whatever no row took keeps its name: binding refuses it then, so that nothing is left out in
 * silence. */
static radllm_status add_rest(const translator *t)
{
    for (size_t i = 0; i < t->folder->stored.count; i++) {
        const rad_stored *stored = &t->folder->stored.items[i];
        radllm_status status = RADLLM_OK;
        if (!stored->used && stored->packed != NULL)
            status = make_plain(t, stored->name.data, stored);
        else if (!stored->used && !is_no_bias(t, stored) &&
                 add_tensor(t, stored->name.data, stored) == NULL)
            status = RADLLM_E_MEMORY;
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

/* Tensors of a part of the model that is not run. */
static void leave_out_others(const translator *t)
{
    const rad_folder *folder = t->folder;
    for (size_t i = 0; folder->left_out != NULL && i < folder->stored.count; i++) {
        rad_stored *stored = &folder->stored.items[i];
        stored->used = stored->used || rad_begins_with_one_of(stored->name.data, folder->left_out);
    }
}

static radllm_status add_defaults(rad_folder *folder, const rad_folder_family *family,
                                  radllm_error *error)
{
    if (family->defaults == NULL)
        return RADLLM_OK;
    json_t *defaults = json_loads(family->defaults, 0, NULL);
    int failed = json_object_update_missing(folder->config, defaults);
    json_decref(defaults);
    return failed == 0 ? RADLLM_OK : rad_fail_memory(error, strlen(family->defaults));
}

static radllm_status translate_tensors(translator *t, const rad_folder_family *family)
{
    radllm_status status = RADLLM_OK;
    const rad_name_row *row = family->rows;
    for (; row->gguf != NULL && status == RADLLM_OK; row++)
        status = translate_ends(t, row);
    return status == RADLLM_OK ? translate_layers(t, row + 1, row->stored) : status;
}

/* Without its matrix for the output a model would compute with the embedding, which is something
 * else where the configuration says so. A model that gives embeddings needs neither. */
static radllm_status check_output(const rad_folder *folder, const rad_folder_family *family,
                                  radllm_error *error)
{
    char key[64];
    const rad_name_row *row = family->rows;
    snprintf(key, sizeof key, "%s.pooling_type", family->architecture);
    while (row->gguf != NULL && strcmp(row->gguf, "output.weight") != 0)
        row++;
    if (row->gguf == NULL || !json_is_false(json_object_get(folder->config, "tie_word_embeddings")))
        return RADLLM_OK;
    if (folder->stored.count == 0 || /* a bare configuration */
        rad_source_find_tensor(folder->source, "output.weight") != NULL ||
        rad_source_find_meta(folder->source, key) != NULL)
        return RADLLM_OK;
    return rad_fail(
        error, RADLLM_E_FORMAT,
        "%s: the tensor '%s' is missing, which config.json says is not the embedding "
        "(tie_word_embeddings is false); the folder is incomplete: fetch all its files, of "
        "a model for embeddings modules.json and 1_Pooling/config.json too",
        folder->label, row->stored);
}

radllm_status rad_folder_translate(rad_folder *folder, radllm_error *error)
{
    rad_source *source = folder->source;
    rad_folder_shape shape = {0};
    translator t = {.folder = folder, .shape = &shape, .error = error};
    const rad_folder_family *family = NULL;
    radllm_status status = RADLLM_OK;
    if (folder->config != NULL) {
        status = rad_folder_take_text(folder, error);
        if (status == RADLLM_OK)
            status = rad_folder_find_family(folder, &family, error);
        if (status == RADLLM_OK)
            status = add_defaults(folder, family, error);
        if (status == RADLLM_OK) {
            leave_out_others(&t);
            status = rad_packed_find(folder, error);
        }
        if (status == RADLLM_OK)
            status = rad_folder_configure(folder, family, &shape, error);
        if (status == RADLLM_OK)
            status = translate_tensors(&t, family);
        source->tied = shape.tied;
    }
    if (status == RADLLM_OK)
        status = add_rest(&t);
    if (status == RADLLM_OK)
        status = rad_meta_table_finish(source, source->label, &source->metadata, error);
    if (status == RADLLM_OK)
        status = rad_tensors_finish(source, false, error);
    return status == RADLLM_OK && family != NULL ? check_output(folder, family, error) : status;
}
