#!/usr/bin/env python3
"""Measures what 8-bit activations cost, for each weight format, beside llama.cpp.

    tools/accuracy.py BUILD_FOLDER [MORE.gguf...] [--llama LLAMA_LOGITS] [--variants FILE...]

The embedded model is written again in each format that has an encoder. For each:

- the relative error of products with its matrices against double precision, with normal activations
  and with ones whose columns differ much in size, and the same for activations rounded as llama.cpp
  rounds them (tests/tools/product_error.c);
- over a text: the perplexity of the same weights decoded to F32, how far the file's next-token
  distributions are from theirs (so that only the rounding of activations differs: the mean
  Kullback-Leibler divergence), and how the text's log-probability changes. With --llama
  (tools/oracle/llama_logits.cpp) also llama.cpp's, for the same file and tokens, and the difference
  of the two divergences, taken position by position. Every mean with its standard error. Keys and
  values are F32 in all of them (tests/tools/divergence.c).

A perplexity alone says little: it moves by either sign, by less than its own error.

--variants FILE...: the embedded model in formats without an encoder, measured in the same way.
MORE.gguf: files whose products alone are measured.
The build folder must hold tests/requantize, tests/product_error and tests/divergence. Exit codes:
0; 1 when a program failed, or a format is less exact than llama.cpp: its products by more than 2 %,
its divergence by more than 2 % and three standard errors; 2.
"""

import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile

from calling import call

ROOT = pathlib.Path(__file__).resolve().parents[1]
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0",
         "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "Q3_K", "Q2_K", "Q2_0", "TQ2_0", "TQ1_0", "Q1_0"]
TOLERATED = 1.02  # times llama.cpp's


def logits_of_llama(options, path, out):
    """False without llama.cpp, and for a format that its version does not know."""
    if options.llama is None:
        return False
    try:
        call([options.llama, path, out], options.tokens)
        return True
    except RuntimeError as error:
        print(f"accuracy.py: {path.stem}: {error}", file=sys.stderr)
        return False


def divergences(options, folder, path, decoded):
    """Perplexity by the decoded weights, then for us and llama.cpp (or None): divergence, its
    error, change, its error, divergence less ours, its error."""
    tool = options.build / "tests" / "divergence"
    files = [folder / name for name in ("decoded.f32", "ours.f32", "llama.f32")]
    call([tool, "logits", decoded, files[0]], options.tokens)
    call([tool, "logits", path, files[1]], options.tokens)
    if not logits_of_llama(options, path, files[2]):
        files.pop()
    n_positions = sum(len(line.split()) for line in options.tokens.split("\n"))
    n_vocab = files[0].stat().st_size // 4 // n_positions
    lines = call([tool, "compare", n_vocab, *files], options.tokens).strip().split("\n")
    for file in files:
        file.unlink()
    found = [[float(word) for word in line.split()[-6:]] for line in lines[1:]]
    return float(lines[0].split()[1]), found[0], found[1] if len(found) > 1 else None


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


def measure_file(options, folder, kind, path):
    """`path` is the embedded model in the format `kind`."""
    decoded = folder / f"{kind}-f32.gguf"
    call([options.build / "tests" / "requantize", path, decoded, "F32"])
    base, ours, llama = divergences(options, folder, path, decoded)
    decoded.unlink()
    return {"type": kind, "errors": product_errors(options, [path]).get(kind), "decoded": base,
            "ours": ours, "llama": llama}


def measure_type(options, folder, kind):
    """None where the format has no encoder."""
    path = folder / f"{kind}.gguf"
    if not can_be_made(options, options.model, path, kind):
        return None
    row = measure_file(options, folder, kind, path)
    path.unlink()
    return row


def number(value, form):
    return "-" if value is None else format(value, form)


def with_error(value, error, unit, form):
    return f"{format(value / unit, form)} ± {format(error / unit, form.lstrip('+'))}"


