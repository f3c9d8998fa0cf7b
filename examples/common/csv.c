#include "common/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

void csv_reader_begin(csv_reader *reader, const char *data, size_t length, char delimiter)
{
    *reader = (csv_reader){.data = data, .length = length, .delimiter = delimiter, .line = 1};
    /* A byte order mark is no part of the first name. */
    if (length >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
        reader->at = 3;
}

void csv_reader_free(csv_reader *reader)
{
    buffer_free(&reader->bytes);
    free(reader->ends);
    reader->ends = NULL;
}

const char *csv_field(const csv_reader *reader, size_t index, size_t *length)
{
    size_t start = index != 0 ? reader->ends[index - 1] + 1 : 0;
    if (length != NULL)
        *length = reader->ends[index] - start;
    return reader->bytes.data + start;
}

static csv_result failed(csv_reader *reader, uint64_t line, const char *what)
{
    snprintf(reader->error, sizeof reader->error, "%s", what);
    reader->error_line = line;
    return CSV_ERROR;
}

static void end_field(csv_reader *reader)
{
    if (reader->n_fields == reader->capacity) {
        reader->capacity = reader->capacity * 2 + 16;
        reader->ends = memory_resize(reader->ends, reader->capacity * sizeof *reader->ends);
    }
    reader->ends[reader->n_fields++] = reader->bytes.length;
    buffer_add(&reader->bytes, "", 1);
}

/* The length of the line break at offset `at`: 0 where there is none. */
static size_t line_break(const csv_reader *reader, size_t at)
{
    if (at >= reader->length)
        return 0;
    if (reader->data[at] == '\n')
        return 1;
    if (reader->data[at] != '\r')
        return 0;
    return at + 1 < reader->length && reader->data[at + 1] == '\n' ? 2 : 1;
}

/* The text between quotes; `at` stands behind the first quote and ends behind the last. */
static csv_result read_quoted(csv_reader *reader)
{
    uint64_t opened = reader->line;
    for (;;) {
        size_t start = reader->at;
        while (reader->at < reader->length && reader->data[reader->at] != '"') {
            if (reader->data[reader->at] == '\0')
                return failed(reader, reader->line, "a NUL byte: this is no text file");
            /* CRLF counts once, at its LF. */
            if (reader->data[reader->at] == '\n' ||
                (reader->data[reader->at] == '\r' && line_break(reader, reader->at) == 1))
                reader->line++;
            reader->at++;
        }
        buffer_add(&reader->bytes, reader->data + start, reader->at - start);
        if (reader->at == reader->length) {
            reader->unclosed = true;
            return failed(reader, opened, "a quote is opened and never closed");
        }
        reader->at++;
        if (reader->at >= reader->length || reader->data[reader->at] != '"')
            return CSV_RECORD;
        buffer_add(&reader->bytes, "\"", 1);
        reader->at++;
    }
}

static csv_result read_plain(csv_reader *reader)
{
    size_t start = reader->at;
    while (reader->at < reader->length && reader->data[reader->at] != reader->delimiter &&
           reader->data[reader->at] != '\n' && reader->data[reader->at] != '\r') {
        if (reader->data[reader->at] == '\0')
            return failed(reader, reader->line, "a NUL byte: this is no text file");
        reader->at++;
    }
    buffer_add(&reader->bytes, reader->data + start, reader->at - start);
    return CSV_RECORD;
}

static csv_result read_field(csv_reader *reader)
{
    if (reader->at >= reader->length || reader->data[reader->at] != '"')
        return read_plain(reader);
    reader->at++;
    csv_result result = read_quoted(reader);
    if (result != CSV_RECORD)
        return result;
    if (reader->at < reader->length && reader->data[reader->at] != reader->delimiter &&
        line_break(reader, reader->at) == 0)
        return failed(reader, reader->line,
                      reader->data[reader->at] == '\0'
                          ? "a NUL byte: this is no text file"
                          : "text behind a closing quote; a quote within quotes is written twice");
    return CSV_RECORD;
}

csv_result csv_read(csv_reader *reader)
{
    for (size_t size; (size = line_break(reader, reader->at)) != 0; reader->at += size) {
        reader->line++;
        reader->blank_lines++;
    }
    if (reader->at >= reader->length)
        return CSV_END;
    buffer_clear(&reader->bytes);
    reader->n_fields = 0;
    reader->record_line = reader->line;
    reader->terminated = false;
    for (;;) {
        csv_result result = read_field(reader);
        if (result != CSV_RECORD)
            return result;
        end_field(reader);
        if (reader->at >= reader->length)
            return CSV_RECORD;
        size_t size = line_break(reader, reader->at);
        if (size != 0) {
            reader->at += size;
            reader->line++;
            reader->terminated = true;
            return CSV_RECORD;
        }
        reader->at++; /* the delimiter */
    }
}

void csv_add_field(buffer *target, const char *text, size_t length, char delimiter, bool first)
{
    if (!first)
        buffer_add(target, &delimiter, 1);
    bool quoted = length != 0 && (text[0] == ' ' || text[length - 1] == ' ');
    for (size_t i = 0; i < length && !quoted; i++)
        quoted = text[i] == delimiter || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    if (!quoted) {
        buffer_add(target, text, length);
        return;
    }
    buffer_add(target, "\"", 1);
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') {
            buffer_add(target, text + start, i + 1 - start);
            start = i; /* the quote once more with what follows */
        }
    }
    buffer_add(target, text + start, length - start);
    buffer_add(target, "\"", 1);
}

void csv_end_record(buffer *target)
{
    buffer_add(target, "\n", 1);
}
