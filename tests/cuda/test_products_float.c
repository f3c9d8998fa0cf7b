/* Products with unquantized weights, and with NF4, FP4 and FP8 ones: the bits of the CPU's scalar
 * kernels where the order is the CPU's (dot_*); by matrix instructions near them, and few and many
 * tokens with the same bits (half_*, scaled_*). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/half.h"
#include "base/numeric_f32.h"
#include "cuda/support.h"
#include "kernels/kernels.h"
#include "quant/formats.h"

static void *make(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* n numbers of a type, n a multiple of its block. */
static void make_weights(rad_type type, uint64_t seed, uint8_t *out, size_t n)
{
    size_t block = type == RAD_TYPE_FP8 ? 68 : 36;
    float *values = make(n, sizeof *values);
    rad_test_floats(seed, values, n);
    rad_test_bytes(seed + 1, out, n / 64 * (type == RAD_TYPE_F32 ? 0 : block));
    for (size_t i = 0; i < n; i++) {
        uint16_t half =
            type == RAD_TYPE_F16 ? rad_f32_to_f16(values[i]) : rad_f32_to_bf16(values[i]);
        if (type == RAD_TYPE_F32)
            memcpy(out + 4 * i, &values[i], 4);
        else if (type == RAD_TYPE_F16 || type == RAD_TYPE_BF16)
            memcpy(out + 2 * i, &half, 2);
        else if (i % 64 == 0)
            memcpy(out + i / 64 * block, &values[i], 4); /* the scale */
    }
    free(values);
}

typedef struct shape {
    uint32_t n_rows, n_columns, n_tokens, n_experts;
    bool after; /* scale, bias and sum with what was there */
} shape;

typedef struct product {
    rad_type type;
    shape shape;
    uint64_t expert_bytes;
    uint8_t *weights;
    float *x, *bias, *scales, *add;
    uint32_t *experts; /* of each token */
    float *wanted;
} product;

static product make_product(rad_type type, shape s)
{
    product p = {.type = type, .shape = s};
    uint32_t n_experts = s.n_experts > 0 ? s.n_experts : 1;
    uint64_t seed = 1000u * s.n_rows + 10u * s.n_columns + s.n_tokens;
    size_t n_outputs = (size_t)s.n_tokens * s.n_rows;
    p.expert_bytes = rad_matrix_bytes(type, RAD_LAYOUT_FILE, s.n_rows, s.n_columns);
    p.weights = make(n_experts, p.expert_bytes);
    p.x = make((size_t)s.n_tokens * s.n_columns, sizeof *p.x);
    p.bias = make((size_t)n_experts * s.n_rows, sizeof *p.bias);
    p.scales = make(n_experts, sizeof *p.scales);
    p.add = make(n_outputs, sizeof *p.add);
    p.experts = make(s.n_tokens, sizeof *p.experts);
    p.wanted = make(n_outputs, sizeof *p.wanted);
    make_weights(type, seed, p.weights, (size_t)n_experts * s.n_rows * s.n_columns);
    rad_test_floats(seed + 2, p.x, (size_t)s.n_tokens * s.n_columns);
    rad_test_floats(seed + 3, p.bias, (size_t)n_experts * s.n_rows);
    rad_test_floats(seed + 4, p.scales, n_experts);
    rad_test_floats(seed + 5, p.add, n_outputs);
    for (uint32_t t = 0; t < s.n_tokens; t++)
        p.experts[t] = s.n_experts == 0 ? 0 : t % 5 == 3 ? UINT32_MAX : (t * 7 + 1) % s.n_experts;
    return p;
}

static void free_product(product *p)
{
    free(p->weights);
    free(p->x);
    free(p->bias);
    free(p->scales);
    free(p->add);
    free(p->experts);
    free(p->wanted);
}

