#!/usr/bin/env python3
"""Writes tests/golden/blocks: random and extreme blocks of each computable type, and what the
reference decoder of the `gguf` package makes of them.

For each type T: T.blocks (the raw blocks) and T.f32 (little-endian float32, one value per element).
For the types here every product in ggml's C decoder is exact in float32 (11 bits of scale, at most 8
of sub-scale, at most 5 of quant) and at most one addition rounds, so the Python and C decoders agree
in every bit. Blocks whose decoded values are NaN (infinite or NaN scales) compare as NaN only.

The types that the package does not decode (Q1_0, Q2_0, I2_S) are in more_types.py. With --ggml all
types but I2_S, which ggml does not know, are also held against ggml's own decoder. I2_S is given
without the tail that holds the tensor's scale, as if that were 1.

Also writes conversions.f32/.f16/.bf16: floats around every rounding boundary and what numpy (F16)
and gguf (BF16) make of them.

Usage: make_quant_goldens.py [--ggml LIBRARY] [OUTPUT_FOLDER]

LIBRARY is a libggml-base.so of 2026 (older ones lack Q1_0, Q2_0 and NVFP4).
"""
import argparse
import ctypes
import pathlib
import sys

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T

from more_types import MORE_SIZES, decode, type_named

SEED = 20260101
BLOCKS_PER_TYPE = {32: 48, 64: 24, 128: 12, 256: 12}

# Where each type keeps its F16 numbers.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
# Added later, with random numbers of their own so that the files above stay as they were.
LATER_HALVES = {
    "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0], "IQ4_XS": [0], "IQ2_XXS": [0], "IQ2_XS": [0],
    "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ1_M": "spread", "TQ1_0": [52],
    "TQ2_0": [64], "MXFP4": "bytes", "NVFP4": "bytes", "Q1_0": [0], "Q2_0": [0], "I2_S": [],
}
EXTREME_HALVES = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e01]


def blocks_of(rng, kind):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = BLOCKS_PER_TYPE[elements]
    blocks = rng.integers(0, 256, (3 * count, size), dtype=np.uint8)
    for row in range(count, 2 * count):  # ordinary scales
        for offset in HALVES[kind]:
            half = np.float16(rng.normal() * 0.01)
            blocks[row, offset:offset + 2] = np.frombuffer(half.tobytes(), np.uint8)
    for row in range(2 * count, 3 * count):  # extreme scales, quants all ones, zeros or random
        i = row - 2 * count
        if i % 3 < 2:
            blocks[row, :] = (0, 0xff)[i % 3]
        if i % 6 == 5:
            blocks[row, :] = 0x80
        for k, offset in enumerate(HALVES[kind]):
            half = np.uint16(EXTREME_HALVES[(i + 3 * k) % len(EXTREME_HALVES)])
            blocks[row, offset:offset + 2] = np.frombuffer(half.tobytes(), np.uint8)
    return blocks


def set_half(blocks, row, places, half):
    """The bits of an F16 scale: at a byte offset, or spread over the nibbles of IQ1_M."""
    if places == "spread":
        for k in range(4):
            blocks[row, 49 + 2 * k] = (blocks[row, 49 + 2 * k] & 15) | ((half >> 4 * k & 15) << 4)
        return
    blocks[row, places:places + 2] = (half & 255, half >> 8)


def later_blocks(rng, name):
    type_ = type_named(name)
    elements, size = MORE_SIZES.get(type_) or gguf.GGML_QUANT_SIZES[type_]
    count, halves = BLOCKS_PER_TYPE[elements], LATER_HALVES[name]
    blocks = rng.integers(0, 256, (3 * count, size), dtype=np.uint8)
    for row in range(2 * count, 3 * count):  # all ones, zeros, or random bits
        i = row - 2 * count
        if i % 3 < 2:
            blocks[row, :] = (0, 0xff)[i % 3]
        if i % 6 == 5:
            blocks[row, :] = 0x80
    if halves == "bytes":  # scales of one byte
        scales = 1 if name == "MXFP4" else 4
        ordinary = (118, 134) if name == "MXFP4" else (0x20, 0x50)
        extreme = [0, 1, 2, 3, 7, 8, 9, 0x77, 0x7e, 0x7f, 0x80, 0x81, 0xfd, 0xfe, 0xff]
        blocks[count:2 * count, :scales] = rng.integers(*ordinary, (count, scales), dtype=np.uint8)
        for i in range(count):
            for k in range(scales):
                blocks[2 * count + i, k] = extreme[(i + 4 * k) % len(extreme)]
        return blocks
    for row in range(count, 3 * count):
        for k, places in enumerate(["spread"] if halves == "spread" else halves):
            if row < 2 * count:
                half = int(np.float16(rng.normal() * 0.01).view(np.uint16))
            else:
                half = EXTREME_HALVES[(row - 2 * count + 3 * k) % len(EXTREME_HALVES)]
            set_half(blocks, row, places, half)
    return blocks


def compare_with_ggml(library, name, blocks, values):
    if name == "I2_S":
        return
    function = getattr(library, "dequantize_row_" + name.lower().replace("_k", "_K"))
    found = np.empty(values.size, np.float32)
    raw = np.ascontiguousarray(blocks)
    function(raw.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p),
             ctypes.c_int64(values.size))
    expected = values.reshape(-1).astype(np.float32)
    same = (found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(found) &
                                                                  np.isnan(expected))
    if not same.all():
        sys.exit(f"{name}: ggml decodes {np.count_nonzero(~same)} values differently")


def conversions(rng):
    boundaries = []
    for half in list(range(0, 40)) + list(range(0x3f0, 0x410)) + list(range(0x7bf0, 0x7c00)):
        value = np.float64(np.uint16(half).view(np.float16))
        step = np.float64(np.uint16(half + 1).view(np.float16)) if half < 0x7bff else 65536.0
        middle = np.float32((value + step) / 2)
        for x in (np.float32(value), middle, np.nextafter(middle, np.float32(0)),
                  np.nextafter(middle, np.float32(np.inf))):
            boundaries += [x, -x]
    rest = rng.integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32)
    special = np.array([0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff, 0x7f7fffff,
                        0x7f7f8000, 0x00000001, 0x007fffff, 0x80000001, 0x477ff000, 0x477fefff],
                       np.uint32).view(np.float32)
    return np.concatenate([np.array(boundaries, np.float32), rest, special])


def write(out, name, blocks, values, library):
    blocks.tofile(out / f"{name.lower()}.blocks")
    values.astype("<f4").tofile(out / f"{name.lower()}.f32")
    if library is not None:
        compare_with_ggml(library, name, blocks, values)
    print(name, blocks.shape, values.size)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ggml", type=ctypes.CDLL, metavar="LIBRARY")
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "blocks"
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=default, metavar="OUTPUT_FOLDER")
    options = parser.parse_args()
    library, out = options.ggml, options.out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    with np.errstate(all="ignore"):
        for kind in HALVES:
            blocks = blocks_of(rng, kind)
            write(out, kind.name, blocks, gguf.quants.dequantize(blocks.reshape(-1), kind), library)
        floats = conversions(rng)
        floats.astype("<f4").tofile(out / "conversions.f32")
        floats.astype("<f2").tofile(out / "conversions.f16")
        gguf.quants.quantize(floats, T.BF16).tofile(out / "conversions.bf16")
        rng = np.random.default_rng(SEED + 1)
        for name in LATER_HALVES:
            blocks = later_blocks(rng, name)
            write(out, name, blocks, decode(type_named(name), blocks), library)


if __name__ == "__main__":
    main()
