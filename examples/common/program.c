#include "common/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *own_name = "radllm";
static radllm_error *own_error;
static radllm_cancel *own_cancel;
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t end_at_once;

/* A mapped model that became shorter. Only what a signal handler may call. */
static void on_bus_error(int number, siginfo_t *information, void *context)
{
    static const char words[] =
        ": a mapped file became shorter, or cannot be read any more; leave the model's files alone "
        "while they are in use, or use load=copy\n";
    (void)context;
    if (information->si_code != BUS_ADRERR) {
        signal(number, SIG_DFL);
        return; /* to the same fault, which ends the program */
    }
    if (write(STDERR_FILENO, own_name, strlen(own_name)) >= 0)
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
    _exit(EXIT_CODE_FAILED);
}

void program_start(const char *name)
{
    own_name = name;
    /* A descriptor of the wrong direction makes reads and writes fail, as they should. */
    static const int modes[3] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int i = 0; i < 3; i++) {
        if (fcntl(i, F_GETFD) == -1 && errno == EBADF && open("/dev/null", modes[i]) != i)
            _exit(EXIT_CODE_FAILED);
    }
    /* A closed pipe and a file at its size limit are errors of write(), not the program's end. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    struct sigaction bus;
    memset(&bus, 0, sizeof bus);
    bus.sa_sigaction = on_bus_error;
    bus.sa_flags = SA_SIGINFO;
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);
    if (radllm_error_new(&own_error) != RADLLM_OK)
        fail("out of memory");
}

const char *program_name(void)
{
    return own_name;
}

static void message(const char *format, va_list list)
{
    char text[4096];
    int length = vsnprintf(text, sizeof text, format, list);
    fprintf(stderr, "%s: %s%s\n", own_name, text, length >= (int)sizeof text ? "..." : "");
}

void warn(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    message(format, list);
    va_end(list);
}

/* A leak checker, which runs with exit(), looks at the ends that free everything. */
noreturn void program_end(int code)
{
    fflush(NULL);
    _exit(code);
}

noreturn void fail(const char *format, ...)
{
    fflush(stdout);
    va_list list;
    va_start(list, format);
    message(format, list);
    va_end(list);
    program_end(EXIT_CODE_FAILED);
}

noreturn void fail_usage(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    message(format, list);
    va_end(list);
    fprintf(stderr, "Try \"%s --help\".\n", own_name);
    program_end(EXIT_CODE_USAGE);
}

radllm_error *program_error(void)
{
    return own_error;
}

void check(radllm_status status, const char *what)
{
    if (status == RADLLM_OK)
        return;
    fflush(stdout);
    if (status == RADLLM_E_CANCELLED && interrupted) {
        warn("interrupted");
        program_end(EXIT_CODE_INTERRUPTED);
    }
    const char *text = radllm_error_message(own_error);
    if (text[0] == '\0')
        text = radllm_status_name(status);
    if (what != NULL && strncmp(text, what, strlen(what)) != 0)
        fail("%s: %s", what, text);
    fail("%s", text);
}

/* Only what a signal handler may call. */
static void end_in_handler(void)
{
    static const char words[] = ": interrupted\n";
    if (write(STDERR_FILENO, own_name, strlen(own_name)) >= 0)
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
    _exit(EXIT_CODE_INTERRUPTED);
}

static void on_signal(int number)
{
    (void)number;
    if (end_at_once)
        end_in_handler();
    interrupted = 1;
    if (own_cancel != NULL)
        radllm_cancel_set(own_cancel);
}

void program_catch_signals(bool repeated)
{
    if (own_cancel == NULL)
        check(radllm_cancel_new(NULL, &own_cancel, own_error), NULL);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    /* SA_RESTART: an answer that is being written to a slow terminal or pipe is no failed output.
     * What waits for the user does so in program_wait_for_input(). */
    action.sa_flags = (int)SA_RESTART | (repeated ? 0 : (int)SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    /* Where Ctrl-C does not end the program, SIGTERM does, at once. */
    if (repeated)
        action.sa_handler = SIG_DFL;
    action.sa_flags = (int)SA_RESTART | (int)SA_RESETHAND;
    sigaction(SIGTERM, &action, NULL);
    /* Nor does a terminal that goes away leave files behind, but for those who said nohup. */
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

bool program_wait_for_input(int descriptor)
{
    sigset_t blocked;
    sigset_t before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    struct pollfd input = {.fd = descriptor, .events = POLLIN};
    bool ready = !interrupted;
    while (ready && ppoll(&input, 1, NULL, &before) < 0 && errno == EINTR)
        ready = !interrupted;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready;
}

void program_end_at_once(bool wanted)
{
    end_at_once = wanted;
    /* What came just before. */
    if (wanted && interrupted)
        end_in_handler();
}

bool program_interrupted(void)
{
    return interrupted != 0;
}

void program_clear_interruption(void)
{
    interrupted = 0;
    if (own_cancel != NULL)
        radllm_cancel_reset(own_cancel);
}

radllm_cancel *program_cancel(void)
{
    return own_cancel;
}

static noreturn void output_failed(void)
{
    warn("cannot write to standard output: %s", strerror(errno));
    /* What is still buffered cannot be written either: leave without another attempt. */
    _exit(EXIT_CODE_FAILED);
}

void output_write(const char *text, size_t length)
{
    if (length != 0 && fwrite(text, 1, length, stdout) != length)
        output_failed();
}

void output_text(const char *text)
{
    output_write(text, strlen(text));
}

void output_format(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vprintf(format, list);
    va_end(list);
    if (length < 0)
        output_failed();
}

void output_flush(void)
{
    if (fflush(stdout) != 0)
        output_failed();
}

int program_finish(int code)
{
    /* A descriptor that was closed from the start only matters when something was written. */
    if (ferror(stdout) || fflush(stdout) != 0)
        output_failed();
    if (close(STDOUT_FILENO) != 0 && errno != EBADF && errno != EINTR)
        output_failed();
    radllm_cancel *cancel = own_cancel;
    own_cancel = NULL;
    radllm_cancel_free(cancel);
    radllm_error_free(own_error);
    own_error = NULL;
    return code;
}

void *memory_take(size_t size)
{
    void *pointer = malloc(size != 0 ? size : 1);
    if (pointer == NULL)
        fail("out of memory: %zu bytes were needed", size);
    return pointer;
}

void *memory_resize(void *pointer, size_t size)
{
    void *resized = realloc(pointer, size != 0 ? size : 1);
    if (resized == NULL)
        fail("out of memory: %zu bytes were needed", size);
    return resized;
}

void *memory_array(size_t count, size_t size)
{
    void *pointer = calloc(count != 0 ? count : 1, size != 0 ? size : 1);
    if (pointer == NULL)
        fail("out of memory: %zu times %zu bytes were needed", count, size);
    return pointer;
}

char *memory_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_take(size);
    memcpy(copy, text, size);
    return copy;
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
