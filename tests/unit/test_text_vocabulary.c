/* Vocabularies that are refused, and why; those at the edges that are taken. */
#include "unit/harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "unit/text_support.h"

static const char *const merges[] = {"a b", "ab c", "h i"};
static const char *const specials[] = {"<|bos|>", "<|im_end|>"};
static const char *const pieces[] = {"\xE2\x96\x81", "a", "b", "ab",
                                     ("\xE2\x96\x81"
                                      "ab")};

static gguf_builder byte_level(void)
{
    return text_byte_level("gpt-2", merges, 3, specials, 2);
}

static gguf_builder sentencepiece(void)
{
    return text_sentencepiece(pieces, 5);
}

static void refused(gguf_builder *file, radllm_status expected, const char *part)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    radllm_status status = text_create(file, NULL, &tokenizer, &error);
    rad_assert_error(status, expected, &error, part);
    ck_assert_ptr_null(tokenizer);
    gguf_builder_free(file);
}

START_TEST(good_ones_are_taken)
{
    gguf_builder file = byte_level();
    rad_tokenizer *tokenizer = text_tokenizer(&file);
    ck_assert_uint_eq(rad_tokenizer_size(tokenizer), 261);
    ck_assert_str_eq(rad_tokenizer_kind(tokenizer), "gpt2");
    ck_assert_str_eq(rad_tokenizer_pre(tokenizer), "gpt-2");
    ck_assert_int_eq(rad_tokenizer_find(tokenizer, "abc", 3), 257);
    ck_assert_int_eq(rad_tokenizer_find(tokenizer, "abcd", 4), -1);
    ck_assert(rad_tokenizer_is_end(tokenizer, 260));
    ck_assert(!rad_tokenizer_is_end(tokenizer, 259));
    ck_assert(!rad_tokenizer_is_end(tokenizer, -1));
    ck_assert(!rad_tokenizer_is_end(tokenizer, 261));
    ck_assert_int_eq(rad_tokenizer_type(tokenizer, 259), RAD_TOKEN_CONTROL);
    ck_assert_uint_eq(rad_tokenizer_entry(tokenizer, 1 << 30).size, 0);
    ck_assert_uint_gt(rad_tokenizer_bytes(tokenizer), 1000);
    rad_tokenizer_free(tokenizer);
    file = sentencepiece();
    tokenizer = text_tokenizer(&file);
    ck_assert_str_eq(rad_tokenizer_kind(tokenizer), "llama");
    ck_assert_int_eq(rad_tokenizer_bos(tokenizer), 1);
    ck_assert(rad_tokenizer_is_end(tokenizer, 2));
    rad_tokenizer_free(tokenizer);
    rad_tokenizer_free(NULL);
    ck_assert_ptr_nonnull(strchr(rad_unicode_version(), '.'));
}
END_TEST

START_TEST(missing_keys)
{
    gguf_builder file = byte_level();
    gguf_remove_key(&file, "tokenizer.ggml.model");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.model is missing");
    file = byte_level();
    gguf_remove_key(&file, "tokenizer.ggml.tokens");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens is missing");
    file = byte_level();
    gguf_remove_key(&file, "tokenizer.ggml.merges");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.merges is missing");
}
END_TEST

START_TEST(unknown_kinds)
{
    gguf_builder file = byte_level();
    gguf_key_string(&file, "tokenizer.ggml.model", "rwkv");
    refused(&file, RADLLM_E_UNSUPPORTED, "tokenizer.ggml.model is \"rwkv\"");
    file = byte_level();
    gguf_key_u32(&file, "tokenizer.ggml.model", 1);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.model");
    file = byte_level();
    gguf_key_string(&file, "tokenizer.ggml.pre", "gpt");
    refused(&file, RADLLM_E_UNSUPPORTED, "tokenizer.ggml.pre is \"gpt\"");
    file = byte_level();
    gguf_key_string(&file, "tokenizer.ggml.pre", "gpt-2 mpt");
    refused(&file, RADLLM_E_UNSUPPORTED, "tokenizer.ggml.pre is");
    file = byte_level();
    gguf_remove_key(&file, "tokenizer.ggml.pre");
    rad_tokenizer *tokenizer = text_tokenizer(&file);
    ck_assert_str_eq(rad_tokenizer_pre(tokenizer), "default");
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* "t5": Unigram of SentencePiece. `unknown` and `byte` are the types of the tokens 0 and 125. */
static gguf_builder unigram(float score, int32_t unknown, int32_t byte)
{
    static float scores[264];
    static int32_t types[264];
    gguf_builder file = sentencepiece();
    for (int i = 0; i < 264; i++) {
        scores[i] = i == 263 ? score : -10.0f; /* of all three characters together */
        types[i] = i < 3 ? RAD_TOKEN_CONTROL : i < 259 ? RAD_TOKEN_BYTE : RAD_TOKEN_NORMAL;
    }
    types[0] = unknown;
    types[125] = byte;
    gguf_key_string(&file, "tokenizer.ggml.model", "t5");
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, scores, 4, 264);
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 264);
    gguf_key_bool(&file, "tokenizer.ggml.remove_extra_whitespaces", 1);
    gguf_key_bool(&file, "tokenizer.ggml.add_eos_token", 1);
    return file;
}

