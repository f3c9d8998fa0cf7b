/* What must hold of the tokens of any tokenizer. */
#ifndef RAD_FUZZ_TOKENS_H
#define RAD_FUZZ_TOKENS_H

#include "fuzz_common.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

/* The size of the well-formed character at p, or 0. */
static inline size_t character(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t size = p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : 4;
    if (p[0] < 0xC2 || p[0] > 0xF4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool good = !(p[0] == 0xE0 && p[1] < 0xA0) && !(p[0] == 0xED && p[1] > 0x9F) &&
                !(p[0] == 0xF0 && p[1] < 0x90) && !(p[0] == 0xF4 && p[1] > 0x8F);
    return good ? size : 0;
}

static inline bool is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length = character((const uint8_t *)text + i, size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* Streams the tokens; each piece is whole characters, and valid text streams as it decodes (but for
 * BERT's, whose spaces before punctuation are taken out of the whole text alone). */
static inline void check_stream(const rad_tokenizer *tokenizer, const rad_tokens *tokens,
                                uint32_t flags)
{
    size_t size = 0, used = 0;
    radllm_error error = {0};
    HOLDS(rad_tokenizer_decode(tokenizer, tokens->ids, tokens->count, flags, NULL, 0, &size,
                               &error) == RADLLM_OK);
    char *decoded = malloc(size + 1);
    size_t bound = rad_detokenizer_bound(tokenizer);
    char *streamed = malloc((tokens->count + 1) * bound + 1);
    HOLDS(decoded != NULL && streamed != NULL);
    HOLDS(rad_tokenizer_decode(tokenizer, tokens->ids, tokens->count, flags, decoded, size, &size,
                               &error) == RADLLM_OK);
    rad_detokenizer stream;
    rad_detokenizer_start(&stream, tokenizer, flags);
    for (size_t i = 0; i <= tokens->count; i++) {
        size_t written = i < tokens->count
                             ? rad_detokenizer_push(&stream, tokens->ids[i], streamed + used)
                             : rad_detokenizer_finish(&stream, streamed + used);
        HOLDS(written <= bound && is_utf8(streamed + used, written));
        used += written;
    }
    if (is_utf8(decoded, size) && strcmp(rad_tokenizer_kind(tokenizer), "bert") != 0)
        HOLDS(used == size && memcmp(decoded, streamed, size) == 0);
    free(decoded);
    free(streamed);
}

/* Ids are in range, and stream as they decode. */
static inline void check_tokens(const rad_tokenizer *tokenizer, const rad_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        HOLDS(tokens->ids[i] >= 0 && (uint32_t)tokens->ids[i] < rad_tokenizer_size(tokenizer));
    check_stream(tokenizer, tokens, 0);
    check_stream(tokenizer, tokens, RADLLM_DETOKENIZE_SPECIAL);
}

/* How a text of a fuzzer is tokenized. */
enum { SAMPLE_PARSE = 1, SAMPLE_ADD = 2, SAMPLE_SPANS = 4 };

/* Tokenizes the sample. */
static inline void check_sample(const rad_tokenizer *tokenizer, uint8_t flags, input sample,
                                memory *m)
{
    const rad_allocator allocator = {memory_take, memory_give_back, m};
    rad_tokens tokens = {.allocator = &allocator};
    radllm_error error = {0};
    size_t cut = (flags & SAMPLE_SPANS) != 0 ? sample.size / 2 : sample.size;
    const char *text = (const char *)sample.data;
    const rad_text_span spans[] = {{{text, cut}, (flags & SAMPLE_PARSE) != 0},
                                   {{text + cut, sample.size - cut}, false}};
    uint32_t wanted = (flags & SAMPLE_ADD) != 0 ? RADLLM_TOKENIZE_ADD_SPECIAL : 0;
    radllm_status status = rad_tokenizer_encode_spans(tokenizer, spans, 2, wanted, &tokens, &error);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_LIMIT || status == RADLLM_E_FORMAT ||
          (status == RADLLM_E_MEMORY && m->fail_at != 0));
    HOLDS(status == RADLLM_OK || (tokens.count == 0 && error.message[0] != '\0'));
    m->fail_at = 0;
    if (status == RADLLM_OK)
        check_tokens(tokenizer, &tokens);
    rad_tokens_free(&tokens);
}

/* A file for rad_tokenizer_files, to be freed. */
static inline rad_tokenizer_file copy_file(input in)
{
    rad_tokenizer_file file = {malloc(in.size + 1), in.size};
    HOLDS(file.data != NULL);
    if (in.size > 0)
        memcpy(file.data, in.data, in.size);
    file.data[in.size] = '\0';
    return file;
}

/* What must hold of a tokenizer made from `size` bytes, or of the refusal; frees it. */
static inline void check_made(radllm_status status, const radllm_error *error,
                              rad_tokenizer *tokenizer, uint8_t flags, input sample, size_t size,
                              memory *m)
{
    HOLDS(m->peak_bytes <= ((size_t)16 << 20) + 1000 * size);
    if (status == RADLLM_OK) {
        check_sample(tokenizer, flags, sample, m);
        rad_tokenizer_free(tokenizer);
    } else {
        HOLDS(tokenizer == NULL && error->status == status && error->message[0] != '\0');
        HOLDS(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
              status == RADLLM_E_LIMIT || (status == RADLLM_E_MEMORY && m->fail_at != 0));
    }
    HOLDS(m->live_blocks == 0 && m->live_bytes == 0);
}

#endif
