/* The parts of a tokenizer.json, as the package `tokenizers` defines them, in the order in which a
 * text passes them: added tokens, normalizers, added tokens that are normalized too,
 * pre-tokenizers, the model; and the decoder for the way back. Read once, then only looked at. */
#ifndef RAD_PIPELINE_H
#define RAD_PIPELINE_H

#include "text/flow.h"
#include "text/pretokenizer.h"
#include "text/regex.h"
#include "text/specials.h"
#include "text/trie.h"

/* ---- patterns --------------------------------------------------------------------------- */

/* Finds the first match from `from` on: `*start` and `*end`; false where there is none. */
typedef bool (*rad_find_fn)(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                            size_t *start, size_t *end);

/* One of the four is set. */
typedef struct rad_pattern {
    rad_text literal;
    const rad_regex *regex;
    rad_text source; /* of the regex */
    rad_find_fn find;
    uint32_t parameter; /* of find */
    rad_split_fn split; /* a scanner of a known expression, which matches everywhere */
} rad_pattern;

/* ---- normalizers ------------------------------------------------------------------------ */

typedef enum rad_normalizer_kind {
    RAD_NORMAL_FORM, /* NFC, NFD, NFKC, NFKD */
    RAD_NORMAL_LOWERCASE,
    RAD_NORMAL_STRIP,      /* white space at the ends */
    RAD_NORMAL_DROP_MARKS, /* combining marks */
    RAD_NORMAL_DROP_NONSPACING,
    RAD_NORMAL_BERT_CLEAN,
    RAD_NORMAL_BERT_CHINESE,
    RAD_NORMAL_NMT,
    RAD_NORMAL_PREPEND,
    RAD_NORMAL_REPLACE,
    RAD_NORMAL_CHARSMAP, /* SentencePiece's table of replacements */
    RAD_NORMAL_LETTERS   /* the alphabet of byte-level BPE */
} rad_normalizer_kind;

/* A double array (Darts) from character sequences to places in a list of texts that end in NUL. */
typedef struct rad_charsmap {
    const uint32_t *units;
    uint32_t n_units;
    const uint8_t *texts;
    uint32_t texts_size;
} rad_charsmap;
/* Of its bytes, which are changed and must stay, have 4 bytes' alignment and room for a NUL behind
 * them. False where they are no such table. */
bool rad_charsmap_make(rad_charsmap *map, uint8_t *bytes, size_t size);
/* These bytes again: the size of the double array, it, and the texts. */
size_t rad_charsmap_bytes(const rad_charsmap *map);
uint8_t rad_charsmap_byte(const rad_charsmap *map, size_t index);
/* The replacement of a beginning of text that has one, the shortest or the longest; NULL: there is
 * none. *size: of what is replaced; the replacement ends in NUL. */
const uint8_t *rad_charsmap_find(const rad_charsmap *map, const uint8_t *text, size_t n,
                                 bool longest, size_t *size);

typedef struct rad_normalizer {
    rad_normalizer_kind kind;
    bool compose;       /* of a form */
    bool compatibility; /* of a form */
    bool left;          /* of a strip */
    bool right;
    rad_pattern pattern;
    rad_text content; /* prepended, or what replaces */
    rad_charsmap charsmap;
} rad_normalizer;

/* ---- pre-tokenizers --------------------------------------------------------------------- */

typedef enum rad_behavior {
    RAD_BEHAVIOR_REMOVED,
    RAD_BEHAVIOR_ISOLATED,
    RAD_BEHAVIOR_MERGED_WITH_PREVIOUS,
    RAD_BEHAVIOR_MERGED_WITH_NEXT,
    RAD_BEHAVIOR_CONTIGUOUS
} rad_behavior;

typedef enum rad_splitter_kind {
    RAD_SPLIT_PATTERN,
    RAD_SPLIT_FIXED_LENGTH, /* every `length` characters */
    RAD_SPLIT_PREFIX_SPACE, /* a space in front of each piece that begins with none */
    RAD_SPLIT_LETTERS,      /* bytes become letters */
    RAD_SPLIT_METASPACE     /* spaces become `content`, which may be prepended */
} rad_splitter_kind;

typedef enum rad_prepend { RAD_PREPEND_NEVER, RAD_PREPEND_FIRST, RAD_PREPEND_ALWAYS } rad_prepend;

