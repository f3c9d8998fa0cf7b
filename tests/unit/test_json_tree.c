/* The JSON reader: what it takes, what it refuses and where, numbers, limits, failing memory. */
#include "unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_tree.h"

/* Parses a copy of the text, which *kept holds. */
static radllm_status parse(rad_tree *tree, const char *text, size_t size, char **kept,
                           radllm_error *error)
{
    *kept = malloc(size + 1);
    memcpy(*kept, text, size);
    *tree = (rad_tree){.allocator = &rad_default_allocator};
    return rad_tree_parse(tree, *kept, size, 1000, "file", error);
}

START_TEST(reads_values)
{
    const char *text = " {\"a\" : [1, -2.5e1, \"\\u00e9\\ud83d\\ude00\\n\\u0000x\", true, null],"
                       "\"\\u0061b\":{ },\"\":[]}\n";
    char *kept;
    rad_tree tree;
    radllm_error error = {0};
    rad_assert_ok(parse(&tree, text, strlen(text), &kept, &error), &error);
    uint32_t list = rad_tree_get(&tree, 0, "a"), at = rad_tree_first(list);
    int64_t whole;
    double real;
    ck_assert_uint_eq(tree.values[list].size, 5);
    ck_assert(rad_tree_integer(&tree, at, &whole) && whole == 1);
    at = tree.values[at].next;
    ck_assert(!rad_tree_integer(&tree, at, &whole));
    ck_assert(rad_tree_number(&tree, at, &real) && real == -25.0);
    at = tree.values[at].next;
    rad_text string = rad_tree_text(&tree, at);
    ck_assert_uint_eq(string.size, 9);
    ck_assert_mem_eq(string.data, "\xC3\xA9\xF0\x9F\x98\x80\n\0x", 9);
    at = tree.values[at].next;
    ck_assert_int_eq(rad_tree_kind_of(&tree, at), RAD_TREE_TRUE);
    at = tree.values[at].next;
    ck_assert_int_eq(rad_tree_kind_of(&tree, at), RAD_TREE_NULL);
    ck_assert_uint_eq(tree.values[at].next, tree.values[list].next);
    ck_assert_int_eq(rad_tree_kind_of(&tree, rad_tree_get(&tree, 0, "ab")), RAD_TREE_OBJECT);
    ck_assert_int_eq(rad_tree_kind_of(&tree, rad_tree_get(&tree, 0, "")), RAD_TREE_ARRAY);
    ck_assert_uint_eq(rad_tree_get(&tree, 0, "c"), RAD_TREE_NONE);
    rad_tree_free(&tree);
    free(kept);
}
END_TEST

START_TEST(refuses_what_is_no_json)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "[",
                                        "[1",
                                        "[1,",
                                        "[1,]",
                                        "[,1]",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{1:1}",
                                        "\"a",
                                        "\"\\",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "\"\\ud800\\u0041\"",
                                        "\"\n\"",
                                        "\"\xff\"",
                                        "\"\xC0\x80\"",
                                        "\"\xED\xA0\x80\"",
                                        "\"\xE2\x82\"",
                                        "01",
                                        "-",
                                        "1.",
                                        ".5",
                                        "1e",
                                        "+1",
                                        "0x1",
                                        "NaN",
                                        "Infinity",
                                        "tru",
                                        "nul",
                                        "1 2",
                                        "{}{}",
                                        "]",
                                        "[}",
                                        "{]",
                                        "'a'",
                                        "[1 2]",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":1,\"\\u0061\":2}",
                                        "\xEF\xBB\xBF{}",
                                        "//x\n1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *kept;
        rad_tree tree;
        radllm_error error = {0};
        radllm_status status = parse(&tree, texts[i], strlen(texts[i]), &kept, &error);
        ck_assert_msg(status == RADLLM_E_FORMAT, "\"%s\": %d", texts[i], (int)status);
        ck_assert_ptr_nonnull(strstr(error.message, "file: byte "));
        rad_tree_free(&tree);
        free(kept);
    }
}
END_TEST

