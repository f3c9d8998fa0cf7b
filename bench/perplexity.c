/* How well a model predicts a text, by the protocol of llama.cpp's perplexity program, so that the
 * figures compare: the text is cut into chunks of n_ctx tokens; the first token of each chunk is
 * replaced by BOS where the model adds one; the second half of each chunk is scored.
 *
 * With --stream the text is one sequence, and every token behind the first is scored: what a policy
 * of attention makes of a text longer than its window. --cut begins anew after so many tokens. */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

enum { TEXT_LIMIT = 1 << 30 };

typedef struct score {
    const int32_t *tokens; /* of the chunk */
    int64_t n_context;
    int64_t first; /* the first position that predicts a scored token */
    double sum;    /* of negative log-probabilities */
    double sum_of_squares;
    uint64_t count;
    FILE *each; /* receives every value; NULL: nothing does */
} score;

static double negative_logprob(const float *logits, uint32_t n_vocab, int32_t token)
{
    float largest = logits[0];
    for (uint32_t i = 1; i < n_vocab; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - (double)largest);
    return log(sum) - ((double)logits[token] - (double)largest);
}

static int32_t take_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    score *self = user;
    if ((int64_t)position < self->first || (int64_t)position >= self->n_context - 1)
        return 0;
    double value = negative_logprob(logits, n_vocab, self->tokens[position + 1]);
    self->sum += value;
    self->sum_of_squares += value * value;
    self->count++;
    if (self->each != NULL)
        fprintf(self->each, "%.6f\n", value);
    return 0;
}

static void estimate(const score *self, double *perplexity, double *uncertainty)
{
    double average = self->count != 0 ? self->sum / (double)self->count : NAN;
    *perplexity = exp(average);
    double variance = self->sum_of_squares / (double)self->count - average * average;
    *uncertainty = variance > 0 && self->count > 1
                       ? sqrt(variance / (double)(self->count - 1)) * *perplexity
                       : 0;
}