typedef struct rad_splitter {
    rad_splitter_kind kind;
    rad_pattern pattern;
    rad_behavior behavior;
    bool invert;
    rad_prepend prepend;
    rad_text content;
    uint32_t length;
} rad_splitter;

/* ---- models ----------------------------------------------------------------------------- */

typedef enum rad_pipeline_model {
    RAD_PIPELINE_BPE,
    RAD_PIPELINE_UNIGRAM,
    RAD_PIPELINE_WORDPIECE,
    RAD_PIPELINE_WORDLEVEL
} rad_pipeline_model;

/* ---- decoders --------------------------------------------------------------------------- */

typedef enum rad_decoder_kind {
    RAD_DECODE_BYTE_LEVEL,
    RAD_DECODE_BYTE_FALLBACK,
    RAD_DECODE_METASPACE,
    RAD_DECODE_WORDPIECE,
    RAD_DECODE_REPLACE,
    RAD_DECODE_STRIP,
    RAD_DECODE_BPE,       /* a suffix is a space, and nothing in the last token */
    RAD_DECODE_CTC,       /* one token of equal neighbours, of which `text` and `content` are cut */
    RAD_DECODE_JOIN_SPACE /* no decoder: tokens with spaces between them */
} rad_decoder_kind;

typedef struct rad_decoder {
    rad_decoder_kind kind;
    bool cleanup;    /* of WordPiece and CTC */
    bool keep_first; /* of Metaspace: the first token keeps its mark as a space */
    rad_text text;   /* the mark, prefix, or character to strip */
    rad_pattern pattern;
    rad_text content;
    uint32_t start; /* of Strip */
    uint32_t stop;
} rad_decoder;

/* ---- the whole -------------------------------------------------------------------------- */

#define RAD_PARTS_MAX 64 /* of each kind */
#define RAD_FRAME_MAX 16 /* tokens around a text */

/* How an added token is found. */
enum {
    RAD_ADDED_LSTRIP = 1,
    RAD_ADDED_RSTRIP = 2,
    RAD_ADDED_SINGLE_WORD = 4,
    RAD_ADDED_NORMALIZED = 8,
    RAD_ADDED_KEPT = 15,    /* those above, which GGUF files keep by these numbers */
    RAD_ADDED_OUTSIDE = 16, /* the model does not have it; kept, too, beside the parts */
    RAD_ADDED_BESIDE = 32   /* while files are read: tokenizer_config.json says what it is like */
};

typedef struct rad_pipeline {
    rad_normalizer normalizers[RAD_PARTS_MAX];
    uint32_t n_normalizers;
    rad_splitter splitters[RAD_PARTS_MAX];
    uint32_t n_splitters;
    rad_decoder decoders[RAD_PARTS_MAX];
    uint32_t n_decoders;
    uint32_t strip_head; /* characters of strip_text to drop at the head of a text */
    rad_text strip_text;
    bool joined;      /* while it is read: a decoder has joined the tokens */
    bool framed;      /* while it is read: a template has put tokens around the text */
    bool no_repeats;  /* a token that follows itself gives no text */
    uint8_t *added;   /* flags of each token, NULL: none has any */
    rad_specials raw; /* added tokens that are looked for in the text itself */
    rad_specials normalized;
    bool has_normalized;

    rad_pipeline_model model;
    bool bytes; /* BPE of bytes: the last pre-tokenizer's letters are left to the model */
    bool byte_fallback;
    bool fuse_unknown;
    bool ignore_merges;
    bool marks_apart;      /* no merge goes from something to U+2581 behind it */
    rad_text prefix;       /* of what continues a word */
    rad_text suffix;       /* of what ends a word */
    int32_t fallback[256]; /* tokens <0x00> to <0xFF>, or -1 */
    double *scores;        /* of Unigram */
    double unknown_score;
    rad_trie trie;       /* of Unigram and WordPiece */
    uint32_t continuing; /* node behind the prefix */
    uint32_t word_max;   /* characters; longer words are unknown */

    int32_t before[RAD_FRAME_MAX]; /* tokens around a text */
    int32_t after[RAD_FRAME_MAX];
    uint32_t n_before;
    uint32_t n_after;

    uint8_t *first_bytes; /* pieces of tokens that come first; NULL where they do not differ */
    uint32_t *first_start;
    uint8_t *last_bytes; /* the same of tokens that come last */
    uint32_t *last_start;
    rad_text chat_template; /* "" where there is none */
} rad_pipeline;

