/* Files of llama.cpp's imatrix program.
 *
 * GGUF, general.type "imatrix": for each tensor NAME a tensor NAME.in_sum2 (sums of squares, a row
 * for each matrix) and NAME.counts (of rows summed, by matrix). This library's files have
 * NAME.in_sum as well, the sums of the values themselves, which other programs leave alone.
 *
 * The older form, little-endian: i32 number of entries; each: i32 length of the name, the name, i32
 * number of chunks, i32 number of values, F32 values (mean squares times the number of chunks);
 * then, or not, i32 chunks of the text, i32 length of its name, the name. Matrices of experts stand
 * one behind the other, without their number. */
#include "quantize/importance.h"

#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "base/file_path.h"
#include "base/file_write.h"
#include "base/platform.h"
#include "io/gguf_write.h"

#define MAX_NAME     256u
#define LEGACY_CHUNK 512u /* tokens of a chunk where the file does not say */
#define READ_AT_ONCE 4096u
#define REMEDY       "make it again, with radllm-quantize --calibrate or llama-imatrix"

/* ---- reading the older form --------------------------------------------------------------------
 */

typedef struct legacy_reader {
    const rad_file *file;
    char label[RAD_PATH_LABEL_SIZE];
    uint64_t position, size;
    radllm_error *error;
} legacy_reader;

static radllm_status read_bytes(legacy_reader *r, void *out, size_t size)
{
    if (size > r->size - r->position)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "%s ends at byte %" PRIu64 ", in the middle of an entry; " REMEDY, r->label,
                        r->size);
    radllm_status status = rad_file_read(r->file, r->position, out, size, r->error);
    r->position += size;
    return status;
}

static radllm_status read_count(legacy_reader *r, uint32_t most, const char *what, uint32_t *out)
{
    uint8_t bytes[4] = {0};
    uint64_t at = r->position;
    radllm_status status = read_bytes(r, bytes, sizeof bytes);
    *out = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (status == RADLLM_OK && *out > most)
        status = rad_fail(r->error, RADLLM_E_FORMAT,
                          "%s is no matrix of importance: %s at byte %" PRIu64 " is %" PRIu32
                          ", at most %" PRIu32 " is possible; " REMEDY,
                          r->label, what, at, *out, most);
    return status;
}

static radllm_status bad_value(const char *label, rad_text name, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s has a value for the tensor '%s' that is negative or not finite; " REMEDY,
                    label, rad_quote(quoted, name.data, name.size));
}

static bool is_good(double value)
{
    return value >= 0.0 && value - value == 0.0;
}

static radllm_status read_values(legacy_reader *r, rad_importance_entry *entry)
{
    uint8_t bytes[READ_AT_ONCE];
    for (uint64_t i = 0; i < entry->n_columns;) {
        uint64_t left = entry->n_columns - i;
        size_t n = left < READ_AT_ONCE / 4 ? (size_t)left : READ_AT_ONCE / 4;
        radllm_status status = read_bytes(r, bytes, n * 4);
        if (status != RADLLM_OK)
            return status;
        for (size_t k = 0; k < n; k++, i++) {
            float value;
            memcpy(&value, bytes + 4 * k, sizeof value);
            if (!is_good((double)value))
                return bad_value(r->label, entry->name, r->error);
            entry->sums[i] = (double)value * LEGACY_CHUNK;
        }
    }
    return RADLLM_OK;
}

