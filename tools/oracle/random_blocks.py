"""Random quantized blocks, written directly: every bit of the block is exercised, the weights have
mean zero and a chosen standard deviation, and nothing is quantized from floats (so that a file of
a billion weights takes seconds)."""

import numpy as np

from gguf_common import Type

# type -> (weights per block, bytes per block)
SIZES = {Type.Q4_0: (32, 18), Type.Q4_1: (32, 20), Type.Q5_0: (32, 22), Type.Q5_1: (32, 24),
         Type.Q8_0: (32, 34), Type.Q4_K: (256, 144), Type.Q5_K: (256, 176), Type.Q6_K: (256, 210)}


def _half(values):
    """float16 values as their bytes, one row each."""
    return np.ascontiguousarray(values, dtype="<f2").view(np.uint8).reshape(-1, 2)


def _bytes(rng, rows, columns):
    return np.frombuffer(rng.bytes(rows * columns), np.uint8).reshape(rows, columns)


def _pack_six_bits(scales, mins):
    """The 12 bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit minima."""
    packed = np.zeros((scales.shape[0], 12), np.uint8)
    packed[:, 0:4] = scales[:, 0:4] | (scales[:, 4:8] >> 4 << 6)
    packed[:, 4:8] = mins[:, 0:4] | (mins[:, 4:8] >> 4 << 6)
    packed[:, 8:12] = (scales[:, 4:8] & 15) | ((mins[:, 4:8] & 15) << 4)
    return packed


def random_blocks(rng, type_, count, deviation):
    """`count` blocks as an array of bytes, one block per row."""
    _, size = SIZES[type_]
    spread = np.exp(rng.standard_normal(count, np.float32) * np.float32(0.2))
    sign = np.where(_bytes(rng, count, 1)[:, 0] & 1, 1, -1).astype(np.float32)
    blocks = np.empty((count, size), np.uint8)
    if type_ in (Type.Q4_0, Type.Q5_0, Type.Q8_0):
        # Standard deviation of the stored integers when their bits are uniform.
        unit = {Type.Q4_0: 4.61, Type.Q5_0: 9.23, Type.Q8_0: 73.9}[type_]
        blocks[:, 0:2] = _half(spread * sign * (deviation / unit))
        blocks[:, 2:] = _bytes(rng, count, size - 2)
    elif type_ in (Type.Q4_1, Type.Q5_1):
        unit, middle = (4.61, 7.5) if type_ == Type.Q4_1 else (9.23, 15.5)
        scale = spread * (deviation / unit)
        jitter = 1 + 0.1 * rng.standard_normal(count, np.float32)
        blocks[:, 0:2] = _half(scale)
        blocks[:, 2:4] = _half(-middle * scale * jitter)
        blocks[:, 4:] = _bytes(rng, count, size - 4)
    elif type_ in (Type.Q4_K, Type.Q5_K):
        unit, middle = (4.61, 7.5) if type_ == Type.Q4_K else (9.23, 15.5)
        scale = spread * (deviation / (unit * 36.7))
        scales = rng.integers(0, 64, (count, 8), np.uint8)
        drift = rng.integers(-4, 5, (count, 8), np.int8)
        mins = np.clip(scales.astype(np.int8) + drift, 0, 63).astype(np.uint8)
        blocks[:, 0:2] = _half(scale)
        blocks[:, 2:4] = _half(middle * scale)
        blocks[:, 4:16] = _pack_six_bits(scales, mins)
        blocks[:, 16:] = _bytes(rng, count, size - 16)
    elif type_ == Type.Q6_K:
        blocks[:, :] = _bytes(rng, count, size)
        blocks[:, 208:] = _half(spread * sign * (deviation / (18.5 * 73.9)))
    else:
        raise ValueError(f"no random blocks for {type_.name}")
    return blocks


def random_tensor(rng, type_, rows, columns, deviation):
    """A rows x columns matrix in the form that gguf's writer takes as raw data."""
    if type_ in SIZES:
        per_block, size = SIZES[type_]
        if columns % per_block:
            raise ValueError(f"{columns} columns do not divide into {type_.name} blocks")
        blocks = random_blocks(rng, type_, rows * (columns // per_block), deviation)
        return blocks.reshape(rows, columns // per_block * size)
    values = rng.standard_normal((rows, columns), np.float32) * np.float32(deviation)
    if type_ == Type.F32:
        return values
    if type_ == Type.F16:
        return values.astype(np.float16)
    if type_ == Type.BF16:
        # Cutting the lower half off is as good as rounding for random weights.
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    raise ValueError(f"no random tensor of {type_.name}")
