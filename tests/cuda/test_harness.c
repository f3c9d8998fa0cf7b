/* What the harness must compute, and what it must find (cuda/harness_kernels.h). On a GPU the first
 * half alone. */
#include "cuda/support.h"

#include <string.h>

#include "base/numeric_f32.h"
#include "cuda/harness_kernels.h"

enum { N = 128 };

static radllm_status run(rad_cuda_device *device, int mode, const uint32_t *in, uint32_t *out,
                         uint32_t *counters)
{
    rad_cuda_harness_arguments arguments = {.mode = mode,
                                            .in = rad_test_upload(device, in, N * 4),
                                            .out = rad_test_upload(device, NULL, N * 4),
                                            .counter = rad_test_upload(device, counters, 8)};
    rad_cuda_grid grid = {N / 64, 1, 1};
    radllm_status status =
        device->launch(device, &rad_cuda_kernel_harness, grid, 64 * 4, &arguments);
    if (status == RADLLM_OK)
        status = device->synchronize(device, RAD_CUDA_COMPUTE);
    if (status == RADLLM_OK) {
        rad_test_download(device, out, arguments.out, N * 4);
        rad_test_download(device, counters, arguments.counter, 8);
    }
    return status;
}

/* out by the mode's formula, in every order. */
static void check_values(int mode, const uint32_t *in, const uint32_t *wanted, const uint32_t *sums)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        uint32_t out[N], counters[2] = {0, 0};
        ck_assert_msg(run(device, mode, in, out, counters) == RADLLM_OK, "%s", device->message);
        for (uint32_t i = 0; i < N; i++)
            ck_assert_msg(out[i] == wanted[i], "order %u, out[%u] is %u, not %u", order, i, out[i],
                          wanted[i]);
        if (sums != NULL)
            ck_assert_int_eq(memcmp(counters, sums, sizeof counters), 0);
        rad_test_device_close(device);
    }
}

START_TEST(shared_memory_and_barriers)
{
    uint32_t in[N], wanted[N];
    rad_test_bytes(1, in, sizeof in);
    for (uint32_t i = 0; i < N; i++)
        wanted[i] = in[i / 64 * 64 + 63 - i % 64];
    check_values(HARNESS_REVERSE, in, wanted, NULL);
    check_values(HARNESS_COPY_ASYNC, in, in, NULL);
}
END_TEST

START_TEST(warp_operations)
{
    uint32_t in[N], wanted[N], sums[2] = {0, 0};
    rad_test_bytes(2, in, sizeof in);
    for (uint32_t warp = 0; warp < N; warp += 32) {
        uint32_t even = 0, sum = 0;
        for (uint32_t i = 0; i < 32; i++) {
            even |= (in[warp + i] % 2 == 0 ? 1u : 0u) << i;
            sum += in[warp + i];
            sums[1] = in[warp + i] > sums[1] ? in[warp + i] : sums[1];
        }
        sums[0] += sum;
        for (uint32_t i = 0; i < 32; i++)
            wanted[warp + i] = even ^ sum ^ in[warp] << 8 ^ in[warp + (i < 31 ? i + 1 : 31)] << 16;
    }
    check_values(HARNESS_WARP, in, wanted, sums);
}
END_TEST

static float element(int kind, const uint8_t *row, int k)
{
    uint16_t bits;
    memcpy(&bits, row + 2 * k, 2);
    return kind == HARNESS_BF16 ? rad_float_of_bf16(bits) : rad_float_of_half(bits);
}

static void reference_product(int kind, const uint8_t *a, const uint8_t *b, uint32_t *c)
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            const uint8_t *row = a + 32 * i, *column = b + 32 * j;
            uint32_t *cell = &c[8 * i + j];
            for (int k = 0; k < 32 && kind == HARNESS_S8; k++)
                *cell += (uint32_t)((int8_t)row[k] * (int8_t)column[k]);
            for (int k = 0; k < 16 && kind != HARNESS_S8; k++)
                *cell = rad_float_bits(rad_float_of_bits(*cell) +
                                       element(kind, row, k) * element(kind, column, k));
        }
}

