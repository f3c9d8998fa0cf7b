/* Reads the decoder of tokenizer.json and makes what each token stands for in text. Decoders work
 * token by token here, so that a stream gives what the whole gives; those that cannot are refused.
 */
#include <string.h>

#include "text/pipeline_read.h"
#include "text/utf8.h"

/* ---- reading --------------------------------------------------------------------------------- */

/* Fuse and ByteLevel make one text of all tokens; only a strip of its head may follow. ByteFallback
 * makes one of neighbours, which only Fuse would not see. */
static radllm_status add_decoder(rad_pipeline_reader *r, uint32_t part, rad_decoder decoder,
                                 bool *joined)
{
    rad_pipeline *pipeline = r->pipeline;
    if (*joined || (pipeline->n_decoders > 0 &&
                    pipeline->decoders[pipeline->n_decoders - 1].kind == RAD_DECODE_BYTE_FALLBACK))
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "tokenizer.json: behind a decoder that joins tokens (ByteFallback, "
                        "ByteLevel, Fuse) this version knows \"Fuse\" and then \"Strip\" of the "
                        "beginning alone");
    if (pipeline->n_decoders == RAD_PARTS_MAX)
        return rad_refuse_part(r, part, "decoder behind 64 others");
    pipeline->decoders[pipeline->n_decoders++] = decoder;
    if (decoder.kind == RAD_DECODE_BYTE_LEVEL)
        *joined = true;
    return RADLLM_OK;
}

static radllm_status read_strip(rad_pipeline_reader *r, uint32_t part, bool joined)
{
    rad_pipeline *pipeline = r->pipeline;
    rad_decoder decoder = {.kind = RAD_DECODE_STRIP};
    const char *what = "a Strip";
    radllm_status status = rad_read_string(r, part, what, "content", 4, &decoder.text);
    if (status == RADLLM_OK)
        status = rad_read_count(r, part, what, "start", 0, 255, &decoder.start);
    if (status == RADLLM_OK)
        status = rad_read_count(r, part, what, "stop", 0, 255, &decoder.stop);
    if (status != RADLLM_OK || decoder.text.size == 0)
        return status;
    if (!joined)
        return add_decoder(r, part, decoder, &joined);
    if (decoder.stop != 0 || pipeline->strip_head != 0)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "tokenizer.json: a decoder strips the end of the whole text, or its "
                        "beginning twice, which this version does not know");
    pipeline->strip_head = decoder.start;
    pipeline->strip_text = decoder.text;
    return RADLLM_OK;
}

static bool is_type(const rad_pipeline_reader *r, uint32_t part, const char *name)
{
    return rad_tree_is(&r->json, rad_tree_get(&r->json, part, "type"), name);
}

static radllm_status read_metaspace(rad_pipeline_reader *r, uint32_t part, rad_decoder *decoder)
{
    uint32_t scheme = rad_tree_get(&r->json, part, "prepend_scheme");
    bool prefix;
    radllm_status status =
        rad_read_string(r, part, "a Metaspace", "replacement", 4, &decoder->text);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a Metaspace", "add_prefix_space", true, &prefix);
    decoder->kind = RAD_DECODE_METASPACE;
    if (status == RADLLM_OK)
        decoder->keep_first = rad_tree_kind_of(&r->json, scheme) == RAD_TREE_NULL
                                  ? !prefix
                                  : rad_tree_is(&r->json, scheme, "never");
    return status;
}

static radllm_status read_wordpiece(rad_pipeline_reader *r, uint32_t part, rad_decoder *decoder)
{
    decoder->kind = RAD_DECODE_WORDPIECE;
    radllm_status status =
        rad_read_string(r, part, "a WordPiece", "prefix", RAD_CONTENT_MAX, &decoder->text);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a WordPiece", "cleanup", true, &decoder->cleanup);
    return status;
}

