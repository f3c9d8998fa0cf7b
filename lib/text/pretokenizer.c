#include "text/pretokenizer.h"

#include <stdio.h>
#include <string.h>

#include "text/scanners.h"
#include "text/utf8.h"

/* ---- the known ones ---------------------------------------------------------------------- */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define NO_WORD      "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES       "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CASED(number)                                                                              \
    NO_WORD UPPER "*" LOWER "+" CONTRACTIONS "?|" NO_WORD UPPER "+" LOWER "*" CONTRACTIONS         \
                  "?|" number "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define KANJI_KANA "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define SIGN_AND_LETTERS                                                                           \
    "[!\"#$%&'()*+,\\-./"                                                                          \
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "             \
    "?[\\p{P}\\p{S}]+"
#define NO_HAN     "&&[^\\p{Han}]]"
#define KIMI_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}" NO_HAN
#define KIMI_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}" NO_HAN

static const rad_pretokenizer pretokenizers[] = {
    {.names = " gpt-2 mpt olmo jais phi-2 roberta-bpe gigachat jina-es jina-de jina-v1-en"
              " jina-v2-es jina-v2-de jina-v2-code a.x-4.0 mellum modern-bert exaone4 trillion"
              " granite-docling ",
     .stages = {rad_split_gpt2}},
    {.names = " llama-bpe llama3 llama-v3 falcon3 pixtral falcon-h1 midm-2.0 lfm2 jina-v5-nano ",
     .stages = {rad_split_llama3},
     .ignore_merges = true,
     .add_bos = true},
    {.names = " dbrx smaug-bpe ", .stages = {rad_split_llama3}},
    {.names = " chatglm-bpe ", .stages = {rad_split_llama3}, .no_bos = true},
    {.names = " glm4 glm5 ", .stages = {rad_split_llama3}, .ignore_merges = true, .no_bos = true},
    {.names = " qwen2 deepseek-r1-qwen stablelm2 megrez kormo f2llmv2 hunyuan solar-open grok-2 ",
     .stages = {rad_split_qwen2}},
    {.names = " qwen35 ", .stages = {rad_split_qwen35}},
    {.names = " gpt-4o llama4 kanana2 talkie minimax-m2 ", .stages = {rad_split_gpt4o}},
    {.names = " granite-embed-multi-97m ", .stages = {rad_split_gpt4o}, .ignore_merges = true},
    {.names = " tekken ", .stages = {rad_split_tekken}, .ignore_merges = true, .add_bos = true},
    {.names = " falcon ",
     .stages = {rad_split_falcon_punctuation, rad_split_gpt2, rad_split_three_digits}},
    {.names = " deepseek-llm ",
     .stages = {rad_split_newline, rad_split_deepseek_letters, rad_split_deepseek_punctuation,
                rad_split_trailing_space, rad_split_deepseek_cjk, rad_split_numbers}},
    {.names = " deepseek-coder ",
     .stages = {rad_split_newline, rad_split_letters, rad_split_punctuation, rad_split_deepseek_cjk,
                rad_split_number}},
    {.names = " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ",
     .stages = {rad_split_three_numbers, rad_split_deepseek3_cjk, rad_split_deepseek3}},
    {.names = " starcoder refact command-r smollm codeshell exaone minerva-7b mellum2 ",
     .stages = {rad_split_number, rad_split_gpt2}},
    {.names = " bloom poro-chat gpt3-finnish ", .stages = {rad_split_bloom}},
    {.names = " viking ", .stages = {rad_split_bloom, rad_split_number}},
    {.names = " minicpm5 ",
     .stages = {rad_split_three_numbers, rad_split_llama3},
     .ignore_merges = true},
    {.names = " laguna ", .stages = {rad_split_line_feeds, rad_split_qwen2}},
    {.names = " default ",
     .stages = {rad_split_default_punctuation, rad_split_gpt2, rad_split_numbers,
                rad_split_three_digits}},
    {.names = " kimi-k2 ",
     .expressions = {"[\\p{Han}]+|" NO_WORD KIMI_UPPER "*" KIMI_LOWER "+" CONTRACTIONS
                     "?|" NO_WORD KIMI_UPPER "+" KIMI_LOWER "*" CONTRACTIONS
                     "?|\\p{N}{1,3}" OTHERS SPACES}},
    {.names = " seed-coder ",
     .expressions = {CONTRACTIONS "|" NO_WORD
                                  "\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES}},
    {.names = " ufakzeka ", .expressions = {NO_WORD "\\p{L}+|\\p{N}" OTHERS SPACES}},
    {.names = " bailingmoe bailingmoe2 llada-moe ",
     .expressions = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
                     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {.names = " exaone-moe ",
     .expressions = {CONTRACTIONS "|" NO_WORD "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| "
                                  "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {.names = " jais-2 ",
     .expressions = {CONTRACTIONS
                     "|" NO_WORD "\\p{L}+|\\p{N}{1,3}" OTHERS
                     "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)"
                     "|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)"
                     "|\\s{1}"}},
    {.names = " spark2_5 ",
     .expressions = {"\\p{N}{1,3}", KANJI_KANA, SIGN_AND_LETTERS "|[\\r\\n]|\\s+(?!\\S)|\\s+",
                     "\\p{N}"}},
    {.names = " tiny_aya cohere2moe ",
     .expressions = {"\\d{1,3}(?=(?:\\d{3})*\\b)", CASED("\\p{N}{1,3}")}},
    {.names = " superbpe ", .expressions = {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}},
    /* Numbers in groups of three from their end; scripts that are written without spaces. */
    {.names = " afmoe ",
     .expressions = {"\\p{N}{1,2}(?=(?:\\p{N}{3})+(?!\\p{N}))|\\p{N}{3}|\\p{N}+",
                     "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}"
                     "\\x{3040}-\\x{30FF}\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}"
                     "\\x{0E40}-\\x{0E7F}\\x{0E80}-\\x{0EFF}\\x{1780}-\\x{17FF}"
                     "\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}"
                     "\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+",
                     SIGN_AND_LETTERS "[\\r\\n]*" SPACES}},
    {.names = " youtu ",
     .ignore_merges = true,
     .expressions = {"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}"
                     "\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-"
                     "\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|" KANJI_KANA,
                     CASED("\\p{N}")}},
    {.names = " chameleon ",
     .add_bos = true,
     .expressions = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                     "([\\t\\n]|    |  )", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
};

const rad_pretokenizer *rad_pretokenizer_find(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof pretokenizers / sizeof pretokenizers[0]; i++) {
        const char *names = pretokenizers[i].names;
        for (const char *p = names + 1; *p != '\0';) {
            size_t length = strcspn(p, " ");
            if (length == size && memcmp(p, name, size) == 0)
                return &pretokenizers[i];
            p += length + 1;
        }
    }
    return NULL;
}

/* The expressions of scanners as tokenizer.json files write them. The first ones match all of a
 * text, what others do not match is a piece too. */
#define MATCH_EVERYWHERE 6
static const struct {
    const char *pattern;
    rad_split_fn split;
} patterns[] = {
    {GPT2, rad_split_gpt2},
    {CONTRACTIONS "|" NO_WORD "\\p{L}+|\\p{N}{1,3}" OTHERS SPACES, rad_split_llama3},
    {CONTRACTIONS "|" NO_WORD "\\p{L}+|\\p{N}" OTHERS SPACES, rad_split_qwen2},
    {CASED("\\p{N}{1,3}"), rad_split_gpt4o},
    {NO_WORD UPPER "*" LOWER "+|" NO_WORD UPPER "+" LOWER
                   "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
     rad_split_tekken},
    {CONTRACTIONS "|" NO_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
     rad_split_qwen35},
    {"\\p{N}{1,3}", rad_split_three_numbers},
    {"\\p{N}", rad_split_number},
    {KANJI_KANA, rad_split_deepseek3_cjk},
    {SIGN_AND_LETTERS "[\\r\\n]*" SPACES, rad_split_deepseek3},
    {"[0-9][0-9][0-9]", rad_split_three_digits},
    {"[^\\n]+|[\\n]+", rad_split_line_feeds},
};

/* As BLOOM's tokenizer.json has it. */
#define BLOOM_PATTERN                                                                              \
    " ?[^(\\s|[.,!?\xE2\x80\xA6\xE3\x80\x82\xEF\xBC\x8C\xE3\x80\x81\xE0\xA5\xA4\xDB\x94\xD8\x8C])" \
    "]+"

/* Some files (DeepSeek-V3's) have CR and LF as themselves, where others have \\r and \\n. */
static bool is_pattern(const char *known, const char *pattern, size_t size)
{
    const char *end = pattern + size;
    for (; *known != '\0' && pattern < end; known++, pattern++) {
        bool escaped = *known == '\\' && ((known[1] == 'r' && *pattern == '\r') ||
                                          (known[1] == 'n' && *pattern == '\n'));
        known += escaped;
        if (!escaped && *known != *pattern)
            return false;
    }
    return *known == '\0' && pattern == end;
}

rad_split_fn rad_pretokenizer_find_pattern(const char *pattern, size_t size, bool everywhere)
{
    size_t count = everywhere ? MATCH_EVERYWHERE : sizeof patterns / sizeof *patterns;
    for (size_t i = 0; i < count; i++)
        if (is_pattern(patterns[i].pattern, pattern, size))
            return patterns[i].split;
    return !everywhere && is_pattern(BLOOM_PATTERN, pattern, size) ? rad_split_bloom : NULL;
}

const char *rad_pretokenizer_expression(rad_split_fn split)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].split == split)
            return patterns[i].pattern;
    return split == rad_split_bloom ? BLOOM_PATTERN : NULL;
}

/* Expressions of scanners that stand for them behind others alone: `\\s+$` means the end of a line
 * where lines are not cut. */
static const struct {
    const char *pattern;
    rad_split_fn split;
} written[] = {
    {"[\\r\\n]", rad_split_newline},
    {"\\s?\\p{L}+", rad_split_letters},
    {"\\s?\\p{P}+", rad_split_punctuation},
    {"\\s?[!-/:-~\xEF\xBC\x81-\xEF\xBC\x8F\xEF\xBC\x9A-\xEF\xBD\x9E\xE2\x80\x98-\xE2\x80\x9F"
     "\xE3\x80\x80-\xE3\x80\x82]+",
     rad_split_deepseek_punctuation},
    {"\\s+$", rad_split_trailing_space},
    {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+",
     rad_split_deepseek_cjk},
};

/* The expression of deepseek-llm that spells out its letters. */
static bool is_of_letters(rad_text text)
{
    static const char head[] = "\\s?[";
    size_t at = sizeof head - 1;
    bool same = text.size > at && memcmp(text.data, head, at) == 0;
    for (size_t i = 0; i < RAD_DEEPSEEK_LETTERS && same; i++) {
        const uint32_t *range = rad_deepseek_letters[i];
        uint8_t bytes[9];
        size_t size = rad_utf8_encode(range[0], bytes);
        if (range[1] > range[0]) {
            bytes[size++] = '-';
            size += rad_utf8_encode(range[1], bytes + size);
        }
        same = text.size - at > size && memcmp(text.data + at, bytes, size) == 0;
        at += size;
    }
    return same && text.size == at + 2 && memcmp(text.data + at, "]+", 2) == 0;
}

/* Whether an expression without a scanner of its own, or digits cut one by one, are this stage.
 * Vocabularies without numbers of several digits make no difference between the two. */
static bool stands_for(rad_split_fn stage, rad_split_fn split, rad_text text)
{
    if (split != NULL)
        return stage == rad_split_numbers && split == rad_split_number;
    if (stage == rad_split_deepseek_letters)
        return is_of_letters(text);
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (stage == written[i].split)
            return is_pattern(written[i].pattern, text.data, text.size);
    return false;
}

static size_t stages_of(const rad_pretokenizer *p)
{
    size_t n = 0;
    while (n < RAD_SPLIT_STAGES && (p->stages[n] != NULL || p->expressions[n] != NULL))
        n++;
    return n;
}

/* The scanner of a stage; NULL where it is an expression that has none. */
static rad_split_fn split_of(const rad_pretokenizer *p, size_t stage)
{
    const char *expression = p->expressions[stage];
    return expression == NULL
               ? p->stages[stage]
               : rad_pretokenizer_find_pattern(expression, strlen(expression), false);
}

const char *rad_pretokenizer_pattern(const rad_pretokenizer *p, size_t stage)
{
    if (stage >= stages_of(p))
        return NULL;
    return p->expressions[stage] != NULL ? p->expressions[stage]
                                         : rad_pretokenizer_expression(p->stages[stage]);
}

static bool is_stage(const rad_pretokenizer *p, size_t stage, rad_split_fn split, rad_text text)
{
    const char *expression = p->expressions[stage];
    if (split != NULL || expression == NULL)
        return split == split_of(p, stage) || stands_for(p->stages[stage], split, text);
    return text.size == strlen(expression) && memcmp(text.data, expression, text.size) == 0;
}

bool rad_pretokenizer_name(const rad_split_fn *splits, const rad_text *texts, size_t n_stages,
                           bool ignore_merges, char name[64])
{
    const rad_pretokenizer *found = NULL;
    for (size_t i = 0; i < sizeof pretokenizers / sizeof *pretokenizers; i++) {
        const rad_pretokenizer *p = &pretokenizers[i];
        bool same = stages_of(p) == n_stages;
        for (size_t j = 0; j < n_stages && same; j++)
            same = is_stage(p, j, splits[j], texts[j]);
        if (same && (found == NULL ||
                     (p->ignore_merges == ignore_merges && found->ignore_merges != ignore_merges)))
            found = p;
    }
    if (found == NULL)
        return false;
    snprintf(name, 64, "%.*s", (int)strcspn(found->names + 1, " "), found->names + 1);
    return true;
}

rad_split_fn rad_pretokenizer_digits(void)
{
    return rad_split_number;
}

radllm_status rad_pretokenizer_make(const rad_pretokenizer *p, rad_arena *arena,
                                    rad_cut cuts[RAD_SPLIT_STAGES + 1], radllm_error *error)
{
    radllm_status status = RADLLM_OK;
    size_t n = stages_of(p);
    memset(cuts, 0, (RAD_SPLIT_STAGES + 1) * sizeof *cuts);
    for (size_t i = 0; i < n && status == RADLLM_OK; i++) {
        const char *expression = p->expressions[i];
        cuts[i].split = split_of(p, i);
        if (cuts[i].split == NULL)
            status = rad_regex_compile(arena, (rad_text){expression, strlen(expression)},
                                       "tokenizer.ggml.pre", &cuts[i].regex, error);
    }
    return status;
}

/* ---- at work ------------------------------------------------------------------------ */

typedef struct cutting {
    rad_regex_space *space;
    rad_piece_fn give;
    void *user;
} cutting;

static bool cut(const cutting *c, const rad_cut *cuts, const uint8_t *p, const uint8_t *end);

/* The matches of an expression and what lies between them. One that matches nothing cuts there. */
static bool cut_by_regex(const cutting *c, const rad_cut *cuts, const uint8_t *p, size_t size)
{
    size_t from = 0, behind = 0, last = SIZE_MAX, start, end;
    rad_regex_result found = RAD_REGEX_NONE;
    while (from <= size && (found = rad_regex_find(cuts->regex, c->space, p, size, from, &start,
                                                   &end)) == RAD_REGEX_MATCH) {
        if (start == end && last == end) { /* nothing, directly behind the last match */
            uint32_t code;
            from = end + (end < size ? rad_utf8_decode(p + end, p + size, &code) : 1);
            continue;
        }
        if (!cut(c, cuts + 1, p + behind, p + start) || !cut(c, cuts + 1, p + start, p + end))
            return false;
        from = behind = last = end;
    }
    c->space->failed = found == RAD_REGEX_FAILED;
    return found != RAD_REGEX_FAILED && cut(c, cuts + 1, p + behind, p + size);
}

/* Recursion ends after RAD_SPLIT_STAGES levels. */
static bool cut(const cutting *c, const rad_cut *cuts, const uint8_t *p, const uint8_t *end)
{
    if (p >= end)
        return true;
    if (cuts->regex != NULL)
        return cut_by_regex(c, cuts, p, (size_t)(end - p));
    if (cuts->split == NULL)
        return c->give(c->user, p, (size_t)(end - p));
    bool last = cuts[1].split == NULL && cuts[1].regex == NULL;
    while (p < end) {
        size_t length = cuts->split(p, end);
        if (!(last ? c->give(c->user, p, length) : cut(c, cuts + 1, p, p + length)))
            return false;
        p += length;
    }
    return true;
}

bool rad_pretokenize(const rad_cut *cuts, rad_regex_space *space, const uint8_t *text, size_t size,
                     rad_piece_fn give, void *user)
{
    cutting c = {space, give, user};
    return cut(&c, cuts, text, text + size);
}
