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
        rad_test_is_result(device, a.x, n_x * sizeof *x);
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

/* ---- of experts --------------------------------------------------------------------------------
 */

/* Three experts, the second of which has no pair; the others' have ranks and types of their own,
 * and the last one's B has rows for another matrix in front. */
enum { EXPERTS = 3, PAIRS = 2, USED = 2, ROWS = 37, COLUMNS = 530, MOST_SLOTS = 46, FIRST_ROW = 5 };
enum { HIDDEN = 24 };

typedef struct expert_pairs {
    rad_cuda_expert_pair of[PAIRS];
    rad_type a_types[PAIRS], b_types[PAIRS];
    uint8_t *data;
    size_t bytes;
} expert_pairs;

static size_t add_matrix(expert_pairs *p, rad_type type, uint64_t seed, size_t n)
{
    size_t at = p->bytes, bytes = n * (type == RAD_TYPE_F32 ? 4 : 2);
    uint8_t *matrix = make_matrix(type, seed, n);
    p->data = realloc(p->data, at + bytes + 4);
    ck_assert_ptr_nonnull(p->data);
    memcpy(p->data + at, matrix, bytes);
    p->bytes = (at + bytes + 3) / 4 * 4;
    free(matrix);
    return at;
}

static expert_pairs make_pairs(uint32_t first_type)
{
    static const uint32_t kinds[] = {RAD_CUDA_ADAPT_F32, RAD_CUDA_ADAPT_F16, RAD_CUDA_ADAPT_BF16};
    static const uint32_t ranks[PAIRS] = {6, 19}, b_rows[PAIRS] = {ROWS, FIRST_ROW + ROWS};
    expert_pairs p = {.data = NULL};
    for (uint32_t i = 0; i < PAIRS; i++) {
        uint32_t a = (first_type + i) % 3, b = (a + 1) % 3;
        p.a_types[i] = all[a].type;
        p.b_types[i] = all[b].type;
        p.of[i] = (rad_cuda_expert_pair){
            .a = add_matrix(&p, p.a_types[i], 10 + i, (size_t)ranks[i] * COLUMNS),
            .b = add_matrix(&p, p.b_types[i], 20 + i, (size_t)ranks[i] * b_rows[i]),
            .scale = 0.3 + i,
            .rank = ranks[i],
            .b_rows = b_rows[i],
            .a_type = kinds[a],
            .b_type = kinds[b]};
    }
    return p;
}

/* Where a run's slots stand, and what they are of. */
typedef struct slots {
    uint32_t n, first_token, n_tokens;
    uint32_t experts[MOST_SLOTS], token_of[MOST_SLOTS];
    bool by_expert, by_slot;
} slots;

/* By token, or by expert; the first and the last token are none of the run's. */
static slots make_slots(uint32_t n, bool by_expert, bool by_slot)
{
    slots s = {n, 1, n / USED - 2, {0}, {0}, by_expert, by_slot};
    uint32_t at = 0;
    for (uint32_t e = 0; e < (by_expert ? EXPERTS : 1u); e++)
        for (uint32_t i = 0; i < n; i++) {
            uint32_t token = i / USED, expert = (token / 3 + i % USED) % EXPERTS;
            if (by_expert && expert != e)
                continue;
            s.experts[at] = expert;
            s.token_of[at++] = token;
        }
    ck_assert_uint_eq(at, n);
    return s;
}

/* What a slot's output becomes. */
static void adapt_on_cpu(const expert_pairs *p, const slots *s, uint32_t slot, const float *x,
                         float scale, float number, float *y)
{
    static const uint32_t places[EXPERTS] = {0, UINT32_MAX, 1};
    uint32_t place = places[s->experts[slot]];
    if (place == UINT32_MAX || s->token_of[slot] - s->first_token >= s->n_tokens)
        return;
    const rad_cuda_expert_pair *pair = &p->of[place];
    float hidden[HIDDEN + GAP], sums[FIRST_ROW + ROWS];
    const float *row = x + (size_t)(s->by_slot ? slot : s->token_of[slot]) * COLUMNS;
    uint32_t first = pair->b_rows > ROWS ? FIRST_ROW : 0;
    float factor = (float)(pair->scale * (double)scale * (double)number);
    compute_on_cpu(p->a_types[place], p->data + pair->a, (shape){pair->rank, COLUMNS, 1}, row,
                   hidden);
    compute_on_cpu(p->b_types[place], p->data + pair->b, (shape){pair->b_rows, pair->rank, 1},
                   hidden, sums);
    for (uint32_t r = 0; r < ROWS; r++)
        y[r] = fmaf(factor, sums[first + r], y[r]);
}

