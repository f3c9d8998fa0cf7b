/* Products with quantized weights, and the quantization of their input: the bits of the CPU's
 * scalar kernels, for every format, numbers of tokens, and shapes that are no multiple of anything
 * but the format's block. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/layout.h"
#include "cuda/support.h"
#include "kernels/cuda/kernels_layer.h"

/* Activations on both sides. */
typedef struct input {
    rad_activations cpu;
    float *values;
    uint8_t *tiles; /* on the device */
    const float *x; /* on the device */
} input;

static void *make(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Numbers with blocks that are extreme: zeros, the smallest, the greatest, halves to round. */
static float *make_values(uint64_t seed, uint32_t n_tokens, uint32_t n)
{
    float *values = make((size_t)n_tokens * n, sizeof *values);
    rad_test_floats(seed, values, (size_t)n_tokens * n);
    for (size_t i = 0; i < (size_t)n_tokens * n; i++) {
        switch (i / 32 % 13) {
        case 3:
            values[i] = 0.0f;
            break;
        case 5:
            values[i] *= 0x1p-101f;
            break;
        case 7:
            values[i] *= 0x1p100f;
            break;
        case 9: /* 127 is the greatest: all others are halves */
            values[i] = i % 32 == 0 ? 127.0f : rintf(values[i] * 100.0f) + 0.5f;
            break;
        default:
            values[i] *= (float)(i % 7);
        }
    }
    return values;
}

static void quantize_on_cpu(rad_activations *x, const float *values)
{
    const rad_kernels *kernels = rad_kernels_find(RAD_ISA_SCALAR, true);
    const uint32_t n = x->n_columns, n_scales = n / rad_activation_block(x->kind, n);
    int8_t *quants = make((size_t)x->n_tokens * n, 1);
    float *scales = make((size_t)x->n_tokens * n_scales, sizeof *scales);
    int16_t *sums = make((size_t)x->n_tokens * n / 16, sizeof *sums);
    for (size_t t = 0; t < x->n_tokens; t++) {
        if (x->kind == RAD_ACTIVATION_Q8_OUTLIERS) {
            rad_quantize_q8_outliers(values + t * n, n, x->threshold, quants + t * n, scales + t);
            continue;
        }
        void (*quantize)(const float *, uint32_t, int8_t *, float *, int16_t *) =
            x->kind == RAD_ACTIVATION_Q8_32    ? kernels->quantize_q8_32
            : x->kind == RAD_ACTIVATION_Q8_64  ? kernels->quantize_q8_64
            : x->kind == RAD_ACTIVATION_Q8_256 ? kernels->quantize_q8_256
                                               : kernels->quantize_q8_row;
        quantize(values + t * n, n, quants + t * n, scales + t * n_scales, sums + t * n / 16);
    }
    x->values = values;
    x->quants = quants;
    x->scales = scales;
    x->sums = sums;
}

/* The tiles that must come out of a CPU's activations. Bytes of columns that are not there: 0. */
static uint8_t *tiles_of(const rad_activations *x)
{
    const uint32_t n = x->n_columns, n_tiles = (n + 255) / 256,
                   block = rad_activation_block(x->kind, n);
    uint8_t *tiles = make((size_t)x->n_tokens * n_tiles, RAD_CUDA_TILE_BYTES);
    for (size_t t = 0; t < x->n_tokens; t++) {
        uint8_t *row = tiles + t * n_tiles * RAD_CUDA_TILE_BYTES;
        for (uint32_t i = 0; i < n; i++)
            row[i / 256 * RAD_CUDA_TILE_BYTES + i % 256] = (uint8_t)x->quants[t * n + i];
        for (uint32_t i = 0; i < n; i += 32)
            memcpy(row + i / 256 * RAD_CUDA_TILE_BYTES + RAD_CUDA_TILE_SCALES + i % 256 / 32 * 4,
                   &x->scales[t * (n / block) + i / block], 4);
        for (uint32_t i = 0; i < n; i++)
            if (x->kind == RAD_ACTIVATION_Q8_OUTLIERS &&
                fabsf(x->values[t * n + i]) >= x->threshold)
                row[i / 256 * RAD_CUDA_TILE_BYTES + RAD_CUDA_TILE_MARKS + i % 256 / 8] |=
                    (uint8_t)(1 << i % 8);
        for (uint32_t i = 0; i < n && x->kind != RAD_ACTIVATION_Q8_OUTLIERS; i += 16)
            memcpy(row + i / 256 * RAD_CUDA_TILE_BYTES + RAD_CUDA_TILE_SUMS + i % 256 / 16 * 2,
                   &x->sums[(t * n + i) / 16], 2);
    }
    return tiles;
}

static void quantize_on_device(rad_cuda_device *device, input *in, const uint32_t *columns,
                               uint32_t n_inputs)
{
    const rad_activations *x = &in->cpu;
    const uint32_t n_tiles = (x->n_columns + 255) / 256;
    const bool outliers = x->kind == RAD_ACTIVATION_Q8_OUTLIERS;
    const bool whole = outliers || x->kind == RAD_ACTIVATION_Q8_ROW;
    const float *values = columns != NULL ? in->values : x->values;
    in->tiles = rad_test_upload(device, NULL, rad_cuda_tiles_bytes(x->n_tokens, x->n_columns));
    rad_cuda_quantize_arguments a = {
        .x = rad_test_upload(device, values, (uint64_t)x->n_tokens * n_inputs * 4),
        .tiles = in->tiles,
        .columns =
            columns != NULL ? rad_test_upload(device, columns, (uint64_t)x->n_columns * 4) : NULL,
        .n_inputs = n_inputs,
        .n_columns = x->n_columns,
        .block = rad_activation_block(x->kind, x->n_columns),
        .threshold = x->threshold};
    in->x = a.x;
    rad_test_launch(device,
                    outliers ? &rad_cuda_kernel_quantize_outliers
                    : whole  ? &rad_cuda_kernel_quantize_row
                             : &rad_cuda_kernel_quantize,
                    whole ? 1 : (n_tiles + 7) / 8, x->n_tokens, 1, 0, &a);
    rad_test_is_result(device, in->tiles, rad_cuda_tiles_bytes(x->n_tokens, x->n_columns));
    rad_test_is_result(device, in->x, (uint64_t)x->n_tokens * n_inputs * 4);
}

static void free_input(input *in)
{
    free((void *)in->cpu.quants);
    free((void *)in->cpu.scales);
    free((void *)in->cpu.sums);
    free(in->values);
}

/* ---- quantization -----------------------------------------------------------------------------
 */

/* Scales of columns that are not there may be what they want. */
static void check_tiles(rad_cuda_device *device, const input *in)
{
    const rad_activations *x = &in->cpu;
    const uint32_t n_tiles = (x->n_columns + 255) / 256;
    const size_t size = rad_cuda_tiles_bytes(x->n_tokens, x->n_columns);
    uint8_t *wanted = tiles_of(x), *got = make(size, 1);
    rad_test_download(device, got, in->tiles, size);
    for (size_t i = 0; i < (size_t)x->n_tokens * n_tiles; i++) {
        const uint32_t columns = x->n_columns - (uint32_t)(i % n_tiles) * 256;
        const uint8_t *g = got + i * RAD_CUDA_TILE_BYTES, *w = wanted + i * RAD_CUDA_TILE_BYTES;
        ck_assert_msg(memcmp(g, w, 256) == 0, "quants of tile %zu", i);
        ck_assert_msg(memcmp(g + RAD_CUDA_TILE_SUMS, w + RAD_CUDA_TILE_SUMS, 32) == 0,
                      "sums of tile %zu", i);
        ck_assert_msg(memcmp(g + RAD_CUDA_TILE_SCALES, w + RAD_CUDA_TILE_SCALES,
                             (columns < 256 ? columns : 256) / 8) == 0,
                      "scales of tile %zu", i);
    }
    free(wanted);
    free(got);
}

static void check_quantize(rad_cuda_device *device, rad_activation_kind kind, uint32_t n_tokens,
                           uint32_t n, float special)
{
    input in = {.cpu = {.kind = kind, .n_tokens = n_tokens, .n_columns = n, .threshold = 3.0f},
                .values = make_values(n, n_tokens, n)};
    in.values[(size_t)n_tokens * n - 1] = special;
    quantize_on_cpu(&in.cpu, in.values);
    quantize_on_device(device, &in, NULL, n);
    check_tiles(device, &in);
    free_input(&in);
}

START_TEST(quantizes)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check_quantize(device, RAD_ACTIVATION_Q8_32, 3, 2400, NAN);
        check_quantize(device, RAD_ACTIVATION_Q8_32, 1, 32, 1.0f);
        check_quantize(device, RAD_ACTIVATION_Q8_64, 2, 2432, NAN);
        check_quantize(device, RAD_ACTIVATION_Q8_256, 2, 2304, INFINITY);
        check_quantize(device, RAD_ACTIVATION_Q8_ROW, 2, 2432, 0.25f);
        check_quantize(device, RAD_ACTIVATION_Q8_ROW, 1, 384, -INFINITY);
        check_quantize(device, RAD_ACTIVATION_Q8_OUTLIERS, 2, 2368, -INFINITY);
        check_quantize(device, RAD_ACTIVATION_Q8_OUTLIERS, 1, 64, NAN);
        rad_test_device_close(device);
    }
}
END_TEST

