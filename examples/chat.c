/* radllm-chat: a conversation on the terminal, or through a pipe. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

enum {
    LINE_LIMIT = 64 << 20,
    TERMINAL_LINE = 4095 /* what the terminal driver keeps of a line; it drops the rest */
};

typedef struct settings {
    const char *system;
    int64_t n_tokens;
    bool raw;
    bool verbose;
} settings;

typedef struct turn {
    char *text;
    size_t length;
    bool from_user;
} turn;

typedef struct conversation {
    char *system; /* NULL: none */
    turn *turns;
    size_t count;
} conversation;

/* ---- lines ---- */

typedef struct line_reader {
    char bytes[4096];
    size_t start;
    size_t end;
    bool ended;
} line_reader;

typedef enum line_result { LINE_READ, LINE_END, LINE_INTERRUPTED } line_result;

/* One line without its break; stdio is of no use here, since a read must end at Ctrl-C. */
static line_result read_line(line_reader *reader, buffer *line)
{
    buffer_clear(line);
    buffer_reserve(line, 0);
    line->data[0] = '\0';
    bool too_long = false;
    for (;;) {
        char *start = reader->bytes + reader->start;
        char *found = memchr(start, '\n', reader->end - reader->start);
        size_t length = found != NULL ? (size_t)(found - start) : reader->end - reader->start;
        too_long = too_long || line->length + length > LINE_LIMIT;
        if (!too_long)
            buffer_add(line, start, length);
        reader->start += length + (found != NULL);
        if (found != NULL)
            break;
        if (reader->ended) {
            if (line->length == 0)
                return LINE_END;
            break;
        }
        if (!program_wait_for_input(STDIN_FILENO))
            return LINE_INTERRUPTED;
        ssize_t got = read(STDIN_FILENO, reader->bytes, sizeof reader->bytes);
        if (got < 0)
            fail("cannot read standard input: %s", strerror(errno));
        reader->ended = got == 0;
        reader->start = 0;
        reader->end = (size_t)got;
    }
    if (too_long) {
        warn("a line of more than %d MiB was left out", LINE_LIMIT >> 20);
        buffer_clear(line);
    }
    if (line->length != 0 && line->data[line->length - 1] == '\r')
        line->data[--line->length] = '\0';
    return LINE_READ;
}

/* ---- the conversation ---- */

