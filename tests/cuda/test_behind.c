/* Products whose blocks go on with an activation and its tiles, and those whose blocks begin with a
 * norm and rotate and store what they give: the bits of the kernels that do so one behind the
 * other, for every format, activation and number of tokens, and again and again with the same
 * counters. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/layout.h"
#include "kernels/cpu/layer.h"
#include "cuda/support.h"
#include "kernels/cuda/kernels_layer.h"

enum { COLUMNS = 512, COUNTERS = 8, SOME = 6 };

static void *make(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Rows in the device's layout; without an encoder bytes of which no scale is large. */
static uint8_t *make_weights(rad_cuda_device *device, rad_type type, uint64_t seed, uint32_t n_rows,
                             uint32_t n_columns)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const rad_cuda_form *form = rad_cuda_form_of(type);
    const size_t n_blocks = n_columns / form->block_elements;
    const uint64_t size = rad_cuda_matrix_bytes(type, n_rows, n_columns);
    const uint64_t group_bytes = rad_cuda_matrix_bytes(type, 1, n_columns);
    uint8_t *blocks = make(n_rows * n_blocks, form->block_bytes), *groups = make(size, 1);
    float *row = make(n_columns, sizeof *row);
    rad_test_bytes(seed, blocks, n_rows * n_blocks * form->block_bytes);
    for (size_t i = 0; i < n_rows * n_blocks * form->block_bytes; i++)
        blocks[i] &= 0x3b;
    for (uint32_t r = 0; r < n_rows && info->encode != NULL && !rad_cuda_is_recoded(type); r++) {
        rad_test_floats(seed + r, row, n_columns);
        info->encode(row, NULL, blocks + r * n_blocks * form->block_bytes, n_columns);
    }
    for (uint32_t r = 0; r < n_rows; r += 32)
        rad_cuda_pack_group(form, blocks + r * n_blocks * form->block_bytes,
                            n_rows - r < 32 ? n_rows - r : 32, n_columns,
                            groups + r / 32 * group_bytes);
    uint8_t *there = rad_test_upload(device, groups, size);
    free(row);
    free(blocks);
    free(groups);
    return there;
}

/* How a product is launched, and what comes behind it. */
typedef struct way {
    rad_type type;
    uint32_t rows_log2; /* of few tokens; SOME */
    uint32_t n_tokens, n_rows, kind, tile_block;
} way;

static void quantize(rad_cuda_device *device, const way *w, rad_cuda_few_arguments *a)
{
    const rad_activation_kind kind = rad_type_find((uint32_t)w->type)->activation;
    const bool outliers = kind == RAD_ACTIVATION_Q8_OUTLIERS;
    const bool whole = outliers || kind == RAD_ACTIVATION_Q8_ROW;
    float *x = make((size_t)w->n_tokens * COLUMNS, sizeof *x);
    rad_test_floats(w->n_rows, x, (size_t)w->n_tokens * COLUMNS);
    rad_cuda_quantize_arguments q = {
        .x = rad_test_upload(device, x, (uint64_t)w->n_tokens * COLUMNS * sizeof *x),
        .tiles = rad_test_upload(device, NULL, rad_cuda_tiles_bytes(w->n_tokens, COLUMNS)),
        .n_inputs = COLUMNS,
        .n_columns = COLUMNS,
        .block = rad_activation_block(kind, COLUMNS),
        .threshold = 0.9f};
    rad_test_launch(device,
                    outliers ? &rad_cuda_kernel_quantize_outliers
                    : whole  ? &rad_cuda_kernel_quantize_row
                             : &rad_cuda_kernel_quantize,
                    1, w->n_tokens, 1, 0, &q);
    rad_test_is_result(device, q.tiles, rad_cuda_tiles_bytes(w->n_tokens, COLUMNS));
    a->tiles = q.tiles;
    a->x = q.x;
    a->x_stride = COLUMNS;
    free(x);
}

