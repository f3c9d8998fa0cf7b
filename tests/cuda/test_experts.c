/* Routing, sorting by expert, adding up; and the greedy choice of a token: against the CPU. */
#include "cuda/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric.h"
#include "base/numeric_f32.h"
#include "kernels/cpu/layer.h"
#include "kernels/cuda/kernels_layer.h"
#include "kernels/route.h"

#define IN_EACH_ORDER(call)                                                                        \
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {                                   \
        rad_cuda_device *device = rad_test_device(order);                                          \
        call;                                                                                      \
        rad_test_device_close(device);                                                             \
    }

enum { ROWS = 5 };

/* ---- routing --------------------------------------------------------------------------------- */

/* Few different values, so that there are ties; NaN and infinities in some rows. */
static void make_logits(uint64_t seed, float *logits, uint32_t n)
{
    rad_test_floats(seed, logits, (size_t)ROWS * n);
    for (uint32_t i = 0; i < ROWS * n; i++)
        logits[i] = floorf(logits[i] * (seed % 2 ? 5.0f : 1000.0f)) / 3.0f;
    for (uint32_t i = 0; i < n; i++)
        logits[3 * n + i] = i % 3 == 0 ? INFINITY : i % 3 == 1 ? -INFINITY : 0.0f;
    logits[4 * n + n / 2] = NAN;
}

static void check_route(rad_cuda_device *device, const rad_router *router, bool biased,
                        uint64_t seed)
{
    uint32_t n = router->n_experts, k = router->n_used;
    float *logits = calloc((size_t)ROWS * n, 4), *bias = calloc(n, 4);
    uint32_t *wanted = calloc((size_t)ROWS * 2 * k, 4), *got = calloc((size_t)ROWS * 2 * k, 4);
    make_logits(seed, logits, n);
    rad_test_floats(seed + 1, bias, n);
    rad_cuda_route_arguments a = {.logits = rad_test_upload(device, logits, (uint64_t)ROWS * n * 4),
                                  .bias = biased ? rad_test_upload(device, bias, n * 4) : NULL,
                                  .routes =
                                      rad_test_upload(device, NULL, (uint64_t)ROWS * 2 * k * 4),
                                  .n_experts = n,
                                  .n_used = k,
                                  .n_groups = router->n_groups,
                                  .n_groups_used = router->n_groups_used,
                                  .group_best = router->group_best,
                                  .gating = router->gating,
                                  .normalise = router->normalise,
                                  .scale = router->scale,
                                  .n_rows = ROWS};
    rad_test_launch(device, &rad_cuda_kernel_route, 3, 1, 1, rad_cuda_route_shared(n, k), &a);
    rad_test_download(device, got, a.routes, (uint64_t)ROWS * 2 * k * 4);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t *experts = wanted + (size_t)row * 2 * k, *found = got + (size_t)row * 2 * k;
        rad_route(router, logits + (size_t)row * n, biased ? bias : NULL, experts,
                  (float *)(void *)(experts + k));
        ck_assert_msg(memcmp(experts, found, k * 4) == 0, "row %u goes to other experts", row);
        rad_test_same_floats((float *)(void *)(found + k), (float *)(void *)(experts + k), k,
                             "weights");
    }
    free(logits);
    free(bias);
    free(wanted);
    free(got);
}

static void check_routes(rad_cuda_device *device)
{
    static const rad_router routers[] = {{8, 2, 1, 1, 1, RAD_GATING_CHOSEN, false, 1.0f},
                                         {8, 2, 1, 1, 1, RAD_GATING_SOFTMAX, true, 1.0f},
                                         {60, 4, 1, 1, 1, RAD_GATING_SOFTMAX, false, 1.0f},
                                         {64, 6, 1, 1, 1, RAD_GATING_SOFTMAX, true, 16.0f},
                                         {256, 8, 8, 4, 2, RAD_GATING_SIGMOID, true, 2.5f},
                                         {160, 6, 8, 3, 1, RAD_GATING_SOFTMAX, false, 16.0f},
                                         {33, 33, 1, 1, 1, RAD_GATING_SIGMOID, false, 1.0f},
                                         {40, 3, 40, 7, 3, RAD_GATING_CHOSEN, true, 0.5f},
                                         {1, 1, 1, 1, 1, RAD_GATING_CHOSEN, false, 1.0f}};
    for (uint64_t i = 0; i < sizeof routers / sizeof *routers; i++)
        for (int biased = 0; biased < 2; biased++)
            check_route(device, &routers[i], biased != 0, i);
}

