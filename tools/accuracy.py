#!/usr/bin/env python3
"""Measures what 8-bit activations cost, for each weight format, beside llama.cpp.

    tools/accuracy.py BUILD_FOLDER [--llama LLAMA_PERPLEXITY] [MORE.gguf...]

The embedded model is written again in each format that has an encoder. For each:

- the relative error of products with its matrices against double precision, with normal activations
  and with ones whose columns differ much in size, and the same for activations rounded as llama.cpp
  rounds them (tests/tools/product_error.c);
- the perplexity of the file, and of the same weights decoded to F32 (so that only the rounding of
  activations differs), and with --llama what llama.cpp's llama-perplexity says of the same file.

MORE.gguf: files of formats without an encoder, whose products alone are measured.
The build folder must hold tests/requantize, tests/product_error and bench/radllm-bench. Exit codes:
0; 1 when a program failed, or a format's products are more than 2 % less exact than llama.cpp's; 2.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0",
         "IQ4_NL", "IQ4_XS", "MXFP4", "Q3_K", "Q2_K", "TQ2_0", "TQ1_0"]


def call(command, merge=False):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT if merge else subprocess.PIPE, text=True,
                          errors="replace")
    if done.returncode != 0:
        said = (done.stdout if merge else done.stderr).strip().split("\n")[-1]
        raise RuntimeError(f"{command[0]}: exit code {done.returncode}: {said}")
    return done.stdout


def perplexity(options, path):
    text = call([options.build / "bench" / "radllm-bench", "perplexity", "-m", path, "-f",
                 options.text, "-c", 256, "--chunks", options.chunks, "--json"])
    return json.loads(text)["perplexity"]


def perplexity_of_llama(options, path):
    """None without llama.cpp, and for a format that its version does not know."""
    if options.llama is None:
        return None
    try:
        return run_llama(options, path)
    except RuntimeError as error:
        print(f"accuracy.py: {path.stem}: {error}", file=sys.stderr)
        return None


def run_llama(options, path):
    text = call([options.llama, "-m", path, "-f", options.text, "-c", 256, "-b", 256, "-t", 1,
                 "--chunks", options.chunks], merge=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", text)
    if found is None:
        raise RuntimeError(f"{options.llama}: no final estimate in its output")
    return float(found.group(1))


def product_errors(options, paths):
    """type -> (products, ours, llama.cpp's, ours uneven, llama.cpp's uneven)"""
    lines = call([options.build / "tests" / "product_error", *paths]).split("\n")
    return {words[0]: (int(words[1]), *map(float, words[2:]))
            for words in (line.split() for line in lines) if words}


def can_be_made(options, source, path, kind):
    done = subprocess.run([str(options.build / "tests" / "requantize"), str(source), str(path),
                           kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in (0, 1, 2):
        raise RuntimeError(f"requantize: exit code {done.returncode}")
    return done.returncode == 0


def measure_type(options, folder, kind):
    """None where the format has no encoder."""
    path, decoded = folder / f"{kind}.gguf", folder / f"{kind}-f32.gguf"
    if not can_be_made(options, options.model, path, kind):
        return None
    call([options.build / "tests" / "requantize", path, decoded, "F32"])
    row = {"type": kind, "errors": product_errors(options, [path]).get(kind),
           "decoded": perplexity(options, decoded), "ours": perplexity(options, path),
           "llama": perplexity_of_llama(options, path)}
    decoded.unlink()
    path.unlink()
    return row


def number(value, form):
    return "-" if value is None else format(value, form)


def percent(value, base):
    return "-" if value is None else f"{100 * (value / base - 1):+.3f} %"


def report(rows):
    heads = ["format", "product error", "llama.cpp's", "uneven", "llama.cpp's", "PPL, decoded",
             "PPL", "change", "llama.cpp's PPL", "change"]
    print("| " + " | ".join(heads) + " |\n| --- |" + " ---: |" * (len(heads) - 1))
    for row in rows:
        errors = row["errors"] or (0, None, None, None, None)
        cells = [row["type"]] + [number(value, ".2e") for value in errors[1:]]
        if "decoded" in row:
            cells += [number(row["decoded"], ".5f"), number(row["ours"], ".5f"),
                      percent(row["ours"], row["decoded"]), number(row["llama"], ".4f"),
                      percent(row["llama"], row["decoded"])]
        else:
            cells += ["-"] * 5
        print("| " + " | ".join(cells) + " |")


def worse(rows):
    """Types whose products are less exact than with llama.cpp's rounding."""
    found = []
    for row in rows:
        _, ours, theirs, uneven, theirs_uneven = row["errors"] or (0, 0, 1, 0, 1)
        if ours > max(1.02 * theirs, 1e-6) or uneven > max(1.02 * theirs_uneven, 1e-6):
            found.append(row["type"])
    return found


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("build", type=pathlib.Path, metavar="BUILD_FOLDER")
    add("files", nargs="*", metavar="MORE.gguf")
    add("--llama", metavar="LLAMA_PERPLEXITY")
    add("--model", default=ROOT / "examples/models/radreport-q8_0.gguf", metavar="FILE")
    add("--text", default=ROOT / "tests/golden/greedy/perplexity.txt", metavar="FILE")
    add("--chunks", type=int, default=16, metavar="N")
    add("--types", nargs="+", default=TYPES, metavar="TYPE")
    options = parser.parse_args()
    for needed in ("tests/requantize", "tests/product_error", "bench/radllm-bench"):
        if not (options.build / needed).exists():
            parser.error(f"{options.build} has no {needed}")
    return options


def main():
    options = parse()
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for kind in options.types:
                row = measure_type(options, pathlib.Path(folder), kind)
                if row is not None:
                    rows.append(row)
        known = {row["type"] for row in rows}
        more = product_errors(options, options.files) if options.files else {}
        rows += [{"type": kind, "errors": errors} for kind, errors in more.items()
                 if kind not in known]
    except RuntimeError as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return 1
    report(rows)
    if options.llama is not None and not any(row.get("llama") for row in rows):
        print("accuracy.py: llama.cpp gave no perplexity at all", file=sys.stderr)
        return 1
    for kind in worse(rows):
        print(f"accuracy.py: products of {kind} are less exact than llama.cpp's", file=sys.stderr)
    return 1 if worse(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
