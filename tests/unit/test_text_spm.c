/* Tokenizers of tokenizer.model: the tokens that the package `sentencepiece` gives for small files
 * (tools/oracle/compare_sentencepiece.py), what the files beside them change, and hostile files. */
#include "unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_tree.h"
#include "text/spm.h"
#include "unit/text_support.h"

#define PARSE RADLLM_TOKENIZE_PARSE_SPECIAL

/* ---- making -----------------------------------------------------------------------------------
 */

/* A protocol buffer. */
typedef struct message {
    uint8_t bytes[20000];
    size_t size;
} message;

static void put_varint(message *m, uint64_t value)
{
    for (; value > 127; value >>= 7)
        m->bytes[m->size++] = (uint8_t)(value | 128);
    m->bytes[m->size++] = (uint8_t)value;
}

static void put_bytes(message *m, uint32_t number, const void *data, size_t size)
{
    put_varint(m, number << 3 | 2);
    put_varint(m, size);
    memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

static void put_number(message *m, uint32_t number, uint64_t value)
{
    put_varint(m, number << 3);
    put_varint(m, value);
}

static void put_piece(message *m, const char *text, float score, int type)
{
    static message piece;
    piece.size = 0;
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    memcpy(piece.bytes + piece.size, &score, 4);
    piece.size += 4;
    put_number(&piece, 3, (uint64_t)type);
    put_bytes(m, 1, piece.bytes, piece.size);
}

/* Letters and words; model_type 1 Unigram, 2 BPE. */
static void put_small(message *m, uint64_t model_type)
{
    static const char *const words[] = {"\342\226\201", "a", "b", "ab", "\342\226\201ab"};
    message trainer = {.size = 0};
    m->size = 0;
    put_piece(m, "<unk>", 0, RAD_TOKEN_UNKNOWN);
    put_piece(m, "<s>", 0, RAD_TOKEN_CONTROL);
    put_piece(m, "</s>", 0, RAD_TOKEN_CONTROL);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        put_piece(m, words[i], -4.0f + (float)i, RAD_TOKEN_NORMAL);
    put_number(&trainer, 3, model_type);
    put_bytes(m, 2, trainer.bytes, trainer.size);
}

static radllm_status create(const void *model, size_t size, const char *config, const char *added,
                            const rad_host *host, rad_tokenizer **out, radllm_error *error)
{
    char *copies[] = {malloc(size + 1), config != NULL ? strdup(config) : NULL,
                      added != NULL ? strdup(added) : NULL};
    memcpy(copies[0], model, size);
    rad_tokenizer_files files = {.tokenizer = {copies[0], size},
                                 .config = {copies[1], config != NULL ? strlen(config) : 0},
                                 .added = {copies[2], added != NULL ? strlen(added) : 0}};
    radllm_status status = rad_tokenizer_create_spm(host, &files, out, error);
    for (size_t i = 0; i < 3; i++)
        free(copies[i]);
    return status;
}

static rad_tokenizer *make(const void *model, size_t size, const char *config, const char *added)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(create(model, size, config, added, NULL, &tokenizer, &error), &error);
    return tokenizer;
}

static void refuse(const message *m, const char *config, const char *added, radllm_status expected,
                   const char *part)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    radllm_status status = create(m->bytes, m->size, config, added, NULL, &tokenizer, &error);
    rad_assert_error(status, expected, &error, part);
    ck_assert_ptr_null(tokenizer);
}

/* ---- what the package says --------------------------------------------------------------------
 */

static const char *const names[] = {"bpe-bytes", "bpe-user", "unigram-user", "word-bytes", "char"};

static rad_tokenizer *open_small(const char *name)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/unit/tokenizers/%s.model", name);
    uint8_t *bytes = rad_test_read_file(rad_test_source_path(path), &size);
    rad_tokenizer *tokenizer = make(bytes, size, NULL, NULL);
    free(bytes);
    return tokenizer;
}

