/* Binding of tensors to the roles of an architecture. */
#ifndef RAD_BIND_H
#define RAD_BIND_H

#include "model/model.h"

/* Fills model->embedding, output_norm, output, layers and rope_divisors from model->source, with
 * matrices described but not yet in memory. */
radllm_status rad_bind_tensors(rad_model *model, bool file_layout, radllm_error *error);

/* leftovers.c: RADLLM_E_UNSUPPORTED where a tensor of the source is bound to nothing. It would be a
 * part of the model that is not computed, and an answer without it wrong in silence. */
radllm_status rad_check_leftovers(const rad_model *model, radllm_error *error);

/* The tensors that a model of these hyper-parameters has, without those that it may have or not
 * (biases): for plans of models that are not at hand. tied: it has no matrix for the output. Stops
 * where `give` fails. */
typedef radllm_status (*rad_give_shape)(void *user, const char *name, uint32_t n_dims,
                                        const uint64_t dims[4], radllm_error *error);
radllm_status rad_bind_list(const rad_hparams *hparams, bool tied, rad_give_shape give, void *user,
                            radllm_error *error);

#endif
