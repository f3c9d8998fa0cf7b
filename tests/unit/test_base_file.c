/* Files, clock, process and SHA-256 of lib/base. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file_path.h"
#include "base/file_write.h"
#include "base/folder_write.h"
#include "base/limits.h"
#include "base/platform.h"
#include "unit/harness.h"

static void make_file(char path[1024], size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    snprintf(path, 1024, "%s", rad_test_temp_path("file"));
    rad_test_write_file(path, bytes, size);
    free(bytes);
}

START_TEST(reads_and_maps)
{
    enum { SIZE = 300000 };
    char path[1024];
    make_file(path, SIZE);
    rad_file *file = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_file_open(&rad_default_allocator, path, &file, &error), &error);
    ck_assert_uint_eq(rad_file_size(file), SIZE);
    uint8_t *buffer = malloc(SIZE);
    rad_assert_ok(rad_file_read(file, 0, buffer, SIZE, &error), &error);
    size_t equal = 0;
    for (size_t i = 0; i < SIZE; i++)
        equal += buffer[i] == (uint8_t)(i * 31 + i / 251);
    ck_assert_uint_eq(equal, SIZE);
    const uint8_t *mapped = NULL;
    rad_assert_ok(rad_file_map(file, &mapped, &error), &error);
    ck_assert_mem_eq(mapped, buffer, SIZE);
    rad_assert_error(rad_file_read(file, SIZE - 1, buffer, 2, &error), RADLLM_E_IO, &error, path);
    rad_assert_error(rad_file_read(file, UINT64_MAX, buffer, 2, &error), RADLLM_E_IO, &error,
                     "the file ends before byte 18446744073709551615");
    ck_assert_int_eq(truncate(path, 5), 0);
    rad_assert_error(rad_file_read(file, 3, buffer, 4, &error), RADLLM_E_IO, &error,
                     "the file ends before byte 5");
    rad_file_close(file);
    rad_file_close(NULL);
    free(buffer);
}
END_TEST

static void refuse(const char *path, radllm_status status, const char *part)
{
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_allocator allocator = rad_test_allocator(&memory);
    rad_file *file = NULL;
    radllm_error error = {0};
    rad_assert_error(rad_file_open(&allocator, path, &file, &error), status, &error, part);
    ck_assert_ptr_null(file);
    rad_test_memory_check(&memory);
}

START_TEST(refuses_what_is_no_file)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("pipe"));
    refuse(path, RADLLM_E_IO, "cannot open the file: No such file or directory; check the path");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refuse(path, RADLLM_E_IO, "is a pipe (FIFO), not a regular file");
    refuse("/", RADLLM_E_IO, "/: is a directory; give the path of a model file inside it");
    refuse("/dev/null", RADLLM_E_IO, "is a device, not a regular file");
    refuse("", RADLLM_E_ARGUMENT, "the path of the file is empty");
    refuse(NULL, RADLLM_E_ARGUMENT, "the path of the file is empty");
    make_file(path, 10);
    strcat(path, "/inside");
    refuse(path, RADLLM_E_IO, "Not a directory; check the path");
    if (geteuid() != 0) {
        make_file(path, 10);
        ck_assert_int_eq(chmod(path, 0), 0);
        refuse(path, RADLLM_E_IO, "Permission denied; check the permissions");
    }
}
END_TEST

START_TEST(cannot_map_an_empty_file)
{
    char path[1024];
    make_file(path, 0);
    rad_file *file = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_file_open(&rad_default_allocator, path, &file, &error), &error);
    const uint8_t *mapped;
    rad_assert_error(rad_file_map(file, &mapped, &error), RADLLM_E_IO, &error,
                     "a file of 0 bytes cannot be mapped");
    rad_assert_ok(rad_file_read(file, 0, NULL, 0, &error), &error);
    rad_file_close(file);
}
END_TEST

START_TEST(survives_failing_memory)
{
    char path[1024];
    make_file(path, 10);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 1);
    rad_allocator allocator = rad_test_allocator(&memory);
    rad_file *file = NULL;
    radllm_error error = {0};
    rad_assert_error(rad_file_open(&allocator, path, &file, &error), RADLLM_E_MEMORY, &error,
                     "cannot allocate");
    for (uint64_t n = 1; n <= 3; n++) {
        rad_output *output = NULL;
        rad_test_memory_init(&memory, n);
        rad_assert_error(rad_output_open(&allocator, path, &output, &error), RADLLM_E_MEMORY,
                         &error, "cannot allocate");
        rad_test_memory_check(&memory);
    }
}
END_TEST

/* ---- paths in messages ----------------------------------------------------------------------- */

