/* Whether two tokenizers give the same tokens: of texts with what tokenizers differ in, and of
 * texts put together of pieces. */
#include <string.h>

#include "text/export.h"
#include "text/json_writer.h"

static const char *const probes[] = {
    "The chest X-ray shows no acute cardiopulmonary abnormality.",
    " leading and  double   spaces, trailing ",
    "I'm, you've, it's, they'd, WE'LL, I'M",
    "12345 67 8,900.12 mm3 1e-5",
    "Befund: Gr\xC3\xB6\xC3\x9F"
    "e 3\xC3\x97"
    "4 cm, \xC3\xBC"
    "bergewichtig",
    "line one\nline two\r\n\r\n\tindented\n\n\nend",
    "\xE8\x82\xBA\xE7\xBB\x93\xE8\x8A\x82 \xE3\x81\xB2\xE3\x82\x89\xE3\x81\x8C\xE3\x81\xAA \xED\x95"
    "\x9C\xEA\xB5\xAD\xEC\x96\xB4",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, \xD9\x85\xD8\xB1\xD8\xAD\xD8\xA8\xD8\xA7 "
    "\xE0\xA4\xA8\xE0\xA4\xAE",
    "emoji \xF0\x9F\x98\x80\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD and symbols "
    "\xE2\x82\xAC\xC2\xB5\xE2\x89\xA4",
    "for (int i = 0; i < n; i++) { a[i] += b_c->d * 0x1F; } // (x!=y)&&z",
    "UPPER lower MiXeD snake_case camelCase kebab-case",
    "!!! ??? ... --- ___ ::: (((a)))",
    "a",
    " ",
    "\n",
    "",
};

static bool same_tokens(const rad_tokens *a, const rad_tokens *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0);
}

/* Two tokenizers at work on one text. */
typedef struct comparison {
    const rad_tokenizer *a, *b;
    rad_tokens first, second;
    const char *form;
    radllm_error *error;
} comparison;

static radllm_status compare_text(comparison *c, const char *text, size_t size, uint32_t flags)
{
    char quoted[RAD_QUOTE_SIZE];
    radllm_error own = {.status = RADLLM_OK}; /* what is unknown is an error in some */
    c->first.count = c->second.count = 0;
    radllm_status one = rad_tokenizer_encode(c->a, text, size, flags, &c->first, &own);
    radllm_status other = rad_tokenizer_encode(c->b, text, size, flags, &c->second, &own);
    if (one == RADLLM_E_MEMORY || other == RADLLM_E_MEMORY)
        return rad_fail_memory(c->error, size);
    if (one == other && same_tokens(&c->first, &c->second))
        return RADLLM_OK;
    return rad_fail(c->error, RADLLM_E_UNSUPPORTED,
                    "the tokenizer: the tokens of \"%s\" would be others in %s, which has no "
                    "words for some part of it; keep the model as it is",
                    rad_quote(quoted, text, size), c->form);
}

/* Texts of pieces, with spaces, line ends, digits and marks between some of them. */
static radllm_status compare_pieces(comparison *c)
{
    static const char *const between[] = {"", "", "", "", " ", "  ", "\n", "1", "2", "\xCC\x81"};
    uint64_t random = 1;
    radllm_status status = RADLLM_OK;
    for (int i = 0; i < 200 && status == RADLLM_OK; i++) {
        char text[1024];
        size_t size = 0;
        for (int j = i % 20; j >= 0 && size < sizeof text - 80; j--) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t id = (uint32_t)(random >> 33) % rad_tokenizer_size(c->a);
            size_t length = rad_tokenizer_piece(c->a, (int32_t)id, true, text + size, 64);
            if (length <= 64 && rad_json_is_utf8((rad_text){text + size, length}))
                size += length;
            const char *joint = between[(random >> 40) % (sizeof between / sizeof *between)];
            memcpy(text + size, joint, strlen(joint));
            size += strlen(joint);
        }
        status =
            compare_text(c, text, size,
                         i % 2 == 0 ? RADLLM_TOKENIZE_ADD_SPECIAL : RADLLM_TOKENIZE_PARSE_SPECIAL);
    }
    return status;
}

/* Of a tokenizer that was made of its parts again, all entries are as they were. */
static radllm_status compare_entries(const comparison *c)
{
    for (uint32_t id = 0; id < rad_tokenizer_size(c->a) && c->b->pipeline != NULL; id++) {
        rad_text a = rad_tokenizer_entry(c->a, (int32_t)id);
        rad_text b = rad_tokenizer_entry(c->b, (int32_t)id);
        char quoted[RAD_QUOTE_SIZE];
        if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0)
            return rad_fail(c->error, RADLLM_E_UNSUPPORTED,
                            "the tokenizer: %s has no words for the token %u, \"%s\"; keep the "
                            "model as it is",
                            c->form, id, rad_quote(quoted, a.data, a.size));
    }
    return RADLLM_OK;
}

radllm_status rad_tokenizer_compare(const rad_tokenizer *a, const rad_tokenizer *b,
                                    const char *form, bool thorough, radllm_error *error)
{
    const rad_tokens none = {.allocator = &a->host.allocator};
    comparison c = {.a = a, .b = b, .first = none, .second = none, .form = form, .error = error};
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < sizeof probes / sizeof *probes && status == RADLLM_OK; i++)
        status = compare_text(&c, probes[i], strlen(probes[i]), RADLLM_TOKENIZE_ADD_SPECIAL);
    if (status == RADLLM_OK && thorough)
        status = compare_pieces(&c);
    if (status == RADLLM_OK && thorough)
        status = compare_entries(&c);
    rad_tokens_free(&c.first);
    rad_tokens_free(&c.second);
    return status;
}
