/* Times what a step costs beside kernels: sampling from large vocabularies, and loops of the thread
 * pool. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/platform.h"
#include "sample/sampler.h"
#include "tests/kernels/check.h"

/* ---- sampling -------------------------------------------------------------------------------- */

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
        job->settings = chains[i].settings;
        if (time_wanted("%s, %s %uk", chains[i].name, what, job->n_vocab / 1000))
            time_call(
                &(timed){.call = time_sampler, .data = job, .elements = (double)job->n_vocab});
    }
}

static void bench_vocabulary(uint32_t n_vocab)
{
    rad_allocator allocator = rad_default_allocator;
    static int32_t history[64];
    float *flat = malloc(n_vocab * sizeof *flat), *peaked = malloc(n_vocab * sizeof *peaked);
    sample_job job = {.n_vocab = n_vocab, .history = history, .n_history = 64};
    if (flat == NULL || peaked == NULL ||
        rad_sampler_create(&allocator, n_vocab, &job.sampler, NULL) != RADLLM_OK)
        exit(2);
    for (uint32_t i = 0; i < n_vocab; i++) { /* the second as a model's: most far below a few */
        flat[i] = random_unit();
        peaked[i] =
            3.0f * (random_unit() + random_unit() + random_unit()) + (i % 4001 == 7 ? 12.0f : 0.0f);
    }
    for (int32_t i = 0; i < 64; i++)
        history[i] = i * 17;
    job.logits = flat;
    bench_chains(&job, "flat");
    job.logits = peaked;
    bench_chains(&job, "peaked");
    if (time_wanted("log-probability %uk", n_vocab / 1000))
        time_call(
            &(timed){.call = time_log_probability, .data = &job, .elements = (double)n_vocab});
    if (time_wanted("20 top log-probabilities %uk", n_vocab / 1000))
        time_call(&(timed){.call = time_top_logprobs, .data = &job, .elements = (double)n_vocab});
    rad_sampler_free(job.sampler);
    free(flat);
    free(peaked);
}

static void bench_sampling(const unit *unit)
{
    (void)unit;
    bench_vocabulary(32000);
    bench_vocabulary(128000);
    bench_vocabulary(256000);
}

/* ---- the pool -------------------------------------------------------------------------------- */

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
    if (!time_wanted("%s", name))
        return;
    rad_pool *pool = new_pool(&host, n_threads);
    for (int i = 0; i < n; i++) {
        meeting all = {.expected = n_threads};
        for (double start = wall_clock(); pause > 0 && wall_clock() - start < pause;) {
        }
        double before = wall_clock();
        rad_pool_run(pool, barrier ? meet : nothing, &all, n_threads);
        times[i] = wall_clock() - before;
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
    double end = wall_clock() + u->task_time * (worker == u->slow ? u->factor : 1.0);
    while (wall_clock() < end) {
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
    if (!time_wanted("%s", name))
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
        double before = wall_clock();
        rad_pool_run(pool, take_time, &work, TASKS);
        times[i] = wall_clock() - before;
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

static void bench_pool(const unit *unit)
{
    static const double factors[] = {1, 2, 4, 8};
    (void)unit;
    bench_loops("pool, an empty loop of 2 threads", 2, false, 0);
    bench_loops("pool, a barrier of 2 threads", 2, true, 0);
    bench_loops("pool, a barrier of 2 threads, one asleep", 2, true, 200e-6);
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        bench_uneven(false, factors[i]);
        bench_uneven(true, factors[i]);
    }
}

void add_host_units(void)
{
    unit_add(&(unit){.name = "sampling", .bench = bench_sampling});
    unit_add(&(unit){.name = "pool", .bench = bench_pool});
}