START_TEST(unigram_vocabularies)
{
    static const int32_t expected[2][6] = {{263, 259, 125, 1}, {259, 262, 259, 125, 1}};
    static const uint8_t bytes[3] = {1, 2, 3};
    for (int cut = 0; cut < 2; cut++) {
        gguf_builder file = unigram(cut ? -25.0f : -15.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_BYTE);
        rad_tokenizer *tokenizer = text_tokenizer(&file);
        ck_assert_str_eq(rad_tokenizer_kind(tokenizer), "unigram");
        rad_tokens ids = text_encode(tokenizer, "  ab   z ", 9, RADLLM_TOKENIZE_ADD_SPECIAL);
        ck_assert_uint_eq(ids.count, cut ? 5 : 4);
        ck_assert_mem_eq(ids.ids, expected[cut], ids.count * sizeof(int32_t));
        rad_tokens_free(&ids);
        rad_tokenizer_free(tokenizer);
    }
    gguf_builder file = unigram(-1.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_BYTE);
    gguf_remove_key(&file, "tokenizer.ggml.scores");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.scores is missing");
    file = unigram(-(float)INFINITY, RAD_TOKEN_UNKNOWN, RAD_TOKEN_BYTE);
    refused(&file, RADLLM_E_FORMAT, "a piece's score is no number");
    file = unigram(-1.0f, RAD_TOKEN_CONTROL, RAD_TOKEN_BYTE);
    refused(&file, RADLLM_E_FORMAT, "none of its pieces is of the type unknown");
    file = unigram(-1.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_UNKNOWN);
    refused(&file, RADLLM_E_FORMAT, "two of its pieces are of the type unknown");
    file = unigram(-1.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_NORMAL);
    refused(&file, RADLLM_E_FORMAT, "not a piece for each of the 256 bytes");
    file = unigram(-1.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_BYTE);
    gguf_key_string(&file, "tokenizer.ggml.precompiled_charsmap", "text");
    refused(&file, RADLLM_E_FORMAT, "must be an array of bytes");
    file = unigram(-1.0f, RAD_TOKEN_UNKNOWN, RAD_TOKEN_BYTE);
    gguf_key_array(&file, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, bytes, 1, 3);
    refused(&file, RADLLM_E_FORMAT, "precompiled_charsmap is damaged");
}
END_TEST

START_TEST(tokens_of_a_wrong_kind)
{
    int32_t numbers[3] = {1, 2, 3};
    gguf_builder file = byte_level();
    gguf_key_array(&file, "tokenizer.ggml.tokens", GGUF_I32, numbers, 4, 3);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens must be an array of strings");
    file = byte_level();
    gguf_key_string(&file, "tokenizer.ggml.tokens", "a");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens must be an array of strings");
    file = byte_level();
    gguf_key_strings(&file, "tokenizer.ggml.tokens", NULL, 0);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens is empty");
    const char *const twice[] = {"a", "b", "a"};
    file = byte_level();
    gguf_remove_key(&file, "tokenizer.ggml.token_type");
    gguf_key_strings(&file, "tokenizer.ggml.tokens", twice, 3);
    refused(&file, RADLLM_E_FORMAT,
            "tokenizer.ggml.tokens[2] is \"a\", as is "
            "tokenizer.ggml.tokens[0]");
}
END_TEST

