/* SentencePiece's own files (tokenizer.model): what they hold, how text is normalized and cut by
 * it. Gives the tokens that the package `sentencepiece` gives. */
#ifndef RAD_SPM_H
#define RAD_SPM_H

#include "text/pipeline.h"
#include "text/tokenizer_json.h"

/* Bytes of the longest piece. */
#define RAD_SPM_PIECE_MAX 1024

typedef struct rad_spm {
    bool unigram; /* if none of the three: BPE */
    bool words;   /* each from one U+2581 to the next is a piece or unknown */
    bool characters;
    bool byte_fallback;
    bool dummy_prefix; /* a space is put before a text ... */
    bool suffix;       /* ... or behind it */
    bool every_head;   /* also behind each token that is read in the text ("legacy") */
    bool collapse;     /* spaces at the ends, and but one of several, are dropped */
    bool escape;       /* spaces become U+2581 */
    bool has_user;     /* some pieces are never cut */
    bool has_unused;   /* some pieces are cut again where they came out */
    rad_charsmap charsmap;
    rad_trie user;
    rad_trie trie;       /* of Unigram: pieces that a text may become */
    float unknown_score; /* of Unigram */
    uint32_t n_pieces;   /* ids behind them are added tokens */
    int32_t bos, eos;    /* -1: not said */
} rad_spm;

/* The numbers and flags beside the pieces, as the file has them. */
typedef struct rad_spm_spec {
    int64_t model_type; /* 1 Unigram, 2 BPE, 3 words, 4 characters */
    bool byte_fallback, suffix, dummy_prefix, collapse, escape;
    rad_text charsmap, denormalizer;
    rad_text bos, eos; /* texts of these pieces */
} rad_spm_spec;

typedef struct rad_spm_piece {
    rad_text text;
    float score;
    uint8_t type; /* rad_token_type */
} rad_spm_piece;

/* Reads the message; *pieces are `*n_pieces` of `allocator`, their texts point into data.
 * RADLLM_E_FORMAT where it is no such message, or not complete; nothing is kept then. */
radllm_status rad_spm_parse(const rad_allocator *allocator, const uint8_t *data, size_t size,
                            rad_spm_spec *spec, rad_spm_piece **pieces, size_t *n_pieces,
                            radllm_error *error);

/* A tokenizer of files->tokenizer, a tokenizer.model, and the JSON texts beside it (`added`:
 * added_tokens.json). Keeps no pointer into them. */
radllm_status rad_tokenizer_create_spm(const rad_host *host, const rad_tokenizer_files *files,
                                       rad_tokenizer **out, radllm_error *error);

/* The same for a GGUF file whose vocabulary is of the model "t5", which is a tokenizer.model of
 * Unigram written out: fills in what its vocabulary, ids and flags leave open. */
radllm_status rad_spm_read(rad_tokenizer *tokenizer, const rad_source *source, radllm_error *error);

#endif
