"""Whether `transformers` computes the same from a folder and from what radllm-convert makes of it by
way of a GGUF file: for all folders that tests/golden/make_folder.py makes. Logits (of encoders: last
hidden states) and, where there is a tokenizer, ids must be equal, bit for bit.

Usage: compare_converted.py RADLLM_CONVERT SCRATCH_FOLDER [NAME...]"""

import json
import os
import shutil
import subprocess
import sys

import torch
import transformers

from golden_folders import make_folders

# Names whose way through GGUF is refused, and what the message says.
REFUSED = {"llama-dynamic": "dynamic", "deepseek2-halves": "rope_interleave",
           "xlm-roberta": "has no words", "qwen2moe-sparse": None}
TEXT = "The Chest X-ray shows no acute abnormality, 3 cm."


def convert(program, *arguments):
    done = subprocess.run([program, *arguments, "--force"], capture_output=True, text=True)
    return done.returncode, done.stderr


def compute(folder, encoder):
    kind = transformers.AutoModel if encoder else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        out = model(ids)
    return out.last_hidden_state if encoder else out.logits


def tokenize(folder):
    if not os.path.exists(os.path.join(folder, "tokenizer.json")):
        return None
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=os.path.join(folder, "tokenizer.json"))(TEXT)["input_ids"]


def compare(program, given, scratch, name):
    """A line that says how it went; None where it went well."""
    gguf, back = os.path.join(scratch, name + ".made.gguf"), os.path.join(scratch, name + ".back")
    code, text = convert(program, given, gguf)
    if REFUSED.get(name) is not None:
        if code == 0 or REFUSED[name] not in text:
            return f"is not refused as it should be: {text}"
        gguf = given  # folder to folder says the same
    elif code != 0:
        return text
    code, text = convert(program, gguf, back)
    if code != 0:
        return text
    with open(os.path.join(given, "config.json")) as file:
        config = json.load(file)
    if name == "gpt-oss-mxfp4":  # what make_folder.py leaves out: `transformers` reads blocks by it
        with open(os.path.join(given, "config.json"), "w") as file:
            json.dump({**config, "quantization_config": {"quant_method": "mxfp4"}}, file)
    encoder = "bert" in config["model_type"] or config["architectures"][0].endswith("Model")
    ours, theirs = compute(back, encoder), compute(given, encoder)
    tokens = tokenize(back) == tokenize(given)
    shutil.rmtree(back)
    if not torch.equal(ours, theirs):
        return f"differs by {(ours - theirs).abs().max():.3g}"
    return None if tokens else "has other tokens"


def main():
    program, scratch, *wanted = sys.argv[1:]
    folders = make_folders(scratch)
    failed = 0
    for name in sorted(wanted or os.listdir(folders)):
        given = os.path.join(folders, name)
        if not os.path.isdir(given) or name.endswith("-sees"):
            continue
        ids = tokenize(given)
        wrong = compare(program, given, scratch, name)
        print(f"{name}: {'the same' if wrong is None else wrong}"
              f"{'' if ids is None else ', with a tokenizer'}", flush=True)
        failed += wrong is not None
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