static radllm_status read_entry(legacy_reader *r, rad_importance *importance)
{
    char name[MAX_NAME];
    uint32_t size = 0, chunks = 0, n_values = 0;
    radllm_status status = read_count(r, MAX_NAME, "the length of a name", &size);
    if (status == RADLLM_OK)
        status = read_bytes(r, name, size);
    if (status == RADLLM_OK && (size == 0 || memchr(name, '\0', size) != NULL))
        status = rad_fail(r->error, RADLLM_E_FORMAT,
                          "%s has an entry with an empty name or a NUL in it; " REMEDY, r->label);
    if (status == RADLLM_OK)
        status = read_count(r, INT32_MAX, "a number of chunks", &chunks);
    if (status == RADLLM_OK)
        status = read_count(r, INT32_MAX, "a number of values", &n_values);
    if (status != RADLLM_OK)
        return status;
    if (n_values == 0 || n_values > (r->size - r->position) / 4)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "%s promises %" PRIu32 " values at byte %" PRIu64 ", of %" PRIu64
                        " bytes; " REMEDY,
                        r->label, n_values, r->position, r->size);
    rad_importance_entry *entry =
        rad_importance_add(importance, (rad_text){name, size}, 1, n_values);
    if (entry == NULL)
        return rad_fail_memory(r->error, n_values * sizeof(double));
    entry->counts[0] = (uint64_t)chunks * LEGACY_CHUNK;
    return read_values(r, entry);
}

/* The chunks and the name of the text, which the oldest files lack. */
static radllm_status read_end(legacy_reader *r, rad_importance *importance)
{
    uint32_t chunks = 0, size = 0;
    importance->chunk_tokens = LEGACY_CHUNK;
    if (r->position == r->size)
        return RADLLM_OK;
    radllm_status status = read_count(r, INT32_MAX, "the number of chunks", &chunks);
    importance->n_chunks = chunks;
    if (status != RADLLM_OK || r->position == r->size)
        return status;
    status = read_count(r, 1 << 16, "the length of the text's name", &size);
    char *name = status == RADLLM_OK ? rad_arena_alloc_zero(&importance->arena, size + 1, 1) : NULL;
    if (status == RADLLM_OK && name == NULL)
        status = rad_fail_memory(r->error, size);
    if (status == RADLLM_OK)
        status = read_bytes(r, name, size);
    if (status == RADLLM_OK)
        importance->dataset = (rad_text){name, size};
    return status;
}

static radllm_status read_legacy(const rad_file *file, const char *path, rad_importance *importance,
                                 radllm_error *error)
{
    legacy_reader r = {.file = file, .size = rad_file_size(file), .error = error};
    rad_path_label(r.label, path);
    uint32_t n = 0;
    radllm_status status = read_count(&r, 1 << 20, "the number of entries", &n);
    if (status == RADLLM_OK && n == 0)
        status = rad_fail(error, RADLLM_E_FORMAT, "%s has no entries; " REMEDY, r.label);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++)
        status = read_entry(&r, importance);
    if (status == RADLLM_OK)
        status = read_end(&r, importance);
    return status == RADLLM_OK ? rad_importance_finish(importance, r.label, error) : status;
}

/* ---- reading GGUF ------------------------------------------------------------------------------
 */

/* To sums, of squares or of any sign, or counts. */
static radllm_status read_floats(const rad_source *source, const rad_tensor *tensor, double *sums,
                                 bool any_sign, uint64_t *counts, radllm_error *error)
{
    uint8_t bytes[READ_AT_ONCE];
    for (uint64_t i = 0; i < tensor->n_elements;) {
        uint64_t left = tensor->n_elements - i;
        size_t n = left < READ_AT_ONCE / 4 ? (size_t)left : READ_AT_ONCE / 4;
        radllm_status status =
            rad_source_read(source, tensor->part, tensor->offset + 4 * i, bytes, n * 4, error);
        if (status != RADLLM_OK)
            return status;
        for (size_t k = 0; k < n; k++, i++) {
            float value;
            memcpy(&value, bytes + 4 * k, sizeof value);
            if (!is_good(any_sign && value < 0.0f ? -(double)value : (double)value) ||
                (counts != NULL && value > 0x1p62f))
                return bad_value(rad_source_label(source), tensor->name, error);
            if (counts != NULL)
                counts[i] = (uint64_t)value;
            else
                sums[i] = (double)value;
        }
    }
    return RADLLM_OK;
}

