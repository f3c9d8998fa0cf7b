"""Makes tests/golden/types: one tiny random llama file per tensor type that the library computes
with, and the logits of `transformers` on the dequantized weights.

Usage: make_type_models.py OUTPUT_FOLDER [--llama LLAMA_LOGITS_PROGRAM] [--only TYPE,TYPE...]

Each type T gives T.gguf, T.ids.json and T.logits.f32 as in make_tiny_models.py. With --llama also
T.llama.logits.f32, what llama.cpp computes (with activations quantized by its own rules).
Quantized types also give T.contract.logits.f32 (see contract.py).
The matrices of quantized types are random blocks, so that every bit of a block matters. Width is
256 for them (a super-block); it is 64 for F32, F16 and BF16, to keep the files small. Ternary types
have a wider feed-forward, so that a row is more than a super-block. NVFP4 and I2_S matrices have an
F32 scale each.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import zlib

import gguf
import numpy as np
import torch
import transformers

from gguf_common import (BOS_ID, EOS_ID, N_VOCAB, Type, add_tiny_tokenizer, file_type, finish)
from make_tiny_models import add_contract_logits, compute_logits
from more_types import I2_S_TAIL, MORE_SIZES, MoreTypes, decode
from random_blocks import SIZES, random_tensor

N_POSITIONS = 48
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0,
         Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q2_K, Type.Q3_K, Type.IQ4_NL, Type.IQ4_XS,
         Type.IQ1_S, Type.IQ1_M, Type.IQ2_XXS, Type.IQ2_XS, Type.IQ2_S, Type.IQ3_XXS, Type.IQ3_S,
         Type.TQ1_0, Type.TQ2_0, Type.MXFP4, Type.NVFP4, *MoreTypes]
ALL_SIZES = {**SIZES, **MORE_SIZES}
TERNARY = (Type.TQ1_0, Type.TQ2_0, MoreTypes.I2_S)
MODULES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
           "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
           "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def half_split_rotary_rows(weight, n_heads):
    """The inverse of interleave_rotary_rows: from GGUF's order to that of Hugging Face."""
    pairs = weight.reshape(n_heads, weight.shape[0] // n_heads // 2, 2, weight.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(weight.shape))


def activation_block(type_):
    """How many activations share a scale beside this type; None: a whole row."""
    if type_ == MoreTypes.I2_S:
        return None
    return 256 if ALL_SIZES[type_][0] == 256 else 32


def random_matrix(rng, type_, rows, columns, deviation, has_scale):
    """The raw data, and the scale of the whole matrix."""
    if type_ == MoreTypes.I2_S:
        raw = random_tensor(rng, int(type_), rows, columns, deviation)
        return raw, raw[-I2_S_TAIL:][:4].view("<f4")[0]
    if isinstance(type_, MoreTypes):
        elements, size = MORE_SIZES[type_]
        raw = rng.integers(0, 256, (rows * columns // elements, size), np.uint8)
        scale = np.exp(rng.standard_normal(len(raw)) * 0.2) * np.where(raw[:, 0] & 1, 1, -1)
        raw[:, :2] = (scale * deviation).astype("<f2").view(np.uint8).reshape(-1, 2)
        return raw, np.float32(1)
    if type_ != Type.NVFP4:
        return random_tensor(rng, type_, rows, columns, deviation), np.float32(1)
    scale = np.float32(deviation / 2 if has_scale else 1)
    raw = random_tensor(rng, type_, rows, columns, deviation / scale)
    blocks = raw.reshape(-1, SIZES[type_][1])
    drift = rng.integers(-3, 4, (len(blocks), 4))
    blocks[:, :4] = np.clip(blocks[:, :4].astype(int) + drift, 1, 0x7e)  # each 16 its own
    return raw, scale


def add_more(writer, name, raw, rows, columns, type_):
    """Adds a matrix of a type that the package may not know: as bytes, then named otherwise."""
    writer.add_tensor(name, raw.reshape(-1), raw_dtype=Type.I8)
    info = writer.tensors[-1][name]
    info.shape, info.dtype = (rows, columns), int(type_)


def make(folder, type_, program):
    name = type_.name.lower()
    quantized = type_ in ALL_SIZES
    width, n_layers = (256, 1) if quantized else (64, 2)
    ffn = 2 * width if type_ in TERNARY else width
    heads, kv_heads = 4, 1
    kv_width = width // heads * kv_heads
    config = transformers.LlamaConfig(
        vocab_size=N_VOCAB, hidden_size=width, intermediate_size=ffn,
        num_hidden_layers=n_layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        rms_norm_eps=1e-5, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=BOS_ID, eos_token_id=EOS_ID,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model.eval()
    state = model.state_dict()

    rng = np.random.default_rng(zlib.crc32(f"types/{name}".encode()))
    writer = gguf.GGUFWriter(os.path.join(folder, name + ".gguf"), "llama")
    writer.add_name(f"random {type_.name} for golden tests")
    writer.add_file_type(file_type(type_))
    if quantized:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(N_VOCAB)
    writer.add_context_length(256 if TYPES.index(type_) < 11 else 96)  # 96: the contract test is quicker
    writer.add_embedding_length(width)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    add_tiny_tokenizer(writer)

    def add_matrix(gguf_name, hf_name, rows, columns, deviation, n_heads=0):
        has_scale = gguf_name.startswith("blk.")
        raw, scale = random_matrix(rng, type_, rows, columns, deviation, has_scale)
        if isinstance(type_, MoreTypes):
            add_more(writer, gguf_name, raw, rows, columns, type_)
        elif type_ in (Type.F32, Type.F16):
            writer.add_tensor(gguf_name, raw)
        else:
            writer.add_tensor(gguf_name, raw, raw_dtype=type_)
        if type_ == Type.NVFP4 and has_scale:
            writer.add_tensor(gguf_name.replace(".weight", ".scale"), scale.reshape(1))
        blocks = raw[:-I2_S_TAIL] if type_ == MoreTypes.I2_S else raw
        values = decode(type_, blocks).astype(np.float32).reshape(rows, columns) * scale
        if n_heads:
            values = half_split_rotary_rows(values, n_heads)
        state[hf_name].copy_(torch.from_numpy(np.array(values)))

    def add_norm(gguf_name, hf_name):
        values = (1 + 0.2 * rng.standard_normal(width)).astype(np.float32)
        writer.add_tensor(gguf_name, values)
        state[hf_name].copy_(torch.from_numpy(values))

    add_matrix("token_embd.weight", "model.embed_tokens.weight", N_VOCAB, width, 0.6)
    unit = 1 / math.sqrt(width)
    for layer in range(n_layers):
        here, there = f"blk.{layer}.", f"model.layers.{layer}."
        add_norm(here + "attn_norm.weight", there + "input_layernorm.weight")
        add_norm(here + "ffn_norm.weight", there + "post_attention_layernorm.weight")
        for part, rows, gain, n_heads in (
                ("attn_q", width, 1.0, heads), ("attn_k", kv_width, 1.0, kv_heads),
                ("attn_v", kv_width, 1.3, 0), ("attn_output", width, 0.8, 0),
                ("ffn_gate", ffn, 1.3, 0), ("ffn_up", ffn, 1.3, 0), ("ffn_down", width, 0.8, 0)):
            add_matrix(f"{here}{part}.weight", f"{there}{MODULES[part]}.weight", rows,
                       ffn if part == "ffn_down" else width, gain * unit, n_heads)
    add_norm("output_norm.weight", "model.norm.weight")
    finish(writer)

    ids = [BOS_ID] + [int(i) for i in rng.integers(0, N_VOCAB - 3, N_POSITIONS - 1)]
    logits, _ = compute_logits(model, ids)
    logits.tofile(os.path.join(folder, name + ".logits.f32"))
    tolerance = 1e-4 if not quantized else 2e-2 if activation_block(type_) == 32 else 3e-2
    description = {
        "model": name + ".gguf", "logits": name + ".logits.f32", "ids": ids,
        "n_positions": len(ids), "n_vocab": N_VOCAB, "tolerance": tolerance,
        "reference": f"transformers {transformers.__version__}, eager attention, weights as "
                     f"stored in the file, float64 linear layers",
    }
    message = f"{name:6} logits std {logits.std():.2f}"
    if quantized:
        message += add_contract_logits(folder, name, description, model, ids,
                                        activation_block(type_))
    if program:
        path = os.path.join(folder, name + ".llama.logits.f32")
        subprocess.run([program, os.path.join(folder, name + ".gguf"), path],
                       input=" ".join(map(str, ids)), text=True, check=True)
        found = np.fromfile(path, "<f4").reshape(logits.shape)
        error = float(np.linalg.norm(found - logits) / np.linalg.norm(logits))
        description["llama_logits"] = os.path.basename(path)
        description["llama_differs_by"] = float(f"{error:.2g}")
        message += f", llama.cpp differs by {error:.1e}"
    with open(os.path.join(folder, name + ".ids.json"), "w") as out:
        json.dump(description, out, indent=1)
        out.write("\n")
    print(message)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--llama")
    parser.add_argument("--only", type=lambda names: names.split(","))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(arguments.folder, exist_ok=True)
    for type_ in TYPES:
        if arguments.only is None or type_.name in arguments.only:
            make(arguments.folder, type_, arguments.llama)


if __name__ == "__main__":
    main()
