/* The way of a text through the parts of a tokenizer.json. */
#include "text/pipeline.h"

#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

/* Patterns may take this many steps, and for each byte of the text this many more: a hundred times
 * what those in use take. */
#define BUDGET_BASE     (UINT64_C(1) << 22)
#define BUDGET_PER_BYTE 200
/* Normalizers and pre-tokenizers may make a text this many times as long; Unicode's forms alone
 * make it up to 18 times as long. */
#define LONGER_MAX 64

/* ---- memory of a call ---------------------------------------------------------------------- */

uint64_t rad_pipeline_budget(size_t size)
{
    return BUDGET_BASE + (uint64_t)size * BUDGET_PER_BYTE;
}

void rad_pipeline_space_start(rad_pipeline_space *space, const rad_allocator *allocator,
                              size_t size)
{
    memset(space, 0, sizeof *space);
    space->allocator = allocator;
    for (size_t i = 0; i < 4; i++) {
        space->flows[i].allocator = allocator;
        space->flows[i].limit =
            size < (UINT32_MAX - 4096) / LONGER_MAX ? size * LONGER_MAX + 4096 : UINT32_MAX;
    }
    space->regex.allocator = allocator;
    space->regex.budget = rad_pipeline_budget(size);
}

static void wipe_free(const rad_allocator *allocator, void *data, size_t bytes)
{
    rad_wipe(data, bytes);
    rad_free(allocator, data, bytes);
}

void rad_pipeline_space_free(rad_pipeline_space *space)
{
    const rad_allocator *allocator = space->allocator;
    for (size_t i = 0; i < 4; i++)
        rad_flow_free(&space->flows[i]);
    for (size_t i = 0; i < 2; i++)
        rad_free(allocator, space->pieces[i].items,
                 space->pieces[i].capacity * sizeof *space->pieces[i].items);
    rad_regex_space_free(&space->regex);
    wipe_free(allocator, space->marks, space->marks_capacity * sizeof *space->marks);
    wipe_free(allocator, space->sorted, space->sorted_capacity * sizeof *space->sorted);
    wipe_free(allocator, space->words, space->words_capacity);
    wipe_free(allocator, space->path, space->path_capacity * sizeof *space->path);
}

bool rad_pipeline_fail(rad_pipeline_space *space, rad_pipeline_failure failure)
{
    if (space->failure == RAD_PIPELINE_FINE)
        space->failure = failure;
    return false;
}

radllm_status rad_pipeline_report(rad_pipeline_failure failure, size_t size, radllm_error *error)
{
    switch (failure) {
    case RAD_PIPELINE_BUDGET:
        return rad_fail(error, RADLLM_E_LIMIT,
                        "a pattern of the tokenizer takes more steps on this text than it may: "
                        "the pattern is unusual or hostile; cut the text into parts, or use "
                        "another tokenizer");
    case RAD_PIPELINE_TOO_LONG:
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the normalizers of tokenizer.json make this text more than %d times as "
                        "long: the file is unusual or hostile",
                        LONGER_MAX);
    case RAD_PIPELINE_NO_UNKNOWN:
        return rad_fail(error, RADLLM_E_FORMAT,
                        "the text holds something that no token of tokenizer.json stands for, and "
                        "its token for what is unknown is not in the vocabulary");
    default:
        return rad_fail_memory(error, size);
    }
}

/* ---- added tokens -------------------------------------------------------------------------- */

/* Text that is being cut at added tokens, and what to do with what lies between them. */
typedef struct walk {
    rad_encoder *encoder;
    rad_pipeline_space *space;
    rad_stretches *stretches;
    rad_stretches *inner; /* for what is normalized */
    bool (*between)(struct walk *walk, const rad_slice *view);
} walk;

/* Whether a word ends in front of `at`, or begins there. */
static bool word_ends(const rad_slice *view, size_t at)
{
    uint32_t code;
    if (at == 0)
        return false;
    size_t before = at - 1;
    while (before > 0 && (view->bytes[before] & 0xC0) == 0x80)
        before--;
    (void)rad_utf8_decode(view->bytes + before, view->bytes + at, &code);
    return rad_is_word_or_joiner(code);
}

static bool word_begins(const rad_slice *view, size_t at)
{
    uint32_t code;
    if (at == view->size)
        return false;
    (void)rad_utf8_decode(view->bytes + at, view->bytes + view->size, &code);
    return rad_is_word_or_joiner(code);
}

