#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/program.h"
#include "machine_loops.h"

enum { MAX_THREADS = 1024 };

/* ---- threads ---- */

enum { READ, INT8 = READ + MACHINE_READS, FLOAT, N_LIMITS };

/* All threads work at the same time, round by round; the best round counts, so that whatever else
 * the machine does is not taken for its limit. */
typedef struct team {
    pthread_barrier_t barrier;
    machine_loops loops;
    size_t bytes; /* read by each thread in a round */
    uint32_t threads;
    double seconds; /* for each limit */
    double *done;   /* by each thread in this round */
    double best[N_LIMITS];
    bool stop;
} team;

typedef struct member {
    team *team;
    pthread_t thread;
    uint32_t index;
} member;

static double work(const team *own, int limit, const unsigned char *data)
{
    if (limit < INT8)
        return data != NULL ? own->loops.read[limit - READ](data, own->bytes) : 0;
    return limit == INT8 ? own->loops.int8(1000000) : own->loops.real(1000000);
}

static void run_rounds(member *self, int limit, const unsigned char *data)
{
    team *own = self->team;
    double begin = clock_seconds();
    for (bool stop = false; !stop;) {
        pthread_barrier_wait(&own->barrier);
        double start = clock_seconds();
        own->done[self->index] = work(own, limit, data);
        pthread_barrier_wait(&own->barrier);
        if (self->index == 0) {
            double seconds = clock_seconds() - start;
            double total = 0;
            for (uint32_t i = 0; i < own->threads; i++)
                total += own->done[i];
            if (total > own->best[limit] * seconds)
                own->best[limit] = total / seconds;
            own->stop = clock_seconds() - begin > own->seconds;
        }
        pthread_barrier_wait(&own->barrier);
        stop = own->stop;
    }
}

static void *run_member(void *user)
{
    member *self = user;
    size_t bytes = self->team->bytes;
    unsigned char *data =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        data = NULL;
    if (data != NULL) {
        madvise(data, bytes, MADV_HUGEPAGE);
        memset(data, 1, bytes);
    }
    for (int i = 0; i < MACHINE_READS; i++)
        run_rounds(self, READ + i, data);
    if (data != NULL)
        munmap(data, bytes);
    run_rounds(self, INT8, NULL);
    run_rounds(self, FLOAT, NULL);
    return NULL;
}

static uint64_t meminfo_bytes(const char *key)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL)
        return 0;
    char line[256];
    uint64_t found = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            found = strtoull(line + strlen(key), NULL, 10) * 1024;
    }
    fclose(file);
    return found;
}

/* Much more than the caches hold, no more than a quarter of the free memory, and not much more than
 * can be read in the time. */
static size_t buffer_bytes(uint32_t threads, double seconds)
{
    uint64_t cache = 32u << 20;
    long known = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (known > 0)
        cache = (uint64_t)known;
    uint64_t total = cache * 8;
    if (total < (256u << 20))
        total = 256u << 20;
    uint64_t available = meminfo_bytes("MemAvailable:");
    if (available != 0 && total > available / 4)
        total = available / 4;
    double readable = seconds * 5e10;
    if ((double)total > readable)
        total = (uint64_t)readable;
    return (size_t)(total / threads / 4096 + 1) * 4096;
}

static bool run_team(machine_limits *limits, const char *isa, double seconds)
{
    static const char *const read_names[MACHINE_READS] = {"in order", "in order, ahead",
                                                          "4 streams"};
    team own = {.loops = machine_best_loops(isa), .threads = limits->threads, .seconds = seconds};
    own.bytes = buffer_bytes(limits->threads, seconds);
    own.done = calloc(limits->threads, sizeof *own.done);
    member *members = calloc(limits->threads, sizeof *members);
    if (own.done == NULL || members == NULL ||
        pthread_barrier_init(&own.barrier, NULL, limits->threads) != 0)
        return false;
    for (uint32_t i = 0; i < limits->threads; i++) {
        members[i].team = &own;
        members[i].index = i;
        if (pthread_create(&members[i].thread, NULL, run_member, &members[i]) != 0)
            return false; /* the process ends, and with it those that wait */
    }
    for (uint32_t i = 0; i < limits->threads; i++)
        pthread_join(members[i].thread, NULL);
    for (int i = 0; i < MACHINE_READS; i++) {
        limits->read_each[i] = own.best[READ + i];
        if (own.best[READ + i] > limits->read_bytes) {
            limits->read_bytes = own.best[READ + i];
            snprintf(limits->read_kernel, sizeof limits->read_kernel, "%s", read_names[i]);
        }
    }
    limits->int8_macs = own.best[INT8];
    limits->float_macs = own.best[FLOAT];
    snprintf(limits->int8_isa, sizeof limits->int8_isa, "%s", own.loops.int8_isa);
    snprintf(limits->float_isa, sizeof limits->float_isa, "%s", own.loops.real_isa);
    free(members);
    free(own.done);
    pthread_barrier_destroy(&own.barrier);
    return true;
}

