/* Hyper-parameters of one model, read from the metadata and checked. */
#ifndef RAD_HPARAMS_H
#define RAD_HPARAMS_H

#include "model/architecture.h"

/* Bounds that no real model reaches, so that arithmetic on them cannot overflow 64 bits. */
#define RAD_MAX_LAYERS   4096
#define RAD_MAX_WIDTH    (1u << 20)
#define RAD_MAX_FFN      (1u << 22)
#define RAD_MAX_HEADS    4096
#define RAD_MAX_HEAD_DIM 1024
#define RAD_MAX_LATENT   4096
#define RAD_MAX_CONTEXT  (1u << 26)

typedef struct rad_layer_params {
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t ffn_length; /* 0: the layer has experts */
    bool experts;
    uint32_t window; /* keys that a query sees, itself included; 0: all */
    bool local;      /* it rotates by rad_hparams.local_rope */
} rad_layer_params;

typedef enum rad_rope_scaling {
    RAD_ROPE_PLAIN,
    RAD_ROPE_LINEAR,
    RAD_ROPE_YARN,   /* Peng et al. 2023 */
    RAD_ROPE_LLAMA3, /* long waves are divided, short ones not, those between partly */
    RAD_ROPE_LONG,   /* longrope: Ding et al. 2024; a divisor for each pair, of two lists */
    RAD_ROPE_DYNAMIC /* "NTK-aware": a base that grows with the context */
} rad_rope_scaling;

typedef struct rad_rope_params {
    double theta;
    uint32_t n_pairs; /* half of the rotated values of a head */
    rad_rope_scaling scaling;
    double factor;           /* positions are divided by it; 1: none */
    double original_context; /* yarn, llama3, longrope, dynamic */
    double attention_factor, extension_factor, beta_fast, beta_slow;
    double low_frequency, high_frequency; /* llama3: waves in the original context */
    bool exact;                           /* yarn: the borders of its ramp are not rounded */
    bool level; /* yarn: rotations are as long as attention_factor says, whatever the factor */
} rad_rope_params;

/* Multi-head latent attention (DeepSeek-V2): keys and values of all heads are products of one short
 * vector for each token, and a part of the key that rotates is common to all heads. Where files
 * have the two products apart, the cache holds the short vector and the rotated part; a head's
 * query is multiplied with its key product instead, and what it attends to with its value product.
 * Where they have one product, the cache holds each head's keys and values. */
typedef struct rad_latent {
    uint32_t rank;       /* of the short vector; 0: this is no latent attention */
    uint32_t query_rank; /* queries are products of a short vector of their own; 0: of the stream */
    uint32_t plain, rotated; /* the two parts of a head's query and key, in this order */
    uint32_t value;          /* of a head */
    bool compressed;         /* the cache holds the short vector */
} rad_latent;

/* How the vectors of a text's tokens become one. The values are those of GGUF, plus one. */
typedef enum rad_pooling {
    RAD_POOLING_UNKNOWN, /* the file does not say: it is no embedding model */
    RAD_POOLING_NONE,    /* they do not */
    RAD_POOLING_MEAN,
    RAD_POOLING_CLS, /* the first token's */
    RAD_POOLING_LAST,
    RAD_POOLING_RANK /* a score by a further layer */
} rad_pooling;

/* "" where it is not known; static. */
const char *rad_pooling_name(rad_pooling pooling);

typedef struct rad_hparams {
    const rad_architecture *architecture;
    rad_rotary_layout
        rotary; /* the architecture's, or halves where a folder's rows are as trained */
    uint32_t n_layers, width, n_vocab, context_length;
    uint32_t head_dim;  /* of queries and keys, as attention takes and the cache holds them */
    uint32_t value_dim; /* of values, and of what a head of attention gives */
    rad_latent latent;
    uint32_t max_heads, max_kv_heads, max_ffn; /* over all layers */
    float norm_epsilon, attention_cap, logit_cap, query_scale, embedding_scale;
    float max_alibi_bias; /* 0: no ALiBi */
    float qkv_clamp;      /* queries, keys and values are held to +- it; 0: they are not */
    rad_router router;    /* n_experts 0: dense */
    uint32_t expert_ffn;  /* feed-forward length of an expert */
    uint32_t shared_ffn;  /* of the shared expert; 0: none */
    rad_rope_params rope;
    rad_rope_params local_rope; /* of layers that are `local` */
    bool bidirectional;         /* tokens see those behind them as well */
    rad_pooling pooling;        /* of embeddings */
    bool plain_embeddings;      /* they are not brought to length 1 where nobody asks */
    uint32_t n_token_types;     /* vectors of which the first one is added to each token; 0: none */
    rad_layer_params *layers;   /* n_layers, in the arena that was given */
} rad_hparams;

/* The row that general.architecture names; RADLLM_E_UNSUPPORTED where there is none. */
radllm_status rad_hparams_architecture(const rad_source *source, const rad_architecture **out,
                                       radllm_error *error);

/* Reads and checks. n_vocab is the tokenizer's size, or 0 when the file has none. */
radllm_status rad_hparams_read(const rad_source *source, uint32_t n_vocab, rad_arena *arena,
                               rad_hparams *out, radllm_error *error);

/* Whether a layer's feed-forward is a mixture of experts. */
bool rad_has_experts(const rad_hparams *hparams, uint32_t layer);

/* ALiBi (Press et al. 2022): a key at distance d before the query has slope * d taken from its
 * score. With n heads, a power of two, head h has the slope 2^(-bias (h + 1) / n). With other
 * numbers the first heads have those of the greatest power of two below, and the others those of
 * twice that power at h = 0, 2, 4, ..., as in the paper's own program. */
float rad_alibi_slope(float max_bias, uint32_t n_heads, uint32_t head);

/* Where in a query or key, as attention takes it, the values begin that rotate. */
uint32_t rad_rotated_first(const rad_hparams *hparams);

/* The rotation of pair `pair` at a position: angle = position * frequency, cosine and sine times
 * the attention factor. `divisor` is the file's own divisor of this frequency (llama3 scaling,
 * tensor rope_freqs.weight; longrope), 1 without. What depends on a text's length follows from
 * `context`, the number of positions that a session may count, and so does not change while it
 * lasts. One scalar double-precision function, so that tables are the same everywhere. */
double rad_rope_frequency(const rad_rope_params *rope, uint32_t context, uint32_t pair,
                          double divisor);
/* longrope: whether the list for long contexts is taken. */
bool rad_rope_is_long(const rad_rope_params *rope, uint32_t context);
/* Sessions of two contexts rotate alike where this is the same; 0: whatever their contexts. */
uint32_t rad_rope_choice(const rad_rope_params *rope, uint32_t context);
float rad_rope_magnitude(const rad_rope_params *rope);

#endif