static size_t skip_spaces_back(const rad_slice *view, size_t at, size_t least)
{
    while (at > least) {
        size_t before = at - 1;
        uint32_t code;
        while (before > least && (view->bytes[before] & 0xC0) == 0x80)
            before--;
        (void)rad_utf8_decode(view->bytes + before, view->bytes + at, &code);
        if (!rad_is_space(code))
            break;
        at = before;
    }
    return at;
}

static size_t skip_spaces(const rad_slice *view, size_t at)
{
    while (at < view->size) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(view->bytes + at, view->bytes + view->size, &code);
        if (!rad_is_space(code))
            break;
        at += length;
    }
    return at;
}

bool rad_added_place(uint8_t flags, const rad_slice *view, size_t start, size_t *from,
                     size_t *behind)
{
    if ((flags & RAD_ADDED_SINGLE_WORD) != 0 &&
        (word_ends(view, *from) || word_begins(view, *behind)))
        return false;
    if ((flags & RAD_ADDED_LSTRIP) != 0)
        *from = *from < start ? start : skip_spaces_back(view, *from, start);
    if ((flags & RAD_ADDED_RSTRIP) != 0)
        *behind = *behind < start ? start : skip_spaces(view, *behind);
    return *from < *behind; /* else the one before took it as white space */
}

/* Behind the last byte at or behind `at` that a control token which begins there may reach. */
static const uint8_t *parse_end(walk *w, const rad_slice *view, size_t at)
{
    rad_stretches_move(w->stretches, rad_slice_origin(view, at));
    size_t end = w->stretches->parse_end;
    if (end == 0)
        return view->bytes + at;
    if (view->origins == NULL) {
        size_t room = end > view->base ? end - view->base : 0;
        return view->bytes + (room < view->size ? room : view->size);
    }
    size_t reach = at;
    while (reach < view->size && reach - at < RAD_SPECIAL_MAX && view->origins[reach] < end)
        reach++;
    return view->bytes + reach;
}

/* Cuts the view at the tokens of one set; what lies between them goes on. */
static bool cut_at_added(walk *w, const rad_specials *set, const rad_slice *view)
{
    const rad_pipeline *pipeline = w->encoder->tokenizer->pipeline;
    const uint8_t *end = view->bytes + view->size;
    size_t start = 0; /* of what was not given yet */
    for (size_t at = 0; at < view->size;) {
        if (set->root[view->bytes[at]] == 0) {
            at++;
            continue;
        }
        size_t length = 0;
        int32_t id =
            rad_specials_match(set, view->bytes + at, parse_end(w, view, at), end, &length);
        if (id < 0) {
            at++;
            continue;
        }
        size_t from = at, behind = at + length;
        at = behind;
        if (!rad_added_place(pipeline->added != NULL ? pipeline->added[id] : 0, view, start, &from,
                             &behind))
            continue;
        if (start < from) {
            rad_slice part = rad_slice_part(view, start, from - start);
            if (!w->between(w, &part))
                return false;
        }
        if (!rad_encoder_push(w->encoder, id))
            return rad_pipeline_fail(w->space, RAD_PIPELINE_MEMORY);
        start = behind;
    }
    rad_slice rest = rad_slice_part(view, start, view->size - start);
    return rest.size == 0 || w->between(w, &rest);
}

/* ---- the stretches between them ------------------------------------------------------------- */

static bool encode_pieces(walk *w, const rad_slice *normalized)
{
    rad_slice view = *normalized;
    rad_pipeline_space *space = w->space;
    if (!rad_pipeline_split(w->encoder->tokenizer->pipeline, space, &view))
        return false;
    for (size_t i = 0; i < space->pieces[0].count; i++) {
        rad_piece piece = space->pieces[0].items[i];
        if (!rad_pipeline_encode_piece(w->encoder, space, view.bytes + piece.start, piece.size))
            return false;
    }
    return true;
}

static bool encode_stretch(walk *w, const rad_slice *raw)
{
    const rad_pipeline *pipeline = w->encoder->tokenizer->pipeline;
    rad_slice view = *raw;
    if (!rad_normalize(pipeline, w->space, &view))
        return false;
    if (view.size == 0)
        return true;
    if (!pipeline->has_normalized)
        return encode_pieces(w, &view);
    walk inner = {w->encoder, w->space, w->inner, NULL, encode_pieces};
    return cut_at_added(&inner, &pipeline->normalized, &view);
}

