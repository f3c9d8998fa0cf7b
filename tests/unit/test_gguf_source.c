/* Reading, mapping and sharing an opened model file. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit/gguf_check.h"

static rad_source *open_tiny(char path[1024], gguf_builder *file)
{
    *file = gguf_tiny_llama();
    snprintf(path, 1024, "%s", rad_test_temp_path("tiny.gguf"));
    gguf_write(file, path);
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    return source;
}

START_TEST(reads_any_range)
{
    char path[1024];
    gguf_builder file;
    rad_source *source = open_tiny(path, &file);
    gguf_bytes bytes = gguf_build(&file);
    radllm_error error = {0};
    ck_assert_str_eq(rad_source_label(source), path);
    ck_assert_uint_eq(rad_source_part_bytes(source, 0), bytes.size);
    uint8_t *buffer = malloc(bytes.size);
    rad_assert_ok(rad_source_read(source, 0, 0, buffer, bytes.size, &error), &error);
    ck_assert_mem_eq(buffer, bytes.data, bytes.size);
    rad_assert_ok(rad_source_read(source, 0, bytes.size - 7, buffer, 7, &error), &error);
    ck_assert_mem_eq(buffer, bytes.data + bytes.size - 7, 7);
    rad_assert_ok(rad_source_read(source, 0, bytes.size, buffer, 0, &error), &error);
    rad_assert_error(rad_source_read(source, 0, bytes.size, buffer, 1, &error), RADLLM_E_IO, &error,
                     "the file ends before byte");
    rad_assert_error(rad_source_read(source, 0, UINT64_MAX, buffer, 2, &error), RADLLM_E_IO, &error,
                     path);
    free(buffer);
    gguf_bytes_free(&bytes);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(maps_and_outlives_deletion)
{
    char path[1024];
    gguf_builder file;
    rad_source *source = open_tiny(path, &file);
    gguf_bytes bytes = gguf_build(&file);
    radllm_error error = {0};
    ck_assert_ptr_null(rad_source_mapped(source, 0));
    rad_assert_ok(rad_source_map(source, &error), &error);
    const uint8_t *mapped = rad_source_mapped(source, 0);
    rad_assert_ok(rad_source_map(source, &error), &error);
    ck_assert_ptr_eq(rad_source_mapped(source, 0), mapped);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_mem_eq(mapped, bytes.data, bytes.size);
    uint8_t byte;
    rad_assert_ok(rad_source_read(source, 0, 0, &byte, 1, &error), &error);
    gguf_bytes_free(&bytes);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(notices_a_file_truncated_after_opening)
{
    char path[1024];
    gguf_builder file;
    rad_source *source = open_tiny(path, &file);
    const rad_tensor *tensor = rad_source_find_tensor(source, "output.weight");
    uint8_t *buffer = malloc((size_t)tensor->n_bytes);
    radllm_error error = {0};
    ck_assert_int_eq(truncate(path, (off_t)(tensor->offset + 100)), 0);
    rad_assert_error(
        rad_source_read(source, 0, tensor->offset, buffer, (size_t)tensor->n_bytes, &error),
        RADLLM_E_IO, &error, "it was truncated or replaced while in use");
    ck_assert_ptr_nonnull(strstr(error.message, path));
    rad_assert_ok(rad_source_read(source, 0, tensor->offset, buffer, 100, &error), &error);
    ck_assert_int_eq(truncate(path, 0), 0);
    rad_assert_error(rad_source_read(source, 0, 0, buffer, 1, &error), RADLLM_E_IO, &error,
                     "reopen it");
    free(buffer);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

/* ---- bytes that the host supplies ------------------------------------------------------------ */

typedef struct failing_host {
    gguf_bytes bytes;
    int calls;
    int fail_at; /* the call that fails, from 1 */
    size_t most; /* bytes asked for at once */
} failing_host;

static int32_t failing_read(void *user, uint64_t offset, void *buffer, size_t size)
{
    failing_host *host = user;
    host->calls++;
    host->most = size > host->most ? size : host->most;
    return host->calls == host->fail_at ? 5 : gguf_read_bytes(&host->bytes, offset, buffer, size);
}

