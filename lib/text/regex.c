/* The compiler: a descent over the pattern that writes code as it reads. Blocks of code hold only
 * jumps relative to themselves, so that they can be moved and copied. */
#include "text/regex_program.h"

#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

#define CODE_MAX  4096
#define ITEMS_MAX 4096
#define SETS_MAX  1024
#define DEPTH_MAX 50

typedef struct compiler {
    const uint8_t *start;
    const uint8_t *p;
    const uint8_t *end;
    rad_regex *regex;
    bool fold;     /* i */
    bool dot_all;  /* m */
    bool extended; /* x */
    uint32_t depth;
    const char *where;
    radllm_error *error;
} compiler;

static radllm_status refuse(const compiler *c, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(c->error, RADLLM_E_UNSUPPORTED,
                    "%s: the pattern \"%s\" has %s at byte %zu, which this version does not know",
                    c->where,
                    rad_quote(quoted, (const char *)c->start, (size_t)(c->end - c->start)), what,
                    (size_t)(c->p - c->start));
}

static radllm_status too_large(const compiler *c)
{
    return rad_fail(c->error, RADLLM_E_LIMIT,
                    "%s: the pattern at byte %zu needs more than %d instructions, classes or "
                    "levels, the most that are supported",
                    c->where, (size_t)(c->p - c->start), CODE_MAX);
}

static radllm_status emit(compiler *c, rad_regex_code code)
{
    if (c->regex->n_code == CODE_MAX)
        return too_large(c);
    c->regex->code[c->regex->n_code++] = code;
    return RADLLM_OK;
}

/* Makes room for one instruction at `at`. */
static radllm_status insert(compiler *c, uint32_t at, rad_regex_code code)
{
    radllm_status status = emit(c, code);
    if (status != RADLLM_OK)
        return status;
    rad_regex_code *all = c->regex->code;
    memmove(&all[at + 1], &all[at], (c->regex->n_code - 1 - at) * sizeof *all);
    all[at] = code;
    return RADLLM_OK;
}

static bool more(const compiler *c)
{
    return c->p < c->end;
}

static bool next_is(const compiler *c, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(c->end - c->p) >= size && memcmp(c->p, text, size) == 0;
}

static bool take(compiler *c, const char *text)
{
    if (!next_is(c, text))
        return false;
    c->p += strlen(text);
    return true;
}

static uint32_t take_code(compiler *c)
{
    uint32_t code;
    c->p += rad_utf8_decode(c->p, c->end, &code);
    return code;
}

/* ---- sets --------------------------------------------------------------------------------- */

uint32_t rad_regex_fold(uint32_t code)
{
    if (code < 128)
        return code >= 'A' && code <= 'Z' ? code + 32 : code;
    utf8proc_int32_t out[4];
    int last = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)code, out, 4, UTF8PROC_CASEFOLD, &last);
    return n == 1 ? (uint32_t)out[0] : code;
}

