/* Bytes and text: growing buffers, whole files, UTF-8, escapes, JSON values. */
#ifndef EXAMPLES_TEXT_H
#define EXAMPLES_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/* Starts as {0}. `data` always ends with a NUL that is not counted, once something was added. */
typedef struct buffer {
    char *data;
    size_t length;
    size_t capacity;
} buffer;

void buffer_reserve(buffer *target, size_t more);
void buffer_add(buffer *target, const char *bytes, size_t length);
void buffer_add_text(buffer *target, const char *text);
void buffer_add_format(buffer *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_clear(buffer *target);
void buffer_free(buffer *target);

/* The whole of a file, or of standard input when path is "-". Ends the program with a message when
 * it cannot be read or has more than `limit` bytes. */
buffer read_whole(const char *path, size_t limit);

/* The length of the UTF-8 character at `text`, 1 to 4; 0 when there is none. */
size_t utf8_character(const char *text, size_t length);
/* Offset of the first byte that is not UTF-8; `length` when all is. */
size_t utf8_invalid(const char *text, size_t length);
/* Appends text with what is not UTF-8 given as U+FFFD. */
void add_repaired(buffer *target, const char *text, size_t length);
/* Appends text that is safe on a terminal and on one line: control characters, backslash and what
 * is not UTF-8 are written as \n, \t, \\ and \xHH. */
void add_escaped(buffer *target, const char *text, size_t length);
void output_escaped(const char *text, size_t length);

/* A JSON string of any bytes. Ends the program when there is no memory; so do the next ones. */
json_t *json_from_text(const char *text, size_t length);
json_t *json_text_or_null(const char *text);
void json_put(json_t *object, const char *key, json_t *value);
void json_push(json_t *array, json_t *value);
/* null for what is not finite: JSON has no number for it. */
void json_put_real(json_t *object, const char *key, double value);
/* One object and a line break on standard output. */
void output_json(const json_t *value, size_t flags);

/* Whole decimal numbers with nothing behind them. */
bool parse_integer(const char *text, int64_t *out);

bool ends_with(const char *text, const char *end);

#define FNV1A_START UINT64_C(14695981039346656037)
uint64_t fnv1a(uint64_t hash, const void *bytes, size_t length);

#endif