static void add_turn(conversation *talk, const char *text, size_t length, bool from_user)
{
    talk->turns = memory_resize(talk->turns, (talk->count + 1) * sizeof *talk->turns);
    char *copy = memory_take(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    talk->turns[talk->count++] = (turn){copy, length, from_user};
}

static void drop_turns(conversation *talk, size_t count)
{
    while (talk->count > count)
        free(talk->turns[--talk->count].text);
}

static radllm_chat *make_chat(const conversation *talk)
{
    radllm_chat *chat = NULL;
    check(radllm_chat_new(NULL, &chat, program_error()), NULL);
    if (talk->system != NULL)
        check(radllm_chat_add(chat, "system", talk->system, RADLLM_NUL, program_error()), NULL);
    for (size_t i = 0; i < talk->count; i++)
        check(radllm_chat_add(chat, talk->turns[i].from_user ? "user" : "assistant",
                              talk->turns[i].text, talk->turns[i].length, program_error()),
              NULL);
    return chat;
}

/* Without a template the conversation is one text, its turns on lines of their own. */
static buffer make_text(const conversation *talk)
{
    buffer text = {0};
    if (talk->system != NULL) {
        buffer_add_text(&text, talk->system);
        buffer_add_text(&text, "\n");
    }
    for (size_t i = 0; i < talk->count; i++) {
        buffer_add(&text, talk->turns[i].text, talk->turns[i].length);
        buffer_add_text(&text, "\n");
    }
    return text;
}

static radllm_status new_request(const runtime *run, const conversation *talk, bool raw,
                                 const common_settings *common, radllm_request **request)
{
    if (raw) {
        buffer text = make_text(talk);
        radllm_status status = radllm_request_new_complete(
            run->session, text.data, text.length, common->options, request, program_error());
        buffer_free(&text);
        return status;
    }
    radllm_chat *chat = make_chat(talk);
    radllm_status status =
        radllm_request_new_chat(run->session, chat, common->options, request, program_error());
    radllm_chat_free(chat);
    return status;
}

static int32_t stream_text(void *user, const char *text, size_t length)
{
    (void)user;
    output_write(text, length);
    output_flush();
    return 0;
}

static void report(const radllm_request *request, const buffer *text, bool as_json, bool verbose)
{
    int32_t finish = radllm_request_finish(request);
    int64_t n_prompt = request_number(request, "prompt_tokens");
    int64_t n_answer = request_number(request, "answer_tokens");
    int64_t n_reused = request_number(request, "reused_tokens");
    if (as_json) {
        json_t *object = json_object();
        json_put(object, "text", json_from_text(text->data, text->length));
        json_put(object, "finish", json_string(finish_name(finish)));
        json_put(object, "prompt_tokens", json_integer(n_prompt));
        json_put(object, "reused_tokens", json_integer(n_reused));
        json_put(object, "answer_tokens", json_integer(n_answer));
        output_json(object, JSON_COMPACT);
        json_decref(object);
    } else {
        output_text("\n");
    }
    output_flush();
    if (finish == RADLLM_FINISH_CANCELLED)
        warn("stopped");
    else if (finish == RADLLM_FINISH_LENGTH)
        warn("the answer was cut: -n or the context (-c) allows no more");
    if (verbose)
        warn("prompt %lld tokens (%lld reused), answer %lld tokens in %.3f s", (long long)n_prompt,
             (long long)n_reused, (long long)n_answer,
             (double)request_number(request, "answer_ns") * 1e-9);
    int64_t drafted = request_number(request, "drafted_tokens");
    if (verbose && drafted != 0)
        warn("%lld tokens guessed, %lld of them right", (long long)drafted,
             (long long)request_number(request, "accepted_tokens"));
}

/* Answers the last turn. When that fails the turn is taken back and the program goes on; false
 * says so. */
static bool answer(const runtime *run, conversation *talk, const settings *own,
                   const common_settings *common)
{
    radllm_error *error = program_error();
    radllm_request *request = NULL;
    radllm_status status = new_request(run, talk, own->raw, common, &request);
    if (status == RADLLM_OK && !common->json)
        status = radllm_request_set_callback(request, stream_text, NULL, error);
    if (status == RADLLM_OK)
        status = radllm_request_run(request, program_cancel(), error);
    if (status == RADLLM_OK || (status == RADLLM_E_CANCELLED && program_interrupted())) {
        buffer text = request_text(request);
        report(request, &text, common->json, own->verbose);
        add_turn(talk, text.data, text.length, false);
        buffer_free(&text);
        radllm_request_free(request);
        return true;
    }
    warn("%s", radllm_error_message(error));
    if (status == RADLLM_E_LIMIT)
        warn("the message was taken back; /clear starts a new conversation, -c allows more tokens");
    drop_turns(talk, talk->count - 1);
    radllm_request_free(request);
    return false;
}

/* ---- commands ---- */

static const char help_text[] =
    "/help          this list\n"
    "/clear         start a new conversation (the system message stays)\n"
    "/system TEXT   set the system message and start a new conversation\n"
    "/system        remove it\n"
    "/quit          end (so does the end of the input, Ctrl-D)\n"
    "Ctrl-C         stop the answer\n"
    "A backslash at the end of a line goes on with the message on the next one; a message that\n"
    "begins with / is written with two.\n";

/* True when the program should end. */
static bool command(const char *line, conversation *talk)
{
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0)
        return true;
    if (strcmp(line, "/help") == 0) {
        fputs(help_text, stderr);
    } else if (strcmp(line, "/clear") == 0) {
        drop_turns(talk, 0);
    } else if (strcmp(line, "/system") == 0 || strncmp(line, "/system ", 8) == 0) {
        free(talk->system);
        talk->system = line[7] != '\0' ? memory_text(line + 8) : NULL;
        drop_turns(talk, 0);
    } else {
        warn("unknown command %.40s; /help lists them", line);
    }
    return false;
}

/* A message, which may be several lines. One that the terminal may have cut becomes empty. */
static line_result read_message(line_reader *reader, buffer *message, bool terminal)
{
    buffer line = {0};
    bool cut = false;
    buffer_clear(message);
    line_result result;
    for (bool more = false;;) {
        if (terminal)
            fputs(more ? "... " : "> ", stderr);
        result = read_line(reader, &line);
        if (result != LINE_READ)
            break;
        cut = cut || (terminal && line.length >= TERMINAL_LINE);
        more = line.length != 0 && line.data[line.length - 1] == '\\';
        buffer_add(message, line.data, line.length - more);
        if (!more)
            break;
        buffer_add(message, "\n", 1);
    }
    buffer_free(&line);
    if (cut) {
        warn("the message was left out: a terminal cuts lines at %d bytes; end lines with a"
             " backslash to go on with the message, or give the text through a pipe",
             TERMINAL_LINE);
        buffer_clear(message);
    }
    if (result == LINE_END && message->length != 0)
        return LINE_READ;
    return result;
}

