#include "unit/harness.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- skipped cases, told by the cases' processes to the runner ---------------------------------
 */

#define MAX_SKIPS  256
#define SKIP_WORDS 200

typedef struct skip_record {
    char function[80];
    char reason[SKIP_WORDS];
} skip_record;

typedef struct skip_table {
    atomic_uint count;
    skip_record records[MAX_SKIPS];
} skip_table;

static skip_table *skips;
static char temp_directory[256];

void rad_test_skip(const char *function, const char *format, ...)
{
    unsigned index = atomic_fetch_add(&skips->count, 1);
    if (index >= MAX_SKIPS)
        return;
    skip_record *record = &skips->records[index];
    snprintf(record->function, sizeof record->function, "%s", function);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(record->reason, sizeof record->reason, format, arguments);
    va_end(arguments);
}

/* Check names the function of a case NAME "NAME_fn"; line is "ok 3 - file:group:NAME: Passed". */
static const char *skip_reason(const char *line)
{
    unsigned count = atomic_load(&skips->count);
    for (unsigned i = 0; i < count && i < MAX_SKIPS; i++) {
        char name[96];
        size_t length = strlen(skips->records[i].function);
        if (length > 3 && strcmp(skips->records[i].function + length - 3, "_fn") == 0)
            length -= 3;
        snprintf(name, sizeof name, ":%.*s:", (int)length, skips->records[i].function);
        if (strstr(line, name) != NULL)
            return skips->records[i].reason;
    }
    return NULL;
}

static void print_results(FILE *log)
{
    char line[4096];
    while (fgets(line, sizeof line, log) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *reason = strncmp(line, "ok ", 3) == 0 ? skip_reason(line) : NULL;
        if (reason != NULL)
            printf("%s # SKIP %s\n", line, reason);
        else
            printf("%s\n", line);
    }
}

/* ---- runner --------------------------------------------------------------------------------- */

TCase *rad_test_case(Suite *suite, const char *name)
{
    TCase *group = tcase_create(name);
    tcase_set_timeout(group, 600);
    suite_add_tcase(suite, group);
    return group;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info;
    (void)kind;
    (void)position;
    return remove(path);
}

int rad_test_main(const char *name, void (*add_cases)(Suite *suite))
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    skips = mmap(NULL, sizeof *skips, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (skips == MAP_FAILED)
        return 99;
    const char *root = getenv("TMPDIR");
    snprintf(temp_directory, sizeof temp_directory, "%s/radllm-test-XXXXXX", root ? root : "/tmp");
    if (mkdtemp(temp_directory) == NULL)
        return 99;
    char log_path[sizeof temp_directory + 16];
    snprintf(log_path, sizeof log_path, "%s/results.tap", temp_directory);

    Suite *suite = suite_create(name);
    add_cases(suite);
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, log_path);
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    FILE *log = fopen(log_path, "r");
    if (log != NULL) {
        print_results(log);
        fclose(log);
    }
    nftw(temp_directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return failed == 0 && log != NULL ? 0 : 1;
}

/* ---- files ---------------------------------------------------------------------------------- */

static char *next_path(void)
{
    static char paths[8][1024];
    static unsigned next;
    return paths[next++ % 8];
}

const char *rad_test_source_path(const char *relative)
{
    char *path = next_path();
    snprintf(path, 1024, "%s/%s", RAD_TEST_SOURCE_ROOT, relative);
    return path;
}

const char *rad_test_shared_path(const char *relative)
{
    char *path = next_path();
    const char *root = getenv("RADLLM_SHARED");
    if (root != NULL)
        snprintf(path, 1024, "%s/data/%s", root, relative);
    else
        snprintf(path, 1024, "%s/../shared/data/%s", RAD_TEST_SOURCE_ROOT, relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

const char *rad_test_temp_path(const char *name)
{
    char *path = next_path();
    snprintf(path, 1024, "%s/%d-%s", temp_directory, (int)getpid(), name);
    return path;
}

uint8_t *rad_test_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    struct stat info;
    ck_assert_int_eq(fstat(fileno(file), &info), 0);
    uint8_t *data = malloc((size_t)info.st_size + 1);
    ck_assert_ptr_nonnull(data);
    *size = fread(data, 1, (size_t)info.st_size, file);
    ck_assert_uint_eq(*size, (size_t)info.st_size);
    data[*size] = 0;
    fclose(file);
    return data;
}

void rad_test_write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "cannot create %s", path);
    if (size > 0)
        ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* ---- memory --------------------------------------------------------------------------------- */

