/* Byte-level byte-pair encoding (GPT-2 and most models since): the text is cut into pieces by a
 * pre-tokenizer, and the bytes of each piece are merged by rank. */
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

/* Longer pieces are not remembered: they do not come again. */
#define REMEMBER_UP_TO 48

static int32_t find_piece(const rad_tokenizer *tokenizer, const uint8_t *piece, size_t size)
{
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    if (size > vocabulary->longest_piece)
        return -1;
    uint32_t slot =
        (uint32_t)rad_text_hash(tokenizer->pieces.seed, piece, size) & tokenizer->pieces.mask;
    for (;; slot = (slot + 1) & tokenizer->pieces.mask) {
        int32_t id = tokenizer->pieces.ids[slot];
        if (id < 0)
            return -1;
        size_t other_size;
        const uint8_t *other = rad_vocabulary_piece(vocabulary, (uint32_t)id, &other_size);
        if (other_size == size && memcmp(other, piece, size) == 0)
            return id;
    }
}

static bool merge_piece(rad_encoder *encoder, const uint8_t *piece, size_t size)
{
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    rad_merge_space *space = &encoder->space;
    space->n_symbols = 0;
    for (size_t i = 0; i < size; i++)
        if (!rad_merge_add(space, (uint32_t)i, 1, tokenizer->byte_tokens[piece[i]]))
            return false;
    if (!rad_merge_run(&tokenizer->rules, space, piece))
        return false;
    for (size_t i = 0; i < space->n_symbols; i++) {
        int32_t id = space->symbols[i].id; /* -1: a byte that has no token, which is left out */
        if (id >= 0 && !rad_encoder_push(encoder, id))
            return false;
    }
    return true;
}

static bool encode_piece(void *user, const uint8_t *piece, size_t size)
{
    rad_encoder *encoder = user;
    const rad_tokenizer *tokenizer = encoder->tokenizer;
    if (size == 1 && tokenizer->byte_tokens[*piece] >= 0)
        return rad_encoder_push(encoder, tokenizer->byte_tokens[*piece]);
    rad_known_word *slot = NULL;
    if (encoder->words != NULL && size <= REMEMBER_UP_TO &&
        rad_encoder_recall(encoder, piece, size, &slot))
        return !encoder->no_memory;
    size_t first_id = encoder->out->count;
    if (tokenizer->pieces.ids != NULL) {
        int32_t id = find_piece(tokenizer, piece, size);
        if (id >= 0) {
            if (!rad_encoder_push(encoder, id))
                return false;
            if (slot != NULL)
                rad_encoder_remember(encoder, slot, piece, size, first_id);
            return true;
        }
    }
    if (!merge_piece(encoder, piece, size))
        return false;
    if (slot != NULL)
        rad_encoder_remember(encoder, slot, piece, size, first_id);
    return true;
}

bool rad_encode_byte_level(rad_encoder *encoder, const uint8_t *text, size_t size)
{
    rad_known_word *words = encoder->words;
    if (!rad_utf8_is_clean(text, size)) {
        if (!rad_encoder_scratch(encoder, 3 * size))
            return false;
        size = rad_utf8_clean(text, size, encoder->scratch);
        text = encoder->scratch;
        encoder->words = NULL; /* they point into the text itself */
    }
    bool done = rad_pretokenize(encoder->tokenizer->cuts, &encoder->regex, text, size, encode_piece,
                                encoder);
    encoder->words = words;
    if (encoder->regex.failed)
        encoder->failure = encoder->regex.no_memory ? RAD_PIPELINE_MEMORY : RAD_PIPELINE_BUDGET;
    return done;
}

/* ---- making ------------------------------------------------------------------------- */

static radllm_status bad_merge(radllm_error *error, uint64_t index, const rad_text *text,
                               const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_FORMAT,
                    "tokenizer.ggml.merges[%llu], \"%s\", %s; convert the model again",
                    (unsigned long long)index, rad_quote(quoted, text->data, text->size), what);
}

/* The two pieces of a merge whose places in memory were asked for. */
typedef struct coming_merge {
    size_t left_size; /* 0: there are none */
    uint32_t hashes[2];
} coming_merge;

