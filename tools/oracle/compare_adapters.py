"""Random LoRA adapters of PEFT for random small models of every family (converter_families.py):
what this library computes with them from the folder and from radllm-convert's GGUF file, beside the
model, merged at loading and merged into a folder; and, with --llama, from the GGUF file that
llama.cpp's convert_lora_to_gguf.py makes of the adapter, beside llama.cpp itself.

Usage: compare_adapters.py BUILD SCRATCH [--seeds N] [--kinds all,ends,...] [--llama CHECKOUT
           --programs PROGRAMS] [FAMILY...]

Figures are relative errors of logits (of encoders: of vectors) against `peft` in double precision;
`*` marks more than 2e-5, and refusals are printed as they are: which of them are right is written in
docs/lora.md. `effect` is what the adapter changes, `theirs` is llama.cpp's own error, large where it
computes the family otherwise without an adapter as well (compare_with_converter.py)."""

import argparse
import os
import random
import shutil
import subprocess
import sys
import warnings
import zlib

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import compare_with_converter
import converter_families
import library

TOLERANCE = 2e-5
CONV1D = transformers.pytorch_utils.Conv1D


def last(name):
    return name.rsplit(".", 1)[-1]


class Targets:
    """What of a model an adapter can change."""

    def __init__(self, model):
        head = getattr(model, "get_output_embeddings", lambda: None)()
        self.linear, self.tables, self.head, self.parameters, self.norms = [], [], [], [], []
        for name, module in model.named_modules():
            if module is head and head is not None:
                self.head.append(last(name))
            elif isinstance(module, (torch.nn.Linear, CONV1D)) and "pooler" not in name:
                self.linear.append(name)
            elif isinstance(module, torch.nn.Embedding) and not any(
                    part in name for part in ("wpe", "position", "token_type")):
                self.tables.append(last(name))
            elif "norm" in name.lower() or "ln_" in name:
                self.norms.append(last(name))
            if name.endswith(".experts"):
                self.parameters += [f"mlp.experts.{key}" for key, value
                                    in module.named_parameters(recurse=False) if value.ndim == 3]
        self.names = sorted({last(name) for name in self.linear})
        self.turned = any(isinstance(module, CONV1D) for module in model.modules())


def configure(kind, targets, r):
    """The arguments of LoraConfig; None where the family has nothing of the kind."""
    config = dict(r=r.choice([1, 2, 3, 5, 8]), lora_alpha=r.choice([1, 4, 7, 16]),
                  fan_in_fan_out=targets.turned)
    some = r.sample(targets.names, r.randint(1, len(targets.names)))
    if {"gate_proj", "up_proj"} & set(some) and targets.parameters:  # PEFT wants both
        some = sorted({*some, "gate_proj", "up_proj"})

    def ending(name):
        return ".".join(name.split(".")[-r.choice([1, 2, 3]):])

    def patterns(values):
        return {ending(name): r.choice(values)
                for name in r.sample(targets.linear, min(3, len(targets.linear)))}
    kinds = {
        "all": dict(target_modules="all-linear"),
        "patterns": dict(target_modules=some, use_rslora=r.random() < 0.5,
                         rank_pattern=patterns([1, 4, 6]), alpha_pattern=patterns([0.5, 2, 9])),
        "regex": dict(target_modules=rf".*\.({'|'.join(some)})"),
        "layers": dict(target_modules=some, layers_to_transform=[1]),
        "ends": dict(target_modules=[*targets.tables, *targets.head, *some]),
        "tying": dict(target_modules=[*targets.tables, *some], ensure_weight_tying=True),
        "experts": targets.parameters and dict(
            target_modules=[], target_parameters=sorted(set(targets.parameters)),
            use_rslora=r.random() < 0.5, alpha_pattern={"gate_up_proj": 6}),
        # Only to be merged.
        "dora": dict(target_modules=some, use_dora=True, use_rslora=r.random() < 0.5),
        "norms": dict(target_modules=some, modules_to_save=sorted(set(targets.norms))[:2]),
        "head": targets.head and dict(target_modules=some, modules_to_save=targets.head),
        "biases": dict(target_modules=some, bias=r.choice(["all", "lora_only"])),
    }
    return {**config, **kinds[kind]} if kinds[kind] else None


