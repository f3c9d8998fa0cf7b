/* radllm-embed: vectors of texts, or how alike texts are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arguments.h"
#include "common/csv.h"
#include "common/program.h"
#include "common/progress.h"
#include "common/runtime.h"
#include "common/text.h"

enum { INPUT_LIMIT = 1 << 30, AT_A_TIME = 64 };

typedef enum output_format_ { FORMAT_JSON, FORMAT_CSV, FORMAT_NPY } output_format_;

typedef struct settings {
    text_list texts; /* of -p */
    const char *file, *column, *delimiter, *format, *prefix, *query;
    bool verbose;
} settings;

/* What is embedded. */
typedef struct text_table {
    buffer bytes; /* all texts, one behind the other, with their prefix */
    size_t *ends; /* of each in bytes */
    size_t count, capacity;
    size_t prefix_size;
} text_table;

typedef struct work {
    const settings *own;
    runtime run;
    radllm_options *options;
    text_table table;
    size_t width;
    bool by_token; /* pooling none */
    output_format_ format;
    float *query;   /* the vector of --query; NULL: none */
    float *vectors; /* of the texts at hand */
    size_t capacity, length;
    progress_bar bar;
} work;

/* ---- input --------------------------------------------------------------------------------------
 */

static void add_text(text_table *table, const char *prefix, const char *text, size_t length)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity * 2 + 64;
        table->ends = memory_resize(table->ends, table->capacity * sizeof *table->ends);
    }
    buffer_add_text(&table->bytes, prefix);
    buffer_add(&table->bytes, text, length);
    table->ends[table->count++] = table->bytes.length;
}

static const char *text_at(const text_table *table, size_t index, size_t *length)
{
    size_t start = index == 0 ? 0 : table->ends[index - 1];
    *length = table->ends[index] - start;
    return table->bytes.data + start;
}

/* One text a line; an empty line is an empty text. */
static void add_lines(text_table *table, const char *prefix, const buffer *input)
{
    for (size_t at = 0; at < input->length;) {
        const char *line = input->data + at, *end = memchr(line, '\n', input->length - at);
        size_t length = end != NULL ? (size_t)(end - line) : input->length - at;
        at += length + 1;
        if (length > 0 && line[length - 1] == '\r')
            length--;
        add_text(table, prefix, line, length);
    }
}

static char delimiter_of(const settings *own)
{
    const char *text = own->delimiter != NULL ? own->delimiter : ",";
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0)
        return '\t';
    if (strlen(text) != 1 || (unsigned char)text[0] > 126 || strchr("\"\r\n", text[0]) != NULL)
        fail_usage("--delimiter: \"%s\" is not one ASCII character; for a tab write tab", text);
    return text[0];
}

static void fail_csv(const csv_reader *reader)
{
    fail("line %llu: %s", (unsigned long long)reader->error_line, reader->error);
}

static size_t find_column(csv_reader *reader, const char *name)
{
    csv_result result = csv_read(reader);
    if (result == CSV_ERROR)
        fail_csv(reader);
    for (size_t i = 0; result == CSV_RECORD && i < reader->n_fields; i++) {
        size_t length;
        const char *field = csv_field(reader, i, &length);
        if (length == strlen(name) && memcmp(field, name, length) == 0)
            return i;
    }
    fail("--column %s: the table's first line has no column of this name%s", name,
         reader->n_fields == 1 ? "; is the --delimiter right?" : "");
}

static void add_column(text_table *table, const settings *own, const buffer *input)
{
    csv_reader reader;
    csv_reader_begin(&reader, input->data, input->length, delimiter_of(own));
    size_t column = find_column(&reader, own->column);
    csv_result result;
    while ((result = csv_read(&reader)) == CSV_RECORD) {
        size_t length;
        if (column >= reader.n_fields)
            fail("line %llu has %zu fields, the column %s is number %zu",
                 (unsigned long long)reader.record_line, reader.n_fields, own->column, column + 1);
        const char *field = csv_field(&reader, column, &length);
        add_text(table, own->prefix, field, length);
    }
    if (result == CSV_ERROR)
        fail_csv(&reader);
    csv_reader_free(&reader);
}

