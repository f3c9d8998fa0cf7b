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
# How many ids, and the session's context where that is not the model's.
LENGTHS = {"phi3-longrope-short": (24, 32), "phi3-longrope-long": (40, None),
           "llama-dynamic": (40, 40), "gemma3": (48, None), "qwen2moe-sparse": (24, None),
           "deepseek2-halves": (24, None)}
CLASSES = {"ministral": "MinistralForCausalLM", "phi": "PhiForCausalLM",
           "llama": "LlamaForCausalLM", "gemma3_text": "Gemma3ForCausalLM",
           "qwen2_moe": "Qwen2MoeForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM",
           "phi3": "Phi3ForCausalLM"}


def main():
    golden, scratch, *wanted = sys.argv[1:]
    chosen = {name: MODELS[name] for name in wanted or MODELS}
    folder = os.path.join(golden, "folders")
    for name, (weights, config) in chosen.items():
        described = json.loads(config.to_json_string(use_diff=True))
        described["architectures"] = [CLASSES[config.model_type]]
        described["weights_of"] = weights
        with open(os.path.join(folder, name + ".config.json"), "w") as file:
            json.dump(described, file, indent=1)
            file.write("\n")
    subprocess.run([sys.executable, os.path.join(golden, "make_folder.py"), golden, scratch],
                   check=True)
    for name, (weights, config) in chosen.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(scratch, name), attn_implementation="eager", dtype=torch.float32,
            **({"experts_implementation": "eager"} if "Moe" in type(config).__name__
               or "DeepseekV3" in type(config).__name__ else {})).double()
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
