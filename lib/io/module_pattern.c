#include "io/module_pattern.h"

#include <stdbool.h>
#include <string.h>

/* Nothing is tried twice: what is carried along is the set of places in the name up to which the
 * pattern so far may have matched. */
enum { DEPTH_MAX = 8, LENGTH_MAX = 512, REPEATS_MAX = 255 };

typedef struct places {
    bool at[RAD_MODULE_NAME_MAX + 1];
} places;

typedef struct matcher {
    const char *name;
    size_t size;
    unsigned depth;
    uint32_t *steps;
    bool unknown; /* the answer is not wanted any more */
} matcher;

static const char *run_choices(matcher *m, const char *p, const places *from, places *to);

static const char *give_up(matcher *m, const char *p)
{
    m->unknown = true;
    return p + strlen(p);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether the character behind a backslash, which begins at p, is or means c. */
static bool is_escaped(matcher *m, const char *p, char c)
{
    const char kind = p[1];
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    switch (kind) {
    case 'd':
    case 'D':
        return is_digit(c) == (kind == 'd');
    case 'w':
    case 'W':
        return is_word(c) == (kind == 'w');
    case 's':
    case 'S':
        return space == (kind == 's');
    default:
        m->unknown = m->unknown || is_word(kind) || kind == '\0' || (unsigned char)kind >= 128;
        return kind == c;
    }
}

/* Whether a class of characters, from '[' to its ']' at `end`, has c. */
static bool is_in_class(matcher *m, const char *p, const char *end, char c)
{
    const bool other = p[1] == '^';
    bool found = false;
    for (p += other ? 2 : 1; p < end; p++) {
        if (*p == '\\') {
            found = is_escaped(m, p, c) || found;
            p++;
        } else if (p + 2 < end && p[1] == '-') {
            m->unknown = m->unknown || p[2] == '\\' || p[2] < p[0];
            found = found || (c >= p[0] && c <= p[2]);
            p += 2;
        } else {
            found = found || *p == c;
        }
        m->unknown = m->unknown || (unsigned char)*p >= 128;
    }
    return found != other;
}

/* Where a class that begins at p ends: a bracket that is its first character is one of it. */
static const char *class_end(matcher *m, const char *p)
{
    p += p[1] == '^' ? 2 : 1;
    for (p += *p == ']'; *p != ']'; p++) {
        if (*p == '\0' || (*p == '\\' && *++p == '\0'))
            return give_up(m, p);
    }
    return p;
}

/* One element of the pattern, without what says how often; gives where it ends. */
static const char *step(matcher *m, const char *p, const places *from, places *to)
{
    const char *end = p;
    memset(to, 0, m->size + 1);
    if (strchr("*+?{", *p) != NULL || (unsigned char)*p >= 128)
        return give_up(m, p);
    if (*p == '(') {
        if (p[1] == '?' && p[2] != ':')
            return give_up(m, p);
        end = run_choices(m, p + (p[1] == '?' ? 3 : 1), from, to);
        return *end == ')' ? end + 1 : give_up(m, end);
    }
    if (*p == '[')
        end = class_end(m, p);
    if (*p == '\\')
        (void)is_escaped(m, end++, '.');
    uint32_t cost = (uint32_t)(end - p) + 1;
    m->unknown = m->unknown || *m->steps < cost;
    *m->steps -= m->unknown ? *m->steps : cost;
    for (size_t i = 0; i <= m->size && !m->unknown; i++) {
        const char c = m->name[i];
        if (*p == '^' || *p == '$')
            to->at[i] = from->at[i] && i == (*p == '^' ? 0 : m->size);
        else if (i < m->size && from->at[i])
            to->at[i + 1] = *p == '['    ? is_in_class(m, p, end, c)
                            : *p == '\\' ? is_escaped(m, p, c)
                                         : *p == '.' || *p == c;
    }
    return m->unknown ? give_up(m, p) : end + 1;
}

static const char *read_number(const char *p, unsigned *number)
{
    for (*number = 0; is_digit(*p); p++)
        *number = *number > REPEATS_MAX ? *number : *number * 10 + (unsigned)(*p - '0');
    return p;
}

/* How often: *most is 0 where there is no end. */
static const char *read_repeats(matcher *m, const char *p, unsigned *least, unsigned *most)
{
    const char first = *p;
    *least = first == '*' || first == '?' ? 0 : 1;
    *most = first == '*' || first == '+' ? 0 : 1;
    if (first == '\0' || strchr("*+?{", first) == NULL)
        return p;
    p++;
    if (first == '{') {
        const char *digits = p;
        p = read_number(p, least);
        *most = *least;
        if (*p == ',')
            p = read_number(p + 1, most);
        if (p == digits || *p++ != '}' || *least > REPEATS_MAX || *most > REPEATS_MAX ||
            (*most == 0 && p[-2] != ',') || (*most != 0 && *most < *least))
            return give_up(m, digits);
    }
    p += *p == '?'; /* as few as possible: a matter of where, not of whether */
    return *p != '\0' && strchr("*+?{", *p) != NULL ? give_up(m, p) : p;
}

/* Adds places; whether any is new. */
static bool merge(const matcher *m, places *to, const places *more)
{
    bool grew = false;
    for (size_t i = 0; i <= m->size; i++) {
        grew = grew || (more->at[i] && !to->at[i]);
        to->at[i] = to->at[i] || more->at[i];
    }
    return grew;
}

static const char *run_repeated(matcher *m, const char *p, places *now)
{
    places next, all;
    unsigned least, most;
    const char *end = step(m, p, now, &next), *rest = read_repeats(m, end, &least, &most);
    if (least > 0)
        *now = next;
    for (unsigned i = 1; i < least && !m->unknown; i++) {
        (void)step(m, p, now, &next);
        *now = next;
    }
    all = *now;
    for (unsigned i = least; (most == 0 || i < most) && !m->unknown; i++) {
        (void)step(m, p, now, &next);
        *now = next;
        if (!merge(m, &all, now))
            break;
    }
    *now = all;
    return m->unknown ? give_up(m, p) : rest;
}

/* From p to the ')' that ends it, or to the end. */
static const char *run_choices(matcher *m, const char *p, const places *from, places *to)
{
    memset(to, 0, m->size + 1);
    if (++m->depth > DEPTH_MAX)
        return give_up(m, p);
    for (;; p++) {
        places now = *from;
        while (*p != '\0' && *p != '|' && *p != ')')
            p = run_repeated(m, p, &now);
        (void)merge(m, to, &now);
        if (*p != '|')
            break;
    }
    m->depth--;
    return p;
}

rad_pattern_result rad_module_pattern_match(const char *pattern, const char *name, uint32_t *steps)
{
    matcher m = {.name = name, .size = strlen(name), .steps = steps};
    places from = {{true}}, to;
    if (m.size > RAD_MODULE_NAME_MAX)
        return RAD_PATTERN_NO;
    if (strlen(pattern) > LENGTH_MAX)
        return RAD_PATTERN_UNKNOWN;
    for (size_t i = 1; i <= m.size; i++)
        from.at[i] = name[i - 1] == '.';
    if (*run_choices(&m, pattern, &from, &to) != '\0' || m.unknown)
        return RAD_PATTERN_UNKNOWN;
    return to.at[m.size] ? RAD_PATTERN_YES : RAD_PATTERN_NO;
}