START_TEST(reads_by_callback)
{
    gguf_builder file = gguf_tiny_llama();
    failing_host host = {.bytes = gguf_build(&file)};
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(
        rad_source_open_callback(NULL, failing_read, &host, host.bytes.size, &source, &error),
        &error);
    ck_assert_uint_le(host.most, 65536); /* loading asks for pieces */
    ck_assert_int_le(host.calls, 3);
    ck_assert_str_eq(rad_source_label(source), "(model supplied by the host)");
    const rad_tensor *tensor = rad_source_find_tensor(source, "blk.1.ffn_down.weight");
    uint8_t buffer[64];
    rad_assert_ok(rad_source_read(source, 0, tensor->offset, buffer, 64, &error), &error);
    ck_assert_mem_eq(buffer, host.bytes.data + tensor->offset, 64);
    rad_assert_error(rad_source_read(source, 0, host.bytes.size, buffer, 64, &error), RADLLM_E_IO,
                     &error, "lie beyond the end");
    rad_assert_error(rad_source_map(source, &error), RADLLM_E_UNSUPPORTED, &error, "load=copy");
    ck_assert_ptr_null(rad_source_mapped(source, 0));
    host.fail_at = host.calls + 1;
    rad_assert_error(rad_source_read(source, 0, 32, buffer, 64, &error), RADLLM_E_IO, &error,
                     "the host's read function failed for 64 bytes at byte 32");
    rad_source_release(source);

    for (int call = 1; call <= 2; call++) {
        host.calls = 0;
        host.fail_at = call;
        rad_assert_error(
            rad_source_open_callback(NULL, failing_read, &host, host.bytes.size, &source, &error),
            RADLLM_E_IO, &error, "the host's read function failed");
    }
    rad_assert_error(rad_source_open_callback(NULL, NULL, &host, 5, &source, &error),
                     RADLLM_E_ARGUMENT, &error, "the read function is NULL");
    gguf_bytes_free(&host.bytes);
    gguf_builder_free(&file);
}
END_TEST

/* A callback whose file is all zeros but for a header, and enormous: nothing may be taken on trust
 * from a size that costs nothing. */
static int32_t sparse_read(void *user, uint64_t offset, void *buffer, size_t size)
{
    const gguf_bytes *head = user;
    memset(buffer, 0, size);
    if (offset < head->size)
        memcpy(buffer, head->data + offset,
               size < head->size - offset ? size : head->size - offset);
    return 0;
}

