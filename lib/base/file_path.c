#include "base/file_path.h"

#include <string.h>

/* Bytes of the UTF-8 character at text (size bytes are there), 0 when it is none or a control
 * character. */
static size_t printable_length(const unsigned char *text, size_t size)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                    : lead >= 0xe0 && lead <= 0xef ? 3
                    : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool control = lead == 0xc2 && text[1] < 0xa0;
    bool overlong = (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xf0 && text[1] < 0x90);
    bool surrogate = lead == 0xed && text[1] >= 0xa0;
    bool beyond = lead == 0xf4 && text[1] >= 0x90;
    return control || overlong || surrogate || beyond ? 0 : length;
}

/* Escapes text into out; false when it does not fit. */
static bool escape(char *out, size_t capacity, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < size;) {
        const unsigned char *at = (const unsigned char *)text + i;
        size_t length = printable_length(at, size - i);
        if (used + (length == 0 ? 4 : length) + 1 > capacity)
            return false;
        if (length > 0) {
            memcpy(out + used, at, length);
            used += length;
            i += length;
        } else {
            const char code[4] = {'\\', 'x', digits[*at >> 4], digits[*at & 15]};
            memcpy(out + used, code, sizeof code);
            used += sizeof code;
            i++;
        }
    }
    out[used] = '\0';
    return true;
}

const char *rad_path_label(char out[RAD_PATH_LABEL_SIZE], const char *path)
{
    size_t size = strlen(path);
    if (escape(out, RAD_PATH_LABEL_SIZE, path, size))
        return out;
    memcpy(out, "...", 3);
    /* Each byte may need four: drop from the front until the rest fits, whole characters only. */
    size_t start = size > RAD_PATH_LABEL_SIZE - 4 ? size - (RAD_PATH_LABEL_SIZE - 4) : 1;
    while (start < size && (path[start] & 0xc0) == 0x80)
        start++;
    while (!escape(out + 3, RAD_PATH_LABEL_SIZE - 3, path + start, size - start))
        start++;
    return out;
}
