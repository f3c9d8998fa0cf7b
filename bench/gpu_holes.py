"""GGUF files of a given shape whose matrices are holes, which read as zeros: the speed and the
memory of a model, where nothing but python3 itself is there to make one.

The same layout as that of tools/oracle/make_bench_model.py --sparse; the vocabulary is made up.
"""

import array
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools/oracle"))
from bench_shapes import DEFAULTS, SHAPES, matrices, read_shape  # noqa: E402

# Its number in a file, weights of a block and their bytes.
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18),
         "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
         "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_XS": (23, 256, 136),
         "MXFP4": (39, 32, 17)}
ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
UNKNOWN, CONTROL, UNUSED, BYTE = 2, 3, 5, 6


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def number(key, value):
    return text(key) + struct.pack("<II", UINT32, value)


def real(key, value):
    return text(key) + struct.pack("<If", FLOAT32, value)


def string(key, value):
    return text(key) + struct.pack("<I", STRING) + text(value)


def items(key, kind, count, raw):
    return text(key) + struct.pack("<IIQ", ARRAY, kind, count) + raw


def vocabulary(size):
    """Key-value pairs: bytes, and tokens that no text gives."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    kinds += [UNUSED] * (size - len(tokens))
    tokens += [f"<|unused_{i}|>" for i in range(len(tokens), size)]
    prefix = "tokenizer.ggml."
    return [string(prefix + "model", "llama"), string(prefix + "pre", "default"),
            items(prefix + "tokens", STRING, size, b"".join(map(text, tokens))),
            items(prefix + "scores", FLOAT32, size, bytes(4 * size)),
            items(prefix + "token_type", INT32, size, array.array("i", kinds).tobytes()),
            number(prefix + "bos_token_id", 1), number(prefix + "eos_token_id", 2),
            number(prefix + "unknown_token_id", 0),
            text(prefix + "add_bos_token") + struct.pack("<IB", BOOL, 1)]


def metadata(shape, name):
    heads = shape["heads"]
    pairs = [string("general.architecture", "llama"), string("general.name", name),
             number("general.quantization_version", 2),
             number("llama.vocab_size", shape["vocabulary"]),
             number("llama.context_length", shape["context"]),
             number("llama.embedding_length", shape["width"]),
             number("llama.block_count", shape["layers"]),
             number("llama.feed_forward_length", shape["ffn"]),
             number("llama.attention.head_count", heads),
             number("llama.attention.head_count_kv", shape["kv_heads"]),
             real("llama.attention.layer_norm_rms_epsilon", 1e-5),
             number("llama.rope.dimension_count", shape["width"] // heads),
             real("llama.rope.freq_base", shape["theta"])]
    if shape["experts"]:
        pairs += [number("llama.expert_count", shape["experts"]),
                  number("llama.expert_used_count", shape["experts_used"])]
    return pairs + vocabulary(shape["vocabulary"])


def find_shape(name):
    """One of a list, or a config.json."""
    return {**DEFAULTS, **(SHAPES.get(name) or read_shape(name))}


def tensors(shape, kind):
    """(name, dimensions, type, bytes) of all; norms, which are no holes, stand last."""
    for name, of, n, rows, columns, _ in matrices(shape, kind, False):
        code, block, size = TYPES[of]
        if columns % block:
            raise ValueError(f"{name}: {columns} columns are no whole blocks of {of}")
        yield (name + ".weight", (columns, rows, n) if n > 1 else (columns, rows), code,
               n * rows * (columns // block * size))
    names = [f"blk.{i}.{norm}" for i in range(shape["layers"]) for norm in ("attn_norm", "ffn_norm")]
    for name in names + ["output_norm"]:
        yield name + ".weight", (shape["width"],), TYPES["F32"][0], shape["width"] * 4


def aligned(size):
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def write(path, name, kind):
    shape = find_shape(name)
    if min(shape[key] for key in ("layers", "width", "heads", "kv_heads", "ffn")) < 1:
        raise ValueError(f"{name}: a width or a number of layers or heads is 0")
    pairs, infos, places, end = metadata(shape, f"holes {name} {kind}"), [], [], 0
    for tensor, dimensions, code, size in tensors(shape, kind):
        infos.append(text(tensor) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions),
                                                *dimensions, code, end))
        places.append((dimensions, end, size))
        end += aligned(size)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs))
    head += b"".join(pairs) + b"".join(infos)
    start = aligned(len(head))
    ones = struct.pack("<f", 1.0) * shape["width"]
    with open(path, "wb") as out:
        out.write(head)
        for dimensions, place, _ in places:
            if len(dimensions) == 1:
                out.seek(start + place)
                out.write(ones)
        out.truncate(start + end)
