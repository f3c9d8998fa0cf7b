/* The thread pool.
 *
 * A loop is published in one 64-bit word: the generation in the high half (odd while the loop is
 * open) and the number of workers inside it in the low half. A worker joins by raising the low half
 * while the loop is open, draws indices until there are none, and leaves. The calling thread draws
 * too, then closes the loop and waits only for those who joined: a worker that the operating system
 * did not run in time is never waited for, so an oversubscribed machine loses nothing but that
 * worker's help. Between loops workers spin for at most SPIN_NS, then sleep.
 *
 * Each worker has a share of the indices, side by side, and draws them one by one from its
 * beginning, so that it reads memory in order: two threads that took pieces of 32 KB in turn read
 * 37 GB/s where in order they read 60. Who has none left takes the second half of
 * what another one has (Blumofe and Leiserson 1999, for ranges in place of tasks). A share goes
 * into one word, begin and end; a word that was seen never comes back within a loop, since an index
 * in front of its begin or in it has been drawn or has moved away. */
#include "base/limits.h"
#include "base/platform.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include "base/numeric.h"

#define SPIN_NS     50000u
#define SPIN_CHECK  32u /* pauses between two looks at the clock */
#define MAX_THREADS 1024u
#define CACHE_LINE  64

/* Tasks are kernels and parsers without deep recursion or large arrays. The sanitizers' own frames
 * and red zones need more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES ((size_t)512 << 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_BYTES ((size_t)512 << 10)
#endif
#endif
#ifndef STACK_BYTES
#define STACK_BYTES ((size_t)256 << 10)
#endif

#define GENERATION_ONE (UINT64_C(1) << 32)
#define ACTIVE_MASK    (GENERATION_ONE - 1)

typedef struct pool_worker {
    _Alignas(CACHE_LINE) atomic_ullong share; /* end << 32 | begin */
    struct rad_pool *pool;
    pthread_t thread;
    uint32_t number;
} pool_worker;

struct rad_pool {
    _Alignas(CACHE_LINE) atomic_ullong state; /* generation << 32 | workers inside */
    _Alignas(CACHE_LINE) rad_pool_fn task;    /* written only while no worker is inside */
    void *data;
    atomic_bool stop;
    atomic_uint sleepers;
    atomic_bool caller_sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t finished;
    uint32_t size;
    uint32_t n_started; /* threads to join; 0 with an executor */
    int64_t process;
    rad_allocator allocator;
    radllm_executor_fn executor;
    void *executor_user;
    size_t bytes;
    pool_worker workers[]; /* size; the first is the caller */
};

static bool is_open(uint64_t state)
{
    return (state & GENERATION_ONE) != 0;
}

/* ---- the loop itself ---------------------------------------------------------------------- */

static uint64_t share_of(uint64_t begin, uint64_t end)
{
    return end << 32 | begin;
}

static uint32_t begin_of(uint64_t share)
{
    return (uint32_t)share;
}

static uint32_t end_of(uint64_t share)
{
    return (uint32_t)(share >> 32);
}

