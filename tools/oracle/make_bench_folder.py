#!/usr/bin/env python3
"""Writes a folder with random weights, for measuring speed and loading: layers of the 1.1B shape
(width 2048), in BF16, quantized by GPTQ or AWQ with 4 bits in groups of 128, in NF4 or FP4 of
bitsandbytes with blocks of 64, or in FP8 with blocks of 128 x 128; the head of the vocabulary too,
but for the embedding. There is no tokenizer: programs give it token ids.

Usage: make_bench_folder.py gptq|gptq-order|awq|bf16|nf4|fp4|fp8 OUTPUT_FOLDER [--layers N]
       [--shards N] [--vocabulary N]

Needs numpy. `make_bench_model.py --shape 1.1b` writes GGUF files of the same shape."""

import argparse
import json
import os
import struct

import numpy as np

WIDTH, FFN, HEADS, KV_HEADS, VOCABULARY, GROUP = 2048, 5632, 32, 4, 32000, 128
KV = WIDTH // HEADS * KV_HEADS
MODULES = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KV, WIDTH),
           "self_attn.v_proj": (KV, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
           "mlp.gate_proj": (FFN, WIDTH), "mlp.up_proj": (FFN, WIDTH), "mlp.down_proj": (WIDTH, FFN)}


def plain(rng, name, rows, columns):
    """BF16 as its bits: numbers from 2^-7 to 2^-6."""
    bits = rng.integers(0, 1 << 16, (rows, columns), np.uint16) & 0x807f | 0x3c00
    return {name + ".weight": bits}


def scales(rng, shape, columns):
    return ((rng.random(shape, np.float32) + np.float32(0.5)) / np.float32(columns ** 0.5))


def four_bits(rng, method, name, rows, columns):
    """bitsandbytes' tensors; its two maps of levels."""
    nf4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
           -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
           0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
           0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
    fp4 = [sign * value / 12 for sign in (1, -1) for value in (0, 0.0625, 8, 12, 4, 6, 2, 3)]
    state = json.dumps({"quant_type": method, "blocksize": 64, "dtype": "bfloat16",
                        "shape": [rows, columns]}).encode()
    return {f"{name}.weight": rng.integers(0, 256, (rows * columns // 2, 1), np.uint8),
            f"{name}.weight.quant_map": np.array(nf4 if method == "nf4" else fp4, np.float32),
            f"{name}.weight.absmax": scales(rng, rows * columns // 64, columns),
            f"{name}.weight.quant_state.bitsandbytes__{method}": np.frombuffer(state, np.uint8)}


def eight_bits(rng, name, rows, columns):
    """E4M3 as its bits in int8, numbers below 2, and a scale for each 128 x 128."""
    bits = rng.integers(0, 256, (rows, columns), np.uint8) & 0xbf
    blocks = (-(-rows // 128), -(-columns // 128))
    return {f"{name}.weight": bits.view(np.int8),
            f"{name}.weight_scale_inv": scales(rng, blocks, columns)}


def write_shard(path, tensors):
    header, at = {}, 0
    names = {"float16": "F16", "float32": "F32", "int32": "I32", "uint16": "BF16", "uint8": "U8",
             "int8": "F8_E4M3"}
    for name, values in tensors.items():
        header[name] = {"dtype": names[values.dtype.name], "shape": list(values.shape),
                        "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(values.tobytes())


def write(folder, tensors, n_shards):
    if n_shards == 1:
        write_shard(os.path.join(folder, "model.safetensors"), tensors)
        return
    total, done, shards, index = sum(t.nbytes for t in tensors.values()), 0, {}, {}
    for name, values in tensors.items():
        number = min(done * n_shards // total, n_shards - 1) + 1
        index[name] = f"model-{number:05}-of-{n_shards:05}.safetensors"
        shards.setdefault(index[name], {})[name] = values
        done += values.nbytes
    for name, part in shards.items():
        write_shard(os.path.join(folder, name), part)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, file)


def quantized(rng, method, name, rows, columns, order):
    words = {"gptq": (columns // 8, rows), "awq": (columns, rows // 8)}[method]
    groups = columns // GROUP
    scales = ((rng.random((groups, rows)) + 0.5) / 16 / columns ** 0.5).astype(np.float16)
    parts = {".qweight": rng.integers(-2**31, 2**31, words, np.int32),
             ".qzeros": rng.integers(-2**31, 2**31, (groups, rows // 8), np.int32),
             ".scales": scales}
    if method == "gptq":
        of_column = np.arange(columns, dtype=np.int32) // GROUP
        parts[".g_idx"] = of_column[order] if order is not None else of_column
    return {name + ending: part for ending, part in parts.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("method", choices=("gptq", "gptq-order", "awq", "bf16", "nf4",
                                            "fp4", "fp8"))
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, metavar="N")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    method, shuffled = options.method.split("-")[0], options.method.endswith("order")
    tensors = {"model.embed_tokens.weight": rng.standard_normal((options.vocabulary, WIDTH),
                                                                np.float32).astype(np.float16), "model.norm.weight": np.ones(WIDTH, np.float16)}
    modules = {"lm_head": (options.vocabulary, WIDTH)}
    for layer in range(options.layers):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = np.ones(WIDTH, np.float16)
        modules.update({prefix + module: shape for module, shape in MODULES.items()})
    orders = {}
    for name, (rows, columns) in modules.items():
        # Modules with one input share its order, as quantizers leave it.
        key = name.rsplit(".", 2)[0] + {"q_proj": "a", "k_proj": "a", "v_proj": "a",
                                        "gate_proj": "b", "up_proj": "b"}.get(
                                            name.rsplit(".", 1)[-1], name)
        if method == "bf16":
            tensors.update(plain(rng, name, rows, columns))
            continue
        if method in ("nf4", "fp4"):
            tensors.update(four_bits(rng, method, name, rows, columns))
            continue
        if method == "fp8":
            tensors.update(eight_bits(rng, name, rows, columns))
            continue
        if shuffled and key not in orders:
            orders[key] = rng.permutation(columns)
        tensors.update(quantized(rng, method, name, rows, columns, orders.get(key)))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": options.layers,
              "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
              "vocab_size": options.vocabulary, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "max_position_embeddings": 2048, "tie_word_embeddings": False,
              "quantization_config": {"quant_method": method, "bits": 4, "group_size": GROUP}}
    if method == "bf16":
        del config["quantization_config"]
    elif method in ("nf4", "fp4"):
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True,
                                         "bnb_4bit_quant_type": method,
                                         "bnb_4bit_use_double_quant": False}
    elif method == "fp8":
        config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    elif method == "awq":
        config["quantization_config"].update(version="gemm", zero_point=True)
    else:
        config["quantization_config"].update(desc_act=shuffled, sym=False, lm_head=True)
    os.makedirs(options.folder, exist_ok=True)
    with open(os.path.join(options.folder, "config.json"), "w") as file:
        json.dump(config, file)
    write(options.folder, tensors, options.shards)


if __name__ == "__main__":
    main()