static void read_texts(text_table *table, settings *own)
{
    table->prefix_size = strlen(own->prefix);
    for (size_t i = 0; i < own->texts.count; i++)
        add_text(table, own->prefix, own->texts.items[i], strlen(own->texts.items[i]));
    free(own->texts.items);
    own->texts.items = NULL;
    if (own->texts.count > 0)
        return;
    buffer input = read_whole(own->file != NULL ? own->file : "-", INPUT_LIMIT);
    buffer_reserve(&input, 0);
    if (own->column != NULL)
        add_column(table, own, &input);
    else
        add_lines(table, own->prefix, &input);
    buffer_free(&input);
}

/* ---- vectors ------------------------------------------------------------------------------------
 */

/* Vectors of `count` texts from `first` on into the buffer of the work at hand. */
static void embed(work *self, const char *const *texts, const size_t *lengths, size_t count,
                  const char *what)
{
    radllm_error *error = program_error();
    radllm_status status =
        radllm_embed(self->run.engine, texts, lengths, count, self->options, program_cancel(),
                     self->vectors, self->capacity, &self->length, error);
    if (status == RADLLM_E_BUFFER) {
        self->capacity = self->length;
        self->vectors = memory_resize(self->vectors, self->capacity * sizeof *self->vectors);
        status =
            radllm_embed(self->run.engine, texts, lengths, count, self->options, program_cancel(),
                         self->vectors, self->capacity, &self->length, error);
    }
    if (status != RADLLM_OK)
        progress_clear(&self->bar);
    check(status, what);
}

static void embed_query(work *self)
{
    size_t length = strlen(self->own->query);
    embed(self, &self->own->query, &length, 1, "--query");
    self->query = memory_array(self->width, sizeof *self->query);
    memcpy(self->query, self->vectors, self->width * sizeof *self->query);
}

static double similarity(const work *self, const float *vector)
{
    double product = 0.0, a = 0.0, b = 0.0;
    for (size_t i = 0; i < self->width; i++) {
        product += (double)vector[i] * self->query[i];
        a += (double)vector[i] * vector[i];
        b += (double)self->query[i] * self->query[i];
    }
    return a > 0.0 && b > 0.0 ? product / (sqrt(a) * sqrt(b)) : 0.0;
}

/* ---- output -------------------------------------------------------------------------------------
 */

/* Nine digits give the same float when they are read. */
static void add_numbers(buffer *line, const float *vector, size_t count, char delimiter)
{
    for (size_t i = 0; i < count; i++)
        buffer_add_format(line, "%s%.9g", i == 0 ? "" : (char[]){delimiter, '\0'},
                          (double)vector[i]);
}

static void add_json_text(buffer *line, const char *text, size_t length)
{
    json_t *value = json_from_text(text, length);
    char *written = json_dumps(value, JSON_ENCODE_ANY);
    if (written == NULL)
        fail("memory is short");
    buffer_add_text(line, written);
    free(written);
    json_decref(value);
}

static void write_json(const work *self, size_t index, const float *vectors, size_t rows)
{
    size_t length;
    const char *text = text_at(&self->table, index, &length);
    buffer line = {0};
    buffer_add_format(&line, "{\"index\": %zu, \"text\": ", index);
    add_json_text(&line, text + self->table.prefix_size, length - self->table.prefix_size);
    if (self->query != NULL) {
        buffer_add_format(&line, ", \"similarity\": %.9g}\n", similarity(self, vectors));
    } else {
        buffer_add_text(&line, self->by_token ? ", \"embeddings\": [" : ", \"embedding\": ");
        for (size_t i = 0; i < rows; i++) {
            buffer_add_text(&line, i == 0 ? "[" : ", [");
            add_numbers(&line, vectors + i * self->width, self->width, ',');
            buffer_add_text(&line, "]");
        }
        buffer_add_text(&line, self->by_token ? "]}\n" : "}\n");
    }
    output_write(line.data, line.length);
    buffer_free(&line);
}

static void write_csv(const work *self, size_t index, const float *vector)
{
    size_t length;
    const char *text = text_at(&self->table, index, &length);
    buffer line = {0};
    csv_add_field(&line, text + self->table.prefix_size, length - self->table.prefix_size, ',',
                  true);
    buffer_add_text(&line, ",");
    if (self->query != NULL)
        buffer_add_format(&line, "%.9g", similarity(self, vector));
    else
        add_numbers(&line, vector, self->width, ',');
    csv_end_record(&line);
    output_write(line.data, line.length);
    buffer_free(&line);
}

