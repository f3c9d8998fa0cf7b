/* The output of radllm-label. Each record is one write, so that a killed run leaves at most one
 * half record, at the end, which is recognised by the line break that it lacks. What the answers
 * depend on stands in OUTPUT.state, written before the first record. */
#include "label.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/program.h"

static const double sync_interval = 2.0;

/* ---- the state file ---- */

static json_t *read_state(const label_output *output)
{
    json_error_t error;
    json_t *state = NULL;
    if (access(output->state_path, F_OK) != 0)
        return NULL;
    state = json_load_file(output->state_path, JSON_ALLOW_NUL, &error);
    if (state == NULL || !json_is_object(state)) {
        fail("%s is damaged (%s); --overwrite starts again", output->state_path,
             state == NULL ? error.text : "no object");
    }
    return state;
}

static bool write_all(int descriptor, const char *bytes, size_t length)
{
    while (length != 0) {
        ssize_t written = write(descriptor, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

/* Under another name first: a state file is whole or not there. */
static void write_state(const label_output *output, const json_t *state)
{
    buffer name = {0};
    buffer_add_format(&name, "%s.new", output->state_path);
    char *text = json_dumps(state, JSON_INDENT(2));
    if (text == NULL)
        fail("out of memory while JSON was made");
    int descriptor = open(name.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = descriptor >= 0 && write_all(descriptor, text, strlen(text)) &&
                write_all(descriptor, "\n", 1) && fsync(descriptor) == 0;
    int reason = errno;
    if (descriptor >= 0 && close(descriptor) != 0 && good) {
        good = false;
        reason = errno;
    }
    if (good && rename(name.data, output->state_path) != 0) {
        good = false;
        reason = errno;
    }
    if (!good) {
        unlink(name.data);
        fail("cannot write %s: %s", output->state_path, strerror(reason));
    }
    free(text);
    buffer_free(&name);
}

static noreturn void differs(const label_output *output, const char *part, const char *detail)
{
    fail("%s was begun with %s%s; take another --output, or start again with --overwrite",
         output->path, part, detail);
}

/* NULL: not set. */
static void compare_setting(const label_output *output, const char *key, const json_t *before,
                            const json_t *value)
{
    if (before != NULL && value != NULL && json_equal(before, value))
        return;
    char *was = before != NULL ? json_dumps(before, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    char *is = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    buffer detail = {0};
    buffer_add_format(&detail, ": %s was %.200s and is %.200s", key, was != NULL ? was : "not set",
                      is != NULL ? is : "not set");
    differs(output, "other settings", detail.data);
}

/* Some stand there only where they are set: a GPU, adapters, a window. */
static void compare_settings(const label_output *output, const json_t *old, const json_t *now)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        compare_setting(output, key, json_object_get(old, key), value);
    }
    json_object_foreach((json_t *)old, key, value)
    {
        compare_setting(output, key, value, json_object_get(now, key));
    }
}

static void compare_state(const label_output *output, const json_t *old, const json_t *now)
{
    static const char *const parts[][2] = {
        {"input", "another input"}, {"prompt", "another prompt"}, {"model", "another model"}};
    for (size_t i = 0; i < 3; i++) {
        const char *key = strcmp(parts[i][0], "model") == 0 ? "hash" : "sha256";
        const char *was =
            json_string_value(json_object_get(json_object_get(old, parts[i][0]), key));
        const char *is = json_string_value(json_object_get(json_object_get(now, parts[i][0]), key));
        if (was != NULL && is != NULL && strcmp(was, is) == 0)
            continue;
        char detail[64];
        snprintf(detail, sizeof detail, " (hash %.12s, now %.12s)", was != NULL ? was : "none",
                 is != NULL ? is : "none");
        differs(output, parts[i][1], detail);
    }
    compare_settings(output, json_object_get(old, "settings"), json_object_get(now, "settings"));
}

/* ---- what the output holds already ---- */

static buffer read_output(const label_output *output)
{
    buffer text = {0};
    struct stat about;
    if (fstat(output->descriptor, &about) != 0)
        fail("cannot read %s: %s", output->path, strerror(errno));
    buffer_reserve(&text, (size_t)about.st_size);
    while (text.length < (size_t)about.st_size) {
        ssize_t got = pread(output->descriptor, text.data + text.length,
                            (size_t)about.st_size - text.length, (off_t)text.length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            fail("cannot read %s: %s", output->path, strerror(errno));
        if (got == 0)
            break;
        text.length += (size_t)got;
    }
    /* After a power failure a file can end with zeros that were never written. */
    while (text.length != 0 && text.data[text.length - 1] == '\0')
        text.length--;
    return text;
}

static noreturn void not_ours(const label_output *output, uint64_t line, const char *what)
{
    fail("line %llu of %s %s; it was changed after this program wrote it: --overwrite starts"
         " again",
         (unsigned long long)line, output->path, what);
}

/* The row that a complete record of the file must have next. */
static void count_row(label_output *output, int64_t row, uint64_t line)
{
    if (row != (int64_t)output->rows + 1)
        not_ours(output, line, "has another row number than it should");
    output->rows++;
}

static void scan_csv(label_output *output, const buffer *text, const buffer *header)
{
    if (text->length < header->length)
        return;
    if (memcmp(text->data, header->data, header->length) != 0)
        not_ours(output, 1, "is another header than it should be");
    csv_reader reader;
    csv_reader_begin(&reader, text->data, text->length, ',');
    bool first = true;
    size_t n_columns = 0;
    csv_result result;
    while ((result = csv_read(&reader)) == CSV_RECORD && reader.terminated) {
        int64_t row = 0;
        if (first)
            n_columns = reader.n_fields;
        else if (reader.n_fields != n_columns)
            not_ours(output, reader.record_line, "has another number of fields than the header");
        else if (!parse_integer(csv_field(&reader, 0, NULL), &row))
            not_ours(output, reader.record_line, "does not begin with a row number");
        else
            count_row(output, row, reader.record_line);
        first = false;
        output->length = reader.at;
    }
    if (result == CSV_ERROR && !reader.unclosed)
        not_ours(output, reader.error_line, "is no CSV");
    csv_reader_free(&reader);
}

static void scan_lines(label_output *output, const buffer *text)
{
    uint64_t line = 0;
    while (output->length < text->length) {
        const char *start = text->data + output->length;
        const char *end = memchr(start, '\n', text->length - output->length);
        if (end == NULL)
            break;
        line++;
        json_error_t error;
        json_t *object = json_loadb(start, (size_t)(end - start), JSON_ALLOW_NUL, &error);
        json_t *row = json_object_get(object, "row");
        if (!json_is_integer(row))
            not_ours(output, line, "is no JSON object with a row number");
        count_row(output, json_integer_value(row), line);
        json_decref(object);
        output->length = (uint64_t)(end + 1 - text->data);
    }
}

static void resume(label_output *output, const buffer *text, const json_t *state,
                   const buffer *header)
{
    json_t *old = read_state(output);
    if (old == NULL)
        fail("%s exists and has no %s beside it, so it cannot be gone on with; take another"
             " --output, or start again with --overwrite",
             output->path, output->state_path);
    compare_state(output, old, state);
    json_decref(old);
    if (output->csv)
        scan_csv(output, text, header);
    else
        scan_lines(output, text);
}

/* ---- opening, writing, closing ---- */

static void open_descriptor(label_output *output, const char *path)
{
    struct stat about;
    if (strcmp(path, "-") == 0) {
        output->path = "standard output";
        output->descriptor = dup(STDOUT_FILENO);
        output->regular = false;
    } else if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
        output->descriptor = open(path, O_WRONLY | O_CLOEXEC);
        output->regular = false;
    } else {
        output->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        output->regular = true;
    }
    if (output->descriptor < 0)
        fail("cannot open %s: %s", output->path, strerror(errno));
}

static void cut(const label_output *output)
{
    if (ftruncate(output->descriptor, (off_t)output->length) != 0 ||
        lseek(output->descriptor, (off_t)output->length, SEEK_SET) < 0)
        fail("cannot cut %s to %llu bytes: %s", output->path, (unsigned long long)output->length,
             strerror(errno));
}

static noreturn void write_failed(const label_output *output, int reason)
{
    if (!output->regular)
        fail("cannot write %s: %s", output->path, strerror(reason));
    /* Leaves whole records; should this fail too, the next run cuts them. */
    (void)!ftruncate(output->descriptor, (off_t)output->length);
    fail("cannot write %s: %s; %llu rows are complete, and the same command goes on behind them",
         output->path, strerror(reason), (unsigned long long)output->rows);
}

static void write_record(label_output *output, const buffer *record)
{
    if (!write_all(output->descriptor, record->data, record->length))
        write_failed(output, errno);
    output->length += record->length;
}

void output_open(label_output *output, const char *path, bool csv, start_mode mode,
                 const json_t *state, const buffer *header)
{
    *output = (label_output){.path = path, .csv = csv, .synced = clock_seconds()};
    open_descriptor(output, path);
    buffer name = {0};
    buffer_add_format(&name, "%s.state", path);
    output->state_path = name.data;
    if (output->regular) {
        if (flock(output->descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            fail("another run is writing %s", path);
        buffer text = read_output(output);
        if (text.length != 0 && mode == START_FRESH)
            fail("%s exists; --fresh does not touch it (--overwrite would)", path);
        if (text.length != 0 && mode == START_RESUME)
            resume(output, &text, state, header);
        if (text.length > output->length && output->length != 0)
            warn("%s ended within a record, which was cut off", path);
        cut(output);
        buffer_free(&text);
        if (output->length == 0)
            write_state(output, state);
    }
    if (output->length == 0 && header->length != 0)
        write_record(output, header);
}

static void make_safe(label_output *output)
{
    /* Pipes and devices have nothing to make safe. */
    if (output->regular && fdatasync(output->descriptor) != 0 && errno != EINVAL &&
        errno != ENOTSUP && errno != EROFS)
        write_failed(output, errno);
    output->synced = clock_seconds();
}

void output_record(label_output *output, const buffer *record)
{
    write_record(output, record);
    output->rows++;
    if (clock_seconds() - output->synced > sync_interval)
        make_safe(output);
}

void output_close(label_output *output)
{
    make_safe(output);
    if (close(output->descriptor) != 0)
        fail("cannot write %s: %s", output->path, strerror(errno));
    free(output->state_path);
    output->state_path = NULL;
}
