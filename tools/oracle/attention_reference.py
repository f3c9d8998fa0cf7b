#!/usr/bin/env python3
"""A plain reference of the policies of attention: a llama in NumPy, in double precision, one token at
a time, from a cache of keys that are not rotated. What a policy keeps is taken out of the cache, its
keys are rotated by their place in it as the paper does (Xiao et al. 2023), and the query by the last
place. Slow, and like nothing in the library: keys there are rotated once, the query twice.

    attention_reference.py MODEL OUT.json      writes the golden file of tests/unit/test_attention.c"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        number = lambda key: reader.fields[key].parts[-1][0]
        tensor = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        self.tensor = tensor
        self.layers = int(number("llama.block_count"))
        self.heads = int(number("llama.attention.head_count"))
        self.kv_heads = int(number("llama.attention.head_count_kv"))
        self.epsilon = float(number("llama.attention.layer_norm_rms_epsilon"))
        theta = (float(number("llama.rope.freq_base")) if "llama.rope.freq_base" in reader.fields
                 else 10000.0)
        self.head_dim = tensor["blk.0.attn_q.weight"].shape[0] // self.heads
        self.frequency = theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        self.output = tensor.get("output.weight", tensor["token_embd.weight"])

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.tensor[name]

    def rotate(self, x, positions):
        """x: [tokens, heads, head_dim], by neighbouring pairs."""
        angle = np.outer(positions, self.frequency)[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = even * np.cos(angle) - odd * np.sin(angle)
        out[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    def feed_forward(self, x, layer):
        normed = self.norm(x, f"blk.{layer}.ffn_norm.weight")
        gate = normed @ self.tensor[f"blk.{layer}.ffn_gate.weight"].T
        up = normed @ self.tensor[f"blk.{layer}.ffn_up.weight"].T
        return x + (gate / (1 + np.exp(-gate)) * up) @ self.tensor[f"blk.{layer}.ffn_down.weight"].T

    def project(self, x, layer):
        normed = self.norm(x, f"blk.{layer}.attn_norm.weight")
        parts = []
        for name, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
            y = normed @ self.tensor[f"blk.{layer}.attn_{name}.weight"].T
            parts.append(y.reshape(len(x), heads, self.head_dim))
        return parts

    def attend(self, q, k, v, mask):
        """[tokens, heads, head_dim] to [keys, kv_heads, head_dim]."""
        group = self.heads // self.kv_heads
        k, v = k.repeat(group, 1), v.repeat(group, 1)
        score = np.einsum("thd,shd->hts", q, k) / np.sqrt(self.head_dim)
        score = np.where(mask, score, -np.inf)
        share = np.exp(score - score.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return np.einsum("hts,shd->thd", share, v).reshape(len(q), -1)

    def logits(self, x):
        return self.norm(x, "output_norm.weight") @ self.output.T

    def fresh(self, tokens):
        """Logits of the last token of a text of its own."""
        x, n = self.tensor["token_embd.weight"][tokens], len(tokens)
        mask = np.tril(np.ones((n, n), dtype=bool))
        for layer in range(self.layers):
            q, k, v = self.project(x, layer)
            q, k = self.rotate(q, np.arange(n)), self.rotate(k, np.arange(n))
            x = x + self.attend(q, k, v, mask) @ self.tensor[f"blk.{layer}.attn_output.weight"].T
            x = self.feed_forward(x, layer)
        return self.logits(x[-1:])[0]


class Stream:
    """Token by token; `keeps(p)` lists the positions that a token at p sees, in order."""

    def __init__(self, model, keeps):
        self.model, self.keeps, self.position = model, keeps, 0
        self.keys = [[] for _ in range(model.layers)]
        self.values = [[] for _ in range(model.layers)]

    def feed(self, token):
        model, seen = self.model, self.keeps(self.position)
        x = model.tensor["token_embd.weight"][[token]]
        for layer in range(model.layers):
            q, k, v = model.project(x, layer)
            self.keys[layer].append(k[0])
            self.values[layer].append(v[0])
            keys = np.stack([self.keys[layer][i] for i in seen])
            values = np.stack([self.values[layer][i] for i in seen])
            keys = model.rotate(keys, np.arange(len(seen)))
            q = model.rotate(q, [len(seen) - 1])
            x = x + (model.attend(q, keys, values, True)
                     @ model.tensor[f"blk.{layer}.attn_output.weight"].T)
            x = model.feed_forward(x, layer)
        self.position += 1
        return model.logits(x)[0]


def first_seen(position, window):
    return max(0, position - window + 1)


def keeps_of(policy, window, sinks):
    if policy == "dense":
        return lambda p: range(p + 1)
    if policy == "window":
        return lambda p: range(first_seen(p, window), p + 1)
    return lambda p: [*range(min(sinks, p + 1)), *range(max(sinks, first_seen(p, window)), p + 1)]


def negative_logprob(logits, token):
    most = logits.max()
    return most + np.log(np.exp(logits - most).sum()) - logits[token]


def scores(model, tokens, policy, window, sinks=0, period=1):
    """Negative log-probability of each token behind the first, under a policy."""
    found = []
    if policy == "recompute":
        for p in range(len(tokens) - 1):
            base = 0 if p < window else -(-(p - window + 1) // period) * period
            found.append(negative_logprob(model.fresh(tokens[base:p + 1]), tokens[p + 1]))
        return np.array(found)
    stream = None
    for p in range(len(tokens) - 1):
        if stream is None or (policy == "truncated" and p % window == 0):
            stream = Stream(model, keeps_of("dense" if policy == "truncated" else policy, window, sinks))
        logits = stream.feed(tokens[p])
        if policy != "truncated" or (p + 1) % window != 0:  # nothing predicts a piece's first token
            found.append(negative_logprob(logits, tokens[p + 1]))
    return np.array(found)


def write_golden(path, out):
    """Scores of tokens that are no text."""
    state, tokens = 12345, []
    for _ in range(300):
        state = (state * 1664525 + 1013904223) % 2 ** 32
        tokens.append((state >> 8) % 300)
    model, cases = Model(path), []
    for policy, window, sinks, period in [("window", 40, 0, 1), ("sinks", 36, 4, 1),
                                          ("sinks", 50, 33, 1), ("sinks", 31, 64, 1),
                                          ("recompute", 24, 0, 1), ("recompute", 40, 0, 12)]:
        found = scores(model, tokens, policy, window, sinks, period)
        cases.append({"attention": policy, "window": window, "sinks": sinks, "period": period,
                      "scores": [round(float(x), 6) for x in found]})
    out.write_text(json.dumps({"model": path.name, "tokens": tokens, "cases": cases}) + "\n",
                   encoding="utf-8")


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]), Path(sys.argv[2]))