bool rad_is_word(uint32_t code)
{
    if (code < 128)
        return (code >= '0' && code <= '9') || code == '_' || (code | 32) - 'a' < 26;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* letters in circles and boxes */
        return (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
               (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
    }
}

static bool in_any_item(const rad_regex_item *items, uint32_t count, uint32_t code);

static bool in_item(const rad_regex_item *item, uint32_t code)
{
    bool in = false;
    switch (item->kind) {
    case RAD_RE_NESTED:
        in = in_any_item(item + 1, item->low, code);
        break;
    case RAD_RE_RANGE:
        in = code >= item->low && code <= item->high;
        break;
    case RAD_RE_CATEGORIES:
        in = (item->low >> utf8proc_category((utf8proc_int32_t)code) & 1) != 0;
        break;
    case RAD_RE_SPACE:
        in = rad_is_space(code);
        break;
    default:
        in = rad_is_word(code);
        break;
    }
    return in != (item->negated != 0);
}

/* Recursion ends with the levels that the compiler allows. */
static bool in_any_item(const rad_regex_item *items, uint32_t count, uint32_t code)
{
    for (uint32_t i = 0; i < count; i++) {
        if (in_item(&items[i], code))
            return true;
        if (items[i].kind == RAD_RE_NESTED)
            i += items[i].low;
    }
    return false;
}

bool rad_regex_in_set(const rad_regex *regex, const rad_regex_set *set, uint32_t code)
{
    const rad_regex_item *items = regex->items + set->first;
    bool in = in_any_item(items, set->count, code);
    if (!in && set->fold) {
        uint32_t low = rad_regex_fold(code);
        uint32_t high = (uint32_t)utf8proc_toupper((utf8proc_int32_t)low);
        in = in_any_item(items, set->count, low) ||
             (rad_regex_fold(high) == low && in_any_item(items, set->count, high)) ||
             (low == 's' && in_any_item(items, set->count, 0x17F)) ||
             (low == 'k' && in_any_item(items, set->count, 0x212A));
    }
    return in != set->negated;
}

static radllm_status add_item(compiler *c, rad_regex_item_kind kind, bool negated, uint32_t low,
                              uint32_t high)
{
    if (c->regex->n_items == ITEMS_MAX)
        return too_large(c);
    c->regex->items[c->regex->n_items++] = (rad_regex_item){(uint8_t)kind, negated, low, high};
    return RADLLM_OK;
}

/* Ends a set of the items from `first` on and emits it. */
static radllm_status emit_set(compiler *c, uint32_t first, bool negated, bool fold)
{
    rad_regex *regex = c->regex;
    if (regex->n_sets == SETS_MAX)
        return too_large(c);
    rad_regex_set *set = &regex->sets[regex->n_sets];
    *set = (rad_regex_set){.first = first, .count = regex->n_items - first};
    set->negated = negated;
    set->fold = fold;
    for (uint32_t code = 0; code < 128; code++)
        if (rad_regex_in_set(regex, set, code))
            set->ascii[code / 32] |= 1u << code % 32;
    return emit(c, (rad_regex_code){.op = RAD_RE_SET, .a = regex->n_sets++});
}

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
static radllm_status add_property(compiler *c, bool negated)
{
    char name[16];
    size_t size = 0;
    if (!take(c, "{"))
        return refuse(c, "a property without braces");
    negated = take(c, "^") != negated;
    for (; more(c) && *c->p != '}'; c->p++) {
        if (*c->p == '_' || *c->p == ' ' || *c->p == '-')
            continue;
        if (size == sizeof name - 1)
            return refuse(c, "a property");
        name[size++] = (char)(*c->p >= 'a' && *c->p <= 'z' ? *c->p - 32 : *c->p);
    }
    name[size] = '\0';
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (strcmp(properties[i].name, name) == 0 && take(c, "}"))
            return add_item(c, RAD_RE_CATEGORIES, negated, properties[i].categories, 0);
    if (strcmp(name, "HAN") != 0 || !take(c, "}"))
        return refuse(c, "a property");
    radllm_status status = add_item(c, RAD_RE_NESTED, negated, sizeof han / sizeof *han, 0);
    for (size_t i = 0; i < sizeof han / sizeof *han && status == RADLLM_OK; i++)
        status = add_item(c, RAD_RE_RANGE, false, han[i][0], han[i][1]);
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
static bool take_hex(compiler *c, int least, int most, uint32_t *code)
{
    int n = 0;
    *code = 0;
    for (; n < most && more(c) && hex_digit(*c->p) >= 0; n++)
        *code = *code * 16 + (uint32_t)hex_digit(*c->p++);
    return n >= least && *code <= 0x10FFFF;
}

/* \h and \H of this syntax */
static radllm_status add_hex_digits(compiler *c, bool negated)
{
    static const char ends[] = "09afAF";
    radllm_status status = add_item(c, RAD_RE_NESTED, negated, 3, 0);
    for (size_t i = 0; i < 6 && status == RADLLM_OK; i += 2)
        status = add_item(c, RAD_RE_RANGE, false, (uint8_t)ends[i], (uint8_t)ends[i + 1]);
    return status;
}

/* The class behind a backslash as items of a set; *is_class is false, and nothing taken, where the
 * escape is no class. */
static radllm_status add_class_escape(compiler *c, bool *is_class)
{
    uint8_t letter = *c->p;
    *is_class = letter != '\0' && strchr("sSdDwWhHpP", letter) != NULL;
    if (!*is_class)
        return RADLLM_OK;
    c->p++;
    switch (letter) {
    case 's':
    case 'S':
        return add_item(c, RAD_RE_SPACE, letter == 'S', 0, 0);
    case 'w':
    case 'W':
        return add_item(c, RAD_RE_WORD, letter == 'W', 0, 0);
    case 'd':
    case 'D':
        return add_item(c, RAD_RE_CATEGORIES, letter == 'D', 1u << UTF8PROC_CATEGORY_ND, 0);
    case 'p':
    case 'P':
        return add_property(c, letter == 'P');
    default:
        return add_hex_digits(c, letter == 'H');
    }
}

/* One character behind a backslash that is no class. */
static radllm_status take_escaped(compiler *c, uint32_t *code)
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
    if (take(c, "x{"))
        good = take_hex(c, 1, 8, code) && take(c, "}");
    else if (take(c, "x"))
        good = take_hex(c, 1, 2, code) && *code < 0x80; /* above, it is a byte and no character */
    else if (take(c, "u"))
        good = take_hex(c, 4, 4, code);
    else if ((letter | 32u) - 'a' < 26u || (letter >= '0' && letter <= '9'))
        return refuse(c, "an escape");
    else
        *code = take_code(c);
    return good ? RADLLM_OK : refuse(c, "a number of a character");
}

/* ---- classes in brackets ------------------------------------------------------------------ */

static radllm_status compile_items(compiler *c, bool *negated);

/* A single character in a class; *is_class where it was a class of its own, which is added. */
static radllm_status take_member(compiler *c, uint32_t *code, bool *is_class)
{
    *is_class = false;
    if (next_is(c, "[:") || next_is(c, "&&"))
        return refuse(c, "a class of POSIX or an empty class");
    if (take(c, "[")) {
        uint32_t at = c->regex->n_items;
        bool negated = false;
        *is_class = true;
        radllm_status status = add_item(c, RAD_RE_NESTED, false, 0, 0);
        if (status == RADLLM_OK)
            status = compile_items(c, &negated);
        c->regex->items[at].negated = negated;
        c->regex->items[at].low = c->regex->n_items - at - 1;
        return status;
    }
    if (!take(c, "\\")) {
        *code = take_code(c);
        return RADLLM_OK;
    }
    if (!more(c))
        return refuse(c, "a backslash at its end");
    if (take(c, "b")) {
        *code = '\b';
        return RADLLM_OK;
    }
    radllm_status status = add_class_escape(c, is_class);
    return status != RADLLM_OK || *is_class ? status : take_escaped(c, code);
}

/* Makes one negated item of those from *first on. What is in all of some classes is not outside of
 * any. */
static radllm_status end_operand(compiler *c, uint32_t *first)
{
    rad_regex_item *items = c->regex->items;
    uint32_t count = c->regex->n_items - *first;
    radllm_status status = add_item(c, RAD_RE_NESTED, true, 0, 0);
    if (status != RADLLM_OK)
        return status;
    memmove(&items[*first + 1], &items[*first], count * sizeof *items);
    items[*first] = (rad_regex_item){RAD_RE_NESTED, true, count, 0};
    *first = c->regex->n_items;
    return RADLLM_OK;
}

/* Adds what stands behind an opening bracket, up to the closing one. */
static radllm_status compile_items(compiler *c, bool *negated)
{
    uint32_t first = c->regex->n_items, operand = first;
    bool head = true, several = false;
    if (++c->depth > DEPTH_MAX)
        return too_large(c);
    *negated = take(c, "^");
    for (;;) {
        uint32_t low, high;
        if (!more(c) || (head && next_is(c, "]")))
            return refuse(c, "a class that is empty or has no end");
        bool end = take(c, "]"), again = !end && !head && take(c, "&&");
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
        if (status == RADLLM_OK && next_is(c, "-") && c->end - c->p > 1 && c->p[1] != ']') {
            c->p++;
            status = take_member(c, &high, &is_class);
            if (status == RADLLM_OK && (is_class || high < low))
                return refuse(c, "a range of characters");
        }
        if (status == RADLLM_OK)
            status = add_item(c, RAD_RE_RANGE, false, low, high);
        if (status != RADLLM_OK)
            return status;
    }
}

/* Behind the opening bracket. */
static radllm_status compile_class(compiler *c)
{
    uint32_t first = c->regex->n_items;
    bool negated;
    radllm_status status = compile_items(c, &negated);
    return status == RADLLM_OK ? emit_set(c, first, negated, c->fold) : status;
}

/* ---- groups ------------------------------------------------------------------------------- */

static radllm_status compile_alternatives(compiler *c);

/* The number of characters that a look-behind's code matches; -1 where it may differ. */
static int64_t fixed_length(const rad_regex_code *code, uint32_t count)
{
    int64_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        switch (code[i].op) {
        case RAD_RE_CHAR:
        case RAD_RE_FOLD:
        case RAD_RE_SET:
            length++;
            break;
        case RAD_RE_LOOP:
            if (code[i].low != code[i].high)
                return -1;
            length += code[i].low;
            break;
        case RAD_RE_LOOK:
            i += code[i].a - 1;
            break;
        case RAD_RE_LINE_START:
        case RAD_RE_LINE_END:
        case RAD_RE_TEXT_START:
        case RAD_RE_TEXT_END:
        case RAD_RE_BOUNDARY:
            break;
        default:
            return -1;
        }
    }
    return length;
}

