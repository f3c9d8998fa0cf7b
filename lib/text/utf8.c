#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer.h"

#define S RAD_CHAR_SPACE
#define P RAD_CHAR_PUNCT
#define Y RAD_CHAR_SYMBOL
#define N RAD_CHAR_NUMBER
#define U (RAD_CHAR_LETTER | RAD_CHAR_UPPER)
#define L (RAD_CHAR_LETTER | RAD_CHAR_LOWER)
const uint8_t rad_ascii_classes[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, S, S, S, S, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    S, P, P, P, Y, P, P, P, P, P, P, Y, P, P, P, P, /* 20 */
    N, N, N, N, N, N, N, N, N, N, P, P, Y, Y, Y, P, /* 30 */
    P, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, /* 40 */
    U, U, U, U, U, U, U, U, U, U, U, P, P, P, Y, P, /* 50 */
    Y, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* 60 */
    L, L, L, L, L, L, L, L, L, L, L, P, Y, P, Y, 0, /* 70 */
};
#undef S
#undef P
#undef Y
#undef N
#undef U
#undef L

static bool is_white_space(uint32_t code)
{
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

uint8_t rad_char_classes(uint32_t code)
{
    if (code < 128)
        return rad_ascii_classes[code];
    if (code > 0x10FFFF)
        return 0;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return RAD_CHAR_LETTER | RAD_CHAR_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return RAD_CHAR_LETTER | RAD_CHAR_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return RAD_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return RAD_CHAR_NUMBER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return RAD_CHAR_MARK;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return RAD_CHAR_PUNCT;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
        return RAD_CHAR_SYMBOL;
    default:
        return is_white_space(code) ? RAD_CHAR_SPACE : 0;
    }
}

static inline bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

uint32_t rad_utf8_decode(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
    size_t left = (size_t)(end - p);
    uint8_t lead = p[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    if (lead >= 0xC0 && lead < 0xE0) {
        if (left >= 2 && is_continuation(p[1])) {
            *code = (lead & 0x1Fu) << 6 | (p[1] & 0x3Fu);
            return 2;
        }
    } else if (lead >= 0xE0 && lead < 0xF0) {
        if (left >= 3 && is_continuation(p[1]) && is_continuation(p[2])) {
            *code = (lead & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
            return 3;
        }
    } else if (lead >= 0xF0 && lead < 0xF8) {
        if (left >= 4 && is_continuation(p[1]) && is_continuation(p[2]) && is_continuation(p[3])) {
            *code =
                (lead & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
            if (*code <= 0x10FFFF)
                return 4;
        }
    }
    *code = RAD_REPLACEMENT;
    return 1;
}

uint32_t rad_utf8_encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | (code >> 18 & 0x07));
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

static uint32_t encoded_length(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

bool rad_utf8_is_clean(const uint8_t *text, size_t size)
{
    const uint8_t *p = text;
    const uint8_t *end = text + size;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8) {
            memcpy(&eight, p, 8);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                p += 8;
                continue;
            }
        }
        uint32_t code;
        uint32_t length = rad_utf8_decode(p, end, &code);
        if (length != encoded_length(code))
            return false;
        p += length;
    }
    return true;
}

size_t rad_utf8_clean(const uint8_t *text, size_t size, uint8_t *out)
{
    const uint8_t *p = text;
    const uint8_t *end = text + size;
    size_t written = 0;
    while (p < end) {
        uint32_t code;
        p += rad_utf8_decode(p, end, &code);
        written += rad_utf8_encode(code, out + written);
    }
    return written;
}

int rad_utf8_strict(const uint8_t *p, const uint8_t *end)
{
    uint8_t lead = p[0];
    if (lead < 0x80)
        return 1;
    int length = lead >= 0xC2 && lead < 0xE0   ? 2
                 : lead >= 0xE0 && lead < 0xF0 ? 3
                 : lead >= 0xF0 && lead < 0xF5 ? 4
                                               : 0;
    if (length == 0)
        return -1;
    /* The second byte's range depends on the lead; later bytes take all continuations. */
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < length; i++) {
        if (p + i == end)
            return 0;
        if (p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

const char *rad_unicode_version(void)
{
    return utf8proc_unicode_version();
}
