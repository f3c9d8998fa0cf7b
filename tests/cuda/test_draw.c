/* Drawing a token from all logits of a row: weights by their bits, tokens against the sampler. */
#include "cuda/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "kernels/cuda/kernels_layer.h"
#include "sample/sampler.h"

#define IN_EACH_ORDER(call)                                                                        \
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {                                   \
        rad_cuda_device *device = rad_test_device(order);                                          \
        call;                                                                                      \
        rad_test_device_close(device);                                                             \
    }

/* n_rows draws of `n` logits each, `stride` apart (0: the same logits for all). */
typedef struct drawing {
    const float *logits;
    uint64_t stride;
    uint32_t n, n_parts, n_rows;
    const rad_cuda_draw *draws;
} drawing;

/* The greatest of each row as the kernels before would leave it. */
static rad_cuda_greatest *find_greatest(const drawing *d)
{
    rad_cuda_greatest *parts = calloc((size_t)d->n_rows * d->n_parts, sizeof *parts);
    for (uint32_t row = 0; row < d->n_rows; row++) {
        const float *x = d->logits + row * d->stride;
        rad_cuda_greatest *best = &parts[(size_t)row * d->n_parts];
        best->value = -INFINITY;
        for (uint32_t i = 0; i < d->n; i++) {
            best->value = x[i] > best->value ? x[i] : best->value;
            best->failed |= !(x[i] < INFINITY);
        }
        best->failed |= best->value == -INFINITY;
    }
    return parts;
}

static uint64_t logits_bytes(const drawing *d)
{
    return ((d->n_rows - 1) * d->stride + d->n) * sizeof(float);
}

/* Sums of parts, and with `out` tokens as well. */
static void launch(rad_cuda_device *device, const drawing *d, double *sums, rad_cuda_drawn *out)
{
    uint64_t n_sums = (uint64_t)d->n_rows * d->n_parts;
    rad_cuda_greatest *parts = find_greatest(d);
    rad_cuda_draw_arguments a = {
        .logits = rad_test_upload(device, d->logits, logits_bytes(d)),
        .parts = rad_test_upload(device, parts, n_sums * sizeof *parts),
        .draws = rad_test_upload(device, d->draws, d->n_rows * sizeof *d->draws),
        .sums = rad_test_upload(device, NULL, n_sums * sizeof *sums),
        .out = rad_test_upload(device, NULL, d->n_rows * sizeof *out),
        .stride = d->stride,
        .n = d->n,
        .n_parts = d->n_parts,
        .n_rows = d->n_rows};
    uint32_t y = d->n_rows > 1 ? d->n_rows - 1 : 1; /* one block has two rows */
    rad_test_launch(device, &rad_cuda_kernel_draw_sums, d->n_parts, y, 1, 0, &a);
    if (sums != NULL)
        rad_test_download(device, sums, a.sums, n_sums * sizeof *sums);
    if (out != NULL) {
        rad_test_launch(device, &rad_cuda_kernel_draw, y, 1, 1, 0, &a);
        rad_test_download(device, out, a.out, d->n_rows * sizeof *out);
    }
    free(parts);
}

/* ---- weights --------------------------------------------------------------------------------- */

static const float temperatures[] = {1.0f, 0.7f, 2.5f, 1e-3f, 1e-30f, 3e38f, 1e-40f};
enum { N_TEMPERATURES = sizeof temperatures / sizeof *temperatures, N_ARGUMENTS = 257 };

/* Parts of one logit, whose sums are the weights. */
static void check_weights(rad_cuda_device *device, float greatest, float width)
{
    float logits[N_ARGUMENTS];
    double weights[N_TEMPERATURES * N_ARGUMENTS];
    rad_cuda_draw draws[N_TEMPERATURES];
    rad_test_floats((uint64_t)width, logits, N_ARGUMENTS);
    for (uint32_t i = 0; i < N_ARGUMENTS; i++)
        logits[i] = greatest - fabsf(logits[i]) * width;
    /* Equal ones, none at all, numbers below the normal range, and those whose powers are. */
    logits[0] = logits[7] = greatest;
    logits[1] = -INFINITY;
    logits[2] = greatest > 0.0f ? 0x1p-140f : greatest - 745.0f;
    logits[3] = nextafterf(greatest, -INFINITY);
    for (uint32_t i = 10; i < 60; i++)
        logits[i] = greatest - 705.0f - 0.83f * (float)(i - 10);
    for (uint32_t t = 0; t < N_TEMPERATURES; t++)
        draws[t] = (rad_cuda_draw){0.5, temperatures[t]};
    launch(device, &(drawing){logits, 0, N_ARGUMENTS, N_ARGUMENTS, N_TEMPERATURES, draws}, weights,
           NULL);
    for (uint32_t t = 0; t < N_TEMPERATURES; t++)
        for (uint32_t i = 0; i < N_ARGUMENTS; i++) {
            double wanted = rad_exp(((double)logits[i] - (double)greatest) / draws[t].temperature);
            double got = weights[t * N_ARGUMENTS + i];
            ck_assert_msg(memcmp(&got, &wanted, sizeof got) == 0,
                          "logit %a below %a at temperature %g: %a, not %a", (double)logits[i],
                          (double)greatest, draws[t].temperature, got, wanted);
        }
}

