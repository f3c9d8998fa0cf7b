"""Random quantized blocks, written directly: every bit of the block is exercised, the weights have
mean zero and a chosen standard deviation, and nothing is quantized from floats (so that a file of
a billion weights takes seconds)."""

import functools

import gguf
import numpy as np

from gguf_common import Type
from more_types import MORE_SIZES, MoreTypes, decode, type_named

# type -> (weights per block, bytes per block), of the types that stand in blocks
SIZES = {Type[name]: gguf.GGML_QUANT_SIZES[Type[name]] for name in (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S",
    "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0",
    "TQ2_0", "MXFP4", "NVFP4", "Q1_0")}
SIZES[MoreTypes.Q2_0] = MORE_SIZES[MoreTypes.Q2_0]

# Where the half-precision scale of a block stands, for the types whose other bytes may be anything.
SCALE_AT = {Type.Q3_K: 108, Type.IQ1_S: 0, Type.IQ2_XXS: 0, Type.IQ2_XS: 0, Type.IQ2_S: 0,
            Type.IQ3_XXS: 0, Type.IQ3_S: 0, Type.IQ4_NL: 0, Type.IQ4_XS: 0, Type.TQ1_0: 52,
            Type.TQ2_0: 64, Type.Q1_0: 0, MoreTypes.Q2_0: 0}
# BitNet's type is no ggml type: codes of two bits, flattened, and one scale behind the tensor.
I2_S = 36


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


def _set_scale(blocks, type_, scale):
    """Writes one scale per block: half precision, or the powers of two and small floats of the
    4-bit float types (whose scales come as near as they can)."""
    if type_ == Type.IQ1_M:
        # The four nibbles of the scale are the upper ones of four 16-bit words.
        bits = np.asarray(scale, "<f2").view(np.uint16)
        for i in range(4):
            nibble = (bits >> (4 * i) & 15).astype(np.uint8)
            blocks[:, 49 + 2 * i] = blocks[:, 49 + 2 * i] & 15 | nibble << 4
    elif type_ == Type.MXFP4:
        blocks[:, 0] = np.clip(np.round(np.log2(np.abs(scale))) + 127, 0, 254)
    elif type_ == Type.NVFP4:
        blocks[:, 0:4] = _small_float(np.abs(scale))[:, None]
    else:
        at = SCALE_AT[type_]
        blocks[:, at:at + 2] = _half(scale)


def _small_float(values):
    """The nearest unsigned float of four exponent bits (bias 7) and three of mantissa, not 0."""
    codes = np.arange(1, 127)
    known = np.where(codes < 8, codes / 8 * 2.0 ** -6,
                     (1 + codes % 8 / 8) * 2.0 ** (codes // 8 - 7))
    middles = (known[1:] + known[:-1]) / 2
    return codes[np.searchsorted(middles, values)].astype(np.uint8)


def _random_codes(rng, type_, count):
    """Blocks whose bytes are random, but for what a file of the type never holds."""
    blocks = _bytes(rng, count, SIZES[type_][1]).copy()
    if type_ == Type.TQ2_0:
        digits = rng.integers(0, 3, (4, count, 64), np.uint8)
        blocks[:, :64] = digits[0] | digits[1] << 2 | digits[2] << 4 | digits[3] << 6
    return blocks


@functools.lru_cache(maxsize=None)
def _unit(type_):
    """The standard deviation of weights with scale 1 and random codes, by decoding some."""
    if type_ == Type.Q1_0:  # 1 and -1; the package does not decode it
        return 1.0
    blocks = _random_codes(np.random.default_rng(0), type_, 4096)
    _set_scale(blocks, type_, np.ones(len(blocks)))
    return float(np.std(decode(type_, blocks)))


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
    elif type_ == Type.Q2_K:
        scale = spread * (deviation / (1.12 * 8.8))
        scales = rng.integers(0, 16, (count, 16), np.uint8)
        mins = np.clip(scales.astype(np.int8) + rng.integers(-1, 2, (count, 16), np.int8), 0, 15)
        blocks[:, :] = _bytes(rng, count, size)
        blocks[:, 0:16] = scales | mins.astype(np.uint8) << 4
        blocks[:, 80:82] = _half(scale)
        blocks[:, 82:84] = _half(1.5 * scale)
    else:
        blocks = _random_codes(rng, type_, count)
        _set_scale(blocks, type_, spread * sign * (deviation / _unit(type_)))
    return blocks


def _random_bitnet(rng, rows, columns, deviation):
    """BitNet's I2_S: each 128 weights in 32 bytes, and 32 bytes at the end with the scale."""
    count = rows * columns // 4
    digits = rng.integers(0, 3, (4, count), np.uint8)
    tail = np.zeros(8, "<f4")
    tail[0] = deviation / np.sqrt(2 / 3)
    codes = digits[0] << 6 | digits[1] << 4 | digits[2] << 2 | digits[3]
    return np.concatenate([codes, tail.view(np.uint8)])


def random_tensor(rng, type_, rows, columns, deviation):
    """A rows x columns matrix in the form that gguf's writer takes as raw data."""
    if type_ == I2_S:
        return _random_bitnet(rng, rows, columns, deviation)
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
