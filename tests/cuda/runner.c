#include "cuda/runner.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/cuda/device.h"
#include "cuda/fibers.h"

#if defined(__SANITIZE_ADDRESS__)
#define RAD_RUNNER_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAD_RUNNER_ASAN
#endif
#endif
#ifdef RAD_RUNNER_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum {
    N_SITES = 64,         /* shared arrays of a kernel */
    N_COPIES = 64,        /* asynchronous copies of a thread that are under way */
    GAP = 64,             /* bytes around shared arrays that stay poisoned */
    SIGNAL_STACK = 65536, /* for the handler of accesses outside of memory */
    MESSAGE = 400,
};
static const uint8_t poison[2] = {0xf5, 0xff};

typedef enum thread_state { READY, AT_BARRIER, IN_WARP_OPERATION, DONE } thread_state;

typedef struct thread {
    rad_fiber fiber;
    thread_state state;
    const char *what, *file; /* where it waits */
    int line;
    rad_warp_function function;
    struct {
        void *to;
        const void *from;
        uint32_t group;
    } copies[N_COPIES];
    uint32_t n_copies, n_groups;
    bool waited, waits_at_write; /* for earlier kernels */
} thread;

/* The last accesses of a byte of shared memory; of readers one or two that differ. A block_time of
 * 0: none. */
typedef struct touch {
    uint32_t block_time, warp_time;
    uint16_t thread;
    uint8_t mask;
    bool atomic : 1, pending : 1;
} touch;
typedef struct accesses {
    touch write, reads[2];
} accesses;

typedef struct site {
    const void *key;
    size_t offset, bytes;
} site;

struct rad_runner {
    thread threads[RAD_RUNNER_THREADS];
    rad_warp_exchange warps[RAD_RUNNER_THREADS / 32];
    rad_fiber main;
    uint8_t *shared; /* static arrays upwards from the beginning, dynamic bytes at the very end */
    size_t shared_bytes, static_used, page;
    uint32_t most_shared; /* of a block */
    site sites[N_SITES];
    uint32_t n_sites;
    void *signal_stack;
    accesses *shadow;    /* of each word of `shared` */
    uint32_t block_time; /* barriers and blocks so far */
    uint32_t warp_times[RAD_RUNNER_THREADS / 32];

    /* of the launch that runs */
    const rad_cuda_kernel *kernel;
    const void *arguments;
    uint32_t dynamic_bytes, n_threads;
    rad_order order;
    uint64_t random;
    uint16_t turns[RAD_RUNNER_THREADS];
    bool failed;
    char message[MESSAGE];
    rad_describe_fn describe;
    void *describe_user;
    const rad_device_memory *memory, *found; /* the one that was found last */
    uint32_t n_memory, launch, first_launch;

    /* What blocks of the launch let others see of their writes to memory of the device, by their
     * numbers: the first so many. Of the block that runs: its number + 1, its writes, which of them
     * came since the last barrier, and who fenced how many of them, and when; when it added to a
     * counter, and when it fenced behind that (times as block_time; 0: never). */
    uint32_t *published, published_capacity;
    uint32_t block, n_writes, writes_time, writer, n_before;
    uint32_t fenced_by, n_fenced, added_by, acquired_time, acquired_by;
    bool added;
};

__thread rad_here rad_host_here;
static __thread rad_runner *running;
static __thread thread *current;
/* What each access asks of these two, where one load finds it: chains of loads are slow. */
static __thread struct {
    uintptr_t shared;
    size_t shared_bytes; /* 0: no thread runs */
    bool waited, added;
} watched;

/* ---- memory -----------------------------------------------------------------------------------
 */

void rad_poison(uint8_t *at, size_t size)
{
    size_t done = size < 2 ? size : 2;
    memcpy(at, poison, done);
    while (done < size) { /* copies of what is there: quick with a large allocation */
        size_t more = done < size - done ? done : size - done;
        memcpy(at + done, at, more);
        done += more;
    }
}

bool rad_is_poison(const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] != poison[i & 1])
            return false;
    return true;
}

