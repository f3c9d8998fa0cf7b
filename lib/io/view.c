#include "io/derived.h"
#include "io/packed.h"

#include <string.h>

/* Bytes of the file that are looked at together on the stack of a task. */
#define CHUNK 16384u

/* Units that stand one behind the other in the file. */
typedef struct run {
    rad_piece at; /* of the first one */
    uint64_t piece, unit, count;
} run;

/* The run that begins with unit `first` of the tensor, of at most `most` units. */
static run find_run(const rad_view *view, uint64_t first, uint64_t most)
{
    uint64_t piece = first / view->piece_units, r = first % view->piece_units;
    uint64_t within = r % view->block;
    run found = {.at = view->pieces[piece], .piece = piece, .count = view->block - within};
    if (found.count > view->piece_units - r)
        found.count = view->piece_units - r;
    if (found.count > most)
        found.count = most;
    found.unit = view->first + r / view->block * view->stride + within;
    return found;
}

/* Numbers that stand `stride` apart, as many as one chunk of the file holds. Returns how many. */
static uint64_t gather(const rad_source *source, const rad_view *view, uint64_t first,
                       uint64_t most, uint8_t *out, radllm_status *status, radllm_error *error)
{
    uint8_t chunk[CHUNK];
    uint64_t size = view->stored_bytes, step = view->stride * size;
    uint64_t left = view->piece_units - first % view->piece_units;
    uint64_t count = (CHUNK - size) / step + 1;
    count = count > left ? left : count;
    count = count > most ? most : count;
    run start = find_run(view, first, 1);
    *status = rad_source_read(source, start.at.part, start.at.offset + start.unit * size, chunk,
                              (size_t)((count - 1) * step + size), error);
    for (uint64_t i = 0; i < count; i++)
        memcpy(out + i * size, chunk + i * step, (size_t)size);
    return count;
}

static radllm_status read_rows(const rad_source *source, const rad_view *view, uint64_t first,
                               uint64_t count, uint8_t *out, radllm_error *error)
{
    bool scattered =
        view->block == 1 && view->stride > 1 && view->stride * view->stored_bytes <= CHUNK / 16;
    radllm_status status = RADLLM_OK;
    while (count > 0 && status == RADLLM_OK) {
        uint64_t done;
        if (scattered) {
            done = gather(source, view, first, count, out, &status, error);
        } else {
            run next = find_run(view, first, count);
            done = next.count;
            status = rad_source_read(source, next.at.part,
                                     next.at.offset + next.unit * view->stored_bytes, out,
                                     (size_t)(done * view->stored_bytes), error);
        }
        out += done * view->stored_bytes;
        first += done;
        count -= done;
    }
    return status;
}

/* Some columns of one stretch of rows, from the chunk that was read to their places. */
static void scatter(const rad_view *view, const uint8_t *chunk, uint64_t pitch, uint64_t row,
                    uint64_t n_rows, uint64_t n_columns, uint64_t step, size_t size, uint8_t *out)
{
    for (uint64_t i = 0; i < n_rows; i++) {
        for (uint64_t c = 0; c < n_columns; c++)
            memcpy(out + c * view->unit_bytes + (row + i) * size, chunk + i * pitch + c * step,
                   size);
    }
}

/* Columns first.. of one piece, which lie `step` bytes apart, as rows. Where they make up most of
 * the file's rows, several of these are read at once. */
static radllm_status read_columns_of(const rad_source *source, const rad_view *view,
                                     const run *start, uint64_t n_columns, uint64_t step,
                                     size_t size, uint8_t *out, radllm_error *error)
{
    uint8_t chunk[CHUNK];
    uint64_t span = (n_columns - 1) * step + size, pitch = view->stored_bytes;
    bool whole = span * 2 >= pitch && pitch <= CHUNK;
    uint64_t at_once = whole ? (CHUNK - span) / pitch + 1 : 1;
    radllm_status status = RADLLM_OK;
    for (uint64_t row = 0; row < view->n_numbers && status == RADLLM_OK; row += at_once) {
        uint64_t n = view->n_numbers - row < at_once ? view->n_numbers - row : at_once;
        status = rad_source_read(source, start->at.part,
                                 start->at.offset + row * pitch + start->unit * size, chunk,
                                 (size_t)((n - 1) * pitch + span), error);
        if (status == RADLLM_OK)
            scatter(view, chunk, pitch, row, n, n_columns, step, size, out);
    }
    return status;
}

static radllm_status read_columns(const rad_source *source, const rad_view *view, uint64_t first,
                                  uint64_t count, uint8_t *out, radllm_error *error)
{
    size_t size = (size_t)(view->unit_bytes / view->n_numbers);
    bool scattered = view->block == 1;
    uint64_t step = (scattered ? view->stride : 1) * size;
    radllm_status status = RADLLM_OK;
    while (count > 0 && status == RADLLM_OK) {
        uint64_t left = view->piece_units - first % view->piece_units;
        run start = find_run(view, first, count);
        uint64_t n = scattered ? (left < count ? left : count) : start.count;
        uint64_t most = (CHUNK - size) / step + 1;
        n = n > most ? most : n;
        status = read_columns_of(source, view, &start, n, step, size, out, error);
        out += n * view->unit_bytes;
        first += n;
        count -= n;
    }
    return status;
}

