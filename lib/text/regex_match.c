/* The matcher: code is run with a stack of what to try next, so that no text makes it recurse. */
#include "text/regex_program.h"

#include <string.h>

#include "text/utf8.h"

#define FRAMES_MAX (1u << 22)

typedef enum frame_kind {
    FRAME_TRY,     /* go on at `at` from `position` */
    FRAME_SHORTER, /* a greedy loop in front of `at` gives back a character, down to `least` */
    FRAME_LONGER,  /* the lazy loop at `at` takes one more; `least` is how many it may */
    FRAME_RESTORE, /* register `at` was `position` */
    FRAME_LOOK,    /* the look at `at` failed; it began at `position` */
    FRAME_ATOMIC   /* the atomic group failed */
} frame_kind;

typedef struct matcher {
    const rad_regex *regex;
    rad_regex_space *space;
    const uint8_t *text;
    uint32_t size;
    uint32_t registers[RAD_RE_REGISTERS];
} matcher;

void rad_regex_space_free(rad_regex_space *space)
{
    size_t bytes = space->capacity * sizeof *space->frames;
    rad_wipe(space->frames, bytes);
    rad_free(space->allocator, space->frames, bytes);
    space->frames = NULL;
    space->capacity = space->n_frames = 0;
}

static inline bool spend(matcher *m, uint64_t steps)
{
    if (m->space->budget < steps) {
        m->space->budget = 0;
        return false;
    }
    m->space->budget -= steps;
    return true;
}

static bool push(matcher *m, frame_kind kind, uint32_t at, uint32_t position, uint32_t least)
{
    rad_regex_space *space = m->space;
    if (space->n_frames == space->capacity) {
        if (space->n_frames >= FRAMES_MAX)
            return false; /* as when the budget is used up */
        if (!rad_reserve(space->allocator, (void **)&space->frames, &space->capacity,
                         space->n_frames + 64, sizeof *space->frames)) {
            space->no_memory = true;
            return false;
        }
    }
    space->frames[space->n_frames++] = (rad_regex_frame){kind, at, position, least};
    return true;
}

/* ---- single characters -------------------------------------------------------------------- */

static inline uint32_t decode(const matcher *m, uint32_t at, uint32_t *code)
{
    if (m->text[at] < 128) {
        *code = m->text[at];
        return 1;
    }
    return rad_utf8_decode(m->text + at, m->text + m->size, code);
}

static inline bool in_set(const rad_regex *regex, uint32_t set, uint32_t code)
{
    const rad_regex_set *s = &regex->sets[set];
    return code < 128 ? (s->ascii[code / 32] >> code % 32 & 1) != 0
                      : rad_regex_in_set(regex, s, code);
}

static uint32_t before(const matcher *m, uint32_t at)
{
    do
        at--;
    while (at > 0 && (m->text[at] & 0xC0) == 0x80);
    return at;
}

/* The length of the character at `at` where the instruction matches it, or 0. */
static inline uint32_t match_one(const matcher *m, const rad_regex_code *code, uint32_t at)
{
    uint32_t c;
    if (at == m->size)
        return 0;
    uint32_t length = decode(m, at, &c);
    if (code->op == RAD_RE_CHAR)
        return c == code->a ? length : 0;
    if (code->op == RAD_RE_FOLD)
        return rad_regex_fold(c) == code->a ? length : 0;
    return in_set(m->regex, code->a, c) ? length : 0;
}

static bool word_at(const matcher *m, uint32_t at)
{
    uint32_t code;
    if (at == m->size)
        return false;
    (void)decode(m, at, &code);
    return rad_is_word(code) || code == 0xB2 || code == 0xB3 || code == 0xB9 ||
           (code >= 0xBC && code <= 0xBE); /* as \w */
}

