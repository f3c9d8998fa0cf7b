/* The emulated device keeps the promises of lib/backend/cuda/device.h: order on streams, late work,
 * graphs, errors. */
#include "cuda/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda/emulated.h"
#include "cuda/fibers.h"
#include "kernels/cuda/kernels_layer.h"

enum { N = 64, BYTES = N * 4 };

static void ok(rad_cuda_device *device, radllm_status status)
{
    ck_assert_msg(status == RADLLM_OK, "%s", device->message);
}

static void launch_add(rad_cuda_device *device, const float *x, float *y)
{
    rad_cuda_add_arguments arguments = {x, y, N};
    rad_cuda_grid grid = {1, 1, 1};
    ok(device, device->launch(device, &rad_cuda_kernel_add, grid, 0, &arguments));
}

START_TEST(work_is_done_when_waited_for)
{
    rad_cuda_device *device = rad_test_device(0);
    float ones[N], got[N] = {0};
    for (int i = 0; i < N; i++)
        ones[i] = 1;
    float *x = rad_test_upload(device, ones, BYTES), *y = rad_test_upload(device, ones, BYTES);
    ok(device, device->upload(device, RAD_CUDA_COMPUTE, x, ones, BYTES));
    launch_add(device, x, y);
    ok(device, device->download(device, RAD_CUDA_COMPUTE, got, y, BYTES));
    ones[0] = 7; /* is read late, though it is not pinned */
    ck_assert(got[1] == 0);
    ok(device, device->synchronize(device, RAD_CUDA_COMPUTE));
    ck_assert(got[0] == 8 && got[N - 1] == 2);
    rad_test_device_close(device);
}
END_TEST

START_TEST(events_order_streams)
{
    rad_cuda_device *device = rad_test_device(0);
    void *pinned;
    ok(device, device->host_alloc(device, BYTES, &pinned));
    float got[N];
    float *y = rad_test_upload(device, NULL, BYTES);
    rad_cuda_event *before, *after;
    ok(device, device->event_new(device, &before));
    ok(device, device->event_new(device, &after));
    ok(device, device->event_record(device, before, RAD_CUDA_COMPUTE));
    ok(device, device->upload(device, RAD_CUDA_COPY, y, pinned, BYTES));
    ok(device, device->event_record(device, after, RAD_CUDA_COPY));
    ok(device, device->stream_wait(device, RAD_CUDA_COMPUTE, after));
    launch_add(device, y, y);
    ok(device, device->event_record(device, before, RAD_CUDA_COMPUTE));
    for (int i = 0; i < N; i++)
        ((float *)pinned)[i] = 3; /* pinned memory is read late */
    bool reached = true;
    ok(device, device->event_reached(device, before, &reached));
    ck_assert(!reached);
    ok(device, device->event_wait(device, before));
    ok(device, device->event_reached(device, before, &reached));
    ck_assert(reached);
    float milliseconds;
    ok(device, device->event_milliseconds(device, after, before, &milliseconds));
    ck_assert(milliseconds >= 0);
    rad_test_download(device, got, y, BYTES);
    ck_assert(got[0] == 6 && got[N - 1] == 6);
    device->event_free(device, before);
    device->event_free(device, after);
    ok(device, device->host_free(device, pinned));
    rad_test_device_close(device);
}
END_TEST

START_TEST(graphs_repeat)
{
    rad_cuda_device *device = rad_test_device(0);
    float ones[N], got[N];
    for (int i = 0; i < N; i++)
        ones[i] = 1;
    float *x = rad_test_upload(device, ones, BYTES), *y = rad_test_upload(device, ones, BYTES);
    rad_cuda_graph *graph;
    ok(device, device->capture_begin(device));
    launch_add(device, x, y);
    launch_add(device, x, y);
    ok(device, device->capture_end(device, &graph));
    rad_test_download(device, got, y, BYTES);
    ck_assert(got[0] == 1);
    for (int i = 0; i < 3; i++)
        ok(device, device->graph_launch(device, graph));
    rad_test_download(device, got, y, BYTES);
    ck_assert(got[0] == 7 && got[N - 1] == 7);
    ck_assert_uint_eq(rad_emulated_launches(device), 6);
    device->graph_free(device, graph);
    rad_test_device_close(device);
}
END_TEST

