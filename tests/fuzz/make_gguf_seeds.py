#!/usr/bin/env python3
"""Writes the inputs that the GGUF fuzzer begins with to corpus/gguf beside this script: small
well-formed files with every type of value, and split parts. Needs Python alone."""

import pathlib
import struct

TYPES = [("u8", 0, "<B", 200), ("i8", 1, "<b", -3), ("u16", 2, "<H", 65535), ("i16", 3, "<h", -300),
         ("u32", 4, "<I", 70000), ("i32", 5, "<i", -70000), ("f32", 6, "<f", 0.5),
         ("bool", 7, "<B", 1), ("u64", 10, "<Q", 1 << 63), ("i64", 11, "<q", -(1 << 62)),
         ("f64", 12, "<d", 1e300)]


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def string(name, value):
    return key(name, 8, text(value))


def array(name, kind, count, items):
    return key(name, 9, struct.pack("<IQ", kind, count) + items)


def tensor(name, dims, kind, offset):
    return (text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
            + struct.pack("<IQ", kind, offset))


def file(keys, tensors=(), data=b"", version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    out += b"".join(keys) + b"".join(tensors)
    if tensors:
        out += bytes(-len(out) % alignment) + data
    return out


def main():
    architecture = string("general.architecture", "llama")
    scalars = [key(name, kind, struct.pack(form, value)) for name, kind, form, value in TYPES]
    arrays = [array("list." + name, kind, 3, struct.pack(form, value) * 3)
              for name, kind, form, value in TYPES]
    words = array("words", 8, 3, text("one") + text("") + text("three"))
    two = [tensor("first", [8], 0, 0), tensor("second", [4, 2], 0, 32)]
    blocks = [tensor("q4_0", [64, 2], 2, 0), tensor("q4_k", [256], 12, 96)]
    split = [key("split.no", 2, b"\0\0"), key("split.count", 2, b"\1\0"),
             key("split.tensors.count", 5, b"\2\0\0\0")]
    seeds = {
        "nothing": file([]),
        "version-2": file([architecture], two, bytes(64), version=2),
        "scalars": file(scalars),
        "arrays": file(arrays + [words]),
        "tensors": file([architecture, words], two, bytes(64)),
        "blocks": file([architecture], blocks, bytes(96 + 144)),
        "alignment-64": file([key("general.alignment", 4, b"\x40\0\0\0")],
                             [tensor("first", [8], 0, 0), tensor("second", [1, 1, 1, 1], 24, 64)],
                             bytes(65), alignment=64),
        "split": file([architecture] + split, two, bytes(64)),
        "nested": file([key("deep", 9, struct.pack("<IQ", 9, 1) * 20)]),
        "duplicate": file([architecture, architecture]),
    }
    folder = pathlib.Path(__file__).parent / "corpus" / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


main()
