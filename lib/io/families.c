/* How the families of Hugging Face's `transformers` name and arrange tensors, by model_type. A
 * family that brings no new arrangement is a row of `families` and a table of names. */
#include <stdio.h>
#include <string.h>

#include "io/families.h"

/* ---- names ---------------------------------------------------------------------------------- */

/* Rows of a layer's tensors begin with this; rows before it are of the whole model. Of several
 * beginnings that are in use the one is taken that the folder has. */
#define LAYERS(prefixes)                                                                           \
    {                                                                                              \
        NULL, prefixes, FORM_PLAIN                                                                 \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, FORM_PLAIN                                                                     \
    }

#define ENDS                                                                                       \
    {"token_embd.weight", "model.embed_tokens.weight|embed_tokens.weight", FORM_PLAIN},            \
        {"output_norm.weight", "model.norm.weight|norm.weight", FORM_PLAIN},                       \
    {                                                                                              \
        "output.weight", "lm_head.weight", FORM_PLAIN                                              \
    }

#define NORMS                                                                                      \
    {"attn_norm.weight", "input_layernorm.weight", FORM_PLAIN},                                    \
    {                                                                                              \
        "ffn_norm.weight", "post_attention_layernorm.weight", FORM_PLAIN                           \
    }

#define ATTENTION                                                                                  \
    {"attn_q.weight", "self_attn.q_proj.weight", FORM_PLAIN},                                      \
        {"attn_k.weight", "self_attn.k_proj.weight", FORM_PLAIN},                                  \
        {"attn_v.weight", "self_attn.v_proj.weight", FORM_PLAIN},                                  \
        {"attn_q.bias", "self_attn.q_proj.bias", FORM_PLAIN},                                      \
        {"attn_k.bias", "self_attn.k_proj.bias", FORM_PLAIN},                                      \
        {"attn_v.bias", "self_attn.v_proj.bias", FORM_PLAIN},                                      \
        {"attn_output.weight", "self_attn.o_proj.weight", FORM_PLAIN},                             \
    {                                                                                              \
        "attn_output.bias", "self_attn.o_proj.bias", FORM_PLAIN                                    \
    }

#define FEED_FORWARD                                                                               \
    {"ffn_gate.weight", "mlp.gate_proj.weight", FORM_PLAIN},                                       \
        {"ffn_up.weight", "mlp.up_proj.weight", FORM_PLAIN},                                       \
        {"ffn_down.weight", "mlp.down_proj.weight", FORM_PLAIN},                                   \
        {"ffn_gate.bias", "mlp.gate_proj.bias", FORM_PLAIN},                                       \
        {"ffn_up.bias", "mlp.up_proj.bias", FORM_PLAIN},                                           \
    {                                                                                              \
        "ffn_down.bias", "mlp.down_proj.bias", FORM_PLAIN                                          \
    }

#define HEAD_NORMS                                                                                 \
    {"attn_q_norm.weight", "self_attn.q_norm.weight", FORM_PLAIN},                                 \
    {                                                                                              \
        "attn_k_norm.weight", "self_attn.k_norm.weight", FORM_PLAIN                                \
    }

#define QWEN_EXPERTS                                                                               \
    {"ffn_gate_inp.weight", "mlp.gate.weight", FORM_PLAIN},                                        \
        {"ffn_gate_exps.weight", "mlp.experts.%u.gate_proj.weight", FORM_EXPERTS},                 \
        {"ffn_up_exps.weight", "mlp.experts.%u.up_proj.weight", FORM_EXPERTS},                     \
        {"ffn_down_exps.weight", "mlp.experts.%u.down_proj.weight", FORM_EXPERTS},                 \
        {"ffn_gate_exps.weight", "mlp.experts.gate_up_proj", FORM_STACK_GATE},                     \
        {"ffn_up_exps.weight", "mlp.experts.gate_up_proj", FORM_STACK_UP},                         \
    {                                                                                              \
        "ffn_down_exps.weight", "mlp.experts.down_proj", FORM_PLAIN                                \
    }

/* Embedding models are saved without the first part of the names. */
static const rad_name_row llama_rows[] = {ENDS,
                                          LAYERS("model.layers.|layers."),
                                          NORMS,
                                          ATTENTION,
                                          FEED_FORWARD,
                                          HEAD_NORMS,
                                          {NULL, "self_attn.rotary_emb.inv_freq", FORM_NONE},
                                          END};

static const rad_name_row bitnet_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    NORMS,
    ATTENTION,
    FEED_FORWARD,
    {"attn_sub_norm.weight", "self_attn.attn_sub_norm.weight", FORM_PLAIN},
    {"ffn_sub_norm.weight", "mlp.ffn_sub_norm.weight", FORM_PLAIN},
    END};

