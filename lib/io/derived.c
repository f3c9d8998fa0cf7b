#include "io/derived.h"

#include <string.h>

#include "io/view.h"

/* What a tensor is made of: in the arena of its source. */
struct rad_derivation {
    const rad_source *base;
    rad_derived_form form;
    const rad_tensor **from; /* NULL: of `values` */
    const rad_tensor *behind;
    const uint8_t *values;
    uint32_t n_from;
    uint64_t rows_each; /* of each of `from` */
    uint64_t first;
    rad_row_order order;
    uint64_t row_bytes; /* in the base */
    uint64_t columns;   /* TURNED: of a row as it becomes */
    float added;
    rad_change_fn change;
    void *user;
    bool turns;
    bool wide;    /* numbers of any type as F32 */
    bool decoded; /* rows of types that no GGUF file has, or with a scale of their own, as F32 */
};

/* Whether rows of such a tensor can be decoded. */
static bool is_decodable(const rad_tensor *from)
{
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    uint32_t n = 0;
    if (!rad_tensor_is_own(from) || info->decode == NULL ||
        (from->type >= RAD_TYPE_FOREIGN && from->view == NULL))
        return false;
    (void)rad_tensor_columns(from, &n);
    return n % info->block_elements == 0;
}

radllm_status rad_derived_new(rad_source *base, rad_source **out, radllm_error *error)
{
    radllm_status status = rad_source_new(&base->host, out, error);
    if (status != RADLLM_OK)
        return status;
    rad_source *source = *out;
    source->base = rad_source_retain(base);
    source->beside = base->beside;
    source->path = (char *)(uintptr_t) "";
    source->foreign = true;
    source->alignment = 32;
    memcpy(source->label, base->label, sizeof source->label);
    return RADLLM_OK;
}

void rad_derived_keep_texts(rad_source *derived)
{
    derived->beside = true;
}

const rad_source *rad_derived_base(const rad_source *source)
{
    while (source->base != NULL)
        source = source->base;
    return source;
}

/* ---- metadata ------------------------------------------------------------------------------- */

static radllm_status copy_strings(rad_source *source, rad_meta *meta, radllm_error *error)
{
    const rad_text *from = meta->strings;
    size_t bytes;
    if (!rad_mul_size((size_t)meta->count, sizeof(rad_text), &bytes))
        return rad_fail_memory(error, SIZE_MAX);
    rad_text *strings = rad_arena_alloc(&source->arena, bytes + 1, _Alignof(rad_text));
    if (strings == NULL)
        return rad_fail_memory(error, bytes);
    for (uint64_t i = 0; i < meta->count; i++) {
        char *copy = rad_arena_copy(&source->arena, from[i].data, from[i].size);
        if (copy == NULL)
            return rad_fail_memory(error, from[i].size);
        strings[i] = (rad_text){copy, from[i].size};
    }
    meta->strings = strings;
    return RADLLM_OK;
}

static size_t item_bytes(rad_meta_type type)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[type];
}

radllm_status rad_derived_add_meta(rad_source *derived, const rad_meta *meta, radllm_error *error)
{
    rad_meta_table *table = &derived->metadata;
    void *entries = table->entries;
    rad_meta copy = *meta;
    copy.key.data = rad_arena_copy(&derived->arena, meta->key.data, meta->key.size);
    if (copy.key.data == NULL || !rad_reserve(&derived->host.allocator, &entries, &table->capacity,
                                              table->count + 1, sizeof *table->entries))
        return rad_fail_memory(error, (table->count + 1) * sizeof *table->entries);
    table->entries = entries;
    if (meta->type == RAD_META_STRING) {
        radllm_status status = copy_strings(derived, &copy, error);
        if (status != RADLLM_OK)
            return status;
    } else {
        size_t bytes = (size_t)meta->count * item_bytes(meta->type);
        copy.items =
            (const uint8_t *)rad_arena_copy(&derived->arena, (const char *)meta->items, bytes);
        if (copy.items == NULL)
            return rad_fail_memory(error, bytes);
    }
    table->entries[table->count++] = (rad_meta_entry){.meta = copy};
    return RADLLM_OK;
}

