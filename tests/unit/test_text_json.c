/* Tokenizers of tokenizer.json: the tokens and texts that the package `tokenizers` gives for small
 * files of every kind (tools/oracle/tokenizer_variants.py), the files beside it, hostile files. */
#include "unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_tree.h"
#include "text/chat_template.h"
#include "text/tokenizer_json.h"
#include "unit/text_support.h"

#define ALL (RADLLM_TOKENIZE_ADD_SPECIAL | RADLLM_TOKENIZE_PARSE_SPECIAL)

static const char *const names[] = {
    "added",        "bert",     "bert-cased",  "beside-bpe", "beside-unigram", "continuing",
    "cut-inverted", "cut-kimi", "cut-options", "falcon",     "gemma",          "gpt2",
    "gpt2-prefix",  "letters",  "llama2",      "llama3",     "odd-regex",      "qwen2",
    "splits",       "suffix",   "t5",          "words",      "xlm-roberta",    "unigram-fallback",
    "cut-scripts",  "ends",     "heads",       "repeats"};
#define N_NAMES (sizeof names / sizeof *names)

/* ---- making -------------------------------------------------------------------------------- */

static rad_tokenizer_file file_of(const char *text)
{
    rad_tokenizer_file file = {NULL, 0};
    if (text != NULL) {
        file.size = strlen(text);
        file.data = malloc(file.size + 1);
        memcpy(file.data, text, file.size + 1);
    }
    return file;
}

/* Makes a tokenizer of texts that are kept: each is copied, since reading changes it. */
static radllm_status create(const char *tokenizer, const char *config, const char *map,
                            const char *generation, const rad_host *host, rad_tokenizer **out,
                            radllm_error *error)
{
    rad_tokenizer_files files = {.tokenizer = file_of(tokenizer),
                                 .config = file_of(config),
                                 .special_tokens_map = file_of(map),
                                 .generation_config = file_of(generation)};
    radllm_status status = rad_tokenizer_create_json(host, &files, out, error);
    free(files.tokenizer.data);
    free(files.config.data);
    free(files.special_tokens_map.data);
    free(files.generation_config.data);
    return status;
}

static char *read_text(const char *name, const char *ending)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/unit/tokenizers/%s%s", name, ending);
    return (char *)rad_test_read_file(rad_test_source_path(path), &size);
}

static rad_tokenizer *open_small(const char *name)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    char *text = read_text(name, ".json");
    radllm_status status = create(text, NULL, NULL, NULL, NULL, &tokenizer, &error);
    rad_assert_ok(status, &error);
    free(text);
    return tokenizer;
}

/* ---- what the package says ----------------------------------------------------------------- */

static void check_stream(const rad_tokenizer *tokenizer, const rad_tokens *tokens, rad_text decoded,
                         const char *name)
{
    char *piece = malloc(rad_detokenizer_bound(tokenizer));
    char *all = malloc((tokens->count + 1) * rad_detokenizer_bound(tokenizer));
    size_t used = 0;
    rad_detokenizer stream;
    rad_detokenizer_start(&stream, tokenizer, 0);
    for (size_t i = 0; i <= tokens->count; i++) {
        size_t n = i < tokens->count ? rad_detokenizer_push(&stream, tokens->ids[i], piece)
                                     : rad_detokenizer_finish(&stream, piece);
        memcpy(all + used, piece, n);
        used += n;
    }
    ck_assert_msg(used == decoded.size && memcmp(all, decoded.data, used) == 0,
                  "%s: the stream gives \"%.*s\", expected \"%.*s\"", name, (int)used, all,
                  (int)decoded.size, decoded.data);
    free(piece);
    free(all);
}

/* Two files hold a control token that is normalized, which the package then shows. */
static bool shows_control(const char *name, rad_text text)
{
    return (strcmp(name, "llama2") == 0 || strcmp(name, "gemma") == 0) && text.size > 3 &&
           memmem(text.data, text.size, "<s>", 3) != NULL;
}

static void check_case(const rad_tokenizer *tokenizer, const rad_tree *json, uint32_t at,
                       const char *name)
{
    rad_text text = rad_tree_text(json, rad_tree_get(json, at, "text"));
    uint32_t ids = rad_tree_get(json, at, "ids");
    rad_text decoded = rad_tree_text(json, rad_tree_get(json, at, "decoded"));
    int64_t plain;
    rad_tokens tokens = text_encode(tokenizer, text.data, text.size, ALL);
    ck_assert_msg(tokens.count == json->values[ids].size,
                  "%s: %zu tokens, expected %u, for \"%.*s\"", name, tokens.count,
                  json->values[ids].size, (int)text.size, text.data);
    uint32_t item = rad_tree_first(ids);
    for (size_t i = 0; i < tokens.count; i++, item = json->values[item].next) {
        int64_t id = -1;
        ck_assert(rad_tree_integer(json, item, &id));
        ck_assert_msg(tokens.ids[i] == id, "%s: token %zu is %d, expected %d, for \"%.*s\"", name,
                      i, tokens.ids[i], (int)id, (int)text.size, text.data);
    }
    if (!shows_control(name, text))
        check_stream(tokenizer, &tokens, decoded, name);
    rad_tokens_free(&tokens);
    tokens = text_encode(tokenizer, text.data, text.size, RADLLM_TOKENIZE_PARSE_SPECIAL);
    ck_assert(rad_tree_integer(json, rad_tree_get(json, at, "plain"), &plain));
    ck_assert_uint_eq(tokens.count, (size_t)plain);
    rad_tokens_free(&tokens);
}