static const rad_name_row phi_rows[] = {
    {"token_embd.weight", "model.embed_tokens.weight", FORM_PLAIN},
    {"output_norm.weight", "model.final_layernorm.weight", FORM_PLAIN},
    {"output_norm.bias", "model.final_layernorm.bias", FORM_PLAIN},
    {"output.weight", "lm_head.weight", FORM_PLAIN},
    {"output.bias", "lm_head.bias", FORM_PLAIN},
    LAYERS("model.layers."),
    NORMS,
    {"attn_norm.bias", "input_layernorm.bias", FORM_PLAIN},
    /* Of several names the first one is written. */
    {"attn_output.weight", "self_attn.dense.weight", FORM_PLAIN},
    {"attn_output.bias", "self_attn.dense.bias", FORM_PLAIN},
    ATTENTION,
    {"ffn_up.weight", "mlp.fc1.weight", FORM_PLAIN},
    {"ffn_up.bias", "mlp.fc1.bias", FORM_PLAIN},
    {"ffn_down.weight", "mlp.fc2.weight", FORM_PLAIN},
    {"ffn_down.bias", "mlp.fc2.bias", FORM_PLAIN},
    END};

static const rad_name_row phi3_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    NORMS,
    {"attn_qkv.weight", "self_attn.qkv_proj.weight", FORM_PLAIN},
    {"attn_output.weight", "self_attn.o_proj.weight", FORM_PLAIN},
    {"ffn_up.weight", "mlp.gate_up_proj.weight", FORM_PLAIN},
    {"ffn_down.weight", "mlp.down_proj.weight", FORM_PLAIN},
    /* ExLlamaV2 takes apart what is one in other files. */
    {"attn_q.weight", "self_attn.q_proj.weight", FORM_PLAIN},
    {"attn_k.weight", "self_attn.k_proj.weight", FORM_PLAIN},
    {"attn_v.weight", "self_attn.v_proj.weight", FORM_PLAIN},
    {"ffn_gate.weight", "mlp.gate_proj.weight", FORM_PLAIN},
    {"ffn_up.weight", "mlp.up_proj.weight", FORM_PLAIN},
    {NULL, "self_attn.rotary_emb.inv_freq", FORM_NONE},
    END};

static const rad_name_row mixtral_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    NORMS,
    ATTENTION,
    {"ffn_gate_inp.weight", "block_sparse_moe.gate.weight", FORM_PLAIN},
    {"ffn_gate_exps.weight", "block_sparse_moe.experts.%u.w1.weight", FORM_EXPERTS},
    {"ffn_up_exps.weight", "block_sparse_moe.experts.%u.w3.weight", FORM_EXPERTS},
    {"ffn_down_exps.weight", "block_sparse_moe.experts.%u.w2.weight", FORM_EXPERTS},
    QWEN_EXPERTS,
    {NULL, "self_attn.rotary_emb.inv_freq", FORM_NONE},
    END};

static const rad_name_row qwen_moe_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    NORMS,
    ATTENTION,
    HEAD_NORMS,
    FEED_FORWARD,
    QWEN_EXPERTS,
    {"ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight", FORM_PLAIN},
    {"ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight", FORM_PLAIN},
    {"ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight", FORM_PLAIN},
    {"ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight", FORM_PLAIN},
    END};

static const rad_name_row deepseek_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    NORMS,
    ATTENTION,
    FEED_FORWARD,
    HEAD_NORMS,
    QWEN_EXPERTS,
    {"attn_q_a.weight", "self_attn.q_a_proj.weight", FORM_PLAIN},
    {"attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", FORM_PLAIN},
    {"attn_q_b.weight", "self_attn.q_b_proj.weight", FORM_PLAIN},
    {"attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", FORM_PLAIN},
    {"attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", FORM_PLAIN},
    {"attn_kv_b.weight", "self_attn.kv_b_proj.weight", FORM_LATENT_BOTH}, /* adapters name it so */
    {"attn_k_b.weight", "self_attn.kv_b_proj.weight", FORM_LATENT_KEYS},
    {"attn_v_b.weight", "self_attn.kv_b_proj.weight", FORM_LATENT_VALUES},
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias", FORM_PLAIN},
    {"ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", FORM_PLAIN},
    {"ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", FORM_PLAIN},
    {"ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", FORM_PLAIN},
    END};