static bool holds(const matcher *m, const rad_regex_code *code, uint32_t at)
{
    switch (code->op) {
    case RAD_RE_LINE_START:
        return at == 0 || (m->text[at - 1] == '\n' && at < m->size);
    case RAD_RE_LINE_END:
        return at == m->size || m->text[at] == '\n';
    case RAD_RE_TEXT_START:
        return at == 0;
    case RAD_RE_TEXT_END:
        return at == m->size;
    case RAD_RE_LAST_LINE:
        return at == m->size || (at + 1 == m->size && m->text[at] == '\n');
    default: {
        bool left = at > 0 && word_at(m, before(m, at));
        return (left != word_at(m, at)) != (code->negated != 0);
    }
    }
}

/* ---- loops -------------------------------------------------------------------------------- */

/* Takes as many characters as it may; false when it fails for good. *matched: at least `low`. */
static bool run_loop(matcher *m, uint32_t pc, uint32_t *at, bool *matched)
{
    const rad_regex_code *code = &m->regex->code[pc];
    uint32_t wanted = code->mode == RAD_RE_LAZY ? code->low : code->high;
    uint32_t n = 0, length, least = *at, q = *at;
    while (n < wanted && (length = match_one(m, code, q)) > 0) {
        q += length;
        if (++n == code->low)
            least = q;
    }
    *matched = n >= code->low;
    if (!spend(m, n + 1))
        return false;
    if (!*matched)
        return true;
    *at = q;
    if (code->mode == RAD_RE_GREEDY && q > least)
        return push(m, FRAME_SHORTER, pc + 1, q, least);
    if (code->mode == RAD_RE_LAZY && code->high > n)
        return push(m, FRAME_LONGER, pc, q, code->high == UINT32_MAX ? UINT32_MAX : code->high - n);
    return true;
}

/* ---- going back --------------------------------------------------------------------------- */

typedef enum outcome { GOES_ON, NO_MATCH, STOPPED } outcome;

/* Takes up what was put aside last. */
static outcome go_back(matcher *m, uint32_t *pc, uint32_t *at)
{
    rad_regex_space *space = m->space;
    while (space->n_frames > 0) {
        rad_regex_frame frame = space->frames[--space->n_frames];
        if (!spend(m, 1))
            return STOPPED;
        const rad_regex_code *code;
        uint32_t length;
        switch ((frame_kind)frame.kind) {
        case FRAME_TRY:
            *pc = frame.at;
            *at = frame.position;
            return GOES_ON;
        case FRAME_SHORTER:
            *pc = frame.at;
            *at = before(m, frame.position);
            if (*at > frame.least && !push(m, FRAME_SHORTER, frame.at, *at, frame.least))
                return STOPPED;
            return GOES_ON;
        case FRAME_LONGER:
            code = &m->regex->code[frame.at];
            length = match_one(m, code, frame.position);
            if (length == 0)
                break;
            *pc = frame.at + 1;
            *at = frame.position + length;
            if (frame.least > 1 && !push(m, FRAME_LONGER, frame.at, *at,
                                         frame.least == UINT32_MAX ? UINT32_MAX : frame.least - 1))
                return STOPPED;
            return GOES_ON;
        case FRAME_RESTORE:
            m->registers[frame.at] = frame.position;
            break;
        case FRAME_LOOK:
            code = &m->regex->code[frame.at];
            if (!code->negated)
                break;
            *pc = frame.at + code->a;
            *at = frame.position;
            return GOES_ON;
        case FRAME_ATOMIC:
            break;
        }
    }
    return NO_MATCH;
}

/* The end of a look or an atomic group: what was put aside inside is given up. */
static outcome end_inner(matcher *m, uint32_t *pc, uint32_t *at)
{
    rad_regex_space *space = m->space;
    for (;;) {
        rad_regex_frame frame = space->frames[--space->n_frames];
        if (frame.kind == FRAME_RESTORE)
            m->registers[frame.at] = frame.position;
        if (frame.kind == FRAME_ATOMIC) {
            *pc += 1;
            return GOES_ON;
        }
        if (frame.kind != FRAME_LOOK)
            continue;
        const rad_regex_code *code = &m->regex->code[frame.at];
        if (code->negated)
            return go_back(m, pc, at);
        *pc = frame.at + code->a;
        *at = frame.position;
        return GOES_ON;
    }
}