/* Returns how many messages could not be answered. */
static uint64_t converse(const runtime *run, conversation *talk, const settings *own,
                         const common_settings *common)
{
    line_reader reader = {.start = 0};
    buffer message = {0};
    bool terminal = isatty(STDIN_FILENO) == 1;
    uint64_t failures = 0;
    if (terminal)
        fputs("/help lists the commands, Ctrl-D ends.\n", stderr);
    for (;;) {
        line_result result = read_message(&reader, &message, terminal);
        if (result == LINE_END)
            break;
        if (result == LINE_INTERRUPTED) {
            program_clear_interruption();
            fputs("\n", stderr);
            warn("Ctrl-C stops an answer; /quit or Ctrl-D ends the program");
            continue;
        }
        if (message.length == 0)
            continue;
        bool is_command = message.data[0] == '/' && message.data[1] != '/';
        if (is_command) {
            if (command(message.data, talk))
                break;
            continue;
        }
        size_t skip = message.data[0] == '/';
        add_turn(talk, message.data + skip, message.length - skip, true);
        program_clear_interruption();
        failures += !answer(run, talk, own, common);
        program_clear_interruption();
    }
    if (terminal)
        fputs("\n", stderr);
    buffer_free(&message);
    return failures;
}

static void parse(int count, char **values, settings *own, common_settings *common)
{
    const argument table[] = {
        {'\0', "system", "TEXT", ARGUMENT_TEXT, &own->system, NULL, 0, 0, "system message"},
        {'n', "tokens", "TOKENS", ARGUMENT_INTEGER, &own->n_tokens, NULL, -1, INT32_MAX,
         "at most so many tokens per answer (-1, the default: until\nthe model ends or the context"
         " is full)"},
        {'\0', "template", "NAME", ARGUMENT_OPTION, NULL, "template", 0, 0,
         "chat template by name, instead of the model's own"},
        {'\0', "raw", NULL, ARGUMENT_FLAG, &own->raw, NULL, 0, 0,
         "no template: the conversation is one plain text, each\nmessage on a line"},
        {'\0', "top-k", "N", ARGUMENT_OPTION, NULL, "top_k", 0, 0,
         "sample among the N most likely tokens"},
        {'\0', "top-p", "P", ARGUMENT_OPTION, NULL, "top_p", 0, 0,
         "sample among tokens that make up the probability P"},
        {'\0', "min-p", "P", ARGUMENT_OPTION, NULL, "min_p", 0, 0,
         "drop tokens less likely than P times the best"},
        {'\0', "repeat-penalty", "X", ARGUMENT_OPTION, NULL, "repeat_penalty", 0, 0,
         "penalty of tokens that occurred"},
        {'\0', "stop", "TEXT", ARGUMENT_OPTION, NULL, "stop", 0, 0,
         "end an answer before TEXT (may be repeated)"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        SPECULATION_ARGUMENTS(common),
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own->verbose, NULL, 0, 0,
         "timings on standard error"},
    };
    const program_usage usage = {
        "-m MODEL [OPTION]...",
        "Talks with a language model. Each line of standard input is a message; answers go to\n"
        "standard output, everything else to standard error. With --json each answer is an\n"
        "object on a line.",
        "A message that could not be answered (too long for the context) is reported and taken\n"
        "back; where the input is no terminal the exit status is 1 then.",
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(count, values, &usage, common);
    arguments_refuse_positional(common);
    if (own->raw && option_changed(common->options, "template"))
        fail_usage("--raw does not go with --template");
}

int main(int argc, char **argv)
{
    program_start("radllm-chat");
    settings own = {.n_tokens = -1};
    common_settings common;
    parse(argc, argv, &own, &common);
    program_catch_signals(false);
    runtime run;
    runtime_load(&run, &common, own.verbose);
    if (own.raw)
        warn_of_base(run.model);
    else
        require_template(run.model, common.options);
    runtime_start(&run, &common);
    check(radllm_options_set_integer(common.options, "max_tokens", own.n_tokens, program_error()),
          "-n");

    /* While it loaded, Ctrl-C ended the program; from now on it stops an answer. */
    program_catch_signals(true);
    conversation talk = {0};
    if (own.system != NULL)
        talk.system = memory_text(own.system);
    bool terminal = isatty(STDIN_FILENO) == 1;
    uint64_t failures = converse(&run, &talk, &own, &common);
    drop_turns(&talk, 0);
    free(talk.turns);
    free(talk.system);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(failures != 0 && !terminal ? EXIT_CODE_FAILED : EXIT_CODE_OK);
}
