/* radllm-label: asks a model the same question about each row of a table. */
#include "label.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/progress.h"
#include "common/runtime.h"

enum { PROMPT_LIMIT = 16 << 20, DEFAULT_TOKENS = 128, TOGETHER = 8 };

/* ---- what was asked for ---- */

/* Words with commas between them, with the quotes of CSV. */
static size_t split_words(const char *text, const char *origin, char ***words, size_t count)
{
    csv_reader reader;
    csv_reader_begin(&reader, text, strlen(text), ',');
    csv_result result = csv_read(&reader);
    if (result == CSV_ERROR)
        fail_usage("%s: %s", origin, reader.error);
    for (size_t i = 0; result == CSV_RECORD && i < reader.n_fields; i++) {
        *words = memory_resize(*words, (count + 1) * sizeof **words);
        (*words)[count++] = memory_text(csv_field(&reader, i, NULL));
    }
    csv_reader_free(&reader);
    return count;
}

static void read_choices(label_job *self)
{
    if (self->own->choices != NULL)
        self->n_choices = split_words(self->own->choices, "--choices", &self->choices, 0);
    for (size_t i = 0; i < self->own->choice_list.count; i++) {
        self->choices = memory_resize(self->choices, (self->n_choices + 1) * sizeof(char *));
        self->choices[self->n_choices++] = memory_text(self->own->choice_list.items[i]);
    }
    if (self->n_choices == 1)
        fail_usage("--choices: one choice is no choice; give two or more");
    for (size_t i = 0; i < self->n_choices; i++) {
        const char *choice = self->choices[i];
        if (choice[0] == '\0')
            fail_usage("--choices: choice %zu is empty", i + 1);
        if (utf8_invalid(choice, strlen(choice)) != strlen(choice))
            fail_usage("--choices: choice %zu is not UTF-8", i + 1);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(self->choices[k], choice) == 0)
                fail_usage("--choices: \"%s\" stands there twice", choice);
        }
    }
}

static char delimiter_of(const label_settings *own)
{
    const char *text = own->delimiter;
    if (text == NULL) {
        size_t length = strlen(own->input);
        return length > 4 && strcmp(own->input + length - 4, ".tsv") == 0 ? '\t' : ',';
    }
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0)
        return '\t';
    if (strlen(text) != 1 || strchr("\"\r\n", text[0]) != NULL || (unsigned char)text[0] > 0x7E)
        fail_usage("--delimiter: \"%s\" is not one ASCII character; for a tab write tab", text);
    return text[0];
}

static void read_prompt(label_job *self)
{
    const label_settings *own = self->own;
    buffer text = {0};
    if ((own->prompt != NULL) == (own->prompt_file != NULL))
        fail_usage("give the prompt once: --prompt TEXT or --prompt-file FILE");
    if (own->prompt != NULL) {
        buffer_add_text(&text, own->prompt);
    } else {
        text = read_whole(own->prompt_file, PROMPT_LIMIT);
        /* The line break that editors put at the end of a file. */
        if (text.length != 0 && text.data[text.length - 1] == '\n')
            text.length--;
        if (text.length != 0 && text.data[text.length - 1] == '\r')
            text.length--;
        text.data[text.length] = '\0';
    }
    prompt_parse(&self->prompt, text, &self->input);
}

static void read_columns(label_job *self)
{
    self->id_column = SIZE_MAX;
    if (self->own->id_column != NULL)
        self->id_column = input_column(&self->input, self->own->id_column);
    if (self->own->keep == NULL)
        return;
    char **names = NULL;
    self->n_kept = split_words(self->own->keep, "--keep", &names, 0);
    self->kept = memory_array(self->n_kept, sizeof *self->kept);
    for (size_t i = 0; i < self->n_kept; i++) {
        self->kept[i] = input_column(&self->input, names[i]);
        free(names[i]);
    }
    free(names);
}

