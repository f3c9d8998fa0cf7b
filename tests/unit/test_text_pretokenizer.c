/* The hand-written scanners against the patterns that they stand for, matched by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "unit/harness.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/pretokenizer.h"
#include "text/utf8.h"

#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LLAMA3(most)                                                                               \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" most                                      \
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define HEAD  "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define TAIL  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CJK   "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"

static const struct {
    const char *name;
    const char *patterns[6];
} tables[] = {
    {"gpt-2", {GPT2}},
    {"llama-bpe", {LLAMA3("{1,3}")}},
    {"qwen2", {LLAMA3("")}},
    {"gpt-4o",
     {HEAD UPPER "*" LOWER "+" CONTRACTIONS "?|" HEAD UPPER "+" LOWER "*" CONTRACTIONS
                 "?|\\p{N}{1,3}" TAIL}},
    {"tekken", {HEAD UPPER "*" LOWER "+|" HEAD UPPER "+" LOWER "*|\\p{N}" TAIL}},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
      "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*"
      "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"starcoder", {"\\p{N}", GPT2}},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"bloom", {" ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"}},
    {"viking",
     {" ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+", "\\p{N}"}},
    {"qwen35",
     {CONTRACTIONS "|" HEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
                   "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"minicpm5",
     {"\\p{N}{1,3}", CONTRACTIONS "|" HEAD "\\p{L}+|\\p{N}+| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                                  "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"laguna", {"[^\\n]+|[\\n]+", LLAMA3("")}},
    {"superbpe", {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
};
#define N_TABLES (sizeof tables / sizeof tables[0])

/* Ends of pieces, as offsets in the text. */
typedef struct ends {
    size_t at[4096];
    size_t count;
    const uint8_t *text;
} ends;

static bool take_piece(void *user, const uint8_t *piece, size_t size)
{
    ends *list = user;
    ck_assert_uint_gt(size, 0);
    ck_assert_uint_lt(list->count, 4096);
    list->at[list->count++] = (size_t)(piece - list->text) + size;
    return true;
}

/* Cuts [start, end) by pattern number `stage` and those behind it. */
static void split_by_patterns(pcre2_code *const *codes, size_t stage, const uint8_t *text,
                              size_t start, size_t end, ends *list)
{
    if (codes[stage] == NULL) {
        if (end > start)
            list->at[list->count++] = end;
        return;
    }
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    size_t at = start, from = start;
    while (from < end) {
        int found =
            pcre2_match(codes[stage], text + start, end - start, from - start, 0, match, NULL);
        ck_assert_int_ge(found, PCRE2_ERROR_NOMATCH);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(match);
        size_t first = start + place[0], behind = start + place[1];
        if (first > at)
            split_by_patterns(codes, stage + 1, text, at, first, list);
        if (behind > first)
            split_by_patterns(codes, stage + 1, text, first, behind, list);
        at = from = behind;
        if (behind == first) /* cuts there, and is not found there again */
            do
                from++;
            while (from < end && (text[from] & 0xC0) == 0x80);
    }
    if (at < end)
        split_by_patterns(codes, stage + 1, text, at, end, list);
    pcre2_match_data_free(match);
}

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % below);
}

/* Characters of every class, all older than PCRE2's and utf8proc's versions of Unicode. */
static const uint32_t alphabet[] = {
    'a',    'b',      's',    't',    'm',    'd',     'l',    'v',    'e',    'r',     'S',
    'L',    'A',      'Z',    '\'',   '\'',   ' ',     ' ',    ' ',    '\n',   '\r',    '\t',
    0x0B,   0x85,     0xA0,   0x3000, 0x2028, 0x200B,  '0',    '1',    '9',    0xB2,    0x2160,
    0x0966, '!',      '.',    ',',    '(',    '/',     '-',    '_',    '$',    '+',     '<',
    '^',    '`',      '|',    '~',    '{',    '\\',    0x00,   0x01,   0x7F,   0xE9,    0xC9,
    0xDF,   0x17F,    0x1C5,  0x2B0,  0xAA,   0x3B1,   0x391,  0x416,  0x436,  0x5D0,   0x627,
    0x64B,  0x905,    0x93F,  0x964,  0x0E01, 0x4E2D,  0x3042, 0x30A2, 0xAC00, 0xFF01,  0xFF0C,
    0x2018, 0x2026,   0x3002, 0x20AC, 0x2190, 0x1F600, 0x301,  0x200D, 0xFE0F, 0x10400, 0x10428,
    0xE000, 0x10FFFF, 0x0378, 0x2070, 0x6D4,  0x60C,   0x9FA5, 0x800,
};

