/* WordPiece (BERT): control characters dropped, accents dropped, lower case (both unless the file
 * says that they stay); words are cut at white
 * space, around punctuation and around Chinese characters, then into the longest pieces there are.
 */
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer_internal.h"
#include "text/bert.h"
#include "text/utf8.h"

/* Words of more characters are unknown. */
#define WORD_MAX       100
#define DECOMPOSED_MAX 32

/* The word so far, in lower case: U+2581, then its characters. */
typedef struct word {
    uint8_t bytes[3 + 4 * WORD_MAX];
    uint32_t size;
    uint32_t n_characters; /* may exceed WORD_MAX: then the bytes stop there */
} word;

static void word_start(word *w)
{
    memcpy(w->bytes, "\xE2\x96\x81", 3);
    w->size = 3;
    w->n_characters = 0;
}

static void word_add(word *w, uint32_t code)
{
    if (w->n_characters < WORD_MAX)
        w->size += rad_utf8_encode(code, w->bytes + w->size);
    w->n_characters++;
}

/* Appends the pieces of a word, or the unknown token when it cannot be cut into any. */
static bool word_end(rad_encoder *encoder, word *w)
{
    const rad_vocabulary *vocabulary = &encoder->tokenizer->vocabulary;
    if (w->n_characters == 0)
        return true;
    size_t first_id = encoder->out->count;
    bool cut = w->n_characters <= WORD_MAX;
    for (uint32_t at = 0; cut && at < w->size;) {
        uint32_t behind = w->size;
        if (behind - at > vocabulary->longest_entry)
            behind = at + vocabulary->longest_entry;
        int32_t id = -1;
        if (at > 0 && w->size - at >= 3 && memcmp(w->bytes + at, "\xE2\x96\x81", 3) == 0)
            behind = at; /* a mark of the text itself: what follows is no beginning of a word */
        for (; behind > at; behind--) {
            if (behind < w->size && (w->bytes[behind] & 0xC0) == 0x80)
                continue; /* within a character */
            id = rad_vocabulary_find_text(vocabulary, w->bytes + at, behind - at);
            if (id >= 0)
                break;
        }
        cut = id >= 0;
        if (cut && !rad_encoder_push(encoder, id))
            return false;
        at = behind;
    }
    word_start(w);
    if (cut)
        return true;
    encoder->out->count = first_id;
    int32_t unknown = encoder->tokenizer->unknown;
    return unknown < 0 || rad_encoder_push(encoder, unknown);
}

/* One character after decomposition. */
static bool take_character(rad_encoder *encoder, word *w, uint32_t code)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    if (!tokenizer->keep_accents &&
        utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_MN)
        return true;
    bool dotted = code == 0x130; /* the only one that becomes two in lower case */
    if (!tokenizer->keep_case)
        code = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    if (!rad_bert_is_punctuation(code)) {
        word_add(w, code);
        if (dotted && !tokenizer->keep_case)
            word_add(w, 0x307);
        return true;
    }
    if (!word_end(encoder, w))
        return false;
    word_add(w, code);
    return word_end(encoder, w);
}

bool rad_encode_wordpiece(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    word w;
    word_start(&w);
    bool done = true;
    for (const uint8_t *p = text; done && p < text + size;) {
        uint32_t code;
        p += rad_utf8_decode(p, text + size, &code);
        if (rad_bert_drops(code))
            continue;
        if ((rad_char_classes(code) & RAD_CHAR_SPACE) != 0) {
            done = word_end(encoder, &w);
            continue;
        }
        bool chinese = rad_bert_is_chinese(code);
        utf8proc_int32_t parts[DECOMPOSED_MAX];
        int last_class = 0;
        utf8proc_ssize_t n = 0;
        if (!encoder->tokenizer->keep_accents)
            n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, DECOMPOSED_MAX,
                                        UTF8PROC_DECOMPOSE, &last_class);
        if (n < 1 || n > DECOMPOSED_MAX) {
            parts[0] = (utf8proc_int32_t)code;
            n = 1;
        }
        done = !chinese || word_end(encoder, &w);
        for (utf8proc_ssize_t i = 0; done && i < n; i++)
            done = take_character(encoder, &w, (uint32_t)parts[i]);
        if (done && chinese)
            done = word_end(encoder, &w);
    }
    done = done && word_end(encoder, &w);
    rad_wipe(&w, sizeof w);
    return done;
}