static void print_result(const common_settings *common, const score *self, int64_t chunks,
                         double seconds)
{
    double perplexity, uncertainty;
    estimate(self, &perplexity, &uncertainty);
    if (!common->json) {
        output_format("Final estimate: PPL = %.4f +/- %.5f\n", perplexity, uncertainty);
        return;
    }
    json_t *object = json_object();
    json_put_real(object, "perplexity", perplexity);
    json_put_real(object, "uncertainty", uncertainty);
    json_put(object, "n_ctx", json_integer(self->n_context));
    json_put(object, "chunks", json_integer(chunks));
    json_put(object, "tokens_scored", json_integer((json_int_t)self->count));
    json_put_real(object, "seconds", seconds);
    json_put(object, "model_filename", json_from_text(common->model, strlen(common->model)));
    json_put(object, "numeric_version", json_integer(radllm_numeric_version()));
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void measure(runtime *run, const common_settings *common, token_list *list,
                    int64_t n_context, int64_t chunks)
{
    int64_t bos = model_number(run->model, "bos_token");
    bool adds_bos = model_number(run->model, "adds_bos") != 0 && bos >= 0;
    score total = {.n_context = n_context, .first = n_context / 2};
    double start = clock_seconds();
    for (int64_t i = 0; i < chunks; i++) {
        int32_t *tokens = list->ids + i * n_context;
        int32_t replaced = tokens[0];
        if (adds_bos)
            tokens[0] = (int32_t)bos;
        total.tokens = tokens;
        check(radllm_session_rewind(run->session, 0, program_error()), NULL);
        check(radllm_session_feed_each(run->session, tokens, (size_t)n_context, take_logits, &total,
                                       program_cancel(), program_error()),
              NULL);
        tokens[0] = replaced;
        double perplexity, uncertainty;
        estimate(&total, &perplexity, &uncertainty);
        fprintf(stderr, "[%" PRId64 "]%.4f,%s", i + 1, perplexity, i + 1 == chunks ? "\n" : "");
        fflush(stderr);
    }
    print_result(common, &total, chunks, clock_seconds() - start);
}

/* The text as one sequence, or as pieces that begin anew. */
static void measure_stream(runtime *run, const common_settings *common, const token_list *list,
                           int64_t cut, FILE *each)
{
    enum { FED = 1024 }; /* between looks at a signal */
    int64_t count = (int64_t)list->count;
    score total = {.n_context = cut, .each = each};
    double start = clock_seconds();
    for (int64_t first = 0; first < count; first += cut) {
        int64_t n = count - first < cut ? count - first : cut;
        total.tokens = list->ids + first;
        total.n_context = n;
        check(radllm_session_rewind(run->session, 0, program_error()), NULL);
        for (int64_t done = 0; done < n; done += FED) {
            int64_t now = n - done < FED ? n - done : FED;
            check(radllm_session_feed_each(run->session, total.tokens + done, (size_t)now,
                                           take_logits, &total, program_cancel(), program_error()),
                  NULL);
        }
    }
    total.n_context = cut;
    print_result(common, &total, (count + cut - 1) / cut, clock_seconds() - start);
}

static FILE *open_each(const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (path != NULL && file == NULL)
        fail("cannot write %s", path);
    return file;
}

int perplexity_main(int argc, char **argv)
{
    const char *file = NULL;
    const char *text_argument = NULL;
    int64_t wanted = -1, limit = -1, cut = -1;
    bool stream = false;
    const char *each_path = NULL;
    const argument table[] = {
        {'f', "file", "FILE", ARGUMENT_TEXT, &file, NULL, 0, 0, "the text (- is standard input)"},
        {'p', "prompt", "TEXT", ARGUMENT_TEXT, &text_argument, NULL, 0, 0, "the text itself"},
        {'\0', "chunks", "N", ARGUMENT_INTEGER, &wanted, NULL, -1, INT32_MAX,
         "at most so many chunks (-1: all)"},
        {'\0', "stream", NULL, ARGUMENT_FLAG, &stream, NULL, 0, 0,
         "the text is one sequence, every token is scored"},
        {'\0', "cut", "N", ARGUMENT_INTEGER, &cut, NULL, 2, INT32_MAX,
         "with --stream: begin anew after every N tokens"},
        {'n', "tokens", "N", ARGUMENT_INTEGER, &limit, NULL, 2, INT32_MAX,
         "with --stream: the first N tokens of the text"},
        {'\0', "each", "FILE", ARGUMENT_TEXT, &each_path, NULL, 0, 0,
         "with --stream: write the negative log-probability of each\ntoken, one on a line"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        {'b', "batch", "N", ARGUMENT_OPTION, NULL, "batch", 0, 0,
         "tokens computed at the same time"},
    };
    static const char *const presets[] = {"context", "512", NULL};
    const program_usage usage = {
        "perplexity -m MODEL -f TEXT [-c 512] [--chunks N]\n"
        "perplexity -m MODEL -f TEXT --stream [--attention POLICY] [--cut N] [-n N]",
        "The perplexity of a model on a text: chunks of -c tokens (512), BOS at the head of each\n"
        "where the model adds one, the second half of each scored. Running values go to standard\n"
        "error, the final one to standard output.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        presets};
    common_settings common;
    arguments_parse(argc, argv, &usage, &common);
    arguments_refuse_positional(&common);
    if ((file == NULL) == (text_argument == NULL))
        fail_usage("give the text: -f FILE or -p TEXT");
    if (!stream && (cut > 0 || limit > 0 || each_path != NULL))
        fail_usage("--cut, --tokens and --each go with --stream");
    program_catch_signals(false);
    program_end_at_once(true);
    runtime run;
    runtime_load(&run, &common, false);
    runtime_start(&run, &common);
    int64_t n_context = 0;
    check(radllm_engine_number(run.engine, "context", &n_context, program_error()), NULL);
    if (n_context < 4)
        fail("a context of %" PRId64 " tokens is too short to score its second half", n_context);

    buffer text = {0};
    if (file != NULL)
        text = read_whole(file, TEXT_LIMIT);
    else
        buffer_add_text(&text, text_argument);
    uint32_t flags = RADLLM_TOKENIZE_ADD_SPECIAL;
    if (option_changed(common.options, "special"))
        flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
    token_list list = tokenize(run.model, text.data, text.length, flags);
    buffer_free(&text);
    if (stream) {
        if (limit > 0 && (size_t)limit < list.count)
            list.count = (size_t)limit;
        FILE *each = open_each(each_path);
        measure_stream(&run, &common, &list, cut > 0 ? cut : (int64_t)list.count, each);
        if (each != NULL && fclose(each) != 0)
            fail("cannot write %s", each_path);
        free(list.ids);
        runtime_free(&run);
        arguments_free(&common);
        return program_finish(EXIT_CODE_OK);
    }
    int64_t chunks = (int64_t)list.count / n_context;
    if (chunks == 0)
        fail("the text has %zu tokens and a chunk needs %" PRId64 "; take a longer text or a"
             " smaller -c",
             list.count, n_context);
    if (wanted > 0 && wanted < chunks)
        chunks = wanted;
    measure(&run, &common, &list, n_context, chunks);
    free(list.ids);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
