/* Byte-pair encoding as SentencePiece does it: spaces become U+2581, characters are merged by the
 * score of what they become, and what is no token is spelled in bytes. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#define REMEMBER_UP_TO 48

static const uint8_t space_mark[3] = {0xE2, 0x96, 0x81}; /* U+2581 */

static inline bool is_space_mark(const uint8_t *p, const uint8_t *end)
{
    return end - p >= 3 && memcmp(p, space_mark, 3) == 0;
}

bool rad_encode_bytes(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    bool spelled = true;
    for (size_t i = 0; i < size; i++)
        spelled = spelled && tokenizer->byte_tokens[text[i]] >= 0;
    if (!spelled)
        return tokenizer->unknown < 0 || rad_encoder_push(encoder, tokenizer->unknown);
    for (size_t i = 0; i < size; i++)
        if (!rad_encoder_push(encoder, tokenizer->byte_tokens[text[i]]))
            return false;
    return true;
}

/* Merges text that is spelled with U+2581 and appends the ids. */
static bool merge_text(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    rad_merge_space *space = &encoder->space;
    space->n_symbols = 0;
    for (size_t i = 0; i < size;) {
        size_t length = rad_utf8_lead_length(text[i]);
        if (length > size - i)
            length = size - i;
        if (!rad_merge_add(space, (uint32_t)i, (uint32_t)length, -1))
            return false;
        i += length;
    }
    if (!rad_merge_run(&tokenizer->rules, space, text))
        return false;
    for (size_t i = 0; i < space->n_symbols; i++) {
        const rad_symbol *symbol = &space->symbols[i];
        int32_t id = symbol->id;
        if (id < 0)
            id = rad_vocabulary_find_text(&tokenizer->vocabulary, text + symbol->start,
                                          symbol->length);
        bool pushed = id >= 0 ? rad_encoder_push(encoder, id)
                              : rad_encode_bytes(encoder, text + symbol->start, symbol->length);
        if (!pushed)
            return false;
    }
    return true;
}

/* Spells text with U+2581 for spaces and merges it as a whole. */
static bool merge_spelled(rad_encoder *encoder, const uint8_t *text, size_t size, bool prefix)
{
    size_t needed;
    if (!rad_mul_size(size, 3, &needed) || !rad_encoder_scratch(encoder, needed + 3))
        return false;
    uint8_t *out = encoder->scratch;
    if (prefix) {
        memcpy(out, space_mark, 3);
        out += 3;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ' ') {
            memcpy(out, space_mark, 3);
            out += 3;
        } else {
            *out++ = text[i];
        }
    }
    return merge_text(encoder, encoder->scratch, (size_t)(out - encoder->scratch));
}

/* Behind the spaces at p and the characters behind them up to the next space. */
static const uint8_t *word_end(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || is_space_mark(p, end)))
        p += *p == ' ' ? 1 : 3;
    while (p < end && *p != ' ' && !(*p == space_mark[0] && is_space_mark(p, end)))
        p++;
    return p;
}

bool rad_encode_sentencepiece(rad_encoder *encoder, const uint8_t *text, size_t size, bool first)
{
    bool prefix = first && encoder->tokenizer->add_space_prefix;
    /* Characters are cut by their lead bytes alone, so words stand apart in good UTF-8 only. */
    if (!encoder->tokenizer->words_are_apart || !rad_utf8_is_clean(text, size))
        return merge_spelled(encoder, text, size, prefix);
    const uint8_t *end = text + size;
    for (const uint8_t *p = text; p < end;) {
        const uint8_t *behind = word_end(p, end);
        size_t length = (size_t)(behind - p);
        rad_known_word *slot = NULL;
        bool remember = encoder->words != NULL && !prefix && length <= REMEMBER_UP_TO;
        if (remember && rad_encoder_recall(encoder, p, length, &slot)) {
            if (encoder->no_memory)
                return false;
        } else {
            size_t first_id = encoder->out->count;
            if (!merge_spelled(encoder, p, length, prefix))
                return false;
            if (remember)
                rad_encoder_remember(encoder, slot, p, length, first_id);
        }
        prefix = false;
        p = behind;
    }
    return true;
}

/* ---- making ------------------------------------------------------------------------- */

/* A number that is less the higher the score, equal for equal scores, never RAD_MERGE_NONE. */
static uint32_t score_key(float score)
{
    uint32_t bits;
    float positive_zero = score == 0.0f ? 0.0f : score;
    memcpy(&bits, &positive_zero, sizeof bits);
    uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

/* Whether a token has U+2581 behind something that is not U+2581. */
static bool has_inner_space(const uint8_t *text, size_t size)
{
    size_t head = 0;
    while (size - head >= 3 && memcmp(text + head, space_mark, 3) == 0)
        head += 3;
    for (size_t i = head; i + 3 <= size; i++)
        if (memcmp(text + i, space_mark, 3) == 0)
            return true;
    return false;
}

static void find_byte_tokens(rad_tokenizer *tokenizer)
{
    static const char hex[] = "0123456789ABCDEF";
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t name[6] = {'<', '0', 'x', (uint8_t)hex[byte >> 4], (uint8_t)hex[byte & 15], '>'};
        uint8_t itself = (uint8_t)byte;
        int32_t id = rad_vocabulary_find(vocabulary, name, sizeof name);
        if (id < 0)
            id = rad_vocabulary_find_text(vocabulary, &itself, 1);
        tokenizer->byte_tokens[byte] = id;
    }
}

radllm_status rad_sentencepiece_make(rad_tokenizer *tokenizer, radllm_error *error)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    size_t bytes = (size_t)vocabulary->size * sizeof(uint32_t);
    rad_merge_rules *rules = &tokenizer->rules;
    rules->n_texts = (int32_t)vocabulary->size;
    rules->score_keys = rad_arena_alloc(&vocabulary->arena, bytes, sizeof(uint32_t));
    if (rules->score_keys == NULL)
        return rad_fail_memory(error, bytes);
    tokenizer->words_are_apart = true;
    if (vocabulary->scores == NULL)
        rad_log_line(
            &tokenizer->host, RADLLM_LOG_WARNING,
            "the model file has no tokenizer.ggml.scores: pieces are joined from the left, "
            "which may cut text otherwise than in training");
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size;
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        rules->score_keys[id] = score_key(vocabulary->scores == NULL ? 0 : vocabulary->scores[id]);
        if (rad_vocabulary_is_text(vocabulary, (int32_t)id) && has_inner_space(text, size))
            tokenizer->words_are_apart = false;
    }
    find_byte_tokens(tokenizer);
    return RADLLM_OK;
}
