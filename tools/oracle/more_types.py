"""Tensor types that the `gguf` package cannot decode, and one function that decodes every type.

Q1_0 and Q2_0 follow ggml's layout (make_quant_goldens.py --ggml holds them against its C code), I2_S
that of BitNet without the tail that holds the tensor's scale."""

import enum

import gguf
import numpy as np

from gguf_common import Type


class MoreTypes(enum.IntEnum):
    I2_S = 36
    Q1_0 = 41
    Q2_0 = 42


# (weights per block, bytes per block)
MORE_SIZES = {MoreTypes.I2_S: (128, 32), MoreTypes.Q1_0: (128, 18), MoreTypes.Q2_0: (64, 18)}
I2_S_TAIL = 32


def type_named(name):
    return MoreTypes[name] if name in MoreTypes.__members__ else Type[name]


def _bit_fields(data, bits):
    """The numbers of `bits` bits in each byte, lowest first, in order."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((data[:, :, None] >> shifts) & ((1 << bits) - 1)).reshape(data.shape[0], -1)


def decode(type_, blocks):
    """The float32 values of blocks, one block per row of the result where the type is of MoreTypes."""
    if type_ not in MORE_SIZES or not isinstance(type_, MoreTypes):
        return gguf.quants.dequantize(blocks.reshape(-1), type_)
    blocks = blocks.reshape(-1, MORE_SIZES[type_][1])
    if type_ == MoreTypes.I2_S:
        codes = np.stack([blocks >> 6 & 3, blocks >> 4 & 3, blocks >> 2 & 3, blocks & 3], axis=1)
        return codes.reshape(blocks.shape[0], -1).astype(np.float32) - 1
    scale = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    if type_ == MoreTypes.Q1_0:
        return np.where(_bit_fields(blocks[:, 2:], 1) == 1, scale, -scale)
    return (_bit_fields(blocks[:, 2:], 2).astype(np.float32) - 1) * scale
