#include "text/export_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/export.h"
#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#define MARK      "\xE2\x96\x81"
#define PIECE_MAX 512
#define METASPACE "{\"type\": \"Metaspace\", \"replacement\": \"" MARK "\", \"prepend_scheme\": \""

typedef struct json_writer {
    const rad_tokenizer *tokenizer;
    rad_output *output;
    radllm_error *error;
    radllm_status status; /* the first failure; later calls do nothing */
} json_writer;

/* ---- text ----------------------------------------------------------------------------------- */

static void put_bytes(json_writer *w, const char *bytes, size_t size)
{
    if (w->status == RADLLM_OK && w->output != NULL)
        w->status = rad_output_write(w->output, bytes, size, w->error);
}

static void put(json_writer *w, const char *text)
{
    put_bytes(w, text, strlen(text));
}

static void put_number(json_writer *w, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    put(w, text);
}

static bool is_utf8(rad_text text)
{
    const uint8_t *p = (const uint8_t *)text.data, *end = p + text.size;
    while (p < end) {
        int n = rad_utf8_strict(p, end);
        if (n <= 0)
            return false;
        p += n;
    }
    return true;
}

static void put_string(json_writer *w, rad_text text)
{
    char quoted[RAD_QUOTE_SIZE];
    if (w->status == RADLLM_OK && !is_utf8(text))
        w->status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                             "the text \"%s\" of the tokenizer is no UTF-8, so that tokenizer.json "
                             "cannot hold it; keep the GGUF file",
                             rad_quote(quoted, text.data, text.size));
    put(w, "\"");
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = (uint8_t)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[8];
        snprintf(escape, sizeof escape, c < 0x20 ? "\\u%04x" : "\\%c", c);
        put_bytes(w, text.data + from, i - from);
        put(w, escape);
        from = i + 1;
    }
    put_bytes(w, text.data + from, text.size - from);
    put(w, "\"");
}

/* GGUF marks what begins a word, tokenizer.json what continues one (WordPiece). */
static void put_entry(json_writer *w, int32_t id)
{
    rad_text text = rad_tokenizer_entry(w->tokenizer, id);
    bool bracketed = text.size > 1 && text.data[0] == '[' && text.data[text.size - 1] == ']';
    bool begins = text.size >= 3 && memcmp(text.data, MARK, 3) == 0;
    bool added = !begins && rad_tokenizer_type(w->tokenizer, id) != RAD_TOKEN_NORMAL;
    if (w->tokenizer->model != RAD_MODEL_WORDPIECE || bracketed || added) {
        put_string(w, text);
        return;
    }
    char piece[PIECE_MAX + 2] = "##";
    if (text.size > PIECE_MAX && w->status == RADLLM_OK)
        w->status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                             "a piece of the tokenizer has %zu bytes, which no word has: keep the "
                             "GGUF file",
                             text.size);
    if (begins) {
        put_string(w, (rad_text){text.data + 3, text.size - 3});
    } else if (w->status == RADLLM_OK) {
        memcpy(piece + 2, text.data, text.size);
        put_string(w, (rad_text){piece, text.size + 2});
    }
}

/* ---- tokens --------------------------------------------------------------------------------- */

static bool is_added(const json_writer *w, int32_t id)
{
    rad_token_type type = rad_tokenizer_type(w->tokenizer, id);
    return type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_UNKNOWN ||
           (type == RAD_TOKEN_USER_DEFINED && w->tokenizer->spm == NULL);
}

/* Of entries with one text the one is written that the text stands for. */
static bool is_written(const json_writer *w, int32_t id)
{
    rad_text text = rad_tokenizer_entry(w->tokenizer, id);
    bool gap = rad_tokenizer_type(w->tokenizer, id) == RAD_TOKEN_UNUSED &&
               (text.size == 0 || memcmp(text.data, "[PAD", text.size < 4 ? text.size : 4) == 0);
    return !gap && rad_tokenizer_find(w->tokenizer, text.data, text.size) == id;
}

