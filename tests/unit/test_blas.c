/* The optional product by OpenBLAS: right within rounding, and refused cleanly where it is absent
 * or comes from another build. */
#include "unit/harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/blas/blas_open.h"

static radllm_error error;

/* Small whole numbers and fractions, so that the expected values are easy to compute in double. */
static float value(size_t i)
{
    return (float)((int)(i * 2654435761u >> 7 & 255) - 128) / 64.0f;
}

static void check_product(const rad_blas *blas, size_t n_rows, size_t n_columns, size_t n_tokens,
                          size_t y_stride)
{
    float *w = calloc(n_rows * n_columns + 1, sizeof *w);
    float *x = calloc(n_tokens * n_columns + 1, sizeof *x);
    float *y = calloc(n_tokens * y_stride + 1, sizeof *y);
    for (size_t i = 0; i < n_rows * n_columns; i++)
        w[i] = value(i);
    for (size_t i = 0; i < n_tokens * n_columns; i++)
        x[i] = value(i + 12345);
    for (size_t i = 0; i <= n_tokens * y_stride; i++)
        y[i] = 77.0f;
    rad_assert_ok(rad_blas_product(blas, w, n_rows, n_columns, x, n_tokens, y, y_stride, &error),
                  &error);
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t r = 0; r < y_stride; r++) {
            double sum = 77.0;
            if (r < n_rows) {
                sum = 0.0;
                for (size_t k = 0; k < n_columns; k++)
                    sum += (double)x[t * n_columns + k] * (double)w[r * n_columns + k];
            }
            ck_assert_double_eq_tol((double)y[t * y_stride + r], sum, 1e-4 * (fabs(sum) + 1.0));
        }
    }
    ck_assert_float_eq(y[n_tokens * y_stride], 77.0f); /* nothing is written behind the end */
    free(w);
    free(x);
    free(y);
}

START_TEST(products_are_right)
{
    if (BLAS_PATH[0] == '\0')
        RAD_SKIP("built without OpenBLAS");
    rad_blas blas;
    rad_assert_ok(rad_blas_open_path(BLAS_PATH, &blas, &error), &error);
    ck_assert_msg(strstr(blas.description, "OpenBLAS") != NULL, "%s", blas.description);
    check_product(&blas, 1, 1, 1, 1);
    check_product(&blas, 3, 5, 2, 3);
    check_product(&blas, 16, 0, 4, 16);
    check_product(&blas, 0, 16, 4, 8);
    check_product(&blas, 16, 16, 0, 16);
    check_product(&blas, 257, 129, 33, 300);
    check_product(&blas, 64, 2048, 7, 64);
}
END_TEST

START_TEST(sizes_beyond_blas_are_refused)
{
    if (BLAS_PATH[0] == '\0')
        RAD_SKIP("built without OpenBLAS");
    rad_blas blas;
    rad_assert_ok(rad_blas_open_path(BLAS_PATH, &blas, &error), &error);
    float one = 1.0f;
    rad_assert_error(rad_blas_product(&blas, &one, (size_t)1 << 31, 1, &one, 1, &one, 1, &error),
                     RADLLM_E_LIMIT, &error, "2147483648 x 1 weights");
}
END_TEST

START_TEST(an_absent_object_is_a_clean_error)
{
    rad_blas blas = {NULL, NULL};
    rad_assert_error(rad_blas_open_path(rad_test_temp_path("libradllm-blas.so"), &blas, &error),
                     RADLLM_E_UNSUPPORTED, &error, "libradllm-blas.so");
    ck_assert(blas.product == NULL);
    /* Beside this test program there is none either. */
    rad_assert_error(rad_blas_open(&blas, &error), RADLLM_E_UNSUPPORTED, &error,
                     "libradllm-blas.so");
}
END_TEST

START_TEST(relative_paths_are_refused)
{
    rad_blas blas;
    rad_assert_error(rad_blas_open_path("libradllm-blas.so", &blas, &error), RADLLM_E_ARGUMENT,
                     &error, "not absolute");
}
END_TEST

START_TEST(other_objects_are_refused)
{
    rad_blas blas;
    rad_assert_error(rad_blas_open_path(OTHER_BUILD_PATH, &blas, &error), RADLLM_E_UNSUPPORTED,
                     &error, "0.0.1 interface 0");
    rad_assert_error(rad_blas_open_path(OTHER_PATH, &blas, &error), RADLLM_E_UNSUPPORTED, &error,
                     "install the one of release");
    const char *text = rad_test_temp_path("text.so");
    rad_test_write_file(text, "no object", 9);
    rad_assert_error(rad_blas_open_path(text, &blas, &error), RADLLM_E_UNSUPPORTED, &error,
                     "cannot open");
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "blas");
    tcase_add_test(cases, products_are_right);
    tcase_add_test(cases, sizes_beyond_blas_are_refused);
    tcase_add_test(cases, an_absent_object_is_a_clean_error);
    tcase_add_test(cases, relative_paths_are_refused);
    tcase_add_test(cases, other_objects_are_refused);
}

int main(void)
{
    return rad_test_main("blas", add_cases);
}