/* Halves and bfloat16 between -2 and 2: every sum of products is exact, so that their order does
 * not matter and the device must agree. */
static void small_numbers(int kind, uint64_t seed, uint8_t *bytes, size_t n)
{
    rad_test_bytes(seed, bytes, n);
    for (size_t i = 0; i < n && kind != HARNESS_S8; i += 2) {
        float x = (float)((int8_t)bytes[i] / 4) * 0x1p-4f;
        uint16_t bits = kind == HARNESS_BF16 ? rad_bf16_saturated(x) : rad_half_saturated(x);
        memcpy(bytes + i, &bits, 2);
    }
}

START_TEST(matrix_instructions)
{
    int kind = _i;
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        uint8_t a[16 * 32], b[8 * 32];
        uint32_t c[16 * 8], got[16 * 8];
        small_numbers(kind, 3, a, sizeof a);
        small_numbers(kind, 4, b, sizeof b);
        for (uint32_t i = 0; i < 16 * 8; i++)
            c[i] = kind == HARNESS_S8 ? i * 77777u : rad_float_bits((float)i);
        rad_cuda_harness_mma_arguments arguments = {.kind = kind,
                                                    .a = rad_test_upload(device, a, sizeof a),
                                                    .b = rad_test_upload(device, b, sizeof b),
                                                    .c = rad_test_upload(device, c, sizeof c)};
        rad_test_launch(device, &rad_cuda_kernel_harness_mma, 1, 1, 1, 0, &arguments);
        rad_test_download(device, got, arguments.c, sizeof got);
        reference_product(kind, a, b, c);
        for (uint32_t i = 0; i < 16 * 8; i++)
            ck_assert_msg(got[i] == c[i], "row %u, column %u: %08x, not %08x", i / 8, i % 8, got[i],
                          c[i]);
        rad_test_device_close(device);
    }
}
END_TEST

/* A kernel that begins early reads what a kernel before it made, with nothing between, or the host
 * waiting between them, or a copy. */
enum { NOTHING, WAITING, COPYING };
static radllm_status run_early(rad_cuda_device *device, int mode, int between, bool graph,
                               uint32_t *out)
{
    uint32_t in[N];
    rad_test_bytes(8, in, sizeof in);
    rad_cuda_harness_arguments first = {.mode = HARNESS_REVERSE,
                                        .in = rad_test_upload(device, in, sizeof in),
                                        .out = rad_test_upload(device, in, sizeof in)};
    rad_cuda_harness_arguments second = {
        .mode = mode, .in = first.out, .out = rad_test_upload(device, in, sizeof in)};
    uint32_t *elsewhere = rad_test_upload(device, in, sizeof in);
    rad_cuda_grid grid = {N / 64, 1, 1};
    rad_cuda_graph *made = NULL;
    radllm_status status = graph ? device->capture_begin(device) : RADLLM_OK;
    if (status == RADLLM_OK)
        status = device->launch(device, &rad_cuda_kernel_harness, grid, 64 * 4, &first);
    if (status == RADLLM_OK && between == WAITING)
        status = device->synchronize(device, RAD_CUDA_COMPUTE);
    if (status == RADLLM_OK && between == COPYING)
        status = device->copy(device, RAD_CUDA_COMPUTE, elsewhere, first.out, sizeof in);
    if (status == RADLLM_OK)
        status = device->launch(device, &rad_cuda_kernel_harness_early, grid, 0, &second);
    if (status == RADLLM_OK && graph)
        status = device->capture_end(device, &made);
    if (status == RADLLM_OK && graph)
        status = device->graph_launch(device, made);
    if (status == RADLLM_OK)
        status = device->synchronize(device, RAD_CUDA_COMPUTE);
    device->graph_free(device, made);
    if (status == RADLLM_OK)
        rad_test_download(device, out, second.out, sizeof in);
    return status;
}

