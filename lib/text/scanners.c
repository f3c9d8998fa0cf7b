#include "text/scanners.h"

#include <stdbool.h>
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
size_t rad_split_gpt2(const uint8_t *p, const uint8_t *end)
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
size_t rad_split_qwen35(const uint8_t *p, const uint8_t *end)
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

size_t rad_split_llama3(const uint8_t *p, const uint8_t *end)
{
    return split_llama3_like(p, end, 3);
}

size_t rad_split_qwen2(const uint8_t *p, const uint8_t *end)
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

size_t rad_split_gpt4o(const uint8_t *p, const uint8_t *end)
{
    return split_cased(p, end, true, 3);
}

size_t rad_split_tekken(const uint8_t *p, const uint8_t *end)
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

/* Defines a pattern that is one run of a class: `rad_split_NAME`. */
#define RUN_PATTERN(name, in_class, after_space, most)                                             \
    static size_t match_##name(const uint8_t *p, const uint8_t *end)                               \
    {                                                                                              \
        return match_run(p, end, in_class, after_space, most);                                     \
    }                                                                                              \
    size_t rad_split_##name(const uint8_t *p, const uint8_t *end)                                  \
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

const uint32_t rad_deepseek_letters[RAD_DEEPSEEK_LETTERS][2] = {
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
    size_t high = RAD_DEEPSEEK_LETTERS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c.code > rad_deepseek_letters[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < RAD_DEEPSEEK_LETTERS && c.code >= rad_deepseek_letters[low][0];
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

size_t rad_split_three_digits(const uint8_t *p, const uint8_t *end)
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

size_t rad_split_bloom(const uint8_t *p, const uint8_t *end)
{
    return match_or_gap(p, end, match_bloom);
}

/* \s+$ : white space at the end of the piece, looked for from its end. */
size_t rad_split_trailing_space(const uint8_t *p, const uint8_t *end)
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

size_t rad_split_deepseek3(const uint8_t *p, const uint8_t *end)
{
    return match_or_gap(p, end, match_deepseek3);
}
