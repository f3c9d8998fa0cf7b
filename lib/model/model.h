/* A loaded model: hyper-parameters, weights bound to roles, vocabulary. Immutable after loading,
 * but for the matrices that become ready behind the first tokens. */
#ifndef RAD_MODEL_H
#define RAD_MODEL_H

#include <stdatomic.h>

#include "base/platform.h"
#include "kernels/kernels.h"
#include "model/hparams.h"
#include "text/tokenizer.h"

/* The matrices and vectors of a layer. */
typedef enum rad_weight_role {
    RAD_WEIGHT_ATTENTION_NORM,
    RAD_WEIGHT_ATTENTION_NORM_BIAS,
    /* Latent attention: short vectors, and the products that make queries, keys and values. */
    RAD_WEIGHT_QUERY_A,
    RAD_WEIGHT_QUERY_A_NORM,
    RAD_WEIGHT_QUERY_B,
    RAD_WEIGHT_KV_A,
    RAD_WEIGHT_KV_A_NORM,
    RAD_WEIGHT_KV_B,
    RAD_WEIGHT_KEY_B, /* a matrix for each head: from queries to short vectors */
    RAD_WEIGHT_VALUE_B,
    RAD_WEIGHT_QUERY,
    RAD_WEIGHT_KEY,
    RAD_WEIGHT_VALUE,
    RAD_WEIGHT_QUERY_BIAS,
    RAD_WEIGHT_KEY_BIAS,
    RAD_WEIGHT_VALUE_BIAS,
    RAD_WEIGHT_QUERY_NORM,
    RAD_WEIGHT_KEY_NORM,
    RAD_WEIGHT_QUERY_NORM_BIAS,
    RAD_WEIGHT_KEY_NORM_BIAS,
    RAD_WEIGHT_OUTPUT,
    RAD_WEIGHT_OUTPUT_BIAS,
    RAD_WEIGHT_POST_ATTENTION_NORM,
    RAD_WEIGHT_ATTENTION_SUB_NORM,
    RAD_WEIGHT_FFN_SUB_NORM,
    RAD_WEIGHT_POST_ATTENTION_NORM_BIAS,
    RAD_WEIGHT_SINKS, /* a score for each head, without a value */
    RAD_WEIGHT_FFN_NORM,
    RAD_WEIGHT_FFN_NORM_BIAS,
    RAD_WEIGHT_GATE,
    RAD_WEIGHT_UP,
    RAD_WEIGHT_DOWN,
    RAD_WEIGHT_GATE_BIAS,
    RAD_WEIGHT_UP_BIAS,
    RAD_WEIGHT_DOWN_BIAS,
    RAD_WEIGHT_ROUTER,
    RAD_WEIGHT_ROUTER_BIAS,
    RAD_WEIGHT_CHOICE_BIAS, /* added to the scores that experts are chosen by */
    RAD_WEIGHT_EXPERT_GATES,
    RAD_WEIGHT_EXPERT_UPS,
    RAD_WEIGHT_EXPERT_DOWNS,
    RAD_WEIGHT_EXPERT_GATE_BIASES,
    RAD_WEIGHT_EXPERT_UP_BIASES,
    RAD_WEIGHT_EXPERT_DOWN_BIASES,
    RAD_WEIGHT_SHARED_ROUTER, /* one row: how much of the shared expert a token takes */
    RAD_WEIGHT_SHARED_GATE,
    RAD_WEIGHT_SHARED_UP,
    RAD_WEIGHT_SHARED_DOWN,
    RAD_WEIGHT_POST_FFN_NORM,
    RAD_WEIGHT_POST_FFN_NORM_BIAS,
    RAD_LAYER_WEIGHTS
} rad_weight_role;

/* An expert's matrix where each is a tensor of its own, as files of 2023 have them. */
typedef struct rad_weight_part {
    const rad_tensor *tensor;
    const uint8_t *data; /* its rows in memory */
} rad_weight_part;

/* A weight in memory: a matrix, or a vector of floats (values != NULL). Absent: both NULL. The
 * experts of a layer are one weight, their rows one behind the other, and so are matrices that each
 * head has one of. */