/* What the CPU's scalar kernels make of it. */
static void compute_on_cpu(product *p)
{
    const rad_kernels *kernels = rad_kernels_find(RAD_ISA_SCALAR, true);
    const shape *s = &p->shape;
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        float *y = p->wanted + (size_t)t * s->n_rows;
        uint32_t expert = p->experts[t];
        if (expert == UINT32_MAX) {
            memcpy(y, p->add + (size_t)t * s->n_rows, s->n_rows * sizeof *y);
            continue;
        }
        rad_matrix w = {p->type, RAD_LAYOUT_FILE, s->n_rows, s->n_columns,
                        p->weights + expert * p->expert_bytes};
        rad_activations x = {.kind = RAD_ACTIVATION_F32,
                             .n_tokens = 1,
                             .n_columns = s->n_columns,
                             .values = p->x + (size_t)t * s->n_columns};
        void *scratch = aligned_alloc(64, (rad_product_scratch_bytes(&w) + 127) / 64 * 64);
        kernels->product(&w, &x, 0, s->n_rows, 0, 1, y, s->n_rows, scratch);
        free(scratch);
        for (uint32_t r = 0; r < s->n_rows && s->after; r++) {
            y[r] = y[r] * p->scales[expert] + p->bias[(size_t)expert * s->n_rows + r];
            y[r] = p->add[(size_t)t * s->n_rows + r] + y[r];
        }
    }
}

static const rad_cuda_kernel *kernel_of(rad_type type)
{
    switch ((int)type) {
    case RAD_TYPE_F32:
        return &rad_cuda_kernel_dot_f32;
    case RAD_TYPE_F16:
        return &rad_cuda_kernel_dot_f16;
    case RAD_TYPE_BF16:
        return &rad_cuda_kernel_dot_bf16;
    case RAD_TYPE_FP8:
        return &rad_cuda_kernel_dot_fp8;
    default:
        return &rad_cuda_kernel_dot_level4;
    }
}

/* The parts are the whole matrix, and once more its first rows. */
static void check_dot(rad_type type, shape s)
{
    product p = make_product(type, s);
    compute_on_cpu(&p);
    size_t n = (size_t)s.n_tokens * s.n_rows, floats = sizeof(float);
    uint32_t n_experts = s.n_experts > 0 ? s.n_experts : 1, half = (s.n_rows + 1) / 2;
    uint32_t blocks = (s.n_rows + RAD_CUDA_DOT_ROWS - 1) / RAD_CUDA_DOT_ROWS;
    float *got = make(n, floats);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        rad_cuda_dot_arguments a = {
            .x = rad_test_upload(device, p.x, (uint64_t)s.n_tokens * s.n_columns * floats),
            .x_stride = s.n_columns,
            .slots_per_input = 1,
            .n_parts = 1,
            .n_columns = s.n_columns,
            .n_tokens = s.n_tokens};
        a.parts[0] = (rad_cuda_product_part){
            .weights = rad_test_upload(device, p.weights, n_experts * p.expert_bytes),
            .y = rad_test_upload(device, p.add, n * floats),
            .expert_bytes = p.expert_bytes,
            .n_rows = s.n_rows,
            .y_stride = s.n_rows};
        if (s.after) {
            a.parts[0].bias =
                rad_test_upload(device, p.bias, (uint64_t)n_experts * s.n_rows * floats);
            a.parts[0].scales = rad_test_upload(device, p.scales, n_experts * floats);
            a.parts[0].add = a.parts[0].y;
        }
        if (s.n_experts > 0)
            a.experts = rad_test_upload(device, p.experts, s.n_tokens * sizeof *p.experts);
        else if (!s.after) {
            a.n_parts = 2;
            a.parts[1] = a.parts[0];
            a.parts[1].n_rows = half;
            a.parts[1].y_stride = half;
            a.parts[1].first_block = blocks;
            a.parts[1].y = rad_test_upload(device, NULL, (uint64_t)half * s.n_tokens * floats);
            blocks += (half + RAD_CUDA_DOT_ROWS - 1) / RAD_CUDA_DOT_ROWS;
        }
        memcpy(a.levels, type == RAD_TYPE_FP4 ? rad_levels_fp4 : rad_levels_nf4, sizeof a.levels);
        uint32_t groups = (s.n_tokens + RAD_CUDA_DOT_TOKENS - 1) / RAD_CUDA_DOT_TOKENS;
        bool experts = s.n_experts > 0;
        rad_test_launch(device, kernel_of(type), blocks, experts ? 1 : groups,
                        experts ? s.n_tokens : 1, 0, &a);
        rad_test_download(device, got, a.parts[0].y, n * floats);
        rad_test_same_floats(got, p.wanted, n, kernel_of(type)->name);
        for (uint32_t t = 0; t < s.n_tokens && a.n_parts == 2; t++) {
            rad_test_download(device, got, a.parts[1].y + (size_t)t * half, half * floats);
            rad_test_same_floats(got, p.wanted + (size_t)t * s.n_rows, half, "second part");
        }
        rad_test_device_close(device);
    }
    free(got);
    free_product(&p);
}

