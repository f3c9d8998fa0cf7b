#!/usr/bin/env python3
"""Compares the files that this project's quantizer and llama.cpp's make of the same model.

    tools/quantizer_quality.py BUILD LLAMA_QUANTIZE MODEL... [--chunks N] [--types TYPE...]

MODEL is in F32 (radllm-convert writes it). Embedding and output stay in F32, so that the type alone
counts; both files are decoded to F32 and computed by the library, so that nothing but the weights
differs. Per model and type, without importance and with one that the library measures on other
reports: the mean Kullback-Leibler divergence from the F32 model (10^-6 nats) and the perplexity, of
ours and theirs, and ours divided by theirs; at the end the geometric mean of the ratios over the
models. The build folder must hold examples/radllm-quantize and tests/divergence.
"""

import argparse
import itertools
import math
import pathlib
import subprocess
import sys
import tempfile

from calling import call

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "model"))
import reports  # noqa: E402

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K",
         "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0"]


def compare(options, model, types):
    """Yields (type, with importance, divergences, perplexities) of ours and theirs."""
    quantize = options.build / "examples" / "radllm-quantize"
    divergence = options.build / "tests" / "divergence"
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = pathlib.Path(name)
        text, other = folder / "text", folder / "other"
        text.write_text("\n\n".join(reports.write_report(77_000_000 + i, "held").text
                                    for i in range(options.chunks * 3)))
        other.write_text("\n\n".join(reports.write_report(88_000_000 + i).text
                                     for i in range(300)))
        matrix = folder / "importance.gguf"
        call([quantize, "--calibrate", other, "--save-imatrix", matrix, model])
        ids = call([divergence, "tokens", model, text, options.context, options.chunks])
        base, ours, theirs = (folder / f"{name}.f32" for name in ("base", "ours", "theirs"))
        call([divergence, "logits", model, base], ids)
        kept = ["--tensor-type", "token_embd=F32"]
        theirs_kept = ["--token-embedding-type", "f32", "--output-tensor-type", "f32"]
        if b"\x0d\0\0\0\0\0\0\0output.weight" in model.read_bytes()[:1 << 24]:
            kept += ["--tensor-type", "output=F32"]
        for type_, weighted in itertools.product(types, options.importance):
            importance = ["--imatrix", matrix] if weighted else []
            file, decoded = folder / "file.gguf", folder / "decoded.gguf"
            for out, command in (
                    (ours, [quantize, "--force", *importance, "--pure", *kept, model, file, type_]),
                    (theirs, [options.llama, *importance, "--pure", *theirs_kept, model, file,
                              type_, 1])):
                call(command)
                call([quantize, "--force", file, decoded, "F32"])
                call([divergence, "logits", decoded, out], ids)
            lines = call([divergence, "compare", 2048, base, ours, theirs], ids).split("\n")
            perplexity = float(lines[0].split()[1])
            figures = [line.split()[1:] for line in lines[1:3]]
            yield (type_, weighted, [1e6 * float(f[0]) for f in figures],
                   [perplexity * math.exp(float(f[2])) for f in figures])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("llama")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--scratch")
    parser.add_argument("--importance", nargs="+", default=[False, True], metavar="0|1",
                        type=lambda text: text == "1")
    options = parser.parse_args()
    ratios = {}
    print("| model | type | importance | divergence, ours | theirs | ratio | perplexity | theirs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for model in options.models:
        for type_, weighted, d, p in compare(options, model, options.types):
            ratios.setdefault((type_, weighted), []).append(d[0] / d[1] if d[1] > 0 else 1.0)
            print(f"| {model.stem} | {type_} | {'yes' if weighted else 'no'} | {d[0]:.1f} "
                  f"| {d[1]:.1f} | {ratios[type_, weighted][-1]:.3f} | {p[0]:.4f} "
                  f"| {p[1]:.4f} |", flush=True)
    for (type_, weighted), values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{type_}, {'with' if weighted else 'without'} importance: {mean:.3f}")


if __name__ == "__main__":
    main()
