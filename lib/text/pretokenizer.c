#include "text/pretokenizer.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

/* One character: no bytes and no classes at the end of the text. */
typedef struct character {
    uint32_t code;
    uint8_t length;
    uint8_t classes;
} character;

#define END_OF_TEXT UINT32_MAX

static inline character character_at(const uint8_t *p, const uint8_t *end)
{
    character result = {END_OF_TEXT, 0, 0};
    if (p >= end)
        return result;
    if (*p < 128) {
        result.code = *p;
        result.length = 1;
        result.classes = rad_ascii_classes[*p];
        return result;
    }
    result.length = (uint8_t)rad_utf8_decode(p, end, &result.code);
    result.classes = rad_char_classes(result.code);
    return result;
}

/* Behind the characters from p on that have one of the classes. */
static inline const uint8_t *skip(const uint8_t *p, const uint8_t *end, uint8_t classes)
{
    for (;;) {
        character c = character_at(p, end);
        if (c.length == 0 || (c.classes & classes) == 0)
            return p;
        p += c.length;
    }
}

/* Behind the characters from p on that have none of the classes. */
static inline const uint8_t *skip_others(const uint8_t *p, const uint8_t *end, uint8_t classes)
{
    for (;;) {
        character c = character_at(p, end);
        if (c.length == 0 || (c.classes & classes) != 0)
            return p;
        p += c.length;
    }
}

#define WORD_CLASSES (RAD_CHAR_LETTER | RAD_CHAR_NUMBER)
#define NOT_OTHER    (RAD_CHAR_SPACE | RAD_CHAR_LETTER | RAD_CHAR_NUMBER)

static inline bool is_newline(uint32_t code)
{
    return code == '\n' || code == '\r';
}

/* ---- parts that several patterns share ---------------------------------------------- */

static inline uint32_t fold(uint32_t code)
{
    if (code >= 'A' && code <= 'Z')
        return code + 32;
    return code == 0x17F ? 's' : code; /* the long s is the only other letter that folds to these */
}

/* 's 't 're 've 'm 'll 'd: the length of the one at p, or 0. */
static inline size_t contraction(const uint8_t *p, const uint8_t *end, bool any_case)
{
    if (p >= end || *p != '\'')
        return 0;
    character first = character_at(p + 1, end);
    uint32_t a = any_case ? fold(first.code) : first.code;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 1u + first.length;
    if (a != 'r' && a != 'v' && a != 'l')
        return 0;
    character second = character_at(p + 2, end);
    uint32_t b = any_case ? fold(second.code) : second.code;
    return b == (a == 'l' ? 'l' : 'e') ? 3 : 0;
}

