"""Makes tests/golden/packed: the logits that `transformers` computes, in double precision, from the
decoded weights of the quantized folders of tests/golden/make_packed.py.

Usage: make_packed_logits.py GOLDEN_FOLDER SCRATCH_FOLDER"""

import os
import subprocess
import sys

import torch
import transformers

IDS = [1, 17, 64, 95]


def main():
    golden, scratch = sys.argv[1:]
    subprocess.run([sys.executable, os.path.join(golden, "make_packed.py"), scratch], check=True)
    os.makedirs(os.path.join(golden, "packed"), exist_ok=True)
    for name in sorted(os.listdir(scratch)):
        if not name.endswith("-f32"):
            continue
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(scratch, name), attn_implementation="eager", dtype=torch.float32).double()
        model.config._experts_implementation = "eager"  # the others know no double precision
        with torch.no_grad():
            logits = model.eval()(torch.tensor([IDS])).logits[0].numpy().astype("<f4")
        logits.tofile(os.path.join(golden, "packed", name[:-4] + ".logits.f32"))
        print(name, logits.std())


if __name__ == "__main__":
    main()
