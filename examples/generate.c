/* radllm-generate: goes on with a text, or answers a message. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

enum { PROMPT_LIMIT = 1 << 30, DEFAULT_TOKENS = 128 };

typedef struct settings {
    const char *prompt;
    const char *file;
    const char *system;
    const char *logits_file;
    int64_t n_tokens;
    int64_t logprobs;
    bool chat;
    bool raw;
    bool verbose;
    bool token_ids;
    bool logits_hash;
} settings;

typedef struct logits_sink {
    FILE *file;
    const char *path;
    uint64_t hash;
    uint64_t positions;
} logits_sink;

/* What came out of the request, for the report. */
typedef struct outcome {
    token_list prompt;
    token_list answer;
    buffer text;
    int32_t finish;
    double prompt_seconds;
    double answer_seconds;
    int64_t drafted;
    int64_t accepted;
    json_t *logprobs;
} outcome;

static buffer read_prompt(const settings *own, const common_settings *common)
{
    buffer prompt = {0};
    size_t sources = (own->prompt != NULL) + (own->file != NULL) + common->positional.count;
    if (sources > 1)
        fail_usage("give the prompt once: -p TEXT, -f FILE, or - for standard input");
    if (own->prompt != NULL)
        buffer_add_text(&prompt, own->prompt);
    else if (own->file != NULL)
        prompt = read_whole(own->file, PROMPT_LIMIT);
    else if (common->positional.count == 1 && strcmp(common->positional.items[0], "-") == 0)
        prompt = read_whole("-", PROMPT_LIMIT);
    else if (common->positional.count == 1)
        fail_usage("\"%s\": a prompt is given as -p TEXT or -f FILE", common->positional.items[0]);
    else
        fail_usage("give a prompt: -p TEXT, -f FILE, or - for standard input");
    buffer_reserve(&prompt, 0);
    return prompt;
}

static radllm_chat *make_chat(const settings *own, const buffer *prompt)
{
    radllm_chat *chat = NULL;
    check(radllm_chat_new(NULL, &chat, program_error()), NULL);
    if (own->system != NULL)
        check(radllm_chat_add(chat, "system", own->system, RADLLM_NUL, program_error()), NULL);
    check(radllm_chat_add(chat, "user", prompt->data, prompt->length, program_error()), NULL);
    return chat;
}

static token_list chat_tokens(const runtime *run, const radllm_chat *chat,
                              const common_settings *common)
{
    token_list list = {NULL, 0};
    radllm_status status = radllm_chat_tokenize(run->model, chat, common->options, NULL, 0,
                                                &list.count, program_error());
    if (status != RADLLM_E_BUFFER)
        check(status, NULL);
    size_t capacity = list.count;
    list.ids = memory_array(capacity, sizeof *list.ids);
    check(radllm_chat_tokenize(run->model, chat, common->options, list.ids, capacity, &list.count,
                               program_error()),
          NULL);
    return list;
}

/* A token without text of its own. */
static bool is_control(const radllm_model *model, int32_t token)
{
    char text[8];
    size_t length = 0;
    radllm_status status =
        radllm_detokenize(model, &token, 1, 0, text, sizeof text, &length, program_error());
    return status == RADLLM_OK && length == 0;
}

static token_list prompt_tokens(const runtime *run, const radllm_chat *chat, const buffer *prompt,
                                const common_settings *common)
{
    if (chat != NULL)
        return chat_tokens(run, chat, common);
    char *special = option_text(common->options, "special");
    uint32_t flags = RADLLM_TOKENIZE_ADD_SPECIAL;
    if (strcmp(special, "1") == 0 || strcmp(special, "true") == 0)
        flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
    free(special);
    token_list list = tokenize(run->model, prompt->data, prompt->length, flags);
    /* An empty prompt is BOS alone, also where the model wants none before a text. */
    int32_t bos = (int32_t)model_number(run->model, "bos_token");
    if (list.count == 0 && bos >= 0 && is_control(run->model, bos))
        list.ids[list.count++] = bos;
    return list;
}

static int32_t stream_text(void *user, const char *text, size_t length)
{
    (void)user;
    output_write(text, length);
    output_flush();
    return 0;
}

