/* How fast a device copies, launches and multiplies: device_bench [SHARE [PART]...], lines of name,
 * shape, microseconds and what that is a second. SHARE (1) makes sizes smaller, and measures once,
 * to try the program. PART: memory, attention, adapters, best, or a type of weights as it is
 * printed; without any all of them. What fails ends the program: parts that must not cost each
 * other are runs of their own.
 *
 * Weights and activations are random bytes: speed does not ask what they are. Each is run from a
 * graph of several launches, which read different copies of the weights so that the second-level
 * cache does not hold them, and the best of five times is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/half.h"
#include "backend/cuda/layout.h"
#include "kernels/cpu/layer.h"
#include "kernels/cuda/kernels_layer.h"

enum { LAUNCHES = 16, TIMES = 5 };

static rad_cuda_device *device;
static uint32_t share = 1;

static uint32_t n_launches(void)
{
    return share > 1 ? 2 : LAUNCHES;
}

static void check(radllm_status status, const char *what)
{
    if (status != RADLLM_OK) {
        printf("# %s: %s\n", what, device->message);
        exit(1);
    }
}

static void *take(uint64_t bytes)
{
    void *memory;
    check(device->alloc(device, bytes, &memory), "memory");
    check(device->fill(device, RAD_CUDA_COMPUTE, memory, 0x35, bytes), "filling");
    return memory;
}

static void give(void *memory)
{
    check(device->free(device, memory), "freeing");
}

/* ---- time ----------------------------------------------------------------------------------- */

typedef void (*work_fn)(void *user, uint32_t i);

static void record(rad_cuda_event *event)
{
    check(device->event_record(device, event, RAD_CUDA_COMPUTE), "event");
}

/* Microseconds of one of LAUNCHES calls of work, the best of several times; graph: from a graph. */
static double measure_by(work_fn work, void *user, bool by_graph)
{
    rad_cuda_graph *graph = NULL;
    rad_cuda_event *from, *to;
    double best = 0;
    if (by_graph) {
        check(device->capture_begin(device), "capture");
        for (uint32_t i = 0; i < n_launches(); i++)
            work(user, i);
        check(device->capture_end(device, &graph), "capture");
    }
    check(device->event_new(device, &from), "event");
    check(device->event_new(device, &to), "event");
    for (int i = 0; i <= (share > 1 ? 1 : TIMES); i++) { /* the first one warms up */
        float milliseconds;
        record(from);
        for (uint32_t k = 0; k < n_launches() && !by_graph; k++)
            work(user, k);
        if (by_graph)
            check(device->graph_launch(device, graph), "graph");
        record(to);
        check(device->event_wait(device, to), "computing");
        check(device->event_milliseconds(device, from, to, &milliseconds), "time");
        double each = (double)milliseconds * 1000.0 / n_launches();
        best = i == 1 || (i > 1 && each < best) ? each : best;
    }
    device->event_free(device, from);
    device->event_free(device, to);
    device->graph_free(device, graph);
    return best;
}

static double measure(work_fn work, void *user)
{
    return measure_by(work, user, true);
}

static void print(const char *name, const char *shape, double microseconds, double amount,
                  const char *unit)
{
    double second = microseconds > 0 ? amount / microseconds * 1e6 : 0;
    printf("%-22s %-22s %10.2f us %10.1f %s\n", name, shape, microseconds, second, unit);
    fflush(stdout);
}

/* ---- memory and launches ----------------------------------------------------------------------
 */

typedef struct copies {
    uint8_t *from, *to;
    uint64_t bytes;
} copies;

static void copy_once(void *user, uint32_t i)
{
    copies *c = user;
    (void)i;
    check(device->copy(device, RAD_CUDA_COMPUTE, c->to, c->from, c->bytes), "copying");
}

static void upload_once(void *user, uint32_t i)
{
    copies *c = user;
    (void)i;
    check(device->upload(device, RAD_CUDA_COMPUTE, c->to, c->from, c->bytes), "uploading");
}

static void add_once(void *user, uint32_t i)
{
    (void)i;
    check(device->launch(device, &rad_cuda_kernel_add, (rad_cuda_grid){1, 1, 1}, 0, user), "add");
}

