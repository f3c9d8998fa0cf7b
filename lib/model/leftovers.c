/* Tensors of a model that nothing uses. */
#include "model/bind.h"

#include <string.h>

/* The tensors of a weight, in a table of all tensors. */
static void mark(const rad_model *model, const rad_weight *weight, bool *is_bound)
{
    const rad_tensor *found[] = {weight->tensor, weight->scale_tensor};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        if (found[i] != NULL)
            is_bound[rad_source_tensor_index(model->source, found[i])] = true;
    }
    for (uint32_t e = 0; weight->parts != NULL && e < weight->n_experts; e++)
        is_bound[rad_source_tensor_index(model->source, weight->parts[e].tensor)] = true;
}

static void mark_all(const rad_model *model, bool *is_bound)
{
    const rad_weight *ends[] = {&model->embedding,   &model->embedding_norm,
                                &model->positions,   &model->embedding_norm_bias,
                                &model->output_norm, &model->output_norm_bias,
                                &model->output,      &model->output_bias,
                                &model->token_types};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        mark(model, ends[i], is_bound);
    for (uint32_t l = 0; l < model->hparams.n_layers; l++) {
        for (int role = 0; role < RAD_LAYER_WEIGHTS; role++)
            mark(model, &model->layers[l].weights[role], is_bound);
    }
}

/* Tables that old converters stored and that follow from the metadata; scales for activations in 4
 * bits, and for keys and values in 8, which are not computed with here. */
static bool is_redundant(const rad_model *model, const rad_tensor *tensor)
{
    const rad_latent *latent = &model->hparams.latent;
    if (latent->rank > 0 && !latent->compressed && /* the same as attn_kv_b */
        (rad_ends_with(tensor->name.data, tensor->name.size, ".attn_k_b.weight") ||
         rad_ends_with(tensor->name.data, tensor->name.size, ".attn_v_b.weight")))
        return true;
    return strcmp(tensor->name.data, "rope_freqs.weight") == 0 ||
           (model->hparams.rope.scaling == RAD_ROPE_LONG &&
            strncmp(tensor->name.data, "rope_factors_", 13) == 0) ||
           rad_ends_with(tensor->name.data, tensor->name.size, "rotary_emb.inv_freq") ||
           rad_ends_with(tensor->name.data, tensor->name.size, ".input_scale") ||
           rad_ends_with(tensor->name.data, tensor->name.size, ".k_scale") ||
           rad_ends_with(tensor->name.data, tensor->name.size, ".v_scale");
}

radllm_status rad_check_leftovers(const rad_model *model, radllm_error *error)
{
    uint64_t n = rad_source_n_tensors(model->source);
    bool *is_bound = rad_alloc_zero(&model->host.allocator, (size_t)n);
    if (is_bound == NULL)
        return rad_fail_memory(error, (size_t)n);
    mark_all(model, is_bound);
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < n && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(model->source, i);
        char quoted[RAD_QUOTE_SIZE];
        if (!is_bound[i] && !is_redundant(model, tensor))
            status =
                rad_fail(error, RADLLM_E_UNSUPPORTED,
                         "%s: tensor \"%s\" has no place in a model of architecture %s with "
                         "%u layers as this version computes it: fetch all files of one model, or "
                         "take a newer version",
                         rad_source_label(model->source),
                         rad_quote(quoted, tensor->name.data, tensor->name.size),
                         model->hparams.architecture->name, model->hparams.n_layers);
    }
    rad_free(&model->host.allocator, is_bound, (size_t)n);
    return status;
}