START_TEST(shows_paths_as_printable_text)
{
    char out[RAD_PATH_LABEL_SIZE];
    ck_assert_str_eq(rad_path_label(out, "/models/Gr\xc3\xb6\xc3\x9f"
                                         "e \xf0\x9f\x98\x80.gguf"),
                     "/models/Gr\xc3\xb6\xc3\x9f"
                     "e \xf0\x9f\x98\x80.gguf");
    ck_assert_str_eq(rad_path_label(out, "a\nb\x1b[0m\x7f\xff\xc3"),
                     "a\\x0ab\\x1b[0m\\x7f\\xff\\xc3");
    ck_assert_str_eq(rad_path_label(out, "\xc0\xaf \xed\xa0\x80 \xc2\x85 \xf4\x90\x80\x80"),
                     "\\xc0\\xaf \\xed\\xa0\\x80 \\xc2\\x85 \\xf4\\x90\\x80\\x80");
    ck_assert_str_eq(rad_path_label(out, ""), "");
    char path[3000];
    static const char *const fills[] = {"x", "\xc3\xb6", "\n", "\xe2\x96\x81", "\xff\xc3\xb6"};
    for (size_t f = 0; f < 5; f++) {
        size_t size = 0;
        while (size < 2900) {
            memcpy(path + size, fills[f], strlen(fills[f]));
            size += strlen(fills[f]);
        }
        strcpy(path + size, "/the-end.gguf");
        rad_path_label(out, path);
        ck_assert_uint_lt(strlen(out), RAD_PATH_LABEL_SIZE);
        ck_assert_uint_gt(strlen(out), RAD_PATH_LABEL_SIZE - 16);
        ck_assert_int_eq(strncmp(out, "...", 3), 0);
        ck_assert_str_eq(out + strlen(out) - 13, "/the-end.gguf");
    }
}
END_TEST

/* ---- writing --------------------------------------------------------------------------------- */

static radllm_status write_file(const char *path, size_t size, size_t piece, radllm_error *error)
{
    rad_output *output = NULL;
    radllm_status status = rad_output_open(&rad_default_allocator, path, &output, error);
    if (status != RADLLM_OK)
        return status;
    uint8_t *bytes = malloc(piece);
    for (size_t done = 0; done < size && status == RADLLM_OK;) {
        size_t now = size - done < piece ? size - done : piece;
        for (size_t i = 0; i < now; i++)
            bytes[i] = (uint8_t)((done + i) % 253);
        status = rad_output_write(output, bytes, now, error);
        done += now;
    }
    if (status == RADLLM_OK) {
        ck_assert_uint_eq(rad_output_position(output), size);
        status = rad_output_commit(output, error);
    }
    rad_output_free(output);
    free(bytes);
    return status;
}

START_TEST(writes_whole_files_only)
{
    static const size_t pieces[] = {13, 4096, 65535, 65536, 65537, 200000};
    char path[1024];
    char partial[1100];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("output"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        radllm_error error = {0};
        rad_assert_ok(write_file(path, 200001, pieces[p], &error), &error);
        size_t size;
        uint8_t *bytes = rad_test_read_file(path, &size);
        ck_assert_uint_eq(size, 200001);
        size_t equal = 0;
        for (size_t i = 0; i < size; i++)
            equal += bytes[i] == i % 253;
        ck_assert_uint_eq(equal, size);
        free(bytes);
        ck_assert_int_ne(access(partial, F_OK), 0);
    }
    rad_output *output = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_output_open(&rad_default_allocator, path, &output, &error), &error);
    rad_assert_ok(rad_output_write(output, "new", 3, &error), &error);
    rad_output_free(output); /* without commit: what was there stays */
    rad_output_free(NULL);
    struct stat information;
    ck_assert_int_eq(stat(path, &information), 0);
    ck_assert_int_eq(information.st_size, 200001);
    ck_assert_int_ne(access(partial, F_OK), 0);
}
END_TEST