radllm_status rad_derived_add_integer(rad_source *derived, const char *key, rad_meta_type type,
                                      uint64_t value, radllm_error *error)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    rad_meta meta = {.key = {key, strlen(key)}, .type = type, .count = 1, .items = bytes};
    return rad_derived_add_meta(derived, &meta, error);
}

radllm_status rad_derived_add_f32(rad_source *derived, const char *key, float value,
                                  radllm_error *error)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return rad_derived_add_integer(derived, key, RAD_META_F32, bits, error);
}

radllm_status rad_derived_add_text(rad_source *derived, const char *key, const char *text,
                                   size_t size, radllm_error *error)
{
    rad_text value = {text, size};
    rad_meta meta = {
        .key = {key, strlen(key)}, .type = RAD_META_STRING, .count = 1, .strings = &value};
    return rad_derived_add_meta(derived, &meta, error);
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* Appends a tensor with a view and its derivation, both zeroed but for what names them. */
static radllm_status append(rad_source *source, const char *name, rad_tensor **tensor,
                            rad_view **view, struct rad_derivation **derivation,
                            radllm_error *error)
{
    rad_arena *arena = &source->arena;
    void *tensors = source->tensors;
    size_t size = strlen(name);
    char *copy = rad_arena_copy(arena, name, size);
    *view = rad_arena_alloc_zero(arena, sizeof **view, _Alignof(rad_view));
    *derivation = rad_arena_alloc_zero(arena, sizeof **derivation, _Alignof(struct rad_derivation));
    if (copy == NULL || *view == NULL || *derivation == NULL ||
        !rad_reserve(&source->host.allocator, &tensors, &source->tensors_capacity,
                     source->n_tensors + 1, sizeof *source->tensors))
        return rad_fail_memory(error, (source->n_tensors + 1) * sizeof *source->tensors);
    source->tensors = tensors;
    rad_tensor_entry *entry = &source->tensors[source->n_tensors++];
    *entry = (rad_tensor_entry){.tensor = {.name = {copy, size}, .view = *view}};
    (*view)->form = RAD_VIEW_DERIVED;
    (*view)->derivation = *derivation;
    *tensor = &entry->tensor;
    return RADLLM_OK;
}

static radllm_status fail_shape(const rad_source *source, const rad_tensor *from, const char *name,
                                radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: the tensor '%s' has not the shape or type that '%s' is made of: the file "
                    "does not belong to its configuration; fetch it again",
                    source->label, rad_quote(quoted, from->name.data, from->name.size), name);
}

/* Whether the columns of matrices, and what stands behind them, make up the whole. */
static bool fits_turned(const rad_derived_tensor *wanted)
{
    const rad_tensor *from = wanted->from[0], *behind = wanted->behind;
    uint64_t rows = from->dims[0], columns;
    bool fits = rad_type_find((uint32_t)from->type)->decode != NULL && from->n_elements > 0 &&
                rad_mul_u64(from->dims[1], wanted->n_from, &columns) && columns == wanted->dims[0];
    if (behind != NULL)
        fits = fits && wanted->n_from == 1 && behind->dims[0] == wanted->dims[0] &&
               behind->dims[2] == from->dims[2] && behind->dims[3] == 1 &&
               rad_type_find((uint32_t)behind->type)->decode != NULL &&
               behind->dims[0] % rad_type_find((uint32_t)behind->type)->block_elements == 0 &&
               rad_type_find((uint32_t)behind->type)->tail_bytes == 0 &&
               rad_add_u64(rows, behind->dims[1], &rows);
    return fits && from->dims[3] == 1 && wanted->dims[3] == 1 &&
           rad_mul_u64(rows, from->dims[2], &rows) && rows == wanted->dims[1] * wanted->dims[2];
}

/* Whether rows make up the whole. */
static bool fits_rows(const rad_derived_tensor *wanted, const struct rad_derivation *d,
                      uint64_t rows)
{
    const rad_tensor *from = wanted->from[0];
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    uint64_t order = wanted->order.a * wanted->order.b * wanted->order.run;
    bool blocks = wanted->form == RAD_DERIVED_CODES || wanted->form == RAD_DERIVED_SCALES;
    return d->rows_each * d->columns == from->n_elements && wanted->first <= d->rows_each &&
           rows <= wanted->n_from * (d->rows_each - wanted->first) &&
           (wanted->first > 0 || wanted->n_from == 1 || rows == wanted->n_from * d->rows_each) &&
           (info->block_elements == 1 || d->decoded || d->columns % info->block_elements == 0) &&
           (!d->decoded || is_decodable(from)) &&
           (wanted->order.a == 0 || (order > 0 && d->rows_each % order == 0)) &&
           (wanted->added == 0.0f || info->family == RAD_FAMILY_FLOAT) &&
           (wanted->change == NULL || (info->decode != NULL && wanted->n_from == 1)) &&
           (!blocks || from->type == RAD_TYPE_MXFP4);
}

