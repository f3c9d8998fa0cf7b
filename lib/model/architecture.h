/* lib/model: what a model is: the table of architectures, hyper-parameters, the binding of tensors
 * to roles, loading, the memory plan. Nothing here computes.
 *
 * An architecture is a row of a table. A family that brings no new operation is added by a row and
 * a golden test. */
#ifndef RAD_ARCHITECTURE_H
#define RAD_ARCHITECTURE_H

#include "base/base.h"
#include "io/model_source.h"
#include "kernels/route.h"

/* Which pairs of a head's values rotate together. */
typedef enum rad_rotary_layout {
    RAD_ROTARY_NONE,        /* positions are learned, or biases of attention */
    RAD_ROTARY_INTERLEAVED, /* (2i, 2i+1): files whose q and k rows were reordered by converters */
    RAD_ROTARY_HALVES       /* (i, i + n/2) */
} rad_rotary_layout;

/* What stands between the matrices of a feed-forward. */
typedef enum rad_gate {
    RAD_GATE_SILU,      /* down(silu(gate x) * up x): SwiGLU, Shazeer 2020 */
    RAD_GATE_GELU_TANH, /* the same with GELU in the tanh form */
    RAD_GATE_RELU2,     /* the same with the square of max(0, gate): BitNet */
    RAD_GATE_CLAMPED,   /* gpt-oss: silu with a slope of 1.702 of min(gate, 7), times up + 1 with up
                           held to -7..7 */
    RAD_GATE_NONE,      /* down(gelu(up x)), in the tanh form: GPT-2, BLOOM */
    RAD_GATE_NONE_ERF   /* the same with GELU itself: MPT */
} rad_gate;

static inline bool rad_has_gate(rad_gate gate)
{
    return gate != RAD_GATE_NONE && gate != RAD_GATE_NONE_ERF;
}

/* Whether scores have the biases of ALiBi, in place of positions. */
typedef enum rad_alibi {
    RAD_ALIBI_NEVER,
    RAD_ALIBI_ALWAYS, /* with a greatest bias of 8 where the file has no key */
    RAD_ALIBI_KEYED   /* the file must say; 0: positions are learned instead */
} rad_alibi;

/* Which layers look at a window of keys only, where the file gives a window. */
typedef enum rad_window_pattern {
    RAD_WINDOW_NEVER, /* a window key in the file is not used by this family */
    RAD_WINDOW_ALL,   /* every layer */
    RAD_WINDOW_EVEN,  /* layers 0, 2, 4, ... */
    RAD_WINDOW_MOST   /* all but every sixth one, or as the file's number says */
} rad_window_pattern;

/* Whether the feed-forward is a mixture of experts. */
typedef enum rad_experts_kind {
    RAD_EXPERTS_NEVER,
    RAD_EXPERTS_COUNTED, /* where the file counts experts (expert_count above 0) */
    RAD_EXPERTS_ALWAYS   /* in all layers, or all but the first leading_dense_block_count */
} rad_experts_kind;

/* Experts that every token goes to, beside the chosen ones. */
typedef enum rad_shared_experts {
    RAD_SHARED_NEVER,
    RAD_SHARED_GATED, /* one, times sigmoid of a product of its own */
    RAD_SHARED_PLAIN  /* one of expert_shared_count times the experts' size, added as it is */
} rad_shared_experts;

typedef struct rad_architecture {
    const char *name; /* as in general.architecture */
    rad_rotary_layout rotary;
    rad_gate gate;
    rad_window_pattern windows;
    uint32_t default_window; /* where the file has no key; 0: none */
    bool layer_norms;        /* LayerNorm, maybe with biases, in place of RMS norm */
    bool parallel;           /* attention and feed-forward have one norm and are added together */
    bool output_bias;        /* logits have biases, where present */
    bool learned_positions;  /* a table of positions is added to the embeddings */
    rad_alibi alibi;
    bool embedding_norm;    /* a norm behind the embeddings (token_embd_norm) */
    bool clamped_qkv;       /* queries, keys and values are held where the file says so */
    bool qk_layer_norms;    /* LayerNorm over all query heads, and all key heads, where present */
    bool fused_qkv;         /* queries, keys and values always are rows of one tensor (attn_qkv) */
    bool qkv_biases;        /* queries, keys and values have biases, also in a bare configuration */
    bool fused_gate_up;     /* gates and ups are rows of one tensor (ffn_up), gates first */
    bool latent;            /* multi-head latent attention */
    bool sinks;             /* a learned score for each head joins each softmax (attn_sinks) */
    bool yarn_exact;        /* yarn's borders are not rounded to whole pairs */
    const char *ffn_norm;   /* the tensor's name where it is not ffn_norm */
    bool head_norms;        /* RMS norm of each query and key head (attn_q_norm, attn_k_norm) */
    bool sub_norms;         /* a norm before the output's product and before the down product */
    bool sandwich_norms;    /* a second norm behind attention and feed-forward */
    bool scaled_embeddings; /* embeddings times sqrt(width) */
    double local_theta;     /* layers with a window rotate by this base, not scaled, where the file
                               gives no other; 0: as all layers do */
    bool capped; /* the file may have a soft cap of logits, and has none where it does not say */
    float default_attention_cap;        /* soft cap of attention scores; 0: none */
    float default_logit_cap;            /* soft cap of the logits; 0: none */
    uint32_t width_scaled_query_layers; /* with this many layers queries are scaled by
                                           1/sqrt(width / heads), not 1/sqrt(head_dim); 0: never */
    rad_experts_kind experts;
    rad_shared_experts shared_experts;
    /* Where the file has no keys expert_gating_func and expert_weights_norm. */
    rad_gating gating;
    bool normalise_experts;
    /* BERT: the stream itself is normed, behind the embeddings and whenever something was added;
     * there are no logits, and tokens see those behind them where the file does not say. */
    bool encoder;
} rad_architecture;

/* NULL when the table has no such row. */
const rad_architecture *rad_architecture_find(const char *name, size_t size);
/* The names of all rows, comma-separated, for messages. */
void rad_architecture_names(char *out, size_t size);

#endif