/* NumPy's format 1.0: a header that is padded to whole 64 bytes, then the array. */
static void write_npy_header(size_t rows, size_t columns)
{
    char text[128];
    int size =
        snprintf(text, sizeof text,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
    size_t padded = 128 - 10;
    output_write("\x93NUMPY\x01\x00", 8);
    output_write((const char[]){(char)padded, 0}, 2);
    output_write(text, (size_t)size);
    for (size_t i = (size_t)size; i < padded - 1; i++)
        output_write(" ", 1);
    output_write("\n", 1);
}

static void write_npy(const float *vector, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], sizeof bits);
        const char bytes[] = {(char)bits, (char)(bits >> 8), (char)(bits >> 16),
                              (char)(bits >> 24)};
        output_write(bytes, sizeof bytes);
    }
}

static void write_header(const work *self)
{
    if (self->format == FORMAT_NPY)
        write_npy_header(self->table.count, self->width);
    if (self->format != FORMAT_CSV)
        return;
    output_text("text");
    for (size_t i = 0; self->query == NULL && i < self->width; i++)
        output_format(",e%zu", i);
    output_text(self->query != NULL ? ",similarity\r\n" : "\r\n");
}

static void write_text(const work *self, size_t index, const float *vectors, size_t rows)
{
    if (self->format == FORMAT_NPY)
        write_npy(vectors, self->width);
    else if (self->format == FORMAT_CSV)
        write_csv(self, index, vectors);
    else
        write_json(self, index, vectors, rows);
}

/* ---- the work -----------------------------------------------------------------------------------
 */

static void embed_all(work *self)
{
    size_t at_a_time = self->by_token ? 1 : AT_A_TIME;
    progress_begin(&self->bar, "embed", "texts", self->table.count, 0);
    self->bar.only_on_terminal = !self->own->verbose;
    write_header(self);
    for (size_t first = 0; first < self->table.count; first += at_a_time) {
        const char *texts[AT_A_TIME];
        size_t lengths[AT_A_TIME], count = self->table.count - first;
        char what[64];
        count = count < at_a_time ? count : at_a_time;
        for (size_t i = 0; i < count; i++)
            texts[i] = text_at(&self->table, first + i, &lengths[i]);
        snprintf(what, sizeof what,
                 first == 0 ? "texts counted from 0" : "behind the first %zu texts", first);
        embed(self, texts, lengths, count, what);
        size_t rows = self->length / count / self->width;
        for (size_t i = 0; i < count; i++)
            write_text(self, first + i, self->vectors + i * rows * self->width, rows);
        progress_show(&self->bar, first + count);
    }
    progress_end(&self->bar);
}

static void choose_format(work *self, const common_settings *common)
{
    const char *name = self->own->format;
    self->options = common->options;
    self->format = name == NULL || strcmp(name, "jsonl") == 0 ? FORMAT_JSON
                   : strcmp(name, "csv") == 0                 ? FORMAT_CSV
                                                              : FORMAT_NPY;
    if (self->format == FORMAT_NPY && strcmp(name, "npy") != 0)
        fail_usage("--format: \"%s\" is none of jsonl, csv and npy", name);
    char *pooling = option_text(common->options, "pooling");
    self->by_token = strcmp(pooling, "none") == 0;
    free(pooling);
    if (self->by_token && (self->format != FORMAT_JSON || self->own->query != NULL))
        fail_usage("--pooling none gives several vectors a text: write them as jsonl, without "
                   "--query");
    if (self->format == FORMAT_NPY && self->own->query != NULL)
        fail_usage("--query writes jsonl or csv");
    if (self->format == FORMAT_NPY && isatty(STDOUT_FILENO) == 1)
        fail_usage("--format npy is binary: redirect standard output to a file");
}

/* A model whose file says that tokens keep their vectors. */
static void check_pooling(work *self)
{
    char *own = model_text(self->run.model, "pooling");
    bool changed = option_changed(self->options, "pooling");
    if (!changed && strcmp(own, "none") == 0) {
        if (self->format != FORMAT_JSON || self->own->query != NULL)
            fail(
                "the model gives a vector for each token; choose one for each text with --pooling");
        self->by_token = true;
    }
    free(own);
}

