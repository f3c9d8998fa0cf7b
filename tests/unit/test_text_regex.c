/* The matcher of regular expressions against PCRE2, on patterns made at random and on those in use;
 * what it refuses; that it stops. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "unit/harness.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "text/regex.h"

static const char *const atoms[] = {
    "a",     "b",      "c",      ".",        "[ab]",     "[^a]",       "\\d", "\\s",
    "\\n",   "\\p{L}", "^",      "$",        "\\A",      "\\z",        "\\Z", "(?=a)",
    "(?!b)", "(?<=a)", "(?<!c)", "[\\da-c]", "\xC3\xA9", "(?i:A\\x41)"};
static const char *const groups[] = {"(", "(?:", "(?>", "(?=", "(?!", "(?i:"};
static const char *const quantifiers[] = {"*",  "+",  "?",   "*?",    "+?",     "??",  "*+",
                                          "++", "?+", "{2}", "{1,2}", "{0,2}?", "{1,}"};
#define PICK(list) list[next(seed) % (sizeof list / sizeof *list)]

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static void add(char *pattern, const char *text)
{
    strcat(pattern, text);
}

static void random_pattern(char *pattern, uint64_t *seed, int depth)
{
    uint32_t parts = 1 + next(seed) % 3;
    for (uint32_t i = 0; i < parts && strlen(pattern) < 400; i++) {
        bool grouped = depth > 0 && next(seed) % 3 == 0;
        if (grouped) {
            add(pattern, PICK(groups));
            random_pattern(pattern, seed, depth - 1);
            add(pattern, ")");
        } else {
            add(pattern, PICK(atoms));
        }
        if (next(seed) % 2 == 0)
            add(pattern, PICK(quantifiers));
        if (next(seed) % 6 == 0)
            add(pattern, "|");
    }
}

static size_t random_text(char *text, uint64_t *seed)
{
    static const char *const letters[] = {"a", "a", "b", "c", "A", "1", " ", "\n", "\xC3\xA9"};
    size_t n = next(seed) % 14;
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        strcat(text, PICK(letters));
    return strlen(text);
}

/* One search by both; false where PCRE2 gives up. */
static bool same_match(const rad_regex *regex, const pcre2_code *code, const char *text,
                       size_t size, size_t from, const char *pattern)
{
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    int result = pcre2_match(code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK, match, NULL);
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(match);
    rad_regex_space space = {.allocator = &rad_default_allocator, .budget = 10000000};
    size_t start = 0, end = 0;
    rad_regex_result found =
        rad_regex_find(regex, &space, (const uint8_t *)text, size, from, &start, &end);
    bool judged = result >= 0 || result == PCRE2_ERROR_NOMATCH;
    if (judged) {
        ck_assert_msg(found == (result >= 0 ? RAD_REGEX_MATCH : RAD_REGEX_NONE),
                      "\"%s\" in \"%s\" from %zu: %d, PCRE2 %d", pattern, text, from, (int)found,
                      result);
        ck_assert_msg(result < 0 || (start == place[0] && end == place[1]),
                      "\"%s\" in \"%s\" from %zu: %zu to %zu, PCRE2 %zu to %zu", pattern, text,
                      from, start, end, place[0], place[1]);
    }
    rad_regex_space_free(&space);
    pcre2_match_data_free(match);
    return judged;
}

START_TEST(matches_as_another_engine)
{
    uint64_t seed = 7, *s = &seed;
    uint32_t compared = 0;
    for (int i = 0; i < 6000; i++) {
        char pattern[2048] = "", text[64];
        random_pattern(pattern, s, 3);
        int number;
        PCRE2_SIZE offset;
        pcre2_code *code =
            pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &number, &offset, NULL);
        rad_arena arena = {.allocator = &rad_default_allocator};
        const rad_regex *regex;
        radllm_error error = {0};
        radllm_status status =
            rad_regex_compile(&arena, (rad_text){pattern, strlen(pattern)}, "test", &regex, &error);
        ck_assert_msg(status == RADLLM_OK || error.message[0] != '\0', "%s", pattern);
        for (int k = 0; k < 10 && code != NULL && status == RADLLM_OK; k++) {
            size_t size = random_text(text, s), from = size > 0 ? next(s) % size : 0;
            while (from > 0 && ((uint8_t)text[from] & 0xC0) == 0x80)
                from--;
            compared += same_match(regex, code, text, size, from, pattern);
        }
        pcre2_code_free(code);
        rad_arena_free(&arena);
    }
    ck_assert_uint_gt(compared, 30000);
}
END_TEST

