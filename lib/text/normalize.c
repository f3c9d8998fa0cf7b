/* The normalizers of tokenizer.json but for the Unicode forms. Each reads a view and writes a flow;
 * two flows take turns. */
#include <string.h>
#include <utf8proc.h>

#include "text/normal_form.h"
#include "text/bert.h"
#include "text/utf8.h"

/* ---- what each does with a character ------------------------------------------------------ */

static bool is_mark(uint32_t code)
{
    return (rad_char_classes(code) & RAD_CHAR_MARK) != 0;
}

static bool is_nonspacing(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_MN;
}

static bool nmt_drops(uint32_t code)
{
    return (code >= 1 && code <= 8) || code == 0xB || (code >= 0xE && code <= 0x1F) ||
           code == 0x7F || code == 0x8F || code == 0x9F;
}

static bool nmt_is_space(uint32_t code)
{
    return code == 9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
           (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 ||
           code == 0x2581 || code == 0xFEFF || code == RAD_REPLACEMENT;
}

static void put_character(const rad_normalizer *n, rad_flow *out, uint32_t code, uint32_t origin)
{
    switch (n->kind) {
    case RAD_NORMAL_LOWERCASE:
        rad_flow_put_code(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code), origin);
        if (code == 0x130) /* the only one that becomes two */
            rad_flow_put_code(out, 0x307, origin);
        return;
    case RAD_NORMAL_DROP_MARKS:
        if (!is_mark(code))
            rad_flow_put_code(out, code, origin);
        return;
    case RAD_NORMAL_DROP_NONSPACING:
        if (!is_nonspacing(code))
            rad_flow_put_code(out, code, origin);
        return;
    case RAD_NORMAL_BERT_CLEAN:
        if (!rad_bert_drops(code))
            rad_flow_put_code(out, rad_is_space(code) ? ' ' : code, origin);
        return;
    case RAD_NORMAL_NMT:
        if (!nmt_drops(code))
            rad_flow_put_code(out, nmt_is_space(code) ? ' ' : code, origin);
        return;
    default: /* RAD_NORMAL_BERT_CHINESE */
        if (!rad_bert_is_chinese(code)) {
            rad_flow_put_code(out, code, origin);
            return;
        }
        rad_flow_put_code(out, ' ', origin);
        rad_flow_put_code(out, code, origin);
        rad_flow_put_code(out, ' ', origin);
        return;
    }
}

static void map_characters(const rad_normalizer *n, const rad_slice *in, rad_flow *out)
{
    const uint8_t *end = in->bytes + in->size;
    for (const uint8_t *p = in->bytes; p < end;) {
        uint32_t code, origin = rad_slice_origin(in, (size_t)(p - in->bytes));
        p += rad_utf8_decode(p, end, &code);
        put_character(n, out, code, origin);
    }
}

/* ---- stretches ---------------------------------------------------------------------------- */

static rad_slice strip(const rad_normalizer *n, const rad_slice *in)
{
    size_t start = 0, end = in->size;
    uint32_t code;
    while (n->left && start < end) {
        uint32_t length = rad_utf8_decode(in->bytes + start, in->bytes + end, &code);
        if (!rad_is_space(code))
            break;
        start += length;
    }
    while (n->right && end > start) {
        size_t last = end - 1;
        while (last > start && (in->bytes[last] & 0xC0) == 0x80)
            last--;
        (void)rad_utf8_decode(in->bytes + last, in->bytes + end, &code);
        if (!rad_is_space(code))
            break;
        end = last;
    }
    return rad_slice_part(in, start, end - start);
}

static bool replace(const rad_normalizer *n, rad_pipeline_space *space, const rad_slice *in,
                    rad_flow *out)
{
    rad_pattern_walk walk = RAD_PATTERN_WALK;
    rad_regex_result found = RAD_REGEX_NONE;
    size_t at = 0, start, end;
    while (in->size > 0 && (found = rad_pattern_next(&n->pattern, space, in->bytes, in->size, &walk,
                                                     &start, &end)) == RAD_REGEX_MATCH) {
        rad_flow_copy(out, in, at, start - at);
        /* It comes from the last character that it replaces, as in the package. */
        size_t last = end > start ? end - 1 : start < in->size ? start : in->size - 1;
        while (last > start && (in->bytes[last] & 0xC0) == 0x80)
            last--;
        rad_flow_put(out, (const uint8_t *)n->content.data, n->content.size,
                     rad_slice_origin(in, last));
        at = end;
    }
    if (found == RAD_REGEX_FAILED)
        return false;
    rad_flow_copy(out, in, at, in->size - at);
    return true;
}

void rad_put_letters(const rad_slice *in, rad_flow *out)
{
    uint32_t origin = 0; /* of the character */
    for (size_t i = 0; i < in->size; i++) {
        if (i == 0 || (in->bytes[i] & 0xC0) != 0x80)
            origin = rad_slice_origin(in, i);
        rad_flow_put_code(out, rad_byte_to_letter(in->bytes[i]), origin);
    }
}

/* ---- SentencePiece's table ----------------------------------------------------------------- */