static radllm_status read_totals(const rad_source *source, const rad_tensor *sums, const char *name,
                                 rad_importance *importance, rad_importance_entry *entry,
                                 radllm_error *error)
{
    const rad_tensor *totals = rad_source_find_tensor(source, name);
    if (totals == NULL)
        return RADLLM_OK;
    char quoted[RAD_QUOTE_SIZE];
    if (totals->type != RAD_TYPE_F32 || totals->dims[0] != sums->dims[0] ||
        totals->n_elements != sums->n_elements)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the tensor '%s' is not of the shape of the squares beside it; " REMEDY,
                        rad_source_label(source), rad_quote(quoted, name, strlen(name)));
    if (!rad_importance_add_totals(importance, entry))
        return rad_fail_memory(error, (size_t)sums->n_elements * sizeof(double));
    return read_floats(source, totals, entry->totals, true, NULL, error);
}

static radllm_status read_pair(const rad_source *source, const rad_tensor *sums, size_t name_size,
                               rad_importance *importance, radllm_error *error)
{
    char name[MAX_NAME + 8], quoted[RAD_QUOTE_SIZE];
    if (name_size >= MAX_NAME)
        return rad_fail(error, RADLLM_E_FORMAT, "%s has a name of %zu bytes; " REMEDY,
                        rad_source_label(source), name_size);
    memcpy(name, sums->name.data, name_size);
    memcpy(name + name_size, ".counts", sizeof ".counts");
    const rad_tensor *counts = rad_source_find_tensor(source, name);
    if (counts == NULL || counts->type != RAD_TYPE_F32 || sums->type != RAD_TYPE_F32 ||
        counts->n_elements > UINT32_MAX || counts->n_elements * sums->dims[0] != sums->n_elements)
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "%s: the sums and counts for the tensor '%s' do not belong together; " REMEDY,
            rad_source_label(source), rad_quote(quoted, sums->name.data, name_size));
    rad_importance_entry *entry =
        rad_importance_add(importance, (rad_text){sums->name.data, name_size},
                           (uint32_t)counts->n_elements, sums->dims[0]);
    if (entry == NULL)
        return rad_fail_memory(error, (size_t)sums->n_elements * sizeof(double));
    radllm_status status = read_floats(source, sums, entry->sums, false, NULL, error);
    if (status == RADLLM_OK)
        status = read_floats(source, counts, NULL, false, entry->counts, error);
    memcpy(name + name_size, ".in_sum", sizeof ".in_sum");
    return status == RADLLM_OK ? read_totals(source, sums, name, importance, entry, error) : status;
}

static radllm_status read_keys(const rad_source *source, rad_importance *importance,
                               radllm_error *error)
{
    int64_t chunks = 0, tokens = 0;
    const char *label = rad_source_label(source);
    const rad_meta *type = rad_source_find_meta(source, "general.type");
    const rad_meta *datasets = rad_source_find_meta(source, "imatrix.datasets");
    if (type == NULL || type->type != RAD_META_STRING || type->is_array ||
        type->strings[0].size != 7 || memcmp(type->strings[0].data, "imatrix", 7) != 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s is a GGUF file, but no matrix of importance: its general.type is not "
                        "\"imatrix\"",
                        label);
    radllm_status status =
        rad_meta_integer(source, "imatrix.chunk_count", 0, INT64_MAX, 0, &chunks, error);
    if (status == RADLLM_OK)
        status = rad_meta_integer(source, "imatrix.chunk_size", 1, INT32_MAX, LEGACY_CHUNK, &tokens,
                                  error);
    if (status != RADLLM_OK)
        return status;
    importance->n_chunks = (uint64_t)chunks;
    importance->chunk_tokens = (uint64_t)tokens;
    if (datasets == NULL || datasets->type != RAD_META_STRING || datasets->count == 0)
        return RADLLM_OK;
    rad_text last = datasets->strings[datasets->count - 1];
    const char *copy = rad_arena_copy(&importance->arena, last.data, last.size);
    if (copy == NULL)
        return rad_fail_memory(error, last.size);
    importance->dataset = (rad_text){copy, last.size};
    return RADLLM_OK;
}