/* Sizes of the parts, and whether they make up the whole. */
static radllm_status measure(const rad_source *source, const rad_derived_tensor *wanted,
                             rad_tensor *tensor, struct rad_derivation *d, radllm_error *error)
{
    const rad_tensor *from = wanted->from[0];
    bool turned = wanted->form == RAD_DERIVED_TURNED;
    uint64_t rows = 1, each = from->n_elements;
    for (int i = 1; i < 4; i++)
        rows *= wanted->dims[i]; /* at most what the parts hold: checked below */
    d->decoded = rad_tensor_is_own(from);
    bool vector = rows == 1 && !turned && !d->decoded; /* one row of blocks stays one */
    uint64_t row = wanted->row != 0 ? wanted->row : vector ? 1 : wanted->dims[0];
    bool blocks = wanted->form == RAD_DERIVED_CODES || wanted->form == RAD_DERIVED_SCALES;
    d->columns = row;
    if (!blocks && row != 0)
        rows = wanted->dims[0] / row * rows;
    else if (blocks) /* in the last dimensions but one there are codes, in blocks */
        rows = wanted->form == RAD_DERIVED_CODES ? wanted->dims[2] * wanted->dims[3]
                                                 : wanted->dims[1] * wanted->dims[2];
    d->rows_each = d->columns > 0 ? each / d->columns : 0;
    if (each == 0 || (turned ? !fits_turned(wanted) : !fits_rows(wanted, d, rows)))
        return fail_shape(source, from, wanted->name, error);
    for (uint32_t i = 1; i < wanted->n_from; i++)
        if ((d->decoded
                 ? !is_decodable(wanted->from[i])
                 : wanted->from[i]->type != from->type || rad_tensor_is_own(wanted->from[i])) ||
            wanted->from[i]->n_elements != each || wanted->from[i]->dims[0] != from->dims[0])
            return fail_shape(source, wanted->from[i], wanted->name, error);
    tensor->n_elements = rows * d->columns;
    return RADLLM_OK;
}

/* What is known of a tensor that fits. */
static void describe(const rad_derived_tensor *wanted, struct rad_derivation *d, rad_tensor *tensor,
                     rad_view *view)
{
    rad_type type = wanted->from[0]->type;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    bool turned = wanted->form == RAD_DERIVED_TURNED;
    bool blocks = wanted->form == RAD_DERIVED_CODES || wanted->form == RAD_DERIVED_SCALES;
    d->form = wanted->form;
    d->behind = wanted->behind;
    d->n_from = wanted->n_from;
    d->turns = wanted->turns;
    d->first = wanted->first;
    d->order = wanted->order;
    d->added = wanted->added;
    d->change = wanted->change;
    d->user = wanted->user;
    d->row_bytes =
        (turned ? wanted->from[0]->dims[0] : d->columns) / info->block_elements * info->block_bytes;
    d->wide = wanted->added != 0.0f || turned || wanted->change != NULL;
    tensor->type = blocks ? RAD_TYPE_U8 : d->wide || d->decoded ? RAD_TYPE_F32 : type;
    tensor->n_dims = wanted->n_dims;
    memcpy(tensor->dims, wanted->dims, sizeof tensor->dims);
    uint64_t rows = tensor->n_elements / d->columns;
    info = rad_type_find((uint32_t)tensor->type);
    view->n_numbers = d->columns;
    view->unit_bytes = d->columns / info->block_elements * info->block_bytes;
    if (blocks) {
        view->n_numbers = view->unit_bytes =
            d->columns / 32 * (wanted->form == RAD_DERIVED_CODES ? 16 : 1);
        tensor->n_elements = rows * view->unit_bytes;
    }
    tensor->n_bytes = rows * view->unit_bytes;
}