static void bench_memory(void)
{
    copies c = {.bytes = ((uint64_t)512 << 20) / share};
    void *pinned;
    char shape[40];
    c.from = take(c.bytes);
    c.to = take(c.bytes);
    snprintf(shape, sizeof shape, "%llu MiB", (unsigned long long)(c.bytes >> 20));
    print("copy", shape, measure(copy_once, &c), 2e-9 * (double)c.bytes, "GB/s read and written");
    check(device->host_alloc(device, c.bytes, &pinned), "pinned memory");
    give(c.from);
    c.from = pinned;
    print("upload", shape, measure_by(upload_once, &c, false), 1e-9 * (double)c.bytes, "GB/s");
    check(device->host_free(device, pinned), "pinned memory");
    rad_cuda_add_arguments a = {(float *)(void *)c.to, (float *)(void *)(c.to + 4096), 1024};
    print("launch", "in a graph", measure(add_once, &a), 1e-3, "thousand/s");
    give(c.to);
}

/* ---- products ---------------------------------------------------------------------------------
 */

typedef struct product {
    rad_type type;
    uint32_t n_rows, n_columns, n_tokens;
    uint64_t bytes; /* of a copy of the weights */
    uint8_t *weights, *x;
    float *y;
    uint32_t n_copies;
    uint32_t kernel;      /* of bench_tiles() */
    const float *rounded; /* of round_once() */
} product;

static rad_cuda_product_part part_of(const product *p, uint32_t i)
{
    return (rad_cuda_product_part){.weights = p->weights + i % p->n_copies * p->bytes,
                                   .y = p->y,
                                   .n_rows = p->n_rows,
                                   .y_stride = p->n_rows};
}

static void many_once(const product *p, uint32_t i)
{
    rad_cuda_many_arguments many = {.parts = {part_of(p, i)},
                                    .tiles = p->x,
                                    .n_parts = 1,
                                    .n_columns = p->n_columns,
                                    .n_tokens = p->n_tokens};
    rad_cuda_grid grid = {(p->n_rows + RAD_CUDA_MANY_ROWS - 1) / RAD_CUDA_MANY_ROWS,
                          (p->n_tokens + RAD_CUDA_MANY_TOKENS - 1) / RAD_CUDA_MANY_TOKENS, 1};
    check(device->launch(device, rad_cuda_many_kernel(p->type), grid, 0, &many), "many");
}

static void quantized_once(void *user, uint32_t i)
{
    const product *p = user;
    rad_cuda_few_launch how =
        rad_cuda_few_choose(p->type, p->n_rows, p->n_columns, p->n_tokens, &device->properties);
    if (p->n_tokens > how.n_tokens) {
        many_once(p, i);
        return;
    }
    rad_cuda_few_arguments few = {.parts = {part_of(p, i)},
                                  .tiles = p->x,
                                  .n_parts = 1,
                                  .n_columns = p->n_columns,
                                  .n_tokens = p->n_tokens,
                                  .rows_log2 = how.rows_log2};
    uint32_t rows = 1u << how.rows_log2;
    check(device->launch(device, how.kernel, (rad_cuda_grid){(p->n_rows + rows - 1) / rows, 1, 1},
                         how.shared_bytes, &few),
          "few");
}

static rad_cuda_half_arguments half_arguments(const product *p, uint32_t i)
{
    rad_cuda_half_arguments a = {.parts = {part_of(p, i)},
                                 .halves = (const uint16_t *)(const void *)p->x,
                                 .n_parts = 1,
                                 .n_columns = p->n_columns,
                                 .n_tokens = p->n_tokens};
    rad_cuda_half_prepare(p->type, p->n_tokens, &a);
    return a;
}

static void half_once(void *user, uint32_t i)
{
    const product *p = user;
    rad_cuda_half_arguments a = half_arguments(p, i);
    check(rad_cuda_half_product(device, p->type, &a, 1), "half");
}

static radllm_status multiply_by(const product *p, uint32_t i)
{
    rad_cuda_half_arguments a = half_arguments(p, i);
    return rad_cuda_half_product_by(device, p->type, &a, 1, p->kernel);
}

