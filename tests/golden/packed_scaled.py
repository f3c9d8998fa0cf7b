"""Cases of make_packed.py: bitsandbytes, FP8, NVFP4 and MXFP4 of compressed-tensors, BitNet. Values
are decoded in single precision as the formats' own programs decode them, one rounded step at a
time."""

import json
import math
import random
import struct

rng = random.Random(7)

NF4 = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
       -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
       0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
       0.7229568362236023, 1.0)
FP4 = tuple(sign * value / 12 for sign in (1, -1)
            for value in (0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0))
E2M1 = tuple(sign * value for sign in (1, -1) for value in (0, 0.5, 1, 1.5, 2, 3, 4, 6))


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def bf16(value):
    return struct.unpack("<f", struct.pack("<f", value)[2:].rjust(4, b"\0"))[0]


def e4m3(code):
    sign, exponent, mantissa = code >> 7, code >> 3 & 15, code & 7
    size = mantissa / 8 * 2.0 ** -6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return -size if sign else size


def e5m2(code):
    return struct.unpack("<e", bytes([0, code]))[0]


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def nibbles(codes, high_first):
    pairs = zip(codes[0::2], codes[1::2])
    return bytes(a << 4 | b if high_first else b << 4 | a for a, b in pairs)


def rows_of(values, width):
    return [values[i:i + width] for i in range(0, len(values), width)]


def spread():
    return 0.5 + rng.random()


# ---- bitsandbytes --------------------------------------------------------------------------------

