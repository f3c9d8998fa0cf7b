/* Kernels that work on each row by itself, against the CPU's: equal bits. */
#include "cuda/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric_f32.h"
#include "kernels/cpu/layer.h"
#include "kernels/cuda/kernels_layer.h"

#define CPU (&rad_layer_kernels_scalar)

static const uint32_t lengths[] = {1, 7, 16, 33, 256, 1025, 4131};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)
enum { ROWS = 3, MOST = 4131 };

/* Numbers of all sizes, and some that are none. */
static void fill(uint64_t seed, float *values, size_t n)
{
    static const uint32_t extremes[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x00000000,
                                        0x80000000, 0x00000001, 0x7f7fffff, 0xc2ae0001};
    uint8_t *choices = malloc(n);
    rad_test_floats(seed, values, n);
    rad_test_bytes(seed + 1, choices, n);
    for (size_t i = 0; i < n; i++) {
        if (choices[i] < 8)
            values[i] = rad_float_of_bits(extremes[choices[i]]);
        else
            values[i] *= (float)(1 << choices[i] % 8);
    }
    free(choices);
}

static float in[ROWS * MOST], other[ROWS * MOST], weight[MOST], bias[MOST];
static float got[ROWS * MOST], wanted[ROWS * MOST];

static void make_input(uint64_t seed, bool extreme)
{
    if (extreme)
        fill(seed, in, ROWS * MOST);
    else
        rad_test_floats(seed, in, ROWS * MOST);
    rad_test_floats(seed + 2, other, ROWS * MOST);
    rad_test_floats(seed + 3, weight, MOST);
    rad_test_floats(seed + 4, bias, MOST);
}

#define IN_EACH_ORDER(call)                                                                        \
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {                                   \
        rad_cuda_device *device = rad_test_device(order);                                          \
        call;                                                                                      \
        rad_test_device_close(device);                                                             \
    }

static void *up(rad_cuda_device *device, const void *data, size_t n)
{
    return rad_test_upload(device, data, n * 4);
}

static void check_result(rad_cuda_device *device, const float *out, size_t n, const char *what)
{
    rad_test_download(device, got, out, n * sizeof *got);
    rad_test_same_floats(got, wanted, n, what);
}

/* ---- norms ----------------------------------------------------------------------------------- */

/* of_norm: what is added is a norm. */
static void check_norm(rad_cuda_device *device, uint32_t n, bool layer_norm, bool adds, bool plain,
                       bool of_norm)
{
    size_t all = (size_t)ROWS * n;
    rad_cuda_norm_arguments a = {.in = up(device, in, all),
                                 .weight = plain ? NULL : up(device, weight, n),
                                 .bias = plain ? NULL : up(device, bias, n),
                                 .n = n,
                                 .n_rows = ROWS,
                                 .layer_norm = layer_norm,
                                 .epsilon = 1e-5f};
    float *sums = calloc(all, sizeof *sums);
    memcpy(sums, in, all * sizeof *sums);
    a.out = up(device, NULL, all);
    if (adds) {
        a.add = up(device, other, all);
        a.sum = (float *)(uintptr_t)a.in; /* in place, as the residual stream is */
        for (size_t i = 0; i < all; i++)
            sums[i] = in[i] + other[i];
    }
    for (uint32_t row = 0; of_norm && row < ROWS; row++) {
        float *sum = sums + (size_t)row * n;
        CPU->rms_norm(other + (size_t)row * n, bias, 1e-5f, n, sum);
        for (uint32_t i = 0; i < n; i++)
            sum[i] = in[(size_t)row * n + i] + sum[i];
    }
    a.add_weight = of_norm ? up(device, bias, n) : NULL;
    for (uint32_t row = 0; row < ROWS; row++) {
        const float *x = sums + (size_t)row * n;
        if (layer_norm)
            CPU->layer_norm(x, plain ? NULL : weight, plain ? NULL : bias, 1e-5f, n,
                            wanted + (size_t)row * n);
        else
            CPU->rms_norm(x, plain ? NULL : weight, 1e-5f, n, wanted + (size_t)row * n);
    }
    rad_test_is_result(device, a.in, all * 4);
    rad_test_is_result(device, a.add, all * 4);
    rad_test_launch(device, of_norm ? &rad_cuda_kernel_norm_of_norm : &rad_cuda_kernel_norm, 2, 1,
                    1, 0, &a); /* a block takes two rows */
    check_result(device, a.out, all, "norm");
    memcpy(wanted, sums, all * sizeof *sums);
    check_result(device, a.in, all, "sum before a norm");
    free(sums);
}

static void check_norms(rad_cuda_device *device)
{
    for (size_t l = 0; l < N_LENGTHS; l++) {
        make_input(l, l == 4);
        for (int with = 0; with < 6; with++)
            check_norm(device, lengths[l], with % 2 != 0, with / 2 % 2 != 0, with >= 4, false);
        check_norm(device, lengths[l], false, true, false, true);
    }
}