START_TEST(cpu_order)
{
    static const shape shapes[] = {
        {1, 64, 1, 0, false},   {16, 128, 2, 0, false}, {17, 192, 8, 0, true},
        {40, 320, 9, 0, false}, {33, 64, 17, 0, true},  {18, 128, 6, 3, true},
    };
    static const shape odd[] = {
        {3, 1, 1, 0, false}, {5, 7, 3, 0, true},     {16, 16, 2, 0, false},
        {9, 66, 8, 0, true}, {31, 100, 9, 0, false}, {2, 257, 2, 2, true},
    };
    static const rad_type types[] = {RAD_TYPE_F32, RAD_TYPE_F16, RAD_TYPE_BF16,
                                     RAD_TYPE_FP8, RAD_TYPE_NF4, RAD_TYPE_FP4};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_dot(types[_i], shapes[i]);
    for (size_t i = 0; i < sizeof odd / sizeof *odd && _i < 3; i++)
        check_dot(types[_i], odd[i]);
}
END_TEST

/* ---- 16-bit weights by matrix instructions -----------------------------------------------------
 */

static float rounded(rad_type type, float x)
{
    return type == RAD_TYPE_F16 ? rad_f16_to_f32(rad_f32_to_f16(x))
                                : rad_bf16_to_f32(rad_f32_to_bf16(x));
}

/* Of input that is rounded to 16 bits, in F32; then what comes behind. */
static void compute_rounded(product *p)
{
    for (size_t i = 0; i < (size_t)p->shape.n_tokens * p->shape.n_columns; i++)
        p->x[i] = rounded(p->type, p->x[i]);
    compute_on_cpu(p);
}

typedef struct half_buffers {
    rad_cuda_half_arguments a;
    float *x;
} half_buffers;

static half_buffers upload_half(rad_cuda_device *device, const product *p)
{
    const shape *s = &p->shape;
    uint32_t n_experts = s->n_experts > 0 ? s->n_experts : 1;
    uint64_t inputs = (uint64_t)s->n_tokens * s->n_columns, floats = sizeof(float);
    half_buffers h = {.x = rad_test_upload(device, p->x, inputs * floats)};
    uint16_t *halves =
        rad_test_upload(device, NULL, rad_cuda_halves_bytes(s->n_tokens, s->n_columns));
    h.a = (rad_cuda_half_arguments){.halves = halves,
                                    .slots_per_input = 1,
                                    .n_parts = 1,
                                    .n_columns = s->n_columns,
                                    .n_tokens = s->n_tokens};
    h.a.parts[0] = (rad_cuda_product_part){
        .weights = rad_test_upload(device, p->weights, n_experts * p->expert_bytes),
        .y = rad_test_upload(device, p->add, (uint64_t)s->n_tokens * s->n_rows * floats),
        .expert_bytes = p->expert_bytes,
        .n_rows = s->n_rows,
        .y_stride = s->n_rows};
    if (s->after) {
        h.a.parts[0].bias =
            rad_test_upload(device, p->bias, (uint64_t)n_experts * s->n_rows * floats);
        h.a.parts[0].scales = rad_test_upload(device, p->scales, n_experts * floats);
        h.a.parts[0].add =
            rad_test_upload(device, p->add, (uint64_t)s->n_tokens * s->n_rows * floats);
    }
    if (s->n_experts > 0)
        h.a.experts = rad_test_upload(device, p->experts, s->n_tokens * sizeof *p->experts);
    rad_cuda_half_prepare(p->type, s->n_tokens, &h.a);
    ck_assert_int_eq(
        rad_cuda_half_round(device, p->type, h.x, s->n_columns, s->n_tokens, false, &h.a),
        RADLLM_OK);
    rad_test_is_result(device, halves, rad_cuda_halves_bytes(s->n_tokens, s->n_columns));
    rad_test_is_result(device, h.a.experts, s->n_tokens * sizeof *p->experts);
    return h;
}

