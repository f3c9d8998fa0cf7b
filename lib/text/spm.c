/* SentencePiece as its package does it (Kudo and Richardson 2018): text is normalized by a table of
 * replacements, spaces are made part of it, and it is cut by merging (BPE) or on the best path
 * (Unigram; Kudo 2018). */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */

/* Normalized text may be so many times as long, and this longer. */
#define LONGER_TIMES 64
#define LONGER_BY    4096

typedef struct path_node {
    float score; /* of the best way to here */
    int32_t start;
    int32_t id; /* -1: not reached */
} path_node;

typedef struct rad_spm_space {
    uint8_t *text; /* normalized, of one stretch behind the other: known words point into it */
    size_t capacity, size;
    size_t limit;
    path_node *path;
    size_t path_capacity;
} rad_spm_space;

struct rad_spm_space *rad_spm_space_new(const rad_tokenizer *tokenizer, size_t size)
{
    rad_spm_space *space = rad_alloc_zero(&tokenizer->host.allocator, sizeof *space);
    if (space != NULL)
        space->limit = size < INT32_MAX / LONGER_TIMES - LONGER_BY ? LONGER_TIMES * size + LONGER_BY
                                                                   : INT32_MAX;
    return space;
}

void rad_spm_space_free(const rad_tokenizer *tokenizer, struct rad_spm_space *space)
{
    const rad_allocator *allocator = &tokenizer->host.allocator;
    if (space == NULL)
        return;
    size_t bytes = space->path_capacity * sizeof *space->path;
    if (space->text != NULL)
        rad_wipe(space->text, space->capacity);
    if (space->path != NULL)
        rad_wipe(space->path, bytes);
    rad_free(allocator, space->text, space->capacity);
    rad_free(allocator, space->path, bytes);
    rad_free(allocator, space, sizeof *space);
}

static bool fail(rad_encoder *encoder, rad_pipeline_failure failure)
{
    encoder->failure = failure;
    return false;
}

/* ---- normalizing ------------------------------------------------------------------------------
 */

static bool put(rad_encoder *encoder, const uint8_t *bytes, size_t size)
{
    rad_spm_space *space = encoder->spm;
    if (space->size + size > space->limit)
        return fail(encoder, RAD_PIPELINE_TOO_LONG);
    if (!rad_reserve(encoder->space.allocator, (void **)&space->text, &space->capacity,
                     space->size + size, 1))
        return fail(encoder, RAD_PIPELINE_MEMORY);
    if (size > 0)
        memcpy(space->text + space->size, bytes, size);
    space->size += size;
    return true;
}

static bool put_space(rad_encoder *encoder)
{
    return encoder->tokenizer->spm->escape ? put(encoder, (const uint8_t *)SPACE_MARK, 3)
                                           : put(encoder, (const uint8_t *)" ", 1);
}

/* The longest piece at the head of text that is never cut; 0: none. */
static size_t match_user(const rad_spm *spm, const uint8_t *text, size_t size)
{
    size_t found = 0;
    uint32_t node = RAD_TRIE_ROOT;
    for (size_t i = 0; spm->has_user && i < size;) {
        node = rad_trie_child(&spm->user, node, text[i++]);
        if (node == RAD_TRIE_NONE)
            break;
        if (rad_trie_id(&spm->user, node) >= 0)
            found = i;
    }
    return found;
}

/* What the head of text becomes; returns how many of its bytes that is. */
static size_t normalize_head(const rad_spm *spm, const uint8_t *text, size_t size,
                             rad_slice *becomes)
{
    size_t used = match_user(spm, text, size);
    *becomes = (rad_slice){.bytes = text, .size = used};
    if (used > 0)
        return used;
    const uint8_t *found = rad_charsmap_find(&spm->charsmap, text, size, true, &used);
    if (found != NULL) {
        *becomes = (rad_slice){.bytes = found, .size = strlen((const char *)found)};
        return used;
    }
    int length = rad_utf8_strict(text, text + size);
    if (length > 0) {
        becomes->size = (size_t)length;
        return (size_t)length;
    }
    *becomes = (rad_slice){.bytes = (const uint8_t *)"\xEF\xBF\xBD", .size = 3};
    return 1;
}

static bool put_escaped(rad_encoder *encoder, const rad_slice *text, size_t from)
{
    for (size_t i = from; i < text->size;) {
        const uint8_t *space = memchr(text->bytes + i, ' ', text->size - i);
        size_t end = space != NULL ? (size_t)(space - text->bytes) : text->size;
        if (!put(encoder, text->bytes + i, end - i) || (space != NULL && !put_space(encoder)))
            return false;
        i = end + (space != NULL);
    }
    return true;
}

/* Drops spaces at the end of what was put since `start`. */
static void drop_end(rad_encoder *encoder, size_t start)
{
    rad_spm_space *space = encoder->spm;
    bool escape = encoder->tokenizer->spm->escape;
    const char *mark = escape ? SPACE_MARK : " ";
    size_t size = escape ? 3 : 1;
    while (space->size - start >= size && memcmp(space->text + space->size - size, mark, size) == 0)
        space->size -= size;
}