static void launch(rad_cuda_device *device, const way *w, rad_cuda_few_arguments *a)
{
    rad_cuda_few_launch how = rad_cuda_some_launch(w->type);
    if (w->rows_log2 != SOME)
        how = (rad_cuda_few_launch){rad_cuda_few_kernel(w->type), w->rows_log2,
                                    rad_cuda_few_shared_bytes(w->type, w->rows_log2), 8};
    const uint32_t of_part = (w->n_rows + (1u << how.rows_log2) - 1) >> how.rows_log2;
    a->rows_log2 = how.rows_log2;
    for (uint32_t i = 0; i < a->n_parts; i++)
        a->parts[i].first_block = i * of_part;
    rad_test_launch(device, how.kernel, a->n_parts * of_part, 1, 1, how.shared_bytes, a);
}

typedef struct results {
    float *y[2];
    uint8_t *tiles;
} results;

static results fetch(rad_cuda_device *device, const way *w, const rad_cuda_few_arguments *a,
                     const uint8_t *tiles)
{
    const size_t n = (size_t)w->n_tokens * w->n_rows;
    const size_t n_tiles = rad_cuda_tiles_bytes(w->n_tokens, w->n_rows);
    results got = {{make(n, sizeof(float)), make(n, sizeof(float))}, make(n_tiles, 1)};
    for (uint32_t i = 0; i < a->n_parts; i++)
        rad_test_download(device, got.y[i], a->parts[i].y, n * sizeof(float));
    rad_test_download(device, got.tiles, tiles, n_tiles);
    return got;
}

static void free_results(results *r)
{
    free(r->y[0]);
    free(r->y[1]);
    free(r->tiles);
}

static void check(rad_cuda_device *device, const way *w)
{
    const uint64_t n = (uint64_t)w->n_tokens * w->n_rows, size = n * sizeof(float);
    const uint64_t n_tiles = rad_cuda_tiles_bytes(w->n_tokens, w->n_rows);
    const uint32_t zeros[COUNTERS] = {0};
    const char *name = rad_type_find((uint32_t)w->type)->name;
    uint32_t counters[COUNTERS];
    rad_cuda_few_arguments a = {.n_parts = w->kind <= RAD_CUDA_CLAMPED_MULTIPLY ? 2 : 1,
                                .n_columns = COLUMNS,
                                .n_tokens = w->n_tokens};
    quantize(device, w, &a);
    for (uint32_t i = 0; i < a.n_parts; i++)
        a.parts[i] = (rad_cuda_product_part){
            .weights = make_weights(device, w->type, 100 + i, w->n_rows, COLUMNS),
            .y = rad_test_upload(device, NULL, size),
            .n_rows = w->n_rows,
            .y_stride = w->n_rows};
    launch(device, w, &a);
    rad_cuda_elements_arguments e = {.in = a.parts[0].y,
                                     .other = a.parts[1].y,
                                     .out = a.parts[0].y,
                                     .in_stride = w->n_rows,
                                     .other_stride = w->n_rows,
                                     .out_stride = w->n_rows,
                                     .n = w->n_rows,
                                     .n_rows = w->n_tokens,
                                     .kind = w->kind,
                                     .tiles = rad_test_upload(device, NULL, n_tiles),
                                     .tile_block = w->tile_block};
    rad_test_launch(device, &rad_cuda_kernel_elements, (w->n_rows + 1023) / 1024, w->n_tokens, 1, 0,
                    &e);
    results wanted = fetch(device, w, &a, e.tiles);
    for (uint32_t i = 0; i < a.n_parts; i++)
        a.parts[i].y = rad_test_upload(device, NULL, size);
    a.behind = (rad_cuda_behind){.counters = rad_test_upload(device, zeros, sizeof zeros),
                                 .tiles = rad_test_upload(device, NULL, n_tiles),
                                 .kind = w->kind,
                                 .tile_block = w->tile_block};
    for (int again = 0; again < 2; again++) {
        launch(device, w, &a);
        results got = fetch(device, w, &a, a.behind.tiles);
        for (uint32_t i = 0; i < a.n_parts; i++)
            rad_test_same_floats(got.y[i], wanted.y[i], n, name);
        ck_assert_msg(memcmp(got.tiles, wanted.tiles, n_tiles) == 0, "%s: tiles", name);
        rad_test_download(device, counters, a.behind.counters, sizeof counters);
        ck_assert_msg(memcmp(counters, zeros, sizeof zeros) == 0, "%s: counters", name);
        free_results(&got);
    }
    free_results(&wanted);
}

