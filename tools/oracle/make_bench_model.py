"""Writes a synthetic llama model of a given shape with random weights, for measuring speed.

Usage: make_bench_model.py OUT.gguf [--type Q4_0] [--shape 1.1b | tiny] [--layers N] [--seed N]

Blocks are random bits with sensible scales, so the file is written at disk speed and activations
stay finite. Types: F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q6_K, and the mixtures Q4_K_M and Q5_K_M as
llama.cpp makes them. As there, the output matrix is Q6_K beside types below 8 bits.
The vocabulary is a valid SentencePiece-style one; its text is meaningless.
"""

import argparse
import itertools
import math
import string

import gguf
import numpy as np

from gguf_common import Type
from random_blocks import SIZES, random_tensor

SHAPES = {
    "1.1b": dict(layers=22, width=2048, heads=32, kv_heads=4, ffn=5632, vocabulary=32000,
                 context=2048),
    "tiny": dict(layers=2, width=256, heads=4, kv_heads=2, ffn=512, vocabulary=2048, context=512),
}


def more_bits(layer, layers):
    """The layers to which the *_K_M mixtures give Q6_K for attn_v and ffn_down."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def tensor_type(kind, part, layer, layers):
    if part == "output":
        return kind if kind in ("F16", "Q8_0") else "Q6_K"
    if kind.endswith("_M"):
        if part in ("attn_v", "ffn_down") and more_bits(layer, layers):
            return "Q6_K"
        return kind[:-2]
    return kind


def add_sentencepiece_vocabulary(writer, size):
    space = "\u2581"
    letters = string.ascii_lowercase
    pieces = itertools.chain(
        [space], string.printable[:95],
        (space + a for a in letters), (a + b for a in letters for b in letters),
        (space + a + b for a in letters for b in letters),
        (a + b + c for a in letters for b in letters for c in letters),
        (space + a + b + c for a in letters for b in letters for c in letters))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
    scores = [0.0] * len(tokens)
    seen = set(tokens) | {" "}
    for piece in pieces:
        if len(tokens) == size:
            break
        if piece not in seen:
            seen.add(piece)
            scores.append(float(259 - len(tokens)))
            tokens.append(piece)
            types.append(gguf.TokenType.NORMAL)
    if len(tokens) != size:
        raise ValueError(f"a vocabulary of {size} is more than {len(tokens)} made-up pieces")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def matrices(shape, kind):
    """(name, type, rows, columns, standard deviation) of every matrix, in file order."""
    width, ffn, layers = shape["width"], shape["ffn"], shape["layers"]
    kv = width // shape["heads"] * shape["kv_heads"]
    yield "token_embd", tensor_type(kind, "token_embd", 0, layers), shape["vocabulary"], width, 0.5
    for layer in range(layers):
        for part, rows, columns in (
                ("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width),
                ("attn_output", width, width), ("ffn_gate", ffn, width), ("ffn_up", ffn, width),
                ("ffn_down", width, ffn)):
            gain = 0.5 if part in ("attn_output", "ffn_down") else 1.0
            yield (f"blk.{layer}.{part}", tensor_type(kind, part, layer, layers), rows, columns,
                   gain / math.sqrt(columns))
    yield ("output", tensor_type(kind, "output", 0, layers), shape["vocabulary"], width,
           1.0 / math.sqrt(width))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--type", default="Q4_0",
                        choices=["F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q6_K", "Q4_K_M",
                                 "Q5_K_M"])
    parser.add_argument("--shape", default="1.1b", choices=list(SHAPES))
    parser.add_argument("--layers", type=int, help="another number of layers")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shape = dict(SHAPES[options.shape])
    shape["layers"] = options.layers or shape["layers"]

    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_name(f"random {options.shape} {options.type}")
    writer.add_file_type(gguf.LlamaFileType["MOSTLY_" + options.type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape["width"] // shape["heads"])
    writer.add_rope_freq_base(10000.0)
    add_sentencepiece_vocabulary(writer, shape["vocabulary"])

    # Announce every tensor first, then stream the data: the model need not fit in memory.
    plan = list(matrices(shape, options.type))
    norms = [f"blk.{i}.{n}" for i in range(shape["layers"]) for n in ("attn_norm", "ffn_norm")]
    norms.append("output_norm")
    for name, kind, rows, columns, _ in plan:
        type_ = Type[kind]
        if type_ in SIZES:
            per_block, size = SIZES[type_]
            stored = (rows, columns // per_block * size)
            writer.add_tensor_info(name + ".weight", stored, np.dtype(np.uint8),
                                   stored[0] * stored[1], raw_dtype=type_)
        else:
            writer.add_tensor_info(name + ".weight", (rows, columns), np.dtype(np.float16),
                                   rows * columns * 2)
    for name in norms:
        writer.add_tensor_info(name + ".weight", (shape["width"],), np.dtype(np.float32),
                               shape["width"] * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(options.seed)
    for name, kind, rows, columns, deviation in plan:
        writer.write_tensor_data(random_tensor(rng, Type[kind], rows, columns, deviation))
    for name in norms:
        writer.write_tensor_data(np.ones(shape["width"], np.float32))
    writer.close()
    weights = sum(rows * columns for _, _, rows, columns, _ in plan)
    print(f"{options.out}: {weights} weights in matrices, {options.type}")


if __name__ == "__main__":
    main()
