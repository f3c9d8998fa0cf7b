#include "io/json_tree.h"

#include <math.h>
#include <string.h>

typedef struct parser {
    rad_tree *json;
    char *start;
    char *p;
    char *end;
    size_t max_values;
    const char *label;
    uint32_t stack[RAD_TREE_DEPTH]; /* the open arrays and objects */
    uint32_t depth;
    radllm_error *error;
} parser;

static radllm_status fail_at(const parser *s, const char *at, const char *what)
{
    return rad_fail(s->error, RADLLM_E_FORMAT,
                    "%s: byte %zu: %s; the file is damaged, or no JSON: fetch it again", s->label,
                    (size_t)(at - s->start), what);
}

static radllm_status add_value(parser *s, rad_tree_kind kind, const char *start, size_t size)
{
    rad_tree *json = s->json;
    if (json->count >= s->max_values)
        return rad_fail(s->error, RADLLM_E_LIMIT,
                        "%s: byte %zu: the text holds more than %zu values, the most that is read",
                        s->label, (size_t)(start - s->start), s->max_values);
    if (json->count == json->capacity &&
        !rad_reserve(json->allocator, (void **)&json->values, &json->capacity, json->count + 64,
                     sizeof *json->values))
        return rad_fail_memory(s->error, (json->count + 64) * sizeof *json->values);
    rad_tree_value *value = &json->values[json->count++];
    value->kind = kind;
    value->start = (uint32_t)(start - s->start);
    value->size = (uint32_t)size;
    value->next = (uint32_t)json->count;
    return RADLLM_OK;
}

