/* radllm-quantize: writes a model with its weights in another number format. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/progress.h"
#include "common/text.h"

typedef struct settings {
    const char *input;
    const char *output;      /* NULL: none is written */
    const char *importance;  /* file to read */
    const char *calibration; /* text to measure with */
    const char *save;        /* file of importance to write */
    const char *format;      /* of that file */
    bool dry_run;
    bool verbose;
} settings;

enum { TEXT_LIMIT = 1 << 30 };

/* ---- the command line --------------------------------------------------------------------------
 */

/* The kinds of files, with '|' between them. Static storage. */
static const char *type_names(void)
{
    for (uint32_t i = 0;; i++) {
        radllm_option_info info = {.size = sizeof info};
        if (radllm_option_describe(i, &info) != RADLLM_OK)
            fail("this libradllm cannot quantize");
        if (strcmp(info.name, "quantize") == 0)
            return info.choices;
    }
}

/* In any case, and with the names that others use: "q4_k" is Q4_K_M. False for no type. */
static bool find_type(const char *text, char out[32])
{
    static const char *const aliases[][2] = {
        {"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};
    size_t length = strlen(text);
    if (length == 0 || length >= 32)
        return false;
    for (size_t i = 0; i <= length; i++)
        out[i] = (char)toupper((unsigned char)text[i]);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(out, aliases[i][0]) == 0)
            strcpy(out, aliases[i][1]);
    for (const char *name = type_names(); *name != '\0';) {
        size_t size = strcspn(name, "|");
        if (strlen(out) == size && memcmp(name, out, size) == 0)
            return true;
        name += size + (name[size] == '|');
    }
    return false;
}

/* IN OUT TYPE; OUT is left out where nothing is to be written, TYPE where the usual one is meant.
 */
static void read_positional(const common_settings *common, const char *type, settings *own)
{
    const text_list *words = &common->positional;
    size_t at = 0, end = words->count;
    char name[32];
    own->input = common->model;
    if (own->input == NULL && at < end)
        own->input = words->items[at++];
    if (own->input == NULL)
        fail_usage("name the model file to read");
    if (type == NULL && at < end && find_type(words->items[end - 1], name))
        type = words->items[--end];
    if (at < end)
        own->output = words->items[at++];
    if (at < end)
        fail_usage("\"%s\" is no type; types are %s", words->items[at], type_names());
    if (type != NULL && !find_type(type, name))
        fail_usage("\"%s\" is no type; types are %s", type, type_names());
    if (type != NULL)
        option_set(common->options, "quantize", name, "the type");
    if (own->output == NULL && !own->dry_run && own->save == NULL)
        fail_usage("name the file to write, or ask for --dry-run");
}

static void check_importance(settings *own)
{
    if (own->importance != NULL && own->calibration != NULL)
        fail_usage("--imatrix and --calibrate exclude each other");
    if (own->save != NULL && own->importance == NULL && own->calibration == NULL)
        fail_usage("--save-imatrix goes with --calibrate, or with --imatrix to change the form");
    size_t length = own->save != NULL ? strlen(own->save) : 0;
    if (own->format == NULL)
        own->format = length > 4 && strcmp(own->save + length - 4, ".dat") == 0 ? "dat" : "gguf";
    if (strcmp(own->format, "gguf") != 0 && strcmp(own->format, "dat") != 0)
        fail_usage("--imatrix-format: \"%s\" is neither gguf nor dat", own->format);
}

/* ---- reporting ---------------------------------------------------------------------------------
 */

static uint64_t plan_number(const radllm_quantization *plan, const char *name)
{
    uint64_t value = 0;
    check(radllm_quantization_number(plan, name, &value, program_error()), name);
    return value;
}

static radllm_quantized_tensor_info tensor_at(const radllm_quantization *plan, uint64_t index)
{
    radllm_quantized_tensor_info info = {.size = sizeof info};
    check(radllm_quantization_tensor(plan, index, &info, program_error()), "tensor");
    return info;
}

static const char *const numbers[] = {"tensors",  "quantized",    "weighted",     "fallbacks",
                                      "elements", "source_bytes", "tensor_bytes", "bytes"};
enum { N_NUMBERS = 8 };

static void print_json(const radllm_quantization *plan, const settings *own,
                       const common_settings *common, double seconds)
{
    json_t *object = json_object();
    char *type = option_text(common->options, "quantize");
    json_put(object, "file", json_from_text(own->input, strlen(own->input)));
    json_put(object, "output", json_text_or_null(own->dry_run ? NULL : own->output));
    json_put(object, "type", json_string(type));
    free(type);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        bool list = strcmp(numbers[i], "tensors") == 0;
        json_put(object, list ? "n_tensors" : numbers[i],
                 json_integer((json_int_t)plan_number(plan, numbers[i])));
    }
    if (!own->dry_run)
        json_put_real(object, "seconds", seconds);
    json_t *tensors = json_array();
    uint64_t count = plan_number(plan, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_quantized_tensor_info info = tensor_at(plan, i);
        json_t *entry = json_object();
        json_put(entry, "name", json_from_text(info.name, strlen(info.name)));
        json_put(entry, "source_type", json_string(info.source_type));
        json_put(entry, "type", json_string(info.type));
        json_put(entry, "source_bytes", json_integer((json_int_t)info.source_bytes));
        json_put(entry, "bytes", json_integer((json_int_t)info.bytes));
        json_put(entry, "weighted", json_boolean(info.weighted));
        json_put(entry, "fallback", json_boolean(info.fallback));
        json_push(tensors, entry);
    }
    json_put(object, "tensors", tensors);
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void print_tensors(const radllm_quantization *plan)
{
    uint64_t count = plan_number(plan, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_quantized_tensor_info info = tensor_at(plan, i);
        bool same = strcmp(info.source_type, info.type) == 0;
        output_format("%12" PRIu64 " bytes  %-6s %s %-6s  ", info.bytes, info.source_type,
                      same ? "  " : "->", same ? "" : info.type);
        output_escaped(info.name, strlen(info.name));
        output_format("%s%s\n", info.weighted ? ", weighted" : "",
                      info.fallback ? ", for rows of this length" : "");
    }
}

static void print_sum(const radllm_quantization *plan, const settings *own, double seconds)
{
    uint64_t elements = plan_number(plan, "elements"), bytes = plan_number(plan, "bytes");
    uint64_t before = plan_number(plan, "source_bytes"), after = plan_number(plan, "tensor_bytes");
    output_format("%" PRIu64 " tensors: %.1f MiB (%.2f bits per weight) -> %.1f MiB (%.2f)\n",
                  plan_number(plan, "tensors"), (double)before / 1048576,
                  8 * (double)before / (double)elements, (double)after / 1048576,
                  8 * (double)after / (double)elements);
    output_format("file: %" PRIu64 " bytes%s", bytes, own->dry_run ? "\n" : "");
    if (!own->dry_run)
        output_format(", written in %.1f s\n", seconds);
}

/* ---- the work ----------------------------------------------------------------------------------
 */

typedef struct progress_state {
    progress_bar bar;
    bool begun;
} progress_state;

static int32_t show_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    progress_state *state = user;
    if (!state->begun)
        progress_begin(&state->bar, stage, "", total, done);
    state->begun = true;
    progress_show(&state->bar, done);
    return 0;
}

