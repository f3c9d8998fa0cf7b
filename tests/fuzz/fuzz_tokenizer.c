/* Fuzzes vocabularies and tokenizing: the input says a kind of tokenizer, tokens, merges, and a
 * text; with FLAG_PARTS the parts of a tokenizer.json, too, and how added tokens are found.
 * Whatever they are, the vocabulary is refused with a message or makes a tokenizer whose ids are in
 * range, whose streaming detokenizer gives whole characters and the same text as decoding at once,
 * and which gives valid text back where every byte has a token. */
#include "fuzz_tokens.h"

/* ---- the vocabulary -------------------------------------------------------------------------- */

enum { KIND_LLAMA, KIND_GPT2, KIND_BERT, KIND_T5 };
enum {
    FLAG_ALL_BYTES = 1,
    FLAG_BOS = 2,
    FLAG_PARSE = 4,
    FLAG_EOS = 8,
    FLAG_NO_PREFIX = 16,
    FLAG_TRIM = 32,
    FLAG_PARTS = 64
};

typedef struct token {
    input text;
    uint8_t type;
    int8_t score;
} token;

typedef struct vocabulary {
    uint8_t kind, flags, pre;
    token tokens[256];
    size_t n_tokens;
    input merges[256];
    size_t n_merges;
    input charsmap; /* of "t5" */
    input parts;
} vocabulary;

static const char *const kinds[] = {"llama", "gpt2", "bert", "t5"};
static const char *const pres[] = {
    "default",   "gpt-2",  "llama-bpe", "qwen2",  "deepseek-llm", "deepseek-coder", "deepseek-v3",
    "starcoder", "tekken", "gpt-4o",    "falcon", "bloom",        "unknown"};

static bool has_merges(const vocabulary *v)
{
    return v->kind == KIND_GPT2 || (v->flags & FLAG_PARTS) != 0;
}

static void read_vocabulary(input *in, vocabulary *v)
{
    v->kind = take_byte(in) % 4;
    v->flags = take_byte(in);
    v->pre = take_byte(in) % (sizeof pres / sizeof *pres);
    v->n_tokens = take_byte(in);
    v->n_merges = has_merges(v) ? take_byte(in) : 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t size = take_byte(in);
        v->tokens[i].type = take_byte(in) % 8;
        v->tokens[i].score = (int8_t)take_byte(in);
        v->tokens[i].text = take_bytes(in, size % 32);
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        size_t size = take_byte(in);
        v->merges[i] = take_bytes(in, size % 32);
    }
    v->charsmap = take_bytes(in, v->kind == KIND_T5 ? take_byte(in) : 0);
    v->parts = (input){NULL, 0};
    if ((v->flags & FLAG_PARTS) != 0) {
        size_t size = take_byte(in);
        v->parts = take_bytes(in, size + 256 * (size_t)take_byte(in));
    }
}

/* The tokens of all bytes, in the spelling of the kind. */
static size_t byte_token(const vocabulary *v, uint32_t byte, char out[8])
{
    if (v->kind == KIND_GPT2)
        return byte_letter(byte, out);
    return (size_t)snprintf(out, 8, "<0x%02X>", byte);
}

/* Flags of added tokens are their scores. */
static void write_parts(const vocabulary *v, gguf_text *file, size_t count, size_t bytes)
{
    gguf_begin_key(file, "radllm.tokenizer.json", RAD_META_STRING);
    gguf_put_string(file, v->parts.data, v->parts.size);
    gguf_begin_array(file, "radllm.tokenizer.added_ids", RAD_META_U32, count);
    for (size_t i = 0; i < count; i++)
        gguf_put_number(file, i, 4);
    gguf_begin_array(file, "radllm.tokenizer.added_flags", RAD_META_U8, count);
    for (size_t i = 0; i < count; i++)
        gguf_put_number(file, i < bytes ? 0 : (uint8_t)v->tokens[i - bytes].score, 1);
}

static void write_tokens(const vocabulary *v, gguf_text *file)
{
    size_t bytes = (v->flags & FLAG_ALL_BYTES) != 0 ? 256 : 0;
    size_t count = v->n_tokens + bytes;
    char spelled[8];
    gguf_begin_array(file, "tokenizer.ggml.tokens", RAD_META_STRING, count);
    for (size_t i = 0; i < bytes; i++)
        gguf_put_string(file, spelled, byte_token(v, (uint32_t)i, spelled));
    for (size_t i = 0; i < v->n_tokens; i++)
        gguf_put_string(file, v->tokens[i].text.data, v->tokens[i].text.size);
    gguf_begin_array(file, "tokenizer.ggml.token_type", RAD_META_I32, count);
    for (size_t i = 0; i < bytes; i++)
        gguf_put_number(file, v->kind == KIND_GPT2 ? RAD_TOKEN_NORMAL : RAD_TOKEN_BYTE, 4);
    for (size_t i = 0; i < v->n_tokens; i++)
        gguf_put_number(file, v->tokens[i].type, 4);
    if ((v->flags & FLAG_PARTS) != 0)
        write_parts(v, file, count, bytes);
    if (v->kind != KIND_LLAMA && v->kind != KIND_T5)
        return;
    gguf_begin_array(file, "tokenizer.ggml.scores", RAD_META_F32, count);
    for (size_t i = 0; i < count; i++) {
        float score = i < bytes ? 0.0f : (float)v->tokens[i - bytes].score;
        gguf_put(file, &score, 4);
    }
}

