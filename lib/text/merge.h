/* The merging at the heart of byte-pair encoding: of all adjacent pairs of symbols the one with the
 * least key is joined (the leftmost of several), until no pair is left that joins. */
#ifndef RAD_MERGE_H
#define RAD_MERGE_H

#include "text/vocabulary.h"

#define RAD_MERGE_NONE UINT32_MAX

#define RAD_MERGE_WAITING 8

/* A pair of tokens that merges. */
typedef struct rad_pair {
    int32_t left; /* -1: a free slot */
    int32_t right;
    uint32_t rank;
    int32_t merged;
} rad_pair;

/* What joins with what: either a table of pairs of ids (byte-level BPE), or every pair whose joint
 * text is in the vocabulary, the higher score first (SentencePiece). */
typedef struct rad_merge_rules {
    const rad_vocabulary *vocabulary;
    rad_pair *pairs; /* NULL: by text and score */
    uint32_t pairs_mask;
    bool last_counts; /* of a pair that comes twice */
    uint64_t seed;
    uint32_t *score_keys; /* of each token: order-reversed bits of its score */
    int32_t n_texts;      /* by text and score: ids from here on are nothing that merges */
    uint32_t n_pairs;     /* that were added */
    rad_pair waiting[RAD_MERGE_WAITING]; /* for the memory of the table */
} rad_merge_rules;

typedef struct rad_symbol {
    uint32_t start;  /* in the text */
    uint32_t length; /* 0: joined to one before it */
    int32_t id;      /* -1: not looked up, or no token */
    int32_t previous;
    int32_t next;
} rad_symbol;

typedef struct rad_candidate {
    uint32_t key;
    uint32_t left;
    uint32_t length; /* of the joint text when it was found: else it is out of date */
    int32_t merged;
} rad_candidate;

/* Memory for merging, used again from piece to piece. Zero it, set the allocator. */
typedef struct rad_merge_space {
    const rad_allocator *allocator;
    rad_symbol *symbols;
    size_t symbols_capacity;
    size_t n_symbols;
    rad_candidate *heap;
    size_t heap_capacity;
    size_t n_heap;
    /* By text and score: of each token of type unused, which pair would last have become it: its
     * left part's bytes, above `now` << 11. NULL where no token is. */
    uint32_t *splits;
    uint32_t now;
} rad_merge_space;

#define RAD_MERGE_FROZEN (-2) /* the id of a symbol that joins nothing, by text and score */

void rad_merge_space_free(rad_merge_space *space);

/* Adds a symbol; false when memory is short. */
bool rad_merge_add(rad_merge_space *space, uint32_t start, uint32_t length, int32_t id);
/* Merges the symbols that were added; on return space->symbols[0..n_symbols) holds those that are
 * left, in order. text: what the symbols' starts refer to. n log n; false when memory is short. */
bool rad_merge_run(const rad_merge_rules *rules, rad_merge_space *space, const uint8_t *text);

/* Makes a table for `count` pairs, at most RAD_VOCABULARY_MAX. */
radllm_status rad_merge_rules_make(rad_merge_rules *rules, rad_arena *arena, uint64_t count,
                                   radllm_error *error);
/* Adds a pair to the table. The table holds all of them behind rad_merge_rules_end(). */
void rad_merge_rules_add(rad_merge_rules *rules, const rad_pair *pair);
void rad_merge_rules_end(rad_merge_rules *rules);

#endif
