"""Makes tests/golden/folders: models of families whose tensors are those of a committed GGUF file in
another arrangement, so that the configuration and the logits are all that is new.

Usage: make_folder_logits.py GOLDEN_FOLDER SCRATCH_FOLDER [NAME...]

tests/golden/make_folder.py makes the folders; `transformers` opens them and computes."""

import json
import os
import subprocess
import sys

import numpy as np
import torch
import transformers

WINDOW = 16
SHAPE = dict(vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=256, tie_word_embeddings=False,
             bos_token_id=317, eos_token_id=318, pad_token_id=319)

LONGROPE = dict(
    **SHAPE, num_key_value_heads=4, rms_norm_eps=1e-6, sliding_window=None,
    original_max_position_embeddings=32,
    rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
                     "short_factor": [1.0, 1.05, 1.1, 1.25, 1.5, 2.0],
                     "long_factor": [1.1, 1.5, 2.5, 4.0, 6.0, 8.0]})

MODELS = {
    "ministral": ("mistral-window-f32.gguf", transformers.MinistralConfig(
        **SHAPE, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, sliding_window=WINDOW,
        layer_types=["full_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})),
    "phi": ("gpt2-f32.gguf", transformers.PhiConfig(
        **{**SHAPE, "intermediate_size": 256}, num_key_value_heads=4, layer_norm_eps=1e-5,
        hidden_act="gelu_new", rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                                                "partial_rotary_factor": 0.5})),
    "phi3": ("llama-mha-f32.gguf", transformers.Phi3Config(
        **SHAPE, num_key_value_heads=4, rms_norm_eps=1e-6, sliding_window=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})),
    "phi3-partial": ("llama-mha-f32.gguf", transformers.Phi3Config(
        **SHAPE, num_key_value_heads=4, rms_norm_eps=1e-6, sliding_window=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                         "partial_rotary_factor": 0.5})),
    # The first 24 ids alone: in a context of 32, which takes the short list; else the long one.
    "phi3-longrope-short": ("llama-mha-f32.gguf", transformers.Phi3Config(**LONGROPE)),
    "phi3-longrope-long": ("llama-mha-f32.gguf", transformers.Phi3Config(**LONGROPE)),
    "llama-dynamic": ("llama-mha-f32.gguf", transformers.LlamaConfig(
        **{**SHAPE, "max_position_embeddings": 16}, num_key_value_heads=4, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0})),
    # Five layers with a window, then one without; two bases; the others scaled.
    "gemma3": ("gemma2-f32.gguf", transformers.Gemma3TextConfig(
        **{**SHAPE, "num_hidden_layers": 7, "tie_word_embeddings": True,
           "max_position_embeddings": 128}, num_key_value_heads=2,
        head_dim=32, query_pre_attn_scalar=24, sliding_window=WINDOW, rms_norm_eps=1e-6,
        rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                         "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0,
                                            "factor": 8.0}})),
    # Layers 1 and 3 would have experts; layer 3 is listed as one that has none.
    "qwen2moe-sparse": ("qwen2moe-f32.gguf", transformers.Qwen2MoeConfig(
        **{**SHAPE, "num_hidden_layers": 4}, num_key_value_heads=2, rms_norm_eps=1e-6,
        num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64,
        shared_expert_intermediate_size=96, norm_topk_prob=False, decoder_sparse_step=2,
        mlp_only_layers=[3], rope_parameters={"rope_type": "default", "rope_theta": 10000.0})),
    "deepseek2-halves": ("deepseek2-v3-f32.gguf", transformers.DeepseekV3Config(
        **{**SHAPE, "num_hidden_layers": 3}, num_key_value_heads=4, rms_norm_eps=1e-6,
        q_lora_rank=32, kv_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=16,
        n_routed_experts=8, n_group=4, topk_group=2, num_experts_per_tok=3, n_shared_experts=1,
        moe_intermediate_size=32, first_k_dense_replace=1, norm_topk_prob=True,
        routed_scaling_factor=2.5, rope_interleave=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})),
}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
GROUPED = dict(**SHAPE, num_key_value_heads=2, rms_norm_eps=1e-6, sliding_window=8)
MODELS.update({
    # A window that no layer has.
    "ministral-full": ("mistral-window-f32.gguf", transformers.MinistralConfig(
        **{**GROUPED, "rms_norm_eps": 1e-5}, head_dim=16, layer_types=["full_attention"] * 2,
        rope_parameters=PLAIN_ROPE)),
    # The second layer has the window; both keys for rotations.
    "qwen2-later": ("qwen2-f32.gguf", transformers.Qwen2Config(
        **GROUPED, use_sliding_window=True, max_window_layers=1, rope_parameters=PLAIN_ROPE)),
    # The first one.
    "qwen2moe-turns": ("qwen2moe-f32.gguf", transformers.Qwen2MoeConfig(
        **GROUPED, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=64,
        shared_expert_intermediate_size=96, use_sliding_window=True, max_window_layers=2,
        rope_parameters=PLAIN_ROPE)),
    # All.
    "qwen3moe-window": ("qwen3moe-f32.gguf", transformers.Qwen3MoeConfig(
        **GROUPED, head_dim=32, num_experts=12, num_experts_per_tok=4, moe_intermediate_size=32,
        use_sliding_window=True, rope_parameters=PLAIN_ROPE)),
    "mixtral-window": ("mixtral-f32.gguf", transformers.MixtralConfig(
        **{**GROUPED, "rms_norm_eps": 1e-5, "intermediate_size": 64}, head_dim=16,
        rope_parameters=PLAIN_ROPE)),
    # What is left out is as in the classes of `transformers`.
    "gemma2-left-out": ("gemma2-f32.gguf", transformers.Gemma2Config(
        **{**GROUPED, "num_hidden_layers": 4, "tie_word_embeddings": True}, head_dim=32,
        query_pre_attn_scalar=32, rope_parameters=PLAIN_ROPE)),
    # It has a cap of its scores in its configuration, which its class does not apply.
    "gemma3-cap": ("gemma2-f32.gguf", transformers.Gemma3TextConfig(
        **{**GROUPED, "num_hidden_layers": 4, "tie_word_embeddings": True}, head_dim=32,
        query_pre_attn_scalar=32, attn_logit_softcapping=1.0, sliding_window_pattern=2)),
    "phi-left-out": ("gpt2-f32.gguf", transformers.PhiConfig(
        **{**SHAPE, "intermediate_size": 256}, num_key_value_heads=4, layer_norm_eps=1e-5,
        hidden_act="gelu_new", rope_parameters={**PLAIN_ROPE, "partial_rotary_factor": 0.5})),
    "gpt-oss-left-out": ("gpt-oss-f32.gguf", transformers.GptOssConfig(
        **{**GROUPED, "rms_norm_eps": 1e-5, "intermediate_size": 64}, head_dim=32,
        num_local_experts=6, num_experts_per_tok=4)),
    "gpt-oss-plain": ("gpt-oss-f32.gguf", transformers.GptOssConfig(
        **{**GROUPED, "rms_norm_eps": 1e-5, "intermediate_size": 64}, head_dim=32,
        num_local_experts=6, num_experts_per_tok=3, layer_types=["full_attention"] * 2,
        rope_parameters=PLAIN_ROPE)),
    # Rotations of a length that does not follow from the factor. Beside latent attention's scores.
    "llama-yarn-whole": ("llama-mha-f32.gguf", transformers.LlamaConfig(
        **{**SHAPE, "max_position_embeddings": 128}, num_key_value_heads=4, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                         "original_max_position_embeddings": 32, "attention_factor": 0.7})),
    "deepseek2-length": ("deepseek2-v3-f32.gguf", transformers.DeepseekV3Config(
        **{**SHAPE, "num_hidden_layers": 3}, num_key_value_heads=4, rms_norm_eps=1e-6,
        q_lora_rank=32, kv_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=16,
        n_routed_experts=8, n_group=4, topk_group=2, num_experts_per_tok=3, n_shared_experts=1,
        moe_intermediate_size=32, first_k_dense_replace=1, norm_topk_prob=True,
        routed_scaling_factor=2.5,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "mscale": 1.0,
                         "mscale_all_dim": 0.5, "original_max_position_embeddings": 64})),
    "llama3-left-out": ("llama-mha-f32.gguf", transformers.LlamaConfig(
        **{**SHAPE, "max_position_embeddings": 64}, num_key_value_heads=4, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0})),
})
# Keys that config.json then has as well, or (...) has not.
CHANGES = {
    "ministral-full": {"partial_rotary_factor": 0.5},  # a key that its class does not know
    "qwen2-later": {"layer_types": ..., "max_position_embeddings": ..., "rope_scaling": {
        "type": "yarn", "factor": 4.0, "rope_theta": 1e6, "original_max_position_embeddings": 64}},
    "qwen2moe-turns": {"layer_types": ..., "norm_topk_prob": ...},
    "qwen3moe-window": {"norm_topk_prob": ...},
    "gemma2-left-out": {"attn_logit_softcapping": ..., "final_logit_softcapping": ...,
                        "layer_types": ...},
    "phi-left-out": {"rope_parameters": ..., "rope_theta": 10000.0},
    "gpt-oss-left-out": {"rope_parameters": ..., "num_experts_per_tok": ..., "layer_types": ...},
    "llama3-left-out": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0,
                                            "factor": 8.0, "low_freq_factor": 1.0,
                                            "high_freq_factor": 4.0}},
}
# How many ids, and the session's context where that is not the model's.
LENGTHS = {"phi3-longrope-short": (24, 32), "phi3-longrope-long": (40, None),
           "llama-dynamic": (40, 40), "gemma3": (48, None), "qwen2moe-sparse": (24, None),
           "deepseek2-halves": (24, None)}