/* ---- other forms ---------------------------------------------------------------------------- */

/* F8 to BF16: sign, exponent and mantissa as floats have them. Exact. */
static uint16_t widen_f8(uint8_t code, int exponent_bits)
{
    const int mantissa_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    uint32_t mantissa = code & ((1u << mantissa_bits) - 1);
    uint32_t exponent = code >> mantissa_bits & ((1u << exponent_bits) - 1);
    uint16_t sign = (uint16_t)((code & 0x80) << 8);
    const uint32_t top = (1u << exponent_bits) - 1;
    bool nan = exponent_bits == 4 ? (code & 0x7f) == 0x7f : exponent == top && mantissa != 0;
    if (nan)
        return (uint16_t)(sign | 0x7fc0);
    if (exponent_bits == 5 && exponent == top)
        return (uint16_t)(sign | 0x7f80);
    if (exponent == 0 && mantissa == 0)
        return sign;
    int shift = 0; /* a subnormal number is normal in BF16 */
    while (exponent == 0 && !(mantissa >> mantissa_bits & 1)) {
        mantissa <<= 1;
        shift++;
    }
    int wide = (exponent == 0 ? 1 - shift : (int)exponent) - bias + 127;
    mantissa &= (1u << mantissa_bits) - 1;
    return (uint16_t)(sign | wide << 7 | mantissa << (7 - mantissa_bits));
}

static void convert(const rad_view *view, const uint8_t *stored, uint64_t n, uint8_t *out)
{
    const rad_type_info *info = rad_type_find((uint32_t)view->stored);
    for (uint64_t i = 0; i < n; i++) {
        if (view->form == RAD_VIEW_BF16) {
            uint16_t value = widen_f8(stored[i], view->stored == RAD_TYPE_F8_E4M3 ? 4 : 5);
            memcpy(out + i * sizeof value, &value, sizeof value);
        } else {
            float value;
            info->decode(stored + i * info->block_bytes, &value, 1);
            value += 1.0f;
            memcpy(out + i * sizeof value, &value, sizeof value);
        }
    }
}

/* Each run of units is read in chunks and converted. */
static radllm_status read_converted(const rad_source *source, const rad_view *view, uint64_t first,
                                    uint64_t count, uint8_t *out, radllm_error *error)
{
    uint8_t chunk[CHUNK];
    const size_t stored = rad_type_find((uint32_t)view->stored)->block_bytes;
    const size_t used = (size_t)(view->unit_bytes / view->n_numbers);
    radllm_status status = RADLLM_OK;
    while (count > 0 && status == RADLLM_OK) {
        run next = find_run(view, first, count);
        uint64_t at = next.at.offset + next.unit * view->stored_bytes;
        uint64_t numbers = next.count * view->n_numbers;
        for (uint64_t done = 0; done < numbers && status == RADLLM_OK;) {
            uint64_t n = numbers - done < CHUNK / stored ? numbers - done : CHUNK / stored;
            status = rad_source_read(source, next.at.part, at + done * stored, chunk,
                                     (size_t)(n * stored), error);
            if (status == RADLLM_OK)
                convert(view, chunk, n, out + done * used);
            done += n;
        }
        out += next.count * view->unit_bytes;
        first += next.count;
        count -= next.count;
    }
    return status;
}

/* A block as GGUF has it: the scale, then bytes of elements j and j + 16. In the file byte i holds
 * elements 2i and 2i + 1. */
static void pack_mxfp4(const uint8_t nibbles[16], uint8_t scale, uint8_t block[17])
{
    block[0] = scale;
    for (int j = 0; j < 16; j++) {
        uint8_t low = nibbles[j / 2] >> (j % 2 * 4) & 15;
        uint8_t high = nibbles[8 + j / 2] >> (j % 2 * 4) & 15;
        block[1 + j] = (uint8_t)(low | high << 4);
    }
}

static radllm_status read_mxfp4(const rad_source *source, const rad_view *view, uint64_t first,
                                uint64_t count, uint8_t *out, radllm_error *error)
{
    enum { BLOCKS = 512 };
    uint8_t nibbles[BLOCKS * 16], scales[BLOCKS];
    const uint64_t in_row = view->n_numbers / 32;
    radllm_status status = RADLLM_OK;
    for (uint64_t u = first; u < first + count && status == RADLLM_OK; u++) {
        run next = find_run(view, u, 1);
        rad_piece scale = view->scales[next.piece];
        for (uint64_t b = 0; b < in_row && status == RADLLM_OK; b += BLOCKS) {
            uint64_t n = in_row - b < BLOCKS ? in_row - b : BLOCKS;
            uint64_t block = next.unit * in_row + b;
            status = rad_source_read(source, next.at.part, next.at.offset + block * 16, nibbles,
                                     (size_t)n * 16, error);
            if (status == RADLLM_OK)
                status = rad_source_read(source, scale.part, scale.offset + block, scales,
                                         (size_t)n, error);
            if (status == RADLLM_OK && memchr(scales, 255, (size_t)n) != NULL)
                return rad_fail(error, RADLLM_E_FORMAT,
                                "%s: a scale of MXFP4 behind byte %llu is no number; the file is "
                                "damaged: fetch it again",
                                source->parts[scale.part].label,
                                (unsigned long long)(scale.offset + block));
            for (uint64_t i = 0; i < n && status == RADLLM_OK; i++, out += 17)
                pack_mxfp4(nibbles + i * 16, scales[i], out);
        }
    }
    return status;
}