START_TEST(gives_the_packages_tokens)
{
    const char *name = names[_i];
    radllm_error error = {0};
    rad_tokenizer *tokenizer = open_small(name);
    char *text = read_text(name, ".cases.json");
    rad_tree json = {.allocator = &rad_default_allocator};
    rad_assert_ok(rad_tree_parse(&json, text, strlen(text), 100000, name, &error), &error);
    uint32_t at = rad_tree_first(0);
    ck_assert_uint_ge(json.values[0].size, 10);
    for (uint32_t i = 0; i < json.values[0].size; i++, at = json.values[at].next)
        check_case(tokenizer, &json, at, name);
    rad_tree_free(&json);
    free(text);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* Text without rights has no control token, in one span or among others. */
START_TEST(reads_control_tokens_where_it_may)
{
    for (size_t n = 0; n < N_NAMES; n++) {
        rad_tokenizer *tokenizer = open_small(names[n]);
        for (uint32_t id = 0; id < rad_tokenizer_size(tokenizer); id++) {
            if (rad_tokenizer_type(tokenizer, (int32_t)id) != RAD_TOKEN_CONTROL)
                continue;
            rad_text entry = rad_tokenizer_entry(tokenizer, (int32_t)id);
            const rad_text_span spans[] = {{{"a ", 2}, true}, {entry, false}, {{"<", 1}, true}};
            rad_tokens tokens = {.allocator = &rad_default_allocator};
            radllm_error error = {0};
            rad_assert_ok(rad_tokenizer_encode_spans(tokenizer, spans, 3, 0, &tokens, &error),
                          &error);
            for (size_t i = 0; i < tokens.count; i++)
                ck_assert_msg(tokens.ids[i] != (int32_t)id || memcmp(entry.data, "<unk>", 5) == 0 ||
                                  memcmp(entry.data, "[UNK]", 5) == 0,
                              "%s: control token %u in the user's text", names[n], id);
            rad_tokens_free(&tokens);
        }
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

/* Bytes are tokens of the model alone: no byte of a text becomes a token that was added. */
START_TEST(takes_bytes_from_the_model)
{
    static const char *const special[] = {"true", "false"};
    radllm_error error = {0};
    rad_tokenizer *tokenizer;
    char text[512];
    snprintf(text, sizeof text,
             "{\"added_tokens\":[{\"id\":3,\"content\":\"<0x41>\",\"special\":%s}],\"model\":{"
             "\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{"
             "\"<unk>\":0,\"b\":1,\"<0x42>\":2},\"merges\":[]}}",
             special[_i]);
    rad_assert_ok(create(text, NULL, NULL, NULL, NULL, &tokenizer, &error), &error);
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    rad_assert_ok(rad_tokenizer_encode(tokenizer, "AbB<0x41>", 9, RADLLM_TOKENIZE_PARSE_SPECIAL,
                                       &tokens, &error),
                  &error);
    static const int32_t expected[] = {0, 1, 2, 3}; /* as the package has it */
    ck_assert_uint_eq(tokens.count, 4);
    ck_assert_mem_eq(tokens.ids, expected, sizeof expected);
    rad_tokens_free(&tokens);
    rad_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(reads_what_is_no_utf8)
{
    rad_tokenizer *tokenizer = open_small("gpt2");
    rad_tokens bad = text_encode(tokenizer, "a\xff\xe2\x96z\xc3", 6, 0);
    rad_tokens good = text_encode(tokenizer, "a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD", 11, 0);
    ck_assert_uint_eq(bad.count, good.count);
    ck_assert_mem_eq(bad.ids, good.ids, good.count * sizeof *good.ids);
    rad_tokens_free(&bad);
    rad_tokens_free(&good);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* ---- the files beside it ------------------------------------------------------------------- */

#define SMALL                                                                                      \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},"      \
    "{\"id\":4,\"content\":\"</s>\",\"special\":true},{\"id\":5,\"content\":\"<|x|>\","            \
    "\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":null,\"decoder\":null,"              \
    "\"post_processor\":null,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},"    \
    "\"merges\":[\"a b\"]}}"

START_TEST(takes_ends_and_templates_from_beside)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(create(SMALL, NULL, NULL, NULL, NULL, &tokenizer, &error), &error);
    ck_assert_int_eq(rad_tokenizer_bos(tokenizer), -1);
    ck_assert(!rad_tokenizer_adds_bos(tokenizer));
    text_check(tokenizer, "ab<s>a", ALL, "2 3 0");
    rad_tokenizer_free(tokenizer);

    rad_assert_ok(create(SMALL,
                         "{\"add_bos_token\":true,\"add_eos_token\":true,\"bos_token\":"
                         "{\"content\":\"<s>\"},\"chat_template\":[{\"name\":\"x\",\"template\":"
                         "\"no\"},{\"name\":\"default\",\"template\":\"yes\"}]}",
                         "{\"bos_token\":null,\"eos_token\":\"</s>\"}",
                         "{\"eos_token_id\":[5,99,-1,\"x\"]}", NULL, &tokenizer, &error),
                  &error);
    text_check(tokenizer, "ab", ALL, "3 2 4");
    text_check(tokenizer, "ab", 0, "2");
    ck_assert_int_eq(rad_tokenizer_eos(tokenizer), 4);
    ck_assert(rad_tokenizer_is_end(tokenizer, 4) && rad_tokenizer_is_end(tokenizer, 5));
    ck_assert(!rad_tokenizer_is_end(tokenizer, 3));
    rad_text text = rad_tokenizer_chat_template(tokenizer);
    ck_assert(text.size == 3 && memcmp(text.data, "yes", 3) == 0);
    rad_tokenizer_free(tokenizer);

    /* The map counts first in folders that are older than added_tokens_decoder, second in others.
     */
    for (int newer = 0; newer < 2; newer++) {
        static const char *const configs[] = {
            "{\"eos_token\":\"</s>\"}", "{\"eos_token\":\"</s>\",\"added_tokens_decoder\":{}}"};
        rad_assert_ok(create(SMALL, configs[newer],
                             "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"<|x|>\"}", NULL,
                             NULL, &tokenizer, &error),
                      &error);
        ck_assert_int_eq(rad_tokenizer_bos(tokenizer), 3);
        ck_assert_int_eq(rad_tokenizer_eos(tokenizer), newer ? 4 : 5);
        rad_tokenizer_free(tokenizer);
    }

    /* Where tokenizer.json says what stands around a text, that counts. */
    static const char framed[] =
        "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true}],\"post_processor\":"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
        "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1]}}},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    rad_assert_ok(create(framed,
                         "{\"add_bos_token\":false,\"add_eos_token\":true,\"chat_template\":["
                         "{\"name\":\"default\",\"template\":\"no\"},{\"name\":\"default\","
                         "\"template\":\"yes\"}]}",
                         NULL, NULL, NULL, &tokenizer, &error),
                  &error);
    text_check(tokenizer, "a", ALL, "1 0");
    ck_assert(rad_tokenizer_adds_bos(tokenizer) && !rad_tokenizer_adds_eos(tokenizer));
    text = rad_tokenizer_chat_template(tokenizer);
    ck_assert(text.size == 3 && memcmp(text.data, "yes", 3) == 0);
    rad_tokenizer_free(tokenizer);
    rad_assert_ok(create(SMALL, "{\"chat_template\":{\"default\":\"yes\"}}", NULL, NULL, NULL,
                         &tokenizer, &error),
                  &error);
    ck_assert_uint_eq(rad_tokenizer_chat_template(tokenizer).size, 3);
    rad_tokenizer_free(tokenizer);

    radllm_status status =
        create(SMALL, "{\"add_bos_token\":true}", NULL, NULL, NULL, &tokenizer, &error);
    rad_assert_error(status, RADLLM_E_FORMAT, &error, "bos_token");
    status = create(SMALL, "[]", NULL, NULL, NULL, &tokenizer, &error);
    rad_assert_error(status, RADLLM_E_FORMAT, &error, "tokenizer_config.json");
}
END_TEST

/* What transformers' AutoTokenizer gives for a folder of model_type bert with these files. */
START_TEST(follows_the_class_of_bert)
{
    static const struct {
        const char *normalizer, *config, *ids;
    } cases[] = {
        {"\"lowercase\":true", "{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":false}",
         "7 14 5 13 11 9 15 16 10"},
        {"\"lowercase\":false",
         "{\"tokenizer_class\":\"BertTokenizerFast\",\"do_lower_case\":true}",
         "5 13 5 13 10 10 15 16 10"},
        {"\"lowercase\":false", "{\"tokenizer_class\":\"BertTokenizer\"}",
         "5 13 5 13 10 10 15 16 10"},
        {"\"lowercase\":true", "{\"tokenizer_class\":\"BertTokenizer\",\"strip_accents\":false}",
         "5 13 5 13 9 9 15 16 10"},
        {"\"lowercase\":true,\"strip_accents\":false",
         "{\"tokenizer_class\":\"BertTokenizer\",\"strip_accents\":null}",
         "5 13 5 13 10 10 15 16 10"},
        {"\"lowercase\":true",
         "{\"tokenizer_class\":\"BertTokenizer\",\"tokenize_chinese_chars\":false}",
         "5 13 5 13 10 10 15 17 10"},
        {"\"lowercase\":false", "{\"do_lower_case\":true}", "5 13 5 13 10 10 15 16 10"},
        {"\"lowercase\":false", "{\"strip_accents\":true}", "5 13 5 13 10 10 15 16 10"},
        {"\"lowercase\":false",
         "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"do_lower_case\":true}",
         "7 14 5 13 11 9 15 16 10"},
        {"\"lowercase\":false", NULL, "7 14 5 13 11 9 15 16 10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[800];
        radllm_error error = {0};
        rad_tokenizer *tokenizer = NULL;
        snprintf(
            text, sizeof text,
            "{\"normalizer\":{\"type\":\"BertNormalizer\",%s},\"pre_tokenizer\":{\"type\":"
            "\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
            "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
            "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,\"a\":5,"
            "\"b\":6,\"A\":7,\"B\":8,\"\\u00e9\":9,\"e\":10,\"\\u00c9\":11,\"E\":12,\"##b\":13,"
            "\"##B\":14,\"\\u65e5\":15,\"\\u672c\":16,\"##\\u672c\":17}}}",
            cases[i].normalizer);
        rad_assert_ok(create(text, cases[i].config, NULL, NULL, NULL, &tokenizer, &error), &error);
        text_check(tokenizer, "AB ab \u00c9 \u00e9 \u65e5\u672c e", 0, cases[i].ids);
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

/* So it is with the space that GPT-2 and RoBERTa put in front of a text. */
START_TEST(follows_the_class_of_gpt2)
{
    static const struct {
        const char *prefix, *config, *ids;
    } cases[] = {
        {"false", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_prefix_space\":true}", "2 0"},
        {"true", "{\"tokenizer_class\":\"RobertaTokenizerFast\",\"add_prefix_space\":false}", "0"},
        {"true", "{\"tokenizer_class\":\"GPT2TokenizerFast\"}", "0"},
        {"false", "{\"tokenizer_class\":\"BloomTokenizerFast\",\"add_prefix_space\":true}", "0"},
        {"true", "{\"tokenizer_class\":\"BloomTokenizerFast\"}", "2 0"},
        {"true", NULL, "2 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        radllm_error error = {0};
        rad_tokenizer *tokenizer = NULL;
        snprintf(text, sizeof text,
                 "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":"
                 "true,\"trim_offsets\":true},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,"
                 "\"b\":1,\"\\u0120\":2},\"merges\":[]}}",
                 cases[i].prefix);
        rad_assert_ok(create(text, cases[i].config, NULL, NULL, NULL, &tokenizer, &error), &error);
        text_check(tokenizer, "a", 0, cases[i].ids);
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

#define BESIDE(id, content, special, strip)                                                        \
    "\"" id "\":{\"content\":\"" content "\",\"special\":" special ",\"lstrip\":" strip            \
    ",\"rstrip\":" strip ",\"normalized\":false}"

/* What transformers' AutoTokenizer gives for a folder with these files. */
START_TEST(takes_added_tokens_from_beside)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(
        create(SMALL,
               "{\"added_tokens_decoder\":{" BESIDE("3", "<s>", "true", "false") "," BESIDE(
                   "6", "<y>", "true",
                   "true") "," BESIDE("7", "zz", "false",
                                      "false") "," BESIDE("1", "b", "true",
                                                          "false") "},"
                                                                   "\"eos_token\":\"<y>\"}",
               NULL, NULL, NULL, &tokenizer, &error),
        &error);
    text_check(tokenizer, "a <y> ab", ALL, "0 6 0 1");
    text_check(tokenizer, "azzab<s>b", ALL, "0 7 0 1 3 1");
    text_check(tokenizer, "zza", 0, "7 0");
    ck_assert_int_eq(rad_tokenizer_eos(tokenizer), 6);
    ck_assert_int_eq(rad_tokenizer_type(tokenizer, 7), RAD_TOKEN_USER_DEFINED);
    rad_tokenizer_free(tokenizer);
    /* Of an added token of tokenizer.json it says what that is like, but not that it is none. */
    rad_assert_ok(
        create("{\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true},{\"id\":"
               "3,\"content\":\"<t>\",\"lstrip\":true}],\"model\":{\"type\":\"BPE\","
               "\"vocab\":{\"a\":0,\" \":1},\"merges\":[]}}",
               "{\"added_tokens_decoder\":{" BESIDE("2", "<s>", "false", "true") "," BESIDE(
                   "9", "<t>", "true", "false") "}}",
               NULL, NULL, NULL, &tokenizer, &error),
        &error);
    ck_assert_uint_eq(rad_tokenizer_size(tokenizer), 4); /* its own id counts */
    text_check(tokenizer, "a <s> a <t>a", ALL, "0 2 0 1 3 0");
    ck_assert_int_eq(rad_tokenizer_type(tokenizer, 2), RAD_TOKEN_CONTROL);
    ck_assert_int_eq(rad_tokenizer_type(tokenizer, 3), RAD_TOKEN_CONTROL);
    rad_tokenizer_free(tokenizer);
    /* An id that is another token's, keys that are none, and values of the wrong kind. */
    rad_assert_ok(
        create(SMALL,
               "{\"added_tokens_decoder\":{" BESIDE("3", "<z>", "true", "false") "," BESIDE(
                   "-1", "<w>", "true", "false") ",\"8\":{},\"9\":\"<v>\"}}",
               NULL, NULL, NULL, &tokenizer, &error),
        &error);
    ck_assert_uint_eq(rad_tokenizer_size(tokenizer), 6);
    rad_tokenizer_free(tokenizer);
    /* Far behind all tokens, also where 32 or 64 bits do not hold it. */
    static const char *const far[] = {
        "{\"added_tokens_decoder\":{" BESIDE("8", "<z>", "true", "false") "}}",
        "{\"added_tokens_decoder\":{" BESIDE("2147483648", "<z>", "true", "false") "}}",
        "{\"added_tokens_decoder\":{" BESIDE("98765432109876543210", "<z>", "true", "false") "}}"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        radllm_status status = create(SMALL, far[i], NULL, NULL, NULL, &tokenizer, &error);
        rad_assert_error(status, RADLLM_E_LIMIT, &error, "tokenizer_config.json");
        rad_assert_error(status, RADLLM_E_LIMIT, &error, i == 1 ? " 2147483648," : "<z>");
    }
}
END_TEST

/* What is looked for in normalized text is given out so, control tokens too where they are shown;
 * ByteLevel may stand behind a template. */
START_TEST(shows_added_tokens_normalized)
{
    radllm_error error = {0};
    rad_tokenizer *tokenizer = NULL;
    rad_assert_ok(create("{\"added_tokens\":[{\"id\":1,\"content\":\"<S>\",\"special\":true,"
                         "\"normalized\":true}],\"normalizer\":{\"type\":\"Lowercase\"},"
                         "\"decoder\":{\"type\":\"Fuse\"},\"post_processor\":{\"type\":"
                         "\"Sequence\",\"processors\":[{\"type\":\"TemplateProcessing\",\"single\":"
                         "[{\"SpecialToken\":{\"id\":\"<S>\"}},{\"Sequence\":{\"id\":\"A\"}}],"
                         "\"special_tokens\":{\"<S>\":{\"id\":\"<S>\",\"ids\":[1]}}},{\"type\":"
                         "\"ByteLevel\"}]},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
                         "\"merges\":[]}}",
                         NULL, NULL, NULL, NULL, &tokenizer, &error),
                  &error);
    text_check(tokenizer, "A<s>", ALL, "1 0 1");
    const int32_t ids[] = {1, 0};
    char text[16];
    size_t length = 0;
    rad_assert_ok(rad_tokenizer_decode(tokenizer, ids, 2, RADLLM_DETOKENIZE_SPECIAL, text,
                                       sizeof text, &length, &error),
                  &error);
    ck_assert(length == 4 && memcmp(text, "<s>a", 4) == 0);
    rad_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(chats_with_a_built_in_template)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    char *text = read_text("added", ".json");
    rad_assert_ok(create(text, "{\"bos_token\":\"<|end|>\"}", NULL, NULL, NULL, &tokenizer, &error),
                  &error);
    const rad_message message = {RAD_ROLE_USER, {"Hi <|end|> CT", 13}};
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    rad_assert_ok(rad_chat_template_encode(rad_chat_template_find("phi3"), tokenizer, &message, 1,
                                           (rad_text){"", 0}, &tokens, &error),
                  &error);
    int ends = 0;
    int32_t end = rad_tokenizer_find(tokenizer, "<|end|>", 7);
    for (size_t i = 0; i < tokens.count; i++)
        ends += tokens.ids[i] == end;
    ck_assert_int_eq(ends, 2); /* before the text, and the template's own */
    rad_tokens_free(&tokens);
    rad_tokenizer_free(tokenizer);
    free(text);
}
END_TEST

/* ---- hostile files -------------------------------------------------------------------------- */

/* A file whose model is `model` and whose other members are `rest`. */
static radllm_status try_file(const char *model, const char *rest, radllm_error *error)
{
    size_t size = strlen(model) + strlen(rest) + 32;
    char *text = malloc(size);
    snprintf(text, size, "{\"model\":%s%s%s}", model, *rest != '\0' ? "," : "", rest);
    rad_tokenizer *tokenizer = NULL;
    error->message[0] = '\0';
    radllm_status status = create(text, NULL, NULL, NULL, NULL, &tokenizer, error);
    if (status == RADLLM_OK)
        rad_tokenizer_free(tokenizer);
    free(text);
    return status;
}

#define BPE     "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define UNIGRAM "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1]]}"
#define TEMPLATE                                                                                   \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}},{"             \
    "\"Sequence\":"                                                                                \
    "{\"id\":\"A\"}}],\"special_tokens\":{\"a\":{\"id\":\"a\",\"ids\":[0],\"tokens\":[\"a\"]}}}"
#define AND(key) BPE, "\"" key "\":"

START_TEST(refuses_what_it_does_not_know)
{
    static const struct {
        const char *model, *rest;
        radllm_status status;
        const char *part;
    } cases[] = {
        {"{\"type\":\"Tiktoken\"}", "", RADLLM_E_UNSUPPORTED, "Tiktoken"},
        {"null", "", RADLLM_E_FORMAT, "model"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}", "",
         RADLLM_E_UNSUPPORTED, "dropout"},
        {AND("normalizer") "{\"type\":\"Rot13\"}", RADLLM_E_UNSUPPORTED, "Rot13"},
        {AND("normalizer") "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                           "{\"type\":\"Odd\"}]}",
         RADLLM_E_UNSUPPORTED, "Odd"},
        {AND("normalizer") "{\"type\":\"Sequence\"}", RADLLM_E_FORMAT, "normalizers"},
        {AND("normalizer") "7", RADLLM_E_FORMAT, "normalizer"},
        {AND("normalizer") "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}",
         RADLLM_E_FORMAT, "precompiled_charsmap"},
        {AND("normalizer") "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a\"},\"content\":\"\"}",
         RADLLM_E_UNSUPPORTED, "group without end"},
        {AND("pre_tokenizer") "{\"type\":\"Syllables\"}", RADLLM_E_UNSUPPORTED, "Syllables"},
        {AND("pre_tokenizer") "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a)\\\\1\"},"
                              "\"behavior\":\"Isolated\",\"invert\":false}",
         RADLLM_E_UNSUPPORTED, "an escape"},
        {AND("pre_tokenizer") "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
                              "\"behavior\":\"Sideways\"}",
         RADLLM_E_FORMAT, "behavior"},
        {AND("pre_tokenizer") "{\"type\":\"Metaspace\",\"replacement\":\"__\"}", RADLLM_E_FORMAT,
         "replacement"},
        {AND("decoder") "{\"type\":\"Morse\"}", RADLLM_E_UNSUPPORTED, "Morse"},
        {AND("decoder") "{\"type\":\"CTC\"}", RADLLM_E_UNSUPPORTED, "word_delimiter_token"},
        {AND("decoder") "{\"type\":\"BPEDecoder\"}", RADLLM_E_UNSUPPORTED, "suffix"},
        {AND("decoder") "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
                        "{\"type\":\"BPEDecoder\",\"suffix\":\"b\"}]}",
         RADLLM_E_UNSUPPORTED, "joins"},
        {AND("decoder") "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Metaspace\"},"
                        "{\"type\":\"BPEDecoder\",\"suffix\":\"b\"}]}",
         RADLLM_E_UNSUPPORTED, "beside"},
        {AND("decoder") "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Metaspace\"},"
                        "{\"type\":\"CTC\"}]}",
         RADLLM_E_UNSUPPORTED, "behind others"},
        {AND("decoder") "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
                        "{\"type\":\"ByteFallback\"}]}",
         RADLLM_E_UNSUPPORTED, "joins"},
        {AND("decoder") "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
                        "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
         RADLLM_E_UNSUPPORTED, "joins"},
        {AND("post_processor") "{\"type\":\"Sequence\",\"processors\":[" TEMPLATE "," TEMPLATE "]}",
         RADLLM_E_UNSUPPORTED, "behind a TemplateProcessing"},
        {AND("post_processor") "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
                               "{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],"
                               "\"special_tokens\":{}}",
         RADLLM_E_FORMAT, "special"},
        {AND("post_processor") "{\"type\":\"BertProcessing\",\"cls\":[\"a\",9],\"sep\":[\"b\",1]}",
         RADLLM_E_FORMAT, "id"},
        {AND("post_processor") "{\"type\":\"Magic\"}", RADLLM_E_UNSUPPORTED, "Magic"},
        {AND("version") "\"2.0\"", RADLLM_E_UNSUPPORTED, "version"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        radllm_error error = {0};
        radllm_status status = try_file(cases[i].model, cases[i].rest, &error);
        rad_assert_error(status, cases[i].status, &error, cases[i].part);
    }
}
END_TEST

START_TEST(refuses_lies)
{
    static const struct {
        const char *model, *rest;
        radllm_status status;
        const char *part;
    } cases[] = {
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a z\"]}", "", RADLLM_E_FORMAT,
         "not in the vocabulary (\"z\")"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\",\"b\"]]}", "",
         RADLLM_E_FORMAT, "gives a token"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}", "", RADLLM_E_FORMAT,
         "merge 0"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}", "", RADLLM_E_FORMAT,
         "merge 0"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":7}", "", RADLLM_E_FORMAT, "merges"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}", "", RADLLM_E_FORMAT,
         "\"b\" belongs to another"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}", "", RADLLM_E_FORMAT, "\"a\""},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0.5},\"merges\":[]}", "", RADLLM_E_FORMAT, "\"a\""},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999},\"merges\":[]}", "",
         RADLLM_E_FORMAT, "\"a\""},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":4000000000},\"merges\":[]}", "", RADLLM_E_LIMIT,
         "greatest id"},
        {"{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}", "", RADLLM_E_FORMAT, "empty"},
        {"{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}", "", RADLLM_E_FORMAT, "vocabulary"},
        {"{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}", "", RADLLM_E_FORMAT,
         "twice"},
        {"{\"type\":\"Unigram\",\"unk_id\":2,\"vocab\":[[\"a\",0]]}", "", RADLLM_E_FORMAT,
         "unk_id"},
        {"{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}", "", RADLLM_E_FORMAT, "entry 0"},
        {"{\"type\":\"Unigram\",\"vocab\":[\"a\"]}", "", RADLLM_E_FORMAT, "entry 0"},
        {"{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"max_input_chars_per_word\":1000000000}", "",
         RADLLM_E_LIMIT, "max_input_chars_per_word"},
        {AND("added_tokens") "[{\"id\":0,\"content\":\"z\",\"special\":true}]", RADLLM_E_FORMAT,
         "belongs to another"},
        {AND("added_tokens") "[{\"id\":900000,\"content\":\"z\",\"special\":true}]", RADLLM_E_LIMIT,
         "greatest id"},
        {AND("added_tokens") "[{\"id\":7,\"content\":\"b\",\"special\":true}]", RADLLM_E_FORMAT,
         "once"},
        {AND("added_tokens") "[{\"id\":7}]", RADLLM_E_FORMAT, "added_tokens"},
        {AND("added_tokens") "[{\"id\":\"7\",\"content\":\"z\",\"special\":true}]", RADLLM_E_FORMAT,
         "\"z\""},
        {AND("added_tokens") "[{\"id\":7,\"content\":\"z\",\"special\":\"yes\"}]", RADLLM_E_FORMAT,
         "special"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        radllm_error error = {0};
        radllm_status status = try_file(cases[i].model, cases[i].rest, &error);
        rad_assert_error(status, cases[i].status, &error, cases[i].part);
    }
}
END_TEST

