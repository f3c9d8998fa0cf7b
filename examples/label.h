/* The parts of radllm-label: the table that is read, the prompt that is filled, the output that
 * survives an interruption. */
#ifndef EXAMPLES_LABEL_H
#define EXAMPLES_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/arguments.h"
#include "common/csv.h"
#include "common/runtime.h"
#include "common/text.h"

/* ---- label_prompt.c ---- */

/* SHA-256 as 64 hexadecimal digits and a NUL. */
void sha256_text(const char *bytes, size_t length, char out[65]);

/* The input: the whole file in memory, checked from end to end before the model is asked, so that
 * a mistake in its last row is not found after hours. */
typedef struct input_table {
    const char *path;
    buffer text;
    char hash[65];
    char delimiter;
    buffer names;    /* the header's fields, one behind the other with NULs */
    size_t *name_at; /* where each begins */
    size_t n_columns;
    uint64_t rows;
    size_t body; /* offset behind the header */
    uint64_t body_line;
} input_table;

/* Ends the program with a message that names row and line where the file is not as it should be. */
void input_read(input_table *table, const char *path, char delimiter);
void input_free(input_table *table);
const char *input_column_name(const input_table *table, size_t column);
/* The index of a column; ends the program where there is none or more than one of that name. */
size_t input_column(const input_table *table, const char *name);
/* Starts reading the rows again. */
void input_rewind(const input_table *table, csv_reader *reader);

/* A prompt with {column} in it. */
typedef struct prompt_part {
    size_t start; /* of the literal text in `text` */
    size_t length;
    bool is_column;
    size_t column;
} prompt_part;

typedef struct prompt_template {
    buffer text;
    char hash[65];
    prompt_part *parts;
    size_t count;
} prompt_template;

/* Takes over `text`. Ends the program where a brace is alone or a column is missing. */
void prompt_parse(prompt_template *prompt, buffer text, const input_table *table);
/* Appends the prompt of the row in `reader`. */
void prompt_fill(const prompt_template *prompt, const csv_reader *reader, buffer *out);
void prompt_free(prompt_template *prompt);

/* ---- label_output.c ---- */

typedef enum start_mode {
    START_RESUME, /* go on where the output stops; refuse where it was made differently */
    START_FRESH,  /* refuse to touch an output that exists */
    START_OVERWRITE
} start_mode;

typedef struct label_output {
    const char *path;
    char *state_path;
    int descriptor;
    bool regular; /* a file that can be locked, cut and gone on with; else a pipe or device */
    bool csv;
    uint64_t length; /* bytes of complete records */
    uint64_t rows;   /* complete rows in the file */
    double synced;   /* when it was last made safe on disk */
} label_output;

/* Opens and locks the output. `state` describes what the answers depend on: objects "input",
 * "prompt", "model" and "settings". `header` is the first record of a CSV file, empty for JSONL.
 * Afterwards output->rows rows are complete and whatever was half written is cut off. */
void output_open(label_output *output, const char *path, bool csv, start_mode mode,
                 const json_t *state, const buffer *header);
/* One record with one write. Ends the program with a message when that fails; the output then
 * still ends with a complete record where it is a file. */
void output_record(label_output *output, const buffer *record);
/* Makes it safe on disk and closes it. */
void output_close(label_output *output);

/* ---- label_record.c ---- */

typedef struct label_settings {
    const char *input;
    const char *output;
    const char *prompt;
    const char *prompt_file;
    const char *choices;
    text_list choice_list;
    const char *id_column;
    const char *keep;
    const char *delimiter;
    const char *format;
    const char *system;
    int64_t n_tokens;
    bool raw;
    bool resume;
    bool fresh;
    bool overwrite;
    bool table;
    bool verbose;
} label_settings;

/* A place among the rows that are computed together. */
typedef struct label_slot {
    radllm_session *session; /* NULL: not made yet */
    radllm_request *request;
    radllm_status status; /* of handing it to the engine, */
    char *message;        /* and why that failed */
} label_slot;

/* All that a row needs. */
typedef struct label_job {
    const label_settings *own;
    const common_settings *common;
    runtime run;
    input_table input;
    prompt_template prompt;
    size_t id_column; /* SIZE_MAX: none */
    size_t *kept;
    size_t n_kept;
    char **choices; /* none: free text */
    size_t n_choices;
    json_t *settings_object;
    char *settings_line;
    char *model_hash;
    bool csv;
    int64_t together; /* rows that are computed at the same time */
    label_output output;
    uint64_t failed_rows;
    uint64_t prompt_tokens;
    uint64_t reused_tokens;
} label_job;

/* What came of one row. */
typedef struct row_answer {
    buffer text;
    double probability;
    double logprob;
    radllm_choice_result *choices;
    int64_t n_prompt;
    int64_t n_answer;
    int32_t finish;
    char *error; /* NULL: none */
} row_answer;

/* The first record of a CSV output; empty for JSONL. */
buffer make_header(const label_job *self);
/* Appends the record of a row. */
void make_record(const label_job *self, const csv_reader *reader, uint64_t row,
                 const row_answer *answer, buffer *record);

#endif