static radllm_status read_gguf(const rad_host *host, const char *path, rad_importance *importance,
                               radllm_error *error)
{
    rad_source *source;
    radllm_status status = rad_source_open(host, path, &source, error);
    if (status != RADLLM_OK)
        return status;
    status = read_keys(source, importance, error);
    size_t ending = strlen(".in_sum2");
    for (uint64_t i = 0; i < rad_source_n_tensors(source) && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        size_t size = tensor->name.size;
        if (size > ending && strcmp(tensor->name.data + size - ending, ".in_sum2") == 0)
            status = read_pair(source, tensor, size - ending, importance, error);
    }
    if (status == RADLLM_OK && importance->n_entries == 0)
        status = rad_fail(error, RADLLM_E_FORMAT, "%s has no entries; " REMEDY,
                          rad_source_label(source));
    if (status == RADLLM_OK)
        status = rad_importance_finish(importance, rad_source_label(source), error);
    rad_source_release(source);
    return status;
}

radllm_status rad_importance_read(const rad_host *host, const char *path,
                                  rad_importance *importance, radllm_error *error)
{
    rad_file *file;
    uint8_t magic[4] = {0};
    radllm_status status = rad_file_open(&host->allocator, path, &file, error);
    if (status != RADLLM_OK)
        return status;
    if (rad_file_size(file) >= sizeof magic)
        status = rad_file_read(file, 0, magic, sizeof magic, error);
    if (status == RADLLM_OK)
        status = memcmp(magic, "GGUF", 4) == 0 ? read_gguf(host, path, importance, error)
                                               : read_legacy(file, path, importance, error);
    rad_file_close(file);
    return status;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

/* Sums by matrix and column, or where they are NULL counts by matrix. */
static radllm_status write_floats(const rad_importance_entry *entry, const double *sums,
                                  double factor, rad_gguf_writer *gguf, rad_output *output,
                                  radllm_error *error)
{
    float values[READ_AT_ONCE / 4];
    size_t n = 0, columns = sums != NULL ? (size_t)entry->n_columns : 1;
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < entry->n_matrices * columns && status == RADLLM_OK; i++) {
        uint64_t count = entry->counts[i / columns];
        double value = sums != NULL ? sums[i] : (double)count;
        if (output != NULL) /* means, of which matrices without data have 1 */
            value = count > 0 ? value / (double)count : 1.0;
        value *= factor;
        values[n++] = value < (double)FLT_MAX ? (float)value : FLT_MAX; /* else nobody reads it */
        if (n < READ_AT_ONCE / 4 && i + 1 < entry->n_matrices * columns)
            continue;
        status = output != NULL ? rad_output_write(output, values, n * sizeof *values, error)
                                : rad_gguf_data(gguf, values, n * sizeof *values, error);
        n = 0;
    }
    return status;
}

