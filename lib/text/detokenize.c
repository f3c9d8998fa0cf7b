/* From ids to text: pieces, whole sequences, and streams that never end within a character. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

static bool is_silent(uint8_t type)
{
    return type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_UNKNOWN;
}

/* The bytes of a token; control tokens have none unless `special`. */
static const uint8_t *piece_of(const rad_tokenizer *tokenizer, int32_t id, bool special,
                               size_t *size)
{
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    *size = 0;
    if (id < 0 || (uint32_t)id >= vocabulary->size ||
        (!special && is_silent(vocabulary->types[id])))
        return (const uint8_t *)"";
    return rad_vocabulary_piece(vocabulary, (uint32_t)id, size);
}

size_t rad_tokenizer_piece(const rad_tokenizer *tokenizer, int32_t id, bool special, char *buffer,
                           size_t capacity)
{
    size_t size;
    const uint8_t *piece = piece_of(tokenizer, id, special, &size);
    size_t copied = size < capacity ? size : capacity;
    if (copied > 0)
        memcpy(buffer, piece, copied);
    return size;
}

/* Whether the space at the head of a text is not the text's own. */
static bool has_false_space(const rad_tokenizer *tokenizer)
{
    return tokenizer->add_space_prefix || tokenizer->model == RAD_MODEL_WORDPIECE;
}

/* What was said of a sequence so far. */
typedef struct progress {
    bool at_start;    /* nothing was given out yet */
    bool at_head;     /* no token came yet */
    uint8_t stripped; /* characters that were taken from the head */
    int32_t last;     /* token, or -1 */
} progress;

/* Takes characters from the head of all text, as many as the decoder says. */
static const uint8_t *strip_head(const rad_pipeline *pipeline, const uint8_t *piece, size_t *size,
                                 progress *p)
{
    size_t length = pipeline->strip_text.size;
    while (p->stripped<pipeline->strip_head && * size> 0) {
        if (*size < length || memcmp(piece, pipeline->strip_text.data, length) != 0) {
            p->stripped = (uint8_t)pipeline->strip_head;
            break;
        }
        p->stripped++;
        piece += length;
        *size -= length;
    }
    return piece;
}

/* How much of a token's text is the same whether it is the last one or not. */
static size_t common_size(const rad_tokenizer *tokenizer, int32_t id)
{
    const rad_pipeline *pipeline = tokenizer->pipeline;
    size_t size, n = 0;
    const uint8_t *piece = rad_vocabulary_piece(&tokenizer->vocabulary, (uint32_t)id, &size);
    const uint8_t *last = pipeline->last_bytes + pipeline->last_start[id];
    size_t last_size = pipeline->last_start[id + 1] - pipeline->last_start[id];
    while (n < size && n < last_size && piece[n] == last[n])
        n++;
    return n;
}

/* The rest of the text of the token that came last; `ends`: no other follows. */
static rad_text take_rest(const rad_tokenizer *tokenizer, progress *p, bool ends)
{
    const rad_pipeline *pipeline = tokenizer->pipeline;
    if (pipeline == NULL || pipeline->last_bytes == NULL || p->last < 0)
        return (rad_text){"", 0};
    size_t common = common_size(tokenizer, p->last), size;
    const uint8_t *piece = rad_vocabulary_piece(&tokenizer->vocabulary, (uint32_t)p->last, &size);
    if (ends) {
        piece = pipeline->last_bytes + pipeline->last_start[p->last];
        size = pipeline->last_start[p->last + 1] - pipeline->last_start[p->last];
        p->last = -1;
    }
    return (rad_text){(const char *)piece + common, size - common};
}

/* The bytes that a token of a tokenizer.json adds behind others, and in front of them the rest of
 * the token before. */