static const rad_name_row gpt_oss_rows[] = {
    ENDS,
    LAYERS("model.layers."),
    ATTENTION,
    {"attn_norm.weight", "input_layernorm.weight", FORM_PLAIN},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", FORM_PLAIN},
    {"attn_sinks.weight", "self_attn.sinks", FORM_PLAIN},
    {"ffn_gate_inp.weight", "mlp.router.weight", FORM_PLAIN},
    {"ffn_gate_inp.bias", "mlp.router.bias", FORM_PLAIN},
    {"ffn_gate_exps.weight", "mlp.experts.gate_up_proj", FORM_TURNS_GATE},
    {"ffn_up_exps.weight", "mlp.experts.gate_up_proj", FORM_TURNS_UP},
    {"ffn_down_exps.weight", "mlp.experts.down_proj", FORM_STACK_TURNED},
    {"ffn_gate_exps.weight", "mlp.experts.gate_up_proj", FORM_MXFP4_GATE},
    {"ffn_up_exps.weight", "mlp.experts.gate_up_proj", FORM_MXFP4_UP},
    {"ffn_down_exps.weight", "mlp.experts.down_proj", FORM_MXFP4},
    {"ffn_gate_exps.bias", "mlp.experts.gate_up_proj_bias", FORM_TURNS_GATE},
    {"ffn_up_exps.bias", "mlp.experts.gate_up_proj_bias", FORM_TURNS_UP},
    {"ffn_down_exps.bias", "mlp.experts.down_proj_bias", FORM_PLAIN},
    END};

/* Where the model sees as well, its text part has a beginning of its own. */
#define TEXT_PART(name) "model." name "|model.language_model." name "|language_model.model." name

static const rad_name_row gemma_rows[] = {
    {"token_embd.weight", TEXT_PART("embed_tokens.weight"), FORM_PLAIN},
    {"output_norm.weight", TEXT_PART("norm.weight"), FORM_PLUS_ONE},
    {"output.weight", "lm_head.weight|language_model.lm_head.weight", FORM_PLAIN},
    LAYERS(TEXT_PART("layers.")),
    {"attn_norm.weight", "input_layernorm.weight", FORM_PLUS_ONE},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", FORM_PLUS_ONE},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight", FORM_PLUS_ONE},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", FORM_PLUS_ONE},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", FORM_PLUS_ONE},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", FORM_PLUS_ONE},
    ATTENTION,
    FEED_FORWARD,
    END};

static const rad_name_row gpt2_rows[] = {
    {"token_embd.weight", "transformer.wte.weight|wte.weight", FORM_PLAIN},
    {"position_embd.weight", "transformer.wpe.weight|wpe.weight", FORM_PLAIN},
    {"output_norm.weight", "transformer.ln_f.weight|ln_f.weight", FORM_PLAIN},
    {"output_norm.bias", "transformer.ln_f.bias|ln_f.bias", FORM_PLAIN},
    {"output.weight", "lm_head.weight", FORM_PLAIN},
    LAYERS("transformer.h.|h."),
    {"attn_norm.weight", "ln_1.weight", FORM_PLAIN},
    {"attn_norm.bias", "ln_1.bias", FORM_PLAIN},
    {"attn_qkv.weight", "attn.c_attn.weight", FORM_TRANSPOSED},
    {"attn_qkv.bias", "attn.c_attn.bias", FORM_PLAIN},
    {"attn_output.weight", "attn.c_proj.weight", FORM_TRANSPOSED},
    {"attn_output.bias", "attn.c_proj.bias", FORM_PLAIN},
    {"ffn_norm.weight", "ln_2.weight", FORM_PLAIN},
    {"ffn_norm.bias", "ln_2.bias", FORM_PLAIN},
    {"ffn_up.weight", "mlp.c_fc.weight", FORM_TRANSPOSED},
    {"ffn_up.bias", "mlp.c_fc.bias", FORM_PLAIN},
    {"ffn_down.weight", "mlp.c_proj.weight", FORM_TRANSPOSED},
    {"ffn_down.bias", "mlp.c_proj.bias", FORM_PLAIN},
    {NULL, "attn.bias", FORM_NONE}, /* the causal mask */
    {NULL, "attn.masked_bias", FORM_NONE},
    END};

/* Names of the first years end with gamma and beta. Heads for other tasks are left out. */
#define BERT_END(name) name "|bert." name "|roberta." name

