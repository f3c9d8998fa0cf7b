/* Writing keys and values to the cache, and attention to it, against the CPU's kernels in the order
 * of lib/backend/cpu/attention.c: equal bytes and equal bits, whatever the format, the policy, the
 * number of tokens and how the keys are divided among blocks. */
#include "cuda/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/layout.h"
#include "kernels/cpu/layer.h"
#include "kernels/cuda/kernels_layer.h"

#define CPU (&rad_layer_kernels_scalar)

enum {
    RANGE_TILES = 32,
    SEQUENCES = 2,
    SHARED_BYTES = 200 * 1024,
    SOME_PROCESSORS = 1 << 10,
    MANY_PROCESSORS = 1 << 20
};

/* What is tried. Two sequences, of which the last n_tokens tokens attend; the second one is `less`
 * positions shorter. */
typedef struct attention_case {
    rad_cache_type key_type, value_type;
    uint32_t key_dim, value_dim, n_heads, n_kv_heads;
    uint32_t length, less, n_tokens;
    uint32_t window, sinks;
    uint32_t n_slots; /* 0: a page for each tile */
    bool learned, alibi, bidirectional;
    float cap;
    float loud; /* queries are times that; 0: as they are */
} attention_case;

/* A case with its data, on the host and on the device. */
typedef struct setting {
    const attention_case *of;
    rad_cuda_device *device;
    uint32_t n_tiles, n_slots, n_sink_pages, n_rows;
    size_t key_bytes, value_bytes, first, page_bytes, pool_bytes;
    uint32_t *tables;
    uint8_t *pool;
    rad_cuda_row *rows; /* of the tokens that attend, and one that is none */
    float *queries, *sink_queries, *learned, *slopes, *wanted, *got;
    void *device_pool, *device_tables;
} setting;

static uint32_t length_of(const attention_case *c, uint32_t sequence)
{
    return sequence == 0 ? c->length : c->length - c->less;
}

static uint8_t *page_of(const setting *s, uint32_t sequence, uint32_t tile)
{
    uint32_t slot = tile < s->n_sink_pages ? tile : s->n_sink_pages + tile % s->n_slots;
    uint32_t stride = s->n_sink_pages + s->n_slots;
    return s->pool + s->tables[sequence * stride + slot] * s->page_bytes;
}

