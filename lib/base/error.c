#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

radllm_status rad_fail(radllm_error *error, radllm_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length < 0)
        error->message[0] = '\0';
    error->status = status;
    return status;
}

void rad_error_clear(radllm_error *error)
{
    if (error == NULL)
        return;
    error->status = RADLLM_OK;
    error->message[0] = '\0';
}

radllm_status rad_fail_memory(radllm_error *error, size_t size)
{
    return rad_fail(error, RADLLM_E_MEMORY,
                    "cannot allocate %zu bytes; free memory, or lower the context or the number of "
                    "sessions",
                    size);
}

const char *rad_quote(char out[RAD_QUOTE_SIZE], const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool printable = c >= 0x20 && c < 0x7f && c != '\\';
        if (used + (printable ? 1 : 4) > RAD_QUOTE_SIZE - 4) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (printable) {
            out[used++] = (char)c;
        } else {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[c >> 4];
            out[used++] = digits[c & 15];
        }
    }
    out[used] = '\0';
    return out;
}

bool rad_ends_with(const char *text, size_t size, const char *ending)
{
    size_t tail = strlen(ending);
    return size >= tail && memcmp(text + size - tail, ending, tail) == 0;
}

bool rad_same_any_case(const char *text, const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != word[i])
            return false;
    }
    return true;
}

static bool has_name(const char *text, const char *names, bool whole)
{
    const size_t size = strlen(text);
    for (; *names != '\0'; names += *names == '|') {
        size_t n = strcspn(names, "|");
        if ((whole ? n == size : n <= size) && memcmp(text, names, n) == 0)
            return true;
        names += n;
    }
    return false;
}

bool rad_is_one_of(const char *text, const char *names)
{
    return has_name(text, names, true);
}

bool rad_begins_with_one_of(const char *text, const char *names)
{
    return has_name(text, names, false);
}
