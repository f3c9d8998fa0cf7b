/* The vocabulary of a GGUF file beside which the parts of a tokenizer.json stand: its keys as the
 * pipeline wants them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/json_writer.h"
#include "text/pipeline_read.h"

/* ---- texts ---------------------------------------------------------------------------------- */

/* Ids that no token has are named [PADn]. */
static bool is_gap(const rad_vocabulary *vocabulary, uint32_t id, rad_text text)
{
    char name[24];
    if (vocabulary->types[id] != RAD_TOKEN_UNUSED)
        return false;
    int size = snprintf(name, sizeof name, "[PAD%u]", id);
    return text.size == (size_t)size && memcmp(text.data, name, text.size) == 0;
}

/* GGUF marks what begins a word of WordPiece, tokenizer.json what continues one. NULL: memory. */
static const char *spell_piece(rad_arena *arena, rad_text prefix, rad_text *text)
{
    bool bracketed = text->size > 1 && text->data[0] == '[' && text->data[text->size - 1] == ']';
    if (bracketed)
        return text->data;
    if (text->size >= 3 && memcmp(text->data, RAD_MARK, 3) == 0) {
        *text = (rad_text){text->data + 3, text->size - 3};
        return text->data;
    }
    char *spelled = rad_arena_alloc(arena, prefix.size + text->size + 1, 1);
    if (spelled == NULL)
        return NULL;
    memcpy(spelled, prefix.data, prefix.size);
    memcpy(spelled + prefix.size, text->data, text->size);
    *text = (rad_text){spelled, prefix.size + text->size};
    return spelled;
}

/* Texts as tokenizer.json has them; `own`: GGUF spells some of them otherwise. */
static radllm_status respell(rad_pipeline_reader *r, rad_text prefix, rad_text *texts, bool *own)
{
    rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    const bool words = r->pipeline->model == RAD_PIPELINE_WORDPIECE;
    *own = words;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size;
        const uint8_t *bytes = rad_vocabulary_entry(vocabulary, id, &size);
        texts[id] = (rad_text){(const char *)bytes, size};
        if (!rad_json_is_utf8(texts[id]))
            return rad_fail(r->error, RADLLM_E_FORMAT,
                            "tokenizer.ggml.tokens[%u] is no UTF-8, which " RAD_KEY_PARTS
                            " wants: convert the model again",
                            id);
        if (is_gap(vocabulary, id, texts[id])) {
            texts[id].size = 0;
            *own = true;
        }
        if (words && vocabulary->types[id] == RAD_TOKEN_NORMAL &&
            spell_piece(r->arena, prefix, &texts[id]) == NULL)
            return rad_fail_memory(r->error, size + prefix.size);
    }
    return RADLLM_OK;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Types are those of added tokens alone: what is unknown or a byte is a piece like others. */
static void take_types(rad_vocabulary *vocabulary)
{
    for (uint32_t id = 0; id < vocabulary->size; id++)
        if (vocabulary->types[id] == RAD_TOKEN_UNKNOWN || vocabulary->types[id] == RAD_TOKEN_BYTE)
            vocabulary->types[id] = RAD_TOKEN_NORMAL;
}

static radllm_status read_scores(rad_pipeline_reader *r)
{
    const rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    const rad_meta *doubles = rad_source_find_meta(r->gguf, RAD_KEY_SCORES);
    size_t bytes = (size_t)vocabulary->size * sizeof *r->pipeline->scores;
    r->pipeline->scores = rad_arena_alloc(r->arena, bytes, 8);
    if (r->pipeline->scores == NULL)
        return rad_fail_memory(r->error, bytes);
    if (doubles != NULL &&
        (!doubles->is_array || doubles->type != RAD_META_F64 || doubles->count != vocabulary->size))
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        RAD_KEY_SCORES " must be an array of f64 with an entry for each token");
    if (doubles == NULL && vocabulary->scores == NULL)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "the key tokenizer.ggml.scores is missing: a Unigram needs it");
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        double score =
            doubles != NULL ? rad_meta_item_f64(doubles, id) : (double)vocabulary->scores[id];
        if (!isfinite(score))
            return rad_fail(r->error, RADLLM_E_FORMAT,
                            "%s[%u] is no finite number; convert the model again",
                            doubles != NULL ? RAD_KEY_SCORES : "tokenizer.ggml.scores", id);
        r->pipeline->scores[id] = score;
    }
    return RADLLM_OK;
}

radllm_status rad_read_gguf_vocabulary(rad_pipeline_reader *r, uint32_t model)
{
    static const char key[] = "tokenizer.ggml.tokens";
    rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    const bool unigram = r->pipeline->model == RAD_PIPELINE_UNIGRAM;
    rad_text prefix;
    bool own = false;
    radllm_status status = rad_vocabulary_read_entries(vocabulary, r->gguf, r->error);
    if (status == RADLLM_OK && vocabulary->size >= RAD_TRIE_IDS)
        status = rad_fail(r->error, RADLLM_E_LIMIT, "%s has more than %u entries", key,
                          RAD_TRIE_IDS - 1);
    if (status == RADLLM_OK)
        status = rad_read_string(r, model, "the model", "continuing_subword_prefix", 100, &prefix);
    if (status != RADLLM_OK)
        return status;
    if (prefix.data == NULL)
        prefix = (rad_text){"##", 2};
    size_t bytes = (size_t)vocabulary->size * sizeof(rad_text);
    rad_text *texts = rad_alloc(r->json.allocator, bytes);
    if (texts == NULL)
        return rad_fail_memory(r->error, bytes);
    take_types(vocabulary);
    status = respell(r, prefix, texts, &own);
    if (status == RADLLM_OK && own)
        status = rad_vocabulary_fill(vocabulary, texts, vocabulary->size, key, r->error);
    rad_free(r->json.allocator, texts, bytes);
    if (status == RADLLM_OK)
        status = rad_vocabulary_index(vocabulary, unigram, key, r->error);
    if (status == RADLLM_OK && unigram)
        status = read_scores(r);
    r->pipeline->added = rad_arena_alloc_zero(r->arena, (size_t)vocabulary->size + 1, 1);
    if (status == RADLLM_OK && r->pipeline->added == NULL)
        status = rad_fail_memory(r->error, vocabulary->size);
    bool found;
    return status == RADLLM_OK ? rad_tokenizer_read_added(r->tokenizer, r->gguf, r->pipeline->added,
                                                          &found, r->error)
                               : status;
}