static bool wants_csv(const label_settings *own)
{
    if (own->format != NULL) {
        if (strcmp(own->format, "csv") != 0 && strcmp(own->format, "jsonl") != 0)
            fail_usage("--format: \"%s\" is neither csv nor jsonl", own->format);
        return strcmp(own->format, "csv") == 0;
    }
    size_t length = strlen(own->output);
    return length < 6 || strcmp(own->output + length - 6, ".jsonl") != 0;
}

/* Writing must not destroy what is read. */
static void check_not_same(const char *output, const char *other, const char *what)
{
    struct stat one;
    struct stat two;
    if (other != NULL && stat(output, &one) == 0 && stat(other, &two) == 0 &&
        S_ISREG(one.st_mode) && one.st_dev == two.st_dev && one.st_ino == two.st_ino)
        fail_usage("--output %s is the %s itself", output, what);
}

/* ---- what the answers depend on ---- */

static void make_settings(label_job *self)
{
    json_t *object = settings_json(self->run.model, self->common->options);
    int64_t context = 0; /* what 0 stands for */
    check(radllm_engine_number(self->run.engine, "context", &context, program_error()), NULL);
    json_put(object, "context", json_integer(context));
    put_device(object, self->run.engine);
    json_put(object, "numeric_version", json_integer(radllm_numeric_version()));
    json_put(object, "prompt_format", json_string(self->own->raw ? "raw" : "chat"));
    if (self->own->raw)
        json_put(object, "template", json_string(""));
    json_put(object, "system", json_text_or_null(self->own->system));
    json_t *choices = json_array();
    for (size_t i = 0; i < self->n_choices; i++)
        json_push(choices, json_text_or_null(self->choices[i]));
    json_put(object, "choices", choices);
    self->settings_object = object;
    self->settings_line =
        json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    if (self->settings_line == NULL)
        fail("out of memory while JSON was made");
}

static json_t *make_state(const label_job *self)
{
    json_t *state = json_object();
    json_put(state, "program", json_string("radllm-label"));
    json_put(state, "library", json_string(radllm_version_text()));
    json_t *input = json_object();
    json_put(input, "file", json_text_or_null(self->own->input));
    json_put(input, "sha256", json_string(self->input.hash));
    json_put(input, "rows", json_integer((json_int_t)self->input.rows));
    json_put(state, "input", input);
    json_t *prompt = json_object();
    json_put(prompt, "text", json_from_text(self->prompt.text.data, self->prompt.text.length));
    json_put(prompt, "sha256", json_string(self->prompt.hash));
    json_put(state, "prompt", prompt);
    json_t *model = json_object();
    json_put(model, "file", json_text_or_null(self->common->model));
    json_put(model, "hash", json_string(self->model_hash));
    json_put(state, "model", model);
    json_t *all = json_copy(self->settings_object);
    const char delimiter[2] = {self->input.delimiter, '\0'};
    json_put(all, "delimiter", json_string(delimiter));
    json_put(all, "id_column", json_text_or_null(self->own->id_column));
    json_put(all, "keep", json_text_or_null(self->own->keep));
    json_put(all, "format", json_string(self->csv ? "csv" : "jsonl"));
    json_put(state, "settings", all);
    return state;
}

/* ---- rows ---- */

static radllm_request *make_request(const label_job *self, radllm_session *session,
                                    const buffer *prompt, radllm_status *status)
{
    radllm_error *error = program_error();
    radllm_request *request = NULL;
    const radllm_options *options = self->common->options;
    if (self->own->raw) {
        *status = radllm_request_new_complete(session, prompt->data, prompt->length, options,
                                              &request, error);
    } else {
        radllm_chat *chat = NULL;
        check(radllm_chat_new(NULL, &chat, error), NULL);
        *status = RADLLM_OK;
        if (self->own->system != NULL)
            *status = radllm_chat_add(chat, "system", self->own->system, RADLLM_NUL, error);
        if (*status == RADLLM_OK)
            *status = radllm_chat_add(chat, "user", prompt->data, prompt->length, error);
        if (*status == RADLLM_OK)
            *status = radllm_request_new_chat(session, chat, options, &request, error);
        radllm_chat_free(chat);
    }
    if (*status == RADLLM_OK && self->n_choices != 0)
        *status = radllm_request_set_choices(request, (const char *const *)self->choices, NULL,
                                             self->n_choices, error);
    return request;
}

