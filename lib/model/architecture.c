#include "model/architecture.h"

#include <stdio.h>
#include <string.h>

static const rad_architecture architectures[] = {
    /* Llama 1, 2, 3 and what shares their shape (Mistral as most converters write it, Yi). A window
     * key is honoured where a converter wrote one. With experts: Mixtral, and models merged from
     * several of these. */
    {.name = "llama",
     .rotary = RAD_ROTARY_INTERLEAVED,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_ALL,
     .experts = RAD_EXPERTS_COUNTED,
     .gating = RAD_GATING_SOFTMAX,
     .normalise_experts = true},
    {.name = "mistral",
     .rotary = RAD_ROTARY_INTERLEAVED,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_ALL},
    /* Qwen1.5, 2, 2.5: biases on q, k, v (bound where the file has them). Published files say
     * use_sliding_window = false, so a window key is not used. */
    {.name = "qwen2",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .qkv_biases = true},
    {.name = "qwen3",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .head_norms = true},
    {.name = "qwen2moe",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .qkv_biases = true,
     .experts = RAD_EXPERTS_ALWAYS,
     .shared_experts = RAD_SHARED_GATED,
     .gating = RAD_GATING_SOFTMAX},
    {.name = "qwen3moe",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .head_norms = true,
     .experts = RAD_EXPERTS_ALWAYS,
     .gating = RAD_GATING_SOFTMAX,
     .normalise_experts = true},
    /* dots.llm1: the attention of Qwen 3, the routing of DeepSeek-V3. */
    {.name = "dots1",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .head_norms = true,
     .experts = RAD_EXPERTS_ALWAYS,
     .shared_experts = RAD_SHARED_PLAIN,
     .gating = RAD_GATING_SIGMOID,
     .normalise_experts = true},
    /* DeepSeek-V2, V2-Lite, V3, and what shares their shape. */
    {.name = "deepseek2",
     .rotary = RAD_ROTARY_INTERLEAVED,
     .gate = RAD_GATE_SILU,
     .latent = true,
     .experts = RAD_EXPERTS_COUNTED,
     .shared_experts = RAD_SHARED_PLAIN,
     .gating = RAD_GATING_SOFTMAX},
    {.name = "gpt-oss",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_CLAMPED,
     .windows = RAD_WINDOW_EVEN,
     .default_window = 128,
     .sinks = true,
     .yarn_exact = true,
     .ffn_norm = "post_attention_norm",
     .experts = RAD_EXPERTS_ALWAYS,
     .gating = RAD_GATING_CHOSEN},
    /* Phi-3 and Phi-4. */
    {.name = "phi3",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_ALL,
     .fused_qkv = true,
     .fused_gate_up = true},
    /* Phi-1.5 and Phi-2: a part of each head rotates. */
    {.name = "phi2",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_NONE,
     .layer_norms = true,
     .parallel = true,
     .output_bias = true},
    /* BitNet b1.58: ternary weights, activations of 8 bits. llama.cpp's row has SwiGLU as the first
     * models of this kind; Microsoft's programs have rows for theirs, whose gate is squared. */
    {.name = "bitnet",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .windows = RAD_WINDOW_NEVER,
     .sub_norms = true},
    {.name = "bitnet-b1.58",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_RELU2,
     .windows = RAD_WINDOW_NEVER,
     .sub_norms = true},
    {.name = "bitnet-25",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_RELU2,
     .windows = RAD_WINDOW_NEVER,
     .sub_norms = true},
    {.name = "gpt2",
     .rotary = RAD_ROTARY_NONE,
     .gate = RAD_GATE_NONE,
     .layer_norms = true,
     .learned_positions = true,
     .fused_qkv = true},
    {.name = "bloom",
     .rotary = RAD_ROTARY_NONE,
     .gate = RAD_GATE_NONE,
     .layer_norms = true,
     .alibi = RAD_ALIBI_ALWAYS,
     .embedding_norm = true,
     .fused_qkv = true},
    {.name = "mpt",
     .rotary = RAD_ROTARY_NONE,
     .gate = RAD_GATE_NONE_ERF,
     .layer_norms = true,
     .alibi = RAD_ALIBI_KEYED,
     .clamped_qkv = true,
     .qk_layer_norms = true,
     .fused_qkv = true},
    /* Gemma 2: its 27B size (46 layers) scales queries by the width per head. */
    {.name = "gemma2",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_GELU_TANH,
     .windows = RAD_WINDOW_EVEN,
     .default_window = 4096,
     .sandwich_norms = true,
     .scaled_embeddings = true,
     .default_attention_cap = 50.0f,
     .default_logit_cap = 30.0f,
     .width_scaled_query_layers = 46},
    /* Gemma 3, and the text part of those that see (MedGemma). Of 62 layers: its 27B size. */
    {.name = "gemma3",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_GELU_TANH,
     .windows = RAD_WINDOW_MOST,
     .head_norms = true,
     .sandwich_norms = true,
     .scaled_embeddings = true,
     .local_theta = 1e4,
     .capped = true,
     .width_scaled_query_layers = 62},
    /* bge, MiniLM, e5, XLM-RoBERTa: encoders. */
    {.name = "bert",
     .rotary = RAD_ROTARY_NONE,
     .gate = RAD_GATE_NONE_ERF,
     .layer_norms = true,
     .learned_positions = true,
     .encoder = true},
    {.name = "nomic-bert",
     .rotary = RAD_ROTARY_HALVES,
     .gate = RAD_GATE_SILU,
     .layer_norms = true,
     .fused_qkv = true,
     .encoder = true},
};

const rad_architecture *rad_architecture_find(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strlen(architectures[i].name) == size && memcmp(architectures[i].name, name, size) == 0)
            return &architectures[i];
    }
    return NULL;
}

void rad_architecture_names(char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        int n =
            snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", architectures[i].name);
        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
}
