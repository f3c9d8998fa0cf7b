/* Times what a token costs outside the matrix products: the layer kernels of every instruction set,
 * sampling from large vocabularies, and a loop of the thread pool.
 *
 *   bench_layer [--match TEXT] [--seconds S]      --help says more
 *
 * Prints the best time of a call; for kernels also operations or bytes a second, for attention (to
 * 2048 keys that stand in the cache, with as many queries as share a tile) beside what
 * multiply-adds of the formats' arithmetic alone would take in registers. */
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "bench/machine_loops.h"
#include "kernels/cpu/layer.h"
#include "kernels/kernels.h"
#include "sample/sampler.h"

static const char *match = "";
static double seconds = 0.05;
static int n_selected;

static bool selected(const char *name)
{
    bool is = strstr(name, match) != NULL;
    n_selected += is;
    return is;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What is timed, and what one call does. */
typedef struct timed {
    void (*call)(void *data);
    void *data;
    double amount; /* of `unit`, in one call */
    const char *unit;
} timed;

/* With the time that the work would take at the processor's peak, where there is one. */
static void report_share(const char *name, const timed *job, double at_peak)
{
    if (!selected(name))
        return;
    double best = 1e30, start = now();
    do {
        double before = now();
        job->call(job->data);
        double taken = now() - before;
        best = taken < best ? taken : best;
    } while (now() - start < seconds);
    printf("%-44s %12.2f us", name, best * 1e6);
    if (job->amount > 0)
        printf(" %10.2f G%s/s", job->amount / best * 1e-9, job->unit);
    if (at_peak > 0)
        printf(" %5.1f %% of peak", 100 * at_peak / best);
    printf("\n");
    fflush(stdout);
}

static void report(const char *name, const timed *job)
{
    report_share(name, job, 0);
}

static float random_value(uint32_t i)
{
    uint32_t bits = (i + 1) * 2654435761u;
    bits ^= bits >> 15;
    bits *= 2246822519u;
    bits ^= bits >> 13;
    return (float)(bits >> 8) * 0x1p-23f - 1.0f;
}

static float *random_floats(size_t n)
{
    float *values = aligned_alloc(64, (n * sizeof *values + 63) / 64 * 64);
    if (values == NULL)
        exit(2);
    for (size_t i = 0; i < n; i++)
        values[i] = random_value((uint32_t)i);
    return values;
}

/* ---- the layer's kernels -----------------------------------------------------------------------
 */

enum { REPEATS = 16 }; /* calls of a short kernel in one measurement */

typedef struct row_job {
    const rad_layer_kernels *kernels;
    const float *x, *w;
    float *y;
    uint32_t n;
} row_job;

#define ROW_CALL(name, call)                                                                       \
    static void name(void *data)                                                                   \
    {                                                                                              \
        const row_job *j = data;                                                                   \
        for (int i = 0; i < REPEATS; i++)                                                          \
            j->kernels->call;                                                                      \
    }
ROW_CALL(time_rms_norm, rms_norm(j->x, j->w, 1e-5f, j->n, j->y))
ROW_CALL(time_layer_norm, layer_norm(j->x, j->w, j->w, 1e-5f, j->n, j->y))
ROW_CALL(time_silu, silu_multiply(j->x, j->w, j->n, j->y))
ROW_CALL(time_gelu, gelu_tanh_multiply(j->x, j->w, j->n, j->y))
ROW_CALL(time_add, add(j->x, j->w, j->n, j->y))
ROW_CALL(time_soft_cap, soft_cap(j->x, 30.0f, j->n, j->y))
ROW_CALL(time_rotate, rotate(j->y, j->x, j->w, 64, 0))
ROW_CALL(time_rotate_pairs, rotate(j->y, j->x, j->w, 64, 1))
ROW_CALL(time_store_key, store_key(j->x, 128, RAD_CACHE_F16, j->y, 5))
ROW_CALL(time_store_key_q8, store_key(j->x, 128, RAD_CACHE_Q8_0, j->y, 5))
ROW_CALL(time_store_value_q8, store_value(j->x, 128, RAD_CACHE_Q8_0, j->y, 5))
ROW_CALL(time_quantize_query, quantize_query(j->x, 128, j->y))
ROW_CALL(time_store_value, store_value(j->x, 128, RAD_CACHE_F16, j->y, 5))

static void bench_rows(const rad_layer_kernels *kernels, const char *isa)
{
    static const struct {
        const char *name;
        void (*call)(void *data);
        uint32_t n;
    } rows[] = {{"rms_norm", time_rms_norm, 4096},
                {"layer_norm", time_layer_norm, 4096},
                {"silu_multiply", time_silu, 4096},
                {"gelu_tanh_multiply", time_gelu, 4096},
                {"add", time_add, 4096},
                {"soft_cap", time_soft_cap, 4096},
                {"rotate", time_rotate, 128},
                {"rotate interleaved", time_rotate_pairs, 128},
                {"store_key f16", time_store_key, 128},
                {"store_value f16", time_store_value, 128},
                {"store_key q8_0", time_store_key_q8, 128},
                {"store_value q8_0", time_store_value_q8, 128},
                {"quantize_query", time_quantize_query, 128}};
    float *x = random_floats(4096), *w = random_floats(4096), *y = random_floats(8192);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[96];
        row_job job = {kernels, x, w, y, rows[i].n};
        timed measured = {rows[i].call, &job, (double)rows[i].n * REPEATS, "element"};
        snprintf(name, sizeof name, "%s %s %u (%d calls)", rows[i].name, isa, rows[i].n, REPEATS);
        report(name, &measured);
    }
    free(x);
    free(w);
    free(y);
}