static void start(work *self, const common_settings *common)
{
    runtime_load(&self->run, common, self->own->verbose);
    check_pooling(self);
    self->width = (size_t)model_number(self->run.model, "embedding_length");
    if (model_number(self->run.model, "generates") == 0)
        check(radllm_engine_new(self->run.host, self->run.model, common->options, &self->run.engine,
                                program_error()),
              NULL);
    else
        (void)runtime_start_many(&self->run, common, 8);
}

static void parse(int count, char **values, settings *own, common_settings *common)
{
    const argument table[] = {
        {'p', "text", "TEXT", ARGUMENT_TEXTS, &own->texts, NULL, 0, 0,
         "a text; may be given several times"},
        {'f', "file", "FILE", ARGUMENT_TEXT, &own->file, NULL, 0, 0,
         "one text a line; without -p and -f from standard input"},
        {'\0', "column", "NAME", ARGUMENT_TEXT, &own->column, NULL, 0, 0,
         "the input is a CSV table; the texts stand in this column"},
        {'\0', "delimiter", "C", ARGUMENT_TEXT, &own->delimiter, NULL, 0, 0,
         "what is between its columns: , (the default), ;, tab, ..."},
        {'\0', "format", "NAME", ARGUMENT_TEXT, &own->format, NULL, 0, 0,
         "jsonl (the default): an object a line; csv; npy: an array\nof float32 for NumPy"},
        {'\0', "prefix", "TEXT", ARGUMENT_TEXT, &own->prefix, NULL, 0, 0,
         "what the model wants before each text (\"search_document: \")"},
        {'\0', "query", "TEXT", ARGUMENT_TEXT, &own->query, NULL, 0, 0,
         "write how alike each text is to this one (cosine, -1 to 1)\nin place of vectors; "
         "without the prefix"},
        {'\0', "pooling", "HOW", ARGUMENT_OPTION, NULL, "pooling", 0, 0,
         "auto (as the model says), mean, cls, last, or none: a\nvector for each token"},
        {'\0', "normalize", "HOW", ARGUMENT_OPTION, NULL, "normalize", 0, 0,
         "vectors of length 1: auto, on or off"},
        {'\0', "truncate", NULL, ARGUMENT_OPTION, NULL, "truncate", 0, 0,
         "take the beginning of texts that are too long"},
        DEVICE_ARGUMENTS,
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own->verbose, NULL, 0, 0,
         "what is done, and how fast, on standard error"},
    };
    const program_usage usage = {
        "-m MODEL [-p TEXT]... [OPTION]...\n-m MODEL [-f FILE [--column NAME]] [OPTION]...",
        "Writes a vector for each text, to search, group and compare texts: by an embedding\n"
        "model (bge, MiniLM, nomic-embed, Qwen3-Embedding, ...), or by any other with --pooling.\n"
        "The same text has the same vector alone and among others.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    own->prefix = "";
    arguments_parse(count, values, &usage, common);
    arguments_refuse_positional(common);
    if (own->texts.count > 0 && (own->file != NULL || own->column != NULL))
        fail_usage("give the texts once: -p TEXT, or -f FILE, or on standard input");
    if (own->delimiter != NULL && own->column == NULL)
        fail_usage("--delimiter goes with --column");
}

int main(int argc, char **argv)
{
    program_start("radllm-embed");
    settings own = {0};
    common_settings common;
    parse(argc, argv, &own, &common);
    work self = {.own = &own};
    choose_format(&self, &common);
    program_catch_signals(false);
    read_texts(&self.table, &own);
    start(&self, &common);
    double begun = clock_seconds();
    if (own.query != NULL)
        embed_query(&self);
    embed_all(&self);
    if (own.verbose) {
        int64_t tokens = 0;
        double seconds = clock_seconds() - begun;
        check(radllm_engine_number(self.run.engine, "tokens_computed", &tokens, program_error()),
              NULL);
        warn("%zu texts, %lld tokens, %.3f s (%.0f tokens/s)", self.table.count, (long long)tokens,
             seconds, seconds > 0.0 ? (double)tokens / seconds : 0.0);
    }
    free(self.query);
    free(self.vectors);
    free(self.table.ends);
    buffer_free(&self.table.bytes);
    runtime_free(&self.run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