static const rad_name_row bert_rows[] = {
    {"token_embd.weight", BERT_END("embeddings.word_embeddings.weight"), FORM_PLAIN},
    {"position_embd.weight", BERT_END("embeddings.position_embeddings.weight"), FORM_POSITIONS},
    {"token_types.weight", BERT_END("embeddings.token_type_embeddings.weight"), FORM_PLAIN},
    {"token_embd_norm.weight",
     BERT_END("embeddings.LayerNorm.weight") "|" BERT_END("embeddings.LayerNorm.gamma"),
     FORM_PLAIN},
    {"token_embd_norm.bias",
     BERT_END("embeddings.LayerNorm.bias") "|" BERT_END("embeddings.LayerNorm.beta"), FORM_PLAIN},
    {"", BERT_END("embeddings.position_ids"), FORM_NONE_OF},
    {"", BERT_END("pooler.") "|cls.|lm_head.", FORM_NONE_OF},
    LAYERS("encoder.layer.|bert.encoder.layer.|roberta.encoder.layer."),
    {"attn_q.weight", "attention.self.query.weight", FORM_PLAIN},
    {"attn_q.bias", "attention.self.query.bias", FORM_PLAIN},
    {"attn_k.weight", "attention.self.key.weight", FORM_PLAIN},
    {"attn_k.bias", "attention.self.key.bias", FORM_PLAIN},
    {"attn_v.weight", "attention.self.value.weight", FORM_PLAIN},
    {"attn_v.bias", "attention.self.value.bias", FORM_PLAIN},
    {"attn_output.weight", "attention.output.dense.weight", FORM_PLAIN},
    {"attn_output.bias", "attention.output.dense.bias", FORM_PLAIN},
    {"attn_output_norm.weight", "attention.output.LayerNorm.weight", FORM_PLAIN},
    {"attn_output_norm.bias", "attention.output.LayerNorm.bias", FORM_PLAIN},
    {"attn_output_norm.weight", "attention.output.LayerNorm.gamma", FORM_PLAIN},
    {"attn_output_norm.bias", "attention.output.LayerNorm.beta", FORM_PLAIN},
    {"ffn_up.weight", "intermediate.dense.weight", FORM_PLAIN},
    {"ffn_up.bias", "intermediate.dense.bias", FORM_PLAIN},
    {"ffn_down.weight", "output.dense.weight", FORM_PLAIN},
    {"ffn_down.bias", "output.dense.bias", FORM_PLAIN},
    {"layer_output_norm.weight", "output.LayerNorm.weight", FORM_PLAIN},
    {"layer_output_norm.bias", "output.LayerNorm.bias", FORM_PLAIN},
    {"layer_output_norm.weight", "output.LayerNorm.gamma", FORM_PLAIN},
    {"layer_output_norm.bias", "output.LayerNorm.beta", FORM_PLAIN},
    END};

static const rad_name_row nomic_rows[] = {
    {"token_embd.weight", BERT_END("embeddings.word_embeddings.weight"), FORM_PLAIN},
    {"token_types.weight", BERT_END("embeddings.token_type_embeddings.weight"), FORM_PLAIN},
    {"token_embd_norm.weight",
     BERT_END("emb_ln.weight") "|" BERT_END("embeddings.LayerNorm.weight"), FORM_PLAIN},
    {"token_embd_norm.bias", BERT_END("emb_ln.bias") "|" BERT_END("embeddings.LayerNorm.bias"),
     FORM_PLAIN},
    {"", BERT_END("pooler.") "|cls.", FORM_NONE_OF},
    LAYERS("encoder.layers.|bert.encoder.layers.|layers.|nomic_bert.layers."),
    {"attn_qkv.weight", "attn.Wqkv.weight", FORM_PLAIN},
    {"attn_qkv.bias", "attn.Wqkv.bias", FORM_PLAIN},
    {"attn_output.weight", "attn.out_proj.weight", FORM_PLAIN},
    {"attn_output.bias", "attn.out_proj.bias", FORM_PLAIN},
    {"attn_output_norm.weight", "norm1.weight", FORM_PLAIN},
    {"attn_output_norm.bias", "norm1.bias", FORM_PLAIN},
    {"ffn_up.weight", "mlp.fc11.weight", FORM_PLAIN},
    {"ffn_up.bias", "mlp.fc11.bias", FORM_PLAIN},
    {"ffn_gate.weight", "mlp.fc12.weight", FORM_PLAIN},
    {"ffn_gate.bias", "mlp.fc12.bias", FORM_PLAIN},
    {"ffn_down.weight", "mlp.fc2.weight", FORM_PLAIN},
    {"ffn_down.bias", "mlp.fc2.bias", FORM_PLAIN},
    {"layer_output_norm.weight", "norm2.weight", FORM_PLAIN},
    {"layer_output_norm.bias", "norm2.bias", FORM_PLAIN},
    /* As `transformers` calls them from version 5 on: files have the names above, adapters these.
     */
    {"attn_output_norm.weight", "post_attention_layernorm.weight", FORM_PLAIN},
    {"attn_output_norm.bias", "post_attention_layernorm.bias", FORM_PLAIN},
    {"layer_output_norm.weight", "post_mlp_layernorm.weight", FORM_PLAIN},
    {"layer_output_norm.bias", "post_mlp_layernorm.bias", FORM_PLAIN},
    ATTENTION,
    FEED_FORWARD,
    END};