static void end_progress(progress_state *state)
{
    if (state->begun)
        progress_end(&state->bar);
    state->begun = false;
}

/* Runs the model over the text. */
static radllm_importance *measure_importance(const radllm_host *host, const radllm_file *file,
                                             const settings *own, const common_settings *common,
                                             progress_state *state)
{
    radllm_importance *importance = NULL;
    radllm_model *model = NULL;
    const char *name = strrchr(own->calibration, '/');
    buffer text = read_whole(own->calibration, TEXT_LIMIT);
    check(radllm_model_load(NULL, file, common->options, program_cancel(), &model, program_error()),
          own->input);
    radllm_status status =
        radllm_importance_measure(host, model, text.data != NULL ? text.data : "", text.length,
                                  name != NULL ? name + 1 : own->calibration, common->options,
                                  program_cancel(), &importance, program_error());
    end_progress(state);
    check(status, own->calibration);
    radllm_model_free(model);
    buffer_free(&text);
    return importance;
}

/* NULL where none was asked for. */
static radllm_importance *take_importance(const radllm_host *host, const radllm_file *file,
                                          const settings *own, const common_settings *common,
                                          progress_state *state)
{
    radllm_importance *importance = NULL;
    if (own->calibration != NULL)
        importance = measure_importance(host, file, own, common, state);
    else if (own->importance != NULL)
        check(radllm_importance_open(host, own->importance, &importance, program_error()), NULL);
    if (own->save == NULL)
        return importance;
    check(radllm_importance_save(importance, own->save, own->format, program_error()), NULL);
    if (own->output == NULL && !common->json && !own->dry_run) {
        uint64_t entries = 0, chunks = 0;
        check(radllm_importance_number(importance, "entries", &entries, program_error()), NULL);
        check(radllm_importance_number(importance, "chunks", &chunks, program_error()), NULL);
        output_format("%s: importance for %" PRIu64 " tensors, of %" PRIu64 " pieces of text\n",
                      own->save, entries, chunks);
    }
    return importance;
}

/* The source would be replaced by what was made from it. */
static void refuse_same_file(const settings *own)
{
    struct stat in, out;
    if (own->output != NULL && stat(own->input, &in) == 0 && stat(own->output, &out) == 0 &&
        in.st_dev == out.st_dev && in.st_ino == out.st_ino)
        fail("%s is the file to read and the one to write; name another one", own->output);
}

