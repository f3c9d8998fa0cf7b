/* DoRA of latent attention: the heads' products of keys are stored transposed, so that what has a
 * length is a column of a head's matrix, and not a row. */
#ifndef RAD_MERGE_COLUMNS_H
#define RAD_MERGE_COLUMNS_H

#include "model/adapter.h"

/* Whether a pair has lengths, and they are those of the weight's columns. */
static inline bool rad_adapter_has_columns(const rad_model *model, const rad_weight *weight,
                                           const rad_adapter_pair *pair)
{
    return pair->lengths.n_rows > 0 && weight->by_head &&
           (weight - model->layers[0].weights) % RAD_LAYER_WEIGHTS == RAD_WEIGHT_KEY_B;
}

/* What the columns of a head's matrix are multiplied with to get their lengths, as in rows: that of
 * the model's own and this product (times `by`) alone is 1. out: room for a row. */
radllm_status rad_merge_columns(const rad_model *model, const rad_weight *weight,
                                const rad_adapter_pair *pair, uint32_t head, float by, float *out,
                                radllm_error *error);

#endif
