/* One safetensors file: what it may hold, and that each lie is refused with a message. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/tensor_files.h"

START_TEST(lists_what_a_file_holds)
{
    write_tensors("one.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                  "\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                  "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
                  "\"one\":{\"dtype\":\"F8_E4M3\",\"shape\":[],\"data_offsets\":[16,17]}}  ",
                  17);
    rad_source *source = accept(inside("one.safetensors"));
    ck_assert(!rad_source_is_gguf(source));
    ck_assert_uint_eq(rad_source_n_tensors(source), 4);
    const rad_tensor *b = rad_source_find_tensor(source, "b");
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(b->type, RAD_TYPE_F16);
    ck_assert_uint_eq(b->dims[0], 3);
    ck_assert_uint_eq(b->dims[1], 2);
    uint8_t bytes[12];
    radllm_error error = {0};
    rad_assert_ok(rad_source_read_tensor(source, b, 0, bytes, 12, &error), &error);
    for (size_t i = 0; i < 12; i++)
        ck_assert_uint_eq(bytes[i], 4 + i);
    const rad_tensor *one = rad_source_find_tensor(source, "one");
    ck_assert_uint_eq(one->n_elements, 1);
    ck_assert_int_eq(one->type, RAD_TYPE_F8_E4M3);
    ck_assert_uint_eq(rad_source_find_tensor(source, "none")->n_bytes, 0);
    rad_source_release(source);
}
END_TEST

static const struct {
    const char *header;
    size_t n_data;
    radllm_status status;
    const char *part;
} lies[] = {
    {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 7, RADLLM_E_FORMAT, "ends at byte 8"},
    {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 9, RADLLM_E_FORMAT, "belongs to no tensor"},
    {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 8, RADLLM_E_FORMAT, "needs 8 bytes"},
    {"{" TENSOR("a", "F32", "[2]", "[1,9]") "}", 9, RADLLM_E_FORMAT, "overlap or leave a gap"},
    {"{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[2,6]") "}", 6,
     RADLLM_E_FORMAT, "overlap"},
    {"{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[0,4]") "}", 4,
     RADLLM_E_FORMAT, "overlap"},
    {"{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[5,9]") "}", 9,
     RADLLM_E_FORMAT, "gap"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[1,2]") "}", 2,
     RADLLM_E_FORMAT, "uplicate"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     RADLLM_E_FORMAT, "uplicate"},
    {"{" TENSOR("a", "Q4", "[2]", "[0,8]") "}", 8, RADLLM_E_UNSUPPORTED, "dtype 'Q4'"},
    {"{" TENSOR("a", "F32", "[-2]", "[0,8]") "}", 8, RADLLM_E_FORMAT, "whole number"},
    {"{" TENSOR("a", "F32", "[2.0]", "[0,8]") "}", 8, RADLLM_E_FORMAT, "whole number"},
    {"{" TENSOR("a", "F32", "[18446744073709551616]", "[0,8]") "}", 8, RADLLM_E_FORMAT,
     "whole number"},
    {"{" TENSOR("a", "F32", "[4294967296,4294967296,2]", "[0,8]") "}", 8, RADLLM_E_FORMAT, "2^64"},
    {"{" TENSOR("a", "F64", "[2305843009213693952,1]", "[0,8]") "}", 8, RADLLM_E_FORMAT, "2^64"},
    {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, RADLLM_E_FORMAT, "8 dim"},
    {"{" TENSOR("a", "F4", "[3]", "[0,2]") "}", 2, RADLLM_E_FORMAT, "whole number of bytes"},
    {"{" TENSOR("a", "F32", "2", "[0,8]") "}", 8, RADLLM_E_FORMAT, "no list"},
    {"{" TENSOR("a", "F32", "[2]", "[8,0]") "}", 8, RADLLM_E_FORMAT, "data_offsets"},
    {"{" TENSOR("a", "F32", "[2]", "[0,8,8]") "}", 8, RADLLM_E_FORMAT, "data_offsets"},
    {"{" TENSOR("a", "F32", "[2]", "{}") "}", 8, RADLLM_E_FORMAT, "data_offsets"},
    {"{" TENSOR("a", "F32", "[2]", "[-8,0]") "}", 8, RADLLM_E_FORMAT, "data_offsets"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, RADLLM_E_FORMAT, "dtype is missing"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, RADLLM_E_FORMAT, "shape is missing"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, RADLLM_E_FORMAT, "data_offsets"},
    {"{\"a\":7}", 0, RADLLM_E_FORMAT, "no object"},
    {"{\"a\\u0000b\":{}}", 0, RADLLM_E_FORMAT, "faulty"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, RADLLM_E_FORMAT, "__metadata__"},
    {"{\"__metadata__\":[]}", 0, RADLLM_E_FORMAT, "__metadata__"},
    {"{} {}", 0, RADLLM_E_FORMAT, "faulty"},
    {"{\"a\":", 0, RADLLM_E_FORMAT, "faulty"},
    {"{\"\x80\":{}}", 0, RADLLM_E_FORMAT, "faulty"},
    {" {}", 0, RADLLM_E_FORMAT, "does not begin with '{'"},
    {"[]", 0, RADLLM_E_FORMAT, "does not begin with '{'"},
};

START_TEST(lie_is_refused)
{
    write_tensors("lie.safetensors", lies[_i].header, lies[_i].n_data);
    refuse(inside("lie.safetensors"), lies[_i].status, lies[_i].part);
}
END_TEST

START_TEST(headers_are_bounded)
{
    uint8_t head[16] = {0};
    const struct {
        uint64_t size;
        const char *part;
    } sizes[] = {{0, "from 2 to"},
                 {1, "from 2 to"},
                 {9, "beyond the end"},
                 {100000000, "beyond"},
                 {100000001, "from 2 to"},
                 {UINT64_MAX, "from 2 to"},
                 {UINT64_MAX - 7, "from 2 to"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memcpy(head, &sizes[i].size, 8);
        rad_test_write_file(inside("h.safetensors"), head, sizeof head);
        refuse(inside("h.safetensors"), RADLLM_E_FORMAT, sizes[i].part);
    }
    rad_test_write_file(inside("h.safetensors"), head, 7);
    refuse(inside("h.safetensors"), RADLLM_E_FORMAT, "fewer than the 8");
    rad_test_write_file(inside("h.safetensors"), head, 0);
    refuse(inside("h.safetensors"), RADLLM_E_FORMAT, "fewer than the 8");
}
END_TEST

/* Depth, and the memory that values would take, are bounded before anything is parsed. */
START_TEST(json_is_bounded)
{
    size_t n = 12000000;
    char *text = malloc(n + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '[', 100000);
    memcpy(text, "{\"a\":", 5);
    text[100000] = '\0';
    write_tensors("deep.safetensors", text, 0);
    refuse(inside("deep.safetensors"), RADLLM_E_LIMIT, "deep");
    for (size_t i = 5; i + 3 <= n; i += 3)
        memcpy(text + i, "[],", 3);
    text[n] = '\0';
    write_tensors("many.safetensors", text, 0);
    refuse(inside("many.safetensors"), RADLLM_E_LIMIT, "values");
    free(text);
    remove(inside("many.safetensors"));
}
END_TEST