static void write_file(const radllm_quantization *plan, const settings *own,
                       const common_settings *common, progress_state *state)
{
    double start = clock_seconds();
    if (!own->dry_run) {
        radllm_status status =
            radllm_quantization_write(plan, own->output, program_cancel(), program_error());
        end_progress(state);
        check(status, NULL);
    }
    double seconds = clock_seconds() - start;
    if (common->json) {
        print_json(plan, own, common, seconds);
        return;
    }
    if (own->dry_run || own->verbose)
        print_tensors(plan);
    print_sum(plan, own, seconds);
    uint64_t fallbacks = plan_number(plan, "fallbacks");
    if (fallbacks > 0)
        warn("%" PRIu64 " tensors have rows that the type's blocks do not divide, and got another"
             " type",
             fallbacks);
}

int main(int argc, char **argv)
{
    program_start("radllm-quantize");
    settings own = {0};
    const char *type = NULL;
    const argument table[] = {
        {'q', "type", "TYPE", ARGUMENT_TEXT, &type, NULL, 0, 0,
         "the same as the last word; Q4_K_M without"},
        {'\0', "pure", NULL, ARGUMENT_OPTION, NULL, "quantize_pure", 0, 0,
         "give all matrices the same type"},
        {'\0', "tensor-type", "PATTERN=TYPE", ARGUMENT_OPTION, NULL, "quantize_tensor", 0, 0,
         "the type of tensors whose names fit: * is any text, ? one\ncharacter; the last that fits "
         "counts (repeatable)"},
        {'\0', "calibrate", "TEXT", ARGUMENT_TEXT, &own.calibration, NULL, 0, 0,
         "weigh errors by what matrices are multiplied with when the\nmodel reads this file of "
         "text"},
        {'\0', "chunks", "N", ARGUMENT_OPTION, NULL, "calibrate_chunks", 0, 0,
         "use so many pieces of the text at most"},
        {'\0', "chunk-tokens", "N", ARGUMENT_OPTION, NULL, "calibrate_context", 0, 0,
         "tokens of a piece (512)"},
        {'\0', "imatrix", "FILE", ARGUMENT_TEXT, &own.importance, NULL, 0, 0,
         "the same from a file of llama-imatrix or --save-imatrix"},
        {'\0', "save-imatrix", "FILE", ARGUMENT_TEXT, &own.save, NULL, 0, 0,
         "write it to such a file; OUT may then be left out"},
        {'\0', "imatrix-format", "FORM", ARGUMENT_TEXT, &own.format, NULL, 0, 0,
         "gguf, or dat (the older form; usual for names in .dat)"},
        {'\0', "allow-requantize", NULL, ARGUMENT_OPTION, NULL, "quantize_again", 0, 0,
         "take a file that is quantized already; loses more than\nquantizing the original"},
        {'\0', "dry-run", NULL, ARGUMENT_FLAG, &own.dry_run, NULL, 0, 0,
         "show types and sizes, write nothing"},
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own.verbose, NULL, 0, 0,
         "show what each tensor becomes"},
    };
    const program_usage usage = {
        "[OPTIONS] IN.gguf OUT.gguf [TYPE]\n--dry-run [OPTIONS] IN.gguf [TYPE]\n"
        "--calibrate TEXT --save-imatrix FILE [OPTIONS] IN.gguf",
        "Writes a model with its weights in another number format.",
        "Types, from many bits to few: F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0,\n"
        "Q4_K_M, Q4_K_S, IQ4_NL, IQ4_XS, MXFP4, MXFP4_MOE, NVFP4, Q4_1, Q4_0, Q3_K_L, Q3_K_M,\n"
        "Q3_K_S, Q2_K, Q2_K_S, TQ2_0, TQ1_0, Q2_0, Q1_0; COPY keeps all (and joins split files).\n"
        "The file is written beside its name first (OUT.gguf.partial): Ctrl-C, a full disk and\n"
        "other failures leave nothing. docs/quantize.md says which type to take.",
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    common_settings common;
    arguments_parse(argc, argv, &usage, &common);
    read_positional(&common, type, &own);
    check_importance(&own);
    program_catch_signals(false);
    refuse_same_file(&own);

    progress_state state = {0};
    radllm_host *host = NULL;
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    check(radllm_host_new(NULL, NULL, NULL, &host, program_error()), NULL);
    check(radllm_host_set_progress(host, show_progress, &state, program_error()), NULL);
    check(radllm_file_open(host, own.input, &file, program_error()), NULL);
    radllm_importance *importance = take_importance(host, file, &own, &common, &state);
    if (own.output != NULL || own.dry_run) {
        check(
            radllm_quantization_new(host, file, importance, common.options, &plan, program_error()),
            own.input);
        write_file(plan, &own, &common, &state);
    }
    radllm_quantization_free(plan);
    radllm_importance_free(importance);
    radllm_file_free(file);
    radllm_host_free(host);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