typedef struct rad_weight {
    const rad_tensor *tensor; /* in the source; NULL: absent; of parts the first one */
    rad_matrix matrix;
    rad_weight_part *parts; /* a tensor for each expert; NULL: one for all */
    const float *values;
    uint64_t offset;                /* in the block of copied weights */
    uint32_t order;                 /* in which weights are read */
    uint64_t first;                 /* row of the tensor (a vector: value) that it begins with */
    uint64_t n_values;              /* of a vector */
    uint32_t n_experts;             /* or heads, whose matrices it holds; 1: it is no stack */
    bool by_head;                   /* heads: all are used */
    bool merged;                    /* adapters are added to it when it is read: merge.h */
    float scale;                    /* of a matrix: its products are multiplied with it; 1: none */
    float threshold;                /* of outliers of activations: RAD_FAMILY_INT8 */
    const float *scales;            /* of a stack, one for each of its matrices; NULL: `scale` */
    const rad_tensor *scale_tensor; /* where that stood; NULL: inside the tensor, or nowhere */
} rad_weight;

/* Where its bytes begin in its tensor, and how many they are (where experts have tensors of their
 * own: how many they have together). */
static inline uint64_t rad_weight_file_bytes(const rad_weight *weight)
{
    uint64_t rows = weight->matrix.n_rows, columns = weight->matrix.n_columns;
    return rows != 0 ? rad_matrix_bytes(weight->matrix.type, RAD_LAYOUT_FILE, rows, columns)
                     : weight->n_values * rad_type_find(weight->tensor->type)->block_bytes;
}
static inline uint64_t rad_weight_tensor_offset(const rad_weight *weight)
{
    uint64_t one =
        weight->matrix.n_rows != 0
            ? rad_matrix_bytes(weight->matrix.type, RAD_LAYOUT_FILE, 1, weight->matrix.n_columns)
            : rad_type_find(weight->tensor->type)->block_bytes;
    return weight->first * one;
}

/* Columns of the matrix itself, where its rows hold more or hold them in another order. */
static inline uint32_t rad_weight_inputs(const rad_weight *weight)
{
    return (uint32_t)weight->tensor->dims[0];
}

/* The order in which an expert's rows (0: of a weight that is no stack) have them, matrix.n_columns
 * numbers; NULL: their own. */
static inline const uint32_t *rad_weight_columns(const rad_weight *weight, uint32_t expert)
{
    uint32_t n;
    return rad_tensor_columns(weight->parts != NULL ? weight->parts[expert].tensor : weight->tensor,
                              &n);
}

/* Rows of one expert; of a weight that is no stack, all. */
static inline uint32_t rad_weight_rows(const rad_weight *weight)
{
    return weight->matrix.n_rows / weight->n_experts;
}

/* The rows of one expert (0: of a weight that is no stack) in memory. */
static inline const uint8_t *rad_weight_expert_data(const rad_weight *weight, uint32_t expert)
{
    const rad_matrix *matrix = &weight->matrix;
    if (weight->parts != NULL)
        return weight->parts[expert].data;
    return matrix->data + expert * rad_matrix_bytes(matrix->type, matrix->layout,
                                                    rad_weight_rows(weight), matrix->n_columns);
}

typedef struct rad_layer {
    rad_weight weights[RAD_LAYER_WEIGHTS];
} rad_layer;

/* Does opening a model wait until its weights are copied? AUTO: only where they are few. */
typedef enum rad_wait { RAD_WAIT_AUTO, RAD_WAIT_YES, RAD_WAIT_NO } rad_wait;

typedef struct rad_loader rad_loader;

/* An adapter that changes some of a model's matrices: model/adapter.h. */
typedef struct rad_adapter rad_adapter;

/* The most that a session can have: what stands for them must fit a block of the prefix tree. */
#define RAD_ADAPTERS_MAX 15

/* Adapters that are used together, added in this order. */
typedef struct rad_adapter_use {
    rad_adapter *adapter;
    float scale; /* times that of each pair; never 0 */
} rad_adapter_use;
typedef struct rad_adapter_set {
    uint32_t n;
    rad_adapter_use uses[RAD_ADAPTERS_MAX];
} rad_adapter_set;