START_TEST(norms){IN_EACH_ORDER(check_norms(device))} END_TEST

    static void check_head_norm(rad_cuda_device *device, uint32_t n, uint32_t n_heads,
                                uint32_t first)
{
    uint32_t row = first + n_heads * n + 5;
    size_t all = (size_t)ROWS * row;
    rad_cuda_head_norm_arguments a = {.values = up(device, in, all),
                                      .weight = up(device, weight, n),
                                      .row = row,
                                      .first = first,
                                      .stride = n,
                                      .n = n,
                                      .n_heads = n_heads,
                                      .n_rows = ROWS,
                                      .epsilon = 1e-6f};
    memcpy(wanted, in, all * sizeof *in);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t head = 0; head < n_heads; head++) {
            float *x = wanted + (size_t)r * row + first + (size_t)head * n;
            CPU->rms_norm(x, weight, 1e-6f, n, x);
        }
    rad_test_launch(device, &rad_cuda_kernel_head_norm, (ROWS * n_heads + 15) / 16, 1, 1, 0, &a);
    check_result(device, a.values, all, "head norm");
}

static void check_head_norms(rad_cuda_device *device)
{
    make_input(7, false);
    check_head_norm(device, 128, 4, 0);
    check_head_norm(device, 80, 11, 3);
    check_head_norm(device, 7, 1, 0);
}

START_TEST(norms_of_heads){IN_EACH_ORDER(check_head_norms(device))} END_TEST

    /* ---- one element at a time
       ------------------------------------------------------------------- */

    static float one_element(uint32_t kind, float x, float y, float number)
{
    float out = 0.0f;
    switch (kind) {
    case RAD_CUDA_SILU_MULTIPLY:
        CPU->silu_multiply(&x, &y, 1, &out);
        break;
    case RAD_CUDA_GELU_TANH_MULTIPLY:
        CPU->gelu_tanh_multiply(&x, &y, 1, &out);
        break;
    case RAD_CUDA_RELU2_MULTIPLY:
        CPU->relu2_multiply(&x, &y, 1, &out);
        break;
    case RAD_CUDA_CLAMPED_MULTIPLY:
        CPU->clamped_multiply(&x, &y, 1, &out);
        break;
    case RAD_CUDA_GELU_TANH:
        CPU->gelu_tanh(&x, 1, &out);
        break;
    case RAD_CUDA_GELU_ERF:
        CPU->gelu_erf(&x, 1, &out);
        break;
    case RAD_CUDA_CLAMP:
        CPU->clamp(&x, number, 1, &out);
        break;
    case RAD_CUDA_SOFT_CAP:
        CPU->soft_cap(&x, number, 1, &out);
        break;
    case RAD_CUDA_SCALE:
        CPU->scale(&x, number, 1, &out);
        break;
    default:
        CPU->add(&x, &y, 1, &out);
        break;
    }
    return out;
}

/* Rows apart, the result in the place of one of the operands. */
static void check_elements(rad_cuda_device *device, uint32_t kind, uint32_t n)
{
    uint32_t stride = n + 3;
    size_t all = (size_t)ROWS * n;
    rad_cuda_elements_arguments a = {.in = up(device, in, (size_t)ROWS * stride),
                                     .other = up(device, other, all),
                                     .in_stride = stride,
                                     .other_stride = n,
                                     .out_stride = n,
                                     .n = n,
                                     .n_rows = ROWS,
                                     .kind = kind,
                                     .number = 1.7f};
    a.out = (float *)(uintptr_t)a.other;
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < n; i++)
            wanted[(size_t)row * n + i] =
                one_element(kind, in[(size_t)row * stride + i], other[(size_t)row * n + i], 1.7f);
    rad_test_launch(device, &rad_cuda_kernel_elements, (n + 1023) / 1024, 2, 1, 0, &a);
    check_result(device, a.out, all, "elements");
}

static void check_add_gated(rad_cuda_device *device, uint32_t n)
{
    size_t all = (size_t)ROWS * n;
    rad_cuda_elements_arguments a = {.in = up(device, in, all),
                                     .other = up(device, bias, ROWS),
                                     .out = up(device, other, all),
                                     .in_stride = n,
                                     .other_stride = 1,
                                     .out_stride = n,
                                     .n = n,
                                     .n_rows = ROWS,
                                     .kind = RAD_CUDA_ADD_GATED};
    memcpy(wanted, other, all * sizeof *wanted);
    for (uint32_t row = 0; row < ROWS; row++)
        CPU->add_scaled(in + (size_t)row * n, 1.0f / (1.0f + rad_expf(-bias[row])), n,
                        wanted + (size_t)row * n);
    rad_test_launch(device, &rad_cuda_kernel_elements, (n + 1023) / 1024, ROWS, 1, 0, &a);
    check_result(device, a.out, all, "add gated");
}