START_TEST(bounds_memory_in_enormous_files)
{
    static const uint64_t counts[] = {1000, (uint64_t)1 << 26, (uint64_t)1 << 40};
    for (size_t i = 0; i < 3; i++) {
        gguf_builder file = gguf_builder_new();
        file.own_counts = true;
        file.count_keys = counts[i];
        gguf_bytes head = gguf_build(&file);
        rad_test_memory memory;
        rad_test_memory_init(&memory, 0);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        rad_source *source = NULL;
        radllm_error error = {0};
        rad_assert_error(
            rad_source_open_callback(&host, sparse_read, &head, (uint64_t)1 << 50, &source, &error),
            RADLLM_E_FORMAT, &error, "has an empty name");
        ck_assert_uint_lt(atomic_load(&memory.peak_bytes), 1000000);
        rad_test_memory_check(&memory);
        gguf_bytes_free(&head);
        gguf_builder_free(&file);
    }
    static const uint32_t types[] = {GGUF_STRING, GGUF_F64, GGUF_U8};
    for (size_t i = 0; i < 3; i++) {
        gguf_builder file = gguf_builder_new();
        uint64_t item = 0;
        gguf_key_array(&file, "list", types[i], &item, 8, 1);
        gguf_bytes head = gguf_build(&file);
        gguf_put_u64(head.data + file.keys[0].value_position + 4, (uint64_t)1 << 40);
        rad_test_memory memory;
        rad_test_memory_init(&memory, 0);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        rad_source *source = NULL;
        radllm_error error = {0};
        rad_assert_error(
            rad_source_open_callback(&host, sparse_read, &head, (uint64_t)1 << 50, &source, &error),
            RADLLM_E_LIMIT, &error, "key 'list'");
        rad_assert_error(error.status, RADLLM_E_LIMIT, &error, "more than 1024 MiB of memory");
        ck_assert_uint_lt(atomic_load(&memory.peak_bytes), 1000000);
        rad_test_memory_check(&memory);
        gguf_bytes_free(&head);
        gguf_builder_free(&file);
    }
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

START_TEST(survives_failing_memory)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_bytes bytes = gguf_build(&file);
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        rad_test_memory_init(&memory, n);
        rad_source *source = NULL;
        radllm_error error = {0};
        radllm_status status = gguf_open_bytes(&bytes, &memory, &source, &error);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, &error);
            rad_source_release(source);
            rad_test_memory_check(&memory);
            ck_assert_uint_gt(n, 5);
            break;
        }
        rad_assert_error(status, RADLLM_E_MEMORY, &error, "cannot allocate");
        ck_assert_ptr_null(source);
        rad_test_memory_check(&memory);
    }
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(takes_few_blocks_for_large_vocabularies)
{
    enum { COUNT = 256000 };
    char(*texts)[16] = malloc(COUNT * sizeof *texts);
    const char **tokens = malloc(COUNT * sizeof *tokens);
    float *scores = calloc(COUNT, sizeof *scores);
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "token %d", i);
        tokens[i] = texts[i];
    }
    gguf_builder file = gguf_builder_new();
    gguf_key_strings(&file, "tokenizer.ggml.tokens", tokens, COUNT);
    gguf_key_strings(&file, "tokenizer.ggml.merges", tokens, COUNT);
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, scores, 4, COUNT);
    gguf_bytes bytes = gguf_build(&file);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_source *source;
    radllm_error error = {0};
    rad_assert_ok(gguf_open_bytes(&bytes, &memory, &source, &error), &error);
    ck_assert_uint_le(atomic_load(&memory.n_allocations), 60);
    const rad_meta *meta = rad_source_find_meta(source, "tokenizer.ggml.tokens");
    int equal = 0;
    for (int i = 0; i < COUNT; i++)
        equal += meta->strings[i].size == strlen(texts[i]) &&
                 memcmp(meta->strings[i].data, texts[i], meta->strings[i].size) == 0;
    ck_assert_int_eq(equal, COUNT);
    rad_source_release(source);
    rad_test_memory_check(&memory);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
    free(texts);
    free(tokens);
    free(scores);
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

static void *use_source(void *data)
{
    rad_source *source = data;
    radllm_error error = {0};
    for (int i = 0; i < 200; i++) {
        rad_source *mine = rad_source_retain(source);
        rad_assert_ok(rad_source_map(mine, &error), &error);
        const rad_tensor *tensor = rad_source_find_tensor(mine, "output.weight");
        uint8_t bytes[32];
        rad_assert_ok(rad_source_read(mine, 0, tensor->offset, bytes, 32, &error), &error);
        ck_assert_mem_eq(bytes, rad_source_mapped(mine, 0) + tensor->offset, 32);
        rad_source_release(mine);
    }
    rad_source_release(source);
    return NULL;
}

START_TEST(is_shared_among_threads)
{
    char path[1024];
    gguf_builder file;
    rad_source *source = open_tiny(path, &file);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_source, rad_source_retain(source)),
                         0);
    rad_source_release(source); /* the last thread frees it */
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    rad_source_release(NULL);
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "source");
    tcase_add_test(cases, reads_any_range);
    tcase_add_test(cases, maps_and_outlives_deletion);
    tcase_add_test(cases, notices_a_file_truncated_after_opening);
    tcase_add_test(cases, reads_by_callback);
    tcase_add_test(cases, bounds_memory_in_enormous_files);
    tcase_add_test(cases, survives_failing_memory);
    tcase_add_test(cases, takes_few_blocks_for_large_vocabularies);
    tcase_add_test(cases, is_shared_among_threads);
}

int main(void)
{
    return rad_test_main("gguf_source", add_cases);
}