def four_bits(shape, kind, block, nested, levels=None):
    n = shape[0] * shape[1]
    levels = [single(level) for level in levels or (NF4 if kind == "nf4" else FP4)]
    codes = list(rng.randbytes(n))
    codes = [code & 15 for code in codes]
    n_blocks = -(-n // block)
    state = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
    made = {"weight": ("U8", [(n + 1) // 2, 1], nibbles(codes, True)),
            "weight.quant_map": ("F32", [16], floats(levels))}
    if nested:
        size, offset = 256, single(0.2)
        # The map of 256 levels is bitsandbytes' dynamic one; any table shows whether it is used.
        table = [single(math.sin(i)) for i in range(256)]
        small = [rng.randrange(256) for _ in range(n_blocks)]
        maxima = [single(0.1 * spread()) for _ in range(-(-n_blocks // size))]
        absmax = [single(single(table[code] * maxima[i // size]) + offset)
                  for i, code in enumerate(small)]
        state.update(nested_blocksize=size, nested_dtype="float32", nested_offset=offset)
        made.update({"weight.absmax": ("U8", [n_blocks], bytes(small)),
                     "weight.nested_absmax": ("F32", [len(maxima)], floats(maxima)),
                     "weight.nested_quant_map": ("F32", [256], floats(table))})
    else:
        absmax = [single(0.3 * spread()) for _ in range(n_blocks)]
        made["weight.absmax"] = ("F32", [n_blocks], floats(absmax))
    text = json.dumps(state).encode()
    made[f"weight.quant_state.bitsandbytes__{kind}"] = ("U8", [len(text)], text)
    values = [single(levels[code] * absmax[i // block]) for i, code in enumerate(codes)]
    return made, rows_of(values, shape[1])


def eight_bits(shape):
    n_rows, n_columns = shape
    quants = rng.randbytes(n_rows * n_columns)
    scales = [single(0.3 * spread()) for _ in range(n_rows)]
    step = single(0.007874015718698502)
    values = [single(single(float(q - 256 if q > 127 else q) * scale) * step)
              for scale, row in zip(scales, rows_of(quants, n_columns)) for q in row]
    return ({"weight": ("I8", list(shape), quants), "SCB": ("F32", [n_rows], floats(scales)),
             "weight_format": ("U8", [], b"\0")}, rows_of(values, n_columns))


# ---- floats --------------------------------------------------------------------------------------

def fp8(shape, rows, columns, name, dtype="F32", dims=2, number=e4m3):
    """A scale for each rows x columns; 0: all of them."""
    n_rows, n_columns = shape
    rows, columns = rows or n_rows, columns or n_columns
    last = 127 if number is e4m3 else 124
    codes = bytes(code if code & 127 < last else 0 for code in rng.randbytes(n_rows * n_columns))
    grid = [[single(2.0 ** -11 * spread()) for _ in range(-(-n_columns // columns))]
            for _ in range(-(-n_rows // rows))]
    if dtype == "BF16":
        grid = [[bf16(scale) for scale in row] for row in grid]
    flat = [scale for row in grid for scale in row]
    data = floats(flat) if dtype == "F32" else b"".join(struct.pack("<f", s)[2:] for s in flat)
    values = [single(number(codes[r * n_columns + c]) * grid[r // rows][c // columns])
              for r in range(n_rows) for c in range(n_columns)]
    scale_shape = [[], [len(flat)], [len(grid), len(grid[0])]][dims]
    kind = "F8_E4M3" if number is e4m3 else "F8_E5M2"
    return ({"weight": (kind, list(shape), codes), name: (dtype, scale_shape, data),
             "input_scale": ("F32", [], floats([1.0]))}, rows_of(values, n_columns))


def fp4(shape, block, micro):
    n_rows, n_columns = shape
    codes = [code & 15 for code in rng.randbytes(n_rows * n_columns)]
    n_scales = n_rows * n_columns // block
    if micro:
        scales = bytes(rng.randrange(120, 125) for _ in range(n_scales))
        sizes = [2.0 ** (scale - 127) for scale in scales]
        made = {"weight_scale": ("U8", [n_rows, n_columns // block], scales)}
    else:
        # A power of two leaves nothing to be rounded otherwise.
        scales = bytes(rng.randrange(0x60, 0x78) for _ in range(n_scales))
        sizes = [e4m3(scale) / 1024 for scale in scales]
        made = {"weight_scale": ("F8_E4M3", [n_rows, n_columns // block], scales),
                "weight_global_scale": ("F32", [1], floats([1024.0])),
                "input_global_scale": ("F32", [1], floats([3.0]))}
    made["weight_packed"] = ("U8", [n_rows, n_columns // 2], nibbles(codes, False))
    values = [single(E2M1[code] * sizes[i // block]) for i, code in enumerate(codes)]
    return made, rows_of(values, n_columns)


# ---- BitNet --------------------------------------------------------------------------------------

def ternary(shape, divides):
    n_rows, n_columns = shape
    quants = [[rng.randrange(3) for _ in range(n_columns)] for _ in range(n_rows)]
    quarter = n_rows // 4
    packed = bytes(sum(quants[part * quarter + r][c] << 2 * part for part in range(4))
                   for r in range(quarter) for c in range(n_columns))
    stored = bf16(16.0 if divides else 0.0625)
    scale = 1 / stored if divides else stored
    return ({"weight": ("U8", [quarter, n_columns], packed),
             "weight_scale": ("BF16", [1], struct.pack("<f", stored)[2:])},
            [[(q - 1) * scale for q in row] for row in quants])


# ---- cases ---------------------------------------------------------------------------------------

def bnb(bits, **others):
    return {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True, **others}


def compressed(form, weights):
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": 8 if "float" in form or "naive" in form else 4, "type": "float",
                **weights}}}}


def bitnet(**others):
    return {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"], **others}


BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [64, 64]}
OTHER_LEVELS = [level * 0.9 for level in NF4]
CASES = {
    "nf4": (bnb(4, bnb_4bit_quant_type="nf4"), lambda s, i: four_bits(s, "nf4", 64, False)),
    "nf4-nested": (bnb(4, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
                   lambda s, i: four_bits(s, "nf4", 64, True)),
    "nf4-wide": (bnb(4), lambda s, i: four_bits(s, "nf4", 4096, True)),
    "nf4-32": (bnb(4), lambda s, i: four_bits(s, "nf4", 32, False)),
    "nf4-levels": (bnb(4), lambda s, i: four_bits(s, "nf4", 64, False, OTHER_LEVELS)),
    "fp4": (bnb(4, bnb_4bit_quant_type="fp4"), lambda s, i: four_bits(s, "fp4", 128, False)),
    "int8": (bnb(8, llm_int8_threshold=6.0), lambda s, i: eight_bits(s)),
    "int8-outliers": (bnb(8, llm_int8_threshold=1.5), lambda s, i: eight_bits(s)),
    "fp8-blocks": (BLOCKS, lambda s, i: fp8(s, 64, 64, "weight_scale_inv")),
    "fp8-narrow": ({**BLOCKS, "weight_block_size": [48, 40]},
                   lambda s, i: fp8(s, 48, 40, "weight_scale_inv")),
    "fp8-tensor": (compressed("naive-quantized", {"strategy": "tensor"}),
                   lambda s, i: fp8(s, 0, 0, "weight_scale", "BF16", 1)),
    "fp8-channel": (compressed("float-quantized", {"strategy": "channel"}),
                    lambda s, i: fp8(s, 1, 0, "weight_scale", "BF16")),
    "fp8-fbgemm": ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0},
                   lambda s, i: fp8(s, 1, 0, "weight_scale")),
    "nvfp4": (compressed("nvfp4-pack-quantized", {"strategy": "tensor_group", "group_size": 16}),
              lambda s, i: fp4(s, 16, False)),
    "mxfp4": (compressed("mxfp4-pack-quantized", {"strategy": "group", "group_size": 32}),
              lambda s, i: fp4(s, 32, True)),
    "bitnet": (bitnet(linear_class="autobitlinear", quantization_mode="offline"),
               lambda s, i: ternary(s, False)),
    "bitnet-divided": (bitnet(), lambda s, i: ternary(s, True)),
}
