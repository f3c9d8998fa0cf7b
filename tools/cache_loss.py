#!/usr/bin/env python3
"""Measures what the number formats of cached keys and values cost in predictions.

    tools/cache_loss.py BUILD_FOLDER [--pairs f16 q8_0 q8_0/q4_0 ...]

For each pair of formats (keys/values; one name: of both) the model reads the same text, and its
next-token distributions are compared with those it gives with F32: the text's perplexity, the
change of its log-probability, and the mean Kullback-Leibler divergence, with standard errors from
the means of the chunks. Judge by the divergence: a perplexity moves by either sign.

The build folder must hold tests/divergence. Exit codes: 0; 1 when a program failed; 2.
"""

import argparse
import itertools
import math
import pathlib
import sys
import tempfile

from calling import call

ROOT = pathlib.Path(__file__).resolve().parents[1]
TYPES = ["f32", "f16", "bf16", "fp8", "q8_0", "q4_0"]
BITS = {"f32": 32, "f16": 16, "bf16": 16, "fp8": 8, "q8_0": 8.5, "q4_0": 4.5}


def measure(options, folder):
    """Gives (keys, values, perplexity, divergence, its error, change, its error), row by row."""
    tool = options.build / "tests" / "divergence"
    tokens = call([tool, "tokens", options.model, options.text, options.context, options.chunks])
    base, file = folder / "f32", folder / "pair"
    call([tool, "logits", options.model, base], tokens)
    n_vocab = base.stat().st_size // 4 // len(tokens.split())
    for keys, values in options.pairs:
        call([tool, "logits", options.model, file, keys, values], tokens)
        lines = call([tool, "compare", n_vocab, base, file], tokens).strip().split("\n")
        perplexity = float(lines[0].split()[1])
        divergence, error, change, change_error = map(float, lines[1].split()[-6:-2])
        yield (keys, values, perplexity * math.exp(change), divergence, error, change,
               change_error)


def pair(text):
    keys, _, values = text.partition("/")
    values = values or keys
    if keys not in TYPES or values not in TYPES:
        raise argparse.ArgumentTypeError(f"{text} is not KEYS or KEYS/VALUES of {', '.join(TYPES)}")
    return keys, values


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("build", type=pathlib.Path, metavar="BUILD_FOLDER")
    add("--pairs", nargs="+", type=pair, metavar="KEYS[/VALUES]",
        default=list(itertools.product(TYPES, TYPES))[1:])
    add("--model", default=ROOT / "examples/models/radreport-q8_0.gguf", metavar="FILE")
    add("--text", default=ROOT / "tests/golden/greedy/perplexity.txt", metavar="FILE")
    add("--context", type=int, default=256, metavar="N")
    add("--chunks", type=int, default=16, metavar="N")
    options = parser.parse_args()
    if not (options.build / "tests/divergence").exists():
        parser.error(f"{options.build} has no tests/divergence")
    return options


def main():
    options = parse()
    print("| keys | values | bits a number | perplexity | change % | divergence 1e-6 nats |")
    print("| --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(options, pathlib.Path(folder)):
                keys, values, perplexity, divergence, error, change, change_error = row
                print(f"| {keys} | {values} | {(BITS[keys] + BITS[values]) / 2:g} | "
                      f"{perplexity:.3f} | {change * 100:+.3f} ± {change_error * 100:.3f} | "
                      f"{divergence * 1e6:.2f} ± {error * 1e6:.2f} |", flush=True)
    except RuntimeError as error:
        print(f"cache_loss.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