/* A group whose code is fenced by an instruction in front and RAD_RE_INNER_END. */
static radllm_status compile_inner(compiler *c, rad_regex_code fence)
{
    uint32_t at = c->regex->n_code;
    radllm_status status = compile_alternatives(c);
    if (status != RADLLM_OK)
        return status;
    if (fence.behind) {
        int64_t length = fixed_length(&c->regex->code[at], c->regex->n_code - at);
        if (length < 0)
            return refuse(c, "a look-behind whose length may differ");
        fence.b = (uint32_t)length;
    }
    status = emit(c, (rad_regex_code){.op = RAD_RE_INNER_END});
    fence.a = c->regex->n_code - at + 1;
    return status == RADLLM_OK ? insert(c, at, fence) : status;
}

/* Letters of options up to ':' or ')'. */
static radllm_status take_options(compiler *c)
{
    bool on = true;
    for (; more(c) && *c->p != ':' && *c->p != ')'; c->p++) {
        if (*c->p == '-')
            on = false;
        else if (*c->p == 'i')
            c->fold = on;
        else if (*c->p == 'm')
            c->dot_all = on;
        else if (*c->p == 'x')
            c->extended = on;
        else
            return refuse(c, "an option or a kind of group");
    }
    return RADLLM_OK;
}

/* Behind the opening parenthesis; up to the closing one, which is not taken. */
static radllm_status compile_group_body(compiler *c, bool *bare, bool *options)
{
    const rad_regex_code look = {.op = RAD_RE_LOOK}, atomic = {.op = RAD_RE_ATOMIC};
    const rad_regex_code look_not = {.op = RAD_RE_LOOK, .negated = 1};
    const rad_regex_code behind = {.op = RAD_RE_LOOK, .behind = 1};
    const rad_regex_code behind_not = {.op = RAD_RE_LOOK, .negated = 1, .behind = 1};
    if (take(c, "?:"))
        return compile_alternatives(c);
    if (take(c, "?#")) { /* a comment */
        while (more(c) && *c->p != ')')
            c->p++;
        *bare = true;
        return RADLLM_OK;
    }
    if (take(c, "?="))
        return compile_inner(c, look);
    if (take(c, "?!"))
        return compile_inner(c, look_not);
    if (take(c, "?<="))
        return compile_inner(c, behind);
    if (take(c, "?<!"))
        return compile_inner(c, behind_not);
    if (take(c, "?>"))
        return compile_inner(c, atomic);
    if (take(c, "?<")) {
        while (more(c) && *c->p != '>')
            c->p++;
        return take(c, ">") ? compile_alternatives(c) : refuse(c, "a name without end");
    }
    if (!take(c, "?"))
        return compile_alternatives(c);
    radllm_status status = take_options(c);
    if (status != RADLLM_OK || take(c, ":"))
        return status == RADLLM_OK ? compile_alternatives(c) : status;
    /* "(?i)" holds to the end of the group around it, and takes the alternatives that follow. */
    *bare = *options = true;
    if (!take(c, ")"))
        return refuse(c, "a group without end");
    return compile_alternatives(c);
}

