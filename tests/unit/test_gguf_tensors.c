/* The descriptions of tensors in GGUF files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/gguf_check.h"

static const float values[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static gguf_builder two_tensors(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_tensor(&file, "first", 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_tensor(&file, "second", 0, 2, (uint64_t[]){4, 2}, values, sizeof values);
    return file;
}

START_TEST(describes_tensors)
{
    gguf_builder file = two_tensors();
    static const uint8_t zeros[2 * 3 * 5 * 144];
    gguf_tensor(&file, "third", RAD_TYPE_Q4_K, 4, (uint64_t[]){512, 3, 5, 1}, zeros, sizeof zeros);
    rad_source *source = gguf_accept(&file);
    ck_assert_uint_eq(rad_source_n_tensors(source), 3);
    const rad_tensor *tensor = rad_source_find_tensor(source, "third");
    ck_assert_ptr_eq(tensor, rad_source_tensor(source, 2));
    ck_assert_str_eq(tensor->name.data, "third");
    ck_assert_uint_eq(tensor->name.size, 5);
    ck_assert_int_eq(tensor->type, RAD_TYPE_Q4_K);
    ck_assert_uint_eq(tensor->n_dims, 4);
    ck_assert_uint_eq(tensor->dims[0], 512);
    ck_assert_uint_eq(tensor->dims[2], 5);
    ck_assert_uint_eq(tensor->n_elements, 7680);
    ck_assert_uint_eq(tensor->n_bytes, sizeof zeros);
    ck_assert_uint_eq(tensor->part, 0);
    ck_assert_uint_eq(tensor->offset, file.tensors[2].data_position);
    tensor = rad_source_find_tensor(source, "second");
    ck_assert_uint_eq(tensor->dims[1], 2);
    ck_assert_uint_eq(tensor->dims[2], 1);
    ck_assert_uint_eq(tensor->dims[3], 1);
    float read[8];
    radllm_error error = {0};
    rad_assert_ok(rad_source_read(source, 0, tensor->offset, read, (size_t)tensor->n_bytes, &error),
                  &error);
    ck_assert_mem_eq(read, values, sizeof values);
    ck_assert_ptr_null(rad_source_find_tensor(source, "secon"));
    ck_assert_ptr_null(rad_source_find_tensor(source, "second "));
    ck_assert_ptr_null(rad_source_find_tensor(source, ""));
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(knows_the_size_of_every_type)
{
    for (uint32_t type = 0; type < 64; type++) {
        const rad_type_info *info = rad_type_find(type);
        if (info == NULL)
            continue;
        gguf_builder file = gguf_builder_new();
        size_t size = 6 * (size_t)info->block_bytes + info->tail_bytes;
        gguf_tensor(&file, "a", type, 2, (uint64_t[]){2 * (uint64_t)info->block_elements, 3}, NULL,
                    size);
        gguf_tensor(&file, "behind", 0, 1, (uint64_t[]){8}, values, sizeof values);
        rad_source *source = gguf_accept(&file);
        ck_assert_uint_eq(rad_source_tensor(source, 0)->n_bytes, size);
        rad_source_release(source);
        if (info->block_elements > 1) {
            char part[96];
            file.tensors[0].dims[0] = info->block_elements + 1;
            snprintf(part, sizeof part,
                     "has rows of %u elements, but type %s needs a multiple of %u",
                     info->block_elements + 1, info->name, info->block_elements);
            gguf_refuse(&file, RADLLM_E_FORMAT, "tensor 'a'", part, "convert it again");
        }
        gguf_builder_free(&file);
    }
}
END_TEST

/* ---- names ----------------------------------------------------------------------------------- */