/* What no kernel wrote since may be read early. */
START_TEST(kernels_begin_early)
{
    uint32_t in[N], out[N];
    rad_test_bytes(8, in, sizeof in);
    for (int mode = HARNESS_EARLY; mode <= HARNESS_EARLY_COPY; mode++) {
        for (int i = 0; i < 3; i++) {
            rad_cuda_device *device = rad_test_device(0);
            ck_assert_msg(run_early(device, mode, i == 0 ? WAITING : COPYING, i == 2, out) ==
                              RADLLM_OK,
                          "%s", device->message);
            for (uint32_t k = 0; k < N; k++)
                ck_assert_uint_eq(out[k], in[k / 64 * 64 + 63 - k % 64]);
            rad_test_device_close(device);
        }
    }
}
END_TEST

#ifndef RAD_TEST_REAL_DEVICE
#include "cuda/emulated.h"

static const struct {
    int mode;
    const char *message; /* in each order */
} found[] = {
    {HARNESS_EARLY_RETURN, "waits in rad_barrier (harness.cu:"},
    {HARNESS_EARLY_RETURN, "thread 7 has returned"},
    {HARNESS_TWO_BARRIERS, "waits in rad_barrier (harness.cu:"},
    {HARNESS_MISSING_LANE, "in rad_shuffle (harness.cu:"},
    {HARNESS_MISSING_LANE, "thread 5 waits in rad_barrier"},
    {HARNESS_OTHER_OPERATION, "rad_ballot (harness.cu:"},
    {HARNESS_READ_BEFORE, "thread 33: access outside of memory"},
    {HARNESS_READ_BEHIND, "thread 33: access outside of memory"},
    {HARNESS_WRITE_BEHIND, "an allocation of 512 bytes"},
    {HARNESS_SHARED_BEHIND, "beside shared array"},
    {HARNESS_DYNAMIC_BEHIND, "behind the end of shared memory"},
    {HARNESS_MISALIGNED, "thread 33: rad_load16 of 0x"},
    {HARNESS_DEEP_STACK, "below the thread's stack"},
};

/* Whether an access is found in this way: at the page behind memory where the order is even, before
 * it where it is odd; writes in any. */
static bool is_found(int mode, uint32_t order)
{
    if (mode == HARNESS_READ_BEFORE)
        return order % 2 == 1;
    return mode != HARNESS_READ_BEHIND || order % 2 == 0;
}

START_TEST(errors_are_found)
{
#if RAD_TEST_SANITIZED
    RAD_SKIP("a sanitizer finds them first, and ends the process");
#endif
    uint32_t in[N], out[N], counters[2] = {0, 0};
    rad_test_bytes(5, in, sizeof in);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        if (!is_found(found[_i].mode, order))
            continue;
        rad_cuda_device *device = rad_test_device(order);
        radllm_status status = run(device, found[_i].mode, in, out, counters);
        ck_assert_msg(status == RAD_CUDA_E_LOST, "mode %d, order %u: not found", found[_i].mode,
                      order);
        ck_assert(device->lost);
        ck_assert_msg(strstr(device->message, "kernel harness") != NULL &&
                          strstr(device->message, found[_i].message) != NULL,
                      "mode %d, order %u: the message is: %s", found[_i].mode, order,
                      device->message);
        /* Later calls say the same. */
        ck_assert_int_eq(device->synchronize(device, RAD_CUDA_COMPUTE), RAD_CUDA_E_LOST);
        device->close(device);
    }
}
END_TEST

/* Orders in which a mode finds no error and the right numbers. */
static uint32_t right_orders(int mode, const char *message)
{
    uint32_t in[N], out[N], right = 0, counters[2] = {0, 0};
    rad_test_bytes(6, in, sizeof in);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        bool same = run(device, mode, in, out, counters) == RADLLM_OK;
        if (!same)
            ck_assert_msg(strstr(device->message, message) != NULL, "%s", device->message);
        for (uint32_t i = 0; i < N && same; i++)
            same = out[i] == in[mode == HARNESS_NO_BARRIER ? i / 64 * 64 + 63 - i % 64 : i];
        right += same;
        device->close(device);
    }
    return right;
}