static size_t random_text(uint8_t *text)
{
    size_t size = 0;
    for (uint32_t left = draw(40); left > 0; left--) {
        uint32_t code = alphabet[draw(sizeof alphabet / sizeof alphabet[0])];
        for (uint32_t again = draw(6) == 0 ? draw(5) : 0; again > 0; again--)
            size += rad_utf8_encode(code, text + size);
        size += rad_utf8_encode(code, text + size);
    }
    return size;
}

START_TEST(scanners_cut_as_the_patterns_do)
{
    const char *name = tables[_i].name;
    const rad_pretokenizer *scanner = rad_pretokenizer_find(name, strlen(name));
    ck_assert_ptr_nonnull(scanner);
    rad_arena arena = {.allocator = &rad_default_allocator};
    rad_cut cuts[RAD_SPLIT_STAGES + 1];
    rad_regex_space space = {.allocator = &rad_default_allocator, .budget = UINT64_MAX};
    ck_assert_int_eq(rad_pretokenizer_make(scanner, &arena, cuts, NULL), RADLLM_OK);
    pcre2_code *codes[7] = {NULL};
    for (size_t i = 0; i < 6 && tables[_i].patterns[i] != NULL; i++) {
        int number;
        PCRE2_SIZE offset;
        codes[i] = pcre2_compile((PCRE2_SPTR)tables[_i].patterns[i], PCRE2_ZERO_TERMINATED,
                                 PCRE2_UTF | PCRE2_UCP, &number, &offset, NULL);
        ck_assert_msg(codes[i] != NULL, "%s: error %d at %zu of its pattern", name, number, offset);
    }
    state = (uint64_t)_i;
    static ends ours, theirs;
    for (int round = 0; round < (RAD_TEST_SANITIZED ? 400 : 4000); round++) {
        uint8_t text[4 * 40 * 6];
        size_t size = random_text(text);
        ours = (ends){.text = text};
        theirs = (ends){.text = text};
        ck_assert(rad_pretokenize(cuts, &space, text, size, take_piece, &ours));
        split_by_patterns(codes, 0, text, 0, size, &theirs);
        bool same = ours.count == theirs.count &&
                    memcmp(ours.at, theirs.at, ours.count * sizeof ours.at[0]) == 0;
        if (!same) {
            char report[2048] = "";
            size_t used = 0;
            for (size_t i = 0; i < size && used < 1900; i++)
                used += (size_t)sprintf(report + used, "%02x ", text[i]);
            for (size_t i = 0; i < ours.count && i < theirs.count; i++)
                if (ours.at[i] != theirs.at[i]) {
                    sprintf(report + used, ": ours ends at %zu, the pattern's at %zu", ours.at[i],
                            theirs.at[i]);
                    break;
                }
            ck_abort_msg("%s, round %d: %s", name, round, report);
        }
    }
    for (size_t i = 0; i < 6; i++)
        pcre2_code_free(codes[i]);
    rad_regex_space_free(&space);
    rad_arena_free(&arena);
}
END_TEST

