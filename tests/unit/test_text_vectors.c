/* Tokenizers against recorded ids: the vocabularies and texts of the shared test data. */
#include "unit/harness.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/tokenizer_json.h"
#include "unit/text_support.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Compares the ids of one text with a line of numbers. */
static void check_line(const rad_tokenizer *tokenizer, const char *text, size_t size,
                       const char *line, const char *what)
{
    rad_tokens tokens = text_encode(tokenizer, text, size, 0);
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
        check_line(tokenizer, text, length, line, name);
        line = end == NULL ? NULL : strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
        text += length + strlen(SEPARATOR);
    }
    ck_assert_int_eq(n, 47);
    free(input);
    free(output);
}

/* The cases of a file of tokenizers/expected: ids with special tokens added, and decoded text;
 * where the file's own decoder drops spaces before punctuation (decode false), the text must come
 * back. */
static void check_expected(const rad_tokenizer *tokenizer, const char *file, uint32_t flags,
                           bool decode)
{
    char path[256];
    snprintf(path, sizeof path, "tokenizers/expected/%s", file);
    json_t *data = json_load_file(rad_test_shared_path(path), JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(data);
    const json_t *cases = json_object_get(data, "cases");
    size_t index;
    const json_t *one;
    json_array_foreach(cases, index, one)
    {
        const json_t *text = json_object_get(one, "text");
        const json_t *ids = json_object_get(one, "ids");
        const json_t *decoded = json_object_get(one, "decoded");
        if (json_object_get(one, "text_pair") != NULL)
            continue;
        rad_tokens tokens =
            text_encode(tokenizer, json_string_value(text), json_string_length(text),
                        flags | RADLLM_TOKENIZE_PARSE_SPECIAL);
        const char *name = json_string_value(json_object_get(one, "name"));
        ck_assert_msg(tokens.count == json_array_size(ids), "%s %s: %zu tokens, not %zu", file,
                      name, tokens.count, json_array_size(ids));
        for (size_t i = 0; i < tokens.count; i++)
            ck_assert_msg(tokens.ids[i] == json_integer_value(json_array_get(ids, i)),
                          "%s %s: token %zu is %d", file, name, i, (int)tokens.ids[i]);
        char *buffer = malloc(65536);
        size_t length = 0;
        rad_assert_ok(rad_tokenizer_decode(tokenizer, tokens.ids, tokens.count,
                                           decode ? RADLLM_DETOKENIZE_SPECIAL : 0, buffer, 65535,
                                           &length, NULL),
                      NULL);
        buffer[length] = '\0';
        if (decode)
            ck_assert_msg(strcmp(buffer, json_string_value(decoded)) == 0,
                          "%s %s: decoded \"%s\", expected \"%s\"", file, name, buffer,
                          json_string_value(decoded));
        if (!decode && strncmp(name, "SPECIAL", 7) != 0)
            ck_assert_msg(length == json_string_length(text) &&
                              memcmp(buffer, json_string_value(text), length) == 0,
                          "%s %s: decoded \"%s\"", file, name, buffer);
        free(buffer);
        rad_tokens_free(&tokens);
    }
    json_decref(data);
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
    rad_tokenizer *tokenizer = text_open(found);
    check_pair(tokenizer, files[_i]);
    if (strcmp(files[_i], "gpt-2") == 0) {
        check_expected(tokenizer, "Xenova__gpt2.json", 0, false);
        check_expected(tokenizer, "openai-community__gpt2.json", 0, false);
    }
    if (strcmp(files[_i], "llama-spm") == 0)
        check_expected(tokenizer, "Xenova__llama-tokenizer.json", RADLLM_TOKENIZE_ADD_SPECIAL,
                       true);
    rad_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(llama3_gives_the_recorded_ids)
{
    static const char *const specials[] = {"<|begin_of_text|>", "<|end_of_text|>"};
    const char *vocabulary = rad_test_shared_path("tokenizers/llama3.2/encoder.json");
    const char *merges = rad_test_shared_path("tokenizers/llama3.2/vocab.bpe");
    if (vocabulary == NULL || merges == NULL)
        RAD_SKIP("tokenizers/llama3.2 is not there");
    gguf_builder file = text_from_json("llama-bpe", vocabulary, merges, specials, 2);
    gguf_key_u32(&file, "tokenizer.ggml.bos_token_id", 128000);
    gguf_key_u32(&file, "tokenizer.ggml.eos_token_id", 128001);
    rad_tokenizer *tokenizer = text_tokenizer(&file);
    check_pair(tokenizer, "llama-bpe");
    check_expected(tokenizer, "Xenova__llama3-tokenizer.json", 0, false);
    check_expected(tokenizer, "Xenova__llama3-tokenizer-new.json", RADLLM_TOKENIZE_ADD_SPECIAL,
                   false);
    text_check(tokenizer, "hi", RADLLM_TOKENIZE_ADD_SPECIAL, "128000 6151");
    rad_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(qwen2_gives_the_recorded_ids)
{
    static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    const char *vocabulary = rad_test_shared_path("tokenizers/qwen2/vocab.json");
    const char *merges = rad_test_shared_path("tokenizers/qwen2/merges.txt");
    if (vocabulary == NULL || merges == NULL)
        RAD_SKIP("tokenizers/qwen2 is not there");
    gguf_builder file =
        text_from_json(_i == 0 ? "qwen2" : "deepseek-r1-qwen", vocabulary, merges, specials, 3);
    gguf_key_u32(&file, "tokenizer.ggml.eos_token_id", 151645);
    gguf_key_u32(&file, "tokenizer.ggml.bos_token_id", 151643);
    rad_tokenizer *tokenizer = text_tokenizer(&file);
    check_pair(tokenizer, _i == 0 ? "qwen2" : "deepseek-r1-qwen");
    check_expected(tokenizer, "Xenova__Qwen1.5-0.5B-Chat.json", RADLLM_TOKENIZE_ADD_SPECIAL, true);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* ---- the same from tokenizer.json -------------------------------------------------------- */

/* Llama 2's file has spaces where no-break spaces were, so that the texts with those in
 * tokenizers/expected come out otherwise. */
START_TEST(json_file_gives_the_recorded_ids)
{
    static const struct {
        const char *path, *pair;
    } all[] = {{"tokenizers/onnxruntime-extensions/llama2/tokenizer.json", "llama-spm"},
               {"tokenizers/onnxruntime-extensions/phi-3/tokenizer.json", "phi-3"}};
    const char *found = rad_test_shared_path(all[_i].path);
    if (found == NULL)
        RAD_SKIP("%s is not there", all[_i].path);
    rad_tokenizer *tokenizer = text_open(found);
    check_pair(tokenizer, all[_i].pair);
    ck_assert(rad_tokenizer_adds_bos(tokenizer) && rad_tokenizer_is_end(tokenizer, 2));
    rad_tokenizer_free(tokenizer);
}
END_TEST

#define LLAMA3(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* The text of a tokenizer.json: a vocabulary, its merges, a pattern, three control tokens. */
static char *write_json(const char *vocabulary, const char *merges, const char *pattern,
                        bool ignore_merges, const char *const specials[3])
{
    json_t *vocab = json_load_file(vocabulary, JSON_ALLOW_NUL, NULL);
    int first = (int)json_object_size(vocab);
    json_t *list = json_array();
    size_t size;
    char *lines = (char *)rad_test_read_file(merges, &size), *rest = lines;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;)
        if (strncmp(line, "#version", 8) != 0)
            json_array_append_new(list, json_string(line));
    free(lines);
    json_t *added = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(added, json_pack("{s:i,s:s,s:b}", "id", first + i, "content",
                                               specials[i], "special", 1));
    json_t *root = json_pack(
        "{s:o,s:{s:s,s:[{s:s,s:{s:s},s:s,s:b},{s:s,s:b,s:b}]},s:{s:s},"
        "s:{s:s,s:o,s:o,s:b}}",
        "added_tokens", added, "pre_tokenizer", "type", "Sequence", "pretokenizers", "type",
        "Split", "pattern", "Regex", pattern, "behavior", "Isolated", "invert", 0, "type",
        "ByteLevel", "add_prefix_space", 0, "use_regex", 0, "decoder", "type", "ByteLevel", "model",
        "type", "BPE", "vocab", vocab, "merges", list, "ignore_merges", ignore_merges);
    ck_assert_ptr_nonnull(root);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

START_TEST(json_vocabulary_gives_the_recorded_ids)
{
    static const struct {
        const char *vocabulary, *merges, *pattern, *pair, *expected;
        const char *specials[3];
    } all[] = {{"tokenizers/llama3.2/encoder.json",
                "tokenizers/llama3.2/vocab.bpe",
                LLAMA3("\\p{N}{1,3}"),
                "llama-bpe",
                "Xenova__llama3-tokenizer.json",
                {"<|begin_of_text|>", "<|end_of_text|>", "<|x|>"}},
               {"tokenizers/qwen2/vocab.json",
                "tokenizers/qwen2/merges.txt",
                LLAMA3("\\p{N}"),
                "qwen2",
                "Xenova__Qwen1.5-0.5B-Chat.json",
                {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}}};
    const char *vocabulary = rad_test_shared_path(all[_i].vocabulary);
    const char *merges = rad_test_shared_path(all[_i].merges);
    if (vocabulary == NULL || merges == NULL)
        RAD_SKIP("%s is not there", all[_i].vocabulary);
    char *text = write_json(vocabulary, merges, all[_i].pattern, _i == 0, all[_i].specials);
    rad_tokenizer_files files = {.tokenizer = {text, strlen(text)}};
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    double start = seconds();
    rad_assert_ok(rad_tokenizer_create_json(NULL, &files, &tokenizer, &error), &error);
    ck_assert_double_lt(seconds() - start, 10); /* a square of the vocabulary would take hours */
    free(text);
    check_pair(tokenizer, all[_i].pair);
    check_expected(tokenizer, all[_i].expected, 0, _i == 1);
    rad_tokenizer_free(tokenizer);
}
END_TEST

/* ---- long runs ------------------------------------------------------------------------ */

/* Time for `size` bytes of a repeated text. */
static double time_of(const rad_tokenizer *tokenizer, const char *unit, size_t size)
{
    char *text = malloc(size);
    size_t length = strlen(unit);
    for (size_t i = 0; i < size; i++)
        text[i] = unit[i % length];
    double start = seconds();
    rad_tokens tokens = text_encode(tokenizer, text, size, 0);
    double took = seconds() - start;
    rad_tokens_free(&tokens);
    free(text);
    return took;
}

static const char *const units[] = {
    "a",         " ",
    "\n",        "1",
    "A",         "'",
    "!",         "\t ",
    "\r",        "\xC3",
    "\xE2",      "aB",
    "\xC3\x89",  "a\n ",
    " a",        "\xE4\xB8\xAD",
    "a1",        "\xF0\x9F\x98\x80",
    "\xCC\x81",  "\xE2\x96\x81",
    "A\xC2\xAA", "<",
    "\x01",      "\xFF",
};

#if RAD_TEST_SANITIZED
enum { LARGE = 1 << 16 }; /* a sanitizer takes sixteen times as long */
#else
enum { LARGE = 1 << 20 };
#endif

/* Sixteen times the text may take some sixteen times as long: a square would be 256 times. */
START_TEST(a_megabyte_of_one_character_takes_linear_time)
{
    static const char *const kinds[] = {"gpt-2", "llama-spm", "bert-bge"};
    char path[256];
    snprintf(path, sizeof path, "tokenizers/ggml-vocab/ggml-vocab-%s.gguf", kinds[_i]);
    const char *found = rad_test_shared_path(path);
    if (found == NULL)
        RAD_SKIP("%s is not there", path);
    rad_tokenizer *tokenizer = text_open(found);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        double large = time_of(tokenizer, units[i], LARGE);
        double small = large < 0.5 ? large : time_of(tokenizer, units[i], LARGE / 16);
        ck_assert_msg(large < 0.5 || large < 80 * small,
                      "%s: of \"%s\" a sixteenth takes %.4f s, all %.4f s", kinds[_i], units[i],
                      small, large);
    }
    rad_tokenizer_free(tokenizer);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "vectors");
    tcase_add_loop_test(cases, file_gives_the_recorded_ids, 0, sizeof files / sizeof files[0]);
    tcase_add_test(cases, llama3_gives_the_recorded_ids);
    tcase_add_loop_test(cases, qwen2_gives_the_recorded_ids, 0, 2);
    tcase_add_loop_test(cases, json_file_gives_the_recorded_ids, 0, 2);
    tcase_add_loop_test(cases, json_vocabulary_gives_the_recorded_ids, 0, 2);
    TCase *runs = rad_test_case(suite, "runs");
    tcase_add_loop_test(runs, a_megabyte_of_one_character_takes_linear_time, 0, 3);
}

int main(void)
{
    return rad_test_main("text_vectors", add_cases);
}