static char *repeat(const char *text, size_t times, const char *behind)
{
    size_t size = strlen(text);
    char *all = malloc(size * times + strlen(behind) + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(all + i * size, text, size);
    memcpy(all + size * times, behind, strlen(behind) + 1);
    return all;
}

START_TEST(bounds_what_files_ask_for)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    char *deep = repeat("[", 10000, "");
    rad_assert_error(create(deep, NULL, NULL, NULL, NULL, &tokenizer, &error), RADLLM_E_LIMIT,
                     &error, "levels");
    free(deep);
    deep = repeat("{\"normalizer\":", 10000, "");
    rad_assert_error(create(deep, NULL, NULL, NULL, NULL, &tokenizer, &error), RADLLM_E_LIMIT,
                     &error, "levels");
    free(deep);
    char *many = repeat("{\"type\":\"NFC\"},", 65, "{\"type\":\"NFC\"}]}");
    char *rest = malloc(strlen(many) + 80);
    sprintf(rest, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s", many);
    rad_assert_error(try_file(BPE, rest, &error), RADLLM_E_LIMIT, &error, "64");
    free(many);
    free(rest);
}
END_TEST

/* White space that many added tokens would take is looked at once. */
START_TEST(strips_long_runs_in_time)
{
    static const char *const flags[] = {"\"rstrip\":true", "\"lstrip\":true,\"rstrip\":true"};
    const size_t size = 600000;
    char *spaces = malloc(size);
    memset(spaces, ' ', size);
    for (size_t i = 0; i < 2; i++) {
        char file[512];
        rad_tokenizer *tokenizer = NULL;
        radllm_error error = {0};
        snprintf(file, sizeof file,
                 "{\"model\":" BPE
                 ",\"added_tokens\":[{\"id\":3,\"content\":\" \",\"special\":true,%s}]}",
                 flags[i]);
        rad_assert_ok(create(file, NULL, NULL, NULL, NULL, &tokenizer, &error), &error);
        rad_tokens tokens = text_encode(tokenizer, spaces, size, ALL);
        ck_assert_uint_eq(tokens.count, i == 0 ? size : 1);
        rad_tokens_free(&tokens);
        rad_tokenizer_free(tokenizer);
    }
    free(spaces);
}
END_TEST

/* A text that a pattern or normalizer of the file makes slow or long is refused in time. */
static void check_slow(const char *rest, const char *text, const char *part)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    char *file = malloc(strlen(rest) + 256);
    sprintf(file, "{\"model\":" UNIGRAM ",%s}", rest);
    rad_assert_ok(create(file, NULL, NULL, NULL, NULL, &tokenizer, &error), &error);
    rad_tokens tokens = {.allocator = &rad_default_allocator};
    radllm_status status = rad_tokenizer_encode(tokenizer, text, strlen(text), 0, &tokens, &error);
    rad_assert_error(status, RADLLM_E_LIMIT, &error, part);
    ck_assert_uint_eq(tokens.count, 0);
    rad_tokens_free(&tokens);
    rad_tokenizer_free(tokenizer);
    free(file);
}