START_TEST(routing){IN_EACH_ORDER(check_routes(device))} END_TEST

    /* ---- sorting and adding up
       ------------------------------------------------------------------- */

    static void check_group(rad_cuda_device *device, uint32_t n_experts, uint32_t n_used,
                            uint32_t n_rows, uint32_t tile_rows)
{
    uint32_t n = n_rows * n_used, n_tiles = n / tile_rows + n_experts, total = 0;
    uint32_t *routes = calloc((size_t)n * 2, 4), *out = calloc(3 * (size_t)n + 2, 4);
    uint32_t *starts = calloc(n_experts + 1, 4), *tiles = calloc(2 * (size_t)n_tiles + 1, 4);
    uint64_t *counts = calloc(n_experts, 8);
    uint8_t *random = calloc(n, 1);
    rad_test_bytes(n, random, n);
    for (uint32_t i = 0; i < n; i++) {
        counts[i % n_experts] = 1000; /* they go on from what was */
        routes[i / n_used * 2 * n_used + i % n_used] = random[i] * random[i] / 256u % n_experts;
    }
    rad_cuda_group_arguments a = {.routes = rad_test_upload(device, routes, (uint64_t)n * 8),
                                  .starts = rad_test_upload(device, NULL, (n_experts + 1) * 4),
                                  .token_of = rad_test_upload(device, NULL, (uint64_t)n * 4),
                                  .row_of = rad_test_upload(device, NULL, (uint64_t)n * 4),
                                  .expert_of = rad_test_upload(device, NULL, (uint64_t)n * 4),
                                  .tile_expert = rad_test_upload(device, NULL, n_tiles * 4),
                                  .tile_first = rad_test_upload(device, NULL, n_tiles * 4),
                                  .n_tiles = rad_test_upload(device, NULL, 4),
                                  .counts = rad_test_upload(device, counts, n_experts * 8),
                                  .n_experts = n_experts,
                                  .n_used = n_used,
                                  .n_rows = n_rows,
                                  .tile_rows = tile_rows};
    rad_test_launch(device, &rad_cuda_kernel_group, n_experts, 1, 1, 4 * n_experts, &a);
    rad_test_download(device, starts, a.starts, (n_experts + 1) * 4);
    rad_test_download(device, out, a.token_of, (uint64_t)n * 4);
    rad_test_download(device, out + n, a.row_of, (uint64_t)n * 4);
    rad_test_download(device, out + 2 * n, a.expert_of, (uint64_t)n * 4);
    rad_test_download(device, tiles + 2 * n_tiles, a.n_tiles, 4);
    uint32_t found_tiles = tiles[2 * n_tiles];
    ck_assert_uint_le(found_tiles, n_tiles);
    rad_test_download(device, tiles, a.tile_expert, found_tiles * 4);
    rad_test_download(device, tiles + n_tiles, a.tile_first, found_tiles * 4);
    rad_test_download(device, counts, a.counts, n_experts * 8);
    uint32_t row = 0;
    for (uint32_t e = 0; e < n_experts; e++) {
        uint32_t first = row;
        ck_assert_uint_eq(starts[e], row);
        for (uint32_t i = 0; i < n; i++) {
            if (routes[i / n_used * 2 * n_used + i % n_used] != e)
                continue;
            ck_assert_msg(out[row] == i / n_used && out[n + i] == row && out[2 * n + row] == e,
                          "choice %u of expert %u is not row %u", i, e, row);
            row++;
        }
        for (uint32_t at = first; at < row; at += tile_rows, total++)
            ck_assert_msg(tiles[total] == e && tiles[n_tiles + total] == at, "tile %u", total);
        ck_assert_uint_eq(counts[e], (e < n ? 1000 : 0) + row - first);
    }
    ck_assert_uint_eq(starts[n_experts], n);
    ck_assert_uint_eq(found_tiles, total);
    free(routes);
    free(out);
    free(starts);
    free(tiles);
    free(counts);
    free(random);
}

START_TEST(sorting)
{
    IN_EACH_ORDER(check_group(device, 8, 2, 1, 16); check_group(device, 60, 4, 37, 16);
                  check_group(device, 300, 3, 200, 64); check_group(device, 1, 1, 3, 2);
                  check_group(device, 4, 1, 1, 16))
}
END_TEST

