#!/usr/bin/env python3
"""Writes another form of a model that computes the same: units of the residual stream, of the
feed-forward layers and of the heads' values in another order and with other signs.

Usage: make_model_form.py IN.gguf OUT.gguf SEED

IN is a llama or gpt2 model in F32. Rounding errors of a form are another draw: what is measured of
one file is worth little where the model is small (tools/quantizer_quality.py takes several).
"""

import shutil
import sys

import numpy as np
from gguf import GGUFReader


class Form:
    def __init__(self, path, seed):
        self.reader = GGUFReader(path, "r+")
        self.random = np.random.default_rng(seed)
        self.tensors = {t.name: t.data for t in self.reader.tensors}
        if any(t.tensor_type != 0 for t in self.reader.tensors):
            sys.exit("make_model_form.py: a tensor is not in F32")
        architecture = bytes(self.reader.fields["general.architecture"].parts[-1]).decode()
        self.n_heads = self.number(f"{architecture}.attention.head_count")
        self.n_kv_heads = self.number(f"{architecture}.attention.head_count_kv", self.n_heads)
        self.n_layers = self.number(f"{architecture}.block_count")

    def number(self, key, otherwise=None):
        field = self.reader.fields.get(key)
        return otherwise if field is None else int(field.parts[-1][0])

    def parts(self, name):
        """Weight and bias of a layer, where it has them."""
        return [self.tensors[name + end] for end in (".weight", ".bias")
                if name + end in self.tensors]

    def signs(self, n):
        return self.random.choice([-1.0, 1.0], n).astype(np.float32)

    def turn_norm(self, norm, readers):
        """Other signs behind a norm."""
        signs = self.signs(len(self.tensors[norm + ".weight"]))
        for part in self.parts(norm):
            part *= signs
        for name in readers:
            self.tensors[name + ".weight"] *= signs

    def change_values(self, layer):
        output = self.tensors[layer + "attn_output.weight"]
        size = output.shape[1] // self.n_heads
        fused = layer + "attn_qkv.weight" in self.tensors
        parts = self.parts(layer + ("attn_qkv" if fused else "attn_v"))
        for group in range(self.n_kv_heads):
            order, signs = self.random.permutation(size), self.signs(size)
            for part in parts:
                rows = part[len(part) - (self.n_kv_heads - group) * size:][:size]
                rows[:] = (rows[order].T * signs).T
            for head in range(self.n_heads):
                if head * self.n_kv_heads // self.n_heads == group:
                    columns = output[:, head * size:(head + 1) * size]
                    columns[:] = columns[:, order] * signs

    def change_layer(self, layer, order):
        readers = [layer + name for name in ("attn_qkv", "attn_q", "attn_k", "attn_v", "ffn_gate",
                                             "ffn_up") if layer + name + ".weight" in self.tensors]
        for name in readers:
            self.tensors[name + ".weight"][:] = self.tensors[name + ".weight"][:, order]
        for part in self.parts(layer + "attn_output") + self.parts(layer + "ffn_down"):
            part[:] = part[order]
        down = self.tensors[layer + "ffn_down.weight"]
        units = self.random.permutation(down.shape[1])
        for part in self.parts(layer + "ffn_up") + self.parts(layer + "ffn_gate"):
            part[:] = part[units]
        down[:] = down[:, units]
        if self.parts(layer + "ffn_gate"):  # a product of two, of which one may change its sign
            signs = self.signs(down.shape[1])
            for part in self.parts(layer + "ffn_up"):
                part[:] = (part.T * signs).T
            down *= signs
        self.change_values(layer)
        self.turn_norm(layer + "attn_norm", [name for name in readers if "attn" in name])
        self.turn_norm(layer + "ffn_norm", [name for name in readers if "ffn" in name])

    def change(self):
        order = self.random.permutation(self.tensors["token_embd.weight"].shape[1])
        for name, tensor in self.tensors.items():
            if name in ("token_embd.weight", "position_embd.weight", "output.weight"):
                tensor[:] = tensor[:, order]
            elif "norm" in name:
                tensor[:] = tensor[order]
        for i in range(self.n_layers):
            self.change_layer(f"blk.{i}.", order)
        if "output.weight" in self.tensors:
            self.turn_norm("output_norm", ["output"])
        self.reader.data.flush()


def main():
    source, out, seed = sys.argv[1:]
    shutil.copy(source, out)
    Form(out, int(seed)).change()


if __name__ == "__main__":
    main()
