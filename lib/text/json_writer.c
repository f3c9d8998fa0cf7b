#include "text/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

void rad_json_bytes(rad_json_writer *w, const char *bytes, size_t size)
{
    if (w->status == RADLLM_OK && w->output != NULL)
        w->status = rad_output_write(w->output, bytes, size, w->error);
}

void rad_json(rad_json_writer *w, const char *text)
{
    rad_json_bytes(w, text, strlen(text));
}

void rad_json_number(rad_json_writer *w, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    rad_json(w, text);
}

void rad_json_flag(rad_json_writer *w, bool value)
{
    rad_json(w, value ? "true" : "false");
}

bool rad_json_is_utf8(rad_text text)
{
    const uint8_t *p = (const uint8_t *)text.data, *end = p + text.size;
    while (p < end) {
        int n = rad_utf8_strict(p, end);
        if (n <= 0)
            return false;
        p += n;
    }
    return true;
}

void rad_json_string(rad_json_writer *w, rad_text text)
{
    char quoted[RAD_QUOTE_SIZE];
    if (w->status == RADLLM_OK && !rad_json_is_utf8(text))
        w->status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                             "the text \"%s\" of the tokenizer is no UTF-8, so that tokenizer.json "
                             "cannot hold it; keep the GGUF file",
                             rad_quote(quoted, text.data, text.size));
    rad_json(w, "\"");
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = (uint8_t)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[8];
        snprintf(escape, sizeof escape, c < 0x20 ? "\\u%04x" : "\\%c", c);
        rad_json_bytes(w, text.data + from, i - from);
        rad_json(w, escape);
        from = i + 1;
    }
    rad_json_bytes(w, text.data + from, text.size - from);
    rad_json(w, "\"");
}

/* GGUF marks what begins a word, tokenizer.json what continues one (WordPiece). */
void rad_json_entry(rad_json_writer *w, int32_t id)
{
    rad_text text = rad_tokenizer_entry(w->tokenizer, id);
    bool bracketed = text.size > 1 && text.data[0] == '[' && text.data[text.size - 1] == ']';
    bool begins = text.size >= 3 && memcmp(text.data, RAD_MARK, 3) == 0;
    bool added = !begins && rad_tokenizer_type(w->tokenizer, id) != RAD_TOKEN_NORMAL;
    if (w->tokenizer->model != RAD_MODEL_WORDPIECE || bracketed || added) {
        rad_json_string(w, text);
        return;
    }
    char piece[RAD_PIECE_MAX + 2] = "##";
    if (text.size > RAD_PIECE_MAX && w->status == RADLLM_OK)
        w->status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                             "a piece of the tokenizer has %zu bytes, which no word has: keep the "
                             "GGUF file",
                             text.size);
    if (begins) {
        rad_json_string(w, (rad_text){text.data + 3, text.size - 3});
    } else if (w->status == RADLLM_OK) {
        memcpy(piece + 2, text.data, text.size);
        rad_json_string(w, (rad_text){piece, text.size + 2});
    }
}

/* The table of replacements as SentencePiece has it, in the letters of base 64. */
void rad_json_charsmap(rad_json_writer *w, const rad_charsmap *map)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = rad_charsmap_bytes(map);
    char text[1024];
    size_t used = 0;
    for (size_t at = 0; at < size; at += 3) {
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (at + i < size ? rad_charsmap_byte(map, at + i) : 0);
        for (size_t i = 0; i < 4; i++)
            text[used++] = at + i > size ? '=' : letters[bits >> (18 - 6 * i) & 63];
        if (used == sizeof text || at + 3 >= size) {
            rad_json_bytes(w, text, used);
            used = 0;
        }
    }
}
