/* The thread pool: every index once, worker numbers that never overlap, the floating-point
 * environment of tasks, blocked signals, host executors, failures, and fork. */
#include "unit/harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/numeric.h"
#include "base/platform.h"

#define MAX_COUNT 5000

static rad_test_memory memory;
static rad_host host;

static void set_up(void)
{
    rad_test_memory_init(&memory, 0);
    memset(&host, 0, sizeof host);
    host.allocator = rad_test_allocator(&memory);
}

typedef struct loop {
    atomic_uint runs[MAX_COUNT];
    atomic_uint inside[64];
    atomic_uint overlaps;
    atomic_uint workers_out_of_range;
    uint32_t size;
    uint32_t work;
} loop;

static void record(void *data, uint32_t index, uint32_t worker)
{
    loop *record = data;
    if (worker >= record->size) {
        atomic_fetch_add(&record->workers_out_of_range, 1);
        return;
    }
    if (atomic_fetch_add(&record->inside[worker], 1) != 0)
        atomic_fetch_add(&record->overlaps, 1);
    for (volatile uint32_t i = 0; i < record->work; i++) {
    }
    atomic_fetch_add(&record->runs[index], 1);
    atomic_fetch_sub(&record->inside[worker], 1);
}

static void check_loop(rad_pool *pool, uint32_t count, uint32_t work)
{
    static loop record_of_loop;
    uint32_t cleared = count + 64 < MAX_COUNT ? count + 64 : MAX_COUNT;
    memset(record_of_loop.runs, 0, cleared * sizeof record_of_loop.runs[0]);
    memset(record_of_loop.inside, 0, sizeof record_of_loop.inside);
    atomic_store(&record_of_loop.overlaps, 0);
    atomic_store(&record_of_loop.workers_out_of_range, 0);
    record_of_loop.size = rad_pool_size(pool);
    record_of_loop.work = work;
    rad_pool_run(pool, record, &record_of_loop, count);
    uint32_t n_wrong = 0;
    for (uint32_t i = 0; i < cleared; i++)
        n_wrong += atomic_load(&record_of_loop.runs[i]) != (i < count ? 1 : 0);
    ck_assert_uint_eq(n_wrong, 0);
    ck_assert_uint_eq(atomic_load(&record_of_loop.overlaps), 0);
    ck_assert_uint_eq(atomic_load(&record_of_loop.workers_out_of_range), 0);
}

static rad_pool *make_pool(uint32_t n_threads)
{
    rad_pool *pool = NULL;
    radllm_error error = {0};
    ck_assert_int_eq(rad_pool_create(&host, n_threads, &pool, &error), RADLLM_OK);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

START_TEST(each_index_runs_once)
{
    static const uint32_t sizes[] = {1, 2, 3, 8, 33};
    static const uint32_t counts[] = {0, 1, 2, 3, 7, 64, MAX_COUNT};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        rad_pool *pool = make_pool(sizes[s]);
        ck_assert_uint_eq(rad_pool_size(pool), sizes[s]);
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
            check_loop(pool, counts[c], c * 3);
        rad_pool_free(pool);
        rad_test_memory_check(&memory);
    }
}
END_TEST

START_TEST(many_small_loops)
{
    rad_pool *pool = make_pool(4);
    for (uint32_t i = 0; i < 600; i++)
        check_loop(pool, 2 + i % 5, i % 50);
    rad_pool_free(pool);
}
END_TEST

START_TEST(sleeping_workers_are_woken)
{
    rad_pool *pool = make_pool(3);
    for (uint32_t i = 0; i < 30; i++) {
        usleep(1000 * (i % 4)); /* beyond the time that workers spin */
        check_loop(pool, 40, 2000);
    }
    rad_pool_free(pool);
}
END_TEST

static void meet(void *data, uint32_t index, uint32_t worker)
{
    (void)index;
    (void)worker;
    atomic_uint *arrived = data;
    atomic_fetch_add(arrived, 1);
    for (int i = 0; i < 10000 && atomic_load(arrived) < 3; i++)
        usleep(1000);
}