START_TEST(refuses_wrong_names)
{
    gguf_builder file = gguf_builder_new();
    gguf_tensor(&file, "", 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_refuse(&file, RADLLM_E_FORMAT, "tensor number 1 at byte 24 has an empty name",
                "convert it again");
    gguf_builder_free(&file);

    gguf_tensor(&file, "a/b", 0, 1, (uint64_t[]){8}, values, sizeof values);
    file.tensors[0].name[1] = '\0';
    gguf_refuse(&file, RADLLM_E_FORMAT, "tensor number 1 at byte 24 has a name with a NUL byte",
                "convert it again");
    gguf_builder_free(&file);

    char name[66];
    memset(name, 'n', 65);
    name[65] = '\0';
    gguf_tensor(&file, name, 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_refuse(&file, RADLLM_E_FORMAT,
                "tensor number 1 at byte 24 has a name of 65 bytes, but a tensor may have at most "
                "64");
    gguf_builder_free(&file);
    name[64] = '\0';
    gguf_tensor(&file, name, 0, 1, (uint64_t[]){8}, values, sizeof values);
    rad_source_release(gguf_accept(&file));
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_impossible_name_lengths)
{
    static const uint64_t huge[] = {100000, (uint64_t)1 << 63, UINT64_MAX};
    gguf_builder file = two_tensors();
    for (size_t i = 0; i < 3; i++) {
        gguf_bytes bytes = gguf_build(&file);
        gguf_put_u64(bytes.data + file.tensors[1].position, huge[i]);
        char part[80];
        snprintf(part, sizeof part, "tensor number 2: the name at byte 69 needs %llu bytes",
                 (unsigned long long)huge[i]);
        gguf_refused(&bytes, RADLLM_E_FORMAT, part, "fetch the file again", (const char *)NULL);
        gguf_bytes_free(&bytes);
    }
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_duplicate_names)
{
    gguf_builder file = two_tensors();
    gguf_tensor(&file, "first", 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_refuse(&file, RADLLM_E_FORMAT,
                "the tensor name 'first' occurs twice, at byte 24 and at byte 107",
                "convert it again");
    gguf_builder_free(&file);
}
END_TEST

/* ---- dimensions ------------------------------------------------------------------------------ */

START_TEST(refuses_wrong_numbers_of_dimensions)
{
    static const uint32_t wrong[] = {0, 5, 8, 255, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gguf_builder file = two_tensors();
        file.tensors[0].n_dims = wrong[i];
        for (int d = 0; d < 8; d++)
            file.tensors[0].dims[d] = 1;
        char part[96];
        snprintf(part, sizeof part,
                 "tensor 'first' has %u dimensions (byte 37), but 1 to 4 are possible", wrong[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch it again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_wrong_dimensions)
{
    static const struct {
        uint64_t dims[4];
        uint32_t n_dims;
        const char *part;
    } cases[] = {
        {{0}, 1, "tensor 'first': dimension 0 at byte 41 is 0, but it must be positive"},
        {{8, 0}, 2, "dimension 1 at byte 49 is 0, but it must be positive"},
        {{8, 1, 0}, 3, "dimension 2 at byte 57 is 0, but it must be positive"},
        {{UINT64_MAX}, 1, "dimension 0 at byte 41 is -1, but it must be positive"},
        {{8, (uint64_t)1 << 63}, 2, "dimension 1 at byte 49 is -9223372036854775808, but"},
        {{(uint64_t)1 << 62, 4}, 2, "the product of the dimensions (byte 49) exceeds 63 bits"},
        {{(uint64_t)1 << 32, (uint64_t)1 << 32}, 2, "the product of the dimensions"},
        {{(uint64_t)1 << 62, 2}, 2, "the product of the dimensions (byte 49) exceeds 63 bits"},
        {{INT64_MAX, 2, 1, 1}, 4, "the product of the dimensions"},
        {{65536, 65536, 65536, 65536}, 4, "the product of the dimensions (byte 65)"},
        {{(uint64_t)1 << 62}, 1, "needs 4611686018427387904 elements of type F32"},
        {{(uint64_t)1 << 40}, 1, "needs 1099511627776 elements of type F32"},
        {{1000, 1000}, 2, "needs 1000000 elements of type F32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gguf_builder file = two_tensors();
        file.tensors[0].n_dims = cases[i].n_dims;
        memcpy(file.tensors[0].dims, cases[i].dims, sizeof cases[i].dims);
        gguf_refuse(&file, RADLLM_E_FORMAT, "tensor 'first'", cases[i].part, "fetch");
        gguf_builder_free(&file);
    }
}
END_TEST

/* ---- types ----------------------------------------------------------------------------------- */

START_TEST(refuses_unknown_types)
{
    static const struct {
        uint32_t type;
        radllm_status status;
        const char *part;
        const char *remedy;
    } cases[] = {
        {4, RADLLM_E_UNSUPPORTED, "tensor 'first' has type 4 (byte 49): Q4_2", "convert"},
        {5, RADLLM_E_UNSUPPORTED, "type 5 (byte 49): Q4_3, which ggml removed", "convert"},
        {31, RADLLM_E_UNSUPPORTED, "type 31 (byte 49): Q4_0_4_4, which ggml removed", "convert"},
        {33, RADLLM_E_UNSUPPORTED, "type 33 (byte 49): Q4_0_8_8, which ggml removed", "convert"},
        {37, RADLLM_E_UNSUPPORTED, "I8_S of the BitNet fork", "convert"},
        {38, RADLLM_E_UNSUPPORTED, "TL1 of the BitNet fork", "convert"},
        {1000, RADLLM_E_FORMAT, "tensor 'first' has the unknown type 1000 (byte 49)", "fetch"},
        {UINT32_MAX, RADLLM_E_FORMAT, "has the unknown type 4294967295 (byte 49)", "fetch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gguf_builder file = two_tensors();
        file.tensors[0].type = cases[i].type;
        gguf_refuse(&file, cases[i].status, cases[i].part, cases[i].remedy);
        gguf_builder_free(&file);
    }
}
END_TEST

/* ---- offsets --------------------------------------------------------------------------------- */

static void set_offset(gguf_tensor_entry *tensor, uint64_t offset)
{
    tensor->own_offset = true;
    tensor->offset = offset;
}

START_TEST(refuses_unaligned_offsets)
{
    static const uint64_t wrong[] = {1, 4, 16, 33};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gguf_builder file = two_tensors();
        set_offset(&file.tensors[1], wrong[i]);
        char part[128];
        snprintf(part, sizeof part,
                 "tensor 'second' (described at byte 61) has the offset %llu, which is no multiple "
                 "of the alignment 32",
                 (unsigned long long)wrong[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "convert it again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_overlapping_tensors)
{
    gguf_builder file = two_tensors();
    set_offset(&file.tensors[1], 0);
    gguf_refuse(&file, RADLLM_E_FORMAT,
                "the tensors 'first' (bytes 128 to 160) and 'second' (from byte 128) overlap",
                "convert it again");
    gguf_builder_free(&file);

    static const uint8_t more[96];
    file = gguf_builder_new();
    gguf_tensor(&file, "second", 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_tensor(&file, "first", 0, 1, (uint64_t[]){24}, more, sizeof more);
    set_offset(&file.tensors[0], 64);
    set_offset(&file.tensors[1], 0);
    gguf_refuse(&file, RADLLM_E_FORMAT, "the tensors 'first' (bytes", "and 'second' (from byte",
                "overlap");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_offsets_beyond_the_end)
{
    static const uint64_t wrong[] = {64,
                                     1024,
                                     (uint64_t)1 << 40,
                                     (uint64_t)1 << 63,
                                     UINT64_MAX - 31,
                                     UINT64_MAX - 63,
                                     UINT64_MAX - 127};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gguf_builder file = two_tensors();
        set_offset(&file.tensors[1], wrong[i]);
        char part[128];
        snprintf(part, sizeof part,
                 "tensor 'second' (described at byte 61) has 32 bytes at offset %llu of the data "
                 "section",
                 (unsigned long long)wrong[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "beyond the end of the file (192 bytes)",
                    "fetch the file again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(accepts_gaps_any_order_and_bytes_behind)
{
    gguf_builder file = two_tensors();
    gguf_tensor(&file, "third", 0, 1, (uint64_t[]){1}, NULL, 96);
    set_offset(&file.tensors[0], 64);
    set_offset(&file.tensors[1], 0);
    set_offset(&file.tensors[2], 128);
    rad_source *source = gguf_accept(&file);
    ck_assert_uint_eq(rad_source_tensor(source, 0)->offset, file.data_start + 64);
    ck_assert_uint_eq(rad_source_tensor(source, 1)->offset, file.data_start);
    ck_assert_uint_eq(rad_source_tensor(source, 2)->offset, file.data_start + 128);
    ck_assert_uint_eq(rad_source_part_bytes(source, 0), file.data_start + 160);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(finds_every_tensor_among_many)
{
    gguf_builder file = gguf_builder_new();
    char name[64];
    enum { COUNT = 2000 };
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "blk.%d.weight", (i * 7919) % COUNT);
        gguf_tensor(&file, name, 0, 1, (uint64_t[]){1}, &values[1], 4);
    }
    rad_source *source = gguf_accept(&file);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "blk.%d.weight", (i * 7919) % COUNT);
        ck_assert_ptr_eq(rad_source_find_tensor(source, name), rad_source_tensor(source, i));
    }
    ck_assert_ptr_null(rad_source_find_tensor(source, "blk.2000.weight"));
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "tensors");
    tcase_add_test(cases, describes_tensors);
    tcase_add_test(cases, knows_the_size_of_every_type);
    tcase_add_test(cases, refuses_wrong_names);
    tcase_add_test(cases, refuses_impossible_name_lengths);
    tcase_add_test(cases, refuses_duplicate_names);
    tcase_add_test(cases, refuses_wrong_numbers_of_dimensions);
    tcase_add_test(cases, refuses_wrong_dimensions);
    tcase_add_test(cases, refuses_unknown_types);
    tcase_add_test(cases, refuses_unaligned_offsets);
    tcase_add_test(cases, refuses_overlapping_tensors);
    tcase_add_test(cases, refuses_offsets_beyond_the_end);
    tcase_add_test(cases, accepts_gaps_any_order_and_bytes_behind);
    tcase_add_test(cases, finds_every_tensor_among_many);
}

int main(void)
{
    return rad_test_main("gguf_tensors", add_cases);
}
