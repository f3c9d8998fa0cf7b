/* The way of weights to the emulated device, whose pieces are small here: matrices that are cut,
 * and many in one piece; by one thread, by some, by a host's executor; from rows in memory and from
 * rows that are read; and loads that end on the way. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cuda/texts.h"

#define SMALL "cache=f32 context=64 batch=16 "
enum { PIECE_BYTES = 16384 }; /* meson.build */

/* ---- the host's threads ---------------------------------------------------------------------- */

typedef struct loop {
    radllm_task_fn task;
    void *data;
    uint32_t count;
    atomic_uint next;
} loop;

static void *run_tasks(void *argument)
{
    loop *l = argument;
    for (uint32_t i; (i = atomic_fetch_add(&l->next, 1)) < l->count;)
        l->task(l->data, l->count - 1 - i);
    return NULL;
}

/* On threads of its own; none of the tasks is run by the calling one. */
static void run_elsewhere(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    loop l = {.task = task, .data = data, .count = count};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_tasks, &l), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    (void)user;
}

/* One task after the other, on the calling thread. */
static void run_here(void *user, radllm_task_fn task, void *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        task(data, i);
    (void)user;
}

static radllm_host *host_of(radllm_executor_fn executor, radllm_progress_fn progress, void *user)
{
    radllm_host *host = NULL;
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, &error), &error);
    if (executor != NULL)
        rad_assert_ok(radllm_host_set_executor(host, executor, NULL, 3, &error), &error);
    if (progress != NULL)
        rad_assert_ok(radllm_host_set_progress(host, progress, user, &error), &error);
    return host;
}

typedef struct way {
    const char *threads; /* options of engines */
    radllm_executor_fn executor;
} way;

static const way ways[] = {{"threads=1", NULL},
                           {"threads=2", NULL},
                           {"threads=5", NULL},
                           {"threads=3", run_elsewhere},
                           {"threads=3", run_here}};
enum { WAYS = sizeof ways / sizeof *ways };

static radllm_options *options_of(int way)
{
    char pairs[200];
    snprintf(pairs, sizeof pairs, SMALL "%s", ways[way].threads);
    return options_on("cuda", pairs);
}

/* ---- what arrives ---------------------------------------------------------------------------- */

/* Experts, biases, plain numbers, codes that are written anew, several matrices in a group. */
static const char *const models[] = {"architectures/mixtral-q8_0",
                                     "architectures/qwen2-q8_0",
                                     "architectures/gpt-oss-q8_0",
                                     "types/bf16",
                                     "types/iq2_xxs",
                                     "types/iq1_m"};

static radllm_model *load(const char *name, const char *pairs)
{
    radllm_model *model = NULL;
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = options_on("cpu", pairs);
    rad_assert_ok(radllm_model_open(NULL, model_path(name), options, NULL, &model, &error), &error);
    radllm_options_free(options);
    return model;
}

/* Memory has rows as the file has them; in lanes, so that they are read; or has them soon. */
START_TEST(all_ways_give_the_same_bits)
{
    static const char *const loads[] = {"load=map", "load=copy layout=lane load_wait=yes",
                                        "load=copy layout=file load_wait=yes", "load_wait=no"};
    radllm_error error = {.status = RADLLM_OK};
    /* products with BF16 have an order of their own on the device */
    bool same = strcmp(models[_i], "types/bf16") != 0;
    opened first = open_on(same ? "cpu" : "cuda", models[_i], SMALL);
    feed(&first, 0, 2, 2);
    setenv("RAD_EMULATED_FREED", "1", 1);
    for (int w = 0; w < WAYS; w++) {
        opened there = {.error = &error, .model = load(models[_i], loads[(_i + w) % 4])};
        radllm_options *options = options_of(w);
        radllm_host *host = host_of(ways[w].executor, NULL, NULL);
        rad_assert_ok(radllm_engine_new(host, there.model, options, &there.engine, &error), &error);
        rad_assert_ok(radllm_session_new(there.engine, &there.session, &error), &error);
        feed(&there, 0, 2, 2);
        assert_same_logits(&first, &there, ways[w].threads);
        radllm_session_free(there.session);
        radllm_engine_free(there.engine);
        radllm_model_free(there.model);
        radllm_host_free(host);
        radllm_options_free(options);
    }
    close_file(&first);
}
END_TEST

/* One copy goes up for as many matrices as fit: the tables of a file and little more. */
START_TEST(small_matrices_share_pieces)
{
    static const char name[] = "architectures/qwen2-q8_0";
    char path[1024];
    size_t size;
    snprintf(path, sizeof path, "%s", rad_test_temp_path("pieces"));
    setenv("RAD_EMULATED_COUNTS", path, 1);
    opened o = open_on("cuda", name, SMALL);
    close_file(&o);
    unsetenv("RAD_EMULATED_COUNTS");
    free(rad_test_read_file(model_path(name), &size));
    unsigned long long pieces = calls_of(path, "stream_wait");
    unsigned long long parts = calls_of(path, "launch") + calls_of(path, "copy");
    ck_assert_uint_ge(pieces, 3);
    ck_assert_uint_le(pieces, size / PIECE_BYTES + 1);
    ck_assert_uint_ge(parts, 4 * pieces);
    ck_assert_uint_eq(calls_of(path, "upload"), pieces + 2); /* and two tables (create.c) */
}
END_TEST

/* ---- what ends on the way -------------------------------------------------------------------- */