/* Weights with scales by multiply-adds, in the CPU's order (gpu_apart=32). */
static void adds_once(void *user, uint32_t i)
{
    const product *p = user;
    rad_cuda_dot_arguments a = {.parts = {part_of(p, i)},
                                .x = (const float *)(const void *)p->x,
                                .x_stride = p->n_columns,
                                .n_parts = 1,
                                .n_columns = p->n_columns,
                                .n_tokens = p->n_tokens};
    rad_cuda_grid grid = {(p->n_rows + RAD_CUDA_DOT_ROWS - 1) / RAD_CUDA_DOT_ROWS,
                          (p->n_tokens + RAD_CUDA_DOT_TOKENS - 1) / RAD_CUDA_DOT_TOKENS, 1};
    check(device->launch(device,
                         p->type == RAD_TYPE_FP8 ? &rad_cuda_kernel_dot_fp8
                                                 : &rad_cuda_kernel_dot_level4,
                         grid, 0, &a),
          "multiply-adds");
}

static void round_once(void *user, uint32_t i)
{
    const product *p = user;
    rad_cuda_half_arguments a = half_arguments(p, i);
    check(rad_cuda_half_round(device, p->type, p->rounded, p->n_columns, p->n_tokens, false, &a),
          "rounding");
}

static void tile_once(void *user, uint32_t i)
{
    check(multiply_by(user, i), "half");
}

/* Each of the kernels among which products by matrix instructions of floats choose. */
static void bench_tiles(product *p, const char *shape)
{
    bool scaled = rad_cuda_is_scaled(p->type);
    uint32_t first = p->n_tokens > 64 && !scaled ? 3 : 1; /* small tiles are for few tokens */
    uint32_t end = scaled ? RAD_CUDA_SCALED_KERNELS : RAD_CUDA_HALF_KERNELS;
    for (p->kernel = first; p->kernel < end; p->kernel++)
        if (multiply_by(p, 0) != RADLLM_E_UNSUPPORTED)
            print(rad_cuda_half_kernel(p->type, p->kernel)->name, shape, measure(tile_once, p),
                  2e-12 * p->n_rows * p->n_columns * p->n_tokens, "T operations/s");
}

static void print_product(const char *name, const char *shape, const product *p, double time)
{
    if (p->n_tokens <= RAD_CUDA_SOME_TOKENS)
        print(name, shape, time, 1e-9 * (double)p->bytes, "GB/s of weights");
    else
        print(name, shape, time, 2e-12 * p->n_rows * p->n_columns * p->n_tokens, "T operations/s");
}

/* What weights with scales have besides: the rounding of activations, and the former kernels. */
static void bench_scaled(product *p, const char *type, const char *shape)
{
    char name[32];
    uint64_t inputs = (uint64_t)p->n_tokens * p->n_columns;
    uint8_t *halves = p->x, *floats = take(inputs * sizeof(float));
    p->rounded = (const float *)(const void *)floats;
    snprintf(name, sizeof name, "%s rounding", type);
    print(name, shape, measure(round_once, p), 6e-9 * (double)inputs, "GB/s");
    p->x = floats;
    snprintf(name, sizeof name, "%s multiply-adds", type);
    print_product(name, shape, p, measure(adds_once, p));
    p->x = halves;
    give(floats);
}

static void bench_product(const char *name, rad_type type, uint32_t n_rows, uint32_t n_columns,
                          uint32_t n_tokens)
{
    bool scaled = rad_cuda_is_scaled(type);
    bool half = type == RAD_TYPE_F16 || type == RAD_TYPE_BF16 || scaled;
    product p = {.type = type,
                 .n_rows = (n_rows / share + 31) / 32 * 32,
                 .n_columns = (n_columns / share + 255) / 256 * 256,
                 .n_tokens = n_tokens > 1 && n_tokens / share > 1 ? n_tokens / share : n_tokens};
    p.bytes = half ? rad_matrix_bytes(type, RAD_LAYOUT_FILE, p.n_rows, p.n_columns)
                   : rad_cuda_matrix_bytes(type, p.n_rows, p.n_columns);
    /* Twice what the cache holds, so that each launch finds its copy in memory alone. */
    p.n_copies = (uint32_t)(2 * device->properties.l2_bytes / p.bytes + 1);
    p.n_copies = p.n_copies > LAUNCHES ? LAUNCHES : p.n_copies;
    p.weights = take(p.n_copies * p.bytes);
    p.x = take(half ? rad_cuda_halves_bytes(p.n_tokens, p.n_columns)
                    : rad_cuda_tiles_bytes(p.n_tokens, p.n_columns));
    p.y = take((uint64_t)p.n_tokens * p.n_rows * sizeof(float));
    char shape[48];
    snprintf(shape, sizeof shape, "%u x %u, %u", p.n_rows, p.n_columns, p.n_tokens);
    double time = measure(half ? half_once : quantized_once, &p);
    print_product(name, shape, &p, time);
    if ((type == RAD_TYPE_F16 || scaled) && p.n_tokens > RAD_CUDA_HALF_FEW_TOKENS)
        bench_tiles(&p, shape);
    if (scaled)
        bench_scaled(&p, name, shape);
    give(p.weights);
    give(p.x);
    give(p.y);
}

