"""Makes tests/golden/greedy: what llama.cpp answers and scores with the embedded model, for each
tensor type.

Usage: make_greedy_goldens.py MODEL.gguf LLAMA_CPP_CHECKOUT PROGRAMS_FOLDER OUTPUT_FOLDER
                              [--keep FOLDER] [--requantize PROGRAM]

Reads prompts.json and perplexity.txt in OUTPUT_FOLDER and writes greedy.json there. MODEL.gguf is the
embedded model (Q8_0 or float); for every type the file is made by the project's program `requantize`
if given, else by requantize.py, and Q4_K_M once more by llama-quantize (as "Q4_K_M-llama"). --keep
leaves these files in a folder.
The margin of a step is the distance between the two best logits. "margin_noise" is by how much
quantized activations move margins: the greatest difference between llama.cpp's margins and those
that it finds, for the same tokens, with the dequantized weights in F32. Where a margin is below
twice that, another implementation may rightly choose the other token.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

import gguf
import jinja2.sandbox
import numpy as np

import requantize

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K",
         "Q4_K_M", "Q5_K_M"]
N_TOKENS = 64
N_CONTEXT, N_CHUNKS = 256, 16


def sha256(path):
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()


def library_hash(path):
    """What radllm_model_hash gives: SHA-256 over the SHA-256 digests of pieces of 4 MiB."""
    digests = hashlib.sha256()
    with open(path, "rb") as source:
        while piece := source.read(4 << 20):
            digests.update(hashlib.sha256(piece).digest())
    return digests.hexdigest()


def rendered(prompts, model):
    """The prompts as plain text: messages go through the chat template in the file."""
    reader = gguf.GGUFReader(model)
    field = reader.get_field("tokenizer.chat_template")
    tokens = reader.get_field("tokenizer.ggml.tokens")

    def special(name):
        key = reader.get_field(f"tokenizer.ggml.{name}_token_id")
        return tokens.contents(int(key.contents())) if key else ""

    texts = []
    for prompt in prompts:
        if "raw" in prompt:
            texts.append(prompt["raw"])
            continue
        if field is None:
            sys.exit(f"{model} has no tokenizer.chat_template; give raw prompts only")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True,
                                                                   lstrip_blocks=True)
        text = environment.from_string(field.contents()).render(
            messages=[{"role": "user", "content": prompt["user"]}], add_generation_prompt=True,
            bos_token=special("bos"), eos_token=special("eos"))
        add_bos = reader.get_field("tokenizer.ggml.add_bos_token")
        if add_bos and add_bos.contents() and text.startswith(special("bos")):
            text = text[len(special("bos")):]
        texts.append(text)
    return texts


def greedy(program, model, texts):
    run = subprocess.run([program, model, str(N_TOKENS)], input="\0".join(texts).encode(),
                         stdout=subprocess.PIPE, check=True)
    results = json.loads(run.stdout)
    for text, result in zip(texts, results):
        result["prompt"] = text
        result["text"] = bytes.fromhex(result.pop("text_hex")).decode("utf-8", "replace")
    return results


def decode(kind, raw):
    return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind]).astype(np.float32)


def margins(program, model, result, scratch):
    """The distances between the recorded best and runner-up, when the recorded ids are fed."""
    ids = result["prompt_ids"] + result["ids"][:-1]
    subprocess.run([program, model, scratch, "--f16-cache"], input=" ".join(map(str, ids)),
                   text=True, check=True)
    logits = np.fromfile(scratch, "<f4").reshape(len(ids), -1)[len(result["prompt_ids"]) - 1:]
    steps = np.arange(len(logits))
    return logits[steps, result["ids"]] - logits[steps, result["runners_up"]]


def margin_noise(program, model, results, folder):
    plain, scratch = os.path.join(folder, "float.gguf"), os.path.join(folder, "logits.f32")
    requantize.requantize(model, plain, "F32", decode)
    worst = max(np.abs(margins(program, plain, one, scratch) - np.array(one["margins"])).max()
                for one in results)
    os.remove(plain)
    os.remove(scratch)
    return round(float(worst), 4)


def perplexity(program, model, text):
    run = subprocess.run([program, "-m", model, "-f", text, "-c", str(N_CONTEXT), "--chunks",
                          str(N_CHUNKS), "-t", "1", "-ngl", "0"], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", run.stdout)
    if not found:
        sys.exit(f"{program} gave no perplexity:\n{run.stdout[-2000:]}")
    chunks = re.findall(r"\[(\d+)\]([0-9.]+)", run.stdout)
    return {"value": float(found[1]), "uncertainty": float(found[2]),
            "running": [float(value) for _, value in chunks]}


def compact(value, depth=0):
    """JSON with one line per list of numbers, so that changes can be read."""
    pad = " " * depth
    if isinstance(value, dict):
        inner = ",\n".join(f"{pad} {json.dumps(key)}: {compact(item, depth + 1)}"
                           for key, item in value.items())
        return "{\n" + inner + f"\n{pad}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = ",\n".join(f"{pad} {compact(item, depth + 1)}" for item in value)
        return "[\n" + inner + f"\n{pad}]"
    return json.dumps(value, ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "checkout", "programs", "out"):
        parser.add_argument(name)
    parser.add_argument("--keep")
    parser.add_argument("--requantize", help="the program that the tests use; IN OUT TYPE")
    options = parser.parse_args()
    tools = os.path.join(options.checkout, "build", "bin")
    commit = subprocess.run(["git", "-C", options.checkout, "rev-parse", "HEAD"],
                            stdout=subprocess.PIPE, text=True).stdout.strip()
    with open(os.path.join(options.out, "prompts.json")) as source:
        texts = rendered(json.load(source), options.model)
    corpus = os.path.join(options.out, "perplexity.txt")
    result = {
        "made_by": "tools/oracle/make_greedy_goldens.py", "llama_cpp": commit,
        "model_sha256": sha256(options.model), "model_hash": library_hash(options.model),
        "text_sha256": sha256(corpus),
        "perplexity_protocol": f"chunks of {N_CONTEXT} tokens, {N_CHUNKS} chunks, second half "
                               "scored, first token of a chunk is BOS where the model adds BOS",
        "types": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or scratch
        os.makedirs(folder, exist_ok=True)
        for kind in TYPES + ["Q4_K_M-llama"]:
            path = os.path.join(folder, kind.lower() + ".gguf")
            if kind.endswith("-llama"):
                subprocess.run([os.path.join(tools, "llama-quantize"), "--allow-requantize",
                                options.model, path, kind[:-6], "1"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=True)
            elif options.requantize:
                subprocess.run([options.requantize, options.model, path, kind], check=True)
            else:
                requantize.requantize(options.model, path, kind)
            answers = greedy(os.path.join(options.programs, "llama_greedy"), path, texts)
            noise = margin_noise(os.path.join(options.programs, "llama_logits"), path, answers,
                                 folder)
            maker = ("llama-quantize" if kind.endswith("-llama") else
                     "requantize" if options.requantize else "requantize.py")
            entry = {"file_made_by": maker, "file_sha256": sha256(path),
                     "model_hash": library_hash(path),
                     "perplexity": perplexity(os.path.join(tools, "llama-perplexity"), path,
                                              corpus),
                     "margin_noise": noise, "greedy": answers}
            result["types"][kind] = entry
            close = sum(margin < 2 * noise for one in answers for margin in one["margins"])
            steps = sum(len(one["margins"]) for one in answers)
            print(f"{kind:13} perplexity {entry['perplexity']['value']:.4f}, noise of margins "
                  f"{noise:.4f}, {close} of {steps} margins below twice that")
    with open(os.path.join(options.out, "greedy.json"), "w") as out:
        out.write(compact(result) + "\n")


if __name__ == "__main__":
    main()