START_TEST(weights_have_the_bits_of_the_cpu)
{
    IN_EACH_ORDER(check_weights(device, 0.0f, 8.0f); check_weights(device, 17.25f, 900.0f);
                  check_weights(device, 0x1p-130f, 0x1p-131f))
}
END_TEST

/* ---- tokens ---------------------------------------------------------------------------------- */

static int32_t choose(const float *logits, uint32_t n, float temperature, uint64_t seed,
                      uint64_t position)
{
    rad_sampler_settings settings = {.seed = seed,
                                     .temperature = temperature,
                                     .top_p = 1.0f,
                                     .typical_p = 1.0f,
                                     .repeat_penalty = 1.0f};
    rad_sampler *sampler;
    int32_t token = -1;
    ck_assert(rad_sampler_is_plain(&settings, n));
    ck_assert_int_eq(rad_sampler_create(&rad_default_allocator, n, &sampler, NULL), RADLLM_OK);
    ck_assert_int_eq(
        rad_sampler_choose(sampler, &settings, logits, n, NULL, 0, 0, position, &token, NULL),
        RADLLM_OK);
    rad_sampler_free(sampler);
    return token;
}

/* Every third row is spread as a model's, every third has few different values and many that are
 * left out, the others are close together. */
static float logit_of(uint32_t row, float number)
{
    if (row % 3 == 0)
        return number * number * number * 30.0f;
    return row % 3 == 2 ? number * 0.1f : number < -0.9f ? -INFINITY : floorf(number * 5.0f);
}

static void check_tokens(rad_cuda_device *device, uint32_t n, uint32_t n_parts, uint32_t n_rows)
{
    static const float warmth[] = {1.0f, 0.7f, 1.5f, 0.05f, 100.0f};
    uint64_t stride = n + 3;
    float *logits = malloc(n_rows * stride * sizeof *logits);
    rad_cuda_draw *draws = calloc(n_rows, sizeof *draws);
    rad_cuda_drawn *got = calloc(n_rows, sizeof *got);
    uint32_t n_open = 0;
    rad_test_floats(n, logits, n_rows * stride);
    for (uint32_t row = 0; row < n_rows; row++) {
        for (uint32_t i = 0; i < n; i++)
            logits[row * stride + i] = logit_of(row, logits[row * stride + i]);
        logits[row * stride + n / 2] = 3.0f; /* something is left */
        logits[row * stride + n] = INFINITY; /* between the rows: not looked at */
        draws[row] = (rad_cuda_draw){rad_random_unit(n, 0, row), warmth[row % 5]};
    }
    launch(device, &(drawing){logits, stride, n, n_parts, n_rows, draws}, NULL, got);
    for (uint32_t row = 0; row < n_rows; row++) {
        int32_t wanted = choose(logits + row * stride, n, warmth[row % 5], n, row);
        n_open += got[row].decided == 0;
        ck_assert_msg(got[row].decided == 0 || got[row].token == (uint32_t)wanted,
                      "row %u of %u logits in %u parts: token %u, not %d", row, n, n_parts,
                      got[row].token, (int)wanted);
    }
    ck_assert_msg(n_open == 0, "%u of %u rows of %u logits are left open", n_open, n_rows, n);
    free(logits);
    free(draws);
    free(got);
}

/* As a layout cuts them, and otherwise. */
START_TEST(tokens_are_those_of_the_sampler)
{
    IN_EACH_ORDER(check_tokens(device, 1, 1, 7); check_tokens(device, 2, 1, 40);
                  check_tokens(device, 33, 40, 12); check_tokens(device, 1023, 1, 500);
                  check_tokens(device, 1025, 2, 400); check_tokens(device, 5003, 7, 60);
                  check_tokens(device, 32003, 32, 9); check_tokens(device, 151937, 149, 3);
                  check_tokens(device, 259999, 254, 2); check_tokens(device, 70001, 17, 3))
}
END_TEST

/* ---- what is left open ----------------------------------------------------------------------- */

enum { EQUAL = 1024, UNITS = 8 };

/* Of equal weights each running sum is a whole number, and where the target is one as well the
 * last bit of a sum decides. */