/* ---- attention
 * -----------------------------------------------------------------------------------
 */

enum { MAX_TILES = 64, MAX_DIM = 128, MAX_QUERIES = 64 };

/* Multiply-adds a second of one thread in registers. */
typedef struct peaks {
    double bytes, words, floats;
} peaks;

static peaks measure_peaks(const char *isa)
{
    enum { ROUNDS = 1 << 18 };
    machine_loops loops = machine_best_loops(isa);
    peaks found = {0};
    for (int i = 0; i < 20; i++) {
        double start = now();
        double bytes = loops.int8 != NULL ? loops.int8(ROUNDS) / (now() - start) : 0;
        start = now();
        double floats = loops.real(ROUNDS) / (now() - start);
        found.bytes = bytes > found.bytes ? bytes : found.bytes;
        found.floats = floats > found.floats ? floats : found.floats;
    }
    found.words = found.bytes / 2; /* half as many in a register */
    return found;
}

typedef struct attend_job {
    const rad_layer_kernels *kernels;
    rad_attention_shape shape;
    const float *queries;
    uint8_t *integers;
    const uint8_t *keys, *values; /* tiles, one after the other */
    float *states;
    uint32_t n_queries, n_tiles;
} attend_job;

static void time_attend(void *data)
{
    const attend_job *j = data;
    uint8_t first[MAX_QUERIES], last[MAX_QUERIES];
    size_t width = rad_attention_state_floats(j->shape.value_dim);
    size_t key_bytes = rad_key_tile_bytes(j->shape.key_type, j->shape.key_dim);
    size_t value_bytes = rad_value_tile_bytes(j->shape.value_type, j->shape.value_dim);
    memset(first, 0, sizeof first);
    memset(last, RAD_TILE_KEYS, sizeof last);
    memset(j->states, 0, j->n_queries * width * sizeof *j->states);
    for (uint32_t i = 0; i < j->n_queries; i++)
        j->states[i * width + j->shape.value_dim] = -INFINITY;
    rad_tile_queries rows = {.values = j->queries,
                             .stride = j->shape.key_dim,
                             .integers = j->integers,
                             .integers_stride = rad_query_bytes(j->shape.key_dim),
                             .n = j->n_queries,
                             .first = first,
                             .last = last,
                             .states = j->states,
                             .state_stride = width};
    for (uint32_t t = 0; t < j->n_tiles; t++)
        j->kernels->attend_tile(&j->shape, &rows, j->keys + t * key_bytes,
                                j->values + t * value_bytes);
}

static void fill_tiles(const attend_job *job, const float *numbers, uint8_t *keys, uint8_t *values)
{
    const rad_attention_shape *shape = &job->shape;
    for (uint32_t position = 0; position < job->n_tiles * RAD_TILE_KEYS; position++) {
        size_t tile = position / RAD_TILE_KEYS;
        uint32_t slot = position % RAD_TILE_KEYS;
        const float *x = numbers + position;
        job->kernels->store_key(x, shape->key_dim, shape->key_type,
                                keys + tile * rad_key_tile_bytes(shape->key_type, shape->key_dim),
                                slot);
        job->kernels->store_value(
            x, shape->value_dim, shape->value_type,
            values + tile * rad_value_tile_bytes(shape->value_type, shape->value_dim), slot);
    }
    for (uint32_t i = 0; i < job->n_queries; i++)
        job->kernels->quantize_query(job->queries + (size_t)i * shape->key_dim, shape->key_dim,
                                     job->integers + i * rad_query_bytes(shape->key_dim));
}