/* Every prefix of a text is refused without being read beyond its end (sanitizers watch). */
START_TEST(reads_no_further_than_the_end)
{
    const char *text =
        "{\"k\":[1.5e-7,\"\\ud83d\\ude00\xF0\x9F\x98\x80\",{\"x\":null}],\"z\":false}";
    for (size_t size = 0; size < strlen(text); size++) {
        char *exact = malloc(size > 0 ? size : 1);
        memcpy(exact, text, size);
        rad_tree tree = {.allocator = &rad_default_allocator};
        radllm_error error = {0};
        ck_assert_int_eq(rad_tree_parse(&tree, exact, size, 100, "file", &error), RADLLM_E_FORMAT);
        rad_tree_free(&tree);
        free(exact);
    }
}
END_TEST

START_TEST(finds_one_duplicate_among_many)
{
    char *text = malloc(1 << 20);
    size_t size = (size_t)sprintf(text, "{");
    for (int i = 0; i < 400; i++)
        size += (size_t)sprintf(text + size, "\"key %d\":%d,", i, i);
    for (int twice = 0; twice < 2; twice++) {
        sprintf(text + size, "\"key %d\":0}", twice ? 123 : 999);
        char *kept;
        rad_tree tree;
        radllm_error error = {0};
        radllm_status status = parse(&tree, text, strlen(text), &kept, &error);
        if (twice)
            rad_assert_error(status, RADLLM_E_FORMAT, &error, "key 123");
        else
            rad_assert_ok(status, &error);
        rad_tree_free(&tree);
        free(kept);
    }
    free(text);
}
END_TEST

START_TEST(reads_numbers_exactly)
{
    uint64_t seed = 3;
    for (int i = 0; i < 100000; i++) {
        char text[64];
        seed = seed * UINT64_C(6364136223846793005) + 1;
        int places = (int)(seed >> 40) % 19;
        uint64_t digits = (seed ^ seed >> 31) >> ((seed >> 50) % 60);
        snprintf(text, sizeof text, "%s%llu.%0*llu", (seed & 1) != 0 ? "-" : "",
                 (unsigned long long)(digits >> 54), places + 1,
                 (unsigned long long)(digits % 1000000000000));
        rad_tree tree;
        char *kept;
        radllm_error error = {0};
        rad_assert_ok(parse(&tree, text, strlen(text), &kept, &error), &error);
        double value, expected = strtod(text, NULL);
        ck_assert(rad_tree_number(&tree, 0, &value));
        if (strlen(text) <= 20)
            ck_assert_msg(value == expected, "%s: %.17g, expected %.17g", text, value, expected);
        else
            ck_assert_msg(value >= expected - 1e-15 * (expected < 0 ? -expected : expected) &&
                              value <= expected + 1e-15 * (expected < 0 ? -expected : expected),
                          "%s: %.17g, expected %.17g", text, value, expected);
        rad_tree_free(&tree);
        free(kept);
    }
}
END_TEST

START_TEST(keeps_its_limits)
{
    char deep[RAD_TREE_DEPTH + 2];
    memset(deep, '[', sizeof deep);
    char *kept;
    rad_tree tree;
    radllm_error error = {0};
    rad_assert_error(parse(&tree, deep, sizeof deep, &kept, &error), RADLLM_E_LIMIT, &error,
                     "levels");
    rad_tree_free(&tree);
    free(kept);
    char *many = malloc(4096);
    strcpy(many, "[0");
    for (int i = 0; i < 1000; i++)
        strcat(many, ",0");
    rad_assert_error(parse(&tree, many, strlen(many), &kept, &error), RADLLM_E_LIMIT, &error,
                     "1000 values");
    rad_tree_free(&tree);
    free(kept);
    free(many);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "json");
    tcase_add_test(cases, reads_values);
    tcase_add_test(cases, refuses_what_is_no_json);
    tcase_add_test(cases, reads_no_further_than_the_end);
    tcase_add_test(cases, finds_one_duplicate_among_many);
    tcase_add_test(cases, reads_numbers_exactly);
    tcase_add_test(cases, keeps_its_limits);
}

int main(void)
{
    return rad_test_main("json_tree", add_cases);
}