/* Whether the model has a token, which added tokens beside it are not; false for -1. */
static inline bool rad_pipeline_knows(const rad_pipeline *pipeline, int32_t id)
{
    return id >= 0 && (pipeline->added == NULL || (pipeline->added[id] & RAD_ADDED_OUTSIDE) == 0);
}

/* ---- at work ---------------------------------------------------------------------------- */

typedef struct rad_piece {
    uint32_t start;
    uint32_t size;
} rad_piece;

typedef struct rad_pieces {
    rad_piece *items;
    size_t count;
    size_t capacity;
} rad_pieces;

/* Why a call failed. */
typedef enum rad_pipeline_failure {
    RAD_PIPELINE_FINE,
    RAD_PIPELINE_MEMORY,
    RAD_PIPELINE_BUDGET,
    RAD_PIPELINE_TOO_LONG,
    RAD_PIPELINE_NO_UNKNOWN
} rad_pipeline_failure;

/* A character on its way through a Unicode normal form. */
typedef struct rad_mark {
    uint32_t code;
    uint32_t origin;
    uint32_t order; /* canonical combining class */
} rad_mark;

typedef struct rad_path_node {
    double score; /* of the best way to here */
    uint32_t start;
    int32_t id; /* -1: not reached */
} rad_path_node;

/* Memory of one call of encode. */
typedef struct rad_pipeline_space {
    const rad_allocator *allocator;
    rad_flow flows[4]; /* two for normalizers, two for pre-tokenizers */
    rad_pieces pieces[2];
    rad_regex_space regex;
    rad_mark *marks;
    size_t marks_capacity;
    rad_mark *sorted;
    size_t sorted_capacity;
    rad_path_node *path;
    size_t path_capacity;
    uint8_t *words; /* copies of words that are remembered */
    size_t words_size;
    size_t words_capacity;
    rad_pipeline_failure failure;
} rad_pipeline_space;

/* Steps that patterns may take on a text. */
uint64_t rad_pipeline_budget(size_t size);
void rad_pipeline_space_start(rad_pipeline_space *space, const rad_allocator *allocator,
                              size_t size);
void rad_pipeline_space_free(rad_pipeline_space *space);
bool rad_pipeline_fail(rad_pipeline_space *space, rad_pipeline_failure failure); /* false */

/* All matches of a pattern, one after the other, as regular expression libraries give them: no
 * empty one directly behind the one before. Begins as RAD_PATTERN_WALK. */
typedef struct rad_pattern_walk {
    size_t from, last;
} rad_pattern_walk;
#define RAD_PATTERN_WALK                                                                           \
    {                                                                                              \
        0, SIZE_MAX                                                                                \
    }
rad_regex_result rad_pattern_next(const rad_pattern *pattern, rad_pipeline_space *space,
                                  const uint8_t *text, size_t size, rad_pattern_walk *walk,
                                  size_t *start, size_t *end);

/* Runs all normalizers over `view`; *view becomes what they give, which lies in `space` or is the
 * view itself. */
bool rad_normalize(const rad_pipeline *pipeline, rad_pipeline_space *space, rad_slice *view);

/* Each byte as its letter in byte-level BPE. */
void rad_put_letters(const rad_slice *in, rad_flow *out);

/* Cuts `view` into space->pieces[0]; *view becomes the text that they lie in. */
bool rad_pipeline_split(const rad_pipeline *pipeline, rad_pipeline_space *space, rad_slice *view);

/* Patterns that are functions. */
bool rad_pattern_space(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                       size_t *start, size_t *end);
bool rad_pattern_punctuation(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                             size_t *start, size_t *end);
bool rad_pattern_number(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                        size_t *start, size_t *end);
bool rad_pattern_code(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                      size_t *start, size_t *end);
/* A run of word characters, or of others that are no white space. */
bool rad_pattern_word(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                      size_t *start, size_t *end);
/* A run of one script, with what belongs to no script behind it. */
bool rad_pattern_script(const uint8_t *text, size_t size, size_t from, uint32_t parameter,
                        size_t *start, size_t *end);
/* \w of the patterns that the package itself has: two joiners more. */
static inline bool rad_is_word_or_joiner(uint32_t code)
{
    return code == 0x200C || code == 0x200D || rad_is_word(code);
}

#endif