/* ---- attention --------------------------------------------------------------------------------
 */

typedef struct attention {
    rad_cuda_attend_arguments arguments;
    uint32_t rows;
} attention;

static void attend_once(void *user, uint32_t i)
{
    attention *t = user;
    rad_cuda_attend_arguments *a = &t->arguments;
    (void)i;
    check(device->launch(device, rad_cuda_attend_kernel(a, t->rows),
                         (rad_cuda_grid){a->n_blocks, a->n_kv_heads * a->head_blocks, a->n_parts},
                         rad_cuda_attend_shared(a, t->rows), a),
          "attention");
    if (rad_cuda_attend_is_merged_apart(a))
        check(device->launch(device, &rad_cuda_kernel_attend_merge,
                             (rad_cuda_grid){a->n_blocks, a->n_heads, 1},
                             rad_cuda_attend_merge_shared(a->value_dim), a),
              "merging");
}

static void *take_copy(const void *from, uint64_t bytes)
{
    void *memory = take(bytes);
    check(device->upload(device, RAD_CUDA_COMPUTE, memory, from, bytes), "uploading");
    check(device->synchronize(device, RAD_CUDA_COMPUTE), "uploading");
    return memory;
}

static void *room(uint64_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        exit(1);
    return memory;
}

/* ---- adapters, the best tokens ------------------------------------------------------------------
 */

typedef struct adapter {
    rad_cuda_adapt_arguments down, up;
} adapter;

static void adapt_once(void *user, uint32_t i)
{
    const adapter *t = user;
    const rad_cuda_adapt_arguments *a = &t->down;
    uint32_t tokens = (a->n_tokens + RAD_CUDA_ADAPT_TOKENS - 1) / RAD_CUDA_ADAPT_TOKENS;
    (void)i;
    rad_cuda_grid down = {(a->n_rows + RAD_CUDA_ADAPT_A_ROWS - 1) / RAD_CUDA_ADAPT_A_ROWS, tokens,
                          1};
    rad_cuda_grid up = {(t->up.n_rows + RAD_CUDA_ADAPT_B_ROWS - 1) / RAD_CUDA_ADAPT_B_ROWS, tokens,
                        1};
    check(device->launch(device, &rad_cuda_kernel_adapt_down_f16, down, 0, a), "adapter");
    check(device->launch(device, &rad_cuda_kernel_adapt_up_f16, up, 0, &t->up), "adapter");
}

/* What a changed matrix costs: both products of F16 pairs. */
static void bench_adapter(uint32_t n_rows, uint32_t n_columns, uint32_t rank, uint32_t n_tokens)
{
    char shape[48];
    uint8_t *a = take((uint64_t)rank * n_columns * 2), *b = take((uint64_t)rank * n_rows * 2);
    float *x = take((uint64_t)n_tokens * n_columns * 4), *y = take((uint64_t)n_tokens * n_rows * 4);
    float *between = take((uint64_t)n_tokens * rank * 4);
    adapter t = {{.matrix = a,
                  .x = x,
                  .y = between,
                  .x_stride = n_columns,
                  .y_stride = rank,
                  .n_rows = rank,
                  .n_columns = n_columns,
                  .n_tokens = n_tokens},
                 {.matrix = b,
                  .x = between,
                  .y = y,
                  .x_stride = rank,
                  .y_stride = n_rows,
                  .n_rows = n_rows,
                  .n_columns = rank,
                  .n_tokens = n_tokens,
                  .factor = 0.5f}};
    snprintf(shape, sizeof shape, "%u x %u by %u, %u", n_rows, n_columns, rank, n_tokens);
    print("adapter", shape, measure(adapt_once, &t), 2e-9 * rank * ((double)n_rows + n_columns),
          "GB/s of the pair");
    give(a);
    give(b);
    give(x);
    give(y);
    give(between);
}

typedef struct best {
    rad_cuda_greatest_arguments greatest;
    rad_cuda_candidates_arguments candidates;
    rad_cuda_draw_arguments draw;
    bool list, draws;
} best;