/* Behind the opening parenthesis. *bare: the group was "(?i)", or a comment. */
static radllm_status compile_group(compiler *c, bool *bare)
{
    bool fold = c->fold, dot_all = c->dot_all, extended = c->extended;
    if (++c->depth > DEPTH_MAX)
        return too_large(c);
    *bare = false;
    bool options = false;
    radllm_status status = compile_group_body(c, bare, &options);
    if (status != RADLLM_OK)
        return status;
    c->depth--;
    if (options)
        return RADLLM_OK;
    if (!take(c, ")"))
        return refuse(c, "a group without end");
    c->fold = fold;
    c->dot_all = dot_all;
    c->extended = extended;
    return RADLLM_OK;
}

/* ---- single things ------------------------------------------------------------------------ */

static radllm_status emit_char(compiler *c, uint32_t code)
{
    if (!c->fold)
        return emit(c, (rad_regex_code){.op = RAD_RE_CHAR, .a = code});
    return emit(c, (rad_regex_code){.op = RAD_RE_FOLD, .a = rad_regex_fold(code)});
}

/* \w and \W by themselves, which count some numbers of Latin-1 as well. */
static radllm_status compile_word(compiler *c, bool negated)
{
    uint32_t first = c->regex->n_items;
    radllm_status status = add_item(c, RAD_RE_WORD, false, 0, 0);
    if (status == RADLLM_OK)
        status = add_item(c, RAD_RE_RANGE, false, 0xB2, 0xB3);
    if (status == RADLLM_OK)
        status = add_item(c, RAD_RE_RANGE, false, 0xB9, 0xB9);
    if (status == RADLLM_OK)
        status = add_item(c, RAD_RE_RANGE, false, 0xBC, 0xBE);
    return status == RADLLM_OK ? emit_set(c, first, negated, false) : status;
}

