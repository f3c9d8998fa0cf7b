#include "cuda/support.h"

#include <math.h>
#include <string.h>

#ifndef RAD_TEST_REAL_DEVICE
#include "cuda/emulated.h"
#endif

rad_cuda_device *rad_test_device(uint32_t order)
{
    char message[RAD_CUDA_MESSAGE_SIZE] = "";
    rad_cuda_device *device;
    radllm_status status = rad_cuda_device_open(0, &device, message);
    ck_assert_msg(status == RADLLM_OK, "the device cannot be opened: %s", message);
#ifndef RAD_TEST_REAL_DEVICE
    rad_emulated_set_order(device, order);
#else
    (void)order;
#endif
    return device;
}

static void check(rad_cuda_device *device, radllm_status status, const char *what)
{
    ck_assert_msg(status == RADLLM_OK, "%s: %s", what, device->message);
}

void rad_test_device_close(rad_cuda_device *device)
{
    check(device, device->synchronize(device, RAD_CUDA_COMPUTE), "at the end");
    device->close(device);
}

void *rad_test_upload(rad_cuda_device *device, const void *data, uint64_t size)
{
    void *pointer;
    check(device, device->alloc(device, size, &pointer), "alloc");
    if (data != NULL) {
        check(device, device->upload(device, RAD_CUDA_COMPUTE, pointer, data, size), "upload");
        check(device, device->synchronize(device, RAD_CUDA_COMPUTE), "upload");
    }
    return pointer;
}

void rad_test_download(rad_cuda_device *device, void *to, const void *from, uint64_t size)
{
    check(device, device->download(device, RAD_CUDA_COMPUTE, to, from, size), "download");
    check(device, device->synchronize(device, RAD_CUDA_COMPUTE), "download");
}

void rad_test_is_result(rad_cuda_device *device, const void *pointer, uint64_t size)
{
#ifndef RAD_TEST_REAL_DEVICE
    rad_emulated_is_result(device, pointer, size);
#else
    (void)device;
    (void)pointer;
    (void)size;
#endif
}

void rad_test_launch(rad_cuda_device *device, const rad_cuda_kernel *kernel, uint32_t x, uint32_t y,
                     uint32_t z, uint32_t dynamic_shared_bytes, const void *arguments)
{
    rad_cuda_grid grid = {x, y, z};
    check(device, device->launch(device, kernel, grid, dynamic_shared_bytes, arguments),
          kernel->name);
    check(device, device->synchronize(device, RAD_CUDA_COMPUTE), kernel->name);
}

/* SplitMix64 (Steele et al. 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void rad_test_floats(uint64_t seed, float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(int32_t)(next_random(&seed) >> 40) * 0x1p-23f - 1.0f;
}

void rad_test_bytes(uint64_t seed, void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(next_random(&seed) >> 56);
}

void rad_test_same_floats(const float *got, const float *wanted, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        bool same =
            memcmp(&got[i], &wanted[i], sizeof *got) == 0 || (isnan(got[i]) && isnan(wanted[i]));
        if (!same) /* Check notes every assertion, which is slow */
            ck_abort_msg("%s: number %zu of %zu is %a, not %a", what, i, n, (double)got[i],
                         (double)wanted[i]);
    }
}

void rad_test_near_floats(const float *got, const float *wanted, size_t n, double tolerance,
                          const char *what)
{
    for (size_t i = 0; i < n; i++) {
        bool near = fabs((double)got[i] - (double)wanted[i]) <= tolerance ||
                    (isnan(got[i]) && isnan(wanted[i])) || got[i] == wanted[i];
        if (!near)
            ck_abort_msg("%s: number %zu of %zu is %g, not %g", what, i, n, (double)got[i],
                         (double)wanted[i]);
    }
}