static void take_choices(const label_job *self, const radllm_request *request, row_answer *answer)
{
    int64_t best = request_number(request, "choice");
    if (best < 0 || (size_t)best >= self->n_choices)
        fail("the library chose an answer that was not offered");
    answer->choices = memory_array(self->n_choices, sizeof *answer->choices);
    for (size_t i = 0; i < self->n_choices; i++) {
        answer->choices[i].size = sizeof *answer->choices;
        check(radllm_request_choice(request, i, &answer->choices[i], program_error()), "choice");
    }
    answer->probability = answer->choices[best].probability;
    answer->logprob = answer->choices[best].logprob;
}

/* Free text: the probability of exactly this text is the product over its tokens. */
static void take_text(const radllm_request *request, row_answer *answer)
{
    for (int64_t i = 0; i < answer->n_answer; i++) {
        radllm_answer_token token = {.size = sizeof token};
        check(radllm_request_token(request, (uint64_t)i, &token, program_error()), "answer");
        answer->logprob += token.logprob;
    }
    answer->probability = exp(answer->logprob);
}

/* Whether the next row may still go well after such a failure. */
static bool concerns_row_only(radllm_status status)
{
    return status == RADLLM_E_LIMIT || status == RADLLM_E_UNSUPPORTED ||
           status == RADLLM_E_NUMERIC || status == RADLLM_E_ARGUMENT || status == RADLLM_E_FORMAT ||
           status == RADLLM_E_BUDGET;
}

/* Hands a row to the engine, where it is computed together with others. */
static void submit_row(label_job *self, label_slot *slot, const csv_reader *reader)
{
    buffer prompt = {0};
    prompt_fill(&self->prompt, reader, &prompt);
    if (slot->session == NULL)
        check(radllm_session_new(self->run.engine, &slot->session, program_error()), NULL);
    slot->status = RADLLM_OK;
    slot->request = make_request(self, slot->session, &prompt, &slot->status);
    buffer_free(&prompt);
    if (slot->status == RADLLM_OK)
        slot->status = radllm_request_submit(slot->request, program_error());
    if (slot->status != RADLLM_OK)
        slot->message = memory_text(radllm_error_message(program_error()));
}

static void slot_free(label_slot *slot)
{
    radllm_request_free(slot->request);
    free(slot->message);
    slot->request = NULL;
    slot->message = NULL;
}

/* Waits for a row's answer. False when it was interrupted: there is no answer then. */
static bool answer_row(label_job *self, label_slot *slot, uint64_t row, row_answer *answer)
{
    *answer = (row_answer){0};
    radllm_request *request = slot->request;
    radllm_status status = slot->status;
    if (status == RADLLM_OK)
        status = radllm_request_run(request, program_cancel(), program_error());
    if (status == RADLLM_E_CANCELLED && program_interrupted())
        return false;
    if (status != RADLLM_OK) {
        const char *message =
            slot->message != NULL ? slot->message : radllm_error_message(program_error());
        if (!concerns_row_only(status))
            fail("row %" PRIu64 ": %s; the rows before it are written, and the same command goes"
                 " on behind them",
                 row, message);
        buffer copy = {0};
        add_repaired(&copy, message, strlen(message));
        answer->error = copy.data;
        answer->finish = RADLLM_FINISH_ERROR;
        slot_free(slot);
        return true;
    }
    answer->text = request_text(request);
    answer->n_prompt = request_number(request, "prompt_tokens");
    answer->n_answer = request_number(request, "answer_tokens");
    answer->finish = radllm_request_finish(request);
    self->prompt_tokens += (uint64_t)answer->n_prompt;
    self->reused_tokens += (uint64_t)request_number(request, "reused_tokens");
    if (self->n_choices != 0)
        take_choices(self, request, answer);
    else
        take_text(request, answer);
    slot_free(slot);
    return true;
}