/* Behind a backslash, outside of brackets, where option i says nothing about classes. */
static radllm_status compile_escape(compiler *c)
{
    static const struct {
        char letter;
        uint8_t op;
        uint8_t negated;
    } asserts[] = {{'A', RAD_RE_TEXT_START, 0},
                   {'z', RAD_RE_TEXT_END, 0},
                   {'Z', RAD_RE_LAST_LINE, 0},
                   {'b', RAD_RE_BOUNDARY, 0},
                   {'B', RAD_RE_BOUNDARY, 1}};
    if (!more(c))
        return refuse(c, "a backslash at its end");
    for (size_t i = 0; i < sizeof asserts / sizeof *asserts; i++) {
        if (*c->p == (uint8_t)asserts[i].letter) {
            c->p++;
            return emit(c, (rad_regex_code){.op = asserts[i].op, .negated = asserts[i].negated});
        }
    }
    if (*c->p == 'w' || *c->p == 'W')
        return compile_word(c, *c->p++ == 'W');
    uint32_t first = c->regex->n_items;
    bool is_class;
    radllm_status status = add_class_escape(c, &is_class);
    if (status != RADLLM_OK || is_class)
        return status == RADLLM_OK ? emit_set(c, first, false, false) : status;
    uint32_t code;
    status = take_escaped(c, &code);
    return status == RADLLM_OK ? emit_char(c, code) : status;
}

