/* Reading memory now and then, between other work: threads that sleep meanwhile. */
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/program.h"
#include "machine_loops.h"

/* What each thread owns, and reads of it at a time: more than caches hold, so that a piece comes
 * from memory each time, and enough that its beginning does not count: pieces of 16 MiB gave 5 %
 * less. */
enum { OWN_BYTES = 256 << 20, PIECE_BYTES = 64 << 20 };

typedef struct reader_thread {
    machine_reader *reader;
    pthread_t thread;
    unsigned char *data;
    size_t at;
    double start, end; /* clock_seconds() around its last piece */
} reader_thread;

struct machine_reader {
    pthread_barrier_t barrier; /* of the threads and the caller */
    machine_loops loops;
    uint32_t count;
    int loop; /* -1: the threads end */
    atomic_uint awake;
    reader_thread threads[];
};

static void *run_thread(void *user)
{
    reader_thread *self = user;
    machine_reader *reader = self->reader;
    for (;;) {
        pthread_barrier_wait(&reader->barrier);
        if (reader->loop < 0)
            return NULL;
        /* Waking up is no part of reading. */
        atomic_fetch_add(&reader->awake, 1);
        while (atomic_load(&reader->awake) < reader->count)
            sched_yield();
        self->start = clock_seconds();
        (void)reader->loops.read[reader->loop](self->data + self->at, PIECE_BYTES);
        self->at = (self->at + PIECE_BYTES) % OWN_BYTES;
        self->end = clock_seconds();
        pthread_barrier_wait(&reader->barrier);
    }
}

machine_reader *machine_reader_new(uint32_t threads, const char *isa)
{
    machine_reader *reader = memory_array(1, sizeof *reader + threads * sizeof(reader_thread));
    reader->loops = machine_best_loops(isa);
    reader->count = threads;
    if (pthread_barrier_init(&reader->barrier, NULL, threads + 1) != 0)
        fail("no barrier for %u threads that read memory", threads);
    for (uint32_t i = 0; i < threads; i++) {
        reader_thread *one = &reader->threads[i];
        one->reader = reader;
        one->data =
            mmap(NULL, OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (one->data == MAP_FAILED)
            fail("no memory for %u threads that read %d MiB each", threads, OWN_BYTES >> 20);
        madvise(one->data, OWN_BYTES, MADV_HUGEPAGE);
        memset(one->data, 1, OWN_BYTES);
        if (pthread_create(&one->thread, NULL, run_thread, one) != 0)
            fail("cannot start %u threads that read memory", threads);
    }
    return reader;
}

double machine_reader_read(machine_reader *reader)
{
    double best = 0;
    for (reader->loop = 0; reader->loop < MACHINE_READS; reader->loop++) {
        atomic_store(&reader->awake, 0);
        pthread_barrier_wait(&reader->barrier);
        pthread_barrier_wait(&reader->barrier);
        double start = reader->threads[0].start, end = reader->threads[0].end;
        for (uint32_t i = 1; i < reader->count; i++) {
            const reader_thread *one = &reader->threads[i];
            start = one->start < start ? one->start : start;
            end = one->end > end ? one->end : end;
        }
        double rate = (double)reader->count * PIECE_BYTES / (end - start);
        best = rate > best ? rate : best;
    }
    return best;
}

void machine_reader_free(machine_reader *reader)
{
    reader->loop = -1;
    pthread_barrier_wait(&reader->barrier);
    for (uint32_t i = 0; i < reader->count; i++) {
        pthread_join(reader->threads[i].thread, NULL);
        munmap(reader->threads[i].data, OWN_BYTES);
    }
    pthread_barrier_destroy(&reader->barrier);
    free(reader);
}