static void check_experts(const slots *s, uint32_t slots_per_block)
{
    static const uint32_t places[EXPERTS] = {1, 0, 2};
    expert_pairs p = make_pairs(s->n % 3 + slots_per_block % 3);
    size_t n_y = (size_t)s->n * ROWS, n_x = (size_t)(s->by_slot ? s->n : s->n / USED) * COLUMNS;
    float *x = make(n_x, sizeof *x), *y = make(n_y, sizeof *y), *got = make(n_y, sizeof *got);
    rad_test_floats(s->n, x, n_x);
    rad_test_floats(s->n + 1, y, n_y);
    float *wanted = make(n_y, sizeof *wanted);
    memcpy(wanted, y, n_y * sizeof *y);
    for (uint32_t i = 0; i < s->n; i++)
        adapt_on_cpu(&p, s, i, x, -0.7f, 0.9f, wanted + (size_t)i * ROWS);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        uint32_t blocks = (s->n + slots_per_block - 1) / slots_per_block;
        rad_cuda_adapt_experts_arguments a = {
            .data = rad_test_upload(device, p.data, p.bytes),
            .pairs = rad_test_upload(device, p.of, sizeof p.of),
            .places = rad_test_upload(device, places, sizeof places),
            .experts = rad_test_upload(device, s->experts, s->n * sizeof *s->experts),
            .token_of = s->by_expert
                            ? rad_test_upload(device, s->token_of, s->n * sizeof *s->token_of)
                            : NULL,
            .x = rad_test_upload(device, x, n_x * sizeof *x),
            .hidden = rad_test_upload(device, NULL, (uint64_t)s->n * HIDDEN * sizeof(float)),
            .y = rad_test_upload(device, y, n_y * sizeof *y),
            .by_slot = s->by_slot,
            .n_used = USED,
            .n_slots = s->n,
            .slots_per_block = slots_per_block,
            .first_token = s->first_token,
            .n_tokens = s->n_tokens,
            .n_columns = COLUMNS,
            .n_rows = ROWS,
            .hidden_stride = HIDDEN,
            .first_row = FIRST_ROW,
            .scale = -0.7f,
            .number = 0.9f};
        rad_test_launch(device, &rad_cuda_kernel_adapt_experts_down, HIDDEN / RAD_CUDA_ADAPT_A_ROWS,
                        blocks, 1, 0, &a);
        rad_test_launch(device, &rad_cuda_kernel_adapt_experts_up,
                        (ROWS + RAD_CUDA_ADAPT_B_ROWS - 1) / RAD_CUDA_ADAPT_B_ROWS, blocks, 1, 0,
                        &a);
        rad_test_download(device, got, a.y, n_y * sizeof *got);
        rad_test_device_close(device);
        rad_test_same_floats(got, wanted, n_y, "experts");
    }
    free(p.data);
    free(x);
    free(y);
    free(got);
    free(wanted);
}

START_TEST(adapts_experts_as_the_cpu)
{
    slots few = make_slots(6, _i / 2, _i % 2), many = make_slots(MOST_SLOTS, _i / 2, _i % 2);
    check_experts(&few, 1);
    check_experts(&many, 1);
    check_experts(&many, RAD_CUDA_ADAPT_TOKENS);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "adapt");
    tcase_add_loop_test(cases, adapts_as_the_cpu, 0, sizeof all / sizeof *all);
    tcase_add_loop_test(cases, adapts_experts_as_the_cpu, 0, 4);
}

int main(void)
{
    return rad_test_main("cuda_adapt", add_cases);
}