static bool is_one_space(const rad_slice *text)
{
    return text->size == 1 && text->bytes[0] == ' ';
}

/* Appends what text becomes to the space's text. */
static bool normalize(rad_encoder *encoder, const uint8_t *text, size_t size, bool prefix)
{
    const rad_spm *spm = encoder->tokenizer->spm;
    const uint8_t *end = text + size;
    size_t start = encoder->spm->size;
    rad_slice becomes;
    while (spm->collapse && text < end) {
        size_t used = normalize_head(spm, text, (size_t)(end - text), &becomes);
        if (!is_one_space(&becomes))
            break;
        text += used;
    }
    if (text == end)
        return true;
    if (prefix && !spm->suffix && !put_space(encoder))
        return false;
    bool behind_space = spm->collapse;
    while (text < end) {
        size_t from = 0;
        text += normalize_head(spm, text, (size_t)(end - text), &becomes);
        while (behind_space && from < becomes.size && becomes.bytes[from] == ' ')
            from++;
        if (!put_escaped(encoder, &becomes, from))
            return false;
        if (from < becomes.size)
            behind_space = spm->collapse && becomes.bytes[becomes.size - 1] == ' ';
    }
    if (spm->collapse)
        drop_end(encoder, start);
    return !prefix || !spm->suffix || put_space(encoder);
}

/* ---- BPE --------------------------------------------------------------------------------------
 */

/* A token that is unused is cut again as it was merged; pieces have at most RAD_SPM_PIECE_MAX
 * bytes, so it is not deep. */
static bool push_symbol(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    const rad_vocabulary *vocabulary = &encoder->tokenizer->vocabulary;
    const rad_merge_space *merge = &encoder->space;
    int32_t id = rad_vocabulary_find_text(vocabulary, text, size);
    if (id < 0 || id >= encoder->tokenizer->rules.n_texts)
        return rad_encode_bytes(encoder, text, size);
    if (vocabulary->types[id] != RAD_TOKEN_UNUSED)
        return rad_encoder_push(encoder, id);
    if (merge->splits[id] >> 11 != merge->now) /* a character */
        return rad_encode_bytes(encoder, text, size);
    size_t left = merge->splits[id] & 0x7FF;
    return push_symbol(encoder, text, left) && push_symbol(encoder, text + left, size - left);
}

/* Begins a stretch in which it is written down how unused tokens were merged. */
static bool start_splits(rad_encoder *encoder)
{
    rad_merge_space *merge = &encoder->space;
    size_t bytes = encoder->tokenizer->vocabulary.size * sizeof *merge->splits;
    if (!encoder->tokenizer->spm->has_unused)
        return true;
    if (merge->splits == NULL)
        merge->splits = rad_alloc(merge->allocator, bytes);
    if (merge->splits == NULL)
        return fail(encoder, RAD_PIPELINE_MEMORY);
    merge->now = (merge->now + 1) & ((1u << 21) - 1);
    if (merge->now <= 1) {
        memset(merge->splits, 0, bytes);
        merge->now = 1;
    }
    return true;
}

/* All of it at once, with pieces in it that are never cut. */
static bool merge_whole(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    rad_merge_space *merge = &encoder->space;
    merge->n_symbols = 0;
    for (size_t at = 0; at < size;) {
        size_t user = match_user(encoder->tokenizer->spm, text + at, size - at);
        size_t length = user > 0 ? user : rad_utf8_lead_length(text[at]);
        length = length > size - at ? size - at : length;
        if (!rad_merge_add(merge, (uint32_t)at, (uint32_t)length, user > 0 ? RAD_MERGE_FROZEN : -1))
            return fail(encoder, RAD_PIPELINE_MEMORY);
        at += length;
    }
    if (!start_splits(encoder) || !rad_merge_run(&encoder->tokenizer->rules, merge, text))
        return fail(encoder, RAD_PIPELINE_MEMORY);
    for (size_t i = 0; i < merge->n_symbols; i++)
        if (!push_symbol(encoder, text + merge->symbols[i].start, merge->symbols[i].length))
            return false;
    return true;
}

/* ---- Unigram ----------------------------------------------------------------------------------
 */

/* The best ways found so far; those behind `frontier` are not reached. */
typedef struct paths {
    path_node *nodes;
    size_t frontier;
} paths;

static void reach(paths *p, size_t end, float score, size_t start, int32_t id)
{
    path_node *node = &p->nodes[end];
    p->frontier = end > p->frontier ? end : p->frontier;
    if (node->id == -1 || score > node->score)
        *node = (path_node){score, (int32_t)start, id};
}

/* Scores of long texts are brought back to zero before floats get too coarse to tell them apart. */
static float score_here(paths *p, size_t at)
{
    float here = p->nodes[at].score;
    if (here >= -100000.0f && here <= 100000.0f)
        return here;
    for (size_t i = at; i <= p->frontier; i++)
        if (i == at || p->nodes[i].id != -1)
            p->nodes[i].score -= here;
    return 0.0f;
}

