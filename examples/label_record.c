/* The records that radllm-label writes. They hold nothing that depends on when or how fast a row
 * was answered: a run that was interrupted and gone on with gives the same bytes as one that was
 * not. */
#include "label.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

static void add_text(buffer *record, const char *text, bool first)
{
    csv_add_field(record, text, strlen(text), ',', first);
}

static void add_real(buffer *record, double value, bool known)
{
    char text[40] = "";
    if (known)
        snprintf(text, sizeof text, "%.9g", value);
    add_text(record, text, false);
}

static void add_integer(buffer *record, int64_t value, bool known, bool first)
{
    char text[32] = "";
    if (known)
        snprintf(text, sizeof text, "%" PRId64, value);
    add_text(record, text, first);
}

/* A model may answer with any byte; a table is text, so NUL becomes U+FFFD. (JSON can write it.) */
static void add_answer(buffer *record, const buffer *answer)
{
    buffer text = {0};
    buffer_reserve(&text, answer->length);
    for (size_t at = 0; at < answer->length;) {
        size_t length = strnlen(answer->data + at, answer->length - at);
        buffer_add(&text, answer->data + at, length);
        at += length;
        if (at < answer->length) {
            buffer_add(&text, "\xEF\xBF\xBD", 3);
            at++;
        }
    }
    csv_add_field(record, text.data, text.length, ',', false);
    buffer_free(&text);
}

/* A column of the input that has the name of one of ours is called input_NAME. */
static void add_input_name(buffer *record, const char *name)
{
    static const char *const own[] = {"row",      "answer",        "probability",  "logprob",
                                      "finish",   "error",         "model_hash",   "prompt_hash",
                                      "settings", "prompt_tokens", "answer_tokens"};
    buffer full = {0};
    bool taken = strncmp(name, "probability_", 12) == 0 || strncmp(name, "logprob_", 8) == 0;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        taken = taken || strcmp(own[i], name) == 0;
    buffer_add_text(&full, taken ? "input_" : "");
    buffer_add_text(&full, name);
    csv_add_field(record, full.data, full.length, ',', false);
    buffer_free(&full);
}

buffer make_header(const label_job *self)
{
    buffer record = {0};
    if (!self->csv)
        return record;
    add_text(&record, "row", true);
    if (self->id_column != SIZE_MAX)
        add_input_name(&record, self->own->id_column);
    for (size_t i = 0; i < self->n_kept; i++)
        add_input_name(&record, input_column_name(&self->input, self->kept[i]));
    add_text(&record, "answer", false);
    add_text(&record, "probability", false);
    add_text(&record, "logprob", false);
    for (size_t i = 0; i < 2 * self->n_choices; i++) {
        buffer name = {0};
        buffer_add_text(&name, i < self->n_choices ? "probability_" : "logprob_");
        buffer_add_text(&name, self->choices[i % self->n_choices]);
        csv_add_field(&record, name.data, name.length, ',', false);
        buffer_free(&name);
    }
    static const char *const rest[] = {"prompt_tokens", "answer_tokens", "finish",  "error",
                                       "model_hash",    "prompt_hash",   "settings"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        add_text(&record, rest[i], false);
    csv_end_record(&record);
    return record;
}

static void add_column(const csv_reader *reader, size_t column, buffer *record)
{
    size_t length = 0;
    const char *text = csv_field(reader, column, &length);
    csv_add_field(record, text, length, ',', false);
}

static void make_csv(const label_job *self, const csv_reader *reader, uint64_t row,
                     const row_answer *answer, buffer *record)
{
    bool known = answer->error == NULL;
    add_integer(record, (int64_t)row, true, true);
    if (self->id_column != SIZE_MAX)
        add_column(reader, self->id_column, record);
    for (size_t i = 0; i < self->n_kept; i++)
        add_column(reader, self->kept[i], record);
    add_answer(record, &answer->text);
    add_real(record, answer->probability, known);
    add_real(record, answer->logprob, known);
    for (size_t i = 0; i < self->n_choices; i++)
        add_real(record, known ? answer->choices[i].probability : 0, known);
    for (size_t i = 0; i < self->n_choices; i++)
        add_real(record, known ? answer->choices[i].logprob : 0, known);
    add_integer(record, answer->n_prompt, known, false);
    add_integer(record, answer->n_answer, known, false);
    add_text(record, finish_name(answer->finish), false);
    add_text(record, known ? "" : answer->error, false);
    add_text(record, self->model_hash, false);
    add_text(record, self->prompt.hash, false);
    add_text(record, self->settings_line, false);
    csv_end_record(record);
}

static json_t *field_json(const csv_reader *reader, size_t column)
{
    size_t length = 0;
    const char *text = csv_field(reader, column, &length);
    return json_from_text(text, length);
}

static void make_line(const label_job *self, const csv_reader *reader, uint64_t row,
                      const row_answer *answer, buffer *record)
{
    bool known = answer->error == NULL;
    json_t *object = json_object();
    json_put(object, "row", json_integer((json_int_t)row));
    if (self->id_column != SIZE_MAX)
        json_put(object, "id", field_json(reader, self->id_column));
    if (self->n_kept != 0) {
        json_t *columns = json_object();
        for (size_t i = 0; i < self->n_kept; i++)
            json_put(columns, input_column_name(&self->input, self->kept[i]),
                     field_json(reader, self->kept[i]));
        json_put(object, "columns", columns);
    }
    json_put(object, "answer",
             known ? json_from_text(answer->text.data, answer->text.length) : json_null());
    json_put_real(object, "probability", known ? answer->probability : NAN);
    json_put_real(object, "logprob", known ? answer->logprob : NAN);
    json_t *choices = json_array();
    for (size_t i = 0; i < self->n_choices && known; i++) {
        json_t *choice = json_object();
        json_put(choice, "answer", json_text_or_null(self->choices[i]));
        json_put_real(choice, "probability", answer->choices[i].probability);
        json_put_real(choice, "logprob", answer->choices[i].logprob);
        json_put(choice, "tokens", json_integer(answer->choices[i].n_tokens));
        json_push(choices, choice);
    }
    json_put(object, "choices", choices);
    json_put(object, "prompt_tokens", json_integer(answer->n_prompt));
    json_put(object, "answer_tokens", json_integer(answer->n_answer));
    json_put(object, "finish", json_string(finish_name(answer->finish)));
    json_put(object, "error", json_text_or_null(answer->error));
    json_put(object, "model_hash", json_string(self->model_hash));
    json_put(object, "prompt_hash", json_string(self->prompt.hash));
    json_put(object, "settings", json_incref(self->settings_object));
    char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    if (line == NULL)
        fail("out of memory while JSON was made");
    buffer_add_text(record, line);
    buffer_add_text(record, "\n");
    free(line);
}

void make_record(const label_job *self, const csv_reader *reader, uint64_t row,
                 const row_answer *answer, buffer *record)
{
    if (self->csv)
        make_csv(self, reader, row, answer, record);
    else
        make_line(self, reader, row, answer, record);
}
