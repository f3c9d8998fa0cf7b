/* radllm-tokenize: text to token ids and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

enum { TEXT_LIMIT = 1 << 30 };

typedef struct settings {
    const char *text;
    const char *file;
    bool pieces;
    bool no_special;
    bool special;
    bool decode;
    bool count;
    bool verbose;
} settings;

/* Ids with white space, commas or brackets between them. */
static token_list read_ids(const buffer *text, const radllm_model *model)
{
    int64_t n_vocab = model_number(model, "vocab_size");
    token_list list = {NULL, 0};
    size_t capacity = 0;
    size_t at = 0;
    uint64_t line = 1;
    while (at < text->length) {
        char byte = text->data[at];
        line += byte == '\n';
        if (byte != '\0' && strchr(" \t\r\n,[]", byte) != NULL) {
            at++;
            continue;
        }
        char *end = NULL;
        errno = 0;
        long long id = strtoll(text->data + at, &end, 10);
        size_t used = (size_t)(end - (text->data + at));
        if (used == 0) {
            buffer shown = {0};
            add_escaped(&shown, text->data + at, text->length - at < 20 ? text->length - at : 20);
            fail("line %llu: \"%s\" is no token id", (unsigned long long)line, shown.data);
        }
        if (errno != 0 || id < 0 || id >= n_vocab)
            fail("line %llu: token id %.*s is not in the vocabulary of %lld tokens (0 to %lld)",
                 (unsigned long long)line, (int)used, text->data + at, (long long)n_vocab,
                 (long long)n_vocab - 1);
        if (list.count == capacity) {
            capacity = capacity * 2 + 256;
            list.ids = memory_resize(list.ids, capacity * sizeof *list.ids);
        }
        list.ids[list.count++] = (int32_t)id;
        at += used;
    }
    return list;
}

static buffer decode(const radllm_model *model, const token_list *list, uint32_t flags)
{
    buffer text = {0};
    size_t length = 0;
    radllm_status status =
        radllm_detokenize(model, list->ids, list->count, flags, NULL, 0, &length, program_error());
    if (status != RADLLM_E_BUFFER)
        check(status, NULL);
    buffer_reserve(&text, length);
    check(radllm_detokenize(model, list->ids, list->count, flags, text.data, text.capacity,
                            &text.length, program_error()),
          NULL);
    text.data[text.length] = '\0';
    return text;
}

static buffer piece_of(const radllm_model *model, int32_t token)
{
    buffer piece = {0};
    buffer_reserve(&piece, 256);
    radllm_status status = radllm_token_piece(model, token, piece.data, piece.capacity,
                                              &piece.length, program_error());
    if (status == RADLLM_E_BUFFER) {
        buffer_reserve(&piece, piece.length + 1);
        status = radllm_token_piece(model, token, piece.data, piece.capacity, &piece.length,
                                    program_error());
    }
    check(status, NULL);
    return piece;
}

static void print_decoded(const radllm_model *model, const buffer *input, const settings *own,
                          bool as_json)
{
    token_list list = read_ids(input, model);
    buffer text = decode(model, &list, own->special ? RADLLM_DETOKENIZE_SPECIAL : 0);
    if (as_json) {
        json_t *object = json_object();
        json_put(object, "text", json_from_text(text.data, text.length));
        json_put(object, "count", json_integer((json_int_t)list.count));
        output_json(object, JSON_INDENT(2));
        json_decref(object);
    } else {
        output_write(text.data, text.length);
    }
    buffer_free(&text);
    free(list.ids);
}

static void print_json(const radllm_model *model, const token_list *list, const settings *own)
{
    json_t *object = json_object();
    json_t *ids = json_array();
    json_t *pieces = json_array();
    for (size_t i = 0; i < list->count; i++) {
        json_push(ids, json_integer(list->ids[i]));
        if (own->pieces) {
            buffer piece = piece_of(model, list->ids[i]);
            json_push(pieces, json_from_text(piece.data, piece.length));
            buffer_free(&piece);
        }
    }
    json_put(object, "count", json_integer((json_int_t)list->count));
    json_put(object, "tokens", ids);
    if (own->pieces)
        json_put(object, "pieces", json_incref(pieces));
    output_json(object, JSON_COMPACT);
    json_decref(pieces);
    json_decref(object);
}