static void check_combine(rad_cuda_device *device, uint32_t n, uint32_t n_used)
{
    size_t choices = (size_t)ROWS * n_used;
    float *in = calloc(choices * n, 4), *wanted = calloc((size_t)ROWS * n, 4),
          *got = calloc(ROWS * n, 4);
    uint32_t *row_of = calloc(choices, 4), *routes = calloc(2 * choices, 4);
    rad_test_floats(n, in, choices * n);
    for (uint32_t row = 0; row < ROWS; row++) {
        float *weights = (float *)(void *)(routes + (size_t)row * 2 * n_used + n_used);
        rad_test_floats(row, weights, n_used);
        for (uint32_t k = 0; k < n_used; k++) {
            uint32_t from = row_of[row * n_used + k] = (uint32_t)((row * 7 + k * 3) % choices);
            if (k == 0)
                rad_layer_kernels_scalar.scale(in + (size_t)from * n, weights[0], n,
                                               wanted + (size_t)row * n);
            else
                rad_layer_kernels_scalar.add_scaled(in + (size_t)from * n, weights[k], n,
                                                    wanted + (size_t)row * n);
        }
    }
    rad_cuda_combine_arguments a = {.in = rad_test_upload(device, in, choices * n * 4),
                                    .row_of = rad_test_upload(device, row_of, choices * 4),
                                    .routes = rad_test_upload(device, routes, 2 * choices * 4),
                                    .out = rad_test_upload(device, NULL, (uint64_t)ROWS * n * 4),
                                    .n = n,
                                    .n_used = n_used,
                                    .n_rows = ROWS};
    rad_test_launch(device, &rad_cuda_kernel_combine, (n + 1023) / 1024, 2, 1, 0, &a);
    rad_test_download(device, got, a.out, (uint64_t)ROWS * n * 4);
    rad_test_same_floats(got, wanted, (size_t)ROWS * n, "combine");
    free(in);
    free(wanted);
    free(got);
    free(row_of);
    free(routes);
}

START_TEST(adding_up)
{
    IN_EACH_ORDER(check_combine(device, 1, 1); check_combine(device, 1030, 3))
}
END_TEST

/* ---- the greatest ---------------------------------------------------------------------------- */

static void check_greatest(rad_cuda_device *device, uint32_t n, uint32_t n_parts)
{
    enum { KINDS = 6 };
    uint64_t stride = n + 3;
    float *logits = calloc(KINDS * stride, 4);
    rad_cuda_greatest got[KINDS];
    rad_test_floats(n, logits, KINDS * stride);
    for (uint32_t i = 0; i < n; i++) {
        logits[stride + i] = (float)(i * 31 % 7); /* ties */
        logits[2 * stride + i] = i == n - 1 ? -9.0f : -INFINITY;
        logits[3 * stride + i] = -INFINITY;
        logits[n] = INFINITY; /* between the rows: not looked at */
    }
    logits[4 * stride + n / 2] = NAN;
    logits[5 * stride + n / 3] = INFINITY;
    rad_cuda_greatest_arguments a = {
        .logits = rad_test_upload(device, logits, KINDS * stride * 4),
        .parts = rad_test_upload(device, NULL, (uint64_t)KINDS * n_parts * sizeof *got),
        .out = rad_test_upload(device, NULL, sizeof got),
        .stride = stride,
        .n = n,
        .n_parts = n_parts,
        .n_rows = KINDS};
    rad_test_launch(device, &rad_cuda_kernel_greatest_parts, n_parts, 4, 1, 0, &a);
    rad_test_launch(device, &rad_cuda_kernel_greatest, 4, 1, 1, 0, &a);
    rad_test_download(device, got, a.out, sizeof got);
    for (uint32_t row = 0; row < KINDS; row++) {
        const float *x = logits + row * stride;
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++)
            if (x[i] > -INFINITY && (best == UINT32_MAX || x[i] > x[best]))
                best = i;
        ck_assert_uint_eq(got[row].failed, row >= 3);
        if (row < 3)
            ck_assert_msg(got[row].token == best && got[row].value == x[best],
                          "row %u of %u logits: token %u, not %u", row, n, got[row].token, best);
    }
    free(logits);
}

START_TEST(greedy_choice)
{
    IN_EACH_ORDER(check_greatest(device, 1, 1); check_greatest(device, 33, 40);
                  check_greatest(device, 5003, 7); check_greatest(device, 1000, 1))
}
END_TEST

/* ---- the best ones -----------------------------------------------------------------------------
 */

static uint32_t rank_of(const float *x, uint32_t n, uint32_t token)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < n; i++)
        rank += x[i] > x[token] || (x[i] == x[token] && i < token);
    return rank;
}

static void check_mass(const rad_cuda_candidates *got, const float *x, uint32_t n)
{
    double mass = 0.0;
    float greatest = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        greatest = x[i] > greatest ? x[i] : greatest;
    for (uint32_t i = 0; i < n; i++)
        mass += rad_exp((double)x[i] - (double)greatest);
    ck_assert_msg(fabs(got->mass - mass) <= 5e-7 * mass, "mass %.9g, wanted %.9g", got->mass, mass);
}

/* most: none, where logits are too far apart. */
static void check_row(const rad_cuda_candidates *got, const float *x, uint32_t n, uint32_t most)
{
    uint32_t finite = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        finite += x[i] > -INFINITY;
    uint32_t kept = finite < most ? finite : most;
    ck_assert_uint_eq(got->n, kept);
    ck_assert_uint_eq(got->all, kept == finite);
    for (uint32_t i = 0; i < n; i++) {
        if (!(x[i] > -INFINITY) || rank_of(x, n, i) >= kept)
            continue;
        ck_assert_uint_eq(got->list[at].token, i);
        ck_assert_msg(got->list[at].logit == x[i], "token %u: %g", i, (double)got->list[at].logit);
        at++;
    }
    ck_assert_uint_eq(at, kept);
}

