/* Tokenizers against recorded ids: the vocabularies and texts of the shared test data. */
#include "unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static const rad_host host = {.allocator = {0}};

static rad_tokenizer *open_tokenizer(const char *path)
{
    rad_host with_memory = host;
    with_memory.allocator = rad_default_allocator;
    radllm_error error = {0};
    rad_source *source = NULL;
    rad_assert_ok(rad_source_open(&with_memory, path, &source, &error), &error);
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(rad_tokenizer_create(&with_memory, source, &tokenizer, &error), &error);
    rad_source_release(source); /* nothing points into it any more */
    return tokenizer;
}

/* Compares the ids of one text with a line of numbers. */
static void check_text(const rad_tokenizer *tokenizer, const char *text, size_t size,
                       const char *line, const char *what)
{
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_error error = {0};
    rad_assert_ok(rad_tokenizer_encode(tokenizer, text, size, 0, &tokens, &error), &error);
    size_t count = 0;
    for (const char *p = line; *p != '\0' && *p != '\n'; count++) {
        char *end;
        long expected = strtol(p, &end, 10);
        if (end == p)
            break;
        ck_assert_msg(count < tokens.count && tokens.ids[count] == expected,
                      "%s: token %zu of \"%.*s\" is %d, expected %ld", what, count, (int)size, text,
                      count < tokens.count ? (int)tokens.ids[count] : -1, expected);
        p = end;
    }
    ck_assert_msg(count == tokens.count, "%s: %zu tokens instead of %zu for \"%.*s\"", what,
                  tokens.count, count, (int)size, text);
    rad_tokens_free(&tokens);
}

static void check_pair(const rad_tokenizer *tokenizer, const char *name)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tokenizers/ggml-vocab/ggml-vocab-%s.gguf.inp", name);
    char *input = (char *)rad_test_read_file(rad_test_shared_path(path), &size);
    snprintf(path, sizeof path, "tokenizers/ggml-vocab/ggml-vocab-%s.gguf.out", name);
    size_t output_size;
    char *output = (char *)rad_test_read_file(rad_test_shared_path(path), &output_size);
    const char *line = output;
    int n = 0;
    for (const char *text = input; line != NULL; n++) {
        const char *end = strstr(text, SEPARATOR);
        size_t length = end != NULL ? (size_t)(end - text) : strlen(text);
        check_text(tokenizer, text, length, line, name);
        line = end == NULL ? NULL : strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
        text += length + strlen(SEPARATOR);
    }
    ck_assert_int_eq(n, 47);
    free(input);
    free(output);
}

static const char *const files[] = {"bert-bge",  "deepseek-llm", "gpt-2",
                                    "llama-spm", "phi-3",        "starcoder"};

START_TEST(file_gives_the_recorded_ids)
{
    char path[256];
    snprintf(path, sizeof path, "tokenizers/ggml-vocab/ggml-vocab-%s.gguf", files[_i]);
    const char *found = rad_test_shared_path(path);
    if (found == NULL)
        RAD_SKIP("%s is not there", path);
    rad_tokenizer *tokenizer = open_tokenizer(found);
    check_pair(tokenizer, files[_i]);
    rad_tokenizer_free(tokenizer);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "vectors");
    tcase_add_loop_test(cases, file_gives_the_recorded_ids, 0, sizeof files / sizeof files[0]);
}

int main(void)
{
    return rad_test_main("text_vectors", add_cases);
}