rad_runner *rad_runner_new(void)
{
    rad_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return NULL;
    rad_fiber *fibers = calloc(RAD_RUNNER_THREADS, sizeof *fibers);
    runner->page = (size_t)sysconf(_SC_PAGESIZE);
    runner->most_shared = RAD_RUNNER_SHARED;
    runner->shared_bytes = RAD_RUNNER_STATIC + (N_SITES + 1) * 2 * GAP + RAD_RUNNER_SHARED;
    runner->shared_bytes = (runner->shared_bytes + runner->page - 1) / runner->page * runner->page;
    char *memory = mmap(NULL, runner->shared_bytes + 2 * runner->page, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    runner->signal_stack = malloc(SIGNAL_STACK);
    runner->shadow = calloc(runner->shared_bytes / 4, sizeof *runner->shadow);
    bool made = fibers != NULL && memory != MAP_FAILED && runner->signal_stack != NULL &&
                runner->shadow != NULL &&
                mprotect(memory + runner->page, runner->shared_bytes, PROT_READ | PROT_WRITE) == 0;
    if (memory != MAP_FAILED)
        runner->shared = (uint8_t *)memory + runner->page;
    made = made && rad_fibers_new(fibers, RAD_RUNNER_THREADS);
    if (!made) {
        if (memory != MAP_FAILED)
            munmap(memory, runner->shared_bytes + 2 * runner->page);
        free(runner->signal_stack);
        free(runner->shadow);
        free(runner);
        free(fibers);
        return NULL;
    }
    for (size_t i = 0; i < RAD_RUNNER_THREADS; i++)
        runner->threads[i].fiber = fibers[i];
    free(fibers);
    return runner;
}

void rad_runner_free(rad_runner *runner)
{
    if (runner == NULL)
        return;
    for (uint32_t i = 0; i < RAD_RUNNER_THREADS; i++)
        rad_fiber_forget(&runner->threads[i].fiber);
    rad_fibers_free(&runner->threads[0].fiber, RAD_RUNNER_THREADS);
    munmap(runner->shared - runner->page, runner->shared_bytes + 2 * runner->page);
    free(runner->signal_stack);
    free(runner->shadow);
    free(runner->published);
    free(runner);
}

/* ---- failing ----------------------------------------------------------------------------------
 */

static void fail_at(rad_runner *runner, uint32_t thread_index, const char *text)
{
    if (runner->failed)
        return;
    runner->failed = true;
    snprintf(runner->message, sizeof runner->message,
             "kernel %s, block (%u, %u, %u), thread %u: %s", runner->kernel->name,
             rad_host_here.block[0], rad_host_here.block[1], rad_host_here.block[2], thread_index,
             text);
}

void rad_host_fail(const char *format, ...)
{
    char text[MESSAGE / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_at(running, rad_host_here.thread, text);
    rad_fiber_switch(&current->fiber, &running->main, true);
    abort(); /* nothing switches back to it */
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- races ------------------------------------------------------------------------------------
 */

static bool is_ordered(const rad_runner *runner, const touch *before, uint32_t me)
{
    return before->block_time != runner->block_time || before->thread == me ||
           (before->thread / 32 == me / 32 && before->warp_time != runner->warp_times[me / 32]);
}

static void report_race(const rad_runner *runner, size_t offset, const touch *before, bool wrote,
                        bool writes)
{
    size_t dynamic = runner->shared_bytes - runner->dynamic_bytes;
    int array = -1;
    for (uint32_t i = 0; i < runner->n_sites; i++)
        if (offset >= runner->sites[i].offset &&
            offset < runner->sites[i].offset + runner->sites[i].bytes)
            array = (int)i;
    char where[MESSAGE / 4];
    if (array >= 0)
        snprintf(where, sizeof where, "shared array %d at byte %zu", array,
                 offset - runner->sites[array].offset);
    else
        snprintf(where, sizeof where, "dynamic shared memory at byte %zu", offset - dynamic);
    if (before->pending)
        rad_host_fail(
            "%s %s, which an asynchronous copy of thread %u may be writing, and no wait is "
            "between",
            writes ? "writes" : "reads", where, before->thread);
    rad_host_fail("%s %s, which thread %u %s, and no barrier is between",
                  writes ? "writes" : "reads", where, before->thread, wrote ? "wrote" : "read");
}

/* Whether an access of these bytes may come at the same time as one before. */
static bool is_race(const rad_runner *runner, const touch *before, const touch *now)
{
    return (before->mask & now->mask) != 0 && !(before->atomic && now->atomic) &&
           (before->pending || !is_ordered(runner, before, now->thread));
}

/* Takes the place of an access before, or is added to it where the thread has gone no further. */
static void keep(touch *kept, touch now)
{
    if (kept->block_time == now.block_time && kept->warp_time == now.warp_time &&
        kept->thread == now.thread && kept->atomic == now.atomic)
        now.mask |= kept->mask;
    *kept = now;
}

static void watch_word(rad_runner *runner, size_t word, touch now, bool writes)
{
    accesses *all = &runner->shadow[word];
    if (is_race(runner, &all->write, &now))
        report_race(runner, 4 * word, &all->write, true, writes);
    if (!writes) {
        keep(&all->reads[is_ordered(runner, &all->reads[0], now.thread) ? 0 : 1], now);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (is_race(runner, &all->reads[i], &now))
            report_race(runner, 4 * word, &all->reads[i], false, true);
    keep(&all->write, now);
}

/* The memory of the device that holds an address; NULL: none. */
static const rad_device_memory *find_memory(rad_runner *runner, uintptr_t at)
{
    const rad_device_memory *m = runner->found;
    uintptr_t stack = (uintptr_t)current->fiber.stack;
    if (at - stack < current->fiber.stack_bytes)
        return NULL;
    if (m != NULL && at - (uintptr_t)m->begin < m->bytes)
        return m;
    for (uint32_t i = 0; i < runner->n_memory; i++) {
        m = &runner->memory[i];
        if (at - (uintptr_t)m->begin < m->bytes)
            return runner->found = m;
    }
    return NULL;
}

/* ---- what one block tells another ----------------------------------------------------------- */

/* Of the block's writes those that a thread has behind it: its own, and those before a barrier. */
static uint32_t writes_behind(const rad_runner *runner, uint32_t me)
{
    bool all = runner->writes_time != runner->block_time || runner->writer == me;
    return all ? runner->n_writes : runner->n_before;
}

static void note_write(rad_runner *runner, uint32_t me)
{
    if (runner->writes_time != runner->block_time) {
        runner->writes_time = runner->block_time;
        runner->n_before = runner->n_writes;
        runner->writer = me;
    } else if (runner->writer != me) {
        runner->writer = RAD_RUNNER_THREADS; /* several */
    }
    runner->n_writes++;
}

void rad_host_fence(void)
{
    rad_runner *runner = running;
    uint32_t me = rad_host_here.thread;
    runner->fenced_by = me;
    runner->n_fenced = writes_behind(runner, me);
    if (runner->added && runner->added_by == me) {
        runner->acquired_time = runner->block_time;
        runner->acquired_by = me;
    }
}

/* A thread adds to a counter: what it has fenced can be seen by who adds to it later. */
static void note_addition(rad_runner *runner, uint32_t me)
{
    runner->added = watched.added = true;
    runner->added_by = me;
    runner->acquired_time = 0;
    if (runner->fenced_by == me)
        runner->published[runner->block - 1] = runner->n_fenced;
}

static void check_seen(const rad_runner *runner, const rad_written *written, uint32_t me)
{
    if (written->launch != runner->launch || written->block == runner->block)
        return;
    if (written->count > runner->published[written->block - 1])
        rad_host_fail("reads what block number %u wrote, without a fence there before it added to "
                      "a counter",
                      written->block - 1);
    if (runner->acquired_time == 0 ||
        (runner->acquired_time == runner->block_time && runner->acquired_by != me))
        rad_host_fail("reads what block number %u wrote, without a fence and a barrier behind its "
                      "own addition to a counter",
                      written->block - 1);
}

/* Before it has waited a thread writes nothing, and reads nothing that an earlier kernel wrote. */
static __attribute__((noinline)) void watch_memory(uintptr_t at, size_t size, bool writes,
                                                   bool atomic)
{
    rad_runner *runner = running;
    const rad_device_memory *m = current != NULL && size > 0 ? find_memory(runner, at) : NULL;
    if (m == NULL)
        return;
    uint64_t first = at - (uintptr_t)m->begin,
             end = first + size < m->bytes ? first + size : m->bytes;
    uint32_t me = rad_host_here.thread;
    if (writes && current->waits_at_write)
        rad_host_wait_for_earlier();
    if (writes && !current->waited)
        rad_host_fail("writes to memory before rad_wait_for_earlier()");
    if (writes && atomic)
        note_addition(runner, me);
    else if (writes)
        note_write(runner, me);
    for (uint64_t word = first / 4; 4 * word < end; word++) {
        if (writes) /* what atomic operations make is anyone's */
            m->written[word] =
                (rad_written){runner->launch, runner->block, atomic ? 0 : runner->n_writes};
        else if (!current->waited && m->written[word].launch >= runner->first_launch)
            rad_host_fail("reads before rad_wait_for_earlier() what a kernel before it wrote, at "
                          "byte %llu of an allocation of %llu",
                          (unsigned long long)(4 * word), (unsigned long long)m->bytes);
        else if (!atomic && runner->added)
            check_seen(runner, &m->written[word], me);
    }
}

void rad_host_wait_for_earlier(void)
{
    current->waited = watched.waited = true;
}

void rad_host_wait_at_write(void)
{
    current->waits_at_write = true;
}

/* An access to shared memory, from its byte `first` to before `end`. */
static __attribute__((noinline)) void watch_shared(rad_runner *runner, size_t first, size_t end,
                                                   bool writes, bool atomic)
{
    if (first == end)
        return;
    uint32_t me = rad_host_here.thread;
    touch now = {runner->block_time, runner->warp_times[me / 32], (uint16_t)me, 15, atomic, false};
    if (end - first == 4 && first % 4 == 0) { /* nearly always */
        watch_word(runner, first / 4, now, writes);
        return;
    }
    for (size_t word = first / 4; 4 * word < end && 4 * word < runner->shared_bytes; word++) {
        unsigned mask = 15;
        if (4 * word < first)
            mask &= 15u << (first - 4 * word);
        if (4 * word + 4 > end)
            mask &= 15u >> (4 * word + 4 - end);
        now.mask = (uint8_t)mask;
        watch_word(runner, word, now, writes);
    }
}

/* A third of the time of a model on this device is spent here, and most accesses are reads of what
 * is not shared: what is done for others is in functions of their own. */
void rad_host_watch(const void *address, size_t size, bool writes, bool atomic)
{
    size_t first = (uintptr_t)address - watched.shared;
    if (first < watched.shared_bytes)
        watch_shared(running, first, first + size, writes, atomic);
    else if (writes || !watched.waited || watched.added)
        watch_memory((uintptr_t)address, size, writes, atomic);
}

/* ---- what threads call ------------------------------------------------------------------------
 */

static void wait_here(thread_state state, const char *what, const char *file, int line)
{
    thread *me = current;
    me->state = state;
    me->what = what;
    me->file = file;
    me->line = line;
    rad_fiber_switch(&me->fiber, &running->main, false);
}

void rad_host_barrier(const char *file, int line)
{
    wait_here(AT_BARRIER, "rad_barrier", file, line);
}

void rad_host_warp(const char *what, rad_warp_function function, const uint32_t *in, unsigned n_in,
                   uint32_t *out, unsigned n_out, const char *file, int line)
{
    rad_runner *runner = running;
    uint32_t lane = rad_host_here.thread & 31, first = rad_host_here.thread - lane;
    rad_warp_exchange *warp = &runner->warps[first / 32];
    if (n_in > 0)
        memcpy(warp->in[lane], in, n_in * sizeof *in);
    current->function = function;
    current->state = IN_WARP_OPERATION;
    current->what = what;
    current->file = file;
    current->line = line;
    bool last = true;
    for (uint32_t i = first; i < first + 32 && last; i++)
        last = runner->threads[i].state == IN_WARP_OPERATION;
    if (last) {
        for (uint32_t i = first; i < first + 32; i++) {
            const thread *other = &runner->threads[i];
            if (other->function != function || other->line != line ||
                (other->file != file && strcmp(other->file, file) != 0))
                rad_host_fail("%s (%s:%d), while thread %u of the warp is in %s (%s:%d)", what,
                              file_name(file), line, i, other->what, file_name(other->file),
                              other->line);
        }
        function(warp);
        if (n_in == 0 && n_out == 0) /* a barrier: what was before it is before what follows */
            runner->warp_times[first / 32]++;
        for (uint32_t i = first; i < first + 32; i++)
            runner->threads[i].state = READY;
    } else {
        rad_fiber_switch(&current->fiber, &runner->main, false);
    }
    if (n_out > 0)
        memcpy(out, warp->out[lane], n_out * sizeof *out);
}

void *rad_host_shared(const void *key, size_t bytes)
{
    rad_runner *runner = running;
    for (uint32_t i = 0; i < runner->n_sites; i++)
        if (runner->sites[i].key == key)
            return runner->shared + runner->sites[i].offset;
    size_t rounded = (bytes + 15) / 16 * 16, used = runner->static_used + rounded + 2 * GAP;
    if (runner->n_sites == N_SITES || used > RAD_RUNNER_STATIC + 2 * GAP * (runner->n_sites + 1u))
        rad_host_fail("more than %d arrays or %d bytes of shared memory by RAD_SHARED", N_SITES,
                      RAD_RUNNER_STATIC);
    site *new_site = &runner->sites[runner->n_sites++];
    /* The end is exact where the size is a multiple of 16. */
    *new_site = (site){key, runner->static_used + GAP, bytes};
    rad_poison(runner->shared + runner->static_used, rounded + 2 * GAP);
    runner->static_used = used;
#ifdef RAD_RUNNER_ASAN
    ASAN_POISON_MEMORY_REGION(runner->shared + new_site->offset - GAP, GAP);
    ASAN_POISON_MEMORY_REGION(runner->shared + new_site->offset + bytes, rounded - bytes + GAP);
#endif
    return runner->shared + new_site->offset;
}

void *rad_host_dynamic_shared(void)
{
    return running->shared + running->shared_bytes - running->dynamic_bytes;
}

static bool copies_at_once(const rad_runner *runner)
{
    return runner->order % 2 == 1;
}

/* A copy writes at any time between its beginning and the wait. */
static void set_pending(rad_runner *runner, const void *shared, bool pending)
{
    size_t offset = (size_t)((const uint8_t *)shared - runner->shared);
    for (size_t i = offset; i < offset + 16 && i < runner->shared_bytes; i += 4)
        runner->shadow[i / 4].write.pending = pending;
}

static void finish_copies(thread *me, uint32_t last_group)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < me->n_copies; i++) {
        if (me->copies[i].group <= last_group) {
            set_pending(running, me->copies[i].to, false);
            rad_host_watch(me->copies[i].to, 16, true, false);
            if (!copies_at_once(running))
                memcpy(me->copies[i].to, me->copies[i].from, 16);
        } else
            me->copies[kept++] = me->copies[i];
    }
    me->n_copies = kept;
}

void rad_host_copy_async(void *shared, const void *global)
{
    thread *me = current;
    rad_host_watch(shared, 16, true, false);
    rad_host_watch(global, 16, false, false);
    set_pending(running, shared, true);
    if (copies_at_once(running))
        memcpy(shared, global, 16);
    if (me->n_copies == N_COPIES)
        rad_host_fail("more than %d asynchronous copies that nothing waited for", N_COPIES);
    me->copies[me->n_copies].to = shared;
    me->copies[me->n_copies].from = global;
    me->copies[me->n_copies++].group = me->n_groups + 1;
}

void rad_host_copy_commit(void)
{
    current->n_groups++;
}

void rad_host_copy_wait(int n)
{
    if (current->n_groups >= (uint32_t)n)
        finish_copies(current, current->n_groups - (uint32_t)n);
}

/* ---- a block ----------------------------------------------------------------------------------
 */

static void run_thread(void)
{
    rad_fiber_arrived(&current->fiber, &running->main);
    ((void (*)(const void *))(void (*)(void))running->kernel->entry)(running->arguments);
    if (!current->waited && !current->waits_at_write)
        rad_host_fail("returns without rad_wait_for_earlier()");
    current->state = DONE;
    current->fiber.ended = true;
    rad_fiber_switch(&current->fiber, &running->main, true);
    abort();
}

static uint32_t random_below(rad_runner *runner, uint32_t n)
{
    runner->random = runner->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((runner->random >> 33) % n);
}

/* Shuffles warps, and the lanes of each; or turns all round. */
static void choose_turns(rad_runner *runner)
{
    uint32_t n = runner->n_threads;
    for (uint32_t i = 0; i < n; i++)
        runner->turns[i] = (uint16_t)(runner->order == 1 ? n - 1 - i : i);
    if (runner->order < 2)
        return;
    uint16_t warps[RAD_RUNNER_THREADS / 32];
    for (uint32_t i = 0; i < n / 32; i++) {
        uint32_t j = random_below(runner, i + 1);
        warps[i] = warps[j];
        warps[j] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = i / 32 * 32, j = first + random_below(runner, i % 32 + 1);
        runner->turns[i] = runner->turns[j];
        runner->turns[j] = (uint16_t)(32 * warps[i / 32] + i % 32);
    }
}

static bool begin_block(rad_runner *runner)
{
    for (uint32_t i = 0; i < runner->n_sites; i++)
        rad_poison(runner->shared + runner->sites[i].offset, runner->sites[i].bytes);
    rad_poison(runner->shared + runner->shared_bytes - runner->dynamic_bytes,
               runner->dynamic_bytes);
    for (uint32_t i = 0; i < runner->n_threads; i++) {
        thread *t = &runner->threads[i];
        for (uint32_t k = 0; k < t->n_copies; k++)
            set_pending(runner, t->copies[k].to, false);
        t->state = READY;
        t->n_copies = t->n_groups = 0;
        t->waited = t->waits_at_write = false;
        if (!rad_fiber_begin(&t->fiber, run_thread)) {
            fail_at(runner, i, "there is no memory for its stack");
            return false;
        }
    }
    runner->block_time++;
    runner->n_writes = runner->writes_time = runner->n_before = runner->n_fenced = 0;
    runner->writer = runner->fenced_by = RAD_RUNNER_THREADS;
    runner->added = false;
    choose_turns(runner);
    return true;
}

/* What runs from here on is `t`; NULL: no thread of the device. */
static void run_as(thread *t)
{
    current = t;
    watched.shared = (uintptr_t)running->shared;
    watched.shared_bytes = t ? running->shared_bytes : 0;
    watched.waited = t == NULL || t->waited;
    watched.added = t != NULL && running->added;
}

/* Lets threads run until none can go on; false when one failed. */
static bool run_ready(rad_runner *runner)
{
    for (uint32_t first = 0; first < runner->n_threads; first += 32) {
        bool progress = true;
        while (progress) {
            progress = false;
            for (uint32_t i = first; i < first + 32; i++) {
                thread *t = &runner->threads[runner->turns[i]];
                if (t->state != READY)
                    continue;
                run_as(t);
                rad_host_here.thread = runner->turns[i];
                rad_fiber_switch(&runner->main, &t->fiber, false);
                run_as(NULL);
                if (runner->failed)
                    return false;
                progress = true;
            }
        }
    }
    return true;
}

/* More than the usual has to be asked for, which is done by the dynamic bytes alone. */
static bool check_shared(rad_runner *runner)
{
    uint32_t all = runner->dynamic_bytes;
    for (uint32_t i = 0; i < runner->n_sites; i++)
        all += (uint32_t)(runner->sites[i].bytes + 15) / 16 * 16;
    char text[MESSAGE / 2];
    if (all <= RAD_CUDA_USUAL_SHARED ||
        (runner->dynamic_bytes > RAD_CUDA_USUAL_DYNAMIC && all <= runner->most_shared))
        return true;
    snprintf(text, sizeof text, "%u bytes of shared memory in all, %u of them dynamic", all,
             runner->dynamic_bytes);
    fail_at(runner, 0, text);
    return false;
}

/* Why a block cannot go on: the first thread that waits, and the first that does not wait there. */
static void report_deadlock(rad_runner *runner)
{
    uint32_t waiting = 0, other = 0;
    while (runner->threads[waiting].state == DONE)
        waiting++;
    for (uint32_t i = 0; i < runner->n_threads; i++) /* lanes that wait for each other come first */
        if (runner->threads[i].state == IN_WARP_OPERATION) {
            waiting = i;
            break;
        }
    const thread *w = &runner->threads[waiting], *o;
    uint32_t first = 0, n = runner->n_threads;
    if (w->state == IN_WARP_OPERATION)
        first = waiting / 32 * 32, n = first + 32;
    for (other = first; other < n; other++) {
        o = &runner->threads[other];
        if (o->state != w->state || o->line != w->line || strcmp(o->file, w->file) != 0)
            break;
    }
    char text[MESSAGE / 2], where[MESSAGE / 4] = "has returned";
    o = &runner->threads[other];
    if (o->state != DONE)
        snprintf(where, sizeof where, "waits in %s (%s:%d)", o->what, file_name(o->file), o->line);
    snprintf(text, sizeof text, "waits in %s (%s:%d), thread %u %s", w->what, file_name(w->file),
             w->line, other, where);
    fail_at(runner, waiting, text);
}

/* All threads at one barrier go on; false when they are not all there. */
static bool pass_barrier(rad_runner *runner)
{
    const thread *first = &runner->threads[0];
    for (uint32_t i = 0; i < runner->n_threads; i++) {
        const thread *t = &runner->threads[i];
        if (t->state != AT_BARRIER || t->line != first->line || strcmp(t->file, first->file) != 0) {
            report_deadlock(runner);
            return false;
        }
    }
    for (uint32_t i = 0; i < runner->n_threads; i++)
        runner->threads[i].state = READY;
    runner->block_time++;
    return true;
}

static bool all_done(const rad_runner *runner)
{
    for (uint32_t i = 0; i < runner->n_threads; i++)
        if (runner->threads[i].state != DONE)
            return false;
    return true;
}

static void check_gaps(rad_runner *runner)
{
#ifndef RAD_RUNNER_ASAN
    for (uint32_t i = 0; i < runner->n_sites; i++) {
        const site *s = &runner->sites[i];
        const uint8_t *begin = runner->shared + s->offset;
        size_t slack = (s->bytes + 15) / 16 * 16 - s->bytes;
        bool even = s->bytes % 2 == 0;
        if (!rad_is_poison(begin - GAP, GAP) ||
            !rad_is_poison(begin + s->bytes + !even, GAP + slack - !even)) {
            char text[MESSAGE / 2];
            snprintf(text, sizeof text,
                     "something was written beside shared array %u (of %zu bytes)", i, s->bytes);
            fail_at(runner, 0, text);
        }
    }
#else
    (void)runner;
#endif
}

static bool run_block(rad_runner *runner)
{
    if (!begin_block(runner))
        return false;
    while (!all_done(runner)) {
        if (!run_ready(runner))
            return false;
        if (!all_done(runner) && !pass_barrier(runner))
            return false;
    }
    check_gaps(runner);
    return check_shared(runner) && !runner->failed;
}

/* ---- accesses outside of memory ------------------------------------------------------------- */

static struct sigaction actions_before[2];

/* A fiber touched a page that is not there: its kernel ends. Elsewhere: as if there were no
 * handler. */
static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    rad_runner *runner = running;
    if (runner == NULL || current == NULL) {
        sigaction(number, &actions_before[number == SIGBUS], NULL);
        return; /* it happens again, and ends the process */
    }
    uintptr_t address = (uintptr_t)info->si_addr;
    char where[MESSAGE / 3] = "", text[MESSAGE / 2];
    uintptr_t shared = (uintptr_t)runner->shared;
    uintptr_t stack = (uintptr_t)current->fiber.stack;
    if (address >= shared - runner->page && address < shared + runner->shared_bytes + runner->page)
        snprintf(where, sizeof where, "%s shared memory",
                 address < shared ? "before" : "behind the end of");
    else if (address >= stack - runner->page && address < stack)
        snprintf(where, sizeof where, "below the thread's stack");
    else if (runner->describe != NULL)
        runner->describe(runner->describe_user, address, where, sizeof where);
    snprintf(text, sizeof text, "access outside of memory at %p%s%s", info->si_addr,
             where[0] ? ", " : "", where);
    fail_at(runner, rad_host_here.thread, text);
    rad_fiber_switch(&current->fiber, &runner->main, true);
}

static void catch_signals(rad_runner *runner, stack_t *stack_before)
{
    stack_t stack = {.ss_sp = runner->signal_stack, .ss_size = SIGNAL_STACK};
    sigaltstack(&stack, stack_before);
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &actions_before[0]);
    sigaction(SIGBUS, &action, &actions_before[1]);
}