static const rad_type types[] = {
    RAD_TYPE_Q4_0,   RAD_TYPE_Q4_1,    RAD_TYPE_Q5_0,   RAD_TYPE_Q5_1,    RAD_TYPE_Q8_0,
    RAD_TYPE_IQ4_NL, RAD_TYPE_MXFP4,   RAD_TYPE_NVFP4,  RAD_TYPE_Q1_0,    RAD_TYPE_Q2_0,
    RAD_TYPE_Q4_K,   RAD_TYPE_Q5_K,    RAD_TYPE_Q6_K,   RAD_TYPE_Q2_K,    RAD_TYPE_Q3_K,
    RAD_TYPE_IQ4_XS, RAD_TYPE_IQ3_XXS, RAD_TYPE_IQ3_S,  RAD_TYPE_IQ2_XXS, RAD_TYPE_IQ2_S,
    RAD_TYPE_IQ1_M,  RAD_TYPE_IQ1_S,   RAD_TYPE_TQ2_0,  RAD_TYPE_I2_S,    RAD_TYPE_INT8,
    RAD_TYPE_A2_32,  RAD_TYPE_A4_32,   RAD_TYPE_A8_32,  RAD_TYPE_A2_128,  RAD_TYPE_A3_128,
    RAD_TYPE_A4_128, RAD_TYPE_A5_128,  RAD_TYPE_A6_128, RAD_TYPE_A8_128};
enum { N_TYPES = sizeof types / sizeof types[0] };

START_TEST(formats)
{
    const uint32_t order = (uint32_t)_i % RAD_TEST_ORDERS;
    rad_cuda_device *device = rad_test_device(order);
    const way few = {types[_i], 5 - order, 1, 288, RAD_CUDA_SILU_MULTIPLY, 32};
    const way some = {types[_i], SOME, 2 + order, 288, RAD_CUDA_SILU_MULTIPLY, 32};
    check(device, &few);
    check(device, &some);
    rad_test_device_close(device);
}
END_TEST

/* Blocks of 8, 16 and 32 rows, pieces that are whole and the last one that is not; many tokens. */
static const way ways[] = {
    {RAD_TYPE_Q4_0, 3, 1, 256, RAD_CUDA_SILU_MULTIPLY, 32},
    {RAD_TYPE_Q4_0, 4, 2, 576, RAD_CUDA_CLAMPED_MULTIPLY, 64},
    {RAD_TYPE_Q4_0, 5, 8, 544, RAD_CUDA_RELU2_MULTIPLY, 32},
    {RAD_TYPE_Q4_K, 5, 1, 768, RAD_CUDA_GELU_TANH_MULTIPLY, 256},
    {RAD_TYPE_Q4_K, 4, 5, 512, RAD_CUDA_GELU_TANH, 256},
    {RAD_TYPE_I2_S, 5, 8, 512, RAD_CUDA_SILU_MULTIPLY, 256},
    {RAD_TYPE_Q6_K, SOME, 16, 288, RAD_CUDA_SILU_MULTIPLY, 32},
    {RAD_TYPE_Q4_0, SOME, 9, 256, RAD_CUDA_GELU_ERF, 256},
    {RAD_TYPE_Q8_0, SOME, 4, 320, RAD_CUDA_GELU_TANH_MULTIPLY, 64},
};

