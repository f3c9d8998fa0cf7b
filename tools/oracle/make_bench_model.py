"""Writes a synthetic model of a given shape and weight type with random weights, to measure speed.

Usage: make_bench_model.py OUT.gguf [--shape 1.1b] [--type Q4_0] [--seed N] [--layers N] ...
       make_bench_model.py --list

SHAPE is one of the list, or a config.json of a model that Llama's architecture computes
(examples/shapes).

Blocks are random bits with sensible scales, so the file is written at disk speed, every bit of a
format is used, and activations stay finite. The same options give the same bytes.

Types: every GGUF weight type that is computed with (I2_S is that of BitNet), and the mixtures
Q3_K_M, Q4_K_M and Q5_K_M as llama.cpp makes them. A plain type is that of all matrices but the
output's, which is Q6_K beside types below 8 bits, as in llama.cpp's files (--pure: that one too).

--sparse leaves the matrices out as holes of the file, which read as zeros: enough to measure the
speed and the memory of a model too large to be written here.

The vocabulary is that of --vocabulary FILE (a GGUF file, or a folder with the vocabulary and merges
of a byte-level BPE tokenizer); without it the real one that belongs to the shape, from the test
data in ../shared/data; --vocabulary none makes one up.
"""

import argparse
import os
import pathlib
import sys

import gguf
import numpy as np

from bench_shapes import DEFAULTS, MIXTURES, SHAPES, matrices, read_shape
from bench_vocabulary import add_vocabulary, find_real
from more_types import type_named
from random_blocks import I2_S, SIZES, random_tensor

SHARED = os.environ.get("RADLLM_SHARED",
                        pathlib.Path(__file__).resolve().parents[2] / ".." / "shared")
PLAIN_TYPES = ["F32", "F16", "BF16", "I2_S"] + [type_.name for type_ in SIZES]
# general.file_type of types that the package does not know.
NO_FILE_TYPES = {"I2_S": 40, "Q2_0": 41}


def add_metadata(writer, shape, options):
    writer.add_name(f"random {options.shape} {options.type} seed {options.seed}")
    if options.type in NO_FILE_TYPES:
        writer.add_file_type(NO_FILE_TYPES[options.type])
    else:
        known = {"F32": "ALL_F32", "MXFP4": "MOSTLY_MXFP4_MOE", "Q3_K": "MOSTLY_Q3_K_S",
                 "Q4_K": "MOSTLY_Q4_K_S", "Q5_K": "MOSTLY_Q5_K_S"}
        writer.add_file_type(gguf.LlamaFileType[known.get(options.type, "MOSTLY_" + options.type)])
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
    writer.add_rope_freq_base(shape["theta"])
    if shape["experts"]:
        writer.add_expert_count(shape["experts"])
        writer.add_expert_used_count(shape["experts_used"])


