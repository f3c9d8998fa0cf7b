#include "text/vocabulary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

/* ---- the alphabet of byte-level BPE ------------------------------------------------- */

/* Printable bytes of Latin-1 spell themselves; the other 68 are numbered from U+0100 on. */
static bool spells_itself(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
           (byte >= 0xAE && byte <= 0xFF);
}

uint32_t rad_byte_to_letter(uint8_t byte)
{
    if (spells_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte <= 0xA0)
        return 0x100u + 33 + (byte - 0x7Fu);
    return 0x100 + 67; /* 0xAD */
}

int rad_letter_to_byte(uint32_t letter)
{
    if (letter < 0x100)
        return spells_itself(letter) ? (int)letter : -1;
    uint32_t number = letter - 0x100;
    if (number <= 32)
        return (int)number;
    if (number <= 66)
        return (int)(0x7F + (number - 33));
    return number == 67 ? 0xAD : -1;
}

/* ---- finding by text ---------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t product = a * b;
    return product ^ product >> 32;
}

uint64_t rad_text_hash(uint64_t seed, const uint8_t *text, size_t size)
{
    const uint64_t first = UINT64_C(0x9E3779B97F4A7C15);
    const uint64_t second = UINT64_C(0xD6E8FEB86659FD93);
    uint64_t hash = seed ^ size;
    uint64_t word;
    while (size >= 8) {
        memcpy(&word, text, 8);
        hash = mix(hash ^ word ^ first, second);
        text += 8;
        size -= 8;
    }
    word = 0;
    memcpy(&word, text, size);
    return mix(hash ^ word ^ second, first);
}

/* The slot of an entry, or the free one where it belongs. */
static uint32_t find_slot(const rad_vocabulary *vocabulary, const rad_text_index *index,
                          uint32_t hash, const uint8_t *text, size_t size)
{
    for (uint32_t slot = hash & index->mask;; slot = (slot + 1) & index->mask) {
        int32_t id = index->slots[slot].id;
        if (id < 0)
            return slot;
        size_t entry_size;
        if (index->slots[slot].hash == hash) {
            const uint8_t *entry = rad_vocabulary_entry(vocabulary, (uint32_t)id, &entry_size);
            if (entry_size == size && memcmp(entry, text, size) == 0)
                return slot;
        }
    }
}

int32_t rad_vocabulary_find(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size)
{
    if (size == 0 || size > vocabulary->longest_entry)
        return -1;
    return rad_vocabulary_find_hashed(vocabulary, rad_vocabulary_hash(vocabulary, text, size), text,
                                      size);
}

uint32_t rad_vocabulary_hash(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size)
{
    return (uint32_t)rad_text_hash(vocabulary->entries.seed, text, size);
}

int32_t rad_vocabulary_find_hashed(const rad_vocabulary *vocabulary, uint32_t hash,
                                   const uint8_t *text, size_t size)
{
    const rad_text_index *index = &vocabulary->entries;
    return index->slots[find_slot(vocabulary, index, hash, text, size)].id;
}

int32_t rad_vocabulary_find_near(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size,
                                 int32_t near)
{
    for (uint32_t id = (uint32_t)near; id <= (uint32_t)near + 1 && id < vocabulary->size; id++) {
        size_t entry_size;
        const uint8_t *entry = rad_vocabulary_entry(vocabulary, id, &entry_size);
        if (entry_size == size && memcmp(entry, text, size) == 0)
            return (int32_t)id;
    }
    return rad_vocabulary_find(vocabulary, text, size);
}

void rad_vocabulary_prefetch(const rad_vocabulary *vocabulary, uint32_t hash, rad_find_step step)
{
    const rad_text_slot *slot = &vocabulary->entries.slots[hash & vocabulary->entries.mask];
    if (step == RAD_FIND_SLOT)
        __builtin_prefetch(slot);
    else if (slot->id >= 0 && step == RAD_FIND_PLACE)
        __builtin_prefetch(vocabulary->entry_start + slot->id);
    else if (slot->id >= 0)
        __builtin_prefetch(vocabulary->entry_bytes + vocabulary->entry_start[slot->id]);
}

int32_t rad_vocabulary_find_text(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size)
{
    int32_t id = rad_vocabulary_find(vocabulary, text, size);
    return id >= 0 && rad_vocabulary_is_text(vocabulary, id) ? id : -1;
}

/* ---- reading ------------------------------------------------------------------------ */

#define AHEAD 16

static uint32_t index_slots(uint32_t size)
{
    uint32_t slots = 16;
    while (slots < 2 * size)
        slots *= 2;
    return slots;
}

