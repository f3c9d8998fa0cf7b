/* The emulated device: lib/backend/cuda/device.h without a GPU, for tests. Memory has a page that
 * cannot be reached on both sides and begins as NaN; kernels run by runner.c. Work is done as late
 * as allowed, when something waits for it, so that a missing wait shows. What it does not find is a
 * host program that touches device memory itself. Of several devices each sees its own memory
 * alone: a kernel that touches another one's fails.
 *
 * The environment sets what programs cannot: RAD_EMULATED_DEVICES (1), RAD_EMULATED_MEMORY (bytes,
 * 4 GiB), RAD_EMULATED_SHARED (bytes of shared memory of a block, 227 KiB),
 * RAD_EMULATED_MULTIPROCESSORS (4), RAD_EMULATED_CAPABILITY (90 for 9.0), RAD_EMULATED_TAKEN
 * (bytes that others took of it, 0), RAD_EMULATED_ORDER (a number, else orders take turns),
 * RAD_EMULATED_LOSE (the device is lost at this call), RAD_EMULATED_FAIL_ALLOC (this allocation
 * finds no memory), RAD_EMULATED_FAILING (the number of the device that these two and
 * RAD_EMULATED_FAIL are for; without, each), RAD_EMULATED_OTHER (the number of a device with
 * another name), RAD_EMULATED_PEERS (0: no device can copy from another; 2: zeros arrive),
 * RAD_EMULATED_GEMM (products of floats by a library: 0 there is none, 1, 2 each of them fails),
 * RAD_EMULATED_FAIL (the n-th call of a function, or the n-th piece of work, "launch 7" or "work
 * 9"; with "memory" or "state" behind it the device is not lost), RAD_EMULATED_COUNTS (a file for
 * how many calls there were), RAD_EMULATED_GUEST (calls are between rad_cuda_thread_context() and
 * rad_cuda_restore_thread()), RAD_EMULATED_WRONG (the beginning of names of kernels whose results
 * are wrong in a bit, where accesses are watched), RAD_EMULATED_FREED (nothing may be left when the
 * device is closed).
 */
#ifndef RAD_CUDA_EMULATED_H
#define RAD_CUDA_EMULATED_H

#include "backend/cuda/device.h"
#include "cuda/runner.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Launches from here on run in this order (runner.h); RAD_ORDERS_IN_TURN: each in another one.
 * Allocations from here on end exactly at the page that cannot be reached (sizes that are no
 * multiple of 16: up to 15 bytes before it, which are checked for writes) where the order is even,
 * and begin exactly behind the other such page where it is odd. */
#define RAD_ORDERS_IN_TURN UINT32_MAX
void rad_emulated_set_order(rad_cuda_device *device, rad_order order);

/* The n-th call from here on (1: the next one) that can fail finds the device lost; 0: none. The
 * n-th allocation finds no memory. */
void rad_emulated_lose(rad_cuda_device *device, uint64_t n);
void rad_emulated_fail_alloc(rad_cuda_device *device, uint64_t n);

/* What stands in these bytes counts as written by a kernel that may still run when the next ones
 * begin: they read it behind rad_wait_for_earlier() alone. */
void rad_emulated_is_result(rad_cuda_device *device, const void *address, uint64_t size);

/* Counts since the device was opened: calls that can fail, launches (those of graphs included),
 * times that the host waited. */
uint64_t rad_emulated_calls(const rad_cuda_device *device);
uint64_t rad_emulated_launches(const rad_cuda_device *device);
uint64_t rad_emulated_waits(const rad_cuda_device *device);

#ifdef __cplusplus
}
#endif

#endif
