/* Keys and values of GGUF files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/gguf_check.h"

static const uint64_t huge[] = {(uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 60,
                                (uint64_t)1 << 61, (uint64_t)1 << 62, (uint64_t)1 << 63,
                                UINT64_MAX - 1,    UINT64_MAX};
#define N_HUGE (sizeof huge / sizeof huge[0])

START_TEST(reads_every_type)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_raw(&file, "u8", 2, GGUF_U8, "\xff", 1);
    gguf_key_raw(&file, "i8", 2, GGUF_I8, "\xff", 1);
    gguf_key_raw(&file, "u16", 3, GGUF_U16, "\xfe\xff", 2);
    gguf_key_raw(&file, "i16", 3, GGUF_I16, "\xfe\xff", 2);
    gguf_key_u32(&file, "u32", UINT32_MAX);
    gguf_key_i32(&file, "i32", INT32_MIN);
    gguf_key_f32(&file, "f32", -1.5f);
    gguf_key_bool(&file, "bool", 1);
    gguf_key_text(&file, "string", "a\0\xff", 3);
    gguf_key_u64(&file, "u64", UINT64_MAX);
    int64_t i64 = INT64_MIN;
    gguf_key_raw(&file, "i64", 3, GGUF_I64, &i64, 8);
    double f64 = 1e300;
    gguf_key_raw(&file, "f64", 3, GGUF_F64, &f64, 8);
    rad_source *source = gguf_accept(&file);

    ck_assert_uint_eq(rad_meta_item_u64(rad_source_find_meta(source, "u8"), 0), 255);
    ck_assert_int_eq((int64_t)rad_meta_item_u64(rad_source_find_meta(source, "i8"), 0), -1);
    ck_assert_uint_eq(rad_meta_item_u64(rad_source_find_meta(source, "u16"), 0), 65534);
    ck_assert_int_eq((int64_t)rad_meta_item_u64(rad_source_find_meta(source, "i16"), 0), -2);
    ck_assert_uint_eq(rad_meta_item_u64(rad_source_find_meta(source, "u32"), 0), UINT32_MAX);
    ck_assert_int_eq((int64_t)rad_meta_item_u64(rad_source_find_meta(source, "i32"), 0), INT32_MIN);
    ck_assert(rad_meta_item_f64(rad_source_find_meta(source, "f32"), 0) == -1.5);
    ck_assert(rad_meta_item_f64(rad_source_find_meta(source, "i32"), 0) == (double)INT32_MIN);
    ck_assert(rad_meta_item_f64(rad_source_find_meta(source, "u64"), 0) == 18446744073709551616.0);
    ck_assert(rad_meta_item_f64(rad_source_find_meta(source, "f64"), 0) == 1e300);
    ck_assert_uint_eq(rad_meta_item_u64(rad_source_find_meta(source, "bool"), 0), 1);
    ck_assert_uint_eq(rad_meta_item_u64(rad_source_find_meta(source, "u64"), 0), UINT64_MAX);
    ck_assert_int_eq((int64_t)rad_meta_item_u64(rad_source_find_meta(source, "i64"), 0), INT64_MIN);
    const rad_meta *text = rad_source_find_meta(source, "string");
    ck_assert_uint_eq(text->count, 1);
    ck_assert(!text->is_array);
    ck_assert_uint_eq(text->strings[0].size, 3);
    ck_assert_mem_eq(text->strings[0].data, "a\0\xff", 3);
    ck_assert_uint_eq(rad_source_n_meta(source), 12);
    ck_assert_str_eq(rad_source_meta(source, 8)->key.data, "string");
    ck_assert_ptr_null(rad_source_find_meta(source, "missing"));
    ck_assert_ptr_null(rad_source_find_meta(source, ""));
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(reads_arrays)
{
    gguf_builder file = gguf_builder_new();
    int16_t numbers[] = {1, -2, 300};
    gguf_key_array(&file, "i16", GGUF_I16, numbers, 2, 3);
    gguf_key_strings(&file, "strings", (const char *const[]){"", "b", "ccc"}, 3);
    gguf_key_array(&file, "none", GGUF_U64, numbers, 8, 0);
    gguf_key_strings(&file, "no strings", NULL, 0);
    rad_source *source = gguf_accept(&file);
    const rad_meta *array = rad_source_find_meta(source, "i16");
    ck_assert(array->is_array);
    ck_assert_int_eq(array->type, RAD_META_I16);
    ck_assert_uint_eq(array->count, 3);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_int_eq((int64_t)rad_meta_item_u64(array, i), numbers[i]);
    array = rad_source_find_meta(source, "strings");
    ck_assert_uint_eq(array->count, 3);
    ck_assert_uint_eq(array->strings[0].size, 0);
    ck_assert_uint_eq(array->strings[2].size, 3);
    ck_assert_mem_eq(array->strings[2].data, "ccc", 3);
    ck_assert_uint_eq(rad_source_find_meta(source, "none")->count, 0);
    ck_assert_uint_eq(rad_source_find_meta(source, "no strings")->count, 0);
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(finds_every_key_among_many)
{
    gguf_builder file = gguf_builder_new();
    char name[32];
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "key.%u", i * 7919u);
        gguf_key_raw(&file, name, strlen(name), GGUF_U32, &i, sizeof i);
    }
    rad_source *source = gguf_accept(&file);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "key.%u", i * 7919u);
        const rad_meta *meta = rad_source_find_meta(source, name);
        ck_assert_ptr_nonnull(meta);
        ck_assert_uint_eq(rad_meta_item_u64(meta, 0), i);
    }
    ck_assert_ptr_null(rad_source_find_meta(source, "key."));
    ck_assert_ptr_null(rad_source_find_meta(source, "key.00"));
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

/* ---- wrong keys ------------------------------------------------------------------------------ */