/* Begins a look; false where a look-behind has no room. */
static bool begin_look(matcher *m, uint32_t pc, uint32_t *at, bool *stopped)
{
    const rad_regex_code *code = &m->regex->code[pc];
    uint32_t from = *at;
    for (uint32_t i = 0; i < code->b && code->behind; i++) {
        if (from == 0)
            return false;
        from = before(m, from);
    }
    *stopped = !push(m, FRAME_LOOK, pc, *at, 0);
    *at = from;
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* One instruction. False: it does not match. */
static bool run_one(matcher *m, uint32_t *pc, uint32_t *at, bool *stopped)
{
    const rad_regex_code *code = &m->regex->code[*pc];
    uint32_t length;
    bool matched = true;
    switch (code->op) {
    case RAD_RE_CHAR:
    case RAD_RE_FOLD:
    case RAD_RE_SET:
        length = match_one(m, code, *at);
        *at += length;
        matched = length > 0;
        break;
    case RAD_RE_LOOP:
        *stopped = !run_loop(m, *pc, at, &matched);
        break;
    case RAD_RE_SPLIT:
        if (code->mode == RAD_RE_LAZY) {
            *stopped = !push(m, FRAME_TRY, *pc + 1, *at, 0);
            *pc += code->a;
            return true;
        }
        *stopped = !push(m, FRAME_TRY, *pc + code->a, *at, 0);
        break;
    case RAD_RE_JUMP:
        *pc += code->a;
        return true;
    case RAD_RE_LOOK:
        matched = begin_look(m, *pc, at, stopped);
        if (!matched && code->negated) {
            *pc += code->a;
            return true;
        }
        break;
    case RAD_RE_ATOMIC:
        *stopped = !push(m, FRAME_ATOMIC, *pc, *at, 0);
        break;
    case RAD_RE_MARK:
        *stopped = !push(m, FRAME_RESTORE, code->a, m->registers[code->a], 0);
        m->registers[code->a] = *at;
        break;
    case RAD_RE_MOVED:
        *pc += m->registers[code->a] == *at ? code->b : 1;
        return true;
    default:
        matched = holds(m, code, *at);
        break;
    }
    *pc += 1;
    return matched;
}

static rad_regex_result match_at(matcher *m, uint32_t start, uint32_t *end)
{
    uint32_t pc = 0, at = start;
    m->space->n_frames = 0;
    for (;;) {
        uint8_t op = m->regex->code[pc].op;
        outcome next = GOES_ON;
        bool stopped = false;
        if (op == RAD_RE_MATCH) {
            *end = at;
            return RAD_REGEX_MATCH;
        }
        if (!spend(m, 1))
            return RAD_REGEX_FAILED;
        if (op == RAD_RE_INNER_END)
            next = end_inner(m, &pc, &at);
        else if (!run_one(m, &pc, &at, &stopped))
            next = go_back(m, &pc, &at);
        if (stopped || next == STOPPED)
            return RAD_REGEX_FAILED;
        if (next == NO_MATCH)
            return RAD_REGEX_NONE;
    }
}

rad_regex_result rad_regex_find(const rad_regex *regex, rad_regex_space *space, const uint8_t *text,
                                size_t size, size_t from, size_t *start, size_t *end)
{
    matcher m = {.regex = regex, .space = space, .text = text, .size = (uint32_t)size};
    for (uint32_t at = (uint32_t)from; at <= m.size;) {
        uint32_t behind = at;
        rad_regex_result result = match_at(&m, at, &behind);
        if (result != RAD_REGEX_NONE) {
            *start = at;
            *end = behind;
            return result;
        }
        if (at == m.size)
            break;
        uint32_t code;
        at += decode(&m, at, &code);
    }
    return RAD_REGEX_NONE;
}
