/* The input table and the prompt of radllm-label. */
#include "label.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

static const size_t input_limit = (size_t)8 << 30;

void sha256_text(const char *bytes, size_t length, char out[65])
{
    struct sha256_ctx context;
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, length, (const uint8_t *)bytes);
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static noreturn void fail_at(const input_table *table, uint64_t row, uint64_t line,
                             const char *what)
{
    if (row == 0)
        fail("%s: header (line %llu): %s", table->path, (unsigned long long)line, what);
    fail("%s: row %llu (line %llu): %s", table->path, (unsigned long long)row,
         (unsigned long long)line, what);
}

static void check_utf8(const input_table *table, const csv_reader *reader, size_t start,
                       uint64_t line, uint64_t row)
{
    const char *bytes = table->text.data + start;
    size_t length = reader->at - start;
    size_t bad = utf8_invalid(bytes, length);
    if (bad == length)
        return;
    for (size_t i = 0; i < bad; i++)
        line += bytes[i] == '\n';
    char what[160];
    snprintf(what, sizeof what,
             "byte 0x%02X is not UTF-8; convert the file, for example with"
             " iconv -f WINDOWS-1252 -t UTF-8",
             (unsigned char)bytes[bad]);
    fail_at(table, row, line, what);
}

static bool read_row(const input_table *table, csv_reader *reader, uint64_t row)
{
    size_t start = reader->at;
    uint64_t line = reader->line;
    csv_result result = csv_read(reader);
    if (result == CSV_ERROR)
        fail_at(table, row, reader->error_line, reader->error);
    if (result == CSV_END)
        return false;
    check_utf8(table, reader, start, line, row);
    return true;
}

static void read_header(input_table *table, csv_reader *reader)
{
    if (!read_row(table, reader, 0))
        fail("%s is empty: a header with the names of the columns is needed", table->path);
    table->n_columns = reader->n_fields;
    table->name_at = memory_array(reader->n_fields, sizeof *table->name_at);
    for (size_t i = 0; i < reader->n_fields; i++) {
        size_t length = 0;
        const char *name = csv_field(reader, i, &length);
        table->name_at[i] = table->names.length;
        buffer_add(&table->names, name, length + 1);
    }
    table->body = reader->at;
    table->body_line = reader->line;
}

void input_read(input_table *table, const char *path, char delimiter)
{
    *table = (input_table){.path = strcmp(path, "-") == 0 ? "standard input" : path,
                           .delimiter = delimiter};
    table->text = read_whole(path, input_limit);
    const unsigned char *bytes = (const unsigned char *)table->text.data;
    if (table->text.length >= 2 &&
        ((bytes[0] == 0xFF && bytes[1] == 0xFE) || (bytes[0] == 0xFE && bytes[1] == 0xFF)))
        fail("%s is UTF-16; convert it with iconv -f UTF-16 -t UTF-8", table->path);
    sha256_text(table->text.data, table->text.length, table->hash);
    csv_reader reader;
    csv_reader_begin(&reader, table->text.data, table->text.length, delimiter);
    read_header(table, &reader);
    while (read_row(table, &reader, table->rows + 1)) {
        table->rows++;
        if (reader.n_fields == table->n_columns)
            continue;
        char what[160];
        snprintf(what, sizeof what, "too %s fields: %zu where the header has %zu%s",
                 reader.n_fields < table->n_columns ? "few" : "many", reader.n_fields,
                 table->n_columns,
                 reader.n_fields < table->n_columns
                     ? ""
                     : "; a field with a delimiter in it stands in quotes");
        fail_at(table, table->rows, reader.record_line, what);
    }
    if (reader.blank_lines != 0)
        warn("%s: %llu blank lines are no rows", table->path,
             (unsigned long long)reader.blank_lines);
    csv_reader_free(&reader);
}

void input_free(input_table *table)
{
    buffer_free(&table->text);
    buffer_free(&table->names);
    free(table->name_at);
    table->name_at = NULL;
}

const char *input_column_name(const input_table *table, size_t column)
{
    return table->names.data + table->name_at[column];
}

