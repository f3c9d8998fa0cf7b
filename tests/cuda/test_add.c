/* y += x at sizes around those of threads and blocks. */
#include "cuda/support.h"

#include <stdlib.h>

static void check_add(rad_cuda_device *device, size_t n)
{
    float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y), *got = calloc(n, sizeof *got);
    rad_test_floats(n, x, n);
    rad_test_floats(n + 1, y, n);
    rad_cuda_add_arguments arguments = {.x = rad_test_upload(device, x, n * sizeof *x),
                                        .y = rad_test_upload(device, y, n * sizeof *y),
                                        .n = n};
    rad_test_launch(device, &rad_cuda_kernel_add, (uint32_t)((n + 1023) / 1024), 1, 1, 0,
                    &arguments);
    rad_test_download(device, got, arguments.y, n * sizeof *got);
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
    rad_test_same_floats(got, y, n, "add");
    free(x);
    free(y);
    free(got);
}

START_TEST(adds)
{
    static const size_t sizes[] = {1, 3, 4, 5, 1023, 1024, 1025, 4099};
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            check_add(device, sizes[i]);
        rad_test_device_close(device);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    tcase_add_test(rad_test_case(suite, "add"), adds);
}

int main(void)
{
    return rad_test_main("cuda_add", add_cases);
}