/* Columns in another order, some of them none; a number of inputs that is odd. */
START_TEST(quantizes_in_order)
{
    enum { INPUTS = 301, COLUMNS = 320 };
    rad_cuda_device *device = rad_test_device(0);
    uint32_t columns[COLUMNS];
    float *ordered = make(2 * COLUMNS, sizeof *ordered);
    input in = {.cpu = {.kind = RAD_ACTIVATION_Q8_32, .n_tokens = 2, .n_columns = COLUMNS},
                .values = make_values(1, 2, INPUTS)};
    for (uint32_t i = 0; i < COLUMNS; i++)
        columns[i] = i % 16 == 15 ? UINT32_MAX : (i * 7) % INPUTS;
    for (uint32_t i = 0; i < 2 * COLUMNS; i++)
        ordered[i] = columns[i % COLUMNS] == UINT32_MAX
                         ? 0.0f
                         : in.values[i / COLUMNS * INPUTS + columns[i % COLUMNS]];
    quantize_on_cpu(&in.cpu, ordered);
    quantize_on_device(device, &in, columns, INPUTS);
    check_tiles(device, &in);
    free_input(&in);
    free(ordered);
    rad_test_device_close(device);
}
END_TEST

/* Slots of experts, each of which has an order of its own: inputs that are named, or of so many
 * slots each. */
