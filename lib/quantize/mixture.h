/* Which type a tensor gets in a file of a type: the mixtures of llama.cpp's quantizer, as tables.
 */
#ifndef RAD_MIXTURE_H
#define RAD_MIXTURE_H

#include "io/model_source.h"

/* A kind of file: the type that most matrices have, and how others are chosen. */
typedef struct rad_file_type {
    const char *name; /* "Q4_K_M" */
    uint32_t number;  /* general.file_type */
    rad_type type;
    bool copy; /* every tensor stays as it is */
} rad_file_type;

/* All of them in the order of RAD_FILE_TYPE_NAMES. */
extern const rad_file_type rad_file_types[];
/* clang-format off */
#define RAD_FILE_TYPE_NAMES                                                                        \
    "F32|F16|BF16|Q8_0|Q6_K|Q5_K_M|Q5_K_S|Q5_1|Q5_0|Q4_K_M|Q4_K_S|IQ4_NL|IQ4_XS|MXFP4|MXFP4_MOE|" \
    "NVFP4|Q4_1|Q4_0|Q3_K_L|Q3_K_M|Q3_K_S|Q2_K|Q2_K_S|TQ2_0|TQ1_0|Q2_0|Q1_0|COPY"
/* clang-format on */
#define RAD_FILE_TYPES        28
#define RAD_FILE_TYPE_DEFAULT 9 /* Q4_K_M */

/* What the rules ask of a model. */
typedef struct rad_mixture_model {
    int64_t n_layers, n_experts;
    int64_t n_heads, n_kv_heads; /* of the first layer */
    int64_t n_values;            /* tensors that make values */
    bool is_tied;                /* no matrix for the output: the embedding is taken */
    bool has_importance;
    bool is_70b;
} rad_mixture_model;

radllm_status rad_mixture_model_read(const rad_source *source, bool has_importance,
                                     rad_mixture_model *out, radllm_error *error);

/* False for vectors and for the few matrices that every file keeps as they are: norms, routers,
 * positions, small convolutions. */
bool rad_mixture_applies(const rad_tensor *tensor);

/* The type of a tensor to which the mixtures apply. `rank`: how many tensors of its list stand in
 * earlier layers. */
rad_type rad_mixture_type(const rad_file_type *file, const rad_mixture_model *model,
                          const rad_tensor *tensor, int64_t rank);
/* Whether a tensor makes values, alone or with others (attn_v, attn_qkv, attn_kv_b). */
bool rad_mixture_makes_values(const rad_tensor *tensor);
/* Rules count tensors, since not every layer has each: what makes values is list 0, ffn_down list
 * 1; -1: no list. */
#define RAD_MIXTURE_LISTS 2
int rad_mixture_list(const rad_tensor *tensor);
/* The layer in "blk.12.attn_v.weight"; -1 for none. */
int64_t rad_mixture_layer(const rad_tensor *tensor);

/* The type nearest to `type` whose blocks divide a row. */
rad_type rad_mixture_fitting(rad_type type, uint64_t row);

#endif