static void check_all_elements(rad_cuda_device *device)
{
    static const uint32_t sizes[] = {1, 255, 1027};
    make_input(11, true);
    for (size_t l = 0; l < 3; l++) {
        for (uint32_t kind = RAD_CUDA_SILU_MULTIPLY; kind <= RAD_CUDA_ADD; kind++)
            check_elements(device, kind, sizes[l]);
        check_add_gated(device, sizes[l]);
    }
}

START_TEST(elements){IN_EACH_ORDER(check_all_elements(device))} END_TEST

    /* ---- rotations
       ------------------------------------------------------------------------------- */

    static void check_rotate(rad_cuda_device *device, rad_cuda_rotate_arguments a, bool in_place)
{
    size_t all = (size_t)ROWS * a.row;
    a.n_rows = ROWS;
    a.in = up(device, in, all);
    a.out = in_place ? (float *)(uintptr_t)a.in : up(device, NULL, all);
    a.table = up(device, other, (size_t)ROWS * 2 * a.n_pairs);
    memcpy(wanted, in, all * sizeof *in);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t head = 0; head < a.n_heads; head++) {
            const float *table = other + (size_t)row * 2 * a.n_pairs;
            CPU->rotate(wanted + (size_t)row * a.row + a.first + (size_t)head * a.stride, table,
                        table + a.n_pairs, a.n_pairs, (int32_t)a.interleaved);
        }
    rad_test_launch(device, &rad_cuda_kernel_rotate, a.n_heads, 2, 1, 0, &a);
    check_result(device, a.out, all, "rotate");
}

static void check_rotations(rad_cuda_device *device)
{
    static const rad_cuda_rotate_arguments shapes[] = {
        {.row = 4 * 64, .stride = 64, .n_heads = 4, .n_pairs = 32},
        {.row = 3 * 80, .first = 48, .stride = 80, .n_heads = 3, .n_pairs = 16, .interleaved = 1},
        {.row = 2 * 100 + 7, .stride = 100, .n_heads = 2, .n_pairs = 5},
        {.row = 40, .first = 32, .stride = 0, .n_heads = 1, .n_pairs = 4, .interleaved = 1},
        {.row = 300, .stride = 300, .n_heads = 1, .n_pairs = 150}};
    make_input(17, false);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_rotate(device, shapes[i], true);
        check_rotate(device, shapes[i], false);
    }
}

START_TEST(rotations){IN_EACH_ORDER(check_rotations(device))} END_TEST

    /* ---- parts
       ----------------------------------------------------------------------------------- */

    static void check_copy(rad_cuda_device *device, rad_cuda_copy_arguments a,
                           const uint32_t *from_rows)
{
    size_t from = (size_t)ROWS * a.from_row, to = (size_t)ROWS * a.to_row;
    a.n_rows = ROWS;
    a.in = up(device, in, from);
    a.out = up(device, other, to);
    a.from_rows = from_rows != NULL ? up(device, from_rows, ROWS) : NULL;
    memcpy(wanted, other, to * sizeof *other);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t head = 0; head < a.n_heads; head++) {
            size_t of_in = from_rows != NULL ? from_rows[row] : row;
            memcpy(wanted + (size_t)row * a.to_row + a.to_first + (size_t)head * a.to_stride,
                   in + of_in * a.from_row + a.from_first + (size_t)head * a.from_stride,
                   a.width * sizeof *in);
        }
    rad_test_launch(device, &rad_cuda_kernel_copy, (a.width * a.n_heads + 1023) / 1024, 2, 1, 0,
                    &a);
    check_result(device, a.out, to, "copy");
}

static void check_copies(rad_cuda_device *device)
{
    static const uint32_t rows[ROWS] = {2, 0, 2};
    make_input(19, true);
    check_copy(device,
               (rad_cuda_copy_arguments){.from_row = 30,
                                         .from_first = 4,
                                         .from_stride = 10,
                                         .to_row = 27,
                                         .to_first = 1,
                                         .to_stride = 8,
                                         .width = 5,
                                         .n_heads = 3},
               NULL);
    check_copy(device,
               (rad_cuda_copy_arguments){.from_row = 20,
                                         .from_first = 12,
                                         .from_stride = 0,
                                         .to_row = 700,
                                         .to_first = 0,
                                         .to_stride = 175,
                                         .width = 8,
                                         .n_heads = 4},
               NULL);
    check_copy(
        device,
        (rad_cuda_copy_arguments){.from_row = 1029, .to_row = 1029, .width = 1029, .n_heads = 1},
        rows);
}

START_TEST(parts_and_output_rows){IN_EACH_ORDER(check_copies(device))} END_TEST

    static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "layer");
    tcase_add_test(cases, norms);
    tcase_add_test(cases, norms_of_heads);
    tcase_add_test(cases, elements);
    tcase_add_test(cases, rotations);
    tcase_add_test(cases, parts_and_output_rows);
}

int main(void)
{
    return rad_test_main("cuda_layer", add_cases);
}
