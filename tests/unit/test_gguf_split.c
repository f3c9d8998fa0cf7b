/* Models cut into several GGUF files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/gguf_check.h"

#define PARTS 3

static char folder[512];

static const char *part_path(int part, int count)
{
    static char paths[4][640];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, 640, "%s/model-%05d-of-%05d.gguf", folder, part, count);
    return path;
}

/* Part `part` (from 0) of three with two tensors each. */
static gguf_builder make_part(int part)
{
    gguf_builder file = gguf_builder_new();
    if (part == 0) {
        gguf_key_string(&file, "general.architecture", "llama");
        gguf_key_u32(&file, "llama.block_count", 3);
    }
    gguf_key_u16(&file, "split.no", (uint16_t)part);
    gguf_key_u16(&file, "split.count", PARTS);
    gguf_key_i32(&file, "split.tensors.count", 2 * PARTS);
    for (int i = 0; i < 2; i++) {
        char name[32];
        float value[8];
        for (int k = 0; k < 8; k++)
            value[k] = (float)(100 * part + 10 * i + k);
        snprintf(name, sizeof name, "blk.%d.%c", part, 'a' + i);
        gguf_tensor(&file, name, 0, 1, (uint64_t[]){8}, value, sizeof value);
    }
    return file;
}

static void write_part(int part, gguf_builder *file)
{
    gguf_write(file, part_path(part + 1, PARTS));
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "%s", rad_test_temp_path("split"));
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    for (int part = 0; part < PARTS; part++) {
        gguf_builder file = make_part(part);
        write_part(part, &file);
        gguf_builder_free(&file);
    }
}

static void refuse_path(const char *path, radllm_status status, const char *part,
                        const char *remedy)
{
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_error(rad_source_open(&host, path, &source, &error), status, &error, part);
    rad_assert_error(error.status, status, &error, remedy);
    ck_assert_ptr_null(source);
    rad_test_memory_check(&memory);
}

/* Replaces one part by what `file` makes and expects that the model is refused. */
static void refuse_part(int part, gguf_builder *file, radllm_status status, const char *message)
{
    write_part(part, file);
    refuse_path(part_path(1, PARTS), status, message, "fetch all parts of one model again");
    gguf_builder_free(file);
}

START_TEST(reads_all_parts)
{
    rad_source *source;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, part_path(1, PARTS), &source, &error), &error);
    ck_assert_uint_eq(rad_source_n_parts(source), PARTS);
    ck_assert_uint_eq(rad_source_n_tensors(source), 2 * PARTS);
    ck_assert_uint_eq(rad_source_n_meta(source), 5);
    ck_assert_str_eq(rad_source_label(source), part_path(1, PARTS));
    for (int mapped = 0; mapped < 2; mapped++) {
        for (int part = 0; part < PARTS; part++) {
            char name[32];
            snprintf(name, sizeof name, "blk.%d.b", part);
            const rad_tensor *tensor = rad_source_find_tensor(source, name);
            ck_assert_ptr_nonnull(tensor);
            ck_assert_uint_eq(tensor->part, part);
            float value[8];
            if (mapped)
                memcpy(value, rad_source_mapped(source, tensor->part) + tensor->offset, 32);
            else
                rad_assert_ok(
                    rad_source_read(source, tensor->part, tensor->offset, value, 32, &error),
                    &error);
            ck_assert(value[7] == (float)(100 * part + 17));
            ck_assert_uint_gt(rad_source_part_bytes(source, (uint32_t)part), 100);
        }
        rad_assert_ok(rad_source_map(source, &error), &error);
    }
    rad_source_release(source);
}
END_TEST