/* By a kernel of rad_cuda_half_product_by(), or -1: by rad_cuda_half_product(). False where the
 * device lacks the shared memory. */
static bool multiply_half(rad_cuda_device *device, const product *p, half_buffers h, int kernel,
                          float *got)
{
    const shape *s = &p->shape;
    radllm_status status =
        kernel < 0 ? rad_cuda_half_product(device, p->type, &h.a, s->n_tokens)
                   : rad_cuda_half_product_by(device, p->type, &h.a, s->n_tokens, (uint32_t)kernel);
    if (status == RADLLM_E_UNSUPPORTED)
        return false;
    ck_assert_msg(status == RADLLM_OK, "%s", device->message);
    rad_test_download(device, got, h.a.parts[0].y, (uint64_t)s->n_tokens * s->n_rows * sizeof *got);
    return true;
}

/* A second part: once more the first rows, with nothing behind the product. */
static void add_part(rad_cuda_device *device, half_buffers *h, const shape *s)
{
    uint32_t n_rows = (s->n_rows + 1) / 2;
    h->a.n_parts = 2;
    h->a.parts[1] = (rad_cuda_product_part){
        .weights = h->a.parts[0].weights,
        .y = rad_test_upload(device, NULL, (uint64_t)s->n_tokens * n_rows * sizeof(float)),
        .n_rows = n_rows,
        .y_stride = n_rows};
}

static void check_second_part(rad_cuda_device *device, const half_buffers *h, const shape *s,
                              const float *first)
{
    const rad_cuda_product_part *part = &h->a.parts[1];
    float *got = make(part->n_rows, sizeof *got);
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        rad_test_download(device, got, part->y + (size_t)t * part->n_rows,
                          part->n_rows * sizeof *got);
        rad_test_same_floats(got, first + (size_t)t * s->n_rows, part->n_rows, "second part");
    }
    free(got);
}

/* Near the CPU's sums of the same rounded input; the same bits by all kernels. Shared memory has
 * room for all stages, for three of a tile of 128 x 128, for three of the four of one of 128 x 64,
 * or for small tiles. */
static void check_half(rad_type type, shape s)
{
    product p = make_product(type, s);
    compute_rounded(&p);
    size_t n = (size_t)s.n_tokens * s.n_rows;
    float *wanted = make(n, sizeof *wanted), *got = make(n, sizeof *got);
    uint32_t small = s.n_rows % 2 == 0 ? 99 : s.n_rows % 3 == 0 ? 80 : 64; /* KiB */
    int last = small == 99 ? 5 : small == 80 ? 4 : 3; /* that there is room for */
    ck_assert(rad_cuda_half_fits(type, s.n_columns));
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        half_buffers h = upload_half(device, &p);
        if (order > 0)
            device->properties.shared_bytes = small * 1024;
        if (s.n_experts == 0 && !s.after)
            add_part(device, &h, &s);
        ck_assert(multiply_half(device, &p, h, 0, wanted));
        rad_test_near_floats(wanted, p.wanted, n, 2e-4, "few tokens");
        /* Large tiles take long on the CPU. */
        int n_kernels = s.n_experts > 0 ? -1 : s.n_columns > 1000 ? 5 : RAD_CUDA_HALF_KERNELS;
        for (int kernel = -1; kernel < n_kernels; kernel++) {
            h.a.parts[0].y = rad_test_upload(device, NULL, n * sizeof *got);
            if (!multiply_half(device, &p, h, kernel, got)) {
                ck_assert_int_gt(kernel, order == 0 ? RAD_CUDA_HALF_KERNELS : last);
                continue;
            }
            rad_test_same_floats(got, wanted, n, "another kernel");
            if (h.a.n_parts == 2)
                check_second_part(device, &h, &s, wanted);
        }
        rad_test_device_close(device);
    }
    free(wanted);
    free(got);
    free_product(&p);
}