/* What a capture forbids ends it, and nothing else. */
START_TEST(captures_forbid)
{
    setenv("RAD_EMULATED_DEVICES", "2", 1);
    rad_cuda_device *device = rad_test_device(0), *other;
    char message[RAD_CUDA_MESSAGE_SIZE];
    ck_assert_int_eq(rad_cuda_device_open(1, &other, message), RADLLM_OK);
    float numbers[N] = {0};
    float *x = rad_test_upload(device, numbers, BYTES);
    rad_cuda_event *event, *more;
    rad_cuda_graph *graph, *none;
    void *pinned, *memory;
    ok(device, device->host_alloc(device, BYTES, &pinned));
    ok(device, device->event_new(device, &event));
    ok(device, device->capture_begin(device));
    launch_add(device, x, x);
    ok(device, device->capture_end(device, &graph));
    for (int i = 0; i < 14; i++) {
        radllm_status status = RADLLM_E_STATE;
        ok(device, device->capture_begin(device));
        launch_add(device, x, x);
        if (i == 0)
            status = device->synchronize(device, RAD_CUDA_COMPUTE);
        else if (i == 1)
            status = device->alloc(device, 16, &memory);
        else if (i == 2)
            status = device->free(device, x);
        else if (i == 3)
            status = device->host_alloc(device, 16, &memory);
        else if (i == 4)
            status = device->host_free(device, pinned);
        else if (i == 5)
            status = device->upload(device, RAD_CUDA_COMPUTE, x, numbers, BYTES);
        else if (i == 6)
            status = device->download(device, RAD_CUDA_COMPUTE, pinned, x, BYTES);
        else if (i == 7)
            status = device->event_record(device, event, RAD_CUDA_COMPUTE);
        else if (i == 8)
            status = device->stream_wait(device, RAD_CUDA_COMPUTE, event);
        else if (i == 9)
            status = device->event_wait(device, event);
        else if (i == 10)
            status = device->event_new(device, &more);
        else if (i == 11)
            status = other->alloc(other, 16, &memory); /* of any device */
        else if (i == 12) {
            device->graph_free(device, graph);
        } else {
            device->event_free(device, event);
        }
        ck_assert_int_eq(status, RADLLM_E_STATE);
        ck_assert_msg(device->capture_end(device, &none) == RADLLM_E_STATE, "%d", i);
        ck_assert(none == NULL && !device->lost && !other->lost);
    }
    ok(device, device->free(device, x));
    ok(device, device->host_free(device, pinned));
    other->close(other);
    rad_test_device_close(device);
}
END_TEST

START_TEST(memory_is_counted_and_can_end)
{
    setenv("RAD_EMULATED_MEMORY", "70000000", 1);
    rad_cuda_device *device = rad_test_device(0);
    uint64_t before, after, all;
    void *one, *two;
    ok(device, device->memory(device, &before, &all));
    ck_assert_uint_eq(all, 70000000);
    ok(device, device->alloc(device, 1000, &one));
    ok(device, device->memory(device, &after, &all));
    ck_assert_uint_eq(before - after, 1024);
    ck_assert_int_eq(device->alloc(device, before, &two), RADLLM_E_MEMORY);
    ck_assert(two == NULL && !device->lost && strstr(device->message, "out of memory") != NULL);
    rad_emulated_fail_alloc(device, 1);
    ck_assert_int_eq(device->alloc(device, 16, &two), RADLLM_E_MEMORY);
    ok(device, device->alloc(device, 16, &two));
    ok(device, device->free(device, one));
    ok(device, device->free(device, two));
    ok(device, device->memory(device, &after, &all));
    ck_assert_uint_eq(before, after);
    rad_test_device_close(device);
}
END_TEST

START_TEST(wrong_calls_lose_the_device)
{
    uint8_t bytes[64];
    for (int i = 0; i < 8; i++) {
        rad_cuda_device *device = rad_test_device(0);
        uint8_t *memory = rad_test_upload(device, NULL, 64);
        rad_cuda_grid grid = {1, 65536, 1};
        rad_cuda_add_arguments arguments = {NULL, NULL, 0};
        radllm_status status = RADLLM_OK;
        void *pinned;
        if (i == 0)
            status = device->upload(device, RAD_CUDA_COPY, memory + 1, bytes, 64);
        else if (i == 4)
            status = device->download(device, RAD_CUDA_COPY, memory + 32, memory, 32);
        else if (i == 5)
            status = device->copy(device, RAD_CUDA_COPY, memory + 16, memory, 32);
        else if (i == 6) {
            ok(device, device->host_alloc(device, 64, &pinned));
            ok(device, device->upload(device, RAD_CUDA_COPY, memory, pinned, 64));
            status = device->host_free(device, pinned);
        } else if (i == 1)
            status = device->fill(device, RAD_CUDA_COPY, bytes, 0, 1);
        else if (i == 2)
            status = device->free(device, memory + 16);
        else
            status = device->launch(device, &rad_cuda_kernel_add, grid, 0, &arguments);
        ck_assert_int_eq(status, RAD_CUDA_E_LOST);
        ck_assert(device->lost && device->message[0] != 0);
        device->close(device);
    }
}
END_TEST

START_TEST(a_lost_device_stays_lost)
{
    rad_cuda_device *device = rad_test_device(0);
    void *memory;
    rad_emulated_lose(device, 2);
    ok(device, device->alloc(device, 64, &memory));
    ck_assert_int_eq(device->fill(device, RAD_CUDA_COPY, memory, 0, 64), RAD_CUDA_E_LOST);
    ck_assert_int_eq(device->synchronize(device, RAD_CUDA_COMPUTE), RAD_CUDA_E_LOST);
    ck_assert(strstr(device->message, "lost") != NULL);
    device->close(device);
}
END_TEST

