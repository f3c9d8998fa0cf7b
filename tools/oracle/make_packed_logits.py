"""Makes tests/golden/packed: the logits that `transformers` computes, in double precision, from the
decoded weights of the quantized folders of tests/golden/make_packed.py.

Usage: make_packed_logits.py GOLDEN_FOLDER SCRATCH_FOLDER"""

import os
import subprocess
import sys

import safetensors.torch
import torch
import transformers

IDS = [1, 17, 64, 95]
APART = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def join_parts(folder):
    """Phi-3's matrices as its class has them, of those that stand apart."""
    path = os.path.join(folder, "model.safetensors")
    tensors = safetensors.torch.load_file(path)
    for name in [name for name in tensors if "q_proj" in name or "gate_proj" in name]:
        for whole, parts in APART.items():
            if parts[0] in name:
                tensors[name.replace(parts[0], whole)] = torch.cat(
                    [tensors.pop(name.replace(parts[0], part)) for part in parts])
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def main():
    golden, scratch = sys.argv[1:]
    subprocess.run([sys.executable, os.path.join(golden, "make_packed.py"), scratch], check=True)
    os.makedirs(os.path.join(golden, "packed"), exist_ok=True)
    for name in sorted(os.listdir(scratch)):
        if not name.endswith("-f32") or "encoder" in name:
            continue
        if "apart" in name:
            join_parts(os.path.join(scratch, name))
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(scratch, name), attn_implementation="eager", dtype=torch.float32).double()
        model.config._experts_implementation = "eager"  # the others know no double precision
        with torch.no_grad():
            logits = model.eval()(torch.tensor([IDS])).logits[0].numpy().astype("<f4")
        logits.tofile(os.path.join(golden, "packed", name[:-4] + ".logits.f32"))
        print(name, logits.std())


if __name__ == "__main__":
    main()
