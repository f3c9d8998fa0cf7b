/* The models of tokenizer.json: from a piece of text to ids. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#define REMEMBER_UP_TO 48
#define SPELLED_MAX    256 /* bytes of a character with prefix and suffix, or of a word in letters */

static bool push(rad_encoder *encoder, rad_pipeline_space *space, int32_t id)
{
    return rad_encoder_push(encoder, id) || rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
}

/* Ids of bytes where all of them have one; false and nothing pushed where not. */
static bool has_fallback(const rad_pipeline *pipeline, const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (pipeline->fallback[text[i]] < 0)
            return false;
    return pipeline->byte_fallback;
}

/* ---- words that come again ---------------------------------------------------------------------
 */

typedef bool (*encode_fn)(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                          size_t size);

/* Copies a word to where it stays, since normalized text does not. NULL: memory. */
static const uint8_t *keep_word(rad_encoder *encoder, rad_pipeline_space *space,
                                const uint8_t *text, size_t size)
{
    if (space->words_size + size > UINT32_MAX ||
        !rad_reserve(space->allocator, (void **)&space->words, &space->words_capacity,
                     space->words_size + size, 1))
        return NULL;
    encoder->base = space->words;
    memcpy(space->words + space->words_size, text, size);
    space->words_size += size;
    return space->words + space->words_size - size;
}

/* Encodes a word, or takes its ids from where it came before. */
static bool remember(rad_encoder *encoder, rad_pipeline_space *space, encode_fn encode,
                     const uint8_t *text, size_t size)
{
    rad_known_word *slot = NULL;
    if (encoder->words == NULL || size > REMEMBER_UP_TO || size < 2)
        return encode(encoder, space, text, size);
    if (rad_encoder_recall(encoder, text, size, &slot))
        return !encoder->no_memory || rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
    size_t first_id = encoder->out->count;
    if (!encode(encoder, space, text, size))
        return false;
    const uint8_t *kept = keep_word(encoder, space, text, size);
    if (kept != NULL)
        rad_encoder_remember(encoder, slot, kept, size, first_id);
    return true;
}

/* The id of a text that the model has, or -1. */
static int32_t find_text(const rad_tokenizer *tokenizer, const uint8_t *text, size_t size)
{
    int32_t id = rad_vocabulary_find_text(&tokenizer->vocabulary, text, size);
    return rad_pipeline_knows(tokenizer->pipeline, id) ? id : -1;
}

/* ---- BPE ----------------------------------------------------------------------------------- */

/* The symbols of a word before merging. */
typedef struct symbols {
    rad_encoder *encoder;
    rad_pipeline_space *space;
    uint32_t unknown_start;
    uint32_t unknown_length; /* 0: none waits */
} symbols;

static bool add_symbol(symbols *s, uint32_t start, uint32_t length, int32_t id)
{
    return rad_merge_add(&s->encoder->space, start, length, id) ||
           rad_pipeline_fail(s->space, RAD_PIPELINE_MEMORY);
}

static bool flush_unknown(symbols *s)
{
    uint32_t length = s->unknown_length;
    s->unknown_length = 0;
    return length == 0 || add_symbol(s, s->unknown_start, length, s->encoder->tokenizer->unknown);
}

/* A character that has no token. `text` is it with prefix and suffix. */
static bool add_unknown(symbols *s, uint32_t start, uint32_t length, const uint8_t *text,
                        size_t size)
{
    const rad_tokenizer *tokenizer = s->encoder->tokenizer;
    const rad_pipeline *pipeline = tokenizer->pipeline;
    if (has_fallback(pipeline, text, size)) {
        for (size_t i = 0; i < size; i++)
            if (!add_symbol(s, start, 1, pipeline->fallback[text[i]]))
                return false;
        return true;
    }
    if (tokenizer->unknown == -1)
        return true; /* it is left out */
    if (tokenizer->unknown < -1)
        return rad_pipeline_fail(s->space, RAD_PIPELINE_NO_UNKNOWN);
    if (s->unknown_length > 0 && pipeline->fuse_unknown) {
        s->unknown_length += length;
        return true;
    }
    if (!flush_unknown(s))
        return false;
    s->unknown_start = start;
    s->unknown_length = length;
    return true;
}

/* The id of a character, which is written to `spelled` with what the model puts around it. */
static int32_t find_character(const rad_tokenizer *tokenizer, const uint8_t *text, size_t length,
                              bool first, bool last, uint8_t spelled[SPELLED_MAX], size_t *size)
{
    const rad_pipeline *pipeline = tokenizer->pipeline;
    *size = 0;
    if (!first && pipeline->prefix.size > 0) {
        memcpy(spelled, pipeline->prefix.data, pipeline->prefix.size);
        *size = pipeline->prefix.size;
    }
    memcpy(spelled + *size, text, length);
    *size += length;
    if (last && pipeline->suffix.size > 0) {
        memcpy(spelled + *size, pipeline->suffix.data, pipeline->suffix.size);
        *size += pipeline->suffix.size;
    }
    return find_text(tokenizer, spelled, *size);
}

