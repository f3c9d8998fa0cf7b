"""Compares a build of the library with tests/golden/greedy: greedy ids and perplexity per type.

Usage: check_library.py BUILD_FOLDER GREEDY_FOLDER MODEL_FILES_FOLDER [OPTION...]

MODEL_FILES_FOLDER holds the files q8_0.gguf, q4_k_m.gguf, q4_k_m-llama.gguf and so on, as left by
make_greedy_goldens.py --keep (or made by requantize.py). Further options go to the programs.
A different token is accepted where the margin recorded for it is below twice the recorded noise;
what follows it in that answer is not compared. Exit status 1 if anything else differs.
"""

import hashlib
import json
import os
import subprocess
import sys

TOLERANCE = 0.002


def run(arguments):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def compare_answer(golden, found, noise):
    """(steps that agree, what happened then, whether that is a failure)."""
    if found["prompt_tokens"] != golden["prompt_ids"]:
        return 0, f"prompt ids differ: {found['prompt_tokens']}", True
    for step, (expected, got) in enumerate(zip(golden["ids"], found["tokens"])):
        if expected != got:
            margin = golden["margins"][step]
            text = f"token {got} for {expected} at step {step}, margin {margin:.4f}"
            return step, text, margin >= 2 * noise
    agreed = min(len(golden["ids"]), len(found["tokens"]))
    if agreed < len(golden["ids"]):
        return agreed, f"ended ({found['finish']})", found["finish"] == "length"
    return agreed, "whole", False


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    build, folder, files = sys.argv[1:4]
    options = sys.argv[4:]
    with open(os.path.join(folder, "greedy.json")) as source:
        golden = json.load(source)
    failures = 0
    for kind, expected in golden["types"].items():
        path = os.path.join(files, kind.lower() + ".gguf")
        with open(path, "rb") as source:
            if hashlib.sha256(source.read()).hexdigest() != expected["file_sha256"]:
                sys.exit(f"{path} is not the file for which the figures were made")
        noise = expected["margin_noise"]
        notes = []
        agreed = 0
        for number, answer in enumerate(expected["greedy"]):
            found = run([os.path.join(build, "examples", "radllm-generate"), "-m", path, "-p",
                         answer["prompt"], "-n", str(len(answer["ids"])), "--special", "--json",
                         "--temp", "0", "--option", "ignore_end=1", *options])
            steps, note, failed = compare_answer(answer, found, noise)
            agreed += steps
            failures += failed
            if note != "whole":
                notes.append(f"  prompt {number}: {'DIFFERS: ' if failed else ''}{note}")
        score = run([os.path.join(build, "bench", "radllm-bench"), "perplexity", "-m", path, "-f",
                     os.path.join(folder, "perplexity.txt"), "-c", "256", "--chunks", "16", "--json",
                     *options])
        score = score[0] if isinstance(score, list) else score
        reference = expected["perplexity"]["value"]
        ratio = score["perplexity"] / reference - 1
        bad = abs(ratio) > TOLERANCE
        failures += bad
        print(f"{kind:13} {agreed} tokens agree, perplexity {score['perplexity']:.4f} against "
              f"{reference:.4f} ({100 * ratio:+.3f}%){' DIFFERS' if bad else ''}", flush=True)
        for note in notes:
            print(note, flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