static void leave_signals(const stack_t *stack_before)
{
    sigaction(SIGSEGV, &actions_before[0], NULL);
    sigaction(SIGBUS, &actions_before[1], NULL);
    sigaltstack(stack_before, NULL);
}

/* ---- a launch ---------------------------------------------------------------------------------
 */

static void forget_shared(rad_runner *runner)
{
#ifdef RAD_RUNNER_ASAN
    ASAN_UNPOISON_MEMORY_REGION(runner->shared, runner->shared_bytes);
#endif
    runner->n_sites = 0;
    runner->static_used = 0;
}

/* Nothing was let be seen yet. */
static void forget_published(rad_runner *runner, uint64_t n)
{
    if (n > runner->published_capacity) {
        uint32_t *more = realloc(runner->published, n * sizeof *more);
        if (more == NULL)
            abort();
        runner->published = more;
        runner->published_capacity = (uint32_t)n;
    }
    if (runner->published_capacity > 0)
        memset(runner->published, 0, runner->published_capacity * sizeof *runner->published);
}

static void run_blocks(rad_runner *runner, const uint32_t grid[3])
{
    uint64_t n = (uint64_t)grid[0] * grid[1] * grid[2];
    forget_published(runner, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t block = runner->order % 2 == 1 ? n - 1 - i : i;
        runner->block = (uint32_t)block + 1;
        rad_host_here.block[0] = (uint32_t)(block % grid[0]);
        rad_host_here.block[1] = (uint32_t)(block / grid[0] % grid[1]);
        rad_host_here.block[2] = (uint32_t)(block / grid[0] / grid[1]);
        if (!run_block(runner))
            return;
    }
}

