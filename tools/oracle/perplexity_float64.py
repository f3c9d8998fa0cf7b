#!/usr/bin/env python3
"""How far this library and llama.cpp are from the exact perplexity of quantized files.

Usage: perplexity_float64.py BUILD MODEL.gguf TEXT [--llama LLAMA_PERPLEXITY] [--types TYPE...]
           [--context 256] [--chunks 20] [--cache f16]

MODEL is of the architecture llama, in F32. It is written in each type (radllm-quantize), and the
file's perplexity computed from its decoded weights in double precision, by radllm-bench and by
llama-perplexity, all with chunks of so many tokens of which the second half counts. Both programs
round activations of products to 8 bits, and keys and values to --cache. Printed are the exact
figure, and by how many percent each program is from it and the one from the other.
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import tempfile

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)

        def number(key, otherwise=None):
            field = reader.fields.get("llama." + key)
            return otherwise if field is None else float(field.parts[-1][0])

        self.n_layers = int(number("block_count"))
        self.heads = int(number("attention.head_count"))
        self.kv_heads = int(number("attention.head_count_kv", self.heads))
        self.width = int(number("attention.key_length",
                                number("embedding_length") // self.heads))
        self.epsilon = number("attention.layer_norm_rms_epsilon")
        rotated = int(number("rope.dimension_count", self.width))
        self.turns = number("rope.freq_base", 10000.0) ** (-np.arange(0, rotated, 2) / rotated)
        self.tensors = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64)
                        for t in reader.tensors}

    def weight(self, name):
        return self.tensors[name + ".weight"]

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.weight(name)

    def rotate(self, x):
        angles = np.arange(len(x))[:, None, None] * self.turns
        a, b, n = x[..., 0::2], x[..., 1::2], len(self.turns)
        out = x.copy()
        out[..., 0:2 * n:2] = a[..., :n] * np.cos(angles) - b[..., :n] * np.sin(angles)
        out[..., 1:2 * n:2] = a[..., :n] * np.sin(angles) + b[..., :n] * np.cos(angles)
        return out

    def attend(self, x, layer):
        n, group = len(x), self.heads // self.kv_heads
        q, k, v = ((x @ self.weight(layer + name).T).reshape(n, -1, self.width)
                   for name in ("attn_q", "attn_k", "attn_v"))
        k, v = np.repeat(self.rotate(k), group, 1), np.repeat(v, group, 1)
        scores = np.einsum("qhd,khd->hqk", self.rotate(q), k) / math.sqrt(self.width)
        scores += np.triu(np.full((n, n), -np.inf), 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", shares, v).reshape(n, -1) @ self.weight(
            layer + "attn_output").T

    def logits(self, ids):
        x = self.weight("token_embd")[ids]
        for i in range(self.n_layers):
            layer = f"blk.{i}."
            x = x + self.attend(self.norm(x, layer + "attn_norm"), layer)
            y = self.norm(x, layer + "ffn_norm")
            gate = y @ self.weight(layer + "ffn_gate").T
            inner = gate / (1 + np.exp(-gate)) * (y @ self.weight(layer + "ffn_up").T)
            x = x + inner @ self.weight(layer + "ffn_down").T
        head = "output" if "output.weight" in self.tensors else "token_embd"
        return self.norm(x, "output_norm") @ self.weight(head).T


def call(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          check=True).stdout


def tokens(options, model):
    """The text's tokens, and the one that begins each chunk, if any does."""
    program = options.build / "examples" / "radllm-tokenize"
    framed, plain = ([int(i) for i in call(program, "-m", model, "-f", options.text,
                                           *more).split()] for more in ((), ("--no-special",)))
    return framed, framed[0] if framed[1:len(plain)] == plain[:-1] else None


def exact(options, file, ids, first):
    model, n = Model(file), options.context
    total = count = 0
    for chunk in range(options.chunks):
        piece = np.array(ids[chunk * n:(chunk + 1) * n])
        if first is not None:
            piece[0] = first
        logits = model.logits(piece)
        logits -= logits.max(-1, keepdims=True)
        found = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for i in range(n // 2, n - 1):
            total, count = total - found[i, piece[i + 1]], count + 1
    return math.exp(total / count)


def theirs(options, file):
    """One chunk more: the last figure is lost at times."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([options.llama, "-m", file, "-f", options.text, "-c", str(options.context),
                        "-b", str(options.context), "--chunks", str(options.chunks + 1), "-t", "1",
                        "-ctk", options.cache, "-ctv", options.cache], stdout=out,
                       stderr=subprocess.DEVNULL, check=True)
        text = pathlib.Path(out.name).read_text()
    return float(re.search(rf"\[{options.chunks}\]([0-9.]+)", text)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--llama")
    parser.add_argument("--types", nargs="+", default=["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0",
                                                       "IQ4_NL", "MXFP4", "Q4_K_M", "Q3_K_M"])
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--cache", default="f16")
    options = parser.parse_args()
    ids, first = tokens(options, options.model)
    print("| type | exact | radllm, % | llama.cpp, % | radllm beside llama.cpp, % |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "file.gguf"
        for kind in options.types:
            call(options.build / "examples" / "radllm-quantize", "--force", options.model, file,
                 kind)
            wanted = exact(options, file, ids, first)
            ours = json.loads(call(options.build / "bench" / "radllm-bench", "perplexity", "-m",
                                   file, "-f", options.text, "-c", options.context, "--chunks",
                                   options.chunks, "--cache", options.cache, "--json"))
            ours = ours["perplexity"]
            other = theirs(options, file) if options.llama else math.nan
            print(f"| {kind} | {wanted:.4f} | {100 * (ours / wanted - 1):+.3f} "
                  f"| {100 * (other / wanted - 1):+.3f} | {100 * (ours / other - 1):+.3f} |",
                  flush=True)


if __name__ == "__main__":
    main()