START_TEST(quantizes_slots)
{
    enum { INPUTS = 301, COLUMNS = 320, TOKENS = 3, SLOTS = 6 };
    static const uint32_t experts[SLOTS] = {1, 0, 0, 1, 1, 0}, inputs[SLOTS] = {2, 0, 1, 1, 0, 2};
    uint32_t columns[2 * COLUMNS];
    float *ordered = make(SLOTS * COLUMNS, sizeof *ordered);
    float *values = make_values(1, TOKENS, INPUTS);
    for (uint32_t i = 0; i < 2 * COLUMNS; i++)
        columns[i] = i % 16 == 15 ? UINT32_MAX : (i * (i < COLUMNS ? 7 : 11)) % INPUTS;
    for (uint32_t named = 0; named < 2; named++) {
        rad_cuda_device *device = rad_test_device(named);
        input in = {.cpu = {.kind = RAD_ACTIVATION_Q8_32, .n_tokens = SLOTS, .n_columns = COLUMNS}};
        for (uint32_t i = 0; i < SLOTS * COLUMNS; i++) {
            uint32_t slot = i / COLUMNS, token = named ? inputs[slot] : slot / 2;
            uint32_t column = columns[experts[slot] * COLUMNS + i % COLUMNS];
            ordered[i] = column == UINT32_MAX ? 0.0f : values[token * INPUTS + column];
        }
        quantize_on_cpu(&in.cpu, ordered);
        in.tiles = rad_test_upload(device, NULL, rad_cuda_tiles_bytes(SLOTS, COLUMNS));
        rad_cuda_quantize_arguments a = {
            .x = rad_test_upload(device, values, TOKENS * INPUTS * 4),
            .tiles = in.tiles,
            .columns = rad_test_upload(device, columns, sizeof columns),
            .n_inputs = INPUTS,
            .n_columns = COLUMNS,
            .block = 32,
            .experts = rad_test_upload(device, experts, sizeof experts),
            .inputs = named ? rad_test_upload(device, inputs, sizeof inputs) : NULL,
            .slots_per_input = 2};
        rad_test_launch(device, &rad_cuda_kernel_quantize_slots, 1, SLOTS, 1, 0, &a);
        check_tiles(device, &in);
        free_input(&in);
        rad_test_device_close(device);
    }
    free(values);
    free(ordered);
}
END_TEST

/* Norms and gates that quantize their results: as the results quantized behind them. */
static void check_quantized(rad_cuda_device *device, uint32_t n, uint32_t block, bool is_norm)
{
    enum { ROWS = 3 };
    const size_t size = rad_cuda_tiles_bytes(ROWS, n), all = (size_t)ROWS * n;
    float *values = make_values(n, ROWS, n);
    if (is_norm) /* whose squares are no infinity, which makes zeros of all */
        rad_test_floats(n, values, all);
    uint8_t *got = make(size, 1), *wanted = make(size, 1);
    rad_cuda_quantize_arguments q = {.x = rad_test_upload(device, NULL, all * 4),
                                     .tiles = rad_test_upload(device, NULL, size),
                                     .n_inputs = n,
                                     .n_columns = n,
                                     .block = block};
    rad_cuda_norm_arguments norm = {.in = rad_test_upload(device, values, all * 4),
                                    .out = (float *)q.x,
                                    .n = n,
                                    .n_rows = ROWS,
                                    .epsilon = 1e-5f,
                                    .tiles = rad_test_upload(device, NULL, size),
                                    .tile_block = block};
    rad_cuda_elements_arguments gate = {.in = norm.in,
                                        .other = norm.in,
                                        .out = norm.out,
                                        .in_stride = n,
                                        .other_stride = n,
                                        .out_stride = n,
                                        .n = n,
                                        .n_rows = ROWS,
                                        .kind = RAD_CUDA_SILU_MULTIPLY,
                                        .tiles = norm.tiles,
                                        .tile_block = block};
    if (is_norm) /* a block takes two rows */
        rad_test_launch(device, &rad_cuda_kernel_norm, 2, 1, 1, 0, &norm);
    else
        rad_test_launch(device, &rad_cuda_kernel_elements, (n + 1023) / 1024, 2, 1, 0, &gate);
    rad_test_launch(device, &rad_cuda_kernel_quantize, (n + 2047) / 2048, ROWS, 1, 0, &q);
    rad_test_download(device, got, norm.tiles, size);
    rad_test_download(device, wanted, q.tiles, size);
    ck_assert_msg(memcmp(got, wanted, size) == 0, "tiles of %u columns", n);
    free(values);
    free(got);
    free(wanted);
}