/* The next index of a worker's own share; false: it is empty. */
static bool draw_own(pool_worker *worker, uint32_t *index)
{
    unsigned long long share = atomic_load_explicit(&worker->share, memory_order_relaxed);
    do {
        *index = begin_of(share);
        if (*index >= end_of(share))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&worker->share, &share, share + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Moves the second half of another worker's share to this one's, which is empty; false: there are
 * none. An index that is on its way is its taker's, who draws it: nobody need find it. */
static bool take_half(rad_pool *pool, uint32_t worker)
{
    for (uint32_t i = 1; i < pool->size; i++) {
        pool_worker *other = &pool->workers[(worker + i) % pool->size];
        unsigned long long share = atomic_load_explicit(&other->share, memory_order_relaxed);
        while (begin_of(share) < end_of(share)) {
            uint32_t end = end_of(share), middle = begin_of(share) + (end - begin_of(share)) / 2;
            if (atomic_compare_exchange_weak_explicit(&other->share, &share,
                                                      share_of(begin_of(share), middle),
                                                      memory_order_relaxed, memory_order_relaxed)) {
                atomic_store_explicit(&pool->workers[worker].share, share_of(middle, end),
                                      memory_order_relaxed);
                return true;
            }
        }
    }
    return false;
}

static void draw_tasks(rad_pool *pool, uint32_t worker)
{
    rad_pool_fn task = pool->task;
    void *data = pool->data;
    uint32_t index;
    rad_fpenv saved = rad_fpenv_enter();
    do {
        while (draw_own(&pool->workers[worker], &index))
            task(data, index, worker);
    } while (take_half(pool, worker));
    rad_fpenv_leave(saved);
}

static void run_inline(rad_pool_fn task, void *data, uint32_t count)
{
    rad_fpenv saved = rad_fpenv_enter();
    for (uint32_t i = 0; i < count; i++)
        task(data, i, 0);
    rad_fpenv_leave(saved);
}

/* ---- workers ------------------------------------------------------------------------------ */

/* Raises the number inside if the loop is open; *seen becomes its generation. */
static bool try_join(rad_pool *pool, uint64_t *seen)
{
    unsigned long long state = atomic_load(&pool->state);
    while (is_open(state)) {
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
            *seen = state >> 32;
            return true;
        }
    }
    return false;
}

static void leave(rad_pool *pool)
{
    uint64_t before = atomic_fetch_sub(&pool->state, 1);
    if ((before & ACTIVE_MASK) == 1 && atomic_load(&pool->caller_sleeps)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* True when there is a loop newer than the generation `seen`, or the pool ends. */
static bool has_news(rad_pool *pool, uint64_t seen)
{
    uint64_t state = atomic_load(&pool->state);
    return (is_open(state) && state >> 32 != seen) || atomic_load(&pool->stop);
}

static bool spin_for_news(rad_pool *pool, uint64_t seen)
{
    uint64_t end = rad_clock_ns() + SPIN_NS;
    do {
        for (unsigned i = 0; i < SPIN_CHECK; i++) {
            if (has_news(pool, seen))
                return true;
            rad_pause();
        }
    } while (rad_clock_ns() < end);
    return false;
}

static void sleep_for_news(rad_pool *pool, uint64_t seen)
{
    pthread_mutex_lock(&pool->mutex);
    /* The caller publishes a loop, then reads `sleepers`; a worker raises `sleepers`, then looks
     * for a loop. Both orders are sequentially consistent, so one of them sees the other. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_news(pool, seen))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    pool_worker *worker = argument;
    rad_pool *pool = worker->pool;
    uint64_t seen = 0;
    while (!atomic_load(&pool->stop)) {
        if (!spin_for_news(pool, seen))
            sleep_for_news(pool, seen);
        if (try_join(pool, &seen)) {
            draw_tasks(pool, worker->number);
            leave(pool);
        }
    }
    return NULL;
}

/* ---- the calling thread --------------------------------------------------------------------- */

static void wake_sleepers(rad_pool *pool, uint32_t wanted)
{
    uint32_t sleepers = atomic_load(&pool->sleepers);
    if (sleepers == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= sleepers) {
        pthread_cond_broadcast(&pool->wake);
    } else {
        for (uint32_t i = 0; i < wanted; i++)
            pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static bool all_left(rad_pool *pool)
{
    return (atomic_load(&pool->state) & ACTIVE_MASK) == 0;
}

static void wait_for_workers(rad_pool *pool)
{
    if (all_left(pool))
        return;
    uint64_t end = rad_clock_ns() + SPIN_NS;
    do {
        for (unsigned i = 0; i < SPIN_CHECK; i++) {
            if (all_left(pool))
                return;
            rad_pause();
        }
    } while (rad_clock_ns() < end);
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (!all_left(pool))
        pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void run_on_threads(rad_pool *pool, uint32_t count)
{
    atomic_fetch_add(&pool->state, GENERATION_ONE); /* opens: nobody is inside */
    wake_sleepers(pool, count - 1);
    draw_tasks(pool, 0);
    atomic_fetch_add(&pool->state, GENERATION_ONE); /* closes */
    wait_for_workers(pool);
}

/* One unit of a host executor: draws indices as a worker of the pool does. Its index is the worker
 * number, so that no two tasks with one number overlap however the host schedules the units, and no
 * unit waits for another. */
static void executor_task(void *data, uint32_t index)
{
    draw_tasks(data, index);
}

static void run_on_executor(rad_pool *pool, uint32_t count)
{
    uint32_t units = pool->size < count ? pool->size : count;
    pool->executor(pool->executor_user, executor_task, pool, units);
    draw_tasks(pool, 0); /* nothing is left unless the executor failed to run a unit */
}

void rad_pool_run(rad_pool *pool, rad_pool_fn task, void *data, uint32_t count)
{
    if (count <= 1 || pool->size == 1) {
        run_inline(task, data, count);
        return;
    }
    pool->task = task;
    pool->data = data;
    for (uint64_t i = 0; i < pool->size; i++)
        atomic_store_explicit(&pool->workers[i].share,
                              share_of(count * i / pool->size, count * (i + 1) / pool->size),
                              memory_order_relaxed);
    if (pool->executor != NULL)
        run_on_executor(pool, count);
    else
        run_on_threads(pool, count);
}

uint32_t rad_pool_size(const rad_pool *pool)
{
    return pool->size;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

int rad_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);
    if (failure != 0)
        return failure;
    /* What the host catches is for its own threads; but a fault is of the thread that made it, and
     * where it is blocked ends the process without the host's handler. */
    static const int faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (stack_bytes != 0)
        failure = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (failure == 0)
        failure = pthread_create(thread, &attributes, run, argument);
    if (failure == EINVAL) /* the host's thread-local variables do not fit: the system's default */
        failure = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failure;
}

static int start_thread(pool_worker *worker)
{
    return rad_thread_start(&worker->thread, STACK_BYTES, worker_main, worker);
}

static void stop_threads(rad_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i + 1].thread, NULL);
}

static bool init_locks(rad_pool *pool)
{
    if (pthread_mutex_init(&pool->mutex, NULL) != 0)
        return false;
    if (pthread_cond_init(&pool->wake, NULL) != 0)
        goto no_wake;
    if (pthread_cond_init(&pool->finished, NULL) != 0)
        goto no_finished;
    return true;
no_finished:
    pthread_cond_destroy(&pool->wake);
no_wake:
    pthread_mutex_destroy(&pool->mutex);
    return false;
}

radllm_status rad_pool_create(const rad_host *host, uint32_t n_threads, rad_pool **out,
                              radllm_error *error)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return rad_fail(error, RADLLM_E_ARGUMENT, "%u threads asked for; give 1 to %u", n_threads,
                        MAX_THREADS);
    bool own_threads = host->executor == NULL;
    if (!own_threads && host->executor_workers < n_threads)
        n_threads = host->executor_workers > 0 ? host->executor_workers : 1;
    size_t bytes = sizeof(rad_pool) + n_threads * sizeof(pool_worker);
    rad_pool *pool = rad_alloc_zero(&host->allocator, bytes);
    if (pool == NULL)
        return rad_fail_memory(error, bytes);
    pool->bytes = bytes;
    pool->allocator = host->allocator;
    pool->executor = host->executor;
    pool->executor_user = host->executor_user;
    pool->size = n_threads;
    pool->process = rad_process_id();
    if (!init_locks(pool)) {
        rad_free(&host->allocator, pool, bytes);
        return rad_fail(error, RADLLM_E_MEMORY,
                        "cannot make the locks of the thread pool; free memory");
    }
    for (uint32_t i = 1; i < n_threads && own_threads; i++) {
        pool->workers[i].pool = pool;
        pool->workers[i].number = i;
        int failure = start_thread(&pool->workers[i]);
        if (failure != 0) {
            rad_pool_free(pool);
            return rad_fail(error, RADLLM_E_MEMORY,
                            "cannot start thread %u of %u (system error %d); ask for fewer threads "
                            "or raise the limit of threads of this process",
                            i + 1, n_threads, failure);
        }
        pool->n_started = i;
    }
    *out = pool;
    return RADLLM_OK;
}

void rad_pool_free(rad_pool *pool)
{
    if (pool == NULL)
        return;
    /* In a forked child the threads do not exist and the locks may be held for ever. */
    if (rad_process_id() == pool->process) {
        if (pool->n_started > 0)
            stop_threads(pool);
        pthread_cond_destroy(&pool->finished);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->mutex);
    }
    rad_allocator allocator = pool->allocator;
    rad_free(&allocator, pool, pool->bytes);
}

static uint32_t processors_of_machine(void)
{
#if defined(__linux__)
    /* The fixed cpu_set_t is refused on machines with more than 1,024 processors. */
    unsigned long mask[1024] = {0};
    uint32_t count = 0;
    if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)(void *)mask) == 0) {
        for (size_t i = 0; i < sizeof mask / sizeof mask[0]; i++)
            count += (uint32_t)__builtin_popcountl(mask[i]);
    }
    if (count > 0)
        return count;
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

static rad_limits limits_of_process(void)
{
    rad_limits limits;
    rad_limits_read("/proc/self/cgroup", "/sys/fs/cgroup", &limits);
    return limits;
}

uint32_t rad_processor_count(void)
{
    uint32_t count = processors_of_machine(), most = limits_of_process().processors;
    return count < most ? count : most;
}

uint64_t rad_memory_size(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    uint64_t most = limits_of_process().memory;
    bytes = bytes < most ? bytes : most;
    return bytes < UINT64_MAX ? bytes : 0;
}
