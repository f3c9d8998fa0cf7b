"""Makes tests/golden/folders: models of families whose tensors are those of a committed GGUF file in
another arrangement, so that the configuration and the logits are all that is new.

Usage: make_folder_logits.py GOLDEN_FOLDER SCRATCH_FOLDER

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
}


def main():
    golden, scratch = sys.argv[1:]
    folder = os.path.join(golden, "folders")
    for name, (weights, config) in MODELS.items():
        described = json.loads(config.to_json_string(use_diff=True))
        described["architectures"] = [{"ministral": "MinistralForCausalLM",
                                       "phi": "PhiForCausalLM"}.get(name, "Phi3ForCausalLM")]
        described["weights_of"] = weights
        with open(os.path.join(folder, name + ".config.json"), "w") as file:
            json.dump(described, file, indent=1)
            file.write("\n")
    subprocess.run([sys.executable, os.path.join(golden, "make_folder.py"), golden, scratch],
                   check=True)
    for name, (weights, _) in MODELS.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(scratch, name), attn_implementation="eager", dtype=torch.float32).double()
        ids_of = weights.replace(".gguf", ".ids.json")
        with open(os.path.join(golden, "architectures", ids_of)) as file:
            ids = json.load(file)["ids"]
        with torch.no_grad():
            logits = model.eval()(torch.tensor([ids])).logits[0].numpy().astype("<f4")
        logits.tofile(os.path.join(folder, name + ".logits.f32"))
        with open(os.path.join(folder, name + ".ids.json"), "w") as file:
            json.dump({"ids": ids, "n_positions": len(ids), "n_vocab": logits.shape[1],
                       "tolerance": 1e-4,
                       "reference": f"transformers {transformers.__version__}, eager attention"},
                      file)
            file.write("\n")
        print(name, logits.std(), np.abs(logits).max())


if __name__ == "__main__":
    main()