static void skip_space(parser *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

/* ---- strings ---------------------------------------------------------------------------- */

static int hex_value(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *write_utf8(uint32_t code, char *out)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* Reads the escape behind a backslash; moves s->p behind it. False: there is none. */
static bool read_escape(parser *s, char **out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end)
        return false;
    char c = *s->p++;
    const char *found = c == '\0' ? NULL : strchr(names, c);
    if (found != NULL) {
        *(*out)++ = values[found - names];
        return true;
    }
    int high = c == 'u' ? hex_value(s->p, s->end) : -1;
    if (high < 0)
        return false;
    s->p += 4;
    uint32_t code = (uint32_t)high;
    if (code >= 0xD800 && code < 0xE000) {
        int low = s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u'
                      ? hex_value(s->p + 2, s->end)
                      : -1;
        if (code >= 0xDC00 || low < 0xDC00 || low > 0xDFFF)
            return false;
        s->p += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    }
    *out = write_utf8(code, *out);
    return true;
}

/* The length of the well-formed character at p (above 127), or 0. */
static size_t character_length(const char *p, const char *end)
{
    const uint8_t *b = (const uint8_t *)p;
    size_t length = *b >= 0xC2 && *b < 0xE0 ? 2 : *b >= 0xE0 && *b < 0xF0 ? 3 : 4;
    if (*b < 0xC2 || *b > 0xF4 || (size_t)(end - p) < length)
        return 0;
    uint8_t low = *b == 0xE0 ? 0xA0 : *b == 0xF0 ? 0x90 : 0x80;
    uint8_t high = *b == 0xED ? 0x9F : *b == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; i++) {
        if (b[i] < low || b[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

/* At a quotation mark. What is decoded is never longer than what it is written as. */
static radllm_status read_string(parser *s)
{
    char *first = ++s->p;
    char *out = first;
    for (;;) {
        if (s->p == s->end)
            return fail_at(s, first - 1, "a string that begins here has no end");
        uint8_t c = (uint8_t)*s->p;
        if (c == '"')
            break;
        if (c == '\\') {
            char *at = s->p++;
            if (!read_escape(s, &out))
                return fail_at(s, at, "an escape that JSON does not have");
            continue;
        }
        if (c < 0x20)
            return fail_at(s, s->p, "a control character in a string");
        size_t length = c < 0x80 ? 1 : character_length(s->p, s->end);
        if (length == 0)
            return fail_at(s, s->p, "a string that is not UTF-8");
        if (out != s->p)
            memmove(out, s->p, length);
        out += length;
        s->p += length;
    }
    s->p++;
    return add_value(s, RAD_TREE_STRING, first, (size_t)(out - first));
}

/* ---- numbers and names ------------------------------------------------------------------ */

static bool skip_digits(parser *s)
{
    char *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > from;
}

static radllm_status read_number(parser *s)
{
    char *first = s->p;
    s->p += *s->p == '-';
    char *digits = s->p;
    bool good = skip_digits(s) && (*digits != '0' || s->p == digits + 1);
    if (good && s->p < s->end && *s->p == '.') {
        s->p++;
        good = skip_digits(s);
    }
    if (good && s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        good = skip_digits(s);
    }
    if (!good)
        return fail_at(s, first, "a number that JSON does not allow");
    return add_value(s, RAD_TREE_NUMBER, first, (size_t)(s->p - first));
}

static radllm_status read_name(parser *s)
{
    static const struct {
        const char *text;
        rad_tree_kind kind;
    } names[] = {{"null", RAD_TREE_NULL}, {"true", RAD_TREE_TRUE}, {"false", RAD_TREE_FALSE}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size = strlen(names[i].text);
        if ((size_t)(s->end - s->p) >= size && memcmp(s->p, names[i].text, size) == 0) {
            s->p += size;
            return add_value(s, names[i].kind, s->p - size, size);
        }
    }
    return fail_at(s, s->p, "neither a value nor an end of one");
}

/* ---- arrays and objects ----------------------------------------------------------------- */

static uint64_t key_hash(uint64_t seed, const char *key, size_t size)
{
    uint64_t hash = seed ^ size;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, key + i, size - i < 8 ? size - i : 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return hash * UINT64_C(0xD6E8FEB86659FD93) >> 20;
}

static bool same_key(const rad_tree *json, uint32_t a, uint32_t b)
{
    const rad_tree_value *one = &json->values[a], *other = &json->values[b];
    return one->size == other->size &&
           memcmp(json->text + one->start, json->text + other->start, one->size) == 0;
}

static radllm_status fail_duplicate(const parser *s, uint32_t key)
{
    char quoted[RAD_QUOTE_SIZE];
    rad_text text = rad_tree_text(s->json, key);
    return rad_fail(s->error, RADLLM_E_FORMAT,
                    "%s: byte %u: the key \"%s\" stands twice in one object; readers would not "
                    "agree on its value: fetch the file again",
                    s->label, s->json->values[key].start, rad_quote(quoted, text.data, text.size));
}

/* Few keys are compared each with each; many through a table. */
static radllm_status check_keys(const parser *s, uint32_t object)
{
    const rad_tree *json = s->json;
    uint32_t n = json->values[object].size, first = rad_tree_first(object), at = first;
    if (n <= 16) {
        for (uint32_t i = 0; i < n; i++, at = json->values[at + 1].next)
            for (uint32_t k = 0, other = first; k < i; k++, other = json->values[other + 1].next)
                if (same_key(json, at, other))
                    return fail_duplicate(s, at);
        return RADLLM_OK;
    }
    size_t slots = 32;
    while (slots < 2 * (size_t)n)
        slots *= 2;
    uint32_t *table = rad_alloc_zero(json->allocator, slots * sizeof *table);
    if (table == NULL)
        return rad_fail_memory(s->error, slots * sizeof *table);
    uint64_t seed = (uint64_t)(uintptr_t)json * UINT64_C(0xA24BAED4963EE407);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++, at = json->values[at + 1].next) {
        rad_text key = rad_tree_text(json, at);
        size_t slot = key_hash(seed, key.data, key.size) & (slots - 1);
        while (table[slot] != 0 && !same_key(json, table[slot], at))
            slot = (slot + 1) & (slots - 1);
        if (table[slot] != 0)
            status = fail_duplicate(s, at);
        table[slot] = at; /* never 0, which is the whole */
    }
    rad_free(json->allocator, table, slots * sizeof *table);
    return status;
}

static radllm_status open_container(parser *s, rad_tree_kind kind)
{
    if (s->depth == RAD_TREE_DEPTH)
        return rad_fail(s->error, RADLLM_E_LIMIT,
                        "%s: byte %zu: arrays and objects lie more than %d levels deep, the most "
                        "that is read; the file is damaged or hostile: fetch it again",
                        s->label, (size_t)(s->p - s->start), RAD_TREE_DEPTH);
    s->stack[s->depth++] = (uint32_t)s->json->count;
    return add_value(s, kind, s->p++, 0);
}

/* At a bracket that closes the innermost container. */
static radllm_status close_container(parser *s)
{
    uint32_t at = s->stack[--s->depth];
    rad_tree_value *value = &s->json->values[at];
    s->p++;
    value->next = (uint32_t)s->json->count;
    return value->kind == RAD_TREE_OBJECT ? check_keys(s, at) : RADLLM_OK;
}

/* A key and its colon. */
static radllm_status read_key(parser *s)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '"')
        return fail_at(s, s->p, "no key where an object needs one");
    radllm_status status = read_string(s);
    if (status != RADLLM_OK)
        return status;
    skip_space(s);
    if (s->p == s->end || *s->p != ':')
        return fail_at(s, s->p, "no colon behind a key");
    s->p++;
    return RADLLM_OK;
}

static radllm_status read_value(parser *s)
{
    skip_space(s);
    if (s->p == s->end)
        return fail_at(s, s->p, "the text ends where a value is needed");
    if (s->depth > 0)
        s->json->values[s->stack[s->depth - 1]].size++;
    char c = *s->p;
    if (c == '"')
        return read_string(s);
    if (c == '{' || c == '[')
        return open_container(s, c == '{' ? RAD_TREE_OBJECT : RAD_TREE_ARRAY);
    return c == '-' || (c >= '0' && c <= '9') ? read_number(s) : read_name(s);
}

/* One step: what may come behind a value, or at the head of a container that was just opened. */
static radllm_status step(parser *s)
{
    uint32_t at = s->stack[s->depth - 1];
    const rad_tree_value *open = &s->json->values[at];
    bool object = open->kind == RAD_TREE_OBJECT;
    bool empty = open->size == 0;
    skip_space(s);
    if (s->p < s->end && *s->p == (object ? '}' : ']'))
        return close_container(s);
    if (!empty) {
        if (s->p == s->end || *s->p != ',')
            return fail_at(s, s->p, "neither a comma nor an end behind a value");
        s->p++;
    }
    radllm_status status = object ? read_key(s) : RADLLM_OK;
    return status == RADLLM_OK ? read_value(s) : status;
}

radllm_status rad_tree_parse(rad_tree *json, char *text, size_t size, size_t max_values,
                             const char *label, radllm_error *error)
{
    json->text = text;
    json->count = 0;
    if (size >= UINT32_MAX)
        return rad_fail(error, RADLLM_E_LIMIT, "%s: %zu bytes of JSON; at most 4 GiB are read",
                        label, size);
    parser s = {.json = json, .start = text, .p = text, .end = text + size, .label = label};
    s.max_values = max_values < RAD_TREE_NONE ? max_values : RAD_TREE_NONE - 1;
    s.error = error;
    radllm_status status = read_value(&s);
    while (status == RADLLM_OK && s.depth > 0)
        status = step(&s);
    if (status != RADLLM_OK)
        return status;
    skip_space(&s);
    return s.p == s.end ? RADLLM_OK : fail_at(&s, s.p, "something stands behind the value");
}

void rad_tree_free(rad_tree *json)
{
    rad_free(json->allocator, json->values, json->capacity * sizeof *json->values);
    json->values = NULL;
    json->count = json->capacity = 0;
}

/* ---- looking ---------------------------------------------------------------------------- */

uint32_t rad_tree_get(const rad_tree *json, uint32_t object, const char *key)
{
    if (rad_tree_kind_of(json, object) != RAD_TREE_OBJECT)
        return RAD_TREE_NONE;
    uint32_t at = rad_tree_first(object);
    for (uint32_t i = 0; i < json->values[object].size; i++, at = json->values[at + 1].next)
        if (rad_tree_is(json, at, key))
            return at + 1;
    return RAD_TREE_NONE;
}

bool rad_tree_is(const rad_tree *json, uint32_t at, const char *text)
{
    if (rad_tree_kind_of(json, at) != RAD_TREE_STRING)
        return false;
    size_t size = strlen(text);
    return json->values[at].size == size &&
           memcmp(json->text + json->values[at].start, text, size) == 0;
}

bool rad_tree_integer(const rad_tree *json, uint32_t at, int64_t *out)
{
    if (rad_tree_kind_of(json, at) != RAD_TREE_NUMBER)
        return false;
    rad_text text = rad_tree_text(json, at);
    bool negative = text.data[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        int digit = text.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

__extension__ typedef unsigned __int128 wide;

/* digits * 10^-places, rounded to nearest even: an integer quotient of at least 55 bits, whose
 * lowest bit says whether anything was left over, is converted with one rounding. */
static double divide_by_power(uint64_t digits, int places)
{
    wide divisor = 1;
    for (int i = 0; i < places; i++)
        divisor *= 10;
    int shift = 0;
    wide dividend = digits;
    while (dividend >> 120 == 0) {
        dividend <<= 1;
        shift++;
    }
    wide quotient = dividend / divisor;
    bool rest = dividend % divisor != 0;
    while (quotient >> 62 != 0) {
        rest = rest || (quotient & 1) != 0;
        quotient >>= 1;
        shift--;
    }
    double value = (double)(uint64_t)(quotient | rest);
    for (; shift > 0; shift--)
        value *= 0.5;
    for (; shift < 0; shift++)
        value *= 2;
    return value;
}

bool rad_tree_number(const rad_tree *json, uint32_t at, double *out)
{
    if (rad_tree_kind_of(json, at) != RAD_TREE_NUMBER)
        return false;
    rad_text text = rad_tree_text(json, at);
    const char *p = text.data, *end = p + text.size;
    bool negative = *p == '-';
    uint64_t digits = 0;
    int places = 0, exponent = 0;
    bool fraction = false;
    for (p += negative; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = true;
        } else if (digits < UINT64_MAX / 10 - 1) {
            digits = digits * 10 + (uint64_t)(*p - '0');
            places += fraction;
        } else {
            exponent += !fraction;
        }
    }
    if (p < end) {
        bool down = *++p == '-';
        int written = 0;
        for (p += *p == '-' || *p == '+'; p < end; p++)
            if (written < 100000)
                written = written * 10 + (*p - '0');
        exponent += down ? -written : written;
    }
    exponent -= places;
    double value = (double)digits;
    if (exponent < 0 && exponent >= -19 && digits != 0)
        value = divide_by_power(digits, -exponent);
    else
        for (; exponent != 0 && value != 0 && isfinite(value); exponent += exponent < 0 ? 1 : -1)
            value = exponent < 0 ? value / 10 : value * 10;
    *out = negative ? -value : value;
    return true;
}

int64_t rad_tree_number_of(rad_text text)
{
    int64_t value = 0;
    if (text.size == 0)
        return -1;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        if (value < INT64_MAX / 10) /* more is too large for whoever asks */
            value = 10 * value + (text.data[i] - '0');
    }
    return value;
}
