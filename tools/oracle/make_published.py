#!/usr/bin/env python3
"""Makes tiny quantized folders with the packages that people publish with (published_*.py), and for
each what the package itself decodes from it: the SHA-256 of every matrix in F32, and the logits
that `transformers` computes from those in double precision.

Usage: make_published.py OUTPUT_FOLDER [--only PREFIX,...] [--golden]

For each case OUTPUT_FOLDER/NAME, NAME.json (tensors, or what a refusal says) and NAME.logits.f32:
what test_golden_published reads. --golden: some cases of smaller models, tests/golden/published.
Environment: README, "Folders of other packages"."""

import argparse
import hashlib
import json
import os
import shutil
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # everything on the processor
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
import transformers

IDS = [1, 7, 10, 15]
GOLDEN = ("gptq-4-asym-v1", "gptq-3-asym-v2-order", "awq-bias", "integers-4-asym", "exl2-mixed",
          "nf4-storage", "int8-outliers")
WIDTH, FFN, HEADS, KV_HEADS, VOCABULARY = 64, 128, 2, 1, 32
ROLES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}


def make_base(kind="llama", dtype=torch.bfloat16, **settings):
    """A model of random weights that a BF16 holds, the same for each call of equal arguments."""
    torch.manual_seed(7)
    shape = dict(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=FFN,
                 num_hidden_layers=1, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
                 max_position_embeddings=128, tie_word_embeddings=False, pad_token_id=0,
                 bos_token_id=1, eos_token_id=2)
    config = transformers.AutoConfig.for_model(kind, **{**shape, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, 0.3 if "embed" in name else 0.1)
            parameter.copy_(parameter.to(torch.bfloat16).float())
    return model.to(dtype).eval()


def linears(model, skip=("lm_head",)):
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and not any(part in name for part in skip)}


def gguf_name(module):
    if module in ("lm_head", "model.embed_tokens"):
        return {"lm_head": "output", "model.embed_tokens": "token_embd"}[module] + ".weight"
    _, _, layer, part = module.split(".", 3)
    return f"blk.{layer}.{ROLES[part]}.weight"


def digest(matrix):
    matrix = matrix.detach() + 0.0  # a zero has no sign here: formats and programs differ in it
    return hashlib.sha256(matrix.contiguous().float().numpy().tobytes()).hexdigest()


def wide_logits(base, decoded):
    """Of the base model with the decoded matrices in the place of its own."""
    state = base.state_dict()
    wide = type(base)(base.config).double()
    wide.load_state_dict({name: decoded[name[:-7]].double()
                          if name.endswith(".weight") and name[:-7] in decoded else value.double()
                          for name, value in state.items()})
    with torch.no_grad():
        return wide.eval()(torch.tensor([IDS])).logits[0]


def finish(out, name, case):
    """case: base, decoded {module: F32 matrix}, named {tensor: matrix}, tolerance; or refuse."""
    if "refuse" in case:
        expected = {"refuse": case["refuse"]}
    else:
        logits = wide_logits(case["base"], case["decoded"])
        named = {gguf_name(m): w for m, w in case["decoded"].items()}
        named.update(case.get("named", {}))
        expected = {"ids": IDS, "tolerance": case["tolerance"], "tensors": {
            name: digest(matrix) for name, matrix in named.items() if case.get("hashed", True)}}
        logits.numpy().astype("<f4").tofile(os.path.join(out, name + ".logits.f32"))
    with open(os.path.join(out, name + ".json"), "w") as file:
        json.dump(expected, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--only", default="")
    parser.add_argument("--golden", action="store_true")
    arguments = parser.parse_args()
    if arguments.golden:
        global FFN, VOCABULARY
        FFN, VOCABULARY = 64, 16
    import published_affine
    import published_floats
    wanted = tuple(arguments.only.split(","))
    failed = 0
    for name, make in {**published_affine.CASES, **published_floats.CASES}.items():
        if not name.startswith(wanted) or (arguments.golden and name not in GOLDEN):
            continue
        folder = os.path.join(arguments.output, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        try:
            finish(arguments.output, name, make(folder))
            shutil.rmtree(folder + "-base", ignore_errors=True)
            if os.path.exists(os.path.join(folder, "generation_config.json")):
                os.remove(os.path.join(folder, "generation_config.json"))
            print("made", name, flush=True)
        except Exception as error:  # the others are wanted all the same
            failed += 1
            print("FAILED", name, type(error).__name__, str(error)[:500], flush=True)
            if os.environ.get("TRACE"):
                raise
    sys.exit(failed > 0)


if __name__ == "__main__":
    sys.modules["make_published"] = sys.modules["__main__"]
    main()