/* ---- several devices ---------------------------------------------------------------------------
 */

static void open_two(rad_cuda_device *devices[2])
{
    char message[RAD_CUDA_MESSAGE_SIZE];
    setenv("RAD_EMULATED_DEVICES", "2", 1);
    for (int i = 0; i < 2; i++)
        ck_assert_msg(rad_cuda_device_open(i, &devices[i], message) == RADLLM_OK, "%s", message);
}

static void close_two(rad_cuda_device *devices[2])
{
    for (int i = 0; i < 2; i++)
        devices[i]->close(devices[i]);
}

/* A copy between two devices sees what was done before the event that it waits for, and what just
 * is there where it does not wait. */
START_TEST(copies_between_devices_follow_events)
{
    for (int i = 0; i < 2; i++) {
        bool waits = i != 0;
        rad_cuda_device *d[2];
        open_two(d);
        float ones[N], got[N];
        for (int k = 0; k < N; k++)
            ones[k] = 1;
        float *x = rad_test_upload(d[0], ones, BYTES), *y = rad_test_upload(d[1], ones, BYTES);
        rad_cuda_event *made;
        ck_assert(d[1]->reaches(d[1], d[0]));
        ok(d[0], d[0]->event_new(d[0], &made));
        launch_add(d[0], x, x);
        ok(d[0], d[0]->event_record(d[0], made, RAD_CUDA_COMPUTE));
        if (waits)
            ok(d[1], d[1]->stream_wait(d[1], RAD_CUDA_COMPUTE, made));
        ok(d[1], d[1]->copy_from(d[1], RAD_CUDA_COMPUTE, y, d[0], x, BYTES));
        launch_add(d[1], y, y);
        rad_test_download(d[1], got, y, BYTES);
        ck_assert((got[0] == 4 && got[N - 1] == 4) == waits);
        d[0]->event_free(d[0], made);
        close_two(d);
    }
}
END_TEST

/* A kernel sees its own device's memory alone; so do copies that are not from another device. */
START_TEST(memory_of_another_device_is_out_of_reach)
{
    for (int i = 0; i < 3; i++) {
        rad_cuda_device *d[2];
        open_two(d);
        float *x = rad_test_upload(d[0], NULL, BYTES), *y = rad_test_upload(d[1], NULL, BYTES);
        radllm_status status = RADLLM_OK;
        if (i == 0)
            status = d[1]->copy(d[1], RAD_CUDA_COMPUTE, y, x, BYTES);
        else if (i == 1)
            status = d[1]->upload(d[1], RAD_CUDA_COMPUTE, y, x, BYTES);
        else {
            launch_add(d[1], x, y);
            status = d[1]->synchronize(d[1], RAD_CUDA_COMPUTE);
            ck_assert_msg(strstr(d[1]->message, "memory of device 0") != NULL, "%s", d[1]->message);
        }
        ck_assert_int_eq(status, RAD_CUDA_E_LOST);
        ck_assert(d[1]->lost && !d[0]->lost);
        close_two(d);
    }
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------------
 */

static rad_fiber gone, own;

static void end_at_once(void)
{
    rad_fiber_arrived(&gone, &own);
    rad_fiber_switch(&gone, &own, true);
}

/* Where the stack of a thread was that is gone other memory can stand, and AddressSanitizer holds
 * no frames against it. */
START_TEST(stacks_leave_nothing_behind)
{
    own = (rad_fiber){.stack = NULL};
    ck_assert(rad_fibers_new(&gone, 1));
    ck_assert(rad_fiber_begin(&gone, end_at_once));
    rad_fiber_switch(&own, &gone, false);
    rad_fiber_forget(&gone);
    rad_fibers_free(&gone, 1);
    void *next = mmap(gone.stack, gone.stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    ck_assert_ptr_eq(next, gone.stack);
    memset(next, 1, gone.stack_bytes);
    munmap(next, gone.stack_bytes);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "device");
    tcase_add_test(cases, work_is_done_when_waited_for);
    tcase_add_test(cases, events_order_streams);
    tcase_add_test(cases, graphs_repeat);
    tcase_add_test(cases, captures_forbid);
    tcase_add_test(cases, memory_is_counted_and_can_end);
    tcase_add_test(cases, wrong_calls_lose_the_device);
    tcase_add_test(cases, a_lost_device_stays_lost);
    tcase_add_test(cases, copies_between_devices_follow_events);
    tcase_add_test(cases, memory_of_another_device_is_out_of_reach);
    tcase_add_test(cases, stacks_leave_nothing_behind);
}

int main(void)
{
    return rad_test_main("cuda_device", add_cases);
}