CLASSES = {"ministral": "MinistralForCausalLM", "phi": "PhiForCausalLM",
           "llama": "LlamaForCausalLM", "gemma3_text": "Gemma3ForCausalLM",
           "qwen2_moe": "Qwen2MoeForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM",
           "phi3": "Phi3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "gemma2": "Gemma2ForCausalLM",
          "qwen3_moe": "Qwen3MoeForCausalLM", "mixtral": "MixtralForCausalLM",
          "gpt_oss": "GptOssForCausalLM"}
# No GGUF file is made of these: what is new is in the configuration alone.
ALONE = [name for name in MODELS
         if name.endswith(("-full", "-later", "-turns", "-window", "-out", "-cap", "-plain",
                           "-length"))]
LENGTHS.update({name: (24, None) for name in [*ALONE, "llama-yarn-whole"]})


def main():
    golden, scratch, *wanted = sys.argv[1:]
    chosen = {name: MODELS[name] for name in wanted or MODELS}
    folder = os.path.join(golden, "folders")
    for name, (weights, config) in chosen.items():
        described = json.loads(config.to_json_string(use_diff=True))
        described["architectures"] = [CLASSES[config.model_type]]
        described["weights_of"] = weights
        if name in ALONE:
            described["folder_alone"] = True
        described.update(CHANGES.get(name, {}))
        described = {key: value for key, value in described.items() if value is not ...}
        with open(os.path.join(folder, name + ".config.json"), "w") as file:
            json.dump(described, file, indent=1)
            file.write("\n")
    subprocess.run([sys.executable, os.path.join(golden, "make_folder.py"), golden, scratch],
                   check=True)
    for name, (weights, config) in chosen.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(scratch, name), attn_implementation="eager", dtype=torch.float32,
            **({"experts_implementation": "eager"} if "Moe" in type(config).__name__
               or "DeepseekV3" in type(config).__name__ or "Mixtral" in type(config).__name__
               or "GptOss" in type(config).__name__ else {})).double()
        ids_of = weights.replace(".gguf", ".ids.json")
        with open(os.path.join(golden, "architectures", ids_of)) as file:
            ids = json.load(file)["ids"]
        n_ids, context = LENGTHS.get(name, (len(ids), None))
        ids = ids[:n_ids]
        with torch.no_grad():
            logits = model.eval()(torch.tensor([ids])).logits[0].numpy().astype("<f4")
        logits.tofile(os.path.join(folder, name + ".logits.f32"))
        with open(os.path.join(folder, name + ".ids.json"), "w") as file:
            json.dump({"ids": ids, "n_positions": len(ids), "n_vocab": logits.shape[1],
                       "context": context or 0,
                       "tolerance": 1e-4,
                       "reference": f"transformers {transformers.__version__}, eager attention"},
                      file)
            file.write("\n")
        print(name, logits.std(), np.abs(logits).max())


if __name__ == "__main__":
    main()