static radllm_status write_gguf(const rad_importance *importance, const char *path,
                                radllm_error *error)
{
    rad_gguf_writer *writer;
    radllm_status status = rad_gguf_writer_new(&importance->allocator, 32, &writer, error);
    if (status != RADLLM_OK)
        return status;
    rad_text type = {"imatrix", 7};
    rad_gguf_set_text(writer, "general.type", type);
    rad_gguf_set_meta(writer, &(rad_meta){.key = {"imatrix.datasets", 16},
                                          .type = RAD_META_STRING,
                                          .is_array = true,
                                          .count = importance->dataset.size > 0 ? 1 : 0,
                                          .strings = &importance->dataset});
    rad_gguf_set_integer(writer, "imatrix.chunk_count", RAD_META_U32,
                         (int64_t)importance->n_chunks);
    rad_gguf_set_integer(writer, "imatrix.chunk_size", RAD_META_U32,
                         (int64_t)importance->chunk_tokens);
    for (size_t i = 0; i < importance->n_entries; i++) {
        const rad_importance_entry *entry = &importance->entries[i];
        char name[MAX_NAME + 16];
        size_t size = entry->name.size < MAX_NAME ? entry->name.size : MAX_NAME;
        memcpy(name, entry->name.data, size);
        memcpy(name + size, ".in_sum2", sizeof ".in_sum2");
        rad_gguf_add_tensor(writer, name, RAD_TYPE_F32, 2,
                            (uint64_t[]){entry->n_columns, entry->n_matrices});
        memcpy(name + size, ".counts", sizeof ".counts");
        rad_gguf_add_tensor(writer, name, RAD_TYPE_F32, 2, (uint64_t[]){1, entry->n_matrices});
        memcpy(name + size, ".in_sum", sizeof ".in_sum");
        if (entry->totals != NULL)
            rad_gguf_add_tensor(writer, name, RAD_TYPE_F32, 2,
                                (uint64_t[]){entry->n_columns, entry->n_matrices});
    }
    status = rad_gguf_begin(writer, path, error);
    for (size_t i = 0; i < importance->n_entries && status == RADLLM_OK; i++) {
        const rad_importance_entry *entry = &importance->entries[i];
        status = write_floats(entry, entry->sums, 1.0, writer, NULL, error);
        if (status == RADLLM_OK)
            status = write_floats(entry, NULL, 1.0, writer, NULL, error);
        if (status == RADLLM_OK && entry->totals != NULL)
            status = write_floats(entry, entry->totals, 1.0, writer, NULL, error);
    }
    if (status == RADLLM_OK)
        status = rad_gguf_finish(writer, error);
    rad_gguf_writer_free(writer);
    return status;
}

static radllm_status write_count(rad_output *output, uint64_t value, radllm_error *error)
{
    uint32_t held = value > INT32_MAX ? INT32_MAX : (uint32_t)value;
    const uint8_t bytes[4] = {(uint8_t)held, (uint8_t)(held >> 8), (uint8_t)(held >> 16),
                              (uint8_t)(held >> 24)};
    return rad_output_write(output, bytes, sizeof bytes, error);
}

static radllm_status write_text(rad_output *output, rad_text text, radllm_error *error)
{
    radllm_status status = write_count(output, text.size, error);
    return status == RADLLM_OK ? rad_output_write(output, text.data, text.size, error) : status;
}

static radllm_status write_legacy_entry(const rad_importance *importance,
                                        const rad_importance_entry *entry, rad_output *output,
                                        radllm_error *error)
{
    uint64_t most = 0;
    for (uint32_t m = 0; m < entry->n_matrices; m++)
        most = entry->counts[m] > most ? entry->counts[m] : most;
    uint64_t chunks = (most + importance->chunk_tokens - 1) / importance->chunk_tokens;
    radllm_status status = write_text(output, entry->name, error);
    if (status == RADLLM_OK)
        status = write_count(output, chunks, error);
    if (status == RADLLM_OK)
        status = write_count(output, entry->n_matrices * entry->n_columns, error);
    if (status == RADLLM_OK)
        status = write_floats(entry, entry->sums, (double)chunks, NULL, output, error);
    return status;
}

static radllm_status write_legacy(const rad_importance *importance, const char *path,
                                  radllm_error *error)
{
    rad_output *output;
    radllm_status status = rad_output_open(&importance->allocator, path, &output, error);
    if (status != RADLLM_OK)
        return status;
    status = write_count(output, importance->n_entries, error);
    for (size_t i = 0; i < importance->n_entries && status == RADLLM_OK; i++)
        status = write_legacy_entry(importance, &importance->entries[i], output, error);
    if (status == RADLLM_OK)
        status = write_count(output, importance->n_chunks, error);
    if (status == RADLLM_OK)
        status = write_text(output, importance->dataset, error);
    if (status == RADLLM_OK)
        status = rad_output_commit(output, error);
    rad_output_free(output);
    return status;
}

radllm_status rad_importance_write(const rad_importance *importance, const char *path, bool legacy,
                                   radllm_error *error)
{
    return legacy ? write_legacy(importance, path, error) : write_gguf(importance, path, error);
}
