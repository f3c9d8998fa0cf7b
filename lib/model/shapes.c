#include "model/shapes.h"

#include <stdio.h>
#include <string.h>

/* The keys that they come from, the one that decides first. */
static const char *const extent_keys[RAD_EXTENTS] = {
    [RAD_EXTENT_WIDTH] = "embedding_length",
    [RAD_EXTENT_Q] = "attention.head_count and attention.key_length",
    [RAD_EXTENT_K] = "attention.head_count_kv and attention.key_length",
    [RAD_EXTENT_V] = "attention.head_count_kv and attention.value_length",
    [RAD_EXTENT_ATTENDED] = "attention.head_count and attention.value_length",
    [RAD_EXTENT_Q_RANK] = "attention.q_lora_rank",
    [RAD_EXTENT_RANK] = "attention.kv_lora_rank",
    [RAD_EXTENT_RANK_ROTATED] = "attention.kv_lora_rank and rope.dimension_count",
    [RAD_EXTENT_PLAIN] = "attention.key_length_mla",
    [RAD_EXTENT_VALUE] = "attention.value_length_mla",
    [RAD_EXTENT_PLAIN_VALUE] = "attention.head_count, key_length and value_length",
    [RAD_EXTENT_Q_NORM] = "attention.key_length",
    [RAD_EXTENT_K_NORM] = "attention.key_length",
    [RAD_EXTENT_HEADS] = "attention.head_count",
    [RAD_EXTENT_FFN] = "feed_forward_length",
    [RAD_EXTENT_EXPERTS] = "expert_count",
    [RAD_EXTENT_EXPERT_FFN] = "expert_feed_forward_length",
    [RAD_EXTENT_SHARED_FFN] = "expert_shared_feed_forward_length",
    [RAD_EXTENT_VOCABULARY] = "vocab_size or the number of tokens",
    [RAD_EXTENT_PLACES] = "context_length",
    [RAD_EXTENT_TYPES] = "tokenizer.ggml.token_type_count"};

uint64_t rad_extent_of(const rad_hparams *h, const rad_layer_params *layer, rad_extent which)
{
    const rad_latent *latent = &h->latent;
    switch (which) {
    case RAD_EXTENT_NONE:
    case RAD_EXTENT_ONE:
        return 1;
    case RAD_EXTENT_WIDTH:
        return h->width;
    case RAD_EXTENT_Q:
        return (uint64_t)layer->n_heads *
               (latent->rank > 0 ? latent->plain + latent->rotated : h->head_dim);
    case RAD_EXTENT_K:
        return (uint64_t)layer->n_kv_heads * h->head_dim;
    case RAD_EXTENT_V:
        return (uint64_t)layer->n_kv_heads * h->value_dim;
    case RAD_EXTENT_ATTENDED:
        return (uint64_t)layer->n_heads * (latent->rank > 0 ? latent->value : h->value_dim);
    case RAD_EXTENT_Q_RANK:
        return latent->query_rank;
    case RAD_EXTENT_RANK:
        return latent->rank;
    case RAD_EXTENT_RANK_ROTATED:
        return latent->rank + latent->rotated;
    case RAD_EXTENT_PLAIN:
        return latent->plain;
    case RAD_EXTENT_VALUE:
        return latent->value;
    case RAD_EXTENT_PLAIN_VALUE:
        return (uint64_t)layer->n_heads * (latent->plain + latent->value);
    case RAD_EXTENT_Q_NORM:
        return (uint64_t)(h->architecture->qk_layer_norms ? layer->n_heads : 1) * h->head_dim;
    case RAD_EXTENT_K_NORM:
        return (uint64_t)(h->architecture->qk_layer_norms ? layer->n_kv_heads : 1) * h->head_dim;
    case RAD_EXTENT_HEADS:
        return layer->n_heads;
    case RAD_EXTENT_FFN:
        return layer->ffn_length;
    case RAD_EXTENT_EXPERTS:
        return h->router.n_experts;
    case RAD_EXTENT_EXPERT_FFN:
        return h->expert_ffn;
    case RAD_EXTENT_SHARED_FFN:
        return h->shared_ffn;
    case RAD_EXTENT_VOCABULARY:
        return h->n_vocab;
    case RAD_EXTENT_PLACES:
        return h->context_length;
    case RAD_EXTENT_TYPES:
        return h->n_token_types;
    case RAD_EXTENTS:
        break;
    }
    return 1;
}

rad_shape rad_shape_of(const rad_hparams *h, const rad_layer_params *layer, rad_extent columns,
                       rad_extent rows)
{
    return (rad_shape){.columns = rad_extent_of(h, layer, columns),
                       .rows = rad_extent_of(h, layer, rows),
                       .is_matrix = rows != RAD_EXTENT_NONE,
                       .n_experts = 1,
                       .of_columns = columns,
                       .of_rows = rows};
}

/* As GGUF counts dimensions, or as folders do: from the last. */
static void write_shape(const rad_model *model, const uint64_t dims[4], char text[96])
{
    int n = 4, length = 0;
    while (n > 1 && dims[n - 1] == 1)
        n--;
    for (int i = 0; i < n; i++) {
        int at = rad_source_is_gguf(model->source) ? i : n - 1 - i;
        length += snprintf(text + length, (size_t)(96 - length), "%s%llu", i > 0 ? " x " : "",
                           (unsigned long long)dims[at]);
    }
}

/* The key that a tensor's shape contradicts. */
static const char *deciding_key(const rad_tensor *tensor, const rad_shape *wanted)
{
    if (tensor->dims[0] != wanted->columns)
        return extent_keys[wanted->of_columns];
    if (wanted->is_matrix && tensor->dims[1] != wanted->rows)
        return extent_keys[wanted->of_rows];
    return wanted->n_experts > 1 ? extent_keys[wanted->of_stack] : NULL;
}

radllm_status rad_shape_check(const rad_model *model, const rad_tensor *tensor,
                              const rad_shape *wanted, radllm_error *error)
{
    uint64_t columns = wanted->columns;
    uint64_t rows = wanted->is_matrix ? wanted->rows : wanted->n_experts;
    uint64_t stacked = wanted->is_matrix ? wanted->n_experts : 1;
    if (tensor->dims[0] == columns && tensor->dims[1] == rows && tensor->dims[2] == stacked &&
        tensor->dims[3] == 1)
        return RADLLM_OK;
    const uint64_t asked[4] = {columns, rows, stacked, 1};
    const char *key = deciding_key(tensor, wanted), *stored = tensor->stored;
    bool below = key != NULL && strncmp(key, "tokenizer.", 10) != 0;
    char is[96], must[96], quoted[RAD_QUOTE_SIZE] = "";
    if (stored != NULL)
        rad_quote(quoted, stored, strlen(stored));
    write_shape(model, tensor->dims, is);
    write_shape(model, asked, must);
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: tensor %s%s%s%s has the shape %s; the metadata asks for %s%s%s%s%s; the "
                    "two are not of one model: fetch or convert it again",
                    rad_source_label(model->source), tensor->name.data, stored != NULL ? " (" : "",
                    quoted, stored != NULL ? ")" : "", is, must, key != NULL ? ", by " : "",
                    below ? model->hparams.architecture->name : "", below ? "." : "",
                    key != NULL ? key : "");
}