static radllm_status compile_dot(compiler *c)
{
    uint32_t first = c->regex->n_items;
    uint32_t excluded = c->dot_all ? UINT32_MAX : '\n';
    radllm_status status = add_item(c, RAD_RE_RANGE, false, excluded, excluded);
    return status == RADLLM_OK ? emit_set(c, first, true, false) : status;
}

/* One thing that a quantifier may follow; *bare where none may. */
static radllm_status compile_atom(compiler *c, bool *bare)
{
    *bare = false;
    if (take(c, "("))
        return compile_group(c, bare);
    if (take(c, "["))
        return compile_class(c);
    if (take(c, "\\"))
        return compile_escape(c);
    if (take(c, "."))
        return compile_dot(c);
    if (take(c, "^"))
        return emit(c, (rad_regex_code){.op = RAD_RE_LINE_START});
    if (take(c, "$"))
        return emit(c, (rad_regex_code){.op = RAD_RE_LINE_END});
    if (next_is(c, "*") || next_is(c, "+") || next_is(c, "?"))
        return refuse(c, "a quantifier behind nothing");
    return emit_char(c, take_code(c));
}

/* ---- quantifiers -------------------------------------------------------------------------- */

typedef struct quantifier {
    uint32_t low;
    uint32_t high;
    rad_regex_mode mode;
} quantifier;

static bool take_number(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
    const uint8_t *from = *p;
    for (*out = 0; *p < end && **p >= '0' && **p <= '9' && *p - from < 6; (*p)++)
        *out = *out * 10 + (uint32_t)(**p - '0');
    return *p > from;
}

/* {n}, {n,}, {,m}, {n,m}; anything else in braces is text. */
static bool take_braces(compiler *c, quantifier *q)
{
    const uint8_t *p = c->p + 1;
    bool has_low = take_number(&p, c->end, &q->low);
    q->high = q->low;
    if (p < c->end && *p == ',') {
        p++;
        bool has_high = take_number(&p, c->end, &q->high);
        if (!has_high)
            q->high = UINT32_MAX;
        has_low = has_low || has_high;
    }
    if (!has_low || p == c->end || *p != '}')
        return false;
    c->p = p + 1;
    return true;
}

static bool take_quantifier(compiler *c, quantifier *q)
{
    *q = (quantifier){0, UINT32_MAX, RAD_RE_GREEDY};
    bool braces = false;
    if (take(c, "+"))
        q->low = 1;
    else if (take(c, "?"))
        q->high = 1;
    else if (!take(c, "*")) {
        if (!next_is(c, "{") || !take_braces(c, q))
            return false;
        braces = true;
    }
    if (take(c, "?"))
        q->mode = RAD_RE_LAZY;
    else if (!braces && take(c, "+")) /* behind braces it is another quantifier in this syntax */
        q->mode = RAD_RE_POSSESSIVE;
    return true;
}

/* Puts the block from `at` on into a loop of any number of turns. */
static radllm_status wrap_star(compiler *c, uint32_t at, rad_regex_mode mode)
{
    if (c->regex->n_registers == RAD_RE_REGISTERS)
        return too_large(c);
    uint32_t reg = c->regex->n_registers++;
    uint32_t count = c->regex->n_code - at;
    /* split +count+4; mark; block; moved; jump back */
    radllm_status status = insert(c, at, (rad_regex_code){.op = RAD_RE_MARK, .a = reg});
    if (status == RADLLM_OK)
        status = insert(
            c, at, (rad_regex_code){.op = RAD_RE_SPLIT, .mode = (uint8_t)mode, .a = count + 4});
    if (status == RADLLM_OK)
        status = emit(c, (rad_regex_code){.op = RAD_RE_MOVED, .a = reg, .b = 2});
    if (status == RADLLM_OK)
        status =
            emit(c, (rad_regex_code){.op = RAD_RE_JUMP, .a = (uint32_t) - (int32_t)(count + 3)});
    return status;
}

