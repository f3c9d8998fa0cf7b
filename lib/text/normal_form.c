#include "text/normal_form.h"

#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

#define EXPANDED_MAX 32 /* code points that one becomes; 18 at most */
#define INSERT_LIMIT 24

/* A starter and the marks behind it, in order of appearance. */
typedef struct segment {
    rad_pipeline_space *space;
    rad_flow *out;
    bool compose;
    size_t count;
    bool starts; /* the first of them is a starter */
} segment;

/* ---- order --------------------------------------------------------------------------------- */

/* What comes from where stays in order: only characters change their places. */
static void move_mark(rad_mark *to, const rad_mark *from)
{
    to->code = from->code;
    to->order = from->order;
}

static void insertion_sort(rad_mark *marks, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        rad_mark moved = marks[i];
        size_t at = i;
        for (; at > 0 && marks[at - 1].order > moved.order; at--)
            move_mark(&marks[at], &marks[at - 1]);
        move_mark(&marks[at], &moved);
    }
}

/* Sorts by class, equals in their order: by counting, since there are few classes. */
static bool counting_sort(rad_pipeline_space *space, rad_mark *marks, size_t count)
{
    if (!rad_reserve(space->allocator, (void **)&space->sorted, &space->sorted_capacity, count,
                     sizeof *space->sorted))
        return rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
    size_t place[257] = {0};
    for (size_t i = 0; i < count; i++)
        place[marks[i].order + 1]++;
    for (size_t class = 1; class < 257; class ++)
        place[class] += place[class - 1];
    for (size_t i = 0; i < count; i++)
        space->sorted[place[marks[i].order]++] = marks[i];
    for (size_t i = 0; i < count; i++)
        move_mark(&marks[i], &space->sorted[i]);
    return true;
}

/* ---- composition --------------------------------------------------------------------------- */

/* What two characters become together, or 0. */
static uint32_t pair(uint32_t first, uint32_t second)
{
    if (second < 0x300)
        return 0;
    utf8proc_int32_t both[3] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second, 0};
    utf8proc_ssize_t n = utf8proc_normalize_utf32(both, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return n == 1 ? (uint32_t)both[0] : 0;
}

/* Composes the starter with the marks that nothing of their class or a higher one keeps from it. */
static void compose(segment *s)
{
    rad_mark *marks = s->space->marks;
    size_t kept = 1;
    uint32_t highest = 0;
    for (size_t i = 1; i < s->count; i++) {
        bool blocked = kept > 1 && highest >= marks[i].order;
        uint32_t joint = blocked ? 0 : pair(marks[0].code, marks[i].code);
        if (joint != 0) {
            marks[0].code = joint;
            continue;
        }
        highest = marks[i].order;
        marks[kept++] = marks[i];
    }
    s->count = kept;
}

/* ---- segments ------------------------------------------------------------------------------ */

/* Puts what was gathered into its final order and form. */
static bool settle(segment *s)
{
    rad_mark *marks = s->space->marks;
    size_t first = s->starts ? 1 : 0;
    if (s->count > first + 1) {
        if (s->count - first <= INSERT_LIMIT)
            insertion_sort(marks + first, s->count - first);
        else if (!counting_sort(s->space, marks + first, s->count - first))
            return false;
    }
    if (s->compose && s->starts)
        compose(s);
    return true;
}

static void give(segment *s)
{
    for (size_t i = 0; i < s->count; i++)
        rad_flow_put_code(s->out, s->space->marks[i].code, s->space->marks[i].origin);
    s->count = 0;
}

static bool add(segment *s, uint32_t code, uint32_t origin)
{
    rad_pipeline_space *space = s->space;
    uint32_t order = utf8proc_get_property((utf8proc_int32_t)code)->combining_class & 0xFFu;
    if (order == 0) {
        if (s->count > 1 && !settle(s))
            return false;
        uint32_t joint =
            s->compose && s->starts && s->count == 1 ? pair(space->marks[0].code, code) : 0;
        if (joint != 0) {
            space->marks[0].code = joint;
            return true;
        }
        give(s);
        s->starts = true;
    } else if (s->count == 0) {
        s->starts = false;
    }
    if (!rad_reserve(space->allocator, (void **)&space->marks, &space->marks_capacity, s->count + 1,
                     sizeof *space->marks))
        return rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
    space->marks[s->count++] = (rad_mark){code, origin, order};
    return true;
}

bool rad_normal_form(const rad_normalizer *form, rad_pipeline_space *space, const rad_slice *in,
                     rad_flow *out)
{
    segment s = {.space = space, .out = out, .compose = form->compose};
    utf8proc_option_t options =
        UTF8PROC_DECOMPOSE | (form->compatibility ? UTF8PROC_COMPAT : (utf8proc_option_t)0);
    const uint8_t *end = in->bytes + in->size;
    for (const uint8_t *p = in->bytes; p < end;) {
        uint32_t code, origin = rad_slice_origin(in, (size_t)(p - in->bytes));
        p += rad_utf8_decode(p, end, &code);
        utf8proc_int32_t parts[EXPANDED_MAX] = {(utf8proc_int32_t)code};
        utf8proc_ssize_t n = 1;
        int last = 0;
        if (code >= 0x80)
            n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, EXPANDED_MAX, options,
                                        &last);
        if (n < 1 || n > EXPANDED_MAX) {
            parts[0] = (utf8proc_int32_t)code;
            n = 1;
        }
        for (utf8proc_ssize_t i = 0; i < n; i++)
            if (!add(&s, (uint32_t)parts[i], origin))
                return false;
    }
    if (!settle(&s))
        return false;
    give(&s);
    return true;
}