static radllm_status read_packed(const rad_source *source, const rad_view *view, uint64_t first,
                                 uint64_t count, uint8_t *out, radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    while (count > 0 && status == RADLLM_OK) {
        run next = find_run(view, first, count);
        status = view->packed->rows(source, view->packed, next.at.offset + next.unit, next.count,
                                    out, error);
        out += next.count * view->unit_bytes;
        first += next.count;
        count -= next.count;
    }
    return status;
}

static radllm_status read_units(const rad_source *source, const rad_view *view, uint64_t first,
                                uint64_t count, uint8_t *buffer, radllm_error *error)
{
    switch (view->form) {
    case RAD_VIEW_ROWS:
        return read_rows(source, view, first, count, buffer, error);
    case RAD_VIEW_COLUMNS:
        return read_columns(source, view, first, count, buffer, error);
    case RAD_VIEW_PLUS_ONE:
    case RAD_VIEW_BF16:
        return read_converted(source, view, first, count, buffer, error);
    case RAD_VIEW_MXFP4:
        return read_mxfp4(source, view, first, count, buffer, error);
    case RAD_VIEW_DERIVED:
        return rad_derived_read(view, first, count, buffer, error);
    case RAD_VIEW_PACKED:
        return read_packed(source, view, first, count, buffer, error);
    }
    return RADLLM_E_INTERNAL;
}

radllm_status rad_view_read(const rad_source *source, const rad_view *view, uint64_t offset,
                            uint8_t *buffer, size_t size, radllm_error *error)
{
    const uint64_t unit = view->unit_bytes, first = offset / unit;
    if (offset % unit == 0 && size % unit == 0)
        return read_units(source, view, first, size / unit, buffer, error);
    /* Parts of units: these are read as a whole. */
    uint64_t bytes = ((offset + size + unit - 1) / unit - first) * unit;
    uint8_t *whole = rad_alloc(&source->host.allocator, (size_t)bytes);
    if (whole == NULL)
        return rad_fail_memory(error, (size_t)bytes);
    radllm_status status = read_units(source, view, first, bytes / unit, whole, error);
    if (status == RADLLM_OK)
        memcpy(buffer, whole + offset % unit, size);
    rad_free(&source->host.allocator, whole, (size_t)bytes);
    return status;
}

radllm_status rad_source_read_tensor(const rad_source *source, const rad_tensor *tensor,
                                     uint64_t offset, void *buffer, size_t size,
                                     radllm_error *error)
{
    if (tensor->view != NULL)
        return rad_view_read(source, tensor->view, offset, buffer, size, error);
    return rad_source_read(source, tensor->part, tensor->offset + offset, buffer, size, error);
}

const uint32_t *rad_tensor_columns(const rad_tensor *tensor, uint32_t *n)
{
    const rad_packed *packed = tensor->view != NULL ? tensor->view->packed : NULL;
    *n = packed != NULL ? packed->n_columns : (uint32_t)tensor->dims[0];
    return packed != NULL ? packed->columns : NULL;
}

float rad_tensor_scale(const rad_tensor *tensor)
{
    const rad_packed *packed = tensor->view != NULL ? tensor->view->packed : NULL;
    return packed != NULL && packed->scale != 0.0f ? packed->scale : 1.0f;
}

bool rad_tensor_is_own(const rad_tensor *tensor)
{
    return tensor->type >= RAD_TYPE_FOREIGN || rad_tensor_scale(tensor) != 1.0f ||
           rad_type_find((uint32_t)tensor->type)->tail_bytes > 0;
}

float rad_tensor_threshold(const rad_tensor *tensor)
{
    const rad_packed *packed = tensor->view != NULL ? tensor->view->packed : NULL;
    return packed != NULL ? packed->threshold : 0.0f;
}

bool rad_tensor_is_mappable(const rad_tensor *tensor)
{
    const rad_type_info *info = rad_type_find((uint32_t)tensor->type);
    if (tensor->view != NULL)
        return false;
    /* Kernels read floats as such; blocks are taken apart byte by byte, at any address of 2. */
    uint64_t alignment = info->block_elements == 1 ? info->block_bytes : 2;
    return tensor->offset % alignment == 0;
}
