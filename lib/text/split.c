/* The pre-tokenizers of tokenizer.json: they cut text into pieces, and some change it first. */
#include <string.h>

#include "text/pipeline.h"
#include "text/utf8.h"
#include "text/bert.h"
#include "text/script_table.h"
#include "text/vocabulary.h"

/* ---- patterns ------------------------------------------------------------------------------ */

typedef bool (*code_fn)(uint32_t code, uint32_t parameter);

/* Each character of a class is a match of its own. */
static bool find_by(code_fn in_class, const uint8_t *text, size_t size, size_t from,
                    uint32_t parameter, size_t *start, size_t *end)
{
    while (from < size) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(text + from, text + size, &code);
        if (in_class(code, parameter)) {
            *start = from;
            *end = from + length;
            return true;
        }
        from += length;
    }
    return false;
}

static bool is_space(uint32_t code, uint32_t parameter)
{
    (void)parameter;
    return rad_is_space(code);
}

static bool is_punctuation(uint32_t code, uint32_t parameter)
{
    (void)parameter;
    return rad_bert_is_punctuation(code);
}

static bool is_number(uint32_t code, uint32_t parameter)
{
    (void)parameter;
    return (rad_char_classes(code) & RAD_CHAR_NUMBER) != 0;
}

static bool is_code(uint32_t code, uint32_t parameter)
{
    return code == parameter;
}

bool rad_pattern_space(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                       size_t *start, size_t *end)
{
    return find_by(is_space, text, size, from, parameter, start, end);
}

bool rad_pattern_punctuation(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                             size_t *start, size_t *end)
{
    return find_by(is_punctuation, text, size, from, parameter, start, end);
}

bool rad_pattern_number(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                        size_t *start, size_t *end)
{
    return find_by(is_number, text, size, from, parameter, start, end);
}

bool rad_pattern_code(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                      size_t *start, size_t *end)
{
    return find_by(is_code, text, size, from, parameter, start, end);
}

/* 0: white space, 1: word, 2: something else. */
static int word_kind(uint32_t code)
{
    return rad_is_word_or_joiner(code) ? 1 : rad_is_space(code) ? 0 : 2;
}

/* A run of characters of one kind; 0 is no kind, and ends the run unless it joins it. */
static bool find_run(int (*kind_of)(uint32_t), bool joins, const uint8_t *text, size_t size,
                     size_t from, size_t *start, size_t *end)
{
    int kind = 0;
    for (size_t at = from; at < size;) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(text + at, text + size, &code);
        int here = kind_of(code);
        if (kind == 0) {
            *start = at;
            kind = here;
        } else if (here != kind && !(joins && here == 0)) {
            *end = at;
            return true;
        }
        at += length;
    }
    *end = size;
    return kind != 0;
}

bool rad_pattern_word(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                      size_t *start, size_t *end)
{
    (void)parameter;
    return find_run(word_kind, false, text, size, from, start, end);
}

/* Nothing where a character is no script's; spaces, among others. */
static int script_of(uint32_t code)
{
    size_t low = 0, high = rad_n_scripts; /* of the ranges, the last that begins at or before */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (rad_scripts[middle] >> 8 <= code)
            low = middle;
        else
            high = middle;
    }
    return (int)(rad_scripts[low] & 0xFF);
}

bool rad_pattern_script(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                        size_t *start, size_t *end)
{
    (void)parameter;
    return find_run(script_of, true, text, size, from, start, end);
}

static bool find_literal(rad_text literal, const uint8_t *text, size_t size, size_t from,
                         size_t *start, size_t *end)
{
    const uint8_t *p = text + from, *behind = text + size;
    if (literal.size == 0) { /* between all characters, as an expression that matches nothing */
        *start = *end = from;
        return true;
    }
    while ((size_t)(behind - p) >= literal.size) {
        p = memchr(p, literal.data[0], (size_t)(behind - p) - literal.size + 1);
        if (p == NULL)
            return false;
        if (memcmp(p, literal.data, literal.size) == 0) {
            *start = (size_t)(p - text);
            *end = *start + literal.size;
            return true;
        }
        p++;
    }
    return false;
}

