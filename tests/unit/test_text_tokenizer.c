/* What tokenizers do: special tokens, spaces, bytes, invalid UTF-8, decoding, streams. */
#include "unit/harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"
#include "unit/text_support.h"

#define SPECIAL (RADLLM_TOKENIZE_ADD_SPECIAL | RADLLM_TOKENIZE_PARSE_SPECIAL)
#define PARSE   RADLLM_TOKENIZE_PARSE_SPECIAL
#define BLOCK   "\xE2\x96\x81"

/* ids: 256 "ab", 257 "abc", 258 "Ġa" (a space and a), 259 <|bos|>, 260 <|im_end|> */
static rad_tokenizer *byte_level(const char *pre)
{
    static const char *const merges[] = {"a b", "ab c", "\xC4\xA0 a"};
    static const char *const specials[] = {"<|bos|>", "<|im_end|>"};
    gguf_builder file = text_byte_level(pre, merges, 3, specials, 2);
    gguf_key_u32(&file, "tokenizer.ggml.bos_token_id", 259);
    gguf_key_u32(&file, "tokenizer.ggml.eos_token_id", 260);
    return text_tokenizer(&file);
}

/* ids: 259 BLOCK, 260 a, 261 b, 262 ab, 263 BLOCK ab, 264 ba, 265 BLOCK BLOCK */
static gguf_builder sentencepiece_keys(void)
{
    static const char *const pieces[] = {BLOCK, "a", "b", "ab", BLOCK "ab", "ba", BLOCK BLOCK};
    return text_sentencepiece(pieces, 7);
}

static rad_tokenizer *sentencepiece(void)
{
    gguf_builder file = sentencepiece_keys();
    return text_tokenizer(&file);
}

START_TEST(bytes_merge_by_rank)
{
    rad_tokenizer *t = byte_level("gpt-2");
    text_check(t, "", 0, "");
    text_check(t, "", SPECIAL, "");
    text_check(t, "abc", 0, "257");
    text_check(t, "abab", 0, "256 256");
    text_check(t, " ab a", 0, "32 256 258"); /* "ab" ranks before " a" */
    text_check(t, "\xC3\xA9", 0, "195 169");
    rad_tokenizer_free(t);
    t = byte_level("llama-bpe"); /* adds BOS */
    text_check(t, "ab", SPECIAL, "259 256");
    text_check(t, "ab", 0, "256");
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(known_pieces_are_not_merged)
{
    /* "ba" and "bab" are in the vocabulary, but no merge makes "bab". */
    static const char *const merges[] = {"b a"};
    static const char *const kinds[] = {"gpt-2", "llama-bpe", "tekken"};
    for (int i = 0; i < 3; i++) {
        gguf_builder file = text_byte_level(kinds[i], merges, 1, (const char *const[]){"bab"}, 1);
        int32_t types[258];
        for (int k = 0; k < 258; k++)
            types[k] = RAD_TOKEN_NORMAL;
        gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 258);
        rad_tokenizer *t = text_tokenizer(&file);
        text_check(t, "bab", 0, i == 0 ? "256 98" : "257");
        rad_tokenizer_free(t);
        /* A control token is none of these pieces. */
        file = text_byte_level(kinds[i], merges, 1, (const char *const[]){"bab"}, 1);
        t = text_tokenizer(&file);
        text_check(t, "bab", 0, "256 98");
        text_check(t, "bab", PARSE, "257");
        rad_tokenizer_free(t);
    }
}
END_TEST

START_TEST(control_tokens_are_read_on_request_only)
{
    rad_tokenizer *t = byte_level("gpt-2");
    text_check(t, "ab<|im_end|>ab", PARSE, "256 260 256");
    text_check(t, "<|bos|><|im_end|>", PARSE, "259 260");
    text_check(t, "<|im_end|", PARSE, "60 124 105 109 95 101 110 100 124");
    text_check(t, "<|im_end|>", 0, "60 124 105 109 95 101 110 100 124 62");
    rad_tokenizer_free(t);
}
END_TEST