START_TEST(quantizes_results)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        for (uint32_t is_norm = 0; is_norm < 2; is_norm++) {
            check_quantized(device, 2336, 32, is_norm);
            check_quantized(device, 1536, 256, is_norm);
            check_quantized(device, 4384, 32, is_norm); /* more than a block of a norm holds */
        }
        rad_test_device_close(device);
    }
}
END_TEST

/* ---- weights ----------------------------------------------------------------------------------
 */

typedef struct weights {
    rad_matrix cpu;
    uint8_t *data;
    uint8_t *device;
} weights;

/* Half of the rows hold encoded numbers where the type has an encoder, the others any bytes. */
static uint8_t *make_blocks(rad_type type, uint64_t seed, uint32_t n_rows, uint32_t n_columns)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const size_t row_bytes = (size_t)(n_columns / info->block_elements) * info->block_bytes;
    uint8_t *data = make(n_rows * row_bytes + info->tail_bytes, 1);
    float *row = make(n_columns, sizeof *row);
    rad_test_bytes(seed, data, n_rows * row_bytes);
    for (uint32_t r = 0; r < n_rows && info->encode != NULL; r += 2) {
        rad_test_floats(seed + r, row, n_columns);
        info->encode(row, NULL, data + r * row_bytes, n_columns);
    }
    free(row);
    return data;
}

/* Packs on the host and by the kernel, which must agree. */
static void pack(rad_cuda_device *device, rad_type type, const uint8_t *data, uint32_t n_rows,
                 uint32_t n_columns, uint8_t *device_groups)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_cuda_form *form = rad_cuda_form_of(type);
    const size_t n_blocks = n_columns / info->block_elements;
    const size_t row_bytes = n_blocks * form->block_bytes;
    const uint64_t size = rad_cuda_matrix_bytes(type, n_rows, n_columns);
    const uint64_t group_bytes = rad_cuda_matrix_bytes(type, 1, n_columns);
    uint8_t *blocks = make(n_rows * row_bytes, 1);
    uint8_t *wanted = make(size, 1), *got = make(size, 1);
    if (rad_cuda_is_recoded(type))
        rad_cuda_recode(type, data, n_rows * n_blocks, blocks);
    else
        memcpy(blocks, data, n_rows * row_bytes);
    for (uint32_t r = 0; r < n_rows; r += 32)
        rad_cuda_pack_group(form, blocks + r * row_bytes, n_rows - r < 32 ? n_rows - r : 32,
                            n_columns, wanted + r / 32 * group_bytes);
    rad_cuda_pack_arguments a = {.blocks = rad_test_upload(device, blocks, n_rows * row_bytes),
                                 .groups = device_groups,
                                 .n_rows = n_rows,
                                 .n_columns = n_columns,
                                 .form = *form};
    rad_test_launch(device, &rad_cuda_kernel_pack, (n_rows + 31) / 32, (n_columns + 255) / 256, 1,
                    0, &a);
    rad_test_download(device, got, device_groups, size);
    ck_assert_msg(memcmp(got, wanted, size) == 0, "%s: the layouts differ", info->name);
    free(blocks);
    free(wanted);
    free(got);
}

static void make_weights(rad_cuda_device *device, rad_type type, uint64_t seed, uint32_t n_rows,
                         uint32_t n_columns, weights *w)
{
    w->data = make_blocks(type, seed, n_rows, n_columns);
    w->cpu = (rad_matrix){type, RAD_LAYOUT_FILE, n_rows, n_columns, w->data};
    w->device = rad_test_upload(device, NULL, rad_cuda_matrix_bytes(type, n_rows, n_columns));
    pack(device, type, w->data, n_rows, n_columns, w->device);
}

/* y of all tokens, rows y_stride apart; the caller frees it. */
static float *product_on_cpu(const rad_matrix *w, const rad_activations *x)
{
    const rad_kernels *kernels = rad_kernels_find(RAD_ISA_SCALAR, true);
    float *y = make((size_t)x->n_tokens * w->n_rows, sizeof *y);
    void *scratch = aligned_alloc(64, (rad_product_scratch_bytes(w) + 63) / 64 * 64);
    ck_assert_ptr_nonnull(scratch);
    kernels->product(w, x, 0, w->n_rows, 0, x->n_tokens, y, w->n_rows, scratch);
    free(scratch);
    return y;
}