START_TEST(shapes)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check(device, &ways[_i]);
        rad_test_device_close(device);
    }
}
END_TEST

/* ---- norms -----------------------------------------------------------------------------------
 */

typedef struct norm_way {
    rad_type type;
    uint32_t rows_log2, n_rows, n_columns;
    bool plain; /* the norm has no weights */
} norm_way;

static void check_norm(rad_cuda_device *device, const norm_way *w)
{
    const uint64_t row_bytes = w->n_columns * sizeof(float), y_bytes = w->n_rows * sizeof(float);
    const char *name = rad_type_find((uint32_t)w->type)->name;
    const rad_activation_kind kind = rad_type_find((uint32_t)w->type)->activation;
    const uint32_t block = rad_activation_block(kind, w->n_columns);
    float *x = make(2 * w->n_columns, sizeof *x), *y[2], *out[2];
    rad_test_floats(w->n_columns, x, 2 * (size_t)w->n_columns);
    for (int i = 0; i < 2; i++) {
        y[i] = make(w->n_rows, sizeof(float));
        out[i] = make(w->n_columns, sizeof(float));
    }
    rad_cuda_norm_arguments norm = {
        .in = rad_test_upload(device, x, row_bytes),
        .weight = w->plain ? NULL : rad_test_upload(device, x + w->n_columns, row_bytes),
        .out = rad_test_upload(device, NULL, row_bytes),
        .n = w->n_columns,
        .n_rows = 1,
        .epsilon = 1e-5f,
        .tiles = rad_test_upload(device, NULL, rad_cuda_tiles_bytes(1, w->n_columns)),
        .tile_block = block};
    rad_test_launch(device, &rad_cuda_kernel_norm, 1, 1, 1, 0, &norm);
    rad_cuda_few_launch how = {rad_cuda_few_kernel(w->type), w->rows_log2,
                               rad_cuda_few_shared_bytes(w->type, w->rows_log2), 8};
    const uint32_t n_blocks = (w->n_rows + (1u << w->rows_log2) - 1) >> w->rows_log2;
    rad_cuda_few_arguments a = {.tiles = norm.tiles,
                                .n_parts = 1,
                                .n_columns = w->n_columns,
                                .n_tokens = 1,
                                .rows_log2 = w->rows_log2};
    a.parts[0] = (rad_cuda_product_part){
        .weights = make_weights(device, w->type, 5, w->n_rows, w->n_columns),
        .y = rad_test_upload(device, NULL, y_bytes),
        .n_rows = w->n_rows,
        .y_stride = w->n_rows};
    rad_test_launch(device, how.kernel, n_blocks, 1, 1, how.shared_bytes, &a);
    rad_test_download(device, y[0], a.parts[0].y, y_bytes);
    rad_test_download(device, out[0], norm.out, row_bytes);
    a.tiles = NULL;
    a.parts[0].y = rad_test_upload(device, NULL, y_bytes);
    a.before = (rad_cuda_before){.in = norm.in,
                                 .weight = norm.weight,
                                 .out = rad_test_upload(device, NULL, row_bytes),
                                 .epsilon = norm.epsilon,
                                 .tile_block = block};
    how = rad_cuda_normed_launch(w->type, w->type, w->n_columns, how);
    rad_test_is_result(device, norm.in, row_bytes);
    rad_test_launch(device, how.kernel, n_blocks, 1, 1, how.shared_bytes, &a);
    rad_test_download(device, y[1], a.parts[0].y, y_bytes);
    rad_test_download(device, out[1], a.before.out, row_bytes);
    rad_test_same_floats(out[1], out[0], w->n_columns, "norm");
    rad_test_same_floats(y[1], y[0], w->n_rows, name);
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(out[i]);
    }
    free(x);
}