/* ---- weights with scales ------------------------------------------------------------------------
 */

static const rad_type scaled_types[] = {RAD_TYPE_FP8, RAD_TYPE_NF4, RAD_TYPE_FP4};

/* Root of the relative squared error. */
static double error_of(const float *got, const float *wanted, size_t n)
{
    double error = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)got[i] - (double)wanted[i];
        error += difference * difference;
        all += (double)wanted[i] * (double)wanted[i];
    }
    return all > 0 ? sqrt(error / all) : error;
}

/* Rows whose numbers are all large or small, and some that stand far above the others of a row. */
static void spread_inputs(product *p)
{
    static const float times[] = {1.0f, 0x1p100f, 0x1p-90f, 4096.0f, 0x1p-20f};
    const shape *s = &p->shape;
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        float *x = p->x + (size_t)t * s->n_columns;
        for (uint32_t i = 0; i < s->n_columns; i++)
            x[i] *= times[t % 5];
        if (t % 2 == 1) /* the last one, or one of the last warp's */
            x[t % 4 == 1 || s->n_columns < 256 ? s->n_columns - 1 : 250] *= 1000.0f;
    }
}

/* Near the CPU's sums of the input as it is; the same bits by all kernels. Shared memory has room
 * for all, or for the small tile. */
static void check_scaled(rad_type type, shape s)
{
    product p = make_product(type, s);
    if (!s.after)
        spread_inputs(&p);
    compute_on_cpu(&p);
    size_t n = (size_t)s.n_tokens * s.n_rows;
    float *wanted = make(n, sizeof *wanted), *got = make(n, sizeof *got);
    ck_assert(rad_cuda_half_fits(type, s.n_columns));
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        half_buffers h = upload_half(device, &p);
        if (order > 0)
            device->properties.shared_bytes = 64 * 1024;
        if (s.n_experts == 0 && !s.after)
            add_part(device, &h, &s);
        ck_assert(multiply_half(device, &p, h, 0, wanted));
        for (uint32_t t = 0; t < s.n_tokens; t++) {
            const size_t at = (size_t)t * s.n_rows;
            double error = error_of(wanted + at, p.wanted + at, s.n_rows);
            ck_assert_msg(error < 1e-3, "token %u is off by %g", t, error);
        }
        for (int kernel = -1; kernel < (s.n_experts > 0 ? -1 : RAD_CUDA_SCALED_KERNELS); kernel++) {
            h.a.parts[0].y = rad_test_upload(device, NULL, n * sizeof *got);
            if (!multiply_half(device, &p, h, kernel, got)) {
                ck_assert(order > 0 && kernel == RAD_CUDA_SCALED_KERNELS - 1);
                continue;
            }
            rad_test_same_floats(got, wanted, n, "another kernel");
            if (h.a.n_parts == 2)
                check_second_part(device, &h, &s, wanted);
        }
        rad_test_device_close(device);
    }
    free(wanted);
    free(got);
    free_product(&p);
}

