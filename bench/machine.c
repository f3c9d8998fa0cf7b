#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/program.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define MACHINE_X86 1
#endif

static const double measure_seconds = 0.4;
enum { MAX_THREADS = 1024, ACCUMULATORS = 10 };

/* ---- loops: each returns how many multiply-adds it made ---- */

static double float_plain(uint64_t rounds)
{
    float sums[16] = {0};
    float a = 1.0f;
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(a));
        for (int k = 0; k < 16; k++)
            sums[k] += a * 0.5f;
    }
    __asm__ volatile("" : : "m"(sums));
    return 16.0 * (double)rounds;
}

static double int8_plain(uint64_t rounds)
{
    int32_t sums[16] = {0};
    int8_t a = 3;
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(a));
        for (int k = 0; k < 16; k++)
            sums[k] += a * (int8_t)(k + 1);
    }
    __asm__ volatile("" : : "m"(sums));
    return 16.0 * (double)rounds;
}

static double read_plain(const unsigned char *data, size_t size)
{
    uint64_t sums[4] = {0};
    for (size_t i = 0; i + 32 <= size; i += 32) {
        uint64_t words[4];
        memcpy(words, data + i, sizeof words);
        for (int k = 0; k < 4; k++)
            sums[k] += words[k];
    }
    __asm__ volatile("" : : "m"(sums));
    return (double)size;
}

#if MACHINE_X86
__attribute__((target("avx2,fma"))) static double float_avx2(uint64_t rounds)
{
    __m256 sums[ACCUMULATORS];
    __m256 a = _mm256_set1_ps(0.5f);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm256_setzero_ps();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+x"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm256_fmadd_ps(a, a, sums[k]);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "x"(sums[k]));
    return 8.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx2"))) static double int8_avx2(uint64_t rounds)
{
    __m256i sums[ACCUMULATORS];
    __m256i a = _mm256_set1_epi8(3);
    __m256i b = _mm256_set1_epi8(-2);
    __m256i ones = _mm256_set1_epi16(1);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm256_setzero_si256();
    for (uint64_t i = 0; i < rounds; i++) {
        for (int k = 0; k < ACCUMULATORS; k++) {
            /* Opaque each time, or one product would serve all sums. */
            __asm__ volatile("" : "+x"(a));
            __m256i products = _mm256_maddubs_epi16(a, b);
            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(products, ones));
        }
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "x"(sums[k]));
    return 32.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx2"))) static double read_avx2(const unsigned char *data, size_t size)
{
    __m256i sums[8];
    for (int k = 0; k < 8; k++)
        sums[k] = _mm256_setzero_si256();
    for (size_t i = 0; i + 256 <= size; i += 256) {
        for (size_t k = 0; k < 8; k++) {
            __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)(data + i + 32 * k));
            sums[k] = _mm256_xor_si256(sums[k], words);
        }
    }
    for (int k = 0; k < 8; k++)
        __asm__ volatile("" : : "x"(sums[k]));
    return (double)size;
}

__attribute__((target("avx512f"))) static double float_avx512(uint64_t rounds)
{
    __m512 sums[ACCUMULATORS];
    __m512 a = _mm512_set1_ps(0.5f);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_ps();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+v"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm512_fmadd_ps(a, a, sums[k]);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 16.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx512f,avx512bw"))) static double int8_avx512(uint64_t rounds)
{
    __m512i sums[ACCUMULATORS];
    __m512i a = _mm512_set1_epi8(3);
    __m512i b = _mm512_set1_epi8(-2);
    __m512i ones = _mm512_set1_epi16(1);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_si512();
    for (uint64_t i = 0; i < rounds; i++) {
        for (int k = 0; k < ACCUMULATORS; k++) {
            __asm__ volatile("" : "+v"(a));
            __m512i products = _mm512_maddubs_epi16(a, b);
            sums[k] = _mm512_add_epi32(sums[k], _mm512_madd_epi16(products, ones));
        }
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 64.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static double int8_vnni(uint64_t rounds)
{
    __m512i sums[ACCUMULATORS];
    __m512i a = _mm512_set1_epi8(3);
    __m512i b = _mm512_set1_epi8(-2);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_si512();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+v"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm512_dpbusd_epi32(sums[k], a, b);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 64.0 * ACCUMULATORS * (double)rounds;
}
#endif

typedef double (*compute_fn)(uint64_t rounds);
typedef double (*read_fn)(const unsigned char *data, size_t size);

typedef struct loop_set {
    compute_fn int8;
    const char *int8_isa;
    compute_fn real;
    const char *real_isa;
    read_fn read;
} loop_set;

static loop_set best_loops(void)
{
    loop_set set = {int8_plain, "plain C", float_plain, "plain C", read_plain};
#if MACHINE_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        set = (loop_set){int8_avx2, "avx2", float_avx2, "avx2 fma", read_avx2};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
        set.int8 = int8_avx512;
        set.int8_isa = "avx512bw";
        set.real = float_avx512;
        set.real_isa = "avx512f";
    }
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) {
        set.int8 = int8_vnni;
        set.int8_isa = "avx512 vnni";
    }
#endif
    return set;
}

/* ---- threads ---- */

enum { READ, INT8, FLOAT, N_LIMITS };

/* All threads work at the same time, round by round; the best round counts, so that whatever else
 * the machine does is not taken for its limit. */
typedef struct team {
    pthread_barrier_t barrier;
    loop_set loops;
    size_t bytes; /* read by each thread in a round */
    uint32_t threads;
    double *done; /* by each thread in this round */
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
    if (limit == READ)
        return data != NULL ? own->loops.read(data, own->bytes) : 0;
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
            own->stop = clock_seconds() - begin > (limit == READ ? 2 : 1) * measure_seconds;
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
    run_rounds(self, READ, data);
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

/* Much more than the caches hold, and no more than a quarter of the free memory. */
static size_t buffer_bytes(uint32_t threads)
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
    return (size_t)(total / threads / 4096 + 1) * 4096;
}

static bool run_team(machine_limits *limits)
{
    team own = {.loops = best_loops(), .threads = limits->threads};
    own.bytes = buffer_bytes(limits->threads);
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
    limits->read_bytes = own.best[READ];
    limits->int8_macs = own.best[INT8];
    limits->float_macs = own.best[FLOAT];
    snprintf(limits->int8_isa, sizeof limits->int8_isa, "%s", own.loops.int8_isa);
    snprintf(limits->float_isa, sizeof limits->float_isa, "%s", own.loops.real_isa);
    free(members);
    free(own.done);
    pthread_barrier_destroy(&own.barrier);
    return true;
}

machine_limits machine_measure(uint32_t threads)
{
    machine_limits limits = {.threads = threads};
    int ends[2];
    if (threads == 0 || threads > MAX_THREADS || pipe(ends) != 0)
        return limits;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        bool good = run_team(&limits) && write(ends[1], &limits, sizeof limits) == sizeof limits;
        _exit(good ? 0 : 1);
    }
    close(ends[1]);
    machine_limits measured = limits;
    if (child > 0 && read(ends[0], &measured, sizeof measured) != (ssize_t)sizeof measured)
        measured = limits;
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return measured;
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