radllm_status rad_vocabulary_index(rad_vocabulary *vocabulary, bool last_counts, const char *key,
                                   radllm_error *error)
{
    rad_text_index *index = &vocabulary->entries;
    uint32_t slots = index_slots(vocabulary->size);
    size_t bytes = (size_t)slots * sizeof *index->slots;
    index->mask = slots - 1;
    index->seed = (uint64_t)(uintptr_t)vocabulary * UINT64_C(0xA24BAED4963EE407);
    index->slots = rad_arena_alloc(&vocabulary->arena, bytes, sizeof(uint64_t));
    if (index->slots == NULL)
        return rad_fail_memory(error, bytes);
    memset(index->slots, 0xFF, bytes);
    uint32_t hashes[AHEAD] = {0};
    for (uint64_t later = 0; later < (uint64_t)vocabulary->size + AHEAD; later++) {
        size_t size;
        uint32_t id = (uint32_t)later - AHEAD, hash = hashes[later % AHEAD];
        if (later < vocabulary->size) {
            const uint8_t *text = rad_vocabulary_entry(vocabulary, (uint32_t)later, &size);
            hashes[later % AHEAD] = rad_vocabulary_hash(vocabulary, text, size);
            rad_vocabulary_prefetch(vocabulary, hashes[later % AHEAD], RAD_FIND_SLOT);
        }
        if (later < AHEAD)
            continue;
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (size == 0)
            continue; /* stands for nothing and is found by nothing */
        uint32_t slot = find_slot(vocabulary, index, hash, text, size);
        if (index->slots[slot].id >= 0 && !last_counts) {
            char quoted[RAD_QUOTE_SIZE];
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s[%u] is \"%s\", as is %s[%d]: each token's text must occur once; "
                            "convert the model again",
                            key, id, rad_quote(quoted, (const char *)text, size), key,
                            index->slots[slot].id);
        }
        index->slots[slot] = (rad_text_slot){(int32_t)id, hash};
    }
    return RADLLM_OK;
}

radllm_status rad_vocabulary_fill(rad_vocabulary *vocabulary, const rad_text *texts, uint64_t count,
                                  const char *key, radllm_error *error)
{
    if (count == 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s is empty: a vocabulary needs at least one token", key);
    if (count > RAD_VOCABULARY_MAX)
        return rad_fail(error, RADLLM_E_LIMIT, "%s has %llu entries; at most %u are supported", key,
                        (unsigned long long)count, RAD_VOCABULARY_MAX);
    vocabulary->size = (uint32_t)count;
    uint64_t total = 0;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t size = texts[id].size;
        if (!rad_add_u64(total, size, &total) || total > INT32_MAX)
            return rad_fail(error, RADLLM_E_LIMIT,
                            "%s[%u]: the texts of the tokens up to here take more than 2 GiB", key,
                            id);
        if (size > vocabulary->longest_entry)
            vocabulary->longest_entry = (uint32_t)size;
    }
    size_t starts = ((size_t)vocabulary->size + 1) * sizeof(uint32_t);
    vocabulary->entry_bytes = rad_arena_alloc(&vocabulary->arena, (size_t)total + 1, 1);
    vocabulary->entry_start = rad_arena_alloc(&vocabulary->arena, starts, sizeof(uint32_t));
    if (vocabulary->entry_bytes == NULL || vocabulary->entry_start == NULL)
        return rad_fail_memory(error, (size_t)total + 1 + starts);
    uint32_t at = 0;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        vocabulary->entry_start[id] = at;
        if (texts[id].size > 0)
            memcpy(vocabulary->entry_bytes + at, texts[id].data, texts[id].size);
        at += (uint32_t)texts[id].size;
    }
    vocabulary->entry_start[vocabulary->size] = at;
    return RADLLM_OK;
}

static radllm_status read_entries(rad_vocabulary *vocabulary, const rad_source *source,
                                  radllm_error *error)
{
    const char *key = "tokenizer.ggml.tokens";
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "the key %s is missing: the file has no vocabulary; use a file that was "
                        "converted with its tokenizer",
                        key);
    if (!meta->is_array || meta->type != RAD_META_STRING)
        return rad_fail(error, RADLLM_E_FORMAT, "%s must be an array of strings", key);
    return rad_vocabulary_fill(vocabulary, meta->strings, meta->count, key, error);
}

