#!/usr/bin/env python3
"""Makes tiny random models as folders in the ways that quantizers publish them, and beside each the
same weights as F32, decoded here from the definition of the format: scale * (quant - zero). Quants
are random bits and everything is made anew from a fixed seed, so that nothing need be kept.
Python's own library is enough.

Usage: make_packed.py OUTPUT_FOLDER

For each case OUTPUT_FOLDER/NAME and OUTPUT_FOLDER/NAME-f32."""

import json
import os
import random
import struct
import sys
from array import array

import packed_scaled

VOCABULARY, WIDTH, FFN, HEADS, KV_HEADS = 96, 128, 160, 4, 2
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
          "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": 1,
          "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
          "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "max_position_embeddings": 256, "tie_word_embeddings": False}
KV = WIDTH // HEADS * KV_HEADS
MODULES = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KV, WIDTH),
           "self_attn.v_proj": (KV, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
           "mlp.gate_proj": (FFN, WIDTH), "mlp.up_proj": (FFN, WIDTH), "mlp.down_proj": (WIDTH, FFN)}
FUSED = {"self_attn.qkv_proj": (WIDTH + 2 * KV, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
         "mlp.gate_up_proj": (2 * FFN, WIDTH), "mlp.down_proj": (WIDTH, FFN)}
EXPERTS = {**{name: MODULES[name] for name in list(MODULES)[:4]},
           **{f"block_sparse_moe.experts.{e}.{part}": shape for e in range(3)
              for part, shape in (("w1", (FFN, WIDTH)), ("w2", (WIDTH, FFN)), ("w3", (FFN, WIDTH)))}}
LATENT = {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "kv_lora_rank": 64,
          "num_key_value_heads": HEADS, "q_lora_rank": None, "qk_nope_head_dim": 32,
          "qk_rope_head_dim": 16, "v_head_dim": 32, "first_k_dense_replace": 1,
          "n_routed_experts": 2, "num_experts_per_tok": 1, "n_shared_experts": 1,
          "moe_intermediate_size": 64}
LATENT_MODULES = {"self_attn.q_proj": (HEADS * 48, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
                  "self_attn.kv_a_proj_with_mqa": (80, WIDTH),
                  "self_attn.kv_b_proj": (HEADS * 64, 64),
                  **{name: shape for name, shape in MODULES.items() if "mlp" in name}}
BERT = {"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": 1,
        "num_attention_heads": HEADS, "vocab_size": VOCABULARY, "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64, "type_vocab_size": 2}
ENCODER = {**{f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")},
           "attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (FFN, WIDTH),
           "output.dense": (WIDTH, FFN)}
ENCODER_PLAIN = {**{f"embeddings.{part}_embeddings.weight": (rows, WIDTH) for part, rows in
                    (("word", VOCABULARY), ("position", 64), ("token_type", 2))},
                 **{f"{norm}.LayerNorm.{part}": (WIDTH,) for part in ("weight", "bias") for norm in
                    ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output")}}
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
INTEGERS = {"I32": "i", "I16": "h", "I8": "b", "I64": "q"}

rng = random.Random(5)


def half(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def bf16(value):
    return struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", value))[0]
                                           & 0xffff0000))[0]


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


NARROW = {"F16": half, "BF16": bf16, "F32": single}


def numbers(dtype, shape, values):
    """A tensor as (dtype, shape, bytes)."""
    if dtype == "F32":
        data = array("f", values).tobytes()
    elif dtype == "F16":
        data = struct.pack(f"<{len(values)}e", *values)
    elif dtype == "BF16":
        data = b"".join(struct.pack("<f", value)[2:] for value in values)
    else:
        data = array(INTEGERS[dtype], values).tobytes()
    return dtype, list(shape), data


def words(values, bits):
    """A stream of bits, lowest first, as signed words."""
    stream = 0
    for i, value in enumerate(values):
        stream |= value << (i * bits)
    count = (len(values) * bits + 31) // 32
    return list(array("i", stream.to_bytes(4 * count, "little")))


def turned(rows):
    return [list(column) for column in zip(*rows)]


def flat(rows):
    return [value for row in rows for value in row]


def quants_of(n_rows, n_columns, bits):
    data = rng.randbytes(n_rows * n_columns)
    mask = (1 << bits) - 1
    return [[byte & mask for byte in data[r * n_columns:(r + 1) * n_columns]]
            for r in range(n_rows)]


def scales_of(n_rows, n_groups, bits, narrow=half):
    """So that weights have about the size that a layer of this width wants."""
    size = 0.3 / (1 << bits)
    return [[narrow(size * (0.5 + rng.random())) for _ in range(n_groups)] for _ in range(n_rows)]


def decoded(quants, scales, zeros, groups):
    """Rows of values; exact where a scale has at most 11 bits, else rounded to F32 when written."""
    return [[s[g] * (q - z[g]) for q, g in zip(row, groups)]
            for row, s, z in zip(quants, scales, zeros)]


# ---- the formats: tensors of a module by ending, and its values -----------------------------------

def gptq(shape, bits, group, order, v2=False, symmetric=False, index=True, dtype="F16"):
    n_rows, n_columns = shape
    size = n_columns if group == -1 else group
    n_groups = -(-n_columns // size)
    groups = [i // size for i in range(n_columns)]
    if order is not None:
        random.Random(order * 1000 + n_columns).shuffle(groups)
    quants = quants_of(n_rows, n_columns, bits)
    scales = scales_of(n_rows, n_groups, bits, NARROW[dtype])
    middle = 1 << (bits - 1)
    zeros = [[middle if symmetric else rng.randrange(1 << bits) for _ in range(n_groups)]
             for _ in range(n_rows)]
    stored = [[(z - (0 if v2 else 1)) % (1 << bits) for z in row] for row in zeros]
    columns = turned(words(row, bits) for row in quants)
    made = {"qweight": numbers("I32", (len(columns), n_rows), flat(columns)),
            "qzeros": numbers("I32", (n_groups, n_rows * bits // 32),
                              flat(words(row, bits) for row in turned(stored))),
            "scales": numbers(dtype, (n_groups, n_rows), flat(turned(scales)))}
    if index:
        made["g_idx"] = numbers("I32", (n_columns,), groups)
    return made, decoded(quants, scales, zeros, groups)


def awq_words(values):
    return flat(words([values[i + k] for k in AWQ_ORDER], 4) for i in range(0, len(values), 8))


def awq(shape, group, dtype="F16"):
    n_rows, n_columns = shape
    quants = quants_of(n_rows, n_columns, 4)
    n_groups = n_columns // group
    scales = scales_of(n_rows, n_groups, 4, NARROW[dtype])
    zeros = quants_of(n_rows, n_groups, 4)
    return ({"qweight": numbers("I32", (n_columns, n_rows // 8),
                                flat(awq_words(column) for column in turned(quants))),
             "qzeros": numbers("I32", (n_groups, n_rows // 8),
                               flat(awq_words(column) for column in turned(zeros))),
             "scales": numbers(dtype, (n_groups, n_rows), flat(turned(scales)))},
            decoded(quants, scales, zeros, [i // group for i in range(n_columns)]))


def integers(shape, bits, group, packed, zeros=None, order=None, dtype="F16"):
    """compressed-tensors; zeros: None, "I32" or "I8"."""
    n_rows, n_columns = shape
    size = n_columns if group == -1 else group
    n_groups, middle = n_columns // size, 1 << (bits - 1)
    groups = [i // size for i in range(n_columns)]
    made = {}
    if order is not None and order >= 0:
        random.Random(order).shuffle(groups)
    if order is not None:
        made["weight_g_idx"] = numbers("I32", (n_columns,),
                                       groups if order >= 0 else [-1] * n_columns)
    quants = quants_of(n_rows, n_columns, bits)
    scales = scales_of(n_rows, n_groups, bits, NARROW[dtype])
    offsets = quants_of(n_rows, n_groups, bits) if zeros else [[middle] * n_groups] * n_rows
    if packed:
        made["weight_packed"] = numbers("I32", (n_rows, n_columns * bits // 32),
                                        flat(words(row, bits) for row in quants))
        made["weight_shape"] = numbers("I64", (2,), shape)
    else:
        made["weight"] = numbers("I8", shape, [q - middle for q in flat(quants)])
    made["weight_scale"] = numbers(dtype, (n_rows, n_groups), flat(scales))
    if zeros == "I32":
        made["weight_zero_point"] = numbers(
            "I32", (-(-n_rows * bits // 32), n_groups),
            flat(turned(words(column, bits) for column in turned(offsets))))
    elif zeros == "I8":
        made["weight_zero_point"] = numbers("I8", (n_rows, n_groups),
                                            [z - middle for z in flat(offsets)])
    return made, decoded(quants, scales, offsets, groups)


def exl2(shape, widths, order, size=32):
    """widths: bits of stretches of 32 columns (or of size, where rows are made of such), decreasing;
    each of them a group."""
    n_rows, n_columns = shape
    padded = -(-n_rows // 32) * 32
    size = size if n_columns % size == 0 else 32
    widths = (widths * 9)[:n_columns // size]
    widths.sort(reverse=True)
    perm = list(range(n_columns))
    random.Random(order * 1000 + n_columns).shuffle(perm)
    invperm = [0] * n_columns
    for place, column in enumerate(perm):
        invperm[column] = place
    maxima = [half(0.3 / (1 << bits)) for bits in widths]
    fourths = quants_of(len(widths), padded, 4)
    rows, starts, values = [], [], [[0.0] * n_columns for _ in range(n_rows)]
    for group, bits in enumerate(widths):
        starts += [bits, len(rows)]
        quants = quants_of(padded, size, bits)
        rows += turned(words(row, bits) for row in quants)
        for r in range(n_rows):
            scale = half((fourths[group][r] + 1) ** 2 * half(maxima[group] / 256))
            for c in range(size):
                values[r][perm[group * size + c]] = scale * (quants[r][c] - (1 << (bits - 1)))
    return ({"q_weight": numbers("I32", (len(rows), padded), flat(rows)),
             "q_groups": numbers("I16", (len(starts),), starts),
             "q_scale": numbers("I32", (len(widths), padded // 8),
                                flat(words(row, 4) for row in fourths)),
             "q_scale_max": numbers("F16", (len(widths),), maxima),
             "q_invperm": numbers("I32", (n_columns,), invperm)}, values)


# ---- cases ---------------------------------------------------------------------------------------

def scheme(bits, group, packed, symmetric=True):
    return {"quant_method": "compressed-tensors",
            "format": "pack-quantized" if packed else "int-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "weights": {
                "num_bits": bits, "type": "int", "symmetric": symmetric,
                "strategy": "channel" if group == -1 else "group", "group_size": group}}},
            "ignore": ["lm_head"], "quantization_status": "compressed"}


def sizes(bits, group, **others):
    return {"quant_method": "gptq", "bits": bits, "group_size": group, **others}


EXL2 = {"quant_method": "exl2", "bits": 4.0}
# name: configuration, function of a module's shape and number. A number of a module tells which
# order of columns it has: queries, keys and values have one, gates and ups have one.
CASES = {
    "gptq-4": (sizes(4, 128), lambda s, i: gptq(s, 4, 128, None)),
    "gptq-4-order": (sizes(4, 32, desc_act=True, checkpoint_format="gptq_v2", lm_head=True),
                     lambda s, i: gptq(s, 4, 32, i, v2=True)),
    "gptq-4-odd": (sizes(4, 20), lambda s, i: gptq(s, 4, 20, None, symmetric=True)),
    "gptq-2": (sizes(2, 16, desc_act=True), lambda s, i: gptq(s, 2, 16, i)),
    "gptq-3": (sizes(3, -1), lambda s, i: gptq(s, 3, -1, None, index=False)),
    "gptq-8": (sizes(8, 64), lambda s, i: gptq(s, 8, 64, None)),
    "gptq-mixed": (sizes(4, 32, dynamic={"+:.*mlp.*": {"bits": 8}}),
                   lambda s, i: gptq(s, 8 if i == 2 else 4, 32, None)),
    "gptq-fused": (sizes(4, 32, desc_act=True), lambda s, i: gptq(s, 4, 32, i)),
    "gptq-experts": (sizes(4, 32, desc_act=True), lambda s, i: gptq(s, 4, 32, i)),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True,
             "version": "gemm"}, lambda s, i: awq(s, 32)),
    "integers-4": (scheme(4, 32, True, False), lambda s, i: integers(s, 4, 32, True, "I32")),
    "integers-4-order": (scheme(4, 32, True),
                         lambda s, i: integers(s, 4, 32, True, order=i, dtype="BF16")),
    "integers-8": (scheme(8, -1, True), lambda s, i: integers(s, 8, -1, True)),
    "bytes-8": (scheme(8, -1, False), lambda s, i: integers(s, 8, -1, False, dtype="BF16")),
    "bytes-4": (scheme(4, 32, False, False), lambda s, i: integers(s, 4, 32, False, "I8")),
    "exl2": (EXL2, lambda s, i: exl2(s, [8, 6, 5, 4, 3, 2][i:], i)),
}
MIXED = {"quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": ["lm_head"],
         "config_groups": {f"group_{i}": {"targets": ["Linear"], "weights": {
             "num_bits": bits, "type": kind, "symmetric": True}}
             for i, (bits, kind) in enumerate(((4, "int"), (8, "float"), (4, "float"), (8, "int")))}}
# Scales in F32, which need all of their bits; made last, so that the others stay what they are.
WIDE = {
    "gptq-4-wide": (sizes(4, 32, desc_act=True),
                    lambda s, i: gptq(s, 4, 32, i, dtype="F32")),
    "gptq-8-wide": (sizes(8, 20), lambda s, i: gptq(s, 8, 20, None, dtype="F32")),
    "awq-wide": ({"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True,
                  "version": "gemm"}, lambda s, i: awq(s, 32, dtype="F32")),
    "integers-4-wide": (scheme(4, 32, True),
                        lambda s, i: integers(s, 4, 32, True, order=i, dtype="F32")),
    "bytes-8-wide": (scheme(8, -1, False), lambda s, i: integers(s, 8, -1, False, dtype="F32")),
    # An index of groups that was made and not filled.
    "integers-4-empty": (scheme(4, 32, True), lambda s, i: integers(s, 4, 32, True, order=-1)),
    # Phi-3 as ExLlamaV2 writes it: what is one in other files stands apart.
    "exl2-apart": (EXL2, lambda s, i: exl2(s, [8, 6, 5, 4][i % 4:], i)),
    # A head of its own, though config.json says that it is the embedding.
    "exl2-tied": (EXL2, lambda s, i: exl2(s, [5, 3, 6, 4], i)),
    # Experts of other widths and groups each.
    "exl2-experts": (EXL2, lambda s, i: exl2(s, [(6, 5, 3, 8, 2)[i % 5], 3, 4, 3], i,
                                             128 if i % 3 == 0 else 32)),
    "gptq-encoder": (sizes(4, 32, desc_act=True), lambda s, i: gptq(s, 4, 32, i)),
    "fp8-encoder": (packed_scaled.BLOCKS,
                    lambda s, i: packed_scaled.fp8(s, 64, 64, "weight_scale_inv")),
    "int8-experts": (packed_scaled.bnb(8, llm_int8_threshold=0.8),
                     lambda s, i: packed_scaled.eight_bits(s)),
    # What each kind of module has in its own way.
    "mixed": (MIXED, lambda s, i: integers(s, 4, 32, True) if i == 0 else
              packed_scaled.fp8(s, 1, 0, "weight_scale") if i == 1 else
              packed_scaled.fp4(s, 16, False) if i == 2 else integers(s, 8, -1, False)),
    "fp8-e5m2": (packed_scaled.BLOCKS,
                 lambda s, i: packed_scaled.fp8(s, 64, 64, "weight_scale_inv", "BF16",
                                                number=packed_scaled.e5m2)),
    "fp8-latent": (packed_scaled.BLOCKS,
                   lambda s, i: packed_scaled.fp8(s, 64, 64, "weight_scale_inv")),
    "fp8-experts": (packed_scaled.BLOCKS,
                    lambda s, i: packed_scaled.fp8(s, 64, 64, "weight_scale_inv")),
    # One of the experts has its columns as they were.
    "gptq-some-experts": (sizes(4, 32, desc_act=True),
                          lambda s, i: gptq(s, 4, 32, None if i in (6, 7) else i)),
}
ORDERS = {"q_proj": 0, "k_proj": 0, "v_proj": 0, "qkv_proj": 0, "o_proj": 1, "gate_proj": 2,
          "up_proj": 2, "gate_up_proj": 2, "down_proj": 3}


def order_of(module):
    part = module.rsplit(".", 1)[1] if "." in module else module
    if "experts" in module:
        return 4 + int(module.split(".")[-2]) * 2 + (part == "w2")
    return ORDERS.get(part, 1)


def write(folder, config, tensors):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def make(folder, name, settings, quantize):
    """The head of the vocabulary is quantized where the settings or the format say so."""
    config, modules = dict(CONFIG), MODULES
    if name.endswith("encoder"):
        config, modules = dict(BERT), ENCODER
    head_packed = settings.get("lm_head") or settings["quant_method"] == "exl2"
    if name.endswith(("fused", "apart")):
        config.update(model_type="phi3", architectures=["Phi3ForCausalLM"], sliding_window=None,
                      pad_token_id=0, bos_token_id=1, eos_token_id=2)
        modules = FUSED if name.endswith("fused") else MODULES
    if name.endswith("experts"):
        config.update(model_type="mixtral", architectures=["MixtralForCausalLM"],
                      num_local_experts=3, num_experts_per_tok=2, sliding_window=None)
        modules = EXPERTS
    if name.endswith("latent"):
        config.update(LATENT)
        modules = LATENT_MODULES
    layer = "encoder.layer.0." if modules is ENCODER else "model.layers.0."
    plain = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,),
             layer + "input_layernorm.weight": (WIDTH,),
             layer + "post_attention_layernorm.weight": (WIDTH,)}
    if name == "bitnet":
        config.update(model_type="bitnet", architectures=["BitNetForCausalLM"], hidden_act="relu2")
        plain.update({layer + "self_attn.attn_sub_norm.weight": (WIDTH,),
                      layer + "mlp.ffn_sub_norm.weight": (FFN,)})
    if name.endswith("experts"):
        plain[layer + "block_sparse_moe.gate.weight"] = (3, WIDTH)
    if name.endswith("latent"):
        plain[layer + "self_attn.kv_a_layernorm.weight"] = (64,)
    packed = {layer + module: shape for module, shape in modules.items()}
    if modules is ENCODER:
        plain = {**ENCODER_PLAIN, **{f"{module}.bias": shape[:1] for module, shape in packed.items()}}
    else:
        (packed if head_packed else plain)["lm_head" if head_packed else "lm_head.weight"] = (
            VOCABULARY, WIDTH)
    tensors, widened = {}, {}
    for tensor, shape in plain.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        size = 0.3 if "embed" in tensor or "gate" in tensor else 0.1
        values = [bf16(1.0 + rng.gauss(0, 0.1) if len(shape) == 1 else rng.gauss(0, size))
                  for _ in range(count)]
        tensors[tensor] = numbers("BF16", shape, values)
        widened[tensor] = numbers("F32", shape, values)
    for module, shape in packed.items():
        parts, values = quantize(shape, order_of(module))
        tensors.update({f"{module}.{ending}": tensor for ending, tensor in parts.items()})
        widened[module + ".weight"] = numbers("F32", shape, flat(values))
    if name in ("fp8-tensor", "integers-4"):  # of caches, which nothing is computed with
        for ending in ("k_scale", "k_proj.output_scale"):
            tensors[f"{layer}self_attn.{ending}"] = numbers("F32", (1,), [0.5])
    write(os.path.join(folder, name + "-f32"), config, widened)
    config["tie_word_embeddings"] = name.endswith("tied")
    if name == "gptq-3":  # in a file of its own, as old programs wrote it
        write(os.path.join(folder, name), config, tensors)
        with open(os.path.join(folder, name, "quantize_config.json"), "w") as file:
            json.dump({"bits": 3, "group_size": -1, "desc_act": False}, file)
    else:
        write(os.path.join(folder, name), {**config, "quantization_config": settings}, tensors)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, (settings, quantize) in {**CASES, **packed_scaled.CASES, **WIDE}.items():
        make(sys.argv[1], name, settings, quantize)


if __name__ == "__main__":
    main()