START_TEST(norms_of_formats)
{
    const uint32_t order = (uint32_t)_i % RAD_TEST_ORDERS;
    const rad_cuda_few_launch none = {0};
    const uint32_t block = rad_type_find((uint32_t)types[_i])->block_elements;
    const norm_way w = {types[_i], 5, 37, 512 + (block < 256 ? block : 256), false};
    if (rad_cuda_normed_launch(w.type, w.type, w.n_columns, none).kernel == NULL)
        return;
    rad_cuda_device *device = rad_test_device(order);
    check_norm(device, &w);
    rad_test_device_close(device);
}
END_TEST

/* One tile, more than warps have weights for beforehand, a row that is longer than all sums. */
static const norm_way norm_ways[] = {
    {RAD_TYPE_Q4_0, 5, 9, 32, false},    {RAD_TYPE_Q4_0, 4, 40, 2336, false},
    {RAD_TYPE_Q4_K, 3, 24, 2048, true},  {RAD_TYPE_Q4_K, 5, 33, 4608, false},
    {RAD_TYPE_Q8_0, 5, 16, 8480, false}, {RAD_TYPE_Q6_K, 4, 17, 8192, false},
};

START_TEST(norms_of_shapes)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check_norm(device, &norm_ways[_i]);
        rad_test_device_close(device);
    }
}
END_TEST

/* ---- heads -----------------------------------------------------------------------------------
 */

typedef struct heads_way {
    rad_type type, values; /* of queries and keys, of values */
    uint32_t rows_log2, n_heads, n_kv_heads, dim, value_dim;
    uint32_t key_type, value_type; /* of the cache, without blocks */
    bool interleaved, nowhere;     /* the row is only there to fill a batch up */
} heads_way;

enum { PAGES = 3 };

/* Queries, keys and values, and the cache, one behind the other. */
typedef struct made {
    float *y[3];
    uint8_t *pool;
} made;

static uint32_t number_bytes(uint32_t type)
{
    return type == RAD_CACHE_F32 ? 4 : type == RAD_CACHE_FP8 ? 1 : 2;
}

static void launch_heads(rad_cuda_device *device, const rad_cuda_few_arguments *a, rad_type type,
                         rad_type last)
{
    const rad_cuda_few_launch few = {NULL, a->rows_log2,
                                     rad_cuda_few_shared_bytes(type, a->rows_log2), 8};
    const rad_cuda_few_launch how = rad_cuda_normed_launch(type, last, COLUMNS, few);
    const rad_cuda_product_part *part = &a->parts[a->n_parts - 1];
    rad_test_launch(device, how.kernel, part->first_block + (part->n_rows >> a->rows_log2), 1, 1,
                    how.shared_bytes, a);
}