START_TEST(refuses_duplicate_keys)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_u32(&file, "a.key", 1);
    gguf_key_u32(&file, "between", 1);
    gguf_key_raw(&file, "a.key", 5, GGUF_STRING, "\0\0\0\0\0\0\0\0", 8);
    gguf_refuse(&file, RADLLM_E_FORMAT, "the key 'a.key' occurs twice, at byte 24 and at byte 68",
                "convert it again");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_an_empty_key)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_u32(&file, "", 1);
    gguf_refuse(&file, RADLLM_E_FORMAT, "key number 1 at byte 24 has an empty name",
                "convert it again");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_keys_that_are_too_long)
{
    gguf_builder file = gguf_builder_new();
    char *name = malloc(65536);
    memset(name, 'k', 65536);
    gguf_key_raw(&file, name, 65535, GGUF_U8, "", 1);
    rad_source *source = gguf_accept(&file);
    rad_source_release(source);
    gguf_builder_free(&file);
    gguf_key_raw(&file, name, 65536, GGUF_U8, "", 1);
    gguf_refuse(&file, RADLLM_E_FORMAT,
                "key number 1 at byte 24 has a name of 65536 bytes, but a key may have at most "
                "65535",
                "convert it again");
    gguf_builder_free(&file);
    free(name);
}
END_TEST

START_TEST(refuses_a_nul_in_a_key)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_raw(&file, "a\0b", 3, GGUF_U8, "", 1);
    gguf_refuse(&file, RADLLM_E_FORMAT, "key number 1 at byte 24 has a name with a NUL byte",
                "convert it again");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_impossible_key_lengths)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_u32(&file, "key", 1);
    for (size_t i = 0; i < N_HUGE; i++) {
        gguf_bytes bytes = gguf_build(&file);
        char part[96];
        snprintf(part, sizeof part, "key number 1: the name at byte 32 needs %llu bytes",
                 (unsigned long long)huge[i]);
        gguf_put_u64(bytes.data + file.keys[0].position, huge[i]);
        gguf_refused(&bytes, RADLLM_E_FORMAT, part, "fetch the file again", (const char *)NULL);
        gguf_bytes_free(&bytes);
    }
    gguf_builder_free(&file);
}
END_TEST

/* ---- wrong values ---------------------------------------------------------------------------- */

