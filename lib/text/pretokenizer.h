/* Cuts text into the pieces within which byte-level BPE merges. Each known tokenizer has one or
 * more patterns; each pattern cuts the pieces that the one before it left, its matches and what
 * lies between them being the new pieces. The patterns of most models are hand-written scanners
 * that look at every character a bounded number of times, so that no text makes them slow; those of
 * a few are expressions, whose steps are counted. */
#ifndef RAD_PRETOKENIZER_H
#define RAD_PRETOKENIZER_H

#include "text/regex.h"

/* Returns the length (at least 1) of the first piece of the text from p to end, p < end: the match
 * at p, or, where the pattern does not match there, what lies before its next match. */
typedef size_t (*rad_split_fn)(const uint8_t *p, const uint8_t *end);

#define RAD_SPLIT_STAGES 6

typedef struct rad_pretokenizer {
    const char *names; /* of tokenizer.ggml.pre, with spaces before, between and behind */
    rad_split_fn stages[RAD_SPLIT_STAGES]; /* up to the first NULL */
    bool ignore_merges;                    /* a piece that is in the vocabulary is not merged */
    bool add_bos;                          /* the default of tokenizer.ggml.add_bos_token */
    bool no_bos;                           /* there is no default of tokenizer.ggml.bos_token_id */
    /* In place of stages, of what few models have: expressions, up to the first NULL. */
    const char *expressions[RAD_SPLIT_STAGES];
} rad_pretokenizer;

/* NULL when the name is unknown. */
const rad_pretokenizer *rad_pretokenizer_find(const char *name, size_t size);

/* A stage ready for work: one of the two is set; neither behind the last. */
typedef struct rad_cut {
    rad_split_fn split;
    const rad_regex *regex;
} rad_cut;
/* The stages of a pre-tokenizer; expressions without a scanner are compiled into the arena. */
radllm_status rad_pretokenizer_make(const rad_pretokenizer *pretokenizer, rad_arena *arena,
                                    rad_cut cuts[RAD_SPLIT_STAGES + 1], radllm_error *error);

/* The scanner of an expression as tokenizer.json files write it; NULL when there is none.
 * everywhere: of one that leaves nothing of a text unmatched. */
rad_split_fn rad_pretokenizer_find_pattern(const char *pattern, size_t size, bool everywhere);

/* The other way: the expression of a stage, NULL where files have none for it or there is no such
 * stage; and the name of the pre-tokenizer with just these stages, each a scanner or the text of an
 * expression, copied; false where there is none. */
const char *rad_pretokenizer_pattern(const rad_pretokenizer *pretokenizer, size_t stage);
bool rad_pretokenizer_name(const rad_split_fn *splits, const rad_text *texts, size_t n_stages,
                           bool ignore_merges, char name[64]);
/* An expression that a scanner of such an expression stands for. */
const char *rad_pretokenizer_expression(rad_split_fn split);
/* The scanner that a part "Digits" of a tokenizer.json is: one digit at a time. */
rad_split_fn rad_pretokenizer_digits(void);

/* Receives one piece; false stops. */
typedef bool (*rad_piece_fn)(void *user, const uint8_t *piece, size_t size);
/* Gives all pieces in order. The text must satisfy rad_utf8_is_clean. False where `give` said so or
 * an expression took too many steps (space->failed); `space` may be NULL where cuts have none. */
bool rad_pretokenize(const rad_cut *cuts, rad_regex_space *space, const uint8_t *text, size_t size,
                     rad_piece_fn give, void *user);

#endif