radllm_status rad_derived_add_tensor(rad_source *derived, const rad_derived_tensor *wanted,
                                     radllm_error *error)
{
    rad_tensor *tensor = NULL;
    rad_view *view = NULL;
    struct rad_derivation *d = NULL;
    radllm_status status = append(derived, wanted->name, &tensor, &view, &d, error);
    if (status == RADLLM_OK)
        status = measure(derived, wanted, tensor, d, error);
    if (status != RADLLM_OK)
        return status;
    size_t bytes = wanted->n_from * sizeof *d->from;
    d->from = rad_arena_alloc(&derived->arena, bytes, _Alignof(rad_tensor *));
    if (d->from == NULL)
        return rad_fail_memory(error, bytes);
    memcpy((void *)d->from, (const void *)wanted->from, bytes);
    d->base = derived->base;
    describe(wanted, d, tensor, view);
    return RADLLM_OK;
}

radllm_status rad_derived_add_values(rad_source *derived, const char *name, const float *values,
                                     uint64_t count, radllm_error *error)
{
    rad_tensor *tensor = NULL;
    rad_view *view = NULL;
    struct rad_derivation *d = NULL;
    radllm_status status = append(derived, name, &tensor, &view, &d, error);
    if (status != RADLLM_OK)
        return status;
    size_t bytes = (size_t)count * sizeof *values;
    d->values =
        (const uint8_t *)rad_arena_copy(&derived->arena, (const char *)(const void *)values, bytes);
    if (d->values == NULL)
        return rad_fail_memory(error, bytes);
    view->n_numbers = 1;
    view->unit_bytes = d->row_bytes = sizeof *values;
    tensor->type = RAD_TYPE_F32;
    tensor->n_dims = 1;
    tensor->dims[0] = tensor->n_elements = count;
    tensor->dims[1] = tensor->dims[2] = tensor->dims[3] = 1;
    tensor->n_bytes = bytes;
    return RADLLM_OK;
}

radllm_status rad_derived_add_shape(rad_source *derived, const char *name, rad_type type,
                                    uint32_t n_dims, const uint64_t dims[4], radllm_error *error)
{
    rad_tensor *tensor = NULL;
    rad_view *view = NULL;
    struct rad_derivation *d = NULL;
    radllm_status status = append(derived, name, &tensor, &view, &d, error);
    if (status != RADLLM_OK)
        return status;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    uint64_t n = 1;
    bool fits = true;
    for (int i = 0; i < 4; i++)
        fits = fits && rad_mul_u64(n, dims[i], &n);
    if (!fits || n % info->block_elements != 0 ||
        !rad_mul_u64(n / info->block_elements, info->block_bytes, &tensor->n_bytes))
        return rad_fail(error, RADLLM_E_FORMAT, "%s: the tensor %s would exceed 64 bits of bytes",
                        derived->label, name);
    derived->shape = true;
    tensor->view = NULL;
    tensor->type = type;
    tensor->n_dims = n_dims;
    memcpy(tensor->dims, dims, sizeof tensor->dims);
    tensor->n_elements = n;
    return RADLLM_OK;
}

radllm_status rad_derived_finish(rad_source *derived, radllm_error *error)
{
    radllm_status status =
        rad_meta_table_finish(derived, derived->label, &derived->metadata, error);
    return status == RADLLM_OK ? rad_tensors_finish(derived, false, error) : status;
}

const rad_tensor *rad_derived_origin(const rad_tensor *tensor)
{
    const struct rad_derivation *d = tensor->view != NULL ? tensor->view->derivation : NULL;
    return d != NULL && d->from != NULL ? d->from[0] : NULL;
}

const rad_tensor *rad_derived_root(const rad_tensor *tensor)
{
    for (const rad_tensor *origin = tensor; origin != NULL; origin = rad_derived_origin(origin))
        tensor = origin;
    return tensor;
}

bool rad_derived_is_changed(const rad_tensor *tensor)
{
    const struct rad_derivation *d = tensor->view != NULL ? tensor->view->derivation : NULL;
    return d != NULL && d->change != NULL;
}