START_TEST(aliases_are_known)
{
    static const char *const pairs[][2] = {
        {"llama3", "llama-bpe"},    {"llama-v3", "llama-bpe"},
        {"falcon3", "llama-bpe"},   {"deepseek-r1-qwen", "qwen2"},
        {"stablelm2", "qwen2"},     {"megrez", "qwen2"},
        {"mpt", "gpt-2"},           {"olmo", "gpt-2"},
        {"phi-2", "gpt-2"},         {"jina-v2-code", "gpt-2"},
        {"refact", "starcoder"},    {"command-r", "starcoder"},
        {"smollm", "starcoder"},    {"exaone", "starcoder"},
        {"codeshell", "starcoder"}, {"smaug-bpe", "dbrx"},
        {"poro-chat", "bloom"},     {"gpt3-finnish", "bloom"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        ck_assert_ptr_eq(rad_pretokenizer_find(pairs[i][0], strlen(pairs[i][0])),
                         rad_pretokenizer_find(pairs[i][1], strlen(pairs[i][1])));
    const rad_pretokenizer *llama = rad_pretokenizer_find("llama-bpe", 9);
    ck_assert(llama->ignore_merges && llama->add_bos);
    ck_assert_ptr_null(rad_pretokenizer_find("", 0));
    ck_assert_ptr_null(rad_pretokenizer_find("gpt", 3));
    ck_assert_ptr_null(rad_pretokenizer_find("llama-bpe\0", 10));
}
END_TEST

/* As in DeepSeek-V3's tokenizer.json. */
START_TEST(controls_may_stand_as_themselves)
{
#define DEEPSEEK3(R, N)                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^" R N                                 \
    "\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[" R N "]*|\\s*[" R N                    \
    "]+|\\s+(?!\\S)|\\s+"
    static const char *const same[] = {DEEPSEEK3("\\r", "\\n"), DEEPSEEK3("\r", "\n"),
                                       DEEPSEEK3("\r", "\\n")};
    static const char *const other[] = {DEEPSEEK3("\n", "\r"), DEEPSEEK3("r", "\\n"),
                                        DEEPSEEK3("\\r", "\\n") "|", "[^\r"};
    for (size_t i = 0; i < 3; i++) {
        rad_split_fn split = rad_pretokenizer_find_pattern(same[i], strlen(same[i]), false);
        ck_assert(split != NULL &&
                  split == rad_pretokenizer_find_pattern(same[0], strlen(same[0]), false));
    }
    for (size_t i = 0; i < 4; i++)
        ck_assert(rad_pretokenizer_find_pattern(other[i], strlen(other[i]), false) == NULL);
    ck_assert(rad_pretokenizer_find_pattern(same[0], strlen(same[0]) - 1, false) == NULL);
}
END_TEST

/* DeepSeek-V2's letters, as its tokenizer.json and llama.cpp have them. */
static const char deepseek_letters[] =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-"
    "ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵ"
    "Ϸ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿ"
    "ᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ"
    "ὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-"
    "Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-"
    "ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲ"
    "ⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-"
    "ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-"
    "𑣟𞤀-𞥃]+";

/* Files have expressions, and a part "Digits", where GGUF has a name for all. */
START_TEST(expressions_have_a_name)
{
    static const char cjk[] = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
    static const char punctuation[] =
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+";
    static const struct {
        const char *name, *texts[6];
    } files[] = {
        {"deepseek-llm", {"[\r\n]", deepseek_letters, punctuation, "\\s+$", cjk, NULL}},
        {"deepseek-coder", {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", cjk, NULL}},
        /* Of the wrong order, or with letters that others are. */
        {NULL, {"[\r\n]", "\\s?\\p{P}+", "\\s?\\p{L}+", cjk, NULL}},
        {NULL, {"[\r\n]", "\\s?[A-Za-z]+", punctuation, "\\s+$", cjk, NULL}},
        {NULL, {"[\r\n]", "\\s?[A-Z]+", punctuation, "\\s+$", cjk, NULL}},
        {NULL, {"[\r\n]", "\\s?", punctuation, "\\s+$", cjk, NULL}},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        rad_split_fn splits[RAD_SPLIT_STAGES] = {NULL};
        rad_text texts[RAD_SPLIT_STAGES] = {{NULL, 0}};
        size_t n = 0;
        char name[64] = "";
        for (; files[i].texts[n] != NULL; n++)
            texts[n] = (rad_text){files[i].texts[n], strlen(files[i].texts[n])};
        splits[n++] = rad_pretokenizer_digits();
        bool known = rad_pretokenizer_name(splits, texts, n, false, name);
        ck_assert_msg(known == (files[i].name != NULL), "file %zu: \"%s\"", i, name);
        ck_assert_str_eq(name, known ? files[i].name : "");
        /* No part of the letters' expression is the expression. */
        for (size_t cut = 0; i == 0 && cut < sizeof deepseek_letters - 1; cut++) {
            texts[1].size = cut;
            ck_assert(!rad_pretokenizer_name(splits, texts, n, false, name));
        }
    }
}
END_TEST

/* ---- time -------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool count_piece(void *user, const uint8_t *piece, size_t size)
{
    (void)piece;
    *(size_t *)user += size;
    return true;
}

START_TEST(runs_of_any_character_take_linear_time)
{
    const char *name = tables[_i].name;
    rad_arena arena = {.allocator = &rad_default_allocator};
    rad_cut cuts[RAD_SPLIT_STAGES + 1];
    ck_assert_int_eq(
        rad_pretokenizer_make(rad_pretokenizer_find(name, strlen(name)), &arena, cuts, NULL),
        RADLLM_OK);
    if (cuts[0].split == NULL) { /* steps of expressions are counted */
        rad_arena_free(&arena);
        return;
    }
    /* 512 kB of one character in eight and, so that the test is quick, less of the others:
     * steps that grow with its square would still take several times the seconds allowed. */
    const bool parts_of_others = _i >= 12; /* qwen35 and those behind it */
    const size_t large = RAD_TEST_SANITIZED || parts_of_others ? (size_t)1 << 17 : (size_t)1 << 19;
    uint8_t *text = malloc(large + 16);
    for (size_t k = 0; k < sizeof alphabet / sizeof alphabet[0]; k++) {
        size_t most = k % 8 == (size_t)_i % 8 ? large : large / 8;
        /* A run, a run with something behind it, and pairs. */
        for (uint32_t kind = 0; kind < 3; kind++) {
            size_t size = 0;
            uint32_t n = 0;
            while (size < most)
                size += rad_utf8_encode(kind == 2 && n++ % 2 == 1 ? ' ' : alphabet[k], text + size);
            if (kind == 1)
                text[size++] = alphabet[k] == 'a' ? '1' : 'a';
            size_t given = 0;
            double start = seconds();
            ck_assert(rad_pretokenize(cuts, NULL, text, size, count_piece, &given));
            double took = seconds() - start;
            ck_assert_uint_eq(given, size);
            ck_assert_msg(took < 3, "%s: a run of U+%04X takes %.2f s", name, (unsigned)alphabet[k],
                          took);
        }
    }
    free(text);
    rad_arena_free(&arena);
}
END_TEST

/* ---- UTF-8 ------------------------------------------------------------------------------- */

/* Check notes every assertion, which is slow: these loops assert on failure only. */
START_TEST(every_code_point_comes_back)
{
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        uint8_t bytes[4];
        uint32_t length = rad_utf8_encode(code, bytes);
        uint32_t read = 0;
        bool surrogate = code >= 0xD800 && code < 0xE000;
        bool right = rad_utf8_decode(bytes, bytes + length, &read) == length && read == code &&
                     rad_utf8_strict(bytes, bytes + length) == (surrogate ? -1 : (int)length) &&
                     rad_utf8_is_clean(bytes, length);
        for (uint32_t cut = 1; cut < length && !surrogate; cut++)
            right = right && rad_utf8_strict(bytes, bytes + cut) == 0;
        if (!right)
            ck_abort_msg("U+%04X does not come back", (unsigned)code);
    }
    ck_assert_uint_eq(rad_char_classes(0x110000), 0);
}
END_TEST

START_TEST(any_bytes_can_be_cleaned)
{
    state = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[24], out[72], again[216];
        size_t size = draw(25);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(draw(3) == 0 ? draw(256) : 0x80 + draw(0x80));
        size_t cleaned = rad_utf8_clean(bytes, size, out);
        bool same = cleaned == size && memcmp(bytes, out, size) == 0;
        if (cleaned > 3 * size || !rad_utf8_is_clean(out, cleaned) ||
            rad_utf8_is_clean(bytes, size) != same ||
            rad_utf8_clean(out, cleaned, again) != cleaned || memcmp(out, again, cleaned) != 0)
            ck_abort_msg("round %d", round);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "patterns");
    tcase_add_loop_test(cases, scanners_cut_as_the_patterns_do, 0, N_TABLES);
    tcase_add_test(cases, aliases_are_known);
    tcase_add_test(cases, controls_may_stand_as_themselves);
    tcase_add_test(cases, expressions_have_a_name);
    TCase *runs = rad_test_case(suite, "runs");
    tcase_add_loop_test(runs, runs_of_any_character_take_linear_time, 0, N_TABLES);
    TCase *utf8 = rad_test_case(suite, "utf8");
    tcase_add_test(utf8, every_code_point_comes_back);
    tcase_add_test(utf8, any_bytes_can_be_cleaned);
}

int main(void)
{
    return rad_test_main("text_pretokenizer", add_cases);
}
