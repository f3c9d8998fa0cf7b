/* The GGUF writer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/gguf_write.h"
#include "unit/gguf_check.h"

static rad_text text_of(const char *text)
{
    return (rad_text){text, strlen(text)};
}

/* Everything of a source, written again to `path`. */
static radllm_status copy_source(const rad_allocator *allocator, const rad_source *source,
                                 const char *path, radllm_error *error)
{
    rad_gguf_writer *writer = NULL;
    radllm_status status =
        rad_gguf_writer_new(allocator, (uint32_t)rad_source_alignment(source), &writer, error);
    if (status != RADLLM_OK)
        return status;
    for (uint64_t i = 0; i < rad_source_n_meta(source); i++)
        rad_gguf_set_meta(writer, rad_source_meta(source, i));
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        rad_gguf_add_tensor(writer, tensor->name.data, tensor->type, tensor->n_dims, tensor->dims);
    }
    status = rad_gguf_begin(writer, path, error);
    for (uint64_t i = 0; i < rad_source_n_tensors(source) && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        uint8_t piece[777];
        for (uint64_t done = 0; done < tensor->n_bytes && status == RADLLM_OK;) {
            uint64_t left = tensor->n_bytes - done;
            size_t size = left < sizeof piece ? (size_t)left : sizeof piece;
            status = rad_source_read(source, 0, tensor->offset + done, piece, size, error);
            if (status == RADLLM_OK)
                status = rad_gguf_data(writer, piece, size, error);
            done += size;
        }
    }
    if (status == RADLLM_OK)
        status = rad_gguf_finish(writer, error);
    rad_gguf_writer_free(writer);
    return status;
}

static void check_equal(const char *first, const char *second)
{
    size_t sizes[2];
    uint8_t *bytes[2] = {rad_test_read_file(first, &sizes[0]),
                         rad_test_read_file(second, &sizes[1])};
    size_t common = sizes[0] < sizes[1] ? sizes[0] : sizes[1];
    ck_assert_mem_eq(bytes[0], bytes[1], common);
    for (size_t i = common; i < sizes[1]; i++) /* the writer pads the last tensor too */
        ck_assert_uint_eq(bytes[1][i], 0);
    ck_assert_uint_le(sizes[1] - common, 63);
    free(bytes[0]);
    free(bytes[1]);
}

START_TEST(writes_what_was_read)
{
    gguf_builder file = gguf_tiny_llama();
    int16_t numbers[] = {1, -2, 3};
    gguf_key_array(&file, "some.numbers", GGUF_I16, numbers, 2, 3);
    gguf_key_strings(&file, "no.strings", NULL, 0);
    gguf_key_bool(&file, "yes", 1);
    gguf_key_u64(&file, "large", UINT64_MAX);
    char path[1024];
    char copy[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("original.gguf"));
    snprintf(copy, sizeof copy, "%s", rad_test_temp_path("copy.gguf"));
    gguf_write(&file, path);
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    rad_assert_ok(copy_source(&rad_default_allocator, source, copy, &error), &error);
    check_equal(path, copy);
    char partial[1100];
    snprintf(partial, sizeof partial, "%s.partial", copy);
    ck_assert_int_ne(access(partial, F_OK), 0);

    for (uint64_t n = 1;; n++) { /* and with failing memory: nothing is left behind */
        rad_test_memory memory;
        rad_test_memory_init(&memory, n);
        rad_allocator allocator = rad_test_allocator(&memory);
        ck_assert_int_eq(unlink(copy), 0);
        radllm_status status = copy_source(&allocator, source, copy, &error);
        rad_test_memory_check(&memory);
        ck_assert_int_ne(access(partial, F_OK), 0);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, &error);
            ck_assert_uint_gt(n, 4);
            break;
        }
        ck_assert_int_eq(status, RADLLM_E_MEMORY);
        ck_assert_int_ne(access(copy, F_OK), 0);
        rad_test_write_file(copy, "", 0);
    }
    check_equal(path, copy);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(writes_typed_keys)
{
    rad_gguf_writer *writer;
    radllm_error error = {0};
    rad_assert_ok(rad_gguf_writer_new(&rad_default_allocator, 64, &writer, &error), &error);
    rad_gguf_set_text(writer, "general.architecture", text_of("gpt2"));
    rad_gguf_set_text(writer, "general.architecture", text_of("llama"));
    rad_gguf_set_integer(writer, "i8", RAD_META_I8, -1);
    rad_gguf_set_integer(writer, "u64", RAD_META_U64, 5);
    rad_gguf_set_f32(writer, "f32", 0.25f);
    rad_gguf_set_bool(writer, "bool", true);
    rad_gguf_add_tensor(writer, "a", RAD_TYPE_F32, 1, (uint64_t[]){3});
    rad_gguf_add_tensor(writer, "b", RAD_TYPE_Q8_0, 2, (uint64_t[]){32, 2});
    const char *path = rad_test_temp_path("typed.gguf");
    rad_assert_ok(rad_gguf_begin(writer, path, &error), &error);
    static const uint8_t data[68] = {1, 2, 3};
    rad_assert_error(rad_gguf_finish(writer, &error), RADLLM_E_STATE, &error,
                     "the data of 2 of 2 tensors is missing");
    rad_assert_error(rad_gguf_data(writer, data, 13, &error), RADLLM_E_ARGUMENT, &error,
                     "the tensor 'a' has 12 bytes, of which 0 are written: 13 more do not fit");
    rad_assert_ok(rad_gguf_data(writer, data, 12, &error), &error);
    rad_assert_ok(rad_gguf_data(writer, data, 60, &error), &error);
    rad_assert_ok(rad_gguf_data(writer, data + 60, 8, &error), &error);
    rad_assert_error(rad_gguf_data(writer, data, 1, &error), RADLLM_E_STATE, &error,
                     "all 2 have theirs");
    rad_assert_ok(rad_gguf_finish(writer, &error), &error);
    rad_gguf_writer_free(writer);

    rad_source *source = NULL;
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    ck_assert_uint_eq(rad_source_alignment(source), 64);
    ck_assert_uint_eq(rad_source_n_meta(source), 6);
    rad_text text;
    int64_t integer;
    rad_assert_ok(rad_meta_text(source, "general.architecture", &text, &error), &error);
    ck_assert_uint_eq(text.size, 5);
    rad_assert_ok(rad_meta_integer(source, "i8", -5, 5, 0, &integer, &error), &error);
    ck_assert_int_eq(integer, -1);
    ck_assert_uint_eq(rad_source_find_tensor(source, "b")->offset % 64, 0);
    rad_source_release(source);
}
END_TEST

