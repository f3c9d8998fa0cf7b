/* Files, clock, CPU features, threads: what differs between operating systems and machines. */
#ifndef RAD_PLATFORM_H
#define RAD_PLATFORM_H

#include <pthread.h>

#include "base/base.h"

/* ---- thread pool -------------------------------------------------------------------------- */

/* Runs parallel loops. Owned by one engine or loader; one loop at a time. */
typedef struct rad_pool rad_pool;

/* n_threads: 1 to 1024, including the calling thread. With an executor in `host` no thread is made,
 * and the size is the smaller of n_threads and the executor's workers. The threads have stacks of
 * 256 KiB (512 under sanitizers), every signal blocked, and no processor of their own; between
 * loops they spin for at most 50 microseconds, then sleep. */
radllm_status rad_pool_create(const rad_host *host, uint32_t n_threads, rad_pool **out,
                              radllm_error *error);
/* Joins the threads; in a child made by fork() only gives back the memory. */
void rad_pool_free(rad_pool *pool);
uint32_t rad_pool_size(const rad_pool *pool);
/* Runs task(data, index, worker) for index 0..count-1, each once, in any order; worker is in
 * 0..size-1 and no two tasks with one worker number overlap (for scratch memory). Returns when all
 * are done. Every task runs with the default floating-point environment. Not from inside a task,
 * and not in a child made by fork(). */
typedef void (*rad_pool_fn)(void *data, uint32_t index, uint32_t worker);
void rad_pool_run(rad_pool *pool, rad_pool_fn task, void *data, uint32_t count);

/* What a thread that looks again and again does between two looks. */
static inline void rad_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Starts a thread with every signal blocked: handlers are the host's and run on its threads. A
 * stack of stack_bytes, or of the system's default for 0. Returns 0 or a system error. */
int rad_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *), void *argument);

/* Logical processors that this process may use, by its affinity and its control group's quota of
 * time (rounded up), at least 1. */
uint32_t rad_processor_count(void);
/* Bytes of memory that this process may use: the machine's, or less where a control group says so;
 * 0 when that cannot be found out. */
uint64_t rad_memory_size(void);

/* ---- CPU ------------------------------------------------------------------------------------ */

typedef struct rad_cpu {
    bool avx2;   /* with FMA and F16C, and the operating system saves the registers */
    bool avx512; /* F, BW, VL, DQ */
    bool avx512_vnni;
    bool avx_vnni; /* the same instructions without AVX-512 */
    bool neon;     /* Armv8 */
    bool dot_prod; /* SDOT */
    bool i8mm;     /* USDOT */
} rad_cpu;
rad_cpu rad_cpu_detect(void);
/* What the few vector loops outside the kernels may use: 2 AVX-512, 1 AVX2 and FMA, 0 what every
 * machine of the architecture has. */
int rad_vector_level(void);

/* ---- clock and process ----------------------------------------------------------------------- */

uint64_t rad_clock_ns(void);  /* monotonic */
int64_t rad_process_id(void); /* to notice fork() */

/* ---- files ------------------------------------------------------------------------------------
 */

typedef struct rad_file rad_file;
radllm_status rad_file_open(const rad_allocator *allocator, const char *path, rad_file **out,
                            radllm_error *error);
/* The same, but a symbolic link is refused. */
radllm_status rad_file_open_plain(const rad_allocator *allocator, const char *path, rad_file **out,
                                  radllm_error *error);
void rad_file_close(rad_file *file);
uint64_t rad_file_size(const rad_file *file); /* when it was opened */
/* Any thread. */
radllm_status rad_file_read(const rad_file *file, uint64_t offset, void *buffer, size_t size,
                            radllm_error *error);
/* RADLLM_E_IO where it was written to since it was opened, whatever its length is now. */
radllm_status rad_file_check(const rad_file *file, radllm_error *error);
radllm_status rad_file_map(rad_file *file, const uint8_t **data, radllm_error *error);

/* ---- hash -------------------------------------------------------------------------------------
 */

/* SHA-256 (FIPS 180-4, by nettle) of a piece of memory. */
void rad_sha256(const void *data, size_t size, uint8_t digest[32]);

/* The same, piece by piece. Copies of what was added may stay in it until the end. */
typedef struct rad_hasher {
    uint64_t state[20]; /* nettle's */
} rad_hasher;
void rad_hasher_start(rad_hasher *hasher);
void rad_hasher_add(rad_hasher *hasher, const void *data, size_t size);
void rad_hasher_end(rad_hasher *hasher, uint8_t digest[32]); /* wipes it */

#endif
