/* What a model's tensors must be, in sizes that its hyper-parameters give. */
#ifndef RAD_MODEL_SHAPES_H
#define RAD_MODEL_SHAPES_H

#include "model/model.h"

/* Sizes that shapes are written in; they depend on the layer. */
typedef enum rad_extent {
    RAD_EXTENT_NONE,
    RAD_EXTENT_WIDTH,
    RAD_EXTENT_Q,
    RAD_EXTENT_K,
    RAD_EXTENT_V,
    RAD_EXTENT_ATTENDED, /* of all heads, as the output's product takes it */
    RAD_EXTENT_Q_RANK,
    RAD_EXTENT_RANK,
    RAD_EXTENT_RANK_ROTATED,
    RAD_EXTENT_PLAIN,
    RAD_EXTENT_VALUE,
    RAD_EXTENT_PLAIN_VALUE,
    RAD_EXTENT_Q_NORM, /* a query, or all of a token */
    RAD_EXTENT_K_NORM,
    RAD_EXTENT_HEADS,
    RAD_EXTENT_FFN,
    RAD_EXTENT_EXPERTS,
    RAD_EXTENT_EXPERT_FFN,
    RAD_EXTENT_SHARED_FFN,
    RAD_EXTENT_ONE,
    RAD_EXTENT_VOCABULARY,
    RAD_EXTENT_PLACES,
    RAD_EXTENT_TYPES,
    RAD_EXTENTS
} rad_extent;

/* What a tensor must be: a matrix, a vector, or a stack of one of the two. */
typedef struct rad_shape {
    uint64_t columns, rows; /* rows is 1 for a vector */
    bool is_matrix;
    uint32_t n_experts;     /* 1: no stack */
    uint64_t first, n_part; /* of rows (a vector: values), those that are bound; n_part 0: all */
    rad_extent of_columns, of_rows, of_stack; /* what the sizes come from */
} rad_shape;

/* layer: NULL where the size does not depend on one. */
uint64_t rad_extent_of(const rad_hparams *h, const rad_layer_params *layer, rad_extent which);
/* Of one matrix, or vector, that is written in extents. */
rad_shape rad_shape_of(const rad_hparams *h, const rad_layer_params *layer, rad_extent columns,
                       rad_extent rows);
/* RADLLM_E_FORMAT, with both shapes and the key that decides, where the tensor has another one. */
radllm_status rad_shape_check(const rad_model *model, const rad_tensor *tensor,
                              const rad_shape *wanted, radllm_error *error);

#endif