static const rad_name_row bloom_rows[] = {
    {"token_embd.weight", "transformer.word_embeddings.weight|word_embeddings.weight", FORM_PLAIN},
    {"token_embd_norm.weight",
     "transformer.word_embeddings_layernorm.weight|word_embeddings_layernorm.weight", FORM_PLAIN},
    {"token_embd_norm.bias",
     "transformer.word_embeddings_layernorm.bias|word_embeddings_layernorm.bias", FORM_PLAIN},
    {"output_norm.weight", "transformer.ln_f.weight|ln_f.weight", FORM_PLAIN},
    {"output_norm.bias", "transformer.ln_f.bias|ln_f.bias", FORM_PLAIN},
    {"output.weight", "lm_head.weight", FORM_PLAIN},
    LAYERS("transformer.h.|h."),
    {"attn_norm.weight", "input_layernorm.weight", FORM_PLAIN},
    {"attn_norm.bias", "input_layernorm.bias", FORM_PLAIN},
    {"attn_qkv.weight", "self_attention.query_key_value.weight", FORM_HEADS_QKV},
    {"attn_qkv.bias", "self_attention.query_key_value.bias", FORM_HEADS_QKV},
    {"attn_output.weight", "self_attention.dense.weight", FORM_PLAIN},
    {"attn_output.bias", "self_attention.dense.bias", FORM_PLAIN},
    {"ffn_norm.weight", "post_attention_layernorm.weight", FORM_PLAIN},
    {"ffn_norm.bias", "post_attention_layernorm.bias", FORM_PLAIN},
    {"ffn_up.weight", "mlp.dense_h_to_4h.weight", FORM_PLAIN},
    {"ffn_up.bias", "mlp.dense_h_to_4h.bias", FORM_PLAIN},
    {"ffn_down.weight", "mlp.dense_4h_to_h.weight", FORM_PLAIN},
    {"ffn_down.bias", "mlp.dense_4h_to_h.bias", FORM_PLAIN},
    END};

static const rad_name_row mpt_rows[] = {
    {"token_embd.weight", "transformer.wte.weight|wte.weight", FORM_PLAIN},
    {"position_embd.weight", "transformer.wpe.weight|wpe.weight", FORM_PLAIN},
    {"output_norm.weight", "transformer.norm_f.weight|norm_f.weight", FORM_PLAIN},
    {"output_norm.bias", "transformer.norm_f.bias|norm_f.bias", FORM_PLAIN},
    {"output.weight", "lm_head.weight", FORM_PLAIN},
    LAYERS("transformer.blocks.|blocks."),
    {"attn_norm.weight", "norm_1.weight", FORM_PLAIN},
    {"attn_norm.bias", "norm_1.bias", FORM_PLAIN},
    {"attn_qkv.weight", "attn.Wqkv.weight", FORM_PLAIN},
    {"attn_qkv.bias", "attn.Wqkv.bias", FORM_PLAIN},
    {"attn_q_norm.weight", "attn.q_ln.weight", FORM_PLAIN},
    {"attn_q_norm.bias", "attn.q_ln.bias", FORM_PLAIN},
    {"attn_k_norm.weight", "attn.k_ln.weight", FORM_PLAIN},
    {"attn_k_norm.bias", "attn.k_ln.bias", FORM_PLAIN},
    {"attn_output.weight", "attn.out_proj.weight", FORM_PLAIN},
    {"attn_output.bias", "attn.out_proj.bias", FORM_PLAIN},
    {"ffn_norm.weight", "norm_2.weight", FORM_PLAIN},
    {"ffn_norm.bias", "norm_2.bias", FORM_PLAIN},
    {"ffn_up.weight", "ffn.up_proj.weight", FORM_PLAIN},
    {"ffn_up.bias", "ffn.up_proj.bias", FORM_PLAIN},
    {"ffn_down.weight", "ffn.down_proj.weight", FORM_PLAIN},
    {"ffn_down.bias", "ffn.down_proj.bias", FORM_PLAIN},
    END};

/* ---- the table ------------------------------------------------------------------------------ */

#define SILU      "silu|swish"
#define GELU_TANH "gelu_pytorch_tanh|gelu_new|gelu_fast"

#define MISTRAL_DEFAULTS                                                                           \
    "{\"num_key_value_heads\": 8, \"max_position_embeddings\": 131072, \"sliding_window\": 4096}"

