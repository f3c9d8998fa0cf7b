/* From text to ids: cuts the text at special tokens and gives what lies between to the model's kind
 * of tokenizer. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

/* Texts of fewer bytes are not worth a table of words. */
#define REMEMBER_FROM 1024

bool rad_tokens_push(rad_tokens *tokens, int32_t id)
{
    if (tokens->count == tokens->capacity &&
        !rad_reserve(tokens->allocator, (void **)&tokens->ids, &tokens->capacity, tokens->count + 1,
                     sizeof(int32_t)))
        return false;
    tokens->ids[tokens->count++] = id;
    return true;
}

void rad_tokens_free(rad_tokens *tokens)
{
    size_t bytes = tokens->capacity * sizeof(int32_t);
    rad_wipe(tokens->ids, bytes);
    rad_free(tokens->allocator, tokens->ids, bytes);
    tokens->ids = NULL;
    tokens->count = tokens->capacity = 0;
}

bool rad_encoder_push(rad_encoder *encoder, int32_t id)
{
    if (rad_tokens_push(encoder->out, id))
        return true;
    encoder->no_memory = true;
    return false;
}

bool rad_encoder_scratch(rad_encoder *encoder, size_t size)
{
    return rad_reserve(encoder->space.allocator, (void **)&encoder->scratch,
                       &encoder->scratch_capacity, size, 1);
}

/* ---- known words -------------------------------------------------------------------- */

bool rad_encoder_recall(rad_encoder *encoder, const uint8_t *word, size_t size,
                        rad_known_word **slot)
{
    uint32_t hash = (uint32_t)rad_text_hash(0, word, size);
    rad_known_word *known = &encoder->words[hash % RAD_KNOWN_WORDS];
    *slot = known;
    if (known->size != size || known->hash != hash ||
        memcmp(encoder->base + known->start, word, size) != 0) {
        known->hash = hash;
        known->size = 0;
        return false;
    }
    for (uint32_t i = 0; i < known->n_ids; i++)
        if (!rad_encoder_push(encoder, encoder->out->ids[known->first_id + i]))
            break;
    return true;
}

void rad_encoder_remember(rad_encoder *encoder, rad_known_word *slot, const uint8_t *word,
                          size_t size, size_t first_id)
{
    if (encoder->out->count > UINT32_MAX)
        return;
    slot->start = (uint32_t)(word - encoder->base);
    slot->size = (uint32_t)size;
    slot->first_id = (uint32_t)first_id;
    slot->n_ids = (uint32_t)(encoder->out->count - first_id);
}

/* ---- cutting at special tokens ------------------------------------------------------ */

/* Moves on to `position`, which never goes back. */
void rad_stretches_move(rad_stretches *s, size_t position)
{
    while (s->at < s->count && position >= s->start + s->spans[s->at].text.size) {
        s->start += s->spans[s->at].text.size;
        s->at++;
    }
    if (s->at == s->count || !s->spans[s->at].parse) {
        s->parse_end = 0;
        return;
    }
    if (position < s->parse_end)
        return;
    size_t end = s->start;
    for (size_t i = s->at; i < s->count && (s->spans[i].parse || s->spans[i].text.size == 0); i++)
        end += s->spans[i].text.size;
    s->parse_end = end;
}

static bool encode_text(rad_encoder *encoder, const uint8_t *text, size_t size, bool first)
{
    if (size == 0)
        return true;
    switch (encoder->tokenizer->model) {
    case RAD_MODEL_SENTENCEPIECE:
        return rad_encode_sentencepiece(encoder, text, size, first);
    case RAD_MODEL_BYTE_LEVEL:
        return rad_encode_byte_level(encoder, text, size);
    case RAD_MODEL_NONE:
        return true; /* refused before */
    case RAD_MODEL_WORDPIECE:
        return rad_encode_wordpiece(encoder, text, size);
    case RAD_MODEL_SPM:
        return rad_encode_spm(encoder, text, size, first);
    case RAD_MODEL_PIPELINE:
        break; /* cuts by itself */
    }
    return false;
}

static bool encode_all(rad_encoder *encoder, const uint8_t *text, size_t size, rad_stretches *s)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    const rad_specials *specials = &tokenizer->specials;
    const rad_slice view = {text, NULL, 0, size};
    size_t start = 0; /* of the text that waits to be encoded */
    bool first = true;
    for (size_t at = 0; at < size;) {
        if (specials->root[text[at]] == 0) {
            at++;
            continue;
        }
        rad_stretches_move(s, at);
        size_t length = 0;
        int32_t id =
            rad_specials_match(specials, text + at, text + s->parse_end, text + size, &length);
        if (id < 0) {
            at++;
            continue;
        }
        size_t from = at, behind = at + length;
        at = behind;
        if (!rad_added_place(tokenizer->added != NULL ? tokenizer->added[id] : 0, &view, start,
                             &from, &behind))
            continue;
        if (!encode_text(encoder, text + start, from - start, first) ||
            !rad_encoder_push(encoder, id))
            return false;
        start = behind;
        first = tokenizer->spm == NULL || tokenizer->spm->every_head;
    }
    return encode_text(encoder, text + start, size - start, first);
}

/* ---- the whole ---------------------------------------------------------------------- */

static bool add_begin(rad_encoder *encoder, uint32_t flags)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    const uint32_t wanted = RADLLM_TOKENIZE_ADD_SPECIAL | RAD_TOKENIZE_ADD_BOS;
    if (tokenizer->pipeline != NULL)
        return (flags & wanted) == 0 || rad_pipeline_add(encoder, true);
    bool add = (flags & wanted) != 0 && tokenizer->add_bos;
    return !add || tokenizer->bos < 0 || rad_encoder_push(encoder, tokenizer->bos);
}

