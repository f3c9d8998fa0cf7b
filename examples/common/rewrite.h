/* What the programs share that write a model again: types, progress, and what they report. */
#ifndef EXAMPLES_REWRITE_H
#define EXAMPLES_REWRITE_H

#include "common/arguments.h"
#include "common/progress.h"

/* The kinds of files, with '|' between them. Static storage. */
const char *rewrite_type_names(void);
/* In any case, and with the names that others use: "q4_k" is Q4_K_M. False for no type. */
bool rewrite_find_type(const char *text, char out[32]);

/* The progress callback's state; starts as {0}. */
typedef struct rewrite_progress {
    progress_bar bar;
    bool begun;
} rewrite_progress;
int32_t rewrite_show(void *user, const char *stage, uint64_t done, uint64_t total);
void rewrite_end(rewrite_progress *state);

/* What is read, opened with the progress shown; ends the program where that fails. */
typedef struct rewrite_source {
    radllm_host *host;
    radllm_file *file;
    rewrite_progress progress;
} rewrite_source;
void rewrite_open(const char *path, rewrite_source *out);
void rewrite_close(rewrite_source *from);

/* Ends the program where both name one file or folder, or where writing output would go through
 * input. Either may be NULL. */
void rewrite_refuse_same(const char *input, const char *output);
/* Ends it where something stands at output (NULL: nothing is written) that would be lost and is not
 * to be replaced, or is no file where one is written. */
void rewrite_refuse_existing(const char *output, bool force, bool folder);
/* Ends it where a file cannot be made there: before work of hours, not behind it. */
void rewrite_refuse_unwritable(const char *output);
/* Whether output is what standard output leads to (/dev/stdout): then nothing else goes there. */
bool rewrite_is_standard_output(const char *output);

typedef struct rewrite_report {
    const char *input, *output; /* output: NULL where nothing was written */
    bool dry_run, verbose;
    bool folder; /* what is written is one, and no GGUF file */
    double seconds;
} rewrite_report;
/* Prints the plan, or what was written by it. */
void rewrite_print(const radllm_quantization *plan, const rewrite_report *report,
                   const common_settings *common);

#endif
