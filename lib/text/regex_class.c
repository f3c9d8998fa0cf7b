/* What stands for one of several characters in a pattern: properties, escapes and classes in
 * brackets, as items of sets. */
#include "text/regex_compiler.h"

#include <string.h>
#include <utf8proc.h>

/* ---- properties --------------------------------------------------------------------------- */

#define BIT(name) (1u << UTF8PROC_CATEGORY_##name)
static const struct {
    const char *name;
    uint32_t categories;
} properties[] = {
    {"L", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"LETTER", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"LU", BIT(LU)},
    {"LL", BIT(LL)},
    {"LT", BIT(LT)},
    {"LM", BIT(LM)},
    {"LO", BIT(LO)},
    {"M", BIT(MN) | BIT(MC) | BIT(ME)},
    {"MARK", BIT(MN) | BIT(MC) | BIT(ME)},
    {"MN", BIT(MN)},
    {"MC", BIT(MC)},
    {"ME", BIT(ME)},
    {"N", BIT(ND) | BIT(NL) | BIT(NO)},
    {"NUMBER", BIT(ND) | BIT(NL) | BIT(NO)},
    {"ND", BIT(ND)},
    {"NL", BIT(NL)},
    {"NO", BIT(NO)},
    {"P", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"PUNCTUATION", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"PC", BIT(PC)},
    {"PD", BIT(PD)},
    {"PS", BIT(PS)},
    {"PE", BIT(PE)},
    {"PI", BIT(PI)},
    {"PF", BIT(PF)},
    {"PO", BIT(PO)},
    {"S", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"SYMBOL", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"SM", BIT(SM)},
    {"SC", BIT(SC)},
    {"SK", BIT(SK)},
    {"SO", BIT(SO)},
    {"Z", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"SEPARATOR", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"ZS", BIT(ZS)},
    {"ZL", BIT(ZL)},
    {"ZP", BIT(ZP)},
    {"C", BIT(CN) | BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO)},
    {"OTHER", BIT(CN) | BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO)},
    {"CN", BIT(CN)},
    {"CC", BIT(CC)},
    {"CF", BIT(CF)},
    {"CS", BIT(CS)},
    {"CO", BIT(CO)},
};
#undef BIT

/* Chinese characters (the script Han, Unicode 13). */
static const uint32_t han[][2] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FF0, 0x16FF1},
    {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D}, {0x2B820, 0x2CEA1},
    {0x2CEB0, 0x2EBE0}, {0x2F800, 0x2FA1D}, {0x30000, 0x3134A},
};

/* Behind \p or \P. */
static radllm_status add_property(rad_regex_compiler *c, bool negated)
{
    char name[16];
    size_t size = 0;
    if (!rad_regex_take(c, "{"))
        return rad_regex_refuse(c, "a property without braces");
    negated = rad_regex_take(c, "^") != negated;
    for (; rad_regex_more(c) && *c->p != '}'; c->p++) {
        if (*c->p == '_' || *c->p == ' ' || *c->p == '-')
            continue;
        if (size == sizeof name - 1)
            return rad_regex_refuse(c, "a property");
        name[size++] = (char)(*c->p >= 'a' && *c->p <= 'z' ? *c->p - 32 : *c->p);
    }
    name[size] = '\0';
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (strcmp(properties[i].name, name) == 0 && rad_regex_take(c, "}"))
            return rad_regex_add_item(c, RAD_RE_CATEGORIES, negated, properties[i].categories, 0);
    if (strcmp(name, "HAN") != 0 || !rad_regex_take(c, "}"))
        return rad_regex_refuse(c, "a property");
    radllm_status status =
        rad_regex_add_item(c, RAD_RE_NESTED, negated, sizeof han / sizeof *han, 0);
    for (size_t i = 0; i < sizeof han / sizeof *han && status == RADLLM_OK; i++)
        status = rad_regex_add_item(c, RAD_RE_RANGE, false, han[i][0], han[i][1]);
    return status;
}

/* ---- escapes ------------------------------------------------------------------------------ */

static int hex_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

/* Hexadecimal digits: exactly `least`, or any number up to `most`. */
static bool take_hex(rad_regex_compiler *c, int least, int most, uint32_t *code)
{
    int n = 0;
    *code = 0;
    for (; n < most && rad_regex_more(c) && hex_digit(*c->p) >= 0; n++)
        *code = *code * 16 + (uint32_t)hex_digit(*c->p++);
    return n >= least && *code <= 0x10FFFF;
}

/* \h and \H of this syntax */
static radllm_status add_hex_digits(rad_regex_compiler *c, bool negated)
{
    static const char ends[] = "09afAF";
    radllm_status status = rad_regex_add_item(c, RAD_RE_NESTED, negated, 3, 0);
    for (size_t i = 0; i < 6 && status == RADLLM_OK; i += 2)
        status = rad_regex_add_item(c, RAD_RE_RANGE, false, (uint8_t)ends[i], (uint8_t)ends[i + 1]);
    return status;
}

radllm_status rad_regex_add_class(rad_regex_compiler *c, bool *is_class)
{
    uint8_t letter = *c->p;
    *is_class = letter != '\0' && strchr("sSdDwWhHpP", letter) != NULL;
    if (!*is_class)
        return RADLLM_OK;
    c->p++;
    switch (letter) {
    case 's':
    case 'S':
        return rad_regex_add_item(c, RAD_RE_SPACE, letter == 'S', 0, 0);
    case 'w':
    case 'W':
        return rad_regex_add_item(c, RAD_RE_WORD, letter == 'W', 0, 0);
    case 'd':
    case 'D':
        return rad_regex_add_item(c, RAD_RE_CATEGORIES, letter == 'D', 1u << UTF8PROC_CATEGORY_ND,
                                  0);
    case 'p':
    case 'P':
        return add_property(c, letter == 'P');
    default:
        return add_hex_digits(c, letter == 'H');
    }
}

