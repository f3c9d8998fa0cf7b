/* Tokenizes many strings, for comparison with other implementations.
 *
 * Usage: tokenize_many MODEL [--add-special] [--parse-special] [--decode] [--skip-special]
 *        [--repeat N]
 * MODEL is a GGUF file or a tokenizer.json.
 *
 * Standard input holds strings that each end in a NUL (the last one may lack it). Standard output
 * gets one line of ids per string; with --decode also a line with the bytes, as hexadecimal digits,
 * that the ids stand for (control tokens too where they are read, unless skipped). The time and
 * speed of the best of N rounds go to standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/tokenizer.h"

static char *read_all(size_t *size)
{
    size_t capacity = 1 << 20;
    char *data = malloc(capacity);
    *size = 0;
    while (data != NULL) {
        size_t n = fread(data + *size, 1, capacity - *size, stdin);
        if (n == 0)
            return data;
        *size += n;
        if (*size == capacity) {
            capacity *= 2;
            char *grown = realloc(data, capacity);
            if (grown == NULL)
                free(data);
            data = grown;
        }
    }
    return NULL;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void print_decoded(const rad_tokenizer *tokenizer, const rad_tokens *tokens, uint32_t flags)
{
    size_t length = 0;
    rad_tokenizer_decode(tokenizer, tokens->ids, tokens->count, flags, NULL, 0, &length, NULL);
    char *text = malloc(length + 1);
    if (text == NULL)
        return;
    rad_tokenizer_decode(tokenizer, tokens->ids, tokens->count, flags, text, length, &length, NULL);
    for (size_t i = 0; i < length; i++)
        printf("%02x", (unsigned char)text[i]);
    putchar('\n');
    free(text);
}

static void print_ids(const rad_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        printf(i == 0 ? "%d" : " %d", (int)tokens->ids[i]);
    putchar('\n');
}

/* Encodes every string; prints the ids when `print`. Returns 0, or 1 after a failure. */
static int encode_all(const rad_tokenizer *tokenizer, const char *data, size_t size, uint32_t flags,
                      bool print, bool decode, bool skip)
{
    bool special = (flags & RADLLM_TOKENIZE_PARSE_SPECIAL) != 0 && !skip;
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_error error = {0};
    int failed = 0;
    for (size_t start = 0; start < size && !failed;) {
        const char *end = memchr(data + start, '\0', size - start);
        size_t length = end != NULL ? (size_t)(end - data) - start : size - start;
        tokens.count = 0;
        failed = rad_tokenizer_encode(tokenizer, data + start, length, flags, &tokens, &error) !=
                 RADLLM_OK;
        start += length + 1;
        if (print)
            print_ids(&tokens);
        if (print && decode)
            print_decoded(tokenizer, &tokens, special ? RADLLM_DETOKENIZE_SPECIAL : 0);
    }
    if (failed)
        fprintf(stderr, "%s\n", error.message);
    rad_tokens_free(&tokens);
    return failed;
}

int main(int argc, char **argv)
{
    uint32_t flags = 0;
    bool decode = false, skip = false;
    int repeat = 1;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--add-special") == 0)
            flags |= RADLLM_TOKENIZE_ADD_SPECIAL;
        else if (strcmp(argv[i], "--parse-special") == 0)
            flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
        else if (strcmp(argv[i], "--decode") == 0)
            decode = true;
        else if (strcmp(argv[i], "--skip-special") == 0)
            skip = true;
        else if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
            repeat = atoi(argv[++i]);
    }
    if (argc < 2) {
        fprintf(stderr,
                "usage: %s MODEL [--add-special] [--parse-special] [--decode] [--skip-special] "
                "[--repeat N]\n",
                argv[0]);
        return 2;
    }
    radllm_error error = {0};
    rad_host host = {.allocator = rad_default_allocator};
    rad_source *source = NULL;
    rad_tokenizer *tokenizer = NULL;
    double loading = seconds();
    if (rad_source_open(&host, argv[1], &source, &error) != RADLLM_OK ||
        rad_tokenizer_create(&host, source, &tokenizer, &error) != RADLLM_OK) {
        fprintf(stderr, "%s\n", error.message);
        rad_source_release(source);
        return 1;
    }
    rad_source_release(source);
    loading = seconds() - loading;
    size_t size;
    char *data = read_all(&size);
    double best = 0;
    int failed = data == NULL;
    for (int round = 0; round < repeat && !failed; round++) {
        double start = seconds();
        failed = encode_all(tokenizer, data, size, flags, false, false, skip);
        double took = seconds() - start;
        best = round == 0 || took < best ? took : best;
    }
    if (!failed)
        failed = encode_all(tokenizer, data, size, flags, true, decode, skip);
    fprintf(stderr, "%zu bytes, %.4f s, %.3f MB/s; loaded in %.1f ms, %zu bytes held\n", size, best,
            (double)size / best / 1e6, loading * 1e3, rad_tokenizer_bytes(tokenizer));
    free(data);
    rad_tokenizer_free(tokenizer);
    return failed;
}