/* Two that write one file: the second is refused, and the first one's bytes are whole. A link stays
 * one, and the file behind it is replaced; a link in the temporary file's place is not followed. */
START_TEST(writes_alone_and_behind_links)
{
    char path[1024], partial[1100], link[1100];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("alone"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    snprintf(link, sizeof link, "%s.link", path);
    rad_output *output = NULL, *second = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_output_open(&rad_default_allocator, path, &output, &error), &error);
    rad_assert_ok(rad_output_write(output, "first", 5, &error), &error);
    rad_assert_error(rad_output_open(&rad_default_allocator, path, &second, &error), RADLLM_E_IO,
                     &error, "another program or thread writes this file now");
    ck_assert_int_eq(access(partial, F_OK), 0);
    rad_assert_ok(rad_output_commit(output, &error), &error);
    rad_output_free(output);
    size_t size;
    free(rad_test_read_file(path, &size));
    ck_assert_uint_eq(size, 5);

    ck_assert_int_eq(symlink(path, link), 0);
    rad_assert_ok(write_file(link, 7, 7, &error), &error);
    struct stat information;
    ck_assert_int_eq(lstat(link, &information), 0);
    ck_assert(S_ISLNK(information.st_mode));
    free(rad_test_read_file(path, &size));
    ck_assert_uint_eq(size, 7);

    ck_assert_int_eq(rename(link, partial), 0);
    rad_assert_error(rad_output_open(&rad_default_allocator, path, &output, &error), RADLLM_E_IO,
                     &error, "cannot create the file");
    ck_assert_int_eq(lstat(partial, &information), 0);
    ck_assert_int_eq(unlink(partial), 0);
}
END_TEST

/* Another user in a folder like /tmp; asked first, then done. */
static bool is_refused_to_others(const char *path, bool folder)
{
    rad_output *output;
    rad_folder_output *folder_output;
    bool refused = setresuid(65534, 65534, 65534) == 0;
    for (int real = 0; real < 2 && refused; real++) {
        radllm_error error = {0};
        radllm_status status =
            folder ? rad_folder_output_open(&rad_default_allocator, path, true,
                                            real ? &folder_output : NULL, &error)
                   : rad_output_open(&rad_default_allocator, path, real ? &output : NULL, &error);
        refused =
            status == RADLLM_E_IO && strstr(error.message, "only its owner may replace it") != NULL;
    }
    return refused;
}

/* What opening would refuse is told without a trace. */
START_TEST(asks_without_writing)
{
    const rad_allocator *allocator = &rad_default_allocator;
    char path[1024], partial[1100], below[1100];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("asked"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    snprintf(below, sizeof below, "%s/none/asked", path);
    radllm_error error = {0};
    rad_output *output;
    rad_assert_ok(rad_output_open(allocator, path, NULL, &error), &error);
    rad_assert_ok(rad_output_open(allocator, "/dev/null", NULL, &error), &error);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_ne(access(partial, F_OK), 0);
    rad_assert_error(rad_output_open(allocator, below, NULL, &error), RADLLM_E_IO, &error,
                     "make the folder first");
    rad_test_write_file(partial, "left", 4);
    rad_assert_ok(rad_output_open(allocator, path, NULL, &error), &error);
    size_t size;
    free(rad_test_read_file(partial, &size));
    ck_assert_uint_eq(size, 4); /* a killed attempt's, which the next one replaces */
    rad_assert_ok(rad_output_open(allocator, path, &output, &error), &error);
    rad_assert_error(rad_output_open(allocator, path, NULL, &error), RADLLM_E_IO, &error,
                     "another program or thread writes this file now");
    ck_assert_int_eq(access(partial, F_OK), 0);
    rad_output_free(output);
    ck_assert_int_eq(symlink("nowhere", partial), 0);
    rad_assert_error(rad_output_open(allocator, path, NULL, &error), RADLLM_E_IO, &error,
                     "cannot create the file");
    ck_assert_int_eq(unlink(partial), 0);
}
END_TEST

START_TEST(what_others_keep_is_told_before)
{
    char folder[] = "/tmp/radllm-kept-XXXXXX", file[64], inner[64];
    if (geteuid() != 0)
        RAD_SKIP("needs the rights to be another user");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 01777), 0);
    snprintf(file, sizeof file, "%s/model.gguf", folder);
    snprintf(inner, sizeof inner, "%s/model", folder);
    rad_test_write_file(file, "before", 6);
    ck_assert_int_eq(mkdir(inner, 0777), 0);
    for (int i = 0; i < 2; i++) {
        int status = 1;
        pid_t child = fork();
        if (child == 0)
            _exit(is_refused_to_others(i == 0 ? file : inner, i == 1) ? 0 : 1);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    ck_assert(!rad_is_kept_by_owner(file)); /* from root nothing is kept */
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(inner), 0);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing was left */
}
END_TEST