radllm_status rad_regex_take_escaped(rad_regex_compiler *c, uint32_t *code)
{
    static const char names[] = "tnrfvae";
    static const char values[] = "\t\n\r\f\v\a\x1B";
    uint8_t letter = *c->p;
    const char *found = letter == '\0' ? NULL : strchr(names, letter);
    if (found != NULL) {
        c->p++;
        *code = (uint8_t)values[found - names];
        return RADLLM_OK;
    }
    bool good = true;
    if (rad_regex_take(c, "x{"))
        good = take_hex(c, 1, 8, code) && rad_regex_take(c, "}");
    else if (rad_regex_take(c, "x"))
        good = take_hex(c, 1, 2, code) && *code < 0x80; /* above, it is a byte and no character */
    else if (rad_regex_take(c, "u"))
        good = take_hex(c, 4, 4, code);
    else if ((letter | 32u) - 'a' < 26u || (letter >= '0' && letter <= '9'))
        return rad_regex_refuse(c, "an escape");
    else
        *code = rad_regex_take_code(c);
    return good ? RADLLM_OK : rad_regex_refuse(c, "a number of a character");
}

/* ---- classes in brackets ------------------------------------------------------------------ */

static radllm_status compile_items(rad_regex_compiler *c, bool *negated);

/* A single character in a class; *is_class where it was a class of its own, which is added. */
static radllm_status take_member(rad_regex_compiler *c, uint32_t *code, bool *is_class)
{
    *is_class = false;
    if (rad_regex_next_is(c, "[:") || rad_regex_next_is(c, "&&"))
        return rad_regex_refuse(c, "a class of POSIX or an empty class");
    if (rad_regex_take(c, "[")) {
        uint32_t at = c->regex->n_items;
        bool negated = false;
        *is_class = true;
        radllm_status status = rad_regex_add_item(c, RAD_RE_NESTED, false, 0, 0);
        if (status == RADLLM_OK)
            status = compile_items(c, &negated);
        c->regex->items[at].negated = negated;
        c->regex->items[at].low = c->regex->n_items - at - 1;
        return status;
    }
    if (!rad_regex_take(c, "\\")) {
        *code = rad_regex_take_code(c);
        return RADLLM_OK;
    }
    if (!rad_regex_more(c))
        return rad_regex_refuse(c, "a backslash at its end");
    if (rad_regex_take(c, "b")) {
        *code = '\b';
        return RADLLM_OK;
    }
    radllm_status status = rad_regex_add_class(c, is_class);
    return status != RADLLM_OK || *is_class ? status : rad_regex_take_escaped(c, code);
}

/* Makes one negated item of those from *first on. What is in all of some classes is not outside of
 * any. */
static radllm_status end_operand(rad_regex_compiler *c, uint32_t *first)
{
    rad_regex_item *items = c->regex->items;
    uint32_t count = c->regex->n_items - *first;
    radllm_status status = rad_regex_add_item(c, RAD_RE_NESTED, true, 0, 0);
    if (status != RADLLM_OK)
        return status;
    memmove(&items[*first + 1], &items[*first], count * sizeof *items);
    items[*first] = (rad_regex_item){RAD_RE_NESTED, true, count, 0};
    *first = c->regex->n_items;
    return RADLLM_OK;
}

/* Adds what stands behind an opening bracket, up to the closing one. */
static radllm_status compile_items(rad_regex_compiler *c, bool *negated)
{
    uint32_t first = c->regex->n_items, operand = first;
    bool head = true, several = false;
    if (++c->depth > RAD_RE_DEPTH_MAX)
        return rad_regex_too_large(c);
    *negated = rad_regex_take(c, "^");
    for (;;) {
        uint32_t low, high;
        if (!rad_regex_more(c) || (head && rad_regex_next_is(c, "]")))
            return rad_regex_refuse(c, "a class that is empty or has no end");
        bool end = rad_regex_take(c, "]"), again = !end && !head && rad_regex_take(c, "&&");
        if (end || again) {
            several = several || again;
            radllm_status status = several ? end_operand(c, &operand) : RADLLM_OK;
            if (status == RADLLM_OK && !end) {
                head = true;
                continue;
            }
            c->depth--;
            return status == RADLLM_OK && several ? end_operand(c, &first) : status;
        }
        head = false;
        bool is_class;
        radllm_status status = take_member(c, &low, &is_class);
        if (status == RADLLM_OK && is_class)
            continue;
        high = low;
        if (status == RADLLM_OK && rad_regex_next_is(c, "-") && c->end - c->p > 1 &&
            c->p[1] != ']') {
            c->p++;
            status = take_member(c, &high, &is_class);
            if (status == RADLLM_OK && (is_class || high < low))
                return rad_regex_refuse(c, "a range of characters");
        }
        if (status == RADLLM_OK)
            status = rad_regex_add_item(c, RAD_RE_RANGE, false, low, high);
        if (status != RADLLM_OK)
            return status;
    }
}

radllm_status rad_regex_compile_class(rad_regex_compiler *c)
{
    uint32_t first = c->regex->n_items;
    bool negated;
    radllm_status status = compile_items(c, &negated);
    return status == RADLLM_OK ? rad_regex_emit_set(c, first, negated, c->fold) : status;
}