typedef struct watch {
    pthread_t caller;
    uint32_t calls, ends_at; /* 0: never */
    uint64_t done, total;
} watch;

static int32_t on_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    watch *w = user;
    ck_assert_str_eq(stage, "upload");
    ck_assert(pthread_equal(w->caller, pthread_self()));
    ck_assert(done <= total && done >= w->done && (w->calls == 0 || total == w->total));
    w->done = done;
    w->total = total;
    return ++w->calls == w->ends_at ? 1 : 0;
}

/* The calling thread is told, whoever brings the rows, and ends it while others are bringing some.
 */
START_TEST(a_load_can_be_ended_at_every_piece)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_engine *engine = NULL;
    watch whole = {0};
    radllm_options *options = options_of(_i);
    radllm_model *model = load("architectures/mixtral-q8_0", "load=map");
    setenv("RAD_EMULATED_FREED", "1", 1);
    for (uint32_t at = 0; at <= whole.calls; at += at < 3 ? 1 : 5) {
        watch w = {.caller = pthread_self(), .ends_at = at};
        radllm_host *host = host_of(ways[_i].executor, on_progress, &w);
        radllm_status status = radllm_engine_new(host, model, options, &engine, &error);
        if (at > 0) {
            rad_assert_error(status, RADLLM_E_CANCELLED, &error, "loading was cancelled");
            ck_assert_uint_eq(w.calls, at);
        } else {
            rad_assert_ok(status, &error);
            ck_assert_uint_gt(w.calls, 10);
            ck_assert_uint_eq(w.done, w.total);
            int64_t weights = 0;
            rad_assert_ok(radllm_engine_number(engine, "gpu_weights", &weights, &error), &error);
            ck_assert_uint_eq(w.total, (uint64_t)weights);
            radllm_engine_free(engine);
            whole = w;
        }
        radllm_host_free(host);
    }
    radllm_model_free(model);
    radllm_options_free(options);
}
END_TEST

/* A model's bytes, which the host gives as long as it wants to. */
typedef struct bytes {
    uint8_t *data;
    size_t size;
    atomic_int reads, fail_at;
} bytes;

static int32_t read_bytes(void *user, uint64_t offset, void *buffer, size_t size)
{
    bytes *b = user;
    if (atomic_fetch_add(&b->reads, 1) + 1 == atomic_load(&b->fail_at) || offset > b->size ||
        size > b->size - offset)
        return -1;
    memcpy(buffer, b->data + offset, size);
    return 0;
}

/* Rows that cannot be read: whoever reads them, the caller is told, and goes on. */
START_TEST(rows_that_cannot_be_read_are_an_error)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_file *file = NULL;
    radllm_model *model = NULL;
    radllm_engine *engine = NULL;
    bytes b = {.size = 0};
    radllm_options *lanes = options_on("cpu", "layout=lane load_wait=yes");
    radllm_options *options = options_of(_i);
    radllm_host *host = host_of(ways[_i].executor, NULL, NULL);
    b.data = rad_test_read_file(model_path("architectures/llama3-gqa-tied-q8_0"), &b.size);
    setenv("RAD_EMULATED_FREED", "1", 1);
    rad_assert_ok(radllm_file_open_callback(NULL, read_bytes, &b, b.size, &file, &error), &error);
    rad_assert_ok(radllm_model_load(NULL, file, lanes, NULL, &model, &error), &error);
    int before = atomic_load(&b.reads);
    rad_assert_ok(radllm_engine_new(host, model, options, &engine, &error), &error);
    radllm_engine_free(engine);
    int reads = atomic_load(&b.reads) - before;
    ck_assert_int_gt(reads, 12);
    for (int at = 1; at <= reads; at += reads / 6) {
        atomic_store(&b.reads, 0);
        atomic_store(&b.fail_at, at);
        rad_assert_error(radllm_engine_new(host, model, options, &engine, &error), RADLLM_E_IO,
                         &error, "host");
    }
    atomic_store(&b.fail_at, 0);
    rad_assert_ok(radllm_engine_new(host, model, options, &engine, &error), &error);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_file_free(file);
    radllm_host_free(host);
    radllm_options_free(options);
    radllm_options_free(lanes);
    free(b.data);
}
END_TEST

/* Rows that adapters were added to stand in memory alone. */
START_TEST(merged_rows_are_not_read_again)
{
    char pairs[1200];
    radllm_error error = {.status = RADLLM_OK};
    radllm_engine *engine = NULL;
    radllm_options *options = options_of(_i);
    snprintf(pairs, sizeof pairs, "layout=lane load_wait=yes adapter_merge=yes adapter=%s",
             rad_test_source_path("tests/golden/adapters/llama-all.gguf"));
    radllm_model *model = load("architectures/llama-mha-q8_0", pairs);
    setenv("RAD_EMULATED_FREED", "1", 1);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_UNSUPPORTED,
                     &error, "layout=file and load_wait=yes");
    radllm_model_free(model);
    radllm_options_free(options);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "upload");
    tcase_add_loop_test(cases, all_ways_give_the_same_bits, 0, sizeof models / sizeof *models);
    tcase_add_test(cases, small_matrices_share_pieces);
    tcase_add_loop_test(cases, a_load_can_be_ended_at_every_piece, 0, WAYS);
    tcase_add_loop_test(cases, rows_that_cannot_be_read_are_an_error, 0, WAYS);
    tcase_add_loop_test(cases, merged_rows_are_not_read_again, 0, 3);
}

int main(void)
{
    return rad_test_main("cuda_upload", add_cases);
}