/* Adds merge number `index` to the table; joined is scratch memory for the joint text. *made: what
 * the last one made. */
static radllm_status add_merge(rad_tokenizer *tokenizer, uint64_t index, const rad_text *text,
                               const coming_merge *merge, uint8_t *joined, int32_t *made,
                               radllm_error *error)
{
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    const uint8_t *bytes = (const uint8_t *)text->data;
    size_t left_size = merge->left_size;
    if (left_size == 0)
        return bad_merge(error, index, text, "is not two pieces with a space between them");
    const uint8_t *space = bytes + left_size;
    size_t right_size = text->size - left_size - 1;
    rad_pair pair = {
        rad_vocabulary_find_hashed(vocabulary, merge->hashes[0], bytes, left_size),
        rad_vocabulary_find_hashed(vocabulary, merge->hashes[1], space + 1, right_size),
        (uint32_t)index, -1};
    if (pair.left < 0)
        return bad_merge(error, index, text, "names a left piece that is not in the vocabulary");
    if (pair.right < 0)
        return bad_merge(error, index, text, "names a right piece that is not in the vocabulary");
    memcpy(joined, bytes, left_size);
    memcpy(joined + left_size, space + 1, right_size);
    *made = pair.merged =
        rad_vocabulary_find_near(vocabulary, joined, left_size + right_size, *made);
    if (pair.merged < 0)
        return bad_merge(error, index, text, "gives a piece that is not in the vocabulary");
    /* No text becomes a control token by merging. */
    if (rad_vocabulary_is_text(vocabulary, pair.merged))
        rad_merge_rules_add(&tokenizer->rules, &pair);
    return RADLLM_OK;
}

/* Merges are found in memory this many before they are needed, in three steps. */
#define AHEAD 24

static void prefetch_merge(const rad_vocabulary *vocabulary, const coming_merge *merge,
                           rad_find_step step)
{
    if (merge->left_size == 0)
        return;
    rad_vocabulary_prefetch(vocabulary, merge->hashes[0], step);
    rad_vocabulary_prefetch(vocabulary, merge->hashes[1], step);
}

static void begin_merge(const rad_vocabulary *vocabulary, const rad_text *text, coming_merge *merge)
{
    const char *space = text->size < 3 ? NULL : memchr(text->data + 1, ' ', text->size - 1);
    merge->left_size = 0;
    if (space == NULL || space + 1 == text->data + text->size)
        return;
    merge->left_size = (size_t)(space - text->data);
    merge->hashes[0] =
        rad_vocabulary_hash(vocabulary, (const uint8_t *)text->data, merge->left_size);
    merge->hashes[1] = rad_vocabulary_hash(vocabulary, (const uint8_t *)space + 1,
                                           text->size - merge->left_size - 1);
    prefetch_merge(vocabulary, merge, RAD_FIND_SLOT);
}

/* A token of text that only merging leads to. */
static int32_t find_merged(const rad_vocabulary *vocabulary)
{
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size;
        uint32_t code;
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (vocabulary->types[id] == RAD_TOKEN_NORMAL && size > 0 &&
            rad_utf8_decode(text, text + size, &code) < size)
            return (int32_t)id;
    }
    return -1;
}