/* Repeats the block from `at` on as often as q says, by copies. */
static radllm_status repeat_block(compiler *c, uint32_t at, quantifier q)
{
    uint32_t count = c->regex->n_code - at;
    uint32_t extra = q.high == UINT32_MAX ? 1 : q.high - q.low;
    uint64_t needed = ((uint64_t)q.low + extra) * (count + 4);
    if (needed > CODE_MAX)
        return too_large(c);
    rad_regex_code block[CODE_MAX / 8];
    if (count > CODE_MAX / 8)
        return too_large(c);
    memcpy(block, &c->regex->code[at], count * sizeof *block);
    c->regex->n_code = at;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < q.low && status == RADLLM_OK; i++)
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = emit(c, block[k]);
    rad_regex_mode mode = q.mode == RAD_RE_LAZY ? RAD_RE_LAZY : RAD_RE_GREEDY;
    if (status == RADLLM_OK && q.high == UINT32_MAX) {
        uint32_t from = c->regex->n_code;
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = emit(c, block[k]);
        return status == RADLLM_OK ? wrap_star(c, from, mode) : status;
    }
    for (uint32_t i = 0; i < extra && status == RADLLM_OK; i++) {
        uint32_t left = (extra - i) * (count + 1);
        status = emit(c, (rad_regex_code){.op = RAD_RE_SPLIT, .mode = (uint8_t)mode, .a = left});
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = emit(c, block[k]);
    }
    return status;
}

