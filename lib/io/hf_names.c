/* What config.json calls the numbers that messages name as GGUF does. */
#include "io/source.h"

#include <stdio.h>
#include <string.h>

static const char *const names[][2] = {
    {"vocab_size", "vocab_size"},
    {"context_length", "max_position_embeddings, n_positions, seq_length or max_seq_len"},
    {"embedding_length", "hidden_size, n_embd, n_embed or d_model"},
    {"block_count", "num_hidden_layers, n_layer or n_layers"},
    {"feed_forward_length", "intermediate_size, n_inner or expansion_ratio"},
    {"attention.head_count", "num_attention_heads, n_head or n_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.value_length", "head_dim"},
    {"attention.key_length_mla", "qk_nope_head_dim and qk_rope_head_dim"},
    {"attention.value_length_mla", "v_head_dim"},
    {"attention.kv_lora_rank", "kv_lora_rank"},
    {"attention.q_lora_rank", "q_lora_rank"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"attention.layer_norm_epsilon", "layer_norm_eps or layer_norm_epsilon"},
    {"attention.sliding_window", "sliding_window"},
    {"attention.sliding_window_pattern", "layer_types or sliding_window_pattern"},
    {"attention.scale", "query_pre_attn_scalar or softmax_scale"},
    {"attention.clamp_kqv", "clip_qkv"},
    {"attention.max_alibi_bias", "alibi_bias_max"},
    {"attention.causal", "is_causal"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {"expert_count", "num_local_experts, num_experts or n_routed_experts"},
    {"expert_used_count", "num_experts_per_tok"},
    {"expert_feed_forward_length", "moe_intermediate_size or intermediate_size"},
    {"expert_shared_feed_forward_length",
     "shared_expert_intermediate_size, or n_shared_experts and moe_intermediate_size"},
    {"expert_shared_count", "n_shared_experts"},
    {"expert_group_count", "n_group"},
    {"expert_group_used_count", "topk_group"},
    {"expert_weights_scale", "routed_scaling_factor"},
    {"leading_dense_block_count", "first_k_dense_replace"},
    {"rope.dimension_count", "partial_rotary_factor or qk_rope_head_dim"},
    {"rope.freq_base", "rope_theta"},
    {"rope.freq_base_swa", "rope_local_base_freq"},
    {"tokenizer.ggml.token_type_count", "type_vocab_size"},
};

static const char *find(const char *key, size_t size)
{
    static const char scaling[] = "rope.scaling.";
    while (size > 0 && key[size - 1] == '.') /* the end of a sentence */
        size--;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == size && memcmp(names[i][0], key, size) == 0)
            return names[i][1];
    bool scales = size > sizeof scaling - 1 && memcmp(key, scaling, sizeof scaling - 1) == 0;
    return scales ? "a key of rope_scaling or rope_parameters" : NULL;
}

void rad_source_name_key(const rad_source *source, radllm_error *error)
{
    rad_text architecture;
    if (error == NULL || rad_source_is_gguf(source) ||
        rad_meta_text(source, "general.architecture", &architecture, NULL) != RADLLM_OK ||
        architecture.data == NULL)
        return;
    char *at = error->message;
    size_t size = architecture.size, length = strlen(at);
    const char *name = NULL;
    for (; name == NULL && *at != '\0'; at++) {
        bool below = strncmp(at, architecture.data, size) == 0 && at[size] == '.';
        const char *key = below ? at + size + 1 : at;
        if (below || strncmp(key, "tokenizer.ggml.", 15) == 0)
            name = find(key, strspn(key, "abcdefghijklmnopqrstuvwxyz_."));
    }
    if (name != NULL)
        snprintf(error->message + length, sizeof error->message - length, " (in config.json: %s)",
                 name);
}