static noreturn void column_missing(const input_table *table, const char *name)
{
    buffer names = {0};
    for (size_t i = 0; i < table->n_columns && names.length < 1000; i++) {
        buffer_add_text(&names, i != 0 ? ", " : "");
        add_escaped(&names, input_column_name(table, i), strlen(input_column_name(table, i)));
    }
    const char *hint = "";
    if (table->n_columns == 1 && table->delimiter != ';' && strchr(names.data, ';') != NULL)
        hint = "; are they separated by semicolons? Then add --delimiter ';'";
    else if (table->n_columns == 1 && strstr(names.data, "\\t") != NULL)
        hint = "; are they separated by tabs? Then add --delimiter tab";
    fail("%s has no column \"%s\"; its columns are: %s%s", table->path, name, names.data, hint);
}

size_t input_column(const input_table *table, const char *name)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (strcmp(input_column_name(table, i), name) != 0)
            continue;
        if (found != SIZE_MAX)
            fail("%s has two columns \"%s\"; rename one", table->path, name);
        found = i;
    }
    if (found == SIZE_MAX)
        column_missing(table, name);
    return found;
}

void input_rewind(const input_table *table, csv_reader *reader)
{
    csv_reader_begin(reader, table->text.data, table->text.length, table->delimiter);
    reader->at = table->body;
    reader->line = table->body_line;
}

static void add_part(prompt_template *prompt, prompt_part part)
{
    prompt->parts = memory_resize(prompt->parts, (prompt->count + 1) * sizeof *prompt->parts);
    prompt->parts[prompt->count++] = part;
}

static size_t parse_column(prompt_template *prompt, size_t at, const input_table *table)
{
    const char *text = prompt->text.data;
    const char *end = memchr(text + at, '}', prompt->text.length - at);
    if (end == NULL)
        fail_usage("prompt: the { at byte %zu is not closed; a brace itself is written {{", at);
    size_t length = (size_t)(end - (text + at)) - 1;
    char *name = memory_take(length + 1);
    memcpy(name, text + at + 1, length);
    name[length] = '\0';
    add_part(prompt, (prompt_part){.is_column = true, .column = input_column(table, name)});
    free(name);
    return at + length + 2;
}

void prompt_parse(prompt_template *prompt, buffer text, const input_table *table)
{
    *prompt = (prompt_template){.text = text};
    size_t bad = utf8_invalid(text.data, text.length);
    if (bad != text.length)
        fail("prompt: byte %zu (0x%02X) is not UTF-8", bad, (unsigned char)text.data[bad]);
    sha256_text(text.data, text.length, prompt->hash);
    bool has_column = false;
    size_t at = 0;
    while (at < text.length) {
        size_t start = at;
        while (at < text.length && text.data[at] != '{' && text.data[at] != '}')
            at++;
        bool doubled = at + 1 < text.length && text.data[at + 1] == text.data[at];
        /* Of a doubled brace the first one belongs to the literal text. */
        size_t length = at - start + (at < text.length && doubled);
        if (length != 0)
            add_part(prompt, (prompt_part){.start = start, .length = length});
        if (at >= text.length)
            break;
        if (doubled) {
            at += 2;
        } else if (text.data[at] == '}') {
            fail_usage("prompt: the } at byte %zu stands alone; a brace itself is written }}", at);
        } else {
            at = parse_column(prompt, at, table);
            has_column = true;
        }
    }
    if (!has_column)
        fail_usage("the prompt names no column: write {NAME} where the text of the column NAME"
                   " belongs");
}

void prompt_fill(const prompt_template *prompt, const csv_reader *reader, buffer *out)
{
    for (size_t i = 0; i < prompt->count; i++) {
        const prompt_part *part = &prompt->parts[i];
        size_t length = part->length;
        const char *text = prompt->text.data + part->start;
        if (part->is_column)
            text = csv_field(reader, part->column, &length);
        buffer_add(out, text, length);
    }
}

void prompt_free(prompt_template *prompt)
{
    buffer_free(&prompt->text);
    free(prompt->parts);
    *prompt = (prompt_template){0};
}