static void best_once(void *user, uint32_t i)
{
    const best *t = user;
    const rad_cuda_greatest_arguments *g = &t->greatest;
    rad_cuda_grid parts = {g->n_parts, g->n_rows, 1}, rows = {g->n_rows, 1, 1};
    (void)i;
    check(device->launch(device, &rad_cuda_kernel_greatest_parts, parts, 0, g), "greatest");
    check(device->launch(device, &rad_cuda_kernel_greatest, rows, 0, g), "greatest");
    if (t->draws) {
        check(device->launch(device, &rad_cuda_kernel_draw_sums, parts, 0, &t->draw), "draw");
        check(device->launch(device, &rad_cuda_kernel_draw, rows, 0, &t->draw), "draw");
    }
    if (!t->list)
        return;
    const rad_cuda_candidates_arguments *c = &t->candidates;
    check(device->launch(device, &rad_cuda_kernel_candidate_counts, parts, 0, c), "best");
    check(device->launch(device, &rad_cuda_kernel_candidate_keys, parts, 0, c), "best");
    check(device->launch(device, &rad_cuda_kernel_candidates, rows, 0, c), "best");
}

/* Of logits that are spread as those of a model: sums of four uniform numbers. */
static void bench_best(uint32_t n_vocab, uint32_t n_rows)
{
    uint64_t n = (uint64_t)n_rows * n_vocab, seed = 1;
    float *numbers = room(n * sizeof *numbers);
    char shape[48];
    for (uint64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        for (int k = 0; k < 4; k++)
            numbers[i] += (float)(seed >> (16 * k) & 0xffff) * 0x1p-13f;
    }
    float *logits = take_copy(numbers, n * sizeof *numbers);
    uint32_t n_parts = (n_vocab + 1023) / 1024 < 256 ? (n_vocab + 1023) / 1024 : 256;
    rad_cuda_greatest *parts = take((uint64_t)n_rows * n_parts * sizeof *parts);
    uint64_t counts_bytes = (uint64_t)n_rows * RAD_CUDA_CANDIDATE_BUCKETS * 4;
    uint8_t *counts = take(counts_bytes + (uint64_t)n_rows * 4);
    uint64_t *keys = take((uint64_t)n_rows * RAD_CUDA_CANDIDATE_ROOM * sizeof *keys);
    double *masses = take((uint64_t)n_rows * n_parts * sizeof *masses);
    void *chosen, *list, *drawn;
    rad_cuda_draw *draws = room(n_rows * sizeof *draws);
    for (uint32_t row = 0; row < n_rows; row++)
        draws[row] = (rad_cuda_draw){(row + 0.37) / n_rows, 0.8f};
    rad_cuda_draw *told = take_copy(draws, n_rows * sizeof *draws);
    free(draws);
    free(numbers);
    check(device->fill(device, RAD_CUDA_COMPUTE, counts, 0, counts_bytes + (uint64_t)n_rows * 4),
          "filling");
    check(device->host_alloc(device, n_rows * sizeof(rad_cuda_greatest), &chosen), "memory");
    check(device->host_alloc(device, n_rows * sizeof(rad_cuda_candidates), &list), "memory");
    check(device->host_alloc(device, n_rows * sizeof(rad_cuda_drawn), &drawn), "memory");
    best t = {{logits, parts, chosen, n_vocab, n_vocab, n_parts, n_rows},
              {logits, parts, (uint32_t *)(void *)counts, masses,
               (uint32_t *)(void *)(counts + counts_bytes), keys, list, n_vocab, n_vocab, n_parts,
               n_rows},
              {logits, parts, told, masses, drawn, n_vocab, n_vocab, n_parts, n_rows},
              false,
              false};
    snprintf(shape, sizeof shape, "%u of %u", n_rows, n_vocab);
    print("most likely", shape, measure(best_once, &t), 4e-9 * (double)n, "GB/s of logits");
    t.draws = true;
    print("and one drawn", shape, measure(best_once, &t), 4e-9 * (double)n, "GB/s of logits");
    t.draws = false;
    t.list = true;
    print("and the best 256", shape, measure(best_once, &t), 4e-9 * (double)n, "GB/s of logits");
    give(logits);
    give(parts);
    give(counts);
    give(keys);
    give(masses);
    check(device->host_free(device, chosen), "memory");
    check(device->host_free(device, list), "memory");
    check(device->host_free(device, drawn), "memory");
    give(told);
}