/* Finds an array that has one number for each token; *out becomes NULL when there is none. */
static radllm_status find_numbers(const rad_vocabulary *vocabulary, const rad_source *source,
                                  const char *key, bool real, const rad_meta **out,
                                  radllm_error *error)
{
    const rad_meta *meta = rad_source_find_meta(source, key);
    *out = meta;
    if (meta == NULL)
        return RADLLM_OK;
    bool right = real ? meta->type == RAD_META_F32
                      : meta->type == RAD_META_I32 || meta->type == RAD_META_U32;
    if (!meta->is_array || !right)
        return rad_fail(error, RADLLM_E_FORMAT, "%s must be an array of %s", key,
                        real ? "f32" : "i32");
    if (meta->count != vocabulary->size)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s has %llu entries but tokenizer.ggml.tokens has %u: they must be equal",
                        key, (unsigned long long)meta->count, vocabulary->size);
    return RADLLM_OK;
}

static radllm_status read_types(rad_vocabulary *vocabulary, const rad_source *source,
                                radllm_error *error)
{
    const char *key = "tokenizer.ggml.token_type";
    const rad_meta *meta;
    radllm_status status = find_numbers(vocabulary, source, key, false, &meta, error);
    if (status != RADLLM_OK)
        return status;
    vocabulary->types = rad_arena_alloc(&vocabulary->arena, vocabulary->size, 1);
    if (vocabulary->types == NULL)
        return rad_fail_memory(error, vocabulary->size);
    memset(vocabulary->types, RAD_TOKEN_NORMAL, vocabulary->size);
    for (uint32_t id = 0; meta != NULL && id < vocabulary->size; id++) {
        int64_t type = (int64_t)rad_meta_item_u64(meta, id);
        if (type < 0 || type > RAD_TOKEN_BYTE)
            return rad_fail(error, RADLLM_E_FORMAT,
                            "%s[%u] is %lld: types go from 1 (normal) to 6 (byte)", key, id,
                            (long long)type);
        vocabulary->types[id] = type == 0 ? RAD_TOKEN_NORMAL : (uint8_t)type;
    }
    return RADLLM_OK;
}

static radllm_status read_scores(rad_vocabulary *vocabulary, const rad_source *source,
                                 radllm_error *error)
{
    const char *key = "tokenizer.ggml.scores";
    const rad_meta *meta;
    radllm_status status = find_numbers(vocabulary, source, key, true, &meta, error);
    if (status != RADLLM_OK || meta == NULL)
        return status;
    size_t bytes = (size_t)vocabulary->size * sizeof(float);
    vocabulary->scores = rad_arena_alloc(&vocabulary->arena, bytes, sizeof(float));
    if (vocabulary->scores == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        vocabulary->scores[id] = (float)rad_meta_item_f64(meta, id);
        if (isnan(vocabulary->scores[id]))
            return rad_fail(error, RADLLM_E_FORMAT, "%s[%u] is not a number", key, id);
    }
    return RADLLM_OK;
}

radllm_status rad_vocabulary_read_entries(rad_vocabulary *vocabulary, const rad_source *source,
                                          radllm_error *error)
{
    radllm_status status = read_entries(vocabulary, source, error);
    if (status == RADLLM_OK)
        status = read_types(vocabulary, source, error);
    return status == RADLLM_OK ? read_scores(vocabulary, source, error) : status;
}

radllm_status rad_vocabulary_read(rad_vocabulary *vocabulary, const rad_source *source,
                                  radllm_error *error)
{
    radllm_status status = rad_vocabulary_read_entries(vocabulary, source, error);
    if (status == RADLLM_OK)
        status = rad_vocabulary_index(vocabulary, false, "tokenizer.ggml.tokens", error);
    return status;
}

radllm_status rad_vocabulary_count(rad_vocabulary *vocabulary, const rad_source *source,
                                   radllm_error *error)
{
    rad_text name;
    int64_t size = 0;
    char key[160];
    radllm_status status = rad_meta_text(source, "general.architecture", &name, error);
    if (status != RADLLM_OK)
        return status;
    snprintf(key, sizeof key, "%.*s.vocab_size", (int)(name.size < 64 ? name.size : 64),
             name.data != NULL ? name.data : "");
    status = rad_meta_integer(source, key, 1, RAD_VOCABULARY_MAX, 0, &size, error);
    if (status != RADLLM_OK)
        return status;
    if (size == 0)
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "tokenizer.ggml.model is \"none\", and the key %s, the number of tokens, is "
            "missing; convert the model again",
            key);
    vocabulary->size = (uint32_t)size;
    size_t starts = ((size_t)size + 1) * sizeof(uint32_t);
    vocabulary->types = rad_arena_alloc(&vocabulary->arena, (size_t)size, 1);
    vocabulary->entry_bytes = rad_arena_alloc_zero(&vocabulary->arena, 1, 1);
    vocabulary->entry_start = rad_arena_alloc_zero(&vocabulary->arena, starts, sizeof(uint32_t));
    if (vocabulary->types == NULL || vocabulary->entry_bytes == NULL ||
        vocabulary->entry_start == NULL)
        return rad_fail_memory(error, (size_t)size + 1 + starts);
    memset(vocabulary->types, RAD_TOKEN_NORMAL, (size_t)size);
    return rad_vocabulary_index(vocabulary, false, key, error);
}