static const rad_type types[] = {
    RAD_TYPE_Q4_0,   RAD_TYPE_Q4_1,    RAD_TYPE_Q5_0,   RAD_TYPE_Q5_1,    RAD_TYPE_Q8_0,
    RAD_TYPE_IQ4_NL, RAD_TYPE_MXFP4,   RAD_TYPE_NVFP4,  RAD_TYPE_Q1_0,    RAD_TYPE_Q2_0,
    RAD_TYPE_Q4_K,   RAD_TYPE_Q5_K,    RAD_TYPE_Q6_K,   RAD_TYPE_Q2_K,    RAD_TYPE_Q3_K,
    RAD_TYPE_IQ4_XS, RAD_TYPE_IQ3_XXS, RAD_TYPE_IQ3_S,  RAD_TYPE_IQ2_XXS, RAD_TYPE_IQ2_S,
    RAD_TYPE_IQ2_XS, RAD_TYPE_IQ1_M,   RAD_TYPE_IQ1_S,  RAD_TYPE_TQ2_0,   RAD_TYPE_TQ1_0,
    RAD_TYPE_I2_S,   RAD_TYPE_INT8,    RAD_TYPE_A2_32,  RAD_TYPE_A3_32,   RAD_TYPE_A4_32,
    RAD_TYPE_A5_32,  RAD_TYPE_A6_32,   RAD_TYPE_A8_32,  RAD_TYPE_A2_128,  RAD_TYPE_A3_128,
    RAD_TYPE_A4_128, RAD_TYPE_A5_128,  RAD_TYPE_A6_128, RAD_TYPE_A8_128};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* What is multiplied, and what must come out. */
typedef struct problem {
    rad_type type;
    uint32_t n_rows, n_columns, n_tokens;
    input in;
    weights w;
    float *wanted;
} problem;

static void make_problem(rad_cuda_device *device, rad_type type, uint32_t n_tokens, uint32_t n_rows,
                         uint32_t n_columns, problem *p)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    *p = (problem){.type = type, .n_rows = n_rows, .n_columns = n_columns, .n_tokens = n_tokens};
    p->in = (input){.cpu = {.kind = info->activation,
                            .n_tokens = n_tokens,
                            .n_columns = n_columns,
                            .threshold = 3.0f},
                    .values = make_values(n_rows, n_tokens, n_columns)};
    quantize_on_cpu(&p->in.cpu, p->in.values);
    quantize_on_device(device, &p->in, NULL, n_columns);
    make_weights(device, type, n_columns, n_rows, n_columns, &p->w);
    p->wanted = product_on_cpu(&p->w.cpu, &p->in.cpu);
}

static void free_problem(problem *p)
{
    free(p->wanted);
    free(p->w.data);
    free_input(&p->in);
}

static void check_output(rad_cuda_device *device, const float *y, const float *wanted, size_t n,
                         rad_type type)
{
    float *got = make(n, sizeof *got);
    rad_test_download(device, got, y, n * sizeof *got);
    rad_test_same_floats(got, wanted, n, rad_type_find((uint32_t)type)->name);
    free(got);
}

static float *output(rad_cuda_device *device, uint64_t n)
{
    return rad_test_upload(device, NULL, n * sizeof(float));
}

enum { MANY = 0, SOME = 6 };

/* By the kernel for few tokens, with blocks of 1 << rows_log2 rows, the one for some, or the one
 * for many. parts: of the launch, whose rows are multiples of 32 but in the last one. */
static void launch(rad_cuda_device *device, const problem *p, const rad_cuda_product_part *parts,
                   uint32_t n_parts, uint32_t rows_log2)
{
    rad_cuda_few_arguments few = {.tiles = p->in.tiles,
                                  .n_parts = n_parts,
                                  .n_columns = p->n_columns,
                                  .n_tokens = p->n_tokens,
                                  .rows_log2 = rows_log2,
                                  .x = p->in.x,
                                  .x_stride = p->n_columns};
    rad_cuda_many_arguments many = {.tiles = p->in.tiles,
                                    .n_parts = n_parts,
                                    .n_columns = p->n_columns,
                                    .n_tokens = p->n_tokens,
                                    .x = p->in.x,
                                    .x_stride = p->n_columns};
    const rad_cuda_few_launch some = rad_cuda_some_launch(p->type);
    const uint32_t rows = rows_log2 == SOME   ? 1u << some.rows_log2
                          : rows_log2 == MANY ? (uint32_t)RAD_CUDA_MANY_ROWS
                                              : 1u << rows_log2;
    uint32_t n_blocks = 0;
    for (uint32_t i = 0; i < n_parts; i++) {
        few.parts[i] = parts[i];
        few.parts[i].first_block = n_blocks;
        many.parts[i] = few.parts[i];
        n_blocks += (parts[i].n_rows + rows - 1) / rows;
    }
    if (rows_log2 == SOME) {
        few.rows_log2 = some.rows_log2;
        rad_test_launch(device, some.kernel, n_blocks, 1, 1, some.shared_bytes, &few);
    } else if (rows_log2 != MANY)
        rad_test_launch(device, rad_cuda_few_kernel(p->type), n_blocks, 1, 1,
                        rad_cuda_few_shared_bytes(p->type, rows_log2), &few);
    else
        rad_test_launch(device, rad_cuda_many_kernel(p->type), n_blocks,
                        (p->n_tokens + RAD_CUDA_MANY_TOKENS - 1) / RAD_CUDA_MANY_TOKENS, 1, 0,
                        &many);
}