/* \s+(?!\S)|\s+ at white space: all but the last character of a run that something follows. */
static inline size_t white_space(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q = p;
    const uint8_t *last = p;
    for (;;) {
        character c = character_at(q, end);
        if ((c.classes & RAD_CHAR_SPACE) == 0) {
            if (c.length == 0 || last == p)
                return (size_t)(q - p);
            return (size_t)(last - p);
        }
        last = q;
        q += c.length;
    }
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ at white space. */
static inline size_t lines_or_white_space(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q = p;
    const uint8_t *line_end = NULL;
    for (;;) {
        character c = character_at(q, end);
        if ((c.classes & RAD_CHAR_SPACE) == 0)
            break;
        q += c.length;
        if (is_newline(c.code))
            line_end = q;
    }
    return line_end != NULL ? (size_t)(line_end - p) : white_space(p, end);
}

/* " ?[^\s\p{L}\p{N}]+[\r\n]*", with other classes than these, or with '/' beside the line ends; 0
 * when it does not match. */
static inline size_t others_but(const uint8_t *p, const uint8_t *end, uint8_t classes,
                                bool with_slash)
{
    const uint8_t *q = p + (*p == ' ');
    const uint8_t *behind = skip_others(q, end, classes);
    if (behind == q)
        return 0;
    while (behind < end && (is_newline(*behind) || (with_slash && *behind == '/')))
        behind++;
    return (size_t)(behind - p);
}

static inline size_t others(const uint8_t *p, const uint8_t *end, bool with_slash)
{
    return others_but(p, end, NOT_OTHER, with_slash);
}

/* \p{N}{1,most} at a number. */
static inline size_t digits(const uint8_t *p, const uint8_t *end, uint32_t most)
{
    const uint8_t *q = p;
    for (uint32_t i = 0; i < most; i++) {
        character c = character_at(q, end);
        if ((c.classes & RAD_CHAR_NUMBER) == 0)
            break;
        q += c.length;
    }
    return (size_t)(q - p);
}

/* ---- patterns that match everywhere ------------------------------------------------- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t split_gpt2(const uint8_t *p, const uint8_t *end)
{
    size_t length = contraction(p, end, false);
    if (length > 0)
        return length;
    const uint8_t *q = p + (*p == ' ');
    character c = character_at(q, end);
    if ((c.classes & RAD_CHAR_LETTER) != 0)
        return (size_t)(skip(q + c.length, end, RAD_CHAR_LETTER) - p);
    if ((c.classes & RAD_CHAR_NUMBER) != 0)
        return (size_t)(skip(q + c.length, end, RAD_CHAR_NUMBER) - p);
    if (c.length > 0 && (c.classes & RAD_CHAR_SPACE) == 0)
        return (size_t)(skip_others(q + c.length, end, NOT_OTHER) - p);
    return white_space(p, end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}
 * | ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t split_qwen35(const uint8_t *p, const uint8_t *end)
{
    const uint8_t word = RAD_CHAR_LETTER | RAD_CHAR_MARK;
    character c = character_at(p, end);
    if (c.code == '\'') {
        size_t length = contraction(p, end, true);
        if (length > 0)
            return length;
    }
    if ((c.classes & RAD_CHAR_NUMBER) != 0)
        return c.length;
    if (!is_newline(c.code)) { /* what comes first may be a letter, a mark or neither */
        const uint8_t *behind = skip(p + c.length, end, word);
        if (behind > p + c.length || (c.classes & word) != 0)
            return (size_t)(behind - p);
    }
    size_t length = others_but(p, end, NOT_OTHER | RAD_CHAR_MARK, false);
    return length > 0 ? length : lines_or_white_space(p, end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,most}| ?[^\s\p{L}\p{N}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline size_t split_llama3_like(const uint8_t *p, const uint8_t *end, uint32_t most)
{
    character c = character_at(p, end);
    if (c.code == '\'') {
        size_t length = contraction(p, end, true);
        if (length > 0)
            return length;
    }
    if ((c.classes & RAD_CHAR_LETTER) != 0)
        return (size_t)(skip(p + c.length, end, RAD_CHAR_LETTER) - p);
    if ((c.classes & RAD_CHAR_NUMBER) != 0)
        return digits(p, end, most);
    if (!is_newline(c.code)) {
        const uint8_t *behind = skip(p + c.length, end, RAD_CHAR_LETTER);
        if (behind > p + c.length)
            return (size_t)(behind - p);
    }
    size_t length = others(p, end, false);
    return length > 0 ? length : lines_or_white_space(p, end);
}

static size_t split_llama3(const uint8_t *p, const uint8_t *end)
{
    return split_llama3_like(p, end, 3);
}

static size_t split_qwen2(const uint8_t *p, const uint8_t *end)
{
    return split_llama3_like(p, end, 1);
}

/* The two sets of the o200k pattern: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], [\p{Ll}\p{Lm}\p{Lo}\p{M}]. */
static inline bool in_upper_set(uint8_t classes)
{
    return (classes & (RAD_CHAR_LETTER | RAD_CHAR_MARK)) != 0 && (classes & RAD_CHAR_LOWER) == 0;
}

static inline bool in_lower_set(uint8_t classes)
{
    return (classes & (RAD_CHAR_LETTER | RAD_CHAR_MARK)) != 0 && (classes & RAD_CHAR_UPPER) == 0;
}

/* Behind UPPER*LOWER+ at p; p when it does not match. Where nothing of LOWER follows the run of
 * UPPER, the pattern gives back characters of the run until one is in both sets. *behind_upper
 * receives the end of the run. */
static const uint8_t *upper_then_lower(const uint8_t *p, const uint8_t *end,
                                       const uint8_t **behind_upper)
{
    const uint8_t *q = p;
    const uint8_t *behind_shared = p;
    character c;
    for (;;) {
        c = character_at(q, end);
        if (c.length == 0 || !in_upper_set(c.classes))
            break;
        q += c.length;
        if (in_lower_set(c.classes))
            behind_shared = q;
    }
    *behind_upper = q;
    if (c.length == 0 || !in_lower_set(c.classes))
        return behind_shared;
    while (c.length > 0 && in_lower_set(c.classes)) {
        q += c.length;
        c = character_at(q, end);
    }
    return q;
}

/* The first two alternatives of the o200k pattern, both of [^\r\n\p{L}\p{N}]? and then
 * UPPER*LOWER+ or UPPER+LOWER*; returns what is behind the match, or p. */
static const uint8_t *cased_word(const uint8_t *p, const uint8_t *end, character first)
{
    const uint8_t *starts[2];
    uint32_t n_starts = 0;
    if ((first.classes & WORD_CLASSES) == 0 && !is_newline(first.code))
        starts[n_starts++] = p + first.length;
    if ((first.classes & (RAD_CHAR_LETTER | RAD_CHAR_MARK)) != 0)
        starts[n_starts++] = p;
    const uint8_t *behind_upper[2];
    for (uint32_t i = 0; i < n_starts; i++) {
        const uint8_t *behind = upper_then_lower(starts[i], end, &behind_upper[i]);
        if (behind > starts[i])
            return behind;
    }
    for (uint32_t i = 0; i < n_starts; i++)
        if (behind_upper[i] > starts[i])
            return behind_upper[i]; /* nothing of LOWER follows, or the loop above had matched */
    return p;
}

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+(?i:contractions)?|[^\r\n\p{L}\p{N}]?UPPER+LOWER*(?i:contractions)?
 * |\p{N}{1,most}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline size_t split_cased(const uint8_t *p, const uint8_t *end, bool contractions,
                                 uint32_t most)
{
    character c = character_at(p, end);
    const uint8_t *behind = cased_word(p, end, c);
    if (behind > p) {
        if (contractions)
            behind += contraction(behind, end, true);
        return (size_t)(behind - p);
    }
    if ((c.classes & RAD_CHAR_NUMBER) != 0)
        return digits(p, end, most);
    size_t length = others(p, end, true);
    return length > 0 ? length : lines_or_white_space(p, end);
}

static size_t split_gpt4o(const uint8_t *p, const uint8_t *end)
{
    return split_cased(p, end, true, 3);
}

static size_t split_tekken(const uint8_t *p, const uint8_t *end)
{
    return split_cased(p, end, false, 1);
}

/* ---- patterns that match here and there --------------------------------------------- */

typedef size_t (*match_fn)(const uint8_t *p, const uint8_t *end); /* 0: no match at p */

/* The match at p, or what lies before the next one. Each failing match costs a bounded time. */
static inline size_t match_or_gap(const uint8_t *p, const uint8_t *end, match_fn match)
{
    const uint8_t *q = p;
    while (q < end) {
        size_t length = match(q, end);
        if (length > 0)
            return q == p ? length : (size_t)(q - p);
        q += character_at(q, end).length;
    }
    return (size_t)(end - p);
}

typedef bool (*class_fn)(character c);

/* \s?[class]+ (or without \s?), at most `most` characters of the class; 0 when it does not match.
 */
static inline size_t match_run(const uint8_t *p, const uint8_t *end, class_fn in_class,
                               bool after_space, size_t most)
{
    const uint8_t *q = p;
    character c = character_at(q, end);
    if (after_space && (c.classes & RAD_CHAR_SPACE) != 0) {
        character next = character_at(q + c.length, end);
        if (next.length > 0 && in_class(next)) {
            q += c.length;
            c = next;
        }
    }
    const uint8_t *start = q;
    for (size_t i = 0; i < most && c.length > 0 && in_class(c); i++) {
        q += c.length;
        c = character_at(q, end);
    }
    return q == start ? 0 : (size_t)(q - p);
}

/* Defines a pattern that is one run of a class: `split_NAME`. */
#define RUN_PATTERN(name, in_class, after_space, most)                                             \
    static size_t match_##name(const uint8_t *p, const uint8_t *end)                               \
    {                                                                                              \
        return match_run(p, end, in_class, after_space, most);                                     \
    }                                                                                              \
    static size_t split_##name(const uint8_t *p, const uint8_t *end)                               \
    {                                                                                              \
        return match_or_gap(p, end, match_##name);                                                 \
    }

static bool in_number(character c)
{
    return (c.classes & RAD_CHAR_NUMBER) != 0;
}

static bool in_letter(character c)
{
    return (c.classes & RAD_CHAR_LETTER) != 0;
}

static bool in_punctuation(character c)
{
    return (c.classes & RAD_CHAR_PUNCT) != 0;
}

static bool in_ascii_digit(character c)
{
    return c.code >= '0' && c.code <= '9';
}

static bool in_newline(character c)
{
    return is_newline(c.code);
}

static bool in_line_feed(character c)
{
    return c.code == '\n';
}

/* [\p{P}\$\+<=>\^~\|] */
static bool in_default_punctuation(character c)
{
    return in_punctuation(c) || c.code == '$' || c.code == '+' || c.code == '<' || c.code == '=' ||
           c.code == '>' || c.code == '^' || c.code == '~' || c.code == '|';
}

static bool in_falcon_punctuation(character c)
{
    return in_default_punctuation(c) || c.code == '`';
}

/* [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF] */
static bool in_deepseek_cjk(character c)
{
    return (c.code >= 0x0800 && c.code <= 0x9FA5) || (c.code >= 0xAC00 && c.code <= 0xD7FF);
}

/* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF] */
static bool in_deepseek3_cjk(character c)
{
    return (c.code >= 0x4E00 && c.code <= 0x9FA5) || (c.code >= 0x3040 && c.code <= 0x30FF);
}

/* [!-/:-~ U+FF01-U+FF0F U+FF1A-U+FF5E U+2018-U+201F U+3000-U+3002] */
static bool in_deepseek_punctuation(character c)
{
    return (c.code >= '!' && c.code <= '/') || (c.code >= ':' && c.code <= '~') ||
           (c.code >= 0xFF01 && c.code <= 0xFF0F) || (c.code >= 0xFF1A && c.code <= 0xFF5E) ||
           (c.code >= 0x2018 && c.code <= 0x201F) || (c.code >= 0x3000 && c.code <= 0x3002);
}

/* The letters with case that the pattern of deepseek-llm spells out. */
static const uint32_t deepseek_letters[][2] = {
    {0x0041, 0x005A},   {0x0061, 0x007A},   {0x00B5, 0x00B5},   {0x00C0, 0x00D6},
    {0x00D8, 0x00F6},   {0x00F8, 0x01BA},   {0x01BC, 0x01BF},   {0x01C4, 0x0293},
    {0x0295, 0x02AF},   {0x0370, 0x0373},   {0x0376, 0x0376},   {0x0377, 0x0377},
    {0x037B, 0x037D},   {0x037F, 0x037F},   {0x0386, 0x0386},   {0x0388, 0x038A},
    {0x038C, 0x038C},   {0x038E, 0x03A1},   {0x03A3, 0x03F5},   {0x03F7, 0x0481},
    {0x048A, 0x052F},   {0x0531, 0x0556},   {0x10A0, 0x10C5},   {0x13A0, 0x13F5},
    {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},
    {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},
    {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},
    {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},
    {0x1FB6, 0x1FBC},   {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},
    {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},
    {0x1FF6, 0x1FFC},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},
    {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},
    {0x213C, 0x213F},   {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2183},
    {0x2184, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},
    {0x2CF2, 0x2CF2},   {0x2CF3, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},
    {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},   {0xAB70, 0xABBF},
    {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},
    {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2},
    {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};

static bool in_deepseek_letter(character c)
{
    if (c.code < 128)
        return (c.classes & RAD_CHAR_LETTER) != 0;
    size_t low = 0;
    size_t high = sizeof deepseek_letters / sizeof deepseek_letters[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c.code > deepseek_letters[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof deepseek_letters / sizeof deepseek_letters[0] &&
           c.code >= deepseek_letters[low][0];
}

/* [^(\s|.,!?...)]: what separates words for bloom and its kin. */
static bool in_bloom_word(character c)
{
    switch (c.code) {
    case '(':
    case ')':
    case '|':
    case '.':
    case ',':
    case '!':
    case '?':
    case 0x2026: /* horizontal ellipsis */
    case 0x3002: /* ideographic full stop */
    case 0xFF0C: /* fullwidth comma */
    case 0x3001: /* ideographic comma */
    case 0x0964: /* Devanagari danda */
    case 0x06D4: /* Arabic full stop */
    case 0x060C: /* Arabic comma */
        return false;
    default:
        return (c.classes & RAD_CHAR_SPACE) == 0;
    }
}

RUN_PATTERN(number, in_number, false, 1)
RUN_PATTERN(numbers, in_number, false, SIZE_MAX)
RUN_PATTERN(three_numbers, in_number, false, 3)
RUN_PATTERN(newline, in_newline, false, 1)
RUN_PATTERN(line_feeds, in_line_feed, false, SIZE_MAX) /* [^\n]+|[\n]+ */
RUN_PATTERN(letters, in_letter, true, SIZE_MAX)
RUN_PATTERN(punctuation, in_punctuation, true, SIZE_MAX)
RUN_PATTERN(default_punctuation, in_default_punctuation, false, SIZE_MAX)
RUN_PATTERN(falcon_punctuation, in_falcon_punctuation, false, SIZE_MAX)
RUN_PATTERN(deepseek_cjk, in_deepseek_cjk, false, SIZE_MAX)
RUN_PATTERN(deepseek3_cjk, in_deepseek3_cjk, false, SIZE_MAX)
RUN_PATTERN(deepseek_letters, in_deepseek_letter, true, SIZE_MAX)
RUN_PATTERN(deepseek_punctuation, in_deepseek_punctuation, true, SIZE_MAX)

/* [0-9][0-9][0-9] */
static size_t match_three_digits(const uint8_t *p, const uint8_t *end)
{
    return match_run(p, end, in_ascii_digit, false, 3) == 3 ? 3 : 0;
}

static size_t split_three_digits(const uint8_t *p, const uint8_t *end)
{
    return match_or_gap(p, end, match_three_digits);
}

/* " ?[^(\s|.,!?...)]+" */
static size_t match_bloom(const uint8_t *p, const uint8_t *end)
{
    size_t space = *p == ' ';
    if (p + space == end)
        return 0;
    size_t length = match_run(p + space, end, in_bloom_word, false, SIZE_MAX);
    return length == 0 ? 0 : space + length;
}

static size_t split_bloom(const uint8_t *p, const uint8_t *end)
{
    return match_or_gap(p, end, match_bloom);
}

/* \s+$ : white space at the end of the piece, looked for from its end. */
static size_t split_trailing_space(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q = end;
    while (q > p) {
        const uint8_t *before = q - 1;
        while (before > p && (*before & 0xC0) == 0x80)
            before--;
        if ((character_at(before, end).classes & RAD_CHAR_SPACE) == 0)
            break;
        q = before;
    }
    return q == p ? (size_t)(end - p) : (size_t)(q - p);
}

/* The last pattern of deepseek-v3:
 * [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t match_deepseek3(const uint8_t *p, const uint8_t *end)
{
    const uint8_t word = RAD_CHAR_LETTER | RAD_CHAR_MARK;
    const uint8_t sign = RAD_CHAR_PUNCT | RAD_CHAR_SYMBOL;
    character c = character_at(p, end);
    if (c.code < 128 && (c.classes & sign) != 0) {
        const uint8_t *q = p + 1;
        while (q < end && *q < 128 && (rad_ascii_classes[*q] & RAD_CHAR_LETTER) != 0)
            q++;
        if (q > p + 1)
            return (size_t)(q - p);
    }
    const uint8_t *q = p;
    if ((c.classes & (RAD_CHAR_LETTER | sign)) == 0 && !is_newline(c.code))
        q += c.length;
    const uint8_t *behind = skip(q, end, word);
    if (behind > q)
        return (size_t)(behind - p);
    if ((c.classes & RAD_CHAR_MARK) != 0)
        return c.length; /* the mark alone is the word */
    q = p + (c.code == ' ');
    behind = skip(q, end, sign);
    if (behind > q) {
        while (behind < end && is_newline(*behind))
            behind++;
        return (size_t)(behind - p);
    }
    return (c.classes & RAD_CHAR_SPACE) != 0 ? lines_or_white_space(p, end) : 0;
}

static size_t split_deepseek3(const uint8_t *p, const uint8_t *end)
{
    return match_or_gap(p, end, match_deepseek3);
}

/* ---- the table ---------------------------------------------------------------------- */

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
     .stages = {split_gpt2}},
    {.names = " llama-bpe llama3 llama-v3 falcon3 pixtral falcon-h1 midm-2.0 lfm2 jina-v5-nano ",
     .stages = {split_llama3},
     .ignore_merges = true,
     .add_bos = true},
    {.names = " dbrx smaug-bpe ", .stages = {split_llama3}},
    {.names = " chatglm-bpe ", .stages = {split_llama3}, .no_bos = true},
    {.names = " glm4 glm5 ", .stages = {split_llama3}, .ignore_merges = true, .no_bos = true},
    {.names = " qwen2 deepseek-r1-qwen stablelm2 megrez kormo f2llmv2 hunyuan solar-open grok-2 ",
     .stages = {split_qwen2}},
    {.names = " qwen35 ", .stages = {split_qwen35}},
    {.names = " gpt-4o llama4 kanana2 talkie minimax-m2 ", .stages = {split_gpt4o}},
    {.names = " granite-embed-multi-97m ", .stages = {split_gpt4o}, .ignore_merges = true},
    {.names = " tekken ", .stages = {split_tekken}, .ignore_merges = true, .add_bos = true},
    {.names = " falcon ", .stages = {split_falcon_punctuation, split_gpt2, split_three_digits}},
    {.names = " deepseek-llm ",
     .stages = {split_newline, split_deepseek_letters, split_deepseek_punctuation,
                split_trailing_space, split_deepseek_cjk, split_numbers}},
    {.names = " deepseek-coder ",
     .stages = {split_newline, split_letters, split_punctuation, split_deepseek_cjk, split_number}},
    {.names = " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ",
     .stages = {split_three_numbers, split_deepseek3_cjk, split_deepseek3}},
    {.names = " starcoder refact command-r smollm codeshell exaone minerva-7b mellum2 ",
     .stages = {split_number, split_gpt2}},
    {.names = " poro-chat bloom gpt3-finnish ", .stages = {split_bloom}},
    {.names = " viking ", .stages = {split_bloom, split_number}},
    {.names = " minicpm5 ", .stages = {split_three_numbers, split_llama3}, .ignore_merges = true},
    {.names = " laguna ", .stages = {split_line_feeds, split_qwen2}},
    {.names = " default ",
     .stages = {split_default_punctuation, split_gpt2, split_numbers, split_three_digits}},
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
    {GPT2, split_gpt2},
    {CONTRACTIONS "|" NO_WORD "\\p{L}+|\\p{N}{1,3}" OTHERS SPACES, split_llama3},
    {CONTRACTIONS "|" NO_WORD "\\p{L}+|\\p{N}" OTHERS SPACES, split_qwen2},
    {CASED("\\p{N}{1,3}"), split_gpt4o},
    {NO_WORD UPPER "*" LOWER "+|" NO_WORD UPPER "+" LOWER
                   "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
     split_tekken},
    {CONTRACTIONS "|" NO_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
     split_qwen35},
    {"\\p{N}{1,3}", split_three_numbers},
    {"\\p{N}", split_number},
    {KANJI_KANA, split_deepseek3_cjk},
    {SIGN_AND_LETTERS "[\\r\\n]*" SPACES, split_deepseek3},
    {"[0-9][0-9][0-9]", split_three_digits},
    {"[^\\n]+|[\\n]+", split_line_feeds},
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
    return !everywhere && is_pattern(BLOOM_PATTERN, pattern, size) ? split_bloom : NULL;
}

static const char *pattern_of(rad_split_fn split)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].split == split)
            return patterns[i].pattern;
    return split == split_bloom ? BLOOM_PATTERN : NULL;
}