/* Applies a quantifier to the block from `at` on. */
static radllm_status quantify(compiler *c, uint32_t at, quantifier q)
{
    if (q.high < q.low)
        return refuse(c, "a quantifier whose numbers are swapped");
    rad_regex_code *only = &c->regex->code[at];
    bool single = c->regex->n_code == at + 1 && only->op == RAD_RE_SET;
    if (c->regex->n_code == at + 1 && (only->op == RAD_RE_CHAR || only->op == RAD_RE_FOLD)) {
        uint32_t first = c->regex->n_items, code = only->a;
        bool fold = only->op == RAD_RE_FOLD;
        c->regex->n_code = at;
        radllm_status status = add_item(c, RAD_RE_RANGE, false, code, code);
        if (status == RADLLM_OK)
            status = emit_set(c, first, false, fold);
        if (status != RADLLM_OK)
            return status;
        single = true;
    }
    if (single) {
        only->op = RAD_RE_LOOP;
        only->mode = (uint8_t)q.mode;
        only->low = q.low;
        only->high = q.high;
        return RADLLM_OK;
    }
    radllm_status status = repeat_block(c, at, q);
    if (status != RADLLM_OK || q.mode != RAD_RE_POSSESSIVE)
        return status;
    status = emit(c, (rad_regex_code){.op = RAD_RE_INNER_END});
    uint32_t length = c->regex->n_code - at + 1;
    return status == RADLLM_OK ? insert(c, at, (rad_regex_code){.op = RAD_RE_ATOMIC, .a = length})
                               : status;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void skip_extended(compiler *c)
{
    while (c->extended && more(c) &&
           (*c->p == '#' || *c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r'))) {
        if (*c->p == '#')
            while (more(c) && *c->p != '\n')
                c->p++;
        else
            c->p++;
    }
}

static radllm_status compile_sequence(compiler *c)
{
    radllm_status status = RADLLM_OK;
    for (skip_extended(c); status == RADLLM_OK && more(c) && *c->p != '|' && *c->p != ')';
         skip_extended(c)) {
        uint32_t at = c->regex->n_code;
        bool bare;
        quantifier q;
        status = compile_atom(c, &bare);
        while (status == RADLLM_OK && !bare && take_quantifier(c, &q))
            status = quantify(c, at, q);
    }
    return status;
}

static radllm_status compile_alternatives(compiler *c)
{
    uint32_t last_jump = UINT32_MAX; /* each jump holds the place of the one before */
    for (;;) {
        uint32_t at = c->regex->n_code;
        radllm_status status = compile_sequence(c);
        if (status != RADLLM_OK)
            return status;
        if (!take(c, "|"))
            break;
        uint32_t count = c->regex->n_code - at;
        status = insert(c, at, (rad_regex_code){.op = RAD_RE_SPLIT, .a = count + 2});
        if (status == RADLLM_OK)
            status = emit(c, (rad_regex_code){.op = RAD_RE_JUMP, .a = last_jump});
        if (status != RADLLM_OK)
            return status;
        last_jump = c->regex->n_code - 1;
    }
    while (last_jump != UINT32_MAX) {
        rad_regex_code *jump = &c->regex->code[last_jump];
        uint32_t before = jump->a;
        jump->a = c->regex->n_code - last_jump;
        last_jump = before;
    }
    return RADLLM_OK;
}

/* Copies what the compiler wrote into memory of the right size. */
static radllm_status keep(rad_arena *arena, const rad_regex *made, const rad_regex **out,
                          radllm_error *error)
{
    rad_regex *kept = rad_arena_alloc(arena, sizeof *kept, 8);
    size_t code = made->n_code * sizeof *made->code;
    size_t items = (made->n_items + 1) * sizeof *made->items;
    size_t sets = (made->n_sets + 1) * sizeof *made->sets;
    if (kept == NULL)
        return rad_fail_memory(error, sizeof *kept);
    *kept = *made;
    kept->code = rad_arena_alloc(arena, code, 8);
    kept->items = rad_arena_alloc(arena, items, 8);
    kept->sets = rad_arena_alloc(arena, sets, 8);
    if (kept->code == NULL || kept->items == NULL || kept->sets == NULL)
        return rad_fail_memory(error, code + items + sets);
    memcpy(kept->code, made->code, code);
    memcpy(kept->items, made->items, made->n_items * sizeof *made->items);
    memcpy(kept->sets, made->sets, made->n_sets * sizeof *made->sets);
    *out = kept;
    return RADLLM_OK;
}

radllm_status rad_regex_compile(rad_arena *arena, rad_text pattern, const char *where,
                                const rad_regex **out, radllm_error *error)
{
    const rad_allocator *allocator = arena->allocator;
    const uint8_t *text = (const uint8_t *)pattern.data;
    rad_regex regex = {0};
    compiler c = {.start = text, .p = text, .end = text + pattern.size, .regex = &regex};
    c.where = where;
    c.error = error;
    const size_t code = CODE_MAX * sizeof *regex.code, items = ITEMS_MAX * sizeof *regex.items;
    const size_t sets = SETS_MAX * sizeof *regex.sets;
    regex.code = rad_alloc(allocator, code);
    regex.items = rad_alloc(allocator, items);
    regex.sets = rad_alloc(allocator, sets);
    radllm_status status = RADLLM_OK;
    if (regex.code == NULL || regex.items == NULL || regex.sets == NULL)
        status = rad_fail_memory(error, code + items + sets);
    if (status == RADLLM_OK)
        status = compile_alternatives(&c);
    if (status == RADLLM_OK && more(&c))
        status = refuse(&c, "a parenthesis too many");
    if (status == RADLLM_OK)
        status = emit(&c, (rad_regex_code){.op = RAD_RE_MATCH});
    if (status == RADLLM_OK)
        status = keep(arena, &regex, out, error);
    rad_free(allocator, regex.code, code);
    rad_free(allocator, regex.items, items);
    rad_free(allocator, regex.sets, sets);
    return status;
}