/* The first match from `from` on. */
static rad_regex_result find_match(const rad_pattern *pattern, rad_pipeline_space *space,
                                   const uint8_t *text, size_t size, size_t from, size_t *start,
                                   size_t *end)
{
    bool found;
    if (pattern->regex != NULL) {
        rad_regex_result result =
            rad_regex_find(pattern->regex, &space->regex, text, size, from, start, end);
        if (result == RAD_REGEX_FAILED)
            (void)rad_pipeline_fail(space, space->regex.no_memory ? RAD_PIPELINE_MEMORY
                                                                  : RAD_PIPELINE_BUDGET);
        return result;
    }
    if (pattern->split != NULL) {
        *start = from;
        *end = from < size ? from + pattern->split(text + from, text + size) : from;
        return from < size ? RAD_REGEX_MATCH : RAD_REGEX_NONE;
    }
    if (pattern->find != NULL)
        found = pattern->find(text, size, from, pattern->parameter, start, end);
    else
        found = find_literal(pattern->literal, text, size, from, start, end);
    return found ? RAD_REGEX_MATCH : RAD_REGEX_NONE;
}

rad_regex_result rad_pattern_next(const rad_pattern *pattern, rad_pipeline_space *space,
                                  const uint8_t *text, size_t size, rad_pattern_walk *walk,
                                  size_t *start, size_t *end)
{
    while (walk->from <= size) {
        rad_regex_result found = find_match(pattern, space, text, size, walk->from, start, end);
        if (found != RAD_REGEX_MATCH)
            return found;
        if (*start != *end || walk->last != *end) {
            walk->from = walk->last = *end;
            return RAD_REGEX_MATCH;
        }
        uint32_t code; /* nothing, directly behind the last match */
        walk->from = *end + (*end < size ? rad_utf8_decode(text + *end, text + size, &code) : 1);
    }
    return RAD_REGEX_NONE;
}

/* ---- behaviors ----------------------------------------------------------------------------- */

/* Receives matches and what lies between them in order, and makes pieces of them. */
typedef struct cutter {
    rad_pipeline_space *space;
    rad_pieces *out;
    rad_behavior behavior;
    bool has_last;
    bool last_matches;
    size_t start; /* of the stretch that waits */
    size_t end;
} cutter;

static bool give(cutter *c, size_t start, size_t end)
{
    rad_pieces *out = c->out;
    if (start == end)
        return true;
    if (out->count == out->capacity &&
        !rad_reserve(c->space->allocator, (void **)&out->items, &out->capacity, out->count + 64,
                     sizeof *out->items))
        return rad_pipeline_fail(c->space, RAD_PIPELINE_MEMORY);
    out->items[out->count++] = (rad_piece){(uint32_t)start, (uint32_t)(end - start)};
    return true;
}

static bool take_stretch(cutter *c, size_t start, size_t end, bool matches)
{
    bool joins = false;
    switch (c->behavior) {
    case RAD_BEHAVIOR_REMOVED:
        return matches || give(c, start, end);
    case RAD_BEHAVIOR_ISOLATED:
        return give(c, start, end);
    case RAD_BEHAVIOR_CONTIGUOUS:
        joins = c->has_last && matches == c->last_matches;
        break;
    case RAD_BEHAVIOR_MERGED_WITH_PREVIOUS:
        joins = c->has_last && matches && !c->last_matches;
        break;
    case RAD_BEHAVIOR_MERGED_WITH_NEXT:
        joins = c->has_last && !matches && c->last_matches;
        break;
    }
    if (!joins && c->has_last && !give(c, c->start, c->end))
        return false;
    if (!joins)
        c->start = start;
    c->end = end;
    c->has_last = true;
    c->last_matches = matches;
    return true;
}

/* Cuts one piece by a pattern; offset: of the piece in its view. */
static bool cut_piece(const rad_splitter *s, rad_pipeline_space *space, const uint8_t *text,
                      size_t size, size_t offset, rad_pieces *out)
{
    cutter c = {.space = space, .out = out, .behavior = s->behavior};
    rad_pattern_walk walk = RAD_PATTERN_WALK;
    rad_regex_result found;
    size_t behind = 0, start, end;
    while ((found = rad_pattern_next(&s->pattern, space, text, size, &walk, &start, &end)) ==
           RAD_REGEX_MATCH) {
        if ((behind != start && !take_stretch(&c, offset + behind, offset + start, s->invert)) ||
            !take_stretch(&c, offset + start, offset + end, !s->invert))
            return false;
        behind = end;
    }
    if (found == RAD_REGEX_FAILED)
        return false;
    if (behind != size && !take_stretch(&c, offset + behind, offset + size, s->invert))
        return false;
    return !c.has_last || give(&c, c.start, c.end);
}