static const uint8_t *pipeline_piece(const rad_tokenizer *tokenizer, int32_t id, bool special,
                                     progress *p, size_t *size, rad_text *before)
{
    const rad_pipeline *pipeline = tokenizer->pipeline;
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    *size = 0;
    if (id < 0 || (uint32_t)id >= vocabulary->size || vocabulary->types[id] == RAD_TOKEN_UNUSED ||
        (!special && is_silent(vocabulary->types[id])))
        return (const uint8_t *)"";
    const uint8_t *piece = rad_vocabulary_piece(vocabulary, (uint32_t)id, size);
    bool again = id == p->last;
    *before = take_rest(tokenizer, p, false);
    p->last = id;
    if (pipeline->last_bytes != NULL)
        *size = common_size(tokenizer, id);
    if (pipeline->no_repeats && again)
        *size = 0;
    if (p->at_head && pipeline->first_bytes != NULL) {
        piece = pipeline->first_bytes + pipeline->first_start[id];
        *size = pipeline->first_start[id + 1] - pipeline->first_start[id];
    }
    p->at_head = false;
    return strip_head(pipeline, piece, size, p);
}

/* The bytes that a token adds behind others. WordPiece tokens of brackets ("[CLS]") carry no mark
 * of a word's beginning, but stand apart. */
static const uint8_t *next_piece(const rad_tokenizer *tokenizer, int32_t id, bool special,
                                 progress *p, size_t *size, rad_text *before)
{
    *before = (rad_text){"", 0};
    if (tokenizer->pipeline != NULL)
        return pipeline_piece(tokenizer, id, special, p, size, before);
    const uint8_t *piece = piece_of(tokenizer, id, special, size);
    if (*size == 0)
        return piece;
    if (p->at_start && *piece == ' ' && has_false_space(tokenizer)) {
        piece++;
        (*size)--;
    } else if (!p->at_start && tokenizer->model == RAD_MODEL_WORDPIECE &&
               is_silent(tokenizer->vocabulary.types[id])) {
        *before = (rad_text){" ", 1};
    }
    p->at_start = false;
    return piece;
}

/* ---- whole sequences ---------------------------------------------------------------- */

