#!/usr/bin/env python3
"""Writes tests/golden/blocks: random and extreme blocks of each computable type, and what the
reference decoder of the `gguf` package makes of them.

For each type T: T.blocks (the raw blocks) and T.f32 (little-endian float32, one value per element).
For the types here every product in ggml's C decoder is exact in float32 (11 bits of scale, at most 8
of sub-scale, at most 5 of quant) and at most one addition rounds, so the Python and C decoders agree
in every bit. Blocks whose decoded values are NaN (infinite or NaN scales) compare as NaN only.

Also writes conversions.f32/.f16/.bf16: floats around every rounding boundary and what numpy (F16)
and gguf (BF16) make of them.

Usage: make_quant_goldens.py [OUTPUT_FOLDER]
"""
import pathlib
import sys

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T

SEED = 20260101
BLOCKS_PER_TYPE = {32: 48, 256: 12}

# Where each type keeps its F16 numbers.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
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


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "blocks"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    with np.errstate(all="ignore"):
        for kind in HALVES:
            blocks = blocks_of(rng, kind)
            values = gguf.quants.dequantize(blocks.reshape(-1), kind).astype("<f4")
            name = kind.name.lower()
            blocks.tofile(out / f"{name}.blocks")
            values.tofile(out / f"{name}.f32")
            print(name, blocks.shape, values.size)
        floats = conversions(rng)
        floats.astype("<f4").tofile(out / "conversions.f32")
        floats.astype("<f2").tofile(out / "conversions.f16")
        gguf.quants.quantize(floats, T.BF16).tofile(out / "conversions.bf16")


if __name__ == "__main__":
    main()
