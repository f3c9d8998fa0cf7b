#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

/* The start is measured so often at most. */
enum { START_TRIES = 5 };

typedef struct number_list {
    int64_t *items;
    size_t count;
} number_list;

typedef struct settings {
    const char *prompt_tokens;
    const char *generated_tokens;
    const char *sequences;
    const char *depths;
    const char *steps;
    const char *format;
    int64_t repeats;
    bool no_limits;
    int64_t limit_ms;
    bool no_cold;
} settings;

/* What is measured, with the lists taken apart. */
typedef struct plan {
    text_list models;
    number_list threads;
    number_list prompts;
    number_list generated;
    number_list sequences; /* generated together */
    number_list depths;    /* positions before a test */
    number_list steps;     /* tokens computed together; none: the library's own */
    int64_t repeats;
    bool no_cold, limits;
} plan;

typedef struct results {
    bench_row *rows;
    size_t count;
} results;

/* ---- settings ---- */

static number_list parse_numbers(const char *text, const char *origin, int64_t minimum,
                                 int64_t maximum)
{
    number_list list = {NULL, 0};
    char *copy = memory_text(text);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        int64_t value = 0;
        if (!parse_integer(word, &value) || value < minimum || value > maximum)
            fail_usage("%s: \"%s\" is not a whole number from %" PRId64 " to %" PRId64, origin,
                       word, minimum, maximum);
        list.items = memory_resize(list.items, (list.count + 1) * sizeof *list.items);
        list.items[list.count++] = value;
    }
    free(copy);
    return list;
}

static int64_t largest(const number_list *list)
{
    int64_t most = 0;
    for (size_t i = 0; i < list->count; i++)
        most = list->items[i] > most ? list->items[i] : most;
    return most;
}

static text_list parse_models(char *text)
{
    text_list list = {NULL, 0};
    /* A file whose name has a comma is one file. */
    if (access(text, F_OK) == 0) {
        text_list_add(&list, text);
        return list;
    }
    for (char *word; (word = strsep(&text, ",")) != NULL;) {
        if (word[0] == '\0')
            fail_usage("-m: an empty name");
        text_list_add(&list, word);
    }
    return list;
}

/* Drops all parts of the model from the page cache. */
static void forget_parts(const radllm_file *file, const char *path)
{
    uint64_t parts = 1;
    check(radllm_file_number(file, "parts", &parts, program_error()), NULL);
    static const char first[] = "-00001-of-";
    const char *found = strstr(path, first);
    machine_forget_file(path);
    for (uint64_t i = 2; found != NULL && i <= parts; i++) {
        buffer name = {0};
        buffer_add(&name, path, (size_t)(found - path));
        buffer_add_format(&name, "-%05" PRIu64 "-of-%s", i, found + strlen(first));
        machine_forget_file(name.data);
        buffer_free(&name);
    }
}

/* ---- measuring ---- */

static void set_number(radllm_options *options, const char *key, int64_t value)
{
    check(radllm_options_set_integer(options, key, value, program_error()), key);
}

static void add_test(results *all, const runtime *run, const bench_row *test, int64_t repeats)
{
    all->rows = memory_resize(all->rows, (all->count + 1) * sizeof *all->rows);
    bench_row *row = &all->rows[all->count++];
    *row = *test;
    check(radllm_engine_number(run->engine, "threads", &row->threads, program_error()), NULL);
    check(radllm_engine_number(run->engine, "batch", &row->batch, program_error()), NULL);
    measure_test(run, row, repeats);
}

static void stop_engine(runtime *run)
{
    radllm_session_free(run->session);
    radllm_engine_free(run->engine);
    run->session = NULL;
    run->engine = NULL;
}

static void bench_prompts(results *all, const runtime *run, const plan *work, bench_row test)
{
    for (size_t i = 0; i < work->prompts.count; i++) {
        test.n_prompt = work->prompts.items[i];
        if (test.n_prompt != 0)
            add_test(all, run, &test, work->repeats);
    }
}

