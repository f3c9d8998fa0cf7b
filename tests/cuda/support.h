/* What tests of kernels stand on: one device, the emulated one or (programs device_*, where
 * RAD_TEST_REAL_DEVICE is defined) the first GPU; copies and launches that fail the case. */
#ifndef RAD_CUDA_SUPPORT_H
#define RAD_CUDA_SUPPORT_H

#include "backend/cuda/device.h"
#include "unit/harness.h"

/* Orders in which to run a case, emulated two that differ in all that
 * orders can (cuda/runner.h, cuda/emulated.h), on a GPU its own.
 *
 *   for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
 *       rad_cuda_device *device = rad_test_device(order);
 *       ...
 *       rad_test_device_close(device);
 *   } */
#ifdef RAD_TEST_REAL_DEVICE
#define RAD_TEST_ORDERS 1u
#else
#define RAD_TEST_ORDERS 2u
#endif

rad_cuda_device *rad_test_device(uint32_t order);
void rad_test_device_close(rad_cuda_device *device);

/* size bytes of device memory, holding data (NULL: what new memory holds). */
void *rad_test_upload(rad_cuda_device *device, const void *data, uint64_t size);
void rad_test_download(rad_cuda_device *device, void *to, const void *from, uint64_t size);
/* What stands there is from a kernel that the next ones wait for before they read it (seen on the
 * emulated device). */
void rad_test_is_result(rad_cuda_device *device, const void *pointer, uint64_t size);
/* Runs the kernel to its end. */
void rad_test_launch(rad_cuda_device *device, const rad_cuda_kernel *kernel, uint32_t x, uint32_t y,
                     uint32_t z, uint32_t dynamic_shared_bytes, const void *arguments);

/* Numbers from a seed, the same everywhere: in [-1, 1); any bits. */
void rad_test_floats(uint64_t seed, float *values, size_t n);
void rad_test_bytes(uint64_t seed, void *bytes, size_t n);

/* Fails unless the floats are equal bit for bit (any NaN equals any other), naming the first that
 * differs; or unless they are within tolerance * scale of each other. */
void rad_test_same_floats(const float *got, const float *wanted, size_t n, const char *what);
void rad_test_near_floats(const float *got, const float *wanted, size_t n, double tolerance,
                          const char *what);

#endif