static void print_tokens(const radllm_model *model, const token_list *list, const settings *own)
{
    buffer lines = {0};
    for (size_t i = 0; i < list->count; i++) {
        buffer_add_format(&lines, "%d", list->ids[i]);
        if (own->pieces) {
            buffer piece = piece_of(model, list->ids[i]);
            buffer_add(&lines, "\t", 1);
            add_escaped(&lines, piece.data, piece.length);
            buffer_free(&piece);
        }
        buffer_add(&lines, "\n", 1);
        if (lines.length > 65536) {
            output_write(lines.data, lines.length);
            buffer_clear(&lines);
        }
    }
    output_write(lines.data, lines.length);
    buffer_free(&lines);
}

static void encode(const radllm_model *model, const buffer *text, const settings *own, bool as_json)
{
    uint32_t flags =
        own->no_special ? 0 : RADLLM_TOKENIZE_ADD_SPECIAL | RADLLM_TOKENIZE_PARSE_SPECIAL;
    double start = clock_seconds();
    token_list list = tokenize(model, text->data, text->length, flags);
    double seconds = clock_seconds() - start;
    if (own->count && !as_json)
        output_format("%zu\n", list.count);
    else if (as_json)
        print_json(model, &list, own);
    else
        print_tokens(model, &list, own);
    if (own->verbose)
        warn("%zu bytes, %zu tokens, %.6f s (%.1f MB/s)", text->length, list.count, seconds,
             seconds > 0 ? (double)text->length / seconds * 1e-6 : 0.0);
    free(list.ids);
}

static void parse(int count, char **values, settings *own, common_settings *common)
{
    const argument table[] = {
        {'p', "prompt", "TEXT", ARGUMENT_TEXT, &own->text, NULL, 0, 0,
         "the text (or the ids, with --decode)"},
        {'f', "file", "FILE", ARGUMENT_TEXT, &own->file, NULL, 0, 0,
         "read it from FILE; without -p and -f from standard input"},
        {'\0', "pieces", NULL, ARGUMENT_FLAG, &own->pieces, NULL, 0, 0,
         "each id with its vocabulary entry behind a tab; control\ncharacters, backslash and bytes"
         " that are not UTF-8 are\nwritten as \\n, \\t, \\\\ and \\xHH"},
        {'\0', "no-special", NULL, ARGUMENT_FLAG, &own->no_special, NULL, 0, 0,
         "neither add BOS and EOS nor read control tokens in the\ntext (both are done without it);"
         " with --decode this is the\ndefault"},
        {'\0', "decode", NULL, ARGUMENT_FLAG, &own->decode, NULL, 0, 0,
         "read ids and write their text, without control tokens"},
        {'\0', "special", NULL, ARGUMENT_FLAG, &own->special, NULL, 0, 0,
         "with --decode: write control tokens too"},
        {'\0', "count", NULL, ARGUMENT_FLAG, &own->count, NULL, 0, 0, "only the number of tokens"},
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own->verbose, NULL, 0, 0, "time on standard error"},
    };
    const program_usage usage = {
        "-m MODEL [-p TEXT | -f FILE] [OPTION]...",
        "Splits text into the tokens of a model, one id a line, or joins ids to text with\n"
        "--decode. Only the vocabulary is loaded: a file without weights will do, and so will a\n"
        "tokenizer.json or a SentencePiece tokenizer.model.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(count, values, &usage, common);
    if (own->decode && (own->pieces || own->count))
        fail_usage("--decode does not go with --pieces and --count");
    if (own->special && (!own->decode || own->no_special))
        fail_usage("--special goes with --decode, and not with --no-special");
    if (own->text != NULL && own->file != NULL)
        fail_usage("give the text once: -p TEXT or -f FILE");
    if (common->positional.count != 0 && strcmp(common->positional.items[0], "-") != 0)
        fail_usage("\"%s\": the text is given as -p TEXT, -f FILE or on standard input",
                   common->positional.items[0]);
}

int main(int argc, char **argv)
{
    program_start("radllm-tokenize");
    settings own = {0};
    common_settings common;
    parse(argc, argv, &own, &common);
    program_catch_signals(false);
    option_set(common.options, "vocab_only", "1", "vocab_only");
    runtime run;
    runtime_load(&run, &common, false);
    program_end_at_once(true);
    buffer input = {0};
    if (own.text != NULL)
        buffer_add_text(&input, own.text);
    else
        input = read_whole(own.file != NULL ? own.file : "-", TEXT_LIMIT);
    if (own.decode)
        print_decoded(run.model, &input, &own, common.json);
    else
        encode(run.model, &input, &own, common.json);
    buffer_free(&input);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
