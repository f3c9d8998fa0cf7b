#include "text/export_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/export.h"
#include "text/json_writer.h"

/* ---- tokens --------------------------------------------------------------------------------- */

static bool is_added(const rad_json_writer *w, int32_t id)
{
    rad_token_type type = rad_tokenizer_type(w->tokenizer, id);
    return type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_UNKNOWN ||
           (type == RAD_TOKEN_USER_DEFINED && w->tokenizer->spm == NULL);
}

/* Of entries with one text the one is written that the text stands for. */
static bool is_written(const rad_json_writer *w, int32_t id)
{
    rad_text text = rad_tokenizer_entry(w->tokenizer, id);
    bool gap = rad_tokenizer_type(w->tokenizer, id) == RAD_TOKEN_UNUSED &&
               (text.size == 0 || memcmp(text.data, "[PAD", text.size < 4 ? text.size : 4) == 0);
    return !gap && rad_tokenizer_find(w->tokenizer, text.data, text.size) == id;
}

static void put_added(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    static const struct {
        const char *key;
        uint8_t flag;
    } keys[] = {{", \"single_word\": ", RAD_ADDED_SINGLE_WORD},
                {", \"lstrip\": ", RAD_ADDED_LSTRIP},
                {", \"rstrip\": ", RAD_ADDED_RSTRIP},
                {", \"normalized\": ", RAD_ADDED_NORMALIZED}};
    const uint8_t *added = t->pipeline != NULL ? t->pipeline->added : t->added;
    bool first = true;
    rad_json(w, "\"added_tokens\": [");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(t) && w->status == RADLLM_OK; id++) {
        if (!is_added(w, id) || !is_written(w, id))
            continue;
        uint8_t flags = added != NULL ? added[id] : 0;
        bool special = rad_tokenizer_type(t, id) != RAD_TOKEN_USER_DEFINED;
        rad_json(w, first ? "\n{\"id\": " : ",\n{\"id\": ");
        rad_json_number(w, id);
        rad_json(w, ", \"content\": ");
        rad_json_entry(w, id);
        for (size_t i = 0; i < 4; i++) {
            rad_json(w, keys[i].key);
            rad_json(w, (flags & keys[i].flag) != 0 ? "true" : "false");
        }
        rad_json(w, ", \"special\": ");
        rad_json(w, special ? "true}" : "false}");
        first = false;
    }
    rad_json(w, "],\n");
}

static bool is_in_model(const rad_tokenizer *t, int32_t id)
{
    return t->pipeline == NULL || rad_pipeline_knows(t->pipeline, id);
}

static void put_list(rad_json_writer *w)
{
    bool first = true;
    rad_json(w, "\"vocab\": {");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(w->tokenizer); id++) {
        if (w->status != RADLLM_OK || !is_written(w, id) || !is_in_model(w->tokenizer, id))
            continue;
        rad_json(w, first ? "\n" : ",\n");
        rad_json_entry(w, id);
        rad_json(w, ": ");
        rad_json_number(w, id);
        first = false;
    }
    rad_json(w, "}");
}

static void put_vocabulary(rad_json_writer *w)
{
    put_list(w);
    rad_json(w, ",\n");
}

static void put_pair(rad_json_writer *w, bool *first, rad_text left, rad_text right)
{
    rad_json(w, *first ? "\n[" : ",\n[");
    rad_json_string(w, left);
    rad_json(w, ", ");
    rad_json_string(w, right);
    rad_json(w, "]");
    *first = false;
}

static radllm_status allocate(rad_json_writer *w, size_t bytes, void **out)
{
    *out = NULL;
    if (w->status == RADLLM_OK) {
        *out = rad_alloc(&w->tokenizer->host.allocator, bytes);
        if (*out == NULL)
            w->status = rad_fail_memory(w->error, bytes);
    }
    return w->status;
}

static void put_ranked_merges(rad_json_writer *w)
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
static void put_scored_merges(rad_json_writer *w)
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
        if (text.size > RAD_PIECE_MAX)
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

static void put_splits(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    rad_json(w, "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [");
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
        rad_json(w, "\n{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        rad_json_string(w, (rad_text){pattern, strlen(pattern)});
        rad_json(w, "}, \"behavior\": \"Isolated\", \"invert\": false},");
    }
    rad_json(w, "\n{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                "\"use_regex\": false}]},\n");
}

static void put_special(rad_json_writer *w, int32_t id, int64_t type)
{
    rad_json(w, "{\"SpecialToken\": {\"id\": ");
    rad_json_entry(w, id);
    rad_json(w, ", \"type_id\": ");
    rad_json_number(w, type);
    rad_json(w, "}}");
}