/* ---- the whole ------------------------------------------------------------------------------ */

bool rad_pipeline_add(rad_encoder *encoder, bool head)
{
    const rad_pipeline *pipeline = encoder->tokenizer->pipeline;
    const int32_t *ids = head ? pipeline->before : pipeline->after;
    uint32_t count = head ? pipeline->n_before : pipeline->n_after;
    for (uint32_t i = 0; i < count; i++)
        if (!rad_encoder_push(encoder, ids[i]))
            return false;
    return true;
}

bool rad_encode_pipeline(rad_encoder *encoder, const uint8_t *text, size_t size, rad_stretches *s)
{
    rad_pipeline_space space;
    rad_pipeline_space_start(&space, encoder->space.allocator, size);
    rad_slice view = {text, NULL, 0, size};
    rad_stretches inner = *s;
    walk w = {encoder, &space, s, &inner, encode_stretch};
    bool done = cut_at_added(&w, &encoder->tokenizer->pipeline->raw, &view);
    encoder->failure = space.failure;
    rad_pipeline_space_free(&space);
    return done;
}

/* Copies text with U+FFFD for what is no UTF-8; returns the length. out may be NULL. */
static size_t clean(const uint8_t *text, size_t size, uint8_t *out)
{
    size_t written = 0;
    for (size_t at = 0; at < size;) {
        int length = rad_utf8_strict(text + at, text + size);
        if (length > 0) {
            if (out != NULL)
                memcpy(out + written, text + at, (size_t)length);
            written += (size_t)length;
            at += (size_t)length;
            continue;
        }
        if (out != NULL)
            memcpy(out + written, "\xEF\xBF\xBD", 3);
        written += 3;
        at += length == 0 ? size - at : (size_t)-length;
    }
    return written;
}

static bool is_utf8(const uint8_t *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        uint64_t eight;
        if (size - at >= 8) {
            memcpy(&eight, text + at, 8);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += 8;
                continue;
            }
        }
        int length = rad_utf8_strict(text + at, text + size);
        if (length <= 0)
            return false;
        at += (size_t)length;
    }
    return true;
}

/* Spans that are made well-formed, each by itself, and joined. */
static radllm_status encode_cleaned(const rad_tokenizer *tokenizer, const rad_text_span *spans,
                                    size_t count, uint32_t flags, rad_tokens *out,
                                    radllm_error *error)
{
    const rad_allocator *allocator = &tokenizer->host.allocator;
    size_t size = 0, spans_bytes = (count + 1) * sizeof *spans;
    for (size_t i = 0; i < count; i++)
        size += clean((const uint8_t *)spans[i].text.data, spans[i].text.size, NULL);
    if (size > INT32_MAX)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the text to tokenize is longer than %d bytes; cut it into parts",
                        INT32_MAX);
    uint8_t *joined = rad_alloc(allocator, size + 1);
    rad_text_span *cleaned = rad_alloc(allocator, spans_bytes);
    radllm_status status = RADLLM_OK;
    if (joined == NULL || cleaned == NULL)
        status = rad_fail_memory(error, size + 1 + spans_bytes);
    size_t at = 0;
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        size_t length = clean((const uint8_t *)spans[i].text.data, spans[i].text.size, joined + at);
        cleaned[i] = (rad_text_span){{(const char *)joined + at, length}, spans[i].parse};
        at += length;
    }
    if (status == RADLLM_OK)
        status = rad_encode_joined(tokenizer, joined, size, cleaned, count, flags, out, error);
    wipe_free(allocator, joined, joined != NULL ? size + 1 : 0);
    rad_free(allocator, cleaned, spans_bytes);
    return status;
}

radllm_status rad_encode_pipeline_spans(const rad_tokenizer *tokenizer, const rad_text_span *spans,
                                        size_t count, size_t size, uint32_t flags, rad_tokens *out,
                                        radllm_error *error)
{
    if (count == 0 || size == 0)
        return rad_encode_joined(tokenizer, (const uint8_t *)"", 0, spans, 0, flags, out, error);
    if (count == 1 && is_utf8((const uint8_t *)spans[0].text.data, size))
        return rad_encode_joined(tokenizer, (const uint8_t *)spans[0].text.data, size, spans, 1,
                                 flags, out, error);
    return encode_cleaned(tokenizer, spans, count, flags, out, error);
}