static void report_attention(const char *name, attend_job *job, const peaks *peak)
{
    double macs = (double)job->n_queries * job->shape.key_dim * job->n_tiles * RAD_TILE_KEYS;
    double key_peak = rad_cache_type_is_integer(job->shape.key_type) ? peak->bytes : peak->floats;
    double value_peak =
        rad_cache_type_is_integer(job->shape.value_type) ? peak->words : peak->floats;
    timed measured = {time_attend, job, 2 * macs, "MAC"};
    report_share(name, &measured, macs / key_peak + macs / value_peak);
}

static void bench_attention(const rad_layer_kernels *kernels, const char *isa)
{
    static const uint32_t dims[] = {64, 128}, counts[] = {1, 4, 8, 16, 32};
    static const char *const types[RAD_CACHE_TYPES] = {"f32", "f16", "bf16", "fp8", "q8_0", "q4_0"};
    size_t n = (size_t)MAX_TILES * RAD_TILE_KEYS * MAX_DIM * sizeof(float);
    uint8_t *tiles = malloc(2 * n);
    float *queries = random_floats((size_t)MAX_QUERIES * MAX_DIM);
    float *numbers = random_floats((size_t)MAX_TILES * RAD_TILE_KEYS + MAX_DIM);
    float *states = random_floats((size_t)MAX_QUERIES * (MAX_DIM + 16));
    float *integers = random_floats(MAX_QUERIES * rad_query_bytes(MAX_DIM) / sizeof(float));
    if (tiles == NULL)
        exit(2);
    peaks peak = measure_peaks(strncmp(isa, "avx512", 6) == 0 ? "avx512" : "avx2");
    for (int type = 0; type < RAD_CACHE_TYPES; type++) {
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                char name[96];
                attend_job job = {
                    kernels,
                    {dims[d], dims[d], (rad_cache_type)type, (rad_cache_type)type, 0.125f, 0.0f},
                    queries,
                    (uint8_t *)integers,
                    tiles,
                    tiles + n,
                    states,
                    counts[c],
                    MAX_TILES};
                fill_tiles(&job, numbers, tiles, tiles + n);
                snprintf(name, sizeof name, "attention %s %s dim %u, %u queries", isa, types[type],
                         dims[d], counts[c]);
                report_attention(name, &job, &peak);
            }
        }
    }
    free(tiles);
    free(queries);
    free(numbers);
    free(states);
    free(integers);
}

/* ---- sampling ----------------------------------------------------------------------------------
 */

typedef struct sample_job {
    rad_sampler *sampler;
    rad_sampler_settings settings;
    const float *logits;
    const int32_t *history;
    uint32_t n_vocab, n_history;
    uint64_t position;
} sample_job;

static void time_sampler(void *data)
{
    sample_job *j = data;
    int32_t token;
    if (rad_sampler_choose(j->sampler, &j->settings, j->logits, j->n_vocab, j->history,
                           j->n_history, 0, j->position++, &token, NULL) != RADLLM_OK)
        exit(1);
}

static void time_log_probability(void *data)
{
    const sample_job *j = data;
    volatile double sink = rad_log_probability(j->logits, j->n_vocab, 7);
    (void)sink;
}

static void time_top_logprobs(void *data)
{
    const sample_job *j = data;
    rad_token_logprob top[20];
    rad_top_logprobs(j->logits, j->n_vocab, 20, top);
}

static const rad_sampler_settings off = {
    .temperature = 1.0f, .top_p = 1.0f, .typical_p = 1.0f, .repeat_penalty = 1.0f};

static void bench_chains(sample_job *job, const char *what)
{
    struct {
        const char *name;
        rad_sampler_settings settings;
    } chains[9];
    for (size_t i = 0; i < 9; i++)
        chains[i].settings = off;
    chains[0].name = "greedy";
    chains[0].settings.temperature = 0.0f;
    chains[1].name = "greedy, penalties";
    chains[1].settings.temperature = 0.0f;
    chains[1].settings.repeat_penalty = 1.1f;
    chains[1].settings.penalty_last_n = 64;
    chains[2].name = "temperature alone";
    chains[3].name = "top-k 40";
    chains[3].settings.top_k = 40;
    chains[4].name = "top-k 40, top-p 0.95, min-p 0.05";
    chains[4].settings.top_k = 40;
    chains[4].settings.top_p = 0.95f;
    chains[4].settings.min_p = 0.05f;
    chains[5].name = "top-p 0.95";
    chains[5].settings.top_p = 0.95f;
    chains[6].name = "typical 0.95";
    chains[6].settings.typical_p = 0.95f;
    chains[7].name = "min-p 0.05";
    chains[7].settings.min_p = 0.05f;
    chains[8].name = "top-p 0.95 at temperature 0.7";
    chains[8].settings.top_p = 0.95f;
    chains[8].settings.temperature = 0.7f;
    for (size_t i = 0; i < 9; i++) {
        char name[96];
        job->settings = chains[i].settings;
        timed measured = {time_sampler, job, 0, ""};
        snprintf(name, sizeof name, "%s, %s %uk", chains[i].name, what, job->n_vocab / 1000);
        report(name, &measured);
    }
}

