/* UTF-8 and classes of characters. Bytes that are no UTF-8 have a defined reading everywhere, the
 * one of llama.cpp (see rad_utf8_decode), so that any byte string has tokens. */
#ifndef RAD_UTF8_H
#define RAD_UTF8_H

#include "base/base.h"

#define RAD_REPLACEMENT 0xFFFDu

/* Classes of a character: its general category, and the property White_Space. */
enum {
    RAD_CHAR_LETTER = 1,  /* L */
    RAD_CHAR_NUMBER = 2,  /* N */
    RAD_CHAR_SPACE = 4,   /* White_Space */
    RAD_CHAR_PUNCT = 8,   /* P */
    RAD_CHAR_SYMBOL = 16, /* S */
    RAD_CHAR_MARK = 32,   /* M */
    RAD_CHAR_UPPER = 64,  /* Lu, Lt; RAD_CHAR_LETTER is set too */
    RAD_CHAR_LOWER = 128  /* Ll; RAD_CHAR_LETTER is set too */
};

/* Classes of the characters below 128. */
extern const uint8_t rad_ascii_classes[128];
/* Classes of any code point; 0 beyond U+10FFFF. */
uint8_t rad_char_classes(uint32_t code);

/* Reads the character at p < end and returns its length in bytes (1 to 4). Only the form is looked
 * at: a lead byte with as many continuation bytes as it asks for. Overlong forms and surrogates
 * give their value. Anything else, and what is beyond U+10FFFF, is one byte read as U+FFFD. */
uint32_t rad_utf8_decode(const uint8_t *p, const uint8_t *end, uint32_t *code);

/* Writes a code point up to U+10FFFF (surrogates too); returns 1 to 4. */
uint32_t rad_utf8_encode(uint32_t code, uint8_t out[4]);

/* True when reading by rad_utf8_decode and writing by rad_utf8_encode changes nothing. */
bool rad_utf8_is_clean(const uint8_t *text, size_t size);
/* Reads and writes all of it; out has room for 3 * size bytes. Returns the new size. */
size_t rad_utf8_clean(const uint8_t *text, size_t size, uint8_t *out);

/* What a byte promises by its upper bits alone, as SentencePiece texts are cut: 1 to 4. */
static inline uint32_t rad_utf8_lead_length(uint8_t byte)
{
    return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/* Strict UTF-8 (Unicode 15, table 3-7): the length of the well-formed character at p, or minus the
 * length of the maximal subpart that begins one wrongly (at least 1); 0 when the bytes up to `end`
 * are a beginning that more bytes could complete. */
int rad_utf8_strict(const uint8_t *p, const uint8_t *end);

#endif
