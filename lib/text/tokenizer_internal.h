/* What the files of the tokenizer share; nobody else includes this. */
#ifndef RAD_TOKENIZER_INTERNAL_H
#define RAD_TOKENIZER_INTERNAL_H

#include <string.h>

#include "text/merge.h"
#include "text/pipeline.h"
#include "text/pretokenizer.h"
#include "text/specials.h"
#include "text/spm.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

/* Keys of GGUF that are ours: added tokens that are found in a way of their own, and their flags.
 */
#define RAD_KEY_ADDED_IDS   "radllm.tokenizer.added_ids"
#define RAD_KEY_ADDED_FLAGS "radllm.tokenizer.added_flags"
/* The parts of a tokenizer.json, without its vocabulary, merges and added tokens: where GGUF's own
 * keys do not say all that they do. Scores of a Unigram that floats do not hold. */
#define RAD_KEY_PARTS  "radllm.tokenizer.json"
#define RAD_KEY_SCORES "radllm.tokenizer.scores"
/* Whether tokenizer.json had the normalizer NFC, where that is not as the pre-tokenizer's family
 * has it and the parts are not there. Texts are read as they are all the same, as by other
 * readers. */
#define RAD_KEY_NFC "radllm.tokenizer.nfc"
static inline bool rad_pre_composes(const char *pre)
{
    return strcmp(pre, "qwen2") == 0 || strcmp(pre, "qwen35") == 0;
}
/* Reads the flags into added[], one for each token; *found: there are such keys. */
radllm_status rad_tokenizer_read_added(const rad_tokenizer *tokenizer, const rad_source *source,
                                       uint8_t *added, bool *found, radllm_error *error);
/* Whether readers know the model by its name, where these keys are not there: Phi-3, whose special
 * tokens swallow the white space behind them. */
bool rad_strips_by_name(const rad_source *source);

typedef enum rad_tokenizer_model {
    RAD_MODEL_SENTENCEPIECE, /* "llama" */
    RAD_MODEL_BYTE_LEVEL,    /* "gpt2" */
    RAD_MODEL_WORDPIECE,     /* "bert" */
    RAD_MODEL_NONE,          /* "none": ids alone, without texts */
    RAD_MODEL_PIPELINE,      /* of a tokenizer.json */
    RAD_MODEL_SPM            /* of a tokenizer.model, and "t5" */
} rad_tokenizer_model;

/* Finds ids by the bytes that tokens stand for; only where pieces in the vocabulary are not merged.
 */
typedef struct rad_piece_index {
    int32_t *ids; /* NULL: there is none; -1: free */
    uint32_t mask;
    uint64_t seed;
} rad_piece_index;

struct rad_tokenizer {
    rad_host host;
    rad_tokenizer_model model;
    rad_vocabulary vocabulary;
    rad_specials specials;
    rad_merge_rules rules;
    const rad_pipeline *pipeline;         /* NULL: the file is no tokenizer.json */
    const rad_spm *spm;                   /* NULL: neither a tokenizer.model nor "t5" */
    const rad_pretokenizer *pretokenizer; /* byte-level only */
    rad_cut cuts[RAD_SPLIT_STAGES + 1];   /* its stages */
    rad_piece_index pieces;
    int32_t byte_tokens[256]; /* -1: none */
    uint8_t *added;           /* RAD_ADDED_... of each token; NULL: none has any */
    uint8_t *ends;            /* a bit per token: ends generation */
    int32_t bos;              /* CLS for WordPiece; -1: none */
    int32_t eos;
    int32_t separator;
    int32_t unknown;
    int32_t padding, mask; /* for who trains; not read from texts */
    bool add_bos;
    bool add_eos;
    bool add_space_prefix;
    bool composes;        /* of bytes: a tokenizer.json that is made of it says NFC */
    bool keep_case;       /* of WordPiece */
    bool keep_accents;    /* of WordPiece */
    bool words_are_apart; /* no token has U+2581 behind anything else: words merge alone */
    char pre[64];
};

static inline bool rad_token_bit(const uint8_t *bits, int32_t id)
{
    return (bits[id >> 3] >> (id & 7) & 1) != 0;
}

/* One call of encode: memory, and where the ids go. */
typedef struct rad_encoder {
    const rad_tokenizer *tokenizer;
    rad_tokens *out;
    rad_merge_space space;
    uint8_t *scratch; /* for a word or fragment in another spelling */
    size_t scratch_capacity;
    struct rad_known_word *words; /* NULL for short texts */
    const uint8_t *base;          /* of the text that known words point into */
    bool no_memory;
    struct rad_spm_space *spm;    /* of a tokenizer.model */
    rad_regex_space regex;        /* of a pre-tokenizer's expressions */
    rad_pipeline_failure failure; /* of a pipeline */
} rad_encoder;

