/* Attention policies: which keys a token sees, what becomes of the others, and so how much memory a
 * sequence takes. What is seen and what is forgotten follows from absolute positions alone. */
#ifndef RAD_POLICY_H
#define RAD_POLICY_H

#include "model/hparams.h"

/* Positions that a sequence can have where its policy forgets. */
#define RAD_MAX_POSITIONS 0xFFFF0000u

typedef enum rad_attention_kind {
    RAD_ATTENTION_AUTO, /* what the model's metadata says, layer by layer */
    RAD_ATTENTION_FULL, /* all keys, in all layers */
    RAD_ATTENTION_WINDOW,
    RAD_ATTENTION_SINKS,    /* StreamingLLM: Xiao et al. 2023 */
    RAD_ATTENTION_RECOMPUTE /* keys and values are rebuilt from the last tokens */
} rad_attention_kind;

/* Numbers that a kind does not use are 0. */
typedef struct rad_attention_policy {
    rad_attention_kind kind;
    uint32_t window; /* the last positions that a token sees, its own included */
    uint32_t sinks;  /* and the first ones */
    uint32_t period; /* recompute: positions from one rebuilding to the next */
} rad_attention_policy;

/* What the host asked for, before defaults: -1 where it said nothing. */
typedef struct rad_attention_options {
    rad_attention_kind kind;
    int64_t window, sinks, period;
} rad_attention_options;

/* Fills in defaults and checks; `unlimited`: positions beyond those the model was made for are
 * allowed. RADLLM_E_ARGUMENT for numbers that do not belong to the policy or to the model,
 * RADLLM_E_LIMIT for more positions than it was made for. */
radllm_status rad_policy_make(const rad_hparams *hparams, const rad_attention_options *asked,
                              bool unlimited, rad_attention_policy *policy, radllm_error *error);

/* "auto", "full", ...; static. */
const char *rad_policy_name(const rad_attention_policy *policy);

/* Whether a sequence may go on for ever: no layer sees, and no position counts, more than a bound.
 */
bool rad_policy_is_endless(const rad_attention_policy *policy, const rad_hparams *hparams);

/* How far apart a token and what it sees can stand, and 1, in a session of this context: what
 * rotations follow from, where they depend on a text's length. */
uint32_t rad_policy_length(const rad_attention_policy *policy, uint32_t context);

/* What a token of a layer sees: the first `sinks` positions and the last `window`, its own
 * included; window 0: all. */
typedef struct rad_reach {
    uint32_t window, sinks;
} rad_reach;
rad_reach rad_policy_reach(const rad_attention_policy *policy, uint32_t own_window);

/* The first position that a token at `position` sees and from which positions are counted; 0 but
 * for recompute. */
uint32_t rad_policy_base(const rad_attention_policy *policy, uint32_t position);
/* How many positions from `position` on have the same base. */
uint32_t rad_policy_segment(const rad_attention_policy *policy, uint32_t position);

#endif