uint64_t rad_derived_unit(const rad_tensor *tensor, bool *costly)
{
    *costly = false;
    for (const rad_tensor *t = tensor; t != NULL && t->view != NULL; t = rad_derived_origin(t)) {
        const struct rad_derivation *d = t->view->derivation;
        *costly = *costly || t->view->form == RAD_VIEW_COLUMNS ||
                  (d != NULL && d->form == RAD_DERIVED_TURNED);
    }
    return tensor->view != NULL && tensor->view->derivation != NULL ? tensor->view->n_numbers : 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Numbers of whole blocks, as many as `AT_ONCE` at a time, as F32. */
static radllm_status read_wide(const struct rad_derivation *d, const rad_tensor *from, uint64_t at,
                               uint64_t count, uint8_t *out, radllm_error *error)
{
    enum { AT_ONCE = 1024, BYTES_MAX = 8 };
    uint8_t stored[AT_ONCE * BYTES_MAX];
    float values[AT_ONCE];
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    radllm_status status = RADLLM_OK;
    while (count > 0 && status == RADLLM_OK) {
        size_t n = count < AT_ONCE ? (size_t)count : AT_ONCE;
        status =
            rad_source_read_tensor(d->base, from, at / info->block_elements * info->block_bytes,
                                   stored, n / info->block_elements * info->block_bytes, error);
        if (status == RADLLM_OK)
            info->decode(stored, values, n);
        for (size_t i = 0; i < n && status == RADLLM_OK; i++)
            values[i] += d->added;
        if (status == RADLLM_OK)
            memcpy(out, values, n * sizeof *values);
        out += n * sizeof *values;
        at += n;
        count -= n;
    }
    return status;
}

/* The same of rows: those of a view are read as a whole. */
static radllm_status read_wide_rows(const struct rad_derivation *d, const rad_tensor *from,
                                    uint64_t row, uint64_t rows, uint64_t columns, uint8_t *out,
                                    radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    if (from->view == NULL)
        return read_wide(d, from, row * columns, rows * columns, out, error);
    const rad_allocator *allocator = &d->base->host.allocator;
    size_t row_bytes = (size_t)(columns / info->block_elements * info->block_bytes);
    size_t of_values = (size_t)columns * sizeof(float), bytes = of_values + row_bytes;
    uint8_t *room = rad_alloc(allocator, bytes);
    if (room == NULL)
        return rad_fail_memory(error, bytes);
    float *values = (float *)(void *)room;
    radllm_status status = RADLLM_OK;
    for (uint64_t r = row; r < row + rows && status == RADLLM_OK; r++) {
        status = rad_source_read_tensor(d->base, from, r * row_bytes, room + of_values, row_bytes,
                                        error);
        if (status == RADLLM_OK)
            info->decode(room + of_values, values, (size_t)columns);
        for (uint64_t i = 0; i < columns && status == RADLLM_OK; i++)
            values[i] += d->added;
        memcpy(out + (r - row) * of_values, values, of_values);
    }
    rad_free(allocator, room, bytes);
    return status;
}

/* Columns first..first+n-1 of one row of from[k]: *found, in `values`, which has room for a row's
 * numbers, as `stored` for its bytes. */
static radllm_status read_across(const struct rad_derivation *d, uint32_t k, uint64_t row,
                                 uint64_t first, uint64_t n, float *values, uint8_t *stored,
                                 const float **found, radllm_error *error)
{
    const rad_tensor *from = d->from[k];
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    uint64_t begin = 0, end = from->dims[0], block = info->block_elements;
    if (from->view == NULL) { /* no more than is wanted */
        begin = first / block * block;
        end = (first + n + block - 1) / block * block;
    }
    radllm_status status = rad_source_read_tensor(
        d->base, from, row * d->row_bytes + begin / block * info->block_bytes, stored,
        (size_t)((end - begin) / block * info->block_bytes), error);
    if (status == RADLLM_OK)
        info->decode(stored, values, (size_t)(end - begin));
    *found = values + (first - begin);
    return status;
}

/* Rows whose numbers stand side by side as they become: a line of memory, so that rows far apart
 * are not fetched for each number. */
enum { TURNED_ROWS = 16 };

/* Columns first..first+n-1 of `count` rows from `row` on of one matrix, to columns of `out`. */
static radllm_status turn_rows(const struct rad_derivation *d, uint64_t matrix, uint64_t row,
                               uint32_t count, uint64_t first, uint64_t n, uint8_t *room,
                               uint8_t *out, radllm_error *error)
{
    const uint64_t turned = d->from[0]->dims[0], rows = d->columns / d->n_from;
    const float *found[TURNED_ROWS];
    float line[TURNED_ROWS];
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < count && status == RADLLM_OK; i++)
        status =
            read_across(d, (uint32_t)((row + i) % d->n_from), matrix * rows + (row + i) / d->n_from,
                        first, n, (float *)(void *)room + i * turned,
                        room + TURNED_ROWS * turned * sizeof(float), &found[i], error);
    for (uint64_t c = 0; c < n && status == RADLLM_OK; c++) {
        for (uint32_t i = 0; i < count; i++)
            line[i] = found[i][c];
        memcpy(out + (c * d->columns + row) * sizeof(float), line, count * sizeof(float));
    }
    return status;
}