START_TEST(refuses_unknown_value_types)
{
    static const uint32_t types[] = {13, 100, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        gguf_builder file = gguf_builder_new();
        char part[96];
        gguf_key_raw(&file, "odd", 3, types[i], "\0\0\0\0\0\0\0\0", 8);
        snprintf(part, sizeof part, "key 'odd': the value type %u at byte 35 is unknown", types[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch it again");
        gguf_builder_free(&file);
        gguf_key_array(&file, "odd", types[i], "\0\0\0\0\0\0\0\0", 8, 1);
        snprintf(part, sizeof part, "key 'odd': the item type %u at byte 39 is unknown", types[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch it again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_impossible_string_lengths)
{
    for (size_t i = 0; i < N_HUGE; i++) {
        gguf_builder file = gguf_builder_new();
        gguf_key_raw(&file, "text", 4, GGUF_STRING, &huge[i], 8);
        char part[96];
        snprintf(part, sizeof part, "key 'text': a string at byte 48 needs %llu bytes",
                 (unsigned long long)huge[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch the file again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_a_string_one_byte_beyond_the_end)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "text", "0123456789");
    gguf_bytes bytes = gguf_build(&file);
    gguf_put_u64(bytes.data + file.keys[0].value_position, 11);
    gguf_refused(&bytes, RADLLM_E_FORMAT,
                 "key 'text': a string at byte 48 needs 11 bytes, but the file ends after 10 more",
                 "fetch the file again", (const char *)NULL);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_impossible_array_lengths)
{
    for (uint32_t type = 0; type <= GGUF_F64; type++) {
        if (type == GGUF_ARRAY)
            continue;
        gguf_builder file = gguf_builder_new();
        uint8_t items[64] = {0};
        gguf_key_array(&file, "list", type, items, 8, 8);
        for (size_t i = 0; i < N_HUGE; i++) {
            gguf_bytes bytes = gguf_build(&file);
            gguf_put_u64(bytes.data + file.keys[0].value_position + 4, huge[i]);
            char part[96];
            snprintf(part, sizeof part,
                     "key 'list': the array length %llu at byte 44 is impossible",
                     (unsigned long long)huge[i]);
            gguf_refused(&bytes, RADLLM_E_FORMAT, part, "fetch the file again", (const char *)NULL);
            gguf_bytes_free(&bytes);
        }
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_an_array_one_item_beyond_the_end)
{
    gguf_builder file = gguf_builder_new();
    uint32_t items[] = {1, 2, 3};
    gguf_key_array(&file, "list", GGUF_U32, items, 4, 3);
    gguf_bytes bytes = gguf_build(&file);
    gguf_put_u64(bytes.data + file.keys[0].value_position + 4, 4);
    gguf_refused(&bytes, RADLLM_E_FORMAT, "key 'list': the array length 4 at byte 44",
                 (const char *)NULL);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
    gguf_key_strings(&file, "list", (const char *const[]){"a", "bc"}, 2);
    bytes = gguf_build(&file);
    gguf_put_u64(bytes.data + file.keys[0].value_position + 4 + 8 + 9, 3); /* length of "bc" */
    gguf_refused(&bytes, RADLLM_E_FORMAT, "key 'list': a string at byte 69 needs 3 bytes",
                 (const char *)NULL);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_nested_arrays)
{
    enum { DEPTH = 10000 };
    uint8_t *value = calloc(DEPTH + 1, 12);
    for (size_t i = 0; i < DEPTH; i++) {
        gguf_put_u32(value + 12 * i, GGUF_ARRAY);
        gguf_put_u64(value + 12 * i + 4, 1);
    }
    gguf_builder file = gguf_builder_new();
    gguf_key_raw(&file, "deep", 4, GGUF_ARRAY, value, (DEPTH + 1) * 12);
    gguf_refuse(&file, RADLLM_E_UNSUPPORTED, "key 'deep': an array of arrays at byte 40",
                "convert it again");
    gguf_builder_free(&file);
    free(value);
}
END_TEST

START_TEST(refuses_bools_that_are_neither_0_nor_1)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_bool(&file, "yes", 2);
    gguf_refuse(&file, RADLLM_E_FORMAT, "key 'yes': the bool at byte 39 is 2", "convert it again");
    gguf_builder_free(&file);
    gguf_key_array(&file, "list", GGUF_BOOL, "\0\1\xff", 1, 3);
    gguf_refuse(&file, RADLLM_E_FORMAT, "key 'list': the bool at byte 54 is 255",
                "convert it again");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(quotes_hostile_names)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_raw(&file, "\x1b[31m\n%s%n\xff", 11, 77, "", 0);
    gguf_refuse(&file, RADLLM_E_FORMAT, "key '\\x1b[31m\\x0a%s%n\\xff'", "fetch it again");
    gguf_builder_free(&file);
}
END_TEST

/* ---- alignment ------------------------------------------------------------------------------- */

START_TEST(refuses_wrong_alignments)
{
    static const uint32_t wrong[] = {0, 1, 3, 4, 12, 33, 1u << 30, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gguf_builder file = gguf_builder_new();
        float value = 1;
        char part[96];
        gguf_key_u32(&file, "general.alignment", wrong[i]);
        gguf_tensor(&file, "a", 0, 1, (uint64_t[]){1}, &value, 4);
        snprintf(part, sizeof part, "the key 'general.alignment' is %u, but a power of two",
                 wrong[i]);
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "convert it again");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_an_alignment_of_wrong_type)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_u64(&file, "general.alignment", 32);
    gguf_refuse(&file, RADLLM_E_FORMAT, "the key 'general.alignment' is of type u64, but u32",
                "convert it again");
    gguf_key_string(&file, "general.alignment", "32");
    gguf_refuse(&file, RADLLM_E_FORMAT, "'general.alignment' is of type string, but u32");
    uint32_t items[] = {32};
    gguf_key_array(&file, "general.alignment", GGUF_U32, items, 4, 1);
    gguf_refuse(&file, RADLLM_E_FORMAT, "'general.alignment' is of type array of u32, but u32");
    gguf_builder_free(&file);
}
END_TEST

START_TEST(accepts_other_alignments)
{
    static const uint32_t right[] = {8, 16, 32, 64, 4096, 65536};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        gguf_builder file = gguf_builder_new();
        float value = 1;
        file.alignment = right[i];
        gguf_key_u32(&file, "general.alignment", right[i]);
        gguf_tensor(&file, "a", 0, 1, (uint64_t[]){1}, &value, 4);
        gguf_tensor(&file, "b", 0, 1, (uint64_t[]){1}, &value, 4);
        rad_source *source = gguf_accept(&file);
        ck_assert_uint_eq(rad_source_alignment(source), right[i]);
        ck_assert_uint_eq(rad_source_tensor(source, 1)->offset % right[i], 0);
        rad_source_release(source);
        gguf_builder_free(&file);
    }
}
END_TEST

/* ---- typed access ---------------------------------------------------------------------------- */

START_TEST(gives_typed_values)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_u32(&file, "count", 7);
    gguf_key_i32(&file, "negative", -7);
    gguf_key_u64(&file, "large", UINT64_MAX);
    gguf_key_f32(&file, "real", 0.5f);
    gguf_key_f32(&file, "nan", NAN);
    gguf_key_f32(&file, "infinite", INFINITY);
    gguf_key_bool(&file, "yes", 1);
    gguf_key_string(&file, "text", "hello");
    uint32_t items[] = {1, 2};
    gguf_key_array(&file, "list", GGUF_U32, items, 4, 2);
    rad_source *source = gguf_accept(&file);
    radllm_error error = {0};
    int64_t integer = 0;
    double real = 0;
    bool flag = false;
    rad_text text;
    rad_assert_ok(rad_meta_integer(source, "count", 1, 10, 3, &integer, &error), &error);
    ck_assert_int_eq(integer, 7);
    rad_assert_ok(rad_meta_integer(source, "negative", -10, 10, 3, &integer, &error), &error);
    ck_assert_int_eq(integer, -7);
    rad_assert_ok(rad_meta_integer(source, "none", 0, 1, 3, &integer, &error), &error);
    ck_assert_int_eq(integer, 3);
    rad_assert_ok(rad_meta_real(source, "real", 0, 1, 9, &real, &error), &error);
    ck_assert(real == 0.5);
    rad_assert_ok(rad_meta_real(source, "none", 0, 1, 9, &real, &error), &error);
    ck_assert(real == 9);
    rad_assert_ok(rad_meta_bool(source, "yes", false, &flag, &error), &error);
    ck_assert(flag);
    rad_assert_ok(rad_meta_bool(source, "none", true, &flag, &error), &error);
    ck_assert(flag);
    rad_assert_ok(rad_meta_text(source, "text", &text, &error), &error);
    ck_assert_uint_eq(text.size, 5);
    rad_assert_ok(rad_meta_text(source, "none", &text, &error), &error);
    ck_assert_ptr_null(text.data);

    rad_assert_error(rad_meta_integer(source, "count", 8, 10, 3, &integer, &error), RADLLM_E_FORMAT,
                     &error, "the key 'count' is 7, but it must be from 8 to 10");
    rad_assert_error(rad_meta_integer(source, "large", 0, INT64_MAX, 3, &integer, &error),
                     RADLLM_E_FORMAT, &error, "the key 'large' is 18446744073709551615, but");
    rad_assert_error(rad_meta_integer(source, "text", 0, 9, 3, &integer, &error), RADLLM_E_FORMAT,
                     &error, "the key 'text' is of type string, but an integer is needed");
    rad_assert_error(rad_meta_integer(source, "list", 0, 9, 3, &integer, &error), RADLLM_E_FORMAT,
                     &error, "the key 'list' is of type array of u32, but an integer is needed");
    rad_assert_error(rad_meta_integer(source, "yes", 0, 9, 3, &integer, &error), RADLLM_E_FORMAT,
                     &error, "the key 'yes' is of type bool, but an integer is needed");
    rad_assert_error(rad_meta_real(source, "count", 0, 9, 3, &real, &error), RADLLM_E_FORMAT,
                     &error, "the key 'count' is of type u32, but f32 or f64 is needed");
    rad_assert_error(rad_meta_real(source, "nan", 0, 9, 3, &real, &error), RADLLM_E_FORMAT, &error,
                     "the key 'nan' is ");
    rad_assert_error(rad_meta_real(source, "infinite", 0, 9, 3, &real, &error), RADLLM_E_FORMAT,
                     &error, "the key 'infinite' is inf, but it must be a number from 0 to 9");
    rad_assert_error(rad_meta_real(source, "real", 1, 9, 3, &real, &error), RADLLM_E_FORMAT, &error,
                     "the key 'real' is 0.5, but it must be a number from 1 to 9");
    rad_assert_error(rad_meta_bool(source, "count", false, &flag, &error), RADLLM_E_FORMAT, &error,
                     "the key 'count' is of type u32, but bool is needed");
    rad_assert_error(rad_meta_text(source, "count", &text, &error), RADLLM_E_FORMAT, &error,
                     "the key 'count' is of type u32, but string is needed");
    ck_assert_str_eq(rad_meta_type_name((rad_meta_type)99), "unknown");
    rad_source_release(source);
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "values");
    tcase_add_test(cases, reads_every_type);
    tcase_add_test(cases, reads_arrays);
    tcase_add_test(cases, finds_every_key_among_many);
    tcase_add_test(cases, gives_typed_values);
    cases = rad_test_case(suite, "wrong keys");
    tcase_add_test(cases, refuses_duplicate_keys);
    tcase_add_test(cases, refuses_an_empty_key);
    tcase_add_test(cases, refuses_keys_that_are_too_long);
    tcase_add_test(cases, refuses_a_nul_in_a_key);
    tcase_add_test(cases, refuses_impossible_key_lengths);
    cases = rad_test_case(suite, "wrong values");
    tcase_add_test(cases, refuses_unknown_value_types);
    tcase_add_test(cases, refuses_impossible_string_lengths);
    tcase_add_test(cases, refuses_a_string_one_byte_beyond_the_end);
    tcase_add_test(cases, refuses_impossible_array_lengths);
    tcase_add_test(cases, refuses_an_array_one_item_beyond_the_end);
    tcase_add_test(cases, refuses_nested_arrays);
    tcase_add_test(cases, refuses_bools_that_are_neither_0_nor_1);
    tcase_add_test(cases, quotes_hostile_names);
    cases = rad_test_case(suite, "alignment");
    tcase_add_test(cases, refuses_wrong_alignments);
    tcase_add_test(cases, refuses_an_alignment_of_wrong_type);
    tcase_add_test(cases, accepts_other_alignments);
}

int main(void)
{
    return rad_test_main("gguf_metadata", add_cases);
}
