"""Shapes of models that measure speed: their matrices, in the order of a file, and the type of each.
What make_bench_model.py fills with numbers, and bench/gpu_holes.py leaves as holes."""

import json
import math

LLAMA3 = dict(vocabulary=128256, pre="llama-bpe", theta=500000.0)
SHAPES = {
    "tiny": dict(layers=2, width=256, heads=4, kv_heads=2, ffn=512, vocabulary=2048, context=512),
    "0.5b": dict(layers=24, width=1024, heads=16, kv_heads=4, ffn=4096, vocabulary=32000),
    "1b": dict(layers=16, width=2048, heads=32, kv_heads=8, ffn=8192, tied=True, **LLAMA3),
    "1.1b": dict(layers=22, width=2048, heads=32, kv_heads=4, ffn=5632, vocabulary=32000),
    "3b": dict(layers=28, width=3072, heads=24, kv_heads=8, ffn=8192, tied=True, **LLAMA3),
    "7b": dict(layers=32, width=4096, heads=32, kv_heads=32, ffn=11008, vocabulary=32000,
               context=4096),
    "mistral-7b": dict(layers=32, width=4096, heads=32, kv_heads=8, ffn=14336, vocabulary=32000,
                       context=8192),
    "8b": dict(layers=32, width=4096, heads=32, kv_heads=8, ffn=14336, context=8192, **LLAMA3),
    "13b": dict(layers=40, width=5120, heads=40, kv_heads=40, ffn=13824, vocabulary=32000,
                context=4096),
    "moe": dict(layers=16, width=2048, heads=32, kv_heads=4, ffn=5632, vocabulary=32000,
                experts=8, experts_used=2),
}
DEFAULTS = dict(context=2048, tied=False, pre="llama", theta=10000.0, experts=0, experts_used=0)
MIXTURES = ["Q3_K_M", "Q4_K_M", "Q5_K_M"]


def read_shape(path):
    """That of a config.json."""
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    return dict(layers=config["num_hidden_layers"], width=config["hidden_size"],
                heads=config["num_attention_heads"],
                kv_heads=config.get("num_key_value_heads", config["num_attention_heads"]),
                ffn=config["intermediate_size"], vocabulary=config["vocab_size"],
                context=config["max_position_embeddings"],
                tied=config.get("tie_word_embeddings", False),
                theta=config.get("rope_theta") or 10000.0,
                experts=config.get("num_local_experts") or 0,
                experts_used=config.get("num_experts_per_tok") or 0)


def more_bits(layer, layers):
    """The layers to which the mixtures Q4_K_M and Q5_K_M give Q6_K for attn_v and ffn_down."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def mixed_type(kind, part, layer, layers):
    if kind == "Q3_K_M":
        if part == "attn_v":
            return "Q5_K" if layer < 2 else "Q4_K"
        if part == "ffn_down":
            return "Q5_K" if layer < layers // 16 else "Q4_K"
        return "Q4_K" if part == "attn_output" else "Q3_K"
    if part in ("attn_v", "ffn_down") and more_bits(layer, layers):
        return "Q6_K"
    return kind[:-2]


def tensor_type(kind, part, layer, shape, pure):
    if part == "ffn_gate_inp":
        return "F32"
    if part == "output" and not pure:
        return kind if kind in ("F32", "F16", "BF16", "Q8_0") else "Q6_K"
    if part in ("token_embd", "output") and kind == "I2_S":
        return "F16"
    if part == "token_embd" and shape["tied"] and not pure:
        return tensor_type(kind, "output", layer, shape, pure)
    return mixed_type(kind, part, layer, shape["layers"]) if kind in MIXTURES else kind


def layer_parts(shape):
    """(part, number of matrices, rows, columns) in the order of a file."""
    width, ffn, experts = shape["width"], shape["ffn"], shape["experts"]
    kv = width // shape["heads"] * shape["kv_heads"]
    yield from (("attn_q", 1, width, width), ("attn_k", 1, kv, width), ("attn_v", 1, kv, width),
                ("attn_output", 1, width, width))
    if experts == 0:
        yield from (("ffn_gate", 1, ffn, width), ("ffn_up", 1, ffn, width),
                    ("ffn_down", 1, width, ffn))
    else:
        yield from (("ffn_gate_inp", 1, experts, width), ("ffn_gate_exps", experts, ffn, width),
                    ("ffn_up_exps", experts, ffn, width), ("ffn_down_exps", experts, width, ffn))


def matrices(shape, kind, pure):
    """(name, type, number, rows, columns, standard deviation) of every tensor of matrices."""
    width = shape["width"]
    # A table that is the output matrix too gets the latter's deviation: logits stay small.
    deviation = 1.0 / math.sqrt(width) if shape["tied"] else 0.5
    yield ("token_embd", tensor_type(kind, "token_embd", 0, shape, pure), 1, shape["vocabulary"],
           width, deviation)
    for layer in range(shape["layers"]):
        for part, number, rows, columns in layer_parts(shape):
            base = part.removesuffix("_exps")
            gain = 0.5 if base in ("attn_output", "ffn_down") else 1.0
            yield (f"blk.{layer}.{part}", tensor_type(kind, base, layer, shape, pure), number,
                   rows, columns, gain / math.sqrt(columns))
    if not shape["tied"]:
        yield ("output", tensor_type(kind, "output", 0, shape, pure), 1, shape["vocabulary"],
               width, 1.0 / math.sqrt(width))