static radllm_status read_bpe(rad_pipeline_reader *r, uint32_t part, rad_decoder *decoder)
{
    decoder->kind = RAD_DECODE_BPE;
    radllm_status status =
        rad_read_string(r, part, "a BPEDecoder", "suffix", RAD_CONTENT_MAX, &decoder->text);
    return status == RADLLM_OK && decoder->text.size == 0
               ? rad_refuse_part(r, part, "decoder without a suffix")
               : status;
}

/* That neighbours are equal is seen in tokens as they are. */
static radllm_status read_ctc(rad_pipeline_reader *r, uint32_t part, rad_decoder *decoder)
{
    const char *what = "a CTC";
    decoder->kind = RAD_DECODE_CTC;
    if (r->pipeline->n_decoders > 0)
        return rad_refuse_part(r, part, "decoder behind others");
    r->pipeline->no_repeats = true;
    radllm_status status =
        rad_read_string(r, part, what, "pad_token", RAD_CONTENT_MAX, &decoder->text);
    if (status == RADLLM_OK)
        status = rad_read_string(r, part, what, "word_delimiter_token", RAD_CONTENT_MAX,
                                 &decoder->content);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, what, "cleanup", true, &decoder->cleanup);
    return status == RADLLM_OK && decoder->content.size == 0
               ? rad_refuse_part(r, part, "decoder without a word_delimiter_token")
               : status;
}

/* Parts of a sequence are read one by one; this says across them that the tokens were joined. */
static radllm_status read_decoder(rad_pipeline_reader *r, uint32_t part)
{
    rad_pipeline *pipeline = r->pipeline;
    rad_decoder decoder = {0};
    bool joined = pipeline->joined;
    radllm_status status = RADLLM_OK;
    if (is_type(r, part, "Fuse")) {
        pipeline->joined = true;
        return RADLLM_OK;
    }
    if (is_type(r, part, "Strip"))
        return read_strip(r, part, joined);
    if (is_type(r, part, "ByteLevel")) {
        decoder.kind = RAD_DECODE_BYTE_LEVEL;
    } else if (is_type(r, part, "ByteFallback")) {
        decoder.kind = RAD_DECODE_BYTE_FALLBACK;
    } else if (is_type(r, part, "Metaspace")) {
        status = read_metaspace(r, part, &decoder);
    } else if (is_type(r, part, "WordPiece")) {
        status = read_wordpiece(r, part, &decoder);
    } else if (is_type(r, part, "BPEDecoder")) {
        status = read_bpe(r, part, &decoder);
    } else if (is_type(r, part, "CTC")) {
        status = read_ctc(r, part, &decoder);
    } else if (is_type(r, part, "Replace")) {
        decoder.kind = RAD_DECODE_REPLACE;
        status = rad_read_pattern(r, part, "a Replace", &decoder.pattern);
        if (status == RADLLM_OK)
            status =
                rad_read_string(r, part, "a Replace", "content", RAD_CONTENT_MAX, &decoder.content);
    } else {
        return rad_refuse_part(r, part, "decoder");
    }
    if (status == RADLLM_OK)
        status = add_decoder(r, part, decoder, &joined);
    pipeline->joined = joined;
    return status;
}

/* ---- one token ------------------------------------------------------------------------------- */

typedef struct decoding {
    rad_pipeline_reader *r;
    rad_pipeline_space space;
    rad_pipeline_space normal; /* for normalizers */
    bool first;                /* the token comes first */
    bool last;                 /* and no other behind it */
} decoding;

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void decode_letters(const rad_slice *in, rad_flow *out)
{
    const uint8_t *end = in->bytes + in->size;
    for (const uint8_t *p = in->bytes; p < end;) {
        uint32_t code;
        p += rad_utf8_decode(p, end, &code);
        int byte = rad_letter_to_byte(code);
        if (byte < 0) { /* not of the alphabet: the token stands for itself */
            out->size = 0;
            rad_flow_put(out, in->bytes, in->size, 0);
            return;
        }
        uint8_t one = (uint8_t)byte;
        rad_flow_put(out, &one, 1, 0);
    }
}

