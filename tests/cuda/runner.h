/* Runs a kernel that was compiled for the host: blocks one after the other, the threads of a block
 * as fibers that give way at barriers and warp operations. What a device would leave undefined is
 * an error with the kernel's name, the block and the thread: a barrier or warp operation that not
 * all reach, or that some reach elsewhere; an access outside of memory. Shared memory holds NaN at
 * each block's start. */
#ifndef RAD_CUDA_RUNNER_H
#define RAD_CUDA_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RAD_RUNNER_THREADS = 1024, RAD_RUNNER_SHARED = 227 * 1024, RAD_RUNNER_STATIC = 48 * 1024 };

/* ---- for the emulated device ---------------------------------------------------------------- */

typedef struct rad_runner rad_runner;

rad_runner *rad_runner_new(void); /* NULL when memory is short */
void rad_runner_free(rad_runner *runner);

/* In which order blocks, warps and lanes take their turns, so that a race that one order hides
 * shows in another: 0 ascending, asynchronous copies as late as allowed; 1 descending, copies at
 * once; others: a shuffled order of their own, copies late or at once. */
typedef uint32_t rad_order;

/* Who wrote a word of the device's memory last: the launch (0: none), the block of it (one more
 * than its number), and the how manieth of the block's writes that was. */
typedef struct rad_written {
    uint32_t launch, block, count;
} rad_written;

/* Memory of the device, and who wrote each of its words. */
typedef struct rad_device_memory {
    const uint8_t *begin;
    uint64_t bytes;
    rad_written *written; /* bytes / 4 + 1 of them */
} rad_device_memory;

/* For the launches from here on: all of it, this launch's number, and that of the first launch
 * which may still run when this one begins. What those wrote may be read behind
 * rad_wait_for_earlier() alone (seen where accesses are watched); no thread may write before it,
 * nor return without it. What another block of the launch wrote may be read by a block that has
 * added to a counter in memory: if that one fenced what it wrote before it added to one, and this
 * one has fenced since. */
void rad_runner_set_memory(rad_runner *runner, const rad_device_memory *memory, uint32_t n,
                           uint32_t launch, uint32_t first);

/* All shared memory that a block can have; without: RAD_RUNNER_SHARED. */
void rad_runner_set_shared(rad_runner *runner, uint32_t bytes);

/* Names the memory around an address that could not be accessed, for the message. */
typedef void (*rad_describe_fn)(void *user, uintptr_t address, char *text, size_t size);

/* False, with a message, when the kernel did what it must not. */
bool rad_runner_run(rad_runner *runner, const rad_cuda_kernel *kernel, const uint32_t grid[3],
                    uint32_t dynamic_shared_bytes, const void *arguments, rad_order order,
                    rad_describe_fn describe, void *describe_user, char *message,
                    size_t message_size);

/* What memory holds that nothing was written to: NaN as float, half and bfloat16. */
void rad_poison(uint8_t *at, size_t size);
bool rad_is_poison(const uint8_t *at, size_t size);

/* ---- for the kernels (cuda/host.h) ------------------------------------------------------------
 */

/* Where the running thread is. */
typedef struct rad_here {
    uint32_t thread, threads;
    uint32_t block[3], grid[3];
} rad_here;
extern __thread rad_here rad_host_here;

/* A warp operation: each lane's words go in, `function` runs once when all have come, each lane's
 * words come out. */
enum { RAD_WARP_IN = 10, RAD_WARP_OUT = 4 };
typedef struct rad_warp_exchange {
    uint32_t in[32][RAD_WARP_IN];
    uint32_t out[32][RAD_WARP_OUT];
} rad_warp_exchange;
typedef void (*rad_warp_function)(rad_warp_exchange *warp);
void rad_host_warp(const char *what, rad_warp_function function, const uint32_t *in, unsigned n_in,
                   uint32_t *out, unsigned n_out, const char *file, int line);
void rad_host_barrier(const char *file, int line);
/* Shared memory: the same address for all threads of a block that pass the same site. */
void *rad_host_shared(const void *site, size_t bytes);
void *rad_host_dynamic_shared(void);
void rad_host_copy_async(void *shared, const void *global);
void rad_host_copy_commit(void);
void rad_host_copy_wait(int n);
void rad_host_wait_for_earlier(void);
/* As if the thread waited no earlier than at its next write: what faults in kernels are made with
 * (mutants.py). */
void rad_host_wait_at_write(void);
void rad_host_fence(void);
/* Accesses to memory are told (cuda/watch.c), so that races in shared memory are found, and what
 * comes too early behind other kernels. */
void rad_host_watch(const void *address, size_t size, bool writes, bool atomic);
/* The kernel ends with an error. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2), noreturn))
#endif
void rad_host_fail(const char *format, ...);

#ifdef __cplusplus
}
#endif

#endif
