"""Writes a GGUF file again with its matrices in another type. Needs nothing but numpy.

Usage: requantize.py IN.gguf OUT.gguf TYPE

TYPE is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, or a mixture Q4_K_M or
Q5_K_M (Q6_K for the embedding, the output and, in some layers, attn_v and ffn_down). The matrices of
the source must be F32, F16, BF16 or Q8_0; vectors stay as they are. The encoders are the plain ones
(no search for better scales) and use single IEEE operations only, so that the same input gives the
same bytes everywhere: the golden figures of tests/golden/greedy rest on that, and name the SHA-256
of each file.
"""

import struct
import sys

import numpy as np

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# name -> (id, weights per block, bytes per block, general.file_type)
TYPES = {"F32": (0, 1, 4, 0), "F16": (1, 1, 2, 1), "Q4_0": (2, 32, 18, 2), "Q4_1": (3, 32, 20, 3),
         "Q5_0": (6, 32, 22, 8), "Q5_1": (7, 32, 24, 9), "Q8_0": (8, 32, 34, 7),
         "Q4_K": (12, 256, 144, 15), "Q5_K": (13, 256, 176, 17), "Q6_K": (14, 256, 210, 18),
         "BF16": (30, 1, 2, 32)}
NAMES = {value[0]: name for name, value in TYPES.items()}
ONE = np.float32(1)


