/* radllm-convert: a folder of safetensors files becomes a GGUF file, and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/arguments.h"
#include "common/program.h"
#include "common/rewrite.h"
#include "common/text.h"

typedef struct settings {
    const char *input, *output;
    const char *form;  /* "gguf" or "folder" */
    const char *shard; /* "5G" */
    uint64_t shard_bytes;
    bool force, dry_run, verbose;
} settings;

/* ---- the command line --------------------------------------------------------------------------
 */

/* "5G", "500M", "5GB", "1000000" */
static uint64_t read_size(const char *text)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        for (const char *u = units; u <= unit; u++)
            value *= 1000.0;
        end++;
    }
    if (*end == 'B' && end > text)
        end++;
    if (end == text || *end != '\0' || errno != 0 || !(value >= 1.0 && value < 9e18))
        fail_usage("--shard-size: \"%s\" is no size; \"5G\" and \"500M\" are", text);
    return (uint64_t)value;
}

static void read_settings(const common_settings *common, const char *type, settings *own)
{
    const text_list *words = &common->positional;
    size_t at = 0;
    char name[32];
    own->input = common->model;
    if (own->input == NULL && at < words->count)
        own->input = words->items[at++];
    if (own->input == NULL)
        fail_usage("name the folder or the GGUF file to read");
    if (at < words->count)
        own->output = words->items[at++];
    if (at < words->count)
        fail_usage("\"%s\" is one word too many", words->items[at]);
    if (own->output == NULL && !own->dry_run)
        fail_usage("name the file or folder to write, or ask for --dry-run");
    if (own->output != NULL && own->output[0] == '\0')
        fail_usage("the name of what is to be written is empty");
    if (type != NULL && !rewrite_find_type(type, name))
        fail_usage("\"%s\" is no type; types are %s", type, rewrite_type_names());
    option_set(common->options, "quantize", type != NULL ? name : "COPY", "--type");
    struct stat information;
    bool from_folder = stat(own->input, &information) == 0 && S_ISDIR(information.st_mode);
    if (own->form == NULL && own->output != NULL)
        own->form = ends_with(own->output, ".gguf") ? "gguf" : "folder";
    if (own->form == NULL)
        own->form = from_folder ? "gguf" : "folder";
    if (strcmp(own->form, "gguf") != 0 && strcmp(own->form, "folder") != 0)
        fail_usage("--to: \"%s\" is neither gguf nor folder", own->form);
    if (own->shard != NULL)
        own->shard_bytes = read_size(own->shard);
    if (own->shard != NULL && strcmp(own->form, "gguf") == 0)
        fail_usage("--shard-size goes with folders");
}

/* ---- the work ----------------------------------------------------------------------------------
 */

static void write_model(const radllm_quantization *plan, const settings *own,
                        const common_settings *common, rewrite_progress *state)
{
    double start = clock_seconds();
    radllm_status status;
    uint32_t flags = own->force ? RADLLM_FOLDER_REPLACE : 0;
    if (own->dry_run)
        status = radllm_quantization_check(plan, own->output, strcmp(own->form, "folder") == 0,
                                           own->shard_bytes, flags, program_error());
    else if (strcmp(own->form, "gguf") == 0)
        status = radllm_quantization_write(plan, own->output, program_cancel(), program_error());
    else
        status = radllm_quantization_write_folder(plan, own->output, own->shard_bytes, flags,
                                                  program_cancel(), program_error());
    rewrite_end(state);
    check(status, NULL);
    const rewrite_report report = {own->input,
                                   own->output,
                                   own->dry_run,
                                   own->verbose,
                                   strcmp(own->form, "folder") == 0,
                                   clock_seconds() - start};
    rewrite_print(plan, &report, common);
}

int main(int argc, char **argv)
{
    program_start("radllm-convert");
    settings own = {0};
    const char *type = NULL;
    const argument table[] = {
        {'q', "type", "TYPE", ARGUMENT_TEXT, &type, NULL, 0, 0,
         "the type of matrices: F16, BF16 or F32, for GGUF also those of\nradllm-quantize; "
         "without, they stay as they are"},
        {'\0', "tensor-type", "PATTERN=TYPE", ARGUMENT_OPTION, NULL, "quantize_tensor", 0, 0,
         "the type of tensors whose names in GGUF fit (repeatable)"},
        {'\0', "to", "FORM", ARGUMENT_TEXT, &own.form, NULL, 0, 0,
         "gguf or folder; without, the name of OUT says it"},
        {'\0', "shard-size", "SIZE", ARGUMENT_TEXT, &own.shard, NULL, 0, 0,
         "files of a folder hold at most so much: 5G, 500M (one file\nwithout)"},
        {'\0', "lora", "PATH[=SCALE]", ARGUMENT_OPTION, NULL, "adapter", 0, 0,
         "merge a LoRA adapter into the weights, a folder of PEFT or a\nGGUF file, times a scale "
         "(1); may be given several times"},
        {'\0', "allow-requantize", NULL, ARGUMENT_OPTION, NULL, "quantize_again", 0, 0,
         "take weights that are quantized to another quantized type"},
        {'\0', "force", NULL, ARGUMENT_FLAG, &own.force, NULL, 0, 0, "replace what stands at OUT"},
        {'\0', "dry-run", NULL, ARGUMENT_FLAG, &own.dry_run, NULL, 0, 0,
         "show types and sizes, write nothing"},
        {'v', "verbose", NULL, ARGUMENT_FLAG, &own.verbose, NULL, 0, 0,
         "show what each tensor becomes"},
    };
    const program_usage usage = {
        "[OPTIONS] FOLDER OUT.gguf\n[OPTIONS] IN.gguf FOLDER\n--dry-run [OPTIONS] IN",
        "Makes a GGUF file of a folder of safetensors files as Hugging Face has them, and back;\n"
        "--lora merges adapters on the way, also from a form to the same one.",
        "Tokenizer and chat template come along. OUT is written beside its name first\n"
        "(OUT.partial) and then renamed: Ctrl-C, a full disk and other failures leave nothing.\n"
        "Memory stays below 1 GB whatever the size of the model. docs/convert.md says which\n"
        "families and types can be converted.",
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    common_settings common;
    arguments_parse(argc, argv, &usage, &common);
    read_settings(&common, type, &own);
    program_catch_signals(false);
    rewrite_refuse_same(own.input, own.output);
    rewrite_refuse_existing(own.output, own.force, strcmp(own.form, "folder") == 0);
    if (strcmp(own.form, "gguf") == 0) /* of folders the library tells it as soon */
        rewrite_refuse_unwritable(own.output);

    rewrite_source from;
    radllm_quantization *plan = NULL;
    rewrite_open(own.input, &from);
    check(
        radllm_quantization_new(from.host, from.file, NULL, common.options, &plan, program_error()),
        NULL);
    write_model(plan, &own, &common, &from.progress);
    radllm_quantization_free(plan);
    rewrite_close(&from);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
