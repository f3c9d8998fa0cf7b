#include "unit/text_support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocabulary.h"
#include "text/utf8.h"
#include "unit/harness.h"

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    ck_assert_ptr_nonnull(copy);
    return copy;
}

static char *joined(const char *merge)
{
    char *copy = copy_of(merge);
    char *space = strchr(copy + 1, ' ');
    if (space != NULL)
        memmove(space, space + 1, strlen(space + 1) + 1);
    return copy;
}

static void set_tokens(gguf_builder *file, char **tokens, const int32_t *types, size_t count)
{
    gguf_key_strings(file, "tokenizer.ggml.tokens", (const char *const *)tokens, count);
    gguf_key_array(file, "tokenizer.ggml.token_type", GGUF_I32, types, sizeof *types, count);
    for (size_t i = 0; i < count; i++)
        free(tokens[i]);
    free(tokens);
}

gguf_builder text_byte_level(const char *pre, const char *const *merges, size_t n_merges,
                             const char *const *specials, size_t n_specials)
{
    gguf_builder file = gguf_builder_new();
    size_t count = 256 + n_merges + n_specials;
    char **tokens = calloc(count, sizeof *tokens);
    int32_t *types = calloc(count, sizeof *types);
    for (size_t i = 0; i < count; i++) {
        char letter[8] = {0};
        types[i] = RAD_TOKEN_NORMAL;
        if (i < 256) {
            rad_utf8_encode(rad_byte_to_letter((uint8_t)i), (uint8_t *)letter);
            tokens[i] = copy_of(letter);
        } else if (i < 256 + n_merges) {
            tokens[i] = joined(merges[i - 256]);
        } else {
            tokens[i] = copy_of(specials[i - 256 - n_merges]);
            types[i] = RAD_TOKEN_CONTROL;
        }
    }
    gguf_key_string(&file, "tokenizer.ggml.model", "gpt2");
    gguf_key_string(&file, "tokenizer.ggml.pre", pre);
    set_tokens(&file, tokens, types, count);
    free(types);
    gguf_key_strings(&file, "tokenizer.ggml.merges", merges, n_merges);
    return file;
}

gguf_builder text_sentencepiece(const char *const *pieces, size_t n_pieces)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    gguf_builder file = gguf_builder_new();
    size_t count = 3 + 256 + n_pieces;
    char **tokens = calloc(count, sizeof *tokens);
    int32_t *types = calloc(count, sizeof *types);
    float *scores = calloc(count, sizeof *scores);
    for (size_t i = 0; i < count; i++) {
        char name[8];
        if (i < 3) {
            tokens[i] = copy_of(first[i]);
            types[i] = i == 0 ? RAD_TOKEN_UNKNOWN : RAD_TOKEN_CONTROL;
        } else if (i < 259) {
            snprintf(name, sizeof name, "<0x%02X>", (unsigned)(i - 3));
            tokens[i] = copy_of(name);
            types[i] = RAD_TOKEN_BYTE;
        } else {
            tokens[i] = copy_of(pieces[i - 259]);
            types[i] = RAD_TOKEN_NORMAL;
            scores[i] = -(float)(i - 259);
        }
    }
    gguf_key_string(&file, "tokenizer.ggml.model", "llama");
    set_tokens(&file, tokens, types, count);
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, scores, sizeof *scores, count);
    free(types);
    free(scores);
    return file;
}

gguf_builder text_wordpiece(const char *const *entries, size_t count)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "tokenizer.ggml.model", "bert");
    gguf_key_strings(&file, "tokenizer.ggml.tokens", entries, count);
    int32_t *types = calloc(count, sizeof *types);
    for (size_t i = 0; i < count; i++)
        types[i] = entries[i][0] == '[' ? RAD_TOKEN_CONTROL : RAD_TOKEN_NORMAL;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, sizeof *types, count);
    free(types);
    return file;
}

static int32_t read_bytes(void *user, uint64_t offset, void *buffer, size_t size)
{
    const gguf_bytes *bytes = user;
    if (offset > bytes->size || size > bytes->size - offset)
        return 1;
    memcpy(buffer, bytes->data + offset, size);
    return 0;
}