static void put_added(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    static const struct {
        const char *key;
        uint8_t flag;
    } keys[] = {{", \"single_word\": ", RAD_ADDED_SINGLE_WORD},
                {", \"lstrip\": ", RAD_ADDED_LSTRIP},
                {", \"rstrip\": ", RAD_ADDED_RSTRIP},
                {", \"normalized\": ", RAD_ADDED_NORMALIZED}};
    bool first = true;
    put(w, "\"added_tokens\": [");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(t) && w->status == RADLLM_OK; id++) {
        if (!is_added(w, id) || !is_written(w, id))
            continue;
        uint8_t flags = t->added != NULL ? t->added[id] : 0;
        bool special = rad_tokenizer_type(t, id) != RAD_TOKEN_USER_DEFINED;
        put(w, first ? "\n{\"id\": " : ",\n{\"id\": ");
        put_number(w, id);
        put(w, ", \"content\": ");
        put_entry(w, id);
        for (size_t i = 0; i < 4; i++) {
            put(w, keys[i].key);
            put(w, (flags & keys[i].flag) != 0 ? "true" : "false");
        }
        put(w, ", \"special\": ");
        put(w, special ? "true}" : "false}");
        first = false;
    }
    put(w, "],\n");
}

static void put_list(json_writer *w)
{
    bool first = true;
    put(w, "\"vocab\": {");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(w->tokenizer); id++) {
        if (w->status != RADLLM_OK || !is_written(w, id))
            continue;
        put(w, first ? "\n" : ",\n");
        put_entry(w, id);
        put(w, ": ");
        put_number(w, id);
        first = false;
    }
    put(w, "}");
}

static void put_vocabulary(json_writer *w)
{
    put_list(w);
    put(w, ",\n");
}

static void put_pair(json_writer *w, bool *first, rad_text left, rad_text right)
{
    put(w, *first ? "\n[" : ",\n[");
    put_string(w, left);
    put(w, ", ");
    put_string(w, right);
    put(w, "]");
    *first = false;
}

static radllm_status allocate(json_writer *w, size_t bytes, void **out)
{
    *out = NULL;
    if (w->status == RADLLM_OK) {
        *out = rad_alloc(&w->tokenizer->host.allocator, bytes);
        if (*out == NULL)
            w->status = rad_fail_memory(w->error, bytes);
    }
    return w->status;
}

static void put_ranked_merges(json_writer *w)
{
    rad_arena arena = {.allocator = &w->tokenizer->host.allocator};
    const rad_pair **pairs = NULL;
    uint32_t count = 0;
    bool first = true;
    if (w->status == RADLLM_OK)
        w->status = rad_tokenizer_merges(w->tokenizer, &arena, &pairs, &count, w->error);
    for (uint32_t i = 0; i < count && w->status == RADLLM_OK; i++)
        put_pair(w, &first, rad_tokenizer_entry(w->tokenizer, pairs[i]->left),
                 rad_tokenizer_entry(w->tokenizer, pairs[i]->right));
    rad_arena_free(&arena);
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *first = a, *second = b;
    if (first->score != second->score)
        return first->score > second->score ? -1 : 1;
    return first->id < second->id ? -1 : 1;
}

