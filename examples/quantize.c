/* radllm-quantize: writes a model with its weights in another number format. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/rewrite.h"
#include "common/text.h"

typedef struct settings {
    const char *input;
    const char *output;      /* NULL: none is written */
    const char *importance;  /* file to read */
    const char *calibration; /* text to measure with */
    const char *save;        /* file of importance to write */
    const char *format;      /* of that file */
    bool force, dry_run, verbose;
} settings;

enum { TEXT_LIMIT = 1 << 30 };

/* ---- the command line --------------------------------------------------------------------------
 */

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
    if (type == NULL && at < end && rewrite_find_type(words->items[end - 1], name))
        type = words->items[--end];
    if (at < end)
        own->output = words->items[at++];
    if (at < end && rewrite_find_type(words->items[at], name))
        fail_usage("\"%s\" is a second type; give one", words->items[at]);
    if (at < end)
        fail_usage("\"%s\" is no type; types are %s", words->items[at], rewrite_type_names());
    if (type != NULL && !rewrite_find_type(type, name))
        fail_usage("\"%s\" is no type; types are %s", type, rewrite_type_names());
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

/* What is read, and what stands there, is not lost by mistake: a matrix may be of hours. */
static void refuse_overwriting(const settings *own)
{
    const char *const read[] = {own->input, own->importance, own->calibration};
    const char *const written[] = {own->output, own->save};
    for (size_t w = 0; w < 2; w++) {
        for (size_t r = 0; r < 3; r++)
            rewrite_refuse_same(read[r], written[w]);
        rewrite_refuse_existing(written[w], own->force, false);
        rewrite_refuse_unwritable(written[w]);
    }
    if (own->output != NULL && own->save != NULL && strcmp(own->output, own->save) == 0)
        fail_usage("%s is the file to write and that of --save-imatrix; name another one",
                   own->save);
}

/* ---- the work ----------------------------------------------------------------------------------
 */

/* Runs the model over the text. */
static radllm_importance *measure_importance(rewrite_source *from, const settings *own,
                                             const common_settings *common)
{
    radllm_importance *importance = NULL;
    radllm_model *model = NULL;
    const char *name = strrchr(own->calibration, '/');
    buffer text = read_whole(own->calibration, TEXT_LIMIT);
    check(radllm_model_load(NULL, from->file, common->options, program_cancel(), &model,
                            program_error()),
          own->input);
    radllm_status status =
        radllm_importance_measure(from->host, model, text.data != NULL ? text.data : "",
                                  text.length, name != NULL ? name + 1 : own->calibration,
                                  common->options, program_cancel(), &importance, program_error());
    rewrite_end(&from->progress);
    check(status, own->calibration);
    radllm_model_free(model);
    buffer_free(&text);
    return importance;
}

/* NULL where none was asked for. */
static radllm_importance *take_importance(rewrite_source *from, const settings *own,
                                          const common_settings *common)
{
    radllm_importance *importance = NULL;
    if (own->calibration != NULL)
        importance = measure_importance(from, own, common);
    else if (own->importance != NULL)
        check(radllm_importance_open(from->host, own->importance, &importance, program_error()),
              NULL);
    if (own->save == NULL || own->dry_run)
        return importance;
    check(radllm_importance_save(importance, own->save, own->format, program_error()), NULL);
    if (own->output == NULL && !common->json) {
        uint64_t entries = 0, chunks = 0;
        check(radllm_importance_number(importance, "entries", &entries, program_error()), NULL);
        check(radllm_importance_number(importance, "chunks", &chunks, program_error()), NULL);
        output_format("%s: importance for %" PRIu64 " tensors, of %" PRIu64 " pieces of text\n",
                      own->save, entries, chunks);
    }
    return importance;
}

static void write_file(const radllm_quantization *plan, const settings *own,
                       const common_settings *common, rewrite_progress *state)
{
    double start = clock_seconds();
    radllm_status status =
        own->dry_run
            ? radllm_quantization_check(plan, own->output, 0, 0, 0, program_error())
            : radllm_quantization_write(plan, own->output, program_cancel(), program_error());
    rewrite_end(state);
    check(status, NULL);
    double seconds = clock_seconds() - start;
    const rewrite_report report = {own->input,   own->output, own->dry_run,
                                   own->verbose, false,       seconds};
    rewrite_print(plan, &report, common);
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
        {'\0', "lora", "PATH[=SCALE]", ARGUMENT_OPTION, NULL, "adapter", 0, 0,
         "merge a LoRA adapter into the weights, a folder of PEFT or a\nGGUF file, times a scale "
         "(1); may be given several times"},
        {'\0', "allow-requantize", NULL, ARGUMENT_OPTION, NULL, "quantize_again", 0, 0,
         "take a file that is quantized already; loses more than\nquantizing the original"},
        {'\0', "force", NULL, ARGUMENT_FLAG, &own.force, NULL, 0, 0, "replace what stands at OUT"},
        {'\0', "dry-run", NULL, ARGUMENT_FLAG, &own.dry_run, NULL, 0, 0,
         "show types and sizes, write nothing"},
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own.verbose, NULL, 0, 0,
         "show what each tensor becomes"},
    };
    const program_usage usage = {
        "[OPTIONS] IN OUT.gguf [TYPE]\n--dry-run [OPTIONS] IN [TYPE]\n"
        "--calibrate TEXT --save-imatrix FILE [OPTIONS] IN",
        "Writes a model with its weights in another number format. IN is a GGUF file or a folder\n"
        "of safetensors files.",
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
    refuse_overwriting(&own);

    rewrite_source from;
    radllm_quantization *plan = NULL;
    rewrite_open(own.input, &from);
    radllm_importance *importance = take_importance(&from, &own, &common);
    if (own.output != NULL || own.dry_run) {
        check(radllm_quantization_new(from.host, from.file, importance, common.options, &plan,
                                      program_error()),
              own.input);
        write_file(plan, &own, &common, &from.progress);
    }
    radllm_quantization_free(plan);
    radllm_importance_free(importance);
    rewrite_close(&from);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