static int32_t end_of(const rad_tokenizer *t)
{
    return t->model == RAD_MODEL_WORDPIECE ? t->separator : t->eos;
}

/* Of a pair the second text has a type of its own in WordPiece. */
static void put_frame(rad_json_writer *w, const char *list, int n)
{
    const rad_tokenizer *t = w->tokenizer;
    rad_json(w, list);
    for (int i = 0; i < n; i++) {
        int64_t type = t->model == RAD_MODEL_WORDPIECE ? i : 0;
        rad_json(w, i > 0 ? ", " : "");
        if (t->add_bos && (i == 0 || type == 0)) {
            bool again = i > 0 && t->model == RAD_MODEL_SPM; /* as RoBERTa has it */
            put_special(w, again ? end_of(t) : t->bos, type);
            rad_json(w, ", ");
        }
        rad_json(w, i == 0 ? "{\"Sequence\": {\"id\": \"A\", \"type_id\": "
                           : "{\"Sequence\": {\"id\": \"B\", \"type_id\": ");
        rad_json_number(w, type);
        rad_json(w, "}}");
        if (t->add_eos) {
            rad_json(w, ", ");
            put_special(w, end_of(t), type);
        }
    }
    rad_json(w, "],\n");
}

static void put_named(rad_json_writer *w, int32_t id)
{
    rad_json_entry(w, id);
    rad_json(w, ": {\"id\": ");
    rad_json_entry(w, id);
    rad_json(w, ", \"ids\": [");
    rad_json_number(w, id);
    rad_json(w, "], \"tokens\": [");
    rad_json_entry(w, id);
    rad_json(w, "]}");
}

/* What stands around a text. */
static void put_post_processor(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    if (!t->add_bos && !t->add_eos) {
        rad_json(w, "\"post_processor\": null,\n");
        return;
    }
    rad_json(w, "\"post_processor\": {\"type\": \"TemplateProcessing\",\n");
    put_frame(w, "\"single\": [", 1);
    put_frame(w, "\"pair\": [", 2);
    rad_json(w, "\"special_tokens\": {");
    if (t->add_bos)
        put_named(w, t->bos);
    bool further = t->add_eos && (!t->add_bos || t->bos != end_of(t));
    rad_json(w, t->add_bos && further ? ", " : "");
    if (further)
        put_named(w, end_of(t));
    rad_json(w, "}},\n");
}