/* Brackets inside of texts are none. */
START_TEST(names_may_hold_anything)
{
    char header[2000], name[400];
    memset(name, '[', 300);
    memcpy(name, "\\\"\\\\", 4);
    strcpy(name + 300, "\\n\\u00e9,");
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
    write_tensors("names.safetensors", header, 1);
    rad_source *source = accept(inside("names.safetensors"));
    const rad_tensor *tensor = rad_source_tensor(source, 0);
    ck_assert(memcmp(tensor->name.data, "\"\\[[", 4) == 0);
    rad_source_release(source);
}
END_TEST

/* ---- the shared test data ------------------------------------------------------------------- */

START_TEST(crafted_files_are_judged_rightly)
{
    const char *path = rad_test_shared_path("malformed/crafted/expectations.json");
    if (path == NULL)
        RAD_SKIP("the shared test data is absent");
    json_t *json = json_load_file(path, 0, NULL), *item;
    size_t i, judged = 0;
    json_array_foreach(json_object_get(json, "cases"), i, item)
    {
        const char *file = json_string_value(json_object_get(item, "file"));
        const char *expect = json_string_value(json_object_get(item, "expect"));
        if (strncmp(file, "safetensors/", 12) != 0)
            continue;
        char relative[300];
        rad_test_memory memory;
        rad_source *source = NULL;
        radllm_error error = {0};
        snprintf(relative, sizeof relative, "malformed/crafted/%s", file);
        rad_test_memory_init(&memory, 0);
        bool opened = open_path(rad_test_shared_path(relative), &memory, &source, &error) == 0;
        if (strcmp(expect, "implementation-defined") != 0)
            ck_assert_msg(opened == (strncmp(expect, "accept", 6) == 0), "%s: %s", file,
                          error.message);
        if (opened)
            rad_source_release(source);
        else
            ck_assert_uint_gt(strlen(error.message), 20);
        rad_test_memory_check(&memory);
        judged++;
    }
    json_decref(json);
    ck_assert_uint_ge(judged, 31);
}
END_TEST

START_TEST(samples_are_read)
{
    static const char *const names[] = {"B", "H", "I", "b",       "d",        "e",
                                        "f", "h", "i", "overall", "hadamards"};
    if (rad_test_shared_path("models/safetensors-samples/B.safetensors") == NULL)
        RAD_SKIP("the shared test data is absent");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char relative[300];
        snprintf(relative, sizeof relative, "models/safetensors-samples/%s.safetensors", names[i]);
        rad_source *source = accept(rad_test_shared_path(relative));
        ck_assert_uint_ge(rad_source_n_tensors(source), 1);
        for (uint64_t t = 0; t < rad_source_n_tensors(source); t++) {
            const rad_tensor *tensor = rad_source_tensor(source, t);
            void *bytes = malloc((size_t)tensor->n_bytes + 1);
            ck_assert_int_eq(
                rad_source_read_tensor(source, tensor, 0, bytes, (size_t)tensor->n_bytes, NULL),
                RADLLM_OK);
            free(bytes);
        }
        rad_source_release(source);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "safetensors");
    tcase_add_test(cases, lists_what_a_file_holds);
    tcase_add_loop_test(cases, lie_is_refused, 0, sizeof lies / sizeof *lies);
    tcase_add_test(cases, headers_are_bounded);
    tcase_add_test(cases, json_is_bounded);
    tcase_add_test(cases, names_may_hold_anything);
    tcase_add_test(cases, crafted_files_are_judged_rightly);
    tcase_add_test(cases, samples_are_read);
}

int main(void)
{
    return rad_test_main("safetensors", add_cases);
}