START_TEST(scales_and_matrix_instructions)
{
    static const shape shapes[] = {
        {1, 64, 1, 0, false},  {16, 128, 8, 0, true},    {17, 192, 9, 0, false},
        {33, 320, 3, 0, true}, {130, 64, 33, 0, true},   {5, 448, 131, 0, false},
        {40, 192, 6, 3, true}, {18, 2176, 10, 0, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_scaled(scaled_types[_i], shapes[i]);
}
END_TEST

/* A token's bits are the same at any place among others. */
START_TEST(scaled_tokens_are_alone)
{
    const shape s = {35, 384, 70, 0, false};
    const rad_type type = scaled_types[_i];
    product p = make_product(type, s);
    float *all = make((size_t)s.n_tokens * s.n_rows, sizeof *all), *x = p.x;
    float *one = make(s.n_rows, sizeof *one);
    rad_cuda_device *device = rad_test_device(0);
    ck_assert(multiply_half(device, &p, upload_half(device, &p), -1, all));
    for (uint32_t t = 0; t < s.n_tokens; t += 23) {
        p.shape.n_tokens = 1;
        p.x = x + (size_t)t * s.n_columns;
        ck_assert(multiply_half(device, &p, upload_half(device, &p), -1, one));
        rad_test_same_floats(one, all + (size_t)t * s.n_rows, s.n_rows, "a token alone");
    }
    rad_test_device_close(device);
    p.x = x;
    free(all);
    free(one);
    free_product(&p);
}
END_TEST

/* A row with a number that is none, or none that is finite, has no result; one of zeros has zeros;
 * the others are as they are. */
START_TEST(scaled_rows_that_are_not_finite)
{
    const shape s = {20, 128, 4, 0, false};
    product p = make_product(scaled_types[_i], s);
    float got[80], plain[80];
    rad_cuda_device *device = rad_test_device(0);
    ck_assert(multiply_half(device, &p, upload_half(device, &p), -1, plain));
    p.x[7] = rad_float_of_bits(0x7fc00000);
    p.x[128 + 100] = rad_float_of_bits(0xff800000);
    memset(p.x + 256, 0, 128 * sizeof *p.x);
    ck_assert(multiply_half(device, &p, upload_half(device, &p), -1, got));
    for (int i = 0; i < 40; i++)
        ck_assert_msg(isnan(got[i]), "%d is %g", i, (double)got[i]);
    for (int i = 40; i < 60; i++)
        ck_assert_msg(rad_float_bits(got[i]) << 1 == 0, "%d is %g", i, (double)got[i]);
    rad_test_same_floats(got + 60, plain + 60, 20, "another row");
    rad_test_device_close(device);
    free_product(&p);
}
END_TEST

/* ---- slots by expert ----------------------------------------------------------------------------
 *
 * So many outputs of each, whose inputs stand in another order; the same bits in tiles as slot by
 * slot. */
typedef struct grouping {
    uint32_t starts[8], tile_expert[16], tile_first[16], n_tiles;
    uint32_t expert_of[256], inputs[256], n;
} grouping;

static grouping make_grouping(const uint32_t *counts, uint32_t n_experts, uint32_t n_inputs)
{
    grouping g = {0};
    for (uint32_t e = 0; e < n_experts; e++) {
        for (uint32_t first = 0; first < counts[e]; first += RAD_CUDA_MANY_TOKENS) {
            g.tile_expert[g.n_tiles] = e;
            g.tile_first[g.n_tiles++] = g.n + first;
        }
        for (uint32_t i = 0; i < counts[e]; i++) {
            g.expert_of[g.n + i] = e;
            g.inputs[g.n + i] = (g.n + i) * 5 % n_inputs;
        }
        g.n += counts[e];
        g.starts[e + 1] = g.n;
    }
    return g;
}

static void check_grouped(rad_type type, shape s, const uint32_t *counts, bool has_inputs)
{
    product p = make_product(type, s);
    grouping g = make_grouping(counts, s.n_experts, s.n_tokens);
    size_t bytes = (size_t)g.n * s.n_rows * sizeof(float);
    float *few = make(bytes, 1), *many = make(bytes, 1);
    ck_assert(has_inputs || g.n == s.n_tokens);
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        half_buffers h = upload_half(device, &p);
        h.a.n_tokens = 1;
        h.a.parts[0].add = NULL;
        h.a.parts[0].y = rad_test_upload(device, NULL, bytes);
        h.a.experts = rad_test_upload(device, g.expert_of, sizeof g.expert_of);
        h.a.inputs = has_inputs ? rad_test_upload(device, g.inputs, sizeof g.inputs) : NULL;
        h.a.tile_expert = rad_test_upload(device, g.tile_expert, sizeof g.tile_expert);
        h.a.tile_first = rad_test_upload(device, g.tile_first, sizeof g.tile_first);
        h.a.starts = rad_test_upload(device, g.starts, sizeof g.starts);
        h.a.n_tiles = rad_test_upload(device, &g.n_tiles, sizeof g.n_tiles);
        ck_assert_int_eq(rad_cuda_half_grouped(device, type, &h.a, g.n, 0), RADLLM_OK);
        rad_test_download(device, few, h.a.parts[0].y, bytes);
        h.a.parts[0].y = rad_test_upload(device, NULL, bytes);
        ck_assert_int_eq(rad_cuda_half_grouped(device, type, &h.a, g.n, g.n_tiles + 2), RADLLM_OK);
        rad_test_download(device, many, h.a.parts[0].y, bytes);
        rad_test_same_floats(many, few, (size_t)g.n * s.n_rows, "tiles of experts");
        rad_test_device_close(device);
    }
    free(few);
    free(many);
    free_product(&p);
}

START_TEST(slots_by_expert)
{
    static const uint32_t counts[] = {3, 0, 70, 1, 64}, few[] = {2, 7};
    static const rad_type types[] = {RAD_TYPE_F16, RAD_TYPE_BF16, RAD_TYPE_FP8, RAD_TYPE_NF4};
    const uint32_t columns = _i < 2 ? 32 : 64;
    check_grouped(types[_i], (shape){70, 5 * columns, 11, 5, true}, counts, true);
    check_grouped(types[_i], (shape){9, columns, 9, 2, false}, few, false);
}
END_TEST

START_TEST(matrix_instructions)
{
    static const shape shapes[] = {
        {1, 32, 1, 0, false},   {16, 64, 8, 0, true},     {17, 96, 9, 0, false},
        {33, 544, 3, 0, false}, {130, 96, 33, 0, true},   {5, 544, 131, 0, false},
        {40, 160, 6, 3, true},  {18, 1184, 34, 0, false}, {70, 32, 530, 0, false},
    };
    /* On the CPU, where this takes long, every other one of the second type. */
    size_t step = RAD_TEST_ORDERS > 1 && _i == 1 ? 2 : 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += step)
        check_half(_i == 0 ? RAD_TYPE_F16 : RAD_TYPE_BF16, shapes[i]);
}
END_TEST