/* What published configurations leave out is as in the classes of `transformers`. */
static const rad_folder_family families[] = {
    {.model_type = "bitnet",
     .architecture = "bitnet-b1.58",
     .rows = bitnet_rows,
     .activation = "relu2",
     .norm_epsilon = 1e-5,
     .theta = 500000.0,
     .windows = RAD_CONFIG_WINDOW_NEVER,
     .defaults = "{\"num_key_value_heads\": 5, \"max_position_embeddings\": 2048}"},
    {.model_type = "llama",
     .architecture = "llama",
     .rows = llama_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .halves = true,
     .defaults = "{\"max_position_embeddings\": 2048}"},
    {.model_type = "mistral",
     .architecture = "llama",
     .rows = llama_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .halves = true,
     .windows = RAD_CONFIG_WINDOW_ALWAYS,
     .defaults = MISTRAL_DEFAULTS},
    /* Full layers and layers with a window, as layer_types lists them. */
    {.model_type = "ministral",
     .architecture = "llama",
     .rows = llama_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .halves = true,
     .windows = RAD_CONFIG_WINDOW_ALWAYS,
     .defaults = MISTRAL_DEFAULTS},
    {.model_type = "phi",
     .architecture = "phi2",
     .rows = phi_rows,
     .activation = GELU_TANH,
     .norm_epsilon = 1e-5,
     .theta = 1e4,
     .defaults = "{\"max_position_embeddings\": 2048, \"partial_rotary_factor\": 0.5}"},
    {.model_type = "phi3",
     .architecture = "phi3",
     .rows = phi3_rows,
     .activation = SILU,
     .norm_epsilon = 1e-5,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_ALWAYS,
     .defaults = "{\"max_position_embeddings\": 4096, \"original_max_position_embeddings\": 4096}"},
    {.model_type = "mixtral",
     .architecture = "llama",
     .rows = mixtral_rows,
     .activation = SILU,
     .norm_epsilon = 1e-5,
     .theta = 1e6,
     .halves = true,
     .windows = RAD_CONFIG_WINDOW_EVERY,
     .defaults = "{\"num_key_value_heads\": 8, \"max_position_embeddings\": 131072, "
                 "\"num_local_experts\": 8, \"num_experts_per_tok\": 2}"},
    {.model_type = "qwen2",
     .architecture = "qwen2",
     .rows = llama_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_LATER,
     .defaults = "{\"num_key_value_heads\": 32, \"max_position_embeddings\": 32768, "
                 "\"sliding_window\": 4096}"},
    {.model_type = "qwen3",
     .architecture = "qwen3",
     .rows = llama_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_LATER,
     .defaults = "{\"num_key_value_heads\": 32, \"head_dim\": 128, \"max_position_embeddings\": "
                 "32768, \"sliding_window\": 4096}"},
    {.model_type = "qwen2_moe",
     .architecture = "qwen2moe",
     .rows = qwen_moe_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_TURNS,
     .defaults =
         "{\"num_key_value_heads\": 16, \"max_position_embeddings\": 32768, \"sliding_window\": "
         "4096, \"moe_intermediate_size\": 1408, \"shared_expert_intermediate_size\": 5632, "
         "\"num_experts\": 60, \"num_experts_per_tok\": 4}"},
    {.model_type = "qwen3_moe",
     .architecture = "qwen3moe",
     .rows = qwen_moe_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_EVERY,
     .defaults = "{\"num_key_value_heads\": 4, \"max_position_embeddings\": 32768, "
                 "\"sliding_window\": 4096, \"moe_intermediate_size\": 768, \"num_experts\": 128, "
                 "\"num_experts_per_tok\": 8, \"norm_topk_prob\": false}"},
    {.model_type = "dots1",
     .architecture = "dots1",
     .rows = deepseek_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .windows = RAD_CONFIG_WINDOW_LATER,
     .defaults = "{\"num_key_value_heads\": 32, \"max_position_embeddings\": 2048, "
                 "\"sliding_window\": 4096, \"max_window_layers\": 62, \"n_group\": 1, "
                 "\"topk_group\": 1, \"norm_topk_prob\": false}"},
    {.model_type = "deepseek_v2",
     .architecture = "deepseek2",
     .rows = deepseek_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4},
    {.model_type = "deepseek_v3",
     .architecture = "deepseek2",
     .rows = deepseek_rows,
     .activation = SILU,
     .norm_epsilon = 1e-6,
     .theta = 1e4},
    {.model_type = "gpt_oss",
     .architecture = "gpt-oss",
     .rows = gpt_oss_rows,
     .activation = SILU,
     .norm_epsilon = 1e-5,
     .theta = 150000.0,
     .windows = RAD_CONFIG_WINDOW_ALWAYS,
     .defaults =
         "{\"num_key_value_heads\": 8, \"head_dim\": 64, \"max_position_embeddings\": 131072, "
         "\"sliding_window\": 128, \"num_local_experts\": 128, \"num_experts_per_tok\": 4, "
         "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 32.0, \"truncate\": false, "
         "\"original_max_position_embeddings\": 4096}}"},
    {.model_type = "gemma2",
     .architecture = "gemma2",
     .rows = gemma_rows,
     .activation = GELU_TANH,
     .norm_epsilon = 1e-6,
     .theta = 1e4,
     .tied = true,
     .windows = RAD_CONFIG_WINDOW_ALWAYS,
     .defaults = "{\"num_key_value_heads\": 4, \"head_dim\": 256, \"max_position_embeddings\": "
                 "8192, \"sliding_window\": 4096, \"attn_logit_softcapping\": 50.0, "
                 "\"final_logit_softcapping\": 30.0}"},
    /* Published configurations leave out what is as in the smallest model. */
    {.model_type = "gemma3_text",
     .architecture = "gemma3",
     .rows = gemma_rows,
     .activation = GELU_TANH,
     .norm_epsilon = 1e-6,
     .theta = 1e6,
     .defaults = "{\"vocab_size\": 262208, \"hidden_size\": 2304, \"intermediate_size\": 9216, "
                 "\"num_hidden_layers\": 26, \"num_attention_heads\": 8, "
                 "\"num_key_value_heads\": 4, \"head_dim\": 256, "
                 "\"max_position_embeddings\": 131072, \"sliding_window\": 4096}",
     .tied = true,
     .windows = RAD_CONFIG_WINDOW_ALWAYS},
    {.model_type = "gpt2",
     .architecture = "gpt2",
     .style = RAD_CONFIG_GPT2,
     .rows = gpt2_rows,
     .activation = GELU_TANH,
     .norm_epsilon = 1e-5,
     .tied = true,
     .defaults = "{\"n_positions\": 1024}"},
    {.model_type = "bloom",
     .architecture = "bloom",
     .style = RAD_CONFIG_BLOOM,
     .rows = bloom_rows,
     .norm_epsilon = 1e-5,
     .tied = true},
    {.model_type = "bert",
     .architecture = "bert",
     .style = RAD_CONFIG_BERT,
     .rows = bert_rows,
     .activation = "gelu",
     .norm_epsilon = 1e-12},
    {.model_type = "roberta",
     .architecture = "bert",
     .style = RAD_CONFIG_BERT,
     .rows = bert_rows,
     .activation = "gelu",
     .norm_epsilon = 1e-12},
    {.model_type = "xlm-roberta",
     .architecture = "bert",
     .style = RAD_CONFIG_BERT,
     .rows = bert_rows,
     .activation = "gelu",
     .norm_epsilon = 1e-12},
    {.model_type = "nomic_bert",
     .architecture = "nomic-bert",
     .style = RAD_CONFIG_BERT,
     .rows = nomic_rows,
     .activation = "silu|swiglu",
     .norm_epsilon = 1e-12,
     .theta = 1e3},
    {.model_type = "mpt",
     .architecture = "mpt",
     .style = RAD_CONFIG_MPT,
     .rows = mpt_rows,
     .norm_epsilon = 1e-5,
     .tied = true},
};

