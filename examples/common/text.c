#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/program.h"

void buffer_reserve(buffer *target, size_t more)
{
    if (more >= SIZE_MAX / 2 - target->length)
        fail("out of memory: a text of more than %zu bytes", SIZE_MAX / 2);
    size_t wanted = target->length + more + 1;
    if (wanted <= target->capacity)
        return;
    size_t capacity = target->capacity + target->capacity / 2;
    if (capacity < wanted)
        capacity = wanted;
    if (capacity < 256)
        capacity = 256;
    target->data = memory_resize(target->data, capacity);
    target->capacity = capacity;
}

void buffer_add(buffer *target, const char *bytes, size_t length)
{
    buffer_reserve(target, length);
    if (length != 0)
        memcpy(target->data + target->length, bytes, length);
    target->length += length;
    target->data[target->length] = '\0';
}

void buffer_add_text(buffer *target, const char *text)
{
    buffer_add(target, text, strlen(text));
}

void buffer_add_format(buffer *target, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    int length = vasprintf(&text, format, list);
    va_end(list);
    if (length < 0)
        fail("out of memory while a text was formatted");
    buffer_add(target, text, (size_t)length);
    free(text);
}

void buffer_clear(buffer *target)
{
    target->length = 0;
    if (target->data != NULL)
        target->data[0] = '\0';
}

void buffer_free(buffer *target)
{
    free(target->data);
    *target = (buffer){0};
}

static void read_descriptor(int descriptor, const char *name, size_t limit, buffer *out)
{
    for (;;) {
        buffer_reserve(out, 65536);
        if (!program_wait_for_input(descriptor)) {
            warn("interrupted");
            program_end(EXIT_CODE_INTERRUPTED);
        }
        ssize_t got = read(descriptor, out->data + out->length, out->capacity - out->length - 1);
        if (got < 0)
            fail("cannot read %s: %s", name, strerror(errno));
        if (got == 0)
            break;
        out->length += (size_t)got;
        if (out->length > limit)
            fail("%s has more than %zu bytes, the most that is read here", name, limit);
    }
    out->data[out->length] = '\0';
}

buffer read_whole(const char *path, size_t limit)
{
    buffer out = {0};
    if (strcmp(path, "-") == 0) {
        read_descriptor(STDIN_FILENO, "standard input", limit, &out);
        return out;
    }
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        fail("cannot open %s: %s", path, strerror(errno));
    struct stat about;
    if (fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0) {
        if ((uint64_t)about.st_size > limit)
            fail("%s has %lld bytes; at most %zu are read here", path, (long long)about.st_size,
                 limit);
        buffer_reserve(&out, (size_t)about.st_size + 1);
    }
    read_descriptor(descriptor, path, limit, &out);
    close(descriptor);
    return out;
}

size_t utf8_character(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    if (length == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    size_t size = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || size > length)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates and what is beyond U+10FFFF. */
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return size;
}

size_t utf8_invalid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t size = utf8_character(text + at, length - at);
        if (size == 0)
            break;
        at += size;
    }
    return at;
}

void add_repaired(buffer *target, const char *text, size_t length)
{
    size_t at = 0;
    buffer_reserve(target, length);
    while (at < length) {
        size_t good = utf8_invalid(text + at, length - at);
        buffer_add(target, text + at, good);
        at += good;
        if (at < length) {
            buffer_add(target, "\xEF\xBF\xBD", 3);
            at++;
        }
    }
}

void add_escaped(buffer *target, const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        unsigned char byte = (unsigned char)text[at];
        size_t size = utf8_character(text + at, length - at);
        /* U+0080 to U+009F are control characters too. */
        bool control = byte < 0x20 || byte == 0x7F || size == 0 ||
                       (size == 2 && byte == 0xC2 && (unsigned char)text[at + 1] < 0xA0);
        if (byte == '\n')
            buffer_add(target, "\\n", 2);
        else if (byte == '\r')
            buffer_add(target, "\\r", 2);
        else if (byte == '\t')
            buffer_add(target, "\\t", 2);
        else if (byte == '\\')
            buffer_add(target, "\\\\", 2);
        else if (!control)
            buffer_add(target, text + at, size);
        else
            buffer_add_format(target, "\\x%02X", byte);
        if (control && size == 2)
            buffer_add_format(target, "\\x%02X", (unsigned char)text[at + 1]);
        at += size != 0 ? size : 1;
    }
}

void output_escaped(const char *text, size_t length)
{
    buffer escaped = {0};
    add_escaped(&escaped, text, length);
    output_write(escaped.data, escaped.length);
    buffer_free(&escaped);
}

static json_t *have_json(json_t *value)
{
    if (value == NULL)
        fail("out of memory while JSON was made");
    return value;
}

json_t *json_from_text(const char *text, size_t length)
{
    buffer repaired = {0};
    buffer_reserve(&repaired, length);
    add_repaired(&repaired, text, length);
    json_t *value = have_json(json_stringn_nocheck(repaired.data, repaired.length));
    buffer_free(&repaired);
    return value;
}

json_t *json_text_or_null(const char *text)
{
    return text != NULL ? json_from_text(text, strlen(text)) : have_json(json_null());
}

void json_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, have_json(value)) != 0)
        fail("out of memory while JSON was made");
}

void json_push(json_t *array, json_t *value)
{
    if (json_array_append_new(array, have_json(value)) != 0)
        fail("out of memory while JSON was made");
}

void json_put_real(json_t *object, const char *key, double value)
{
    json_put(object, key, value - value == 0 ? json_real(value) : json_null());
}

static int write_json(const char *bytes, size_t length, void *user)
{
    (void)user;
    output_write(bytes, length);
    return 0;
}

void output_json(const json_t *value, size_t flags)
{
    if (json_dump_callback(value, write_json, NULL, flags) != 0)
        fail("the JSON output could not be made");
    output_text("\n");
}

bool parse_integer(const char *text, int64_t *out)
{
    if (text[0] == '\0' || text[0] == ' ')
        return false;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *out = value;
    return true;
}

uint64_t fnv1a(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}