START_TEST(reports_a_limit_of_the_file_size)
{
    struct rlimit limit = {100000, 100000};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("limited"));
    radllm_error error = {0};
    rad_assert_error(write_file(path, 300000, 1000, &error), RADLLM_E_IO, &error,
                     "File too large; raise the limit of a file's size (ulimit -f)");
    ck_assert_int_ne(access(path, F_OK), 0);
    strcat(path, ".partial");
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* The signal would end this process. */
START_TEST(reports_a_closed_pipe)
{
    int ends[2];
    char path[64];
    static const uint8_t bytes[100000];
    radllm_error error = {0};
    rad_output *output;
    ck_assert_int_eq(pipe(ends), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    rad_assert_ok(rad_output_open(&rad_default_allocator, path, &output, &error), &error);
    ck_assert_int_eq(close(ends[0]), 0);
    rad_assert_error(rad_output_write(output, bytes, sizeof bytes, &error), RADLLM_E_IO, &error,
                     "what reads it has ended");
    rad_output_free(output);
    ck_assert_int_eq(close(ends[1]), 0);
}
END_TEST

START_TEST(reports_a_full_device)
{
    if (access("/dev/full", W_OK) != 0)
        RAD_SKIP("there is no /dev/full here");
    radllm_error error = {0};
    rad_assert_error(write_file("/dev/full", 10, 10, &error), RADLLM_E_IO, &error,
                     "No space left on device");
    rad_assert_ok(write_file("/dev/null", 100000, 10, &error), &error);
    rad_assert_error(write_file("/", 10, 10, &error), RADLLM_E_IO, &error, "cannot create");
}
END_TEST

/* ---- clock, process, hash -------------------------------------------------------------------- */

START_TEST(clock_and_process)
{
    uint64_t first = rad_clock_ns();
    uint64_t second = rad_clock_ns();
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_ge(second, first);
    ck_assert_uint_lt(second - first, 10000000000u);
    int64_t mine = rad_process_id();
    ck_assert_int_gt(mine, 0);
    pid_t child = fork();
    if (child == 0)
        _exit(rad_process_id() == mine ? 1 : 0);
    int status = 1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

static void check_sha256(const char *text, size_t repeat, const char *expected)
{
    size_t size = strlen(text);
    char *data = calloc(size + 1, repeat + 1);
    for (size_t i = 0; i < repeat; i++)
        memcpy(data + i * size, text, size);
    uint8_t digest[32];
    char hex[65];
    rad_sha256(data, size * repeat, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    ck_assert_str_eq(hex, expected);
    free(data);
}

START_TEST(sha256_of_the_standard_examples)
{
    check_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha256("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_sha256("a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

/* ---- control groups ----------------------------------------------------------------------------
 */

static char groups_root[1024];

static void put(const char *folder, const char *name, const char *text)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", groups_root, folder);
    ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/%s", groups_root, folder, name);
    rad_test_write_file(path, text, strlen(text));
}

static rad_limits limits_of(const char *groups)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/groups", groups_root);
    rad_test_write_file(path, groups, strlen(groups));
    rad_limits limits;
    rad_limits_read(path, groups_root, &limits);
    return limits;
}

static void check_limits(const char *groups, uint64_t memory, uint32_t processors)
{
    rad_limits limits = limits_of(groups);
    ck_assert_uint_eq(limits.memory, memory);
    ck_assert_uint_eq(limits.processors, processors);
}

/* Both versions; the narrowest of a group and those around it; what says nothing limits nothing. */
START_TEST(control_groups_limit_the_machine)
{
    snprintf(groups_root, sizeof groups_root, "%s", rad_test_temp_path("groups"));
    ck_assert(mkdir(groups_root, 0700) == 0 || errno == EEXIST);
    check_limits("0::/a/b\n", UINT64_MAX, UINT32_MAX);
    put("a", "memory.max", "5000\n");
    put("a", "cpu.max", "max 100000\n");
    put("a/b", "memory.max", "max\n");
    put("a/b", "cpu.max", "150000 100000\n");
    check_limits("0::/a/b\n", 5000, 2);
    check_limits("0::/a/b/not_there\n", 5000, 2);
    check_limits("0::/a", 5000, UINT32_MAX);
    check_limits("0::/\n", UINT64_MAX, UINT32_MAX);
    put("", "memory.max", "4000"); /* as a container sees its own group */
    put("", "cpu.max", "10000 100000");
    check_limits("0::/\n", 4000, 1);
    put("memory", "memory.limit_in_bytes", "9223372036854771712\n");
    put("memory/c", "memory.limit_in_bytes", "3000\n");
    put("cpu", "cpu.cfs_quota_us", "-1\n");
    put("cpu", "cpu.cfs_period_us", "100000\n");
    put("cpu/c", "cpu.cfs_quota_us", "300000\n");
    put("cpu/c", "cpu.cfs_period_us", "100000\n");
    check_limits("9:name=systemd:/\n4:memory:/c\n2:cpu,cpuacct:/c\n", 3000, 3);
    check_limits("4:memory:/\n2:cpu:/\n", 9223372036854771712u, UINT32_MAX);
    check_limits("2:cpuacct,cpuset:/c\n", UINT64_MAX, UINT32_MAX);
    put("cpu/c", "cpu.cfs_period_us", "0\n");
    put("memory/c", "memory.limit_in_bytes", "99999999999999999999999\n");
    check_limits("4:memory:/c\n2:cpu:/c\nnonsense\n::\n\n", 4000, 1);
    static char text[9000];
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "4:memory:/", 10);
    check_limits(text, 9223372036854771712u, UINT32_MAX);
    rad_limits limits;
    rad_limits_read("/not/there", groups_root, &limits);
    ck_assert(limits.memory == UINT64_MAX && limits.processors == UINT32_MAX);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "files");
    tcase_add_test(cases, reads_and_maps);
    tcase_add_test(cases, refuses_what_is_no_file);
    tcase_add_test(cases, cannot_map_an_empty_file);
    tcase_add_test(cases, survives_failing_memory);
    tcase_add_test(cases, shows_paths_as_printable_text);
    cases = rad_test_case(suite, "writing");
    tcase_add_test(cases, writes_whole_files_only);
    tcase_add_test(cases, writes_alone_and_behind_links);
    tcase_add_test(cases, what_others_keep_is_told_before);
    tcase_add_test(cases, asks_without_writing);
    tcase_add_test(cases, reports_a_limit_of_the_file_size);
    tcase_add_test(cases, reports_a_closed_pipe);
    tcase_add_test(cases, reports_a_full_device);
    cases = rad_test_case(suite, "others");
    tcase_add_test(cases, clock_and_process);
    tcase_add_test(cases, sha256_of_the_standard_examples);
    tcase_add_test(cases, control_groups_limit_the_machine);
}

int main(void)
{
    return rad_test_main("base_file", add_cases);
}