static void row_free(row_answer *answer)
{
    buffer_free(&answer->text);
    free(answer->choices);
    free(answer->error);
}

/* A line of the table on standard output, its texts shortened to fit. */
static void show_row(const label_job *self, const csv_reader *reader, uint64_t row,
                     const row_answer *answer)
{
    buffer id = {0};
    buffer text = {0};
    size_t length = 0;
    const char *bytes =
        self->id_column != SIZE_MAX ? csv_field(reader, self->id_column, &length) : "";
    add_escaped(&id, bytes, length);
    if (answer->error != NULL)
        add_escaped(&text, answer->error, strlen(answer->error));
    else
        add_escaped(&text, answer->text.data, answer->text.length);
    if (row == 1)
        output_format("%6s  %-16s  %-11s  %s\n", "row", "id", "probability", "answer");
    char probability[16] = "-";
    if (answer->error == NULL)
        snprintf(probability, sizeof probability, "%.4f", answer->probability);
    /* Whole characters only. */
    size_t shown = text.length < 72 ? text.length : 72;
    while (shown > 0 && shown < text.length && ((unsigned char)text.data[shown] & 0xC0) == 0x80)
        shown--;
    output_format("%6" PRIu64 "  %-16.16s  %-11s  %.*s%s\n", row, id.length != 0 ? id.data : "",
                  probability, (int)shown, text.length != 0 ? text.data : "",
                  shown < text.length ? "..." : "");
    output_flush();
    buffer_free(&id);
    buffer_free(&text);
}

/* A reader before the record of row `row`. */
static void go_to_row(const label_job *self, csv_reader *reader, uint64_t row)
{
    input_rewind(&self->input, reader);
    for (uint64_t i = 1; i < row; i++)
        (void)csv_read(reader);
}

/* Writes the row that `reader` is at. */
static void write_row(label_job *self, const csv_reader *reader, uint64_t row,
                      const row_answer *answer, progress_bar *bar)
{
    buffer record = {0};
    make_record(self, reader, row, answer, &record);
    output_record(&self->output, &record);
    buffer_free(&record);
    self->failed_rows += answer->error != NULL;
    if (self->own->table) {
        progress_clear(bar);
        show_row(self, reader, row, answer);
    }
    progress_show(bar, row);
}

/* Several rows are computed together; they are written in their order. False when it was
 * interrupted. */
static bool label_rows(label_job *self)
{
    progress_bar bar;
    uint64_t first = self->output.rows, n_slots = (uint64_t)self->together;
    uint64_t next = first + 1; /* to be submitted */
    progress_begin(&bar, "label", "rows", self->input.rows, first);
    csv_reader ahead, reader;
    go_to_row(self, &ahead, next);
    go_to_row(self, &reader, next);
    label_slot *slots = memory_array(n_slots, sizeof *slots);
    bool complete = true;
    if (first < self->input.rows)
        progress_show(&bar, first); /* the first row of a large model can take minutes */
    for (uint64_t row = first + 1; complete && row <= self->input.rows; row++) {
        for (; next < row + n_slots && csv_read(&ahead) == CSV_RECORD; next++)
            submit_row(self, &slots[next % n_slots], &ahead);
        row_answer answer;
        complete = !program_interrupted() && answer_row(self, &slots[row % n_slots], row, &answer);
        if (!complete || csv_read(&reader) != CSV_RECORD)
            break;
        write_row(self, &reader, row, &answer, &bar);
        row_free(&answer);
    }
    progress_end(&bar);
    for (uint64_t i = 0; i < n_slots; i++) {
        slot_free(&slots[i]);
        radllm_session_free(slots[i].session);
    }
    free(slots);
    csv_reader_free(&ahead);
    csv_reader_free(&reader);
    return complete;
}