/* The last n_tokens of each of n_sequences of n_keys, whose pages stand one behind another. */
static void make_rows(attention *t, uint32_t n_sequences, uint32_t n_tokens, uint32_t n_keys)
{
    rad_cuda_attend_arguments *a = &t->arguments;
    uint32_t each = a->tokens_per_block, n_tiles = (n_keys + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    uint32_t n_rows = n_sequences * n_tokens, n_pages = n_sequences * n_tiles;
    rad_cuda_row *rows = room(n_rows * sizeof *rows);
    rad_cuda_attend_block *blocks = room(n_rows * sizeof *blocks);
    uint32_t *table = room(n_pages * sizeof *table);
    for (uint32_t i = 0; i < n_rows; i++) {
        uint32_t position = n_keys - n_tokens + i % n_tokens;
        rows[i] = (rad_cuda_row){position, position + 1, i / n_tokens, 0};
    }
    for (uint32_t s = 0; s < n_sequences; s++)
        for (uint32_t first = 0; first < n_tokens; first += each)
            blocks[a->n_blocks++] = (rad_cuda_attend_block){
                s * n_tokens + first, n_tokens - first < each ? n_tokens - first : each};
    for (uint32_t i = 0; i < n_pages; i++)
        table[i] = i;
    a->rows = take_copy(rows, n_rows * sizeof *rows);
    a->blocks = take_copy(blocks, a->n_blocks * sizeof *blocks);
    a->pages = (rad_cuda_pages){
        .pool = take((uint64_t)n_pages * a->n_kv_heads * (a->key_bytes + a->value_bytes)),
        .tables = take_copy(table, n_pages * sizeof *table),
        .page_bytes = (uint64_t)a->n_kv_heads * (a->key_bytes + a->value_bytes),
        .table_stride = n_tiles,
        .n_slots = n_tiles};
    free(rows);
    free(blocks);
    free(table);
}

/* Room for states, and counters behind them. */
static void take_states(rad_cuda_attend_arguments *a)
{
    uint64_t bytes = (uint64_t)a->n_blocks * a->n_kv_heads * a->head_blocks * a->heads_per_block *
                     a->tokens_per_block * a->n_units * rad_cuda_attend_state(a->value_dim) *
                     sizeof(float);
    uint64_t counters = rad_cuda_attend_counters(bytes) * sizeof(uint32_t);
    uint8_t *memory = take(bytes + counters + 1);
    a->states = (float *)(void *)memory;
    a->counters = (uint32_t *)(void *)(memory + bytes);
    check(device->fill(device, RAD_CUDA_COMPUTE, memory, 0, bytes + counters + 1), "filling");
}

/* 32 heads of 128 numbers, 8 of keys: the shape of an 8B model. */
static void bench_attention(const char *name, rad_cache_type type, uint32_t n_sequences,
                            uint32_t n_tokens, uint32_t n_keys)
{
    const uint32_t shared = device->properties.shared_bytes;
    n_keys = n_keys > share ? n_keys / share : 1;
    n_sequences = n_sequences > 1 && share > 1 ? 2 : n_sequences;
    n_tokens = n_tokens > n_keys ? n_keys : n_tokens;
    attention t = {.arguments = {.key_bytes = (uint32_t)rad_key_tile_bytes(type, 128),
                                 .value_bytes = (uint32_t)rad_value_tile_bytes(type, 128),
                                 .key_type = type,
                                 .value_type = type,
                                 .key_dim = 128,
                                 .value_dim = 128,
                                 .n_heads = 32,
                                 .n_kv_heads = 8,
                                 .scale = 0.088f}};
    rad_cuda_attend_arguments *a = &t.arguments;
    uint64_t width = (uint64_t)a->n_heads * 128 * sizeof(float);
    t.rows = rad_cuda_attend_choose(a, n_tokens, shared);
    rad_cuda_attend_heads(a, t.rows, n_tokens, shared);
    make_rows(&t, n_sequences, n_tokens, n_keys);
    a->queries = take((uint64_t)n_sequences * n_tokens * width);
    a->out = take((uint64_t)n_sequences * n_tokens * width);
    rad_cuda_attend_plan(a, n_keys, device->properties.multiprocessors, shared, UINT64_MAX);
    take_states(a);
    char shape[48];
    if (n_sequences > 1)
        snprintf(shape, sizeof shape, "%u times %u of %u", n_sequences, n_tokens, n_keys);
    else
        snprintf(shape, sizeof shape, "%u of %u", n_tokens, n_keys);
    double time = measure(attend_once, &t), pairs = 0;
    for (uint32_t i = 0; i < n_tokens; i++)
        pairs += n_keys - n_tokens + i + 1;
    if (n_tokens == 1)
        print(name, shape, time,
              1e-9 * n_sequences * n_keys / RAD_TILE_KEYS * (a->key_bytes + a->value_bytes) *
                  a->n_kv_heads,
              "GB/s of keys and values");
    else
        print(name, shape, time, 4e-12 * pairs * 128 * a->n_heads, "T operations/s");
    give(a->pages.pool);
    give((void *)(uintptr_t)a->pages.tables);
    give((void *)(uintptr_t)a->rows);
    give((void *)(uintptr_t)a->blocks);
    give((void *)(uintptr_t)a->queries);
    give(a->out);
    give(a->states);
}

static void bench_attentions(void)
{
    static const struct {
        const char *name;
        rad_cache_type type;
    } types[] = {{"attention F16", RAD_CACHE_F16}, {"attention Q8_0", RAD_CACHE_Q8_0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bench_attention(types[i].name, types[i].type, 1, 1, 64);
        bench_attention(types[i].name, types[i].type, 1, 1, 1024);
        bench_attention(types[i].name, types[i].type, 1, 1, 16384);
        bench_attention(types[i].name, types[i].type, 64, 1, 700);
        bench_attention(types[i].name, types[i].type, 1, 2048, 2048);
        bench_attention(types[i].name, types[i].type, 1, 2048, 16384);
    }
}

static bool is_wanted(int argc, char **argv, const char *part)
{
    bool wanted = argc <= 2;
    for (int i = 2; i < argc; i++)
        wanted = wanted || strcmp(argv[i], part) == 0;
    return wanted;
}

static void bench_products(const char *name, rad_type type)
{
    static const uint32_t tokens[] = {1, 2, 8, 16, 64, 2048};
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
        bench_product(name, type, 4096, 4096, tokens[t]);
        if (tokens[t] != 2 && (tokens[t] != 16 || type == RAD_TYPE_F16))
            bench_product(name, type, 14336, 4096, tokens[t]);
    }
    for (uint32_t rows = 4096; type == RAD_TYPE_F16 && rows <= 14336; rows += 10240)
        bench_product(name, type, rows, 4096, 512);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        rad_type type;
    } types[] = {
        {"Q4_0", RAD_TYPE_Q4_0},   {"Q4_K", RAD_TYPE_Q4_K},     {"Q5_K", RAD_TYPE_Q5_K},
        {"Q6_K", RAD_TYPE_Q6_K},   {"Q8_0", RAD_TYPE_Q8_0},     {"IQ4_XS", RAD_TYPE_IQ4_XS},
        {"MXFP4", RAD_TYPE_MXFP4}, {"A4_128", RAD_TYPE_A4_128}, {"F16", RAD_TYPE_F16},
        {"BF16", RAD_TYPE_BF16},   {"FP8", RAD_TYPE_FP8},       {"NF4", RAD_TYPE_NF4}};
    char message[RAD_CUDA_MESSAGE_SIZE] = "";
    share = argc > 1 && atoi(argv[1]) > 0 ? (uint32_t)atoi(argv[1]) : 1;
    if (rad_cuda_device_open(0, &device, message) != RADLLM_OK) {
        printf("# %s\n", message);
        return 77;
    }
    printf("# %s, compute capability %u, %u multiprocessors\n", device->properties.name,
           device->properties.capability, device->properties.multiprocessors);
    if (is_wanted(argc, argv, "memory"))
        bench_memory();
    if (is_wanted(argc, argv, "attention"))
        bench_attentions();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is_wanted(argc, argv, types[i].name))
            bench_products(types[i].name, types[i].type);
    for (uint32_t n = 1; n <= 64 && is_wanted(argc, argv, "adapters"); n *= 8) {
        bench_adapter(4096 / share, 4096 / share, 16, n);
        bench_adapter(14336 / share, 4096 / share, 16, n);
    }
    for (uint32_t n = 1; n <= 64 && is_wanted(argc, argv, "best"); n *= 8)
        bench_best(128256 / share, n);
    check(device->synchronize(device, RAD_CUDA_COMPUTE), "at the end");
    device->close(device);
    return 0;
}