radllm_status text_create(gguf_builder *file, const rad_host *host, rad_tokenizer **out,
                          radllm_error *error)
{
    rad_host usual = {.allocator = rad_default_allocator};
    gguf_bytes bytes = gguf_build(file);
    rad_source *source = NULL;
    radllm_error opening = {0};
    rad_assert_ok(
        rad_source_open_callback(&usual, read_bytes, &bytes, bytes.size, &source, &opening),
        &opening);
    radllm_status status = rad_tokenizer_create(host != NULL ? host : &usual, source, out, error);
    rad_source_release(source);
    gguf_bytes_free(&bytes);
    return status;
}

rad_tokenizer *text_tokenizer(gguf_builder *file)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    rad_assert_ok(text_create(file, NULL, &tokenizer, &error), &error);
    gguf_builder_free(file);
    return tokenizer;
}

rad_tokenizer *text_open(const char *path)
{
    rad_host host = {.allocator = rad_default_allocator};
    radllm_error error = {0};
    rad_source *source = NULL;
    rad_assert_ok(rad_source_open(&host, path, &source, &error), &error);
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(rad_tokenizer_create(&host, source, &tokenizer, &error), &error);
    rad_source_release(source); /* nothing points into it any more */
    return tokenizer;
}

rad_tokens text_encode(const rad_tokenizer *tokenizer, const char *text, size_t size,
                       uint32_t flags)
{
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_error error = {0};
    rad_assert_ok(rad_tokenizer_encode(tokenizer, text, size, flags, &tokens, &error), &error);
    return tokens;
}

void text_check(const rad_tokenizer *tokenizer, const char *text, uint32_t flags, const char *ids)
{
    rad_tokens tokens = text_encode(tokenizer, text, strlen(text), flags);
    char list[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < tokens.count && used + 16 < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, i == 0 ? "%d" : " %d",
                                 (int)tokens.ids[i]);
    ck_assert_msg(strcmp(list, ids) == 0, "\"%s\" gives %s, expected %s", text, list, ids);
    rad_tokens_free(&tokens);
}

/* The lines of a file, without comments at its head; *count receives their number. */
static char **lines_of(char *data, size_t *count)
{
    char **lines = NULL;
    size_t capacity = 0;
    *count = 0;
    const char *data_end = data + strlen(data);
    for (char *line = data; *line != '\0';) {
        /* Not strchr(): with strict_string_checks each call would read to the end of the file. */
        char *end = memchr(line, '\n', (size_t)(data_end - line));
        if (end != NULL)
            *end = '\0';
        if (*line != '\0' && strncmp(line, "#version", 8) != 0) {
            if (*count == capacity) {
                capacity = capacity == 0 ? 65536 : capacity * 2;
                lines = realloc(lines, capacity * sizeof *lines);
                ck_assert_ptr_nonnull(lines);
            }
            lines[(*count)++] = line;
        }
        if (end == NULL)
            break;
        line = end + 1;
    }
    return lines;
}

gguf_builder text_from_json(const char *pre, const char *vocabulary, const char *merges,
                            const char *const *specials, size_t n_specials)
{
    gguf_builder file = gguf_builder_new();
    json_t *ids = json_load_file(vocabulary, 0, NULL);
    ck_assert_ptr_nonnull(ids);
    size_t known = json_object_size(ids);
    size_t count = known + n_specials;
    char **tokens = calloc(count, sizeof *tokens);
    int32_t *types = calloc(count, sizeof *types);
    const char *token;
    json_t *id;
    json_object_foreach(ids, token, id)
    {
        size_t at = (size_t)json_integer_value(id);
        ck_assert_uint_lt(at, known);
        tokens[at] = copy_of(token);
        types[at] = RAD_TOKEN_NORMAL;
    }
    json_decref(ids);
    for (size_t i = known; i < count; i++) {
        tokens[i] = copy_of(specials[i - known]);
        types[i] = RAD_TOKEN_CONTROL;
    }
    gguf_key_string(&file, "tokenizer.ggml.model", "gpt2");
    gguf_key_string(&file, "tokenizer.ggml.pre", pre);
    set_tokens(&file, tokens, types, count);
    free(types);
    size_t size;
    char *data = (char *)rad_test_read_file(merges, &size);
    size_t n_lines;
    char **lines = lines_of(data, &n_lines);
    gguf_key_strings(&file, "tokenizer.ggml.merges", (const char *const *)lines, n_lines);
    free(lines);
    free(data);
    return file;
}