def announce(writer, name, kind, number, rows, columns):
    """Tells the writer of a tensor whose data comes later."""
    lead = (number,) if number > 1 else ()
    type_ = type_named(kind)
    if kind in NO_FILE_TYPES:
        # A type that the package does not know: any element type but bytes leaves the shape alone.
        count = number * rows * columns
        size = (count // 4 + 32 if kind == "I2_S" else
                count // SIZES[type_][0] * SIZES[type_][1])
        writer.add_tensor_info(name, (*lead, rows, columns), np.dtype(np.int8), size,
                               raw_dtype=type_)
        return
    if type_ in SIZES:
        per_block, size = SIZES[type_]
        row = columns // per_block * size
    else:
        row = columns * {"F32": 4}.get(kind, 2)
    writer.add_tensor_info(name, (*lead, rows, row), np.dtype(np.uint8), number * rows * row,
                           raw_dtype=type_)


def leave_hole(writer, name):
    """Instead of a tensor's data."""
    info = writer.tensors[0].pop(name)
    out = writer.fout[0]
    writer.write_padding(out, out.tell())
    end = out.tell() + info.nbytes
    out.truncate(end)
    out.seek(end)
    writer.write_padding(out, end)
    writer.state = type(writer.state).WEIGHTS


def write_data(writer, rng, kind, number, rows, columns, deviation):
    """In pieces, so that a tensor of any size needs little memory here."""
    if kind == "I2_S":
        writer.write_tensor_data(random_tensor(rng, I2_S, number * rows, columns, deviation))
        return
    type_ = type_named(kind)
    data = np.concatenate([random_tensor(rng, type_, rows, columns, deviation).view(np.uint8)
                           .reshape(-1) for _ in range(number)])
    writer.write_tensor_data(data)


def check_shape(parser, shape, kind):
    if min(shape[key] for key in ("layers", "width", "heads", "kv_heads", "ffn", "context")) < 1:
        parser.error("layers, widths and heads are 1 or more")
    if shape["width"] % shape["heads"] or shape["heads"] % shape["kv_heads"]:
        parser.error("the width must be a multiple of the heads, and these of the key heads")
    if kind == "I2_S":
        block = 128
    elif kind in MIXTURES:
        block = 256
    else:
        block = SIZES.get(type_named(kind), (1, 0))[0]
    for key in ("width", "ffn"):
        if shape[key] % block:
            parser.error(f"{key} {shape[key]} is no multiple of the {block} weights of a block of"
                         f" {kind}")


def choose_vocabulary(options, shape):
    if options.vocabulary == "none":
        return None
    if options.vocabulary is not None:
        return options.vocabulary
    path = find_real(shape["pre"], pathlib.Path(SHARED) / "data")
    if path is None:
        print("the real vocabulary is not at hand, making one up", file=sys.stderr)
    return path


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", metavar="OUT.gguf")
    parser.add_argument("--type", default="Q4_0", choices=PLAIN_TYPES + MIXTURES, metavar="TYPE")
    parser.add_argument("--shape", default="1.1b", metavar="SHAPE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pure", action="store_true", help="the output matrix has the type too")
    parser.add_argument("--sparse", action="store_true", help="holes instead of matrices")
    parser.add_argument("--vocabulary", metavar="FILE")
    for key in ("layers", "width", "heads", "kv_heads", "ffn", "context"):
        parser.add_argument("--" + key.replace("_", "-"), type=int, metavar="N",
                            help="instead of the shape's")
    parser.add_argument("--vocabulary-size", type=int, metavar="N", help="instead of the shape's")
    parser.add_argument("--list", action="store_true", help="print the shapes and types")
    options = parser.parse_args()
    if options.list:
        for name, shape in SHAPES.items():
            print(name + ": " + ", ".join(f"{key} {value}" for key, value in shape.items()))
        print("types: " + " ".join(PLAIN_TYPES + MIXTURES))
        sys.exit(0)
    if options.out is None:
        parser.error("name the file to write")
    if options.shape not in SHAPES and not options.shape.endswith(".json"):
        parser.error(f"{options.shape} is neither a shape of --list nor a config.json")
    shape = {**DEFAULTS, **(SHAPES.get(options.shape) or read_shape(options.shape))}
    for key in ("layers", "width", "heads", "kv_heads", "ffn", "context"):
        if getattr(options, key) is not None:
            shape[key] = getattr(options, key)
    shape["vocabulary"] = options.vocabulary_size or shape["vocabulary"]
    check_shape(parser, shape, options.type)
    return options, shape


def main():
    options, shape = parse()
    writer = gguf.GGUFWriter(options.out, "llama")
    add_metadata(writer, shape, options)
    add_vocabulary(writer, shape["vocabulary"], choose_vocabulary(options, shape), shape["pre"])

    # Announce every tensor first, then stream the data: the model need not fit in memory.
    plan = list(matrices(shape, options.type, options.pure))
    norms = [f"blk.{i}.{n}" for i in range(shape["layers"]) for n in ("attn_norm", "ffn_norm")]
    norms.append("output_norm")
    for name, kind, number, rows, columns, _ in plan:
        announce(writer, name + ".weight", kind, number, rows, columns)
    for name in norms:
        writer.add_tensor_info(name + ".weight", (shape["width"],), np.dtype(np.float32),
                               shape["width"] * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(options.seed)
    for name, kind, number, rows, columns, deviation in plan:
        if options.sparse:
            leave_hole(writer, name + ".weight")
        else:
            write_data(writer, rng, kind, number, rows, columns, deviation)
    for _ in norms:
        writer.write_tensor_data(np.ones(shape["width"], np.float32))
    writer.close()
    weights = sum(number * rows * columns for _, _, number, rows, columns, _ in plan)
    print(f"{options.out}: {weights} weights in matrices, {options.type}")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # no such folder, a full disk, a vocabulary that is not there
        sys.exit(f"make_bench_model.py: {error.filename or 'writing'}: {error.strerror}")