static bool add_characters(symbols *s, const uint8_t *text, size_t size)
{
    const rad_tokenizer *tokenizer = s->encoder->tokenizer;
    const rad_pipeline *pipeline = tokenizer->pipeline;
    for (size_t at = 0; at < size;) {
        uint8_t spelled[SPELLED_MAX];
        size_t spelled_size = 0;
        uint32_t code, length = 1;
        int32_t id;
        if (pipeline->bytes) {
            spelled_size = rad_utf8_encode(rad_byte_to_letter(text[at]), spelled);
            id = tokenizer->byte_tokens[text[at]];
        } else {
            length = rad_utf8_decode(text + at, text + size, &code);
            id = find_character(tokenizer, text + at, length, at == 0, at + length == size, spelled,
                                &spelled_size);
        }
        bool added = id >= 0 ? flush_unknown(s) && add_symbol(s, (uint32_t)at, length, id)
                             : add_unknown(s, (uint32_t)at, length, spelled, spelled_size);
        if (!added)
            return false;
        at += length;
    }
    return flush_unknown(s);
}

static bool merge_word(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                       size_t size)
{
    rad_merge_space *merge = &encoder->space;
    merge->n_symbols = 0;
    symbols s = {.encoder = encoder, .space = space};
    if (!add_characters(&s, text, size))
        return false;
    if (!rad_merge_run(&encoder->tokenizer->rules, merge, text))
        return rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
    for (size_t i = 0; i < merge->n_symbols; i++)
        if (!push(encoder, space, merge->symbols[i].id))
            return false;
    return true;
}

/* The id of a whole word that is in the vocabulary, or -1. */
static int32_t find_word(const rad_tokenizer *tokenizer, const uint8_t *text, size_t size)
{
    if (!tokenizer->pipeline->bytes)
        return find_text(tokenizer, text, size);
    uint8_t spelled[SPELLED_MAX];
    size_t spelled_size = 0;
    if (size > SPELLED_MAX / 2)
        return -1; /* merging finds it as well, if it can be merged at all */
    for (size_t i = 0; i < size; i++)
        spelled_size += rad_utf8_encode(rad_byte_to_letter(text[i]), spelled + spelled_size);
    return find_text(tokenizer, spelled, spelled_size);
}

static inline bool is_mark(const uint8_t *p, const uint8_t *end)
{
    return end - p >= 3 && memcmp(p, "\xE2\x96\x81", 3) == 0;
}

/* Where no merge goes from something to U+2581 behind it, each word that U+2581 begins is merged by
 * itself. */
static bool encode_apart(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                         size_t size)
{
    const uint8_t *end = text + size;
    for (const uint8_t *p = text; p < end;) {
        const uint8_t *q = p;
        while (is_mark(q, end))
            q += 3;
        while (q < end && !(*q == 0xE2 && is_mark(q, end)))
            q++;
        if (!remember(encoder, space, merge_word, p, (size_t)(q - p)))
            return false;
        p = q;
    }
    return true;
}

static bool encode_bpe(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                       size_t size)
{
    int32_t id = -1;
    if (encoder->tokenizer->pipeline->ignore_merges)
        id = find_word(encoder->tokenizer, text, size);
    if (id >= 0)
        return push(encoder, space, id);
    return encoder->tokenizer->pipeline->marks_apart ? encode_apart(encoder, space, text, size)
                                                     : merge_word(encoder, space, text, size);
}

/* ---- Unigram ------------------------------------------------------------------------------- */

static void reach(rad_path_node *node, double score, size_t start, int32_t id)
{
    if (node->id != -1 && !(score > node->score))
        return;
    node->score = score;
    node->start = (uint32_t)start;
    node->id = id;
}

/* What a stretch without a token of its own is given. It is unknown, which counts as one. */
#define UNKNOWN_NODE (-2)

/* Finds the best way to each place of the text. */
static void find_paths(const rad_pipeline *pipeline, rad_path_node *path, const uint8_t *text,
                       size_t size)
{
    for (size_t i = 0; i <= size; i++)
        path[i] = (rad_path_node){0, 0, -1};
    for (size_t at = 0; at < size;) {
        uint32_t code, length = rad_utf8_decode(text + at, text + size, &code);
        double here = path[at].score;
        bool single = false;
        uint32_t node = RAD_TRIE_ROOT;
        for (size_t end = at; end < size;) {
            node = rad_trie_child(&pipeline->trie, node, text[end++]);
            if (node == RAD_TRIE_NONE)
                break;
            int32_t id = rad_trie_id(&pipeline->trie, node);
            if (id < 0)
                continue;
            reach(&path[end], pipeline->scores[id] + here, at, id);
            single = single || end == at + length;
        }
        if (!single)
            reach(&path[at + length], pipeline->unknown_score + here, at, UNKNOWN_NODE);
        at += length;
    }
}