static bool cut_by_length(const rad_splitter *s, rad_pipeline_space *space, const uint8_t *text,
                          size_t size, size_t offset, rad_pieces *out)
{
    cutter c = {.space = space, .out = out};
    size_t start = 0;
    uint32_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        at += rad_utf8_decode(text + at, text + size, &code);
        if (++n == s->length || at == size) {
            if (!give(&c, offset + start, offset + at))
                return false;
            start = at;
            n = 0;
        }
    }
    return true;
}

/* ---- changes ------------------------------------------------------------------------------- */

static void put_metaspace(const rad_splitter *s, const rad_slice *piece, rad_flow *out)
{
    const uint8_t *mark = (const uint8_t *)s->content.data;
    size_t size = s->content.size;
    bool marked =
        piece->bytes[0] == ' ' || (piece->size >= size && memcmp(piece->bytes, mark, size) == 0);
    uint32_t first = rad_slice_origin(piece, 0);
    if (!marked &&
        (s->prepend == RAD_PREPEND_ALWAYS || (s->prepend == RAD_PREPEND_FIRST && first == 0)))
        rad_flow_put(out, mark, size, first);
    size_t at = 0;
    for (size_t i = 0; i < piece->size; i++) {
        if (piece->bytes[i] != ' ')
            continue;
        rad_flow_copy(out, piece, at, i - at);
        rad_flow_put(out, mark, size, rad_slice_origin(piece, i));
        at = i + 1;
    }
    rad_flow_copy(out, piece, at, piece->size - at);
}

static void put_changed(const rad_splitter *s, const rad_slice *piece, rad_flow *out)
{
    if (s->kind == RAD_SPLIT_METASPACE) {
        put_metaspace(s, piece, out);
        return;
    }
    if (s->kind == RAD_SPLIT_LETTERS) {
        rad_put_letters(piece, out);
        return;
    }
    if (piece->bytes[0] != ' ')
        rad_flow_put(out, (const uint8_t *)" ", 1, rad_slice_origin(piece, 0));
    rad_flow_copy(out, piece, 0, piece->size);
}

/* Writes all pieces anew; *view becomes the text that they lie in. */
static bool change_pieces(const rad_splitter *s, rad_pipeline_space *space, rad_slice *view)
{
    rad_flow *out = &space->flows[rad_slice_lies_in(view, &space->flows[2]) ? 3 : 2];
    out->size = 0;
    rad_pieces *pieces = &space->pieces[0];
    for (size_t i = 0; i < pieces->count; i++) {
        rad_slice piece = rad_slice_part(view, pieces->items[i].start, pieces->items[i].size);
        size_t start = out->size;
        put_changed(s, &piece, out);
        pieces->items[i].start = (uint32_t)start;
        pieces->items[i].size = (uint32_t)(out->size - start);
    }
    if (out->failed)
        return rad_pipeline_fail(space,
                                 out->too_long ? RAD_PIPELINE_TOO_LONG : RAD_PIPELINE_MEMORY);
    *view = rad_flow_view(out);
    return true;
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool cut_pieces(const rad_splitter *s, rad_pipeline_space *space, const rad_slice *view)
{
    rad_pieces *out = &space->pieces[1];
    out->count = 0;
    for (size_t i = 0; i < space->pieces[0].count; i++) {
        rad_piece piece = space->pieces[0].items[i];
        const uint8_t *text = view->bytes + piece.start;
        bool done = s->kind == RAD_SPLIT_FIXED_LENGTH
                        ? cut_by_length(s, space, text, piece.size, piece.start, out)
                        : cut_piece(s, space, text, piece.size, piece.start, out);
        if (!done)
            return false;
    }
    rad_pieces swapped = space->pieces[0];
    space->pieces[0] = space->pieces[1];
    space->pieces[1] = swapped;
    return true;
}

bool rad_pipeline_split(const rad_pipeline *pipeline, rad_pipeline_space *space, rad_slice *view)
{
    cutter whole = {.space = space, .out = &space->pieces[0]};
    space->pieces[0].count = 0;
    bool done = give(&whole, 0, view->size);
    for (uint32_t i = 0; done && i < pipeline->n_splitters; i++) {
        const rad_splitter *s = &pipeline->splitters[i];
        done = s->kind == RAD_SPLIT_PATTERN || s->kind == RAD_SPLIT_FIXED_LENGTH
                   ? cut_pieces(s, space, view)
                   : change_pieces(s, space, view);
    }
    return done;
}