static void check(rad_cuda_device *device, rad_type type, uint32_t n_tokens, uint32_t n_rows,
                  uint32_t n_columns, uint32_t rows_log2)
{
    problem p;
    make_problem(device, type, n_tokens, n_rows, n_columns, &p);
    rad_cuda_product_part part = {.weights = p.w.device,
                                  .y = output(device, (uint64_t)n_tokens * n_rows),
                                  .n_rows = n_rows,
                                  .y_stride = n_rows};
    launch(device, &p, &part, 1, rows_log2);
    check_output(device, part.y, p.wanted, (size_t)n_tokens * n_rows, type);
    free_problem(&p);
}

START_TEST(multiplies_few)
{
    const rad_type type = types[_i];
    const uint32_t block = rad_type_find((uint32_t)type)->block_elements;
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check(device, type, 1, 5, block, 5);
        check(device, type, 2 + order, 37, 2304 + (block < 256 ? block : 256), 5);
        check(device, type, 1, 16, 4608 / block * block, 4);
        if (rad_cuda_few_shared_bytes(type, 3) <= 48 * 1024)
            check(device, type, 8, 9, 768, 3);
        rad_test_device_close(device);
    }
}
END_TEST

START_TEST(multiplies_some)
{
    const rad_type type = types[_i];
    const uint32_t block = rad_type_find((uint32_t)type)->block_elements;
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        if (order == 0)
            check(device, type, 2, 5, block, SOME);
        if (order % 2 == 0)
            check(device, type, 8 - order, 37, 2304 + (block < 256 ? block : 256), SOME);
        else
            check(device, type, 10 + order, 21, 1024 + (block < 256 ? block : 256), SOME);
        rad_test_device_close(device);
    }
}
END_TEST

START_TEST(multiplies_many)
{
    const rad_type type = types[_i];
    const uint32_t block = rad_type_find((uint32_t)type)->block_elements;
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order += 3) {
        rad_cuda_device *device = rad_test_device(order);
        check(device, type, order == 0 ? 9 : 17, 37, 512 + (block < 256 ? block : 256), MANY);
        if (order == 0)
            check(device, type, 65, 65, block, MANY);
        rad_test_device_close(device);
    }
}
END_TEST

/* Three matrices in one launch: scale, bias and residual behind the product, in that order. */
static void check_parts(rad_cuda_device *device, rad_type type, uint32_t n_tokens,
                        uint32_t rows_log2)
{
    enum { ROWS = 128 + 11, COLUMNS = 512 };
    static const uint32_t starts[] = {0, 96, 128, ROWS};
    problem p;
    rad_cuda_product_part parts[3] = {{0}};
    float *wanted[3], values[3 * ROWS], scale = 0.75f;
    make_problem(device, type, n_tokens, ROWS, COLUMNS, &p);
    rad_test_floats(5, values, 3 * ROWS);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t n = starts[i + 1] - starts[i];
        float *y = wanted[i] = make((size_t)n_tokens * n, sizeof *y);
        float *residual = make((size_t)n_tokens * n, sizeof *residual);
        rad_test_floats(i, residual, (size_t)n_tokens * n);
        for (uint32_t t = 0; t < n_tokens; t++)
            for (uint32_t r = 0; r < n; r++) {
                float *out = &y[t * n + r];
                *out = p.wanted[t * ROWS + starts[i] + r];
                if (i != 1)
                    *out *= scale;
                if (i != 0)
                    *out += values[i * ROWS + r];
                if (i == 2)
                    *out = residual[t * n + r] + *out;
            }
        parts[i] = (rad_cuda_product_part){
            .weights = p.w.device + starts[i] / 32 * rad_cuda_matrix_bytes(type, 1, COLUMNS),
            .y = rad_test_upload(device, residual, (uint64_t)n_tokens * n * 4),
            .bias = i != 0 ? rad_test_upload(device, values + i * ROWS, n * 4) : NULL,
            .scales = i != 1 ? rad_test_upload(device, &scale, 4) : NULL,
            .n_rows = n,
            .y_stride = n};
        parts[i].add = i == 2 ? parts[i].y : NULL;
        rad_test_is_result(device, parts[i].add, (uint64_t)n_tokens * n * 4);
        free(residual);
    }
    launch(device, &p, parts, 3, rows_log2);
    for (uint32_t i = 0; i < 3; i++) {
        check_output(device, parts[i].y, wanted[i], (size_t)n_tokens * parts[i].n_rows, type);
        free(wanted[i]);
    }
    free_problem(&p);
}