const uint8_t *rad_charsmap_find(const rad_charsmap *map, const uint8_t *text, size_t n,
                                 bool longest, size_t *size)
{
    const uint8_t *found = NULL;
    if (map->n_units == 0)
        return NULL;
    uint32_t unit = map->units[0];
    uint32_t node = unit >> 10 << ((unit & 1u << 9) >> 6);
    for (size_t i = 0; i < n && text[i] != 0 && (longest || found == NULL); i++) {
        node ^= text[i];
        if (node >= map->n_units)
            return found;
        unit = map->units[node];
        if ((unit & (1u << 31 | 0xFF)) != text[i])
            return found;
        node ^= unit >> 10 << ((unit & 1u << 9) >> 6);
        if ((unit >> 8 & 1) == 0)
            continue;
        if (node >= map->n_units)
            return found;
        uint32_t at = map->units[node] & ~(1u << 31);
        if (at >= map->texts_size || (map->texts[at] & 0xC0) == 0x80)
            return found;
        found = map->texts + at; /* a NUL stands behind the list */
        *size = i + 1;
    }
    return found;
}

static const uint8_t *look_up(const rad_charsmap *map, const uint8_t *text, size_t size,
                              size_t *replaced_size)
{
    size_t used;
    const uint8_t *found = rad_charsmap_find(map, text, size, false, &used);
    if (found != NULL)
        *replaced_size = strlen((const char *)found);
    return found;
}

static void put_mapped(const rad_charsmap *map, const rad_slice *in, size_t at, size_t size,
                       rad_flow *out)
{
    size_t replaced_size;
    const uint8_t *replaced = look_up(map, in->bytes + at, size, &replaced_size);
    if (replaced != NULL)
        rad_flow_put(out, replaced, replaced_size, rad_slice_origin(in, out->size == 0 ? 0 : at));
    else if (out->size == 0 && at > 0)
        /* What was dropped at the head counts as part of what follows, as in the package. */
        rad_flow_put(out, in->bytes + at, size, rad_slice_origin(in, 0));
    else
        rad_flow_copy(out, in, at, size);
}

/* What the reader sees as one character is looked up as a whole when it is short, else each of its
 * characters. */
static void put_cluster(const rad_charsmap *map, const rad_slice *in, size_t at, size_t size,
                        rad_flow *out)
{
    size_t replaced_size;
    if (size < 6 && look_up(map, in->bytes + at, size, &replaced_size) != NULL) {
        put_mapped(map, in, at, size, out);
        return;
    }
    for (size_t end = at + size; at < end;) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(in->bytes + at, in->bytes + end, &code);
        put_mapped(map, in, at, length, out);
        at += length;
    }
}

static void map_clusters(const rad_charsmap *map, const rad_slice *in, rad_flow *out)
{
    const uint8_t *end = in->bytes + in->size;
    utf8proc_int32_t state = 0;
    size_t start = 0;
    uint32_t before = 0;
    for (size_t at = 0; at < in->size;) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(in->bytes + at, end, &code);
        if (at > 0 && utf8proc_grapheme_break_stateful((utf8proc_int32_t)before,
                                                       (utf8proc_int32_t)code, &state)) {
            put_cluster(map, in, start, at - start, out);
            start = at;
        }
        before = code;
        at += length;
    }
    put_cluster(map, in, start, in->size - start, out);
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool is_ascii(const rad_slice *view)
{
    uint8_t any = 0;
    for (size_t i = 0; i < view->size; i++)
        any |= view->bytes[i];
    return any < 0x80;
}

/* One normalizer; *view becomes what it gives. */
static bool normalize_once(const rad_normalizer *n, rad_pipeline_space *space, rad_slice *view,
                           rad_flow *out)
{
    bool done = true;
    out->size = 0;
    switch (n->kind) {
    case RAD_NORMAL_STRIP:
        *view = strip(n, view);
        return true;
    case RAD_NORMAL_FORM:
        if (is_ascii(view))
            return true;
        done = rad_normal_form(n, space, view, out);
        break;
    case RAD_NORMAL_DROP_MARKS:
    case RAD_NORMAL_DROP_NONSPACING:
    case RAD_NORMAL_BERT_CHINESE:
        if (is_ascii(view))
            return true;
        map_characters(n, view, out);
        break;
    case RAD_NORMAL_PREPEND:
        rad_flow_put(out, (const uint8_t *)n->content.data, n->content.size,
                     rad_slice_origin(view, 0));
        rad_flow_copy(out, view, 0, view->size);
        break;
    case RAD_NORMAL_REPLACE:
        done = replace(n, space, view, out);
        break;
    case RAD_NORMAL_CHARSMAP:
        map_clusters(&n->charsmap, view, out);
        break;
    case RAD_NORMAL_LETTERS:
        rad_put_letters(view, out);
        break;
    default:
        map_characters(n, view, out);
        break;
    }
    if (!done)
        return false;
    if (out->failed)
        return rad_pipeline_fail(space,
                                 out->too_long ? RAD_PIPELINE_TOO_LONG : RAD_PIPELINE_MEMORY);
    *view = rad_flow_view(out);
    return true;
}

bool rad_normalize(const rad_pipeline *pipeline, rad_pipeline_space *space, rad_slice *view)
{
    for (uint32_t i = 0; i < pipeline->n_normalizers; i++) {
        if (view->size == 0)
            return true;
        rad_flow *out = &space->flows[rad_slice_lies_in(view, &space->flows[0]) ? 1 : 0];
        if (!normalize_once(&pipeline->normalizers[i], space, view, out))
            return false;
    }
    return true;
}
