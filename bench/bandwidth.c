/* Which share of the memory's bandwidth generation uses, where the bandwidth changes from moment to
 * moment, as on a machine with other guests: some tokens and plain reading in turns. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

enum { MAX_TURNS = 10000, MAX_TOKENS = 1024, FIRST_TOKENS = 4 };

typedef struct settings {
    int64_t n_turns;
    int64_t n_tokens; /* of a turn */
} settings;

/* One figure of every turn, in increasing order once sorted. */
typedef struct series {
    double values[MAX_TURNS];
    size_t count;
} series;

typedef struct figures {
    bench_model model;
    int64_t threads;
    double bytes; /* that a token reads */
    series read, tokens, share;
} figures;

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(series *of)
{
    qsort(of->values, of->count, sizeof of->values[0], compare_doubles);
}

static double quantile(const series *sorted, double share)
{
    return sorted->values[(size_t)(share * (double)(sorted->count - 1) + 0.5)];
}

static void feed(const runtime *run, const int32_t *tokens, size_t count)
{
    check(radllm_session_feed(run->session, tokens, count, program_cancel(), program_error()),
          NULL);
}

static void take_turns(const runtime *run, const settings *own, const char *isa, figures *found)
{
    int32_t *tokens =
        random_tokens(FIRST_TOKENS + own->n_tokens, model_number(run->model, "vocab_size"), 0);
    machine_reader *reader = machine_reader_new((uint32_t)found->threads, isa);
    feed(run, tokens, FIRST_TOKENS);
    for (int64_t turn = -1; turn < own->n_turns; turn++) { /* the first one is not counted */
        double before = machine_reader_read(reader), start = clock_seconds();
        for (int64_t i = 0; i < own->n_tokens; i++)
            feed(run, tokens + FIRST_TOKENS + i, 1);
        double rate = (double)own->n_tokens / (clock_seconds() - start);
        double limit = (before + machine_reader_read(reader)) / 2;
        check(radllm_session_rewind(run->session, FIRST_TOKENS, program_error()), NULL);
        if (program_interrupted())
            fail("interrupted");
        if (turn < 0)
            continue;
        size_t at = (size_t)turn;
        found->read.values[at] = limit;
        found->tokens.values[at] = rate;
        found->share.values[at] = found->bytes * rate / limit;
    }
    found->read.count = found->tokens.count = found->share.count = (size_t)own->n_turns;
    sort(&found->read);
    sort(&found->tokens);
    sort(&found->share);
    machine_reader_free(reader);
    free(tokens);
}

static void report(const figures *found, const common_settings *common)
{
    if (!common->json) {
        output_format("%s, %" PRId64 " threads, %s: share of the bandwidth %.3f (quartiles %.3f, "
                      "%.3f); %.1f tokens/s of %.1f MB, memory read at %.1f GB/s (tenths %.1f, "
                      "%.1f)\n",
                      found->model.type, found->threads, found->model.isa,
                      quantile(&found->share, 0.5), quantile(&found->share, 0.25),
                      quantile(&found->share, 0.75), quantile(&found->tokens, 0.5),
                      found->bytes / 1e6, quantile(&found->read, 0.5) / 1e9,
                      quantile(&found->read, 0.1) / 1e9, quantile(&found->read, 0.9) / 1e9);
        return;
    }
    json_t *object = json_object();
    json_put(object, "model", json_string(found->model.type));
    json_put(object, "isa", json_string(found->model.isa));
    json_put(object, "threads", json_integer(found->threads));
    json_put(object, "turns", json_integer((json_int_t)found->share.count));
    json_put_real(object, "bytes_per_token", found->bytes);
    json_put_real(object, "share_of_bandwidth", quantile(&found->share, 0.5));
    json_put_real(object, "share_lower_quartile", quantile(&found->share, 0.25));
    json_put_real(object, "share_upper_quartile", quantile(&found->share, 0.75));
    json_put_real(object, "tokens_per_second", quantile(&found->tokens, 0.5));
    json_put_real(object, "read_bytes_per_second", quantile(&found->read, 0.5));
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void measure(const runtime *run, const common_settings *common, const settings *own)
{
    figures *found = memory_array(1, sizeof *found);
    int64_t position = 0;
    char *isa = option_text(common->options, "isa");
    radllm_file *file = NULL;
    check(radllm_file_open(NULL, common->model, &file, program_error()), NULL);
    describe_model(run, file, &found->model);
    radllm_file_free(file);
    check(radllm_engine_number(run->engine, "threads", &found->threads, program_error()), NULL);
    check(radllm_engine_number(run->engine, "cache_position_bytes", &position, program_error()),
          NULL);
    found->bytes = found->model.token_bytes +
                   (double)position * (FIRST_TOKENS + 0.5 * (double)(own->n_tokens + 1));
    take_turns(run, own, isa, found);
    report(found, common);
    free(isa);
    free(found);
}

int bandwidth_main(int argc, char **argv)
{
    settings own = {30, 32};
    common_settings common;
    const argument table[] = {
        {'\0', "turns", "N", ARGUMENT_INTEGER, &own.n_turns, NULL, 1, MAX_TURNS,
         "turns of reading and generating (30)"},
        {'n', "n-gen", "N", ARGUMENT_INTEGER, &own.n_tokens, NULL, 1, MAX_TOKENS,
         "tokens of a turn (32)"},
    };
    const program_usage usage = {
        "bandwidth -m MODEL [OPTION]...",
        "Which share of the memory's bandwidth the generation of one sequence uses: bytes of\n"
        "weights and cache that a token reads, times tokens/s, by the best of three loops that\n"
        "only read, right before and behind those tokens. The median of many turns, since both\n"
        "change from moment to moment where the machine does other work as well. On the CPU.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(argc, argv, &usage, &common);
    arguments_refuse_positional(&common);
    option_set(common.options, "device", "cpu", "device");
    option_set(common.options, "load_wait", "yes", "load_wait");
    if (!option_changed(common.options, "context"))
        check(radllm_options_set_integer(common.options, "context", FIRST_TOKENS + own.n_tokens + 1,
                                         program_error()),
              NULL);
    program_catch_signals(false);
    program_end_at_once(true);
    runtime run;
    runtime_load(&run, &common, false);
    runtime_start(&run, &common);
    measure(&run, &common, &own);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
