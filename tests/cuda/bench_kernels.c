/* How fast a device copies, launches and multiplies: device_bench [SHARE], lines of name, shape,
 * microseconds and what that is a second. SHARE (1) makes sizes smaller, to try the program.
 *
 * Weights and activations are random bytes: speed does not ask what they are. Each is run from a
 * graph of several launches, which read different copies of the weights so that the second-level
 * cache does not hold them, and the best of five times is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/half.h"
#include "backend/cuda/layout.h"

enum { LAUNCHES = 16, TIMES = 5 };

static rad_cuda_device *device;
static uint32_t share = 1;

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

/* Microseconds of one of LAUNCHES calls of work, the best of several times. */
static double measure(work_fn work, void *user)
{
    rad_cuda_graph *graph;
    rad_cuda_event *from, *to;
    double best = 0;
    check(device->capture_begin(device), "capture");
    for (uint32_t i = 0; i < LAUNCHES; i++)
        work(user, i);
    check(device->capture_end(device, &graph), "capture");
    check(device->event_new(device, &from), "event");
    check(device->event_new(device, &to), "event");
    for (int i = 0; i <= TIMES; i++) { /* the first one warms up */
        float milliseconds;
        check(device->event_record(device, from, RAD_CUDA_COMPUTE), "event");
        check(device->graph_launch(device, graph), "graph");
        check(device->event_record(device, to, RAD_CUDA_COMPUTE), "event");
        check(device->event_wait(device, to), "computing");
        check(device->event_milliseconds(device, from, to, &milliseconds), "time");
        double each = (double)milliseconds * 1000.0 / LAUNCHES;
        best = i == 1 || (i > 1 && each < best) ? each : best;
    }
    device->event_free(device, from);
    device->event_free(device, to);
    device->graph_free(device, graph);
    return best;
}

static void print(const char *name, const char *shape, double microseconds, double amount,
                  const char *unit)
{
    double second = microseconds > 0 ? amount / microseconds * 1e6 : 0;
    printf("%-16s %-22s %10.2f us %10.1f %s\n", name, shape, microseconds, second, unit);
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
    print("upload", shape, measure(upload_once, &c), 1e-9 * (double)c.bytes, "GB/s");
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
} product;

static rad_cuda_product_part part_of(const product *p, uint32_t i)
{
    return (rad_cuda_product_part){.weights = p->weights + i % p->n_copies * p->bytes,
                                   .y = p->y,
                                   .n_rows = p->n_rows,
                                   .y_stride = p->n_rows};
}

static void quantized_once(void *user, uint32_t i)
{
    const product *p = user;
    if (p->n_tokens > RAD_CUDA_PRODUCT_TOKENS) {
        rad_cuda_many_arguments many = {.parts = {part_of(p, i)},
                                        .tiles = p->x,
                                        .n_parts = 1,
                                        .n_columns = p->n_columns,
                                        .n_tokens = p->n_tokens};
        rad_cuda_grid grid = {(p->n_rows + RAD_CUDA_MANY_ROWS - 1) / RAD_CUDA_MANY_ROWS,
                              (p->n_tokens + RAD_CUDA_MANY_TOKENS - 1) / RAD_CUDA_MANY_TOKENS, 1};
        check(device->launch(device, rad_cuda_many_kernel(p->type), grid, 0, &many), "many");
        return;
    }
    rad_cuda_few_arguments few = {.parts = {part_of(p, i)},
                                  .tiles = p->x,
                                  .n_parts = 1,
                                  .n_columns = p->n_columns,
                                  .n_tokens = p->n_tokens,
                                  .rows_log2 =
                                      rad_cuda_few_rows_log2(p->type, p->n_rows, p->n_columns,
                                                             device->properties.multiprocessors)};
    uint32_t rows = 1u << few.rows_log2;
    check(device->launch(device, rad_cuda_few_kernel(p->type),
                         (rad_cuda_grid){(p->n_rows + rows - 1) / rows, 1, 1},
                         rad_cuda_few_shared_bytes(p->type, few.rows_log2), &few),
          "few");
}

static void half_once(void *user, uint32_t i)
{
    const product *p = user;
    rad_cuda_half_arguments a = {.parts = {part_of(p, i)},
                                 .halves = (const uint16_t *)(const void *)p->x,
                                 .n_parts = 1,
                                 .n_columns = p->n_columns,
                                 .n_tokens = p->n_tokens};
    check(rad_cuda_half_product(device, p->type, &a, 1), "half");
}

static void bench_product(const char *name, rad_type type, uint32_t n_rows, uint32_t n_columns,
                          uint32_t n_tokens)
{
    bool half = type == RAD_TYPE_F16 || type == RAD_TYPE_BF16;
    product p = {.type = type,
                 .n_rows = (n_rows / share + 31) / 32 * 32,
                 .n_columns = (n_columns / share + 255) / 256 * 256,
                 .n_tokens = n_tokens > 1 && n_tokens / share > 1 ? n_tokens / share : n_tokens};
    p.bytes = half ? (uint64_t)p.n_rows * p.n_columns * 2
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
    if (p.n_tokens <= RAD_CUDA_PRODUCT_TOKENS)
        print(name, shape, time, 1e-9 * (double)p.bytes, "GB/s of weights");
    else
        print(name, shape, time, 2e-12 * p.n_rows * p.n_columns * p.n_tokens, "T operations/s");
    give(p.weights);
    give(p.x);
    give(p.y);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        rad_type type;
    } types[] = {{"Q4_0", RAD_TYPE_Q4_0},   {"Q4_K", RAD_TYPE_Q4_K},
                 {"Q5_K", RAD_TYPE_Q5_K},   {"Q6_K", RAD_TYPE_Q6_K},
                 {"Q8_0", RAD_TYPE_Q8_0},   {"IQ4_XS", RAD_TYPE_IQ4_XS},
                 {"MXFP4", RAD_TYPE_MXFP4}, {"A4_128", RAD_TYPE_A4_128},
                 {"F16", RAD_TYPE_F16},     {"BF16", RAD_TYPE_BF16}};
    static const uint32_t tokens[] = {1, 8, 64, 2048};
    char message[RAD_CUDA_MESSAGE_SIZE] = "";
    share = argc > 1 && atoi(argv[1]) > 0 ? (uint32_t)atoi(argv[1]) : 1;
    if (rad_cuda_device_open(0, &device, message) != RADLLM_OK) {
        printf("# %s\n", message);
        return 77;
    }
    printf("# %s, compute capability %u, %u multiprocessors\n", device->properties.name,
           device->properties.capability, device->properties.multiprocessors);
    bench_memory();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
            bench_product(types[i].name, types[i].type, 4096, 4096, tokens[t]);
            if (tokens[t] != 8)
                bench_product(types[i].name, types[i].type, 14336, 4096, tokens[t]);
        }
    check(device->synchronize(device, RAD_CUDA_COMPUTE), "at the end");
    device->close(device);
    return 0;
}