void rad_runner_set_shared(rad_runner *runner, uint32_t bytes)
{
    runner->most_shared = bytes;
}

void rad_runner_set_memory(rad_runner *runner, const rad_device_memory *memory, uint32_t n,
                           uint32_t launch, uint32_t first)
{
    runner->memory = memory;
    runner->found = NULL;
    runner->n_memory = n;
    runner->launch = launch;
    runner->first_launch = first;
}

bool rad_runner_run(rad_runner *runner, const rad_cuda_kernel *kernel, const uint32_t grid[3],
                    uint32_t dynamic_shared_bytes, const void *arguments, rad_order order,
                    rad_describe_fn describe, void *describe_user, char *message,
                    size_t message_size)
{
    if (kernel->threads == 0 || kernel->threads % 32 != 0 || kernel->threads > RAD_RUNNER_THREADS ||
        dynamic_shared_bytes > RAD_RUNNER_SHARED) {
        snprintf(message, message_size, "kernel %s cannot be launched: %u threads, %u bytes",
                 kernel->name, kernel->threads, dynamic_shared_bytes);
        return false;
    }
    runner->kernel = kernel;
    runner->arguments = arguments;
    runner->dynamic_bytes = (dynamic_shared_bytes + 15) / 16 * 16;
    runner->n_threads = kernel->threads;
    runner->order = order;
    runner->random = order;
    runner->failed = false;
    runner->describe = describe;
    runner->describe_user = describe_user;
    forget_shared(runner);
    rad_host_here.threads = kernel->threads;
    memcpy(rad_host_here.grid, grid, sizeof rad_host_here.grid);
    stack_t stack_before;
    catch_signals(runner, &stack_before);
    running = runner;
    run_blocks(runner, grid);
    run_as(NULL);
    running = NULL;
    leave_signals(&stack_before);
    forget_shared(runner);
    if (runner->failed)
        snprintf(message, message_size, "%s", runner->message);
    return !runner->failed;
}