static radllm_status read_merges(rad_tokenizer *tokenizer, const rad_source *source,
                                 radllm_error *error)
{
    const char *key = "tokenizer.ggml.merges";
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "the key %s is missing: tokenizer.ggml.model \"gpt2\" needs it", key);
    if (!meta->is_array || (meta->type != RAD_META_STRING && meta->count > 0))
        return rad_fail(error, RADLLM_E_FORMAT, "%s must be an array of strings", key);
    int32_t lost = meta->count == 0 ? find_merged(vocabulary) : -1;
    if (lost >= 0)
        rad_log_line(
            &tokenizer->host, RADLLM_LOG_WARNING,
            "%s is empty, so that no text becomes tokenizer.ggml.tokens[%d] and others: the "
            "merges may have been lost when the model was converted",
            key, lost);
    if (meta->count > RAD_VOCABULARY_MAX)
        return rad_fail(error, RADLLM_E_LIMIT, "%s has %llu entries; at most %u are supported", key,
                        (unsigned long long)meta->count, RAD_VOCABULARY_MAX);
    size_t longest = 1;
    for (uint64_t i = 0; i < meta->count; i++)
        if (meta->strings[i].size > longest)
            longest = meta->strings[i].size;
    radllm_status status =
        rad_merge_rules_make(&tokenizer->rules, &vocabulary->arena, meta->count, error);
    if (status != RADLLM_OK)
        return status;
    uint8_t *joined = rad_alloc(vocabulary->arena.allocator, longest);
    if (joined == NULL)
        return rad_fail_memory(error, longest);
    int32_t made = 0;
    coming_merge coming[AHEAD] = {{0, {0, 0}}};
    for (uint64_t i = 0; i < meta->count + AHEAD && status == RADLLM_OK; i++) {
        coming_merge *merge = &coming[i % AHEAD];
        if (i >= AHEAD)
            status = add_merge(tokenizer, i - AHEAD, &meta->strings[i - AHEAD], merge, joined,
                               &made, error);
        merge->left_size = 0;
        if (i < meta->count)
            begin_merge(vocabulary, &meta->strings[i], merge);
        prefetch_merge(vocabulary, &coming[(i + 2 * AHEAD / 3) % AHEAD], RAD_FIND_PLACE);
        prefetch_merge(vocabulary, &coming[(i + AHEAD / 3) % AHEAD], RAD_FIND_ENTRY);
    }
    rad_merge_rules_end(&tokenizer->rules);
    rad_free(vocabulary->arena.allocator, joined, longest);
    return status;
}

void rad_byte_level_find_tokens(rad_tokenizer *tokenizer)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t letter[4];
        uint32_t size = rad_utf8_encode(rad_byte_to_letter((uint8_t)byte), letter);
        int32_t id = rad_vocabulary_find(&tokenizer->vocabulary, letter, size);
        /* Old converters give the letters of single bytes the type byte. */
        if (id >= 0 && tokenizer->vocabulary.types[id] != RAD_TOKEN_BYTE)
            id = rad_vocabulary_find_text(&tokenizer->vocabulary, letter, size);
        tokenizer->byte_tokens[byte] = id;
    }
}

static radllm_status index_pieces(rad_tokenizer *tokenizer, radllm_error *error)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    uint32_t slots = 16;
    while (slots < 2 * vocabulary->size)
        slots *= 2;
    size_t bytes = (size_t)slots * sizeof(int32_t);
    rad_piece_index *index = &tokenizer->pieces;
    index->seed = vocabulary->entries.seed;
    index->mask = slots - 1;
    index->ids = rad_arena_alloc(&vocabulary->arena, bytes, sizeof(int32_t));
    if (index->ids == NULL)
        return rad_fail_memory(error, bytes);
    memset(index->ids, 0xFF, bytes);
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size;
        const uint8_t *piece = rad_vocabulary_piece(vocabulary, id, &size);
        if (size == 0 || vocabulary->types[id] != RAD_TOKEN_NORMAL ||
            find_piece(tokenizer, piece, size) >= 0)
            continue;
        uint32_t slot = (uint32_t)rad_text_hash(index->seed, piece, size) & index->mask;
        while (index->ids[slot] >= 0)
            slot = (slot + 1) & index->mask;
        index->ids[slot] = (int32_t)id;
    }
    return RADLLM_OK;
}

radllm_status rad_byte_level_make(rad_tokenizer *tokenizer, const rad_source *source,
                                  radllm_error *error)
{
    rad_byte_level_find_tokens(tokenizer);
    radllm_status status = rad_pretokenizer_make(
        tokenizer->pretokenizer, &tokenizer->vocabulary.arena, tokenizer->cuts, error);
    if (status == RADLLM_OK)
        status = read_merges(tokenizer, source, error);
    if (status == RADLLM_OK && tokenizer->pretokenizer->ignore_merges)
        status = index_pieces(tokenizer, error);
    return status;
}