/* ---- the whole ---- */

static void show_settings(const label_job *self)
{
    static const char *const others[] = {"top_k",           "top_p",          "min_p",
                                         "typical_p",       "repeat_penalty", "frequency_penalty",
                                         "presence_penalty"};
    const radllm_options *options = self->common->options;
    char *temperature = option_text(options, "temperature");
    char *seed = option_text(options, "seed");
    buffer more = {0};
    buffer_reserve(&more, 0);
    buffer_clear(&more);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *value = option_text(options, others[i]);
        if (option_changed(options, others[i]))
            buffer_add_format(&more, ", %s %s", others[i], value);
        free(value);
    }
    const char *name = json_string_value(json_object_get(self->settings_object, "template"));
    warn("model %.16s, prompt %.16s, %s%s, temperature %s, seed %s%s, numeric version %u",
         self->model_hash, self->prompt.hash, self->own->raw ? "no template" : "template ",
         self->own->raw || name == NULL ? "" : name, temperature, seed, more.data,
         radllm_numeric_version());
    if (self->own->verbose)
        warn("settings: %s", self->settings_line);
    buffer_free(&more);
    free(temperature);
    free(seed);
}

static void print_summary(const label_job *self, uint64_t first, double seconds, bool complete)
{
    json_t *object = json_object();
    json_put(object, "output", json_text_or_null(self->own->output));
    json_put(object, "rows", json_integer((json_int_t)self->output.rows));
    json_put(object, "rows_of_this_run", json_integer((json_int_t)(self->output.rows - first)));
    json_put(object, "failed_rows_of_this_run", json_integer((json_int_t)self->failed_rows));
    json_put(object, "complete", json_boolean(complete));
    json_put_real(object, "seconds", seconds);
    json_put(object, "prompt_tokens", json_integer((json_int_t)self->prompt_tokens));
    json_put(object, "reused_tokens", json_integer((json_int_t)self->reused_tokens));
    json_put(object, "model_hash", json_string(self->model_hash));
    json_put(object, "prompt_hash", json_string(self->prompt.hash));
    json_put(object, "settings", json_incref(self->settings_object));
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static int run_job(label_job *self)
{
    runtime_load(&self->run, self->common, self->own->verbose);
    if (!self->own->raw)
        require_template(self->run.model, self->common->options);
    int64_t rows_at_once = self->input.rows < TOGETHER ? (int64_t)self->input.rows : TOGETHER;
    self->together = runtime_start_many(&self->run, self->common, rows_at_once);
    self->model_hash = model_hash(self->run.model);
    make_settings(self);
    json_t *state = make_state(self);
    buffer header = make_header(self);
    start_mode mode = self->own->overwrite ? START_OVERWRITE
                      : self->own->fresh   ? START_FRESH
                                           : START_RESUME;
    output_open(&self->output, self->own->output, self->csv, mode, state, &header);
    buffer_free(&header);
    json_decref(state);
    show_settings(self);

    uint64_t first = self->output.rows;
    if (first == self->input.rows)
        warn("all %" PRIu64 " rows are in %s already", first, self->output.path);
    else if (first != 0)
        warn("going on behind row %" PRIu64 " of %" PRIu64, first, self->input.rows);
    double start = clock_seconds();
    bool complete = label_rows(self);
    double seconds = clock_seconds() - start;
    output_close(&self->output);
    uint64_t rows = self->output.rows - first;
    warn("%" PRIu64 " rows in %.1f s (%.2f a second), %" PRIu64 " of %" PRIu64
         " prompt tokens computed once and reused",
         rows, seconds, seconds > 0 ? (double)rows / seconds : 0.0, self->reused_tokens,
         self->prompt_tokens);
    if (self->failed_rows != 0)
        warn("%" PRIu64 " rows could not be answered; the column \"error\" says why",
             self->failed_rows);
    if (self->common->json)
        print_summary(self, first, seconds, complete);
    if (!complete) {
        warn("interrupted after row %" PRIu64 " of %" PRIu64 "; the same command goes on there",
             self->output.rows, self->input.rows);
        return EXIT_CODE_INTERRUPTED;
    }
    return self->failed_rows != 0 ? EXIT_CODE_ROWS : EXIT_CODE_OK;
}

static void parse(int count, char **values, label_settings *own, common_settings *common)
{
    const argument table[] = {
        {'\0', "input", "FILE", ARGUMENT_TEXT, &own->input, NULL, 0, 0,
         "the table: CSV in UTF-8 with a header (- is standard input)"},
        {'\0', "output", "FILE", ARGUMENT_TEXT, &own->output, NULL, 0, 0,
         "the answers: FILE.csv or FILE.jsonl (- is standard output)"},
        {'p', "prompt", "TEXT", ARGUMENT_TEXT, &own->prompt, NULL, 0, 0,
         "the question, with {COLUMN} where the text of a column\nbelongs; braces themselves are"
         " doubled: {{ }}"},
        {'f', "prompt-file", "FILE", ARGUMENT_TEXT, &own->prompt_file, NULL, 0, 0,
         "read it from FILE; one line break at its end is left out"},
        {'\0', "choices", "A,B,...", ARGUMENT_TEXT, &own->choices, NULL, 0, 0,
         "the answers to choose from; without it the answer is free\ntext"},
        {'\0', "choice", "TEXT", ARGUMENT_TEXTS, &own->choice_list, NULL, 0, 0,
         "one answer to choose from (may be repeated)"},
        {'n', "tokens", "TOKENS", ARGUMENT_INTEGER, &own->n_tokens, NULL, 1, INT32_MAX,
         "free text: at most so many tokens (128)"},
        {'\0', "id-column", "NAME", ARGUMENT_TEXT, &own->id_column, NULL, 0, 0,
         "copy this column beside the row's number"},
        {'\0', "keep", "NAME,...", ARGUMENT_TEXT, &own->keep, NULL, 0, 0, "copy these columns too"},
        {'\0', "delimiter", "C", ARGUMENT_TEXT, &own->delimiter, NULL, 0, 0,
         "between the input's fields: one character, or tab\n(a comma; for FILE.tsv a tab)"},
        {'\0', "format", "csv|jsonl", ARGUMENT_TEXT, &own->format, NULL, 0, 0,
         "of the output, whatever its name"},
        {'\0', "system", "TEXT", ARGUMENT_TEXT, &own->system, NULL, 0, 0, "system message"},
        {'\0', "template", "NAME", ARGUMENT_OPTION, NULL, "template", 0, 0,
         "chat template by name, instead of the model's own"},
        {'\0', "raw", NULL, ARGUMENT_FLAG, &own->raw, NULL, 0, 0,
         "no template: the model goes on with the prompt as it is"},
        {'\0', "resume", NULL, ARGUMENT_FLAG, &own->resume, NULL, 0, 0,
         "go on where the output stops (the default)"},
        {'\0', "fresh", NULL, ARGUMENT_FLAG, &own->fresh, NULL, 0, 0,
         "fail when the output exists"},
        {'\0', "overwrite", NULL, ARGUMENT_FLAG, &own->overwrite, NULL, 0, 0,
         "start again, whatever the output holds"},
        {'\0', "table", NULL, ARGUMENT_FLAG, &own->table, NULL, 0, 0,
         "show the answers on standard output as they come"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        SPECULATION_ARGUMENTS(common),
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own->verbose, NULL, 0, 0,
         "all settings on standard error"},
    };
    /* Labels are the likeliest answer, whatever a model's own settings for conversation say. */
    static const char *const presets[] = {"temperature", "0", NULL};
    const program_usage usage = {
        "-m MODEL --input FILE --output FILE --prompt TEXT [OPTION]...",
        "Fills a prompt from each row of a table, asks a language model, and writes the answer\n"
        "with its probability, the hash of the model and all settings. The temperature is 0\n"
        "unless --temp says otherwise.",
        "Eight rows are computed together (--option sessions=N: another number; fewer where the\n"
        "option memory_budget asks for it), what their prompts begin with once. Memory is planned\n"
        "for rows as long as the context; --option cache_positions=N plans it for N tokens of all\n"
        "rows together, so that more rows, or more layers on a GPU, have room. Rows are written\n"
        "in their order, as they finish. A run that was interrupted, also by kill -9 or a power\n"
        "failure, goes on where it stopped when the same command is given again: OUTPUT.state\n"
        "holds the hashes of input, prompt, model and settings, and where one of them differs the\n"
        "run is refused. Threads and instruction set may differ: they do not change answers. Rows\n"
        "are known by their number, so ids need not be unique. Two runs cannot write one file.\n"
        "\n"
        "The whole input is checked before the first row. A table without rows is an error. A row\n"
        "that cannot be answered (too long for the context) has the reason in the column "
        "\"error\",\n"
        "and the exit status is 3 at the end.",
        table,
        sizeof table / sizeof *table,
        false,
        presets};
    arguments_parse(count, values, &usage, common);
    arguments_refuse_positional(common);
    if (own->input == NULL || own->output == NULL || common->model == NULL)
        fail_usage("-m MODEL, --input FILE and --output FILE are needed");
    if (own->resume + own->fresh + own->overwrite > 1)
        fail_usage("--resume, --fresh and --overwrite exclude each other");
    if (own->raw && (own->system != NULL || option_changed(common->options, "template")))
        fail_usage("--raw does not go with --template and --system");
    if (strcmp(own->output, "-") == 0 && (own->table || common->json))
        fail_usage("--table and --json write to standard output, so --output cannot be -");
    if (own->table && common->json)
        fail_usage("--table and --json exclude each other");
    check(radllm_options_set_integer(common->options, "max_tokens", own->n_tokens, program_error()),
          "-n");
    /* The log-probabilities of free text come with those of the likeliest tokens. */
    if (!option_changed(common->options, "top_logprobs"))
        option_set(common->options, "top_logprobs", "1", "top_logprobs");
}

static void free_job(label_job *self)
{
    for (size_t i = 0; i < self->n_choices; i++)
        free(self->choices[i]);
    free(self->choices);
    free(self->kept);
    free(self->settings_line);
    free(self->model_hash);
    json_decref(self->settings_object);
    prompt_free(&self->prompt);
    input_free(&self->input);
    runtime_free(&self->run);
    free(self->own->choice_list.items);
}

int main(int argc, char **argv)
{
    program_start("radllm-label");
    label_settings own = {.n_tokens = DEFAULT_TOKENS};
    common_settings common;
    parse(argc, argv, &own, &common);
    program_catch_signals(false);
    label_job self = {.own = &own, .common = &common, .csv = wants_csv(&own)};
    read_choices(&self);
    check_not_same(own.output, own.input, "input");
    check_not_same(own.output, own.prompt_file, "prompt file");
    check_not_same(own.output, common.model, "model");
    input_read(&self.input, own.input, delimiter_of(&own));
    read_columns(&self);
    read_prompt(&self);
    if (self.input.rows == 0)
        fail("%s has a header and no rows: there is nothing to label", self.input.path);
    int code = run_job(&self);
    free_job(&self);
    arguments_free(&common);
    return program_finish(code);
}
