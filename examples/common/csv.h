/* CSV after RFC 4180, from and to memory: quotes, doubled quotes, line breaks within quotes; lines
 * end with LF, CRLF or CR. Nothing here knows what a table means. */
#ifndef EXAMPLES_CSV_H
#define EXAMPLES_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/text.h"

typedef enum csv_result { CSV_RECORD, CSV_END, CSV_ERROR } csv_result;

typedef struct csv_reader {
    const char *data;
    size_t length;
    size_t at; /* offset behind the record that was read */
    char delimiter;
    uint64_t line;        /* at offset `at`, from 1 */
    uint64_t record_line; /* where the record began */
    uint64_t blank_lines; /* skipped so far */
    bool terminated;      /* the record ended with a line break */
    buffer bytes;         /* the fields, one behind the other, each with a NUL */
    size_t *ends;         /* offset behind each field in `bytes`, its NUL not counted */
    size_t n_fields;
    size_t capacity;
    char error[256]; /* of CSV_ERROR, without place */
    uint64_t error_line;
    bool unclosed; /* the error is a quote that is open at the end */
} csv_reader;

void csv_reader_begin(csv_reader *reader, const char *data, size_t length, char delimiter);
/* Reads a record. Lines with nothing in them are skipped. */
csv_result csv_read(csv_reader *reader);
const char *csv_field(const csv_reader *reader, size_t index, size_t *length);
void csv_reader_free(csv_reader *reader);

/* Appends a field, quoted where it has to be; `first` says that no delimiter goes before it. */
void csv_add_field(buffer *target, const char *text, size_t length, char delimiter, bool first);
void csv_end_record(buffer *target);

#endif