/* A merge that would make a control token does not count. */
START_TEST(no_merge_makes_a_control_token)
{
    static const char *const merges[] = {"a b"};
    gguf_builder file = text_byte_level("gpt-2", merges, 1, NULL, 0);
    int32_t types[257];
    for (int i = 0; i < 257; i++)
        types[i] = i == 256 ? RAD_TOKEN_CONTROL : RAD_TOKEN_NORMAL;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 257);
    rad_tokenizer *t = text_tokenizer(&file);
    text_check(t, "ab", 0, "97 98");
    text_check(t, "ab", PARSE, "256");
    rad_tokenizer_free(t);
    static const char *const pieces[] = {BLOCK, "a", "b", "ab"};
    file = text_sentencepiece(pieces, 4);
    int32_t kinds[263];
    for (int i = 0; i < 263; i++)
        kinds[i] = i == 262 ? RAD_TOKEN_CONTROL : i >= 3 && i < 259 ? RAD_TOKEN_BYTE : 1;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, kinds, 4, 263);
    t = text_tokenizer(&file);
    text_check(t, "ab", 0, "259 260 261");
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(user_defined_tokens_are_always_read)
{
    static const char *const added[] = {"ab", "abcd", "bcde"};
    gguf_builder file = text_byte_level("gpt-2", NULL, 0, added, 3);
    int32_t types[259];
    for (int i = 0; i < 259; i++)
        types[i] = i < 256 ? RAD_TOKEN_NORMAL : RAD_TOKEN_USER_DEFINED;
    gguf_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, types, 4, 259);
    rad_tokenizer *t = text_tokenizer(&file);
    text_check(t, "abc", 0, "256 99");
    text_check(t, "abcde", 0, "257 101"); /* leftmost, then longest */
    text_check(t, "xbcde", 0, "120 258");
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(spaces_of_sentencepiece)
{
    rad_tokenizer *t = sentencepiece();
    text_check(t, "ab", 0, "263");
    text_check(t, "ab", SPECIAL, "1 263");
    text_check(t, "", SPECIAL, "1");
    text_check(t, " ab", 0, "259 263"); /* "ab" first, then what it makes */
    text_check(t, "ab ab", 0, "263 263");
    text_check(t, "ab  ab", 0, "263 259 263");
    text_check(t, "   ", 0, "265 265");
    text_check(t, BLOCK "ab", 0, "259 263");
    text_check(t, "ab</s>ab", PARSE, "263 2 263");
    text_check(t, "ab</s> ab", PARSE, "263 2 259 263");
    text_check(t, "</s>", 0, "259 63 50 118 65");
    text_check(t, "\xC3\xA9", 0, "259 198 172");
    text_check(t, "\n", 0, "259 13");
    rad_tokenizer_free(t);
    gguf_builder file = sentencepiece_keys();
    gguf_key_bool(&file, "tokenizer.ggml.add_space_prefix", 0);
    gguf_key_bool(&file, "tokenizer.ggml.add_bos_token", 0);
    gguf_key_bool(&file, "tokenizer.ggml.add_eos_token", 1);
    t = text_tokenizer(&file);
    text_check(t, "ab", SPECIAL, "262 2");
    ck_assert(rad_tokenizer_adds_eos(t));
    rad_tokenizer_free(t);
}
END_TEST

static void count_lines(void *user, int32_t level, const char *line)
{
    ck_assert_int_eq(level, RADLLM_LOG_WARNING);
    *(int *)user += strstr(line, "no tokenizer.ggml.scores") != NULL ||
                    strstr(line, "tokenizer.ggml.merges is empty") != NULL;
}

START_TEST(what_merges_is_missed)
{
    static const char *const pieces[] = {BLOCK, "a", "aa"};
    int lines = 0;
    const rad_host host = {.log = count_lines, .log_user = &lines, .log_level = RADLLM_LOG_WARNING};
    for (int i = 0; i < 3; i++) {
        gguf_builder file = i < 2 ? text_sentencepiece(pieces, 3)
                                  : text_byte_level("gpt-2", (const char *[]){"a a"}, 1, NULL, 0);
        rad_tokenizer *tokenizer;
        radllm_error error = {0};
        if (i == 1)
            gguf_remove_key(&file, "tokenizer.ggml.scores");
        if (i == 2)
            gguf_key_strings(&file, "tokenizer.ggml.merges", NULL, 0);
        rad_assert_ok(text_create(&file, &host, &tokenizer, &error), &error);
        ck_assert_int_eq(lines, i);
        rad_tokenizer_free(tokenizer);
        gguf_builder_free(&file);
    }
}
END_TEST