def load(case, folder):
    kind = transformers.AutoModel if case.pooling else transformers.AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                experts_implementation="eager").double().eval()


def run(case, model, ids):
    out = model(torch.tensor([ids]))[0][0].numpy()
    if case.pooling:
        row = {"mean": out.mean(0), "cls": out[0], "lasttoken": out[-1]}[case.pooling]
        return compare_with_converter.normalize(row[None])
    return out


def make_adapter(case, base, folder, config, r):
    dtype = r.choice([torch.float32, torch.float16, torch.bfloat16])
    task = "FEATURE_EXTRACTION" if case.pooling else "CAUSAL_LM"
    model = peft.get_peft_model(load(case, base), peft.LoraConfig(task_type=task, **config))
    for key, value in model.named_parameters():
        noise = torch.randn(value.shape, dtype=value.dtype)
        if "magnitude" in key:
            value.mul_(1 + noise * 0.2)
        elif "lora_" in key:
            value.copy_(noise * 0.15)
        elif value.requires_grad:  # whole tensors
            value.add_(noise * 0.1)
    model.save_pretrained(folder)
    path = os.path.join(folder, "adapter_model.safetensors")
    save_file({key: value.to(torch.float32 if key.endswith(".base_layer.weight") else dtype)
               .contiguous().clone() for key, value in load_file(path).items()}, path,
              {"format": "pt"})