START_TEST(workers_do_take_part)
{
    rad_pool *pool = make_pool(3);
    usleep(2000);
    atomic_uint arrived = 0;
    rad_pool_run(pool, meet, &arrived, 3); /* ends early only when three threads are inside */
    ck_assert_uint_eq(atomic_load(&arrived), 3);
    rad_pool_free(pool);
}
END_TEST

/* ---- environment ---------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <xmmintrin.h>

static void read_environment(void *data, uint32_t index, uint32_t worker)
{
    (void)worker;
    ((unsigned *)data)[index] = _mm_getcsr() & ~0x3fu; /* without the sticky flags */
}

START_TEST(tasks_have_the_default_floating_point_environment)
{
    unsigned hostile = 0x9fc0 | 0x6000; /* flush-to-zero, denormals-are-zero, toward zero */
    unsigned before = _mm_getcsr();
    _mm_setcsr(hostile);
    rad_pool *pool = make_pool(3); /* the threads inherit the host's settings */
    static unsigned seen[200];
    memset(seen, 0, sizeof seen);
    rad_pool_run(pool, read_environment, seen, 200);
    unsigned seen_alone[1] = {0};
    rad_pool_run(pool, read_environment, seen_alone, 1);
    unsigned after = _mm_getcsr();
    rad_pool_free(pool);
    _mm_setcsr(before);
    for (int i = 0; i < 200; i++)
        ck_assert_uint_eq(seen[i], 0x1f80);
    ck_assert_uint_eq(seen_alone[0], 0x1f80);
    ck_assert_uint_eq(after, hostile);
}
END_TEST

START_TEST(environment_is_set_and_restored)
{
    volatile double third = 3.0, tiny = 0x1p-1040;
    double nearest = 1.0 / third;
    unsigned before = _mm_getcsr();
    for (unsigned rounding = 0; rounding < 4; rounding++) {
        unsigned hostile = 0x9fc0 | rounding << 13;
        _mm_setcsr(hostile);
        rad_fpenv saved = rad_fpenv_enter();
        volatile double inside = 1.0 / third;
        volatile double half = tiny * 0.5;
        rad_fpenv_leave(saved);
        unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        ck_assert_uint_eq(after, hostile);
        ck_assert(inside == nearest);
        ck_assert(half != 0.0);
    }
}
END_TEST
#endif

static volatile sig_atomic_t handled_elsewhere;
static pthread_t main_thread;

static void on_signal(int number)
{
    (void)number;
    if (!pthread_equal(pthread_self(), main_thread))
        handled_elsewhere = 1;
}

static void read_signal_mask(void *data, uint32_t index, uint32_t worker)
{
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (worker != 0 && (!sigismember(&set, SIGINT) || !sigismember(&set, SIGTERM)))
        atomic_fetch_add((atomic_uint *)data, 1);
    if (index % 8 == 0)
        kill(getpid(), SIGUSR1);
    usleep(100);
}

START_TEST(signals_stay_on_the_host_threads)
{
    main_thread = pthread_self();
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, &before);
    rad_pool *pool = make_pool(4);
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert(!sigismember(&own, SIGINT)); /* the caller's mask is as it was */
    atomic_uint unblocked = 0;
    rad_pool_run(pool, read_signal_mask, &unblocked, 64);
    rad_pool_free(pool);
    sigaction(SIGUSR1, &before, NULL);
    ck_assert_uint_eq(atomic_load(&unblocked), 0);
    ck_assert_int_eq(handled_elsewhere, 0);
}
END_TEST

static void on_fault(int number)
{
    (void)number;
    _exit(42);
}

static void touch_page(void *page, uint32_t index, uint32_t worker)
{
    if (worker != 0)
        ((volatile char *)page)[worker] = (char)index;
    usleep(100);
}

/* A host's crash handler also sees what happens in the pool's threads. */
START_TEST(faults_reach_the_handler_of_the_host)
{
    int status = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_fault;
        sigaction(SIGSEGV, &action, NULL);
        void *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        rad_pool_run(make_pool(4), touch_page, page, 1000);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %x", (unsigned)status);
}
END_TEST

/* ---- host executors ---------------------------------------------------------------------------
 */

typedef struct executor_call {
    radllm_task_fn task;
    void *data;
    uint32_t index;
} executor_call;