#define GUARD_BYTES 64
#define GUARD_VALUE 0xa5

/* Stands in front of each block, right before its guard. */
typedef struct block_header {
    void *base;
    size_t size;
} block_header;

void rad_test_memory_init(rad_test_memory *memory, uint64_t fail_at)
{
    memset(memory, 0, sizeof *memory);
    atomic_store(&memory->fail_at, fail_at);
}

void *rad_test_allocate(void *user, size_t size, size_t alignment)
{
    rad_test_memory *memory = user;
    unsigned long long number = atomic_fetch_add(&memory->n_allocations, 1) + 1;
    unsigned long long fail_at = atomic_load(&memory->fail_at);
    if (fail_at != 0 &&
        (number == fail_at || (number > fail_at && atomic_load(&memory->fail_all_after)))) {
        atomic_store(&memory->failed, true);
        return NULL;
    }
    if (size == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
        fprintf(stderr, "allocation of %zu bytes aligned to %zu\n", size, alignment);
        abort();
    }
    size_t before = sizeof(block_header) + GUARD_BYTES;
    uint8_t *base = malloc(before + alignment + size + GUARD_BYTES);
    if (base == NULL)
        return NULL;
    uint8_t *block = base + before + (-((uintptr_t)base + before) & (uintptr_t)(alignment - 1));
    block_header header = {base, size};
    memset(block - GUARD_BYTES, GUARD_VALUE, GUARD_BYTES);
    memcpy(block - GUARD_BYTES - sizeof header, &header, sizeof header);
    memset(block, 0xcd, size); /* what is read before it is written shows */
    memset(block + size, GUARD_VALUE, GUARD_BYTES);
    atomic_fetch_add(&memory->n_live, 1);
    unsigned long long live = atomic_fetch_add(&memory->live_bytes, size) + size;
    unsigned long long peak = atomic_load(&memory->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&memory->peak_bytes, &peak, live)) {
    }
    return block;
}

void rad_test_release(void *user, void *pointer, size_t size)
{
    rad_test_memory *memory = user;
    uint8_t *block = pointer;
    block_header header;
    memcpy(&header, block - GUARD_BYTES - sizeof header, sizeof header);
    bool whole = header.size == size;
    for (size_t i = 0; i < GUARD_BYTES && whole; i++)
        whole = block[-1 - (ptrdiff_t)i] == GUARD_VALUE && block[header.size + i] == GUARD_VALUE;
    if (!whole) {
        fprintf(stderr, "a block of %zu bytes was given back as %zu bytes, or written beyond\n",
                header.size, size);
        abort();
    }
    memset(block, 0xdd, size);
    atomic_fetch_sub(&memory->n_live, 1);
    atomic_fetch_sub(&memory->live_bytes, size);
    free(header.base);
}

rad_allocator rad_test_allocator(rad_test_memory *memory)
{
    return (rad_allocator){rad_test_allocate, rad_test_release, memory};
}

void rad_test_memory_check(const rad_test_memory *memory)
{
    ck_assert_msg(atomic_load(&memory->n_live) == 0, "%llu blocks of %llu bytes in all leaked",
                  atomic_load(&memory->n_live), atomic_load(&memory->live_bytes));
}

/* ---- errors --------------------------------------------------------------------------------- */

void rad_test_check_error(radllm_status status, radllm_status expected, const radllm_error *error,
                          const char *part, const char *file, int line)
{
    const char *message = error != NULL ? error->message : "";
    ck_assert_msg(status == expected, "%s:%d: status %d instead of %d: %s", file, line, (int)status,
                  (int)expected, message);
    ck_assert_msg(strstr(message, part) != NULL, "%s:%d: the message lacks '%s': %s", file, line,
                  part, message);
}