/* Known, and not supported: so that the message can say what they are. */
static const struct {
    const char *model_type, *what;
} refused[] = {
    {"qwen", "Qwen 1 (QWenLMHeadModel) is not supported; Qwen 1.5 and later are"},
};

/* Models that see, whose text part is a model that runs by itself. */
static const struct {
    const char *model_type, *text_type, *left_out;
} seeing[] = {
    {"gemma3", "gemma3_text",
     "vision_tower.|model.vision_tower.|multi_modal_projector.|model.multi_modal_projector."},
};

radllm_status rad_folder_take_text(rad_folder *folder, radllm_error *error)
{
    const char *name = json_string_value(json_object_get(folder->config, "model_type"));
    json_t *part = json_object_get(folder->config, "text_config");
    for (size_t i = 0; i < sizeof seeing / sizeof *seeing; i++) {
        if (name == NULL || strcmp(name, seeing[i].model_type) != 0 || !json_is_object(part))
            continue;
        json_t *text = json_copy(part);
        if (text == NULL || json_object_update_missing(text, folder->config) != 0 ||
            json_object_set_new(text, "model_type", json_string(seeing[i].text_type)) != 0) {
            json_decref(text);
            return rad_fail_memory(error, sizeof(void *));
        }
        json_object_del(text, "vision_config");
        json_decref(folder->config);
        folder->config = text;
        folder->left_out = seeing[i].left_out;
        rad_log_line(&folder->source->host, RADLLM_LOG_WARNING,
                     "%s: this model also sees: its part for images is left out, text alone runs",
                     folder->label);
        return RADLLM_OK;
    }
    return RADLLM_OK;
}

const rad_folder_family *rad_folder_family_named(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(model_type, families[i].model_type) == 0)
            return &families[i];
    return NULL;
}