class Comparison:
    def __init__(self, choices):
        self.choices = choices
        self.library = library.Library(choices.build)
        self.script = None
        if choices.llama:
            self.converter = compare_with_converter.Comparison(choices)
            self.name = os.path.join(choices.llama, "convert_lora_to_gguf.py")
            with open(self.name) as file:
                self.script = compile(file.read(), self.name, "exec")

    def ours(self, case, path, ids, adapter=None, **options):
        if adapter is not None:
            options["adapter"] = adapter
        if case.pooling:
            options["batch"] = 128
        with self.library.open(path, **options) as opened:
            out = opened.embeddings([ids]) if case.pooling else opened.logits(ids)
        return compare_with_converter.normalize(out) if case.pooling else out

    def convert(self, *words):
        program = os.path.join(self.choices.build, "examples", "radllm-convert")
        done = subprocess.run([program, *words, "--force"], capture_output=True, text=True)
        if done.returncode != 0:
            raise library.Failure(done.stderr.strip())

    def convert_adapter(self, base, adapter, out):
        """By llama.cpp's script, in this process, where its modules are loaded once."""
        given, sys.argv = sys.argv, [self.name, "--base", base, "--outfile", out, adapter]
        try:
            exec(self.script, {"__name__": "__main__", "__file__": self.name})
        except (Exception, SystemExit) as failure:
            raise library.Failure(f"{type(failure).__name__}: {failure}"[:120])
        finally:
            sys.argv = given

    def theirs(self, case, path, adapter, ids):
        program = "llama_embeddings" if case.pooling else "llama_logits"
        out = os.path.join(self.choices.scratch, "theirs.f32")
        done = subprocess.run(
            [os.path.join(self.choices.programs, program), path, out, "--lora", adapter],
            input=" ".join(map(str, ids)) + "\n", text=True, stderr=subprocess.PIPE,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"})
        if done.returncode != 0:
            raise library.Failure((done.stderr.strip() or "crash").splitlines()[0][:160])
        rows = np.fromfile(out, "<f4").reshape(1 if case.pooling else len(ids), -1)
        return compare_with_converter.normalize(rows) if case.pooling else rows

    def figure(self, what, expected, compute, judged=True):
        try:
            found = compute()
        except library.Failure as failure:
            return f"{what}: {failure}"
        columns = min(found.shape[1], expected.shape[1])
        found, expected = found[:, :columns], expected[:, :columns]
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        return f"{what} {error:.1e}" + (" *" if judged and not error < TOLERANCE else "")

    def compare(self, family, seed, kind):
        # A name that llama.cpp knows nothing of: it treats phi-3 in its own way.
        stem = os.path.join(self.choices.scratch, f"{family.replace('phi', 'f')}-{seed}")
        case, r = converter_families.make_case(family, seed), random.Random(f"{family}{seed}{kind}")
        base, adapter = stem + "-base", stem + "-adapter"
        for path in (base, adapter, stem + "-merged"):
            shutil.rmtree(path, ignore_errors=True)
        compare_with_converter.make_folder(case, base, zlib.crc32(stem.encode()), "f32")
        model = load(case, base)
        config = configure(kind, Targets(model), r)
        if config is None:
            return
        torch.manual_seed(seed)
        make_adapter(case, base, adapter, config, r)
        ids = [r.randrange(5, case.config.vocab_size - 10) for _ in range(24)]
        plain = run(case, model, ids)
        expected = run(case, peft.PeftModel.from_pretrained(model, adapter).double().eval(), ids)
        line = [f"effect {np.linalg.norm(expected - plain) / np.linalg.norm(plain):.1e}"]
        self.convert(base, stem + ".gguf")
        for name, path in (("folder", base), ("GGUF", stem + ".gguf")):
            line += [self.figure(name, expected, lambda: self.ours(case, path, ids, adapter)),
                     self.figure(f"{name} merged", expected,
                                 lambda: self.ours(case, path, ids, adapter, adapter_merge=1))]

        def written():
            self.convert(base, stem + "-merged", "--lora", adapter)
            return run(case, load(case, stem + "-merged"), ids)
        line.append(self.figure("written, by transformers", expected, written))
        if self.script is not None:
            line += self.compare_gguf(case, base, adapter, stem, ids, expected)
        print(f"{family} {seed} {kind}: {', '.join(line)}", flush=True)

    def compare_gguf(self, case, base, adapter, stem, ids, expected):
        try:
            self.convert_adapter(base, adapter, stem + "-lora.gguf")
            self.converter.convert(base, stem + "-made.gguf", "f32", case.tokenizer)
        except (library.Failure, Exception) as failure:
            return [f"converter: {failure}"]
        lost = bool(case.lost)
        return [self.figure("its adapter, folder", expected,
                            lambda: self.ours(case, base, ids, stem + "-lora.gguf")),
                self.figure("its adapter and model", expected,
                            lambda: self.ours(case, stem + "-made.gguf", ids, stem + "-lora.gguf"),
                            not lost),
                self.figure("theirs", expected,
                            lambda: self.theirs(case, stem + "-made.gguf", stem + "-lora.gguf", ids),
                            False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("scratch")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kinds", default="all,patterns,regex,layers,ends,tying,experts,dora,norms,"
                                           "head,biases")
    parser.add_argument("--llama", help="a checkout with convert_lora_to_gguf.py")
    parser.add_argument("--programs", help="llama_logits and llama_embeddings")
    parser.add_argument("families", nargs="*")
    choices = parser.parse_intermixed_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    os.makedirs(choices.scratch, exist_ok=True)
    comparison = Comparison(choices)
    for family in choices.families or converter_families.FAMILIES:
        if family == "deepseek2" and choices.llama:
            converter_families.read_deepseek_llm(choices.llama)
        for seed in range(choices.seeds):
            for kind in choices.kinds.split(","):
                try:
                    comparison.compare(family, seed, kind)
                except Exception as failure:  # of the packages: such an adapter cannot be
                    print(f"{family} {seed} {kind}: {type(failure).__name__}: {failure}"[:300],
                          flush=True)


if __name__ == "__main__":
    main()