START_TEST(refuses_impossible_tensors)
{
    static const struct {
        const char *name;
        rad_type type;
        uint32_t n_dims;
        uint64_t dims[4];
        const char *part;
    } cases[] = {
        {"", RAD_TYPE_F32, 1, {4}, "the tensor '' cannot be written"},
        {"a", (rad_type)5, 1, {4}, "the tensor 'a' cannot be written with type unknown"},
        {"a", RAD_TYPE_Q4_K, 1, {128}, "the tensor 'a' cannot be written with type Q4_K"},
        {"a", RAD_TYPE_F32, 0, {4}, "0 dimensions"},
        {"a", RAD_TYPE_F32, 5, {4}, "5 dimensions"},
        {"a", RAD_TYPE_F32, 2, {4, 0}, "2 dimensions"},
        {"a", RAD_TYPE_F32, 2, {(uint64_t)1 << 63, 4}, "2 dimensions"},
        {"a", RAD_TYPE_F32, 1, {(uint64_t)1 << 62}, "the tensor 'a' cannot be written"},
        {"a", RAD_TYPE_I8, 1, {(uint64_t)1 << 63}, "more than 2^63 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rad_gguf_writer *writer;
        radllm_error error = {0};
        rad_assert_ok(rad_gguf_writer_new(&rad_default_allocator, 32, &writer, &error), &error);
        rad_gguf_add_tensor(writer, cases[i].name, cases[i].type, cases[i].n_dims, cases[i].dims);
        rad_gguf_set_bool(writer, "later", true); /* does not hide the first failure */
        rad_assert_error(rad_gguf_begin(writer, rad_test_temp_path("none.gguf"), &error),
                         RADLLM_E_ARGUMENT, &error, cases[i].part);
        rad_gguf_writer_free(writer);
    }
    rad_gguf_writer *writer;
    radllm_error error = {0};
    rad_assert_error(rad_gguf_writer_new(&rad_default_allocator, 33, &writer, &error),
                     RADLLM_E_ARGUMENT, &error, "the alignment 33 is no power of two");
}
END_TEST

static radllm_status write_large(const char *path, radllm_error *error)
{
    static float data[65536];
    rad_gguf_writer *writer;
    rad_assert_ok(rad_gguf_writer_new(&rad_default_allocator, 32, &writer, error), error);
    rad_gguf_add_tensor(writer, "a", RAD_TYPE_F32, 1, (uint64_t[]){65536});
    radllm_status status = rad_gguf_begin(writer, path, error);
    if (status == RADLLM_OK)
        status = rad_gguf_data(writer, data, sizeof data, error);
    if (status == RADLLM_OK)
        status = rad_gguf_finish(writer, error);
    rad_gguf_writer_free(writer);
    return status;
}

START_TEST(reports_a_full_disk)
{
    radllm_error error = {0};
    if (access("/dev/full", W_OK) != 0)
        RAD_SKIP("there is no /dev/full here");
    rad_assert_error(write_large("/dev/full", &error), RADLLM_E_IO, &error,
                     "/dev/full: cannot write the file at byte 0: No space left on device; free "
                     "space");
}
END_TEST

START_TEST(reports_a_folder_that_is_missing)
{
    radllm_error error = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/none/x.gguf", rad_test_temp_path("missing"));
    rad_assert_error(write_large(path, &error), RADLLM_E_IO, &error, "cannot create the file");
    rad_assert_error(error.status, RADLLM_E_IO, &error, "make the folder first");
    rad_assert_error(write_large("", &error), RADLLM_E_ARGUMENT, &error, "the path");
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "writer");
    tcase_add_test(cases, writes_what_was_read);
    tcase_add_test(cases, writes_typed_keys);
    tcase_add_test(cases, refuses_impossible_tensors);
    tcase_add_test(cases, reports_a_full_disk);
    tcase_add_test(cases, reports_a_folder_that_is_missing);
}

int main(void)
{
    return rad_test_main("gguf_write", add_cases);
}