/* Of equal scores the leftmost pair merges first. */
START_TEST(ties_go_left)
{
    static const char *const pieces[] = {BLOCK, "a", "aa"};
    gguf_builder file = text_sentencepiece(pieces, 3);
    gguf_remove_key(&file, "tokenizer.ggml.scores");
    gguf_key_bool(&file, "tokenizer.ggml.add_space_prefix", 0);
    rad_tokenizer *t = text_tokenizer(&file);
    text_check(t, "aaa", 0, "261 260");
    char text[102];
    memset(text, 'a', 101); /* long enough for the heap */
    text[101] = '\0';
    rad_tokens tokens = text_encode(t, text, 101, 0);
    ck_assert_uint_eq(tokens.count, 51);
    for (size_t i = 0; i < 50; i++)
        ck_assert_int_eq(tokens.ids[i], 261);
    ck_assert_int_eq(tokens.ids[50], 260);
    rad_tokens_free(&tokens);
    rad_tokenizer_free(t);
}
END_TEST

/* Words with a space within: merging may cross from word to word. */
START_TEST(tokens_across_words)
{
    static const char *const pieces[] = {BLOCK, "a", "b", "a" BLOCK, "a" BLOCK "b"};
    gguf_builder file = text_sentencepiece(pieces, 5);
    gguf_key_bool(&file, "tokenizer.ggml.add_space_prefix", 0);
    rad_tokenizer *t = text_tokenizer(&file);
    text_check(t, "a b", 0, "263");
    text_check(t, "a bb a", 0, "263 261 259 260");
    rad_tokenizer_free(t);
}
END_TEST