START_TEST(reads_a_first_part_without_tensors)
{
    gguf_builder file = make_part(0);
    gguf_remove_tensor(&file, "blk.0.a");
    gguf_remove_tensor(&file, "blk.0.b");
    gguf_key_i32(&file, "split.tensors.count", 2 * PARTS - 2);
    write_part(0, &file);
    gguf_builder_free(&file);
    for (int part = 1; part < PARTS; part++) { /* and others that say no more than split.no */
        file = make_part(part);
        gguf_remove_key(&file, "split.count");
        gguf_remove_key(&file, "split.tensors.count");
        write_part(part, &file);
        gguf_builder_free(&file);
    }
    rad_source *source;
    radllm_error error = {0};
    rad_assert_ok(rad_source_open(NULL, part_path(1, PARTS), &source, &error), &error);
    ck_assert_uint_eq(rad_source_n_tensors(source), 2 * PARTS - 2);
    rad_source_release(source);
}
END_TEST

/* Also with a count of 0, which llama-gguf-split --merge writes. */
START_TEST(reads_one_of_one)
{
    for (uint16_t count = 0; count < 2; count++) {
        gguf_builder file = make_part(0);
        gguf_key_u16(&file, "split.count", count);
        gguf_key_i32(&file, "split.tensors.count", 2);
        rad_source *source = gguf_accept(&file);
        ck_assert_uint_eq(rad_source_n_parts(source), 1);
        rad_source_release(source);
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(names_the_first_part)
{
    char message[700];
    snprintf(message, sizeof message,
             "this is part 3 of 3 of a split model; open its first part: %s", part_path(1, PARTS));
    refuse_path(part_path(3, PARTS), RADLLM_E_ARGUMENT, message, "open its first part");
    char other[640];
    snprintf(other, sizeof other, "%s/renamed.gguf", folder);
    ck_assert_int_eq(rename(part_path(2, PARTS), other), 0);
    refuse_path(other, RADLLM_E_ARGUMENT, "this is part 2 of 3 of a split model",
                "whose name ends with -00001-of-00003.gguf");
}
END_TEST

START_TEST(refuses_a_missing_part)
{
    ck_assert_int_eq(unlink(part_path(2, PARTS)), 0);
    refuse_path(part_path(1, PARTS), RADLLM_E_IO,
                "part 2 of 3 of the split model is missing or cannot be read",
                "model-00002-of-00003.gguf: cannot open the file: No such file");
}
END_TEST

START_TEST(refuses_a_first_part_with_another_name)
{
    char other[640];
    snprintf(other, sizeof other, "%s/renamed.gguf", folder);
    ck_assert_int_eq(rename(part_path(1, PARTS), other), 0);
    refuse_path(other, RADLLM_E_FORMAT, "its name does not end with -00001-of-00003.gguf",
                "give all parts their original names");
}
END_TEST

START_TEST(refuses_parts_of_other_models)
{
    gguf_builder file = make_part(1);
    gguf_key_u16(&file, "split.count", 4);
    refuse_part(1, &file, RADLLM_E_FORMAT,
                "the key 'split.count' is 4, but 3 in the first part; the file belongs to another "
                "model");
    file = make_part(1);
    gguf_key_i32(&file, "split.tensors.count", 7);
    refuse_part(1, &file, RADLLM_E_FORMAT,
                "the key 'split.tensors.count' is 7, but 6 in the first part");
    file = make_part(1);
    gguf_key_string(&file, "general.architecture", "qwen2");
    refuse_part(1, &file, RADLLM_E_FORMAT,
                "the key 'general.architecture' differs from the first part's");
    file = make_part(2);
    refuse_part(1, &file, RADLLM_E_FORMAT,
                "the key 'split.no' is 2, but by its name the file is part 2 (split.no 1)");
    file = make_part(1);
    gguf_remove_key(&file, "split.no");
    refuse_part(1, &file, RADLLM_E_FORMAT, "the key 'split.no' is missing");
    file = make_part(1);
    gguf_key_string(&file, "split.no", "1");
    write_part(1, &file);
    refuse_path(part_path(1, PARTS), RADLLM_E_FORMAT, "the key 'split.no' is of type string",
                "model-00002-of-00003.gguf");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_wrong_sums)
{
    gguf_builder file = make_part(1);
    gguf_remove_tensor(&file, "blk.1.b");
    refuse_part(1, &file, RADLLM_E_FORMAT,
                "the key 'split.tensors.count' is 6, but the 3 parts hold 5 tensors");
}
END_TEST

START_TEST(refuses_a_tensor_in_two_parts)
{
    gguf_builder file = make_part(0);
    gguf_remove_key(&file, "general.architecture");
    gguf_key_u16(&file, "split.no", 1);
    refuse_part(1, &file, RADLLM_E_FORMAT, "is also in part 1 of the split model");
}
END_TEST

START_TEST(refuses_a_damaged_part)
{
    size_t size;
    uint8_t *bytes = rad_test_read_file(part_path(3, PARTS), &size);
    rad_test_write_file(part_path(3, PARTS), bytes, size - 1);
    refuse_path(part_path(1, PARTS), RADLLM_E_FORMAT, "model-00003-of-00003.gguf: tensor 'blk.2.b'",
                "fetch the file again");
    rad_test_write_file(part_path(3, PARTS), bytes, 0);
    refuse_path(part_path(1, PARTS), RADLLM_E_FORMAT,
                "model-00003-of-00003.gguf: the file is empty", "fetch it again");
    free(bytes);
}
END_TEST

START_TEST(refuses_wrong_split_keys)
{
    gguf_builder file = make_part(0);
    gguf_key_u16(&file, "split.no", 3);
    refuse_part(0, &file, RADLLM_E_FORMAT, "the key 'split.no' is 3, but 'split.count' is 3");
    file = make_part(0); /* as if it were merged, but the others are missing */
    gguf_key_u16(&file, "split.count", 0);
    refuse_part(0, &file, RADLLM_E_FORMAT, "but the 1 parts hold 2 tensors");
    file = make_part(0);
    gguf_key_i32(&file, "split.count", -1);
    write_part(0, &file);
    refuse_path(part_path(1, PARTS), RADLLM_E_FORMAT, "the key 'split.count' is -1, but it must be",
                "fetch");
    gguf_key_u32(&file, "split.count", 1000000);
    write_part(0, &file);
    refuse_path(part_path(1, PARTS), RADLLM_E_FORMAT, "the key 'split.count' is 1000000, but",
                "fetch");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_split_models_by_callback)
{
    gguf_builder file = make_part(0);
    gguf_bytes bytes = gguf_build(&file);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_assert_error(gguf_open_bytes(&bytes, &memory, &source, &error), RADLLM_E_UNSUPPORTED,
                     &error, "merge the parts first");
    rad_test_memory_check(&memory);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(survives_failing_memory)
{
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        rad_test_memory_init(&memory, n);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        rad_source *source = NULL;
        radllm_error error = {0};
        radllm_status status = rad_source_open(&host, part_path(1, PARTS), &source, &error);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, &error);
            rad_source_release(source);
            rad_test_memory_check(&memory);
            ck_assert_uint_gt(n, 5);
            break;
        }
        ck_assert_int_eq(status, RADLLM_E_MEMORY);
        ck_assert_ptr_null(source);
        rad_test_memory_check(&memory);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "split");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, reads_all_parts);
    tcase_add_test(cases, reads_a_first_part_without_tensors);
    tcase_add_test(cases, reads_one_of_one);
    tcase_add_test(cases, names_the_first_part);
    tcase_add_test(cases, refuses_a_missing_part);
    tcase_add_test(cases, refuses_a_first_part_with_another_name);
    tcase_add_test(cases, refuses_parts_of_other_models);
    tcase_add_test(cases, refuses_wrong_sums);
    tcase_add_test(cases, refuses_a_tensor_in_two_parts);
    tcase_add_test(cases, refuses_a_damaged_part);
    tcase_add_test(cases, refuses_wrong_split_keys);
    tcase_add_test(cases, refuses_split_models_by_callback);
    tcase_add_test(cases, survives_failing_memory);
}

int main(void)
{
    return rad_test_main("gguf_split", add_cases);
}
