/* What every program needs: messages on standard error, exit codes, interruption, and a standard
 * output whose failures are noticed. Nothing here knows models or tables. */
#ifndef EXAMPLES_PROGRAM_H
#define EXAMPLES_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include <radllm/radllm.h>

enum {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_ROWS = 3, /* radllm-label: some rows could not be answered */
    EXIT_CODE_INTERRUPTED = 130
};

/* Call first. Makes sure that descriptors 0 to 2 exist, so that no data file can take their
 * numbers, and that writing to a closed pipe is an error instead of a signal. */
void program_start(const char *name);
const char *program_name(void);

/* "radllm-NAME: message" on standard error. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program in the middle of its work: writes out what is buffered and leaves the rest to
 * the system. */
noreturn void program_end(int code);
/* The same, then the end of the program with EXIT_CODE_FAILED. */
noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with EXIT_CODE_USAGE and a pointer to --help. */
noreturn void fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The error object that the program's library calls share (main thread only). */
radllm_error *program_error(void);
/* Ends the program unless status is RADLLM_OK: "what: message of the library". After an
 * interruption the exit code is EXIT_CODE_INTERRUPTED. `what` may be NULL. */
void check(radllm_status status, const char *what);

/* Ctrl-C and SIGTERM set a flag and cancel library calls that were given program_cancel(). With
 * `repeated` each Ctrl-C does so and SIGTERM ends the program (a chat); else the second one ends
 * the program at once. */
void program_catch_signals(bool repeated);
/* While `wanted`, they end the program with EXIT_CODE_INTERRUPTED where it stands: for long work
 * that cannot be cancelled and leaves nothing behind. */
void program_end_at_once(bool wanted);
bool program_interrupted(void);
/* Waits until there is something to read, or the end of it; false when Ctrl-C or SIGTERM came, also
 * just before the call: signals are let in only while it waits. */
bool program_wait_for_input(int descriptor);
void program_clear_interruption(void);
radllm_cancel *program_cancel(void);

/* Writes to standard output; ends the program when that fails. */
void output_write(const char *text, size_t length);
void output_text(const char *text);
void output_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void output_flush(void);

/* Flushes and closes standard output, frees what this file holds, and returns the exit code: that
 * given, or EXIT_CODE_FAILED with a message when output was lost. */
int program_finish(int code);

/* Memory; ends the program with a message when there is none. */
void *memory_take(size_t size);
void *memory_resize(void *pointer, size_t size);
/* count * size bytes, zeroed. */
void *memory_array(size_t count, size_t size);
char *memory_text(const char *text);

/* Seconds of a clock that never jumps. */
double clock_seconds(void);

#endif