/* Whatever the file says, no space is put in front of bytes, and so none is taken off. */
START_TEST(bytes_have_no_space_in_front)
{
    gguf_builder file = text_byte_level("gpt-2", NULL, 0, NULL, 0);
    gguf_key_bool(&file, "tokenizer.ggml.add_space_prefix", 1);
    rad_tokenizer *t = text_tokenizer(&file);
    char back[8];
    size_t size = 0;
    text_check(t, " a", 0, "32 97");
    text_check(t, "a", 0, "97");
    rad_assert_ok(
        rad_tokenizer_decode(t, (const int32_t[]){32, 97}, 2, 0, back, sizeof back, &size, NULL),
        NULL);
    ck_assert_uint_eq(size, 2);
    ck_assert_mem_eq(back, " a", 2);
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(bytes_that_are_no_utf8)
{
    rad_tokenizer *t = byte_level("gpt-2");
    text_check(t, "\xFF", 0, "239 191 189");
    text_check(t, "\xC3(", 0, "239 191 189 40");
    text_check(t, "\xE2\x82", 0, "239 191 189 239 191 189");
    text_check(t, "\xC1\x81", 0, "65");              /* overlong: its value */
    text_check(t, "\xED\xA0\x80", 0, "237 160 128"); /* a surrogate: as it is */
    text_check(t, "\xF4\x90\x80\x80", 0, "239 191 189 239 191 189 239 191 189 239 191 189");
    rad_tokens tokens = text_encode(t, "a\0b", 3, 0);
    ck_assert_uint_eq(tokens.count, 3);
    ck_assert_int_eq(tokens.ids[1], 0);
    rad_tokens_free(&tokens);
    rad_tokenizer_free(t);
    t = sentencepiece();
    text_check(t, "\xFF", 0, "259 258");
    text_check(t, "\xC3", 0, "259 198");
    text_check(t, "\xE2(a", 0, "259 229 43 100"); /* cut by the lead byte alone */
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(words_of_bert)
{
    static const char *const entries[] = {
        "[PAD]",     "[UNK]", "[CLS]", "[SEP]",   BLOCK "hello",
        BLOCK "caf", "e",     "s",     BLOCK ",", BLOCK "\xE4\xB8\xAD",
        BLOCK "a",
    };
    gguf_builder file = text_wordpiece(entries, 11);
    gguf_key_u32(&file, "tokenizer.ggml.unknown_token_id", 1);
    gguf_key_u32(&file, "tokenizer.ggml.cls_token_id", 2);
    gguf_key_u32(&file, "tokenizer.ggml.seperator_token_id", 3);
    rad_tokenizer *t = text_tokenizer(&file);
    ck_assert_str_eq(rad_tokenizer_kind(t), "bert");
    text_check(t, "Hello, CAF\xC3\x89S", RADLLM_TOKENIZE_ADD_SPECIAL, "2 4 8 5 6 7 3");
    text_check(t, "cafe\xCC\x81", 0, "5 6"); /* combining accents are dropped */
    text_check(t,
               "\xE4\xB8\xAD"
               "a",
               0, "9 10");
    text_check(t,
               "hello\x07\xEF\xBF\xBD"
               "s \t\n",
               0, "4 7");
    text_check(t, "xyz hello", 0, "1 4");
    text_check(t, "[SEP]", 0, "1 1 1");
    text_check(t, "[SEP]", PARSE, "3");
    char text[300];
    memset(text, 's', sizeof text);
    rad_tokens tokens = text_encode(t, text, sizeof text, 0);
    ck_assert_uint_eq(tokens.count, 1);
    ck_assert_int_eq(tokens.ids[0], 1);
    rad_tokens_free(&tokens);
    const int32_t ids[] = {2, 4, 8, 5, 6, 7, 3};
    char buffer[64] = "";
    size_t length = 0;
    rad_assert_ok(
        rad_tokenizer_decode(t, ids, 7, RADLLM_DETOKENIZE_SPECIAL, buffer, 64, &length, NULL),
        NULL);
    ck_assert_uint_eq(length, strlen("[CLS] hello, cafes [SEP]"));
    ck_assert_int_eq(memcmp(buffer, "[CLS] hello, cafes [SEP]", length), 0);
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(added_tokens_are_found_as_the_file_says)
{
    static const char *const specials[] = {"<s>", "<l>", "<r>", "<w>"};
    static const uint32_t ids[] = {257, 258, 259};
    static const uint8_t flags[] = {1, 2, 0xF4}; /* lstrip, rstrip, single_word */
    for (int lie = 0; lie < 4; lie++) {
        gguf_builder file = text_byte_level("gpt-2", NULL, 0, specials, 4);
        uint32_t wrong[] = {257, 258, lie == 1 ? 260 : 259};
        gguf_key_u32(&file, "tokenizer.ggml.bos_token_id", 256);
        gguf_key_u32(&file, "tokenizer.ggml.eos_token_id", 256);
        gguf_key_array(&file, "radllm.tokenizer.added_ids", RAD_META_U32, lie ? wrong : ids, 4, 3);
        gguf_key_array(&file, "radllm.tokenizer.added_flags", lie == 3 ? RAD_META_I8 : RAD_META_U8,
                       flags, 1, lie == 2 ? 2 : 3);
        if (lie > 0) {
            radllm_error error = {0};
            rad_tokenizer *none = NULL;
            rad_assert_error(text_create(&file, NULL, &none, &error), RADLLM_E_FORMAT, &error,
                             "radllm.tokenizer.added_ids");
            gguf_builder_free(&file);
            continue;
        }
        rad_tokenizer *t = text_tokenizer(&file);
        text_check(t, "a \xE3\x80\x80<l> a", PARSE, "97 257 32 97");
        text_check(t, " <r> \t\xC2\xA0", PARSE, "32 258");
        text_check(t, "<r>  <l>a", PARSE, "258 257 97");
        text_check(t, "<w>!<w>", PARSE, "259 33 259");
        text_check(t, "<w>a", PARSE, "60 119 62 97");
        rad_tokenizer_free(t);
    }
}
END_TEST

START_TEST(words_of_bert_keep_case_or_accents)
{
    static const char *const entries[] = {
        "[UNK]",      BLOCK "Caf\xC3\x89", BLOCK "caf\xC3\xA9",
        BLOCK "CafE", BLOCK "\xC4\xB0",    BLOCK "i\xCC\x87",
    };
    static const struct {
        int lowercase, strip; /* -1: the file does not say */
        const char *ids;
    } cases[] = {
        {0, 0, "1 4"}, {0, -1, "1 4"}, {1, 0, "2 5"}, {0, 1, "3 0"}, {1, -1, "0 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_builder file = text_wordpiece(entries, 6);
        gguf_key_u32(&file, "tokenizer.ggml.unknown_token_id", 0);
        gguf_key_bool(&file, "tokenizer.ggml.normalizer.lowercase", cases[i].lowercase == 1);
        if (cases[i].strip >= 0)
            gguf_key_bool(&file, "tokenizer.ggml.normalizer.strip_accents", cases[i].strip == 1);
        rad_tokenizer *t = text_tokenizer(&file);
        text_check(t, "Caf\xC3\x89 \xC4\xB0", 0, cases[i].ids);
        rad_tokenizer_free(t);
    }
}
END_TEST

/* ---- spans ------------------------------------------------------------------------------ */

static void check_spans(const rad_tokenizer *t, const rad_text_span *spans, size_t count,
                        uint32_t flags, const int32_t *ids, size_t n_ids)
{
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_error error = {0};
    rad_assert_ok(rad_tokenizer_encode_spans(t, spans, count, flags, &tokens, &error), &error);
    ck_assert_uint_eq(tokens.count, n_ids);
    for (size_t i = 0; i < n_ids; i++)
        ck_assert_int_eq(tokens.ids[i], ids[i]);
    rad_tokens_free(&tokens);
}

#define SPAN(text, parse)                                                                          \
    {                                                                                              \
        {text, sizeof(text) - 1}, parse                                                            \
    }

START_TEST(control_tokens_lie_within_spans_that_allow_them)
{
    rad_tokenizer *t = byte_level("gpt-2");
    const rad_text_span all[] = {SPAN("<|im_", true), SPAN("end|>", true)};
    check_spans(t, all, 2, 0, (int32_t[]){260}, 1);
    const rad_text_span user[] = {SPAN("<|im_end|>", true), SPAN("<|bos|>", false),
                                  SPAN("<|im_end|>", true)};
    check_spans(t, user, 3, 0, (int32_t[]){260, 60, 124, 98, 111, 115, 124, 62, 260}, 9);
    const rad_text_span head[] = {SPAN("<|im_", true), SPAN("end|>", false)};
    check_spans(t, head, 2, 0, (int32_t[]){60, 124, 105, 109, 95, 101, 110, 100, 124, 62}, 10);
    const rad_text_span tail[] = {SPAN("<|im_", false), SPAN("end|>", true)};
    check_spans(t, tail, 2, 0, (int32_t[]){60, 124, 105, 109, 95, 101, 110, 100, 124, 62}, 10);
    const rad_text_span empty[] = {SPAN("", false), SPAN("<|im_end|>", true), SPAN("", false)};
    check_spans(t, empty, 3, 0, (int32_t[]){260}, 1);
    /* Text merges across the borders. */
    const rad_text_span merged[] = {SPAN("a", true), SPAN("b", false), SPAN("c", true)};
    check_spans(t, merged, 3, 0, (int32_t[]){257}, 1);
    check_spans(t, NULL, 0, 0, NULL, 0);
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(one_bos_at_the_head)
{
    rad_tokenizer *t = byte_level("llama-bpe");
    const rad_text_span with[] = {SPAN("<|bos|>", true), SPAN("ab", false)};
    const rad_text_span without[] = {SPAN("ab", false)};
    const rad_text_span user[] = {SPAN("<|bos|>", false)};
    check_spans(t, with, 2, RAD_TOKENIZE_ADD_BOS, (int32_t[]){259, 256}, 2);
    check_spans(t, without, 1, RAD_TOKENIZE_ADD_BOS, (int32_t[]){259, 256}, 2);
    check_spans(t, user, 1, RAD_TOKENIZE_ADD_BOS, (int32_t[]){259, 60, 124, 98, 111, 115, 124, 62},
                8);
    text_check(t, "<|bos|>ab", SPECIAL, "259 259 256"); /* what was asked for */
    rad_tokenizer_free(t);
}
END_TEST

/* ---- decoding ----------------------------------------------------------------------------- */

static void check_decode(const rad_tokenizer *t, const int32_t *ids, size_t count, uint32_t flags,
                         const char *expected)
{
    char buffer[256];
    size_t length = 0;
    rad_assert_ok(rad_tokenizer_decode(t, ids, count, flags, buffer, sizeof buffer, &length, NULL),
                  NULL);
    ck_assert_msg(length == strlen(expected) && memcmp(buffer, expected, length) == 0,
                  "\"%.*s\" instead of \"%s\"", (int)length, buffer, expected);
    char part[3] = {'x', 'x', 'x'};
    rad_assert_ok(rad_tokenizer_decode(t, ids, count, flags, part, 2, &length, NULL), NULL);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_int_eq(part[2], 'x');
}

START_TEST(sequences_become_text)
{
    rad_tokenizer *t = sentencepiece();
    const int32_t ids[] = {1, 263, 263, 2, 198, 172, 999, -5};
    check_decode(t, ids, 8, 0, "ab ab\xC3\xA9");
    check_decode(t, ids, 8, RADLLM_DETOKENIZE_SPECIAL, "<s> ab ab</s>\xC3\xA9");
    check_decode(t, (int32_t[]){265, 262}, 2, 0, " ab");
    check_decode(t, NULL, 0, 0, "");
    char piece[8];
    ck_assert_uint_eq(rad_tokenizer_piece(t, 263, false, piece, 8), 3);
    ck_assert_int_eq(memcmp(piece, " ab", 3), 0);
    ck_assert_uint_eq(rad_tokenizer_piece(t, 1, false, piece, 8), 0);
    ck_assert_uint_eq(rad_tokenizer_piece(t, 1, true, piece, 1), 3);
    rad_tokenizer_free(t);
    t = byte_level("gpt-2");
    check_decode(t, (int32_t[]){258, 257, 260, 255}, 4, 0, " aabc\xFF");
    rad_tokenizer_free(t);
}
END_TEST

/* Each push gives whole characters; together they are the decoded text. */
static void check_stream(const rad_tokenizer *t, const int32_t *ids, size_t count,
                         const char *expected)
{
    rad_detokenizer stream;
    rad_detokenizer_start(&stream, t, 0);
    char *buffer = malloc(rad_detokenizer_bound(t));
    char all[512];
    size_t used = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t given = i < count ? rad_detokenizer_push(&stream, ids[i], buffer)
                                 : rad_detokenizer_finish(&stream, buffer);
        ck_assert_uint_le(given, rad_detokenizer_bound(t));
        for (size_t at = 0; at < given;) {
            int length = rad_utf8_strict((uint8_t *)buffer + at, (uint8_t *)buffer + given);
            ck_assert_int_gt(length, 0);
            at += (size_t)length;
        }
        ck_assert_uint_lt(used + given, sizeof all);
        memcpy(all + used, buffer, given);
        used += given;
    }
    ck_assert_msg(used == strlen(expected) && memcmp(all, expected, used) == 0,
                  "\"%.*s\" instead of \"%s\"", (int)used, all, expected);
    ck_assert_uint_eq(rad_detokenizer_finish(&stream, buffer), 0);
    free(buffer);
}

#define FFFD "\xEF\xBF\xBD"

START_TEST(streams_never_end_within_a_character)
{
    rad_tokenizer *t = byte_level("gpt-2");
    check_stream(t, (int32_t[]){0xE4, 0xB8, 0xAD, 97}, 4,
                 "\xE4\xB8\xAD"
                 "a");
    check_stream(t, (int32_t[]){0xF0, 0x9F, 0x98, 0x80}, 4, "\xF0\x9F\x98\x80");
    check_stream(t, (int32_t[]){0xF0, 0x9F, 0x98}, 3, FFFD);
    check_stream(t, (int32_t[]){0xF0, 0x9F, 97}, 3, FFFD "a");
    check_stream(t, (int32_t[]){0xE0, 0x80, 0x80}, 3, FFFD FFFD FFFD);
    check_stream(t, (int32_t[]){0xED, 0xA0, 0x80}, 3, FFFD FFFD FFFD);
    check_stream(t, (int32_t[]){0xF4, 0x90}, 2, FFFD FFFD);
    check_stream(t, (int32_t[]){0xE4, 0xE4, 0xB8, 0xAD}, 4, FFFD "\xE4\xB8\xAD");
    check_stream(t, (int32_t[]){0xC0, 0xFF, 0x80, 260, 97}, 5, FFFD FFFD FFFD "a");
    check_stream(t, NULL, 0, "");
    rad_tokenizer_free(t);
    t = sentencepiece();
    check_stream(t, (int32_t[]){1, 263, 263, 0xC3 + 3, 2, 0xA9 + 3}, 6, "ab ab\xC3\xA9");
    check_stream(t, (int32_t[]){259, 259, 260}, 3, " a");
    rad_tokenizer_free(t);
}
END_TEST

/* Random ids, as a stream, are the decoded bytes with U+FFFD for what is no UTF-8. */
START_TEST(streams_equal_whole_texts)
{
    rad_tokenizer *t = byte_level("gpt-2");
    uint64_t state = 1;
    char *buffer = malloc(rad_detokenizer_bound(t));
    for (int round = 0; round < 2000; round++) {
        int32_t ids[40];
        uint8_t bytes[200];
        size_t length = 0;
        for (size_t i = 0; i < 40; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            ids[i] = (int32_t)((state >> 33) % 4 == 0 ? (state >> 40) % 261
                                                      : 0x80 + (state >> 40) % 0x80);
        }
        rad_assert_ok(
            rad_tokenizer_decode(t, ids, 40, 0, (char *)bytes, sizeof bytes, &length, NULL), NULL);
        char expected[700];
        size_t n = 0;
        for (size_t at = 0; at < length;) {
            int one = rad_utf8_strict(bytes + at, bytes + length);
            size_t step = one > 0 ? (size_t)one : one < 0 ? (size_t)-one : length - at;
            memcpy(expected + n, one > 0 ? (const char *)bytes + at : FFFD, one > 0 ? step : 3);
            n += one > 0 ? step : 3;
            at += step;
        }
        rad_detokenizer stream;
        rad_detokenizer_start(&stream, t, 0);
        size_t used = 0;
        for (size_t i = 0; i <= 40; i++) {
            size_t given = i < 40 ? rad_detokenizer_push(&stream, ids[i], buffer)
                                  : rad_detokenizer_finish(&stream, buffer);
            ck_assert_uint_le(used + given, n);
            ck_assert_int_eq(memcmp(expected + used, buffer, given), 0);
            used += given;
        }
        ck_assert_uint_eq(used, n);
    }
    free(buffer);
    rad_tokenizer_free(t);
}
END_TEST

/* ---- threads and limits ------------------------------------------------------------------- */

static void *encode_often(void *user)
{
    for (int i = 0; i < 200; i++)
        text_check(user, "ab abc<|im_end|>\xFF ab", PARSE, "256 32 257 260 239 191 189 32 256");
    return NULL;
}

START_TEST(threads_share_a_tokenizer)
{
    rad_tokenizer *t = byte_level("gpt-2");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_often, t), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    rad_tokenizer_free(t);
}
END_TEST

START_TEST(texts_beyond_two_gigabytes_are_refused)
{
    rad_tokenizer *t = byte_level("gpt-2");
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_error error = {0};
    rad_assert_error(rad_tokenizer_encode(t, "a", (size_t)1 << 31, 0, &tokens, &error),
                     RADLLM_E_LIMIT, &error, "longer than 2147483647 bytes");
    const rad_text_span spans[] = {{{"a", SIZE_MAX}, false}, {{"a", 2}, false}};
    rad_assert_error(rad_tokenizer_encode_spans(t, spans, 2, 0, &tokens, &error), RADLLM_E_LIMIT,
                     &error, "cut it into parts");
    rad_tokenizer_free(t);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *encoding = rad_test_case(suite, "encoding");
    tcase_add_test(encoding, bytes_merge_by_rank);
    tcase_add_test(encoding, known_pieces_are_not_merged);
    tcase_add_test(encoding, control_tokens_are_read_on_request_only);
    tcase_add_test(encoding, no_merge_makes_a_control_token);
    tcase_add_test(encoding, user_defined_tokens_are_always_read);
    tcase_add_test(encoding, spaces_of_sentencepiece);
    tcase_add_test(encoding, what_merges_is_missed);
    tcase_add_test(encoding, ties_go_left);
    tcase_add_test(encoding, tokens_across_words);
    tcase_add_test(encoding, bytes_have_no_space_in_front);
    tcase_add_test(encoding, bytes_that_are_no_utf8);
    tcase_add_test(encoding, words_of_bert);
    tcase_add_test(encoding, added_tokens_are_found_as_the_file_says);
    tcase_add_test(encoding, words_of_bert_keep_case_or_accents);
    TCase *spans = rad_test_case(suite, "spans");
    tcase_add_test(spans, control_tokens_lie_within_spans_that_allow_them);
    tcase_add_test(spans, one_bos_at_the_head);
    TCase *decoding = rad_test_case(suite, "decoding");
    tcase_add_test(decoding, sequences_become_text);
    tcase_add_test(decoding, streams_never_end_within_a_character);
    tcase_add_test(decoding, streams_equal_whole_texts);
    TCase *use = rad_test_case(suite, "use");
    tcase_add_test(use, threads_share_a_tokenizer);
    tcase_add_test(use, texts_beyond_two_gigabytes_are_refused);
}

int main(void)
{
    return rad_test_main("text_tokenizer", add_cases);
}