START_TEST(multiplies_parts)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check_parts(device, RAD_TYPE_Q4_0, 2, 4);
        check_parts(device, RAD_TYPE_Q4_K, 3, 5);
        check_parts(device, RAD_TYPE_Q4_0, 11, SOME);
        check_parts(device, RAD_TYPE_Q4_K, 10, MANY);
        rad_test_device_close(device);
    }
}
END_TEST

/* Four experts of 40 rows, with a bias each; the outputs of 5 tokens, 2 of each. */
enum { EXPERTS = 4, EXPERT_ROWS = 40, USED = 2, ROUTED = 5, COLUMNS = 576 };
static const uint32_t chosen[ROUTED][USED] = {{3, 0}, {0, 2}, {3, 2}, {2, 0}, {3, 2}};

typedef struct mixture {
    problem experts[EXPERTS];
    rad_cuda_product_part part;
    float bias[EXPERTS * EXPERT_ROWS];
} mixture;

static void make_mixture(rad_cuda_device *device, rad_type type, mixture *m)
{
    const uint64_t bytes = rad_cuda_matrix_bytes(type, EXPERT_ROWS, COLUMNS);
    uint8_t *all = make(EXPERTS * bytes, 1);
    rad_test_floats(9, m->bias, EXPERTS * EXPERT_ROWS);
    for (uint32_t e = 0; e < EXPERTS; e++) {
        problem *p = &m->experts[e];
        make_problem(device, type, ROUTED, EXPERT_ROWS, COLUMNS, p);
        free(p->w.data);
        free(p->wanted);
        make_weights(device, type, 100 + e, EXPERT_ROWS, COLUMNS, &p->w);
        p->wanted = product_on_cpu(&p->w.cpu, &p->in.cpu);
        rad_test_download(device, all + e * bytes, p->w.device, bytes);
    }
    m->part = (rad_cuda_product_part){.weights = rad_test_upload(device, all, EXPERTS * bytes),
                                      .y = output(device, ROUTED * USED * EXPERT_ROWS),
                                      .bias = rad_test_upload(device, m->bias, sizeof m->bias),
                                      .expert_bytes = bytes,
                                      .n_rows = EXPERT_ROWS,
                                      .y_stride = EXPERT_ROWS};
    free(all);
}

static void want(const mixture *m, uint32_t token, uint32_t expert, float *out)
{
    for (uint32_t r = 0; r < EXPERT_ROWS; r++)
        out[r] =
            m->experts[expert].wanted[token * EXPERT_ROWS + r] + m->bias[expert * EXPERT_ROWS + r];
}

/* Routes as the router leaves them: experts, then weights. */
static void check_few_experts(rad_cuda_device *device, const mixture *m, rad_type type)
{
    uint32_t routes[ROUTED][2 * USED];
    float wanted[ROUTED * USED * EXPERT_ROWS];
    memset(routes, 0xff, sizeof routes);
    for (uint32_t s = 0; s < ROUTED * USED; s++) {
        routes[s / USED][s % USED] = chosen[s / USED][s % USED];
        want(m, s / USED, chosen[s / USED][s % USED], wanted + s * EXPERT_ROWS);
    }
    rad_cuda_few_arguments a = {.parts = {m->part},
                                .tiles = m->experts[0].in.tiles,
                                .experts = rad_test_upload(device, routes, sizeof routes),
                                .per_route = USED,
                                .route_stride = 2 * USED,
                                .slots_per_input = USED,
                                .n_parts = 1,
                                .n_columns = COLUMNS,
                                .n_tokens = 1,
                                .x = m->experts[0].in.x,
                                .x_stride = COLUMNS,
                                .rows_log2 = 4};
    rad_test_is_result(device, a.experts, sizeof routes);
    rad_test_launch(device, rad_cuda_few_kernel(type), (EXPERT_ROWS + 15) / 16, 1, ROUTED * USED,
                    rad_cuda_few_shared_bytes(type, 4), &a);
    check_output(device, m->part.y, wanted, ROUTED * USED * EXPERT_ROWS, type);
}

