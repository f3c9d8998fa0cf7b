/* The normal form of a chat template's text: Jinja's tokens, without comments, white space in tags
 * and the kinds of quotes, so that texts that differ in these alone are known as one. White space
 * between tags is dropped as Jinja does with trim_blocks and lstrip_blocks, which all programs set
 * that run such templates. */
#include <string.h>

#include "base/platform.h"
#include "text/chat_template.h"

typedef struct normalizer {
    const char *p;
    const char *end;
    rad_hasher hasher;
} normalizer;

/* Lines may end with CR and LF: Jinja takes that for LF everywhere. */
static void put(normalizer *n, const char *bytes, size_t size)
{
    const char *end = bytes + size, *return_;
    for (; (return_ = memchr(bytes, '\r', (size_t)(end - bytes))) != NULL; bytes = return_ + 1)
        rad_hasher_add(&n->hasher, bytes, (size_t)(return_ - bytes));
    rad_hasher_add(&n->hasher, bytes, (size_t)(end - bytes));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Text up to the next tag, and what the tag's first sign drops of it. `line`: a line begins here,
 * so that blanks before a tag in it are its indentation. False at the end. */
static bool put_text(normalizer *n, bool line)
{
    const char *start = n->p, *p = start;
    while (p + 1 < n->end && !(p[0] == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')))
        p++;
    if (p + 1 >= n->end) {
        put(n, start, (size_t)(n->end - start));
        n->p = n->end;
        return false;
    }
    const char *behind = p;
    char sign = p + 2 < n->end ? p[2] : '\0';
    if (sign == '-') {
        while (behind > start && is_space(behind[-1]))
            behind--;
    } else if (sign != '+' && p[1] != '{') {
        while (behind > start && is_space(behind[-1]) && behind[-1] != '\n')
            behind--;
        if (behind > start ? behind[-1] != '\n' : !line)
            behind = p;
    }
    put(n, start, (size_t)(behind - start));
    n->p = p;
    return true;
}

/* The length of a tag's end at p, with the sign in it; 0 where there is none. */
static size_t end_at(const normalizer *n, const char *p, char kind)
{
    size_t sign = p < n->end && (*p == '-' || (*p == '+' && kind != '}'));
    return (size_t)(n->end - p) >= sign + 2 && p[sign] == kind && p[sign + 1] == '}' ? sign + 2 : 0;
}

/* The length of a line's end at p; 0 where there is none. */
static size_t line_end_at(const normalizer *n, const char *p)
{
    size_t size = p < n->end && *p == '\r';
    return p + size < n->end && p[size] == '\n' ? size + 1 : 0;
}

/* Passes over a tag's end and what it drops behind it; *line: whether a line begins there. */
static void pass_end(normalizer *n, const char *p, size_t length, char kind, bool *line)
{
    char sign = *p;
    const char *q = p + length;
    if (sign == '-')
        while (q < n->end && is_space(*q))
            q++;
    else if (sign != '+' && kind != '}')
        q += line_end_at(n, q);
    *line = q[-1] == '\n';
    n->p = q;
}

/* A string, in double quotes where it has none inside. NULL where it does not end. */
static const char *put_string(normalizer *n, const char *p)
{
    const char *q = p + 1;
    bool plain = true; /* no quotes in it */
    for (; q < n->end && *q != *p; q++) {
        bool escape = *q == '\\';
        if (escape && (++q == n->end || line_end_at(n, q) > 0))
            return NULL;
        plain = plain && *q != '"' && !(escape && *q == '\'');
    }
    if (q >= n->end)
        return NULL;
    put(n, plain ? "\"" : p, 1);
    for (const char *c = p + 1; c < q; c++) /* a line end may be written as such */
        put(n, *c == '\n' ? "\\n" : c, *c == '\n' ? 2 : 1);
    put(n, plain ? "\"" : p, 1);
    return q + 1;
}

/* The tokens of a tag, each with a 1 behind it. False where it does not end. */
static bool put_tag(normalizer *n, char kind, bool *line)
{
    const char *p = n->p + 2;
    uint32_t depth = 0;
    put(n, kind == '}' ? "\2" : "\3", 1);
    if (p < n->end && (*p == '-' || *p == '+'))
        p++;
    while (p < n->end) {
        size_t length = depth == 0 ? end_at(n, p, kind) : 0;
        if (length > 0) {
            put(n, "\4", 1);
            pass_end(n, p, length, kind, line);
            return true;
        }
        if (is_space(*p)) {
            p++;
            continue;
        }
        if (*p == '"' || *p == '\'') {
            p = put_string(n, p);
            if (p == NULL)
                return false;
        } else {
            const char *start = p++;
            while (is_word(*start) && p < n->end && is_word(*p))
                p++;
            depth += *start == '(' || *start == '[' || *start == '{';
            depth -= depth > 0 && (*start == ')' || *start == ']' || *start == '}');
            if (p - start == 3 && memcmp(start, "raw", 3) == 0)
                return false; /* what follows may be no tags */
            put(n, start, (size_t)(p - start));
        }
        put(n, "\1", 1);
    }
    return false;
}

static bool pass_comment(normalizer *n, bool *line)
{
    const char *p = n->p + 2;
    for (p += p < n->end && (*p == '-' || *p == '+'); p < n->end; p++) { /* behind its own sign */
        size_t length = end_at(n, p, '#');
        if (length > 0) {
            pass_end(n, p, length, '#', line);
            return true;
        }
    }
    return false;
}

bool rad_chat_text_hash(rad_text text, char hash[17])
{
    static const char digits[] = "0123456789abcdef";
    normalizer n = {.p = text.data, .end = text.data + text.size};
    bool line = true, known = true;
    uint8_t digest[32];
    for (size_t i = 0; i < text.size && known; i++) /* its own signs may not be in the text */
        known = (unsigned char)text.data[i] >= ' ' || text.data[i] == '\n' ||
                text.data[i] == '\t' || line_end_at(&n, text.data + i) == 2;
    if (text.size > 0 && text.data[text.size - 1] == '\n')
        n.end--; /* engines drop one line end at the end, and so do converters */
    rad_hasher_start(&n.hasher);
    known = known && n.p < n.end;
    while (known && put_text(&n, line)) {
        char kind = n.p[1];
        known =
            kind == '#' ? pass_comment(&n, &line) : put_tag(&n, kind == '{' ? '}' : kind, &line);
    }
    rad_hasher_end(&n.hasher, digest);
    for (uint32_t i = 0; i < 8; i++) {
        hash[2 * i] = digits[digest[i] >> 4];
        hash[2 * i + 1] = digits[digest[i] & 15];
    }
    hash[16] = '\0';
    return known;
}