/* In the package's own arithmetic, so that paths that are nearly equal fall as there. */
static void find_best_path(const rad_tokenizer *tokenizer, path_node *path, const uint8_t *text,
                           size_t size)
{
    const rad_spm *spm = tokenizer->spm;
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    paths p = {path, 0};
    for (size_t i = 0; i <= size; i++)
        path[i] = (path_node){0.0f, 0, -1};
    for (size_t at = 0; at < size;) {
        float here = score_here(&p, at);
        size_t length = rad_utf8_lead_length(text[at]);
        length = length > size - at ? size - at : length;
        bool single = false;
        uint32_t node = RAD_TRIE_ROOT;
        for (size_t end = at; end < size;) {
            node = rad_trie_child(&spm->trie, node, text[end++]);
            if (node == RAD_TRIE_NONE)
                break;
            int32_t id = rad_trie_id(&spm->trie, node);
            if (id < 0)
                continue;
            float score = vocabulary->scores[id];
            if (vocabulary->types[id] == RAD_TOKEN_USER_DEFINED) /* above all others */
                score = (float)(0.1 * (double)(end - at - 1));
            reach(&p, end, score + here, at, id);
            single = single || end == at + length;
        }
        if (!single)
            reach(&p, at + length, spm->unknown_score + here, at, tokenizer->unknown);
        at += length;
    }
}

static bool encode_unigram(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    rad_spm_space *space = encoder->spm;
    if (!rad_reserve(encoder->space.allocator, (void **)&space->path, &space->path_capacity,
                     size + 1, sizeof *space->path))
        return fail(encoder, RAD_PIPELINE_MEMORY);
    path_node *path = space->path;
    find_best_path(encoder->tokenizer, path, text, size);
    /* Backwards: each stretch's end is written where it begins. */
    size_t behind = size;
    for (size_t at = size; at > 0;) {
        size_t start = (size_t)path[at].start;
        path[at].start = (int32_t)behind;
        behind = at;
        at = start;
    }
    for (size_t at = 0, end = behind; at < size; at = end, end = (size_t)path[at].start) {
        int32_t id = path[end].id;
        bool pushed = id != encoder->tokenizer->unknown
                          ? rad_encoder_push(encoder, id)
                          : rad_encode_bytes(encoder, text + at, end - at);
        if (!pushed)
            return false;
    }
    return true;
}

/* ---- words and characters ---------------------------------------------------------------------
 */

static size_t whole_length(const rad_spm *spm, const uint8_t *text, size_t size)
{
    size_t user = spm->characters && spm->has_user ? match_user(spm, text, size) : 0;
    size_t length = user;
    if (user > 0)
        return user;
    do {
        length += rad_utf8_lead_length(text[length]);
    } while (spm->words && length < size &&
             (size - length < 3 || memcmp(text + length, "\xE2\x96\x81", 3) != 0));
    return length < size ? length : size;
}

/* Each is a piece, of any type but those that no text becomes, or unknown. */
static bool encode_whole(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    const rad_vocabulary *vocabulary = &encoder->tokenizer->vocabulary;
    for (size_t at = 0, length; at < size; at += length) {
        length = whole_length(encoder->tokenizer->spm, text + at, size - at);
        int32_t id = rad_vocabulary_find(vocabulary, text + at, length);
        bool known = id >= 0 && id < encoder->tokenizer->rules.n_texts &&
                     vocabulary->types[id] != RAD_TOKEN_CONTROL &&
                     vocabulary->types[id] != RAD_TOKEN_UNKNOWN;
        if (!(known ? rad_encoder_push(encoder, id) : rad_encode_bytes(encoder, text + at, length)))
            return false;
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* Of unknown tokens that follow each other one stands for all. */
static void fuse_unknown(rad_encoder *encoder, size_t first)
{
    rad_tokens *out = encoder->out;
    int32_t unknown = encoder->tokenizer->unknown;
    size_t kept = first;
    for (size_t i = first; i < out->count; i++)
        if (i == first || out->ids[i] != unknown || out->ids[i - 1] != unknown)
            out->ids[kept++] = out->ids[i];
    out->count = kept;
}

bool rad_encode_spm(rad_encoder *encoder, const uint8_t *text, size_t size, bool first)
{
    const rad_spm *spm = encoder->tokenizer->spm;
    rad_spm_space *space = encoder->spm;
    size_t start = space->size, first_id = encoder->out->count;
    if (!normalize(encoder, text, size, first && spm->dummy_prefix))
        return false;
    size_t length = space->size - start;
    bool done = true;
    encoder->base = space->text;
    if (length == 0)
        return true;
    const uint8_t *normalized = space->text + start;
    if (spm->words || spm->characters)
        done = encode_whole(encoder, normalized, length);
    else if (spm->unigram)
        done = encode_unigram(encoder, normalized, length);
    else if (spm->has_user || spm->has_unused || !spm->escape)
        done = merge_whole(encoder, normalized, length);
    else
        done = rad_encode_sentencepiece(encoder, normalized, length, false);
    if (done && !spm->byte_fallback)
        fuse_unknown(encoder, first_id);
    return done;
}
