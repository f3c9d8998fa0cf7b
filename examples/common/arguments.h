/* The command line: one table per program, beside the options that all programs share. Values of
 * library options are checked by the library itself. */
#ifndef EXAMPLES_ARGUMENTS_H
#define EXAMPLES_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <radllm/radllm.h>

/* Texts in the order given. */
typedef struct text_list {
    const char **items;
    size_t count;
} text_list;

typedef enum argument_kind {
    ARGUMENT_FLAG,    /* target: bool, becomes true */
    ARGUMENT_TEXT,    /* target: const char * */
    ARGUMENT_TEXTS,   /* target: text_list; each use adds one */
    ARGUMENT_INTEGER, /* target: int64_t, from `minimum` to `maximum` */
    ARGUMENT_OPTION   /* a library option: its key is in `key`; a flag sets it to 1 */
} argument_kind;

typedef struct argument {
    char letter;       /* '\0': only the long form */
    const char *name;  /* "prompt" for --prompt */
    const char *value; /* what --help calls the value; NULL for a flag */
    argument_kind kind;
    void *target;
    const char *key;
    int64_t minimum;
    int64_t maximum;
    const char *help;
} argument;

typedef struct program_usage {
    const char *synopsis;    /* behind the program's name, one form a line */
    const char *description; /* what the program does */
    const char *details;     /* behind the options; may be NULL */
    const argument *table;
    size_t count;
    bool threads_as_list;       /* -t takes "1,2" and is the program's own affair */
    const char *const *presets; /* keys and values set before the command line is read, NULL
                                 * behind the last; may be NULL */
} program_usage;

typedef struct common_settings {
    const char *model;        /* NULL when -m was not given */
    const char *draft_model;  /* NULL when --draft-model was not given */
    const char *threads_list; /* with threads_as_list */
    bool json;
    radllm_options *options; /* of all scopes */
    text_list positional;
} common_settings;

/* The options of programs that guess tokens ahead, for their tables. (The formatter would take the
 * braces of a macro for statements.) */
/* clang-format off */
#define SPECULATION_ARGUMENTS(common)                                                              \
    {'\0', "speculate", "HOW", ARGUMENT_OPTION, NULL, "speculate", 0, 0,                           \
     "guess tokens ahead, for the same answer sooner: off (the\ndefault), lookup (from the"        \
     " text so far), draft (by a\nsmaller model)"},                                                \
    {'\0', "draft-model", "FILE", ARGUMENT_TEXT, &(common)->draft_model, NULL, 0, 0,               \
     "that smaller model, of the same vocabulary (implies\n--speculate draft)"},                   \
    {'\0', "draft-tokens", "N", ARGUMENT_OPTION, NULL, "draft_tokens", 0, 0,                       \
     "guess at most so many at a time (8)"}
/* clang-format on */

/* Of programs that compute with a model. */
/* clang-format off */
#define ADAPTER_ARGUMENT                                                                           \
    {'\0', "lora", "PATH[=SCALE]", ARGUMENT_OPTION, NULL, "adapter", 0, 0,                         \
     "compute with a LoRA adapter, a folder of PEFT or a GGUF file,\ntimes a scale (1); may be "   \
     "given several times"}
#define DEVICE_ARGUMENTS                                                                           \
    {'\0', "device", "NAME", ARGUMENT_OPTION, NULL, "device", 0, 0,                                \
     "what computes: auto, cpu, or cuda (a GPU with as many layers as\nhave room there)"},         \
    {'\0', "gpus", "LIST", ARGUMENT_OPTION, NULL, "gpus", 0, 0,                                    \
     "numbers of the GPUs to use, in the order in which layers go\nthere: 0,1 (all of them, as "   \
     "few as have room)"},                                                                         \
    {'\0', "vram-limit", "BYTES", ARGUMENT_OPTION, NULL, "vram_limit", 0, 0,                       \
     "bytes that may be taken on each GPU"},                                                       \
    {'\0', "vram-limits", "LIST", ARGUMENT_OPTION, NULL, "vram_limits", 0, 0,                      \
     "the same for each of several GPUs: 8G,12G"}
/* clang-format on */

/* Fills the targets and `common`. --help, --version and the lists print and end the program;
 * whatever is wrong ends it with EXIT_CODE_USAGE. */
void arguments_parse(int count, char **values, const program_usage *usage, common_settings *common);
/* For a program that takes options alone: ends it when something else was given. */
void arguments_refuse_positional(const common_settings *common);
void arguments_free(common_settings *common);

void text_list_add(text_list *list, const char *text);

/* Sets a library option; a wrong value is a usage error that names `origin` ("-n"). */
void option_set(radllm_options *options, const char *key, const char *value, const char *origin);
/* The value of a library option as text; the caller frees it. */
char *option_text(const radllm_options *options, const char *key);
/* True when the option has another value than its default. */
bool option_changed(const radllm_options *options, const char *key);

#endif