static void check_ids(const rad_tokenizer *tokenizer, const rad_tree *json, uint32_t at)
{
    rad_text text = rad_tree_text(json, rad_tree_get(json, at, "text"));
    uint32_t ids = rad_tree_get(json, at, "ids"), item = rad_tree_first(ids);
    rad_tokens tokens = text_encode(tokenizer, text.data, text.size, 0);
    ck_assert_msg(tokens.count == json->values[ids].size, "%zu tokens, expected %u, for \"%.*s\"",
                  tokens.count, json->values[ids].size, (int)text.size, text.data);
    for (size_t i = 0; i < tokens.count; i++, item = json->values[item].next) {
        int64_t id = -1;
        ck_assert(rad_tree_integer(json, item, &id));
        ck_assert_msg(tokens.ids[i] == id, "token %zu is %d, expected %d, for \"%.*s\"", i,
                      tokens.ids[i], (int)id, (int)text.size, text.data);
    }
    rad_tokens_free(&tokens);
}

START_TEST(gives_the_packages_tokens)
{
    radllm_error error = {0};
    char path[256];
    size_t size;
    rad_tokenizer *tokenizer = open_small(names[_i]);
    snprintf(path, sizeof path, "tests/unit/tokenizers/%s.cases.json", names[_i]);
    char *text = (char *)rad_test_read_file(rad_test_source_path(path), &size);
    rad_tree json = {.allocator = &rad_default_allocator};
    rad_assert_ok(rad_tree_parse(&json, text, size, 100000, names[_i], &error), &error);
    uint32_t at = rad_tree_first(0);
    ck_assert_uint_ge(json.values[0].size, 20);
    for (uint32_t i = 0; i < json.values[0].size; i++, at = json.values[at].next)
        check_ids(tokenizer, &json, at);
    rad_tree_free(&json);
    free(text);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* A megabyte of one word, and of one letter: words that come again are remembered, others merge by
 * a heap. */
START_TEST(long_texts_take_little_time)
{
    rad_tokenizer *tokenizer = open_small(names[_i]);
    size_t size = 1 << 20;
    char *text = malloc(size);
    for (size_t i = 0; i < size; i++)
        text[i] = i < size / 2 ? "model "[i % 6] : 'e';
    rad_tokens tokens = text_encode(tokenizer, text, size, 0);
    ck_assert_uint_ge(tokens.count, size / 40);
    rad_tokens_free(&tokens);
    free(text);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* ---- the files beside it ----------------------------------------------------------------------
 */

static void check(const message *m, const char *config, const char *added, const char *text,
                  uint32_t flags, const char *ids)
{
    rad_tokenizer *tokenizer = make(m->bytes, m->size, config, added);
    text_check(tokenizer, text, flags, ids);
    rad_tokenizer_free(tokenizer);
}

START_TEST(the_files_beside_it_have_a_say)
{
    static message m;
    put_small(&m, (uint64_t)_i + 1);
    /* BOS where nothing says otherwise; control tokens where they are asked for. */
    check(&m, NULL, NULL, "ab", RADLLM_TOKENIZE_ADD_SPECIAL, "1 7");
    check(&m, "{\"add_bos_token\":false,\"add_eos_token\":true}", NULL, "ab",
          RADLLM_TOKENIZE_ADD_SPECIAL, "7 2");
    check(&m, "{\"tokenizer_class\":\"T5Tokenizer\"}", NULL, "ab", RADLLM_TOKENIZE_ADD_SPECIAL,
          "7 2");
    check(&m, NULL, NULL, "ab</s>ab", PARSE, "7 2 6");
    check(&m, "{\"legacy\":true}", NULL, "ab</s>ab", PARSE, "7 2 7");
    check(&m, "{\"tokenizer_class\":\"T5Tokenizer\"}", NULL, "ab</s>ab", PARSE, "7 2 7");
    check(&m, "{\"legacy\":false}", NULL, "</s> ab", PARSE, "2 6"); /* spaces at the head go */
    check(&m, "{\"add_prefix_space\":false}", NULL, "ab ab", PARSE, "6 7");
    check(&m, NULL, NULL, "</s>", 0, "3 0"); /* all of it unknown, as one */
    /* Added tokens are read before all else; those with a task only where control tokens are. */
    check(&m, NULL, "{\"<x>\":9,\"<y>\":10}", "ab<x>ab", 0, "7 9 6");
    check(&m, "{\"pad_token\":\"<x>\"}", "{\"<x>\":9}", "ab<x>", 0, "7 0");
    check(&m, "{\"pad_token\":\"<x>\"}", "{\"<x>\":9}", "ab<x>", PARSE, "7 9");
    check(
        &m,
        "{\"added_tokens_decoder\":{\"9\":{\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true}}}",
        "{\"<y>\":9}", "ab  <x>  ab", 0, "7 9 6");
    /* An added token has the place of a piece. */
    check(&m, NULL, "{\"b b\":5}", "ab bab", 0, "3 4 5 6");
}
END_TEST

START_TEST(texts_come_back)
{
    static message m;
    char text[16];
    size_t length;
    const int32_t ids[] = {1, 7, 6, 9, 7, 2};
    put_small(&m, (uint64_t)_i + 1);
    rad_tokenizer *tokenizer = make(m.bytes, m.size, NULL, "{\"<x>\":9}");
    ck_assert_str_eq(rad_tokenizer_kind(tokenizer), _i == 0 ? "unigram" : "bpe");
    ck_assert_int_eq(rad_tokenizer_decode(tokenizer, ids, 6, 0, text, 16, &length, NULL),
                     RADLLM_OK);
    ck_assert(length == 10 && memcmp(text, "abab<x> ab", 10) == 0);
    ck_assert(rad_tokenizer_is_end(tokenizer, 2) && !rad_tokenizer_is_end(tokenizer, 1));
    ck_assert_uint_eq(rad_tokenizer_size(tokenizer), 10);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* ---- lies -------------------------------------------------------------------------------------
 */

START_TEST(lies_of_the_format)
{
    static message m;
    put_small(&m, 2);
    for (size_t size = 0; size < m.size; size++) { /* cut off anywhere */
        radllm_error error = {0};
        rad_tokenizer *tokenizer = NULL;
        radllm_status status = create(m.bytes, size, NULL, NULL, NULL, &tokenizer, &error);
        if (status == RADLLM_OK)
            rad_tokenizer_free(tokenizer);
        else
            ck_assert(error.message[0] != '\0' && status == RADLLM_E_FORMAT);
    }
    m.size = 0;
    refuse(&m, NULL, NULL, RADLLM_E_FORMAT, "0 pieces");
    m.size = (size_t)snprintf((char *)m.bytes, 100, "IQ== 0\nIg== 1\n"); /* a list for tiktoken */
    refuse(&m, NULL, NULL, RADLLM_E_FORMAT, "tokenizer.model");
    static const struct {
        uint8_t bytes[12];
        const char *part;
    } ends[] = {
        {{10, 255, 255, 255, 255, 15}, "goes on behind the end"}, /* a piece of 4 GiB */
        {{10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, "goes on behind the end"},
        {{10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2}, "longer than 64 bits"},
        {{11}, "unknown kind"}, /* a group */
        {{2, 0}, "no field of this number"},
        {{8, 1}, "wrong kind"},
        {{18, 2, 26, 0}, "wrong kind"}, /* model_type is bytes */
        {{10, 0}, "no text"},
        {{10, 3, 10, 1, 'x', 10}, "goes on behind"},
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t size = sizeof ends[i].bytes;
        put_small(&m, 2);
        while (size > 2 && ends[i].bytes[size - 1] == 0)
            size--;
        memcpy(m.bytes + m.size, ends[i].bytes, sizeof ends[i].bytes);
        m.size += i == 3 ? 1 : i == 6 ? 4 : size;
        refuse(&m, NULL, NULL, RADLLM_E_FORMAT, ends[i].part);
    }
}
END_TEST

START_TEST(lies_of_pieces)
{
    static message m;
    const float nan = __builtin_nanf(""), infinite = __builtin_inff();
    const struct {
        const char *text;
        float score;
        int type;
        const char *part;
    } pieces[] = {{"x", nan, RAD_TOKEN_NORMAL, "score"},
                  {"x", -infinite, RAD_TOKEN_NORMAL, "score"},
                  {"", 0, RAD_TOKEN_NORMAL, "no text"},
                  {"ab", 0, RAD_TOKEN_NORMAL, "each token's text must occur once"},
                  {"x", 0, 7, "unknown type"},
                  {"x", 0, 0, "unknown type"},
                  {"x", 0, RAD_TOKEN_UNKNOWN, "two of its pieces"},
                  {"<0x41>", 0, RAD_TOKEN_BYTE, "no byte_fallback"}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        put_small(&m, 1);
        put_piece(&m, pieces[i].text, pieces[i].score, pieces[i].type);
        refuse(&m, NULL, NULL, RADLLM_E_FORMAT, pieces[i].part);
    }
    m.size = 0;
    put_piece(&m, "a", 0, RAD_TOKEN_NORMAL);
    refuse(&m, NULL, NULL, RADLLM_E_FORMAT, "none of its pieces is of the type unknown");
    put_small(&m, 5);
    refuse(&m, NULL, NULL, RADLLM_E_UNSUPPORTED, "model_type");
    put_small(&m, 2);
    put_bytes(&m, 2, "\x98\x02\x01", 3); /* byte_fallback without bytes */
    refuse(&m, NULL, NULL, RADLLM_E_FORMAT, "256 bytes");
    put_small(&m, 2);
    put_bytes(&m, 3, "\x12\x06\xFF\xFF\xFF\xFF\x00\x00", 8);
    refuse(&m, NULL, NULL, RADLLM_E_FORMAT, "charsmap");
    put_small(&m, 2);
    put_bytes(&m, 5, "\x12\x01x", 3);
    refuse(&m, NULL, NULL, RADLLM_E_UNSUPPORTED, "denormalizer");
}
END_TEST

START_TEST(lies_of_the_files_beside_it)
{
    static message m;
    put_small(&m, 2);
    refuse(&m, NULL, "{\"x\":1000000000}", RADLLM_E_FORMAT, "1000000000");
    refuse(&m, NULL, "{\"x\":-1}", RADLLM_E_FORMAT, "-1");
    refuse(&m, NULL, "{\"x\":\"9\"}", RADLLM_E_FORMAT, "added token");
    refuse(&m, NULL, "{\"\":9}", RADLLM_E_FORMAT, "0 bytes");
    refuse(&m, NULL, "{\"ab\":9}", RADLLM_E_FORMAT, "occur once");
    refuse(&m, NULL, "{\"x\":0}", RADLLM_E_FORMAT, "unknown one");
    refuse(&m, NULL, "[]", RADLLM_E_FORMAT, "added_tokens.json");
    refuse(&m, "{\"added_tokens_decoder\":{\"a\":{\"content\":\"x\"}}}", NULL, RADLLM_E_FORMAT,
           "-1");
    refuse(&m, "{\"added_tokens_decoder\":{\"9\":{}}}", NULL, RADLLM_E_FORMAT, "added token");
    refuse(&m, "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}", NULL, RADLLM_E_UNSUPPORTED,
           "other ids");
    refuse(&m, "{\"add_eos_token\":true,\"eos_token\":\"x\"", NULL, RADLLM_E_FORMAT,
           "tokenizer_config.json");
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    static message m;
    put_small(&m, (uint64_t)_i + 1);
    put_piece(&m, "user", 0, RAD_TOKEN_USER_DEFINED);
    put_piece(&m, "ba", 0, RAD_TOKEN_UNUSED);
    radllm_status status = RADLLM_E_MEMORY;
    for (uint64_t n = 1; status != RADLLM_OK; n++) {
        rad_test_memory memory;
        radllm_error error = {0};
        rad_tokenizer *tokenizer = NULL;
        rad_test_memory_init(&memory, n);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        rad_tokens tokens = {.allocator = &host.allocator};
        status = create(m.bytes, m.size, NULL, "{\"<x>\":40}", &host, &tokenizer, &error);
        if (status == RADLLM_OK)
            status = rad_tokenizer_encode(tokenizer, "abba user<x>ab", 14, 0, &tokens, &error);
        rad_tokens_free(&tokens);
        rad_tokenizer_free(tokenizer);
        rad_test_memory_check(&memory);
        ck_assert_int_eq(status, memory.failed ? RADLLM_E_MEMORY : RADLLM_OK);
        ck_assert_uint_le(n, 500);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "tokenizer.model");
    tcase_add_loop_test(cases, gives_the_packages_tokens, 0, 5);
    tcase_add_loop_test(cases, long_texts_take_little_time, 0, 5);
    tcase_add_loop_test(cases, the_files_beside_it_have_a_say, 0, 2);
    tcase_add_loop_test(cases, texts_come_back, 0, 2);
    tcase_add_test(cases, lies_of_the_format);
    tcase_add_test(cases, lies_of_pieces);
    tcase_add_test(cases, lies_of_the_files_beside_it);
    tcase_add_loop_test(cases, every_allocation_may_fail, 0, 2);
}

int main(void)
{
    return rad_test_main("text_spm", add_cases);
}
