"""Random LoRA adapters of PEFT beside every quantized form of folder that tests/golden/make_packed.py
makes (FP8 by tensor, channel and block, MXFP4, NVFP4, GPTQ, AWQ, NF4 and others), and beside MXFP4
experts (gpt-oss): what this library computes, attached, merged at loading and merged into a GGUF
file of F32, against `peft` on the same weights decoded, in double precision; with --llama, also with
the GGUF file that llama.cpp's convert_lora_to_gguf.py makes of the adapter.

Usage: compare_adapted_forms.py BUILD SCRATCH [--llama CHECKOUT] [NAME...]

`base` is the error without the adapter: that of the model's own quantized products, which round
activations to 8 bits (a few thousandths), or of its floats (1e-6). With an adapter it must be of the
same size; `*` marks what is greater than three times it. Merging at loading is refused where a type
is not written; into MXFP4 it rounds a second time, and what that alone costs (the merged weights
rounded to nearest, computed in double precision) is `rounded` and a third more is allowed."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import library
from make_packed_logits import IDS, join_parts

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj",
          "gate_up_proj"]


def widen_experts(folder, out):
    """The folder with NAME in place of NAME_blocks and NAME_scales, as transformers has it."""
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    levels = torch.cat([levels, -levels])
    for name in [name[:-7] for name in tensors if name.endswith("_blocks")]:
        blocks, scales = tensors.pop(name + "_blocks"), tensors.pop(name + "_scales")
        numbers = levels[torch.stack([blocks & 15, blocks >> 4], -1).long()].flatten(-2)
        numbers = numbers * torch.exp2(scales.float() - 127)[..., None]
        tensors[name] = numbers.flatten(-2).transpose(1, 2).contiguous()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(folder, out)
    save_file(tensors, os.path.join(out, "model.safetensors"), {"format": "pt"})
    path = os.path.join(out, "config.json")
    with open(path) as file:
        config = json.load(file)
    config.pop("quantization_config", None)
    with open(path, "w") as file:
        json.dump(config, file)


def round_again(weights):
    """The nearest numbers of MXFP4, in blocks of 32 of the last dimension."""
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
    blocks = weights.double().reshape(-1, 32)
    greatest = blocks.abs().amax(1, keepdim=True)
    scales = torch.where(greatest > 0, torch.exp2(torch.floor(torch.log2(greatest)) - 2), 1.0)
    nearest = ((blocks.abs() / scales)[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * scales * blocks.sign()).reshape(weights.shape)


def run_rounded(plain, adapter):
    """The logits where the adapter is merged and what is MXFP4 in the folder is so again: of
    gpt-oss the experts, which are stored turned."""
    model = load(plain)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    merged = peft.PeftModel.from_pretrained(model, adapter).double().eval().merge_and_unload()
    experts = any("experts" in key for key in before)
    for key, value in merged.state_dict().items():
        if key not in before or torch.equal(before[key], value):
            continue
        if "experts" in key:
            value.copy_(round_again(value.transpose(1, 2).contiguous()).transpose(1, 2))
        elif not experts:
            value.copy_(round_again(value))
    return run(merged, IDS)


def load(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", experts_implementation="eager", dtype=torch.float32)
    return model.double().eval()


def run(model, ids):
    return model(torch.tensor([ids])).logits[0].numpy()


def make_adapter(model, folder):
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    parameters = [f"mlp.experts.{key}" for key in ("gate_up_proj", "down_proj")
                  if any(name.endswith(f"experts.{key}") for name, _ in model.named_parameters())]
    torch.manual_seed(len(folder))
    adapted = peft.get_peft_model(model, peft.LoraConfig(
        task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=sorted(names & set(LINEAR)),
        **({"target_parameters": parameters} if parameters else {})))
    for key, value in adapted.named_parameters():
        if "lora_" in key:
            value.copy_(torch.randn(value.shape, dtype=value.dtype) * 0.1)
    shutil.rmtree(folder, ignore_errors=True)
    adapted.float().save_pretrained(folder)
    logits = run(adapted.double(), IDS)
    return logits


class Comparison:
    def __init__(self, choices):
        self.choices = choices
        self.library = library.Library(choices.build)

    def ours(self, path, **options):
        with self.library.open(path, cache="f32", **options) as opened:
            return opened.logits(IDS)

    def written(self, folder, adapter):
        out = os.path.join(self.choices.scratch, "written.gguf")
        program = os.path.join(self.choices.build, "examples", "radllm-convert")
        done = subprocess.run([program, folder, out, "--force", "--type", "F32", "--lora", adapter],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise library.Failure(done.stderr.strip())
        return self.ours(out)

    def by_converter(self, folder, plain, adapter):
        out = adapter + ".gguf"
        done = subprocess.run(
            [sys.executable, os.path.join(self.choices.llama, "convert_lora_to_gguf.py"), "--base",
             plain, "--outfile", out, "--outtype", "f32", adapter], capture_output=True, text=True)
        if done.returncode != 0:
            raise library.Failure(f"converter: {done.stderr.strip().splitlines()[-1][:100]}")
        return self.ours(folder, adapter=out)

    def compare(self, name, folder, plain):
        adapter = os.path.join(self.choices.scratch, name + "-adapter")
        if "apart" in name:
            join_parts(plain)
        model = load(plain)
        without = run(model, IDS)
        expected = make_adapter(model, adapter)

        def error(rows, golden):
            return float(np.linalg.norm(rows - golden) / np.linalg.norm(golden))

        base = error(self.ours(folder), without)
        line = [f"effect {error(expected, without):.1e}", f"base {base:.1e}"]
        limits = {}
        if "mxfp4" in name:
            rounded = error(run_rounded(plain, adapter), expected)
            line.append(f"rounded {rounded:.1e}")
            limits["merged"] = 4 / 3 * rounded
        ways = [("attached", lambda: self.ours(folder, adapter=adapter)),
                ("merged", lambda: self.ours(folder, adapter=adapter, adapter_merge=1)),
                ("written", lambda: self.written(folder, adapter))]
        if self.choices.llama:
            ways.append(("GGUF attached", lambda: self.by_converter(folder, plain, adapter)))
        for what, compute in ways:
            try:
                found = error(compute(), expected)
                mark = " *" if not found < limits.get(what, 3 * max(base, 2e-6)) else ""
                line.append(f"{what} {found:.1e}{mark}")
            except library.Failure as failure:
                line.append(f"{what}: {failure}")
        print(f"{name}: {', '.join(line)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("scratch")
    parser.add_argument("--llama", help="a checkout with convert_lora_to_gguf.py")
    parser.add_argument("names", nargs="*")
    choices = parser.parse_intermixed_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    packed, folders = (os.path.join(choices.scratch, part) for part in ("packed", "folders"))
    subprocess.run([sys.executable, os.path.join(GOLDEN, "make_packed.py"), packed], check=True)
    subprocess.run([sys.executable, os.path.join(GOLDEN, "make_folder.py"), GOLDEN, folders],
                   check=True)
    comparison = Comparison(choices)
    cases = [(name[:-4], os.path.join(packed, name[:-4]), os.path.join(packed, name))
             for name in sorted(os.listdir(packed)) if name.endswith("-f32") and "enc" not in name]
    experts = os.path.join(folders, "gpt-oss-mxfp4")
    widen_experts(experts, experts + "-f32")
    cases.append(("gpt-oss-mxfp4", experts, experts + "-f32"))
    for name, folder, plain in cases:
        if choices.names and name not in choices.names:
            continue
        try:
            comparison.compare(name, folder, plain)
        except Exception as failure:
            print(f"{name}: {type(failure).__name__}: {failure}"[:300], flush=True)


if __name__ == "__main__":
    main()