static made run_heads(rad_cuda_device *device, const heads_way *w, bool together)
{
    const uint32_t n_rows[3] = {w->n_heads * w->dim, w->n_kv_heads * w->dim,
                                w->n_kv_heads * w->value_dim};
    const uint32_t tables[PAGES] = {2, 0, 1};
    const rad_cuda_row row = {.position = 37, .end = w->nowhere ? 0 : 38, .sequence = 0};
    rad_cuda_heads h = {.key_bytes = 32 * w->dim * number_bytes(w->key_type),
                        .value_bytes = 32 * w->value_dim * number_bytes(w->value_type),
                        .key_type = w->key_type,
                        .value_type = w->value_type,
                        .dim = w->dim,
                        .value_dim = w->value_dim,
                        .first = 256,
                        .interleaved = w->interleaved};
    const uint64_t page = 256 + (uint64_t)w->n_kv_heads * (h.key_bytes + h.value_bytes);
    float *x = make(2 * COLUMNS + w->dim, sizeof *x);
    made result = {.pool = make(PAGES, page)};
    rad_test_floats(w->dim, x, 2 * COLUMNS + w->dim);
    h.table = rad_test_upload(device, x + 2 * (size_t)COLUMNS, w->dim * sizeof *x);
    h.row = rad_test_upload(device, &row, sizeof row);
    h.pages = (rad_cuda_pages){.pool = rad_test_upload(device, result.pool, PAGES * page),
                               .tables = rad_test_upload(device, tables, sizeof tables),
                               .page_bytes = page,
                               .table_stride = PAGES,
                               .n_slots = PAGES};
    rad_cuda_few_arguments a = {
        .n_parts = 3,
        .n_columns = COLUMNS,
        .n_tokens = 1,
        .rows_log2 = w->rows_log2,
        .before = {.in = rad_test_upload(device, x, COLUMNS * sizeof *x),
                   .weight = rad_test_upload(device, x + COLUMNS, COLUMNS * sizeof *x),
                   .out = rad_test_upload(device, NULL, COLUMNS * sizeof *x),
                   .epsilon = 1e-5f,
                   .tile_block = rad_activation_block(rad_type_find((uint32_t)w->type)->activation,
                                                      COLUMNS)}};
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < 3; i++) {
        a.parts[i] = (rad_cuda_product_part){
            .weights =
                make_weights(device, i < 2 ? w->type : w->values, 20 + i, n_rows[i], COLUMNS),
            .y = rad_test_upload(device, NULL, n_rows[i] * sizeof(float)),
            .bias = i == 1 ? rad_test_upload(device, x, n_rows[i] * sizeof(float)) : NULL,
            .n_rows = n_rows[i],
            .first_block = blocks,
            .y_stride = n_rows[i]};
        blocks += n_rows[i] >> w->rows_log2;
    }
    rad_test_is_result(device, a.before.in, COLUMNS * sizeof *x);
    if (together) {
        a.heads = h;
        launch_heads(device, &a, w->type, w->values);
    } else {
        rad_cuda_few_arguments values = a;
        a.n_parts = 2;
        values.n_parts = 1;
        values.parts[0] = a.parts[2];
        values.parts[0].first_block = 0;
        launch_heads(device, &a, w->type, w->type);
        launch_heads(device, &values, w->values, w->values);
    }
    rad_cuda_rotate_store_arguments r = {.queries = {.in = a.parts[0].y,
                                                     .out = a.parts[0].y,
                                                     .table = h.table,
                                                     .row = n_rows[0],
                                                     .stride = w->dim,
                                                     .n_heads = w->n_heads,
                                                     .n_pairs = w->dim / 2,
                                                     .n_rows = 1,
                                                     .interleaved = w->interleaved},
                                         .store = {.keys = a.parts[1].y,
                                                   .values = a.parts[2].y,
                                                   .rows = h.row,
                                                   .pages = h.pages,
                                                   .first = h.first,
                                                   .key_bytes = h.key_bytes,
                                                   .value_bytes = h.value_bytes,
                                                   .key_type = h.key_type,
                                                   .value_type = h.value_type,
                                                   .key_dim = w->dim,
                                                   .value_dim = w->value_dim,
                                                   .n_heads = w->n_kv_heads,
                                                   .n_rows = 1}};
    r.keys = r.queries;
    r.keys.in = r.keys.out = a.parts[1].y;
    r.keys.row = n_rows[1];
    r.keys.n_heads = w->n_kv_heads;
    if (!together)
        rad_test_launch(device, &rad_cuda_kernel_rotate_store, w->n_heads + w->n_kv_heads, 1, 1, 0,
                        &r);
    for (uint32_t i = 0; i < 3; i++) {
        result.y[i] = make(n_rows[i], sizeof(float));
        rad_test_download(device, result.y[i], a.parts[i].y, n_rows[i] * sizeof(float));
    }
    rad_test_download(device, result.pool, h.pages.pool, PAGES * page);
    free(x);
    return result;
}