/* Columns as rows, and the rows behind them. */
static radllm_status read_turned(const struct rad_derivation *d, uint64_t first, uint64_t count,
                                 uint8_t *out, radllm_error *error)
{
    const uint64_t turned = d->from[0]->dims[0];
    const uint64_t all = turned + (d->behind != NULL ? d->behind->dims[1] : 0);
    const rad_allocator *allocator = &d->base->host.allocator;
    size_t bytes = (size_t)(TURNED_ROWS * turned * sizeof(float) + d->row_bytes);
    uint8_t *room = rad_alloc(allocator, bytes);
    radllm_status status = room != NULL ? RADLLM_OK : rad_fail_memory(error, bytes);
    while (count > 0 && status == RADLLM_OK) {
        uint64_t matrix = first / all, at = first % all;
        uint64_t left = at < turned ? turned - at : all - at, n = left < count ? left : count;
        if (at >= turned)
            status = read_wide_rows(d, d->behind, matrix * (all - turned) + at - turned, n,
                                    d->columns, out, error);
        for (uint64_t row = 0; at < turned && row < d->columns && status == RADLLM_OK;
             row += TURNED_ROWS) {
            uint64_t some = d->columns - row;
            status = turn_rows(d, matrix, row, some < TURNED_ROWS ? (uint32_t)some : TURNED_ROWS,
                               at, n, room, out, error);
        }
        out += n * d->columns * sizeof(float);
        first += n;
        count -= n;
    }
    rad_free(allocator, room, bytes);
    return status;
}

/* Blocks of MXFP4 taken apart: byte i of the codes holds elements 2i and 2i + 1, where a block has
 * j and j + 16. */
static radllm_status read_blocks(const struct rad_derivation *d, const rad_tensor *from,
                                 uint64_t row, uint8_t *out, radllm_error *error)
{
    const rad_allocator *allocator = &d->base->host.allocator;
    uint8_t *blocks = rad_alloc(allocator, (size_t)d->row_bytes);
    if (blocks == NULL)
        return rad_fail_memory(error, (size_t)d->row_bytes);
    radllm_status status = rad_source_read_tensor(d->base, from, row * d->row_bytes, blocks,
                                                  (size_t)d->row_bytes, error);
    for (uint64_t b = 0; b < d->columns / 32 && status == RADLLM_OK; b++) {
        const uint8_t *block = blocks + b * 17;
        if (d->form == RAD_DERIVED_SCALES) {
            out[b] = block[0];
            continue;
        }
        for (int i = 0; i < 16; i++) {
            const uint8_t *pair = block + 1 + i % 8 * 2;
            out[b * 16 + i] = (uint8_t)(i < 8 ? (pair[0] & 15) | (pair[1] & 15) << 4
                                              : pair[0] >> 4 | (pair[1] & 0xF0));
        }
    }
    rad_free(allocator, blocks, (size_t)d->row_bytes);
    return status;
}

/* The scale beside blocks, of a folder's tensor or behind the blocks of a file's. */
static radllm_status read_scale(const struct rad_derivation *d, const rad_tensor *from,
                                float *scale, radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    *scale = rad_tensor_scale(from);
    if (from->view != NULL || info->tail_bytes == 0)
        return RADLLM_OK;
    return rad_source_read_tensor(d->base, from,
                                  from->n_elements / info->block_elements * info->block_bytes,
                                  scale, sizeof *scale, error);
}