/* The most likely tokens at each position of the answer. */
static json_t *logprobs_json(const runtime *run, const radllm_request *request, size_t count,
                             int64_t ranks)
{
    json_t *positions = json_array();
    for (size_t i = 0; i < count; i++) {
        radllm_answer_token token = {.size = sizeof token};
        check(radllm_request_token(request, i, &token, program_error()), "answer");
        json_t *entry = json_object();
        json_put(entry, "token", json_integer(token.token));
        json_put_real(entry, "logprob", token.logprob);
        json_t *best = json_array();
        for (uint32_t rank = 0; rank < (uint32_t)ranks; rank++) {
            if (radllm_request_top_token(request, i, rank, &token, program_error()) != RADLLM_OK)
                break;
            char piece[512];
            size_t length = 0;
            json_t *item = json_object();
            json_put(item, "token", json_integer(token.token));
            if (radllm_detokenize(run->model, &token.token, 1, RADLLM_DETOKENIZE_SPECIAL, piece,
                                  sizeof piece, &length, NULL) == RADLLM_OK)
                json_put(item, "text", json_from_text(piece, length));
            json_put_real(item, "logprob", token.logprob);
            json_push(best, item);
        }
        json_put(entry, "top", best);
        json_push(positions, entry);
    }
    return positions;
}

static void run_request(const runtime *run, const radllm_chat *chat, const settings *own,
                        const common_settings *common, outcome *out)
{
    radllm_error *error = program_error();
    radllm_request *request = NULL;
    if (chat != NULL)
        check(radllm_request_new_chat(run->session, chat, common->options, &request, error), NULL);
    else
        check(radllm_request_new_tokens(run->session, out->prompt.ids, out->prompt.count,
                                        common->options, &request, error),
              NULL);
    bool streaming = !common->json && !own->token_ids && !own->logits_hash;
    if (streaming)
        check(radllm_request_set_callback(request, stream_text, NULL, error), NULL);
    radllm_status status = radllm_request_run(request, program_cancel(), error);
    if (status != RADLLM_OK && status != RADLLM_E_CANCELLED)
        check(status, NULL);
    if (status == RADLLM_E_CANCELLED && !program_interrupted())
        check(status, NULL);
    if (streaming && isatty(STDOUT_FILENO) == 1)
        output_text("\n");
    out->text = request_text(request);
    out->answer = answer_tokens(request);
    out->finish = radllm_request_finish(request);
    out->prompt_seconds = (double)request_number(request, "prompt_ns") * 1e-9;
    out->answer_seconds = (double)request_number(request, "answer_ns") * 1e-9;
    out->drafted = request_number(request, "drafted_tokens");
    out->accepted = request_number(request, "accepted_tokens");
    if (own->logprobs > 0)
        out->logprobs = logprobs_json(run, request, out->answer.count, own->logprobs);
    radllm_request_free(request);
}

static int32_t take_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    logits_sink *sink = user;
    (void)position;
    /* The file is little-endian on every machine. */
    unsigned char bytes[4 * 1024];
    for (uint32_t start = 0; start < n_vocab; start += 1024) {
        uint32_t count = n_vocab - start < 1024 ? n_vocab - start : 1024;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, &logits[start + i], sizeof bits);
            bytes[4 * i] = (unsigned char)bits;
            bytes[4 * i + 1] = (unsigned char)(bits >> 8);
            bytes[4 * i + 2] = (unsigned char)(bits >> 16);
            bytes[4 * i + 3] = (unsigned char)(bits >> 24);
        }
        sink->hash = fnv1a(sink->hash, bytes, 4 * (size_t)count);
        if (sink->file != NULL && fwrite(bytes, 4, count, sink->file) != count)
            return 1;
    }
    sink->positions++;
    return 0;
}

/* The prompt at once, then each token of the answer that generation feeds: all where the model
 * ended the answer, which it says behind the last token; else all but the last. The numeric
 * contract makes these logits the bits that the request computed. */
static void write_logits(const runtime *run, const outcome *out, logits_sink *sink)
{
    radllm_error *error = program_error();
    check(radllm_session_rewind(run->session, 0, error), NULL);
    size_t unfed = out->finish == RADLLM_FINISH_END || out->answer.count == 0 ? 0 : 1;
    for (size_t i = 0; i <= out->answer.count - unfed; i++) {
        const int32_t *ids = i == 0 ? out->prompt.ids : &out->answer.ids[i - 1];
        size_t count = i == 0 ? out->prompt.count : 1;
        radllm_status status = radllm_session_feed_each(run->session, ids, count, take_logits, sink,
                                                        program_cancel(), error);
        if (sink->file != NULL && ferror(sink->file))
            fail("cannot write %s: no space left, or the device failed", sink->path);
        check(status, NULL);
    }
    if (sink->file != NULL && fclose(sink->file) != 0)
        fail("cannot write %s: no space left, or the device failed", sink->path);
}

static json_t *ids_json(const token_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_push(array, json_integer(list->ids[i]));
    return array;
}