static void bench_generated(results *all, const runtime *run, const plan *work, bench_row test)
{
    for (size_t i = 0; i < work->generated.count; i++) {
        test.n_gen = work->generated.items[i];
        if (test.n_gen != 0)
            add_test(all, run, &test, work->repeats);
    }
}

/* The tests of one sequence, with one number of threads and one size of steps. */
static void bench_one(results *all, runtime *run, const common_settings *common, const plan *work,
                      const bench_row *base)
{
    set_number(common->options, "sessions", 1);
    runtime_start(run, common);
    bench_row test = *base;
    for (size_t d = 0; d < work->depths.count; d++) {
        test.n_depth = work->depths.items[d];
        bench_prompts(all, run, work, test);
        if (work->sequences.items[0] == 1)
            bench_generated(all, run, work, test);
    }
    stop_engine(run);
}

/* Generating for several sequences together. */
static void bench_many(results *all, runtime *run, const common_settings *common, const plan *work,
                       const bench_row *base)
{
    bench_row test = *base;
    for (size_t s = 0; s < work->sequences.count; s++) {
        test.n_sequences = work->sequences.items[s];
        if (s == 0 && test.n_sequences == 1)
            continue;
        set_number(common->options, "sessions", test.n_sequences);
        runtime_start(run, common);
        for (size_t d = 0; d < work->depths.count; d++) {
            test.n_depth = work->depths.items[d];
            bench_generated(all, run, work, test);
        }
        stop_engine(run);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void describe_cache(const radllm_engine *engine, bench_model *model, bool limits)
{
    int64_t bytes = 0;
    check(radllm_engine_number(engine, "cache_position_bytes", &bytes, program_error()), NULL);
    check(radllm_engine_text(engine, "cache_type", model->cache_type, sizeof model->cache_type,
                             NULL, program_error()),
          NULL);
    model->cache_bytes = (double)bytes;
    gpu_describe(engine, limits, &model->gpu);
}

/* From nothing to the first token of a prompt of one token, with the file in the page cache; the
 * median of some tries. */
static void measure_start(runtime *run, const common_settings *common, bench_model *model,
                          const plan *work)
{
    int64_t tries = work->repeats;
    double loads[START_TRIES], starts[START_TRIES];
    if (tries > START_TRIES)
        tries = START_TRIES;
    set_number(common->options, "sessions", 1);
    for (int64_t i = 0; i < tries; i++) {
        runtime_free(run);
        machine_reset_peak_memory();
        double begin = clock_seconds();
        runtime_load(run, common, false);
        runtime_start(run, common);
        int32_t token = 0;
        check(radllm_session_feed(run->session, &token, 1, program_cancel(), program_error()),
              NULL);
        check(radllm_session_sample(run->session, NULL, &token, NULL, program_error()), NULL);
        starts[i] = clock_seconds() - begin;
        loads[i] = run->load_seconds;
        describe_cache(run->engine, model, work->limits);
        stop_engine(run);
    }
    qsort(loads, (size_t)tries, sizeof *loads, compare_doubles);
    qsort(starts, (size_t)tries, sizeof *starts, compare_doubles);
    model->load_warm = loads[tries / 2];
    model->start = starts[tries / 2];
}

/* For the tests all weights are to be where they stay, unless the user wants it otherwise. */
static void load_whole(runtime *run, const common_settings *common)
{
    if (option_changed(common->options, "load_wait"))
        return;
    runtime_free(run);
    check(radllm_options_set_text(common->options, "load_wait", "yes", RADLLM_NUL, program_error()),
          NULL);
    runtime_load(run, common, false);
    check(radllm_options_reset(common->options, "load_wait", program_error()), NULL);
}

static void bench_file(results *all, common_settings *common, const plan *work, bench_model *model,
                       const machine_limits *limits)
{
    radllm_file *file = NULL;
    check(radllm_file_open(NULL, model->path, &file, program_error()), NULL);
    check(radllm_file_check_model(file, program_error()), model->path);
    common->model = model->path;
    runtime run = {0};
    if (!work->no_cold) {
        forget_parts(file, model->path);
        runtime_load(&run, common, false);
        model->load_cold = run.load_seconds;
    }
    int64_t most = largest(&work->threads);
    set_number(common->options, "threads", most);
    measure_start(&run, common, model, work);
    load_whole(&run, common);
    model->file_read = machine_sum_file(model->path, (uint32_t)most);
    describe_model(&run, file, model);
    radllm_file_free(file);
    for (size_t t = 0; t < work->threads.count; t++) {
        set_number(common->options, "threads", work->threads.items[t]);
        bench_row base = {.model = model,
                          .limits = model->gpu.layers > 0 ? &model->gpu.limits : &limits[t],
                          .n_sequences = 1};
        base.gpu = model->gpu.number;
        for (size_t b = 0; b < (work->steps.count != 0 ? work->steps.count : 1); b++) {
            if (work->steps.count != 0)
                set_number(common->options, "batch", work->steps.items[b]);
            bench_one(all, &run, common, work, &base);
        }
        bench_many(all, &run, common, work, &base);
    }
    runtime_free(&run);
}

static bench_format parse_format(const settings *own, bool as_json)
{
    if (own->format == NULL)
        return as_json ? BENCH_JSON : BENCH_TABLE;
    if (strcmp(own->format, "md") == 0)
        return BENCH_TABLE;
    if (strcmp(own->format, "json") == 0)
        return BENCH_JSON;
    if (strcmp(own->format, "csv") == 0)
        return BENCH_CSV;
    fail_usage("-o: \"%s\" is none of md, json and csv", own->format);
}

static void parse(int argc, char **argv, settings *own, common_settings *common)
{
    const argument table[] = {
        {'p', "n-prompt", "N[,N]", ARGUMENT_TEXT, &own->prompt_tokens, NULL, 0, 0,
         "tokens of the prompt test (512; 0: none)"},
        {'n', "n-gen", "N[,N]", ARGUMENT_TEXT, &own->generated_tokens, NULL, 0, 0,
         "tokens of the generation test (64; 0: none)"},
        {'b', "batch", "N[,N]", ARGUMENT_TEXT, &own->sequences, NULL, 0, 0,
         "sequences that the generation test generates together (1)"},
        {'d', "depth", "N[,N]", ARGUMENT_TEXT, &own->depths, NULL, 0, 0,
         "positions that stand before each test (0)"},
        {'u', "step", "N[,N]", ARGUMENT_TEXT, &own->steps, NULL, 0, 0,
         "tokens of a prompt computed at the same time (the option batch)"},
        ADAPTER_ARGUMENT,
        DEVICE_ARGUMENTS,
        {'r', "repetitions", "N", ARGUMENT_INTEGER, &own->repeats, NULL, 1, 256,
         "repeat each test so often (5)"},
        {'o', "output", "md|json|csv", ARGUMENT_TEXT, &own->format, NULL, 0, 0,
         "form of the results (md, a table; json is also --json)"},
        {'\0', "no-limits", NULL, ARGUMENT_FLAG, &own->no_limits, NULL, 0, 0,
         "do not measure what the machine could do at most"},
        {'\0', "limit-ms", "N", ARGUMENT_INTEGER, &own->limit_ms, NULL, 1, 60000,
         "milliseconds for each of these limits, before and after the tests (200)"},
        {'\0', "no-cold", NULL, ARGUMENT_FLAG, &own->no_cold, NULL, 0, 0,
         "do not measure a load from the disk, which empties the file's page cache"},
    };
    const program_usage usage = {
        "-m MODEL[,MODEL] [OPTION]...\nperplexity -m MODEL -f TEXT [OPTION]...\n"
        "speculation -m MODEL [-f FILE] [OPTION]...\nshared -m MODEL [OPTION]...\n"
        "bandwidth -m MODEL [OPTION]...",
        "Measures a model on this machine, for each number of threads (-t 1,2): the speed of\n"
        "reading a prompt (pp) and of generating (tg; with -b 8 for 8 sequences together, tokens "
        "of\n"
        "all; with -d 1024,16384 behind so many positions), the time to the first token and "
        "between tokens, load times, peak memory, and "
        "joules\n"
        "where the machine has counters that may be read; beside it the machine's own limits,\n"
        "measured in the same run: reading memory, and multiplying 8-bit integers and floats in\n"
        "registers.",
        NULL,
        table,
        sizeof table / sizeof *table,
        true,
        NULL};
    arguments_parse(argc, argv, &usage, common);
    arguments_refuse_positional(common);
    if (common->model == NULL)
        fail_usage("name a model file with -m FILE");
}

static int64_t processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? count : 1;
}

static int bench_main(int argc, char **argv)
{
    settings own = {.prompt_tokens = "512",
                    .generated_tokens = "64",
                    .sequences = "1",
                    .depths = "0",
                    .repeats = 5,
                    .limit_ms = 200};
    common_settings common;
    parse(argc, argv, &own, &common);
    bench_format format = parse_format(&own, common.json);
    program_catch_signals(false);
    program_end_at_once(true); /* a measurement cut short is worth nothing */
    char *model_names = memory_text(common.model);
    plan work = {.models = parse_models(model_names),
                 .repeats = own.repeats,
                 .no_cold = own.no_cold,
                 .limits = !own.no_limits};
    char automatic[24];
    snprintf(automatic, sizeof automatic, "%" PRId64, processors());
    work.threads =
        parse_numbers(common.threads_list != NULL ? common.threads_list : automatic, "-t", 1, 1024);
    work.prompts = parse_numbers(own.prompt_tokens, "-p", 0, 1 << 24);
    work.generated = parse_numbers(own.generated_tokens, "-n", 0, 1 << 24);
    work.sequences = parse_numbers(own.sequences, "-b", 1, 4096);
    work.depths = parse_numbers(own.depths, "-d", 0, 1 << 24);
    if (own.steps != NULL)
        work.steps = parse_numbers(own.steps, "-u", 1, 1 << 24);
    int64_t longest = largest(&work.prompts);
    if (largest(&work.generated) > longest)
        longest = largest(&work.generated);
    if (longest == 0)
        fail_usage("-p 0 and -n 0 leave nothing to measure");
    /* The same tokens come again and again, and each time they are to be computed. */
    option_set(common.options, "prefix_cache", "0", "prefix_cache");
    if (!option_changed(common.options, "context"))
        set_number(common.options, "context", longest + largest(&work.depths) + 1);

    char *isa = option_text(common.options, "isa");
    double limit_seconds = (double)own.limit_ms / 1000;
    machine_limits *limits = memory_array(work.threads.count, sizeof *limits);
    for (size_t i = 0; i < work.threads.count; i++) {
        limits[i].threads = (uint32_t)work.threads.items[i];
        if (!own.no_limits)
            limits[i] = machine_measure((uint32_t)work.threads.items[i], isa, limit_seconds);
    }
    results all = {NULL, 0};
    bench_model *models = memory_array(work.models.count, sizeof *models);
    for (size_t i = 0; i < work.models.count; i++) {
        models[i].path = work.models.items[i];
        bench_file(&all, &common, &work, &models[i], limits);
    }
    /* Again at the end: whatever else the machine did at the beginning is not its limit. */
    for (size_t i = 0; i < work.threads.count && !own.no_limits; i++) {
        machine_limits again = machine_measure((uint32_t)work.threads.items[i], isa, limit_seconds);
        machine_keep_better(&limits[i], &again);
    }
    report_rows(all.rows, all.count, format);
    free(isa);
    for (size_t i = 0; i < all.count; i++)
        free(all.rows[i].seconds);
    free(all.rows);
    free(models);
    free(limits);
    free(work.models.items);
    free(work.threads.items);
    free(work.prompts.items);
    free(work.generated.items);
    free(work.sequences.items);
    free(work.depths.items);
    free(work.steps.items);
    free(model_names);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}

int main(int argc, char **argv)
{
    program_start("radllm-bench");
    if (argc > 1 && strcmp(argv[1], "perplexity") == 0)
        return perplexity_main(argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "speculation") == 0 || strcmp(argv[1], "--speculation") == 0))
        return speculation_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "bandwidth") == 0)
        return bandwidth_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "shared") == 0)
        return shared_main(argc - 1, argv + 1);
    return bench_main(argc, argv);
}