radllm_status rad_folder_find_family(const rad_folder *folder, const rad_folder_family **out,
                                     radllm_error *error)
{
    const json_t *config = folder->config;
    const json_t *value = json_object_get(config, "model_type");
    const char *name = json_string_value(value);
    char quoted[RAD_QUOTE_SIZE];
    if (name == NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s/%s: the key model_type is missing or no text: this is no "
                        "configuration of a model; fetch the file again",
                        folder->label, folder->config_name);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strcmp(name, refused[i].model_type) == 0)
            return rad_fail(error, RADLLM_E_UNSUPPORTED, "%s/%s: %s", folder->label,
                            folder->config_name, refused[i].what);
    }
    static const char *const senses[] = {"vision_config", "audio_config", "visual",
                                         "speech_config"};
    for (size_t i = 0; i < sizeof senses / sizeof *senses; i++) {
        if (json_object_get(config, senses[i]) != NULL)
            return rad_fail(error, RADLLM_E_UNSUPPORTED,
                            "%s/%s: model_type \"%s\" with %s: models that see or hear are "
                            "not supported",
                            folder->label, folder->config_name,
                            rad_quote(quoted, name, strlen(name)), senses[i]);
    }
    size_t used = 0;
    char names[512] = "";
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(name, families[i].model_type) == 0) {
            *out = &families[i];
            return RADLLM_OK;
        }
        int n = snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ",
                         families[i].model_type);
        used += n > 0 && (size_t)n < sizeof names - used ? (size_t)n : 0;
    }
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s/%s: model_type \"%s\" is not supported; this version runs: %s",
                    folder->label, folder->config_name, rad_quote(quoted, name, strlen(name)),
                    names);
}

/* ---- from stored names ----------------------------------------------------------------------- */

/* Whether a stored name is the row's; %u stands for an expert's number. */
static bool is_stored_name(const char *pattern, const char *name)
{
    const char *number = strstr(pattern, "%u");
    size_t head = number != NULL ? (size_t)(number - pattern) : 0;
    if (number == NULL)
        return strcmp(pattern, name) == 0;
    if (strncmp(pattern, name, head) != 0)
        return false;
    size_t digits = strspn(name + head, "0123456789");
    return digits > 0 && strcmp(number + 2, name + head + digits) == 0;
}

/* Behind one of the beginnings of layers' names: the layer, and what follows it. */
static const char *cut_layer(const char *prefixes, const char *name, uint32_t *layer)
{
    for (; *prefixes != '\0'; prefixes += *prefixes == '|') {
        size_t n = strcspn(prefixes, "|");
        const char *at = name + n;
        if (strncmp(prefixes, name, n) == 0) {
            size_t digits = strspn(at, "0123456789");
            if (digits >= 1 && digits <= 6 && at[digits] == '.') {
                *layer = 0;
                for (size_t i = 0; i < digits; i++)
                    *layer = *layer * 10 + (uint32_t)(at[i] - '0');
                return at + digits + 1;
            }
        }
        prefixes += n;
    }
    return NULL;
}

static bool find_in_rows(const rad_name_row *row, const char *stored, char gguf[64], rad_form *form)
{
    uint32_t layer;
    for (; row->gguf != NULL; row++) {
        if (rad_is_one_of(stored, row->stored)) {
            snprintf(gguf, 64, "%s", row->gguf);
            *form = row->form;
            return true;
        }
    }
    const char *rest = cut_layer(row->stored, stored, &layer);
    for (row++; rest != NULL && row->stored != NULL; row++) {
        if (row->gguf != NULL && is_stored_name(row->stored, rest)) {
            snprintf(gguf, 64, "blk.%u.%s", layer, row->gguf);
            *form = row->form;
            return true;
        }
    }
    return false;
}

bool rad_family_find_name(const char *architecture, const char *stored, char gguf[64],
                          rad_form *form)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].architecture, architecture) == 0 &&
            find_in_rows(families[i].rows, stored, gguf, form))
            return true;
    }
    return false;
}

bool rad_family_leaves_out(const char *architecture, const char *stored)
{
    bool found = false;
    for (size_t i = 0; i < sizeof families / sizeof *families && !found; i++) {
        const rad_folder_family *family = &families[i];
        if (strcmp(family->architecture, architecture) != 0)
            continue;
        for (const rad_name_row *row = family->rows; row->gguf != NULL && !found; row++)
            found = row->form == FORM_NONE_OF && rad_begins_with_one_of(stored, row->stored);
        for (size_t k = 0; k < sizeof seeing / sizeof *seeing && !found; k++)
            found = strcmp(seeing[k].text_type, family->model_type) == 0 &&
                    rad_begins_with_one_of(stored, seeing[k].left_out);
    }
    return found;
}

bool rad_family_has_module(const char *architecture, const char *module)
{
    size_t size = strlen(module);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const rad_name_row *row = families[i].rows;
        if (strcmp(families[i].architecture, architecture) != 0)
            continue;
        for (; row->stored != NULL; row++) {
            for (const char *at = strstr(row->stored, module); at != NULL && row->gguf != NULL;
                 at = strstr(at + 1, module)) {
                bool begins = at == row->stored || at[-1] == '.' || at[-1] == '|';
                if (begins &&
                    (strncmp(at + size, ".weight", 7) == 0 || strncmp(at + size, ".bias", 5) == 0))
                    return true;
            }
        }
    }
    return false;
}

bool rad_family_has_halves(const char *architecture)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].architecture, architecture) == 0 && families[i].halves)
            return true;
    }
    return false;
}
