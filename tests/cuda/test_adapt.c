/* What adapters add to products: the bits of the CPU's scalar kernels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric_f32.h"
#include "cuda/support.h"
#include "kernels/kernels.h"
#include "quant/quant.h"

static void *make(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Numbers of a type, among them sums that cancel and become -0. */
static uint8_t *make_matrix(rad_type type, uint64_t seed, size_t n)
{
    float *values = make(n, sizeof *values);
    uint8_t *out = make(n, sizeof(float));
    rad_test_floats(seed, values, n);
    for (size_t i = 0; i < n; i++) {
        uint16_t half =
            type == RAD_TYPE_F16 ? rad_f32_to_f16(values[i]) : rad_f32_to_bf16(values[i]);
        if (type == RAD_TYPE_F32)
            memcpy(out + 4 * i, &values[i], 4);
        else
            memcpy(out + 2 * i, &half, 2);
    }
    free(values);
    return out;
}

typedef struct kernels {
    rad_type type;
    const rad_cuda_kernel *down, *up;
} kernels;

static const kernels all[] = {
    {RAD_TYPE_F32, &rad_cuda_kernel_adapt_down_f32, &rad_cuda_kernel_adapt_up_f32},
    {RAD_TYPE_F16, &rad_cuda_kernel_adapt_down_f16, &rad_cuda_kernel_adapt_up_f16},
    {RAD_TYPE_BF16, &rad_cuda_kernel_adapt_down_bf16, &rad_cuda_kernel_adapt_up_bf16},
};

typedef struct shape {
    uint32_t n_rows, n_columns, n_tokens;
} shape;

/* Rows of x and y stand further apart than they are long. */
#define GAP 3

static void compute_on_cpu(rad_type type, const uint8_t *matrix, shape s, const float *x,
                           float *sums)
{
    rad_matrix w = {type, RAD_LAYOUT_FILE, s.n_rows, s.n_columns, matrix};
    void *scratch = aligned_alloc(64, (rad_product_scratch_bytes(&w) + 127) / 64 * 64);
    for (uint32_t t = 0; t < s.n_tokens; t++) {
        rad_activations in = {.kind = RAD_ACTIVATION_F32,
                              .n_tokens = 1,
                              .n_columns = s.n_columns,
                              .values = x + (size_t)t * (s.n_columns + GAP)};
        rad_kernels_find(RAD_ISA_SCALAR, true)
            ->product(&w, &in, 0, s.n_rows, 0, 1, sums + (size_t)t * s.n_rows, s.n_rows, scratch);
    }
    free(scratch);
}

/* down: y = W x. up: y = fma(factor, W x, y). */
static void check(const kernels *k, shape s, bool up)
{
    size_t n_x = (size_t)s.n_tokens * (s.n_columns + GAP), stride = s.n_rows + GAP;
    size_t n_y = s.n_tokens * stride, n = (size_t)s.n_rows * s.n_columns;
    size_t number = k->type == RAD_TYPE_F32 ? 4 : 2;
    uint32_t rows = up ? RAD_CUDA_ADAPT_B_ROWS : RAD_CUDA_ADAPT_A_ROWS;
    uint8_t *matrix = make_matrix(k->type, n, n);
    float *x = make(n_x, sizeof *x), *y = make(n_y, sizeof *y), *got = make(n_y, sizeof *got);
    float *sums = make((size_t)s.n_tokens * s.n_rows, sizeof *sums), factor = -0.37f;
    rad_test_floats(n + 1, x, n_x);
    rad_test_floats(n + 2, y, n_y);
    compute_on_cpu(k->type, matrix, s, x, sums);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        rad_cuda_adapt_arguments a = {.matrix = rad_test_upload(device, matrix, n * number),
                                      .x = rad_test_upload(device, x, n_x * sizeof *x),
                                      .y = rad_test_upload(device, y, n_y * sizeof *y),
                                      .x_stride = s.n_columns + GAP,
                                      .y_stride = stride,
                                      .n_rows = s.n_rows,
                                      .n_columns = s.n_columns,
                                      .n_tokens = s.n_tokens,
                                      .factor = factor};
        rad_test_launch(device, up ? k->up : k->down, (s.n_rows + rows - 1) / rows,
                        (s.n_tokens + RAD_CUDA_ADAPT_TOKENS - 1) / RAD_CUDA_ADAPT_TOKENS, 1, 0, &a);
        rad_test_download(device, got, a.y, n_y * sizeof *got);
        rad_test_device_close(device);
        for (uint32_t t = 0; t < s.n_tokens; t++) {
            float *wanted = sums + (size_t)t * s.n_rows, *before = y + t * stride;
            for (uint32_t r = 0; r < s.n_rows && up && order == 0; r++)
                wanted[r] = fmaf(factor, wanted[r], before[r]);
            rad_test_same_floats(got + t * stride, wanted, s.n_rows, (up ? k->up : k->down)->name);
            rad_test_same_floats(got + t * stride + s.n_rows, before + s.n_rows, GAP, "beside");
        }
    }
    free(matrix);
    free(x);
    free(y);
    free(got);
    free(sums);
}

START_TEST(adapts_as_the_cpu)
{
    static const shape down[] = {{1, 1, 1},  {4, 16, 1},   {16, 512, 2},  {3, 513, 8},
                                 {5, 47, 9}, {8, 1024, 3}, {17, 1100, 17}};
    static const shape up[] = {{1, 1, 1},   {32, 16, 1}, {33, 4, 8},
                               {70, 17, 9}, {64, 64, 3}, {5, 100, 20}};
    for (size_t i = 0; i < sizeof down / sizeof *down; i++)
        check(&all[_i], down[i], false);
    for (size_t i = 0; i < sizeof up / sizeof *up; i++)
        check(&all[_i], up[i], true);
}
END_TEST

static void add_cases(Suite *suite)
{
    tcase_add_loop_test(rad_test_case(suite, "adapt"), adapts_as_the_cpu, 0,
                        sizeof all / sizeof *all);
}

int main(void)
{
    return rad_test_main("cuda_adapt", add_cases);
}