static void decode_fallback(const rad_slice *in, rad_flow *out)
{
    const uint8_t *t = in->bytes;
    if (in->size == 6 && memcmp(t, "<0x", 3) == 0 && t[5] == '>' && hex_digit(t[3]) >= 0 &&
        hex_digit(t[4]) >= 0) {
        uint8_t byte = (uint8_t)(hex_digit(t[3]) * 16 + hex_digit(t[4]));
        rad_flow_put(out, &byte, 1, 0);
        return;
    }
    rad_flow_put(out, t, in->size, 0);
}

static void replace_all(const rad_slice *in, rad_text from, const char *to, size_t to_size,
                        rad_flow *out)
{
    for (size_t at = 0; at < in->size;) {
        if (from.size > 0 && in->size - at >= from.size &&
            memcmp(in->bytes + at, from.data, from.size) == 0) {
            rad_flow_put(out, (const uint8_t *)to, to_size, 0);
            at += from.size;
        } else {
            rad_flow_put(out, in->bytes + at++, 1, 0);
        }
    }
}

/* What the package cleans up behind WordPiece, in its order. */
static const char *const clean_ups[][2] = {
    {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

static void replace_again(rad_flow *text, rad_flow *other, rad_text from, const char *to)
{
    rad_slice view = rad_flow_view(text);
    other->size = 0;
    replace_all(&view, from, to, strlen(to), other);
    view = rad_flow_view(other);
    text->size = 0;
    rad_flow_put(text, view.bytes, view.size, 0);
}

static void clean_up(rad_flow *text, rad_flow *other)
{
    for (size_t i = 0; i < sizeof clean_ups / sizeof *clean_ups; i++)
        replace_again(text, other, (rad_text){clean_ups[i][0], strlen(clean_ups[i][0])},
                      clean_ups[i][1]);
}

static void decode_wordpiece(const rad_decoder *d, bool first, const rad_slice *in, rad_flow *out,
                             rad_flow *other)
{
    size_t skipped = 0;
    bool continues = d->text.size > 0 && in->size >= d->text.size &&
                     memcmp(in->bytes, d->text.data, d->text.size) == 0;
    if (!first && continues)
        skipped = d->text.size;
    else if (!first && d->text.size > 0)
        rad_flow_put(out, (const uint8_t *)" ", 1, 0);
    rad_flow_put(out, in->bytes + skipped, in->size - skipped, 0);
    if (d->cleanup)
        clean_up(out, other);
}

static void decode_ctc(const rad_decoder *d, const rad_slice *in, rad_flow *out, rad_flow *other)
{
    replace_all(in, d->text, "", 0, out);
    if (d->cleanup) {
        clean_up(out, other);
        replace_again(out, other, d->content, " ");
    }
}

static void decode_strip(const rad_decoder *d, const rad_slice *in, rad_flow *out)
{
    size_t start = 0, end = in->size, size = d->text.size;
    if (size == 0) { /* of nothing, as often as it may be */
        rad_flow_put(out, in->bytes, in->size, 0);
        return;
    }
    for (uint32_t i = 0;
         i < d->start && end - start >= size && memcmp(in->bytes + start, d->text.data, size) == 0;
         i++)
        start += size;
    for (uint32_t i = 0; i < d->stop && end - start >= size &&
                         memcmp(in->bytes + end - size, d->text.data, size) == 0;
         i++)
        end -= size;
    rad_flow_put(out, in->bytes + start, end - start, 0);
}

static bool decode_replace(decoding *dec, const rad_decoder *d, const rad_slice *in, rad_flow *out)
{
    rad_pattern_walk walk = RAD_PATTERN_WALK;
    rad_regex_result found = RAD_REGEX_NONE;
    size_t at = 0, start, end;
    while (in->size > 0 && (found = rad_pattern_next(&d->pattern, &dec->space, in->bytes, in->size,
                                                     &walk, &start, &end)) == RAD_REGEX_MATCH) {
        rad_flow_put(out, in->bytes + at, start - at, 0);
        rad_flow_put(out, (const uint8_t *)d->content.data, d->content.size, 0);
        at = end;
    }
    if (found == RAD_REGEX_FAILED)
        return false;
    rad_flow_put(out, in->bytes + at, in->size - at, 0);
    return true;
}

/* One decoder; writes to `out`, `other` is scratch memory. */
static bool decode_once(decoding *dec, const rad_decoder *d, const rad_slice *in, rad_flow *out,
                        rad_flow *other)
{
    switch (d->kind) {
    case RAD_DECODE_BYTE_LEVEL:
        decode_letters(in, out);
        return true;
    case RAD_DECODE_BYTE_FALLBACK:
        decode_fallback(in, out);
        return true;
    case RAD_DECODE_METASPACE:
        replace_all(in, d->text, " ", dec->first && !d->keep_first ? 0 : 1, out);
        return true;
    case RAD_DECODE_WORDPIECE:
        decode_wordpiece(d, dec->first, in, out, other);
        return true;
    case RAD_DECODE_REPLACE:
        return decode_replace(dec, d, in, out);
    case RAD_DECODE_STRIP:
        decode_strip(d, in, out);
        return true;
    case RAD_DECODE_BPE:
        replace_all(in, d->text, " ", dec->last ? 0 : 1, out);
        return true;
    case RAD_DECODE_CTC:
        decode_ctc(d, in, out, other);
        return true;
    case RAD_DECODE_JOIN_SPACE:
        if (!dec->first)
            rad_flow_put(out, (const uint8_t *)" ", 1, 0);
        rad_flow_put(out, in->bytes, in->size, 0);
        return true;
    }
    return false;
}

static radllm_status decode_token(decoding *dec, uint32_t id, rad_slice *out)
{
    const rad_pipeline *pipeline = dec->r->pipeline;
    rad_pipeline_space *space = &dec->space;
    rad_slice view = {.bytes = NULL};
    view.bytes = rad_vocabulary_entry(&dec->r->tokenizer->vocabulary, id, &view.size);
    /* What is found in normalized text is given out so. */
    if (pipeline->added != NULL && (pipeline->added[id] & RAD_ADDED_NORMALIZED) != 0 &&
        !rad_normalize(pipeline, &dec->normal, &view))
        return rad_pipeline_report(dec->normal.failure, view.size, dec->r->error);
    for (uint32_t i = 0; i < pipeline->n_decoders; i++) {
        rad_flow *to = &space->flows[i % 2];
        to->size = 0;
        bool done = decode_once(dec, &pipeline->decoders[i], &view, to, &space->flows[2]);
        if (!done || to->failed || space->flows[2].failed)
            return rad_pipeline_report(done && to->too_long ? RAD_PIPELINE_TOO_LONG
                                                            : space->failure,
                                       view.size, dec->r->error);
        view = rad_flow_view(to);
    }
    *out = view;
    return RADLLM_OK;
}

/* ---- all tokens ------------------------------------------------------------------------------ */

/* Pieces as they grow. */
typedef struct piece_list {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    uint32_t *start;
    uint32_t longest;
} piece_list;

static radllm_status make_pieces(decoding *dec, piece_list *list)
{
    const rad_vocabulary *vocabulary = &dec->r->tokenizer->vocabulary;
    const rad_allocator *allocator = dec->r->json.allocator;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        rad_slice piece = {0};
        radllm_status status = decode_token(dec, id, &piece);
        if (status != RADLLM_OK)
            return status;
        if (list->size + piece.size > INT32_MAX)
            return rad_fail(dec->r->error, RADLLM_E_LIMIT,
                            "tokenizer.json: the texts of the tokens take more than 2 GiB");
        if (!rad_reserve(allocator, (void **)&list->bytes, &list->capacity,
                         list->size + piece.size + 1, 1))
            return rad_fail_memory(dec->r->error, list->size + piece.size);
        list->start[id] = (uint32_t)list->size;
        if (piece.size > 0)
            memcpy(list->bytes + list->size, piece.bytes, piece.size);
        list->size += piece.size;
        if (piece.size > list->longest)
            list->longest = (uint32_t)piece.size;
    }
    list->start[vocabulary->size] = (uint32_t)list->size;
    return RADLLM_OK;
}

/* Makes the pieces that tokens are at the head of a text, at its end, or between others, and keeps
 * them. */
static radllm_status keep_pieces(rad_pipeline_reader *r, bool first, bool last, uint8_t **bytes,
                                 uint32_t **start)
{
    rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    decoding dec = {.r = r, .first = first, .last = last};
    rad_pipeline_space_start(&dec.space, r->json.allocator,
                             (size_t)vocabulary->entry_start[vocabulary->size]);
    rad_pipeline_space_start(&dec.normal, r->json.allocator, RAD_SPECIAL_MAX);
    piece_list list = {0};
    size_t starts = ((size_t)vocabulary->size + 1) * sizeof **start;
    list.start = rad_arena_alloc(r->arena, starts, sizeof **start);
    radllm_status status =
        list.start != NULL ? make_pieces(&dec, &list) : rad_fail_memory(r->error, starts);
    if (status == RADLLM_OK) {
        *start = list.start;
        *bytes = rad_arena_alloc(r->arena, list.size + 1, 1);
        if (*bytes == NULL)
            status = rad_fail_memory(r->error, list.size + 1);
        else if (list.size > 0)
            memcpy(*bytes, list.bytes, list.size);
        if (list.longest > vocabulary->longest_piece)
            vocabulary->longest_piece = list.longest;
    }
    rad_free(r->json.allocator, list.bytes, list.capacity);
    rad_pipeline_space_free(&dec.space);
    rad_pipeline_space_free(&dec.normal);
    return status;
}

radllm_status rad_read_decoder(rad_pipeline_reader *r, uint32_t part)
{
    rad_pipeline *pipeline = r->pipeline;
    rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    radllm_status status = rad_read_parts(r, part, "a decoder", "decoders", read_decoder);
    if (status == RADLLM_OK && rad_tree_kind_of(&r->json, part) == RAD_TREE_NULL)
        pipeline->decoders[pipeline->n_decoders++].kind = RAD_DECODE_JOIN_SPACE;
    bool first_differs = false, last_differs = false;
    for (uint32_t i = 0; i < pipeline->n_decoders; i++) {
        rad_decoder_kind kind = pipeline->decoders[i].kind;
        first_differs = first_differs || kind == RAD_DECODE_METASPACE ||
                        kind == RAD_DECODE_WORDPIECE || kind == RAD_DECODE_JOIN_SPACE;
        last_differs = last_differs || kind == RAD_DECODE_BPE;
    }
    /* Which token is first or last is not known where some give no text, and the pieces of those
     * that are both, or whose head is cut, would be a table more. */
    if (status == RADLLM_OK && (first_differs || last_differs) &&
        (pipeline->no_repeats || (last_differs && (first_differs || pipeline->strip_head != 0))))
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "tokenizer.json: this version knows the decoders \"BPEDecoder\" and "
                        "\"CTC\" beside \"Replace\", \"ByteFallback\" and \"ByteLevel\" alone");
    if (status == RADLLM_OK)
        status = keep_pieces(r, false, false, &vocabulary->piece_bytes, &vocabulary->piece_start);
    if (status == RADLLM_OK && first_differs)
        status = keep_pieces(r, true, false, &pipeline->first_bytes, &pipeline->first_start);
    if (status == RADLLM_OK && last_differs)
        status = keep_pieces(r, false, true, &pipeline->last_bytes, &pipeline->last_start);
    return status;
}