class Source:
    """A GGUF file taken apart: the bytes of its metadata, and its tensors. `decode`, if given,
    turns (type name, raw bytes) of types unknown here into floats."""

    def __init__(self, path, decode=None):
        self.decode = decode
        self.data = np.fromfile(path, np.uint8)
        self.bytes = self.data.tobytes()
        magic, self.version, n_tensors, self.n_keys = struct.unpack_from("<4sIQQ", self.bytes, 0)
        if magic != b"GGUF" or self.version not in (2, 3):
            sys.exit(f"{path}: not a GGUF file of version 2 or 3")
        self.at = 24
        self.values = {}
        self.where = {}
        for _ in range(self.n_keys):
            key = self.text()
            self.values[key] = self.value(key, self.take("<I"))
        self.metadata = bytearray(self.bytes[24:self.at])
        self.tensors = []
        for _ in range(n_tensors):
            name = self.text()
            shape = [self.take("<Q") for _ in range(self.take("<I"))]
            self.tensors.append((name, shape, NAMES[self.take("<I")], self.take("<Q")))
        self.alignment = self.values.get("general.alignment", 32)
        self.base = -(-self.at // self.alignment) * self.alignment

    def take(self, form):
        value, = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = self.take("<Q")
        self.at += length
        return self.bytes[self.at - length:self.at].decode("utf-8", "surrogateescape")

    def value(self, key, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, count = self.take("<I"), self.take("<Q")
            if kind == 8:
                for _ in range(count):
                    self.text()
            else:
                self.at += SCALARS[kind] * count
            return None
        self.where[key] = self.at - 24
        self.at += SCALARS[kind]
        return struct.unpack_from("<I", self.bytes, self.at - 4)[0] if kind in (4, 5) else None

    def raw(self, tensor):
        _, shape, kind, offset = tensor
        _, per_block, size, _ = TYPES[kind]
        length = int(np.prod(shape)) // per_block * size
        return self.data[self.base + offset:self.base + offset + length]

    def floats(self, tensor):
        name, shape, kind, _ = tensor
        raw = self.raw(tensor)
        if kind == "F32":
            return raw.view("<f4").reshape(-1, shape[0])
        if kind == "F16":
            return raw.view("<f2").astype(np.float32).reshape(-1, shape[0])
        if kind == "BF16":
            return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(-1, shape[0])
        if kind == "Q8_0":
            blocks = raw.reshape(-1, 34)
            scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
            return (blocks[:, 2:].view(np.int8) * scale).reshape(-1, shape[0])
        if self.decode:
            return self.decode(kind, raw).reshape(-1, shape[0])
        sys.exit(f"{name}: the source type {kind} is not supported; give a Q8_0 or float file")


def halves(values):
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def inverse(values):
    return np.where(values == 0, np.float32(0), ONE / np.where(values == 0, ONE, values))


def farthest(x):
    """Per row, the element of largest magnitude with its sign."""
    return np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1)[:, 0]


def nibbles(q):
    return q[:, :16] | q[:, 16:] << 4


def fifth_bits(q):
    return np.packbits(q >> 4 & 1, axis=1, bitorder="little")


def encode_symmetric(x, bits):
    top = 1 << (bits - 1)
    scale = farthest(x) / np.float32(-top)
    q = np.floor(x * inverse(scale)[:, None] + np.float32(top + 0.5))
    return halves(scale), np.clip(q, 0, 2 * top - 1).astype(np.uint8)


def encode_minimum(x, bits):
    low = x.min(1)
    scale = (x.max(1) - low) / np.float32((1 << bits) - 1)
    q = np.floor((x - low[:, None]) * inverse(scale)[:, None] + np.float32(0.5))
    return (np.hstack([halves(scale), halves(low)]),
            np.clip(q, 0, (1 << bits) - 1).astype(np.uint8))


def encode_k(x, bits):
    top = (1 << bits) - 1
    parts = x.reshape(-1, 8, 32)
    low = np.minimum(parts.min(2), 0)
    scales = (parts.max(2) - low) / np.float32(top)
    super_scale = (scales.max(1) / np.float32(63)).astype("<f2").astype(np.float32)
    super_low = ((-low).max(1) / np.float32(63)).astype("<f2").astype(np.float32)
    sub = np.clip(np.rint(scales * inverse(super_scale)[:, None]), 0, 63)
    minimum = np.clip(np.rint(-low * inverse(super_low)[:, None]), 0, 63)
    step = super_scale[:, None] * sub.astype(np.float32)
    offset = super_low[:, None] * minimum.astype(np.float32)
    q = np.rint((parts + offset[:, :, None]) * inverse(step)[:, :, None])
    q = np.clip(q, 0, top).astype(np.uint8)
    sub, minimum = sub.astype(np.uint8), minimum.astype(np.uint8)
    packed = np.hstack([sub[:, :4] | sub[:, 4:] >> 4 << 6, minimum[:, :4] | minimum[:, 4:] >> 4 << 6,
                        sub[:, 4:] & 15 | (minimum[:, 4:] & 15) << 4])
    columns = [halves(super_scale), halves(super_low), packed]
    if bits == 5:
        columns.append(np.bitwise_or.reduce((q >> 4) << np.arange(8, dtype=np.uint8)[:, None], 1))
    low_bits = q & 15
    columns.append((low_bits[:, 0::2] | low_bits[:, 1::2] << 4).reshape(-1, 128))
    return np.hstack(columns)


def encode_q6_k(x):
    parts = x.reshape(-1, 16, 16)
    scales = farthest(x.reshape(-1, 16)).reshape(-1, 16) / np.float32(-32)
    super_scale = (farthest(scales) / np.float32(-128)).astype("<f2").astype(np.float32)
    sub = np.clip(np.rint(scales * inverse(super_scale)[:, None]), -128, 127)
    step = super_scale[:, None] * sub.astype(np.float32)
    q = np.rint(parts * inverse(step)[:, :, None]) + 32
    q = np.clip(q, 0, 63).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.stack([q[:, :, 0] & 15 | (q[:, :, 2] & 15) << 4,
                    q[:, :, 1] & 15 | (q[:, :, 3] & 15) << 4], 2)
    high = np.bitwise_or.reduce(q >> 4 << np.arange(0, 8, 2, dtype=np.uint8)[:, None], 2)
    return np.hstack([low.reshape(-1, 128), high.reshape(-1, 64),
                      sub.astype(np.int8).view(np.uint8), halves(super_scale)])


def encode(values, kind):
    if kind == "F32":
        return values.astype("<f4").view(np.uint8)
    if kind == "F16":
        return values.astype("<f2").view(np.uint8)
    if kind == "BF16":
        bits = np.ascontiguousarray(values).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").view(np.uint8)
    x = np.ascontiguousarray(values).reshape(-1, TYPES[kind][1])
    if kind in ("Q4_0", "Q5_0"):
        head, q = encode_symmetric(x, int(kind[1]))
    elif kind in ("Q4_1", "Q5_1"):
        head, q = encode_minimum(x, int(kind[1]))
    elif kind == "Q8_0":
        scale = np.abs(x).max(1) / np.float32(127)
        q = np.rint(x * inverse(scale)[:, None]).astype(np.int8)
        return np.hstack([halves(scale), q.view(np.uint8)])
    elif kind == "Q6_K":
        return encode_q6_k(x)
    else:
        return encode_k(x, int(kind[1]))
    return np.hstack([head, fifth_bits(q), nibbles(q & 15)] if kind[1] == "5" else
                     [head, nibbles(q)])


def target_type(name, mixture, layers):
    """The type of a matrix; the mixtures are those that llama.cpp makes."""
    if not mixture.endswith("_M"):
        return mixture
    if name in ("token_embd.weight", "output.weight"):
        return "Q6_K"
    if name.endswith(("attn_v.weight", "ffn_down.weight")):
        layer, eighth = int(name.split(".")[1]), layers // 8
        if layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2:
            return "Q6_K"
    return mixture[:-2]


def requantize(source_path, target_path, kind, decode=None):
    source = Source(source_path, decode)
    layers = source.values[source_architecture(source) + ".block_count"]
    if "general.file_type" in source.where:
        struct.pack_into("<I", source.metadata, source.where["general.file_type"],
                         TYPES[kind.removesuffix("_M")][3])
    head, body = bytearray(), bytearray()
    for tensor in source.tensors:
        name, shape, old, _ = tensor
        new = target_type(name, kind, layers) if len(shape) > 1 else old
        if len(shape) > 1 and shape[0] % TYPES[new][1]:
            sys.exit(f"{name}: rows of {shape[0]} do not divide into blocks of {new}")
        if new == old:
            raw = source.raw(tensor).tobytes()
        else:
            raw = encode(source.floats(tensor), new).tobytes()
        encoded = name.encode("utf-8", "surrogateescape")
        head += struct.pack("<Q", len(encoded)) + encoded + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *shape, TYPES[new][0], len(body))
        body += raw + bytes(-len(raw) % source.alignment)
    start = struct.pack("<4sIQQ", b"GGUF", 3, len(source.tensors), source.n_keys)
    everything = start + bytes(source.metadata) + bytes(head)
    everything += bytes(-len(everything) % source.alignment)
    with open(target_path, "wb") as out:
        out.write(everything + bytes(body))


def source_architecture(source):
    return source.values["general.architecture"]


def main():
    if len(sys.argv) != 4 or sys.argv[3].removesuffix("_M") not in TYPES:
        sys.exit(__doc__)
    requantize(*sys.argv[1:])


if __name__ == "__main__":
    main()