START_TEST(bounds_what_texts_take)
{
    char *text = repeat("a", 100000, "b");
    check_slow("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":"
               "{\"Regex\":\"(a+)+c\"}}",
               text, "steps");
    check_slow("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":"
               "{\"Regex\":\"(?:a|a)*c\"}}",
               text, "steps");
    check_slow("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":"
               "{\"Regex\":\"a+x\"}}",
               text, "steps");
    check_slow("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
               "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaa\"},"
               "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaa\"}]}",
               text, "times as long");
    free(text);
}
END_TEST

/* Long runs of one class, and of marks in the wrong order, take no more than linear time or so. */
START_TEST(takes_long_runs)
{
    static const char *const runs[] = {
        "a", " ", "\n", "\xCC\x81\xCC\xA3", "\xE2\x96\x81", "1", "\xF0\x9F\x98\x80"};
    for (size_t n = 0; n < N_NAMES; n++) {
        if (strcmp(names[n], "odd-regex") == 0)
            continue; /* it looks at a run from each of its characters on, and is refused */
        rad_tokenizer *tokenizer = open_small(names[n]);
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
            char *text = repeat(runs[i], RAD_TEST_SANITIZED ? 6000 : 30000, "");
            rad_tokens tokens = text_encode(tokenizer, text, strlen(text), ALL);
            rad_tokens_free(&tokens);
            free(text);
        }
        rad_tokenizer_free(tokenizer);
    }
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