static bool push_stretch(rad_encoder *encoder, rad_pipeline_space *space, int32_t id,
                         const uint8_t *text, size_t size)
{
    const rad_pipeline *pipeline = encoder->tokenizer->pipeline;
    if (id != UNKNOWN_NODE && id != encoder->tokenizer->unknown)
        return push(encoder, space, id);
    id = find_text(encoder->tokenizer, text, size);
    if (id >= 0)
        return push(encoder, space, id); /* what is fused may be a token after all */
    if (has_fallback(pipeline, text, size)) {
        for (size_t i = 0; i < size; i++)
            if (!push(encoder, space, pipeline->fallback[text[i]]))
                return false;
        return true;
    }
    if (encoder->tokenizer->unknown < 0)
        return rad_pipeline_fail(space, RAD_PIPELINE_NO_UNKNOWN);
    return push(encoder, space, encoder->tokenizer->unknown);
}

static bool encode_unigram(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                           size_t size)
{
    int32_t unknown = encoder->tokenizer->unknown;
    if (!rad_reserve(space->allocator, (void **)&space->path, &space->path_capacity, size + 1,
                     sizeof *space->path))
        return rad_pipeline_fail(space, RAD_PIPELINE_MEMORY);
    rad_path_node *path = space->path;
    find_paths(encoder->tokenizer->pipeline, path, text, size);
    /* Backwards: each node's successor goes where its predecessor stood. */
    size_t next = size;
    for (size_t at = size; at > 0;) {
        size_t start = path[at].start;
        uint32_t behind = (uint32_t)next;
        next = at;
        path[at].start = behind; /* of the stretch that begins at `at` */
        at = start;
    }
    path[0].start = (uint32_t)next;
    for (size_t at = 0; at < size;) {
        size_t end = path[at].start;
        int32_t id = path[end].id;
        bool none = id == UNKNOWN_NODE || id == unknown;
        size_t last = end;
        while (none && last < size) {
            size_t more = path[last].start;
            if (path[more].id != UNKNOWN_NODE && path[more].id != unknown)
                break;
            last = more;
        }
        if (!push_stretch(encoder, space, id, text + at, last - at))
            return false;
        at = last;
    }
    return true;
}

/* ---- WordPiece and WordLevel ---------------------------------------------------------------- */

static bool push_unknown(rad_encoder *encoder, rad_pipeline_space *space)
{
    return encoder->tokenizer->unknown >= 0 ? push(encoder, space, encoder->tokenizer->unknown)
                                            : rad_pipeline_fail(space, RAD_PIPELINE_NO_UNKNOWN);
}

static bool encode_wordpiece(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                             size_t size)
{
    const rad_pipeline *pipeline = encoder->tokenizer->pipeline;
    size_t first_id = encoder->out->count, n_characters = 0;
    for (size_t i = 0; i < size; i++)
        n_characters += (text[i] & 0xC0) != 0x80;
    bool cut = n_characters <= pipeline->word_max;
    for (size_t at = 0; cut && at < size;) {
        uint32_t node = at == 0 ? RAD_TRIE_ROOT : pipeline->continuing;
        int32_t id = -1;
        size_t behind = at;
        for (size_t end = at; end < size && node != RAD_TRIE_NONE;) {
            node = rad_trie_child(&pipeline->trie, node, text[end++]);
            int32_t here = node != RAD_TRIE_NONE ? rad_trie_id(&pipeline->trie, node) : -1;
            if (here >= 0) {
                id = here;
                behind = end;
            }
        }
        cut = id >= 0;
        if (cut && !push(encoder, space, id))
            return false;
        at = behind;
    }
    if (cut)
        return true;
    encoder->out->count = first_id;
    return push_unknown(encoder, space);
}

static bool encode_whole(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                         size_t size)
{
    int32_t id = find_text(encoder->tokenizer, text, size);
    return id >= 0 ? push(encoder, space, id) : push_unknown(encoder, space);
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool encode_word(rad_encoder *encoder, rad_pipeline_space *space, const uint8_t *text,
                        size_t size)
{
    switch (encoder->tokenizer->pipeline->model) {
    case RAD_PIPELINE_BPE:
        return encode_bpe(encoder, space, text, size);
    case RAD_PIPELINE_UNIGRAM:
        return encode_unigram(encoder, space, text, size);
    case RAD_PIPELINE_WORDPIECE:
        return encode_wordpiece(encoder, space, text, size);
    case RAD_PIPELINE_WORDLEVEL:
        return encode_whole(encoder, space, text, size);
    }
    return false;
}

bool rad_pipeline_encode_piece(rad_encoder *encoder, rad_pipeline_space *space,
                               const uint8_t *piece, size_t size)
{
    /* Words of a piece that is not cut further are remembered one by one. */
    const rad_pipeline *pipeline = encoder->tokenizer->pipeline;
    return pipeline->marks_apart && pipeline->model == RAD_PIPELINE_BPE
               ? encode_word(encoder, space, piece, size)
               : remember(encoder, space, encode_word, piece, size);
}
