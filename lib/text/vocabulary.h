/* The entries of a vocabulary: their texts, types and scores, found by id and by text.
 * Immutable once made. */
#ifndef RAD_VOCABULARY_H
#define RAD_VOCABULARY_H

#include "text/tokenizer.h"

/* Vocabularies have at most this many entries (the largest published one has 262,144). */
#define RAD_VOCABULARY_MAX (1u << 24)

/* Finds ids by a byte string. Open addressing; the seed differs between objects, so that a file
 * cannot be made to collide. */
typedef struct rad_text_slot {
    int32_t id; /* -1: free */
    uint32_t hash;
} rad_text_slot;

typedef struct rad_text_index {
    rad_text_slot *slots;
    uint32_t mask;
    uint64_t seed;
} rad_text_index;

typedef struct rad_vocabulary {
    rad_arena arena; /* holds all that follows */
    uint32_t size;
    uint8_t *types;        /* rad_token_type of each entry */
    float *scores;         /* NULL when the file has none */
    uint8_t *entry_bytes;  /* texts as in the file, one behind the other */
    uint32_t *entry_start; /* size + 1 of them */
    uint8_t *piece_bytes;  /* what the tokens stand for in text */
    uint32_t *piece_start; /* size + 1 of them */
    uint32_t longest_entry;
    uint32_t longest_piece;
    rad_text_index entries; /* by the text in the file */
} rad_vocabulary;

uint64_t rad_text_hash(uint64_t seed, const uint8_t *text, size_t size);

/* Reads tokenizer.ggml.tokens, token_type and scores. `vocabulary` is zeroed, but for the arena's
 * allocator; freeing the arena frees it, also after a failure. The pieces are made later. */
radllm_status rad_vocabulary_read(rad_vocabulary *vocabulary, const rad_source *source,
                                  radllm_error *error);
/* The same; the entries are not findable yet. */
radllm_status rad_vocabulary_read_entries(rad_vocabulary *vocabulary, const rad_source *source,
                                          radllm_error *error);
/* Parts of it, for vocabularies from elsewhere: fills the entries, and makes them findable. Of two
 * equal texts the last counts, or both are an error. `key` names the list in messages. */
radllm_status rad_vocabulary_fill(rad_vocabulary *vocabulary, const rad_text *texts, uint64_t count,
                                  const char *key, radllm_error *error);
radllm_status rad_vocabulary_index(rad_vocabulary *vocabulary, bool last_counts, const char *key,
                                   radllm_error *error);
/* The same for a file that has a number of tokens (ARCHITECTURE.vocab_size) and no texts for them:
 * all are empty. */
radllm_status rad_vocabulary_count(rad_vocabulary *vocabulary, const rad_source *source,
                                   radllm_error *error);
/* Makes the pieces. byte_level: entries spell bytes in the alphabet of byte-level BPE; otherwise
 * U+2581 stands for a space and "<0x41>" of type byte for a byte. */
radllm_status rad_vocabulary_make_pieces(rad_vocabulary *vocabulary, bool byte_level,
                                         radllm_error *error);

static inline const uint8_t *rad_vocabulary_entry(const rad_vocabulary *vocabulary, uint32_t id,
                                                  size_t *size)
{
    *size = vocabulary->entry_start[id + 1] - vocabulary->entry_start[id];
    return vocabulary->entry_bytes + vocabulary->entry_start[id];
}

static inline const uint8_t *rad_vocabulary_piece(const rad_vocabulary *vocabulary, uint32_t id,
                                                  size_t *size)
{
    *size = vocabulary->piece_start[id + 1] - vocabulary->piece_start[id];
    return vocabulary->piece_bytes + vocabulary->piece_start[id];
}

/* The id of an entry, or -1. */
int32_t rad_vocabulary_find(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size);
/* The same where the entry is likely `near` or the one behind it, as those that merges make are. */
int32_t rad_vocabulary_find_near(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size,
                                 int32_t near);
/* Finding in steps, so that many can be under way at a time: a hash of the text first; then, each
 * some time after the one before, the steps that ask memory for what the next one reads; then the
 * id. */
uint32_t rad_vocabulary_hash(const rad_vocabulary *vocabulary, const uint8_t *text, size_t size);
typedef enum rad_find_step { RAD_FIND_SLOT, RAD_FIND_PLACE, RAD_FIND_ENTRY } rad_find_step;
void rad_vocabulary_prefetch(const rad_vocabulary *vocabulary, uint32_t hash, rad_find_step step);
int32_t rad_vocabulary_find_hashed(const rad_vocabulary *vocabulary, uint32_t hash,
                                   const uint8_t *text, size_t size);
/* The same, but only of entries that text may become: not control, unknown or byte tokens. */
int32_t rad_vocabulary_find_text(const rad_vocabulary *vocabulary, const uint8_t *text,
                                 size_t size);

static inline bool rad_vocabulary_is_text(const rad_vocabulary *vocabulary, int32_t id)
{
    uint8_t type = vocabulary->types[id];
    return type != RAD_TOKEN_CONTROL && type != RAD_TOKEN_UNKNOWN && type != RAD_TOKEN_BYTE;
}

/* The code point that spells a byte in the alphabet of byte-level BPE, and back (-1: none). */
uint32_t rad_byte_to_letter(uint8_t byte);
int rad_letter_to_byte(uint32_t letter);

#endif