static void write_flag(gguf_text *file, const char *name, bool value)
{
    gguf_begin_key(file, name, RAD_META_BOOL);
    gguf_put_number(file, value, 1);
}

static gguf_text write_vocabulary(const vocabulary *v)
{
    gguf_text file;
    gguf_begin(&file);
    gguf_key_string(&file, "tokenizer.ggml.model", kinds[v->kind]);
    write_tokens(v, &file);
    for (int i = 0; i < 2; i++) {
        gguf_begin_key(&file,
                       i == 0 ? "tokenizer.ggml.bos_token_id" : "tokenizer.ggml.eos_token_id",
                       RAD_META_U32);
        gguf_put_number(&file, (uint64_t)i, 4);
    }
    write_flag(&file, "tokenizer.ggml.add_bos_token", (v->flags & FLAG_BOS) != 0);
    write_flag(&file, "tokenizer.ggml.add_eos_token", (v->flags & FLAG_EOS) != 0);
    write_flag(&file, "tokenizer.ggml.add_space_prefix", (v->flags & FLAG_NO_PREFIX) == 0);
    write_flag(&file, "tokenizer.ggml.remove_extra_whitespaces", (v->flags & FLAG_TRIM) != 0);
    if (v->charsmap.size > 0) {
        gguf_begin_array(&file, "tokenizer.ggml.precompiled_charsmap", RAD_META_U8,
                         v->charsmap.size);
        gguf_put(&file, v->charsmap.data, v->charsmap.size);
    }
    if (v->kind == KIND_GPT2)
        gguf_key_string(&file, "tokenizer.ggml.pre", pres[v->pre]);
    if (has_merges(v)) {
        gguf_begin_array(&file, "tokenizer.ggml.merges", RAD_META_STRING, v->n_merges);
        for (size_t i = 0; i < v->n_merges; i++)
            gguf_put_string(&file, v->merges[i].data, v->merges[i].size);
    }
    return file;
}

/* ---- what a tokenizer must do ---------------------------------------------------------------- */

/* Where every byte has a token and no token has a meaning of its own, text comes back. */
static void check_round_trip(const vocabulary *v, const rad_tokenizer *tokenizer, input text)
{
    radllm_error error = {0};
    for (size_t i = 0; i < v->n_tokens; i++)
        if (v->tokens[i].type > 1)
            return;
    if ((v->flags & (FLAG_ALL_BYTES | FLAG_PARTS)) != FLAG_ALL_BYTES || v->kind != KIND_GPT2 ||
        !is_utf8((const char *)text.data, text.size))
        return;
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    HOLDS(rad_tokenizer_encode(tokenizer, (const char *)text.data, text.size, 0, &tokens, &error) ==
          RADLLM_OK);
    size_t size = 0;
    char *back = malloc(text.size + 1);
    HOLDS(back != NULL && rad_tokenizer_decode(tokenizer, tokens.ids, tokens.count, 0, back,
                                               text.size, &size, &error) == RADLLM_OK);
    HOLDS(size == text.size && memcmp(back, text.data, size) == 0);
    free(back);
    rad_tokens_free(&tokens);
}

static void check_tokenizer(const vocabulary *v, const rad_tokenizer *tokenizer, input text,
                            const rad_allocator *allocator)
{
    uint32_t flags = RADLLM_TOKENIZE_ADD_SPECIAL;
    if ((v->flags & FLAG_PARSE) != 0)
        flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
    radllm_error error = {0};
    rad_tokens tokens = {.allocator = allocator};
    radllm_status status =
        rad_tokenizer_encode(tokenizer, (const char *)text.data, text.size, flags, &tokens, &error);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    ((memory *)allocator->user)->fail_at = 0;
    if (status == RADLLM_OK) {
        HOLDS(tokens.count <= 4 * text.size + 8);
        check_tokens(tokenizer, &tokens);
        check_round_trip(v, tokenizer, text);
    }
    rad_tokens_free(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vocabulary v; /* large; read anew for each input */
    input text = {data, size};
    read_vocabulary(&text, &v);
    gguf_text file = write_vocabulary(&v);
    input bytes = {file.data, file.size};
    rad_source *source = NULL;
    radllm_error error = {0};
    HOLDS(rad_source_open_callback(NULL, read_input, &bytes, bytes.size, &source, &error) ==
          RADLLM_OK);
    memory m = {.fail_at = failing_allocation(data, size, 24)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_tokenizer *tokenizer = NULL;
    radllm_status status = rad_tokenizer_create(&host, source, &tokenizer, &error);
    rad_source_release(source);
    free(file.data);
    if ((v.flags & FLAG_PARTS) != 0) {
        check_made(status, &error, tokenizer, v.flags, text, size, &m);
        return 0;
    }
    if (status == RADLLM_OK) {
        check_tokenizer(&v, tokenizer, text, &host.allocator);
        rad_tokenizer_free(tokenizer);
    } else {
        HOLDS(tokenizer == NULL && error.status == status && error.message[0] != '\0');
        HOLDS(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
              (status == RADLLM_E_MEMORY && m.fail_at != 0));
    }
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    return 0;
}