static bool add_end(rad_encoder *encoder, uint32_t flags)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    if ((flags & RADLLM_TOKENIZE_ADD_SPECIAL) != 0 && tokenizer->pipeline != NULL)
        return rad_pipeline_add(encoder, false);
    if ((flags & RADLLM_TOKENIZE_ADD_SPECIAL) == 0 || !tokenizer->add_eos)
        return true;
    int32_t id = tokenizer->model == RAD_MODEL_WORDPIECE ? tokenizer->separator : tokenizer->eos;
    return id < 0 || rad_encoder_push(encoder, id);
}

/* Takes one of two BOS at the head of what was appended away. */
static void remove_second_bos(const rad_tokenizer *tokenizer, rad_tokens *out, size_t before)
{
    if (out->count - before < 2 || tokenizer->bos < 0 || out->ids[before] != tokenizer->bos ||
        out->ids[before + 1] != tokenizer->bos)
        return;
    memmove(out->ids + before, out->ids + before + 1, (out->count - before - 1) * sizeof(int32_t));
    out->count--;
}

radllm_status rad_encode_joined(const rad_tokenizer *tokenizer, const uint8_t *text, size_t size,
                                const rad_text_span *spans, size_t count, uint32_t flags,
                                rad_tokens *out, radllm_error *error)
{
    size_t before = out->count;
    rad_encoder encoder = {.tokenizer = tokenizer, .out = out, .base = text};
    const rad_allocator *allocator = &tokenizer->host.allocator;
    encoder.space.allocator = allocator;
    encoder.regex.allocator = allocator;
    encoder.regex.budget = rad_pipeline_budget(size);
    size_t words_bytes = RAD_KNOWN_WORDS * sizeof(rad_known_word);
    /* Where unknown tokens are fused, ids move. */
    if (size >= REMEMBER_FROM && (tokenizer->spm == NULL || tokenizer->spm->byte_fallback))
        encoder.words =
            rad_alloc_zero(allocator, words_bytes); /* goes without when there is none */
    if (tokenizer->spm != NULL && (encoder.spm = rad_spm_space_new(tokenizer, size)) == NULL)
        encoder.failure = RAD_PIPELINE_MEMORY;
    rad_stretches s = {.spans = spans, .count = count};
    bool done = encoder.failure == RAD_PIPELINE_FINE && add_begin(&encoder, flags) &&
                (tokenizer->pipeline != NULL ? rad_encode_pipeline(&encoder, text, size, &s)
                                             : encode_all(&encoder, text, size, &s));
    if (done && (flags & RAD_TOKENIZE_ADD_BOS) != 0)
        remove_second_bos(tokenizer, out, before);
    done = done && add_end(&encoder, flags);
    rad_wipe(encoder.scratch, encoder.scratch_capacity);
    rad_free(allocator, encoder.scratch, encoder.scratch_capacity);
    rad_free(allocator, encoder.words, words_bytes);
    rad_free(allocator, encoder.space.splits,
             encoder.space.splits != NULL ? tokenizer->vocabulary.size * sizeof(uint32_t) : 0);
    rad_merge_space_free(&encoder.space);
    rad_regex_space_free(&encoder.regex);
    rad_spm_space_free(tokenizer, encoder.spm);
    if (done)
        return RADLLM_OK;
    out->count = before;
    return rad_pipeline_report(encoder.failure, size, error);
}

radllm_status rad_tokenizer_encode_spans(const rad_tokenizer *tokenizer, const rad_text_span *spans,
                                         size_t count, uint32_t flags, rad_tokens *out,
                                         radllm_error *error)
{
    size_t size = 0;
    if (tokenizer->model == RAD_MODEL_NONE)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the model comes without a tokenizer: give it token ids, or put its "
                        "tokenizer.json or tokenizer.model beside it (transformers' "
                        "save_pretrained makes a tokenizer.json of vocab.json and merges.txt, or "
                        "of vocab.txt)");
    for (size_t i = 0; i < count; i++)
        if (!rad_add_size(size, spans[i].text.size, &size) || size > INT32_MAX)
            return rad_fail(error, RADLLM_E_LIMIT,
                            "the text to tokenize is longer than %d bytes; cut it into parts",
                            INT32_MAX);
    if (tokenizer->pipeline != NULL)
        return rad_encode_pipeline_spans(tokenizer, spans, count, size, flags, out, error);
    if (count <= 1) {
        const uint8_t *text = size > 0 ? (const uint8_t *)spans[0].text.data : (const uint8_t *)"";
        return rad_encode_joined(tokenizer, text, size, spans, count, flags, out, error);
    }
    const rad_allocator *allocator = &tokenizer->host.allocator;
    uint8_t *joined = rad_alloc(allocator, size + 1);
    if (joined == NULL)
        return rad_fail_memory(error, size + 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].text.size > 0)
            memcpy(joined + at, spans[i].text.data, spans[i].text.size);
        at += spans[i].text.size;
    }
    radllm_status status =
        rad_encode_joined(tokenizer, joined, size, spans, count, flags, out, error);
    rad_wipe(joined, size + 1);
    rad_free(allocator, joined, size + 1);
    return status;
}

radllm_status rad_tokenizer_encode(const rad_tokenizer *tokenizer, const char *text, size_t size,
                                   uint32_t flags, rad_tokens *out, radllm_error *error)
{
    rad_text_span span = {{text, size}, (flags & RADLLM_TOKENIZE_PARSE_SPECIAL) != 0};
    return rad_tokenizer_encode_spans(tokenizer, &span, 1, flags, out, error);
}