static void check_heads(rad_cuda_device *device, const heads_way *w)
{
    const uint64_t page =
        256 + (uint64_t)w->n_kv_heads * 32 *
                  (w->dim * number_bytes(w->key_type) + w->value_dim * number_bytes(w->value_type));
    made apart = run_heads(device, w, false), together = run_heads(device, w, true);
    rad_test_same_floats(together.y[0], apart.y[0], w->n_heads * w->dim, "queries");
    rad_test_same_floats(together.y[1], apart.y[1], w->n_kv_heads * w->dim, "keys");
    rad_test_same_floats(together.y[2], apart.y[2], w->n_kv_heads * w->value_dim, "values");
    ck_assert_msg(memcmp(together.pool, apart.pool, PAGES * page) == 0, "the cache");
    for (int i = 0; i < 3; i++) {
        free(apart.y[i]);
        free(together.y[i]);
    }
    free(apart.pool);
    free(together.pool);
}

static const heads_way head_ways[] = {
    {RAD_TYPE_Q4_0, RAD_TYPE_Q4_0, 5, 4, 2, 64, 64, RAD_CACHE_F16, RAD_CACHE_F16, true, false},
    {RAD_TYPE_Q4_0, RAD_TYPE_Q4_0, 5, 2, 1, 64, 32, RAD_CACHE_F16, RAD_CACHE_F16, false, false},
    {RAD_TYPE_Q4_0, RAD_TYPE_Q4_0, 4, 2, 2, 96, 96, RAD_CACHE_BF16, RAD_CACHE_FP8, false, false},
    {RAD_TYPE_Q4_K, RAD_TYPE_Q4_K, 4, 3, 1, 32, 48, RAD_CACHE_F32, RAD_CACHE_F32, false, false},
    {RAD_TYPE_Q6_K, RAD_TYPE_Q6_K, 5, 2, 1, 128, 128, RAD_CACHE_F16, RAD_CACHE_F16, false, false},
    {RAD_TYPE_Q2_K, RAD_TYPE_Q2_K, 4, 1, 1, 16, 16, RAD_CACHE_FP8, RAD_CACHE_F16, true, false},
    {RAD_TYPE_A4_128, RAD_TYPE_A4_128, 5, 1, 2, 64, 64, RAD_CACHE_F16, RAD_CACHE_F16, false, true},
    {RAD_TYPE_Q4_K, RAD_TYPE_Q6_K, 4, 2, 1, 64, 64, RAD_CACHE_F16, RAD_CACHE_F16, true, false},
    {RAD_TYPE_Q5_K, RAD_TYPE_Q6_K, 5, 2, 1, 64, 96, RAD_CACHE_F16, RAD_CACHE_FP8, false, false},
    {RAD_TYPE_Q3_K, RAD_TYPE_Q4_K, 5, 1, 1, 64, 32, RAD_CACHE_F32, RAD_CACHE_F32, false, false},
    {RAD_TYPE_Q3_K, RAD_TYPE_Q5_K, 4, 1, 2, 32, 16, RAD_CACHE_F16, RAD_CACHE_F16, false, true},
    {RAD_TYPE_IQ4_XS, RAD_TYPE_Q5_K, 5, 2, 1, 64, 64, RAD_CACHE_BF16, RAD_CACHE_F16, false, false},
};

START_TEST(heads)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++) {
        rad_cuda_device *device = rad_test_device(order);
        check_heads(device, &head_ways[_i]);
        rad_test_device_close(device);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    tcase_add_loop_test(rad_test_case(suite, "formats"), formats, 0, N_TYPES);
    tcase_add_loop_test(rad_test_case(suite, "shapes"), shapes, 0,
                        (int)(sizeof ways / sizeof ways[0]));
    tcase_add_loop_test(rad_test_case(suite, "norms of formats"), norms_of_formats, 0, N_TYPES);
    tcase_add_loop_test(rad_test_case(suite, "norms of shapes"), norms_of_shapes, 0,
                        (int)(sizeof norm_ways / sizeof norm_ways[0]));
    tcase_add_loop_test(rad_test_case(suite, "heads"), heads, 0,
                        (int)(sizeof head_ways / sizeof head_ways[0]));
}

int main(void)
{
    return rad_test_main("cuda_behind", add_cases);
}