static void put_byte_level(rad_json_writer *w)
{
    rad_json(w, w->tokenizer->composes ? "\"normalizer\": {\"type\": \"NFC\"},\n"
                                       : "\"normalizer\": null,\n");
    put_splits(w);
    put_post_processor(w);
    rad_json(w,
             "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": "
             "true, \"use_regex\": true},\n\"model\": {\"type\": \"BPE\", \"dropout\": null, "
             "\"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": "
             "null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": ");
    rad_json(w, w->tokenizer->pretokenizer->ignore_merges ? "true,\n" : "false,\n");
    put_vocabulary(w);
    rad_json(w, "\"merges\": [");
    put_ranked_merges(w);
    rad_json(w, "]}}\n");
}

static void put_decoders(rad_json_writer *w, bool strips)
{
    rad_json(w, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                "\"pattern\": {\"String\": \"" RAD_MARK "\"}, \"content\": \" \"}, {\"type\": "
                "\"ByteFallback\"}, {\"type\": \"Fuse\"}");
    rad_json(w, strips
                    ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n"
                    : "]},\n");
}

static void put_sentencepiece(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    rad_json(w, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    rad_json(w,
             t->add_space_prefix ? "{\"type\": \"Prepend\", \"prepend\": \"" RAD_MARK "\"}, " : "");
    rad_json(w, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" RAD_MARK
                "\"}]},\n\"pre_tokenizer\": null,\n");
    put_post_processor(w);
    rad_json(w, "\"decoder\": ");
    put_decoders(w, t->add_space_prefix);
    rad_json(w, "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (t->unknown >= 0)
        rad_json_entry(w, t->unknown);
    else
        rad_json(w, "null");
    rad_json(w,
             ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": "
             "true, \"byte_fallback\": true, \"ignore_merges\": false,\n");
    put_vocabulary(w);
    rad_json(w, "\"merges\": [");
    put_scored_merges(w);
    rad_json(w, "]}}\n");
}

/* Digits enough for the same number, in any locale. */
static void put_score(rad_json_writer *w, double score)
{
    char text[40];
    snprintf(text, sizeof text, w->tokenizer->pipeline != NULL ? "%.17g" : "%.9g", score);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == ',' ? '.' : *c;
    rad_json(w, text);
}

/* Every id has a piece here. No text becomes those that stand for nothing, for a space is in them;
 * pieces that are never cut have scores above all others; and the least score is that of a piece
 * that text becomes, for the package takes it as the measure for what is unknown. */
static void put_scored(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    double least = (double)t->spm->unknown_score + 10.0;
    rad_json(w, "\"vocab\": [");
    for (int32_t id = 0; id < (int32_t)rad_tokenizer_size(t) && w->status == RADLLM_OK; id++) {
        double score = (double)t->vocabulary.scores[id];
        rad_token_type type = rad_tokenizer_type(t, id);
        if (type == RAD_TOKEN_USER_DEFINED)
            score = 0.1 * (double)(rad_tokenizer_entry(t, id).size - 1);
        else if (type != RAD_TOKEN_NORMAL && !(score > least))
            score = least;
        rad_json(w, id == 0 ? "\n[" : ",\n[");
        if (type != RAD_TOKEN_UNUSED && is_written(w, id)) {
            rad_json_entry(w, id);
        } else {
            rad_json(w, "\" [PAD");
            rad_json_number(w, id);
            rad_json(w, "]\"");
        }
        rad_json(w, ", ");
        put_score(w, score);
        rad_json(w, "]");
    }
    rad_json(w, "]");
}

/* Spaces are dropped as SentencePiece does it, and the mark of a word is put before a text: by a
 * normalizer where the text may begin with a space, which gets a second one then. */
static void put_unigram(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    const rad_spm *spm = t->spm;
    const char *comma = "", *scheme = spm->dummy_prefix && spm->collapse ? "always" : "never";
    rad_json(w, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (spm->charsmap.n_units > 0) {
        rad_json(w, "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"");
        rad_json_charsmap(w, &spm->charsmap);
        rad_json(w, "\"}");
        comma = ",\n";
    }
    if (spm->collapse) {
        rad_json(w, comma);
        rad_json(w, "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\A +| +\\\\z\"}, "
                    "\"content\": \"\"},\n{\"type\": \"Replace\", \"pattern\": {\"Regex\": "
                    "\" {2,}\"}, \"content\": \" \"}");
    } else if (spm->dummy_prefix) {
        rad_json(w, comma);
        rad_json(w, "{\"type\": \"Prepend\", \"prepend\": \"" RAD_MARK "\"}");
    }
    rad_json(w, "]},\n\"pre_tokenizer\": " RAD_METASPACE);
    rad_json(w, scheme);
    rad_json(w, t->words_are_apart ? "\", \"split\": true},\n" : "\", \"split\": false},\n");
    put_post_processor(w);
    rad_json(w, "\"decoder\": ");
    if (spm->byte_fallback) {
        put_decoders(w, spm->dummy_prefix);
    } else {
        rad_json(w, RAD_METASPACE);
        rad_json(w, spm->dummy_prefix ? "always\", \"split\": true},\n"
                                      : "never\", \"split\": true},\n");
    }
    rad_json(w, "\"model\": {\"type\": \"Unigram\", \"unk_id\": ");
    rad_json_number(w, t->unknown);
    rad_json(w,
             spm->byte_fallback ? ", \"byte_fallback\": true,\n" : ", \"byte_fallback\": false,\n");
    put_scored(w);
    rad_json(w, "}}\n");
}

static void put_wordpiece(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    rad_json(w, "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, "
                "\"handle_chinese_chars\": true, \"strip_accents\": ");
    rad_json(w, t->keep_accents ? "false, \"lowercase\": " : "true, \"lowercase\": ");
    rad_json(w, t->keep_case ? "false},\n" : "true},\n");
    rad_json(w, "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n");
    put_post_processor(w);
    rad_json(w, "\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true},\n"
                "\"model\": {\"type\": \"WordPiece\", \"unk_token\": ");
    if (t->unknown >= 0)
        rad_json_entry(w, t->unknown);
    else
        rad_json(w, "\"[UNK]\"");
    rad_json(w, ", \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100,\n");
    put_list(w);
    rad_json(w, "}}\n");
}

/* The pieces of a model that has a text and a score for each id from 0 on. */
static void put_pieces(rad_json_writer *w)
{
    const rad_tokenizer *t = w->tokenizer;
    const rad_pipeline *pipeline = t->pipeline;
    int32_t size = (int32_t)rad_tokenizer_size(t);
    while (size > 0 && (!rad_pipeline_knows(pipeline, size - 1) ||
                        rad_tokenizer_type(t, size - 1) == RAD_TOKEN_UNUSED))
        size--;
    rad_json(w, "\"vocab\": [");
    for (int32_t id = 0; id < size && w->status == RADLLM_OK; id++) {
        bool gap = rad_tokenizer_entry(t, id).size == 0;
        rad_json(w, id == 0 ? "\n[" : ",\n[");
        if (gap) { /* no text becomes it */
            rad_json(w, "\" [PAD");
            rad_json_number(w, id);
            rad_json(w, "]\"");
        } else {
            rad_json_entry(w, id);
        }
        rad_json(w, ", ");
        put_score(w, gap ? pipeline->unknown_score + 10.0 : pipeline->scores[id]);
        rad_json(w, "]");
    }
    rad_json(w, "]");
}

/* What was a tokenizer.json once. */
static void put_pipeline(rad_json_writer *w)
{
    const rad_pipeline *pipeline = w->tokenizer->pipeline;
    rad_json_parts(w, false);
    rad_json(w, ",\n");
    if (pipeline->model == RAD_PIPELINE_UNIGRAM)
        put_pieces(w);
    else
        put_list(w);
    if (pipeline->model == RAD_PIPELINE_BPE) {
        rad_json(w, ",\n\"merges\": [");
        put_ranked_merges(w);
        rad_json(w, "]");
    }
    rad_json(w, "}}\n");
}

radllm_status rad_tokenizer_write_json(const rad_tokenizer *tokenizer, rad_output *output,
                                       radllm_error *error)
{
    rad_json_writer w = {.tokenizer = tokenizer, .output = output, .error = error};
    bool unigram = tokenizer->spm != NULL && tokenizer->spm->unigram;
    if (tokenizer->model != RAD_MODEL_BYTE_LEVEL && tokenizer->model != RAD_MODEL_SENTENCEPIECE &&
        tokenizer->model != RAD_MODEL_WORDPIECE && tokenizer->pipeline == NULL && !unigram)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "tokenizers of kind \"%s\" are not written to tokenizer.json; keep the "
                        "GGUF file",
                        rad_tokenizer_kind(tokenizer));
    rad_json(&w, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n");
    put_added(&w);
    if (tokenizer->pipeline != NULL)
        put_pipeline(&w);
    else if (tokenizer->model == RAD_MODEL_BYTE_LEVEL)
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

static void put_token(rad_json_writer *w, const char *key, int32_t id)
{
    id = rad_tokenizer_special_id(w->tokenizer, id);
    if (id < 0)
        return;
    rad_json(w, key);
    rad_json_entry(w, id);
}

/* The default template; or, where there are others with names, a list of all. */
static void put_templates(rad_json_writer *w, const rad_source *source)
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
        rad_json(w, n++ == 0 ? begin : "");
        rad_json(w, n == 1 ? "[{\"name\": " : ",\n{\"name\": ");
        rad_json_string(w, (rad_text){name.data + head + 1, name.size - head - 1});
        rad_json(w, ", \"template\": ");
        rad_json_string(w, text);
        rad_json(w, "}");
    }
    if (w->status == RADLLM_OK)
        w->status = rad_meta_text(source, key, &text, w->error);
    if (text.size > 0 && w->status == RADLLM_OK) {
        rad_json(w, n == 0 ? begin : ",\n{\"name\": \"default\", \"template\": ");
        rad_json_string(w, text);
        rad_json(w, n == 0 ? "" : "}");
    }
    rad_json(w, n == 0 ? "" : "]");
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
    rad_json_writer w = {.tokenizer = tokenizer, .output = output, .error = error};
    rad_json(&w, "{\"tokenizer_class\": \"PreTrainedTokenizerFast\",\n\"model_max_length\": ");
    rad_json_number(&w, (int64_t)context);
    rad_json(&w, ",\n\"clean_up_tokenization_spaces\": false");
    if (tokenizer->pipeline == NULL) { /* else its tokenizer.json says it */
        rad_json(&w,
                 tokenizer->add_bos ? ",\n\"add_bos_token\": true" : ",\n\"add_bos_token\": false");
        rad_json(&w,
                 tokenizer->add_eos ? ",\n\"add_eos_token\": true" : ",\n\"add_eos_token\": false");
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
    rad_json(&w, "}\n");
    return w.status;
}