static void *zeros(size_t n)
{
    void *memory = calloc(n > 0 ? n : 1, 1);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

static float *floats(uint64_t seed, size_t n)
{
    float *values = zeros(n * sizeof *values);
    rad_test_floats(seed, values, n);
    return values;
}

static void make_rows(setting *s)
{
    const attention_case *c = s->of;
    s->n_rows = SEQUENCES * c->n_tokens + 1;
    s->rows = zeros(s->n_rows * sizeof *s->rows);
    for (uint32_t i = 0; i + 1 < s->n_rows; i++) {
        uint32_t sequence = i / c->n_tokens, length = length_of(c, sequence);
        uint32_t position = length - c->n_tokens + i % c->n_tokens;
        s->rows[i] =
            (rad_cuda_row){position, c->bidirectional ? length : position + 1, sequence, 0};
    }
}

static void make_pages(setting *s)
{
    const attention_case *c = s->of;
    uint32_t stride;
    s->key_bytes = rad_key_tile_bytes(c->key_type, c->key_dim);
    s->value_bytes = rad_value_tile_bytes(c->value_type, c->value_dim);
    s->first = s->key_bytes + s->value_bytes; /* another layer's, which stays as it is */
    s->page_bytes = s->first + c->n_kv_heads * (s->key_bytes + s->value_bytes);
    s->n_tiles = (c->length + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    s->n_sink_pages = (c->sinks + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    s->n_slots = c->n_slots != 0 ? c->n_slots : s->n_tiles;
    stride = s->n_sink_pages + s->n_slots;
    s->pool_bytes = SEQUENCES * stride * s->page_bytes;
    s->tables = zeros(SEQUENCES * stride * sizeof *s->tables);
    for (uint32_t i = 0; i < SEQUENCES * stride; i++) /* backwards, the sequences mixed */
        s->tables[i] = (SEQUENCES * stride - 1 - i) / stride + i % stride * SEQUENCES;
    s->pool = zeros(s->pool_bytes);
    memset(s->pool, 0xff, s->pool_bytes); /* NaN where nobody may look */
    s->device_tables =
        rad_test_upload(s->device, s->tables, SEQUENCES * stride * sizeof *s->tables);
}

static rad_cuda_pages device_pages(const setting *s)
{
    return (rad_cuda_pages){.pool = s->device_pool,
                            .tables = s->device_tables,
                            .page_bytes = s->page_bytes,
                            .table_stride = s->n_sink_pages + s->n_slots,
                            .n_sinks = s->n_sink_pages,
                            .n_slots = s->n_slots};
}

/* A row that is none, and all positions that somebody can see. */
static uint32_t make_store_rows(const setting *s, rad_cuda_row *rows)
{
    const attention_case *c = s->of;
    uint32_t n = 0;
    rows[n++] = (rad_cuda_row){0, 0, 0, 0};
    for (uint32_t sequence = 0; sequence < SEQUENCES; sequence++) {
        uint32_t length = length_of(c, sequence), held = s->n_slots * RAD_TILE_KEYS;
        uint32_t begin = c->n_slots != 0 && length > held ? (length - held + 31) / 32 * 32 : 0;
        for (uint32_t position = 0; position < length; position++)
            if (position >= begin || position < c->sinks)
                rows[n++] = (rad_cuda_row){position, position + 1, sequence, 0};
    }
    return n;
}

/* Rows of heads, all of which are rotated. */
static rad_cuda_rotate_arguments rotation_of(const setting *s, const float *values, uint32_t n,
                                             uint32_t n_heads, const void *table)
{
    uint32_t dim = s->of->key_dim;
    float *there = rad_test_upload(s->device, values, (size_t)n * n_heads * dim * 4);
    return (rad_cuda_rotate_arguments){.in = there,
                                       .out = there,
                                       .table = table,
                                       .row = n_heads * dim,
                                       .stride = dim,
                                       .n_heads = n_heads,
                                       .n_pairs = dim / 2,
                                       .n_rows = n};
}

static void rotate_rows(float *values, const float *table, uint32_t n, uint32_t n_heads,
                        uint32_t dim)
{
    for (uint32_t i = 0; i < n * n_heads; i++) {
        const float *cosines = table + (size_t)(i / n_heads) * (dim / 2 * 2);
        CPU->rotate(values + (size_t)i * dim, cosines, cosines + dim / 2, dim / 2, 0);
    }
}

static void norm_heads(float *values, const float *weight, size_t n, uint32_t dim)
{
    for (size_t i = 0; i < n; i++)
        CPU->rms_norm(values + i * dim, weight, 1e-5f, dim, values + i * dim);
}

/* Stores n rows with the rotation in front, and in some cases norms before that, of keys and of
 * QUERY_HEADS heads of queries. */
static void launch_rotated(const setting *s, const rad_cuda_store_arguments *store, float *keys)
{
    enum { QUERY_HEADS = 3 };
    const attention_case *c = s->of;
    const uint32_t n = store->n_rows;
    const size_t n_queries = (size_t)n * QUERY_HEADS * c->key_dim;
    float *table = floats(3, (size_t)n * c->key_dim), *queries = floats(4, n_queries);
    float *got = zeros(n_queries * sizeof *got);
    void *there = rad_test_upload(s->device, table, (size_t)n * c->key_dim * 4);
    rad_cuda_rotate_store_arguments a = {.queries = rotation_of(s, queries, n, QUERY_HEADS, there),
                                         .keys = rotation_of(s, keys, n, c->n_kv_heads, there),
                                         .store = *store};
    a.store.keys = a.keys.out;
    if (c->key_dim / 8 % 2 == 0) {
        float *weights = floats(5, 2 * (size_t)c->key_dim);
        a.norms = (rad_cuda_head_norms){
            .queries = rad_test_upload(s->device, weights, c->key_dim * sizeof *weights),
            .keys = rad_test_upload(s->device, weights + c->key_dim, c->key_dim * sizeof *weights),
            .n = c->key_dim,
            .epsilon = 1e-5f};
        norm_heads(queries, weights, (size_t)n * QUERY_HEADS, c->key_dim);
        norm_heads(keys, weights + c->key_dim, (size_t)n * c->n_kv_heads, c->key_dim);
        free(weights);
    }
    rad_test_is_result(s->device, a.queries.in, n_queries * sizeof *queries);
    rad_test_is_result(s->device, a.keys.in, (size_t)n * c->n_kv_heads * c->key_dim * 4);
    rad_test_is_result(s->device, store->values, (size_t)n * c->n_kv_heads * c->value_dim * 4);
    rad_test_launch(s->device, &rad_cuda_kernel_rotate_store, QUERY_HEADS + c->n_kv_heads,
                    n < 40 ? n : 40, 1, 0, &a);
    rotate_rows(keys, table, n, c->n_kv_heads, c->key_dim);
    rotate_rows(queries, table, n, QUERY_HEADS, c->key_dim);
    rad_test_download(s->device, got, a.queries.out, n_queries * sizeof *got);
    ck_assert_mem_eq(got, queries, n_queries * sizeof *got);
    free(table);
    free(queries);
    free(got);
}

static void check_store(setting *s)
{
    const attention_case *c = s->of;
    rad_cuda_row *rows = zeros((size_t)(SEQUENCES * c->length + 1) * sizeof *rows);
    uint32_t n = make_store_rows(s, rows);
    size_t key_width = (size_t)c->n_kv_heads * c->key_dim;
    size_t value_width = (size_t)c->n_kv_heads * c->value_dim;
    float *keys = floats(1, n * key_width), *values = floats(2, n * value_width);
    uint8_t *got = zeros(s->pool_bytes);
    rad_cuda_store_arguments a = {.values = rad_test_upload(s->device, values, n * value_width * 4),
                                  .rows = rad_test_upload(s->device, rows, n * sizeof *rows),
                                  .first = s->first,
                                  .key_bytes = (uint32_t)s->key_bytes,
                                  .value_bytes = (uint32_t)s->value_bytes,
                                  .key_type = c->key_type,
                                  .value_type = c->value_type,
                                  .key_dim = c->key_dim,
                                  .value_dim = c->value_dim,
                                  .n_heads = c->n_kv_heads,
                                  .n_rows = n};
    s->device_pool = rad_test_upload(s->device, s->pool, s->pool_bytes);
    a.pages = device_pages(s);
    if (c->key_dim % 2 == 0) { /* keys become the rotated ones */
        launch_rotated(s, &a, keys);
    } else {
        a.keys = rad_test_upload(s->device, keys, n * key_width * 4);
        rad_test_launch(s->device, &rad_cuda_kernel_store, c->n_kv_heads, n < 40 ? n : 40, 1, 0,
                        &a);
    }
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t head = 0; head < c->n_kv_heads; head++) {
            uint8_t *page = page_of(s, rows[i].sequence, rows[i].position / RAD_TILE_KEYS);
            uint8_t *tile = page + s->first + head * (s->key_bytes + s->value_bytes);
            uint32_t slot = rows[i].position % RAD_TILE_KEYS;
            CPU->store_key(keys + i * key_width + head * c->key_dim, c->key_dim, c->key_type, tile,
                           slot);
            CPU->store_value(values + i * value_width + head * c->value_dim, c->value_dim,
                             c->value_type, tile + s->key_bytes, slot);
        }
    rad_test_download(s->device, got, s->device_pool, s->pool_bytes);
    for (size_t i = 0; i < s->pool_bytes; i++)
        if (got[i] != s->pool[i]) /* Check notes every assertion, which is slow */
            ck_abort_msg("byte %zu of %zu of a page is %u, not %u", i % s->page_bytes,
                         s->page_bytes, got[i], s->pool[i]);
    free(rows);
    free(keys);
    free(values);
    free(got);
}

/* ---- the CPU's order ------------------------------------------------------------------------- */

typedef struct query {
    const setting *setting;
    rad_cuda_row row;
    uint32_t head, kv_head;
    const float *values;
    uint8_t integers[10 * 1024];
    float *state;
    rad_attention_shape shape;
} query;

static void see_tile(query *q, uint32_t tile, bool of_sinks)
{
    const setting *s = q->setting;
    const attention_case *c = s->of;
    uint32_t start = tile * RAD_TILE_KEYS, position = q->row.position;
    uint32_t low = c->window != 0 && position >= c->window ? position - c->window + 1 : 0;
    uint32_t high = q->row.end;
    if (of_sinks) {
        low = 0;
        high = high < c->sinks ? high : c->sinks;
    } else if (low < c->sinks) {
        low = c->sinks;
    }
    uint32_t last_counted = c->sinks + c->window - 1;
    int32_t distance =
        (int32_t)(start - (of_sinks && position > last_counted ? last_counted : position));
    uint8_t first = (uint8_t)(low <= start ? 0 : low - start < 32 ? low - start : 32);
    uint8_t last = (uint8_t)(high <= start ? 0 : high - start < 32 ? high - start : 32);
    first = first > last ? last : first;
    rad_tile_queries queries = {.values = q->values,
                                .integers = q->integers,
                                .n = 1,
                                .first = &first,
                                .last = &last,
                                .slopes = c->alibi ? s->slopes + q->head : NULL,
                                .distances = &distance,
                                .states = q->state};
    if (first == last)
        return;
    const uint8_t *keys =
        page_of(s, q->row.sequence, tile) + s->first + q->kv_head * (s->key_bytes + s->value_bytes);
    CPU->attend_tile(&q->shape, &queries, keys, keys + s->key_bytes);
}

static void take_query(query *q, const float *values)
{
    q->values = values;
    CPU->quantize_query(values, q->shape.key_dim, q->integers);
}

static void attend_on_cpu(setting *s, uint32_t row, uint32_t head)
{
    const attention_case *c = s->of;
    size_t width = rad_attention_state_floats(c->value_dim);
    float *state = zeros(width * sizeof *state), *part = zeros(width * sizeof *part);
    size_t at = ((size_t)row * c->n_heads + head) * c->key_dim;
    query *q = zeros(sizeof *q);
    *q = (query){.setting = s, .row = s->rows[row], .head = head, .state = state};
    q->kv_head = head / (c->n_heads / c->n_kv_heads);
    q->shape =
        (rad_attention_shape){c->key_dim, c->value_dim, c->key_type, c->value_type, 0.3f, c->cap};
    state[c->value_dim] = c->learned ? s->learned[head] : -INFINITY;
    state[c->value_dim + 1] = c->learned ? 1.0f : 0.0f;
    uint32_t end = (q->row.end + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    uint32_t low =
        c->window != 0 && q->row.position >= c->window ? q->row.position - c->window + 1 : 0;
    uint32_t first = (low > c->sinks ? low : c->sinks) / RAD_TILE_KEYS;
    take_query(q, s->sink_queries + at);
    for (uint32_t tile = 0; tile < end && tile * RAD_TILE_KEYS < c->sinks; tile++)
        see_tile(q, tile, true);
    take_query(q, s->queries + at);
    for (uint32_t range = 0; range * RANGE_TILES < end; range++) {
        if (range > 0) {
            memset(part, 0, width * sizeof *part);
            part[c->value_dim] = -INFINITY;
            q->state = part;
        }
        for (uint32_t tile = range * RANGE_TILES; tile < (range + 1) * RANGE_TILES && tile < end;
             tile++)
            if (tile >= first)
                see_tile(q, tile, false);
        if (range > 0)
            CPU->merge_states(state, part, c->value_dim);
    }
    CPU->finish_attention(state, c->value_dim,
                          s->wanted + ((size_t)row * c->n_heads + head) * c->value_dim);
    free(state);
    free(part);
    free(q);
}

/* ---- on the device --------------------------------------------------------------------------- */

/* Blocks of the rows of each sequence, and one of the row that is none. */
static uint32_t make_blocks(const setting *s, uint32_t tokens, rad_cuda_attend_block *blocks)
{
    uint32_t n = 0, n_tokens = s->of->n_tokens;
    for (uint32_t sequence = 0; sequence < SEQUENCES; sequence++)
        for (uint32_t i = 0; i < n_tokens; i += tokens)
            blocks[n++] = (rad_cuda_attend_block){sequence * n_tokens + i,
                                                  n_tokens - i < tokens ? n_tokens - i : tokens};
    blocks[n++] = (rad_cuda_attend_block){s->n_rows - 1, 1};
    blocks[n++] = (rad_cuda_attend_block){0, 0};
    return n;
}

static rad_cuda_attend_arguments arguments_of(const setting *s)
{
    const attention_case *c = s->of;
    size_t n = (size_t)s->n_rows * c->n_heads;
    rad_cuda_attend_arguments a = {
        .queries = rad_test_upload(s->device, s->queries, n * c->key_dim * 4),
        .rows = rad_test_upload(s->device, s->rows, s->n_rows * sizeof *s->rows),
        .pages = device_pages(s),
        .first = s->first,
        .key_bytes = (uint32_t)s->key_bytes,
        .value_bytes = (uint32_t)s->value_bytes,
        .key_type = c->key_type,
        .value_type = c->value_type,
        .key_dim = c->key_dim,
        .value_dim = c->value_dim,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .window = c->window,
        .sinks = c->sinks,
        .scale = 0.3f,
        .cap = c->cap,
        .out = rad_test_upload(s->device, NULL, n * c->value_dim * 4)};
    if (c->sinks != 0)
        a.sink_queries = rad_test_upload(s->device, s->sink_queries, n * c->key_dim * 4);
    if (c->learned)
        a.learned_sinks = rad_test_upload(s->device, s->learned, c->n_heads * 4);
    if (c->alibi)
        a.slopes = rad_test_upload(s->device, s->slopes, c->n_heads * 4);
    return a;
}

/* What the kernel gave as tiles is what it gave, quantized. */
static void check_tiles(const setting *s, const rad_cuda_attend_arguments *a)
{
    const uint32_t width = a->n_heads * a->value_dim;
    const size_t size = rad_cuda_tiles_bytes(s->n_rows, width);
    uint8_t *got = zeros(size), *wanted = zeros(size);
    rad_cuda_quantize_arguments q = {.x = a->out,
                                     .tiles = rad_test_upload(s->device, NULL, size),
                                     .n_inputs = width,
                                     .n_columns = width,
                                     .block = a->tile_block};
    rad_test_launch(s->device, &rad_cuda_kernel_quantize, (width + 2047) / 2048, s->n_rows, 1, 0,
                    &q);
    rad_test_download(s->device, got, a->tiles, size);
    rad_test_download(s->device, wanted, q.tiles, size);
    ck_assert_msg(memcmp(got, wanted, size) == 0, "tiles of %u columns in blocks of %u", width,
                  a->tile_block);
    free(got);
    free(wanted);
}

/* The greatest of the blocks that the heads of a block of the grid are whole ones of; 0: none. */
static uint32_t tile_block_of(const rad_cuda_attend_arguments *a)
{
    const uint32_t columns = a->heads_per_block * a->value_dim;
    return !rad_cuda_attend_makes_tiles(a) ? 0
           : columns % 256 == 0            ? 256
           : columns % 64 == 0             ? 64
           : columns % 32 == 0             ? 32
                                           : 0;
}

/* Of a block's shared memory, at most. */
static uint32_t limit_of(const rad_cuda_device *device)
{
    const uint32_t there = device->properties.shared_bytes;
    return there < SHARED_BYTES ? there : (uint32_t)SHARED_BYTES;
}

/* multiprocessors: of the device that the plan is made for. */
static void run_division(const setting *s, rad_cuda_attend_arguments a, uint32_t rows,
                         uint32_t division, uint32_t multiprocessors)
{
    const attention_case *c = s->of;
    rad_cuda_attend_block *blocks = zeros((s->n_rows + 2) * sizeof *blocks);
    size_t n_out = (size_t)s->n_rows * c->n_heads * c->value_dim;
    rad_cuda_attend_heads(&a, rows, c->n_tokens, limit_of(s->device));
    a.n_blocks = make_blocks(s, a.tokens_per_block, blocks);
    a.blocks = rad_test_upload(s->device, blocks, a.n_blocks * sizeof *blocks);
    /* As the plan is made for a device that has much room, or none, or little to do. */
    uint64_t keys = c->window != 0 && c->window + 300u < c->length ? c->window + 300u : c->length;
    rad_cuda_attend_plan(&a, keys > 300 ? keys : 300, multiprocessors, limit_of(s->device),
                         UINT64_MAX);
    if (division == RAD_CUDA_ATTEND_WHOLE) {
        a.division = division;
        a.n_parts = 1;
    } else if (division == RAD_CUDA_ATTEND_RANGES && a.division != division) {
        a.division = division;
        a.n_parts = a.n_units = (uint32_t)(c->length / 1024 + 3);
    }
    ck_assert_uint_eq(a.division, division);
    size_t states = (size_t)a.n_blocks * a.n_kv_heads * a.head_blocks * a.heads_per_block *
                    a.tokens_per_block * a.n_units * rad_cuda_attend_state(c->value_dim);
    a.states = rad_test_upload(s->device, NULL, (states + 1) * 4);
    size_t n_counters = rad_cuda_attend_counters(states * 4);
    uint32_t *counters = zeros((n_counters + 1) * sizeof *counters);
    a.counters = rad_test_upload(s->device, counters, n_counters * sizeof *counters);
    a.tile_block = tile_block_of(&a);
    if (a.tile_block > 0)
        a.tiles = rad_test_upload(s->device, NULL,
                                  rad_cuda_tiles_bytes(s->n_rows, a.n_heads * a.value_dim));
    rad_test_launch(s->device, rad_cuda_attend_kernel(&a, rows), a.n_blocks,
                    a.n_kv_heads * a.head_blocks, a.n_parts, rad_cuda_attend_shared(&a, rows), &a);
    rad_test_download(s->device, counters, a.counters, n_counters * sizeof *counters);
    for (size_t i = 0; i < n_counters; i++)
        ck_assert_uint_eq(counters[i], 0);
    free(counters);
    if (rad_cuda_attend_is_merged_apart(&a))
        rad_test_launch(s->device, &rad_cuda_kernel_attend_merge, a.n_blocks, a.n_heads, 1,
                        rad_cuda_attend_merge_shared(c->value_dim), &a);
    rad_test_download(s->device, s->got, a.out, n_out * 4);
    if (a.tiles != NULL)
        check_tiles(s, &a);
    free(blocks);
}

/* In the CPU's order, with so many queries at a time. */
static void check_plain(const setting *s, rad_cuda_attend_arguments a, uint32_t order)
{
    static const uint32_t sizes[] = {8, 4, 1};
    size_t n_out = (size_t)s->n_rows * a.n_heads * a.value_dim;
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t division = 0; division < 3; division++) {
            if ((i + division + order) % 3 != 0) /* all of them in three orders */
                continue;
            run_division(s, a, sizes[i], division,
                         division == RAD_CUDA_ATTEND_TILES ? MANY_PROCESSORS : SOME_PROCESSORS);
            rad_test_same_floats(s->got, s->wanted, n_out, "attention");
        }
}

/* By matrix instructions: of integers equal to the CPU's, of halves near (values are below 1);
 * always the same. */
static void check_matrix(const setting *s, rad_cuda_attend_arguments a)
{
    const uint32_t many = rad_cuda_attend_many_rows(&a);
    const struct {
        uint32_t rows, division, multiprocessors;
    } ways[] = {{many, RAD_CUDA_ATTEND_WHOLE, SOME_PROCESSORS},
                {16, RAD_CUDA_ATTEND_TILES, MANY_PROCESSORS}, /* parts of 4 tiles */
                {16, RAD_CUDA_ATTEND_TILES, 1},               /* of 32 */
                {many, RAD_CUDA_ATTEND_RANGES, SOME_PROCESSORS},
                {16, RAD_CUDA_ATTEND_TILES, 12}, /* between */
                {16, RAD_CUDA_ATTEND_WHOLE, SOME_PROCESSORS}};
    size_t n_out = (size_t)s->n_rows * a.n_heads * a.value_dim;
    float *first = zeros(n_out * sizeof *first);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        run_division(s, a, ways[i].rows, ways[i].division, ways[i].multiprocessors);
        if (a.key_type == RAD_CACHE_F16)
            rad_test_near_floats(s->got, s->wanted, n_out, 0x1p-11, "attention by halves");
        else
            rad_test_same_floats(s->got, s->wanted, n_out, "attention by bytes");
        if (i == 0)
            memcpy(first, s->got, n_out * sizeof *first);
        rad_test_same_floats(s->got, first, n_out, "attention, divided otherwise");
    }
    free(first);
}

/* What kernels just before have made: queries, and the tiles of the tokens that attend; of more
 * tokens than rad_cuda_attend_choose() has it for, attend_few() reads some of these tiles early. */
static void note_results(const setting *s, const rad_cuda_attend_arguments *a)
{
    const attention_case *c = s->of;
    const size_t n = (size_t)s->n_rows * c->n_heads * c->key_dim * 4;
    rad_test_is_result(s->device, a->queries, n);
    rad_test_is_result(s->device, a->sink_queries, n);
    for (uint32_t i = 0; c->n_tokens <= RAD_CUDA_ATTEND_FEW_ROWS && i + 1 < s->n_rows; i++) {
        const uint8_t *page = page_of(s, s->rows[i].sequence, s->rows[i].position / RAD_TILE_KEYS);
        rad_test_is_result(s->device, (const uint8_t *)s->device_pool + (page - s->pool),
                           s->page_bytes);
    }
}

static void check_case(const attention_case *c, rad_cuda_device *device, uint32_t order)
{
    setting s = {.of = c, .device = device};
    make_rows(&s);
    make_pages(&s);
    check_store(&s);
    size_t n = (size_t)s.n_rows * c->n_heads;
    s.queries = floats(3, n * c->key_dim);
    for (size_t i = 0; i < n * c->key_dim && c->loud > 0.0f; i++)
        s.queries[i] *= c->loud;
    s.sink_queries = floats(4, n * c->key_dim);
    s.learned = floats(5, c->n_heads);
    s.slopes = floats(6, c->n_heads);
    s.wanted = zeros(n * c->value_dim * sizeof(float));
    s.got = zeros(n * c->value_dim * sizeof(float));
    for (uint32_t row = 0; row + 1 < s.n_rows; row++)
        for (uint32_t head = 0; head < c->n_heads; head++)
            attend_on_cpu(&s, row, head);
    rad_cuda_attend_arguments a = arguments_of(&s);
    note_results(&s, &a);
    check_plain(&s, a, order);
    if (rad_cuda_attend_takes_matrix(&a, limit_of(device)))
        check_matrix(&s, a);
    free(s.rows);
    free(s.tables);
    free(s.pool);
    free(s.queries);
    free(s.sink_queries);
    free(s.learned);
    free(s.slopes);
    free(s.wanted);
    free(s.got);
}

/* Long ones, and large heads, in one order of threads by turns. */
static void check_cases(const attention_case *cases, size_t n)
{
    for (uint32_t order = 0; order < RAD_TEST_ORDERS; order++)
        for (size_t i = 0; i < n; i++) {
            bool long_one = cases[i].length > 1000 || cases[i].key_dim >= 128;
            if (long_one && order != i % RAD_TEST_ORDERS)
                continue;
            rad_cuda_device *device = rad_test_device(order);
            check_case(&cases[i], device, order);
            rad_test_device_close(device);
        }
}

START_TEST(formats)
{
    attention_case cases[RAD_CACHE_TYPES * 2];
    for (uint32_t i = 0; i < RAD_CACHE_TYPES * 2; i++)
        cases[i] = (attention_case){
            .key_type = (rad_cache_type)(i % RAD_CACHE_TYPES),
            .value_type = (rad_cache_type)((i + i / RAD_CACHE_TYPES) % RAD_CACHE_TYPES),
            .key_dim = i < RAD_CACHE_TYPES ? 40 : 33,
            .value_dim = i < RAD_CACHE_TYPES ? 72 : 33,
            .n_heads = 3,
            .n_kv_heads = 1,
            .length = 77,
            .less = 40,
            .n_tokens = 3};
    check_cases(cases, RAD_CACHE_TYPES * 2);
}
END_TEST

START_TEST(policies)
{
    static const attention_case cases[] = {
        {.key_dim = 16,
         .value_dim = 16,
         .n_heads = 2,
         .n_kv_heads = 2,
         .length = 150,
         .less = 9,
         .n_tokens = 5,
         .window = 40,
         .n_slots = 3},
        {.key_type = RAD_CACHE_F16,
         .value_type = RAD_CACHE_F16,
         .key_dim = 16,
         .value_dim = 24,
         .n_heads = 5,
         .n_kv_heads = 1,
         .length = 140,
         .less = 100,
         .n_tokens = 3,
         .window = 50,
         .sinks = 4,
         .n_slots = 4,
         .alibi = true},
        {.key_type = RAD_CACHE_Q8_0,
         .value_type = RAD_CACHE_Q8_0,
         .key_dim = 32,
         .value_dim = 32,
         .n_heads = 2,
         .n_kv_heads = 1,
         .length = 120,
         .less = 100,
         .n_tokens = 2,
         .window = 30,
         .sinks = 35,
         .learned = true},
        {.key_dim = 20,
         .value_dim = 12,
         .n_heads = 2,
         .n_kv_heads = 1,
         .length = 45,
         .less = 20,
         .n_tokens = 25,
         .bidirectional = true,
         .cap = 2.0f},
        {.key_type = RAD_CACHE_F16,
         .value_type = RAD_CACHE_F16,
         .key_dim = 16,
         .value_dim = 16,
         .n_heads = 9,
         .n_kv_heads = 1,
         .length = 66,
         .less = 1,
         .n_tokens = 1,
         .learned = true,
         .alibi = true},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}
END_TEST

START_TEST(many_keys)
{
    static const attention_case cases[] = {
        {.key_type = RAD_CACHE_F16,
         .value_type = RAD_CACHE_F16,
         .key_dim = 8,
         .value_dim = 8,
         .n_heads = 2,
         .n_kv_heads = 1,
         .length = 2085,
         .less = 1060,
         .n_tokens = 2,
         .learned = true},
        {.key_dim = 4,
         .value_dim = 4,
         .n_heads = 1,
         .n_kv_heads = 1,
         .length = 3000,
         .less = 1400,
         .n_tokens = 2,
         .window = 1300,
         .sinks = 40,
         .n_slots = 43},
        {.key_type = RAD_CACHE_Q4_0,
         .value_type = RAD_CACHE_Q4_0,
         .key_dim = 32,
         .value_dim = 32,
         .n_heads = 1,
         .n_kv_heads = 1,
         .length = 1153,
         .less = 129,
         .n_tokens = 1},
        {.key_dim = 4, /* more ranges than warps that merge them */
         .value_dim = 4,
         .n_heads = 1,
         .n_kv_heads = 1,
         .length = 9300,
         .less = 9270,
         .n_tokens = 1},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}
END_TEST

START_TEST(large_heads)
{
    static const attention_case cases[] = {
        {.key_type = RAD_CACHE_F16,
         .value_type = RAD_CACHE_F16,
         .key_dim = 192,
         .value_dim = 128,
         .n_heads = 8,
         .n_kv_heads = 1,
         .length = 40,
         .less = 7,
         .n_tokens = 1},
        {.key_type = RAD_CACHE_BF16,
         .value_type = RAD_CACHE_BF16,
         .key_dim = 288,
         .value_dim = 256,
         .n_heads = 4,
         .n_kv_heads = 1,
         .length = 34,
         .less = 2,
         .n_tokens = 2},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}
END_TEST

/* Shapes that matrix instructions take: more queries than a block has, all policies. */
START_TEST(matrix_instructions)
{
    static const attention_case cases[] = {{.key_type = RAD_CACHE_F16,
                                            .key_dim = 48,
                                            .value_dim = 40,
                                            .n_heads = 4,
                                            .n_kv_heads = 1,
                                            .length = 75,
                                            .less = 40,
                                            .n_tokens = 19},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 64,
                                            .value_dim = 32,
                                            .n_heads = 4,
                                            .n_kv_heads = 1,
                                            .length = 75,
                                            .less = 40,
                                            .n_tokens = 19},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 3,
                                            .n_kv_heads = 1,
                                            .length = 110,
                                            .less = 3,
                                            .n_tokens = 7,
                                            .window = 50,
                                            .sinks = 4,
                                            .n_slots = 4,
                                            .alibi = true,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 3,
                                            .n_kv_heads = 1,
                                            .length = 110,
                                            .less = 3,
                                            .n_tokens = 7,
                                            .window = 50,
                                            .sinks = 4,
                                            .n_slots = 4,
                                            .alibi = true,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 8,
                                            .n_kv_heads = 2,
                                            .length = 300,
                                            .less = 290,
                                            .n_tokens = 2,
                                            .window = 0,
                                            .sinks = 0,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 8,
                                            .n_kv_heads = 2,
                                            .length = 300,
                                            .less = 290,
                                            .n_tokens = 2,
                                            .window = 70,
                                            .sinks = 5,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 4,
                                            .n_kv_heads = 1,
                                            .length = 72,
                                            .less = 38,
                                            .n_tokens = 33},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 64,
                                            .value_dim = 64,
                                            .n_heads = 8,
                                            .n_kv_heads = 1,
                                            .length = 140,
                                            .less = 120,
                                            .n_tokens = 1},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 64,
                                            .value_dim = 64,
                                            .n_heads = 8,
                                            .n_kv_heads = 2,
                                            .length = 70,
                                            .less = 3,
                                            .n_tokens = 2,
                                            .window = 30,
                                            .sinks = 4,
                                            .n_slots = 3,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 64,
                                            .value_dim = 64,
                                            .n_heads = 8,
                                            .n_kv_heads = 1,
                                            .length = 70,
                                            .less = 50,
                                            .n_tokens = 1},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 64,
                                            .value_dim = 64,
                                            .n_heads = 2,
                                            .n_kv_heads = 2,
                                            .length = 34,
                                            .less = 6,
                                            .n_tokens = 1},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 1,
                                            .n_kv_heads = 1,
                                            .length = 1064,
                                            .less = 1040,
                                            .n_tokens = 18,
                                            .cap = 2.0f},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 128,
                                            .value_dim = 128,
                                            .n_heads = 2,
                                            .n_kv_heads = 1,
                                            .length = 1064,
                                            .less = 1040,
                                            .n_tokens = 18,
                                            .loud = 6.0f},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 16,
                                            .value_dim = 8,
                                            .n_heads = 18,
                                            .n_kv_heads = 1,
                                            .length = 1100,
                                            .less = 1040,
                                            .n_tokens = 1,
                                            .cap = 2.0f},
                                           {.key_type = RAD_CACHE_Q8_0,
                                            .key_dim = 32,
                                            .value_dim = 32,
                                            .n_heads = 2,
                                            .n_kv_heads = 2,
                                            .length = 2100,
                                            .less = 70,
                                            .n_tokens = 9,
                                            .window = 1200,
                                            .learned = true},
                                           {.key_type = RAD_CACHE_F16,
                                            .key_dim = 32,
                                            .value_dim = 64,
                                            .n_heads = 1,
                                            .n_kv_heads = 1,
                                            .length = 70,
                                            .less = 1,
                                            .n_tokens = 69,
                                            .bidirectional = true}};
    attention_case used[sizeof cases / sizeof *cases];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        used[i] = cases[i];
        used[i].value_type = cases[i].key_type;
    }
    check_cases(used, sizeof cases / sizeof *cases);
}
END_TEST

