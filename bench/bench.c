#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

typedef struct number_list {
    int64_t *items;
    size_t count;
} number_list;

typedef struct settings {
    const char *prompt_tokens;
    const char *generated_tokens;
    const char *batches;
    const char *format;
    int64_t repeats;
    bool no_limits;
} settings;

/* What is measured, with the lists taken apart. */
typedef struct plan {
    text_list models;
    number_list threads;
    number_list prompts;
    number_list generated;
    number_list batches;
    int64_t repeats;
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

/* ---- what a model is ---- */

static void copy_text(const radllm_model *model, const char *name, char *out, size_t capacity)
{
    char *text = model_text(model, name);
    snprintf(out, capacity, "%s", text);
    free(text);
}

/* Sums over the tensors: what is read and multiplied per token. Of a table of embeddings one row is
 * read; where it also serves as output it is multiplied whole. */
static void count_weights(const radllm_file *file, bench_model *model, const char *architecture)
{
    uint64_t count = 0;
    check(radllm_file_number(file, "tensors", &count, program_error()), NULL);
    bool tied = true;
    char names[16][16];
    uint64_t bytes[16] = {0};
    size_t n_types = 0;
    radllm_tensor_info info = {.size = sizeof info};
    for (uint64_t i = 0; i < count; i++) {
        check(radllm_file_tensor(file, i, &info, program_error()), NULL);
        tied = tied && strcmp(info.name, "output.weight") != 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        check(radllm_file_tensor(file, i, &info, program_error()), NULL);
        double elements = 1;
        for (uint32_t d = 0; d < info.n_dims && d < 4; d++)
            elements *= (double)info.dims[d];
        bool table = strcmp(info.name, "token_embd.weight") == 0;
        bool head = strcmp(info.name, "output.weight") == 0 || (table && tied);
        if (!table || tied) {
            model->token_bytes += (double)info.bytes;
            model->token_macs += info.n_dims > 1 ? elements : 0;
            model->prompt_macs += info.n_dims > 1 && !head ? elements : 0;
        }
        size_t at = 0;
        while (at < n_types && strcmp(names[at], info.type) != 0)
            at++;
        if (at == n_types && n_types < 16)
            snprintf(names[n_types++], sizeof names[0], "%s", info.type);
        if (at < n_types)
            bytes[at] += info.bytes;
    }
    size_t best = 0;
    for (size_t i = 1; i < n_types; i++)
        best = bytes[i] > bytes[best] ? i : best;
    snprintf(model->type, sizeof model->type, "%s %s", architecture,
             n_types != 0 ? names[best] : "");
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

static void describe(const runtime *run, const radllm_file *file, bench_model *model)
{
    char architecture[48];
    copy_text(run->model, "architecture", architecture, sizeof architecture);
    copy_text(run->model, "isa", model->isa, sizeof model->isa);
    copy_text(run->model, "layout", model->layout, sizeof model->layout);
    copy_text(run->model, "cache_type", model->cache_type, sizeof model->cache_type);
    model->parameters = model_number(run->model, "parameters");
    check(radllm_file_number(file, "bytes", &model->file_bytes, program_error()), NULL);
    count_weights(file, model, architecture);
}

/* ---- measuring ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *sorted, size_t count, double share)
{
    if (count == 0)
        return 0;
    size_t at = (size_t)(share * (double)(count - 1) + 0.5);
    return sorted[at < count ? at : count - 1];
}

/* Any ids will do: what is computed does not depend on them. */
static int32_t *random_tokens(int64_t count, int64_t n_vocab)
{
    int32_t *tokens = memory_array((size_t)count, sizeof *tokens);
    uint64_t state = 88172645463325252u;
    for (int64_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tokens[i] = (int32_t)(state % (uint64_t)n_vocab);
    }
    return tokens;
}

static void feed(const runtime *run, const int32_t *tokens, size_t count)
{
    check(radllm_session_feed(run->session, tokens, count, program_cancel(), program_error()),
          NULL);
}

static void run_prompt(const runtime *run, bench_row *row, const int32_t *tokens, bool counts)
{
    int32_t token;
    check(radllm_session_rewind(run->session, 0, program_error()), NULL);
    double start = clock_seconds();
    feed(run, tokens, (size_t)row->n_prompt);
    double fed = clock_seconds();
    check(radllm_session_sample(run->session, NULL, &token, NULL, program_error()), NULL);
    if (!counts)
        return;
    row->first_token += clock_seconds() - start;
    row->seconds[row->n_samples++] = fed - start;
}

static void run_generation(const runtime *run, bench_row *row, const int32_t *tokens,
                           double *between, bool counts)
{
    check(radllm_session_rewind(run->session, 0, program_error()), NULL);
    double start = clock_seconds();
    double last = start;
    for (int64_t i = 0; i < row->n_gen; i++) {
        feed(run, tokens + i, 1);
        double now = clock_seconds();
        between[row->n_samples * (size_t)row->n_gen + (size_t)i] = now - last;
        last = now;
    }
    if (counts)
        row->seconds[row->n_samples++] = last - start;
}

static void run_test(const runtime *run, bench_row *row, int64_t repeats)
{
    int64_t longest = row->n_prompt + row->n_gen;
    int32_t *tokens = random_tokens(longest, model_number(run->model, "vocab_size"));
    double *between = memory_array((size_t)((repeats + 1) * row->n_gen), sizeof *between);
    row->seconds = memory_array((size_t)repeats, sizeof *row->seconds);
    energy_meter meter;
    bool has_energy = energy_open(&meter);
    double joules = 0;
    for (int64_t i = -1; i < repeats; i++) {
        if (i == 0 && has_energy)
            joules = energy_joules(&meter);
        if (row->n_gen == 0)
            run_prompt(run, row, tokens, i >= 0);
        else
            run_generation(run, row, tokens, between, i >= 0);
    }
    row->joules_per_token = -1;
    if (has_energy)
        row->joules_per_token =
            energy_difference(&meter, joules, energy_joules(&meter)) / (double)(longest * repeats);
    energy_close(&meter);
    row->first_token /= (double)repeats;
    size_t n_between = (size_t)(row->n_gen * repeats);
    qsort(between, n_between, sizeof *between, compare_doubles);
    row->between_median = quantile(between, n_between, 0.5);
    row->between_p99 = quantile(between, n_between, 0.99);
    row->peak_memory = machine_peak_memory();
    free(between);
    free(tokens);
}

static void add_test(results *all, const runtime *run, const bench_model *model,
                     const machine_limits *limits, int64_t n_prompt, int64_t n_gen, int64_t repeats)
{
    all->rows = memory_resize(all->rows, (all->count + 1) * sizeof *all->rows);
    bench_row *row = &all->rows[all->count++];
    *row = (bench_row){.model = model, .limits = limits, .n_prompt = n_prompt, .n_gen = n_gen};
    check(radllm_engine_number(run->engine, "threads", &row->threads, program_error()), NULL);
    check(radllm_engine_number(run->engine, "batch", &row->batch, program_error()), NULL);
    run_test(run, row, repeats);
}

static void set_number(radllm_options *options, const char *key, int64_t value)
{
    check(radllm_options_set_integer(options, key, value, program_error()), key);
}

/* All tests of one number of threads and one batch. */
static void bench_engine(results *all, runtime *run, const common_settings *common,
                         const plan *work, const bench_model *model, const machine_limits *limits)
{
    runtime_start(run, common);
    for (size_t i = 0; i < work->prompts.count; i++) {
        if (work->prompts.items[i] != 0)
            add_test(all, run, model, limits, work->prompts.items[i], 0, work->repeats);
    }
    for (size_t i = 0; i < work->generated.count; i++) {
        if (work->generated.items[i] != 0)
            add_test(all, run, model, limits, 0, work->generated.items[i], work->repeats);
    }
    radllm_session_free(run->session);
    radllm_engine_free(run->engine);
    run->session = NULL;
    run->engine = NULL;
}

static void bench_file(results *all, common_settings *common, const plan *work, bench_model *model,
                       const machine_limits *limits)
{
    radllm_file *file = NULL;
    check(radllm_file_open(NULL, model->path, &file, program_error()), NULL);
    check(radllm_file_check_model(file, program_error()), model->path);
    common->model = model->path;
    forget_parts(file, model->path);
    runtime run;
    runtime_load(&run, common, false);
    model->load_cold = run.load_seconds;
    runtime_free(&run);
    machine_reset_peak_memory();
    runtime_load(&run, common, false);
    model->load_warm = run.load_seconds;
    describe(&run, file, model);
    radllm_file_free(file);
    for (size_t t = 0; t < work->threads.count; t++) {
        set_number(common->options, "threads", work->threads.items[t]);
        for (size_t b = 0; b < (work->batches.count != 0 ? work->batches.count : 1); b++) {
            if (work->batches.count != 0)
                set_number(common->options, "batch", work->batches.items[b]);
            bench_engine(all, &run, common, work, model, &limits[t]);
        }
    }
    runtime_free(&run);
}

static int64_t largest(const number_list *list)
{
    int64_t most = 0;
    for (size_t i = 0; i < list->count; i++)
        most = list->items[i] > most ? list->items[i] : most;
    return most;
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
        {'b', "batch", "N[,N]", ARGUMENT_TEXT, &own->batches, NULL, 0, 0,
         "tokens of a prompt computed at the same time"},
        {'r', "repetitions", "N", ARGUMENT_INTEGER, &own->repeats, NULL, 1, 256,
         "repeat each test so often (5)"},
        {'o', "output", "md|json|csv", ARGUMENT_TEXT, &own->format, NULL, 0, 0,
         "form of the results (md, a table; json is also --json)"},
        {'\0', "no-limits", NULL, ARGUMENT_FLAG, &own->no_limits, NULL, 0, 0,
         "do not measure what the machine could do at most"},
    };
    const program_usage usage = {
        "-m MODEL[,MODEL] [OPTION]...\nperplexity -m MODEL -f TEXT [OPTION]...",
        "Measures a model on this machine, for each number of threads (-t 1,2): the speed of\n"
        "reading a prompt (pp) and of generating (tg), the time to the first token and between\n"
        "tokens, load times, peak memory, and joules where the machine has counters that may be\n"
        "read; beside it the machine's own limits, measured in the same run: reading memory, and\n"
        "multiplying 8-bit integers and floats in registers.",
        NULL,
        table,
        sizeof table / sizeof *table,
        true,
        NULL};
    arguments_parse(argc, argv, &usage, common);
    if (common->positional.count != 0)
        fail_usage("\"%s\" belongs to no option", common->positional.items[0]);
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
    settings own = {.prompt_tokens = "512", .generated_tokens = "64", .repeats = 5};
    common_settings common;
    parse(argc, argv, &own, &common);
    bench_format format = parse_format(&own, common.json);
    program_catch_signals(false);
    char *model_names = memory_text(common.model);
    plan work = {.models = parse_models(model_names), .repeats = own.repeats};
    char automatic[24];
    snprintf(automatic, sizeof automatic, "%" PRId64, processors());
    work.threads =
        parse_numbers(common.threads_list != NULL ? common.threads_list : automatic, "-t", 1, 1024);
    work.prompts = parse_numbers(own.prompt_tokens, "-p", 0, 1 << 24);
    work.generated = parse_numbers(own.generated_tokens, "-n", 0, 1 << 24);
    if (own.batches != NULL)
        work.batches = parse_numbers(own.batches, "-b", 1, 1 << 24);
    int64_t longest = largest(&work.prompts);
    if (largest(&work.generated) > longest)
        longest = largest(&work.generated);
    if (longest == 0)
        fail_usage("-p 0 and -n 0 leave nothing to measure");
    if (!option_changed(common.options, "context"))
        set_number(common.options, "context", longest + 1);

    machine_limits *limits = memory_array(work.threads.count, sizeof *limits);
    for (size_t i = 0; i < work.threads.count; i++) {
        limits[i].threads = (uint32_t)work.threads.items[i];
        if (!own.no_limits)
            limits[i] = machine_measure((uint32_t)work.threads.items[i]);
    }
    results all = {NULL, 0};
    bench_model *models = memory_array(work.models.count, sizeof *models);
    for (size_t i = 0; i < work.models.count; i++) {
        models[i].path = work.models.items[i];
        bench_file(&all, &common, &work, &models[i], limits);
    }
    report_rows(all.rows, all.count, format);
    for (size_t i = 0; i < all.count; i++)
        free(all.rows[i].seconds);
    free(all.rows);
    free(models);
    free(limits);
    free(work.models.items);
    free(work.threads.items);
    free(work.prompts.items);
    free(work.generated.items);
    free(work.batches.items);
    free(model_names);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}

int main(int argc, char **argv)
{
    program_start("radllm-bench");
    if (argc > 1 && strcmp(argv[1], "perplexity") == 0)
        return perplexity_main(argc - 1, argv + 1);
    return bench_main(argc, argv);
}