START_TEST(refuses_what_it_does_not_know)
{
    static const char *const patterns[] = {
        "(a)\\1",   "(",           ")",          "a)",
        "[",        "[]",          "[b-a]",      "*",
        "a|*",      "\\",          "\\p{Greek}", "\\pL",
        "(?<=a+)b", "(?~a)",       "\\k<x>",     "\\g<x>",
        "[a&&]",    "[[:alpha:]]", "\\u12",      "\\x{110000}",
        "\\G",      "\\R",         "\\X",        "\\K",
        "a{3,1}",   "(?<x",        "[&&a]",      "[a[b]",
        "[^a&&[]]", "(?#x",        "x(?i",       "(((a{60}){60}){60}){60}"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        rad_arena arena = {.allocator = &rad_default_allocator};
        const rad_regex *regex;
        radllm_error error = {0};
        radllm_status status = rad_regex_compile(
            &arena, (rad_text){patterns[i], strlen(patterns[i])}, "here", &regex, &error);
        ck_assert_msg(status == RADLLM_E_UNSUPPORTED || status == RADLLM_E_LIMIT, "\"%s\": %d",
                      patterns[i], (int)status);
        ck_assert_ptr_nonnull(strstr(error.message, "here"));
        rad_arena_free(&arena);
    }
    char deep[4096] = "";
    for (int i = 0; i < 2000; i++)
        add(deep, "(");
    rad_arena arena = {.allocator = &rad_default_allocator};
    const rad_regex *regex;
    radllm_error error = {0};
    ck_assert_int_eq(
        rad_regex_compile(&arena, (rad_text){deep, strlen(deep)}, "here", &regex, &error),
        RADLLM_E_LIMIT);
    rad_arena_free(&arena);
}
END_TEST

/* What PCRE2 reads otherwise: hexadecimal digits, numbers of Latin-1 among words, ideographs. */
START_TEST(reads_oniguruma_syntax)
{
    static const struct {
        const char *pattern, *text;
        size_t start, end;
    } cases[] = {{"\\h+", "xyzBeef", 3, 7},
                 {"\\w+", "-\xC2\xB2x", 1, 4},
                 {"[\\w]+", "\xC2\xB2x", 2, 3},
                 {"\\p{^L}+", "ab12", 2, 4},
                 {"\\P{^L}+", "12ab", 2, 4},
                 {"\\p{Han}+", "a\xE4\xB8\xAD\xE6\x96\x87", 1, 7},
                 {"(?i)ab|cd", "CD", 0, 2},
                 {"(?m:a.b)", "a\nb", 0, 3},
                 {"(?x: a # b\n c)", "ac", 0, 2},
                 {"(?<name>a)b", "ab", 0, 2},
                 {"a{,2}", "aaa", 0, 2},
                 {"a{x", "a{x", 0, 3},
                 {"(?i:\xC5\xBF)", "S", 0, 1},
                 {"(?i:[\xC2\xB5])", "\xCE\xBC", 0, 2}, /* all three letters of a kind */
                 {"(?i:[\xCF\x82])", "\xCF\x83", 0, 2},
                 {"(?i:[\xCF\x82])", "\xCE\xA3", 0, 2},
                 {"(?i:[^\xCF\x82])", "\xCE\xA3s", 2, 3},
                 {"(?i:\xC3\x9F)", "\xE1\xBA\x9E", 0, 3}, /* letters without a single other case */
                 {"(?i:[\xE1\xBE\x80])", "\xE1\xBE\x88", 0, 3},
                 {"x(?i)y|z", "aXZxZ", 3, 5},
                 {"((?i)a)b", "ABAb", 2, 4},
                 {"(?i)\\p{Lu}", "aB", 1, 2},
                 {"(?i)[\\p{Lu}]", "aB", 0, 1},
                 {"a(?#b)c", "abac", 2, 4},
                 {"\\H+", "beefxyz", 4, 7},
                 {"[a-z&&[^b-y]]+", "xaz", 1, 3},
                 {"[^a-z&&[^b-y]]+", "xbza1", 0, 2},
                 {"(?i)[^a-m&&x-zk]", "Kz", 1, 2},
                 {"[\\P{Han}&&\\S&&[^a]]", "a \xE4\xB8\xAD-", 5, 6},
                 {"(?i)[\\p{Lu}]", "\xC4\xB1x", 2, 3},
                 {"[[^a]b]+", "acb", 1, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rad_arena arena = {.allocator = &rad_default_allocator};
        const rad_regex *regex;
        radllm_error error = {0};
        radllm_status status = rad_regex_compile(
            &arena, (rad_text){cases[i].pattern, strlen(cases[i].pattern)}, "here", &regex, &error);
        rad_assert_ok(status, &error);
        rad_regex_space space = {.allocator = &rad_default_allocator, .budget = 10000};
        size_t start = 0, end = 0;
        ck_assert_int_eq(rad_regex_find(regex, &space, (const uint8_t *)cases[i].text,
                                        strlen(cases[i].text), 0, &start, &end),
                         RAD_REGEX_MATCH);
        ck_assert_msg(start == cases[i].start && end == cases[i].end, "\"%s\": %zu to %zu",
                      cases[i].pattern, start, end);
        rad_regex_space_free(&space);
        rad_arena_free(&arena);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "regex");
    tcase_add_test(cases, matches_as_another_engine);
    tcase_add_test(cases, refuses_what_it_does_not_know);
    tcase_add_test(cases, reads_oniguruma_syntax);
}

int main(void)
{
    return rad_test_main("text_regex", add_cases);
}