/* Outputs sorted by expert, cut into tiles of two; one tile more than there are. */
static void check_many_experts(rad_cuda_device *device, const mixture *m, rad_type type)
{
    uint32_t starts[EXPERTS + 1] = {0}, inputs[ROUTED * USED], n = 0, n_tiles = 0;
    uint32_t tile_expert[ROUTED * USED] = {0}, tile_first[ROUTED * USED] = {0};
    float wanted[ROUTED * USED * EXPERT_ROWS];
    for (uint32_t e = 0; e < EXPERTS; e++) {
        for (uint32_t s = 0; s < ROUTED * USED; s++) {
            if (chosen[s / USED][s % USED] != e)
                continue;
            want(m, s / USED, e, wanted + n * EXPERT_ROWS);
            inputs[n++] = s / USED;
        }
        starts[e + 1] = n;
        if (n > starts[e]) {
            tile_expert[n_tiles] = e;
            tile_first[n_tiles++] = starts[e];
        }
    }
    rad_cuda_many_arguments a = {
        .parts = {m->part},
        .tiles = m->experts[0].in.tiles,
        .tile_expert = rad_test_upload(device, tile_expert, sizeof tile_expert),
        .tile_first = rad_test_upload(device, tile_first, sizeof tile_first),
        .starts = rad_test_upload(device, starts, sizeof starts),
        .n_tiles = rad_test_upload(device, &n_tiles, sizeof n_tiles),
        .inputs = rad_test_upload(device, inputs, sizeof inputs),
        .n_parts = 1,
        .n_columns = COLUMNS,
        .n_tokens = ROUTED * USED,
        .x = m->experts[0].in.x,
        .x_stride = COLUMNS};
    rad_test_is_result(device, a.tile_expert, sizeof tile_expert);
    rad_test_is_result(device, a.n_tiles, sizeof n_tiles);
    rad_test_is_result(device, a.inputs, sizeof inputs);
    rad_test_launch(device, rad_cuda_many_kernel(type), 1, n_tiles + 1, 1, 0, &a);
    check_output(device, m->part.y, wanted, ROUTED * USED * EXPERT_ROWS, type);
}

/* INT8 looks at what the tiles were made of as well. */
START_TEST(multiplies_experts)
{
    const rad_type type = _i == 0 ? RAD_TYPE_MXFP4 : _i == 1 ? RAD_TYPE_INT8 : RAD_TYPE_Q8_0;
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        mixture m;
        make_mixture(device, type, &m);
        check_few_experts(device, &m, type);
        check_many_experts(device, &m, type);
        for (uint32_t e = 0; e < EXPERTS; e++)
            free_problem(&m.experts[e]);
        rad_test_device_close(device);
    }
}
END_TEST

/* A token that holds a value that is no number is one; the others are not touched by it. */
START_TEST(passes_nan_on)
{
    enum { N = 512, ROWS = 33 };
    static const rad_type some[] = {RAD_TYPE_Q4_0, RAD_TYPE_Q6_K};
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t how = 0; how < 3; how++) {
            static const uint32_t ways[] = {MANY, SOME, 5};
            const uint32_t rows_log2 = ways[how];
            rad_cuda_device *device = rad_test_device(0);
            problem p;
            make_problem(device, some[i], 3, ROWS, N, &p);
            free_input(&p.in);
            p.in.values = make_values(3, 3, N);
            p.in.values[N + 300] = NAN;
            quantize_on_cpu(&p.in.cpu, p.in.values);
            quantize_on_device(device, &p.in, NULL, N);
            free(p.wanted);
            p.wanted = product_on_cpu(&p.w.cpu, &p.in.cpu);
            ck_assert(isnan(p.wanted[ROWS]));
            rad_cuda_product_part part = {.weights = p.w.device,
                                          .y = output(device, 3 * ROWS),
                                          .n_rows = ROWS,
                                          .y_stride = ROWS};
            launch(device, &p, &part, 1, rows_log2);
            check_output(device, part.y, p.wanted, 3 * ROWS, some[i]);
            free_problem(&p);
            rad_test_device_close(device);
        }
}
END_TEST

static void add_cases(Suite *suite)
{
    tcase_add_test(rad_test_case(suite, "quantize"), quantizes);
    tcase_add_test(rad_test_case(suite, "quantize in order"), quantizes_in_order);
    tcase_add_test(rad_test_case(suite, "quantize in order"), quantizes_slots);
    tcase_add_test(rad_test_case(suite, "quantized results"), quantizes_results);
    tcase_add_loop_test(rad_test_case(suite, "few tokens"), multiplies_few, 0, N_TYPES);
    tcase_add_loop_test(rad_test_case(suite, "some tokens"), multiplies_some, 0, N_TYPES);
    tcase_add_loop_test(rad_test_case(suite, "many tokens"), multiplies_many, 0, N_TYPES);
    tcase_add_test(rad_test_case(suite, "parts"), multiplies_parts);
    tcase_add_loop_test(rad_test_case(suite, "experts"), multiplies_experts, 0, 3);
    tcase_add_test(rad_test_case(suite, "not finite"), passes_nan_on);
}

int main(void)
{
    return rad_test_main("cuda_products", add_cases);
}