/* Every way to make a piece of two others: those of the highest score merge first. */
static void put_scored_merges(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    const rad_vocabulary *vocabulary = &t->vocabulary;
    uint32_t n = rad_tokenizer_size(t), count = 0;
    scored *order;
    bool first = true;
    if (allocate(w, ((size_t)n + 1) * sizeof *order, (void **)&order) != RADLLM_OK)
        return;
    for (uint32_t id = 0; id < n; id++)
        if (vocabulary->types[id] == RAD_TOKEN_NORMAL)
            order[count++] =
                (scored){vocabulary->scores != NULL ? vocabulary->scores[id] : 0, (int32_t)id};
    qsort(order, count, sizeof *order, by_score);
    for (uint32_t i = 0; i < count && w->status == RADLLM_OK; i++) {
        rad_text text = rad_tokenizer_entry(t, order[i].id);
        if (text.size > PIECE_MAX)
            continue; /* no text has it, and looking for its parts would take for ever */
        for (size_t cut = text.size; cut-- > 1;) {
            const uint8_t *bytes = (const uint8_t *)text.data;
            if ((bytes[cut] & 0xC0) == 0x80 ||
                rad_vocabulary_find_text(vocabulary, bytes, cut) < 0 ||
                rad_vocabulary_find_text(vocabulary, bytes + cut, text.size - cut) < 0)
                continue;
            put_pair(w, &first, (rad_text){text.data, cut},
                     (rad_text){text.data + cut, text.size - cut});
        }
    }
    rad_free(&t->host.allocator, order, ((size_t)n + 1) * sizeof *order);
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void put_splits(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    put(w, "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [");
    for (size_t i = 0; t->cuts[i].split != NULL || t->cuts[i].regex != NULL; i++) {
        const char *pattern = rad_pretokenizer_pattern(t->pretokenizer, i);
        if (pattern == NULL) {
            if (w->status == RADLLM_OK)
                w->status = rad_fail(w->error, RADLLM_E_UNSUPPORTED,
                                     "the pre-tokenizer \"%s\" is not written to tokenizer.json; "
                                     "keep the GGUF file",
                                     t->pre);
            return;
        }
        put(w, "\n{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        put_string(w, (rad_text){pattern, strlen(pattern)});
        put(w, "}, \"behavior\": \"Isolated\", \"invert\": false},");
    }
    put(w, "\n{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
           "\"use_regex\": false}]},\n");
}

static void put_special(json_writer *w, int32_t id, int64_t type)
{
    put(w, "{\"SpecialToken\": {\"id\": ");
    put_entry(w, id);
    put(w, ", \"type_id\": ");
    put_number(w, type);
    put(w, "}}");
}

static int32_t end_of(const rad_tokenizer *t)
{
    return t->model == RAD_MODEL_WORDPIECE ? t->separator : t->eos;
}

/* Of a pair the second text has a type of its own in WordPiece. */
static void put_frame(json_writer *w, const char *list, int n)
{
    const rad_tokenizer *t = w->tokenizer;
    put(w, list);
    for (int i = 0; i < n; i++) {
        int64_t type = t->model == RAD_MODEL_WORDPIECE ? i : 0;
        put(w, i > 0 ? ", " : "");
        if (t->add_bos && (i == 0 || type == 0)) {
            bool again = i > 0 && t->model == RAD_MODEL_SPM; /* as RoBERTa has it */
            put_special(w, again ? end_of(t) : t->bos, type);
            put(w, ", ");
        }
        put(w, i == 0 ? "{\"Sequence\": {\"id\": \"A\", \"type_id\": "
                      : "{\"Sequence\": {\"id\": \"B\", \"type_id\": ");
        put_number(w, type);
        put(w, "}}");
        if (t->add_eos) {
            put(w, ", ");
            put_special(w, end_of(t), type);
        }
    }
    put(w, "],\n");
}

static void put_named(json_writer *w, int32_t id)
{
    put_entry(w, id);
    put(w, ": {\"id\": ");
    put_entry(w, id);
    put(w, ", \"ids\": [");
    put_number(w, id);
    put(w, "], \"tokens\": [");
    put_entry(w, id);
    put(w, "]}");
}

/* What stands around a text. */
static void put_post_processor(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    if (!t->add_bos && !t->add_eos) {
        put(w, "\"post_processor\": null,\n");
        return;
    }
    put(w, "\"post_processor\": {\"type\": \"TemplateProcessing\",\n");
    put_frame(w, "\"single\": [", 1);
    put_frame(w, "\"pair\": [", 2);
    put(w, "\"special_tokens\": {");
    if (t->add_bos)
        put_named(w, t->bos);
    bool further = t->add_eos && (!t->add_bos || t->bos != end_of(t));
    put(w, t->add_bos && further ? ", " : "");
    if (further)
        put_named(w, end_of(t));
    put(w, "}},\n");
}

static void put_byte_level(json_writer *w)
{
    put(w, w->tokenizer->composes ? "\"normalizer\": {\"type\": \"NFC\"},\n"
                                  : "\"normalizer\": null,\n");
    put_splits(w);
    put_post_processor(w);
    put(w, "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": "
           "true, \"use_regex\": true},\n\"model\": {\"type\": \"BPE\", \"dropout\": null, "
           "\"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": "
           "null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": ");
    put(w, w->tokenizer->pretokenizer->ignore_merges ? "true,\n" : "false,\n");
    put_vocabulary(w);
    put(w, "\"merges\": [");
    put_ranked_merges(w);
    put(w, "]}}\n");
}

static void put_decoders(json_writer *w, bool strips)
{
    put(w, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
           "\"pattern\": {\"String\": \"" MARK "\"}, \"content\": \" \"}, {\"type\": "
           "\"ByteFallback\"}, {\"type\": \"Fuse\"}");
    put(w, strips ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n"
                  : "]},\n");
}

static void put_sentencepiece(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    put(w, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    put(w, t->add_space_prefix ? "{\"type\": \"Prepend\", \"prepend\": \"" MARK "\"}, " : "");
    put(w, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" MARK
           "\"}]},\n\"pre_tokenizer\": null,\n");
    put_post_processor(w);
    put(w, "\"decoder\": ");
    put_decoders(w, t->add_space_prefix);
    put(w, "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (t->unknown >= 0)
        put_entry(w, t->unknown);
    else
        put(w, "null");
    put(w, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": "
           "true, \"byte_fallback\": true, \"ignore_merges\": false,\n");
    put_vocabulary(w);
    put(w, "\"merges\": [");
    put_scored_merges(w);
    put(w, "]}}\n");
}

/* The table of replacements as SentencePiece has it, in the letters of base 64. */
static void put_charsmap(json_writer *w, const rad_charsmap *map)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = rad_charsmap_bytes(map);
    char text[1024];
    size_t used = 0;
    for (size_t at = 0; at < size; at += 3) {
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (at + i < size ? rad_charsmap_byte(map, at + i) : 0);
        for (size_t i = 0; i < 4; i++)
            text[used++] = at + i > size ? '=' : letters[bits >> (18 - 6 * i) & 63];
        if (used == sizeof text || at + 3 >= size) {
            put_bytes(w, text, used);
            used = 0;
        }
    }
}

/* Digits enough for the same float, in any locale. */
static void put_score(json_writer *w, double score)
{
    char text[40];
    snprintf(text, sizeof text, "%.9g", score);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == ',' ? '.' : *c;
    put(w, text);
}

/* Every id has a piece here. No text becomes those that stand for nothing, for a space is in them;
 * pieces that are never cut have scores above all others; and the least score is that of a piece
 * that text becomes, for the package takes it as the measure for what is unknown. */
static void put_scored(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    double least = (double)t->spm->unknown_score + 10.0;
    put(w, "\"vocab\": [");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(t) && w->status == RADLLM_OK; id++) {
        double score = (double)t->vocabulary.scores[id];
        rad_token_type type = rad_tokenizer_type(t, id);
        if (type == RAD_TOKEN_USER_DEFINED)
            score = 0.1 * (double)(rad_tokenizer_entry(t, id).size - 1);
        else if (type != RAD_TOKEN_NORMAL && !(score > least))
            score = least;
        put(w, id == 0 ? "\n[" : ",\n[");
        if (type != RAD_TOKEN_UNUSED && is_written(w, id)) {
            put_entry(w, id);
        } else {
            put(w, "\" [PAD");
            put_number(w, id);
            put(w, "]\"");
        }
        put(w, ", ");
        put_score(w, score);
        put(w, "]");
    }
    put(w, "]");
}

/* Spaces are dropped as SentencePiece does it, and the mark of a word is put before a text: by a
 * normalizer where the text may begin with a space, which gets a second one then. */
static void put_unigram(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    const rad_spm *spm = t->spm;
    const char *comma = "", *scheme = spm->dummy_prefix && spm->collapse ? "always" : "never";
    put(w, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (spm->charsmap.n_units > 0) {
        put(w, "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"");
        put_charsmap(w, &spm->charsmap);
        put(w, "\"}");
        comma = ",\n";
    }
    if (spm->collapse) {
        put(w, comma);
        put(w, "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\A +| +\\\\z\"}, "
               "\"content\": \"\"},\n{\"type\": \"Replace\", \"pattern\": {\"Regex\": "
               "\" {2,}\"}, \"content\": \" \"}");
    } else if (spm->dummy_prefix) {
        put(w, comma);
        put(w, "{\"type\": \"Prepend\", \"prepend\": \"" MARK "\"}");
    }
    put(w, "]},\n\"pre_tokenizer\": " METASPACE);
    put(w, scheme);
    put(w, t->words_are_apart ? "\", \"split\": true},\n" : "\", \"split\": false},\n");
    put_post_processor(w);
    put(w, "\"decoder\": ");
    if (spm->byte_fallback) {
        put_decoders(w, spm->dummy_prefix);
    } else {
        put(w, METASPACE);
        put(w,
            spm->dummy_prefix ? "always\", \"split\": true},\n" : "never\", \"split\": true},\n");
    }
    put(w, "\"model\": {\"type\": \"Unigram\", \"unk_id\": ");
    put_number(w, t->unknown);
    put(w, spm->byte_fallback ? ", \"byte_fallback\": true,\n" : ", \"byte_fallback\": false,\n");
    put_scored(w);
    put(w, "}}\n");
}

static void put_wordpiece(json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    put(w, "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, "
           "\"handle_chinese_chars\": true, \"strip_accents\": ");
    put(w, t->keep_accents ? "false, \"lowercase\": " : "true, \"lowercase\": ");
    put(w, t->keep_case ? "false},\n" : "true},\n");
    put(w, "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n");
    put_post_processor(w);
    put(w, "\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true},\n"
           "\"model\": {\"type\": \"WordPiece\", \"unk_token\": ");
    if (t->unknown >= 0)
        put_entry(w, t->unknown);
    else
        put(w, "\"[UNK]\"");
    put(w, ", \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100,\n");
    put_list(w);
    put(w, "}}\n");
}

radllm_status rad_tokenizer_write_json(const rad_tokenizer *tokenizer, rad_output *output,
                                       radllm_error *error)
{
    json_writer w = {.tokenizer = tokenizer, .output = output, .error = error};
    bool unigram = tokenizer->spm != NULL && tokenizer->spm->unigram;
    if (tokenizer->model != RAD_MODEL_BYTE_LEVEL && tokenizer->model != RAD_MODEL_SENTENCEPIECE &&
        tokenizer->model != RAD_MODEL_WORDPIECE && !unigram)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "tokenizers of kind \"%s\" are not written to tokenizer.json; keep the "
                        "GGUF file",
                        rad_tokenizer_kind(tokenizer));
    put(&w, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n");
    put_added(&w);
    if (tokenizer->model == RAD_MODEL_BYTE_LEVEL)
        put_byte_level(&w);
    else if (tokenizer->model == RAD_MODEL_WORDPIECE)
        put_wordpiece(&w);
    else if (unigram)
        put_unigram(&w);
    else
        put_sentencepiece(&w);
    return w.status;
}

int32_t rad_tokenizer_special_id(const rad_tokenizer *tokenizer, int32_t id)
{
    bool text = tokenizer->model == RAD_MODEL_BYTE_LEVEL && id >= 0 &&
                rad_tokenizer_type(tokenizer, id) == RAD_TOKEN_NORMAL;
    return text ? -1 : id;
}

static void put_token(json_writer *w, const char *key, int32_t id)
{
    id = rad_tokenizer_special_id(w->tokenizer, id);
    if (id < 0)
        return;
    put(w, key);
    put_entry(w, id);
}

/* The default template; or, where there are others with names, a list of all. */
static void put_templates(json_writer *w, const rad_source *source)
{
    static const char key[] = "tokenizer.chat_template", begin[] = ",\n\"chat_template\": ";
    const size_t head = sizeof key - 1;
    uint32_t n = 0;
    rad_text text = {NULL, 0};
    for (uint64_t i = 0; i < rad_source_n_meta(source) && w->status == RADLLM_OK; i++) {
        const rad_text name = rad_source_meta(source, i)->key;
        if (name.size < head + 2 || memcmp(name.data, key, head) != 0 || name.data[head] != '.')
            continue;
        w->status = rad_meta_text(source, name.data, &text, w->error);
        put(w, n++ == 0 ? begin : "");
        put(w, n == 1 ? "[{\"name\": " : ",\n{\"name\": ");
        put_string(w, (rad_text){name.data + head + 1, name.size - head - 1});
        put(w, ", \"template\": ");
        put_string(w, text);
        put(w, "}");
    }
    if (w->status == RADLLM_OK)
        w->status = rad_meta_text(source, key, &text, w->error);
    if (text.size > 0 && w->status == RADLLM_OK) {
        put(w, n == 0 ? begin : ",\n{\"name\": \"default\", \"template\": ");
        put_string(w, text);
        put(w, n == 0 ? "" : "}");
    }
    put(w, n == 0 ? "" : "]");
}

radllm_status rad_tokenizer_write_config(const rad_tokenizer *tokenizer, const rad_source *source,
                                         uint64_t context, rad_output *output, radllm_error *error)
{
    static const char *const names[][3] = {{",\n\"cls_token\": ", "[CLS]", "<s>"},
                                           {",\n\"sep_token\": ", "[SEP]", "</s>"},
                                           {",\n\"pad_token\": ", "[PAD]", "<pad>"},
                                           {",\n\"mask_token\": ", "[MASK]", "<mask>"}};
    const int32_t told[] = {-1, -1, tokenizer->padding, tokenizer->mask};
    int kind = tokenizer->model == RAD_MODEL_WORDPIECE ? 1 : tokenizer->spm != NULL ? 2 : 0;
    json_writer w = {.tokenizer = tokenizer, .output = output, .error = error};
    put(&w, "{\"tokenizer_class\": \"PreTrainedTokenizerFast\",\n\"model_max_length\": ");
    put_number(&w, (int64_t)context);
    put(&w, ",\n\"clean_up_tokenization_spaces\": false");
    if (tokenizer->pipeline == NULL) { /* else its tokenizer.json says it */
        put(&w, tokenizer->add_bos ? ",\n\"add_bos_token\": true" : ",\n\"add_bos_token\": false");
        put(&w, tokenizer->add_eos ? ",\n\"add_eos_token\": true" : ",\n\"add_eos_token\": false");
    }
    put_token(&w, ",\n\"bos_token\": ", tokenizer->bos);
    put_token(&w, ",\n\"eos_token\": ", tokenizer->eos);
    if (tokenizer->model != RAD_MODEL_BYTE_LEVEL)
        put_token(&w, ",\n\"unk_token\": ", tokenizer->unknown);
    for (size_t i = 0; i < 4; i++) {
        int32_t id = told[i];
        if (id < 0 && kind > 0)
            id = rad_tokenizer_find(tokenizer, names[i][kind], strlen(names[i][kind]));
        put_token(&w, names[i][0], id);
    }
    if (source != NULL)
        put_templates(&w, source);
    put(&w, "}\n");
    return w.status;
}