/* Rows of blocks as numbers, each in its column. */
static radllm_status read_decoded(const struct rad_derivation *d, const rad_tensor *from,
                                  uint64_t row, uint64_t rows, uint8_t *out, radllm_error *error)
{
    const rad_type_info *info = rad_type_find((uint32_t)from->type);
    const rad_allocator *allocator = &d->base->host.allocator;
    uint32_t n = 0;
    float scale = 1.0f;
    const uint32_t *places = rad_tensor_columns(from, &n);
    const uint64_t row_bytes = n / info->block_elements * info->block_bytes;
    size_t of_values = (size_t)n * sizeof(float), bytes = of_values + (size_t)(rows * row_bytes);
    uint8_t *room = rad_alloc(allocator, bytes);
    if (room == NULL)
        return rad_fail_memory(error, bytes);
    float *values = (float *)(void *)room;
    radllm_status status = rad_source_read_tensor(d->base, from, row * row_bytes, room + of_values,
                                                  (size_t)(rows * row_bytes), error);
    if (status == RADLLM_OK)
        status = read_scale(d, from, &scale, error);
    for (uint64_t r = 0; r < rows && status == RADLLM_OK; r++) {
        info->decode(room + of_values + r * row_bytes, values, n);
        uint8_t *to = out + r * d->columns * sizeof(float);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t column = places != NULL ? places[i] : i;
            values[i] *= scale;
            if (column < d->columns)
                memcpy(to + column * sizeof(float), &values[i], sizeof(float));
        }
    }
    rad_free(allocator, room, bytes);
    return status;
}

/* Where row `row` of a tensor of this one comes from. */
static uint64_t ordered(const rad_row_order *order, uint64_t row)
{
    uint64_t group = order->a * order->b * order->run;
    uint64_t within = row % group, unit = within / order->run;
    return row - within + (unit % order->a * order->b + unit / order->a) * order->run +
           within % order->run;
}

/* Where row `row` stands, and how many from there on stand together. */
static const rad_tensor *find_rows(const struct rad_derivation *d, uint64_t *row, uint64_t *rows)
{
    uint64_t n = d->turns ? d->n_from : 1;
    const rad_tensor *from = d->from[d->turns ? *row % n : *row / d->rows_each];
    *row = d->turns ? *row / n : *row % d->rows_each;
    uint64_t left = d->rows_each - *row;
    if (d->order.a != 0) {
        left =
            d->order.run - *row % d->order.run < left ? d->order.run - *row % d->order.run : left;
        *row = ordered(&d->order, *row);
    }
    if (d->turns || d->form != RAD_DERIVED_ROWS)
        left = 1;
    *rows = left < *rows ? left : *rows;
    return from;
}

radllm_status rad_derived_read(const rad_view *view, uint64_t first, uint64_t count,
                               uint8_t *buffer, radllm_error *error)
{
    const struct rad_derivation *d = view->derivation;
    radllm_status status = RADLLM_OK;
    if (d->from == NULL) {
        memcpy(buffer, d->values + first * view->unit_bytes, (size_t)(count * view->unit_bytes));
        return RADLLM_OK;
    }
    if (d->form == RAD_DERIVED_TURNED)
        return read_turned(d, first, count, buffer, error);
    uint8_t *const begin = buffer;
    uint64_t at = first, left = count;
    while (left > 0 && status == RADLLM_OK) {
        uint64_t row = at + d->first, rows = left;
        const rad_tensor *from = find_rows(d, &row, &rows);
        if (d->form != RAD_DERIVED_ROWS)
            status = read_blocks(d, from, row, buffer, error);
        else if (d->decoded)
            status = read_decoded(d, from, row, rows, buffer, error);
        else if (d->wide)
            status = read_wide_rows(d, from, row, rows, d->columns, buffer, error);
        else
            status = rad_source_read_tensor(d->base, from, row * d->row_bytes, buffer,
                                            (size_t)(rows * d->row_bytes), error);
        buffer += rows * view->unit_bytes;
        at += rows;
        left -= rows;
    }
    if (status == RADLLM_OK && d->change != NULL)
        status = d->change(d->user, first * d->columns, (size_t)(count * d->columns),
                           (float *)(void *)begin, error);
    return status;
}