static void bench_sampling(uint32_t n_vocab)
{
    rad_allocator allocator = rad_default_allocator;
    float *flat = random_floats(n_vocab), *peaked = random_floats(n_vocab);
    static int32_t history[64];
    sample_job job = {.n_vocab = n_vocab, .history = history, .n_history = 64};
    if (rad_sampler_create(&allocator, n_vocab, &job.sampler, NULL) != RADLLM_OK)
        exit(2);
    for (uint32_t i = 0; i < n_vocab; i++) /* as a model's: most far below a few */
        peaked[i] = 3.0f * (peaked[i] + random_value(i + 77777) + random_value(i + 999999)) +
                    (i % 4001 == 7 ? 12.0f : 0.0f);
    for (int32_t i = 0; i < 64; i++)
        history[i] = i * 17;
    job.logits = flat;
    bench_chains(&job, "flat");
    job.logits = peaked;
    bench_chains(&job, "peaked");
    char name[96];
    timed one = {time_log_probability, &job, 0, ""}, top = {time_top_logprobs, &job, 0, ""};
    snprintf(name, sizeof name, "log-probability %uk", n_vocab / 1000);
    report(name, &one);
    snprintf(name, sizeof name, "20 top log-probabilities %uk", n_vocab / 1000);
    report(name, &top);
    rad_sampler_free(job.sampler);
    free(flat);
    free(peaked);
}

/* ---- the pool ----------------------------------------------------------------------------------
 */