/* The replacements that BERT's decoder makes, in its order. */
static const char *const clean_ups[][2] = {
    {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

static size_t replace_all(char *text, size_t size, const char *from, const char *to)
{
    size_t from_size = strlen(from);
    size_t to_size = strlen(to); /* never longer */
    size_t written = 0;
    for (size_t i = 0; i < size;) {
        if (size - i >= from_size && memcmp(text + i, from, from_size) == 0) {
            memmove(text + written, to, to_size);
            written += to_size;
            i += from_size;
        } else {
            text[written++] = text[i++];
        }
    }
    return written;
}

/* Writes what fits behind `total` bytes; returns how many there are then. */
static size_t append(char *buffer, size_t capacity, size_t total, const uint8_t *bytes, size_t size)
{
    if (total < capacity && size > 0)
        memcpy(buffer + total, bytes, size < capacity - total ? size : capacity - total);
    return total + size;
}

/* Writes what fits of the sequence's bytes and returns how many there are. */
static size_t join(const rad_tokenizer *tokenizer, const int32_t *ids, size_t count, bool special,
                   char *buffer, size_t capacity)
{
    size_t total = 0;
    progress p = {true, true, 0, -1};
    for (size_t i = 0; i < count; i++) {
        size_t size;
        rad_text before;
        const uint8_t *piece = next_piece(tokenizer, ids[i], special, &p, &size, &before);
        total = append(buffer, capacity, total, (const uint8_t *)before.data, before.size);
        total = append(buffer, capacity, total, piece, size);
    }
    rad_text rest = take_rest(tokenizer, &p, true);
    return append(buffer, capacity, total, (const uint8_t *)rest.data, rest.size);
}

radllm_status rad_tokenizer_decode(const rad_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                   uint32_t flags, char *buffer, size_t capacity, size_t *length,
                                   radllm_error *error)
{
    bool special = (flags & RADLLM_DETOKENIZE_SPECIAL) != 0;
    if (tokenizer->model != RAD_MODEL_WORDPIECE) {
        *length = join(tokenizer, ids, count, special, buffer, capacity);
        return RADLLM_OK;
    }
    size_t size = join(tokenizer, ids, count, special, NULL, 0);
    char *text = rad_alloc(&tokenizer->host.allocator, size + 1);
    if (text == NULL)
        return rad_fail_memory(error, size + 1);
    size_t cleaned = join(tokenizer, ids, count, special, text, size);
    for (size_t i = 0; i < sizeof clean_ups / sizeof clean_ups[0]; i++)
        cleaned = replace_all(text, cleaned, clean_ups[i][0], clean_ups[i][1]);
    size_t copied = cleaned < capacity ? cleaned : capacity;
    if (copied > 0)
        memcpy(buffer, text, copied);
    *length = cleaned;
    rad_wipe(text, size + 1);
    rad_free(&tokenizer->host.allocator, text, size + 1);
    return RADLLM_OK;
}

/* ---- streams ------------------------------------------------------------------------ */

void rad_detokenizer_start(rad_detokenizer *detokenizer, const rad_tokenizer *tokenizer,
                           uint32_t flags)
{
    memset(detokenizer, 0, sizeof *detokenizer);
    detokenizer->tokenizer = tokenizer;
    detokenizer->flags = flags;
    detokenizer->at_start = detokenizer->at_head = true;
    detokenizer->last = -1;
}

size_t rad_detokenizer_bound(const rad_tokenizer *tokenizer)
{
    /* Each byte may be one U+FFFD; three may wait from before; a space may be put in front, or what
     * was kept of another piece. */
    return 3 * (2 * (size_t)tokenizer->vocabulary.longest_piece + 3 + 1);
}

static size_t put_replacement(char *out)
{
    memcpy(out, "\xEF\xBF\xBD", 3);
    return 3;
}

/* Takes one byte behind those that wait; writes what became complete. */
static size_t take_byte(rad_detokenizer *detokenizer, uint8_t byte, char *out)
{
    size_t written = 0;
    uint8_t *pending = detokenizer->pending;
    pending[detokenizer->n_pending++] = byte;
    while (detokenizer->n_pending > 0) {
        uint32_t n = detokenizer->n_pending;
        int length = rad_utf8_strict(pending, pending + n);
        if (length == 0)
            break;
        uint32_t used = (uint32_t)(length > 0 ? length : -length);
        if (length > 0) {
            memcpy(out + written, pending, used);
            written += used;
        } else {
            written += put_replacement(out + written);
        }
        memmove(pending, pending + used, n - used);
        detokenizer->n_pending = n - used;
    }
    return written;
}

size_t rad_detokenizer_push(rad_detokenizer *detokenizer, int32_t id, char *buffer)
{
    size_t size, written = 0;
    rad_text before;
    progress p = {detokenizer->at_start, detokenizer->at_head, detokenizer->stripped,
                  detokenizer->last};
    const uint8_t *piece =
        next_piece(detokenizer->tokenizer, id,
                   (detokenizer->flags & RADLLM_DETOKENIZE_SPECIAL) != 0, &p, &size, &before);
    detokenizer->at_start = p.at_start;
    detokenizer->at_head = p.at_head;
    detokenizer->stripped = p.stripped;
    detokenizer->last = p.last;
    for (size_t i = 0; i < before.size; i++)
        written += take_byte(detokenizer, (uint8_t)before.data[i], buffer + written);
    for (size_t i = 0; i < size; i++)
        written += take_byte(detokenizer, piece[i], buffer + written);
    return written;
}

size_t rad_detokenizer_finish(rad_detokenizer *detokenizer, char *buffer)
{
    size_t written = 0;
    progress p = {.last = detokenizer->last};
    rad_text rest = take_rest(detokenizer->tokenizer, &p, true);
    detokenizer->last = -1;
    for (size_t i = 0; i < rest.size; i++)
        written += take_byte(detokenizer, (uint8_t)rest.data[i], buffer + written);
    if (detokenizer->n_pending > 0)
        written += put_replacement(buffer + written);
    detokenizer->n_pending = 0;
    return written;
}