/* Twice: what the first leaves behind is as it was. */
static void check_candidates(rad_cuda_device *device, uint32_t n, uint32_t n_parts)
{
    enum { KINDS = 10 };
    uint64_t stride = n + 3;
    float *logits = calloc(KINDS * stride, 4);
    rad_cuda_candidates *got = calloc(KINDS, sizeof *got);
    uint32_t *zeros = calloc(KINDS, RAD_CUDA_CANDIDATE_BUCKETS * 4);
    rad_test_floats(n, logits, KINDS * stride);
    for (uint32_t i = 0; i < n; i++) {
        logits[i] *= 20.0f;
        logits[stride + i] = (float)(i * 31 % 7) - 3.0f; /* ties, of more than there is room for */
        logits[2 * stride + i] = i == n - 1 ? -9.0f : -INFINITY;
        logits[3 * stride + i] = -INFINITY;
        logits[6 * stride + i] *= 3e38f;
        logits[7 * stride + i] = i % 9 == 0 ? -0.0f : i % 9 == 1 ? 0.0f : -1e-3f * (float)i;
        logits[8 * stride + i] = 2.5f;
        logits[9 * stride + i] = -(float)i / 16.0f; /* each in a bucket of its own */
        logits[n] = INFINITY;                       /* between the rows: not looked at */
    }
    logits[4 * stride + n / 2] = NAN;
    logits[5 * stride + n / 3] = INFINITY;
    rad_cuda_greatest_arguments g = {
        .logits = rad_test_upload(device, logits, KINDS * stride * 4),
        .parts = rad_test_upload(device, NULL, (uint64_t)KINDS * n_parts * sizeof *g.parts),
        .out = rad_test_upload(device, NULL, KINDS * sizeof *g.out),
        .stride = stride,
        .n = n,
        .n_parts = n_parts,
        .n_rows = KINDS};
    rad_cuda_candidates_arguments a = {
        .logits = g.logits,
        .parts = g.parts,
        .counts = rad_test_upload(device, zeros, KINDS * RAD_CUDA_CANDIDATE_BUCKETS * 4),
        .masses = rad_test_upload(device, NULL, (uint64_t)KINDS * n_parts * 8),
        .n_keys = rad_test_upload(device, zeros, KINDS * 4),
        .keys = rad_test_upload(device, NULL, (uint64_t)KINDS * RAD_CUDA_CANDIDATE_ROOM * 8),
        .out = rad_test_upload(device, NULL, KINDS * sizeof *got),
        .stride = stride,
        .n = n,
        .n_parts = n_parts,
        .n_rows = KINDS};
    rad_test_launch(device, &rad_cuda_kernel_greatest_parts, n_parts, 4, 1, 0, &g);
    rad_test_launch(device, &rad_cuda_kernel_greatest, 4, 1, 1, 0, &g);
    for (int round = 0; round < 2; round++) {
        rad_test_launch(device, &rad_cuda_kernel_candidate_counts, n_parts, 3, 1, 0, &a);
        rad_test_launch(device, &rad_cuda_kernel_candidate_keys, n_parts, 3, 1, 0, &a);
        rad_test_launch(device, &rad_cuda_kernel_candidates, round == 0 ? 3 : 1, 1, 1, 0, &a);
        rad_test_download(device, got, a.out, KINDS * sizeof *got);
        for (uint32_t row = 0; row < KINDS; row++) {
            if (row < 3 || row > 5)
                check_mass(&got[row], logits + row * stride, n);
            if ((row >= 3 && row <= 5) || (row == 8 && n > RAD_CUDA_CANDIDATE_ROOM))
                ck_assert_uint_eq(got[row].n, 0); /* no numbers, or too many alike */
            else                                  /* those too far from the greatest are left out */
                check_row(&got[row], logits + row * stride, n,
                          row == 6 ? got[row].n : RAD_CUDA_CANDIDATES);
        }
    }
    free(logits);
    free(got);
    free(zeros);
}

START_TEST(best_tokens)
{
    IN_EACH_ORDER(check_candidates(device, 1, 1); check_candidates(device, 33, 40);
                  check_candidates(device, 5003, 7); check_candidates(device, 1000, 1))
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "experts");
    tcase_add_test(cases, routing);
    tcase_add_test(cases, sorting);
    tcase_add_test(cases, adding_up);
    tcase_add_test(cases, greedy_choice);
    tcase_add_test(cases, best_tokens);
}

int main(void)
{
    return rad_test_main("cuda_experts", add_cases);
}