static void nothing(void *data, uint32_t index, uint32_t worker)
{
    (void)data;
    (void)index;
    (void)worker;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Waits for all others: a loop of as many tasks as threads is then a barrier, which costs what it
 * takes to hand out tasks, to come together and to part. */
typedef struct meeting {
    atomic_uint arrived;
    uint32_t expected;
} meeting;

static void meet(void *data, uint32_t index, uint32_t worker)
{
    (void)index;
    (void)worker;
    meeting *all = data;
    atomic_fetch_add(&all->arrived, 1);
    while (atomic_load(&all->arrived) < all->expected) {
    }
}

static rad_pool *new_pool(const rad_host *host, uint32_t n_threads)
{
    rad_pool *pool;
    if (rad_pool_create(host, n_threads, &pool, NULL) != RADLLM_OK)
        exit(2);
    return pool;
}

/* Loops one right after the other, or with time between them in which the workers go to sleep. */
static void bench_loops(const char *name, uint32_t n_threads, bool barrier, double pause)
{
    enum { LOOPS = 20000 };
    static double times[LOOPS];
    rad_host host = {.allocator = rad_default_allocator};
    int n = pause > 0 ? LOOPS / 100 : LOOPS;
    if (!selected(name))
        return;
    rad_pool *pool = new_pool(&host, n_threads);
    for (int i = 0; i < n; i++) {
        meeting all = {.expected = n_threads};
        for (double start = now(); pause > 0 && now() - start < pause;) {
        }
        double before = now();
        rad_pool_run(pool, barrier ? meet : nothing, &all, n_threads);
        times[i] = now() - before;
    }
    qsort(times, (size_t)n, sizeof times[0], compare);
    printf("%-44s %12.2f us median %8.2f us at 99 %%\n", name, times[n / 2] * 1e6,
           times[n * 99 / 100] * 1e6);
    rad_pool_free(pool);
}

/* Tasks that take a time of their own, and `factor` of it on the last worker. */
typedef struct uneven {
    double task_time, factor;
    uint32_t slow;
} uneven;

static void take_time(void *data, uint32_t index, uint32_t worker)
{
    (void)index;
    const uneven *u = data;
    double end = now() + u->task_time * (worker == u->slow ? u->factor : 1.0);
    while (now() < end) {
    }
}

/* A host's executor on two threads: the library's own pool plays the host. */
typedef struct executor_data {
    rad_pool *pool;
    radllm_task_fn task;
    void *data;
} executor_data;

static void executor_unit(void *data, uint32_t index, uint32_t worker)
{
    (void)worker;
    executor_data *e = data;
    e->task(e->data, index);
}

static void run_on_pool(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    executor_data *e = user;
    e->task = task;
    e->data = data;
    rad_pool_run(e->pool, executor_unit, e, count);
}

/* 64 tasks of 20 microseconds on two workers of which one is slower: the time beside that of work
 * that could be cut at will, and beside halves handed out at the start. */
static void bench_uneven(bool with_executor, double factor)
{
    enum { TASKS = 64, RUNS = 201 };
    static double times[RUNS];
    char name[96];
    snprintf(name, sizeof name, "pool%s, one of 2 workers %g times slower",
             with_executor ? " on an executor" : "", factor);
    if (!selected(name))
        return;
    rad_host host = {.allocator = rad_default_allocator};
    rad_pool *threads = new_pool(&host, 2);
    executor_data data = {.pool = threads};
    rad_host hosted = {.allocator = rad_default_allocator,
                       .executor = run_on_pool,
                       .executor_user = &data,
                       .executor_workers = 2};
    rad_pool *pool = with_executor ? new_pool(&hosted, 2) : threads;
    uneven work = {20e-6, factor, 1};
    for (int i = 0; i < RUNS; i++) {
        double before = now();
        rad_pool_run(pool, take_time, &work, TASKS);
        times[i] = now() - before;
    }
    qsort(times, RUNS, sizeof times[0], compare);
    double ideal = TASKS * work.task_time / (1.0 + 1.0 / factor);
    double halves = TASKS / 2 * work.task_time * factor;
    printf("%-44s %12.2f us median, ideal %.2f us (%.2f), halves %.2f us\n", name,
           times[RUNS / 2] * 1e6, ideal * 1e6, times[RUNS / 2] / ideal, halves * 1e6);
    if (with_executor)
        rad_pool_free(pool);
    rad_pool_free(threads);
}

static void bench_pool(void)
{
    bench_loops("pool, an empty loop of 2 threads", 2, false, 0);
    bench_loops("pool, a barrier of 2 threads", 2, true, 0);
    bench_loops("pool, a barrier of 2 threads, one asleep", 2, true, 200e-6);
    static const double factors[] = {1, 2, 4, 8};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        bench_uneven(false, factors[i]);
        bench_uneven(true, factors[i]);
    }
}

static const char usage[] =
    "Usage: bench_layer [OPTION]...\n\n"
    "Times what a token costs outside the matrix products: the layer kernels of every instruction\n"
    "set that this machine has, sampling, and loops of the thread pool (\"pool, a barrier of 2\n"
    "threads\": both wait for each other, right behind the loop before).\n\n"
    "  --match TEXT    only what has TEXT in its name (pool, attention avx2, 128k)\n"
    "  --seconds S     of each measurement (0.05)\n"
    "  -h, --help      show this text\n\n"
    "Exit status: 0 done, 2 wrong usage or nothing matches.\n";

/* The words of an option; 0: it is wrong. */
static int parse_option(char **argv)
{
    char *end;
    if (argv[1] == NULL)
        return 0;
    if (strcmp(argv[0], "--match") == 0) {
        match = argv[1];
        return 2;
    }
    if (strcmp(argv[0], "--seconds") != 0)
        return 0;
    seconds = strtod(argv[1], &end);
    return *argv[1] != '\0' && *end == '\0' && seconds > 0 && seconds <= 3600 ? 2 : 0;
}

int main(int argc, char **argv)
{
    for (int i = 1, words; i < argc; i += words) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        words = parse_option(argv + i);
        if (words == 0) {
            fprintf(stderr, "bench_layer: wrong or incomplete option %s; --help shows all\n",
                    argv[i]);
            return 2;
        }
    }
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_BEST; isa++) {
        const rad_kernels *kernels = rad_kernels_find((rad_isa)isa, true);
        if (kernels == NULL)
            continue;
        bench_rows(kernels->layer, kernels->name);
        bench_attention(kernels->layer, kernels->name);
    }
    bench_sampling(32000);
    bench_sampling(128000);
    bench_sampling(256000);
    bench_pool();
    if (n_selected == 0)
        fprintf(stderr, "bench_layer: nothing has \"%s\" in its name\n", match);
    return n_selected == 0 ? 2 : 0;
}
