/* What every unit test stands on: a main runner over Check that reports in TAP, a way to skip a
 * case, temporary files, test data, and memory that can be made to fail.
 *
 *   #include "unit/harness.h"
 *
 *   START_TEST(adds_small_numbers)
 *   {
 *       ck_assert_int_eq(1 + 1, 2);
 *   }
 *   END_TEST
 *
 *   static void add_cases(Suite *suite)
 *   {
 *       TCase *cases = rad_test_case(suite, "sums");
 *       tcase_add_test(cases, adds_small_numbers);
 *   }
 *
 *   int main(void)
 *   {
 *       return rad_test_main("sums", add_cases);
 *   }
 *
 * Every case runs in a process of its own (CK_FORK=no in the environment: in one, for a debugger;
 * CK_RUN_CASE=NAME: one group only). */
#ifndef RAD_TEST_HARNESS_H
#define RAD_TEST_HARNESS_H

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Runs the cases, prints TAP on standard output; returns the process's exit status. */
int rad_test_main(const char *name, void (*add_cases)(Suite *suite));

/* Whether ThreadSanitizer watches: tests that compare results on one thread tell it nothing, and
 * take ten times as long under it. */
#if defined(__SANITIZE_THREAD__)
#define RAD_TEST_RACES_ONLY 1
#else
#define RAD_TEST_RACES_ONLY 0
#endif

/* Whether a sanitizer watches, under which what compares numbers needs fewer of them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAD_TEST_SANITIZED 1
#else
#define RAD_TEST_SANITIZED 0
#endif

/* A group of cases with the usual time limit (600 s each: sanitizers are slow,
 * and so are machines with other work), added to suite. */
TCase *rad_test_case(Suite *suite, const char *name);

/* Ends the case as skipped, with a reason (printf style); for use in the case's own function. */
#define RAD_SKIP(...)                                                                              \
    do {                                                                                           \
        rad_test_skip(__func__, __VA_ARGS__);                                                      \
        return;                                                                                    \
    } while (0)
void rad_test_skip(const char *function, const char *format, ...) RAD_PRINTF(2, 3);

/* ---- files -------------------------------------------------------------------------------- */

/* Each returned path lives in one of a few static buffers: use it before eight more calls. */

/* "tests/golden/types/f32.gguf" and the like, from the root of the source tree. */
const char *rad_test_source_path(const char *relative);
/* A file of the shared test data ("models/stories260K/stories260K.gguf"), which lies in
 * ../shared/data beside the source tree or where the environment variable RADLLM_SHARED says; NULL
 * when it is not there: then skip. */
const char *rad_test_shared_path(const char *relative);
/* A path inside a directory of this test program, made at the first call, removed at its end. */
const char *rad_test_temp_path(const char *name);
/* The whole file, one NUL behind it; the case fails when it cannot be read. The caller frees. */
uint8_t *rad_test_read_file(const char *path, size_t *size);
void rad_test_write_file(const char *path, const void *data, size_t size);

/* ---- memory ------------------------------------------------------------------------------- */

/* Counts what the library takes and gives back, checks the sizes and the bytes around each block,
 * and makes allocations fail on demand. Any thread. */
typedef struct rad_test_memory {
    atomic_ullong n_allocations; /* asked for so far, failed ones included */
    atomic_ullong n_live;        /* blocks not given back yet */
    atomic_ullong live_bytes;
    atomic_ullong peak_bytes;
    atomic_ullong fail_at;      /* this allocation (1 is the first) fails; 0: none does */
    atomic_bool fail_all_after; /* and all that follow it */
    atomic_bool failed;         /* an allocation was made to fail */
} rad_test_memory;

void rad_test_memory_init(rad_test_memory *memory, uint64_t fail_at);
/* For internal functions, and the two callbacks for radllm_host_new(), with `memory` as user. */
rad_allocator rad_test_allocator(rad_test_memory *memory);
void *rad_test_allocate(void *user, size_t size, size_t alignment);
void rad_test_release(void *user, void *pointer, size_t size);
/* The case fails when a block is still alive. */
void rad_test_memory_check(const rad_test_memory *memory);

/* ---- errors ------------------------------------------------------------------------------- */

/* Fails unless status is RADLLM_OK, with the error's message. */
#define rad_assert_ok(status, error)                                                               \
    rad_test_check_error((status), RADLLM_OK, (error), "", __FILE__, __LINE__)

/* Fails unless status is `expected` and the message contains `part`. */
#define rad_assert_error(status, expected, error, part)                                            \
    rad_test_check_error((status), (expected), (error), (part), __FILE__, __LINE__)
void rad_test_check_error(radllm_status status, radllm_status expected, const radllm_error *error,
                          const char *part, const char *file, int line);

#endif