/* Expressions of scanners that stand for them behind others alone: `\\s+$` means the end of a line
 * where lines are not cut. */
static const struct {
    const char *pattern;
    rad_split_fn split;
} written[] = {
    {"[\\r\\n]", split_newline},
    {"\\s?\\p{L}+", split_letters},
    {"\\s?\\p{P}+", split_punctuation},
    {"\\s?[!-/:-~\xEF\xBC\x81-\xEF\xBC\x8F\xEF\xBC\x9A-\xEF\xBD\x9E\xE2\x80\x98-\xE2\x80\x9F"
     "\xE3\x80\x80-\xE3\x80\x82]+",
     split_deepseek_punctuation},
    {"\\s+$", split_trailing_space},
    {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+",
     split_deepseek_cjk},
};

/* The expression of deepseek-llm that spells out its letters. */
static bool is_of_letters(rad_text text)
{
    static const char head[] = "\\s?[";
    size_t at = sizeof head - 1;
    bool same = text.size > at && memcmp(text.data, head, at) == 0;
    for (size_t i = 0; i < sizeof deepseek_letters / sizeof *deepseek_letters && same; i++) {
        const uint32_t *range = deepseek_letters[i];
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
        return stage == split_numbers && split == split_number;
    if (stage == split_deepseek_letters)
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
    return p->expressions[stage] != NULL ? p->expressions[stage] : pattern_of(p->stages[stage]);
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
    return split_number;
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
            from = end + (end < size ? character_at(p + end, p + size).length : 1);
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
