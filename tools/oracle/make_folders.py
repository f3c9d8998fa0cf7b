"""Saves the tiny models of make_tiny_models.py as `transformers` itself saves them: folders with
config.json and model.safetensors. tests/golden/make_folder.py makes the same folders from the
committed GGUF files; this script compares the two, tensor by tensor.

Usage: make_folders.py OUTPUT_FOLDER [--configurations FOLDER] [--check GGUF_FOLDER] [NAME...]

--configurations: also write NAME.config.json there, for the repository.
--check: make the folder from NAME-f32.gguf of this folder too, and compare.
"""

import argparse
import json
import os
import sys

import numpy as np
import transformers
from safetensors.numpy import load_file, save_file

import make_tiny_models as tiny
import tiny_families

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden"))


def make_model(name):
    architecture, config = tiny.MODELS[name]
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    if architecture == "mpt" and config.attn_config.qk_ln:
        tiny_families.norm_queries_and_keys(model)
    model.eval()
    tiny.randomize(model, name, tiny.Type.F32)
    return model


def rename_norms(path):
    """MPT's norms of queries and keys, which `transformers` has not, as MPT's own code names them."""
    tensors = load_file(path)
    if any(".Wqkv.q_ln." in key for key in tensors):
        save_file({key.replace(".Wqkv.q_ln.", ".q_ln.").replace(".Wqkv.k_ln.", ".k_ln."): value
                   for key, value in tensors.items()}, path, {"format": "pt"})


def check(folder, made):
    ours, theirs = (load_file(os.path.join(f, "model.safetensors")) for f in (made, folder))
    # Tables that `transformers` makes anew, and Gemma's norms, which the GGUF has plus one.
    for key in sorted(set(ours) | set(theirs)):
        if key not in ours or key not in theirs:
            print(f"  {key}: only in {'ours' if key in ours else 'theirs'}")
        elif ours[key].shape != theirs[key].shape:
            print(f"  {key}: {ours[key].shape}, theirs {theirs[key].shape}")
        elif not np.array_equal(ours[key], theirs[key]):
            print(f"  {key}: differs by {np.abs(ours[key] - theirs[key]).max():.2g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output")
    parser.add_argument("--configurations")
    parser.add_argument("--check")
    parser.add_argument("names", nargs="*")
    choices = parser.parse_args()
    for name in choices.names or tiny.MODELS:
        if name in tiny.VALUE_SIZES:
            continue  # not a model of `transformers` as it is
        folder = os.path.join(choices.output, name)
        model = make_model(name)
        model.save_pretrained(folder)
        rename_norms(os.path.join(folder, "model.safetensors"))
        print(name, os.path.getsize(os.path.join(folder, "model.safetensors")))
        if choices.configurations:
            with open(os.path.join(folder, "config.json")) as file:
                config = json.load(file)
            with open(os.path.join(choices.configurations, name + ".config.json"), "w") as file:
                json.dump(config, file, indent=1)
                file.write("\n")
        if choices.check:
            import make_folder
            made = folder + "-made"
            make_folder.make(os.path.join(choices.check, name + "-f32.gguf"),
                             os.path.join(folder, "config.json"), made)
            check(folder, made)


if __name__ == "__main__":
    main()