/* Rounding to 16 bits: to nearest even, F16 saturates, what is no number stays none. */
START_TEST(rounding)
{
    float x[64], special[] = {1e6f,     -1e6f,   65519.0f, 0x1.002p0f,        0x1.006p0f,
                              0x1p-25f, 3.4e38f, -0.0f,    (float)(0x1.01p0), (float)(0x1.03p0)};
    uint16_t got[64];
    rad_test_floats(7, x, 64);
    memcpy(x, special, sizeof special);
    x[20] = rad_float_of_bits(0x7fc00000);
    x[21] = rad_float_of_bits(0xff800000);
    for (uint32_t way = 0; way < 4; way++) {
        const bool bf16 = way % 2 == 1, in_order = way / 2 == 1;
        rad_cuda_device *device = rad_test_device(0);
        rad_cuda_half_round_arguments a = {.x = rad_test_upload(device, x, sizeof x),
                                           .halves = rad_test_upload(device, NULL, sizeof got),
                                           .x_stride = 32,
                                           .n_columns = 32,
                                           .bf16 = bf16,
                                           .in_order = in_order};
        rad_test_launch(device, &rad_cuda_kernel_half_round, 1, 2, 1, 0, &a);
        rad_test_download(device, got, a.halves, sizeof got);
        for (int i = 0; i < 64; i++) {
            int at = in_order ? i : i / 32 * 32 + i % 8 / 2 * 8 + i / 8 % 4 * 2 + i % 2;
            uint16_t wanted = bf16 ? rad_bf16_saturated(x[i]) : rad_half_saturated(x[i]);
            ck_assert_msg(got[at] == wanted, "%a: %04x, not %04x", (double)x[i], got[at], wanted);
        }
        rad_test_device_close(device);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *half = rad_test_case(suite, "half");
    tcase_add_loop_test(half, matrix_instructions, 0, 2);
    tcase_add_loop_test(half, slots_by_expert, 0, 4);
    tcase_add_test(half, rounding);
    TCase *scaled = rad_test_case(suite, "scaled");
    tcase_add_loop_test(scaled, scales_and_matrix_instructions, 0, 3);
    tcase_add_loop_test(scaled, scaled_tokens_are_alone, 0, 3);
    tcase_add_loop_test(scaled, scaled_rows_that_are_not_finite, 0, 3);
    tcase_add_loop_test(rad_test_case(suite, "dot"), cpu_order, 0, 6);
}

int main(void)
{
    return rad_test_main("cuda_products_float", add_cases);
}