static void print_json(const runtime *run, const common_settings *common, const settings *own,
                       outcome *out, const logits_sink *sink)
{
    json_t *object = json_object();
    json_put(object, "text", json_from_text(out->text.data, out->text.length));
    json_put(object, "tokens", ids_json(&out->answer));
    json_put(object, "prompt_tokens", ids_json(&out->prompt));
    json_put(object, "finish", json_string(finish_name(out->finish)));
    if (out->logprobs != NULL)
        json_put(object, "logprobs", json_incref(out->logprobs));
    if (sink != NULL) {
        char hash[17];
        snprintf(hash, sizeof hash, "%016" PRIx64, sink->hash);
        json_put(object, "logits_hash", json_string(hash));
        json_put(object, "logits_positions", json_integer((json_int_t)sink->positions));
    }
    json_t *timings = json_object();
    json_put_real(timings, "load_seconds", run->load_seconds);
    json_put_real(timings, "prompt_seconds", out->prompt_seconds);
    json_put_real(timings, "answer_seconds", out->answer_seconds);
    json_put(object, "timings", timings);
    if (option_changed(common->options, "speculate")) {
        json_t *speculation = json_object();
        json_put(speculation, "drafted_tokens", json_integer((json_int_t)out->drafted));
        json_put(speculation, "accepted_tokens", json_integer((json_int_t)out->accepted));
        json_put(object, "speculation", speculation);
    }
    json_t *chosen = settings_json(run->model, common->options);
    json_put(chosen, "chat", json_boolean(own->chat));
    put_device(chosen, run->engine);
    json_put(object, "settings", chosen);
    json_put(object, "model", json_string(common->model));
    json_put(object, "numeric_version", json_integer(radllm_numeric_version()));
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void print_plain(const settings *own, const outcome *out, const logits_sink *sink)
{
    if (own->token_ids) {
        for (size_t i = 0; i < out->answer.count; i++)
            output_format("%s%d", i != 0 ? " " : "", out->answer.ids[i]);
        output_text("\n");
    }
    if (own->logits_hash)
        output_format("%016" PRIx64 "\n", sink->hash);
    if (out->logprobs == NULL)
        return;
    /* Beside a text that streams to standard output there is only standard error. */
    size_t position;
    json_t *entry;
    json_array_foreach(out->logprobs, position, entry)
    {
        char *line = json_dumps(entry, JSON_COMPACT);
        fprintf(stderr, "%s\n", line != NULL ? line : "");
        free(line);
    }
}

static double per_second(size_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0.0;
}

static void print_timings(const runtime *run, const outcome *out)
{
    size_t later = out->answer.count > 1 ? out->answer.count - 1 : 0;
    int64_t threads = 0;
    check(radllm_engine_number(run->engine, "threads", &threads, program_error()), NULL);
    char *isa = model_text(run->model, "isa");
    warn("load %.3f s, %d threads, %s", run->load_seconds, (int)threads, isa);
    warn("prompt %zu tokens, first token after %.3f s (%.1f tokens a second)", out->prompt.count,
         out->prompt_seconds, per_second(out->prompt.count, out->prompt_seconds));
    warn("answer %zu tokens in %.3f s (%.1f tokens a second), finish: %s", out->answer.count,
         out->answer_seconds, per_second(later, out->answer_seconds), finish_name(out->finish));
    free(isa);
}

static void parse(int count, char **values, settings *own, common_settings *common)
{
    const argument table[] = {
        {'p', "prompt", "TEXT", ARGUMENT_TEXT, &own->prompt, NULL, 0, 0, "the text to go on with"},
        {'f', "file", "FILE", ARGUMENT_TEXT, &own->file, NULL, 0, 0,
         "read the prompt from FILE; - is standard input, also as an\nargument of its own"},
        {'n', "tokens", "TOKENS", ARGUMENT_INTEGER, &own->n_tokens, NULL, -1, INT32_MAX,
         "generate at most so many (128; 0: none; -1: until the\nmodel ends or the context is"
         " full)"},
        {'\0', "raw", NULL, ARGUMENT_FLAG, &own->raw, NULL, 0, 0,
         "go on with the prompt as it is (the default)"},
        {'\0', "chat", NULL, ARGUMENT_FLAG, &own->chat, NULL, 0, 0,
         "put the prompt to the model as a user's message, in the\nmodel's own chat template"},
        {'\0', "template", "NAME", ARGUMENT_OPTION, NULL, "template", 0, 0,
         "chat template by name (implies --chat)"},
        {'\0', "system", "TEXT", ARGUMENT_TEXT, &own->system, NULL, 0, 0,
         "system message (implies --chat)"},
        {'\0', "special", NULL, ARGUMENT_OPTION, NULL, "special", 0, 0,
         "read control tokens in the prompt"},
        {'\0', "top-k", "N", ARGUMENT_OPTION, NULL, "top_k", 0, 0,
         "sample among the N most likely tokens"},
        {'\0', "top-p", "P", ARGUMENT_OPTION, NULL, "top_p", 0, 0,
         "sample among tokens that make up the probability P"},
        {'\0', "min-p", "P", ARGUMENT_OPTION, NULL, "min_p", 0, 0,
         "drop tokens less likely than P times the best"},
        {'\0', "typical", "P", ARGUMENT_OPTION, NULL, "typical_p", 0, 0,
         "locally typical sampling with probability P"},
        {'\0', "repeat-penalty", "X", ARGUMENT_OPTION, NULL, "repeat_penalty", 0, 0,
         "penalty of tokens that occurred"},
        {'\0', "frequency-penalty", "X", ARGUMENT_OPTION, NULL, "frequency_penalty", 0, 0,
         "penalty times the number of occurrences"},
        {'\0', "presence-penalty", "X", ARGUMENT_OPTION, NULL, "presence_penalty", 0, 0,
         "penalty once for tokens that occurred"},
        {'\0', "logit-bias", "ID:BIAS", ARGUMENT_OPTION, NULL, "logit_bias", 0, 0,
         "add BIAS to a token's logit (may be repeated)"},
        {'\0', "stop", "TEXT", ARGUMENT_OPTION, NULL, "stop", 0, 0,
         "end the answer before TEXT (may be repeated)"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        SPECULATION_ARGUMENTS(common),
        {'\0', "logprobs", "N", ARGUMENT_INTEGER, &own->logprobs, NULL, 0, INT32_MAX,
         "the N most likely tokens at each position: within --json,\nelse on standard error"},
        {'\0', "token-ids", NULL, ARGUMENT_FLAG, &own->token_ids, NULL, 0, 0,
         "print the ids of the generated tokens on one line\ninstead of the text"},
        {'\0', "logits-out", "FILE", ARGUMENT_TEXT, &own->logits_file, NULL, 0, 0,
         "write the logits of every position fed (the prompt and\nall generated tokens but the"
         " last) as raw little-endian\nfloat32"},
        {'\0', "logits-hash", NULL, ARGUMENT_FLAG, &own->logits_hash, NULL, 0, 0,
         "print the FNV-1a hash of these bytes (16 hexadecimal\ndigits) instead of the text"},
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own->verbose, NULL, 0, 0,
         "timings on standard error"},
    };
    const program_usage usage = {
        "-m MODEL -p PROMPT [OPTION]...\n-m MODEL -f FILE [OPTION]...",
        "Generates text with a language model. The generated text goes to standard output as it\n"
        "is made, without the prompt; everything else goes to standard error.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(count, values, &usage, common);
    bool named = option_changed(common->options, "template");
    if (own->raw && (own->chat || own->system != NULL || named))
        fail_usage("--raw does not go with --chat, --template and --system");
    own->chat = own->chat || own->system != NULL || named;
    check(radllm_options_set_integer(common->options, "max_tokens", own->n_tokens, program_error()),
          "-n");
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, own->logprobs);
    option_set(common->options, "top_logprobs", number, "--logprobs");
}

int main(int argc, char **argv)
{
    program_start("radllm-generate");
    settings own = {.n_tokens = DEFAULT_TOKENS};
    common_settings common;
    parse(argc, argv, &own, &common);
    program_catch_signals(false);
    buffer prompt = read_prompt(&own, &common);
    logits_sink sink = {.path = own.logits_file, .hash = FNV1A_START};
    if (own.logits_file != NULL && (sink.file = fopen(own.logits_file, "wb")) == NULL)
        fail("cannot open %s: %s", own.logits_file, strerror(errno));

    runtime run;
    runtime_load(&run, &common, own.verbose);
    if (own.chat)
        require_template(run.model, common.options);
    runtime_start(&run, &common);
    outcome out = {0};
    radllm_chat *chat = own.chat ? make_chat(&own, &prompt) : NULL;
    program_end_at_once(true);
    out.prompt = prompt_tokens(&run, chat, &prompt, &common);
    program_end_at_once(false);
    run_request(&run, chat, &own, &common, &out);
    bool wants_logits = own.logits_file != NULL || own.logits_hash;
    bool stopped = program_interrupted();
    if (wants_logits && !stopped)
        write_logits(&run, &out, &sink);
    if (common.json)
        print_json(&run, &common, &own, &out, wants_logits ? &sink : NULL);
    else
        print_plain(&own, &out, &sink);
    if (own.verbose)
        print_timings(&run, &out);

    json_decref(out.logprobs);
    free(out.prompt.ids);
    free(out.answer.ids);
    buffer_free(&out.text);
    buffer_free(&prompt);
    radllm_chat_free(chat);
    runtime_free(&run);
    arguments_free(&common);
    if (stopped)
        warn("interrupted");
    return program_finish(stopped ? EXIT_CODE_INTERRUPTED : EXIT_CODE_OK);
}