START_TEST(races_are_found)
{
    /* Where accesses are not watched, results are wrong; of copies in those orders alone in which
     * they are made late. */
    ck_assert_uint_eq(right_orders(HARNESS_NO_BARRIER, "no barrier is between"), 0);
    uint32_t right = right_orders(HARNESS_COPY_NOT_WAITED, "no wait is between");
    ck_assert_uint_eq(right, RAD_TEST_SANITIZED ? RAD_TEST_ORDERS / 2 : 0);
}
END_TEST

START_TEST(what_comes_too_early_is_found)
{
    static const struct {
        int mode;
        const char *message;
    } early[] = {
        {HARNESS_EARLY, "reads before rad_wait_for_earlier() what a kernel before it wrote"},
        {HARNESS_EARLY_COPY, "reads before rad_wait_for_earlier()"},
        {HARNESS_EARLY_WRITE, "writes to memory before rad_wait_for_earlier()"},
        {HARNESS_NEVER_WAITS, "thread 33: "}};
    uint32_t out[N];
    for (int i = 0; i < 8; i++) {
        if (RAD_TEST_SANITIZED && early[i / 2].mode != HARNESS_NEVER_WAITS)
            continue; /* accesses are not watched */
        rad_cuda_device *device = rad_test_device((uint32_t)i % 2);
        ck_assert_int_eq(run_early(device, early[i / 2].mode, NOTHING, i % 2 != 0, out),
                         RAD_CUDA_E_LOST);
        ck_assert_msg(strstr(device->message, early[i / 2].message) != NULL, "%s", device->message);
        device->close(device);
    }
}
END_TEST

START_TEST(results_are_waited_for)
{
    uint32_t in[N];
    rad_test_bytes(7, in, sizeof in);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS && !RAD_TEST_SANITIZED; order++) {
        rad_cuda_device *device = rad_test_device(order);
        rad_cuda_harness_arguments a = {.mode = HARNESS_EARLY,
                                        .in = rad_test_upload(device, in, sizeof in),
                                        .out = rad_test_upload(device, NULL, sizeof in)};
        rad_test_launch(device, &rad_cuda_kernel_harness_early, N / 64, 1, 1, 0, &a);
        rad_test_is_result(device, a.in + N - 3, 8);
        ck_assert_int_eq(device->launch(device, &rad_cuda_kernel_harness_early,
                                        (rad_cuda_grid){N / 64, 1, 1}, 0, &a),
                         RADLLM_OK);
        ck_assert_int_eq(device->synchronize(device, RAD_CUDA_COMPUTE), RAD_CUDA_E_LOST);
        ck_assert_msg(strstr(device->message, "what a kernel before it wrote") != NULL, "%s",
                      device->message);
        device->close(device);
    }
}
END_TEST

START_TEST(shared_memory_begins_as_nan)
{
    uint32_t in[N] = {0}, out[N], counters[2] = {0, 0};
    rad_cuda_device *device = rad_test_device(0);
    ck_assert_int_eq(run(device, HARNESS_UNINITIALISED, in, out, counters), RADLLM_OK);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_uint_eq(out[i], 0xfff5fff5u);
    rad_test_device_close(device);
}
END_TEST
#endif

static void add_cases(Suite *suite)
{
    TCase *values = rad_test_case(suite, "values");
    tcase_add_test(values, shared_memory_and_barriers);
    tcase_add_test(values, warp_operations);
    tcase_add_loop_test(values, matrix_instructions, HARNESS_S8, HARNESS_BF16 + 1);
    tcase_add_test(values, kernels_begin_early);
#ifndef RAD_TEST_REAL_DEVICE
    TCase *errors = rad_test_case(suite, "errors");
    tcase_add_loop_test(errors, errors_are_found, 0, (int)(sizeof found / sizeof *found));
    tcase_add_test(errors, races_are_found);
    tcase_add_test(errors, what_comes_too_early_is_found);
    tcase_add_test(errors, results_are_waited_for);
    tcase_add_test(errors, shared_memory_begins_as_nan);
#endif
}

int main(void)
{
    return rad_test_main("cuda_harness", add_cases);
}