def divergence_cells(row):
    ours, llama = row["ours"], row["llama"]
    cells = [number(row["decoded"], ".3f"), with_error(*ours[2:4], 1e-2, "+.3f"),
             with_error(*llama[2:4], 1e-2, "+.3f") if llama else "-",
             with_error(*ours[0:2], 1e-6, ".2f"),
             with_error(*llama[0:2], 1e-6, ".2f") if llama else "-"]
    # Below a few 1e-9 there is only the noise of single precision, on both sides.
    if llama and llama[0] > 1e-8:
        return cells + [with_error(0.0 - llama[4], llama[5], llama[0] / 100, "+.2f") + " %"]
    return cells + ["-"]


def print_head():
    heads = ["format", "product error", "llama.cpp's", "uneven", "llama.cpp's", "PPL, decoded",
             "change %", "llama.cpp's", "divergence 1e-6", "llama.cpp's", "ours beside it"]
    print("| " + " | ".join(heads) + " |\n| --- |" + " ---: |" * (len(heads) - 1), flush=True)


def print_row(row):
    errors = row["errors"] or (0, None, None, None, None)
    cells = [row["type"]] + [number(value, ".2e") for value in errors[1:]]
    cells += divergence_cells(row) if "decoded" in row else ["-"] * 6
    print("| " + " | ".join(cells) + " |", flush=True)


def less_exact(row):
    """What is worse than with llama.cpp's rounding."""
    _, ours, theirs, uneven, theirs_uneven = row["errors"] or (0, 0, 1, 0, 1)
    if ours > max(TOLERATED * theirs, 1e-6) or uneven > max(TOLERATED * theirs_uneven, 1e-6):
        yield "products"
    llama = row.get("llama")
    if llama and -llama[4] > max((TOLERATED - 1) * llama[0], 3 * llama[5], 1e-8):
        yield "predictions"


def report_worse(rows):
    """The exit code."""
    worse = [f"{what} of {row['type']}" for row in rows for what in less_exact(row)]
    for what in worse:
        print(f"accuracy.py: {what} are less exact than llama.cpp's", file=sys.stderr)
    return 1 if worse else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("build", type=pathlib.Path, metavar="BUILD_FOLDER")
    add("files", nargs="*", metavar="MORE.gguf")
    add("--llama", metavar="LLAMA_LOGITS")
    add("--variants", nargs="+", default=[], type=pathlib.Path, metavar="FILE")
    add("--model", default=ROOT / "examples/models/radreport-q8_0.gguf", metavar="FILE")
    add("--text", default=ROOT / "tests/golden/greedy/perplexity.txt", metavar="FILE")
    add("--context", type=int, default=256, metavar="N")
    add("--chunks", type=int, default=32, metavar="N")
    add("--types", nargs="+", default=TYPES, metavar="TYPE")
    options = parser.parse_args()
    for needed in ("tests/requantize", "tests/product_error", "tests/divergence"):
        if not (options.build / needed).exists():
            parser.error(f"{options.build} has no {needed}")
    return options


def measure(options, folder):
    """Gives row after row, since the whole takes a while."""
    options.tokens = call([options.build / "tests" / "divergence", "tokens", options.model,
                           options.text, options.context, options.chunks])
    known = set()
    rows = (measure_type(options, folder, kind) for kind in options.types)
    variants = (measure_file(options, folder, path.stem.upper(), path) for path in options.variants)
    for row in itertools.chain((row for row in rows if row is not None), variants):
        known.add(row["type"])
        yield row
    more = product_errors(options, options.files) if options.files else {}
    for kind, errors in more.items():
        if kind not in known:
            yield {"type": kind, "errors": errors}


def main():
    options = parse()
    rows = []
    print_head()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(options, pathlib.Path(folder)):
                rows.append(row)
                print_row(row)
    except RuntimeError as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return 1
    if options.llama is not None and not any(row.get("llama") for row in rows):
        print("accuracy.py: llama.cpp gave no logits at all", file=sys.stderr)
        return 1
    return report_worse(rows)


if __name__ == "__main__":
    sys.exit(main())