/* Runs `task` in a child process, so that its memory is not counted as ours; its answer fills
 * `result`, which is left alone where that failed. */
typedef bool (*child_fn)(const void *input, void *result);

static bool run_in_child(child_fn task, const void *input, void *result, size_t size)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        bool good = task(input, result) && write(ends[1], result, size) == (ssize_t)size;
        _exit(good ? 0 : 1);
    }
    close(ends[1]);
    unsigned char answer[sizeof(machine_limits)];
    bool good = child > 0 && read(ends[0], answer, size) == (ssize_t)size;
    if (good)
        memcpy(result, answer, size);
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return good;
}

typedef struct limits_task {
    const char *isa;
    double seconds;
} limits_task;

static bool measure_limits(const void *user, void *result)
{
    const limits_task *task = user;
    return run_team(result, task->isa, task->seconds);
}

machine_limits machine_measure(uint32_t threads, const char *isa, double seconds)
{
    machine_limits limits = {.threads = threads};
    limits_task task = {isa, seconds};
    if (threads != 0 && threads <= MAX_THREADS)
        (void)run_in_child(measure_limits, &task, &limits, sizeof limits);
    return limits;
}

void machine_keep_better(machine_limits *limits, const machine_limits *again)
{
    if (again->read_bytes > limits->read_bytes) {
        limits->read_bytes = again->read_bytes;
        memcpy(limits->read_kernel, again->read_kernel, sizeof limits->read_kernel);
    }
    for (int i = 0; i < MACHINE_READS; i++)
        limits->read_each[i] = fmax(limits->read_each[i], again->read_each[i]);
    limits->int8_macs = fmax(limits->int8_macs, again->int8_macs);
    limits->float_macs = fmax(limits->float_macs, again->float_macs);
}

/* ---- a file ---- */

typedef struct file_slice {
    pthread_t thread;
    const unsigned char *data;
    size_t size;
    machine_read_fn read;
} file_slice;

typedef struct file_task {
    const char *path;
    uint32_t threads;
} file_task;

static void *read_slice(void *user)
{
    file_slice *self = user;
    (void)self->read(self->data, self->size);
    return NULL;
}

static bool sum_file(const void *input, void *result)
{
    const file_task *task = input;
    file_slice slices[64];
    uint32_t threads = task->threads < 64 ? task->threads : 64;
    machine_loops loops = machine_best_loops("");
    double start = clock_seconds();
    int descriptor = open(task->path, O_RDONLY | O_CLOEXEC);
    off_t end = descriptor >= 0 ? lseek(descriptor, 0, SEEK_END) : -1;
    if (end <= 0)
        return false;
    const unsigned char *data = mmap(NULL, (size_t)end, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED)
        return false;
    size_t part = (size_t)end / threads;
    for (uint32_t i = 0; i < threads; i++) {
        slices[i] = (file_slice){.data = data + i * part, .size = part, .read = loops.read[0]};
        if (pthread_create(&slices[i].thread, NULL, read_slice, &slices[i]) != 0)
            return false;
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(slices[i].thread, NULL);
    *(double *)result = clock_seconds() - start;
    return true;
}

double machine_sum_file(const char *path, uint32_t threads)
{
    file_task task = {path, threads};
    double seconds = 0;
    return run_in_child(sum_file, &task, &seconds, sizeof seconds) ? seconds : 0;
}

/* ---- the process ---- */

void machine_cpu_name(char *out, unsigned capacity)
{
    snprintf(out, capacity, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL)
        return;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value[strcspn(value, "\n")] = '\0';
        snprintf(out, capacity, "%s", value + 1 + (value[1] == ' '));
        break;
    }
    fclose(file);
}

uint64_t machine_peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL)
        return 0;
    char line[256];
    uint64_t found = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            found = strtoull(line + 6, NULL, 10) * 1024;
    }
    fclose(file);
    return found;
}

void machine_reset_peak_memory(void)
{
    int descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    (void)!write(descriptor, "5", 1);
    close(descriptor);
}

void machine_forget_file(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
}