/* ---- pieces ------------------------------------------------------------------------- */

/* Both write at most `size` bytes, since no letter and no U+2581 is shorter than what it becomes.
 */
static size_t spell_bytes(const uint8_t *text, size_t size, uint8_t *out)
{
    size_t written = 0;
    for (const uint8_t *p = text; p < text + size;) {
        if (*p > ' ' && *p < 0x7F) { /* spells itself */
            out[written++] = *p++;
            continue;
        }
        uint32_t code;
        uint32_t length = rad_utf8_decode(p, text + size, &code);
        int byte = rad_letter_to_byte(code);
        if (byte >= 0 && (length > 1 || *p < 0x80)) {
            out[written++] = (uint8_t)byte;
        } else { /* not of the alphabet: an added token's text stands for itself */
            memcpy(out + written, p, length);
            written += length;
        }
        p += length;
    }
    return written;
}

static size_t spell_spaces(const uint8_t *text, size_t size, uint8_t *out)
{
    size_t written = 0;
    for (size_t i = 0; i < size;) {
        if (size - i >= 3 && memcmp(text + i, "\xE2\x96\x81", 3) == 0) {
            out[written++] = ' ';
            i += 3;
        } else {
            out[written++] = text[i++];
        }
    }
    return written;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "<0x41>" names, or -1. */
static int named_byte(const uint8_t *text, size_t size)
{
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int high = hex_digit(text[3]);
    int low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static radllm_status make_piece(const rad_vocabulary *vocabulary, uint32_t id, bool byte_level,
                                uint8_t *out, size_t *written, radllm_error *error)
{
    size_t size;
    const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
    switch (vocabulary->types[id]) {
    case RAD_TOKEN_BYTE: {
        int byte = named_byte(text, size);
        if (byte < 0 && byte_level && (size < 3 || memcmp(text, "<0x", 3) != 0)) {
            *written =
                spell_bytes(text, size, out); /* old converters say byte for any such entry */
            return RADLLM_OK;
        }
        if (byte < 0) {
            char quoted[RAD_QUOTE_SIZE];
            return rad_fail(
                error, RADLLM_E_FORMAT,
                "tokenizer.ggml.tokens[%u] is of type byte, but its text \"%s\" is none "
                "of <0x00> to <0xFF>",
                id, rad_quote(quoted, (const char *)text, size));
        }
        out[0] = (uint8_t)byte;
        *written = 1;
        return RADLLM_OK;
    }
    case RAD_TOKEN_UNUSED:
        *written = 0;
        return RADLLM_OK;
    case RAD_TOKEN_NORMAL:
        *written = byte_level ? spell_bytes(text, size, out) : spell_spaces(text, size, out);
        return RADLLM_OK;
    case RAD_TOKEN_USER_DEFINED:
        if (!byte_level) {
            *written = spell_spaces(text, size, out);
            return RADLLM_OK;
        }
        break;
    default:
        break;
    }
    if (size > 0)
        memcpy(out, text, size);
    *written = size;
    return RADLLM_OK;
}

radllm_status rad_vocabulary_make_pieces(rad_vocabulary *vocabulary, bool byte_level,
                                         radllm_error *error)
{
    size_t room = (size_t)vocabulary->entry_start[vocabulary->size] + 1;
    size_t starts = ((size_t)vocabulary->size + 1) * sizeof(uint32_t);
    vocabulary->piece_bytes = rad_arena_alloc(&vocabulary->arena, room, 1);
    vocabulary->piece_start = rad_arena_alloc(&vocabulary->arena, starts, sizeof(uint32_t));
    if (vocabulary->piece_bytes == NULL || vocabulary->piece_start == NULL)
        return rad_fail_memory(error, room + starts);
    uint32_t at = 0;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        size_t written = 0;
        radllm_status status =
            make_piece(vocabulary, id, byte_level, vocabulary->piece_bytes + at, &written, error);
        if (status != RADLLM_OK)
            return status;
        vocabulary->piece_start[id] = at;
        at += (uint32_t)written;
        if (written > vocabulary->longest_piece)
            vocabulary->longest_piece = (uint32_t)written;
    }
    vocabulary->piece_start[vocabulary->size] = at;
    return RADLLM_OK;
}