typedef struct rad_model_settings {
    bool map;         /* load=map */
    bool map_file;    /* map where the source is a file */
    bool map_large;   /* load=auto: map what is larger than this machine's memory */
    rad_wait wait;    /* load_wait */
    bool file_layout; /* layout=file */
    bool any_layout;  /* layout=auto: lanes, but not larger than the file where memory is short */
    bool vocabulary_only;
    bool any_isa;       /* isa=auto: the best one */
    rad_isa isa;        /* else exactly this one */
    bool nf4_int8;      /* nf4=int8 */
    uint32_t n_threads; /* for loading; 0: all processors */
    uint64_t budget;    /* bytes; 0: no limit */
} rad_model_settings;

typedef struct rad_model {
    rad_host host;
    rad_source *source;
    rad_arena arena; /* structures below, vectors, rope divisors */
    rad_tokenizer *tokenizer;
    const rad_kernels *kernels;
    bool vocabulary_only;
    bool mapped;
    bool behind;       /* matrices are copied behind the first tokens */
    rad_layout layout; /* of the matrices that have a choice */
    bool nf4_int8;     /* NF4 is to be rounded as it is read */
    bool rounds_nf4;   /* and there is some */

    rad_hparams hparams;
    rad_weight embedding, output_norm, output; /* output: the embedding itself when tied */
    rad_weight output_bias;
    rad_weight positions, output_norm_bias; /* where the family has them */
    rad_weight token_types;
    rad_weight embedding_norm, embedding_norm_bias;
    rad_layer *layers;
    const float *rope_divisors;      /* n_pairs, or NULL */
    const float *long_rope_divisors; /* longrope: the same for long contexts */

    uint8_t *weights; /* one block for all copied weights */
    size_t weight_bytes;
    uint64_t n_parameters, n_active_parameters; /* active: of the experts, those that are used */
    uint64_t active_bytes;                      /* of matrices, that one token reads */
    uint32_t n_weights;
    atomic_uint n_ready;      /* weights of a smaller order are in memory */
    rad_loader *loader;       /* NULL: all was read before */
    atomic_uint n_adapters;   /* that were opened for it so far */
    rad_adapter_set adapters; /* that sessions begin with */
    rad_adapter_set merged;   /* that are part of the weights */
} rad_model;

/* Binds and checks everything without reading weights; *bytes receives the memory that the weights
 * will take. The model can then be freed, or filled by rad_model_fill(). */
radllm_status rad_model_bind(const rad_host *host, rad_source *source,
                             const rad_model_settings *settings, rad_model **out,
                             radllm_error *error);
/* Bytes of weights in memory after filling; 0 for a mapped model but for its vectors. */
uint64_t rad_model_weight_bytes(const rad_model *model);
/* Reads the weights, or their vectors now and their matrices behind (model->behind). */
radllm_status rad_model_fill(rad_model *model, const rad_model_settings *settings,
                             const radllm_cancel *cancel, radllm_error *error);
void rad_model_free(rad_model *model);

/* The frequency of a pair's rotation in a session of this context, with the file's own divisor
 * where it has one; `local`: in the layers that rotate by a base of their own. */
double rad_model_rope_frequency(const rad_model *model, bool local, uint32_t context,
                                uint32_t pair);

/* Whether a weight is in memory. While it is not, its rows are read from the file, in the file's
 * layout; RADLLM_E_IO when the file has become shorter. */
bool rad_model_is_ready(const rad_model *model, const rad_weight *weight);
/* Whole rows of one of a weight's tensors, as its kernels take them in the file's layout. */
radllm_status rad_weight_read(const rad_model *model, const rad_weight *weight,
                              const rad_tensor *tensor, uint64_t offset, void *buffer, size_t size,
                              radllm_error *error);
/* The rows are of one expert, where they are of a stack. */
radllm_status rad_model_read_rows(const rad_model *model, const rad_weight *weight, uint32_t first,
                                  uint32_t n, void *buffer, radllm_error *error);
/* RADLLM_E_IO where the file was written to while its matrices were read behind the first tokens.
 */
radllm_status rad_model_check(const rad_model *model, radllm_error *error);
/* Around each step that computes with the model, so that the first one is not disturbed. */
void rad_model_step_begins(const rad_model *model);
void rad_model_step_ends(const rad_model *model);
/* Waits until nothing is read any more: all matrices are ready, or reading failed. */
void rad_model_wait(const rad_model *model);

/* True when any matrix is F32: such a model's cache is F32 too under cache=auto. */
bool rad_model_is_f32(const rad_model *model);

#endif