/* Where the stretches of text lie in which control tokens are read. */
typedef struct rad_stretches {
    const rad_text_span *spans;
    size_t count;
    size_t at;        /* the span that the position is in */
    size_t start;     /* of that span */
    size_t parse_end; /* end of the stretch; 0 when control tokens are not read here */
} rad_stretches;
/* Moves on to `position`, which never goes back. */
void rad_stretches_move(rad_stretches *s, size_t position);

radllm_status rad_encode_joined(const rad_tokenizer *tokenizer, const uint8_t *text, size_t size,
                                const rad_text_span *spans, size_t count, uint32_t flags,
                                rad_tokens *out, radllm_error *error);

/* A token with these flags was found at [*from, *behind) of a text that was given out up to
 * `start`: takes in white space beside it. False where it does not count. */
bool rad_added_place(uint8_t flags, const rad_slice *view, size_t start, size_t *from,
                     size_t *behind);

/* Of a tokenizer.json: the tokens before (head) or behind a text; a text of well-formed UTF-8;
 * spans of any bytes, of which what is no UTF-8 is read as U+FFFD; what a failure says. */
bool rad_pipeline_add(rad_encoder *encoder, bool head);
bool rad_encode_pipeline(rad_encoder *encoder, const uint8_t *text, size_t size, rad_stretches *s);
radllm_status rad_encode_pipeline_spans(const rad_tokenizer *tokenizer, const rad_text_span *spans,
                                        size_t count, size_t size, uint32_t flags, rad_tokens *out,
                                        radllm_error *error);
radllm_status rad_pipeline_report(rad_pipeline_failure failure, size_t size, radllm_error *error);
/* Appends the ids of one piece of text. */
bool rad_pipeline_encode_piece(rad_encoder *encoder, rad_pipeline_space *space,
                               const uint8_t *piece, size_t size);

/* Each appends the ids of one stretch of text without special tokens; false when memory is short.
 * `first` is true at the head of the text and behind a special token. */
bool rad_encode_sentencepiece(rad_encoder *encoder, const uint8_t *text, size_t size, bool first);
bool rad_encode_byte_level(rad_encoder *encoder, const uint8_t *text, size_t size);
bool rad_encode_wordpiece(rad_encoder *encoder, const uint8_t *text, size_t size);
bool rad_encode_spm(rad_encoder *encoder, const uint8_t *text, size_t size, bool first);
/* Memory of a call of encode for it, with a text of `size` bytes; NULL: none could be had. */
struct rad_spm_space *rad_spm_space_new(const rad_tokenizer *tokenizer, size_t size);
void rad_spm_space_free(const rad_tokenizer *tokenizer, struct rad_spm_space *space);
/* The ids of bytes where the tokenizer spells what it does not know, else that of the unknown. */
bool rad_encode_bytes(rad_encoder *encoder, const uint8_t *text, size_t size);

/* Remembers the ids of words within a text, since natural text repeats its words. */
#define RAD_KNOWN_WORDS 4096
typedef struct rad_known_word {
    uint32_t hash;
    uint32_t start; /* in the text; size 0: free */
    uint32_t size;
    uint32_t first_id; /* in out->ids */
    uint32_t n_ids;
} rad_known_word;

/* Appends the ids of a word seen before and returns true; otherwise *slot is where to remember it.
 */
bool rad_encoder_recall(rad_encoder *encoder, const uint8_t *word, size_t size,
                        rad_known_word **slot);
void rad_encoder_remember(rad_encoder *encoder, rad_known_word *slot, const uint8_t *word,
                          size_t size, size_t first_id);
bool rad_encoder_push(rad_encoder *encoder, int32_t id);
/* Room for `size` bytes in encoder->scratch. */
bool rad_encoder_scratch(rad_encoder *encoder, size_t size);

/* Parts of rad_tokenizer_create. */
rad_tokenizer *rad_tokenizer_new(const rad_host *host); /* NULL: memory */
void rad_tokenizer_find_ends(rad_tokenizer *tokenizer);
/* Whether readers of GGUF know it by its text that the token ends answers. */
bool rad_tokenizer_ends_by_text(const rad_tokenizer *tokenizer, int32_t id);
radllm_status rad_byte_level_make(rad_tokenizer *tokenizer, const rad_source *source,
                                  radllm_error *error);
void rad_byte_level_find_tokens(rad_tokenizer *tokenizer); /* fills byte_tokens */
radllm_status rad_sentencepiece_make(rad_tokenizer *tokenizer, radllm_error *error);

#endif