START_TEST(scores_and_types)
{
    float scores[300] = {0};
    uint8_t bytes[300] = {0};
    int32_t types[300];
    for (int i = 0; i < 300; i++)
        types[i] = RAD_TOKEN_NORMAL;
    gguf_builder file = sentencepiece();
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_U8, bytes, 1, 264);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.scores must be an array of f32");
    file = sentencepiece();
    gguf_key_f32(&file, "tokenizer.ggml.scores", 1);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.scores must be an array of f32");
    file = sentencepiece();
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, scores, 4, 263);
    refused(&file, RADLLM_E_FORMAT,
            "tokenizer.ggml.scores has 263 entries but tokenizer.ggml.tokens has 264");
    file = sentencepiece();
    scores[7] = NAN;
    gguf_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, scores, 4, 264);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.scores[7] is not a number");
    file = sentencepiece();
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_F32, scores, 4, 264);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.token_type must be an array of i32");
    file = sentencepiece();
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 265);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.token_type has 265 entries");
    file = sentencepiece();
    types[9] = 7;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 264);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.token_type[9] is 7");
    file = sentencepiece();
    types[9] = -1;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 264);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.token_type[9] is -1");
}
END_TEST

START_TEST(merges_that_cannot_be)
{
    static const struct {
        const char *merge;
        const char *part;
    } cases[] = {
        {"ab", "tokenizer.ggml.merges[1], \"ab\", is not two pieces"},
        {"", "tokenizer.ggml.merges[1], \"\", is not two pieces"},
        {"a ", "tokenizer.ggml.merges[1], \"a \", is not two pieces"},
        {" b", "tokenizer.ggml.merges[1], \" b\", is not two pieces"},
        {"xyz b", "names a left piece that is not in the vocabulary"},
        {"a xyz", "names a right piece that is not in the vocabulary"},
        {"a b c", "names a right piece that is not in the vocabulary"},
        {"a c", "gives a piece that is not in the vocabulary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const list[] = {"a b", cases[i].merge};
        gguf_builder file = byte_level();
        gguf_key_strings(&file, "tokenizer.ggml.merges", list, 2);
        refused(&file, RADLLM_E_FORMAT, cases[i].part);
    }
    float number = 1;
    gguf_builder file = byte_level();
    gguf_key_array(&file, "tokenizer.ggml.merges", GGUF_F32, &number, 4, 1);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.merges must be an array of strings");
    file = byte_level();
    gguf_key_strings(&file, "tokenizer.ggml.merges", NULL, 0);
    rad_tokenizer *tokenizer = text_tokenizer(&file);
    text_check(tokenizer, "ab", 0, "97 98");
    rad_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(ids_beyond_the_vocabulary)
{
    static const char *const keys[] = {
        "bos_token_id",     "eos_token_id",     "unknown_token_id", "seperator_token_id",
        "padding_token_id", "mask_token_id",    "eot_token_id",     "eom_token_id",
        "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id", "fim_pad_token_id",
        "fim_rep_token_id", "fim_sep_token_id",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char key[64] = "tokenizer.ggml.";
        strcat(key, keys[i]);
        gguf_builder file = byte_level();
        gguf_key_u32(&file, key, 261);
        refused(&file, RADLLM_E_FORMAT, key);
        file = byte_level();
        gguf_key_u32(&file, key, UINT32_MAX);
        if (i < 2) {
            refused(&file, RADLLM_E_FORMAT, "the vocabulary has 261 tokens");
        } else { /* some converters write so what is not there */
            rad_tokenizer_free(text_tokenizer(&file));
        }
        file = byte_level();
        gguf_key_i32(&file, key, -1);
        refused(&file, RADLLM_E_FORMAT, "the vocabulary has 261 tokens");
        file = byte_level();
        gguf_key_string(&file, key, "1");
        refused(&file, RADLLM_E_FORMAT, key);
    }
}
END_TEST

START_TEST(flags_without_their_tokens)
{
    const char *const one[] = {"a"};
    gguf_builder file = text_byte_level("gpt-2", NULL, 0, NULL, 0);
    gguf_remove_key(&file, "tokenizer.ggml.token_type");
    gguf_key_strings(&file, "tokenizer.ggml.tokens", one, 1);
    gguf_key_bool(&file, "tokenizer.ggml.add_bos_token", 1);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.add_bos_token is true");
    file = text_byte_level("gpt-2", NULL, 0, NULL, 0);
    gguf_remove_key(&file, "tokenizer.ggml.token_type");
    gguf_key_strings(&file, "tokenizer.ggml.tokens", one, 1);
    gguf_key_bool(&file, "tokenizer.ggml.add_eos_token", 1);
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.add_eos_token is true");
    file = byte_level();
    gguf_key_string(&file, "tokenizer.ggml.add_bos_token", "yes");
    refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.add_bos_token");
}
END_TEST

/* Less than the default ids of BOS and EOS, and than the bytes. */
START_TEST(a_vocabulary_of_one_token)
{
    const char *const one[] = {"a"};
    static const char *const kinds[] = {"llama", "gpt2", "bert"};
    for (int i = 0; i < 3; i++) {
        gguf_builder file = text_byte_level("llama-bpe", NULL, 0, NULL, 0);
        gguf_key_string(&file, "tokenizer.ggml.model", kinds[i]);
        gguf_key_strings(&file, "tokenizer.ggml.tokens", one, 1);
        gguf_remove_key(&file, "tokenizer.ggml.token_type");
        rad_tokenizer *tokenizer = text_tokenizer(&file);
        ck_assert_int_eq(rad_tokenizer_bos(tokenizer), -1);
        ck_assert_int_eq(rad_tokenizer_eos(tokenizer), -1);
        ck_assert(!rad_tokenizer_adds_bos(tokenizer));
        rad_tokens tokens = text_encode(tokenizer, "b\xC3\xA9 a", 5, RADLLM_TOKENIZE_ADD_SPECIAL);
        for (size_t k = 0; k < tokens.count; k++)
            ck_assert_int_eq(tokens.ids[k], 0);
        rad_tokens_free(&tokens);
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

START_TEST(byte_tokens_that_name_no_byte)
{
    static const char *const names[] = {"<0xZZ>", "<0x-1>", "<0x1>", "<0x100>", "<0x41", "byte"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *const list[] = {"a", names[i]};
        int32_t types[] = {RAD_TOKEN_NORMAL, RAD_TOKEN_BYTE};
        gguf_builder file = sentencepiece();
        gguf_remove_key(&file, "tokenizer.ggml.scores");
        gguf_key_strings(&file, "tokenizer.ggml.tokens", list, 2);
        gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 2);
        refused(&file, RADLLM_E_FORMAT, "tokenizer.ggml.tokens[1] is of type byte");
    }
}
END_TEST

START_TEST(very_long_token_texts)
{
    size_t size = 3 << 20;
    char *text = malloc(size + 1);
    memset(text, 'a', size);
    text[size] = '\0';
    const char *const list[] = {"a", text, "aa"};
    int32_t types[] = {RAD_TOKEN_NORMAL, RAD_TOKEN_NORMAL, RAD_TOKEN_NORMAL};
    static const char *const kinds[] = {"llama", "gpt2", "bert"};
    for (int i = 0; i < 3; i++) {
        gguf_builder file = text_byte_level("tekken", NULL, 0, NULL, 0);
        gguf_key_string(&file, "tokenizer.ggml.model", kinds[i]);
        gguf_key_strings(&file, "tokenizer.ggml.tokens", list, 3);
        gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 3);
        rad_tokenizer *tokenizer = text_tokenizer(&file);
        rad_tokens tokens = text_encode(tokenizer, text, 1 << 20, 0);
        rad_tokens_free(&tokens);
        ck_assert_uint_ge(rad_detokenizer_bound(tokenizer), size);
        rad_tokenizer_free(tokenizer);
    }
    types[1] = RAD_TOKEN_CONTROL;
    gguf_builder file = text_byte_level("tekken", NULL, 0, NULL, 0);
    gguf_key_strings(&file, "tokenizer.ggml.tokens", list, 3);
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 3);
    refused(&file, RADLLM_E_LIMIT, "a control or user-defined token, is 3145728 bytes long");
    free(text);
}
END_TEST

START_TEST(every_failing_allocation_is_told)
{
    for (int kind = 0; kind < 2; kind++) {
        uint64_t n = 1;
        for (;; n++) {
            rad_test_memory memory;
            rad_test_memory_init(&memory, n);
            rad_host host = {.allocator = rad_test_allocator(&memory)};
            gguf_builder file = kind == 0 ? byte_level() : sentencepiece();
            rad_tokenizer *tokenizer = NULL;
            radllm_error error = {0};
            radllm_status status = text_create(&file, &host, &tokenizer, &error);
            gguf_builder_free(&file);
            if (status == RADLLM_OK) {
                char text[3000];
                memset(text, 'h', sizeof text);
                memcpy(text + 2000, "ab \xFF hi abc", 12);
                rad_tokens tokens = {.allocator = &host.allocator};
                status = rad_tokenizer_encode(tokenizer, text, sizeof text,
                                              RADLLM_TOKENIZE_ADD_SPECIAL, &tokens, &error);
                rad_tokens_free(&tokens);
                rad_tokenizer_free(tokenizer);
            }
            if (status != RADLLM_OK)
                rad_assert_error(status, RADLLM_E_MEMORY, &error, "cannot allocate");
            rad_test_memory_check(&memory);
            if (!atomic_load(&memory.failed))
                break;
        }
        ck_assert_uint_gt(n, 4);
        ck_assert_uint_lt(n, 100);
    }
}
END_TEST

/* Files of others: each must be refused cleanly, or make a tokenizer that works. */
START_TEST(stubs_of_others)
{
    static const char *const stubs[] = {
        "malformed/gguf-tokenizer-stubs/bert-base-uncased.gguf",
        "malformed/gguf-tokenizer-stubs/bitnet-b1.58-2B.gguf",
        "malformed/gguf-tokenizer-stubs/corrupted-embedded-tokenizer.gguf",
        "malformed/gguf-tokenizer-stubs/gpt-neo-1.3b.gguf",
        "malformed/gguf-tokenizer-stubs/gpt2-50k.gguf",
        "malformed/gguf-tokenizer-stubs/gpt2-medium.gguf",
        "malformed/gguf-tokenizer-stubs/llama2-32k.gguf",
        "malformed/gguf-tokenizer-stubs/llama2-7b.gguf",
        "malformed/gguf-tokenizer-stubs/llama2-with-sentencepiece.gguf",
        "malformed/gguf-tokenizer-stubs/llama3-128k.gguf",
        "malformed/gguf-tokenizer-stubs/llama3-8b.gguf",
        "malformed/gguf-tokenizer-stubs/llama3-with-hf-tokenizer.gguf",
        "malformed/gguf-tokenizer-stubs/t5-base.gguf",
        "malformed/gguf-tokenizer-stubs/vocab-1000.gguf",
        "malformed/gguf-tokenizer-stubs/vocab-128256.gguf",
        "malformed/gguf-tokenizer-stubs/vocab-32000.gguf",
        "malformed/gguf-tokenizer-stubs/vocab-50257.gguf",
        "malformed/crafted/gguf/tok-bos-out-of-range.gguf",
        "malformed/crafted/gguf/tok-duplicate.gguf",
        "malformed/crafted/gguf/tok-merge-no-space.gguf",
        "malformed/crafted/gguf/tok-merge-unknown.gguf",
        "malformed/crafted/gguf/tok-scores-short.gguf",
        "malformed/crafted/gguf/tok-tokens-are-ints.gguf",
    };
    for (size_t i = 0; i < sizeof stubs / sizeof stubs[0]; i++) {
        const char *path = rad_test_shared_path(stubs[i]);
        if (path == NULL)
            RAD_SKIP("%s is not there", stubs[i]);
        rad_host host = {.allocator = rad_default_allocator};
        rad_source *source = NULL;
        rad_tokenizer *tokenizer = NULL;
        radllm_error error = {0};
        radllm_status status = rad_source_open(&host, path, &source, &error);
        if (status == RADLLM_OK)
            status = rad_tokenizer_create(&host, source, &tokenizer, &error);
        rad_source_release(source);
        ck_assert_msg(status != RADLLM_OK && strlen(error.message) > 10, "%s was taken", stubs[i]);
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "vocabularies");
    tcase_add_test(cases, good_ones_are_taken);
    tcase_add_test(cases, missing_keys);
    tcase_add_test(cases, unknown_kinds);
    tcase_add_test(cases, unigram_vocabularies);
    tcase_add_test(cases, tokens_of_a_wrong_kind);
    tcase_add_test(cases, scores_and_types);
    tcase_add_test(cases, merges_that_cannot_be);
    tcase_add_test(cases, ids_beyond_the_vocabulary);
    tcase_add_test(cases, flags_without_their_tokens);
    tcase_add_test(cases, a_vocabulary_of_one_token);
    tcase_add_test(cases, byte_tokens_that_name_no_byte);
    tcase_add_test(cases, very_long_token_texts);
    tcase_add_test(cases, every_failing_allocation_is_told);
    tcase_add_test(cases, stubs_of_others);
}

int main(void)
{
    return rad_test_main("text_vocabulary", add_cases);
}