#ifndef RAD_TEST_REAL_DEVICE
/* Devices of compute capability 7.5 and 8.9, whose shared memory such shapes fill but for some
 * bytes: what a kernel has besides must fit as well. */
START_TEST(small_shared_memory)
{
    static const char *const bytes[] = {"65536", "101376"};
    static const attention_case cases[] = {{.key_type = RAD_CACHE_Q8_0,
                                            .value_type = RAD_CACHE_Q8_0,
                                            .key_dim = 96,
                                            .value_dim = 96,
                                            .n_heads = 1,
                                            .n_kv_heads = 1,
                                            .length = 40,
                                            .less = 3,
                                            .n_tokens = 16},
                                           {.key_type = RAD_CACHE_F16,
                                            .value_type = RAD_CACHE_F16,
                                            .key_dim = 128,
                                            .value_dim = 96,
                                            .n_heads = 1,
                                            .n_kv_heads = 1,
                                            .length = 40,
                                            .less = 3,
                                            .n_tokens = 16}};
    setenv("RAD_EMULATED_SHARED", bytes[_i], 1);
    check_cases(&cases[_i], 1);
    unsetenv("RAD_EMULATED_SHARED");
}
END_TEST
#endif

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "attention");
#ifndef RAD_TEST_REAL_DEVICE
    tcase_add_loop_test(cases, small_shared_memory, 0, 2);
#endif
    tcase_add_test(cases, formats);
    tcase_add_test(cases, policies);
    tcase_add_test(cases, many_keys);
    tcase_add_test(cases, large_heads);
    cases = rad_test_case(suite, "matrix"); /* what tests/cuda/check has watched for races */
    tcase_add_test(cases, matrix_instructions);
}

int main(void)
{
    return rad_test_main("cuda_attention", add_cases);
}
