"""Whether `radllm-convert --lora` writes the weights that PEFT's merge_and_unload() gives: for the
adapters of tests/golden/adapters, from folder to folder and from GGUF to folder, and for two at once.

Usage: compare_merged.py RADLLM_CONVERT SCRATCH_FOLDER [NAME...]"""

import json
import os
import subprocess
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file

from golden_folders import GOLDEN, make_folders

ADAPTERS = os.path.join(GOLDEN, "adapters")
# Embeddings that are the output as well: PEFT's merging changes both or unties nothing, which is not
# what the adapter computes; so logits are compared with those of the adapter beside the model.
TIED = ("llama-grouped", "gemma2-embedding", "tied-head", "tied-embedding")
# What PEFT itself does not open: experts without pairs, and the layout of its first versions.
NOT_BY_PEFT = ("mixtral-experts", "mixtral-gates-first")
PAIR = [("llama-all", 0.5), ("llama-attention", -1.25)]
# Sums in another order, in single precision.
TOLERANCE = 2e-6


def merged_by_peft(base, adapters):
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for name, scale in adapters:
        model = peft.PeftModel.from_pretrained(model, os.path.join(ADAPTERS, name))
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                for key in module.scaling:
                    module.scaling[key] *= scale
        model = model.merge_and_unload()
    return model


def convert(program, source, out, adapters, *more):
    named = [word for name, scale in adapters
             for word in ("--lora", f"{os.path.join(ADAPTERS, name)}={scale}")]
    return subprocess.run([program, source, out, "--force", *named, *more], capture_output=True,
                          text=True)


def compare(model, out, scratch):
    """How far the weights of a folder are from those of a model, of their greatest."""
    model.save_pretrained(scratch)
    theirs, ours = (load_file(os.path.join(folder, "model.safetensors"))
                    for folder in (scratch, out))
    missing = {name for name in theirs.keys() ^ ours.keys() if name != "lm_head.weight"}
    if missing:
        return f"other tensors: {sorted(missing)[:4]}"
    worst = max(((ours[name].float() - theirs[name].float()).abs().max() /
                 theirs[name].float().abs().max()).item() for name in ours if name in theirs)
    return f"differs by {worst:.3g}" if not worst < TOLERANCE else None


def compare_logits(given, out, adapters):
    """Of a folder that transformers opens, with those of the model and its adapter."""
    with open(os.path.join(out, "config.json")) as file:
        if json.load(file).get("tie_word_embeddings") is not False:
            return "config.json: tie_word_embeddings is not false"
    ids = torch.tensor([[7, 30, 2, 111, 64, 9, 250, 17]])
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = peft.PeftModel.from_pretrained(load(given, dtype=torch.float32),
                                           os.path.join(ADAPTERS, adapters[0][0]))
    with torch.no_grad():
        theirs = model.double().eval()(ids).logits
        ours = load(out, dtype=torch.float32).double().eval()(ids).logits
    error = (torch.linalg.norm(ours - theirs) / torch.linalg.norm(theirs)).item()
    return f"logits differ by {error:.3g}" if not error < TOLERANCE else None


def main():
    program, scratch, *wanted = sys.argv[1:]
    folders = make_folders(scratch)
    cases = [(name, [(name, 1.0)]) for name in sorted(os.listdir(ADAPTERS))
             if os.path.isdir(os.path.join(ADAPTERS, name)) and name not in NOT_BY_PEFT]
    cases.append(("llama-both", PAIR))
    failed = 0
    for name, adapters in cases:
        if wanted and name not in wanted:
            continue
        with open(os.path.join(ADAPTERS, adapters[0][0], "adapter_config.json")) as file:
            base = json.load(file)["base_model_name_or_path"]
        given, out = os.path.join(folders, base), os.path.join(scratch, name + ".merged")
        gguf = os.path.join(GOLDEN, "architectures", base + "-f32.gguf")
        for source in [given] + [gguf] * os.path.exists(gguf):
            done = convert(program, source, out, adapters)
            if done.returncode != 0:
                wrong = done.stderr
            elif name in TIED:
                wrong = compare_logits(given, out, adapters)
            else:
                wrong = compare(merged_by_peft(given, adapters), out,
                                os.path.join(scratch, name + ".peft"))
            print(f"{name}, {os.path.basename(source)}: {wrong or 'the same'}", flush=True)
            failed += wrong is not None
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