static void *executor_thread(void *argument)
{
    executor_call *call = argument;
    call->task(call->data, call->index);
    return NULL;
}

static void threads_executor(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    uint32_t *largest = user;
    if (count > *largest)
        *largest = count;
    pthread_t threads[64];
    executor_call calls[64];
    for (uint32_t i = 0; i < count; i++) {
        calls[i] = (executor_call){task, data, i};
        if (pthread_create(&threads[i], NULL, executor_thread, &calls[i]) != 0)
            abort();
    }
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void backwards_executor(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    (void)user;
    for (uint32_t i = count; i > 0; i--)
        task(data, i - 1);
}

static void lazy_executor(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    (void)user;
    (void)task;
    (void)data;
    (void)count;
}

START_TEST(executors_run_every_index)
{
    uint32_t largest = 0;
    radllm_executor_fn executors[] = {threads_executor, backwards_executor, lazy_executor};
    for (size_t i = 0; i < 3; i++) {
        host.executor = executors[i];
        host.executor_user = &largest;
        host.executor_workers = 5;
        rad_pool *pool = make_pool(8);
        ck_assert_uint_eq(rad_pool_size(pool), 5);
        check_loop(pool, 0, 0);
        check_loop(pool, 1, 0);
        check_loop(pool, 2, 10);
        check_loop(pool, 1000, 100);
        rad_pool_free(pool);
        rad_test_memory_check(&memory);
    }
    ck_assert_uint_eq(largest, 5);
}
END_TEST

/* A worker goes through its share in order, then through halves of others'. */
typedef struct drawn {
    uint32_t indices[100], n;
} drawn;

static void note_index(void *data, uint32_t index, uint32_t worker)
{
    drawn *all = data;
    ck_assert_uint_eq(worker, 4);
    ck_assert_uint_lt(all->n, 100);
    all->indices[all->n++] = index;
}

START_TEST(indices_are_drawn_in_order)
{
    host.executor = backwards_executor; /* the last of five does it all */
    host.executor_workers = 5;
    rad_pool *pool = make_pool(5);
    drawn all = {.n = 0};
    uint32_t jumps = 0;
    rad_pool_run(pool, note_index, &all, 100);
    ck_assert_uint_eq(all.n, 100);
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_uint_eq(all.indices[i], 80 + i);
    for (uint32_t i = 1; i < 100; i++)
        jumps += all.indices[i] != all.indices[i - 1] + 1;
    ck_assert_uint_le(jumps, 4 * 5); /* halves of 20: 10, 5, 3, 1, 1 */
    rad_pool_free(pool);
}
END_TEST

/* ---- unequal workers
 * -----------------------------------------------------------------------------
 */

/* The worker that draws the first task is held up in it until all other tasks are done, as on a
 * core that stands still: the others must have taken all of them. No clock decides, except that
 * somebody gives up after a minute. */
typedef struct held_up {
    atomic_bool begun;
    atomic_uint done, gave_up;
    atomic_uint tasks_of[8];
    atomic_int slow_worker;
    uint32_t count;
} held_up;

static void hold_up(void *data, uint32_t index, uint32_t worker)
{
    held_up *all = data;
    (void)index;
    atomic_fetch_add(&all->tasks_of[worker], 1);
    if (!atomic_exchange(&all->begun, true)) {
        atomic_store(&all->slow_worker, (int)worker);
        uint32_t waited = 0;
        for (; waited < 60000 && atomic_load(&all->done) + 1 < all->count; waited++)
            usleep(1000);
        atomic_fetch_add(&all->gave_up, waited == 60000);
    }
    atomic_fetch_add(&all->done, 1);
}

static void check_held_up(rad_pool *pool)
{
    held_up all = {.count = 500};
    rad_pool_run(pool, hold_up, &all, all.count);
    ck_assert_uint_eq(atomic_load(&all.gave_up), 0);
    ck_assert_uint_eq(atomic_load(&all.done), all.count);
    ck_assert_uint_eq(atomic_load(&all.tasks_of[atomic_load(&all.slow_worker)]), 1);
}

START_TEST(a_worker_that_stands_still_holds_up_one_task)
{
    uint32_t largest = 0;
    for (uint32_t size = 2; size <= 4; size++) {
        memset(&host, 0, sizeof host);
        host.allocator = rad_test_allocator(&memory);
        rad_pool *pool = make_pool(size);
        for (int i = 0; i < 5; i++)
            check_held_up(pool);
        rad_pool_free(pool);
        host.executor = threads_executor;
        host.executor_user = &largest;
        host.executor_workers = size;
        pool = make_pool(size);
        for (int i = 0; i < 5; i++)
            check_held_up(pool);
        rad_pool_free(pool);
        rad_test_memory_check(&memory);
    }
}
END_TEST

/* More threads than processors, and threads of the host that never rest: every loop ends, since
 * nobody waits for a thread that has not begun, and no thread spins for long. */
static void *never_rest(void *stop)
{
    while (!atomic_load((atomic_bool *)stop)) {
    }
    return NULL;
}

START_TEST(loops_end_beside_busy_threads)
{
    enum { BUSY = 4 };
    atomic_bool stop = false;
    pthread_t threads[BUSY];
    for (int i = 0; i < BUSY; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, never_rest, &stop), 0);
    rad_pool *pool = make_pool(8);
    for (uint32_t i = 0; i < 300; i++)
        check_loop(pool, 1 + i % 30, i % 100);
    rad_pool_free(pool);
    atomic_store(&stop, true);
    for (int i = 0; i < BUSY; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

/* ---- making, freeing, fork ----------------------------------------------------------------------
 */

START_TEST(wrong_sizes_and_failing_memory_give_errors)
{
    radllm_error error = {0};
    rad_pool *pool = NULL;
    rad_assert_error(rad_pool_create(&host, 0, &pool, &error), RADLLM_E_ARGUMENT, &error,
                     "give 1 to 1024");
    rad_assert_error(rad_pool_create(&host, 1025, &pool, &error), RADLLM_E_ARGUMENT, &error,
                     "1025 threads");
    rad_test_memory_init(&memory, 1);
    rad_assert_error(rad_pool_create(&host, 3, &pool, &error), RADLLM_E_MEMORY, &error, "bytes");
    ck_assert_ptr_null(pool);
    rad_test_memory_check(&memory);
    rad_pool_free(NULL);
}
END_TEST

START_TEST(a_forked_child_can_free)
{
    rad_pool *pool = make_pool(3);
    check_loop(pool, 100, 10);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        alarm(20);
        rad_pool_free(pool);
        _exit(atomic_load(&memory.live_bytes) == 0 ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    check_loop(pool, 100, 10);
    rad_pool_free(pool);
}
END_TEST

START_TEST(there_is_a_processor)
{
    ck_assert_uint_ge(rad_processor_count(), 1);
    rad_cpu cpu = rad_cpu_detect();
    ck_assert(!cpu.avx512 || cpu.avx2);
    ck_assert(!cpu.avx512_vnni || cpu.avx512);
    ck_assert(!cpu.avx_vnni || cpu.avx2);
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    ck_assert(cpu.avx2 == avx2);
    ck_assert(cpu.avx512 == avx512);
#endif
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "pool");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, each_index_runs_once);
    tcase_add_test(cases, many_small_loops);
    tcase_add_test(cases, sleeping_workers_are_woken);
    tcase_add_test(cases, workers_do_take_part);
#if defined(__x86_64__)
    tcase_add_test(cases, tasks_have_the_default_floating_point_environment);
    tcase_add_test(cases, environment_is_set_and_restored);
#endif
    tcase_add_test(cases, signals_stay_on_the_host_threads);
    tcase_add_test(cases, faults_reach_the_handler_of_the_host);
    tcase_add_test(cases, executors_run_every_index);
    tcase_add_test(cases, indices_are_drawn_in_order);
    tcase_add_test(cases, a_worker_that_stands_still_holds_up_one_task);
    tcase_add_test(cases, loops_end_beside_busy_threads);
    tcase_add_test(cases, wrong_sizes_and_failing_memory_give_errors);
    tcase_add_test(cases, a_forked_child_can_free);
    tcase_add_test(cases, there_is_a_processor);
}

int main(void)
{
    return rad_test_main("pool", add_cases);
}