static radllm_status make_and_encode(const rad_host *host, const char *file, const char *sample,
                                     radllm_error *error)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_status status = create(file, "{\"bos_token\":\"a\",\"chat_template\":\"x\"}", NULL,
                                  "{\"eos_token_id\":1}", host, &tokenizer, error);
    if (status != RADLLM_OK)
        return status;
    rad_tokens tokens = {.allocator = &host->allocator};
    status = rad_tokenizer_encode(tokenizer, sample, strlen(sample), ALL, &tokens, error);
    rad_tokens_free(&tokens);
    rad_tokenizer_free(tokenizer);
    return status;
}

START_TEST(survives_failing_memory)
{
    const char *name = names[_i];
    char *file = read_text(name, ".json");
    char *sample =
        repeat("Patient\xC3\xA9 e\xCC\x81 12 <s>\xF0\x9F\x98\x80 \xEF\xAC\x81 x\xff ", 40, "");
    uint64_t fail_at = 1;
    for (;; fail_at++) {
        rad_test_memory memory;
        rad_test_memory_init(&memory, fail_at);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        radllm_error error = {0};
        radllm_status status = make_and_encode(&host, file, sample, &error);
        rad_test_memory_check(&memory);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, &error);
            break;
        }
        /* A table of known words and copies of words are done without. */
        ck_assert_msg(status == RADLLM_E_MEMORY || status == RADLLM_OK, "%s: allocation %d: %s",
                      name, (int)fail_at, error.message);
    }
    ck_assert_uint_gt(fail_at, 10);
    free(file);
    free(sample);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "package");
    tcase_add_loop_test(cases, gives_the_packages_tokens, 0, (int)N_NAMES);
    tcase_add_test(cases, reads_control_tokens_where_it_may);
    tcase_add_loop_test(cases, takes_bytes_from_the_model, 0, 2);
    tcase_add_test(cases, reads_what_is_no_utf8);
    cases = rad_test_case(suite, "beside");
    tcase_add_test(cases, takes_ends_and_templates_from_beside);
    tcase_add_test(cases, follows_the_class_of_bert);
    tcase_add_test(cases, follows_the_class_of_gpt2);
    tcase_add_test(cases, takes_added_tokens_from_beside);
    tcase_add_test(cases, chats_with_a_built_in_template);
    cases = rad_test_case(suite, "hostile");
    tcase_add_test(cases, shows_added_tokens_normalized);
    tcase_add_test(cases, strips_long_runs_in_time);
    tcase_add_test(cases, refuses_what_it_does_not_know);
    tcase_add_test(cases, refuses_lies);
    tcase_add_test(cases, bounds_what_files_ask_for);
    tcase_add_test(cases, bounds_what_texts_take);
    tcase_add_test(cases, takes_long_runs);
    cases = rad_test_case(suite, "memory");
    tcase_add_loop_test(cases, survives_failing_memory, 0, (int)N_NAMES);
}

int main(void)
{
    return rad_test_main("text_json", add_cases);
}