static void check_boundaries(rad_cuda_device *device)
{
    static const double apart[UNITS] = {0.0,      0x1p-45, -0x1p-45, 0x1p-42,
                                        -0x1p-42, 0x1p-36, -0x1p-36, 0x1p-20};
    static const uint32_t tokens[] = {1, 4, 5, 255, 256, 511, 512, 768, 1000, 1023};
    enum { N = sizeof tokens / sizeof *tokens };
    float logits[EQUAL];
    rad_cuda_draw draws[N * UNITS];
    rad_cuda_drawn got[N * UNITS];
    for (uint32_t i = 0; i < EQUAL; i++)
        logits[i] = -4.5f;
    for (uint32_t i = 0; i < N * UNITS; i++)
        draws[i] = (rad_cuda_draw){tokens[i / UNITS] / (double)EQUAL + apart[i % UNITS], 0.6f};
    for (uint32_t n_parts = 1; n_parts <= 4; n_parts *= 4) {
        launch(device, &(drawing){logits, 0, EQUAL, n_parts, N * UNITS, draws}, NULL, got);
        for (uint32_t i = 0; i < N * UNITS; i++) {
            double distance = apart[i % UNITS];
            ck_assert_msg(got[i].decided == (fabs(distance) > 0x1p-40),
                          "%a from the edge of token %u: %s", distance, tokens[i / UNITS],
                          got[i].decided ? "decided" : "left open");
            if (got[i].decided)
                ck_assert_uint_eq(got[i].token, tokens[i / UNITS] - (distance < 0.0));
        }
    }
}

/* Weights that are lost beside a sum of 1, one at a time, and are not when they are added up among
 * themselves: such sums differ as much as any. */
static void check_lost_weights(rad_cuda_device *device)
{
    enum { N = 40000, N_ROWS = 64 };
    static float logits[N];
    static double weights[N];
    rad_cuda_draw draws[N_ROWS];
    rad_cuda_drawn got[N_ROWS];
    for (uint32_t i = 0; i < N; i++)
        logits[i] = i == 0 ? 0.0f : i == N / 2 ? -15.0f : -37.0f;
    for (uint32_t row = 0; row < N_ROWS; row++) /* around 1 - e^-15 and 1 */
        draws[row] =
            (rad_cuda_draw){1.0 - (row % 2 ? exp(-15.0) : 0.0) +
                                (row % 4 < 2 ? -1.0 : 1.0) * ldexp(1.0, -12 - (int)row / 2),
                            1.0};
    for (uint32_t row = 0; row < N_ROWS; row++)
        draws[row].unit = draws[row].unit < 1.0 ? draws[row].unit : 0x1.fffffffffffffp-1;
    launch(device, &(drawing){logits, 0, N, 40, N_ROWS, draws}, NULL, got);
    double all = rad_exponentials(rad_vector_level(), logits, 0.0, 1.0, N, weights, 0.0);
    uint32_t n_open = 0;
    for (uint32_t row = 0; row < N_ROWS; row++) {
        double target = draws[row].unit * all, sum = weights[0];
        uint32_t token = 0;
        while (token + 1 < N && !(sum > target))
            sum += weights[++token];
        ck_assert_msg(got[row].decided == 0 || got[row].token == token, "at %a: token %u, not %u",
                      draws[row].unit, got[row].token, token);
        n_open += got[row].decided == 0;
    }
    ck_assert_msg(n_open > N_ROWS / 4 && n_open < N_ROWS, "%u of %d left open", n_open, N_ROWS);
}

START_TEST(what_is_too_close_is_left_open)
{
    IN_EACH_ORDER(check_boundaries(device); check_lost_weights(device))
}
END_TEST

/* Rows that are not to be drawn, and those with logits that are no numbers. */
static void check_others(rad_cuda_device *device)
{
    enum { N = 2500, KINDS = 7 };
    float *logits = malloc((size_t)KINDS * N * sizeof *logits);
    rad_cuda_draw draws[KINDS];
    rad_cuda_drawn got[KINDS];
    rad_test_floats(4, logits, (size_t)KINDS * N);
    for (uint32_t row = 0; row < KINDS; row++)
        draws[row] = (rad_cuda_draw){rad_random_unit(5, 0, row), row == 1 ? 0.0 : 0.9f};
    logits[2 * N + 1700] = NAN;
    logits[3 * N + 3] = INFINITY;
    for (uint32_t i = 0; i < N; i++) {
        logits[4 * N + i] = -INFINITY;
        logits[5 * N + i] = i == 2499 ? -3e38f : -INFINITY;
    }
    draws[6].unit = 0.0;
    logits[6 * N] = -INFINITY;
    logits[6 * N + 1] = -3e38f; /* of no weight */
    launch(device, &(drawing){logits, N, N, 3, KINDS, draws}, NULL, got);
    for (uint32_t row = 0; row < KINDS; row++)
        ck_assert_uint_eq(got[row].decided, row == 0 || row > 4);
    ck_assert_int_eq((int32_t)got[0].token, choose(logits, N, 0.9f, 5, 0));
    ck_assert_uint_eq(got[5].token, 2499);
    ck_assert_uint_eq(got[6].token, 2);
    free(logits);
}

START_TEST(other_rows_are_passed_over){IN_EACH_ORDER(check_others(device))} END_TEST

    static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "draw");
    tcase_add_test(cases, weights_have_the_bits_of_the_cpu);
    tcase_add_test(cases, tokens_are_those_of_the_sampler);
    tcase_add_test(cases, what_is_too_close_is_left_open);
    tcase_add_test(cases, other_rows_are_passed_over);
}

int main(void)
{
    return rad_test_main("cuda_draw", add_cases);
}
