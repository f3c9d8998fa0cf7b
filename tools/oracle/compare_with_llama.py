"""Compares the golden logits of a folder with those of llama.cpp (program llama_logits).

Usage: compare_with_llama.py LLAMA_LOGITS_PROGRAM FOLDER [--write FILE.json]

Prints per model the relative error of all logits (norm of the difference over norm of the golden),
the worst relative error of one position, and at how many positions the best token differs.
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np


def compare(program, path):
    with open(path) as source:
        golden = json.load(source)
    folder = os.path.dirname(path)
    shape = (golden["n_positions"], golden["n_vocab"])
    expected = np.fromfile(os.path.join(folder, golden["logits"]), "<f4").reshape(shape)
    with tempfile.NamedTemporaryFile() as out:
        run = subprocess.run([program, os.path.join(folder, golden["model"]), out.name],
                             input=" ".join(map(str, golden["ids"])), text=True,
                             stderr=subprocess.PIPE)
        if run.returncode != 0:
            return {"refused": run.stderr.strip().splitlines()[0] if run.stderr else "crash"}
        found = np.fromfile(out.name, "<f4").reshape(shape)
    difference = np.linalg.norm(found - expected, axis=1)
    rows = np.linalg.norm(expected, axis=1)
    return {
        "relative_error": float(np.linalg.norm(difference) / np.linalg.norm(rows)),
        "worst_position_error": float((difference / rows).max()),
        "best_token_differs": int((found.argmax(1) != expected.argmax(1)).sum()),
        "first_position_above_1e-2": next(
            (int(i) for i in np.nonzero(difference / rows > 1e-2)[0]), None),
    }


def main():
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    results = {}
    for path in sorted(glob.glob(os.path.join(sys.argv[2], "*.ids.json"))):
        name = os.path.basename(path)[: -len(".ids.json")]
        results[name] = result = compare(sys.argv[1], path)
        if "refused" in result:
            print(f"{name:26} {result['refused']}")
            continue
        print(f"{name:26} relative {result['relative_error']:.2e}  worst position "
              f"{result['worst_position_error']:.2e}  other best token at "
              f"{result['best_token_differs']}")
    if len(sys.argv) == 5:
        with open(sys.argv[4], "w") as out:
            json.dump(results, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
