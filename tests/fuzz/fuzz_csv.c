/* Fuzzes the tables that programs read: records are read up to the end or to the first mistake, and
 * what was read is the same once it was written and read again. The input: a byte for the
 * delimiter, and the table. */
#include "fuzz_common.h"

#include "common/csv.h"

static const char delimiters[] = {',', ';', '\t', '|'};

/* Writes the record behind the others. */
static void write_again(const csv_reader *reader, buffer *table)
{
    for (size_t i = 0; i < reader->n_fields; i++) {
        size_t length = 0;
        const char *field = csv_field(reader, i, &length);
        HOLDS(strlen(field) == length);
        csv_add_field(table, field, length, ',', i == 0);
    }
    csv_end_record(table);
}

static buffer read_all(const char *data, size_t size, char delimiter, size_t *n_records)
{
    csv_reader reader;
    buffer table = {0};
    csv_reader_begin(&reader, data, size, delimiter);
    csv_result result;
    while ((result = csv_read(&reader)) == CSV_RECORD) {
        HOLDS(reader.n_fields > 0 && reader.at <= size && reader.record_line <= reader.line);
        if (reader.n_fields == 1 && csv_field(&reader, 0, NULL)[0] == '\0')
            continue; /* "": would be a blank line */
        write_again(&reader, &table);
        ++*n_records;
    }
    HOLDS(result != CSV_ERROR || (reader.error[0] != '\0' && reader.error_line >= 1));
    csv_reader_free(&reader);
    return table;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    size_t first = 0, second = 0;
    char delimiter = delimiters[take_byte(&in) % 4];
    buffer table = read_all((const char *)in.data, in.size, delimiter, &first);
    if (first > 0 && memcmp(table.data, "\xEF\xBB\xBF", table.length < 3 ? table.length : 3) != 0) {
        buffer again = read_all(table.data, table.length, ',', &second);
        HOLDS(first == second && again.length == table.length &&
              memcmp(again.data, table.data, table.length) == 0);
        buffer_free(&again);
    }
    buffer_free(&table);
    buffer repaired = {0};
    add_repaired(&repaired, (const char *)in.data, in.size);
    HOLDS(repaired.data == NULL || utf8_invalid(repaired.data, repaired.length) == repaired.length);
    buffer_free(&repaired);
    return 0;
}
